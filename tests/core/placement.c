/*
 * Which loop a fiber starts on.
 */
#include "tests/core/run.h"

#include <stdatomic.h>

TestSuite(placement, .timeout = 60);

#define LOOPS 4

static atomic_int seen[LOOPS];

static void start_counting(void)
{
	for (int i = 0; i < LOOPS; i++)
		atomic_store(&seen[i], 0);
}

static int seen_in_all(void)
{
	int n = 0;

	for (int i = 0; i < LOOPS; i++)
		n += atomic_load(&seen[i]);
	return n;
}

static int see(void *arg)
{
	(void)arg;
	atomic_fetch_add(&seen[torc_loop_index()], 1);
	return 0;
}

static int see_and_stay(void *arg)
{
	int index = torc_loop_index(), r;

	see(arg);
	r = torc_sleep(TORC_NEVER);
	check_eq(torc_loop_index(), index); /* a started fiber never moves */
	return r;
}

#define PLACED HOW(.loop = TORC_ON_LEAST_LOADED)

/* --- by number --- */

static int by_number(void *arg)
{
	struct torc_group g;
	struct torc_task task;

	(void)arg;
	torc_group_enter(&g);
	for (int i = 0; i < LOOPS; i++) {
		start_counting();
		check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(i), .task = &task), see,
					       NULL),
			 0);
		check_eq(torc_task_join(&task), 0);
		check_eq(atomic_load(&seen[i]), 1);
	}
	start_counting();
	check_eq(torc_group_spawn_with(&g, HOW(.name = "here"), see, NULL), 0);
	check_eq(torc_group_wait(&g), 0);
	check_eq(atomic_load(&seen[torc_loop_index()]), 1);
	return 0;
}

Test(placement, a_fiber_runs_on_the_loop_that_was_named_or_the_spawners)
{
	cr_assert_eq(run_with(OPTIONS(.loops = LOOPS), by_number, NULL), 0);
}

/* --- by load --- */

static int alone(void *arg)
{
	struct torc_group g;

	(void)arg;
	start_counting();
	torc_group_enter(&g);
	for (int i = 0; i < 10; i++)
		check_eq(torc_group_spawn_with(&g, PLACED, see, NULL), 0);
	check_eq(torc_group_wait(&g), 0);
	check_eq(atomic_load(&seen[0]), 10);
	return 0;
}

Test(placement, one_loop_is_the_least_loaded)
{
	run(alone, NULL);
}

/* The spawner has not suspended: nobody knows more than what it has sent out itself. */
static int spread(void *arg)
{
	struct torc_group g;

	(void)arg;
	for (int round = 0; round < 20; round++) {
		start_counting();
		torc_group_enter(&g);
		for (int i = 0; i < 10 * LOOPS; i++)
			check_eq(torc_group_spawn_with(&g, PLACED, see_and_stay, NULL), 0);
		while (seen_in_all() < 10 * LOOPS)
			check_eq(torc_yield(), 0);
		torc_group_cancel(&g);
		check_eq(torc_group_wait(&g), 0);
		for (int i = 0; i < LOOPS; i++)
			check_ge(atomic_load(&seen[i]), 1);
	}
	return 0;
}

Test(placement, a_burst_is_spread_over_all_loops)
{
	cr_assert_eq(run_with(OPTIONS(.loops = LOOPS), spread, NULL), 0);
}

static atomic_bool enough;

static int keep_ready(void *arg)
{
	atomic_fetch_add((atomic_int *)arg, 1);
	while (!atomic_load(&enough))
		torc_yield();
	return 0;
}

/* Loops 0 and 1 have 40 fibers ready, 2 has none. */
static int beside_busy_ones(void *arg)
{
	struct torc_group busy, g;
	atomic_int ready = 0;

	(void)arg;
	atomic_store(&enough, false);
	torc_group_enter(&busy);
	for (int i = 0; i < 80; i++)
		check_eq(torc_group_spawn_with(&busy, HOW(.loop = TORC_ON_LOOP(i % 2)), keep_ready,
					       &ready),
			 0);
	while (atomic_load(&ready) < 80)
		check_eq(torc_yield(), 0);
	start_counting();
	torc_group_enter(&g);
	for (int i = 0; i < 20; i++)
		check_eq(torc_group_spawn_with(&g, PLACED, see, NULL), 0);
	check_eq(torc_group_wait(&g), 0);
	atomic_store(&enough, true);
	check_eq(torc_group_wait(&busy), 0);
	check_eq(atomic_load(&seen[2]), 20);
	return 0;
}

Test(placement, a_loop_with_nothing_to_do_gets_them_all)
{
	cr_assert_eq(run_with(OPTIONS(.loops = 3), beside_busy_ones, NULL), 0);
}

/* --- passed on --- */

static atomic_bool hold_on, holding;

enum filling { NOTHING, BUSY, FULL };

/*
 * Keeps its loop from looking at its mail while fibers are placed there; then makes it much busier, or full, before
 * they can start.
 */
static int hold_then_fill(void *arg)
{
	struct torc_group g;
	atomic_int ready = 0;
	enum filling filling = (enum filling)VALUE(arg);

	atomic_store(&holding, true);
	while (atomic_load(&hold_on))
		;
	torc_group_enter(&g);
	for (int i = 0; filling == BUSY && i < 100; i++)
		check_eq(torc_group_spawn(&g, keep_ready, &ready), 0);
	while (filling == FULL && torc_group_spawn(&g, forever, NULL) == 0)
		;
	return torc_group_wait(&g);
}

#define PLACES 8

static void stop(struct torc_group *g, struct torc_task *tasks, bool early)
{
	while (!early && seen_in_all() < PLACES)
		check_eq(torc_yield(), 0);
	if (early)
		torc_group_cancel(g);
	else
		for (int i = 0; i < PLACES; i++)
			torc_task_cancel(&tasks[i]);
	atomic_store(&hold_on, false);
}

static void place_while_held(enum filling filling, bool early)
{
	struct torc_group filler, g;
	struct torc_task tasks[PLACES];

	atomic_store(&enough, false);
	atomic_store(&hold_on, true);
	atomic_store(&holding, false);
	start_counting();
	torc_group_enter(&filler);
	check_eq(torc_group_spawn_with(&filler, HOW(.loop = TORC_ON_LOOP(1)), hold_then_fill,
				       ARG(filling)),
		 0);
	while (!atomic_load(&holding))
		check_eq(torc_yield(), 0);
	torc_group_enter_supervisor(&g);
	for (int i = 0; i < PLACES; i++)
		check_eq(torc_group_spawn_with(&g,
					       HOW(.loop = TORC_ON_LEAST_LOADED, .task = &tasks[i]),
					       see_and_stay, NULL),
			 0);
	if (!early)
		atomic_store(&hold_on, false);
	stop(&g, tasks, early);
	check_eq(torc_group_wait(&g), 0);
	for (int i = 0; i < PLACES; i++)
		check_eq(torc_task_join(&tasks[i]), -ECANCELED);
	check_eq(seen_in_all(), PLACES);
	atomic_store(&enough, true);
	torc_group_cancel(&filler);
	check_eq(torc_group_wait(&filler), 0);
}

static int hold(void *arg)
{
	(void)arg;
	for (int early = 0; early < 2; early++) {
		place_while_held(NOTHING, early);
		check_ge(atomic_load(&seen[1]), 1); /* so they are sent there */
		place_while_held(BUSY, early);
		check_eq(atomic_load(&seen[1]), 0); /* and do not stay */
		place_while_held(FULL, early);
		check_eq(atomic_load(&seen[1]), 0);
	}
	return 0;
}

Test(placement, what_finds_its_loop_full_or_much_busier_is_passed_on_and_can_be_cancelled)
{
	for (int i = 0; i < 10; i++)
		cr_assert_eq(run_with(OPTIONS(.loops = 2, .fibers_max = 120), hold, NULL), 0);
}

static int full_everywhere(void *arg)
{
	struct torc_group g;
	int r;

	(void)arg;
	torc_group_enter_supervisor(&g);
	for (int i = 0; i < 300; i++) {
		r = torc_group_spawn_with(&g, PLACED, see_and_stay, NULL);
		check(r == 0 || r == -EAGAIN);
	}
	torc_group_cancel(&g);
	check_eq(torc_group_wait(&g), 0);
	return 0;
}

Test(placement, when_every_loop_is_full_the_spawn_is_refused_or_fails)
{
	cr_assert_eq(run_with(OPTIONS(.loops = 3, .fibers_max = 20), full_everywhere, NULL), 0);
}

static int detached_nowhere(void *arg)
{
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g, HOW(.loop = -2), see, NULL), -EINVAL);
	check_eq(torc_group_spawn_with(&g, HOW(.loop = torc_loop_count() + 1), see, NULL), -EINVAL);
	return torc_group_wait(&g);
}

Test(placement, a_loop_that_does_not_exist_is_refused)
{
	run(detached_nowhere, NULL);
}
