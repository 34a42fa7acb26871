/*
 * A time limit around a call, and around a block that is left in every way there is.
 */
#include "tests/core/run.h"

#include <torc/core/timeout.h>

TestSuite(timeout, .timeout = 60);

static int give_up(void *arg)
{
	(void)arg;
	return torc_sleep(TORC_NEVER);
}

static int finish_in_spite(void *arg)
{
	check_eq(torc_sleep(TORC_NEVER), -ETIMEDOUT);
	return (int)VALUE(arg);
}

static int nest_inner(void *arg)
{
	/* the outer limit passes: the inner one knows nothing of it */
	check_eq(torc_timeout(TORC_NEVER, give_up, arg), -ETIMEDOUT);
	return torc_timeout(LONG, finish_in_spite, ARG(-EPROTO));
}

static int cancel_and_sleep(void *arg)
{
	torc_scope_cancel(arg);
	return torc_sleep(TORC_NEVER);
}

static int wait_for_group(void *arg)
{
	struct torc_group g;

	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g, HOW(.loop = (int)VALUE(arg)), forever, NULL), 0);
	return torc_group_wait(&g);
}

static int calls(void *arg)
{
	struct torc_scope s;

	(void)arg;
	check_eq(torc_timeout(TORC_MS(1), give_up, NULL), -ETIMEDOUT);
	check_eq(torc_scope_status(), 0); /* it is over */
	check_eq(torc_timeout(LONG, return_arg, ARG(7)), 7);
	check_eq(torc_timeout(TORC_NEVER, return_arg, ARG(-EIO)), -EIO);
	/* a result in spite of the time, an error of its own */
	check_eq(torc_timeout(TORC_MS(1), finish_in_spite, ARG(5)), 5);
	check_eq(torc_timeout(TORC_MS(1), finish_in_spite, ARG(-EIO)), -EIO);
	check_eq(torc_timeout(0, finish_in_spite, ARG(6)), 6);
	check_eq(torc_timeout(0, give_up, NULL), -ETIMEDOUT);
	check_eq(torc_timeout(TORC_MS(1), nest_inner, NULL), -EPROTO);
	check_eq(torc_timeout(TORC_MS(1), wait_for_group, ARG(0)), -ETIMEDOUT);
	check_eq(torc_timeout(TORC_MS(1), wait_for_group, ARG(TORC_ON_LOOP(1))), -ETIMEDOUT);
	/* cancelled from around it, before the time is up */
	torc_scope_enter(&s, TORC_NEVER);
	check_eq(torc_timeout(LONG, cancel_and_sleep, &s), -ECANCELED);
	check_eq(torc_timeout(0, give_up, NULL), -ECANCELED);
	check_eq(torc_scope_leave(&s), -ECANCELED);
	return 0;
}

Test(timeout, returns_what_the_call_makes_of_it)
{
	cr_assert_eq(run_with(OPTIONS(.loops = 2), calls, NULL), 0);
}

/* --- the block --- */

static int by_return(void)
{
	torc_within(TORC_MS(1)) return torc_sleep(TORC_NEVER);
	return 1;
}

static int by_goto(void)
{
	int r;

	torc_within(TORC_MS(1))
	{
		r = torc_sleep(TORC_NEVER);
		if (r < 0)
			goto out;
	}
	return 1;
out:
	return r;
}

static int by_break(void)
{
	int r = 1, rounds = 0;

	for (int i = 0; i < 3; i++) {
		torc_within(TORC_MS(1))
		{
			rounds++;
			r = torc_sleep(TORC_NEVER);
			if (r < 0)
				break; /* out of the block, not out of the loop */
			r = 2;
		}
		check_eq(torc_scope_status(), 0);
	}
	check_eq(rounds, 3);
	return r;
}

static int by_continue(void)
{
	int r = 1, rounds = 0;

	torc_within(TORC_MS(1))
	{
		rounds++;
		r = torc_sleep(TORC_NEVER);
		if (r < 0)
			continue;
		r = 2;
	}
	check_eq(rounds, 1);
	return r;
}

static int by_its_end(void)
{
	int r = 1;

	torc_within(TORC_MS(1)) r = torc_sleep(TORC_NEVER);
	return r;
}

static int nested(void)
{
	int r = 1;

	/* on one line too */
	torc_within(TORC_NEVER) torc_within(TORC_MS(1)) torc_within(LONG)
	{
		check_eq(torc_sleep(1), 0);
		r = torc_sleep(TORC_NEVER);
	}
	return r;
}

static int blocks(void *arg)
{
	static int (*const ways[])(void) = { by_return,   by_goto,    by_break,
					     by_continue, by_its_end, nested };

	(void)arg;
	for (size_t i = 0; i < COUNT(ways); i++) {
		check_eq(ways[i](), -ETIMEDOUT);
		check_eq(torc_scope_status(), 0);
		check_eq(torc_sleep(1), 0);
	}
	return 0; /* and it traps when a scope was not left */
}

Test(timeout, a_block_is_left_however_control_leaves_it)
{
	run(blocks, NULL);
}
