/*
 * tests/sim/pool.h - executors, used by fibers of all loops. Threads are coroutines here, so which of them comes first is
 * the seed's choice wherever they sleep, start or end a task.
 *
 *	submit		a task runs once and then its future has its value, or it is cancelled and never runs
 *	many		all of a batch, or none; waits for all, the first, the first error
 *	tree		tasks that fork, submit and wait for each other
 *	chain		the steps of a chain run in their order, or end as the one before them
 *	range		all numbers once; all results in their place
 *	select		a future beside a channel
 *	promise		completed by another fiber, or cancelled
 *	offload		calls that block: begun and ended, or never begun
 *
 * At the end the pool is destroyed, with what is left in it: nothing is lost, and no thread stays behind.
 */
#ifndef TESTS_SIM_POOL_H
#define TESTS_SIM_POOL_H

#include <torc/core/chan.h>
#include <torc/executor/fork.h>
#include <torc/executor/map.h>
#include <torc/executor/offload.h>
#include <torc/executor/pool.h>
#include <torc/executor/wait.h>

#include "tests/sim/sim.h"

#define POOL_BATCH 5
#define POOL_RANGE 40

struct pool_world {
	struct torc_executor *pool, *elastic;
	bool refuses; /* its queue may be full, and then a submit fails */
	atomic_int submitted, ran, cancelled;
};

/* Of what needs memory, a place in a queue or a thread, and may be asked to stop. */
static int any_of_submit(const struct pool_world *w, int r)
{
	/* The elastic one has no thread when none can be started. */
	check(r >= 0 || r == -ENOMEM || is_stop(r) ||
	      (r == -EAGAIN && (w->refuses || !no_chaos(CHAOS(MEMORY)))));
	if (is_stop(r))
		check_eq(torc_scope_status(), r);
	return r;
}

static struct torc_executor *some_executor(struct pool_world *w)
{
	return one_in(3) && w->elastic ? w->elastic : w->pool;
}

/* A task of its own, in memory that lasts as long as its future may run. */
struct pool_task {
	struct pool_world *world;
	int begun, ended;
	int status;
};

static int pool_run(void *arg, void **ret_value)
{
	struct pool_task *t = arg;

	check_eq(t->begun++, 0);
	t->world->ran++;
	*ret_value = t;
	check_eq(t->ended++, 0);
	return t->status;
}

/* What a future that is over says of its task. Puts it. */
static void pool_settle(struct pool_task *t, struct torc_future *f)
{
	void *value = NULL;
	int r;

	check(torc_future_state(f) >= TORC_DONE);
	r = torc_future_try(f, &value);
	if (torc_future_state(f) == TORC_CANCELLED) {
		check_eq(r, -ECANCELED);
		check_eq(t->begun, 0);
		t->world->cancelled++;
	} else {
		check_eq(r, t->status);
		check_eq(t->ended, 1);
		check(r < 0 || value == t);
	}
	torc_future_put(f);
}

/* Whatever the scope says: its memory is ours. */
static void pool_wait_over(struct torc_future *f)
{
	struct torc_scope shield;
	int r;

	torc_scope_enter_shield(&shield, TORC_NEVER);
	r = torc_await(f, NULL);
	check(torc_future_state(f) >= TORC_DONE);
	check(r != -ETIMEDOUT);
	torc_scope_leave(&shield);
}

/* --- submit --- */

static void pool_submit(struct pool_world *w)
{
	struct pool_task t = { .world = w, .status = one_in(3) ? -EIO : 7 };
	struct torc_future *f;

	if (any_of_submit(w, torc_submit(some_executor(w), pool_run, &t, &f)) < 0)
		return;
	w->submitted++;
	do_something();
	if (one_in(4))
		torc_future_cancel(f);
	torc_within(some_time())
	{
		int r = torc_await(f, NULL);

		check(torc_future_state(f) >= TORC_DONE || is_stop(r));
	}
	pool_wait_over(f);
	pool_settle(&t, f);
}

/* --- many --- */

static void pool_many(struct pool_world *w)
{
	struct pool_task tasks[POOL_BATCH];
	void *args[POOL_BATCH];
	struct torc_future *futures[POOL_BATCH];
	enum torc_wait_mode mode = (enum torc_wait_mode)dice(3);
	struct torc_scope shield;
	int n;

	for (int i = 0; i < POOL_BATCH; i++) {
		tasks[i] = (struct pool_task){ .world = w, .status = one_in(5) ? -EIO : i };
		args[i] = &tasks[i];
	}
	/* When the rest is refused, tasks that have begun would use what is gone. */
	if (w->refuses)
		return;
	torc_scope_enter_shield(&shield, TORC_NEVER);
	n = torc_submit_many(w->pool, pool_run, args, POOL_BATCH, futures);
	torc_scope_leave(&shield);
	if (n == -ENOMEM)
		return;
	check_eq(n, 0);
	w->submitted += POOL_BATCH;
	torc_within(some_time())
	{
		n = torc_wait(futures, POOL_BATCH, mode, TORC_NEVER);
		check(n >= (mode == TORC_ALL_COMPLETED ? POOL_BATCH : 1) || n == -ENOMEM ||
		      is_stop(n));
	}
	if (one_in(3))
		torc_future_cancel(futures[dice(POOL_BATCH)]);
	for (int i = 0; i < POOL_BATCH; i++) {
		pool_wait_over(futures[i]);
		pool_settle(&tasks[i], futures[i]);
	}
}

/* --- tree --- */

struct pool_branch {
	struct pool_world *world;
	long leaves;
};

static int pool_grow(void *arg, void **ret_value)
{
	const struct pool_branch *b = arg;
	struct pool_branch left = { b->world, b->leaves / 2 },
			   right = { b->world, b->leaves - b->leaves / 2 };
	struct torc_future *f = NULL;
	struct torc_job job;
	void *x = NULL, *y = NULL;

	if (b->leaves < 2) {
		*ret_value = (void *)b->leaves;
		return 0;
	}
	if (b->leaves % 2 || torc_submit(b->world->pool, pool_grow, &left, &f) < 0)
		torc_fork(&job, pool_grow, &left);
	check_eq(pool_grow(&right, &x), 0);
	check_eq(f ? torc_await(f, &y) : torc_join(&job, &y), 0);
	torc_future_put(f);
	*ret_value = (void *)((long)x + (long)y);
	return 0;
}

static void pool_tree(struct pool_world *w)
{
	struct pool_branch root = { w, 1 + (long)dice(30) };
	struct torc_future *f;
	void *value = NULL;

	if (any_of_submit(w, torc_submit(w->pool, pool_grow, &root, &f)) < 0)
		return;
	pool_wait_over(f);
	check_eq(torc_future_try(f, &value), 0);
	check_eq((long)value, root.leaves);
	torc_future_put(f);
}

/* --- chain --- */

static int pool_step(void *value, void *arg, void **ret_value)
{
	struct pool_task *t = arg;

	t->begun++;
	*ret_value = (char *)value + 1;
	return t->status;
}

static void pool_chain(struct pool_world *w)
{
	static char base[8];
	struct torc_future *links[4];
	struct pool_task steps[4];
	int n = 0, r = torc_future_create(&links[0]);

	if (r < 0)
		return;
	for (n = 1; n < 4; n++) {
		steps[n] = (struct pool_task){ .world = w, .status = one_in(5) ? -EIO : 0 };
		if (torc_then(links[n - 1], one_in(3) ? NULL : w->pool, pool_step, &steps[n],
			      &links[n]) < 0)
			break;
	}
	if (one_in(4))
		torc_future_cancel(links[dice((unsigned)n)]);
	do_something();
	r = one_in(4) ? torc_future_fail(links[0], -EPROTO) : torc_future_set(links[0], base);
	check(r == 0 || r == -ECANCELED);
	for (int i = 0; i < n; i++) {
		void *value = NULL;

		pool_wait_over(links[i]);
		r = torc_future_try(links[i], &value);
		check(r < 0 || value == base + i);
		check(r == 0 || r == -EIO || r == -EPROTO || r == -ECANCELED || r == -ENOMEM);
		if (i && torc_future_try(links[i - 1], NULL) < 0)
			check_eq(steps[i].begun, 0);
	}
	for (int i = 0; i < n; i++)
		torc_future_put(links[i]);
}

/* --- range --- */

static int pool_count(void *arg, size_t begin, size_t end)
{
	int *seen = arg;

	for (size_t i = begin; i < end; i++)
		check_eq(seen[i]++, 0);
	return 0;
}

static int pool_double(void *arg, const void *item, void *ret_result)
{
	(void)arg;
	*(int *)ret_result = 2 * *(const int *)item;
	return 0;
}

static void pool_range(struct pool_world *w)
{
	int seen[POOL_RANGE] = { 0 }, items[POOL_RANGE], results[POOL_RANGE] = { 0 };
	struct torc_map map = { .fn = pool_double,
				.items = items,
				.item_bytes = sizeof(int),
				.results = results,
				.result_bytes = sizeof(int),
				.count = POOL_RANGE,
				.chunk = dice(8) };
	int r;

	for (int i = 0; i < POOL_RANGE; i++)
		items[i] = i;
	torc_within(some_time())
	{
		r = any_of_submit(w, torc_parallel_for(some_executor(w), 0, POOL_RANGE, dice(8),
						       pool_count, seen));
		for (int i = 0; i < POOL_RANGE; i++)
			check(seen[i] == 1 || (r < 0 && !seen[i]));
		if (any_of_submit(w, torc_map(some_executor(w), &map)) == 0)
			for (int i = 0; i < POOL_RANGE; i++)
				check_eq(results[i], 2 * i);
	}
}

/* --- select, promise --- */

struct pool_promise {
	struct torc_future *future;
	struct torc_chan chan;
};

static int pool_keep(void *arg)
{
	struct pool_promise *p = arg;
	int number = 5;

	do_something();
	if (one_in(2)) {
		check_eq(torc_chan_try_send(&p->chan, &number), 0);
	} else if (torc_future_start(p->future)) {
		check(!torc_future_cancel(p->future));
		do_something();
		check_eq(torc_future_set(p->future, p), 0);
	}
	/* One of the two has to come. */
	torc_chan_close(&p->chan);
	return 0;
}

static void pool_choose(struct pool_promise *p)
{
	int number = 0, r;
	struct torc_case cases[] = {
		{ .op = TORC_WAIT, .event = torc_future_event(p->future) },
		{ .op = TORC_RECV, .chan = &p->chan, .item = &number },
	};

	torc_within(some_time())
	{
		r = torc_select(cases, 2, TORC_NEVER);
		if (r == 0)
			check(torc_future_state(p->future) >= TORC_DONE);
		else if (r == 1)
			check_eq(number, cases[1].result ? 5 : 0);
		else
			check(is_stop(r));
	}
	if (one_in(3))
		torc_future_cancel(p->future);
}

static void pool_select(void)
{
	struct pool_promise p;
	struct torc_group g;

	if (torc_future_create(&p.future) < 0)
		return;
	if (torc_chan_init(&p.chan, sizeof(int), 1) == 0) {
		struct torc_spawn_options o = { .loop = some_loop() };

		torc_group_enter_supervisor(&g);
		if (any_of_spawn(torc_group_spawn_with(&g, &o, pool_keep, &p)) == 0)
			pool_choose(&p);
		torc_group_wait(&g);
		torc_chan_done(&p.chan);
	}
	torc_future_put(p.future);
}

static void pool_spawn(void)
{
	struct pool_world none = { .pool = NULL };
	struct pool_task t = { .world = &none, .status = 3 };
	struct torc_spawn_options o = { .loop = some_loop() };
	struct torc_future *f;
	struct torc_group g;
	int r;

	torc_group_enter_supervisor(&g);
	r = torc_future_spawn(&g, &o, pool_run, &t, &f);
	check(r >= 0 || r == -ENOMEM);
	if (one_in(4) && r == 0)
		torc_future_cancel(f);
	torc_group_wait(&g);
	if (r == 0 && torc_future_try(f, NULL) == -ENOMEM)
		torc_future_put(f);
	else if (r == 0)
		pool_settle(&t, f);
}

/* --- offload --- */

static int pool_call(void *arg)
{
	struct pool_task *t = arg;

	t->begun++;
	t->ended++;
	return 9;
}

static void pool_offload(struct pool_world *w)
{
	struct pool_task t = { .world = w };

	torc_within(some_time())
	{
		int r = torc_offload(pool_call, &t);

		check_eq(t.begun, t.ended);
		check(r == 9 || r == -ENOMEM || r == -EAGAIN || is_stop(r));
		check_eq(t.ended, r == 9);
	}
}

/* --- all of it --- */

static int pool_visit(void *arg)
{
	struct pool_world *w = arg;

	for (int i = 0; i < 3; i++) {
		switch (dice(9)) {
		case 0: pool_many(w); break;
		case 1: pool_tree(w); break;
		case 2: pool_chain(w); break;
		case 3: pool_range(w); break;
		case 4: pool_select(); break;
		case 5: pool_offload(w); break;
		case 6: pool_spawn(); break;
		default: pool_submit(w); break;
		}
		do_something();
	}
	return 0;
}

static int pool_initialize(void *arg, unsigned index)
{
	(void)arg;
	(void)index;
	return 0;
}

static int pool_open(struct pool_world *w)
{
	struct torc_pool_options o = { .workers = 1 + dice(3),
				       .queue_max = one_in(2) ? 1 + dice(3) : 0,
				       .when_full = one_in(3) ? TORC_FULL_FAIL : TORC_FULL_WAIT,
				       .initializer = pool_initialize };
	struct torc_elastic_options e = { .threads_max = 1 + dice(3), .idle_ns = 1 + dice(100000) };
	int r = torc_pool_create(&o, &w->pool);

	if (r < 0)
		return r;
	w->refuses = o.queue_max && o.when_full == TORC_FULL_FAIL;
	if (torc_elastic_create(&e, &w->elastic) < 0)
		w->elastic = NULL;
	return 0;
}

static int pool_scenario(void *arg)
{
	struct pool_world w = { .pool = NULL };
	struct torc_group g;
	int r = pool_open(&w);

	(void)arg;
	if (r < 0) {
		check(r == -ENOMEM || r == -EAGAIN);
		check(!no_chaos(CHAOS(MEMORY)));
		return 0;
	}
	torc_group_enter_supervisor(&g);
	for (unsigned i = 2 + dice(5); i; i--) {
		struct torc_spawn_options o = { .loop = some_loop() };

		any_of_spawn(torc_group_spawn_with(&g, &o, pool_visit, &w));
	}
	if (one_in(3)) {
		do_something();
		torc_group_cancel(&g);
	}
	torc_group_wait(&g);
	torc_executor_destroy(w.pool);
	torc_executor_destroy(w.elastic);
	return 0;
}

#endif
