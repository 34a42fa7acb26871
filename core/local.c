#include <torc/core/local.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/internal/fiber.h"
#include "core/internal/local.h"
#include "core/internal/system.h"

#define CAPACITY_FIRST 4

struct binding {
	const struct torc_local *key;
	void *value;
	atomic_size_t *holders; /* tables, of any loop; NULL: there is nothing to destroy */
};

struct torc__locals {
	struct torc__locals *inherited; /* of a fiber's own table: what its children get */
	size_t users;                   /* fibers, and tables that point here; of one loop */
	unsigned count, capacity;
	bool own; /* of keys that are not inherited; never shared */
	struct binding bindings[];
};

/* --- values --- */

static void hold(const struct binding *b)
{
	if (b->holders)
		atomic_fetch_add_explicit(b->holders, 1, memory_order_relaxed);
}

/* By value: the destructor may change the table. */
static void let_go(struct binding b)
{
	/* Release: what this fiber has done with the value; acquire: what the others have, before it goes. */
	if (!b.holders || atomic_fetch_sub_explicit(b.holders, 1, memory_order_acq_rel) != 1)
		return;
	torc__free(b.holders);
	b.key->destroy(b.value);
}

static int make_binding(const struct torc_local *key, void *value, struct binding *ret_binding)
{
	struct binding b = { .key = key, .value = value };

	if (value && key->destroy) {
		b.holders = torc__malloc(sizeof(*b.holders));
		if (!b.holders)
			return -ENOMEM;
		atomic_init(b.holders, 1);
	}
	*ret_binding = b;
	return 0;
}

/* --- tables --- */

static size_t table_bytes(unsigned capacity)
{
	return offsetof(struct torc__locals, bindings) + capacity * sizeof(struct binding);
}

static struct torc__locals *create(unsigned capacity, bool own)
{
	struct torc__locals *t = torc__malloc(table_bytes(capacity));

	if (t)
		*t = (struct torc__locals){ .users = 1, .capacity = capacity, .own = own };
	return t;
}

static struct torc__locals *copy(const struct torc__locals *from, unsigned capacity)
{
	struct torc__locals *t = create(capacity, false);

	if (!t)
		return NULL;
	t->count = from->count;
	for (unsigned i = 0; i < t->count; i++) {
		t->bindings[i] = from->bindings[i];
		hold(&t->bindings[i]);
	}
	return t;
}

static struct torc__locals *inherited_of(struct torc__locals *t)
{
	return t && t->own ? t->inherited : t;
}

struct torc__locals *torc__locals_share(struct torc__locals *locals)
{
	struct torc__locals *t = inherited_of(locals);

	if (t)
		t->users++;
	return t;
}

int torc__locals_copy(struct torc__locals *locals, struct torc__locals **ret_copy)
{
	const struct torc__locals *t = inherited_of(locals);
	struct torc__locals *new = NULL;

	if (t && t->count) {
		new = copy(t, t->count);
		if (!new)
			return -ENOMEM;
	}
	*ret_copy = new;
	return 0;
}

void torc__locals_drop(struct torc__locals *t)
{
	while (t && !--t->users) {
		struct torc__locals *inherited = t->inherited;

		while (t->count)
			let_go(t->bindings[--t->count]);
		torc__free(t);
		t = inherited;
	}
}

void torc__locals_end(struct torc__fiber *f)
{
	struct torc__locals *t = f->locals;

	f->locals = NULL; /* first: destructors may spawn, and find no values */
	torc__locals_drop(t);
}

/* --- a fiber's --- */

static struct binding *find(struct torc__locals *t, const struct torc_local *key)
{
	for (unsigned i = 0; t && i < t->count; i++)
		if (t->bindings[i].key == key)
			return &t->bindings[i];
	return NULL;
}

/* Where the table hangs that has the key's value, if the fiber has it. */
static struct torc__locals **table_of(struct torc__fiber *f, const struct torc_local *key)
{
	bool own = f->locals && f->locals->own;

	return own && !key->not_inherited ? &f->locals->inherited : &f->locals;
}

/* The fiber's first value that is not inherited: put a table of its own before the other. */
static int add_own(struct torc__fiber *f)
{
	struct torc__locals *t = create(CAPACITY_FIRST, true);

	if (!t)
		return -ENOMEM;
	t->inherited = f->locals;
	f->locals = t;
	return 0;
}

static unsigned capacity_for(unsigned count)
{
	unsigned capacity = CAPACITY_FIRST;

	while (capacity < count)
		capacity *= 2;
	return capacity;
}

/* Make the table the fiber's alone, with room for `count`. Returns 0 or -ENOMEM. */
static int make_writable(struct torc__locals **link, unsigned count)
{
	struct torc__locals *t = *link, *new;
	unsigned capacity = capacity_for(count);
	bool shared = t && t->users > 1;

	if (t && !shared && count <= t->capacity)
		return 0;
	if (!t)
		new = create(capacity, false);
	else if (shared)
		new = copy(t, capacity);
	else
		new = torc__realloc(t, table_bytes(capacity));
	if (!new)
		return -ENOMEM;
	if (shared)
		t->users--;
	new->capacity = capacity;
	*link = new;
	return 0;
}

static struct torc__fiber *changing(void)
{
	struct torc__fiber *f = torc__self();

	torc__check(f->state == TORC__RUNNING,
		    "a destructor of a fiber-local value sets or takes away one");
	return f;
}

void *torc_local_get(const struct torc_local *key)
{
	struct torc__fiber *f = torc__self();
	const struct binding *b = find(*table_of(f, key), key);

	return b ? b->value : key->initial;
}

static int add(struct torc__locals **link, struct binding b)
{
	unsigned count = *link ? (*link)->count : 0;
	int r = count == TORC_LOCALS_MAX ? -ENOSPC : make_writable(link, count + 1);

	if (!r)
		(*link)->bindings[(*link)->count++] = b;
	return r;
}

static int replace(struct torc__locals **link, struct binding b)
{
	int r = make_writable(link, (*link)->count);
	struct binding *place, old;

	if (r)
		return r;
	place = find(*link, b.key);
	old = *place;
	*place = b;
	let_go(old);
	return 0;
}

int torc_local_set(const struct torc_local *key, void *value)
{
	struct torc__fiber *f = changing();
	struct torc__locals **link;
	const struct binding *old;
	struct binding b;
	int r;

	if (key->not_inherited && !(f->locals && f->locals->own) && add_own(f))
		return -ENOMEM;
	link = table_of(f, key);
	old = find(*link, key);
	if (old && old->value == value)
		return 0;
	r = make_binding(key, value, &b);
	if (r)
		return r;
	r = old ? replace(link, b) : add(link, b);
	if (r)
		torc__free(b.holders);
	return r;
}

int torc_local_unset(const struct torc_local *key)
{
	struct torc__locals **link = table_of(changing(), key), *t;
	struct binding *place, old;
	int r;

	if (!find(*link, key))
		return 0;
	r = make_writable(link, (*link)->count);
	if (r)
		return r;
	t = *link;
	place = find(t, key);
	old = *place;
	memmove(place, place + 1, (size_t)(t->bindings + t->count - (place + 1)) * sizeof(*place));
	t->count--;
	let_go(old);
	return 0;
}
