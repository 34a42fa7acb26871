/*
 * core/event.c - event, latch and barrier of core/sync.h: what fibers wait for together.
 */
#include <torc/core/sync.h>

#include <errno.h>

#include "core/internal/event.h"

static const struct torc__wait_kind event_kind = {
	.name = "event",
	.cancel = torc__waiter_cancel,
	.describe = torc__waiter_describe,
};

static const struct torc__wait_kind latch_kind = {
	.name = "latch",
	.cancel = torc__waiter_cancel,
	.describe = torc__waiter_describe,
};

/* --- event --- */

void torc_event_init(struct torc_event *e)
{
	*e = (struct torc_event){ .state = 0 };
}

void torc_event_done(struct torc_event *e)
{
	torc__check(!e->waiters.first, "an event is done with while a fiber waits for it");
}

int torc_event_wait(struct torc_event *e)
{
	struct torc__fiber *f = torc__self();
	struct torc__waiter w;
	int r = torc__scope_check(f);
	bool owned, set, expected = torc__event_expected(e);

	if (r < 0)
		return r;
	owned = torc__guard_enter(f->loop, &e->guard);
	set = torc__event_announce(e);
	if (!set)
		torc__waiter_queue(&w, f, &e->guard, &e->waiters);
	torc__guard_leave(f->loop, &e->guard, owned);
	if (set)
		return 0;
	f->loop->in_flight += expected;
	r = torc__waiter_park(&w, &event_kind);
	f->loop->in_flight -= expected;
	return r;
}

/* All in line, but for those that select and have another case already. */
static void grant_all(struct torc_event *e, struct torc__granted *granted)
{
	struct torc__node *node;

	while ((node = torc__queue_grant(&e->waiters, 0)))
		if (torc__node_claim(node))
			torc__granted_add(granted, node);
}

static void check_own(const struct torc_event *e)
{
	torc__check(!(__atomic_load_n(&e->state, __ATOMIC_RELAXED) & TORC__EVENT_SHARED),
		    "a future's event is set or cleared");
}

void torc_event_set(struct torc_event *e)
{
	struct torc__loop *loop = torc__here();
	TORC__GRANTED(granted);
	bool owned;

	check_own(e);
	owned = torc__guard_enter(loop, &e->guard);
	__atomic_store_n(&e->state, TORC__EVENT_SET, __ATOMIC_RELEASE);
	grant_all(e, &granted);
	torc__guard_leave(loop, &e->guard, owned);
	torc__wake_granted(loop, &granted);
}

void torc_event_clear(struct torc_event *e)
{
	struct torc__loop *loop = torc__here();
	bool owned;

	check_own(e);
	owned = torc__guard_enter(loop, &e->guard);
	__atomic_store_n(&e->state, 0, __ATOMIC_RELAXED);
	torc__guard_leave(loop, &e->guard, owned);
}

bool torc_event_is_set(const struct torc_event *e)
{
	return __atomic_load_n(&e->state, __ATOMIC_ACQUIRE) & TORC__EVENT_SET;
}

/* --- shared events --- */

bool torc__event_hook(struct torc_event *e, struct torc__hook *hook)
{
	bool set;

	hook->node.waiter = NULL;
	torc__guard_lock(NULL, &e->guard);
	set = torc__event_announce(e);
	if (!set)
		torc__queue_push(&e->waiters, &hook->node);
	torc__guard_unlock(&e->guard);
	return !set;
}

bool torc__event_unhook(struct torc_event *e, struct torc__hook *hook)
{
	bool queued;

	torc__guard_lock(NULL, &e->guard);
	queued = hook->node.queued;
	if (queued)
		torc__queue_remove(&e->waiters, &hook->node);
	torc__guard_unlock(&e->guard);
	return queued;
}

void torc__event_wake(struct torc_event *e)
{
	TORC__GRANTED(granted);

	torc__guard_lock(NULL, &e->guard);
	grant_all(e, &granted);
	torc__guard_unlock(&e->guard);
	torc__wake_granted(torc__loop(), &granted);
}

/* --- latch --- */

void torc_latch_init(struct torc_latch *l, uint32_t count)
{
	*l = (struct torc_latch){ .count = count };
}

void torc_latch_done(struct torc_latch *l)
{
	torc__check(!l->waiters.first, "a latch is done with while a fiber waits for it");
}

int torc_latch_wait(struct torc_latch *l)
{
	struct torc__fiber *f = torc__self();
	struct torc__waiter w;
	int r = torc__scope_check(f);
	bool owned, open;

	if (r < 0)
		return r;
	owned = torc__guard_enter(f->loop, &l->guard);
	open = !l->count;
	if (!open)
		torc__waiter_queue(&w, f, &l->guard, &l->waiters);
	torc__guard_leave(f->loop, &l->guard, owned);
	return open ? 0 : torc__waiter_park(&w, &latch_kind);
}

void torc_latch_add(struct torc_latch *l, uint32_t count)
{
	struct torc__loop *loop = torc__here();
	bool owned = torc__guard_enter(loop, &l->guard);
	bool over = __builtin_add_overflow(l->count, count, &l->count);

	torc__guard_leave(loop, &l->guard, owned);
	torc__check(!over, "a latch has more to count down than it can count");
}

void torc_latch_count_down(struct torc_latch *l)
{
	struct torc__loop *loop = torc__here();
	TORC__GRANTED(granted);
	bool owned = torc__guard_enter(loop, &l->guard);
	bool under = !l->count;

	if (!under && !--l->count)
		torc__queue_grant_all(&l->waiters, 0, &granted);
	torc__guard_leave(loop, &l->guard, owned);
	torc__check(!under, "a latch is counted down below nothing");
	torc__wake_granted(loop, &granted);
}

/* --- barrier --- */

void torc_barrier_init(struct torc_barrier *b, uint32_t parties)
{
	torc__check(parties, "a barrier for no parties");
	*b = (struct torc_barrier){ .parties = parties };
}

void torc_barrier_done(struct torc_barrier *b)
{
	torc__check(!b->waiters.first, "a barrier is done with while a fiber waits for it");
}

/* Who leaves has not come. */
static void leave_barrier(struct torc__queue *waiters, struct torc__granted *granted)
{
	(void)granted;
	torc__container_of(waiters, struct torc_barrier, waiters)->waiting--;
}

static void cancel_barrier(struct torc__wait *wait)
{
	torc__waiter_withdraw((struct torc__waiter *)wait, leave_barrier);
}

static const struct torc__wait_kind barrier_kind = { .name = "barrier",
						     .cancel = cancel_barrier,
						     .describe = torc__waiter_describe };

/* What one that comes gets at once, or -EINPROGRESS: it is in line. */
static int come(struct torc_barrier *b, struct torc__fiber *f, struct torc__waiter *w,
		struct torc__granted *granted)
{
	if (b->aborted)
		return -EPIPE;
	if (b->waiting + 1 < b->parties) {
		b->waiting++;
		torc__waiter_queue(w, f, &b->guard, &b->waiters);
		return -EINPROGRESS;
	}
	b->waiting = 0;
	torc__queue_grant_all(&b->waiters, 0, granted);
	return 1;
}

int torc_barrier_wait(struct torc_barrier *b)
{
	struct torc__fiber *f = torc__self();
	struct torc__loop *loop = f->loop;
	struct torc__waiter w;
	TORC__GRANTED(granted);
	int r = torc__scope_check(f);
	bool owned;

	if (r < 0)
		return r;
	owned = torc__guard_enter(loop, &b->guard);
	r = come(b, f, &w, &granted);
	torc__guard_leave(loop, &b->guard, owned);
	torc__wake_granted(loop, &granted);
	return r == -EINPROGRESS ? torc__waiter_park(&w, &barrier_kind) : r;
}

void torc_barrier_abort(struct torc_barrier *b)
{
	struct torc__loop *loop = torc__here();
	TORC__GRANTED(granted);
	bool owned = torc__guard_enter(loop, &b->guard);

	b->aborted = true;
	b->waiting = 0;
	torc__queue_grant_all(&b->waiters, -EPIPE, &granted);
	torc__guard_leave(loop, &b->guard, owned);
	torc__wake_granted(loop, &granted);
}

void torc_barrier_reset(struct torc_barrier *b)
{
	struct torc__loop *loop = torc__here();
	bool owned = torc__guard_enter(loop, &b->guard);

	b->aborted = false;
	torc__guard_leave(loop, &b->guard, owned);
}
