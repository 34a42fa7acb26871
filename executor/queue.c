/*
 * executor/queue.c - the tasks of a pool that come from outside: lanes, and the line of those who wait for room.
 *
 * Only a pool with a limit has a line. A submitter that finds no room gets in it. What is taken makes room for the first in
 * line, as much as it wants or there is; the room is reserved for it, and nobody overtakes.
 */
#include <errno.h>

#include "executor/internal/signal.h"
#include "executor/internal/worker.h"

/* A worker takes its share of what waits, but no more than this at a time. */
#define TAKE_MOST 32u

__thread unsigned torc__queue_no_wait;

int torc__queue_closed_status(const struct torc__pool *pool)
{
	if (torc__likely(!__atomic_load_n(&pool->closed, __ATOMIC_RELAXED)))
		return 0;
	return (int32_t)__atomic_load_n(&pool->refusing, __ATOMIC_RELAXED) == -EPIPE ? -EPIPE
										     : -ESHUTDOWN;
}

/* --- lanes --- */

/* Threads are numbered as they come. */
static struct torc__lane *lane_here(struct torc__pool *pool)
{
	static unsigned threads;
	static __thread unsigned number; /* from 1 */
	unsigned index;

	if (torc__unlikely(!number))
		number = __atomic_add_fetch(&threads, 1, __ATOMIC_RELAXED);
	index = number % TORC__LANES;
	if (torc__unlikely(!(__atomic_load_n(&pool->lanes_used, __ATOMIC_RELAXED) >> index & 1)))
		__atomic_fetch_or(&pool->lanes_used, 1u << index, __ATOMIC_SEQ_CST);
	return &pool->lanes[index];
}

static int put(struct torc__pool *pool, struct torc_future *const *futures, size_t count)
{
	struct torc__lane *lane = lane_here(pool);
	int r;

	torc__guard_lock(NULL, &lane->guard);
	r = torc__queue_closed_status(pool);
	if (!r && !torc__lane_reserve(lane, count))
		r = -ENOMEM;
	if (torc__likely(!r))
		torc__lane_put(lane, futures, count);
	/* Who adds a step of a chain has no claim to the pool, but that torc__queue_close waits for the guard. */
	if (torc__unlikely(!r && torc__queue_no_wait))
		torc__pool_put(pool);
	torc__guard_unlock(&lane->guard);
	if (torc__likely(!r && !torc__queue_no_wait))
		torc__pool_put(pool);
	return r;
}

/* From any of the lanes, each worker from another one on, and each time from the next. */
static size_t take(struct torc__pool *pool, unsigned first, struct torc_future **ret_futures,
		   size_t most)
{
	uint32_t used = __atomic_load_n(&pool->lanes_used, __ATOMIC_ACQUIRE);
	size_t n = 0;

	for (unsigned i = 0; used && i < TORC__LANES && !n; i++) {
		unsigned index = (first + i) % TORC__LANES;

		if (used >> index & 1)
			n = torc__lane_take(&pool->lanes[index], ret_futures, most,
					    pool->executor.parallelism);
	}
	return n;
}

size_t torc__queue_count(const struct torc__pool *pool)
{
	uint32_t used = __atomic_load_n(&pool->lanes_used, __ATOMIC_ACQUIRE);
	size_t count = 0;

	for (unsigned i = 0; used >> i; i++)
		if (used >> i & 1)
			count += torc__lane_count(&pool->lanes[i]);
	return count;
}

/* --- the line --- */

struct submitter {
	struct torc__signal signal; /* first */
	size_t wanted;
	size_t room; /* reserved for it */
	int error;
};

/* Inside the guard. */
static size_t room(const struct torc__pool *pool)
{
	size_t most = pool->options.queue_max;

	return pool->queue_used < most ? most - pool->queue_used : 0;
}

/* Inside the guard: give room to those in line; they are to be woken outside of it. */
static void serve(struct torc__pool *pool, struct torc__granted *granted)
{
	while (pool->submitters.first && room(pool)) {
		struct submitter *s = (struct submitter *)pool->submitters.first;

		s->room = s->wanted < room(pool) ? s->wanted : room(pool);
		pool->queue_used += s->room;
		torc__granted_add(granted, torc__queue_grant(&pool->submitters, 0));
	}
}

/* So many places are free again. */
static void make_room(struct torc__pool *pool, size_t count)
{
	TORC__GRANTED(granted);

	torc__guard_lock(NULL, &pool->queue_guard);
	pool->queue_used -= count;
	serve(pool, &granted);
	torc__guard_unlock(&pool->queue_guard);
	torc__wake_granted(torc__loop(), &granted);
}

/* Inside the guard: reserve room for `count` or fewer, or get in line. Returns how many, 0: in line; or an error. */
static int reserve(struct torc__pool *pool, struct submitter *s, size_t count)
{
	size_t n = pool->submitters.first ? 0 : room(pool);
	int r = torc__queue_closed_status(pool);

	if (r < 0)
		return r;
	if (n > count)
		n = count;
	if (n > INT32_MAX)
		n = INT32_MAX;
	pool->queue_used += n;
	if (n)
		return (int)n;
	if (pool->options.when_full == TORC_FULL_FAIL)
		return -EAGAIN;
	torc__signal_init(&s->signal);
	s->wanted = count < INT32_MAX ? count : INT32_MAX;
	s->room = 0;
	s->error = 0;
	torc__queue_push(&pool->submitters, &s->signal.hook.node);
	return 0;
}

/* Returns how much room there is, or an error. */
static int wait_in_line(struct torc__pool *pool, struct submitter *s)
{
	int r = torc__signal_await(&s->signal, TORC_NEVER);
	bool queued = false;

	if (r < 0) {
		torc__guard_lock(NULL, &pool->queue_guard);
		queued = s->signal.hook.node.queued;
		if (queued)
			torc__queue_remove(&pool->submitters, &s->signal.hook.node);
		torc__guard_unlock(&pool->queue_guard);
		if (queued)
			return r;
		torc__signal_await_shielded(&s->signal); /* it has room after all */
	}
	return s->error ? s->error : (int)s->room;
}

static int add_with_limit(struct torc__pool *pool, struct torc_future *const *futures, size_t count)
{
	struct submitter s;
	int n, r;

	torc__guard_lock(NULL, &pool->queue_guard);
	n = reserve(pool, &s, count);
	torc__guard_unlock(&pool->queue_guard);
	if (n == 0)
		n = wait_in_line(pool, &s);
	if (n < 0)
		return n;
	r = put(pool, futures, (size_t)n);
	if (r < 0)
		make_room(pool, (size_t)n);
	return r < 0 ? r : n;
}

/* What must not wait is let in beyond the limit. */
static int add_anyhow(struct torc__pool *pool, struct torc_future *const *futures, size_t count)
{
	int r;

	torc__guard_lock(NULL, &pool->queue_guard);
	pool->queue_used += count;
	torc__guard_unlock(&pool->queue_guard);
	r = put(pool, futures, count);
	if (r < 0)
		make_room(pool, count);
	return r;
}

int torc__queue_add(struct torc__pool *pool, struct torc_future *const *futures, size_t count)
{
	int r;

	if (count > INT32_MAX)
		count = INT32_MAX;
	if (torc__likely(!pool->options.queue_max))
		r = put(pool, futures, count);
	else if (torc__queue_no_wait)
		r = add_anyhow(pool, futures, count);
	else
		return add_with_limit(pool, futures, count);
	return r < 0 ? r : (int)count;
}

uintptr_t torc__queue_take(struct torc__worker *w)
{
	struct torc__pool *pool = w->pool;
	struct torc_future *taken[TAKE_MOST];
	size_t most, n;

	if (!torc__queue_any(pool))
		return 0;
	most = torc__deque_reserve(&w->deque, TAKE_MOST) ? TAKE_MOST : 1;
	n = take(pool, w->lane++, taken, most);
	if (torc__unlikely(n && pool->options.queue_max))
		make_room(pool, n);
	for (size_t i = 0; i < n; i++)
		__builtin_prefetch(taken[i], 1); /* all of them come from another core */
	/* The latest first, so that they are run in the order in which they came. */
	for (size_t i = n; i > 1; i--)
		(void)torc__deque_push(&w->deque, (uintptr_t)taken[i - 1]); /* there is room */
	/* Another worker may have looked when they were neither here nor there. */
	if (n > 1)
		torc__pool_notify(pool);
	return n ? (uintptr_t)taken[0] : 0;
}

/* --- the end --- */

/* Inside the guard: nobody in line gets room any more. */
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
	if (status && (int32_t)__atomic_load_n(&pool->refusing, __ATOMIC_RELAXED) != -EPIPE)
		__atomic_store_n(&pool->refusing, (uint32_t)status, __ATOMIC_RELAXED);
	__atomic_store_n(&pool->closed, 1, __ATOMIC_SEQ_CST);
	turn_away(pool, torc__queue_closed_status(pool), &granted);
	torc__guard_unlock(&pool->queue_guard);
	torc__wake_granted(torc__loop(), &granted);
	/* Who has not seen that it is closed is through when its guard is free. */
	for (unsigned i = 0; i < TORC__LANES; i++) {
		torc__guard_lock(NULL, &pool->lanes[i].guard);
		torc__guard_unlock(&pool->lanes[i].guard);
	}
	__atomic_store_n(&pool->drained, 1, __ATOMIC_SEQ_CST);
	while (status && take(pool, 0, &f, 1))
		torc__future_refuse(f, status);
}
