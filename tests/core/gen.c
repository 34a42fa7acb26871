/*
 * Generators, behaviour by behaviour: PEP 342 (next, send, throw, close), PEP 380 (yielding from another one),
 * PEP 479 (an inner end is not the outer one's), what Python's documentation says about states, and misuse.
 *
 * That yielding from another generator does what PEP 380's expansion does is compared at random in gen_random.c;
 * their stacks, and what fibers and threads do with them, are in gen_stack.c.
 */
#include "tests/core/gen.h"

TestSuite(gen, .timeout = 60);

/* Yields what is sent, beginning with 0; an error ends it as `answer` says. */
static int echo(struct torc_gen *g, void *arg)
{
	struct seen *s = arg;

	s->sent = NULL;
	for (;;) {
		s->yields++;
		s->error = torc_gen_yield(g, s->sent, &s->sent);
		if (s->error < 0) {
			if (s->answer <= 0)
				break;
			s->answer--;
			s->sent = ARG(500 + s->answer);
		}
	}
	s->cleaned++;
	return s->answer;
}

static int fail_at_once(struct torc_gen *g, void *arg)
{
	g->result = ARG(9); /* no result of one that fails */
	return (int)VALUE(arg);
}

/* --- next and the end --- */

Test(gen, next_hands_out_the_values_in_order_and_then_the_result)
{
	struct torc_gen *g = make(count_to, ARG(3));

	for (int i = 1; i <= 3; i++)
		expect_value(g, i);
	check_eq(VALUE(torc_gen_result(g)), 0);
	expect_next(g, 0);
	expect_closed(g, 100, 0);
	torc_gen_destroy(g);
}

Test(gen, a_finished_one_stays_finished)
{
	struct torc_gen *g = make(count_to, ARG(0));
	void *value = untouched;

	for (int i = 0; i < 3; i++) {
		expect_next(g, 0);
		expect_none(torc_gen_send(g, ARG(1), &value), 0, value);
		expect_closed(g, 100, 0);
	}
	torc_gen_destroy(g);
}

Test(gen, the_body_does_not_run_before_the_first_next)
{
	struct seen s = { .answer = 0 };
	struct torc_gen *g = make(echo, &s);

	check_eq(s.yields, 0);
	expect_value(g, 0);
	check_eq(s.yields, 1);
	torc_gen_destroy(g);
}

Test(gen, an_error_of_the_body_reaches_the_caller_of_next_once)
{
	struct torc_gen *g = make(fail_at_once, ARG(-EIO));

	expect_next(g, -EIO);
	expect_closed(g, 0, -EIO);
	expect_next(g, 0);
	expect_closed(g, 0, -EIO);
	torc_gen_destroy(g);
}

Test(gen, more_than_zero_is_success_too)
{
	struct torc_gen *g = make(fail_at_once, ARG(5));

	expect_next(g, 0);
	expect_closed(g, 9, 0);
	torc_gen_destroy(g);
}

Test(gen, exit_returned_without_a_close_is_an_error_as_any)
{
	struct torc_gen *g = make(fail_at_once, ARG(TORC_GEN_EXIT));

	expect_next(g, TORC_GEN_EXIT);
	expect_closed(g, 0, TORC_GEN_EXIT);
	torc_gen_destroy(g);
}

static int yield_null_values(struct torc_gen *g, void *arg)
{
	(void)arg;
	return torc_gen_yield(g, NULL, NULL) || torc_gen_yield(g, NULL, NULL);
}

Test(gen, null_is_a_value_and_results_may_be_left_out)
{
	struct torc_gen *g = make(yield_null_values, NULL);

	expect_value(g, 0);
	check_eq(torc_gen_next(g, NULL), 1);
	check_eq(torc_gen_next(g, NULL), 0);
	torc_gen_destroy(g);
}

/* --- send --- */

Test(gen, a_sent_value_is_the_result_of_the_yield)
{
	struct seen s = { .answer = 0 };
	struct torc_gen *g = make(echo, &s);
	void *value;

	expect_value(g, 0);
	for (intptr_t i = 1; i < 5; i++) {
		check_eq(torc_gen_send(g, ARG(i), &value), 1);
		check_eq(VALUE(value), i);
	}
	expect_value(g, 0); /* next sends NULL */
	torc_gen_destroy(g);
}

Test(gen, nothing_but_null_can_be_sent_to_one_that_has_not_started)
{
	struct seen s = { .answer = 0 };
	struct torc_gen *g = make(echo, &s);
	void *value = untouched;

	expect_none(torc_gen_send(g, ARG(1), &value), -EINVAL, value);
	check_eq(torc_gen_state(g), TORC_GEN_CREATED);
	check_eq(s.yields, 0);
	check_eq(torc_gen_send(g, NULL, &value), 1);
	torc_gen_destroy(g);
}

/* --- throw --- */

Test(gen, a_thrown_error_is_what_the_yield_returns_and_the_next_value_comes_back)
{
	struct seen s = { .answer = 2 };
	struct torc_gen *g = make(echo, &s);
	void *value;

	expect_value(g, 0);
	check_eq(torc_gen_throw(g, -EIO, &value), 1);
	check_eq(VALUE(value), 501);
	check_eq(s.error, -EIO);
	check_eq(VALUE(s.sent), 501);
	expect_value(g, 0);
	check_eq(s.error, 0);
	s.answer = 0;
	torc_gen_destroy(g);
}

static void expect_throw(int error, int answer, int expected)
{
	struct seen s = { .answer = answer };
	struct torc_gen *g = make(echo, &s);
	void *value = untouched;

	expect_value(g, 0);
	expect_none(torc_gen_throw(g, error, &value), expected, value);
	check_eq(s.error, error);
	expect_closed(g, 0, expected);
	expect_next(g, 0);
	torc_gen_destroy(g);
}

Test(gen, a_body_may_end_on_a_thrown_error_well_or_with_that_or_with_another)
{
	expect_throw(-EIO, 0, 0);
	expect_throw(-EIO, -EIO, -EIO);
	expect_throw(-EIO, -ENOENT, -ENOENT);
	expect_throw(TORC_GEN_EXIT, TORC_GEN_EXIT, TORC_GEN_EXIT);
}

Test(gen, thrown_into_one_that_has_not_started_it_closes_it)
{
	struct seen s = { .answer = 0 };
	struct torc_gen *g = make(echo, &s);
	void *value = untouched;

	expect_none(torc_gen_throw(g, -EIO, &value), -EIO, value);
	check_eq(s.yields, 0);
	expect_closed(g, 0, -EIO);
	expect_next(g, 0);
	torc_gen_destroy(g);
}

Test(gen, thrown_into_a_closed_one_the_error_comes_back)
{
	struct torc_gen *g = make(count_to, ARG(0));
	void *value = untouched;

	expect_next(g, 0);
	for (int i = 0; i < 2; i++)
		expect_none(torc_gen_throw(g, -EIO, &value), -EIO, value);
	expect_closed(g, 100, 0);
	torc_gen_destroy(g);
}

Test(gen, what_is_not_negative_cannot_be_thrown)
{
	struct seen s = { .answer = 0 };
	struct torc_gen *g = make(echo, &s);
	void *value = untouched;

	expect_none(torc_gen_throw(g, 0, &value), -EINVAL, value);
	check_eq(torc_gen_state(g), TORC_GEN_CREATED);
	expect_value(g, 0);
	expect_none(torc_gen_throw(g, EIO, &value), -EINVAL, value);
	check_eq(s.error, 0);
	check_eq(torc_gen_state(g), TORC_GEN_SUSPENDED);
	check_eq(torc_gen_close(g), 0);
	expect_none(torc_gen_throw(g, 1, &value), -EINVAL, value);
	torc_gen_destroy(g);
}

Test(gen, exit_thrown_is_an_error_as_any_and_may_be_answered_with_a_value)
{
	struct seen s = { .answer = 1 };
	struct torc_gen *g = make(echo, &s);
	void *value;

	expect_value(g, 0);
	check_eq(torc_gen_throw(g, TORC_GEN_EXIT, &value), 1);
	check_eq(VALUE(value), 500);
	torc_gen_destroy(g);
}

/* --- close --- */

static void expect_close(int answer, int expected)
{
	struct seen s = { .answer = answer };
	struct torc_gen *g = make(echo, &s);

	expect_value(g, 0);
	check_eq(torc_gen_close(g), expected);
	check_eq(s.error, TORC_GEN_EXIT);
	check_eq(s.cleaned, 1);
	expect_closed(g, 0, expected);
	check_eq(torc_gen_close(g), 0);
	check_eq(s.cleaned, 1);
	expect_next(g, 0);
	torc_gen_destroy(g);
}

Test(gen, close_throws_exit_and_is_content_with_exit_or_an_end)
{
	expect_close(TORC_GEN_EXIT, 0);
	expect_close(0, 0);
}

Test(gen, another_error_of_the_clean_up_reaches_the_caller_of_close)
{
	expect_close(-EIO, -EIO);
	expect_close(-EPROTO, -EPROTO); /* and is not taken for a yield: the generator is closed */
	expect_close(-EBUSY, -EBUSY);
}

Test(gen, one_that_yields_instead_of_ending_is_told_of_and_goes_on)
{
	struct seen s = { .answer = 2 };
	struct torc_gen *g = make(echo, &s);

	expect_value(g, 0);
	check_eq(torc_gen_close(g), -EPROTO);
	check_eq(torc_gen_state(g), TORC_GEN_SUSPENDED);
	check_eq(torc_gen_status(g), 0);
	expect_value(g, 0);
	check_eq(torc_gen_close(g), -EPROTO);
	check_eq(torc_gen_close(g), 0);
	torc_gen_destroy(g);
}

static int result_of_exit(struct torc_gen *g, void *arg)
{
	return torc_gen_yield(g, arg, NULL) == TORC_GEN_EXIT ? torc_gen_return(g, ARG(7)) : -EIO;
}

Test(gen, a_body_may_answer_close_with_a_result)
{
	struct torc_gen *g = make(result_of_exit, ARG(1));

	expect_value(g, 1);
	check_eq(torc_gen_close(g), 0);
	expect_closed(g, 7, 0);
	torc_gen_destroy(g);
}

Test(gen, closing_one_that_has_not_started_runs_nothing)
{
	struct seen s = { .answer = -EIO };
	struct torc_gen *g = make(echo, &s);

	check_eq(torc_gen_close(g), 0);
	check_eq(s.yields, 0);
	expect_closed(g, 0, 0);
	expect_next(g, 0);
	torc_gen_destroy(g);
}

Test(gen, destroy_runs_the_clean_up_of_a_suspended_one_only)
{
	struct seen s = { .answer = 0 };
	struct torc_gen *g = make(echo, &s);

	torc_gen_destroy(g);
	check_eq(s.cleaned, 0);
	g = make(echo, &s);
	expect_value(g, 0);
	torc_gen_destroy(g);
	check_eq(s.cleaned, 1);
	torc_gen_destroy(NULL);
}

/* --- re-entry, states --- */

static int resume_itself(struct torc_gen *g, void *arg)
{
	int r;

	try_all(g, arg);
	r = torc_gen_yield(g, ARG(1), NULL);
	try_all(g, arg);
	return r;
}

Test(gen, a_running_one_can_be_neither_resumed_nor_closed_by_itself)
{
	struct seen s = { .answer = 0 };
	struct torc_gen *g = make(resume_itself, &s);

	expect_value(g, 1);
	expect_busy(&s);
	memset(s.results, 0, sizeof(s.results));
	expect_next(g, 0);
	expect_busy(&s);
	torc_gen_destroy(g);
}

static int resume_other(struct torc_gen *g, void *arg)
{
	struct seen *s = arg;

	check_eq(torc_gen_state(g), TORC_GEN_RUNNING);
	try_all(s->g, s);
	return torc_gen_yield(g, ARG(2), NULL);
}

static int resume_in_nested(struct torc_gen *g, void *arg)
{
	struct seen *s = arg;
	struct torc_gen *inner;

	s->g = g;
	inner = make(resume_other, s);
	expect_value(inner, 2);
	check_eq(torc_gen_state(g), TORC_GEN_RUNNING);
	torc_gen_destroy(inner);
	return torc_gen_yield(g, ARG(3), NULL);
}

Test(gen, nor_by_one_that_it_has_resumed)
{
	struct seen s = { .answer = 0 };
	struct torc_gen *g = make(resume_in_nested, &s);

	expect_value(g, 3);
	expect_busy(&s);
	torc_gen_destroy(g);
}

/* --- yielding from --- */

Test(gen, yield_from_passes_values_on_and_returns_the_inner_result)
{
	struct outer o = OUTER(.fn = count_to, .arg = ARG(3), .yields_after = 2);
	struct torc_gen *g = make(all_of, &o);

	for (int i = 1; i <= 3; i++)
		expect_value(g, i);
	check_eq(torc_gen_delegate(g) == o.inner, 1);
	check_eq(torc_gen_state(o.inner), TORC_GEN_SUSPENDED);
	expect_value(g, 1000);
	check_eq(o.r, 0);
	check_eq(VALUE(o.result), 100);
	expect_value(g, 1001);
	expect_next(g, 0);
	expect_closed(g, 100, 0);
	torc_gen_destroy(g);
}

Test(gen, yield_from_an_empty_one_yields_nothing)
{
	struct outer o = OUTER(.fn = count_to, .arg = ARG(0));
	struct torc_gen *g = make(all_of, &o);

	expect_next(g, 0);
	expect_closed(g, 100, 0);
	torc_gen_destroy(g);
}

static int ignore_result(struct torc_gen *g, void *arg)
{
	return torc_gen_yield_from(g, arg, NULL);
}

Test(gen, yield_from_goes_on_with_one_that_has_started_and_ends_with_one_that_is_closed)
{
	struct torc_gen *inner = make(count_to, ARG(2)), *g = make(ignore_result, inner);

	expect_value(inner, 1);
	expect_value(g, 2);
	expect_next(g, 0);
	torc_gen_destroy(g);
	g = make(ignore_result, inner);
	expect_next(g, 0);
	torc_gen_destroy(g);
	torc_gen_destroy(inner);
}

Test(gen, what_is_sent_reaches_the_inner_one)
{
	struct seen s = { .answer = 0 };
	struct outer o = OUTER(.fn = echo, .arg = &s);
	struct torc_gen *g = make(all_of, &o);
	void *value;

	expect_value(g, 0);
	for (intptr_t i = 1; i < 4; i++) {
		check_eq(torc_gen_send(g, ARG(i), &value), 1);
		check_eq(VALUE(value), i);
	}
	torc_gen_destroy(g);
	check_eq(s.cleaned, 1);
}

Test(gen, what_is_thrown_reaches_the_inner_one_which_may_go_on)
{
	struct seen s = { .answer = 1 };
	struct outer o = OUTER(.fn = echo, .arg = &s);
	struct torc_gen *g = make(all_of, &o);
	void *value;

	expect_value(g, 0);
	check_eq(torc_gen_throw(g, -EIO, &value), 1);
	check_eq(VALUE(value), 500);
	check_eq(s.error, -EIO);
	expect_value(g, 0);
	torc_gen_destroy(g);
}

/* Something is thrown; the inner one ends with `inner`, and that is what yield_from returns. */
static void expect_thrown_through(int inner, int answer, int expected)
{
	struct seen s = { .answer = inner };
	struct outer o = { .fn = echo, .arg = &s, .answer = answer };
	struct torc_gen *g = make(all_of, &o);
	void *value = untouched;

	expect_value(g, 0);
	expect_none(torc_gen_throw(g, -EIO, &value), expected, value);
	check_eq(s.error, -EIO);
	check_eq(o.r, inner);
	torc_gen_destroy(g);
}

Test(gen, what_is_thrown_may_end_the_inner_one_and_yield_from_says_how)
{
	expect_thrown_through(0, 1, 0);
	expect_thrown_through(-EIO, 1, -EIO);
	expect_thrown_through(-ENOENT, 1, -ENOENT);
	expect_thrown_through(-ENOENT, 0, 0); /* the outer one deals with it */
	expect_thrown_through(-ENOENT, -EDOM, -EDOM);
}

Test(gen, an_error_of_the_inner_one_is_the_outer_ones_to_handle)
{
	struct outer o = { .fn = fail_at_once, .arg = ARG(-EIO), .answer = 0, .yields_after = 1 };
	struct torc_gen *g = make(all_of, &o);

	expect_value(g, 1000);
	check_eq(o.r, -EIO);
	check_eq(VALUE(o.result), VALUE(untouched));
	expect_next(g, 0);
	torc_gen_destroy(g);
	o.answer = 1;
	o.yields_after = 0;
	g = make(all_of, &o);
	expect_next(g, -EIO);
	torc_gen_destroy(g);
}

/* The outer one is closed; `closed` is what the inner one makes of it. */
static void expect_close_through(int inner, int from, int expected)
{
	struct seen s = { .answer = inner };
	struct outer o = OUTER(.fn = echo, .arg = &s);
	struct torc_gen *g = make(all_of, &o);

	expect_value(g, 0);
	check_eq(torc_gen_close(g), expected);
	check_eq(s.error, TORC_GEN_EXIT);
	check_eq(s.cleaned, 1);
	check_eq(o.r, from);
	torc_gen_destroy(g);
}

Test(gen, closing_the_outer_one_closes_the_inner_one_first)
{
	expect_close_through(TORC_GEN_EXIT, TORC_GEN_EXIT, 0);
	expect_close_through(0, TORC_GEN_EXIT, 0);
}

Test(gen, an_error_of_closing_the_inner_one_takes_the_place_of_exit)
{
	expect_close_through(-EIO, -EIO, -EIO);
}

Test(gen, exit_thrown_into_the_outer_one_closes_the_inner_one_too)
{
	struct seen s = { .answer = 0 };
	struct outer o = OUTER(.fn = echo, .arg = &s);
	struct torc_gen *g = make(all_of, &o);
	void *value = untouched;

	expect_value(g, 0);
	expect_none(torc_gen_throw(g, TORC_GEN_EXIT, &value), TORC_GEN_EXIT, value);
	check_eq(s.error, TORC_GEN_EXIT);
	check_eq(o.r, TORC_GEN_EXIT);
	torc_gen_destroy(g);
}

Test(gen, an_inner_one_that_yields_instead_of_ending_is_the_outer_ones_error)
{
	struct seen s = { .answer = 1 };
	struct torc_gen *inner = make(echo, &s);
	struct outer o = OUTER(.inner = inner);
	struct torc_gen *g = make(all_of, &o);

	expect_value(g, 0);
	check_eq(torc_gen_close(g), -EPROTO);
	check_eq(o.r, -EPROTO);
	expect_closed(g, 0, -EPROTO);
	check_eq(torc_gen_state(inner), TORC_GEN_SUSPENDED);
	torc_gen_destroy(g);
	torc_gen_destroy(inner);
}

Test(gen, an_outer_one_may_yield_after_its_inner_one_was_closed)
{
	struct seen s = { .answer = 0 };
	struct outer o = { .fn = echo, .arg = &s, .yields_after = 1 };
	struct torc_gen *g = make(all_of, &o);

	expect_value(g, 0);
	check_eq(torc_gen_close(g), -EPROTO);
	check_eq(s.cleaned, 1);
	expect_next(g, 0);
	torc_gen_destroy(g);
}

static int yield_from_itself(struct torc_gen *g, void *arg)
{
	(void)arg;
	return torc_gen_yield_from(g, g, NULL);
}

Test(gen, nobody_can_yield_from_itself_or_from_one_that_is_running)
{
	struct torc_gen *g = make(yield_from_itself, NULL), *a, *b;
	struct outer x = OUTER(.inner = NULL), y = OUTER(.inner = NULL);

	expect_next(g, -EBUSY);
	torc_gen_destroy(g);
	a = make(all_of, &x);
	b = make(all_of, &y);
	x.inner = b;
	y.inner = a;
	expect_next(a, -EBUSY); /* a from b from a */
	check_eq(y.r, -EBUSY);
	expect_closed(b, 0, -EBUSY);
	torc_gen_destroy(a);
	torc_gen_destroy(b);
}

/* --- chains of several --- */

struct level {
	int depth, *order; /* where to note who was cleaned up, when */
	torc_gen_fn *leaf;
	void *leaf_arg;
	struct torc_gen **at; /* [depth]: its generator; at[0]: the leaf */
	int *results;
};

static int go_down(struct torc_gen *g, void *arg)
{
	struct level *l = arg, lower = *l;
	int r;

	lower.depth--;
	l->at[l->depth] = g;
	l->at[l->depth - 1] = lower.depth ? make(go_down, &lower) : make(l->leaf, l->leaf_arg);
	r = torc_gen_yield_from(g, l->at[l->depth - 1], NULL);
	if (l->order)
		l->results[(*l->order)++] = l->depth;
	torc_gen_destroy(l->at[l->depth - 1]);
	return r ? r : torc_gen_return(g, ARG(l->depth));
}

#define DEPTH 6

#define LEVELS(...)                                                                  \
	{                                                                            \
		.depth = DEPTH, .at = (struct torc_gen * [DEPTH + 1]){}, __VA_ARGS__ \
	}

Test(gen, a_chain_passes_everything_through)
{
	struct seen s = { .answer = 1 };
	struct level l = LEVELS(.leaf = echo, .leaf_arg = &s);
	struct torc_gen *g = make(go_down, &l);
	void *value;

	expect_value(g, 0);
	check_eq(torc_gen_send(g, ARG(5), &value), 1);
	check_eq(VALUE(value), 5);
	check_eq(torc_gen_throw(g, -EIO, &value), 1);
	check_eq(VALUE(value), 500);
	for (int i = DEPTH; i > 0; i--)
		check_eq(torc_gen_delegate(l.at[i]) == l.at[i - 1], 1);
	check_eq(torc_gen_throw(g, -EIO, &value), 0);
	check_eq(VALUE(torc_gen_result(g)), DEPTH);
	torc_gen_destroy(g);
}

Test(gen, a_chain_is_closed_from_the_innermost_outward)
{
	struct seen s = { .answer = TORC_GEN_EXIT };
	int order = 0, results[DEPTH];
	struct level l = LEVELS(.leaf = echo, .leaf_arg = &s, .order = &order, .results = results);
	struct torc_gen *g = make(go_down, &l);

	expect_value(g, 0);
	check_eq(torc_gen_close(g), 0);
	check_eq(s.cleaned, 1);
	check_eq(order, DEPTH);
	for (int i = 0; i < DEPTH; i++)
		check_eq(results[i], i + 1);
	torc_gen_destroy(g);
}

Test(gen, an_error_in_the_depth_comes_up_level_by_level)
{
	struct seen s = { .answer = -EIO };
	int order = 0, results[DEPTH];
	struct level l = LEVELS(.leaf = echo, .leaf_arg = &s, .order = &order, .results = results);
	struct torc_gen *g = make(go_down, &l);
	void *value = untouched;

	expect_value(g, 0);
	expect_none(torc_gen_throw(g, -ENOENT, &value), -EIO, value);
	check_eq(s.error, -ENOENT);
	for (int i = 0; i < DEPTH; i++)
		check_eq(results[i], i + 1);
	torc_gen_destroy(g);
}

/* Looks at the whole chain while it runs. */
static int look_up(struct torc_gen *g, void *arg)
{
	struct level *l = arg;
	struct seen s;
	int r = 0;

	for (int n = 0; n < 3 && !r; n++) {
		for (int i = 0; i <= DEPTH; i++) {
			try_all(l->at[i], &s);
			expect_busy(&s);
		}
		r = torc_gen_yield(g, ARG(n), NULL);
	}
	return r;
}

Test(gen, all_of_a_chain_are_running_while_its_last_one_runs)
{
	struct level l = LEVELS(.leaf = look_up);
	struct torc_gen *g;

	l.leaf_arg = &l;
	g = make(go_down, &l);
	for (int n = 0; n < 3; n++) {
		expect_value(g, n);
		for (int i = 0; i <= DEPTH; i++)
			check_eq(torc_gen_state(l.at[i]), TORC_GEN_SUSPENDED);
	}
	expect_next(g, 0);
	torc_gen_destroy(g);
}

Test(gen, an_inner_one_can_be_resumed_by_others_meanwhile)
{
	struct seen s = { .answer = 0 };
	struct level l = LEVELS(.leaf = echo, .leaf_arg = &s);
	struct torc_gen *g = make(go_down, &l);
	void *value;

	expect_value(g, 0);
	for (int i = 0; i <= DEPTH; i++) {
		check_eq(torc_gen_send(l.at[i], ARG(i + 10), &value), 1);
		check_eq(VALUE(value), i + 10);
	}
	expect_value(g, 0);
	check_eq(s.yields, DEPTH + 3);
	torc_gen_destroy(g);
}

Test(gen, an_inner_one_that_others_have_closed_has_finished)
{
	for (int closed = 0; closed < DEPTH; closed++) {
		struct level l = LEVELS(.leaf = count_to, .leaf_arg = ARG(5));
		struct torc_gen *g = make(go_down, &l);

		expect_value(g, 1);
		check_eq(torc_gen_close(l.at[closed]), 0);
		check_eq(torc_gen_state(g), TORC_GEN_SUSPENDED);
		expect_next(g, 0);
		check_eq(VALUE(torc_gen_result(g)), DEPTH);
		torc_gen_destroy(g);
	}
}

Test(gen, an_error_thrown_on_a_chain_whose_inner_one_is_closed_reaches_its_outer_one)
{
	struct level l = LEVELS(.leaf = count_to, .leaf_arg = ARG(5));
	struct torc_gen *g = make(go_down, &l);
	void *value = untouched;

	expect_value(g, 1);
	check_eq(torc_gen_close(l.at[2]), 0);
	expect_none(torc_gen_throw(g, -EIO, &value), -EIO, value);
	torc_gen_destroy(g);
}

/* Resumes a generator whose chain it is in, but not the head of. */
static int resume_head(struct torc_gen *g, void *arg)
{
	struct outer *o = arg;
	int r = torc_gen_yield(g, ARG(1), NULL);

	if (!r)
		o->r = torc_gen_next(o->inner, NULL);
	return r ? r : torc_gen_yield(g, ARG(2), NULL);
}

Test(gen, one_whose_inner_one_is_running_for_another_learns_that)
{
	struct outer head = OUTER(.inner = NULL), middle = OUTER(.inner = NULL), leaf = OUTER();
	struct torc_gen *g = make(all_of, &head);

	head.inner = make(all_of, &middle);
	middle.inner = make(resume_head, &leaf);
	leaf.inner = g;
	expect_value(g, 1);
	/* the leaf, resumed for the middle one, resumes the head, which is not running: the middle one is */
	expect_value(head.inner, 2);
	check_eq(leaf.r, -EBUSY);
	check_eq(head.r, -EBUSY);
	expect_closed(g, 0, -EBUSY);
	check_eq(torc_gen_close(head.inner), 0);
	torc_gen_destroy(g);
	torc_gen_destroy(head.inner);
	torc_gen_destroy(middle.inner);
}

Test(gen, two_may_yield_from_the_same_one_in_turn)
{
	struct torc_gen *inner = make(count_to, ARG(5)), *a = make(ignore_result, inner),
			*b = make(ignore_result, inner);

	expect_value(a, 1);
	expect_value(b, 2);
	check_eq(torc_gen_delegate(a) == inner && torc_gen_delegate(b) == inner, 1);
	expect_value(a, 3);
	expect_value(inner, 4);
	expect_value(b, 5);
	expect_next(b, 0);
	expect_next(a, 0);
	torc_gen_destroy(a);
	torc_gen_destroy(b);
	torc_gen_destroy(inner);
}

Test(gen, closing_one_of_two_that_yield_from_the_same_one_ends_it_for_both)
{
	struct torc_gen *inner = make(count_to, ARG(5)), *a = make(ignore_result, inner),
			*b = make(ignore_result, inner);

	expect_value(a, 1);
	expect_value(b, 2);
	check_eq(torc_gen_close(b), 0);
	check_eq(torc_gen_state(inner), TORC_GEN_CLOSED);
	expect_next(a, 0);
	torc_gen_destroy(a);
	torc_gen_destroy(b);
	torc_gen_destroy(inner);
}

/* The inner end of a body that asks for more than there is. */
static int two_at_a_time(struct torc_gen *g, void *arg)
{
	struct torc_gen *inner = make(count_to, arg);
	void *a, *b;
	int r = 0;

	while (!r && torc_gen_next(inner, &a) > 0) {
		b = ARG(-1);
		(void)!torc_gen_next(inner, &b); /* finished: no error, b stays */
		r = torc_gen_yield(g, ARG(VALUE(a) * 10 + VALUE(b)), NULL);
	}
	torc_gen_destroy(inner);
	return r ? r : torc_gen_return(g, ARG(1));
}

Test(gen, the_end_of_an_inner_one_does_not_end_the_outer_one_unseen)
{
	struct torc_gen *g = make(two_at_a_time, ARG(3));

	expect_value(g, 12);
	expect_value(g, 29);
	expect_next(g, 0);
	expect_closed(g, 1, 0);
	torc_gen_destroy(g);
}

/* --- recursion, as trees are walked --- */

static int walk(struct torc_gen *g, void *arg)
{
	intptr_t low = VALUE(arg) & 0xffff, high = VALUE(arg) >> 16, middle = (low + high) / 2;
	struct torc_gen *side;
	int r;

	if (low >= high)
		return 0;
	side = make(walk, ARG(middle << 16 | low));
	r = torc_gen_yield_from(g, side, NULL);
	torc_gen_destroy(side);
	if (!r)
		r = torc_gen_yield(g, ARG(middle), NULL);
	if (r)
		return r;
	side = make(walk, ARG(high << 16 | (middle + 1)));
	r = torc_gen_yield_from(g, side, NULL);
	torc_gen_destroy(side);
	return r;
}

Test(gen, a_tree_is_walked_in_order_and_left_anywhere)
{
	for (int stop = 0; stop <= 200; stop += 40) {
		struct torc_gen *g = make(walk, ARG(200 << 16));

		for (int i = 0; i < stop; i++)
			expect_value(g, i);
		if (stop == 200)
			expect_next(g, 0);
		torc_gen_destroy(g);
	}
}

static int nest(struct torc_gen *g, void *arg)
{
	intptr_t depth = VALUE(arg);
	struct torc_gen *inner;
	int r;

	if (!depth)
		return torc_gen_yield(g, ARG(1), NULL) || torc_gen_yield(g, ARG(2), NULL);
	inner = make(nest, ARG(depth - 1));
	r = torc_gen_yield_from(g, inner, NULL);
	torc_gen_destroy(inner);
	return r;
}

Test(gen, a_thousand_levels_deep)
{
	struct torc_gen *g = make(nest, ARG(1000));

	expect_value(g, 1);
	expect_value(g, 2);
	expect_next(g, 0);
	torc_gen_destroy(g);
	g = make(nest, ARG(1000));
	expect_value(g, 1);
	torc_gen_destroy(g);
}

/* --- torc_gen_each --- */

static int each_until(struct torc_gen *g, intptr_t until, int how)
{
	intptr_t sum = 0;

	torc_gen_each(value, g) {
		if (VALUE(value) == 1)
			continue;
		sum += VALUE(value);
		if (VALUE(value) != until)
			continue;
		if (how == 0)
			break;
		if (how == 1)
			return (int)sum;
		goto out;
	}
	return (int)sum;
out:
	return (int)sum;
}

Test(gen, each_closes_the_generator_however_it_is_left)
{
	for (int how = 0; how < 4; how++) {
		struct torc_gen *g = make(count_to, ARG(4));

		check_eq(each_until(g, how < 3 ? 3 : 5, how), how < 3 ? 5 : 9);
		expect_closed(g, how < 3 ? 0 : 100, 0);
		torc_gen_destroy(g);
	}
}

Test(gen, each_ends_at_an_error_and_the_status_tells)
{
	struct torc_gen *g = make(fail_at_once, ARG(-EIO));

	torc_gen_each(value, g)
		check(!value);
	check_eq(torc_gen_status(g), -EIO);
	torc_gen_destroy(g);
}

Test(gen, each_can_be_nested)
{
	struct torc_gen *a = make(count_to, ARG(3));
	int sum = 0;

	torc_gen_each(x, a) {
		struct torc_gen *b = make(count_to, x);

		torc_gen_each(y, b) {
			if (y == ARG(3))
				break;
			sum += 10 * (int)VALUE(x) + (int)VALUE(y);
		}
		torc_gen_destroy(b);
	}
	check_eq(sum, 11 + 21 + 22 + 31 + 32);
	torc_gen_destroy(a);
}

/* --- misuse --- */

static int yield_outside(void *arg)
{
	struct torc_gen *g = make(count_to, ARG(2));

	(void)arg;
	return torc_gen_yield(g, NULL, NULL);
}

static int yield_for_outer(struct torc_gen *g, void *arg)
{
	(void)g;
	return torc_gen_yield(arg, NULL, NULL);
}

static int resume_one_that_yields_for_it(struct torc_gen *g, void *arg)
{
	(void)arg;
	return torc_gen_next(make(yield_for_outer, g), NULL);
}

static int yield_for_another(void *arg)
{
	struct torc_gen *g = make(resume_one_that_yields_for_it, NULL);

	(void)arg;
	return torc_gen_next(g, NULL);
}

static int yield_from_outside(void *arg)
{
	(void)arg;
	return torc_gen_yield_from(make(count_to, ARG(1)), make(count_to, ARG(2)), NULL);
}

static int destroy_itself(struct torc_gen *g, void *arg)
{
	(void)arg;
	torc_gen_destroy(g);
	return 0;
}

static int destroy_running(void *arg)
{
	(void)arg;
	return torc_gen_next(make(destroy_itself, NULL), NULL);
}

static int destroy_one_that_goes_on(void *arg)
{
	struct seen s = { .answer = 5 };
	struct torc_gen *g = make(echo, &s);

	(void)arg;
	expect_value(g, 0);
	torc_gen_destroy(g);
	return 0;
}

static int destroy_inner(void *arg)
{
	struct torc_gen *inner = make(count_to, ARG(3)), *g = make(ignore_result, inner);

	(void)arg;
	expect_value(g, 1);
	torc_gen_destroy(inner);
	return 0;
}

static int destroy_twice(void *arg)
{
	struct torc_gen *g = make(count_to, ARG(3));

	(void)arg;
	torc_gen_destroy(g);
	torc_gen_destroy(g);
	return 0;
}

static int use_destroyed(void *arg)
{
	struct torc_gen *g = make(count_to, ARG(3));

	(void)arg;
	torc_gen_destroy(g);
	return torc_gen_next(g, NULL);
}

static const struct {
	const char *what;
	int (*body)(void *arg);
} misuses[] = {
	{ "a yield outside of the generator's body", yield_outside },
	{ "a yield outside of the generator's body", yield_for_another },
	{ "a yield outside of the generator's body", yield_from_outside },
	{ "destroyed while it is running: generator unnamed", destroy_running },
	{ "it yielded while it was to end: generator unnamed", destroy_one_that_goes_on },
	{ "destroyed while another one yields from it", destroy_inner },
	{ "a generator is destroyed twice", destroy_twice },
	{ "a generator is used after it was destroyed", use_destroyed },
};

Test(gen, misuse_traps_with_a_message)
{
	for (size_t i = 0; i < COUNT(misuses); i++)
		expect_trap_outside(misuses[i].body, misuses[i].what);
}
