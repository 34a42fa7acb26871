#include <netinet/tcp.h>

#include "tests/http/world.h"

TestSuite(http_server, .timeout = 40);

static torc_http_fn dispatch;

static void run_world(struct world *w, void (*client)(struct world *))
{
	run_world_with(w, w->options.handler ? w->options.handler : dispatch, client);
}

/* --- what the server answers --- */

static int respond_text(struct torc_http_exchange *x, const char *text)
{
	return torc_http_respond(x, 200, "text/plain", text, strlen(text));
}

/* The whole body, in memory. */
static int read_all(struct torc_http_exchange *x, char **ret_data, size_t *ret_len)
{
	struct torc_slice part;
	int r;

	*ret_data = NULL;
	*ret_len = 0;
	while ((r = torc_http_body_peek(x, &part)) > 0) {
		/* Odd amounts, so that parts are left over. */
		size_t n = part.len > 3 ? part.len - 1 : part.len;

		*ret_data = realloc(*ret_data, *ret_len + n);
		check(*ret_data);
		memcpy(*ret_data + *ret_len, part.data, n);
		*ret_len += n;
		torc_http_body_consume(x, n);
	}
	return r;
}

static int echo(struct torc_http_exchange *x)
{
	char *data;
	size_t len;
	int r = read_all(x, &data, &len);

	if (!r)
		r = torc_http_respond(x, 200, "application/octet-stream", data, len);
	free(data);
	return r;
}

/* What was asked for, after the body has been read over where it was received. */
static int describe(struct torc_http_exchange *x)
{
	struct torc_slice m, p, q, h, f = { "-", 1 };
	char *data, text[2048];
	size_t len;
	int r, n;

	m = torc_http_method(x);
	p = torc_http_path(x);
	q = torc_http_query(x);
	h = torc_http_host(x);
	(void)torc_http_field(x, "x-FIELD", &f);
	r = read_all(x, &data, &len);
	free(data);
	if (r < 0)
		return r;
	n = snprintf(text, sizeof(text), "%.*s %.*s?%.*s %.*s %.*s %zu", (int)m.len, m.data,
		     (int)p.len, p.data, (int)q.len, q.data, (int)h.len, h.data, (int)f.len, f.data,
		     len);
	return torc_http_respond(x, 200, "text/plain", text, (size_t)n);
}

static int in_parts(struct torc_http_exchange *x, uint64_t length)
{
	int r = torc_http_begin(x, 200, "text/plain", length);

	for (int i = 0; i < 5 && !r; i++)
		r = torc_http_write(x, "part.", 5);
	return r ? r : torc_http_write(x, "", 0);
}

static int big(struct torc_http_exchange *x)
{
	char *data = malloc(MIB);
	int r;

	check(data);
	fill_bytes(data, MIB, 3, 0);
	r = torc_http_respond(x, 200, NULL, data, MIB);
	free(data);
	return r;
}

static int wait_at_gate(struct torc_http_exchange *x, struct world *w)
{
	int r = 0;

	w->open++;
	while (!w->gate && !r)
		r = torc_sleep(TORC_MS(1));
	w->open--;
	return r ? r : respond_text(x, "through");
}

static int add_fields(struct torc_http_exchange *x)
{
	char large[TORC_HTTP_FIELDS_BYTES];

	memset(large, 'a', sizeof(large) - 1);
	large[sizeof(large) - 1] = '\0';
	check_eq(torc_http_add_field(x, "X-Good", "one two\tthree"), 0);
	check_eq(torc_http_add_field(x, "X-Empty", ""), 0);
	check_eq(torc_http_add_field(x, "content-length", "5"), -EINVAL);
	check_eq(torc_http_add_field(x, "", "v"), -EINVAL);
	check_eq(torc_http_add_field(x, "a b", "v"), -EINVAL);
	check_eq(torc_http_add_field(x, "a:", "v"), -EINVAL);
	check_eq(torc_http_add_field(x, "a\r\nb", "v"), -EINVAL);
	check_eq(torc_http_add_field(x, "a\xff", "v"), -EINVAL);
	check_eq(torc_http_add_field(x, "a", "v\r\nSet-Cookie: x"), -EINVAL);
	check_eq(torc_http_add_field(x, "a", "v\n"), -EINVAL);
	check_eq(torc_http_add_field(x, "a", "v\r"), -EINVAL);
	check_eq(torc_http_add_field(x, "a", "v\x7f"), -EINVAL);
	check_eq(torc_http_add_field(x, "a", large), -ENOSPC);
	large[3800] = '\0';
	check_eq(torc_http_add_field(x, "X-Large", large), 0);
	check_eq(torc_http_add_field(x, "X-More", large), -ENOSPC);
	check_eq(torc_http_respond(x, 199, NULL, "", 0), -EINVAL);
	check_eq(torc_http_respond(x, 600, NULL, "", 0), -EINVAL);
	check_eq(torc_http_respond(x, 200, "text/plain\r\nX: y", "", 0), -EINVAL);
	check_eq(torc_http_write(x, "x", 1), -EINVAL);
	check_eq(respond_text(x, "fields"), 0);
	check_eq(respond_text(x, "again"), -EALREADY);
	check_eq(torc_http_begin(x, 200, NULL, 1), -EALREADY);
	check_eq(torc_http_add_field(x, "a", "v"), -EALREADY);
	return 0;
}

static int respond_status(struct torc_http_exchange *x, struct torc_slice path)
{
	return torc_http_respond(x, atoi(path.data + 8), "text/plain", "body", 4);
}

static int cut_short(struct torc_http_exchange *x, uint64_t length)
{
	check_eq(torc_http_begin(x, 200, NULL, length), 0);
	check_eq(torc_http_write(x, "beginning", 9), 0);
	return -EIO;
}

static int too_much(struct torc_http_exchange *x)
{
	check_eq(torc_http_begin(x, 200, NULL, 4), 0);
	check_eq(torc_http_write(x, "four", 4), 0);
	check_eq(torc_http_write(x, "!", 1), -EMSGSIZE);
	return 0;
}

/* For a client that does not read. */
static int endless(struct torc_http_exchange *x, struct world *w)
{
	char data[5000];
	int r;

	memset(data, 'e', sizeof(data));
	r = torc_http_begin(x, 200, NULL, TORC_NEVER);
	w->open++;
	while (!r)
		r = torc_http_write(x, data, sizeof(data));
	w->open--;
	w->result = r;
	check_eq(torc_http_write(x, data, 1), -EPIPE);
	return r;
}

/* Takes longer than body_ns, which is not the client's fault. */
static int pause_in_body(struct torc_http_exchange *x)
{
	struct torc_slice part;
	int r = torc_http_body_peek(x, &part);

	if (r <= 0)
		return r;
	torc_http_body_consume(x, part.len);
	r = torc_sleep(TORC_MS(150));
	return r ? r : echo(x);
}

static int dispatch(struct torc_http_exchange *x, void *arg)
{
	struct world *w = arg;
	struct torc_slice path = torc_http_path(x);

	w->calls++;
	if (torc_http_path_is(x, "/"))
		return respond_text(x, "hello");
	if (torc_http_path_is(x, "/echo"))
		return echo(x);
	if (torc_http_path_is(x, "/describe"))
		return describe(x);
	if (torc_http_path_is(x, "/unread"))
		return respond_text(x, "unread");
	if (torc_http_path_is(x, "/chunked"))
		return in_parts(x, TORC_NEVER);
	if (torc_http_path_is(x, "/length"))
		return in_parts(x, 25);
	if (torc_http_path_is(x, "/short"))
		return in_parts(x, 26);
	if (torc_http_path_is(x, "/much"))
		return too_much(x);
	if (torc_http_path_is(x, "/big"))
		return big(x);
	if (torc_http_path_is(x, "/gate"))
		return wait_at_gate(x, w);
	if (torc_http_path_is(x, "/fields"))
		return add_fields(x);
	if (torc_http_path_is(x, "/nothing"))
		return 0;
	if (torc_http_path_is(x, "/fail"))
		return -EIO;
	if (torc_http_path_is(x, "/fail-pipe"))
		return -EPIPE; /* some other connection's */
	if (torc_http_path_is(x, "/cut"))
		return cut_short(x, 100);
	if (torc_http_path_is(x, "/cut-chunked"))
		return cut_short(x, TORC_NEVER);
	if (torc_http_path_is(x, "/endless"))
		return endless(x, w);
	if (torc_http_path_is(x, "/pause"))
		return pause_in_body(x);
	if (path.len > 8 && !memcmp(path.data, "/status/", 8))
		return respond_status(x, path);
	w->result = w->root_path ? torc_http_files_handle(x, &w->files) : -ENOENT;
	return w->result == -ENOENT ? torc_http_respond(x, 404, NULL, "none", 4) : w->result;
}

#define CHUNKED(path) "POST " path " HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"

/* --- methods, versions, persistence --- */

static void methods(struct world *w)
{
	struct reply r = { 0 };

	check_eq(ask(w, GET("/"), &r), 200);
	check(!strcmp(r.body, "hello"));
	check(header(&r, "Date") && strlen(header(&r, "Date")) == 29);
	check(!strcmp(header(&r, "Content-Type"), "text/plain"));
	check(!header(&r, "Connection"));
	check_eq(ask(w, "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", &r), 200);
	check(!strcmp(header(&r, "Content-Length"), "5"));
	check_eq(
		ask(w,
		    "POST /describe?a=b HTTP/1.1\r\nHost: ex:80\r\nX-Field: v\r\nContent-Length: 3\r\n\r\nabc",
		    &r),
		200);
	check(!strcmp(r.body, "POST /describe?a=b ex:80 v 3"));
	check_eq(ask(w, "DELETE http://other/describe HTTP/1.1\r\nHost: h\r\n\r\n", &r), 200);
	check(!strcmp(r.body, "DELETE /describe? other - 0"));
	check_eq(ask_status(w, "BREW / HTTP/1.1\r\nHost: h\r\n\r\n"), 501);
	check_eq(ask_status(w, "get / HTTP/1.1\r\nHost: h\r\n\r\n"), 501);
	free(r.body);
}

Test(http_server, answers_the_methods)
{
	run_world(&(struct world){ 0 }, methods);
}

static void persistence(struct world *w)
{
	static const struct {
		const char *request;
		const char *connection; /* what the answer says */
		bool stays;
	} cases[] = {
		{ GET("/"), NULL, true },
		{ "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "close", false },
		{ "GET / HTTP/1.1\r\nHost: h\r\nConnection: x, CLOSE\r\n\r\n", "close", false },
		{ "GET / HTTP/1.0\r\n\r\n", "close", false },
		{ "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "keep-alive", true },
		{ "GET /length HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "keep-alive", true },
		{ "GET /chunked HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "close", false },
		{ GET("/chunked"), NULL, true },
		{ GET("/nothing"), NULL, true },
		{ GET("/fail"), NULL, true },
		{ GET("/much"), NULL, true },
		{ GET("/status/404"), NULL, true },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct reply r = { 0 };
		struct client c;
		const char *connection;

		dial(w, &c);
		say(&c, cases[i].request);
		check(hear_reply(&c, &r, false));
		connection = header(&r, "Connection");
		check(!connection == !cases[i].connection);
		check(!connection || !strcmp(connection, cases[i].connection));
		check(!r.chunked || !strstr(cases[i].request, "HTTP/1.0"));
		if (cases[i].stays) {
			say(&c, GET("/"));
			expect(&c, 200, "hello");
		} else {
			expect_end(&c);
		}
		free(r.body);
		hang_up(&c);
	}
}

Test(http_server, keeps_or_closes_the_connection_as_asked)
{
	run_world(&(struct world){ 0 }, persistence);
}

/* --- trains of requests --- */

static void pipeline(struct world *w)
{
	char *train = calloc(101, sizeof(GET("/describe?100")));
	struct client c;

	for (int i = 0; i < 100; i++)
		sprintf(train + strlen(train), GET("/describe?%d"), i);
	dial(w, &c);
	say(&c, train);
	for (int i = 0; i < 100; i++) {
		char body[64];

		snprintf(body, sizeof(body), "GET /describe?%d h - 0", i);
		expect(&c, 200, body);
	}
	hang_up(&c);
	check_eq(w->calls, 100);
	free(train);
}

Test(http_server, answers_100_pipelined_requests_in_order)
{
	run_world(&(struct world){ 0 }, pipeline);
	run_world(&(struct world){ .runtime.recv_buffers = 8 }, pipeline);
}

/* What follows the error is as much as a client sends before it reads: it must not cost it the answers. */
static void pipeline_with_error(struct world *w)
{
	char *rest = malloc(300001);
	struct client c;

	memset(rest, 'x', 300000);
	rest[300000] = '\0';
	dial(w, &c);
	say(&c, GET("/") GET("/length")
			CHUNKED("/echo") "3\r\nabc\r\n0\r\n\r\n"
					 "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" GET("/"));
	say(&c, rest);
	expect(&c, 200, "hello");
	expect(&c, 200, "part.part.part.part.part.");
	expect(&c, 200, "abc");
	expect(&c, 400, NULL);
	expect_end(&c);
	hang_up(&c);
	check_eq(w->calls, 3);
	free(rest);
}

Test(http_server, answers_what_came_before_an_error_then_the_error_then_closes)
{
	run_world(&(struct world){ 0 }, pipeline_with_error);
}

/* Also where it is the client's own word, or the handler's, that ends the connection. */
static void close_with_more_behind(struct world *w)
{
	static const char *const first[] = {
		"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
		"GET /unread HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 200000\r\n\r\n",
		"GET /unread HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n",
	};
	char *rest = malloc(200001);

	memset(rest, 'x', 200000);
	rest[200000] = '\0';
	for (size_t i = 0; i < COUNT(first); i++) {
		struct client c;

		dial(w, &c);
		say(&c, first[i]);
		say(&c, rest);
		expect(&c, 200, i ? "unread" : "hello");
		expect_end(&c);
		hang_up(&c);
	}
	check_eq(w->calls, COUNT(first));
	free(rest);
}

Test(http_server, does_not_lose_the_last_answer_to_a_reset)
{
	run_world(&(struct world){ 0 }, close_with_more_behind);
}

static void split(struct world *w)
{
	static const char request[] =
		"POST /describe?q HTTP/1.1\r\nHost: h\r\nX-Field: v\r\nTransfer-Encoding: chunked\r\n\r\n"
		"4;x=\"y\"\r\nabcd\r\n2\r\nef\r\n0\r\nT: v\r\n\r\n";
	struct client c;

	dial(w, &c);
	for (size_t i = 1; i < sizeof(request) - 1; i++) {
		check_eq(torc_send_all(c.fd, request, i), 0);
		/* The server has seen it when it has had its turn: one loop. */
		for (int n = 0; n < 5; n++)
			check_eq(torc_yield(), 0);
		say(&c, request + i);
		expect(&c, 200, "POST /describe?q h v 6");
	}
	for (size_t i = 0; i < sizeof(request) - 1; i++) {
		check_eq(torc_send_all(c.fd, request + i, 1), 0);
		check_eq(torc_yield(), 0);
	}
	expect(&c, 200, "POST /describe?q h v 6");
	hang_up(&c);
}

Test(http_server, reads_a_request_that_is_split_anywhere)
{
	run_world(&(struct world){ 0 }, split);
	run_world(&(struct world){ .runtime.recv_buffers = 8 }, split);
}

/* --- refusals --- */

#define H  "Host: h\r\n"
#define TE "Transfer-Encoding: chunked\r\n"

static void refusals(struct world *w)
{
	static const struct {
		const char *request;
		int status;
	} cases[] = {
		{ "POST /echo HTTP/1.1\r\n" H "Content-Length: +3\r\n\r\nabc", 400 },
		{ "POST /echo HTTP/1.1\r\n" H "Content-Length: -3\r\n\r\nabc", 400 },
		{ "POST /echo HTTP/1.1\r\n" H "Content-Length: 3, 3\r\n\r\nabc", 400 },
		{ "POST /echo HTTP/1.1\r\n" H "Content-Length: 1 3\r\n\r\nabc", 400 },
		{ "POST /echo HTTP/1.1\r\n" H "Content-Length: 0x3\r\n\r\nabc", 400 },
		{ "POST /echo HTTP/1.1\r\n" H "Content-Length:\r\n\r\nabc", 400 },
		{ "POST /echo HTTP/1.1\r\n" H "Content-Length: 18446744073709551619\r\n\r\nabc",
		  400 },
		{ "POST /echo HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
		  400 },
		{ "POST /echo HTTP/1.1\r\n" H "Content-Length: 3\r\n" TE "\r\n0\r\n\r\n", 400 },
		{ "POST /echo HTTP/1.1\r\n" H TE "Content-Length: 3\r\n\r\n0\r\n\r\n", 400 },
		{ "POST /echo HTTP/1.1\r\n" H TE TE "\r\n0\r\n\r\n", 400 },
		{ "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		  400 },
		{ "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
		  400 },
		{ "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400 },
		{ "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding:\r\n\r\n0\r\n\r\n", 400 },
		{ "POST /echo HTTP/1.0\r\n" H TE "\r\n0\r\n\r\n", 400 },
		{ CHUNKED("/echo") "x\r\n", 400 },
		{ CHUNKED("/echo") " 1\r\na\r\n0\r\n\r\n", 400 },
		{ CHUNKED("/echo") "+1\r\na\r\n0\r\n\r\n", 400 },
		{ CHUNKED("/echo") "0x1\r\na\r\n0\r\n\r\n", 400 },
		{ CHUNKED("/echo") "1\na\r\n0\r\n\r\n", 400 },
		{ CHUNKED("/echo") "1\r\nab\r\n0\r\n\r\n", 400 },
		{ CHUNKED("/echo") "1\r\na\n0\r\n\r\n", 400 },
		{ CHUNKED("/echo") "10000000000000001\r\na\r\n0\r\n\r\n", 400 },
		{ CHUNKED("/echo") "1;a=\"\x01\"\r\na\r\n0\r\n\r\n", 400 },
		{ CHUNKED("/echo") "0\r\nContent-Length: 3\r\n\r\n", 400 },
		{ CHUNKED("/echo") "0\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
		{ CHUNKED("/echo") "0\r\nHost: h\r\n\r\n", 400 },
		{ CHUNKED("/echo") "0\r\nbad name: h\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\nHost: h\n\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: h\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\n" H "A: b\rc\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\n" H "A: b\r\n c\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\n" H "A: b\x01\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\n" H "A : b\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\n" H ": b\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\n" H "A\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: h/p\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: h:x\r\n\r\n", 400 },
		{ "GET /#f HTTP/1.1\r\n" H "\r\n", 400 },
		{ "GET /\xc3\xa4 HTTP/1.1\r\n" H "\r\n", 400 },
		{ "GET  / HTTP/1.1\r\n" H "\r\n", 400 },
		{ "GET * HTTP/1.1\r\n" H "\r\n", 400 },
		{ "GET x HTTP/1.1\r\n" H "\r\n", 400 },
		{ "CONNECT /x HTTP/1.1\r\n" H "\r\n", 400 },
		{ "GET /\r\n", 400 },
		{ "\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n", 400 },
		{ "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505 },
		{ "GET / HTTP/2.0\r\n" H "\r\n", 505 },
		{ "GET / HTTP/1.2\r\n" H "\r\n", 505 },
		{ "GET / HTTP/0.9\r\n\r\n", 505 },
		{ "GET / http/1.1\r\n" H "\r\n", 400 },
		{ "FOO / HTTP/1.1\r\n" H "\r\n", 501 },
		{ "GET / HTTP/1.1\r\n" H "Expect: tea\r\n\r\n", 417 },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct reply r = { 0 };
		struct client c;

		dial(w, &c);
		say(&c, cases[i].request);
		hear_reply(&c, &r, false);
		if (r.status != cases[i].status)
			fprintf(stderr, "case %zu: %s\n", i, cases[i].request);
		check_eq(r.status, cases[i].status);
		check(!strcmp(header(&r, "Connection"), "close"));
		say(&c, GET("/")); /* not served any more */
		expect_end(&c);
		free(r.body);
		hang_up(&c);
	}
}

Test(http_server, refuses_faulty_framing_and_closes)
{
	run_world(&(struct world){ 0 }, refusals);
}

static void nul_bytes(struct world *w)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: h\r\nA: b\0c\r\n\r\n";
	struct client c;

	dial(w, &c);
	check_eq(torc_send_all(c.fd, request, sizeof(request) - 1), 0);
	expect(&c, 400, NULL);
	expect_end(&c);
	hang_up(&c);
	/* One empty line is no error. */
	dial(w, &c);
	say(&c, "\r\n" GET("/"));
	expect(&c, 200, "hello");
	say(&c, "\r\n" GET("/"));
	expect(&c, 200, "hello");
	hang_up(&c);
}

Test(http_server, refuses_nul_and_skips_an_empty_line)
{
	run_world(&(struct world){ 0 }, nul_bytes);
}

/* --- limits --- */

static char *repeat(const char *before, size_t times, const char *after)
{
	size_t n = strlen(before);
	char *text = malloc(n + times + strlen(after) + 1);

	check(text);
	memcpy(text, before, n);
	memset(text + n, 'a', times);
	strcpy(text + n + times, after);
	return text;
}

static int ask_long(struct world *w, const char *before, size_t times, const char *after)
{
	char *text = repeat(before, times, after);
	int status = ask_status(w, text);

	free(text);
	return status;
}

#define LINE_EXTRA (sizeof("GET /? HTTP/1.1") - 1)

static void limits(struct world *w)
{
	static const char end[] = " HTTP/1.1\r\nHost: h\r\n\r\n";
	char many[2000] = "GET / HTTP/1.1\r\nHost: h\r\n";
	size_t head = strlen(GET("/")) + strlen("A: \r\n");

	check_eq(ask_long(w, "GET /?", 200 - LINE_EXTRA, end), 200);
	check_eq(ask_long(w, "GET /?", 201 - LINE_EXTRA, end), 414);
	check_eq(ask_long(w, "GET /?", 100000, end), 414);
	check_eq(ask_long(w, "GET /?", 1000, ""), 414); /* before its end is seen */
	check_eq(ask_long(w, "GET / HTTP/1.1\r\nHost: h\r\nA: ", 1000 - head, "\r\n\r\n"), 200);
	check_eq(ask_long(w, "GET / HTTP/1.1\r\nHost: h\r\nA: ", 1001 - head, "\r\n\r\n"), 431);
	check_eq(ask_long(w, "GET / HTTP/1.1\r\nHost: h\r\nA: ", 100000, ""), 431);
	for (int i = 0; i < 9; i++)
		strcat(many, "A: b\r\n");
	strcat(many, "\r\n");
	check_eq(ask_status(w, many), 200);
	strcpy(many + strlen(many) - 2, "A: b\r\n\r\n");
	check_eq(ask_status(w, many), 431);
}

Test(http_server, limits_the_head)
{
	run_world(&(struct world){ .options = { .line_bytes = 200,
						.head_bytes = 1000,
						.fields = 10 } },
		  limits);
}

static void body_limits(struct world *w)
{
	static const struct {
		const char *request;
		int status;
	} cases[] = {
		{ "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabcde", 200 },
		{ "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabcdef", 413 },
		{ "POST /unread HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabcdef", 413 },
		{ "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9223372036854775807\r\n\r\n",
		  413 },
		{ CHUNKED("/echo") "2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n", 200 },
		{ CHUNKED("/echo") "2\r\nab\r\n4\r\ncdef\r\n0\r\n\r\n", 413 },
		{ CHUNKED("/echo") "7fffffff\r\n", 413 },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct reply r = { 0 };
		struct client c;

		dial(w, &c);
		say(&c, cases[i].request);
		check_eq(hear_reply(&c, &r, false), cases[i].status);
		if (cases[i].status == 413) {
			check(!strcmp(header(&r, "Connection"), "close"));
			expect_end(&c);
		}
		free(r.body);
		hang_up(&c);
	}
}

Test(http_server, limits_the_body)
{
	run_world(&(struct world){ .options.body_bytes = 5 }, body_limits);
}

Test(http_server, refuses_options_out_of_range)
{
	static const char *const addresses[] = { "127.0.0.1:0", NULL };

	cr_assert_eq(torc_http_serve(&(struct torc_http_options){ .addresses = addresses }),
		     -EINVAL);
	cr_assert_eq(torc_http_serve(&(struct torc_http_options){ .handler = dispatch }), -EINVAL);
	cr_assert_eq(torc_http_serve(&(struct torc_http_options){
			     .addresses = addresses, .handler = dispatch, .fields = 1001 }),
		     -EINVAL);
	cr_assert_eq(torc_http_serve(&(struct torc_http_options){
			     .addresses = addresses, .handler = dispatch, .head_bytes = MIB }),
		     -EINVAL);
}

/* --- time --- */

static void slow_head(struct world *w)
{
	static const char *const parts[] = { "G", "GET / HTTP/1.1\r\n",
					     "GET / HTTP/1.1\r\nHost: h\r\nA", "\r\n" };

	for (size_t i = 0; i < COUNT(parts); i++) {
		struct client c;

		dial(w, &c);
		say(&c, parts[i]);
		expect(&c, 408, NULL);
		expect_end(&c);
		hang_up(&c);
	}
	check_eq(w->calls, 0);
}

Test(http_server, answers_408_to_a_head_that_takes_too_long)
{
	run_world(&(struct world){ .options.header_ns = TORC_MS(30) }, slow_head);
}

static void idle(struct world *w)
{
	struct client c;

	dial(w, &c);
	expect_end(&c);
	hang_up(&c);
	dial(w, &c);
	say(&c, GET("/"));
	expect(&c, 200, "hello");
	expect_end(&c);
	hang_up(&c);
}

Test(http_server, closes_idle_connections_silently)
{
	run_world(&(struct world){ .options.idle_ns = TORC_MS(30) }, idle);
}

static void slow_body(struct world *w)
{
	static const char *const requests[] = {
		"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab",
		"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n",
		CHUNKED("/echo") "5\r\nab",
		CHUNKED("/echo") "2\r\nab\r\n0\r\n",
	};
	struct client c;

	for (size_t i = 0; i < COUNT(requests); i++) {
		dial(w, &c);
		say(&c, requests[i]);
		expect(&c, 408, NULL);
		expect_end(&c);
		hang_up(&c);
	}
	/* The server's own pause is not held against the client. */
	dial(w, &c);
	say(&c, "POST /pause HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab");
	for (int i = 0; w->calls < 5 && i < 1000; i++)
		check_eq(torc_yield(), 0);
	check_eq(w->calls, 5);
	say(&c, "cde");
	expect(&c, 200, "cde");
	hang_up(&c);
}

Test(http_server, answers_408_to_a_body_that_takes_too_long)
{
	run_world(&(struct world){ .options.body_ns = TORC_MS(50) }, slow_body);
}

/* Does not read: first one answer without an end, then many answers, then one that is behind a close. */
static void deaf(struct world *w)
{
	static const char *const requests[] = {
		GET("/endless"),
		"GET /endless HTTP/1.0\r\n\r\n",
	};
	struct client c;

	for (size_t i = 0; i < COUNT(requests); i++) {
		uint64_t begin = torc_now_ns();

		w->result = 0;
		dial(w, &c);
		say(&c, requests[i]);
		while (!w->result)
			check_eq(torc_sleep(TORC_MS(1)), 0);
		check_eq(w->result, -ETIMEDOUT);
		while (hear(
			&c)) /* it is cut short: no last chunk, and a reset where only that tells */
			drop(&c, c.len > 5 ? c.len - 5 : 0);
		check(memcmp(c.data, "0\r\n\r\n", 5) != 0);
		if (i == 1)
			check_eq(c.end, -ECONNRESET);
		check_lt(torc_now_ns() - begin, TORC_SECONDS(10));
		hang_up(&c);
	}
}

/* Asks again and again: at some point nobody reads that either, until the connection is gone. */
static void deaf_asker(struct world *w)
{
	uint64_t begin = torc_now_ns();
	struct client c;
	int r;

	dial(w, &c);
	do
		r = torc_send_all(c.fd, GET("/big"), strlen(GET("/big")));
	while (!r);
	check(r == -ECONNRESET || r == -EPIPE);
	check_lt(torc_now_ns() - begin, TORC_SECONDS(10));
	hang_up(&c);
	/* Small answers wait in the stream, and it is its close that waits for them. */
	begin = torc_now_ns();
	dial(w, &c);
	do
		r = torc_send_all(c.fd, GET("/status/200"), strlen(GET("/status/200")));
	while (!r);
	check(r == -ECONNRESET || r == -EPIPE);
	check_lt(torc_now_ns() - begin, TORC_SECONDS(10));
	hang_up(&c);
}

Test(http_server, drops_a_client_that_does_not_read)
{
	/* Not over TCP: with both directions full, its retransmissions take seconds. */
	char path[100], *directory = mkdtemp(strcpy(path + 50, "/tmp/torc-http-XXXXXX"));
	const char *const addresses[] = { path, NULL };

	cr_assert(directory);
	snprintf(path, 50, "unix:%s/s", directory);
	run_world(&(struct world){ .options = { .write_ns = TORC_MS(50), .addresses = addresses } },
		  deaf_asker);
	cr_assert_eq(rmdir(directory), 0);
	run_world(&(struct world){ .options.write_ns = TORC_MS(50) }, deaf);
}

static void never(struct world *w)
{
	struct client c;

	dial(w, &c);
	say(&c, "POST /echo HTTP/1.1\r\nHost: h\r\n");
	for (int i = 0; i < 5; i++)
		check_eq(torc_yield(), 0);
	say(&c, "Content-Length: 5\r\n\r\nab");
	for (int i = 0; i < 5; i++)
		check_eq(torc_yield(), 0);
	say(&c, "cde");
	expect(&c, 200, "abcde");
	say(&c, GET("/big"));
	expect(&c, 200, NULL);
	hang_up(&c);
}

Test(http_server, takes_never_for_a_limit_of_time)
{
	run_world(&(struct world){ .options = { .header_ns = TORC_NEVER,
						.body_ns = TORC_NEVER,
						.idle_ns = TORC_NEVER,
						.write_ns = TORC_NEVER } },
		  never);
}

/* --- request bodies --- */

#define EXPECTING(path, version, n)     \
	"POST " path " HTTP/1." version \
	"\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: " n "\r\n\r\n"

static void continues(struct world *w)
{
	struct reply r = { 0 };
	struct client c;

	dial(w, &c);
	say(&c, EXPECTING("/echo", "1", "3"));
	expect(&c, 100, NULL);
	say(&c, "abc");
	expect(&c, 200, "abc");
	/* Not wanted: nobody knows whether it comes. */
	say(&c, EXPECTING("/unread", "1", "3"));
	check_eq(hear_reply(&c, &r, false), 200);
	check(!strcmp(header(&r, "Connection"), "close"));
	expect_end(&c);
	hang_up(&c);
	/* HTTP/1.0 knows none. */
	dial(w, &c);
	say(&c, EXPECTING("/echo", "0", "3"));
	say(&c, "abc");
	expect(&c, 200, "abc");
	expect_end(&c);
	hang_up(&c);
	/* Nothing to wait for. */
	dial(w, &c);
	say(&c, EXPECTING("/echo", "1", "0"));
	expect(&c, 200, "");
	say(&c, GET("/"));
	expect(&c, 200, "hello");
	hang_up(&c);
	/* Too long: refused before it is sent. */
	dial(w, &c);
	say(&c, EXPECTING("/echo", "1", "100000000"));
	expect(&c, 413, NULL);
	hang_up(&c);
	free(r.body);
}

Test(http_server, sends_100_continue_only_when_the_body_is_wanted)
{
	run_world(&(struct world){ 0 }, continues);
}

static void unread(struct world *w)
{
	static const struct {
		size_t bytes;
		bool chunked, stays;
	} cases[] = {
		{ 1, false, true },       { 65536, false, true }, { 65537, false, false },
		{ 500000, false, false }, { 1, true, true },      { 60000, true, true },
		{ 70000, true, false },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		char head[200];
		struct client c;
		char *text;

		if (cases[i].chunked)
			snprintf(head, sizeof(head), CHUNKED("/unread") "%zx\r\n", cases[i].bytes);
		else
			snprintf(head, sizeof(head),
				 "POST /unread HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n",
				 cases[i].bytes);
		text = repeat(head, cases[i].bytes,
			      cases[i].chunked ? "\r\n0\r\n\r\n" GET("/") : GET("/"));
		dial(w, &c);
		say(&c, text);
		expect(&c, 200, "unread");
		if (cases[i].stays)
			expect(&c, 200, "hello");
		else
			expect_end(&c);
		free(text);
		hang_up(&c);
	}
}

Test(http_server, skips_a_body_that_was_not_read_if_it_is_small)
{
	run_world(&(struct world){ 0 }, unread);
}

static void chunked_bodies(struct world *w)
{
	struct client c;

	dial(w, &c);
	say(&c, CHUNKED("/echo") "0\r\n\r\n");
	expect(&c, 200, "");
	say(&c, CHUNKED("/echo") "3\r\nabc\r\n0A\r\n0123456789\r\n000\r\n\r\n");
	expect(&c, 200, "abc0123456789");
	say(&c,
	    CHUNKED("/echo") "3;name;n=v;n=\"q;\\\"x\"\r\nabc\r\n0;x\r\nX-Trailer: v\r\nOther: w\r\n\r\n");
	expect(&c, 200, "abc");
	say(&c, CHUNKED("/describe") "3\r\nabc\r\n0\r\nX-Field: trailer\r\n\r\n");
	expect(&c, 200, "POST /describe? h - 3"); /* a trailer is no header */
	hang_up(&c);
}

Test(http_server, reads_chunks_extensions_and_trailers)
{
	run_world(&(struct world){ 0 }, chunked_bodies);
}

struct sender {
	struct client *c;
	bool chunked;
};

static int send_big(void *arg)
{
	struct sender *s = arg;
	char *data = malloc(MIB), line[200];

	fill_bytes(data, MIB, 5, 0);
	if (!s->chunked) {
		snprintf(line, sizeof(line),
			 "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n", MIB);
		say(s->c, line);
		check_eq(torc_send_all(s->c->fd, data, MIB), 0);
	} else {
		say(s->c, CHUNKED("/echo"));
		for (size_t at = 0, n = 1; at < MIB; at += n, n = n * 3 % 50021 + 1) {
			n = n < MIB - at ? n : MIB - at;
			snprintf(line, sizeof(line), "%zx\r\n", n);
			say(s->c, line);
			check_eq(torc_send_all(s->c->fd, data + at, n), 0);
			say(s->c, "\r\n");
		}
		say(s->c, "0\r\n\r\n");
	}
	free(data);
	return 0;
}

static void big_bodies(struct world *w)
{
	struct reply r = { 0 };
	struct client c;

	dial(w, &c);
	for (int i = 0; i < 4; i++) {
		struct sender s = { &c, i % 2 };

		check_eq(torc_group_spawn(&w->group, send_big, &s), 0);
		check_eq(hear_reply(&c, &r, false), 200);
		check_eq(r.len, MIB);
		check(same_bytes(r.body, r.len, 5, 0));
	}
	say(&c, GET("/big") GET("/big"));
	for (int i = 0; i < 2; i++) {
		check_eq(hear_reply(&c, &r, false), 200);
		check_eq(r.len, MIB);
		check(same_bytes(r.body, r.len, 3, 0));
	}
	free(r.body);
	hang_up(&c);
}

Test(http_server, carries_a_mebibyte_both_ways)
{
	run_world(&(struct world){ 0 }, big_bodies);
	run_world(&(struct world){ .runtime.recv_buffers = 8 }, big_bodies);
}

/* The body goes through the buffers that the head was received in. */
static void views(struct world *w)
{
	static const char *const heads[] = {
		"POST /describe?a=b HTTP/1.1\r\nHost: ex\r\nX-Field: v\r\nContent-Length: 999999\r\n\r\n",
		"POST /describe?a=b HTTP/1.1\r\nHost: ex\r\nX-Field: v\r\n" TE "\r\nF423F\r\n",
	};
	struct client c;

	dial(w, &c);
	for (size_t i = 0; i < COUNT(heads); i++) {
		char *text = repeat(heads[i], 999999, i ? "\r\n0\r\n\r\n" : "");

		say(&c, text);
		expect(&c, 200, "POST /describe?a=b ex v 999999");
		free(text);
	}
	hang_up(&c);
}

Test(http_server, shows_the_head_while_the_body_is_read)
{
	run_world(&(struct world){ 0 }, views);
	run_world(&(struct world){ .runtime.recv_buffers = 8 }, views);
}

static void peer_leaves(struct world *w)
{
	static const char *const parts[] = {
		"GET / HT",
		"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab",
		CHUNKED("/echo") "5\r\nab",
		CHUNKED("/unread") "5\r\nab",
		"",
	};
	struct reply r = { 0 };

	for (size_t i = 0; i < COUNT(parts); i++) {
		struct client c;

		dial(w, &c);
		say(&c, parts[i]);
		check_eq(torc_shutdown(c.fd, SHUT_WR), 0);
		check_eq(hear_reply(&c, &r, false), i == 3 ? 200 : 0);
		expect_end(&c);
		hang_up(&c);
	}
	/* A half-closed client that has said everything is answered. */
	{
		struct client c;

		dial(w, &c);
		say(&c, GET("/") GET("/big"));
		check_eq(torc_shutdown(c.fd, SHUT_WR), 0);
		expect(&c, 200, "hello");
		expect(&c, 200, NULL);
		expect_end(&c);
		hang_up(&c);
	}
	free(r.body);
}

Test(http_server, notices_that_the_peer_left_in_the_middle)
{
	run_world(&(struct world){ 0 }, peer_leaves);
}

/* --- responses --- */

static void responses(struct world *w)
{
	struct reply r = { 0 };
	struct client c;

	dial(w, &c);
	say(&c, GET("/chunked"));
	check_eq(hear_reply(&c, &r, false), 200);
	check(r.chunked);
	check(!strcmp(r.body, "part.part.part.part.part."));
	say(&c, GET("/length"));
	check_eq(hear_reply(&c, &r, false), 200);
	check(!strcmp(header(&r, "Content-Length"), "25"));
	check(!strcmp(r.body, "part.part.part.part.part."));
	/* No bodies: what follows is the next answer. */
	say(&c, "HEAD /chunked HTTP/1.1\r\nHost: h\r\n\r\nHEAD /length HTTP/1.1\r\nHost: h\r\n\r\n"
		"HEAD /big HTTP/1.1\r\nHost: h\r\n\r\n" GET("/status/204") GET("/status/304")
			GET("/status/404") GET("/status/599"));
	check_eq(hear_reply(&c, &r, true), 200);
	check(r.chunked);
	check_eq(hear_reply(&c, &r, true), 200);
	check(!strcmp(header(&r, "Content-Length"), "25"));
	check_eq(hear_reply(&c, &r, true), 200);
	check(!strcmp(header(&r, "Content-Length"), "1048576"));
	check_eq(hear_reply(&c, &r, false), 204);
	check(!header(&r, "Content-Length"));
	check_eq(hear_reply(&c, &r, false), 304);
	expect(&c, 404, "body");
	expect(&c, 599, "body");
	say(&c, GET("/fields"));
	check_eq(hear_reply(&c, &r, false), 200);
	check(!strcmp(header(&r, "X-Good"), "one two\tthree"));
	check(header(&r, "X-Large"));
	check(!strstr(r.head, "Set-Cookie"));
	check(!strcmp(r.body, "fields"));
	say(&c, GET("/much"));
	expect(&c, 200, "four");
	hang_up(&c);
	/* HTTP/1.0 has no chunks. */
	dial(w, &c);
	say(&c, "GET /chunked HTTP/1.0\r\n\r\n");
	check_eq(hear_reply(&c, &r, false), 200);
	check(!r.chunked && !header(&r, "Content-Length"));
	check(!strcmp(r.body, "part.part.part.part.part."));
	hang_up(&c);
	free(r.body);
}

Test(http_server, writes_bodies_with_a_length_in_chunks_or_not_at_all)
{
	run_world(&(struct world){ 0 }, responses);
}

static void failures(struct world *w)
{
	struct reply r = { 0 };
	struct client c;

	dial(w, &c);
	say(&c, GET("/fail") GET("/fail-pipe") GET("/nothing") GET("/"));
	expect(&c, 500, NULL);
	expect(&c, 500, NULL);
	expect(&c, 500, NULL);
	expect(&c, 200, "hello");
	hang_up(&c);
	for (int i = 0; i < 4; i++) {
		static const char *const requests[] = { GET("/cut"), GET("/cut-chunked"),
							GET("/short"),
							"GET /cut-chunked HTTP/1.0\r\n\r\n" };

		dial(w, &c);
		say(&c, requests[i]);
		check_eq(hear_reply(&c, &r, false), 0); /* not complete */
		if (i < 3)
			check_eq(c.end, 0);
		else
			check_eq(c.end, -ECONNRESET);
		hang_up(&c);
	}
	free(r.body);
}

Test(http_server, answers_500_or_cuts_the_connection_when_the_handler_fails)
{
	run_world(&(struct world){ 0 }, failures);
}

/* --- the end of the server --- */

static void drain(struct world *w)
{
	struct reply r = { 0 };
	struct client idle_one, fresh, busy;

	dial(w, &fresh);
	dial(w, &idle_one);
	say(&idle_one, GET("/"));
	expect(&idle_one, 200, "hello");
	dial(w, &busy);
	say(&busy, GET("/gate") GET("/"));
	while (!w->open)
		check_eq(torc_yield(), 0);
	torc_group_cancel(&w->group);
	/* This fiber is the group's owner and is cancelled with it. */
	{
		struct torc_scope shield;

		torc_scope_enter_shield(&shield, TORC_SECONDS(20));
		expect_end(&idle_one);
		expect_end(&fresh);
		check_eq(w->open, 1);
		check_eq(torc_dial(w->address), -ECONNREFUSED);
		w->gate = true;
		check_eq(hear_reply(&busy, &r, false), 200);
		check(!strcmp(r.body, "through"));
		check(!strcmp(header(&r, "Connection"), "close"));
		expect_end(&busy);
		torc_scope_leave(&shield);
	}
	hang_up(&idle_one);
	hang_up(&fresh);
	hang_up(&busy);
	free(r.body);
}

Test(http_server, drains_idle_connections_at_once_and_answers_what_is_under_way)
{
	run_world(&(struct world){ 0 }, drain);
}

static void grace(struct world *w)
{
	struct torc_scope shield;
	struct client c;

	dial(w, &c);
	say(&c, GET("/gate"));
	while (!w->open)
		check_eq(torc_yield(), 0);
	torc_group_cancel(&w->group);
	torc_scope_enter_shield(&shield, TORC_SECONDS(20));
	expect_end(&c);
	check_eq(w->open, 0);
	torc_scope_leave(&shield);
	hang_up(&c);
}

Test(http_server, cancels_what_is_under_way_after_the_grace_period)
{
	run_world(&(struct world){ .options.grace_ns = TORC_MS(30) }, grace);
}

static void drain_train(struct world *w)
{
	char *train = repeat(GET("/gate"), 0, GET("/") GET("/") GET("/"));
	struct torc_scope shield;
	struct client c;

	dial(w, &c);
	say(&c, train);
	while (!w->open)
		check_eq(torc_yield(), 0);
	torc_group_cancel(&w->group);
	torc_scope_enter_shield(&shield, TORC_SECONDS(20));
	w->gate = true;
	expect(&c, 200, "through");
	expect_end(&c);
	torc_scope_leave(&shield);
	hang_up(&c);
	check_eq(w->calls, 1);
	free(train);
}

Test(http_server, serves_nothing_behind_the_answer_that_says_close)
{
	run_world(&(struct world){ 0 }, drain_train);
}

/* --- many connections --- */

#define MANY 100

static void many(struct world *w)
{
	struct client *c = calloc(MANY, sizeof(*c));

	for (int round = 0; round < 3; round++)
		for (int i = 0; i < MANY; i++) {
			if (!round)
				dial(w, &c[i]);
			say(&c[i],
			    round == 1 ? CHUNKED("/echo") "3\r\nabc\r\n0\r\n\r\n" : GET("/"));
			expect(&c[i], 200, round == 1 ? "abc" : "hello");
		}
	/* All at once. */
	for (int i = 0; i < MANY; i++)
		say(&c[i], GET("/gate"));
	while (w->open < MANY)
		check_eq(torc_yield(), 0);
	w->gate = true;
	for (int i = 0; i < MANY; i++)
		expect(&c[i], 200, "through");
	for (int i = 0; i < MANY; i++)
		hang_up(&c[i]);
	free(c);
}

Test(http_server, keeps_no_buffers_for_idle_connections)
{
	run_world(&(struct world){ .runtime.recv_buffers = 8 }, many);
}

Test(http_server, serves_many_connections_on_a_unix_socket)
{
	char path[100], *directory = mkdtemp(strcpy(path + 50, "/tmp/torc-http-XXXXXX"));
	const char *const addresses[] = { path, NULL };

	cr_assert(directory);
	snprintf(path, 50, "unix:%s/s", directory);
	run_world(&(struct world){ .options.addresses = addresses }, many);
	cr_assert_eq(rmdir(directory), 0);
}

/* --- files --- */

static void make_file(int root, const char *name, const char *data, size_t len)
{
	int fd = openat(root, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	check_ge(fd, 0);
	check_eq(write(fd, data, len), (ssize_t)len);
	close(fd);
}

struct tree {
	char path[64];
	char *large;
};

#define LARGE (3 * MIB + 12345)

static void make_tree(struct tree *t, struct world *w)
{
	strcpy(t->path, "/tmp/torc-http-XXXXXX");
	check(mkdtemp(t->path));
	w->root_path = t->path;
	w->root = open(t->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	check_ge(w->root, 0);
	t->large = malloc(LARGE);
	fill_bytes(t->large, LARGE, 9, 0);
	make_file(w->root, "large.bin", t->large, LARGE);
	make_file(w->root, "empty.css", "", 0);
	make_file(w->root, "a b+c.txt", "spaces", 6);
	make_file(w->root, "page.HTML", "page", 4);
	check_eq(mkdirat(w->root, "with", 0755), 0);
	check_eq(mkdirat(w->root, "without", 0755), 0);
	check_eq(mkdirat(w->root, "odd", 0755), 0);
	check_eq(mkdirat(w->root, "odd/index.html", 0755), 0);
	make_file(w->root, "with/index.html", "index", 5);
	check_eq(symlinkat("/etc/passwd", w->root, "out"), 0);
	check_eq(symlinkat("../../etc/passwd", w->root, "out2"), 0);
	check_eq(symlinkat("with/index.html", w->root, "in"), 0);
	check_eq(symlinkat("loop", w->root, "loop"), 0);
	check_eq(mkfifoat(w->root, "fifo", 0644), 0);
}

static void drop_tree(struct tree *t, struct world *w)
{
	char command[100];

	close(w->root);
	free(t->large);
	snprintf(command, sizeof(command), "rm -rf %s", t->path);
	check_eq(system(command), 0);
}

static void files(struct world *w)
{
	static const struct {
		const char *path;
		int status;
		const char *type, *body;
	} cases[] = {
		{ "/with/index.html", 200, "text/html; charset=utf-8", "index" },
		{ "/with/", 200, "text/html; charset=utf-8", "index" },
		{ "/with", 308, NULL, NULL },
		{ "//with//index.html", 200, "text/html; charset=utf-8", "index" },
		{ "/with/../with/./index.html?q", 200, "text/html; charset=utf-8", "index" },
		{ "/page.HTML", 200, "text/html; charset=utf-8", "page" },
		{ "/empty.css", 200, "text/css; charset=utf-8", "" },
		{ "/a%20b+c.txt", 200, "text/plain; charset=utf-8", "spaces" },
		{ "/%61%20%62+c%2Etxt", 200, "text/plain; charset=utf-8", "spaces" },
		{ "/in", 200, "application/octet-stream", "index" },
		{ "/nothing.here", 404, NULL, NULL },
		{ "/page.HTML/", 404, NULL, NULL },
		{ "/page.HTML/x", 404, NULL, NULL },
		{ "/without", 308, NULL, NULL },
		{ "/without/", 404, NULL, NULL },
		{ "/odd/", 403, NULL, NULL },
		{ "/out", 403, NULL, NULL },
		{ "/out2", 403, NULL, NULL },
		{ "/loop", 403, NULL, NULL },
		{ "/fifo", 403, NULL, NULL },
		{ "/../etc/passwd", 403, NULL, NULL },
		{ "/with/../../etc/passwd", 403, NULL, NULL },
		{ "/%2e%2e/etc/passwd", 403, NULL, NULL },
		{ "/.%2E/etc/passwd", 403, NULL, NULL },
		{ "/with%2findex.html", 400, NULL, NULL },
		{ "/%2e%2e%2fetc/passwd", 400, NULL, NULL },
		{ "/page.HTML%00", 400, NULL, NULL },
		{ "/%", 400, NULL, NULL },
		{ "/%4", 400, NULL, NULL },
		{ "/%zz", 400, NULL, NULL },
	};
	struct reply r = { 0 };

	for (size_t i = 0; i < COUNT(cases); i++) {
		char request[200];

		snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: h\r\n\r\n",
			 cases[i].path);
		ask(w, request, &r);
		if (r.status != cases[i].status)
			fprintf(stderr, "%s: %d\n", cases[i].path, r.status);
		check_eq(r.status, cases[i].status);
		if (cases[i].type)
			check(!strcmp(header(&r, "Content-Type"), cases[i].type));
		if (cases[i].body)
			check(!strcmp(r.body, cases[i].body));
		check(!strstr(r.body, "root:"));
	}
	check_eq(ask_long(w, "GET /", 300, " HTTP/1.1\r\nHost: h\r\n\r\n"), 414);
	check_eq(ask_long(w, "GET /", 5000, " HTTP/1.1\r\nHost: h\r\n\r\n"), 414);
	check_eq(ask(w, "PUT /page.HTML HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", &r),
		 405);
	check(!strcmp(header(&r, "Allow"), "GET, HEAD"));
	check_eq(ask(w, "HEAD /page.HTML HTTP/1.1\r\nHost: h\r\n\r\n", &r), 200);
	check(!strcmp(header(&r, "Content-Length"), "4"));
	free(r.body);
}

Test(http_server, sends_files_and_nothing_from_outside)
{
	struct world w = { 0 };
	struct tree t;

	make_tree(&t, &w);
	run_world(&w, files);
	drop_tree(&t, &w);
}

static void large_file(struct world *w)
{
	struct reply r = { 0 };
	struct client c;

	dial(w, &c);
	say(&c, "HEAD /large.bin HTTP/1.1\r\nHost: h\r\n\r\n" GET("/large.bin") GET("/"));
	check_eq(hear_reply(&c, &r, true), 200);
	check_eq(atoll(header(&r, "Content-Length")), LARGE);
	check_eq(hear_reply(&c, &r, false), 200);
	check_eq(r.len, LARGE);
	check(same_bytes(r.body, r.len, 9, 0));
	expect(&c, 200, "hello");
	hang_up(&c);
	free(r.body);
}

Test(http_server, sends_a_large_file_intact)
{
	struct world w = { 0 };
	struct tree t;

	make_tree(&t, &w);
	run_world(&w, large_file);
	drop_tree(&t, &w);
}

static int ask_if(struct world *w, const char *method, const char *field, const char *before,
		  const char *value, const char *after)
{
	struct reply r = { 0 };
	char request[400];
	int status;

	snprintf(request, sizeof(request),
		 "%s /page.HTML HTTP/1.1\r\nHost: h\r\n%s: %s%s%s\r\n\r\n", method, field, before,
		 value, after);
	status = ask(w, request, &r);
	check(header(&r, "ETag"));
	if (status == 304)
		check(!header(&r, "Content-Length") && header(&r, "Date"));
	free(r.body);
	return status;
}

static void conditions(struct world *w)
{
	struct reply r = { 0 };
	char etag[100], modified[100];

	check_eq(ask(w, GET("/page.HTML"), &r), 200);
	strcpy(etag, header(&r, "ETag"));
	strcpy(modified, header(&r, "Last-Modified"));
	check_eq(ask_if(w, "GET", "If-None-Match", "", etag, ""), 304);
	check_eq(ask_if(w, "HEAD", "If-None-Match", "", etag, ""), 304);
	check_eq(ask_if(w, "GET", "If-None-Match", "W/", etag, ""), 304);
	check_eq(ask_if(w, "GET", "If-None-Match", "\"x\", ", etag, ", \"y\""), 304);
	check_eq(ask_if(w, "GET", "If-None-Match", "", "*", ""), 304);
	check_eq(ask_if(w, "GET", "If-None-Match", "", "\"x\"", ""), 200);
	check_eq(ask_if(w, "GET", "If-None-Match", "", "\"x\"\r\nIf-Modified-Since: ", modified),
		 200);
	check_eq(ask_if(w, "GET", "If-Modified-Since", "", modified, ""), 304);
	check_eq(ask_if(w, "GET", "If-Modified-Since", "", "Sun, 06 Nov 1994 08:49:37 GMT", ""),
		 200);
	check_eq(ask_if(w, "GET", "If-Modified-Since", "", "nonsense", ""), 200);
	free(r.body);
}

Test(http_server, answers_304_to_who_has_the_file)
{
	struct world w = { 0 };
	struct tree t;

	make_tree(&t, &w);
	run_world(&w, conditions);
	drop_tree(&t, &w);
}

/* --- everything again without what newer kernels offer --- */

static void all(struct world *w)
{
	pipeline_with_error(w);
	persistence(w);
	chunked_bodies(w);
	big_bodies(w);
	failures(w);
	large_file(w);
}

/* Each is the whole of the above once more, and has its own time for it. */
static void works_without(const char *feature)
{
	struct world w = { 0 };
	struct tree t;

	make_tree(&t, &w);
	setenv("TORC_DISABLE", feature, 1);
	run_world(&w, all);
	drop_tree(&t, &w);
	unsetenv("TORC_DISABLE");
}

Test(http_server, works_without_recv_multishot)
{
	works_without("recv_multishot");
}

Test(http_server, works_without_min_wait)
{
	works_without("min_wait");
}

Test(http_server, works_without_defer_taskrun)
{
	works_without("defer_taskrun");
}

Test(http_server, works_without_registered_ring)
{
	works_without("registered_ring");
}

Test(http_server, works_without_cqe_skip)
{
	works_without("cqe_skip");
}

/* --- what the kernel keeps --- */

static int tell_unsent(struct torc_http_exchange *x, void *arg)
{
	int value = 0;
	socklen_t len = sizeof(value);
	char text[16];

	(void)arg;
	check_eq(getsockopt(torc_stream_fd(torc_http_stream(x)), IPPROTO_TCP, TCP_NOTSENT_LOWAT,
			    &value, &len),
		 0);
	snprintf(text, sizeof(text), "%d", value);
	return torc_http_respond_text(x, 200, text);
}

static void hear_unsent(struct world *w)
{
	struct client c;

	dial(w, &c);
	say(&c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	expect(&c, 200, "262144");
	hang_up(&c);
}

Test(http_server, the_kernel_keeps_little_for_who_reads_slowly)
{
	struct world w = { .runtime.loops = 2 };

	run_world_with(&w, tell_unsent, hear_unsent);
}
