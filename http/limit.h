/*
 * http/limit.h - so many requests of one client in so much time; 429 for more.
 *
 *	struct torc_http_limit limit;
 *
 *	r = torc_http_limit_init(&limit, &(struct torc_http_limit_options){ .per_second = 10, .burst = 50 });
 *	...
 *	r = torc_router_use(router, torc_http_limit_handle, &limit);
 *	...
 *	torc_http_limit_done(&limit);
 *
 * Each client has a bucket of `burst` tokens, which fills at `per_second`; a request takes one, and finds it empty: 429, with
 * Retry-After. A client is an IPv4 address or an IPv6 /64, which is what one is given; or what `key` says. Those without an address
 * (Unix sockets) are not limited.
 *
 * Each loop counts for itself, without a lock. A connection stays on its loop, so a client gets `per_second` by one connection, and by many at
 * most that times torc_loop_count(). Where that is too much, limit in front of the server, or divide.
 *
 * Memory is bounded: entries_max buckets of 16 bytes per loop. Where many more clients come, those whose buckets are the fullest are forgotten,
 * which makes them full: a full one first, so that who has spent most is remembered longest.
 */
#ifndef TORC_HTTP_LIMIT_H
#define TORC_HTTP_LIMIT_H

#include <torc/http/exchange.h>

TORC_BEGIN_DECLS

/* per_second or interval_ns is needed; the rest may be zero for the default. */
struct torc_http_limit_options {
	uint32_t per_second;  /* 1 .. 1000000; 0: interval_ns */
	uint64_t interval_ns; /* for one token, 1 us .. 1 day: for rates below one per second */
	uint32_t burst;       /* 1 .. 1000000; default: per_second, or 1 */
	size_t entries_max; /* per loop, 8 .. 16777216, rounded up to a power of two; default 16384 */
	/*
	 * Who is asking: *ret_key is any bytes, such as a user's name or a token, copied nowhere. false: not limited. It may suspend. NULL: by
	 * address.
	 */
	bool (*key)(struct torc_http_exchange *x, struct torc_slice *ret_key, void *arg);
	void *arg;
};

struct torc__limit_bucket;

/* Caller's memory from _init to _done. The fields are private. */
struct torc_http_limit {
	struct torc_http_limit_options options;
	uint64_t seed[2];
	size_t sets;                        /* of 8 buckets each; a power of two */
	struct torc__limit_bucket *buckets; /* [loops][sets][8] */
	uint64_t room_ns;                   /* what a full bucket is worth */
};

/*
 * torc_http_limit_init - make the tables; torc_http_limit_done frees them, once nobody serves.
 *
 *   @options  copied
 *
 * Returns     0
 *             -EINVAL   an option out of range
 *             -ENOMEM
 * Suspends    never
 * Thread      a fiber's
 */
TORC_API TORC_MUST_CHECK int torc_http_limit_init(struct torc_http_limit *limit,
						  const struct torc_http_limit_options *options);
TORC_API void torc_http_limit_done(struct torc_http_limit *limit);

/*
 * torc_http_limit_handle - the step: a torc_http_fn.
 *
 *   @limit  a struct torc_http_limit
 *
 * Returns     as torc_http_next, or as torc_http_respond
 * Suspends    as these
 * Thread      the handler's fiber
 */
TORC_API TORC_MUST_CHECK int torc_http_limit_handle(struct torc_http_exchange *x, void *limit);

TORC_END_DECLS

#endif
