/*
 * tests/sim/serving.h - a server in a fiber, clients on all loops beside it, and the server stopped at some time.
 *
 * Checked: who is patient is served, as long as nobody stops it, its server or its connection; a server that is stopped
 * ends idle connections at once, and the others after its grace period; no connection outlives its server.
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
	char addresses[2][128]; /* where it listens */
	unsigned address_count; /* 0: it could not */
	struct torc_event listening;
	int most;                       /* connections; 0: no limit */
	unsigned version;               /* of tests/sim/tls.h: 0 or 1 */
	uint64_t grace_ns;              /* 0: the default */
	uint64_t idle_ns;               /* after which it drops a silent connection; 0: never */
	atomic_int connections, served; /* handlers that run, and that have run */
	atomic_int clients;
	struct torc_task server;
	atomic_bool stopping; /* the server was asked to stop */
	uint64_t stopped_ns;  /* and when */
};

/* What breaks connections, or has them refused. */
#define BREAKS (CHAOS(ERROR) | CHAOS(RESET) | CHAOS(MEMORY))

/* What makes times longer than those that a server allows. */
#define SLOWS (CHAOS(DELAY) | CHAOS(CLOCK))

#define GRACE_NS TORC_SECONDS(5)

static inline uint64_t grace_of(const struct serving *s)
{
	return s->grace_ns ? s->grace_ns : GRACE_NS;
}

static inline void on_listen(const char *address, void *arg)
{
	struct serving *s = arg;

	check_lt(s->address_count, COUNT(s->addresses));
	snprintf(s->addresses[s->address_count++], sizeof(s->addresses[0]), "%s", address);
	torc_event_set(&s->listening);
}

static inline int server_main(void *arg)
{
	struct serving *s = arg;
	int r = s->serve(s);

	/* What a listener may fail with under chaos, all of it the system's. */
	check(r == 0 || r == -ENOMEM ||
	      (!s->address_count &&
	       (r == -EMFILE || r == -ENFILE || r == -EADDRINUSE || r == -EAGAIN)));
	check_eq(s->connections, 0);
	if (s->stopping && no_chaos(SLOWS))
		check_le(torc_now_ns(), s->stopped_ns + grace_of(s) + TORC_MS(100));
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

static inline void stop_server(struct serving *s)
{
	if (s->stopping)
		return;
	s->stopped_ns = torc_now_ns();
	s->stopping = true;
	torc_task_cancel(&s->server);
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
	/* Some are still at it when they, or the server, are stopped. */
	if (one_in(2)) {
		(void)do_sleep(one_in(4) ? dice(60000000) : some_time());
		if (one_in(2))
			torc_group_cancel(&group);
		else
			stop_server(s);
	}
	(void)any_of_spawn(torc_group_wait(&group));
}

static inline int run_serving(struct serving *s)
{
	struct torc_group group;
	struct torc_spawn_options o = { .name = "server", .task = &s->server };

	torc_event_init(&s->listening);
	torc_group_enter_supervisor(&group);
	if (any_of_spawn(torc_group_spawn_with(&group, &o, server_main, s)) == 0) {
		stop_or_done(torc_event_wait(&s->listening));
		if (s->address_count)
			run_clients(s);
		stop_server(s);
	}
	(void)any_of_spawn(torc_group_wait(&group));
	check_eq(s->clients, 0);
	check_eq(s->connections, 0);
	torc_event_done(&s->listening);
	return 0;
}

/*
 * Deadlines of clients. Who does what a server may answer with silence has a short one, so that others get its place;
 * the patient ones wait until it is a failure of the test.
 */
#define CLIENT_NS  TORC_SECONDS(20)
#define PATIENT_NS TORC_SECONDS(1000)

/* Of a patient client that asks for nothing unusual. Returns r. */
static inline int served_or_stopped(const struct serving *s, int r)
{
	if (r < 0 && torc_scope_status() != -ECANCELED && !s->stopping)
		check(!no_chaos(BREAKS));
	return r;
}

/* Whatever breaks: somebody tells it, and nobody is left waiting. */
static inline void leave_patiently(struct torc_scope *patience)
{
	check(torc_scope_status() != -ETIMEDOUT);
	torc_scope_leave(patience);
}

/* The peer may take nothing. */
static inline void hang_up(struct torc_stream *stream)
{
	torc_within(CLIENT_NS)(void) torc_stream_close(stream);
}

static inline int dial(struct serving *s, struct torc_stream *stream)
{
	int fd = torc_dial(s->addresses[dice(s->address_count)]), r;

	if (fd < 0)
		return fd;
	r = torc_stream_open(stream, fd);
	if (r < 0)
		torc_close(fd);
	return r;
}

/*
 * Connect, behave, and hang up. `number` goes to behave. Returns what behave did, or why there was no connection.
 */
static inline int visit(struct serving *s,
			int (*behave)(struct serving *s, struct torc_stream *stream,
				      unsigned number),
			unsigned number)
{
	struct torc_stream stream;
	struct torc_scope scope;
	int r;

	torc_scope_enter(&scope, PATIENT_NS);
	r = served_or_stopped(s, dial(s, &stream));
	if (!r) {
		r = behave(s, &stream, number);
		check(r <= 0 && r != -EINTR && r != -EAGAIN);
		hang_up(&stream);
	}
	leave_patiently(&scope);
	return r;
}

/* Says nothing more. A server that is stopped, or gives its clients only so much time, ends it. */
static inline int idle_away(const struct serving *s, struct torc_stream *stream, bool busy)
{
	struct torc_slice view;
	int r = 0;

	torc_within(TORC_SECONDS(30)) r = torc_stream_peek(stream, &view);
	if (r == -ETIMEDOUT && !torc_scope_status() && !s->stopping)
		check(!s->idle_ns || s->most);
	/* One that had no place yet waits for it as long as the others may take. */
	if (s->stopping && no_chaos(SLOWS))
		check_le(torc_now_ns(),
			 s->stopped_ns + (busy || s->most ? grace_of(s) : 0) + TORC_MS(100));
	return r < 0 ? r : 0;
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
