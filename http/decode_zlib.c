/*
 * http/decode_zlib.c - gzip (RFC 1952) and deflate, by zlib.
 *
 * "deflate" means deflate data (RFC 1951) in the frame of RFC 1950. Some senders leave the frame out, as the name suggests. The first
 * byte tells which it is: in the frame its lower half is 8. Without, that would be a stored block with a bit set in its padding, which
 * nobody writes.
 */
#include <errno.h>
#include <zlib.h>

#include "http/internal/coding.h"

/* zlib takes some 40 KiB. */
#define STATE_BYTES ((size_t)64 << 10)

#define FRAMED 15 /* as inflateInit2 wants to know it: the largest window */
#define RAW    (-15)
#define GZIP   (15 + 16)

static voidpf allocate(voidpf opaque, uInt items, uInt size)
{
	return torc__http_budget_alloc(opaque, (size_t)items * size);
}

static void release(voidpf opaque, voidpf p)
{
	torc__http_budget_free(opaque, p);
}

static int open_as(struct torc__http_decoder *d, int format)
{
	z_stream *z = torc__http_budget_alloc(&d->budget, sizeof(*z));

	if (!z)
		return -ENOMEM;
	*z = (z_stream){ .zalloc = allocate, .zfree = release, .opaque = &d->budget };
	if (inflateInit2(z, format) != Z_OK) {
		torc__http_budget_free(&d->budget, z);
		return -ENOMEM;
	}
	d->state = z;
	return 0;
}

static int open_gzip(struct torc__http_decoder *d)
{
	return open_as(d, GZIP);
}

static int open_deflate(struct torc__http_decoder *d)
{
	return open_as(d, FRAMED);
}

static int run(struct torc__http_decoder *d, struct torc__http_piece *p)
{
	z_stream *z = d->state;
	int r;

	z->next_in = (Bytef *)(uintptr_t)p->in;
	z->avail_in = (uInt)p->in_len;
	z->next_out = (Bytef *)p->out;
	z->avail_out = (uInt)p->out_len;
	r = inflate(z, Z_NO_FLUSH);
	p->in = (const char *)z->next_in;
	p->in_len = z->avail_in;
	p->out = (char *)z->next_out;
	p->out_len = z->avail_out;
	if (r == Z_OK || r == Z_STREAM_END || r == Z_BUF_ERROR)
		return r == Z_STREAM_END;
	return r == Z_MEM_ERROR ? -ENOMEM : -EBADMSG;
}

static int run_deflate(struct torc__http_decoder *d, struct torc__http_piece *p)
{
	if (!d->in && p->in_len && (*p->in & 0xf) != Z_DEFLATED &&
	    inflateReset2(d->state, RAW) != Z_OK)
		return -EBADMSG;
	return run(d, p);
}

/* Another member may follow a gzip file: RFC 1952, section 2.2. */
static int next_member(struct torc__http_decoder *d)
{
	return inflateReset(d->state) == Z_OK ? 0 : -EBADMSG;
}

static void close_zlib(struct torc__http_decoder *d)
{
	inflateEnd(d->state);
	torc__http_budget_free(&d->budget, d->state);
}

const struct torc__http_decoding torc__http_decoding_gzip = { STATE_BYTES, open_gzip, run,
							      next_member, close_zlib };
const struct torc__http_decoding torc__http_decoding_deflate = { STATE_BYTES, open_deflate,
								 run_deflate, NULL, close_zlib };
