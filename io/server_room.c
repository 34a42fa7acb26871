/*
 * io/server_room.c - how many connections there are, and may be.
 */
#include "io/internal/server.h"

#define CONNECTIONS_MAX 1048576

size_t torc__room_count(const struct torc__station *st)
{
	return __atomic_load_n(&st->live_count, __ATOMIC_RELAXED);
}

size_t torc__room_up(struct torc__station *st)
{
	return __atomic_add_fetch(&st->live_count, 1, __ATOMIC_RELAXED);
}

void torc__room_down(struct torc__station *st)
{
	__atomic_sub_fetch(&st->live_count, 1, __ATOMIC_RELAXED);
}

void torc__room_end(struct torc__station *st)
{
	torc__room_down(st);
	torc__slot_wake(&st->waiter);
}

size_t torc__room_most(const struct torc__station *st)
{
	const struct torc_serve_options *o = st->server->options;

	return o->connections_max ? o->connections_max : CONNECTIONS_MAX;
}

void torc__room_describe(const struct torc__wait *wait, struct torc__message *m)
{
	const struct torc__station *st =
		torc__container_of(torc__slot_of(wait), struct torc__station, waiter);

	torc__message_text(m, " beside ");
	torc__message_number(m, torc__room_count(st), 10);
}
