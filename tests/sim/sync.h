/*
 * tests/sim/sync.h - locks and the rest of core/sync.h, shared by fibers of all loops. A run takes some of these parts:
 *
 *	mutex, rwlock	who is inside is alone, or among readers
 *	sem		never more units are out than there are; all come back
 *	cond		a shop: nothing is taken that was not put. Those who wait without a limit are all served, though
 *			others leave the line when their time is up: a signal that was lost with them leaves one hungry
 *	event, latch	who goes on had something to go on
 *	barrier		who goes on saw all parties come, and one of them is told that it was the last
 *	once		runs once at a time, and once with success
 *	crowd		a group with a limit: no more run than that, and every place comes back
 *	line		who gives up lets those behind it go on, and a release or a downgrade all that it is enough for: who
 *			has it keeps it until they have come
 *	alarms		many sleepers, some of them woken early
 *	rush		loops that become busy while fibers are on their way to them, which may be passed on: all hear
 *			of a cancellation
 *
 * In a peaceful run fibers give up waiting, but none is cancelled: so whoever waits for ever has lost a wake-up. In
 * a stormy one all are cancelled at some time.
 */
#ifndef TESTS_SIM_SYNC_H
#define TESTS_SIM_SYNC_H

#include <torc/core/sync.h>

#include "tests/sim/sim.h"

#define SYNC_VISITORS 4
#define SYNC_UNITS    4
#define SYNC_EATERS   5
#define SYNC_LATCH    4
#define SYNC_PARTIES  3
#define SYNC_ROUNDS   4
#define SYNC_CALLERS  4
#define SYNC_CROWD    6
#define SYNC_SMALL    2
#define SYNC_ALARMS   20
#define SYNC_RUSHERS  3
#define SYNC_YIELDERS 30
#define SYNC_PLACED   6

struct sync_world {
	bool stormy;

	struct torc_mutex mutex;
	atomic_int owners;
	long guarded[2]; /* equal, while nobody is inside */

	struct torc_rwlock rwlock;
	atomic_int readers, writers;
	long written[2];

	struct torc_sem sem;
	atomic_int units_out;

	struct torc_mutex shop;
	struct torc_cond arrival, emptied;
	int meals, put, taken; /* inside the shop */
	atomic_int hungry;     /* changed inside the shop */

	struct torc_event event;
	atomic_int events_set;

	struct torc_latch latch;
	atomic_int counted;

	struct torc_barrier barrier;
	atomic_int came[SYNC_ROUNDS], last[SYNC_ROUNDS];
	atomic_int left_barrier;

	struct torc_once once;
	atomic_int inside_once, successes;
	int once_result;

	uint32_t limit;
	atomic_int crowd, crowd_ended;

	struct torc_sem line_sem;
	struct torc_rwlock line_lock;
	struct torc_latch line_taken, line_sem_come, line_lock_come;
};

/* A limit for a wait: mostly none, so that those who wait are many. */
static uint64_t sync_patience(void)
{
	return one_in(3) ? some_time() : TORC_NEVER;
}

/* --- mutex --- */

static void sync_inside_mutex(struct sync_world *w)
{
	check_eq(w->owners++, 0);
	check_eq(w->guarded[0], w->guarded[1]);
	w->guarded[0]++;
	do_something();
	w->guarded[1]++;
	w->owners--;
	torc_mutex_unlock(&w->mutex);
}

static int sync_visit_mutex(void *arg)
{
	struct sync_world *w = arg;
	int r;

	for (int i = 0; i < 3; i++) {
		torc_within(sync_patience())
		{
			if (one_in(4)) {
				r = torc_mutex_try_lock(&w->mutex);
				check(r == 0 || r == -EBUSY);
			} else {
				r = stop_or_done(torc_mutex_lock(&w->mutex));
			}
			if (r == 0)
				sync_inside_mutex(w);
		}
		do_something();
	}
	return 0;
}

static void sync_begin_mutex(struct sync_world *w, struct torc_group *g)
{
	for (int i = 0; i < SYNC_VISITORS; i++)
		start(g, sync_visit_mutex, w);
}

static void sync_end_mutex(struct sync_world *w)
{
	check_eq(w->guarded[0], w->guarded[1]);
	check_eq(torc_mutex_try_lock(&w->mutex), 0);
	torc_mutex_unlock(&w->mutex);
	torc_mutex_done(&w->mutex);
}

/* --- rwlock --- */

static void sync_read(struct sync_world *w)
{
	long before;

	w->readers++;
	check_eq(w->writers, 0);
	before = w->written[0];
	check_eq(before, w->written[1]);
	do_something();
	check_eq(before, w->written[0]);
	check_eq(w->writers, 0);
	w->readers--;
	torc_rwlock_read_unlock(&w->rwlock);
}

static void sync_write(struct sync_world *w)
{
	check_eq(w->writers++, 0);
	check_eq(w->readers, 0);
	w->written[0]++;
	do_something();
	w->written[1]++;
	check_eq(w->readers, 0);
	w->writers--;
	if (one_in(2)) {
		torc_rwlock_write_unlock(&w->rwlock);
		return;
	}
	torc_rwlock_downgrade(&w->rwlock);
	sync_read(w);
}

static void sync_visit_rwlock_once(struct sync_world *w)
{
	bool write = one_in(3);
	int r;

	if (one_in(4)) {
		r = write ? torc_rwlock_try_write(&w->rwlock) : torc_rwlock_try_read(&w->rwlock);
		check(r == 0 || r == -EBUSY);
	} else {
		r = write ? torc_rwlock_write(&w->rwlock) : torc_rwlock_read(&w->rwlock);
		stop_or_done(r);
	}
	if (r == 0 && write)
		sync_write(w);
	else if (r == 0)
		sync_read(w);
}

static int sync_visit_rwlock(void *arg)
{
	for (int i = 0; i < 3; i++) {
		torc_within(sync_patience()) sync_visit_rwlock_once(arg);
		do_something();
	}
	return 0;
}

static void sync_begin_rwlock(struct sync_world *w, struct torc_group *g)
{
	for (int i = 0; i < SYNC_VISITORS; i++)
		start(g, sync_visit_rwlock, w);
}

static void sync_end_rwlock(struct sync_world *w)
{
	check_eq(w->written[0], w->written[1]);
	check_eq(torc_rwlock_try_write(&w->rwlock), 0);
	torc_rwlock_write_unlock(&w->rwlock);
	torc_rwlock_done(&w->rwlock);
}

/* --- semaphore --- */

static void sync_visit_sem_once(struct sync_world *w)
{
	uint32_t units = 1 + dice(SYNC_UNITS);
	int r;

	if (one_in(4)) {
		r = torc_sem_try_acquire(&w->sem, units);
		check(r == 0 || r == -EAGAIN);
	} else {
		r = stop_or_done(torc_sem_acquire(&w->sem, units));
	}
	if (r < 0)
		return;
	w->units_out += (int)units;
	check_le(w->units_out, SYNC_UNITS);
	do_something();
	check_le(torc_sem_units(&w->sem), SYNC_UNITS);
	w->units_out -= (int)units;
	torc_sem_release(&w->sem, units);
}

static int sync_visit_sem(void *arg)
{
	for (int i = 0; i < 3; i++) {
		torc_within(sync_patience()) sync_visit_sem_once(arg);
		do_something();
	}
	return 0;
}

static void sync_begin_sem(struct sync_world *w, struct torc_group *g)
{
	for (int i = 0; i < SYNC_VISITORS; i++)
		start(g, sync_visit_sem, w);
}

static void sync_end_sem(struct sync_world *w)
{
	check_eq(w->units_out, 0);
	check_eq(torc_sem_units(&w->sem), SYNC_UNITS);
	torc_sem_done(&w->sem);
}

/* --- condition --- */

/* Returns 1: a meal; or the scope's status, with no meal and none of the signals. */
static int sync_eat(struct sync_world *w, bool patient)
{
	int r = stop_or_done(torc_mutex_lock(&w->shop));

	if (r < 0)
		return r;
	while (!w->meals && !r)
		r = stop_or_done(torc_cond_wait(&w->arrival, &w->shop));
	if (!r) {
		check_eq(w->meals, 1);
		w->meals--;
		w->taken++;
		w->hungry -= patient;
		torc_cond_signal(&w->emptied);
		r = 1;
	}
	torc_mutex_unlock(&w->shop);
	return r;
}

/* Waits for its meal for as long as it takes. */
static int sync_eater(void *arg)
{
	struct sync_world *w = arg;

	do_something();
	sync_eat(w, true);
	return 0;
}

/* Leaves hungry when its time is up, and comes again. */
static int sync_hasty_eater(void *arg)
{
	for (int i = 0; i < 3; i++) {
		torc_within(some_time()) sync_eat(arg, false);
		if (one_in(2))
			do_something();
	}
	return 0;
}

/* One meal while somebody patient is hungry, and wait until it is taken. Returns 0, or the scope's status. */
static int sync_serve(struct sync_world *w)
{
	int r = stop_or_done(torc_mutex_lock(&w->shop));

	if (r < 0)
		return r;
	if (!w->hungry) {
		torc_mutex_unlock(&w->shop);
		return 0;
	}
	w->meals++;
	w->put++;
	if (one_in(2))
		do_something();
	if (one_in(6))
		torc_cond_broadcast(&w->arrival);
	else
		torc_cond_signal(&w->arrival);
	while (w->meals && !r)
		r = stop_or_done(torc_cond_wait(&w->emptied, &w->shop));
	torc_mutex_unlock(&w->shop);
	return r;
}

/*
 * A meal at a time, one signal each, while one of the patient ones has none: if a signal is lost with somebody who gave
 * up, the meal stays and the cook waits for ever.
 */
static int sync_cook(void *arg)
{
	struct sync_world *w = arg;
	int r = 0;

	while (w->hungry && !r) {
		do_something();
		r = sync_serve(w);
	}
	return 0;
}

static void sync_begin_cond(struct sync_world *w, struct torc_group *g)
{
	w->hungry = SYNC_EATERS;
	for (int i = 0; i < SYNC_EATERS; i++) {
		start(g, sync_eater, w);
		start(g, sync_hasty_eater, w);
	}
	start(g, sync_cook, w);
}

static void sync_end_cond(struct sync_world *w)
{
	check_eq(w->put, w->taken + w->meals);
	torc_cond_done(&w->arrival);
	torc_cond_done(&w->emptied);
	torc_mutex_done(&w->shop);
}

/* --- event --- */

static int sync_event_waiter(void *arg)
{
	struct sync_world *w = arg;

	torc_within(sync_patience())
	{
		if (stop_or_done(torc_event_wait(&w->event)) == 0)
			check(w->events_set > 0);
	}
	return 0;
}

/* It is set in the end: nobody has to wait for ever. */
static int sync_event_setter(void *arg)
{
	struct sync_world *w = arg;

	for (int i = 0; i < 3; i++) {
		do_something();
		w->events_set++;
		torc_event_set(&w->event);
		if (i < 2 && one_in(2))
			torc_event_clear(&w->event);
	}
	check(torc_event_is_set(&w->event));
	return 0;
}

static void sync_begin_event(struct sync_world *w, struct torc_group *g)
{
	start(g, sync_event_setter, w);
	for (int i = 0; i < SYNC_VISITORS; i++)
		start(g, sync_event_waiter, w);
}

static void sync_end_event(struct sync_world *w)
{
	torc_event_done(&w->event);
}

/* --- latch --- */

static int sync_latch_worker(void *arg)
{
	struct sync_world *w = arg;

	do_something();
	w->counted++;
	torc_latch_count_down(&w->latch);
	return 0;
}

static int sync_latch_waiter(void *arg)
{
	struct sync_world *w = arg;

	torc_within(sync_patience())
	{
		if (stop_or_done(torc_latch_wait(&w->latch)) == 0)
			check_eq(w->counted, SYNC_LATCH);
	}
	return 0;
}

static void sync_begin_latch(struct sync_world *w, struct torc_group *g)
{
	for (int i = 0; i < SYNC_LATCH; i++) {
		start(g, sync_latch_waiter, w);
		start(g, sync_latch_worker, w);
	}
}

static void sync_end_latch(struct sync_world *w)
{
	torc_latch_done(&w->latch);
}

/* --- barrier --- */

static int sync_come_to_barrier(struct sync_world *w, uint64_t patience)
{
	int r = 0;

	torc_within(patience)
	{
		r = torc_barrier_wait(&w->barrier);
		if (r != -EPIPE)
			stop_or_done(r);
	}
	return r;
}

/* One party. Who gives up aborts it: the others would wait for ever. */
static int sync_party(void *arg)
{
	struct sync_world *w = arg;
	int r = 0;

	for (int round = 0; round < SYNC_ROUNDS && r >= 0; round++) {
		do_something();
		w->came[round]++;
		r = sync_come_to_barrier(w, one_in(12) ? some_time() : TORC_NEVER);
		/* Who gives up may come again: its place was free meanwhile. */
		if (is_stop(r) && !torc_scope_status() && one_in(2)) {
			w->came[round]--;
			do_something();
			w->came[round]++;
			r = sync_come_to_barrier(w, TORC_NEVER);
		}
		if (r < 0)
			break;
		check_eq(w->came[round], SYNC_PARTIES);
		w->last[round] += r;
		check_le(w->last[round], 1);
	}
	if (r == -EPIPE)
		check(w->left_barrier > 0);
	if (is_stop(r)) {
		w->left_barrier++;
		torc_barrier_abort(&w->barrier);
	}
	return 0;
}

static void sync_begin_barrier(struct sync_world *w, struct torc_group *g)
{
	for (int i = 0; i < SYNC_PARTIES; i++)
		start(g, sync_party, w);
}

static void sync_end_barrier(struct sync_world *w)
{
	torc_barrier_done(&w->barrier);
}

/* --- once --- */

static int sync_try(void *arg)
{
	struct sync_world *w = arg;
	bool fails = one_in(2);
	int r;

	check_eq(w->inside_once++, 0);
	check_eq(w->successes, 0);
	r = do_something();
	w->inside_once--;
	if (r < 0 || fails)
		return r < 0 ? r : -EIO;
	w->successes++;
	w->once_result = 1 + (int)dice(1000);
	return w->once_result;
}

static int sync_caller(void *arg)
{
	struct sync_world *w = arg;
	int r = -1;

	for (int i = 0; i < 4 && r < 0; i++) {
		torc_within(sync_patience())
		{
			r = torc_once(&w->once, sync_try, w);
			check(r > 0 || r == -EIO || is_stop(r));
			if (is_stop(r))
				stop_or_done(r);
		}
		if (r > 0)
			check_eq(r, w->once_result);
	}
	return 0;
}

static void sync_begin_once(struct sync_world *w, struct torc_group *g)
{
	for (int i = 0; i < SYNC_CALLERS; i++)
		start(g, sync_caller, w);
}

static void sync_end_once(struct sync_world *w)
{
	check_eq(w->inside_once, 0);
	check_le(w->successes, 1);
}

/* --- a group with a limit --- */

static int sync_one_of_crowd(void *arg)
{
	struct sync_world *w = arg;

	check_le(++w->crowd, (int)w->limit);
	do_something();
	w->crowd--;
	w->crowd_ended++;
	return 0;
}

/* Fails once it has its place. */
static void sync_be_refused(struct torc_group *g)
{
	struct torc_spawn_options o = { .stack_bytes = SIZE_MAX };
	int r = torc_group_spawn_with(g, &o, sync_one_of_crowd, NULL);

	check(r == -EINVAL || is_stop(r));
}

/* Places that were not given back, after whatever kind of failure, would leave it waiting for one. */
static int sync_crowd(void *arg)
{
	struct sync_world *w = arg;
	struct torc_group g;
	int started = 0, lost;

	torc_group_enter_with(&g, &(struct torc_group_options){ .supervisor = true,
								.limit = w->limit });
	for (int i = 0; i < SYNC_CROWD; i++) {
		struct torc_spawn_options o = { .loop = some_loop(), .stack_bytes = some_stack() };

		if (one_in(4))
			torc_within(sync_patience()) sync_be_refused(&g);
		torc_within(sync_patience()) started +=
			any_of_spawn(torc_group_spawn_with(&g, &o, sync_one_of_crowd, w)) == 0;
	}
	torc_group_wait(&g);
	lost = (int)torc_group_failure_count(&g);
	check_eq(started, w->crowd_ended + lost);
	return 0;
}

static void sync_begin_crowd(struct sync_world *w, struct torc_group *g)
{
	w->limit = 1 + dice(2);
	start(g, sync_crowd, w);
}

static void sync_end_crowd(struct sync_world *w)
{
	check_eq(w->crowd, 0);
}

/* --- a line --- */

/* Lets all go on where one of them cannot be served. */
static void sync_come(struct torc_latch *come)
{
	torc_latch_count_down(come);
	(void)stop_or_done(torc_latch_wait(come));
}

/* Has all units, then all but what the small ones want. Those have to come while it waits. */
static int sync_line_sem_owner(void *arg)
{
	struct sync_world *w = arg;

	if (stop_or_done(torc_sem_acquire(&w->line_sem, SYNC_UNITS)) < 0)
		return 0;
	torc_latch_count_down(&w->line_taken);
	do_something();
	torc_sem_release(&w->line_sem, SYNC_SMALL);
	(void)stop_or_done(torc_latch_wait(&w->line_sem_come));
	torc_sem_release(&w->line_sem, SYNC_UNITS - SYNC_SMALL);
	return 0;
}

static int sync_line_sem_small(void *arg)
{
	struct sync_world *w = arg;

	if (stop_or_done(torc_latch_wait(&w->line_taken)) < 0)
		return 0;
	if (one_in(2))
		do_something();
	if (stop_or_done(torc_sem_acquire(&w->line_sem, 1)) < 0)
		return 0;
	sync_come(&w->line_sem_come);
	torc_sem_release(&w->line_sem, 1);
	return 0;
}

/* Wants more than there is, and gives up. */
static int sync_line_sem_large(void *arg)
{
	struct sync_world *w = arg;

	if (stop_or_done(torc_latch_wait(&w->line_taken)) < 0)
		return 0;
	torc_within(some_time())
	{
		if (stop_or_done(torc_sem_acquire(&w->line_sem, SYNC_UNITS)) == 0)
			torc_sem_release(&w->line_sem, SYNC_UNITS);
	}
	return 0;
}

/* Writes, and then reads until the readers have come. */
static int sync_line_lock_owner(void *arg)
{
	struct sync_world *w = arg;

	if (stop_or_done(torc_rwlock_write(&w->line_lock)) < 0)
		return 0;
	torc_latch_count_down(&w->line_taken);
	do_something();
	torc_rwlock_downgrade(&w->line_lock);
	(void)stop_or_done(torc_latch_wait(&w->line_lock_come));
	torc_rwlock_read_unlock(&w->line_lock);
	return 0;
}

static int sync_line_lock_reader(void *arg)
{
	struct sync_world *w = arg;

	if (stop_or_done(torc_latch_wait(&w->line_taken)) < 0)
		return 0;
	if (one_in(2))
		do_something();
	if (stop_or_done(torc_rwlock_read(&w->line_lock)) < 0)
		return 0;
	sync_come(&w->line_lock_come);
	torc_rwlock_read_unlock(&w->line_lock);
	return 0;
}

static int sync_line_lock_writer(void *arg)
{
	struct sync_world *w = arg;

	if (stop_or_done(torc_latch_wait(&w->line_taken)) < 0)
		return 0;
	torc_within(some_time())
	{
		if (stop_or_done(torc_rwlock_write(&w->line_lock)) == 0)
			torc_rwlock_write_unlock(&w->line_lock);
	}
	return 0;
}

static void sync_begin_line(struct sync_world *w, struct torc_group *g)
{
	start(g, sync_line_sem_owner, w);
	start(g, sync_line_lock_owner, w);
	start(g, sync_line_sem_large, w);
	start(g, sync_line_lock_writer, w);
	for (int i = 0; i < SYNC_SMALL; i++) {
		start(g, sync_line_sem_small, w);
		start(g, sync_line_lock_reader, w);
	}
}

static void sync_end_line(struct sync_world *w)
{
	check_eq(torc_sem_units(&w->line_sem), SYNC_UNITS);
	torc_sem_done(&w->line_sem);
	torc_rwlock_done(&w->line_lock);
	torc_latch_done(&w->line_taken);
	torc_latch_done(&w->line_sem_come);
	torc_latch_done(&w->line_lock_come);
}

/* --- alarms --- */

/* do_sleep checks that it is neither early nor late. */
static int sync_sleeper(void *arg)
{
	(void)arg;
	for (int i = 0; i < 4; i++) {
		uint64_t ns = dice(2000000);

		torc_within(one_in(3) ? dice(1000000) : TORC_NEVER) do_sleep(ns);
	}
	return 0;
}

static void sync_begin_alarms(struct sync_world *w, struct torc_group *g)
{
	for (int i = 0; i < SYNC_ALARMS; i++)
		start(g, sync_sleeper, w);
}

static void sync_end_alarms(struct sync_world *w)
{
	(void)w;
}

/* --- a rush --- */

static int sync_endless(void *arg)
{
	(void)arg;
	return stop_or_done(torc_sleep(TORC_NEVER));
}

static int sync_yielder(void *arg)
{
	int r = 0;

	(void)arg;
	for (int i = 0; i < 3 && !r; i++)
		r = stop_or_done(torc_yield());
	return r;
}

static int sync_rusher(void *arg)
{
	struct torc_spawn_options placed = { .loop = TORC_ON_LEAST_LOADED };
	struct torc_group g;

	(void)arg;
	do_something();
	torc_group_enter_supervisor(&g);
	for (int i = 0; i < SYNC_PLACED; i++)
		(void)any_of_spawn(torc_group_spawn_with(&g, &placed, sync_endless, NULL));
	for (int i = 0; i < SYNC_YIELDERS; i++)
		(void)any_of_spawn(torc_group_spawn(&g, sync_yielder, NULL));
	do_something();
	torc_group_cancel(&g);
	(void)torc_group_wait(&g);
	return 0;
}

static void sync_begin_rush(struct sync_world *w, struct torc_group *g)
{
	for (int i = 0; i < SYNC_RUSHERS; i++)
		start(g, sync_rusher, w);
}

static void sync_end_rush(struct sync_world *w)
{
	(void)w;
}

/* --- together --- */

struct sync_part {
	void (*begin)(struct sync_world *w, struct torc_group *g);
	void (*end)(struct sync_world *w);
};

static const struct sync_part sync_parts[] = {
	{ sync_begin_mutex, sync_end_mutex },     { sync_begin_rwlock, sync_end_rwlock },
	{ sync_begin_sem, sync_end_sem },         { sync_begin_cond, sync_end_cond },
	{ sync_begin_event, sync_end_event },     { sync_begin_latch, sync_end_latch },
	{ sync_begin_barrier, sync_end_barrier }, { sync_begin_once, sync_end_once },
	{ sync_begin_crowd, sync_end_crowd },     { sync_begin_line, sync_end_line },
	{ sync_begin_alarms, sync_end_alarms },   { sync_begin_rush, sync_end_rush },
};

static void sync_init(struct sync_world *w)
{
	memset(w, 0, sizeof(*w));
	w->stormy = one_in(2);
	torc_sem_init(&w->sem, SYNC_UNITS);
	torc_latch_init(&w->latch, SYNC_LATCH);
	torc_barrier_init(&w->barrier, SYNC_PARTIES);
	torc_sem_init(&w->line_sem, SYNC_UNITS);
	torc_latch_init(&w->line_taken, 2);
	torc_latch_init(&w->line_sem_come, SYNC_SMALL);
	torc_latch_init(&w->line_lock_come, SYNC_SMALL);
}

static int sync_scenario(void *arg)
{
	static struct sync_world world;
	struct sync_world *w = &world;
	unsigned parts = 0;
	struct torc_group g;

	(void)arg;
	sync_init(w);
	for (unsigned i = 0, n = 1 + dice(3); i < n; i++)
		parts |= 1u << dice(COUNT(sync_parts));
	torc_within(w->stormy ? dice(600000) : TORC_NEVER)
	{
		torc_group_enter(&g);
		for (unsigned i = 0; i < COUNT(sync_parts); i++)
			if (parts >> i & 1)
				sync_parts[i].begin(w, &g);
		if (w->stormy && one_in(2)) {
			do_sleep(dice(300000));
			torc_group_cancel(&g);
		}
		finish(&g);
	}
	for (unsigned i = 0; i < COUNT(sync_parts); i++)
		sync_parts[i].end(w);
	return 0;
}

#endif
