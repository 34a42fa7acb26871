/*
 * proxy - connections passed on to another server, TCP or Unix, each direction by itself: when one side says that it will
 * send no more, the other side is told so, and may still answer.
 *
 *	build/examples/proxy 127.0.0.1:8080 127.0.0.1:80
 *	build/examples/proxy 127.0.0.1:8080 unix:/run/backend.sock
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <torc/torc.h>

#define CONNECT_NS TORC_SECONDS(5)

struct proxy {
	const char *listen, *backend;
};

struct direction {
	struct torc_stream *to, *from;
};

static int pass_on(void *arg)
{
	struct direction *d = arg;
	int r = torc_stream_copy(d->to, d->from, UINT64_MAX, NULL);

	return r < 0 ? r : torc_stream_shutdown(d->to);
}

static int dial(const char *address)
{
	int fd = -1;

	torc_within(CONNECT_NS) fd = torc_dial(address);
	return fd;
}

static int serve(struct torc_stream *client, void *arg)
{
	const struct proxy *p = arg;
	struct torc_stream backend;
	struct direction there = { &backend, client }, back = { client, &backend };
	struct torc_call calls[] = {
		{ .fn = pass_on, .arg = &there, .name = "there" },
		{ .fn = pass_on, .arg = &back, .name = "back" },
	};
	int r, fd = dial(p->backend);

	if (fd < 0) {
		fprintf(stderr, "proxy: %s: %s\n", p->backend, strerror(-fd));
		return fd;
	}
	r = torc_stream_open(&backend, fd);
	if (r < 0) {
		torc_close(fd);
		return r;
	}
	r = torc_gather(calls, 2);
	torc_stream_close(&backend);
	return r;
}

static void on_listen(const char *address, void *arg)
{
	(void)arg;
	fprintf(stderr, "proxy: listening on %s\n", address);
}

static int app(void *arg)
{
	struct proxy *p = arg;
	const char *const addresses[] = { p->listen, NULL };

	return torc_serve_with(&(struct torc_serve_options){
		.addresses = addresses,
		.handler = serve,
		.arg = p,
		.on_listen = on_listen,
	});
}

int main(int argc, char **argv)
{
	struct proxy p;
	int r;

	if (argc != 3) {
		fprintf(stderr, "usage: proxy LISTEN BACKEND, each HOST:PORT or unix:PATH\n");
		return 2;
	}
	p = (struct proxy){ argv[1], argv[2] };
	r = torc_run(&(struct torc_options){ .loops = TORC_LOOP_PER_CORE }, app, &p);
	if (r < 0)
		fprintf(stderr, "proxy: %s: %s\n", p.listen, strerror(-r));
	return r < 0;
}
