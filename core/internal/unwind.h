/*
 * core/internal/unwind.h - backtraces of what is not running, or was interrupted.
 *
 * A parked fiber is walked from another stack, without touching its own and without frame pointers in the
 * program's code: torc__unwind_from (unwind_*.S) calls the unwinder of the C runtime, and its unwind
 * information says that its caller is the given context, where the fiber switched away.
 *
 * The addresses are those of instructions: of the call where a frame is one that called, so that symbols and
 * line numbers are right also at the end of a function; and exact where the fiber stands itself.
 *
 * A program that is asked for a dump may be one that has overwritten its stacks: a fault while one is walked ends
 * the walk, as long as torc__overflow_install's handler is in place.
 */
#ifndef TORC_CORE_INTERNAL_UNWIND_H
#define TORC_CORE_INTERNAL_UNWIND_H

#include "core/internal/switch.h"

/* Of frames in one backtrace. */
#define TORC__FRAMES_MOST 64

/* Fill in at most `most` addresses, innermost first. Returns how many. */
int torc__unwind_context(const struct torc__context *context, const void **addresses, int most);

/* The same for the code that a signal handler has interrupted at pc; from that handler. */
int torc__unwind_interrupted(const void *pc, const void **addresses, int most);

/* In a handler of faults, first: does not return when the fault came from a walk on this thread. */
void torc__unwind_escape(void);

/* Where its caller is, as if it had switched away: valid until the caller returns. */
static inline __attribute__((always_inline)) void torc__context_here(struct torc__context *context)
{
#if defined(__x86_64__)
	__asm__ volatile("leaq	1f(%%rip), %%rax\n"
			 "1:	movq	%%rsp, 0(%0)\n\t"
			 "movq	%%rbp, 8(%0)\n\t"
			 "movq	%%rax, 16(%0)"
			 :
			 : "D"(context)
			 : "rax", "memory");
#elif defined(__aarch64__)
	__asm__ volatile("adr	x9, 1f\n"
			 "1:	mov	x10, sp\n\t"
			 "stp	x10, x29, [%0]\n\t"
			 "str	x9, [%0, #16]"
			 :
			 : "r"(context)
			 : "x9", "x10", "memory");
#endif
}

#endif
