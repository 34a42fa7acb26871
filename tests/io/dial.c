/*
 * torc_dial on names with several addresses: aliases of loopback on which somebody listens, refuses, or is dead.
 */
#include "tests/io/names.h"

#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <sys/ioctl.h>

#include <torc/core/sim.h>
#include <torc/core/timeout.h>

#include "io/internal/dial.h"

TestSuite(dial, .timeout = 30, .init = use_fake);

/* --- hosts --- */

enum kind {
	GOOD,
	REFUSING,
	DEAD, /* its queue is full: it answers nobody */
	NONE, /* nothing is bound there */
};

#define FILLERS 3

struct host {
	const char *ip;
	enum kind kind;
	int fd, fillers[FILLERS];
};

/* A name of these hosts, in this order, and the port that all of them have. */
struct town {
	struct host hosts[4];
	char address[64]; /* of the name */
	unsigned port;
};

/* Also where the addresses of the test's name come from. */
static void numeric(const struct host *h, unsigned port, struct torc_address *ret)
{
	char text[64];

	snprintf(text, sizeof(text), strchr(h->ip, ':') ? "[%s]:%u" : "%s:%u", h->ip, port);
	check_eq(torc_address_parse(text, 0, ret), 0);
}

static int bind_host(struct host *h, unsigned port)
{
	struct torc_address a;
	int r;

	numeric(h, port, &a);
	h->fd = torc_sys_socket(a.any.sa_family, SOCK_STREAM, 0);
	check_ge(h->fd, 0);
	r = torc_sys_bind(h->fd, &a.any, a.len);
	if (r < 0) {
		torc_sys_close(h->fd);
		h->fd = -1;
	}
	return r;
}

static void fill(struct host *h, unsigned port)
{
	struct torc_address a;

	numeric(h, port, &a);
	for (int i = 0; i < FILLERS; i++) {
		h->fillers[i] = torc_sys_socket(a.any.sa_family, SOCK_STREAM, 0);
		check_ge(h->fillers[i], 0);
		torc_within(TORC_MS(20))(void) !torc_connect(h->fillers[i], &a.any, a.len);
	}
}

static void close_town(struct town *t)
{
	for (size_t i = 0; i < COUNT(t->hosts) && t->hosts[i].ip; i++) {
		struct host *h = &t->hosts[i];

		if (h->fd >= 0)
			torc_sys_close(h->fd);
		for (int f = 0; f < FILLERS && h->kind == DEAD; f++)
			torc_sys_close(h->fillers[f]);
	}
}

/* Those that are bound; false: the port is somebody's on one of them. */
static bool bind_all(struct town *t, unsigned port)
{
	for (size_t i = 0; i < COUNT(t->hosts) && t->hosts[i].ip; i++)
		t->hosts[i].fd = -1;
	t->port = port;
	for (size_t i = 0; i < COUNT(t->hosts) && t->hosts[i].ip; i++)
		if (t->hosts[i].kind != NONE && bind_host(&t->hosts[i], port) < 0) {
			for (size_t k = 0; k < i; k++)
				if (t->hosts[k].fd >= 0)
					torc_sys_close(t->hosts[k].fd);
			return false;
		}
	return true;
}

/* Whatever the machine's own programs use. */
static void open_town(struct town *t)
{
	unsigned port = 20000 + (unsigned)getpid() % 10000;

	while (!bind_all(t, port))
		check_lt(++port, 32000);
	fake.ips.count = 0;
	for (size_t i = 0; i < COUNT(t->hosts) && t->hosts[i].ip; i++) {
		struct host *h = &t->hosts[i];

		add_ip(&fake.ips, h->ip);
		if (h->kind == GOOD || h->kind == DEAD)
			check_eq(torc_sys_listen(h->fd, h->kind == GOOD ? 16 : 0), 0);
		if (h->kind == DEAD)
			fill(h, port);
	}
	torc_name_cache_clear();
	snprintf(t->address, sizeof(t->address), "tcp://town.test:%u", port);
}

/* How many have come to it. */
static unsigned count_visits(const struct host *h)
{
	unsigned n = 0;
	int fd;

	check_eq(fcntl(h->fd, F_SETFL, O_NONBLOCK), 0);
	while ((fd = accept4(h->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		close(fd);
		n++;
	}
	return n;
}

static void check_peer(int fd, const struct host *h, unsigned port)
{
	struct torc_address a, expected;

	check_ge(fd, 0);
	numeric(h, port, &expected);
	check_eq(torc_peer_address(fd, &a), 0);
	check(torc_address_equal(&a, &expected));
}

static const struct torc_dial_options hasty = { .attempt_delay_ns = TORC_MS(10) };
static const struct torc_dial_options patient = { .attempt_delay_ns = TORC_SECONDS(2) };

/* --- who wins --- */

static int first_is_good(void *arg)
{
	struct town t = { .hosts = {
				  { .ip = "127.0.0.2" }, { .ip = "127.0.0.3" }, { .ip = "::1" } } };
	int fd, value = 0;
	socklen_t len = sizeof(value);

	(void)arg;
	open_town(&t);
	fd = torc_dial_with(t.address, &patient);
	check_peer(fd, &t.hosts[0], t.port);
	check(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	check_eq(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &len), 0);
	check_eq(value, 1);
	torc_close(fd);
	fd = torc_dial(t.address + 6); /* without tcp:// */
	check_peer(fd, &t.hosts[0], t.port);
	torc_close(fd);
	check_eq(count_visits(&t.hosts[0]), 2);
	check_eq(count_visits(&t.hosts[1]), 0);
	check_eq(count_visits(&t.hosts[2]), 0);
	check_eq(fake_calls(), 1);
	close_town(&t);
	return 0;
}

Test(dial, the_first_address_wins_and_the_others_are_left_alone)
{
	run(first_is_good, NULL);
}

static int refused_first(void *arg)
{
	struct town t = { .hosts = { { .ip = "127.0.0.2", .kind = REFUSING },
				     { .ip = "127.0.0.3", .kind = REFUSING },
				     { .ip = "127.0.0.4" } } };
	uint64_t begin;
	int fd;

	(void)arg;
	open_town(&t);
	begin = torc_now_ns();
	fd = torc_dial_with(t.address, &patient);
	check_peer(fd, &t.hosts[2], t.port);
	check_lt(torc_now_ns() - begin, TORC_SECONDS(2)); /* it did not wait once */
	torc_close(fd);
	check_eq(count_visits(&t.hosts[2]), 1);
	close_town(&t);
	return 0;
}

Test(dial, when_one_is_refused_the_next_is_tried_at_once)
{
	run(refused_first, NULL);
}

static int dead_first(void *arg)
{
	struct town t = { .hosts = { { .ip = "127.0.0.2", .kind = DEAD },
				     { .ip = "127.0.0.3", .kind = DEAD },
				     { .ip = "127.0.0.4" },
				     { .ip = "127.0.0.5" } } };
	uint64_t begin;
	int fd;

	(void)arg;
	open_town(&t);
	begin = torc_now_ns();
	fd = torc_dial_with(t.address, &hasty);
	check_ge(torc_now_ns() - begin, TORC_MS(20)); /* a delay for each of the dead */
	check(fd >= 0);
	torc_close(fd);
	fd = torc_dial(t.address);
	check_peer(fd, &t.hosts[2], t.port);
	check_ge(torc_now_ns() - begin, TORC_MS(520));
	torc_close(fd);
	close_town(&t);
	return 0;
}

Test(dial, a_dead_address_costs_one_delay)
{
	run_all_features(NULL, dead_first, NULL);
}

static int dead_then_refused(void *arg)
{
	struct town t = { .hosts = { { .ip = "127.0.0.2", .kind = DEAD },
				     { .ip = "127.0.0.3", .kind = REFUSING },
				     { .ip = "127.0.0.4" } } };
	uint64_t begin;
	int fd;

	(void)arg;
	open_town(&t);
	begin = torc_now_ns();
	fd = torc_dial_with(t.address, &patient);
	check_ge(torc_now_ns() - begin, TORC_SECONDS(2));
	check_lt(torc_now_ns() - begin, TORC_SECONDS(4)); /* no second delay after the refusal */
	check_peer(fd, &t.hosts[2], t.port);
	torc_close(fd);
	close_town(&t);
	return 0;
}

Test(dial, a_refusal_beside_a_dead_one_starts_the_next_at_once)
{
	run(dead_then_refused, NULL);
}

static int interleaved(void *arg)
{
	struct town t = { .hosts = { { .ip = "127.0.0.2", .kind = REFUSING },
				     { .ip = "127.0.0.3" },
				     { .ip = "127.0.0.4" },
				     { .ip = "::1" } } };
	int fd;

	(void)arg;
	open_town(&t);
	fd = torc_dial_with(t.address, &patient);
	check_peer(fd, &t.hosts[3], t.port);
	torc_close(fd);
	check_eq(count_visits(&t.hosts[1]), 0);
	check_eq(count_visits(&t.hosts[2]), 0);
	close_town(&t);
	return 0;
}

Test(dial, families_take_turns)
{
	run(interleaved, NULL);
}

static int localhost(void *arg)
{
	struct town t = { .hosts = { { .ip = "127.0.0.1" }, { .ip = "::1", .kind = REFUSING } } };
	char address[64];
	int fd;

	(void)arg;
	open_town(&t);
	snprintf(address, sizeof(address), "localhost:%u", t.port);
	fd = torc_dial(address);
	check_peer(fd, &t.hosts[0], t.port);
	torc_close(fd);
	close_town(&t);
	t.hosts[0].kind = REFUSING;
	t.hosts[1].kind = GOOD;
	open_town(&t);
	snprintf(address, sizeof(address), "tcp://LOCALHOST:%u", t.port);
	fd = torc_dial(address);
	check_peer(fd, &t.hosts[1], t.port);
	torc_close(fd);
	check_eq(fake_calls(), 0);
	close_town(&t);
	return 0;
}

Test(dial, localhost_is_either_family)
{
	run(localhost, NULL);
}

static int locally_bound(void *arg)
{
	struct town t = { .hosts = { { .ip = "::1" }, { .ip = "127.0.0.2" } } };
	struct torc_address a;
	char address[64];
	int fd;

	(void)arg;
	open_town(&t);
	snprintf(address, sizeof(address), "localhost:%u", t.port);
	fd = torc_dial_with(t.address, &(struct torc_dial_options){ .local = "127.0.0.9:0" });
	check_peer(fd, &t.hosts[1], t.port);
	check_eq(torc_local_address(fd, &a), 0);
	check_eq(ntohl(a.v4.sin_addr.s_addr), 0x7f000009);
	torc_close(fd);
	fd = torc_dial_with(address, &(struct torc_dial_options){ .local = "[::1]:0" });
	check_peer(fd, &t.hosts[0], t.port);
	torc_close(fd);
	fake.ips.count = 1;
	torc_name_cache_clear();
	check_eq(torc_dial_with(t.address, &(struct torc_dial_options){ .local = "127.0.0.9:0" }),
		 -ENODATA);
	check_eq(torc_dial_with(address, &(struct torc_dial_options){ .local = "unix:x" }),
		 -EINVAL);
	check_eq(torc_dial_with(address, &(struct torc_dial_options){ .local = "nonsense" }),
		 -EINVAL);
	close_town(&t);
	return 0;
}

Test(dial, only_the_family_of_the_local_address_is_tried)
{
	run(locally_bound, NULL);
}

/* --- nobody wins --- */

static int all_refuse(void *arg)
{
	struct town t = { .hosts = { { .ip = "127.0.0.2", .kind = REFUSING },
				     { .ip = "127.0.0.3", .kind = REFUSING },
				     { .ip = "::1", .kind = REFUSING } } };

	(void)arg;
	open_town(&t);
	check_eq(torc_dial_with(t.address, &patient), -ECONNREFUSED);
	close_town(&t);
	return 0;
}

Test(dial, when_all_refuse_that_is_the_error)
{
	run_all_features(NULL, all_refuse, NULL);
}

static int names_without_address(void *arg)
{
	static const struct {
		const char *address;
		int error;
	} cases[] = {
		{ "tcp://missing.test:80", -ENOENT },
		{ "nodata.test:80", -ENODATA },
		{ "again.test:80", -EAGAIN },
		{ "fail.test:80", -EREMOTEIO },
		{ "tcp://a..b:80", -EINVAL },
		{ "tcp://town.test", -EINVAL },
		{ "tcp://town.test:", -EINVAL },
		{ "tcp://town.test:http", -EINVAL },
		{ "tcp://town.test:65536", -EINVAL },
		{ "tcp://town.test:-1", -EINVAL },
		{ "tcp://:80", -EINVAL },
		{ "tcp:town.test:80", -EINVAL },
		{ "tls://town.test:80", -EINVAL },
		{ "tcp://tcp://town.test:80", -EINVAL },
		{ "tcp://user@town.test:80", -EINVAL },
		{ "tcp://town.test:80/", -EINVAL },
		{ "tcp://127.1:80", -EINVAL },
		{ "tcp://::1:80", -EINVAL },
		{ "*:80", -EINVAL },
		{ "town.test\n:80", -EINVAL },
		{ "unix:80", -ENOENT }, /* a path */
		{ "udp://missing.test:80", -ENOENT },
	};

	(void)arg;
	for (size_t i = 0; i < COUNT(cases); i++) {
		int r = torc_dial(cases[i].address);

		if (r != cases[i].error) {
			fprintf(stderr, "%s: %d\n", cases[i].address, r);
			abort();
		}
	}
	return 0;
}

Test(dial, what_has_no_address_cannot_be_dialed)
{
	run(names_without_address, NULL);
}

static int too_long(void *arg)
{
	char address[600];

	(void)arg;
	memset(address, 'a', sizeof(address));
	strcpy(address + 500, ":80");
	check_eq(torc_dial(address), -ENAMETOOLONG);
	strcpy(address + 64, ":80");
	check_eq(torc_dial(address), -ENAMETOOLONG);
	check_eq(fake_calls(), 0);
	return 0;
}

Test(dial, a_name_that_is_too_long_is_told_so)
{
	run(too_long, NULL);
}

static int wrong_delays(void *arg)
{
	static const uint64_t wrong[] = { 1, TORC_MS(10) - 1, TORC_SECONDS(2) + 1, TORC_NEVER };

	(void)arg;
	for (size_t i = 0; i < COUNT(wrong); i++)
		check_eq(torc_dial_with("town.test:80",
					&(struct torc_dial_options){ .attempt_delay_ns =
									     wrong[i] }),
			 -EINVAL);
	check_eq(fake_calls(), 0);
	return 0;
}

Test(dial, delays_have_limits)
{
	run(wrong_delays, NULL);
}

static int all_dead(void *arg)
{
	struct town t = { .hosts = { { .ip = "127.0.0.2", .kind = DEAD },
				     { .ip = "127.0.0.3", .kind = DEAD } } };
	struct torc_scope s;

	(void)arg;
	open_town(&t);
	torc_scope_enter(&s, TORC_MS(50));
	check_eq(torc_dial_with(t.address, &hasty), -ETIMEDOUT);
	check_eq(torc_dial_with(t.address, &hasty), -ETIMEDOUT);
	check_eq(torc_scope_leave(&s), -ETIMEDOUT);
	/* Before the second one has begun, too. */
	torc_scope_enter(&s, TORC_MS(20));
	check_eq(torc_dial_with(t.address, &patient), -ETIMEDOUT);
	check_eq(torc_scope_leave(&s), -ETIMEDOUT);
	close_town(&t);
	return 0;
}

Test(dial, the_whole_ends_at_the_deadline_and_leaves_no_descriptor)
{
	run_all_features(NULL, all_dead, NULL);
}

static int dial_main(void *arg)
{
	return torc_dial_with(arg, &hasty);
}

static int cancelled(void *arg)
{
	struct town t = { .hosts = { { .ip = "127.0.0.2", .kind = DEAD },
				     { .ip = "127.0.0.3", .kind = DEAD } } };

	(void)arg;
	open_town(&t);
	for (int turns = 0; turns < 6; turns++) {
		struct torc_group g;
		struct torc_task task;
		const struct torc_spawn_options o = { .task = &task };

		torc_group_enter_supervisor(&g);
		check_eq(torc_group_spawn_with(&g, &o, dial_main, t.address), 0);
		for (int i = 0; i < turns; i++)
			check_eq(torc_yield(), 0);
		if (turns == 5) /* with two under way */
			check_eq(torc_sleep(TORC_MS(15)), 0);
		torc_task_cancel(&task);
		check_eq(torc_task_join(&task), -ECANCELED);
		torc_group_wait(&g);
	}
	close_town(&t);
	return 0;
}

Test(dial, a_cancellation_ends_all_attempts)
{
	run_all_features(NULL, cancelled, NULL);
}

static int held_name(void *arg)
{
	struct torc_scope s;

	(void)arg;
	torc_scope_enter(&s, TORC_MS(5));
	check_eq(torc_dial("held.test:80"), -ETIMEDOUT);
	torc_scope_leave(&s);
	let_go();
	return 0;
}

Test(dial, the_deadline_counts_for_the_lookup_too)
{
	run(held_name, NULL);
}

static int without_descriptors(void *arg)
{
	struct town t = { .hosts = { { .ip = "127.0.0.2" }, { .ip = "127.0.0.3" } } };
	struct rlimit old, none;
	int fd;

	(void)arg;
	open_town(&t);
	fd = torc_dial(t.address); /* whatever else needs one has it now */
	check_ge(fd, 0);
	torc_close(fd);
	check_eq(torc_yield(), 0);
	check_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = 3;
	check_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	check_eq(torc_dial(t.address), -EMFILE);
	check_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	check_eq(count_visits(&t.hosts[1]), 0);
	close_town(&t);
	return 0;
}

Test(dial, without_descriptors_it_fails)
{
	run(without_descriptors, NULL);
}

static int without_fibers(void *arg)
{
	struct town t = { .hosts = { { .ip = "127.0.0.2" }, { .ip = "127.0.0.3" } } };
	int fd;

	(void)arg;
	open_town(&t);
	check_eq(torc_dial(t.address), -EAGAIN);
	fake.ips.count = 1;
	torc_name_cache_clear();
	fd = torc_dial(t.address); /* one address needs none */
	check_peer(fd, &t.hosts[0], t.port);
	torc_close(fd);
	close_town(&t);
	return 0;
}

Test(dial, without_fibers_only_single_addresses_can_be_dialed)
{
	check_eq(run_with(&(struct torc_options){ .fibers_max = 2 }, without_fibers, NULL), 0);
}

/* --- datagrams --- */

static int datagrams(void *arg)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002) };
	socklen_t len = sizeof(a);
	int peer = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), fd;
	char address[64], buf[8];

	(void)arg;
	check_eq(bind(peer, (struct sockaddr *)&a, len), 0);
	check_eq(getsockname(peer, (struct sockaddr *)&a, &len), 0);
	add_ip(&fake.ips, "127.0.0.2");
	add_ip(&fake.ips, "127.0.0.3");
	for (int i = 0; i < 2; i++) {
		snprintf(address, sizeof(address), "udp://%s:%u", i ? "127.0.0.2" : "town.test",
			 ntohs(a.sin_port));
		fd = torc_dial(address);
		check_ge(fd, 0);
		check_eq(torc_send(fd, "hello", 5, 0), 5);
		check_eq(torc_recv(peer, buf, sizeof(buf), 0), 5);
		torc_close(fd);
	}
	torc_close(peer);
	return 0;
}

Test(dial, datagrams_go_to_the_first_address)
{
	run(datagrams, NULL);
}

/* --- other schemes --- */

Test(dial, a_target_is_a_name_or_an_address)
{
	struct torc__target t;

	check_eq(torc__target_parse("Example.ORG.:443", &t), 0);
	check(!strcmp(t.name, "example.org."));
	check_eq(t.port, 443);
	check_eq(t.type, SOCK_STREAM);
	check_eq(torc__target_parse("udp://a:1", &t), 0);
	check_eq(t.type, SOCK_DGRAM);
	check_eq(torc__target_parse("[::1]:443", &t), 0);
	check_eq(t.name[0], 0);
	check_eq(t.type, SOCK_STREAM);
	check_eq(t.address.type, SOCK_STREAM);
	check_eq(torc_address_port(&t.address), 443);
	check_eq(torc__target_parse("unixpacket:@x", &t), 0);
	check_eq(t.type, SOCK_SEQPACKET);
	check_eq(torc__target_parse("udp://127.0.0.1:5", &t), 0);
	check_eq(t.type, SOCK_DGRAM);
}

/* --- a network of its own --- */

/* What is sent to 10.66.66.2 waits in a tunnel that nobody reads from. */
static bool own_network(void)
{
	struct ifreq tunnel = { .ifr_name = "dead0", .ifr_flags = IFF_TUN | IFF_NO_PI };
	int fd;

	if (unshare(CLONE_NEWNET) < 0)
		return false;
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	return fd >= 0 && ioctl(fd, TUNSETIFF, &tunnel) == 0 &&
	       system("{ ip link set lo up && ip addr add 10.66.66.1/24 dev dead0 && "
		      "ip link set dead0 up; } 2>/dev/null") == 0;
}

static int in_network(void *arg)
{
	struct town t = { .hosts = { { .ip = "10.66.66.2", .kind = NONE },
				     { .ip = "2001:db8::1", .kind = NONE },
				     { .ip = "192.0.2.1", .kind = NONE },
				     { .ip = "127.0.0.2" } } };
	struct torc_scope s;
	uint64_t begin;
	int fd;

	(void)arg;
	open_town(&t);
	begin = torc_now_ns();
	fd = torc_dial_with(t.address, &patient); /* one gets lost, two have no way */
	check_peer(fd, &t.hosts[3], t.port);
	check_ge(torc_now_ns() - begin, TORC_SECONDS(2));
	check_lt(torc_now_ns() - begin, TORC_SECONDS(4));
	torc_close(fd);
	close_town(&t);
	t.hosts[0].kind = t.hosts[3].kind = REFUSING;
	t.hosts[0].ip = "127.0.0.9";
	t.hosts[3] = t.hosts[0];
	t.hosts[0].ip = "2001:db8::2";
	t.hosts[0].kind = NONE;
	open_town(&t);
	check_eq(torc_dial(t.address), -ECONNREFUSED); /* of the last, which says most */
	close_town(&t);
	t.hosts[3].ip = NULL;
	open_town(&t);
	check_eq(torc_dial(t.address), -ENETUNREACH);
	close_town(&t);
	t.hosts[0].ip = "10.66.66.2";
	open_town(&t);
	torc_scope_enter(&s, TORC_MS(30));
	check_eq(torc_dial(t.address), -ETIMEDOUT);
	check_eq(torc_scope_leave(&s), -ETIMEDOUT);
	close_town(&t);
	return 0;
}

Test(dial, lost_packets_and_missing_routes_are_got_over)
{
	if (!own_network())
		cr_skip_test("no network name spaces, no tunnels or no ip(8) here");
	run(in_network, NULL);
}

/* --- virtual time --- */

static int time_of(const char *address, uint64_t *ret_ns)
{
	uint64_t begin = torc_now_ns();
	int fd = torc_dial(address);

	*ret_ns = torc_now_ns() - begin;
	return fd;
}

static int on_time(void *arg)
{
	struct town t = { .hosts = { { .ip = "127.0.0.2", .kind = DEAD },
				     { .ip = "127.0.0.3", .kind = DEAD },
				     { .ip = "127.0.0.4", .kind = REFUSING },
				     { .ip = "127.0.0.5" } } };
	struct torc_addresses all;
	char direct[64];
	uint64_t alone, refusal, beside;
	int fd;

	(void)arg;
	open_town(&t);
	check_eq(torc_resolve("town.test", 1, NULL, &all), 0); /* cached from now on */
	snprintf(direct, sizeof(direct), "127.0.0.5:%u", t.port);
	check_ge(fd = time_of(direct, &alone), 0);
	torc_close(fd);
	snprintf(direct, sizeof(direct), "127.0.0.4:%u", t.port);
	check_eq(time_of(direct, &refusal), -ECONNREFUSED);
	fd = time_of(t.address, &beside);
	check_peer(fd, &t.hosts[3], t.port);
	torc_close(fd);
	check_ge(beside, TORC_MS(500) + refusal + alone);
	check_lt(beside, TORC_MS(500) + refusal + alone + 20000); /* the loop's own turns */
	close_town(&t);
	return 0;
}

Test(dial, on_the_simulator_attempts_begin_exactly_when_they_should)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct torc_options o = { .loops = 1 };

		check_eq(torc_sim_new(&(struct torc_sim_options){ .seed = seed }, &o.sim), 0);
		check_eq(run_with(&o, on_time, NULL), 0);
		torc_sim_free(o.sim);
	}
}
