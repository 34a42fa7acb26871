#include "tests/io/run.h"

#include <arpa/inet.h>

TestSuite(address, .timeout = 10);

#define P107                                                                                          \
	"/aaaaaaaaa/aaaaaaaaa/aaaaaaaaa/aaaaaaaaa/aaaaaaaaa/aaaaaaaaa/aaaaaaaaa/aaaaaaaaa/aaaaaaaaa/" \
	"aaaaaaaaa/aaaaaa"

static const struct {
	const char *text, *formatted; /* formatted: NULL when it is none */
	bool wildcard;
} cases[] = {
	{ "127.0.0.1:80", "tcp://127.0.0.1:80", false },
	{ "tcp://127.0.0.1:80", "tcp://127.0.0.1:80", false },
	{ "255.255.255.255:65535", "tcp://255.255.255.255:65535", false },
	{ "0.0.0.0:0", "tcp://0.0.0.0:0", false },
	{ "localhost:8080", "tcp://127.0.0.1:8080", false },
	{ "tcp://localhost:1", "tcp://127.0.0.1:1", false },
	{ "[::1]:80", "tcp://[::1]:80", false },
	{ "tcp://[::1]:80", "tcp://[::1]:80", false },
	{ "[::]:80", "tcp://[::]:80", false },
	{ "[1:2:3:4:5:6:7:8]:9", "tcp://[1:2:3:4:5:6:7:8]:9", false },
	{ "[::ffff:10.0.0.1]:9", "tcp://[::ffff:10.0.0.1]:9", false },
	{ "[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535",
	  "tcp://[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", false },
	{ ":80", "tcp://0.0.0.0:80", true },
	{ "*:80", "tcp://0.0.0.0:80", true },
	{ "tcp://:80", "tcp://0.0.0.0:80", true },
	{ "127.0.0.1:80", "tcp://127.0.0.1:80", true },
	{ "unix:/tmp/x", "unix:/tmp/x", false },
	{ "unix:///tmp/x", "unix:/tmp/x", true },
	{ "unix:relative", "unix:relative", false },
	{ "unix:with:colons:1", "unix:with:colons:1", false },
	{ "unix:" P107, "unix:" P107, false },

	{ ":80", NULL, false },
	{ "*:80", NULL, false },
	{ "", NULL, true },
	{ ":", NULL, true },
	{ "tcp://", NULL, true },
	{ "tcp://:", NULL, true },
	{ "127.0.0.1", NULL, true },
	{ "127.0.0.1:", NULL, true },
	{ "127.0.0.1:65536", NULL, true },
	{ "127.0.0.1:100000", NULL, true },
	{ "127.0.0.1:4294967376", NULL, true },
	{ "127.0.0.1:18446744073709551696", NULL, true },
	{ "127.0.0.1:-1", NULL, true },
	{ "127.0.0.1:+1", NULL, true },
	{ "127.0.0.1: 1", NULL, true },
	{ "127.0.0.1:1 ", NULL, true },
	{ "127.0.0.1:0x1", NULL, true },
	{ "127.0.0.1:http", NULL, true },
	{ " 127.0.0.1:1", NULL, true },
	{ "127.1:80", NULL, true },
	{ "127.0.0.256:80", NULL, true },
	{ "127.0.0.1.1:80", NULL, true },
	{ "example.com:80", NULL, true },
	{ "localhost.:80", NULL, true },
	{ "::1:80", NULL, true },
	{ "[::1]", NULL, true },
	{ "[::1]80", NULL, true },
	{ "[::1]:", NULL, true },
	{ "[::1:80", NULL, true },
	{ "::1]:80", NULL, true },
	{ "[]:80", NULL, true },
	{ "[:80", NULL, true },
	{ "]:80", NULL, true },
	{ "[127.0.0.1]:80", NULL, true },
	{ "[localhost]:80", NULL, true },
	{ "[1:2:3:4:5:6:7:8:9]:80", NULL, true },
	{ "[::1]:80:80", NULL, true },
	{ "tcp://tcp://127.0.0.1:80", NULL, true },
	{ "udp://127.0.0.1:80", NULL, true },
	{ "http://127.0.0.1:80", NULL, true },
	{ "unix:", NULL, true },
	{ "unix://", NULL, true },
	{ "unix:" P107 "b", NULL, true },
	{ "1234567890123456789012345678901234567890123456789012345678901234567890:80", NULL, true },
	{ "[1234567890123456789012345678901234567890123456789012345678901234567890]:80", NULL,
	  true },
};

Test(address, parse_and_format_table)
{
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct torc__address a;
		char text[TORC_ADDRESS_MAX] = "";
		int r = torc__address_parse(cases[i].text, cases[i].wildcard, &a);

		cr_expect_eq(r, cases[i].formatted ? 0 : -EINVAL, "\"%s\": %d", cases[i].text, r);
		if (r || !cases[i].formatted)
			continue;
		torc__address_format(&a, text, sizeof(text));
		cr_expect_str_eq(text, cases[i].formatted, "\"%s\" became \"%s\"", cases[i].text,
				 text);
	}
}

Test(address, what_is_formatted_parses_to_the_same)
{
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct torc__address a, b;
		char text[TORC_ADDRESS_MAX];

		if (torc__address_parse(cases[i].text, cases[i].wildcard, &a))
			continue;
		torc__address_format(&a, text, sizeof(text));
		cr_assert_eq(torc__address_parse(text, false, &b), 0, "%s", text);
		cr_expect_eq(a.len, b.len);
		cr_expect_eq(memcmp(&a.any, &b.any, a.len), 0, "%s", text);
	}
}

Test(address, random_texts_are_refused_or_survive_formatting)
{
	static const char alphabet[] = "0123456789.:[]fx*tcp/unix localhost";
	uint64_t seed = 1;

	for (int i = 0; i < 200000; i++) {
		char text[TORC_ADDRESS_MAX], *in;
		struct torc__address a;
		size_t len = next_random(&seed) % 24;

		in = malloc(len + 1);
		for (size_t k = 0; k < len; k++)
			in[k] = alphabet[next_random(&seed) % (sizeof(alphabet) - 1)];
		in[len] = '\0';
		if (!torc__address_parse(in, next_random(&seed) & 1, &a)) {
			torc__address_format(&a, text, sizeof(text));
			cr_expect_eq(torc__address_parse(text, false, &a), 0, "%s", in);
		}
		free(in);
	}
}
