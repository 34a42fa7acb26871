/*
 * core/internal/switch.h - how a new context begins, and the floating-point control words.
 *
 * The switch itself is core/context.h. A new context begins at torc__switch_entry, a generator's at
 * torc__gen_entry (switch_*.S), with the context in the register of the second argument, a stack pointer aligned to
 * 16 bytes and a frame pointer of zero.
 */
#ifndef TORC_CORE_INTERNAL_SWITCH_H
#define TORC_CORE_INTERNAL_SWITCH_H

/* Where a generator's body and its argument are: gen.c checks it. */
#define TORC__GEN_FN  72
#define TORC__GEN_ARG 80

#ifndef __ASSEMBLER__

#include <torc/core/context.h>

_Static_assert(offsetof(struct torc__context, sp) == 0, "context.h uses these offsets");
_Static_assert(offsetof(struct torc__context, fp) == 8, "as above");
_Static_assert(offsetof(struct torc__context, pc) == 16, "as above");

/* Calls torc__fiber_main with the context; never returns. */
void torc__switch_entry(void);

/*
 * Calls torc__gen_begin with the context, the generator's body with it and the argument, and torc__gen_end with the
 * context and what the body returned; never returns.
 */
void torc__gen_entry(void);

#if defined(__x86_64__)

/* The control words that the ABI calls callee-saved: MXCSR, then the x87 control word. */
struct torc__fpenv {
	uint32_t mxcsr;
	uint16_t x87;
};

static inline void torc__fpenv_save(struct torc__fpenv *env)
{
	__asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(env->mxcsr), "=m"(env->x87));
}

static inline void torc__fpenv_load(const struct torc__fpenv *env)
{
	__asm__ volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(env->mxcsr), "m"(env->x87));
}

#elif defined(__aarch64__)

struct torc__fpenv {
	uint64_t fpcr;
};

static inline void torc__fpenv_save(struct torc__fpenv *env)
{
	__asm__ volatile("mrs %0, fpcr" : "=r"(env->fpcr));
}

static inline void torc__fpenv_load(const struct torc__fpenv *env)
{
	__asm__ volatile("msr fpcr, %0" : : "r"(env->fpcr));
}

#endif

/* A context that starts at `entry`, one of the two above; `top` is aligned to 16 bytes. */
static inline void torc__context_init(struct torc__context *context, void *top, void (*entry)(void))
{
	context->sp = top;
	context->fp = NULL;
	context->pc = (void *)(uintptr_t)entry;
}

#endif

#endif
