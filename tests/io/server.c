#include "tests/io/run.h"

TestSuite(server, .timeout = 30);

/* A server in a fiber of its own, and what it told. */
struct served {
	const char *addresses[4]; /* NULL-terminated */
	torc_serve_fn *handler;
	uint64_t grace_ns;
	size_t connections_max;

	char bound[4][TORC_ADDRESS_MAX];
	int bound_count, error_count, last_error, result;
	bool ended;
	struct torc_task task;
	_Atomic int started, finished, last_result;
};

static void on_listen(const char *address, void *arg)
{
	struct served *sv = arg;

	strcpy(sv->bound[sv->bound_count++], address);
}

static void on_error(const char *address, int error, void *arg)
{
	struct served *sv = arg;

	(void)address;
	sv->error_count++;
	sv->last_error = error;
}

static int served_main(void *arg)
{
	struct served *sv = arg;

	sv->result = torc_serve_with(&(struct torc_serve_options){
		.addresses = sv->addresses,
		.handler = sv->handler,
		.arg = sv,
		.grace_ns = sv->grace_ns,
		.connections_max = sv->connections_max,
		.on_listen = on_listen,
		.on_error = on_error,
	});
	sv->ended = true;
	return 0;
}

static void start(struct torc_group *g, struct served *sv)
{
	struct torc_spawn_options o = { .task = &sv->task };

	if (!sv->addresses[0])
		sv->addresses[0] = "127.0.0.1:0";
	torc_group_enter(g);
	check_eq(torc_group_spawn_with(g, &o, served_main, sv), 0);
	while (!sv->bound_count && !sv->ended)
		torc_yield();
}

static void stop(struct torc_group *g, struct served *sv)
{
	torc_task_cancel(&sv->task);
	check_eq(torc_task_join(&sv->task), 0);
	check_eq(torc_group_wait(g), 0);
	check_eq(sv->result, 0);
	check_eq(sv->started, sv->finished);
}

static int echo(struct torc_stream *s, void *arg)
{
	struct served *sv = arg;
	struct torc_slice in;
	int r;

	sv->started++;
	while ((r = torc_stream_peek(s, &in)) > 0) {
		r = torc_stream_write(s, in.data, in.len);
		if (r < 0)
			break;
		torc_stream_consume(s, in.len);
	}
	sv->last_result = r;
	sv->finished++;
	return r;
}

static int dial(struct served *sv, int which)
{
	int fd = torc_dial(sv->bound[which]);

	check_ge(fd, 0);
	return fd;
}

static void ping(int fd)
{
	char buf[4];

	check_eq(torc_send(fd, "ping", 4, 0), 4);
	check_eq(torc_recv(fd, buf, 4, MSG_WAITALL), 4);
	check(!memcmp(buf, "ping", 4));
}

static void ends_with(int fd, int expected)
{
	char byte;

	check_eq(torc_recv(fd, &byte, 1, 0), expected);
	torc_close(fd);
}

static const struct torc_options loops3 = { .loops = 3, .no_pin = true };

static int echoes(void *arg)
{
	enum { CLIENTS = 60 };
	struct served sv = {
		.addresses = { "127.0.0.1:0", "[::1]:0", arg },
		.handler = echo,
	};
	struct torc_group g;
	int client[CLIENTS];

	start(&g, &sv);
	check_eq(sv.bound_count, 3);
	for (int i = 0; i < CLIENTS; i++)
		client[i] = dial(&sv, i % 3);
	for (int i = 0; i < CLIENTS; i++)
		ping(client[i]);
	for (int i = 0; i < CLIENTS; i++)
		torc_close(client[i]);
	while (sv.finished < CLIENTS)
		torc_yield();
	check_eq(sv.started, CLIENTS);
	check_eq(sv.last_result, 0);
	stop(&g, &sv);
	return 0;
}

Test(server, several_addresses_on_one_and_on_several_loops)
{
	char address[64];

	snprintf(address, sizeof(address), "unix:/tmp/torc-server-%d", getpid());
	run_all_features(NULL, echoes, address);
	run_all_features(&loops3, echoes, address);
	check_lt(access(address + 5, F_OK), 0);
}

/* Sockets that listen on a port, as the kernel sees them. */
static int listening(const char *address)
{
	unsigned port = (unsigned)atoi(strrchr(address, ':') + 1), local, state;
	FILE *f = fopen("/proc/self/net/tcp", "re");
	char line[512];
	int n = 0;

	check(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, " %*d: %*8x:%x %*8x:%*x %x", &local, &state) == 2)
			n += local == port && state == 10;
	fclose(f);
	return n;
}

static int listening_when_told;

static void count_listening(const char *address, void *arg)
{
	(void)arg;
	listening_when_told = listening(address);
}

static int all_listen(void *arg)
{
	const char *addresses[] = { "127.0.0.1:0", NULL };
	struct torc_scope t;

	(void)arg;
	torc_scope_enter(&t, TORC_MS(50));
	check_eq(torc_serve_with(&(struct torc_serve_options){
			 .addresses = addresses, .handler = echo, .on_listen = count_listening }),
		 -ETIMEDOUT); /* the deadline of the scope */
	torc_scope_leave(&t);
	check_eq(listening_when_told, torc_loop_count());
	return 0;
}

Test(server, on_listen_is_called_when_all_loops_listen)
{
	run(all_listen, NULL);
	check_eq(run_with(&loops3, all_listen, NULL), 0);
}

/* --- errors --- */

static int in_use(void *arg)
{
	struct sockaddr_in a;
	const int one = 1;
	char address[64];
	int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(a);
	struct served first = { .handler = echo }, second = { .handler = echo };
	struct torc_group g, h;

	(void)arg;
	/* a server that would share its port */
	memset(&a, 0, sizeof(a));
	a.sin_family = AF_INET;
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	check_eq(setsockopt(other, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)), 0);
	check_eq(bind(other, (struct sockaddr *)&a, sizeof(a)), 0);
	check_eq(listen(other, 1), 0);
	check_eq(getsockname(other, (struct sockaddr *)&a, &len), 0);
	snprintf(address, sizeof(address), "127.0.0.1:%d", ntohs(a.sin_port));
	second.addresses[0] = "127.0.0.1:0";
	second.addresses[1] = address;
	start(&h, &second);
	check_eq(torc_group_wait(&h), 0);
	check_eq(second.result, -EADDRINUSE);
	check_eq(second.error_count, 1);
	check_eq(second.last_error, -EADDRINUSE);
	check_eq(second.bound_count, 0);
	close(other);
	/* one of ours */
	start(&g, &first);
	second = (struct served){ .handler = echo, .addresses = { first.bound[0] } };
	start(&h, &second);
	check_eq(torc_group_wait(&h), 0);
	check_eq(second.result, -EADDRINUSE);
	check_eq(second.error_count, 1);
	stop(&g, &first);
	/* and again, when it has gone */
	second = (struct served){ .handler = echo, .addresses = { first.bound[0] } };
	start(&h, &second);
	check_eq(second.bound_count, 1);
	stop(&h, &second);
	return 0;
}

Test(server, an_address_in_use_is_refused_also_with_several_loops)
{
	run(in_use, NULL);
	check_eq(run_with(&loops3, in_use, NULL), 0);
}

static int bad_address(void *arg)
{
	struct served sv = { .handler = echo, .addresses = { "127.0.0.1:0", "nonsense" } };
	struct torc_group g;

	(void)arg;
	start(&g, &sv);
	check_eq(torc_group_wait(&g), 0);
	check_eq(sv.result, -EINVAL);
	check_eq(sv.error_count, 1);
	check_eq(torc_serve("nonsense", echo, &sv), -EINVAL);
	return 0;
}

Test(server, a_bad_address_is_refused)
{
	run(bad_address, NULL);
	check_eq(run_with(&loops3, bad_address, NULL), 0);
}

static int no_fibers(void *arg)
{
	const char *addresses[] = { "127.0.0.1:0", "127.0.0.1:0", NULL };
	int r = torc_serve_with(
		&(struct torc_serve_options){ .addresses = addresses, .handler = echo });

	(void)arg;
	check(r == -EAGAIN);
	return 0;
}

Test(server, fibers_running_out_at_the_start_is_an_error)
{
	/* root, main; then server, acceptor, acceptor */
	for (unsigned most = 2; most <= 4; most++)
		check_eq(run_with(&(struct torc_options){ .fibers_max = most }, no_fibers, NULL),
			 0);
	check_eq(run_with(&(struct torc_options){ .fibers_max = 2, .loops = 2 }, no_fibers, NULL),
		 0);
}

/* "x" is an error of the handler's. */
static int failing(struct torc_stream *s, void *arg)
{
	struct torc_slice in;
	int r;

	while ((r = torc_stream_peek(s, &in)) > 0) {
		if (in.data[0] == 'x')
			return -EIO;
		check_eq(torc_stream_write(s, in.data, in.len), 0);
		torc_stream_consume(s, in.len);
	}
	(void)arg;
	return r;
}

static int handler_errors(void *arg)
{
	struct served sv = { .handler = failing };
	struct torc_group g;

	(void)arg;
	start(&g, &sv);
	for (int i = 0; i < 20; i++) {
		int good = dial(&sv, 0), bad = dial(&sv, 0);
		char byte;

		ping(good);
		check_eq(torc_send(bad, "x", 1, 0), 1);
		check_le(torc_recv(bad, &byte, 1, 0),
			 0); /* its byte was not read: may be a reset */
		torc_close(bad);
		ping(good);
		reset_peer(good);
	}
	stop(&g, &sv);
	return 0;
}

Test(server, a_handlers_error_harms_nobody)
{
	run(handler_errors, NULL);
}

/* --- the limit --- */

/* The acceptor waits for room, and what would make some is the drain that comes after it. */
static int stopped_at_the_limit(void *arg)
{
	struct served sv = { .handler = echo, .connections_max = 1, .grace_ns = TORC_SECONDS(20) };
	struct torc_group g;
	uint64_t before;
	int client;

	(void)arg;
	start(&g, &sv);
	ping(client = dial(&sv, 0));
	before = torc_now_ns();
	stop(&g, &sv);
	check_lt(torc_now_ns() - before, TORC_SECONDS(10)); /* not by the grace period's end */
	torc_close(client);
	return 0;
}

Test(server, one_that_is_full_can_be_stopped)
{
	run(stopped_at_the_limit, NULL);
}

static int limit(void *arg)
{
	enum { CLIENTS = 300, MOST = 2 };
	static int client[CLIENTS];
	struct served sv = { .handler = echo, .connections_max = MOST };
	struct torc_group g;
	struct torc_scope t;
	char byte;
	int before;

	(void)arg;
	start(&g, &sv);
	for (int i = 0; i < MOST; i++)
		ping(client[i] = dial(&sv, 0));
	before = count_fds();
	for (int i = MOST; i < CLIENTS; i++) {
		client[i] = dial(&sv, 0);
		check_eq(torc_send(client[i], "x", 1, 0), 1);
	}
	torc_scope_enter(&t, TORC_MS(50));
	check_eq(torc_recv(client[MOST], &byte, 1, 0), -ETIMEDOUT);
	torc_scope_leave(&t);
	check_eq(sv.started, MOST);
	/* The others wait in the kernel's queue: but for a few, they have no descriptor. */
	check_le(count_fds() - before - (CLIENTS - MOST), 8);
	for (int i = 0; i < CLIENTS; i++) {
		if (i >= MOST)
			check_eq(torc_recv(client[i], &byte, 1, 0), 1);
		check_le(sv.started - sv.finished, MOST);
		torc_close(client[i]);
	}
	while (sv.finished < CLIENTS)
		torc_yield();
	stop(&g, &sv);
	return 0;
}

Test(server, beyond_the_limit_connections_wait_until_others_end)
{
	run_all_features(NULL, limit, NULL);
}

struct client {
	struct served *sv;
	int which;
};

static int client_main(void *arg)
{
	struct client *c = arg;

	for (int i = 0; i < 10; i++) {
		int fd = dial(c->sv, c->which);

		ping(fd);
		check_le(c->sv->started - c->sv->finished, 1);
		torc_close(fd);
	}
	return 0;
}

static int limit_two_addresses(void *arg)
{
	struct served sv = { .handler = echo,
			     .connections_max = 1,
			     .addresses = { "127.0.0.1:0", "127.0.0.1:0" } };
	struct client c[6];
	struct torc_group g, clients;

	(void)arg;
	start(&g, &sv);
	torc_group_enter(&clients);
	for (int i = 0; i < 6; i++) {
		c[i] = (struct client){ &sv, i % 2 };
		check_eq(torc_group_spawn(&clients, client_main, &c[i]), 0);
	}
	check_eq(torc_group_wait(&clients), 0);
	stop(&g, &sv);
	return 0;
}

Test(server, the_limit_is_shared_by_the_addresses)
{
	run(limit_two_addresses, NULL);
}

/* --- draining --- */

static int drain_idle(void *arg)
{
	enum { CLIENTS = 20 };
	struct served sv = { .handler = echo, .grace_ns = TORC_SECONDS(20) };
	struct torc_group g;
	uint64_t begin;
	int client[CLIENTS];

	(void)arg;
	start(&g, &sv);
	for (int i = 0; i < CLIENTS; i++)
		ping(client[i] = dial(&sv, 0));
	begin = torc_now_ns();
	stop(&g, &sv);
	check_lt(torc_now_ns() - begin, TORC_SECONDS(5));
	check_eq(sv.last_result, -ECANCELED);
	for (int i = 0; i < CLIENTS; i++)
		ends_with(client[i], 0);
	check_eq(torc_dial(sv.bound[0]), -ECONNREFUSED);
	return 0;
}

Test(server, draining_closes_idle_connections_at_once)
{
	run_all_features(NULL, drain_idle, NULL);
	check_eq(run_with(&loops3, drain_idle, NULL), 0);
}

/* Answers "a" with "1" and "b" with "2"; busy in between. */
static int two_steps(struct torc_stream *s, void *arg)
{
	struct served *sv = arg;
	bool spoke = false;
	char c;
	int r;

	sv->started++;
	do {
		torc_stream_set_busy(s, false);
		r = torc_stream_read(s, &c, 1);
		if (r <= 0)
			break;
		torc_stream_set_busy(s, true);
		spoke = true;
		check_eq(torc_stream_write(s, "1", 1), 0);
		r = torc_stream_read(s, &c, 1);
		if (r > 0)
			check_eq(torc_stream_write(s, "2", 1), 0);
	} while (r > 0);
	if (spoke) /* those that only look whether somebody listens may be later */
		sv->last_result = r;
	sv->finished++;
	return r;
}

static int drain_busy(void *arg)
{
	struct served sv = { .handler = two_steps, .grace_ns = TORC_SECONDS(20) };
	struct torc_group g;
	uint64_t begin = torc_now_ns();
	int busy, fd;
	char c;

	(void)arg;
	start(&g, &sv);
	busy = dial(&sv, 0);
	check_eq(torc_send(busy, "a", 1, 0), 1);
	check_eq(torc_recv(busy, &c, 1, 0), 1);
	torc_task_cancel(&sv.task);
	while ((fd = torc_dial(sv.bound[0])) >= 0) /* until it drains */
		torc_close(fd);
	check(fd == -ECONNREFUSED || fd == -ECONNRESET);
	check(!sv.ended);
	check_eq(torc_send(busy, "b", 1, 0), 1);
	check_eq(torc_recv(busy, &c, 1, 0), 1);
	check_eq(c, '2');
	ends_with(busy, 0);
	stop(&g, &sv);
	check_eq(sv.last_result, -ECANCELED);
	check_lt(torc_now_ns() - begin, TORC_SECONDS(10));
	return 0;
}

static int drain_grace(void *arg)
{
	struct served sv = { .handler = two_steps, .grace_ns = TORC_MS(100) };
	struct torc_group g;
	uint64_t begin;
	int busy;
	char c;

	(void)arg;
	start(&g, &sv);
	busy = dial(&sv, 0);
	check_eq(torc_send(busy, "a", 1, 0), 1);
	check_eq(torc_recv(busy, &c, 1, 0), 1);
	begin = torc_now_ns();
	stop(&g, &sv);
	check_ge(torc_now_ns() - begin, TORC_MS(99));
	check_lt(torc_now_ns() - begin, TORC_SECONDS(5));
	check(sv.last_result == -ETIMEDOUT || sv.last_result == -ECANCELED);
	ends_with(busy, 0);
	return 0;
}

Test(server, draining_cancels_busy_connections_after_the_grace_period)
{
	run(drain_grace, NULL);
	check_eq(run_with(&loops3, drain_grace, NULL), 0);
}

/* What an idle connection has written before the drain still goes out, to a peer that takes its time. */
static int much(struct torc_stream *s, void *arg)
{
	static char block[16000];
	struct served *sv = arg;
	struct torc_slice in;
	struct torc_scope t;
	int r = 0;

	/* Until the socket is full and some more wait in the stream. */
	torc_scope_enter(&t, TORC_MS(30));
	while (!r) {
		r = torc_stream_write(s, block, sizeof(block));
		sv->bound_count += !r;
	}
	torc_scope_leave(&t);
	sv->started++;
	r = torc_stream_peek(s, &in);
	sv->last_result = r;
	sv->finished++;
	return r;
}

static int drain_flushes(void *arg)
{
	struct served sv = { .handler = much, .grace_ns = TORC_SECONDS(20) };
	struct torc_group g;
	static char buf[65536];
	long long total = 0;
	int fd, r, blocks;

	(void)arg;
	start(&g, &sv);
	sv.bound_count = 0;
	fd = dial(&sv, 0);
	while (!sv.started)
		check_eq(torc_sleep(TORC_MS(1)), 0);
	blocks = sv.bound_count;
	torc_task_cancel(&sv.task);
	while (!sv.finished)
		check_eq(torc_sleep(TORC_MS(1)), 0);
	while ((r = torc_recv(fd, buf, sizeof(buf), 0)) > 0)
		total += r;
	check_eq(r, 0);
	check_eq(total, blocks * 16000LL);
	torc_close(fd);
	check_eq(sv.last_result, -ECANCELED);
	stop(&g, &sv);
	return 0;
}

Test(server, draining_sends_what_idle_connections_have_written)
{
	run_all_features(NULL, drain_flushes, NULL);
}

/* --- draining, while there is always something to read --- */

enum { PLENTY = 60000 };

/* All of it is there, and the server drains, before it begins. Without splice, "there" is in the stream. */
static int copies_plenty(struct torc_stream *s, void *arg)
{
	struct served *sv = arg;
	struct torc_slice view;
	uint64_t copied;
	int r = getenv("TORC_DISABLE") ? torc_stream_fill(s, PLENTY, &view) : 1;

	check_eq(r, 1);
	sv->started++;
	while (!*s->drain)
		torc_yield();
	r = torc_stream_copy(s, s, PLENTY, &copied);
	check_eq(r, 0);
	check_eq(copied, PLENTY);
	r = torc_stream_copy(s, s, UINT64_MAX, &copied);
	check_eq(copied, 0);
	sv->last_result = r;
	sv->finished++;
	return r;
}

static int drain_copies(void *arg)
{
	struct served sv = { .handler = copies_plenty,
			     .grace_ns = TORC_SECONDS(20),
			     .addresses = { arg } };
	static char out[PLENTY], in[PLENTY];
	uint64_t begin;
	struct torc_group g;
	int fd;

	fill_bytes(out, PLENTY, 1, 0);
	start(&g, &sv);
	fd = dial(&sv, 0);
	check_eq(torc_send_all(fd, out, PLENTY), 0);
	while (!sv.started)
		torc_yield();
	begin = torc_now_ns();
	stop(&g, &sv);
	check_lt(torc_now_ns() - begin, TORC_SECONDS(10));
	check_eq(sv.last_result, -ECANCELED);
	check_eq(torc_recv(fd, in, PLENTY, MSG_WAITALL), PLENTY);
	check(!memcmp(in, out, PLENTY));
	ends_with(fd, 0);
	return 0;
}

Test(server, draining_ends_a_copy_when_it_has_to_wait)
{
	char address[64];

	snprintf(address, sizeof(address), "unix:/tmp/torc-server-copy-%d", getpid());
	run(drain_copies, NULL);
	run(drain_copies, address);
	check_eq(run_with(&loops3, drain_copies, NULL), 0);
	run_all_features(NULL, drain_copies, address);
	setenv("TORC_DISABLE", "splice", 1);
	run(drain_copies, NULL);
}

static int copies_for_ever(struct torc_stream *s, void *arg)
{
	struct served *sv = arg;
	struct torc_stream zeros;
	int r, fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	check_ge(fd, 0);
	check_eq(torc_stream_open_fds(&zeros, fd, -1), 0);
	sv->started++;
	r = torc_stream_copy(s, &zeros, UINT64_MAX, NULL);
	torc_stream_close(&zeros);
	sv->last_result = r;
	sv->finished++;
	return r;
}

static int takes_until_the_end(void *arg)
{
	static char buf[65536];
	int *fd = arg, r;

	while ((r = torc_recv(*fd, buf, sizeof(buf), 0)) > 0)
		;
	torc_close(*fd);
	return 0;
}

static int drain_endless(void *arg)
{
	struct served sv = { .handler = copies_for_ever, .grace_ns = TORC_MS(100) };
	struct torc_group g, client;
	uint64_t begin;
	int fd;

	(void)arg;
	start(&g, &sv);
	fd = dial(&sv, 0);
	torc_group_enter(&client);
	check_eq(torc_group_spawn(&client, takes_until_the_end, &fd), 0);
	while (!sv.started)
		torc_yield();
	begin = torc_now_ns();
	torc_task_cancel(&sv.task);
	check_eq(torc_group_wait(&client), 0);
	check_ge(torc_now_ns() - begin, TORC_MS(99));
	check_lt(torc_now_ns() - begin, TORC_SECONDS(10));
	stop(&g, &sv);
	check_eq(sv.last_result, -ETIMEDOUT);
	return 0;
}

Test(server, draining_lets_an_endless_copy_go_on_until_the_grace_period_is_over)
{
	run(drain_endless, NULL);
	check_eq(run_with(&loops3, drain_endless, NULL), 0);
}

static int computing(struct torc_stream *s, void *arg)
{
	struct served *sv = arg;
	struct torc_slice in;
	int r;

	sv->started++;
	r = torc_sleep(TORC_MS(50)); /* not reading: it may finish */
	check_eq(r, 0);
	check_eq(torc_stream_write(s, "done", 4), 0);
	r = torc_stream_peek(s, &in);
	sv->last_result = r;
	sv->finished++;
	return r;
}

static int drain_computing(void *arg)
{
	struct served sv = { .handler = computing, .grace_ns = TORC_SECONDS(20) };
	struct torc_group g;
	char buf[4];
	int fd;

	(void)arg;
	start(&g, &sv);
	fd = dial(&sv, 0);
	while (!sv.started)
		torc_yield();
	stop(&g, &sv);
	check_eq(sv.last_result, -ECANCELED);
	check_eq(torc_recv(fd, buf, 4, MSG_WAITALL), 4);
	ends_with(fd, 0);
	return 0;
}

Test(server, draining_lets_a_handler_finish_what_it_does)
{
	run(drain_busy, NULL);
	check_eq(run_with(&loops3, drain_busy, NULL), 0);
	run(drain_computing, NULL);
	check_eq(run_with(&loops3, drain_computing, NULL), 0);
}

static int cancelled_before(void *arg)
{
	struct served sv = { .handler = echo };
	struct torc_scope t;

	torc_scope_enter(&t, TORC_NEVER);
	torc_scope_cancel(&t);
	check_eq(torc_serve(arg, echo, &sv), 0);
	torc_scope_leave(&t);
	torc_scope_enter(&t, 0);
	check_eq(torc_serve(arg, echo, &sv), -ETIMEDOUT);
	torc_scope_leave(&t);
	return 0;
}

Test(server, serving_in_a_cancelled_scope_returns)
{
	run(cancelled_before, (void *)(uintptr_t) "127.0.0.1:0");
	check_eq(run_with(&loops3, cancelled_before, (void *)(uintptr_t) "127.0.0.1:0"), 0);
}
