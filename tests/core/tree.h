/*
 * tests/core/tree.h - random trees of groups, grown from a seed, that hold structured concurrency to its laws.
 *
 * Every fiber takes a few random steps: opens groups of every kind and spawns into them onto any loop, spawns into
 * the groups around it, cancels, sets deadlines, shields itself, takes tokens, fails. The laws:
 *
 *	1  no fiber outlives its group: when a group is left, as many have ended as were spawned
 *	2  the wait of a group returns its first failure; a supervised one's none
 *	3  in a cancelled scope every call fails in the same way until it is left, and says why
 *	4  effects are never lost: a token that was taken from the kernel, or a semaphore, is told
 *	5  as many failures are counted as fibers failed
 *	6  behind a shield calls work until its deadline, then fail
 */
#ifndef TESTS_CORE_TREE_H
#define TESTS_CORE_TREE_H

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <torc/core/gather.h>
#include <torc/core/group.h>
#include <torc/core/op.h>
#include <torc/core/run.h>
#include <torc/core/sync.h>
#include <torc/core/timeout.h>

#include "tests/support/check.h"

#define TREE_SEM_UNITS 3

struct tree {
	uint64_t seed;
	int loops;
	atomic_int left;     /* fibers that may still be started */
	atomic_int failures; /* so far: each fiber fails with a number of its own */
	atomic_long put, got;
	int token_fd; /* an eventfd that counts tokens */
	struct torc_sem sem;
};

/* A group, on its owner's stack. */
struct tree_group {
	struct torc_group group;
	struct tree_group *outer;
	bool supervisor;
	atomic_int spawned, ended, failed;
	atomic_int first; /* failure; exact on one loop */
};

struct tree_fiber {
	struct tree *tree;
	struct tree_group *in;
	uint64_t random;
	int depth;
};

static inline unsigned tree_random(struct tree_fiber *f, unsigned below)
{
	f->random = f->random * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(f->random >> 33) % below;
}

static int tree_main(void *arg);

/* --- operations --- */

static inline int tree_nop(void)
{
	struct torc_op op;
	struct io_uring_sqe *sqe;
	int r = torc_op_begin(&op, &sqe);

	if (r < 0)
		return r;
	io_uring_prep_nop(sqe);
	return torc_op_wait(&op);
}

static inline int tree_read_token(struct tree *t)
{
	uint64_t value;
	struct torc_op op;
	struct io_uring_sqe *sqe;
	int r = torc_op_begin(&op, &sqe);

	if (r < 0)
		return r;
	io_uring_prep_read(sqe, t->token_fd, &value, sizeof(value), 0);
	r = torc_op_wait(&op);
	if (r > 0)
		atomic_fetch_add(&t->got, 1);
	return r;
}

static inline void tree_put_token(struct tree *t)
{
	uint64_t one = 1;

	atomic_fetch_add(&t->put, 1);
	check_eq(write(t->token_fd, &one, sizeof(one)), sizeof(one));
}

/* Law 3. */
static inline int tree_check_scope(void)
{
	int status = torc_scope_status();

	if (!status)
		return 0;
	check(status == -ECANCELED || status == -ETIMEDOUT);
	check(torc_scope_reason() != NULL);
	check_eq(torc_scope_limit(), 0);
	check_eq(torc_sleep(TORC_NEVER), status);
	check_eq(tree_nop(), status);
	check_eq(torc_yield(), status);
	check_eq(torc_scope_status(), status);
	return status;
}

/* --- steps --- */

static inline void tree_pause(struct tree_fiber *f)
{
	switch (tree_random(f, 4)) {
	case 0: torc_yield(); break;
	case 1: torc_sleep(tree_random(f, 200000)); break;
	case 2: tree_nop(); break;
	default: break;
	}
	tree_check_scope();
}

static inline void tree_spawn(struct tree_fiber *f, struct tree_group *into, struct torc_task *task)
{
	struct tree *t = f->tree;
	struct tree_fiber *child;
	struct torc_spawn_options o = { .name = "tree", .task = task };
	unsigned where = tree_random(f, (unsigned)t->loops + 2);
	int r;

	if (atomic_fetch_sub(&t->left, 1) <= 0)
		return;
	o.loop = where == 0 ? 0 : where == 1 ? TORC_ON_LEAST_LOADED : TORC_ON_LOOP((int)where - 2);
	child = malloc(sizeof(*child));
	check(child != NULL);
	*child = (struct tree_fiber){ t, into, f->random ^ where << 20, f->depth - 1 };
	tree_random(f, 2);
	atomic_fetch_add(&into->spawned, 1);
	r = torc_group_spawn_with(&into->group, &o, tree_main, child);
	if (r < 0) {
		check(r == -ECANCELED || r == -ETIMEDOUT); /* in a limited one */
		atomic_fetch_sub(&into->spawned, 1);
		free(child);
	}
}

/* Laws 1, 2 and 5. */
static inline void tree_leave(struct tree_fiber *f, struct tree_group *g,
			      const struct torc_failure *failures)
{
	int r = torc_group_wait(&g->group), failed = atomic_load(&g->failed);

	check_eq(atomic_load(&g->spawned), atomic_load(&g->ended));
	check_eq(torc_group_failure_count(&g->group), failed);
	if (g->supervisor || !failed) {
		check(r == 0 || r == -ECANCELED || r == -ETIMEDOUT);
		return;
	}
	check_eq(r, failures[0].result);
	check(failures[0].fn == tree_main && failures[0].spawn_site);
	if (f->tree->loops == 1)
		check_eq(r, atomic_load(&g->first));
}

static inline void tree_group(struct tree_fiber *f)
{
	struct tree_group g = { .outer = f->in, .supervisor = tree_random(f, 3) == 0 };
	struct torc_failure failures[2];
	struct torc_task tasks[4], *ended;
	unsigned n = 1 + tree_random(f, 4);
	bool with_tasks = tree_random(f, 2);

	torc_group_enter_with(&g.group,
			      &(struct torc_group_options){
				      .supervisor = g.supervisor,
				      .limit = tree_random(f, 3) ? 0 : 1 + tree_random(f, 3) });
	torc_group_record_failures(&g.group, failures, 2);
	if (tree_random(f, 4) == 0)
		torc_scope_set_deadline(&g.group.scope, torc_now_ns() + tree_random(f, 500000));
	for (unsigned i = 0; i < n; i++) {
		tasks[i] = (struct torc_task){ .done = true };
		tree_spawn(f, &g, with_tasks ? &tasks[i] : NULL);
	}
	tree_pause(f);
	if (tree_random(f, 4) == 0)
		torc_task_cancel(&tasks[tree_random(f, n)]);
	if (tree_random(f, 3) == 0)
		while (torc_group_next(&g.group, &ended) > 0)
			;
	if (tree_random(f, 4) == 0)
		torc_group_cancel(&g.group);
	tree_check_scope();
	tree_leave(f, &g, failures);
}

/* Into a group around this fiber, whichever loop it is on. A limited one may have no place: not for ever. */
static inline void tree_spawn_outward(struct tree_fiber *f)
{
	struct tree_group *g = f->in;

	while (g->outer && tree_random(f, 2))
		g = g->outer;
	torc_within(TORC_MS(1)) tree_spawn(f, g, NULL);
}

static inline void tree_take(struct tree_fiber *f)
{
	struct tree *t = f->tree;
	struct torc_scope s;

	if (tree_random(f, 2))
		tree_put_token(t);
	torc_scope_enter(&s, tree_random(f, 300000));
	tree_read_token(t);
	if (torc_sem_acquire(&t->sem, 1) == 0) {
		tree_pause(f);
		torc_sem_release(&t->sem, 1);
	}
	tree_check_scope();
	torc_scope_leave(&s);
}

/* Law 6. */
static inline void tree_shield(struct tree_fiber *f)
{
	uint64_t end = torc_now_ns() + tree_random(f, 500000);
	struct torc_scope s;

	torc_scope_enter_shield(&s, TORC_NEVER);
	check_eq(tree_nop(), 0);
	check_eq(torc_scope_status(), 0);
	torc_scope_set_deadline(&s, end);
	check_eq(torc_sleep(TORC_NEVER), -ETIMEDOUT);
	check_eq(tree_check_scope(), -ETIMEDOUT);
	check_ge(torc_now_ns(), end);
	check_eq(torc_scope_leave(&s), -ETIMEDOUT);
}

/* A scope that is cancelled or runs out; what comes after it is as before. */
static inline void tree_scope(struct tree_fiber *f)
{
	struct torc_scope s;

	torc_scope_enter(&s, tree_random(f, 2) ? TORC_NEVER : tree_random(f, 300000));
	tree_pause(f);
	if (tree_random(f, 2))
		torc_scope_cancel_with(&s, "the seed says so");
	tree_check_scope();
	torc_scope_leave(&s);
	tree_check_scope();
}

static inline void tree_step(struct tree_fiber *f)
{
	switch (tree_random(f, 8)) {
	case 0: tree_spawn_outward(f); break;
	case 1: tree_take(f); break;
	case 2: tree_shield(f); break;
	case 3: tree_scope(f); break;
	case 4: tree_pause(f); break;
	default:
		if (f->depth > 0)
			tree_group(f);
	}
}

static int tree_main(void *arg)
{
	struct tree_fiber *f = arg;
	struct tree_group *in = f->in;
	unsigned steps = 1 + tree_random(f, 4);
	int r;

	for (unsigned i = 0; i < steps; i++)
		tree_step(f);
	r = tree_check_scope();
	if (tree_random(f, 8) == 0) {
		int none = 0;

		r = -1000 - atomic_fetch_add(&f->tree->failures, 1);
		atomic_compare_exchange_strong(&in->first, &none, r);
		atomic_fetch_add(&in->failed, 1);
	}
	free(f);
	atomic_fetch_add(&in->ended, 1);
	return r;
}

/* --- the root --- */

static int tree_root(void *arg)
{
	struct tree *t = arg;
	struct tree_group g = { .outer = NULL };
	struct torc_failure failures[2];
	struct tree_fiber self = { t, &g, t->seed, 6 };
	struct torc_scope s;

	torc_sem_init(&t->sem, TREE_SEM_UNITS);
	torc_scope_enter(&s, tree_random(&self, 2) ? TORC_NEVER : tree_random(&self, 10000000));
	torc_group_enter(&g.group);
	torc_group_record_failures(&g.group, failures, 2);
	for (int i = 0; i < 4; i++)
		tree_spawn(&self, &g, NULL);
	if (tree_random(&self, 2)) {
		torc_sleep(tree_random(&self, 3000000));
		torc_group_cancel(&g.group);
	}
	tree_leave(&self, &g, failures);
	torc_scope_leave(&s);
	/* law 4 */
	check_eq(torc_sem_units(&t->sem), TREE_SEM_UNITS);
	torc_sem_done(&t->sem);
	return 0;
}

static uint64_t tree_seed;

static void tree_tell_seed(int sig)
{
	(void)sig;
	dprintf(STDERR_FILENO, "in the tree of seed %llu\n", (unsigned long long)tree_seed);
}

/* A check that fails aborts: the seed is told then. */
static inline void tree_grow(int loops, uint64_t seed)
{
	struct tree t = { .seed = seed * 0x9e3779b97f4a7c15u, .loops = loops };
	uint64_t value;
	long left = 0;

	tree_seed = seed;
	signal(SIGABRT, tree_tell_seed);
	atomic_init(&t.left, 300);
	t.token_fd = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
	check(t.token_fd >= 0);
	check_eq(torc_run(&(struct torc_options){ .loops = loops }, tree_root, &t), 0);
	/* law 4 */
	for (left = atomic_load(&t.put) - atomic_load(&t.got); left > 0; left--)
		check_eq(read(t.token_fd, &value, sizeof(value)), sizeof(value));
	check_eq(left, 0);
	close(t.token_fd);
}

#endif
