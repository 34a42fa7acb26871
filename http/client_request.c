/*
 * http/client_request.c - one call: from what the program wants to know to a response, over as many attempts, challenges and redirects as
 * that takes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <torc/core/fiber.h>
#include <torc/core/scope.h>

#include "http/internal/client.h"
#include "io/internal/buffers.h"

/* What a response has behind its fields, at least: for HEAD_BYTES and the head that comes back. */
#define ROOM_BYTES 1024

/* Room for the head of a request, of which most are shorter. */
#define HEAD_BYTES 512

/* --- what is asked for --- */

static bool is_method(const struct torc_http_response *res, const char *method)
{
	return !strcmp(res->method, method);
}

static void set_method(struct torc_http_response *res, const char *method)
{
	res->method = method;
	res->method_token = strcmp(method, "HEAD") ? TORC__HTTP_GET : TORC__HTTP_HEAD;
}

/* RFC 9110, section 9.2.2. */
static bool is_idempotent(const struct torc_http_response *res)
{
	static const char *const methods[] = { "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE" };

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (is_method(res, methods[i]))
			return true;
	return false;
}

static int set_url(struct torc_http_response *res, const char *text, size_t len)
{
	struct torc__http_place *place;
	int r = torc__http_place_get(res->pool, text, len, &place);

	if (r < 0)
		return r;
	torc__http_place_put(res->place);
	res->place = place;
	return 0;
}

static bool has_body(const struct torc_http_request *q)
{
	return q->body || q->body_file || q->form || q->body_stream || q->body_gen || q->body_fn;
}

/* A coding of its own, or a part of the representation: of what is coded that would be a part that nobody can decode. */
static bool asks_for_codings(const struct torc_http_request *q)
{
	for (size_t i = 0; i < q->field_count; i++)
		if (!strcasecmp(q->fields[i].name, "Accept-Encoding") ||
		    !strcasecmp(q->fields[i].name, "Range"))
			return true;
	return false;
}

static int begin(struct torc_http_response *res)
{
	const struct torc_http_request *q = &res->request;
	int r = torc__http_request_check(q);

	if (r < 0)
		return r;
	res->has_body = has_body(q);
	res->decodes_body = !res->client->options.no_decode && !asks_for_codings(q);
	set_method(res, q->method ? q->method : res->has_body ? "POST" : "GET");
	return set_url(res, q->url, strlen(q->url));
}

/* --- one attempt --- */

static int write_head(struct torc_http_response *res)
{
	struct torc_scope scope;
	int r;

	res->phase = "sending";
	res->pool->requests++;
	torc_scope_enter(&scope, res->client->options.write_ns);
	r = torc_stream_write(&res->conn->stream, res->head.data, res->head.len);
	torc_scope_leave(&scope);
	if (!r && res->has_body && !res->expects)
		r = torc__http_upload_start(res);
	return r;
}

static void show_interim(struct torc_http_response *res)
{
	const struct torc_http_request *q = &res->request;

	if (!q->on_interim || res->reader.head.status == 100)
		return;
	res->status = res->reader.head.status;
	res->field_count = res->reader.head.field_count;
	q->on_interim(res, q->on_interim_arg);
	res->status = 0;
	res->field_count = 0;
}

/* 0: the final head is there; 1: an interim one was; or an error. */
static int read_head(struct torc_http_response *res)
{
	int r = torc__http_reader_head(&res->reader, res->method_token);

	if (r < 0 || !torc__http_is_interim(&res->reader.head))
		return r;
	if (++res->interim > res->client->options.interim_max)
		return -EMSGSIZE;
	show_interim(res);
	return 1;
}

/* Until the server says that it wants the body, or nothing for long enough: RFC 9110, section 10.1.1. */
static int await_continue(struct torc_http_response *res)
{
	struct torc_scope scope;
	int r;

	res->phase = "waiting for leave to send the body";
	torc_scope_enter(&scope, res->client->options.continue_ns);
	do
		r = read_head(res);
	while (r > 0 && res->reader.head.status != 100);
	torc_scope_leave(&scope);
	if (!r) { /* it has made up its mind without */
		res->body_owed = true;
		return 0;
	}
	if (r < 0 && (r != -ETIMEDOUT || torc_scope_status()))
		return r;
	r = torc__http_upload_start(res);
	return r ? r : 1;
}

static int await_response(struct torc_http_response *res)
{
	int r;

	res->phase = "waiting for the response";
	torc__http_await_begin(res, torc_now_ns(), res->client->options.head_ns);
	do
		r = read_head(res);
	while (r > 0);
	return torc__http_await_end(res, r);
}

static int exchange(struct torc_http_response *res)
{
	int r = write_head(res);

	if (!r)
		r = res->has_body && res->expects ? await_continue(res) : 1;
	if (r > 0)
		r = await_response(res);
	if (r < 0)
		return r;
	if (res->reader.head.status == 101)
		return -EPROTO;
	if (res->reader.head.status >= 300)
		torc__http_upload_stop(res);
	return torc__http_response_begin(res);
}

static int connect_and_exchange(struct torc_http_response *res)
{
	int r = 0;

	res->phase = "connecting";
	if (!res->conn->open)
		r = torc__http_connect(res);
	if (r < 0)
		return r;
	torc__http_reader_init(&res->reader, &res->conn->stream, &res->client->limits, res->fields,
			       res->client->limits.fields);
	res->upload.stream = &res->conn->stream;
	return exchange(res);
}

/* Forget what an attempt has come to. What is asked for stays. */
static void reset(struct torc_http_response *res)
{
	torc__http_response_done(res);
	res->upload = (struct torc_http_upload){ .res = res };
	res->interim = 0;
	res->status = 0;
	res->field_count = 0;
	res->waited_ns = 0;
	res->shown = 0;
	res->error = 0;
	res->complete = res->whole_read = res->decodes = res->body_owed = false;
	res->raw = res->out = (struct torc_slice){ NULL, 0 };
	res->raw_len = 0;
}

static int prepare(struct torc_http_response *res)
{
	int r = 0;

	if (res->tried)
		reset(res);
	res->tried = true;
	*res->detail = '\0';
	res->expects = res->request.expect_continue && res->has_body && !res->unexpected;
	if (res->has_body)
		r = torc__http_upload_measure(res, &res->upload.left);
	return r ? r : torc__http_head_write(res);
}

/*
 * A kept connection on which the server has said nothing at all: it has closed it, as it may at any time, and has most likely not even seen the
 * request.
 */
static bool was_stale(const struct torc_http_response *res, bool kept, int error)
{
	const struct torc_stream *s = &res->conn->stream;
	struct torc_slice view;

	/* On a quiet connection it is an error of the program's, about something else. */
	return kept &&
	       (error == -ENODATA || error == -EPIPE || error == -ECONNRESET ||
		error == -ECONNABORTED) &&
	       !res->interim && !torc__stream_shown(s, &view) && !torc__stream_is_quiet(s);
}

static int take_and_exchange(struct torc_http_response *res, struct torc__http_origin *o)
{
	bool kept, stale;
	int r;

	do {
		r = prepare(res);
		res->phase = "waiting for a connection";
		if (!r)
			r = torc__http_conn_take(o, &res->conn);
		if (r < 0)
			return r;
		kept = res->conn->kept;
		r = connect_and_exchange(res);
		stale = r < 0 && was_stale(res, kept, r) && is_idempotent(res) &&
			torc__http_upload_repeats(res);
		res->pool->retries += stale;
	} while (stale);
	return r == -ENODATA ? -EPIPE : r;
}

static int attempt(struct torc_http_response *res)
{
	struct torc__http_origin *o =
		torc__http_origin_get(res->pool, res->place->key, res->place->key_hash);
	int r;

	if (!o)
		return -ENOMEM;
	r = take_and_exchange(res, o);
	torc__http_origin_put(o);
	return r;
}

/* --- what follows from a response --- */

static void take_cookies(struct torc_http_response *res)
{
	struct torc_http_jar *jar = res->client->options.jar;
	const struct torc_http_jar_site site = torc__http_jar_site(res);
	struct torc_slice name, value;
	size_t at = 0;

	while (jar && torc_http_response_next_field(res, &at, &name, &value))
		if (torc__http_slice_is_word(name, "Set-Cookie"))
			(void)torc_http_jar_take(jar, &site, value);
}

static bool is_redirect(int status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static void drop_body(struct torc_http_response *res)
{
	set_method(res, "GET");
	res->has_body = false;
	res->body_dropped = true;
}

static void detail(struct torc_http_response *res, const char *text)
{
	snprintf(res->detail, sizeof(res->detail), "%s", text);
}

static TORC__HTTP_RARE int redirect_url(struct torc_http_response *res, struct torc_slice location)
{
	struct torc__http_place *before = res->place;
	char url[TORC_URL_MAX + 1];
	int n = torc_url_resolve(before->url, strlen(before->url), location.data, location.len, url,
				 sizeof(url));
	int r;

	before->users++;
	r = n < 0 ? n : set_url(res, url, (size_t)n);
	if (!r && before->secure && !res->place->secure && !res->client->options.allow_downgrade) {
		detail(res, "from https to http");
		r = -EPERM;
	}
	if (!r && !torc_url_same_origin(&before->parts, &res->place->parts))
		res->crossed = true;
	torc__http_place_put(before);
	return r == -EINVAL ? -EBADMSG : r;
}

/* 1: to be asked again, elsewhere; 0: it is what the program wanted; or an error. */
static int follow(struct torc_http_response *res)
{
	struct torc_slice location;
	int status = res->status, r;

	if (!is_redirect(status) || res->request.no_redirects ||
	    res->client->options.no_redirects ||
	    !torc_http_response_field(res, "Location", &location))
		return 0;
	res->phase = "being redirected";
	if (res->redirects++ == res->client->options.redirects_max) {
		detail(res, "once too often");
		return -ELOOP;
	}
	if (status == 303 ? !is_method(res, "HEAD") : status <= 302 && is_method(res, "POST"))
		drop_body(res);
	else if (!torc__http_upload_repeats(res)) {
		detail(res, "the body cannot be sent again");
		return -ESPIPE;
	}
	r = redirect_url(res, location);
	return r ? r : 1;
}

/* A server that knows nothing of "100 Continue" gets the body without: RFC 9110, section 10.1.1. */
static bool is_unexpected(struct torc_http_response *res)
{
	if (res->status != 417 || !res->expects || !torc__http_upload_repeats(res))
		return false;
	res->unexpected = true;
	return true;
}

/* 1: it is to be asked once more. */
static int conclude(struct torc_http_response *res)
{
	int r;

	take_cookies(res);
	if (is_unexpected(res))
		return 1;
	r = torc__http_authorize(res);
	if (r)
		return r;
	r = follow(res);
	if (r <= 0)
		return r;
	r = torc__http_authorize_unasked(res);
	return r < 0 ? r : 1;
}

static int perform(struct torc_http_response *res)
{
	int r = begin(res);

	if (!r)
		r = torc__http_authorize_unasked(res);
	do {
		if (r >= 0)
			r = attempt(res);
		if (!r)
			r = conclude(res);
		if (r > 0)
			torc__http_response_drain(res);
	} while (r > 0);
	return r;
}

/* --- the call --- */

static void explain_early(const struct torc_http_request *q, const char *phase, int error)
{
	if (q->ret_why)
		snprintf(q->ret_why, TORC_HTTP_WHY_MAX, "%.150s: %s: %s",
			 q->url ? q->url : "(no URL)", phase, strerror(-error));
}

/* Without the query, and who one is: such texts end in logs. */
static void explain(const struct torc_http_response *res, int error)
{
	const struct torc__http_place *place = res->place;

	if (!place || !res->phase)
		explain_early(&res->request, "understanding what is asked for", error);
	else if (res->request.ret_why)
		snprintf(res->request.ret_why, TORC_HTTP_WHY_MAX, "%.150s%.*s: %s: %s",
			 place->origin,
			 (int)(place->parts.path.len < 100 ? place->parts.path.len : 100),
			 place->parts.path.data, res->phase,
			 *res->detail ? res->detail : strerror(-error));
}

static struct torc_http_response *new_response(struct torc_http_client *client)
{
	struct torc__buffers *b = torc__buffers(torc__self()->loop);
	size_t bytes = sizeof(struct torc_http_response) +
		       client->limits.fields * sizeof(struct torc__http_field);
	struct torc_http_response *res;
	uint32_t capacity;

	res = b ? (void *)torc__chunk_take(b, bytes + ROOM_BYTES, &capacity) : NULL;
	if (!res)
		return NULL;
	memset(res, 0, offsetof(struct torc_http_response, detail));
	*res->detail = '\0';
	res->capacity = capacity;
	res->room = (char *)res + ((bytes + 15) & ~(size_t)15);
	res->room_left = capacity - (size_t)(res->room - (char *)res);
	res->client = client;
	res->pool = torc__http_client_pool(client);
	res->pool->responses++;
	return res;
}

static void free_response(struct torc_http_response *res)
{
	struct torc_http_client *client = res->client;
	bool own = res->own_client;

	torc__http_response_done(res);
	torc__http_string_done(&res->head);
	torc__http_said_done(&res->to_server);
	torc__http_said_done(&res->to_proxy);
	torc__http_place_put(res->place);
	res->pool->responses--;
	torc__chunk_give(torc__buffers(torc__self()->loop), (char *)res, res->capacity);
	if (own)
		torc_http_client_close(client);
}

static int request_with(struct torc_http_client *client, bool own,
			const struct torc_http_request *request, struct torc_http_response **ret)
{
	struct torc_http_response *res = new_response(client);
	int r;

	if (!res) {
		explain_early(request, "beginning", -ENOMEM);
		if (own)
			torc_http_client_close(client);
		return -ENOMEM;
	}
	res->own_client = own;
	res->request = *request;
	res->upload.res = res;
	res->head = (struct torc__http_string){ .data = torc__http_response_alloc(res, HEAD_BYTES),
						.capacity = HEAD_BYTES,
						.borrowed = true };
	r = perform(res);
	if (r < 0) {
		explain(res, r);
		free_response(res);
		return r;
	}
	*ret = res;
	return 0;
}

int torc_http_request(struct torc_http_client *client, const struct torc_http_request *request,
		      struct torc_http_response **ret)
{
	struct torc_http_client *own = NULL;
	int r = client ? torc_scope_status() : torc__http_client_open_alone(&own);

	if (r < 0)
		explain_early(request, "beginning", r);
	return r < 0 ? r : request_with(client ? client : own, own != NULL, request, ret);
}

int torc_http_get(struct torc_http_client *client, const char *url, struct torc_http_response **ret)
{
	return torc_http_request(client, &(struct torc_http_request){ .url = url }, ret);
}

int torc_http_post(struct torc_http_client *client, const char *url, const char *type,
		   const void *body, size_t len, struct torc_http_response **ret)
{
	const struct torc_http_pair field = { "Content-Type", type };
	const struct torc_http_request request = {
		.method = "POST",
		.url = url,
		.fields = &field,
		.field_count = type ? 1 : 0,
		.body = body ? body : "",
		.body_len = len,
	};

	return torc_http_request(client, &request, ret);
}

void torc_http_response_close(struct torc_http_response *res)
{
	free_response(res);
}
