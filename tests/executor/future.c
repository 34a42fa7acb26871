/*
 * Futures: their states, who waits for them, what is called when they are done, chains, references, and fibers that
 * work for one.
 */
#include "tests/executor/run.h"

#include <torc/core/chan.h>

TestSuite(future, .timeout = 20);

/* --- states --- */

static const struct {
	enum torc_future_state state;
	int status; /* of torc_future_try */
	bool cancels;
} kinds[KINDS] = {
	[PENDING] = { TORC_PENDING, -EINPROGRESS, true },
	[RUNNING] = { TORC_RUNNING, -EINPROGRESS, false },
	[CANCELLED] = { TORC_CANCELLED, -ECANCELED, true },
	[FAILED] = { TORC_DONE, -EIO, false },
	[SUCCEEDED] = { TORC_DONE, 0, false },
};

EVERYWHERE(future, tells_its_state_and_its_result_if_there_is_one)
{
	for (enum kind k = 0; k < KINDS; k++) {
		struct torc_future *f = make(k);
		void *value = UNTOUCHED;

		check_eq(torc_future_state(f), kinds[k].state);
		check_eq(torc_future_try(f, &value), kinds[k].status);
		check_eq(VALUE(value), VALUE(k == SUCCEEDED ? ARG(ANSWER) : UNTOUCHED));
		check_eq(torc_future_try(f, NULL), kinds[k].status);
		check_eq(torc_event_is_set(torc_future_event(f)), kinds[k].status != -EINPROGRESS);
		torc_future_put(f);
	}
}

EVERYWHERE(future, is_cancelled_only_before_it_is_started)
{
	for (enum kind k = 0; k < KINDS; k++) {
		struct torc_future *f = make(k);

		for (int i = 0; i < 2; i++) {
			check_eq(torc_future_cancel(f), kinds[k].cancels);
			check_eq(torc_future_state(f),
				 kinds[k].cancels ? TORC_CANCELLED : kinds[k].state);
		}
		torc_future_put(f);
	}
}

EVERYWHERE(future, is_started_once_and_only_while_it_is_pending)
{
	for (enum kind k = 0; k < KINDS; k++) {
		struct torc_future *f = make(k);

		check_eq(torc_future_start(f), k == PENDING);
		check(!torc_future_start(f));
		check_eq(torc_future_state(f), k == PENDING ? TORC_RUNNING : kinds[k].state);
		torc_future_put(f);
	}
}

/* What set and fail return for each kind. */
static const int completes[KINDS] = {
	[CANCELLED] = -ECANCELED,
	[FAILED] = -EALREADY,
	[SUCCEEDED] = -EALREADY,
};

EVERYWHERE(future, is_set_once)
{
	for (enum kind k = 0; k < KINDS; k++) {
		struct torc_future *f = make(k);
		int other = 0;
		void *value = UNTOUCHED;

		check_eq(torc_future_set(f, &other), completes[k]);
		if (completes[k] == 0) {
			check_eq(torc_future_set(f, NULL), -EALREADY);
			check_eq(torc_future_fail(f, -EPERM), -EALREADY);
			check_eq(torc_future_try(f, &value), 0);
			check(value == &other);
		} else {
			check_eq(torc_future_try(f, &value), kinds[k].status);
			check_eq(VALUE(value), VALUE(k == SUCCEEDED ? ARG(ANSWER) : UNTOUCHED));
		}
		torc_future_put(f);
	}
}

EVERYWHERE(future, is_failed_once)
{
	for (enum kind k = 0; k < KINDS; k++) {
		struct torc_future *f = make(k);
		void *value = UNTOUCHED;

		check_eq(torc_future_fail(f, -EPERM), completes[k]);
		if (completes[k] == 0) {
			check_eq(torc_future_set(f, NULL), -EALREADY);
			check_eq(torc_future_fail(f, -EIO), -EALREADY);
			check_eq(torc_future_state(f), TORC_DONE);
			check_eq(torc_future_try(f, &value), -EPERM);
			check(value == UNTOUCHED);
		} else {
			check_eq(torc_future_try(f, NULL), kinds[k].status);
		}
		torc_future_put(f);
	}
}

/* --- waiting --- */

EVERYWHERE(future, awaited_without_waiting_has_its_result_or_is_late)
{
	static const int expected[KINDS] = {
		[PENDING] = -ETIMEDOUT, [RUNNING] = -ETIMEDOUT, [CANCELLED] = -ECANCELED,
		[FAILED] = -EIO,        [SUCCEEDED] = 0,
	};
	static const uint64_t deadlines[] = { 0, PAST };

	for (enum kind k = 0; k < KINDS; k++) {
		struct torc_future *f = make(k);

		for (size_t i = 0; i < COUNT(deadlines); i++) {
			void *value = UNTOUCHED;

			check_eq(torc_await_until(f, deadlines[i], &value), expected[k]);
			check_eq(VALUE(value), VALUE(k == SUCCEEDED ? ARG(ANSWER) : UNTOUCHED));
			check_eq(torc_future_state(f), kinds[k].state);
		}
		if (expected[k] != -ETIMEDOUT) {
			check_eq(torc_await(f, NULL), expected[k]);
			check_eq(torc_await_until(f, TORC_NEVER, NULL), expected[k]);
		}
		torc_future_put(f);
	}
}

EVERYWHERE(future, can_be_awaited_again_after_a_deadline)
{
	static const enum kind waiting[] = { PENDING, RUNNING };

	for (size_t i = 0; i < COUNT(waiting); i++) {
		struct torc_future *f = make(waiting[i]);
		struct later l;

		check_eq(torc_await_until(f, SOON, NULL), -ETIMEDOUT);
		check_eq(torc_await_until(f, SOON, NULL), -ETIMEDOUT);
		check_eq(torc_future_state(f), kinds[waiting[i]].state);
		later(&l, set_answer, f);
		expect(f, 0, ARG(ANSWER));
		later_is_over(&l);
	}
}

EVERYWHERE(future, ends_the_wait_when_another_thread_sets_fails_or_cancels_it)
{
	static const struct {
		void (*end)(void *f);
		int status;
		enum torc_future_state state;
	} ends[] = {
		{ set_answer, 0, TORC_DONE },
		{ fail_io, -EIO, TORC_DONE },
		{ cancel_future, -ECANCELED, TORC_CANCELLED },
	};

	for (size_t i = 0; i < COUNT(ends) * 2; i++) {
		struct torc_future *f = promise();
		void *value = UNTOUCHED;
		struct later l;

		later(&l, ends[i / 2].end, f);
		check_eq(torc_await_until(f, i % 2 ? TORC_NEVER : torc_now_ns() + LONG, &value),
			 ends[i / 2].status);
		check_eq(VALUE(value), VALUE(ends[i / 2].status ? UNTOUCHED : ARG(ANSWER)));
		check_eq(torc_future_state(f), ends[i / 2].state);
		later_is_over(&l);
		torc_future_put(f);
	}
}

/* Its state tells such a failure from the end of a wait. */
EVERYWHERE(future, may_fail_with_any_error)
{
	static const int errors[] = {
		-ECANCELED, -ETIMEDOUT, -EDEADLK, -EINPROGRESS, -EPERM, -4095
	};

	for (size_t i = 0; i < COUNT(errors); i++) {
		struct torc_future *f = promise();

		check_eq(torc_future_fail(f, errors[i]), 0);
		check_eq(torc_future_state(f), TORC_DONE);
		check_eq(torc_await(f, NULL), errors[i]);
		check(!torc_future_cancel(f));
		torc_future_put(f);
	}
}

struct waiter {
	struct torc_future *f;
	pthread_t thread;
	int result;
	void *value;
};

static void *await_it(void *arg)
{
	struct waiter *w = arg;

	w->result = torc_await(w->f, &w->value);
	torc_future_put(w->f);
	return NULL;
}

static int await_it_in_fiber(void *arg)
{
	(void)await_it(arg);
	return 0;
}

#define WAITERS 4

EVERYWHERE(future, hands_its_value_to_all_that_wait)
{
	struct torc_future *f = promise();
	struct waiter waiters[WAITERS];

	for (int i = 0; i < WAITERS; i++) {
		waiters[i] = (struct waiter){ .f = torc_future_get(f), .result = 1 };
		waiters[i].thread = start_thread(await_it, &waiters[i]);
	}
	check_eq(torc_future_set(f, &waiters), 0);
	torc_future_put(f);
	for (int i = 0; i < WAITERS; i++) {
		join_thread(waiters[i].thread);
		check_eq(waiters[i].result, 0);
		check(waiters[i].value == &waiters);
	}
}

static int set_for_fibers_and_threads(void *arg)
{
	struct torc_future *f = promise();
	struct waiter waiters[3 * WAITERS];
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	for (int i = 0; i < 3 * WAITERS; i++) {
		struct waiter *w = &waiters[i];

		*w = (struct waiter){ .f = torc_future_get(f), .result = 1 };
		if (i % 3 == 2)
			w->thread = start_thread(await_it, w);
		else
			check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(i % 3)),
						       await_it_in_fiber, w),
				 0);
	}
	check_eq(torc_yield(), 0);
	check_eq(torc_future_set(f, &g), 0);
	torc_future_put(f);
	check_eq(torc_group_wait(&g), 0);
	for (int i = 0; i < 3 * WAITERS; i++) {
		if (i % 3 == 2)
			join_thread(waiters[i].thread);
		check_eq(waiters[i].result, 0);
		check(waiters[i].value == &g);
	}
	return 0;
}

Test(future, is_awaited_by_fibers_of_several_loops_and_by_threads)
{
	check_eq(run_with(OPTIONS(.loops = 2), set_for_fibers_and_threads, NULL), 0);
}

/* --- races --- */

#define RACES 300

struct race {
	pthread_barrier_t begin;
	struct torc_future *futures[RACES];
	bool (*acts[2])(struct torc_future *f);
	bool won[2][RACES];
};

struct racer {
	struct race *race;
	int who;
};

static void *race(void *arg)
{
	struct racer *me = arg;
	struct race *r = me->race;

	for (int i = 0; i < RACES; i++) {
		pthread_barrier_wait(&r->begin);
		r->won[me->who][i] = r->acts[me->who](r->futures[i]);
	}
	return NULL;
}

/* Of two that do this to a future, exactly one succeeds. */
static void race_each_other(bool (*a)(struct torc_future *f), bool (*b)(struct torc_future *f))
{
	static struct race r;
	struct racer other = { &r, 1 };
	pthread_t thread;

	r.acts[0] = a;
	r.acts[1] = b;
	pthread_barrier_init(&r.begin, NULL, 2);
	for (int i = 0; i < RACES; i++)
		r.futures[i] = promise();
	thread = start_thread(race, &other);
	(void)race(&(struct racer){ &r, 0 });
	join_thread(thread);
	for (int i = 0; i < RACES; i++)
		check_eq(r.won[0][i] + r.won[1][i], 1);
	put_all(r.futures, RACES);
	pthread_barrier_destroy(&r.begin);
}

static bool start_it(struct torc_future *f)
{
	return torc_future_start(f);
}

static bool set_it(struct torc_future *f)
{
	int r = torc_future_set(f, f);

	check(r == 0 || r == -EALREADY || r == -ECANCELED);
	return r == 0;
}

static bool fail_it(struct torc_future *f)
{
	int r = torc_future_fail(f, -EIO);

	check(r == 0 || r == -EALREADY || r == -ECANCELED);
	return r == 0;
}

EVERYWHERE(future, is_either_started_or_cancelled)
{
	race_each_other(start_it, torc_future_cancel);
}

EVERYWHERE(future, is_started_by_one_of_two)
{
	race_each_other(start_it, start_it);
}

EVERYWHERE(future, is_either_set_or_cancelled)
{
	race_each_other(set_it, torc_future_cancel);
}

EVERYWHERE(future, is_either_set_or_failed)
{
	race_each_other(set_it, fail_it);
}

static bool put_it(struct torc_future *f)
{
	torc_future_put(f);
	return false;
}

static bool await_and_put(struct torc_future *f)
{
	void *value;

	check_eq(torc_await(f, &value), 0);
	check(value == f);
	torc_future_put(f);
	return true;
}

static bool set_and_put(struct torc_future *f)
{
	check_eq(torc_future_set(f, f), 0);
	return put_it(f);
}

/* The one that waits frees it while the one that sets is still in the call: each has a reference of its own. */
EVERYWHERE(future, may_be_put_by_who_waited_while_it_is_being_set)
{
	static struct race r;
	struct racer other = { &r, 1 };
	pthread_t thread;

	r.acts[0] = await_and_put;
	r.acts[1] = set_and_put;
	pthread_barrier_init(&r.begin, NULL, 2);
	for (int i = 0; i < RACES; i++)
		r.futures[i] = torc_future_get(promise());
	thread = start_thread(race, &other);
	(void)race(&(struct racer){ &r, 0 });
	join_thread(thread);
	pthread_barrier_destroy(&r.begin);
}

/* --- the scope --- */

static int await_in_ended_scope(void *arg)
{
	static const int expected[] = { -ECANCELED, -ETIMEDOUT };
	struct torc_future *f = promise();

	(void)arg;
	for (int i = 0; i < 2; i++) {
		struct torc_scope s;

		torc_scope_enter(&s, i ? 0 : TORC_NEVER);
		if (!i)
			torc_scope_cancel(&s);
		check_eq(torc_await(f, NULL), expected[i]);
		check_eq(torc_await_until(f, torc_now_ns() + LONG, NULL), expected[i]);
		check_eq(torc_future_try(f, NULL), -EINPROGRESS); /* does not ask it */
		torc_scope_leave(&s);
		check_eq(torc_future_state(f), TORC_PENDING);
	}
	check_eq(torc_future_set(f, f), 0);
	for (int i = 0; i < 2; i++) {
		struct torc_scope s;

		torc_scope_enter(&s, i ? 0 : TORC_NEVER);
		if (!i)
			torc_scope_cancel(&s);
		check_eq(torc_future_try(f, NULL), 0);
		torc_scope_leave(&s);
	}
	expect(f, 0, f);
	return 0;
}

Test(future, is_not_awaited_in_a_scope_that_has_ended)
{
	run(await_in_ended_scope, NULL);
}

static int cancel_waits(void *arg)
{
	struct torc_future *f = promise();
	struct torc_scope s;
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	torc_scope_enter(&s, TORC_NEVER);
	check_eq(torc_group_spawn(&g, cancel_scope, &s), 0);
	check_eq(torc_await(f, NULL), -ECANCELED);
	torc_scope_leave(&s);
	check_eq(torc_group_wait(&g), 0);
	check_eq(torc_future_state(f), TORC_PENDING);

	torc_scope_enter(&s, TORC_MS(2));
	check_eq(torc_await(f, NULL), -ETIMEDOUT);
	check_eq(torc_scope_leave(&s), -ETIMEDOUT);
	check_eq(torc_future_state(f), TORC_PENDING);

	/* The nearer deadline counts. */
	torc_scope_enter(&s, LONG);
	check_eq(torc_await_until(f, SOON, NULL), -ETIMEDOUT);
	check_eq(torc_scope_leave(&s), 0);
	torc_scope_enter(&s, TORC_MS(2));
	check_eq(torc_await_until(f, torc_now_ns() + LONG, NULL), -ETIMEDOUT);
	check_eq(torc_scope_leave(&s), -ETIMEDOUT);

	check_eq(torc_future_set(f, &s), 0);
	expect(f, 0, &s);
	return 0;
}

Test(future, is_unharmed_when_the_scope_ends_the_wait)
{
	run(cancel_waits, NULL);
}

static int await_behind_shield(void *arg)
{
	struct torc_future *f = promise();
	struct torc_scope outer, shield;
	struct later l;

	(void)arg;
	torc_scope_enter(&outer, TORC_NEVER);
	torc_scope_enter_shield(&shield, TORC_NEVER);
	torc_scope_cancel(&outer);
	later(&l, set_answer, f);
	check_eq(torc_await(f, NULL), 0);
	later_is_over(&l);
	torc_scope_leave(&shield);
	torc_scope_leave(&outer);
	torc_future_put(f);
	return 0;
}

Test(future, is_awaited_behind_a_shield)
{
	run(await_behind_shield, NULL);
}

static int note_and_return(void *arg)
{
	*(bool *)arg = true;
	return 0;
}

static int let_others_run(void *arg)
{
	struct torc_future *f = promise();
	struct torc_group g;
	bool ran = false;
	struct later l;

	(void)arg;
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, note_and_return, &ran), 0);
	later(&l, set_answer, f);
	check_eq(torc_await(f, NULL), 0);
	check(ran);
	later_is_over(&l);
	check_eq(torc_group_wait(&g), 0);
	torc_future_put(f);
	return 0;
}

Test(future, suspends_only_the_fiber_that_awaits_it)
{
	run(let_others_run, NULL);
}

/* --- callbacks --- */

struct call {
	struct torc_future *f;
	struct notes *notes;
	pid_t tid;
	int who, calls, status;
	void *value;
};

static void called(struct torc_future *f, void *arg)
{
	struct call *c = arg;

	check(f == c->f);
	c->calls++;
	c->tid = gettid();
	c->status = torc_future_try(f, &c->value);
	if (c->notes)
		note_down(c->notes, c->who);
}

EVERYWHERE(future, calls_back_with_the_value_the_error_or_the_cancellation)
{
	static const struct {
		void (*end)(void *f);
		int status;
		void *value;
	} ends[] = {
		{ set_answer, 0, ARG(ANSWER) },
		{ fail_io, -EIO, UNTOUCHED },
		{ cancel_future, -ECANCELED, UNTOUCHED },
	};

	for (size_t i = 0; i < COUNT(ends); i++) {
		struct call before = { .f = promise(), .value = UNTOUCHED }, after = before;

		check_eq(torc_future_on_done(before.f, called, &before), 0);
		check_eq(before.calls, 0);
		ends[i].end(before.f);
		check_eq(before.calls, 1);
		check_eq(before.status, ends[i].status);
		check_eq(VALUE(before.value), VALUE(ends[i].value));
		check_eq(before.tid, gettid());
		/* when it is done already, at once */
		check_eq(torc_future_on_done(before.f, called, &after), 0);
		check_eq(after.calls, 1);
		check_eq(after.status, ends[i].status);
		check_eq(VALUE(after.value), VALUE(ends[i].value));
		check_eq(after.tid, gettid());
		(void)!torc_future_set(before.f, NULL);
		(void)torc_future_cancel(before.f);
		torc_future_put(before.f);
		check_eq(before.calls, 1);
		check_eq(after.calls, 1);
	}
}

EVERYWHERE(future, calls_back_in_the_order_of_adding_where_it_is_completed)
{
	struct notes notes = { .count = 0 };
	struct torc_future *f = make(RUNNING);
	struct call calls[20];
	struct later l;

	for (int i = 0; i < 20; i++) {
		calls[i] = (struct call){ .f = f, .who = i, .notes = &notes };
		check_eq(torc_future_on_done(f, called, &calls[i]), 0);
	}
	later(&l, set_answer, f);
	check_eq(torc_await(f, NULL), 0);
	later_is_over(&l);
	check_eq(notes.count, 20);
	for (int i = 0; i < 20; i++) {
		check_eq(notes.seen[i], i);
		check_eq(calls[i].calls, 1);
		check_eq(calls[i].tid, l.tid);
	}
	torc_future_put(f);
}

EVERYWHERE(future, calls_back_on_the_worker_that_completes_it)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 1));
	struct call c = { .value = NULL };
	struct gate g;

	gate_init(&g);
	c.f = submit_held(pool, &g);
	check_eq(torc_future_on_done(c.f, called, &c), 0);
	gate_open(&g, 1);
	torc_executor_destroy(pool);
	check_eq(c.calls, 1);
	check_eq(VALUE(c.value), ANSWER);
	check(c.tid != gettid());
	torc_future_put(c.f);
	gate_done(&g);
}

static void add_another(struct torc_future *f, void *arg)
{
	check_eq(torc_future_on_done(f, called, arg), 0);
}

EVERYWHERE(future, calls_back_what_a_callback_adds)
{
	struct call c = { .f = promise() };

	check_eq(torc_future_on_done(c.f, add_another, &c), 0);
	check_eq(torc_future_set(c.f, NULL), 0);
	check_eq(c.calls, 1);
	torc_future_put(c.f);
}

static void put_and_ask(struct torc_future *f, void *arg)
{
	void *value;

	torc_future_put(f); /* the last but the one that this call has */
	check_eq(torc_future_state(f), TORC_DONE);
	check_eq(torc_future_try(f, &value), 0);
	*(int *)arg = (int)VALUE(value);
}

EVERYWHERE(future, is_there_for_as_long_as_its_callback_runs)
{
	struct torc_future *f = promise();
	int value = 0;

	check_eq(torc_future_on_done(f, put_and_ask, &value), 0);
	(void)torc_future_get(f);
	check_eq(torc_future_set(f, ARG(ANSWER)), 0);
	torc_future_put(f);
	check_eq(value, ANSWER);
}

static void set_another(struct torc_future *f, void *arg)
{
	void *value;

	check_eq(torc_future_try(f, &value), 0);
	check_eq(torc_future_set(arg, value), 0);
	torc_future_put(arg);
}

/* A promise that another one keeps. */
EVERYWHERE(future, may_complete_another_one_in_a_callback)
{
	struct torc_future *first = promise(), *second = promise();

	check_eq(torc_future_on_done(first, set_another, torc_future_get(second)), 0);
	check_eq(torc_future_set(first, ARG(ANSWER)), 0);
	expect(second, 0, ARG(ANSWER));
	torc_future_put(first);
}

EVERYWHERE(future, that_nobody_completes_calls_nobody_and_may_be_put)
{
	for (enum kind k = PENDING; k <= RUNNING; k++) {
		struct call c = { .f = make(k) };

		check_eq(torc_future_on_done(c.f, called, &c), 0);
		torc_future_put(c.f);
		check_eq(c.calls, 0);
	}
}

struct adder {
	struct torc_future *f;
	atomic_int calls;
	int added;
};

static void count_call(struct torc_future *f, void *arg)
{
	struct adder *a = arg;

	check(f == a->f);
	atomic_fetch_add(&a->calls, 1);
}

static void *add_until_done(void *arg)
{
	struct adder *a = arg;

	do {
		check_eq(torc_future_on_done(a->f, count_call, a), 0);
		a->added++;
	} while (torc_future_state(a->f) != TORC_DONE && a->added < 100000);
	torc_future_put(a->f);
	return NULL;
}

EVERYWHERE(future, loses_no_callback_that_is_added_while_it_is_being_completed)
{
	for (int i = 0; i < 20; i++) {
		struct torc_future *f = promise();
		struct adder a = { .f = torc_future_get(f) };
		pthread_t thread = start_thread(add_until_done, &a);

		if (i % 2)
			sched_yield();
		check_eq(torc_future_set(f, NULL), 0);
		join_thread(thread);
		check_eq(a.calls, a.added);
		torc_future_put(f);
	}
}

/* --- the event --- */

static int select_future(void *arg)
{
	struct torc_chan chan;
	struct torc_future *f = promise();
	int item = 0;
	struct torc_case cases[] = {
		{ .op = TORC_RECV, .chan = &chan, .item = &item },
		{ .op = TORC_WAIT, .event = torc_future_event(f) },
		{ .op = TORC_WAIT, .event = NULL },
		{ .op = TORC_WAIT, .event = torc_future_event(f) },
	};
	struct later l;
	int r;

	(void)arg;
	check_eq(torc_chan_init(&chan, sizeof(int), 1), 0);
	check_eq(torc_select(cases, COUNT(cases), 0), -EAGAIN);
	check_eq(torc_select(cases, COUNT(cases), SOON), -EAGAIN);
	/* another case is done: nothing of the select is left with the future */
	check_eq(torc_chan_try_send(&chan, &(int){ 7 }), 0);
	check_eq(torc_select(cases, COUNT(cases), TORC_NEVER), 0);
	check_eq(item, 7);
	later(&l, set_answer, f);
	r = torc_select(cases, COUNT(cases), TORC_NEVER);
	check(r == 1 || r == 3);
	check_eq(cases[r].result, 0);
	later_is_over(&l);
	/* it stays so */
	for (int i = 0; i < 3; i++) {
		r = torc_select(cases, COUNT(cases), TORC_NEVER);
		check(r == 1 || r == 3);
	}
	check_eq(torc_event_wait(torc_future_event(f)), 0);
	expect(f, 0, ARG(ANSWER));
	torc_chan_done(&chan);
	return 0;
}

Test(future, is_selected_beside_channels)
{
	run(select_future, NULL);
}

static int select_ended(void *arg)
{
	static void (*const ends[])(void *f) = { set_answer, fail_io, cancel_future };

	(void)arg;
	for (size_t i = 0; i < 2 * COUNT(ends); i++) {
		struct torc_future *f = promise();
		struct torc_case c = { .op = TORC_WAIT };
		struct later l;

		if (i % 2) {
			ends[i / 2](f); /* before anybody has asked for the event */
			c.event = torc_future_event(f);
		} else {
			c.event = torc_future_event(f);
			later(&l, ends[i / 2], f);
		}
		check_eq(torc_select(&c, 1, TORC_NEVER), 0);
		check(torc_event_is_set(c.event));
		if (i % 2 == 0)
			later_is_over(&l);
		torc_future_put(f);
	}
	return 0;
}

Test(future, is_selected_however_it_ended)
{
	run(select_ended, NULL);
}

static int select_in_scope(void *arg)
{
	struct torc_future *f = promise();
	struct torc_case c = { .op = TORC_WAIT, .event = torc_future_event(f) };
	struct torc_group g;
	struct torc_scope s;

	(void)arg;
	torc_group_enter(&g);
	torc_scope_enter(&s, TORC_NEVER);
	check_eq(torc_group_spawn(&g, cancel_scope, &s), 0);
	check_eq(torc_select(&c, 1, TORC_NEVER), -ECANCELED);
	check_eq(torc_event_wait(c.event), -ECANCELED);
	torc_scope_leave(&s);
	torc_scope_enter(&s, TORC_MS(2));
	check_eq(torc_select(&c, 1, TORC_NEVER), -ETIMEDOUT);
	torc_scope_leave(&s);
	check_eq(torc_group_wait(&g), 0);
	check_eq(torc_future_state(f), TORC_PENDING);
	check_eq(torc_future_set(f, NULL), 0);
	check_eq(torc_select(&c, 1, TORC_NEVER), 0);
	torc_future_put(f);
	return 0;
}

Test(future, is_not_selected_in_a_scope_that_has_ended)
{
	run(select_in_scope, NULL);
}

static int set_the_event(void *arg)
{
	torc_event_set(torc_future_event(make((enum kind)VALUE(arg))));
	return 0;
}

static int clear_the_event(void *arg)
{
	torc_event_clear(torc_future_event(make((enum kind)VALUE(arg))));
	return 0;
}

Test(future, traps_when_its_event_is_set_or_cleared_by_hand)
{
	for (enum kind k = 0; k < KINDS; k++) {
		struct died d = run_in_child(NULL, set_the_event, ARG(k));

		check_trap(&d);
		d = run_in_child(NULL, clear_the_event, ARG(k));
		check_trap(&d);
	}
}

/* --- chains --- */

static int add(void *value, void *arg, void **ret_value)
{
	*ret_value = ARG(VALUE(value) + VALUE(arg));
	return 0;
}

static int step_fails(void *value, void *arg, void **ret_value)
{
	(void)value, (void)ret_value;
	return (int)VALUE(arg);
}

static int never(void *value, void *arg, void **ret_value)
{
	(void)value, (void)ret_value;
	*(atomic_int *)arg += 1;
	return 0;
}

static struct torc_future *then(struct torc_future *f, struct torc_executor *executor,
				torc_then_fn *fn, void *arg)
{
	struct torc_future *next = NULL;

	check_eq(torc_then(f, executor, fn, arg, &next), 0);
	check(next && next != f);
	return next;
}

/* For each place where a step can run: where the one before was completed, and an executor. */
static void with_each_executor(void (*body)(struct torc_executor *executor))
{
	struct torc_executor *executors[] = { NULL, pool_with(POOL(.workers = 2)),
					      elastic_with(ELASTIC(.threads_max = 2)) };

	for (size_t i = 0; i < COUNT(executors); i++) {
		body(executors[i]);
		torc_executor_destroy(executors[i]);
	}
}

static void chain(struct torc_executor *executor)
{
	for (int before = 0; before < 2; before++) {
		struct torc_future *f = before ? make(SUCCEEDED) : promise();
		struct torc_future *a = then(f, executor, add, ARG(1));
		struct torc_future *b = then(a, executor, add, ARG(10));

		torc_future_put(a);
		if (!before)
			check_eq(torc_future_set(f, ARG(ANSWER)), 0);
		torc_future_put(f);
		expect(b, 0, ARG(ANSWER + 11));
	}
}

EVERYWHERE(future, has_steps_that_go_on_with_its_value)
{
	with_each_executor(chain);
}

static void chain_from_work(struct torc_executor *executor)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 1));
	struct torc_future *f = submit(pool, give, ARG(5));
	struct torc_future *next = then(f, executor, add, ARG(6));

	torc_future_put(f);
	expect(next, 0, ARG(11));
	torc_executor_destroy(pool);
}

EVERYWHERE(future, has_steps_that_go_on_with_the_value_of_a_task)
{
	with_each_executor(chain_from_work);
}

static void skip_steps(struct torc_executor *executor)
{
	static const enum kind ends[] = { FAILED, CANCELLED };

	for (size_t i = 0; i < 2 * COUNT(ends); i++) {
		enum kind k = ends[i / 2];
		atomic_int count = 0;
		struct torc_future *f = i % 2 ? make(k) : promise();
		struct torc_future *a = then(f, executor, never, &count);
		struct torc_future *b = then(a, executor, never, &count);

		if (i % 2 == 0 && k == FAILED)
			fail_io(f);
		else if (i % 2 == 0)
			cancel_future(f);
		check_eq(torc_await(b, NULL), kinds[k].status);
		check_eq(torc_future_state(b), kinds[k].state);
		check_eq(torc_await(a, NULL), kinds[k].status);
		check_eq(torc_future_state(a), kinds[k].state);
		check_eq(count, 0);
		torc_future_put(a);
		torc_future_put(b);
		torc_future_put(f);
	}
}

EVERYWHERE(future, that_fails_or_is_cancelled_skips_the_steps)
{
	with_each_executor(skip_steps);
}

static void fail_in_the_middle(struct torc_executor *executor)
{
	atomic_int count = 0;
	struct torc_future *f = promise(), *a, *b, *c, *d;

	a = then(f, executor, step_fails, ARG(7)); /* a success, with a status */
	b = then(a, executor, step_fails, ARG(-ENOTDIR));
	c = then(b, executor, never, &count);
	d = then(f, executor, add, ARG(1)); /* beside them */
	check_eq(torc_future_set(f, ARG(1)), 0);
	expect(a, 7, NULL);
	expect(c, -ENOTDIR, NULL);
	expect(b, -ENOTDIR, NULL);
	expect(d, 0, ARG(2));
	check_eq(count, 0);
	torc_future_put(f);
}

EVERYWHERE(future, has_steps_that_fail_for_those_behind_them)
{
	with_each_executor(fail_in_the_middle);
}

static void cancel_step(struct torc_executor *executor)
{
	atomic_int count = 0;
	struct torc_future *f = promise();
	struct torc_future *a = then(f, executor, never, &count);
	struct torc_future *b = then(a, executor, never, &count);

	check(torc_future_cancel(a));
	check_eq(torc_await(b, NULL), -ECANCELED);
	check_eq(torc_future_state(b), TORC_CANCELLED);
	check_eq(torc_future_state(f), TORC_PENDING);
	check_eq(torc_future_set(f, ARG(1)), 0);
	expect(f, 0, ARG(1));
	check_eq(torc_future_state(a), TORC_CANCELLED);
	check_eq(count, 0);
	torc_future_put(a);
	torc_future_put(b);
}

EVERYWHERE(future, has_steps_that_can_be_cancelled_without_it)
{
	with_each_executor(cancel_step);
	/* the executors are gone: no step has been run */
}

static int count_and_add(void *value, void *arg, void **ret_value)
{
	(void)ret_value;
	atomic_fetch_add((atomic_int *)arg, (int)VALUE(value));
	return 0;
}

EVERYWHERE(future, has_steps_that_run_also_when_nobody_wants_their_result)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 1));
	atomic_int count = 0;
	struct torc_future *f = promise();

	torc_future_put(then(f, pool, count_and_add, &count));
	torc_future_put(then(f, NULL, count_and_add, &count));
	check_eq(torc_future_set(f, ARG(1)), 0);
	torc_future_put(f);
	torc_executor_destroy(pool);
	check_eq(count, 2);
}

EVERYWHERE(future, has_steps_that_fail_when_they_cannot_be_submitted)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 1));
	atomic_int count = 0;
	struct torc_future *f = promise(), *a, *b;

	a = then(f, pool, never, &count);
	b = then(a, NULL, never, &count);
	check_eq(torc_executor_shutdown(pool, 0), 0);
	check_eq(torc_future_set(f, NULL), 0);
	check_eq(torc_await(a, NULL), -ESHUTDOWN);
	check_eq(torc_future_state(a), TORC_DONE);
	expect(a, -ESHUTDOWN, NULL);
	expect(b, -ESHUTDOWN, NULL);
	check_eq(count, 0);
	torc_future_put(f);
	torc_executor_destroy(pool);
}

static int where(void *value, void *arg, void **ret_value)
{
	(void)value;
	*(pid_t *)arg = gettid();
	*ret_value = arg;
	return 0;
}

EVERYWHERE(future, has_steps_that_run_where_it_is_completed_or_on_their_executor)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 1));
	struct torc_future *f = promise(), *here, *there;
	pid_t tids[2] = { 0, 0 };

	here = then(f, NULL, where, &tids[0]);
	there = then(f, pool, where, &tids[1]);
	check_eq(torc_future_set(f, NULL), 0);
	check_eq(torc_future_state(here), TORC_DONE);
	check_eq(tids[0], gettid());
	expect(here, 0, &tids[0]);
	expect(there, 0, &tids[1]);
	check(tids[1] != 0 && tids[1] != gettid());
	torc_future_put(f);
	torc_executor_destroy(pool);
}

#define CHAIN 20000

/* Also on the small stack of a fiber: neither completing it nor putting it goes down the chain by recursion. */
EVERYWHERE(future, has_chains_of_any_length)
{
	for (int completed = 0; completed < 2; completed++) {
		struct torc_future *first = promise(), *last = torc_future_get(first);

		for (int i = 0; i < CHAIN; i++) {
			struct torc_future *next = then(last, NULL, add, ARG(1));

			torc_future_put(last);
			last = next;
		}
		if (completed) {
			check_eq(torc_future_set(first, ARG(1)), 0);
			check_eq(torc_await(last, NULL), 0);
			expect(last, 0, ARG(CHAIN + 1));
		} else {
			check(torc_future_cancel(first));
			expect(last, -ECANCELED, NULL);
		}
		torc_future_put(first);
	}
}

/* --- references --- */

EVERYWHERE(future, counts_its_references)
{
	struct torc_future *f = make(SUCCEEDED);

	for (int i = 0; i < 10; i++)
		check(torc_future_get(f) == f);
	for (int i = 0; i < 10; i++)
		torc_future_put(f);
	expect(f, 0, ARG(ANSWER));
	torc_future_put(NULL);
}

/* Of one piece of memory, of others, and the same one several times. */
EVERYWHERE(future, gives_many_references_back_in_one_call)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 2));
	struct torc_future *fs[50], *mixed[50], *f = make(FAILED);
	atomic_int count = 0;
	void *args[50];

	for (int i = 0; i < 50; i++)
		args[i] = &count;
	torc_future_put_many(NULL, 0);
	for (int round = 0; round < 3; round++) {
		check_eq(torc_submit_many(pool, count_up, args, 50, fs), 0);
		if (round == 1)
			for (int i = 0; i < 50; i++)
				check_eq(torc_await(fs[i], NULL), 0);
		if (round < 2) {
			torc_future_put_many(fs, 50);
			continue;
		}
		for (int i = 0; i < 50; i++)
			mixed[i] = i % 5 == 1   ? torc_future_get(fs[0])
				   : i % 5 == 2 ? torc_future_get(f)
				   : i % 5 == 3 ? make(SUCCEEDED)
				   : i % 5 == 4 ? submit(pool, count_up, &count)
						: torc_future_get(fs[i]);
		torc_future_put_many(mixed, 50);
		for (int i = 0; i < 50; i++)
			expect(fs[i], 0, NULL); /* one each was left */
	}
	torc_executor_destroy(pool);
	check_eq(count, 160);
	expect(f, -EIO, NULL);
}

static int look_away(void *arg)
{
	struct torc_future *f = make((enum kind)(VALUE(arg) / 2));

	if (VALUE(arg) % 2)
		(void)!torc_await_until(f, 0, NULL);
	torc_future_put(f);
	return 0;
}

/* A failure that nobody has looked at; in builds for debugging. */
Test(future, reports_a_failure_that_was_never_looked_at_when_debugging)
{
#ifdef TORC_DEBUG
	bool debug = true;
#else
	bool debug = false;
#endif

	for (int i = 0; i < 2 * KINDS; i++) {
		struct died d = in_child(look_away, ARG(i));

		check_eq(d.signal, 0);
		check_eq(d.status, 0);
		check_eq(d.text[0] != '\0', debug && i == 2 * FAILED);
	}
}

/* --- fibers that work for a future --- */

static int answer(void *arg, void **ret_value)
{
	*ret_value = arg;
	return ANSWER;
}

static int yield_and_fail(void *arg, void **ret_value)
{
	(void)ret_value;
	check_eq(torc_yield(), 0);
	return (int)VALUE(arg);
}

static int sleep_for_ever(void *arg, void **ret_value)
{
	(void)ret_value;
	*(bool *)arg = true;
	return torc_sleep(TORC_NEVER);
}

static struct torc_future *spawn(struct torc_group *g, const struct torc_spawn_options *options,
				 torc_work_fn *fn, void *arg)
{
	struct torc_future *f = NULL;

	check_eq(torc_future_spawn(g, options, fn, arg, &f), 0);
	check(f);
	return f;
}

static int spawn_and_await(void *arg)
{
	struct torc_group g;
	struct torc_future *f;
	void *value;

	(void)arg;
	torc_group_enter(&g);
	for (int loop = 0; loop < 2; loop++) {
		f = spawn(&g, HOW(.loop = TORC_ON_LOOP(loop), .name = "worker"), answer, &g);
		check_eq(torc_await(f, &value), ANSWER);
		check(value == &g);
		torc_future_put(f);
		/* nobody wants the result: the fiber runs all the same */
		torc_future_put(spawn(&g, HOW(.loop = TORC_ON_LOOP(loop)), answer, NULL));
	}
	f = spawn(&g, NULL, answer, &f);
	check_eq(torc_future_state(f), TORC_PENDING);
	check_eq(torc_group_wait(&g), 0);
	check_eq(torc_future_try(f, &value), ANSWER);
	check(value == &f);
	torc_future_put(f);
	return 0;
}

Test(future, has_the_result_of_a_fiber)
{
	check_eq(run_with(OPTIONS(.loops = 2), spawn_and_await, NULL), 0);
}

static int fail_in_group(void *arg)
{
	struct torc_group g;
	struct torc_future *f, *sibling;
	bool begun = false;

	(void)arg;
	for (int loop = 0; loop < 2; loop++) {
		begun = false;
		torc_group_enter(&g);
		sibling = spawn(&g, NULL, sleep_for_ever, &begun);
		f = spawn(&g, HOW(.loop = TORC_ON_LOOP(loop)), yield_and_fail, ARG(-EXDEV));
		check_eq(torc_group_wait(&g), -EXDEV);
		expect(f, -EXDEV, NULL);
		check(begun);
		/* It was running, and it returned what it was told. */
		check_eq(torc_future_state(sibling), TORC_DONE);
		expect(sibling, -ECANCELED, NULL);
	}
	torc_group_enter_supervisor(&g);
	f = spawn(&g, NULL, yield_and_fail, ARG(-EXDEV));
	check_eq(torc_await(f, NULL), -EXDEV);
	torc_future_put(f);
	check_eq(torc_group_wait(&g), 0);
	return 0;
}

Test(future, of_a_fiber_fails_with_it_and_so_does_its_group)
{
	check_eq(run_with(OPTIONS(.loops = 2), fail_in_group, NULL), 0);
}

static int cancel_fibers(void *arg)
{
	struct torc_group g;
	struct torc_future *f;
	bool begun = false;

	(void)arg;
	torc_group_enter(&g);
	f = spawn(&g, NULL, sleep_for_ever, &begun);
	check(torc_future_cancel(f)); /* it has not begun */
	expect(f, -ECANCELED, NULL);
	check_eq(torc_group_wait(&g), 0);
	check(!begun);

	torc_group_enter(&g);
	f = spawn(&g, NULL, sleep_for_ever, &begun);
	check_eq(torc_yield(), 0);
	check(begun);
	check_eq(torc_future_state(f), TORC_RUNNING);
	check(!torc_future_cancel(f));
	torc_group_cancel(&g);
	check_eq(torc_group_wait(&g), 0);
	check_eq(torc_future_state(f), TORC_DONE);
	expect(f, -ECANCELED, NULL);
	return 0;
}

Test(future, of_a_fiber_can_be_cancelled_before_that_begins)
{
	run(cancel_fibers, NULL);
}

static int refuse_to_spawn(void *arg)
{
	struct torc_future *f = (void *)UNTOUCHED;
	struct torc_group g;
	struct torc_scope s;

	(void)arg;
	torc_group_enter(&g);
	check_eq(torc_future_spawn(&g, HOW(.loop = TORC_ON_LOOP(7)), answer, NULL, &f), -EINVAL);
	check_eq(torc_future_spawn(&g, HOW(.stack_bytes = (size_t)65 << 20), answer, NULL, &f),
		 -EINVAL);
	check(f == (void *)UNTOUCHED);
	check_eq(torc_group_wait(&g), 0);

	torc_group_enter_with(&g, &(struct torc_group_options){ .limit = 1 });
	check_eq(torc_group_spawn(&g, forever, NULL), 0);
	for (int i = 0; i < 2; i++) {
		torc_scope_enter(&s, i ? TORC_MS(2) : TORC_NEVER);
		if (!i)
			torc_scope_cancel(&s);
		check_eq(torc_future_spawn(&g, NULL, answer, NULL, &f),
			 i ? -ETIMEDOUT : -ECANCELED);
		torc_scope_leave(&s);
	}
	check(f == (void *)UNTOUCHED);
	torc_group_cancel(&g);
	check_eq(torc_group_wait(&g), 0);
	return 0;
}

Test(future, is_not_made_when_no_fiber_can_be_spawned)
{
	run(refuse_to_spawn, NULL);
}

#define ROOM 20

/* On another loop it turns out only there that there is no room. */
static int spawn_too_many(void *arg)
{
	struct torc_future *futures[2 * ROOM];
	struct torc_group g;
	bool begun = false;
	int refused = 0, r;

	(void)arg;
	torc_group_enter_supervisor(&g);
	for (int i = 0; i < 2 * ROOM; i++)
		futures[i] = spawn(&g, HOW(.loop = TORC_ON_LOOP(1)), sleep_for_ever, &begun);
	check_eq(torc_await(futures[2 * ROOM - 1], NULL), -EAGAIN);
	torc_group_cancel(&g);
	check_eq(torc_group_wait(&g), 0);
	for (int i = 0; i < 2 * ROOM; i++) {
		r = torc_future_try(futures[i], NULL);
		check(r == -EAGAIN || r == -ECANCELED);
		check_eq(torc_future_state(futures[i]), TORC_DONE);
		refused += r == -EAGAIN;
	}
	check_ge(refused, ROOM);
	put_all(futures, 2 * ROOM);
	return 0;
}

Test(future, of_a_fiber_that_never_starts_fails)
{
	check_eq(run_with(OPTIONS(.loops = 2, .fibers_max = ROOM), spawn_too_many, NULL), 0);
}

struct outside {
	struct torc_future *f;
	atomic_int result;
};

static void *await_outside(void *arg)
{
	struct outside *o = arg;
	void *value;

	check_eq(torc_await(o->f, &value), ANSWER);
	check(value == o);
	torc_future_put(o->f);
	return NULL;
}

static int serve_outside(void *arg)
{
	struct outside o = { .result = 0 };
	struct torc_group g;
	pthread_t thread;

	(void)arg;
	torc_group_enter(&g);
	o.f = spawn(&g, NULL, answer, &o);
	thread = start_thread(await_outside, &o);
	check_eq(torc_group_wait(&g), 0);
	join_thread(thread);
	return 0;
}

Test(future, of_a_fiber_is_awaited_by_a_thread_outside)
{
	run(serve_outside, NULL);
}
