/*
 * tests/sim/app.h - an application behind the HTTP server: routes, middleware, a filter, limits; and clients that pipeline, stop
 * in the middle of a request, half-close, abort, or leave while a handler works for them.
 *
 * Checked: each complete request is answered once, in order, with what it asked for, or refused for a limit that there is;
 * handlers of clients that have left are cancelled soon; each that began ends, and what it deferred runs; never more run at
 * once than may.
 */
#ifndef TESTS_SIM_APP_H
#define TESTS_SIM_APP_H

#include <torc/http/filter.h>
#include <torc/http/router.h>

#include "tests/sim/web.h"

#define LEAVERS 32

struct app {
	struct serving serving; /* first */
	struct torc_http_options options;
	struct torc_router *router;
	atomic_int began, ended, deferred;
	atomic_int running[8];             /* handlers, by loop */
	atomic_uint next;                  /* number of a client that will leave */
	_Atomic uint64_t left_ns[LEAVERS]; /* when it did; 0: not yet */
	atomic_bool begun[LEAVERS];        /* its handler */
};

#define APP(s) ((struct app *)(void *)(s))

/* --- middleware --- */

struct passing {
	struct torc_http_filter filter; /* first */
	uint64_t written;
};

static inline int passing_begin(struct torc_http_filter *f, struct torc_http_exchange *x,
				struct torc_http_response_head *r)
{
	(void)f, (void)x;
	if (one_in(4))
		return 1; /* not for this one */
	if (one_in(2))
		r->length = TORC_NEVER;
	return 0;
}

static inline int passing_write(struct torc_http_filter *f, struct torc_http_exchange *x,
				const void *data, size_t len)
{
	size_t first = dice((unsigned)len);
	int r = torc_http_filter_write(f, x, data, first);

	if (!r && one_in(8))
		r = do_something();
	if (!r)
		r = torc_http_filter_write(f, x, (const char *)data + first, len - first);
	((struct passing *)(void *)f)->written += len;
	return r;
}

static inline int passing_end(struct torc_http_filter *f, struct torc_http_exchange *x)
{
	return torc_http_filter_end(f, x);
}

static inline void count_deferred(void *arg)
{
	struct app *a = arg;

	a->deferred--;
}

static inline int app_step(struct torc_http_exchange *x, void *arg)
{
	struct app *a = arg;
	int loop = torc_loop_index(), r = 0;

	a->began++;
	if (a->options.handlers_max)
		check_le((unsigned)++a->running[loop], a->options.handlers_max);
	if (torc_http_defer(x, count_deferred, a) == 0)
		a->deferred++;
	if (one_in(2)) {
		struct passing *p = torc_http_alloc(x, sizeof(*p));

		if (p) {
			*p = (struct passing){ .filter = { .begin = passing_begin,
							   .write = passing_write,
							   .end = passing_end } };
			torc_http_add_filter(x, &p->filter);
		}
	}
	if (one_in(4))
		r = do_something();
	if (!r)
		r = torc_http_next(x);
	if (a->options.handlers_max)
		a->running[loop]--;
	a->ended++;
	return r;
}

/* --- handlers --- */

/* What a client asked for: it gets its own number back. */
static inline int answer_number(struct torc_http_exchange *x)
{
	struct torc_slice n;
	int r = 0;

	check(torc_http_param(x, "n", &n));
	if (one_in(3))
		r = do_something();
	if (r < 0)
		return r;
	if (one_in(2))
		return torc_http_respond(x, 200, "text/plain", n.data, n.len);
	r = torc_http_begin(x, 200, "text/plain", one_in(2) ? n.len : TORC_NEVER);
	if (!r && one_in(2))
		r = do_something();
	return r ? r : torc_http_write(x, n.data, n.len);
}

static inline int app_item(struct torc_http_exchange *x, void *arg)
{
	(void)arg;
	return answer_number(x);
}

static inline int app_body(struct torc_http_exchange *x, void *arg)
{
	struct torc_slice body;
	int r = torc_http_body_read(x, 3000, &body);

	(void)arg;
	if (r < 0)
		return r;
	check_bytes(body.data, body.len, 1, 0);
	return answer_number(x);
}

static inline int app_fail(struct torc_http_exchange *x, void *arg)
{
	(void)x, (void)arg;
	return -EIO;
}

/*
 * Only the client's leaving ends it, or the server's end; but without free buffers nothing is received, and so nobody hears of
 * the leaving.
 */
#define FOREVER_NS TORC_SECONDS(30)

static inline int app_forever(struct torc_http_exchange *x, void *arg)
{
	struct app *a = arg;
	struct torc_slice text;
	uint64_t began, left, now;
	unsigned n;
	int r;

	check(torc_http_param(x, "n", &text));
	n = (unsigned)strtoul(text.data, NULL, 10);
	check_lt(n, LEAVERS);
	a->begun[n] = true;
	began = torc_now_ns();
	r = torc_sleep(FOREVER_NS);
	if (!r) {
		check(!no_chaos(BREAKS | SLOWS | CHAOS(NOBUFS)));
		return -EIO;
	}
	check(is_stop(r));
	left = a->left_ns[n];
	left = left && left < began ? began : left;
	now = a->serving.stopping ? a->serving.stopped_ns : torc_now_ns();
	if (no_chaos(BREAKS | SLOWS | CHAOS(NOBUFS))) {
		check(left || a->serving.stopping);
		if (left)
			check_le(now, left + TORC_MS(100));
	}
	return r;
}

/* --- the server --- */

static inline int serve_app(struct serving *s)
{
	static const char *const addresses[] = { "tcp://127.0.0.1:0", NULL };
	struct torc_http_options *o = &APP(s)->options;

	o->addresses = addresses;
	o->handler = torc_router_handle;
	o->arg = APP(s)->router;
	o->idle_ns = s->idle_ns = TORC_SECONDS(15);
	o->grace_ns = s->grace_ns = one_in(2) ? some_time() : 0;
	o->let_half_close = one_in(2);
	o->requests_max = one_in(3) ? 1 + dice(4) : 0;
	if (one_in(2)) {
		o->handlers_max = 1 + dice(3);
		o->queue_max = 1 + dice(3);
		o->queue_ns = one_in(2) ? 1 + some_time() : 0;
	}
	return torc_http_serve(o);
}

/* In torc_http_serve on_listen gets its arg, the router: so the address is told by this. */
static struct app *the_app;

static inline void app_on_listen(const char *address, void *arg)
{
	(void)arg;
	on_listen(address, &the_app->serving);
}

/* --- clients --- */

/* One request, as it is sent. Returns its length, at most 4000. */
static inline size_t make_request(char *to, unsigned kind, unsigned n)
{
	size_t body = 0;
	int len;

	switch (kind) {
	case 0:
		body = dice(2900);
		len = sprintf(to,
			      "POST /body/%u HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", n,
			      body);
		break;
	case 1: len = sprintf(to, "GET /fail/%u HTTP/1.1\r\nHost: x\r\n\r\n", n); break;
	case 2: len = sprintf(to, "GET /none/%u HTTP/1.1\r\nHost: x\r\n\r\n", n); break;
	default: len = sprintf(to, "GET /item/%u HTTP/1.1\r\nHost: x\r\n\r\n", n); break;
	}
	fill_bytes(to + len, body, 1, 0);
	return (size_t)len + body;
}

static const int kind_status[] = { 200, 500, 404, 200 };

/* The head of an answer. 0, or why not. */
static inline int read_head(struct torc_stream *stream, int *ret_status, size_t *ret_length,
			    bool *ret_close)
{
	char line[600];
	int r = read_line(stream, line, sizeof(line));

	if (r < 0)
		return r;
	check(!strncmp(line, "HTTP/1.1 ", 9));
	*ret_status = atoi(line + 9);
	*ret_length = SIZE_MAX;
	*ret_close = false;
	while (!(r = read_line(stream, line, sizeof(line))) && line[0]) {
		if (!strncasecmp(line, "Content-Length: ", 16))
			*ret_length = strtoul(line + 16, NULL, 10);
		*ret_close |= !strcasecmp(line, "Connection: close");
	}
	return r;
}

/* A body of at most 99 bytes, as text. */
static inline int read_text(struct torc_stream *stream, size_t length, char text[100])
{
	char line[100];
	size_t got = 0, part = length;
	int r = 0;

	do {
		if (length == SIZE_MAX) {
			r = read_line(stream, line, sizeof(line));
			part = r ? 0 : strtoul(line, NULL, 16);
		}
		check_lt(got + part, 100);
		if (!r && part)
			r = torc_stream_read_exact(stream, text + got, part);
		got += part;
		if (!r && length == SIZE_MAX)
			r = read_line(stream, line, sizeof(line));
	} while (!r && part && length == SIZE_MAX);
	text[got] = '\0';
	return r;
}

static inline bool app_status_fits(const struct app *a, unsigned kind, int status)
{
	if (status == kind_status[kind])
		return true;
	if (status == 503 && (a->options.handlers_max || a->serving.most))
		return true;
	if (a->serving.stopping && (status == 500 || status == 503))
		return true; /* the grace period has passed */
	return (status == 500 || status == 503 || status == 408) && !no_chaos(BREAKS | SLOWS);
}

static inline int read_number(const struct app *a, struct torc_stream *stream, unsigned kind,
			      unsigned n, bool *ret_close)
{
	char text[100], number[16];
	size_t length;
	int status, r = read_head(stream, &status, &length, ret_close);

	if (!r)
		r = read_text(stream, length, text);
	if (r < 0)
		return r;
	check(app_status_fits(a, kind, status));
	snprintf(number, sizeof(number), "%u", n);
	if (status == 200)
		check_eq(strcmp(text, number), 0);
	return 0;
}

/* Requests in one go, and their answers. */
static inline int converse_app(struct serving *s, struct torc_stream *stream)
{
	unsigned kinds[5], count = 1 + dice(5), first = dice(1000);
	char train[5 * 4000];
	size_t len = 0;
	bool close = false;
	int r;

	for (unsigned i = 0; i < count; i++)
		len += make_request(train + len, kinds[i] = dice(4), first + i);
	r = send_pieces(stream, train, len);
	if (!r && APP(s)->options.let_half_close && one_in(4))
		r = torc_stream_shutdown(stream);
	for (unsigned i = 0; i < count && !r && !close; i++)
		r = read_number(APP(s), stream, kinds[i], first + i, &close);
	return !r && close ? expect_end(stream) : r;
}

/*
 * Who is turned away, or has sent more than it may, may see a reset: it has said more than was heard.
 */
static inline int converse_to_the_end(struct serving *s, struct torc_stream *stream)
{
	int r = converse_app(s, stream);

	if (s->most || APP(s)->options.requests_max || !no_chaos(SLOWS))
		return r;
	return served_or_stopped(s, r);
}

/* The beginning of a train, and nothing more; then one of the ways to leave. */
static inline int stop_anywhere(struct torc_stream *stream)
{
	char train[2 * 4000];
	size_t len = make_request(train, dice(4), 1);
	int r;

	len += make_request(train + len, dice(4), 2);
	r = send_pieces(stream, train, dice((unsigned)len));
	if (!r && one_in(2))
		r = do_sleep(some_time());
	if (!r && one_in(2))
		r = torc_stream_shutdown(stream);
	if (!r && one_in(2))
		r = do_sleep(some_time());
	if (one_in(2))
		(void)!torc_set_linger(torc_stream_fd(stream), 0);
	return r;
}

static inline int leave_handler(struct app *a, struct torc_stream *stream)
{
	unsigned n = a->next++;
	char text[100];
	int r;

	if (n >= LEAVERS)
		return 0;
	snprintf(text, sizeof(text), "GET /forever/%u HTTP/1.1\r\nHost: x\r\n\r\n", n);
	r = send_pieces(stream, text, strlen(text));
	if (!r)
		r = do_sleep(some_time());
	/* An end that is there when the handler begins does not count, a reset does. */
	if (a->options.let_half_close || !a->begun[n] || one_in(2))
		(void)!torc_set_linger(torc_stream_fd(stream), 0);
	a->left_ns[n] = torc_now_ns();
	return r;
}

static inline int app_behave(struct serving *s, struct torc_stream *stream, unsigned number)
{
	int r = 0;

	(void)number;
	switch (dice(5)) {
	case 0: return leave_handler(APP(s), stream);
	case 1: return stop_anywhere(stream);
	case 2: torc_within(some_time()) r = converse_app(s, stream); return r;
	default: return converse_to_the_end(s, stream);
	}
}

static inline int app_client(struct serving *s)
{
	return visit(s, app_behave, 0);
}

/* --- the scenario --- */

static inline int fill_router(struct app *a)
{
	int r = torc_router_use(a->router, app_step, a);

	if (!r)
		r = torc_router_add(a->router, "GET", "/item/:n", app_item, a);
	if (!r)
		r = torc_router_add(a->router, "POST", "/body/:n", app_body, a);
	if (!r)
		r = torc_router_add(a->router, "GET", "/fail/:n", app_fail, a);
	if (!r)
		r = torc_router_add(a->router, "GET", "/forever/:n", app_forever, a);
	return r;
}

static inline int app_scenario(void *arg)
{
	struct app a = { .serving = { .serve = serve_app, .client = app_client } };
	int most = one_in(4) ? 1 + (int)dice(3) : 0, r = 0;

	(void)arg;
	if (torc_router_create(NULL, &a.router) < 0)
		return 0;
	the_app = &a;
	a.options.on_listen = app_on_listen;
	a.options.connections_max = (size_t)most;
	a.options.answer_at_limit = one_in(2);
	a.serving.most = most * torc_loop_count();
	if (fill_router(&a) == 0)
		r = run_serving(&a.serving);
	check_eq(a.began, a.ended);
	check_eq(a.deferred, 0);
	torc_router_destroy(a.router);
	return r;
}

#endif
