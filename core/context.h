/*
 * core/context.h - the switch between two stacks of one thread, for what core/gen.h does in line.
 *
 * Nothing here is called by programs (hence the torc__ names). It is public because a generator's resume and yield
 * are compiled into the code that uses them: a call of the one that returns from a call of the other would
 * be mispredicted each time, at 8 ns.
 *
 * torc__switch saves where the caller is and goes on where the target was saved. It is inline assembly
 * that names every register as overwritten but the stack and frame pointers, so that the compiler
 * saves only what is live around it, and the jump back is an indirect jump with a history of its own:
 * 0.8 ns one way where pushing the callee-saved registers and returning through a stack that the return
 * predictor has never seen takes 8.
 *
 *	struct torc__context		x86-64		AArch64
 *	  sp	stack pointer		rsp		sp
 *	  fp	frame pointer		rbp		x29
 *	  pc	where it goes on	label 1		label 1
 *
 * Unwinding. Whatever the code around is compiled with, -fomit-frame-pointer too, the function that a switch
 * is inlined into has a frame pointer, for torc__switch asks for its frame's address. So the canonical frame
 * address is found from the frame pointer alone at each instruction here. Before the frame pointer is exchanged a
 * backtrace is the old stack's; after, the new one's, under the name of the function that switched.
 *
 * Static variables. To a compiler the switch is an access to all memory, but gcc forgets that when it looks up which
 * static variables a call can change: one whose address nobody has seemed untouched by a call of a function of the same
 * file that did nothing but switch (gcc 12, from -O1 on). Two things make it see otherwise: each use of torc__switch has
 * a call of an unknown function beside it, for the slow path, and asking for the frame's address counts as one.
 *
 * torc__switch returns what the one that switched back named as its target: the caller's `from`, in a register. Who
 * finds its structure through that need not wait for its stack pointer, and then for what it had kept in its frame.
 *
 * The floating-point control words are not switched (see core/fiber.h): reading them costs 6 ns.
 */
#ifndef TORC_CORE_CONTEXT_H
#define TORC_CORE_CONTEXT_H

#include <stddef.h>
#include <stdint.h>

struct torc__context {
	void *sp;
	void *fp;
	void *pc;
};

#define TORC__INLINE static inline __attribute__((always_inline))

#if defined(__x86_64__)

#ifdef __AVX512F__
#define TORC__CLOBBER_AVX512                                                                     \
	, "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24",       \
		"xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2", "k3", \
		"k4", "k5", "k6", "k7"
#else
#define TORC__CLOBBER_AVX512
#endif

TORC__INLINE const struct torc__context *torc__switch(struct torc__context *from,
						      const struct torc__context *to)
{
	__asm__ volatile("" : : "r"(__builtin_frame_address(0)));
	__asm__ volatile("leaq	1f(%%rip), %%rax\n\t"
			 "movq	%%rsp, 0(%%rdi)\n\t"
			 "movq	%%rbp, 8(%%rdi)\n\t"
			 "movq	%%rax, 16(%%rdi)\n\t"
			 "movq	16(%%rsi), %%rax\n\t"
			 "movq	0(%%rsi), %%rsp\n\t"
			 "movq	8(%%rsi), %%rbp\n\t"
			 "jmpq	*%%rax\n"
			 "1:	endbr64\n"
			 : "+D"(from), "+S"(to)
			 :
			 : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13",
			   "r14", "r15", "cc", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4",
			   "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
			   "xmm13", "xmm14", "xmm15", "st", "st(1)", "st(2)", "st(3)", "st(4)",
			   "st(5)", "st(6)", "st(7)" TORC__CLOBBER_AVX512);
	return to;
}

#elif defined(__aarch64__)

#ifdef __ARM_FEATURE_SVE
#define TORC__CLOBBER_SVE                                                                         \
	, "p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9", "p10", "p11", "p12", "p13", \
		"p14", "p15", "ffr"
#else
#define TORC__CLOBBER_SVE
#endif

/* x18 is the platform's register elsewhere; on Linux it is a temporary one, in which compilers do keep values. */
TORC__INLINE const struct torc__context *torc__switch(struct torc__context *from,
						      const struct torc__context *to)
{
	__asm__ volatile("" : : "r"(__builtin_frame_address(0)));
	register struct torc__context *x0 __asm__("x0") = from;
	register const struct torc__context *x1 __asm__("x1") = to;

	__asm__ volatile("adr	x9, 1f\n\t"
			 "mov	x10, sp\n\t"
			 "stp	x10, x29, [x0]\n\t"
			 "str	x9, [x0, #16]\n\t"
			 "ldr	x16, [x1, #16]\n\t"
			 "ldp	x10, x29, [x1]\n\t"
			 "mov	sp, x10\n\t"
			 "br	x16\n"
			 "1:	hint	#36\n" /* bti j */
			 : "+r"(x0), "+r"(x1)
			 :
			 : "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12",
			   "x13", "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22",
			   "x23", "x24", "x25", "x26", "x27", "x28", "x30", "cc", "memory", "v0",
			   "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11",
			   "v12", "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21",
			   "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30",
			   "v31" TORC__CLOBBER_SVE);
	return x1;
}

#else
#error "torc switches stacks on x86-64 and AArch64 only"
#endif

#endif
