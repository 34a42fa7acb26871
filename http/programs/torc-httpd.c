/*
 * torc-httpd - GET / says hello, POST /echo sends the body back, --root serves a directory.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <torc/torc.h>

#include "http/programs/httpd.h"

static int app(void *arg)
{
	return program_serve(&((struct httpd *)arg)->program, httpd_serve, arg);
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
