/*
 * tests/sim/serving.h - a server in a fiber, clients on all loops beside it, and the server stopped at some time.
 */
#ifndef TESTS_SIM_SERVING_H
#define TESTS_SIM_SERVING_H

#include <stdio.h>
#include <string.h>

#include <torc/core/sync.h>
#include <torc/io/server.h>
#include <torc/io/socket.h>

#include "tests/sim/sim.h"

#define CLIENTS_MOST 10

struct serving {
	int (*serve)(struct serving *s); /* until cancelled */
	int (*client)(struct serving *s);
	char address[128]; /* where it listens; empty: it could not */
	struct torc_event listening;
	atomic_int connections, served; /* handlers that run, and that have run */
	atomic_int clients;
};

static inline void on_listen(const char *address, void *arg)
{
	struct serving *s = arg;

	snprintf(s->address, sizeof(s->address), "%s", address);
	torc_event_set(&s->listening);
}

static inline int server_main(void *arg)
{
	struct serving *s = arg;
	int r = s->serve(s);

	/* What a listener may fail with under chaos, all of it the system's. */
	check(r == 0 || r == -ENOMEM || r == -EMFILE || r == -ENFILE || r == -EADDRINUSE ||
	      r == -EAGAIN);
	check_eq(s->connections, 0);
	torc_event_set(&s->listening);
	return 0;
}

static inline int client_main(void *arg)
{
	struct serving *s = arg;

	s->clients++;
	(void)s->client(s);
	s->clients--;
	return 0;
}

static inline void run_clients(struct serving *s)
{
	struct torc_group group;

	torc_group_enter_supervisor(&group);
	for (unsigned n = 1 + dice(CLIENTS_MOST); n; n--) {
		struct torc_spawn_options o = { .loop = some_loop() };

		(void)any_of_spawn(torc_group_spawn_with(&group, &o, client_main, s));
		if (one_in(3))
			(void)do_sleep(some_time());
	}
	/* Some are still at it when the server is stopped. */
	if (one_in(3)) {
		(void)do_sleep(some_time());
		torc_group_cancel(&group);
	}
	(void)any_of_spawn(torc_group_wait(&group));
}

static inline int run_serving(struct serving *s)
{
	struct torc_group group;
	struct torc_spawn_options o = { .name = "server" };

	torc_event_init(&s->listening);
	torc_group_enter_supervisor(&group);
	if (any_of_spawn(torc_group_spawn_with(&group, &o, server_main, s)) == 0) {
		stop_or_done(torc_event_wait(&s->listening));
		if (s->address[0])
			run_clients(s);
		torc_group_cancel(&group);
	}
	(void)any_of_spawn(torc_group_wait(&group));
	check_eq(s->clients, 0);
	check_eq(s->connections, 0);
	torc_event_done(&s->listening);
	return 0;
}

/* A deadline for everything that a client does: its server may have gone. */
#define CLIENT_NS TORC_SECONDS(20)

static inline int dial(struct serving *s, struct torc_stream *stream)
{
	int fd = torc_dial(s->address), r;

	if (fd < 0)
		return fd;
	r = torc_stream_open(stream, fd);
	if (r < 0)
		torc_close(fd);
	return r;
}

/* Bytes that tell where they belong: of a sequence with a number, at an offset. */
static inline char byte_at(unsigned number, size_t offset)
{
	return (char)('a' + (number * 7 + offset * 3 + offset / 251) % 26);
}

static inline void fill_bytes(char *buf, size_t len, unsigned number, size_t offset)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = byte_at(number, offset + i);
}

static inline void check_bytes(const char *buf, size_t len, unsigned number, size_t offset)
{
	for (size_t i = 0; i < len; i++)
		check_eq(buf[i], byte_at(number, offset + i));
}

#endif
