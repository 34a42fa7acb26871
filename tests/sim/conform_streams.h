/*
 * tests/sim/conform_streams.h - scripts of stream sockets. Those that take a pair of connected sockets are run on one of
 * Unix and on one of TCP: their argument is the domain.
 */
#ifndef TESTS_SIM_CONFORM_STREAMS_H
#define TESTS_SIM_CONFORM_STREAMS_H

#include <linux/tcp.h> /* newer than libc's */

#include "tests/sim/conform.h"

static int listen_at(const char *text, struct address *a, int backlog)
{
	int fd = call_socket(text, a->any.sa_family, SOCK_STREAM);

	if (call_bind(fd, a) < 0)
		return -1;
	*a = call_name(fd, true);
	return call_listen(fd, backlog) < 0 ? -1 : fd;
}

static int listen_tcp(const char *text, struct address *ret, int backlog)
{
	*ret = inet_address("127.0.0.1", 0);
	return listen_at(text, ret, backlog);
}

static bool tcp_pair(int ret_fds[2])
{
	struct address at;
	int listener = listen_tcp("listener", &at, 8);

	ret_fds[0] = call_socket("a", AF_INET, SOCK_STREAM);
	if (do_connect(ret_fds[0], &at)->res < 0)
		return false;
	ret_fds[1] = do_accept(listener, 0, false)->fd;
	call_close(listener);
	if (ret_fds[1] < 0)
		return false;
	/* Or Linux would hold back what is small until an acknowledgement has come, which takes its time. */
	for (int i = 0; i < 2; i++)
		call_setsockopt(ret_fds[i], IPPROTO_TCP, TCP_NODELAY, 1);
	return true;
}

static int the_domain(void)
{
	return (int)(intptr_t)run.arg;
}

static bool is_tcp(void)
{
	return the_domain() != AF_UNIX;
}

static bool open_pair(int ret_fds[2])
{
	return is_tcp() ? tcp_pair(ret_fds) : call_pair("a", "b", AF_UNIX, SOCK_STREAM, ret_fds);
}

/* Over TCP things take their time: the steps that wait for them. */
static void await_data(int fd)
{
	do_poll(fd, POLLIN);
}

static void await_end(int fd)
{
	do_poll(fd, POLLRDHUP);
}

/*
 * A poll of the ring would end with the peer's FIN already. A reset is sent once: one that was lost on its way (Linux drops packets
 * of the loopback too, when a processor has too many waiting) never comes, and says nothing about the script.
 */
static void await_reset(int fd)
{
	struct pollfd p = { .fd = fd };

	if (!run.expected)
		check_eq(torc_sleep(SETTLE_NS), 0);
	else if (!poll(&p, 1, (int)(PATIENCE_NS / 1000000)))
		run.lost = true;
}

/* --- pairs --- */

static void transfers_script(void)
{
	int s[2];

	if (!open_pair(s))
		return;
	say_state(s[0]);
	do_recv(s[1], 10, MSG_DONTWAIT);
	do_send(s[0], 10, 0);
	await_data(s[1]);
	do_recv(s[1], 4, MSG_PEEK);
	do_recv(s[1], 4, 0);
	do_recv(s[1], 100, 0);
	do_recv(s[1], 100, 0); /* waits */
	do_send(s[0], 1, MSG_DONTWAIT);
	do_write(s[0], 7, 0);
	await_data(s[1]);
	do_read(s[1], 100, 0);
	do_read(s[1], 5, -1); /* waits */
	do_write(s[0], 5, -1);
	do_recv(s[1], 0, MSG_DONTWAIT);
	do_send(s[0], 0, 0);
	do_send(s[0], 3, MSG_MORE);
	do_send(s[0], 3, 0);
	do_recv(s[1], 6, MSG_WAITALL);
	do_recv(s[1], 0, MSG_DONTWAIT); /* of nothing, where there is nothing */
	say_state(s[1]);
}

static void waitall_script(void)
{
	struct act *a;
	int s[2];

	if (!open_pair(s))
		return;
	a = do_recv(s[1], 20, MSG_WAITALL);
	do_send(s[0], 5, 0);
	do_send(s[0], 5, 0);
	do_send(s[0], 15, 0);
	do_recv(s[1], 5, MSG_WAITALL);
	a = do_recv(s[1], 20, MSG_WAITALL); /* cancelled halfway: what there was */
	do_send(s[0], 6, 0);
	turn();
	do_cancel(a);
	a = do_recv(s[1], 20, MSG_WAITALL); /* and before anything */
	do_cancel(a);
	do_send(s[0], 8, 0);
	await_data(s[1]);
	do_recv(s[1], 20, MSG_WAITALL | MSG_DONTWAIT);
	do_recv(s[1], 20, MSG_WAITALL); /* the end comes halfway */
	do_send(s[0], 9, 0);
	do_shutdown(s[0], SHUT_WR);
	do_recv(s[1], 20, MSG_WAITALL);
	do_send(s[1], 30000, MSG_WAITALL);
	do_recv(s[0], 30000, MSG_WAITALL);
}

static void half_close_script(void)
{
	int s[2];

	if (!open_pair(s))
		return;
	do_send(s[0], 10, 0);
	do_shutdown(s[0], SHUT_WR);
	do_shutdown(s[0], SHUT_WR);
	do_send(s[0], 1, 0);
	await_end(s[1]);
	say_state(s[1]);
	do_recv(s[1], 100, 0);
	do_recv(s[1], 100, 0);
	do_recv(s[1], 100, 0);
	do_send(s[1], 20, 0); /* the other direction is open */
	do_recv(s[0], 20, MSG_WAITALL);
	do_recv(s[0], 20, 0);
	do_shutdown(s[1], SHUT_RDWR);
	await_end(s[0]);
	say_state(s[0]);
	say_state(s[1]);
	do_recv(s[0], 20, 0);
	do_send(s[0], 20, 0);
	call_error(s[0]);
	call_error(s[1]);
	call_name(s[0], false);
}

static void shut_read_script(void)
{
	int s[2];

	if (!open_pair(s))
		return;
	do_recv(s[0], 10, 0); /* ended by it */
	do_shutdown(s[0], SHUT_RD);
	do_recv(s[0], 10, 0);
	say_state(s[0]);
	do_send(s[1], 10, 0); /* Unix: broken pipe */
	do_send(s[0], 5, 0);
	do_recv(s[1], 5, MSG_WAITALL);
	do_shutdown(s[0], 3);
	do_shutdown(s[0], -1);
}

static void shut_read_with_data_script(void)
{
	int s[2];

	if (!open_pair(s))
		return;
	do_send(s[1], 10, 0);
	await_data(s[0]);
	do_shutdown(s[0], SHUT_RD);
	do_recv(s[0], 4, 0);
	do_recv(s[0], 10, 0);
	do_recv(s[0], 10, 0);
}

static void end_script_of_pair(void)
{
	int s[2];

	if (!open_pair(s))
		return;
	do_recv(s[1], 10, 0);
	do_close(s[0]);
	do_recv(s[1], 10, 0);
	say_state(s[1]);
	do_send(s[1], 10, 0); /* TCP: taken, and answered by a reset */
	if (is_tcp())
		await_reset(s[1]);
	say_state(s[1]);
	do_send(s[1], 10, 0);
	do_send(s[1], 10, 0);
	do_recv(s[1], 10, 0);
	call_error(s[1]);
	do_shutdown(s[1], SHUT_RDWR);
	call_name(s[1], false);
}

static void reset_by_answer_script(void)
{
	int s[2];

	if (!open_pair(s))
		return;
	do_close(s[0]);
	await_end(s[1]);
	do_send(s[1], 10, 0);
	if (is_tcp())
		await_reset(s[1]);
	call_error(s[1]);
	call_error(s[1]);
	do_recv(s[1], 10, 0);
	do_send(s[1], 10, 0);
}

static void unread_script(void)
{
	int s[2];

	if (!open_pair(s))
		return;
	do_send(s[0], 10, 0);
	await_data(s[1]);
	do_close(s[1]); /* unread: a reset */
	await_reset(s[0]);
	say_state(s[0]);
	do_recv(s[0], 10, 0);
	do_recv(s[0], 10, 0);
	do_send(s[0], 10, 0);
	call_error(s[0]);
	say_state(s[0]);
}

static void unread_both_script(void)
{
	int s[2];

	if (!open_pair(s))
		return;
	do_send(s[1], 7, 0);
	do_send(s[0], 10, 0);
	await_data(s[1]);
	await_data(s[0]);
	do_close(s[1]);
	await_reset(s[0]);
	do_recv(s[0], 4, 0); /* what came before the reset */
	do_recv(s[0], 4, 0);
	do_recv(s[0], 4, 0);
	do_recv(s[0], 4, 0);
	do_send(s[0], 4, 0);
	do_send(s[0], 4, 0);
}

static void unread_then_send_script(void)
{
	int s[2];

	if (!open_pair(s))
		return;
	do_send(s[0], 10, 0);
	await_data(s[1]);
	do_close(s[1]);
	await_reset(s[0]);
	do_send(s[0], 10, 0);
	do_send(s[0], 10, 0);
	do_recv(s[0], 10, 0);
	do_recv(s[0], 10, 0);
}

static void unread_after_end_script(void)
{
	int s[2];

	if (!open_pair(s))
		return;
	do_send(s[0], 10, 0);
	await_data(s[1]);
	do_shutdown(s[1], SHUT_WR); /* the end, then the reset */
	await_end(s[0]);
	do_close(s[1]);
	await_reset(s[0]);
	say_state(s[0]);
	do_recv(s[0], 10, 0);
	do_recv(s[0], 10, 0);
	do_send(s[0], 10, 0);
	call_error(s[0]);
}

static void linger_script(void)
{
	int s[2];

	if (!open_pair(s))
		return;
	call_linger_zero(s[0]);
	do_send(s[0], 10, 0);
	await_data(s[1]);
	do_close(s[0]);
	if (is_tcp())
		await_reset(s[1]);
	do_recv(s[1], 4, 0);
	do_recv(s[1], 10, 0);
	do_recv(s[1], 10, 0);
	do_recv(s[1], 10, 0);
	do_send(s[1], 10, 0);
}

static void linger_waiting_script(void)
{
	int s[2];

	if (!open_pair(s))
		return;
	call_linger_zero(s[0]);
	do_recv(s[1], 10, 0);
	do_close(s[0]);
	do_recv(s[1], 10, 0);
}

static void linger_then_send_script(void)
{
	int s[2];

	if (!open_pair(s))
		return;
	call_linger_zero(s[0]);
	do_close(s[0]);
	await_reset(s[1]);
	do_send(s[1], 10, 0);
	do_send(s[1], 10, 0);
	do_recv(s[1], 10, 0);
}

static void close_under_way_script(void)
{
	int s[2], other;

	if (!open_pair(s))
		return;
	do_recv(s[0], 10, 0); /* holds the socket: it ends when it is sent something */
	do_close(s[0]);
	do_recv(s[0], 10, MSG_DONTWAIT);
	do_send(s[1], 10, 0);
	await_end(s[1]);
	do_recv(s[1], 10, 0);
	if (!open_pair(s))
		return;
	other = call_dup(s[0], "other");
	do_close(s[0]);
	do_send(other, 5, 0);
	do_recv(s[1], 5, MSG_WAITALL);
	do_close(other);
	do_recv(s[1], 5, 0);
}

/*
 * How much of a large send is taken at a time depends on the kernel's memory for it. Only that it waits for its reader,
 * and that all arrives.
 */
static void large_script(void)
{
	enum { LARGE = 8 << 20 };
	struct act *a;
	int s[2];

	if (!open_pair(s))
		return;
	a = do_send(s[0], LARGE, MSG_WAITALL);
	say("it waits: %d", torc_op_pending(&a->op));
	say_state(s[1]);
	do_recv(s[1], LARGE, MSG_WAITALL);
	say_state(s[0]);
}

static void full_script(void)
{
	struct act *a;
	int s[2], r;

	if (!open_pair(s))
		return;
	/* Fill it: how often and how much is Linux's business. */
	do {
		struct torc_op op;
		struct io_uring_sqe *sqe;
		static char zeros[4096];

		check_eq(torc_op_begin(&op, &sqe), 0);
		io_uring_prep_send(sqe, s[0], zeros, sizeof(zeros), MSG_DONTWAIT);
		r = torc_op_wait(&op);
	} while (r > 0);
	say("full: %s", result(r));
	if (is_tcp()) /* its peer's acknowledgements may yet make room */
		return;
	do_send(s[0], 1, MSG_DONTWAIT);
	say_state(s[0]);
	a = do_send(s[0], 1, 0);
	do_close(s[1]);
	say("it waits: %d", torc_op_pending(&a->op));
	do_send(s[0], 1, 0);
}

static void selected_script(void)
{
	struct act *a;
	int s[2];

	if (!open_pair(s))
		return;
	do_send(s[0], 10, 0);
	await_data(s[1]);
	do_recv_selected(s[1], 4, 0, false);
	do_recv_selected(s[1], 0, 0, false);
	do_recv_selected(s[1], 0, MSG_DONTWAIT, false);
	a = do_recv_selected(s[1], 0, 0, true);
	do_send(s[0], 10, 0);
	do_send(s[0], 11, 0);
	do_cancel(a);
	a = do_recv_selected(s[1], 0, 0, true);
	do_send(s[0], 12, 0);
	do_shutdown(s[0], SHUT_WR);
	do_recv_selected(s[1], 0, 0, true);
	do_recv_selected(s[1], 0, 0, false);
}

static void selected_reset_script(void)
{
	int s[2];

	if (!open_pair(s))
		return;
	do_send(s[1], 10, 0);
	await_data(s[0]);
	do_recv_selected(s[1], 0, 0, true);
	do_close(s[0]);
	do_recv_selected(s[1], 0, 0, true);
}

static void quiet_script(void)
{
	int s[2];

	if (!open_pair(s))
		return;
	do_send_quietly(s[0], 10);
	do_recv(s[1], 10, MSG_WAITALL);
	do_shutdown(s[0], SHUT_WR);
	do_send_quietly(s[0], 10);
	do_close(s[0]);
}

static void quiet_short_script(void)
{
	int s[2];

	if (!open_pair(s))
		return;
	do_shutdown(s[1], SHUT_RDWR);
	await_end(s[0]);
	do_send_quietly(s[0], 10);
	if (is_tcp())
		await_reset(s[0]);
	do_send_quietly(s[0], 10);
	do_send_quietly(s[0], 10);
	do_recv(s[0], 10, 0);
}

static void nonblock_script(void)
{
	int s[2];

	if (!call_pair("a", "b", AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, s))
		return;
	do_recv(s[0], 10, 0);
	do_send(s[1], 5, 0);
	do_read(s[0], 10, 0);
	do_send(s[1], 5, 0);
	do_recv_selected(s[0], 0, 0, false);
	do_send(s[1], 5, 0);
	do_recv(s[0], 10, MSG_WAITALL);
	do_send(s[1], 10, 0);
}

static void cancel_script(void)
{
	struct act *a, *b;
	int s[2];

	if (!open_pair(s))
		return;
	a = do_recv(s[0], 10, 0);
	do_cancel(a);
	do_cancel(a); /* it is over */
	a = do_poll(s[0], POLLIN);
	b = do_poll(s[0], POLLIN);
	do_cancel(b);
	do_send(s[1], 3, 0);
	do_cancel(a);
	a = do_send(s[0], 10, 0);
	do_cancel(a);
	a = do_nop();
	do_cancel(a);
}

static void poll_script(void)
{
	int s[2];

	if (!open_pair(s))
		return;
	do_poll(s[0], POLLOUT);
	do_poll(s[0], POLLIN | POLLOUT);
	do_poll(s[0], POLLIN | POLLRDNORM);
	do_send(s[1], 3, 0);
	do_poll(s[0],
		POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM | POLLRDBAND | POLLWRBAND | POLLPRI);
	do_recv(s[0], 3, 0);
	do_poll(s[0], POLLRDHUP);
	do_poll(s[0], POLLPRI);
	do_poll(s[0], 0);
	do_shutdown(s[1], SHUT_WR);
	do_poll(s[0], POLLIN | POLLOUT | POLLRDHUP | POLLRDNORM | POLLWRNORM);
	do_shutdown(s[0], SHUT_WR);
	say_state(s[0]);
	await_end(s[1]);
	say_state(s[1]);
}

/* --- not connected --- */

static void unconnected_script(void)
{
	struct address none;
	int fd = call_socket("fresh", the_domain(), SOCK_STREAM);

	say_state(fd);
	do_recv(fd, 10, 0);
	do_recv(fd, 10, MSG_DONTWAIT);
	do_read(fd, 10, 0);
	do_send(fd, 10, 0);
	do_write(fd, 10, 0);
	do_shutdown(fd, SHUT_RDWR);
	do_shutdown(fd, SHUT_WR);
	do_shutdown(fd, 5);
	do_accept(fd, 0, false);
	call_error(fd);
	call_getsockopt(fd, SO_TYPE);
	call_getsockopt(fd, SO_ACCEPTCONN);
	none = call_name(fd, true);
	call_name(fd, false);
	none.len = 1;
	do_connect(fd, &none);
	none = (struct address){ .v6 = { .sin6_family = AF_INET6 }, .len = sizeof(none.v6) };
	do_connect(fd, &none);
	say_state(fd);
	do_poll(fd, 0);
}

static void listener_script(void)
{
	struct address at = is_tcp() ? inet_address("127.0.0.1", 0) : path_address("socket");
	int fd = listen_at("listener", &at, 4);

	say_state(fd);
	do_recv(fd, 10, 0);
	do_send(fd, 10, 0);
	do_connect(fd, &at);
	call_bind(fd, &at);
	call_listen(fd, 5);
	call_getsockopt(fd, SO_ACCEPTCONN);
	call_name(fd, false);
	call_error(fd);
	do_accept(fd, 0, false); /* waits */
	do_shutdown(fd, SHUT_RDWR);
	do_accept(fd, 0, false);
	say_state(fd);
}

/* --- TCP --- */

static void tcp_connect_script(void)
{
	struct address at, refused;
	struct act *accepting;
	int listener = listen_tcp("listener", &at, 8), fd, other;

	fd = call_socket("client", AF_INET, SOCK_STREAM);
	do_connect(fd, &at);
	call_name(fd, true);
	call_name(fd, false);
	do_connect(fd, &at);
	call_bind(fd, &at);
	call_listen(fd, 1);
	do_poll(listener, POLLIN);
	say_state(listener);
	other = do_accept_address(listener)->fd;
	call_name(other, true);
	call_name(other, false);
	call_getsockopt(other, SO_ACCEPTCONN);
	accepting = do_accept(listener, 0, false);
	fd = call_socket("second", AF_INET, SOCK_STREAM);
	do_connect(fd, &at);
	accepting = do_accept(listener, 0, false);
	do_cancel(accepting);
	accepting = do_accept(listener, SOCK_NONBLOCK, true);
	for (int i = 0; i < 3; i++) {
		fd = call_socket("more", AF_INET, SOCK_STREAM);
		do_connect(fd, &at);
	}
	do_recv(accepting->fd, 10, 0);
	do_cancel(accepting);
	refused = at;
	do_close(listener);
	fd = call_socket("late", AF_INET, SOCK_STREAM);
	do_connect(fd, &refused);
	call_error(fd);
	say_state(fd);
	do_recv(fd, 10, 0);
	do_send(fd, 10, 0);
	call_name(fd, false);
	do_connect(fd, &refused);
	listener = listen_tcp("again", &at, 8);
	do_connect(fd, &at);
	say_state(fd);
	fd = call_socket("shut", AF_INET, SOCK_STREAM);
	do_shutdown(fd, SHUT_RDWR);
	say_state(fd);
	do_connect(fd, &at);
	do_send(fd, 10, 0);
	do_socket(AF_INET, SOCK_STREAM);
	do_socket(AF_INET, 77);
	do_socket(77, SOCK_STREAM);
}

/* The queue of a listener that goes is reset. */
static void tcp_listener_gone_script(void)
{
	struct address at;
	int listener = listen_tcp("listener", &at, 8);
	int fd = call_socket("client", AF_INET, SOCK_STREAM);

	do_connect(fd, &at);
	do_send(fd, 10, 0);
	do_poll(listener, POLLIN);
	call_close(listener);
	await_reset(fd);
	do_recv(fd, 10, 0);
	do_send(fd, 10, 0);
	do_recv(fd, 10, 0);
}

/* What was sent before it was accepted is there; what is closed before too. */
static void tcp_early_script(void)
{
	struct address at;
	int listener = listen_tcp("listener", &at, 8), other;
	int fd = call_socket("client", AF_INET, SOCK_STREAM);

	do_connect(fd, &at);
	do_send(fd, 10, 0);
	do_close(fd);
	other = do_accept(listener, 0, false)->fd;
	await_end(other);
	do_recv(other, 100, 0);
	do_recv(other, 100, 0);
	fd = call_socket("second", AF_INET, SOCK_STREAM);
	do_connect(fd, &at);
	call_linger_zero(fd);
	do_close(fd);
	other = do_accept(listener, 0, false)->fd;
	await_reset(other);
	call_name(other, false);
	do_recv(other, 100, 0);
	do_recv(other, 100, 0);
}

/* One more than the backlog is queued; the next one tries again every second. */
static void tcp_backlog_script(void)
{
	struct address at;
	int listener = listen_tcp("listener", &at, 1);

	run.settle_ns = TORC_SECONDS(1) / 2;
	for (int i = 0; i < 3; i++) {
		int fd = call_socket("client", AF_INET, SOCK_STREAM);

		do_connect(fd, &at);
		call_name(fd, false);
	}
	run.settle_ns = TORC_SECONDS(20);
	do_accept(listener, 0, false);
}

static void tcp_nonblock_script(void)
{
	struct address at, refused;
	int listener = listen_tcp("listener", &at, 8), gone = listen_tcp("gone", &refused, 1), fd;

	fd = call_socket("client", AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
	do_connect(fd, &at);
	do_poll(fd, POLLOUT);
	call_error(fd);
	do_connect(fd, &at);
	do_recv(fd, 10, 0);
	call_close(gone);
	fd = call_socket("refused", AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
	do_connect(fd, &refused);
	do_poll(fd, POLLOUT);
	call_error(fd);
	call_error(fd);
	fd = call_socket("listener 2", AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
	at = inet_address("127.0.0.1", 0);
	call_bind(fd, &at);
	call_listen(fd, 1);
	do_accept(fd, 0, false);
	call_close(listener);
}

static void tcp_bind_script(void)
{
	struct address any = inet_address("0.0.0.0", 0), at, other;
	int a = call_socket("a", AF_INET, SOCK_STREAM), b, c, d;

	at = inet_address("127.0.0.1", 0);
	call_bind(a, &at);
	at = call_name(a, true);
	call_bind(a, &at);
	b = call_socket("b", AF_INET, SOCK_STREAM);
	call_bind(b, &at);
	any.v4.sin_port = at.v4.sin_port;
	call_bind(b, &any);
	other = inet_address("127.0.0.2", at.v4.sin_port);
	call_bind(b, &other);
	call_name(b, true);
	call_listen(a, 1);
	c = call_socket("c", AF_INET, SOCK_STREAM);
	call_setsockopt(c, SOL_SOCKET, SO_REUSEADDR, 1);
	call_bind(c, &at);
	call_close(a);
	call_bind(c, &at);
	d = call_socket("d", AF_INET, SOCK_STREAM);
	any = path_address("socket");
	call_bind(d, &any);
	at.len = 4;
	call_bind(d, &at);
	call_bind(-1, &other);
	call_listen(d, 1); /* binds by itself */
	call_name(d, true);
}

static void tcp_reuse_port_script(void)
{
	struct address at = inet_address("127.0.0.1", 0);
	int a = call_socket("a", AF_INET, SOCK_STREAM), b, c;

	call_setsockopt(a, SOL_SOCKET, SO_REUSEPORT, 1);
	call_bind(a, &at);
	at = call_name(a, true);
	call_listen(a, 4);
	b = call_socket("b", AF_INET, SOCK_STREAM);
	call_bind(b, &at);
	call_setsockopt(b, SOL_SOCKET, SO_REUSEPORT, 1);
	call_bind(b, &at);
	call_listen(b, 4);
	call_close(a);
	c = call_socket("client", AF_INET, SOCK_STREAM);
	do_connect(c, &at);
	do_accept(b, 0, false);
}

/* SO_REUSEADDR: bound by several, but only one listens. */
static void tcp_reuse_address_script(void)
{
	struct address at = inet_address("127.0.0.1", 0);
	int a = call_socket("a", AF_INET, SOCK_STREAM), b;

	call_setsockopt(a, SOL_SOCKET, SO_REUSEADDR, 1);
	call_bind(a, &at);
	at = call_name(a, true);
	b = call_socket("b", AF_INET, SOCK_STREAM);
	call_setsockopt(b, SOL_SOCKET, SO_REUSEADDR, 1);
	call_bind(b, &at);
	call_listen(a, 1);
	call_listen(b, 1);
}

static void tcp_options_script(void)
{
	struct address at;
	int a = listen_tcp("a", &at, 1), b = call_socket("b", AF_UNIX, SOCK_STREAM);

	call_setsockopt(a, IPPROTO_TCP, TCP_NODELAY, 1);
	call_setsockopt(b, IPPROTO_TCP, TCP_NODELAY, 1);
	call_setsockopt(a, SOL_SOCKET, SO_KEEPALIVE, 1);
	call_setsockopt(b, SOL_SOCKET, SO_KEEPALIVE, 1);
	call_setsockopt(-1, SOL_SOCKET, SO_KEEPALIVE, 1);
	call_getsockopt(a, SO_TYPE);
	call_getsockopt(b, SO_TYPE);
	call_getsockopt(b, SO_ACCEPTCONN);
	call_getsockopt(-1, SO_TYPE);
}

/* --- Unix --- */

static void unix_connect_script(void)
{
	struct address at = path_address("socket"), missing = path_address("missing");
	int listener = listen_at("listener", &at, 8), fd, other;

	fd = call_socket("client", AF_UNIX, SOCK_STREAM);
	do_connect(fd, &missing);
	say_state(fd);
	do_connect(fd, &at);
	do_connect(fd, &at);
	call_name(fd, true);
	call_name(fd, false);
	say_state(listener);
	other = do_accept_address(listener)->fd;
	call_name(other, true);
	call_name(other, false);
	do_send(fd, 10, 0);
	do_recv(other, 100, 0);
	fd = call_socket("bound", AF_UNIX, SOCK_STREAM);
	missing = path_address("client");
	call_bind(fd, &missing);
	call_bind(fd, &missing);
	do_connect(fd, &at);
	other = do_accept_address(listener)->fd;
	call_name(other, false);
	call_bind(call_socket("second", AF_UNIX, SOCK_STREAM), &at);
	say("probe: %s", result(torc_sys_probe(&at.un, at.len)));
	do_close(listener);
	say("probe: %s", result(torc_sys_probe(&at.un, at.len)));
	fd = call_socket("late", AF_UNIX, SOCK_STREAM);
	do_connect(fd, &at);
	call_bind(call_socket("third", AF_UNIX, SOCK_STREAM), &at);
	say("unlink: %s", result(torc_sys_unlink(at.un.sun_path)));
	say("unlink: %s", result(torc_sys_unlink(at.un.sun_path)));
	say("probe: %s", result(torc_sys_probe(&at.un, at.len)));
	do_connect(fd, &at);
	at = inet_address("127.0.0.1", htons(1));
	do_connect(fd, &at);
}

static void unix_bound_not_listening_script(void)
{
	struct address at = path_address("socket");
	int fd = call_socket("a", AF_UNIX, SOCK_STREAM), other;

	call_bind(fd, &at);
	other = call_socket("b", AF_UNIX, SOCK_STREAM);
	do_connect(other, &at);
	say("probe: %s", result(torc_sys_probe(&at.un, at.len)));
	call_listen(other, 1);
	call_listen(fd, 1);
	do_connect(fd, &at);
}

static void unix_abstract_script(void)
{
	struct address at = abstract_address("name"), missing = abstract_address("missing");
	int listener = listen_at("listener", &at, 1);
	int fd = call_socket("client", AF_UNIX, SOCK_STREAM);

	do_connect(fd, &missing);
	do_connect(fd, &at);
	call_name(fd, false);
	do_accept_address(listener);
	call_bind(call_socket("second", AF_UNIX, SOCK_STREAM), &at);
	call_close(listener);
	do_connect(call_socket("late", AF_UNIX, SOCK_STREAM), &at);
	call_bind(call_socket("third", AF_UNIX, SOCK_STREAM), &at);
}

/* The queue of a listener that goes is reset. */
static void unix_listener_gone_script(void)
{
	struct address at = path_address("socket");
	int listener = listen_at("listener", &at, 8);
	int fd = call_socket("client", AF_UNIX, SOCK_STREAM), other;

	do_connect(fd, &at);
	other = call_socket("second", AF_UNIX, SOCK_STREAM);
	do_connect(other, &at);
	do_send(other, 10, 0);
	call_close(listener);
	say_state(fd);
	do_recv(fd, 10, 0);
	do_recv(fd, 10, 0);
	do_send(fd, 10, 0);
	say_state(other);
	do_recv(other, 10, 0);
	do_recv(other, 10, 0);
	do_send(other, 10, 0);
}

/* One more than the backlog is queued; the next one waits for room. */
static void unix_backlog_script(void)
{
	struct address at = path_address("socket");
	struct act *a = NULL;
	int listener = listen_at("listener", &at, 1);

	for (int i = 0; i < 3; i++)
		a = do_connect(call_socket("client", AF_UNIX, SOCK_STREAM), &at);
	say("the last one waits: %d", torc_op_pending(&a->op));
	do_accept(listener, 0, false);
	do_accept(listener, 0, false);
	do_accept(listener, 0, false);
}

static void unix_nonblock_script(void)
{
	struct address at = path_address("socket");

	listen_at("listener", &at, 0);
	for (int i = 0; i < 3; i++)
		do_connect(call_socket("client", AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK), &at);
}

/* --- what is no socket, or nothing --- */

static void wrong_script(void)
{
	struct address at = inet_address("127.0.0.1", htons(9));
	int p[2], fd;
	struct act *a;

	if (!call_pipe(p, 0))
		return;
	do_send(p[1], 1, 0);
	do_recv(p[0], 1, 0);
	do_recv_selected(p[0], 1, 0, false);
	do_accept(p[0], 0, false);
	do_connect(p[0], &at);
	do_shutdown(p[0], SHUT_WR);
	call_bind(p[0], &at);
	call_listen(p[0], 1);
	call_error(p[0]);
	call_name(p[0], true);
	do_read(p[1], 1, 0);
	do_write(p[0], 1, 0);
	fd = call_dup(p[0], "other");
	call_close(fd);
	call_close(fd);
	do_close(fd);
	do_read(fd, 1, 0);
	do_write(fd, 1, 0);
	do_recv(fd, 1, 0);
	do_send(fd, 1, 0);
	do_poll(fd, POLLIN);
	do_accept(fd, 0, false);
	do_connect(fd, &at);
	do_shutdown(fd, SHUT_WR);
	do_read(-1, 1, 0);
	do_close(-1);
	call_dup(fd, "nothing");
	say("write(2): %s", result(torc_sys_write(fd, "x", 1)));
	a = do_send_quietly(fd, 1);
	do_cancel(a);
	fd = torc_sys_socketpair(AF_INET, SOCK_STREAM, 0, p);
	say("socketpair of TCP: %s", result(fd));
	fd = torc_sys_socketpair(AF_UNIX, 99, 0, p);
	say("socketpair of an unknown type: %s", result(fd));
	fd = torc_sys_socket(AF_UNIX, 99, 0);
	say("socket of an unknown type: %s", result(fd));
	fd = torc_sys_socket(AF_INET, SOCK_STREAM, IPPROTO_UDP);
	say("stream socket of UDP: %s", result(fd));
}

#endif
