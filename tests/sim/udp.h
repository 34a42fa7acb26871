/*
 * tests/sim/udp.h - a UDP echo server, and clients that send, wait a while and leave.
 *
 * Checked: what comes back is what was sent, whole and unchanged; a socket's queue stays within its limit; where nothing is lost
 * everything comes back.
 */
#ifndef TESTS_SIM_UDP_H
#define TESTS_SIM_UDP_H

#include <torc/io/datagram.h>

#include "tests/sim/sim.h"

#define UDP_CLIENTS 4
#define UDP_SENDS   30u
#define UDP_QUEUE   4096u

/* Whatever makes a datagram, or an answer, get lost or come too late. */
#define UDP_CHAOS ((1u << TORC_SIM_KINDS) - 1)

struct udp_world {
	struct torc_address server;
	bool open;
};

struct udp_client {
	struct udp_world *world;
	unsigned index, back;
};

static inline size_t udp_len(unsigned client, unsigned n)
{
	return 2 + (client * 37 + n * 101) % 600;
}

static inline void udp_fill(char *buf, unsigned client, unsigned n)
{
	for (size_t i = 0; i < udp_len(client, n); i++)
		buf[i] = (char)(i < 2 ? (i ? n : client) : client * 7 + n * 3 + i);
}

static inline int udp_server(void *arg)
{
	struct udp_world *w = arg;
	struct torc_dgram_options o = { .recv_count = 1 + dice(16), .queue_bytes = UDP_QUEUE };
	struct torc_datagram in;
	struct torc_dgram d;
	int r = torc_dgram_open(&d, "127.0.0.1:0", &o);

	if (r < 0)
		return r;
	w->server = *torc_dgram_address(&d);
	w->open = true;
	do {
		r = torc_dgram_recv(&d, &in);
		if (one_in(8))
			(void)do_sleep(some_time());
		if (r == 0)
			r = torc_dgram_send(&d, in.data, in.len, &in.from);
		check_le(d.unsent_bytes, UDP_QUEUE);
	} while (!is_stop(r) && r != -ENOSPC);
	(void)torc_dgram_close(&d);
	return 0;
}

static inline void udp_take(struct udp_client *c, struct torc_dgram *d, uint64_t wait_ns)
{
	struct torc_datagram in;
	char wanted[1024];

	for (;;) {
		int r = -ETIMEDOUT;
		unsigned n;

		torc_within(wait_ns) r = torc_dgram_recv(d, &in);
		if (is_stop(r))
			return;
		if (r < 0)
			continue;
		check_ge(in.len, 2);
		check_eq(in.data[0], c->index);
		n = (unsigned char)in.data[1];
		check_lt(n, UDP_SENDS);
		check_eq(in.len, udp_len(c->index, n));
		udp_fill(wanted, c->index, n);
		check(!memcmp(in.data, wanted, in.len));
		check(torc_address_equal(&in.from, &c->world->server));
		c->back++;
	}
}

static inline int udp_client(void *arg)
{
	struct udp_client *c = arg;
	char peer[TORC_ADDRESS_MAX], buf[1024];
	struct torc_dgram_options o = { .peer = peer };
	bool connected = one_in(2);
	struct torc_dgram d;
	int r;

	torc_address_format(&c->world->server, peer, sizeof(peer));
	r = torc_dgram_open(&d, connected ? NULL : "127.0.0.1:0", connected ? &o : NULL);
	if (r < 0)
		return 0;
	for (unsigned n = 0; n < UDP_SENDS && !torc_scope_status(); n++) {
		udp_fill(buf, c->index, n);
		(void)!torc_dgram_send(&d, buf, udp_len(c->index, n),
				       connected ? NULL : &c->world->server);
		if (one_in(4))
			udp_take(c, &d, some_time());
	}
	(void)!torc_dgram_flush(&d);
	udp_take(c, &d, TORC_MS(500));
	if (no_chaos(UDP_CHAOS))
		check_eq(c->back, UDP_SENDS);
	(void)torc_dgram_close(&d);
	return 0;
}

static inline int udp_scenario(void *arg)
{
	static struct udp_client clients[UDP_CLIENTS];
	static struct udp_world world;
	struct torc_group servers, g;

	(void)arg;
	world.open = false;
	torc_group_enter_supervisor(&servers);
	start(&servers, udp_server, &world);
	for (int i = 0; i < 1000 && !world.open && !do_sleep(TORC_MS(1)); i++)
		;
	torc_group_enter_supervisor(&g);
	for (unsigned i = 0; i < UDP_CLIENTS && world.open; i++) {
		clients[i] = (struct udp_client){ .world = &world, .index = i };
		start(&g, udp_client, &clients[i]);
	}
	(void)torc_group_wait(&g);
	torc_group_cancel(&servers);
	(void)torc_group_wait(&servers);
	return 0;
}

#endif
