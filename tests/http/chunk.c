#include <criterion/criterion.h>

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "http/internal/chunk.h"

TestSuite(http_chunk, .timeout = 60);

#define AREA 8192

static const struct torc__http_chunk_limits limits = {
	.body_bytes = 1000,
	.ext_bytes = 32,
	.trailer_bytes = 64,
	.trailers = 3,
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

/* What a body came to: a status, or the data and the bytes that it took. */
struct outcome {
	int status; /* 1 done, 0 incomplete, or negative */
	size_t used, data_len;
	char data[AREA];
};

static void feed(struct torc__http_chunk *c, struct outcome *o, const char *piece, size_t len)
{
	const char *buf = guarded(piece, len);

	while (len > 0 && o->status == 0) {
		struct torc_slice data;
		ssize_t used = torc__http_chunk_next(c, buf, len, &data);

		if (used < 0) {
			o->status = (int)used;
			return;
		}
		cr_assert(data.len <= (size_t)used && (size_t)used <= len && used > 0);
		cr_assert(data.data >= buf && data.data + data.len <= buf + used);
		memcpy(o->data + o->data_len, data.data, data.len);
		o->data_len += data.len;
		o->used += (size_t)used;
		o->status = torc__http_chunk_done(c);
		buf += used;
		len -= (size_t)used;
	}
}

/* Feeds @body in two slices, cut at @cut, the second of them in pieces of @piece bytes. */
static void decode(struct outcome *o, const char *body, size_t len, size_t cut, size_t piece,
		   const struct torc__http_chunk_limits *lim)
{
	struct torc__http_chunk c;

	torc__http_chunk_init(&c, lim);
	o->status = 0;
	o->used = o->data_len = 0;
	feed(&c, o, body, cut);
	for (size_t pos = cut; pos < len && o->status == 0; pos += piece)
		feed(&c, o, body + pos, len - pos < piece ? len - pos : piece);
}

static void check(const char *label, const char *body, size_t len, int status, const char *data,
		  const struct torc__http_chunk_limits *lim)
{
	static struct outcome o;
	static const size_t pieces[] = { 1, 2, 3, 7, AREA };

	for (size_t cut = 0; cut <= len; cut++) {
		for (unsigned i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
			decode(&o, body, len, cut, pieces[i], lim);
			cr_assert_eq(o.status, status, "%s, cut at %zu: %d", label, cut, o.status);
			if (status == 1) {
				cr_assert_eq(o.used, len, "%s: %zu of %zu", label, o.used, len);
				cr_assert_eq(o.data_len, strlen(data), "%s", label);
				cr_assert(memcmp(o.data, data, o.data_len) == 0, "%s", label);
			}
		}
		if (cut < len && status == 1) {
			decode(&o, body, cut, cut, 1, lim);
			cr_assert_eq(o.status, 0, "%s: %d at %zu already", label, o.status, cut);
		}
	}
}

struct body {
	const char *label;
	const char *body;
	size_t len;
	int status;
	const char *data;
};

#define GOOD(label, body, data)                        \
	{                                              \
		label, body, sizeof(body) - 1, 1, data \
	}
#define BAD(label, body)                                  \
	{                                                 \
		label, body, sizeof(body) - 1, -400, NULL \
	}
#define BIG(status, label, body)                            \
	{                                                   \
		label, body, sizeof(body) - 1, status, NULL \
	}
#define END "0\r\n\r\n"

static void check_bodies(const struct body *bodies, size_t count)
{
	for (size_t i = 0; i < count; i++)
		check(bodies[i].label, bodies[i].body, bodies[i].len, bodies[i].status,
		      bodies[i].data, &limits);
}

#define CHECK_BODIES(table) check_bodies(table, sizeof(table) / sizeof((table)[0]))

Test(http_chunk, sizes_and_data)
{
	static const struct body table[] = {
		GOOD("empty", END, ""),
		GOOD("one", "5\r\nhello\r\n" END, "hello"),
		GOOD("two", "2\r\nhe\r\n3\r\nllo\r\n" END, "hello"),
		GOOD("hex", "a\r\n0123456789\r\nB\r\n0123456789a\r\n" END, "01234567890123456789a"),
		GOOD("two digits", "10\r\n0123456789abcdef\r\n" END, "0123456789abcdef"),
		GOOD("more digits in all than one size may have",
		     "0001\r\na\r\n0001\r\nb\r\n0001\r\nc\r\n0001\r\nd\r\n" END, "abcd"),
		GOOD("leading zeros",
		     "005\r\nhello\r\n"
		     "000\r\n\r\n",
		     "hello"),
		GOOD("data with line ends", "6\r\n\r\n0\r\n\r\r\n" END, "\r\n0\r\n\r"),
		BAD("no digit", "\r\n\r\n"),
		BAD("not hex", "g\r\n"),
		BAD("sign", "+5\r\nhello\r\n"),
		BAD("minus", "-1\r\n"),
		BAD("prefix 0x", "0x5\r\nhello\r\n"),
		BAD("space first", " 5\r\nhello\r\n"),
		BAD("space behind", "5 \r\nhello\r\n"),
		BAD("tab behind", "5\t\r\nhello\r\n"),
		BAD("underscore", "1_0\r\n"),
		BAD("comma", "5,5\r\n"),
		BAD("NUL", "5\0\r\n"),
		BAD("LF behind size", "5\nhello\r\n"),
		BAD("CR behind size", "5\rhello\r\n"),
		BAD("CR CR LF behind size", "5\r\r\nhello"),
		BAD("LF behind data", "5\r\nhello\n" END),
		BAD("CR behind data", "5\r\nhello\r0"),
		BAD("nothing behind data", "5\r\nhello" END),
		BAD("data too long", "5\r\nhello!\r\n" END),
		BAD("data too short", "5\r\nhell\r\n" END),
		BAD("17 digits", "00000000000000005\r\nhello\r\n"),
		BAD("overflow", "8000000000000000\r\n"),
		BAD("overflow of 64 bits", "10000000000000005\r\nhello\r\n"),
		BAD("LF at the end", "0\r\n\n"),
		BAD("LF LF at the end", "0\n\n"),
		BAD("CR X at the end", "0\r\n\rX"),
		BIG(-413, "largest number", "7fffffffffffffff\r\n"),
		BIG(-413, "one chunk over the limit", "3e9\r\n"),
		BIG(-413, "two chunks over the limit", "5\r\nhello\r\n3e4\r\n"),
	};

	CHECK_BODIES(table);
}

Test(http_chunk, extensions)
{
	static const struct body table[] = {
		GOOD("name", "2;a\r\nhi\r\n" END, "hi"),
		GOOD("value", "2;a=b\r\nhi\r\n" END, "hi"),
		GOOD("several", "2;a=b;c;d=e\r\nhi\r\n0;f\r\n\r\n", "hi"),
		GOOD("quoted", "2;a=\"b c;\xff\t\"\r\nhi\r\n" END, "hi"),
		GOOD("quoted, empty", "2;a=\"\";b\r\nhi\r\n" END, "hi"),
		GOOD("quoted pair", "2;a=\"\\\"\\\\\"\r\nhi\r\n" END, "hi"),
		GOOD("bad white space", "2 ; a = b ;\tc\r\nhi\r\n" END, "hi"),
		GOOD("exactly the limit", "2;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nhi\r\n" END, "hi"),
		BAD("one more", "2;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nhi\r\n" END),
		BAD("limit over two chunks",
		    "2;aaaaaaaaaaaaaaaaaaaa\r\nhi\r\n0;aaaaaaaaaaaaaaaaaaaa"),
		BAD("no name", "2;\r\n"),
		BAD("no name, value", "2;=a\r\n"),
		BAD("two semicolons", "2;;a\r\n"),
		BAD("no value", "2;a=\r\n"),
		BAD("two values", "2;a=b=c\r\n"),
		BAD("space at the end", "2;a \r\n"),
		BAD("space at the end of a value", "2;a=b \r\n"),
		BAD("two names", "2;a b\r\n"),
		BAD("space without semicolon", "2 a\r\n"),
		BAD("LF", "2;a\nhi\r\n"),
		BAD("CR", "2;a\rb\r\n"),
		BAD("LF in a value", "2;a=b\nhi\r\n"),
		BAD("LF in quotes", "2;a=\"\n\"\r\n"),
		BAD("CR LF in quotes", "2;a=\"\r\n\"\r\n"),
		BAD("escaped LF", "2;a=\"\\\n\"\r\n"),
		BAD("escaped NUL", "2;a=\"\\\0\"\r\n"),
		BAD("quotes not closed", "2;a=\"b\r\n"),
		BAD("text behind quotes", "2;a=\"b\"c\r\n"),
		BAD("control", "2;a\x01\r\n"),
		BAD("0x80", "2;\x80\r\n"),
		BAD("slash", "2;a/b\r\n"),
	};

	CHECK_BODIES(table);
}

Test(http_chunk, trailers)
{
	static const struct body table[] = {
		GOOD("one", "0\r\nA: b\r\n\r\n", ""),
		GOOD("three, empty values", "1\r\nx\r\n0\r\nA:\r\nB: \r\nC:\tc\t\r\n\r\n", "x"),
		GOOD("bytes from 0x80", "0\r\nA: \xff\r\n\r\n", ""),
		GOOD("long name", "0\r\nA23456789-123456789-123456789-123456789: b\r\n\r\n", ""),
		GOOD("known and harmless", "0\r\nETag: b\r\n\r\n", ""),
		GOOD("longer than forbidden", "0\r\nHosts: b\r\n\r\n", ""),
		GOOD("just the bytes",
		     "0\r\nA: 0123456789012345678901234567890123456789012345678901234567\r\n\r\n",
		     ""),
		BIG(-431, "too many bytes",
		    "0\r\nA: 012345678901234567890123456789012345678901234567890123456789\r\n\r\n"),
		BIG(-431, "too many", "0\r\nA:\r\nB:\r\nC:\r\nD:\r\n\r\n"),
		BAD("Content-Length", "0\r\nContent-Length: 5\r\n\r\n"),
		BAD("Transfer-Encoding", "0\r\ntransfer-encoding: chunked\r\n\r\n"),
		BAD("Host", "0\r\nHOST: a\r\n\r\n"),
		BAD("Trailer", "0\r\nTrailer: a\r\n\r\n"),
		BAD("Connection", "0\r\nConnection: close\r\n\r\n"),
		BAD("Authorization", "0\r\nA: b\r\nAuthorization: a\r\n\r\n"),
		BAD("Content-Type", "0\r\nContent-Type: a\r\n\r\n"),
		BAD("space before colon", "0\r\nA : b\r\n\r\n"),
		BAD("no colon", "0\r\nA\r\n\r\n"),
		BAD("no name", "0\r\n: b\r\n\r\n"),
		BAD("folded", "0\r\nA: b\r\n c\r\n\r\n"),
		BAD("folded first", "0\r\n A: b\r\n\r\n"),
		BAD("LF", "0\r\nA: b\n\r\n"),
		BAD("CR", "0\r\nA: b\rc\r\n\r\n"),
		BAD("NUL", "0\r\nA: \0\r\n\r\n"),
		BAD("control", "0\r\nA: \x7f\r\n\r\n"),
		BAD("0x80 in name", "0\r\n\x80: a\r\n\r\n"),
	};

	CHECK_BODIES(table);
}

Test(http_chunk, bytes_behind_the_body_are_left_alone)
{
	static const char body[] = "2\r\nhi\r\n" END "GET / HTTP/1.1\r\n";
	static struct outcome o;

	decode(&o, body, sizeof(body) - 1, sizeof(body) - 1, 1, &limits);
	cr_assert_eq(o.status, 1);
	cr_assert_eq(o.used, sizeof("2\r\nhi\r\n" END) - 1);
}

Test(http_chunk, no_input_changes_nothing)
{
	struct torc__http_chunk c;
	struct torc_slice data;

	torc__http_chunk_init(&c, &limits);
	cr_assert_eq(torc__http_chunk_next(&c, "", 0, &data), 0);
	cr_assert_eq(data.len, 0);
	cr_assert_eq(torc__http_chunk_next(&c, "2\r\n", 3, &data), 3);
	cr_assert_eq(torc__http_chunk_next(&c, "", 0, &data), 0);
	cr_assert_not(torc__http_chunk_done(&c));
}

Test(http_chunk, an_error_and_an_end_are_final)
{
	struct torc__http_chunk c;
	struct torc_slice data;

	torc__http_chunk_init(&c, &limits);
	cr_assert_eq(torc__http_chunk_next(&c, "x", 1, &data), -400);
	cr_assert_eq(torc__http_chunk_next(&c, END, 5, &data), -400);
	cr_assert_eq(data.len, 0);
	cr_assert_not(torc__http_chunk_done(&c));
	torc__http_chunk_init(&c, &limits);
	cr_assert_eq(torc__http_chunk_next(&c, END END, 10, &data), 5);
	cr_assert(torc__http_chunk_done(&c));
	cr_assert_eq(torc__http_chunk_next(&c, END, 5, &data), 0);
}

Test(http_chunk, a_limit_of_zero_allows_what_needs_none)
{
	static const struct torc__http_chunk_limits none;

	check("end", END, 5, 1, "", &none);
	check("data", "1\r\n", 3, -413, NULL, &none);
	check("extension", "0;a", 3, -400, NULL, &none);
	check("trailer", "0\r\nA", 4, -431, NULL, &none);
}

/* ---- Random bodies -------------------------------------------------------------------------- */

static uint64_t random_state = 0x853c49e6748fea9b;

static unsigned random_below(unsigned limit)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (unsigned)((random_state >> 32) % limit);
}

Test(http_chunk, random_bodies_do_not_depend_on_the_cuts)
{
	static const char seed[] =
		"5;a=b\r\nhello\r\n1b ; c=\"d\\\"\"\r\n012345678901234567890123456"
		"\r\n0\r\nX: y\r\nEtag:\r\n\r\nGET ";
	static const char bytes[] = "\r\n\t :;=\"\\09aF\x7f\xff";
	static struct outcome whole, cut;
	unsigned done = 0;

	for (unsigned i = 0; i < 200000; i++) {
		char body[sizeof(seed)];
		size_t len = sizeof(seed) - 1;

		memcpy(body, seed, sizeof(seed));
		for (unsigned k = random_below(3); k > 0; k--)
			body[random_below((unsigned)len)] = bytes[random_below(sizeof(bytes))];
		decode(&whole, body, len, len, 1, &limits);
		decode(&cut, body, len, random_below((unsigned)len), 1 + random_below(9), &limits);
		cr_assert_eq(whole.status, cut.status, "%u: %d, %d", i, whole.status, cut.status);
		cr_assert_eq(whole.data_len, cut.data_len, "%u", i);
		cr_assert(memcmp(whole.data, cut.data, whole.data_len) == 0, "%u", i);
		if (whole.status == 1)
			cr_assert_eq(whole.used, cut.used, "%u", i);
		done += whole.status == 1;
	}
	cr_assert(done > 20000 && done < 180000, "%u", done);
}
