/*
 * io/server_station.c - a loop's part of a server: it accepts, until it is cancelled, and drains.
 */
#include "io/internal/server.h"

#include <errno.h>

#include "core/internal/system.h"

#define GRACE_NS TORC_SECONDS(5)

static uint64_t grace_of(const struct torc_serve_options *o)
{
	return o->grace_ns ? o->grace_ns : GRACE_NS;
}

/* Those that wait for data go on as if nothing had happened: io/internal/server.h. */
static void drain_gently(struct torc__station *st)
{
	struct torc_scope scope;

	st->drain = TORC__DRAIN_GENTLY;
	torc_scope_enter(&scope, grace_of(st->server->options));
	(void)torc__room_await_end(st); /* or there is no time for it */
	torc_scope_leave(&scope);
}

static void drain(struct torc__station *st, struct torc_scope *shield)
{
	if (st->gently)
		drain_gently(st);
	st->drain = TORC__DRAIN_NOW;
	torc__connections_wake_idle(st);
	torc_scope_set_deadline(shield, torc__later(torc_now_ns(), grace_of(st->server->options)));
}

/* Inside the shield: the acceptors end by the cancellation, the connections by what follows from it. */
static int accept_and_drain(struct torc__station *st, struct torc_group *group,
			    struct torc_scope *shield)
{
	struct torc_group connections;
	int r;

	torc_group_enter_supervisor(&connections);
	st->connections = &connections;
	r = torc__acceptors_spawn(st, group);
	if (r >= 0)
		r = torc__station_spawn_watch(st, group);
	if (r < 0)
		torc_group_cancel(group);
	else
		torc_latch_count_down(&st->server->starting);
	torc__acceptors_join(st);
	if (r >= 0)
		torc__acceptors_finish(st);
	torc__seats_close(st); /* nobody is to connect to a server that does not answer */
	torc_latch_count_down(&st->server->listening);
	drain(st, shield);
	torc_group_wait(&connections);
	if (st->gently)
		torc_group_cancel(group); /* the watch */
	return r;
}

int torc__station_main(void *arg)
{
	struct torc__station *st = arg;
	struct torc_scope shield;
	struct torc_group group;
	int r, result;

	st->acceptors = torc__calloc(st->open + 1, sizeof(*st->acceptors));
	if (!st->acceptors) {
		torc_latch_count_down(&st->server->listening);
		return -ENOMEM;
	}
	torc_group_enter(&group);
	torc_scope_enter_shield(&shield, TORC_NEVER);
	r = accept_and_drain(st, &group, &shield);
	torc_scope_leave(&shield);
	result = torc_group_wait(&group);
	torc__free(st->acceptors);
	return r < 0 ? r : result;
}
