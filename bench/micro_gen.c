/*
 * micro_gen.c - what a generator costs: one next is a resume and the yield back.
 */
#include "bench/micro.h"

#include <torc/core/gen.h>

#define NEXTS   5000000
#define CREATES 500000

struct consumer {
	struct torc_gen *g;
	bool sends;
	uintptr_t sum; /* of what was yielded: no value can be left out */
	int error;
};

static int numbers(struct torc_gen *g, void *arg)
{
	uintptr_t n = (uintptr_t)arg;
	int r = 0;

	while (!r)
		r = torc_gen_yield(g, (void *)n++, NULL);
	return r;
}

static int echo(struct torc_gen *g, void *arg)
{
	void *sent = arg;
	int r;

	do
		r = torc_gen_yield(g, sent, &sent);
	while (!r);
	return r;
}

static double measure_next(void *arg)
{
	struct consumer *c = arg;
	double start = micro_now_ns();

	for (unsigned i = 0; i < NEXTS; i++) {
		void *value;

		if (torc_gen_next(c->g, &value) > 0)
			c->sum += (uintptr_t)value;
	}
	return (micro_now_ns() - start) / NEXTS;
}

static double measure_send(void *arg)
{
	struct consumer *c = arg;
	double start = micro_now_ns();

	for (unsigned i = 0; i < NEXTS; i++) {
		void *value;

		if (torc_gen_send(c->g, (void *)c->sum, &value) > 0)
			c->sum = (uintptr_t)value + 1;
	}
	return (micro_now_ns() - start) / NEXTS;
}

static double measure_each(void *arg)
{
	struct consumer *c = arg;
	double start = micro_now_ns();
	unsigned i = 0;

	torc_gen_each(value, c->g) {
		c->sum += (uintptr_t)value;
		if (++i == NEXTS)
			break;
	}
	return (micro_now_ns() - start) / NEXTS;
}

static int with(torc_gen_fn *fn, micro_fn *measure, const char *metric, double target)
{
	struct consumer c = { .sum = 0 };
	void *first;
	int r = torc_gen_create(fn, NULL, NULL, &c.g);

	if (r < 0)
		return r;
	r = torc_gen_next(c.g, &first);
	if (r > 0)
		micro_report(metric, micro_median(measure, &c), "ns", target);
	torc_gen_destroy(c.g);
	return r < 0 ? r : 0;
}

/* Each measurement closes it: it is made anew. */
static double measure_each_anew(void *arg)
{
	struct consumer *c = arg;
	double ns = 0;

	c->error |= torc_gen_create(numbers, NULL, NULL, &c->g);
	if (!c->error)
		ns = measure_each(c);
	torc_gen_destroy(c->g);
	return ns;
}

static double measure_create(void *arg)
{
	struct consumer *c = arg;
	double start = micro_now_ns();

	for (unsigned i = 0; i < CREATES && !c->error; i++) {
		c->error = torc_gen_create(numbers, NULL, NULL, &c->g);
		if (!c->error)
			torc_gen_destroy(c->g);
	}
	return (micro_now_ns() - start) / CREATES;
}

static double measure_life(void *arg)
{
	struct consumer *c = arg;
	double start = micro_now_ns();

	for (unsigned i = 0; i < CREATES && !c->error; i++) {
		c->error = torc_gen_create(numbers, NULL, NULL, &c->g);
		if (!c->error) {
			c->error = torc_gen_next(c->g, NULL) - 1;
			torc_gen_destroy(c->g);
		}
	}
	return (micro_now_ns() - start) / CREATES;
}

/* --- yield_from --- */

static int from_depth(struct torc_gen *g, void *arg)
{
	uintptr_t depth = (uintptr_t)arg;
	struct torc_gen *inner;
	int r = torc_gen_create(depth > 1 ? from_depth : numbers, (void *)(depth - 1), NULL,
				&inner);

	if (r < 0)
		return r;
	r = torc_gen_yield_from(g, inner, NULL);
	torc_gen_destroy(inner);
	return r;
}

static int with_depth(uintptr_t depth, const char *metric)
{
	struct consumer c = { .sum = 0 };
	int r = torc_gen_create(from_depth, (void *)depth, NULL, &c.g);

	if (r < 0)
		return r;
	micro_report(metric, micro_median(measure_next, &c), "ns", MICRO_NO_TARGET);
	torc_gen_destroy(c.g);
	return 0;
}

static int run(void)
{
	struct consumer c = { .sum = 0 };
	int r = with(numbers, measure_next, "next", 4);

	if (!r)
		r = with(echo, measure_send, "send", 4);
	micro_report("torc_gen_each", micro_median(measure_each_anew, &c), "ns", MICRO_NO_TARGET);
	micro_report("create, destroy", micro_median(measure_create, &c), "ns", MICRO_NO_TARGET);
	micro_report("create, next, destroy", micro_median(measure_life, &c), "ns",
		     MICRO_NO_TARGET);
	if (!r)
		r = with_depth(1, "next through 1 yield_from");
	if (!r)
		r = with_depth(8, "next through 8 yield_from");
	return r ? r : c.error;
}

const struct micro micro_gen = { "gen", "a generator: next and send, with the yield back", run };
