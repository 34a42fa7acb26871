/*
 * core/chan.h - channels: hand items from fiber to fiber, also from loop to loop.
 *
 *	struct torc_chan jobs;
 *	struct job job;
 *
 *	r = torc_chan_init(&jobs, sizeof(struct job), 16);
 *	...
 *	producer:					consumer:
 *	r = torc_chan_send(&jobs, &job);		while ((r = torc_chan_recv(&jobs, &job)) > 0)
 *	...							work(&job);
 *	torc_chan_close(&jobs);				0: closed, and nothing is left
 *
 * Items are bytes, copied in and out. Without capacity a send waits for a receiver and hands the item over to
 * it; with capacity that many items wait in the channel. Whoever waits is served first come, first served, and
 * an item goes to the first waiting receiver directly, so nobody overtakes.
 *
 * Send what must not be lost as a pointer, and own it until the send has returned 0: a send that fails has not
 * sent. An item that was received is returned, even when the receiver's scope was cancelled meanwhile.
 *
 * All calls may be made by fibers of any loop; those that never suspend also from a completion's callback. Where items
 * can wait, a fiber of another loop is told of the first one when this loop's turn ends, and then finds all that
 * were sent meanwhile; without capacity it is told at once.
 */
#ifndef TORC_CORE_CHAN_H
#define TORC_CORE_CHAN_H

#include <torc/core/waiters.h>

TORC_BEGIN_DECLS

/* In which order the items that wait in a channel are received. */
enum torc_chan_order {
	TORC_CHAN_FIFO,     /* as they were sent */
	TORC_CHAN_LIFO,     /* the latest first */
	TORC_CHAN_PRIORITY, /* the least first, as `before` says; equals in any order */
};

/* Is item a to be received before item b? Must not suspend, nor use channels or locks. */
typedef bool torc_chan_before(const void *a, const void *b, void *arg);

struct torc_chan_options {
	size_t item_bytes;          /* 0 .. UINT32_MAX */
	size_t capacity;            /* items that can wait in it; 0: none. At most UINT32_MAX */
	enum torc_chan_order order; /* other than FIFO need a capacity */
	torc_chan_before *before;   /* for TORC_CHAN_PRIORITY */
	void *arg;                  /* for `before`; borrowed */
};

/* Caller's memory. The fields are private. */
struct torc_chan {
	struct torc__guard guard;
	uint32_t item_bytes, capacity, count;
	uint32_t first; /* FIFO: where the oldest item is */
	uint8_t state;  /* enum torc__chan_state */
	uint8_t order;
	uint32_t selecting; /* cases of selects that have not returned */
	struct torc__queue receivers, senders;
	char *items;
	torc_chan_before *before;
	void *arg;
};

/*
 * torc_chan_init - make a channel; torc_chan_init_with - one with options.
 *
 *   @item_bytes  of each item
 *   @capacity    items that can wait in it; their memory is allocated here
 *
 * Returns     0
 *             -ENOMEM   no memory for the items
 *             -EINVAL   a size beyond UINT32_MAX, an order without a capacity, a priority without `before`
 * Suspends    never
 * Thread      any
 */
TORC_API TORC_MUST_CHECK int torc_chan_init(struct torc_chan *chan, size_t item_bytes,
					    size_t capacity);
TORC_API TORC_MUST_CHECK int torc_chan_init_with(struct torc_chan *chan,
						 const struct torc_chan_options *options);

/*
 * torc_chan_done - free what torc_chan_init has allocated. Items that wait in it are dropped; a fiber that
 * waits for it traps. A fiber that selects waits for all of its channels until torc_select has returned, also
 * when one of them was closed.
 */
TORC_API void torc_chan_done(struct torc_chan *chan);

/*
 * torc_chan_send - send one item.
 *
 *   @item  [item_bytes], copied; may be NULL when item_bytes is 0
 *
 * Returns     0            it is in the channel, or a receiver has it
 *             -EPIPE       the channel is closed: not sent
 *             -ECANCELED, -ETIMEDOUT   the scope: not sent
 * Suspends    if no receiver waits and no room is left
 * Thread      a fiber's
 */
TORC_API TORC_MUST_CHECK int torc_chan_send(struct torc_chan *chan, const void *item);

/*
 * torc_chan_recv - receive one item.
 *
 *   @ret_item  [item_bytes], written when 1 is returned; may be NULL when item_bytes is 0
 *
 * Returns     1            an item
 *             0            the channel is closed, and all its items have been received
 *             -ECANCELED, -ETIMEDOUT   the scope: nothing was received
 * Suspends    if there is no item
 * Thread      a fiber's
 */
TORC_API TORC_MUST_CHECK int torc_chan_recv(struct torc_chan *chan, void *ret_item);

/* The same without waiting, and without asking the scope: -EAGAIN where they would wait. Never suspend. */
TORC_API TORC_MUST_CHECK int torc_chan_try_send(struct torc_chan *chan, const void *item);
TORC_API TORC_MUST_CHECK int torc_chan_try_recv(struct torc_chan *chan, void *ret_item);

/*
 * torc_chan_close - no more items will be sent.
 *
 * What is in the channel can still be received. Senders that wait get -EPIPE, receivers 0. Closing it twice is
 * harmless. Never suspends.
 */
TORC_API void torc_chan_close(struct torc_chan *chan);

/* How many items wait in it, and whether it was closed; with other loops about, as it was. Never suspend. */
TORC_API size_t torc_chan_count(const struct torc_chan *chan);
TORC_API bool torc_chan_is_closed(const struct torc_chan *chan);

/* ---- select ------------------------------------------------------------------------------------------ */

enum torc_case_op {
	TORC_RECV,
	TORC_SEND,
	TORC_WAIT, /* for an event (core/sync.h), or a future's (executor/future.h) */
};

struct torc_event;

/* One of several things to wait for. */
struct torc_case {
	union { /* NULL: this one is never ready */
		struct torc_chan *chan;
		struct torc_event *event; /* of TORC_WAIT */
	};
	enum torc_case_op op;
	void *item; /* to be sent (and only read), or to be received into */
	int32_t result; /* of the case that was chosen: as from torc_chan_send or torc_chan_recv; 0 of an event */
	/* private */
	struct torc__node node;
	struct torc_case *next_locked;
};

/*
 * torc_select - do the first of several sends and receives that can be done, or see which event is set; only one of them.
 *
 *	struct torc_case cases[] = {
 *		{ .chan = &jobs, .op = TORC_RECV, .item = &job },
 *		{ .chan = &results, .op = TORC_SEND, .item = &result },
 *	};
 *	switch (torc_select(cases, 2, TORC_NEVER)) {
 *	case 0: ...				cases[0].result: 1 an item, 0 closed
 *	case 1: ...				cases[1].result: 0 sent, -EPIPE closed
 *	}
 *
 * When several can be done the choice goes round, so that none is starved. A closed channel can be done,
 * and so can an event that is set.
 *
 *   @cases        [count]; may name a channel or event several times
 *   @deadline_ns  a moment of torc_now_ns; 0: do not wait (the `default` of Go); TORC_NEVER
 *
 * Returns     0 .. count-1   the index of the case that was done; its `result` is written, no other's
 *             -EAGAIN        none could be done by the deadline
 *             -ECANCELED, -ETIMEDOUT   the scope: none was done
 * Suspends    if none can be done at once, unless deadline_ns is 0
 * Thread      a fiber's
 */
TORC_API TORC_MUST_CHECK int torc_select(struct torc_case *cases, size_t count,
					 uint64_t deadline_ns);

TORC_END_DECLS

#endif
