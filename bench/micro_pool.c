/*
 * micro_pool.c - executors: submit and get, fork and join, map, offload. Two workers each.
 */
#include "bench/micro.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include <torc/executor/fork.h>
#include <torc/executor/map.h>
#include <torc/executor/offload.h>
#include <torc/executor/pool.h>
#include <torc/executor/wait.h>

#define TRIPS   20000
#define BATCH   1000
#define BATCHES 500
#define ITEMS   1000000
#define SLEEPS  10000
#define LEAVES  1000000

static struct torc_executor *pool;

static int make_pool(void)
{
	return torc_pool_create(&(struct torc_pool_options){ .workers = 2 }, &pool);
}

/* --- submit --- */

static int nothing(void *arg, void **ret_value)
{
	*ret_value = arg;
	return 0;
}

static int one_trip(void)
{
	struct torc_future *f;
	int r = torc_submit(pool, nothing, NULL, &f);

	if (r < 0)
		return r;
	r = torc_await(f, NULL);
	torc_future_put(f);
	return r;
}

static int report_trips(const char *median, const char *tail, double target)
{
	double *trips = calloc(TRIPS, sizeof(*trips));
	int r = trips ? 0 : -1;

	for (unsigned i = 0; i < TRIPS && r >= 0; i++) {
		double start = micro_now_ns();

		r = one_trip();
		trips[i] = micro_now_ns() - start;
	}
	if (r >= 0) {
		micro_report(median, micro_median_of(trips, TRIPS), "ns", target);
		micro_report(tail, trips[TRIPS * 99 / 100], "ns", MICRO_NO_TARGET);
	}
	free(trips);
	return r;
}

/* Wait until all are done, and look at each result. */
static int finish_batch(struct torc_future **futures)
{
	int r = torc_wait(futures, BATCH, TORC_ALL_COMPLETED, TORC_NEVER);

	for (unsigned i = 0; i < BATCH && r >= 0; i++)
		r = torc_future_try(futures[i], NULL);
	torc_future_put_many(futures, BATCH);
	return r;
}

static int batch_singly(void **args, struct torc_future **futures)
{
	int r = 0;

	for (unsigned i = 0; i < BATCH; i++)
		r |= torc_submit(pool, nothing, args[i], &futures[i]);
	return r < 0 ? r : finish_batch(futures);
}

static int batch_at_once(void **args, struct torc_future **futures)
{
	int r = torc_submit_many(pool, nothing, args, BATCH, futures);

	return r < 0 ? r : finish_batch(futures);
}

struct batches {
	int (*one)(void **args, struct torc_future **futures);
	int error;
};

/* Millions of tasks a second. */
static double measure_batches(void *arg)
{
	static void *args[BATCH];
	static struct torc_future *futures[BATCH];
	struct batches *b = arg;
	double start = micro_now_ns();

	for (unsigned i = 0; i < BATCHES; i++)
		b->error |= b->one(args, futures) < 0;
	return (double)BATCH * BATCHES * 1e3 / (micro_now_ns() - start);
}

static int report_batches(const char *metric, int (*one)(void **, struct torc_future **))
{
	struct batches b = { .one = one };
	double rate = micro_median(measure_batches, &b);

	micro_report_rate(metric, rate, "M/s", MICRO_NO_TARGET);
	return b.error ? -EIO : 0;
}

static int submit_from_fiber(void *arg)
{
	int r = report_trips("round trip from a fiber, p50", "round trip from a fiber, p99", 3000);

	(void)arg;
	if (r >= 0)
		r = report_batches("batches of 1000 from a fiber", batch_at_once);
	return r < 0 ? r : report_batches("one by one from a fiber", batch_singly);
}

static int submit_from_thread(void)
{
	int r = report_trips("round trip from a thread, p50", "round trip from a thread, p99",
			     MICRO_NO_TARGET);

	if (r >= 0)
		r = report_batches("batches of 1000 from a thread", batch_at_once);
	return r < 0 ? r : report_batches("one by one from a thread", batch_singly);
}

static int run_submit(void)
{
	int r = make_pool();

	if (r < 0)
		return r;
	r = micro_in_fiber(submit_from_fiber);
	if (r >= 0)
		r = submit_from_thread();
	torc_executor_destroy(pool);
	return r;
}

/* --- fork --- */

static int fib(void *arg, void **ret_value)
{
	intptr_t n = (intptr_t)arg;
	struct torc_job job;
	void *a = NULL, *b = NULL;
	int r;

	if (n < 2) {
		*ret_value = arg;
		return 0;
	}
	torc_fork(&job, fib, (void *)(n - 1));
	r = fib((void *)(n - 2), &b);
	r |= torc_join(&job, &a);
	*ret_value = (void *)((intptr_t)a + (intptr_t)b);
	return r;
}

/* A node of the tree: the number of its first leaf, and how many leaves it has. */
struct node {
	intptr_t first, leaves;
};

static int skynet(void *arg, void **ret_value)
{
	const struct node *node = arg;
	struct node children[10];
	struct torc_job jobs[10];
	intptr_t sum = 0, each = node->leaves / 10;
	int r = 0;

	if (node->leaves == 1) {
		*ret_value = (void *)node->first;
		return 0;
	}
	for (int i = 0; i < 10; i++) {
		children[i] = (struct node){ node->first + i * each, each };
		torc_fork(&jobs[i], skynet, &children[i]);
	}
	for (int i = 10; i-- > 0;) {
		void *value = NULL;

		r |= torc_join(&jobs[i], &value);
		sum += (intptr_t)value;
	}
	*ret_value = (void *)sum;
	return r;
}

struct tree {
	torc_work_fn *fn;
	void *arg;
	intptr_t result;
	bool wrong;
};

/* Milliseconds. */
static double measure_tree(void *arg)
{
	struct tree *tree = arg;
	double start = micro_now_ns();
	struct torc_future *f;
	void *value = NULL;

	if (torc_submit(pool, tree->fn, tree->arg, &f) < 0 || torc_await(f, &value) < 0)
		tree->wrong = true;
	else
		torc_future_put(f);
	tree->wrong |= (intptr_t)value != tree->result;
	return (micro_now_ns() - start) / 1e6;
}

static int run_fork(void)
{
	struct node root = { 0, LEAVES };
	struct tree trees[] = {
		{ fib, (void *)32, 2178309, false },
		{ skynet, &root, (intptr_t)LEAVES * (LEAVES - 1) / 2, false },
	};
	static const char *const metrics[] = { "fib(32)", "skynet, 10^6 leaves" };
	int r = make_pool();

	if (r < 0)
		return r;
	for (unsigned i = 0; i < 2; i++) {
		micro_report(metrics[i], micro_median(measure_tree, &trees[i]), "ms",
			     MICRO_NO_TARGET);
		r = trees[i].wrong ? -EIO : r;
	}
	torc_executor_destroy(pool);
	return r;
}

/* --- map --- */

static int square(void *arg, const void *item, void *ret_result)
{
	int number = *(const int *)item;

	(void)arg;
	*(int *)ret_result = (int)((unsigned)number * (unsigned)number);
	return 0;
}

static double measure_map(void *arg)
{
	struct torc_map *map = arg;
	double start = micro_now_ns();

	if (torc_map(pool, map) < 0)
		map->count = 0;
	return (micro_now_ns() - start) / ITEMS;
}

static int map_from_fiber(void *arg)
{
	int *items = calloc(ITEMS, sizeof(*items)), *results = calloc(ITEMS, sizeof(*results));
	struct torc_map map = { .fn = square,
				.items = items,
				.item_bytes = sizeof(*items),
				.results = results,
				.result_bytes = sizeof(*results),
				.count = ITEMS };
	int r = items && results ? 0 : -ENOMEM;

	(void)arg;
	for (int i = 0; i < ITEMS && !r; i++)
		items[i] = i;
	if (!r)
		micro_report("10^6 small items", micro_median(measure_map, &map), "ns",
			     MICRO_NO_TARGET);
	if (!r && (!map.count || results[1000] != 1000000))
		r = -EIO;
	free(items);
	free(results);
	return r;
}

static int run_map(void)
{
	int r = make_pool();

	if (r < 0)
		return r;
	r = micro_in_fiber(map_from_fiber);
	torc_executor_destroy(pool);
	return r;
}

/* --- offload --- */

static int sleep_1ms(void *arg)
{
	(void)arg;
	return nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

static int sleep_elsewhere(void *arg)
{
	return torc_offload(sleep_1ms, arg);
}

/* A fiber each; 512 threads. */
static double measure_sleeps(void *arg)
{
	double start = micro_now_ns();
	struct torc_group g;
	int *error = arg;

	torc_group_enter(&g);
	for (unsigned i = 0; i < SLEEPS; i++)
		*error |= torc_group_spawn(&g, sleep_elsewhere, NULL);
	*error |= torc_group_wait(&g);
	return (micro_now_ns() - start) / 1e6;
}

static int offload_from_fibers(void *arg)
{
	int error = 0;

	(void)arg;
	micro_report("10000 sleeps of 1 ms", micro_median(measure_sleeps, &error), "ms",
		     MICRO_NO_TARGET);
	return error;
}

static int run_offload(void)
{
	return micro_in_fiber(offload_from_fibers);
}

const struct micro micro_submit = { "submit", "tasks for a pool of two workers, and their results",
				    run_submit };
const struct micro micro_fork = { "fork", "divide and conquer on two workers", run_fork };
const struct micro micro_map = { "map", "a function for each item of an array, on two workers",
				 run_map };
const struct micro micro_offload = { "offload", "10 000 fibers that make a blocking call each",
				     run_offload };
