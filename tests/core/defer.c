/*
 * Deferred clean-up: every way to leave a block, in which order, and in fibers.
 */
#include "tests/core/run.h"

#include <torc/core/defer.h>

TestSuite(defer, .timeout = 60);

static char text[64];

static void note(void *arg)
{
	strncat(text, arg, sizeof(text) - strlen(text) - 1);
}

/* A literal as an argument. */
#define TEXT(literal) ((void *)(uintptr_t)(literal))

static void expect(const char *expected)
{
	if (strcmp(text, expected) != 0)
		fprintf(stderr, "expected \"%s\", got \"%s\"\n", expected, text);
	check(!strcmp(text, expected));
	text[0] = '\0';
}

/* --- ways out --- */

static int return_early(bool early)
{
	torc_defer(note, TEXT("a"));
	if (early)
		return (int)strlen(text); /* evaluated before the clean-up */
	torc_defer(note, TEXT("b"));
	note(TEXT("-"));
	return (int)strlen(text);
}

Test(defer, return_runs_what_was_deferred_so_far_last_first)
{
	cr_assert_eq(return_early(true), 0);
	expect("a");
	cr_assert_eq(return_early(false), 1);
	expect("-ba");
}

static void fall_out(void)
{
	torc_defer(note, TEXT("1"));
	{
		torc_defer(note, TEXT("2"));
		torc_defer(note, TEXT("3"));
		note(TEXT("{"));
	}
	note(TEXT("}"));
}

Test(defer, falling_out_of_a_block_runs_those_of_that_block)
{
	fall_out();
	expect("{32}1");
}

static void loop(int count)
{
	for (int i = 0; i < count; i++) {
		torc_defer(note, TEXT("d"));
		if (i == 1)
			continue;
		torc_defer(note, TEXT("e"));
		if (i == 2)
			break;
		note(TEXT("."));
	}
	note(TEXT("!"));
}

Test(defer, each_turn_of_a_loop_continue_and_break_run_it)
{
	loop(10);
	expect(".ed" /* */ "d" /* continue */ "ed!" /* break */);
}

static void go(bool backwards)
{
	int left = backwards ? 2 : 0;

again:;
	{
		torc_defer(note, TEXT("g"));
		if (left--)
			goto again;
		if (!backwards)
			goto out;
		note(TEXT("."));
	}
	note(TEXT("!"));
out:
	note(TEXT("o"));
}

Test(defer, goto_out_of_the_block_runs_it)
{
	go(true);
	expect("gg.g!o");
	go(false);
	expect("go");
}

#define DEFER_BOTH(a, b)           \
	torc_defer(note, TEXT(a)); \
	torc_defer(note, TEXT(b))

static void two_in_one_line(void)
{
	const char *argument = "x";

	DEFER_BOTH("1", argument);
	argument = "y"; /* too late */
	note(TEXT(argument));
	if (true) {
		DEFER_BOTH("3", "4"); /* shadows nothing */
	}
}

Test(defer, the_argument_is_taken_at_once_and_a_line_may_defer_twice)
{
	two_in_one_line();
	expect("y43x1");
}

/* --- resources --- */

static void close_fd(void *fd)
{
	check_eq(close(*(int *)fd), 0);
}

static int use_pipe(int fail_at)
{
	int fds[2];
	void *buf;

	if (fail_at == 1)
		return -EMFILE;
	check_eq(pipe2(fds, O_CLOEXEC), 0);
	torc_defer(close_fd, &fds[0]);
	torc_defer(close_fd, &fds[1]);
	if (fail_at == 2)
		return -ENOMEM;
	buf = malloc(100);
	torc_defer(free, buf);
	return fail_at == 3 ? -EIO : (int)write(fds[1], buf ? "x" : "", 1);
}

Test(defer, resources_are_given_back_on_every_path)
{
	static const int expected[] = { 1, -EMFILE, -ENOMEM, -EIO };
	int before = count_fds();

	for (int i = 0; i < (int)COUNT(expected); i++) {
		cr_assert_eq(use_pipe(i), expected[i], "path %d", i);
		cr_assert_eq(count_fds(), before, "path %d", i);
	}
}

/* --- in fibers --- */

static void suspend(void *arg)
{
	struct torc_scope shield;

	note(arg);
	check_eq(torc_sleep(1000), -ECANCELED); /* its fiber is still cancelled */
	torc_scope_enter_shield(&shield, LONG);
	check_eq(torc_sleep(1000), 0);
	check_eq(torc_scope_leave(&shield), 0);
	note(arg);
}

static int sleep_until_cancelled(void *arg)
{
	torc_defer(suspend, arg);
	return torc_sleep(TORC_NEVER);
}

static int cancel_deferring(void *arg)
{
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, sleep_until_cancelled, TEXT("s")), 0);
	check_eq(torc_yield(), 0);
	expect("");
	torc_group_cancel(&g);
	check_eq(torc_group_wait(&g), 0);
	expect("ss"); /* all of it, before the group is left */
	return 0;
}

Test(defer, a_cancelled_fiber_cleans_up_and_may_suspend_behind_a_shield)
{
	run(cancel_deferring, NULL);
}

static void leave_scope(void *scope)
{
	check_eq(torc_scope_leave(scope), -ETIMEDOUT);
}

static void wait_group(void *group)
{
	check_eq(torc_group_wait(group), -ETIMEDOUT);
}

static int return_through_scopes(void *arg)
{
	struct torc_scope s;
	struct torc_group g;

	(void)arg;
	torc_scope_enter(&s, TORC_MS(1));
	torc_defer(leave_scope, &s);
	torc_group_enter(&g);
	torc_defer(wait_group, &g);
	check_eq(torc_group_spawn(&g, forever, NULL), 0);
	return torc_sleep(TORC_NEVER);
}

Test(defer, scopes_and_groups_are_left_in_the_right_order)
{
	cr_assert_eq(run_with(NULL, return_through_scopes, NULL), -ETIMEDOUT);
}
