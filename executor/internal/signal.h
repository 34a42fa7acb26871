/*
 * executor/internal/signal.h - how one that waits in a line of its own making is told: by a hook that sets an event.
 *
 * Both are the waiting one's memory, usually its stack. So it goes on only when the hook is through with it (`fired`),
 * or has been taken out of the line by itself.
 */
#ifndef TORC_EXECUTOR_INTERNAL_SIGNAL_H
#define TORC_EXECUTOR_INTERNAL_SIGNAL_H

#include "executor/internal/future.h"

struct torc__signal {
	struct torc__hook hook; /* first */
	struct torc_event event;
	uint32_t fired;
};

void torc__signal_init(struct torc__signal *s);

/* 0: it was fired, and nobody touches it any more; or as torc__event_await, and it may be fired at any time. */
int torc__signal_await(struct torc__signal *s, uint64_t deadline_ns);

/* It is being fired, or will be soon. */
void torc__signal_await_shielded(struct torc__signal *s);

/* Somebody on another thread is about to set it: wait the few instructions that this takes. */
void torc__spin_until(const uint32_t *word);

#endif
