/*
 * Four loops that send and receive through channels of every kind, with waits that are cancelled and run out of
 * time. What is sent is memory that its receiver frees: an item that is lost leaks, one that comes twice is freed
 * twice, one that comes too early is a race. Exits 0 when as many were received as were sent.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/stress/stress.h"

#define LOOPS  4
#define FIBERS 6 /* that send, and as many that receive */
#define ITEMS  60
#define BUDGET TORC_MS(1200) /* rounds begin until then */

struct item {
	uint64_t number, square;
	uint32_t from;
};

struct traffic {
	struct torc_chan chan;
	struct torc_latch sending;
	atomic_long sent, received, sum;
};

static struct traffic traffic;
static struct tally calls;

static bool done(int r)
{
	check(r >= 0 || r == -ECANCELED || r == -ETIMEDOUT || r == -EAGAIN || r == -EPIPE);
	return tally(&calls, r);
}

static uint64_t some_timeout(uint64_t *seed)
{
	return next_random(seed) % 3 ? TORC_NEVER : next_random(seed) % 60000;
}

static int send_one(struct item *item, uint64_t *seed)
{
	struct torc_scope scope;
	int r;

	if (next_random(seed) % 5 == 0)
		return torc_chan_try_send(&traffic.chan, &item);
	torc_scope_enter(&scope, some_timeout(seed));
	r = torc_chan_send(&traffic.chan, &item);
	torc_scope_leave(&scope);
	return r;
}

static int send_all(void *arg)
{
	uint64_t seed = (uintptr_t)arg;

	for (uint64_t i = 0; i < ITEMS; i++) {
		struct item *item = malloc(sizeof(*item));

		*item = (struct item){ .number = i, .square = i * i, .from = (uint32_t)seed % 97 };
		atomic_fetch_add(&traffic.sum, (long)i);
		if (done(send_one(item, &seed))) {
			atomic_fetch_add(&traffic.sent, 1);
			continue;
		}
		/* It is still ours, and as it was. */
		check_eq(item->square, i * i);
		atomic_fetch_sub(&traffic.sum, (long)i);
		free(item);
	}
	torc_latch_count_down(&traffic.sending);
	return 0;
}

static int receive_one(struct item **ret_item, uint64_t *seed)
{
	struct torc_scope scope;
	int r;

	if (next_random(seed) % 5 == 0) {
		(void)torc_yield();
		return torc_chan_try_recv(&traffic.chan, ret_item);
	}
	torc_scope_enter(&scope, some_timeout(seed));
	r = torc_chan_recv(&traffic.chan, ret_item);
	torc_scope_leave(&scope);
	return r;
}

static int receive_all(void *arg)
{
	uint64_t seed = (uintptr_t)arg;
	struct item *item = NULL;

	for (;;) {
		int r = receive_one(&item, &seed);

		if (!done(r)) {
			check(item == NULL);
			continue;
		}
		if (r == 0)
			return 0;
		check_eq(item->square, item->number * item->number);
		atomic_fetch_sub(&traffic.sum, (long)item->number);
		atomic_fetch_add(&traffic.received, 1);
		item->square = UINT64_MAX;
		free(item);
		item = NULL;
	}
}

static bool before(const void *a, const void *b, void *arg)
{
	(void)arg;
	return (*(struct item *const *)a)->number < (*(struct item *const *)b)->number;
}

static void start(uint64_t round)
{
	static const size_t capacities[] = { 0, 1, 3, 100 };
	struct torc_chan_options o = { .item_bytes = sizeof(struct item *),
				       .capacity = capacities[round % 4],
				       .before = before };

	if (o.capacity)
		o.order = (enum torc_chan_order)(round / 4 % 3);
	check_eq(torc_chan_init_with(&traffic.chan, &o), 0);
	torc_latch_init(&traffic.sending, FIBERS);
	traffic.sent = 0;
	traffic.received = 0;
	traffic.sum = 0;
}

/* --- questions and answers: each asker frees the channel that the answer has come through --- */

struct question {
	struct torc_chan answers;
	uint64_t number;
};

static struct torc_chan questions;

static int ask(void *arg)
{
	uint64_t seed = (uintptr_t)arg, answer;

	for (uint64_t i = 0; i < ITEMS; i++) {
		struct question *q = malloc(sizeof(*q));

		q->number = next_random(&seed);
		check_eq(torc_chan_init(&q->answers, sizeof(uint64_t), q->number % 2), 0);
		check_eq(torc_chan_send(&questions, &q), 0);
		if (q->number % 3 == 0)
			while (torc_chan_try_recv(&q->answers, &answer) == -EAGAIN)
				check_eq(torc_yield(), 0);
		else
			check_eq(torc_chan_recv(&q->answers, &answer), 1);
		check_eq(answer, q->number + 1);
		torc_chan_done(&q->answers);
		free(q);
	}
	torc_latch_count_down(&traffic.sending);
	return 0;
}

static int answer_all(void *arg)
{
	struct question *q;
	int r;

	(void)arg;
	while ((r = torc_chan_recv(&questions, &q)) > 0) {
		uint64_t answer = q->number + 1;

		check_eq(torc_chan_send(&q->answers, &answer), 0);
	}
	return r;
}

static void ask_and_answer(uintptr_t round)
{
	struct torc_group g;

	check_eq(torc_chan_init(&questions, sizeof(struct question *), round % 3), 0);
	torc_latch_init(&traffic.sending, FIBERS);
	torc_group_enter(&g);
	for (uintptr_t i = 0; i < 2 * FIBERS; i++) {
		struct torc_spawn_options o = { .loop = TORC_ON_LOOP((int)(i * 5 / 3 % LOOPS)) };

		check_eq(torc_group_spawn_with(&g, &o, i % 2 ? ask : answer_all,
					       (void *)(round + i)),
			 0);
	}
	check_eq(torc_latch_wait(&traffic.sending), 0);
	torc_chan_close(&questions);
	check_eq(torc_group_wait(&g), 0);
	torc_chan_done(&questions);
}

static int app(void *arg)
{
	uint64_t until = torc_now_ns() + BUDGET;
	uintptr_t round = 0;

	(void)arg;
	for (; torc_now_ns() < until; round++) {
		struct torc_group g;

		if (round % 4 == 3)
			ask_and_answer(round);

		start(round);
		torc_group_enter(&g);
		for (uintptr_t i = 0; i < 2 * FIBERS; i++) {
			struct torc_spawn_options o = { .loop = TORC_ON_LOOP(
								(int)((i + round / 7) % LOOPS)) };

			check_eq(torc_group_spawn_with(&g, &o, i % 2 ? send_all : receive_all,
						       (void *)(round * 100 + i)),
				 0);
		}
		check_eq(torc_latch_wait(&traffic.sending), 0);
		torc_latch_done(&traffic.sending);
		torc_chan_close(&traffic.chan);
		check_eq(torc_group_wait(&g), 0);
		check_eq(traffic.sent, traffic.received);
		check_eq(traffic.sum, 0);
		check_eq(torc_chan_count(&traffic.chan), 0);
		torc_chan_done(&traffic.chan);
	}
	return (int)round;
}

int main(void)
{
	return run_rounds(LOOPS, app, &calls, "calls");
}
