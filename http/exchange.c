/*
 * http/exchange.c - what belongs to the exchange as a whole: the chain of steps, memory, values, filters.
 */
#include <torc/http/exchange.h>

#include <errno.h>

#include "http/internal/exchange.h"

/* --- the chain --- */

int torc_http_next(struct torc_http_exchange *x)
{
	const struct torc__http_chain here = x->chain;
	const struct torc_http_step *step;
	int r;

	while (x->chain.at == x->chain.end) {
		if (!x->chain.outer) {
			x->chain = here;
			return -ENOENT;
		}
		x->chain = *x->chain.outer;
	}
	step = x->chain.at++;
	r = step->fn(x, step->arg);
	x->chain = here;
	return r;
}

int torc_http_run(struct torc_http_exchange *x, const struct torc_http_step *steps, size_t count)
{
	const struct torc__http_chain outer = x->chain;
	int r;

	x->chain = (struct torc__http_chain){ steps, steps + count, &outer, outer.mount };
	r = torc_http_next(x);
	x->chain = outer;
	return r;
}

/* --- memory --- */

#define ALIGN 16u

/* A further chunk, in front of what it is for. */
struct torc__http_block {
	_Alignas(ALIGN) struct torc__http_block *next;
	uint32_t capacity;
};

struct torc__http_deferred {
	struct torc__http_deferred *next;
	void (*fn)(void *arg);
	void *arg;
};

struct torc__http_value {
	struct torc__http_value *next;
	const void *key;
	void *value;
};

void torc__http_memory_init(struct torc_http_exchange *x)
{
	size_t used = offsetof(struct torc_http_exchange, fields) +
		      x->head.field_capacity * sizeof(struct torc__http_field);

	used = (used + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	x->chain = (struct torc__http_chain){ NULL, NULL, NULL, NULL };
	x->room = (char *)x + used;
	x->room_left = used < x->capacity ? x->capacity - used : 0;
	x->block_bytes = 0;
	x->deferred = NULL;
	x->values = NULL;
}

/* From a chunk of its own; if that has more left than the one in use, it is the one from then on. */
static void *alloc_block(struct torc_http_exchange *x, size_t bytes)
{
	size_t most = x->config->options.memory_bytes, left;
	struct torc__http_block *block;
	uint32_t capacity;
	char *room;

	if (bytes > most || x->block_bytes > most - bytes)
		return NULL;
	block = (void *)torc__chunk_take(x->stream->buffers, bytes + sizeof(*block), &capacity);
	if (!block)
		return NULL;
	block->next = x->blocks;
	block->capacity = capacity;
	x->blocks = block;
	x->block_bytes += capacity;
	room = (char *)(block + 1);
	left = capacity - sizeof(*block) - bytes;
	if (left > x->room_left) {
		x->room = room + bytes;
		x->room_left = left;
	}
	return room;
}

void *torc_http_alloc(struct torc_http_exchange *x, size_t bytes)
{
	char *p = x->room;

	if (torc__unlikely(bytes > SIZE_MAX / 2))
		return NULL;
	bytes = (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	if (torc__unlikely(bytes > x->room_left))
		return alloc_block(x, bytes);
	x->room += bytes;
	x->room_left -= bytes;
	return p;
}

int torc_http_defer(struct torc_http_exchange *x, void (*fn)(void *arg), void *arg)
{
	struct torc__http_deferred *d = torc_http_alloc(x, sizeof(*d));

	if (!d)
		return -ENOMEM;
	*d = (struct torc__http_deferred){ x->deferred, fn, arg };
	x->deferred = d;
	return 0;
}

void torc__http_run_deferred(struct torc_http_exchange *x)
{
	while (x->deferred) {
		struct torc__http_deferred *d = x->deferred;

		x->deferred = d->next;
		d->fn(d->arg);
	}
}

void torc__http_memory_done(struct torc_http_exchange *x)
{
	torc__chunk_give(x->stream->buffers, x->whole.data, x->whole.capacity);
	while (x->blocks) {
		struct torc__http_block *block = x->blocks;

		x->blocks = block->next;
		torc__chunk_give(x->stream->buffers, (char *)block, block->capacity);
	}
}

int torc__http_text_grow(struct torc_http_exchange *x, struct torc__http_text *text, size_t more,
			 size_t most)
{
	size_t capacity = text->capacity ? text->capacity : 512;
	char *data;

	if (more > most || text->len > most - more)
		return -ENOSPC;
	if (text->len + more <= text->capacity)
		return 0;
	while (capacity < text->len + more)
		capacity *= 2;
	data = torc_http_alloc(x, capacity);
	if (!data)
		return -ENOMEM;
	if (text->len)
		memcpy(data, text->data, text->len);
	text->data = data;
	text->capacity = (uint32_t)capacity;
	return 0;
}

/* --- values --- */

static struct torc__http_value *find_value(const struct torc_http_exchange *x, const void *key)
{
	struct torc__http_value *v = x->values;

	while (v && v->key != key)
		v = v->next;
	return v;
}

int torc_http_local_set(struct torc_http_exchange *x, const void *key, void *value)
{
	struct torc__http_value *v = find_value(x, key);

	if (!v) {
		v = torc_http_alloc(x, sizeof(*v));
		if (!v)
			return -ENOMEM;
		v->key = key;
		v->next = x->values;
		x->values = v;
	}
	v->value = value;
	return 0;
}

void *torc_http_local_get(const struct torc_http_exchange *x, const void *key)
{
	const struct torc__http_value *v = find_value(x, key);

	return v ? v->value : NULL;
}

/* --- filters: response.c has what is behind the last one --- */

void torc_http_add_filter(struct torc_http_exchange *x, struct torc_http_filter *f)
{
	if (x->responded)
		return;
	f->next = x->filters;
	x->filters = f;
}

int torc_http_filter_end(struct torc_http_filter *f, struct torc_http_exchange *x)
{
	return f->next ? f->next->end(f->next, x) : 0;
}

int torc_http_filter_flush(struct torc_http_filter *f, struct torc_http_exchange *x)
{
	struct torc_http_filter *next = f->next;

	while (next && !next->flush)
		next = next->next;
	return next ? next->flush(next, x) : 0;
}
