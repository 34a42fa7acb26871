#include "executor/internal/deque.h"

#include "core/internal/system.h"

#define SLOTS_FIRST ((size_t)256)

static struct torc__slots *allocate(size_t count, struct torc__slots *older)
{
	struct torc__slots *s = torc__malloc(sizeof(*s) + count * sizeof(s->tasks[0]));

	if (!s)
		return NULL;
	s->older = older;
	s->mask = count - 1;
	return s;
}

bool torc__deque_init(struct torc__deque *d)
{
	*d = (struct torc__deque){ .slots = allocate(SLOTS_FIRST, NULL) };
	return d->slots;
}

void torc__deque_done(struct torc__deque *d)
{
	struct torc__slots *s = d->slots, *older;

	for (; s; s = older) {
		older = s->older;
		torc__free(s);
	}
	d->slots = NULL;
}

bool torc__deque_grow(struct torc__deque *d, size_t more)
{
	struct torc__slots *old = d->slots, *new;
	size_t count = old->mask + 1, used;

	d->top_seen = __atomic_load_n(&d->top, __ATOMIC_ACQUIRE);
	used = (size_t)(d->bottom - d->top_seen);
	if (used + more <= old->mask)
		return true;
	while (used + more >= count)
		count *= 2;
	new = allocate(count, old);
	if (!new)
		return false;
	for (int64_t i = d->top_seen; i < d->bottom; i++)
		new->tasks[(size_t)i & new->mask] = old->tasks[(size_t)i & old->mask];
	__atomic_store_n(&d->slots, new, __ATOMIC_RELEASE);
	return true;
}
