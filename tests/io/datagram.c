#include "tests/io/run.h"

#include <netinet/udp.h>

#include <torc/core/fiber.h>
#include <torc/io/datagram.h>

TestSuite(datagram, .timeout = 60);

static const struct torc_options one_loop = { .loops = 1 };

/* All of it with and without what newer kernels have. */
static void run_variants(torc_fn *fn)
{
	static const char *const features[] = {
		"", "recv_multishot", "udp_segment", "cqe_skip",
		"recv_multishot,udp_segment,cqe_skip,single_issuer"
	};

	for (size_t i = 0; i < COUNT(features); i++) {
		setenv("TORC_DISABLE", features[i], 1);
		check_eq(run_with(&one_loop, fn, NULL), 0);
	}
	unsetenv("TORC_DISABLE");
}

static void open_at(struct torc_dgram *d, const char *address, struct torc_dgram_options *o)
{
	check_eq(torc_dgram_open(d, address, o), 0);
}

/* A plain socket of the test's own, connected to d. */
static int client_of(const struct torc_dgram *d)
{
	const struct torc_address *a = torc_dgram_address(d);
	int fd = socket(a->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	const int bytes = 4 << 20;

	check_ge(fd, 0);
	check_eq(connect(fd, &a->any, a->len), 0);
	/* Where that is allowed: what is full drops. */
	(void)!setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	return fd;
}

static int echo_one(void *arg)
{
	static const char *const addresses[] = { "udp://127.0.0.1:0", "udp://[::1]:0", "[::]:0",
						 ":0" };
	char buf[32];

	(void)arg;
	for (size_t i = 0; i < COUNT(addresses); i++) {
		struct torc_dgram d;
		struct torc_datagram in;
		struct torc_dgram_stats stats;
		int fd;

		open_at(&d, addresses[i], NULL);
		fd = client_of(&d);
		check_eq(send(fd, "hello", 5, 0), 5);
		check_eq(send(fd, "", 0, 0), 0);
		check_eq(send(fd, "again", 5, 0), 5);
		check_eq(torc_dgram_recv(&d, &in), 0);
		check_eq(in.len, 5);
		check(!memcmp(in.data, "hello", 5));
		check(!in.truncated && !in.segment);
		check_eq(torc_dgram_send(&d, in.data, in.len, &in.from), 0);
		check_eq(torc_dgram_recv(&d, &in), 0);
		check_eq(in.len, 0);
		check_eq(torc_dgram_send(&d, in.data, in.len, &in.from), 0);
		check_eq(torc_dgram_recv(&d, &in), 0);
		check_eq(in.len, 5);
		torc_dgram_release(&d);
		torc_dgram_release(&d);
		check_eq(torc_dgram_flush(&d), 0);
		check_eq(recv(fd, buf, sizeof(buf), MSG_DONTWAIT), 5);
		check_eq(recv(fd, buf, sizeof(buf), MSG_DONTWAIT), 0);
		torc_dgram_stats(&d, &stats);
		check_eq(stats.received, 3);
		check_eq(stats.sent, 2);
		check_eq(stats.failed, 0);
		close(fd);
		check_eq(torc_dgram_close(&d), 0);
	}
	return 0;
}

Test(datagram, what_comes_can_be_sent_back)
{
	run_variants(echo_one);
}

/* --- trains --- */

#define MANY 100

static int trains(void *arg)
{
	struct torc_dgram d;
	struct torc_dgram_stats stats;
	struct torc_address a[2];
	char buf[2048];
	int fd[2], count;

	(void)arg;
	open_at(&d, "127.0.0.1:0", NULL);
	for (int i = 0; i < 2; i++) {
		fd[i] = client_of(&d);
		check_eq(torc_local_address(fd[i], &a[i]), 0);
	}
	for (int i = 0; i < MANY; i++) {
		memset(buf, i, sizeof(buf));
		check_eq(torc_dgram_send(&d, buf, 100 + (i % 10 == 9), &a[i & 1]), 0);
		check_eq(torc_dgram_send(&d, buf, i % 50 ? 60 : 0, &a[!(i & 1)]), 0);
	}
	check_eq(torc_dgram_flush(&d), 0);
	for (int i = 0; i < 2; i++) {
		for (count = 0; recv(fd[i], buf, sizeof(buf), MSG_DONTWAIT) >= 0; count++)
			;
		check_eq(count, MANY);
	}
	torc_dgram_stats(&d, &stats);
	check_eq(stats.sent, 2 * MANY);
	if (!strstr(disabled(), "udp_segment"))
		check_lt(stats.sends, MANY * 2);
	else
		check_eq(stats.sends, 2 * MANY);
	close(fd[0]);
	close(fd[1]);
	check_eq(torc_dgram_close(&d), 0);
	return 0;
}

Test(datagram, trains_to_several_peers_arrive_whole)
{
	run_variants(trains);
}

static int in_order(void *arg)
{
	struct torc_dgram d;
	struct torc_dgram_stats stats;
	struct torc_address a;
	unsigned char buf[2048];
	uint64_t seed = 7;
	size_t lens[MANY];
	int fd;

	(void)arg;
	open_at(&d, "[::1]:0", NULL);
	fd = client_of(&d);
	check_eq(torc_local_address(fd, &a), 0);
	for (int i = 0; i < MANY; i++) {
		lens[i] = next_random(&seed) % 4 ? 300 : 1 + next_random(&seed) % 1500;
		memset(buf, i, sizeof(buf));
		check_eq(torc_dgram_send(&d, buf, lens[i], &a), 0);
	}
	check_eq(torc_dgram_flush(&d), 0);
	for (int i = 0; i < MANY; i++) {
		check_eq(recv(fd, buf, sizeof(buf), MSG_DONTWAIT), lens[i]);
		check_eq(buf[0], i);
		check_eq(buf[lens[i] - 1], i);
	}
	torc_dgram_stats(&d, &stats);
	check_eq(stats.sent, MANY);
	close(fd);
	check_eq(torc_dgram_close(&d), 0);
	return 0;
}

Test(datagram, datagrams_to_one_peer_keep_their_order_and_sizes)
{
	run_variants(in_order);
}

static int too_long_segments(void *arg)
{
	struct torc_dgram_options o = { .segment_bytes = 32000 };
	struct torc_dgram d;
	struct torc_dgram_stats stats;
	struct torc_address a;
	static char buf[32000];
	int fd;

	(void)arg;
	open_at(&d, "127.0.0.1:0", &o);
	fd = client_of(&d);
	check_eq(torc_local_address(fd, &a), 0);
	for (int i = 0; i < 4; i++)
		check_eq(torc_dgram_send(&d, buf, sizeof(buf), &a), 0);
	check_eq(torc_dgram_flush(&d), 0);
	for (int i = 0; i < 4; i++)
		check_eq(recv(fd, buf, sizeof(buf), MSG_DONTWAIT), sizeof(buf));
	torc_dgram_stats(&d, &stats);
	check_eq(stats.sent, 4);
	check_eq(stats.failed, 0);
	close(fd);
	check_eq(torc_dgram_close(&d), 0);
	return 0;
}

Test(datagram, long_segments_arrive_too)
{
	run_variants(too_long_segments);
}

/* The kernel refuses to cut up for a socket that sends no checksums (-EIO): from then on each goes by itself. */
static int no_checksums(void *arg)
{
	const int one = 1;
	struct torc_dgram d;
	struct torc_dgram_stats stats;
	struct torc_address a;
	char buf[64];
	int fd;

	(void)arg;
	open_at(&d, "127.0.0.1:0", NULL);
	check_eq(setsockopt(d.fd, SOL_SOCKET, SO_NO_CHECK, &one, sizeof(one)), 0);
	fd = client_of(&d);
	check_eq(torc_local_address(fd, &a), 0);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 10; i++) {
			memset(buf, i, sizeof(buf));
			check_eq(torc_dgram_send(&d, buf, sizeof(buf) - (i == 9), &a), 0);
		}
		check_eq(torc_dgram_flush(&d), 0);
		for (int i = 0; i < 10; i++) {
			check_eq(recv(fd, buf, sizeof(buf), MSG_DONTWAIT), sizeof(buf) - (i == 9));
			check_eq(buf[0], i);
		}
	}
	torc_dgram_stats(&d, &stats);
	check_eq(stats.sent, 20);
	check_eq(stats.sends, 20);
	check_eq(stats.failed, 0);
	close(fd);
	check_eq(torc_dgram_close(&d), 0);
	return 0;
}

Test(datagram, a_train_that_the_kernel_refuses_is_sent_one_by_one)
{
	run_variants(no_checksums);
}

/* --- receiving --- */

static int truncation(void *arg)
{
	struct torc_dgram_options o = { .datagram_bytes = 100, .recv_count = 4 };
	struct torc_dgram d;
	struct torc_datagram in;
	static char buf[4000];
	int fd;

	(void)arg;
	open_at(&d, "127.0.0.1:0", &o);
	fd = client_of(&d);
	for (size_t i = 0; i < 3; i++)
		check_eq(send(fd, buf,
			      i == 0   ? 100
			      : i == 1 ? 101
				       : 4000,
			      0),
			 i == 0   ? 100
			 : i == 1 ? 101
				  : 4000);
	for (int i = 0; i < 3; i++) {
		check_eq(torc_dgram_recv(&d, &in), 0);
		check_eq(in.len, 100);
		check_eq(in.truncated, i > 0);
	}
	close(fd);
	check_eq(torc_dgram_close(&d), 0);
	return 0;
}

Test(datagram, what_is_longer_than_a_buffer_is_marked_as_truncated)
{
	run_variants(truncation);
}

/* Far more than there are buffers: those that the socket has room for come, in order, and it goes on. */
static int exhaustion(void *arg)
{
	struct torc_dgram_options o = { .recv_count = 4 };
	struct torc_dgram d;
	struct torc_datagram in;
	int fd;

	(void)arg;
	open_at(&d, "127.0.0.1:0", &o);
	fd = client_of(&d);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 50; i++)
			check_eq(send(fd, &i, sizeof(i), 0), sizeof(i));
		for (int i = 0; i < 50; i++) {
			check_eq(torc_dgram_recv(&d, &in), 0);
			check_eq(in.len, sizeof(i));
			check(!memcmp(in.data, &i, sizeof(i)));
		}
	}
	if (!strstr(disabled(), "recv_multishot"))
		check_ge(d.stats.exhausted, 1);
	/* Some received and not taken when it is closed. */
	for (int i = 0; i < 50; i++)
		check_eq(send(fd, &i, sizeof(i), 0), sizeof(i));
	check_eq(torc_dgram_recv(&d, &in), 0);
	close(fd);
	check_eq(torc_dgram_close(&d), 0);
	return 0;
}

Test(datagram, more_than_the_buffers_hold_waits_in_the_socket)
{
	run_variants(exhaustion);
}

static int details(void *arg)
{
	static const char *const addresses[] = { "127.0.0.1:0", "[::1]:0" };
	struct torc_dgram_options o = { .want_local = true, .want_tos = true, .ttl = 3 };

	(void)arg;
	for (int v6 = 0; v6 < 2; v6++) {
		struct torc_dgram d;
		struct torc_datagram in;
		struct torc_address to, from;
		int fd, tos = 0xb9 & ~1;

		open_at(&d, addresses[v6], &o);
		to = *torc_dgram_address(&d);
		fd = client_of(&d);
		check_eq(setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_TCLASS : IP_TOS,
				    &tos, sizeof(tos)),
			 0);
		check_eq(send(fd, "x", 1, 0), 1);
		check_eq(torc_dgram_recv(&d, &in), 0);
		check_eq(in.tos, tos);
		check_eq(in.interface, 1);
		check_eq(torc_address_set_port(&to, 0), 0);
		check(torc_address_equal(&in.local, &to));
		check_eq(torc_local_address(fd, &from), 0);
		check(torc_address_equal(&in.from, &from));
		close(fd);
		check_eq(torc_dgram_close(&d), 0);
	}
	return 0;
}

Test(datagram, tells_where_a_datagram_was_sent_to_and_its_type_of_service)
{
	run_variants(details);
}

static int gro(void *arg)
{
	struct torc_dgram_options o = { .gro = true };
	struct torc_dgram rx, tx;
	struct torc_datagram in;
	char buf[100];
	size_t got = 0;

	(void)arg;
	open_at(&rx, "127.0.0.1:0", &o);
	open_at(&tx, "127.0.0.1:0", NULL);
	for (int i = 0; i < 20; i++) {
		memset(buf, i, sizeof(buf));
		check_eq(torc_dgram_send(&tx, buf, i == 19 ? 30 : 100, torc_dgram_address(&rx)), 0);
	}
	check_eq(torc_dgram_flush(&tx), 0);
	while (got < 1930) {
		check_eq(torc_dgram_recv(&rx, &in), 0);
		check(!in.segment || in.segment == 100);
		check(in.len <= 100 || in.segment);
		for (size_t i = 0; i < in.len; i++)
			check_eq(in.data[i], (got + i) / 100);
		got += in.len;
	}
	check_eq(got, 1930);
	check_eq(torc_dgram_close(&rx), 0);
	check_eq(torc_dgram_close(&tx), 0);
	return 0;
}

Test(datagram, gro_shows_a_train_as_one_with_its_segment_size)
{
	run_variants(gro);
}

/* --- errors --- */

static int refused(void *arg)
{
	struct sockaddr_in a;
	struct torc_dgram d;
	struct torc_datagram in;
	struct torc_dgram_options o = { 0 };
	struct torc_scope t;
	char peer[64];
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(a);

	(void)arg;
	a = (struct sockaddr_in){ .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	check_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	check_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	snprintf(peer, sizeof(peer), "udp://127.0.0.1:%u", ntohs(a.sin_port));
	o.peer = peer;
	open_at(&d, NULL, &o);
	close(fd); /* the port is nobody's now */
	check_eq(torc_dgram_send(&d, "x", 1, NULL), 0);
	check_eq(torc_dgram_recv(&d, &in), -ECONNREFUSED);
	/* Told once; it goes on. */
	torc_scope_enter(&t, TORC_MS(20));
	check_eq(torc_dgram_recv(&d, &in), -ETIMEDOUT);
	torc_scope_leave(&t);
	torc_op_cancel(&d.rx); /* so that it is the send that meets the next one */
	check_eq(torc_sleep(TORC_MS(1)), 0);
	check_eq(torc_dgram_send(&d, "x", 1, NULL), 0);
	check_eq(torc_dgram_flush(&d), 0);
	check_eq(torc_dgram_send(&d, "y", 1, NULL), 0);
	check_eq(torc_dgram_flush(&d), -ECONNREFUSED);
	check_eq(torc_dgram_close(&d), 0);
	return 0;
}

Test(datagram, a_connected_socket_tells_that_nobody_is_there)
{
	run_variants(refused);
}

static int send_errors(void *arg)
{
	static char big[70000];
	struct torc_dgram d;
	struct torc_dgram_stats stats;
	struct torc_address a, broadcast;
	int fd;

	(void)arg;
	open_at(&d, "127.0.0.1:0", NULL);
	fd = client_of(&d);
	check_eq(torc_local_address(fd, &a), 0);
	check_eq(torc_dgram_send(&d, "x", 1, NULL), -EDESTADDRREQ);
	check_eq(torc_dgram_send(&d, big, 65508, &a), -EMSGSIZE);
	check_eq(torc_dgram_send(&d, big, SIZE_MAX, &a), -EMSGSIZE);
	check_eq(torc_dgram_send(&d, big, 65507, &a), 0);
	check_eq(torc_dgram_flush(&d), 0);
	check_eq(recv(fd, big, sizeof(big), MSG_DONTWAIT), 65507);
	check_eq(torc_address_parse("255.255.255.255:9", 0, &broadcast), 0);
	/* Not permitted: what one peer's address meets is not another one's error. */
	for (int i = 0; i < 3; i++)
		check_eq(torc_dgram_send(&d, "x", 1, &broadcast), 0);
	check_eq(torc_dgram_send(&d, "y", 1, &a), 0);
	check_lt(torc_dgram_flush(&d), 0);
	check_eq(torc_dgram_flush(&d), 0);
	check_eq(recv(fd, big, sizeof(big), MSG_DONTWAIT), 1);
	torc_dgram_stats(&d, &stats);
	check_eq(stats.failed, 3);
	check_eq(stats.sent, 2);
	check_eq(torc_address_parse("unix:@x", 0, &a), 0);
	check_eq(torc_dgram_send(&d, "x", 1, &a), -EAFNOSUPPORT);
	close(fd);
	check_eq(torc_dgram_close(&d), 0);
	return 0;
}

Test(datagram, errors_of_sending)
{
	run_variants(send_errors);
}

static int open_errors(void *arg)
{
	static const struct {
		const char *address;
		struct torc_dgram_options o;
		int error;
	} wrong[] = {
		{ "tcp://127.0.0.1:0", { 0 }, -EINVAL },
		{ "unix:/tmp/x", { 0 }, -EINVAL },
		{ "nonsense", { 0 }, -EINVAL },
		{ NULL, { 0 }, -EINVAL },
		{ "127.0.0.1:0", { .peer = "[::1]:1" }, -EINVAL },
		{ "127.0.0.1:0", { .peer = ":1" }, -EINVAL },
		{ "127.0.0.1:0", { .recv_count = 32769 }, -EINVAL },
		{ "127.0.0.1:0", { .datagram_bytes = 65536 }, -EINVAL },
		{ "127.0.0.1:0", { .ttl = 256 }, -EINVAL },
		{ "127.0.0.1:0", { .recv_bytes = -1 }, -EINVAL },
		{ "127.0.0.1:0", { .device = "nosuchthing0" }, -ENODEV },
		{ "127.0.0.1:0", { .device = "abcdefghijklmnopq" }, -EINVAL },
		{ "192.0.2.1:0", { 0 }, -EADDRNOTAVAIL },
		{ "unixgram:/nonexistent/x", { 0 }, -ENOENT },
		{ NULL, { .peer = "unixgram:/nonexistent/x" }, -ENOENT },
	};
	struct torc_dgram d;

	(void)arg;
	for (size_t i = 0; i < COUNT(wrong); i++) {
		int r = torc_dgram_open(&d, wrong[i].address, &wrong[i].o);

		if (r != wrong[i].error)
			fprintf(stderr, "case %zu: %d\n", i, r);
		check_eq(r, wrong[i].error);
	}
	check_eq(torc_dgram_open(&d, "unixgram:/tmp/torc-test-half-open",
				 &(struct torc_dgram_options){ .peer = "unixgram:/nonexistent/x" }),
		 -ENOENT);
	check_eq(access("/tmp/torc-test-half-open", F_OK), -1);
	return 0;
}

Test(datagram, open_reports_what_is_wrong_and_leaves_nothing)
{
	run(open_errors, NULL);
}

/* --- cancellation --- */

static int cancelled(void *arg)
{
	struct torc_dgram d;
	struct torc_datagram in;
	struct torc_scope t;
	struct torc_dgram_options o = { .peer = "127.0.0.1:9" };
	int fd;

	(void)arg;
	open_at(&d, "127.0.0.1:0", NULL);
	fd = client_of(&d);
	torc_scope_enter(&t, TORC_MS(10));
	check_eq(torc_dgram_recv(&d, &in), -ETIMEDOUT);
	check_eq(torc_scope_leave(&t), -ETIMEDOUT);
	torc_scope_enter(&t, TORC_NEVER);
	torc_scope_cancel(&t);
	check_eq(torc_dgram_recv(&d, &in), -ECANCELED);
	check_eq(torc_dgram_send(&d, "x", 1, torc_dgram_address(&d)), -ECANCELED);
	check_eq(torc_dgram_flush(&d), -ECANCELED);
	{
		struct torc_dgram other;

		check_eq(torc_dgram_open(&other, NULL, &o), -ECANCELED);
	}
	torc_scope_leave(&t);
	/* Nothing was lost, and nothing sent. */
	check_eq(send(fd, "hello", 5, 0), 5);
	check_eq(torc_dgram_recv(&d, &in), 0);
	check_eq(in.len, 5);
	check_eq(d.stats.sent, 0);
	/* A close in a cancelled scope drops what is unsent. */
	check_eq(torc_dgram_send(&d, "x", 1, &in.from), 0);
	torc_scope_enter(&t, TORC_NEVER);
	torc_scope_cancel(&t);
	check_eq(torc_dgram_close(&d), -ECANCELED);
	torc_scope_leave(&t);
	close(fd);
	return 0;
}

Test(datagram, a_cancelled_scope_does_nothing_and_loses_nothing)
{
	run_variants(cancelled);
}

/* --- back-pressure --- */

struct sender {
	struct torc_dgram *d;
	struct torc_address to;
	int count;
};

static int sender_main(void *arg)
{
	struct sender *s = arg;
	char buf[1000] = "";

	for (int i = 0; i < 100; i++, s->count++) {
		int r = torc_dgram_send(s->d, buf, sizeof(buf), &s->to);

		if (r < 0)
			return r;
		check_le(s->d->unsent_bytes, 20000);
	}
	return 0;
}

static int pressure(void *arg)
{
	struct torc_dgram_options o = { .queue_bytes = 20000, .send_bytes = 4608 };
	struct sender s[5];
	struct torc_dgram d, sink;
	struct torc_group g;

	(void)arg;
	open_at(&d, "127.0.0.1:0", &o);
	open_at(&sink, "127.0.0.1:0", NULL);
	torc_group_enter(&g);
	for (size_t i = 0; i < COUNT(s); i++) {
		s[i] = (struct sender){ &d, *torc_dgram_address(&sink), 0 };
		check_eq(torc_group_spawn(&g, sender_main, &s[i]), 0);
	}
	check_eq(torc_group_wait(&g), 0);
	check_eq(torc_dgram_flush(&d), 0);
	check_eq(d.stats.sent, 500);
	check_eq(d.unsent_bytes, 0);
	check_eq(torc_dgram_close(&d), 0);
	check_eq(torc_dgram_close(&sink), 0);
	return 0;
}

Test(datagram, many_senders_are_held_at_the_bound_and_all_go_on)
{
	run_variants(pressure);
}

/* --- Unix, groups --- */

static int over_unix(void *arg)
{
	static const char *const names[] = { "unixgram:@torc-test-dgram-%d",
					     "unixgram:/tmp/torc-test-dgram-%d" };

	(void)arg;
	for (size_t i = 0; i < COUNT(names); i++) {
		char address[TORC_ADDRESS_MAX];
		struct torc_dgram_options o = { .peer = address };
		struct torc_dgram server, client;
		struct torc_datagram in;
		struct torc_scope t;
		int r;

		snprintf(address, sizeof(address), names[i], getpid());
		open_at(&server, address, NULL);
		check_eq(torc_dgram_open(&client, address, NULL), -EADDRINUSE);
		open_at(&client, NULL, &o);
		check_eq(torc_dgram_send(&client, "hello", 5, NULL), 0);
		check_eq(torc_dgram_recv(&server, &in), 0);
		check_eq(in.len, 5);
		check_le(in.from.len, sizeof(sa_family_t));
		check_eq(torc_dgram_send(&server, "x", 1, &in.from), -EDESTADDRREQ);
		/* Nothing is lost: who is too fast waits. */
		torc_scope_enter(&t, TORC_MS(30));
		while ((r = torc_dgram_send(&client, "x", 1, NULL)) == 0)
			;
		check_eq(r, -ETIMEDOUT);
		torc_scope_leave(&t);
		for (uint64_t n = client.stats.sent; n > 1; n--)
			check_eq(torc_dgram_recv(&server, &in), 0);
		check_eq(torc_dgram_close(&server), 0);
		check_eq(torc_dgram_send(&client, "x", 1, NULL), -ECONNREFUSED);
		check_eq(torc_dgram_close(&client), 0);
		check_eq(access(address + 9, F_OK), -1);
	}
	return 0;
}

Test(datagram, unix_datagrams_wait_instead_of_being_lost)
{
	run(over_unix, NULL);
}

static int groups(void *arg)
{
	struct torc_dgram d;

	(void)arg;
	open_at(&d, "0.0.0.0:0", NULL);
	check_eq(torc_dgram_join(&d, "nonsense", NULL), -EINVAL);
	check_eq(torc_dgram_join(&d, "127.0.0.1:0", "lo"), -EINVAL);
	check_eq(torc_dgram_join(&d, "[ff02::1234]:0", "lo"), -EINVAL);
	check_eq(torc_dgram_join(&d, "239.1.2.3:0", "nosuchthing"), -ENODEV);
	check_eq(torc_dgram_join(&d, "239.1.2.3:0", "lo"), 0);
	check_eq(torc_dgram_join(&d, "239.1.2.3:0", "lo"), -EADDRINUSE);
	check_eq(torc_dgram_leave(&d, "239.1.2.3:0", "lo"), 0);
	check_eq(torc_dgram_leave(&d, "239.1.2.3:0", "lo"), -EADDRNOTAVAIL);
	check_eq(torc_dgram_close(&d), 0);
	open_at(&d, "[::]:0", NULL);
	check_eq(torc_dgram_join(&d, "[ff02::1234]:0", "lo"), 0);
	check_eq(torc_dgram_leave(&d, "[ff02::1234]:0", "lo"), 0);
	check_eq(torc_dgram_close(&d), 0);
	return 0;
}

Test(datagram, groups_are_joined_and_left)
{
	run(groups, NULL);
}

/* --- many sockets --- */

static int many_sockets(void *arg)
{
	enum { SOCKETS = 60 };
	static struct torc_dgram d[SOCKETS];
	struct torc_datagram in;

	(void)arg;
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < SOCKETS; i++)
			open_at(&d[i], "127.0.0.1:0",
				&(struct torc_dgram_options){ .recv_count = 4 });
		for (int i = 0; i < SOCKETS; i++)
			check_eq(torc_dgram_send(&d[i], &i, sizeof(i),
						 torc_dgram_address(&d[(i + 1) % SOCKETS])),
				 0);
		for (int i = 0; i < SOCKETS; i++) {
			int from = (i + SOCKETS - 1) % SOCKETS;

			check_eq(torc_dgram_recv(&d[i], &in), 0);
			check(!memcmp(in.data, &from, sizeof(from)));
			check(torc_address_equal(&in.from, torc_dgram_address(&d[from])));
		}
		for (int i = 0; i < SOCKETS; i++)
			check_eq(torc_dgram_close(&d[(i * 7) % SOCKETS]), 0);
	}
	return 0;
}

Test(datagram, sockets_have_buffers_of_their_own)
{
	run_variants(many_sockets);
}
