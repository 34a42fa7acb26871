/*
 * http/client_connect.c - the way to a server.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <torc/core/scope.h>
#include <torc/io/socket.h>

#include "http/internal/client.h"
#include "io/internal/stream.h"

/* "HOST:PORT", with brackets around an IPv6 address. */
#define ADDRESS_BYTES 320

static int dial(struct torc_http_response *res, const char *address)
{
	struct torc__http_conn *c = res->conn;
	int r = torc_stream_dial(&c->stream, address, res->client->options.dial, NULL, NULL);

	*res->detail = '\0';
	c->open = !r;
	if (r < 0)
		snprintf(res->detail, sizeof(res->detail), "to %.160s: %s", address, strerror(-r));
	return r;
}

/* --- TLS --- */

/* The default: what the system trusts. By whoever needs it first. */
static int make_tls(struct torc_http_client *client, char *ret_why)
{
	static const char *const alpn[] = { "http/1.1", NULL };
	const struct torc_tls_options o = { .alpn = alpn };
	int r = torc_mutex_lock(&client->tls_lock);

	if (r < 0)
		return r;
	if (!client->tls)
		r = torc_tls_client_create(&o, &client->tls, ret_why);
	torc_mutex_unlock(&client->tls_lock);
	return r;
}

static int encrypt(struct torc_http_response *res)
{
	struct torc_stream *s = &res->conn->stream;
	char why[TORC_TLS_WHY_MAX] = "", host[TORC_URL_HOST_MAX + 1];
	int r = make_tls(res->client, why);

	if (!r) {
		size_t len = res->place->parts.host.len;

		/* The root's dot is in no certificate. */
		len -= len && res->place->parts.host.data[len - 1] == '.';
		snprintf(host, sizeof(host), "%.*s", (int)len, res->place->parts.host.data);
		r = torc_tls_connect(s, res->client->tls, host);
		if (r < 0)
			torc_tls_why(s, why);
	}
	if (r < 0)
		snprintf(res->detail, sizeof(res->detail), "TLS: %.240s",
			 *why ? why : strerror(-r));
	return r;
}

/* --- through a proxy --- */

static int ask_for_tunnel(struct torc_http_response *res, const char *address)
{
	const char *said = torc__http_said_to_proxy(res);
	struct torc__http_string text = { .data = NULL };
	int r;

	torc__http_string_text(&text, "CONNECT ");
	torc__http_string_text(&text, address);
	torc__http_string_text(&text, " HTTP/1.1\r\nHost: ");
	torc__http_string_text(&text, address);
	torc__http_string_text(&text, "\r\n");
	if (said) {
		torc__http_string_text(&text, "Proxy-Authorization: ");
		torc__http_string_text(&text, said);
		torc__http_string_text(&text, "\r\n");
	}
	torc__http_string_text(&text, "\r\n");
	r = text.error ? text.error : torc_stream_write(&res->conn->stream, text.data, text.len);
	torc__http_string_done(&text);
	return r;
}

/* RFC 9110, section 9.3.6. Behind the head is what the tunnel's other end says: nothing, as a client speaks first in TLS. */
static int read_tunnel(struct torc_http_response *res)
{
	struct torc__http_reader *reader = &res->reader;
	struct torc_slice view;
	unsigned interim = 0;
	int r;

	torc__http_reader_init(reader, &res->conn->stream, &res->client->limits, res->fields,
			       res->client->limits.fields);
	do {
		r = torc__http_reader_head(reader, TORC__HTTP_CONNECT);
		if (!r && torc__http_is_interim(&reader->head) &&
		    ++interim > res->client->options.interim_max)
			r = -EMSGSIZE;
	} while (!r && torc__http_is_interim(&reader->head));
	if (r < 0)
		return r == -ENODATA ? -EPIPE : r;
	if (reader->head.status < 200 || reader->head.status > 299) {
		snprintf(res->detail, sizeof(res->detail), "the proxy answers %d %.*s",
			 reader->head.status,
			 (int)(reader->head.reason.len < 100 ? reader->head.reason.len : 100),
			 reader->head.reason.data);
		return -EPROTO;
	}
	(void)!torc__http_reader_try(reader, &view); /* the head is consumed */
	return torc__stream_shown(reader->stream, &view) ? -EBADMSG : 0;
}

/* What it has closed, or has a page of HTML on, is of no use to go on with. */
static int dial_again(struct torc_http_response *res)
{
	struct torc__http_conn *c = res->conn;
	struct torc_scope shield;

	torc_scope_enter_shield(&shield, 0);
	(void)torc_stream_close(&c->stream);
	torc_scope_leave(&shield);
	c->open = false;
	return dial(res, res->place->proxy->address);
}

static int tunnel(struct torc_http_response *res, const char *address)
{
	int r = torc__http_authorize_tunnel(res, 0, address), e;

	if (r >= 0)
		r = ask_for_tunnel(res, address);
	if (!r)
		r = read_tunnel(res);
	while (r == -EPROTO && res->reader.head.status == 407) {
		e = torc__http_authorize_tunnel(res, 407, address);
		if (e <= 0)
			return e ? e : r;
		r = dial_again(res);
		if (!r)
			r = ask_for_tunnel(res, address);
		if (!r)
			r = read_tunnel(res);
	}
	return r;
}

/* --- all together --- */

static int connect_now(struct torc_http_response *res)
{
	const struct torc_http_client *client = res->client;
	const struct torc_url *u = &res->place->parts;
	char address[ADDRESS_BYTES];
	int r;

	snprintf(address, sizeof(address), "%s%.*s%s:%u", u->is_ipv6 ? "[" : "", (int)u->host.len,
		 u->host.data, u->is_ipv6 ? "]" : "", u->port);
	r = dial(res, client->connect_to  ? client->connect_to
		      : res->place->proxy ? res->place->proxy->address
					  : address);
	if (r < 0 || !res->place->secure)
		return r;
	if (res->place->proxy)
		r = tunnel(res, address);
	return r ? r : encrypt(res);
}

int torc__http_connect(struct torc_http_response *res)
{
	struct torc_scope scope;
	int r;

	res->pool->connects++;
	torc_scope_enter(&scope, res->client->options.connect_ns);
	r = connect_now(res);
	torc_scope_leave(&scope);
	return r;
}
