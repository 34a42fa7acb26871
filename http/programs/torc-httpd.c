/*
 * torc-httpd - GET / says hello, POST /echo sends the body back, --root serves a directory.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <torc/torc.h>

#include "http/programs/httpd.h"

static void on_listen(const char *address, void *arg)
{
	program_on_listen(&((struct httpd *)arg)->program, address);
}

static void on_error(const char *address, int error, void *arg)
{
	program_on_error(&((struct httpd *)arg)->program, address, error);
}

/* A loop's share, at least one. */
static size_t share(uint64_t of_all)
{
	uint64_t loops = (uint64_t)torc_loop_count();

	return (size_t)((of_all + loops - 1) / loops);
}

static int serve(void *arg)
{
	struct httpd *h = arg;
	struct torc_http_options o = h->server;

	o.addresses = h->program.addresses;
	o.handler = httpd_answer;
	o.arg = h;
	o.connections_max = share(h->connections);
	o.answer_at_limit = true;
	o.handlers_max = (unsigned)share(h->handlers);
	o.tls = h->program.tls;
	o.handover = h->program.handover;
	o.balance = h->program.balance;
	o.on_listen = on_listen;
	o.on_error = on_error;
	return torc_http_serve(&o);
}

static int app(void *arg)
{
	return program_serve(&((struct httpd *)arg)->program, serve, arg);
}

static unsigned long long total(const struct httpd *h)
{
	unsigned long long sum = 0;

	for (int i = 0; i < HTTPD_LOOPS_MAX; i++)
		sum += h->counts[i].requests;
	return sum;
}

static int open_root(struct httpd *h)
{
	int r;

	if (!h->options.root)
		return 0;
	h->options.precompressed = true;
	r = torc_http_files_init(&h->files, &h->options);
	if (!r && h->spa && asprintf(&h->app, "%s/index.html", h->options.root) < 0) {
		h->app = NULL;
		torc_http_files_done(&h->files);
		r = -ENOMEM;
	}
	if (r < 0) {
		fprintf(stderr, "torc-httpd: --root %s: %s\n", h->options.root, strerror(-r));
		return 1;
	}
	h->has_files = true;
	return 0;
}

static void close_root(struct httpd *h)
{
	if (h->has_files)
		torc_http_files_done(&h->files);
	free(h->app);
}

int main(int argc, char **argv)
{
	static struct httpd h = {
		.program = {
			.name = "torc-httpd",
			.what = "Serve GET / and POST /echo, and the files of a directory.",
			.default_address = "127.0.0.1:8080",
			.options = httpd_options,
		},
	};
	int status = program_parse(&h.program, argc, argv);

	if (status < 0)
		status = httpd_check(&h);
	if (status >= 0)
		return status;
	program_raise_limits();
	status = open_root(&h);
	if (status)
		return status;
	status = torc_run(&(struct torc_options){ .loops = h.program.loops }, app, &h);
	close_root(&h);
	return program_end(&h.program, status, total(&h));
}
