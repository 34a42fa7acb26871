/* From files to sockets: torc_sendfile, and torc_stream_copy. */
#include "tests/io/run.h"

#include <limits.h>

#include "tests/io/files.h"

TestSuite(sendfile, .timeout = 60);

#define SEED 7

struct transfer {
	int fd[2], file;
	off_t offset;
	size_t len;
	struct waiting waiting;
	size_t got;
};

static int make_contents(size_t len)
{
	char *data = malloc(len + 1);
	int fd;

	check(data);
	fill_bytes(data, len, SEED, 0);
	fd = make_file("contents", data, len);
	free(data);
	return fd;
}

/* To the end, or to so many bytes. */
static int receive_main(void *arg)
{
	struct transfer *t = arg;
	char buf[8192];
	int r;

	while ((r = torc_recv(t->fd[1], buf, sizeof(buf), 0)) > 0) {
		check(same_bytes(buf, (size_t)r, SEED, (uint64_t)t->offset + t->got));
		t->got += (size_t)r;
	}
	return 0;
}

static int send_main(void *arg)
{
	struct transfer *t = arg;

	return torc_sendfile(t->fd[0], t->file, t->offset, t->len);
}

static void start_receiver(struct torc_group *g, struct transfer *t)
{
	t->waiting = (struct waiting){ .fn = receive_main, .arg = t };
	waiting_start(g, &t->waiting);
}

/* What arrives in the end is `len` bytes. */
static void check_received(struct torc_group *g, struct transfer *t, size_t len)
{
	torc_close(t->fd[0]);
	check_eq(torc_group_wait(g), 0);
	check_eq(t->got, len);
	torc_close(t->fd[1]);
}

/* --- what is sent --- */

static const size_t sizes[] = { 0, 1, 65535, 65536, 65537, 262144, 300001, 3 << 20 };

static void send_one(void (*pair)(int fd[2]), size_t size, off_t offset, size_t len)
{
	struct transfer t = { .offset = offset, .len = len, .file = make_contents(size) };
	size_t rest = (size_t)offset < size ? size - (size_t)offset : 0;
	size_t expected = len < rest ? len : rest;
	struct torc_group g;

	pair(t.fd);
	torc_group_enter(&g);
	start_receiver(&g, &t);
	check_eq(send_main(&t), expected);
	check_eq(lseek(t.file, 0, SEEK_CUR), size);
	check_received(&g, &t, expected);
	torc_close(t.file);
}

static int send_all_sizes(void *arg)
{
	(void)arg;
	for (size_t i = 0; i < COUNT(sizes); i++) {
		send_one(unix_pair, sizes[i], 0, SIZE_MAX);
		send_one(tcp_pair, sizes[i], 0, sizes[i]);
		send_one(tcp_pair, sizes[i], 4097, 100000);
		send_one(tcp_pair, sizes[i], (off_t)sizes[i], SIZE_MAX);
		send_one(tcp_pair, sizes[i], 1ll << 40, SIZE_MAX);
	}
	return 0;
}

Test(sendfile, contents_arrive_whatever_the_size)
{
	run_in_directory(send_all_sizes, NULL);
}

Test(sendfile, and_by_memory)
{
	setenv("TORC_DISABLE", "splice", 1);
	run_in_directory(send_all_sizes, NULL);
	unsetenv("TORC_DISABLE");
}

/* Also for what the cache has not. */
Test(sendfile, and_by_a_pipe)
{
	setenv("TORC_DISABLE", "sendfile", 1);
	run_in_directory(send_all_sizes, NULL);
	unsetenv("TORC_DISABLE");
}

/* All, one page or the middle of it has to come from the disk, where there is one below /tmp. */
static int send_cold(void *arg)
{
	static const struct {
		off_t at, len;
	} holes[] = { { 0, 0 }, { 0, 4096 }, { 1 << 20, 4096 }, { 2 << 20, 1 << 20 } };

	(void)arg;
	for (size_t i = 0; i < COUNT(holes); i++) {
		struct transfer t = { .file = make_contents(3 << 20), .len = 3 << 20 };
		struct torc_group g;

		check_eq(fdatasync(t.file), 0);
		check_eq(posix_fadvise(t.file, holes[i].at, holes[i].len, POSIX_FADV_DONTNEED), 0);
		tcp_pair(t.fd);
		torc_group_enter(&g);
		start_receiver(&g, &t);
		check_eq(send_main(&t), 3 << 20);
		check_received(&g, &t, 3 << 20);
		torc_close(t.file);
	}
	return 0;
}

Test(sendfile, and_from_the_disk)
{
	run_in_directory(send_cold, NULL);
}

static int without_descriptors(void *arg)
{
	struct transfer t = { .file = make_contents(500000), .len = SIZE_MAX };
	const struct rlimit none = { 0, 0 };
	struct rlimit before;
	struct torc_group g;

	(void)arg;
	tcp_pair(t.fd);
	check_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	check_eq(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ none.rlim_cur, before.rlim_max }), 0);
	torc_group_enter(&g);
	start_receiver(&g, &t);
	check_eq(send_main(&t), 500000);
	check_received(&g, &t, 500000);
	check_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	torc_close(t.file);
	return 0;
}

Test(sendfile, needs_no_descriptor)
{
	run_in_directory(without_descriptors, NULL);
}

/* O_NONBLOCK is not for the ring. */
static int used_on(void *arg)
{
	struct transfer t = { .file = make_contents(100000), .len = SIZE_MAX };
	struct torc_group g;
	char *got = malloc(100000);

	(void)arg;
	tcp_pair(t.fd);
	check_eq(send_main(&t), 100000);
	check_eq(torc_recv(t.fd[1], got, 100000, MSG_WAITALL), 100000);
	check(same_bytes(got, 100000, SEED, 0));
	free(got);
	torc_group_enter(&g);
	t.waiting = (struct waiting){ .fn = receive_main, .arg = &t };
	t.fd[1] ^= t.fd[0], t.fd[0] ^= t.fd[1], t.fd[1] ^= t.fd[0]; /* the other way round */
	waiting_start(&g, &t.waiting);
	for (int i = 0; i < 10; i++)
		torc_yield();
	check(!t.waiting.ended);
	check_eq(send_main(&t), 100000);
	check_received(&g, &t, 100000);
	torc_close(t.file);
	return 0;
}

Test(sendfile, the_socket_is_waited_for_as_before)
{
	run_in_directory(used_on, NULL);
}

/* --- failures --- */

static int errors(void *arg)
{
	struct transfer t = { .file = make_contents(100000), .len = 100000 };
	int directory = open(".", O_RDONLY | O_CLOEXEC), pipe[2], other;

	(void)arg;
	tcp_pair(t.fd);
	check_eq(pipe2(pipe, O_CLOEXEC), 0);
	check_eq(torc_sendfile(-1, t.file, 0, t.len), -EBADF);
	check_eq(torc_sendfile(t.fd[0], -1, 0, t.len), -EBADF);
	check_eq(torc_sendfile(t.fd[0], -1, 0, 10), -EBADF);
	check_eq(torc_sendfile(t.fd[0], t.file, -1, t.len), -EINVAL);
	check_eq(torc_sendfile(t.fd[0], t.file, 0, 0), 0);
	check_eq(torc_sendfile(t.fd[0], directory, 0, t.len), -EISDIR);
	check_eq(torc_sendfile(t.fd[0], pipe[0], 0, t.len), -ESPIPE);
	other = make_file("other", "", 0);
	check_eq(torc_sendfile(other, t.file, 0, t.len), -ENOTSOCK);
	check(file_is("other", ""));
	check_cancelled(torc_sendfile(t.fd[0], t.file, 0, t.len));
	check_eq(recv(t.fd[1], &(char){ 0 }, 1, MSG_DONTWAIT), -1);
	check_eq(shutdown(t.fd[0], SHUT_WR), 0);
	check_eq(torc_sendfile(t.fd[0], t.file, 0, t.len), -EPIPE);
	check_eq(torc_sendfile(t.fd[0], t.file, 0, 10), -EPIPE);
	close(directory);
	close(other);
	close(pipe[0]);
	close(pipe[1]);
	torc_close(t.fd[0]);
	torc_close(t.fd[1]);
	torc_close(t.file);
	return 0;
}

Test(sendfile, reports_errors_without_sigpipe)
{
	run_in_directory(errors, NULL);
}

static int reset_between(void *arg)
{
	struct transfer t = { .file = make_contents(16 << 20), .len = SIZE_MAX };
	struct torc_group g;
	int r;

	(void)arg;
	tcp_pair(t.fd);
	torc_group_enter(&g);
	t.waiting = (struct waiting){ .fn = send_main, .arg = &t };
	waiting_start(&g, &t.waiting);
	for (int i = 0; i < 200; i++)
		torc_yield();
	reset_peer(t.fd[1]);
	check_eq(torc_group_wait(&g), 0);
	r = t.waiting.result;
	if (r < 0)
		check(r == -ECONNRESET || r == -EPIPE);
	else
		check_lt(r, 16 << 20);
	check_eq(send_main(&t), -EPIPE);
	torc_close(t.fd[0]);
	torc_close(t.file);
	return 0;
}

Test(sendfile, a_peer_that_resets_ends_it)
{
	run_in_directory(reset_between, NULL);
}

/* --- cancellation --- */

/* Whatever the moment: what it says is what arrives, and it can be gone on with. */
static int cancelled_any_time(void *arg)
{
	int file = make_contents(2 << 20);

	(void)arg;
	for (int turns = 0; turns < 60; turns++) {
		struct transfer t = { .file = file, .len = SIZE_MAX }, rx;
		struct torc_group g;
		int sent;

		tcp_pair(t.fd);
		rx = t;
		torc_group_enter(&g);
		if (turns % 2) /* or nobody reads */
			start_receiver(&g, &rx);
		sent = cancelled_after(turns, send_main, &t, NULL);
		if (!(turns % 2))
			start_receiver(&g, &rx);
		if (sent < 0)
			check_eq(sent, -ECANCELED);
		t.offset = sent > 0 ? sent : 0;
		check_eq(send_main(&t), (2 << 20) - t.offset);
		check_received(&g, &rx, 2 << 20);
	}
	torc_close(file);
	return 0;
}

Test(sendfile, cut_short_at_any_time_it_says_what_was_sent)
{
	run_in_directory(cancelled_any_time, NULL);
}

Test(sendfile, and_so_by_a_pipe)
{
	setenv("TORC_DISABLE", "sendfile", 1);
	run_in_directory(cancelled_any_time, NULL);
	unsetenv("TORC_DISABLE");
}

Test(sendfile, and_so_by_memory)
{
	setenv("TORC_DISABLE", "splice", 1);
	run_in_directory(cancelled_any_time, NULL);
	unsetenv("TORC_DISABLE");
}

/* --- streams --- */

static void copy_one(size_t size, uint64_t most, off_t position)
{
	struct transfer t = { .file = make_contents(size), .offset = position };
	size_t rest = (size_t)position < size ? size - (size_t)position : 0;
	size_t expected = rest < most ? rest : (size_t)most;
	struct torc_stream from, to;
	struct torc_group g;
	uint64_t copied;

	tcp_pair(t.fd);
	check_eq(lseek(t.file, position, SEEK_SET), position);
	check_eq(torc_stream_open(&to, t.fd[0]), 0);
	check_eq(torc_stream_open_fds(&from, t.file, -1), 0);
	torc_group_enter(&g);
	start_receiver(&g, &t);
	check_eq(torc_stream_copy(&to, &from, most, &copied), 0);
	check_eq(copied, expected);
	check_eq(torc_stream_copy(&to, &from, UINT64_MAX, &copied), 0);
	check_eq(copied, rest - expected);
	check_eq(torc_stream_close(&from), 0);
	check_eq(torc_stream_close(&to), 0);
	check_eq(torc_group_wait(&g), 0);
	check_eq(t.got, rest);
	torc_close(t.fd[1]);
}

static int copy_all_sizes(void *arg)
{
	(void)arg;
	for (size_t i = 0; i < COUNT(sizes); i++) {
		copy_one(sizes[i], UINT64_MAX, 0);
		copy_one(sizes[i], 70000, 0);
		copy_one(sizes[i], UINT64_MAX, 5000);
	}
	return 0;
}

Test(sendfile, a_stream_over_a_file_is_copied_to_a_socket)
{
	run_in_directory(copy_all_sizes, NULL);
}

static int copy_to_nobody(void *arg)
{
	struct transfer t = { .file = make_contents(16 << 20) };
	struct torc_stream from, to;
	struct torc_scope scope;
	uint64_t copied;

	(void)arg;
	check_eq(lseek(t.file, 0, SEEK_SET), 0);
	tcp_pair(t.fd);
	check_eq(torc_stream_open(&to, t.fd[0]), 0);
	check_eq(torc_stream_open_fds(&from, t.file, -1), 0);
	torc_scope_enter(&scope, TORC_MS(100));
	check_eq(torc_stream_copy(&to, &from, UINT64_MAX, &copied), -ETIMEDOUT);
	check_eq(torc_scope_leave(&scope), -ETIMEDOUT);
	check_eq(copied, lseek(t.file, 0, SEEK_CUR));
	check_lt(copied, 16 << 20);
	check_eq(torc_stream_write(&to, "x", 1), -EPIPE);
	torc_stream_close(&from);
	torc_stream_close(&to);
	torc_close(t.fd[1]);
	return 0;
}

Test(sendfile, a_copy_to_a_peer_that_takes_nothing_ends_with_the_scope)
{
	run_in_directory(copy_to_nobody, NULL);
}
