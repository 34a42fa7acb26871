/*
 * micro_process.c - a pool of processes: calls there and back, with little and with much in them, crashes, start-up. Two
 * workers. Its peers are in micro_process_peers.c.
 */
#include "bench/micro.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <torc/core/fiber.h>
#include <torc/executor/map.h>
#include <torc/executor/process.h>
#include <torc/executor/wait.h>

#include "bench/process_peers.h"

#define SLICES        20
#define TRIPS         1000 /* of a slice */
#define NAPS          20   /* of a slice: trips after a sleep */
#define NAP_NS        1000000
#define BUSY_TRIPS    200 /* of a slice: while the other worker runs something long */
#define THREAD_TRIPS  10000
#define LARGE_TRIPS   1000
#define BATCHES       50
#define LARGE_BATCHES 10
#define FILLS         200
#define CRASHES       200
#define STARTS        40

static struct torc_executor *pool;

static int make_pool(void)
{
	return torc_process_create(&(struct torc_process_options){ .workers = PROCESS_WORKERS },
				   &pool);
}

/* --- what the workers do --- */

static int echo(struct torc_process_call *call)
{
	memcpy(call->result, call->arg, call->arg_bytes);
	return 0;
}

static int produce(struct torc_process_call *call)
{
	memset(call->result, 7, call->result_bytes);
	return 0;
}

static int die(struct torc_process_call *call)
{
	(void)call;
	return raise(SIGKILL);
}

static int meet(struct torc_process_call *call)
{
	pthread_barrier_wait(call->result);
	return 0;
}

static int spin(struct torc_process_call *call)
{
	const uint32_t *over = call->result;

	while (!__atomic_load_n(over, __ATOMIC_ACQUIRE))
		continue;
	return 0;
}

static int square(void *arg, const void *item, void *ret_result)
{
	uint64_t number = *(const uint64_t *)item;

	(void)arg;
	*(uint64_t *)ret_result = number * number;
	return 0;
}

/* --- a call --- */

/* Its bytes are the caller's own, or such as the pool shares. */
struct packet {
	struct torc_process_call call;
	uint64_t *arg, *result;
	size_t bytes;
	bool shared;
};

static uint64_t *get_memory(const struct packet *p)
{
	uint64_t *memory = p->shared ? torc_process_alloc(pool, p->bytes) : malloc(p->bytes);

	if (memory)
		memset(memory, 0, p->bytes);
	return memory;
}

static void put_memory(const struct packet *p, uint64_t *memory)
{
	if (p->shared)
		torc_process_free(pool, memory);
	else
		free(memory);
}

static int make_packet(struct packet *p, torc_process_call_fn *fn, size_t bytes, bool shared)
{
	*p = (struct packet){ .bytes = bytes, .shared = shared };
	p->arg = get_memory(p);
	p->result = get_memory(p);
	p->call = (struct torc_process_call){ .fn = fn,
					      .arg = p->arg,
					      .arg_bytes = bytes,
					      .result = p->result,
					      .result_bytes = bytes };
	return p->arg && p->result ? 0 : -ENOMEM;
}

static void free_packet(const struct packet *p)
{
	put_memory(p, p->arg);
	put_memory(p, p->result);
}

static int run_call(struct torc_process_call *call)
{
	struct torc_future *f;
	int r = torc_submit(pool, torc_process_call_run, call, &f);

	if (r < 0)
		return r;
	r = torc_await(f, NULL);
	torc_future_put(f);
	return r;
}

/* The last word tells whether it was this call's result. */
static int one_trip(void *arg)
{
	struct packet *p = arg;
	size_t last = p->bytes / sizeof(*p->arg) - 1;
	int r;

	p->arg[last]++;
	r = run_call(&p->call);
	return r < 0 ? r : p->result[last] != p->arg[last] ? -EBADMSG : 0;
}

static int report_trips(const char *what, size_t bytes, bool shared, size_t count)
{
	bool small = bytes == PROCESS_SMALL;
	struct packet p;
	int r = make_packet(&p, echo, bytes, shared);

	if (r == 0)
		r = process_measure_trips(&(struct process_trips){
			what, one_trip, &p, count, small ? 1 : 1e3, small ? "ns" : "us" });
	free_packet(&p);
	return r;
}

/* --- beside eventfds --- */

static struct ping_pong ping_pong;

struct side {
	process_trip_fn *trip;
	void *arg;
	double *ns;
};

static int measure_slice(const struct side *side, unsigned trips, bool nap, double *ret_ns)
{
	int r = 0;

	for (unsigned i = 0; i < trips && r >= 0; i++) {
		double start;

		if (nap)
			r = torc_sleep(NAP_NS);
		start = micro_now_ns();
		if (r >= 0)
			r = side->trip(side->arg);
		ret_ns[i] = micro_now_ns() - start;
	}
	return r;
}

/* In turn, so that both see the same machine. */
static int measure_both(const struct side sides[2], unsigned trips, bool nap)
{
	int r = 0;

	for (unsigned i = 0; i < 2 * SLICES && r >= 0; i++)
		r = measure_slice(&sides[i % 2], trips, nap, &sides[i % 2].ns[i / 2 * trips]);
	return r;
}

/* The rows' names: of the pool's, of the other's, of how many times as long the pool's median is. */
static int report_both(struct packet *p, const char *const names[3], unsigned trips, bool nap)
{
	size_t count = (size_t)SLICES * trips;
	double *ns = calloc(2 * count, sizeof(*ns));
	const struct side sides[2] = { { one_trip, p, ns },
				       { ping_pong_trip, &ping_pong, ns ? ns + count : NULL } };
	int r = ns ? measure_both(sides, trips, nap) : -ENOMEM;

	for (unsigned i = 0; i < 2 && r >= 0; i++)
		process_report_trips(&(struct process_trips){ .what = names[i],
							      .count = count,
							      .unit_ns = 1,
							      .unit = "ns" },
				     sides[i].ns);
	if (r >= 0)
		micro_report(names[2], sides[0].ns[count / 2] / sides[1].ns[count / 2], "x", 1.5);
	free(ns);
	return r;
}

/* A worker that is busy until it is told. */
struct spinner {
	uint32_t *over; /* the workers see it too */
	struct torc_process_call call;
	struct torc_future *future;
};

static int start_spinner(struct spinner *s)
{
	s->future = NULL;
	s->over = torc_process_alloc(pool, sizeof(*s->over));
	if (!s->over)
		return -ENOMEM;
	*s->over = 0;
	s->call = (struct torc_process_call){ .fn = spin,
					      .result = s->over,
					      .result_bytes = sizeof(*s->over) };
	return torc_submit(pool, torc_process_call_run, &s->call, &s->future);
}

static int end_spinner(struct spinner *s)
{
	int r = 0;

	if (s->future) {
		__atomic_store_n(s->over, 1, __ATOMIC_RELEASE);
		r = torc_await(s->future, NULL);
		torc_future_put(s->future);
	}
	torc_process_free(pool, s->over);
	return r;
}

/* There are as many cores as workers: two of the three processes share one. It is the second worker that is busy. */
static int busy_trips(struct packet *p)
{
	static const char *const busy[] = { "round trip 64 B, a worker busy",
					    "eventfd ping-pong, a worker busy",
					    "the same ratio, a worker busy" };
	struct spinner first, second = { .future = NULL };
	int r = start_spinner(&first);

	if (r >= 0)
		r = start_spinner(&second);
	r |= end_spinner(&first);
	if (r >= 0)
		r = report_both(p, busy, BUSY_TRIPS, false);
	r |= end_spinner(&second);
	return r;
}

static int small_trips(void)
{
	static const char *const awake[] = { "round trip 64 B from a fiber", "eventfd ping-pong",
					     "round trip / eventfd ping-pong" };
	static const char *const asleep[] = { "round trip 64 B, asleep",
					      "eventfd ping-pong, asleep",
					      "the same ratio, asleep" };
	struct packet p;
	int r = make_packet(&p, echo, PROCESS_SMALL, false);

	if (r == 0)
		r = report_both(&p, awake, TRIPS, false);
	if (r >= 0)
		r = report_both(&p, asleep, NAPS, true);
	if (r >= 0)
		r = busy_trips(&p);
	free_packet(&p);
	return r;
}

/* --- much in a call --- */

static int large_trips(void)
{
	int r = report_trips("round trip 1 MiB copied", PROCESS_LARGE, false, LARGE_TRIPS);

	return r < 0 ? r
		     : report_trips("round trip 1 MiB shared", PROCESS_LARGE, true, LARGE_TRIPS);
}

struct filling {
	void (*fill)(struct packet *p);
	struct packet *packet;
	int error;
};

static void fill_by_call(struct packet *p)
{
	if (run_call(&p->call) < 0)
		p->call.result_bytes = 0;
}

static void fill_by_memset(struct packet *p)
{
	memset(p->result, 7, p->bytes);
	__asm__ volatile("" ::: "memory");
}

static void fill_by_memcpy(struct packet *p)
{
	memcpy(p->result, p->arg, p->bytes);
	__asm__ volatile("" ::: "memory");
}

/* GiB/s. */
static double measure_filling(void *arg)
{
	struct filling *f = arg;
	double start = micro_now_ns();

	for (unsigned i = 0; i < FILLS; i++)
		f->fill(f->packet);
	return FILLS * (double)f->packet->bytes / (1u << 30) * 1e9 / (micro_now_ns() - start);
}

static int report_filling(const char *metric, void (*fill)(struct packet *p), bool shared)
{
	struct packet p;
	struct filling f = { .fill = fill, .packet = &p };
	int r = make_packet(&p, produce, PROCESS_LARGE, shared);

	p.call.arg_bytes = 0;
	if (r == 0) {
		micro_report_rate(metric, micro_median(measure_filling, &f), "GiB/s",
				  MICRO_NO_TARGET);
		if (p.call.result_bytes != PROCESS_LARGE ||
		    (fill == fill_by_call && p.result[1000] != 0x0707070707070707))
			r = -EIO;
	}
	free_packet(&p);
	return r;
}

static int bandwidth(void)
{
	int r = report_filling("result of 1 MiB copied", fill_by_call, false);

	if (r == 0)
		r = report_filling("result of 1 MiB shared", fill_by_call, true);
	if (r == 0)
		r = report_filling("memset of 1 MiB, no pool", fill_by_memset, false);
	return r < 0 ? r : report_filling("memcpy of 1 MiB, no pool", fill_by_memcpy, false);
}

/* --- many calls --- */

/* Each has memory of its own: eight large ones have 16 MiB, which is more than a core's caches. */
struct batches {
	const char *metric;
	size_t bytes, count, repeats;
	bool shared, singly;
	int error;
};

static struct packet packets[PROCESS_BATCH];
static void *calls[PROCESS_BATCH];
static struct torc_future *futures[PROCESS_BATCH];

static int submit_batch(const struct batches *b)
{
	int r = 0;

	if (!b->singly)
		return torc_submit_many(pool, torc_process_call_run, calls, b->count, futures);
	for (size_t i = 0; i < b->count; i++)
		r |= torc_submit(pool, torc_process_call_run, calls[i], &futures[i]);
	return r;
}

static int run_batch(const struct batches *b)
{
	int r;

	for (size_t i = 0; i < b->count; i++)
		packets[i].arg[0]++;
	r = submit_batch(b);
	if (r < 0)
		return r;
	r = torc_wait(futures, b->count, TORC_ALL_COMPLETED, TORC_NEVER);
	for (size_t i = 0; i < b->count && r >= 0; i++) {
		r = torc_future_try(futures[i], NULL);
		if (r >= 0 && packets[i].result[0] != packets[i].arg[0])
			r = -EBADMSG;
	}
	torc_future_put_many(futures, b->count);
	return r;
}

/* Thousands of calls a second. */
static double measure_batches(void *arg)
{
	struct batches *b = arg;
	double start = micro_now_ns();

	for (size_t i = 0; i < b->repeats && b->error >= 0; i++)
		b->error = run_batch(b);
	return (double)(b->count * b->repeats) * 1e6 / (micro_now_ns() - start);
}

static int report_batches(struct batches b)
{
	size_t made = 0;

	while (made < b.count && b.error >= 0) {
		calls[made] = &packets[made].call;
		b.error = make_packet(&packets[made++], echo, b.bytes, b.shared);
	}
	if (b.error >= 0)
		micro_report_rate(b.metric, micro_median(measure_batches, &b), "k/s",
				  MICRO_NO_TARGET);
	while (made)
		free_packet(&packets[--made]);
	return b.error;
}

static int batches(void)
{
	struct batches small = { .metric = "batches of 1000, 64 B",
				 .bytes = PROCESS_SMALL,
				 .count = PROCESS_BATCH,
				 .repeats = BATCHES };
	struct batches large = { .metric = "batches of 8, 1 MiB copied",
				 .bytes = PROCESS_LARGE,
				 .count = PROCESS_LARGE_BATCH,
				 .repeats = LARGE_BATCHES };
	int r = report_batches(small);

	small.metric = "one by one, 64 B";
	small.singly = true;
	if (r >= 0)
		r = report_batches(small);
	if (r >= 0)
		r = report_batches(large);
	large.metric = "batches of 8, 1 MiB shared";
	large.shared = true;
	return r < 0 ? r : report_batches(large);
}

/* --- map --- */

/* Milliseconds. */
static double measure_map(void *arg)
{
	struct torc_map *map = arg;
	double start = micro_now_ns();

	if (torc_map(pool, map) < 0)
		map->count = 0;
	return (micro_now_ns() - start) / 1e6;
}

static int map_items(void)
{
	uint64_t *items = calloc(PROCESS_ITEMS, sizeof(*items));
	uint64_t *squares = calloc(PROCESS_ITEMS, sizeof(*squares));
	struct torc_map map = { .fn = square,
				.items = items,
				.item_bytes = sizeof(*items),
				.results = squares,
				.result_bytes = sizeof(*squares),
				.count = PROCESS_ITEMS };
	int r = items && squares ? 0 : -ENOMEM;

	for (uint64_t i = 0; i < PROCESS_ITEMS && !r; i++)
		items[i] = i;
	if (!r)
		micro_report("map, 10^6 small items", micro_median(measure_map, &map), "ms",
			     MICRO_NO_TARGET);
	if (!r && (!map.count || squares[999999] != (uint64_t)999999 * 999999))
		r = -EIO;
	free(items);
	free(squares);
	return r;
}

/* --- crashes --- */

static int crash(void)
{
	struct torc_process_call call = { .fn = die };
	int r = run_call(&call);

	return r == -EPIPE ? 0 : r < 0 ? r : -EIO;
}

static int crash_and_go_on(void *arg)
{
	int r = crash();

	return r < 0 ? r : one_trip(arg);
}

static int crashes(void)
{
	double start = micro_now_ns();
	struct packet p;
	int r = 0;

	for (unsigned i = 0; i < CRASHES && r >= 0; i++)
		r = crash();
	if (r < 0)
		return r;
	micro_report_rate("crash and replace", CRASHES * 1e9 / (micro_now_ns() - start), "/s",
			  MICRO_NO_TARGET);
	r = make_packet(&p, echo, PROCESS_SMALL, false);
	if (r >= 0)
		r = process_measure_trips(&(struct process_trips){
			"crash to next success", crash_and_go_on, &p, CRASHES, 1e3, "us" });
	free_packet(&p);
	return r;
}

/* --- start-up --- */

/* Each of two calls waits for the other. */
static int await_all(pthread_barrier_t *barrier)
{
	struct torc_process_call meetings[PROCESS_WORKERS];
	void *args[PROCESS_WORKERS];
	struct torc_future *both[PROCESS_WORKERS];
	int r;

	for (unsigned i = 0; i < PROCESS_WORKERS; i++) {
		meetings[i] = (struct torc_process_call){ .fn = meet,
							  .result = barrier,
							  .result_bytes = sizeof(*barrier) };
		args[i] = &meetings[i];
	}
	r = torc_submit_many(pool, torc_process_call_run, args, PROCESS_WORKERS, both);
	if (r < 0)
		return r;
	r = torc_wait(both, PROCESS_WORKERS, TORC_ALL_COMPLETED, TORC_NEVER);
	for (unsigned i = 0; i < PROCESS_WORKERS && r >= 0; i++)
		r = torc_future_try(both[i], NULL);
	torc_future_put_many(both, PROCESS_WORKERS);
	return r;
}

static int start_up(void)
{
	pthread_barrierattr_t shared;
	pthread_barrier_t *barrier;
	int r = make_pool();

	if (r < 0)
		return r;
	barrier = torc_process_alloc(pool, sizeof(*barrier));
	if (!barrier)
		return -ENOMEM;
	pthread_barrierattr_init(&shared);
	pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(barrier, &shared, PROCESS_WORKERS);
	return await_all(barrier);
}

static int starts(void)
{
	double up[STARTS], down[STARTS];
	int r = 0;

	for (unsigned i = 0; i < STARTS && r >= 0; i++) {
		double start = micro_now_ns();

		r = start_up();
		up[i] = (micro_now_ns() - start) / 1e6;
		torc_executor_destroy(pool);
		down[i] = (micro_now_ns() - start) / 1e6 - up[i];
		pool = NULL;
	}
	if (r < 0)
		return r;
	micro_report("start-up", micro_median_of(up, STARTS), "ms", MICRO_NO_TARGET);
	micro_report("destroy", micro_median_of(down, STARTS), "ms", MICRO_NO_TARGET);
	return 0;
}

/* --- all of it --- */

static int process_from_fiber(void *arg)
{
	static int (*const rows[])(void) = { small_trips, large_trips, bandwidth,
					     batches,     map_items,   crashes };
	int r = make_pool();

	(void)arg;
	if (r < 0)
		return r;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]) && r >= 0; i++)
		r = rows[i]();
	torc_executor_destroy(pool);
	pool = NULL;
	return r < 0 ? r : starts();
}

static int process_from_thread(void)
{
	int r = make_pool();

	if (r < 0)
		return r;
	r = report_trips("round trip 64 B from a thread", PROCESS_SMALL, false, THREAD_TRIPS);
	torc_executor_destroy(pool);
	return r;
}

static int run_process(void)
{
	int r = ping_pong_start(&ping_pong);

	if (r >= 0)
		r = micro_in_fiber(process_from_fiber);
	ping_pong_end(&ping_pong);
	if (r >= 0)
		r = process_from_thread();
	return r < 0 ? r : process_fork_pipe();
}

const struct micro micro_process = { "process",
				     "calls to a pool of two processes; beside one made by hand",
				     run_process };
