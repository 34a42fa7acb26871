/*
 * torc-httpd - GET / says hello, POST /echo sends the body back, --root serves a directory.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <torc/torc.h>

#include "io/programs/options.h"

#define LOOPS_MAX 256

/* One per loop and cache line: a counter that all loops write would bounce between the cores. */
struct count {
	_Alignas(64) unsigned long long requests;
};

struct httpd {
	struct program program;
	bool has_files;
	struct torc_http_files files;
	struct count counts[LOOPS_MAX];
};

static int plain(struct torc_http_exchange *x, int status, const char *text)
{
	return torc_http_respond(x, status, "text/plain", text, strlen(text));
}

static int not_allowed(struct torc_http_exchange *x, const char *allow)
{
	int r = torc_http_add_field(x, "Allow", allow);

	return r ? r : plain(x, 405, "Method Not Allowed\n");
}

/* The type of what is echoed is the sender's. */
static int echo_type(struct torc_http_exchange *x, char *type, size_t size)
{
	struct torc_slice value;

	if (!torc_http_field(x, "Content-Type", &value) || !value.len || value.len >= size)
		return snprintf(type, size, "application/octet-stream");
	return snprintf(type, size, "%.*s", (int)value.len, value.data);
}

static int echo(struct torc_http_exchange *x)
{
	struct torc_slice part;
	char type[256];
	int r;

	if (!torc_http_method_is(x, "POST"))
		return not_allowed(x, "POST");
	/* Look at the body first: what is wrong with it can then still be answered. */
	r = torc_http_body_peek(x, &part);
	if (r < 0)
		return r;
	echo_type(x, type, sizeof(type));
	r = torc_http_begin(x, 200, type, torc_http_body_length(x));
	while (!r && (r = torc_http_body_peek(x, &part)) > 0) {
		r = torc_http_write(x, part.data, part.len);
		torc_http_body_consume(x, part.len);
	}
	return r;
}

static int hello(struct torc_http_exchange *x)
{
	if (!torc_http_method_is(x, "GET") && !torc_http_method_is(x, "HEAD"))
		return not_allowed(x, "GET, HEAD");
	return torc_http_respond(x, 200, "text/plain", "Hello, World!", 13);
}

static int handle(struct torc_http_exchange *x, void *arg)
{
	struct httpd *h = arg;

	h->counts[torc_loop_index()].requests++;
	if (torc_http_path_is(x, "/echo"))
		return echo(x);
	if (h->has_files) {
		int r = torc_http_files_handle(x, &h->files);

		if (r != -ENOENT)
			return r;
	}
	return torc_http_path_is(x, "/") ? hello(x) : plain(x, 404, "Not Found\n");
}

static void on_listen(const char *address, void *arg)
{
	program_on_listen(&((struct httpd *)arg)->program, address);
}

static void on_error(const char *address, int error, void *arg)
{
	program_on_error(&((struct httpd *)arg)->program, address, error);
}

static int serve(void *arg)
{
	struct httpd *h = arg;

	return torc_http_serve(&(struct torc_http_options){
		.addresses = h->program.addresses,
		.handler = handle,
		.arg = h,
		.tls = h->program.tls,
		.handover = h->program.handover,
		.balance = h->program.balance,
		.on_listen = on_listen,
		.on_error = on_error,
	});
}

static int app(void *arg)
{
	return program_serve(&((struct httpd *)arg)->program, serve, arg);
}

static unsigned long long total(const struct httpd *h)
{
	unsigned long long sum = 0;

	for (int i = 0; i < LOOPS_MAX; i++)
		sum += h->counts[i].requests;
	return sum;
}

static int open_root(struct httpd *h)
{
	int r = torc_http_files_init(&h->files,
				     &(struct torc_http_files_options){ .root = h->program.root,
									.precompressed = true });

	if (r < 0) {
		fprintf(stderr, "torc-httpd: --root %s: %s\n", h->program.root, strerror(-r));
		return 1;
	}
	h->has_files = true;
	return 0;
}

int main(int argc, char **argv)
{
	static struct httpd h = {
		.program = {
			.name = "torc-httpd",
			.what = "Serve GET / and POST /echo, and the files of a directory.",
			.default_address = "127.0.0.1:8080",
			.serves_files = true,
		},
	};
	int status = program_parse(&h.program, argc, argv);

	if (status >= 0)
		return status;
	program_raise_limits();
	if (h.program.root) {
		status = open_root(&h);
		if (status)
			return status;
	}
	status = torc_run(&(struct torc_options){ .loops = h.program.loops }, app, &h);
	if (h.has_files)
		torc_http_files_done(&h.files);
	return program_end(&h.program, status, total(&h));
}
