/*
 * http/request.c - what a handler sees of the request, and its body.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "http/internal/exchange.h"

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

int torc_http_minor(const struct torc_http_exchange *x)
{
	return x->head.minor;
}

struct torc_stream *torc_http_stream(const struct torc_http_exchange *x)
{
	return x->stream;
}

bool torc_http_method_is(const struct torc_http_exchange *x, const char *method)
{
	return torc__http_slice_is(x->head.method_name, method);
}

bool torc_http_path_is(const struct torc_http_exchange *x, const char *path)
{
	return torc__http_slice_is(x->head.path, path);
}

/* --- fields --- */

static bool is_named(struct torc_slice have, const char *name, size_t len)
{
	return have.len == len && !strncasecmp(have.data, name, len);
}

bool torc_http_next_value(const struct torc_http_exchange *x, const char *name, size_t *at,
			  struct torc_slice *ret_value)
{
	size_t len = strlen(name), i = *at;

	for (; i < x->head.field_count; i++) {
		const struct torc__http_field *f = &x->head.fields[i];

		if (is_named(f->name, name, len)) {
			*at = i + 1;
			*ret_value = f->value;
			return true;
		}
	}
	*at = i;
	return false;
}

bool torc_http_field(const struct torc_http_exchange *x, const char *name,
		     struct torc_slice *ret_value)
{
	size_t at = 0;

	return torc_http_next_value(x, name, &at, ret_value);
}

bool torc_http_next_field(const struct torc_http_exchange *x, size_t *at,
			  struct torc_slice *ret_name, struct torc_slice *ret_value)
{
	const struct torc__http_field *f = &x->head.fields[*at];

	if (*at >= x->head.field_count)
		return false;
	*ret_name = f->name;
	*ret_value = f->value;
	++*at;
	return true;
}

/* The comma that ends the first element, or the end. */
static const char *element_end(const char *p, const char *end)
{
	bool quoted = false;

	for (; p < end && (quoted || *p != ','); p++) {
		if (*p == '"')
			quoted = !quoted;
		else if (*p == '\\' && quoted && p + 1 < end)
			p++;
	}
	return p;
}

bool torc_http_next_element(struct torc_slice *list, struct torc_slice *ret_element)
{
	const char *p = list->data, *end = p + list->len;
	struct torc_slice element = { NULL, 0 };

	while (p < end && !element.len) {
		const char *comma = element_end(p, end);

		element = torc__http_trim(p, comma);
		p = comma < end ? comma + 1 : end;
	}
	*list = (struct torc_slice){ p, (size_t)(end - p) };
	if (!element.len)
		return false;
	*ret_element = element;
	return true;
}

/* --- trailers --- */

bool torc__http_next_line(const char *lines, size_t len, size_t *at, struct torc_slice *ret_name,
			  struct torc_slice *ret_value)
{
	const char *line = lines + *at, *end, *colon;

	if (*at >= len)
		return false;
	end = memchr(line, '\r', len - *at);
	colon = memchr(line, ':', len - *at);
	*ret_name = (struct torc_slice){ line, (size_t)(colon - line) };
	*ret_value = torc__http_trim(colon + 1, end);
	*at = (size_t)(end + 2 - lines);
	return true;
}

bool torc_http_next_trailer(const struct torc_http_exchange *x, size_t *at,
			    struct torc_slice *ret_name, struct torc_slice *ret_value)
{
	const struct torc__http_text *t = &x->trailers;

	return x->body_done && torc__http_next_line(t->data, t->len, at, ret_name, ret_value);
}

bool torc_http_trailer(const struct torc_http_exchange *x, const char *name,
		       struct torc_slice *ret_value)
{
	size_t at = 0, len = strlen(name);
	struct torc_slice found, value;

	while (torc_http_next_trailer(x, &at, &found, &value)) {
		if (is_named(found, name, len)) {
			*ret_value = value;
			return true;
		}
	}
	return false;
}

/* --- the body --- */

uint64_t torc_http_body_length(const struct torc_http_exchange *x)
{
	return x->head.chunked || x->source ? TORC_NEVER : x->head.content_length;
}

int torc__http_fail_body(struct torc_http_exchange *x, int error)
{
	x->body_error = error;
	x->close = true; /* where the next request would begin is not known */
	return error;
}

bool torc__http_body_is_coded(const struct torc_http_exchange *x)
{
	struct torc_slice list, coding;
	size_t at = 0;

	while (!x->source && torc_http_next_value(x, "Content-Encoding", &at, &list))
		while (torc_http_next_element(&list, &coding))
			if (!is_named(coding, "identity", 8))
				return true;
	return false;
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
	uint64_t allowed =
		x->config->options.body_ns + x->body_received * TORC__HTTP_BODY_NS_PER_BYTE;

	return now + (allowed > x->body_waited_ns ? allowed - x->body_waited_ns : 0);
}

static int peek_stream(struct torc_http_exchange *x, struct torc_slice *ret_view)
{
	uint64_t now = torc_turn_ns();
	struct torc_scope scope;
	int r;

	torc__http_unwatch(x);
	torc_scope_enter_until(&scope, body_deadline(x, now));
	r = x->continue_due ? send_continue(x) : 0;
	if (!r)
		r = torc_stream_peek(x->stream, ret_view);
	torc_scope_leave(&scope);
	torc__http_watch(x);
	x->body_waited_ns += torc_turn_ns() - now;
	return r == 0 ? -EPIPE : r;
}

int torc_http_limit_body(struct torc_http_exchange *x, uint64_t bytes)
{
	if (bytes < x->body_limit) {
		x->body_limit = bytes;
		if (x->head.chunked && x->chunk.left.body_bytes > bytes)
			x->chunk.left.body_bytes = bytes;
	}
	return x->head.content_length > x->body_limit ? torc__http_fail_body(x, -EMSGSIZE) : 0;
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
		return torc__http_fail_body(x, r);
	if (ret_view->len > x->body_left)
		ret_view->len = (size_t)x->body_left;
	return 1;
}

static int chunk_error(int status)
{
	return status == -413 || status == -431 ? -EMSGSIZE : -EBADMSG;
}

/* What was decoded of `raw` ends in so many bytes of trailers, and what there is of the body's last line. */
static int keep_trailers(struct torc_http_exchange *x, const char *raw, size_t used, size_t count)
{
	size_t last = torc__http_chunk_last_line(&x->chunk);
	int r;

	last = last < used ? last : used;
	r = torc__http_text_grow(x, &x->trailers, count, UINT32_MAX);
	if (r < 0)
		return r;
	memcpy(x->trailers.data + x->trailers.len, raw + used - last - count, count);
	x->trailers.len += (uint32_t)count;
	return 0;
}

/* Decode until there is a run of data, or the end. */
static int peek_chunks(struct torc_http_exchange *x, struct torc_slice *ret_view)
{
	while (!x->run.len) {
		uint32_t trailers_left = x->chunk.left.trailer_bytes;
		struct torc_slice raw;
		ssize_t used;
		int r;

		if (torc__http_chunk_done(&x->chunk)) {
			x->body_done = true;
			return 0;
		}
		r = peek_stream(x, &raw);
		if (r < 0)
			return torc__http_fail_body(x, r);
		used = torc__http_chunk_next(&x->chunk, raw.data, raw.len, &x->run);
		if (used < 0)
			return torc__http_fail_body(x, chunk_error((int)used));
		x->run_used = (size_t)used;
		trailers_left -= x->chunk.left.trailer_bytes;
		if (torc__unlikely(trailers_left != 0)) {
			r = keep_trailers(x, raw.data, x->run_used, trailers_left);
			if (r < 0)
				return torc__http_fail_body(x, r);
		}
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
	if (torc__unlikely(x->source != NULL) && !x->body_error)
		return x->source->peek(x->source, x, ret_view);
	return torc__http_raw_peek(x, ret_view);
}

int torc__http_raw_peek(struct torc_http_exchange *x, struct torc_slice *ret_view)
{
	if (x->body_error)
		return x->body_error;
	if (x->body_done)
		return 0;
	return x->head.chunked ? peek_chunks(x, ret_view) : peek_length(x, ret_view);
}

void torc_http_body_consume(struct torc_http_exchange *x, size_t n)
{
	x->body_data += n;
	if (torc__unlikely(x->source != NULL))
		x->source->consume(x->source, x, n);
	else
		torc__http_raw_consume(x, n);
}

void torc__http_raw_consume(struct torc_http_exchange *x, size_t n)
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

/* --- the whole body --- */

static int append_body(struct torc_http_exchange *x, size_t most)
{
	struct torc__http_text *t = &x->whole;
	struct torc_slice part;
	int r;

	while ((r = torc_http_body_peek(x, &part)) > 0) {
		if (part.len > most - t->len)
			return torc__http_fail_body(x, -EMSGSIZE);
		if (part.len + t->len >= t->capacity) {
			uint32_t capacity;
			char *data = torc__chunk_take(x->stream->buffers, t->len + part.len + 1,
						      &capacity);

			if (!data)
				return torc__http_fail_body(x, -ENOMEM);
			if (t->len)
				memcpy(data, t->data, t->len);
			torc__chunk_give(x->stream->buffers, t->data, t->capacity);
			t->data = data;
			t->capacity = capacity;
		}
		memcpy(t->data + t->len, part.data, part.len);
		t->len += (uint32_t)part.len;
		torc_http_body_consume(x, part.len);
	}
	return r;
}

int torc_http_body_read(struct torc_http_exchange *x, size_t most, struct torc_slice *ret_body)
{
	struct torc__http_text *t = &x->whole;
	int r;

	if (most > TORC_HTTP_BODY_READ_MAX || x->body_data != t->len)
		return -EINVAL;
	if (x->body_error)
		return x->body_error;
	if (!x->head.chunked && !x->source && x->body_left > most - (t->len < most ? t->len : most))
		return torc__http_fail_body(x, -EMSGSIZE);
	r = append_body(x, most);
	if (r < 0)
		return r;
	if (!t->len) {
		*ret_body = (struct torc_slice){ "", 0 };
		return 0;
	}
	t->data[t->len] = '\0';
	*ret_body = (struct torc_slice){ t->data, t->len };
	return 0;
}

int torc__http_skip_body(struct torc_http_exchange *x)
{
	uint64_t most = x->body_received + TORC__HTTP_SKIP_BYTES;
	struct torc_slice view;
	int r;

	while ((r = torc__http_raw_peek(x, &view)) > 0) {
		if (x->body_received + view.len > most)
			return -EMSGSIZE;
		torc__http_raw_consume(x, view.len);
	}
	return r;
}
