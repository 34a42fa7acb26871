#include "http/programs/httpd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <torc/core/run.h>

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

static int add_headers(struct torc_http_exchange *x, const struct httpd *h)
{
	int r = 0;

	for (size_t i = 0; i < h->header_count && !r; i++)
		r = torc_http_add_field(x, h->headers[i].name, h->headers[i].value);
	return r;
}

/* A page of an application that runs in the browser, and makes pages of paths by itself: what looks like a file is none. */
static bool is_page(const struct torc_http_exchange *x)
{
	struct torc_slice path = torc_http_path(x);
	const char *slash = memrchr(path.data, '/', path.len);

	return slash && !memchr(slash, '.', path.len - (size_t)(slash - path.data)) &&
	       (torc_http_method_is(x, "GET") || torc_http_method_is(x, "HEAD"));
}

static int answer_file(struct torc_http_exchange *x, struct httpd *h)
{
	int r = torc_http_files_handle(x, &h->files);

	if (r == -ENOENT && h->app && is_page(x))
		r = torc_http_respond_file(x, &(struct torc_http_file){
						      .path = h->app,
						      .cache_control = h->options.cache_control });
	return r;
}

int httpd_answer(struct torc_http_exchange *x, void *httpd)
{
	struct httpd *h = httpd;
	int r = 0;

	h->counts[torc_loop_index()].requests++;
	if (h->header_count)
		r = add_headers(x, h);
	if (r < 0)
		return r;
	if (h->metrics_path && torc_http_path_is(x, h->metrics_path))
		return torc_http_metrics_handle(x, &h->metrics);
	if (torc_http_path_is(x, "/echo"))
		return echo(x);
	if (h->has_files) {
		r = answer_file(x, h);
		if (r != -ENOENT)
			return r;
	}
	return torc_http_path_is(x, "/") ? hello(x) : plain(x, 404, "Not Found\n");
}
