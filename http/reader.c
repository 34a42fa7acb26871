/*
 * http/reader.c - responses off a stream.
 */
#include <errno.h>

#include "http/internal/reader.h"
#include "io/internal/stream.h"

/* Sums over one body; what the RFCs leave open. */
#define CHUNK_EXT_BYTES (64 << 10)
#define TRAILER_BYTES   8192
#define TRAILERS        100

void torc__http_reader_init(struct torc__http_reader *r, struct torc_stream *s,
			    const struct torc__http_limits *limits, struct torc__http_field *fields,
			    unsigned count)
{
	r->stream = s;
	r->limits = limits;
	r->head.fields = fields;
	r->head.field_capacity = count;
	r->head_len = 0;
	r->done = true;
	r->no_wait = false;
	r->error = 0;
	r->on_trailers = NULL;
}

static int fail(struct torc__http_reader *r, int error)
{
	r->error = error;
	return error;
}

/* --- heads --- */

/* A head that was not complete at first. Its length, or an error. */
static int read_rest(struct torc__http_reader *r, struct torc_slice *view)
{
	size_t scanned = view->len;
	int len = 0, got;

	do {
		got = torc_stream_fill(r->stream, view->len + 1, view);
		if (got > 0 && torc__http_head_grew(view->data, view->len, r->limits, &scanned)) {
			len = torc__http_parse_response(&r->head, view->data, view->len, r->limits);
			scanned = len ? scanned : view->len;
		}
	} while (got > 0 && !len);
	return got == 0 ? -EPIPE : got < 0 ? got : len;
}

static void begin_chunks(struct torc__http_reader *r)
{
	static const struct torc__http_chunk_limits limits = {
		.body_bytes = TORC_NEVER,
		.ext_bytes = CHUNK_EXT_BYTES,
		.trailer_bytes = TRAILER_BYTES,
		.trailers = TRAILERS,
	};

	torc__http_chunk_init(&r->chunk, &limits);
	r->run.len = 0;
}

/* RFC 9110, section 6.4.1, and RFC 9112, section 6.3. */
static bool has_no_body(const struct torc__http_head *h, enum torc__http_method method)
{
	return h->status < 200 || h->status == 204 || h->status == 304 ||
	       method == TORC__HTTP_HEAD || (method == TORC__HTTP_CONNECT && h->status < 300);
}

static void begin_body(struct torc__http_reader *r, enum torc__http_method method)
{
	const struct torc__http_head *h = &r->head;

	r->done = false;
	r->received = 0;
	r->body_left = h->content_length;
	if (has_no_body(h, method))
		r->framing = TORC__HTTP_NO_BODY;
	else if (h->chunked)
		r->framing = TORC__HTTP_BY_CHUNKS;
	else
		r->framing = h->has_length ? TORC__HTTP_BY_LENGTH : TORC__HTTP_BY_CLOSE;
	if (r->framing == TORC__HTTP_BY_CHUNKS)
		begin_chunks(r);
	else
		r->done = r->framing == TORC__HTTP_NO_BODY ||
			  (r->framing == TORC__HTTP_BY_LENGTH && !r->body_left);
}

static void drop_head(struct torc__http_reader *r)
{
	size_t len = r->head_len;

	r->head_len = 0;
	if (len)
		torc_stream_consume(r->stream, len);
}

int torc__http_reader_head(struct torc__http_reader *r, enum torc__http_method method)
{
	struct torc_slice view;
	int len;

	if (torc__unlikely(r->error))
		return r->error;
	drop_head(r);
	len = torc_stream_peek(r->stream, &view);
	if (torc__unlikely(len <= 0))
		return len ? len : -ENODATA;
	len = torc__http_parse_response(&r->head, view.data, view.len, r->limits);
	if (torc__unlikely(!len))
		len = read_rest(r, &view);
	if (torc__unlikely(len < 0))
		return len == -EBADMSG || len == -EMSGSIZE || len == -EPROTONOSUPPORT ? fail(r, len) :
										       len;
	r->head_len = (size_t)len;
	begin_body(r, method);
	return 0;
}

/* --- bodies --- */

static int peek_any(struct torc__http_reader *r, struct torc_slice *ret_view)
{
	if (r->no_wait && !torc__stream_shown(r->stream, ret_view))
		return -EAGAIN;
	return torc_stream_peek(r->stream, ret_view);
}

static int peek_stream(struct torc__http_reader *r, struct torc_slice *ret_view)
{
	int got = peek_any(r, ret_view);

	return got ? got : fail(r, -EPIPE);
}

static int peek_length(struct torc__http_reader *r, struct torc_slice *ret_view)
{
	int got = peek_stream(r, ret_view);

	if (got > 0 && ret_view->len > r->body_left)
		ret_view->len = (size_t)r->body_left;
	return got;
}

static int peek_close(struct torc__http_reader *r, struct torc_slice *ret_view)
{
	int got = peek_any(r, ret_view);

	r->done = got == 0;
	return got;
}

/* Of `used` bytes at `raw` the last were so many of trailers, and what there is of the body's last line. */
static int tell_trailers(struct torc__http_reader *r, const char *raw, size_t used, size_t count)
{
	size_t last = torc__http_chunk_last_line(&r->chunk);

	last = last < used ? last : used;
	return r->on_trailers(r, raw + used - last - count, count);
}

static int decode(struct torc__http_reader *r, struct torc_slice raw)
{
	uint32_t trailers_left = r->chunk.left.trailer_bytes;
	ssize_t used = torc__http_chunk_next(&r->chunk, raw.data, raw.len, &r->run);
	int e;

	if (used < 0)
		return fail(r, used == -431 ? -EMSGSIZE : -EBADMSG);
	trailers_left -= r->chunk.left.trailer_bytes;
	if (torc__unlikely(trailers_left && r->on_trailers)) {
		e = tell_trailers(r, raw.data, (size_t)used, trailers_left);
		if (e < 0)
			return fail(r, e);
	}
	r->run_used = (size_t)used;
	if (!r->run.len) {
		torc_stream_consume(r->stream, r->run_used);
		r->received += r->run_used;
	}
	return 0;
}

/* Decode until there is a run of data, or the end. */
static int peek_chunks(struct torc__http_reader *r, struct torc_slice *ret_view)
{
	while (!r->run.len) {
		struct torc_slice raw;
		int got;

		if (torc__http_chunk_done(&r->chunk)) {
			r->done = true;
			return 0;
		}
		got = peek_stream(r, &raw);
		if (got > 0)
			got = decode(r, raw);
		if (got < 0)
			return got;
	}
	*ret_view = r->run;
	return 1;
}

int torc__http_reader_peek(struct torc__http_reader *r, struct torc_slice *ret_view)
{
	if (torc__unlikely(r->error))
		return r->error;
	drop_head(r);
	if (r->done)
		return 0;
	if (r->framing == TORC__HTTP_BY_LENGTH)
		return peek_length(r, ret_view);
	return r->framing == TORC__HTTP_BY_CHUNKS ? peek_chunks(r, ret_view) :
						    peek_close(r, ret_view);
}

void torc__http_reader_consume(struct torc__http_reader *r, size_t n)
{
	if (r->framing != TORC__HTTP_BY_CHUNKS) {
		torc_stream_consume(r->stream, n);
		r->received += n;
		r->body_left -= n;
		r->done = r->framing == TORC__HTTP_BY_LENGTH && !r->body_left;
		return;
	}
	r->run.data += n;
	r->run.len -= n;
	if (!r->run.len) {
		torc_stream_consume(r->stream, r->run_used);
		r->received += r->run_used;
	}
}

int torc__http_reader_try(struct torc__http_reader *r, struct torc_slice *ret_view)
{
	int got;

	r->no_wait = true;
	got = torc__http_reader_peek(r, ret_view);
	r->no_wait = false;
	return got;
}
