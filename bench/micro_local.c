/*
 * micro_local.c - fiber-local values: looked up, set, and inherited by a fiber that is spawned.
 */
#include "bench/micro.h"

#include <errno.h>

#include <torc/core/group.h>
#include <torc/core/local.h>

#define GETS   2000000
#define SPAWNS 200000
#define KEYS   8

struct locals {
	const struct torc_local *key;
	int error;
};

static struct torc_local keys[KEYS], own = { .not_inherited = true };
static int values[2];

static void ignore(void *value)
{
	(void)value;
}

static double measure_get(void *arg)
{
	struct locals *l = arg;
	double start = micro_now_ns();

	for (unsigned i = 0; i < GETS; i++)
		l->error |= torc_local_get(l->key) == NULL;
	return (micro_now_ns() - start) / GETS;
}

static double measure_set(void *arg)
{
	struct locals *l = arg;
	double start = micro_now_ns();

	for (unsigned i = 0; i < GETS; i++)
		l->error |= torc_local_set(l->key, &values[i & 1]);
	return (micro_now_ns() - start) / GETS;
}

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

static double measure_spawn(void *arg)
{
	struct locals *l = arg;
	double start = micro_now_ns();

	for (unsigned i = 0; i < SPAWNS; i++) {
		struct torc_group g;

		torc_group_enter(&g);
		l->error |= torc_group_spawn(&g, nothing, NULL);
		l->error |= torc_group_wait(&g);
	}
	return (micro_now_ns() - start) / SPAWNS;
}

static int local_fiber(void *arg)
{
	static struct torc_local destroyed = TORC_LOCAL(ignore);
	struct locals l = { .key = &own };

	(void)arg;
	micro_report("spawn and wait without values", micro_median(measure_spawn, &l), "ns",
		     MICRO_NO_TARGET);
	for (int i = 0; i < KEYS; i++)
		l.error |= torc_local_set(&keys[i], &values[0]);
	l.error |= torc_local_set(&own, &values[0]);
	micro_report("spawn and wait, 8 values inherited", micro_median(measure_spawn, &l), "ns",
		     MICRO_NO_TARGET);
	micro_report("get, not inherited", micro_median(measure_get, &l), "ns", MICRO_NO_TARGET);
	l.key = &keys[0];
	micro_report("get, the first of 8", micro_median(measure_get, &l), "ns", MICRO_NO_TARGET);
	l.key = &keys[KEYS - 1];
	micro_report("get, the last of 8", micro_median(measure_get, &l), "ns", MICRO_NO_TARGET);
	micro_report("set", micro_median(measure_set, &l), "ns", MICRO_NO_TARGET);
	l.key = &destroyed;
	micro_report("set, with a destructor", micro_median(measure_set, &l), "ns",
		     MICRO_NO_TARGET);
	return l.error ? -EIO : 0;
}

static int run(void)
{
	return micro_in_fiber(local_fiber);
}

const struct micro micro_local = { "local", "fiber-local values: get, set, inherit", run };
