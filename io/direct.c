#include <torc/io/direct.h>

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include <torc/io/file.h>

#include "core/internal/fiber.h"
#include "core/internal/kernel.h"
#include "core/internal/system.h"
#include "io/internal/call.h"

#define ALIGN_DEFAULT 4096u
#define ALIGN_MOST    ((size_t)2 << 20)

_Static_assert(TORC_ARENAS_MAX == 64, "slots are bits of a word");

/* --- the ring's slots --- */

/*
 * A ring has one table of registered memory. It is made when a loop opens its first arena, with empty slots, of which each
 * arena takes one for all of its buffers.
 */
struct slots {
	struct torc__ring *ring;
	uint64_t used;
};

static struct slots *find_slots(struct torc__loop *loop)
{
	struct torc__attached *attached = &loop->attached[TORC__ATTACHED_ARENAS];
	struct slots *s = attached->data;
	int r;

	if (s || loop->ring.disabled & TORC__FIXED_BUFFERS)
		return s;
	s = torc__malloc(sizeof(*s));
	if (!s)
		return NULL;
	*s = (struct slots){ .ring = &loop->ring };
	r = loop->ring.kernel->register_buffers(&loop->ring, TORC_ARENAS_MAX);
	if (r < 0) {
		torc__free(s);
		return NULL;
	}
	*attached = (struct torc__attached){ s, torc__free };
	return s;
}

/* Where nothing can be registered, for whatever reason, the memory is used as it is. */
static int take_slot(struct torc__loop *loop, void *memory, size_t bytes)
{
	struct slots *s = find_slots(loop);
	int slot;

	if (!s || !~s->used)
		return -1;
	slot = __builtin_ctzll(~s->used);
	if (s->ring->kernel->update_buffer(s->ring, (unsigned)slot, memory, bytes) < 0)
		return -1;
	s->used |= (uint64_t)1 << slot;
	return slot;
}

/* Should that fail, the slot is not used any more. */
static void give_slot(struct torc__loop *loop, int slot)
{
	struct slots *s = loop->attached[TORC__ATTACHED_ARENAS].data;

	if (!s->ring->kernel->update_buffer(s->ring, (unsigned)slot, NULL, 0))
		s->used &= ~((uint64_t)1 << slot);
}

/* --- arenas --- */

static int check_sizes(unsigned count, size_t bytes, size_t align, size_t *ret_stride)
{
	if (align & (align - 1) || align > ALIGN_MOST)
		return -EINVAL;
	if (!count || !bytes || bytes > TORC_ARENA_BYTES_MAX)
		return -EINVAL;
	bytes = (bytes + align - 1) & ~(align - 1);
	if (count > TORC_ARENA_BYTES_MAX / bytes)
		return -EINVAL;
	*ret_stride = bytes;
	return 0;
}

/* The kernel aligns to pages; what is to be aligned to more begins further in. */
static int get_memory(struct torc_arena *a, size_t align)
{
	size_t extra = align > ALIGN_DEFAULT ? align : 0, bytes = a->count * a->stride;
	uintptr_t at;

	a->mapping_bytes = bytes + extra;
	a->mapping = torc__map(a->mapping_bytes, 0);
	if (a->mapping == MAP_FAILED)
		return -ENOMEM;
	at = ((uintptr_t)a->mapping + align - 1) & ~(uintptr_t)(align - 1);
	a->memory = a->mapping + (at - (uintptr_t)a->mapping);
	a->free = torc__malloc(a->count * sizeof(*a->free));
	a->taken = torc__calloc(a->count, sizeof(*a->taken));
	if (a->free && a->taken)
		return 0;
	torc__free(a->free);
	torc__free(a->taken);
	torc__unmap(a->mapping, a->mapping_bytes, 0);
	return -ENOMEM;
}

int torc_arena_open(struct torc_arena *arena, unsigned count, size_t bytes, size_t align)
{
	struct torc_arena *a = arena;
	int r;

	*a = (struct torc_arena){ .loop = torc__self()->loop, .count = count, .free_count = count };
	align = align ? align : ALIGN_DEFAULT;
	r = check_sizes(count, bytes, align, &a->stride);
	if (!r)
		r = get_memory(a, align);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < count; i++)
		a->free[i] = count - 1 - i;
	a->slot = take_slot(a->loop, a->memory, a->count * a->stride);
	torc_sem_init(&a->units, count);
	return 0;
}

static void check_loop(const struct torc_arena *a)
{
	torc__check(a->loop == torc__loop(), "an arena is used on another loop than its own");
}

void torc_arena_close(struct torc_arena *arena)
{
	struct torc_arena *a = arena;

	check_loop(a);
	torc__check(a->free_count == a->count, "an arena is closed while a buffer of it is taken");
	torc_sem_done(&a->units);
	if (a->slot >= 0)
		give_slot(a->loop, a->slot);
	torc__free(a->free);
	torc__free(a->taken);
	torc__unmap(a->mapping, a->mapping_bytes, 0);
}

bool torc_arena_is_registered(const struct torc_arena *arena)
{
	return arena->slot >= 0;
}

int torc_arena_take(struct torc_arena *arena, void **ret_buffer)
{
	unsigned i;
	int r;

	check_loop(arena);
	r = torc_sem_acquire(&arena->units, 1);
	if (r < 0)
		return r;
	i = arena->free[--arena->free_count];
	arena->taken[i] = true;
	*ret_buffer = arena->memory + i * arena->stride;
	return 0;
}

void torc_arena_give(struct torc_arena *arena, void *buffer)
{
	size_t at = (uintptr_t)buffer - (uintptr_t)arena->memory, i = at / arena->stride;

	check_loop(arena);
	torc__check(i < arena->count && at % arena->stride == 0,
		    "what is given to an arena is no buffer of it");
	torc__check(arena->taken[i], "a buffer is given to an arena that was not taken");
	arena->taken[i] = false;
	arena->free[arena->free_count++] = (unsigned)i;
	torc_sem_release(&arena->units, 1);
}

/* --- transfers --- */

static void check_range(const struct torc_arena *a, const void *buf, size_t len)
{
	size_t at = (uintptr_t)buf - (uintptr_t)a->memory, all = a->count * a->stride;

	check_loop(a);
	torc__check(at <= all && len <= all - at, "memory that is not of the arena");
}

int torc_pread_fixed(struct torc_arena *arena, int fd, void *buf, size_t len, off_t offset)
{
	check_range(arena, buf, len);
	if (arena->slot < 0)
		return torc_pread(fd, buf, len, offset);
	if (offset < 0)
		return -EINVAL;
	return TORC__CALL(read_fixed, fd, buf, torc__at_once(len), (uint64_t)offset, arena->slot);
}

int torc_pwrite_fixed(struct torc_arena *arena, int fd, const void *buf, size_t len, off_t offset)
{
	check_range(arena, buf, len);
	if (arena->slot < 0)
		return torc_pwrite(fd, buf, len, offset);
	if (offset < 0)
		return -EINVAL;
	return TORC__CALL(write_fixed, fd, buf, torc__at_once(len), (uint64_t)offset, arena->slot);
}
