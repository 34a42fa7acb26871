/*
 * io/rate.h - so many bytes a second, or requests, or connections.
 *
 *	static struct torc_rate uplink;
 *
 *	torc_rate_init(&uplink, 10000000, 65536);	10 MB/s, and 64 KiB at once after a pause
 *	...
 *	r = torc_rate_take(&uplink, len);		waits until they may go
 *
 * A bucket of tokens that may be overdrawn: who comes while something is in it goes at once, however much he takes, and the
 * next ones wait until that has been paid for. So a piece larger than the bucket passes too, and in the long run the
 * rate is kept, to a nanosecond for each that takes. Takers are served in the order in which they ask.
 *
 * For streams there is torc_stream_limit_rates.
 */
#ifndef TORC_IO_RATE_H
#define TORC_IO_RATE_H

#include <torc/core/api.h>

TORC_BEGIN_DECLS

/* Caller's memory; shared by the fibers of all loops. The fields are private. */
struct torc_rate {
	uint64_t per_second;
	uint64_t burst_ns; /* what the bucket holds, as the time that it takes to fill */
	uint64_t paid_ns;  /* when all that was taken is paid for (io/rate.c); atomic */
};

/*
 * torc_rate_init - a full bucket.
 *
 *   @per_second  1 .. 2^63
 *   @burst       what it holds: what may go at once after a pause; 0 .. 2^63
 *
 * Suspends    never
 * Thread      any
 */
TORC_API void torc_rate_init(struct torc_rate *rate, uint64_t per_second, uint64_t burst);

/*
 * torc_rate_take - take n, and wait until it may go.
 *
 * Returns     0
 *             -ECANCELED, -ETIMEDOUT   the scope; what was taken is put back
 * Suspends    if it has to wait
 * Thread      a fiber's
 */
TORC_API TORC_MUST_CHECK int torc_rate_take(struct torc_rate *rate, uint64_t n);

/*
 * torc_rate_reserve - take n without waiting.
 *
 * Returns     when it may go, as torc_now_ns counts: now, or later
 * Suspends    never
 * Thread      a fiber's
 */
TORC_API uint64_t torc_rate_reserve(struct torc_rate *rate, uint64_t n);

TORC_END_DECLS

#endif
