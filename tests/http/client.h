/*
 * tests/http/client.h - a client and what it talks to: the library's server (world.h), or one that says, byte for byte, what a test wants.
 */
#ifndef TESTS_HTTP_CLIENT_H
#define TESTS_HTTP_CLIENT_H

#include "tests/http/world.h"

#include <torc/core/fiber.h>
#include <torc/http/client.h>

/* --- a server by script --- */

struct peer;

struct peer {
	void (*script)(struct peer *p, struct torc_stream *s,
		       int number); /* of each connection, from 0 on */
	void (*client)(struct peer *p, struct torc_http_client *client);
	struct torc_http_client_options options;
	struct torc_options runtime;
	const char *const *addresses; /* default: a free port of 127.0.0.1 */
	struct torc_tls *tls;         /* of a server, for one that is "tls://" */
	char url[64];                 /* "http://127.0.0.1:PORT" */
	char secure_url[64];          /* "https://127.0.0.1:PORT", with tls */
	int connections;
	int requests;     /* heads that were heard */
	char head[16384]; /* the last one */
	void *arg;
	struct torc_group group;
};

/* Until the end of the next head, which p->head is then; false: the client has gone. */
static inline bool hear_head(struct peer *p, struct torc_stream *s)
{
	struct torc_slice line;
	size_t len = 0;
	int r;

	while ((r = torc_stream_read_until(s, '\n', sizeof(p->head) - 1, &line)) > 0) {
		check_lt(len + line.len, sizeof(p->head));
		memcpy(p->head + len, line.data, line.len);
		len += line.len;
		p->head[len] = '\0';
		torc_stream_consume(s, line.len);
		if (line.len == 2) {
			p->requests++;
			return true;
		}
	}
	return false;
}

static inline bool heard(const struct peer *p, const char *text)
{
	return strstr(p->head, text) != NULL;
}

static inline void tell(struct torc_stream *s, const char *text)
{
	(void)!torc_stream_write(s, text, strlen(text));
}

/* Take so many bytes of a body. */
static inline bool take_body(struct torc_stream *s, size_t len)
{
	while (len) {
		struct torc_slice view;

		if (torc_stream_peek(s, &view) <= 0)
			return false;
		view.len = view.len < len ? view.len : len;
		torc_stream_consume(s, view.len);
		len -= view.len;
	}
	return true;
}

/* Until the client hangs up. */
static inline void hear_out(struct torc_stream *s)
{
	struct torc_slice view;

	while (torc_stream_peek(s, &view) > 0)
		torc_stream_consume(s, view.len);
}

static inline int peer_connection(struct torc_stream *s, void *arg)
{
	struct peer *p = arg;

	p->script(p, s, p->connections++);
	(void)!torc_stream_flush(s);
	return 0;
}

static inline void peer_listening(const char *address, void *arg)
{
	struct peer *p = arg;
	const char *rest = strstr(address, "://") ? strstr(address, "://") + 3 : address;

	if (!strncmp(address, "tls://", 6))
		snprintf(p->secure_url, sizeof(p->secure_url), "https://%s", rest);
	else
		snprintf(p->url, sizeof(p->url), "http://%s", rest);
}

static inline int peer_serve(void *arg)
{
	static const char *const any_port[] = { "127.0.0.1:0", NULL };
	struct peer *p = arg;

	return torc_serve_with(
		&(struct torc_serve_options){ .addresses = p->addresses ? p->addresses : any_port,
					      .handler = peer_connection,
					      .arg = p,
					      .tls = p->tls,
					      .on_listen = peer_listening });
}

static inline int peer_main(void *arg)
{
	struct peer *p = arg;
	struct torc_http_client *client;

	torc_group_enter(&p->group);
	check_eq(torc_group_spawn(&p->group, peer_serve, p), 0);
	while (!p->url[0] || (p->tls && !p->secure_url[0]))
		check_eq(torc_yield(), 0);
	p->options.no_environment = true;
	check_eq(torc_http_client_open(&p->options, &client), 0);
	p->client(p, client);
	torc_http_client_close(client);
	torc_group_cancel(&p->group);
	return torc_group_wait(&p->group);
}

static inline void run_peer_with(struct peer *p,
				 void (*script)(struct peer *, struct torc_stream *, int),
				 void (*client)(struct peer *, struct torc_http_client *))
{
	p->script = script;
	p->client = client;
	p->url[0] = p->secure_url[0] = '\0';
	p->connections = p->requests = 0;
	check_eq(run_with(&p->runtime, peer_main, p), 0);
}

static inline void run_peer(void (*script)(struct peer *, struct torc_stream *, int),
			    void (*client)(struct peer *, struct torc_http_client *))
{
	struct peer p = { .script = script };

	run_peer_with(&p, script, client);
}

/* --- calls --- */

static inline const char *url_of(const struct peer *p, const char *path)
{
	static char text[4][512];
	static int next;
	char *url = text[next++ % 4];

	snprintf(url, sizeof(text[0]), "%s%s", p->url, path);
	return url;
}

static inline void expect_body(struct torc_http_response *res, int status, const char *text)
{
	struct torc_slice body;

	check_eq(torc_http_response_status(res), status);
	check_eq(torc_http_response_read(res, 1 << 20, &body), 0);
	check(same_text(body, text));
}

static inline void get_and_expect(struct torc_http_client *client, const char *url, int status,
				  const char *text)
{
	struct torc_http_response *res;

	check_eq(torc_http_get(client, url, &res), 0);
	expect_body(res, status, text);
	torc_http_response_close(res);
}

static inline struct torc_http_client_stats stats_of(const struct torc_http_client *client)
{
	struct torc_http_client_stats stats;

	torc_http_client_stats(client, &stats);
	return stats;
}

#endif
