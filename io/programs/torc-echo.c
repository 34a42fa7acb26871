/*
 * torc-echo - send back what comes in.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <torc/torc.h>

#include "io/programs/options.h"

struct echo {
	struct program program; /* first: see program_on_listen */
	atomic_ullong connections;
};

static int echo(struct torc_stream *s, void *arg)
{
	struct echo *e = arg;
	struct torc_slice in;
	int r;

	while ((r = torc_stream_peek(s, &in)) > 0) {
		r = torc_stream_write(s, in.data, in.len);
		if (r < 0)
			break;
		torc_stream_consume(s, in.len);
	}
	/* Once per connection: a counter that all loops write would bounce between the cores. */
	atomic_fetch_add_explicit(&e->connections, 1, memory_order_relaxed);
	return r;
}

static void on_listen(const char *address, void *arg)
{
	program_on_listen(arg, address);
}

static void on_error(const char *address, int error, void *arg)
{
	program_on_error(arg, address, error);
}

/* --- datagrams --- */

struct udp {
	struct echo *echo;
	char address[TORC_ADDRESS_MAX];
	const char *asked;
	int loop;
};

static int echo_datagrams(struct torc_dgram *d)
{
	struct torc_datagram in;

	for (;;) {
		int r = torc_dgram_recv(d, &in);

		/* One that cannot be sent back is one that is lost. */
		if (!r)
			r = torc_dgram_send(d, in.data, in.len, &in.from);
		if (r == -ECANCELED || r == -ENOMEM)
			return r;
	}
}

static int udp_main(void *arg)
{
	struct udp *u = arg;
	struct torc_dgram d;
	int r = torc_dgram_open(&d, u->address,
				&(struct torc_dgram_options){
					.reuse_port = torc_loop_count() > 1,
					.recv_bytes = 4 << 20,
				});

	if (r < 0) {
		program_on_error(&u->echo->program, u->asked, r);
		return r;
	}
	if (u->loop == 0)
		program_on_listen(&u->echo->program, u->address);
	r = echo_datagrams(&d);
	torc_dgram_close(&d);
	return r == -ECANCELED ? 0 : r;
}

/* SO_REUSEPORT would let two servers share a port without either knowing; and all loops are to have the same one. */
static int choose_address(struct udp *u)
{
	struct torc_dgram d;
	int r = torc_dgram_open(&d, u->asked, NULL);

	if (r < 0) {
		program_on_error(&u->echo->program, u->asked, r);
		return r;
	}
	torc_address_format(torc_dgram_address(&d), u->address, sizeof(u->address));
	return torc_dgram_close(&d);
}

static int start_udp(struct torc_group *group, struct udp *u, const char *asked)
{
	int r;

	u[0].asked = asked;
	r = choose_address(u);
	for (int i = 0; i < torc_loop_count() && !r; i++) {
		struct torc_spawn_options o = { .name = "datagrams", .loop = TORC_ON_LOOP(i) };

		u[i] = u[0];
		u[i].loop = i;
		r = torc_group_spawn_with(group, &o, udp_main, &u[i]);
	}
	return r;
}

/* --- all --- */

static bool is_udp(const char *address)
{
	return !strncmp(address, "udp://", 6);
}

static int serve_streams(struct echo *e, const char *const *addresses)
{
	return torc_serve_with(&(struct torc_serve_options){
		.addresses = addresses,
		.handler = echo,
		.arg = e,
		.tls = e->program.tls,
		.handover = e->program.handover,
		.balance = e->program.balance,
		.on_listen = on_listen,
		.on_error = on_error,
	});
}

static int serve(struct echo *e, struct udp *u)
{
	const char *streams[PROGRAM_ADDRESSES_MAX + 1];
	struct torc_group group;
	int r = 0, ended, count = 0, loops = torc_loop_count();

	torc_group_enter(&group);
	for (int i = 0; i < e->program.address_count && !r; i++) {
		const char *address = e->program.addresses[i];

		u[i * loops].echo = e;
		if (is_udp(address))
			r = start_udp(&group, &u[i * loops], address);
		else
			streams[count++] = address;
	}
	streams[count] = NULL;
	if (!r && count)
		r = serve_streams(e, streams);
	if (r < 0)
		torc_group_cancel(&group);
	ended = torc_group_wait(&group);
	return r ? r : ended;
}

static int serve_all(void *arg)
{
	struct echo *e = arg;
	struct udp *u = calloc((size_t)(e->program.address_count * torc_loop_count()), sizeof(*u));
	int r = u ? serve(e, u) : -ENOMEM;

	free(u);
	return r;
}

static int app(void *arg)
{
	int r = program_serve(&((struct echo *)arg)->program, serve_all, arg);

	return r == -ECANCELED ? 0 : r;
}

int main(int argc, char **argv)
{
	struct echo e = {
		.program = {
			.name = "torc-echo",
			.what = "Send back what comes in.",
			.default_address = "127.0.0.1:7000",
			.unit = "connections",
			.serves_udp = true,
		},
	};
	int status = program_parse(&e.program, argc, argv);

	if (status >= 0)
		return status;
	program_raise_limits();
	status = torc_run(&(struct torc_options){ .loops = e.program.loops }, app, &e);
	return program_end(&e.program, status, e.connections);
}
