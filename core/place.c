/*
 * core/place.c - which loop a fiber starts on.
 */
#include <torc/core/run.h>

#include "core/internal/group.h"
#include "core/internal/runtime.h"

/* A fiber that was placed by load goes on to another loop where this many more are ready here, and twice as many. */
#define MUCH_BUSIER 16u

struct weight {
	unsigned load;   /* fibers that are ready, or about to be started */
	unsigned fibers; /* that live there, or are about to */
	bool full;
};

static inline unsigned read_relaxed(const unsigned *value)
{
	return __atomic_load_n(value, __ATOMIC_RELAXED);
}

static struct weight weigh(const struct torc__loop *loop)
{
	unsigned coming = read_relaxed(&loop->load.coming);
	struct weight w = { .load = read_relaxed(&loop->load.ready) + coming,
			    .fibers = read_relaxed(&loop->load.fibers) + coming };

	w.full = w.fibers >= loop->fibers_max;
	return w;
}

/* The calling thread's own loop is weighed as it is now; the running fiber counts. */
static struct weight weigh_here(const struct torc__loop *here)
{
	unsigned coming = read_relaxed(&here->load.coming);
	unsigned running = here->current != NULL;

	return (struct weight){ .load = (unsigned)here->run_count + running + coming,
				.fibers = (unsigned)here->fibers + coming,
				.full = here->fibers >= here->fibers_max };
}

static bool lighter(struct weight a, struct weight b)
{
	if (a.full != b.full)
		return b.full;
	return a.load != b.load ? a.load < b.load : a.fibers < b.fibers;
}

/* The lightest loop, `here` when none is lighter. Reads one cache line of each. */
static struct torc__loop *lightest(struct torc__loop *here, struct weight *ret_weight)
{
	const struct torc__runtime *rt = here->runtime;
	struct torc__loop *best = here;
	struct weight least = weigh_here(here);

	for (int i = 0; i < rt->loop_count; i++) {
		struct weight w;

		if (rt->loops[i] == here)
			continue;
		w = weigh(rt->loops[i]);
		if (lighter(w, least)) {
			least = w;
			best = rt->loops[i];
		}
	}
	*ret_weight = least;
	return best;
}

struct torc__loop *torc__place(struct torc__loop *here, int option)
{
	struct weight ignored;

	if (option == TORC_ON_LEAST_LOADED)
		return lightest(here, &ignored);
	if (option < 0 || option > here->runtime->loop_count)
		return NULL;
	return option ? here->runtime->loops[option - 1] : here;
}

struct torc__loop *torc__place_onward(struct torc__loop *here)
{
	struct weight self = weigh_here(here), other;
	struct torc__loop *to;

	if (!self.full && self.load < MUCH_BUSIER)
		return here;
	to = lightest(here, &other);
	if (self.full)
		return to;
	return self.load >= 2 * other.load + MUCH_BUSIER ? to : here;
}
