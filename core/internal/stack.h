/*
 * core/internal/stack.h - where the stacks of fibers and generators come from.
 *
 * Large mappings (slabs) are cut into 64 slots each: one mapping per stack would end at
 * vm.max_map_count, some 32 000 fibers. A slot is a guard followed by the stack:
 *
 *	slot: | guard, 16 KiB | stack .................................. <- top | record |  colour |
 *
 * The guard is MADV_GUARD_INSTALL (Linux 6.13) or mprotect; when most of the process's mappings have gone
 * into the latter, a word of known bits that is checked at each switch. It is four pages, so that a function with a
 * frame of up to 16 KiB that skips a page still hits it.
 *
 * The record of the fiber or generator stands at the top of its slot, so that starting one touches one page.
 * Records and tops at the same address modulo 4096 would all fall into the same cache sets: each slot is
 * shifted by its colour, a multiple of 64 bytes.
 *
 * Life of a slot, per size class of a struct torc__stacks, of which each loop has one, and all generators together
 * have one; no locks in here:
 *
 *	cold  -- take -->  in use  -- give -->  warm  -- take -->  in use
 *	  ^--------------------- trim ------------|
 *
 *	cold	never used, or its memory went back to the kernel: a bit in its slab
 *	warm	on the class's stack of free slots, last in first out, its pages still there
 *
 * Trim gives back what a second has passed without using (torc__stacks_trim); those who have no clock shrink
 * (torc__stacks_shrink).
 *
 * A signal handler can ask whose guard an address is in (torc__stacks_find_guard): the descriptors of slabs are only
 * ever added to a list, and used again when theirs was unmapped.
 */
#ifndef TORC_CORE_INTERNAL_STACK_H
#define TORC_CORE_INTERNAL_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TORC__SLAB_SLOTS          64
#define TORC__GUARD_BYTES         ((size_t)16384)
#define TORC__STACK_MIN_SHIFT     14 /* 16 KiB */
#define TORC__STACK_MAX_SHIFT     26 /* 64 MiB */
#define TORC__STACK_CLASSES       (TORC__STACK_MAX_SHIFT - TORC__STACK_MIN_SHIFT + 1)
#define TORC__STACK_DEFAULT_BYTES ((size_t)65536)
#define TORC__CANARY              0x746f72635f656e64u /* at the low end of a stack without a guard */

struct torc__slab {
	struct torc__slab *next,
		*prev;                /* in the class's list of slabs with a cold slot; or spare */
	struct torc__slab *next_made; /* in the list of all; never changes */
	struct torc__slab *next_trimmed;
	char *base;
	_Atomic uintptr_t place; /* base, and the shift in its low bits; 0: spare */
	uint64_t cold;           /* bit i: slot i is cold */
	uint64_t guarded;        /* bit i: the guard of slot i is in place */
	uint64_t split;          /* bit i: by mprotect, which costs two mappings */
	uint64_t trimmed;        /* bit i: made cold by the trim under way */
	bool listed;
	uint8_t shift; /* stack bytes, as a power of two */
};

/* One stack in use, or warm. Lives in the record at the top of its slot. */
struct torc__stack {
	struct torc__slab *slab;
	struct torc__stack *next_warm;
	char *bottom; /* lowest usable byte */
	uint8_t slot;
	bool canary;
};

struct torc__stack_class {
	struct torc__stack *warm;
	struct torc__slab *slabs; /* those with a cold slot */
	size_t warm_count;
	size_t warm_low; /* least warm_count since the last trim: what nobody has needed */
};

struct torc__stacks {
	struct torc__stack_class classes[TORC__STACK_CLASSES];
	size_t record_bytes; /* a multiple of 64 */
	size_t stack_offset; /* of the struct torc__stack in a record */
	size_t mapped_bytes;
	size_t warm_total;
	size_t warm_bytes; /* of all warm stacks, as if all their pages were there */
	_Atomic(struct torc__slab *) made; /* all descriptors, those of no mapping too */
	struct torc__slab *spare;          /* those */
	bool no_guard_install;
};

/* Returns the class of a stack size, or -EINVAL beyond 64 MiB; 0 bytes means the default. */
int torc__stack_class_of(size_t bytes);

void torc__stacks_init(struct torc__stacks *stacks, size_t record_bytes, size_t stack_offset,
		       bool no_guard_install);

/* Unmap everything; every stack has been given back. */
void torc__stacks_done(struct torc__stacks *stacks);

/*
 * Returns the record of a free slot, its struct torc__stack (at stack_offset) filled in, or NULL.
 * Defined in stack.c for cold slots; the warm path is torc__stack_take.
 */
void *torc__stack_take_cold(struct torc__stacks *stacks, unsigned class_index);

/* Give back slots that have been free since the last call, beyond a reserve. */
void torc__stacks_trim(struct torc__stacks *stacks);

/* Give back all but the more recent half of the free slots. */
void torc__stacks_shrink(struct torc__stacks *stacks);

/*
 * Returns the record of the slot whose guard `address` is in, or NULL. May run in a signal handler, at any time:
 * the record is one's to read when the slot is known to be in use.
 */
const void *torc__stacks_find_guard(const struct torc__stacks *stacks, const void *address);

/* Would a trim in a second find something? */
bool torc__stacks_surplus(const struct torc__stacks *stacks);

static inline size_t torc__stack_bytes(const struct torc__stack *stack)
{
	return (size_t)1 << stack->slab->shift;
}

static inline unsigned torc__stack_class_index(const struct torc__stack *stack)
{
	return stack->slab->shift - TORC__STACK_MIN_SHIFT;
}

static inline struct torc__stack *torc__stack_take_warm(struct torc__stacks *stacks, unsigned index)
{
	struct torc__stack_class *class = &stacks->classes[index];
	struct torc__stack *stack = class->warm;

	if (!stack)
		return NULL;
	class->warm = stack->next_warm;
	if (--class->warm_count < class->warm_low)
		class->warm_low = class->warm_count;
	stacks->warm_total--;
	stacks->warm_bytes -= (size_t)1 << (index + TORC__STACK_MIN_SHIFT);
	return stack;
}

static inline void torc__stack_give(struct torc__stacks *stacks, struct torc__stack *stack)
{
	struct torc__stack_class *class = &stacks->classes[torc__stack_class_index(stack)];

	stack->next_warm = class->warm;
	class->warm = stack;
	class->warm_count++;
	stacks->warm_total++;
	stacks->warm_bytes += torc__stack_bytes(stack);
}

#endif
