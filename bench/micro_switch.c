/*
 * micro_switch.c - the bare switch, with no scheduler around it.
 */
#include "bench/micro.h"

#include "core/internal/switch.h"

#define ROUNDS 5000000

static struct torc__context here, there;
static char stack[16384] __attribute__((aligned(16)));

static _Noreturn void partner(void)
{
	for (;;)
		torc__switch(&there, &here);
}

static double measure(void *arg)
{
	double start = micro_now_ns();

	(void)arg;
	for (unsigned i = 0; i < ROUNDS; i++)
		torc__switch(&here, &there);
	return (micro_now_ns() - start) / (2.0 * ROUNDS);
}

static int run(void)
{
	there.sp = stack + sizeof(stack);
#if defined(__x86_64__)
	there.sp = (char *)there.sp - 8; /* where a call would have pushed its return address */
#endif
	there.pc = (void *)(uintptr_t)partner;
	micro_report("one way, bare contexts", micro_median(measure, NULL), "ns", 1.5);
	return 0;
}

const struct micro micro_switch = { "switch",
				    "one switch between two stacks, without the scheduler", run };
