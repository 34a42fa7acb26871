#include <torc/io/server.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <torc/core/group.h>
#include <torc/core/run.h>
#include <torc/core/sync.h>
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
 * With TORC_BALANCE_LEAST a connection may run on another loop than the one that has accepted it. It is then in the group of
 * that one, but in the list, and among the number, of the loop where it runs: that loop drains it. So a station lives as long as
 * all of the server, and only its count is seen by other loops.
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
	struct station *stations; /* [torc_loop_count()] */
	struct torc__handover handover;
	struct torc_listener next; /* where the next process asks */
	struct torc__socket
		*sockets; /* all that are listened on, once each: for the next process */
	size_t socket_count;
	bool given;                  /* to the next process, or about to be; atomic */
	struct torc_latch starting;  /* stations that do not accept yet */
	struct torc_latch listening; /* stations whose listeners are open */
	struct torc_event replaced;  /* by the next process, which serves */
};

struct acceptor {
	struct station *station;
	struct torc_listener *listener;
	struct torc_task task;
};

/* A listener, and which address it is for. */
struct seat {
	struct torc_listener listener;
	size_t address;
	bool taken; /* from the process before */
};

struct connection {
	struct torc_stream stream;
	struct torc_rate rx, tx;
	struct connection *next, **link;
};

/* One loop's part. Its listeners are closed by its fiber; by the caller of torc_serve if that never ran. */
struct station {
	struct server *server;
	struct seat *seats;
	size_t open;
	int loop;
	struct acceptor *acceptors; /* [acceptor_count] that run, of as many as seats are open */
	size_t acceptor_count;
	struct torc_group *connections;
	struct connection *live;
	size_t late_count; /* accepted ones that wait for their turn while draining: not in live_count */
	struct torc__wait *waiter;      /* an acceptor that waits for a connection to end */
	uint8_t drain;                  /* enum torc__drain */
	bool gently;                    /* the next process serves already */
	bool hurry;                     /* and this one is to end all the same */
	_Alignas(64) size_t live_count; /* of connections that run here; atomic */
};

struct arrival {
	struct station *station; /* where it runs */
	int fd;
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

static size_t count_of(const struct station *st)
{
	return __atomic_load_n(&st->live_count, __ATOMIC_RELAXED);
}

static size_t count_up(struct station *st)
{
	return __atomic_add_fetch(&st->live_count, 1, __ATOMIC_RELAXED);
}

static void count_down(struct station *st)
{
	__atomic_sub_fetch(&st->live_count, 1, __ATOMIC_RELAXED);
}

/* On the station's loop. */
static void end_connection(struct station *st)
{
	count_down(st);
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

/* There is no room for its fiber on its loop. */
static void unstarted(void *arg, int error)
{
	struct arrival *a = arg;

	(void)error;
	torc_sys_close(a->fd);
	end_connection(a->station);
	torc__free(a);
}

static int spawn_connection(struct station *home, struct station *at, int fd, torc_fn *fn)
{
	const struct torc_serve_options *o = home->server->options;
	struct torc_spawn_options spawn = {
		.name = o->name ? o->name : "connection",
		.stack_bytes = o->stack_bytes,
		.loop = at == home ? 0 : TORC_ON_LOOP(at->loop),
		.unstarted = unstarted,
	};
	struct arrival *a = torc__malloc(sizeof(*a));
	int r;

	if (!a)
		return -ENOMEM;
	*a = (struct arrival){ at, fd };
	r = torc_group_spawn_with(home->connections, &spawn, fn, a);
	if (r < 0)
		torc__free(a);
	return r;
}

/* It is counted already where it is to run. */
static int start_connection(struct station *home, struct station *at, int fd)
{
	int r = spawn_connection(home, at, fd, connection_main);

	if (r >= 0)
		return 0;
	torc_close(fd);
	if (at == home)
		end_connection(at);
	else
		count_down(at); /* who waits there for room looks by the clock */
	return r;
}

/* With a reset the peer knows at once, and nothing is left of it here. */
static void reset(int fd)
{
	const struct linger now = { .l_onoff = 1 };

	(void)torc_sys_setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	torc_close(fd);
}

static size_t most_of(const struct station *st)
{
	const struct torc_serve_options *o = st->server->options;

	return o->connections_max ? o->connections_max : CONNECTIONS_MAX;
}

static int await_place(struct station *st)
{
	int r = 0;

	while (!r && count_up(st) > most_of(st)) {
		count_down(st);
		r = torc_sleep(TORC_MS(10));
	}
	return r;
}

/* One that was accepted and not taken when the server ends: it has until then to get its turn. */
static int late_main(void *arg)
{
	struct station *st = ((struct arrival *)arg)->station;
	int r = await_place(st), fd = ((struct arrival *)arg)->fd;

	st->late_count--;
	if (!r)
		return connection_main(arg);
	torc__free(arg);
	reset(fd);
	torc__slot_wake(&st->waiter);
	return r;
}

static void serve_late(struct station *st, int fd)
{
	if (spawn_connection(st, st, fd, late_main) < 0)
		torc_close(fd);
	else
		st->late_count++;
}

static void describe_room(const struct torc__wait *wait, struct torc__message *m)
{
	const struct station *st = torc__container_of(torc__slot_of(wait), struct station, waiter);

	torc__message_text(m, " beside ");
	torc__message_number(m, count_of(st), 10);
}

static const struct torc__wait_kind room_kind = { "room for a connection", torc__slot_cancel,
						  describe_room };

static bool balances(const struct station *st)
{
	return st->server->options->balance == TORC_BALANCE_LEAST && torc_loop_count() > 1;
}

/* Where the next connection is to run: here, unless another loop has fewer. */
static struct station *choose(struct station *here)
{
	struct station *best = here, *all = here->server->stations;
	size_t fewest = count_of(here);

	for (int i = 0; balances(here) && i < torc_loop_count(); i++) {
		size_t count = count_of(&all[i]);

		if (count < fewest) {
			best = &all[i];
			fewest = count;
		}
	}
	return best;
}

static bool is_full(struct station *st)
{
	return count_of(choose(st)) >= most_of(st);
}

/* Nobody wakes us: another address's acceptor waits in our place, or the room may come on another loop. */
static bool looks_by_the_clock(const struct station *st)
{
	return st->waiter || balances(st);
}

/* Until there are fewer connections than there may be. */
static int await_room(struct acceptor *a)
{
	struct station *st = a->station;

	while (is_full(st)) {
		int r;

		if (st->server->options->at_limit == TORC_AT_LIMIT_RESET)
			return 0;
		torc_op_cancel(&a->listener->op); /* what comes now is to wait in the kernel */
		r = looks_by_the_clock(st) ? torc_sleep(TORC_MS(10))
					   : torc__slot_wait(&st->waiter, &room_kind);
		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * For a connection that was accepted, when another acceptor may have been faster. It is counted there. NULL: there is no
 * room; negative errno in *ret_error: and the server ends.
 */
static struct station *take_place(struct acceptor *a, int *ret_error)
{
	for (;;) {
		struct station *at;

		*ret_error = await_room(a);
		if (*ret_error < 0)
			return NULL;
		at = choose(a->station);
		if (count_up(at) <= most_of(at))
			return at;
		count_down(at);
		if (a->station->server->options->at_limit == TORC_AT_LIMIT_RESET)
			return NULL;
	}
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

static int accept_one(struct acceptor *a)
{
	struct station *at;
	int fd, r = await_room(a);

	if (!r)
		r = await_rate(a);
	if (r < 0)
		return r;
	fd = torc_accept(a->listener);
	if (fd < 0)
		return fd;
	at = take_place(a, &r);
	if (r < 0)
		serve_late(a->station, fd);
	else if (!at)
		reset(fd);
	else if (start_connection(a->station, at, fd) < 0)
		r = torc_sleep(TORC_MS(50)); /* out of memory: better times may come */
	return r;
}

static int acceptor_main(void *arg)
{
	int r;

	do
		r = accept_one(arg);
	while (!r);
	return r;
}

static int spawn_acceptors(struct station *st, struct torc_group *group)
{
	for (size_t i = 0; i < st->open; i++) {
		struct acceptor *a = &st->acceptors[i];
		struct torc_spawn_options o = { .name = "acceptor", .task = &a->task };
		int r;

		a->station = st;
		a->listener = &st->seats[i].listener;
		r = torc_group_spawn_with(group, &o, acceptor_main, a);
		if (r < 0)
			return r;
		st->acceptor_count++;
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

static void close_listeners(struct station *st)
{
	while (st->open) {
		struct torc_listener *l = &st->seats[--st->open].listener;

		/* The file belongs to whoever has the socket. */
		l->inherited |= __atomic_load_n(&st->server->given, __ATOMIC_ACQUIRE);
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

/* Until all have ended, or the scope, or there is no time for it. */
static void await_connections(struct station *st)
{
	while ((count_of(st) || st->late_count) && !st->hurry &&
	       torc__slot_wait(&st->waiter, &drain_kind) == 0)
		;
}

/* What the kernel has accepted already, or does until it is told to stop. */
static void serve_accepted(struct station *st)
{
	for (size_t i = 0; i < st->open; i++) {
		struct torc_listener *l = &st->seats[i].listener;
		int fd;

		while ((fd = torc__listener_stop(l)) >= 0)
			serve_late(st, fd);
		if (st->gently && (fd = torc__listener_last(l)) >= 0)
			serve_late(st, fd);
	}
}

/* Those that wait for data go on as if nothing had happened: see above. */
static void drain_gently(struct station *st)
{
	struct torc_scope scope;

	st->drain = TORC__DRAIN_GENTLY;
	torc_scope_enter(&scope, grace_of(st->server->options));
	await_connections(st);
	torc_scope_leave(&scope);
}

static void drain(struct station *st, struct torc_scope *shield)
{
	if (st->gently)
		drain_gently(st);
	st->drain = TORC__DRAIN_NOW;
	wake_idle(st);
	torc_scope_set_deadline(shield, torc__later(torc_now_ns(), grace_of(st->server->options)));
}

static void join_acceptors(struct station *st)
{
	for (size_t i = 0; i < st->acceptor_count; i++)
		torc_task_join(&st->acceptors[i].task);
}

/* Waits for the next process to serve, and then for a cancellation. */
static int watch_main(void *arg)
{
	struct station *st = arg;
	int r = torc_event_wait(&st->server->replaced);

	if (!r) {
		st->gently = true;
		for (size_t i = 0; i < st->acceptor_count; i++)
			torc_task_cancel(&st->acceptors[i].task);
		r = torc_sleep(TORC_NEVER);
	}
	st->hurry = true;
	torc__slot_wake(&st->waiter);
	return r;
}

static int spawn_watch(struct station *st, struct torc_group *group)
{
	struct torc_spawn_options o = { .name = "handover watch" };

	return st->server->options->handover ? torc_group_spawn_with(group, &o, watch_main, st) : 0;
}

/* Inside the shield: the acceptors end by the cancellation, the connections by what follows from it. */
static int accept_and_drain(struct station *st, struct torc_group *group, struct torc_scope *shield)
{
	struct torc_group connections;
	int r;

	torc_group_enter_supervisor(&connections);
	st->connections = &connections;
	r = spawn_acceptors(st, group);
	if (r >= 0)
		r = spawn_watch(st, group);
	if (r < 0)
		torc_group_cancel(group);
	else
		torc_latch_count_down(&st->server->starting);
	join_acceptors(st);
	if (r >= 0)
		serve_accepted(st);
	close_listeners(st); /* nobody is to connect to a server that does not answer */
	torc_latch_count_down(&st->server->listening);
	drain(st, shield);
	torc_group_wait(&connections);
	if (st->gently)
		torc_group_cancel(group); /* the watch */
	return r;
}

static int serve_here(struct station *st)
{
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
static int listen_too(struct torc_listener *l, const struct seat *first)
{
	const struct torc_listener *other = &first->listener;
	struct torc_listen_options o = { .reuse_port = true };
	int fd;

	if (!is_single(other->address) && !other->inherited && !first->taken)
		return torc_listen(l, other->address, &o);
	fd = torc_sys_dup(other->fd);
	if (fd < 0)
		return fd;
	torc__listener_adopt(l, fd);
	l->shared = true;
	return 0;
}

/* A socket of the process before: ours now, as if we had opened it, or been started with it. */
static void take_over(struct seat *seat, const char *address, int fd)
{
	torc__listener_adopt(&seat->listener, fd);
	seat->listener.inherited = torc__is_inherited(address);
	seat->taken = true;
}

static struct seat *first_seat(const struct server *sv, size_t address)
{
	struct seat *seat = sv->stations->seats;

	while (seat->address != address)
		seat++;
	return seat;
}

static int take_seat(struct server *sv, struct station *st, size_t address, int fd)
{
	const char *text = sv->options->addresses[address];
	struct seat *seat = &st->seats[st->open];
	int r = 0;

	seat->address = address;
	if (fd >= 0)
		take_over(seat, text, fd);
	else if (st == sv->stations)
		r = listen_first(&seat->listener, text);
	else
		r = listen_too(&seat->listener, first_seat(sv, address));
	if (r < 0 && sv->options->on_error)
		sv->options->on_error(text, r, sv->options->arg);
	if (!r)
		st->open++;
	return r;
}

/* One for each address, of the process before where there is one. */
static int open_listeners(struct server *sv, struct station *st)
{
	int r = 0;

	for (size_t i = 0; i < sv->address_count && !r; i++)
		r = take_seat(sv, st, i,
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
			r = take_seat(sv, &sv->stations[next++ % loops], i, fd);
	}
	return r;
}

static int station_main(void *arg)
{
	return serve_here(arg);
}

static int list_sockets(struct server *sv)
{
	size_t most = 0;

	for (int i = 0; i < torc_loop_count(); i++)
		most += sv->stations[i].open;
	sv->sockets = torc__malloc((most + 1) * sizeof(*sv->sockets));
	if (!sv->sockets)
		return -ENOMEM;
	for (int i = 0; i < torc_loop_count(); i++) {
		for (size_t k = 0; k < sv->stations[i].open; k++) {
			const struct seat *seat = &sv->stations[i].seats[k];

			if (!seat->listener.shared)
				sv->sockets[sv->socket_count++] = (struct torc__socket){
					(char *)(uintptr_t)sv->options->addresses[seat->address],
					seat->listener.fd,
				};
		}
	}
	return 0;
}

static void tell_error(const struct server *sv, int error)
{
	const struct torc_serve_options *o = sv->options;

	if (error < 0 && !torc_scope_status() && o->on_error)
		o->on_error(o->handover, error, o->arg);
}

static void tell_addresses(const struct server *sv)
{
	const struct torc_serve_options *o = sv->options;

	for (size_t i = 0; o->on_listen && i < sv->address_count; i++)
		o->on_listen(first_seat(sv, i)->listener.address, o->arg);
}

/*
 * From here on it is this process that serves. Only then is it told to the program: whoever hears of it may start the next one,
 * which is to find this one at its path.
 */
static int take_path(struct server *sv)
{
	int unnamed = 0,
	    r = torc__handover_replace(&sv->handover, sv->options->handover, &sv->next, &unnamed);

	tell_error(sv, r < 0 ? r : unnamed);
	if (!r)
		tell_addresses(sv);
	return r;
}

/* Until nobody can take over any more, for there is nothing left to be taken. */
static void leave_path(struct server *sv)
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
	struct server *sv = arg;
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

static int spawn_handover(struct server *sv, struct torc_group *group)
{
	struct torc_spawn_options o = { .name = "handover" };

	return sv->options->handover ? torc_group_spawn_with(group, &o, handover_main, sv) : 0;
}

/* There is no room for its fiber: its listeners are closed later. */
static void station_unstarted(void *arg, int error)
{
	const struct station *st = arg;

	(void)error;
	torc_latch_count_down(&st->server->listening);
}

static int spawn_stations(struct server *sv, struct torc_group *group)
{
	int r = 0;

	for (int i = 0; i < torc_loop_count() && !r; i++) {
		struct torc_spawn_options o = {
			.name = "server",
			.loop = TORC_ON_LOOP(i),
			.unstarted = station_unstarted,
		};

		torc_latch_add(&sv->listening, 1);
		r = torc_group_spawn_with(group, &o, station_main, &sv->stations[i]);
		if (r < 0)
			torc_latch_count_down(&sv->listening);
	}
	return r;
}

static int serve_everywhere(struct server *sv)
{
	struct torc_group group;
	int r, ended;

	if (!sv->options->handover)
		tell_addresses(sv);
	torc_latch_init(&sv->starting, (uint32_t)torc_loop_count());
	torc_group_enter(&group);
	r = spawn_stations(sv, &group);
	if (!r)
		r = spawn_handover(sv, &group);
	if (r < 0)
		torc_group_cancel(&group);
	ended = torc_group_wait(&group);
	return r < 0 ? r : ended;
}

/* Listening is nothing of the ring's: one fiber does it for all loops, before any of them serves. */
static int listen_and_serve(struct server *sv)
{
	int r = 0, loops = torc_loop_count();

	for (int i = 0; i < loops && !r; i++)
		r = open_listeners(sv, &sv->stations[i]);
	if (!r)
		r = take_rest(sv);
	if (!r)
		r = list_sockets(sv);
	if (!r)
		r = serve_everywhere(sv);
	for (int i = 0; i < loops; i++)
		close_listeners(&sv->stations[i]);
	return r;
}

/* Room for each address, and for what a process with more loops has left over. */
static int make_stations(struct server *sv)
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
		sv->stations[i].seats = torc__calloc(seats, sizeof(struct seat));
		if (!sv->stations[i].seats)
			return -ENOMEM;
	}
	return 0;
}

static void free_stations(struct server *sv)
{
	for (int i = 0; sv->stations && i < torc_loop_count(); i++)
		torc__free(sv->stations[i].seats);
	torc__free(sv->stations);
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
	tell_error(&sv, r);
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
