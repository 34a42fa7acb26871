/*
 * http_server.c - what bench/peers/http measures: an HTTP server as a program would have it, with a router of 500 routes.
 *
 *   bench-http-server PORT [ROOT [CERT KEY]]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <torc/torc.h>

#define ROUTES 500

static int hello(struct torc_http_exchange *x, void *arg)
{
	(void)arg;
	return torc_http_respond(x, 200, "text/plain", "Hello, World!", 13);
}

static int json(struct torc_http_exchange *x, void *arg)
{
	static const char text[] = "{\"message\":\"Hello, World!\"}";

	(void)arg;
	return torc_http_respond_json(x, 200, text, sizeof(text) - 1);
}

static int echo(struct torc_http_exchange *x, void *arg)
{
	struct torc_slice body;
	int r = torc_http_body_read(x, 65536, &body);

	(void)arg;
	return r ? r : torc_http_respond(x, 200, "application/octet-stream", body.data, body.len);
}

static int resource(struct torc_http_exchange *x, void *arg)
{
	struct torc_slice id;

	return torc_http_param(x, "id", &id) ? hello(x, arg) : -EINVAL;
}

static int add_routes(struct torc_router *r)
{
	int e = torc_router_add(r, "GET", "/", hello, NULL);

	if (!e)
		e = torc_router_add(r, "GET", "/json", json, NULL);
	if (!e)
		e = torc_router_add(r, "POST", "/echo", echo, NULL);
	for (int i = 0; !e && i < ROUTES; i++) {
		char pattern[64];

		snprintf(pattern, sizeof(pattern), "/api/v1/resource%d/:id", i);
		e = torc_router_add(r, "GET", pattern, resource, NULL);
	}
	return e;
}

static const struct torc_http_compress_options gzip_6 = { .zlib_level = 6 };

struct served {
	struct torc_router *router, *packed;
	struct torc_http_files files;
	char address[64];
	const char *root, *cert, *key;
};

static int add_files(struct served *s)
{
	struct torc_http_files_options o = { .root = s->root };
	int e = s->root ? torc_http_files_init(&s->files, &o) : 0;

	if (!s->root || e)
		return e;
	e = torc_router_mount(s->router, "/files", torc_http_files_handle, &s->files);
	if (!e)
		e = torc_router_create(NULL, &s->packed);
	if (!e)
		e = torc_router_use(s->packed, torc_http_compress, (void *)&gzip_6);
	if (!e)
		e = torc_router_mount(s->packed, "/", torc_http_files_handle, &s->files);
	return e ? e : torc_router_mount(s->router, "/packed", torc_router_handle, s->packed);
}

static int serve(void *arg)
{
	struct served *s = arg;
	const char *addresses[] = { s->address, NULL };
	struct torc_tls_certificate c = { .cert_file = s->cert, .key_file = s->key };
	struct torc_tls_options o = { .certificates = &c, .certificate_count = 1 };
	struct torc_tls *tls = NULL;
	int e = s->cert ? torc_tls_server_create(&o, &tls, NULL) : 0;

	if (!e)
		e = torc_http_serve(&(struct torc_http_options){ .addresses = addresses,
								 .handler = torc_router_handle,
								 .arg = s->router,
								 .tls = tls });
	torc_tls_unref(tls);
	return e;
}

int main(int argc, char **argv)
{
	static struct served s;
	int e;

	if (argc < 2 || argc > 5 || argc == 4) {
		fprintf(stderr, "usage: bench-http-server PORT [ROOT [CERT KEY]]\n");
		return 2;
	}
	s.root = argc > 2 ? argv[2] : NULL;
	s.cert = argc > 3 ? argv[3] : NULL;
	s.key = argc > 3 ? argv[4] : NULL;
	snprintf(s.address, sizeof(s.address), "%s127.0.0.1:%s", s.cert ? "tls://" : "", argv[1]);
	e = torc_router_create(NULL, &s.router);
	if (!e)
		e = add_routes(s.router);
	if (!e)
		e = add_files(&s);
	if (!e)
		e = torc_run(&(struct torc_options){ .loops = 1 }, serve, &s);
	torc_router_destroy(s.router);
	fprintf(stderr, "bench-http-server: %s\n", strerror(-e));
	return 1;
}
