/*
 * Mutex and condition: who has it, in which order, and what a wait that was cut short leaves behind.
 */
#include "tests/core/calls.h"

TestSuite(mutex, .timeout = 60);

/* --- the table --- */

static void hold_mutex(struct object *o)
{
	check_eq(torc_mutex_lock(&o->mutex), 0);
}

static int lock_mutex(struct object *o)
{
	int r = torc_mutex_lock(&o->mutex);

	if (r)
		return r;
	check_eq(torc_mutex_try_lock(&o->mutex), -EBUSY);
	torc_mutex_unlock(&o->mutex); /* traps unless it is ours */
	return 0;
}

static bool release_mutex(struct object *o)
{
	torc_mutex_unlock(&o->mutex);
	return true;
}

static void finish_mutex(struct object *o, bool success)
{
	(void)success;
	check_eq(torc_mutex_try_lock(&o->mutex), 0);
	torc_mutex_unlock(&o->mutex);
	torc_mutex_done(&o->mutex);
}

static void start_cond(struct object *o)
{
	torc_mutex_init(&o->mutex);
	torc_cond_init(&o->cond);
}

/* Also in a scope that is cancelled. */
static void lock_shielded(struct torc_mutex *m)
{
	struct torc_scope shield;

	torc_scope_enter_shield(&shield, TORC_NEVER);
	check_eq(torc_mutex_lock(m), 0);
	check_eq(torc_scope_leave(&shield), 0);
}

static int wait_cond(struct object *o)
{
	int r;

	lock_shielded(&o->mutex);
	o->calls = 1;
	r = torc_cond_wait(&o->cond, &o->mutex);
	check_eq(torc_mutex_try_lock(&o->mutex), -EBUSY);
	o->calls = 0;
	torc_mutex_unlock(&o->mutex);
	return r;
}

static bool signal_cond(struct object *o)
{
	bool waits;

	check_eq(torc_mutex_lock(&o->mutex), 0);
	waits = o->calls;
	torc_cond_signal(&o->cond);
	torc_mutex_unlock(&o->mutex);
	return waits;
}

static bool broadcast_cond(struct object *o)
{
	bool waits;

	check_eq(torc_mutex_lock(&o->mutex), 0);
	waits = o->calls;
	torc_mutex_unlock(&o->mutex);
	torc_cond_broadcast(&o->cond); /* needs no mutex */
	return waits;
}

static void finish_cond(struct object *o, bool success)
{
	torc_cond_done(&o->cond);
	finish_mutex(o, success);
}

static const struct call calls[] = {
	{ "mutex_lock", hold_mutex, lock_mutex, release_mutex, finish_mutex, .knows = false },
	{ "cond_wait, signal", start_cond, wait_cond, signal_cond, finish_cond, .meets = true },
	{ "cond_wait, broadcast", start_cond, wait_cond, broadcast_cond, finish_cond,
	  .meets = true },
};

TEST_CALLS(mutex, calls);

/* --- order and hand-off --- */

#define LINE 60

struct line {
	struct torc_mutex mutex;
	struct torc_cond cond;
	struct order order;
	struct torc_scope *scopes[LINE];
	int broadcasts;
};

struct in_line {
	struct line *line;
	int who;
	int expected;
};

static int stand_in_line(void *arg)
{
	struct in_line *i = arg;
	struct torc_scope s;

	torc_scope_enter(&s, TORC_NEVER);
	i->line->scopes[i->who] = &s;
	check_eq(torc_mutex_lock(&i->line->mutex), i->expected);
	if (!i->expected) {
		note(&i->line->order, i->who);
		check_eq(torc_yield(), 0);
		torc_mutex_unlock(&i->line->mutex);
	}
	torc_scope_leave(&s);
	return 0;
}

/* Every third one gives up: the others still go in the order in which they came. */
static int serve_line(void *arg)
{
	static struct line line;
	static struct in_line in[LINE];
	struct torc_group g;
	int next = 0;

	(void)arg;
	check_eq(torc_mutex_lock(&line.mutex), 0);
	torc_group_enter(&g);
	for (int i = 0; i < LINE; i++) {
		in[i] = (struct in_line){ &line, i, i % 3 ? 0 : -ECANCELED };
		check_eq(torc_group_spawn(&g, stand_in_line, &in[i]), 0);
	}
	check_eq(torc_yield(), 0);
	for (int i = 0; i < LINE; i += 3)
		torc_scope_cancel(line.scopes[i]);
	torc_mutex_unlock(&line.mutex);
	check_eq(torc_mutex_try_lock(&line.mutex), -EBUSY); /* the first in line has it already */
	check_eq(torc_group_wait(&g), 0);
	for (int i = 0; i < LINE; i++)
		if (i % 3)
			check_eq(line.order.seen[next++], i);
	check_eq(line.order.count, next);
	torc_mutex_done(&line.mutex);
	return 0;
}

Test(mutex, is_handed_over_in_the_order_of_arrival)
{
	run(serve_line, NULL);
}

/* --- across loops --- */

#define LOOPS   3
#define FIBERS  9
#define ENOUGH  3000
#define UNKNOWN (-1)

struct contest {
	struct torc_mutex mutex;
	struct torc_barrier start;
	long total, turns[FIBERS]; /* under the mutex */
	int had, inside;
};

struct contestant {
	struct contest *contest;
	int who;
};

static int contend(void *arg)
{
	struct contestant *me = arg;
	struct contest *c = me->contest;
	bool done, first = true;

	check_ge(torc_barrier_wait(&c->start), 0);
	do {
		check_eq(torc_mutex_lock(&c->mutex), 0);
		check_eq(c->inside++, 0);
		if (first)
			c->had++;
		first = false;
		/* From here on all stand in line again and again. */
		if (c->had == FIBERS) {
			c->turns[me->who]++;
			c->total++;
		}
		done = c->total >= ENOUGH;
		if (c->total % 16 == 0)
			check_eq(torc_yield(), 0);
		check_eq(--c->inside, 0);
		torc_mutex_unlock(&c->mutex);
	} while (!done);
	return 0;
}

static int compete(void *arg)
{
	static struct contest c;
	struct contestant who[FIBERS];
	struct torc_group g;
	long least = ENOUGH, most = 0;

	(void)arg;
	c = (struct contest){ .total = 0 };
	torc_barrier_init(&c.start, FIBERS);
	torc_group_enter(&g);
	for (int i = 0; i < FIBERS; i++) {
		who[i] = (struct contestant){ &c, i };
		check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(i % LOOPS)), contend,
					       &who[i]),
			 0);
	}
	check_eq(torc_group_wait(&g), 0);
	for (int i = 0; i < FIBERS; i++) {
		least = c.turns[i] < least ? c.turns[i] : least;
		most = c.turns[i] > most ? c.turns[i] : most;
	}
	/* Who is preempted between unlock and lock misses the turns of its own round, no more. */
	check_le(most - least, 8);
	torc_barrier_done(&c.start);
	torc_mutex_done(&c.mutex);
	return 0;
}

Test(mutex, starves_nobody_on_any_loop)
{
	run_both_guards(OPTIONS(.loops = LOOPS), compete, NULL);
}

/* --- condition --- */

static int await_signal(void *arg)
{
	struct in_line *i = arg;
	struct torc_scope s;

	torc_scope_enter(&s, TORC_NEVER);
	i->line->scopes[i->who] = &s;
	check_eq(torc_mutex_lock(&i->line->mutex), 0);
	check_eq(torc_cond_wait(&i->line->cond, &i->line->mutex), i->expected);
	check_eq(torc_mutex_try_lock(&i->line->mutex), -EBUSY);
	note(&i->line->order, i->who);
	torc_mutex_unlock(&i->line->mutex);
	torc_scope_leave(&s);
	return 0;
}

static void expect_order(const struct order *order, int first, int end)
{
	check_eq(order->count, end);
	for (int i = first; i < end; i++)
		check_eq(order->seen[i], i);
}

static int signal_line(void *arg)
{
	static struct line line;
	static struct in_line in[LINE];
	struct torc_group g;

	(void)arg;
	torc_cond_signal(&line.cond); /* lost */
	torc_cond_broadcast(&line.cond);
	torc_group_enter(&g);
	for (int i = 0; i < LINE; i++) {
		in[i] = (struct in_line){ &line, i, 0 };
		check_eq(torc_group_spawn(&g, await_signal, &in[i]), 0);
	}
	for (int i = 0; i < 20; i++) {
		check_eq(torc_yield(), 0);
		check_eq(torc_yield(), 0);
		expect_order(&line.order, 0, i);
		torc_cond_signal(&line.cond);
	}
	torc_cond_signal(&line.cond);
	torc_cond_broadcast(&line.cond);
	check_eq(torc_group_wait(&g), 0);
	expect_order(&line.order, 0, LINE);
	torc_cond_done(&line.cond);
	return 0;
}

Test(mutex, a_condition_lets_go_in_the_order_of_arrival)
{
	run(signal_line, NULL);
}

/* The mutex is taken when the wait has ended: neither a cancellation nor a deadline cuts that short. */
static int relock(void *arg)
{
	struct line line = { .broadcasts = 0 };
	struct in_line in = { &line, 0, (int)VALUE(arg) };
	struct torc_group g;

	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, await_signal, &in), 0);
	check_eq(torc_yield(), 0);
	check_eq(torc_mutex_lock(&line.mutex), 0);
	if (in.expected == 0)
		torc_cond_signal(&line.cond);
	else if (in.expected == -ECANCELED)
		torc_scope_cancel(line.scopes[0]);
	else
		torc_scope_set_deadline(line.scopes[0], torc_now_ns());
	check_eq(torc_sleep(TORC_MS(1)), 0);
	torc_scope_set_deadline(line.scopes[0], torc_now_ns());
	check_eq(torc_sleep(TORC_MS(1)), 0);
	torc_scope_cancel(line.scopes[0]);
	check_eq(torc_yield(), 0);
	check_eq(line.order.count, 0);
	torc_mutex_unlock(&line.mutex);
	check_eq(torc_mutex_try_lock(&line.mutex), -EBUSY);
	check_eq(torc_group_wait(&g), 0);
	check_eq(line.order.count, 1);
	torc_cond_done(&line.cond);
	torc_mutex_done(&line.mutex);
	return 0;
}

Test(mutex, a_condition_locks_again_whatever_ended_the_wait)
{
	run(relock, ARG(0));
	run(relock, ARG(-ECANCELED));
	run(relock, ARG(-ETIMEDOUT));
}

/* A signal that comes when its fiber is already cancelled goes to the next. */
static int cancel_then_signal(void *arg)
{
	struct line line = { .broadcasts = 0 };
	struct in_line in[2] = { { &line, 0, -ECANCELED }, { &line, 1, 0 } };
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	for (int i = 0; i < 2; i++)
		check_eq(torc_group_spawn(&g, await_signal, &in[i]), 0);
	check_eq(torc_yield(), 0);
	torc_scope_cancel(line.scopes[0]);
	torc_cond_signal(&line.cond);
	check_eq(torc_group_wait(&g), 0);
	return 0;
}

Test(mutex, a_cancelled_wait_consumes_no_signal)
{
	run(cancel_then_signal, NULL);
}

/* --- a full submission queue, and a completion that signals --- */

#define ENTRIES 8

struct ringing {
	struct torc_mutex mutex;
	struct torc_cond cond;
	struct torc_event asleep;
	struct torc_op ops[ENTRIES];
};

static struct ringing ringing;

static int queue_for_it(void *arg)
{
	(void)arg;
	torc_event_set(&ringing.asleep);
	check_eq(torc_mutex_lock(&ringing.mutex), 0);
	torc_mutex_unlock(&ringing.mutex);
	return 0;
}

static void signal_ringing(struct torc_op *op, int res, unsigned cqe_flags)
{
	(void)op, (void)cqe_flags;
	check_eq(res, 0);
	torc_cond_signal(&ringing.cond);
}

/*
 * The mutex goes to a loop that sleeps, and the wake-up finds the submission queue full: what it hands out on
 * that occasion must not meet a fiber that is in line but not parked yet.
 */
static int signal_while_waking(void *arg)
{
	struct torc_group g;

	(void)arg;
	check_eq(torc_mutex_lock(&ringing.mutex), 0);
	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(1)), queue_for_it, NULL), 0);
	check_eq(torc_event_wait(&ringing.asleep), 0);
	check_eq(torc_sleep(TORC_MS(2)), 0); /* a loop that is awake needs no wake-up: no harm */
	for (int i = 0; i < ENTRIES; i++)
		io_uring_prep_nop(torc_op_start(&ringing.ops[i], signal_ringing));
	check_eq(torc_cond_wait(&ringing.cond, &ringing.mutex), 0);
	torc_mutex_unlock(&ringing.mutex);
	return torc_group_wait(&g);
}

Test(mutex, a_completion_may_signal_while_the_mutex_is_let_go)
{
	check_eq(run_with(OPTIONS(.loops = 2, .ring_entries = ENTRIES), signal_while_waking, NULL),
		 0);
}

/* --- misuse --- */

static struct line shared;

static int lock_twice(void *arg)
{
	(void)arg;
	check_eq(torc_mutex_lock(&shared.mutex), 0);
	return torc_mutex_lock(&shared.mutex);
}

static int unlock_unlocked(void *arg)
{
	(void)arg;
	torc_mutex_unlock(&shared.mutex);
	return 0;
}

static int in_another_fiber(torc_fn *fn)
{
	struct torc_group g;

	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, fn, NULL), 0);
	check_eq(torc_yield(), 0);
	torc_group_cancel(&g);
	return torc_group_wait(&g);
}

static int unlock_anothers(void *arg)
{
	(void)arg;
	check_eq(torc_mutex_lock(&shared.mutex), 0);
	return in_another_fiber(unlock_unlocked);
}

static int done_while_locked(void *arg)
{
	(void)arg;
	check_eq(torc_mutex_lock(&shared.mutex), 0);
	torc_mutex_done(&shared.mutex);
	return 0;
}

static int wait_without_mutex(void *arg)
{
	(void)arg;
	return torc_cond_wait(&shared.cond, &shared.mutex);
}

static int wait_for_shared(void *arg)
{
	(void)arg;
	check_eq(torc_mutex_lock(&shared.mutex), 0);
	return torc_cond_wait(&shared.cond, &shared.mutex);
}

static int done_while_waiting(void *arg)
{
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, wait_for_shared, NULL), 0);
	check_eq(torc_yield(), 0);
	torc_cond_done(&shared.cond);
	return 0;
}

static int lock_outside(void *arg)
{
	(void)arg;
	return torc_mutex_try_lock(&shared.mutex);
}

static int signal_outside(void *arg)
{
	(void)arg;
	torc_cond_signal(&shared.cond);
	return 0;
}

Test(mutex, misuse_traps_with_a_message)
{
	expect_trap(lock_twice, "a mutex is locked twice by the same fiber (fiber main");
	expect_trap(unlock_unlocked, "unlocked by a fiber that has not locked it");
	expect_trap(unlock_anothers, "unlocked by a fiber that has not locked it");
	expect_trap(done_while_locked, "a mutex is done with while it is locked");
	expect_trap(wait_without_mutex, "unlocked by a fiber that has not locked it");
	expect_trap(done_while_waiting, "a condition is done with while a fiber waits");
	expect_trap_outside(lock_outside, "called outside of a fiber");
	expect_trap_outside(signal_outside, "called outside of a loop");
}
