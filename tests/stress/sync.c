/*
 * Every object of core/sync.h in use by four loops at once, with waits that are cancelled and run out of time. What
 * they keep is counted: who is inside, units, turns. Fresh objects again and again, which one loop uses first.
 * Exits 0 when all of it came out even; the sanitizers see the rest.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "tests/stress/stress.h"

#define LOOPS  4
#define FIBERS 12
#define TURNS  60
#define UNITS  5u
#define BUDGET TORC_MS(1200) /* rounds begin until then */

struct shared {
	struct torc_mutex mutex;
	struct torc_cond cond;
	struct torc_rwlock rwlock;
	struct torc_sem sem;
	struct torc_barrier barrier;
	struct torc_latch latch;
	struct torc_event event;
	struct torc_once once;
	long inside;   /* plain: what the mutex protects */
	long value[2]; /* and the rwlock */
	long made;     /* by once, read by all */
	long passed;   /* under the mutex */
	atomic_int made_times, readers, writers;
	atomic_uint taken;
};

static struct shared shared;
static struct tally calls;

/* A third of the calls gets a deadline that it may meet or not. */
static uint64_t some_timeout(uint64_t *seed)
{
	return next_random(seed) % 3 ? TORC_NEVER : 1 + next_random(seed) % 100000;
}

/* Was it done? Counts, too. */
static bool done(int r)
{
	check(r >= 0 || r == -ECANCELED || r == -ETIMEDOUT);
	return tally(&calls, r);
}

static void linger(uint64_t *seed)
{
	if (next_random(seed) % 4 == 0)
		(void)torc_yield();
}

static void use_mutex(struct shared *s, uint64_t *seed)
{
	bool locked = next_random(seed) % 4 ? done(torc_mutex_lock(&s->mutex))
					    : !torc_mutex_try_lock(&s->mutex);

	if (!locked)
		return;
	check_eq(s->inside++, 0);
	linger(seed);
	check_eq(--s->inside, 0);
	torc_mutex_unlock(&s->mutex);
}

/* One in two waits, the others signal; those left over are let go by their scopes. */
static void use_cond(struct shared *s, uint64_t *seed)
{
	struct torc_scope scope;

	if (!done(torc_mutex_lock(&s->mutex)))
		return;
	check_eq(s->inside++, 0);
	if (next_random(seed) % 2) {
		s->inside--;
		torc_scope_enter(&scope, 1 + next_random(seed) % 200000);
		(void)done(torc_cond_wait(&s->cond, &s->mutex));
		torc_scope_leave(&scope);
		check_eq(s->inside++, 0); /* it is ours again, whatever was returned */
	} else if (next_random(seed) % 2) {
		torc_cond_signal(&s->cond);
	} else {
		torc_cond_broadcast(&s->cond);
	}
	s->passed++;
	check_eq(--s->inside, 0);
	torc_mutex_unlock(&s->mutex);
}

static void read_value(struct shared *s, uint64_t *seed)
{
	atomic_fetch_add(&s->readers, 1);
	check_eq(atomic_load(&s->writers), 0);
	check_eq(s->value[0], s->value[1]);
	linger(seed);
	check_eq(s->value[0], s->value[1]);
	atomic_fetch_sub(&s->readers, 1);
}

static void use_rwlock(struct shared *s, uint64_t *seed)
{
	if (next_random(seed) % 4) {
		if (!done(torc_rwlock_read(&s->rwlock)))
			return;
		read_value(s, seed);
		torc_rwlock_read_unlock(&s->rwlock);
		return;
	}
	if (!done(torc_rwlock_write(&s->rwlock)))
		return;
	check_eq(atomic_fetch_add(&s->writers, 1), 0);
	check_eq(atomic_load(&s->readers), 0);
	s->value[0]++;
	linger(seed);
	s->value[1]++;
	atomic_fetch_sub(&s->writers, 1);
	if (next_random(seed) % 2) {
		torc_rwlock_write_unlock(&s->rwlock);
		return;
	}
	torc_rwlock_downgrade(&s->rwlock);
	read_value(s, seed);
	torc_rwlock_read_unlock(&s->rwlock);
}

static void use_sem(struct shared *s, uint64_t *seed)
{
	uint32_t units = 1 + next_random(seed) % UNITS;

	if (!done(torc_sem_acquire(&s->sem, units)))
		return;
	check_le(atomic_fetch_add(&s->taken, units) + units, UNITS);
	linger(seed);
	atomic_fetch_sub(&s->taken, units);
	torc_sem_release(&s->sem, units);
}

static void use_barrier(struct shared *s, uint64_t *seed)
{
	struct torc_scope scope;

	torc_scope_enter(&scope, 1 + next_random(seed) % 300000);
	(void)done(torc_barrier_wait(&s->barrier));
	torc_scope_leave(&scope);
}

/* Fails now and then, so that the turn is passed on. */
static int make(void *arg)
{
	struct shared *s = arg;
	int r = torc_sleep(1000);

	if (r < 0)
		return r;
	if (atomic_fetch_add(&s->made_times, 1) < 3)
		return -ECANCELED;
	check_eq(s->made, 0);
	s->made = 77;
	return 1;
}

static void use_once(struct shared *s)
{
	if (done(torc_once(&s->once, make, s)))
		check_eq(s->made, 77);
}

static void use_event(struct shared *s, uint64_t *seed)
{
	struct torc_scope scope;

	switch (next_random(seed) % 3) {
	case 0: torc_event_set(&s->event); break;
	case 1: torc_event_clear(&s->event); break;
	default:
		torc_scope_enter(&scope, 1 + next_random(seed) % 100000);
		(void)done(torc_event_wait(&s->event));
		torc_scope_leave(&scope);
	}
}

static void use_one(struct shared *s, uint64_t *seed)
{
	switch (next_random(seed) % 8) {
	case 0: use_mutex(s, seed); break;
	case 1:
	case 2: use_cond(s, seed); break;
	case 3: use_rwlock(s, seed); break;
	case 4: use_sem(s, seed); break;
	case 5: use_barrier(s, seed); break;
	case 6: use_once(s); break;
	default: use_event(s, seed);
	}
}

static int use_all(void *arg)
{
	uint64_t seed = (uintptr_t)arg;
	struct torc_scope scope;

	for (int i = 0; i < TURNS; i++) {
		torc_scope_enter(&scope, some_timeout(&seed));
		if (next_random(&seed) % 16 == 0)
			torc_scope_cancel(&scope);
		use_one(&shared, &seed);
		torc_scope_leave(&scope);
	}
	torc_latch_count_down(&shared.latch);
	return 0;
}

/* For a while one loop has all of it to itself. */
static int use_first(void *arg)
{
	uint64_t seed = (uintptr_t)arg;
	struct torc_scope scope;

	torc_scope_enter(&scope, TORC_SECONDS(10));
	for (int i = 0; i < 20; i++) {
		use_mutex(&shared, &seed);
		use_rwlock(&shared, &seed);
		use_sem(&shared, &seed);
		torc_event_set(&shared.event);
	}
	torc_scope_leave(&scope);
	return use_all(arg);
}

static void start(void)
{
	memset(&shared, 0, sizeof(shared));
	torc_sem_init(&shared.sem, UNITS);
	torc_barrier_init(&shared.barrier, 3);
	torc_latch_init(&shared.latch, FIBERS);
}

static void end(void)
{
	check_eq(torc_mutex_try_lock(&shared.mutex), 0);
	torc_mutex_unlock(&shared.mutex);
	check_eq(torc_rwlock_try_write(&shared.rwlock), 0);
	torc_rwlock_write_unlock(&shared.rwlock);
	check_eq(shared.value[0], shared.value[1]);
	check_eq(torc_sem_units(&shared.sem), UNITS);
	torc_mutex_done(&shared.mutex);
	torc_cond_done(&shared.cond);
	torc_rwlock_done(&shared.rwlock);
	torc_sem_done(&shared.sem);
	torc_barrier_done(&shared.barrier);
	torc_latch_done(&shared.latch);
	torc_event_done(&shared.event);
}

static int app(void *arg)
{
	uint64_t until = torc_now_ns() + BUDGET;
	uintptr_t round = 0;

	(void)arg;
	for (; torc_now_ns() < until; round++) {
		struct torc_group g;

		start();
		torc_group_enter_supervisor(&g);
		for (uintptr_t i = 0; i < FIBERS; i++) {
			struct torc_spawn_options o = { .loop = TORC_ON_LOOP(
								(int)((i + round) % LOOPS)) };

			check_eq(torc_group_spawn_with(&g, &o, i ? use_all : use_first,
						       (void *)(round * FIBERS + i)),
				 0);
		}
		if (round % 8 == 7) {
			check_eq(torc_sleep(TORC_MS(1)), 0);
			torc_group_cancel(&g); /* all that wait, on all loops, at once */
		} else {
			check_eq(torc_latch_wait(&shared.latch), 0);
		}
		(void)torc_group_wait(&g);
		end();
	}
	return (int)round;
}

int main(void)
{
	return run_rounds(LOOPS, app, &calls, "calls");
}
