/*
 * http/coding.c - the memory of an encoder or a decoder, which is counted.
 */
#include <errno.h>

#include "core/internal/system.h"
#include "http/internal/coding.h"

/* In front of each block: its size. */
#define BEFORE 16u

void *torc__http_budget_alloc(struct torc__http_budget *b, size_t bytes)
{
	size_t *block;

	if (bytes > b->most || b->bytes > b->most - bytes)
		return NULL;
	block = torc__malloc(bytes + BEFORE);
	if (!block)
		return NULL;
	*block = bytes;
	b->bytes += bytes;
	return (char *)block + BEFORE;
}

void torc__http_budget_free(struct torc__http_budget *b, void *p)
{
	size_t *block;

	if (!p)
		return;
	block = (void *)((char *)p - BEFORE);
	b->bytes -= *block;
	torc__free(block);
}

int torc__http_encoder_open(struct torc__http_encoder *e, const struct torc_http_coding *coding,
			    int level, uint64_t length)
{
	int r;

	if (!level)
		level = coding->level_default;
	level = level < coding->level_min ? coding->level_min : level;
	level = level > coding->level_max ? coding->level_max : level;
	*e = (struct torc__http_encoder){ .budget.most = TORC_HTTP_COMPRESS_BYTES };
	r = coding->open(e, level, length);
	if (!r)
		e->coding = coding;
	return r;
}

void torc__http_encoder_close(struct torc__http_encoder *e)
{
	if (e->coding)
		e->coding->close(e);
	e->coding = NULL;
}

int torc__http_window_bits(uint64_t length, int least, int most)
{
	int bits = least;

	/* The libraries want a little more than what they are to find again. */
	while (bits < most && ((uint64_t)1 << bits) - 300 < length)
		bits++;
	return bits;
}
