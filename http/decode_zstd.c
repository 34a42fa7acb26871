/*
 * http/decode_zstd.c - zstd (RFC 8878), with windows up to the 8 MiB that RFC 9659 allows in HTTP.
 */
#define ZSTD_STATIC_LINKING_ONLY /* for memory of our own: as it is since 1.3, and exported */

#include <errno.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "http/internal/coding.h"

#define WINDOW_LOG 23

/* The window, two blocks of 128 KiB, and tables. */
#define STATE_BYTES ((size_t)9 << 20)

static void *allocate(void *opaque, size_t bytes)
{
	return torc__http_budget_alloc(opaque, bytes);
}

static void release(void *opaque, void *p)
{
	torc__http_budget_free(opaque, p);
}

static int open_zstd(struct torc__http_decoder *d)
{
	const ZSTD_customMem memory = { allocate, release, &d->budget };
	ZSTD_DCtx *z = ZSTD_createDCtx_advanced(memory);

	if (!z)
		return -ENOMEM;
	if (ZSTD_isError(ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, WINDOW_LOG))) {
		ZSTD_freeDCtx(z);
		return -ENOMEM;
	}
	d->state = z;
	return 0;
}

static int errno_of(size_t result)
{
	switch (ZSTD_getErrorCode(result)) {
	case ZSTD_error_memory_allocation: return -ENOMEM;
	case ZSTD_error_frameParameter_windowTooLarge: return -EMSGSIZE;
	default: return -EBADMSG;
	}
}

static int run(struct torc__http_decoder *d, struct torc__http_piece *p)
{
	ZSTD_inBuffer in = { p->in, p->in_len, 0 };
	ZSTD_outBuffer out = { p->out, p->out_len, 0 };
	size_t left = ZSTD_decompressStream(d->state, &out, &in);

	if (ZSTD_isError(left))
		return errno_of(left);
	p->in += in.pos;
	p->in_len -= in.pos;
	p->out += out.pos;
	p->out_len -= out.pos;
	return left == 0;
}

/* Another frame may follow, of which the library learns by seeing it. */
static int next_frame(struct torc__http_decoder *d)
{
	(void)d;
	return 0;
}

static void close_zstd(struct torc__http_decoder *d)
{
	ZSTD_freeDCtx(d->state);
}

const struct torc__http_decoding torc__http_decoding_zstd = { STATE_BYTES, open_zstd, run,
							      next_frame, close_zstd };
