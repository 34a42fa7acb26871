#include "tests/io/run.h"

TestSuite(socket, .timeout = 30);

/* --- recv --- */

static int recv_ok(void *arg)
{
	char buf[16];
	int fd[2];

	(void)arg;
	unix_pair(fd);
	send_text(fd[1], "hello");
	check_eq(torc_recv(fd[0], buf, 3, 0), 3);
	check_eq(torc_recv(fd[0], buf + 3, sizeof(buf) - 3, 0), 2);
	check(!memcmp(buf, "hello", 5));
	send_text(fd[1], "x");
	close(fd[1]);
	check_eq(torc_recv(fd[0], buf, sizeof(buf), MSG_PEEK), 1);
	check_eq(torc_recv(fd[0], buf, sizeof(buf), 0), 1);
	check_eq(torc_recv(fd[0], buf, sizeof(buf), 0), 0);
	check_eq(torc_recv(fd[0], buf, sizeof(buf), 0), 0);
	torc_close(fd[0]);
	return 0;
}

Test(socket, recv_returns_what_is_there_and_0_at_the_end)
{
	run(recv_ok, NULL);
}

static int recv_errors(void *arg)
{
	char buf[4] = "abc";
	int fd[2], s;

	(void)arg;
	check_eq(torc_recv(-1, buf, sizeof(buf), 0), -EBADF);
	check_eq(torc_recv(9999, buf, sizeof(buf), 0), -EBADF);
	s = open("/dev/null", O_RDONLY | O_CLOEXEC);
	check_eq(torc_recv(s, buf, sizeof(buf), 0), -ENOTSOCK);
	close(s);
	s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	check_eq(torc_recv(s, buf, sizeof(buf), 0), -ENOTCONN);
	close(s);
	tcp_pair(fd);
	reset_peer(fd[1]);
	check_eq(torc_recv(fd[0], buf, sizeof(buf), 0), -ECONNRESET);
	torc_close(fd[0]);
	check(!memcmp(buf, "abc", 4));
	return 0;
}

Test(socket, recv_reports_errors_and_leaves_the_buffer_alone)
{
	run(recv_errors, NULL);
}

struct receiver {
	int fd, result;
	char buf[8];
};

static int receiver_main(void *arg)
{
	struct receiver *r = arg;

	r->result = torc_recv(r->fd, r->buf, sizeof(r->buf), 0);
	return 0;
}

static int recv_cancelled(void *arg)
{
	const int kind = *(int *)arg;
	struct torc_group g;
	struct torc_task task;
	struct receiver rx = { .buf = "pristin" };
	struct torc_spawn_options o = { .task = &task };
	int fd[2];

	if (kind)
		tcp_pair(fd);
	else
		unix_pair(fd);
	rx.fd = fd[0];
	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g, &o, receiver_main, &rx), 0);
	torc_yield();
	torc_yield();
	torc_task_cancel(&task);
	check_eq(torc_task_join(&task), 0);
	check_eq(torc_group_wait(&g), 0);
	check_eq(rx.result, -ECANCELED);
	check(!memcmp(rx.buf, "pristin", 8));
	send_text(fd[1], "x");
	check_eq(torc_recv(fd[0], rx.buf, sizeof(rx.buf), 0), 1);
	check_eq(rx.buf[0], 'x');
	torc_close(fd[0]);
	torc_close(fd[1]);
	return 0;
}

Test(socket, recv_reports_ecanceled_and_consumes_nothing)
{
	for (int kind = 0; kind < 2; kind++)
		run_all_features(NULL, recv_cancelled, &kind);
}

static int recv_deadline(void *arg)
{
	struct torc_scope t;
	char buf[4] = "abc";
	int fd[2];

	(void)arg;
	unix_pair(fd);
	torc_scope_enter(&t, TORC_MS(20));
	check_eq(torc_recv(fd[0], buf, sizeof(buf), 0), -ETIMEDOUT);
	send_text(fd[1], "x");
	check_eq(torc_recv(fd[0], buf, sizeof(buf), 0), -ETIMEDOUT); /* level-triggered */
	check_eq(torc_scope_leave(&t), -ETIMEDOUT);
	torc_scope_enter(&t, 0);
	check_eq(torc_recv(fd[0], buf, sizeof(buf), 0), -ETIMEDOUT);
	torc_scope_leave(&t);
	check(!memcmp(buf, "abc", 4));
	check_eq(torc_recv(fd[0], buf, sizeof(buf), 0), 1);
	torc_close(fd[0]);
	torc_close(fd[1]);
	return 0;
}

Test(socket, recv_reports_etimedout_and_consumes_nothing)
{
	run(recv_deadline, NULL);
}

/* --- random cancellations while data flows --- */

#define FLOW_BYTES (1u << 20)

struct flow {
	int fd;
	uint64_t seed;
};

static int flow_sender(void *arg)
{
	struct flow *f = arg;
	char buf[3000];

	for (size_t at = 0; at < FLOW_BYTES;) {
		size_t len = 1 + next_random(&f->seed) % sizeof(buf);

		len = len < FLOW_BYTES - at ? len : FLOW_BYTES - at;
		fill_bytes(buf, len, 5, at);
		check_eq(torc_send_all(f->fd, buf, len), 0);
		at += len;
		if (!(next_random(&f->seed) %
		      4)) /* so that the receiver has to wait now and then */
			check_eq(torc_sleep(next_random(&f->seed) % 40000), 0);
	}
	torc_close(f->fd);
	return 0;
}

static int flow(void *arg)
{
	struct torc_group g;
	struct flow tx = { .seed = *(uint64_t *)arg };
	uint64_t seed = tx.seed + 99, total = 0, cancelled = 0;
	char buf[2000];
	int fd[2], r = 1;

	tcp_pair(fd);
	tx.fd = fd[1];
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, flow_sender, &tx), 0);
	while (r) {
		struct torc_scope t;

		torc_scope_enter(&t, 1 + next_random(&seed) % 30000);
		r = torc_recv(fd[0], buf, 1 + next_random(&seed) % sizeof(buf), 0);
		torc_scope_leave(&t);
		check(r >= 0 || r == -ETIMEDOUT);
		cancelled += r < 0;
		if (r < 0) {
			torc_yield();
			continue;
		}
		check(same_bytes(buf, (size_t)r, 5, total));
		total += (uint64_t)r;
	}
	check_eq(total, FLOW_BYTES);
	check_ge(cancelled, 1);
	torc_close(fd[0]);
	return torc_group_wait(&g);
}

Test(socket, recv_cut_short_at_any_time_loses_nothing)
{
	for (uint64_t seed = 1; seed <= 3; seed++)
		run(flow, &seed);
}

/* --- send --- */

static int send_ok(void *arg)
{
	char buf[8];
	int fd[2];

	(void)arg;
	tcp_pair(fd);
	check_eq(torc_send(fd[0], "hello", 5, 0), 5);
	check_eq(torc_recv(fd[1], buf, sizeof(buf), 0), 5);
	check_eq(torc_send_all(fd[0], "", 0), 0);
	check_eq(torc_shutdown(fd[0], SHUT_WR), 0);
	check_eq(torc_recv(fd[1], buf, sizeof(buf), 0), 0);
	check_eq(torc_send(fd[1], "back", 4, 0), 4);
	check_eq(torc_recv(fd[0], buf, sizeof(buf), 0), 4);
	check_eq(torc_shutdown(-1, SHUT_WR), -EBADF);
	check_eq(torc_shutdown(fd[0], 99), -EINVAL);
	torc_close(fd[0]);
	torc_close(fd[1]);
	return 0;
}

Test(socket, send_and_shutdown)
{
	run_all_features(NULL, send_ok, NULL);
}

static int send_errors(void *arg)
{
	int fd[2];

	(void)arg;
	signal(SIGPIPE, SIG_DFL); /* torc_run ignores it; the calls must not need that */
	check_eq(torc_send(-1, "x", 1, 0), -EBADF);
	check_eq(torc_send_all(-1, "x", 1), -EBADF);
	unix_pair(fd);
	close(fd[1]);
	check_eq(torc_send(fd[0], "x", 1, 0), -EPIPE);
	check_eq(torc_send_all(fd[0], "x", 1), -EPIPE);
	torc_close(fd[0]);
	tcp_pair(fd);
	check_eq(torc_shutdown(fd[0], SHUT_WR), 0);
	check_eq(torc_send(fd[0], "x", 1, 0), -EPIPE);
	torc_close(fd[0]);
	torc_close(fd[1]);
	tcp_pair(fd);
	reset_peer(fd[1]);
	check_eq(torc_send(fd[0], "x", 1, 0), -ECONNRESET);
	check_eq(torc_send(fd[0], "x", 1, 0), -EPIPE);
	torc_close(fd[0]);
	return 0;
}

Test(socket, send_reports_errors_without_sigpipe)
{
	run(send_errors, NULL);
}

static int send_full(void *arg)
{
	static char block[65536];
	struct torc_scope t;
	long long sent = 0, received = 0;
	int fd[2], r;

	(void)arg;
	unix_pair(fd);
	torc_scope_enter(&t, TORC_MS(50));
	while ((r = torc_send(fd[0], block, sizeof(block), 0)) > 0)
		sent += r;
	check_eq(r, -ETIMEDOUT);
	check_eq(torc_scope_leave(&t), -ETIMEDOUT);
	torc_close(fd[0]);
	while ((r = torc_recv(fd[1], block, sizeof(block), 0)) > 0)
		received += r;
	check_eq(r, 0);
	check_eq(received, sent);
	torc_close(fd[1]);
	return 0;
}

Test(socket, send_to_a_full_peer_ends_at_the_deadline_and_counts_right)
{
	run(send_full, NULL);
}

/* --- connect and dial --- */

static int connect_all(void *arg)
{
	struct sockaddr_in a;
	int l = bound_socket(&a), fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char address[64];

	(void)arg;
	snprintf(address, sizeof(address), "tcp://127.0.0.1:%u", ntohs(a.sin_port));
	check_eq(torc_connect(fd, (struct sockaddr *)&a, sizeof(a)), -ECONNREFUSED);
	check_eq(torc_dial(address), -ECONNREFUSED);
	check_eq(torc_connect(-1, (struct sockaddr *)&a, sizeof(a)), -EBADF);
	close(fd);
	check_eq(listen(l, 8), 0);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	check_eq(torc_connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	check_eq(torc_connect(fd, (struct sockaddr *)&a, sizeof(a)), -EISCONN);
	torc_close(fd);
	fd = torc_dial(address);
	check_ge(fd, 0);
	check(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	{
		int value = 0;
		socklen_t len = sizeof(value);

		check_eq(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &len), 0);
		check_eq(value, 1);
	}
	torc_close(fd);
	fd = torc_dial(address + 6);
	check_ge(fd, 0);
	torc_close(fd);
	torc_close(l);
	check_eq(torc_dial("example..com:80"), -EINVAL);
	check_eq(torc_dial(":80"), -EINVAL);
	check_eq(torc_dial(""), -EINVAL);
	check_eq(torc_dial("unix:/nonexistent/socket"), -ENOENT);
	return 0;
}

Test(socket, connect_and_dial)
{
	run_all_features(NULL, connect_all, NULL);
}

/* A listener whose queue is full answers nobody. */
static int dial_hangs(void *arg)
{
	enum { FILLERS = 4 };
	struct sockaddr_in a;
	struct torc_scope t;
	int l = bound_socket(&a), filler[FILLERS];
	char address[64];

	(void)arg;
	snprintf(address, sizeof(address), "tcp://127.0.0.1:%u", ntohs(a.sin_port));
	check_eq(listen(l, 0), 0);
	for (int i = 0; i < FILLERS; i++) {
		filler[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		(void)!connect(filler[i], (struct sockaddr *)&a, sizeof(a));
	}
	torc_scope_enter(&t, TORC_MS(50));
	check_eq(torc_dial(address), -ETIMEDOUT);
	check_eq(torc_dial(address), -ETIMEDOUT);
	check_eq(torc_scope_leave(&t), -ETIMEDOUT);
	torc_scope_enter(&t, TORC_NEVER);
	torc_scope_cancel(&t);
	check_eq(torc_dial(address), -ECANCELED);
	check_eq(torc_scope_leave(&t), -ECANCELED);
	for (int i = 0; i < FILLERS; i++)
		close(filler[i]);
	close(l);
	return 0;
}

Test(socket, dial_ends_at_the_deadline_and_leaves_no_descriptor)
{
	run_all_features(NULL, dial_hangs, NULL);
}

/* connect(2) to a Unix listener with a full queue blocks in a worker of the kernel. */
static int dial_unix_hangs(void *arg)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct torc_stats before, after;
	struct torc_scope t;
	int l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), n = 0, filler[8];
	char address[128];

	(void)arg;
	snprintf(a.sun_path, sizeof(a.sun_path), "/tmp/torc-test-%d", getpid());
	snprintf(address, sizeof(address), "unix:%s", a.sun_path);
	check_eq(bind(l, (struct sockaddr *)&a, sizeof(a)), 0);
	check_eq(listen(l, 0), 0);
	do {
		filler[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	} while (connect(filler[n++], (struct sockaddr *)&a, sizeof(a)) == 0 && n < 8);
	torc_stats(&before);
	torc_scope_enter(&t, TORC_MS(50));
	check_eq(torc_dial(address), -ETIMEDOUT);
	check_eq(torc_scope_leave(&t), -ETIMEDOUT);
	torc_stats(&after);
	check_lt(after.turns - before.turns, 50);
	while (n)
		close(filler[--n]);
	close(l);
	unlink(a.sun_path);
	return 0;
}

Test(socket, dial_of_a_full_unix_listener_ends_at_the_deadline)
{
	run(dial_unix_hangs, NULL);
}

static int close_cancelled(void *arg)
{
	struct torc_scope t;
	int fd[2], before = count_fds();

	(void)arg;
	unix_pair(fd);
	torc_scope_enter(&t, 0);
	torc_close(fd[0]);
	check_eq(torc_shutdown(fd[1], SHUT_RDWR), -ETIMEDOUT);
	torc_close(fd[1]);
	torc_scope_leave(&t);
	check_eq(torc_sleep(1), 0); /* a turn */
	check_eq(count_fds(), before);
	return 0;
}

Test(socket, close_takes_effect_in_a_cancelled_scope)
{
	run(close_cancelled, NULL);
}

/* --- datagram calls and messages --- */

static int datagram_calls(void *arg)
{
	struct torc_address a[2], from;
	struct torc_scope t;
	char buf[16] = "abc", control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	int fd[2];

	(void)arg;
	for (int i = 0; i < 2; i++) {
		fd[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		check_eq(torc_address_parse("127.0.0.1:0", 0, &a[i]), 0);
		check_eq(bind(fd[i], &a[i].any, a[i].len), 0);
		check_eq(torc_local_address(fd[i], &a[i]), 0);
	}
	check_eq(torc_sendto(fd[0], "hello", 5, 0, NULL), -EDESTADDRREQ);
	check_eq(torc_sendto(fd[0], "hello", 5, 0, &a[1]), 5);
	check_eq(torc_sendto(fd[0], "", 0, 0, &a[1]), 0);
	check_eq(torc_recvfrom(fd[1], buf, 3, MSG_TRUNC, &from), 5);
	check(torc_address_equal(&from, &a[0]));
	check_eq(torc_recvfrom(fd[1], buf, 3, 0, NULL), 0);
	m.msg_name = &a[1].any;
	m.msg_namelen = a[1].len;
	iov.iov_len = 5;
	check_eq(torc_sendmsg(fd[0], &m, 0), 5);
	iov.iov_len = sizeof(buf);
	m.msg_name = &from.any;
	m.msg_namelen = sizeof(from.un);
	m.msg_control = control;
	m.msg_controllen = sizeof(control);
	check_eq(torc_recvmsg(fd[1], &m, 0), 5);
	check_eq(m.msg_namelen, sizeof(struct sockaddr_in));
	check_eq(m.msg_controllen, 0);
	torc_scope_enter(&t, TORC_MS(10));
	memcpy(buf, "abc", 3);
	check_eq(torc_recvfrom(fd[1], buf, 3, 0, &from), -ETIMEDOUT);
	check_eq(torc_recvmsg(fd[1], &m, 0), -ETIMEDOUT);
	check_eq(torc_sendto(fd[0], "x", 1, 0, &a[1]), -ETIMEDOUT);
	check_eq(torc_sendmsg(fd[0], &m, 0), -ETIMEDOUT);
	torc_scope_leave(&t);
	check(!memcmp(buf, "abc", 3));
	/* Nobody is bound there any more: told by the next call. */
	close(fd[1]);
	check_eq(torc_connect(fd[0], &a[1].any, a[1].len), 0);
	check_eq(torc_sendto(fd[0], "x", 1, 0, NULL), 1);
	check_eq(torc_recvfrom(fd[0], buf, 3, 0, NULL), -ECONNREFUSED);
	check_eq(torc_sendto(fd[0], "x", 1, 0, NULL), 1);
	check_eq(torc_socket_error(fd[0]), -ECONNREFUSED);
	check_eq(torc_socket_error(fd[0]), 0);
	check_eq(torc_recvmsg(-1, &m, 0), -EBADF);
	check_eq(torc_sendmsg(-1, &m, 0), -EBADF);
	close(fd[0]);
	return 0;
}

Test(socket, datagrams_and_messages)
{
	run_all_features(NULL, datagram_calls, NULL);
}

/* --- options --- */

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	check_eq(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

static void check_keepalive(int fd, int idle, int interval, int count)
{
	check_eq(option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
	check_eq(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), idle);
	check_eq(option(fd, IPPROTO_TCP, TCP_KEEPINTVL), interval);
	check_eq(option(fd, IPPROTO_TCP, TCP_KEEPCNT), count);
}

static int set_options(void *arg)
{
	struct torc_keepalive k = { 11, 12, 13 };
	struct linger l;
	socklen_t len = sizeof(l);
	int fd[2], pair[2];

	(void)arg;
	tcp_pair(fd);
	unix_pair(pair);
	check_eq(torc_set_nodelay(fd[0], false), 0);
	check_eq(option(fd[0], IPPROTO_TCP, TCP_NODELAY), 0);
	check_eq(torc_set_nodelay(fd[0], true), 0);
	check_eq(option(fd[0], IPPROTO_TCP, TCP_NODELAY), 1);
	check_eq(torc_set_cork(fd[0], true), 0);
	check_eq(option(fd[0], IPPROTO_TCP, TCP_CORK), 1);
	check_eq(torc_set_keepalive(fd[0], &k), 0);
	check_keepalive(fd[0], 11, 12, 13);
	check_eq(torc_set_keepalive(fd[0], NULL), 0);
	check_eq(option(fd[0], SOL_SOCKET, SO_KEEPALIVE), 0);
	k.idle_s = 40000;
	check_eq(torc_set_keepalive(fd[0], &k), -EINVAL);
	check_eq(option(fd[0], SOL_SOCKET, SO_KEEPALIVE), 0);
	check_eq(torc_set_user_timeout(fd[0], 1234), 0);
	check_eq(option(fd[0], IPPROTO_TCP, TCP_USER_TIMEOUT), 1234);
	check_eq(torc_set_user_timeout(fd[0], UINT32_MAX), -EINVAL);
	check_eq(torc_set_linger(fd[0], 0), 0);
	check_eq(getsockopt(fd[0], SOL_SOCKET, SO_LINGER, &l, &len), 0);
	check(l.l_onoff && !l.l_linger);
	check_eq(torc_set_linger(fd[0], -1), 0);
	check_eq(getsockopt(fd[0], SOL_SOCKET, SO_LINGER, &l, &len), 0);
	check(!l.l_onoff);
	check_eq(torc_set_linger(fd[0], -2), -EINVAL);
	check_eq(torc_set_buffers(fd[0], 20000, 30000), 0);
	check_eq(option(fd[0], SOL_SOCKET, SO_RCVBUF), 40000);
	check_eq(option(fd[0], SOL_SOCKET, SO_SNDBUF), 60000);
	check_eq(torc_set_buffers(fd[0], -1, 0), -EINVAL);
	check_eq(torc_set_nodelay(-1, true), -EBADF);
	check_eq(torc_set_cork(pair[0], true), -EOPNOTSUPP);
	check_eq(torc_socket_error(-1), -EBADF);
	check_eq(torc_set_linger(fd[0], 0), 0);
	close(fd[0]);
	check(ends(fd[1]));
	close(fd[1]);
	close(pair[0]);
	close(pair[1]);
	return 0;
}

Test(socket, options_are_set)
{
	run(set_options, NULL);
}

static int options_of_connections(void *arg)
{
	struct torc_listen_options lo = {
		.keepalive = { 21, 22, 23 },
		.user_timeout_ms = 2345,
		.recv_bytes = 50000,
		.send_bytes = 60000,
		.delay = true,
		.defer_accept_s = 1,
		.fast_open = 16,
		.device = "lo",
		.free_bind = true,
	};
	struct torc_dial_options o = {
		.local = "127.0.0.3:0",
		.keepalive = { 31, 32, 33 },
		.user_timeout_ms = 3456,
		.recv_bytes = 70000,
		.send_bytes = 80000,
		.delay = true,
		.device = "lo",
	};
	struct torc_listener l;
	struct torc_address a;
	char text[TORC_ADDRESS_MAX], buf[4];
	int fd, peer;

	(void)arg;
	check_eq(torc_listen(&l, "127.0.0.2:0", &lo), 0);
	check_ge(option(l.fd, IPPROTO_TCP, TCP_DEFER_ACCEPT), 1);
	check_eq(option(l.fd, IPPROTO_TCP, TCP_FASTOPEN), 16);
	check_eq(option(l.fd, IPPROTO_IP, IP_FREEBIND), 1);
	fd = torc_dial_with(l.address, &o);
	check_ge(fd, 0);
	check_eq(torc_send(fd, "x", 1, 0), 1); /* the listener defers until it has come */
	peer = torc_accept(&l);
	check_ge(peer, 0);
	check_keepalive(peer, 21, 22, 23);
	check_eq(option(peer, IPPROTO_TCP, TCP_USER_TIMEOUT), 2345);
	check_eq(option(peer, IPPROTO_TCP, TCP_NODELAY), 0);
	check_eq(option(peer, SOL_SOCKET, SO_RCVBUF), 100000);
	check_eq(option(peer, SOL_SOCKET, SO_SNDBUF), 120000);
	check_keepalive(fd, 31, 32, 33);
	check_eq(option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 3456);
	check_eq(option(fd, IPPROTO_TCP, TCP_NODELAY), 0);
	check_eq(option(fd, SOL_SOCKET, SO_RCVBUF), 140000);
	check_eq(option(fd, SOL_SOCKET, SO_SNDBUF), 160000);
	check_eq(torc_peer_address(peer, &a), 0);
	check(!strncmp(torc_address_format(&a, text, sizeof(text)), "tcp://127.0.0.3:", 16));
	torc_close(fd);
	torc_close(peer);
	/* With the first bytes, or without where the peer has not allowed it yet: it works either way. */
	fd = torc_dial_with(l.address, &(struct torc_dial_options){ .fast_open = true });
	check_ge(fd, 0);
	check_eq(option(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT), 1);
	check_eq(option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
	check_eq(torc_send(fd, "x", 1, 0), 1);
	peer = torc_accept(&l);
	check_ge(peer, 0);
	check_eq(torc_recv(peer, buf, sizeof(buf), 0), 1);
	torc_close(fd);
	torc_close(peer);
	torc_listener_close(&l);
	check_eq(torc_listen(&l, "[::]:0", &(struct torc_listen_options){ .v6_only = true }), 0);
	check_eq(option(l.fd, IPPROTO_IPV6, IPV6_V6ONLY), 1);
	torc_listener_close(&l);
	return 0;
}

Test(socket, connections_have_the_options_that_were_asked_for)
{
	run(options_of_connections, NULL);
}

static int refused_options(void *arg)
{
	static const struct {
		struct torc_dial_options o;
		int error;
	} wrong[] = {
		{ { .local = "nonsense" }, -EINVAL },
		{ { .local = "[::1]:0" }, -EINVAL },
		{ { .local = "192.0.2.1:0" }, -EADDRNOTAVAIL },
		{ { .device = "nosuchthing0" }, -ENODEV },
		{ { .device = "" }, -EINVAL },
		{ { .keepalive = { 1, 1, 200 } }, -EINVAL },
		{ { .send_bytes = -1 }, -EINVAL },
	};
	struct torc_listener l;

	(void)arg;
	for (size_t i = 0; i < COUNT(wrong); i++)
		check_eq(torc_dial_with("127.0.0.1:9", &wrong[i].o), wrong[i].error);
	check_eq(torc_dial("udp://127.0.0.1:x"), -EINVAL);
	check_eq(torc_dial("unixgram:/x"), -EINVAL);
	check_eq(torc_listen(&l, "udp://127.0.0.1:0", NULL), -EINVAL);
	check_eq(torc_listen(&l, "127.0.0.1:0",
			     &(struct torc_listen_options){ .device = "nosuchthing0" }),
		 -ENODEV);
	check_eq(torc_listen(&l, "127.0.0.1:0",
			     &(struct torc_listen_options){ .keepalive = { .idle_s = 99999 } }),
		 -EINVAL);
	check_eq(torc_listen(&l, "unix:@torc-mode", &(struct torc_listen_options){ .mode = 01000 }),
		 -EINVAL);
	return 0;
}

Test(socket, refused_options_leave_no_descriptor)
{
	run(refused_options, NULL);
}
