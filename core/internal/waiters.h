/*
 * core/internal/waiters.h - fibers that wait for an object which fibers of all loops may use.
 *
 *	fiber						whoever lets it go on
 *	enter the guard					enter the guard
 *	queue a node					take the node out of the queue, write its result
 *	leave the guard, park				leave the guard, torc__wake
 *
 * A node that is out of its queue is decided: the fiber is woken with node.result, whatever happens to its
 * scope meanwhile, so nothing that was handed over is lost. A cancellation is the third party that takes a node
 * out, under the guard like everybody; where it finds it gone, it does nothing. A wake from another loop
 * is a message, embedded in the waiter: its memory is the fiber's stack, which waits for that message.
 */
#ifndef TORC_CORE_INTERNAL_WAITERS_H
#define TORC_CORE_INTERNAL_WAITERS_H

#include "core/internal/fiber.h"
#include "core/internal/guard.h"

struct torc__waiter {
	struct torc__wait wait;    /* first. Written when it parks, outside of the guard */
	struct torc__fiber *fiber; /* for those who hold the guard */
	struct torc__mail mail;
	struct torc__node node;
	struct torc__guard *guard;
	struct torc__queue *queue;
	struct torc__node *granted; /* which of its nodes, when it is selecting */
	uint32_t selecting;         /* enum torc__selecting: core/select.c */
};

/* A waiter with several nodes goes on once: who takes a node out must be the first to claim it. */
enum torc__selecting {
	TORC__NOT_SELECTING,
	TORC__SELECTING,
	TORC__CLAIMED,
};

/*
 * Something else in line: a node whose waiter is NULL. `fire` is called instead of a fiber being woken, on whichever
 * thread does that, outside of the guard. The hook's memory is its own again then.
 */
struct torc__hook {
	struct torc__node node; /* first */
	void (*fire)(struct torc__hook *hook);
	void (*drop)(
		struct torc__hook
			*hook); /* what it waits for is gone; NULL: it sees to it that it is not */
};

static inline void torc__queue_push(struct torc__queue *queue, struct torc__node *node)
{
	node->next = NULL;
	node->prev = queue->last;
	if (queue->last)
		queue->last->next = node;
	else
		queue->first = node;
	queue->last = node;
	node->queued = true;
}

static inline void torc__queue_remove(struct torc__queue *queue, struct torc__node *node)
{
	if (node->next)
		node->next->prev = node->prev;
	else
		queue->last = node->prev;
	if (node->prev)
		node->prev->next = node->next;
	else
		queue->first = node->next;
	node->queued = false;
}

/* The first node, taken out with the result that its fiber gets; NULL: nobody waits. */
static inline struct torc__node *torc__queue_grant(struct torc__queue *queue, int result)
{
	struct torc__node *node = queue->first;

	if (!node)
		return NULL;
	torc__queue_remove(queue, node);
	node->result = result;
	return node;
}

/* Nodes that were taken out, to be woken once the guard is left; chained by their `next`. */
struct torc__granted {
	struct torc__node *first, **tail;
};

#define TORC__GRANTED(name) struct torc__granted name = { NULL, &name.first }

static inline void torc__granted_add(struct torc__granted *granted, struct torc__node *node)
{
	node->next = NULL;
	*granted->tail = node;
	granted->tail = &node->next;
}

/* The same with all of them. */
static inline void torc__queue_grant_all(struct torc__queue *queue, int result,
					 struct torc__granted *granted)
{
	while (queue->first)
		torc__granted_add(granted, torc__queue_grant(queue, result));
}

/* May this waiter go on, or has another of its nodes been taken already? */
static inline bool torc__waiter_claim(struct torc__waiter *w)
{
	uint32_t expected = TORC__SELECTING;

	return __atomic_compare_exchange_n(&w->selecting, &expected, TORC__CLAIMED, false,
					   __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* Is the fiber of this node, which was just taken out, to go on with it? Not when it selects and has another. */
static inline bool torc__node_claim(struct torc__node *node)
{
	struct torc__waiter *w = node->waiter;

	if (torc__likely(!w ||
			 __atomic_load_n(&w->selecting, __ATOMIC_RELAXED) == TORC__NOT_SELECTING))
		return true;
	if (!torc__waiter_claim(w))
		return false;
	w->granted = node;
	return true;
}

void torc__wake_away(struct torc__loop *loop, struct torc__waiter *waiter, bool later);

/*
 * Let a fiber go on whose node was taken out; NULL: nobody. Not inside a guard. `loop` is the calling thread's;
 * `later`: another loop is told at the end of this turn, and finds more to do then.
 */
static inline void torc__wake_at(struct torc__loop *loop, struct torc__node *node, bool later)
{
	struct torc__waiter *w;

	if (!node)
		return;
	w = node->waiter;
	if (torc__likely(w->fiber->loop == loop))
		torc__ready(w->fiber);
	else
		torc__wake_away(loop, w, later);
}

static inline void torc__wake(struct torc__loop *loop, struct torc__node *node)
{
	torc__wake_at(loop, node, false);
}

void torc__wake_granted(struct torc__loop *loop, struct torc__granted *granted);

/* Take out all that wait, and wake them with this result. Not inside a guard. */
void torc__release_all(struct torc__guard *guard, struct torc__queue *waiters, int result);

/* The calling thread's loop, in a fiber or not; traps where there is none. */
struct torc__loop *torc__here(void);

/* Queue a waiter; inside the guard. */
static inline void torc__waiter_queue(struct torc__waiter *w, struct torc__fiber *f,
				      struct torc__guard *guard, struct torc__queue *queue)
{
	w->fiber = f;
	w->guard = guard;
	w->queue = queue;
	w->selecting = TORC__NOT_SELECTING;
	w->node.waiter = w;
	torc__queue_push(queue, &w->node);
}

/* Wait until the node has been taken out; outside of the guard. Returns its result. */
static inline int torc__waiter_park(struct torc__waiter *w, const struct torc__wait_kind *kind)
{
	torc__park(w->fiber, &w->wait, kind);
	return w->node.result;
}

/* The usual `describe` of a kind: where the object is. */
void torc__waiter_describe(const struct torc__wait *wait, struct torc__message *m);

/*
 * The usual `cancel` of a kind: take the node out, if it is still in, and go on with the scope's status.
 * torc__waiter_withdraw is for those whose queue has to be looked at again when somebody has left it: called
 * inside the guard, `settle` adds what is granted by that.
 */
void torc__waiter_cancel(struct torc__wait *wait);
void torc__waiter_withdraw(struct torc__waiter *w, void (*settle)(struct torc__queue *queue,
								  struct torc__granted *granted));

#endif
