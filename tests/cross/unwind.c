/*
 * The backtrace of a context that is not running, on a foreign architecture; tests/core/unwind.c runs it on this one.
 */
#include <stdint.h>
#include <stdio.h>

#include "core/internal/unwind.h"

#ifndef NATIVE
#include "core/unwind.c"
#endif

static struct torc__context thread, fiber;
static char stack[65536] __attribute__((aligned(16)));
static const void *volatile returns[2]; /* where inner and outer go on */
static int failures;

static void check(int ok, const char *what)
{
	if (ok)
		return;
	failures++;
	printf("failed: %s\n", what);
}

static __attribute__((noinline)) int inner(int x)
{
	volatile char frame[100];

	frame[0] = (char)x;
	returns[0] = __builtin_return_address(0);
	torc__switch(&fiber, &thread);
	return frame[0];
}

/* As programs are built without frame pointers. */
#if !defined(__clang__)
__attribute__((optimize("omit-frame-pointer")))
#endif
static __attribute__((noinline)) int
outer(int x)
{
	volatile char frame[333];

	frame[1] = (char)x;
	returns[1] = __builtin_return_address(0);
	return inner(x) + frame[1];
}

void torc__fiber_main(struct torc__context *context);

void torc__fiber_main(struct torc__context *context)
{
	check(context == &fiber && outer(3) == 6, "the fiber goes on after it was looked at");
	for (;;)
		torc__switch(&fiber, &thread);
}

/* The entry of generators is in the same file as that of fibers. */
void torc__gen_begin(void *g);
void torc__gen_end(void *g, int result);

void torc__gen_begin(void *g)
{
	(void)g;
}

void torc__gen_end(void *g, int result)
{
	(void)g, (void)result;
}

static int near(const void *address, const void *returns_to)
{
	return (const char *)address == (const char *)returns_to - 1;
}

static void parked(void)
{
	const void *a[TORC__FRAMES_MOST];
	const char *entry = (const char *)(uintptr_t)torc__switch_entry;
	int n = torc__unwind_context(&fiber, a, TORC__FRAMES_MOST);

	check(n == 4, "inner, outer, torc__fiber_main, torc__switch_entry");
	check(a[0] == fiber.pc, "the first is where it switched away");
	check(near(a[1], returns[0]) && near(a[2], returns[1]), "then who called");
	check((const char *)a[n - 1] > entry && (const char *)a[n - 1] < entry + 64,
	      "the last is where fibers begin");
	check(torc__unwind_context(&fiber, a, 2) == 2, "not more than asked for");
}

int main(void)
{
	const void *a[TORC__FRAMES_MOST];
	struct torc__context here;

	torc__context_init(&fiber, stack + sizeof(stack), torc__switch_entry);
	check(torc__unwind_context(&fiber, a, TORC__FRAMES_MOST) == 1 && a[0] == fiber.pc,
	      "one that has never run is at its first instruction");
	torc__switch(&thread, &fiber);
	parked();
	torc__switch(&thread, &fiber);
	torc__context_here(&here);
	check(torc__unwind_context(&here, a, TORC__FRAMES_MOST) > 0 && a[0] == here.pc,
	      "the running one, from where it was noted");
	return failures != 0;
}
