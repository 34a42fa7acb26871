/*
 * tests/http/world.h - a server and its clients as fibers of one runtime. The clients know nothing of HTTP but how to cut
 * a train of answers into its parts.
 */
#ifndef TESTS_HTTP_WORLD_H
#define TESTS_HTTP_WORLD_H

#include "tests/io/run.h"

#include <torc/http/files.h>

#define MIB ((size_t)1 << 20)

/* --- a server --- */

struct world {
	struct torc_http_options options;
	struct torc_options runtime;
	void (*client)(struct world *w);
	char address[TORC_ADDRESS_MAX];
	struct torc_group group;
	int root;              /* where a test makes files */
	const char *root_path; /* what is served beside; NULL: nothing */
	struct torc_http_files files;
	int calls;  /* of the handler */
	int result; /* of what the handler tries */
	int open;   /* handlers under way */
	bool gate;  /* what waits in a handler may go on */
};

static inline void listening(const char *address, void *arg)
{
	struct world *w = arg;

	snprintf(w->address, sizeof(w->address), "%s", address);
}

static inline int serve(void *arg)
{
	return torc_http_serve(&((struct world *)arg)->options);
}

static inline int world_main(void *arg)
{
	struct world *w = arg;
	int r;

	if (w->root_path)
		check_eq(torc_http_files_init(&w->files,
					      &(struct torc_http_files_options){
						      .root = w->root_path }),
			 0);
	torc_group_enter(&w->group);
	check_eq(torc_group_spawn(&w->group, serve, w), 0);
	while (!w->address[0])
		check_eq(torc_yield(), 0);
	w->client(w);
	torc_group_cancel(&w->group);
	r = torc_group_wait(&w->group);
	if (w->root_path)
		torc_http_files_done(&w->files);
	return r;
}

/* A server with w->options and this handler, and a client beside it; w is the handler's argument. */
static inline void run_world_with(struct world *w, torc_http_fn *handler,
				  void (*client)(struct world *))
{
	static const char *const any_port[] = { "127.0.0.1:0", NULL };

	if (!w->options.addresses)
		w->options.addresses = any_port;
	w->options.handler = handler;
	w->options.arg = w;
	w->options.on_listen = listening;
	w->client = client;
	w->address[0] = '\0';
	check_eq(run_with(&w->runtime, world_main, w), 0);
}

/* --- a client --- */

struct client {
	int fd;
	char *data; /* received, not yet looked at */
	size_t len, capacity;
	int end; /* how receiving ended: 0 or a negative errno; 1: it has not */
};

struct reply {
	int status;
	char head[4096];
	char *body;
	size_t len;
	bool chunked;
};

static inline void dial(struct world *w, struct client *c)
{
	*c = (struct client){ .end = 1 };
	c->fd = torc_dial(w->address);
	check_ge(c->fd, 0);
}

static inline void hang_up(struct client *c)
{
	torc_close(c->fd);
	free(c->data);
}

static inline void say(struct client *c, const char *text)
{
	check_eq(torc_send_all(c->fd, text, strlen(text)), 0);
}

/* More bytes. Returns false at the end. */
static inline bool hear(struct client *c)
{
	struct torc_scope scope;
	int r;

	if (c->end <= 0)
		return false;
	if (c->capacity < c->len + 65536) {
		c->capacity = 2 * (c->len + 65536);
		c->data = realloc(c->data, c->capacity);
		check(c->data);
	}
	torc_scope_enter(&scope, TORC_SECONDS(20));
	r = torc_recv(c->fd, c->data + c->len, c->capacity - c->len - 1, 0);
	torc_scope_leave(&scope);
	check(r != -ETIMEDOUT);
	if (r <= 0) {
		c->end = r;
		return false;
	}
	c->len += (size_t)r;
	c->data[c->len] = '\0';
	return true;
}

static inline void drop(struct client *c, size_t n)
{
	memmove(c->data, c->data + n, c->len - n);
	c->len -= n;
	c->data[c->len] = '\0';
}

static const char *header(const struct reply *r, const char *name)
{
	static char value[256];
	size_t n = strlen(name);

	for (const char *p = strstr(r->head, "\r\n"); p && p[2]; p = strstr(p + 2, "\r\n"))
		if (!strncasecmp(p + 2, name, n) && p[2 + n] == ':') {
			sscanf(p + 3 + n, " %255[^\r]", value);
			return value;
		}
	return NULL;
}

static inline void put_body(struct reply *r, const char *data, size_t len)
{
	r->body = realloc(r->body, r->len + len + 1);
	check(r->body);
	memcpy(r->body + r->len, data, len);
	r->len += len;
	r->body[r->len] = '\0';
}

static inline bool hear_chunks(struct client *c, struct reply *r)
{
	for (;;) {
		char *line;
		size_t n, head;

		while (!c->len || !(line = strstr(c->data, "\r\n")))
			if (!hear(c))
				return false;
		n = strtoul(c->data, NULL, 16);
		head = (size_t)(line - c->data) + 2;
		while (c->len < head + n + 2)
			if (!hear(c))
				return false;
		put_body(r, c->data + head, n);
		check(!memcmp(c->data + head + n, "\r\n", 2));
		drop(c, head + n + 2);
		if (!n)
			return true;
	}
}

static inline bool hear_body(struct client *c, struct reply *r, bool to_head)
{
	const char *length = header(r, "Content-Length");
	bool to_end = !length && !r->chunked;
	size_t n = length ? strtoul(length, NULL, 10) : SIZE_MAX;

	put_body(r, "", 0);
	if (to_head || r->status < 200 || r->status == 204 || r->status == 304)
		return true;
	if (r->chunked)
		return hear_chunks(c, r);
	while (c->len < n && hear(c))
		;
	if (c->len < n && !to_end)
		return false;
	n = c->len < n ? c->len : n;
	put_body(r, c->data, n);
	drop(c, n);
	return !to_end || c->end == 0;
}

/* The next answer. Returns its status, or 0 when there is none, or only a part of one. */
static inline int hear_reply(struct client *c, struct reply *r, bool to_head)
{
	char *end;
	size_t n;

	free(r->body);
	*r = (struct reply){ 0 };
	while (!c->len || !(end = strstr(c->data, "\r\n\r\n")))
		if (!hear(c))
			return 0;
	n = (size_t)(end - c->data) + 2;
	check_lt(n, sizeof(r->head));
	memcpy(r->head, c->data, n);
	drop(c, n + 2);
	check_eq(sscanf(r->head, "HTTP/1.1 %d ", &r->status), 1);
	r->chunked = header(r, "Transfer-Encoding") != NULL;
	check(!r->chunked || !header(r, "Content-Length"));
	return hear_body(c, r, to_head) ? r->status : 0;
}

static inline void expect(struct client *c, int status, const char *body)
{
	struct reply r = { 0 };

	check_eq(hear_reply(c, &r, false), status);
	if (body && strcmp(r.body, body)) {
		fprintf(stderr, "body is %s, not %s\n", r.body, body);
		abort();
	}
	free(r.body);
}

/* The server has closed, in order, and without a further byte. */
static inline void expect_end(struct client *c)
{
	while (hear(c))
		;
	if (c->len)
		fprintf(stderr, "left: %s\n", c->data);
	check_eq(c->len, 0);
	check_eq(c->end, 0);
}

/* One request on a connection of its own. */
static inline int ask(struct world *w, const char *request, struct reply *r)
{
	struct client c;
	int status;

	dial(w, &c);
	say(&c, request);
	status = hear_reply(&c, r, !strncmp(request, "HEAD ", 5));
	hang_up(&c);
	return status;
}

static inline int ask_status(struct world *w, const char *request)
{
	struct reply r = { 0 };
	int status = ask(w, request, &r);

	free(r.body);
	return status;
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"

#endif
