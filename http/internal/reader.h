/*
 * http/internal/reader.h - responses off a stream: heads, and bodies in whatever framing (RFC 9112, section 6).
 *
 *	torc__http_reader_init(&r, stream, &limits, fields, count);
 *	for each request that was written, in order:
 *		do
 *			e = torc__http_reader_head(&r, method);
 *		while (!e && torc__http_is_interim(&r.head));
 *		while (!e && (e = torc__http_reader_peek(&r, &view)) > 0)
 *			e = 0, torc__http_reader_consume(&r, view.len);
 *
 * It copies nothing, and has no deadlines: those are the caller's scopes.
 */
#ifndef TORC_HTTP_INTERNAL_READER_H
#define TORC_HTTP_INTERNAL_READER_H

#include <torc/core/api.h>
#include <torc/io/stream.h>

#include "http/internal/chunk.h"
#include "http/internal/parse.h"

enum torc__http_framing {
	TORC__HTTP_NO_BODY,
	TORC__HTTP_BY_LENGTH,
	TORC__HTTP_BY_CHUNKS,
	TORC__HTTP_BY_CLOSE, /* until the connection ends */
};

struct torc__http_reader {
	struct torc_stream *stream;
	const struct torc__http_limits *limits;
	struct torc__http_head head; /* views into the stream, until the next call */
	size_t head_len;             /* bytes of it, still in the stream */
	enum torc__http_framing framing;
	bool done; /* the body is complete */
	bool no_wait;
	int error; /* of the framing: it stays */
	uint64_t body_left;
	uint64_t received; /* bytes of the body, as they came */
	struct torc__http_chunk chunk;
	struct torc_slice run; /* decoded bytes that have not been consumed */
	size_t run_used;       /* bytes of the stream that go with the run */
	/* What is told of trailers, lines with their ends: 0, or an error. NULL: they are dropped. */
	int (*on_trailers)(struct torc__http_reader *r, const char *lines, size_t len);
};

/* `fields` [count] are the caller's, as is all else, for as long as it reads. */
void torc__http_reader_init(struct torc__http_reader *r, struct torc_stream *s,
			    const struct torc__http_limits *limits, struct torc__http_field *fields,
			    unsigned count);

/*
 * The next head, of the response to a request with this method, whose end decides about the body. What is left of the one before was read.
 *
 * Returns     0          r->head is complete
 *             -ENODATA   the stream has ended before its first byte
 *             -EPIPE     the stream has ended in it
 *             -EBADMSG, -EMSGSIZE, -EPROTONOSUPPORT   as torc__http_parse_response
 *             or as torc_stream_peek
 */
int torc__http_reader_head(struct torc__http_reader *r, enum torc__http_method method);

/* A head that another one follows: RFC 9110, section 15.2. 101 is the last of its protocol. */
static inline bool torc__http_is_interim(const struct torc__http_head *h)
{
	return h->status < 200 && h->status != 101;
}

/*
 * More of the body.
 *
 * Returns     1          there are bytes, valid until the next call
 *             0          it is complete
 *             -EPIPE     the stream has ended in it
 *             -EBADMSG   malformed chunks
 *             -EMSGSIZE  too large trailers
 *             or as torc_stream_peek
 */
int torc__http_reader_peek(struct torc__http_reader *r, struct torc_slice *ret_view);
void torc__http_reader_consume(struct torc__http_reader *r, size_t n);

/* The same without waiting: -EAGAIN, nothing of it is here. */
int torc__http_reader_try(struct torc__http_reader *r, struct torc_slice *ret_view);

/* The response has been read to its end, and the connection can be used for another request. */
static inline bool torc__http_reader_keeps(const struct torc__http_reader *r)
{
	return r->done && !r->error && r->head.keep_alive && r->framing != TORC__HTTP_BY_CLOSE;
}

#endif
