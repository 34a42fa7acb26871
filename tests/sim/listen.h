/*
 * tests/sim/listen.h - a listener whose owner takes no more connections, and then closes it.
 *
 * Checked: what it accepts ahead has a limit, and the rest waits in the kernel; none is left open.
 */
#ifndef TESTS_SIM_LISTEN_H
#define TESTS_SIM_LISTEN_H

#include <torc/io/listener.h>
#include <torc/io/socket.h>

#include "tests/sim/sim.h"

#define LISTEN_DIALS 100

/* Accepting stops at 64, at the end of a turn; a few dials of that turn are beyond that. */
#define LISTEN_AHEAD 80u
#define LISTEN_CHAOS                                                                 \
	(CHAOS(BUSY) | CHAOS(RACE) | CHAOS(OVERFLOW) | CHAOS(DELAY) | CHAOS(CLOCK) | \
	 CHAOS(ERROR) | CHAOS(ORDER))

struct listen_world {
	struct torc_listener listener;
	int dialed[LISTEN_DIALS]; /* -1: not */
};

static inline int listen_dialer(void *arg)
{
	struct listen_world *w = arg;

	for (int i = 0; i < LISTEN_DIALS && !torc_scope_status(); i++)
		w->dialed[i] = torc_dial(w->listener.address);
	return 0;
}

/* The first ones, and then no more for a while. */
static inline void listen_take(struct listen_world *w)
{
	for (unsigned n = 1 + dice(3); n; n--) {
		int fd = -1;

		torc_within(TORC_SECONDS(1)) fd = stop_or_done(torc_accept(&w->listener));
		if (fd >= 0)
			torc_close(fd);
	}
	(void)do_sleep(TORC_MS(50));
	if (no_chaos(LISTEN_CHAOS))
		check_le(w->listener.accepted_count, LISTEN_AHEAD);
}

static inline int listen_scenario(void *arg)
{
	static struct listen_world world;
	struct listen_world *w = &world;
	struct torc_group g;
	int r = torc_listen(&w->listener, one_in(2) ? "unix:/listen.sock" : "tcp://127.0.0.1:0",
			    NULL);

	(void)arg;
	if (r < 0) {
		check(!no_chaos(CHAOS(ERROR) | CHAOS(MEMORY)));
		return 0;
	}
	memset(w->dialed, -1, sizeof(w->dialed));
	torc_group_enter_supervisor(&g);
	start(&g, listen_dialer, w);
	listen_take(w);
	torc_listener_close(&w->listener);
	torc_group_cancel(&g);
	(void)torc_group_wait(&g);
	for (int i = 0; i < LISTEN_DIALS; i++)
		if (w->dialed[i] >= 0)
			torc_close(w->dialed[i]);
	return 0;
}

#endif
