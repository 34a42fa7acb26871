/*
 * The heap of timers by itself. Sleeps are tested in promises.c and fiber.c.
 */
#include "tests/core/run.h"

#include "core/internal/timer.h"

TestSuite(timer, .timeout = 60);

#define TIMERS 1000

static void validate(const struct torc__timers *timers)
{
	for (size_t i = 0; i < timers->count; i++) {
		const struct torc__timer_entry *e = &timers->heap[i];

		cr_assert_eq(e->timer->index, i);
		cr_assert_eq(e->timer->at_ns, e->at_ns);
		if (i)
			cr_assert_leq(timers->heap[(i - 1) / 4].at_ns, e->at_ns, "entry %zu", i);
	}
}

/* Many are equal; all of what a fiber can do with its timer. */
Test(timer, heap_holds_its_invariants_under_random_use)
{
	static struct torc__timer pool[TIMERS];
	struct torc__timers timers = { .heap = NULL };
	uint64_t seed = 20261124;
	size_t armed = 0;

	for (size_t i = 0; i < TIMERS; i++)
		pool[i].at_ns = UINT64_MAX;
	cr_assert_eq(torc__timers_reserve(&timers, TIMERS), 0);
	cr_assert_eq(torc__timers_next(&timers), UINT64_MAX);
	for (int step = 0; step < 60000; step++) {
		struct torc__timer *t = &pool[next_random(&seed) % TIMERS];
		bool was_armed = t->at_ns != UINT64_MAX;

		if (next_random(&seed) % (step < 30000 ? 4 : 2)) {
			torc__timer_set(&timers, t,
					next_random(&seed) % (step % 3 ? 50 : 1u << 30));
			armed += !was_armed;
		} else {
			torc__timer_clear(&timers, t);
			torc__timer_clear(&timers, t); /* harmless */
			armed -= was_armed;
		}
		cr_assert_eq(timers.count, armed);
		if (step % 16 == 0)
			validate(&timers);
	}
	for (uint64_t last = 0; timers.count; torc__timer_clear(&timers, timers.heap[0].timer)) {
		cr_assert_geq(torc__timers_next(&timers), last);
		last = torc__timers_next(&timers);
	}
	torc__timers_done(&timers);
}
