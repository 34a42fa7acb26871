/*
 * http/decompress.c - bodies of requests that come compressed.
 */
#include <torc/http/compress.h>

#include <errno.h>
#include <strings.h>
#include <zlib.h>

#include <torc/core/fiber.h>

#include "http/internal/coding.h"

#define OUT_BYTES ((size_t)16 << 10)

/* What is decoded before others run. */
#define PIECE_BYTES ((size_t)64 << 10)

/* zlib takes some 40 KiB. */
#define STATE_BYTES ((size_t)64 << 10)

/* So much may come of nearly nothing. */
#define RATIO_FREE ((uint64_t)64 << 10)

#define RATIO 100

enum format { NONE = 0, DEFLATE = 15, GZIP = 31 }; /* as inflateInit2 wants to know it */

struct decoder {
	struct torc__http_source source;
	struct torc_http_exchange *x;
	struct torc__http_encoder memory;
	z_stream z;
	enum format format;
	uint64_t bytes, ratio; /* the limits */
	uint64_t in, out;      /* so far */
	size_t since;          /* bytes that were decoded since others ran */
	char *chunk;
	uint32_t capacity;
	size_t at, have; /* of the chunk: decoded bytes that were not consumed */
	bool full;       /* zlib may have more without further input */
	bool complete;   /* what has come so far is whole */
};

static voidpf allocate(voidpf opaque, uInt items, uInt size)
{
	return torc__http_encoder_alloc(opaque, (size_t)items * size);
}

static void release(voidpf opaque, voidpf p)
{
	torc__http_encoder_free(opaque, p);
}

static bool is_too_much(const struct decoder *d)
{
	uint64_t most = d->x->body_limit < d->bytes ? d->x->body_limit : d->bytes;

	return d->out > most || (d->out > RATIO_FREE && d->out / d->ratio > d->in);
}

/* Decode from `in`, into an empty chunk. How many bytes were taken, or a negative errno. */
static ssize_t inflate_some(struct decoder *d, struct torc_slice in)
{
	int r;

	d->z.next_in = (Bytef *)(uintptr_t)in.data;
	d->z.avail_in = (uInt)in.len;
	d->z.next_out = (Bytef *)d->chunk;
	d->z.avail_out = (uInt)OUT_BYTES;
	r = inflate(&d->z, Z_NO_FLUSH);
	if (r == Z_MEM_ERROR)
		return -ENOMEM;
	if (r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR)
		return -EBADMSG;
	d->complete = r == Z_STREAM_END;
	d->full = !d->complete && !d->z.avail_out;
	d->at = 0;
	d->have = OUT_BYTES - d->z.avail_out;
	d->in += in.len - d->z.avail_in;
	d->out += d->have;
	d->since += d->have;
	return is_too_much(d) ? -EMSGSIZE : (ssize_t)(in.len - d->z.avail_in);
}

/* Another member may follow a gzip file (RFC 1952, section 2.2), and nothing else. */
static int begin_member(struct decoder *d)
{
	if (d->format != GZIP || inflateReset(&d->z) != Z_OK)
		return -EBADMSG;
	d->complete = false;
	return 0;
}

/* 1; 0 at the end; or a negative errno, which is not new if it is the body's. */
static int decode(struct decoder *d)
{
	struct torc_slice in = { NULL, 0 };
	ssize_t used;
	int r = 1;

	if (!d->full)
		r = torc__http_raw_peek(d->x, &in);
	if (r == 0)
		return d->complete ? 0 : -EBADMSG;
	if (r > 0 && d->complete)
		r = begin_member(d);
	if (r < 0)
		return r;
	used = inflate_some(d, in);
	if (used < 0)
		return (int)used;
	if (in.len)
		torc__http_raw_consume(d->x, (size_t)used);
	return 1;
}

static int pause_if_due(struct decoder *d)
{
	if (d->since < PIECE_BYTES)
		return 0;
	d->since = 0;
	return torc_yield();
}

static int peek(struct torc__http_source *s, struct torc_http_exchange *x,
		struct torc_slice *ret_view)
{
	struct decoder *d = (struct decoder *)s;

	while (d->at == d->have) {
		int r = pause_if_due(d);

		if (r < 0)
			return r;
		r = decode(d);
		if (r < 0)
			return torc__http_fail_body(x, r);
		if (!r)
			return 0;
	}
	*ret_view = (struct torc_slice){ d->chunk + d->at, d->have - d->at };
	return 1;
}

static void consume(struct torc__http_source *s, struct torc_http_exchange *x, size_t n)
{
	(void)x;
	((struct decoder *)s)->at += n;
}

static void close_decoder(void *arg)
{
	struct decoder *d = arg;

	d->x->source = NULL;
	inflateEnd(&d->z);
	torc__chunk_give(d->x->stream->buffers, d->chunk, d->capacity);
}

static int open_decoder(struct decoder *d)
{
	d->memory.most = STATE_BYTES;
	d->z = (z_stream){ .zalloc = allocate, .zfree = release, .opaque = &d->memory };
	d->chunk = torc__chunk_take(d->x->stream->buffers, OUT_BYTES, &d->capacity);
	if (!d->chunk)
		return -ENOMEM;
	if (inflateInit2(&d->z, (int)d->format) != Z_OK ||
	    torc_http_defer(d->x, close_decoder, d) < 0) {
		close_decoder(d);
		return -ENOMEM;
	}
	d->x->source = &d->source;
	return 0;
}

/* --- the steps --- */

/* The coding of the body; false: there is none. */
static bool coding_of(const struct torc_http_exchange *x, struct torc_slice *ret_coding)
{
	struct torc_slice list, element, coding = { "", 0 };
	size_t at = 0, count = 0;

	while (torc_http_next_value(x, "Content-Encoding", &at, &list))
		while (torc_http_next_element(&list, &element)) {
			if (torc__http_slice_is_word(element, "identity"))
				continue;
			coding = element;
			count++;
		}
	/* Several: the name of none. */
	*ret_coding = count > 1 ? (struct torc_slice){ "", 0 } : coding;
	return count != 0;
}

static int refuse(struct torc_http_exchange *x, const char *accepted)
{
	int r = torc_http_add_field(x, "Accept-Encoding", accepted);

	return r ? r : torc_http_respond_text(x, 415, "This coding of a body is not understood.");
}

static enum format format_of(struct torc_slice coding)
{
	if (torc__http_slice_is_word(coding, "gzip") || torc__http_slice_is_word(coding, "x-gzip"))
		return GZIP;
	return torc__http_slice_is_word(coding, "deflate") ? DEFLATE : NONE;
}

int torc_http_decompress(struct torc_http_exchange *x, void *arg)
{
	static const struct torc_http_decompress_options defaults;
	const struct torc_http_decompress_options *o = arg ? arg : &defaults;
	struct torc_slice coding;
	struct decoder *d;
	int r;

	if (!coding_of(x, &coding) || x->source || x->body_done)
		return torc_http_next(x);
	if (!format_of(coding))
		return refuse(x, "gzip, deflate");
	d = torc_http_alloc(x, sizeof(*d));
	if (!d)
		return -ENOMEM;
	*d = (struct decoder){
		.source = { peek, consume },
		.x = x,
		.format = format_of(coding),
		.bytes = o->bytes ? o->bytes : TORC_NEVER,
		.ratio = o->ratio ? o->ratio : RATIO,
	};
	r = open_decoder(d);
	return r ? r : torc_http_next(x);
}

int torc_http_refuse_coded(struct torc_http_exchange *x, void *arg)
{
	struct torc_slice coding;

	(void)arg;
	return coding_of(x, &coding) ? refuse(x, "identity") : torc_http_next(x);
}
