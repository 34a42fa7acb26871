/*
 * tests/core/calls.h - one table for every call that waits for another fiber: each row is a call, each column a
 * way in which the wait begins and ends. A row says how its object looks after that, so a cell also tests that
 * what did not happen left no trace, and that what was handed over is really there.
 */
#ifndef TESTS_CORE_CALLS_H
#define TESTS_CORE_CALLS_H

#include "tests/core/run.h"

#include <stdatomic.h>

#include <torc/core/chan.h>
#include <torc/core/sync.h>

/* What the rows use, zeroed for each cell. */
struct object {
	struct torc_mutex mutex;
	struct torc_cond cond;
	struct torc_rwlock rwlock;
	struct torc_sem sem;
	struct torc_event event;
	struct torc_latch latch;
	struct torc_barrier barrier;
	struct torc_once once;
	struct torc_chan chan, other;
	struct torc_group helpers;
	uint64_t sent, received;
	int calls, outcome;
};

/* Two parties: the waiter makes the call, its partner does the rest. */
struct call {
	const char *label;
	/* the partner: the call would have to wait from now on */
	void (*prepare)(struct object *o);
	/* the waiter: 0 for success. What it got was looked at, and given back */
	int (*call)(struct object *o);
	/* the partner: what ends the wait. false: nobody waits */
	bool (*complete)(struct object *o);
	/* the partner, when both have been: the object's state is right; then the end of it */
	void (*finish)(struct object *o, bool success);
	bool meets; /* nothing is left of a `complete` that comes first */
	bool knows; /* `complete` is true exactly when the call succeeds */
};

enum action {
	NOTHING,
	COMPLETE,
	CANCEL,
	LET_RUN,
};

struct column {
	const char *label;
	bool ready;     /* completed before the call */
	bool cancelled; /* and the scope, too */
	bool late;
	bool shield;
	bool deadline;          /* passes while it waits */
	enum action actions[4]; /* the partner's, without a turn between them */
	int expected;
};

static const struct column columns[] = {
	{ .label = "at once", .ready = true },
	{ .label = "after waiting", .actions = { COMPLETE } },
	{ .label = "cancelled scope", .cancelled = true, .expected = -ECANCELED },
	{ .label = "cancelled scope, ready",
	  .ready = true,
	  .cancelled = true,
	  .expected = -ECANCELED },
	{ .label = "late scope", .late = true, .expected = -ETIMEDOUT },
	{ .label = "late scope, ready", .ready = true, .late = true, .expected = -ETIMEDOUT },
	{ .label = "cancelled", .actions = { CANCEL }, .expected = -ECANCELED },
	{ .label = "cancelled twice", .actions = { CANCEL, CANCEL }, .expected = -ECANCELED },
	{ .label = "deadline", .deadline = true, .expected = -ETIMEDOUT },
	{ .label = "shielded", .shield = true, .actions = { CANCEL, LET_RUN, COMPLETE } },
	{ .label = "shielded, late", .shield = true, .deadline = true, .actions = { COMPLETE } },
	{ .label = "shielded, cancelled before",
	  .shield = true,
	  .cancelled = true,
	  .actions = { LET_RUN, COMPLETE } },
	{ .label = "completed, cancelled", .actions = { COMPLETE, CANCEL } },
	{ .label = "cancelled, completed",
	  .actions = { CANCEL, COMPLETE },
	  .expected = -ECANCELED },
};

#define WAITING 99

struct cell {
	const struct call *call;
	const struct column *column;
	struct object o;
	struct torc_scope scope;
	int result;
	bool switched;
};

/* Says which cell failed. */
#define check_cell(c, a, b)                                                                     \
	do {                                                                                    \
		if ((a) != (b)) {                                                               \
			fprintf(stderr, "%s:%d: %s, %s: %s is %lld, not %lld (disabled: %s)\n", \
				__FILE__, __LINE__, (c)->call->label,                           \
				(c)->column ? (c)->column->label : "race", #a, (long long)(a),  \
				(long long)(b), disabled());                                    \
			abort();                                                                \
		}                                                                               \
	} while (0)

static inline int wait_in_cell(void *arg)
{
	struct cell *c = arg;
	struct torc_scope shield;
	struct torc_stats before, after;

	torc_scope_enter(&c->scope, c->column->late ? 0 : TORC_NEVER);
	if (c->column->cancelled)
		torc_scope_cancel(&c->scope);
	if (c->column->shield)
		torc_scope_enter_shield(&shield, TORC_NEVER);
	torc_stats(&before);
	c->result = c->call->call(&c->o);
	torc_stats(&after);
	c->switched = after.switches != before.switches;
	if (c->column->shield)
		check_eq(torc_scope_leave(&shield), 0);
	torc_scope_leave(&c->scope);
	return 0;
}

static inline void act(struct cell *c, bool *completed)
{
	for (size_t i = 0; i < COUNT(c->column->actions); i++)
		switch (c->column->actions[i]) {
		case COMPLETE: *completed = c->call->complete(&c->o); break;
		case CANCEL: torc_scope_cancel(&c->scope); break;
		case LET_RUN:
			check_eq(torc_yield(), 0);
			check_eq(torc_yield(), 0);
			check_cell(c, c->result, WAITING);
			break;
		default: break;
		}
}

static inline void try_cell(const struct call *call, const struct column *column)
{
	struct cell c = { .call = call, .column = column, .result = WAITING };
	struct torc_group g;
	bool completed = false;

	call->prepare(&c.o);
	if (column->ready)
		completed = call->complete(&c.o);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, wait_in_cell, &c), 0);
	check_eq(torc_yield(), 0);
	if (column->deadline) {
		check_cell(&c, c.result, WAITING);
		torc_scope_set_deadline(&c.scope, torc_now_ns());
		check_eq(torc_sleep(TORC_MS(1)), 0);
	}
	act(&c, &completed);
	check_eq(torc_group_wait(&g), 0);
	check_cell(&c, c.result, column->expected);
	if (column->ready || column->late || (column->cancelled && !column->shield))
		check_cell(&c, c.switched, false);
	if (!completed)
		completed = call->complete(&c.o);
	if (call->knows)
		check_cell(&c, completed, c.result == 0);
	call->finish(&c.o, c.result == 0);
}

/* --- the partner on another loop --- */

static inline int call_elsewhere(void *arg)
{
	struct cell *c = arg;

	check_eq(torc_loop_index(), 1);
	c->result = c->call->call(&c->o);
	return 0;
}

static inline void try_elsewhere(const struct call *call)
{
	for (int ready = 0; ready <= !call->meets; ready++) {
		struct cell c = { .call = call, .result = WAITING };
		struct torc_group g;
		bool completed = false;

		call->prepare(&c.o);
		if (ready)
			completed = call->complete(&c.o);
		torc_group_enter(&g);
		check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(1)), call_elsewhere,
					       &c),
			 0);
		while (!completed) {
			completed = call->complete(&c.o);
			check_eq(torc_yield(), 0);
		}
		check_eq(torc_group_wait(&g), 0);
		check_cell(&c, c.result, 0);
		call->finish(&c.o, true);
	}
}

/* Both loops come here before they go on; then some time passes, or none. */
static inline void rendezvous(atomic_int *there, uint64_t *seed)
{
	atomic_fetch_add(there, 1);
	for (int i = 0; atomic_load(there) < 2; i++)
		if (i % 64 == 63)
			check_eq(torc_yield(), 0);
	for (uint32_t n = next_random(seed) % 400; n; n--)
		__asm__ volatile("");
}

struct race {
	struct cell cell; /* first */
	atomic_int there;
	uint64_t seed;
	bool deadline;
};

static inline int cancel_in_race(void *arg)
{
	struct race *race = arg;

	rendezvous(&race->there, &race->seed);
	if (race->cell.result == WAITING)
		torc_scope_cancel(&race->cell.scope);
	return 0;
}

static inline int wait_in_race(void *arg)
{
	struct race *race = arg;
	struct cell *c = &race->cell;
	struct torc_group g;

	torc_group_enter(&g);
	torc_scope_enter(&c->scope, TORC_NEVER);
	if (race->deadline) {
		rendezvous(&race->there, &race->seed);
		torc_scope_set_deadline(&c->scope,
					torc_now_ns() + next_random(&race->seed) % 20000);
	} else {
		check_eq(torc_group_spawn(&g, cancel_in_race, race), 0);
	}
	c->result = c->call->call(&c->o);
	torc_scope_leave(&c->scope);
	return torc_group_wait(&g);
}

static inline void try_race(const struct call *call, unsigned round)
{
	struct race race = { .cell = { .call = call, .result = WAITING },
			     .seed = round * 2654435761u + 1,
			     .deadline = round % 4 == 3 };
	struct cell *c = &race.cell;
	uint64_t seed = round;
	struct torc_group g;
	bool completed;

	call->prepare(&c->o);
	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(1)), wait_in_race, &race), 0);
	rendezvous(&race.there, &seed);
	completed = call->complete(&c->o);
	check_eq(torc_group_wait(&g), 0);
	check_cell(c, !c->result || c->result == (race.deadline ? -ETIMEDOUT : -ECANCELED), true);
	if (!completed)
		completed = call->complete(&c->o);
	if (call->knows)
		check_cell(c, completed, c->result == 0);
	call->finish(&c->o, c->result == 0);
}

/* --- all of it --- */

struct calls {
	const struct call *rows;
	size_t count;
};

static inline int try_calls_here(void *arg)
{
	const struct calls *t = arg;

	for (size_t i = 0; i < t->count; i++)
		for (size_t n = 0; n < COUNT(columns); n++)
			if (!columns[n].ready || !t->rows[i].meets)
				try_cell(&t->rows[i], &columns[n]);
	return 0;
}

static inline int try_calls_across(void *arg)
{
	const struct calls *t = arg;

	for (size_t i = 0; i < t->count; i++) {
		uint64_t end =
			torc_now_ns() + TORC_MS(60); /* where other programs want the cores too */

		try_elsewhere(&t->rows[i]);
		for (unsigned round = 0; round < 200 && torc_now_ns() < end; round++)
			try_race(&t->rows[i], round);
	}
	return 0;
}

static inline void try_calls(int loops, torc_fn *fn, const struct call *rows, size_t count)
{
	struct calls t = { rows, count };

	run_both_guards(OPTIONS(.loops = loops), fn, &t);
}

#define TEST_CALLS(suite, rows)                                    \
	Test(suite, every_way_in_which_a_wait_can_end)             \
	{                                                          \
		try_calls(1, try_calls_here, rows, COUNT(rows));   \
	}                                                          \
	Test(suite, every_way_with_the_partner_on_another_loop)    \
	{                                                          \
		try_calls(2, try_calls_across, rows, COUNT(rows)); \
	}                                                          \
	_Static_assert(COUNT(rows) > 0, "")

/* --- lines of fibers --- */

/* Who came in which order. */
struct order {
	int seen[256];
	int count;
};

static inline void note(struct order *order, int who)
{
	check_lt(order->count, (int)COUNT(order->seen));
	order->seen[order->count++] = who;
}

#endif
