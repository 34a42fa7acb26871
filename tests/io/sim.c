/*
 * The simulator watches over the provided buffers that streams receive into.
 */
#include "tests/core/run.h"

#include <torc/core/sim.h>
#include <torc/core/sys.h>
#include <torc/io/file.h>
#include <torc/io/socket.h>
#include <torc/io/stream.h>

#include "io/internal/buffers.h"

TestSuite(io_sim, .timeout = 60);

/* A stream that has received `len` bytes, and its peer's descriptor. */
static int open_pair(struct torc_stream *s, char *data, size_t len, int *ret_peer)
{
	struct torc_op op;
	struct io_uring_sqe *sqe;
	struct torc_slice in;
	int fds[2];

	check_eq(torc_sys_socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	check_eq(torc_stream_open(s, fds[0]), 0);
	check_eq(torc_op_begin(&op, &sqe), 0);
	io_uring_prep_send(sqe, fds[1], data, len, 0);
	check_eq(torc_op_wait(&op), len);
	check_eq(torc_stream_peek(s, &in), 1);
	*ret_peer = fds[1];
	return 0;
}

/* Twice the first of `count` that it has. */
static int give_twice_of(unsigned count)
{
	static char data[2 * TORC__BUFFER_BYTES];
	struct torc_stream s;
	int peer;

	open_pair(&s, data, count * TORC__BUFFER_BYTES, &peer);
	while (s.rx_count < count)
		check_eq(torc_sleep(1000), 0);
	torc__buffer_give(s.buffers, s.rx_first);
	torc_stream_consume(&s, TORC__BUFFER_BYTES);
	return torc_sleep(1000);
}

static int give_twice(void *arg)
{
	(void)arg;
	return give_twice_of(2);
}

static int give_too_many(void *arg)
{
	(void)arg;
	return give_twice_of(1);
}

static int keep_one(void *arg)
{
	struct torc_stream s;
	char data[10] = "";
	int peer;

	(void)arg;
	open_pair(&s, data, sizeof(data), &peer);
	s.rx_count = 0; /* it forgets what it has */
	check_eq(torc_stream_close(&s), 0);
	torc_sys_close(peer);
	return torc_sleep(1000);
}

static int write_after_giving(void *arg)
{
	static char data[8 * TORC__BUFFER_BYTES];
	struct torc_stream s;
	struct torc_slice in;
	char *kept;
	int peer;

	(void)arg;
	open_pair(&s, data, sizeof(data), &peer);
	check_eq(torc_stream_peek(&s, &in), 1);
	kept = (char *)(uintptr_t)in.data;
	torc_stream_consume(&s, in.len);
	check_eq(torc_sleep(1000), 0);
	kept[100] = 'x';
	while (torc_stream_peek(&s, &in) == 1) /* until it is its turn again */
		torc_stream_consume(&s, in.len);
	return 0;
}

static int run_on_sim(void *fn)
{
	struct torc_options o = { .recv_buffers = 8 };

	check_eq(torc_sim_new(NULL, &o.sim), 0);
	return torc_run(&o, (torc_fn *)fn, NULL) != 0;
}

static void expect_failure(torc_fn *fn, const char *what)
{
	struct died d = in_child(run_on_sim, (void *)(uintptr_t)fn);

	cr_assert_eq(d.signal, SIGABRT, "%s: status %d, %s", what, d.status, d.text);
	cr_assert(strstr(d.text, what), "expected \"%s\", got: %s", what, d.text);
}

Test(io_sim, broken_rules_of_provided_buffers_end_the_run)
{
	expect_failure(give_twice, "a provided buffer was given back twice");
	expect_failure(give_too_many, "more provided buffers were given than the ring has entries");
	expect_failure(keep_one, "a provided buffer was never given back");
	expect_failure(write_after_giving,
		       "a provided buffer was written after it had been given back");
}

/* --- what it does not have --- */

static int send_without_a_copy(void *arg)
{
	int fds[2];

	(void)arg;
	check_eq(torc_sys_socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	return torc_send_zc(fds[0], "x", 1, 0);
}

static int send_a_message_without_a_copy(void *arg)
{
	char byte = 'x';
	struct iovec iov = { &byte, 1 };
	const struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	int fds[2];

	(void)arg;
	check_eq(torc_sys_socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	return torc_sendmsg_zc(fds[0], &message, 0);
}

Test(io_sim, sends_without_a_copy_end_the_run)
{
	const char *what = "an operation that the simulator does not know";

	expect_failure(send_without_a_copy, what);
	expect_failure(send_a_message_without_a_copy, what);
}

/* By memory there: nothing is refused, however long it is. */
static int send_a_file(void *arg)
{
	static char data[100 << 10], back[100 << 10];
	int fds[2], file = torc_open("/file", O_RDWR | O_CREAT, 0600);
	off_t sent = 0;

	(void)arg;
	check_ge(file, 0);
	memset(data, 'x', sizeof(data));
	check_eq(torc_pwrite_all(file, data, sizeof(data), 0), 0);
	check_eq(torc_sys_socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	while (sent < (off_t)sizeof(data)) {
		size_t left = sizeof(data) - (size_t)sent;
		int n = torc_sendfile(fds[0], file, sent, left < 20000 ? left : 20000), got = 0;

		check_ge(n, 1);
		while (got < n) {
			int r = torc_recv(fds[1], back + sent + got, (size_t)(n - got), 0);

			check_ge(r, 1);
			got += r;
		}
		sent += n;
	}
	check_eq(torc_sendfile(fds[0], file, sent, SIZE_MAX), 0);
	check(!memcmp(data, back, sizeof(data)));
	check_eq(torc_close_wait(file), 0);
	torc_close(fds[0]);
	torc_close(fds[1]);
	return 0;
}

Test(io_sim, files_are_sent_to_sockets)
{
	struct torc_options o = { .recv_buffers = 8 };

	check_eq(torc_sim_new(NULL, &o.sim), 0);
	check_eq(torc_run(&o, send_a_file, NULL), 0);
	torc_sim_free(o.sim);
}
