/*
 * io/server_connection.c - a connection's life: from its descriptor to its end.
 */
#include "io/internal/server.h"

#include <errno.h>

#include <torc/core/fiber.h>
#include <torc/core/run.h>
#include <torc/core/sys.h>
#include <torc/io/socket.h>

#include "core/internal/system.h"

/* What may go at once after a pause: an eighth of a second's, but one buffer at the least. */
#define BURST(per_second) ((per_second) / 8 > 4096 ? (per_second) / 8 : 4096)

/* For what a handler wrote last to be taken by the peer. */
#define CLOSE_NS TORC_SECONDS(30)

struct arrival {
	struct torc__station *station; /* where it runs */
	int fd;
};

static void link_connection(struct torc__station *st, struct torc__connection *c)
{
	c->next = st->live;
	c->link = &st->live;
	if (c->next)
		c->next->link = &c->next;
	st->live = c;
}

static void unlink_connection(struct torc__connection *c)
{
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
}

static void limit_connection(struct torc__connection *c, const struct torc_serve_options *o)
{
	if (o->rx_per_second)
		torc_rate_init(&c->rx, o->rx_per_second, BURST(o->rx_per_second));
	if (o->tx_per_second)
		torc_rate_init(&c->tx, o->tx_per_second, BURST(o->tx_per_second));
	torc_stream_limit_rates(&c->stream, o->rx_per_second ? &c->rx : NULL,
				o->tx_per_second ? &c->tx : NULL);
	torc_stream_limit_waits(&c->stream, o->read_ns, o->write_ns);
}

static int handle(struct torc__connection *c, const struct torc_serve_options *o)
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
	struct torc__station *st = ((struct arrival *)arg)->station;
	struct torc_scope scope;
	struct torc__connection c;
	int r, fd = ((struct arrival *)arg)->fd;

	torc__free(arg);
	if (torc_stream_open(&c.stream, fd) < 0) {
		torc_close(fd);
		torc__room_give(st);
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
	torc__room_give(st);
	return r;
}

/* There is no room for its fiber on its loop. */
static void unstarted(void *arg, int error)
{
	struct arrival *a = arg;

	(void)error;
	torc_sys_close(a->fd);
	torc__room_give(a->station);
	torc__free(a);
}

static int spawn_connection(struct torc__station *home, struct torc__station *at, int fd,
			    torc_fn *fn)
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

int torc__connection_start(struct torc__station *home, struct torc__station *at, int fd)
{
	int r = spawn_connection(home, at, fd, connection_main);

	if (r >= 0)
		return 0;
	torc_close(fd);
	torc__room_give(at);
	return r;
}

void torc__connection_reset(int fd)
{
	(void)!torc_set_linger(fd, 0); /* a Unix socket tells its peer anyway */
	torc_close(fd);
}

static bool is_full(void *station)
{
	return torc__room_is_full(station);
}

static int await_place(struct torc__station *st)
{
	int r = 0;

	while (!r && !torc__room_take(st))
		r = torc__room_await(st, is_full, st);
	return r;
}

/* There may be thousands, of which one is to be woken when a place becomes free. */
static int await_turn(struct torc__station *st)
{
	int r = torc_mutex_lock(&st->late_turn);

	if (r < 0)
		return r;
	r = await_place(st);
	torc_mutex_unlock(&st->late_turn);
	return r;
}

static int late_main(void *arg)
{
	struct torc__station *st = ((struct arrival *)arg)->station;
	int r = await_turn(st), fd = ((struct arrival *)arg)->fd;

	st->late_count--;
	if (!r)
		return connection_main(arg);
	torc__free(arg);
	torc__connection_reset(fd);
	torc__room_changed(st);
	return r;
}

void torc__connection_late(struct torc__station *st, int fd)
{
	if (spawn_connection(st, st, fd, late_main) < 0)
		torc_close(fd);
	else
		st->late_count++;
}

void torc__connections_wake_idle(struct torc__station *st)
{
	for (struct torc__connection *c = st->live; c; c = c->next)
		if (!c->stream.busy)
			torc__slot_wake(&c->stream.rx_wait);
}
