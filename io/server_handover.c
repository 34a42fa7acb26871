/*
 * io/server_handover.c - who serves: the process before, this one, the next one.
 */
#include "io/internal/server.h"

static int watch_main(void *arg)
{
	struct torc__station *st = arg;
	int r = torc_event_wait(&st->server->replaced);

	if (!r) {
		st->gently = true;
		for (size_t i = 0; i < st->acceptor_count; i++)
			torc_task_cancel(&st->acceptors[i].task);
		r = torc_sleep(TORC_NEVER);
	}
	st->hurry = true;
	torc__room_changed(st);
	return r;
}

int torc__station_spawn_watch(struct torc__station *st, struct torc_group *group)
{
	struct torc_spawn_options o = { .name = "handover watch" };

	return st->server->options->handover ? torc_group_spawn_with(group, &o, watch_main, st) : 0;
}

/*
 * From here on it is this process that serves. Only then is it told to the program: whoever hears of it may start the next one,
 * which is to find this one at its path.
 */
static int take_path(struct torc__server *sv)
{
	int unnamed = 0,
	    r = torc__handover_replace(&sv->handover, sv->options->handover, &sv->next, &unnamed);

	torc__server_tell_error(sv, r < 0 ? r : unnamed);
	if (!r)
		torc__server_tell_addresses(sv);
	return r;
}

/* Until nobody can take over any more, for there is nothing left to be taken. */
static void leave_path(struct torc__server *sv)
{
	struct torc_scope shield;
	int r;

	torc_scope_enter_shield(&shield, TORC_NEVER);
	r = torc_latch_wait(&sv->listening);
	torc__check(!r, "a shield without a deadline was cancelled");
	torc_scope_leave(&shield);
	sv->next.inherited = sv->given;
	torc_listener_close(&sv->next);
}

static int handover_main(void *arg)
{
	struct torc__server *sv = arg;
	int fd, r = torc_latch_wait(&sv->starting);

	if (!r)
		r = take_path(sv);
	if (r < 0)
		return r;
	r = torc__handover_offer(&sv->next, sv->sockets, sv->socket_count, &sv->given, &fd);
	if (!r) {
		torc_event_set(&sv->replaced);
		torc__handover_goodbye(fd);
	}
	leave_path(sv);
	return r;
}

int torc__server_spawn_handover(struct torc__server *sv, struct torc_group *group)
{
	struct torc_spawn_options o = { .name = "handover" };

	return sv->options->handover ? torc_group_spawn_with(group, &o, handover_main, sv) : 0;
}
