/*
 * tests/io/tls.h - two ends of an encrypted connection, for tests.
 */
#ifndef TESTS_IO_TLS_H
#define TESTS_IO_TLS_H

#include <torc/io/tls.h>

#include "tests/io/certs.h"
#include "tests/io/run.h"

/* What most tests need: an authority, and a server's certificate from it. */
struct world {
	struct certs all;
	struct cert authority, leaf;
	struct torc_tls *server, *client;
};

static inline struct torc_tls *server_with(const struct cert *leaf, struct torc_tls_options o)
{
	struct torc_tls_certificate c = { .cert_file = leaf->cert_file,
					  .key_file = leaf->key_file };
	char why[TORC_TLS_WHY_MAX] = "";
	struct torc_tls *tls;

	o.certificates = &c;
	o.certificate_count = 1;
	check_eq(torc_tls_server_create(&o, &tls, why), 0);
	check_eq(*why, 0);
	return tls;
}

static inline struct torc_tls *client_with(const struct cert *authority, struct torc_tls_options o)
{
	char why[TORC_TLS_WHY_MAX] = "";
	struct torc_tls *tls;

	o.ca_file = authority ? authority->cert_file : NULL;
	check_eq(torc_tls_client_create(&o, &tls, why), 0);
	return tls;
}

static inline void open_world(struct world *w, struct cert_wish leaf)
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

static inline void close_world(struct world *w)
{
	torc_tls_unref(w->server);
	torc_tls_unref(w->client);
	cert_free(&w->leaf);
	cert_free(&w->authority);
	certs_close(&w->all);
}

struct end {
	struct torc_stream *s;
	struct torc_tls *tls;
	const char *host;
	int result;
};

static inline int accept_end(void *arg)
{
	struct end *e = arg;

	e->result = torc_tls_accept(e->s, e->tls);
	return 0;
}

static inline int connect_end(void *arg)
{
	struct end *e = arg;

	e->result = torc_tls_connect(e->s, e->tls, e->host);
	return 0;
}

/* Both handshakes at once; what they come to. */
static inline void meet(struct torc_stream s[2], struct end *server, struct end *client)
{
	struct torc_group g;

	server->s = &s[0];
	client->s = &s[1];
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, accept_end, server), 0);
	client->result = torc_tls_connect(client->s, client->tls, client->host);
	check_eq(torc_group_wait(&g), 0);
}

static inline void open_sockets(struct torc_stream s[2])
{
	int fd[2];

	tcp_pair(fd);
	check_eq(torc_stream_open(&s[0], fd[0]), 0);
	check_eq(torc_stream_open(&s[1], fd[1]), 0);
}

static inline void open_encrypted(struct world *w, struct torc_stream s[2], bool in_memory)
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

static inline void close_both(struct torc_stream s[2])
{
	check_eq(torc_stream_close(&s[0]), 0);
	check_eq(torc_stream_close(&s[1]), 0);
}

#endif
