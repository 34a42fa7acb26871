/*
 * TLS on streams: what arrives, who is believed, and how it ends.
 */
#include <torc/io/tls.h>

#include "tests/io/certs.h"

TestSuite(tls, .timeout = 60);

/* What most tests need: an authority, and a server's certificate from it. */
struct world {
	struct certs all;
	struct cert authority, leaf;
	struct torc_tls *server, *client;
};

static struct torc_tls *server_with(const struct cert *leaf, struct torc_tls_options o)
{
	struct torc_tls_certificate c = { leaf->cert_file, leaf->key_file };
	char why[TORC_TLS_WHY_MAX] = "";
	struct torc_tls *tls;

	o.certificates = &c;
	o.certificate_count = 1;
	check_eq(torc_tls_server_create(&o, &tls, why), 0);
	check_eq(*why, 0);
	return tls;
}

static struct torc_tls *client_with(const struct cert *authority, struct torc_tls_options o)
{
	char why[TORC_TLS_WHY_MAX] = "";
	struct torc_tls *tls;

	o.ca_file = authority ? authority->cert_file : NULL;
	check_eq(torc_tls_client_create(&o, &tls, why), 0);
	return tls;
}

static void open_world(struct world *w, struct cert_wish leaf)
{
	struct cert_wish authority = { .subject = "authority of the tests", .authority = true };

	if (!leaf.subject)
		leaf = (struct cert_wish){ .subject = "a.test",
					   .names = "DNS:a.test,IP:127.0.0.1" };
	certs_open(&w->all);
	w->authority = cert_make(&w->all, NULL, authority);
	w->leaf = cert_make(&w->all, &w->authority, leaf);
	w->server = server_with(&w->leaf, (struct torc_tls_options){ 0 });
	w->client = client_with(&w->authority, (struct torc_tls_options){ 0 });
}

static void close_world(struct world *w)
{
	torc_tls_unref(w->server);
	torc_tls_unref(w->client);
	cert_free(&w->leaf);
	cert_free(&w->authority);
	certs_close(&w->all);
}

/* --- both ends --- */

struct end {
	struct torc_stream *s;
	struct torc_tls *tls;
	const char *host;
	int result;
};

static int accept_end(void *arg)
{
	struct end *e = arg;

	e->result = torc_tls_accept(e->s, e->tls);
	return 0;
}

/* Both handshakes at once; what they come to. */
static void meet(struct torc_stream s[2], struct end *server, struct end *client)
{
	struct torc_group g;

	server->s = &s[0];
	client->s = &s[1];
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, accept_end, server), 0);
	client->result = torc_tls_connect(client->s, client->tls, client->host);
	check_eq(torc_group_wait(&g), 0);
}

static void open_sockets(struct torc_stream s[2])
{
	int fd[2];

	tcp_pair(fd);
	check_eq(torc_stream_open(&s[0], fd[0]), 0);
	check_eq(torc_stream_open(&s[1], fd[1]), 0);
}

static void open_encrypted(struct world *w, struct torc_stream s[2], bool in_memory)
{
	struct end server = { .tls = w->server }, client = { .tls = w->client, .host = "a.test" };

	if (in_memory)
		check_eq(torc_stream_pair(&s[0], &s[1]), 0);
	else
		open_sockets(s);
	meet(s, &server, &client);
	check_eq(client.result, 0);
	check_eq(server.result, 0);
}

static void close_both(struct torc_stream s[2])
{
	check_eq(torc_stream_close(&s[0]), 0);
	check_eq(torc_stream_close(&s[1]), 0);
}

/* --- bytes --- */

struct pump {
	struct torc_stream *s;
	uint64_t seed, total;
	size_t most;
};

static int pump_write(void *arg)
{
	struct pump *p = arg;
	uint64_t random = p->seed, at = 0;
	char *buf = malloc(p->most);

	while (at < p->total) {
		size_t len = 1 + next_random(&random) % p->most;

		len = len < p->total - at ? len : p->total - at;
		fill_bytes(buf, len, p->seed, at);
		check_eq(torc_stream_write(p->s, buf, len), 0);
		at += len;
	}
	free(buf);
	return torc_stream_shutdown(p->s);
}

static int pump_read(void *arg)
{
	struct pump *p = arg;
	struct torc_slice in;
	uint64_t at = 0;
	int r;

	while ((r = torc_stream_peek(p->s, &in)) > 0) {
		check(same_bytes(in.data, in.len, p->seed, at));
		torc_stream_consume(p->s, in.len);
		at += in.len;
	}
	{char w[400]; if (r<0) fprintf(stderr,"%d at %llu/%llu: %s\n", r,(unsigned long long)at,(unsigned long long)p->total, torc_tls_why(p->s,w));}
	check_eq(r, 0);
	check_eq(at, p->total);
	return 0;
}

static void pump_both(struct torc_stream s[2], size_t most, uint64_t total)
{
	struct pump there = { .s = &s[0], .seed = 1, .total = total, .most = most }, back = there;
	struct pump there_rx = there, back_rx;
	struct torc_group g;

	back.s = &s[1];
	back.seed = 2;
	back_rx = back;
	there_rx.s = &s[1];
	back_rx.s = &s[0];
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, pump_write, &there), 0);
	check_eq(torc_group_spawn(&g, pump_write, &back), 0);
	check_eq(torc_group_spawn(&g, pump_read, &there_rx), 0);
	check_eq(torc_group_spawn(&g, pump_read, &back_rx), 0);
	check_eq(torc_group_wait(&g), 0);
}

static int both_ways(void *arg)
{
	static const size_t most[] = { 10, 1000, 20000, 300000 };
	struct world *w = arg;

	for (size_t i = 0; i < COUNT(most); i++) {
		for (int in_memory = 0; in_memory < 2; in_memory++) {
			struct torc_stream s[2];

			open_encrypted(w, s, in_memory);
			pump_both(s, most[i], most[i] == 10 ? 20000 : 2000000);
			close_both(s);
		}
	}
	return 0;
}

Test(tls, bytes_of_any_size_arrive_in_order_both_ways)
{
	struct world w;

	open_world(&w, (struct cert_wish){ 0 });
	run(both_ways, &w);
	close_world(&w);
}
