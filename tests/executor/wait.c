/*
 * Several futures: until all, the first or the first failure; all or nothing; one after the other.
 */
#include "tests/executor/run.h"

#include <torc/executor/wait.h>

TestSuite(wait, .timeout = 20);

static const enum torc_wait_mode modes[] = { TORC_ALL_COMPLETED, TORC_FIRST_COMPLETED,
					     TORC_FIRST_ERROR };

static int wait_for(struct torc_future *const *futures, size_t count, enum torc_wait_mode mode)
{
	return torc_wait(futures, count, mode, TORC_NEVER);
}

/* Futures of these kinds; then put them. */
#define MAKE(futures, ...)                                          \
	static const enum kind futures##_kinds[] = { __VA_ARGS__ }; \
	struct torc_future *futures[COUNT(futures##_kinds)];        \
	make_all(futures, futures##_kinds, COUNT(futures##_kinds))

static void make_all(struct torc_future **futures, const enum kind *k, size_t count)
{
	for (size_t i = 0; i < count; i++)
		futures[i] = make(k[i]);
}

/* --- torc_wait --- */

EVERYWHERE(wait, for_no_futures_is_over_at_once)
{
	for (size_t m = 0; m < COUNT(modes); m++) {
		check_eq(wait_for(NULL, 0, modes[m]), 0);
		check_eq(torc_wait(NULL, 0, modes[m], 0), 0);
	}
}

EVERYWHERE(wait, counts_what_is_done_already)
{
	MAKE(fs, SUCCEEDED, CANCELLED, FAILED);

	for (size_t m = 0; m < COUNT(modes); m++) {
		check_eq(wait_for(fs, COUNT(fs), modes[m]), COUNT(fs));
		check_eq(torc_wait(fs, COUNT(fs), modes[m], 0), COUNT(fs));
		check_eq(torc_wait(fs, COUNT(fs), modes[m], PAST), COUNT(fs));
	}
	put_all(fs, COUNT(fs));
}

EVERYWHERE(wait, counts_one_that_is_named_twice_twice)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 1));
	struct torc_future *f = submit(pool, give, NULL), *twice[] = { f, f };

	check_eq(wait_for(twice, 2, TORC_ALL_COMPLETED), 2);
	for (size_t m = 0; m < COUNT(modes); m++)
		check_eq(wait_for(twice, 2, modes[m]), 2);
	torc_future_put(f);

	/* also while it is waited for */
	for (size_t m = 0; m < COUNT(modes); m++) {
		struct later l;

		f = twice[0] = twice[1] = promise();
		later(&l, fail_io, f);
		check_eq(wait_for(twice, 2, modes[m]), 2);
		later_is_over(&l);
		torc_future_put(f);
	}
	torc_executor_destroy(pool);
}

EVERYWHERE(wait, for_the_first_is_over_when_one_is_done)
{
	static void (*const ends[])(void *f) = { set_answer, fail_io, cancel_future };

	for (size_t i = 0; i < COUNT(ends); i++) {
		MAKE(fs, PENDING, PENDING, RUNNING);
		struct later l;

		later(&l, ends[i], fs[1]);
		check_eq(wait_for(fs, COUNT(fs), TORC_FIRST_COMPLETED), 1);
		later_is_over(&l);
		check_eq(torc_future_state(fs[0]), TORC_PENDING);
		check_eq(torc_future_state(fs[2]), TORC_RUNNING);
		check_eq(torc_future_try(fs[1], NULL) == -EINPROGRESS, false);
		/* nobody waits for the others any more */
		put_all(fs, 2);
		set_answer(fs[2]);
		torc_future_put(fs[2]);
	}
}

EVERYWHERE(wait, for_the_first_does_not_wait_when_some_are_done_already)
{
	MAKE(fs, CANCELLED, PENDING, SUCCEEDED);

	check_eq(wait_for(fs, COUNT(fs), TORC_FIRST_COMPLETED), 2);
	check_eq(torc_future_state(fs[1]), TORC_PENDING);
	put_all(fs, COUNT(fs));
}

EVERYWHERE(wait, for_the_first_task_leaves_the_others_alone)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 2));
	struct torc_future *fs[2];
	struct gate g;

	gate_init(&g);
	fs[0] = submit_held(pool, &g);
	fs[1] = submit(pool, give, ARG(ANSWER));
	check_eq(wait_for(fs, 2, TORC_FIRST_COMPLETED), 1);
	check_eq(torc_future_try(fs[1], NULL), 0);
	check_eq(torc_future_state(fs[0]), TORC_RUNNING);
	gate_open(&g, 1);
	expect(fs[0], 0, ARG(ANSWER));
	torc_future_put(fs[1]);
	torc_executor_destroy(pool);
	gate_done(&g);
}

EVERYWHERE(wait, for_a_failure_is_over_at_the_first_one)
{
	MAKE(fs, SUCCEEDED, CANCELLED, PENDING, RUNNING);
	struct later l;

	/* a cancelled one is no failure */
	check_eq(torc_wait(fs, COUNT(fs), TORC_FIRST_ERROR, SOON), 2);
	later(&l, fail_io, fs[3]);
	check_eq(wait_for(fs, COUNT(fs), TORC_FIRST_ERROR), 3);
	later_is_over(&l);
	check_eq(torc_future_state(fs[2]), TORC_PENDING);
	/* and now there is one already */
	check_eq(wait_for(fs, COUNT(fs), TORC_FIRST_ERROR), 3);
	put_all(fs, COUNT(fs));
}

static void set_then_fail(void *arg)
{
	struct torc_future **fs = arg;

	set_answer(fs[0]);
	cancel_future(fs[1]);
	fail_io(fs[2]);
}

EVERYWHERE(wait, for_a_failure_goes_on_over_successes_and_cancellations)
{
	MAKE(fs, PENDING, PENDING, PENDING, PENDING);
	struct later l;

	later(&l, set_then_fail, fs);
	check_eq(wait_for(fs, COUNT(fs), TORC_FIRST_ERROR), 3);
	later_is_over(&l);
	check_eq(torc_future_state(fs[3]), TORC_PENDING);
	put_all(fs, COUNT(fs));
}

static void set_and_cancel(void *arg)
{
	struct torc_future **fs = arg;

	set_answer(fs[0]);
	cancel_future(fs[1]);
}

EVERYWHERE(wait, for_a_failure_is_over_when_all_are_done_without_one)
{
	MAKE(fs, PENDING, PENDING, SUCCEEDED);
	struct later l;

	later(&l, set_and_cancel, fs);
	check_eq(wait_for(fs, COUNT(fs), TORC_FIRST_ERROR), COUNT(fs));
	later_is_over(&l);
	put_all(fs, COUNT(fs));
}

/* It is done, with an error that happens to be that of a cancellation. */
EVERYWHERE(wait, takes_a_failure_with_ecanceled_for_a_failure)
{
	MAKE(fs, PENDING, PENDING);

	check_eq(torc_future_fail(fs[0], -ECANCELED), 0);
	check_eq(wait_for(fs, COUNT(fs), TORC_FIRST_ERROR), 1);
	put_all(fs, COUNT(fs));
}

static void end_all_four(void *arg)
{
	struct torc_future **fs = arg;

	fail_io(fs[3]);
	set_answer(fs[1]);
	cancel_future(fs[0]);
	set_answer(fs[2]);
}

EVERYWHERE(wait, for_all_is_over_when_the_last_one_is_done)
{
	MAKE(fs, PENDING, RUNNING, PENDING, PENDING, SUCCEEDED, CANCELLED, FAILED);
	struct later l;

	later(&l, end_all_four, fs);
	check_eq(wait_for(fs, COUNT(fs), TORC_ALL_COMPLETED), COUNT(fs));
	later_is_over(&l);
	put_all(fs, COUNT(fs));
}

EVERYWHERE(wait, tells_at_the_deadline_how_many_are_done)
{
	MAKE(fs, CANCELLED, FAILED, PENDING, SUCCEEDED, RUNNING);
	const uint64_t deadlines[] = { 0, PAST, SOON };

	for (size_t i = 0; i < COUNT(deadlines); i++) {
		check_eq(torc_wait(fs, COUNT(fs), TORC_ALL_COMPLETED, deadlines[i]), 3);
		check_eq(torc_wait(fs + 2, 1, TORC_FIRST_COMPLETED, deadlines[i]), 0);
		check_eq(torc_wait(fs + 2, 3, TORC_FIRST_ERROR, deadlines[i]), 1);
	}
	check_eq(torc_future_state(fs[2]), TORC_PENDING);
	check_eq(torc_future_state(fs[4]), TORC_RUNNING);
	put_all(fs, COUNT(fs));
}

#define MANY 300

EVERYWHERE(wait, for_many_tasks_while_they_end_loses_none)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 3));
	struct torc_future *fs[MANY];
	struct gate g;

	gate_init(&g);
	for (int round = 0; round < 5; round++) {
		struct torc_future *held[3];

		for (int i = 0; i < 3; i++)
			held[i] = submit(pool, hold, &g);
		gate_wait(&g, 3);
		for (int i = 0; i < MANY; i++)
			fs[i] = submit(pool, give, ARG(i));
		gate_open(&g, 3);
		check_eq(wait_for(fs, MANY, TORC_ALL_COMPLETED), MANY);
		for (int i = 0; i < MANY; i++)
			expect(fs[i], 0, ARG(i));
		put_all(held, 3);
	}
	torc_executor_destroy(pool);
	gate_done(&g);
}

EVERYWHERE(wait, for_futures_of_several_executors_and_of_none)
{
	struct torc_executor *a = pool_with(POOL(.workers = 1)),
			     *b = elastic_with(ELASTIC(.threads_max = 1));
	struct torc_future *fs[] = { submit(a, give, NULL), submit(b, give, NULL), promise() };
	struct later l;

	later(&l, set_answer, fs[2]);
	check_eq(wait_for(fs, COUNT(fs), TORC_ALL_COMPLETED), COUNT(fs));
	later_is_over(&l);
	put_all(fs, COUNT(fs));
	torc_executor_destroy(a);
	torc_executor_destroy(b);
}

static int wait_in_ended_scope(void *arg)
{
	(void)arg;
	for (size_t m = 0; m < COUNT(modes); m++) {
		MAKE(fs, PENDING, RUNNING);
		struct torc_group g;
		struct torc_scope s;

		torc_scope_enter(&s, TORC_NEVER);
		torc_scope_cancel(&s);
		check_eq(wait_for(fs, COUNT(fs), modes[m]), -ECANCELED);
		torc_scope_leave(&s);

		torc_group_enter(&g);
		torc_scope_enter(&s, TORC_NEVER);
		check_eq(torc_group_spawn(&g, cancel_scope, &s), 0);
		check_eq(wait_for(fs, COUNT(fs), modes[m]), -ECANCELED);
		torc_scope_leave(&s);
		check_eq(torc_group_wait(&g), 0);

		torc_scope_enter(&s, TORC_MS(2));
		check_eq(wait_for(fs, COUNT(fs), modes[m]), -ETIMEDOUT);
		torc_scope_leave(&s);

		/* its own deadline is no failure */
		torc_scope_enter(&s, LONG);
		check_eq(torc_wait(fs, COUNT(fs), modes[m], SOON), 0);
		check_eq(torc_scope_leave(&s), 0);

		check_eq(torc_future_state(fs[0]), TORC_PENDING);
		check_eq(torc_future_state(fs[1]), TORC_RUNNING);
		set_answer(fs[0]);
		set_answer(fs[1]);
		check_eq(wait_for(fs, COUNT(fs), modes[m]), 2);
		put_all(fs, COUNT(fs));
	}
	return 0;
}

Test(wait, ends_with_the_scope_and_leaves_the_futures_alone)
{
	run(wait_in_ended_scope, NULL);
}

/* --- when memory is short --- */

#define TOO_MANY ((size_t)1 << 21)

static void wait_without_memory(void)
{
	struct torc_future **fs = calloc(TOO_MANY, sizeof(*fs)), *f = promise();
	struct torc_completion c;
	int wait, all, completed;

	check(fs);
	for (size_t i = 0; i < TOO_MANY; i++)
		fs[i] = f;
	WITHOUT_MEMORY((size_t)1 << 20,
		       wait = torc_wait(fs, TOO_MANY, TORC_FIRST_COMPLETED, TORC_NEVER));
	WITHOUT_MEMORY((size_t)1 << 20, all = torc_await_all(fs, TOO_MANY, NULL));
	WITHOUT_MEMORY((size_t)1 << 20,
		       completed = torc_as_completed(&c, fs, TOO_MANY, TORC_NEVER));
	check_eq(wait, -ENOMEM);
	check_eq(all, -ENOMEM);
	check_eq(completed, -ENOMEM);
	torc_completion_done(&c); /* harmless */
	check_eq(torc_future_state(f), TORC_PENDING);
	torc_future_put(f);
	free(fs);
}

Test(wait, for_more_than_there_is_memory_for_fails)
{
	if (WITH_ASAN)
		cr_skip_test("ASan needs all the addresses that there are");
	without_leaks(in_a_fiber, wait_without_memory);
	without_leaks(in_a_thread, wait_without_memory);
	without_leaks(in_a_task, wait_without_memory);
}

/* --- torc_await_all --- */

EVERYWHERE(wait, await_all_has_all_values_in_the_order_of_the_futures)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 2));
	struct torc_future *fs[MANY];
	void *values[MANY];

	check_eq(torc_await_all(NULL, 0, NULL), 0);
	for (int i = 0; i < MANY; i++)
		fs[i] = submit(pool, give, ARG(i));
	check_eq(torc_await_all(fs, MANY, values), 0);
	for (int i = 0; i < MANY; i++)
		check_eq(VALUE(values[i]), i);
	check_eq(torc_await_all(fs, MANY, NULL), 0);
	put_all(fs, MANY);
	torc_executor_destroy(pool);
}

EVERYWHERE(wait, await_all_waits_for_the_last_one_and_takes_any_success)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 1));
	struct torc_future *fs[] = { submit(pool, end_with, ARG(7)), promise(), NULL };
	void *values[3];
	struct later l;

	fs[2] = fs[1];
	later(&l, set_answer, fs[1]);
	check_eq(torc_await_all(fs, 3, values), 0);
	later_is_over(&l);
	check(values[0] == NULL);
	check_eq(VALUE(values[1]), ANSWER);
	check_eq(VALUE(values[2]), ANSWER);
	put_all(fs, 2);
	torc_executor_destroy(pool);
}

EVERYWHERE(wait, await_all_fails_with_a_failure_and_writes_no_values)
{
	MAKE(fs, SUCCEEDED, FAILED, SUCCEEDED);
	void *values[] = { UNTOUCHED, UNTOUCHED, UNTOUCHED };

	check_eq(torc_await_all(fs, 3, values), -EIO);
	for (int i = 0; i < 3; i++)
		check(values[i] == UNTOUCHED);
	check_eq(torc_await_all(fs, 3, NULL), -EIO);
	put_all(fs, COUNT(fs));
}

/* The last of the array fails first. */
static void fail_backwards(void *arg)
{
	struct torc_future **fs = arg;

	check_eq(torc_future_fail(fs[2], -EXDEV), 0);
	fail_io(fs[0]);
	set_answer(fs[1]);
}

EVERYWHERE(wait, await_all_cancels_what_is_pending_and_waits_for_what_runs)
{
	MAKE(fs, RUNNING, RUNNING, PENDING, PENDING, PENDING, SUCCEEDED);
	void *values[] = { UNTOUCHED, UNTOUCHED, UNTOUCHED, UNTOUCHED, UNTOUCHED, UNTOUCHED };
	struct later l;

	later(&l, fail_backwards, fs);
	check_eq(torc_await_all(fs, COUNT(fs), values), -EXDEV);
	check_eq(torc_future_try(fs[0], NULL), -EIO);
	check_eq(torc_future_try(fs[1], NULL), 0);
	check_eq(torc_future_state(fs[3]), TORC_CANCELLED);
	check_eq(torc_future_state(fs[4]), TORC_CANCELLED);
	for (size_t i = 0; i < COUNT(fs); i++)
		check(values[i] == UNTOUCHED);
	later_is_over(&l);
	put_all(fs, COUNT(fs));
}

struct held {
	struct gate gate;
	struct torc_future *last;
};

static void *open_after_cancellation(void *arg)
{
	struct held *h = arg;

	while (torc_future_state(h->last) != TORC_CANCELLED)
		sched_yield();
	gate_open(&h->gate, 1);
	return NULL;
}

EVERYWHERE(wait, await_all_keeps_tasks_from_being_started_after_a_failure)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 1));
	struct torc_future *fs[12];
	atomic_int count = 0;
	struct held h;
	pthread_t thread;

	gate_init(&h.gate);
	fs[0] = submit_held(pool, &h.gate);
	fs[1] = make(FAILED);
	for (size_t i = 2; i < COUNT(fs); i++)
		fs[i] = submit(pool, count_up, &count);
	h.last = fs[COUNT(fs) - 1];
	thread = start_thread(open_after_cancellation, &h);
	check_eq(torc_await_all(fs, COUNT(fs), NULL), -EIO);
	join_thread(thread);
	check_eq(torc_future_try(fs[0], NULL), 0);
	for (size_t i = 2; i < COUNT(fs); i++)
		check_eq(torc_future_state(fs[i]), TORC_CANCELLED);
	torc_executor_destroy(pool);
	check_eq(count, 0);
	put_all(fs, COUNT(fs));
	gate_done(&h.gate);
}

static void cancel_and_set(void *arg)
{
	struct torc_future **fs = arg;

	cancel_future(fs[0]);
	set_answer(fs[1]);
}

static void cancel_and_fail(void *arg)
{
	struct torc_future **fs = arg;

	cancel_future(fs[0]);
	fail_io(fs[1]);
}

EVERYWHERE(wait, await_all_prefers_a_failure_to_a_cancellation)
{
	for (int fails = 0; fails < 2; fails++) {
		MAKE(fs, PENDING, RUNNING, SUCCEEDED);
		struct later l;

		later(&l, fails ? cancel_and_fail : cancel_and_set, fs);
		check_eq(torc_await_all(fs, COUNT(fs), NULL), fails ? -EIO : -ECANCELED);
		later_is_over(&l);
		put_all(fs, COUNT(fs));
	}
}

static int await_all_in_ended_scope(void *arg)
{
	MAKE(fs, PENDING, RUNNING, SUCCEEDED);
	void *values[] = { UNTOUCHED, UNTOUCHED, UNTOUCHED };
	struct torc_group g;
	struct torc_scope s;

	(void)arg;
	torc_group_enter(&g);
	torc_scope_enter(&s, TORC_NEVER);
	check_eq(torc_group_spawn(&g, cancel_scope, &s), 0);
	check_eq(torc_await_all(fs, COUNT(fs), values), -ECANCELED);
	torc_scope_leave(&s);
	check_eq(torc_group_wait(&g), 0);
	torc_scope_enter(&s, TORC_MS(2));
	check_eq(torc_await_all(fs, COUNT(fs), values), -ETIMEDOUT);
	torc_scope_leave(&s);
	for (size_t i = 0; i < COUNT(fs); i++)
		check(values[i] == UNTOUCHED);
	check_eq(torc_future_state(fs[0]), TORC_PENDING);
	set_answer(fs[0]);
	set_answer(fs[1]);
	check_eq(torc_await_all(fs, COUNT(fs), values), 0);
	for (size_t i = 0; i < COUNT(fs); i++)
		check_eq(VALUE(values[i]), ANSWER);
	put_all(fs, COUNT(fs));
	return 0;
}

Test(wait, await_all_cancels_nothing_when_the_scope_ends_it)
{
	run(await_all_in_ended_scope, NULL);
}

/* --- torc_as_completed --- */

/* The next one, which is `expected` if that is given. */
static struct torc_future *next(struct torc_completion *c, struct torc_future *expected)
{
	struct torc_future *f = NULL;

	check_eq(torc_completion_next(c, &f), 1);
	check(f && (!expected || f == expected));
	return f;
}

static void is_over(struct torc_completion *c, int expected)
{
	struct torc_future *f = (void *)UNTOUCHED;

	check_eq(torc_completion_next(c, &f), expected);
	check(f == (void *)UNTOUCHED);
}

EVERYWHERE(wait, as_completed_has_none_of_none)
{
	struct torc_completion c;

	check_eq(torc_as_completed(&c, NULL, 0, TORC_NEVER), 0);
	is_over(&c, 0);
	is_over(&c, 0);
	torc_completion_done(&c);
}

/* All of them, each once; the numbers of those that have come. */
static void collect(struct torc_completion *c, struct torc_future *const *fs, size_t count,
		    size_t wanted, bool *came)
{
	memset(came, 0, count * sizeof(*came));
	for (size_t n = 0; n < wanted; n++) {
		struct torc_future *f = next(c, NULL);
		size_t i = 0;

		while (i < count && (fs[i] != f || came[i]))
			i++;
		check_lt(i, count);
		came[i] = true;
	}
}

EVERYWHERE(wait, as_completed_has_each_one_once)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 2));
	struct torc_future *fs[] = { make(CANCELLED), make(FAILED), make(SUCCEEDED),
				     submit(pool, give, ARG(1)), submit(pool, give, ARG(2)) };
	struct torc_completion c;
	bool came[COUNT(fs)];

	check_eq(torc_as_completed(&c, fs, COUNT(fs), TORC_NEVER), 0);
	collect(&c, fs, COUNT(fs), COUNT(fs), came);
	is_over(&c, 0);
	is_over(&c, 0);
	torc_completion_done(&c);
	put_all(fs, COUNT(fs));
	torc_executor_destroy(pool);
}

static void complete_3102(void *arg)
{
	struct torc_future **fs = arg;

	set_answer(fs[3]);
	cancel_future(fs[1]);
	fail_io(fs[0]);
	set_answer(fs[2]);
}

EVERYWHERE(wait, as_completed_goes_by_the_order_of_completion)
{
	MAKE(fs, PENDING, PENDING, PENDING, RUNNING);
	struct torc_completion c;
	struct later l;

	for (int waits = 0; waits < 2; waits++) {
		if (waits)
			make_all(fs, fs_kinds, COUNT(fs));
		check_eq(torc_as_completed(&c, fs, COUNT(fs), TORC_NEVER), 0);
		if (waits)
			later(&l, complete_3102, fs);
		else
			complete_3102(fs);
		(void)next(&c, fs[3]);
		(void)next(&c, fs[1]);
		(void)next(&c, fs[0]);
		(void)next(&c, fs[2]);
		is_over(&c, 0);
		torc_completion_done(&c);
		if (waits)
			later_is_over(&l);
		put_all(fs, COUNT(fs));
	}
}

EVERYWHERE(wait, as_completed_takes_each_as_it_comes)
{
	MAKE(fs, PENDING, PENDING, PENDING, PENDING);
	struct torc_completion c;

	check_eq(torc_as_completed(&c, fs, COUNT(fs), TORC_NEVER), 0);
	for (size_t i = COUNT(fs); i-- > 0;) {
		struct later l;

		later(&l, set_answer, fs[i]);
		(void)next(&c, fs[i]);
		later_is_over(&l);
	}
	is_over(&c, 0);
	torc_completion_done(&c);
	put_all(fs, COUNT(fs));
}

/* Not as in Python, where it would come once. */
EVERYWHERE(wait, as_completed_has_one_that_is_named_three_times_as_often)
{
	for (int done = 0; done < 2; done++) {
		struct torc_future *f = done ? make(SUCCEEDED) : promise(), *fs[] = { f, f, f };
		struct torc_completion c;
		struct later l;

		check_eq(torc_as_completed(&c, fs, 3, TORC_NEVER), 0);
		if (!done)
			later(&l, set_answer, f);
		for (int i = 0; i < 3; i++)
			(void)next(&c, f);
		is_over(&c, 0);
		torc_completion_done(&c);
		if (!done)
			later_is_over(&l);
		torc_future_put(f);
	}
}

EVERYWHERE(wait, as_completed_has_what_is_done_and_then_is_late)
{
	const uint64_t deadlines[] = { PAST, SOON };

	for (size_t i = 0; i < COUNT(deadlines); i++) {
		MAKE(fs, CANCELLED, PENDING, FAILED, RUNNING, SUCCEEDED);
		struct torc_completion c;
		bool came[COUNT(fs)];

		check_eq(torc_as_completed(&c, fs, COUNT(fs), deadlines[i]), 0);
		collect(&c, fs, COUNT(fs), 3, came);
		check(!came[1] && !came[3]);
		is_over(&c, -ETIMEDOUT);
		is_over(&c, -ETIMEDOUT);
		torc_completion_done(&c);
		check_eq(torc_future_state(fs[1]), TORC_PENDING);
		check_eq(torc_future_state(fs[3]), TORC_RUNNING);
		put_all(fs, COUNT(fs));
	}
}

EVERYWHERE(wait, as_completed_may_end_at_any_time)
{
	for (int n = 0; n < 4; n++) {
		MAKE(fs, SUCCEEDED, PENDING, PENDING, CANCELLED);
		struct torc_completion c;
		bool came[COUNT(fs)];

		check_eq(torc_as_completed(&c, fs, COUNT(fs), TORC_NEVER), 0);
		if (n == 3)
			set_answer(fs[1]);
		collect(&c, fs, COUNT(fs), (size_t)n, came);
		torc_completion_done(&c);
		if (n != 3)
			set_answer(fs[1]); /* nobody is told */
		fail_io(fs[2]);
		put_all(fs, COUNT(fs));
	}
}

/* What the caller has given back is there until it is done with. */
EVERYWHERE(wait, as_completed_keeps_references)
{
	MAKE(fs, SUCCEEDED, PENDING);
	struct torc_future *last = torc_future_get(fs[1]), *f;
	struct torc_completion c;
	void *value;

	check_eq(torc_as_completed(&c, fs, 2, TORC_NEVER), 0);
	put_all(fs, 2);
	f = next(&c, fs[0]);
	check_eq(torc_future_try(f, &value), 0);
	set_answer(last);
	torc_future_put(last);
	last = next(&c, fs[1]);
	check_eq(torc_future_try(last, &value), 0);
	check_eq(torc_future_try(f, &value), 0);
	is_over(&c, 0);
	torc_completion_done(&c);
}

EVERYWHERE(wait, as_completed_loses_none_of_many_tasks)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 3));
	struct torc_future *fs[MANY], *f;
	struct torc_completion c;
	intptr_t sum = 0;
	void *value;

	for (int i = 0; i < MANY; i++)
		fs[i] = submit(pool, give, ARG(i));
	check_eq(torc_as_completed(&c, fs, MANY, torc_now_ns() + LONG), 0);
	put_all(fs, MANY);
	for (int i = 0; i < MANY; i++) {
		f = next(&c, NULL);
		check_eq(torc_future_try(f, &value), 0);
		sum += VALUE(value);
	}
	is_over(&c, 0);
	torc_completion_done(&c);
	check_eq(sum, MANY * (MANY - 1) / 2);
	torc_executor_destroy(pool);
}

static int complete_in_ended_scope(void *arg)
{
	MAKE(fs, PENDING, PENDING);
	struct torc_completion c;
	struct torc_group g;
	struct torc_scope s;

	(void)arg;
	check_eq(torc_as_completed(&c, fs, 2, TORC_NEVER), 0);
	torc_group_enter(&g);
	torc_scope_enter(&s, TORC_NEVER);
	check_eq(torc_group_spawn(&g, cancel_scope, &s), 0);
	is_over(&c, -ECANCELED);
	is_over(&c, -ECANCELED);
	torc_scope_leave(&s);
	check_eq(torc_group_wait(&g), 0);
	torc_scope_enter(&s, TORC_MS(2));
	is_over(&c, -ETIMEDOUT);
	torc_scope_leave(&s);
	/* and outside of the scope it goes on */
	set_answer(fs[1]);
	(void)next(&c, fs[1]);
	set_answer(fs[0]);
	(void)next(&c, fs[0]);
	is_over(&c, 0);
	torc_completion_done(&c);
	put_all(fs, 2);
	return 0;
}

Test(wait, as_completed_goes_on_after_a_scope_that_has_ended)
{
	run(complete_in_ended_scope, NULL);
}
