/*
 * Intervals: ticks on time and in number, whatever comes between them.
 */
#include "tests/core/run.h"

#include <limits.h>

#include <torc/core/interval.h>

TestSuite(interval, .timeout = 60);

#define PERIOD TORC_MS(1)

static void compute_until(uint64_t moment_ns)
{
	while (torc_now_ns() < moment_ns)
		;
}

/* --- no drift --- */

/*
 * After each wait the schedule stands at start + k * period exactly, k being the ticks so far: the next tick is
 * due after now and at most a period later, however late this machine has woken us.
 */
static int keep_schedule(void *arg)
{
	uint64_t start = torc_now_ns(), seed = 3, k = 0;
	struct torc_interval i;
	int owed =
		1; /* ticks that the next wait tells at the least, however fast this machine is */

	(void)arg;
	torc_interval_init_at(&i, start + PERIOD, PERIOD);
	for (int n = 0; n < 300; n++) {
		uint64_t before = torc_now_ns(), after;
		int ticks = torc_interval_wait(&i);

		after = torc_now_ns();
		check_ge(ticks, owed);
		k += (uint64_t)ticks;
		check_ge(after, start + k * PERIOD); /* never early */
		check_eq(i.next_ns, start + (k + 1) * PERIOD);
		check_lt(before, i.next_ns);
		/* work that takes up to half a period, a few times several ones; computing or asleep */
		owed = n % 50 == 49 ? 3 : n % 50 == 24 ? 2 : 1;
		if (owed == 3)
			compute_until(start + (k + 3) * PERIOD + PERIOD / 2);
		else if (owed == 2)
			check_eq(torc_sleep(PERIOD * 5 / 2), 0);
		else
			check_eq(torc_sleep(next_random(&seed) % (PERIOD / 2)), 0);
	}
	return 0;
}

Test(interval, ticks_stay_at_start_plus_multiples_of_the_period)
{
	run(keep_schedule, NULL);
}

static int begin_now(void *arg)
{
	struct torc_interval i;
	uint64_t before = torc_now_ns(), after;

	(void)arg;
	torc_interval_init(&i, PERIOD);
	after = torc_now_ns();
	check_ge(i.next_ns, before + PERIOD);
	check_le(i.next_ns, after + PERIOD);
	before = i.next_ns;
	check_ge(torc_interval_wait(&i), 1);
	check_ge(torc_now_ns(), before);
	return 0;
}

Test(interval, the_first_tick_is_a_period_after_the_beginning)
{
	run(begin_now, NULL);
}

/* --- missed ticks --- */

static int miss(void *arg)
{
	struct torc_interval i;
	uint64_t first = torc_now_ns() - 7 * PERIOD, before, after;
	int ticks;

	(void)arg;
	torc_interval_init_at(&i, first, PERIOD);
	before = torc_now_ns();
	ticks = torc_interval_wait(&i);
	after = torc_now_ns();
	check_ge(ticks, 8);
	check_ge(ticks, (before - first) / PERIOD + 1);
	check_le(ticks, (after - first) / PERIOD + 1);
	check_eq(i.next_ns, first + (uint64_t)ticks * PERIOD);
	/* one is due just now, the next in an hour */
	torc_interval_init_at(&i, torc_turn_ns(), TORC_SECONDS(3600));
	check_eq(torc_interval_wait(&i), 1);
	return 0;
}

Test(interval, missed_ticks_are_told_in_one_number)
{
	run(miss, NULL);
}

static int miss_many(void *arg)
{
	struct torc_interval i;
	uint64_t total = 0, now = torc_turn_ns(), start = now - TORC_SECONDS(5);

	(void)arg;
	if (now < TORC_SECONDS(5)) /* the machine was booted just now */
		return 0;
	torc_interval_init_at(&i, start, 1);
	check_eq(torc_interval_wait(&i), INT_MAX);
	check_eq(i.next_ns, start + INT_MAX);
	for (total = INT_MAX; total < TORC_SECONDS(5);)
		total += (uint64_t)torc_interval_wait(&i);
	check_eq(i.next_ns, start + total);
	check_le(i.next_ns, torc_now_ns() + 1);
	return 0;
}

Test(interval, more_ticks_than_an_int_holds_are_told_by_several_waits)
{
	run(miss_many, NULL);
}

/* --- the scope --- */

static int wait_cancelled(void *arg)
{
	struct torc_interval i;
	struct torc_group g;
	struct torc_scope s, shield;
	uint64_t next;

	(void)arg;
	torc_interval_init(&i, TORC_SECONDS(3600));
	next = i.next_ns;
	torc_group_enter(&g);
	/* while it waits */
	torc_scope_enter(&s, TORC_NEVER);
	check_eq(torc_group_spawn(&g, cancel_scope, &s), 0);
	check_eq(torc_interval_wait(&i), -ECANCELED);
	/* before it waits, also when a tick is due */
	check_eq(torc_interval_wait(&i), -ECANCELED);
	check_eq(i.next_ns, next);
	torc_interval_init_at(&i, torc_turn_ns(), PERIOD);
	next = i.next_ns;
	check_eq(torc_interval_wait(&i), -ECANCELED);
	check_eq(i.next_ns, next);
	torc_scope_enter_shield(&shield, LONG);
	check_ge(torc_interval_wait(&i), 1);
	check_ge(torc_interval_wait(&i), 1);
	check_eq(torc_scope_leave(&shield), 0);
	check_eq(torc_scope_leave(&s), -ECANCELED);
	/* the deadline comes first; no tick is lost by it */
	torc_interval_init(&i, TORC_SECONDS(3600));
	next = i.next_ns;
	torc_scope_enter(&s, TORC_MS(2));
	check_eq(torc_interval_wait(&i), -ETIMEDOUT);
	check_eq(torc_scope_leave(&s), -ETIMEDOUT);
	check_eq(i.next_ns, next);
	/* the tick comes first */
	torc_interval_init(&i, PERIOD);
	torc_scope_enter(&s, LONG);
	check_ge(torc_interval_wait(&i), 1);
	check_eq(torc_scope_leave(&s), 0);
	return torc_group_wait(&g);
}

Test(interval, cancellation_and_deadline_take_no_tick)
{
	run(wait_cancelled, NULL);
}

/* --- limits --- */

static int wait_for_ever(void *arg)
{
	static const uint64_t cases[][2] = {
		/* first, period: of which the first tick is due, and the second never comes */
		{ 0, TORC_NEVER },          { 1, TORC_NEVER },        { 1000, TORC_NEVER - 1000 },
		{ 1000, TORC_NEVER - 999 }, { 1000, TORC_NEVER / 2 },
	};
	struct torc_interval i;
	struct torc_scope s;

	(void)arg;
	for (size_t n = 0; n < COUNT(cases); n++) {
		torc_interval_init_at(&i, cases[n][0], cases[n][1]);
		check_eq(torc_interval_wait(&i), 1);
		check(i.next_ns >= TORC_NEVER / 2);
		torc_scope_enter(&s, TORC_MS(1));
		check_eq(torc_interval_wait(&i), -ETIMEDOUT);
		check_eq(torc_scope_leave(&s), -ETIMEDOUT);
	}
	torc_interval_init(&i, TORC_NEVER);
	check(i.next_ns == TORC_NEVER);
	torc_interval_init(&i, TORC_NEVER - 1);
	check(i.next_ns == TORC_NEVER);
	torc_scope_enter(&s, TORC_MS(1));
	check_eq(torc_interval_wait(&i), -ETIMEDOUT);
	check_eq(torc_scope_leave(&s), -ETIMEDOUT);
	return 0;
}

Test(interval, a_tick_beyond_the_clock_never_comes)
{
	run(wait_for_ever, NULL);
}

/* --- beside others --- */

static int count_turns(void *arg)
{
	long *turns = arg;
	int r;

	while (!(r = torc_yield()))
		++*turns;
	return r;
}

/* Whose work takes longer than the period still gives way. */
static int always_late(void *arg)
{
	struct torc_interval i;
	struct torc_group g;
	long turns = 0, last = 0;

	(void)arg;
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, count_turns, &turns), 0);
	torc_interval_init(&i, 1000);
	for (int n = 0; n < 50; n++) {
		check_ge(torc_interval_wait(&i), 1);
		check_ge(turns, last + (n > 0));
		last = turns;
		compute_until(i.next_ns + 10000);
	}
	torc_group_cancel(&g);
	return torc_group_wait(&g);
}

Test(interval, who_is_always_late_starves_nobody)
{
	run(always_late, NULL);
}

/* --- misuse --- */

static int period_of_zero(void *arg)
{
	struct torc_interval i;

	(void)arg;
	torc_fiber_set_name("hasty");
	torc_interval_init(&i, 0);
	return 0;
}

static int wait_outside(void *arg)
{
	struct torc_interval i;

	(void)arg;
	torc_interval_init(&i, 1); /* this any thread may do */
	return torc_interval_wait(&i);
}

Test(interval, misuse_traps_with_a_message)
{
	struct died d = in_child(wait_outside, NULL);

	expect_trap(period_of_zero, "an interval has a period of 0 (fiber hasty");
	cr_assert_eq(d.signal, SIGABRT);
	cr_assert_str_eq(d.text, "torc: called outside of a fiber\n");
}
