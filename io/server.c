#include <torc/io/server.h>

#include <errno.h>
#include <string.h>

#include <torc/core/run.h>

#include "core/internal/system.h"
#include "io/internal/server.h"

/* There is no room for its fiber: its listeners are closed later. */
static void station_unstarted(void *arg, int error)
{
	const struct torc__station *st = arg;

	(void)error;
	torc_latch_count_down(&st->server->listening);
}

static int spawn_stations(struct torc__server *sv, struct torc_group *group)
{
	int r = 0;

	for (int i = 0; i < torc_loop_count() && !r; i++) {
		struct torc_spawn_options o = {
			.name = "server",
			.loop = TORC_ON_LOOP(i),
			.unstarted = station_unstarted,
		};

		torc_latch_add(&sv->listening, 1);
		r = torc_group_spawn_with(group, &o, torc__station_main, &sv->stations[i]);
		if (r < 0)
			torc_latch_count_down(&sv->listening);
	}
	return r;
}

/* Who waits for room waits for that of one loop, unless connections may run on any. */
static void choose_rooms(struct torc__server *sv)
{
	bool roams = sv->options->balance == TORC_BALANCE_LEAST;

	for (size_t i = 0; i < sv->stations->open; i++)
		roams |= sv->stations->seats[i].common;
	for (int i = 0; i < torc_loop_count(); i++)
		sv->stations[i].room = roams ? &sv->room : &sv->stations[i].own_room;
}

static int serve_everywhere(struct torc__server *sv)
{
	struct torc_group group;
	int r, ended;

	if (!sv->options->handover)
		torc__server_tell_addresses(sv);
	torc_latch_init(&sv->starting, (uint32_t)torc_loop_count());
	torc_group_enter(&group);
	r = spawn_stations(sv, &group);
	if (!r)
		r = torc__server_spawn_handover(sv, &group);
	if (r < 0)
		torc_group_cancel(&group);
	ended = torc_group_wait(&group);
	return r < 0 ? r : ended;
}

/* Listening is nothing of the ring's: one fiber does it for all loops, before any of them serves. */
static int listen_and_serve(struct torc__server *sv)
{
	int r = 0, loops = torc_loop_count();

	for (int i = 0; i < loops && !r; i++)
		r = torc__seats_open(sv, &sv->stations[i]);
	if (!r)
		r = torc__seats_take_rest(sv);
	if (!r)
		r = torc__seats_list(sv);
	if (!r) {
		choose_rooms(sv);
		r = serve_everywhere(sv);
	}
	for (int i = 0; i < loops; i++)
		torc__seats_close(&sv->stations[i]);
	return r;
}

/* Room for each address, and for what a process with more loops has left over. */
static int make_stations(struct torc__server *sv)
{
	size_t loops = (size_t)torc_loop_count(), bytes = loops * sizeof(*sv->stations);
	size_t seats = sv->address_count + sv->handover.count / loops + 1;

	sv->stations = torc__alloc_lines(bytes);
	if (!sv->stations)
		return -ENOMEM;
	memset(sv->stations, 0, bytes);
	for (size_t i = 0; i < loops; i++) {
		sv->stations[i].server = sv;
		sv->stations[i].loop = (int)i;
		sv->stations[i].seats = torc__calloc(seats, sizeof(struct torc__seat));
		if (!sv->stations[i].seats)
			return -ENOMEM;
	}
	return 0;
}

static void free_stations(struct torc__server *sv)
{
	for (int i = 0; sv->stations && i < torc_loop_count(); i++)
		torc__free(sv->stations[i].seats);
	torc__free(sv->stations);
	torc__free(sv->sockets);
}

int torc_serve_with(const struct torc_serve_options *options)
{
	struct torc__server sv = { .options = options, .handover.peer = -1 };
	int r = 0;

	while (options->addresses[sv.address_count])
		sv.address_count++;
	if (options->handover)
		r = torc__handover_request(options->handover, &sv.handover);
	torc__server_tell_error(&sv, r);
	if (!r)
		r = make_stations(&sv);
	if (!r)
		r = listen_and_serve(&sv);
	free_stations(&sv);
	torc__handover_done(&sv.handover);
	return r == -ECANCELED ? 0 : r;
}

int torc_serve(const char *address, torc_serve_fn *handler, void *arg)
{
	const char *const addresses[] = { address, NULL };

	return torc_serve_with(&(struct torc_serve_options){
		.addresses = addresses,
		.handler = handler,
		.arg = arg,
	});
}
