/*
 * io/server_accept.c - a station's acceptors: from a listener to a connection, within the limits.
 */
#include "io/internal/server.h"

#include <errno.h>

#include <torc/core/fiber.h>
#include <torc/core/run.h>

#include "io/internal/listener.h"

/* Where the next connection is to run: here, unless another loop has fewer, or shares the socket and has room. */
static struct torc__station *choose(const struct torc__acceptor *a)
{
	struct torc__station *here = a->station;

	if (here->server->options->balance == TORC_BALANCE_LEAST)
		return torc__room_least(here);
	return a->seat->common && torc__room_is_full(here) ? torc__room_least(here) : here;
}

static bool is_full(void *acceptor)
{
	return torc__room_is_full(choose(acceptor));
}

/* Until there are fewer connections than there may be. */
static int await_room(struct torc__acceptor *a)
{
	struct torc__station *st = a->station;
	int r = 0;

	while (!r && is_full(a)) {
		if (st->server->options->at_limit == TORC_AT_LIMIT_RESET)
			return 0;
		torc_op_cancel(&a->seat->listener.op); /* what comes now is to wait in the kernel */
		r = torc__room_await(st, is_full, a);
	}
	return r;
}

/*
 * For a connection that was accepted, when another acceptor may have been faster. Its place there is taken. NULL: there is no
 * room; negative errno in *ret_error: and the server ends.
 */
static struct torc__station *take_place(struct torc__acceptor *a, int *ret_error)
{
	for (;;) {
		struct torc__station *at;

		*ret_error = await_room(a);
		if (*ret_error < 0)
			return NULL;
		at = choose(a);
		if (torc__room_take(at))
			return at;
		if (a->station->server->options->at_limit == TORC_AT_LIMIT_RESET)
			return NULL;
	}
}

/* Until one more may be accepted: the rest is to wait in the kernel meanwhile. */
static int await_rate(struct torc__acceptor *a)
{
	struct torc_rate *rate = a->station->server->options->accept_rate;
	uint64_t at;

	if (!rate)
		return 0;
	at = torc_rate_reserve(rate, 1);
	if (at <= torc_now_ns())
		return 0;
	torc_op_cancel(&a->seat->listener.op);
	return torc_sleep_until(at);
}

static int accept_one(struct torc__acceptor *a)
{
	struct torc__station *at;
	int fd, r = await_room(a);

	if (!r)
		r = await_rate(a);
	if (r < 0)
		return r;
	fd = torc_accept(&a->seat->listener);
	if (fd < 0)
		return fd;
	at = take_place(a, &r);
	if (r < 0)
		torc__connection_late(a->station, fd);
	else if (!at)
		torc__connection_reset(fd);
	else if (torc__connection_start(a->station, at, fd) < 0)
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

int torc__acceptors_spawn(struct torc__station *st, struct torc_group *group)
{
	for (size_t i = 0; i < st->open; i++) {
		struct torc__acceptor *a = &st->acceptors[i];
		struct torc_spawn_options o = { .name = "acceptor", .task = &a->task };
		int r;

		a->station = st;
		a->seat = &st->seats[i];
		r = torc_group_spawn_with(group, &o, acceptor_main, a);
		if (r < 0)
			return r;
		st->acceptor_count++;
	}
	return 0;
}

void torc__acceptors_finish(struct torc__station *st)
{
	for (size_t i = 0; i < st->open; i++) {
		struct torc_listener *l = &st->seats[i].listener;
		int fd;

		while ((fd = torc__listener_stop(l)) >= 0)
			torc__connection_late(st, fd);
		if (st->gently && (fd = torc__listener_last(l)) >= 0)
			torc__connection_late(st, fd);
	}
}

void torc__acceptors_join(struct torc__station *st)
{
	for (size_t i = 0; i < st->acceptor_count; i++)
		torc_task_join(&st->acceptors[i].task);
}
