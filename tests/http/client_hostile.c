/*
 * Servers that mean no good: what a client makes of them, within which limits, and that its connections are sound afterwards.
 */
#include "tests/http/client.h"

#include <zlib.h>

#include "http/internal/coding.h"
#include "io/internal/stream.h"

TestSuite(client_hostile, .timeout = 30);

/* Small, so that it does not take long to go beyond. */
static const struct torc_http_client_options small = {
	.head_bytes = 4096,
	.fields = 20,
	.interim_max = 5,
	.redirects_max = 4,
	.head_ns = TORC_MS(2000),
	.body_ns = TORC_MS(2000),
};

#define OK      "HTTP/1.1 200 OK\r\n"
#define LEN(n)  OK "Content-Length: " #n "\r\n\r\n"
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

#define FAILS(text, error)                       \
	{                                        \
		text, NULL, error, 0, NULL, 0, 0 \
	}
#define ENDLESS(text, again, e)               \
	{                                     \
		text, again, e, 0, NULL, 0, 0 \
	}
#define BREAKS(text, error)                      \
	{                                        \
		text, NULL, 0, error, NULL, 0, 0 \
	}
#define SAYS(text, body, flags)                  \
	{                                        \
		text, NULL, 0, 0, body, flags, 0 \
	}

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
	FAILS("HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nhello", -EBADMSG),
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
	SAYS("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", "hello",
	     OPEN),
	SAYS("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", OPEN),
	/* unusual, and right */
	SAYS("HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\n", "", OPEN | KEPT),
	SAYS("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", "", OPEN | KEPT),
	SAYS(OK "Transfer-Encoding: chunked\r\n\r\n", "", OPEN | KEPT | HEAD),
	SAYS(OK "\r\n", "", OPEN | KEPT | HEAD),
	SAYS("HTTP/1.1 200\r\ncontent-length:5\r\n\r\nhello", "hello", OPEN | KEPT),
	SAYS("HTTP/1.1 200 \r\nContent-Length: \t 5 \t\r\n\r\nhello", "hello", OPEN | KEPT),
	SAYS("HTTP/1.1 200 caf\xe9\r\nX: \xff\r\nContent-Length: 5\r\n\r\nhello", "hello",
	     OPEN | KEPT),
	SAYS("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", "hello",
	     OPEN | KEPT),
	SAYS(CHUNKED "0005;a;b=\"c;d\\\"\";e=f\r\nhello\r\n000\r\nX-Sum: 1\r\n\r\n", "hello",
	     OPEN | KEPT),
	SAYS("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 199 x\r\nContent-Length: 7\r\n\r\n" LEN(
		     5) "hello",
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
	"x", "\r\n", LEN(3) "bad", "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", "",
};

static void answer_and_go_on(struct peer *p, struct torc_stream *s, int number)
{
	bool *now = p->arg;

	if (!hear_head(p, s))
		return;
	tell(s, LEN(5) "hello");
	while (!*now)
		check_eq(torc_yield(), 0);
	*now = false;
	if (!*unasked[number])
		return;
	tell(s, unasked[number]);
	hear_out(s);
}

static void idle_unasked(struct peer *p, struct torc_http_client *client)
{
	bool *now = p->arg;

	for (unsigned i = 0; i < COUNT(unasked); i++) {
		get_and_expect(client, url_of(p, "/"), 200, "hello");
		check_eq(stats_of(client).idle, 1);
		*now = true;
		while (stats_of(client).connections) /* its keeper is told */
			check_eq(torc_yield(), 0);
		check_eq(stats_of(client).dropped, i + 1);
		check_eq(stats_of(client).connects, i + 1);
	}
}

Test(client_hostile, what_comes_while_nobody_asks_ends_the_connection)
{
	bool now = false;
	struct peer p = { .arg = &now };

	run_peer_with(&p, answer_and_go_on, idle_unasked);
}

/* In the very turn in which they come, before the keeper knows. */
static void use_unasked(struct peer *p, struct torc_http_client *client)
{
	struct torc_http_response *res;
	const struct torc_stream *s;
	bool *now = p->arg;

	for (unsigned i = 0; i < COUNT(unasked); i++) {
		check_eq(torc_http_get(client, url_of(p, "/"), &res), 0);
		check_eq(stats_of(client).connects, i + 1);
		s = torc_http_response_stream(res);
		expect_body(res, 200, "hello");
		torc_http_response_close(res);
		*now = true;
		while (torc__stream_is_quiet(s))
			check_eq(torc_yield(), 0);
		check_eq(stats_of(client).dropped, i);
	}
}

Test(client_hostile, nor_is_such_a_connection_given_out_before_it_has_been_closed)
{
	bool now = false;
	struct peer p = { .arg = &now };

	run_peer_with(&p, answer_and_go_on, use_unasked);
}

/* As a server does that has no place left. */
static void answer_unheard(struct peer *p, struct torc_stream *s, int number)
{
	(void)p, (void)number;
	tell(s, "HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbusy");
	check_eq(torc_stream_flush(s), 0);
	hear_out(s);
}

static void ask_the_busy(struct peer *p, struct torc_http_client *client)
{
	get_and_expect(client, url_of(p, "/"), 503, "busy");
	check_eq(stats_of(client).connections, 0);
}

Test(client_hostile, a_new_connection_may_begin_with_the_answer)
{
	run_peer(answer_unheard, ask_the_busy);
}

/* --- ends in the middle --- */

static char zipped[4096];
static size_t zipped_len;

/* "hello", 100 times; bits: as deflateInit2. */
static size_t zip(char *to, size_t size, int bits, size_t times)
{
	static const char word[] = "hello";
	z_stream z = { .next_out = (Bytef *)to, .avail_out = (uInt)size };

	check_eq(deflateInit2(&z, 9, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
	for (; times; times--) {
		z.next_in = (Bytef *)(uintptr_t)word;
		z.avail_in = 5;
		check_eq(deflate(&z, times == 1 ? Z_FINISH : Z_NO_FLUSH),
			 times == 1 ? Z_STREAM_END : Z_OK);
	}
	check_eq(deflateEnd(&z), Z_OK);
	return size - z.avail_out;
}

enum { BY_LENGTH, BY_CHUNKS, BY_CLOSE, ZIP_BY_LENGTH, ZIP_BY_CLOSE, ZIP_BY_CHUNKS, KINDS };

/* An answer of some kind. Returns its length. */
static size_t whole_answer(char *to, size_t size, int kind)
{
	size_t len;

	if (kind == BY_LENGTH)
		return (size_t)snprintf(to, size, LEN(5) "hello");
	if (kind == BY_CHUNKS)
		return (size_t)snprintf(
			to, size,
			CHUNKED "2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nX-A: b\r\nX-Sum: five\r\n\r\n");
	if (kind == BY_CLOSE)
		return (size_t)snprintf(to, size, OK "\r\nhello");
	len = (size_t)snprintf(to, size, OK "Content-Encoding: gzip\r\n");
	if (kind == ZIP_BY_LENGTH)
		len += (size_t)snprintf(to + len, size - len, "Content-Length: %zu\r\n\r\n",
					zipped_len);
	else if (kind == ZIP_BY_CLOSE)
		len += (size_t)snprintf(to + len, size - len, "\r\n");
	else
		len += (size_t)snprintf(to + len, size - len,
					"Transfer-Encoding: chunked\r\n\r\n%zx\r\n", zipped_len);
	memcpy(to + len, zipped, zipped_len);
	len += zipped_len;
	if (kind == ZIP_BY_CHUNKS)
		len += (size_t)snprintf(to + len, size - len, "\r\n0\r\n\r\n");
	return len;
}

/* "/KIND/N": the first N bytes, and then the rest, or the end. */
static void answer_cut(struct peer *p, struct torc_stream *s, int number)
{
	char text[4096];
	unsigned kind, n;

	(void)number;
	while (hear_head(p, s)) {
		bool ends = heard(p, "/end ");
		size_t len;

		check_eq(sscanf(p->head, "GET /%u/%u", &kind, &n), 2);
		len = whole_answer(text, sizeof(text), (int)kind);
		check(!torc_stream_write(s, text, n) && !torc_stream_flush(s));
		if (ends)
			return;
		check_eq(torc_yield(), 0);
		check_eq(torc_stream_write(s, text + n, len - n), 0);
		if (kind == BY_CLOSE || kind == ZIP_BY_CLOSE)
			return;
	}
}

static int read_cut(struct peer *p, struct torc_http_client *client, int kind, size_t n, bool ends,
		    struct torc_http_response **ret)
{
	char path[32];
	struct torc_slice body;
	int r;

	snprintf(path, sizeof(path), "/%d/%zu%s", kind, n, ends ? "/end" : "");
	r = torc_http_get(client, url_of(p, path), ret);
	if (r)
		return r;
	r = torc_http_response_read(*ret, 1 << 20, &body);
	if (!r && !ends)
		check(kind >= ZIP_BY_LENGTH ? body.len == 500 : same_text(body, "hello"));
	return r;
}

/* kept: on a connection that has answered before. Whatever has been said, an answer that has begun is not asked for again. */
static void cut_everywhere(struct peer *p, struct torc_http_client *client, int kind, bool kept)
{
	uint64_t retries = stats_of(client).retries;
	char text[4096];
	size_t len = whole_answer(text, sizeof(text), kind);
	struct torc_http_response *res;

	for (size_t n = 0; n < len; n++) {
		int r;

		if (kept) {
			check_eq(read_cut(p, client, BY_LENGTH, 0, false, &res), 0);
			torc_http_response_close(res);
		}
		res = NULL;
		r = read_cut(p, client, kind, n, true, &res);
		/* It cannot be known that there is more, but for a coding that has begun. */
		if ((kind == BY_CLOSE && n >= len - 5) ||
		    (kind == ZIP_BY_CLOSE && n == len - zipped_len))
			check_eq(r, 0);
		else if (kind == ZIP_BY_CLOSE && n >= len - zipped_len)
			check_eq(r, -EBADMSG);
		else
			check_eq(r, -EPIPE);
		if (res)
			torc_http_response_close(res);
		check_eq(stats_of(client).connections, 0);
	}
	check_eq(stats_of(client).retries, retries + kept);
}

static void halve_everywhere(struct peer *p, struct torc_http_client *client, int kind)
{
	char text[4096];
	size_t len = whole_answer(text, sizeof(text), kind);
	bool keeps = kind != BY_CLOSE && kind != ZIP_BY_CLOSE;
	struct torc_http_response *res;
	struct torc_slice value;

	for (size_t n = 0; n <= len; n++) {
		check_eq(read_cut(p, client, kind, n, false, &res), 0);
		if (kind == BY_CHUNKS) {
			check(torc_http_response_trailer(res, "X-A", &value));
			check(same_text(value, "b"));
			check(torc_http_response_trailer(res, "X-Sum", &value));
			check(same_text(value, "five"));
		}
		torc_http_response_close(res);
		check_eq(stats_of(client).idle, keeps);
	}
}

static void cut_all(struct peer *p, struct torc_http_client *client)
{
	for (int kind = 0; kind < KINDS; kind++)
		for (int kept = 0; kept < 2; kept++)
			cut_everywhere(p, client, kind, kept);
}

static void halve_all(struct peer *p, struct torc_http_client *client)
{
	for (int kind = 0; kind < KINDS; kind++)
		halve_everywhere(p, client, kind);
	check_eq(stats_of(client).retries, 0);
}

Test(client_hostile, an_end_at_any_byte_is_seen)
{
	zipped_len = zip(zipped, sizeof(zipped), 15 + 16, 100);
	run_peer(answer_cut, cut_all);
}

Test(client_hostile, a_pause_at_any_byte_is_not)
{
	zipped_len = zip(zipped, sizeof(zipped), 15 + 16, 100);
	run_peer(answer_cut, halve_all);
}

/* --- codings --- */

#define BOMB_WORDS (MIB)

struct coded {
	const char *coding;
	int bits;
	size_t words; /* of the body; garbled at a byte, cut, or with something behind it */
	int flip, cut, more;
	int expected;
};

static const struct coded codeds[] = {
	{ "gzip", 31, 100, 0, 0, 0, 0 },
	{ "x-gzip", 31, 100, 0, 0, 0, 0 },
	{ "deflate", 15, 100, 0, 0, 0, 0 },
	{ "deflate", -15, 100, 0, 0, 0, 0 },
	{ "gzip", 31, 100, 1, 0, 0, -EBADMSG },
	{ "gzip", 31, 100, 12, 0, 0, -EBADMSG },
	{ "gzip", 31, 100, -2, 0, 0, -EBADMSG }, /* its length */
	{ "gzip", 31, 100, -6, 0, 0, -EBADMSG }, /* its sum */
	{ "gzip", 31, 100, 0, 1, 0, -EBADMSG },
	{ "gzip", 31, 100, 0, 9, 0, -EBADMSG },
	{ "gzip", 31, 100, 0, 0, 1, -EBADMSG },
	{ "deflate", 15, 100, -1, 0, 0, -EBADMSG },
	{ "deflate", 15, 100, 0, 1, 0, -EBADMSG },
	{ "deflate", -15, 100, 0, 1, 0, -EBADMSG },
	{ "deflate", 15, 100, 0, 0, 1, -EBADMSG },
	{ "gzip", 15, 100, 0, 0, 0, -EBADMSG }, /* it is not */
	{ "gzip", 31, BOMB_WORDS, 0, 0, 0, -EMSGSIZE },
	{ "deflate", 15, BOMB_WORDS, 0, 0, 0, -EMSGSIZE },
	{ "deflate", -15, BOMB_WORDS, 0, 0, 0, -EMSGSIZE },
	{ "br", 0, 100, 0, 0, 0, 0 },
	{ "br", 0, 100, 0, 1, 0, -EBADMSG },
	{ "br", 0, 100, 0, 0, 1, -EBADMSG },
	{ "br", 0, BOMB_WORDS, 0, 0, 0, -EMSGSIZE },
	{ "zstd", 0, 100, 0, 0, 0, 0 },
	{ "zstd", 0, 100, 1, 0, 0, -EBADMSG },
	{ "zstd", 0, 100, 0, 1, 0, -EBADMSG },
	{ "zstd", 0, 100, 0, 0, 1, -EBADMSG },
	{ "zstd", 0, BOMB_WORDS, 0, 0, 0, -EMSGSIZE },
	{ "br", 31, 100, 0, 0, 0, -EBADMSG },
	{ "zstd", 31, 100, 0, 0, 0, -EBADMSG },
	{ "gzip, gzip", 31, 0, 0, 0, 0, 0 }, /* shown as it is */
	{ "unheard-of", 31, 0, 0, 0, 0, 0 },
};

static char coded_body[65536];

/* The same by the library's own encoders. */
static size_t encode(char *to, size_t size, const struct coded *c)
{
	struct torc__http_encoder e;
	char *text = malloc(5 * c->words);
	struct torc__http_piece piece = { text, 5 * c->words, to, size };

	for (size_t i = 0; i < c->words; i++)
		memcpy(text + 5 * i, "hello", 5);
	check_eq(torc__http_encoder_open(&e,
					 *c->coding == 'b' ? &torc_http_brotli : &torc_http_zstd, 1,
					 TORC_NEVER),
		 0);
	check_eq(e.coding->run(&e, &piece, TORC__HTTP_OP_FINISH), 0);
	torc__http_encoder_close(&e);
	free(text);
	return size - piece.out_len;
}

/* "/N" */
static void answer_coded(struct peer *p, struct torc_stream *s, int number)
{
	(void)number;
	while (hear_head(p, s)) {
		const struct coded *c = codeds;
		unsigned n;
		char head[256];
		size_t len;

		check_eq(sscanf(p->head, "GET /%u", &n), 1);
		c += n;
		len = c->bits ? zip(coded_body, sizeof(coded_body), c->bits,
				    c->words ? c->words : 1)
			      : encode(coded_body, sizeof(coded_body), c);
		if (c->flip)
			coded_body[c->flip > 0 ? c->flip : (int)len + c->flip] ^= 0x55;
		len = len - (size_t)c->cut + (size_t)c->more;
		snprintf(head, sizeof(head),
			 OK "Content-Encoding: %s\r\nContent-Length: %zu\r\n\r\n", c->coding, len);
		tell(s, head);
		check_eq(torc_stream_write(s, coded_body, len), 0);
	}
}

static void read_coded(struct peer *p, struct torc_http_client *client)
{
	for (unsigned n = 0; n < COUNT(codeds); n++) {
		const struct coded *c = &codeds[n];
		struct torc_http_response *res;
		struct torc_slice part;
		size_t len = 0;
		char path[16];
		int r;

		snprintf(path, sizeof(path), "/%u", n);
		check_eq(torc_http_get(client, url_of(p, path), &res), 0);
		check_eq(torc_http_response_length(res) == TORC_NEVER, c->words > 0);
		while ((r = torc_http_response_peek(res, &part)) > 0) {
			len += part.len;
			torc_http_response_consume(res, part.len);
		}
		if (r != c->expected)
			fprintf(stderr, "%u: %s, %d: %d\n", n, c->coding, c->bits, r);
		check_eq(r, c->expected);
		check(r || !c->words || len == 5 * c->words);
		check_lt(len, 2 * MIB); /* of a bomb of 5 MiB */
		check_eq(torc_http_response_peek(res, &part), r);
		torc_http_response_close(res);
		/* The framing was right, whatever the body was. */
		check_eq(stats_of(client).connections, stats_of(client).idle);
	}
}

Test(client_hostile, a_garbled_coding_is_no_body_and_a_bomb_does_not_go_off)
{
	struct peer p = { .options = { .decode_ratio = 20, .codings = torc_http_codings_all } };

	run_peer_with(&p, answer_coded, read_coded);
}

/* --- redirects --- */

static const struct {
	const char *location;
	int expected;
} aways[] = {
	{ "/good", 0 },
	{ "", -ELOOP },
	{ "#here", -ELOOP },
	{ "?x", 0 },
	{ "http://", -EBADMSG },
	{ "http:///x", -EBADMSG },
	{ "http://a b/", -EBADMSG },
	{ "http://[::1/", -EBADMSG },
	{ "http://127.0.0.1:99999/", -EBADMSG },
	{ "http://127.0.0.1:x/", -EBADMSG },
	{ "//", -EBADMSG },
	{ "mailto:a@b", -EPROTONOSUPPORT },
	{ "file:///etc/passwd", -EPROTONOSUPPORT },
	{ "javascript:alert(1)", -EPROTONOSUPPORT },
	{ "unix:/run/docker.sock", -EPROTONOSUPPORT },
	{ "http://user:pa%0d%0ass@127.0.0.1:1/", -ECONNREFUSED },
	{ "/a%0d%0aX-Injected: 1", 0 },
	{ "/a b", 0 },
	{ "/a\tb", -EBADMSG },
};

/* "/N": there. Anything else is good, or a line more than there may be. */
static void answer_away(struct peer *p, struct torc_stream *s, int number)
{
	(void)number;
	while (hear_head(p, s)) {
		char text[512];
		unsigned n;

		check(!heard(p, "\nX-Injected"));
		if (sscanf(p->head, "GET /%u", &n) != 1 || heard(p, "?x")) {
			tell(s, LEN(5) "hello");
			continue;
		}
		snprintf(text, sizeof(text),
			 "HTTP/1.1 302 There\r\nLocation: %s\r\nContent-Length: 3\r\n\r\nbad",
			 aways[n].location);
		tell(s, text);
	}
}

static void be_led(struct peer *p, struct torc_http_client *client)
{
	for (unsigned n = 0; n < COUNT(aways); n++) {
		struct torc_http_response *res;
		char path[16];
		int r;

		snprintf(path, sizeof(path), "/%u", n);
		r = torc_http_get(client, url_of(p, path), &res);
		if (r != aways[n].expected)
			fprintf(stderr, "%s: %d, not %d\n", aways[n].location, r,
				aways[n].expected);
		check_eq(r, aways[n].expected);
		if (!r)
			torc_http_response_close(res);
		check_eq(stats_of(client).connections, stats_of(client).idle);
		get_and_expect(client, url_of(p, "/good"), 200, "hello");
	}
	check_eq(p->connections, 1);
}

Test(client_hostile, a_redirect_leads_to_http_or_nowhere)
{
	struct peer p = { .options = small };

	run_peer_with(&p, answer_away, be_led);
}

/* --- too slow --- */

static void await_flag(const bool *flag)
{
	while (!*flag)
		check_eq(torc_sleep(TORC_MS(1)), 0);
}

/* "/head", "/body", "/chunks": a byte every few milliseconds; "/none": nothing at all; "/upload" is not even read. */
static void answer_slowly(struct peer *p, struct torc_stream *s, int number)
{
	int r = 0;

	(void)number;
	while (hear_head(p, s)) {
		if (heard(p, " /good"))
			tell(s, LEN(5) "hello");
		else if (heard(p, " /none"))
			return hear_out(s);
		else if (heard(p, " /upload"))
			return await_flag(p->arg);
		else if (heard(p, " /head"))
			tell(s, OK "X: ");
		else if (heard(p, " /chunks"))
			tell(s, CHUNKED "1;");
		else
			tell(s, LEN(1000) "");
		while (!r && heard(p, "ow "))
			if (!(r = torc_stream_write(s, "x", 1)) && !(r = torc_stream_flush(s)))
				r = torc_sleep(TORC_MS(4));
	}
}

static int upload_for_ever(struct torc_http_upload *u, void *arg)
{
	static const char zeros[60000];
	int r = 0;

	while (!r)
		r = torc_http_upload_write(u, zeros, sizeof(zeros));
	*(int *)arg = r;
	return r;
}

static void wait_slowly(struct peer *p, struct torc_http_client *client)
{
	static const char *const heads[] = { "/head-slow", "/head", "/none", "/none" };
	static const char *const bodies[] = { "/body-slow", "/body", "/chunks-slow", "/chunks" };
	struct torc_http_response *res;
	struct torc_slice body;
	int result = 0;
	struct torc_http_request q = { .body_fn = upload_for_ever, .body_arg = &result };
	uint64_t begun;

	for (unsigned i = 0; i < 4; i++) {
		begun = torc_now_ns();
		check_eq(torc_http_get(client, url_of(p, heads[i]), &res), -ETIMEDOUT);
		check_ge(torc_now_ns() - begun, p->options.head_ns - TORC_MS(1));
		expect_sound(p, client, 0);
		check_eq(torc_http_get(client, url_of(p, bodies[i]), &res), 0);
		check_eq(torc_http_response_read(res, 1 << 20, &body), -ETIMEDOUT);
		check_eq(torc_http_response_peek(res, &body), -ETIMEDOUT);
		torc_http_response_close(res);
		expect_sound(p, client, 0);
	}
	q.url = url_of(p, "/upload");
	check_eq(torc_http_request(client, &q, &res), -ETIMEDOUT);
	check_eq(result, -ETIMEDOUT);
	q.url = url_of(p, "/upload");
	q.expect_continue = true; /* sent without leave, at last */
	check_eq(torc_http_request(client, &q, &res), -ETIMEDOUT);
	expect_sound(p, client, 0);
	*(bool *)p->arg = true;
}

Test(client_hostile, who_is_too_slow_is_left)
{
	bool done = false;
	struct peer p = { .arg = &done,
			  .options = { .head_ns = TORC_MS(40),
				       .body_ns = TORC_MS(40),
				       .write_ns = TORC_MS(40),
				       .continue_ns = TORC_MS(5) } };

	run_peer_with(&p, answer_slowly, wait_slowly);
}

/* --- ends while a body is sent --- */

/* It has had enough: says so or not, and resets. */
static void answer_and_reset(struct peer *p, struct torc_stream *s, int number)
{
	const struct linger now = { .l_onoff = 1 };

	while (hear_head(p, s)) {
		if (heard(p, " /good")) {
			tell(s, LEN(5) "hello");
			continue;
		}
		check(take_body(s, 100000));
		if (number % 2)
			tell(s, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno");
		(void)!torc_stream_flush(s);
		check_eq(setsockopt(torc_stream_fd(s), SOL_SOCKET, SO_LINGER, &now, sizeof(now)),
			 0);
		return;
	}
}

static void upload_to_reset(struct peer *p, struct torc_http_client *client)
{
	for (int i = 0; i < 20; i++) {
		struct torc_http_response *res;
		struct torc_slice body;
		int result = 0, r;
		struct torc_http_request q = { .url = url_of(p, "/"),
					       .body_fn = upload_for_ever,
					       .body_arg = &result,
					       .body_length = i % 3 ? 0 : 1 << 30 };

		r = torc_http_request(client, &q, &res);
		check(r == 0 || r == -EPIPE || r == -ECONNRESET);
		check_lt(result, 0);
		if (!r) {
			check_eq(torc_http_response_status(res), 413);
			r = torc_http_response_read(res, 10, &body);
			check(r == 0 || r == -EPIPE || r == -ECONNRESET);
			torc_http_response_close(res);
		}
		check_eq(stats_of(client).connections, 0);
	}
	get_and_expect(client, url_of(p, "/good"), 200, "hello");
}

Test(client_hostile, a_reset_during_a_body_is_an_error_or_an_answer)
{
	run_peer(answer_and_reset, upload_to_reset);
}

/* It reads no more, and says nothing either: writing fails, and reading goes on for ever. */
static void go_deaf(struct peer *p, struct torc_stream *s, int number)
{
	(void)number;
	check(hear_head(p, s));
	check(take_body(s, 100000));
	check_eq(shutdown(torc_stream_fd(s), SHUT_RD), 0);
	await_flag(p->arg);
}

static char deaf_name[64]; /* nobody else's */
static const char *const deaf_address[] = { deaf_name, NULL };

static int serve_deaf(void *arg)
{
	return torc_serve_with(&(struct torc_serve_options){
		.addresses = deaf_address, .handler = peer_connection, .arg = arg });
}

static void upload_to_the_deaf(struct peer *p, struct torc_http_client *client)
{
	struct torc_http_response *res;
	int result = 0;
	struct torc_http_request q = { .url = "http://localhost/",
				       .body_fn = upload_for_ever,
				       .body_arg = &result };

	check_eq(torc_http_request(client, &q, &res), -ETIMEDOUT);
	*(bool *)p->arg = true;
	check(result == -EPIPE || result == -ECONNRESET);
	check_eq(stats_of(client).connections, 0);
}

static int deaf_main(void *arg)
{
	struct peer *p = arg;
	struct torc_http_client *client;

	torc_group_enter(&p->group);
	check_eq(torc_group_spawn(&p->group, serve_deaf, p), 0);
	check_eq(torc_yield(), 0);
	check_eq(torc_http_client_open(&p->options, &client), 0);
	upload_to_the_deaf(p, client);
	torc_http_client_close(client);
	torc_group_cancel(&p->group);
	return torc_group_wait(&p->group);
}

Test(client_hostile, who_takes_no_more_has_to_answer_in_time)
{
	bool done = false;
	struct peer p = { .script = go_deaf,
			  .arg = &done,
			  .options = { .head_ns = TORC_MS(40),
				       .connect_to = deaf_address[0],
				       .no_environment = true } };

	snprintf(deaf_name, sizeof(deaf_name), "unix:@torc-client-hostile-%d", (int)getpid());
	run(deaf_main, &p);
}

/* An answer that begins before the body has ended, and goes on with it. */
static void answer_in_step(struct peer *p, struct torc_stream *s, int number)
{
	(void)number;
	while (hear_head(p, s)) {
		if (heard(p, " /good")) {
			tell(s, LEN(5) "hello");
			continue;
		}
		tell(s, CHUNKED "5\r\nhello\r\n");
		while (!heard(p, " /fail") && torc_stream_flush(s) == 0) {
			struct torc_slice line;

			if (torc_stream_read_until(s, '\n', 100, &line) <= 0)
				return;
			if (same_text(line, "0\r\n")) {
				torc_stream_consume(s, line.len);
				check(take_body(s, 2));
				tell(s, "0\r\n\r\n");
				break;
			}
			torc_stream_consume(s, line.len);
		}
		if (heard(p, " /fail"))
			hear_out(s);
	}
}

struct in_step {
	int result;
	bool more; /* the body may go on */
};

static int upload_in_step(struct torc_http_upload *u, void *arg)
{
	struct in_step *step = arg;
	int r = torc_http_upload_write(u, "a\n", 2);

	while (!r && !step->more)
		r = torc_yield();
	if (r || step->result)
		return r ? r : step->result;
	r = torc_sleep(TORC_MS(60)); /* longer than a server may take */
	return r ? r : torc_http_upload_write(u, "b\n", 2);
}

static void answered_in_step(struct peer *p, struct torc_http_client *client)
{
	struct in_step step = { 0, false };
	struct torc_http_request q = { .url = url_of(p, "/"),
				       .body_fn = upload_in_step,
				       .body_arg = &step };
	struct torc_http_response *res;
	struct torc_slice body;

	check_eq(torc_http_request(client, &q, &res), 0);
	step.more = true;
	expect_body(res, 200, "hello");
	torc_http_response_close(res);
	expect_sound(p, client, 1);
	/* Its failure is the response's: nobody waits for an end that will not come. */
	step = (struct in_step){ -EXDEV, false };
	q.url = url_of(p, "/fail");
	check_eq(torc_http_request(client, &q, &res), 0);
	step.more = true;
	check_eq(torc_http_response_read(res, 100, &body), -EXDEV);
	check_eq(torc_http_response_peek(res, &body), -EXDEV);
	torc_http_response_close(res);
	check_eq(stats_of(client).connections, 0);
}

Test(client_hostile, the_bodys_time_is_not_the_servers_and_its_failure_ends_the_wait)
{
	struct peer p = { .options = { .head_ns = TORC_MS(30), .body_ns = TORC_MS(30) } };

	run_peer_with(&p, answer_in_step, answered_in_step);
}

static int upload_broken(struct torc_http_upload *u, void *arg)
{
	++*(int *)arg;
	(void)u;
	return -EPIPE; /* of something that it reads from */
}

static void break_upload(struct peer *p, struct torc_http_client *client)
{
	int calls = 0;
	struct torc_http_request q = {
		.method = "PUT", .body_fn = upload_broken, .body_arg = &calls, .body_again = true
	};
	struct torc_http_response *res;

	get_and_expect(client, url_of(p, "/"), 200, "hello");
	q.url = url_of(p, "/");
	check_eq(torc_http_request(client, &q, &res), -EPIPE);
	check_eq(calls, 1);
	check_eq(stats_of(client).retries, 0);
	check_eq(stats_of(client).connections, 0);
}

static void answer_gets(struct peer *p, struct torc_stream *s, int number)
{
	(void)number;
	while (hear_head(p, s) && heard(p, "GET "))
		tell(s, LEN(5) "hello");
	hear_out(s);
}

Test(client_hostile, a_body_that_breaks_is_no_reason_to_ask_again)
{
	run_peer(answer_gets, break_upload);
}

/* --- scopes --- */

static int hold_response(void *arg)
{
	struct peer *p = arg;
	struct torc_http_client *client;
	struct torc_http_response *res, *other;
	struct torc_slice part;
	struct torc_scope scope, shield;
	static const char body[20000];
	char why[TORC_HTTP_WHY_MAX] = "";
	struct torc_http_request q = { .url = url_of(p, "/secret"), .ret_why = why };

	torc_scope_enter(&scope, TORC_NEVER);
	check_eq(torc_http_client_open(&p->options, &client), 0);
	check_eq(torc_http_get(client, url_of(p, "/hold"), &res), 0);
	torc_scope_cancel(&scope);
	/* Whoever else is told comes first. */
	torc_scope_enter_shield(&shield, TORC_NEVER);
	for (int i = 0; i < 10; i++)
		check_eq(torc_yield(), 0);
	get_and_expect(client, url_of(p, "/good"), 200, "hello");
	check_eq(torc_yield(), 0);
	check_eq(torc_http_post(client, url_of(p, "/take"), NULL, body, sizeof(body), &other), 0);
	torc_http_response_close(other);
	check_eq(stats_of(client).connects, 2); /* what may be idle for ever is kept */
	torc_scope_leave(&shield);
	check_eq(torc_http_response_peek(res, &part), -ECANCELED);
	torc_http_response_close(res);
	check_eq(torc_http_request(client, &q, &res), -ECANCELED);
	check(strstr(why, "/secret"));
	torc_http_client_close(client);
	torc_scope_leave(&scope);
	return 0;
}

static void answer_held(struct peer *p, struct torc_stream *s, int number)
{
	(void)number;
	while (hear_head(p, s) && (!heard(p, " /take") || take_body(s, 20000)))
		tell(s, heard(p, " /hold") ? LEN(10) "hello" : LEN(5) "hello");
}

static void hold_and_cancel(struct peer *p, struct torc_http_client *client)
{
	(void)client;
	check_eq(hold_response(p), 0);
}

Test(client_hostile, a_client_serves_until_it_is_closed_and_not_until_its_scope_is_cancelled)
{
	struct peer p = { .options.idle_ns = TORC_NEVER,
			  .options.head_ns = TORC_NEVER,
			  .runtime.loops = 2 };

	run_peer_with(&p, answer_held, hold_and_cancel);
}

/* --- the pool --- */

static void open_and_close(struct torc_http_client *client, const char *url, unsigned count)
{
	struct torc_http_response *res[4];

	for (unsigned i = 0; i < count; i++)
		check_eq(torc_http_get(client, url, &res[i]), 0);
	check_eq(stats_of(client).connections, count);
	for (unsigned i = 0; i < count; i++) {
		expect_body(res[i], 200, "hello");
		torc_http_response_close(res[i]);
	}
	check_eq(stats_of(client).idle, count);
}

static void answer_until_told(struct peer *p, struct torc_stream *s, int number)
{
	(void)number;
	check(hear_head(p, s));
	tell(s, LEN(5) "hello");
	await_flag(p->arg);
}

static void lose_all(struct peer *p, struct torc_http_client *client)
{
	open_and_close(client, url_of(p, "/"), 4);
	*(bool *)p->arg = true;
	while (stats_of(client).connections)
		check_eq(torc_yield(), 0);
	check_eq(stats_of(client).dropped, 4);
	get_and_expect(client, url_of(p, "/"), 200, "hello");
}

Test(client_hostile, connections_that_end_while_they_are_idle_are_closed)
{
	bool told = false;
	struct peer p = { .arg = &told };

	run_peer_with(&p, answer_until_told, lose_all);
}

static int good_open; /* connections, as the server sees it */

static void answer_good(struct peer *p, struct torc_stream *s, int number)
{
	(void)number;
	good_open++;
	while (hear_head(p, s))
		tell(s, LEN(5) "hello");
	good_open--;
}

static void idle_out(struct peer *p, struct torc_http_client *client)
{
	open_and_close(client, url_of(p, "/"), 3);
	while (stats_of(client).connections)
		check_eq(torc_yield(), 0);
	check_eq(stats_of(client).dropped, 3);
}

Test(client_hostile, connections_that_are_idle_for_long_are_closed)
{
	struct peer p = { .options.idle_ns = TORC_MS(5) };

	run_peer_with(&p, answer_good, idle_out);
}

static void share_one(struct peer *p, struct torc_http_client *client)
{
	struct torc_http_response *res, *other;
	char there[64];
	uint64_t begun = torc_now_ns();

	snprintf(there, sizeof(there), "http://localhost%s/", strrchr(p->url, ':'));
	for (int i = 0; i < 6; i++) {
		get_and_expect(client, i % 2 ? there : url_of(p, "/"), 200, "hello");
		check_eq(stats_of(client).connections, 1);
		while (good_open != 1) /* what made room is closed soon */
			check_eq(torc_yield(), 0);
	}
	check_eq(p->connections, 6);
	check_eq(torc_http_get(client, there, &res), 0);
	check_eq(torc_http_get(client, there, &other), -ETIMEDOUT);
	check_eq(torc_http_get(client, url_of(p, "/"), &other), -ETIMEDOUT);
	check_ge(torc_now_ns() - begun, 2 * TORC_MS(10));
	check_eq(stats_of(client).waiting, 0);
	torc_http_response_close(res);
	get_and_expect(client, url_of(p, "/"), 200, "hello");
}

Test(client_hostile, an_idle_connection_makes_room_for_another_origin_and_a_line_has_an_end)
{
	struct peer p = { .options = { .connections_max = 1, .line_ns = TORC_MS(10) } };

	run_peer_with(&p, answer_good, share_one);
}

static void ask_at_length(struct peer *p, struct torc_http_client *client)
{
	struct torc_http_response *res;

	check_eq(torc_http_get(client, url_of(p, "/0"), &res), -EMSGSIZE);
	check_eq(torc_http_get(client, url_of(p, "/1"), &res), -EMSGSIZE);
	get_and_expect(client, url_of(p, "/good"), 200, "hello");
}

Test(client_hostile, the_largest_head_has_a_limit_too)
{
	struct peer p = { .options = { .head_bytes = TORC_STREAM_VIEW_MAX, .fields = 1000 } };

	run_peer_with(&p, answer_evil, ask_at_length);
}
