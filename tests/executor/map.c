/*
 * The same function for many items: of arrays, of ranges of numbers, and of generators.
 */
#include "tests/executor/run.h"

#include <torc/executor/map.h>

TestSuite(map, .timeout = 20);

/* With pools of several sizes, with an executor of other threads, and with none but the caller's. */
static void with_executors(void (*body)(struct torc_executor *executor))
{
	struct torc_executor own = at_once(), *executors[] = {
		pool_with(POOL(.workers = 1)),
		pool_with(POOL(.workers = 3)),
		elastic_with(ELASTIC(.threads_max = 2)),
		&own,
	};

	for (size_t i = 0; i < COUNT(executors); i++) {
		body(executors[i]);
		torc_executor_destroy(executors[i]);
	}
}

static struct torc_executor *shut_down(void)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 1));

	check_eq(torc_executor_shutdown(pool, 0), 0);
	return pool;
}

static int fail_to_initialize(void *arg, unsigned index)
{
	(void)arg, (void)index;
	return -EUCLEAN;
}

static struct torc_executor *broken(void)
{
	struct torc_executor *pool =
		pool_with(POOL(.workers = 1, .initializer = fail_to_initialize));

	while (torc_submit(pool, give, NULL, NULL) == 0)
		sched_yield();
	return pool;
}

static int refuse(struct torc_executor *executor, struct torc_future *const *futures, size_t count)
{
	(void)executor, (void)futures, (void)count;
	return -EDQUOT;
}

static struct torc_executor refusing(void)
{
	static const struct torc_executor_ops ops = { .name = "refusing",
						      .submit = refuse,
						      .shutdown = no_shutdown };

	return (struct torc_executor){ .ops = &ops, .parallelism = 4 };
}

static const size_t chunks[] = { 0, 1, 3, 1000, SIZE_MAX };

/* What a task of a map looks at, and does. */
struct work {
	atomic_int begun, over;
	int fails_at, fails_at_too; /* items */
	struct torc_executor *executor;
	struct gate gate;
	uint64_t until_ns;
};

/* --- arrays --- */

static int square(void *arg, const void *item, void *ret_result)
{
	const int *n = item;
	struct work *w = arg;

	atomic_fetch_add(&w->begun, 1);
	*(int64_t *)ret_result = (int64_t)*n * *n;
	atomic_fetch_add(&w->over, 1);
	return (*n + 7) % 5; /* any success */
}

#define MOST 1000

static void map_squares(struct torc_executor *e)
{
	static const size_t counts[] = { 0, 1, 2, 7, 100, MOST };
	int items[MOST];
	int64_t results[MOST];

	for (int i = 0; i < MOST; i++)
		items[i] = i - 7;
	for (size_t c = 0; c < COUNT(counts); c++) {
		for (size_t k = 0; k < COUNT(chunks); k++) {
			struct work w = { .begun = 0 };
			struct torc_map map = {
				.fn = square,
				.arg = &w,
				.items = items,
				.item_bytes = sizeof(items[0]),
				.results = results,
				.result_bytes = sizeof(results[0]),
				.count = counts[c],
				.chunk = chunks[k],
				.deadline_ns = k == 0   ? 0
					       : k == 1 ? TORC_NEVER
							: torc_now_ns() + LONG,
			};

			memset(results, -1, sizeof(results));
			check_eq(torc_map(e, &map), 0);
			check_eq(w.begun, counts[c]);
			for (size_t i = 0; i < MOST; i++)
				check_eq(results[i],
					 i < counts[c] ? (int64_t)items[i] * items[i] : -1);
		}
	}
}

EVERYWHERE(map, puts_results_in_the_order_of_the_items)
{
	with_executors(map_squares);
}

static int reverse(void *arg, const void *item, void *ret_result)
{
	const char *in = item;
	char *out = ret_result;

	(void)arg;
	for (int i = 0; i < 3; i++)
		out[i] = in[2 - i];
	return 0;
}

static void map_oddly_sized(struct torc_executor *e)
{
	static const char items[] = "abcdefghijkl", expected[] = "cbafedihglkj";
	char results[sizeof(items)] = "";
	struct torc_map map = { .fn = reverse,
				.items = items,
				.item_bytes = 3,
				.results = results,
				.result_bytes = 3,
				.count = 4,
				.chunk = 1 };

	check_eq(torc_map(e, &map), 0);
	check_eq(strcmp(results, expected), 0);
}

EVERYWHERE(map, has_items_and_results_of_any_size)
{
	with_executors(map_oddly_sized);
}

static int count_item(void *arg, const void *item, void *ret_result)
{
	struct work *w = arg;

	(void)item, (void)ret_result;
	atomic_fetch_add(&w->begun, 1);
	return 0;
}

static void map_nothing(struct torc_executor *e)
{
	struct work w = { .begun = 0 };
	struct torc_map map = { .fn = count_item, .arg = &w, .count = 100 };

	check_eq(torc_map(e, &map), 0);
	check_eq(w.begun, 100);
	map.count = 0;
	check_eq(torc_map(e, &map), 0);
	check_eq(w.begun, 100);
}

EVERYWHERE(map, needs_neither_items_nor_results)
{
	with_executors(map_nothing);
}

static int count_range(void *arg, size_t begin, size_t end)
{
	struct work *w = arg;

	atomic_fetch_add(&w->begun, (int)(end - begin));
	return 0;
}

static int fail_at(void *arg, const void *item, void *ret_result)
{
	const int *n = item;
	struct work *w = arg;

	atomic_fetch_add(&w->begun, 1);
	if (*n == w->fails_at)
		return -EIO;
	*(int *)ret_result = *n + 1;
	return 0;
}

static void map_with_failure(struct torc_executor *e)
{
	static int items[MOST], results[MOST];

	for (size_t k = 0; k < COUNT(chunks); k++) {
		struct work w = { .fails_at = 17 };
		struct torc_map map = { .fn = fail_at,
					.arg = &w,
					.items = items,
					.item_bytes = sizeof(items[0]),
					.results = results,
					.result_bytes = sizeof(results[0]),
					.count = MOST,
					.chunk = chunks[k] };
		int begun, there = 0;

		for (int i = 0; i < MOST; i++) {
			items[i] = i;
			results[i] = -1;
		}
		check_eq(torc_map(e, &map), -EIO);
		begun = w.begun;
		check_ge(begun, 1);
		check_le(begun, MOST);
		for (int i = 0; i < MOST; i++) {
			check(results[i] == -1 || (i != 17 && results[i] == i + 1));
			there += results[i] != -1;
		}
		check_eq(there, begun - 1); /* those that succeeded */
		if (map.chunk == 1 && torc_executor_parallelism(e) == 1)
			check_lt(begun, MOST); /* no further ones were begun */
	}
}

EVERYWHERE(map, fails_with_an_item_and_begins_no_more)
{
	with_executors(map_with_failure);
}

/* The later item fails first: both have been begun by then. */
static int fail_together(void *arg, const void *item, void *ret_result)
{
	const int *n = item;
	struct work *w = arg;

	(void)ret_result;
	atomic_fetch_add(&w->begun, 1);
	while (atomic_load(&w->begun) < 2)
		sched_yield();
	if (*n == 0)
		while (!atomic_load(&w->over))
			sched_yield();
	else
		atomic_store(&w->over, 1);
	return *n ? -EXDEV : -EIO;
}

EVERYWHERE(map, fails_with_the_first_failure_in_the_order_of_the_items)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 2));
	static const int items[] = { 0, 1 };
	struct work w = { .begun = 0 };
	struct torc_map map = { .fn = fail_together,
				.arg = &w,
				.items = items,
				.item_bytes = sizeof(items[0]),
				.count = 2,
				.chunk = 1 };

	check_eq(torc_map(pool, &map), -EIO);
	torc_executor_destroy(pool);
}

/* And then some more, so that not all can be over before the deadline is noticed. */
static int wait_for_deadline(void *arg, const void *item, void *ret_result)
{
	struct work *w = arg;
	uint64_t until_ns = torc_now_ns() + TORC_MS(1);

	(void)item, (void)ret_result;
	atomic_fetch_add(&w->begun, 1);
	if (until_ns < w->until_ns)
		until_ns = w->until_ns;
	while (torc_now_ns() <= until_ns)
		sched_yield();
	atomic_fetch_add(&w->over, 1);
	return 0;
}

static void map_too_late(struct torc_executor *e)
{
	for (int past = 0; past < 2; past++) {
		struct work w = { .until_ns = past ? PAST : SOON };
		struct torc_map map = { .fn = wait_for_deadline,
					.arg = &w,
					.count = MOST,
					.chunk = 1,
					.deadline_ns = w.until_ns };

		check_eq(torc_map(e, &map), -ETIMEDOUT);
		check_eq(w.begun, w.over); /* nothing is left running */
		check_lt(w.begun, MOST);
	}
}

static int map_too_late_in_task(void *arg, void **ret_value)
{
	(void)ret_value;
	map_too_late(arg);
	return 0;
}

EVERYWHERE(map, is_late_inside_of_a_task_of_the_same_pool)
{
	for (unsigned workers = 1; workers < 4; workers++) {
		struct torc_executor *pool = pool_with(POOL(.workers = workers));

		expect(submit(pool, map_too_late_in_task, pool), 0, NULL);
		torc_executor_destroy(pool);
	}
}

EVERYWHERE(map, is_late_at_the_deadline_but_leaves_nothing_running)
{
	struct torc_executor *executors[] = { pool_with(POOL(.workers = 1)),
					      pool_with(POOL(.workers = 3)),
					      elastic_with(ELASTIC(.threads_max = 2)) };

	for (size_t i = 0; i < COUNT(executors); i++) {
		map_too_late(executors[i]);
		torc_executor_destroy(executors[i]);
	}
}

static int hold_item(void *arg, const void *item, void *ret_result)
{
	struct work *w = arg;

	(void)item, (void)ret_result;
	pass_gate(&w->gate);
	return 0;
}

static int hold_range(void *arg, size_t begin, size_t end)
{
	struct work *w = arg;

	(void)begin, (void)end;
	pass_gate(&w->gate);
	return 0;
}

struct canceller {
	struct work *work;
	struct torc_scope *scope;
};

/* Once one item is held; then it can go on. */
static int cancel_and_open(void *arg)
{
	struct canceller *c = arg;

	gate_wait(&c->work->gate, 1);
	torc_scope_cancel(c->scope);
	for (int i = 0; i < 3; i++)
		check_eq(torc_yield(), 0); /* the other fiber is told */
	gate_open(&c->work->gate, MOST);
	return 0;
}

static int map_in_ended_scope(void *arg)
{
	for (unsigned workers = 1; workers < 3; workers++) {
		struct torc_executor *pool = pool_with(POOL(.workers = workers));
		struct work w = { .begun = 0 };
		struct torc_map map = { .fn = hold_item, .arg = &w, .count = MOST, .chunk = 1 };
		struct torc_scope s;
		struct canceller c = { &w, &s };
		struct torc_group g;
		int r;

		gate_init(&w.gate);
		torc_group_enter(&g);
		torc_scope_enter(&s, TORC_NEVER);
		check_eq(torc_group_spawn(&g, cancel_and_open, &c), 0);
		r = arg ? torc_parallel_for(pool, 0, MOST, 1, hold_range, &w)
			: torc_map(pool, &map);
		check_eq(r, -ECANCELED);
		torc_scope_leave(&s);
		check_eq(torc_group_wait(&g), 0);
		check_ge(w.gate.begun, 1);
		check_eq(w.gate.begun, w.gate.over); /* nothing is left running */
		check_lt(w.gate.begun, MOST);
		torc_executor_destroy(pool);
		check_eq(w.gate.begun, w.gate.over);

		torc_scope_enter(&s, 0);
		pool = pool_with(POOL(.workers = workers));
		r = arg ? torc_parallel_for(pool, 0, MOST, 1, hold_range, &w)
			: torc_map(pool, &map);
		check_eq(r, -ETIMEDOUT);
		torc_scope_leave(&s);
		torc_executor_destroy(pool);
		check_eq(w.gate.begun, w.gate.over);
		gate_done(&w.gate);
	}
	return 0;
}

Test(map, ends_with_the_scope_but_leaves_nothing_running)
{
	run(map_in_ended_scope, NULL);
}

EVERYWHERE(map, reports_that_it_cannot_submit)
{
	struct torc_executor own = refusing(), *closed = shut_down(), *spoilt = broken();
	struct work w = { .begun = 0 };
	struct torc_map map = { .fn = count_item, .arg = &w, .count = 100 };

	check_eq(torc_map(closed, &map), -ESHUTDOWN);
	check_eq(torc_map(spoilt, &map), -EPIPE);
	check_eq(torc_map(&own, &map), -EDQUOT);
	check_eq(w.begun, 0);
	torc_executor_destroy(closed);
	torc_executor_destroy(spoilt);
}

static struct torc_executor *narrow(enum torc_when_full when_full)
{
	return pool_with(POOL(.workers = 3, .queue_max = 1, .when_full = when_full));
}

/* Each way, in a pool in which hardly anything can wait. */
EVERYWHERE(map, works_with_a_queue_that_is_short)
{
	struct torc_executor *pool = narrow(TORC_FULL_WAIT);
	struct work w = { .fails_at = -1 };
	struct torc_map map = { .fn = count_item, .arg = &w, .count = 100, .chunk = 1 };

	for (int i = 0; i < 20; i++) {
		check_eq(torc_map(pool, &map), 0);
		check_eq(torc_parallel_for(pool, 0, 100, 1, count_range, &w), 0);
	}
	check_eq(w.begun, 4000);
	torc_executor_destroy(pool);

	pool = narrow(TORC_FULL_FAIL);
	for (int i = 0; i < 20; i++) {
		int before = w.begun, r = torc_map(pool, &map);

		check(r == -EAGAIN || (r == 0 && w.begun == before + 100));
		before = w.begun;
		r = torc_parallel_for(pool, 0, 100, 1, count_range, &w);
		check(r == -EAGAIN || (r == 0 && w.begun == before + 100));
	}
	torc_executor_destroy(pool);
}

/* What has begun uses the memory of the caller. */
EVERYWHERE(map, waits_for_what_has_begun_when_it_cannot_submit_the_rest)
{
	for (int ranges = 0; ranges < 2; ranges++) {
		struct work w = { .begun = 0 };
		struct torc_map map = { .fn = hold_item, .arg = &w, .count = 100, .chunk = 1 };
		struct half h = half(&w.gate);
		int r;

		r = ranges ? torc_parallel_for(&h.executor, 0, 100, 1, hold_range, &w)
			   : torc_map(&h.executor, &map);
		check_eq(w.gate.begun, w.gate.over);
		check(r == -EDQUOT || (r == 0 && w.gate.over == 100));
		half_done(&h);
	}
}

static int map_again(void *arg, const void *item, void *ret_result)
{
	struct work *w = arg;
	struct torc_map map = { .fn = count_item, .arg = w, .count = 10, .chunk = 1 };

	(void)item, (void)ret_result;
	return torc_map(w->executor, &map);
}

static int map_in_task(void *arg, void **ret_value)
{
	struct work *w = arg;
	struct torc_map map = {
		.fn = map_again, .arg = w, .count = 10, .chunk = 1, .deadline_ns = w->until_ns
	};

	(void)ret_value;
	return torc_map(w->executor, &map);
}

EVERYWHERE(map, may_be_called_by_tasks_of_the_same_pool)
{
	for (unsigned n = 1; n < 8; n++) {
		struct work w = { .executor = pool_with(POOL(.workers = n / 2 + 1)),
				  .until_ns = n % 2 ? 0 : torc_now_ns() + LONG };

		expect(submit(w.executor, map_in_task, &w), 0, NULL);
		check_eq(w.begun, 100);
		check_eq(map_in_task(&w, NULL), 0);
		check_eq(w.begun, 200);
		torc_executor_destroy(w.executor);
	}
}

static int meet(void *arg, const void *item, void *ret_result)
{
	(void)item, (void)ret_result;
	pthread_barrier_wait(arg);
	return 0;
}

EVERYWHERE(map, does_as_many_items_at_a_time_as_there_are_workers)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 3));
	pthread_barrier_t barrier;
	struct torc_map map = { .fn = meet, .arg = &barrier, .count = 3, .chunk = 1 };

	pthread_barrier_init(&barrier, NULL, 3);
	check_eq(torc_map(pool, &map), 0);
	pthread_barrier_destroy(&barrier);
	torc_executor_destroy(pool);
}

/* --- ranges --- */

struct cover {
	size_t begin, end, chunk;
	atomic_int times[MOST];
	atomic_int parts;
};

static int cover(void *arg, size_t begin, size_t end)
{
	struct cover *c = arg;

	check(begin >= c->begin && begin < end && end <= c->end);
	if (c->chunk) {
		check_eq((begin - c->begin) % c->chunk, 0);
		check(end - begin == c->chunk || (end - begin < c->chunk && end == c->end));
	}
	for (size_t i = begin; i < end; i++)
		atomic_fetch_add(&c->times[i - c->begin], 1);
	atomic_fetch_add(&c->parts, 1);
	return 3; /* any success */
}

static void cover_ranges(struct torc_executor *e)
{
	static const struct {
		size_t begin, end;
	} ranges[] = {
		{ 0, 0 },
		{ 5, 5 },
		{ 0, 1 },
		{ 3, 4 },
		{ 7, 107 },
		{ 0, MOST },
		{ 12, 1000 },
		{ SIZE_MAX - MOST, SIZE_MAX },
		{ SIZE_MAX, SIZE_MAX },
	};
	static struct cover c;

	for (size_t n = 0; n < COUNT(ranges); n++) {
		for (size_t k = 0; k < COUNT(chunks); k++) {
			size_t count = ranges[n].end - ranges[n].begin;

			memset(&c, 0, sizeof(c));
			c.begin = ranges[n].begin;
			c.end = ranges[n].end;
			c.chunk = chunks[k];
			check_eq(torc_parallel_for(e, c.begin, c.end, c.chunk, cover, &c), 0);
			for (size_t i = 0; i < MOST; i++)
				check_eq(c.times[i], i < count);
			check_eq(c.parts == 0, count == 0);
		}
	}
}

EVERYWHERE(map, covers_a_range_once)
{
	with_executors(cover_ranges);
}

static int fail_range(void *arg, size_t begin, size_t end)
{
	struct work *w = arg;
	int fails_at = w->fails_at;

	atomic_fetch_add(&w->begun, 1);
	return (size_t)fails_at >= begin && (size_t)fails_at < end ? -ENOTBLK : 0;
}

static void fail_in_range(struct torc_executor *e)
{
	for (size_t k = 0; k < COUNT(chunks); k++) {
		struct work w = { .fails_at = 17 };

		check_eq(torc_parallel_for(e, 0, MOST, chunks[k], fail_range, &w), -ENOTBLK);
		check_ge(w.begun, 1);
		if (chunks[k] == 1 && torc_executor_parallelism(e) == 1)
			check_lt(w.begun, MOST);
	}
}

EVERYWHERE(map, fails_with_a_part_of_a_range_and_begins_no_more)
{
	with_executors(fail_in_range);
}

Test(map, ends_a_range_with_the_scope_but_leaves_nothing_running)
{
	run(map_in_ended_scope, ARG(1));
}

EVERYWHERE(map, reports_that_it_cannot_submit_parts_of_a_range)
{
	struct torc_executor own = refusing(), *closed = shut_down(), *spoilt = broken();
	struct work w = { .fails_at = -1 };

	check_eq(torc_parallel_for(closed, 0, 100, 1, fail_range, &w), -ESHUTDOWN);
	check_eq(torc_parallel_for(spoilt, 0, 100, 1, fail_range, &w), -EPIPE);
	check_eq(torc_parallel_for(&own, 0, 100, 1, fail_range, &w), -EDQUOT);
	check_eq(w.begun, 0);
	torc_executor_destroy(closed);
	torc_executor_destroy(spoilt);
}

/* --- generators --- */

struct source {
	int taken;   /* values that it has yielded */
	int count;   /* then it ends; -1: never */
	int error;   /* with that */
	bool closed; /* before */
};

static int numbers(struct torc_gen *g, void *arg)
{
	struct source *s = arg;

	while (s->count < 0 || s->taken < s->count) {
		int r = torc_gen_yield(g, ARG(s->taken++), NULL);

		if (r < 0) {
			s->closed = true;
			return r;
		}
	}
	return s->error;
}

static struct torc_gen *generate(struct source *s)
{
	struct torc_gen *g;

	check_eq(torc_gen_create(numbers, s, NULL, &g), 0);
	return g;
}

static int add(void *item, void *arg, void **ret_result)
{
	struct work *w = arg;

	atomic_fetch_add(&w->begun, 1);
	if (w->fails_at && VALUE(item) == w->fails_at)
		return -EIO;
	if (w->fails_at_too && VALUE(item) == w->fails_at_too)
		return -EXDEV;
	*ret_result = ARG(VALUE(item) + 1000);
	atomic_fetch_add(&w->over, 1);
	return (int)(VALUE(item) % 3); /* any success */
}

#define GEN(...) (&(struct torc_map_gen_options){ __VA_ARGS__ })

static struct torc_gen *map_gen(struct torc_executor *e, torc_map_gen_fn *fn, void *arg,
				struct torc_gen *source, const struct torc_map_gen_options *options)
{
	struct torc_gen *g = NULL;

	check_eq(torc_map_gen(e, fn, arg, source, options, &g), 0);
	check(g && g != source);
	return g;
}

static void expect_next(struct torc_gen *g, intptr_t expected)
{
	void *value = UNTOUCHED;

	check_eq(torc_gen_next(g, &value), 1);
	check_eq(VALUE(value), expected);
}

/* It ends, with that. */
static void expect_end(struct torc_gen *g, int error)
{
	void *value = UNTOUCHED;

	check_eq(torc_gen_next(g, &value), error);
	check_eq(torc_gen_next(g, &value), 0);
	check(value == UNTOUCHED);
	check_eq(torc_gen_status(g), error);
	check_eq(torc_gen_state(g), TORC_GEN_CLOSED);
}

static const struct torc_map_gen_options shapes[] = {
	{ .buffer = 0 },
	{ .buffer = 1 },
	{ .buffer = 5 },
	{ .buffer = 1000 },
	{ .buffer = 6, .chunk = 6 },
	{ .buffer = 7, .chunk = 3 },
	{ .chunk = 1 },
	{ .chunk = 3 },
	{ .chunk = 50, .deadline_ns = TORC_NEVER },
};

static void map_numbers(struct torc_executor *e)
{
	static const int counts[] = { 0, 1, 2, 100 };

	for (size_t k = 0; k < COUNT(shapes); k++) {
		for (size_t c = 0; c < COUNT(counts); c++) {
			struct source s = { .count = counts[c] };
			struct work w = { .begun = 0 };
			struct torc_gen *source = generate(&s),
					*g = map_gen(e, add, &w, source, &shapes[k]);
			int n = 0;

			torc_gen_each(value, g) {
				check_eq(VALUE(value), 1000 + n);
				n++;
			}
			check_eq(n, counts[c]);
			check_eq(torc_gen_status(g), 0);
			check_eq(torc_gen_next(g, NULL), 0);
			torc_gen_destroy(g);
			check_eq(w.over, counts[c]);
			check_eq(torc_gen_state(source), TORC_GEN_CLOSED);
			check(!s.closed); /* it has ended by itself */
			torc_gen_destroy(source);
		}
	}
}

EVERYWHERE(map, generates_results_in_the_order_of_the_values)
{
	with_executors(map_numbers);
}

/* Not as Executor.map of Python without a buffersize, which submits all there is at once. */
EVERYWHERE(map, takes_nothing_from_the_source_before_it_is_asked)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 1));

	for (int closes = 0; closes < 2; closes++) {
		struct source s = { .count = -1 };
		struct work w = { .begun = 0 };
		struct torc_gen *source = generate(&s),
				*g = map_gen(pool, add, &w, source, GEN(.name = "numbers"));

		check_eq(torc_gen_state(g), TORC_GEN_CREATED);
		check_eq(strcmp(torc_gen_name(g), "numbers"), 0);
		if (closes)
			check_eq(torc_gen_close(g), 0);
		torc_gen_destroy(g);
		check_eq(s.taken, 0);
		check_eq(w.begun, 0);
		check_eq(torc_gen_state(source), TORC_GEN_CREATED);
		torc_gen_destroy(source);
	}
	torc_executor_destroy(pool);
}

/* An endless source, too; and it can be gone on with. */
static void map_endless(struct torc_executor *e)
{
	static const size_t buffers[] = { 1, 2, 5, 0 };

	for (size_t k = 0; k < COUNT(buffers); k++) {
		int buffer = (int)(buffers[k] ? buffers[k] : 2 * torc_executor_parallelism(e));
		struct source s = { .count = -1 };
		struct work w = { .begun = 0 };
		struct torc_gen *source = generate(&s),
				*g = map_gen(e, add, &w, source, GEN(.buffer = buffers[k]));
		void *value;
		int taken;

		for (int n = 1; n <= 20; n++) {
			expect_next(g, 1000 + n - 1);
			check_ge(s.taken, n);
			check_le(s.taken, n + buffer);
		}
		taken = s.taken;
		check_eq(torc_gen_close(g), 0);
		torc_gen_destroy(g);
		check_eq(s.taken, taken);
		check_le(w.begun, taken);
		check_eq(w.begun, w.over); /* nothing runs any more */
		check_eq(torc_gen_state(source), TORC_GEN_SUSPENDED);
		check(!s.closed);
		check_eq(torc_gen_next(source, &value), 1);
		check_eq(VALUE(value), taken);
		torc_gen_destroy(source);
		check(s.closed);
	}
}

EVERYWHERE(map, takes_no_more_from_the_source_than_the_buffer_holds)
{
	with_executors(map_endless);
}

/* As many as fit are in work at the same time. */
static int meet_item(void *item, void *arg, void **ret_result)
{
	pthread_barrier_wait(arg);
	*ret_result = item;
	return 0;
}

EVERYWHERE(map, has_as_many_values_in_work_as_the_buffer_holds)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 3));
	struct source s = { .count = 9 };
	struct torc_gen *source = generate(&s), *g;
	pthread_barrier_t barrier;

	pthread_barrier_init(&barrier, NULL, 3);
	g = map_gen(pool, meet_item, &barrier, source, GEN(.buffer = 3));
	for (int i = 0; i < 9; i++)
		expect_next(g, i);
	expect_end(g, 0);
	torc_gen_destroy(g);
	torc_gen_destroy(source);
	pthread_barrier_destroy(&barrier);
	torc_executor_destroy(pool);
}

EVERYWHERE(map, is_not_made_with_chunks_that_the_buffer_cannot_hold)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 1));
	struct source s = { .count = 1 };
	struct torc_gen *source = generate(&s), *g = (void *)UNTOUCHED;

	check_eq(torc_map_gen(pool, add, NULL, source, GEN(.buffer = 2, .chunk = 3), &g), -EINVAL);
	check_eq(torc_map_gen(pool, add, NULL, source, GEN(.buffer = 1, .chunk = SIZE_MAX), &g),
		 -EINVAL);
	check(g == (void *)UNTOUCHED);
	check_eq(s.taken, 0);
	torc_gen_destroy(source);
	torc_executor_destroy(pool);
}

static void end_with_source(struct torc_executor *e)
{
	for (size_t k = 0; k < COUNT(shapes); k++) {
		struct source s = { .count = 4, .error = -ENOTBLK };
		struct work w = { .begun = 0 };
		struct torc_gen *source = generate(&s),
				*g = map_gen(e, add, &w, source, &shapes[k]);

		for (int i = 0; i < 4; i++)
			expect_next(g, 1000 + i);
		expect_end(g, -ENOTBLK);
		torc_gen_destroy(g);
		torc_gen_destroy(source);
	}
}

EVERYWHERE(map, ends_with_the_error_of_the_source_after_its_last_value)
{
	with_executors(end_with_source);
}

static void end_with_item(struct torc_executor *e)
{
	for (size_t k = 0; k < COUNT(shapes); k++) {
		struct source s = { .count = -1 };
		struct work w = { .fails_at = 4, .fails_at_too = 6 };
		struct torc_gen *source = generate(&s),
				*g = map_gen(e, add, &w, source, &shapes[k]);

		for (int i = 0; i < 4; i++)
			expect_next(g, 1000 + i);
		expect_end(g, -EIO);
		torc_gen_destroy(g);
		check_eq(torc_gen_state(source), TORC_GEN_SUSPENDED);
		torc_gen_destroy(source);
	}
}

EVERYWHERE(map, ends_with_the_first_item_that_fails_after_the_results_before_it)
{
	with_executors(end_with_item);
}

/* As Python's test of a map that was given no time, in a pool that is busy. */
EVERYWHERE(map, is_late_and_cancels_what_was_not_started)
{
	static const size_t chunk[] = { 1, 2 };

	for (size_t k = 0; k < 2 * COUNT(chunk); k++) {
		struct torc_executor *pool = pool_with(POOL(.workers = 1));
		struct source s = { .count = 4 };
		struct work w = { .begun = 0 };
		struct torc_gen *source = generate(&s), *g;
		struct torc_future *held;
		struct gate gate;

		gate_init(&gate);
		held = submit_held(pool, &gate);
		g = map_gen(pool, add, &w, source,
			    GEN(.buffer = 4, .chunk = chunk[k / 2],
				.deadline_ns = k % 2 ? PAST : SOON));
		expect_end(g, -ETIMEDOUT);
		torc_gen_destroy(g);
		gate_open(&gate, 1);
		expect(held, 0, ARG(ANSWER));
		torc_executor_destroy(pool);
		check_eq(w.begun, 0);
		torc_gen_destroy(source);
		gate_done(&gate);
	}
}

/* The values from 1 on. */
static int hold_value(void *item, void *arg, void **ret_result)
{
	struct work *w = arg;

	if (item)
		pass_gate(&w->gate);
	*ret_result = item;
	return 0;
}

EVERYWHERE(map, waits_when_it_is_closed_for_what_runs_and_cancels_the_rest)
{
	for (int destroys = 0; destroys < 2; destroys++) {
		struct torc_executor *pool = pool_with(POOL(.workers = 1));
		struct source s = { .count = -1 };
		struct work w = { .begun = 0 };
		struct torc_gen *source = generate(&s),
				*g = map_gen(pool, hold_value, &w, source, GEN(.buffer = 5));
		struct later l;

		gate_init(&w.gate);
		expect_next(g, 0);
		gate_wait(&w.gate, 1);
		later(&l, open_one, &w.gate);
		if (destroys)
			torc_gen_destroy(g);
		else
			check_eq(torc_gen_close(g), 0);
		check_eq(w.gate.over, 1);
		later_is_over(&l);
		if (!destroys)
			torc_gen_destroy(g);
		torc_executor_destroy(pool);
		check_eq(w.gate.begun, 1);
		torc_gen_destroy(source);
		gate_done(&w.gate);
	}
}

EVERYWHERE(map, ends_with_what_is_thrown_into_it)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 2));
	struct source s = { .count = -1 };
	struct work w = { .begun = 0 };
	struct torc_gen *source = generate(&s), *g = map_gen(pool, add, &w, source, NULL);

	expect_next(g, 1000);
	check_eq(torc_gen_throw(g, -EXDEV, NULL), -EXDEV);
	check_eq(w.begun, w.over);
	check_eq(torc_gen_state(g), TORC_GEN_CLOSED);
	torc_gen_destroy(g);
	torc_gen_destroy(source);
	torc_executor_destroy(pool);
}

EVERYWHERE(map, generates_nothing_when_it_cannot_submit)
{
	struct torc_executor own = refusing(), *executors[] = { shut_down(), broken(), &own };
	static const int expected[] = { -ESHUTDOWN, -EPIPE, -EDQUOT };

	for (size_t i = 0; i < COUNT(executors); i++) {
		struct source s = { .count = -1 };
		struct work w = { .begun = 0 };
		struct torc_gen *source = generate(&s),
				*g = map_gen(executors[i], add, &w, source, NULL);

		expect_end(g, expected[i]);
		torc_gen_destroy(g);
		torc_gen_destroy(source);
		check_eq(w.begun, 0);
		torc_executor_destroy(executors[i]);
	}
}

static void map_map(struct torc_executor *e)
{
	struct source s = { .count = 50 };
	struct work w = { .begun = 0 };
	struct torc_gen *source = generate(&s), *first = map_gen(e, add, &w, source, NULL),
			*second = map_gen(e, add, &w, first, GEN(.buffer = 6, .chunk = 2));

	for (int i = 0; i < 50; i++)
		expect_next(second, 2000 + i);
	expect_end(second, 0);
	torc_gen_destroy(second);
	torc_gen_destroy(first);
	torc_gen_destroy(source);
}

EVERYWHERE(map, generates_from_what_another_one_generates)
{
	with_executors(map_map);
}

EVERYWHERE(map, generates_with_a_queue_that_is_short)
{
	for (size_t k = 0; k < COUNT(shapes); k++) {
		struct torc_executor *pool = narrow(TORC_FULL_WAIT);
		struct source s = { .count = 50 };
		struct work w = { .begun = 0 };
		struct torc_gen *source = generate(&s),
				*g = map_gen(pool, add, &w, source, &shapes[k]);

		for (int i = 0; i < 50; i++)
			expect_next(g, 1000 + i);
		expect_end(g, 0);
		torc_gen_destroy(g);
		torc_gen_destroy(source);
		torc_executor_destroy(pool);
	}
}

EVERYWHERE(map, ends_when_it_cannot_submit_any_more)
{
	struct torc_executor *pool =
		pool_with(POOL(.workers = 1, .queue_max = 2, .when_full = TORC_FULL_FAIL));
	struct source s = { .count = 50 };
	struct work w = { .begun = 0 };
	struct torc_gen *source = generate(&s), *g;
	struct torc_future *held;
	struct later l;
	struct gate gate;
	void *value;
	int n = 0, r;

	gate_init(&gate);
	held = submit_held(pool, &gate);
	g = map_gen(pool, add, &w, source, GEN(.buffer = 10));
	later(&l, open_one, &gate);
	while ((r = torc_gen_next(g, &value)) > 0)
		check_eq(VALUE(value), 1000 + n++);
	check(r == -EAGAIN || (r == 0 && n == 50));
	torc_gen_destroy(g);
	gate_open(&gate, 1); /* if it never waited */
	later_is_over(&l);
	torc_gen_destroy(source);
	expect(held, 0, ARG(ANSWER));
	torc_executor_destroy(pool);
	gate_done(&gate);
}

static int hold_any_value(void *item, void *arg, void **ret_result)
{
	struct work *w = arg;

	pass_gate(&w->gate);
	*ret_result = item;
	return 0;
}

EVERYWHERE(map, waits_for_what_has_begun_when_it_cannot_submit_the_next_value)
{
	struct source s = { .count = 50 };
	struct work w = { .begun = 0 };
	struct half h = half(&w.gate);
	struct torc_gen *source = generate(&s),
			*g = map_gen(&h.executor, hold_any_value, &w, source, GEN(.buffer = 4));
	void *value = NULL;
	int r = torc_gen_next(g, &value);

	if (r > 0) { /* perhaps after the results before it */
		check(!value);
		r = torc_gen_next(g, NULL);
	}
	check_eq(r, -EDQUOT);
	check_eq(w.gate.begun, 1);
	check_eq(w.gate.over, 1);
	torc_gen_destroy(g);
	torc_gen_destroy(source);
	half_done(&h);
}

static int generate_in_task(void *arg, void **ret_value)
{
	(void)ret_value;
	map_numbers(arg);
	map_endless(arg);
	return 0;
}

EVERYWHERE(map, generates_inside_of_a_task_of_the_same_pool)
{
	for (unsigned workers = 1; workers < 3; workers++) {
		struct torc_executor *pool = pool_with(POOL(.workers = workers));

		expect(submit(pool, generate_in_task, pool), 0, NULL);
		torc_executor_destroy(pool);
	}
}

static int generate_in_ended_scope(void *arg)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 1));
	struct source s = { .count = -1 };
	struct work w = { .begun = 0 };
	struct torc_gen *source = generate(&s),
			*g = map_gen(pool, hold_value, &w, source, GEN(.buffer = 3));
	struct torc_scope scope;
	struct canceller c = { &w, &scope };
	struct torc_group group;
	void *value = UNTOUCHED;

	(void)arg;
	gate_init(&w.gate);
	expect_next(g, 0);
	torc_group_enter(&group);
	torc_scope_enter(&scope, TORC_NEVER);
	check_eq(torc_group_spawn(&group, cancel_and_open, &c), 0);
	check_eq(torc_gen_next(g, &value), -ECANCELED);
	check(value == UNTOUCHED);
	torc_scope_leave(&scope);
	check_eq(torc_group_wait(&group), 0);
	torc_gen_destroy(g);
	check_eq(w.gate.begun, w.gate.over); /* what runs has been waited for */
	torc_gen_destroy(source);
	torc_executor_destroy(pool);
	gate_done(&w.gate);
	return 0;
}

Test(map, generates_no_more_in_a_scope_that_has_ended)
{
	run(generate_in_ended_scope, NULL);
}

static int let_fibers_run(void *arg)
{
	atomic_store((atomic_int *)arg, 1);
	return 0;
}

static int wait_for_fiber(void *item, void *arg, void **ret_result)
{
	*ret_result = item;
	while (!atomic_load((atomic_int *)arg))
		sched_yield();
	return 0;
}

static int generate_beside_others(void *arg)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 1));
	struct source s = { .count = 3 };
	atomic_int ran = 0;
	struct torc_gen *source = generate(&s),
			*g = map_gen(pool, wait_for_fiber, &ran, source, NULL);
	struct torc_group group;

	(void)arg;
	torc_group_enter(&group);
	check_eq(torc_group_spawn(&group, let_fibers_run, &ran), 0);
	for (int i = 0; i < 3; i++)
		expect_next(g, i);
	expect_end(g, 0);
	check_eq(torc_group_wait(&group), 0);
	torc_gen_destroy(g);
	torc_gen_destroy(source);
	torc_executor_destroy(pool);
	return 0;
}

Test(map, suspends_only_the_fiber_that_asks_for_a_result)
{
	run(generate_beside_others, NULL);
}
