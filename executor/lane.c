#include "executor/internal/lane.h"

#include "core/internal/system.h"

#define SLOTS_FIRST ((size_t)256)

void torc__lane_done(struct torc__lane *lane)
{
	struct torc__lane_slots *s = lane->slots, *older;

	for (; s; s = older) {
		older = s->older;
		torc__free(s);
	}
	lane->slots = NULL;
}

static bool grow(struct torc__lane *lane, size_t head, size_t needed)
{
	struct torc__lane_slots *old = lane->slots, *new;
	size_t capacity = old ? old->mask + 1 : SLOTS_FIRST, bytes;

	while (capacity < needed)
		if (__builtin_mul_overflow(capacity, 2, &capacity))
			return false;
	if (__builtin_mul_overflow(capacity, sizeof(struct torc_future *), &bytes) ||
	    __builtin_add_overflow(bytes, sizeof(*new), &bytes))
		return false;
	new = torc__malloc(bytes);
	if (!new)
		return false;
	new->older = old;
	new->mask = capacity - 1;
	for (size_t i = head; i < lane->tail_own; i++)
		new->futures[i & new->mask] = old->futures[i & old->mask];
	__atomic_store_n(&lane->slots, new, __ATOMIC_RELEASE);
	return true;
}

bool torc__lane_reserve(struct torc__lane *lane, size_t count)
{
	size_t needed, capacity = lane->slots ? lane->slots->mask + 1 : 0;

	if (torc__likely(lane->tail_own - lane->head_seen + count <= capacity && count <= capacity))
		return true;
	lane->head_seen = __atomic_load_n(&lane->head, __ATOMIC_ACQUIRE);
	if (__builtin_add_overflow(lane->tail_own - lane->head_seen, count, &needed))
		return false;
	return needed <= capacity || grow(lane, lane->head_seen, needed);
}

void torc__lane_put(struct torc__lane *lane, struct torc_future *const *futures, size_t count)
{
	struct torc__lane_slots *s = lane->slots;
	size_t tail = lane->tail_own;

	for (size_t i = 0; i < count; i++)
		__atomic_store_n(&s->futures[(tail + i) & s->mask], futures[i], __ATOMIC_RELAXED);
	lane->tail_own = tail + count;
	__atomic_store_n(&lane->tail, tail + count, __ATOMIC_SEQ_CST);
}

static size_t share(size_t count, size_t most, size_t parts)
{
	size_t n = (count + parts - 1) / parts;

	return n < most ? n : most;
}

size_t torc__lane_take(struct torc__lane *lane, struct torc_future **ret_futures, size_t most,
		       size_t parts)
{
	size_t head = __atomic_load_n(&lane->head, __ATOMIC_ACQUIRE), tail, n;
	struct torc__lane_slots *s;

	do {
		tail = __atomic_load_n(&lane->tail, __ATOMIC_ACQUIRE); /* then its slots */
		if (head >= tail)
			return 0;
		s = __atomic_load_n(&lane->slots, __ATOMIC_ACQUIRE);
		n = share(tail - head, most, parts);
		for (size_t i = 0; i < n; i++)
			ret_futures[i] = __atomic_load_n(&s->futures[(head + i) & s->mask],
							 __ATOMIC_RELAXED);
	} while (!__atomic_compare_exchange_n(&lane->head, &head, head + n, false, __ATOMIC_SEQ_CST,
					      __ATOMIC_ACQUIRE));
	return n;
}
