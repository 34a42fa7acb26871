/*
 * executor/process/memory.c - torc_process_alloc: pages of the pool's common memory, the first hole that is large enough.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/internal/system.h"
#include "executor/internal/process.h"

/* In use. Between two of them, before the first and after the last are holes. */
struct torc__piece {
	struct torc__piece *next;
	uint64_t at, bytes; /* in the memfd */
};

/* In pieces, so that a signal now and then does not keep it from getting anywhere. */
#define PIECE ((uint64_t)16 << 20)

int torc__processes_hold(const struct torc__processes *p, uint64_t at, uint64_t bytes)
{
	while (bytes) {
		uint64_t piece = bytes < PIECE ? bytes : PIECE;

		if (fallocate(p->fd, 0, (off_t)at, (off_t)piece) == 0) {
			at += piece;
			bytes -= piece;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

void torc__processes_release(const struct torc__processes *p, uint64_t at, uint64_t bytes)
{
	while (fallocate(p->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at,
			 (off_t)bytes) < 0 &&
	       errno == EINTR)
		continue;
}

bool torc__processes_shares(const struct torc__processes *p, const void *memory, size_t bytes)
{
	uint64_t at = (uint64_t)((uintptr_t)memory - (uintptr_t)p->memory);
	uint64_t from = at - p->region->common;

	return at >= p->region->common && from < p->region->common_bytes &&
	       bytes <= p->region->common_bytes - from;
}

/* Inside the guard: link a piece where it fits. Returns false: nowhere. */
static bool find_hole(struct torc__processes *p, struct torc__piece *new)
{
	struct torc__piece **link = &p->shared.pieces;
	uint64_t at = p->region->common, end = at + p->region->common_bytes;

	for (; *link && (*link)->at - at < new->bytes; link = &(*link)->next)
		at = (*link)->at + (*link)->bytes;
	if (!*link && end - at < new->bytes)
		return false;
	new->at = at;
	new->next = *link;
	*link = new;
	p->shared.used += new->bytes;
	return true;
}

/* The piece that begins there, out of the list; NULL: none does. */
static struct torc__piece *unlink_piece(struct torc__processes *p, uint64_t at)
{
	struct torc__piece **link = &p->shared.pieces, *piece;

	torc__guard_lock(NULL, &p->shared.guard);
	while (*link && (*link)->at != at)
		link = &(*link)->next;
	piece = *link;
	if (piece) {
		*link = piece->next;
		p->shared.used -= piece->bytes;
	}
	torc__guard_unlock(&p->shared.guard);
	return piece;
}

void *torc_process_alloc(struct torc_executor *executor, size_t bytes)
{
	struct torc__processes *p = torc__processes_checked(executor);
	struct torc__piece *new;
	bool found;

	if (bytes > p->region->common_bytes)
		return NULL;
	new = torc__malloc(sizeof(*new));
	if (!new)
		return NULL;
	new->bytes = torc__whole_pages(bytes ? bytes : 1);
	torc__guard_lock(NULL, &p->shared.guard);
	found = find_hole(p, new);
	torc__guard_unlock(&p->shared.guard);
	if (!found) {
		torc__free(new);
		return NULL;
	}
	if (torc__processes_hold(p, new->at, new->bytes) < 0) {
		torc__processes_release(p, new->at, new->bytes);
		torc__free(unlink_piece(p, new->at));
		return NULL;
	}
	return p->memory + new->at;
}

void torc_process_free(struct torc_executor *executor, void *memory)
{
	struct torc__processes *p = torc__processes_checked(executor);
	uint64_t at = (uint64_t)((char *)memory - p->memory);
	struct torc__piece *piece;

	if (!memory)
		return;
	/* While it is in the list nobody else is given it. */
	torc__guard_lock(NULL, &p->shared.guard);
	for (piece = p->shared.pieces; piece && piece->at != at; piece = piece->next)
		continue;
	torc__guard_unlock(&p->shared.guard);
	torc__check(piece, "memory is freed that torc_process_alloc has not given");
	torc__processes_release(p, piece->at, piece->bytes);
	torc__free(unlink_piece(p, at));
}

void torc__processes_memory_done(struct torc__processes *p)
{
	struct torc__piece *next;

	for (struct torc__piece *piece = p->shared.pieces; piece; piece = next) {
		next = piece->next;
		torc__free(piece);
	}
}
