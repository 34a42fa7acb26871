/*
 * Rwlock: readers and writers in one line.
 */
#include "tests/core/calls.h"

TestSuite(rwlock, .timeout = 60);

/* --- the table --- */

static void hold_writing(struct object *o)
{
	check_eq(torc_rwlock_write(&o->rwlock), 0);
}

static void hold_reading(struct object *o)
{
	check_eq(torc_rwlock_read(&o->rwlock), 0);
}

static int lock_reading(struct object *o)
{
	int r = torc_rwlock_read(&o->rwlock);

	if (r)
		return r;
	check_eq(torc_rwlock_try_write(&o->rwlock), -EBUSY);
	torc_rwlock_read_unlock(&o->rwlock);
	return 0;
}

static int lock_writing(struct object *o)
{
	int r = torc_rwlock_write(&o->rwlock);

	if (r)
		return r;
	check_eq(torc_rwlock_try_read(&o->rwlock), -EBUSY);
	check_eq(torc_rwlock_try_write(&o->rwlock), -EBUSY);
	torc_rwlock_write_unlock(&o->rwlock);
	return 0;
}

static bool end_writing(struct object *o)
{
	torc_rwlock_write_unlock(&o->rwlock);
	return true;
}

static bool end_reading(struct object *o)
{
	torc_rwlock_read_unlock(&o->rwlock);
	return true;
}

static void finish(struct object *o, bool success)
{
	(void)success;
	check_eq(torc_rwlock_try_write(&o->rwlock), 0);
	torc_rwlock_write_unlock(&o->rwlock);
	torc_rwlock_done(&o->rwlock);
}

/* The writer becomes a reader, and is one until the end. */
static bool downgrade(struct object *o)
{
	torc_rwlock_downgrade(&o->rwlock);
	return true;
}

static void finish_downgraded(struct object *o, bool success)
{
	check_eq(torc_rwlock_try_write(&o->rwlock), -EBUSY);
	torc_rwlock_read_unlock(&o->rwlock);
	finish(o, success);
}

static const struct call calls[] = {
	{ "rwlock_read", hold_writing, lock_reading, end_writing, finish, .meets = false },
	{ "rwlock_read, downgrade", hold_writing, lock_reading, downgrade, finish_downgraded,
	  .meets = false },
	{ "rwlock_write, behind a writer", hold_writing, lock_writing, end_writing, finish,
	  .meets = false },
	{ "rwlock_write, behind a reader", hold_reading, lock_writing, end_reading, finish,
	  .meets = false },
};

TEST_CALLS(rwlock, calls);

/* --- the line --- */

#define MOST 16

struct line {
	struct torc_rwlock lock;
	struct torc_scope *scopes[MOST];
	struct torc_event go_on;
	struct order entered;
	int readers, writers; /* inside */
};

struct in_line {
	struct line *line;
	int who;
	bool writes;
	int result;
};

/* Stays inside until go_on. */
static int stand_in_line(void *arg)
{
	struct in_line *i = arg;
	struct line *l = i->line;
	struct torc_scope s;
	int *inside = i->writes ? &l->writers : &l->readers;

	torc_scope_enter(&s, TORC_NEVER);
	l->scopes[i->who] = &s;
	i->result = i->writes ? torc_rwlock_write(&l->lock) : torc_rwlock_read(&l->lock);
	torc_scope_leave(&s);
	if (i->result)
		return 0;
	note(&l->entered, i->who);
	++*inside;
	check(l->writers == 0 || (l->writers == 1 && l->readers == 0));
	check_eq(torc_event_wait(&l->go_on), 0);
	--*inside;
	if (i->writes)
		torc_rwlock_write_unlock(&l->lock);
	else
		torc_rwlock_read_unlock(&l->lock);
	return 0;
}

static void let_run(void)
{
	for (int i = 0; i < 3; i++)
		check_eq(torc_yield(), 0);
}

/* 'r' and 'w' stand in line while `holder` has the lock. */
static void form_line(struct line *l, struct in_line *in, struct torc_group *g, const char *kinds)
{
	for (int i = 0; kinds[i]; i++) {
		in[i] = (struct in_line){ l, i, kinds[i] == 'w', WAITING };
		check_eq(torc_group_spawn(g, stand_in_line, &in[i]), 0);
	}
	let_run();
}

/* Those inside leave, and the next ones come in. */
static void pass_on(struct line *l)
{
	torc_event_set(&l->go_on);
	torc_event_clear(&l->go_on);
	let_run();
}

static int serve_line(void *arg)
{
	/* How many are inside after each step. */
	static const int steps[] = { 2, 1, 3, 1, 1, 1, 0 };
	struct line l = { .readers = 0 };
	struct in_line in[MOST];
	struct torc_group g;
	int count = 0;

	(void)arg;
	check_eq(torc_rwlock_write(&l.lock), 0);
	torc_group_enter(&g);
	form_line(&l, in, &g, "rrwrrrwwr");
	check_eq(l.entered.count, 0);
	torc_rwlock_write_unlock(&l.lock);
	check_eq(torc_rwlock_try_write(&l.lock), -EBUSY); /* the first readers have it already */
	check_eq(torc_rwlock_try_read(&l.lock), -EBUSY);  /* and a writer is next */
	let_run();
	for (size_t n = 0; n < COUNT(steps); n++) {
		count += steps[n];
		check_eq(l.entered.count, count);
		check_eq(l.readers + l.writers, steps[n]);
		pass_on(&l);
	}
	check_eq(torc_group_wait(&g), 0);
	for (int i = 0; i < count; i++)
		check_eq(l.entered.seen[i], i);
	torc_rwlock_done(&l.lock);
	return 0;
}

Test(rwlock, readers_and_writers_are_served_in_the_order_of_arrival)
{
	run(serve_line, NULL);
}

static int give_up(void *arg)
{
	struct line l = { .readers = 0 };
	struct in_line in[MOST];
	struct torc_group g;

	(void)arg;
	check_eq(torc_rwlock_read(&l.lock), 0);
	check_eq(torc_rwlock_try_read(&l.lock), 0);
	torc_group_enter(&g);
	form_line(&l, in, &g, "wrrwr");
	check_eq(l.entered.count, 0);
	check_eq(torc_rwlock_try_read(&l.lock), -EBUSY);
	torc_scope_cancel(l.scopes[0]);
	/* At once, before anybody runs. */
	check_eq(in[0].result, WAITING);
	let_run();
	check_eq(in[0].result, -ECANCELED);
	check_eq(l.readers, 2);
	/* A reader that gives up while a writer is first lets nobody go. */
	torc_scope_cancel(l.scopes[4]);
	let_run();
	check_eq(in[4].result, -ECANCELED);
	check_eq(l.readers, 2);
	check_eq(torc_rwlock_try_read(&l.lock), -EBUSY);
	/* The last writer gives up: nobody waits, and readers need not. */
	torc_scope_set_deadline(l.scopes[3], torc_now_ns());
	check_eq(torc_sleep(TORC_MS(1)), 0);
	check_eq(in[3].result, -ETIMEDOUT);
	check_eq(torc_rwlock_try_read(&l.lock), 0);
	for (int i = 0; i < 3; i++)
		torc_rwlock_read_unlock(&l.lock);
	pass_on(&l);
	check_eq(torc_group_wait(&g), 0);
	torc_rwlock_done(&l.lock);
	return 0;
}

Test(rwlock, a_writer_that_gives_up_lets_the_readers_behind_it_go)
{
	run(give_up, NULL);
}

static int downgrade_in_line(void *arg)
{
	struct line l = { .readers = 0 };
	struct in_line in[MOST];
	struct torc_group g;

	(void)arg;
	check_eq(torc_rwlock_write(&l.lock), 0);
	torc_group_enter(&g);
	form_line(&l, in, &g, "rrwr");
	torc_rwlock_downgrade(&l.lock);
	let_run();
	check_eq(l.readers, 2);
	pass_on(&l);
	check_eq(l.entered.count, 2); /* we still read */
	torc_rwlock_read_unlock(&l.lock);
	let_run();
	check_eq(l.writers, 1);
	pass_on(&l);
	check_eq(l.readers, 1);
	pass_on(&l);
	check_eq(torc_group_wait(&g), 0);
	torc_rwlock_init(&l.lock);
	torc_rwlock_done(&l.lock);
	return 0;
}

Test(rwlock, a_downgrade_lets_readers_in_but_no_writer)
{
	run(downgrade_in_line, NULL);
}

/* --- across loops --- */

#define LOOPS  3
#define FIBERS 6
#define TURNS  400

struct shared {
	struct torc_rwlock lock;
	atomic_int readers, writers;
	long value[2]; /* written together */
};

static void read_both(struct shared *s)
{
	atomic_fetch_add(&s->readers, 1);
	check_eq(atomic_load(&s->writers), 0);
	check_eq(s->value[0], s->value[1]);
	atomic_fetch_sub(&s->readers, 1);
}

static void write_both(struct shared *s)
{
	check_eq(atomic_fetch_add(&s->writers, 1), 0);
	check_eq(atomic_load(&s->readers), 0);
	s->value[0]++;
	s->value[1]++;
	atomic_fetch_sub(&s->writers, 1);
}

static int read_and_write(void *arg)
{
	struct shared *s = arg;

	for (int i = 0; i < TURNS; i++) {
		if (i % 4) {
			check_eq(torc_rwlock_read(&s->lock), 0);
		} else {
			check_eq(torc_rwlock_write(&s->lock), 0);
			write_both(s);
			if (i % 8)
				torc_rwlock_downgrade(&s->lock);
		}
		if (i % 8)
			read_both(s);
		if (i % 5 == 0)
			check_eq(torc_yield(), 0);
		if (i % 8)
			torc_rwlock_read_unlock(&s->lock);
		else
			torc_rwlock_write_unlock(&s->lock);
	}
	return 0;
}

static int share(void *arg)
{
	struct shared s = { .value = { 0 } };
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	for (int i = 0; i < FIBERS; i++)
		check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(i % LOOPS)),
					       read_and_write, &s),
			 0);
	check_eq(torc_group_wait(&g), 0);
	check_eq(s.value[0], FIBERS * TURNS / 4);
	torc_rwlock_done(&s.lock);
	return 0;
}

Test(rwlock, writers_are_alone_on_all_loops)
{
	run_both_guards(OPTIONS(.loops = LOOPS), share, NULL);
}

/* --- misuse --- */

static struct torc_rwlock shared_lock;

static int unlock_reading(void *arg)
{
	(void)arg;
	torc_rwlock_read_unlock(&shared_lock);
	return 0;
}

static int unlock_writing(void *arg)
{
	(void)arg;
	torc_rwlock_write_unlock(&shared_lock);
	return 0;
}

static int downgrade_unlocked(void *arg)
{
	(void)arg;
	torc_rwlock_downgrade(&shared_lock);
	return 0;
}

static int unlock_anothers(void *arg)
{
	struct torc_group g;

	(void)arg;
	check_eq(torc_rwlock_write(&shared_lock), 0);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, unlock_writing, NULL), 0);
	return torc_group_wait(&g);
}

static int read_what_it_writes(void *arg)
{
	(void)arg;
	check_eq(torc_rwlock_write(&shared_lock), 0);
	return torc_rwlock_read(&shared_lock);
}

static int write_what_it_writes(void *arg)
{
	(void)arg;
	check_eq(torc_rwlock_write(&shared_lock), 0);
	return torc_rwlock_write(&shared_lock);
}

static int done_while_written(void *arg)
{
	(void)arg;
	check_eq(torc_rwlock_write(&shared_lock), 0);
	torc_rwlock_done(&shared_lock);
	return 0;
}

static int done_while_read(void *arg)
{
	(void)arg;
	check_eq(torc_rwlock_read(&shared_lock), 0);
	torc_rwlock_done(&shared_lock);
	return 0;
}

Test(rwlock, misuse_traps_with_a_message)
{
	expect_trap(unlock_reading, "a rwlock is unlocked that nobody reads (fiber main");
	expect_trap(unlock_writing, "has not locked it for writing");
	expect_trap(downgrade_unlocked, "has not locked it for writing");
	expect_trap(unlock_anothers, "has not locked it for writing");
	expect_trap(read_what_it_writes, "locked by the fiber that has it for writing");
	expect_trap(write_what_it_writes, "locked by the fiber that has it for writing");
	expect_trap(done_while_written, "a rwlock is done with while it is locked");
	expect_trap(done_while_read, "a rwlock is done with while it is locked");
}
