#include "core/internal/stack.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "core/internal/compat.h"
#include "core/internal/system.h"

/* Of stack memory. */
#define MAPPING (MAP_NORESERVE | MAP_STACK)

#define PAGE_BYTES ((size_t)4096)

/* Free stacks that are kept whatever happens, per size class. */
#define RESERVE 64

/*
 * Guards by mprotect, of all loops. Each costs two mappings, of which a process has 65530 (vm.max_map_count): some
 * must be left for slabs, and for malloc and everybody else.
 */
#define SPLITS_MOST 24000

static atomic_long splits;

/* Colours: the record and the first frames still share the top page. */
#define COLOURS      16
#define COLOUR_BYTES ((size_t)64)

static size_t slot_bytes(const struct torc__slab *slab)
{
	return TORC__GUARD_BYTES + ((size_t)1 << slab->shift);
}

static char *slot_base(const struct torc__slab *slab, unsigned slot)
{
	return slab->base + slot * slot_bytes(slab);
}

int torc__stack_class_of(size_t bytes)
{
	unsigned class = 0;

	if (!bytes)
		bytes = TORC__STACK_DEFAULT_BYTES;
	if (bytes > (size_t)1 << TORC__STACK_MAX_SHIFT)
		return -EINVAL;
	while ((size_t)1 << (class + TORC__STACK_MIN_SHIFT) < bytes)
		class ++;
	return (int)class;
}

/* 64 consecutive slots take each colour four times, neighbours different ones. */
static size_t colour(unsigned slot)
{
	return slot * 7 % COLOURS * COLOUR_BYTES;
}

/* The record at the top of a slot. */
static char *slot_record(const struct torc__stacks *stacks, char *base, size_t bytes, unsigned slot)
{
	return base + (slot + 1) * bytes - colour(slot) - stacks->record_bytes;
}

void torc__stacks_init(struct torc__stacks *stacks, size_t record_bytes, size_t stack_offset,
		       bool no_guard_install)
{
	*stacks = (struct torc__stacks){
		.record_bytes = (record_bytes + 63) & ~(size_t)63,
		.stack_offset = stack_offset,
		.no_guard_install = no_guard_install,
	};
}

static void list_slab(struct torc__stack_class *class, struct torc__slab *slab)
{
	if (slab->listed)
		return;
	slab->listed = true;
	slab->prev = NULL;
	slab->next = class->slabs;
	if (slab->next)
		slab->next->prev = slab;
	class->slabs = slab;
}

static void unlist_slab(struct torc__stack_class *class, struct torc__slab *slab)
{
	slab->listed = false;
	if (slab->next)
		slab->next->prev = slab->prev;
	if (slab->prev)
		slab->prev->next = slab->next;
	else
		class->slabs = slab->next;
}

static void spare_descriptor(struct torc__stacks *stacks, struct torc__slab *slab)
{
	slab->next = stacks->spare;
	stacks->spare = slab;
}

static struct torc__slab *take_descriptor(struct torc__stacks *stacks)
{
	struct torc__slab *slab = stacks->spare;

	if (slab) {
		stacks->spare = slab->next;
		return slab;
	}
	slab = torc__memory_refused()
		       ? NULL
		       : calloc(1, sizeof(*slab)); /* not counted: generators' stay */
	if (!slab)
		return NULL;
	slab->next_made = atomic_load_explicit(&stacks->made, memory_order_relaxed);
	atomic_store_explicit(&stacks->made, slab, memory_order_release);
	return slab;
}

static struct torc__slab *map_slab(struct torc__stacks *stacks, unsigned class_index)
{
	struct torc__slab *slab = take_descriptor(stacks);
	size_t bytes;
	void *base;

	if (!slab)
		return NULL;
	slab->shift = (uint8_t)(class_index + TORC__STACK_MIN_SHIFT);
	bytes = slot_bytes(slab) * TORC__SLAB_SLOTS;
	base = torc__map(bytes, MAPPING);
	if (base == MAP_FAILED) {
		spare_descriptor(stacks, slab);
		return NULL;
	}
	/* A huge page would be resident as a whole for the one page that a parked fiber needs. */
	madvise(base, bytes, MADV_NOHUGEPAGE);
	slab->base = base;
	slab->cold = ~UINT64_C(0);
	slab->guarded = slab->split = slab->trimmed = 0;
	atomic_store_explicit(&slab->place, (uintptr_t)base | slab->shift, memory_order_release);
	stacks->mapped_bytes += bytes;
	list_slab(&stacks->classes[class_index], slab);
	return slab;
}

static void unmap_slab(struct torc__stacks *stacks, struct torc__slab *slab)
{
	size_t bytes = slot_bytes(slab) * TORC__SLAB_SLOTS;

	unlist_slab(&stacks->classes[slab->shift - TORC__STACK_MIN_SHIFT], slab);
	atomic_store_explicit(&slab->place, 0, memory_order_relaxed);
	torc__unmap(slab->base, bytes, MAPPING);
	atomic_fetch_sub_explicit(&splits, __builtin_popcountll(slab->split), memory_order_relaxed);
	stacks->mapped_bytes -= bytes;
	spare_descriptor(stacks, slab);
}

void torc__stacks_done(struct torc__stacks *stacks)
{
	for (unsigned i = 0; i < TORC__STACK_CLASSES; i++) {
		struct torc__stack_class *class = &stacks->classes[i];

		while (class->warm) {
			struct torc__stack *stack = torc__stack_take_warm(stacks, i);

			stack->slab->cold |= UINT64_C(1) << stack->slot;
			list_slab(class, stack->slab);
		}
		while (class->slabs)
			unmap_slab(stacks, class->slabs);
	}
	while (stacks->spare) {
		struct torc__slab *slab = stacks->spare;

		stacks->spare = slab->next;
		free(slab);
	}
	atomic_store_explicit(&stacks->made, NULL, memory_order_relaxed);
}

/* A guard in a mapping of its own. Returns whether there was one left. */
static bool split(struct torc__slab *slab, unsigned slot)
{
	if (atomic_fetch_add_explicit(&splits, 1, memory_order_relaxed) >= SPLITS_MOST ||
	    mprotect(slot_base(slab, slot), TORC__GUARD_BYTES, PROT_NONE) < 0) {
		atomic_fetch_sub_explicit(&splits, 1, memory_order_relaxed);
		return false;
	}
	slab->split |= UINT64_C(1) << slot;
	return true;
}

/* Put the guard in place. Returns whether the kernel could. */
static bool guard(struct torc__stacks *stacks, struct torc__slab *slab, unsigned slot)
{
	if (slab->guarded >> slot & 1)
		return true;
	if (stacks->no_guard_install ||
	    madvise(slot_base(slab, slot), TORC__GUARD_BYTES, MADV_GUARD_INSTALL) < 0) {
		stacks->no_guard_install = true;
		if (!split(slab, slot))
			return false;
	}
	slab->guarded |= UINT64_C(1) << slot;
	return true;
}

void *torc__stack_take_cold(struct torc__stacks *stacks, unsigned class_index)
{
	struct torc__stack_class *class = &stacks->classes[class_index];
	struct torc__slab *slab = class->slabs ? class->slabs : map_slab(stacks, class_index);
	struct torc__stack *stack;
	unsigned slot;
	char *record;

	if (!slab)
		return NULL;
	slot = (unsigned)__builtin_ctzll(slab->cold);
	slab->cold &= slab->cold - 1;
	if (!slab->cold)
		unlist_slab(class, slab);
	record = slot_record(stacks, slab->base, slot_bytes(slab), slot);
	stack = (void *)(record + stacks->stack_offset);
	*stack = (struct torc__stack){
		.slab = slab,
		.bottom = slot_base(slab, slot) + TORC__GUARD_BYTES,
		.slot = (uint8_t)slot,
		.canary = !guard(stacks, slab, slot),
	};
	if (stack->canary)
		*(uint64_t *)(void *)stack->bottom = TORC__CANARY;
	return record;
}

/* Give back the memory of the slots in `mask`, run by run; the guards stay. */
static void discard(struct torc__slab *slab, uint64_t mask)
{
	while (mask) {
		unsigned slot = (unsigned)__builtin_ctzll(mask);

		madvise(slot_base(slab, slot) + TORC__GUARD_BYTES, (size_t)1 << slab->shift,
			MADV_DONTNEED);
		mask &= mask - 1;
	}
}

/* The warm stacks beyond the `keep` most recent become cold. Returns the slabs that they are in, listed. */
static struct torc__slab *cool(struct torc__stacks *stacks, struct torc__stack_class *class,
			       size_t keep)
{
	struct torc__stack **link = &class->warm;
	struct torc__slab *trimmed = NULL;
	struct torc__stack *stack;

	for (size_t i = 0; i < keep; i++)
		link = &(*link)->next_warm;
	stack = *link;
	*link = NULL;
	stacks->warm_total -= class->warm_count - keep;
	for (; class->warm_count > keep; class->warm_count--, stack = stack->next_warm) {
		struct torc__slab *slab = stack->slab;

		stacks->warm_bytes -= torc__stack_bytes(stack);
		if (!slab->trimmed) {
			slab->next_trimmed = trimmed;
			trimmed = slab;
		}
		slab->cold |= UINT64_C(1) << stack->slot;
		slab->trimmed |= UINT64_C(1) << stack->slot;
		list_slab(class, slab);
	}
	return trimmed;
}

/* Give back the memory of the warm stacks beyond the `keep` most recent. */
static void trim_to(struct torc__stacks *stacks, struct torc__stack_class *class, size_t keep)
{
	struct torc__slab *slab = cool(stacks, class, keep), *next;

	for (; slab; slab = next) {
		next = slab->next_trimmed;
		if (slab->cold == ~UINT64_C(0))
			unmap_slab(stacks, slab);
		else
			discard(slab, slab->trimmed);
		slab->trimmed = 0;
	}
}

static size_t surplus(const struct torc__stack_class *class)
{
	return class->warm_low > RESERVE ? class->warm_low - RESERVE : 0;
}

static void trim_class(struct torc__stacks *stacks, struct torc__stack_class *class)
{
	if (surplus(class))
		trim_to(stacks, class, class->warm_count - surplus(class));
	class->warm_low = class->warm_count;
}

void torc__stacks_trim(struct torc__stacks *stacks)
{
	for (unsigned i = 0; i < TORC__STACK_CLASSES; i++)
		trim_class(stacks, &stacks->classes[i]);
}

void torc__stacks_shrink(struct torc__stacks *stacks)
{
	for (unsigned i = 0; i < TORC__STACK_CLASSES; i++)
		trim_to(stacks, &stacks->classes[i], stacks->classes[i].warm_count / 2);
}

bool torc__stacks_surplus(const struct torc__stacks *stacks)
{
	for (unsigned i = 0; i < TORC__STACK_CLASSES; i++)
		if (stacks->classes[i].warm_count > RESERVE)
			return true;
	return false;
}

const void *torc__stacks_find_guard(const struct torc__stacks *stacks, const void *address)
{
	const struct torc__slab *slab = atomic_load_explicit(&stacks->made, memory_order_acquire);

	for (; slab; slab = slab->next_made) {
		uintptr_t place = atomic_load_explicit(&slab->place, memory_order_acquire);
		uintptr_t base = place & ~(uintptr_t)(PAGE_BYTES - 1);
		size_t bytes = TORC__GUARD_BYTES + ((size_t)1 << (place - base));
		uintptr_t at = (uintptr_t)address - base;

		if (place && at < bytes * TORC__SLAB_SLOTS && at % bytes < TORC__GUARD_BYTES)
			return slot_record(stacks, (char *)base, bytes, (unsigned)(at / bytes));
	}
	return NULL;
}
