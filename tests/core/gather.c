/*
 * Several calls at once: results in order, the first failure, the first success, the first to end.
 */
#include "tests/core/run.h"

#include <stdatomic.h>

#include <torc/core/gather.h>

TestSuite(gather, .timeout = 60);

#define CALLS(...) ((struct torc_call[]){ __VA_ARGS__ })

struct script {
	int yields; /* before it returns */
	int result;
};

static int play(void *arg)
{
	const struct script *s = arg;

	for (int i = 0; i < s->yields; i++)
		torc_yield(); /* deaf */
	return s->result;
}

#define PLAY(...)                                   \
	{                                           \
		.fn = play, .arg = &(struct script) \
		{                                   \
			__VA_ARGS__                 \
		}                                   \
	}
#define FOREVER               \
	{                     \
		.fn = forever \
	}

static void expect_results(const struct torc_call *calls, size_t n, const int *results)
{
	for (size_t i = 0; i < n; i++)
		check_eq(calls[i].result, results[i]);
}

#define EXPECT(calls, ...) \
	expect_results(calls, COUNT(((int[]){ __VA_ARGS__ })), (int[]){ __VA_ARGS__ })

/* --- gather --- */

static int gather(void *arg)
{
	struct torc_call *all = CALLS(PLAY(2, 10), PLAY(0, 11), PLAY(1, 0), { .fn = return_arg });
	struct torc_call *one_fails = CALLS(PLAY(3, 10), FOREVER, PLAY(1, -EIO), PLAY(2, -EPIPE));
	struct torc_call refused[] = { FOREVER, { .fn = play, .loop = 99 }, FOREVER };

	(void)arg;
	check_eq(torc_gather(NULL, 0), 0);
	check_eq(torc_gather(all, 4), 0);
	EXPECT(all, 10, 11, 0, 0);
	check_eq(torc_gather(one_fails, 4), -EIO); /* the first in time */
	EXPECT(one_fails, 10, -ECANCELED, -EIO, -EPIPE);
	check_eq(torc_gather(refused, 3), -EINVAL);
	EXPECT(refused, -ECANCELED, -EINVAL, -ECANCELED);
	return torc_scope_status();
}

Test(gather, results_are_in_order_and_the_first_failure_cancels_the_rest)
{
	run(gather, NULL);
}

static int gather_all(void *arg)
{
	struct torc_call *mixed = CALLS(PLAY(3, -EIO), PLAY(1, -EPIPE), PLAY(5, 12), PLAY(0, 0));
	struct torc_call refused[] = { PLAY(2, 10), { .fn = play, .loop = 99 }, PLAY(1, 12) };

	(void)arg;
	check_eq(torc_gather_all(NULL, 0), 0);
	check_eq(torc_gather_all(mixed, 4), 2);
	EXPECT(mixed, -EIO, -EPIPE, 12, 0);
	check_eq(torc_gather_all(refused, 3), 1);
	EXPECT(refused, 10, -EINVAL, 12);
	return torc_scope_status();
}

Test(gather, all_lets_each_call_end_by_itself)
{
	run(gather_all, NULL);
}

/* --- race --- */

static int race(void *arg)
{
	struct torc_call *success = CALLS(PLAY(0, -EIO), FOREVER, PLAY(2, 12), PLAY(3, 13));
	struct torc_call *none = CALLS(PLAY(2, -EIO), PLAY(1, -EPIPE), PLAY(3, -EPROTO));
	struct torc_call *done = CALLS(PLAY(2, 10), PLAY(1, -EPIPE), FOREVER);
	struct torc_call *lone = CALLS(PLAY(0, 3));
	struct torc_call refused[] = { FOREVER, { .fn = play, .loop = 99 }, FOREVER };
	size_t winner = 77;

	(void)arg;
	check_eq(torc_race(NULL, 0, TORC_FIRST_SUCCESS, &winner), -EINVAL);
	check_eq(torc_race(NULL, 0, TORC_FIRST_DONE, &winner), -EINVAL);
	check_eq(torc_race(none, 3, TORC_FIRST_SUCCESS, &winner), -EPIPE); /* first in time */
	EXPECT(none, -EIO, -EPIPE, -EPROTO);
	check_eq(torc_race(refused, 3, TORC_FIRST_DONE, &winner), -EINVAL);
	EXPECT(refused, -ECANCELED, -EINVAL, -ECANCELED);
	check_eq(winner, 77); /* nobody won */
	check_eq(torc_race(success, 4, TORC_FIRST_SUCCESS, &winner), 12);
	check_eq(winner, 2);
	EXPECT(success, -EIO, -ECANCELED, 12, 13); /* a loser that succeeded too */
	check_eq(torc_race(done, 3, TORC_FIRST_DONE, &winner), -EPIPE);
	check_eq(winner, 1);
	EXPECT(done, 10, -EPIPE, -ECANCELED);
	check_eq(torc_race(lone, 1, TORC_FIRST_SUCCESS, NULL), 3);
	return torc_scope_status();
}

Test(gather, race_returns_the_first_and_cancels_the_rest)
{
	run(race, NULL);
}

static int tell_reason(void *arg)
{
	int r = torc_sleep(TORC_NEVER);

	*(const char **)arg = torc_scope_reason();
	return r;
}

static int reasons(void *arg)
{
	const char *reason = NULL;
	struct torc_call calls[] = { { .fn = tell_reason, .arg = &reason }, PLAY(1, 4) };
	struct torc_call failing[] = { { .fn = tell_reason, .arg = &reason }, PLAY(1, -EIO) };

	(void)arg;
	check_eq(torc_race(calls, 2, TORC_FIRST_SUCCESS, NULL), 4);
	check(!strcmp(reason, "another call won the race"));
	check_eq(torc_gather(failing, 2), -EIO);
	check(!strcmp(reason, "a fiber of the group failed"));
	return 0;
}

Test(gather, who_is_cut_short_is_told_why)
{
	run(reasons, NULL);
}

/* --- on other loops --- */

static int where(void *arg)
{
	(void)arg;
	return torc_loop_index();
}

static int elsewhere(void *arg)
{
	struct torc_call calls[30];
	size_t winner = 99;

	(void)arg;
	for (int i = 0; i < 30; i++)
		calls[i] = (struct torc_call){ .fn = where, .loop = TORC_ON_LOOP(i % 3) };
	check_eq(torc_gather(calls, 30), 0);
	for (int i = 0; i < 30; i++)
		check_eq(calls[i].result, i % 3);
	check_eq(torc_gather_all(calls, 30), 0);
	calls[7].fn = return_arg;
	calls[7].arg = ARG(-EPROTO);
	for (int i = 0; i < 30; i++)
		if (i != 7)
			calls[i].fn = forever;
	check_eq(torc_gather(calls, 30), -EPROTO);
	check_eq(calls[8].result, -ECANCELED);
	check_eq(torc_race(calls, 30, TORC_FIRST_DONE, &winner), -EPROTO);
	check_eq(winner, 7);
	return 0;
}

Test(gather, calls_run_on_the_loops_they_name)
{
	for (int i = 0; i < 20; i++)
		cr_assert_eq(run_with(OPTIONS(.loops = 3), elsewhere, NULL), 0);
}

static int full(void *arg)
{
	struct torc_call calls[20];

	(void)arg;
	for (int i = 0; i < 20; i++)
		calls[i] = (struct torc_call)FOREVER;
	check_eq(torc_gather(calls, 20), -EAGAIN);
	check_eq(calls[0].result, -ECANCELED);
	check_eq(calls[8].result, -EAGAIN); /* beside the root and this one */
	check_eq(calls[9].result, -ECANCELED);
	return 0;
}

Test(gather, a_call_that_cannot_be_started_is_a_failure)
{
	cr_assert_eq(run_with(OPTIONS(.fibers_max = 10), full, NULL), 0);
}

/* --- the caller is cancelled --- */

enum { ALL, EACH, FIRST, DONE, WAYS };

static int call(int way, struct torc_call *calls, size_t n, size_t *winner)
{
	switch (way) {
	case ALL: return torc_gather(calls, n);
	case EACH: return torc_gather_all(calls, n);
	case FIRST: return torc_race(calls, n, TORC_FIRST_SUCCESS, winner);
	default: return torc_race(calls, n, TORC_FIRST_DONE, winner);
	}
}

/* Cancelled, and it succeeds all the same. */
static int finish_in_spite(void *arg)
{
	check(torc_sleep(TORC_NEVER) < 0);
	return (int)VALUE(arg);
}

static int cancelled(void *arg)
{
	struct torc_group others;
	struct torc_scope s;
	size_t winner;

	(void)arg;
	torc_group_enter(&others);
	for (int way = 0; way < WAYS; way++) {
		struct torc_call never[] = { FOREVER, FOREVER };
		struct torc_call in_spite[] = { { .fn = finish_in_spite, .arg = ARG(5) },
						{ .fn = finish_in_spite, .arg = ARG(6) } };
		struct torc_call mixed[] = { FOREVER, { .fn = finish_in_spite, .arg = ARG(6) } };
		struct torc_call fails[] = { FOREVER,
					     { .fn = finish_in_spite, .arg = ARG(-EPROTO) } };

		/* before it begins: nothing is started */
		torc_scope_enter(&s, 0);
		check_eq(call(way, never, 2, &winner), -ETIMEDOUT);
		check_eq(call(way, never, 0, &winner), -ETIMEDOUT);
		EXPECT(never, -ETIMEDOUT, -ETIMEDOUT);
		torc_scope_leave(&s);
		/* by another fiber, and by a deadline */
		torc_scope_enter(&s, TORC_NEVER);
		check_eq(torc_group_spawn(&others, cancel_scope, &s), 0);
		check_eq(call(way, never, 2, &winner), -ECANCELED);
		EXPECT(never, -ECANCELED, -ECANCELED);
		check_eq(torc_scope_leave(&s), -ECANCELED);
		torc_scope_enter(&s, TORC_MS(1));
		check_eq(call(way, never, 2, &winner), -ETIMEDOUT);
		EXPECT(never, -ETIMEDOUT, -ETIMEDOUT);
		torc_scope_leave(&s);
		/* what succeeded all the same is not lost */
		torc_scope_enter(&s, TORC_MS(1));
		check_eq(call(way, in_spite, 2, &winner), way == ALL || way == EACH ? 0
							  : winner                  ? 6
										    : 5);
		EXPECT(in_spite, 5, 6);
		torc_scope_leave(&s);
		torc_scope_enter(&s, TORC_MS(1));
		check_eq(call(way, mixed, 2, &winner), way == ALL || way == EACH ? -ETIMEDOUT : 6);
		EXPECT(mixed, -ETIMEDOUT, 6);
		torc_scope_leave(&s);
		/* a failure of its own: the first failure of gather, no success of a race */
		torc_scope_enter(&s, TORC_MS(1));
		check_eq(call(way, fails, 2, &winner),
			 way == ALL || way == DONE ? -EPROTO : -ETIMEDOUT);
		EXPECT(fails, -ETIMEDOUT, -EPROTO);
		torc_scope_leave(&s);
		check_eq(torc_scope_status(), 0);
	}
	return torc_group_wait(&others);
}

Test(gather, a_caller_that_is_cancelled_waits_for_all_and_loses_no_result)
{
	run(cancelled, NULL);
}

static int shielded(void *arg)
{
	struct torc_scope s, shield;

	(void)arg;
	torc_scope_enter(&s, 0);
	torc_scope_enter_shield(&shield, LONG);
	for (int way = 0; way < WAYS; way++) {
		struct torc_call calls[] = { PLAY(1, 0), PLAY(2, 0) };

		check_eq(call(way, calls, 2, NULL), 0);
	}
	check_eq(torc_scope_leave(&shield), 0);
	check_eq(torc_yield(), -ETIMEDOUT);
	torc_scope_leave(&s);
	return 0;
}

Test(gather, behind_a_shield_the_calls_run_to_their_end)
{
	run(shielded, NULL);
}

/* The winner's end and the caller's cancellation in one turn, in either order. */
static int cancel_after(void *arg)
{
	const struct script *s = arg;

	for (int i = 0; i < s->yields; i++)
		torc_yield();
	return -EPERM; /* cancels the group around the race */
}

static int race_inside(void *arg)
{
	struct torc_call calls[] = { FOREVER, PLAY(2, 8) };
	int *result = arg;

	*result = torc_race(calls, 2, TORC_FIRST_SUCCESS, NULL);
	check_eq(calls[1].result, *result);
	return 0;
}

static int raced(void *arg)
{
	(void)arg;
	for (int i = 0; i < 12; i++) {
		struct script canceller = { .yields = i / 2 };
		struct torc_group g;
		int result = 0;

		torc_group_enter(&g);
		if (i % 2)
			check_eq(torc_group_spawn(&g, cancel_after, &canceller), 0);
		check_eq(torc_group_spawn(&g, race_inside, &result), 0);
		if (i % 2 == 0)
			check_eq(torc_group_spawn(&g, cancel_after, &canceller), 0);
		check_eq(torc_group_wait(&g), -EPERM);
		/* the deaf call wins whenever the cancellation comes, if it was started at all */
		check_eq(result, i == 1 ? -ECANCELED : 8);
	}
	return 0;
}

Test(gather, a_race_that_is_won_while_it_is_cancelled_is_won)
{
	run(raced, NULL);
}
