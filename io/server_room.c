/*
 * io/server_room.c - places for connections: how many are taken on each loop, and who waits for one to be free.
 *
 * Who waits is told of every place that becomes free, and looks again: of several acceptors nobody knows which has a
 * connection to accept. The end of a connection, which nearly always nobody waits for, and somebody who is about to
 * wait, perhaps on another loop:
 *
 *	the end					who waits
 *	1  live_count--				a  waiting++
 *	2  waiting? then enter the guard,	b  enter the guard, full? then queue a node
 *	   take all nodes out, leave,		   leave the guard, park
 *	   wake them				c  waiting--
 *
 * All of it is sequentially consistent. One of 2 and a comes first: if it is 2, then b finds the place free; else
 * the end enters the guard, after b and finds the node, or before it and then b finds the place free.
 */
#include "io/internal/server.h"

#include <torc/core/run.h>

#define CONNECTIONS_MAX 1048576

static size_t most_of(const struct torc__station *st)
{
	const struct torc_serve_options *o = st->server->options;

	return o->connections_max ? o->connections_max : CONNECTIONS_MAX;
}

size_t torc__room_taken(const struct torc__station *st)
{
	return __atomic_load_n(&st->taken, __ATOMIC_SEQ_CST);
}

bool torc__room_is_full(const struct torc__station *st)
{
	return torc__room_taken(st) >= most_of(st);
}

/* Never more than there are, not for a moment: somebody might see that there is none, and wait. */
bool torc__room_take(struct torc__station *st)
{
	size_t taken = torc__room_taken(st);

	while (taken < most_of(st))
		if (__atomic_compare_exchange_n(&st->taken, &taken, taken + 1, true,
						__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			return true;
	return false;
}

void torc__room_give(struct torc__station *st)
{
	__atomic_sub_fetch(&st->taken, 1, __ATOMIC_SEQ_CST);
	torc__room_changed(st);
}

void torc__room_changed(struct torc__station *st)
{
	struct torc__room *room = st->room;

	if (torc__unlikely(__atomic_load_n(&room->waiting, __ATOMIC_SEQ_CST)))
		torc__release_all(&room->guard, &room->waiters, 0);
}

struct torc__station *torc__room_least(struct torc__station *here)
{
	struct torc__station *best = here, *all = here->server->stations;
	size_t fewest = torc__room_taken(here);

	for (int i = 0; i < torc_loop_count(); i++) {
		size_t taken = torc__room_taken(&all[i]);

		if (taken < fewest) {
			best = &all[i];
			fewest = taken;
		}
	}
	return best;
}

/* --- waiting --- */

struct room_wait {
	struct torc__waiter waiter; /* first */
	const struct torc__station *station;
};

static void describe(const struct torc__wait *wait, struct torc__message *m)
{
	torc__message_text(m, " beside ");
	torc__message_number(m, torc__room_taken(((const struct room_wait *)wait)->station), 10);
}

static const struct torc__wait_kind room_kind = { "room for a connection", torc__waiter_cancel,
						  describe };
static const struct torc__wait_kind drain_kind = { "connections to end", torc__waiter_cancel,
						   describe };

/* Step b. Returns whether it is in line. */
static bool get_in_line(struct room_wait *w, torc__room_fn *must_wait, void *arg)
{
	struct torc__fiber *f = torc__self();
	struct torc__room *room = w->station->room;
	bool owned = torc__guard_enter(f->loop, &room->guard), wait = must_wait(arg);

	if (wait)
		torc__waiter_queue(&w->waiter, f, &room->guard, &room->waiters);
	torc__guard_leave(f->loop, &room->guard, owned);
	return wait;
}

static int await(struct torc__station *st, const struct torc__wait_kind *kind,
		 torc__room_fn *must_wait, void *arg)
{
	struct room_wait w = { .station = st };
	int r = torc__scope_check(torc__self());

	if (r < 0)
		return r;
	__atomic_add_fetch(&st->room->waiting, 1, __ATOMIC_SEQ_CST);
	if (get_in_line(&w, must_wait, arg))
		r = torc__waiter_park(&w.waiter, kind);
	__atomic_sub_fetch(&st->room->waiting, 1, __ATOMIC_SEQ_CST);
	return r;
}

int torc__room_await(struct torc__station *st, torc__room_fn *is_full, void *arg)
{
	return await(st, &room_kind, is_full, arg);
}

static bool is_occupied(void *arg)
{
	const struct torc__station *st = arg;

	return (torc__room_taken(st) || st->late_count) && !st->hurry;
}

int torc__room_await_end(struct torc__station *st)
{
	int r = 0;

	while (!r && is_occupied(st))
		r = await(st, &drain_kind, is_occupied, st);
	return r;
}
