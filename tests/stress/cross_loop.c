/*
 * Fibers that spawn, fail, are cancelled and run out of time across loops, all at once. Exits 0 when
 * every one was accounted for; the sanitizers see the rest.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>

#include <torc/torc.h>

#include "tests/support/random.h"

#define LOOPS  4
#define ROUNDS 200
#define WIDTH  8

static atomic_long started, ended;

static int leaf(void *arg)
{
	unsigned kind = (unsigned)(uintptr_t)arg % 4;
	int r = 0;

	atomic_fetch_add(&started, 1);
	if (kind == 0)
		r = torc_sleep(TORC_NEVER);
	else if (kind == 1)
		r = torc_sleep(1000 * ((uintptr_t)arg % 97));
	else if (kind == 2)
		r = torc_yield();
	atomic_fetch_add(&ended, 1);
	return kind == 3 && (uintptr_t)arg % 5 == 0 ? -EIO : r;
}

static int branch(void *arg)
{
	uint64_t seed = (uintptr_t)arg;
	struct torc_group g;
	struct torc_scope s;
	int r = 0;

	atomic_fetch_add(&started, 1);
	torc_scope_enter(&s, 1000 * (next_random(&seed) % 500));
	torc_group_enter(&g);
	for (int i = 0; i < WIDTH && !r; i++) {
		struct torc_spawn_options o = { .loop = TORC_ON_LOOP(
							(int)(next_random(&seed) % LOOPS)) };

		r = torc_group_spawn_with(&g, &o, leaf, (void *)(uintptr_t)next_random(&seed));
	}
	if (next_random(&seed) % 3 == 0)
		torc_yield();
	if (next_random(&seed) % 3 == 0)
		torc_group_cancel(&g);
	torc_group_wait(&g);
	torc_scope_leave(&s);
	atomic_fetch_add(&ended, 1);
	return 0;
}

static int app(void *arg)
{
	(void)arg;
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct torc_group g;
		struct torc_scope s;
		int r = 0;

		torc_scope_enter(&s, TORC_SECONDS(20));
		torc_group_enter_supervisor(&g);
		for (int i = 0; i < WIDTH && !r; i++) {
			struct torc_spawn_options o = { .loop = TORC_ON_LOOP(i % LOOPS) };

			r = torc_group_spawn_with(&g, &o, branch,
						  (void *)(uintptr_t)(round * 31u + (unsigned)i));
		}
		if (round % 7 == 0)
			torc_group_cancel(&g);
		torc_group_wait(&g);
		if (torc_scope_leave(&s) || r < 0)
			return -EIO;
		if (atomic_load(&started) != atomic_load(&ended))
			return -EPROTO;
	}
	return 0;
}

int main(void)
{
	int r = torc_run(&(struct torc_options){ .loops = LOOPS, .no_pin = true }, app, NULL);

	printf("result %d, %ld fibers started, %ld ended\n", r, (long)started, (long)ended);
	return r != 0;
}
