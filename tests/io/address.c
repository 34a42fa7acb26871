#include "tests/io/run.h"

#include <arpa/inet.h>
#include <sys/mman.h>

TestSuite(address, .timeout = 10);

#define P107                                                                                          \
	"/aaaaaaaaa/aaaaaaaaa/aaaaaaaaa/aaaaaaaaa/aaaaaaaaa/aaaaaaaaa/aaaaaaaaa/aaaaaaaaa/aaaaaaaaa/" \
	"aaaaaaaaa/aaaaaa"

static const struct {
	const char *text, *formatted; /* formatted: NULL when it is none */
	bool wildcard;
} cases[] = {
	{ "127.0.0.1:80", "127.0.0.1:80", false },
	{ "tcp://127.0.0.1:80", "tcp://127.0.0.1:80", false },
	{ "255.255.255.255:65535", "255.255.255.255:65535", false },
	{ "0.0.0.0:0", "0.0.0.0:0", false },
	{ "localhost:8080", "127.0.0.1:8080", false },
	{ "tcp://localhost:1", "tcp://127.0.0.1:1", false },
	{ "[::1]:80", "[::1]:80", false },
	{ "tcp://[::1]:80", "tcp://[::1]:80", false },
	{ "[::]:80", "[::]:80", false },
	{ "[1:2:3:4:5:6:7:8]:9", "[1:2:3:4:5:6:7:8]:9", false },
	{ "[::ffff:10.0.0.1]:9", "[::ffff:10.0.0.1]:9", false },
	{ "[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535",
	  "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", false },
	{ ":80", "0.0.0.0:80", true },
	{ "*:80", "0.0.0.0:80", true },
	{ "tcp://:80", "tcp://0.0.0.0:80", true },
	{ "127.0.0.1:80", "127.0.0.1:80", true },
	{ "unix:/tmp/x", "unix:/tmp/x", false },
	{ "unix:///tmp/x", "unix:/tmp/x", true },
	{ "unix:relative", "unix:relative", false },
	{ "unix:with:colons:1", "unix:with:colons:1", false },
	{ "unix:" P107, "unix:" P107, false },
	{ "unix:@name", "unix:@name", false },
	{ "unix:@@", "unix:@@", false },
	{ "unix:./@name", "unix:./@name", false },
	{ "unix://@name", "unix:@name", false },
	{ "unixgram:/x", "unixgram:/x", false },
	{ "unixpacket:@x", "unixpacket:@x", false },
	{ "udp://127.0.0.1:53", "udp://127.0.0.1:53", false },
	{ "udp://[::1]:53", "udp://[::1]:53", false },
	{ "udp://*:53", "udp://0.0.0.0:53", true },
	{ "[fe80::1%1]:80", "[fe80::1%1]:80", false },
	{ "tcp://[fe80::1%lo]:80", "tcp://[fe80::1%1]:80", false },
	{ "[ff02::1%4294967295]:80", "[ff02::1%4294967295]:80", false },
	{ "[fe80:1111:2222:3333:4444:5555:6666:7777%4294967295]:80",
	  "[fe80:1111:2222:3333:4444:5555:6666:7777%4294967295]:80", false },

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
	{ "udp://unix:x", NULL, true },
	{ "[::1%]:80", NULL, true },
	{ "[::1%1]:80", NULL, true },
	{ "[fe80::1%]:80", NULL, true },
	{ "[fe80::1%abcdefghijklmnop]:80", NULL, true },
	{ "127.0.0.1%lo:80", NULL, true },
	{ "unix:@", NULL, true },
	{ "unix:@" P107, NULL, true },
	{ "unixgram:", NULL, true },
	{ "unixpacket:@", NULL, true },
	{ "fd:3", NULL, true },
	{ "systemd:web", NULL, true },
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
		struct torc_address a;
		char text[TORC_ADDRESS_MAX] = "";
		int r = torc_address_parse(cases[i].text, cases[i].wildcard, &a);

		cr_expect_eq(r, cases[i].formatted ? 0 : -EINVAL, "\"%s\": %d", cases[i].text, r);
		if (r || !cases[i].formatted)
			continue;
		torc_address_format(&a, text, sizeof(text));
		cr_expect_str_eq(text, cases[i].formatted, "\"%s\" became \"%s\"", cases[i].text,
				 text);
	}
}

Test(address, what_is_formatted_parses_to_the_same)
{
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct torc_address a, b;
		char text[TORC_ADDRESS_MAX];

		if (torc_address_parse(cases[i].text, cases[i].wildcard, &a))
			continue;
		torc_address_format(&a, text, sizeof(text));
		cr_assert_eq(torc_address_parse(text, 0, &b), 0, "%s", text);
		cr_expect_eq(a.len, b.len);
		cr_expect_eq(a.type, b.type);
		cr_expect(torc_address_equal(&a, &b));
		cr_expect_eq(memcmp(&a.any, &b.any, a.len), 0, "%s", text);
	}
}

Test(address, random_texts_are_refused_or_survive_formatting)
{
	static const char alphabet[] = "0123456789.:[]fx*tcp/unix@%e80 localhost";
	uint64_t seed = 1;

	for (int i = 0; i < 200000; i++) {
		char text[TORC_ADDRESS_MAX], *in;
		struct torc_address a;
		size_t len = next_random(&seed) % 24;

		in = malloc(len + 1);
		for (size_t k = 0; k < len; k++)
			in[k] = alphabet[next_random(&seed) % (sizeof(alphabet) - 1)];
		in[len] = '\0';
		if (!torc_address_parse(in, next_random(&seed) & 1, &a)) {
			torc_address_format(&a, text, sizeof(text));
			cr_expect_eq(torc_address_parse(text, 0, &a), 0, "%s", in);
		}
		free(in);
	}
}

/* Flush against a page that cannot be read: no byte behind the text is looked at. */
Test(address, texts_are_not_read_beyond_their_end)
{
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	cr_assert_neq(page, MAP_FAILED);
	cr_assert_eq(mprotect(page + 4096, 4096, PROT_NONE), 0);
	for (size_t i = 0; i < COUNT(cases); i++) {
		for (size_t len = 0; len <= strlen(cases[i].text); len++) {
			char *text = page + 4096 - len - 1;
			struct torc_address a;

			memcpy(text, cases[i].text, len);
			text[len] = '\0';
			(void)!torc_address_parse(text, cases[i].wildcard, &a);
		}
	}
}

Test(address, an_output_is_written_on_success_only)
{
	struct torc_address a = { .len = 77, .type = 99 };

	cr_expect_eq(torc_address_parse("tcp://127.0.0.1:x", 0, &a), -EINVAL);
	cr_expect_eq(torc_address_parse("tcp://127.0.0.1:1", 2, &a), -EINVAL);
	cr_expect_eq(torc_local_address(-1, &a), -EBADF);
	cr_expect_eq(a.len, 77);
	cr_expect_eq(a.type, 99);
}

Test(address, format_cuts_to_the_room_there_is)
{
	struct torc_address a;
	char text[TORC_ADDRESS_MAX];

	cr_assert_eq(torc_address_parse("tcp://127.0.0.1:8080", 0, &a), 0);
	for (size_t size = 1; size < 32; size++) {
		memset(text, 'x', sizeof(text));
		cr_expect_eq(torc_address_format(&a, text, size), text);
		cr_expect_eq(strlen(text), size - 1 < 20 ? size - 1 : 20);
		cr_expect_eq(text[size], 'x');
	}
	memset(&a, 0, sizeof(a));
	cr_expect_str_eq(torc_address_format(&a, text, sizeof(text)), "nowhere");
}

Test(address, hostile_unix_names_fit_the_text)
{
	struct torc_address a = { .un.sun_family = AF_UNIX,
				  .len = sizeof(a.un),
				  .type = SOCK_SEQPACKET };
	char text[TORC_ADDRESS_MAX];

	memset(a.un.sun_path, 'p', sizeof(a.un.sun_path));
	torc_address_format(&a, text, sizeof(text));
	cr_expect_eq(strlen(text), strlen("unixpacket:") + sizeof(a.un.sun_path));
	memset(a.un.sun_path, 0, sizeof(a.un.sun_path));
	torc_address_format(&a, text, sizeof(text));
	cr_expect_eq(strlen(text), strlen("unixpacket:") + sizeof(a.un.sun_path));
	a.len = sizeof(sa_family_t);
	a.type = 0;
	cr_expect_str_eq(torc_address_format(&a, text, sizeof(text)), "unix:");
}

Test(address, equality_and_ports)
{
	static const char *const texts[] = {
		"127.0.0.1:1",   "127.0.0.1:2",   "127.0.0.2:1",
		"[::1]:1",       "[::1]:2",       "[::2]:1",
		"unix:/a",       "unix:/b",       "unix:@a",
		"unix:@b",       "unix:@aa",      "unix:/aa",
		"[fe80::1%1]:1", "[fe80::1%2]:1", "[::ffff:127.0.0.1]:1",
	};
	struct torc_address a, b;

	for (size_t i = 0; i < COUNT(texts); i++) {
		for (size_t k = 0; k < COUNT(texts); k++) {
			cr_assert_eq(torc_address_parse(texts[i], 0, &a), 0);
			cr_assert_eq(torc_address_parse(texts[k], 0, &b), 0);
			b.type = SOCK_DGRAM;
			cr_expect_eq(torc_address_equal(&a, &b), i == k, "%s %s", texts[i],
				     texts[k]);
		}
	}
	cr_assert_eq(torc_address_parse("unix:/a", 0, &a), 0);
	cr_expect_eq(torc_address_port(&a), -EAFNOSUPPORT);
	cr_expect_eq(torc_address_set_port(&a, 1), -EAFNOSUPPORT);
	for (size_t i = 0; i < 6; i++) {
		cr_assert_eq(torc_address_parse(texts[i], 0, &a), 0);
		cr_expect_eq(torc_address_port(&a), texts[i][strlen(texts[i]) - 1] - '0');
		cr_expect_eq(torc_address_set_port(&a, 65535), 0);
		cr_expect_eq(torc_address_port(&a), 65535);
	}
	memset(&b, 0, sizeof(b));
	cr_expect(!torc_address_equal(&a, &b));
	cr_expect_eq(torc_address_port(&b), -EAFNOSUPPORT);
}

static void expect_address(int (*get)(int, struct torc_address *), int fd, const char *text)
{
	char got[TORC_ADDRESS_MAX];
	struct torc_address a;

	cr_assert_eq(get(fd, &a), 0);
	cr_expect_str_eq(torc_address_format(&a, got, sizeof(got)), text);
}

Test(address, local_and_peer)
{
	struct sockaddr_in in;
	struct torc_address a;
	char text[TORC_ADDRESS_MAX];
	int fd[2], l = bound_socket(&in);

	snprintf(text, sizeof(text), "tcp://127.0.0.1:%u", ntohs(in.sin_port));
	expect_address(torc_local_address, l, text);
	cr_expect_eq(torc_peer_address(l, &a), -ENOTCONN);
	close(l);
	tcp_pair(fd);
	cr_assert_eq(torc_local_address(fd[0], &a), 0);
	expect_address(torc_peer_address, fd[1], torc_address_format(&a, text, sizeof(text)));
	close(fd[0]);
	close(fd[1]);
	unix_pair(fd);
	expect_address(torc_local_address, fd[0], "unix:");
	expect_address(torc_peer_address, fd[0], "unix:");
	close(fd[0]);
	close(fd[1]);
	l = open("/dev/null", O_RDONLY | O_CLOEXEC);
	cr_expect_eq(torc_local_address(l, &a), -ENOTSOCK);
	close(l);
}

Test(address, an_interface_that_is_not_there)
{
	static const char *const texts[] = {
		"[fe80::1%1%1]:80",
		"[fe80::1%nosuchthing]:80",
		"[fe80::1%0]:80",
		"[fe80::1%4294967296]:80",
	};
	struct torc_address a;

	for (size_t i = 0; i < COUNT(texts); i++)
		cr_expect_eq(torc_address_parse(texts[i], 0, &a), -ENODEV, "%s", texts[i]);
}
