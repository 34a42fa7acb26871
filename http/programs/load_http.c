#include "http/programs/load.h"

#include <errno.h>
#include <string.h>

#include "http/internal/reader.h"

/*
 * A server says nearly the same thing every time: the Date of its answers changes once a second, and most of them nothing else.
 * The parser is a function of the bytes, so a head that is the same, byte for byte, as one before need not be parsed, only
 * compared. An answer with such a head that is there in whole, with its body, is dealt with in one comparison; when several
 * are, all are consumed and recorded as one. All others go the long way, through the reader of responses.
 */

static const struct torc__http_limits limits = {
	.line_bytes = LOAD_HEAD_BYTES_MAX,
	.head_bytes = LOAD_HEAD_BYTES_MAX,
	.fields = LOAD_FIELDS_MAX,
};

/* Of a body whose length is known, or none; and small enough to be seen in whole. */
static uint64_t whole_bytes(const struct torc__http_reader *r)
{
	if (r->framing == TORC__HTTP_NO_BODY)
		return r->head_len;
	if (r->framing != TORC__HTTP_BY_LENGTH || r->body_left > LOAD_WHOLE_BYTES_MAX)
		return UINT64_MAX;
	return r->head_len + r->body_left;
}

/* Its head, to be compared with those that come; the one that was learned before stays right, too, but is older. */
static void learn(struct load_loop *l, struct torc__http_reader *r)
{
	uint64_t whole = whole_bytes(r);
	struct torc_slice in;

	if (whole > LOAD_WHOLE_BYTES_MAX || r->head_len > LOAD_SEEN_BYTES_MAX ||
	    !r->head.keep_alive || r->head.status < 200)
		return;
	if (torc_stream_peek(r->stream, &in) <= 0 || in.len < r->head_len)
		return; /* cancelled: the reader will see it, too */
	memcpy(l->seen.bytes, in.data, r->head_len);
	l->seen.len = r->head_len;
	l->seen.whole = (size_t)whole;
	l->seen.status = r->head.status;
}

static void received(struct load_connection *c, uint64_t n)
{
	if (c->measured)
		c->loop->counts.received_bytes += n;
}

/* What the reader has returned, in an answer that has begun. */
static int failed(struct load_connection *c, int e)
{
	if (e == -EBADMSG || e == -EMSGSIZE || e == -EPROTONOSUPPORT)
		return load_fail(c, LOAD_MALFORMED, 0);
	return load_ended(c, e == -ENODATA || e == -EPIPE ? 0 : e, true);
}

/* 100-continue and the like come before an answer. */
static int read_head(struct load_connection *c, struct torc__http_reader *r)
{
	int e;

	do {
		e = torc__http_reader_head(r, c->loop->load->is_head ? TORC__HTTP_HEAD
								     : TORC__HTTP_GET);
		if (e < 0)
			return e;
		received(c, r->head_len);
	} while (torc__http_is_interim(&r->head));
	learn(c->loop, r);
	return 0;
}

static int read_one(struct load_connection *c)
{
	struct torc__http_field fields[LOAD_FIELDS_MAX];
	struct torc__http_reader r;
	struct torc_slice in;
	int e;

	torc__http_reader_init(&r, &c->stream, &limits, fields, LOAD_FIELDS_MAX);
	e = read_head(c, &r);
	while (!e && (e = torc__http_reader_peek(&r, &in)) > 0) {
		torc__http_reader_consume(&r, in.len);
		e = 0;
	}
	if (e < 0)
		return failed(c, e);
	received(c, r.received);
	load_answered(c, 1, r.head.status);
	return torc__http_reader_keeps(&r) && r.head.status >= 200 ? 0 : LOAD_CLOSED;
}

/* As many as are there in whole, with a head that was seen before; false: none. */
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
	int r = 0;

	while (!r && c->done < c->count) {
		r = torc_stream_peek(&c->stream, &in);
		if (r <= 0)
			return load_ended(c, r, false);
		r = take_whole(c, in) ? 0 : read_one(c);
	}
	return r;
}
