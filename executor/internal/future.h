/*
 * executor/internal/future.h - what a future is.
 *
 * A shared event (core/internal/event.h) with the result beside it, on one cache line: the worker that runs it reads
 * this line, writes this line, and changes its state twice (start, complete); nothing else crosses cores. The rest
 * of event.state holds the future's own bits and its count of references, so that completing it and dropping the worker's
 * reference are one atomic operation.
 *
 *	transition              function                who calls
 *	PENDING -> RUNNING      torc__future_start      who runs it
 *	PENDING -> CANCELLED    torc_future_cancel      anybody with a reference
 *	PENDING -> DONE         torc__future_complete   who made the promise
 *	RUNNING -> DONE         torc__future_complete   who runs it
 *	RUNNING -> CANCELLED    torc__future_abandon    who was to run it, and has not begun: a pool of processes
 *	RUNNING -> PENDING      the same
 *
 * Invariants
 *	1. event.value (the status) and `value` are written by the one that completes it, before SET, and never after.
 *	2. Whoever completes it holds a reference until it has woken those in line.
 *	3. A future is freed by who drops the last reference, with plain loads if that one is the only one left.
 */
#ifndef TORC_EXECUTOR_INTERNAL_FUTURE_H
#define TORC_EXECUTOR_INTERNAL_FUTURE_H

#include <torc/executor/executor.h>

#include "core/internal/event.h"

#define TORC__FUTURE_RUNNING   TORC__EVENT_REST
#define TORC__FUTURE_CANCELLED (TORC__EVENT_REST << 1) /* with SET */
#define TORC__FUTURE_OBSERVED  (TORC__EVENT_REST << 2) /* somebody has seen its status */
#define TORC__FUTURE_REFERENCE (TORC__EVENT_REST << 3) /* one; 25 bits */

#define TORC__FUTURE_REFERENCES(state) ((state) / TORC__FUTURE_REFERENCE)

/* Memory of torc_submit_many: this, then the futures. Freed with the last of them. */
struct torc__block {
	uint32_t live;
};

struct torc_future {
	struct torc_event event; /* first; event.value is the status */
	torc_work_fn *fn;        /* NULL: of a promise */
	union {
		void *arg; /* until it has run */
		void *value;
	};
	struct torc_executor *executor; /* that can stop it when it runs; NULL: none */
	struct torc__block *block;      /* it is part of; NULL: none */
};

_Static_assert(sizeof(struct torc_future) == 64, "a future is one cache line");

/* So many of its futures are gone. */
void torc__block_leave(struct torc__block *block, uint32_t count);

/*
 * Free futures, kept by a thread that makes many. Not chained through their own memory: that is in the cache of the
 * worker that completed them, and each would have to come from there before the next one is found.
 */
#define TORC__FUTURES_MOST 1024u

struct torc__futures {
	unsigned count;
	struct torc_future *futures[TORC__FUTURES_MOST];
};

void torc__futures_done(struct torc__futures *cache);

static inline uint32_t torc__future_look(const struct torc_future *f)
{
	return __atomic_load_n(&f->event.state, __ATOMIC_ACQUIRE);
}

static inline bool torc__future_over(const struct torc_future *f)
{
	return torc__future_look(f) & TORC__EVENT_SET;
}

/* Others may be gone before their futures. */
static inline struct torc_executor *torc__canceller(struct torc_executor *executor)
{
	return executor && executor->ops->cancel ? executor : NULL;
}

/* A future with so many references, or NULL. */
struct torc_future *torc__future_new(torc_work_fn *fn, void *arg, struct torc_executor *executor,
				     unsigned references);

/* The same in memory of a block. */
static inline void torc__future_init(struct torc_future *f, torc_work_fn *fn, void *arg,
				     struct torc_executor *executor, unsigned references,
				     struct torc__block *block)
{
	torc__event_init_shared(&f->event,
				TORC__EVENT_EXPECTED | references * TORC__FUTURE_REFERENCE);
	f->fn = fn;
	f->arg = arg;
	f->executor = executor;
	f->block = block;
}

/* PENDING -> RUNNING. Returns false: it is not PENDING. */
static inline bool torc__future_start(struct torc_future *f)
{
	uint32_t state = __atomic_load_n(&f->event.state, __ATOMIC_RELAXED);

	do
		if (torc__unlikely(state & (TORC__EVENT_SET | TORC__FUTURE_RUNNING)))
			return false;
	while (!__atomic_compare_exchange_n(&f->event.state, &state, state | TORC__FUTURE_RUNNING,
					    true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
	return true;
}

/* -> DONE, by who alone may do that and has a reference, which is dropped. */
void torc__future_complete(struct torc_future *f, int status, void *value);

/* PENDING -> CANCELLED. Returns false: it is not PENDING. */
bool torc__future_cancel_pending(struct torc_future *f);

/* RUNNING -> CANCELLED, by the same: it had not begun after all. */
void torc__future_abandon(struct torc_future *f);

/* Its status, once it is over. */
static inline int torc__future_status(const struct torc_future *f)
{
	return torc__future_look(f) & TORC__FUTURE_CANCELLED ? -ECANCELED : f->event.value;
}

/* The status of one that is over, to somebody who asks for it. */
int torc__future_read(struct torc_future *f, void **ret_value);

/*
 * Wait until an event is set that a thread may set: in a fiber, in a worker, in any other thread. Returns 0, or
 * -ETIMEDOUT for the deadline and what the fiber's scope says. The deadline is looked at in a fiber after its scope.
 *
 *   @f  the future that is waited for, if it is one: a worker that runs it itself is told -EDEADLK
 */
int torc__event_await(struct torc_event *e, uint64_t deadline_ns, const struct torc_future *f);

/* The same however long it takes and whatever the fiber's scope says. */
void torc__event_await_shielded(struct torc_event *e);

#endif
