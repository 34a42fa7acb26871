/*
 * tests/http/client.c - requests and responses: what is sent, what is understood of the answer, and what becomes of the connection.
 */
#include "tests/http/client.h"

#include <torc/core/gen.h>
#include <torc/io/contents.h>

TestSuite(client, .timeout = 60);

/* --- what is sent --- */

static void answer_hello(struct peer *p, struct torc_stream *s, int number)
{
	(void)number;
	while (hear_head(p, s))
		tell(s, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
}

static void get_twice(struct peer *p, struct torc_http_client *client)
{
	get_and_expect(client, url_of(p, "/a?b=c#d"), 200, "hello");
	check(!strncmp(p->head, "GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:", 37));
	check(heard(p, "\r\nUser-Agent: torc/"));
	check(heard(p, "\r\nAccept: */*\r\n"));
	check(heard(p, "\r\nAccept-Encoding: gzip, deflate\r\n"));
	check(!heard(p, "Content-Length"));
	get_and_expect(client, url_of(p, ""), 200, "hello");
	check(!strncmp(p->head, "GET / HTTP/1.1\r\n", 16));
	check_eq(p->connections, 1);
	check_eq(stats_of(client).idle, 1);
	check_eq(stats_of(client).connects, 1);
	check_eq(stats_of(client).requests, 2);
}

Test(client, a_connection_is_used_again)
{
	run_peer(answer_hello, get_twice);
}

static void ask_with_fields(struct peer *p, struct torc_http_client *client)
{
	static const struct torc_http_pair fields[] = {
		{ "User-Agent", "me" }, { "Accept", "text/html" },   { "X-More", "1" },
		{ "X-More", "2" },      { "accept-encoding", "br" }, { "Host", "example.org" },
	};
	struct torc_http_request q = { .url = url_of(p, "/"),
				       .method = "DELETE",
				       .fields = fields,
				       .field_count = COUNT(fields) };
	struct torc_http_response *res;

	check_eq(torc_http_request(client, &q, &res), 0);
	torc_http_response_close(res);
	check(!strncmp(p->head, "DELETE / HTTP/1.1\r\n", 19));
	check(heard(p, "\r\nUser-Agent: me\r\n") && !heard(p, "torc/"));
	check(heard(p, "\r\nAccept: text/html\r\n") && !heard(p, "*/*"));
	check(heard(p, "\r\nX-More: 1\r\nX-More: 2\r\n"));
	check(heard(p, "\r\naccept-encoding: br\r\n") && !heard(p, "gzip"));
	check(heard(p, "\r\nHost: example.org\r\n") && !heard(p, "127.0.0.1"));
	check_eq(stats_of(client).idle, 1);
}

Test(client, the_programs_fields_replace_the_clients)
{
	run_peer(answer_hello, ask_with_fields);
}

static void ask_wrongly(struct peer *p, struct torc_http_client *client)
{
	static const struct torc_http_pair wrong[] = {
		{ "Connection", "close" },
		{ "content-length", "5" },
		{ "Transfer-Encoding", "chunked" },
		{ "Expect", "100-continue" },
		{ "X Y", "1" },
		{ "", "1" },
		{ "X", "a\r\nB: c" },
		{ "X", "a\nb" },
		{ "Upgrade", "h2c" },
		{ "TE", "trailers" },
	};
	static const char *const urls[] = {
		"",          "/",           "ftp://127.0.0.1/",        "http://",
		"http:///x", "http://a b/", "http://127.0.0.1:99999/", "http://[::1/",
		"mailto:a@b"
	};
	struct torc_http_response *res = NULL;
	char why[TORC_HTTP_WHY_MAX];

	for (size_t i = 0; i < COUNT(wrong); i++) {
		struct torc_http_request q = { .url = url_of(p, "/"),
					       .fields = &wrong[i],
					       .field_count = 1 };

		check_eq(torc_http_request(client, &q, &res), -EINVAL);
	}
	for (size_t i = 0; i < COUNT(urls); i++) {
		struct torc_http_request q = { .url = urls[i], .ret_why = why };
		int r = torc_http_request(client, &q, &res);

		check(r == -EINVAL || r == -EPROTONOSUPPORT);
		check(strstr(why, urls[i]));
	}
	check_eq(torc_http_request(client,
				   &(struct torc_http_request){ .url = url_of(p, "/"),
								.method = "A B" },
				   &res),
		 -EINVAL);
	check_eq(torc_http_request(client,
				   &(struct torc_http_request){ .url = url_of(p, "/"),
								.method = "CONNECT" },
				   &res),
		 -EINVAL);
	check_eq(torc_http_request(client,
				   &(struct torc_http_request){ .url = url_of(p, "/"),
								.body = "x",
								.body_len = 1,
								.body_file = "/dev/null" },
				   &res),
		 -EINVAL);
	check_eq(torc_http_request(client, &(struct torc_http_request){ .method = "GET" }, &res),
		 -EINVAL);
	check(!res);
	check_eq(p->requests, 0);
}

Test(client, what_is_no_request_is_not_sent)
{
	run_peer(answer_hello, ask_wrongly);
}

/* --- bodies to the server --- */

static int check_body(struct torc_http_exchange *x)
{
	struct torc_slice part;
	uint64_t at = 0;
	char text[24];
	int r;

	while ((r = torc_http_body_peek(x, &part)) > 0) {
		check(same_bytes(part.data, part.len, 7, at));
		at += part.len;
		torc_http_body_consume(x, part.len);
	}
	snprintf(text, sizeof(text), "%llu", (unsigned long long)at);
	return r ? r : torc_http_respond_text(x, 200, text);
}

static int take_or_echo(struct torc_http_exchange *x, void *arg)
{
	struct world *w = arg;
	struct torc_slice part;
	int r;

	w->calls++;
	if (torc_http_path_is(x, "/check"))
		return check_body(x);
	r = torc_http_begin(x, 200, "application/octet-stream", TORC_NEVER);
	while (!r && (r = torc_http_body_peek(x, &part)) > 0) {
		r = torc_http_write(x, part.data, part.len);
		torc_http_body_consume(x, part.len);
	}
	return r ? r : torc_http_end(x);
}

#define BULK ((size_t)3 << 20)

static const char *world_url(const struct world *w, const char *path)
{
	static char text[512];

	snprintf(text, sizeof(text), "http://%s%s",
		 w->address + (strstr(w->address, "://") ? 6 : 0), path);
	return text;
}

static void expect_bulk(struct torc_http_response *res, uint64_t total)
{
	struct torc_slice part;
	uint64_t at = 0;
	int r;

	check_eq(torc_http_response_status(res), 200);
	while ((r = torc_http_response_peek(res, &part)) > 0) {
		check(same_bytes(part.data, part.len, 7, at));
		at += part.len;
		torc_http_response_consume(res, part.len);
	}
	check_eq(r, 0);
	check_eq(at, total);
}

static int write_bulk(struct torc_http_upload *u, void *arg)
{
	const char *data = arg;
	int r = 0;

	for (size_t at = 0; !r && at < BULK; at += 10007)
		r = torc_http_upload_write(u, data + at, BULK - at < 10007 ? BULK - at : 10007);
	return r;
}

static int yield_bulk(struct torc_gen *g, void *arg)
{
	const char *data = arg;
	int r = 0;

	for (size_t at = 0; !r && at < BULK; at += 70001) {
		struct torc_slice part = { data + at, BULK - at < 70001 ? BULK - at : 70001 };

		r = torc_gen_yield(g, &part, NULL);
	}
	return r;
}

static void post(struct torc_http_client *client, struct torc_http_request q, uint64_t total)
{
	struct torc_http_response *res;
	char text[24];

	check_eq(torc_http_request(client, &q, &res), 0);
	if (strstr(q.url, "/check")) {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)total);
		expect_body(res, 200, text);
	} else {
		expect_bulk(res, total);
	}
	torc_http_response_close(res);
	if (strstr(q.url, "/check"))
		check_eq(stats_of(client).idle, 1);
}

static void post_stream(struct torc_http_client *client, struct torc_http_request q,
			const char *data)
{
	struct torc_stream from, to;

	check_eq(torc_stream_pair(&from, &to), 0);
	check_eq(torc_stream_write(&to, data, 15000), 0);
	check_eq(torc_stream_shutdown(&to), 0);
	q.body_stream = &from;
	post(client, q, 15000);
	torc_stream_close(&from);
	torc_stream_close(&to);
}

static void post_all(struct world *w, const char *path)
{
	struct torc_http_client *client;
	struct torc_http_client_options o = { .no_environment = true };
	struct torc_http_request q = { .url = world_url(w, path) };
	char *data = malloc(BULK), file[] = "/tmp/torc-client-XXXXXX";
	int fd = mkstemp(file);
	struct torc_gen *gen;

	fill_bytes(data, BULK, 7, 0);
	check_eq(write(fd, data, BULK), (ssize_t)BULK);
	close(fd);
	check_eq(torc_http_client_open(&o, &client), 0);
	q.body = data;
	q.body_len = 10;
	post(client, q, 10);
	q.body_len = 15001;
	post(client, q, 15001);
	q.body_len = BULK;
	post(client, q, BULK);
	q.body = NULL;
	q.body_len = 0;
	q.body_file = file;
	post(client, q, BULK);
	q.body_file = NULL;
	q.body_fn = write_bulk;
	q.body_arg = data;
	post(client, q, BULK);
	q.body_length = BULK;
	post(client, q, BULK);
	q.body_fn = NULL;
	q.body_length = 0;
	check_eq(torc_gen_create(yield_bulk, data, NULL, &gen), 0);
	q.body_gen = gen;
	post(client, q, BULK);
	torc_gen_destroy(gen);
	q.body_gen = NULL;
	post_stream(client, q, data);
	torc_http_client_close(client);
	unlink(file);
	free(data);
}

static void post_everything(struct world *w)
{
	post_all(w, "/check");
	post_all(w, "/echo");
}

Test(client, bodies_from_everywhere_while_the_answer_comes)
{
	struct world w = { .options.body_bytes = 4 * BULK };

	run_world_with(&w, take_or_echo, post_everything);
	check_eq(w.calls, 16);
}

/* --- leave to send a body --- */

static void answer_expecting(struct peer *p, struct torc_stream *s, int number)
{
	while (hear_head(p, s)) {
		check(heard(p, "\r\nExpect: 100-continue\r\n"));
		if (heard(p, "POST /silent"))
			check(take_body(s, 5)); /* without leave: it comes after a while */
		else if (heard(p, "POST /no"))
			return tell(s,
				    "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno"),
			       hear_out(s);
		else {
			tell(s, "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
			check(take_body(s, 5));
		}
		tell(s, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes");
	}
	(void)number;
}

static void post_expecting(struct peer *p, struct torc_http_client *client)
{
	static const char *const paths[] = { "/yes", "/silent", "/no", "/yes" };
	struct torc_http_request q = { .body = "12345", .body_len = 5, .expect_continue = true };
	struct torc_http_response *res;

	for (size_t i = 0; i < COUNT(paths); i++) {
		bool no = !strcmp(paths[i], "/no");

		q.url = url_of(p, paths[i]);
		check_eq(torc_http_request(client, &q, &res), 0);
		expect_body(res, no ? 413 : 200, no ? "no" : "yes");
		torc_http_response_close(res);
		check_eq(stats_of(client).connections, no ? 0 : 1);
	}
	check_eq(p->connections, 2);
}

Test(client, a_body_waits_for_leave_but_not_for_ever)
{
	struct peer p = { .options.continue_ns = TORC_MS(50) };

	run_peer_with(&p, answer_expecting, post_expecting);
}

static void answer_early(struct peer *p, struct torc_stream *s, int number)
{
	(void)number;
	check(hear_head(p, s));
	tell(s, "HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nstop");
	hear_out(s);
}

static int write_for_ever(struct torc_http_upload *u, void *arg)
{
	static const char zeros[5000];
	int r = 0;

	while (!r)
		r = torc_http_upload_write(u, zeros, sizeof(zeros));
	*(int *)arg = r;
	return r;
}

static void post_unwanted(struct peer *p, struct torc_http_client *client)
{
	struct torc_http_response *res;
	int result = 0;
	struct torc_http_request q = { .url = url_of(p, "/"),
				       .body_fn = write_for_ever,
				       .body_arg = &result };

	check_eq(torc_http_request(client, &q, &res), 0);
	expect_body(res, 403, "stop");
	check_lt(result, 0);
	torc_http_response_close(res);
	check_eq(stats_of(client).connections, 0);
}

Test(client, an_early_no_stops_the_body)
{
	run_peer(answer_early, post_unwanted);
}

static int fail_upload(struct torc_http_upload *u, void *arg)
{
	(void)u, (void)arg;
	return -EXDEV;
}

static void post_failing(struct peer *p, struct torc_http_client *client)
{
	struct torc_http_response *res;
	char why[TORC_HTTP_WHY_MAX] = "";
	struct torc_http_request q = { .url = url_of(p, "/x"),
				       .body_fn = fail_upload,
				       .ret_why = why };

	check_eq(torc_http_request(client, &q, &res), -EXDEV);
	check(strstr(why, "/x"));
	q.body_fn = write_bulk;
	q.body_arg = calloc(1, BULK);
	q.body_length = 3;
	check_eq(torc_http_request(client, &q, &res), -EMSGSIZE);
	free(q.body_arg);
	q.body_fn = NULL;
	q.body_file = "/nowhere";
	check_eq(torc_http_request(client, &q, &res), -ENOENT);
	q.body_file = "/";
	check_eq(torc_http_request(client, &q, &res), -EISDIR);
	check_eq(stats_of(client).connections, 0);
}

static void hear_only(struct peer *p, struct torc_stream *s, int number)
{
	(void)number;
	if (hear_head(p, s))
		hear_out(s);
}

Test(client, a_body_that_fails_fails_the_request)
{
	run_peer(hear_only, post_failing);
}

/* --- connections that were kept too long --- */

static void answer_once_and_close(struct peer *p, struct torc_stream *s, int number)
{
	(void)number;
	if (!hear_head(p, s))
		return;
	tell(s, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
	/* The second request is heard, and not answered. */
	if (hear_head(p, s))
		take_body(s, heard(p, "POST") ? 1 : 0);
}

static void ask_stale(struct peer *p, struct torc_http_client *client)
{
	struct torc_http_response *res;

	get_and_expect(client, url_of(p, "/"), 200, "hello");
	get_and_expect(client, url_of(p, "/"), 200, "hello");
	check_eq(p->connections, 2);
	check_eq(p->requests, 3);
	check_eq(stats_of(client).retries, 1);
	check_eq(torc_http_post(client, url_of(p, "/"), NULL, "x", 1, &res), -EPIPE);
	check_eq(stats_of(client).retries, 1);
	check_eq(p->connections, 2);
	get_and_expect(client, url_of(p, "/"), 200, "hello");
}

Test(client, only_what_is_idempotent_is_asked_again)
{
	run_peer(answer_once_and_close, ask_stale);
}

/* --- redirects --- */

static void redirect(struct peer *p, struct torc_stream *s, int number)
{
	char text[512];

	(void)number;
	while (hear_head(p, s)) {
		unsigned status = 0;

		if (heard(p, "Content-Length: 4"))
			check(take_body(s, 4));
		if (sscanf(p->head, "%*s /%u", &status) == 1 && status)
			snprintf(
				text, sizeof(text),
				"HTTP/1.1 %u There\r\nLocation: ../b/./end?x=1\r\nContent-Length: 3\r\n\r\nsee",
				status);
		else if (heard(p, " /ring"))
			snprintf(
				text, sizeof(text),
				"HTTP/1.1 302 There\r\nLocation: /ring\r\nContent-Length: 0\r\n\r\n");
		else if (heard(p, " /away"))
			snprintf(
				text, sizeof(text),
				"HTTP/1.1 307 There\r\nLocation: http://localhost%s/end\r\nContent-Length: 0\r\n\r\n",
				strrchr(p->url, ':'));
		else if (heard(p, " /ftp"))
			snprintf(
				text, sizeof(text),
				"HTTP/1.1 307 There\r\nLocation: ftp://localhost/end\r\nContent-Length: 0\r\n\r\n");
		else
			snprintf(text, sizeof(text),
				 "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nend");
		tell(s, text);
	}
}

static void follow_one(struct peer *p, struct torc_http_client *client, const char *method,
		       int status, const char *then)
{
	struct torc_http_response *res;
	char path[16], line[64];
	struct torc_http_request q = { .method = method };

	snprintf(path, sizeof(path), "/%d", status);
	q.url = url_of(p, path);
	if (strcmp(method, "GET") && strcmp(method, "HEAD")) {
		q.body = "body";
		q.body_len = 4;
	}
	check_eq(torc_http_request(client, &q, &res), 0);
	check_eq(torc_http_response_status(res), 200);
	check_eq(torc_http_response_redirects(res), 1);
	check(strstr(torc_http_response_url(res), "/b/end?x=1"));
	snprintf(line, sizeof(line), "%s /b/end?x=1 HTTP/1.1\r\n", then);
	check(!strncmp(p->head, line, strlen(line)));
	check_eq(heard(p, "Content-Length: 4"), !strcmp(then, "POST") || !strcmp(then, "PUT"));
	torc_http_response_close(res);
}

static void follow_all(struct peer *p, struct torc_http_client *client)
{
	static const struct torc_http_pair secrets[] = { { "Authorization", "Bearer x" },
							 { "Cookie", "a=b" },
							 { "X-Other", "1" } };
	struct torc_http_request q = { .fields = secrets, .field_count = 3 };
	struct torc_http_response *res;

	follow_one(p, client, "GET", 301, "GET");
	follow_one(p, client, "POST", 301, "GET");
	follow_one(p, client, "PUT", 301, "PUT");
	follow_one(p, client, "POST", 302, "GET");
	follow_one(p, client, "PUT", 303, "GET");
	follow_one(p, client, "POST", 307, "POST");
	follow_one(p, client, "PUT", 308, "PUT");
	check_eq(torc_http_get(client, url_of(p, "/ring"), &res), -ELOOP);
	check_eq(torc_http_get(client, url_of(p, "/ftp"), &res), -EPROTONOSUPPORT);
	q.url = url_of(p, "/away");
	check_eq(torc_http_request(client, &q, &res), 0);
	expect_body(res, 200, "end");
	check(heard(p, "X-Other: 1") && !heard(p, "Bearer") && !heard(p, "a=b"));
	torc_http_response_close(res);
	q.url = url_of(p, "/301");
	check_eq(torc_http_request(client, &q, &res), 0);
	check(heard(p, "Bearer x") && heard(p, "a=b"));
	torc_http_response_close(res);
	q.no_redirects = true;
	check_eq(torc_http_request(client, &q, &res), 0);
	expect_body(res, 301, "see");
	torc_http_response_close(res);
}

Test(client, redirects_are_followed_by_the_rules)
{
	run_peer(redirect, follow_all);
}

/* --- bodies of responses --- */

static void answer_bodies(struct peer *p, struct torc_stream *s, int number)
{
	(void)number;
	while (hear_head(p, s)) {
		if (heard(p, " /chunks"))
			tell(s,
			     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-Sum: 5\r\nX-More: 6\r\n\r\n");
		else if (heard(p, " /none"))
			tell(s, "HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n");
		else if (heard(p, "HEAD "))
			tell(s, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
		else if (heard(p, " /hints"))
			tell(s,
			     "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: b\r\n\r\nHTTP/1.1 200\r\nContent-Length: 0\r\n\r\n");
		else {
			tell(s, "HTTP/1.1 200 OK\r\n\r\nuntil the end");
			return;
		}
	}
}

static void note_hint(const struct torc_http_response *res, void *arg)
{
	struct torc_slice link;
	char *seen = arg;

	check_eq(torc_http_response_status(res), 103);
	check(torc_http_response_field(res, "Link", &link));
	strncat(seen, link.data, link.len);
}

static void read_bodies(struct peer *p, struct torc_http_client *client)
{
	struct torc_http_response *res;
	struct torc_slice value, body;
	char seen[16] = "", path[] = "/tmp/torc-save-XXXXXX";
	uint64_t bytes;

	check_eq(torc_http_get(client, url_of(p, "/chunks"), &res), 0);
	check_eq(torc_http_response_length(res), TORC_NEVER);
	check(!torc_http_response_trailer(res, "x-sum", &value));
	expect_body(res, 200, "abcde");
	check(torc_http_response_trailer(res, "x-sum", &value) && same_text(value, "5"));
	check(torc_http_response_trailer(res, "X-More", &value) && same_text(value, "6"));
	expect_body(res, 200, "abcde"); /* again: the same */
	torc_http_response_close(res);
	get_and_expect(client, url_of(p, "/none"), 204, "");
	check_eq(torc_http_request(client,
				   &(struct torc_http_request){ .method = "HEAD",
								.url = url_of(p, "/") },
				   &res),
		 0);
	check_eq(torc_http_response_length(res), 1000);
	expect_body(res, 200, "");
	torc_http_response_close(res);
	check_eq(torc_http_request(client,
				   &(struct torc_http_request){ .url = url_of(p, "/hints"),
								.on_interim = note_hint,
								.on_interim_arg = seen },
				   &res),
		 0);
	check(!strcmp(seen, "ab"));
	torc_http_response_close(res);
	check_eq(stats_of(client).connects, 1);
	check_eq(torc_http_get(client, url_of(p, "/"), &res), 0);
	check_eq(torc_http_response_read(res, 5, &body), -EMSGSIZE);
	check_eq(torc_http_response_peek(res, &body), -EMSGSIZE);
	torc_http_response_close(res);
	close(mkstemp(path));
	check_eq(torc_http_get(client, url_of(p, "/chunks"), &res), 0);
	check_eq(torc_http_response_save(res, AT_FDCWD, path, 0600, 100, &bytes), -EEXIST);
	unlink(path);
	check_eq(torc_http_response_save(res, AT_FDCWD, path, 0600, 4, &bytes), -EMSGSIZE);
	check_lt(access(path, F_OK), 0);
	torc_http_response_close(res);
	check_eq(torc_http_get(client, url_of(p, "/chunks"), &res), 0);
	check_eq(torc_http_response_save(res, AT_FDCWD, path, 0600, 5, &bytes), 0);
	check_eq(bytes, 5);
	unlink(path);
	torc_http_response_close(res);
	get_and_expect(client, url_of(p, "/"), 200, "until the end");
	check_eq(stats_of(client).idle, 0);
}

Test(client, bodies_in_each_framing)
{
	run_peer(answer_bodies, read_bodies);
}

static void ask_alone(struct peer *p, struct torc_http_client *client)
{
	struct torc_http_response *res, *other;

	setenv("no_proxy", "*", 1);
	check_eq(torc_http_get(NULL, url_of(p, "/"), &res), 0);
	check_eq(torc_http_get(NULL, url_of(p, "/"), &other), 0);
	expect_body(other, 200, "hello");
	torc_http_response_close(other);
	expect_body(res, 200, "hello");
	torc_http_response_close(res);
	check_eq(stats_of(client).requests, 0);
	check_eq(torc_http_get(NULL, "http://127.0.0.1:1/", &res), -ECONNREFUSED);
}

Test(client, without_a_client_a_request_has_its_own)
{
	run_peer(answer_hello, ask_alone);
}
