/*
 * micro_fiber.c - what the scheduler costs: yield, spawn, scopes.
 */
#include "bench/micro.h"

#include <limits.h>

#include <torc/core/group.h>

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

/* --- yield --- */

struct crowd {
	unsigned fibers, rounds;
	bool elsewhere; /* the fiber that measures yields from a place of its own */
};

/*
 * Not inlined: all fibers return from torc_yield to the same place, as fibers of a server do. The
 * processor predicts a return by the last call, which here was another fiber's; where the two differ it
 * costs the 8 ns that "from two places" shows.
 */
static __attribute__((noinline)) void yield_until(const bool *stop, unsigned rounds)
{
	while (!*stop && rounds--)
		torc_yield();
}

static int yielder(void *arg)
{
	yield_until(arg, UINT_MAX);
	return 0;
}

static void yield_rounds(const struct crowd *c)
{
	static const bool never;

	if (!c->elsewhere)
		yield_until(&never, c->rounds);
	for (unsigned i = 0; c->elsewhere && i < c->rounds; i++)
		torc_yield();
}

/* One fiber of the crowd looks at the clock; each of its yields is one of everybody's. */
static double measure_yield(void *arg)
{
	const struct crowd *c = arg;
	double start = micro_now_ns();

	yield_rounds(c);
	return (micro_now_ns() - start) / ((double)c->fibers * c->rounds);
}

static int yield_among(struct crowd c, const char *metric, double target)
{
	struct torc_group g;
	bool stop = false;
	int r = 0, failure;

	torc_group_enter(&g);
	for (unsigned i = 1; i < c.fibers && !r; i++)
		r = torc_group_spawn(&g, yielder, &stop);
	if (!r)
		micro_report(metric, micro_median(measure_yield, &c), "ns", target);
	stop = true;
	failure = torc_group_wait(&g);
	return r < 0 ? r : failure;
}

static int yield_fiber(void *arg)
{
	int r = yield_among((struct crowd){ 2, 2000000, false }, "2 fibers", 8);

	(void)arg;
	if (!r)
		r = yield_among((struct crowd){ 2, 2000000, true }, "2 fibers, from two places",
				MICRO_NO_TARGET);
	if (!r)
		r = yield_among((struct crowd){ 1000, 4000, false }, "1000 fibers",
				MICRO_NO_TARGET);
	if (!r)
		r = yield_among((struct crowd){ 100000, 10, false }, "100000 fibers",
				MICRO_NO_TARGET);
	return r;
}

static int run_yield(void)
{
	return micro_in_fiber(yield_fiber);
}

const struct micro micro_yield = { "yield", "torc_yield, from one fiber to the next", run_yield };

/* --- spawn --- */

struct batch {
	unsigned fibers, rounds;
	int error;
};

static double measure_spawn(void *arg)
{
	struct batch *b = arg;
	double start = micro_now_ns();

	for (unsigned i = 0; i < b->rounds; i++) {
		struct torc_group g;

		torc_group_enter(&g);
		for (unsigned n = 0; n < b->fibers; n++)
			b->error |= torc_group_spawn(&g, nothing, NULL);
		b->error |= torc_group_wait(&g);
	}
	return (micro_now_ns() - start) / ((double)b->fibers * b->rounds);
}

static int spawn_fiber(void *arg)
{
	struct batch one = { 1, 500000, 0 }, many = { 64, 10000, 0 };

	(void)arg;
	micro_report("group enter, spawn, wait", micro_median(measure_spawn, &one), "ns", 45);
	micro_report("per fiber, 64 in one group", micro_median(measure_spawn, &many), "ns",
		     MICRO_NO_TARGET);
	return one.error | many.error;
}

static int run_spawn(void)
{
	return micro_in_fiber(spawn_fiber);
}

const struct micro micro_spawn = { "spawn", "start a fiber on a cached stack and wait for its end",
				   run_spawn };

/* --- scope --- */

#define SCOPES 2000000

static double measure_scope_until(void *arg)
{
	double start = micro_now_ns();

	(void)arg;
	for (unsigned i = 0; i < SCOPES; i++) {
		struct torc_scope s;

		torc_scope_enter_until(&s, torc_turn_ns() + TORC_SECONDS(60));
		torc_scope_leave(&s);
	}
	return (micro_now_ns() - start) / SCOPES;
}

static double measure_scope(void *arg)
{
	double start = micro_now_ns();

	(void)arg;
	for (unsigned i = 0; i < SCOPES; i++) {
		struct torc_scope s;

		torc_scope_enter(&s, TORC_SECONDS(60));
		torc_scope_leave(&s);
	}
	return (micro_now_ns() - start) / SCOPES;
}

static int scope_fiber(void *arg)
{
	(void)arg;
	micro_report("enter with the turn's clock, leave", micro_median(measure_scope_until, NULL),
		     "ns", MICRO_NO_TARGET);
	micro_report("enter with a timeout, leave", micro_median(measure_scope, NULL), "ns",
		     MICRO_NO_TARGET);
	return 0;
}

static int run_scope(void)
{
	return micro_in_fiber(scope_fiber);
}

const struct micro micro_scope = { "scope", "a scope with a deadline, entered and left",
				   run_scope };

/* --- timeout: the one of these that other runtimes have too, for bench/peers --- */

static int timeout_fiber(void *arg)
{
	(void)arg;
	micro_report("scope with a deadline", micro_median(measure_scope, NULL), "ns", 30);
	return 0;
}

static int run_timeout(void)
{
	return micro_in_fiber(timeout_fiber);
}

const struct micro micro_timeout = { "timeout", "a scope with a timeout, as everybody enters it",
				     run_timeout };
