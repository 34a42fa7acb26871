/*
 * io/internal/server.h - what the parts of a server share.
 *
 * Its fibers:
 *
 *	the caller of torc_serve
 *	  group: one "server" fiber per loop
 *	    group: one "acceptor" per address, and with a handover one that waits for it; a cancellation ends these
 *	    shield, whose deadline is the grace period once draining
 *	      group: one fiber per connection; the acceptors spawn into it
 *	  and, with a handover, one that gives the listening sockets to the next process
 *
 * An orderly end: the acceptors are cancelled, what the kernel has accepted for them is served all the same, and the
 * listeners are closed. Connections that wait for data then end at once, but after a handover: the peer may be
 * sending something just now, and the next process does not have this connection. So there they go on for the grace
 * period, each until its protocol allows to end it (torc_http says "Connection: close"), and only then is it as in any
 * other end. A cancellation in that period ends it: the group of the acceptors is outside of the shield and still
 * open then, and the fiber in it that has waited for the handover waits for this.
 *
 * A connection may run on another loop than the one that has accepted it: with TORC_BALANCE_LEAST, and from a socket that
 * loops share, when the one that it woke is full. It is then in the group of that one, but in the list, and among the number,
 * of the loop where it runs: that loop drains it. So a station lives as long as all of the server, and only its places are seen
 * by other loops.
 *
 * The kernel tells one of the accepts on a shared socket of each connection. Who cancels his accept, for he is full, may have
 * been told of one just before, and it stays in the queue. So he is full only when all loops are, and looks again when any of
 * them has room.
 *
 * Its parts, each of which calls those below it:
 *
 *	io/server.c              torc_serve: a station per loop, from the first to the last
 *	io/server_station.c      a station's life, and how it drains
 *	io/server_handover.c     the sockets from the process before, and to the next one
 *	io/server_accept.c       its acceptors
 *	io/server_connection.c   a connection's life
 *	io/server_room.c         how many there are, and may be
 *	io/server_listen.c       the listeners of all stations
 */
#ifndef TORC_IO_INTERNAL_SERVER_H
#define TORC_IO_INTERNAL_SERVER_H

#include <torc/core/group.h>
#include <torc/core/sync.h>
#include <torc/io/server.h>

#include "core/internal/waiters.h"
#include "io/internal/handover.h"
#include "io/internal/stream.h"

struct torc__station;

/* Who waits for a connection to end: acceptors, late connections, the drain. */
struct torc__room {
	struct torc__guard guard;
	struct torc__queue waiters;
	uint32_t waiting; /* or about to; atomic */
};

struct torc__server {
	const struct torc_serve_options *options;
	size_t address_count;
	struct torc__station *stations; /* [torc_loop_count()] */
	struct torc__handover handover;
	struct torc_listener next; /* where the next process asks */
	struct torc__socket
		*sockets; /* all that are listened on, once each: for the next process */
	size_t socket_count;
	bool given;                  /* to the next process, or about to be; atomic */
	struct torc_latch starting;  /* stations that do not accept yet */
	struct torc_latch listening; /* stations whose listeners are open */
	struct torc_event replaced;  /* by the next process, which serves */
	struct torc__room room;      /* of all stations, when connections may run on any loop */
};

struct torc__acceptor {
	struct torc__station *station;
	struct torc__seat *seat;
	struct torc_task task;
};

/* A listener, and which address it is for. */
struct torc__seat {
	struct torc_listener listener;
	size_t address;
	bool taken;  /* from the process before */
	bool common; /* its socket is that of other loops too */
};

struct torc__connection {
	struct torc_stream stream;
	struct torc_rate rx, tx;
	struct torc__connection *next, **link;
};

/* One loop's part. Its listeners are closed by its fiber; by the caller of torc_serve if that never ran. */
struct torc__station {
	struct torc__server *server;
	struct torc__seat *seats;
	size_t open;
	int loop;
	struct torc__acceptor
		*acceptors; /* [acceptor_count] that run, of as many as seats are open */
	size_t acceptor_count;
	struct torc_group *connections;
	struct torc__connection *live;
	size_t late_count; /* accepted ones that wait for their turn while draining: not in `taken` */
	struct torc_mutex late_turn;
	struct torc__room *room; /* own_room, or the server's */
	struct torc__room own_room;
	uint8_t drain;             /* enum torc__drain */
	bool gently;               /* the next process serves already */
	bool hurry;                /* and this one is to end all the same */
	_Alignas(64) size_t taken; /* places, by connections that run here; atomic */
};

/* --- io/server_listen.c --- */

/* A station's listeners: one for each address, of the process before where there is one. */
int torc__seats_open(struct torc__server *sv, struct torc__station *st);

/* When all have those: its sockets that are left over, when it had more loops; connections wait in each of them. */
int torc__seats_take_rest(struct torc__server *sv);

/* What sv->sockets says. */
int torc__seats_list(struct torc__server *sv);

/* On the station's loop, or when none runs. */
void torc__seats_close(struct torc__station *st);

/* An error of the handover, unless it is this process that was stopped. */
void torc__server_tell_error(const struct torc__server *sv, int error);
void torc__server_tell_addresses(const struct torc__server *sv);

/* --- io/server_room.c --- */

/* How many places are taken, of those that a station has. */
size_t torc__room_taken(const struct torc__station *st);
bool torc__room_is_full(const struct torc__station *st);

/* Take one, if it is free, of any loop's station; then give it back: also on any loop where st->room is the server's. */
bool torc__room_take(struct torc__station *st);
void torc__room_give(struct torc__station *st);

/* Where the fewest are taken; `here` rather than elsewhere. */
struct torc__station *torc__room_least(struct torc__station *here);

/* Called inside the room's guard. */
typedef bool torc__room_fn(void *arg);

/* Wait until something has changed at st->room, unless is_full says that there is room after all. 0, or the scope's status. */
int torc__room_await(struct torc__station *st, torc__room_fn *is_full, void *arg);

/* Wait until no place is taken and nobody late waits for one, or st->hurry. 0, or the scope's status. */
int torc__room_await_end(struct torc__station *st);

/* Who waits looks again; after anything but taken has changed. On the station's loop. */
void torc__room_changed(struct torc__station *st);

/* --- io/server_connection.c --- */

/* Accepted by `home`, with a place taken `at` the station where it is to run. If it fails that is given back, and fd closed. */
int torc__connection_start(struct torc__station *home, struct torc__station *at, int fd);

/* One that was accepted and not taken when the server ends: it has until then to get its turn. */
void torc__connection_late(struct torc__station *st, int fd);

/* With a reset the peer knows at once, and nothing is left of it here. */
void torc__connection_reset(int fd);

/*
 * Readers look again, and find -ECANCELED (must_drain in stream.c). Their scopes are left alone, so that
 * what they have written still goes out, within the grace period.
 */
void torc__connections_wake_idle(struct torc__station *st);

/* --- io/server_accept.c --- */

/* Into the group whose cancellation ends them. */
int torc__acceptors_spawn(struct torc__station *st, struct torc_group *group);
void torc__acceptors_join(struct torc__station *st);

/* What the kernel has accepted already, or does until it is told to stop. */
void torc__acceptors_finish(struct torc__station *st);

/* --- io/server_handover.c --- */

/* A fiber that waits for the next process to serve, and then for a cancellation; if there is a handover at all. */
int torc__station_spawn_watch(struct torc__station *st, struct torc_group *group);

/* One that takes the path when all stations accept, and gives the sockets to the next process. */
int torc__server_spawn_handover(struct torc__server *sv, struct torc_group *group);

/* --- io/server_station.c --- */

/* A station's fiber. */
int torc__station_main(void *station);

#endif
