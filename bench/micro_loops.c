/*
 * micro_loops.c - from one loop to another and back.
 */
#include "bench/micro.h"

#include <torc/core/group.h>

#define ROUNDS 20000
#define BURST  1000

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

static int spawn_there(struct torc_group *g)
{
	return torc_group_spawn_with(g, &(struct torc_spawn_options){ .loop = TORC_ON_LOOP(1) },
				     nothing, NULL);
}

/* There and back is two ways. Both loops look out for mail meanwhile; the first trips wake them. */
static double measure_ping_pong(void *arg)
{
	static double ways[ROUNDS];
	int *error = arg;

	for (unsigned i = 0; i < ROUNDS; i++) {
		double start = micro_now_ns();
		struct torc_group g;

		torc_group_enter(&g);
		*error |= spawn_there(&g);
		*error |= torc_group_wait(&g);
		ways[i] = (micro_now_ns() - start) / 2;
	}
	return micro_median_of(ways, ROUNDS);
}

static double measure_burst(void *arg)
{
	int *error = arg;
	double start = micro_now_ns();

	for (unsigned i = 0; i < ROUNDS / BURST; i++) {
		struct torc_group g;

		torc_group_enter(&g);
		for (unsigned n = 0; n < BURST; n++)
			*error |= spawn_there(&g);
		*error |= torc_group_wait(&g);
	}
	return (micro_now_ns() - start) / ROUNDS;
}

static int loops_fiber(void *arg)
{
	int error = 0;

	(void)arg;
	micro_report("spawn there and back, one way, p50", micro_median(measure_ping_pong, &error),
		     "ns", MICRO_NO_TARGET);
	micro_report("spawn and wait, bursts of 1000", micro_median(measure_burst, &error), "ns",
		     MICRO_NO_TARGET);
	return error ? error : micro_chan_cross(TORC_ON_LOOP(1));
}

static int run(void)
{
	return torc_run(&(struct torc_options){ .loops = 2, .no_signals = true }, loops_fiber,
			NULL);
}

const struct micro micro_cross = { "cross", "from one loop to another: fibers, channels", run };
