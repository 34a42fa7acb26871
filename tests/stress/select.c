/*
 * Four loops that select over the same channels, in every order, to send and to receive, so that selects meet each
 * other crosswise; with deadlines, cancellations, and plain senders and receivers among them. Exits 0 when what was
 * sent through each channel is what was received from it.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/stress/stress.h"

#define LOOPS  4
#define FIBERS 12
#define CHANS  4
#define CASES  6
#define TURNS  80
#define BUDGET TORC_MS(1200) /* rounds begin until then */
#define UNDONE (-12345)

struct channel {
	struct torc_chan chan;
	atomic_long sent, received, sum;
};

static struct channel channels[CHANS];
static struct torc_latch working;
static struct tally calls;

static void was_sent(struct channel *c, uint64_t item)
{
	atomic_fetch_add(&c->sent, 1);
	atomic_fetch_add(&c->sum, (long)item);
}

static void was_received(struct channel *c, uint64_t item)
{
	atomic_fetch_add(&c->received, 1);
	atomic_fetch_sub(&c->sum, (long)item);
}

struct choice {
	struct torc_case cases[CASES];
	struct channel *channels[CASES];
	uint64_t items[CASES], before[CASES];
	size_t count;
};

/* Any channels, some of them several times and both ways, some none. */
static void choose_cases(struct choice *c, uint64_t *seed)
{
	c->count = 1 + next_random(seed) % CASES;
	for (size_t i = 0; i < c->count; i++) {
		uint32_t which = next_random(seed) % (CHANS + 1);

		c->channels[i] = which < CHANS ? &channels[which] : NULL;
		c->before[i] = c->items[i] = 1 + next_random(seed) % 1000;
		c->cases[i] = (struct torc_case){
			.chan = c->channels[i] ? &c->channels[i]->chan : NULL,
			.op = next_random(seed) % 2 ? TORC_SEND : TORC_RECV,
			.item = &c->items[i],
			.result = UNDONE,
		};
	}
}

/* Only the one that was done has left a trace. Returns whether its channel is closed. */
static bool count_choice(struct choice *c, int r)
{
	bool closed = false;

	for (size_t i = 0; i < c->count; i++) {
		struct torc_case *done = &c->cases[i];

		if ((int)i != r) {
			check_eq(done->result, UNDONE);
			check_eq(c->items[i], c->before[i]);
		} else if (done->op == TORC_SEND) {
			check(done->result == 0 || done->result == -EPIPE);
			closed = done->result != 0;
			if (!closed)
				was_sent(c->channels[i], c->items[i]);
		} else {
			check(done->result == 0 || done->result == 1);
			closed = !done->result;
			if (!closed)
				was_received(c->channels[i], c->items[i]);
		}
	}
	return closed;
}

static bool select_some(uint64_t *seed)
{
	struct choice c;
	struct torc_scope scope;
	uint64_t deadline = torc_now_ns() + next_random(seed) % 100000;
	int r;

	choose_cases(&c, seed);
	torc_scope_enter(&scope, next_random(seed) % 2 ? TORC_NEVER : next_random(seed) % 80000);
	r = torc_select(c.cases, c.count, next_random(seed) % 8 ? deadline : 0);
	torc_scope_leave(&scope);
	check(r >= 0 || r == -EAGAIN || r == -ECANCELED || r == -ETIMEDOUT);
	tally(&calls, r);
	return count_choice(&c, r);
}

/* A plain send or receive among the selects. */
static bool use_plainly(uint64_t *seed)
{
	struct channel *c = &channels[next_random(seed) % CHANS];
	struct torc_scope scope;
	uint64_t item = 1 + next_random(seed) % 1000;
	bool sends = next_random(seed) % 2;
	int r;

	torc_scope_enter(&scope, next_random(seed) % 50000);
	r = sends ? torc_chan_send(&c->chan, &item) : torc_chan_recv(&c->chan, &item);
	torc_scope_leave(&scope);
	if (sends && !r)
		was_sent(c, item);
	if (!sends && r == 1)
		was_received(c, item);
	return sends ? r == -EPIPE : r == 0;
}

static int work(void *arg)
{
	uint64_t seed = (uintptr_t)arg;
	bool closed = false;

	for (int i = 0; i < TURNS && !closed; i++)
		closed = next_random(&seed) % 4 ? select_some(&seed) : use_plainly(&seed);
	torc_latch_count_down(&working);
	return 0;
}

static void start(uintptr_t round)
{
	for (uintptr_t i = 0; i < CHANS; i++) {
		check_eq(torc_chan_init(&channels[i].chan, sizeof(uint64_t), round / 2 % 3), 0);
		channels[i].sent = 0;
		channels[i].received = 0;
		channels[i].sum = 0;
	}
	torc_latch_init(&working, FIBERS);
}

static void end(void)
{
	uint64_t item;

	for (size_t i = 0; i < CHANS; i++) {
		struct channel *c = &channels[i];

		while (torc_chan_try_recv(&c->chan, &item) == 1)
			was_received(c, item);
		check_eq(c->sent, c->received);
		check_eq(c->sum, 0);
		torc_chan_done(&c->chan); /* traps when a place in line was left behind */
	}
	torc_latch_done(&working);
}

static int app(void *arg)
{
	uint64_t until = torc_now_ns() + BUDGET;
	uintptr_t round = 0;

	(void)arg;
	for (; torc_now_ns() < until; round++) {
		struct torc_group g;

		start(round);
		torc_group_enter_supervisor(&g);
		for (uintptr_t i = 0; i < FIBERS; i++) {
			struct torc_spawn_options o = { .loop = TORC_ON_LOOP(
								(int)((i + round) % LOOPS)) };

			check_eq(torc_group_spawn_with(&g, &o, work, (void *)(round * 100 + i)), 0);
		}
		/* Most rounds end by themselves, some are cancelled, in some all channels are closed under way. */
		if (round % 8 == 7) {
			check_eq(torc_sleep(TORC_MS(1)), 0);
			torc_group_cancel(&g);
		} else if (round % 8 == 6) {
			check_eq(torc_sleep(TORC_MS(1)), 0);
			for (size_t i = 0; i < CHANS; i++)
				torc_chan_close(&channels[i].chan);
			check_eq(torc_latch_wait(&working), 0);
		} else {
			check_eq(torc_latch_wait(&working), 0);
		}
		(void)torc_group_wait(&g);
		end();
	}
	return (int)round;
}

int main(void)
{
	return run_rounds(LOOPS, app, &calls, "selects");
}
