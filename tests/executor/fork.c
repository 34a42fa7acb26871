/*
 * Fork and join: in a pool others may run the parts, anywhere else joining does.
 */
#include "tests/executor/run.h"

#include <torc/executor/fork.h>

TestSuite(fork, .timeout = 20);

/* fn(arg) as a task of a pool. */
static int in_pool(unsigned workers, torc_work_fn *fn, void *arg, void **ret_value)
{
	struct torc_executor *pool = pool_with(POOL(.workers = workers));
	struct torc_future *f = submit(pool, fn, arg);
	int r = torc_await(f, ret_value);

	torc_future_put(f);
	torc_executor_destroy(pool);
	return r;
}

/* And on threads of an executor that are no pool's. */
static int in_elastic(torc_work_fn *fn, void *arg, void **ret_value)
{
	struct torc_executor *executor = elastic_with(NULL);
	struct torc_future *f = submit(executor, fn, arg);
	int r = torc_await(f, ret_value);

	torc_future_put(f);
	torc_executor_destroy(executor);
	return r;
}

/* Where the caller is, then in pools of 1, 2 and 3 workers, and elsewhere. */
static void in_all_pools(torc_work_fn *fn, void *arg, int status, intptr_t expected)
{
	for (unsigned workers = 0; workers < 5; workers++) {
		void *value = NULL;
		int r = !workers      ? fn(arg, &value)
			: workers < 4 ? in_pool(workers, fn, arg, &value)
				      : in_elastic(fn, arg, &value);

		check_eq(r, status);
		check_eq(VALUE(value), expected);
	}
}

/* --- results --- */

static int fork_one_of_each(void *arg, void **ret_value)
{
	static const struct {
		torc_work_fn *fn;
		intptr_t arg;
		int status;
		intptr_t value;
	} cases[] = {
		{ give, ANSWER, 0, ANSWER },
		{ give, 0, 0, 0 },
		{ end_with, 7, 7, 0 },
		{ end_with, -EIO, -EIO, -1 },
		{ end_with, -ECANCELED, -ECANCELED, -1 },
	};
	struct torc_job job;

	(void)arg;
	for (size_t i = 0; i < COUNT(cases); i++) {
		void *value = ARG(-1);

		torc_fork(&job, cases[i].fn, ARG(cases[i].arg));
		check_eq(torc_join(&job, &value), cases[i].status);
		check_eq(VALUE(value), cases[i].value);
		torc_fork(&job, cases[i].fn, ARG(cases[i].arg));
		check_eq(torc_join(&job, NULL), cases[i].status);
	}
	*ret_value = ARG(ANSWER);
	return 0;
}

EVERYWHERE(fork, hands_over_what_the_job_returns)
{
	in_all_pools(fork_one_of_each, NULL, 0, ANSWER);
}

static int fork_a_failure(void *arg, void **ret_value)
{
	struct torc_job jobs[3];
	void *a, *b;

	(void)arg;
	torc_fork(&jobs[0], give, ARG(1));
	torc_fork(&jobs[1], end_with, ARG(-EIO));
	torc_fork(&jobs[2], give, ARG(2));
	check_eq(torc_join(&jobs[2], &a), 0);
	check_eq(torc_join(&jobs[1], NULL), -EIO);
	check_eq(torc_join(&jobs[0], &b), 0);
	*ret_value = ARG(VALUE(a) + VALUE(b));
	return 0;
}

EVERYWHERE(fork, has_jobs_that_fail_without_harm_to_others)
{
	in_all_pools(fork_a_failure, NULL, 0, 3);
}

#define JOBS 64

static int join_in_any_order(void *arg, void **ret_value)
{
	struct torc_job jobs[JOBS];
	bool joined[JOBS] = { false };
	uint64_t random = (uint64_t)VALUE(arg) + 1;
	intptr_t sum = 0;

	for (int i = 0; i < JOBS; i++)
		torc_fork(&jobs[i], give, ARG(i));
	for (int n = 0; n < JOBS; n++) {
		int i = VALUE(arg) == 0 ? JOBS - 1 - n : /* the fastest */
				VALUE(arg) == 1 ? n
						: (int)(next_random(&random) % JOBS);
		void *value;

		while (joined[i])
			i = (i + 1) % JOBS;
		check_eq(torc_join(&jobs[i], &value), 0);
		check_eq(VALUE(value), i);
		joined[i] = true;
		sum += i;
	}
	*ret_value = ARG(sum);
	return 0;
}

EVERYWHERE(fork, has_jobs_that_are_joined_in_any_order)
{
	for (int order = 0; order < 4; order++)
		in_all_pools(join_in_any_order, ARG(order), 0, JOBS * (JOBS - 1) / 2);
}

#define MOST 20000

static int fork_many(void *arg, void **ret_value)
{
	struct torc_job *jobs = calloc(MOST, sizeof(*jobs));
	atomic_int count = 0;

	check(jobs);
	for (int i = 0; i < MOST; i++)
		torc_fork(&jobs[i], count_up, &count);
	for (int i = 0; i < MOST; i++)
		check_eq(torc_join(&jobs[VALUE(arg) ? i : MOST - 1 - i], NULL), 0);
	free(jobs);
	*ret_value = ARG(count);
	return 0;
}

EVERYWHERE(fork, has_as_many_jobs_as_are_forked)
{
	for (int order = 0; order < 2; order++)
		in_all_pools(fork_many, ARG(order), 0, MOST);
}

/* --- divide and conquer --- */

struct range {
	int begin, end;
};

static int sum(void *arg, void **ret_value)
{
	struct range *r = arg;
	struct range left = { r->begin, (r->begin + r->end) / 2 }, right = { left.end, r->end };
	struct torc_job job;
	void *a, *b;
	int status, other;

	if (r->end - r->begin <= 8) {
		intptr_t n = 0;

		for (int i = r->begin; i < r->end; i++)
			n += i;
		*ret_value = ARG(n);
		return 0;
	}
	torc_fork(&job, sum, &left);
	status = sum(&right, &b);
	other = torc_join(&job, &a);
	check(status == 0 && other == 0);
	*ret_value = ARG(VALUE(a) + VALUE(b));
	return 0;
}

EVERYWHERE(fork, divides_and_conquers)
{
	struct range all = { 0, 20000 };

	in_all_pools(sum, &all, 0, (intptr_t)20000 * 19999 / 2);
}

/* Two that look for the same end in all their parts. */
static int fail_deep_inside(void *arg, void **ret_value)
{
	struct range *r = arg;
	struct range left = { r->begin, (r->begin + r->end) / 2 }, right = { left.end, r->end };
	struct torc_job job;
	int a, b;

	(void)ret_value;
	if (r->end - r->begin == 1)
		return r->begin == 77 ? -ENOTBLK : 0;
	torc_fork(&job, fail_deep_inside, &left);
	a = fail_deep_inside(&right, NULL);
	b = torc_join(&job, NULL);
	return a ? a : b;
}

EVERYWHERE(fork, passes_an_error_up)
{
	struct range all = { 0, 1000 };

	in_all_pools(fail_deep_inside, &all, -ENOTBLK, 0);
}

/* --- who runs it --- */

static int note_thread(void *arg, void **ret_value)
{
	(void)ret_value;
	*(pid_t *)arg = gettid();
	return 0;
}

static void run_only_in_join(void)
{
	pid_t tid = 0;
	struct torc_job job;

	torc_fork(&job, note_thread, &tid);
	if (torc_in_fiber())
		check_eq(torc_yield(), 0);
	check_eq(tid, 0);
	check_eq(torc_join(&job, NULL), 0);
	check_eq(tid, gettid());
}

static int run_only_in_join_as_task(void *arg, void **ret_value)
{
	(void)arg, (void)ret_value;
	run_only_in_join();
	return 0;
}

Test(fork, runs_the_job_in_join_where_there_is_no_pool)
{
	void *value;

	without_leaks(in_a_fiber, run_only_in_join);
	without_leaks(in_a_thread, run_only_in_join);
	check_eq(in_elastic(run_only_in_join_as_task, NULL, &value), 0);
}

static int set_flag(void *arg, void **ret_value)
{
	*ret_value = ARG(gettid());
	atomic_store((atomic_int *)arg, 1);
	return 0;
}

static int wait_for_thief(void *arg, void **ret_value)
{
	atomic_int flag = 0;
	struct torc_job job;
	void *value;

	(void)arg, (void)ret_value;
	torc_fork(&job, set_flag, &flag);
	while (!atomic_load(&flag)) /* who forked it does not run it */
		sched_yield();
	check_eq(torc_join(&job, &value), 0);
	check(VALUE(value) != gettid());
	return 0;
}

EVERYWHERE(fork, has_an_idle_worker_take_the_job)
{
	void *value;

	check_eq(in_pool(2, wait_for_thief, NULL, &value), 0);
}

struct stolen {
	struct torc_executor *pool;
	struct gate gate;
	atomic_int status;
};

static int join_a_held_job(void *arg, void **ret_value)
{
	struct stolen *s = arg;
	struct torc_job job;

	torc_fork(&job, hold, &s->gate);
	while (!atomic_load(&s->gate.begun))
		sched_yield();
	return torc_join(&job, ret_value);
}

/* The other worker is held inside of the job. */
EVERYWHERE(fork, runs_other_tasks_while_a_job_is_run_elsewhere)
{
	struct stolen s = { .status = 0 };
	struct torc_future *f;

	gate_init(&s.gate);
	s.pool = pool_with(POOL(.workers = 2));
	f = submit(s.pool, join_a_held_job, &s);
	gate_wait(&s.gate, 1);
	for (int i = 0; i < 10; i++)
		expect(submit(s.pool, give, ARG(i)), 0, ARG(i));
	check_eq(torc_future_state(f), TORC_RUNNING);
	gate_open(&s.gate, 1);
	expect(f, 0, ARG(ANSWER));
	torc_executor_destroy(s.pool);
	gate_done(&s.gate);
}

static int submit_inside(void *arg, void **ret_value)
{
	struct torc_future *f = submit(arg, give, ARG(ANSWER));
	int r = torc_await(f, ret_value);

	torc_future_put(f);
	return r;
}

static int fork_tasks(void *arg, void **ret_value)
{
	struct torc_job jobs[8];
	intptr_t n = 0;

	for (int i = 0; i < 8; i++)
		torc_fork(&jobs[i], submit_inside, arg);
	for (int i = 8; i-- > 0;) {
		void *value;

		check_eq(torc_join(&jobs[i], &value), 0);
		n += VALUE(value);
	}
	*ret_value = ARG(n);
	return 0;
}

EVERYWHERE(fork, has_jobs_that_submit_tasks_and_wait_for_them)
{
	for (unsigned workers = 1; workers < 4; workers++) {
		struct torc_executor *pool = pool_with(POOL(.workers = workers));

		expect(submit(pool, fork_tasks, pool), 0, ARG(8 * ANSWER));
		torc_executor_destroy(pool);
	}
}

/* --- in a fiber --- */

static int suspend(void *arg, void **ret_value)
{
	check_eq(torc_yield(), 0);
	check_eq(torc_sleep(TORC_MS(1)), 0);
	*ret_value = arg;
	return 0;
}

static int suspend_if_allowed(void *arg, void **ret_value)
{
	*ret_value = arg;
	return torc_sleep(TORC_MS(1));
}

static int fork_in_fiber(void *arg)
{
	struct torc_job jobs[2];
	struct torc_scope s;
	void *value = UNTOUCHED;

	(void)arg;
	torc_fork(&jobs[0], suspend, ARG(1));
	torc_fork(&jobs[1], suspend, ARG(2));
	check_eq(torc_join(&jobs[1], &value), 0);
	check_eq(VALUE(value), 2);
	check_eq(torc_join(&jobs[0], &value), 0);
	check_eq(VALUE(value), 1);

	/* the scope is asked by what the job calls, not by joining it */
	torc_scope_enter(&s, TORC_NEVER);
	torc_scope_cancel(&s);
	torc_fork(&jobs[0], give, ARG(3));
	torc_fork(&jobs[1], suspend_if_allowed, ARG(4));
	check_eq(torc_join(&jobs[1], &value), -ECANCELED);
	check_eq(VALUE(value), 1);
	check_eq(torc_join(&jobs[0], &value), 0);
	check_eq(VALUE(value), 3);
	torc_scope_leave(&s);
	return 0;
}

Test(fork, has_jobs_that_suspend_the_fiber_that_joins_them)
{
	run(fork_in_fiber, NULL);
}
