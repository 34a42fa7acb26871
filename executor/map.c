/*
 * executor/map.c - ranges and arrays: a few runners, each of which claims one part of the range after the other.
 *
 * A runner may be started late, or never, when the executor is busy: what counts is that all parts have been claimed and
 * those that claimed some have ended. So who waits cancels the runners that have not been started by then.
 */
#include <torc/executor/map.h>

#include <errno.h>
#include <string.h>

#include <torc/executor/wait.h>

#include "executor/internal/worker.h"

/* Parts per runner: so that none is left alone with a long one, but claiming costs little. */
#define PARTS_EACH 8u

/* More would wait for each other at the next part. */
#define RUNNERS_MOST 256u

struct range {
	torc_range_fn *fn;
	void *arg;
	size_t begin, end, chunk, parts;
	size_t claimed;       /* parts */
	uint64_t deadline_ns; /* TORC_NEVER: none */
	uint32_t stop, late;
	struct torc__guard guard; /* for the failure */
	size_t failed_at;         /* the first of a part or item that has failed */
	int failure;
};

static void stop(struct range *r)
{
	__atomic_store_n(&r->stop, 1, __ATOMIC_RELAXED);
}

static void fail(struct range *r, size_t at, int error)
{
	stop(r);
	torc__guard_lock(NULL, &r->guard);
	if (!r->failure || at < r->failed_at) {
		r->failure = error;
		r->failed_at = at;
	}
	torc__guard_unlock(&r->guard);
}

static bool stopped(const struct range *r)
{
	return __atomic_load_n(&r->stop, __ATOMIC_RELAXED);
}

/* Is it too late for another item? The caller may be the one that runs all of them. */
static bool is_late(struct range *r)
{
	if (torc__likely(r->deadline_ns == TORC_NEVER) || torc_now_ns() < r->deadline_ns)
		return false;
	__atomic_store_n(&r->late, 1, __ATOMIC_RELAXED);
	stop(r);
	return true;
}

static int run_parts(void *arg, void **ret_value)
{
	struct range *r = arg;
	size_t part;

	(void)ret_value;
	while (!stopped(r) &&
	       (part = __atomic_fetch_add(&r->claimed, 1, __ATOMIC_RELAXED)) < r->parts) {
		size_t begin = r->begin + part * r->chunk;
		size_t end = r->end - begin > r->chunk ? begin + r->chunk : r->end;
		int status = r->fn(r->arg, begin, end);

		if (status < 0)
			fail(r, begin, status);
	}
	return 0;
}

/* --- in a worker of the pool: jobs --- */

static bool is_worker_of(const struct torc_executor *executor)
{
	const struct torc__worker *w = torc__worker_here();

	return w && &w->pool->executor == executor;
}

/* By halves, so that forking is shared too; the number of runners is the value. */
struct crowd {
	struct range *range;
	unsigned runners;
};

static int run_crowd(void *arg, void **ret_value)
{
	struct crowd *c = arg, half;
	struct torc_job job;

	if (c->runners == 1)
		return run_parts(c->range, ret_value);
	half = (struct crowd){ c->range, c->runners / 2 };
	c->runners -= half.runners;
	torc_fork(&job, run_crowd, &half);
	(void)run_crowd(c, ret_value);
	return torc_join(&job, NULL); /* 0: what has failed is in the range */
}

/* --- from outside: futures --- */

/* Those that run have to end, whatever the caller's scope says; those that do not are not needed. */
static void end_runners(struct torc_future *const *runners, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		(void)torc_future_cancel(runners[i]); /* if it stops it, that may take a moment */
		torc__event_await_shielded(&runners[i]->event);
		torc_future_put(runners[i]);
	}
}

/* Until one runner finds that no part is left, or some of them could not do their work. */
static int await_runners(struct torc_future *const *runners, unsigned count, uint64_t deadline_ns)
{
	struct torc_completion c;
	struct torc_future *f;
	int r, status = 0;

	r = torc_as_completed(&c, runners, count, deadline_ns);
	if (r < 0)
		return r;
	while ((r = torc_completion_next(&c, &f)) > 0)
		if ((status = torc__future_read(f, NULL)) ==
		    0) /* not so of a broken executor, say */
			break;
	torc_completion_done(&c);
	return r < 0 ? r : status;
}

static int run_from_outside(struct torc_executor *executor, struct range *range, unsigned count)
{
	struct torc_future *runners[RUNNERS_MOST];
	unsigned started = 0;
	int r = 0;

	while (started < count && !(r = torc_submit(executor, run_parts, range, &runners[started])))
		started++;
	/* With fewer it takes longer. */
	if (started && r != -ECANCELED && r != -ETIMEDOUT)
		r = await_runners(runners, started, range->deadline_ns);
	if (r < 0)
		stop(range);
	end_runners(runners, started);
	return r;
}

/* --- both --- */

static void cut(struct range *r, size_t chunk, unsigned parallelism)
{
	size_t count = r->end - r->begin;

	if (!chunk)
		chunk = count / ((size_t)parallelism * PARTS_EACH);
	r->chunk = chunk ? chunk : 1;
	r->parts = count / r->chunk + (count % r->chunk != 0);
}

static int run_range(struct torc_executor *executor, struct range *range, size_t chunk)
{
	unsigned runners = torc_executor_parallelism(executor);
	int r = torc_in_fiber() ? torc__scope_check(torc__self()) : 0;

	if (r < 0 || range->begin >= range->end)
		return r;
	cut(range, chunk, runners);
	if (runners > RUNNERS_MOST)
		runners = RUNNERS_MOST;
	if (range->parts < runners)
		runners = (unsigned)range->parts;
	range->guard = (struct torc__guard)TORC__GUARD_INIT_SHARED;
	if (is_worker_of(executor))
		(void)run_crowd(&(struct crowd){ range, runners }, NULL);
	else
		r = run_from_outside(executor, range, runners);
	if (range->failure)
		return range->failure;
	return range->late ? -ETIMEDOUT : r;
}

int torc_parallel_for(struct torc_executor *executor, size_t begin, size_t end, size_t chunk,
		      torc_range_fn *fn, void *arg)
{
	struct range range = {
		.fn = fn, .arg = arg, .begin = begin, .end = end, .deadline_ns = TORC_NEVER
	};

	return run_range(executor, &range, chunk);
}

/* --- arrays --- */

struct mapping {
	const struct torc_map *map;
	struct range *range;
};

static int map_part(void *arg, size_t begin, size_t end)
{
	const struct mapping *mapping = arg;
	const struct torc_map *m = mapping->map;
	const char *item = m->item_bytes ? (const char *)m->items + begin * m->item_bytes : NULL;
	char *result = m->result_bytes ? (char *)m->results + begin * m->result_bytes : NULL;

	for (size_t i = begin; i < end && !stopped(mapping->range) && !is_late(mapping->range);
	     i++) {
		int status = m->fn(m->arg, item, result);

		if (status < 0) {
			fail(mapping->range, i, status);
			break;
		}
		item += m->item_bytes;
		result += m->result_bytes;
	}
	return 0;
}

int torc_map(struct torc_executor *executor, const struct torc_map *map)
{
	struct range range = { .fn = map_part, .end = map->count };
	struct mapping mapping = { map, &range };

	if (executor->ops->map)
		return executor->ops->map(executor, map);

	range.arg = &mapping;
	range.deadline_ns = map->deadline_ns ? map->deadline_ns : TORC_NEVER;
	return run_range(executor, &range, map->chunk);
}
