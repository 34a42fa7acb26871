/*
 * core/sim/threads.c - the threads of core/internal/thread.h that are no loops, as coroutines.
 *
 * One runs until it sleeps, ends, or comes to a point where another could run; loops.c decides who runs next.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <torc/core/gen.h>

#include "core/internal/thread.h"
#include "core/sim/sim.h"

struct torc__sim_thread {
	struct torc__sim_thread *next;
	struct torc__thread *thread;
	struct torc_gen *coroutine;
	const uint32_t *word; /* that it sleeps on; NULL: it does not */
	uint64_t until_ns;
};

/* In the order of their start: which one it is must not depend on an address. */
static struct torc__sim_thread *threads;
static struct torc__sim_thread *active;

static int body(struct torc_gen *gen, void *arg)
{
	struct torc__sim_thread *t = arg;

	(void)gen;
	t->thread->run(t->thread);
	return 0;
}

int torc__sim_thread_start(struct torc__thread *thread)
{
	const struct torc_gen_options o = { .stack_bytes = TORC__THREAD_STACK_SIM,
					    .name = "thread" };
	struct torc__sim_thread *t, **link = &threads;

	if (torc__sim_chaos(TORC_SIM_MEMORY))
		return -EAGAIN;
	t = torc__sim_alloc(sizeof(*t));
	*t = (struct torc__sim_thread){ .thread = thread };
	if (torc_gen_create(body, t, &o, &t->coroutine) < 0)
		torc__sim_fail("no memory", NULL);
	while (*link)
		link = &(*link)->next;
	*link = t;
	return 0;
}

/* In its coroutine. */
static void give_way(struct torc__sim_thread *t)
{
	if (torc_gen_yield(t->coroutine, NULL, NULL))
		torc__sim_fail("a thread was not ended", NULL);
}

void torc__sim_futex_wait(uint32_t *word, uint32_t expected, uint64_t deadline_ns)
{
	struct torc__sim_thread *t = active;

	if (!t)
		torc__sim_fail("a loop sleeps where only other threads may", NULL);
	if (__atomic_load_n(word, __ATOMIC_ACQUIRE) != expected)
		return;
	t->word = word;
	t->until_ns = deadline_ns;
	give_way(t);
	t->word = NULL;
}

void torc__sim_futex_wake(const uint32_t *word, unsigned count)
{
	for (struct torc__sim_thread *t = threads; t && count; t = t->next)
		if (t->word == word) {
			t->word = NULL;
			count--;
		}
}

void torc__sim_thread_point(void)
{
	if (active && torc__sim_pick(2))
		give_way(active);
}

static bool can_run(const struct torc__sim_thread *t)
{
	return !t->word || torc__sim->now_ns >= t->until_ns;
}

size_t torc__sim_threads_able(void)
{
	size_t count = 0;

	for (const struct torc__sim_thread *t = threads; t; t = t->next)
		count += can_run(t);
	return count;
}

static void end(struct torc__sim_thread *t)
{
	struct torc__sim_thread **link = &threads;

	while (*link != t)
		link = &(*link)->next;
	*link = t->next;
	torc_gen_destroy(t->coroutine);
	free(t);
}

void torc__sim_thread_resume(size_t index)
{
	struct torc__sim_thread *t = threads;

	for (; !can_run(t) || index--; t = t->next)
		continue;
	active = t;
	torc__thread_current = t->thread;
	torc__sim_count();
	torc__sim->now_ns += 100; /* or threads that wait for each other would do so in no time */
	if (torc_gen_next(t->coroutine, NULL) == 0)
		end(t);
	torc__thread_current = NULL;
	active = NULL;
}

bool torc__sim_threads_ended(void)
{
	return !threads;
}

uint64_t torc__sim_threads_next(void)
{
	uint64_t at = TORC_NEVER;

	for (const struct torc__sim_thread *t = threads; t; t = t->next)
		if (t->word && t->until_ns < at)
			at = t->until_ns;
	return at;
}
