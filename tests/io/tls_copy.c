/*
 * What streams do beside reading and writing, on encrypted ones: copying, teeing, limits, rates.
 */
#include <torc/io/rate.h>

#include "tests/io/tls.h"

TestSuite(tls_copy, .timeout = 60);

#define BYTES 300000

static char nth_byte(size_t i)
{
	return (char)(i * 11 + i / 253);
}

static int say_all(void *arg)
{
	static char all[BYTES];
	struct torc_stream *s = arg;
	int r;

	for (size_t i = 0; i < BYTES; i++)
		all[i] = nth_byte(i);
	r = torc_stream_write(s, all, BYTES);
	return r ? r : torc_stream_shutdown(s);
}

struct hearing {
	struct torc_stream *s;
	size_t heard;
};

static int hear_all(void *arg)
{
	struct hearing *h = arg;
	struct torc_slice in;
	int r;

	while ((r = torc_stream_peek(h->s, &in)) > 0) {
		for (size_t i = 0; i < in.len; i++)
			check_eq(in.data[i], nth_byte(h->heard + i));
		torc_stream_consume(h->s, in.len);
		h->heard += in.len;
	}
	return r;
}

static void in_world(torc_fn *fn)
{
	struct world w;

	open_world(&w, (struct cert_wish){ 0 });
	run(fn, &w);
	close_world(&w);
}

/* Two connections with a copy in between, each encrypted or not. */
static void relay(struct world *w, bool first, bool second)
{
	struct torc_stream a[2], b[2];
	struct hearing h = { .s = &b[1] };
	struct torc_group g;
	uint64_t copied;

	first ? open_encrypted(w, a, false) : open_sockets(a);
	second ? open_encrypted(w, b, false) : open_sockets(b);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, say_all, &a[1]), 0);
	check_eq(torc_group_spawn(&g, hear_all, &h), 0);
	check_eq(torc_stream_copy(&b[0], &a[0], 1000, &copied), 0);
	check_eq(copied, 1000);
	check_eq(torc_stream_copy(&b[0], &a[0], UINT64_MAX, &copied), 0);
	check_eq(copied, BYTES - 1000);
	check_eq(torc_stream_shutdown(&b[0]), 0);
	check_eq(torc_group_wait(&g), 0);
	check_eq(h.heard, BYTES);
	close_both(a);
	close_both(b);
}

static int relay_all(void *arg)
{
	for (int i = 0; i < 4; i++)
		relay(arg, i & 1, i & 2);
	return 0;
}

Test(tls_copy, what_one_connection_says_goes_to_another_whatever_is_encrypted)
{
	in_world(relay_all);
}

static int copy_file(void *arg)
{
	char path[] = "/tmp/torc-tls-XXXXXX";
	struct torc_stream s[2], file;
	struct hearing h = { .s = &s[1] };
	struct torc_group g;
	int fd = mkstemp(path);
	uint64_t copied;

	check_ge(fd, 0);
	unlink(path);
	for (size_t i = 0; i < BYTES; i++) {
		char c = nth_byte(i);

		check_eq(pwrite(fd, &c, 1, (off_t)i), 1);
	}
	check_eq(torc_stream_open_fds(&file, fd, -1), 0);
	open_encrypted(arg, s, false);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, hear_all, &h), 0);
	check_eq(torc_stream_copy(&s[0], &file, UINT64_MAX, &copied), 0);
	check_eq(copied, BYTES);
	check_eq(torc_stream_shutdown(&s[0]), 0);
	check_eq(torc_group_wait(&g), 0);
	check_eq(h.heard, BYTES);
	check_eq(torc_stream_close(&file), 0);
	close_both(s);
	return 0;
}

Test(tls_copy, a_file_goes_into_an_encrypted_connection)
{
	in_world(copy_file);
}

static int tee_all(void *arg)
{
	struct torc_stream from[2], to[2], also[2];
	struct hearing h[2] = { { .s = &to[1] }, { .s = &also[1] } };
	struct torc_group g;
	uint64_t copied;

	open_encrypted(arg, from, false);
	open_encrypted(arg, to, false);
	open_sockets(also);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, say_all, &from[1]), 0);
	check_eq(torc_group_spawn(&g, hear_all, &h[0]), 0);
	check_eq(torc_group_spawn(&g, hear_all, &h[1]), 0);
	check_eq(torc_stream_tee(&to[0], &also[0], &from[0], UINT64_MAX, &copied), 0);
	check_eq(copied, BYTES);
	check_eq(torc_stream_shutdown(&to[0]), 0);
	check_eq(torc_stream_shutdown(&also[0]), 0);
	check_eq(torc_group_wait(&g), 0);
	check_eq(h[0].heard, BYTES);
	check_eq(h[1].heard, BYTES);
	close_both(from);
	close_both(to);
	close_both(also);
	return 0;
}

Test(tls_copy, two_streams_get_the_same)
{
	in_world(tee_all);
}

/* A copy that is cancelled where it waits loses nothing, and goes on. */
static int cancelled(void *arg)
{
	struct torc_stream a[2], b[2];
	struct torc_scope scope;
	uint64_t copied;
	char word[10];

	open_encrypted(arg, a, false);
	open_encrypted(arg, b, false);
	check_eq(torc_stream_write(&a[1], "hello", 5), 0);
	torc_scope_enter(&scope, TORC_MS(20));
	check_eq(torc_stream_copy(&b[0], &a[0], UINT64_MAX, &copied), -ETIMEDOUT);
	torc_scope_leave(&scope);
	check_eq(copied, 5);
	check_eq(torc_stream_write(&a[1], "world", 5), 0);
	check_eq(torc_stream_copy(&b[0], &a[0], 5, &copied), 0);
	check_eq(torc_stream_read_exact(&b[1], word, 10), 0);
	check(!memcmp(word, "helloworld", 10));
	close_both(a);
	close_both(b);
	return 0;
}

Test(tls_copy, a_copy_that_is_cancelled_goes_on)
{
	in_world(cancelled);
}

/* Of plain bytes: what records add is not counted. */
static int limited(void *arg)
{
	struct torc_stream s[2];
	struct torc_slice in;

	open_encrypted(arg, s, false);
	check_eq(torc_stream_write(&s[1], "0123456789", 10), 0);
	torc_stream_limit(&s[0], 4);
	check_eq(torc_stream_fill(&s[0], 5, &in), 0);
	check_eq(in.len, 4);
	torc_stream_consume(&s[0], 4);
	check_eq(torc_stream_peek(&s[0], &in), 0);
	torc_stream_limit(&s[0], TORC_STREAM_UNLIMITED);
	check_eq(torc_stream_fill(&s[0], 6, &in), 1);
	check(!memcmp(in.data, "456789", 6));
	torc_stream_consume(&s[0], 6);
	torc_stream_limit_waits(&s[0], TORC_MS(20), 0);
	check_eq(torc_stream_peek(&s[0], &in), -ETIMEDOUT);
	check_eq(torc_stream_write(&s[1], "later", 5), 0);
	check_eq(torc_stream_fill(&s[0], 5, &in), 1);
	torc_stream_consume(&s[0], 5);
	close_both(s);
	return 0;
}

Test(tls_copy, limits_are_of_what_is_read)
{
	in_world(limited);
}

static int slow(void *arg)
{
	static char data[3000];
	struct torc_stream s[2];
	struct torc_rate tx, rx;
	uint64_t start;

	for (int reading = 0; reading < 2; reading++) {
		open_encrypted(arg, s, false);
		torc_rate_init(&tx, 10000, 0);
		torc_rate_init(&rx, 10000, 0);
		torc_stream_limit_rates(&s[0], NULL, reading ? NULL : &tx);
		torc_stream_limit_rates(&s[1], reading ? &rx : NULL, NULL);
		start = torc_now_ns();
		for (int i = 0; i < 3; i++)
			check_eq(torc_stream_write(&s[0], data, 1000), 0);
		for (int i = 0; i < 3; i++)
			check_eq(torc_stream_read_exact(&s[1], data, 1000), 0);
		/* the first goes at once, and what the others wait for is plain text's time */
		check_ge(torc_now_ns() - start, TORC_MS(190));
		torc_stream_limit_rates(&s[1], NULL, NULL);
		close_both(s);
	}
	return 0;
}

Test(tls_copy, rates_are_kept)
{
	in_world(slow);
}
