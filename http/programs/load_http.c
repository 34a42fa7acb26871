#include "http/programs/load.h"

#include <errno.h>
#include <string.h>

#include "http/internal/chunk.h"
#include "http/internal/parse.h"

/*
 * A server says nearly the same thing every time: the Date of its answers changes once a second, and most of them nothing else.
 * The parser is a function of the bytes, so a head that is the same, byte for byte, as the one before need not be parsed, only
 * compared. An answer with such a head that is there in whole, with its body, is dealt with in one comparison. All others go the
 * long way, which any answer could go.
 */

static const struct torc__http_limits limits = {
	.line_bytes = LOAD_HEAD_BYTES_MAX,
	.head_bytes = LOAD_HEAD_BYTES_MAX,
	.fields = LOAD_FIELDS_MAX,
};

/* --- heads --- */

/* RFC 9112, 6.3 */
static bool has_body(const struct load_connection *c, uint16_t status)
{
	return !c->loop->load->is_head && status >= 200 && status != 204 && status != 304;
}

/* Keep what a head of [len] bytes said. */
static void keep(struct load_connection *c, const struct torc__http_head *h, const char *head,
		 size_t len)
{
	struct load_seen *seen = &c->loop->seen;
	bool body = has_body(c, h->status);

	*seen = (struct load_seen){
		.len = len <= LOAD_SEEN_BYTES_MAX ? len : 0,
		.body_bytes = body && h->has_length ? (size_t)h->content_length : 0,
		.whole = SIZE_MAX,
		.status = h->status,
		.has_body = body,
		.has_length = h->has_length,
		.chunked = h->chunked,
		.keep_alive = h->keep_alive,
	};
	memcpy(seen->bytes, head, seen->len);
	if (seen->len && h->keep_alive && h->status >= 200 && (!body || h->has_length) &&
	    seen->body_bytes <= TORC_STREAM_VIEW_MAX)
		seen->whole = seen->len + seen->body_bytes;
}

static bool is_seen(const struct load_seen *seen, struct torc_slice in)
{
	return seen->len && in.len >= seen->len && !memcmp(in.data, seen->bytes, seen->len);
}

/* > 0 its length, and l->seen is about it; 0 incomplete; < 0 as the parser. */
static int parse_head(struct load_connection *c, struct torc_slice in)
{
	struct torc__http_field fields[LOAD_FIELDS_MAX];
	struct torc__http_head h = { .fields = fields, .field_capacity = LOAD_FIELDS_MAX };
	int r;

	if (is_seen(&c->loop->seen, in))
		return (int)c->loop->seen.len;
	r = torc__http_parse_response(&h, in.data, in.len, &limits);
	if (r > 0)
		keep(c, &h, in.data, (size_t)r);
	return r;
}

/* The same, of what is still to come; 0 when it is consumed, and l->seen about it, or enum load_end. */
static int read_head(struct load_connection *c)
{
	struct torc_slice in;
	size_t scanned = 0;
	int r = torc_stream_peek(&c->stream, &in);

	if (r <= 0)
		return load_ended(c, r, false);
	while (!(r = parse_head(c, in))) {
		scanned = in.len;
		do {
			r = torc_stream_fill(&c->stream, in.len + 1, &in);
			if (r <= 0)
				return load_ended(c, r, true);
		} while (!torc__http_head_grew(in.data, in.len, &limits, &scanned));
	}
	if (r < 0)
		return load_fail(c, LOAD_MALFORMED, 0);
	load_consume(c, (size_t)r);
	return 0;
}

/* --- bodies --- */

static int skip_length(struct load_connection *c, uint64_t len)
{
	while (len) {
		struct torc_slice in;
		int r = torc_stream_peek(&c->stream, &in);
		size_t n;

		if (r <= 0)
			return load_ended(c, r, true);
		n = in.len < len ? in.len : (size_t)len;
		load_consume(c, n);
		len -= n;
	}
	return 0;
}

static int skip_chunks(struct load_connection *c)
{
	const struct torc__http_chunk_limits most = {
		.body_bytes = INT64_MAX,
		.ext_bytes = LOAD_HEAD_BYTES_MAX,
		.trailer_bytes = LOAD_HEAD_BYTES_MAX,
		.trailers = LOAD_FIELDS_MAX,
	};
	struct torc__http_chunk chunk;

	torc__http_chunk_init(&chunk, &most);
	while (!torc__http_chunk_done(&chunk)) {
		struct torc_slice in, data;
		int r = torc_stream_peek(&c->stream, &in);
		ssize_t used;

		if (r <= 0)
			return load_ended(c, r, true);
		used = torc__http_chunk_next(&chunk, in.data, in.len, &data);
		if (used < 0)
			return load_fail(c, LOAD_MALFORMED, 0);
		load_consume(c, (size_t)used);
	}
	return 0;
}

static int skip_all(struct load_connection *c)
{
	struct torc_slice in;
	int r;

	while ((r = torc_stream_peek(&c->stream, &in)) > 0)
		load_consume(c, in.len);
	return r < 0 ? load_ended(c, r, true) : 0;
}

/* *last: no answer will follow it. */
static int skip_body(struct load_connection *c, const struct load_seen *seen, bool *last)
{
	if (!seen->has_body)
		return 0;
	if (seen->has_length)
		return skip_length(c, seen->body_bytes);
	if (seen->chunked)
		return skip_chunks(c);
	*last = true;
	return skip_all(c);
}

/* --- answers --- */

static int read_one(struct load_connection *c)
{
	uint16_t status;
	bool last;
	int r;

	do {
		r = read_head(c);
		status = c->loop->seen.status;
	} while (!r && status < 200 &&
		 status != 101); /* 100-continue and the like come before an answer */
	if (r)
		return r;
	last = !c->loop->seen.keep_alive || status == 101;
	/* Other connections' heads come in between: what it says is used before it suspends. */
	r = skip_body(c, &c->loop->seen, &last);
	if (r)
		return r;
	load_answered(c, 1, status);
	return last ? LOAD_CLOSED : 0;
}

/* As many as are there in whole, with the same head as before; false: none. */
static bool take_whole(struct load_connection *c, struct torc_slice in)
{
	const struct load_seen *seen = &c->loop->seen;
	unsigned n = 0, most = c->count - c->done;
	size_t at = 0;

	while (n < most && in.len - at >= seen->whole &&
	       !memcmp(in.data + at, seen->bytes, seen->len)) {
		at += seen->whole;
		n++;
	}
	if (!n)
		return false;
	load_consume(c, at);
	load_answered(c, n, seen->status);
	return true;
}

int load_read_http(struct load_connection *c)
{
	struct torc_slice in;
	int r;

	while (c->done < c->count) {
		r = torc_stream_peek(&c->stream, &in);
		if (r <= 0)
			return load_ended(c, r, false);
		r = take_whole(c, in) ? 0 : read_one(c);
		if (r)
			return r;
	}
	return 0;
}
