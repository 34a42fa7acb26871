/*
 * TLS on streams: what connections cost, and what becomes of them when OpenSSL gets no memory.
 *
 * OpenSSL's allocations are counted, and refused, by functions of ours: from its first one on.
 */
#include <malloc.h>
#include <openssl/crypto.h>
#include <openssl/err.h>

#include "io/internal/tls.h"
#include "tests/io/tls.h"

TestSuite(tls_memory, .timeout = 120);

/* All atomic: handshakes run on other threads too. */
static size_t bytes, allocations, refused_from, refused_to;

static bool is_refused(void)
{
	size_t n = __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED);

	return n >= refused_from && n < refused_to;
}

static void count_block(void *block, bool gone)
{
	size_t n = malloc_usable_size(block);

	if (gone)
		__atomic_sub_fetch(&bytes, n, __ATOMIC_RELAXED);
	else
		__atomic_add_fetch(&bytes, n, __ATOMIC_RELAXED);
}

static void *take(size_t n, const char *file, int line)
{
	void *block = is_refused() ? NULL : malloc(n);

	(void)file, (void)line;
	count_block(block, false);
	return block;
}

static void *take_again(void *block, size_t n, const char *file, int line)
{
	void *new;

	(void)file, (void)line;
	if (is_refused())
		return NULL;
	count_block(block, true);
	new = realloc(block, n);
	count_block(new ? new : block, false);
	return new;
}

static void give(void *block, const char *file, int line)
{
	(void)file, (void)line;
	count_block(block, true);
	free(block);
}

/* Before main, for what the tests are run by uses it too. */
static bool counts;

__attribute__((constructor)) static void count_openssl(void)
{
	counts = CRYPTO_set_mem_functions(take, take_again, give);
}

static void say_and_hear(struct torc_stream *from, struct torc_stream *to)
{
	char word[5];

	check_eq(torc_stream_write(from, "hello", 5), 0);
	check_eq(torc_stream_read_exact(to, word, 5), 0);
}

/* --- idle connections --- */

#define PAIRS 20

/* Of two ends, without any buffer. */
#define OPENSSL_BYTES 32000u

struct idle {
	struct world *w;
	size_t each; /* of a pair, in OpenSSL */
};

static int idle_main(void *arg)
{
	struct idle *d = arg;
	struct torc_stream(*s)[2] = calloc(PAIRS + 1, sizeof(*s));
	size_t before = 0;

	for (int i = 0; i <= PAIRS; i++) {
		if (i == 1) /* what is made once has been */
			before = bytes;
		open_encrypted(d->w, s[i], false);
		say_and_hear(&s[i][1], &s[i][0]);
		say_and_hear(&s[i][0], &s[i][1]);
	}
	for (int i = 0; i <= PAIRS; i++) {
		for (int k = 0; k < 2; k++) {
			check_eq(torc_stream_flush(&s[i][k]), 0);
			check(!s[i][k].spill && !s[i][k].pending && !s[i][k].sending);
			check(!s[i][k].tls->out && !s[i][k].below->spill);
			check(!s[i][k].below->pending && !s[i][k].below->sending);
		}
	}
	d->each = (bytes - before) / PAIRS;
	for (int i = 0; i <= PAIRS; i++)
		close_both(s[i]);
	free(s);
	return 0;
}

Test(tls_memory, a_connection_that_waits_has_no_buffers)
{
	struct world w;
	struct idle d = { .w = &w };

	cr_assert(counts);
	open_world(&w, (struct cert_wish){ 0 });
	run(idle_main, &d);
	close_world(&w);
	cr_log_info("OpenSSL has %zu bytes for a pair; ours %zu for each end", d.each,
		    sizeof(struct torc__tls));
	/* one buffer alone is 16 KiB */
	cr_assert_lt(d.each, OPENSSL_BYTES);
	cr_assert_lt(sizeof(struct torc__tls), 2048);
}

/* --- no memory --- */

static int say_hear_close(void *arg)
{
	struct end *e = arg;
	char word[5];
	int r = e->tls->server ? torc_tls_accept(e->s, e->tls)
			       : torc_tls_connect(e->s, e->tls, e->host);

	if (!r)
		r = torc_stream_write(e->s, "hello", 5);
	if (!r)
		r = torc_stream_read_exact(e->s, word, 5);
	if (!r)
		check(!memcmp(word, "hello", 5));
	if (!r)
		r = torc_stream_shutdown(e->s);
	check(r <= 0 && r != -EAGAIN && r != -EINTR && r != -ETIMEDOUT);
	e->result = r;
	(void)torc_stream_close(e->s);
	return 0;
}

/* Are both ends content? */
static bool try_once(struct world *w, size_t from, size_t to)
{
	struct torc_stream s[2];
	struct end server = { &s[0], w->server, NULL, 0 },
		   client = { &s[1], w->client, "a.test", 0 };
	struct torc_group g;

	check_eq(torc_stream_pair(&s[0], &s[1]), 0);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, say_hear_close, &server), 0);
	check_eq(torc_group_spawn(&g, say_hear_close, &client), 0);
	allocations = 0;
	refused_from = from;
	refused_to = to;
	check_eq(torc_group_wait(&g), 0);
	refused_from = refused_to = 0;
	return !server.result && !client.result;
}

static int refuse(void *arg)
{
	struct world *w = arg;
	size_t n = 0, before, total;

	check(try_once(w, 0, 0));
	total = allocations;
	before = bytes;
	/* one alone, which OpenSSL may do without; then all from there on */
	for (n = 1; n <= total; n += 3)
		(void)try_once(w, n, n + 1);
	for (n = 1; n <= total; n += 7)
		check(!try_once(w, n, SIZE_MAX) || n > total / 2);
	check(try_once(w, 0, 0));
	check_le(bytes, before + 4096);
	return 0;
}

Test(tls_memory, without_memory_a_connection_fails_and_nothing_is_left)
{
	struct torc_tls_options o = { .no_resumption = true };
	struct world w;

	cr_assert(counts);
	open_world(&w, (struct cert_wish){ 0 });
	torc_tls_unref(w.server);
	torc_tls_unref(w.client);
	w.server = server_with(&w.leaf, o);
	w.client = client_with(&w.authority, o);
	run(refuse, &w);
	close_world(&w);
}
