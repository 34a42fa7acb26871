/*
 * The parser beside a plain one (reference.h), with each instruction set, and beside another project's.
 */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "bench/peers/http_parser.h"
#include "http/internal/chunk.h"
#include "http/internal/parse.h"
#include "http/internal/scan.h"
#include "tests/http/conformance.h"
#include "tests/http/mutate.h"
#include "tests/http/reference.h"

TestSuite(http_differential, .timeout = 60);

#define FIELDS    12
#define AREA      8192 /* a multiple of the page size */
#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

#ifdef __SANITIZE_ADDRESS__
#define ROUNDS 30000
#else
#define ROUNDS 300000
#endif

static const struct torc__http_limits limits = { AREA, AREA, FIELDS };

struct real {
	int status;
	struct torc__http_head head;
	struct torc__http_field fields[FIELDS];
};

/* --- input between two pages that must not be touched --- */

/* The first byte of AREA bytes between the two. */
static char *area(void)
{
	static char *pages;

	if (!pages) {
		pages = mmap(NULL, AREA + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		cr_assert_neq(pages, MAP_FAILED);
		cr_assert_eq(mprotect(pages + 4096, AREA, PROT_READ | PROT_WRITE), 0);
	}
	return pages + 4096;
}

static const char *at_start(const char *bytes, size_t len)
{
	return memcpy(area(), bytes, len);
}

static const char *at_end(const char *bytes, size_t len)
{
	return memcpy(area() + AREA - len, bytes, len);
}

/* --- the parser and the plain one --- */

/* Of requests, or of responses: each test is a process of its own. */
static int (*parse_head)(struct torc__http_head *h, const char *buf, size_t len,
			 const struct torc__http_limits *lim) = torc__http_parse_request;
static void (*parse_plainly)(struct reference *r, const char *buf, size_t len,
			     unsigned most) = reference_parse;

static void responses(void)
{
	parse_head = torc__http_parse_response;
	parse_plainly = reference_parse_response;
}

static void parse(struct real *r, const char *buf, size_t len)
{
	r->head.fields = r->fields;
	r->head.field_capacity = FIELDS;
	r->status = parse_head(&r->head, buf, len, &limits);
}

/* What may still come when the parser has refused and the reference waits: none of it makes the head good. */
static void assert_hopeless(const char *bytes, size_t len, const char *label)
{
	static const char *const more[] = {
		"\r\n\r\n",
		"\n\r\n",
		"\r\nHost: a\r\n\r\n",
		": b\r\n\r\n",
		": b\r\nHost: a\r\n\r\n",
		" HTTP/1.1\r\nHost: a\r\n\r\n",
		"/ HTTP/1.1\r\nHost: a\r\n\r\n",
		" / HTTP/1.1\r\nHost: a\r\n\r\n",
		"1\r\nHost: a\r\n\r\n",
		"TTP/1.1\r\nHost: a\r\n\r\n",
		"ET / HTTP/1.1\r\nHost: a\r\n\r\n",
		" 200 OK\r\n\r\n",
		"0\r\n\r\n",
		"00 OK\r\n\r\n",
		"TTP/1.1 200 OK\r\n\r\n",
	};
	static char buf[AREA];
	struct reference r;

	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++) {
		memcpy(buf, bytes, len);
		memcpy(buf + len, more[i], strlen(more[i]));
		parse_plainly(&r, buf, len + strlen(more[i]), FIELDS);
		cr_assert_leq(r.status, 0, "%s: refused, but good with %s", label, more[i]);
	}
}

static void assert_alike(const struct reference *ref, const struct real *real, const char *bytes,
			 size_t len, const char *label)
{
	if (ref->status == 0 && real->status < 0) {
		assert_hopeless(bytes, len, label);
		return;
	}
	cr_assert_eq(real->status, ref->status, "%s: %d, but the reference %d: %.*s", label,
		     real->status, ref->status, (int)len, bytes);
	if (real->status > 0) {
		const char *what = reference_difference(ref, &real->head);

		cr_assert_null(what, "%s: %s: %.*s", label, what, (int)len, bytes);
	}
}

/* Each instruction set, with the input at either end of its pages. Returns the reference's status. */
static int compare(const char *bytes, size_t len, const char *label)
{
	static struct real real;
	struct reference ref;

	for (int isa = TORC__HTTP_ISA_SCALAR; isa < TORC__HTTP_ISA_COUNT; isa++) {
		if (!torc__http_scan_select((enum torc__http_isa)isa))
			continue;
		for (int end = 0; end < 2; end++) {
			const char *buf = end ? at_end(bytes, len) : at_start(bytes, len);

			parse(&real, buf, len);
			parse_plainly(&ref, buf, len, FIELDS);
			assert_alike(&ref, &real, buf, len, label);
		}
	}
	torc__http_scan_select(TORC__HTTP_ISA_AUTO);
	return ref.status;
}

Test(http_differential, the_reference_agrees_on_each_prefix_of_the_table)
{
	for (size_t i = 0; i < ROW_COUNT; i++)
		for (size_t n = 0; n <= rows[i].len && n < 400; n++)
			compare(rows[i].bytes, n, rows[i].name);
}

Test(http_differential, the_reference_agrees_on_random_requests)
{
	unsigned accepted = 0;
	char buf[1024];

	for (unsigned i = 0; i < ROUNDS; i++) {
		size_t len = random_request(buf, sizeof(buf));

		accepted += compare(buf, len, "random") > 0;
	}
	cr_assert_gt(accepted, ROUNDS / 10, "only %u", accepted);
	cr_assert_lt(accepted, ROUNDS / 10 * 9, "even %u", accepted);
}

/* Known names in random case, where the 32 bytes from the name on are there, and where they are not. */
Test(http_differential, the_reference_agrees_on_random_responses, .init = responses)
{
	unsigned accepted = 0;
	char buf[1024];

	for (unsigned i = 0; i < ROUNDS / 6; i++) {
		size_t len = random_response(buf, sizeof(buf));

		compare(buf, random_below((unsigned)len + 1), "prefix");
		accepted += compare(buf, len, "random") > 0;
	}
	cr_assert_gt(accepted, ROUNDS / 60, "only %u", accepted);
	cr_assert_lt(accepted, ROUNDS / 60 * 9, "even %u", accepted);
}

Test(http_differential, the_reference_agrees_on_every_known_name_near_the_end_and_far_from_it)
{
	static const char *const names[] = {
#define NAME(token, name, ...) name,
		TORC__HTTP_NAMES(NAME)
#undef NAME
	};
	char buf[256];

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		for (unsigned k = 0; k < 200; k++) {
			int len = sprintf(buf, "GET / HTTP/1.1\r\nHost: a\r\n%s:%.*s\r\n\r\n",
					  names[i], (int)(k % 40),
					  "0123456789012345678901234567890123456789");
			size_t at = 25 + random_below((unsigned)strlen(names[i]));

			if (k & 1)
				buf[at] = (char)(buf[at] ^ 0x20);
			if (k & 2)
				buf[25 + random_below((unsigned)strlen(names[i]))] = random_byte();
			compare(buf, (size_t)len, names[i]);
		}
}

/* --- another project's parser --- */

#if PEER_PARSER

#define PIECE_BYTES 4096

/* What it makes of a message, in its words. Texts are copied, as it tells them in pieces. */
struct told {
	char url[PIECE_BYTES], fields[PIECE_BYTES]; /* "name\1value\2" ... */
	size_t url_len, fields_len, body;
	bool in_value, head_done, done;
	unsigned method, minor;
	bool keep_alive;
};

static int add(char *to, size_t *len, const char *data, size_t n)
{
	if (*len + n + 2 > PIECE_BYTES)
		return 1;
	memcpy(to + *len, data, n);
	*len += n;
	return 0;
}

static int on_url(http_parser *p, const char *at, size_t len)
{
	struct told *t = p->data;

	return add(t->url, &t->url_len, at, len);
}

static int on_name(http_parser *p, const char *at, size_t len)
{
	struct told *t = p->data;

	if (t->head_done)
		return 0; /* a trailer */
	if (t->in_value)
		t->fields[t->fields_len++] = 2;
	t->in_value = false;
	return add(t->fields, &t->fields_len, at, len);
}

static int on_value(http_parser *p, const char *at, size_t len)
{
	struct told *t = p->data;

	if (t->head_done)
		return 0;
	if (!t->in_value)
		t->fields[t->fields_len++] = 1;
	t->in_value = true;
	return add(t->fields, &t->fields_len, at, len);
}

static int on_head(http_parser *p)
{
	struct told *t = p->data;

	t->head_done = true;
	t->method = p->method;
	t->minor = p->http_minor;
	return 0;
}

static int on_body(http_parser *p, const char *at, size_t len)
{
	struct told *t = p->data;

	(void)at;
	t->body += len;
	return 0;
}

/* Only one message: what follows is none of ours. */
static int on_end(http_parser *p)
{
	struct told *t = p->data;

	t->done = true;
	return 1;
}

/* Does it accept a whole message at the start? */
static bool ask_peer(const struct peer_parser *peer, struct told *t, const char *buf, size_t len)
{
	http_parser_settings settings;
	http_parser p;

	memset(t, 0, sizeof(*t));
	peer->settings_init(&settings);
	settings.on_url = on_url;
	settings.on_header_field = on_name;
	settings.on_header_value = on_value;
	settings.on_headers_complete = on_head;
	settings.on_body = on_body;
	settings.on_message_complete = on_end;
	peer->init(&p, HTTP_REQUEST);
	p.data = t;
	(void)peer->execute(&p, &settings, buf, len);
	return t->done;
}

/* The length of the body, when it is good and all of it is there. */
static bool body_length(const struct torc__http_head *h, const char *body, size_t len,
			size_t *ret_bytes)
{
	static const struct torc__http_chunk_limits most = { AREA, AREA, AREA, AREA };
	struct torc__http_chunk c;
	size_t sum = 0;

	if (!h->chunked) {
		*ret_bytes = (size_t)h->content_length;
		return h->content_length <= len;
	}
	torc__http_chunk_init(&c, &most);
	while (len && !torc__http_chunk_done(&c)) {
		struct torc_slice data;
		ssize_t used = torc__http_chunk_next(&c, body, len, &data);

		if (used < 0)
			return false;
		body += used;
		len -= (size_t)used;
		sum += data.len;
	}
	*ret_bytes = sum;
	return torc__http_chunk_done(&c);
}

/*
 * The fields as the peer tells them. It keeps the white space behind a value, and tells of a value of white space
 * only nothing but that it is there.
 */
static bool same_fields(const struct told *t, const struct torc__http_head *h)
{
	size_t at = 0;

	for (unsigned i = 0; i < h->field_count; i++) {
		struct torc_slice name = h->fields[i].name, value = h->fields[i].value;

		if (t->fields_len - at < name.len + 1 + value.len ||
		    memcmp(t->fields + at, name.data, name.len) || t->fields[at + name.len] != 1 ||
		    memcmp(t->fields + at + name.len + 1, value.data, value.len))
			return false;
		at += name.len + 1 + value.len;
		while (at < t->fields_len && (t->fields[at] == ' ' || t->fields[at] == '\t'))
			at++;
		if (at < t->fields_len && t->fields[at++] != 2)
			return false;
	}
	return at == t->fields_len;
}

static const char *method_name(unsigned method)
{
	switch (method) {
#define METHOD(number, name, string) \
	case number: return #string;
		HTTP_METHOD_MAP(METHOD)
#undef METHOD
	default: return "";
	}
}

static void compare_with_peer(const struct peer_parser *peer, const char *buf, size_t len,
			      unsigned *both)
{
	static struct told t;
	static struct real real;
	size_t body;

	parse(&real, buf, len);
	if (real.status <= 0 || !ask_peer(peer, &t, buf, len) ||
	    real.head.method == TORC__HTTP_CONNECT ||
	    !body_length(&real.head, buf + real.status, len - (size_t)real.status, &body))
		return;
	cr_assert_eq(t.url_len, real.head.target.len, "target: %.*s", (int)len, buf);
	cr_assert(!memcmp(t.url, real.head.target.data, t.url_len), "target: %.*s", (int)len, buf);
	cr_assert_eq(t.minor, real.head.minor, "minor: %.*s", (int)len, buf);
	cr_assert(reference_equal(real.head.method_name, method_name(t.method)), "method: %.*s",
		  (int)len, buf);
	cr_assert(same_fields(&t, &real.head), "fields: %.*s", (int)len, buf);
	cr_assert_eq(t.body, body, "body of %zu, not %zu: %.*s", t.body, body, (int)len, buf);
	++*both;
}

/* Good messages with bodies, so that the random ones have something to be cut from. */
static const char *const messages[] = {
	"POST /a?b=c HTTP/1.1\r\nHost: a.example:80\r\nContent-Length: 5\r\nA:\r\nB: c \t\r\n\r\nhello",
	("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nUser-Agent: b/1.0 (c)\r\n\r\n"
	 "5\r\nhello\r\n1;a=b\r\n!\r\n0\r\nC: d\r\n\r\n"),
	"DELETE http://a/b HTTP/1.1\r\nHost: a\r\nConnection: close, te\r\nCookie: a=b; c=\"d\"\r\n\r\n",
	"PATCH /a HTTP/1.0\r\nContent-Length: 0012\r\nX-Y: \xe4\xff\r\n\r\nhello, world",
	"GET /a HTTP/1.1\r\nHost: [::1]\r\nUpgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\nab",
};

static size_t random_message(char *buf, size_t capacity)
{
	const char *seed = messages[random_below(sizeof(messages) / sizeof(messages[0]))];
	size_t len = strlen(seed);

	memcpy(buf, seed, len);
	for (unsigned i = random_below(3); i > 0; i--)
		len = mutate(buf, len, capacity);
	return len;
}

/*
 * Known differences. Of what both accept everything must be the same, but for
 *   - the white space behind a value, which http-parser keeps;
 *   - what follows a CONNECT, which it takes for no message.
 * It accepts, and torc does not: bare CR and LF in places, folded lines, spaces and tabs where they do not belong, DEL in
 * values, no Host or a bad one, absolute targets with bad authorities, fragments and bytes from 0x80 in targets, other
 * versions and methods, codings before chunked, chunked in HTTP/1.0, bytes from 0x80 among the digits of a chunk's
 * size, extensions and trailers of nearly any kind.
 */
Test(http_differential, what_http_parser_accepts_too_it_reads_alike)
{
	struct peer_parser peer;
	unsigned both = 0;
	char buf[1024];

	if (!peer_parser_load(&peer))
		cr_skip_test("libhttp-parser2.9 is not installed");
	for (size_t i = 0; i < ROW_COUNT; i++)
		compare_with_peer(&peer, rows[i].bytes, rows[i].len, &both);
	cr_assert_gt(both, 100, "only %u of the table", both);
	for (unsigned i = 0; i < ROUNDS; i++) {
		size_t len = random_message(buf, sizeof(buf));

		compare_with_peer(&peer, buf, len, &both);
	}
	cr_assert_gt(both, ROUNDS / 5, "only %u", both);
}

/* Is it known that http-parser refuses this row, which torc accepts? */
static bool known_to_refuse(const char *name)
{
	static const char *const names[] = {
		"white space around",          /* behind a Content-Length */
		"chunked, white space around", /* behind the coding */
		"extension: tab",              /* where a space may be */
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

Test(http_differential, torc_accepts_nothing_that_http_parser_refuses_but_white_space)
{
	struct peer_parser peer;
	static struct told t;
	static struct real real;
	size_t body;

	if (!peer_parser_load(&peer))
		cr_skip_test("libhttp-parser2.9 is not installed");
	for (size_t i = 0; i < ROW_COUNT; i++) {
		const struct row *row = &rows[i];

		parse(&real, row->bytes, row->len);
		if (real.status > 0 &&
		    body_length(&real.head, row->bytes + real.status,
				row->len - (size_t)real.status, &body) &&
		    !ask_peer(&peer, &t, row->bytes, row->len))
			cr_assert(known_to_refuse(row->name), "%s", row->name);
	}
}

#else

Test(http_differential, what_http_parser_accepts_too_it_reads_alike)
{
	cr_skip_test("libhttp-parser-dev was not installed when this was compiled");
}

#endif
