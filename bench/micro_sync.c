/*
 * micro_sync.c - locks on one loop.
 */
#include "bench/micro.h"

#include <errno.h>
#include <torc/core/group.h>
#include <torc/core/sync.h>

#define ROUNDS 2000000

static double measure_uncontended(void *arg)
{
	static struct torc_mutex m;
	int *error = arg;
	double start = micro_now_ns();

	for (unsigned i = 0; i < ROUNDS; i++) {
		*error |= torc_mutex_lock(&m);
		torc_mutex_unlock(&m);
	}
	return (micro_now_ns() - start) / ROUNDS;
}

struct contention {
	struct torc_mutex mutex;
	int error;
};

/* Somebody always waits: each unlock hands over. */
static int contend(void *arg)
{
	struct contention *c = arg;

	for (unsigned i = 0; i < ROUNDS / 2 && !c->error; i++) {
		c->error |= torc_mutex_lock(&c->mutex);
		c->error |= torc_yield();
		torc_mutex_unlock(&c->mutex);
	}
	return 0;
}

static double measure_contended(void *arg)
{
	struct contention *c = arg;
	struct torc_group g;
	double start = micro_now_ns();

	torc_group_enter(&g);
	c->error |= torc_group_spawn(&g, contend, c);
	c->error |= torc_group_spawn(&g, contend, c);
	c->error |= torc_group_wait(&g);
	return (micro_now_ns() - start) / ROUNDS;
}

static int mutex_fiber(void *arg)
{
	struct contention c = { .error = 0 };
	int error = 0;

	(void)arg;
	micro_report("lock and unlock", micro_median(measure_uncontended, &error), "ns", 15);
	micro_report("contended, 2 fibers", micro_median(measure_contended, &c), "ns",
		     MICRO_NO_TARGET);
	return error | c.error ? -EIO : 0;
}

static int run(void)
{
	return micro_in_fiber(mutex_fiber);
}

const struct micro micro_mutex = { "mutex", "a mutex, locked and unlocked", run };
