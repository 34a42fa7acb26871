/*
 * Calls that block, on threads that come and go. What the executor has in common with others is in executor.c.
 */
#include <sys/resource.h>

#include "tests/executor/run.h"

TestSuite(offload, .timeout = 20);

/* Threads of the executor that the process shares stay for some seconds. */
#define SHARED(name) EVERYWHERE_AND(with_leaks, offload, name)

/* --- torc_offload --- */

struct call {
	struct gate gate;
	pid_t tid;
	int calls, result;
	int returned; /* what torc_offload has */
	struct torc_scope *scope;
};

static int called(void *arg)
{
	struct call *c = arg;

	check(!torc_in_fiber());
	c->calls++;
	c->tid = gettid();
	return c->result;
}

SHARED(returns_what_the_call_returns)
{
	static const int results[] = { 0, 7, INT32_MAX, -EIO, -ECANCELED, -ETIMEDOUT };

	for (size_t i = 0; i < COUNT(results); i++) {
		struct call c = { .result = results[i] };

		check_eq(torc_offload(called, &c), results[i]);
		check_eq(c.calls, 1);
		check(c.tid != gettid());
	}
}

static int call_held(void *arg)
{
	struct call *c = arg;

	pass_gate(&c->gate);
	return called(c);
}

static int offload_held(void *arg)
{
	struct call *c = arg;
	struct torc_scope s;

	torc_scope_enter(&s, TORC_NEVER);
	c->scope = &s;
	c->returned = torc_offload(call_held, c);
	torc_scope_leave(&s);
	return 0;
}

#define CALLS 20

static int block_many(void *arg)
{
	struct call calls[CALLS];
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	for (int i = 0; i < CALLS; i++) {
		memset(&calls[i], 0, sizeof(calls[i]));
		gate_init(&calls[i].gate);
		calls[i].result = i;
		check_eq(torc_group_spawn(&g, offload_held, &calls[i]), 0);
	}
	check_eq(torc_yield(), 0);
	for (int i = 0; i < CALLS; i++)
		gate_wait(&calls[i].gate, 1); /* all block at the same time */
	for (int i = CALLS - 1; i >= 0; i--)
		gate_open(&calls[i].gate, 1);
	check_eq(torc_group_wait(&g), 0);
	for (int i = 0; i < CALLS; i++) {
		check_eq(calls[i].returned, i);
		gate_done(&calls[i].gate);
	}
	return 0;
}

Test(offload, suspends_only_the_fiber_that_calls)
{
	run(block_many, NULL);
}

static int cancel_before(void *arg)
{
	(void)arg;
	for (int late = 0; late < 2; late++) {
		struct call c = { .result = 7 };
		struct torc_scope s;

		torc_scope_enter(&s, late ? 0 : TORC_NEVER);
		if (!late)
			torc_scope_cancel(&s);
		check_eq(torc_offload(called, &c), late ? -ETIMEDOUT : -ECANCELED);
		torc_scope_leave(&s);
		check_eq(torc_offload(called, &c), 7); /* and it goes on working */
		check_eq(c.calls, 1);
	}
	return 0;
}

Test(offload, does_not_call_in_a_scope_that_has_ended)
{
	run(cancel_before, NULL);
}

static int cancel_running(void *arg)
{
	struct call c = { .result = 7 };
	struct torc_group g;

	(void)arg;
	gate_init(&c.gate);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, offload_held, &c), 0);
	check_eq(torc_yield(), 0);
	gate_wait(&c.gate, 1);
	c.returned = -1;
	torc_scope_cancel(c.scope);
	for (int i = 0; i < 3; i++)
		check_eq(torc_yield(), 0);
	check_eq(c.returned, -1); /* it waits all the same */
	gate_open(&c.gate, 1);
	check_eq(torc_group_wait(&g), 0);
	check_eq(c.returned, 7);
	check_eq(c.calls, 1);
	gate_done(&c.gate);
	return 0;
}

Test(offload, returns_the_result_of_a_call_that_had_begun_when_the_scope_ended)
{
	run(cancel_running, NULL);
}

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

static int offload_again(void *arg)
{
	(void)arg;
	return torc_offload(nothing, NULL);
}

SHARED(may_be_called_by_a_call)
{
	check_eq(torc_offload(offload_again, NULL), 0);
}

static void *await_gate(void *arg)
{
	struct call *c = arg;

	gate_wait(&c->gate, 1);
	gate_open(&c->gate, 1);
	return NULL;
}

SHARED(has_its_caller_wait_until_the_call_has_returned)
{
	struct call c = { .result = 5 };
	pthread_t thread;

	gate_init(&c.gate);
	thread = start_thread(await_gate, &c);
	check_eq(torc_offload(call_held, &c), 5);
	check_eq(c.gate.over, 1);
	join_thread(thread);
	gate_done(&c.gate);
}

/* --- the executor behind it --- */

static int note_name(void *arg, void **ret_value)
{
	(void)ret_value;
	check_eq(pthread_getname_np(pthread_self(), arg, 16), 0);
	return 0;
}

SHARED(shares_its_executor)
{
	struct torc_executor *a = NULL, *b = NULL;
	char name[16] = "";

	check_eq(torc_offload_executor(&a), 0);
	check_eq(torc_offload_executor(&b), 0);
	check(a && a == b);
	check_ge(torc_executor_parallelism(a), 2); /* a hint: not that there may be 512 */
	check_le(torc_executor_parallelism(a), 512);
	expect(submit(a, give, ARG(1)), 0, ARG(1));
	check_ge(torc_elastic_threads(a), 1);
	expect(submit(a, note_name, name), 0, NULL);
	check_eq(strncmp(name, "offload", 7), 0);
}

static int end_and_begin(void *arg)
{
	(void)arg;
	return torc_offload(nothing, NULL);
}

/* The executor outlives the runtime. */
Test(offload, works_in_one_runtime_after_the_other_and_between_them)
{
	for (int i = 0; i < 3; i++) {
		run(end_and_begin, NULL);
		check_eq(torc_offload(nothing, NULL), 0);
	}
}

/* --- executors of this kind --- */

EVERYWHERE(offload, is_not_made_with_an_option_out_of_its_range)
{
	static const struct torc_elastic_options bad[] = {
		{ .threads_max = 32769 }, { .threads_max = UINT32_MAX },
		{ .stack_bytes = 1 },     { .stack_bytes = 16383 },
		{ .nice = -1 },           { .nice = 20 },
	};

	for (size_t i = 0; i < COUNT(bad); i++) {
		struct torc_executor *e = (void *)UNTOUCHED;

		check_eq(torc_elastic_create(&bad[i], &e), -EINVAL);
		check(e == (void *)UNTOUCHED);
	}
}

EVERYWHERE(offload, refuses_work_when_no_thread_can_be_started)
{
	/* no address space has room for such stacks */
	struct torc_executor *e = elastic_with(ELASTIC(.stack_bytes = (size_t)1 << 46));
	struct torc_future *f = (void *)UNTOUCHED;
	atomic_int count = 0;

	check_eq(torc_submit(e, count_up, &count, &f), -EAGAIN);
	check_eq(torc_submit(e, count_up, &count, NULL), -EAGAIN);
	check(f == (void *)UNTOUCHED);
	check_eq(torc_elastic_threads(e), 0);
	torc_executor_destroy(e);
	check_eq(count, 0);
}

EVERYWHERE(offload, has_no_threads_before_there_is_work)
{
	struct torc_executor *e = elastic_with(NULL);

	check_eq(torc_elastic_threads(e), 0);
	expect(submit(e, give, ARG(1)), 0, ARG(1));
	check_eq(torc_elastic_threads(e), 1);
	torc_executor_destroy(e);
}

EVERYWHERE(offload, starts_a_thread_for_each_call_that_finds_none_idle)
{
	struct torc_executor *e = elastic_with(ELASTIC(.threads_max = 10));
	struct torc_future *fs[12];
	struct gate g;

	gate_init(&g);
	for (int i = 0; i < 10; i++) {
		fs[i] = submit_held(e, &g);
		check_eq(torc_elastic_threads(e), i + 1);
	}
	/* beyond the limit they wait in line */
	for (int i = 10; i < 12; i++)
		fs[i] = submit(e, hold, &g);
	check_eq(torc_elastic_threads(e), 10);
	check_eq(torc_future_state(fs[10]), TORC_PENDING);
	gate_open(&g, 1);
	gate_wait(&g, 1);
	check_eq(torc_future_state(fs[11]), TORC_PENDING);
	gate_open(&g, 1);
	gate_wait(&g, 1);
	check_eq(torc_elastic_threads(e), 10);
	gate_open(&g, 10);
	for (int i = 0; i < 12; i++)
		expect(fs[i], 0, ARG(ANSWER));
	check_le(torc_elastic_threads(e), 10);
	torc_executor_destroy(e);
	gate_done(&g);
}

EVERYWHERE(offload, runs_calls_on_idle_threads)
{
	struct torc_executor *e = elastic_with(ELASTIC(.threads_max = 3));
	struct torc_future *fs[3];
	struct gate g;

	gate_init(&g);
	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < 3; i++)
			fs[i] = submit(e, hold, &g);
		gate_wait(&g, 3);
		check_eq(torc_elastic_threads(e), 3);
		gate_open(&g, 3);
		for (int i = 0; i < 3; i++)
			expect(fs[i], 0, ARG(ANSWER));
	}
	torc_executor_destroy(e);
	gate_done(&g);
}

EVERYWHERE(offload, ends_threads_that_have_been_idle_for_long_enough)
{
	struct torc_executor *e = elastic_with(ELASTIC(.idle_ns = TORC_MS(1)));
	struct torc_future *fs[5];
	int before = count_threads();
	struct gate g;

	gate_init(&g);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 5; i++)
			fs[i] = submit(e, hold, &g);
		gate_wait(&g, 5);
		check_eq(torc_elastic_threads(e), 5);
		gate_open(&g, 5);
		for (int i = 0; i < 5; i++)
			expect(fs[i], 0, ARG(ANSWER));
		while (torc_elastic_threads(e) > 0) /* until the suite's timeout */
			sched_yield();
		check_threads(before);
	}
	torc_executor_destroy(e);
	gate_done(&g);
}

/* What comes just as they end is not left lying about. */
EVERYWHERE(offload, loses_no_call_while_threads_end)
{
	struct torc_executor *e = elastic_with(ELASTIC(.threads_max = 2, .idle_ns = 1));

	for (int i = 0; i < 300; i++)
		expect(submit(e, give, ARG(i)), 0, ARG(i));
	torc_executor_destroy(e);
}

EVERYWHERE(offload, keeps_idle_threads_when_it_is_told_so)
{
	struct torc_executor *e = elastic_with(ELASTIC(.idle_ns = TORC_NEVER));
	struct torc_future *p = promise();

	expect(submit(e, give, NULL), 0, NULL);
	check_eq(torc_await_until(p, SOON, NULL), -ETIMEDOUT);
	check_eq(torc_elastic_threads(e), 1);
	torc_future_put(p);
	torc_executor_destroy(e);
}

EVERYWHERE(offload, refuses_calls_when_enough_wait_for_a_thread)
{
	struct torc_executor *e = elastic_with(ELASTIC(.threads_max = 2, .queue_max = 1));
	struct torc_future *held[2], *waiting, *none = (void *)UNTOUCHED;
	struct gate g;

	gate_init(&g);
	for (int i = 0; i < 2; i++)
		held[i] = submit_held(e, &g);
	waiting = submit(e, give, ARG(1));
	check_eq(torc_submit(e, give, NULL, &none), -EAGAIN);
	check(none == (void *)UNTOUCHED);
	check_eq(torc_elastic_threads(e), 2);
	gate_open(&g, 2);
	expect(waiting, 0, ARG(1));
	expect(submit(e, give, ARG(2)), 0, ARG(2));
	put_all(held, 2);
	torc_executor_destroy(e);
	gate_done(&g);
}

static int stack_of_thread(void *arg, void **ret_value)
{
	pthread_attr_t attr;

	(void)ret_value;
	check_eq(pthread_getattr_np(pthread_self(), &attr), 0);
	check_eq(pthread_attr_getstacksize(&attr, arg), 0);
	pthread_attr_destroy(&attr);
	return 0;
}

EVERYWHERE(offload, gives_its_threads_names_and_stacks)
{
	struct torc_executor *e =
		elastic_with(ELASTIC(.name = "files", .stack_bytes = (size_t)1 << 18));
	char name[16] = "";
	size_t bytes = 0;

	expect(submit(e, note_name, name), 0, NULL);
	check_eq(strncmp(name, "files", 5), 0);
	check(strchr("0123456789", name[strlen(name) - 1]));
	expect(submit(e, stack_of_thread, &bytes), 0, NULL);
	check_ge(bytes, (size_t)1 << 18);
	check_lt(bytes, (size_t)1 << 20);
	torc_executor_destroy(e);
}

struct waiting {
	struct torc_executor *executor;
	struct torc_future *first;
};

static int await_another(void *arg, void **ret_value)
{
	struct waiting *w = arg;
	struct torc_future *f = submit(w->executor, give, ARG(ANSWER));
	int r = torc_await(f, ret_value);

	torc_future_put(f);
	return r;
}

/* A task that waits keeps its thread. */
EVERYWHERE(offload, grows_when_its_tasks_wait_for_others_of_it)
{
	struct waiting w = { .executor = elastic_with(ELASTIC(.threads_max = 8)) };
	struct torc_future *fs[4];

	for (int i = 0; i < 4; i++)
		fs[i] = submit(w.executor, await_another, &w);
	for (int i = 0; i < 4; i++)
		expect(fs[i], 0, ARG(ANSWER));
	check_ge(torc_elastic_threads(w.executor), 2);
	check_le(torc_elastic_threads(w.executor), 8);
	torc_executor_destroy(w.executor);
}

EVERYWHERE(offload, does_not_start_a_thread_for_nothing_when_a_call_is_cancelled)
{
	struct torc_executor *e = elastic_with(ELASTIC(.threads_max = 1));
	struct torc_future *held, *fs[10];
	atomic_int count = 0;
	struct gate g;

	gate_init(&g);
	held = submit_held(e, &g);
	for (int i = 0; i < 10; i++)
		fs[i] = submit(e, count_up, &count);
	for (int i = 0; i < 10; i++)
		check(torc_future_cancel(fs[i]));
	check(!torc_future_cancel(held));
	gate_open(&g, 1);
	expect(held, 0, ARG(ANSWER));
	put_all(fs, 10);
	torc_executor_destroy(e);
	check_eq(count, 0);
	gate_done(&g);
}

static int own_priority(void *arg)
{
	(void)arg;
	return getpriority(PRIO_PROCESS, 0) + 20; /* of the thread (setpriority(2)): 0..39 */
}

static int offload_nicely(void *arg)
{
	struct torc_executor *e = elastic_with(ELASTIC(.nice = 7));
	int before = own_priority(NULL);

	(void)arg;
	check_eq(torc_offload_on(e, own_priority, NULL), before + 7 < 39 ? before + 7 : 39);
	check_eq(own_priority(NULL), before); /* that of the others is as it was */
	check_eq(torc_offload(own_priority, NULL), before);
	torc_executor_destroy(e);
	return 0;
}

Test(offload, threads_may_have_a_lower_priority)
{
	run(offload_nicely, NULL);
}
