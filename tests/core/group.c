/*
 * Groups, tasks and detached fibers where they are hardest: deep, across loops, at limits, at the end.
 */
#include "tests/core/run.h"

#include <stdatomic.h>

TestSuite(group, .timeout = 60);

static int note_cancel(void *arg)
{
	int *result = arg;

	*result = torc_sleep(TORC_NEVER);
	return *result;
}

static int stubborn(void *arg)
{
	(void)arg;
	torc_sleep(TORC_NEVER);
	return -EPROTO; /* a failure of its own while it is cancelled */
}

static int join_given(void *arg)
{
	return torc_task_join(arg);
}

/* --- failures and tasks --- */

static int failures(void *arg)
{
	struct torc_group g;
	struct torc_task task, joiners[3];
	struct torc_scope s, shield;
	int sibling = 1;

	(void)arg;
	/* the first failure counts, not those that the cancellation brings about */
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, note_cancel, &sibling), 0);
	check_eq(torc_group_spawn(&g, stubborn, NULL), 0);
	check_eq(torc_group_spawn(&g, return_arg, ARG(-EIO)), 0);
	check_eq(torc_group_spawn(&g, return_arg, ARG(-EPIPE)), 0);
	check_eq(torc_sleep(TORC_NEVER), -ECANCELED);
	check_eq(torc_group_wait(&g), -EIO);
	check_eq(sibling, -ECANCELED);
	/* a failure of its own in a group that was cancelled */
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, stubborn, NULL), 0);
	torc_group_cancel(&g);
	check_eq(torc_group_wait(&g), -EPROTO);
	/* many join one; the middle of them gives up; their -ECANCELED is not an echo but a failure */
	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g, HOW(.task = &task), forever, NULL), 0);
	for (int i = 0; i < 3; i++)
		check_eq(torc_group_spawn_with(&g, HOW(.task = &joiners[i]), join_given, &task), 0);
	check_eq(torc_yield(), 0);
	torc_task_cancel(&joiners[1]);
	check_eq(torc_task_join(&joiners[1]), -ECANCELED);
	torc_task_cancel(&task);
	check_eq(torc_task_join(&task), -ECANCELED);
	check_eq(torc_group_wait(&g), -ECANCELED);
	/* the owner is behind a shield, its group is not */
	torc_scope_enter(&s, TORC_MS(1));
	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g, HOW(.task = &task), note_cancel, &sibling), 0);
	torc_scope_enter_shield(&shield, LONG);
	check_eq(torc_task_join(&task), -ETIMEDOUT); /* told while we were shielded */
	check_eq(sibling, -ETIMEDOUT);
	check_eq(torc_scope_leave(&shield), 0);
	check_eq(torc_group_wait(&g), -ETIMEDOUT);
	check_eq(torc_scope_leave(&s), -ETIMEDOUT);
	return 0;
}

Test(group, failures_echoes_and_cancellations_are_told_apart)
{
	run(failures, NULL);
}

static int notice_at_once(void *arg)
{
	atomic_fetch_add((atomic_int *)arg, 1);
	check_eq(torc_scope_status(), -ECANCELED);
	return nop(); /* its first suspending call tells it */
}

static int spawn_when_cancelled(void *arg)
{
	struct torc_group g;
	atomic_int ran = 0;

	(void)arg;
	torc_group_enter(&g);
	torc_group_cancel(&g);
	check_eq(torc_group_spawn(&g, notice_at_once, &ran), 0);
	check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(1)), notice_at_once, &ran), 0);
	check_eq(torc_group_wait(&g), 0);
	check_eq(atomic_load(&ran), 2);
	return 0;
}

Test(group, a_fiber_spawned_into_a_cancelled_one_runs_and_is_told)
{
	for (int i = 0; i < 20; i++)
		cr_assert_eq(run_with(OPTIONS(.loops = 2), spawn_when_cancelled, NULL), 0);
}

/* --- trees --- */

static int nest_wide(void *arg)
{
	intptr_t depth = VALUE(arg);
	struct torc_group g;

	if (!depth)
		return torc_sleep(TORC_NEVER);
	torc_group_enter(&g);
	for (int i = 0; i < 5; i++)
		check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(i % 3)), nest_wide,
					       ARG(depth - 1)),
			 0);
	return torc_group_wait(&g);
}

static int time_out_wide(void *arg)
{
	struct torc_scope s;

	torc_scope_enter(&s, TORC_MS(VALUE(arg)));
	check_eq(nest_wide(ARG(5)), -ETIMEDOUT); /* 3905 fibers */
	check_eq(torc_scope_leave(&s), -ETIMEDOUT);
	return 0;
}

Test(group, a_tree_over_three_loops_ends_at_its_roots_deadline)
{
	for (int ms = 0; ms < 8; ms++)
		cr_assert_eq(run_with(OPTIONS(.loops = 3), time_out_wide, ARG(ms * ms)), 0);
}

struct chain {
	struct torc_group *group;
	int left;
};

static int spawn_next(void *arg)
{
	struct chain *c = arg;

	return c->left-- ? torc_group_spawn(c->group, spawn_next, c) : 0;
}

static int chains(void *arg)
{
	struct torc_group g;
	struct chain c = { &g, 1000 };

	(void)arg;
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, spawn_next, &c), 0);
	check_eq(torc_group_wait(&g), 0);
	check_eq(c.left, -1);
	return 0;
}

Test(group, children_spawn_siblings_while_the_owner_waits)
{
	run(chains, NULL);
}

/* --- limits --- */

static int limits(void *arg)
{
	static const int loops[] = { 3, -2, INT32_MAX, INT32_MIN };
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	for (size_t i = 0; i < COUNT(loops); i++)
		check_eq(torc_group_spawn_with(&g, HOW(.loop = loops[i]), forever, NULL), -EINVAL);
	while (torc_group_spawn(&g, forever, NULL) == 0)
		;
	check_eq(torc_detach("stray", forever, NULL), -EAGAIN);
	check_eq(torc_sleep(1000), 0); /* a refused spawn harms nobody */
	torc_group_cancel(&g);
	check_eq(torc_group_wait(&g), 0);
	/* elsewhere it is the fiber's own failure */
	torc_group_enter(&g);
	for (int i = 0; i < 100; i++)
		check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(1)), forever, NULL), 0);
	check_eq(torc_sleep(TORC_NEVER), -ECANCELED);
	check_eq(torc_group_wait(&g), -EAGAIN);
	return 0;
}

Test(group, spawn_is_refused_at_its_limits)
{
	cr_assert_eq(run_with(OPTIONS(.fibers_max = 100, .loops = 2), limits, NULL), 0);
}

/* --- across loops, and at the end --- */

static atomic_long visits;

/* Back and forth between loops that fall asleep in between. */
static int bounce(void *arg)
{
	intptr_t left = VALUE(arg);
	struct torc_group g;

	atomic_fetch_add(&visits, 1);
	if (!left)
		return 0;
	if (left % 4 == 0)
		check_eq(torc_sleep(TORC_MS(1)), 0);
	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP((torc_loop_index() + 1) % 3)),
				       bounce, ARG(left - 1)),
		 0);
	return torc_group_wait(&g);
}

static int bounce_many(void *arg)
{
	struct torc_group g;

	(void)arg;
	atomic_store(&visits, 0);
	torc_group_enter(&g);
	for (int i = 0; i < 100; i++)
		check_eq(torc_group_spawn(&g, bounce, ARG(20)), 0);
	check_eq(torc_group_wait(&g), 0);
	check_eq(atomic_load(&visits), 100 * 21);
	return 0;
}

Test(group, many_fibers_go_to_and_fro_between_loops_that_sleep)
{
	static const char *const wakes[] = { "", "msg_ring", "single_issuer", "msg_ring,min_wait" };

	for (size_t i = 0; i < COUNT(wakes); i++) {
		setenv("TORC_DISABLE", wakes[i], 1);
		cr_assert_eq(run_with(OPTIONS(.loops = 3), bounce_many, NULL), 0, "%s", wakes[i]);
	}
}

/* The runtime ends while cancellations and their echoes are still under way. */
static int end_in_the_middle(void *arg)
{
	struct torc_group g;
	struct torc_task tasks[8];

	torc_group_enter(&g);
	for (int i = 0; i < 8; i++)
		check_eq(torc_group_spawn_with(&g,
					       HOW(.loop = TORC_ON_LOOP(i % 4), .task = &tasks[i]),
					       i % 2 ? return_arg : forever, NULL),
			 0);
	for (intptr_t i = 0; i < VALUE(arg); i++)
		torc_yield();
	for (int i = 0; i < 8; i++)
		torc_task_cancel(&tasks[i]);
	return torc_group_wait(&g);
}

Test(group, the_runtime_may_end_right_after_a_cancellation_elsewhere)
{
	for (int i = 0; i < 100; i++)
		cr_assert_eq(run_with(OPTIONS(.loops = 4), end_in_the_middle, ARG(i)), 0);
}
