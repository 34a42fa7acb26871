#include "core/internal/system.h"
#include "core/internal/timer.h"

#include <errno.h>
#include <stdlib.h>

static void place(struct torc__timers *timers, size_t index, struct torc__timer_entry entry)
{
	timers->heap[index] = entry;
	entry.timer->index = index;
}

static void sift_up(struct torc__timers *timers, size_t index, struct torc__timer_entry entry)
{
	while (index) {
		size_t parent = (index - 1) / 4;

		if (timers->heap[parent].at_ns <= entry.at_ns)
			break;
		place(timers, index, timers->heap[parent]);
		index = parent;
	}
	place(timers, index, entry);
}

static size_t earliest_child(const struct torc__timers *timers, size_t index)
{
	size_t child = index * 4 + 1;
	size_t last = child + 3 < timers->count ? child + 3 : timers->count - 1;
	size_t best = child;

	while (++child <= last)
		if (timers->heap[child].at_ns < timers->heap[best].at_ns)
			best = child;
	return best;
}

static void sift_down(struct torc__timers *timers, size_t index, struct torc__timer_entry entry)
{
	while (index * 4 + 1 < timers->count) {
		size_t child = earliest_child(timers, index);

		if (timers->heap[child].at_ns >= entry.at_ns)
			break;
		place(timers, index, timers->heap[child]);
		index = child;
	}
	place(timers, index, entry);
}

int torc__timers_reserve(struct torc__timers *timers, size_t count)
{
	struct torc__timer_entry *heap;
	size_t capacity = timers->capacity ? timers->capacity : 64;

	if (count <= timers->capacity)
		return 0;
	while (capacity < count)
		capacity *= 2;
	heap = torc__realloc(timers->heap, capacity * sizeof(*heap));
	if (!heap)
		return -ENOMEM;
	timers->heap = heap;
	timers->capacity = capacity;
	return 0;
}

void torc__timers_done(struct torc__timers *timers)
{
	torc__free(timers->heap);
	*timers = (struct torc__timers){ .heap = NULL };
}

void torc__timer_set(struct torc__timers *timers, struct torc__timer *timer, uint64_t at_ns)
{
	struct torc__timer_entry entry = { .at_ns = at_ns, .timer = timer };
	uint64_t before = timer->at_ns;

	timer->at_ns = at_ns;
	if (before == UINT64_MAX)
		sift_up(timers, timers->count++, entry);
	else if (at_ns < before)
		sift_up(timers, timer->index, entry);
	else
		sift_down(timers, timer->index, entry);
}

void torc__timer_clear(struct torc__timers *timers, struct torc__timer *timer)
{
	struct torc__timer_entry last;

	if (timer->at_ns == UINT64_MAX)
		return;
	timer->at_ns = UINT64_MAX;
	last = timers->heap[--timers->count];
	if (last.timer == timer)
		return;
	if (timer->index && last.at_ns < timers->heap[(timer->index - 1) / 4].at_ns)
		sift_up(timers, timer->index, last);
	else
		sift_down(timers, timer->index, last);
}
