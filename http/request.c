/*
 * http/request.c - what a handler sees of the request, and its body.
 */
#include <errno.h>
#include <string.h>

#include "http/internal/exchange.h"

/* The slowest body that is put up with, besides body_ns: nanoseconds per byte, 1 KiB/s. */
#define BODY_NS_PER_BYTE (1000000000u / 1024)

struct torc_slice torc_http_method(const struct torc_http_exchange *x)
{
	return x->head.method_name;
}

struct torc_slice torc_http_path(const struct torc_http_exchange *x)
{
	return x->head.path;
}

struct torc_slice torc_http_query(const struct torc_http_exchange *x)
{
	return x->head.query;
}

struct torc_slice torc_http_host(const struct torc_http_exchange *x)
{
	return x->head.authority;
}

static bool is(struct torc_slice s, const char *text)
{
	return strlen(text) == s.len && !memcmp(text, s.data, s.len);
}

bool torc_http_method_is(const struct torc_http_exchange *x, const char *method)
{
	return is(x->head.method_name, method);
}

bool torc_http_path_is(const struct torc_http_exchange *x, const char *path)
{
	return is(x->head.path, path);
}

bool torc_http_field(const struct torc_http_exchange *x, const char *name,
		     struct torc_slice *ret_value)
{
	size_t len = strlen(name);

	for (unsigned i = 0; i < x->head.field_count; i++) {
		const struct torc__http_field *f = &x->head.fields[i];

		if (f->name.len == len && !strncasecmp(f->name.data, name, len)) {
			*ret_value = f->value;
			return true;
		}
	}
	return false;
}

uint64_t torc_http_body_length(const struct torc_http_exchange *x)
{
	return x->head.chunked ? TORC_NEVER : x->head.content_length;
}

static int fail_body(struct torc_http_exchange *x, int error)
{
	x->body_error = error;
	x->close = true; /* where the next request would begin is not known */
	return error;
}

/* RFC 9110, section 10.1.1. Only when the body is wanted, and not behind the response. */
static int send_continue(struct torc_http_exchange *x)
{
	static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";

	x->continue_due = false;
	return x->responded ? 0 : torc_stream_write(x->stream, text, sizeof(text) - 1);
}

/*
 * A deadline that each byte moves on a little: a minimum rate. Only the time spent waiting counts, as
 * the client cannot help what the handler does meanwhile.
 */
static uint64_t body_deadline(const struct torc_http_exchange *x, uint64_t now)
{
	uint64_t allowed = x->config->options.body_ns + x->body_received * BODY_NS_PER_BYTE;

	return now + (allowed > x->body_waited_ns ? allowed - x->body_waited_ns : 0);
}

static int peek_stream(struct torc_http_exchange *x, struct torc_slice *ret_view)
{
	uint64_t now = torc_turn_ns();
	struct torc_scope scope;
	int r;

	torc_scope_enter_until(&scope, body_deadline(x, now));
	r = x->continue_due ? send_continue(x) : 0;
	if (!r)
		r = torc_stream_peek(x->stream, ret_view);
	torc_scope_leave(&scope);
	x->body_waited_ns += torc_turn_ns() - now;
	return r == 0 ? -EPIPE : r;
}

static int peek_length(struct torc_http_exchange *x, struct torc_slice *ret_view)
{
	int r;

	if (!x->body_left) {
		x->body_done = true;
		return 0;
	}
	r = peek_stream(x, ret_view);
	if (r < 0)
		return fail_body(x, r);
	if (ret_view->len > x->body_left)
		ret_view->len = (size_t)x->body_left;
	return 1;
}

static int chunk_error(int status)
{
	return status == -413 || status == -431 ? -EMSGSIZE : -EBADMSG;
}

/* Decode until there is a run of data, or the end. */
static int peek_chunks(struct torc_http_exchange *x, struct torc_slice *ret_view)
{
	while (!x->run.len) {
		struct torc_slice raw;
		ssize_t used;
		int r;

		if (torc__http_chunk_done(&x->chunk)) {
			x->body_done = true;
			return 0;
		}
		r = peek_stream(x, &raw);
		if (r < 0)
			return fail_body(x, r);
		used = torc__http_chunk_next(&x->chunk, raw.data, raw.len, &x->run);
		if (used < 0)
			return fail_body(x, chunk_error((int)used));
		x->run_used = (size_t)used;
		if (!x->run.len) {
			torc_stream_consume(x->stream, x->run_used);
			x->body_received += x->run_used;
		}
	}
	*ret_view = x->run;
	return 1;
}

int torc_http_body_peek(struct torc_http_exchange *x, struct torc_slice *ret_view)
{
	if (x->body_error)
		return x->body_error;
	if (x->body_done)
		return 0;
	return x->head.chunked ? peek_chunks(x, ret_view) : peek_length(x, ret_view);
}

void torc_http_body_consume(struct torc_http_exchange *x, size_t n)
{
	x->body_received += n;
	if (!x->head.chunked) {
		x->body_left -= n;
		torc_stream_consume(x->stream, n);
		return;
	}
	x->run.data += n;
	x->run.len -= n;
	if (!x->run.len)
		torc_stream_consume(x->stream, x->run_used);
}

int torc__http_skip_body(struct torc_http_exchange *x)
{
	uint64_t most = x->body_received + TORC__HTTP_SKIP_BYTES;
	struct torc_slice view;
	int r;

	while ((r = torc_http_body_peek(x, &view)) > 0) {
		if (x->body_received + view.len > most)
			return -EMSGSIZE;
		torc_http_body_consume(x, view.len);
	}
	return r;
}
