/*
 * io/internal/buffers.h - per loop: buffers that the kernel fills, and chunks to send from.
 *
 * Receive buffers are a provided-buffer ring (io_uring_register_buf_ring(3)), 4 KiB each. A received
 * buffer belongs to one stream until it is given back; streams chain theirs through `next`.
 *
 * Chunks are malloc's, in sizes of powers of two, and a few of each are kept for the next taker.
 */
#ifndef TORC_IO_INTERNAL_BUFFERS_H
#define TORC_IO_INTERNAL_BUFFERS_H

#include <liburing.h>
#include <stddef.h>
#include <stdint.h>

#include "core/internal/loop.h"

#define TORC__BUFFER_BYTES 4096u
#define TORC__BUFFER_GROUP 0

#define TORC__CHUNK_MIN     4096u
#define TORC__CHUNK_CLASSES 10 /* 4 KiB .. 2 MiB */

/* Further rings of buffers: of a socket each. */
#define TORC__GROUPS_MAX 1024u

struct torc__buffer {
	uint32_t len;
	uint16_t next;
};

struct torc__chunk {
	struct torc__chunk *next;
};

struct torc__buffers {
	struct io_uring_buf_ring *ring;
	struct torc__buffer *meta; /* [count] */
	char *memory;              /* [count * TORC__BUFFER_BYTES] */
	unsigned count;
	unsigned available; /* as far as we know: the kernel may have filled some more */
	size_t mapped_bytes;
	struct torc__loop *loop;
	unsigned sockets;        /* streams that are open */
	unsigned handshakes;     /* of TLS, under way */
	uint64_t handshake_turn; /* of the loop: no handshake is computed on it before that one */
	uint64_t groups[TORC__GROUPS_MAX / 64]; /* bit n: group n + 1 is in use */
	struct torc__chunk *chunks[TORC__CHUNK_CLASSES];
	unsigned chunk_count[TORC__CHUNK_CLASSES];
};

/* The loop's, made at first use. NULL without memory. */
struct torc__buffers *torc__buffers(struct torc__loop *loop);

static inline char *torc__buffer_data(const struct torc__buffers *b, uint16_t id)
{
	return b->memory + (size_t)id * TORC__BUFFER_BYTES;
}

/* Back to the kernel. */
static inline void torc__buffer_give(struct torc__buffers *b, uint16_t id)
{
	io_uring_buf_ring_add(b->ring, torc__buffer_data(b, id), TORC__BUFFER_BYTES, id,
			      (int)b->count - 1, 0);
	io_uring_buf_ring_advance(b->ring, 1);
	b->available++;
}

/* The number of a further ring: 1 .. TORC__GROUPS_MAX, or -ENOSPC. */
int torc__group_take(struct torc__buffers *b);
void torc__group_give(struct torc__buffers *b, int group);

/* At least `bytes` bytes, rounded up to a power of two in *ret_capacity; NULL without memory. */
char *torc__chunk_take(struct torc__buffers *b, size_t bytes, uint32_t *ret_capacity);
void torc__chunk_give(struct torc__buffers *b, char *chunk, uint32_t capacity);

#endif
