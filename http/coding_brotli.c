/*
 * http/coding_brotli.c - brotli (RFC 7932).
 *
 * The library ends the process where there is no memory, unless it was built otherwise. So whoever calls it can be left by
 * a jump from the function that allocates, and what it has allocated is on a list, from which it is freed.
 */
#include <brotli/encode.h>
#include <errno.h>
#include <setjmp.h>

#include "http/internal/coding.h"

/* With a larger one the tables of the higher levels take ten times as much. */
#define WINDOW_MIN 12
#define WINDOW_MAX 16

/* The encoder works when so many bytes are there: the least that it takes. */
#define BLOCK_BITS 16

struct block {
	_Alignas(16) struct block *next;
	struct block **link;
};

struct brotli {
	BrotliEncoderState *state;
	struct torc__http_encoder *e;
	struct block *blocks;
	jmp_buf no_memory;
	bool broken;
};

static void *allocate(void *opaque, size_t bytes)
{
	struct brotli *b = opaque;
	struct block *block = torc__http_budget_alloc(&b->e->budget, bytes + sizeof(*block));

	if (!block)
		longjmp(b->no_memory, 1);
	*block = (struct block){ b->blocks, &b->blocks };
	if (block->next)
		block->next->link = &block->next;
	b->blocks = block;
	return block + 1;
}

static void release(void *opaque, void *p)
{
	struct brotli *b = opaque;
	struct block *block = p;

	if (!p)
		return;
	block--;
	*block->link = block->next;
	if (block->next)
		block->next->link = block->link;
	torc__http_budget_free(&b->e->budget, block);
}

/* What the library does is inside of this. False: it has failed, and is not to be called again. */
static bool guarded(struct brotli *b, bool (*call)(struct brotli *b, void *arg), void *arg)
{
	if (setjmp(b->no_memory)) {
		b->broken = true;
		return false;
	}
	return call(b, arg);
}

struct settings {
	int level;
	uint64_t length;
};

static bool set_up(struct brotli *b, void *arg)
{
	const struct settings *s = arg;
	uint32_t bits = (uint32_t)torc__http_window_bits(s->length, WINDOW_MIN, WINDOW_MAX);
	uint32_t level = (uint32_t)s->level;

	b->state = BrotliEncoderCreateInstance(allocate, release, b);
	return b->state && BrotliEncoderSetParameter(b->state, BROTLI_PARAM_QUALITY, level) &&
	       BrotliEncoderSetParameter(b->state, BROTLI_PARAM_LGWIN, bits) &&
	       BrotliEncoderSetParameter(b->state, BROTLI_PARAM_LGBLOCK, BLOCK_BITS);
}

static void close_brotli(struct torc__http_encoder *e)
{
	struct brotli *b = e->state;

	if (b->state && !b->broken)
		BrotliEncoderDestroyInstance(b->state);
	while (b->blocks)
		release(b, b->blocks + 1);
	torc__http_budget_free(&e->budget, b);
}

static int open_brotli(struct torc__http_encoder *e, int level, uint64_t length)
{
	struct brotli *b = torc__http_budget_alloc(&e->budget, sizeof(*b));

	if (!b)
		return -ENOMEM;
	*b = (struct brotli){ .e = e };
	e->state = b;
	if (!guarded(b, set_up, &(struct settings){ level, length })) {
		close_brotli(e);
		return -ENOMEM;
	}
	return 0;
}

struct job {
	struct torc__http_piece *piece;
	BrotliEncoderOperation operation;
};

static bool compress(struct brotli *b, void *arg)
{
	const struct job *j = arg;
	struct torc__http_piece *p = j->piece;
	const uint8_t *in = (const uint8_t *)p->in;
	uint8_t *out = (uint8_t *)p->out;
	bool good = BrotliEncoderCompressStream(b->state, j->operation, &p->in_len, &in,
						&p->out_len, &out, NULL);

	p->in = (const char *)in;
	p->out = (char *)out;
	return good;
}

static int run(struct torc__http_encoder *e, struct torc__http_piece *p, enum torc__http_op op)
{
	static const BrotliEncoderOperation operations[] = { BROTLI_OPERATION_PROCESS,
							     BROTLI_OPERATION_FLUSH,
							     BROTLI_OPERATION_FINISH };
	struct brotli *b = e->state;

	/* It takes its memory when it sees what is to be compressed. */
	if (b->broken || !guarded(b, compress, &(struct job){ p, operations[op] }))
		return -ENOMEM;
	if (op == TORC__HTTP_OP_FINISH)
		return !BrotliEncoderIsFinished(b->state);
	return p->in_len || BrotliEncoderHasMoreOutput(b->state);
}

const struct torc_http_coding torc_http_brotli = {
	"br", 1, 9, 5, open_brotli, run, close_brotli, &torc__http_decoding_brotli
};
