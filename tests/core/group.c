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

/* --- failures on record --- */

struct script {
	int result;
	int yields; /* before it returns that */
};

static int play(void *arg)
{
	const struct script *s = arg;

	for (int i = 0; i < s->yields; i++)
		torc_yield();
	return s->result;
}

static struct script scripts[] = { { -EIO, 3 }, { 5, 1 }, { -EPIPE, 1 }, { -EPROTO, 2 }, { 0, 0 } };

static int on_record(void *arg)
{
	struct torc_failure failures[3];
	struct torc_group g;
	bool supervisor = VALUE(arg);

	torc_group_enter_with(&g, &(struct torc_group_options){ .supervisor = supervisor });
	memset(failures, 0, sizeof(failures));
	torc_group_record_failures(&g, failures, 2);
	check_eq(torc_group_failure_count(&g), 0);
	for (size_t i = 0; i < COUNT(scripts); i++)
		check_eq(torc_group_spawn_with(&g, HOW(.name = i ? "later" : "first"), play,
					       &scripts[i]),
			 0);
	check_eq(torc_group_spawn(&g, forever, NULL), 0);
	if (supervisor) {
		for (int i = 0; i < 5; i++)
			check_eq(torc_yield(), 0);
		check_eq(torc_group_failure_count(&g), 3);
		torc_group_cancel(&g);
	}
	check_eq(torc_group_wait(&g), supervisor ? 0 : -EPIPE);
	check_eq(torc_group_failure_count(&g), 3); /* and not the echo of forever */
	check_eq(failures[0].result, -EPIPE);
	check(!strcmp(failures[0].name, "later"));
	check(failures[0].fn == play && failures[0].arg == &scripts[2]);
	check(failures[0].spawn_site != NULL);
	check_eq(failures[1].result, -EPROTO);
	check_eq(failures[2].result, 0); /* beyond max nothing is written */
	return 0;
}

Test(group, further_failures_are_recorded_in_order_and_counted)
{
	run(on_record, ARG(false));
	run(on_record, ARG(true));
}

static int rename_and_fail(void *arg)
{
	torc_fiber_set_name("renamed");
	return (int)VALUE(arg);
}

static int failures_elsewhere(void *arg)
{
	struct torc_failure failures[8];
	struct torc_group g;

	(void)arg;
	torc_group_enter_supervisor(&g);
	torc_group_record_failures(&g, failures, 8);
	for (int i = 0; i < 8; i++)
		check_eq(torc_group_spawn_with(&g, HOW(.name = "n", .loop = TORC_ON_LOOP(i % 3)),
					       rename_and_fail, ARG(-1 - i)),
			 0);
	check_eq(torc_group_wait(&g), 0);
	check_eq(torc_group_failure_count(&g), 8);
	for (int i = 0; i < 8; i++) {
		check_eq(failures[i].result, VALUE(failures[i].arg));
		check(failures[i].fn == rename_and_fail && failures[i].spawn_site);
		check(!strcmp(failures[i].name, "renamed"));
	}
	return 0;
}

Test(group, failures_on_other_loops_are_recorded_too)
{
	cr_assert_eq(run_with(OPTIONS(.loops = 3), failures_elsewhere, NULL), 0);
}

/* --- in order of ending --- */

static int in_order(void *arg)
{
	static struct script of_ending[] = { { 10, 3 }, { -5, 1 }, { 12, 2 }, { 13, 0 } };
	static const int expected[] = { 13, -5, 12, 10 };
	struct torc_task tasks[COUNT(of_ending)], *ended = NULL;
	struct torc_group g;

	(void)arg;
	torc_group_enter_supervisor(&g);
	check_eq(torc_group_next(&g, &ended), 0); /* nothing was spawned */
	check_eq(torc_group_spawn(&g, return_arg, NULL), 0);
	check_eq(torc_group_next(&g, &ended), 0); /* not with a task */
	check(!ended);
	for (size_t i = 0; i < COUNT(tasks); i++)
		check_eq(torc_group_spawn_with(&g, HOW(.task = &tasks[i]), play, &of_ending[i]), 0);
	check_eq(torc_task_join(&tasks[2]), 12); /* joined, and reported all the same */
	for (size_t i = 0; i < COUNT(tasks); i++) {
		check_eq(torc_group_next(&g, &ended), 1);
		check_eq(torc_task_join(ended), expected[i]);
		/* its memory may be used again: once more the same */
		if (i == 0)
			check_eq(torc_group_spawn_with(&g, HOW(.task = ended), return_arg, ARG(77)),
				 0);
	}
	check_eq(torc_group_next(&g, &ended), 1);
	check_eq(torc_task_join(ended), 77);
	check_eq(torc_group_next(&g, &ended), 0);
	return torc_group_wait(&g);
}

Test(group, next_reports_each_task_once_in_order_of_ending)
{
	run(in_order, NULL);
}

static int next_from_everywhere(void *arg)
{
	struct torc_task tasks[64], *ended;
	struct torc_group g;
	int n = 0, r;

	(void)arg;
	torc_group_enter_supervisor(&g);
	for (int i = 0; i < 64; i++)
		check_eq(torc_group_spawn_with(&g,
					       HOW(.loop = TORC_ON_LOOP(i % 3), .task = &tasks[i]),
					       return_arg, ARG(i)),
			 0);
	while ((r = torc_group_next(&g, &ended)) > 0) {
		check_eq(torc_task_join(ended), ended - tasks);
		n++;
	}
	check_eq(r, 0);
	check_eq(n, 64);
	return torc_group_wait(&g);
}

Test(group, next_reports_tasks_of_other_loops)
{
	cr_assert_eq(run_with(OPTIONS(.loops = 3), next_from_everywhere, NULL), 0);
}

static int next_cancelled(void *arg)
{
	struct torc_task task, *ended = NULL;
	struct torc_scope s, shield;
	struct torc_group g, others;

	(void)arg;
	torc_group_enter(&others);
	torc_group_enter_supervisor(&g);
	check_eq(torc_group_spawn_with(&g, HOW(.task = &task), forever, NULL), 0);
	/* by another fiber, by a deadline, before it begins */
	torc_scope_enter(&s, TORC_NEVER);
	check_eq(torc_group_spawn(&others, cancel_scope, &s), 0);
	check_eq(torc_group_next(&g, &ended), -ECANCELED);
	check_eq(torc_group_next(&g, &ended), -ECANCELED);
	check_eq(torc_scope_leave(&s), -ECANCELED);
	torc_scope_enter(&s, TORC_MS(1));
	check_eq(torc_group_next(&g, &ended), -ETIMEDOUT);
	check_eq(torc_scope_leave(&s), -ETIMEDOUT);
	check(!ended); /* written on success only */
	/* behind a shield it waits on; what has ended is told in a cancelled scope too */
	torc_task_cancel(&task);
	torc_scope_enter(&s, 0);
	torc_scope_enter_shield(&shield, LONG);
	check_eq(torc_group_next(&g, &ended), 1);
	check(ended == &task);
	check_eq(torc_group_spawn_with(&g, HOW(.task = &task), return_arg, ARG(3)), 0);
	check_eq(torc_yield(), 0);
	check_eq(torc_scope_leave(&shield), 0);
	check_eq(torc_group_next(&g, &ended), 1);
	check_eq(torc_task_join(ended), 3);
	check_eq(torc_group_next(&g, &ended), 0);
	torc_scope_leave(&s);
	check_eq(torc_group_wait(&g), 0);
	return torc_group_wait(&others);
}

Test(group, next_ends_by_cancellation_and_deadline_and_loses_nothing)
{
	run(next_cancelled, NULL);
}

struct cancel_after {
	struct torc_scope *scope;
	int yields;
};

static int cancel_after(void *arg)
{
	struct cancel_after *c = arg;

	for (int i = 0; i < c->yields; i++)
		torc_yield();
	torc_scope_cancel(c->scope);
	return 0;
}

/* Scopes are not left before who is to cancel them has done so. */
static int join_shielded(struct torc_task *task)
{
	struct torc_scope shield;
	int r;

	torc_scope_enter_shield(&shield, LONG);
	r = torc_task_join(task);
	torc_scope_leave(&shield);
	return r;
}

/* The end and the cancellation come in the same turn, in either order. */
static int next_raced(void *arg)
{
	static struct script two_yields = { 9, 2 };
	struct torc_task task, canceller, *ended;
	struct torc_group g, others;
	struct torc_scope s;
	struct cancel_after c = { &s, 0 };
	int r, reported = 0;

	(void)arg;
	torc_group_enter(&others);
	for (int i = 0; i < 8; i++) {
		c.yields = i / 2;
		torc_group_enter_supervisor(&g);
		torc_scope_enter(&s, TORC_NEVER);
		if (i % 2)
			check_eq(torc_group_spawn_with(&others, HOW(.task = &canceller),
						       cancel_after, &c),
				 0);
		check_eq(torc_group_spawn_with(&g, HOW(.task = &task), play, &two_yields), 0);
		if (i % 2 == 0)
			check_eq(torc_group_spawn_with(&others, HOW(.task = &canceller),
						       cancel_after, &c),
				 0);
		r = torc_group_next(&g, &ended);
		check(r == 1 || r == -ECANCELED);
		reported += r == 1;
		check_eq(join_shielded(&canceller), 0);
		torc_scope_leave(&s);
		if (r < 0)
			check_eq(torc_group_next(&g, &ended), 1); /* it is still there to be had */
		check_eq(torc_task_join(ended), 9);
		check_eq(torc_group_next(&g, &ended), 0);
		check_eq(torc_group_wait(&g), 0);
	}
	check(reported > 0 && reported < 8);
	return torc_group_wait(&others);
}

Test(group, next_that_is_cancelled_while_a_task_ends_reports_it_once)
{
	run(next_raced, NULL);
}

/* --- a limit --- */

static atomic_int running, running_most, runs;

static int run_limited(void *arg)
{
	int now = atomic_fetch_add(&running, 1) + 1, most = atomic_load(&running_most);

	while (now > most && !atomic_compare_exchange_weak(&running_most, &most, now))
		;
	atomic_fetch_add(&runs, 1);
	for (int i = 0; i < VALUE(arg); i++)
		torc_yield();
	atomic_fetch_sub(&running, 1);
	return 0;
}

static void start_counting(void)
{
	atomic_store(&running, 0);
	atomic_store(&running_most, 0);
	atomic_store(&runs, 0);
}

static int limited(void *arg)
{
	struct torc_group g;

	(void)arg;
	for (unsigned limit = 1; limit <= 5; limit++) {
		start_counting();
		torc_group_enter_with(&g, &(struct torc_group_options){ .limit = limit });
		for (int i = 0; i < 50; i++)
			check_eq(torc_group_spawn(&g, run_limited, ARG(5 + i % 4)), 0);
		check_eq(torc_group_wait(&g), 0);
		check_eq(atomic_load(&running_most), limit);
		check_eq(atomic_load(&runs), 50);
	}
	return 0;
}

Test(group, a_limit_bounds_the_fibers_that_run)
{
	run(limited, NULL);
}

static struct torc_group *limited_group;

static int spawn_many_limited(void *arg)
{
	for (int i = 0; i < 40; i++)
		check_eq(torc_group_spawn_with(limited_group,
					       HOW(.loop = (int)VALUE(arg) ? TORC_ON_LOOP(i % 3)
									   : TORC_ON_LEAST_LOADED),
					       run_limited, ARG(i % 3)),
			 0);
	return 0;
}

static int limited_from_everywhere(void *arg)
{
	struct torc_group g, spawners;

	(void)arg;
	start_counting();
	torc_group_enter_with(&g, &(struct torc_group_options){ .limit = 4 });
	limited_group = &g;
	torc_group_enter(&spawners);
	for (int i = 0; i < 6; i++)
		check_eq(torc_group_spawn_with(&spawners, HOW(.loop = TORC_ON_LOOP(i % 3)),
					       spawn_many_limited, ARG(i % 2)),
			 0);
	check_eq(torc_group_wait(&spawners), 0);
	check_eq(torc_group_wait(&g), 0);
	check_le(atomic_load(&running_most), 4);
	check_eq(atomic_load(&runs), 240);
	return 0;
}

Test(group, a_limit_holds_for_spawners_of_all_loops)
{
	for (int i = 0; i < 5; i++)
		cr_assert_eq(run_with(OPTIONS(.loops = 3), limited_from_everywhere, NULL), 0);
}

static int end_given(void *arg)
{
	torc_task_cancel(arg);
	return 0;
}

static int limited_cancelled(void *arg)
{
	struct torc_group g, others;
	struct torc_task task;
	struct torc_scope s, shield;

	(void)arg;
	start_counting();
	torc_group_enter(&others);
	torc_group_enter_with(&g, &(struct torc_group_options){ .limit = 1 });
	check_eq(torc_group_spawn_with(&g, HOW(.task = &task), forever, NULL), 0);
	/* by another fiber, by a deadline, before it begins: nothing is started */
	torc_scope_enter(&s, TORC_NEVER);
	check_eq(torc_group_spawn(&others, cancel_scope, &s), 0);
	check_eq(torc_group_spawn(&g, run_limited, NULL), -ECANCELED);
	check_eq(torc_group_spawn(&g, run_limited, NULL), -ECANCELED);
	/* behind a shield it waits for its place */
	torc_scope_enter_shield(&shield, LONG);
	check_eq(torc_group_spawn(&others, end_given, &task), 0);
	check_eq(torc_group_spawn_with(&g, HOW(.task = &task), forever, NULL), 0);
	check_eq(torc_scope_leave(&shield), 0);
	torc_scope_leave(&s);
	torc_scope_enter(&s, TORC_MS(1));
	check_eq(torc_group_spawn(&g, run_limited, NULL), -ETIMEDOUT);
	torc_scope_leave(&s);
	check_eq(atomic_load(&runs), 0);
	/* a spawn that fails gives its place back */
	torc_task_cancel(&task);
	for (int i = 0; i < 3; i++)
		check_eq(torc_group_spawn_with(&g, HOW(.loop = 99), run_limited, NULL), -EINVAL);
	check_eq(torc_group_spawn(&g, run_limited, NULL), 0);
	/* the owner's calls fail when a fiber has failed, this one too */
	check_eq(torc_group_spawn(&g, return_arg, ARG(-EIO)), 0);
	check_eq(torc_group_spawn(&g, run_limited, NULL), -ECANCELED);
	check_eq(torc_group_wait(&g), -EIO);
	check_eq(atomic_load(&runs), 1);
	return torc_group_wait(&others);
}

Test(group, a_limited_spawn_ends_by_cancellation_and_deadline_and_starts_nothing)
{
	run(limited_cancelled, NULL);
}

/* The place comes free and the cancellation comes in the same turn, in either order. */
static int limited_raced(void *arg)
{
	static struct script two_yields = { 0, 2 };
	struct torc_group g, others;
	struct torc_task canceller;
	struct torc_scope s;
	struct cancel_after c = { &s, 0 };
	int started = 0;

	(void)arg;
	start_counting();
	torc_group_enter(&others);
	for (int i = 0; i < 8; i++) {
		int r;

		c.yields = i / 2;
		torc_group_enter_with(&g, &(struct torc_group_options){ .limit = 1 });
		torc_scope_enter(&s, TORC_NEVER);
		if (i % 2)
			check_eq(torc_group_spawn_with(&others, HOW(.task = &canceller),
						       cancel_after, &c),
				 0);
		check_eq(torc_group_spawn(&g, play, &two_yields), 0);
		if (i % 2 == 0)
			check_eq(torc_group_spawn_with(&others, HOW(.task = &canceller),
						       cancel_after, &c),
				 0);
		r = torc_group_spawn(&g, run_limited, NULL);
		check(r == 0 || r == -ECANCELED);
		started += r == 0;
		check_eq(join_shielded(&canceller), 0);
		torc_scope_leave(&s);
		check_eq(torc_group_spawn(&g, run_limited, NULL), 0); /* no place was lost */
		check_eq(torc_group_wait(&g), 0);
	}
	check_eq(atomic_load(&runs), 8 + started);
	check(started > 0 && started < 8);
	return torc_group_wait(&others);
}

Test(group, a_limited_spawn_that_is_cancelled_while_its_place_comes_free_loses_no_place)
{
	run(limited_raced, NULL);
}

/* --- from afar --- */

static atomic_int loops_seen[4];

static int see_loop(void *arg)
{
	atomic_fetch_add(&loops_seen[torc_loop_index()], 1);
	return (int)VALUE(arg);
}

static struct torc_group *far_group;

static int spawn_from_afar(void *arg)
{
	(void)arg;
	check_eq(torc_group_spawn(far_group, see_loop, NULL), 0); /* here */
	for (int i = 0; i < 3; i++)
		check_eq(torc_group_spawn_with(far_group, HOW(.loop = TORC_ON_LOOP(i)), see_loop,
					       NULL),
			 0);
	/* what is known at once is returned */
	check_eq(torc_group_spawn_with(far_group, HOW(.loop = 9), see_loop, NULL), -EINVAL);
	check_eq(torc_group_spawn_with(far_group, HOW(.stack_bytes = 1u << 27), see_loop, NULL),
		 -EINVAL);
	return 0;
}

static int open_for_afar(void *arg)
{
	struct torc_group g;

	(void)arg;
	for (int i = 0; i < 4; i++)
		atomic_store(&loops_seen[i], 0);
	torc_group_enter(&g);
	far_group = &g;
	for (int i = 0; i < 3; i++)
		check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(i)), spawn_from_afar,
					       NULL),
			 0);
	check_eq(torc_group_wait(&g), 0);
	for (int i = 0; i < 3; i++)
		check_eq(atomic_load(&loops_seen[i]), 4);
	return 0;
}

Test(group, fibers_of_any_loop_spawn_into_it_onto_any_loop)
{
	for (int i = 0; i < 20; i++)
		cr_assert_eq(run_with(OPTIONS(.loops = 3), open_for_afar, NULL), 0);
}

static int fail_from_afar(void *arg)
{
	check_eq(torc_group_spawn_with(far_group, HOW(.loop = (int)VALUE(arg)), return_arg,
				       ARG(-EPROTO)),
		 0);
	return torc_sleep(TORC_NEVER);
}

static int failing_from_afar(void *arg)
{
	struct torc_group g;

	(void)arg;
	for (int i = 0; i <= 3; i++) {
		torc_group_enter(&g);
		far_group = &g;
		check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(1)), fail_from_afar,
					       ARG(i)),
			 0);
		check_eq(torc_group_wait(&g), -EPROTO);
		check_eq(torc_group_failure_count(&g), 1);
	}
	return 0;
}

Test(group, a_fiber_spawned_from_afar_fails_it_like_any_other)
{
	for (int i = 0; i < 20; i++)
		cr_assert_eq(run_with(OPTIONS(.loops = 3), failing_from_afar, NULL), 0);
}

static int spawn_when_told(void *arg)
{
	struct torc_scope shield;
	int r = torc_sleep(TORC_NEVER);

	(void)arg;
	torc_scope_enter_shield(&shield, LONG);
	for (int i = 0; i <= 3; i++)
		check_eq(torc_group_spawn_with(far_group, HOW(.loop = i), forever, NULL), 0);
	torc_scope_leave(&shield);
	return r;
}

static int cancelled_then_spawned_into(void *arg)
{
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	far_group = &g;
	for (int i = 0; i < 3; i++)
		check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(i)), spawn_when_told,
					       NULL),
			 0);
	torc_group_cancel(&g);
	check_eq(torc_group_wait(&g), 0);
	return 0;
}

Test(group, a_fiber_spawned_from_afar_into_a_cancelled_one_is_told)
{
	for (int i = 0; i < 20; i++)
		cr_assert_eq(run_with(OPTIONS(.loops = 3), cancelled_then_spawned_into, NULL), 0);
}

static int refuse_from_afar(void *arg)
{
	(void)arg;
	/* its own loop is full: told at once; another one: a failure of the fiber */
	check_eq(torc_group_spawn(far_group, forever, NULL), -EAGAIN);
	check_eq(torc_group_spawn_with(far_group, HOW(.loop = TORC_ON_LOOP(0)), return_arg, NULL),
		 0);
	return 0;
}

static int fill_loop(void *arg)
{
	struct torc_group g;

	torc_group_enter(&g);
	while (torc_group_spawn(&g, forever, NULL) == 0)
		;
	refuse_from_afar(arg);
	torc_group_cancel(&g);
	return torc_group_wait(&g);
}

static int refused_from_afar(void *arg)
{
	struct torc_group g;

	(void)arg;
	far_group = &g;
	return run_in_group_on(&g, 1, fill_loop, NULL);
}

Test(group, a_spawn_from_afar_is_refused_at_once_where_its_loop_is_full)
{
	cr_assert_eq(run_with(OPTIONS(.loops = 2, .fibers_max = 50), refused_from_afar, NULL), 0);
}

/* --- misuse --- */

static struct torc_group used;
static struct torc_task used_task;

static int use_left(void *arg)
{
	(void)arg;
	torc_group_enter(&used);
	check_eq(torc_group_wait(&used), 0);
	return torc_group_spawn(&used, return_arg, NULL);
}

static int next_of_left(void *arg)
{
	struct torc_task *ended;

	(void)arg;
	torc_group_enter(&used);
	check_eq(torc_group_wait(&used), 0);
	return torc_group_next(&used, &ended);
}

static int record_late(void *arg)
{
	(void)arg;
	torc_group_enter(&used);
	check_eq(torc_group_spawn(&used, return_arg, NULL), 0);
	torc_group_record_failures(&used, NULL, 0);
	return 0;
}

static int wait_next(void *arg)
{
	struct torc_task *ended;

	(void)arg;
	return torc_group_next(&used, &ended);
}

static int next_twice(void *arg)
{
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	torc_group_enter(&used);
	check_eq(torc_group_spawn_with(&used, HOW(.task = &used_task), forever, NULL), 0);
	check_eq(torc_group_spawn(&g, wait_next, NULL), 0);
	check_eq(torc_group_spawn(&g, wait_next, NULL), 0);
	return torc_sleep(TORC_NEVER);
}

static int task_from_afar(void *arg)
{
	(void)arg;
	return torc_group_spawn_with(&used, HOW(.task = &used_task), return_arg, NULL);
}

static int elsewhere(void *fn)
{
	return run_in_group_on(&used, 1, (torc_fn *)VALUE(fn), NULL);
}

/* A group that is left before the message of the spawn arrives: nothing there keeps it open. */
static int spawn_into_left(void *arg)
{
	struct torc_group g;

	torc_group_enter(&g);
	check_eq(torc_group_wait(&g), 0);
	used = g; /* as its memory was left */
	far_group = &used;
	(void)arg;
	return run_on(1, spawn_from_afar, NULL);
}

Test(group, misuse_traps_with_a_message)
{
	struct died d;

	expect_trap(use_left, "before it was entered or after it was left");
	expect_trap(next_of_left, "before it was entered or after it was left");
	expect_trap(record_late, "recorded after the first spawn");
	expect_trap(next_twice, "two fibers are in torc_group_next");
	expect_trap_with(OPTIONS(.loops = 2), elsewhere, ARG(task_from_afar),
			 "task is given for a group of another loop");
	expect_trap_with(OPTIONS(.loops = 2), elsewhere, ARG(wait_next),
			 "torc_group_next of another loop's group");
	d = run_in_child(OPTIONS(.loops = 3), spawn_into_left, NULL);
	cr_assert_eq(d.signal, SIGABRT);
	cr_assert(strstr(d.text, "after it was left"), "%s", d.text);
}
