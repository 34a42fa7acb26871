/*
 * core/rwlock.c - rwlock of core/sync.h.
 */
#include <torc/core/sync.h>

#include <errno.h>

#include "core/internal/waiters.h"

/* What a node in line wants: units is 1 for a writer, 0 for a reader. */
#define WRITER 1u
#define READER 0u

void torc_rwlock_init(struct torc_rwlock *l)
{
	*l = (struct torc_rwlock){ .writer = NULL };
}

void torc_rwlock_done(struct torc_rwlock *l)
{
	torc__check(!l->writer && !l->readers, "a rwlock is done with while it is locked");
}

static bool take(struct torc_rwlock *l, struct torc__fiber *f, uint32_t wants)
{
	if (l->writer || (wants == WRITER && l->readers))
		return false;
	if (wants == WRITER)
		l->writer = f;
	else
		l->readers++;
	return true;
}

/* Hand it to the first in line, and to the readers right behind a reader. */
static void settle(struct torc__queue *waiters, struct torc__granted *granted)
{
	struct torc_rwlock *l = torc__container_of(waiters, struct torc_rwlock, waiters);

	while (waiters->first && take(l, waiters->first->waiter->fiber, waiters->first->units))
		torc__granted_add(granted, torc__queue_grant(waiters, 0));
}

/* Who leaves the line may have been what the others waited behind. */
static void cancel(struct torc__wait *wait)
{
	torc__waiter_withdraw((struct torc__waiter *)wait, settle);
}

static const struct torc__wait_kind read_kind = { .name = "rwlock, to read",
						  .cancel = cancel,
						  .describe = torc__waiter_describe };
static const struct torc__wait_kind write_kind = { .name = "rwlock, to write",
						   .cancel = cancel,
						   .describe = torc__waiter_describe };

static int lock(struct torc_rwlock *l, uint32_t wants)
{
	struct torc__fiber *f = torc__self();
	struct torc__waiter w;
	int r = torc__scope_check(f);
	bool owned, taken, mine;

	if (r < 0)
		return r;
	owned = torc__guard_enter(f->loop, &l->guard);
	mine = l->writer == f;
	taken = !l->waiters.first && take(l, f, wants);
	if (!taken && !mine) {
		w.node.units = wants;
		torc__waiter_queue(&w, f, &l->guard, &l->waiters);
	}
	torc__guard_leave(f->loop, &l->guard, owned);
	torc__check(!mine, "a rwlock is locked by the fiber that has it for writing");
	return taken ? 0 : torc__waiter_park(&w, wants == WRITER ? &write_kind : &read_kind);
}

int torc_rwlock_read(struct torc_rwlock *l)
{
	return lock(l, READER);
}

int torc_rwlock_write(struct torc_rwlock *l)
{
	return lock(l, WRITER);
}

static int try_lock(struct torc_rwlock *l, uint32_t wants)
{
	struct torc__fiber *f = torc__self();
	bool owned = torc__guard_enter(f->loop, &l->guard);
	bool taken = !l->waiters.first && take(l, f, wants);

	torc__guard_leave(f->loop, &l->guard, owned);
	return taken ? 0 : -EBUSY;
}

int torc_rwlock_try_read(struct torc_rwlock *l)
{
	return try_lock(l, READER);
}

int torc_rwlock_try_write(struct torc_rwlock *l)
{
	return try_lock(l, WRITER);
}

void torc_rwlock_read_unlock(struct torc_rwlock *l)
{
	struct torc__loop *loop = torc__self()->loop;
	TORC__GRANTED(granted);
	bool owned = torc__guard_enter(loop, &l->guard);
	bool locked = l->readers;

	if (locked) {
		l->readers--;
		settle(&l->waiters, &granted);
	}
	torc__guard_leave(loop, &l->guard, owned);
	torc__check(locked, "a rwlock is unlocked that nobody reads");
	torc__wake_granted(loop, &granted);
}

/* `readers`: how many the writer turns into. */
static void end_writing(struct torc_rwlock *l, uint32_t readers)
{
	struct torc__fiber *f = torc__self();
	struct torc__loop *loop = f->loop;
	TORC__GRANTED(granted);
	bool owned = torc__guard_enter(loop, &l->guard);
	bool mine = l->writer == f;

	if (mine) {
		l->writer = NULL;
		l->readers = readers;
		settle(&l->waiters, &granted);
	}
	torc__guard_leave(loop, &l->guard, owned);
	torc__check(mine, "a rwlock is unlocked by a fiber that has not locked it for writing");
	torc__wake_granted(loop, &granted);
}

void torc_rwlock_write_unlock(struct torc_rwlock *l)
{
	end_writing(l, 0);
}

void torc_rwlock_downgrade(struct torc_rwlock *l)
{
	end_writing(l, 1);
}
