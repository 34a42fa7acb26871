/*
 * micro_memory.c - what a fiber that only waits holds, and what a stack costs that was never used.
 */
#include "bench/micro.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include <torc/core/group.h>

#define MEMORY_REPEATS 3 /* a million fibers take seconds */

struct herd {
	unsigned fibers;
	double bytes, spawn_ns; /* per fiber, results */
};

/* Resident pages and the page tables behind them, in bytes; 0 when /proc does not say. */
static uint64_t resident_bytes(void)
{
	uint64_t pages = 0, table_kib = 0;
	char line[256];
	FILE *f = fopen("/proc/self/statm", "re");

	if (f) {
		if (fscanf(f, "%*u %" SCNu64, &pages) != 1)
			pages = 0;
		fclose(f);
	}
	f = fopen("/proc/self/status", "re");
	if (f) {
		while (fgets(line, sizeof(line), f))
			if (sscanf(line, "VmPTE: %" SCNu64, &table_kib) == 1)
				break;
		fclose(f);
	}
	return pages * (uint64_t)sysconf(_SC_PAGESIZE) + table_kib * 1024;
}

static int sleeper(void *arg)
{
	(void)arg;
	return torc_sleep(TORC_NEVER);
}

static int herd_fiber(void *arg)
{
	struct herd *h = arg;
	uint64_t before = resident_bytes();
	struct torc_group g;
	double start = micro_now_ns();
	int r = 0, failure;

	torc_group_enter(&g);
	for (unsigned i = 0; i < h->fibers && !r; i++)
		r = torc_group_spawn(&g, sleeper, NULL);
	torc_yield(); /* all of them are parked after this */
	h->spawn_ns = (micro_now_ns() - start) / h->fibers;
	h->bytes = (double)(resident_bytes() - before) / h->fibers;
	torc_group_cancel(&g);
	failure = torc_group_wait(&g);
	return r < 0 ? r : failure;
}

/* Each time a new runtime: it unmapped all its stacks when it ended. */
static int measure(struct herd *h)
{
	double bytes[MEMORY_REPEATS], spawn_ns[MEMORY_REPEATS];

	for (unsigned i = 0; i < MEMORY_REPEATS; i++) {
		int r = torc_run(&(struct torc_options){ .loops = 1, .no_signals = true },
				 herd_fiber, h);

		if (r < 0)
			return r;
		bytes[i] = h->bytes;
		spawn_ns[i] = h->spawn_ns;
	}
	h->bytes = micro_median_of(bytes, MEMORY_REPEATS);
	h->spawn_ns = micro_median_of(spawn_ns, MEMORY_REPEATS);
	return 0;
}

static int run(void)
{
	struct herd some = { .fibers = 100000 }, many = { .fibers = 1000000 };
	int r = measure(&some);

	if (r < 0)
		return r;
	micro_report("per parked fiber, 100000", some.bytes, "bytes", 5000);
	micro_report("spawn cold and park, 100000", some.spawn_ns, "ns", MICRO_NO_TARGET);
	r = measure(&many);
	if (r < 0)
		return r;
	micro_report("per parked fiber, 1000000", many.bytes, "bytes", 5000);
	micro_report("spawn cold and park, 1000000", many.spawn_ns, "ns", MICRO_NO_TARGET);
	return 0;
}

const struct micro micro_memory = { "memory",
				    "resident bytes of a parked fiber, page tables included", run };
