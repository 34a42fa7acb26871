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
static unsigned long seen;

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

void torc__fiber_main(struct torc__context *context);

void torc__fiber_main(struct torc__context *context)
{
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
	torc__context_init(&fiber, stack + sizeof(stack));
	for (unsigned long i = 0; i < ROUNDS; i++)
		check(busy(&thread, &fiber, i * 13, (double)i * 2.5) == (double)i * 2.5 / 7,
		      "result");
	check(seen == ROUNDS, "the fiber ran once per switch");
	return failures != 0;
}
