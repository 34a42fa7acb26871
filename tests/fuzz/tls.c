/*
 * tls.c - fuzz TLS streams: what a hostile peer, or somebody between two good ones, can do.
 *
 * The first byte says who is attacked and how: by bytes from nowhere, or by changes to what two ends really say, in the
 * handshake and after it. Each change is four bytes: a direction and a kind, where, and a value.
 *
 * Checked: what is read is the beginning of what was said; an end is read only after all of it; whatever comes, everybody ends,
 * in virtual time, with an error that may be, and nothing is left (core/sim.h).
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <torc/core/group.h>
#include <torc/core/sim.h>
#include <torc/io/stream.h>

#include "io/internal/tls.h"
#include "tests/io/certs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HOST  "a.test"
#define WORDS 3
#define SAID  5000u /* by each end, in so many words */

/* By version: 1.2, 1.3. */
static struct torc_tls *servers[2], *clients[2];

static void make_configurations(const struct cert *authority, const struct cert *leaf)
{
	struct torc_tls_certificate c = { .cert_file = leaf->cert_file,
					  .key_file = leaf->key_file };

	for (int i = 0; i < 2; i++) {
		struct torc_tls_options server = { .max_version = 12 + i }, client = server;

		server.certificates = &c;
		server.certificate_count = 1;
		client.ca_file = authority->cert_file;
		client.no_resumption = true; /* each input by itself */
		check_eq(torc_tls_server_create(&server, &servers[i], NULL), 0);
		check_eq(torc_tls_client_create(&client, &clients[i], NULL), 0);
	}
}

static void make_keys(void)
{
	struct certs all;
	struct cert authority, leaf;

	certs_open(&all);
	certs_make_even(&all, HOST, &authority, &leaf);
	make_configurations(&authority, &leaf);
	cert_free(&leaf);
	cert_free(&authority);
	certs_close(&all);
}

/* --- one end --- */

static char byte_said(bool by_server, size_t at)
{
	return (char)(at * 7 + at / 256 + by_server);
}

struct end {
	struct torc_stream *s;
	struct torc_tls *tls;
	size_t heard;
	int result;
};

static int shake(struct end *e)
{
	return e->tls->server ? torc_tls_accept(e->s, e->tls)
			      : torc_tls_connect(e->s, e->tls, HOST);
}

static int say_all(struct end *e)
{
	char word[SAID];
	size_t at = 0;
	int r = 0;

	for (size_t i = 0; i < SAID; i++)
		word[i] = byte_said(e->tls->server, i);
	for (int i = 0; i < WORDS && !r; i++) {
		size_t len = i == WORDS - 1 ? SAID - at : 1 + (size_t)i * 100;

		r = torc_stream_write(e->s, word + at, len);
		if (!r)
			r = torc_stream_flush(e->s);
		at += len;
	}
	return r ? r : torc_stream_shutdown(e->s);
}

static int hear_all(struct end *e)
{
	struct torc_slice in;
	int r;

	while ((r = torc_stream_peek(e->s, &in)) > 0) {
		check_le(e->heard + in.len, SAID);
		for (size_t i = 0; i < in.len; i++)
			check_eq(in.data[i], byte_said(!e->tls->server, e->heard + i));
		e->heard += in.len;
		torc_stream_consume(e->s, in.len);
	}
	return r;
}

static int end_main(void *arg)
{
	struct end *e = arg;
	char why[TORC_TLS_WHY_MAX];
	int r = shake(e);

	if (!r)
		r = say_all(e);
	if (!r)
		r = hear_all(e);
	if (!r)
		check_eq(e->heard, SAID);
	check(r <= 0 && r != -EINTR && r != -EAGAIN);
	(void)torc_tls_why(e->s, why);
	check(strlen(why) < sizeof(why));
	e->result = r;
	(void)torc_stream_close(e->s);
	return 0;
}

/* --- bytes from nowhere --- */

struct input {
	const uint8_t *data;
	size_t size;
	unsigned mode;
};

struct shouting {
	struct torc_stream *s;
	const struct input *in;
};

static int shout(void *arg)
{
	struct shouting *h = arg;
	size_t piece = h->in->mode & 8 ? 1 : 4096;
	int r = 0;

	for (size_t at = 0; at < h->in->size && !r; at += piece) {
		size_t len = h->in->size - at < piece ? h->in->size - at : piece;

		r = torc_stream_write(h->s, h->in->data + at, len);
		if (!r)
			r = torc_stream_flush(h->s);
	}
	(void)torc_stream_close(h->s);
	return 0;
}

static void attack_one(const struct input *in)
{
	struct torc_stream s[2];
	struct shouting h = { &s[1], in };
	struct end e = { .s = &s[0], .tls = (in->mode & 2 ? clients : servers)[in->mode >> 2 & 1] };
	struct torc_group g;

	check_eq(torc_stream_pair(&s[0], &s[1]), 0);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, shout, &h), 0);
	(void)end_main(&e);
	check_eq(torc_group_wait(&g), 0);
	check_lt(e.result, 0); /* nobody has the key */
}

/* --- in between --- */

struct relay {
	struct torc_stream *from, *to;
	const struct input *in;
	bool up;
	size_t count; /* carried */
	bool broken;
};

/* What becomes of byte `at`: how many are written to `to`, of which there is room for 16; -1: the end. */
static int change(struct relay *y, size_t at, char byte, char *to)
{
	int n = 1;

	to[0] = byte;
	for (size_t i = 0; i + 4 <= y->in->size; i += 4) {
		const uint8_t *op = y->in->data + i;

		if ((op[0] & 1) != y->up || at != (size_t)op[1] * 256 + op[2])
			continue;
		y->broken = true;
		switch (op[0] >> 1 & 3) {
		case 0: to[0] ^= (char)op[3]; break;
		case 1: n = 0; break;
		case 2: n = 1 + op[3] % 15; break;
		default: return -1;
		}
		if (n > 1)
			memset(to + 1, op[3], (size_t)n - 1);
	}
	return n;
}

static int carry_all(struct relay *y, struct torc_slice in)
{
	int r = 0;

	for (size_t i = 0; i < in.len && r >= 0; i++) {
		char bytes[16];
		int n = change(y, y->count++, in.data[i], bytes);

		r = n < 0 ? -EPIPE : n ? torc_stream_write(y->to, bytes, (size_t)n) : 0;
	}
	return r;
}

static int relay_main(void *arg)
{
	struct relay *y = arg;
	struct torc_slice in;
	int r = 0;

	while (r >= 0 && torc_stream_peek(y->from, &in) > 0) {
		r = carry_all(y, in);
		torc_stream_consume(y->from, in.len);
	}
	r = torc_stream_shutdown(y->to);
	(void)r;
	return 0;
}

static void attack_both(const struct input *in)
{
	struct torc_stream client[2], server[2]; /* [1] are the relay's */
	unsigned version = in->mode >> 2 & 1;
	struct end ends[2] = { { .s = &server[0], .tls = servers[version] },
			       { .s = &client[0], .tls = clients[version] } };
	struct relay up = { .from = &client[1], .to = &server[1], .in = in, .up = true };
	struct relay down = { .from = &server[1], .to = &client[1], .in = in };
	struct torc_group g;

	check_eq(torc_stream_pair(&client[0], &client[1]), 0);
	check_eq(torc_stream_pair(&server[0], &server[1]), 0);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, end_main, &ends[0]), 0);
	check_eq(torc_group_spawn(&g, end_main, &ends[1]), 0);
	check_eq(torc_group_spawn(&g, relay_main, &up), 0);
	check_eq(torc_group_spawn(&g, relay_main, &down), 0);
	check_eq(torc_group_wait(&g), 0);
	(void)torc_stream_close(&client[1]);
	(void)torc_stream_close(&server[1]);
	if (!up.broken && !down.broken) {
		check_eq(ends[0].result, 0);
		check_eq(ends[1].result, 0);
	}
}

static int scenario(void *arg)
{
	const struct input *in = arg;

	if (in->mode & 1)
		attack_both(in);
	else
		attack_one(in);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data + 1, size - 1, size ? data[0] : 0 };
	struct torc_options o = { .loops = 1 };

	if (!size)
		return 0;
	if (!servers[0])
		make_keys();
	check_eq(torc_sim_new(NULL, &o.sim), 0);
	check_eq(torc_run(&o, scenario, &in), 0);
	torc_sim_free(o.sim);
	return 0;
}
