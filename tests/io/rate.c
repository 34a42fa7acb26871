/*
 * Rates, in the virtual time of the simulator: to the nanosecond, but for the time that looking at the clock takes there.
 */
#include "tests/io/run.h"

#include <torc/core/sim.h>
#include <torc/io/rate.h>

TestSuite(rate, .timeout = 60);

/* What a test may be late by: a few looks at the clock, and turns of the loop. */
#define SLACK 100000u

static void on_sim(torc_fn *fn, void *arg)
{
	struct torc_options o = { .recv_buffers = 8 };

	check_eq(torc_sim_new(NULL, &o.sim), 0);
	check_eq(torc_run(&o, fn, arg), 0);
	torc_sim_free(o.sim);
}

static void check_passed(uint64_t since, uint64_t ns)
{
	uint64_t passed = torc_now_ns() - since;

	check_ge(passed, ns);
	check_le(passed, ns + SLACK);
}

static int exact(void *arg)
{
	struct torc_rate rate;
	uint64_t start;

	(void)arg;
	/* no burst: the first goes at once, each further one when those before it are paid for */
	torc_rate_init(&rate, 1000, 0);
	start = torc_now_ns();
	for (uint64_t i = 0; i < 100; i++) {
		check_eq(torc_rate_take(&rate, 10), 0);
		check_passed(start, i * TORC_MS(10));
	}
	/* a pause is not made up for */
	check_eq(torc_sleep(TORC_SECONDS(5)), 0);
	start = torc_now_ns();
	for (uint64_t i = 0; i < 10; i++) {
		check_eq(torc_rate_take(&rate, 1), 0);
		check_passed(start, i * TORC_MS(1));
	}
	return 0;
}

Test(rate, is_kept_exactly)
{
	on_sim(exact, NULL);
}

static int bursts(void *arg)
{
	struct torc_rate rate;
	uint64_t start;

	(void)arg;
	/* a bucket that takes longer to fill than the machine has run is full all the same */
	torc_rate_init(&rate, 1, 1000000);
	start = torc_now_ns();
	for (int i = 0; i < 10; i++)
		check_eq(torc_rate_take(&rate, 100000), 0);
	check_passed(start, 0);
	check_eq(torc_rate_take(&rate, 3), 0); /* overdrawn */
	check_passed(start, 0);
	check_eq(torc_rate_take(&rate, 1), 0);
	check_passed(start, TORC_SECONDS(3));
	/* all of it at once after a pause, and no more */
	torc_rate_init(&rate, 1000, 50);
	for (int round = 0; round < 3; round++) {
		start = torc_now_ns();
		for (int i = 0; i < 50; i++)
			check_eq(torc_rate_take(&rate, 1), 0);
		check_passed(start, 0);
		check_eq(torc_rate_take(&rate, 1), 0); /* the bucket has just been emptied */
		check_eq(torc_rate_take(&rate, 1), 0);
		check_passed(start, TORC_MS(1));
		check_eq(torc_sleep(TORC_SECONDS(10)), 0);
	}
	return 0;
}

Test(rate, a_bucket_goes_at_once_after_a_pause)
{
	on_sim(bursts, NULL);
}

static int overdrawn(void *arg)
{
	struct torc_rate rate;
	uint64_t start;

	(void)arg;
	torc_rate_init(&rate, 1000, 10);
	start = torc_now_ns();
	check_eq(torc_rate_take(&rate, 5010), 0);
	check_passed(start, 0);
	check_eq(torc_rate_take(&rate, 1), 0);
	check_passed(start, TORC_SECONDS(5));
	check_le(torc_rate_reserve(&rate, 7000), torc_now_ns() + TORC_MS(1));
	check_ge(torc_rate_reserve(&rate, 1), torc_now_ns() + TORC_MS(6990));
	return 0;
}

Test(rate, more_than_a_bucket_goes_and_is_paid_for_later)
{
	on_sim(overdrawn, NULL);
}

/* The ends of what it takes. */
static int extremes(void *arg)
{
	struct torc_rate rate;
	struct torc_scope t;
	uint64_t start;

	(void)arg;
	torc_rate_init(&rate, (uint64_t)1 << 63, (uint64_t)1 << 63);
	start = torc_now_ns();
	for (int i = 0; i < 1000; i++)
		check_eq(torc_rate_take(&rate, UINT32_MAX), 0);
	check_passed(start, 0);
	torc_rate_init(&rate, 1, (uint64_t)1 << 63);
	check_eq(torc_rate_take(&rate, 1000000), 0);
	torc_rate_init(&rate, 1, 0);
	for (int i = 0; i < 4; i++)
		check(torc_rate_reserve(&rate, UINT64_MAX) >= 1);
	torc_scope_enter(&t, TORC_SECONDS(100));
	check_eq(torc_rate_take(&rate, 1), -ETIMEDOUT);
	torc_scope_leave(&t);
	/* a third of a nanosecond is not given away */
	torc_rate_init(&rate, 3, 0);
	start = torc_rate_reserve(&rate, 1);
	for (int i = 1; i < 300000; i++)
		(void)torc_rate_reserve(&rate, 1);
	check_ge(torc_rate_reserve(&rate, 1) - start, TORC_SECONDS(100000));
	return 0;
}

Test(rate, the_largest_and_the_smallest)
{
	on_sim(extremes, NULL);
}

static int cancelled(void *arg)
{
	struct torc_rate rate;
	struct torc_scope t;
	uint64_t start;

	(void)arg;
	torc_rate_init(&rate, 1000, 0);
	start = torc_now_ns();
	check_eq(torc_rate_take(&rate, 1000), 0);
	for (int i = 0; i < 20; i++) {
		torc_scope_enter(&t, TORC_MS(10));
		check_eq(torc_rate_take(&rate, 1000), -ETIMEDOUT);
		torc_scope_leave(&t);
	}
	torc_scope_enter(&t, TORC_NEVER);
	torc_scope_cancel(&t);
	check_eq(torc_rate_take(&rate, 1000), -ECANCELED);
	torc_scope_leave(&t);
	check_eq(torc_rate_take(&rate, 1), 0);
	check_passed(start, TORC_SECONDS(1));
	return 0;
}

Test(rate, a_cancelled_taker_puts_back_what_it_took)
{
	on_sim(cancelled, NULL);
}

struct taker {
	struct torc_rate *rate;
	uint64_t start;
	int *asked, *served;
};

static int taking(void *arg)
{
	struct taker *t = arg;

	for (int i = 0; i < 10; i++) {
		int turn = (*t->asked)++;

		check_eq(torc_rate_take(t->rate, 5), 0);
		check_eq(*t->served, turn);
		check_passed(t->start, (uint64_t)*t->served * TORC_MS(5));
		++*t->served;
	}
	return 0;
}

static int in_order(void *arg)
{
	struct torc_rate rate;
	struct taker takers[8];
	struct torc_group g;
	int asked = 0, served = 0;

	(void)arg;
	torc_rate_init(&rate, 1000, 0);
	torc_group_enter(&g);
	for (int i = 0; i < 8; i++) {
		takers[i] = (struct taker){ &rate, torc_now_ns(), &asked, &served };
		check_eq(torc_group_spawn(&g, taking, &takers[i]), 0);
	}
	check_eq(torc_group_wait(&g), 0);
	check_eq(served, 80);
	return 0;
}

Test(rate, takers_are_served_in_the_order_in_which_they_ask)
{
	on_sim(in_order, NULL);
}

/* --- streams --- */

static int sink(void *arg)
{
	struct torc_stream *s = arg;
	struct torc_slice in;
	int r;

	while ((r = torc_stream_peek(s, &in)) > 0)
		torc_stream_consume(s, in.len);
	return r;
}

static int limited_writes(void *arg)
{
	static const size_t parts[] = { 10, 1000, 16383, 50000 };
	static char data[50000];

	(void)arg;
	for (size_t i = 0; i < COUNT(parts); i++) {
		struct torc_stream a, b;
		struct torc_rate rate;
		struct torc_group g;
		size_t at = 0, pieces = parts[i] < 16384 ? parts[i] : 16384;
		uint64_t start = torc_now_ns();

		torc_rate_init(&rate, 10000, 0);
		check_eq(torc_stream_pair(&a, &b), 0);
		torc_stream_limit_rates(&a, NULL, &rate);
		torc_group_enter(&g);
		check_eq(torc_group_spawn(&g, sink, &b), 0);
		while (at < 100000) {
			check_eq(torc_stream_write(&a, data, parts[i]), 0);
			at += parts[i];
		}
		/* all but the last piece is paid for */
		check_ge(torc_now_ns() - start, (at - pieces) * 100000u);
		check_le(torc_now_ns() - start, at * 100000u + TORC_MS(10));
		check_eq(torc_stream_close(&a), 0);
		check_eq(torc_group_wait(&g), 0);
		check_eq(torc_stream_close(&b), 0);
	}
	return 0;
}

Test(rate, a_stream_writes_no_faster)
{
	on_sim(limited_writes, NULL);
}

static int source(void *arg)
{
	static const char data[10000];
	struct torc_stream *s = arg;
	int r = 0;

	for (int i = 0; i < 10 && !r; i++)
		r = torc_stream_write(s, data, sizeof(data));
	return r ? r : torc_stream_shutdown(s);
}

static int limited_reads(void *arg)
{
	struct torc_stream a, b;
	struct torc_rate rate;
	struct torc_group g;
	struct torc_scope t;
	struct torc_slice in;
	uint64_t start;
	char buf[1000];
	int r;

	(void)arg;
	torc_rate_init(&rate, 10000, 0);
	check_eq(torc_stream_pair(&a, &b), 0);
	torc_stream_limit_rates(&b, &rate, NULL);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, source, &a), 0);
	start = torc_now_ns();
	for (int i = 0; i < 50; i++)
		check_eq(torc_stream_read_exact(&b, buf, 1000), 0);
	check_passed(start, 4900 * TORC_MS(1));
	/* looking costs nothing; a wait that is cut short takes nothing */
	torc_scope_enter(&t, TORC_MS(1));
	check_eq(torc_stream_peek(&b, &in), -ETIMEDOUT);
	torc_scope_leave(&t);
	for (int i = 0; i < 10; i++)
		check_eq(torc_stream_peek(&b, &in), 1);
	check_passed(start, 5000 * TORC_MS(1));
	while ((r = torc_stream_read(&b, buf, 1000)) > 0)
		;
	check_eq(r, 0);
	check_ge(torc_now_ns() - start, 9900 * TORC_MS(1));
	check_le(torc_now_ns() - start, 10000 * TORC_MS(1) + SLACK);
	check_eq(torc_group_wait(&g), 0);
	check_eq(torc_stream_close(&a), 0);
	check_eq(torc_stream_close(&b), 0);
	return 0;
}

Test(rate, a_stream_is_read_no_faster)
{
	on_sim(limited_reads, NULL);
}

/* One after the other, each with a little: no way around the rate. */
static int many_short_ones(void *arg)
{
	static const char data[1000];
	struct torc_rate rate;
	uint64_t start = torc_now_ns();
	char buf[1000];

	(void)arg;
	torc_rate_init(&rate, 10000, 0);
	for (unsigned i = 0; i < 50; i++) {
		struct torc_stream a, b;

		check_eq(torc_stream_pair(&a, &b), 0);
		torc_stream_limit_rates(i % 2 ? &a : &b, i % 2 ? NULL : &rate,
					i % 2 ? &rate : NULL);
		check_eq(torc_stream_write(&a, data, 1000), 0);
		check_eq(torc_stream_read_exact(&b, buf, 1000), 0);
		check_passed(start, i * TORC_MS(100));
		check_eq(torc_stream_close(&a), 0);
		check_eq(torc_stream_close(&b), 0);
	}
	return 0;
}

Test(rate, many_short_streams_share_a_rate)
{
	on_sim(many_short_ones, NULL);
}

static int limited_copy(void *arg)
{
	struct torc_stream a, b, c, d;
	struct torc_rate rate;
	struct torc_group g;
	uint64_t start = torc_now_ns(), n;

	(void)arg;
	torc_rate_init(&rate, 10000, 0);
	check_eq(torc_stream_pair(&a, &b), 0);
	check_eq(torc_stream_pair(&c, &d), 0);
	torc_stream_limit_rates(&c, NULL, &rate);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, source, &a), 0);
	check_eq(torc_group_spawn(&g, sink, &d), 0);
	check_eq(torc_stream_copy(&c, &b, UINT64_MAX, &n), 0);
	check_eq(n, 100000);
	check_ge(torc_now_ns() - start, TORC_SECONDS(8));
	check_le(torc_now_ns() - start, TORC_SECONDS(10) + TORC_MS(1));
	check_eq(torc_stream_close(&c), 0);
	check_eq(torc_group_wait(&g), 0);
	check_eq(torc_stream_close(&a), 0);
	check_eq(torc_stream_close(&b), 0);
	check_eq(torc_stream_close(&d), 0);
	return 0;
}

Test(rate, a_copy_keeps_to_a_rate)
{
	on_sim(limited_copy, NULL);
}

Test(rate, one_that_cannot_be_traps, .signal = SIGABRT)
{
	struct torc_rate rate;

	torc_rate_init(&rate, 0, 0);
}
