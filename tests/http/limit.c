/*
 * So many requests of one client.
 */
#include "tests/http/steps.h"

#include <arpa/inet.h>

#include <torc/http/limit.h>

#include "http/internal/exchange.h"
#include "http/internal/random.h"

TestSuite(http_limit, .timeout = 40);

static struct torc_http_limit limit;
static struct torc_http_limit_options options;

static void open_limit(void)
{
	check_eq(torc_http_limit_init(&limit, &options), 0);
}

static void close_limit(void)
{
	torc_http_limit_done(&limit);
}

static void run_limited(torc_http_fn *step, void (*client)(struct world *))
{
	const struct torc_http_step steps[] = { { step, &limit }, { say_ok, NULL } };

	run_stage(&(struct stage){ .steps = steps,
				   .step_count = 2,
				   .before = open_limit,
				   .after = close_limit },
		  client);
}

static void spend_burst(struct world *w)
{
	struct reply r = { 0 };
	int seconds;

	for (int i = 0; i < 3; i++)
		check_eq(ask(w, GET("/"), &r), 200);
	check_eq(ask(w, GET("/"), &r), 429);
	check(!strcmp(r.body, "Too Many Requests"));
	check(header(&r, "Retry-After"));
	seconds = atoi(header(&r, "Retry-After"));
	check_le(seconds, 3600);
	check_ge(seconds, 3590);
	/* Refusing costs nothing more: what it waits for does not move. */
	for (int i = 0; i < 5; i++)
		check_eq(ask_status(w, GET("/")), 429);
	check_eq(ask(w, GET("/"), &r), 429);
	check_le(atoi(header(&r, "Retry-After")), seconds);
	free(r.body);
}

Test(http_limit, refuses_what_is_beyond_the_burst)
{
	options = (struct torc_http_limit_options){ .interval_ns = TORC_SECONDS(3600), .burst = 3 };
	run_limited(torc_http_limit_handle, spend_burst);
}

static void wait_for_a_token(struct world *w)
{
	uint64_t begin = torc_now_ns();
	int refused = 0;

	check_eq(ask_status(w, GET("/")), 200);
	while (ask_status(w, GET("/")) == 429)
		refused++;
	check_ge(refused, 1);
	check_ge(torc_now_ns() - begin, TORC_MS(240));
}

Test(http_limit, lets_in_again_when_a_token_has_come)
{
	options = (struct torc_http_limit_options){ .per_second = 4, .burst = 1 };
	run_limited(torc_http_limit_handle, wait_for_a_token);
}

/* As if the client were elsewhere. */
static int from_elsewhere(struct torc_http_exchange *x, void *arg)
{
	struct torc__http_peer *peer = &x->connection->peer;
	struct torc_slice from;

	check(torc_http_field(x, "From", &from));
	*peer = (struct torc__http_peer){ .known = true };
	if (from.len) {
		char text[64];

		snprintf(text, sizeof(text), "%.*s", (int)from.len, from.data);
		peer->ip_len = strchr(text, ':') ? 16 : 4;
		check_eq(inet_pton(peer->ip_len == 16 ? AF_INET6 : AF_INET, text, peer->ip), 1);
	}
	return torc_http_limit_handle(x, arg);
}

static int ask_from(struct world *w, const char *from)
{
	char request[256];

	snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: h\r\nFrom: %s\r\n\r\n", from);
	return ask_status(w, request);
}

static void be_many(struct world *w)
{
	check_eq(ask_from(w, "192.0.2.1"), 200);
	check_eq(ask_from(w, "192.0.2.1"), 429);
	check_eq(ask_from(w, "192.0.2.2"), 200);
	check_eq(ask_from(w, "192.0.2.2"), 429);
	check_eq(ask_from(w, "2001:db8::1"), 200);
	check_eq(ask_from(w, "2001:db8::2"), 429); /* the same network */
	check_eq(ask_from(w, "2001:db8::ffff:ffff:ffff:ffff"), 429);
	check_eq(ask_from(w, "2001:db8:0:1::1"), 200);
	for (int i = 0; i < 5; i++)
		check_eq(ask_from(w, ""), 200); /* no address, no limit */
}

Test(http_limit, counts_an_ipv6_network_as_one)
{
	options = (struct torc_http_limit_options){ .interval_ns = TORC_SECONDS(3600) };
	run_limited(from_elsewhere, be_many);
}

/* A table of 8: nine clients do not fit, and the one that has spent least is forgotten. */
static void be_too_many(struct world *w)
{
	char from[32];

	for (int i = 1; i <= 2; i++)
		for (int k = 0; k < 2; k++)
			check_eq(ask_from(w, i == 1 ? "192.0.2.1" : "192.0.2.2"), 200);
	check_eq(ask_from(w, "192.0.2.1"), 429);
	for (int i = 10; i < 60; i++) {
		snprintf(from, sizeof(from), "192.0.2.%d", i);
		check_eq(ask_from(w, from), 200);
	}
	check_eq(ask_from(w, "192.0.2.1"), 429);
	check_eq(ask_from(w, "192.0.2.2"), 429);
	check_eq(limit.sets, 1);
}

Test(http_limit, remembers_longest_who_has_spent_most)
{
	options = (struct torc_http_limit_options){ .interval_ns = TORC_SECONDS(3600),
						    .burst = 2,
						    .entries_max = 8 };
	run_limited(from_elsewhere, be_too_many);
}

static bool key_of(struct torc_http_exchange *x, struct torc_slice *ret_key, void *arg)
{
	check(arg == &limit);
	check_eq(torc_yield(), 0);
	return torc_http_field(x, "From", ret_key);
}

static void be_named(struct world *w)
{
	check_eq(ask_from(w, "ann"), 200);
	check_eq(ask_from(w, "ann"), 429);
	check_eq(ask_from(w, "bob"), 200);
	check_eq(ask_from(w, ""), 200);
	check_eq(ask_from(w, ""), 429);
	check_eq(ask_status(w, GET("/")), 200);
	check_eq(ask_status(w, GET("/")), 200);
}

Test(http_limit, counts_by_what_the_program_says)
{
	options = (struct torc_http_limit_options){ .interval_ns = TORC_SECONDS(3600),
						    .key = key_of,
						    .arg = &limit };
	run_limited(torc_http_limit_handle, be_named);
}

static int try_options(void *arg)
{
	const struct torc_http_limit_options bad[] = {
		{ 0 },
		{ .per_second = 1000001 },
		{ .per_second = 1, .burst = 1000001 },
		{ .interval_ns = 999 },
		{ .interval_ns = TORC_SECONDS(86401) },
		{ .interval_ns = TORC_SECONDS(86400),
		  .burst = 1000000 }, /* more than the clock has */
		{ .per_second = 1, .entries_max = 7 },
		{ .per_second = 1, .entries_max = ((size_t)1 << 24) + 1 },
	};
	struct torc_http_limit l;

	(void)arg;
	for (size_t i = 0; i < COUNT(bad); i++)
		check_eq(torc_http_limit_init(&l, &bad[i]), -EINVAL);
	check_eq(torc_http_limit_init(&l, &(struct torc_http_limit_options){ .per_second = 5 }), 0);
	check_eq(l.options.burst, 5);
	check_eq(l.sets * 8, 16384);
	torc_http_limit_done(&l);
	return 0;
}

Test(http_limit, refuses_options_out_of_range)
{
	run(try_options, NULL);
}

/* The vectors of SipHash are for 2-4; of 1-3 what is promised is that it depends on each bit. */
Test(http_limit, hashes_each_bit_of_the_key_and_the_data)
{
	uint64_t key[2] = { 1, 2 };
	unsigned char data[21] = { 0 };

	for (size_t len = 0; len < sizeof(data); len++) {
		uint64_t before = torc__http_hash(key, data, len);

		check(before != torc__http_hash(key, data, len + 1));
		for (size_t bit = 0; bit < len * 8; bit++) {
			data[bit / 8] ^= (unsigned char)(1 << bit % 8);
			check(before != torc__http_hash(key, data, len));
			data[bit / 8] ^= (unsigned char)(1 << bit % 8);
		}
		for (unsigned bit = 0; bit < 128; bit++) {
			key[bit / 64] ^= UINT64_C(1) << bit % 64;
			check(before != torc__http_hash(key, data, len));
			key[bit / 64] ^= UINT64_C(1) << bit % 64;
		}
	}
}
