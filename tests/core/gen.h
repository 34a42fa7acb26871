/*
 * tests/core/gen.h - bodies and expectations that the tests of generators share.
 */
#ifndef TESTS_CORE_GEN_H
#define TESTS_CORE_GEN_H

#include "tests/core/run.h"

#include <torc/core/gen.h>

#define GEN(...) (&(struct torc_gen_options){ __VA_ARGS__ })

static inline struct torc_gen *make(torc_gen_fn *fn, void *arg)
{
	struct torc_gen *g = NULL;

	check_eq(torc_gen_create(fn, arg, NULL, &g), 0);
	check_eq(torc_gen_state(g), TORC_GEN_CREATED);
	return g;
}

static void *const untouched = ARG(-77);

static inline void expect_value(struct torc_gen *g, intptr_t expected)
{
	void *value = untouched;

	check_eq(torc_gen_next(g, &value), 1);
	check_eq(VALUE(value), expected);
	check_eq(torc_gen_state(g), TORC_GEN_SUSPENDED);
}

/* r is what a call said that left value alone. */
static inline void expect_none(int r, int expected, void *value)
{
	check_eq(r, expected);
	check_eq(VALUE(value), VALUE(untouched));
}

static inline void expect_next(struct torc_gen *g, int expected)
{
	void *value = untouched;

	expect_none(torc_gen_next(g, &value), expected, value);
}

static inline void expect_closed(struct torc_gen *g, intptr_t result, int status)
{
	check_eq(torc_gen_state(g), TORC_GEN_CLOSED);
	check_eq(VALUE(torc_gen_result(g)), result);
	check_eq(torc_gen_status(g), status);
}

/* --- bodies --- */

/* 1 .. arg, then 100 as the result. */
static inline int count_to(struct torc_gen *g, void *arg)
{
	int r = 0;

	for (intptr_t i = 1; i <= VALUE(arg) && !r; i++)
		r = torc_gen_yield(g, ARG(i), NULL);
	return r ? r : torc_gen_return(g, ARG(100));
}

/* What a body has seen, and what it is to do when something is thrown into it. */
struct seen {
	int yields, error, cleaned;
	void *sent;
	int answer;         /* what to return then, or, when positive: yield so often and go on */
	struct torc_gen *g; /* itself, or the inner one */
	int results[8];
};

static inline void try_all(struct torc_gen *g, struct seen *s)
{
	void *value = untouched;

	check_eq(torc_gen_state(g), TORC_GEN_RUNNING);
	s->results[0] = torc_gen_next(g, &value);
	s->results[1] = torc_gen_send(g, ARG(1), &value);
	s->results[2] = torc_gen_throw(g, -EIO, &value);
	s->results[3] = torc_gen_throw(g, TORC_GEN_EXIT, &value);
	s->results[4] = torc_gen_close(g);
	check_eq(VALUE(value), VALUE(untouched));
	check_eq(torc_gen_state(g), TORC_GEN_RUNNING);
}

static inline void expect_busy(struct seen *s)
{
	for (int i = 0; i < 5; i++)
		check_eq(s->results[i], -EBUSY);
}

struct outer {
	torc_gen_fn *fn; /* the inner one's body; NULL: `inner` is there already */
	void *arg;
	struct torc_gen *inner;
	int r, answer;
	void *result;
	int yields_after;
};

/* Yields all of the inner one, then `yields_after` more, and ends with `answer`, or what it got when that is 1. */
static inline int all_of(struct torc_gen *g, void *arg)
{
	struct outer *o = arg;
	int r = 0;

	if (o->fn)
		o->inner = make(o->fn, o->arg);
	check_eq(torc_gen_delegate(g) == NULL, 1);
	o->result = untouched;
	o->r = torc_gen_yield_from(g, o->inner, &o->result);
	check_eq(torc_gen_delegate(g) == NULL, 1);
	for (int i = 0; i < o->yields_after && !r; i++)
		r = torc_gen_yield(g, ARG(1000 + i), NULL);
	if (o->fn)
		torc_gen_destroy(o->inner);
	if (o->answer == 1)
		return o->r < 0 ? o->r : torc_gen_return(g, o->result);
	return r ? r : o->answer;
}

#define OUTER(...)                       \
	{                                \
		.answer = 1, __VA_ARGS__ \
	}

#endif
