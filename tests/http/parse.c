#include <criterion/criterion.h>

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "http/internal/parse.h"
#include "http/internal/scan.h"
#include "tests/http/mutate.h"

TestSuite(http_parse, .timeout = 60);

#define FIELDS 40
#define WINDOW TORC__HTTP_SCAN_WORDS
#define AREA   65536 /* largest input, a multiple of the page size */

static const struct torc__http_limits limits = { 8192, 32768, FIELDS };

/* What is tested: each test is a process of its own. */
static int (*parse)(struct torc__http_head *h, const char *buf, size_t len,
		    const struct torc__http_limits *lim) = torc__http_parse_request;

struct result {
	int status;
	struct torc__http_head head;
	struct torc__http_field fields[FIELDS];
};

/* @len bytes whose last is the last byte before a page that must not be touched. */
static char *guarded(const char *data, size_t len)
{
	static char *area;

	if (!area) {
		area = mmap(NULL, AREA + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);
		cr_assert_neq(area, MAP_FAILED);
		cr_assert_eq(mprotect(area + AREA, 4096, PROT_NONE), 0);
	}
	cr_assert_leq(len, AREA);
	return memcpy(area + AREA - len, data, len);
}

static void parse_with(struct result *r, const char *buf, size_t len,
		       const struct torc__http_limits *lim)
{
	memset(r, 0, sizeof(*r));
	r->head.fields = r->fields;
	r->head.field_capacity = FIELDS;
	r->status = parse(&r->head, buf, len, lim);
}

static bool same_slice(struct torc_slice a, struct torc_slice b)
{
	return a.data == b.data && a.len == b.len;
}

static bool same_fields(const struct result *a, const struct result *b)
{
	if (a->head.field_count != b->head.field_count)
		return false;
	for (unsigned i = 0; i < a->head.field_count; i++)
		if (!same_slice(a->fields[i].name, b->fields[i].name) ||
		    !same_slice(a->fields[i].value, b->fields[i].value) ||
		    a->fields[i].known != b->fields[i].known)
			return false;
	return true;
}

static bool same_result(const struct result *a, const struct result *b)
{
	const struct torc__http_head *x = &a->head, *y = &b->head;

	if (a->status != b->status)
		return false;
	if (a->status <= 0)
		return true;
	return same_fields(a, b) && x->known_set == y->known_set &&
	       x->content_length == y->content_length && same_slice(x->target, y->target) &&
	       same_slice(x->method_name, y->method_name) && same_slice(x->path, y->path) &&
	       same_slice(x->query, y->query) && same_slice(x->authority, y->authority) &&
	       x->method == y->method && x->form == y->form && x->minor == y->minor &&
	       x->has_query == y->has_query && x->has_length == y->has_length &&
	       x->chunked == y->chunked && x->keep_alive == y->keep_alive &&
	       x->expect_continue == y->expect_continue && x->upgrade == y->upgrade &&
	       x->status == y->status && same_slice(x->reason, y->reason);
}

/* Parses with every instruction set of this machine; they must agree. */
static void parse_all(struct result *r, const char *buf, size_t len,
		      const struct torc__http_limits *lim, const char *label)
{
	static struct result other;

	cr_assert(torc__http_scan_select(TORC__HTTP_ISA_SCALAR));
	parse_with(r, buf, len, lim);
	for (int isa = TORC__HTTP_ISA_SCALAR + 1; isa < TORC__HTTP_ISA_COUNT; isa++) {
		if (!torc__http_scan_select((enum torc__http_isa)isa))
			continue;
		parse_with(&other, buf, len, lim);
		cr_assert(same_result(r, &other), "%s: isa %d differs: %d, scalar %d", label, isa,
			  other.status, r->status);
	}
	torc__http_scan_select(TORC__HTTP_ISA_AUTO);
}

/*
 * The whole input yields @status (1: accepted, all of it).  Each prefix is either incomplete or
 * refused with the final status, and once refused it stays so.
 */
static void check_all_prefixes(const char *label, const char *data, size_t len, int status,
			       const struct torc__http_limits *lim)
{
	static struct result r;
	int last = 0;

	for (size_t n = 0; n <= len; n++) {
		parse_all(&r, guarded(data, n), n, lim, label);
		if (last != 0)
			cr_assert_eq(r.status, last, "%s: at %zu %d after %d", label, n, r.status,
				     last);
		if (r.status > 0)
			cr_assert_eq((size_t)r.status, n, "%s: %d of %zu", label, r.status, n);
		last = r.status;
	}
	cr_assert_eq(last, status == 1 ? (int)len : status, "%s: got %d, expected %d", label, last,
		     status);
}

struct head_case {
	const char *label;
	const char *data;
	size_t len;
	int status; /* 1: accepted */
};

#define R(status, label, data)                        \
	{                                             \
		label, data, sizeof(data) - 1, status \
	}
#define HOST            "Host: a\r\n"
#define GET             "GET / HTTP/1.1\r\n"
#define FIELD(line)     GET HOST line "\r\n\r\n"
#define TARGET(target)  "GET " target " HTTP/1.1\r\n" HOST "\r\n"
#define WITH_HOST(host) GET "Host: " host "\r\n\r\n"

static void check_requests(const struct head_case *requests, size_t count)
{
	for (size_t i = 0; i < count; i++)
		check_all_prefixes(requests[i].label, requests[i].data, requests[i].len,
				   requests[i].status, &limits);
}

#define CHECK_REQUESTS(table) check_requests(table, sizeof(table) / sizeof((table)[0]))

Test(http_parse, request_lines)
{
	static const struct head_case table[] = {
		R(1, "minimal", GET HOST "\r\n"),
		R(1, "one empty line before", "\r\n" GET HOST "\r\n"),
		R(-400, "two empty lines before", "\r\n\r\n" GET HOST "\r\n"),
		R(-400, "LF before", "\n" GET HOST "\r\n"),
		R(-400, "CR before", "\r" GET HOST "\r\n"),
		R(-400, "space before", " " GET HOST "\r\n"),
		R(1, "HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n"),
		R(-400, "HTTP/0.9", "GET /\r\n"),
		R(-400, "HTTP/0.9 with space", "GET / \r\n"),
		R(-505, "HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
		R(-505, "HTTP/1.2", "GET / HTTP/1.2\r\n"),
		R(-505, "HTTP/0.9 named", "GET / HTTP/0.9\r\n"),
		R(-505, "HTTP/9.9", "GET / HTTP/9.9\r\n"),
		R(-400, "version without minor", "GET / HTTP/2\r\n"),
		R(-400, "minor of two digits", "GET / HTTP/1.10\r\n"),
		R(-400, "major of two digits", "GET / HTTP/11.1\r\n"),
		R(-400, "lower-case http", "GET / http/1.1\r\n"),
		R(-400, "other protocol", "GET / RTSP/1.0\r\n"),
		R(-400, "comma in version", "GET / HTTP/1,1\r\n"),
		R(-400, "space after version", "GET / HTTP/1.1 \r\n"),
		R(-400, "bare LF", "GET / HTTP/1.1\n" HOST "\r\n"),
		R(-400, "bare CR", "GET / HTTP/1.1\rX" HOST "\r\n"),
		R(-400, "CR CR LF", "GET / HTTP/1.1\r\r\n"),
		R(-400, "two spaces before target", "GET  / HTTP/1.1\r\n"),
		R(-400, "two spaces after target", "GET /  HTTP/1.1\r\n"),
		R(-400, "tab before target", "GET\t/ HTTP/1.1\r\n"),
		R(-400, "tab after target", "GET /\tHTTP/1.1\r\n"),
		R(-400, "no target", "GET HTTP/1.1\r\n"),
		R(-400, "empty target", "GET  HTTP/1.1\r\n"),
		R(-400, "only a method", "GET\r\n"),
		R(-501, "lower-case method", "get / HTTP/1.1\r\n"),
		R(-501, "unknown method", "BREW /pot HTTP/1.1\r\n"),
		R(-501, "unknown method with hash", "B#EW / HTTP/1.1\r\n"),
		R(-501, "method that begins like GET", "GETS / HTTP/1.1\r\n"),
		R(-501, "long method", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
		R(-400, "no token as method", "G(T / HTTP/1.1\r\n"),
		R(-400, "NUL in method", "G\0T / HTTP/1.1\r\n"),
		R(-400, "TLS client hello", "\x16\x03\x01\x02\x00\x01"),
	};

	CHECK_REQUESTS(table);
}

Test(http_parse, targets)
{
	static const struct head_case table[] = {
		R(1, "path", TARGET("/a/b/c.html")),
		R(1, "query", TARGET("/a?b=c&d=e?f")),
		R(1, "two slashes", TARGET("//a")),
		R(1, "bar and quote", TARGET("/a|b\"c")),
		R(1, "brackets", TARGET("/a?b[]={c}")),
		R(1, "escape", TARGET("/%00%zz")),
		R(-400, "fragment", TARGET("/a#b")),
		R(-400, "fragment first", TARGET("#")),
		R(-400, "NUL", TARGET("/a\0b")),
		R(-400, "control", TARGET("/a\x01")),
		R(-400, "DEL", TARGET("/a\x7f")),
		R(-400, "UTF-8", TARGET("/\xc3\xa4")),
		R(-400, "0x80", TARGET("/\x80")),
		R(-400, "0xff", TARGET("/\xff")),
		R(-400, "relative", TARGET("a/b")),
		R(-400, "only a query", TARGET("?a")),
		R(-400, "asterisk for GET", TARGET("*")),
		R(1, "asterisk for OPTIONS", "OPTIONS * HTTP/1.1\r\n" HOST "\r\n"),
		R(-400, "asterisk and more", "OPTIONS *a HTTP/1.1\r\n" HOST "\r\n"),
		R(1, "absolute", TARGET("http://a.example/b?c")),
		R(1, "absolute https", TARGET("HTTPS://a.example:443/")),
		R(1, "absolute without path", TARGET("http://a.example")),
		R(1, "absolute with query only", TARGET("http://a.example?b")),
		R(-400, "absolute, other scheme", TARGET("ftp://a.example/")),
		R(-400, "absolute, no authority", TARGET("http:///a")),
		R(-400, "absolute, one slash", TARGET("http:/a")),
		R(-400, "absolute, userinfo", TARGET("http://u:p@a.example/")),
		R(1, "absolute, at sign in query", TARGET("http://a?@b/")),
		R(-400, "absolute without Host", "GET http://a/ HTTP/1.1\r\n\r\n"),
		R(1, "CONNECT", "CONNECT a.example:443 HTTP/1.1\r\n" HOST "\r\n"),
		R(1, "CONNECT, IPv6", "CONNECT [::1]:443 HTTP/1.1\r\n" HOST "\r\n"),
		R(-400, "CONNECT without port", "CONNECT a.example HTTP/1.1\r\n" HOST "\r\n"),
		R(-400, "CONNECT, empty port", "CONNECT a.example: HTTP/1.1\r\n" HOST "\r\n"),
		R(-400, "CONNECT, port 0", "CONNECT a.example:0 HTTP/1.1\r\n" HOST "\r\n"),
		R(-400, "CONNECT, path", "CONNECT / HTTP/1.1\r\n" HOST "\r\n"),
		R(-400, "CONNECT, URL", "CONNECT http://a:1/ HTTP/1.1\r\n" HOST "\r\n"),
		R(-400, "GET, authority", TARGET("a.example:443")),
	};

	CHECK_REQUESTS(table);
}

Test(http_parse, hosts)
{
	static const struct head_case table[] = {
		R(-400, "missing", GET "\r\n"),
		R(-400, "twice", GET HOST HOST "\r\n"),
		R(-400, "twice, other case", GET HOST "hOsT: b\r\n\r\n"),
		R(-400, "twice in HTTP/1.0", "GET / HTTP/1.0\r\n" HOST HOST "\r\n"),
		R(-400, "empty", WITH_HOST("")),
		R(-400, "empty in HTTP/1.0", "GET / HTTP/1.0\r\nHost:\r\n\r\n"),
		R(1, "name", WITH_HOST("www.a-b.example")),
		R(1, "white space around", WITH_HOST(" \t a \t ")),
		R(1, "port", WITH_HOST("a:8080")),
		R(1, "largest port", WITH_HOST("a:65535")),
		R(1, "empty port", WITH_HOST("a:")),
		R(-400, "port too large", WITH_HOST("a:65536")),
		R(-400, "port far too large", WITH_HOST("a:99999999999999999999")),
		R(-400, "port with sign", WITH_HOST("a:+80")),
		R(-400, "port, letters", WITH_HOST("a:80a")),
		R(-400, "two ports", WITH_HOST("a:80:80")),
		R(-400, "only a port", WITH_HOST(":80")),
		R(-400, "userinfo", WITH_HOST("u@a")),
		R(-400, "path", WITH_HOST("a/b")),
		R(-400, "query", WITH_HOST("a?b")),
		R(-400, "fragment", WITH_HOST("a#b")),
		R(-400, "comma", WITH_HOST("a,b")),
		R(-400, "comma at the end", WITH_HOST("a,")),
		R(-400, "space inside", WITH_HOST("a b")),
		R(-400, "URL", WITH_HOST("http://a")),
		R(-400, "backslash", WITH_HOST("a\\b")),
		R(-400, "UTF-8", WITH_HOST("\xc3\xa4")),
		R(1, "escape", WITH_HOST("a%2eb")),
		R(-400, "half an escape", WITH_HOST("a%2")),
		R(-400, "bad escape", WITH_HOST("a%2x")),
		R(1, "IPv4", WITH_HOST("127.0.0.1:80")),
		R(1, "IPv6", WITH_HOST("[::1]:80")),
		R(1, "IPv6 without port", WITH_HOST("[2001:db8::8a2e:370:7334]")),
		R(1, "IPv6, all zero", WITH_HOST("[::]")),
		R(1, "IPv6, full", WITH_HOST("[1:2:3:4:5:6:7:8]")),
		R(1, "IPv6, gap at the end", WITH_HOST("[1:2:3:4:5:6:7::]")),
		R(1, "IPv6, IPv4 at the end", WITH_HOST("[::ffff:192.0.2.1]")),
		R(1, "IPv6, full, IPv4", WITH_HOST("[1:2:3:4:5:6:192.0.2.1]")),
		R(-400, "IPv6, no bracket", WITH_HOST("::1")),
		R(-400, "IPv6, not closed", WITH_HOST("[::1")),
		R(-400, "IPv6, empty", WITH_HOST("[]")),
		R(-400, "IPv6, one colon", WITH_HOST("[:]")),
		R(-400, "IPv6, two gaps", WITH_HOST("[1::2::3]")),
		R(-400, "IPv6, three colons", WITH_HOST("[:::1]")),
		R(-400, "IPv6, seven groups", WITH_HOST("[1:2:3:4:5:6:7]")),
		R(-400, "IPv6, nine groups", WITH_HOST("[1:2:3:4:5:6:7:8:9]")),
		R(-400, "IPv6, gap for nothing", WITH_HOST("[1:2:3:4::5:6:7:8]")),
		R(-400, "IPv6, colon first", WITH_HOST("[:1:2:3:4:5:6:7]")),
		R(-400, "IPv6, colon last", WITH_HOST("[1:2:3:4:5:6:7:]")),
		R(-400, "IPv6, five digits", WITH_HOST("[12345::]")),
		R(-400, "IPv6, no digit", WITH_HOST("[g::]")),
		R(-400, "IPv6, zone", WITH_HOST("[fe80::1%25eth0]")),
		R(-400, "IPv6, bad IPv4", WITH_HOST("[::256.0.0.1]")),
		R(-400, "IPv6, IPv4 with zero", WITH_HOST("[::01.0.0.1]")),
		R(-400, "IPv6, IPv4 of three", WITH_HOST("[::1.2.3]")),
		R(-400, "IPv6, IPv4 of five", WITH_HOST("[::1.2.3.4.5]")),
		R(-400, "IPv6, something behind", WITH_HOST("[::1]a")),
	};

	CHECK_REQUESTS(table);
}

Test(http_parse, field_syntax)
{
	static const struct head_case table[] = {
		R(1, "simple", FIELD("A: b")),
		R(1, "no space", FIELD("A:b")),
		R(1, "tabs", FIELD("A:\tb\t")),
		R(1, "empty value", FIELD("A:")),
		R(1, "only white space", FIELD("A: \t ")),
		R(1, "white space inside", FIELD("A: b \t c")),
		R(1, "colons", FIELD("A: :b:c:")),
		R(1, "bytes from 0x80", FIELD("A: \x80\xff")),
		R(1, "all of a token", FIELD("!#$%&'*+-.^_`|~09azAZ: b")),
		R(1, "only a hash", FIELD("#: b")),
		R(1, "hashes", FIELD("##a##b##: c")),
		R(-400, "hash and space", FIELD("# : b")),
		R(-400, "space before colon", FIELD("A : b")),
		R(-400, "tab before colon", FIELD("A\t: b")),
		R(-400, "no colon", FIELD("A")),
		R(-400, "no name", FIELD(": b")),
		R(-400, "space in name", FIELD("A b: c")),
		R(-400, "slash in name", FIELD("A/b: c")),
		R(-400, "quote in name", FIELD("\"A\": c")),
		R(-400, "0x80 in name", FIELD("A\x80: c")),
		R(-400, "NUL in name", FIELD("A\0: c")),
		R(-400, "NUL", FIELD("A: b\0c")),
		R(-400, "control", FIELD("A: b\x1f")),
		R(-400, "vertical tab", FIELD("A: \v")),
		R(-400, "DEL", FIELD("A: \x7f")),
		R(-400, "CR inside", FIELD("A: b\rc")),
		R(-400, "CR CR LF", FIELD("A: b\r")),
		R(-400, "LF inside", FIELD("A: b\nC: d")),
		R(-400, "LF LF at the end", GET HOST "A: b\n\n"),
		R(-400, "CR LF LF at the end", GET HOST "A: b\r\n\n"),
		R(-400, "folded by space", FIELD("A: b\r\n c")),
		R(-400, "folded by tab", FIELD("A: b\r\n\tc")),
		R(-400, "folded first line", GET " A: b\r\n" HOST "\r\n"),
		R(-400, "white space line", FIELD("A: b\r\n ")),
	};

	CHECK_REQUESTS(table);
}

Test(http_parse, framing)
{
	static const struct head_case table[] = {
		R(1, "length", FIELD("Content-Length: 5")),
		R(1, "length 0", FIELD("Content-Length: 0")),
		R(1, "leading zeros", FIELD("Content-Length: 005")),
		R(1, "largest", FIELD("Content-Length: 9223372036854775807")),
		R(-400, "overflow", FIELD("Content-Length: 9223372036854775808")),
		R(-400, "overflow of 64 bits", FIELD("Content-Length: 18446744073709551621")),
		R(-400, "overflow, long", FIELD("Content-Length: 99999999999999999999999999")),
		R(-400, "empty", FIELD("Content-Length:")),
		R(-400, "plus", FIELD("Content-Length: +5")),
		R(-400, "minus", FIELD("Content-Length: -5")),
		R(-400, "list", FIELD("Content-Length: 5, 5")),
		R(-400, "comma", FIELD("Content-Length: 5,")),
		R(-400, "space inside", FIELD("Content-Length: 5 5")),
		R(-400, "hex", FIELD("Content-Length: 0x5")),
		R(-400, "fraction", FIELD("Content-Length: 5.0")),
		R(-400, "quoted", FIELD("Content-Length: \"5\"")),
		R(-400, "two lines", FIELD("Content-Length: 5\r\nContent-Length: 5")),
		R(1, "chunked", FIELD("Transfer-Encoding: chunked")),
		R(1, "chunked, case", FIELD("transfer-encoding: ChunKED")),
		R(-400, "length, chunked",
		  FIELD("Content-Length: 5\r\nTransfer-Encoding: chunked")),
		R(-400, "chunked, length",
		  FIELD("Transfer-Encoding: chunked\r\nContent-Length: 5")),
		R(-400, "chunked twice", FIELD("Transfer-Encoding: chunked, chunked")),
		R(-400, "chunked on two lines",
		  FIELD("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")),
		R(-400, "gzip", FIELD("Transfer-Encoding: gzip")),
		R(-400, "gzip, chunked", FIELD("Transfer-Encoding: gzip, chunked")),
		R(-400, "chunked not last", FIELD("Transfer-Encoding: chunked, gzip")),
		R(-400, "identity", FIELD("Transfer-Encoding: identity")),
		R(-400, "empty coding", FIELD("Transfer-Encoding:")),
		R(-400, "comma first", FIELD("Transfer-Encoding: ,chunked")),
		R(-400, "parameter", FIELD("Transfer-Encoding: chunked;a=b")),
		R(-400, "garbled", FIELD("Transfer-Encoding: xchunked")),
		R(-400, "cut off", FIELD("Transfer-Encoding: chunke")),
		R(-400, "quoted coding", FIELD("Transfer-Encoding: \"chunked\"")),
		R(-400, "vertical tab", FIELD("Transfer-Encoding: \vchunked")),
		R(-400, "chunked in HTTP/1.0",
		  "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
		R(1, "continue", FIELD("Expect: 100-Continue")),
		R(-417, "unknown expectation", FIELD("Expect: 200-ok")),
		R(-417, "empty expectation", FIELD("Expect:")),
		R(-400, "framing error behind an unknown expectation",
		  FIELD("Expect: x\r\nContent-Length: x")),
	};

	CHECK_REQUESTS(table);
}

Test(http_parse, persistence)
{
	static const struct {
		const char *version, *fields;
		bool keep_alive, upgrade, expect;
	} table[] = {
		{ "1.1", "", true, false, false },
		{ "1.1", "Connection: close\r\n", false, false, false },
		{ "1.1", "Connection: CLOSE\r\n", false, false, false },
		{ "1.1", "Connection: foo,\t close ,bar\r\n", false, false, false },
		{ "1.1", "Connection: foo\r\nConnection: close\r\n", false, false, false },
		{ "1.1", "Connection: closed\r\n", true, false, false },
		{ "1.1", "Connection: keep-alive, close\r\n", false, false, false },
		{ "1.1", "Connection:\r\n", true, false, false },
		{ "1.1", "Connection: ,,\r\n", true, false, false },
		{ "1.0", "", false, false, false },
		{ "1.0", "Connection: Keep-Alive\r\n", true, false, false },
		{ "1.0", "Connection: keep-alive\r\nConnection: close\r\n", false, false, false },
		{ "1.0", "Connection: keep-alive, upgrade\r\nUpgrade: a\r\n", true, false, false },
		{ "1.1", "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n", true, true,
		  false },
		{ "1.1", "Upgrade: websocket\r\n", true, false, false },
		{ "1.1", "Connection: upgrade\r\n", true, false, false },
		{ "1.1", "Expect: 100-continue\r\n", true, false, true },
		{ "1.0", "Expect: 100-continue\r\n", false, false, false },
	};
	static struct result r;
	char buf[256];

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		int len = snprintf(buf, sizeof(buf), "GET / HTTP/%s\r\n" HOST "%s\r\n",
				   table[i].version, table[i].fields);

		parse_all(&r, guarded(buf, (size_t)len), (size_t)len, &limits, table[i].fields);
		cr_assert_eq(r.status, len, "%s", table[i].fields);
		cr_assert_eq(r.head.keep_alive, table[i].keep_alive, "%s", table[i].fields);
		cr_assert_eq(r.head.upgrade, table[i].upgrade, "%s", table[i].fields);
		cr_assert_eq(r.head.expect_continue, table[i].expect, "%s", table[i].fields);
	}
}

static void assert_slice(struct torc_slice slice, const char *text)
{
	cr_assert_eq(slice.len, strlen(text), "%.*s instead of %s", (int)slice.len, slice.data,
		     text);
	cr_assert(memcmp(slice.data, text, slice.len) == 0, "%.*s instead of %s", (int)slice.len,
		  slice.data, text);
}

Test(http_parse, parts_of_the_target)
{
	static const struct {
		const char *method, *target;
		enum torc__http_form form;
		const char *path, *query, *authority;
		bool has_query;
	} table[] = {
		{ "GET", "/", TORC__HTTP_ORIGIN, "/", "", "h", false },
		{ "GET", "/a?", TORC__HTTP_ORIGIN, "/a", "", "h", true },
		{ "GET", "/a?b?c", TORC__HTTP_ORIGIN, "/a", "b?c", "h", true },
		{ "GET", "http://x:1/y/z?q", TORC__HTTP_ABSOLUTE, "/y/z", "q", "x:1", true },
		{ "GET", "http://x?q/r", TORC__HTTP_ABSOLUTE, "/", "q/r", "x", true },
		{ "GET", "http://x", TORC__HTTP_ABSOLUTE, "/", "", "x", false },
		{ "OPTIONS", "http://x", TORC__HTTP_ABSOLUTE, "*", "", "x", false },
		{ "OPTIONS", "*", TORC__HTTP_ASTERISK, "*", "", "h", false },
		{ "CONNECT", "x:1", TORC__HTTP_AUTHORITY, "", "", "x:1", false },
	};
	static struct result r;
	char buf[256];

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		int len = snprintf(buf, sizeof(buf), "%s %s HTTP/1.1\r\nHost: h\r\n\r\n",
				   table[i].method, table[i].target);

		parse_all(&r, guarded(buf, (size_t)len), (size_t)len, &limits, table[i].target);
		cr_assert_eq(r.status, len, "%s: %d", table[i].target, r.status);
		cr_assert_eq(r.head.form, table[i].form, "%s", table[i].target);
		cr_assert_eq(r.head.has_query, table[i].has_query, "%s", table[i].target);
		assert_slice(r.head.method_name, table[i].method);
		assert_slice(r.head.target, table[i].target);
		assert_slice(r.head.path, table[i].path);
		assert_slice(r.head.query, table[i].query);
		assert_slice(r.head.authority, table[i].authority);
	}
}

Test(http_parse, every_method_is_known_by_its_name)
{
	static const char *const methods[TORC__HTTP_METHOD_UNKNOWN] = {
		"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
	};
	static struct result r;
	char buf[64];

	for (unsigned i = 0; i < TORC__HTTP_METHOD_UNKNOWN; i++) {
		int len = snprintf(buf, sizeof(buf), "%s %s HTTP/1.1\r\n" HOST "\r\n", methods[i],
				   i == TORC__HTTP_CONNECT ? "a:1" : "/");

		parse_all(&r, guarded(buf, (size_t)len), (size_t)len, &limits, methods[i]);
		cr_assert_eq(r.status, len);
		cr_assert_eq(r.head.method, i);
	}
}

static const char *const known_names[TORC__HTTP_NAME_COUNT] = {
#define NAME(token, name, ...) [TORC__HTTP_NAME_##token] = name,
	TORC__HTTP_NAMES(NAME)
#undef NAME
};

static void to_upper(char *s)
{
	for (; *s; s++)
		if (*s >= 'a' && *s <= 'z')
			*s = (char)(*s - 32);
}

Test(http_parse, every_known_name_is_found_in_both_cases_and_no_other)
{
	for (unsigned i = 1; i < TORC__HTTP_NAME_COUNT; i++) {
		char name[64];
		size_t len = strlen(known_names[i]);

		strcpy(name, known_names[i]);
		cr_assert_eq(torc__http_name_find(guarded(name, len), len), i, "%s", name);
		cr_assert_neq(torc__http_name_find(guarded(name, len - 1), len - 1), i);
		to_upper(name);
		cr_assert_eq(torc__http_name_find(guarded(name, len), len), i, "%s", name);
		for (size_t k = 0; k < len; k++) {
			char right = name[k];

			name[k] = right == 'X' ? 'Y' : 'X';
			cr_assert_eq(torc__http_name_find(guarded(name, len), len),
				     TORC__HTTP_NAME_OTHER, "%s", name);
			name[k] = right;
		}
	}
	cr_assert_eq(torc__http_name_find("x", 1), TORC__HTTP_NAME_OTHER);
}

Test(http_parse, fields_are_views_in_order_and_can_be_found)
{
	static const char request[] = GET HOST "X-One:  1 \r\nCookie: a\r\nCOOKIE: b\r\n\r\n";
	static struct result r;
	const struct torc__http_field *cookie;

	parse_all(&r, guarded(request, sizeof(request) - 1), sizeof(request) - 1, &limits, "");
	cr_assert_eq(r.head.field_count, 4);
	assert_slice(r.fields[1].name, "X-One");
	assert_slice(r.fields[1].value, "1");
	cr_assert_eq(r.fields[1].known, TORC__HTTP_NAME_OTHER);
	cookie = torc__http_field_find(&r.head, TORC__HTTP_NAME_COOKIE);
	cr_assert_eq(cookie, &r.fields[2]);
	assert_slice(cookie->value, "a");
	cr_assert_null(torc__http_field_find(&r.head, TORC__HTTP_NAME_RANGE));
}

Test(http_parse, bytes_behind_the_head_do_not_matter)
{
	static const char request[] = GET HOST "\r\n\0\xff\n\n garbage: \r\r";
	static struct result r;
	size_t head = sizeof(GET HOST "\r\n") - 1;

	for (size_t n = head; n < sizeof(request); n++) {
		parse_all(&r, guarded(request, n), n, &limits, "garbage");
		cr_assert_eq((size_t)r.status, head);
	}
}

Test(http_parse, limits_have_their_own_answers_and_hold_for_each_prefix)
{
	static const char request[] = "GET /0123456789 HTTP/1.1\r\n" HOST "A: b\r\nC: d\r\n\r\n";
	const size_t len = sizeof(request) - 1, line = 24;
	struct torc__http_limits lim = { line, len, 3 };

	check_all_prefixes("just right", request, len, 1, &lim);
	lim = (struct torc__http_limits){ line - 1, len, 3 };
	check_all_prefixes("line", request, len, -414, &lim);
	lim = (struct torc__http_limits){ 5, len, 3 };
	check_all_prefixes("line, in target", request, len, -414, &lim);
	lim = (struct torc__http_limits){ 1, len, 3 };
	check_all_prefixes("line, in method", request, len, -414, &lim);
	lim = (struct torc__http_limits){ line, len - 1, 3 };
	check_all_prefixes("head", request, len, -431, &lim);
	lim = (struct torc__http_limits){ line, 30, 3 };
	check_all_prefixes("head, in a field", request, len, -431, &lim);
	lim = (struct torc__http_limits){ line, len, 2 };
	check_all_prefixes("fields", request, len, -431, &lim);
	lim = (struct torc__http_limits){ line, len, 0 };
	check_all_prefixes("no fields", request, len, -431, &lim);
	lim = (struct torc__http_limits){ SIZE_MAX, SIZE_MAX, UINT32_MAX };
	check_all_prefixes("none", request, len, 1, &lim);
}

Test(http_parse, a_head_of_many_windows)
{
	static char request[30000];
	static struct result r;
	size_t len = (size_t)sprintf(request, GET HOST);

	for (unsigned i = 0; i < FIELDS - 1; i++)
		len += (size_t)
			sprintf(request + len, "%.*s: %.*s\r\n", (int)(1 + i * 5 % 190),
				"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
				"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
				"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
				"dddddddddddddd",
				(int)(i * 17 % 120),
				"0123456789012345678901234567890123456789012345678901234567890"
				"0123456789012345678901234567890123456789012345678901234567890");
	len += (size_t)sprintf(request + len, "\r\n");
	check_all_prefixes("many windows", request, len, 1, &limits);
	parse_all(&r, guarded(request, len), len, &limits, "");
	for (unsigned i = 0; i < FIELDS - 1; i++) {
		cr_assert_eq(r.fields[i + 1].name.len, 1 + i * 5 % 190);
		cr_assert_eq(r.fields[i + 1].value.len, i * 17 % 120);
	}
}

Test(http_parse, a_head_that_arrives_in_bytes_is_parsed_once_per_line)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\nB: c\r\n\r\n";
	static struct result r;
	size_t scanned = 0;
	unsigned parsed = 0;

	for (size_t n = 1; n < sizeof(request); n++) {
		if (!torc__http_head_grew(request, n, &limits, &scanned))
			continue;
		parse_with(&r, request, n, &limits);
		parsed++;
		scanned = n;
	}
	cr_assert_eq((size_t)r.status, sizeof(request) - 1);
	cr_assert_eq(parsed, 4);
}

Test(http_parse, a_line_that_never_ends_reaches_its_limit)
{
	static char request[AREA];
	static struct result r;
	size_t scanned = 0, n;
	unsigned parsed = 0;

	memset(request, 'A', sizeof(request));
	memcpy(request, "GET /", 5);
	r.status = 0;
	for (n = 1; n <= sizeof(request) && r.status == 0; n++) {
		if (!torc__http_head_grew(request, n, &limits, &scanned))
			continue;
		parse_with(&r, request, n, &limits);
		parsed++;
		scanned = n;
	}
	cr_assert_eq(r.status, -414);
	cr_assert_leq(n, limits.line_bytes + 8);
	cr_assert_leq(parsed, 4);
}

/* ---- Responses ------------------------------------------------------------------------------ */

#define OK           "HTTP/1.1 200 OK\r\n"
#define RFIELD(line) OK line "\r\n\r\n"

static void responses(void)
{
	parse = torc__http_parse_response;
}

Test(http_parse, status_lines, .init = responses)
{
	static const struct head_case table[] = {
		R(1, "plain", OK "\r\n"),
		R(1, "HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n"),
		R(1, "no reason", "HTTP/1.1 204 \r\n\r\n"),
		R(1, "no space and no reason", "HTTP/1.1 204\r\n\r\n"),
		R(1, "spaces in the reason", "HTTP/1.1 404  Not  Found \r\n\r\n"),
		R(1, "tab in the reason", "HTTP/1.1 404 Not\tFound\r\n\r\n"),
		R(1, "UTF-8 in the reason", "HTTP/1.1 404 \xc3\xa4\x80\xff\r\n\r\n"),
		R(1, "lowest status", "HTTP/1.1 100 Continue\r\n\r\n"),
		R(1, "highest status", "HTTP/1.1 599 ?\r\n\r\n"),
		R(1, "hash in the reason", "HTTP/1.1 200 #1\r\n\r\n"),
		R(-EBADMSG, "status 099", "HTTP/1.1 099 Low\r\n"),
		R(-EBADMSG, "status 600", "HTTP/1.1 600 High\r\n"),
		R(-EBADMSG, "status 000", "HTTP/1.1 000 Zero\r\n"),
		R(-EBADMSG, "two digits", "HTTP/1.1 20 OK\r\n"),
		R(-EBADMSG, "two digits and the end", "HTTP/1.1 20\r\n"),
		R(-EBADMSG, "four digits", "HTTP/1.1 2000 OK\r\n"),
		R(-EBADMSG, "sign", "HTTP/1.1 +20 OK\r\n"),
		R(-EBADMSG, "hex", "HTTP/1.1 2a0 OK\r\n"),
		R(-EBADMSG, "no status", "HTTP/1.1 OK\r\n"),
		R(-EBADMSG, "only a version", "HTTP/1.1\r\n"),
		R(-EBADMSG, "version and space", "HTTP/1.1 \r\n"),
		R(-EBADMSG, "two spaces before status", "HTTP/1.1  200 OK\r\n"),
		R(-EBADMSG, "tab before status", "HTTP/1.1\t200 OK\r\n"),
		R(-EBADMSG, "tab behind status", "HTTP/1.1 200\tOK\r\n"),
		R(-EBADMSG, "reason without space", "HTTP/1.1 200OK\r\n"),
		R(-EBADMSG, "NUL in the reason", "HTTP/1.1 200 O\0K\r\n"),
		R(-EBADMSG, "control in the reason", "HTTP/1.1 200 O\x01K\r\n"),
		R(-EBADMSG, "control for the reason", "HTTP/1.1 200\x01\r\n"),
		R(-EBADMSG, "DEL in the reason", "HTTP/1.1 200 O\x7fK\r\n"),
		R(-EBADMSG, "CR in the reason", "HTTP/1.1 200 O\rK\r\n"),
		R(-EBADMSG, "CR CR LF", "HTTP/1.1 200 OK\r\r\n"),
		R(-EBADMSG, "bare LF", "HTTP/1.1 200 OK\nA: b\r\n"),
		R(-EBADMSG, "bare LF behind the status", "HTTP/1.1 200\nA: b\r\n"),
		R(-EBADMSG, "empty line before", "\r\n" OK "\r\n"),
		R(-EBADMSG, "space before", " " OK "\r\n"),
		R(-EBADMSG, "NUL first", "\0"),
		R(-EBADMSG, "lower-case http", "http/1.1 200 OK\r\n"),
		R(-EBADMSG, "another protocol", "ICY 200 OK\r\n"),
		R(-EBADMSG, "HTTP/0.9", "<html>"),
		R(-EBADMSG, "HTTPS", "HTTPS/1.1 200 OK\r\n"),
		R(-EBADMSG, "a request", "GET / HTTP/1.1\r\n"),
		R(-EBADMSG, "a greeting of SMTP", "220 mail.example ESMTP\r\n"),
		R(-EBADMSG, "a TLS alert", "\x15\x03\x01\x00\x02\x02\x16"),
		R(-EBADMSG, "SETTINGS of HTTP/2", "\0\0\x12\x04\0\0\0\0\0"),
		R(-EBADMSG, "minor of two digits", "HTTP/1.10 200 OK\r\n"),
		R(-EBADMSG, "major of two digits", "HTTP/11.1 200 OK\r\n"),
		R(-EBADMSG, "no major", "HTTP/.1 200 OK\r\n"),
		R(-EBADMSG, "no minor", "HTTP/1. 200 OK\r\n"),
		R(-EBADMSG, "no version", "HTTP/ 200 OK\r\n"),
		R(-EBADMSG, "comma", "HTTP/1,1 200 OK\r\n"),
		R(-EBADMSG, "letter for a major", "HTTP/x 200 OK\r\n"),
		R(-EBADMSG, "letter", "HTTP/1.x 200 OK\r\n"),
		R(-EBADMSG, "another version without a status", "HTTP/2.0\r\n"),
		R(-EPROTONOSUPPORT, "HTTP/2", "HTTP/2 200\r\n"),
		R(-EPROTONOSUPPORT, "HTTP/2.0", "HTTP/2.0 200 OK\r\n"),
		R(-EPROTONOSUPPORT, "HTTP/3", "HTTP/3 200\r\n"),
		R(-EPROTONOSUPPORT, "HTTP/1.2", "HTTP/1.2 200 OK\r\n"),
		R(-EPROTONOSUPPORT, "HTTP/1", "HTTP/1 200 OK\r\n"),
		R(-EPROTONOSUPPORT, "HTTP/0.9 named", "HTTP/0.9 200 OK\r\n"),
	};

	CHECK_REQUESTS(table);
}

Test(http_parse, framing_of_responses, .init = responses)
{
	static const struct head_case table[] = {
		R(1, "nothing", OK "\r\n"),
		R(1, "length", RFIELD("Content-Length: 5")),
		R(1, "largest", RFIELD("content-length: 9223372036854775807")),
		R(-EBADMSG, "overflow", RFIELD("Content-Length: 9223372036854775808")),
		R(-EBADMSG, "empty", RFIELD("Content-Length:")),
		R(-EBADMSG, "minus", RFIELD("Content-Length: -5")),
		R(-EBADMSG, "list", RFIELD("Content-Length: 5, 5")),
		R(-EBADMSG, "two lines", RFIELD("Content-Length: 5\r\nContent-Length: 5")),
		R(1, "chunked", RFIELD("Transfer-Encoding: Chunked")),
		R(-EBADMSG, "length, chunked",
		  RFIELD("Content-Length: 5\r\nTransfer-Encoding: chunked")),
		R(-EBADMSG, "chunked, length",
		  RFIELD("Transfer-Encoding: chunked\r\nContent-Length: 5")),
		R(-EBADMSG, "chunked twice", RFIELD("Transfer-Encoding: chunked, chunked")),
		R(-EBADMSG, "gzip", RFIELD("Transfer-Encoding: gzip")),
		R(-EBADMSG, "gzip, chunked", RFIELD("Transfer-Encoding: gzip, chunked")),
		R(-EBADMSG, "identity", RFIELD("Transfer-Encoding: identity")),
		R(-EBADMSG, "empty coding", RFIELD("Transfer-Encoding:")),
		R(-EBADMSG, "chunked in HTTP/1.0",
		  "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
		R(1, "fields of requests mean nothing",
		  RFIELD("Host: a b\r\nHost:\r\nExpect: much")),
		R(-EBADMSG, "space before colon", RFIELD("A : b")),
		R(-EBADMSG, "no colon", RFIELD("A")),
		R(-EBADMSG, "no name", RFIELD(": b")),
		R(-EBADMSG, "NUL", RFIELD("A: b\0c")),
		R(-EBADMSG, "CR inside", RFIELD("A: b\rc")),
		R(-EBADMSG, "LF inside", RFIELD("A: b\nC: d")),
		R(-EBADMSG, "folded", RFIELD("A: b\r\n c")),
		R(-EBADMSG, "folded first line", OK " A: b\r\n\r\n"),
		R(-EBADMSG, "LF LF at the end", OK "A: b\n\n"),
		R(-EBADMSG, "CR LF LF at the end", OK "A: b\r\n\n"),
	};

	CHECK_REQUESTS(table);
}

Test(http_parse, parts_of_a_response, .init = responses)
{
	static const struct {
		const char *line, *fields, *reason;
		unsigned status, minor, length;
		bool has_length, chunked, keep_alive, upgrade;
	} table[] = {
		{ "HTTP/1.1 200 OK", "", "OK", 200, 1, 0, 0, 0, 1, 0 },
		{ "HTTP/1.1 204", "", "", 204, 1, 0, 0, 0, 1, 0 },
		{ "HTTP/1.1 404 ", "Content-Length: 7\r\n", "", 404, 1, 7, 1, 0, 1, 0 },
		{ "HTTP/1.1 404  Not there ", "", " Not there ", 404, 1, 0, 0, 0, 1, 0 },
		{ "HTTP/1.1 599 x", "Transfer-Encoding: chunked\r\n", "x", 599, 1, 0, 0, 1, 1, 0 },
		{ "HTTP/1.1 200 OK", "Connection: a, Close\r\n", "OK", 200, 1, 0, 0, 0, 0, 0 },
		{ "HTTP/1.1 200 OK", "Connection: keep-alive\r\nConnection: close\r\n", "OK", 200,
		  1, 0, 0, 0, 0, 0 },
		{ "HTTP/1.1 200 OK", "Host: close\r\nExpect: close\r\n", "OK", 200, 1, 0, 0, 0, 1,
		  0 },
		{ "HTTP/1.0 200 OK", "", "OK", 200, 0, 0, 0, 0, 0, 0 },
		{ "HTTP/1.0 200 OK", "Connection: Keep-Alive\r\n", "OK", 200, 0, 0, 0, 0, 1, 0 },
		{ "HTTP/1.0 200 OK", "Connection: keep-alive, close\r\n", "OK", 200, 0, 0, 0, 0, 0,
		  0 },
		{ "HTTP/1.1 101 Go", "Connection: Upgrade\r\nUpgrade: websocket\r\n", "Go", 101, 1,
		  0, 0, 0, 1, 1 },
		{ "HTTP/1.1 101 Go", "Upgrade: websocket\r\n", "Go", 101, 1, 0, 0, 0, 1, 0 },
		{ "HTTP/1.0 101 Go", "Connection: Upgrade\r\nUpgrade: websocket\r\n", "Go", 101, 0,
		  0, 0, 0, 0, 0 },
	};
	static struct result r;
	char buf[256];

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		int len =
			snprintf(buf, sizeof(buf), "%s\r\n%s\r\n", table[i].line, table[i].fields);

		parse_all(&r, guarded(buf, (size_t)len), (size_t)len, &limits, table[i].line);
		cr_assert_eq(r.status, len, "%zu: %d", i, r.status);
		assert_slice(r.head.reason, table[i].reason);
		cr_assert_eq(r.head.status, table[i].status);
		cr_assert_eq(r.head.minor, table[i].minor);
		cr_assert_eq(r.head.content_length, table[i].length);
		cr_assert_eq(r.head.has_length, table[i].has_length);
		cr_assert_eq(r.head.chunked, table[i].chunked);
		cr_assert_eq(r.head.keep_alive, table[i].keep_alive, "%zu", i);
		cr_assert_eq(r.head.upgrade, table[i].upgrade, "%zu", i);
	}
}

Test(http_parse, limits_of_responses_hold_for_each_prefix, .init = responses)
{
	static const char response[] = "HTTP/1.1 200 0123456789\r\nA: b\r\nC: d\r\n\r\n";
	const size_t len = sizeof(response) - 1, line = 23;
	struct torc__http_limits lim = { line, len, 2 };

	check_all_prefixes("just right", response, len, 1, &lim);
	for (size_t most = 0; most < line; most++) {
		lim = (struct torc__http_limits){ most, SIZE_MAX, 2 };
		check_all_prefixes("line", response, len, -EMSGSIZE, &lim);
	}
	for (size_t most = 0; most < 11; most++) { /* and not of what is bad behind it */
		lim = (struct torc__http_limits){ most, SIZE_MAX, 2 };
		check_all_prefixes("bad line", "HTTP/1.1 200X", 13, -EMSGSIZE, &lim);
	}
	for (size_t most = 0; most < len; most++) {
		lim = (struct torc__http_limits){ line, most, 2 };
		check_all_prefixes("head", response, len, -EMSGSIZE, &lim);
	}
	for (unsigned most = 0; most < 2; most++) {
		lim = (struct torc__http_limits){ line, len, most };
		check_all_prefixes("fields", response, len, -EMSGSIZE, &lim);
	}
	lim = (struct torc__http_limits){ SIZE_MAX, SIZE_MAX, UINT32_MAX };
	check_all_prefixes("none", response, len, 1, &lim);
}

/* ---- Random requests ------------------------------------------------------------------------ */

Test(http_parse, all_instruction_sets_agree_on_random_requests)
{
	static struct result whole, prefix;
	unsigned accepted = 0;
	char buf[1024];

	for (unsigned i = 0; i < 300000; i++) {
		size_t len = random_request(buf, sizeof(buf));
		size_t cut = random_below((unsigned)len);

		parse_all(&prefix, guarded(buf, cut), cut, &limits, "prefix");
		parse_all(&whole, guarded(buf, len), len, &limits, "whole");
		accepted += whole.status > 0;
		if (prefix.status != 0)
			cr_assert_eq(prefix.status, whole.status, "%u: %d became %d at %zu", i,
				     prefix.status, whole.status, cut);
	}
	cr_assert_gt(accepted, 30000, "only %u", accepted);
	cr_assert_lt(accepted, 250000, "even %u", accepted);
}

Test(http_parse, all_instruction_sets_agree_on_random_responses, .init = responses)
{
	static struct result whole, prefix;
	unsigned accepted = 0;
	char buf[1024];

	for (unsigned i = 0; i < 50000; i++) {
		size_t len = random_response(buf, sizeof(buf));
		size_t cut = random_below((unsigned)len);

		parse_all(&prefix, guarded(buf, cut), cut, &limits, "prefix");
		parse_all(&whole, guarded(buf, len), len, &limits, "whole");
		accepted += whole.status > 0;
		if (prefix.status != 0)
			cr_assert_eq(prefix.status, whole.status, "%u: %d became %d at %zu", i,
				     prefix.status, whole.status, cut);
	}
	cr_assert_gt(accepted, 5000, "only %u", accepted);
	cr_assert_lt(accepted, 40000, "even %u", accepted);
}

Test(http_parse, all_instruction_sets_classify_random_bytes_alike)
{
	struct torc__http_scan scalar, vector;
	char bytes[400];

	for (unsigned i = 0; i < 100000; i++) {
		size_t len = random_below(sizeof(bytes)), from = random_below((unsigned)len + 1);
		size_t words = (len - from) / 64 + 1;
		char *buf;

		for (size_t k = 0; k < len; k++)
			bytes[k] = (char)random_below(256);
		buf = guarded(bytes, len);
		words = words < WINDOW ? words : WINDOW;
		for (int isa = TORC__HTTP_ISA_SCALAR; isa < TORC__HTTP_ISA_COUNT; isa++) {
			struct torc__http_scan *s =
				isa == TORC__HTTP_ISA_SCALAR ? &scalar : &vector;

			if (!torc__http_scan_select((enum torc__http_isa)isa))
				continue;
			torc__http_scan_init(s, buf, len);
			s->words = WINDOW;
			torc__http_scan_fill(s, from);
			cr_assert(memcmp(s->name, scalar.name, words * 8) == 0, "isa %d", isa);
			cr_assert(memcmp(s->value, scalar.value, words * 8) == 0, "isa %d", isa);
		}
	}
	torc__http_scan_select(TORC__HTTP_ISA_AUTO);
}
