/*
 * Servers that mean no good: what a client makes of them, within which limits, and that its connections are sound afterwards.
 */
#include "tests/http/client.h"

#include <zlib.h>

TestSuite(client_hostile, .timeout = 60);

/* Small, so that it does not take long to go beyond. */
static const struct torc_http_client_options small = {
	.head_bytes = 4096,
	.fields = 20,
	.interim_max = 5,
	.redirects_max = 4,
	.head_ns = TORC_MS(2000),
	.body_ns = TORC_MS(2000),
};

#define OK	"HTTP/1.1 200 OK\r\n"
#define LEN(n)	OK "Content-Length: " #n "\r\n\r\n"
#define CHUNKED OK "Transfer-Encoding: chunked\r\n\r\n"

/* --- answers, each by itself --- */

enum {
	OPEN = 1, /* the server does not close the connection */
	KEPT = 2, /* and neither does the client */
	HEAD = 4, /* it is asked with HEAD */
	MORE = 8, /* than an answer */
};

struct evil {
	const char *text;  /* what it says */
	const char *again; /* and then for ever; NULL: nothing */
	int request, read; /* results */
	const char *body;
	int flags;
	size_t len; /* of the text; 0: up to its NUL */
};

#define FAILS(text, error)	{ text, NULL, error, 0, NULL, 0, 0 }
#define ENDLESS(text, again, e) { text, again, e, 0, NULL, 0, 0 }
#define BREAKS(text, error)	{ text, NULL, 0, error, NULL, 0, 0 }
#define SAYS(text, body, flags) { text, NULL, 0, 0, body, flags, 0 }

static const struct evil evils[] = {
	/* no end */
	ENDLESS(OK "X: ", "aaaaaaaaaaaaaaaa", -EMSGSIZE),
	ENDLESS(OK, "X: y\r\n", -EMSGSIZE),
	ENDLESS("HTTP/1.1 200 ", "OK ", -EMSGSIZE),
	ENDLESS("", "aaaaaaaaaaaaaaaaaaaaaa", -EBADMSG),
	ENDLESS("", "HTTP/1.1 100 Continue\r\n\r\n", -EMSGSIZE),
	ENDLESS("", "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n", -EMSGSIZE),
	/* status lines */
	FAILS("", -EPIPE),
	FAILS("HTTP/1.1 20 OK\r\n\r\n", -EBADMSG),
	FAILS("HTTP/1.1 2000 OK\r\n\r\n", -EBADMSG),
	FAILS("HTTP/1.1 099 OK\r\n\r\n", -EBADMSG),
	FAILS("HTTP/1.1 600 OK\r\n\r\n", -EBADMSG),
	FAILS("HTTP/1.1 -20 OK\r\n\r\n", -EBADMSG),
	FAILS("HTTP/1.1 2x0 OK\r\n\r\n", -EBADMSG),
	FAILS("HTTP/1.1  200 OK\r\n\r\n", -EBADMSG),
	FAILS("HTTP/1.1 200\tOK\r\n\r\n", -EBADMSG),
	FAILS("HTTP/1.1200 OK\r\n\r\n", -EBADMSG),
	FAILS("http/1.1 200 OK\r\n\r\n", -EBADMSG),
	FAILS(" HTTP/1.1 200 OK\r\n\r\n", -EBADMSG),
	FAILS("\r\nHTTP/1.1 200 OK\r\n\r\n", -EBADMSG),
	FAILS("HTTP/1.1 200 O\x01K\r\n\r\n", -EBADMSG),
	FAILS("HTTP/2 200 OK\r\n\r\n", -EPROTONOSUPPORT),
	FAILS("HTTP/2.0 200 OK\r\n\r\n", -EPROTONOSUPPORT),
	FAILS("HTTP/1.2 200 OK\r\n\r\n", -EPROTONOSUPPORT),
	FAILS("HTTP/0.9 200 OK\r\n\r\n", -EPROTONOSUPPORT),
	FAILS("HTTP/1.10 200 OK\r\n\r\n", -EBADMSG),
	FAILS("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", -EBADMSG),
	FAILS("<html>an answer of 1991</html>\n", -EBADMSG),
	FAILS("SSH-2.0-x\r\n", -EBADMSG),
	/* lines and fields */
	FAILS("HTTP/1.1 200 OK\nContent-Length: 0\n\n", -EBADMSG),
	FAILS("HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n", -EBADMSG),
	FAILS("HTTP/1.1 200 OK\rContent-Length: 0\r\n\r\n", -EBADMSG),
	FAILS("HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n", -EBADMSG),
	FAILS("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", -EBADMSG),
	FAILS("HTTP/1.1 200 OK\r\n X: a\r\n\r\n", -EBADMSG),
	FAILS("HTTP/1.1 200 OK\r\nX : a\r\n\r\n", -EBADMSG),
	FAILS("HTTP/1.1 200 OK\r\n: a\r\n\r\n", -EBADMSG),
	FAILS("HTTP/1.1 200 OK\r\nX\r\n\r\n", -EBADMSG),
	FAILS("HTTP/1.1 200 OK\r\nX Y: a\r\n\r\n", -EBADMSG),
	FAILS("HTTP/1.1 200 OK\r\nX: \x7f\r\n\r\n", -EBADMSG),
	{ OK "X: a\0b\r\n\r\n", NULL, -EBADMSG, 0, NULL, 0, sizeof(OK) + 9 },
	FAILS("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
	      -EPROTO),
	FAILS("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 1 x\r\n\r\n", -EBADMSG),
	FAILS("HTTP/1.1 100 Continue\r\n\r\n", -EPIPE),
	/* two lengths */
	FAILS(OK "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", -EBADMSG),
	FAILS(OK "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", -EBADMSG),
	FAILS(OK "Content-Length: 5, 5\r\n\r\nhello", -EBADMSG),
	FAILS(OK "Content-Length: +5\r\n\r\nhello", -EBADMSG),
	FAILS(OK "Content-Length: -5\r\n\r\nhello", -EBADMSG),
	FAILS(OK "Content-Length: 0x5\r\n\r\nhello", -EBADMSG),
	FAILS(OK "Content-Length: 5 5\r\n\r\nhello", -EBADMSG),
	FAILS(OK "Content-Length:\r\n\r\nhello", -EBADMSG),
	FAILS(OK "Content-Length: 18446744073709551615\r\n\r\n", -EBADMSG),
	FAILS(OK "Content-Length: 18446744073709551616\r\n\r\n", -EBADMSG),
	FAILS(OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", -EBADMSG),
	FAILS("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", -EBADMSG),
	FAILS(OK "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", -EBADMSG),
	FAILS(OK "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", -EBADMSG),
	FAILS(OK "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", -EBADMSG),
	FAILS(OK "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", -EBADMSG),
	FAILS(OK "Transfer-Encoding:\r\n\r\n", -EBADMSG),
	/* chunks */
	BREAKS(CHUNKED "x\r\n", -EBADMSG),
	BREAKS(CHUNKED "\r\n", -EBADMSG),
	BREAKS(CHUNKED "5\nhello\r\n0\r\n\r\n", -EBADMSG),
	BREAKS(CHUNKED " 5\r\nhello\r\n0\r\n\r\n", -EBADMSG),
	BREAKS(CHUNKED "0x5\r\nhello\r\n0\r\n\r\n", -EBADMSG),
	BREAKS(CHUNKED "-5\r\nhello\r\n0\r\n\r\n", -EBADMSG),
	BREAKS(CHUNKED "5\r\nhello!\r\n0\r\n\r\n", -EBADMSG),
	BREAKS(CHUNKED "5\r\nhello\n0\r\n\r\n", -EBADMSG),
	BREAKS(CHUNKED "5\r\nhello\r0\r\n\r\n", -EBADMSG),
	BREAKS(CHUNKED "ffffffffffffffffffff\r\n", -EBADMSG),
	BREAKS(CHUNKED "10000000000000005\r\nhello\r\n0\r\n\r\n", -EBADMSG),
	BREAKS(CHUNKED "5;x=\x01\r\nhello\r\n0\r\n\r\n", -EBADMSG),
	BREAKS(CHUNKED "5;x=\ny\r\nhello\r\n0\r\n\r\n", -EBADMSG),
	BREAKS(CHUNKED "0\r\nContent-Length: 5\r\n\r\n", -EBADMSG),
	BREAKS(CHUNKED "0\r\nTransfer-Encoding: chunked\r\n\r\n", -EBADMSG),
	BREAKS(CHUNKED "0\r\nX : y\r\n\r\n", -EBADMSG),
	BREAKS(CHUNKED "0\r\n X: y\r\n\r\n", -EBADMSG),
	BREAKS(CHUNKED "0\r\nX: y\n\r\n", -EBADMSG),
	{ CHUNKED "5;", "x=yyyyyyyyyyyyyyyyyy;", 0, -EBADMSG, NULL, 0, 0 },
	{ CHUNKED, "1;x=yyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\na\r\n", 0, -EBADMSG, NULL, 0, 0 },
	{ CHUNKED "0\r\n", "X: y\r\n", 0, -EMSGSIZE, NULL, 0, 0 },
	{ CHUNKED "0\r\nX: ", "yyyyyyyyyyyyyyyyyyyyy", 0, -EMSGSIZE, NULL, 0, 0 },
	{ CHUNKED, "00000000000000000000", 0, -EBADMSG, NULL, 0, 0 },
	{ OK "\r\n", "a body without an end ", 0, -EMSGSIZE, NULL, 0, 0 },
	{ CHUNKED, "10\r\n0123456789abcdef\r\n", 0, -EMSGSIZE, NULL, 0, 0 },
	/* ends too soon */
	BREAKS(LEN(10) "hello", -EPIPE),
	BREAKS(LEN(999999999999999999) "hello", -EMSGSIZE),
	BREAKS(CHUNKED "5\r\nhello\r\n", -EPIPE),
	BREAKS(CHUNKED "5\r\nhello\r\n0\r\n", -EPIPE),
	BREAKS(CHUNKED "5\r\nhello\r\n0\r\nX: y\r\n", -EPIPE),
	BREAKS(CHUNKED "7fffffffffffffff\r\nhello", -EPIPE),
	/* more than there may be: the answer counts, the connection does not */
	SAYS(LEN(5) "helloMORE", "hello", OPEN | MORE),
	SAYS(LEN(5) "hello\r\n", "hello", OPEN | MORE),
	SAYS(LEN(5) "hello" LEN(3) "bad", "hello", OPEN | MORE),
	SAYS(CHUNKED "5\r\nhello\r\n0\r\n\r\n" LEN(3) "bad", "hello", OPEN | MORE),
	SAYS("HTTP/1.1 204 No Content\r\n\r\nbody", "", OPEN | MORE),
	SAYS("HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nbody", "", OPEN | MORE),
	SAYS(LEN(4) "body", "", OPEN | MORE | HEAD),
	SAYS("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", "hello", OPEN),
	SAYS("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", OPEN),
	/* unusual, and right */
	SAYS("HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\n", "", OPEN | KEPT),
	SAYS("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", "", OPEN | KEPT),
	SAYS(OK "Transfer-Encoding: chunked\r\n\r\n", "", OPEN | KEPT | HEAD),
	SAYS(OK "\r\n", "", OPEN | KEPT | HEAD),
	SAYS("HTTP/1.1 200\r\ncontent-length:5\r\n\r\nhello", "hello", OPEN | KEPT),
	SAYS("HTTP/1.1 200 \r\nContent-Length: \t 5 \t\r\n\r\nhello", "hello", OPEN | KEPT),
	SAYS("HTTP/1.1 200 caf\xe9\r\nX: \xff\r\nContent-Length: 5\r\n\r\nhello", "hello", OPEN | KEPT),
	SAYS("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", "hello",
	     OPEN | KEPT),
	SAYS(CHUNKED "0005;a;b=\"c;d\\\"\";e=f\r\nhello\r\n000\r\nX-Sum: 1\r\n\r\n", "hello",
	     OPEN | KEPT),
	SAYS("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 199 x\r\nContent-Length: 7\r\n\r\n" LEN(5) "hello",
	     "hello", OPEN | KEPT),
	SAYS("HTTP/1.1 301 Moved\r\nContent-Length: 5\r\n\r\nhello", "hello", OPEN | KEPT),
	SAYS("HTTP/1.1 401 Who\r\nContent-Length: 5\r\n\r\nhello", "hello", OPEN | KEPT),
	SAYS("HTTP/1.1 599 x\r\n\r\nhello", "hello", 0),
	SAYS("HTTP/1.0 200 OK\r\n\r\nhello", "hello", 0),
};

/* Byte by byte, each in a segment of its own. */
static bool dribbles;

static void say_bytes(struct torc_stream *s, const char *text, size_t len)
{
	size_t step = dribbles ? 1 : len;

	for (size_t at = 0; at < len; at += step)
		if (torc_stream_write(s, text + at, step) || torc_stream_flush(s))
			return;
}

static void say_for_ever(struct torc_stream *s, const char *text)
{
	char many[8192];
	size_t len = 0, one = strlen(text);

	for (; len + one <= sizeof(many); len += one)
		memcpy(many + len, text, one);
	while (!torc_stream_write(s, many, len))
		continue;
}

static void answer_evil(struct peer *p, struct torc_stream *s, int number)
{
	(void)number;
	while (hear_head(p, s)) {
		const struct evil *e = &evils[0];
		unsigned n;

		if (sscanf(p->head, "%*s /%u", &n) != 1) {
			tell(s, LEN(5) "hello");
			continue;
		}
		e += n;
		say_bytes(s, e->text, e->len ? e->len : strlen(e->text));
		if (e->again)
			say_for_ever(s, e->again);
		if (!(e->flags & OPEN))
			return;
	}
}

/* As a test's failure has no line of the table. */
static void expect_result(unsigned n, const char *what, int is, int expected)
{
	if (is != expected)
		fprintf(stderr, "answer %u (%.60s): %s: %d, not %d\n", n, evils[n].text, what, is,
			expected);
	check_eq(is, expected);
}

static void ask_evil(struct peer *p, struct torc_http_client *client, unsigned n)
{
	const struct evil *e = &evils[n];
	char path[16];
	struct torc_http_request q = { .method = e->flags & HEAD ? "HEAD" : "GET" };
	struct torc_http_response *res = NULL;
	struct torc_slice body;
	int r;

	snprintf(path, sizeof(path), "/%u", n);
	q.url = url_of(p, path);
	r = torc_http_request(client, &q, &res);
	expect_result(n, "asked", r, e->request);
	if (r < 0) {
		check(!res);
		return;
	}
	expect_result(n, "read", torc_http_response_read(res, 1 << 20, &body), e->read);
	if (!e->read)
		check(same_text(body, e->body));
	else
		check_eq(torc_http_response_peek(res, &body), e->read);
	torc_http_response_close(res);
}

/* No connection is left but one that may be; and the client is none the worse for it. */
static void expect_sound(struct peer *p, struct torc_http_client *client, unsigned kept)
{
	struct torc_http_client_stats stats = stats_of(client);

	check_eq(stats.connections, kept);
	check_eq(stats.idle, kept);
	check_eq(stats.waiting, 0);
	get_and_expect(client, url_of(p, "/good"), 200, "hello");
	check_eq(stats_of(client).idle, 1);
}

static void ask_all_evils(struct peer *p, struct torc_http_client *client)
{
	for (unsigned n = 0; n < COUNT(evils); n++) {
		/* What comes once the answer was read is another story. */
		if (dribbles && (evils[n].again || evils[n].flags & MORE))
			continue;
		ask_evil(p, client, n);
		expect_sound(p, client, !!(evils[n].flags & KEPT));
	}
}

Test(client_hostile, each_answer_has_its_verdict_and_harms_no_other)
{
	struct peer p = { .options = small };

	run_peer_with(&p, answer_evil, ask_all_evils);
}

Test(client_hostile, the_verdict_is_the_same_byte_by_byte)
{
	struct peer p = { .options = small };

	dribbles = true;
	run_peer_with(&p, answer_evil, ask_all_evils);
}

/* --- bytes that nobody has asked for --- */

static const char *const unasked[] = {
	"x", "\r\n", LEN(3) "bad", "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n",
};

static void answer_and_go_on(struct peer *p, struct torc_stream *s, int number)
{
	bool *now = p->arg;

	if (!hear_head(p, s))
		return;
	tell(s, LEN(5) "hello");
	check_eq(torc_stream_flush(s), 0);
	if (number % 2 == 0) {
		while (!*now)
			check_eq(torc_yield(), 0);
		*now = false;
		tell(s, unasked[number / 2 % COUNT(unasked)]);
	}
	hear_out(s);
}

static void await_end_of_idle(struct torc_http_client *client)
{
	while (stats_of(client).connections)
		check_eq(torc_yield(), 0);
}

static void idle_unasked(struct peer *p, struct torc_http_client *client)
{
	bool *now = p->arg;

	for (unsigned i = 0; i < COUNT(unasked); i++) {
		get_and_expect(client, url_of(p, "/"), 200, "hello");
		check_eq(stats_of(client).idle, 1);
		*now = true;
		await_end_of_idle(client);
		check_eq(stats_of(client).dropped, 2 * i + 1);
		/* The connection after it is a new one; and is dropped by its next user, who finds it closed. */
		get_and_expect(client, url_of(p, "/"), 200, "hello");
		check_eq(p->connections, 2 * (int)i + 2);
		*now = true;
		torc_http_client_close(client);
		check_eq(torc_http_client_open(&p->options, &client), 0);
	}
}
