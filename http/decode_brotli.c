/*
 * http/decode_brotli.c - brotli (RFC 7932). Without the "large windows" of later days, which no client of HTTP has to know.
 *
 * Other than the encoder, the library's decoder says so when it gets no memory.
 */
#include <brotli/decode.h>
#include <errno.h>

#include "http/internal/coding.h"

/* A window of 16 MiB, and some of tables. */
#define STATE_BYTES ((size_t)20 << 20)

static void *allocate(void *opaque, size_t bytes)
{
	return torc__http_budget_alloc(opaque, bytes);
}

static void release(void *opaque, void *p)
{
	torc__http_budget_free(opaque, p);
}

static int open_brotli(struct torc__http_decoder *d)
{
	d->state = BrotliDecoderCreateInstance(allocate, release, &d->budget);
	return d->state ? 0 : -ENOMEM;
}

static bool lacks_memory(BrotliDecoderErrorCode code)
{
	return code <= BROTLI_DECODER_ERROR_ALLOC_CONTEXT_MODES &&
	       code >= BROTLI_DECODER_ERROR_ALLOC_BLOCK_TYPE_TREES;
}

static int run(struct torc__http_decoder *d, struct torc__http_piece *p)
{
	const uint8_t *in = (const uint8_t *)p->in;
	uint8_t *out = (uint8_t *)p->out;
	BrotliDecoderResult r =
		BrotliDecoderDecompressStream(d->state, &p->in_len, &in, &p->out_len, &out, NULL);

	p->in = (const char *)in;
	p->out = (char *)out;
	if (r != BROTLI_DECODER_RESULT_ERROR)
		return r == BROTLI_DECODER_RESULT_SUCCESS;
	return lacks_memory(BrotliDecoderGetErrorCode(d->state)) ? -ENOMEM : -EBADMSG;
}

static void close_brotli(struct torc__http_decoder *d)
{
	BrotliDecoderDestroyInstance(d->state);
}

const struct torc__http_decoding torc__http_decoding_brotli = { STATE_BYTES, open_brotli, run, NULL,
								close_brotli };
