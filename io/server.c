#include <torc/io/server.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <torc/core/group.h>
#include <torc/core/run.h>
#include <torc/core/sys.h>
#include <torc/io/socket.h>

#include "core/internal/fiber.h"
#include "core/internal/system.h"
#include "io/internal/activation.h"
#include "io/internal/handover.h"
#include "io/internal/listener.h"
#include "io/internal/stream.h"

/*
 * The fibers of a server:
 *
 *	the caller of torc_serve
 *	  group: one "server" fiber per loop
 *	    group: one "acceptor" per address; a cancellation ends these
 *	    shield, whose deadline is the grace period once draining
 *	      group: one fiber per connection; the acceptors spawn into it
 *	  and, with a handover, one that gives the listening sockets to the next process
 *
 * An orderly end: the acceptors are cancelled, what the kernel has accepted for them is served all the same, and the
 * listeners are closed. Connections that wait for data then end at once, but after a handover: the peer may be
 * sending something just now, and the next process does not have this connection. So there they go on for the grace
 * period, each until its protocol allows to end it (torc_http says "Connection: close"), and only then is it as in any other end.
 */

#define GRACE_NS        TORC_SECONDS(5)
#define CONNECTIONS_MAX 1048576

/* What may go at once after a pause: an eighth of a second's, but one buffer at the least. */
#define BURST(per_second) ((per_second) / 8 > 4096 ? (per_second) / 8 : 4096)

/* For what a handler wrote last to be taken by the peer. */
#define CLOSE_NS TORC_SECONDS(30)

struct server {
	const struct torc_serve_options *options;
	size_t address_count;
	struct lane *lanes; /* [torc_loop_count()] */
	struct torc__handover handover;
	struct torc_listener next; /* where the next process asks */
	struct torc__socket
		*sockets; /* all that are listened on, once each: for the next process */
	size_t socket_count;
	bool offering, handed_over;
	struct torc_group *group; /* of the "server" fibers */
};

/* A listener, and which address it is for. */
struct seat {
	struct torc_listener listener;
	size_t address;
};

/* One loop's listeners, which it closes; the caller of torc_serve does if it never ran. */
struct lane {
	struct server *server;
	struct seat *seats;
	size_t open;
};

struct connection {
	struct torc_stream stream;
	struct torc_rate rx, tx;
	struct connection *next, **link;
};

/* One loop's part. */
struct station {
	struct server *server;
	struct lane *lane;
	struct torc_group *connections;
	struct connection *live;
	size_t live_count;
	struct torc__wait *waiter; /* an acceptor that waits for a connection to end */
	uint8_t drain;             /* enum torc__drain */
};

struct arrival {
	struct station *station;
	int fd;
};

struct acceptor {
	struct station *station;
	struct torc_listener *listener;
	struct torc_task task;
};

static void link_connection(struct station *st, struct connection *c)
{
	c->next = st->live;
	c->link = &st->live;
	if (c->next)
		c->next->link = &c->next;
	st->live = c;
}

static void unlink_connection(struct connection *c)
{
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
}

static void end_connection(struct station *st)
{
	st->live_count--;
	torc__slot_wake(&st->waiter);
}

static void limit_connection(struct connection *c, const struct torc_serve_options *o)
{
	if (o->rx_per_second)
		torc_rate_init(&c->rx, o->rx_per_second, BURST(o->rx_per_second));
	if (o->tx_per_second)
		torc_rate_init(&c->tx, o->tx_per_second, BURST(o->tx_per_second));
	torc_stream_limit_rates(&c->stream, o->rx_per_second ? &c->rx : NULL,
				o->tx_per_second ? &c->tx : NULL);
	torc_stream_limit_waits(&c->stream, o->read_ns, o->write_ns);
}

static int handle(struct connection *c, const struct torc_serve_options *o)
{
	struct torc_scope scope;
	int r;

	if (!o->lifetime_ns)
		return o->handler(&c->stream, o->arg);
	torc_scope_enter(&scope, o->lifetime_ns);
	r = o->handler(&c->stream, o->arg);
	torc_scope_leave(&scope);
	return r;
}

static int connection_main(void *arg)
{
	struct station *st = ((struct arrival *)arg)->station;
	struct torc_scope scope;
	struct connection c;
	int r, fd = ((struct arrival *)arg)->fd;

	torc__free(arg);
	if (torc_stream_open(&c.stream, fd) < 0) {
		torc_close(fd);
		end_connection(st);
		return -ENOMEM;
	}
	c.stream.drain = &st->drain;
	limit_connection(&c, st->server->options);
	link_connection(st, &c);
	r = handle(&c, st->server->options);
	unlink_connection(&c);
	/* A peer that takes nothing must not keep the connection for ever, or any longer. */
	torc_scope_enter(&scope, r == -ETIMEDOUT ? 0 : CLOSE_NS);
	torc_stream_close(&c.stream);
	torc_scope_leave(&scope);
	end_connection(st);
	return r;
}

static int start_connection(struct station *st, int fd)
{
	const struct torc_serve_options *o = st->server->options;
	struct torc_spawn_options spawn = {
		.name = o->name ? o->name : "connection",
		.stack_bytes = o->stack_bytes,
	};
	struct arrival *a = torc__malloc(sizeof(*a));
	int r = -ENOMEM;

	if (a) {
		*a = (struct arrival){ st, fd };
		r = torc_group_spawn_with(st->connections, &spawn, connection_main, a);
	}
	if (r < 0) {
		torc__free(a);
		torc_close(fd);
		return r;
	}
	st->live_count++;
	return 0;
}

static void describe_room(const struct torc__wait *wait, struct torc__message *m)
{
	const struct station *st = torc__container_of(torc__slot_of(wait), struct station, waiter);

	torc__message_text(m, " beside ");
	torc__message_number(m, st->live_count, 10);
}

static const struct torc__wait_kind room_kind = { "room for a connection", torc__slot_cancel,
						  describe_room };

static bool is_full(const struct station *st)
{
	const struct torc_serve_options *o = st->server->options;

	return st->live_count >= (o->connections_max ? o->connections_max : CONNECTIONS_MAX);
}

/* Until the loop has fewer connections than it may have. */
static int await_room(struct acceptor *a)
{
	struct station *st = a->station;

	while (is_full(st)) {
		int r;

		if (st->server->options->at_limit == TORC_AT_LIMIT_RESET)
			return 0;
		torc_op_cancel(&a->listener->op); /* what comes now is to wait in the kernel */
		/* Another address's acceptor waits already: look again later. */
		r = st->waiter ? torc_sleep(TORC_MS(10)) : torc__slot_wait(&st->waiter, &room_kind);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Until one more may be accepted: the rest is to wait in the kernel meanwhile. */
static int await_rate(struct acceptor *a)
{
	struct torc_rate *rate = a->station->server->options->accept_rate;
	uint64_t at;

	if (!rate)
		return 0;
	at = torc_rate_reserve(rate, 1);
	if (at <= torc_now_ns())
		return 0;
	torc_op_cancel(&a->listener->op);
	return torc_sleep_until(at);
}

/* With a reset the peer knows at once, and nothing is left of it here. */
static void reset(int fd)
{
	const struct linger now = { .l_onoff = 1 };

	(void)torc_sys_setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	torc_close(fd);
}

static int accept_one(struct acceptor *a)
{
	int fd, r = await_room(a);

	if (!r)
		r = await_rate(a);
	if (r < 0)
		return r;
	fd = torc_accept(a->listener);
	if (fd < 0)
		return fd;
	r = await_room(a); /* another address's acceptor may have taken it */
	if (r < 0 || is_full(a->station)) {
		reset(fd);
		return r;
	}
	/* Out of memory: wait for better times; the peer sees its connection closed. */
	return start_connection(a->station, fd) < 0 ? torc_sleep(TORC_MS(50)) : 0;
}

static int acceptor_main(void *arg)
{
	int r;

	do
		r = accept_one(arg);
	while (!r);
	return r;
}

static int spawn_acceptors(struct station *st, struct torc_group *group, struct acceptor *acceptors)
{
	for (size_t i = 0; i < st->lane->open; i++) {
		struct acceptor *a = &acceptors[i];
		struct torc_spawn_options o = { .name = "acceptor", .task = &a->task };
		int r;

		a->listener = &st->lane->seats[i].listener;
		r = torc_group_spawn_with(group, &o, acceptor_main, a);
		if (r < 0)
			return r;
		a->station = st; /* it has not run yet; without it there is nothing to join */
	}
	return 0;
}

/*
 * Readers look again, and find -ECANCELED (must_drain in stream.c). Their scopes are left alone, so that
 * what they have written still goes out, within the grace period.
 */
static void wake_idle(struct station *st)
{
	for (struct connection *c = st->live; c; c = c->next)
		if (!c->stream.busy)
			torc__slot_wake(&c->stream.rx_wait);
}

static void close_lane(struct lane *lane)
{
	while (lane->open) {
		struct torc_listener *l = &lane->seats[--lane->open].listener;

		l->inherited |= lane->server->handed_over; /* the file is the next process's */
		torc_listener_close(l);
		if (l->shared)
			torc_sys_close(l->fd); /* the duplicate of listen_too */
	}
}

static uint64_t grace_of(const struct torc_serve_options *o)
{
	return o->grace_ns ? o->grace_ns : GRACE_NS;
}

static const struct torc__wait_kind drain_kind = { "connections to end", torc__slot_cancel,
						   describe_room };

static bool is_busy(const struct station *st)
{
	return st->live_count;
}

/* Until enough have ended, or the scope. */
static void await_connections(struct station *st, bool (*are_many)(const struct station *))
{
	while (are_many(st) && torc__slot_wait(&st->waiter, &drain_kind) == 0)
		;
}

/* What was accepted already. After a handover it waits for room, else it is too late for it. */
static void serve_accepted(struct station *st)
{
	struct torc_scope scope;
	int fd;

	torc_scope_enter(&scope, st->server->handed_over ? grace_of(st->server->options) : 0);
	for (size_t i = 0; i < st->lane->open; i++) {
		while ((fd = torc__listener_stop(&st->lane->seats[i].listener)) >= 0) {
			await_connections(st, is_full);
			if (is_full(st))
				reset(fd);
			else
				(void)start_connection(st, fd);
		}
	}
	torc_scope_leave(&scope);
}

/* Those that wait for data go on as if nothing had happened: see above. */
static void drain_gently(struct station *st)
{
	struct torc_scope scope;

	st->drain = TORC__DRAIN_GENTLY;
	torc_scope_enter(&scope, grace_of(st->server->options));
	await_connections(st, is_busy);
	torc_scope_leave(&scope);
}

static void drain(struct station *st, struct torc_scope *shield)
{
	if (st->server->handed_over)
		drain_gently(st);
	st->drain = TORC__DRAIN_NOW;
	wake_idle(st);
	torc_scope_set_deadline(shield, torc__later(torc_now_ns(), grace_of(st->server->options)));
}

static void join_acceptors(struct acceptor *acceptors, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (acceptors[i].station)
			torc_task_join(&acceptors[i].task);
}

/* Inside the shield: the acceptors end by the cancellation, the connections by what follows from it. */
static int accept_and_drain(struct station *st, struct torc_group *group, struct torc_scope *shield,
			    struct acceptor *acceptors)
{
	struct torc_group connections;
	int r;

	torc_group_enter_supervisor(&connections);
	st->connections = &connections;
	r = spawn_acceptors(st, group, acceptors);
	if (r < 0)
		torc_group_cancel(group);
	join_acceptors(acceptors, st->lane->open);
	if (r >= 0)
		serve_accepted(st);
	close_lane(st->lane); /* nobody is to connect to a server that does not answer */
	drain(st, shield);
	torc_group_wait(&connections);
	return r;
}

static int serve_here(struct station *st)
{
	struct acceptor *acceptors = torc__calloc(st->lane->open + 1, sizeof(*acceptors));
	struct torc_scope shield;
	struct torc_group group;
	int r, result;

	if (!acceptors)
		return -ENOMEM;
	torc_group_enter(&group);
	torc_scope_enter_shield(&shield, TORC_NEVER);
	r = accept_and_drain(st, &group, &shield, acceptors);
	torc_scope_leave(&shield);
	result = torc_group_wait(&group);
	torc__free(acceptors);
	return r < 0 ? r : result;
}

/* --- listeners --- */

/* Can there be only one socket for it, which all loops share? */
static bool is_single(const char *address)
{
	return !strncmp(address, "unix", 4) || torc__is_inherited(address);
}

/* SO_REUSEPORT would let two servers share a port without either knowing. */
static int probe(const char *address)
{
	struct torc_listener l;
	int r = torc_listen(&l, address, NULL);

	if (r < 0)
		return r;
	torc_sys_close(l.fd);
	return 0;
}

static int listen_first(struct torc_listener *l, const char *address)
{
	bool several = torc_loop_count() > 1 && !is_single(address);
	struct torc_listen_options o = { .reuse_port = several };
	int r = several ? probe(address) : 0;

	return r < 0 ? r : torc_listen(l, address, &o);
}

/* Listen where loop 0 does: on a socket of our own with the same port, or on the same one. */
static int listen_too(struct torc_listener *l, const struct torc_listener *first, bool share)
{
	struct torc_listen_options o = { .reuse_port = true };
	int r;

	if (!is_single(first->address) && !first->inherited && !share)
		return torc_listen(l, first->address, &o);
	o.share_fd = torc_sys_dup(first->fd);
	if (o.share_fd < 0)
		return o.share_fd;
	r = torc_listen(l, first->address, &o);
	if (r < 0)
		torc_sys_close(o.share_fd);
	return r;
}

/* A socket of the process before: ours now, as if we had opened it. */
static int listen_on(struct torc_listener *l, const char *address, int fd)
{
	struct torc_listen_options o = { .share_fd = fd };
	int r = torc_listen(l, address, &o);

	if (r < 0)
		torc_sys_close(fd);
	l->shared = false;
	return r;
}

static struct seat *first_seat(const struct server *sv, size_t address)
{
	struct seat *seat = sv->lanes->seats;

	while (seat->address != address)
		seat++;
	return seat;
}

static int take_seat(struct server *sv, struct lane *lane, size_t address, int fd)
{
	const char *text = sv->options->addresses[address];
	struct seat *seat = &lane->seats[lane->open];
	int r;

	seat->address = address;
	if (fd >= 0)
		r = listen_on(&seat->listener, text, fd);
	else if (lane == sv->lanes)
		r = listen_first(&seat->listener, text);
	else
		r = listen_too(&seat->listener, &first_seat(sv, address)->listener,
			       sv->handover.count);
	if (r < 0 && sv->options->on_error)
		sv->options->on_error(text, r, sv->options->arg);
	if (!r)
		lane->open++;
	return r;
}

/* One for each address, of the process before where there is one. */
static int open_lane(struct server *sv, struct lane *lane)
{
	int r = 0;

	for (size_t i = 0; i < sv->address_count && !r; i++)
		r = take_seat(sv, lane, i,
			      torc__handover_take(&sv->handover, sv->options->addresses[i]));
	return r;
}

/* Its sockets that are left over, when it had more loops: connections wait in each of them. */
static int take_rest(struct server *sv)
{
	size_t loops = (size_t)torc_loop_count(), next = 0;
	int r = 0;

	for (size_t i = 0; i < sv->address_count && !r; i++) {
		int fd;

		while (!r &&
		       (fd = torc__handover_take(&sv->handover, sv->options->addresses[i])) >= 0)
			r = take_seat(sv, &sv->lanes[next++ % loops], i, fd);
	}
	return r;
}

static int station_main(void *arg)
{
	struct lane *lane = arg;
	struct station st = { .server = lane->server, .lane = lane };

	return serve_here(&st);
}

static int list_sockets(struct server *sv)
{
	size_t most = 0;

	for (int i = 0; i < torc_loop_count(); i++)
		most += sv->lanes[i].open;
	sv->sockets = torc__malloc((most + 1) * sizeof(*sv->sockets));
	if (!sv->sockets)
		return -ENOMEM;
	for (int i = 0; i < torc_loop_count(); i++) {
		for (size_t k = 0; k < sv->lanes[i].open; k++) {
			const struct seat *seat = &sv->lanes[i].seats[k];

			if (!seat->listener.shared)
				sv->sockets[sv->socket_count++] = (struct torc__socket){
					(char *)(uintptr_t)sv->options->addresses[seat->address],
					seat->listener.fd,
				};
		}
	}
	return 0;
}

static int handover_main(void *arg)
{
	struct server *sv = arg;

	if (torc__handover_offer(&sv->next, sv->sockets, sv->socket_count) > 0) {
		sv->handed_over = true;
		torc_group_cancel(sv->group);
	}
	return 0;
}

/* From here on it is this process that serves. */
static int begin_handover(struct server *sv, struct torc_group *group)
{
	struct torc_spawn_options o = { .name = "handover" };
	int r = torc__handover_replace(&sv->handover, sv->options->handover, &sv->next);

	if (r < 0)
		return r;
	sv->offering = true;
	return torc_group_spawn_with(group, &o, handover_main, sv);
}

static int spawn_stations(struct server *sv, struct torc_group *group)
{
	int r = 0;

	for (int i = 0; i < torc_loop_count() && !r; i++) {
		struct torc_spawn_options o = { .name = "server", .loop = TORC_ON_LOOP(i) };

		r = torc_group_spawn_with(group, &o, station_main, &sv->lanes[i]);
	}
	return r;
}

static int serve_everywhere(struct server *sv)
{
	struct torc_group group;
	int r, ended;

	for (size_t i = 0; sv->options->on_listen && i < sv->address_count; i++)
		sv->options->on_listen(first_seat(sv, i)->listener.address, sv->options->arg);
	torc_group_enter(&group);
	sv->group = &group;
	r = spawn_stations(sv, &group);
	if (!r && sv->options->handover)
		r = begin_handover(sv, &group);
	if (r < 0)
		torc_group_cancel(&group);
	ended = torc_group_wait(&group);
	if (sv->offering) {
		sv->next.inherited = sv->handed_over; /* the path is the next process's */
		torc_listener_close(&sv->next);
	}
	return r < 0 ? r : ended;
}

/* Listening is nothing of the ring's: one fiber does it for all loops, before any of them serves. */
static int listen_and_serve(struct server *sv)
{
	int r = 0, loops = torc_loop_count();

	for (int i = 0; i < loops && !r; i++)
		r = open_lane(sv, &sv->lanes[i]);
	if (!r)
		r = take_rest(sv);
	if (!r)
		r = list_sockets(sv);
	if (!r)
		r = serve_everywhere(sv);
	for (int i = 0; i < loops; i++)
		close_lane(&sv->lanes[i]);
	return r;
}

/* Room for each address, and for what a process with more loops has left over. */
static int make_lanes(struct server *sv)
{
	size_t loops = (size_t)torc_loop_count();
	size_t seats = sv->address_count + sv->handover.count / loops + 1;

	sv->lanes = torc__calloc(loops, sizeof(*sv->lanes));
	if (!sv->lanes)
		return -ENOMEM;
	for (size_t i = 0; i < loops; i++) {
		sv->lanes[i].server = sv;
		sv->lanes[i].seats = torc__calloc(seats, sizeof(struct seat));
		if (!sv->lanes[i].seats)
			return -ENOMEM;
	}
	return 0;
}

static void free_lanes(struct server *sv)
{
	for (int i = 0; sv->lanes && i < torc_loop_count(); i++)
		torc__free(sv->lanes[i].seats);
	torc__free(sv->lanes);
	torc__free(sv->sockets);
}

int torc_serve_with(const struct torc_serve_options *options)
{
	struct server sv = { .options = options, .handover.peer = -1 };
	int r = 0;

	while (options->addresses[sv.address_count])
		sv.address_count++;
	if (options->handover)
		r = torc__handover_request(options->handover, &sv.handover);
	if (r < 0 && options->on_error)
		options->on_error(options->handover, r, options->arg);
	if (!r)
		r = make_lanes(&sv);
	if (!r)
		r = listen_and_serve(&sv);
	free_lanes(&sv);
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
