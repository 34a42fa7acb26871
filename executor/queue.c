/*
 * executor/queue.c - the tasks of a pool that come from outside: one ring for all, first come, first served.
 *
 * A submitter that finds it full gets in line. What is taken makes room for the first in line, as much as it wants or
 * there is; the room is reserved for it, and nobody overtakes.
 */
#include <errno.h>

#include "executor/internal/signal.h"
#include "executor/internal/worker.h"

/* A worker takes its share of what waits, but no more than this at a time. */
#define TAKE_MOST 32u

__thread unsigned torc__queue_no_wait;

struct submitter {
	struct torc__signal signal; /* first */
	size_t wanted;
	size_t room; /* reserved for it */
	int error;
};

/* --- room, inside the guard --- */

/* Somebody is before this one. */
static bool in_line(const struct torc__pool *pool)
{
	return pool->submitters.first && !torc__queue_no_wait;
}

static size_t room(const struct torc__pool *pool)
{
	size_t most = pool->options.queue_max, used = pool->queue.count + pool->reserved;

	if (!most || torc__queue_no_wait)
		return SIZE_MAX;
	return used < most ? most - used : 0;
}

/* Give room to those in line; they are to be woken outside of the guard. */
static void serve(struct torc__pool *pool, struct torc__granted *granted)
{
	while (pool->submitters.first && room(pool)) {
		struct submitter *s = (struct submitter *)pool->submitters.first;

		s->room = s->wanted < room(pool) ? s->wanted : room(pool);
		pool->reserved += s->room;
		torc__granted_add(granted, torc__queue_grant(&pool->submitters, 0));
	}
}

/* --- adding --- */

int torc__queue_closed_status(const struct torc__pool *pool)
{
	if (torc__likely(!__atomic_load_n(&pool->closed, __ATOMIC_RELAXED)))
		return 0;
	return (int32_t)__atomic_load_n(&pool->refusing, __ATOMIC_RELAXED) == -EPIPE ? -EPIPE
										     : -ESHUTDOWN;
}

/*
 * Add as many as there is room for, or as is reserved. Inside the guard; returns how many, an error, or 0: the
 * caller is in line.
 */
static int add(struct torc__pool *pool, struct torc_future *const *futures, size_t count,
	       struct submitter *s)
{
	size_t n = s->room ? s->room : in_line(pool) ? 0 : room(pool);
	int r = torc__queue_closed_status(pool);

	pool->reserved -= s->room;
	s->room = 0;
	if (torc__unlikely(r < 0))
		return r;
	if (n > count)
		n = count;
	if (n > INT32_MAX)
		n = INT32_MAX;
	if (torc__likely(n)) {
		if (!torc__future_ring_reserve(&pool->queue, n))
			return -ENOMEM;
		torc__future_ring_put(&pool->queue, futures, n);
		return (int)n;
	}
	if (pool->options.when_full == TORC_FULL_FAIL)
		return -EAGAIN;
	torc__signal_init(&s->signal);
	s->wanted = count;
	s->error = 0;
	torc__queue_push(&pool->submitters, &s->signal.hook.node);
	return 0;
}

/* In line: returns 0 with room, or an error without. */
static int wait_for_room(struct torc__pool *pool, struct submitter *s)
{
	int r = torc__signal_await(&s->signal, TORC_NEVER);
	bool queued;

	if (r == 0)
		return s->error;
	torc__guard_lock(NULL, &pool->queue_guard);
	queued = s->signal.hook.node.queued;
	if (queued)
		torc__queue_remove(&pool->submitters, &s->signal.hook.node);
	torc__guard_unlock(&pool->queue_guard);
	if (queued)
		return r;
	torc__signal_await_shielded(&s->signal); /* it has room after all */
	return s->error;
}

int torc__queue_add(struct torc__pool *pool, struct torc_future *const *futures, size_t count)
{
	struct submitter s;
	int r;

	s.room = 0;
	do {
		torc__guard_lock(NULL, &pool->queue_guard);
		r = add(pool, futures, count, &s);
		torc__guard_unlock(&pool->queue_guard);
		if (r) {
			if (r > 0)
				torc__pool_notify(pool);
			return r;
		}
	} while (!(r = wait_for_room(pool, &s)));
	return r;
}

/* --- taking --- */

/* How many a worker takes: not more than its share, for the others would have to steal it. */
static size_t share(const struct torc__pool *pool)
{
	size_t workers = pool->executor.parallelism;
	size_t n = (pool->queue.count + workers - 1) / workers;

	return n < TAKE_MOST ? n : TAKE_MOST;
}

uintptr_t torc__queue_take(struct torc__worker *w)
{
	struct torc__pool *pool = w->pool;
	struct torc_future *taken[TAKE_MOST];
	size_t n = 0, most;
	TORC__GRANTED(granted);

	if (!torc__queue_any(pool))
		return 0;
	torc__guard_lock(NULL, &pool->queue_guard);
	most = torc__deque_reserve(&w->deque, TAKE_MOST) ? share(pool) : 1;
	while (n < most && (taken[n] = torc__future_ring_take(&pool->queue)))
		n++;
	if (torc__unlikely(pool->options.queue_max))
		serve(pool, &granted);
	torc__guard_unlock(&pool->queue_guard);
	/* The latest first, so that they are run in the order in which they came. */
	while (n > 1)
		(void)torc__deque_push(&w->deque, (uintptr_t)taken[--n]); /* there is room */
	torc__wake_granted(NULL, &granted);
	return n ? (uintptr_t)taken[0] : 0;
}

/* --- the end --- */

/* Nobody in line gets room any more. */
static void turn_away(struct torc__pool *pool, int error, struct torc__granted *granted)
{
	while (pool->submitters.first) {
		((struct submitter *)pool->submitters.first)->error = error;
		torc__granted_add(granted, torc__queue_grant(&pool->submitters, 0));
	}
}

void torc__queue_close(struct torc__pool *pool, int status)
{
	struct torc_future *f;
	TORC__GRANTED(granted);

	torc__guard_lock(NULL, &pool->queue_guard);
	__atomic_store_n(&pool->closed, 1, __ATOMIC_SEQ_CST);
	if (status && (int32_t)pool->refusing != -EPIPE)
		__atomic_store_n(&pool->refusing, (uint32_t)status, __ATOMIC_RELAXED);
	turn_away(pool, torc__queue_closed_status(pool), &granted);
	torc__guard_unlock(&pool->queue_guard);
	torc__wake_granted(torc__loop(), &granted);
	/* One by one: what is told of it may do anything, outside of the guard. */
	while (status) {
		torc__guard_lock(NULL, &pool->queue_guard);
		f = torc__future_ring_take(&pool->queue);
		torc__guard_unlock(&pool->queue_guard);
		if (!f)
			break;
		torc__future_refuse(f, status);
	}
}
