/*
 * core/once.c - once of core/sync.h.
 */
#include <torc/core/sync.h>

#include "core/internal/waiters.h"

static const struct torc__wait_kind once_kind = {
	.name = "once",
	.cancel = torc__waiter_cancel,
	.describe = torc__waiter_describe,
};

/* What the first in line gets when it is its turn to call the function; the others get 0: it is over. */
#define TURN 1

/* This fiber's turn has ended: all go on when it is over, else the next one tries. */
static int end_turn(struct torc_once *o, struct torc__loop *loop, int result)
{
	TORC__GRANTED(granted);
	bool owned = torc__guard_enter(loop, &o->guard);

	o->runner = NULL;
	if (result >= 0) {
		o->result = result;
		__atomic_store_n(&o->over, true, __ATOMIC_RELEASE);
		torc__queue_grant_all(&o->waiters, 0, &granted);
	} else if (o->waiters.first) {
		o->runner = o->waiters.first->waiter->fiber;
		torc__granted_add(&granted, torc__queue_grant(&o->waiters, TURN));
	}
	torc__guard_leave(loop, &o->guard, owned);
	torc__wake_granted(loop, &granted);
	return result;
}

/* Whose turn is it? TURN: the caller's; 0: nobody's any more; negative: the scope ended the wait. */
static int wait_turn(struct torc_once *o, struct torc__fiber *f)
{
	struct torc__waiter w;
	bool owned = torc__guard_enter(f->loop, &o->guard);
	bool over = o->over, mine = o->runner == f, waits = !over && o->runner;

	if (waits && !mine)
		torc__waiter_queue(&w, f, &o->guard, &o->waiters);
	else if (!over)
		o->runner = f;
	torc__guard_leave(f->loop, &o->guard, owned);
	torc__check(!mine, "torc_once is called from inside its own function");
	if (waits)
		return torc__waiter_park(&w, &once_kind);
	return over ? 0 : TURN;
}

int torc_once(struct torc_once *o, torc_fn *fn, void *arg)
{
	struct torc__fiber *f = torc__self();
	int r = torc__scope_check(f);

	if (r < 0)
		return r;
	if (torc__likely(__atomic_load_n(&o->over, __ATOMIC_ACQUIRE)))
		return o->result;
	r = wait_turn(o, f);
	if (r < 0)
		return r;
	return r == TURN ? end_turn(o, f->loop, fn(arg)) : o->result;
}
