/*
 * executor/process/map.c - torc_map by workers: a chunk of the items is a parcel of its own kind, whose function is called for
 * each item there. So many are on their way at a time that no worker waits; they are waited for in the order of the items.
 */
#include <torc/executor/map.h>

#include <errno.h>
#include <stdlib.h>

#include "core/internal/fiber.h"
#include "core/internal/system.h"
#include "executor/internal/process.h"

/* Of each worker, to be on their way; and into how many all items are cut at least. */
#define WINDOW_EACH 4u
#define PARTS_EACH  16u

/* A chunk copies no more at a time, unless one item has more. */
#define CHUNK_BYTES ((size_t)256 * 1024)

#define WINDOW_MOST 1024u

struct window {
	struct torc__processes *p;
	const struct torc_map *map;
	struct torc__parcel common;
	struct torc__chunk *chunks; /* [size], round and round */
	size_t chunk, size;
	size_t begun; /* items */
	size_t first, used;
};

int torc__chunk_run(void *chunk, void **ret_value)
{
	(void)chunk, (void)ret_value;
	torc__trap("a part of a map is run by the program itself");
}

static size_t choose_chunk(const struct torc__processes *p, const struct torc_map *map)
{
	size_t each = map->item_bytes + map->result_bytes;
	size_t room = p->message_max > map->arg_bytes ? p->message_max - map->arg_bytes : 0;
	size_t most = each ? room / each : map->count;
	size_t chunk = map->chunk;

	if (!chunk) {
		chunk = map->count / ((size_t)p->members_count * PARTS_EACH);
		if (each && chunk > CHUNK_BYTES / each)
			chunk = CHUNK_BYTES / each;
	}
	if (!chunk)
		chunk = 1;
	return chunk < most ? chunk : most;
}

static int begin_chunk(struct window *w)
{
	struct torc__chunk *c = &w->chunks[(w->first + w->used) % w->size];
	const struct torc_map *map = w->map;
	size_t left = map->count - w->begun, count = left < w->chunk ? left : w->chunk;
	int r;

	c->parcel = w->common;
	c->parcel.bell = torc__processes_bell();
	c->parcel.count = count;
	c->parcel.items_bytes = count * map->item_bytes;
	c->parcel.items =
		map->item_bytes ? (const char *)map->items + w->begun * map->item_bytes : NULL;
	c->parcel.result_bytes = count * map->result_bytes;
	c->parcel.result =
		map->result_bytes ? (char *)map->results + w->begun * map->result_bytes : NULL;
	r = torc_submit(&w->p->executor, torc__chunk_run, c, &c->future);
	if (r < 0)
		return r;
	w->begun += count;
	w->used++;
	return 0;
}

/* A full queue is only a reason to wait for what is under way. */
static int begin_chunks(struct window *w)
{
	int r = 0;

	while (w->used < w->size && w->begun < w->map->count && !r)
		r = begin_chunk(w);
	return r == -EAGAIN && w->used ? 0 : r;
}

static int end_first(struct window *w, uint64_t deadline_ns)
{
	struct torc_future *f = w->chunks[w->first].future;
	int r = torc__event_await(&f->event, deadline_ns, NULL);

	if (r < 0)
		return r;
	r = torc__future_read(f, NULL);
	torc_future_put(f);
	w->first = (w->first + 1) % w->size;
	w->used--;
	return r < 0 ? r : 0;
}

/* Nothing may be left running. */
static void end_rest(struct window *w)
{
	for (size_t i = 0; i < w->used; i++)
		torc_future_cancel(w->chunks[(w->first + i) % w->size].future);
	for (size_t i = 0; i < w->used; i++) {
		struct torc_future *f = w->chunks[(w->first + i) % w->size].future;

		torc__event_await_shielded(&f->event);
		torc_future_put(f);
	}
}

static int run_window(struct window *w)
{
	uint64_t deadline_ns = w->map->deadline_ns ? w->map->deadline_ns : TORC_NEVER;
	int r;

	do
		r = begin_chunks(w);
	while (!r && w->used && !(r = end_first(w, deadline_ns)));
	end_rest(w);
	return r;
}

int torc__processes_map(struct torc_executor *executor, const struct torc_map *map)
{
	struct window w = { .p = torc__processes_of(executor), .map = map };
	int r = torc_in_fiber() ? torc__scope_check(torc__self()) : 0;

	if (r < 0 || !map->count)
		return r;
	w.chunk = choose_chunk(w.p, map);
	if (!w.chunk)
		return -EMSGSIZE;
	r = torc__processes_resolve(w.p, (const void *)(uintptr_t)map->fn, &w.common.function);
	if (r < 0)
		return r;
	w.common.arg = map->arg_bytes ? map->arg : NULL;
	w.common.arg_bytes = map->arg_bytes;
	w.common.result_each = map->result_bytes;
	w.size = (size_t)w.p->members_count * WINDOW_EACH;
	if (w.size > WINDOW_MOST)
		w.size = WINDOW_MOST;
	w.chunks = torc__calloc(w.size, sizeof(*w.chunks));
	if (!w.chunks)
		return -ENOMEM;
	r = run_window(&w);
	torc__free(w.chunks);
	return r;
}
