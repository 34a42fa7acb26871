#include "tests/io/serve.h"

#include <torc/core/timeout.h>

TestSuite(server_options, .timeout = 30);

static const char *unix_address(void)
{
	static char address[64];

	snprintf(address, sizeof(address), "unix:/tmp/torc-options-%d", getpid());
	return address;
}

/* Each of the limits on TCP and on a Unix socket. */
static const char *const *kinds(void)
{
	static const char *addresses[3];

	addresses[0] = "127.0.0.1:0";
	addresses[1] = unix_address();
	return addresses;
}

static void run_kinds(torc_fn *fn)
{
	for (const char *const *address = kinds(); *address; address++)
		run_with_loops(fn, (void *)(uintptr_t)*address);
}

/* --- waits --- */

static int read_limit(void *arg)
{
	struct instance in = { .addresses = { arg }, .options = { .read_ns = TORC_MS(50) } };
	uint64_t begin;
	int fd;

	start_instance(&in);
	begin = torc_now_ns();
	fd = dial_instance(&in, 0);
	expect_end(fd);
	check_ge(torc_now_ns() - begin, TORC_MS(45));
	while (!in.finished)
		torc_yield();
	check_eq(in.last_result, -ETIMEDOUT);
	/* and with a limit that is far away it can be stopped */
	stop_instance(&in);
	in = (struct instance){ .addresses = { arg }, .options = { .read_ns = TORC_NEVER } };
	start_instance(&in);
	ping(fd = dial_instance(&in, 0));
	stop_instance(&in);
	check_eq(in.last_result, -ECANCELED);
	torc_close(fd);
	return 0;
}

Test(server_options, a_peer_that_sends_nothing_is_given_up)
{
	run_kinds(read_limit);
}

static int writes_much(struct torc_stream *s, void *arg)
{
	static char block[40000];
	struct instance *in = arg;
	int r = 0;

	in->started++;
	while (!r)
		r = torc_stream_write(s, block, sizeof(block));
	in->last_result = r;
	in->finished++;
	return r;
}

static int write_limit(void *arg)
{
	struct instance in = {
		.addresses = { arg },
		.options = { .handler = writes_much, .write_ns = TORC_MS(50) },
	};
	uint64_t begin;
	int fd;

	start_instance(&in);
	begin = torc_now_ns();
	fd = dial_instance(&in, 0);
	while (!in.finished)
		check_eq(torc_sleep(TORC_MS(1)), 0);
	check_ge(torc_now_ns() - begin, TORC_MS(49));
	check_eq(in.last_result, -ETIMEDOUT);
	stop_instance_within(
		&in,
		TORC_SECONDS(
			4)); /* what is unsent was dropped, nobody waits for the peer to take it */
	torc_close(fd);
	in = (struct instance){
		.addresses = { arg },
		.options = { .handler = writes_much, .write_ns = TORC_NEVER, .grace_ns = 1 },
	};
	start_instance(&in);
	fd = dial_instance(&in, 0);
	while (!in.started)
		torc_yield();
	stop_instance(&in);
	check(in.last_result == -ETIMEDOUT || in.last_result == -ECANCELED);
	torc_close(fd);
	return 0;
}

Test(server_options, a_peer_that_takes_nothing_is_given_up)
{
	run_kinds(write_limit);
}

static int sleeps(struct torc_stream *s, void *arg)
{
	struct instance *in = arg;

	(void)s;
	in->started++;
	in->last_result = torc_sleep(TORC_SECONDS(20));
	in->finished++;
	return in->last_result;
}

static int lifetime(void *arg)
{
	struct instance in = {
		.addresses = { arg },
		.options = { .handler = sleeps, .lifetime_ns = TORC_MS(50) },
	};
	uint64_t begin;
	int fd;

	start_instance(&in);
	begin = torc_now_ns();
	fd = dial_instance(&in, 0);
	expect_end(fd);
	check_ge(torc_now_ns() - begin, TORC_MS(49));
	check_eq(in.last_result, -ETIMEDOUT);
	stop_instance(&in);
	in.options.handler = echo_handler;
	in.options.lifetime_ns = TORC_NEVER;
	restart_instance(&in);
	ping(fd = dial_instance(&in, 0));
	stop_instance(&in);
	check_eq(in.last_result, -ECANCELED);
	torc_close(fd);
	return 0;
}

Test(server_options, a_connection_has_a_lifetime)
{
	run_kinds(lifetime);
}

/* --- rates --- */

enum { RATE = 400000, MUCH = 150000 }; /* and RATE / 8 at once */

static int writes_some(struct torc_stream *s, void *arg)
{
	static char block[MUCH];
	struct instance *in = arg;

	in->started++;
	in->last_result = torc_stream_write(s, block, MUCH);
	in->finished++;
	return in->last_result;
}

static int tx_rate(void *arg)
{
	struct instance in = {
		.addresses = { arg },
		.options = { .handler = writes_some, .tx_per_second = RATE },
	};
	static char buf[MUCH];
	uint64_t begin = torc_now_ns();
	int fd;

	start_instance(&in);
	fd = dial_instance(&in, 0);
	check_eq(torc_recv(fd, buf, MUCH, MSG_WAITALL), MUCH);
	check_ge(torc_now_ns() - begin, (MUCH - RATE / 8 - 65536) * 1000000000ull / RATE);
	expect_end(fd);
	stop_instance(&in);
	in.options.tx_per_second = 1;
	in.options.grace_ns = 1;
	restart_instance(&in);
	fd = dial_instance(&in, 0);
	check_ge(torc_recv(fd, buf, 1, 0), 0);
	stop_instance_within(&in, TORC_SECONDS(10));
	torc_close(fd);
	return 0;
}

Test(server_options, a_connection_sends_so_many_bytes_a_second)
{
	run_kinds(tx_rate);
}

static int takes_all(struct torc_stream *s, void *arg)
{
	struct instance *in = arg;
	struct torc_slice view;
	int r;

	in->started++;
	while ((r = torc_stream_peek(s, &view)) > 0)
		torc_stream_consume(s, view.len);
	in->last_result = r;
	in->finished++;
	return r;
}

static int rx_rate(void *arg)
{
	struct instance in = {
		.addresses = { arg },
		.options = { .handler = takes_all, .rx_per_second = RATE },
	};
	static char buf[MUCH];
	uint64_t begin = torc_now_ns();
	int fd;

	start_instance(&in);
	fd = dial_instance(&in, 0);
	check_eq(torc_send_all(fd, buf, MUCH), 0);
	torc_close(fd);
	while (!in.finished)
		check_eq(torc_sleep(TORC_MS(1)), 0);
	check_eq(in.last_result, 0);
	check_ge(torc_now_ns() - begin, (MUCH - RATE / 8 - 65536) * 1000000000ull / RATE);
	stop_instance(&in);
	in.options.rx_per_second = 1;
	restart_instance(&in);
	fd = dial_instance(&in, 0);
	check_eq(torc_send_all(fd, buf, 20000), 0);
	while (!in.started)
		torc_yield();
	stop_instance_within(&in, TORC_SECONDS(4)); /* who waits for his rate is idle */
	torc_close(fd);
	return 0;
}

Test(server_options, a_connection_receives_so_many_bytes_a_second)
{
	run_kinds(rx_rate);
}

/* One rate for all loops and addresses. */
static int accept_rate(void *arg)
{
	enum { CLIENTS = 12 };
	struct torc_rate rate;
	struct instance in = {
		.addresses = { arg, "127.0.0.1:0" },
		.options = { .accept_rate = &rate },
	};
	uint64_t begin;
	int fd, ahead = 2 * torc_loop_count(); /* each acceptor holds what it has reserved */

	torc_rate_init(&rate, 40, 1);
	start_instance(&in);
	begin = torc_now_ns();
	for (int i = 0; i < CLIENTS; i++) {
		ping(fd = dial_instance(&in, i % 2));
		torc_close(fd);
	}
	check_ge(torc_now_ns() - begin, (unsigned)(CLIENTS - ahead - 1) * TORC_MS(25));
	stop_instance(&in);
	/* stopped while the next one is far away */
	torc_rate_init(&rate, 1, 0);
	(void)torc_rate_reserve(&rate, 1000);
	restart_instance(&in);
	fd = dial_instance(&in, 0);
	stop_instance_within(&in, TORC_SECONDS(4));
	expect_end(fd);
	return 0;
}

Test(server_options, so_many_connections_are_accepted_a_second)
{
	run_kinds(accept_rate);
}

/* --- the number of connections --- */

/* Fills all loops' places; returns how many there are. */
static int fill(struct instance *in, int *client, int most)
{
	for (int i = 0; i < most; i++)
		ping(client[i] = dial_instance(in, 0));
	return most;
}

static int reset_at_limit(void *arg)
{
	struct instance in = {
		.addresses = { arg },
		.options = { .connections_max = 2, .at_limit = TORC_AT_LIMIT_RESET },
	};
	int client[2], fd;

	start_instance(&in);
	fill(&in, client, 2);
	for (int i = 0; i < 20; i++)
		expect_end(dial_instance(&in, 0));
	check_eq(in.started, 2);
	ping(client[0]);
	torc_close(client[1]);
	while (!in.finished)
		torc_yield();
	while (in.started == 2) { /* the place is free when its connection has closed */
		char byte;

		fd = dial_instance(&in, 0);
		(void)!torc_send(fd, "x", 1, 0);
		(void)!torc_recv(fd, &byte, 1, 0);
		torc_close(fd);
	}
	stop_instance(&in);
	torc_close(client[0]);
	return 0;
}

Test(server_options, beyond_the_limit_connections_are_reset)
{
	for (const char *const *address = kinds(); *address; address++)
		run(reset_at_limit, (void *)(uintptr_t)*address);
}

/* Descriptors run out: connections wait, none is lost. */
static int few_descriptors(void *arg)
{
	enum { CLIENTS = 30 };
	struct instance in = { .addresses = { arg } };
	struct rlimit before;
	int client[CLIENTS];

	start_instance(&in);
	ping(client[0] = dial_instance(&in, 0));
	before = spare_descriptors(CLIENTS + 4);
	for (int i = 1; i < CLIENTS; i++) {
		int r = torc_dial(in.bound[0]);

		while (r == -EMFILE) { /* the server was faster: it has them */
			check_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
			r = torc_dial(in.bound[0]);
		}
		check_ge(client[i] = r, 0);
	}
	check_eq(torc_sleep(TORC_MS(60)), 0); /* for the server to find that there are none */
	check_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	for (int i = 0; i < CLIENTS; i++) {
		ping(client[i]);
		torc_close(client[i]);
	}
	stop_instance(&in);
	return 0;
}

Test(server_options, without_descriptors_connections_wait)
{
	run_kinds(few_descriptors);
}

/* --- loops that share a socket --- */

/* Without suspending in between, so that one loop may be told of several. */
static int connect_now(const struct instance *in)
{
	struct torc_address a;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	check_eq(torc_address_parse(in->bound[0], 0, &a), 0);
	check_ge(fd, 0);
	check_eq(connect(fd, &a.any, a.len), 0);
	return fd;
}

static void yields(int n)
{
	while (n--)
		torc_yield();
}

/* It is served, though it may have to wait for its turn. */
static void ping_soon(int fd)
{
	char byte;
	int r = 0;

	check_eq(torc_send(fd, "x", 1, 0), 1);
	torc_within(TORC_SECONDS(10)) r = torc_recv(fd, &byte, 1, 0);
	check_eq(r, 1);
}

/* As many as there are places, at once or one after the other. */
static int shared_places(void *arg)
{
	enum { ROUNDS = 300 };
	struct instance in = { .addresses = { arg }, .options = { .connections_max = 1 } };

	start_instance(&in);
	for (int i = 0; i < ROUNDS; i++) {
		int a = connect_now(&in), b;

		yields(i % 5);
		b = connect_now(&in);
		ping_soon(b);
		ping_soon(a);
		check_le(running(&in), 2);
		torc_close(i % 2 ? a : b);
		torc_close(i % 2 ? b : a);
	}
	stop_instance(&in);
	check_eq(in.started, 2 * ROUNDS);
	return 0;
}

/* One more than there are: it is served when any of the others has ended. */
static int shared_turns(void *arg)
{
	enum { ROUNDS = 300 };
	struct instance in = { .addresses = { arg }, .options = { .connections_max = 1 } };
	int first, second;

	start_instance(&in);
	ping_soon(first = connect_now(&in));
	ping_soon(second = connect_now(&in));
	for (int i = 0; i < ROUNDS; i++) {
		int third = connect_now(&in);

		yields(i % 4);
		check_le(running(&in), 2);
		torc_close(i % 8 < 4 ? first : second);
		ping_soon(third);
		*(i % 8 < 4 ? &first : &second) = third;
	}
	stop_instance(&in);
	torc_close(first);
	torc_close(second);
	return 0;
}

Test(server_options, of_loops_that_share_a_socket_one_that_has_room_serves)
{
	const struct torc_options loops2 = { .loops = 2, .no_pin = true };

	check_eq(run_with(&loops2, shared_places, (void *)(uintptr_t)unix_address()), 0);
	check_eq(run_with(&loops2, shared_turns, (void *)(uintptr_t)unix_address()), 0);
}

/* A loop may be full by other addresses, while it waits for this one. */
static int shared_and_not(void *arg)
{
	enum { ROUNDS = 200 };
	struct instance in = {
		.addresses = { arg, "127.0.0.1:0", "127.0.0.1:0" },
		.options = { .connections_max = 2 },
	};

	start_instance(&in);
	for (int i = 0; i < ROUNDS; i++) {
		int fd[4] = { dial_instance(&in, 1 + i % 2), -1, -1, -1 };

		ping_soon(fd[0]);
		for (int k = 1; k < 4; k++) {
			fd[k] = connect_now(&in);
			yields(i % 3);
		}
		for (int k = 3; k; k--)
			ping_soon(fd[k]);
		check_le(running(&in), 4);
		for (int k = 0; k < 4; k++)
			torc_close(fd[(k + i) % 4]);
	}
	stop_instance(&in);
	return 0;
}

Test(server_options, of_loops_that_share_a_socket_one_that_has_room_beside_other_addresses_serves)
{
	const struct torc_options loops2 = { .loops = 2, .no_pin = true };

	check_eq(run_with(&loops2, shared_and_not, (void *)(uintptr_t)unix_address()), 0);
}

/* --- balance --- */

static int loop_of(int fd)
{
	char which;

	check_eq(torc_send(fd, "L", 1, 0), 1);
	check_eq(torc_recv(fd, &which, 1, 0), 1);
	return which - '0';
}

static int balanced(void *arg)
{
	enum { EACH = 12 };
	int client[3 * EACH], count[3] = { 0 };
	struct instance in = {
		.addresses = { arg, "127.0.0.1:0" },
		.options = { .balance = TORC_BALANCE_LEAST, .grace_ns = TORC_SECONDS(20) },
	};

	start_instance(&in);
	for (int i = 0; i < 3 * EACH; i++)
		count[loop_of(client[i] = dial_instance(&in, i % 2))]++;
	for (int i = 0; i < 3; i++)
		check_eq(count[i], EACH);
	for (int i = 0; i < 3 * EACH; i++) /* those of one loop end: the next ones run there */
		if (loop_of(client[i]) == 1) {
			torc_close(client[i]);
			client[i] = -1;
		}
	while (in.finished < EACH)
		torc_yield();
	check_eq(torc_sleep(TORC_MS(20)), 0); /* and their streams are closed */
	for (int i = 0; i < 3 * EACH; i++)
		if (client[i] < 0)
			check_eq(loop_of(client[i] = dial_instance(&in, 0)), 1);
	stop_instance_within(&in, TORC_SECONDS(10)); /* idle ones end at once, wherever they run */
	for (int i = 0; i < 3 * EACH; i++)
		expect_end(client[i]);
	return 0;
}

Test(server_options, balanced_connections_run_where_the_fewest_are)
{
	for (const char *const *address = kinds(); *address; address++)
		check_eq(run_with(&loops3, balanced, (void *)(uintptr_t)*address), 0);
}

static int balanced_limit(void *arg)
{
	enum { EACH = 2, ALL = 3 * EACH };
	struct instance in = {
		.addresses = { arg },
		.options = { .balance = TORC_BALANCE_LEAST, .connections_max = EACH },
	};
	int client[ALL], late[20];
	struct torc_scope t;
	char byte;

	start_instance(&in);
	fill(&in, client, ALL);
	for (int i = 0; i < 20; i++) {
		late[i] = dial_instance(&in, 0);
		check_eq(torc_send(late[i], "x", 1, 0), 1);
	}
	torc_scope_enter(&t, TORC_MS(50));
	check_eq(torc_recv(late[0], &byte, 1, 0), -ETIMEDOUT);
	torc_scope_leave(&t);
	check_eq(in.started, ALL);
	for (int i = 0; i < ALL; i++)
		torc_close(client[i]);
	take_turns(&in, late, 20, ALL);
	stop_instance(&in);
	in.options.at_limit = TORC_AT_LIMIT_RESET;
	restart_instance(&in);
	fill(&in, client, ALL);
	for (int i = 0; i < 20; i++)
		expect_end(dial_instance(&in, 0));
	check_eq(in.started, ALL);
	stop_instance(&in);
	for (int i = 0; i < ALL; i++)
		torc_close(client[i]);
	return 0;
}

Test(server_options, balanced_connections_have_the_limit_of_all_loops)
{
	for (const char *const *address = kinds(); *address; address++)
		check_eq(run_with(&loops3, balanced_limit, (void *)(uintptr_t)*address), 0);
}

/* Only one loop's places become free, again and again; who waits may be in the queue of any. */
static int balanced_turns(void *arg)
{
	enum { LATE = 30 };
	struct instance in = {
		.addresses = { arg, "127.0.0.1:0" },
		.options = { .balance = TORC_BALANCE_LEAST, .connections_max = 1 },
	};
	int client[3] = { -1, -1, -1 }, late[LATE];

	start_instance(&in);
	for (int i = 0; i < 3; i++) {
		int fd = dial_instance(&in, 0);

		client[loop_of(fd)] = fd;
	}
	for (int i = 0; i < LATE; i++) {
		late[i] = dial_instance(&in, i % 2);
		check_eq(torc_send(late[i], "x", 1, 0), 1);
	}
	torc_close(client[1]);
	take_turns(&in, late, LATE, 3);
	stop_instance(&in);
	torc_close(client[0]);
	torc_close(client[2]);
	return 0;
}

Test(server_options, a_place_on_any_loop_is_for_who_waits_on_any_other)
{
	for (const char *const *address = kinds(); *address; address++)
		check_eq(run_with(&loops3, balanced_turns, (void *)(uintptr_t)*address), 0);
}

/* A loop without room for the fiber: its connection is closed, and its place is free again. */
static int no_room(void *arg)
{
	enum { CLIENTS = 24 };
	struct instance in = {
		.addresses = { arg },
		.options = { .balance = TORC_BALANCE_LEAST, .connections_max = 5 },
	};
	int client[CLIENTS], ended;

	start_instance(&in);
	for (int round = 0; round < 20; round++) {
		ended = 0;
		for (int i = 0; i < 10; i++) {
			char byte;

			client[i] = dial_instance(&in, 0);
			(void)!torc_send(client[i], "x", 1, 0);
			ended += torc_recv(client[i], &byte, 1, 0) <= 0;
		}
		check_ge(ended, 1);
		for (int i = 0; i < 10; i++)
			torc_close(client[i]);
		while (in.started != in.finished)
			torc_yield();
	}
	stop_instance(&in);
	return 0;
}

Test(server_options, a_balanced_connection_without_room_for_its_fiber_is_closed)
{
	const struct torc_options few = { .loops = 2, .no_pin = true, .fibers_max = 7 };

	check_eq(run_with(&few, no_room, (void *)(uintptr_t) "127.0.0.1:0"), 0);
}

/* Connections come and go while all loops drain. */
static int drained_in_a_storm(void *arg)
{
	enum { CLIENTS = 60 };
	int client[CLIENTS];

	for (int round = 0; round < 20; round++) {
		struct instance in = {
			.addresses = { arg },
			.options = { .balance = TORC_BALANCE_LEAST },
		};

		start_instance(&in);
		for (int i = 0; i < CLIENTS; i++)
			client[i] = dial_instance(&in, 0);
		if (round % 2)
			ping(client[0]);
		stop_instance(&in);
		for (int i = 0; i < CLIENTS; i++)
			expect_end(client[i]);
	}
	return 0;
}

Test(server_options, balanced_connections_that_are_under_way_are_drained)
{
	for (const char *const *address = kinds(); *address; address++)
		check_eq(run_with(&loops3, drained_in_a_storm, (void *)(uintptr_t)*address), 0);
}
