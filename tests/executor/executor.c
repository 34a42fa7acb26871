/*
 * What all executors have in common: submitting, cancelling, shutting down. And how to write one.
 */
#include "tests/executor/run.h"

#include <torc/executor/map.h>
#include <torc/executor/wait.h>

TestSuite(executor, .timeout = 20);

/* --- each kind --- */

/* So many tasks run at the same time, and so many may wait; 0: any number. */
typedef struct torc_executor *maker(unsigned threads, size_t queue_max);

static struct torc_executor *make_pool(unsigned threads, size_t queue_max)
{
	return pool_with(
		POOL(.workers = threads, .queue_max = queue_max, .when_full = TORC_FULL_FAIL));
}

static struct torc_executor *make_elastic(unsigned threads, size_t queue_max)
{
	return elastic_with(ELASTIC(.threads_max = threads, .queue_max = queue_max));
}

static maker *const makers[] = { make_pool, make_elastic };

/* A test of each kind of executor, from everywhere. */
#define WITH_EACH(name)                                    \
	static void with_each__##name(maker *executor_of); \
	EVERYWHERE(executor, name)                         \
	{                                                  \
		for (size_t m = 0; m < COUNT(makers); m++) \
			with_each__##name(makers[m]);      \
	}                                                  \
	static void with_each__##name(maker *executor_of)

WITH_EACH(hands_over_values_statuses_and_errors)
{
	struct torc_executor *e = executor_of(2, 0);
	int object;

	expect(submit(e, give, &object), 0, &object);
	expect(submit(e, give, NULL), 0, NULL);
	expect(submit(e, end_with, ARG(7)), 7, NULL);
	expect(submit(e, end_with, ARG(INT32_MAX)), INT32_MAX, NULL);
	expect(submit(e, end_with, ARG(-ENOTTY)), -ENOTTY, NULL);
	expect(submit(e, end_with, ARG(-ECANCELED)), -ECANCELED, NULL);
	torc_executor_destroy(e);
}

static int set_and_fail(void *arg, void **ret_value)
{
	check(*ret_value == NULL);
	*ret_value = arg;
	return -EIO;
}

WITH_EACH(drops_the_value_of_a_task_that_fails)
{
	struct torc_executor *e = executor_of(1, 0);
	struct torc_future *f = submit(e, set_and_fail, &e);

	expect(f, -EIO, NULL);
	torc_executor_destroy(e);
}

static int note_thread(void *arg, void **ret_value)
{
	(void)ret_value;
	check(!torc_in_fiber());
	*(pid_t *)arg = gettid();
	return 0;
}

WITH_EACH(runs_tasks_on_plain_threads_of_its_own)
{
	struct torc_executor *e = executor_of(1, 0);
	pid_t tids[3] = { 0 };

	for (int i = 0; i < 3; i++)
		expect(submit(e, note_thread, &tids[i]), 0, NULL);
	check(tids[0] != 0 && tids[0] != gettid());
	check_eq(tids[0], tids[1]);
	check_eq(tids[0], tids[2]);
	torc_executor_destroy(e);
}

WITH_EACH(runs_what_nobody_wants_the_result_of)
{
	struct torc_executor *e = executor_of(2, 0);
	atomic_int count = 0;

	for (int i = 0; i < 50; i++)
		check_eq(torc_submit(e, count_up, &count, NULL), 0);
	for (int i = 0; i < 50; i++)
		torc_future_put(submit(e, count_up, &count));
	torc_executor_destroy(e);
	check_eq(count, 100);
}

WITH_EACH(tells_how_many_tasks_it_runs_at_a_time)
{
	for (unsigned n = 1; n < 5; n++) {
		struct torc_executor *e = executor_of(n, 0);

		check_eq(torc_executor_parallelism(e), n);
		torc_executor_destroy(e);
	}
}

WITH_EACH(runs_as_many_tasks_at_a_time_as_it_says)
{
	struct torc_executor *e = executor_of(4, 0);
	struct torc_future *fs[4], *fifth;
	struct gate g;

	gate_init(&g);
	for (int i = 0; i < 4; i++)
		fs[i] = submit(e, hold, &g);
	gate_wait(&g, 4); /* all at the same time */
	fifth = submit(e, give, NULL);
	check_eq(torc_await_until(fifth, SOON, NULL), -ETIMEDOUT);
	check_eq(torc_future_state(fifth), TORC_PENDING);
	gate_open(&g, 4);
	expect(fifth, 0, NULL);
	for (int i = 0; i < 4; i++)
		expect(fs[i], 0, ARG(ANSWER));
	torc_executor_destroy(e);
	gate_done(&g);
}

/* Python's "saturation": many more tasks that block than threads. */
WITH_EACH(starts_no_more_threads_than_it_may)
{
	struct torc_executor *e;
	struct gate g;
	int before = count_threads();

	gate_init(&g);
	e = executor_of(4, 0);
	for (int i = 0; i < 60; i++)
		check_eq(torc_submit(e, hold, &g, NULL), 0);
	gate_wait(&g, 4);
	check_threads(before + 4);
	check_eq(g.begun, 4);
	gate_open(&g, 60);
	torc_executor_destroy(e);
	check_eq(g.over, 60);
	check_threads(before);
	gate_done(&g);
}

/* --- several in one call --- */

#define MANY 100

static void number_args(void **args, int count)
{
	for (int i = 0; i < count; i++)
		args[i] = ARG(i);
}

WITH_EACH(takes_many_in_one_call)
{
	struct torc_executor *e = executor_of(2, 0);
	struct torc_future *fs[MANY];
	void *args[MANY];

	number_args(args, MANY);
	check_eq(torc_submit_many(e, give, args, 0, NULL), 0);
	check_eq(torc_submit_many(e, give, args, MANY, fs), 0);
	/* each is a future of its own: they are put in any order, some before they are done */
	for (int i = 0; i < MANY; i += 3)
		torc_future_put(fs[i]);
	for (int i = MANY - 1; i >= 0; i--)
		if (i % 3 != 0)
			expect(fs[i], 0, ARG(i));
	check_eq(torc_submit_many(e, give, args, 1, fs), 0);
	torc_executor_destroy(e);
	expect(fs[0], 0, ARG(0));
}

WITH_EACH(cancels_some_of_many_that_were_taken_in_one_call)
{
	struct torc_executor *e = executor_of(1, 0);
	struct torc_future *held, *fs[10];
	atomic_int count = 0;
	void *args[10];
	struct gate g;

	gate_init(&g);
	held = submit_held(e, &g);
	for (int i = 0; i < 10; i++)
		args[i] = &count;
	check_eq(torc_submit_many(e, count_up, args, 10, fs), 0);
	for (int i = 0; i < 10; i += 2)
		check(torc_future_cancel(fs[i]));
	gate_open(&g, 1);
	for (int i = 0; i < 10; i++)
		expect(fs[i], i % 2 ? 0 : -ECANCELED, NULL);
	torc_executor_destroy(e);
	check_eq(count, 5);
	torc_future_put(held);
	gate_done(&g);
}

/* --- a queue that is full --- */

WITH_EACH(refuses_more_than_may_wait)
{
	struct torc_executor *e = executor_of(1, 2);
	struct torc_future *held, *fs[2], *none = (void *)UNTOUCHED;
	struct gate g;

	gate_init(&g);
	held = submit_held(e, &g);
	for (int i = 0; i < 2; i++)
		fs[i] = submit(e, give, ARG(i));
	check_eq(torc_submit(e, give, NULL, &none), -EAGAIN);
	check_eq(torc_submit(e, give, NULL, NULL), -EAGAIN);
	check(none == (void *)UNTOUCHED);
	gate_open(&g, 1);
	for (int i = 0; i < 2; i++)
		expect(fs[i], 0, ARG(i));
	expect(submit(e, give, ARG(3)), 0, ARG(3)); /* there is room again */
	torc_executor_destroy(e);
	torc_future_put(held);
	gate_done(&g);
}

WITH_EACH(takes_all_of_many_or_none)
{
	struct torc_executor *e = executor_of(1, 4);
	struct torc_future *held, *fs[5];
	void *args[5];
	struct gate g;
	int r;

	gate_init(&g);
	number_args(args, 5);
	held = submit_held(e, &g);
	check_eq(torc_submit_many(e, give, args, 5, fs), -EAGAIN);
	gate_open(&g, 1);
	expect(held, 0, ARG(ANSWER));
	/* what it had begun to take may be in the queue for a moment longer */
	while ((r = torc_submit(e, hold, &g, &held)) == -EAGAIN)
		sched_yield();
	check_eq(r, 0);
	gate_wait(&g, 1);
	check_eq(torc_submit_many(e, give, args, 4, fs), 0);
	gate_open(&g, 1);
	for (int i = 0; i < 4; i++)
		expect(fs[i], 0, ARG(i));
	torc_executor_destroy(e);
	torc_future_put(held);
	gate_done(&g);
}

/* --- cancelling --- */

WITH_EACH(cancels_only_what_it_has_not_started)
{
	struct torc_executor *e = executor_of(1, 0);
	struct torc_future *running, *pending, *next;
	atomic_int count = 0;
	struct gate g;

	gate_init(&g);
	running = submit_held(e, &g);
	pending = submit(e, count_up, &count);
	next = submit(e, give, ARG(1));
	check_eq(torc_future_state(running), TORC_RUNNING);
	check_eq(torc_future_state(pending), TORC_PENDING);
	check(!torc_future_cancel(running));
	check(torc_future_cancel(pending));
	check_eq(torc_await(pending, NULL), -ECANCELED); /* at once */
	gate_open(&g, 1);
	expect(running, 0, ARG(ANSWER));
	check_eq(torc_await(next, NULL), 0);
	check(!torc_future_cancel(next));
	expect(next, 0, ARG(1));
	check_eq(torc_future_state(pending), TORC_CANCELLED);
	check_eq(count, 0);
	torc_future_put(pending);
	torc_executor_destroy(e);
	gate_done(&g);
}

/* Whoever wins: it is run and done, or not run and cancelled. */
WITH_EACH(either_runs_or_cancels_a_task)
{
	struct torc_executor *e = executor_of(2, 0);

	for (int i = 0; i < 200; i++) {
		atomic_int count = 0;
		struct torc_future *f = submit(e, count_up, &count);
		bool cancelled = torc_future_cancel(f);

		check_eq(torc_await(f, NULL), cancelled ? -ECANCELED : 0);
		check_eq(torc_future_state(f), cancelled ? TORC_CANCELLED : TORC_DONE);
		check_eq(count, !cancelled);
		torc_future_put(f);
	}
	torc_executor_destroy(e);
}

/* --- shutting down --- */

WITH_EACH(takes_nothing_after_it_was_shut_down)
{
	for (unsigned flags = 0; flags < 4; flags++) {
		struct torc_executor *e = executor_of(2, 0);
		struct torc_future *f = (void *)UNTOUCHED, *fs[2];
		atomic_int count = 0;
		void *args[] = { &count, &count };

		check_eq(torc_executor_shutdown(e, flags), 0);
		check_eq(torc_submit(e, count_up, &count, &f), -ESHUTDOWN);
		check_eq(torc_submit(e, count_up, &count, NULL), -ESHUTDOWN);
		check_eq(torc_submit_many(e, count_up, args, 2, fs), -ESHUTDOWN);
		check(f == (void *)UNTOUCHED);
		check_eq(torc_executor_shutdown(e, flags), 0); /* again */
		torc_executor_destroy(e);
		check_eq(count, 0);
	}
}

WITH_EACH(waits_for_all_its_work_when_it_is_shut_down)
{
	struct torc_executor *e = executor_of(2, 0);
	struct torc_future *fs[MANY];
	atomic_int count = 0;
	struct later l;
	struct gate g;

	gate_init(&g);
	for (int i = 0; i < 2; i++)
		check_eq(torc_submit(e, hold, &g, NULL), 0);
	gate_wait(&g, 2);
	for (int i = 0; i < MANY; i++)
		fs[i] = submit(e, count_up, &count);
	gate_open(&g, 1);
	later(&l, open_one, &g); /* once it waits */
	check_eq(torc_executor_shutdown(e, 0), 0);
	check_eq(g.over, 2);
	check_eq(count, MANY);
	later_is_over(&l);
	for (int i = 0; i < MANY; i++) {
		check_eq(torc_future_try(fs[i], NULL), 0);
		torc_future_put(fs[i]);
	}
	torc_executor_destroy(e);
	gate_done(&g);
}

WITH_EACH(cancels_what_is_pending_when_it_is_told_so)
{
	struct torc_executor *e = executor_of(2, 0);
	struct torc_future *held[2], *fs[50];
	atomic_int count = 0;
	struct gate g;

	gate_init(&g);
	for (int i = 0; i < 2; i++)
		held[i] = submit_held(e, &g);
	for (int i = 0; i < 50; i++)
		fs[i] = submit(e, count_up, &count);
	check_eq(torc_executor_shutdown(e, TORC_CANCEL_PENDING | TORC_NO_WAIT), 0);
	for (int i = 0; i < 50; i++)
		check_eq(torc_future_state(fs[i]), TORC_CANCELLED);
	for (int i = 0; i < 2; i++)
		check_eq(torc_future_state(held[i]), TORC_RUNNING);
	check_eq(torc_submit(e, count_up, &count, NULL), -ESHUTDOWN);
	gate_open(&g, 2);
	check_eq(torc_executor_shutdown(e, 0), 0);
	for (int i = 0; i < 2; i++)
		expect(held[i], 0, ARG(ANSWER));
	put_all(fs, 50);
	torc_executor_destroy(e);
	check_eq(count, 0);
	gate_done(&g);
}

WITH_EACH(cancels_what_is_pending_and_waits_for_the_rest)
{
	struct torc_executor *e = executor_of(1, 0);
	struct torc_future *held, *fs[50];
	atomic_int count = 0;
	struct later l;
	struct gate g;

	gate_init(&g);
	held = submit_held(e, &g);
	for (int i = 0; i < 50; i++)
		fs[i] = submit(e, count_up, &count);
	later(&l, open_one, &g);
	check_eq(torc_executor_shutdown(e, TORC_CANCEL_PENDING), 0);
	later_is_over(&l);
	check_eq(torc_future_try(held, NULL), 0);
	for (int i = 0; i < 50; i++)
		check(torc_future_try(fs[i], NULL) != -EINPROGRESS);
	put_all(fs, 50);
	torc_future_put(held);
	torc_executor_destroy(e);
	gate_done(&g);
}

WITH_EACH(is_shut_down_now_and_waited_for_afterwards)
{
	struct torc_executor *e = executor_of(1, 0);
	struct torc_future *held, *pending;
	struct gate g;

	gate_init(&g);
	held = submit_held(e, &g);
	pending = submit(e, give, ARG(1));
	for (int i = 0; i < 2; i++)
		check_eq(torc_executor_shutdown(e, TORC_NO_WAIT), 0);
	check_eq(torc_future_state(held), TORC_RUNNING);
	check_eq(torc_future_state(pending), TORC_PENDING);
	check_eq(torc_submit(e, give, NULL, NULL), -ESHUTDOWN);
	gate_open(&g, 1);
	check_eq(torc_executor_shutdown(e, 0), 0);
	check_eq(torc_future_try(held, NULL), 0);
	check_eq(torc_future_try(pending, NULL), 0);
	put_all((struct torc_future *[]){ held, pending }, 2);
	torc_executor_destroy(e);
	gate_done(&g);
}

/* Python's issue 94440. */
WITH_EACH(does_not_hang_when_its_last_task_was_cancelled)
{
	for (int i = 0; i < 20; i++) {
		struct torc_executor *e = executor_of(1, 0);
		struct torc_future *f;

		expect(submit(e, give, NULL), 0, NULL);
		f = submit(e, give, NULL);
		(void)torc_future_cancel(f);
		check_eq(torc_executor_shutdown(e, 0), 0);
		torc_future_put(f);
		torc_executor_destroy(e);
	}
}

struct self {
	struct torc_executor *executor;
	struct gate gate;
	struct torc_future *future;
	unsigned flags;
	int results[4];
};

static int shut_down_own(void *arg, void **ret_value)
{
	struct self *s = arg;

	(void)ret_value;
	pass_gate(&s->gate);
	s->results[0] = torc_executor_shutdown(s->executor, s->flags);
	s->results[1] = torc_submit(s->executor, give, NULL, NULL);
	return 0;
}

WITH_EACH(is_shut_down_but_not_waited_for_by_its_own_worker)
{
	static const struct {
		unsigned flags;
		int expected;
	} cases[] = {
		{ 0, -EDEADLK },
		{ TORC_CANCEL_PENDING, -EDEADLK },
		{ TORC_NO_WAIT, 0 },
		{ TORC_NO_WAIT | TORC_CANCEL_PENDING, 0 },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct self s = { .executor = executor_of(1, 0), .flags = cases[i].flags };
		struct torc_future *f, *pending;

		gate_init(&s.gate);
		f = submit(s.executor, shut_down_own, &s);
		pending = submit(s.executor, give, NULL);
		gate_open(&s.gate, 1);
		expect(f, 0, NULL);
		check_eq(s.results[0], cases[i].expected);
		check_eq(s.results[1], -ESHUTDOWN);
		check_eq(torc_executor_shutdown(s.executor, 0), 0);
		check_eq(torc_future_try(pending, NULL),
			 cases[i].flags & TORC_CANCEL_PENDING ? -ECANCELED : 0);
		torc_future_put(pending);
		torc_executor_destroy(s.executor);
		gate_done(&s.gate);
	}
}

static void *shut_down_too(void *executor)
{
	check_eq(torc_executor_shutdown(executor, 0), 0);
	return NULL;
}

WITH_EACH(is_shut_down_by_several_threads_that_all_wait)
{
	struct torc_executor *e = executor_of(2, 0);
	struct torc_future *held;
	pthread_t threads[3];
	struct later l;
	struct gate g;

	gate_init(&g);
	held = submit_held(e, &g);
	for (int i = 0; i < 3; i++)
		threads[i] = start_thread(shut_down_too, e);
	later(&l, open_one, &g);
	check_eq(torc_executor_shutdown(e, 0), 0);
	later_is_over(&l);
	for (int i = 0; i < 3; i++)
		join_thread(threads[i]);
	check_eq(torc_future_try(held, NULL), 0);
	torc_future_put(held);
	torc_executor_destroy(e);
	gate_done(&g);
}

static int shut_down_in_ended_scope(void *arg)
{
	maker *executor_of = *(maker *const *)arg;
	struct torc_executor *e = executor_of(1, 0);
	struct torc_future *held;
	struct torc_group group;
	struct torc_scope s;
	struct gate g;

	gate_init(&g);
	held = submit_held(e, &g);
	torc_group_enter(&group);
	torc_scope_enter(&s, TORC_NEVER);
	check_eq(torc_group_spawn(&group, cancel_scope, &s), 0);
	check_eq(torc_executor_shutdown(e, 0), -ECANCELED);
	check_eq(torc_executor_shutdown(e, TORC_NO_WAIT), 0); /* does not suspend */
	torc_scope_leave(&s);
	check_eq(torc_group_wait(&group), 0);
	check_eq(torc_submit(e, give, NULL, NULL), -ESHUTDOWN);
	torc_scope_enter(&s, TORC_MS(2));
	check_eq(torc_executor_shutdown(e, 0), -ETIMEDOUT);
	torc_scope_leave(&s);
	check_eq(torc_future_state(held), TORC_RUNNING);
	gate_open(&g, 1);
	check_eq(torc_executor_shutdown(e, 0), 0);
	expect(held, 0, ARG(ANSWER));
	torc_executor_destroy(e);
	gate_done(&g);
	return 0;
}

Test(executor, takes_nothing_more_when_the_scope_ends_its_shutdown)
{
	for (size_t m = 0; m < COUNT(makers); m++)
		run(shut_down_in_ended_scope, (void *)&makers[m]);
}

static int destroy_in_ended_scope(void *arg)
{
	maker *executor_of = *(maker *const *)arg;
	int before = count_threads();

	for (int late = 0; late < 2; late++) {
		struct torc_executor *e = executor_of(1, 0);
		struct torc_future *held, *pending;
		struct torc_scope s;
		struct later l;
		struct gate g;

		gate_init(&g);
		held = submit_held(e, &g);
		pending = submit(e, give, ARG(1));
		torc_scope_enter(&s, late ? 0 : TORC_NEVER);
		if (!late)
			torc_scope_cancel(&s);
		later(&l, open_one, &g);
		torc_executor_destroy(e);
		check_eq(g.over, 1);
		later_is_over(&l);
		torc_scope_leave(&s);
		expect(held, 0, ARG(ANSWER));
		expect(pending, 0, ARG(1));
		gate_done(&g);
		check_threads(before);
	}
	return 0;
}

Test(executor, is_destroyed_only_after_all_work_also_in_a_scope_that_has_ended)
{
	for (size_t m = 0; m < COUNT(makers); m++)
		run(destroy_in_ended_scope, (void *)&makers[m]);
}

WITH_EACH(leaves_futures_but_no_threads_when_it_is_destroyed)
{
	int before = count_threads();

	torc_executor_destroy(NULL);
	for (unsigned n = 1; n <= 4; n++) {
		struct torc_executor *e = executor_of(n, 0);
		struct torc_future *fs[MANY], *held;
		struct gate g;

		gate_init(&g);
		held = submit_held(e, &g);
		for (int i = 0; i < MANY; i++)
			fs[i] = submit(e, give, ARG(i));
		gate_open(&g, 1);
		torc_executor_destroy(e); /* what was pending has been run */
		check_threads(before);
		for (int i = 0; i < MANY; i++)
			expect(fs[i], 0, ARG(i));
		expect(held, 0, ARG(ANSWER));
		gate_done(&g);
		torc_executor_destroy(executor_of(n, 0)); /* one that had nothing to do */
		check_threads(before);
	}
}

static int destroy_own(void *arg, void **ret_value)
{
	(void)ret_value;
	torc_executor_destroy(*(struct torc_executor **)arg);
	return 0;
}

static int be_destroyed_by_worker(void *arg)
{
	struct torc_executor *e;
	maker *executor_of = *(maker *const *)arg;
	struct torc_future *f;

	e = executor_of(2, 0);
	f = submit(e, destroy_own, &e);
	(void)!torc_await(f, NULL);
	return 0;
}

Test(executor, traps_when_its_own_worker_destroys_it)
{
	for (size_t m = 0; m < COUNT(makers); m++) {
		struct died d = in_child(be_destroyed_by_worker, (void *)&makers[m]);

		check_trap(&d);
		d = run_in_child(NULL, be_destroyed_by_worker, (void *)&makers[m]);
		check_trap(&d);
	}
}

/* --- tasks that submit --- */

static int submit_another(void *arg, void **ret_value)
{
	struct self *s = arg;

	s->future = submit(s->executor, give, ARG(ANSWER));
	return torc_await(s->future, ret_value);
}

WITH_EACH(runs_what_tasks_submit_and_wait_for)
{
	struct self s = { .executor = executor_of(2, 0) };

	expect(submit(s.executor, submit_another, &s), 0, ARG(ANSWER));
	torc_future_put(s.future);
	torc_executor_destroy(s.executor);
}

static int submit_when_let(void *arg, void **ret_value)
{
	struct self *s = arg;

	(void)ret_value;
	pass_gate(&s->gate);
	s->results[0] = torc_submit(s->executor, give, NULL, NULL);
	return 0;
}

WITH_EACH(takes_nothing_from_its_own_tasks_either_after_it_was_shut_down)
{
	struct self s = { .executor = executor_of(1, 0) };
	struct torc_future *f;

	gate_init(&s.gate);
	f = submit(s.executor, submit_when_let, &s);
	gate_wait(&s.gate, 1);
	check_eq(torc_executor_shutdown(s.executor, TORC_NO_WAIT), 0);
	gate_open(&s.gate, 1);
	expect(f, 0, NULL);
	check_eq(s.results[0], -ESHUTDOWN);
	torc_executor_destroy(s.executor);
	gate_done(&s.gate);
}

struct submitter {
	struct torc_executor *executor;
	atomic_int *count;
};

static void *submit_hundred(void *arg)
{
	struct submitter *s = arg;
	struct torc_future *fs[100];

	for (int i = 0; i < 100; i++)
		fs[i] = submit(s->executor, count_up, s->count);
	for (int i = 0; i < 100; i++)
		expect(fs[i], 0, NULL);
	return NULL;
}

WITH_EACH(takes_work_from_several_threads_at_a_time)
{
	atomic_int count = 0;
	struct submitter s = { executor_of(3, 0), &count };
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		threads[i] = start_thread(submit_hundred, &s);
	(void)submit_hundred(&s);
	for (int i = 0; i < 4; i++)
		join_thread(threads[i]);
	torc_executor_destroy(s.executor);
	check_eq(count, 500);
}

static int submit_hundred_in_fiber(void *arg)
{
	(void)submit_hundred(arg);
	return 0;
}

static int submit_from_loops(void *arg)
{
	maker *executor_of = *(maker *const *)arg;
	atomic_int count = 0;
	struct submitter s = { executor_of(2, 0), &count };
	struct torc_group g;

	torc_group_enter(&g);
	for (int i = 0; i < 6; i++)
		check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(i % 2)),
					       submit_hundred_in_fiber, &s),
			 0);
	check_eq(torc_group_wait(&g), 0);
	torc_executor_destroy(s.executor);
	check_eq(count, 600);
	return 0;
}

Test(executor, takes_work_from_fibers_of_several_loops)
{
	for (size_t m = 0; m < COUNT(makers); m++)
		check_eq(run_with(OPTIONS(.loops = 2), submit_from_loops, (void *)&makers[m]), 0);
}

struct resubmission {
	struct torc_executor *executor;
	struct torc_future *other; /* to be cancelled */
	atomic_int count;
	int result;
	bool called;
};

static void submit_and_cancel(struct torc_future *f, void *arg)
{
	struct resubmission *s = arg;

	check(torc_future_state(f) != TORC_PENDING);
	s->called = true;
	if (s->other)
		check(torc_future_cancel(s->other));
	s->result = torc_submit(s->executor, count_up, &s->count, NULL);
}

/* Whoever calls back holds no lock of the executor. */
WITH_EACH(is_used_by_callbacks)
{
	for (int how = 0; how < 3; how++) {
		struct resubmission s = { .executor = executor_of(1, 0), .result = 1 };
		struct torc_future *held, *f;
		struct gate g;

		gate_init(&g);
		held = submit_held(s.executor, &g);
		f = submit(s.executor, give, NULL);
		if (how < 2)
			s.other = submit(s.executor, give, NULL);
		check_eq(torc_future_on_done(f, submit_and_cancel, &s), 0);
		if (how == 1)
			check(torc_future_cancel(f));
		if (how == 2)
			check_eq(torc_executor_shutdown(s.executor,
							TORC_CANCEL_PENDING | TORC_NO_WAIT),
				 0);
		gate_open(&g, 1);
		torc_executor_destroy(s.executor);
		check(s.called);
		check_eq(s.result, how == 0 ? s.result : how == 1 ? 0 : -ESHUTDOWN);
		check_eq(s.count, s.result == 0);
		if (s.other)
			expect(s.other, -ECANCELED, NULL);
		expect(held, 0, ARG(ANSWER));
		torc_future_put(f);
		gate_done(&g);
	}
}

static int fork_process(void *arg, void **ret_value)
{
	int status = -1;
	pid_t pid = fork();

	(void)arg, (void)ret_value;
	if (!pid)
		_exit(7);
	check_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -ECHILD;
}

WITH_EACH(has_tasks_that_may_fork_a_process)
{
	struct torc_executor *e = executor_of(1, 0);

	expect(submit(e, fork_process, NULL), 7, NULL);
	torc_executor_destroy(e);
}

/* --- executors of one's own --- */

EVERYWHERE(executor, of_ones_own_may_run_everything_at_once)
{
	struct torc_executor e = at_once();
	struct torc_future *f = submit(&e, give, ARG(1)), *fs[MANY];
	void *args[MANY];
	pid_t tid = 0;

	check_eq(torc_executor_parallelism(&e), 1);
	check_eq(torc_future_state(f), TORC_DONE);
	expect(f, 0, ARG(1));
	expect(submit(&e, end_with, ARG(-EIO)), -EIO, NULL);
	check_eq(torc_submit(&e, give, NULL, NULL), 0);
	number_args(args, MANY);
	check_eq(torc_submit_many(&e, give, args, MANY, fs), 0);
	check_eq(torc_wait(fs, MANY, TORC_ALL_COMPLETED, 0), MANY);
	for (int i = 0; i < MANY; i++)
		expect(fs[i], 0, ARG(i));
	*args = &tid;
	check_eq(torc_submit_many(&e, give, args, 1, fs), 0);
	expect(fs[0], 0, &tid);
	check_eq(torc_executor_shutdown(&e, 0), 0);
	torc_executor_destroy(&e); /* it has none of its own */
}

/* Keeps what it takes, for the test to run it. */
struct manual {
	struct torc_executor executor;
	struct torc_future *taken[64];
	size_t count;      /* taken */
	size_t room;       /* for how many more */
	size_t at_most;    /* in one call; 0: any number */
	int full;          /* what it says when there is no room */
	int shutdown;      /* what it says to that */
	unsigned flags[4]; /* of each shutdown */
	int shutdowns, destroyed, cancels;
	struct torc_future *cancelled; /* the last that it was asked to cancel */
	bool stops;                    /* what runs */
};

static int manual_submit(struct torc_executor *executor, struct torc_future *const *futures,
			 size_t count)
{
	struct manual *m = (struct manual *)executor;

	check_ge(count, 1);
	if (count > m->room)
		count = m->room;
	if (m->at_most && count > m->at_most)
		count = m->at_most;
	if (!count)
		return m->full;
	for (size_t i = 0; i < count; i++)
		m->taken[m->count++] = futures[i];
	m->room -= count;
	return (int)count;
}

static bool manual_cancel(struct torc_executor *executor, struct torc_future *f)
{
	struct manual *m = (struct manual *)executor;

	m->cancels++;
	m->cancelled = f;
	if (!m->stops || torc_future_state(f) != TORC_RUNNING)
		return false;
	check_eq(torc_future_fail(f, -EINTR), 0);
	return true;
}

static int manual_shutdown(struct torc_executor *executor, unsigned flags)
{
	struct manual *m = (struct manual *)executor;

	check_eq(m->destroyed, 0);
	m->flags[m->shutdowns++] = flags;
	return m->shutdown;
}

static void manual_destroy(struct torc_executor *executor)
{
	struct manual *m = (struct manual *)executor;

	check_ge(m->shutdowns, 1);
	m->destroyed++;
}

static const struct torc_executor_ops manual_ops = {
	.name = "manual",
	.submit = manual_submit,
	.cancel = manual_cancel,
	.shutdown = manual_shutdown,
	.destroy = manual_destroy,
};

static struct manual manual(size_t room)
{
	return (struct manual){ .executor = { .ops = &manual_ops, .parallelism = 4 },
				.room = room,
				.full = -EAGAIN };
}

static void run_first(void *arg)
{
	struct manual *m = arg;

	torc_future_run(m->taken[0]);
}

EVERYWHERE(executor, of_ones_own_runs_what_it_has_taken_on_any_thread)
{
	struct manual m = manual(10);
	struct torc_future *f;
	pid_t tid = 0;
	struct later l;

	check_eq(torc_executor_parallelism(&m.executor), 4);
	f = submit(&m.executor, note_thread, &tid);
	check_eq(m.count, 1);
	check_eq(torc_future_state(f), TORC_PENDING);
	check(m.taken[0] == f);
	later(&l, run_first, &m);
	expect(f, 0, NULL);
	later_is_over(&l);
	check_eq(tid, l.tid);
}

static int ask_own_state(void *arg, void **ret_value)
{
	(void)ret_value;
	return torc_future_state(*(struct torc_future **)arg) == TORC_RUNNING;
}

EVERYWHERE(executor, of_ones_own_finds_that_a_future_was_cancelled_or_dropped)
{
	struct manual m = manual(10);
	struct torc_future *cancelled, *running;
	atomic_int count = 0;

	cancelled = submit(&m.executor, count_up, &count);
	running = submit(&m.executor, ask_own_state, &running);
	check_eq(torc_submit(&m.executor, count_up, &count, NULL), 0);
	torc_future_put(submit(&m.executor, count_up, &count));
	check_eq(m.count, 4);
	check(torc_future_cancel(cancelled));
	for (size_t i = 0; i < m.count; i++)
		torc_future_run(m.taken[i]);
	expect(cancelled, -ECANCELED, NULL);
	expect(running, 1, NULL);
	check_eq(count, 2);
}

EVERYWHERE(executor, of_ones_own_may_do_the_work_by_another_way)
{
	struct manual m = manual(10);
	struct torc_future *f = submit(&m.executor, give, &m);
	void *arg = NULL;

	check(torc_future_work(m.taken[0], &arg) == give);
	check(arg == &m);
	check(torc_future_start(m.taken[0]));
	check_eq(torc_future_state(f), TORC_RUNNING);
	check(!torc_future_cancel(f));
	check_eq(torc_future_set(m.taken[0], ARG(ANSWER)), 0);
	torc_future_put(m.taken[0]);
	expect(f, 0, ARG(ANSWER));

	f = submit(&m.executor, give, NULL);
	check(torc_future_start(m.taken[1]));
	check_eq(torc_future_fail(m.taken[1], -EHOSTDOWN), 0);
	torc_future_put(m.taken[1]);
	expect(f, -EHOSTDOWN, NULL);

	f = submit(&m.executor, give, NULL);
	check(torc_future_cancel(f));
	check(!torc_future_start(m.taken[2]));
	check_eq(torc_future_set(m.taken[2], NULL), -ECANCELED);
	torc_future_put(m.taken[2]);
	expect(f, -ECANCELED, NULL);
}

EVERYWHERE(executor, of_ones_own_may_refuse)
{
	static const int errors[] = { -EAGAIN, -ESHUTDOWN, -EPIPE, -ENOMEM, -EXDEV };

	for (size_t i = 0; i < COUNT(errors); i++) {
		struct manual m = manual(0);
		struct torc_future *f = (void *)UNTOUCHED, *fs[3];
		void *args[3] = { NULL };

		m.full = errors[i];
		check_eq(torc_submit(&m.executor, give, NULL, &f), errors[i]);
		check_eq(torc_submit(&m.executor, give, NULL, NULL), errors[i]);
		check_eq(torc_submit_many(&m.executor, give, args, 3, fs), errors[i]);
		check(f == (void *)UNTOUCHED);
		check_eq(m.count, 0);
	}
}

EVERYWHERE(executor, of_ones_own_may_take_a_few_at_a_time)
{
	struct manual m = manual(10);
	struct torc_future *fs[7];
	void *args[7];

	number_args(args, 7);
	m.at_most = 3;
	check_eq(torc_submit_many(&m.executor, give, args, 7, fs), 0);
	check_eq(m.count, 7);
	for (size_t i = 0; i < 7; i++) {
		check(m.taken[i] == fs[i]);
		torc_future_run(m.taken[i]);
	}
	for (int i = 0; i < 7; i++)
		expect(fs[i], 0, ARG(i));
}

EVERYWHERE(executor, of_ones_own_that_takes_only_some_has_them_cancelled)
{
	struct manual m = manual(4);
	struct torc_future *fs[7];
	atomic_int count = 0;
	void *args[7];

	for (int i = 0; i < 7; i++)
		args[i] = &count;
	m.at_most = 3;
	m.full = -EDQUOT;
	check_eq(torc_submit_many(&m.executor, count_up, args, 7, fs), -EDQUOT);
	check_eq(m.count, 4);
	for (size_t i = 0; i < 4; i++) {
		check_eq(torc_future_state(m.taken[i]), TORC_CANCELLED);
		torc_future_run(m.taken[i]);
	}
	check_eq(count, 0);
}

EVERYWHERE(executor, of_ones_own_that_has_begun_with_some_is_waited_for)
{
	struct gate g;
	struct half h = half(&g);
	struct torc_future *fs[4];
	void *args[] = { &g, &g, &g, &g };

	check_eq(torc_submit_many(&h.executor, hold, args, 4, fs), -EDQUOT);
	check_eq(g.begun, 1);
	check_eq(g.over, 1); /* no argument is in use any more */
	half_done(&h);
}

EVERYWHERE(executor, of_ones_own_may_stop_what_runs)
{
	for (int stops = 0; stops < 2; stops++) {
		struct manual m = manual(10);
		struct torc_future *f = submit(&m.executor, give, NULL);

		m.stops = stops;
		check(torc_future_start(m.taken[0]));
		check_eq(torc_future_cancel(f), stops);
		check_eq(m.cancels, 1);
		check(m.cancelled == f);
		if (stops) {
			check_eq(torc_future_state(f), TORC_DONE);
			check_eq(torc_future_set(m.taken[0], NULL), -EALREADY);
		} else {
			check_eq(torc_future_state(f), TORC_RUNNING);
			check_eq(torc_future_set(m.taken[0], NULL), 0);
		}
		torc_future_put(m.taken[0]);
		expect(f, stops ? -EINTR : 0, NULL);
	}
}

static int sleep_a_little(void *arg, void **ret_value)
{
	check(torc_in_fiber());
	*ret_value = arg;
	return torc_sleep(TORC_MS(1));
}

static int run_taken(void *arg)
{
	torc_future_run(arg);
	return 0;
}

static int run_in_fibers(void *arg)
{
	struct manual m = manual(10);
	struct torc_future *fs[5];
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	for (int i = 0; i < 5; i++) {
		fs[i] = submit(&m.executor, sleep_a_little, ARG(i));
		check_eq(torc_group_spawn(&g, run_taken, m.taken[i]), 0);
	}
	for (int i = 0; i < 5; i++)
		expect(fs[i], 0, ARG(i));
	check_eq(torc_group_wait(&g), 0);
	return 0;
}

Test(executor, of_ones_own_may_run_its_work_in_fibers)
{
	run(run_in_fibers, NULL);
}

EVERYWHERE(executor, of_ones_own_is_told_to_shut_down_and_then_destroyed)
{
	struct manual m = manual(10);

	for (unsigned flags = 0; flags < 3; flags++) {
		m.shutdown = -(int)flags;
		check_eq(torc_executor_shutdown(&m.executor, flags), -(int)flags);
		check_eq(m.flags[flags], flags);
	}
	m.shutdown = 0;
	check_eq(m.destroyed, 0);
	torc_executor_destroy(&m.executor);
	check_eq(m.destroyed, 1);
	check_eq(m.shutdowns, 4);
	check_eq(m.flags[3] & TORC_NO_WAIT, 0);
}

static int plus_one(void *value, void *arg, void **ret_value)
{
	(void)arg;
	*ret_value = ARG(VALUE(value) + 1);
	return 0;
}

EVERYWHERE(executor, of_ones_own_runs_steps)
{
	struct manual m = manual(10);
	struct torc_future *f = promise(), *next;

	check_eq(torc_then(f, &m.executor, plus_one, NULL, &next), 0);
	check_eq(m.count, 0);
	check_eq(torc_future_set(f, ARG(1)), 0);
	check_eq(m.count, 1);
	check_eq(torc_future_try(next, NULL), -EINPROGRESS);
	torc_future_run(m.taken[0]);
	expect(next, 0, ARG(2));
	torc_future_put(f);

	f = promise();
	m.room = 0;
	m.full = -EDQUOT;
	check_eq(torc_then(f, &m.executor, plus_one, NULL, &next), 0);
	check_eq(torc_future_set(f, ARG(1)), 0);
	expect(next, -EDQUOT, NULL);
	torc_future_put(f);
}
