/*
 * Streams over pipes, files and terminals.
 */
#include "tests/io/pump.h"

#include <pty.h>
#include <sys/eventfd.h>
#include <termios.h>

#include <torc/core/fiber.h>
#include <torc/core/sys.h>

TestSuite(stream_fd, .timeout = 60);

static const struct torc_options few_buffers = { .recv_buffers = 8 };

static void run_with_and_without_buffers(torc_fn *fn)
{
	run(fn, NULL);
	check_eq(run_with(&few_buffers, fn, NULL), 0);
	setenv("TORC_DISABLE", "defer_taskrun,registered_ring,cqe_skip", 1);
	check_eq(run_with(&few_buffers, fn, NULL), 0);
	unsetenv("TORC_DISABLE");
}

static void new_pipe(int fd[2])
{
	check_eq(pipe2(fd, O_CLOEXEC), 0);
}

/* An unlinked file. */
static int temporary_file(void)
{
	char path[] = "/tmp/torc-stream-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);

	check_ge(fd, 0);
	check_eq(unlink(path), 0);
	return fd;
}

static void write_plainly(int fd, const void *data, size_t len)
{
	check_eq(write(fd, data, len), len);
}

/* Streams over both ends of a pipe. */
static void open_pipe(struct torc_stream *rx, struct torc_stream *tx)
{
	int fd[2];

	new_pipe(fd);
	check_eq(torc_stream_open_fds(rx, fd[0], -1), 0);
	check_eq(torc_stream_open_fds(tx, -1, fd[1]), 0);
}

/* --- pipes --- */

static int pump_read(void *arg)
{
	struct pump *p = arg;
	struct torc_slice in;
	uint64_t at = 0;
	int r;

	while ((r = torc_stream_peek(p->s, &in)) > 0) {
		size_t n = 1 + next_random(&p->seed) % in.len;

		check(same_bytes(in.data, n, p->name, at));
		torc_stream_consume(p->s, n);
		at += n;
		if (!(next_random(&p->seed) % 8))
			check_eq(torc_yield(), 0);
	}
	check_eq(r, 0);
	check_eq(at, p->total);
	return 0;
}

static int bulk(void *arg)
{
	static const uint32_t most[] = { 1, 100, 5000, 16383, 16384, 200000 };

	(void)arg;
	for (size_t i = 0; i < COUNT(most); i++) {
		struct torc_stream rx, tx;
		struct pump in = { &rx, i, 0, 5, 0 }, out = { &tx, i, 0, 5, most[i] };
		struct torc_group g;

		in.total = out.total = most[i] == 1 ? 20000 : 1500000;
		open_pipe(&rx, &tx);
		torc_group_enter(&g);
		check_eq(torc_group_spawn(&g, pump_write, &out), 0);
		check_eq(torc_group_spawn(&g, pump_read, &in), 0);
		check_eq(torc_group_wait(&g), 0);
		check_eq(torc_stream_close(&tx), 0);
		check_eq(torc_stream_close(&rx), 0);
	}
	return 0;
}

Test(stream_fd, bytes_of_any_size_pass_through_a_pipe)
{
	run_with_and_without_buffers(bulk);
}

/* Each end that is seen may have taken a shared buffer from the kernel's ring. */
static int many_ends(void *arg)
{
	enum { PIPES = 40 };
	struct torc_slice in;

	(void)arg;
	for (int i = 0; i < PIPES; i++) {
		struct torc_stream rx;
		int fd[2];

		new_pipe(fd);
		check_eq(torc_stream_open_fds(&rx, fd[0], -1), 0);
		if (i % 2 == 0) {
			write_plainly(fd[1], "abc", 3);
			check_eq(torc_stream_peek(&rx, &in), 1);
			check(same_text(in, "abc"));
			check_eq(rx.rx_count, 1); /* in a shared buffer: none is lost to an end */
			torc_stream_consume(&rx, 3);
		}
		close(fd[1]);
		check_eq(torc_stream_peek(&rx, &in), 0);
		check_eq(torc_stream_peek(&rx, &in), 0);
		check_eq(torc_stream_close(&rx), 0);
	}
	return 0;
}

Test(stream_fd, the_end_of_a_pipe_costs_no_shared_buffer)
{
	run_with_and_without_buffers(many_ends);
}

static int no_reader(void *arg)
{
	static char large[100000];
	struct torc_stream tx;
	int fd[2];

	(void)arg;
	for (int i = 0; i < 2; i++) {
		new_pipe(fd);
		close(fd[0]);
		check_eq(torc_stream_open_fds(&tx, -1, fd[1]), 0);
		if (i) {
			check_eq(torc_stream_write(&tx, large, sizeof(large)), -EPIPE);
		} else {
			check_eq(torc_stream_write(&tx, "abc", 3), 0); /* at the end of the turn */
			check_eq(torc_stream_flush(&tx), -EPIPE);
		}
		check_eq(torc_stream_write(&tx, "abc", 3), -EPIPE);
		check_eq(torc_stream_write(&tx, large, sizeof(large)), -EPIPE);
		check_eq(torc_stream_shutdown(&tx), -EPIPE);
		check_eq(torc_stream_close(&tx), -EPIPE);
	}
	return 0;
}

Test(stream_fd, writing_to_a_pipe_that_nobody_reads_is_epipe_and_sticks)
{
	run_with_and_without_buffers(no_reader);
}

/* Whose reader leaves while the writer waits. */
static int reader_leaves(void *arg)
{
	static char large[200000];
	struct torc_stream rx;

	(void)arg;
	check_eq(torc_stream_open_fds(&rx, *(int *)arg, -1), 0);
	check_eq(torc_stream_read_exact(&rx, large, 1000), 0);
	return torc_stream_close(&rx);
}

static int writer_waits(void *arg)
{
	static char large[300000];
	size_t part = *(size_t *)arg;

	for (int i = 0; i < 2; i++) {
		struct torc_stream tx;
		struct torc_group g;
		int fd[2], r = 0;

		new_pipe(fd);
		check_eq(torc_stream_open_fds(&tx, -1, fd[1]), 0);
		torc_group_enter(&g);
		check_eq(torc_group_spawn(&g, reader_leaves, &fd[0]), 0);
		while (!r)
			r = torc_stream_write(&tx, large, part);
		check_eq(r, -EPIPE);
		check_eq(torc_group_wait(&g), 0);
		check_eq(torc_stream_close(&tx), -EPIPE);
	}
	return 0;
}

Test(stream_fd, a_writer_that_waits_learns_that_the_reader_has_left)
{
	size_t parts[] = { 1000, 16383, 16384, sizeof(char[300000]) };

	for (size_t i = 0; i < COUNT(parts); i++)
		run(writer_waits, &parts[i]);
}

/* --- descriptors of other kinds --- */

static int one_direction(void *arg)
{
	struct torc_stream rx, tx, none;
	struct torc_slice in;
	char c;

	(void)arg;
	open_pipe(&rx, &tx);
	check_eq(torc_stream_write(&rx, "a", 1), -EBADF);
	check_eq(torc_stream_write(&rx, NULL, 0), -EBADF);
	check_eq(torc_stream_flush(&rx), -EBADF);
	check_eq(torc_stream_shutdown(&rx), -EBADF);
	check_eq(torc_stream_peek(&tx, &in), -EBADF);
	check_eq(torc_stream_fill(&tx, 1, &in), -EBADF);
	check_eq(torc_stream_read(&tx, &c, 1), -EBADF);
	check_eq(torc_stream_read_line(&tx, 10, &in), -EBADF);
	check_eq(torc_stream_copy(&rx, &tx, 10, NULL), -EBADF);
	check_eq(torc_stream_write(&tx, "a", 1), 0); /* and what there is works on */
	check_eq(torc_stream_flush(&tx), 0);
	check_eq(torc_stream_read(&rx, &c, 1), 1);
	check_eq(torc_stream_close(&tx), 0);
	check_eq(torc_stream_close(&rx), 0); /* nothing was lost */
	check_eq(torc_stream_open_fds(&none, -1, -1), 0);
	check_eq(torc_stream_peek(&none, &in), -EBADF);
	check_eq(torc_stream_write(&none, "a", 1), -EBADF);
	check_eq(torc_stream_close(&none), 0);
	/* a descriptor that is not open is found out in use */
	check_eq(torc_stream_open_fds(&none, 4000, -1), 0);
	check_eq(torc_stream_peek(&none, &in), -EBADF);
	none.fd = -1; /* not ours to close */
	check_eq(torc_stream_close(&none), 0);
	return 0;
}

Test(stream_fd, a_direction_without_a_descriptor_is_ebadf)
{
	run_with_and_without_buffers(one_direction);
}

static int read_file(void *arg)
{
	static const size_t sizes[] = { 0, 1, 4095, 4096, 65535, 65536, 65537, 400000 };

	(void)arg;
	for (size_t i = 0; i < COUNT(sizes); i++) {
		char *data = malloc(sizes[i] + 1);
		struct torc_stream s;
		struct pump all = { &s, i, sizes[i], 5, 0 };
		int fd = temporary_file();

		fill_bytes(data, sizes[i], 5, 0);
		write_plainly(fd, data, sizes[i]);
		check_eq(lseek(fd, 0, SEEK_SET), 0);
		check_eq(torc_stream_open_fds(&s, fd, -1), 0);
		check_eq(pump_read(&all), 0);
		/* it has grown, but the end stays */
		write_plainly(fd, "more", 4);
		check_eq(torc_stream_read(&s, data, 1), 0);
		check_eq(torc_stream_close(&s), 0);
		free(data);
	}
	return 0;
}

Test(stream_fd, a_file_is_read_from_its_position_to_its_end)
{
	run_with_and_without_buffers(read_file);
}

static int fill_file(void *arg)
{
	char *data = malloc(1500000);
	struct torc_stream s;
	struct torc_slice in;
	int fd = temporary_file();

	(void)arg;
	fill_bytes(data, 1500000, 5, 0);
	write_plainly(fd, data, 1500000);
	free(data);
	check_eq(lseek(fd, 0, SEEK_SET), 0);
	check_eq(torc_stream_open_fds(&s, fd, -1), 0);
	check_eq(torc_stream_fill(&s, 100001, &in), 1);
	check_ge(in.len, 100001);
	check(same_bytes(in.data, in.len, 5, 0));
	torc_stream_consume(&s, 100000);
	check_eq(torc_stream_fill(&s, TORC_STREAM_VIEW_MAX, &in), 1);
	check(same_bytes(in.data, in.len, 5, 100000));
	torc_stream_consume(&s, 1);
	check_eq(torc_stream_fill(&s, TORC_STREAM_VIEW_MAX, &in), 1);
	torc_stream_consume(&s, TORC_STREAM_VIEW_MAX - 1);
	check_eq(torc_stream_fill(&s, TORC_STREAM_VIEW_MAX, &in), 0);
	check_eq(in.len, 1500000 - 100000 - TORC_STREAM_VIEW_MAX);
	check(same_bytes(in.data, in.len, 5, 100000 + TORC_STREAM_VIEW_MAX));
	check_eq(torc_stream_close(&s), 0);
	return 0;
}

Test(stream_fd, fill_sees_a_file_in_one_piece)
{
	run_with_and_without_buffers(fill_file);
}

static int write_file(void *arg)
{
	static const size_t sizes[] = { 1, 5000, 16383, 16384, 100, 200000, 7 };
	static char data[300000];
	struct torc_stream s;
	size_t at = 0;
	int fd = temporary_file(), kept = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	(void)arg;
	check_eq(torc_stream_open_fds(&s, -1, fd), 0);
	for (size_t i = 0; i < COUNT(sizes); i++) {
		fill_bytes(data, sizes[i], 5, at);
		check_eq(torc_stream_write(&s, data, sizes[i]), 0);
		at += sizes[i];
	}
	check_eq(torc_stream_shutdown(&s), 0);
	check_eq(torc_stream_write(&s, "x", 1), -EPIPE);
	check_eq(torc_stream_close(&s), 0);
	check_eq(pread(kept, data, sizeof(data), 0), at);
	check(same_bytes(data, at, 5, 0));
	close(kept);
	return 0;
}

Test(stream_fd, what_is_written_to_a_file_is_there_in_order)
{
	run_with_and_without_buffers(write_file);
}

static int failing_files(void *arg)
{
	static char large[100000];
	struct torc_stream s;
	struct torc_slice in;

	(void)arg;
	check_eq(torc_stream_open_fds(&s, -1, open("/dev/full", O_WRONLY | O_CLOEXEC)), 0);
	check_eq(torc_stream_write(&s, "abc", 3), 0);
	check_eq(torc_stream_flush(&s), -ENOSPC);
	check_eq(torc_stream_write(&s, large, sizeof(large)), -ENOSPC);
	check_eq(torc_stream_close(&s), -ENOSPC);
	check_eq(torc_stream_open_fds(&s, -1, open("/dev/full", O_WRONLY | O_CLOEXEC)), 0);
	check_eq(torc_stream_write(&s, large, sizeof(large)), -ENOSPC);
	check_eq(torc_stream_write(&s, "abc", 3), -ENOSPC);
	check_eq(torc_stream_close(&s), -ENOSPC);
	/* lost in the close */
	check_eq(torc_stream_open_fds(&s, -1, open("/dev/full", O_WRONLY | O_CLOEXEC)), 0);
	check_eq(torc_stream_write(&s, "abc", 3), 0);
	check_eq(torc_stream_close(&s), -ENOSPC);
	check_eq(torc_stream_open_fds(&s, open("/tmp", O_RDONLY | O_CLOEXEC), -1), 0);
	check_eq(torc_stream_peek(&s, &in), -EISDIR);
	check_eq(torc_stream_peek(&s, &in), -EISDIR);
	check_eq(torc_stream_close(&s), 0);
	check_eq(torc_stream_open_fds(&s, open("/dev/null", O_RDONLY | O_CLOEXEC), -1), 0);
	check_eq(torc_stream_peek(&s, &in), 0);
	check_eq(torc_stream_close(&s), 0);
	check_eq(torc_stream_open_fds(&s, open("/dev/zero", O_RDONLY | O_CLOEXEC), -1), 0);
	check_eq(torc_stream_fill(&s, 300000, &in), 1);
	check(!in.data[0] && !memcmp(in.data, in.data + 1, in.len - 1));
	check_eq(torc_stream_close(&s), 0);
	return 0;
}

Test(stream_fd, what_a_file_fails_with_is_told_and_sticks)
{
	run_with_and_without_buffers(failing_files);
}

static int too_large(void *arg)
{
	static char data[50000];
	struct torc_stream s;
	int fd = temporary_file(), kept = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	size_t part = *(size_t *)arg;
	int r = 0;

	check_eq(torc_stream_open_fds(&s, -1, fd), 0);
	for (size_t at = 0; !r && at < 1000000; at += part) {
		fill_bytes(data, part, 5, at);
		r = torc_stream_write(&s, data, part);
		if (!r)
			r = torc_stream_flush(&s);
	}
	check_eq(r, -EFBIG);
	check_eq(torc_stream_close(&s), -EFBIG);
	check_eq(lseek(kept, 0, SEEK_END), 70001);
	close(kept);
	return 0;
}

Test(stream_fd, a_file_beyond_its_limit_is_efbig)
{
	const struct rlimit limit = { 70001, 70001 };
	size_t parts[] = { 1000, 50000 };

	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	for (size_t i = 0; i < COUNT(parts); i++)
		run(too_large, &parts[i]);
}

static int sockets_and_counters(void *arg)
{
	struct torc_stream s, c;
	uint64_t value = 7;
	int fd[2];
	char buf[4];

	(void)arg;
	/* as standard input and output of a program that inetd starts: two descriptors of one socket */
	unix_pair(fd);
	check_eq(torc_stream_open_fds(&s, fd[0], fcntl(fd[0], F_DUPFD_CLOEXEC, 3)), 0);
	check_eq(torc_stream_write(&s, "ping", 4), 0);
	check_eq(torc_stream_flush(&s), 0);
	check_eq(recv(fd[1], buf, 4, 0), 4);
	send_text(fd[1], "pong");
	check_eq(torc_stream_read_exact(&s, buf, 4), 0);
	check(!memcmp(buf, "pong", 4));
	close(fd[1]);
	check_eq(torc_stream_read(&s, buf, 4), 0);
	check_eq(torc_stream_write(&s, "ping", 4), 0);
	check_eq(torc_stream_close(&s), -EPIPE); /* and no SIGPIPE */
	check_eq(torc_stream_open_fds(&c, eventfd(0, EFD_CLOEXEC), -1), 0);
	check_eq(torc_sys_write(c.fd, &value, sizeof(value)), sizeof(value));
	value = 0;
	check_eq(torc_stream_read_exact(&c, &value, sizeof(value)), 0);
	check_eq(value, 7);
	check_eq(torc_stream_close(&c), 0);
	return 0;
}

Test(stream_fd, whatever_is_read_and_written_will_do)
{
	run_with_and_without_buffers(sockets_and_counters);
}

/* --- half-close --- */

static int half_close(void *arg)
{
	struct torc_stream a, b;
	int there[2], back[2];
	char buf[10];

	(void)arg;
	new_pipe(there);
	new_pipe(back);
	check_eq(torc_stream_open_fds(&a, back[0], there[1]), 0);
	check_eq(torc_stream_open_fds(&b, there[0], back[1]), 0);
	check_eq(torc_stream_write(&a, "question", 8), 0);
	check_eq(torc_stream_shutdown(&a), 0);
	check_eq(torc_stream_read_exact(&b, buf, 8), 0);
	check_eq(torc_stream_read(&b, buf, 10), 0);
	check_eq(torc_stream_write(&b, "answer", 6), 0);
	check_eq(torc_stream_close(&b), 0);
	check_eq(torc_stream_read_exact(&a, buf, 6), 0);
	check(!memcmp(buf, "answer", 6));
	check_eq(torc_stream_read(&a, buf, 10), 0);
	check_eq(torc_stream_close(&a), 0);
	return 0;
}

Test(stream_fd, shutdown_closes_the_descriptor_to_write_to)
{
	run_with_and_without_buffers(half_close);
}

/* --- terminals --- */

static void open_terminal(int *ret_master, int *ret_slave)
{
	struct termios t;

	check_eq(openpty(ret_master, ret_slave, NULL, NULL, NULL), 0);
	check_eq(tcgetattr(*ret_slave, &t), 0);
	t.c_lflag &= ~(tcflag_t)ECHO;
	t.c_oflag &= ~(tcflag_t)OPOST;
	check_eq(tcsetattr(*ret_slave, TCSANOW, &t), 0);
}

static int terminal(void *arg)
{
	struct torc_stream s;
	struct torc_slice line;
	struct torc_scope t;
	int master, slave;
	char buf[8];

	for (int i = 0; i < 3; i++) {
		open_terminal(&master, &slave);
		check_eq(fcntl(slave, F_SETFL, O_RDWR | (arg ? O_NONBLOCK : 0)), 0);
		check_eq(torc_stream_open_fds(&s, slave, slave), 0);
		torc_scope_enter(&t, TORC_MS(2));
		check_eq(torc_stream_read_line(&s, 100, &line), -ETIMEDOUT);
		torc_scope_leave(&t);
		write_plainly(master, "hello\nwor", 9);
		check_eq(torc_stream_read_line(&s, 100, &line), 1);
		check(same_text(line, "hello"));
		write_plainly(master, "ld\n", 3);
		check_eq(torc_stream_read_line(&s, 100, &line), 1);
		check(same_text(line, "world"));
		check_eq(torc_stream_write(&s, "answer", 6), 0);
		check_eq(torc_stream_flush(&s), 0);
		check_eq(read(master, buf, 8), 6);
		if (i == 0) {
			write_plainly(master, "\4", 1); /* Ctrl-D */
			check_eq(torc_stream_read_line(&s, 100, &line), 0);
			check_eq(torc_stream_read_line(&s, 100, &line), 0);
		} else if (i == 1) {
			torc_scope_enter(&t, TORC_MS(2));
			check_eq(torc_stream_read_line(&s, 100, &line), -ETIMEDOUT);
			torc_scope_leave(&t);
		}
		close(master); /* it hangs up, while a read may be waiting */
		if (i)
			check_le(torc_stream_read_line(&s, 100, &line), 0);
		check_eq(torc_stream_close(&s), 0);
	}
	return 0;
}

Test(stream_fd, a_terminal_shows_its_lines_and_its_end)
{
	run(terminal, NULL);
	run(terminal, (void *)"nonblocking");
}

/* --- cancellation --- */

static int cancelled_reads(void *arg)
{
	struct torc_stream rx, tx;
	struct torc_scope t;
	struct torc_slice in;
	char buf[8];

	(void)arg;
	open_pipe(&rx, &tx);
	torc_scope_enter(&t, TORC_NEVER);
	torc_scope_cancel(&t);
	check_eq(torc_stream_peek(&rx, &in), -ECANCELED);
	check_eq(torc_stream_read_line(&rx, 10, &in), -ECANCELED);
	check_eq(torc_stream_write(&tx, "abc", 3), -ECANCELED);
	check_eq(torc_stream_flush(&tx), -ECANCELED);
	check_eq(torc_stream_shutdown(&tx), -ECANCELED);
	torc_scope_leave(&t);
	for (int i = 0; i < 20; i++) {
		torc_scope_enter(&t, i % 2 ? TORC_MS(1) : 0);
		check_eq(torc_stream_peek(&rx, &in), -ETIMEDOUT);
		check_eq(torc_stream_fill(&rx, 5, &in), -ETIMEDOUT);
		torc_scope_leave(&t);
		check_eq(torc_stream_write(&tx, "abcde", 5), 0);
		check_eq(torc_stream_flush(&tx), 0);
		check_eq(torc_stream_read_exact(&rx, buf, 5), 0);
		check(!memcmp(buf, "abcde", 5));
	}
	/* closed while the kernel reads */
	torc_scope_enter(&t, TORC_MS(1));
	check_eq(torc_stream_peek(&rx, &in), -ETIMEDOUT);
	check_eq(torc_stream_close(&rx), 0);
	torc_scope_leave(&t);
	check_eq(torc_stream_close(&tx), 0);
	return 0;
}

Test(stream_fd, a_cancelled_read_loses_nothing)
{
	run_with_and_without_buffers(cancelled_reads);
}

static int cancelled_writes(void *arg)
{
	static char data[300000];
	struct torc_stream rx, tx;
	struct torc_scope t;
	size_t taken = 0, got = 0;
	int r = 0;

	(void)arg;
	/* in small parts: each was taken wholly, or not at all */
	open_pipe(&rx, &tx);
	torc_scope_enter(&t, TORC_MS(5));
	while (!r) {
		fill_bytes(data, 1000, 5, taken);
		r = torc_stream_write(&tx, data, 1000);
		taken += r ? 0 : 1000;
	}
	check_eq(r, -ETIMEDOUT);
	check_eq(torc_stream_flush(&tx), -ETIMEDOUT);
	torc_scope_leave(&t);
	while (got < taken - 50000) {
		check_eq(torc_stream_read_exact(&rx, data, 1000), 0);
		check(same_bytes(data, 1000, 5, got));
		got += 1000;
	}
	check_eq(torc_stream_write(&tx, "end", 3), 0);
	while (got < taken) {
		check_eq(torc_stream_read_exact(&rx, data, 1000), 0);
		check(same_bytes(data, 1000, 5, got));
		got += 1000;
	}
	check_eq(torc_stream_read_exact(&rx, data, 3), 0);
	check(!memcmp(data, "end", 3));
	/* in one: an unknown part, and nothing after it */
	torc_scope_enter(&t, TORC_MS(5));
	check_eq(torc_stream_write(&tx, data, sizeof(data)), -ETIMEDOUT);
	torc_scope_leave(&t);
	check_eq(torc_stream_write(&tx, "x", 1), -EPIPE);
	check_eq(torc_stream_close(&tx), -EPIPE);
	check_eq(torc_stream_close(&rx), 0);
	/* closed while the kernel writes */
	open_pipe(&rx, &tx);
	for (int i = 0; i < 10; i++)
		check_eq(torc_stream_write(&tx, data, 12000), 0);
	torc_scope_enter(&t, TORC_MS(1));
	check_eq(torc_stream_close(&tx), -ETIMEDOUT);
	torc_scope_leave(&t);
	check_eq(torc_stream_close(&rx), 0);
	return 0;
}

Test(stream_fd, a_cancelled_write_was_taken_or_not)
{
	run_with_and_without_buffers(cancelled_writes);
}

/* --- descriptors that do not block --- */

static int nonblocking(void *arg)
{
	struct torc_stats before, after;
	struct torc_stream rx, tx;
	struct torc_slice in;
	struct torc_scope t;
	static char data[300000];

	(void)arg;
	open_pipe(&rx, &tx);
	check_eq(fcntl(rx.fd, F_SETFL, O_NONBLOCK), 0);
	check_eq(fcntl(tx.tx_fd, F_SETFL, O_NONBLOCK), 0);
	torc_stats(&before);
	torc_scope_enter(&t, TORC_MS(20));
	check_eq(torc_stream_peek(&rx, &in), -ETIMEDOUT);
	torc_scope_leave(&t);
	torc_scope_enter(&t, TORC_MS(20));
	check_eq(torc_stream_write(&tx, data, sizeof(data)), -ETIMEDOUT);
	torc_scope_leave(&t);
	torc_stats(&after);
	check_le(after.turns - before.turns, 40); /* it slept */
	check_eq(torc_stream_close(&tx), -EPIPE);
	check_eq(torc_stream_close(&rx), 0);
	return 0;
}

Test(stream_fd, a_descriptor_that_does_not_block_is_waited_for)
{
	run_with_and_without_buffers(nonblocking);
}
