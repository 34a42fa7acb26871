/*
 * What a fiber can do with itself: giving way, clocks, names, misuse.
 *
 * One suite for each file here: Criterion 2.4.1 leaks a little with several, and LeakSanitizer would take that
 * for ours.
 */
#include "tests/core/run.h"

TestSuite(fiber, .timeout = 60);

/* --- giving way --- */

struct order {
	char text[64];
	int len;
};

struct step {
	struct order *order;
	char name;
};

static int take_three_steps(void *arg)
{
	struct step *s = arg;

	for (int i = 0; i < 3; i++) {
		s->order->text[s->order->len++] = s->name;
		check_eq(torc_yield(), 0);
	}
	return 0;
}

static int alternate(void *arg)
{
	struct order order = { .len = 0 };
	struct step steps[] = { { &order, 'a' }, { &order, 'b' }, { &order, 'c' } };
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	for (size_t i = 0; i < COUNT(steps); i++)
		check_eq(torc_group_spawn(&g, take_three_steps, &steps[i]), 0);
	check_eq(order.len, 0); /* they start when their spawner suspends */
	check_eq(torc_group_wait(&g), 0);
	check(!strcmp(order.text, "abcabcabc"));
	return 0;
}

Test(fiber, yield_lets_every_other_ready_fiber_run_once)
{
	run(alternate, NULL);
}

static bool enough;

static int yield_until_enough(void *arg)
{
	long *count = arg;

	while (!enough) {
		check_eq(torc_yield(), 0);
		++*count;
	}
	return 0;
}

static int yield_beside_others(void *arg)
{
	long counts[3] = { 0 };
	struct torc_group g;
	struct torc_scope s;
	uint64_t value = 1;
	int fd = eventfd(0, EFD_CLOEXEC);

	(void)arg;
	enough = false;
	torc_scope_enter(&s, LONG);
	torc_group_enter(&g);
	for (size_t i = 0; i < COUNT(counts); i++)
		check_eq(torc_group_spawn(&g, yield_until_enough, &counts[i]), 0);
	check_eq(torc_sleep(TORC_MS(3)), 0);
	check_eq(write(fd, &value, sizeof(value)), sizeof(value));
	check_eq(read_fd(fd, &value, sizeof(value)), sizeof(value));
	for (int i = 0; i < 10; i++)
		check_eq(nop(), 0);
	enough = true;
	check_eq(torc_group_wait(&g), 0);
	check_eq(torc_scope_leave(&s), 0);
	for (size_t i = 0; i < COUNT(counts); i++)
		check_ge(counts[i], 10);
	close(fd);
	return 0;
}

Test(fiber, those_that_only_yield_starve_neither_timers_nor_operations)
{
	run(yield_beside_others, NULL);
}

static int yield_past_a_deadline(void *arg)
{
	struct torc_scope s;
	int r;

	(void)arg;
	torc_scope_enter(&s, TORC_MS(3));
	while ((r = torc_yield()) == 0)
		;
	check_eq(r, -ETIMEDOUT);
	check_eq(torc_scope_leave(&s), -ETIMEDOUT);
	return 0;
}

Test(fiber, a_lone_fiber_that_yields_notices_its_deadline)
{
	run(yield_past_a_deadline, NULL);
}

/* --- clocks --- */

static int look_at_clocks(void *arg)
{
	uint64_t start = torc_now_ns(), turn;

	(void)arg;
	check_eq(torc_sleep(TORC_MS(2)), 0);
	check_ge(torc_now_ns(), start + TORC_MS(2));
	turn = torc_turn_ns();
	check_ge(turn, start + TORC_MS(2));
	check_le(turn, torc_now_ns());
	while (torc_now_ns() < turn + TORC_MS(1))
		;
	check_eq(torc_turn_ns(), turn); /* what is computed in a turn does not move its clock */
	/* a moment that has passed */
	check_eq(torc_sleep_until(0), 0);
	check_eq(torc_sleep_until(start), 0);
	check_eq(torc_sleep(0), 0);
	return 0;
}

Test(fiber, clocks_run_and_sleeps_are_never_short)
{
	run(look_at_clocks, NULL);
	cr_assert_gt(torc_now_ns(), 0, "any thread may ask for the time");
}

static int sleep_too_long(void *arg)
{
	struct torc_scope s;

	(void)arg;
	/* sums that do not fit are "never", not "at once" */
	torc_scope_enter(&s, TORC_MS(2));
	check_eq(torc_sleep(TORC_NEVER - 1), -ETIMEDOUT);
	check_eq(torc_scope_leave(&s), -ETIMEDOUT);
	torc_scope_enter(&s, TORC_MS(2));
	check_eq(torc_sleep_until(TORC_NEVER), -ETIMEDOUT);
	check_eq(torc_scope_leave(&s), -ETIMEDOUT);
	torc_scope_enter(&s, TORC_NEVER - 1);
	check_eq(torc_sleep(1000), 0);
	check_eq(torc_scope_leave(&s), 0);
	return 0;
}

Test(fiber, times_beyond_the_clock_never_come)
{
	run(sleep_too_long, NULL);
}

/* --- names --- */

static int look_at_name(void *arg)
{
	const char *expected = arg;

	check(torc_in_fiber());
	if (!expected)
		check(!torc_fiber_name());
	else
		check(!strcmp(torc_fiber_name(), expected));
	torc_fiber_set_name("another");
	check_eq(torc_yield(), 0);
	check(!strcmp(torc_fiber_name(), "another"));
	return 0;
}

static int names(void *arg)
{
	static char given[] = "given";
	struct torc_group g;

	(void)arg;
	check(!strcmp(torc_fiber_name(), "main"));
	torc_group_enter(&g);
	for (int loop = 0; loop < 2; loop++)
		check_eq(torc_group_spawn_with(&g, HOW(.name = given, .loop = TORC_ON_LOOP(loop)),
					       look_at_name, given),
			 0);
	check_eq(torc_group_spawn(&g, look_at_name, NULL),
		 0); /* a record used before: no old name */
	check_eq(torc_group_wait(&g), 0);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, look_at_name, NULL), 0);
	check_eq(torc_group_wait(&g), 0);
	check(!strcmp(torc_fiber_name(), "main"));
	return 0;
}

Test(fiber, names_are_the_fibers_own)
{
	cr_assert_not(torc_in_fiber());
	cr_assert_eq(run_with(OPTIONS(.loops = 2), names, NULL), 0);
	cr_assert_not(torc_in_fiber());
}

/* --- misuse --- */

/* --- on the thread's stack --- */

static int use_much(void *arg)
{
	volatile char much[1 << 20];

	check(!torc_in_fiber());
	for (size_t i = 0; i < sizeof(much); i += 512)
		much[i] = (char)i;
	return *(int *)arg + much[sizeof(much) - 512] - (char)(sizeof(much) - 512);
}

static int call_deep(void *arg)
{
	for (int i = 0; i < 100; i++) {
		check_eq(torc_call_deep(use_much, &i), i);
		check(torc_in_fiber());
		if (i % 3 == 0)
			check_eq(torc_yield(), 0);
	}
	(void)arg;
	return 0;
}

static int call_deep_from_many(void *arg)
{
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	for (int i = 0; i < 4 * torc_loop_count(); i++) {
		struct torc_spawn_options o = { .loop = TORC_ON_LOOP(i % torc_loop_count()),
						.stack_bytes = 16384 };

		check_eq(torc_group_spawn_with(&g, &o, call_deep, NULL), 0);
	}
	return torc_group_wait(&g);
}

Test(fiber, a_deep_call_has_the_stack_of_the_thread)
{
	cr_assert_eq(torc_run(NULL, call_deep_from_many, NULL), 0);
}

static int yield_deeply(void *arg)
{
	(void)arg;
	return torc_yield();
}

static int suspend_in_deep_call(void *arg)
{
	return torc_call_deep(yield_deeply, arg);
}

Test(fiber, a_deep_call_must_not_suspend)
{
	expect_trap(suspend_in_deep_call, "called outside of a fiber");
}

static int call_yield(void *arg)
{
	(void)arg;
	return torc_yield();
}

static int call_sleep(void *arg)
{
	(void)arg;
	return torc_sleep(1);
}

static int call_turn_ns(void *arg)
{
	(void)arg;
	return torc_turn_ns() == 0;
}

static int call_name(void *arg)
{
	(void)arg;
	return torc_fiber_name() == NULL;
}

static int call_keep_fpenv(void *arg)
{
	(void)arg;
	torc_fiber_keep_fpenv();
	return 0;
}

static int call_scope_enter(void *arg)
{
	struct torc_scope s;

	(void)arg;
	torc_scope_enter(&s, 0);
	return 0;
}

static int call_scope_status(void *arg)
{
	(void)arg;
	return torc_scope_status();
}

static int call_group_enter(void *arg)
{
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	return 0;
}

static int call_detach(void *arg)
{
	(void)arg;
	return torc_detach("stray", return_arg, NULL);
}

static int call_op(void *arg)
{
	(void)arg;
	return nop();
}

static int call_loop_index(void *arg)
{
	(void)arg;
	return torc_loop_index();
}

static int call_deep_outside(void *arg)
{
	return torc_call_deep(return_arg, arg);
}

static int call_stats(void *arg)
{
	struct torc_stats s;

	(void)arg;
	torc_stats(&s);
	return 0;
}

Test(fiber, calls_from_outside_of_one_trap)
{
	static torc_fn *const calls[] = {
		call_yield,        call_sleep,       call_turn_ns,      call_name,
		call_keep_fpenv,   call_scope_enter, call_scope_status, call_group_enter,
		call_detach,       call_op,          call_loop_index,   call_stats,
		call_deep_outside,
	};

	for (size_t i = 0; i < COUNT(calls); i++) {
		struct died d = in_child(calls[i], NULL);

		cr_assert_eq(d.signal, SIGABRT, "case %zu", i);
		cr_assert_str_eq(d.text, "torc: called outside of a fiber\n", "case %zu", i);
	}
}

static int overslept(void *arg)
{
	(void)arg;
	torc_fiber_set_name("careless");
	/* misuse in a fiber is reported with its name */
	return torc_scope_leave(&(struct torc_scope){ .shield = false });
}

Test(fiber, a_trap_names_the_fiber)
{
	expect_trap(overslept, "(fiber careless, entry overslept+0x0 (core-fiber+0x");
}
