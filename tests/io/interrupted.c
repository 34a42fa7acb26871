/*
 * What a signal interrupts is made again: -EINTR never escapes, from no operation of no call. Each of a few programs is run again and
 * again, and each time another one of its operations is interrupted.
 */
#include "tests/io/child.h"

#include <sys/inotify.h>

#include <torc/io/contents.h>
#include <torc/io/datagram.h>
#include <torc/io/signal.h>
#include <torc/io/watch.h>

#include "tests/io/files.h"
#include "tests/io/forge.h"

TestSuite(interrupted, .timeout = 60);

#define LONG_LEN (200 << 10)

#define TRANSFERS                                                                           \
	(FORGE_BIT(RECV) | FORGE_BIT(SEND) | FORGE_BIT(RECVMSG) | FORGE_BIT(SENDMSG) |      \
	 FORGE_BIT(READ) | FORGE_BIT(WRITE) | FORGE_BIT(READV) | FORGE_BIT(WRITEV) |        \
	 FORGE_BIT(ACCEPT) | FORGE_BIT(CONNECT) | FORGE_BIT(POLL_ADD) | FORGE_BIT(SPLICE) | \
	 FORGE_BIT(OPENAT) | FORGE_BIT(FSYNC) | FORGE_BIT(STATX))

static char data[LONG_LEN], back[LONG_LEN];

/* --- programs --- */

struct copy_back {
	struct torc_stream *s;
	size_t len;
};

static int echo_back(void *arg)
{
	const struct copy_back *c = arg;

	check_eq(torc_stream_copy(c->s, c->s, c->len, NULL), 0);
	return 0;
}

static int write_long(void *arg)
{
	check_eq(torc_stream_write(arg, data, LONG_LEN), 0);
	return 0;
}

/* There and back between two streams, of any kind. */
static void echo_between(struct torc_stream *a, struct torc_stream *b)
{
	struct copy_back c = { b, 5 };
	struct torc_group g;

	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, echo_back, &c), 0);
	check_eq(torc_stream_write(a, "hello", 5), 0);
	check_eq(torc_stream_read_exact(a, back, 5), 0);
	check(!memcmp(back, "hello", 5));
	check_eq(torc_group_wait(&g), 0);
	c.len = LONG_LEN;
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, echo_back, &c), 0);
	check_eq(torc_group_spawn(&g, write_long, a), 0);
	check_eq(torc_stream_read_exact(a, back, LONG_LEN), 0);
	check(!memcmp(back, data, LONG_LEN));
	check_eq(torc_group_wait(&g), 0);
	check_eq(torc_stream_close(a), 0);
	check_eq(torc_stream_read(b, back, 1), 0);
	check_eq(torc_stream_close(b), 0);
}

static void connections(void)
{
	struct torc_stream a, b;
	struct torc_listener l;
	int fd;

	check_eq(torc_listen(&l, "127.0.0.1:0", NULL), 0);
	fd = torc_dial(l.address);
	check_ge(fd, 0);
	check_eq(torc_stream_open(&a, fd), 0);
	fd = torc_accept(&l);
	check_ge(fd, 0);
	check_eq(torc_stream_open(&b, fd), 0);
	echo_between(&a, &b);
	torc_listener_close(&l);
}

static void pipes(void)
{
	struct torc_stream a, b;
	int there[2], here[2];

	check_eq(torc_pipe(there, 0), 0);
	check_eq(torc_pipe(here, 0), 0);
	check_eq(torc_stream_open_fds(&a, here[0], there[1]), 0);
	check_eq(torc_stream_open_fds(&b, there[0], here[1]), 0);
	echo_between(&a, &b);
}

static void datagrams(void)
{
	struct torc_datagram in;
	struct torc_dgram a, b;
	size_t bytes = 0;

	check_eq(torc_dgram_open(&a, "127.0.0.1:0", NULL), 0);
	check_eq(torc_dgram_open(&b, "127.0.0.1:0", NULL), 0);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 5; i++) /* a train, then one by itself */
			check_eq(torc_dgram_send(&a, "x", 1, torc_dgram_address(&b)), 0);
		check_eq(torc_dgram_send(&a, "long", 4, torc_dgram_address(&b)), 0);
		check_eq(torc_dgram_flush(&a), 0);
		for (int i = 0; i < 6; i++, bytes += in.len)
			check_eq(torc_dgram_recv(&b, &in), 0);
	}
	check_eq(bytes, 2 * 9); /* in whatever order: one that is made again may come later */
	check_eq(torc_dgram_close(&a), 0);
	check_eq(torc_dgram_close(&b), 0);
}

static int send_whole_file(void *arg)
{
	const int *fds = arg;
	off_t at = 0;
	int r;

	while ((r = torc_sendfile(fds[0], fds[1], at, LONG_LEN)) > 0)
		at += r;
	check_eq(r, 0);
	check_eq(at, LONG_LEN);
	return 0;
}

static void files(void)
{
	int fd[2], sending[2];
	struct torc_stream s;
	struct torc_group g;
	void *read_back;
	size_t len;

	check_eq(torc_write_file(AT_FDCWD, "file", data, LONG_LEN, 0600), 0);
	check_eq(torc_append_file(AT_FDCWD, "file", "more", 4, 0600), 0);
	check_eq(torc_read_file(AT_FDCWD, "file", 1 << 20, &read_back, &len), 0);
	check(len == LONG_LEN + 4 && !memcmp(read_back, data, LONG_LEN));
	torc_free_file(read_back);
	check_eq(truncate("file", LONG_LEN), 0);
	sending[1] = torc_open("file", O_RDWR, 0);
	tcp_pair(fd);
	sending[0] = fd[0];
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, send_whole_file, sending), 0);
	check_eq(torc_recv(fd[1], back, LONG_LEN, MSG_WAITALL), LONG_LEN);
	check(!memcmp(back, data, LONG_LEN));
	check_eq(torc_group_wait(&g), 0);
	torc_close(fd[0]);
	torc_close(fd[1]);
	check_eq(torc_stream_open_fds(&s, sending[1], sending[1]), 0);
	check_eq(torc_stream_read_exact(&s, back, LONG_LEN), 0);
	check(!memcmp(back, data, LONG_LEN));
	check_eq(torc_stream_write(&s, data, LONG_LEN), 0);
	check_eq(torc_stream_close(&s), 0);
}

static void events(void)
{
	const int usr1 = SIGUSR1;
	struct torc_watch_event e;
	struct torc_signals s;
	struct torc_watch w;

	check_eq(torc_watch_open(&w), 0);
	check_ge(torc_watch_add(&w, ".", IN_CREATE), 1);
	check_eq(torc_signals_open(&s, &usr1, 1), 0);
	for (int round = 0; round < 2; round++) {
		check_eq(raise(SIGUSR1), 0);
		check_eq(torc_signals_next(&s), SIGUSR1);
		put_file("new", "text");
		check_eq(torc_watch_next(&w, &e), 0);
		check_eq(unlink("new"), 0);
	}
	torc_signals_close(&s);
	torc_watch_close(&w);
}

static void children(void)
{
	struct torc_child_talk talk = { .input = data, .input_len = LONG_LEN };
	struct torc_child_status status;

	check_eq(torc_run_command((const char *const[]){ "cat", NULL }, &talk, &status), 0);
	check(torc_child_succeeded(&status));
	check(talk.out_len == LONG_LEN && !memcmp(talk.out, data, LONG_LEN));
	torc_child_talk_done(&talk);
}

/* --- each of their operations --- */

static int interrupt_each(void *arg)
{
	void (*const *program)(void) = arg;
	unsigned nth = 0;
	bool happened = true;

	for (; happened && nth < 40; nth++) {
		struct forging f = { .opcodes = TRANSFERS, .nth = nth, .res = -EINTR };

		forge_begin(&f);
		(*program)();
		happened = forge_end(&f);
	}
	check_ge(nth, 3);
	return 0;
}

static void interrupt(void (*program)(void))
{
	static const char *const features[] = { "", "recv_multishot,cqe_skip,splice" };

	fill_bytes(data, LONG_LEN, 3, 0);
	for (size_t i = 0; i < COUNT(features); i++) {
		setenv("TORC_DISABLE", features[i], 1);
		run_in_directory(interrupt_each, &program);
	}
	unsetenv("TORC_DISABLE");
}

Test(interrupted, connections_go_on)
{
	interrupt(connections);
}

Test(interrupted, pipes_go_on)
{
	interrupt(pipes);
}

Test(interrupted, datagrams_go_on)
{
	interrupt(datagrams);
}

Test(interrupted, files_go_on)
{
	interrupt(files);
}

Test(interrupted, watches_and_signals_go_on)
{
	interrupt(events);
}

Test(interrupted, children_go_on)
{
	interrupt(children);
}
