/*
 * Fiber-local values that many fibers of several loops share, replace and let go of at the same time. Exits 0
 * when each value was destroyed once and nobody saw one that was; the sanitizers see the rest.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <torc/torc.h>

#include "tests/support/random.h"

#define LOOPS  4
#define ROUNDS 50
#define WIDTH  8
#define KEYS   3

static atomic_long made, destroyed, failures;

struct value {
	unsigned key;
	long number; /* 0 once it is destroyed */
};

static void destroy(void *arg)
{
	struct value *v = arg;

	if (!v->number)
		atomic_fetch_add(&failures, 1);
	v->number = 0;
	atomic_fetch_add(&destroyed, 1);
	free(v);
}

static const struct torc_local keys[KEYS] = {
	{ .destroy = destroy },
	{ .destroy = destroy },
	{ .destroy = destroy, .not_inherited = true },
};

static int set(unsigned key)
{
	struct value *v = malloc(sizeof(*v));

	if (!v)
		return -ENOMEM;
	*v = (struct value){ .key = key, .number = 1 + atomic_fetch_add(&made, 1) };
	return torc_local_set(&keys[key], v);
}

static void look(void)
{
	for (unsigned key = 0; key < KEYS; key++) {
		const struct value *v = torc_local_get(&keys[key]);

		if (v && (v->key != key || !v->number))
			atomic_fetch_add(&failures, 1);
	}
}

/* All leaves of all loops wake at the same moment, and end with the values that they share. */
static int leaf(void *arg)
{
	uint64_t seed = (uintptr_t)arg;
	unsigned key = next_random(&seed) % KEYS;
	int r = 0;

	look();
	torc_sleep_until((torc_now_ns() / 200000 + 1) * 200000);
	look();
	if (next_random(&seed) % 4 == 0)
		r = torc_local_unset(&keys[key]);
	else if (next_random(&seed) % 4 == 0)
		r = set(key);
	look();
	return r;
}

static int branch(void *arg)
{
	uint64_t seed = (uintptr_t)arg;
	struct torc_group g;
	int r = 0;

	torc_group_enter(&g);
	for (int i = 0; i < WIDTH && !r; i++) {
		struct torc_spawn_options o = { .loop = TORC_ON_LOOP(
							(int)(next_random(&seed) % LOOPS)) };

		if (next_random(&seed) % 4 == 0)
			r = set(next_random(&seed) % KEYS);
		if (!r)
			r = torc_group_spawn_with(&g, &o, leaf,
						  (void *)(uintptr_t)next_random(&seed));
	}
	if (next_random(&seed) % 8 == 0)
		torc_group_cancel(&g);
	look();
	return torc_group_wait(&g) < 0 || r < 0 ? -EIO : 0;
}

static int app(void *arg)
{
	struct torc_scope s;
	int r = 0;

	(void)arg;
	torc_scope_enter(&s, TORC_SECONDS(100));
	for (unsigned round = 0; round < ROUNDS && !r; round++) {
		struct torc_group g;

		r = set(round % KEYS);
		torc_group_enter(&g);
		for (int i = 0; i < LOOPS && !r; i++) {
			struct torc_spawn_options o = { .loop = TORC_ON_LOOP(i) };

			r = torc_group_spawn_with(&g, &o, branch,
						  (void *)(uintptr_t)(round * 31u + (unsigned)i));
		}
		if (torc_group_wait(&g) < 0)
			r = -EIO;
	}
	return torc_scope_leave(&s) < 0 ? -ETIMEDOUT : r;
}

int main(void)
{
	int r = torc_run(&(struct torc_options){ .loops = LOOPS, .no_pin = true }, app, NULL);

	printf("result %d, %ld values made, %ld destroyed, %ld failures\n", r, (long)made,
	       (long)destroyed, (long)failures);
	return r || made != destroyed || failures;
}
