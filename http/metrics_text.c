/*
 * http/metrics_text.c - all loops' counters, added up, as text.
 */
#include "http/internal/metrics.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <torc/core/group.h>
#include <torc/core/run.h>
#include <torc/executor/pool.h>

#include "core/internal/system.h"

#define TYPE "text/plain; version=0.0.4; charset=utf-8"

const char *const torc__metrics_bounds[TORC__METRICS_BUCKETS] = {
	"0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05",
	"0.1",    "0.25",  "0.5",    "1",     "2.5",  "5",     "10",
};

/* --- text, sent in parts --- */

/* The longest line is two labels of 255 bytes, escaped, and some words. */
#define TEXT_BYTES 4096
#define LINE_BYTES 1536

struct text {
	struct torc_http_exchange *x;
	int error; /* sticks */
	size_t len;
	char buf[TEXT_BYTES];
};

static void send_text(struct text *t)
{
	if (!t->error && t->len)
		t->error = torc_http_write(t->x, t->buf, t->len);
	t->len = 0;
}

static __attribute__((format(printf, 2, 3))) void put(struct text *t, const char *format, ...)
{
	va_list args;
	int n;

	if (t->len > TEXT_BYTES - LINE_BYTES)
		send_text(t);
	va_start(args, format);
	n = vsnprintf(t->buf + t->len, TEXT_BYTES - t->len, format, args);
	va_end(args);
	/* What is too long, a route of many mounts, is left out: half a line would spoil all. */
	if (n > 0 && (size_t)n < TEXT_BYTES - t->len)
		t->len += (size_t)n;
}

static void put_family(struct text *t, const char *name, const char *type, const char *help)
{
	put(t, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A label's value: backslash, quote and line feed are escaped. Returns `to`; cut to its size. */
static const char *escape(const char *value, char *to, size_t size)
{
	size_t n = 0;

	for (; *value && n + 3 <= size; value++) {
		if (*value == '\\' || *value == '"' || *value == '\n')
			to[n++] = '\\';
		to[n++] = *value == '\n' ? 'n' : *value;
	}
	to[n] = '\0';
	return to;
}

/* --- requests --- */

struct row {
	struct torc__metrics_counts counts;
	const struct torc__metrics_series *series;
};

struct sums {
	struct row *rows; /* [count] */
	size_t count;
	uint64_t in_flight;
};

static int compare(const void *a, const void *b)
{
	const struct torc__metrics_series *s = ((const struct row *)a)->series;
	const struct torc__metrics_series *o = ((const struct row *)b)->series;
	int r = strcmp(s->route, o->route);

	if (!r)
		r = strcmp(s->method, o->method);
	return r ? r : s->code - o->code;
}

static void add(struct torc__metrics_counts *to, const struct torc__metrics_counts *c)
{
	for (unsigned i = 0; i <= TORC__METRICS_BUCKETS; i++)
		to->took[i] += torc__metrics_read(&c->took[i]);
	to->ns += torc__metrics_read(&c->ns);
	to->bytes_in += torc__metrics_read(&c->bytes_in);
	to->bytes_out += torc__metrics_read(&c->bytes_out);
}

static uint64_t requests(const struct torc__metrics_counts *c)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i <= TORC__METRICS_BUCKETS; i++)
		sum += c->took[i];
	return sum;
}

/* Those that another loop adds meanwhile are for the next time. */
static void take_series(struct sums *sums, const struct torc__metrics_series *s, size_t room)
{
	struct row *row = &sums->rows[sums->count];

	if (!s || sums->count == room)
		return;
	*row = (struct row){ .series = s };
	add(&row->counts, &s->counts);
	sums->count += requests(&row->counts) > 0;
}

static void merge_loops(struct sums *sums)
{
	size_t n = 0;

	qsort(sums->rows, sums->count, sizeof(*sums->rows), compare);
	for (size_t i = 0; i < sums->count; i++) {
		if (n && !compare(&sums->rows[n - 1], &sums->rows[i]))
			add(&sums->rows[n - 1].counts, &sums->rows[i].counts);
		else
			sums->rows[n++] = sums->rows[i];
	}
	sums->count = n;
}

static size_t count_series(const struct torc_http_metrics *m, const struct torc__metrics_lane *lane)
{
	size_t n = 1;

	for (size_t at = 0; at < m->places; at++)
		n += __atomic_load_n(&lane->table[at], __ATOMIC_ACQUIRE) != NULL;
	return n;
}

/* Ended first, or there might be fewer than none. */
static uint64_t in_flight(const struct torc__metrics_lane *lane)
{
	uint64_t ended = __atomic_load_n(&lane->ended, __ATOMIC_ACQUIRE);

	return torc__metrics_read(&lane->begun) - ended;
}

static int add_up(const struct torc_http_metrics *m, struct sums *sums)
{
	size_t room = 0;
	int loops = torc_loop_count();

	*sums = (struct sums){ NULL, 0, 0 };
	for (int i = 0; i < loops; i++)
		room += count_series(m, &m->lanes[i]);
	sums->rows = torc__calloc(room, sizeof(*sums->rows));
	if (!sums->rows)
		return -ENOMEM;
	for (int i = 0; i < loops; i++) {
		const struct torc__metrics_lane *lane = &m->lanes[i];

		sums->in_flight += in_flight(lane);
		for (size_t at = 0; at < m->places; at++)
			take_series(sums, __atomic_load_n(&lane->table[at], __ATOMIC_ACQUIRE),
				    room);
		take_series(sums, lane->other, room);
	}
	merge_loops(sums);
	return 0;
}

#define LABELS_BYTES 640

static const char *labels_of(const struct row *row, char to[LABELS_BYTES])
{
	char route[LABELS_BYTES - 64];

	snprintf(to, LABELS_BYTES, "method=\"%s\",code=\"%u\",route=\"%s\"", row->series->method,
		 row->series->code, escape(row->series->route, route, sizeof(route)));
	return to;
}

static void put_histogram(struct text *t, const struct row *row)
{
	static const char name[] = "torc_http_request_duration_seconds";
	char text[LABELS_BYTES];
	const char *labels = labels_of(row, text);
	unsigned long long sum = 0, ns = row->counts.ns;

	for (unsigned i = 0; i < TORC__METRICS_BUCKETS; i++) {
		sum += row->counts.took[i];
		put(t, "%s_bucket{%s,le=\"%s\"} %llu\n", name, labels, torc__metrics_bounds[i],
		    sum);
	}
	sum += row->counts.took[TORC__METRICS_BUCKETS];
	put(t, "%s_bucket{%s,le=\"+Inf\"} %llu\n", name, labels, sum);
	put(t, "%s_sum{%s} %llu.%09llu\n", name, labels, ns / 1000000000, ns % 1000000000);
	put(t, "%s_count{%s} %llu\n", name, labels, sum);
}

static uint64_t bytes_in(const struct torc__metrics_counts *c)
{
	return c->bytes_in;
}

static uint64_t bytes_out(const struct torc__metrics_counts *c)
{
	return c->bytes_out;
}

static void put_rows(struct text *t, const struct sums *sums, const char *name, const char *help,
		     uint64_t (*value)(const struct torc__metrics_counts *c))
{
	char labels[LABELS_BYTES];

	put_family(t, name, "counter", help);
	for (size_t i = 0; i < sums->count; i++)
		put(t, "%s{%s} %llu\n", name, labels_of(&sums->rows[i], labels),
		    (unsigned long long)value(&sums->rows[i].counts));
}

static void put_single(struct text *t, const char *name, const char *type, const char *help,
		       uint64_t value)
{
	put_family(t, name, type, help);
	put(t, "%s %llu\n", name, (unsigned long long)value);
}

static void put_requests(struct text *t, const struct sums *sums)
{
	put_rows(t, sums, "torc_http_requests_total", "Requests that were answered.", requests);
	put_family(t, "torc_http_request_duration_seconds", "histogram",
		   "From the first step to the end of the response.");
	for (size_t i = 0; i < sums->count; i++)
		put_histogram(t, &sums->rows[i]);
	put_rows(t, sums, "torc_http_request_bytes_total",
		 "Bytes of request bodies that were read.", bytes_in);
	put_rows(t, sums, "torc_http_response_bytes_total", "Bytes of response bodies.", bytes_out);
	put_single(t, "torc_http_requests_in_flight", "gauge", "Requests under way.",
		   sums->in_flight);
}

static void put_connections(struct text *t)
{
	uint64_t begun = 0, ended = 0;

	for (int i = 0; i < TORC__HTTP_LOOPS_MAX; i++)
		ended += __atomic_load_n(&torc__http_counts[i].ended, __ATOMIC_ACQUIRE);
	for (int i = 0; i < TORC__HTTP_LOOPS_MAX; i++)
		begun += torc__metrics_read(&torc__http_counts[i].begun);
	put_single(t, "torc_http_connections", "gauge", "Open connections.", begun - ended);
	put_single(t, "torc_http_connections_total", "counter", "Connections that were served.",
		   begun);
}

/* --- loops --- */

struct figure {
	const char *name, *type, *help;
	size_t offset;
};

#define LOOP(field, name, type, help)                                \
	{                                                            \
		name, type, help, offsetof(struct torc_stats, field) \
	}

static const struct figure loop_figures[] = {
	LOOP(turns, "torc_loop_turns_total", "counter", "Passes of the scheduler."),
	LOOP(switches, "torc_loop_switches_total", "counter", "Times a fiber was resumed."),
	LOOP(spawns, "torc_loop_spawns_total", "counter", "Fibers started."),
	LOOP(enters, "torc_loop_enters_total", "counter", "Calls of io_uring_enter."),
	LOOP(sqes, "torc_loop_submissions_total", "counter", "Operations submitted."),
	LOOP(cqes, "torc_loop_completions_total", "counter", "Completions received."),
	LOOP(overflows, "torc_loop_overflows_total", "counter", "Full completion queues."),
	LOOP(mails, "torc_loop_mails_total", "counter", "Messages from other loops."),
	LOOP(fibers, "torc_loop_fibers", "gauge", "Fibers there are."),
	LOOP(timers, "torc_loop_timers", "gauge", "Timers that are armed."),
	LOOP(stacks_bytes, "torc_loop_stack_bytes", "gauge", "Address space of stacks."),
};

static const struct figure loop_times[] = {
	LOOP(idle_ns, "torc_loop_idle_seconds_total", "counter", "Time spent waiting."),
	LOOP(busy_ns, "torc_loop_busy_seconds_total", "counter", "Time spent on all else."),
};

static unsigned long long value_of(const void *object, const struct figure *f)
{
	uint64_t value;

	memcpy(&value, (const char *)object + f->offset, sizeof(value));
	return value;
}

static void put_loops(struct text *t, const struct torc_stats *stats)
{
	int loops = torc_loop_count();

	for (size_t f = 0; f < sizeof(loop_figures) / sizeof(*loop_figures); f++) {
		const struct figure *at = &loop_figures[f];

		put_family(t, at->name, at->type, at->help);
		for (int i = 0; i < loops; i++)
			put(t, "%s{loop=\"%d\"} %llu\n", at->name, i, value_of(&stats[i], at));
	}
	for (size_t f = 0; f < sizeof(loop_times) / sizeof(*loop_times); f++) {
		const struct figure *at = &loop_times[f];

		put_family(t, at->name, at->type, at->help);
		for (int i = 0; i < loops; i++) {
			unsigned long long ns = value_of(&stats[i], at);

			put(t, "%s{loop=\"%d\"} %llu.%09llu\n", at->name, i, ns / 1000000000,
			    ns % 1000000000);
		}
	}
}

static int take_stats(void *arg)
{
	torc_stats(arg);
	return 0;
}

/* Each loop's are its own. */
static int ask_loops(struct torc_stats *stats)
{
	struct torc_group group;
	int r = torc_scope_status(), ended;

	if (r < 0)
		return r;
	torc_group_enter(&group);
	for (int i = 0; !r && i < torc_loop_count(); i++) {
		struct torc_spawn_options o = { .name = "stats", .loop = TORC_ON_LOOP(i) };

		r = torc_group_spawn_with(&group, &o, take_stats, &stats[i]);
	}
	ended = torc_group_wait(&group);
	return r ? r : ended;
}

/* --- pools --- */

static const char *const pool_figures[][3] = {
	{ "torc_pool_tasks_total", "counter", "Tasks that were run." },
	{ "torc_pool_stolen_total", "counter", "Tasks taken from another worker." },
	{ "torc_pool_queued", "gauge", "Tasks that no worker has taken." },
	{ "torc_pool_workers", "gauge", "Threads." },
	{ "torc_pool_idle", "gauge", "Threads asleep." },
};

static unsigned long long pool_figure(struct torc_executor *pool, size_t which)
{
	struct torc_pool_stats s;

	torc_pool_stats(pool, &s);
	switch (which) {
	case 0: return s.tasks;
	case 1: return s.stolen;
	case 2: return s.queued;
	case 3: return s.workers;
	default: return s.idle;
	}
}

static void put_pools(struct text *t, const struct torc_http_metrics_options *o)
{
	char name[LABELS_BYTES];

	for (size_t f = 0; o->pool_count && f < sizeof(pool_figures) / sizeof(*pool_figures); f++) {
		const char *const *figure = pool_figures[f];

		put_family(t, figure[0], figure[1], figure[2]);
		for (size_t i = 0; i < o->pool_count; i++)
			put(t, "%s{pool=\"%s\"} %llu\n", figure[0],
			    escape(o->pools[i].name, name, sizeof(name)),
			    pool_figure(o->pools[i].pool, f));
	}
}

/* --- the answer --- */

static int send_all(struct torc_http_exchange *x, const struct torc_http_metrics *m,
		    const struct sums *sums, const struct torc_stats *stats)
{
	struct text t = { .x = x };

	t.error = torc_http_begin(x, 200, TYPE, TORC_NEVER);
	put_requests(&t, sums);
	put_connections(&t);
	put_loops(&t, stats);
	put_pools(&t, &m->options);
	send_text(&t);
	return t.error ? t.error : torc_http_end(x);
}

int torc_http_metrics_handle(struct torc_http_exchange *x, void *arg)
{
	const struct torc_http_metrics *m = arg;
	struct torc_stats *stats = torc__calloc((size_t)torc_loop_count(), sizeof(*stats));
	struct sums sums;
	int r = stats ? ask_loops(stats) : -ENOMEM;

	if (!r)
		r = add_up(m, &sums);
	if (!r) {
		r = send_all(x, m, &sums, stats);
		torc__free(sums.rows);
	}
	torc__free(stats);
	return r;
}
