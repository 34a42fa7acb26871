/*
 * core/internal/system.h - the part of the seam below torc that is not a ring: who answers the calls of core/sys.h,
 * what threads the loops run on, and where memory comes from.
 *
 * There is one at a time, for there is one runtime at a time. It is Linux but while torc_run is given a simulator.
 */
#ifndef TORC_CORE_INTERNAL_SYSTEM_H
#define TORC_CORE_INTERNAL_SYSTEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "core/internal/trap.h"

struct torc__runtime;
struct torc__thread;

/* As core/sys.h, one for one, and what io/ makes on another thread; then what only the runtime asks for. */
struct torc__system {
	int (*socket)(int domain, int type, int protocol);
	int (*socketpair)(int domain, int type, int protocol, int ret_fds[2]);
	int (*bind)(int fd, const struct sockaddr *address, socklen_t len);
	int (*listen)(int fd, int backlog);
	int (*setsockopt)(int fd, int level, int name, const void *value, socklen_t len);
	int (*getsockopt)(int fd, int level, int name, void *ret_value, socklen_t *len);
	int (*getsockname)(int fd, struct sockaddr *ret_address, socklen_t *len);
	int (*getpeername)(int fd, struct sockaddr *ret_address, socklen_t *len);
	int (*probe)(const struct sockaddr_un *address, socklen_t len);
	int (*pipe)(int ret_fds[2], int flags);
	int (*eventfd)(unsigned value, int flags);
	int (*open)(const char *path, int flags, unsigned mode);
	int (*mkdir)(const char *path, unsigned mode);
	int (*unlink)(const char *path);
	int (*rmdir)(const char *path);
	int (*rename)(const char *from, const char *to);
	int (*getdents)(int fd, void *buf, size_t len);
	int (*fchmod)(int fd, unsigned mode);
	int (*ftruncate)(int fd, int64_t len);
	int (*readlinkat)(int dirfd, const char *path, char *ret_target, size_t size);
	int (*dup)(int fd);
	int (*close)(int fd);
	int (*seekable)(int fd);
	int (*write)(int fd, const void *buf, size_t len);
	uint64_t (*wall_ns)(void);

	/* Run all loops until they have ended; NULL: on a thread each. */
	void (*run_loops)(struct torc__runtime *rt);
	/* Let the other loops go on; the runtime's lock is held, and held again on return. */
	void (*await_loops)(struct torc__runtime *rt);
	/* core/internal/thread.h; NULL: the kernel's. */
	int (*thread_start)(struct torc__thread *thread);
	void (*thread_point)(void); /* another thread may run here, if it likes */
	void (*futex_wait)(uint32_t *word, uint32_t expected, uint64_t deadline_ns);
	void (*futex_wake)(const uint32_t *word, unsigned count);
	uint64_t (*now_ns)(void); /* the monotonic clock, for threads that are no loops */
	/* Whether this allocation is to fail. NULL: none is. */
	bool (*refuse_memory)(void);
	/* Mappings, which are slow to make anew for each of many short runs; NULL: the kernel's. */
	void *(*map)(size_t bytes, int flags);
	void (*unmap)(void *base, size_t bytes, int flags);
};

extern const struct torc__system torc__system_linux;

/* Who answers now. Changes only while no runtime runs. */
extern const struct torc__system *torc__system;

/* Blocks that were allocated and not freed yet; counted while a simulator runs. */
extern size_t torc__memory_blocks;

/*
 * malloc(3) and its relatives, for all of the library. Each failure is one that the caller has to get over, so a
 * simulator may cause it.
 */
static inline bool torc__memory_refused(void)
{
	const struct torc__system *s = torc__system;

	return torc__unlikely(s->refuse_memory != NULL) && s->refuse_memory();
}

static inline void *torc__memory_taken(void *block)
{
	if (torc__unlikely(torc__system->refuse_memory != NULL))
		torc__memory_blocks += block != NULL;
	return block;
}

static inline void *torc__malloc(size_t bytes)
{
	return torc__memory_refused() ? NULL : torc__memory_taken(malloc(bytes));
}

static inline void *torc__calloc(size_t count, size_t bytes)
{
	return torc__memory_refused() ? NULL : torc__memory_taken(calloc(count, bytes));
}

static inline void *torc__realloc(void *block, size_t bytes)
{
	void *new = torc__memory_refused() ? NULL : realloc(block, bytes);

	return block ? new : torc__memory_taken(new);
}

/* Private anonymous memory, with more flags of mmap(2); MAP_FAILED without. It may hold anything. */
static inline void *torc__map(size_t bytes, int flags)
{
	if (torc__memory_refused())
		return MAP_FAILED;
	if (torc__system->map)
		return torc__system->map(bytes, flags);
	return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1,
		    0);
}

static inline void torc__unmap(void *base, size_t bytes, int flags)
{
	if (torc__system->unmap)
		torc__system->unmap(base, bytes, flags);
	else
		munmap(base, bytes);
}

/* On a cache line of its own; bytes is a multiple of 64. */
static inline void *torc__alloc_lines(size_t bytes)
{
	return torc__memory_refused() ? NULL : torc__memory_taken(aligned_alloc(64, bytes));
}

static inline void torc__free(void *block)
{
	if (torc__unlikely(torc__system->refuse_memory != NULL))
		torc__memory_blocks -= block != NULL;
	free(block);
}

#endif
