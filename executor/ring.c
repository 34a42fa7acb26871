#include "executor/internal/ring.h"

#include <string.h>

#include "core/internal/system.h"

#define CAPACITY_FIRST ((size_t)64)

/* Bigger ones are given back when they are empty. */
#define CAPACITY_KEPT ((size_t)65536)

static void set_count(struct torc__future_ring *ring, size_t count)
{
	__atomic_store_n(&ring->count, count, __ATOMIC_RELAXED);
}

static size_t capacity_of(const struct torc__future_ring *ring)
{
	return ring->futures ? ring->mask + 1 : 0;
}

/* In order from the beginning of `to`. */
static void copy_out(const struct torc__future_ring *ring, struct torc_future **to)
{
	size_t head = capacity_of(ring) - ring->first; /* those before it wraps */

	if (head > ring->count)
		head = ring->count;
	if (!ring->count)
		return;
	memcpy(to, ring->futures + ring->first, head * sizeof(struct torc_future *));
	memcpy(to + head, ring->futures, (ring->count - head) * sizeof(struct torc_future *));
}

static bool grow(struct torc__future_ring *ring, size_t needed)
{
	size_t capacity = ring->futures ? ring->mask + 1 : CAPACITY_FIRST, bytes;
	struct torc_future **futures;

	while (capacity < needed)
		if (__builtin_mul_overflow(capacity, 2, &capacity))
			return false;
	if (__builtin_mul_overflow(capacity, sizeof(struct torc_future *), &bytes))
		return false;
	futures = torc__malloc(bytes);
	if (!futures)
		return false;
	copy_out(ring, futures);
	torc__free(ring->futures);
	ring->futures = futures;
	ring->mask = capacity - 1;
	ring->first = 0;
	return true;
}

bool torc__future_ring_reserve(struct torc__future_ring *ring, size_t more)
{
	size_t needed;

	if (__builtin_add_overflow(ring->count, more, &needed))
		return false;
	return torc__likely(needed <= capacity_of(ring)) || grow(ring, needed);
}

void torc__future_ring_put(struct torc__future_ring *ring, struct torc_future *const *futures,
			   size_t count)
{
	size_t at = ring->first + ring->count;

	for (size_t i = 0; i < count; i++)
		ring->futures[(at + i) & ring->mask] = futures[i];
	set_count(ring, ring->count + count);
}

void torc__future_ring_done(struct torc__future_ring *ring)
{
	torc__free(ring->futures);
	*ring = (struct torc__future_ring){ .futures = NULL };
}

struct torc_future *torc__future_ring_take(struct torc__future_ring *ring)
{
	struct torc_future *f;

	if (!ring->count)
		return NULL;
	f = ring->futures[ring->first];
	ring->first = (ring->first + 1) & ring->mask;
	set_count(ring, ring->count - 1);
	if (torc__unlikely(!ring->count && ring->mask >= CAPACITY_KEPT))
		torc__future_ring_done(ring);
	return f;
}
