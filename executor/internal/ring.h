/*
 * executor/internal/ring.h - futures that wait, first in, first out. Inside a guard of its owner, but for looks at
 * `count`.
 */
#ifndef TORC_EXECUTOR_INTERNAL_RING_H
#define TORC_EXECUTOR_INTERNAL_RING_H

#include <stdbool.h>
#include <stddef.h>

struct torc_future;

struct torc__future_ring {
	struct torc_future **futures; /* [mask + 1], or NULL */
	size_t mask, first;
	size_t count;
};

/* Make room for so many more. Returns false: no memory, and all is as it was. */
bool torc__future_ring_reserve(struct torc__future_ring *ring, size_t more);

/* There is room. */
void torc__future_ring_put(struct torc__future_ring *ring, struct torc_future *const *futures,
			   size_t count);

/* The oldest, or NULL. */
struct torc_future *torc__future_ring_take(struct torc__future_ring *ring);

void torc__future_ring_done(struct torc__future_ring *ring);

static inline bool torc__future_ring_any(const struct torc__future_ring *ring)
{
	return __atomic_load_n(&ring->count, __ATOMIC_RELAXED);
}

#endif
