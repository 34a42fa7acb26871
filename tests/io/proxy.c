#include "tests/io/run.h"

#include <sys/mman.h>

#include <torc/io/proxy.h>

#include "io/internal/proxy.h"

TestSuite(proxy, .timeout = 30);

#define SIGNATURE                "\r\n\r\n\0\r\nQUIT\n"
#define V2(command, family, len) SIGNATURE command family len
#define IP4                      "\x0a\0\0\1\x0a\0\0\2\x04\xd2\0\x50"

#define BYTES(text) text, sizeof(text) - 1

static const struct {
	const char *data;
	size_t len;
	const char *source; /* NULL: -EPROTO; "": local */
} cases[] = {
	{ BYTES("PROXY TCP4 10.0.0.1 10.0.0.2 1234 80\r\n"), "tcp://10.0.0.1:1234" },
	{ BYTES("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
	  "tcp://255.255.255.255:65535" },
	{ BYTES("PROXY TCP6 ::1 ::2 1 0\r\n"), "tcp://[::1]:1" },
	{ BYTES("PROXY UNKNOWN\r\n"), "" },
	{ BYTES("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
	  "" },
	{ BYTES("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 655355\r\n"),
	  NULL },
	{ BYTES("PROXY UNKNOWNS\r\n"), NULL },
	{ BYTES("PROXY TCP4 10.0.0.1 10.0.0.2 1234 80\n"), NULL },
	{ BYTES("PROXY TCP4 10.0.0.1 10.0.0.2 1234 80\r\r\n"), NULL },
	{ BYTES("PROXY TCP4 10.0.0.1 10.0.0.2 1234 80 \r\n"), NULL },
	{ BYTES("PROXY TCP4  10.0.0.1 10.0.0.2 1234 80\r\n"), NULL },
	{ BYTES("PROXY TCP4 10.0.0.1 10.0.0.2 1234\r\n"), NULL },
	{ BYTES("PROXY TCP4 10.0.0.1 10.0.0.2 01234 80\r\n"), NULL },
	{ BYTES("PROXY TCP4 10.0.0.1 10.0.0.2 65536 80\r\n"), NULL },
	{ BYTES("PROXY TCP4 10.0.0.1 10.0.0.2 -1 80\r\n"), NULL },
	{ BYTES("PROXY TCP4 10.0.0.1 10.0.0.2  80\r\n"), NULL },
	{ BYTES("PROXY TCP4 10.0.0 10.0.0.2 1 80\r\n"), NULL },
	{ BYTES("PROXY TCP4 10.0.0.1\0 10.0.0.2 1 80\r\n"), NULL },
	{ BYTES("PROXY TCP4 ::1 ::2 1 80\r\n"), NULL },
	{ BYTES("PROXY TCP6 10.0.0.1 10.0.0.2 1 80\r\n"), NULL },
	{ BYTES("PROXY UDP4 10.0.0.1 10.0.0.2 1 80\r\n"), NULL },
	{ BYTES("proxy TCP4 10.0.0.1 10.0.0.2 1 80\r\n"), NULL },
	{ BYTES("PROXY\r\n"), NULL },
	{ BYTES("GET / HTTP/1.1\r\n\r\n"), NULL },
	{ BYTES(V2("\x21", "\x11", "\0\x0c") IP4), "tcp://10.0.0.1:1234" },
	{ BYTES(V2("\x21", "\x12", "\0\x0c") IP4), "udp://10.0.0.1:1234" },
	{ BYTES(V2("\x20", "\0", "\0\0")), "" },
	{ BYTES(V2("\x20", "\xff", "\0\3") "abc"), "" },
	{ BYTES(V2("\x21", "\0", "\0\0")), "" },
	{ BYTES(V2("\x21", "\x11", "\0\x10") IP4 "\x04\0\1x"), "tcp://10.0.0.1:1234" },
	{ BYTES(V2("\x21", "\x11", "\0\x0b") IP4), NULL },
	{ BYTES(V2("\x21", "\x11", "\0\x0e") IP4 "\4\0"), NULL },
	{ BYTES(V2("\x21", "\x11", "\0\x10") IP4 "\4\0\2x"), NULL },
	{ BYTES(V2("\x21", "\x11", "\0\x10") IP4 "\2\0\1\0"), NULL },
	{ BYTES(V2("\x21", "\x11", "\0\x13") IP4 "\3\0\4abcd"), NULL },
	{ BYTES(V2("\x21", "\x11", "\0\x10") IP4 "\x20\0\1x"), NULL },
	{ BYTES(V2("\x21", "\x41", "\0\x0c") IP4), NULL },
	{ BYTES(V2("\x21", "\x13", "\0\x0c") IP4), NULL },
	{ BYTES(V2("\x22", "\x11", "\0\x0c") IP4), NULL },
	{ BYTES(V2("\x11", "\x11", "\0\x0c") IP4), NULL },
	{ BYTES(V2("\x20", "\0", "\x0f\xf1")), NULL },
	{ BYTES(V2("\x20", "\0", "\xff\xff")), NULL },
	{ BYTES("\r\n\r\n\0\r\nQUIT\r"), NULL },
};

static char *page_end; /* of memory that ends where the next page cannot be read */

static void make_page(void)
{
	char *page = mmap(NULL, 12288, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	cr_assert_neq(page, MAP_FAILED);
	cr_assert_eq(mprotect(page + 8192, 4096, PROT_NONE), 0);
	page_end = page + 8192;
}

static int parse(const char *data, size_t len, struct torc_proxy *p, size_t *need)
{
	return torc__proxy_parse(memcpy(page_end - len, data, len), len, p, need);
}

Test(proxy, headers_good_and_hostile)
{
	make_page();
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct torc_proxy p = { .version = 99 };
		char text[TORC_ADDRESS_MAX];
		size_t need;
		int r = parse(cases[i].data, cases[i].len, &p, &need);

		if (!cases[i].source) {
			cr_expect_eq(r, -EPROTO, "case %zu: %d", i, r);
			cr_expect_eq(p.version, 99);
			continue;
		}
		cr_expect_eq(r, (int)cases[i].len, "case %zu: %d", i, r);
		cr_expect_eq(p.local, !*cases[i].source, "case %zu", i);
		if (!p.local)
			cr_expect_str_eq(torc_address_format(&p.source, text, sizeof(text)),
					 cases[i].source);
	}
}

/* No prefix of a good one is refused or accepted; what is refused stays so; and it asks for no more than is there. */
Test(proxy, every_prefix_asks_for_more_or_is_refused_for_good)
{
	make_page();
	for (size_t i = 0; i < COUNT(cases); i++) {
		bool refused = false;

		for (size_t len = 0; len < cases[i].len; len++) {
			struct torc_proxy p;
			size_t need = 0;
			int r = parse(cases[i].data, len, &p, &need);

			cr_expect(r == 0 || (!cases[i].source && r == -EPROTO), "case %zu, %zu: %d",
				  i, len, r);
			cr_expect(!refused || r < 0);
			refused = r < 0;
			if (!r) {
				cr_expect_gt(need, len);
				cr_expect(!cases[i].source || need <= cases[i].len);
			}
		}
	}
}

Test(proxy, details_of_version_2)
{
	char header[] =
		V2("\x21", "\x11", "\0\0") IP4 "\2\0\x0b"
					       "example.com"
					       "\1\0\2h2"
					       "\5\0\3a\0b"
					       "\x20\0\x17\7\0\0\0\0\x21\0\7TLSv1.3\x22\0\5alice"
					       "\x30\0\5netns"
					       "\4\0\0";
	size_t need, len = sizeof(header) - 1;
	struct torc_proxy p;
	char *ssl = memchr(header, '\x17', len);

	header[15] = (char)(len - 16);
	cr_assert_eq(torc__proxy_parse(header, len, &p, &need), (int)len);
	cr_expect_str_eq(p.authority, "example.com");
	cr_expect_str_eq(p.alpn, "h2");
	cr_expect_eq(p.unique_id_len, 3);
	cr_expect_eq(memcmp(p.unique_id, "a\0b", 3), 0);
	cr_expect_eq(p.ssl, 15);
	cr_expect_str_eq(p.ssl_version, "TLSv1.3");
	cr_expect_str_eq(p.ssl_name, "alice");
	ssl[5] = 1; /* not verified */
	cr_assert_eq(torc__proxy_parse(header, len, &p, &need), (int)len);
	cr_expect_eq(p.ssl, 7);
	*ssl = '\x18'; /* the rows inside must fill their room */
	cr_expect_eq(torc__proxy_parse(header, len, &p, &need), -EPROTO);
}

static uint32_t sum_of(const char *data, size_t len)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < len * 8; i++)
		crc = crc >> 1 ^
		      ((crc ^ (uint32_t)((unsigned char)data[i / 8] >> i % 8)) & 1 ? 0x82f63b78u
										   : 0);
	return ~crc;
}

Test(proxy, a_checksum_is_looked_at)
{
	char header[] = V2("\x21", "\x11", "\0\x13") IP4 "\3\0\4\0\0\0\0";
	size_t len = sizeof(header) - 1, need;
	struct torc_proxy p;
	uint32_t sum;

	cr_assert_eq(sum_of("123456789", 9), 0xe3069283u); /* the known answer of CRC-32C */
	sum = htonl(sum_of(header, len));
	memcpy(header + len - 4, &sum, 4);
	cr_expect_eq(torc__proxy_parse(header, len, &p, &need), (int)len);
	for (size_t i = 16; i < len; i++) {
		if (i == 28) /* its type: then it is none */
			continue;
		header[i] ^= 1;
		cr_expect_eq(torc__proxy_parse(header, len, &p, &need), -EPROTO, "byte %zu", i);
		header[i] ^= 1;
	}
}

/* A header for IPv4 with one row of `len` bytes, within `total` bytes if that is more: what is left is padding. */
static size_t build_row(char *to, int type, int inner, size_t len, size_t total)
{
	static const char head[] = V2("\x21", "\x11", "\0\0") IP4;
	size_t at = sizeof(head) - 1, wrap = inner ? 8 : 0;

	memcpy(to, head, at);
	if (inner) { /* in the row of what is known of TLS */
		to[at++] = 0x20;
		to[at++] = (char)((len + wrap) >> 8);
		to[at++] = (char)(len + wrap);
		memset(to + at, 0, 5);
		at += 5;
		type = inner;
	}
	to[at++] = (char)type;
	to[at++] = (char)(len >> 8);
	to[at++] = (char)len;
	memset(to + at, 'x', len);
	at += len;
	if (at + 3 <= total) {
		to[at] = 4;
		to[at + 1] = (char)((total - at - 3) >> 8);
		to[at + 2] = (char)(total - at - 3);
		memset(to + at + 3, 0, total - at - 3);
		at = total;
	}
	to[14] = (char)((at - 16) >> 8);
	to[15] = (char)(at - 16);
	return at;
}

Test(proxy, each_row_is_taken_up_to_its_limit_and_no_further)
{
	static const struct {
		int type, inner;
		size_t most;
	} rows[] = {
		{ 1, 0, 255 },      { 2, 0, 255 },       { 5, 0, 128 },
		{ 0x20, 0x21, 31 }, { 0x20, 0x22, 255 },
	};
	static char header[TORC_PROXY_MAX + 16];

	make_page();
	for (size_t i = 0; i < COUNT(rows); i++)
		for (size_t len = 0; len < 300; len++) {
			size_t need, n = build_row(header, rows[i].type, rows[i].inner, len, 0);
			struct torc_proxy p = { .version = 99 };
			int r = parse(header, n, &p, &need);

			cr_assert_eq(r, len <= rows[i].most ? (int)n : -EPROTO, "row %zu, %zu: %d",
				     i, len, r);
			cr_assert_eq(p.version, len <= rows[i].most ? 2 : 99);
		}
}

Test(proxy, a_header_has_as_many_bytes_as_is_said_and_no_more)
{
	static char header[TORC_PROXY_MAX + 16];
	struct torc_proxy p;
	size_t need;

	make_page();
	for (size_t total = 100; total <= TORC_PROXY_MAX; total += total < 4090 ? 95 : 1) {
		size_t n = build_row(header, 2, 0, 10, total);

		cr_assert_eq(n, total);
		cr_assert_eq(parse(header, n, &p, &need), (int)n);
		cr_assert_eq(parse(header, n - 1, &p, &need), 0);
		cr_assert_eq(need, n);
	}
	cr_assert_eq(build_row(header, 2, 0, 10, TORC_PROXY_MAX + 1), TORC_PROXY_MAX + 1);
	cr_assert_eq(parse(header, TORC_PROXY_MAX + 1, &p, &need), -EPROTO);
	/* That is known from its first 16 bytes: nobody waits for the rest. */
	cr_assert_eq(parse(header, 16, &p, &need), -EPROTO);
}

/* --- over streams --- */

static int over_streams(void *arg)
{
	static const char *const ends[][2] = {
		{ "tcp://1.2.3.4:5", "tcp://6.7.8.9:10" },
		{ "tcp://[::1]:5", "tcp://[2001:db8::1]:65535" },
		{ "udp://1.2.3.4:5", "udp://6.7.8.9:10" },
		{ "unix:/a", "unix:@abstract" },
		{ NULL, NULL },
	};

	(void)arg;
	for (size_t i = 0; i < COUNT(ends); i++) {
		for (int version = 1; version <= 2; version++) {
			struct torc_stream a, b;
			struct torc_address from, to;
			struct torc_proxy p;
			struct torc_slice in;
			bool some = ends[i][0], told = version == 2 || i < 2 || !some;
			int fd[2];

			unix_pair(fd);
			check_eq(torc_stream_open(&a, fd[0]), 0);
			check_eq(torc_stream_open(&b, fd[1]), 0);
			if (some) {
				check_eq(torc_address_parse(ends[i][0], 0, &from), 0);
				check_eq(torc_address_parse(ends[i][1], 0, &to), 0);
			}
			check_eq(torc_proxy_write(&a, version, some ? &from : NULL,
						  some ? &to : NULL),
				 told ? 0 : -EAFNOSUPPORT);
			check_eq(torc_stream_write(&a, "rest", 4), 0);
			if (told) {
				check_eq(torc_proxy_read(&b, &p), 0);
				check_eq(p.version, version);
				check_eq(p.local, !some);
				check(!some || torc_address_equal(&p.source, &from));
				check(!some || torc_address_equal(&p.destination, &to));
				check(!some || p.source.type == from.type);
			}
			check_eq(torc_stream_peek(&b, &in), 1);
			check(same_text(in, "rest"));
			check_eq(torc_stream_close(&a), 0);
			check_eq(torc_stream_close(&b), 0);
		}
	}
	return 0;
}

Test(proxy, what_is_written_is_read_and_the_rest_stays)
{
	run(over_streams, NULL);
}

struct dribble {
	int fd;
	const char *data;
	size_t len;
};

static int dribble_main(void *arg)
{
	const struct dribble *d = arg;

	for (size_t i = 0; i < d->len; i++) {
		check_eq(torc_send(d->fd, d->data + i, 1, 0), 1);
		check_eq(torc_yield(), 0);
	}
	torc_close(d->fd);
	return 0;
}

static int byte_by_byte(void *arg)
{
	(void)arg;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct torc_proxy p;
		struct torc_stream s;
		struct torc_group g;
		struct dribble d = { .data = cases[i].data, .len = cases[i].len };
		int fd[2], r;

		unix_pair(fd);
		d.fd = fd[1];
		check_eq(torc_stream_open(&s, fd[0]), 0);
		torc_group_enter(&g);
		check_eq(torc_group_spawn(&g, dribble_main, &d), 0);
		r = torc_proxy_read(&s, &p);
		check(cases[i].source ? r == 0 : r == -EPROTO || r == -EPIPE);
		check_eq(torc_group_wait(&g), 0);
		check_eq(torc_stream_close(&s), 0);
	}
	return 0;
}

Test(proxy, works_byte_by_byte)
{
	run(byte_by_byte, NULL);
}

static int errors(void *arg)
{
	struct torc_proxy p = { .version = 99 };
	struct torc_stream s;
	struct torc_slice in;
	struct torc_scope t;
	struct torc_address a, b;
	int fd[2];

	(void)arg;
	unix_pair(fd);
	check_eq(torc_stream_open(&s, fd[0]), 0);
	torc_scope_enter(&t, TORC_MS(10));
	check_eq(torc_proxy_read(&s, &p), -ETIMEDOUT);
	torc_scope_leave(&t);
	send_text(fd[1], "PROXY TCP4 10.0");
	torc_scope_enter(&t, TORC_MS(10));
	check_eq(torc_proxy_read(&s, &p), -ETIMEDOUT);
	torc_scope_leave(&t);
	torc_scope_enter(&t, TORC_NEVER);
	torc_scope_cancel(&t);
	check_eq(torc_proxy_read(&s, &p), -ECANCELED);
	torc_scope_leave(&t);
	send_text(fd[1], ".0.1 10.0.0.2 1 x\r\n");
	check_eq(torc_proxy_read(&s, &p), -EPROTO);
	check_eq(torc_stream_peek(&s, &in), 1);
	check_eq(in.data[0], 'P');
	check_eq(p.version, 99);
	torc_stream_consume(&s, in.len);
	check_eq(torc_address_parse("1.2.3.4:5", 0, &a), 0);
	check_eq(torc_address_parse("[::1]:5", 0, &b), 0);
	check_eq(torc_proxy_write(&s, 3, NULL, NULL), -EINVAL);
	check_eq(torc_proxy_write(&s, 2, &a, NULL), -EINVAL);
	check_eq(torc_proxy_write(&s, 2, &a, &b), -EINVAL);
	close(fd[1]);
	check_eq(torc_stream_close(&s), 0);
	return 0;
}

Test(proxy, errors_consume_nothing)
{
	run(errors, NULL);
}
