#include "http/internal/metrics.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <torc/core/fiber.h>
#include <torc/core/run.h>
#include <torc/http/router.h>

#include "core/internal/system.h"

#define SERIES     1000u
#define SERIES_MAX 65536u

#define MS(n) TORC_MS(n)

/* As torc__metrics_bounds. */
static const uint64_t bounds_ns[TORC__METRICS_BUCKETS] = {
	500000,  MS(1),   MS(2) + 500000, MS(5),    MS(10),   MS(25),   MS(50),
	MS(100), MS(250), MS(500),        MS(1000), MS(2500), MS(5000), MS(10000),
};

/* --- tables --- */

static struct torc__metrics_series *new_series(const char *method, size_t method_len, unsigned code,
					       const char *route, size_t route_len)
{
	struct torc__metrics_series *s = torc__calloc(1, sizeof(*s) + route_len + 1);

	if (!s)
		return NULL;
	s->code = (uint16_t)code;
	s->route_len = (uint16_t)route_len;
	memcpy(s->method, method,
	       method_len < sizeof(s->method) ? method_len : sizeof(s->method) - 1);
	memcpy(s->route, route, route_len);
	return s;
}

static int make_lane(struct torc_http_metrics *m, struct torc__metrics_lane *lane)
{
	lane->table = torc__calloc(m->places, sizeof(struct torc__metrics_series *));
	lane->other = new_series("other", 5, 0, "other", 5);
	return lane->table && lane->other ? 0 : -ENOMEM;
}

int torc_http_metrics_init(struct torc_http_metrics *m,
			   const struct torc_http_metrics_options *options)
{
	size_t loops = (size_t)torc_loop_count(), bytes = loops * sizeof(*m->lanes);
	int r = 0;

	*m = (struct torc_http_metrics){ .places = 16 };
	if (options)
		m->options = *options;
	m->options.series_max = m->options.series_max ? m->options.series_max : SERIES;
	if (m->options.series_max > SERIES_MAX)
		return -EINVAL;
	while (m->places < 2 * m->options.series_max)
		m->places *= 2;
	m->lanes = torc__alloc_lines(bytes);
	if (!m->lanes)
		return -ENOMEM;
	memset(m->lanes, 0, bytes);
	for (size_t i = 0; i < loops && !r; i++)
		r = make_lane(m, &m->lanes[i]);
	if (r < 0)
		torc_http_metrics_done(m);
	return r;
}

void torc_http_metrics_done(struct torc_http_metrics *m)
{
	for (int i = 0; m->lanes && i < torc_loop_count(); i++) {
		struct torc__metrics_lane *lane = &m->lanes[i];

		for (size_t at = 0; lane->table && at < m->places; at++)
			torc__free(lane->table[at]);
		torc__free(lane->table);
		torc__free(lane->other);
	}
	torc__free(m->lanes);
	m->lanes = NULL;
}

/* --- a request --- */

struct pending {
	struct torc_http_metrics *metrics;
	struct torc_http_exchange *x;
	uint64_t begin_ns;
};

/* Routes are the program's, so nobody aims at it. */
static uint32_t hash_of(const char *route, size_t len, unsigned code, unsigned method)
{
	uint64_t hash = code * 16u + method, word;

	for (; len >= 8; route += 8, len -= 8) {
		memcpy(&word, route, 8);
		hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
		hash ^= hash >> 29;
	}
	word = len;
	memcpy(&word, route, len);
	hash = (hash ^ word ^ (uint64_t)len << 56) * UINT64_C(0x9e3779b97f4a7c15);
	return (uint32_t)(hash >> 32);
}

static bool is_series(const struct torc__metrics_series *s, uint32_t hash, unsigned code,
		      struct torc_slice method, struct torc_slice route)
{
	return s->hash == hash && s->code == code && s->route_len == route.len &&
	       !memcmp(s->route, route.data, route.len) &&
	       !strncmp(s->method, method.data, method.len) && !s->method[method.len];
}

/* Kept until the end, as far as there is room. */
static struct torc__metrics_series *add_series(const struct torc_http_metrics *m,
					       struct torc__metrics_lane *lane, size_t at,
					       struct torc__metrics_series *s, uint32_t hash)
{
	if (!s)
		return lane->other;
	s->hash = hash;
	lane->count++;
	__atomic_store_n(&lane->table[at & (m->places - 1)], s, __ATOMIC_RELEASE);
	return s;
}

static struct torc__metrics_series *find_series(const struct torc_http_metrics *m,
						struct torc__metrics_lane *lane,
						struct torc_http_exchange *x)
{
	const char *pattern = torc_http_route(x);
	struct torc_slice method = torc_http_method(x);
	struct torc_slice route = { pattern ? pattern : "unmatched", 0 };
	unsigned code = (unsigned)torc_http_status(x);
	struct torc__metrics_series *s;
	uint32_t hash;
	size_t at;

	route.len = strlen(route.data);
	if (torc__unlikely(route.len > UINT16_MAX || method.len >= sizeof(s->method)))
		return lane->other;
	hash = hash_of(route.data, route.len, code, x->head.method);
	for (at = hash; (s = lane->table[at & (m->places - 1)]); at++)
		if (is_series(s, hash, code, method, route))
			return s;
	if (lane->count >= m->options.series_max)
		return lane->other;
	s = new_series(method.data, method.len, code, route.data, route.len);
	return add_series(m, lane, at, s, hash);
}

static unsigned bucket_of(uint64_t ns)
{
	unsigned i = 0;

	while (i < TORC__METRICS_BUCKETS && ns > bounds_ns[i])
		i++;
	return i;
}

static void count(void *arg)
{
	const struct pending *p = arg;
	struct torc__metrics_lane *lane = &p->metrics->lanes[torc_loop_index()];
	struct torc__metrics_series *s = find_series(p->metrics, lane, p->x);
	uint64_t ns = torc_now_ns() - p->begin_ns;

	torc__http_count(&s->counts.took[bucket_of(ns)], 1);
	torc__http_count(&s->counts.ns, ns);
	torc__http_count(&s->counts.bytes_in, p->x->body_data);
	torc__http_count(&s->counts.bytes_out, torc_http_sent_bytes(p->x));
	torc__http_count(&lane->ended, 1);
}

int torc_http_metrics_count(struct torc_http_exchange *x, void *arg)
{
	struct torc_http_metrics *m = arg;
	struct torc__metrics_lane *lane = &m->lanes[torc_loop_index()];
	struct pending *p = torc_http_alloc(x, sizeof(*p));

	if (torc__likely(p != NULL)) {
		*p = (struct pending){ m, x, torc_now_ns() };
		if (torc__likely(torc_http_defer(x, count, p) == 0))
			torc__http_count(&lane->begun, 1);
	}
	return torc_http_next(x);
}
