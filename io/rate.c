#include <torc/io/rate.h>

#include <torc/core/fiber.h>

#include "core/internal/fiber.h"
#include "core/internal/trap.h"
#include "io/internal/rate.h"

#define MOST ((uint64_t)1 << 63)

/*
 * Moments are counted from so long before the clock's zero: a bucket may have been full for longer than the machine runs.
 * It is also the most that a bucket holds.
 */
#define BEFORE ((uint64_t)1 << 61)

static uint64_t plus(uint64_t a, uint64_t b)
{
	return a + b < a ? TORC_NEVER - 1 : a + b;
}

/* Rounded up: many small ones must not pass for nothing. */
static uint64_t time_for(const struct torc_rate *rate, uint64_t n)
{
	unsigned __int128 ns =
		((unsigned __int128)n * 1000000000u + rate->per_second - 1) / rate->per_second;

	return ns < MOST ? (uint64_t)ns : MOST;
}

void torc_rate_init(struct torc_rate *rate, uint64_t per_second, uint64_t burst)
{
	torc__check(per_second && per_second <= MOST && burst <= MOST,
		    "a rate has 1 .. 2^63 per second, and a burst of at most that");
	*rate = (struct torc_rate){ .per_second = per_second };
	rate->burst_ns = time_for(rate, burst);
	if (rate->burst_ns > BEFORE)
		rate->burst_ns = BEFORE;
}

/* Returns when what was taken before is paid for: from then on it may go. */
static uint64_t reserve(struct torc_rate *rate, uint64_t n, uint64_t now)
{
	uint64_t cost = time_for(rate, n), start;
	uint64_t full = now + BEFORE - rate->burst_ns;
	uint64_t paid = __atomic_load_n(&rate->paid_ns, __ATOMIC_RELAXED);

	do
		start = paid > full ? paid : full;
	while (!__atomic_compare_exchange_n(&rate->paid_ns, &paid, plus(start, cost), true,
					    __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	return start > BEFORE ? start - BEFORE : 0;
}

uint64_t torc_rate_reserve(struct torc_rate *rate, uint64_t n)
{
	uint64_t now = torc_now_ns(), at = reserve(rate, n, now);

	return at > now ? at : now;
}

uint64_t torc__rate_charge(struct torc_rate *rate, uint64_t n)
{
	return plus(reserve(rate, n, torc_now_ns()), time_for(rate, n));
}

int torc_rate_take(struct torc_rate *rate, uint64_t n)
{
	int r = torc__scope_check(torc__self());
	uint64_t now = torc_now_ns(), at;

	if (r < 0)
		return r;
	at = reserve(rate, n, now);
	if (at <= now)
		return 0;
	r = torc_sleep_until(at);
	if (r < 0) /* those behind it have their times already: the next ones are the sooner */
		__atomic_fetch_sub(&rate->paid_ns, time_for(rate, n), __ATOMIC_RELAXED);
	return r;
}
