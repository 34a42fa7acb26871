/*
 * http/limit.c - token buckets in a table per loop.
 *
 * A bucket is one number, the moment when it will be full again (as the cell rate algorithm of ATM has it): a request moves that by the
 * time of one token, and is refused if it were more than a burst away. So an entry in the past is a full bucket, and so is none:
 * an empty table needs no marks, and what is full may be forgotten at any time.
 *
 * A client may be in any of the 8 places of one set, which its hash names: a look-up is two cache lines, whatever the table holds.
 */
#include <torc/http/limit.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <torc/core/fiber.h>
#include <torc/core/run.h>

#include "core/internal/system.h"
#include "http/internal/exchange.h"
#include "http/internal/random.h"

#define WAYS 8u

#define ENTRIES_MAX ((size_t)1 << 24)
#define ENTRIES     ((size_t)16384)
#define RATE_MAX    1000000u
#define NS_MAX      (TORC_SECONDS(1) * 86400)

struct torc__limit_bucket {
	uint64_t who;     /* hash */
	uint64_t full_ns; /* torc_turn_ns */
};

_Static_assert(sizeof(struct torc__limit_bucket) * WAYS == 128, "two cache lines");

static int fill_in(struct torc_http_limit *limit, const struct torc_http_limit_options *options)
{
	struct torc_http_limit_options *o = &limit->options;

	limit->options = *options;
	o->entries_max = o->entries_max ? o->entries_max : ENTRIES;
	o->burst = o->burst ? o->burst : o->per_second ? o->per_second : 1;
	if (o->per_second)
		o->interval_ns = TORC_SECONDS(1) / o->per_second;
	if (o->per_second > RATE_MAX || o->burst > RATE_MAX || o->interval_ns < 1000 ||
	    o->interval_ns > NS_MAX || o->entries_max < WAYS || o->entries_max > ENTRIES_MAX)
		return -EINVAL;
	/* It is added to the clock. */
	if (__builtin_mul_overflow(o->interval_ns, o->burst, &limit->room_ns) ||
	    limit->room_ns > UINT64_MAX / 4)
		return -EINVAL;
	for (limit->sets = 1; limit->sets * WAYS < o->entries_max;)
		limit->sets *= 2;
	return 0;
}

int torc_http_limit_init(struct torc_http_limit *limit,
			 const struct torc_http_limit_options *options)
{
	int r = fill_in(limit, options);
	size_t bytes;

	if (r < 0)
		return r;
	bytes = limit->sets * WAYS * sizeof(*limit->buckets) * (size_t)torc_loop_count();
	limit->buckets = torc__alloc_lines(bytes);
	if (!limit->buckets)
		return -ENOMEM;
	memset(limit->buckets, 0, bytes);
	torc__http_seed(limit->seed, sizeof(limit->seed));
	return 0;
}

void torc_http_limit_done(struct torc_http_limit *limit)
{
	torc__free(limit->buckets);
	limit->buckets = NULL;
}

/* --- a request --- */

/* The one of a client, or of who is forgotten for it. */
static struct torc__limit_bucket *find_bucket(const struct torc_http_limit *limit, uint64_t who)
{
	size_t table = (size_t)torc_loop_index() * limit->sets;
	struct torc__limit_bucket *set =
		limit->buckets + (table + (who & (limit->sets - 1))) * WAYS;
	struct torc__limit_bucket *fullest = set;

	for (unsigned i = 0; i < WAYS; i++) {
		if (set[i].who == who)
			return &set[i];
		if (set[i].full_ns < fullest->full_ns)
			fullest = &set[i];
	}
	*fullest = (struct torc__limit_bucket){ who, 0 };
	return fullest;
}

/* Takes a token: 0; or how long until there is one. */
static uint64_t take(const struct torc_http_limit *limit, struct torc__limit_bucket *b)
{
	uint64_t now = torc_turn_ns();
	uint64_t full = (b->full_ns > now ? b->full_ns : now) + limit->options.interval_ns;

	if (full - now > limit->room_ns)
		return full - now - limit->room_ns;
	b->full_ns = full;
	return 0;
}

/* IPv6: the network, as a host has as many addresses in it as it likes. */
static bool key_by_address(const struct torc_http_exchange *x, struct torc_slice *ret)
{
	const struct torc__http_peer *peer = torc__http_peer(x);

	*ret = (struct torc_slice){ (const char *)peer->ip, peer->ip_len == 16 ? 8 : peer->ip_len };
	return peer->ip_len;
}

static int refuse(struct torc_http_exchange *x, uint64_t wait_ns)
{
	char seconds[24];
	int r;

	snprintf(seconds, sizeof(seconds), "%llu",
		 (unsigned long long)((wait_ns + TORC_SECONDS(1) - 1) / TORC_SECONDS(1)));
	r = torc_http_add_field(x, "Retry-After", seconds);
	return r ? r : torc_http_respond_text(x, 429, "Too Many Requests");
}

int torc_http_limit_handle(struct torc_http_exchange *x, void *arg)
{
	const struct torc_http_limit *limit = arg;
	const struct torc_http_limit_options *o = &limit->options;
	struct torc_slice key;
	uint64_t who, wait_ns;

	if (!(o->key ? o->key(x, &key, o->arg) : key_by_address(x, &key)))
		return torc_http_next(x);
	who = torc__http_hash(limit->seed, key.data, key.len);
	wait_ns = take(limit, find_bucket(limit, who));
	return wait_ns ? refuse(x, wait_ns) : torc_http_next(x);
}
