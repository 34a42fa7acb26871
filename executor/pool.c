#include <torc/executor/pool.h>

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "core/internal/system.h"
#include "executor/internal/worker.h"

#define WORKERS_MOST 1024u

/* --- all pools --- */

static struct torc__guard pools_guard = TORC__GUARD_INIT_SHARED;
static struct torc__pool *pools;

static void settle_all(void)
{
	torc__guard_lock(NULL, &pools_guard);
	for (struct torc__pool *pool = pools; pool; pool = pool->next)
		torc__pool_settle(pool);
	torc__guard_unlock(&pools_guard);
}

static void enlist(struct torc__pool *pool)
{
	torc__guard_lock(NULL, &pools_guard);
	pool->next = pools;
	pools = pool;
	__atomic_store_n(&torc__on_nap, settle_all, __ATOMIC_RELEASE);
	torc__guard_unlock(&pools_guard);
}

static void delist(struct torc__pool *pool)
{
	struct torc__pool **link = &pools;

	torc__guard_lock(NULL, &pools_guard);
	while (*link != pool)
		link = &(*link)->next;
	*link = pool->next;
	if (!pools)
		__atomic_store_n(&torc__on_nap, NULL, __ATOMIC_RELEASE);
	torc__guard_unlock(&pools_guard);
}

/* --- the executor's side --- */

static struct torc__pool *pool_of(struct torc_executor *executor)
{
	return (struct torc__pool *)executor;
}

/* From one of its own workers: into its deque, where there is always room. */
static int submit_here(struct torc__worker *w, struct torc_future *const *futures, size_t count)
{
	struct torc__pool *pool = w->pool;
	size_t n = 0;

	if (__atomic_load_n(&pool->closed, __ATOMIC_RELAXED))
		return torc__queue_closed_status(pool);
	while (n < count && n < INT_MAX && torc__deque_push(&w->deque, (uintptr_t)futures[n]))
		n++;
	if (!n)
		return -ENOMEM;
	torc__pool_pushed(pool);
	return (int)n;
}

static int submit(struct torc_executor *executor, struct torc_future *const *futures, size_t count)
{
	struct torc__pool *pool = pool_of(executor);
	struct torc__worker *w = torc__worker_here();

	if (w && w->pool == pool)
		return submit_here(w, futures, count);
	return torc__queue_add(pool, futures, count);
}

static int shut_down(struct torc_executor *executor, unsigned flags)
{
	struct torc__pool *pool = pool_of(executor);
	struct torc__worker *w = torc__worker_here();

	torc__queue_close(pool, flags & TORC_CANCEL_PENDING ? -ECANCELED : 0);
	torc__pool_wake_all(pool);
	if (flags & TORC_NO_WAIT)
		return 0;
	if (w && w->pool == pool)
		return -EDEADLK;
	return torc__event_await(&pool->over, TORC_NEVER, NULL);
}

static void free_pool(struct torc__pool *pool)
{
	for (unsigned i = 0; pool->workers && i < pool->executor.parallelism; i++)
		torc__deque_done(&pool->workers[i].deque);
	torc__free(pool->workers);
	for (unsigned i = 0; i < TORC__LANES; i++)
		torc__lane_done(&pool->lanes[i]);
	torc__free(pool);
}

static void destroy(struct torc_executor *executor)
{
	struct torc__pool *pool = pool_of(executor);

	for (unsigned i = 0; i < pool->present; i++)
		torc__thread_join(&pool->workers[i].thread);
	delist(pool);
	free_pool(pool);
}

static const struct torc_executor_ops pool_ops = {
	.name = "thread pool",
	.submit = submit,
	.shutdown = shut_down,
	.destroy = destroy,
};

/* --- options --- */

static bool valid(const struct torc_pool_options *o)
{
	if (o->workers > WORKERS_MOST ||
	    (o->stack_bytes && o->stack_bytes < TORC__THREAD_STACK_MIN))
		return false;
	if (o->when_full != TORC_FULL_WAIT && o->when_full != TORC_FULL_FAIL)
		return false;
	for (size_t i = 0; o->cpus && i < o->cpus_count; i++)
		if (o->cpus[i] < 0 || o->cpus[i] >= CPU_SETSIZE)
			return false;
	return !o->cpus == !o->cpus_count;
}

/* --- starting --- */

static struct torc__pool *allocate(const struct torc_pool_options *o)
{
	unsigned workers = o->workers ? o->workers : torc__thread_cores();
	struct torc__pool *pool = torc__alloc_lines(sizeof(*pool));

	if (!pool)
		return NULL;
	memset(pool, 0, sizeof(*pool));
	pool->executor = (struct torc_executor){ .ops = &pool_ops, .parallelism = workers };
	pool->options = *o;
	pool->workers = torc__alloc_lines(workers * sizeof(*pool->workers));
	if (pool->workers)
		memset(pool->workers, 0, workers * sizeof(*pool->workers));
	for (unsigned i = 0; pool->workers && i < workers; i++) {
		if (torc__deque_init(&pool->workers[i].deque))
			continue;
		free_pool(pool);
		return NULL;
	}
	if (pool->workers)
		return pool;
	free_pool(pool);
	return NULL;
}

static void prepare(struct torc__pool *pool)
{
	unsigned n = pool->executor.parallelism, available = torc__thread_cores();

	pool->idle_guard = (struct torc__guard)TORC__GUARD_INIT_SHARED;
	pool->queue_guard = (struct torc__guard)TORC__GUARD_INIT_SHARED;
	for (unsigned i = 0; i < TORC__LANES; i++)
		pool->lanes[i].guard = (struct torc__guard)TORC__GUARD_INIT_SHARED;
	torc__event_init_shared(&pool->over, TORC__EVENT_EXPECTED);
	/* Half of the cores may search, for the others are needed by who would bring the tasks. */
	pool->searching_most = available / 2 < n ? (available + 1) / 2 : n;
	/* On the simulator the same on each machine. */
	if (torc__threads_simulated())
		available = 2;
	pool->crowd = available > n ? available : n;
	pool->may_search = available > 1 && !torc__threads_simulated();
	pool->may_be_light = torc__barrier_start();
	pool->live = pool->present = n;
}

static void prepare_worker(struct torc__pool *pool, unsigned index)
{
	struct torc__worker *w = &pool->workers[index];
	const struct torc_pool_options *o = &pool->options;

	w->pool = pool;
	w->index = w->lane = index;
	w->random = index * 2654435761u + 1;
	w->unfit = true;
	w->watch_ns = TORC__WATCH_NS;
	w->token = TORC__AWAKE;
	w->thread = (struct torc__thread){
		.run = torc__worker_main,
		.stack_bytes = o->stack_bytes,
		.cpu = o->cpus ? o->cpus[index % o->cpus_count] : -1,
	};
	torc__thread_set_name(&w->thread, o->name ? o->name : "pool", index);
}

/* Those that have been started end, as the pool is closed and those that are missing count as ended. */
static void give_up(struct torc__pool *pool, unsigned started)
{
	unsigned missing = pool->executor.parallelism - started;

	if (!started) {
		delist(pool);
		free_pool(pool);
		return;
	}
	__atomic_sub_fetch(&pool->live, missing,
			   __ATOMIC_ACQ_REL); /* before one of them can be the last */
	torc__guard_lock(NULL, &pool->idle_guard);
	__atomic_store_n(&pool->present, started, __ATOMIC_RELAXED);
	torc__guard_unlock(&pool->idle_guard);
	torc_executor_destroy(&pool->executor);
}

int torc_pool_create(const struct torc_pool_options *options, struct torc_executor **ret_pool)
{
	const struct torc_pool_options defaults = { .workers = 0 };
	const struct torc_pool_options *o = options ? options : &defaults;
	struct torc__pool *pool;
	unsigned n;
	int r;

	if (!valid(o))
		return -EINVAL;
	pool = allocate(o);
	if (!pool)
		return -ENOMEM;
	prepare(pool);
	n = pool->executor.parallelism;
	for (unsigned i = 0; i < n; i++)
		prepare_worker(pool, i);
	enlist(pool);
	for (unsigned i = 0; i < n; i++) {
		r = torc__thread_start(&pool->workers[i].thread);
		if (r < 0) {
			give_up(pool, i);
			return r;
		}
	}
	*ret_pool = &pool->executor;
	return 0;
}

void torc_pool_stats(struct torc_executor *executor, struct torc_pool_stats *ret_stats)
{
	struct torc__pool *pool = pool_of(executor);
	struct torc_pool_stats s = { .workers = executor->parallelism };

	torc__check(executor->ops == &pool_ops,
		    "torc_pool_stats of another executor than a thread pool");
	s.idle = __atomic_load_n(&pool->parked, __ATOMIC_RELAXED);
	s.queued = torc__queue_count(pool);
	s.wakes = __atomic_load_n(&pool->wakes, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < s.workers; i++) {
		const struct torc__worker *w = &pool->workers[i];

		s.tasks += __atomic_load_n(&w->tasks, __ATOMIC_RELAXED);
		s.stolen += __atomic_load_n(&w->stolen, __ATOMIC_RELAXED);
		s.parks += __atomic_load_n(&w->parks, __ATOMIC_RELAXED);
	}
	*ret_stats = s;
}
