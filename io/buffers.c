#include "io/internal/buffers.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "core/internal/runtime.h"
#include "core/internal/system.h"

#define BUFFERS_DEFAULT 1024u

/* Chunks of one size that are kept: 256 of the smallest, halved with each size. */
#define CHUNKS_KEPT 256u

static void destroy(void *data)
{
	struct torc__buffers *b = data;

	for (unsigned i = 0; i < TORC__CHUNK_CLASSES; i++) {
		while (b->chunks[i]) {
			struct torc__chunk *next = b->chunks[i]->next;

			torc__free(b->chunks[i]);
			b->chunks[i] = next;
		}
	}
	if (b->ring)
		torc__unmap(b->ring, b->mapped_bytes, 0);
	torc__free(b->meta);
	torc__free(b);
}

static int provide(struct torc__buffers *b)
{
	struct io_uring_buf_reg reg = {
		.ring_addr = (uint64_t)(uintptr_t)b->ring,
		.ring_entries = b->count,
		.bgid = TORC__BUFFER_GROUP,
	};
	int r = b->loop->ring.kernel->provide(&b->loop->ring, &reg);

	if (r < 0)
		return r;
	io_uring_buf_ring_init(b->ring);
	for (unsigned i = 0; i < b->count; i++)
		io_uring_buf_ring_add(b->ring, torc__buffer_data(b, (uint16_t)i),
				      TORC__BUFFER_BYTES, (uint16_t)i, (int)b->count - 1, (int)i);
	io_uring_buf_ring_advance(b->ring, (int)b->count);
	b->available = b->count;
	return 0;
}

/* The ring of entries, padded to a page, and the buffers behind it. */
static int map(struct torc__buffers *b)
{
	size_t ring_bytes = (b->count * sizeof(struct io_uring_buf) + 4095) & ~(size_t)4095;
	char *memory;

	b->mapped_bytes = ring_bytes + (size_t)b->count * TORC__BUFFER_BYTES;
	memory = torc__map(b->mapped_bytes, 0);
	if (memory == MAP_FAILED)
		return -ENOMEM;
	b->ring = (struct io_uring_buf_ring *)(void *)memory;
	b->memory = memory + ring_bytes;
	b->meta = torc__calloc(b->count, sizeof(*b->meta));
	return b->meta ? 0 : -ENOMEM;
}

static struct torc__buffers *create(struct torc__loop *loop)
{
	struct torc__buffers *b = torc__calloc(1, sizeof(*b));
	unsigned wanted = loop->runtime->options->recv_buffers;

	if (!b)
		return NULL;
	b->loop = loop;
	b->count = wanted ? wanted : BUFFERS_DEFAULT;
	if (map(b) < 0 || provide(b) < 0) {
		destroy(b);
		return NULL;
	}
	loop->attached[TORC__ATTACHED_BUFFERS] = (struct torc__attached){ b, destroy };
	return b;
}

struct torc__buffers *torc__buffers(struct torc__loop *loop)
{
	struct torc__buffers *b = loop->attached[TORC__ATTACHED_BUFFERS].data;

	return b ? b : create(loop);
}

int torc__group_take(struct torc__buffers *b)
{
	for (unsigned i = 0; i < TORC__GROUPS_MAX / 64; i++) {
		if (~b->groups[i]) {
			int bit = __builtin_ctzll(~b->groups[i]);

			b->groups[i] |= (uint64_t)1 << bit;
			return (int)(i * 64) + bit + 1;
		}
	}
	return -ENOSPC;
}

void torc__group_give(struct torc__buffers *b, int group)
{
	unsigned bit = (unsigned)group - 1;

	b->groups[bit / 64] &= ~((uint64_t)1 << bit % 64);
}

static unsigned chunk_class(size_t bytes)
{
	unsigned class = 0;

	while (class < TORC__CHUNK_CLASSES && (size_t)TORC__CHUNK_MIN << class < bytes)
		class ++;
	return class;
}

char *torc__chunk_take(struct torc__buffers *b, size_t bytes, uint32_t *ret_capacity)
{
	unsigned class = chunk_class(bytes);
	struct torc__chunk *chunk;

	if (class >= TORC__CHUNK_CLASSES)
		return NULL;
	chunk = b->chunks[class];
	*ret_capacity = TORC__CHUNK_MIN << class;
	if (!chunk)
		return torc__malloc(*ret_capacity);
	b->chunks[class] = chunk->next;
	b->chunk_count[class]--;
	return (char *)chunk;
}

void torc__chunk_give(struct torc__buffers *b, char *chunk, uint32_t capacity)
{
	unsigned class = chunk_class(capacity);
	struct torc__chunk *free_chunk = (struct torc__chunk *)(void *)chunk;

	if (!chunk)
		return;
	if (b->chunk_count[class] >= CHUNKS_KEPT >> class) {
		torc__free(chunk);
		return;
	}
	free_chunk->next = b->chunks[class];
	b->chunks[class] = free_chunk;
	b->chunk_count[class]++;
}
