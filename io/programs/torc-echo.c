/*
 * torc-echo - send back what comes in.
 */
#include <stdatomic.h>
#include <stdio.h>

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

static int app(void *arg)
{
	struct echo *e = arg;

	return torc_serve_with(&(struct torc_serve_options){
		.addresses = e->program.addresses,
		.handler = echo,
		.arg = e,
		.on_listen = on_listen,
		.on_error = on_error,
	});
}

int main(int argc, char **argv)
{
	struct echo e = {
		.program = {
			.name = "torc-echo",
			.what = "Send back what comes in.",
			.default_address = "127.0.0.1:7000",
			.unit = "connections",
		},
	};
	int status = program_parse(&e.program, argc, argv);

	if (status >= 0)
		return status;
	program_raise_limits();
	status = torc_run(&(struct torc_options){ .loops = e.program.loops }, app, &e);
	return program_end(&e.program, status, e.connections);
}
