/*
 * executor/internal/lane.h - tasks that come from outside of a pool: a ring for one thread at a time to fill, which
 * workers empty from the other end.
 *
 * One queue for all would be simpler, and ten times slower: what submitters and searching workers would fight for is
 * one lock and one counter. Each thread that submits has a lane of its own, as far as there are enough, so that
 * its lock is always free and `tail` is all that passes from it to the workers. These never take the lock: they
 * claim several tasks at once by moving `head`, which fails if another worker was first.
 *
 * What was read from slots before a claim that succeeds is right: a slot is used again only once `head` has passed it. When
 * it grows, the old array is kept until the end, for a worker may still read there.
 */
#ifndef TORC_EXECUTOR_INTERNAL_LANE_H
#define TORC_EXECUTOR_INTERNAL_LANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/internal/guard.h"

struct torc_future;

struct torc__lane_slots {
	struct torc__lane_slots *older;
	size_t mask;
	struct torc_future *futures[]; /* [mask + 1] */
};

struct torc__lane {
	_Alignas(64) size_t head; /* of the next to be taken: workers */
	_Alignas(
		64) size_t tail; /* after the latest: what searching workers look at all the time */
	/* Under the guard, by who submits. */
	_Alignas(64) struct torc__guard guard;
	struct torc__lane_slots *slots; /* NULL: never used */
	size_t head_seen;               /* head is at least this */
	size_t tail_own;                /* the same as tail */
};

void torc__lane_done(struct torc__lane *lane);

/* Inside the guard: make room for so many. Returns false: no memory, and all is as it was. */
bool torc__lane_reserve(struct torc__lane *lane, size_t count);

/* Inside the guard: there is room. A full barrier comes after it. */
void torc__lane_put(struct torc__lane *lane, struct torc_future *const *futures, size_t count);

/*
 * Take the oldest ones, a share of them and `most` at most; any thread. Returns how many.
 *
 *   @parts  into how many shares: rounded up
 */
size_t torc__lane_take(struct torc__lane *lane, struct torc_future **ret_futures, size_t most,
		       size_t parts);

/* How many are in it, as it was; any thread. */
static inline size_t torc__lane_count(const struct torc__lane *lane)
{
	size_t head = __atomic_load_n(&lane->head, __ATOMIC_RELAXED);
	size_t tail = __atomic_load_n(&lane->tail, __ATOMIC_RELAXED);

	return head < tail ? tail - head : 0;
}

#endif
