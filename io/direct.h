/*
 * io/direct.h - memory that the ring knows already: aligned buffers for O_DIRECT, which the kernel need not look up and pin
 * anew for each transfer.
 *
 *	struct torc_arena arena;
 *	void *page;
 *
 *	r = torc_arena_open(&arena, 64, 4096, 0);
 *	...
 *	r = torc_arena_take(&arena, &page);			waits until one is free
 *	if (!r) {
 *		r = torc_pread_fixed(&arena, fd, page, 4096, offset);
 *		...
 *		torc_arena_give(&arena, page);
 *	}
 *	...
 *	torc_arena_close(&arena);
 *
 * It pays for small transfers with O_DIRECT, where the memory's pages are a good part of the work; with the page cache in between
 * there is nothing to pin, and it saves next to nothing. docs/performance.md has figures.
 *
 * Registered memory is locked: it counts against RLIMIT_MEMLOCK, unless the process has CAP_IPC_LOCK. Where the limit does not allow
 * it the arena is ordinary memory, and everything works as before; torc_arena_is_registered tells.
 */
#ifndef TORC_IO_DIRECT_H
#define TORC_IO_DIRECT_H

#include <sys/types.h>

#include <torc/core/api.h>
#include <torc/core/sync.h>

TORC_BEGIN_DECLS

struct torc__loop;

/* Arenas of a loop that can be registered at a time; further ones are ordinary memory. */
#define TORC_ARENAS_MAX 64

/* Bytes of one arena, at most: the kernel's limit for registered memory. */
#define TORC_ARENA_BYTES_MAX ((size_t)1 << 30)

/* Caller's memory. The fields are private. */
struct torc_arena {
	struct torc__loop *loop;
	char *mapping, *memory; /* the latter is aligned */
	size_t mapping_bytes, stride;
	unsigned *free; /* [count], of which the first free_count are */
	bool *taken;    /* [count] */
	unsigned count, free_count;
	int slot; /* among the ring's; -1: not registered */
	struct torc_sem units;
};

/*
 * torc_arena_open - get buffers, and register them with the calling loop's ring.
 *
 *   @arena  to be closed, if this succeeds
 *   @count  1 or more
 *   @bytes  of each, 1 or more; rounded up to a multiple of `align`. All of them: TORC_ARENA_BYTES_MAX
 *   @align  a power of two, up to 2 MiB; 0: 4096
 *
 * Returns     0         registered or not
 *             -EINVAL   one of these is out of its range
 *             -ENOMEM   no memory
 * Suspends    never
 * Thread      a fiber's. The arena belongs to its loop
 * Source      io_uring_register_buffers(3)
 */
TORC_API TORC_MUST_CHECK int torc_arena_open(struct torc_arena *arena, unsigned count, size_t bytes,
					     size_t align);

/*
 * torc_arena_close - give all of it back. A buffer that is still taken, or a fiber that waits for one, traps.
 *
 * Suspends    never
 * Thread      a fiber's of the arena's loop
 */
TORC_API void torc_arena_close(struct torc_arena *arena);

/* torc_arena_is_registered - or is it ordinary memory? */
TORC_API bool torc_arena_is_registered(const struct torc_arena *arena);

/*
 * torc_arena_take - a buffer; it may hold anything. Who waits for one is served in order.
 *
 * Returns     0
 *             -ECANCELED, -ETIMEDOUT   the scope: none was taken
 * Suspends    while none is free
 * Thread      a fiber's of the arena's loop
 */
TORC_API TORC_MUST_CHECK int torc_arena_take(struct torc_arena *arena, void **ret_buffer);

/*
 * torc_arena_give - it is free again. What is not a buffer of the arena, or not taken, traps.
 *
 * Suspends    never
 * Thread      a fiber's of the arena's loop
 */
TORC_API void torc_arena_give(struct torc_arena *arena, void *buffer);

/*
 * torc_pread_fixed, torc_pwrite_fixed - torc_pread and torc_pwrite (io/file.h) with memory of an arena.
 *
 *   @buf  within the arena; several buffers in a row may be one piece of memory. Anything else traps
 *
 * Returns     as torc_pread and torc_pwrite
 * Suspends    always, unless the scope has ended
 * Thread      a fiber's of the arena's loop
 * Source      io_uring_prep_read_fixed(3), io_uring_prep_write_fixed(3)
 */
TORC_API TORC_MUST_CHECK int torc_pread_fixed(struct torc_arena *arena, int fd, void *buf,
					      size_t len, off_t offset);
TORC_API TORC_MUST_CHECK int torc_pwrite_fixed(struct torc_arena *arena, int fd, const void *buf,
					       size_t len, off_t offset);

TORC_END_DECLS

#endif
