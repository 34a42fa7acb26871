/*
 * tests/core/chans.h - what the rows about channels do with the object's channel, in which 7 is what is sent and 6
 * what was in there before.
 */
#ifndef TESTS_CORE_CHANS_H
#define TESTS_CORE_CHANS_H

#include "tests/core/calls.h"

static inline void start_chan(struct object *o, size_t capacity)
{
	check_eq(torc_chan_init(&o->chan, sizeof(uint64_t), capacity), 0);
	o->sent = 7;
	o->received = WAITING;
}

static inline bool take(struct object *o)
{
	uint64_t item = WAITING;
	int r = torc_chan_try_recv(&o->chan, &item);

	check(r == -EAGAIN || r == 1);
	check_eq(item, r == 1 ? 7 : WAITING);
	return r == 1;
}

static inline bool take_first(struct object *o)
{
	uint64_t item;

	check_eq(torc_chan_try_recv(&o->chan, &item), 1);
	check_eq(item, 6);
	return true;
}

static inline bool give(struct object *o)
{
	int r = torc_chan_try_send(&o->chan, &o->sent);

	check(r == -EAGAIN || r == 0);
	return r == 0;
}

static inline bool close_chan(struct object *o)
{
	torc_chan_close(&o->chan);
	return true;
}

#endif
