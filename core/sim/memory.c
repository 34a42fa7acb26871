/*
 * core/sim/memory.c - what the program must not touch while the kernel has it.
 *
 * Memory that an operation will write is filled with a pattern, and put back as it was where nothing is written:
 * whoever writes there meanwhile, or has returned and uses it for something else, destroys the pattern or loses what
 * he wrote. Of memory that an operation will read a checksum is taken. Provided buffers that the kernel has are
 * filled with the pattern too: who reads one that he gave back reads nonsense.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/sim/sim.h"

#define PATTERN 0xa5

static void fill(void *memory, size_t len)
{
	memset(memory, PATTERN, len);
}

static bool is_filled(const char *memory, size_t len)
{
	static const char pattern = (char)PATTERN;

	return !len || (memory[0] == pattern && !memcmp(memory, memory + 1, len - 1));
}

static uint64_t sum_of(const char *memory, size_t len)
{
	uint64_t sum = len, word;

	for (; len >= sizeof(word); memory += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, memory, sizeof(word));
		sum = (sum ^ word) * 0x9fb21c651e98df25u;
		sum ^= sum >> 32;
	}
	for (; len; len--)
		sum = (sum ^ (unsigned char)*memory++) * 0x9fb21c651e98df25u;
	return sum;
}

/* --- of operations --- */

void torc__sim_claim_out(struct torc__sim_claim *claim, void *memory, size_t len)
{
	if (!len)
		return;
	*claim = (struct torc__sim_claim){ .memory = memory, .len = len };
	claim->saved = torc__sim_alloc(len);
	memcpy(claim->saved, memory, len);
	fill(memory, len);
}

void torc__sim_claim_in(struct torc__sim_claim *claim, const void *memory, size_t len)
{
	*claim = (struct torc__sim_claim){ .memory = (char *)(uintptr_t)memory, .len = len };
	claim->sum = sum_of(memory, len);
}

void torc__sim_claim_check(const struct torc__sim_claim *claim, size_t written)
{
	if (claim->saved && written < claim->len &&
	    !is_filled(claim->memory + written, claim->len - written))
		torc__sim_fail("memory was written while an operation receives into it", NULL);
	if (!claim->saved && claim->len && sum_of(claim->memory, claim->len) != claim->sum)
		torc__sim_fail("memory was changed while an operation sends from it", NULL);
}

void torc__sim_claim_end(struct torc__sim_claim *claim, size_t written)
{
	if (claim->saved) {
		if (written < claim->len)
			memcpy(claim->memory + written, claim->saved + written,
			       claim->len - written);
		free(claim->saved);
	}
	*claim = (struct torc__sim_claim){ .memory = NULL };
}

/* --- provided buffers --- */

enum {
	NOBODYS, /* was not given yet */
	FRESH,   /* given for the first time: as the program left it */
	KERNELS,
	USERS,
};

struct torc__sim_buffers {
	struct torc__sim_buffers *next; /* another group of this ring */
	struct io_uring_buf_ring *ring;
	unsigned entries;
	uint16_t head, seen; /* the kernel's; what was looked at of the tail */
	int group;
	uint8_t owner[]; /* of each buffer */
};

static struct torc__sim_buffers *find_group(struct torc__sim_ring *ring, unsigned group)
{
	struct torc__sim_buffers *b = ring->buffers;

	while (b && b->group != (int)group)
		b = b->next;
	return b;
}

int torc__sim_buffers_provide(struct torc__sim_ring *ring, const struct io_uring_buf_reg *reg)
{
	struct torc__sim_buffers *b;

	if (find_group(ring, reg->bgid))
		return -EEXIST;
	b = torc__sim_alloc(sizeof(*b) + reg->ring_entries);
	b->ring = (struct io_uring_buf_ring *)(uintptr_t)reg->ring_addr;
	b->entries = reg->ring_entries;
	b->group = reg->bgid;
	b->next = ring->buffers;
	ring->buffers = b;
	return 0;
}

static void take_back(struct torc__sim_buffers *b, const struct io_uring_buf *buf)
{
	uint8_t *owner = &b->owner[buf->bid];

	if (buf->bid >= b->entries)
		torc__sim_fail("the simulator numbers provided buffers from 0 to their number",
			       NULL);
	if (*owner == KERNELS || *owner == FRESH)
		torc__sim_fail("a provided buffer was given back twice", NULL);
	if (*owner == USERS)
		fill((void *)(uintptr_t)buf->addr, buf->len);
	*owner = *owner == USERS ? KERNELS : FRESH;
}

static void look_at(struct torc__sim_buffers *b)
{
	uint16_t tail = b->ring->tail;

	if ((uint16_t)(tail - b->head) > b->entries)
		torc__sim_fail("more provided buffers were given than the ring has entries", NULL);
	for (; b->seen != tail; b->seen++)
		take_back(b, &b->ring->bufs[b->seen & (b->entries - 1)]);
}

void torc__sim_buffers_look(struct torc__sim_ring *ring)
{
	for (struct torc__sim_buffers *b = ring->buffers; b; b = b->next)
		look_at(b);
}

char *torc__sim_buffer_take(struct torc__sim_ring *ring, unsigned group, size_t *len,
			    uint16_t *ret_id)
{
	struct torc__sim_buffers *b = find_group(ring, group);
	const struct io_uring_buf *buf;
	char *memory;

	if (!b || b->head == b->seen)
		return NULL;
	buf = &b->ring->bufs[b->head++ & (b->entries - 1)];
	memory = (char *)(uintptr_t)buf->addr;
	if (b->owner[buf->bid] == KERNELS && !is_filled(memory, buf->len))
		torc__sim_fail("a provided buffer was written after it had been given back", NULL);
	b->owner[buf->bid] = USERS;
	*ret_id = buf->bid;
	if (!*len || *len > buf->len)
		*len = buf->len;
	return memory;
}

void torc__sim_buffer_untake(struct torc__sim_ring *ring, unsigned group, uint16_t id)
{
	struct torc__sim_buffers *b = find_group(ring, group);

	b->head--;
	b->owner[id] = FRESH;
}

static void drop(struct torc__sim_buffers *b)
{
	if ((uint16_t)(b->seen - b->head) != b->entries)
		torc__sim_fail("a provided buffer was never given back", NULL);
	free(b);
}

void torc__sim_buffers_withdraw(struct torc__sim_ring *ring, unsigned group)
{
	struct torc__sim_buffers **link = &ring->buffers, *b;

	while (*link && (*link)->group != (int)group)
		link = &(*link)->next;
	b = *link;
	if (!b)
		return;
	look_at(b);
	*link = b->next;
	drop(b);
}

/* What is in the ring now cannot be looked at: its memory may be gone. */
void torc__sim_buffers_end(struct torc__sim_ring *ring)
{
	while (ring->buffers) {
		struct torc__sim_buffers *b = ring->buffers;

		ring->buffers = b->next;
		drop(b);
	}
}
