/*
 * core/internal/chan.h - what a channel does inside its guard. For chan.c and select.c.
 *
 *	                 close               done
 *	OPEN ----------------------> CLOSED ------> DONE
 *	  |                                           ^
 *	  +-------------------------------------------+
 *
 * Invariants, outside of the guard
 *	1. Receivers wait only while nothing is in the channel and no sender waits.
 *	2. Senders wait only while it is full.
 *	3. When it is CLOSED nobody waits.
 */
#ifndef TORC_CORE_INTERNAL_CHAN_H
#define TORC_CORE_INTERNAL_CHAN_H

#include <errno.h>
#include <string.h>

#include <torc/core/chan.h>

#include "core/internal/waiters.h"

enum torc__chan_state {
	TORC__CHAN_NONE, /* zeroed memory */
	TORC__CHAN_OPEN,
	TORC__CHAN_CLOSED,
	TORC__CHAN_DONE,
};

/* Items of other orders than FIFO. */
void torc__chan_put_ordered(struct torc_chan *chan, const void *item);
void torc__chan_take_ordered(struct torc_chan *chan, void *ret_item);

/* Most items are a pointer or a number. */
static inline void torc__chan_copy(void *to, const void *from, size_t bytes)
{
	if (torc__likely(bytes == sizeof(uint64_t)))
		memcpy(to, from, sizeof(uint64_t));
	else if (bytes)
		memcpy(to, from, bytes);
}

static inline void torc__chan_set_count(struct torc_chan *c, uint32_t count)
{
	__atomic_store_n(&c->count, count, __ATOMIC_RELAXED); /* torc_chan_count has no guard */
}

/* There is room. */
static inline void torc__chan_put(struct torc_chan *c, const void *item)
{
	uint32_t at;

	if (torc__unlikely(c->order != TORC_CHAN_FIFO)) {
		torc__chan_put_ordered(c, item);
		return;
	}
	at = c->first + c->count;
	if (at >= c->capacity || at < c->first)
		at -= c->capacity;
	torc__chan_copy(c->items + (size_t)at * c->item_bytes, item, c->item_bytes);
	torc__chan_set_count(c, c->count + 1);
}

/* There is an item. */
static inline void torc__chan_take(struct torc_chan *c, void *ret_item)
{
	if (torc__unlikely(c->order != TORC_CHAN_FIFO)) {
		torc__chan_take_ordered(c, ret_item);
		return;
	}
	torc__chan_copy(ret_item, c->items + (size_t)c->first * c->item_bytes, c->item_bytes);
	if (++c->first == c->capacity)
		c->first = 0;
	torc__chan_set_count(c, c->count - 1);
}

/* The first node in line whose fiber can still go on, taken out; NULL: none. */
static inline struct torc__node *torc__chan_grant(struct torc__queue *queue, int result)
{
	struct torc__node *node;

	while ((node = torc__queue_grant(queue, result)) && !torc__node_claim(node))
		continue;
	return node;
}

/* Not open: closed, or used by mistake. */
static inline void torc__chan_check_closed(const struct torc_chan *c)
{
	torc__check(c->state == TORC__CHAN_CLOSED,
		    "a channel is used that was not initialised, or is done with");
}

/*
 * Send or receive if that can be done at once. Returns what torc_chan_send and torc_chan_recv do, or -EAGAIN;
 * *ret_wake is whom to wake once the guard is left, or NULL.
 */
static inline int torc__chan_send_now(struct torc_chan *c, const void *item,
				      struct torc__node **ret_wake)
{
	struct torc__node *receiver;

	*ret_wake = NULL;
	if (torc__unlikely(c->state != TORC__CHAN_OPEN)) {
		torc__chan_check_closed(c);
		return -EPIPE;
	}
	receiver = torc__chan_grant(&c->receivers, 1);
	if (receiver) {
		torc__chan_copy(receiver->item, item, c->item_bytes);
		*ret_wake = receiver;
		return 0;
	}
	if (c->count == c->capacity)
		return -EAGAIN;
	torc__chan_put(c, item);
	return 0;
}

static inline int torc__chan_recv_now(struct torc_chan *c, void *ret_item,
				      struct torc__node **ret_wake)
{
	struct torc__node *sender;

	*ret_wake = NULL;
	if (c->count) {
		torc__chan_take(c, ret_item);
		sender = torc__chan_grant(&c->senders, 0);
		if (sender)
			torc__chan_put(c, sender->item);
		*ret_wake = sender;
		return 1;
	}
	sender = torc__chan_grant(&c->senders, 0);
	if (sender) {
		torc__chan_copy(ret_item, sender->item, c->item_bytes);
		*ret_wake = sender;
		return 1;
	}
	if (torc__likely(c->state == TORC__CHAN_OPEN))
		return -EAGAIN;
	torc__chan_check_closed(c);
	return 0;
}

#endif
