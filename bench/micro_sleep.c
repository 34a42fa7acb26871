/*
 * micro_sleep.c - timers: armed and fired, and taken back by a cancellation.
 */
#include "bench/micro.h"

#include <torc/core/group.h>

/* Sleepers wake up in an order that has nothing to do with the one they started in. */
#define SPREAD_NS \
	20 /* mean time between two of them: less than one takes, the loop is never idle */

struct sleepers {
	unsigned count, rounds, spawned;
	int error;
};

static int sleeper(void *arg)
{
	struct sleepers *s = arg;
	uint64_t place = s->spawned++ * UINT64_C(2654435761) % s->count;
	int r = 0;

	for (unsigned i = 0; i < s->rounds && !r; i++)
		r = torc_sleep(1 + place * SPREAD_NS);
	return r;
}

/* Processor time, for a single sleeper waits in the kernel. */
static double measure_sleep(void *arg)
{
	struct sleepers *s = arg;
	struct torc_group g;
	double start = micro_cpu_ns();

	s->spawned = 0;
	torc_group_enter(&g);
	for (unsigned i = 0; i < s->count; i++)
		s->error |= torc_group_spawn(&g, sleeper, s);
	s->error |= torc_group_wait(&g);
	return (micro_cpu_ns() - start) / ((double)s->count * s->rounds);
}

static int hour_sleeper(void *arg)
{
	(void)arg;
	return torc_sleep(TORC_SECONDS(3600));
}

/* What it costs to cancel and end a fiber whose timer is in the heap. */
static double measure_cancel(void *arg)
{
	struct sleepers *s = arg;
	struct torc_group g;
	double start;

	torc_group_enter(&g);
	for (unsigned i = 0; i < s->count; i++)
		s->error |= torc_group_spawn(&g, hour_sleeper, NULL);
	torc_yield(); /* all of them are parked after this */
	start = micro_cpu_ns();
	torc_group_cancel(&g);
	s->error |= torc_group_wait(&g);
	return (micro_cpu_ns() - start) / s->count;
}

/* --- a million: measured once, for its stacks take some 4 GiB and most of the time --- */

#define MILLION    1000000
#define ARM_WITHIN TORC_SECONDS(2)

static uint64_t first_moment;

static int moment_sleeper(void *arg)
{
	struct sleepers *s = arg;
	uint64_t place = s->spawned++ * UINT64_C(2654435761) % s->count;

	return torc_sleep_until(first_moment + place * SPREAD_NS);
}

static int million_fiber(void *arg)
{
	struct sleepers s = { .count = MILLION };
	struct torc_group g;
	double start, armed;

	(void)arg;
	torc_group_enter(&g);
	for (unsigned i = 0; i < s.count; i++)
		s.error |= torc_group_spawn(&g, moment_sleeper, &s);
	first_moment = torc_now_ns() + ARM_WITHIN;
	start = micro_cpu_ns();
	torc_yield(); /* all of them are parked after this */
	armed = micro_cpu_ns();
	s.error |= torc_group_wait(&g);
	micro_report("cpu, start and arm, 1000000 sleepers", (armed - start) / s.count, "ns",
		     MICRO_NO_TARGET);
	micro_report("cpu, fire and end, 1000000 sleepers", (micro_cpu_ns() - armed) / s.count,
		     "ns", MICRO_NO_TARGET);
	if (!s.error)
		micro_report("cpu, cancel and end, 1000000 sleepers", measure_cancel(&s), "ns",
			     MICRO_NO_TARGET);
	return s.error;
}

/* --- */

static int sleep_fiber(void *arg)
{
	struct sleepers one = { .count = 1, .rounds = 20000 };
	struct sleepers some = { .count = 1000, .rounds = 200 };
	struct sleepers many = { .count = 100000, .rounds = 5 };

	(void)arg;
	micro_report("cpu, 1 sleeper", micro_median(measure_sleep, &one), "ns", MICRO_NO_TARGET);
	micro_report("cpu, 1000 sleepers", micro_median(measure_sleep, &some), "ns",
		     MICRO_NO_TARGET);
	micro_report("cpu, 100000 sleepers", micro_median(measure_sleep, &many), "ns",
		     MICRO_NO_TARGET);
	micro_report("cpu, cancel and end, 1000 sleepers", micro_median(measure_cancel, &some),
		     "ns", MICRO_NO_TARGET);
	micro_report("cpu, cancel and end, 100000 sleepers", micro_median(measure_cancel, &many),
		     "ns", MICRO_NO_TARGET);
	return one.error | some.error | many.error;
}

static int run(void)
{
	int r = micro_in_fiber(sleep_fiber);

	return r < 0 ? r : micro_in_fiber(million_fiber);
}

const struct micro micro_sleep = { "sleep", "torc_sleep: arm a timer and fire it; cancel a sleeper",
				   run };
