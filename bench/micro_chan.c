/*
 * micro_chan.c - channels and select on one loop; the part of micro_loops.c that is about channels.
 */
#include "bench/micro.h"

#include <errno.h>
#include <limits.h>
#include <torc/core/chan.h>
#include <torc/core/group.h>

#define ROUNDS    1000000
#define CAPACITY  64
#define CASES     4
#define ITEMS     4000000
#define CROSS_CAP 1024

/* The other end goes away. */
static int close_and_wait(struct torc_chan *chan, struct torc_group *g)
{
	torc_chan_close(chan);
	return torc_group_wait(g);
}

/* --- unbuffered, there and back --- */

struct pair {
	struct torc_chan there, back;
};

/*
 * Receive here, send there, so often. Not inlined: both fibers wait at the same place, as fibers of a server do; see
 * yield_until in micro_fiber.c for what it costs where they do not.
 */
static __attribute__((noinline)) int play(struct torc_chan *from, struct torc_chan *to,
					  unsigned rounds)
{
	uint64_t item;
	int r = 1;

	while (rounds-- && r > 0) {
		r = torc_chan_recv(from, &item);
		if (r > 0 && torc_chan_send(to, &item) < 0)
			return -EIO;
	}
	return r < 0 ? r : 0;
}

static int echo(void *arg)
{
	struct pair *p = arg;

	return play(&p->there, &p->back, UINT_MAX);
}

/* One item goes round. */
static int ping(struct pair *p, unsigned rounds)
{
	uint64_t item = 0;
	int r = torc_chan_send(&p->there, &item);

	if (!r)
		r = play(&p->back, &p->there, rounds - 1);
	if (!r)
		r = torc_chan_recv(&p->back, &item) != 1;
	return r;
}

static int ping_from_elsewhere(struct pair *p, unsigned rounds)
{
	uint64_t item;
	int r = 0;

	for (uint64_t i = 0; i < rounds && r >= 0; i++) {
		r = torc_chan_send(&p->there, &i);
		if (r == 0)
			r = torc_chan_recv(&p->back, &item);
	}
	return r < 0 ? r : 0;
}

struct trip {
	int loop; /* torc_spawn_options.loop of the other end */
	unsigned rounds;
	bool elsewhere; /* the two fibers wait at different places */
	int error;
};

static double measure_trip(void *arg)
{
	struct trip *t = arg;
	struct pair p;
	struct torc_group g;
	double start;

	t->error |= torc_chan_init(&p.there, sizeof(uint64_t), 0);
	t->error |= torc_chan_init(&p.back, sizeof(uint64_t), 0);
	torc_group_enter(&g);
	t->error |= torc_group_spawn_with(&g, &(struct torc_spawn_options){ .loop = t->loop }, echo,
					  &p);
	start = micro_now_ns();
	t->error |= t->elsewhere ? ping_from_elsewhere(&p, t->rounds) : ping(&p, t->rounds);
	start = micro_now_ns() - start;
	t->error |= close_and_wait(&p.there, &g);
	torc_chan_done(&p.there);
	torc_chan_done(&p.back);
	return start / t->rounds;
}

/* --- buffered --- */

static double measure_fill_and_drain(void *arg)
{
	struct torc_chan c;
	int *error = arg;
	double start;
	uint64_t item;

	*error |= torc_chan_init(&c, sizeof(uint64_t), CAPACITY);
	start = micro_now_ns();
	for (unsigned n = 0; n < ROUNDS / CAPACITY; n++) {
		for (uint64_t i = 0; i < CAPACITY; i++)
			*error |= torc_chan_send(&c, &i);
		for (unsigned i = 0; i < CAPACITY; i++)
			*error |= torc_chan_recv(&c, &item) != 1;
	}
	start = micro_now_ns() - start;
	torc_chan_done(&c);
	return start / (ROUNDS / CAPACITY * CAPACITY);
}

struct stream {
	struct torc_chan chan;
	unsigned items;
	int loop;
	size_t capacity;
	int error;
};

static int produce(void *arg)
{
	struct stream *s = arg;
	int r = 0;

	for (uint64_t i = 0; i < s->items && !r; i++)
		r = torc_chan_send(&s->chan, &i);
	torc_chan_close(&s->chan);
	return r;
}

static double measure_stream(void *arg)
{
	struct stream *s = arg;
	struct torc_group g;
	double start;
	uint64_t item;

	s->error |= torc_chan_init(&s->chan, sizeof(uint64_t), s->capacity);
	torc_group_enter(&g);
	start = micro_now_ns();
	s->error |= torc_group_spawn_with(&g, &(struct torc_spawn_options){ .loop = s->loop },
					  produce, s);
	while (torc_chan_recv(&s->chan, &item) > 0)
		;
	s->error |= torc_group_wait(&g);
	start = micro_now_ns() - start;
	torc_chan_done(&s->chan);
	return start / s->items;
}

static int chan_fiber(void *arg)
{
	struct trip trip = { .rounds = ROUNDS },
		    elsewhere = { .rounds = ROUNDS, .elsewhere = true };
	struct stream stream = { .items = ROUNDS, .capacity = CAPACITY };
	int error = 0;

	(void)arg;
	micro_report("unbuffered round trip", micro_median(measure_trip, &trip), "ns", 40);
	micro_report("unbuffered, from two places", micro_median(measure_trip, &elsewhere), "ns",
		     MICRO_NO_TARGET);
	micro_report("buffered send and recv", micro_median(measure_fill_and_drain, &error), "ns",
		     15);
	micro_report("buffered, two fibers", micro_median(measure_stream, &stream), "ns",
		     MICRO_NO_TARGET);
	return trip.error | elsewhere.error | stream.error | error ? -EIO : 0;
}

static int run_chan(void)
{
	return micro_in_fiber(chan_fiber);
}

const struct micro micro_chan = { "chan", "channels between fibers of one loop", run_chan };

/* --- select --- */

struct fan {
	struct torc_chan chans[CASES];
};

static int rotate(void *arg)
{
	struct fan *f = arg;
	int r = 0;

	for (uint64_t i = 0; i < ROUNDS && !r; i++)
		r = torc_chan_send(&f->chans[i % CASES], &i);
	return r;
}

static double measure_select(void *arg)
{
	struct fan f;
	struct torc_case cases[CASES] = { { .chan = NULL } };
	struct torc_group g;
	int *error = arg;
	uint64_t item;
	double start;

	for (unsigned i = 0; i < CASES; i++) {
		*error |= torc_chan_init(&f.chans[i], sizeof(uint64_t), 0);
		cases[i].chan = &f.chans[i];
		cases[i].item = &item;
	}
	torc_group_enter(&g);
	*error |= torc_group_spawn(&g, rotate, &f);
	start = micro_now_ns();
	for (unsigned i = 0; i < ROUNDS; i++)
		*error |= torc_select(cases, CASES, TORC_NEVER) < 0;
	start = micro_now_ns() - start;
	*error |= torc_group_wait(&g);
	for (unsigned i = 0; i < CASES; i++)
		torc_chan_done(&f.chans[i]);
	return start / ROUNDS;
}

static int select_fiber(void *arg)
{
	int error = 0;

	(void)arg;
	micro_report("4 channels", micro_median(measure_select, &error), "ns", 100);
	return error ? -EIO : 0;
}

static int run_select(void)
{
	return micro_in_fiber(select_fiber);
}

const struct micro micro_select = { "select",
				    "receive from 4 channels that another fiber sends to in turn",
				    run_select };

/* --- from loop to loop --- */

int micro_chan_cross(int loop)
{
	struct trip trip = { .loop = loop, .rounds = 20000 };
	struct stream stream = { .items = ITEMS, .loop = loop, .capacity = CROSS_CAP };

	micro_report("unbuffered round trip", micro_median(measure_trip, &trip), "ns",
		     MICRO_NO_TARGET);
	micro_report_rate("buffered channel, M items/s",
			  1e3 / micro_median(measure_stream, &stream), "M/s", 5);
	return trip.error | stream.error ? -EIO : 0;
}
