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

/*
 * The fibers of a server:
 *
 *	the caller of torc_serve
 *	  group: one "server" fiber per loop
 *	    group: one "acceptor" per address; a cancellation ends these
 *	    shield, whose deadline is the grace period once draining
 *	      group: one fiber per connection; the acceptors spawn into it
 */

#define GRACE_NS        TORC_SECONDS(5)
#define CONNECTIONS_MAX 1048576

/* For what a handler wrote last to be taken by the peer. */
#define CLOSE_NS TORC_SECONDS(30)

struct server {
	const struct torc_serve_options *options;
	size_t address_count;
	struct lane *lanes; /* [torc_loop_count()] */
};

/* The listeners of one loop, which closes them; the caller of torc_serve does if it never ran. */
struct lane {
	struct server *server;
	struct torc_listener *listeners; /* [server->address_count] */
	size_t open;
};

struct connection {
	struct torc_stream stream;
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
	bool draining;
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
	c.stream.draining = &st->draining;
	link_connection(st, &c);
	r = st->server->options->handler(&c.stream, st->server->options->arg);
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

/* Until the loop has fewer connections than it may have. */
static int await_room(struct acceptor *a)
{
	struct station *st = a->station;
	const struct torc_serve_options *o = st->server->options;
	size_t most = o->connections_max ? o->connections_max : CONNECTIONS_MAX;

	while (st->live_count >= most) {
		int r;

		torc_op_cancel(&a->listener->op); /* what comes now is to wait in the kernel */
		/* Another address's acceptor waits already: look again later. */
		r = st->waiter ? torc_sleep(TORC_MS(10)) : torc__slot_wait(&st->waiter, &room_kind);
		if (r < 0)
			return r;
	}
	return 0;
}

static int acceptor_main(void *arg)
{
	struct acceptor *a = arg;

	for (;;) {
		int fd, r = await_room(a);

		if (r < 0)
			return r;
		fd = torc_accept(a->listener);
		if (fd < 0)
			return fd;
		r = await_room(a); /* another address's acceptor may have taken it */
		if (r < 0) {
			torc_close(fd);
			return r;
		}
		r = start_connection(a->station, fd);
		/* Out of memory: wait for better times; the peer sees its connection closed. */
		if (r < 0)
			r = torc_sleep(TORC_MS(50));
		if (r < 0)
			return r;
	}
}

static int spawn_acceptors(struct station *st, struct torc_group *group, struct acceptor *acceptors)
{
	for (size_t i = 0; i < st->server->address_count; i++) {
		struct acceptor *a = &acceptors[i];
		struct torc_spawn_options o = { .name = "acceptor", .task = &a->task };
		int r;

		a->listener = &st->lane->listeners[i];
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
		struct torc_listener *l = &lane->listeners[--lane->open];

		torc_listener_close(l);
		if (l->shared)
			torc_sys_close(l->fd); /* the duplicate of listen_too */
	}
}

static uint64_t grace_end(const struct torc_serve_options *o)
{
	return torc__later(torc_now_ns(), o->grace_ns ? o->grace_ns : GRACE_NS);
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
	for (size_t i = 0; i < st->server->address_count; i++)
		if (acceptors[i].station)
			torc_task_join(&acceptors[i].task);
	close_lane(st->lane); /* nobody is to connect to a server that does not answer */
	st->draining = true;
	wake_idle(st);
	torc_scope_set_deadline(shield, grace_end(st->server->options));
	torc_group_wait(&connections);
	return r;
}

static int serve_here(struct station *st)
{
	struct acceptor *acceptors = torc__calloc(st->server->address_count, sizeof(*acceptors));
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

/* Listen where loop 0 does: on a socket of our own with the same port, or on the same Unix socket. */
static int listen_too(struct torc_listener *l, const struct torc_listener *first)
{
	struct torc_listen_options o = { .reuse_port = true };
	int r;

	if (!is_single(first->address) && !first->inherited)
		return torc_listen(l, first->address, &o);
	o.share_fd = torc_sys_dup(first->fd);
	if (o.share_fd < 0)
		return o.share_fd;
	r = torc_listen(l, first->address, &o);
	if (r < 0)
		torc_sys_close(o.share_fd);
	return r;
}

static int open_lane(struct server *sv, struct lane *lane)
{
	for (; lane->open < sv->address_count; lane->open++) {
		const char *address = sv->options->addresses[lane->open];
		struct torc_listener *l = &lane->listeners[lane->open];
		int r = lane == sv->lanes ? listen_first(l, address)
					  : listen_too(l, &sv->lanes->listeners[lane->open]);

		if (r < 0) {
			if (sv->options->on_error)
				sv->options->on_error(address, r, sv->options->arg);
			return r;
		}
	}
	return 0;
}

static int station_main(void *arg)
{
	struct lane *lane = arg;
	struct station st = { .server = lane->server, .lane = lane };

	return serve_here(&st);
}

static int serve_everywhere(struct server *sv)
{
	struct torc_group group;
	int r = 0, ended;

	for (size_t i = 0; sv->options->on_listen && i < sv->address_count; i++)
		sv->options->on_listen(sv->lanes->listeners[i].address, sv->options->arg);
	torc_group_enter(&group);
	for (int i = 0; i < torc_loop_count() && !r; i++) {
		struct torc_spawn_options o = { .name = "server", .loop = TORC_ON_LOOP(i) };

		r = torc_group_spawn_with(&group, &o, station_main, &sv->lanes[i]);
	}
	if (r < 0)
		torc_group_cancel(&group);
	ended = torc_group_wait(&group);
	return r < 0 ? r : ended;
}

/* Listening is nothing of the ring's: one fiber does it for all loops, before any of them serves. */
static int listen_and_serve(struct server *sv, struct torc_listener *listeners)
{
	int r = 0, loops = torc_loop_count();

	for (int i = 0; i < loops && !r; i++) {
		sv->lanes[i].server = sv;
		sv->lanes[i].listeners = &listeners[(size_t)i * sv->address_count];
		r = open_lane(sv, &sv->lanes[i]);
	}
	if (!r)
		r = serve_everywhere(sv);
	for (int i = 0; i < loops; i++)
		close_lane(&sv->lanes[i]);
	return r;
}

int torc_serve_with(const struct torc_serve_options *options)
{
	struct server sv = { .options = options };
	size_t loops = (size_t)torc_loop_count();
	struct torc_listener *listeners;
	int r = -ENOMEM;

	while (options->addresses[sv.address_count])
		sv.address_count++;
	sv.lanes = torc__calloc(loops, sizeof(*sv.lanes));
	listeners = torc__calloc(loops * sv.address_count + 1, sizeof(*listeners));
	if (sv.lanes && listeners)
		r = listen_and_serve(&sv, listeners);
	torc__free(listeners);
	torc__free(sv.lanes);
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
