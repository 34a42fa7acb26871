/*
 * Generators and threads: each thread with its own, generators that are made in one thread, go on in others and are
 * destroyed in yet another, and generators in fibers that suspend in the middle of a body, on two loops.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <torc/torc.h>

/* TSan needs a millisecond for each new stack. */
#if defined(__SANITIZE_THREAD__)
#define ROUNDS 30
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define ROUNDS 30
#endif
#endif
#ifndef ROUNDS
#define ROUNDS 300
#endif

#define THREADS 4
#define TRAVEL  12 /* threads that a generator comes to */
#define FIBERS  20

static atomic_int failures;

static void expect(bool ok, const char *what)
{
	if (!ok && !atomic_fetch_add(&failures, 1))
		printf("failed: %s\n", what);
}

#define ARG(value) ((void *)(intptr_t)(value))

static int count(struct torc_gen *g, void *arg)
{
	int r = 0;

	for (intptr_t i = 0; i < (intptr_t)arg && !r; i++)
		r = torc_gen_yield(g, ARG(i), NULL);
	return r;
}

static int count_through(struct torc_gen *g, void *arg)
{
	struct torc_gen *inner;
	int r = torc_gen_create(count, arg, NULL, &inner);

	if (r < 0)
		return r;
	r = torc_gen_yield_from(g, inner, NULL);
	torc_gen_destroy(inner);
	return r;
}

static struct torc_gen *make(torc_gen_fn *fn, void *arg)
{
	struct torc_gen *g;

	if (torc_gen_create(fn, arg, NULL, &g) < 0)
		exit(2);
	return g;
}

/* --- each with its own --- */

static void *use_own(void *arg)
{
	for (int round = 0; round < ROUNDS; round++) {
		struct torc_gen *gens[8];

		for (int i = 0; i < 8; i++)
			gens[i] = make(i % 2 ? count : count_through, ARG(5));
		for (intptr_t n = 0; n < 3; n++)
			for (int i = 0; i < 8; i++) {
				void *value = arg;

				expect(torc_gen_next(gens[i], &value) == 1 && value == ARG(n),
				       "each gets its own values");
			}
		for (int i = 0; i < 8; i++)
			torc_gen_destroy(gens[i]);
	}
	return NULL;
}

/* --- passed on: a box per thread --- */

struct box {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	struct torc_gen *gens[THREADS * 8];
	int count;
};

static struct box boxes[THREADS];
static atomic_int travelling;

static void put(struct box *b, struct torc_gen *g)
{
	pthread_mutex_lock(&b->lock);
	b->gens[b->count++] = g;
	pthread_cond_signal(&b->filled);
	pthread_mutex_unlock(&b->lock);
}

/* Returns NULL when all have arrived. */
static struct torc_gen *get(struct box *b)
{
	struct torc_gen *g = NULL;

	pthread_mutex_lock(&b->lock);
	while (!b->count && atomic_load(&travelling))
		pthread_cond_wait(&b->filled, &b->lock);
	if (b->count)
		g = b->gens[--b->count];
	pthread_mutex_unlock(&b->lock);
	return g;
}

static void arrive(void)
{
	if (atomic_fetch_sub(&travelling, 1) > 1)
		return;
	for (int i = 0; i < THREADS; i++) {
		pthread_mutex_lock(&boxes[i].lock);
		pthread_cond_broadcast(&boxes[i].filled);
		pthread_mutex_unlock(&boxes[i].lock);
	}
}

static void *pass_on(void *arg)
{
	intptr_t me = (intptr_t)arg;
	struct torc_gen *g;

	while ((g = get(&boxes[me]))) {
		void *value = NULL;
		int r = torc_gen_next(g, &value);

		expect(r == 1, "a generator goes on in another thread");
		if ((intptr_t)value < TRAVEL) {
			put(&boxes[(me + 1 + (intptr_t)value % (THREADS - 1)) % THREADS], g);
		} else {
			torc_gen_destroy(g);
			arrive();
		}
	}
	return NULL;
}

static void run_threads(void *(*fn)(void *arg))
{
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, fn, ARG(i)))
			exit(77);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void travel(void)
{
	for (int i = 0; i < THREADS; i++) {
		pthread_mutex_init(&boxes[i].lock, NULL);
		pthread_cond_init(&boxes[i].filled, NULL);
	}
	for (int round = 0; round < ROUNDS / 10; round++) {
		atomic_store(&travelling, THREADS * 8);
		for (int i = 0; i < THREADS * 8; i++)
			put(&boxes[i % THREADS], make(i % 2 ? count : count_through, ARG(100)));
		run_threads(pass_on);
	}
}

/* --- in fibers --- */

static int sleep_and_count(struct torc_gen *g, void *arg)
{
	int r = 0;

	for (intptr_t i = 0; i < (intptr_t)arg && !r; i++) {
		r = i % 2 ? torc_yield() : torc_sleep(1000);
		if (!r)
			r = torc_gen_yield(g, ARG(i), NULL);
	}
	return r;
}

static int nested(struct torc_gen *g, void *arg)
{
	struct torc_gen *inner = make(sleep_and_count, arg);
	int r = 0;

	torc_gen_each(value, inner) {
		r = torc_yield();
		if (!r)
			r = torc_gen_yield(g, value, NULL);
		if (r)
			break;
	}
	torc_gen_destroy(inner);
	return r;
}

static int take_half(void *arg)
{
	struct torc_gen *g = arg;

	for (int i = 0; i < 5; i++)
		expect(torc_gen_next(g, NULL) == 1, "a fiber takes values");
	return 0;
}

/* The first half is taken here, the second on the other loop. */
static int take_all(void *arg)
{
	struct torc_gen *g = make(arg ? nested : sleep_and_count, ARG(10));
	struct torc_spawn_options there = { .loop = TORC_ON_LOOP(!torc_loop_index()) };
	struct torc_group group;
	int r;

	take_half(g);
	torc_group_enter(&group);
	r = torc_group_spawn_with(&group, &there, take_half, g);
	if (!r)
		r = torc_group_wait(&group);
	expect(!r, "and another one on the other loop");
	expect(torc_gen_next(g, NULL) == 0, "then it has finished");
	torc_gen_destroy(g);
	return r;
}

static int in_fibers(void *arg)
{
	struct torc_group group;

	(void)arg;
	for (int round = 0; round < ROUNDS / 30; round++) {
		int r = 0;

		torc_group_enter(&group);
		for (int i = 0; i < FIBERS && !r; i++) {
			struct torc_spawn_options o = { .loop = TORC_ON_LOOP(i % 2) };

			r = torc_group_spawn_with(&group, &o, take_all, ARG(i / 2 % 2));
		}
		expect(!r && !torc_group_wait(&group), "all fibers end well");
	}
	return 0;
}

int main(void)
{
	run_threads(use_own);
	travel();
	if (torc_run(&(struct torc_options){ .loops = 2 }, in_fibers, NULL))
		expect(false, "torc_run");
	return atomic_load(&failures) != 0;
}
