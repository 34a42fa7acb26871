/*
 * Datagrams on a network that the test may change: what a small path does to trains, and who receives what is sent to a
 * group. Each test is a process with a network of its own, which ends with it.
 */
#include "tests/io/run.h"

#include <net/if.h>
#include <net/route.h>
#include <sched.h>
#include <sys/ioctl.h>

#include <torc/core/fiber.h>
#include <torc/io/datagram.h>

TestSuite(datagram_network, .timeout = 30);

#define LOOPBACK 1 /* the first interface, in any namespace */

/* IPv4 takes what has no route as near; IPv6 wants one, and of this interface only to what is its own. */
static void add_groups_route(void)
{
	struct in6_rtmsg q = { .rtmsg_dst_len = 8,
			       .rtmsg_metric = 1,
			       .rtmsg_flags = RTF_UP | RTF_LOCAL,
			       .rtmsg_ifindex = LOOPBACK };
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	check_ge(fd, 0);
	q.rtmsg_dst.s6_addr[0] = 0xff;
	check_eq(ioctl(fd, SIOCADDRT, &q), 0);
	close(fd);
}

/* A loopback interface that is up, takes so many bytes, and knows groups. False: not allowed here. */
static bool enter_network(int mtu)
{
	struct ifreq q = { .ifr_name = "lo", .ifr_mtu = mtu };
	int fd;

	if (unshare(CLONE_NEWNET) < 0)
		return false;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	check_ge(fd, 0);
	check_eq(ioctl(fd, SIOCSIFMTU, &q), 0);
	q.ifr_flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING | IFF_MULTICAST;
	check_eq(ioctl(fd, SIOCSIFFLAGS, &q), 0);
	close(fd);
	if (mtu >= 1280)
		add_groups_route();
	return true;
}

/* fn once with everything that the machine offers, and once with each of these turned off. */
static void run_in_network(int mtu, torc_fn *fn)
{
	static const char *const features[] = { "", "recv_multishot", "udp_segment", "cqe_skip" };

	if (!enter_network(mtu)) {
		cr_skip_test("a network namespace is not allowed here");
		return;
	}
	for (size_t i = 0; i < COUNT(features); i++) {
		setenv("TORC_DISABLE", features[i], 1);
		run(fn, NULL);
	}
	unsetenv("TORC_DISABLE");
}

static bool with_trains(void)
{
	return strcmp(getenv("TORC_DISABLE"), "udp_segment") != 0;
}

/* --- trains --- */

#define EACH 10

/* Numbered ones of one length, as one train if that is possible; then wait until the kernel has them. */
static int send_numbered(struct torc_dgram *d, size_t len, const struct torc_address *to)
{
	static char data[2000];

	for (int i = 0; i < EACH; i++) {
		memset(data, i, sizeof(data));
		check_eq(torc_dgram_send(d, data, len, to), 0);
	}
	return torc_dgram_flush(d);
}

static void expect_numbered(struct torc_dgram *d, size_t len)
{
	struct torc_datagram in;

	for (int i = 0; i < EACH; i++) {
		check_eq(torc_dgram_recv(d, &in), 0);
		check_eq(in.len, len);
		check_eq(in.data[0], i);
		check_eq(in.data[len - 1], i);
	}
}

/* What is longer than the path takes is no train, but each is cut up on its way and arrives. */
static void small_path(const char *address, size_t fits, size_t does_not)
{
	const struct torc_dgram_options o = { .segment_bytes = (unsigned)does_not };
	struct torc_dgram_stats stats;
	struct torc_dgram tx, rx;

	check_eq(torc_dgram_open(&tx, address, &o), 0);
	check_eq(torc_dgram_open(&rx, address, NULL), 0);
	check_eq(send_numbered(&tx, fits, torc_dgram_address(&rx)), 0);
	expect_numbered(&rx, fits);
	torc_dgram_stats(&tx, &stats);
	check_eq(stats.sends, with_trains() ? 1 : EACH);
	check_eq(send_numbered(&tx, does_not, torc_dgram_address(&rx)), 0);
	expect_numbered(&rx, does_not);
	check_eq(send_numbered(&tx, fits, torc_dgram_address(&rx)), 0);
	expect_numbered(&rx, fits);
	torc_dgram_stats(&tx, &stats);
	check_eq(stats.sent, 3 * EACH);
	check_eq(stats.failed, 0);
	/* Older kernels say EINVAL, which says nothing of the size: no more trains then. */
	check(!with_trains() || stats.sends == 1 + EACH + 1 || stats.sends == 1 + EACH + EACH);
	check_eq(torc_dgram_close(&tx), 0);
	check_eq(torc_dgram_close(&rx), 0);
}

static int small_path_v4(void *arg)
{
	(void)arg;
	small_path("127.0.0.1:0", 500, 1200);
	return 0;
}

Test(datagram_network, a_train_that_the_path_does_not_take_is_sent_one_by_one)
{
	run_in_network(1000, small_path_v4);
}

static int small_path_v6(void *arg)
{
	(void)arg;
	small_path("[::1]:0", 1232, 1300);
	return 0;
}

/* 1232 bytes are what every path of IPv6 takes as one datagram. */
Test(datagram_network, a_train_of_the_default_length_fits_the_smallest_path_of_ipv6)
{
	run_in_network(1280, small_path_v6);
}

/* None of it may be cut up: then none is sent, which is told once and counted for each. */
static int unsendable(void *arg)
{
	const int never = IP_PMTUDISC_DO;
	struct torc_dgram_stats stats;
	struct torc_dgram tx, rx;
	struct torc_datagram in;

	(void)arg;
	check_eq(torc_dgram_open(&tx, "127.0.0.1:0", NULL), 0);
	check_eq(torc_dgram_open(&rx, "127.0.0.1:0", NULL), 0);
	check_eq(setsockopt(tx.fd, IPPROTO_IP, IP_MTU_DISCOVER, &never, sizeof(never)), 0);
	check_eq(send_numbered(&tx, 1200, torc_dgram_address(&rx)), -EMSGSIZE);
	check_eq(torc_dgram_flush(&tx), 0);
	torc_dgram_stats(&tx, &stats);
	check_eq(stats.failed, EACH);
	check_eq(stats.sent, 0);
	check_eq(torc_dgram_send(&tx, "x", 1, torc_dgram_address(&rx)), 0);
	check_eq(torc_dgram_recv(&rx, &in), 0);
	check_eq(in.len, 1);
	check_eq(torc_dgram_close(&tx), 0);
	check_eq(torc_dgram_close(&rx), 0);
	return 0;
}

Test(datagram_network, what_may_not_be_cut_up_is_counted_as_failed)
{
	run_in_network(1000, unsendable);
}

/* --- groups --- */

static const struct family {
	const char *any, *groups[2], *own;
} families[] = {
	{ "0.0.0.0:0", { "239.1.2.3", "239.1.2.4" }, "127.0.0.1" },
	{ "[::]:0", { "[ff02::1234]", "[ff02::1235]" }, "[::1]" },
};

static void at_port_of(const struct torc_dgram *d, const char *host, struct torc_address *ret)
{
	char text[TORC_ADDRESS_MAX];
	const struct torc_address *a = torc_dgram_address(d);

	snprintf(text, sizeof(text), "%s:%u", host,
		 ntohs(a->any.sa_family == AF_INET ? a->v4.sin_port : a->v6.sin6_port));
	check_eq(torc_address_parse(text, 0, ret), 0);
}

static void send_to(struct torc_dgram *tx, struct torc_dgram *rx, const char *host, char what)
{
	struct torc_address to;

	at_port_of(rx, host, &to);
	check_eq(torc_dgram_send(tx, &what, 1, &to), 0);
	check_eq(torc_dgram_flush(tx), 0);
}

/* The loopback interface delivers in order: what has not come before this one does not come. */
static void expect_only(struct torc_dgram *d, const char *expected)
{
	struct torc_datagram in;

	for (; *expected; expected++) {
		check_eq(torc_dgram_recv(d, &in), 0);
		check_eq(in.len, 1);
		check_eq(in.data[0], *expected);
	}
}

static void open_sender(struct torc_dgram *d, const struct family *f)
{
	const struct torc_dgram_options o = { .device = "lo", .ttl = 1 };

	check_eq(torc_dgram_open(d, f->any, &o), 0);
}

static void join_group(struct torc_dgram *d, const char *group,
		       int (*change)(struct torc_dgram *, const char *, const char *))
{
	char text[TORC_ADDRESS_MAX];

	snprintf(text, sizeof(text), "%s:0", group);
	check_eq(change(d, text, "lo"), 0);
}

static int join_and_leave(void *arg)
{
	(void)arg;
	for (size_t i = 0; i < COUNT(families); i++) {
		const struct family *f = &families[i];
		struct torc_dgram tx, rx;

		open_sender(&tx, f);
		check_eq(torc_dgram_open(&rx, f->any, NULL), 0);
		send_to(&tx, &rx, f->groups[0], 'a'); /* to nobody */
		send_to(&tx, &rx, f->own, 'b');
		expect_only(&rx, "b");
		join_group(&rx, f->groups[0], torc_dgram_join);
		send_to(&tx, &rx, f->groups[0], 'c');
		send_to(&tx, &rx, f->groups[1], 'd');
		send_to(&tx, &rx, f->own, 'e');
		expect_only(&rx, "ce");
		join_group(&rx, f->groups[0], torc_dgram_leave);
		send_to(&tx, &rx, f->groups[0], 'f');
		send_to(&tx, &rx, f->own, 'g');
		expect_only(&rx, "g");
		check_eq(torc_dgram_close(&tx), 0);
		check_eq(torc_dgram_close(&rx), 0);
	}
	return 0;
}

Test(datagram_network, a_group_is_heard_from_join_to_leave)
{
	run_in_network(65536, join_and_leave);
}

/* Somebody else on this machine, who is in a group, does not make a socket hear it that is not. */
static int others_groups(void *arg)
{
	(void)arg;
	for (size_t i = 0; i < COUNT(families); i++) {
		const struct family *f = &families[i];
		struct torc_dgram tx, rx, other;

		open_sender(&tx, f);
		check_eq(torc_dgram_open(&rx, f->any, NULL), 0);
		check_eq(torc_dgram_open(&other, f->any, NULL), 0);
		join_group(&other, f->groups[0], torc_dgram_join);
		join_group(&other, f->groups[1], torc_dgram_join);
		send_to(&tx, &rx, f->groups[0], 'a');
		join_group(&rx, f->groups[0], torc_dgram_join);
		send_to(&tx, &rx, f->groups[0], 'b');
		send_to(&tx, &rx, f->groups[1], 'c');
		join_group(&rx, f->groups[0], torc_dgram_leave);
		send_to(&tx, &rx, f->groups[0], 'd');
		send_to(&tx, &rx, f->own, 'e');
		expect_only(&rx, "be");
		check_eq(torc_dgram_close(&other), 0);
		check_eq(torc_dgram_close(&tx), 0);
		check_eq(torc_dgram_close(&rx), 0);
	}
	return 0;
}

Test(datagram_network, a_group_that_others_have_joined_is_not_heard)
{
	run_in_network(65536, others_groups);
}

/* Several of one address, each in the group, get it each. */
static int shared_group(void *arg)
{
	const struct torc_dgram_options o = { .reuse_address = true };

	(void)arg;
	for (size_t i = 0; i < COUNT(families); i++) {
		const struct family *f = &families[i];
		char address[TORC_ADDRESS_MAX];
		struct torc_dgram tx, rx[2];

		open_sender(&tx, f);
		check_eq(torc_dgram_open(&rx[0], f->any, &o), 0);
		torc_address_format(torc_dgram_address(&rx[0]), address, sizeof(address));
		check_eq(torc_dgram_open(&rx[1], address, &o), 0);
		join_group(&rx[0], f->groups[0], torc_dgram_join);
		join_group(&rx[1], f->groups[0], torc_dgram_join);
		send_to(&tx, &rx[0], f->groups[0], 'a');
		send_to(&tx, &rx[0], f->groups[0], 'b');
		expect_only(&rx[0], "ab");
		expect_only(&rx[1], "ab");
		check_eq(torc_dgram_close(&tx), 0);
		check_eq(torc_dgram_close(&rx[0]), 0);
		check_eq(torc_dgram_close(&rx[1]), 0);
	}
	return 0;
}

Test(datagram_network, who_shares_the_address_hears_the_group_too)
{
	run_in_network(65536, shared_group);
}

/* net.ipv4.igmp_max_memberships */
static int too_many_groups(void *arg)
{
	struct torc_dgram d;
	int r = 0, joined = 0;

	(void)arg;
	check_eq(torc_dgram_open(&d, "0.0.0.0:0", NULL), 0);
	for (; !r && joined < 1000; joined += !r) {
		char group[32];

		snprintf(group, sizeof(group), "239.1.%d.%d:0", joined / 250, 1 + joined % 250);
		r = torc_dgram_join(&d, group, "lo");
	}
	check_eq(r, -ENOBUFS);
	check_ge(joined, 1);
	check_eq(torc_dgram_leave(&d, "239.1.0.1:0", "lo"), 0);
	check_eq(torc_dgram_join(&d, "239.2.0.1:0", "lo"), 0);
	check_eq(torc_dgram_close(&d), 0);
	return 0;
}

Test(datagram_network, too_many_groups_are_enobufs)
{
	run_in_network(65536, too_many_groups);
}
