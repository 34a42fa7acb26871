/*
 * core/internal/timer.h - one timer per fiber, sorted in a heap per loop.
 *
 * A fiber's timer is set to the earliest of what its scopes and its sleep ask for, when it is parked. It
 * is not moved when that time moves later: it fires early, finds nothing due and is set again. So a
 * server that gives each request a fresh deadline touches the heap once per timeout, not once per request.
 *
 * The heap is 4-ary: half the levels of a binary one, and the four children lie side by side.
 */
#ifndef TORC_CORE_INTERNAL_TIMER_H
#define TORC_CORE_INTERNAL_TIMER_H

#include <stddef.h>
#include <stdint.h>

struct torc__timer {
	uint64_t at_ns; /* TORC_NEVER: not in the heap */
	size_t index;
};

struct torc__timer_entry {
	uint64_t at_ns;
	struct torc__timer *timer;
};

struct torc__timers {
	struct torc__timer_entry *heap;
	size_t count, capacity;
};

/* Make room for `count` timers, so that setting one cannot fail. Returns 0 or -ENOMEM. */
int torc__timers_reserve(struct torc__timers *timers, size_t count);
void torc__timers_done(struct torc__timers *timers);

/* Set, or move earlier or later. */
void torc__timer_set(struct torc__timers *timers, struct torc__timer *timer, uint64_t at_ns);
void torc__timer_clear(struct torc__timers *timers, struct torc__timer *timer);

static inline uint64_t torc__timers_next(const struct torc__timers *timers)
{
	return timers->count ? timers->heap[0].at_ns : UINT64_MAX;
}

#endif
