/*
 * executor/internal/deque.h - a worker's own tasks: it takes the latest, thieves take the oldest.
 *
 * The deque of Chase and Lev (Dynamic Circular Work-Stealing Deque, SPAA 2005), in C11's memory model after Le, Pop,
 * Cohen and Zappa Nardelli (Correct and Efficient Work-Stealing for Weak Memory Models, PPoPP 2013), with sequentially
 * consistent accesses in place of their fences, which is what ThreadSanitizer understands and costs x86-64 the same:
 *
 *	owner's pop			thief
 *	1  bottom = b			a  t = top
 *	2  t = top			b  b = bottom
 *	3  t < b: it is mine		c  t < b: take it if top can be changed from t to t + 1
 *	   t = b: as c
 *
 * 1 and 2 as well as a and b are in one order that all agree on. If b misses 1, then a comes before 2, and the owner's
 * t is at least the thief's: where they would take the same one, the owner finds t = b, and top decides.
 *
 * A task is a tagged pointer, never 0. When it grows, the old array is kept until the end: a thief may still read there.
 */
#ifndef TORC_EXECUTOR_INTERNAL_DEQUE_H
#define TORC_EXECUTOR_INTERNAL_DEQUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/internal/trap.h"

/* Between tasks and 0: a thief was not the first, and there may be more. */
#define TORC__DEQUE_AGAIN ((uintptr_t)2)

struct torc__slots {
	struct torc__slots *older;
	size_t mask;
	uintptr_t tasks[]; /* [mask + 1] */
};

struct torc__deque {
	_Alignas(64) int64_t top;    /* of the next to be stolen */
	_Alignas(64) int64_t bottom; /* after the latest */
	int64_t top_seen;            /* the owner's: top is at least this */
	struct torc__slots *slots;
};

/* Returns false: no memory. */
bool torc__deque_init(struct torc__deque *d);
void torc__deque_done(struct torc__deque *d);

/* Make room for so many more; the owner. Returns false: no memory, and all is as it was. */
bool torc__deque_grow(struct torc__deque *d, size_t more);

static inline bool torc__deque_reserve(struct torc__deque *d, size_t more)
{
	size_t used = (size_t)(d->bottom - d->top_seen);

	if (torc__likely(used + more <= d->slots->mask))
		return true;
	return torc__deque_grow(d, more);
}

/* The owner. Returns false: no memory. */
static inline bool torc__deque_push(struct torc__deque *d, uintptr_t task)
{
	int64_t b = d->bottom;

	if (torc__unlikely(!torc__deque_reserve(d, 1)))
		return false;
	__atomic_store_n(&d->slots->tasks[(size_t)b & d->slots->mask], task, __ATOMIC_RELAXED);
	__atomic_store_n(&d->bottom, b + 1, __ATOMIC_RELEASE);
	return true;
}

/* The owner: the latest, or 0. */
static inline uintptr_t torc__deque_pop(struct torc__deque *d)
{
	int64_t b = d->bottom - 1, t;
	uintptr_t task = 0;

	if (b < d->top_seen) /* there was none at the last look, and only the owner adds any */
		return 0;
	__atomic_store_n(&d->bottom, b, __ATOMIC_SEQ_CST);
	t = __atomic_load_n(&d->top, __ATOMIC_SEQ_CST);
	d->top_seen = t;
	if (torc__likely(t <= b))
		task = __atomic_load_n(&d->slots->tasks[(size_t)b & d->slots->mask],
				       __ATOMIC_RELAXED);
	if (torc__likely(t < b))
		return task;
	if (t == b) {
		if (!__atomic_compare_exchange_n(&d->top, &t, t + 1, false, __ATOMIC_SEQ_CST,
						 __ATOMIC_RELAXED))
			task = 0;
		d->top_seen = b + 1;
	}
	__atomic_store_n(&d->bottom, b + 1, __ATOMIC_RELAXED);
	return task;
}

/* Any thread: the oldest, 0, or TORC__DEQUE_AGAIN. */
static inline uintptr_t torc__deque_steal(struct torc__deque *d)
{
	int64_t t = __atomic_load_n(&d->top, __ATOMIC_SEQ_CST);
	int64_t b = __atomic_load_n(&d->bottom, __ATOMIC_SEQ_CST);
	struct torc__slots *slots;
	uintptr_t task;

	if (t >= b)
		return 0;
	slots = __atomic_load_n(&d->slots, __ATOMIC_ACQUIRE);
	task = __atomic_load_n(&slots->tasks[(size_t)t & slots->mask], __ATOMIC_RELAXED);
	if (!__atomic_compare_exchange_n(&d->top, &t, t + 1, false, __ATOMIC_SEQ_CST,
					 __ATOMIC_RELAXED))
		return TORC__DEQUE_AGAIN;
	return task;
}

/* Any thread: is there something to steal, as it was? */
static inline bool torc__deque_any(const struct torc__deque *d)
{
	return __atomic_load_n(&d->top, __ATOMIC_RELAXED) <
	       __atomic_load_n(&d->bottom, __ATOMIC_RELAXED);
}

#endif
