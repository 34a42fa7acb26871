/*
 * http/metrics.h - figures for Prometheus.
 *
 *	struct torc_http_metrics metrics;
 *
 *	r = torc_http_metrics_init(&metrics, NULL);
 *	...
 *	r = torc_router_use(router, torc_http_metrics_count, &metrics);		around what is to be counted
 *	r = torc_router_add(router, "GET", "/metrics", torc_http_metrics_handle, &metrics);
 *	...
 *	torc_http_metrics_done(&metrics);
 *
 * With the labels method, code and route, which is the pattern and not the path (torc_http_route; "unmatched" where there was none):
 *
 *	torc_http_requests_total
 *	torc_http_request_duration_seconds	histogram, 14 buckets from 0.5 ms to 10 s
 *	torc_http_request_bytes_total		bodies that were read
 *	torc_http_response_bytes_total		bodies as they were sent
 *
 * and without labels torc_http_requests_in_flight; torc_http_connections and _connections_total, of all servers of this process. Then
 * torc_loop_* by loop, which is what torc_stats says (core/run.h), and torc_pool_* by pool, for those that are given.
 *
 * Each loop counts for itself, without locks and atomic operations; who asks adds them up. A client can make no series, but by codes:
 * there are as many as the program has routes, methods and codes; beyond series_max on a loop requests count as method, route "other"
 * and code 0. Code 0 without that is a request whose answer was never begun, since the client had left.
 */
#ifndef TORC_HTTP_METRICS_H
#define TORC_HTTP_METRICS_H

#include <torc/http/exchange.h>

TORC_BEGIN_DECLS

struct torc_executor;
struct torc__metrics_lane;

/* A pool of torc_pool_create (executor/pool.h), and its name in the figures. */
struct torc_http_metrics_pool {
	const char *name;
	struct torc_executor *pool;
};

/* Zeroed means the defaults. */
struct torc_http_metrics_options {
	size_t series_max; /* per loop, 1 .. 65536; default 1000; each takes 250 bytes or so, once it is needed */
	const struct torc_http_metrics_pool *pools; /* [pool_count], borrowed while it serves */
	size_t pool_count;
};

/* Caller's memory from _init to _done. The fields are private. */
struct torc_http_metrics {
	struct torc_http_metrics_options options;
	size_t places;                    /* of a table; a power of two */
	struct torc__metrics_lane *lanes; /* [torc_loop_count()] */
};

/*
 * torc_http_metrics_init - make the tables; torc_http_metrics_done frees them, once nobody serves.
 *
 *   @options  may be NULL
 *
 * Returns     0
 *             -EINVAL   series_max out of range
 *             -ENOMEM
 * Suspends    never
 * Thread      a fiber's
 */
TORC_API TORC_MUST_CHECK int torc_http_metrics_init(
	struct torc_http_metrics *metrics, const struct torc_http_metrics_options *options);
TORC_API void torc_http_metrics_done(struct torc_http_metrics *metrics);

/*
 * torc_http_metrics_count - the step that counts: a torc_http_fn. It never fails by itself.
 *
 *   @metrics  a struct torc_http_metrics
 *
 * Returns     as torc_http_next
 * Suspends    as that
 * Thread      the handler's fiber
 */
TORC_API TORC_MUST_CHECK int torc_http_metrics_count(struct torc_http_exchange *x, void *metrics);

/*
 * torc_http_metrics_handle - answer with all figures, in the text format 0.0.4: a torc_http_fn. They are for who runs the service: mind where it
 * can be asked for.
 *
 *   @metrics  a struct torc_http_metrics
 *
 * Returns     as torc_http_write
 *             -ECANCELED, -ETIMEDOUT   the scope
 *             -ENOMEM, -EAGAIN         no memory, or no room for a fiber on each loop
 * Suspends    yes: each loop is asked
 * Thread      the handler's fiber
 * Source      prometheus.io, "Exposition formats", text-based format
 */
TORC_API TORC_MUST_CHECK int torc_http_metrics_handle(struct torc_http_exchange *x, void *metrics);

TORC_END_DECLS

#endif
