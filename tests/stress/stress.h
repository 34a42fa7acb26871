/*
 * tests/stress/stress.h - what the stress programs share: random numbers, a tally of calls, runs with guards of
 * either kind.
 */
#ifndef TESTS_STRESS_STRESS_H
#define TESTS_STRESS_STRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <torc/torc.h>

#include "tests/support/check.h"
#include "tests/support/random.h"

/* Calls that were done, and those that a cancellation, a deadline or an end came before. */
struct tally {
	atomic_long done, cut_short;
};

/* Was it done? Counts, too. */
static inline bool tally(struct tally *t, int r)
{
	atomic_fetch_add_explicit(r >= 0 ? &t->done : &t->cut_short, 1, memory_order_relaxed);
	return r >= 0;
}

/*
 * Runs app, which returns how many rounds it has made, with guards that have owners and without. Returns what main
 * is to return; `calls` is what the tally counts.
 */
static inline int run_rounds(int loops, torc_fn *app, const struct tally *t, const char *calls)
{
	static const char *const off[] = { "", "membarrier" };

	for (size_t i = 0; i < COUNT(off); i++) {
		int r;

		setenv("TORC_DISABLE", off[i], 1);
		r = torc_run(&(struct torc_options){ .loops = loops, .no_pin = true }, app, NULL);
		printf("disabled: %s; %d rounds, %ld %s done, %ld cut short\n", disabled(), r,
		       (long)t->done, calls, (long)t->cut_short);
		if (r <= 0)
			return 1;
	}
	return 0;
}

#endif
