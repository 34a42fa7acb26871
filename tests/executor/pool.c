/*
 * The pool of threads: its options, its bounded queue, initializers, what tasks of tasks do, and who runs what. What it
 * has in common with other executors is in executor.c.
 */
#include "tests/executor/run.h"

#include <torc/core/gen.h>

#include <torc/executor/map.h>
#include <torc/executor/wait.h>

TestSuite(pool, .timeout = 20);

/* --- options --- */

static cpu_set_t allowed_cpus(void)
{
	cpu_set_t set;

	check_eq(sched_getaffinity(0, sizeof(set), &set), 0);
	return set;
}

static int one_cpu(void)
{
	cpu_set_t set = allowed_cpus();

	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET((size_t)cpu, &set))
			return cpu;
	return -1;
}

static int forbidden_cpu(void)
{
	cpu_set_t set = allowed_cpus();

	for (int cpu = CPU_SETSIZE - 1; cpu >= 0; cpu--)
		if (!CPU_ISSET((size_t)cpu, &set))
			return cpu;
	return -1;
}

EVERYWHERE(pool, is_not_made_with_an_option_out_of_its_range)
{
	const int bad_cpus[] = { one_cpu(), forbidden_cpu() }, negative[] = { -1 },
		  huge[] = { INT32_MAX };
	const struct torc_pool_options bad[] = {
		{ .workers = 1025 },
		{ .workers = UINT32_MAX },
		{ .stack_bytes = 1 },
		{ .stack_bytes = 16383 },
		{ .cpus = bad_cpus, .cpus_count = 2 },
		{ .cpus = bad_cpus + 1, .cpus_count = 1 },
		{ .cpus = negative, .cpus_count = 1 },
		{ .cpus = huge, .cpus_count = 1 },
		{ .when_full = (enum torc_when_full)7 },
	};
	int before = count_threads();

	for (size_t i = 0; i < COUNT(bad); i++) {
		struct torc_executor *pool = (void *)UNTOUCHED;
		int r = torc_pool_create(&bad[i], &pool);

		if (r != -EINVAL)
			fprintf(stderr, "case %zu\n", i);
		check_eq(r, -EINVAL);
		check(pool == (void *)UNTOUCHED);
	}
	check_threads(before);
}

EVERYWHERE(pool, has_a_worker_for_each_core_by_default)
{
	cpu_set_t set = allowed_cpus();
	struct torc_executor *pool = pool_with(NULL);
	struct torc_pool_stats stats;

	check_eq(torc_executor_parallelism(pool), CPU_COUNT(&set));
	torc_pool_stats(pool, &stats);
	check_eq(stats.workers, CPU_COUNT(&set));
	expect(submit(pool, give, ARG(1)), 0, ARG(1));
	torc_executor_destroy(pool);
}

/* Of this process, not of the machine. */
Test(pool, has_one_worker_where_the_process_may_use_one_core)
{
	struct torc_executor *pool;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)one_cpu(), &set);
	check_eq(sched_setaffinity(0, sizeof(set), &set), 0);
	pool = pool_with(NULL);
	check_eq(torc_executor_parallelism(pool), 1);
	expect(submit(pool, give, ARG(1)), 0, ARG(1));
	torc_executor_destroy(pool);
}

static int note_name(void *arg, void **ret_value)
{
	(void)ret_value;
	check_eq(pthread_getname_np(pthread_self(), arg, 16), 0);
	return 0;
}

EVERYWHERE(pool, names_its_threads)
{
	static const struct {
		const char *name, *prefix;
	} cases[] = {
		{ NULL, "pool" },
		{ "special", "special" },
		{ "a", "a" },
		{ "more than fifteen characters", "more than" },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct torc_executor *pool = pool_with(POOL(.workers = 2, .name = cases[i].name));
		char name[16] = "";

		expect(submit(pool, note_name, name), 0, NULL);
		check_eq(strncmp(name, cases[i].prefix, strlen(cases[i].prefix)), 0);
		if (strlen(cases[i].prefix) < 9)
			check(strchr("01", name[strlen(name) - 1]));
		torc_executor_destroy(pool);
	}
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

EVERYWHERE(pool, gives_its_threads_the_stacks_that_were_asked_for)
{
	static const size_t sizes[] = { 16384, (size_t)1 << 18, (size_t)32 << 20 };

	for (size_t i = 0; i < COUNT(sizes); i++) {
		struct torc_executor *pool = pool_with(POOL(.workers = 1, .stack_bytes = sizes[i]));
		size_t bytes = 0;

		expect(submit(pool, stack_of_thread, &bytes), 0, NULL);
		check_ge(bytes, sizes[i]);
		check_lt(bytes, 2 * sizes[i] + 65536);
		torc_executor_destroy(pool);
	}
}

static int note_cpus(void *arg, unsigned index)
{
	check_eq(sched_getaffinity(0, sizeof(cpu_set_t), (cpu_set_t *)arg + index), 0);
	return 0;
}

EVERYWHERE(pool, binds_its_workers_to_cores_in_turns)
{
	cpu_set_t allowed = allowed_cpus(), seen[5];
	int cpus[2] = { one_cpu(), one_cpu() };
	struct torc_executor *pool;
	struct gate g;

	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET((size_t)cpu, &allowed))
			cpus[1] = cpu; /* the last one */
	gate_init(&g);
	pool = pool_with(POOL(.workers = 5, .cpus = cpus, .cpus_count = 2, .initializer = note_cpus,
			      .arg = seen));
	cpus[1] = -1; /* copied */
	for (int i = 0; i < 5; i++)
		check_eq(torc_submit(pool, hold, &g, NULL), 0);
	gate_wait(&g, 5); /* so each has been initialized */
	gate_open(&g, 5);
	torc_executor_destroy(pool);
	for (int i = 0; i < 5; i++) {
		check_eq(CPU_COUNT(&seen[i]), 1);
		check(CPU_EQUAL(&seen[i], &seen[i % 2]));
	}
	check(CPU_ISSET((size_t)cpus[0], &seen[0]));
	gate_done(&g);
}

EVERYWHERE(pool, is_not_made_when_its_threads_cannot_be_started)
{
	struct torc_executor *pool = (void *)UNTOUCHED;
	int before = count_threads();

	/* no address space has room for such stacks */
	check_eq(torc_pool_create(POOL(.workers = 3, .stack_bytes = (size_t)1 << 46), &pool),
		 -EAGAIN);
	check(pool == (void *)UNTOUCHED);
	check_threads(before);
}

static void start_some_threads(void)
{
	struct torc_executor *pool = (void *)UNTOUCHED;
	int before = count_threads(), r;

	WITHOUT_MEMORY((size_t)500 << 20,
		       r = torc_pool_create(POOL(.workers = 100, .stack_bytes = (size_t)64 << 20),
					    &pool));
	check_eq(r, -EAGAIN);
	check(pool == (void *)UNTOUCHED);
	check_threads(before); /* those that had been started have ended */
}

Test(pool, is_not_made_when_only_some_of_its_threads_can_be_started)
{
	if (WITH_ASAN)
		cr_skip_test("ASan needs all the addresses that there are");
	without_leaks(in_a_fiber, start_some_threads);
	without_leaks(in_a_thread, start_some_threads);
	without_leaks(in_a_task, start_some_threads);
}

/* --- a queue with an end --- */

static const struct torc_pool_options bounded = { .workers = 1,
						  .queue_max = 2,
						  .when_full = TORC_FULL_WAIT };

struct numbered {
	struct notes *notes;
	int number;
	struct torc_executor *pool;
	int result;
	struct torc_scope *scope;
};

static int note_number(void *arg, void **ret_value)
{
	struct numbered *n = arg;

	(void)ret_value;
	note_down(n->notes, n->number);
	return 0;
}

/* Two tasks, numbers 0 and 1: then it is full. */
static void fill(struct torc_executor *pool, struct notes *notes)
{
	static struct numbered first[2];

	for (int i = 0; i < 2; i++) {
		first[i] = (struct numbered){ .notes = notes, .number = i };
		check_eq(torc_submit(pool, note_number, &first[i], NULL), 0);
	}
}

static void expect_order(const struct notes *notes, int count)
{
	check_eq(notes->count, count);
	for (int i = 0; i < count; i++)
		check_eq(notes->seen[i], i);
}

EVERYWHERE(pool, has_submitters_wait_for_room)
{
	struct torc_executor *pool = pool_with(&bounded);
	struct notes notes = { .count = 0 };
	struct numbered third = { .notes = &notes, .number = 2 };
	struct torc_pool_stats stats;
	struct later l;
	struct gate g;

	gate_init(&g);
	check_eq(torc_submit(pool, hold, &g, NULL), 0);
	gate_wait(&g, 1);
	fill(pool, &notes);
	torc_pool_stats(pool, &stats);
	check_eq(stats.queued, 2);
	later(&l, open_one, &g);
	check_eq(torc_submit(pool, note_number, &third, NULL), 0);
	check_eq(g.over, 1); /* not before */
	later_is_over(&l);
	torc_executor_destroy(pool);
	expect_order(&notes, 3);
	gate_done(&g);
}

EVERYWHERE(pool, takes_more_than_its_queue_holds_in_one_call_by_and_by)
{
	struct torc_executor *pool = pool_with(&bounded);
	struct torc_future *fs[20];
	void *args[20];

	for (int i = 0; i < 20; i++)
		args[i] = ARG(i);
	check_eq(torc_submit_many(pool, give, args, 20, fs), 0);
	for (int i = 0; i < 20; i++)
		expect(fs[i], 0, ARG(i));
	torc_executor_destroy(pool);
}

static int submit_number(void *arg)
{
	struct numbered *n = arg;
	struct torc_future *f = (void *)UNTOUCHED;
	struct torc_scope s;

	torc_scope_enter(&s, TORC_NEVER);
	n->scope = &s;
	n->result = torc_submit(n->pool, note_number, n, &f);
	torc_scope_leave(&s);
	if (n->result < 0)
		check(f == (void *)UNTOUCHED);
	else
		torc_future_put(f);
	return 0;
}

#define LINE 8

/* Fibers 2 .. 9 wait in line for room. */
static void form_line(struct torc_executor *pool, struct torc_group *g, struct notes *notes,
		      struct numbered *line)
{
	for (int i = 0; i < LINE; i++) {
		line[i] = (struct numbered){
			.notes = notes, .number = 2 + i, .pool = pool, .result = 1
		};
		check_eq(torc_group_spawn(g, submit_number, &line[i]), 0);
	}
	check_eq(torc_yield(), 0);
	for (int i = 0; i < LINE; i++)
		check_eq(line[i].result, 1);
}

static int wait_in_line(void *arg)
{
	struct torc_executor *pool = pool_with(&bounded);
	struct notes notes = { .count = 0 };
	struct numbered line[LINE];
	struct torc_group group;
	struct gate g;

	(void)arg;
	gate_init(&g);
	check_eq(torc_submit(pool, hold, &g, NULL), 0);
	gate_wait(&g, 1);
	fill(pool, &notes);
	torc_group_enter(&group);
	form_line(pool, &group, &notes, line);
	gate_open(&g, 1);
	check_eq(torc_group_wait(&group), 0);
	torc_executor_destroy(pool);
	for (int i = 0; i < LINE; i++)
		check_eq(line[i].result, 0);
	expect_order(&notes, 2 + LINE);
	gate_done(&g);
	return 0;
}

Test(pool, has_fibers_wait_in_line_for_room)
{
	run(wait_in_line, NULL);
}

static int cancel_in_line(void *arg)
{
	struct torc_executor *pool = pool_with(&bounded);
	struct notes notes = { .count = 0 };
	struct numbered line[LINE];
	struct torc_future *f = (void *)UNTOUCHED, *fs[3];
	struct torc_group group;
	struct torc_scope s;
	struct gate g;

	(void)arg;
	gate_init(&g);
	check_eq(torc_submit(pool, hold, &g, NULL), 0);
	gate_wait(&g, 1);
	fill(pool, &notes);
	torc_group_enter(&group);
	form_line(pool, &group, &notes, line);
	for (int i = 0; i < LINE; i += 2)
		torc_scope_cancel(line[i].scope);
	check_eq(torc_yield(), 0);
	for (int i = 0; i < LINE; i++)
		check_eq(line[i].result, i % 2 ? 1 : -ECANCELED);
	/* behind them, for a short time */
	torc_scope_enter(&s, TORC_MS(2));
	check_eq(torc_submit(pool, give, NULL, &f), -ETIMEDOUT);
	check_eq(torc_submit(pool, give, NULL, NULL), -ETIMEDOUT);
	check_eq(torc_submit_many(pool, give, (void *[]){ 0, 0, 0 }, 3, fs), -ETIMEDOUT);
	torc_scope_leave(&s);
	check(f == (void *)UNTOUCHED);
	gate_open(&g, 1);
	check_eq(torc_group_wait(&group), 0);
	torc_executor_destroy(pool);
	/* 0, 1, and the odd ones of the line */
	check_eq(notes.count, 2 + LINE / 2);
	for (int i = 0; i < LINE / 2; i++)
		check_eq(notes.seen[2 + i], 2 + 2 * i + 1);
	gate_done(&g);
	return 0;
}

Test(pool, submits_nothing_for_a_fiber_whose_scope_ends_in_the_line)
{
	run(cancel_in_line, NULL);
}

static int submit_in_cancelled_scope(void *arg)
{
	struct torc_executor *pool = pool_with(&bounded);
	struct torc_future *f;
	struct torc_scope s;

	(void)arg;
	torc_scope_enter(&s, TORC_NEVER);
	torc_scope_cancel(&s);
	check_eq(torc_submit(pool, give, ARG(1), &f), 0);
	torc_scope_leave(&s);
	expect(f, 0, ARG(1));
	torc_executor_destroy(pool);
	return 0;
}

/* The scope is asked while it waits for room. */
Test(pool, takes_work_in_a_cancelled_scope_when_there_is_room)
{
	run(submit_in_cancelled_scope, NULL);
}

static int submit_many_in_part(void *arg)
{
	struct torc_executor *pool = pool_with(&bounded);
	struct torc_future *held, *fs[10];
	atomic_int count = 0;
	struct torc_scope s;
	void *args[10];
	struct gate g;

	(void)arg;
	gate_init(&g);
	for (int i = 0; i < 10; i++)
		args[i] = &count;
	held = submit_held(pool, &g);
	torc_scope_enter(&s, TORC_MS(2));
	check_eq(torc_submit_many(pool, count_up, args, 10, fs), -ETIMEDOUT);
	torc_scope_leave(&s);
	gate_open(&g, 1);
	expect(held, 0, ARG(ANSWER));
	check_eq(torc_submit_many(pool, give, args, 10, fs), 0);
	for (int i = 0; i < 10; i++)
		expect(fs[i], 0, &count);
	torc_executor_destroy(pool);
	check_eq(count, 0);
	gate_done(&g);
	return 0;
}

Test(pool, goes_on_after_many_of_which_only_some_found_room)
{
	run(submit_many_in_part, NULL);
}

static int next_number(void *value, void *arg, void **ret_value)
{
	(void)arg;
	*ret_value = ARG(VALUE(value) + 1);
	return 0;
}

/* Completing a future never waits; so a step gets in all the same, or fails. */
EVERYWHERE(pool, does_not_have_a_step_wait_for_room)
{
	static const enum torc_when_full policies[] = { TORC_FULL_WAIT, TORC_FULL_FAIL };

	for (size_t i = 0; i < COUNT(policies); i++) {
		struct torc_executor *pool =
			pool_with(POOL(.workers = 1, .queue_max = 2, .when_full = policies[i]));
		struct torc_future *f = promise(), *next;
		struct notes notes = { .count = 0 };
		struct gate g;
		int r;

		gate_init(&g);
		check_eq(torc_submit(pool, hold, &g, NULL), 0);
		gate_wait(&g, 1);
		fill(pool, &notes);
		check_eq(torc_then(f, pool, next_number, NULL, &next), 0);
		check_eq(torc_future_set(f, ARG(1)), 0);
		gate_open(&g, 1);
		r = torc_await(next, NULL);
		check(r == -EAGAIN || r == 0);
		torc_future_put(next);
		torc_future_put(f);
		torc_executor_destroy(pool);
		gate_done(&g);
	}
}

static void shut_down_now(void *pool)
{
	check_eq(torc_executor_shutdown(pool, TORC_NO_WAIT), 0);
}

EVERYWHERE(pool, sends_waiting_submitters_away_when_it_is_shut_down)
{
	struct torc_executor *pool = pool_with(&bounded);
	struct notes notes = { .count = 0 };
	struct torc_future *f = (void *)UNTOUCHED;
	struct later l;
	struct gate g;

	gate_init(&g);
	check_eq(torc_submit(pool, hold, &g, NULL), 0);
	gate_wait(&g, 1);
	fill(pool, &notes);
	later(&l, shut_down_now, pool);
	check_eq(torc_submit(pool, give, NULL, &f), -ESHUTDOWN);
	check(f == (void *)UNTOUCHED);
	later_is_over(&l);
	gate_open(&g, 1);
	torc_executor_destroy(pool);
	expect_order(&notes, 2);
	gate_done(&g);
}

static int submit_ten(void *arg, void **ret_value)
{
	struct numbered *n = arg;

	(void)ret_value;
	for (int i = 0; i < 10; i++) {
		struct torc_future *f;
		int r = torc_submit(n->pool, note_number, n, &f);

		if (r < 0)
			return r;
		torc_future_put(f);
	}
	return 0;
}

EVERYWHERE(pool, does_not_count_what_its_workers_submit)
{
	static const enum torc_when_full policies[] = { TORC_FULL_WAIT, TORC_FULL_FAIL };

	for (size_t i = 0; i < COUNT(policies); i++) {
		struct notes notes = { .count = 0 };
		struct numbered n = { .notes = &notes,
				      .pool = pool_with(POOL(.workers = 1, .queue_max = 1,
							     .when_full = policies[i])) };

		expect(submit(n.pool, submit_ten, &n), 0, NULL);
		torc_executor_destroy(n.pool);
		check_eq(notes.count, 10);
	}
}

EVERYWHERE(pool, has_room_again_for_each_task_that_was_taken)
{
	struct torc_executor *pool =
		pool_with(POOL(.workers = 2, .queue_max = 1, .when_full = TORC_FULL_WAIT));
	atomic_int count = 0;

	for (int i = 0; i < 500; i++)
		check_eq(torc_submit(pool, count_up, &count, NULL), 0);
	torc_executor_destroy(pool);
	check_eq(count, 500);
}

/* --- initializers --- */

struct workers {
	atomic_int initialized[8], finalized[8], tasks_before;
	pid_t tids[8];
	int fails; /* the index of whose fails; or -1 */
	sem_t go;  /* for who fails */
	bool waits;
};

static _Thread_local int my_index = -1;

static int initialize(void *arg, unsigned index)
{
	struct workers *w = arg;

	check_lt(index, 8);
	check_eq(my_index, -1);
	w->tids[index] = gettid();
	atomic_fetch_add(&w->initialized[index], 1);
	if ((int)index == w->fails) {
		if (w->waits)
			take(&w->go);
		return -EUCLEAN;
	}
	my_index = (int)index;
	return 0;
}

static void finalize(void *arg, unsigned index)
{
	struct workers *w = arg;

	check_eq(my_index, (int)index);
	check_eq(w->tids[index], gettid());
	atomic_fetch_add(&w->finalized[index], 1);
	my_index = -2;
}

static int ask_index(void *arg, void **ret_value)
{
	(void)ret_value;
	pass_gate(arg);
	return my_index;
}

EVERYWHERE(pool, initializes_each_worker_before_its_first_task_and_finalizes_it_after_the_last)
{
	struct workers w = { .fails = -1 };
	struct torc_executor *pool = pool_with(
		POOL(.workers = 3, .initializer = initialize, .finalizer = finalize, .arg = &w));
	struct torc_future *fs[3];
	struct gate g;
	int sum = 0, r;

	gate_init(&g);
	for (int i = 0; i < 3; i++)
		fs[i] = submit(pool, ask_index, &g);
	gate_wait(&g, 3);
	for (int i = 0; i < 3; i++)
		check_eq(w.finalized[i], 0);
	gate_open(&g, 3);
	for (int i = 0; i < 3; i++) {
		r = torc_await(fs[i], NULL);
		check(r >= 0 && r < 3);
		sum += 1 << r;
	}
	check_eq(sum, 7); /* each of them has run one */
	put_all(fs, 3);
	torc_executor_destroy(pool);
	for (int i = 0; i < 3; i++) {
		check_eq(w.initialized[i], 1);
		check_eq(w.finalized[i], 1);
	}
	gate_done(&g);
}

EVERYWHERE(pool, finalizes_as_many_workers_as_it_initialized)
{
	for (unsigned n = 1; n < 5; n++) {
		struct workers w = { .fails = -1 };
		struct torc_executor *pool = pool_with(POOL(.workers = n, .initializer = initialize,
							    .finalizer = finalize, .arg = &w));

		if (n % 2)
			expect(submit(pool, give, NULL), 0, NULL);
		torc_executor_destroy(pool); /* some may not have begun yet */
		for (int i = 0; i < 8; i++) {
			check_le(w.initialized[i], i < (int)n);
			check_eq(w.initialized[i], w.finalized[i]);
		}
	}
}

static int no_step(void *value, void *arg, void **ret_value)
{
	(void)value, (void)arg, (void)ret_value;
	abort();
}

EVERYWHERE(pool, that_is_broken_fails_all_that_it_has_not_started)
{
	struct workers w = { .fails = 0, .waits = true };
	struct torc_future *fs[20], *more[2], *none = (void *)UNTOUCHED, *then;
	struct torc_executor *pool;
	atomic_int count = 0;
	void *args[] = { &count, &count };

	check_eq(sem_init(&w.go, 0, 0), 0);
	pool = pool_with(
		POOL(.workers = 1, .initializer = initialize, .finalizer = finalize, .arg = &w));
	for (int i = 0; i < 20; i++)
		fs[i] = submit(pool, count_up, &count);
	check(torc_future_cancel(fs[7]));
	check_eq(sem_post(&w.go), 0);
	for (int i = 0; i < 20; i++) {
		check_eq(torc_await(fs[i], NULL), i == 7 ? -ECANCELED : -EPIPE);
		check_eq(torc_future_state(fs[i]), i == 7 ? TORC_CANCELLED : TORC_DONE);
	}
	check_eq(torc_submit(pool, count_up, &count, &none), -EPIPE);
	check_eq(torc_submit_many(pool, count_up, args, 2, more), -EPIPE);
	check(none == (void *)UNTOUCHED);
	none = make(SUCCEEDED);
	check_eq(torc_then(none, pool, no_step, NULL, &then), 0);
	expect(then, -EPIPE, NULL);
	torc_future_put(none);
	check_eq(torc_executor_shutdown(pool, 0), 0);
	torc_executor_destroy(pool);
	put_all(fs, 20);
	check_eq(count, 0);
	check_eq(w.initialized[0], 1);
	check_eq(w.finalized[0], 0);
	sem_destroy(&w.go);
}

EVERYWHERE(pool, that_breaks_lets_what_runs_end)
{
	struct workers w = { .fails = 1, .waits = true };
	struct torc_future *running, *pending;
	struct torc_executor *pool;
	struct gate g;

	gate_init(&g);
	check_eq(sem_init(&w.go, 0, 0), 0);
	pool = pool_with(
		POOL(.workers = 2, .initializer = initialize, .finalizer = finalize, .arg = &w));
	running = submit_held(pool, &g); /* by the worker that does not fail */
	pending = submit(pool, give, NULL);
	check_eq(sem_post(&w.go), 0);
	expect(pending, -EPIPE, NULL);
	check_eq(torc_future_state(running), TORC_RUNNING);
	gate_open(&g, 1);
	expect(running, 0, ARG(ANSWER));
	check_eq(torc_submit(pool, give, NULL, NULL), -EPIPE);
	torc_executor_destroy(pool);
	check_eq(w.finalized[0], 1);
	check_eq(w.finalized[1], 0);
	sem_destroy(&w.go);
	gate_done(&g);
}

static void fail_initializer(void *arg)
{
	struct workers *w = arg;

	check_eq(sem_post(&w->go), 0);
}

EVERYWHERE(pool, that_breaks_sends_waiting_submitters_away)
{
	struct workers w = { .fails = 0, .waits = true };
	struct torc_future *f = (void *)UNTOUCHED;
	struct torc_executor *pool;
	struct later l;

	check_eq(sem_init(&w.go, 0, 0), 0);
	pool = pool_with(POOL(.workers = 1, .queue_max = 1, .initializer = initialize, .arg = &w));
	check_eq(torc_submit(pool, give, NULL, NULL), 0);
	later(&l, fail_initializer, &w);
	check_eq(torc_submit(pool, give, NULL, &f), -EPIPE);
	check(f == (void *)UNTOUCHED);
	later_is_over(&l);
	torc_executor_destroy(pool);
	sem_destroy(&w.go);
}

/* --- who runs what --- */

EVERYWHERE(pool, runs_what_comes_from_outside_first_come_first_served)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 1));
	struct notes notes = { .count = 0 };
	struct numbered numbers[20];
	struct torc_future *held;
	struct gate g;

	gate_init(&g);
	held = submit_held(pool, &g);
	for (int i = 0; i < 20; i++) {
		numbers[i] = (struct numbered){ .notes = &notes, .number = i };
		check_eq(torc_submit(pool, note_number, &numbers[i], NULL), 0);
	}
	gate_open(&g, 1);
	torc_executor_destroy(pool);
	expect_order(&notes, 20);
	torc_future_put(held);
	gate_done(&g);
}

/* Numbers of the same rest are one thread's. */
static void expect_each_in_order(const struct notes *notes, int count, int threads)
{
	int next[3] = { 0, 1, 2 };

	check_eq(notes->count, count);
	for (int i = 0; i < count; i++) {
		check_eq(notes->seen[i], next[notes->seen[i] % threads]);
		next[notes->seen[i] % threads] += threads;
	}
}

struct turns {
	struct torc_executor *pool;
	struct numbered *numbers;
	atomic_int turn;
};

struct turn_taker {
	struct turns *turns;
	int who;
};

static void *submit_in_turn(void *arg)
{
	struct turn_taker *me = arg;
	struct turns *t = me->turns;

	for (int i = me->who; i < 30; i += 3) {
		while (atomic_load(&t->turn) != i)
			sched_yield();
		check_eq(torc_submit(t->pool, note_number, &t->numbers[i], NULL), 0);
		atomic_store(&t->turn, i + 1);
	}
	return NULL;
}

EVERYWHERE(pool, keeps_the_order_of_each_thread_that_submits)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 1));
	struct notes notes = { .count = 0 };
	struct numbered numbers[30];
	struct turns turns = { .pool = pool, .numbers = numbers };
	struct turn_taker takers[] = { { &turns, 0 }, { &turns, 1 }, { &turns, 2 } };
	struct torc_future *held;
	pthread_t threads[2];
	struct gate g;

	gate_init(&g);
	held = submit_held(pool, &g);
	for (int i = 0; i < 30; i++)
		numbers[i] = (struct numbered){ .notes = &notes, .number = i };
	for (int i = 0; i < 2; i++)
		threads[i] = start_thread(submit_in_turn, &takers[i]);
	(void)submit_in_turn(&takers[2]);
	for (int i = 0; i < 2; i++)
		join_thread(threads[i]);
	gate_open(&g, 1);
	torc_executor_destroy(pool);
	expect_each_in_order(&notes, 30, 3);
	torc_future_put(held);
	gate_done(&g);
}

struct flood {
	struct torc_executor *pool;
	atomic_int waiting, stop;
};

static int drain(void *arg, void **ret_value)
{
	struct flood *f = arg;

	(void)ret_value;
	atomic_fetch_sub(&f->waiting, 1);
	return 0;
}

/* There is always something of this thread's to be done. */
static void *submit_for_ever(void *arg)
{
	struct flood *f = arg;

	while (!atomic_load(&f->stop)) {
		if (atomic_load(&f->waiting) > 10000) {
			sched_yield();
			continue;
		}
		atomic_fetch_add(&f->waiting, 1);
		check_eq(torc_submit(f->pool, drain, f, NULL), 0);
	}
	return NULL;
}

EVERYWHERE(pool, lets_no_thread_starve_another_one)
{
	for (unsigned workers = 1; workers < 3; workers++) {
		struct flood f = { .pool = pool_with(POOL(.workers = workers)) };
		pthread_t thread = start_thread(submit_for_ever, &f);

		for (int i = 0; i < 20; i++)
			expect(submit(f.pool, give, ARG(i)), 0, ARG(i));
		atomic_store(&f.stop, 1);
		join_thread(thread);
		torc_executor_destroy(f.pool);
		check_eq(f.waiting, 0);
	}
}

static int submit_itself(void *arg, void **ret_value)
{
	struct flood *f = arg;

	(void)ret_value;
	if (atomic_load(&f->stop))
		return 0;
	return torc_submit(f->pool, submit_itself, f, NULL);
}

EVERYWHERE(pool, lets_no_task_that_submits_itself_starve_others)
{
	for (unsigned workers = 1; workers < 3; workers++) {
		struct flood f = { .pool = pool_with(POOL(.workers = workers)) };

		for (unsigned i = 0; i < workers; i++)
			check_eq(torc_submit(f.pool, submit_itself, &f, NULL), 0);
		for (int i = 0; i < 20; i++)
			expect(submit(f.pool, give, ARG(i)), 0, ARG(i));
		atomic_store(&f.stop, 1);
		torc_executor_destroy(f.pool);
	}
}

struct family {
	struct torc_executor *pool;
	struct notes notes;
	struct numbered children[20];
	struct torc_future *futures[20];
	struct gate gate;
};

static int submit_children(void *arg, void **ret_value)
{
	struct family *f = arg;

	(void)ret_value;
	for (int i = 0; i < 20; i++) {
		f->children[i] = (struct numbered){ .notes = &f->notes, .number = i };
		f->futures[i] = submit(f->pool, note_number, &f->children[i]);
	}
	return 0;
}

EVERYWHERE(pool, runs_what_a_task_submits_the_latest_first)
{
	struct family f = { .pool = pool_with(POOL(.workers = 1)) };

	expect(submit(f.pool, submit_children, &f), 0, NULL);
	torc_executor_destroy(f.pool);
	check_eq(f.notes.count, 20);
	for (int i = 0; i < 20; i++)
		check_eq(f.notes.seen[i], 19 - i);
	put_all(f.futures, 20);
}

static int submit_and_block(void *arg, void **ret_value)
{
	struct family *f = arg;

	(void)submit_children(arg, ret_value);
	/* this worker runs nothing else until all of them have been run */
	while (atomic_load(&f->notes.count) < 20)
		sched_yield();
	return 0;
}

EVERYWHERE(pool, has_idle_workers_steal_from_busy_ones)
{
	struct family f = { .pool = pool_with(POOL(.workers = 2)) };
	struct torc_pool_stats stats;

	expect(submit(f.pool, submit_and_block, &f), 0, NULL);
	put_all(f.futures, 20);
	check_eq(torc_executor_shutdown(f.pool, 0), 0);
	torc_pool_stats(f.pool, &stats);
	check_ge(stats.stolen, 1);
	check_le(stats.stolen, 20);
	check_eq(stats.tasks, 21);
	torc_executor_destroy(f.pool);
}

EVERYWHERE(pool, counts_what_it_does)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 2));
	struct torc_pool_stats stats;
	struct torc_future *fs[5];
	struct gate g;

	gate_init(&g);
	do /* they come to rest */
		torc_pool_stats(pool, &stats);
	while ((stats.idle != 2 || stats.parks < 2) && sched_yield() == 0);
	check_eq(stats.workers, 2);
	check_eq(stats.queued, 0);
	check_eq(stats.tasks, 0);
	check_eq(stats.stolen, 0);
	for (int i = 0; i < 5; i++)
		fs[i] = submit(pool, hold, &g);
	gate_wait(&g, 2);
	torc_pool_stats(pool, &stats);
	check_eq(stats.idle, 0);
	check_le(stats.queued, 3); /* a worker may have taken several */
	check_ge(stats.wakes, 1);
	gate_open(&g, 5);
	for (int i = 0; i < 5; i++)
		expect(fs[i], 0, ARG(ANSWER));
	check_eq(torc_executor_shutdown(pool, 0), 0);
	torc_pool_stats(pool, &stats);
	check_eq(stats.tasks, 5);
	check_eq(stats.queued, 0);
	torc_executor_destroy(pool);
	gate_done(&g);
}

/* --- generators in tasks --- */

struct narrow {
	struct torc_executor *pool;
	struct torc_future *promise;
	struct later later;
	atomic_int wide; /* tasks that have run */
};

/* More than a generator's stack. */
static int use_much_stack(void *arg, void **ret_value)
{
	struct narrow *n = arg;
	volatile char much[65536];

	(void)ret_value;
	for (size_t i = 0; i < sizeof(much); i += 512)
		much[i] = 1;
	n->wide += much[0];
	return 0;
}

static void keep_promise(void *arg)
{
	struct narrow *n = arg;

	check_eq(torc_future_set(n->promise, n), 0);
}

static int wait_in_body(struct torc_gen *g, void *arg)
{
	struct narrow *n = arg;

	later(&n->later, keep_promise, n);
	check_eq(torc_await(n->promise, NULL), 0);
	later_is_over(&n->later);
	check_eq(n->wide, 0);
	return torc_gen_yield(g, n, NULL);
}

static int resume_generator(void *arg, void **ret_value)
{
	struct narrow *n = arg;
	struct torc_gen *g;
	void *value;

	for (int i = 0; i < 3; i++) /* behind this one, for want of another worker */
		check_eq(torc_submit(n->pool, give, NULL, NULL), 0);
	check_eq(torc_gen_create(wait_in_body, n, NULL, &g), 0);
	check_eq(torc_gen_next(g, &value), 1);
	check(value == n);
	torc_gen_destroy(g);
	*ret_value = n;
	return 0;
}

/* What waits in the queue would not fit there. */
EVERYWHERE(pool, helps_nobody_on_the_stack_of_a_generator)
{
	struct narrow n = { .pool = pool_with(POOL(.workers = 1)) };
	struct torc_future *f;
	struct gate g;

	gate_init(&g);
	check_eq(torc_future_create(&n.promise), 0);
	f = submit_held(n.pool, &g);
	torc_future_put(f);
	f = submit(n.pool, resume_generator, &n);
	for (int i = 0; i < 5; i++)
		check_eq(torc_submit(n.pool, use_much_stack, &n, NULL), 0);
	gate_open(&g, 1);
	expect(f, 0, &n);
	torc_executor_destroy(n.pool);
	check_eq(n.wide, 5);
	torc_future_put(n.promise);
	gate_done(&g);
}

/* --- tasks that wait for tasks --- */

struct nest {
	struct torc_executor *pool;
	int depth;
};

static int go_deeper(void *arg, void **ret_value)
{
	struct nest *n = arg, inner = { n->pool, n->depth - 1 };
	struct torc_future *f;
	void *value;
	int r;

	if (!n->depth)
		return 0;
	r = torc_submit(n->pool, go_deeper, &inner, &f);
	if (r < 0)
		return r;
	r = torc_await(f, &value);
	torc_future_put(f);
	*ret_value = ARG(VALUE(value) + 1);
	return r;
}

/* In Python that is a deadlock, as its documentation says. */
EVERYWHERE(pool, has_a_single_worker_run_what_it_waits_for)
{
	for (unsigned workers = 1; workers < 3; workers++) {
		struct nest n = { pool_with(POOL(.workers = workers)), 100 };

		expect(submit(n.pool, go_deeper, &n), 0, ARG(100));
		torc_executor_destroy(n.pool);
	}
}

struct fib {
	struct torc_executor *pool;
	int n;
};

static int fib(void *arg, void **ret_value)
{
	struct fib *f = arg, parts[] = { { f->pool, f->n - 1 }, { f->pool, f->n - 2 } };
	struct torc_future *futures[2];
	void *values[2], *args[] = { &parts[0], &parts[1] };
	int r;

	if (f->n < 2) {
		*ret_value = ARG(f->n);
		return 0;
	}
	r = torc_submit_many(f->pool, fib, args, 2, futures);
	if (r < 0)
		return r;
	r = torc_await_all(futures, 2, values);
	put_all(futures, 2);
	*ret_value = ARG(VALUE(values[0]) + VALUE(values[1]));
	return r;
}

EVERYWHERE(pool, has_tasks_that_divide_and_wait_for_all_parts)
{
	for (unsigned workers = 1; workers <= 3; workers++) {
		struct fib f = { pool_with(POOL(.workers = workers)), 12 };

		expect(submit(f.pool, fib, &f), 0, ARG(144));
		torc_executor_destroy(f.pool);
	}
}

static int complete_arg(void *arg, void **ret_value)
{
	(void)ret_value;
	return torc_future_set(arg, ARG(ANSWER));
}

static int await_promise(void *arg, void **ret_value)
{
	return torc_await(arg, ret_value);
}

/* The task that completes it waits behind the one that awaits it. */
EVERYWHERE(pool, runs_other_tasks_while_one_waits_for_a_promise)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 1));
	struct torc_future *p = promise(), *waits = submit(pool, await_promise, p),
			   *sets = submit(pool, complete_arg, p);

	expect(waits, 0, ARG(ANSWER));
	expect(sets, 0, NULL);
	torc_future_put(p);
	torc_executor_destroy(pool);
}

EVERYWHERE(pool, wakes_a_worker_that_waits_when_a_promise_is_set_outside)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 1));
	struct torc_future *p = promise(), *waits = submit(pool, await_promise, p);

	/* it has begun, and found nothing else to do */
	while (torc_future_state(waits) != TORC_RUNNING)
		sched_yield();
	check_eq(torc_await_until(waits, SOON, NULL), -ETIMEDOUT);
	check_eq(torc_future_set(p, ARG(ANSWER)), 0);
	expect(waits, 0, ARG(ANSWER));
	torc_future_put(p);
	torc_executor_destroy(pool);
}

EVERYWHERE(pool, wakes_a_worker_that_waits_when_there_is_work)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 1));
	struct torc_future *p = promise(), *waits = submit(pool, await_promise, p);

	while (torc_future_state(waits) != TORC_RUNNING)
		sched_yield();
	check_eq(torc_await_until(waits, SOON, NULL), -ETIMEDOUT);
	expect(submit(pool, give, ARG(1)), 0, ARG(1));
	expect(submit(pool, complete_arg, p), 0, NULL);
	expect(waits, 0, ARG(ANSWER));
	torc_future_put(p);
	torc_executor_destroy(pool);
}

static int await_soon(void *arg, void **ret_value)
{
	struct torc_future *fs[] = { arg };

	check_eq(torc_wait(fs, 1, TORC_ALL_COMPLETED, SOON), 0);
	check_eq(torc_await_until(arg, 0, NULL), -ETIMEDOUT);
	return torc_await_until(arg, SOON, ret_value);
}

EVERYWHERE(pool, has_tasks_that_wait_until_a_deadline)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 1));
	struct torc_future *p = promise();

	expect(submit(pool, await_soon, p), -ETIMEDOUT, NULL);
	torc_future_put(p);
	torc_executor_destroy(pool);
}

struct pair {
	struct torc_future *futures[2];
	struct gate gate;
	int result;
};

static int await_own(void *arg, void **ret_value)
{
	struct pair *p = arg;

	pass_gate(&p->gate);
	return torc_await(p->futures[0], ret_value);
}

EVERYWHERE(pool, tells_a_task_that_waits_for_itself)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 1));
	struct pair p = { .result = 0 };

	gate_init(&p.gate);
	p.futures[0] = submit(pool, await_own, &p);
	gate_open(&p.gate, 1);
	expect(p.futures[0], -EDEADLK, NULL);
	torc_executor_destroy(pool);
	gate_done(&p.gate);
}

static int await_second(void *arg, void **ret_value)
{
	struct pair *p = arg;

	pass_gate(&p->gate);
	return torc_await(p->futures[1], ret_value);
}

static int await_first(void *arg, void **ret_value)
{
	struct pair *p = arg;

	(void)ret_value;
	p->result = torc_await(p->futures[0], NULL);
	return 0;
}

/* The second runs on top of the first, which cannot go on before it has returned. */
EVERYWHERE(pool, tells_a_task_that_waits_for_one_below_it)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 1));
	struct pair p = { .result = 0 };

	gate_init(&p.gate);
	p.futures[0] = submit(pool, await_second, &p);
	p.futures[1] = submit(pool, await_first, &p);
	gate_open(&p.gate, 1);
	check_eq(torc_await(p.futures[0], NULL), 0);
	check_eq(p.result, -EDEADLK);
	put_all(p.futures, 2);
	torc_executor_destroy(pool);
	gate_done(&p.gate);
}

static int map_inside(void *arg, size_t begin, size_t end)
{
	atomic_fetch_add((atomic_int *)arg, (int)(end - begin));
	return 0;
}

struct shared {
	struct torc_executor *pool;
	atomic_int count;
};

static int run_inside(void *arg, void **ret_value)
{
	struct shared *s = arg;

	(void)ret_value;
	return torc_parallel_for(s->pool, 0, 100, 1, map_inside, &s->count);
}

EVERYWHERE(pool, has_tasks_that_share_their_work_with_it)
{
	for (unsigned workers = 1; workers < 3; workers++) {
		struct shared s = { .pool = pool_with(POOL(.workers = workers)) };

		expect(submit(s.pool, run_inside, &s), 0, NULL);
		check_eq(s.count, 100);
		torc_executor_destroy(s.pool);
	}
}

static int take_as_completed(void *arg, void **ret_value)
{
	struct torc_future *fs[5], *f;
	struct torc_completion c;
	intptr_t sum = 0;
	void *value;

	for (int i = 0; i < 5; i++)
		fs[i] = submit(arg, give, ARG(i));
	check_ge(torc_wait(fs, 5, TORC_FIRST_COMPLETED, TORC_NEVER), 1);
	check_eq(torc_as_completed(&c, fs, 5, TORC_NEVER), 0);
	for (int i = 0; i < 5; i++) {
		check_eq(torc_completion_next(&c, &f), 1);
		check_eq(torc_future_try(f, &value), 0);
		sum += VALUE(value);
	}
	check_eq(torc_completion_next(&c, &f), 0);
	torc_completion_done(&c);
	put_all(fs, 5);
	*ret_value = ARG(sum);
	return 0;
}

EVERYWHERE(pool, has_tasks_that_wait_for_one_of_several_after_the_other)
{
	for (unsigned workers = 1; workers < 4; workers++) {
		struct torc_executor *pool = pool_with(POOL(.workers = workers));

		expect(submit(pool, take_as_completed, pool), 0, ARG(10));
		torc_executor_destroy(pool);
	}
}

struct ping {
	struct torc_executor *pools[2];
	int depth;
};

static int ping(void *arg, void **ret_value)
{
	struct ping *p = arg, other = { { p->pools[1], p->pools[0] }, p->depth - 1 };
	struct torc_future *f;
	void *value;

	if (!p->depth)
		return 0;
	f = submit(other.pools[0], ping, &other);
	check_eq(torc_await(f, &value), 0);
	torc_future_put(f);
	*ret_value = ARG(VALUE(value) + 1);
	return 0;
}

EVERYWHERE(pool, may_wait_for_another_one_that_waits_for_it)
{
	struct torc_executor *a = pool_with(POOL(.workers = 1)), *b = pool_with(POOL(.workers = 1));
	struct ping p = { { a, b }, 20 };

	expect(submit(a, ping, &p), 0, ARG(20));
	torc_executor_destroy(a);
	torc_executor_destroy(b);
}

EVERYWHERE(pool, is_shut_down_while_a_task_waits)
{
	for (int destroys = 0; destroys < 2; destroys++) {
		struct torc_executor *pool = pool_with(POOL(.workers = 2));
		struct torc_future *p = promise(), *waits = submit(pool, await_promise, p);
		struct later l;

		while (torc_future_state(waits) != TORC_RUNNING)
			sched_yield();
		check_eq(torc_executor_shutdown(pool, TORC_NO_WAIT | TORC_CANCEL_PENDING), 0);
		check_eq(torc_future_state(waits), TORC_RUNNING);
		later(&l, set_answer, p);
		if (!destroys)
			check_eq(torc_executor_shutdown(pool, 0), 0);
		torc_executor_destroy(pool);
		later_is_over(&l);
		check_eq(torc_future_try(waits, NULL), 0);
		torc_future_put(waits);
		torc_future_put(p);
	}
}

static int submit_and_pass_gate(void *arg, void **ret_value)
{
	struct family *f = arg;

	(void)submit_children(arg, ret_value);
	pass_gate(&f->gate);
	return 0;
}

EVERYWHERE(pool, cancels_also_what_its_tasks_have_submitted)
{
	struct family f = { .pool = pool_with(POOL(.workers = 1)) };
	struct torc_future *parent;

	gate_init(&f.gate);
	parent = submit(f.pool, submit_and_pass_gate, &f);
	gate_wait(&f.gate, 1);
	check_eq(torc_executor_shutdown(f.pool, TORC_CANCEL_PENDING | TORC_NO_WAIT), 0);
	gate_open(&f.gate, 1);
	torc_executor_destroy(f.pool);
	for (int i = 0; i < 20; i++) {
		check_eq(torc_future_state(f.futures[i]), TORC_CANCELLED);
		torc_future_put(f.futures[i]);
	}
	check_eq(f.notes.count, 0);
	expect(parent, 0, NULL);
	gate_done(&f.gate);
}

/* --- fibers of a loop and a pool, each for the other --- */

static int go_round_trips(void *arg)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 2));

	(void)arg;
	for (int i = 0; i < 100; i++)
		expect(submit(pool, give, ARG(i)), 0, ARG(i));
	torc_executor_destroy(pool);
	return 0;
}

static int go_round_trips_on_all_loops(void *arg)
{
	struct torc_group g;

	torc_group_enter(&g);
	for (int loop = 0; loop < torc_loop_count(); loop++)
		check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(loop)), go_round_trips,
					       arg),
			 0);
	return torc_group_wait(&g);
}

Test(pool, wakes_fibers_whatever_the_kernel_lacks)
{
	static const char *const off[] = { "",
					   "membarrier",
					   "msg_ring",
					   "single_issuer",
					   "defer_taskrun",
					   "registered_ring",
					   "min_wait",
					   "membarrier,msg_ring,defer_taskrun,single_issuer" };

	for (size_t i = 0; i < COUNT(off); i++) {
		setenv("TORC_DISABLE", off[i], 1);
		for (int loops = 1; loops < 3; loops++)
			check_eq(run_with(OPTIONS(.loops = loops), go_round_trips_on_all_loops,
					  NULL),
				 0);
	}
	unsetenv("TORC_DISABLE");
}

static int set_from_fiber(void *arg)
{
	check_eq(torc_future_set(arg, ARG(ANSWER)), 0);
	return 0;
}

static int serve_each_other(void *arg)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 1));
	struct torc_future *p = promise(), *f = submit(pool, await_promise, p);
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, set_from_fiber, p), 0);
	expect(f, 0, ARG(ANSWER)); /* the fiber runs meanwhile */
	check_eq(torc_group_wait(&g), 0);
	torc_future_put(p);
	torc_executor_destroy(pool);
	return 0;
}

Test(pool, has_tasks_that_wait_for_fibers)
{
	run(serve_each_other, NULL);
}

static int yield_here(void *arg, void **ret_value)
{
	(void)arg, (void)ret_value;
	return torc_yield();
}

static int yield_in_task(void *arg)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 1));

	(void)arg;
	expect(submit(pool, yield_here, NULL), 0, NULL);
	return 0;
}

Test(pool, traps_when_a_task_does_what_only_a_fiber_can)
{
	struct died d = in_child(yield_in_task, NULL);

	check_trap(&d);
	d = run_in_child(NULL, yield_in_task, NULL);
	check_trap(&d);
}
