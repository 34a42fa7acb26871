/*
 * http/coding_zlib.c - gzip and deflate, by zlib.
 */
#include <errno.h>
#include <string.h>
#include <zlib.h>

#include "core/internal/trap.h"
#include "http/internal/coding.h"

#define WINDOW_MIN 10
#define WINDOW_MAX 15

static voidpf allocate(voidpf opaque, uInt items, uInt size)
{
	return torc__http_budget_alloc(opaque, (size_t)items * size);
}

static void release(voidpf opaque, voidpf p)
{
	torc__http_budget_free(opaque, p);
}

/* zlib needs 8 times the window: 4 for the window with its chains, 4 for the symbols and the hash. */
static int open_as(struct torc__http_encoder *e, int level, uint64_t length, int format)
{
	int bits = torc__http_window_bits(length, WINDOW_MIN, WINDOW_MAX);
	z_stream *z = torc__http_budget_alloc(&e->budget, sizeof(*z));

	if (!z)
		return -ENOMEM;
	*z = (z_stream){ .zalloc = allocate, .zfree = release, .opaque = &e->budget };
	if (deflateInit2(z, level, Z_DEFLATED, bits + format, bits - 7, Z_DEFAULT_STRATEGY) !=
	    Z_OK) {
		torc__http_budget_free(&e->budget, z);
		return -ENOMEM;
	}
	e->state = z;
	return 0;
}

static int open_gzip(struct torc__http_encoder *e, int level, uint64_t length)
{
	return open_as(e, level, length, 16);
}

/* With the frame of RFC 1950: what is called deflate in HTTP. */
static int open_deflate(struct torc__http_encoder *e, int level, uint64_t length)
{
	return open_as(e, level, length, 0);
}

static int run(struct torc__http_encoder *e, struct torc__http_piece *p, enum torc__http_op op)
{
	static const int flush[] = { Z_NO_FLUSH, Z_SYNC_FLUSH, Z_FINISH };
	z_stream *z = e->state;
	int r;

	if (op == TORC__HTTP_OP_RUN && !p->in_len)
		return 0;
	z->next_in = (Bytef *)(uintptr_t)p->in;
	z->avail_in = (uInt)p->in_len;
	z->next_out = (Bytef *)p->out;
	z->avail_out = (uInt)p->out_len;
	r = deflate(z, flush[op]);
	/* Z_BUF_ERROR: there was nothing to be done, which is none. */
	torc__check(r == Z_OK || r == Z_STREAM_END || r == Z_BUF_ERROR, "zlib's state is damaged");
	p->in = (const char *)z->next_in;
	p->in_len = z->avail_in;
	p->out = (char *)z->next_out;
	p->out_len = z->avail_out;
	if (op == TORC__HTTP_OP_FINISH)
		return r != Z_STREAM_END;
	return !p->out_len;
}

static void close_zlib(struct torc__http_encoder *e)
{
	deflateEnd(e->state);
	torc__http_budget_free(&e->budget, e->state);
}

const struct torc_http_coding torc_http_gzip = {
	"gzip", 1, 9, 4, open_gzip, run, close_zlib, &torc__http_decoding_gzip
};
const struct torc_http_coding torc_http_deflate = {
	"deflate", 1, 9, 4, open_deflate, run, close_zlib, &torc__http_decoding_deflate
};
