/*
 * http/coding_zstd.c - zstd (RFC 8878).
 */
#define ZSTD_STATIC_LINKING_ONLY /* for memory of our own: as it is since 1.3, and exported */

#include <errno.h>
#include <zstd.h>

#include "http/internal/coding.h"

#define WINDOW_MIN 10
#define WINDOW_MAX 16

static void *allocate(void *opaque, size_t bytes)
{
	return torc__http_budget_alloc(opaque, bytes);
}

static void release(void *opaque, void *p)
{
	torc__http_budget_free(opaque, p);
}

static bool set(ZSTD_CCtx *z, ZSTD_cParameter parameter, int value)
{
	return !ZSTD_isError(ZSTD_CCtx_setParameter(z, parameter, value));
}

static int open_zstd(struct torc__http_encoder *e, int level, uint64_t length)
{
	const ZSTD_customMem memory = { allocate, release, &e->budget };
	ZSTD_CCtx *z = ZSTD_createCCtx_advanced(memory);
	int bits = torc__http_window_bits(length, WINDOW_MIN, WINDOW_MAX);

	if (!z)
		return -ENOMEM;
	if (!set(z, ZSTD_c_compressionLevel, level) || !set(z, ZSTD_c_windowLog, bits)) {
		ZSTD_freeCCtx(z);
		return -ENOMEM;
	}
	e->state = z;
	return 0;
}

static int run(struct torc__http_encoder *e, struct torc__http_piece *p, enum torc__http_op op)
{
	static const ZSTD_EndDirective directives[] = { ZSTD_e_continue, ZSTD_e_flush, ZSTD_e_end };
	ZSTD_inBuffer in = { p->in, p->in_len, 0 };
	ZSTD_outBuffer out = { p->out, p->out_len, 0 };
	size_t left = ZSTD_compressStream2(e->state, &out, &in, directives[op]);

	if (ZSTD_isError(left))
		return -ENOMEM; /* the only one that there can be */
	p->in += in.pos;
	p->in_len -= in.pos;
	p->out += out.pos;
	p->out_len -= out.pos;
	return op == TORC__HTTP_OP_RUN ? p->in_len != 0 : left != 0;
}

static void close_zstd(struct torc__http_encoder *e)
{
	ZSTD_freeCCtx(e->state);
}

const struct torc_http_coding torc_http_zstd = {
	"zstd", 1, 6, 3, open_zstd, run, close_zstd, &torc__http_decoding_zstd
};
