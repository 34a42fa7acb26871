/*
 * tests/sim/tree.h - random trees of groups, held to the laws of structured concurrency. Beyond those that
 * tests/core/tree.h has on the kernel: fibers that no memory was left to start, tasks, gather and race, detached ones.
 *
 *	1  no fiber outlives its group: when that is left, each has ended, or was never started for want of memory
 *	2  the wait of a group returns its first failure; a supervised one's none
 *	3  each recorded failure is that of one fiber of that group
 *	4  in a cancelled scope every call fails in the same way until it is left, and says why, always the same
 *	5  behind a shield calls work until its deadline, then fail
 *	6  a fiber's result is told once by torc_group_next, and by each join
 *	7  never do more fibers of a limited group run than it allows
 *	8  what gather and race return is what became of their calls, which have all ended
 *	9  detached fibers end with the runtime
 *	10 who is stopped ends though nothing else would end it: by a task, a failed brother, a race, a moved deadline
 */
#ifndef TESTS_SIM_TREE_H
#define TESTS_SIM_TREE_H

#include <torc/core/gather.h>

#include "tests/sim/sim.h"

#define TREE_FIBERS   40
#define TREE_FAILURES 6
#define TREE_CALLS    3
#define TREE_UNITS    2

enum tree_state {
	TREE_FREE,
	TREE_SPAWNED, /* at the end: never started, for want of memory */
	TREE_STARTED,
	TREE_ENDED,
};

struct tree;

/* On its owner's stack. */
struct tree_group {
	struct torc_group group;
	struct torc_failure failures[TREE_FAILURES];
	struct tree_group *outer;
	int id; /* its memory may be another group's later */
	int limit;
	bool supervisor;
	atomic_int spawned, ended, failed, running;
};

struct tree_fiber {
	struct torc_task task;
	struct tree *tree;
	struct tree_group *in;
	int group_id;
	int depth;
	bool has_task, told;
	atomic_int state;
	int result;
};

struct tree {
	struct torc_sem sem;
	atomic_int taken;   /* of fibers */
	atomic_int groups;  /* so far */
	atomic_int results; /* so far: each fiber has one of its own */
	atomic_int calls;   /* of gather and race that run */
	struct tree_fiber fibers[TREE_FIBERS];
};

/* They end after the first fiber has returned: the next run in this process looks. */
static atomic_int tree_detached;

static int tree_main(void *arg);

/* Law 4. */
static int tree_check_scope(void)
{
	int status = torc_scope_status();
	const char *reason;

	if (!status)
		return 0;
	reason = torc_scope_reason();
	check(is_stop(status));
	check(reason != NULL);
	check_eq(torc_scope_limit(), 0);
	check_eq(torc_sleep(TORC_NEVER), status);
	check_eq(do_nop(), status);
	check_eq(torc_yield(), status);
	check_eq(torc_scope_status(), status);
	check(torc_scope_reason() == reason);
	return status;
}

static void tree_pause(void)
{
	do_something();
	tree_check_scope();
}

/* A result of nobody else's: a failure, or not. */
static int tree_result(struct tree *t, bool failure)
{
	int n = 1000 + t->results++;

	return failure ? -n : n;
}

/* --- spawning --- */

/* Returns NULL when there are enough, or it could not be started. */
static struct tree_fiber *tree_spawn(struct tree_fiber *f, struct tree_group *into, bool with_task)
{
	struct torc_spawn_options o = { .name = "tree",
					.loop = some_loop(),
					.stack_bytes = some_stack() };
	int index = f->tree->taken++, r;
	struct tree_fiber *child;

	if (index >= TREE_FIBERS)
		return NULL;
	child = &f->tree->fibers[index];
	child->tree = f->tree;
	child->in = into;
	child->group_id = into->id;
	child->depth = f->depth - 1;
	child->has_task = with_task;
	child->state = TREE_SPAWNED;
	if (with_task)
		o.task = &child->task;
	into->spawned++;
	r = torc_group_spawn_with(&into->group, &o, tree_main, child);
	if (r == 0)
		return child;
	check(r == -ENOMEM || (into->limit && is_stop(r)));
	child->state = TREE_FREE;
	into->spawned--;
	return NULL;
}

/* Into a group around this fiber, whichever loop it is on. A limited one may have no place: not for ever. */
static void tree_spawn_outward(struct tree_fiber *f)
{
	struct tree_group *g = f->in;

	while (g->outer && one_in(2))
		g = g->outer;
	torc_within(TORC_MS(1)) tree_spawn(f, g, false);
}

/* --- tasks --- */

static int tree_result_of(const struct tree_fiber *f)
{
	return f->state == TREE_ENDED ? f->result : -ENOMEM;
}

static void tree_join(struct tree_fiber *child)
{
	int r = torc_task_join(&child->task);

	/* The scope's status may be the child's result as well. */
	if (r != torc_scope_status())
		check_eq(r, tree_result_of(child));
}

/* Law 6. */
static void tree_collect(struct tree_fiber *f, struct tree_group *g)
{
	struct torc_task *task;
	struct tree_fiber *child;
	int r;

	while ((r = torc_group_next(&g->group, &task)) > 0) {
		child = container_of(task, struct tree_fiber, task);
		check_eq(child->group_id, g->id);
		check(child->has_task && !child->told);
		child->told = true;
		check_eq(torc_task_join(task), tree_result_of(child));
	}
	if (stop_or_done(r) < 0)
		return;
	for (child = f->tree->fibers; child < f->tree->fibers + TREE_FIBERS; child++)
		if (child->state != TREE_FREE && child->group_id == g->id)
			check(child->told == child->has_task);
}

/* --- the end of a group --- */

/* Laws 1 and 6. Returns how many were never started. */
static int tree_check_children(struct tree *t, const struct tree_group *g)
{
	int lost = 0;

	for (struct tree_fiber *c = t->fibers; c < t->fibers + TREE_FIBERS; c++) {
		if (c->state == TREE_FREE || c->group_id != g->id)
			continue;
		check(c->state != TREE_STARTED);
		lost += c->state == TREE_SPAWNED;
		if (c->has_task)
			check_eq(torc_task_join(&c->task), tree_result_of(c));
	}
	check_eq(g->ended + lost, g->spawned);
	check_eq(g->running, 0);
	return lost;
}

/* Law 3. On one loop they end in the order in which they return. */
static void tree_check_failures(const struct tree_group *g, int count)
{
	int before = 0;

	for (int i = 0; i < count && i < TREE_FAILURES; i++) {
		const struct torc_failure *failure = &g->failures[i];
		const struct tree_fiber *c = failure->arg;

		check(failure->fn == tree_main && failure->spawn_site);
		check_eq(c->group_id, g->id);
		check_eq(failure->result, tree_result_of(c));
		for (int k = 0; k < i; k++)
			check(g->failures[k].arg != c);
		if (torc_loop_count() == 1 && c->state == TREE_ENDED) {
			check_lt(c->result, before);
			before = c->result;
		}
	}
}

/* Law 2. */
static void tree_leave(struct tree *t, struct tree_group *g)
{
	int r = torc_group_wait(&g->group), failed = g->failed + tree_check_children(t, g);

	check_eq(torc_group_failure_count(&g->group), failed);
	if (failed && !g->supervisor)
		check(torc_scope_cause(&g->group.scope) != 0);
	tree_check_failures(g, failed);
	if (!g->supervisor && failed) {
		check_eq(r, g->failures[0].result);
		return;
	}
	check(r == 0 || is_stop(r));
	if (r == -ECANCELED)
		check(torc_scope_status() != 0);
	if (r == -ETIMEDOUT && torc_scope_cause(&g->group.scope) == 0)
		check(torc_scope_status() != 0);
}

static void tree_enter(struct tree *t, struct tree_group *g)
{
	g->id = ++t->groups;
	torc_group_enter_with(&g->group,
			      &(struct torc_group_options){ .supervisor = g->supervisor,
							    .limit = (uint32_t)g->limit });
	torc_group_record_failures(&g->group, g->failures, TREE_FAILURES);
}

static void tree_group(struct tree_fiber *f)
{
	struct tree_group g = { .outer = f->in, .supervisor = one_in(3) };
	struct tree_fiber *child = NULL;
	unsigned n = 1 + dice(4);

	g.limit = one_in(3) ? 1 + (int)dice(3) : 0;
	tree_enter(f->tree, &g);
	if (one_in(4))
		torc_scope_set_deadline(&g.group.scope, torc_now_ns() + dice(500000));
	for (unsigned i = 0; i < n; i++) {
		struct tree_fiber *another = tree_spawn(f, &g, one_in(2));

		child = another && another->has_task ? another : child;
	}
	tree_pause();
	if (child && one_in(4))
		torc_task_cancel_with(&child->task, "the seed chose this one");
	if (child && one_in(4))
		tree_join(child);
	if (one_in(3))
		tree_collect(f, &g);
	if (one_in(4))
		torc_group_cancel(&g.group);
	tree_check_scope();
	tree_leave(f->tree, &g);
}

/* --- gather and race --- */

struct tree_call {
	struct tree *tree;
	bool started, ended;
	int result;
};

static int tree_call_main(void *arg)
{
	struct tree_call *c = arg;

	c->started = true;
	c->tree->calls++;
	if (one_in(8))
		stop_or_done(torc_sleep(TORC_NEVER));
	tree_pause();
	c->result = torc_scope_status();
	if (!c->result || one_in(3))
		c->result = tree_result(c->tree, one_in(3));
	c->tree->calls--;
	c->ended = true;
	return c->result;
}

/* Law 8. Returns how many failed. */
static int tree_check_calls(const struct torc_call *calls, const struct tree_call *own, size_t n,
			    int r)
{
	int failed = 0;

	for (size_t i = 0; i < n; i++) {
		check_eq(own[i].started, own[i].ended);
		if (own[i].ended)
			check_eq(calls[i].result, own[i].result);
		else
			check(calls[i].result == -ENOMEM || calls[i].result == -ECANCELED ||
			      calls[i].result == r);
		failed += calls[i].result < 0;
	}
	return failed;
}

/* Is it what became of one of the calls, or the caller's status? */
static void tree_check_outcome(const struct torc_call *calls, size_t n, int r)
{
	bool found = r == torc_scope_status() && r < 0;

	for (size_t i = 0; i < n; i++)
		found |= calls[i].result == r;
	check(found);
}

static void tree_gather(struct torc_call *calls, const struct tree_call *own, size_t n)
{
	int r = torc_gather(calls, n), failed = tree_check_calls(calls, own, n, r);

	check_eq(r == 0, failed == 0);
	if (r < 0)
		tree_check_outcome(calls, n, r);
}

static void tree_gather_all(struct torc_call *calls, const struct tree_call *own, size_t n)
{
	int r = torc_gather_all(calls, n), failed = tree_check_calls(calls, own, n, r);

	if (stop_or_done(r) >= 0)
		check_eq(r, failed);
}

static void tree_race(struct torc_call *calls, const struct tree_call *own, size_t n)
{
	enum torc_race_end end = one_in(2) ? TORC_FIRST_SUCCESS : TORC_FIRST_DONE;
	size_t winner = n;
	int r = torc_race(calls, n, end, &winner);

	tree_check_calls(calls, own, n, r);
	if (winner < n) {
		check_eq(calls[winner].result, r);
		check(r >= 0 || end == TORC_FIRST_DONE);
	} else {
		check(r < 0);
		tree_check_outcome(calls, n, r);
	}
}

static int tree_calls(void *arg)
{
	struct tree_fiber *f = arg;
	struct tree_call own[TREE_CALLS] = { { 0 } };
	struct torc_call calls[TREE_CALLS] = { { 0 } };
	size_t n = 1 + dice(TREE_CALLS);

	for (size_t i = 0; i < n; i++) {
		own[i].tree = f->tree;
		calls[i] = (struct torc_call){ .fn = tree_call_main,
					       .arg = &own[i],
					       .loop = some_loop() };
	}
	switch (dice(3)) {
	case 0: tree_gather(calls, own, n); break;
	case 1: tree_gather_all(calls, own, n); break;
	default: tree_race(calls, own, n);
	}
	return 4711;
}

/* --- without a deadline: law 10 --- */

static int tree_endless(void *arg)
{
	int r = torc_sleep(TORC_NEVER);

	(void)arg;
	check(is_stop(r));
	return r;
}

static int tree_failing(void *arg)
{
	(void)arg;
	do_something();
	return -EIO;
}

static int tree_succeeding(void *arg)
{
	(void)arg;
	do_something();
	return 1;
}

/* Returns whether it could be started. */
static bool tree_start(struct torc_group *g, torc_fn *fn, void *arg, struct torc_task *task)
{
	struct torc_spawn_options o = { .loop = some_loop(), .task = task };
	int r = torc_group_spawn_with(g, &o, fn, arg);

	check(r == 0 || r == -ENOMEM);
	return r == 0;
}

static void tree_stop_task(void)
{
	struct torc_task task;
	struct torc_group g;

	torc_group_enter_supervisor(&g);
	if (tree_start(&g, tree_endless, NULL, &task)) {
		do_something();
		torc_task_cancel(&task);
		check(torc_task_join(&task) < 0);
	}
	check_eq(torc_group_wait(&g), 0);
}

static void tree_stop_brother(void)
{
	struct torc_group g;

	torc_group_enter(&g);
	tree_start(&g, tree_endless, NULL, NULL);
	if (!tree_start(&g, tree_failing, NULL, NULL))
		torc_group_cancel(&g);
	(void)torc_group_wait(&g);
}

static void tree_collect_all(void)
{
	struct torc_task tasks[3], *ended;
	struct torc_group g;
	int started = 0;

	torc_group_enter_supervisor(&g);
	for (int i = 0; i < 3; i++)
		started += tree_start(&g, tree_succeeding, NULL, &tasks[i]);
	while (started-- > 0)
		check_eq(torc_group_next(&g, &ended), 1);
	check_eq(torc_group_next(&g, &ended), 0);
	check_eq(torc_group_wait(&g), 0);
}

static void tree_stop_losers(void)
{
	torc_fn *const quick = one_in(2) ? tree_succeeding : tree_failing;
	struct torc_call calls[] = {
		{ .fn = tree_endless, .loop = some_loop() },
		{ .fn = quick, .loop = some_loop() },
		{ .fn = tree_endless, .loop = some_loop() },
	};
	int r;

	if (quick == tree_failing && one_in(2))
		r = torc_gather(calls, COUNT(calls));
	else
		r = torc_race(calls, COUNT(calls), TORC_FIRST_DONE, NULL);
	check(r == -ENOMEM || r == (quick == tree_failing ? -EIO : 1));
}

static int tree_move_deadline(void *arg)
{
	do_something();
	torc_scope_set_deadline(arg, torc_now_ns() + dice(100000));
	return 0;
}

/* Of who is asleep already, by another fiber of its loop. */
static void tree_end_sleep(void)
{
	struct torc_group g;
	struct torc_scope s;

	torc_group_enter_supervisor(&g);
	torc_scope_enter(&s, TORC_NEVER);
	if (torc_group_spawn(&g, tree_move_deadline, &s) < 0)
		torc_scope_set_deadline(&s, 0);
	check_eq(torc_sleep(TORC_NEVER), -ETIMEDOUT);
	check_eq(torc_scope_leave(&s), -ETIMEDOUT);
	check_eq(torc_group_wait(&g), 0);
}

static void tree_without_end(void)
{
	struct torc_scope shield;

	torc_scope_enter_shield(&shield, TORC_NEVER);
	switch (dice(5)) {
	case 0: tree_stop_task(); break;
	case 1: tree_stop_brother(); break;
	case 2: tree_collect_all(); break;
	case 3: tree_stop_losers(); break;
	default: tree_end_sleep();
	}
	torc_scope_leave(&shield);
}

/* --- steps of a fiber --- */

/* Law 5. What is done in it may fail, but not because it is asked to stop. */
static void tree_shield(struct tree_fiber *f)
{
	uint64_t end = torc_now_ns() + dice(500000), limit;
	struct torc_scope s;

	torc_scope_enter_shield(&s, TORC_NEVER);
	check_eq(torc_scope_status(), 0);
	check(!is_stop(do_nop()));
	torc_scope_set_deadline(&s, end);
	limit = torc_scope_limit();
	check(limit == end || torc_now_ns() >= end);
	if (f->depth > 0 && one_in(4))
		tree_group(f);
	check_eq(torc_sleep(TORC_NEVER), -ETIMEDOUT);
	check_eq(tree_check_scope(), -ETIMEDOUT);
	check_ge(torc_now_ns(), end);
	check_eq(torc_scope_leave(&s), -ETIMEDOUT);
}

/* A scope that is cancelled or runs out. The first reason stays; what comes after it is as before. */
static void tree_scope(void)
{
	static const char because[] = "the seed says so";
	struct torc_scope s;
	const char *reason;
	int status;

	torc_scope_enter(&s, one_in(2) ? TORC_NEVER : some_time());
	tree_pause();
	if (one_in(2)) {
		status = torc_scope_status();
		reason = status ? torc_scope_reason() : because;
		torc_scope_cancel_with(&s, because);
		check_eq(torc_scope_status(), status ? status : -ECANCELED);
		check(torc_scope_reason() == reason);
		check(torc_scope_cause(&s) != 0);
	}
	tree_check_scope();
	torc_scope_leave(&s);
	tree_check_scope();
}

static void tree_take(struct tree_fiber *f)
{
	struct torc_sem *sem = &f->tree->sem;

	torc_within(some_time())
	{
		if (stop_or_done(torc_sem_acquire(sem, 1)) < 0)
			break;
		tree_pause();
		torc_sem_release(sem, 1);
	}
}

static int tree_detached_main(void *arg)
{
	(void)arg;
	do_something();
	if (one_in(2)) {
		check_eq(torc_sleep(TORC_NEVER), -ECANCELED);
		check(!strcmp(torc_scope_reason(), "the runtime shuts down"));
	}
	tree_check_scope();
	tree_detached--;
	return one_in(2) ? -EIO : 0;
}

static void tree_detach(void)
{
	int r;

	tree_detached++;
	r = torc_detach("detached", tree_detached_main, NULL);
	check(r == 0 || r == -ENOMEM);
	if (r < 0)
		tree_detached--;
}

static void tree_step(struct tree_fiber *f)
{
	switch (dice(13)) {
	case 0: tree_spawn_outward(f); break;
	case 1: tree_take(f); break;
	case 2: tree_shield(f); break;
	case 3: tree_scope(); break;
	case 4: check_eq(torc_timeout(some_time(), tree_calls, f), 4711); break;
	case 5: tree_detach(); break;
	case 6: stop_or_done(one_in(4) ? torc_sleep(TORC_NEVER) : 0); break;
	case 7: tree_pause(); break;
	case 8: tree_without_end(); break;
	default:
		if (f->depth > 0)
			tree_group(f);
	}
}

/* Law 7. */
static void tree_begin(struct tree_fiber *f)
{
	int running = ++f->in->running;

	check_eq(f->state, TREE_SPAWNED);
	f->state = TREE_STARTED;
	if (f->in->limit)
		check_le(running, f->in->limit);
}

static int tree_main(void *arg)
{
	struct tree_fiber *f = arg;
	struct tree_group *in = f->in;
	unsigned steps = 1 + dice(3);

	tree_begin(f);
	for (unsigned i = 0; i < steps; i++)
		tree_step(f);
	f->result = tree_check_scope();
	if (one_in(8)) {
		f->result = tree_result(f->tree, true);
		in->failed++;
	} else if (!f->result) {
		f->result = tree_result(f->tree, false);
	}
	f->state = TREE_ENDED;
	in->running--;
	in->ended++;
	return f->result;
}

/* Everything ends because its time is up, at the latest: who sleeps for ever is cancelled then. */
static int tree_scenario(void *arg)
{
	static struct tree tree;
	struct tree_group g = { .outer = NULL };
	struct tree_fiber self = { .tree = &tree, .in = &g, .depth = 4 };

	(void)arg;
	check_eq(tree_detached, 0);
	memset(&tree, 0, sizeof(tree));
	torc_sem_init(&tree.sem, TREE_UNITS);
	torc_within(TORC_MS(1) + dice(4000000))
	{
		tree_enter(&tree, &g);
		for (int i = 0; i < 3; i++)
			tree_spawn(&self, &g, false);
		if (one_in(2)) {
			do_sleep(dice(1000000));
			torc_group_cancel_with(&g.group, "the seed fells the tree");
		}
		tree_leave(&tree, &g);
	}
	check_eq(tree.calls, 0);
	check_eq(torc_sem_units(&tree.sem), TREE_UNITS);
	torc_sem_done(&tree.sem);
	return 0;
}

#endif
