/*
 * torc_gen_yield_from beside PEP 380's expansion, written out with next, send, throw, close and yield: actors do
 * random things to each other, twice from the same seed, and every result and state must be the same. One
 * takes the short way from the consumer to the innermost generator, the other goes through all between.
 */
#include "tests/core/gen.h"

TestSuite(gen_random, .timeout = 60);

#define ACTORS   5
#define STEPS    400
#define LOG_MOST 40000

typedef int from_fn(struct torc_gen *g, struct torc_gen *inner, void **ret_result);

struct world {
	from_fn *from;
	struct torc_gen *gens[ACTORS];
	uint64_t seeds[ACTORS + 1]; /* the last one is the director's */
	int steps;                  /* that are left; then everybody ends */
	int log_count;
	int log[LOG_MOST];
};

static struct world *world;

/* The formal semantics of `yield from`, line by line. */
static int expansion(struct torc_gen *g, struct torc_gen *inner, void **ret_result)
{
	void *value, *sent;
	int r = torc_gen_next(inner, &value);

	while (r == 1) {
		int error = torc_gen_yield(g, value, &sent);

		if (error == TORC_GEN_EXIT) {
			r = torc_gen_close(inner);
			return r < 0 ? r : error;
		}
		if (error < 0)
			r = torc_gen_throw(inner, error, &value);
		else if (!sent)
			r = torc_gen_next(inner, &value);
		else
			r = torc_gen_send(inner, sent, &value);
	}
	if (!r)
		*ret_result = torc_gen_result(inner);
	return r;
}

static void note(int value)
{
	check_lt(world->log_count, LOG_MOST);
	world->log[world->log_count++] = value;
}

static void note_all(int what, int who, int r, void *value)
{
	note(what * 1000 + who);
	note(r);
	note((int)VALUE(value));
	for (int i = 0; i < ACTORS; i++)
		note((int)torc_gen_state(world->gens[i]));
}

static unsigned dice(int who, unsigned sides)
{
	return next_random(&world->seeds[who]) % sides;
}

/* Errors are few, so that they meet. */
static int some_error(int who)
{
	static const int errors[] = { TORC_GEN_EXIT, -EIO, -EPROTO, -EBUSY, -ENOENT };

	return errors[dice(who, COUNT(errors))];
}

/* One call on another one, or on itself. */
static void meddle(int who)
{
	struct torc_gen *g = world->gens[dice(who, ACTORS)];
	void *value = untouched;
	int what = (int)dice(who, 10), r;

	note_all(10 + what, who, 0, NULL);
	if (what < 4)
		r = torc_gen_next(g, &value);
	else if (what < 7)
		r = torc_gen_send(g, ARG(dice(who, 100)), &value);
	else if (what < 9)
		r = torc_gen_throw(g, some_error(who), &value);
	else
		r = torc_gen_close(g);
	note_all(20 + what, who, r, value);
}

/* What an error does to an actor. Returns 1: nothing. */
static int react(int who, int error)
{
	if (world->steps <= 0)
		return error;
	switch (dice(who, 4)) {
	case 0: return 0;
	case 1: return error;
	case 2: return some_error(who);
	default: return 1;
	}
}

static int act_once(struct torc_gen *g, int who)
{
	struct torc_gen *inner = world->gens[dice(who, ACTORS)];
	void *value = NULL;
	unsigned what = dice(who, 10);
	int r = 0;

	if (what < 4) {
		r = torc_gen_yield(g, ARG(dice(who, 1000)), &value);
	} else if (what < 8) {
		note_all(2, who, 0, NULL);
		r = world->from(g, inner, &value);
	} else if (what < 9) {
		meddle(who);
	} else if (!dice(who, 4)) {
		return torc_gen_return(g, ARG(dice(who, 1000)));
	}
	note_all(what < 4 ? 1 : 3, who, r, value);
	return r < 0 ? react(who, r) : 1;
}

static int act(struct torc_gen *g, void *arg)
{
	int who = (int)VALUE(arg), r = 1;

	while (r == 1 && world->steps-- > 0)
		r = act_once(g, who);
	note_all(4, who, r, NULL);
	return r == 1 ? 0 : r;
}

static void begin(struct world *w, from_fn *from, uint64_t seed)
{
	world = w;
	w->from = from;
	w->steps = STEPS;
	w->log_count = 0;
	for (int i = 0; i <= ACTORS; i++)
		w->seeds[i] = seed * 1000 + (uint64_t)i;
	for (int i = 0; i < ACTORS; i++)
		w->gens[i] = make(act, ARG(i));
}

static void play(struct world *w, from_fn *from, uint64_t seed)
{
	begin(w, from, seed);
	for (int i = 0; i < 100 && w->steps > 0; i++)
		meddle(ACTORS);
	w->steps = 0;
	for (int i = 0; i < ACTORS; i++)
		note_all(5, i, torc_gen_close(w->gens[i]), torc_gen_result(w->gens[i]));
	for (int i = 0; i < ACTORS; i++)
		torc_gen_destroy(w->gens[i]);
}

Test(gen_random, yield_from_does_what_its_formal_semantics_do)
{
	static struct world a, b;
	long events = 0;

	for (uint64_t seed = 1; seed <= (WITH_ASAN ? 500 : 5000); seed++) {
		play(&a, torc_gen_yield_from, seed);
		play(&b, expansion, seed);
		for (int i = 0; i < a.log_count && i < b.log_count; i++)
			cr_assert_eq(a.log[i], b.log[i], "seed %d, event %d: %d, %d", (int)seed,
				     i / (3 + ACTORS), a.log[i], b.log[i]);
		cr_assert_eq(a.log_count, b.log_count);
		events += a.log_count / (3 + ACTORS);
	}
	cr_assert_gt(events, WITH_ASAN ? 5000 : 50000, "something happened: %ld", events);
}
