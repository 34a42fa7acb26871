/*
 * executor/map_gen.c - torc_map_gen: a generator over a window of tasks.
 *
 * The window is a ring of slots, each a task for `chunk` items. The generator fills the ones behind its end from
 * the source, waits for the first, yields its results, and goes on with the next.
 */
#include <torc/executor/map.h>

#include <errno.h>
#include <string.h>

#include "core/internal/system.h"
#include "executor/internal/future.h"

/* It waits in its body, and a worker that waits runs tasks there. */
#define STACK_BYTES ((size_t)262144)

struct plan {
	struct torc_executor *executor;
	torc_map_gen_fn *fn;
	void *arg;
	struct torc_gen *source;
	size_t slots, chunk;
	uint64_t deadline_ns;
};

/* Items, and the results in their place. */
struct slot {
	struct torc_future *future; /* NULL: not submitted */
	const struct plan *plan;
	size_t count;  /* items */
	size_t mapped; /* of them, those that have a result */
	void *values[];
};

struct window {
	struct plan plan;
	char *slots; /* [plan.slots], each of slot_bytes */
	size_t slot_bytes;
	size_t first, used;
	bool source_ended;
	int source_status;
};

static struct slot *slot_at(const struct window *w, size_t index)
{
	size_t i = (w->first + index) % w->plan.slots;

	return (struct slot *)(void *)(w->slots + i * w->slot_bytes);
}

/* The task. */
static int map_slot(void *arg, void **ret_value)
{
	struct slot *s = arg;
	const struct plan *p = s->plan;
	int status = 0;

	(void)ret_value;
	for (s->mapped = 0; s->mapped < s->count && status >= 0; s->mapped += status >= 0) {
		void *result = NULL;

		status = p->fn(s->values[s->mapped], p->arg, &result);
		if (status >= 0)
			s->values[s->mapped] = result;
	}
	return status < 0 ? status : 0;
}

/* Take the items of a slot from the source. */
static void take_items(struct window *w, struct slot *s)
{
	s->plan = &w->plan;
	s->future = NULL;
	s->count = s->mapped = 0;
	while (s->count < w->plan.chunk && !w->source_ended) {
		int r = torc_gen_next(w->plan.source, &s->values[s->count]);

		if (r > 0) {
			s->count++;
		} else {
			w->source_ended = true;
			w->source_status = r;
		}
	}
}

static int fill(struct window *w)
{
	while (w->used < w->plan.slots && !w->source_ended) {
		struct slot *s = slot_at(w, w->used);
		int r;

		take_items(w, s);
		if (!s->count)
			break;
		r = torc_submit(w->plan.executor, map_slot, s, &s->future);
		if (r < 0)
			return r;
		w->used++;
	}
	return 0;
}

/* The results of the first slot, and its status. */
static int yield_first(struct window *w, struct torc_gen *g)
{
	struct slot *s = slot_at(w, 0);
	int r = torc_await_until(s->future, w->plan.deadline_ns, NULL), status = r;

	if (!torc__future_over(s->future))
		return r;
	r = 0;
	for (size_t i = 0; i < s->mapped && !r; i++)
		r = torc_gen_yield(g, s->values[i], NULL);
	if (r < 0)
		return r;
	torc_future_put(s->future);
	w->first = (w->first + 1) % w->plan.slots;
	w->used--;
	return status < 0 ? status : 0;
}

/* Nothing may be left running: the slots are the tasks' memory. */
static void close_window(struct window *w)
{
	for (size_t i = 0; i < w->used; i++)
		torc_future_cancel(slot_at(w, i)->future);
	for (size_t i = 0; i < w->used; i++) {
		torc__event_await_shielded(&slot_at(w, i)->future->event);
		torc_future_put(slot_at(w, i)->future);
	}
	torc__free(w->slots);
}

static int body(struct torc_gen *g, void *arg)
{
	struct window w = { .plan = *(const struct plan *)arg };
	size_t bytes;
	int r;

	w.slot_bytes = sizeof(struct slot) + w.plan.chunk * sizeof(void *);
	if (__builtin_mul_overflow(w.plan.slots, w.slot_bytes, &bytes) ||
	    !(w.slots = torc__malloc(bytes)))
		return -ENOMEM;
	do
		r = fill(&w);
	while (!r && w.used && !(r = yield_first(&w, g)));
	close_window(&w);
	return r < 0 ? r : w.source_status;
}

/* Returns false: it cannot be. */
static bool make_plan(struct plan *p, const struct torc_map_gen_options *o)
{
	size_t buffer = o ? o->buffer : 0;

	p->chunk = o && o->chunk ? o->chunk : 1;
	p->deadline_ns = o && o->deadline_ns ? o->deadline_ns : TORC_NEVER;
	p->slots = buffer ? buffer / p->chunk : 2 * (size_t)torc_executor_parallelism(p->executor);
	return p->slots && p->chunk < SIZE_MAX / sizeof(void *) - sizeof(struct slot);
}

/*
 * The plan travels in the part of the generator's stack where its body begins, which copies it first of all: a
 * generator that is never resumed has no other place where it could be freed.
 */
static void *place_for(struct torc_gen *g, const struct plan *p)
{
	void *place = (char *)g - STACK_BYTES / 2;

	return memcpy(place, p, sizeof(*p));
}

int torc_map_gen(struct torc_executor *executor, torc_map_gen_fn *fn, void *arg,
		 struct torc_gen *source, const struct torc_map_gen_options *options,
		 struct torc_gen **ret_gen)
{
	struct plan plan = { .executor = executor, .fn = fn, .arg = arg, .source = source };
	const struct torc_gen_options o = { .name = options ? options->name : NULL,
					    .stack_bytes = STACK_BYTES };
	int r;

	if (!make_plan(&plan, options))
		return -EINVAL;
	r = torc_gen_create(body, NULL, &o, ret_gen);
	if (r == 0)
		(*ret_gen)->arg = place_for(*ret_gen, &plan);
	return r;
}
