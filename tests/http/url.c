/*
 * URLs: RFC 3986 with its examples, what is refused, hostile bytes between guard pages, and random ones.
 */
#include <criterion/criterion.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <torc/http/url.h>

#include "tests/http/mutate.h"

TestSuite(http_url, .timeout = 60);

#define AREA  32768 /* a multiple of the page size, larger than any text here */
#define COUNT 6     /* areas; each before a page that must not be touched */

/* The last @len bytes of area @which. */
static char *room(unsigned which, size_t len)
{
	static char *areas;

	if (!areas) {
		areas = mmap(NULL, COUNT * (AREA + 4096), PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		cr_assert_neq(areas, MAP_FAILED);
		for (size_t i = 0; i < COUNT; i++)
			cr_assert_eq(mprotect(areas + i * (AREA + 4096) + AREA, 4096, PROT_NONE),
				     0);
	}
	cr_assert_leq(len, AREA);
	return areas + which * (AREA + 4096) + AREA - len;
}

#define BEFORE 64

/* Room for a result, of which also the bytes before are watched. */
static char *watched(unsigned which, size_t size)
{
	memset(room(which, size + BEFORE), 0x5a, BEFORE + size);
	return room(which, size);
}

static void assert_untouched(const char *out)
{
	for (size_t i = 1; i <= BEFORE; i++)
		cr_assert_eq(out[-(ptrdiff_t)i], 0x5a, "byte %zu before", i);
}

static const char *guarded(unsigned which, const char *data, size_t len)
{
	return memcpy(room(which, len), data, len);
}

static int parse(const char *text, size_t len, struct torc_url *u)
{
	return torc_url_parse(guarded(0, text, len), len, u);
}

static void assert_slice(struct torc_slice s, const char *text, const char *label)
{
	cr_assert(s.data && s.len == strlen(text) && !memcmp(s.data, text, s.len),
		  "%s: %.*s instead of %s", label, (int)s.len, s.data, text);
}

/* --- parse --- */

Test(http_url, the_parts_are_found)
{
	static const struct {
		const char *text, *scheme, *userinfo, *host, *path, *query, *fragment;
		uint16_t port;
		const char
			*flags; /* a: authority, u: userinfo, p: port, q: query, f: fragment, 6 */
	} table[] = {
		{ "http://a", "http", "", "a", "", "", "", 80, "a" },
		{ "http://a/", "http", "", "a", "/", "", "", 80, "a" },
		{ "https://a.b-c_d/e/f", "https", "", "a.b-c_d", "/e/f", "", "", 443, "a" },
		{ "ws://a", "ws", "", "a", "", "", "", 80, "a" },
		{ "wss://a", "wss", "", "a", "", "", "", 443, "a" },
		{ "HTTP://A.B", "HTTP", "", "A.B", "", "", "", 80, "a" },
		{ "http://a:", "http", "", "a", "", "", "", 80, "a" },
		{ "http://a:80/", "http", "", "a", "/", "", "", 80, "ap" },
		{ "http://a:00080/", "http", "", "a", "/", "", "", 80, "ap" },
		{ "http://a:65535/", "http", "", "a", "/", "", "", 65535, "ap" },
		{ "http://a?b", "http", "", "a", "", "b", "", 80, "aq" },
		{ "http://a?", "http", "", "a", "", "", "", 80, "aq" },
		{ "http://a#b", "http", "", "a", "", "", "b", 80, "af" },
		{ "http://a#", "http", "", "a", "", "", "", 80, "af" },
		{ "http://a#b?c", "http", "", "a", "", "", "b?c", 80, "af" },
		{ "http://a/b?c/d?e#f/g?h", "http", "", "a", "/b", "c/d?e", "f/g?h", 80, "aqf" },
		{ "http://u@a", "http", "u", "a", "", "", "", 80, "au" },
		{ "http://@a", "http", "", "a", "", "", "", 80, "au" },
		{ "http://u:p:q@a:1/", "http", "u:p:q", "a", "/", "", "", 1, "aup" },
		{ "http://u%40:%2f@a", "http", "u%40:%2f", "a", "", "", "", 80, "au" },
		{ "http://a/@b:c", "http", "", "a", "/@b:c", "", "", 80, "a" },
		{ "http://a?@b", "http", "", "a", "", "@b", "", 80, "aq" },
		{ "http://[::1]", "http", "", "::1", "", "", "", 80, "a6" },
		{ "http://u@[::ffff:1.2.3.4]:8/", "http", "u", "::ffff:1.2.3.4", "/", "", "", 8,
		  "aup6" },
		{ "http://127.0.0.1", "http", "", "127.0.0.1", "", "", "", 80, "a" },
		{ "http://1a", "http", "", "1a", "", "", "", 80, "a" },
		{ "http://1.2.3.4.a", "http", "", "1.2.3.4.a", "", "", "", 80, "a" },
		{ "http://0xg", "http", "", "0xg", "", "", "", 80, "a" },
		{ "http://a.", "http", "", "a.", "", "", "", 80, "a" },
		{ "http://xn--n3h/", "http", "", "xn--n3h", "/", "", "", 80, "a" },
		{ "http://a//b", "http", "", "a", "//b", "", "", 80, "a" },
		{ "http://a/%00%ff%2F", "http", "", "a", "/%00%ff%2F", "", "", 80, "a" },
		{ "http://a/b[]|c?d[]=e|f", "http", "", "a", "/b[]|c", "d[]=e|f", "", 80, "aq" },
		{ "http://a/!$&'()*+,;=:@-._~", "http", "", "a", "/!$&'()*+,;=:@-._~", "", "", 80,
		  "a" },
		{ "mailto:a@b?c", "mailto", "", "", "a@b", "c", "", 0, "q" },
		{ "file:///etc/passwd", "file", "", "", "/etc/passwd", "", "", 0, "a" },
		{ "file:/etc", "file", "", "", "/etc", "", "", 0, "" },
		{ "urn:a:b:c", "urn", "", "", "a:b:c", "", "", 0, "" },
		{ "ftp://a:21/b", "ftp", "", "a", "/b", "", "", 21, "ap" },
		{ "ftp://a/b", "ftp", "", "a", "/b", "", "", 0, "a" },
		{ "x+y-z.1:", "x+y-z.1", "", "", "", "", "", 0, "" },
	};
	struct torc_url u;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const char *text = table[i].text, *flags = table[i].flags;

		cr_assert_eq(parse(text, strlen(text), &u), 0, "%s", text);
		assert_slice(u.scheme, table[i].scheme, text);
		assert_slice(u.userinfo, table[i].userinfo, text);
		assert_slice(u.host, table[i].host, text);
		assert_slice(u.path, table[i].path, text);
		assert_slice(u.query, table[i].query, text);
		assert_slice(u.fragment, table[i].fragment, text);
		cr_assert_eq(u.port, table[i].port, "%s", text);
		cr_assert_eq(u.has_authority, strchr(flags, 'a') != NULL, "%s", text);
		cr_assert_eq(u.has_userinfo, strchr(flags, 'u') != NULL, "%s", text);
		cr_assert_eq(u.has_port, strchr(flags, 'p') != NULL, "%s", text);
		cr_assert_eq(u.has_query, strchr(flags, 'q') != NULL, "%s", text);
		cr_assert_eq(u.has_fragment, strchr(flags, 'f') != NULL, "%s", text);
		cr_assert_eq(u.is_ipv6, strchr(flags, '6') != NULL, "%s", text);
	}
}

/* Bytes that are part of a URL nowhere, at each place of one. */
Test(http_url, hostile_bytes_are_refused_everywhere)
{
	static const char good[] = "http://u:p@a.b:80/c/d?e=f#g";
	static const char bad[] = "\r\n\t\0\x01\x1f\x7f\\";
	struct torc_url u;
	char text[sizeof(good) + 1], out[100];

	cr_assert_eq(parse(good, sizeof(good) - 1, &u), 0);
	for (size_t at = 0; at < sizeof(good); at++) {
		memcpy(text, good, at);
		memcpy(text + at + 1, good + at, sizeof(good) - at);
		for (size_t i = 0; i < sizeof(bad) - 1; i++) {
			text[at] = bad[i];
			cr_assert_eq(parse(text, sizeof(good), &u), -EINVAL, "%zu %zu", at, i);
			cr_assert_eq(torc_url_normalize(text, sizeof(good), out, sizeof(out)),
				     -EINVAL, "%zu %zu", at, i);
			cr_assert_eq(torc_url_resolve(good, sizeof(good) - 1, text, sizeof(good),
						      out, sizeof(out)),
				     -EINVAL, "%zu %zu", at, i);
		}
	}
}

Test(http_url, what_two_readers_might_read_in_two_ways_is_refused)
{
	static const char *const table[] = {
		"",
		"a",
		"/a",
		"//a",
		"?a",
		"#a",
		":",
		"://a",
		"1http://a",
		"ht tp://a",
		"h%74tp://a",
		"ht_tp://a",
		"http:",
		"http:a",
		"http:/a",
		"http://",
		"http:///a",
		"http://?a",
		"http://#a",
		"http://:80",
		"http://u@",
		"http://u@:80",
		"https:////a",
		"ws:a",
		"foo://:80",
		"foo://u@",
		"foo://u@/a",
		/* an authority of more than one reading */
		"http://a@b@c",
		"http://a:b:c",
		"http://a:80:80",
		"http://a\\@b",
		"http://a%40b",
		"http://a%2eb",
		"http://a%2fb",
		"http://a%00b",
		"http://a b",
		"http://a,b",
		"http://<a>",
		"http://a^b",
		"http://a|b",
		"http://a\"b",
		"http://{a}",
		"http://a`b",
		"http://u[@a",
		"http://u%@a",
		"http://u%zz@a",
		"http://u^@a",
		"http://\xc3\xa4",
		"http://\xef\xbc\x8e",
		"http://a\xc2\xad",
		"http://a:+80",
		"http://a:-1",
		"http://a:0",
		"http://a:000",
		"http://a:65536",
		"http://a:99999999999999999999",
		"http://a:8o",
		"http://a:80 ",
		"http://a: 80",
		/* addresses as only some understand them */
		"http://127.1",
		"http://127.0.0.1.",
		"http://2130706433",
		"http://0x7f000001",
		"http://0x7f.0.0.1",
		"http://0X7F.1",
		"http://0X7F000001",
		"http://017700000001",
		"http://0177.0.0.1",
		"http://127.0.0.01",
		"http://127.0.0.256",
		"http://1.2.3.4.5",
		"http://127.0.0.0x1",
		"http://a.0x",
		"http://a.1",
		"http://a.1.",
		"http://1.2.3.",
		"http://[",
		"http://]",
		"http://[]",
		"http://[::1",
		"http://::1",
		"http://[::1]a",
		"http://[::1]a:80",
		"http://[a]",
		"http://[127.0.0.1]",
		"http://[::1%25lo]",
		"http://[::1%lo]",
		"http://[v1.a]",
		"http://[::1::]",
		"http://[1:2:3:4:5:6:7:8:9]",
		"http://[::127.0.0.256]",
		"http://a[::1]",
		/* paths */
		"http://a/ ",
		"http://a/b c",
		"http://a/\"",
		"http://a/<b>",
		"http://a/{b}",
		"http://a/b^",
		"http://a/`",
		"http://a/%",
		"http://a/%1",
		"http://a/%g0",
		"http://a/%0g",
		"http://a/%%30",
		"http://a?b c",
		"http://a?%",
		"http://a?\"",
		"http://a?\xc3\xa4",
		"http://a/\xc3\xa4",
		"http://a#b#c",
		"http://a#b c",
		"http://a#%",
		"http://a#\x80",
		" http://a",
		"http://a ",
		"mailto:a b",
	};
	struct torc_url u, before;

	memset(&u, 0x5a, sizeof(u));
	before = u;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		cr_assert_eq(parse(table[i], strlen(table[i]), &u), -EINVAL, "%s", table[i]);
	cr_assert(!memcmp(&u, &before, sizeof(u)), "written, though nothing was parsed");
}

Test(http_url, lengths_have_limits)
{
	static char text[TORC_URL_MAX + 2], out[TORC_URL_MAX + 2];
	struct torc_url u;

	memset(text, 'a', sizeof(text));
	memcpy(text, "http://a/", 9);
	cr_assert_eq(parse(text, TORC_URL_MAX, &u), 0);
	cr_assert_eq(torc_url_format(&u, out, sizeof(out)), TORC_URL_MAX);
	cr_assert_eq(torc_url_normalize(text, TORC_URL_MAX, out, sizeof(out)), TORC_URL_MAX);
	cr_assert_eq(torc_url_resolve("http://b", 8, text, TORC_URL_MAX, out, TORC_URL_MAX + 1),
		     TORC_URL_MAX);
	cr_assert_eq(torc_url_resolve("http://b", 8, text, TORC_URL_MAX, out, TORC_URL_MAX),
		     -ENOSPC);
	cr_assert_eq(torc_url_resolve("http://bc/", 10, text + 8, TORC_URL_MAX - 8, out,
				      sizeof(out)),
		     -EMSGSIZE);
	cr_assert_eq(parse(text, TORC_URL_MAX + 1, &u), -EMSGSIZE);
	cr_assert_eq(torc_url_normalize(text, TORC_URL_MAX + 1, out, sizeof(out)), -EMSGSIZE);
	cr_assert_eq(torc_url_resolve("http://b", 8, text, TORC_URL_MAX + 1, out, sizeof(out)),
		     -EMSGSIZE);
	text[TORC_URL_MAX - 1] = ' '; /* which takes three */
	cr_assert_eq(torc_url_resolve("http://b", 8, text, TORC_URL_MAX, out, sizeof(out)),
		     TORC_URL_MAX - 1, "spaces at the end are cut off");
	text[TORC_URL_MAX - 1] = '"';
	cr_assert_eq(torc_url_normalize(text, TORC_URL_MAX, out, sizeof(out)), -EMSGSIZE);
	memset(text + 8, 'a', 254);
	cr_assert_eq(parse(text, 7 + 255, &u), 0);
	cr_assert_eq(u.host.len, TORC_URL_HOST_MAX);
	cr_assert_eq(parse(text, 7 + 256, &u), -EMSGSIZE);
}

/* --- resolve --- */

struct resolution {
	const char *reference, *result;
};

/* With each size of memory, up to one that has no byte too many. */
static void assert_resolves(const char *base, const struct resolution *r)
{
	size_t len = strlen(r->reference), want = strlen(r->result);

	for (size_t size = 0; size <= want + 2; size++) {
		char *out = watched(2, size);
		int n = torc_url_resolve(guarded(0, base, strlen(base)), strlen(base),
					 guarded(1, r->reference, len), len, out, size);

		cr_assert_eq(n, size > want ? (int)want : -ENOSPC, "%s: %d for %zu", r->reference,
			     n, size);
		assert_untouched(out);
		if (n > 0)
			cr_assert_str_eq(out, r->result, "%s: %s, not %s", r->reference, out,
					 r->result);
	}
}

#define ASSERT_RESOLVES(base, table)                                            \
	do {                                                                    \
		for (size_t i = 0; i < sizeof(table) / sizeof((table)[0]); i++) \
			assert_resolves(base, &(table)[i]);                     \
	} while (0)

Test(http_url, the_examples_of_rfc_3986_resolve)
{
	static const struct resolution table[] = {
		/* 5.4.1 */
		{ "g:h", "g:h" },
		{ "g", "http://a/b/c/g" },
		{ "./g", "http://a/b/c/g" },
		{ "g/", "http://a/b/c/g/" },
		{ "/g", "http://a/g" },
		{ "//g", "http://g" },
		{ "?y", "http://a/b/c/d;p?y" },
		{ "g?y", "http://a/b/c/g?y" },
		{ "#s", "http://a/b/c/d;p?q#s" },
		{ "g#s", "http://a/b/c/g#s" },
		{ "g?y#s", "http://a/b/c/g?y#s" },
		{ ";x", "http://a/b/c/;x" },
		{ "g;x", "http://a/b/c/g;x" },
		{ "g;x?y#s", "http://a/b/c/g;x?y#s" },
		{ "", "http://a/b/c/d;p?q" },
		{ ".", "http://a/b/c/" },
		{ "./", "http://a/b/c/" },
		{ "..", "http://a/b/" },
		{ "../", "http://a/b/" },
		{ "../g", "http://a/b/g" },
		{ "../..", "http://a/" },
		{ "../../", "http://a/" },
		{ "../../g", "http://a/g" },
		/* 5.4.2 */
		{ "../../../g", "http://a/g" },
		{ "../../../../g", "http://a/g" },
		{ "/./g", "http://a/g" },
		{ "/../g", "http://a/g" },
		{ "g.", "http://a/b/c/g." },
		{ ".g", "http://a/b/c/.g" },
		{ "g..", "http://a/b/c/g.." },
		{ "..g", "http://a/b/c/..g" },
		{ "./../g", "http://a/b/g" },
		{ "./g/.", "http://a/b/c/g/" },
		{ "g/./h", "http://a/b/c/g/h" },
		{ "g/../h", "http://a/b/c/h" },
		{ "g;x=1/./y", "http://a/b/c/g;x=1/y" },
		{ "g;x=1/../y", "http://a/b/c/y" },
		{ "g?y/./x", "http://a/b/c/g?y/./x" },
		{ "g?y/../x", "http://a/b/c/g?y/../x" },
		{ "g#s/./x", "http://a/b/c/g#s/./x" },
		{ "g#s/../x", "http://a/b/c/g#s/../x" },
		{ "http:g", "http:g" },
	};

	ASSERT_RESOLVES("http://a/b/c/d;p?q", table);
}

Test(http_url, references_beside_the_examples_resolve)
{
	static const struct resolution table[] = {
		{ "g h\"\xc3\xa4?i j#k#l", "http://u@a:81/b/g%20h%22%C3%A4?i%20j#k%23l" },
		{ "  g  ", "http://u@a:81/b/g" },
		{ "%2e%2E/%2e/g", "http://u@a:81/g" },
		{ ".%2e/g", "http://u@a:81/g" },
		{ "g/%2e%2e", "http://u@a:81/b/" },
		{ ".../%2e%2e%2e", "http://u@a:81/b/.../%2e%2e%2e" },
		{ "g//../h", "http://u@a:81/b/g/h" },
		{ "100%", "http://u@a:81/b/100%25" },
		{ "%zz%4", "http://u@a:81/b/%25zz%254" },
		{ "//h:1/i/../j", "http://h:1/j" },
		{ "//v@[::1]", "http://v@[::1]" },
		{ "?", "http://u@a:81/b/c?" },
		{ "#", "http://u@a:81/b/c?q#" },
		{ "/", "http://u@a:81/" },
		{ "./a:b", "http://u@a:81/b/a:b" },
		{ "https://h/./i", "https://h/i" },
		{ "mailto:a/../b", "mailto:a/../b" },
		{ "//", "http://" },
		{ "g/../../../../..", "http://u@a:81/" },
	};
	static const struct resolution no_path[] = {
		{ "g", "http://a/g" },
		{ "../g", "http://a/g" },
		{ "?y", "http://a?y" },
		{ "", "http://a" },
	};
	static const struct resolution two_slashes[] = {
		{ "g", "http://a//g" },
		{ "..", "http://a/" },
		{ "../g", "http://a/g" },
	};
	static const struct resolution no_authority[] = {
		{ "c", "foo:/a/c" },      { "..", "foo:/" },    { "..//c", "foo:/.//c" },
		{ "/.//c", "foo:/.//c" }, { "//c", "foo://c" },
	};
	static const struct resolution opaque[] = {
		{ "#a", "urn:x:y#a" },
		{ "?a", "urn:x:y?a" },
		{ "/a", "urn:/a" },
		{ "http://a/", "http://a/" },
	};

	ASSERT_RESOLVES("http://u@a:81/b/c?q#f", table);
	ASSERT_RESOLVES("http://a", no_path);
	ASSERT_RESOLVES("http://a//", two_slashes);
	ASSERT_RESOLVES("foo:/a/b", no_authority);
	ASSERT_RESOLVES("urn:x:y", opaque);
}

Test(http_url, what_cannot_be_resolved_is_said)
{
	static const char *const bad[][2] = {
		{ "mailto:a", "b" },        { "urn:", "b" },
		{ "a", "http://b/" },       { "http:g", "h" },
		{ "http://a/b c", "d" },    { "http://a/", "1:b" },
		{ "http://a/", ":b" },      { "http://a/", "\xc3\xa4:b" },
		{ "http://a/", "//b\\c" },  { "http://a/", "//b c" },
		{ "http://a/", "//127.1" }, { "http://a/", "\\\\b" },
	};
	char out[100];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(torc_url_resolve(bad[i][0], strlen(bad[i][0]), bad[i][1],
					      strlen(bad[i][1]), out, sizeof(out)),
			     -EINVAL, "%s and %s", bad[i][0], bad[i][1]);
}

/* --- normalise --- */

Test(http_url, what_people_type_becomes_what_everybody_writes)
{
	static const struct resolution table[] = {
		{ "http://a", "http://a/" },
		{ "  HTTP://Example.ORG:80  ", "http://example.org/" },
		{ "https://a:443/b", "https://a/b" },
		{ "https://a:80/b", "https://a:80/b" },
		{ "http://a:/", "http://a/" },
		{ "http://a:0081/", "http://a:81/" },
		{ "http://U:P@A/", "http://U:P@a/" },
		{ "http://a?b", "http://a/?b" },
		{ "http://a#b", "http://a/#b" },
		{ "http://a/b c/../d", "http://a/d" },
		{ "http://a/./b/%2e%2e/c", "http://a/c" },
		{ "http://a/../../b", "http://a/b" },
		{ "http://a//b/", "http://a//b/" },
		{ "http://a/\"<>^`{}\x80\xff", "http://a/%22%3C%3E%5E%60%7B%7D%80%FF" },
		{ "http://a?\"<>^`{}\x80 ", "http://a/?%22%3C%3E%5E%60%7B%7D%80" },
		{ "http://a/%7e%2f%zz%", "http://a/%7e%2f%25zz%25" },
		{ "http://a/[]|'?[]|'", "http://a/[]|'?[]|'" },
		{ "http://a/b#c d#e", "http://a/b#c%20d%23e" },
		{ "http://[2001:DB8:0:0:0:0:0:1]:80/", "http://[2001:db8::1]/" },
		{ "http://[::FFFF:1.2.3.4]:81", "http://[::ffff:1.2.3.4]:81/" },
		{ "MAILTO:A@B", "mailto:A@B" },
		{ "mailto:a b/../c", "mailto:a%20b/../c" },
		{ "file:///a/../B", "file:///B" },
		{ "FOO:/.//a", "foo:/.//a" },
		{ "foo://a", "foo://a" },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const char *text = table[i].reference;
		size_t want = strlen(table[i].result);

		for (size_t size = 0; size <= want + 1; size++) {
			char *out = watched(2, size);
			int n = torc_url_normalize(guarded(0, text, strlen(text)), strlen(text),
						   out, size);

			cr_assert_eq(n, size > want ? (int)want : -ENOSPC, "%s: %d", text, n);
			assert_untouched(out);
			if (n > 0)
				cr_assert_str_eq(out, table[i].result);
		}
	}
}

Test(http_url, what_is_no_absolute_url_is_not_normalised)
{
	static const char *const table[] = {
		"",
		" ",
		"a",
		"/a",
		"http:a",
		"http:/a",
		"http:///",
		"http://a b/",
		"http://\xc3\xa4/",
		"http://a\\b",
		"http://127.1/",
		"http://u%@a/",
	};
	char out[100];

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		cr_assert_eq(torc_url_normalize(table[i], strlen(table[i]), out, sizeof(out)),
			     -EINVAL, "%s", table[i]);
}

/* --- format --- */

static struct torc_slice slice(const char *text)
{
	return (struct torc_slice){ text, strlen(text) };
}

Test(http_url, only_parts_of_a_url_are_formatted)
{
	const struct torc_url good = { .scheme = slice("http"),
				       .host = slice("a"),
				       .path = slice("/b"),
				       .port = 81,
				       .has_authority = true };
	struct torc_url bad[14];
	char out[100];

	cr_assert_eq(torc_url_format(&good, out, sizeof(out)), 13);
	cr_assert_str_eq(out, "http://a:81/b");
	for (size_t i = 0; i < 14; i++)
		bad[i] = good;
	bad[0].scheme = slice("");
	bad[1].scheme = slice("h:");
	bad[2].host = slice("a/c");
	bad[3].host = slice("u@a");
	bad[4].host = slice("");
	bad[5].host = slice("a:80");
	bad[6].path = slice("b");
	bad[7].path = slice("/b?c");
	bad[8].path = slice("/b\r\nc");
	bad[9].query = slice("c");
	bad[10].userinfo = slice("u");
	bad[11].has_authority = false;
	bad[12].is_ipv6 = true;
	bad[13].has_port = true;
	bad[13].port = 0;
	for (size_t i = 0; i < 14; i++)
		cr_assert_eq(torc_url_format(&bad[i], out, sizeof(out)), -EINVAL, "%zu", i);
	bad[0] = good;
	bad[0].port = 0;
	cr_assert_eq(torc_url_format(&bad[0], out, sizeof(out)), 10, "port 0 is the scheme's");
	cr_assert_eq(torc_url_format(&good, out, 13), -ENOSPC);
	cr_assert_eq(torc_url_format(&good, NULL, 0), -ENOSPC);
}

/* --- for a request --- */

Test(http_url, target_and_host_are_as_a_request_has_them)
{
	static const struct {
		const char *text, *target, *host;
	} table[] = {
		{ "http://a", "/", "a" },
		{ "http://A.B:80/c?d#e", "/c?d", "a.b" },
		{ "https://a:80/?", "/?", "a:80" },
		{ "http://u:p@a?b", "/?b", "a" },
		{ "http://[::AB]:81/", "/", "[::ab]:81" },
		{ "http://[0:0::1]", "/", "[::1]" },
		{ "ftp://a:21//b", "//b", "a:21" },
		{ "file:///a", NULL, NULL },
		{ "mailto:a", NULL, NULL },
	};
	struct torc_url u;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		char out[40];

		cr_assert_eq(parse(table[i].text, strlen(table[i].text), &u), 0);
		if (!table[i].target) {
			cr_assert_eq(torc_url_target(&u, out, sizeof(out)), -EINVAL);
			cr_assert_eq(torc_url_host(&u, out, sizeof(out)), -EINVAL);
			continue;
		}
		cr_assert_eq((size_t)torc_url_target(&u, out, sizeof(out)),
			     strlen(table[i].target));
		cr_assert_str_eq(out, table[i].target);
		cr_assert_eq(torc_url_target(&u, out, strlen(table[i].target)), -ENOSPC);
		cr_assert_eq((size_t)torc_url_host(&u, out, sizeof(out)), strlen(table[i].host));
		cr_assert_str_eq(out, table[i].host);
		cr_assert_eq(torc_url_host(&u, out, strlen(table[i].host)), -ENOSPC);
	}
}

Test(http_url, parts_that_would_end_a_line_are_put_into_no_request)
{
	struct torc_url u = { .scheme = slice("http"),
			      .host = slice("a\r\nb"),
			      .path = slice("/a b"),
			      .port = 80,
			      .has_authority = true };
	char out[40];

	cr_assert_eq(torc_url_host(&u, out, sizeof(out)), -EINVAL);
	cr_assert_eq(torc_url_target(&u, out, sizeof(out)), -EINVAL);
	u.path = slice("/");
	u.query = slice("a\r\nb");
	u.has_query = true;
	cr_assert_eq(torc_url_target(&u, out, sizeof(out)), -EINVAL);
	u.query = slice("");
	u.path = slice("a");
	cr_assert_eq(torc_url_target(&u, out, sizeof(out)), -EINVAL);
}

Test(http_url, an_origin_is_scheme_host_and_port)
{
	static const struct {
		const char *a, *b;
		bool same;
	} table[] = {
		{ "http://a", "http://a/b?c#d", true },
		{ "http://a", "HTTP://A:80", true },
		{ "https://u:p@a", "https://a:443", true },
		{ "http://a", "https://a", false },
		{ "http://a:443", "https://a", false },
		{ "http://a", "http://a:81", false },
		{ "http://a", "http://b", false },
		{ "http://a", "http://ab", false },
		{ "http://a", "http://a.", false },
		{ "http://a", "ws://a", false },
		{ "http://[::1]", "http://[0:0::1]", true },
		{ "http://[::1]", "http://[::2]", false },
		{ "foo://a", "foo://A", true },
		{ "file:///a", "file:///a", false },
		{ "mailto:a", "mailto:a", false },
	};
	struct torc_url a, b;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		cr_assert_eq(torc_url_parse(table[i].a, strlen(table[i].a), &a), 0);
		cr_assert_eq(torc_url_parse(table[i].b, strlen(table[i].b), &b), 0);
		cr_assert_eq(torc_url_same_origin(&a, &b), table[i].same, "%s", table[i].b);
		cr_assert_eq(torc_url_same_origin(&b, &a), table[i].same, "%s", table[i].b);
	}
}

Test(http_url, credentials_are_cut_first_and_decoded_then)
{
	static const struct {
		const char *text, *user, *password;
	} table[] = {
		{ "http://u@a", "u", "" },  { "http://u:@a", "u", "" },
		{ "http://:p@a", "", "p" }, { "http://u:p:q@a", "u", "p:q" },
		{ "http://@a", "", "" },    { "http://u%3av:%40%c3%a4@a", "u:v", "@\xc3\xa4" },
	};
	struct torc_slice user, password;
	struct torc_url u;
	char out[20];

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		cr_assert_eq(torc_url_parse(table[i].text, strlen(table[i].text), &u), 0);
		cr_assert(torc_url_credentials(&u, &user, &password));
		cr_assert_eq((size_t)torc_url_decode(user, out, sizeof(out)),
			     strlen(table[i].user));
		cr_assert_str_eq(out, table[i].user);
		cr_assert_eq((size_t)torc_url_decode(password, out, sizeof(out)),
			     strlen(table[i].password));
		cr_assert_str_eq(out, table[i].password);
	}
	cr_assert_eq(torc_url_parse("http://a/@", 10, &u), 0);
	cr_assert_not(torc_url_credentials(&u, &user, &password));
}

Test(http_url, decoding_refuses_controls_and_knows_its_room)
{
	static const char *const bad[] = { "%",   "%4",  "%4g", "%g4", "a%00",
					   "%0a", "%0D", "%1f", "%7f", "a\n" };
	char *out;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct torc_slice s = { guarded(0, bad[i], strlen(bad[i])), strlen(bad[i]) };

		cr_assert_eq(torc_url_decode(s, room(1, 10), 10), -EINVAL, "%s", bad[i]);
	}
	for (size_t size = 0; size < 4; size++) {
		out = room(1, size);
		cr_assert_eq(torc_url_decode(slice("a%62"), out, size), size > 2 ? 2 : -ENOSPC);
	}
	cr_assert_str_eq(out, "ab");
}

/* --- random ones --- */

/* RFC 3986, section 5.2.4, to the letter. */
static size_t remove_dot_segments(const char *in, size_t len, char *out)
{
	static char buf[AREA];
	char *p = buf;
	size_t n = 0;

	memcpy(buf, in, len);
	buf[len] = '\0';
	while (*p) {
		if (!strncmp(p, "../", 3)) {
			p += 3;
		} else if (!strncmp(p, "./", 2)) {
			p += 2;
		} else if (!strncmp(p, "/./", 3)) {
			p += 2;
		} else if (!strcmp(p, "/.")) {
			p[1] = '\0';
		} else if (!strncmp(p, "/../", 4) || !strcmp(p, "/..")) {
			p += 3;
			if (!*p)
				*--p = '/';
			while (n && out[--n] != '/')
				;
		} else if (!strcmp(p, ".") || !strcmp(p, "..")) {
			break;
		} else {
			do
				out[n++] = *p++;
			while (*p && *p != '/');
		}
	}
	return n;
}

Test(http_url, dot_segments_go_as_the_rfc_has_them_go)
{
	static const char *const pieces[] = { "/", "/", ".", "..", "a", "b", "/../", "/./" };
	static const char base[] = "http://h/b/c/";
	char path[200], want[200], out[200];

	for (unsigned i = 0; i < 100000; i++) {
		size_t len = sizeof("/b/c/") - 1, n;
		int r;

		memcpy(path, "/b/c/", len);
		for (unsigned k = random_below(10); k > 0; k--) {
			const char *piece = pieces[random_below(8)];

			/* not one that begins with '/' */
			if (len > 5 || *piece != '/') {
				memcpy(path + len, piece, strlen(piece));
				len += strlen(piece);
			}
		}
		n = remove_dot_segments(path, len, want);
		r = torc_url_resolve(base, sizeof(base) - 1, path + 5, len - 5, out, sizeof(out));
		cr_assert(r == (int)(8 + n) && !memcmp(out + 8, want, n), "%.*s: %s", (int)len,
			  path, out);
	}
}

static size_t random_text(char *buf, size_t capacity)
{
	static const char *const pieces[] = {
		"http:", "HTTPS:",   "foo:",  "//",      "/",   "u:p",  "@",    "a.B",
		"[::1]", "[0:0::1]", "127.1", "1.2.3.4", ":80", ":443", ":81",  "..",
		".",     "%2e",      "%",     "%41",     "?",   "#",    " ",    "\"",
		"\xc3",  "\\",       "\r",    "|",       "[",   "a",    "b=c&",
	};
	size_t len = 0;

	for (unsigned i = random_below(12); i > 0; i--) {
		const char *piece = pieces[random_below(sizeof(pieces) / sizeof(pieces[0]))];

		if (len + strlen(piece) > capacity)
			break;
		memcpy(buf + len, piece, strlen(piece));
		len += strlen(piece);
		if (random_below(20) == 0)
			buf[len - 1] = random_byte();
	}
	return len;
}

/* What is made of parts is the text of these parts, and parses to them. */
static void assert_round_trip(const char *text, size_t len, const struct torc_url *u)
{
	struct torc_url again;
	char *out = room(1, len + 1);
	int n = torc_url_format(u, out, len + 1);

	cr_assert(n > 0 && (size_t)n <= len, "%.*s: %d", (int)len, text, n);
	cr_assert_eq(torc_url_parse(out, (size_t)n, &again), 0);
	cr_assert(again.port == u->port && again.host.len == u->host.len &&
			  again.path.len == u->path.len && again.query.len == u->query.len &&
			  again.fragment.len == u->fragment.len &&
			  again.userinfo.len == u->userinfo.len,
		  "%.*s", (int)len, text);
}

static void assert_normal_form_is_one(const char *text, size_t len)
{
	struct torc_url u;
	char *out = room(2, 200), *again;
	int n = torc_url_normalize(text, len, out, 200);

	if (n < 0) {
		cr_assert_eq(n, -EINVAL);
		return;
	}
	cr_assert_eq(torc_url_parse(out, (size_t)n, &u), 0, "%s", out);
	again = room(3, (size_t)n + 1);
	cr_assert_eq(torc_url_normalize(out, (size_t)n, again, (size_t)n + 1), n, "%s", out);
	cr_assert_str_eq(out, again);
}

/* In memory of a random size; the same text if it is enough, nothing behind it in any case. */
static void assert_resolution_is_url(const char *base, size_t base_len, const char *text,
				     size_t len)
{
	struct torc_url u;
	char *whole = room(4, 300), *part;
	int n = torc_url_resolve(base, base_len, text, len, whole, 300), m;
	size_t size = random_below(80);

	part = watched(5, size);
	m = torc_url_resolve(base, base_len, text, len, part, size);
	assert_untouched(part);
	if (n < 0) {
		cr_assert_eq(n, -EINVAL);
		cr_assert_eq(m, n);
		return;
	}
	cr_assert_eq(m, (size_t)n < size ? n : -ENOSPC);
	if (m > 0)
		cr_assert_str_eq(part, whole);
	if (torc_url_parse(whole, (size_t)n, &u) < 0) /* "http:g" */
		cr_assert(!strncasecmp(whole, "http:", 5) || !strncasecmp(whole, "https:", 6), "%s",
			  whole);
}

Test(http_url, random_texts_keep_every_promise)
{
	static const char *const bases[] = { "http://a/b/c?d", "http://a", "foo:/a/b", "foo:a" };
	unsigned good = 0;
	char buf[100];

	for (unsigned i = 0; i < 200000; i++) {
		size_t len = random_text(buf, sizeof(buf));
		const char *text = guarded(0, buf, len), *base = bases[random_below(4)];
		struct torc_url u;
		int r = torc_url_parse(text, len, &u);

		cr_assert(r == 0 || r == -EINVAL);
		if (r == 0)
			assert_round_trip(text, len, &u);
		good += r == 0;
		assert_normal_form_is_one(text, len);
		assert_resolution_is_url(base, strlen(base), text, len);
		if (r == 0)
			assert_resolution_is_url(text, len, "../a b", 6);
	}
	cr_assert_gt(good, 2000, "only %u", good);
}

/* Nothing takes more than a time in proportion to the length. */
Test(http_url, the_longest_paths_take_no_time)
{
	static char base[TORC_URL_MAX], reference[TORC_URL_MAX], out[TORC_URL_MAX + 1];
	int n = 0;

	memcpy(base, "http://a", 8);
	for (size_t i = 8; i < sizeof(base); i += 2)
		memcpy(base + i, "/a", 2);
	for (size_t i = 0; i + 3 <= sizeof(reference); i += 3)
		memcpy(reference + i, "../", 3);
	for (unsigned i = 0; i < 200; i++)
		n = torc_url_resolve(base, sizeof(base), reference, sizeof(reference) / 3 * 3, out,
				     sizeof(out));
	cr_assert_eq(n, 8 + (int)(sizeof(base) - 8) - 2 * (TORC_URL_MAX / 3 + 1) + 1);
}
