/*
 * Four loops, and a thread that is none, that look up few names, which are soon too old: joined, cancelled, cleared and evicted all
 * the time. Exits 0 when every answer is the name's own, and nothing is under way at the end.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <torc/core/timeout.h>

#include "io/internal/name.h"
#include "tests/stress/stress.h"

#define LOOPS  4
#define FIBERS 40
#define NAMES  60u
#define CALLS  20
#define BUDGET TORC_MS(1200) /* rounds begin until then */

static struct tally calls;
static atomic_uint lookups, inside;
static atomic_bool over;

/* "n-7" is 192.0.2.7; every tenth is missing. */
static int resolver(const char *name, int family, struct torc__ips *ret)
{
	unsigned number = (unsigned)atoi(name + 2);

	(void)family;
	check_le(atomic_fetch_add(&inside, 1), TORC_LOOKUPS_MAX - 1);
	atomic_fetch_add(&lookups, 1);
	memset(ret, 0, sizeof(*ret));
	ret->count = 1;
	ret->list[0].v4.sin_family = AF_INET;
	ret->list[0].v4.sin_addr.s_addr = htonl(0xc0000200 + number);
	atomic_fetch_sub(&inside, 1);
	return number % 10 ? 0 : -ENOENT;
}

static int look_up(uint64_t *seed)
{
	unsigned number = next_random(seed) % NAMES;
	struct torc_addresses all;
	char name[16];
	int r;

	snprintf(name, sizeof(name), "n-%u", number);
	r = torc_resolve(name, 80, NULL, &all);
	if (!r) {
		check(number % 10 != 0);
		check_eq(all.count, 1);
		check_eq(ntohl(all.list[0].v4.sin_addr.s_addr), 0xc0000200 + number);
	} else if (r == -ENOENT) {
		check_eq(number % 10, 0);
	}
	return r;
}

static int work(void *arg)
{
	uint64_t seed = (uintptr_t)arg;
	int r;

	for (int i = 0; i < CALLS; i++) {
		torc_within(next_random(&seed) % 3 ? TORC_NEVER : next_random(&seed) % 30000) r =
			look_up(&seed);
		check(r == 0 || r == -ENOENT || r == -ECANCELED || r == -ETIMEDOUT);
		if (next_random(&seed) % 50 == 0)
			torc_name_cache_clear();
		(void)tally(&calls, r == -ENOENT ? 0 : r);
	}
	return 0;
}

/* The calling thread sleeps meanwhile. */
static void *work_outside(void *arg)
{
	uint64_t seed = 77;

	(void)arg;
	while (!over)
		check(look_up(&seed) <= 0);
	return NULL;
}

static void run_round(uintptr_t round)
{
	struct torc_group g;

	torc_group_enter_supervisor(&g);
	for (uintptr_t i = 0; i < FIBERS; i++) {
		const struct torc_spawn_options o = { .loop = TORC_ON_LOOP(
							      (int)((i + round) % LOOPS)) };

		check_eq(torc_group_spawn_with(&g, &o, work, (void *)(round * 100 + i)), 0);
	}
	if (round % 4 == 3) {
		check_eq(torc_sleep(TORC_MS(1)), 0);
		torc_group_cancel(&g);
	}
	(void)torc_group_wait(&g);
}

static int app(void *arg)
{
	const struct torc_name_cache_options small = { .names_max = 20,
						       .found_ns = 50000,
						       .missing_ns = 20000 };
	uint64_t until = torc_now_ns() + BUDGET;
	struct torc__name_counts c;
	uintptr_t round = 0;
	pthread_t outside;

	(void)arg;
	over = false;
	torc__resolver = resolver;
	check_eq(torc_name_cache_configure(&small), 0);
	check_eq(pthread_create(&outside, NULL, work_outside, NULL), 0);
	for (; torc_now_ns() < until; round++)
		run_round(round);
	over = true;
	check_eq(pthread_join(outside, NULL), 0);
	torc__name_counts(&c);
	check_eq(c.waiting, 0);
	check_le(c.kept, 20);
	check(lookups > 0);
	return (int)round;
}

int main(void)
{
	return run_rounds(LOOPS, app, &calls, "lookups");
}
