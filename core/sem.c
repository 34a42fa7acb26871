/*
 * core/sem.c - semaphore of core/sync.h.
 */
#include <torc/core/sync.h>

#include <errno.h>

#include "core/internal/waiters.h"

void torc_sem_init(struct torc_sem *s, uint32_t units)
{
	*s = (struct torc_sem){ .units = units };
}

void torc_sem_done(struct torc_sem *s)
{
	torc__check(!s->waiters.first, "a semaphore is done with while a fiber waits for it");
}

/* torc_sem_units reads it without the guard. */
static inline void set_units(struct torc_sem *s, uint32_t units)
{
	__atomic_store_n(&s->units, units, __ATOMIC_RELAXED);
}

static inline bool take(struct torc_sem *s, uint32_t units)
{
	if (s->units < units)
		return false;
	set_units(s, s->units - units);
	return true;
}

static void settle(struct torc__queue *waiters, struct torc__granted *granted)
{
	struct torc_sem *s = torc__container_of(waiters, struct torc_sem, waiters);

	while (waiters->first && take(s, waiters->first->units))
		torc__granted_add(granted, torc__queue_grant(waiters, 0));
}

/* Who leaves the line may have wanted more than those behind it. */
static void cancel(struct torc__wait *wait)
{
	torc__waiter_withdraw((struct torc__waiter *)wait, settle);
}

static const struct torc__wait_kind sem_kind = { .name = "semaphore",
						 .cancel = cancel,
						 .describe = torc__waiter_describe };

int torc_sem_acquire(struct torc_sem *s, uint32_t units)
{
	struct torc__fiber *f = torc__self();
	struct torc__waiter w;
	int r = torc__scope_check(f);
	bool owned, taken;

	torc__check(units, "no units are acquired of a semaphore");
	if (torc__unlikely(r < 0))
		return r;
	owned = torc__guard_enter(f->loop, &s->guard);
	taken = !s->waiters.first && take(s, units);
	if (!taken) {
		w.node.units = units;
		torc__waiter_queue(&w, f, &s->guard, &s->waiters);
	}
	torc__guard_leave(f->loop, &s->guard, owned);
	return torc__likely(taken) ? 0 : torc__waiter_park(&w, &sem_kind);
}

int torc_sem_try_acquire(struct torc_sem *s, uint32_t units)
{
	struct torc__loop *loop = torc__here();
	bool owned = torc__guard_enter(loop, &s->guard);
	bool taken = !s->waiters.first && take(s, units);

	torc__guard_leave(loop, &s->guard, owned);
	return taken ? 0 : -EAGAIN;
}

void torc_sem_release(struct torc_sem *s, uint32_t units)
{
	struct torc__loop *loop = torc__here();
	TORC__GRANTED(granted);
	bool owned = torc__guard_enter(loop, &s->guard);
	bool over = units > UINT32_MAX - s->units;

	if (!over)
		set_units(s, s->units + units);
	settle(&s->waiters, &granted);
	torc__guard_leave(loop, &s->guard, owned);
	torc__check(!over, "a semaphore has more units than it can count");
	torc__wake_granted(loop, &granted);
}

uint32_t torc_sem_units(const struct torc_sem *s)
{
	return __atomic_load_n(&s->units, __ATOMIC_RELAXED);
}
