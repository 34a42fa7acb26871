/*
 * What handlers, steps and filters do with an exchange. Each test has a handler and a client of its own.
 */
#include "tests/http/world.h"

#include <torc/http/cookie.h>
#include <torc/http/filter.h>
#include <torc/http/form.h>
#include <torc/io/tls.h>

TestSuite(http_exchange, .timeout = 40);

#define NAMED(text) ((void *)(uintptr_t)(text))

#define SAY(x, text) torc_http_respond_text(x, 200, text)

/* --- the chain --- */

static char trace[256];

static int traced(struct torc_http_exchange *x, void *arg)
{
	int r;

	strcat(trace, arg);
	r = torc_http_next(x);
	strcat(trace, arg);
	return r;
}

/* The first time it fails. */
static int twice(struct torc_http_exchange *x, void *arg)
{
	int r = torc_http_next(x);

	(void)arg;
	check_eq(r, -EAGAIN);
	return torc_http_next(x);
}

static int second_time(struct torc_http_exchange *x, void *arg)
{
	int *calls = arg;

	return ++*calls % 2 ? -EAGAIN : SAY(x, "again");
}

static int inner_chain(struct torc_http_exchange *x, void *arg)
{
	const struct torc_http_step steps[] = { { traced, NAMED("c") }, { traced, arg } };

	return torc_http_run(x, steps, 2);
}

static int say_status(struct torc_http_exchange *x, void *arg)
{
	check_eq(torc_http_status(x), 0);
	check_eq(SAY(x, arg), 0);
	check_eq(torc_http_status(x), 200);
	check_eq(torc_http_sent_bytes(x), strlen(arg));
	return 0;
}

static int run_chains(struct torc_http_exchange *x, void *arg)
{
	struct world *w = arg;
	const struct torc_http_step nested[] = { { traced, NAMED("a") },
						 { inner_chain, NAMED("d") },
						 { traced, NAMED("b") },
						 { say_status, NAMED("end") } };
	const struct torc_http_step again[] = { { twice, NULL }, { second_time, &w->calls } };
	const struct torc_http_step open_end[] = { { traced, NAMED("o") } };

	if (torc_http_path_is(x, "/nested"))
		return torc_http_run(x, nested, 4);
	if (torc_http_path_is(x, "/again"))
		return torc_http_run(x, again, 2);
	if (torc_http_path_is(x, "/none"))
		return torc_http_run(x, NULL, 0);
	return torc_http_run(x, open_end, 1);
}

static void chains(struct world *w)
{
	struct reply r = { 0 };

	check_eq(ask(w, GET("/nested"), &r), 200);
	check(!strcmp(r.body, "end"));
	check(!strcmp(trace, "acdbbdca"));
	check_eq(ask(w, GET("/again"), &r), 200);
	check(!strcmp(r.body, "again"));
	check_eq(ask_status(w, GET("/none")), 404);
	check_eq(ask_status(w, GET("/open")), 404);
	free(r.body);
}

Test(http_exchange, runs_steps_around_what_follows)
{
	run_world_with(&(struct world){ 0 }, run_chains, chains);
}

/* --- memory, values, deferred calls --- */

struct noted {
	struct world *w;
	char what;
};

static void note(void *arg)
{
	struct noted *n = arg;

	strncat(trace, &n->what, 1);
	n->w->open--;
}

static void defer_note(struct torc_http_exchange *x, struct world *w, char what)
{
	struct noted *n = torc_http_alloc(x, sizeof(*n));

	check(n);
	*n = (struct noted){ w, what };
	check_eq(torc_http_defer(x, note, n), 0);
	w->open++;
}

static void check_memory(struct torc_http_exchange *x)
{
	static const size_t sizes[] = { 1, 100, 3000, 5000, 17, 60000, 1, 4000, 200000 };
	char *at[COUNT(sizes)];

	check(!torc_http_alloc(x, SIZE_MAX));
	check(!torc_http_alloc(x, (1 << 20) + 1));
	for (size_t i = 0; i < COUNT(sizes); i++) {
		at[i] = torc_http_alloc(x, sizes[i]);
		check(at[i]);
		check_eq((uintptr_t)at[i] % _Alignof(max_align_t), 0);
		memset(at[i], (int)i, sizes[i]);
	}
	for (size_t i = 0; i < COUNT(sizes); i++)
		check_eq(at[i][0] == (char)i && at[i][sizes[i] - 1] == (char)i, 1);
	/* Bounded. */
	for (size_t total = 0; torc_http_alloc(x, 1000); total += 1000)
		check_lt(total, 1 << 20);
}

static int use_memory(struct torc_http_exchange *x, void *arg)
{
	static const char keys[2];
	struct world *w = arg;

	*trace = '\0';
	check(!torc_http_local_get(x, &keys[0]));
	check_eq(torc_http_local_set(x, &keys[0], trace), 0);
	check_eq(torc_http_local_set(x, &keys[1], w), 0);
	check_eq(torc_http_local_set(x, &keys[0], w), 0);
	check(torc_http_local_get(x, &keys[0]) == w && torc_http_local_get(x, &keys[1]) == w);
	defer_note(x, w, '1');
	defer_note(x, w, '2');
	if (torc_http_path_is(x, "/much"))
		check_memory(x);
	if (torc_http_path_is(x, "/fail"))
		return -EIO;
	if (torc_http_path_is(x, "/cut")) {
		check_eq(torc_http_begin(x, 200, NULL, 5), 0);
		return -EIO;
	}
	return SAY(x, "done");
}

static void memory(struct world *w)
{
	check_eq(ask_status(w, GET("/")), 200);
	check(!strcmp(trace, "21"));
	check_eq(ask_status(w, GET("/fail")), 500);
	check(!strcmp(trace, "21"));
	check_eq(ask_status(w, GET("/cut")), 0);
	check(!strcmp(trace, "21"));
	check_eq(ask_status(w, "POST /much HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx"),
		 200);
	check_eq(ask_status(w, GET("/much")), 200);
	check_eq(w->open, 0);
}

Test(http_exchange, has_bounded_memory_values_and_deferred_calls)
{
	run_world_with(&(struct world){ 0 }, use_memory, memory);
}

static int use_none(struct torc_http_exchange *x, void *arg)
{
	(void)arg;
	while (torc_http_alloc(x, 16))
		;
	check_eq(torc_http_local_set(x, arg, arg), -ENOMEM);
	check_eq(torc_http_defer(x, note, NULL), -ENOMEM);
	return SAY(x, "none");
}

static void none(struct world *w)
{
	check_eq(ask_status(w, GET("/")), 200);
}

Test(http_exchange, says_so_when_its_memory_is_used_up)
{
	run_world_with(&(struct world){ .options.memory_bytes = 1 }, use_none, none);
}

/* --- fields --- */

static int tell_fields(struct torc_http_exchange *x, void *arg)
{
	struct torc_slice name, value, element;
	char text[512] = "";
	size_t at = 0;

	(void)arg;
	while (torc_http_next_value(x, "x-list", &at, &value))
		while (torc_http_next_element(&value, &element))
			snprintf(text + strlen(text), 100, "[%.*s]", (int)element.len,
				 element.data);
	check(!torc_http_next_value(x, "x-list", &at, &value));
	at = 0;
	while (torc_http_next_field(x, &at, &name, &value))
		snprintf(text + strlen(text), 100, " %.*s", (int)name.len, name.data);
	check(!torc_http_next_field(x, &at, &name, &value));
	check_eq(torc_http_minor(x), 1);
	check_ge(torc_stream_fd(torc_http_stream(x)), 0);
	return SAY(x, text);
}

static void fields(struct world *w)
{
	struct reply r = { 0 };

	check_eq(ask(w,
		     "GET / HTTP/1.1\r\nHost: h\r\nX-List: a, b ,,\t\"c,\\\"d\" ;e\r\nOther: o\r\n"
		     "x-LIST: \r\nX-List: ,f,\r\nX-List: \"open, g\r\n\r\n",
		     &r),
		 200);
	check(!strcmp(
		r.body,
		"[a][b][\"c,\\\"d\" ;e][f][\"open, g] Host X-List Other x-LIST X-List X-List"));
	free(r.body);
}

Test(http_exchange, shows_fields_with_several_values)
{
	run_world_with(&(struct world){ 0 }, tell_fields, fields);
}

/* --- bodies and trailers --- */

static int tell_body(struct torc_http_exchange *x, void *arg)
{
	struct torc_slice body, again, value, name;
	char text[512] = "";
	size_t at = 0;
	int r;

	(void)arg;
	check(!torc_http_trailer(x, "x-sum", &value));
	check_eq(torc_http_body_read(x, TORC_HTTP_BODY_READ_MAX + 1, &body), -EINVAL);
	r = torc_http_body_read(x, 100000, &body);
	if (r < 0)
		return r;
	check_eq(body.data[body.len], '\0');
	check_eq(torc_http_body_read(x, 100000, &again), 0);
	check(again.data == body.data && again.len == body.len);
	snprintf(text, sizeof(text), "%zu %.20s", body.len, body.data);
	while (torc_http_next_trailer(x, &at, &name, &value))
		snprintf(text + strlen(text), 100, " %.*s=%.*s", (int)name.len, name.data,
			 (int)value.len, value.data);
	if (torc_http_trailer(x, "x-sum", &value))
		snprintf(text + strlen(text), 100, " sum %.*s", (int)value.len, value.data);
	return SAY(x, text);
}

#define CHUNKED "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"

static void say_bytewise(struct client *c, const char *text)
{
	for (; *text; text++) {
		check_eq(torc_send(c->fd, text, 1, 0), 1);
		check_eq(torc_yield(), 0);
	}
}

static void bodies(struct world *w)
{
	static const struct {
		const char *request, *body;
	} cases[] = {
		{ GET("/"), "0 " },
		{ "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabcde", "5 abcde" },
		{ CHUNKED "0\r\n\r\n", "0 " },
		{ CHUNKED "3\r\nabc\r\n2;x=\"y\"\r\nde\r\n0\r\n\r\n", "5 abcde" },
		{ CHUNKED "3\r\nabc\r\n0;e\r\nX-Sum: 1\r\n\r\n", "3 abc X-Sum=1 sum 1" },
		{ CHUNKED "0\r\nA:\r\nB: \t x y \t\r\nx-sum:7\r\nX-SUM: 8\r\n\r\n",
		  "0  A= B=x y x-sum=7 X-SUM=8 sum 7" },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct client c;

		dial(w, &c);
		say(&c, cases[i].request);
		expect(&c, 200, cases[i].body);
		say_bytewise(&c, cases[i].request);
		expect(&c, 200, cases[i].body);
		hang_up(&c);
	}
	check_eq(ask_status(w, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100001\r\n\r\n"),
		 413);
}

static void large(struct world *w)
{
	char *text = malloc(100100);
	struct client c;

	for (size_t len = 99999; len <= 100001; len++) {
		int n = sprintf(text, CHUNKED "%zx\r\n", len);

		memset(text + n, 'z', len);
		strcpy(text + n + len, "\r\n0\r\n\r\n");
		dial(w, &c);
		say(&c, text);
		if (len <= 100000) {
			char body[64];

			snprintf(body, sizeof(body), "%zu zzzzzzzzzzzzzzzzzzzz", len);
			expect(&c, 200, body);
		} else {
			expect(&c, 413, NULL);
		}
		hang_up(&c);
	}
	free(text);
}

static void half_body(struct world *w)
{
	struct reply r = { 0 };
	struct client c;

	dial(w, &c);
	say(&c, CHUNKED "3\r\nabc\r\n0\r\nX-Sum: ");
	check_eq(torc_shutdown(c.fd, SHUT_WR), 0);
	check_eq(hear_reply(&c, &r, false), 0);
	hang_up(&c);
	free(r.body);
}

static void all_bodies(struct world *w)
{
	bodies(w);
	large(w);
	half_body(w);
}

Test(http_exchange, reads_whole_bodies_and_trailers)
{
	run_world_with(&(struct world){ 0 }, tell_body, all_bodies);
	run_world_with(&(struct world){ .runtime.recv_buffers = 8 }, tell_body, all_bodies);
}

static int limit_late(struct torc_http_exchange *x, void *arg)
{
	struct torc_slice part;
	int r = torc_http_limit_body(x, 4);

	(void)arg;
	if (r < 0)
		return r;
	check_eq(torc_http_limit_body(x, 400), 0);
	while ((r = torc_http_body_peek(x, &part)) > 0)
		torc_http_body_consume(x, part.len);
	return r ? r : SAY(x, "ok");
}

static void limited(struct world *w)
{
	check_eq(ask_status(w, CHUNKED "4\r\nabcd\r\n0\r\n\r\n"), 200);
	check_eq(ask_status(w, CHUNKED "2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"), 413);
	check_eq(ask_status(w, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabcde"),
		 413);
	check_eq(ask_status(w, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nabcd"), 200);
}

Test(http_exchange, lowers_the_limit_of_a_body)
{
	run_world_with(&(struct world){ 0 }, limit_late, limited);
}

/* --- responses --- */

static int respond_in_ways(struct torc_http_exchange *x, void *arg)
{
	static const struct torc_http_pair hints[] = { { "Link", "</a.css>; rel=preload" },
						       { "X-Hint", "" } };
	static const struct torc_http_pair bad[] = { { "Link", "a\r\nb" } };
	static const struct torc_http_pair ours[] = { { "Content-Length", "3" } };

	(void)arg;
	if (torc_http_path_is(x, "/json"))
		return torc_http_respond_json(x, 201, "{}", 2);
	if (torc_http_path_is(x, "/redirect")) {
		check_eq(torc_http_redirect(x, 300, "/a"), -EINVAL);
		check_eq(torc_http_redirect(x, 302, ""), -EINVAL);
		check_eq(torc_http_redirect(x, 302, "/a b"), -EINVAL);
		check_eq(torc_http_redirect(x, 302, "/a\r\nb"), -EINVAL);
		check_eq(torc_http_redirect(x, 302, "/\xc3\xa4"), -EINVAL);
		check_eq(torc_http_redirect(x, 303, "/there?x=y"), 0);
		check_eq(torc_http_redirect(x, 303, "/there"), -EALREADY);
		return 0;
	}
	check_eq(torc_http_inform(x, 100, NULL, 0), -EINVAL);
	check_eq(torc_http_inform(x, 101, NULL, 0), -EINVAL);
	check_eq(torc_http_inform(x, 200, NULL, 0), -EINVAL);
	check_eq(torc_http_inform(x, 103, bad, 1), -EINVAL);
	check_eq(torc_http_inform(x, 103, ours, 1), -EINVAL);
	check_eq(torc_http_inform(x, 103, hints, 2), 0);
	check_eq(torc_http_inform(x, 102, NULL, 0), 0);
	check_eq(torc_http_add_field(x, "X-Final", "f"), 0);
	check_eq(SAY(x, "final"), 0);
	check_eq(torc_http_inform(x, 103, hints, 2), -EALREADY);
	return 0;
}

static void responses(struct world *w)
{
	struct reply r = { 0 };
	struct client c;

	check_eq(ask(w, GET("/json"), &r), 201);
	check(!strcmp(r.body, "{}") && !strcmp(header(&r, "Content-Type"), "application/json"));
	check_eq(ask(w, GET("/redirect"), &r), 303);
	check(!strcmp(header(&r, "Location"), "/there?x=y"));
	check_eq(ask(w, "GET / HTTP/1.0\r\n\r\n", &r), 200); /* none of them */
	dial(w, &c);
	say(&c, GET("/"));
	check_eq(hear_reply(&c, &r, false), 103);
	check(!strcmp(header(&r, "Link"), "</a.css>; rel=preload") && !header(&r, "Date"));
	check_eq(hear_reply(&c, &r, false), 102);
	check_eq(hear_reply(&c, &r, false), 200);
	check(header(&r, "X-Final") && !header(&r, "Link") && !strcmp(r.body, "final"));
	hang_up(&c);
	free(r.body);
}

Test(http_exchange, informs_redirects_and_speaks_json)
{
	run_world_with(&(struct world){ 0 }, respond_in_ways, responses);
}

static int send_trailers(struct torc_http_exchange *x, void *arg)
{
	bool whole = torc_http_path_is(x, "/whole");

	(void)arg;
	check_eq(torc_http_end(x), -EINVAL);
	check_eq(torc_http_add_field(x, "X-Other", "X-Sum"), 0);
	check_eq(torc_http_add_trailer(x, "X-Sum", "1"), -EINVAL);
	check_eq(torc_http_add_field(x, "Trailer", "X-Sum, x-more , Set-Cookie"), 0);
	check_eq(torc_http_add_trailer(x, "X-Sum", "1"), -ENOTSUP);
	check_eq(torc_http_begin(x, 200, NULL, whole ? 4 : TORC_NEVER), 0);
	check_eq(torc_http_write(x, "body", 4), 0);
	check_eq(torc_http_add_trailer(x, "X-None", "1"), -EINVAL);
	check_eq(torc_http_add_trailer(x, "Set-Cookie", "1"), -EINVAL);
	check_eq(torc_http_add_trailer(x, "X-Sum", "1\n"), -EINVAL);
	check_eq(torc_http_add_trailer(x, "X-Sum", "12"),
		 whole || !torc_http_minor(x) ? -ENOTSUP : 0);
	(void)!torc_http_add_trailer(x, "X-More", "");
	check_eq(torc_http_end(x), 0);
	check_eq(torc_http_end(x), 0);
	check_eq(torc_http_write(x, "x", 1), -EINVAL);
	check_eq(torc_http_add_trailer(x, "X-Sum", "1"), -EALREADY);
	check_eq(torc_http_sent_bytes(x), 4);
	return 0;
}

static void trailers(struct world *w)
{
	static const char tail[] = "4\r\nbody\r\n0\r\nX-Sum: 12\r\nX-More: \r\n\r\n";
	struct client c;

	check_eq(ask_status(w, GET("/whole")), 200);
	check_eq(ask_status(w, "GET / HTTP/1.0\r\n\r\n"), 200);
	dial(w, &c);
	say(&c, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
	while (hear(&c))
		;
	check(strstr(c.data, "\r\nTrailer: X-Sum, x-more , Set-Cookie\r\n"));
	check(!strcmp(strstr(c.data, "\r\n\r\n") + 4, tail));
	hang_up(&c);
}

Test(http_exchange, sends_trailers_that_were_announced)
{
	run_world_with(&(struct world){ 0 }, send_trailers, trailers);
}

/* --- filters --- */

struct doubler {
	struct torc_http_filter filter;
	char mark; /* put in front and behind */
	int begun, written, ended;
};

static int double_begin(struct torc_http_filter *f, struct torc_http_exchange *x,
			struct torc_http_response_head *r)
{
	struct doubler *d = (struct doubler *)f;

	d->begun++;
	if (r->status == 404)
		return 1;
	if (r->status == 500)
		return -EIO;
	if (r->type && !strcmp(r->type, "replace")) {
		r->body = "replaced";
		r->length = 8;
		r->type = "text/plain";
		return 1;
	}
	r->length = r->length == TORC_NEVER || d->mark == 'u' ? TORC_NEVER : 2 * r->length + 2;
	return torc_http_add_field(x, "X-Mark", (char[]){ d->mark, '\0' });
}

static int double_write(struct torc_http_filter *f, struct torc_http_exchange *x, const void *data,
			size_t len)
{
	struct doubler *d = (struct doubler *)f;
	int r = d->written++ ? 0 : torc_http_filter_write(f, x, &d->mark, 1);

	check_ge(len, 1);
	for (size_t i = 0; i < len && !r; i++) {
		r = torc_http_filter_write(f, x, (const char *)data + i, 1);
		if (!r)
			r = torc_http_filter_write(f, x, (const char *)data + i, 1);
	}
	return r;
}

static int double_end(struct torc_http_filter *f, struct torc_http_exchange *x)
{
	struct doubler *d = (struct doubler *)f;
	int r = torc_http_filter_write(f, x, &d->mark, 1);

	d->ended++;
	return r ? r : torc_http_filter_end(f, x);
}

static void add_doubler(struct torc_http_exchange *x, struct doubler *d, char mark)
{
	*d = (struct doubler){
		{ .begin = double_begin, .write = double_write, .end = double_end }, mark, 0, 0, 0
	};
	torc_http_add_filter(x, &d->filter);
}

static int filter_it(struct torc_http_exchange *x, void *arg)
{
	struct doubler *d = torc_http_alloc(x, 2 * sizeof(*d));
	struct world *w = arg;
	int r;

	add_doubler(x, &d[0], torc_http_path_is(x, "/unknown") ? 'u' : '1');
	if (torc_http_path_is(x, "/two"))
		add_doubler(x, &d[1], '2');
	if (torc_http_path_is(x, "/parts") || torc_http_path_is(x, "/short")) {
		r = torc_http_begin(x, 200, NULL, 4);
		check_eq(r, 0);
		check_eq(torc_http_write(x, "ab", 2), 0);
		check_eq(torc_http_write(x, "", 0), 0);
		check_eq(torc_http_write(x, "cde", 3), -EMSGSIZE);
		if (torc_http_path_is(x, "/short"))
			return 0;
		check_eq(torc_http_write(x, "cd", 2), 0);
		return 0;
	}
	if (torc_http_path_is(x, "/not-found"))
		return torc_http_respond(x, 404, NULL, "none", 4);
	if (torc_http_path_is(x, "/replace"))
		return torc_http_respond(x, 200, "replace", "none", 4);
	if (torc_http_path_is(x, "/fail")) {
		r = torc_http_respond(x, 500, NULL, "none", 4);
		check_eq(r, -EIO);
		return r;
	}
	r = torc_http_respond(x, torc_http_path_is(x, "/204") ? 204 : 200, "text/plain", "ab", 2);
	check_eq(r, 0);
	add_doubler(x, &d[1], '3'); /* too late */
	w->result = (int)torc_http_sent_bytes(x);
	w->calls = d[0].written * 10 + d[0].ended;
	return r;
}

static void filters(struct world *w)
{
	struct reply r = { 0 };
	struct client c;

	check_eq(ask(w, GET("/"), &r), 200);
	check(!strcmp(r.body, "1aabb1") && !r.chunked && !strcmp(header(&r, "X-Mark"), "1"));
	check_eq(w->result, 6);
	check_eq(w->calls, 11);
	check_eq(ask(w, GET("/unknown"), &r), 200);
	check(!strcmp(r.body, "uaabbu") && r.chunked);
	check_eq(ask(w, "GET /unknown HTTP/1.0\r\n\r\n", &r), 200);
	check(!strcmp(r.body, "uaabbu") && !r.chunked);
	check_eq(ask(w, GET("/two"), &r), 200);
	check(!strcmp(r.body, "122aaaabbbb221"));
	check_eq(ask(w, "HEAD /two HTTP/1.1\r\nHost: h\r\n\r\n", &r), 200);
	check(!strcmp(header(&r, "Content-Length"), "14"));
	check_eq(w->calls, 0);
	check_eq(ask(w, GET("/204"), &r), 204);
	check_eq(w->calls, 0);
	check_eq(ask(w, GET("/parts"), &r), 200);
	check(!strcmp(r.body, "1aabbccdd1"));
	check_eq(ask(w, GET("/not-found"), &r), 404);
	check(!strcmp(r.body, "none"));
	check_eq(ask(w, GET("/replace"), &r), 200);
	check(!strcmp(r.body, "replaced") && !strcmp(header(&r, "Content-Type"), "text/plain"));
	check_eq(ask(w, GET("/fail"), &r), 500);
	check(!strcmp(r.body, "Internal Server Error"));
	dial(w, &c);
	say(&c, GET("/short"));
	check_eq(hear_reply(&c, &r, false), 0); /* cut short */
	hang_up(&c);
	free(r.body);
}

Test(http_exchange, passes_responses_through_filters)
{
	run_world_with(&(struct world){ 0 }, filter_it, filters);
}

/* --- time --- */

static int take_time(struct torc_http_exchange *x, void *arg)
{
	struct world *w = arg;
	int r;

	if (torc_http_path_is(x, "/begun"))
		check_eq(torc_http_begin(x, 200, NULL, 10), 0);
	r = torc_sleep(TORC_SECONDS(100));
	w->result = r;
	return torc_http_path_is(x, "/stubborn") ? 0 : r;
}

static void too_late(struct world *w)
{
	struct client c;

	check_eq(ask_status(w, GET("/")), 503);
	check_eq(w->result, -ETIMEDOUT);
	check_eq(ask_status(w, GET("/stubborn")), 503);
	check_eq(ask_status(w, GET("/begun")), 0);
	dial(w, &c);
	say(&c, GET("/") GET("/"));
	expect(&c, 503, "Service Unavailable");
	expect(&c, 503, "Service Unavailable"); /* the connection goes on */
	hang_up(&c);
}

Test(http_exchange, ends_a_handler_that_takes_too_long)
{
	run_world_with(&(struct world){ .options.handler_ns = TORC_MS(20) }, take_time, too_late);
}

/* --- clients that leave --- */

/* Nothing ever comes. */
static int wait_in_op(void)
{
	int fd[2], r;

	unix_pair(fd);
	r = torc_recv(fd[0], (char[1]){ 0 }, 1, 0);
	close(fd[0]);
	close(fd[1]);
	return r;
}

static int wait_long(struct torc_http_exchange *x, void *arg)
{
	struct world *w = arg;
	int r = 0;

	w->calls++;
	if (torc_http_path_is(x, "/begun")) {
		check_eq(torc_http_begin(x, 200, NULL, TORC_NEVER), 0);
		check_eq(torc_http_write(x, "some", 4), 0);
	}
	if (torc_http_path_is(x, "/quick"))
		return SAY(x, "quick");
	w->open++;
	/* In an operation of the ring, which a cancellation has to stop. */
	while (!w->gate && !r)
		r = torc_http_path_is(x, "/op") ? wait_in_op() : torc_sleep(TORC_MS(1));
	if (r)
		check(!strcmp(torc_scope_reason(), "the peer has left"));
	w->open--;
	w->result = r;
	return r ? r : SAY(x, "through");
}

static void until_open(struct world *w, int open)
{
	while (w->open != open)
		check_eq(torc_yield(), 0);
}

static void leave_at(struct world *w, const char *request, bool reset)
{
	struct client c;

	w->result = 1;
	w->gate = false;
	dial(w, &c);
	say(&c, request);
	until_open(w, 1);
	if (reset) {
		const struct linger now = { .l_onoff = 1 };

		check_eq(setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
	}
	hang_up(&c);
	until_open(w, 0);
	check_eq(w->result, -ECANCELED);
}

static void leave(struct world *w)
{
	struct client c;

	leave_at(w, GET("/"), false);
	leave_at(w, GET("/"), true);
	leave_at(w, GET("/op"), false);
	leave_at(w, GET("/op"), true);
	leave_at(w, GET("/begun"), false);
	leave_at(w, GET("/quick") GET("/"), false);
	/* The body is there, and read by nobody. */
	leave_at(w, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", false);
	/* Requests that come meanwhile are no end, but the end behind them is. */
	w->calls = 0;
	leave_at(w, GET("/") GET("/quick"), false);
	check_eq(w->calls, 1);

	w->gate = false;
	dial(w, &c);
	say(&c, GET("/"));
	until_open(w, 1);
	say(&c, GET("/quick"));
	say(&c, GET("/quick"));
	for (int i = 0; i < 10; i++)
		check_eq(torc_sleep(TORC_MS(1)), 0);
	check_eq(w->open, 1);
	w->gate = true;
	expect(&c, 200, "through");
	expect(&c, 200, "quick");
	expect(&c, 200, "quick");
	hang_up(&c);
}

Test(http_exchange, cancels_the_handler_of_a_client_that_leaves)
{
	run_world_with(&(struct world){ 0 }, wait_long, leave);
	setenv("TORC_DISABLE", "recv_multishot", 1);
	run_world_with(&(struct world){ 0 }, wait_long, leave);
	unsetenv("TORC_DISABLE");
}

static void half_close(struct world *w)
{
	struct client c;

	w->gate = false;
	dial(w, &c);
	say(&c, GET("/"));
	until_open(w, 1);
	check_eq(torc_shutdown(c.fd, SHUT_WR), 0);
	for (int i = 0; i < 10; i++)
		check_eq(torc_sleep(TORC_MS(1)), 0);
	w->gate = true;
	expect(&c, 200, "through");
	expect_end(&c);
	hang_up(&c);
	leave_at(w, GET("/"), true);
}

Test(http_exchange, lets_half_closed_clients_be_if_told)
{
	run_world_with(&(struct world){ .options.let_half_close = true }, wait_long, half_close);
}

/* The end was there before the handler, in the same buffers: it is answered. */
static void end_first(struct world *w)
{
	struct client c;

	w->gate = true;
	dial(w, &c);
	say(&c, GET("/quick"));
	check_eq(torc_shutdown(c.fd, SHUT_WR), 0);
	expect(&c, 200, "quick");
	expect_end(&c);
	hang_up(&c);
}

Test(http_exchange, answers_a_client_that_half_closed_before)
{
	run_world_with(&(struct world){ 0 }, wait_long, end_first);
}

/* A step that goes on after its client has left: whatever it does fails at once, and the connection ends. */
static int stubborn(struct torc_http_exchange *x, void *arg)
{
	struct world *w = arg;

	w->open++;
	while (torc_sleep(TORC_MS(1)) == 0)
		;
	w->result = SAY(x, "too late");
	w->open--;
	return 0;
}

static void leave_stubborn(struct world *w)
{
	leave_at(w, GET("/") GET("/"), false);
	check_eq(w->open, 0);
}

Test(http_exchange, answers_nobody_who_has_left)
{
	run_world_with(&(struct world){ 0 }, stubborn, leave_stubborn);
}

/* --- queries, forms, cookies --- */

static int tell_query(struct torc_http_exchange *x, void *arg)
{
	struct torc_slice rest = torc_http_query(x), name, value;
	char text[512] = "";
	int r = torc_http_query_value(x, "a b", &value);

	(void)arg;
	if (r < 0)
		return torc_http_respond_text(x, 400, "bad");
	snprintf(text, sizeof(text), "%d", r);
	if (r)
		snprintf(text + 1, sizeof(text) - 1, " %.*s", (int)value.len, value.data);
	while (torc_http_next_pair(&rest, &name, &value))
		snprintf(text + strlen(text), 100, "|%.*s:%.*s", (int)name.len, name.data,
			 (int)value.len, value.data);
	return SAY(x, text);
}

static void queries(struct world *w)
{
	static const struct {
		const char *request, *body;
	} cases[] = {
		{ GET("/"), "0" },
		{ GET("/?"), "0" },
		{ GET("/?x"), "0|x:" },
		{ GET("/?x=1&a+b=2"), "1 2|x:1|a+b:2" },
		{ GET("/?&&a%20b=%41%2b+&=v&a+b=3&"), "1 A+ |a%20b:%41%2b+|:v|a+b:3" },
		{ GET("/?a+b=c=d"), "1 c=d|a+b:c=d" },
		{ GET("/?a+b=%4"), NULL },
		{ GET("/?%zz=1&a+b=1"), NULL },
	};
	struct reply r = { 0 };

	for (size_t i = 0; i < COUNT(cases); i++) {
		check_eq(ask(w, cases[i].request, &r), cases[i].body ? 200 : 400);
		check(!cases[i].body || !strcmp(r.body, cases[i].body));
	}
	free(r.body);
}

Test(http_exchange, decodes_queries)
{
	run_world_with(&(struct world){ 0 }, tell_query, queries);
}

static int tell_form(struct torc_http_exchange *x, void *arg)
{
	struct torc_http_form form;
	struct torc_slice value;
	char text[512];
	int r = torc_http_form_read(x, 4000, &form);

	(void)arg;
	if (r < 0)
		return r;
	snprintf(text, sizeof(text), "%zu", form.count);
	if (torc_http_form_value(&form, "na me", &value))
		snprintf(text + strlen(text), 100, " %.*s", (int)value.len, value.data);
	check(!torc_http_form_value(&form, "none", &value));
	return SAY(x, text);
}

static int post_form(struct world *w, const char *type, const char *body, struct reply *r)
{
	char *request = malloc(strlen(body) + 300);
	int status;

	sprintf(request, "POST / HTTP/1.1\r\nHost: h\r\n%s%s%sContent-Length: %zu\r\n\r\n%s",
		type ? "Content-Type: " : "", type ? type : "", type ? "\r\n" : "", strlen(body),
		body);
	status = ask(w, request, r);
	free(request);
	return status;
}

#define FORM "application/x-www-form-urlencoded"

static void forms(struct world *w)
{
	struct reply r = { 0 };
	char many[2 * 1001 + 1];

	check_eq(post_form(w, FORM, "a=1&na+me=x%26y+z&b", &r), 200);
	check(!strcmp(r.body, "3 x&y z"));
	check_eq(post_form(w, "Application/X-WWW-form-urlencoded; charset=utf-8", "", &r), 200);
	check(!strcmp(r.body, "0"));
	check_eq(post_form(w, "text/plain", "a=1", &r), 415);
	check_eq(post_form(w, FORM "x", "a=1", &r), 415);
	check_eq(post_form(w, NULL, "a=1", &r), 415);
	check_eq(post_form(w, FORM, "a=%1", &r), 400);
	check_eq(post_form(w, FORM, "%=1", &r), 400);
	for (int i = 0; i < 1001; i++)
		memcpy(many + 2 * i, "a&", 3);
	check_eq(post_form(w, FORM, many, &r), 413);
	many[2 * 1000] = '\0';
	check_eq(post_form(w, FORM, many, &r), 200);
	check(!strcmp(r.body, "1000"));
	free(r.body);
}

Test(http_exchange, reads_urlencoded_forms)
{
	run_world_with(&(struct world){ 0 }, tell_form, forms);
}

static int tell_cookies(struct torc_http_exchange *x, void *arg)
{
	struct torc_slice name, value;
	char text[512] = "";
	uint64_t at = 0;

	(void)arg;
	if (torc_http_cookie(x, "b", &value))
		snprintf(text, sizeof(text), "b is %.*s", (int)value.len, value.data);
	while (torc_http_next_cookie(x, &at, &name, &value))
		snprintf(text + strlen(text), 100, "|%.*s:%.*s", (int)name.len, name.data,
			 (int)value.len, value.data);
	check(!torc_http_next_cookie(x, &at, &name, &value));
	return SAY(x, text);
}

static void cookies(struct world *w)
{
	static const struct {
		const char *fields, *body;
	} cases[] = {
		{ "", "" },
		{ "Cookie: a=1; b=2\r\n", "b is 2|a:1|b:2" },
		{ "Cookie: a=1;b=\"q r\";;= ;x;B=3; c==\r\nX: y\r\ncookie: b=4 ;  d=\r\n",
		  "b is q r|a:1|b:q r|B:3|c:=|b:4|d:" },
		{ "Cookie: \r\nCookie: ;\r\nCookie: b=\"\r\n", "b is \"|b:\"" },
	};
	struct reply r = { 0 };

	for (size_t i = 0; i < COUNT(cases); i++) {
		char request[512];

		snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n",
			 cases[i].fields);
		check_eq(ask(w, request, &r), 200);
		if (strcmp(r.body, cases[i].body))
			fprintf(stderr, "%s\n", r.body);
		check(!strcmp(r.body, cases[i].body));
	}
	free(r.body);
}

Test(http_exchange, finds_cookies)
{
	run_world_with(&(struct world){ 0 }, tell_cookies, cookies);
}

static int set_cookies(struct torc_http_exchange *x, void *arg)
{
	static char long_value[TORC_HTTP_COOKIE_BYTES];
	static const struct torc_http_cookie bad[] = {
		{ .value = "v" },
		{ .name = "", .value = "v" },
		{ .name = "a b", .value = "v" },
		{ .name = "a=", .value = "v" },
		{ .name = "a" },
		{ .name = "a", .value = "v;x" },
		{ .name = "a", .value = "v v" },
		{ .name = "a", .value = "\"" },
		{ .name = "a", .value = "\xc3\xa4" },
		{ .name = "a", .value = "v\r\n" },
		{ .name = "a", .value = "v", .path = "p" },
		{ .name = "a", .value = "v", .path = "/;x" },
		{ .name = "a", .value = "v", .path = "/\n" },
		{ .name = "a", .value = "v", .domain = "" },
		{ .name = "a", .value = "v", .domain = "a;b" },
		{ .name = "a", .value = "v", .domain = "a:1" },
		{ .name = "a", .value = "v", .max_age_s = (uint64_t)1 << 31 },
		{ .name = "a", .value = "v", .same_site = TORC_SAME_SITE_NONE },
		{ .name = "a", .value = "v", .same_site = (enum torc_same_site)4 },
		{ .name = "a", .value = "v", .partitioned = true },
		{ .name = "__Secure-a", .value = "v" },
		{ .name = "__secure-a", .value = "v" },
		{ .name = "__Host-a", .value = "v", .path = "/" },
		{ .name = "__Host-a", .value = "v", .secure = true },
		{ .name = "__Host-a", .value = "v", .secure = true, .path = "/a" },
		{ .name = "__Host-a", .value = "v", .secure = true, .path = "/", .domain = "d" },
		{ .name = "a", .value = long_value },
	};

	(void)arg;
	memset(long_value, 'v', sizeof(long_value) - 1);
	for (size_t i = 0; i < COUNT(bad); i++)
		check_eq(torc_http_set_cookie(x, &bad[i]), -EINVAL);
	check_eq(torc_http_set_cookie(x, &(struct torc_http_cookie){ .name = "a", .value = "" }),
		 0);
	check_eq(torc_http_set_cookie(x, &(struct torc_http_cookie){ .name = "__Host-b",
								     .value = "v",
								     .path = "/",
								     .max_age_s = 60,
								     .secure = true,
								     .http_only = true,
								     .partitioned = true,
								     .same_site =
									     TORC_SAME_SITE_NONE }),
		 0);
	check_eq(torc_http_set_cookie(x, &(struct torc_http_cookie){ .name = "c",
								     .remove = true,
								     .domain = "example.org",
								     .same_site =
									     TORC_SAME_SITE_LAX }),
		 0);
	check_eq(SAY(x, "set"), 0);
	check_eq(torc_http_set_cookie(x, &(struct torc_http_cookie){ .name = "a", .value = "" }),
		 -EALREADY);
	return 0;
}

static void new_cookies(struct world *w)
{
	struct reply r = { 0 };

	check_eq(ask(w, GET("/"), &r), 200);
	check(strstr(r.head, "\r\nSet-Cookie: a=\r\n"));
	check(strstr(r.head, "\r\nSet-Cookie: __Host-b=v; Path=/; Max-Age=60; Secure; HttpOnly; "
			     "SameSite=None; Partitioned\r\n"));
	check(strstr(r.head, "\r\nSet-Cookie: c=; Domain=example.org; Max-Age=0; "
			     "Expires=Thu, 01 Jan 1970 00:00:00 GMT; SameSite=Lax\r\n"));
	free(r.body);
}

Test(http_exchange, sets_cookies)
{
	run_world_with(&(struct world){ 0 }, set_cookies, new_cookies);
}
