/*
 * tests/sim/gen.h - generators in fibers: they yield from each other, suspend their fibers, are sent to and thrown at,
 * closed early, handed from loop to loop, and destroyed wherever they stand. And fiber-locals, inherited all the while.
 *
 * Checks:
 *	- what is yielded arrives, what is sent or thrown reaches the innermost body, and only that
 *	- a body that has started ends, and its clean-up runs once, when its generator is destroyed at the latest
 *	- a child finds the values that its spawner had; each value is destroyed once, when all its fibers have ended
 */
#ifndef TESTS_SIM_GEN_H
#define TESTS_SIM_GEN_H

#include <torc/core/chan.h>
#include <torc/core/defer.h>
#include <torc/core/gen.h>
#include <torc/core/local.h>

#include "tests/sim/sim.h"

#define GEN_LINES  12 /* of generators: an outermost one, and those that it yields from */
#define GEN_FIBERS 12
#define GEN_VALUES 64
#define GEN_DEPTH  3

struct gen_world;

/* A body that runs, on its own stack. */
struct gen_body {
	struct gen_line *line;
	struct torc_gen *gen;
	int depth;
	bool stubborn; /* yields once more when it is to end */
};

/* An outermost generator, and what passes between its consumer and whichever body of the line is innermost. */
struct gen_line {
	struct gen_world *world;
	struct gen_body body;
	uintptr_t seq; /* of what was yielded last */
	void *sent;
	int thrown; /* 0: nothing */
	bool closing;
};

struct gen_value {
	atomic_int set, destroyed;
};

struct gen_fiber {
	struct gen_world *world;
	void *inherited, *other; /* what its spawner has */
};

struct gen_world {
	struct torc_group group;
	struct torc_chan
		lines_chan; /* lines on their way to another fiber: to one owner after the other */
	struct torc_chan ticks; /* received inside of bodies */
	struct gen_line lines[GEN_LINES];
	struct gen_fiber fibers[GEN_FIBERS];
	struct gen_value values[GEN_VALUES];
	atomic_int lines_taken, fibers_taken, values_taken;
	atomic_int deferred, cleaned;
};

/* --- fiber-locals --- */

static void gen_value_destroy(void *value)
{
	struct gen_value *v = value;

	check_eq(v->destroyed++, 0);
}

static struct torc_local gen_key = TORC_LOCAL(gen_value_destroy);
static struct torc_local gen_other_key = TORC_LOCAL(gen_value_destroy);
static struct torc_local gen_own_key = { gen_value_destroy, &gen_own_key, true };

static const struct torc_local *gen_any_key(void)
{
	static const struct torc_local *const keys[] = { &gen_key, &gen_other_key, &gen_own_key };

	return keys[dice(COUNT(keys))];
}

static void gen_unset(const struct torc_local *key)
{
	void *before = torc_local_get(key);
	int r = torc_local_unset(key);

	check(r == 0 || r == -ENOMEM);
	check(torc_local_get(key) == (r ? before : key->initial));
}

static void gen_change_local(struct gen_world *w)
{
	const struct torc_local *key = gen_any_key();
	int index, r;

	if (one_in(4)) {
		gen_unset(key);
		return;
	}
	index = w->values_taken++;
	if (index >= GEN_VALUES)
		return;
	r = torc_local_set(key, &w->values[index]);
	check(r == 0 || r == -ENOMEM);
	if (r < 0)
		return;
	w->values[index].set = 1;
	check(torc_local_get(key) == &w->values[index]);
}

static void gen_check_values(const struct gen_world *w)
{
	for (int i = 0; i < GEN_VALUES; i++)
		check_eq(w->values[i].set, w->values[i].destroyed);
}

/* --- bodies --- */

static void gen_clean_up(void *arg)
{
	struct gen_body *b = arg;

	if (one_in(4))
		do_something();
	b->line->world->cleaned++;
}

/* Returns what torc_gen_yield does. */
static int gen_yield_one(struct gen_body *b)
{
	struct gen_line *line = b->line;
	void *sent = NULL;
	int r = torc_gen_yield(b->gen, (void *)++line->seq, &sent);

	if (r == TORC_GEN_EXIT)
		check(line->closing);
	else
		check_eq(r, line->thrown);
	if (r == 0)
		check(sent == line->sent);
	line->thrown = 0;
	return r;
}

static int gen_body_main(struct torc_gen *g, void *arg);

/* Yields from a generator of its own. Returns as torc_gen_yield_from. */
static int gen_yield_inner(struct gen_body *b)
{
	struct gen_body inner = { .line = b->line, .depth = b->depth - 1, .stubborn = one_in(6) };
	void *result = b;
	int r = torc_gen_create(gen_body_main, &inner, NULL, &inner.gen);

	if (r < 0) {
		check_eq(r, -ENOMEM);
		return 0;
	}
	/* It may stand at a value already, which nobody gets; then it is gone on with, not sent to. */
	if (one_in(4))
		r = torc_gen_next(inner.gen, NULL);
	b->line->sent = NULL;
	if (r >= 0)
		r = torc_gen_yield_from(b->gen, inner.gen, &result);
	if (r == 0)
		check(result == b->line);
	torc_gen_destroy(inner.gen);
	return r;
}

/* In the fiber that has resumed the generator. */
static int gen_suspend(struct gen_body *b)
{
	struct torc_chan *ticks = &b->line->world->ticks;
	int tick = 1, r;

	if (one_in(2))
		return do_something();
	if (one_in(2)) {
		r = torc_chan_try_send(ticks, &tick);
		check(r == 0 || r == -EAGAIN);
	}
	torc_within(dice(50000)) check(stop_or_done(torc_chan_recv(ticks, &tick)) != 0);
	return torc_scope_status();
}

/* Returns 0 to go on, or the error that ends the body. */
static int gen_act(struct gen_body *b)
{
	int r;

	b->line->world->deferred++;
	torc_defer(gen_clean_up, b);
	switch (dice(8)) {
	case 0:
	case 1: r = gen_suspend(b); break;
	case 2: r = b->depth > 0 ? gen_yield_inner(b) : 0; break;
	case 3: r = one_in(6) ? -EIO : 0; break;
	default: r = gen_yield_one(b);
	}
	if (r == TORC_GEN_EXIT && b->stubborn) {
		b->stubborn = false;
		r = gen_yield_one(b);
	}
	/* An error that is not the end can be got over. */
	return r < 0 && r != TORC_GEN_EXIT && !b->line->closing && one_in(2) ? 0 : r;
}

static int gen_body_main(struct torc_gen *g, void *arg)
{
	struct gen_body *b = arg;
	int r = 0;

	b->line->world->deferred++;
	torc_defer(gen_clean_up, b);
	for (unsigned steps = dice(8); steps && !r; steps--)
		r = gen_act(b);
	return r < 0 ? r : torc_gen_return(g, b->line);
}

/* --- consumers --- */

/* Returns NULL when there are enough, or no memory. */
static struct gen_line *gen_create(struct gen_world *w)
{
	int index = w->lines_taken++, r;
	struct gen_line *line;

	if (index >= GEN_LINES)
		return NULL;
	line = &w->lines[index];
	line->world = w;
	line->body = (struct gen_body){ .line = line, .depth = GEN_DEPTH, .stubborn = one_in(6) };
	r = torc_gen_create(gen_body_main, &line->body, NULL, &line->body.gen);
	check(r == 0 || r == -ENOMEM);
	return r < 0 ? NULL : line;
}

static void gen_end(struct gen_line *line)
{
	struct torc_gen *g = line->body.gen;
	int tries = 0;

	line->closing = true;
	/* One that yields once more would trap. */
	if (line->body.stubborn || one_in(2)) {
		while (torc_gen_close(g) == -EPROTO && torc_gen_state(g) == TORC_GEN_SUSPENDED)
			check_lt(tries++, 2);
		check_eq(torc_gen_state(g), TORC_GEN_CLOSED);
	}
	torc_gen_destroy(g);
}

static int gen_send(struct gen_line *line, void **ret_value)
{
	struct torc_gen *g = line->body.gen;
	bool created = torc_gen_state(g) == TORC_GEN_CREATED;
	int r;

	line->sent = line;
	r = torc_gen_send(g, line, ret_value);
	if (created) {
		check_eq(r, -EINVAL);
		check_eq(torc_gen_state(g), TORC_GEN_CREATED);
		line->sent = NULL;
		return 1;
	}
	return r;
}

static int gen_throw(struct gen_line *line, void **ret_value)
{
	static const int errors[] = { -EIO, -ENOENT, -EPROTO, -ETIMEDOUT };
	int r;

	line->thrown = errors[dice(COUNT(errors))];
	r = torc_gen_throw(line->body.gen, line->thrown, ret_value);
	line->thrown = 0;
	return r;
}

/* Returns false when the generator has ended. */
static bool gen_resume(struct gen_line *line)
{
	struct torc_gen *g = line->body.gen;
	void *value = NULL;
	int r;

	switch (dice(6)) {
	case 0: r = gen_throw(line, &value); break;
	case 1:
	case 2: r = gen_send(line, &value); break;
	default: line->sent = NULL; r = torc_gen_next(g, &value);
	}
	if (r == 1) {
		check(value == NULL || value == (void *)line->seq);
		return true;
	}
	check_le(r, 0);
	check(value == NULL);
	check_eq(torc_gen_state(g), TORC_GEN_CLOSED);
	check(torc_gen_result(g) == NULL || torc_gen_result(g) == line);
	return false;
}

/* Left by break, it is closed. */
static void gen_each(struct gen_line *line)
{
	unsigned most = dice(6);

	line->sent = NULL;
	torc_gen_each(value, line->body.gen) {
		check(value == (void *)line->seq);
		if (most-- == 0) {
			line->closing = true;
			break;
		}
	}
}

static void gen_hand_over(struct gen_line *line)
{
	int r;

	torc_within(some_time()) r = stop_or_done(torc_chan_send(&line->world->lines_chan, &line));
	if (r < 0)
		gen_end(line);
}

static void gen_consume(struct gen_world *w)
{
	struct gen_line *line = NULL;

	if (one_in(2) || torc_chan_try_recv(&w->lines_chan, &line) != 1)
		line = gen_create(w);
	if (!line)
		return;
	for (unsigned i = dice(6); i; i--) {
		if (!gen_resume(line))
			break;
		if (one_in(4))
			do_something();
	}
	if (one_in(6))
		gen_each(line);
	if (!line->closing && one_in(2))
		gen_hand_over(line);
	else
		gen_end(line);
}

/* --- fibers --- */

static int gen_fiber_main(void *arg);

/* On any loop, with the caller's values. */
static void gen_spawn(struct gen_world *w)
{
	struct torc_spawn_options o = { .name = "gen",
					.loop = some_loop(),
					.stack_bytes = some_stack() };
	int index = w->fibers_taken++;

	if (index >= GEN_FIBERS)
		return;
	w->fibers[index] =
		(struct gen_fiber){ w, torc_local_get(&gen_key), torc_local_get(&gen_other_key) };
	any_of_spawn(torc_group_spawn_with(&w->group, &o, gen_fiber_main, &w->fibers[index]));
}

static int gen_fiber_main(void *arg)
{
	struct gen_fiber *f = arg;

	check(torc_local_get(&gen_key) == f->inherited);
	check(torc_local_get(&gen_other_key) == f->other);
	check(torc_local_get(&gen_own_key) == gen_own_key.initial);
	for (unsigned i = 1 + dice(4); i; i--) {
		gen_change_local(f->world);
		if (one_in(2))
			gen_spawn(f->world);
		gen_consume(f->world);
	}
	return 0;
}

/* --- together --- */

static int gen_open(struct gen_world *w)
{
	int r = torc_chan_init(&w->lines_chan, sizeof(struct gen_line *), 2);

	if (r < 0)
		return r;
	r = torc_chan_init(&w->ticks, sizeof(int), 2);
	if (r < 0)
		torc_chan_done(&w->lines_chan);
	return r;
}

static void gen_close(struct gen_world *w)
{
	struct gen_line *line;

	while (torc_chan_try_recv(&w->lines_chan, &line) == 1)
		gen_end(line);
	torc_chan_done(&w->lines_chan);
	torc_chan_done(&w->ticks);
}

static int gen_scenario(void *arg)
{
	static struct gen_world world;
	struct gen_world *w = &world;
	int r;

	(void)arg;
	memset(w, 0, sizeof(*w));
	r = gen_open(w);
	if (r < 0)
		return r;
	torc_within(one_in(2) ? TORC_NEVER : dice(1000000))
	{
		torc_group_enter(&w->group);
		for (int i = 0; i < 3; i++)
			gen_spawn(w);
		if (one_in(4)) {
			do_sleep(dice(200000));
			torc_group_cancel(&w->group);
		}
		finish(&w->group);
	}
	gen_close(w);
	check_eq(w->deferred, w->cleaned);
	gen_check_values(w);
	return 0;
}

#endif
