/*
 * core/mutex.c - mutex and condition of core/sync.h.
 */
#include <torc/core/sync.h>

#include <errno.h>

#include "core/internal/waiters.h"

static void describe_mutex(const struct torc__wait *wait, struct torc__message *m)
{
	const struct torc__guard *guard = ((const struct torc__waiter *)wait)->guard;
	const struct torc__fiber *owner;

	torc__waiter_describe(wait, m);
	if (!((const struct torc__waiter *)wait)->node.queued) /* it has what it waited for */
		return;
	owner = torc__container_of(guard, const struct torc_mutex, guard)->owner;
	torc__message_text(m, ", locked by fiber ");
	torc__message_text(m, owner && owner->name ? owner->name : "(unnamed)");
}

static const struct torc__wait_kind mutex_kind = {
	.name = "mutex",
	.cancel = torc__waiter_cancel,
	.describe = describe_mutex,
};

/* A condition gives its mutex back locked: that cannot be cut short. */
static const struct torc__wait_kind relock_kind = { .name = "mutex, after a condition",
						    .describe = describe_mutex };

static const struct torc__wait_kind cond_kind = {
	.name = "condition",
	.cancel = torc__waiter_cancel,
	.describe = torc__waiter_describe,
};

/* --- mutex --- */

void torc_mutex_init(struct torc_mutex *m)
{
	*m = (struct torc_mutex){ .owner = NULL };
}

void torc_mutex_done(struct torc_mutex *m)
{
	torc__check(!m->owner, "a mutex is done with while it is locked");
}

static inline bool take(struct torc_mutex *m, struct torc__fiber *f)
{
	if (m->owner)
		return false;
	m->owner = f;
	return true;
}

static inline int lock(struct torc_mutex *m, struct torc__fiber *f,
		       const struct torc__wait_kind *kind)
{
	struct torc__waiter w;
	bool owned = torc__guard_enter(f->loop, &m->guard);
	bool twice = m->owner == f;
	bool taken = take(m, f);

	if (!taken && !twice)
		torc__waiter_queue(&w, f, &m->guard, &m->waiters);
	torc__guard_leave(f->loop, &m->guard, owned);
	torc__check(!twice, "a mutex is locked twice by the same fiber");
	return torc__likely(taken) ? 0 : torc__waiter_park(&w, kind);
}

int torc_mutex_lock(struct torc_mutex *m)
{
	struct torc__fiber *f = torc__self();
	int r = torc__scope_check(f);

	return torc__unlikely(r < 0) ? r : lock(m, f, &mutex_kind);
}

int torc_mutex_try_lock(struct torc_mutex *m)
{
	struct torc__fiber *f = torc__self();
	bool owned = torc__guard_enter(f->loop, &m->guard);
	bool taken = take(m, f);

	torc__guard_leave(f->loop, &m->guard, owned);
	return taken ? 0 : -EBUSY;
}

void torc_mutex_unlock(struct torc_mutex *m)
{
	struct torc__fiber *f = torc__self();
	struct torc__loop *loop = f->loop;
	struct torc__node *next = NULL;
	bool owned = torc__guard_enter(loop, &m->guard);
	bool mine = m->owner == f;

	if (torc__likely(mine)) {
		next = torc__queue_grant(&m->waiters, 0);
		m->owner = next ? next->waiter->fiber : NULL;
	}
	torc__guard_leave(loop, &m->guard, owned);
	torc__check(mine, "a mutex is unlocked by a fiber that has not locked it");
	torc__wake(loop, next);
}

/* --- condition --- */

void torc_cond_init(struct torc_cond *c)
{
	*c = (struct torc_cond){ .waiters = { NULL, NULL } };
}

void torc_cond_done(struct torc_cond *c)
{
	torc__check(!c->waiters.first, "a condition is done with while a fiber waits for it");
}

int torc_cond_wait(struct torc_cond *c, struct torc_mutex *m)
{
	struct torc__fiber *f = torc__self();
	struct torc__waiter w;
	int r = torc__scope_check(f), locked;
	bool owned;

	if (r < 0)
		return r;
	/* In line before the mutex is let go: a signal that its next owner sends is not missed. */
	owned = torc__guard_enter(f->loop, &c->guard);
	torc__waiter_queue(&w, f, &c->guard, &c->waiters);
	torc__guard_leave(f->loop, &c->guard, owned);
	torc_mutex_unlock(m);
	r = torc__waiter_park(&w, &cond_kind);
	locked = lock(m, f, &relock_kind);
	torc__check(locked == 0, "a condition could not lock its mutex");
	return r;
}

void torc_cond_signal(struct torc_cond *c)
{
	struct torc__loop *loop = torc__here();
	bool owned = torc__guard_enter(loop, &c->guard);
	struct torc__node *node = torc__queue_grant(&c->waiters, 0);

	torc__guard_leave(loop, &c->guard, owned);
	torc__wake(loop, node);
}

void torc_cond_broadcast(struct torc_cond *c)
{
	torc__release_all(&c->guard, &c->waiters, 0);
}
