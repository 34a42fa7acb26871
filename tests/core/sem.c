/*
 * Semaphore: units in the order of arrival, and none lost.
 */
#include "tests/core/calls.h"

TestSuite(sem, .timeout = 60);

/* --- the table --- */

static void start_short(struct object *o)
{
	torc_sem_init(&o->sem, 1);
}

static int acquire_three(struct object *o)
{
	return torc_sem_acquire(&o->sem, 3);
}

static bool release_two(struct object *o)
{
	torc_sem_release(&o->sem, 2);
	return true;
}

static void finish(struct object *o, bool success)
{
	check_eq(torc_sem_units(&o->sem), success ? 0 : 3);
	check_eq(torc_sem_try_acquire(&o->sem, 1), success ? -EAGAIN : 0);
	torc_sem_done(&o->sem);
}

static const struct call calls[] = {
	{ "sem_acquire", start_short, acquire_three, release_two, finish, .meets = false },
};

TEST_CALLS(sem, calls);

/* --- the line --- */

#define MOST 40

struct line {
	struct torc_sem sem;
	struct torc_scope *scopes[MOST];
	struct order served;
};

struct in_line {
	struct line *line;
	int who;
	uint32_t units;
	int result;
};

static int stand_in_line(void *arg)
{
	struct in_line *i = arg;
	struct torc_scope s;

	torc_scope_enter(&s, TORC_NEVER);
	i->line->scopes[i->who] = &s;
	i->result = torc_sem_acquire(&i->line->sem, i->units);
	if (!i->result)
		note(&i->line->served, i->who);
	torc_scope_leave(&s);
	return 0;
}

static void form_line(struct line *l, struct in_line *in, struct torc_group *g,
		      const uint32_t *units, int count)
{
	for (int i = 0; i < count; i++) {
		in[i] = (struct in_line){ l, i, units[i], WAITING };
		check_eq(torc_group_spawn(g, stand_in_line, &in[i]), 0);
	}
	check_eq(torc_yield(), 0);
}

static void expect_served(struct line *l, int count)
{
	check_eq(torc_yield(), 0);
	check_eq(l->served.count, count);
	for (int i = 0; i < count; i++)
		check_eq(l->served.seen[i], i);
}

static int serve_line(void *arg)
{
	static const uint32_t units[] = { 5, 1, 1, 2, 10, 1 };
	struct line l = { .served = { .count = 0 } };
	struct in_line in[MOST];
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	form_line(&l, in, &g, units, COUNT(units));
	torc_sem_release(&l.sem, 4);
	expect_served(&l, 0); /* the first wants five, and is not overtaken */
	check_eq(torc_sem_units(&l.sem), 4);
	check_eq(torc_sem_try_acquire(&l.sem, 1), -EAGAIN);
	torc_sem_release(&l.sem, 1);
	check_eq(torc_sem_units(&l.sem), 0); /* handed over before it runs */
	expect_served(&l, 1);
	torc_sem_release(&l.sem, 4);
	expect_served(&l, 4);
	torc_sem_release(&l.sem, 9);
	expect_served(&l, 4);
	torc_sem_release(&l.sem, 2);
	expect_served(&l, 6);
	check_eq(torc_sem_units(&l.sem), 0);
	check_eq(torc_group_wait(&g), 0);
	torc_sem_done(&l.sem);
	return 0;
}

Test(sem, many_units_are_not_overtaken_by_few)
{
	run(serve_line, NULL);
}

static int give_up(void *arg)
{
	static const uint32_t units[] = { 10, 1, 2, 10, 1 };
	struct line l = { .served = { .count = 0 } };
	struct in_line in[MOST];
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	form_line(&l, in, &g, units, COUNT(units));
	torc_sem_release(&l.sem, 4);
	torc_scope_cancel(l.scopes[0]);
	check_eq(torc_sem_units(&l.sem), 1); /* at once: the two behind it have theirs */
	check_eq(torc_yield(), 0);
	check_eq(in[0].result, -ECANCELED);
	check_eq(in[1].result, 0);
	check_eq(in[2].result, 0);
	check_eq(in[3].result, WAITING);
	torc_scope_set_deadline(l.scopes[3], torc_now_ns());
	check_eq(torc_group_wait(&g), 0);
	check_eq(in[3].result, -ETIMEDOUT);
	check_eq(in[4].result, 0);
	check_eq(torc_sem_units(&l.sem), 0);
	torc_sem_done(&l.sem);
	return 0;
}

Test(sem, who_gives_up_lets_those_behind_it_go)
{
	run(give_up, NULL);
}

static int order_of_many(void *arg)
{
	struct line l = { .served = { .count = 0 } };
	struct in_line in[MOST];
	uint32_t units[MOST], total = 0;
	struct torc_group g;
	uint64_t seed = 7;

	(void)arg;
	for (int i = 0; i < MOST; i++)
		total += units[i] = 1 + next_random(&seed) % 9;
	torc_group_enter(&g);
	form_line(&l, in, &g, units, MOST);
	for (uint32_t i = 0, given = 0, next = 0; i < total; i++) {
		torc_sem_release(&l.sem, 1);
		if (given + units[next] == i + 1)
			given += units[next++];
		expect_served(&l, (int)next);
	}
	check_eq(torc_group_wait(&g), 0);
	torc_sem_done(&l.sem);
	return 0;
}

Test(sem, is_served_in_the_order_of_arrival)
{
	run(order_of_many, NULL);
}

/* --- limits --- */

static int limits(void *arg)
{
	struct torc_sem s;

	(void)arg;
	torc_sem_init(&s, UINT32_MAX);
	check_eq(torc_sem_acquire(&s, UINT32_MAX), 0);
	check_eq(torc_sem_try_acquire(&s, 1), -EAGAIN);
	torc_sem_release(&s, UINT32_MAX);
	check_eq(torc_sem_units(&s), UINT32_MAX);
	check_eq(torc_sem_try_acquire(&s, UINT32_MAX), 0);
	torc_sem_done(&s);
	return 0;
}

Test(sem, counts_to_its_limit)
{
	run(limits, NULL);
}

/* --- across loops, and from a completion --- */

#define LOOPS  3
#define FIBERS 9
#define TURNS  500
#define UNITS  7u

struct pool {
	struct torc_sem sem;
	atomic_uint taken;
};

static int take_and_give(void *arg)
{
	struct pool *p = arg;

	for (uint32_t i = 0; i < TURNS; i++) {
		uint32_t n = 1 + i % UNITS;

		check_eq(torc_sem_acquire(&p->sem, n), 0);
		check_le(atomic_fetch_add(&p->taken, n) + n, UNITS);
		if (i % 16 == 0)
			check_eq(torc_yield(), 0);
		atomic_fetch_sub(&p->taken, n);
		torc_sem_release(&p->sem, n);
	}
	return 0;
}

static int use_pool(void *arg)
{
	struct pool p = { .taken = 0 };
	struct torc_group g;

	(void)arg;
	torc_sem_init(&p.sem, UNITS);
	torc_group_enter(&g);
	for (int i = 0; i < FIBERS; i++)
		check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(i % LOOPS)),
					       take_and_give, &p),
			 0);
	check_eq(torc_group_wait(&g), 0);
	check_eq(torc_sem_units(&p.sem), UNITS);
	torc_sem_done(&p.sem);
	return 0;
}

Test(sem, loses_no_unit_among_loops)
{
	run_both_guards(OPTIONS(.loops = LOOPS), use_pool, NULL);
}

static struct torc_sem completed;

static void count_completion(struct torc_op *op, int res, unsigned cqe_flags)
{
	(void)op, (void)cqe_flags;
	check_eq(res, 0);
	torc_sem_release(&completed, 1);
	check_eq(torc_sem_try_acquire(&completed, 99), -EAGAIN);
}

/* The completions come on loop 0, who waits is on loop 1. */
static int await_completions(void *arg)
{
	(void)arg;
	check_eq(torc_sem_acquire(&completed, 16), 0);
	return 0;
}

static int start_many(void *arg)
{
	static struct torc_op ops[16];
	struct torc_group g;

	(void)arg;
	torc_sem_init(&completed, 0);
	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(1)), await_completions, NULL),
		 0);
	for (int i = 0; i < 16; i++)
		io_uring_prep_nop(torc_op_start(&ops[i], count_completion));
	check_eq(torc_group_wait(&g), 0);
	torc_sem_done(&completed);
	return 0;
}

Test(sem, is_released_by_completions)
{
	check_eq(run_with(OPTIONS(.loops = 2), start_many, NULL), 0);
}

/* --- misuse --- */

static struct torc_sem shared;

static int release_too_many(void *arg)
{
	(void)arg;
	torc_sem_init(&shared, 1);
	torc_sem_release(&shared, UINT32_MAX);
	return 0;
}

static int acquire_shared(void *arg)
{
	(void)arg;
	return torc_sem_acquire(&shared, 1);
}

static int done_while_waiting(void *arg)
{
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, acquire_shared, NULL), 0);
	check_eq(torc_yield(), 0);
	torc_sem_done(&shared);
	return 0;
}

static int release_outside(void *arg)
{
	(void)arg;
	torc_sem_release(&shared, 1);
	return 0;
}

Test(sem, misuse_traps_with_a_message)
{
	expect_trap(release_too_many, "more units than it can count (fiber main");
	expect_trap(done_while_waiting, "a semaphore is done with while a fiber waits");
	expect_trap_outside(release_outside, "called outside of a loop");
}
