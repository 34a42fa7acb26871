/*
 * Scopes: nesting, deadlines, computing, and misuse.
 */
#include "tests/core/run.h"

#include <torc/core/gather.h>

TestSuite(scope, .timeout = 60);

/* --- a table of nested scopes --- */

/* From the outermost inward; the list ends with a label of NULL. */
struct level {
	const char *label;
	bool shield;
	bool out_of_time; /* its deadline has passed: timeout 0 */
	bool cancelled;   /* once all are entered */
	int leave;        /* what torc_scope_leave is to return */
	int calls;        /* what calls are to return when this is the innermost */
};

#define NONE                                      \
	{                                         \
		"open", false, false, false, 0, 0 \
	}
#define STOPPED                                                         \
	{                                                               \
		"cancelled", false, false, true, -ECANCELED, -ECANCELED \
	}
#define LATE                                                       \
	{                                                          \
		"late", false, true, false, -ETIMEDOUT, -ETIMEDOUT \
	}
#define SHIELD                                     \
	{                                          \
		"shield", true, false, false, 0, 0 \
	}
#define INSIDE(r)                                   \
	{                                           \
		"inside", false, false, false, 0, r \
	}

static const struct level nests[][4] = {
	{ NONE, NONE },
	{ NONE, STOPPED },
	{ STOPPED, INSIDE(-ECANCELED) },
	{ NONE, LATE, INSIDE(-ETIMEDOUT) },
	{ LATE, INSIDE(-ETIMEDOUT), INSIDE(-ETIMEDOUT) },
	{ STOPPED, SHIELD, NONE },
	{ LATE, SHIELD, NONE },
	{ NONE, { "shield", true, false, true, -ECANCELED, -ECANCELED }, INSIDE(-ECANCELED) },
	{ NONE, { "shield", true, true, false, -ETIMEDOUT, -ETIMEDOUT }, INSIDE(-ETIMEDOUT) },
	{ NONE, SHIELD, STOPPED, INSIDE(-ECANCELED) },
	{ STOPPED, INSIDE(-ECANCELED), SHIELD, STOPPED },
	{ STOPPED, { "shield", true, true, false, -ETIMEDOUT, -ETIMEDOUT }, SHIELD, NONE },
};

/* Every kind of call says the same, again and again; what is expected to fail does not suspend. */
static void expect_calls(int expected)
{
	for (int i = 0; i < 3; i++) {
		struct torc_stats before, after;

		torc_stats(&before);
		check_eq(torc_scope_status(), expected);
		check_eq(torc_sleep(expected ? TORC_NEVER : 1000), expected);
		check_eq(nop(), expected);
		torc_stats(&after);
		if (expected)
			check_eq(after.switches, before.switches);
		check_eq(torc_yield(), expected);
	}
}

static void try_nest(const struct level levels[4])
{
	struct torc_scope scopes[4];
	int n = 0;

	for (; n < 4 && levels[n].label; n++) {
		uint64_t timeout = levels[n].out_of_time ? 0 : TORC_NEVER;

		if (levels[n].shield)
			torc_scope_enter_shield(&scopes[n], timeout);
		else
			torc_scope_enter(&scopes[n], timeout);
	}
	for (int i = 0; i < n; i++)
		if (levels[i].cancelled)
			torc_scope_cancel(&scopes[i]);
	while (n--) {
		expect_calls(levels[n].calls);
		check_eq(torc_scope_leave(&scopes[n]), levels[n].leave);
	}
	expect_calls(0);
}

static int try_nests(void *arg)
{
	(void)arg;
	for (size_t i = 0; i < COUNT(nests); i++)
		try_nest(nests[i]);
	return 0;
}

Test(scope, nested_ones_answer_as_the_table_says)
{
	run(try_nests, NULL);
}

/* --- computing --- */

static int compute(void *arg)
{
	struct torc_scope s;
	uint64_t start = torc_now_ns(), turn = torc_turn_ns();
	int r;

	(void)arg;
	torc_scope_enter(&s, TORC_MS(5));
	while ((r = torc_scope_status()) == 0)
		check_lt(torc_now_ns(), start + TORC_SECONDS(5));
	check_eq(r, -ETIMEDOUT);
	check_ge(torc_now_ns(), start + TORC_MS(5));
	check_eq(torc_turn_ns(), turn);
	expect_calls(-ETIMEDOUT);
	check_eq(torc_scope_leave(&s), -ETIMEDOUT);
	return 0;
}

Test(scope, status_tells_a_computation_that_its_deadline_has_passed)
{
	run(compute, NULL);
}

/* --- every kind of suspension, ended by another fiber and by a deadline --- */

enum suspension {
	SLEEP,
	READ,
	JOIN,
	GROUP,
	NEXT,
	SPAWN,
	GATHER,
	GATHER_ALL,
	RACE,
	YIELD,
	SUSPENSIONS
};

/* With one fiber that never ends by itself. */
static int suspend_in_group(enum suspension how)
{
	struct torc_group g;
	struct torc_task task, *ended;
	int r;

	torc_group_enter_with(&g, &(struct torc_group_options){ .limit = 1 });
	check_eq(torc_group_spawn_with(&g, HOW(.task = &task), forever, NULL), 0);
	if (how == GROUP)
		return torc_group_wait(&g);
	r = how == JOIN   ? torc_task_join(&task)
	    : how == NEXT ? torc_group_next(&g, &ended)
			  : torc_group_spawn(&g, forever, NULL);
	torc_group_cancel(&g);
	torc_group_wait(&g);
	return r;
}

static int suspend_as(enum suspension how)
{
	struct torc_call calls[2] = { { .fn = forever }, { .fn = forever } };
	uint64_t value;
	int fd, r;

	switch (how) {
	case SLEEP: return torc_sleep(TORC_NEVER);
	case READ:
		fd = eventfd(0, EFD_CLOEXEC);
		r = read_fd(fd, &value, sizeof(value));
		close(fd);
		return r;
	case GATHER: return torc_gather(calls, 2);
	case GATHER_ALL: return torc_gather_all(calls, 2);
	case RACE: return torc_race(calls, 2, TORC_FIRST_DONE, NULL);
	case JOIN:
	case GROUP:
	case NEXT:
	case SPAWN: return suspend_in_group(how);
	default:
		while (!(r = torc_yield()))
			;
		return r;
	}
}

static int move_to_now(void *arg)
{
	torc_scope_set_deadline(arg, torc_now_ns());
	return 0;
}

static int ended(void *arg)
{
	struct torc_group g;
	struct torc_scope s, inner;

	(void)arg;
	torc_group_enter(&g);
	for (enum suspension how = 0; how < SUSPENSIONS; how++) {
		torc_scope_enter(&s, TORC_NEVER);
		check_eq(torc_group_spawn(&g, cancel_scope, &s), 0);
		check_eq(suspend_as(how), -ECANCELED);
		expect_calls(-ECANCELED);
		check_eq(torc_scope_leave(&s), -ECANCELED);
		torc_scope_enter(&s, TORC_MS(2));
		torc_scope_enter(&inner, TORC_NEVER);
		check_eq(suspend_as(how), -ETIMEDOUT);
		check_eq(torc_scope_leave(&inner), 0);
		check_eq(torc_scope_leave(&s), -ETIMEDOUT);
		torc_scope_enter(&s, TORC_NEVER);
		check_eq(torc_group_spawn(&g, move_to_now, &s), 0);
		check_eq(suspend_as(how), -ETIMEDOUT);
		check_eq(torc_scope_leave(&s), -ETIMEDOUT);
	}
	return torc_group_wait(&g);
}

Test(scope, every_suspending_call_ends_by_cancellation_deadline_and_moved_deadline)
{
	run(ended, NULL);
}

/* --- why --- */

static void expect_reason(const char *reason)
{
	const char *is = torc_scope_reason();

	check(reason ? is && !strcmp(is, reason) : !is);
}

/* What a fiber was told is told to whoever runs it, on any loop. */
static int report_reason(void *arg)
{
	const char **reason = arg;
	int r = torc_sleep(TORC_NEVER);

	check_eq(torc_scope_status(), r);
	*reason = torc_scope_reason();
	return r;
}

static void expect_told(void (*stop)(struct torc_group *g), const char *expected)
{
	for (int loop = 0; loop < 3; loop++) {
		const char *reason = NULL;
		struct torc_group g;

		torc_group_enter(&g);
		check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(loop)), report_reason,
					       &reason),
			 0);
		stop(&g);
		torc_group_wait(&g);
		check(reason && !strcmp(reason, expected));
	}
}

static void stop_it(struct torc_group *g)
{
	torc_group_cancel(g);
	expect_reason("torc_group_cancel");
}

static void stop_with(struct torc_group *g)
{
	torc_group_cancel_with(g, "enough of it");
	torc_group_cancel_with(g, "too late"); /* the first one stays */
	expect_reason("enough of it");
}

static void stop_by_failure(struct torc_group *g)
{
	check_eq(torc_group_spawn(g, return_arg, ARG(-EIO)), 0);
	check_eq(torc_sleep(TORC_NEVER), -ECANCELED);
	expect_reason("a fiber of the group failed");
}

static void stop_by_deadline(struct torc_group *g)
{
	torc_scope_set_deadline(&g->scope, torc_now_ns() + TORC_MS(1));
	check_eq(torc_sleep(TORC_NEVER), -ETIMEDOUT);
	expect_reason("deadline passed");
}

static int reasons(void *arg)
{
	struct torc_scope a, b, shield, c;
	struct torc_task task;
	struct torc_group g;
	const char *reason = NULL;

	(void)arg;
	expect_reason(NULL);
	torc_scope_enter(&a, TORC_NEVER);
	torc_scope_enter(&b, TORC_NEVER);
	expect_reason(NULL);
	torc_scope_cancel_with(&a, "outer");
	expect_reason("outer");
	torc_scope_cancel_with(&b, "inner"); /* it was cancelled already, by the outer one */
	expect_reason("outer");
	check_eq(torc_scope_cause(&a), -ECANCELED);
	check_eq(torc_scope_cause(&b), -ECANCELED);
	torc_scope_enter_shield(&shield, TORC_NEVER);
	expect_reason(NULL);
	check_eq(torc_scope_cause(&shield), 0);
	torc_scope_enter(&c, 0);
	expect_reason("deadline passed");
	check_eq(torc_scope_cause(&c), -ETIMEDOUT);
	check_eq(torc_scope_leave(&c), -ETIMEDOUT);
	check_eq(torc_scope_cause(&c), -ETIMEDOUT); /* after it was left too */
	expect_reason(NULL);
	torc_scope_leave(&shield);
	torc_scope_enter(&c, 0); /* entered in a cancelled one */
	expect_reason("outer");
	torc_scope_leave(&c);
	torc_scope_leave(&b);
	expect_reason("outer");
	torc_scope_leave(&a);
	expect_reason(NULL);
	torc_scope_enter(&a, TORC_NEVER);
	torc_scope_cancel(&a);
	expect_reason("torc_scope_cancel");
	torc_scope_leave(&a);
	expect_told(stop_it, "torc_group_cancel");
	expect_told(stop_with, "enough of it");
	expect_told(stop_by_failure, "a fiber of the group failed");
	expect_told(stop_by_deadline, "deadline passed");
	for (int i = 0; i < 4; i++) {
		torc_group_enter(&g);
		check_eq(torc_group_spawn_with(&g, HOW(.task = &task, .loop = TORC_ON_LOOP(i / 2)),
					       report_reason, &reason),
			 0);
		if (i % 2)
			torc_task_cancel_with(&task, "just this one");
		else
			torc_task_cancel(&task);
		check_eq(torc_group_wait(&g), 0);
		check(!strcmp(reason, i % 2 ? "just this one" : "torc_task_cancel"));
	}
	/* spawned into a cancelled one */
	torc_group_enter(&g);
	torc_group_cancel_with(&g, "before");
	for (int i = 0; i < 2; i++) {
		reason = NULL;
		check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(i)), report_reason,
					       &reason),
			 0);
		check_eq(torc_sleep(1), -ECANCELED);
	}
	check_eq(torc_group_wait(&g), 0);
	check(!strcmp(reason, "before"));
	return 0;
}

Test(scope, reason_tells_who_cancelled_first_on_every_loop)
{
	cr_assert_eq(run_with(OPTIONS(.loops = 3), reasons, NULL), 0);
}

static const char *last_reason;

static int detach_reporter(void *arg)
{
	(void)arg;
	check_eq(torc_detach("stray", report_reason, &last_reason), 0);
	return 0;
}

static int raise_given(void *arg)
{
	kill(getpid(), (int)VALUE(arg));
	return report_reason(&last_reason);
}

Test(scope, reason_names_signals_and_the_end_of_the_runtime)
{
	run(detach_reporter, NULL);
	cr_assert_str_eq(last_reason, "the runtime shuts down");
	cr_assert_eq(run_with(NULL, raise_given, ARG(SIGINT)), -ECANCELED);
	cr_assert_str_eq(last_reason, "SIGINT");
	cr_assert_eq(run_with(NULL, raise_given, ARG(SIGTERM)), -ECANCELED);
	cr_assert_str_eq(last_reason, "SIGTERM");
}

/* --- by when --- */

static int limits(void *arg)
{
	struct torc_scope outer, inner, shield;
	uint64_t far = torc_now_ns() + TORC_SECONDS(1000);

	(void)arg;
	check_eq(torc_scope_limit(), TORC_NEVER);
	torc_scope_enter_until(&outer, far);
	check_eq(torc_scope_limit(), far);
	torc_scope_enter_until(&inner, far + 1);
	check_eq(torc_scope_limit(), far);
	torc_scope_set_deadline(&inner, far - 1);
	check_eq(torc_scope_limit(), far - 1);
	torc_scope_enter_shield(&shield, TORC_NEVER);
	check_eq(torc_scope_limit(), TORC_NEVER);
	torc_scope_leave(&shield);
	torc_scope_set_deadline(&outer, far - 2);
	check_eq(torc_scope_limit(), far - 2);
	torc_scope_cancel(&outer);
	check_eq(torc_scope_limit(), 0);
	torc_scope_leave(&inner);
	torc_scope_leave(&outer);
	torc_scope_enter(&outer, 0);
	check_eq(torc_scope_limit(), 0);
	torc_scope_leave(&outer);
	return 0;
}

Test(scope, limit_tells_the_earliest_deadline_that_counts)
{
	run(limits, NULL);
}

static int own_deadline(void *arg)
{
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, forever, NULL), 0);
	torc_scope_set_deadline(&g.scope, torc_now_ns() + TORC_MS(1));
	check_eq(torc_group_wait(&g), -ETIMEDOUT);
	check_eq(torc_scope_status(), 0);
	return 0;
}

Test(scope, a_groups_own_deadline_is_what_its_wait_returns)
{
	run(own_deadline, NULL);
}

/* --- misuse --- */

static struct torc_scope shared;

static int leave_outer_first(void *arg)
{
	struct torc_scope a, b;

	(void)arg;
	torc_scope_enter(&a, TORC_NEVER);
	torc_scope_enter(&b, TORC_NEVER);
	return torc_scope_leave(&a);
}

static int leave_shared(void *arg)
{
	(void)arg;
	return torc_scope_leave(&shared);
}

static int leave_in_another_fiber(void *arg)
{
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	torc_scope_enter(&shared, TORC_NEVER);
	check_eq(torc_group_spawn(&g, leave_shared, NULL), 0);
	return torc_sleep(TORC_NEVER);
}

static int end_inside_a_group(void *arg)
{
	static struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	return 0;
}

static int leave_a_group_as_a_scope(void *arg)
{
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	return torc_scope_leave(&g.scope);
}

static int wait_with_a_scope_open(void *arg)
{
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	torc_scope_enter(&shared, TORC_NEVER);
	return torc_group_wait(&g);
}

static int cancel_shared(void *arg)
{
	(void)arg;
	torc_scope_cancel(&shared);
	return 0;
}

static int move_shared(void *arg)
{
	(void)arg;
	torc_scope_set_deadline(&shared, 0);
	return 0;
}

static int elsewhere(void *fn)
{
	torc_scope_enter(&shared, TORC_NEVER);
	return run_on(1, (torc_fn *)VALUE(fn), NULL);
}

Test(scope, misuse_traps_with_a_message)
{
	expect_trap(leave_outer_first, "not in the reverse order of entering (fiber main");
	expect_trap(leave_in_another_fiber, "left by another fiber");
	expect_trap(end_inside_a_group, "ended inside a scope or group");
	expect_trap(leave_a_group_as_a_scope, "left with torc_group_wait");
	expect_trap(wait_with_a_scope_open, "not the innermost");
	expect_trap_with(OPTIONS(.loops = 2), elsewhere, ARG(cancel_shared), "from another loop");
	expect_trap_with(OPTIONS(.loops = 2), elsewhere, ARG(move_shared), "from another loop");
}
