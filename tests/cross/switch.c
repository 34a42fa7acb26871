/*
 * The switch on a foreign architecture, run under emulation: no loop, no ring, two contexts.
 */
#include <stdio.h>
#include <stdint.h>

#include "core/internal/switch.h"

#define ROUNDS 1000

static struct torc__context thread, fiber;
static char stack[65536] __attribute__((aligned(16)));
static int failures;
/* volatile: gcc takes a static whose address nobody has for untouched by a call that switches */
static volatile unsigned long seen;

static void check(int ok, const char *what)
{
	if (ok)
		return;
	failures++;
	printf("failed: %s\n", what);
}

/* Many live values of both kinds: the compiler has to keep them over the switch, on both sides. */
static __attribute__((noinline)) double busy(struct torc__context *self,
					     struct torc__context *other, unsigned long a, double x)
{
	unsigned long b = a * 3, c = a ^ 0x5555, d = a + 7, e = ~a, f = a << 3, g = a - 1,
		      h = a | 1;
	double y = x * 2, z = x + 1, w = x - 3, v = x / 7;

	torc__switch(self, other);
	check(b == a * 3 && c == (a ^ 0x5555) && d == a + 7 && e == ~a && f == a << 3 &&
		      g == a - 1 && h == (a | 1),
	      "integers survive a switch");
	check(y == x * 2 && z == x + 1 && w == x - 3, "floating point survives a switch");
	return v;
}

/* --- callee-saved registers, each by its name, over a call that switches --- */

static struct torc__context *switch_from, *switch_to;

static __attribute__((noinline, used)) void switch_now(void)
{
	torc__switch(switch_from, switch_to);
}

#if defined(__aarch64__)
/*
 * registers_call(seed, out): fills x19 .. x28 and d8 .. d15 with seed, seed + 1 ..., calls switch_now, and stores
 * what they are then.
 */
__asm__(".text\n"
	".type	registers_call, %function\n"
	"registers_call:\n\t"
	"stp	x29, x30, [sp, #-176]!\n\tmov	x29, sp\n\t"
	"stp	x19, x20, [sp, #16]\n\tstp	x21, x22, [sp, #32]\n\t"
	"stp	x23, x24, [sp, #48]\n\tstp	x25, x26, [sp, #64]\n\t"
	"stp	x27, x28, [sp, #80]\n\tstp	d8, d9, [sp, #96]\n\t"
	"stp	d10, d11, [sp, #112]\n\tstp	d12, d13, [sp, #128]\n\t"
	"stp	d14, d15, [sp, #144]\n\tstr	x1, [sp, #160]\n\t"
	"mov	x19, x0\n\tadd	x20, x0, #1\n\tadd	x21, x0, #2\n\tadd	x22, x0, #3\n\t"
	"add	x23, x0, #4\n\tadd	x24, x0, #5\n\tadd	x25, x0, #6\n\tadd	x26, x0, #7\n\t"
	"add	x27, x0, #8\n\tadd	x28, x0, #9\n\t"
	"add	x9, x0, #10\n\tfmov	d8, x9\n\tadd	x9, x0, #11\n\tfmov	d9, x9\n\t"
	"add	x9, x0, #12\n\tfmov	d10, x9\n\tadd	x9, x0, #13\n\tfmov	d11, x9\n\t"
	"add	x9, x0, #14\n\tfmov	d12, x9\n\tadd	x9, x0, #15\n\tfmov	d13, x9\n\t"
	"add	x9, x0, #16\n\tfmov	d14, x9\n\tadd	x9, x0, #17\n\tfmov	d15, x9\n\t"
	"bl	switch_now\n\t"
	"ldr	x1, [sp, #160]\n\t"
	"stp	x19, x20, [x1]\n\tstp	x21, x22, [x1, #16]\n\tstp	x23, x24, [x1, #32]\n\t"
	"stp	x25, x26, [x1, #48]\n\tstp	x27, x28, [x1, #64]\n\tstp	d8, d9, [x1, #80]\n\t"
	"stp	d10, d11, [x1, #96]\n\tstp	d12, d13, [x1, #112]\n\t"
	"stp	d14, d15, [x1, #128]\n\t"
	"ldp	x19, x20, [sp, #16]\n\tldp	x21, x22, [sp, #32]\n\t"
	"ldp	x23, x24, [sp, #48]\n\tldp	x25, x26, [sp, #64]\n\t"
	"ldp	x27, x28, [sp, #80]\n\tldp	d8, d9, [sp, #96]\n\t"
	"ldp	d10, d11, [sp, #112]\n\tldp	d12, d13, [sp, #128]\n\t"
	"ldp	d14, d15, [sp, #144]\n\tldp	x29, x30, [sp], #176\n\t"
	"ret\n"
	".size	registers_call, .-registers_call\n");
void registers_call(uint64_t seed, uint64_t out[18]);

static void registers(uint64_t seed)
{
	uint64_t out[18];

	registers_call(seed, out);
	for (unsigned i = 0; i < 18; i++)
		check(out[i] == seed + i, i < 10 ? "x19 .. x28 survive" : "d8 .. d15 survive");
}
#else
static void registers(uint64_t seed)
{
	(void)seed; /* tests/core/switch.c does this on x86-64 */
	switch_now();
}
#endif

/* --- a ring of contexts: each passes on to the next, the last to the thread --- */

#define RING 5

static struct torc__context ring[RING];
static char stacks[RING][65536] __attribute__((aligned(16)));

static _Noreturn void pass_on(struct torc__context *self)
{
	long i = self - ring;

	for (unsigned long round = 0;; round++) {
		seen++;
		switch_from = self;
		switch_to = i + 1 < RING ? &ring[i + 1] : &thread;
		registers(round * RING + (unsigned long)i + 7);
	}
}

static void around(void)
{
	seen = 0;
	for (int i = 0; i < RING; i++)
		torc__context_init(&ring[i], stacks[i] + sizeof(stacks[i]), torc__switch_entry);
	for (unsigned long i = 0; i < ROUNDS; i++) {
		switch_from = &thread;
		switch_to = &ring[0];
		registers(i);
	}
	check(seen == (unsigned long)RING * ROUNDS, "each of the ring ran once per round");
}

static __attribute__((noinline)) double third(void)
{
	volatile double one = 1, three = 3;

	return one / three;
}

static void control_words(void)
{
	struct torc__fpenv normal, up, saved;
	double nearest = third(), rounded;

	torc__fpenv_save(&normal);
	up = normal;
#if defined(__aarch64__)
	up.fpcr |= (uint64_t)1 << 22; /* upward */
#else
	up.mxcsr |= 2u << 13;
	up.x87 |= 2 << 10;
#endif
	torc__fpenv_load(&up);
	rounded = third();
	torc__fpenv_save(&saved);
	torc__fpenv_load(&normal);
	check(rounded > nearest && third() == nearest, "control words take effect");
#if defined(__aarch64__)
	check(saved.fpcr == up.fpcr, "FPCR is saved");
#else
	check(saved.x87 == up.x87 && !((saved.mxcsr ^ up.mxcsr) & ~0x3fu), "both are saved");
#endif
}

void torc__gen_begin(void *g);
void torc__gen_end(void *g, int result);

void torc__gen_begin(void *g)
{
	check(!g, "no generator begins here");
}

void torc__gen_end(void *g, int result)
{
	check(!g && !result, "no generator ends here");
}

void torc__fiber_main(struct torc__context *context);

void torc__fiber_main(struct torc__context *context)
{
	if (context >= ring && context < ring + RING)
		pass_on(context);
	check(context == &fiber, "the context is the argument");
	check(((uintptr_t)__builtin_frame_address(0) & 15) == 0,
	      "the stack is aligned to 16 bytes");
	for (unsigned long i = 0;; i++) {
		seen++;
		check(busy(&fiber, &thread, i * 11, (double)i * 1.5) == (double)i * 1.5 / 7,
		      "result");
	}
}

int main(void)
{
	torc__context_init(&fiber, stack + sizeof(stack), torc__switch_entry);
	for (unsigned long i = 0; i < ROUNDS; i++)
		check(busy(&thread, &fiber, i * 13, (double)i * 2.5) == (double)i * 2.5 / 7,
		      "result");
	check(seen == ROUNDS, "the fiber ran once per switch");
	around();
	control_words();
	return failures != 0;
}
