/*
 * tests/sim/dial.h - clients on all loops that connect to names, of which some addresses are good, some refuse and some are dead.
 *
 * Checked: who is patient gets a connection where there is a good address, within a delay for each address before it; it is to
 * one of the name's; no descriptor is left of the others, nor anything of lookups that nobody waited for.
 */
#ifndef TESTS_SIM_DIAL_H
#define TESTS_SIM_DIAL_H

#include <stdio.h>
#include <stdlib.h>

#include <torc/core/sys.h>
#include <torc/io/address.h>
#include <torc/io/name.h>
#include <torc/io/socket.h>

#include "core/internal/thread.h"
#include "io/internal/name.h"
#include "tests/sim/sim.h"

#define DIAL_HOSTS   5u
#define DIAL_CLIENTS 6u
#define DIAL_PORT    7000
#define DIAL_DELAY   TORC_MS(250)

enum dial_kind { DIAL_GOOD, DIAL_REFUSING, DIAL_DEAD };

struct dial_host {
	enum dial_kind kind;
	bool v6, open;
	int fd, filler;
	struct torc_address address;
};

struct dial_world {
	struct dial_host hosts[DIAL_HOSTS];
	atomic_uint lookups; /* that run */
};

static struct dial_world dial_world;

/* What breaks connections and lookups that would have been made. */
#define DIAL_BREAKS (CHAOS(ERROR) | CHAOS(RESET) | CHAOS(MEMORY))
#define DIAL_SLOWS  (CHAOS(DELAY) | CHAOS(CLOCK) | CHAOS(BUSY) | CHAOS(OVERFLOW) | CHAOS(RACE))

/* "town-N" has the hosts from N on. */
static inline int dial_resolver(const char *name, int family, struct torc__ips *ret)
{
	struct dial_world *w = &dial_world;

	check_le(++w->lookups, TORC_LOOKUPS_MAX);
	for (unsigned n = dice(4); n; n--)
		torc__thread_point();
	w->lookups--;
	check_eq(family, AF_UNSPEC);
	if (!strncmp(name, "missing", 7))
		return -ENOENT;
	ret->count = 0;
	for (size_t i = (size_t)atoi(name + 5); i < DIAL_HOSTS; i++) {
		union torc__ip *ip = &ret->list[ret->count++];

		memset(ip, 0, sizeof(*ip));
		memcpy(ip, &w->hosts[i].address.any,
		       w->hosts[i].v6 ? sizeof(ip->v6) : sizeof(ip->v4));
	}
	return 0;
}

/* --- hosts --- */

static inline void dial_open_host(struct dial_host *h)
{
	const struct torc_address *a = &h->address;

	h->fd = torc_sys_socket(a->any.sa_family, SOCK_STREAM, 0);
	if (h->fd < 0)
		return;
	if (torc_sys_bind(h->fd, &a->any, a->len) < 0 || h->kind == DIAL_REFUSING)
		return;
	h->open = torc_sys_listen(h->fd, h->kind == DIAL_GOOD ? 4096 : 0) == 0;
}

/* One in its queue, and it answers nobody any more. */
static inline void dial_fill_host(struct dial_host *h)
{
	char text[TORC_ADDRESS_MAX];

	torc_within(TORC_SECONDS(1)) h->filler =
		torc_dial(torc_address_format(&h->address, text, sizeof(text)));
}

static inline void dial_open_hosts(struct dial_world *w)
{
	for (unsigned i = 0; i < DIAL_HOSTS; i++) {
		struct dial_host *h = &w->hosts[i];
		char text[64];

		*h = (struct dial_host){ .kind = dice(3), .v6 = one_in(2), .fd = -1, .filler = -1 };
		snprintf(text, sizeof(text), h->v6 ? "[2001:db8::%u]:%d" : "192.0.2.%u:%d", i + 1,
			 DIAL_PORT);
		check_eq(torc_address_parse(text, 0, &h->address), 0);
		dial_open_host(h);
		if (h->kind == DIAL_DEAD && h->open)
			dial_fill_host(h);
	}
}

static inline void dial_close_hosts(struct dial_world *w)
{
	for (unsigned i = 0; i < DIAL_HOSTS; i++) {
		if (w->hosts[i].fd >= 0)
			torc_sys_close(w->hosts[i].fd);
		if (w->hosts[i].filler >= 0)
			torc_sys_close(w->hosts[i].filler);
	}
}

/* --- clients --- */

static inline bool dial_has_good(const struct dial_world *w, unsigned first)
{
	for (unsigned i = first; i < DIAL_HOSTS; i++)
		if (w->hosts[i].kind == DIAL_GOOD && w->hosts[i].open)
			return true;
	return false;
}

static inline void dial_check_peer(const struct dial_world *w, unsigned first, int fd)
{
	struct torc_address a;
	bool found = false;
	int r = torc_peer_address(fd, &a);

	for (unsigned i = first; r == 0 && i < DIAL_HOSTS; i++)
		found = found || (torc_address_equal(&a, &w->hosts[i].address) &&
				  w->hosts[i].kind != DIAL_REFUSING);
	check(found || !no_chaos(DIAL_BREAKS));
	torc_close(fd);
}

static inline void dial_check(struct dial_world *w, unsigned first, int r, uint64_t took_ns)
{
	bool peace = no_chaos(DIAL_BREAKS);

	check(r != -EINTR);
	if (r >= 0)
		dial_check_peer(w, first, r);
	else if (peace && !torc_scope_status()) /* else one of the two came first */
		check(!dial_has_good(w, first) && (r == -ECONNREFUSED || r == -ETIMEDOUT));
	if (r >= 0 && no_chaos(DIAL_BREAKS | DIAL_SLOWS))
		check_le(took_ns, (DIAL_HOSTS - 1 - first) * DIAL_DELAY + TORC_MS(10));
}

static inline void dial_once(struct dial_world *w)
{
	unsigned first = dice(DIAL_HOSTS);
	uint64_t begin = torc_now_ns();
	char address[64];
	int r;

	snprintf(address, sizeof(address), one_in(2) ? "tcp://town-%u:%d" : "TOWN-%u:%d", first,
		 DIAL_PORT);
	r = torc_dial(address);
	dial_check(w, first, r, torc_now_ns() - begin);
}

static inline void dial_missing(void)
{
	int r = torc_dial("missing:80");

	check(r < 0 && r != -EINTR);
	if (no_chaos(DIAL_BREAKS) && !torc_scope_status())
		check_eq(r, -ENOENT);
}

static inline int dial_client(void *arg)
{
	for (unsigned n = 1 + dice(4); n; n--) {
		uint64_t patience = one_in(2)   ? TORC_NEVER
				    : one_in(2) ? some_time()
						: dice(600000000);

		torc_within(patience)
		{
			if (one_in(8))
				dial_missing();
			else
				dial_once(arg);
		}
		if (one_in(8))
			torc_name_cache_clear();
	}
	return 0;
}

static inline int dial_scenario(void *arg)
{
	struct dial_world *w = &dial_world;
	struct torc_group g;

	(void)arg;
	torc__resolver = dial_resolver;
	w->lookups = 0;
	dial_open_hosts(w);
	torc_group_enter(&g);
	for (unsigned n = 1 + dice(DIAL_CLIENTS); n; n--)
		start(&g, dial_client, w);
	if (one_in(3)) {
		(void)do_sleep(one_in(2) ? some_time() : dice(600000000));
		torc_group_cancel(&g);
	}
	(void)finish(&g);
	dial_close_hosts(w);
	return 0;
}

#endif
