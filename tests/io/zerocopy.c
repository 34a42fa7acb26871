/* Sends that do not copy: torc_send_zc, torc_sendmsg_zc. */
#include "tests/io/run.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "tests/io/files.h"
#include "tests/io/forge.h"

TestSuite(zerocopy, .timeout = 60);

#define BYTES (64 << 10)

/* For the tests that do it with a message too. */
static bool as_message;

/*
 * A peer that takes next to nothing until it reads, and a sender whose queue has room for BYTES: they stay in the caller's
 * memory, where the kernel looks for them later.
 */
static void slow_pair(int fd[2])
{
	const int little = 4096, much = 128 << 10;

	tcp_pair(fd);
	check_eq(setsockopt(fd[1], SOL_SOCKET, SO_RCVBUF, &little, sizeof(little)), 0);
	check_eq(setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &much, sizeof(much)), 0);
	/* Others find out slowly how fast the peer is now. */
	check_eq(setsockopt(fd[0], IPPROTO_TCP, TCP_CONGESTION, "reno", 4), 0);
}

/* Now it takes what comes. */
static void hasten(int fd)
{
	const int much = 1 << 20;

	check_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &much, sizeof(much)), 0);
}

static int queued(int fd)
{
	int bytes;

	check_eq(ioctl(fd, SIOCOUTQ, &bytes), 0);
	return bytes;
}

struct send {
	int fd[2];
	size_t len;
	char *memory;
	bool as_message;
	struct waiting waiting;
};

static int send_main(void *arg)
{
	struct send *s = arg;
	struct iovec iov = { s->memory, s->len };
	const struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

	return s->as_message ? torc_sendmsg_zc(s->fd[0], &message, MSG_WAITALL)
			     : torc_send_zc(s->fd[0], s->memory, s->len, MSG_WAITALL);
}

/* Until the kernel has taken so many bytes, of which the peer's share is small. */
static void await_queue(struct send *s, int least)
{
	while (queued(s->fd[0]) < least)
		torc_yield();
}

/* Until the kernel has taken so many bytes. */
static void begin(struct torc_group *g, struct send *s, size_t len, int taken)
{
	torc_group_enter(g);
	s->len = len;
	s->memory = malloc(len);
	check(s->memory);
	fill_bytes(s->memory, len, 1, 0);
	s->waiting = (struct waiting){ .fn = send_main, .arg = s };
	waiting_start(g, &s->waiting);
	await_queue(s, taken);
}

static void start(struct torc_group *g, struct send *s, size_t len, int taken)
{
	slow_pair(s->fd);
	begin(g, s, len, taken);
}

static void yields(int n)
{
	while (n--)
		torc_yield();
}

/* What comes until the end, or until nobody sends any more: it is what was sent. */
static size_t drain(struct send *s, size_t most)
{
	char buf[8192];
	size_t got = 0;
	int r;

	hasten(s->fd[1]);
	while (got < most && (r = torc_recv(s->fd[1], buf, sizeof(buf), 0)) > 0) {
		check(same_bytes(buf, (size_t)r, 1, got));
		got += (size_t)r;
	}
	return got;
}

static void close_sender(struct send *s)
{
	if (s->fd[0] >= 0)
		torc_close(s->fd[0]);
	s->fd[0] = -1;
}

static void finish(struct torc_group *g, struct send *s)
{
	check_eq(torc_group_wait(g), 0);
	free(s->memory);
	close_sender(s);
	if (s->fd[1] >= 0)
		torc_close(s->fd[1]);
}

/* --- the memory --- */

static int not_before_it_is_free(void *arg)
{
	struct send s = { .as_message = arg != NULL };
	struct torc_group g;

	start(&g, &s, BYTES, BYTES / 2);
	yields(20);
	check(!s.waiting.ended);
	check_eq(drain(&s, BYTES), BYTES);
	finish(&g, &s);
	check_eq(s.waiting.result, BYTES);
	return 0;
}

Test(zerocopy, returns_when_the_memory_is_free_with_what_was_sent)
{
	run(not_before_it_is_free, NULL);
}

Test(zerocopy, so_does_a_message)
{
	run(not_before_it_is_free, &as_message);
}

static int sends_and_scribbles(void *arg)
{
	const int *fd = arg;
	char memory[3000];

	for (uint64_t at = 0; at < 300 * sizeof(memory); at += sizeof(memory)) {
		fill_bytes(memory, sizeof(memory), 1, at);
		check_eq(torc_send_zc(*fd, memory, sizeof(memory), MSG_WAITALL), sizeof(memory));
		memset(memory, '!', sizeof(memory));
	}
	torc_close(*fd);
	return 0;
}

static int memory_again(void *arg)
{
	struct torc_group g;
	struct send s;

	(void)arg;
	slow_pair(s.fd);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, sends_and_scribbles, &s.fd[0]), 0);
	check_eq(drain(&s, SIZE_MAX), 300 * 3000);
	check_eq(torc_group_wait(&g), 0);
	torc_close(s.fd[1]);
	return 0;
}

Test(zerocopy, memory_that_is_used_again_at_once_does_not_show)
{
	run(memory_again, NULL);
}

/* --- cancellation --- */

static int cancelled_between(void *arg)
{
	struct send s = { .as_message = arg != NULL };
	struct torc_group g;

	start(&g, &s, BYTES, BYTES / 2);
	yields(5);
	torc_task_cancel(&s.waiting.task);
	yields(20);
	check(!s.waiting.ended);
	check_eq(drain(&s, BYTES), BYTES);
	finish(&g, &s);
	check_eq(s.waiting.result, BYTES);
	return 0;
}

Test(zerocopy, cancelled_after_the_bytes_were_taken_it_waits_and_says_how_many)
{
	run(cancelled_between, NULL);
	run(cancelled_between, &as_message);
}

static int drain_main(void *arg)
{
	struct send *s = arg;

	return (int)drain(s, SIZE_MAX);
}

/* More than the queue has room for, which is little here: so slow a peer takes seconds for more. */
static int cancelled_halfway(void *arg)
{
	const int little = 16 << 10;
	struct send s = { .as_message = arg != NULL };
	struct waiting reader = { .fn = drain_main, .arg = &s };
	struct torc_group g;

	slow_pair(s.fd);
	check_eq(setsockopt(s.fd[0], SOL_SOCKET, SO_SNDBUF, &little, sizeof(little)), 0);
	begin(&g, &s, 1 << 20, little / 2);
	torc_task_cancel(&s.waiting.task);
	yields(20);
	waiting_start(&g, &reader);
	check_eq(torc_task_join(&s.waiting.task), 0);
	close_sender(&s);
	finish(&g, &s);
	check_ge(s.waiting.result, 1);
	check_le(s.waiting.result, (1 << 20) - 1);
	check_eq(reader.result, s.waiting.result);
	return 0;
}

Test(zerocopy, cancelled_halfway_it_says_what_went_out)
{
	run(cancelled_halfway, NULL);
	run(cancelled_halfway, &as_message);
}

static int cancelled_any_time(void *arg)
{
	(void)arg;
	for (int turns = 0; turns < 40; turns++) {
		struct send s = { .as_message = turns & 1 };
		struct waiting reader = { .fn = drain_main, .arg = &s };
		struct torc_group g;

		start(&g, &s, 200000, 0);
		waiting_start(&g, &reader);
		yields(turns);
		torc_task_cancel(&s.waiting.task);
		check_eq(torc_task_join(&s.waiting.task), 0);
		close_sender(&s);
		finish(&g, &s);
		if (s.waiting.result != -ECANCELED)
			check_ge(s.waiting.result, 1);
		check_eq(reader.result, s.waiting.result > 0 ? s.waiting.result : 0);
	}
	return 0;
}

Test(zerocopy, cut_short_at_any_time_loses_nothing)
{
	run_all_features(NULL, cancelled_any_time, NULL);
}

/* --- failures --- */

static int reset_between(void *arg)
{
	struct send s = { .fd = { -1 } };
	struct torc_group g;

	(void)arg;
	start(&g, &s, BYTES, BYTES / 2);
	reset_peer(s.fd[1]);
	s.fd[1] = -1;
	finish(&g, &s);
	check_eq(s.waiting.result, BYTES);
	return 0;
}

Test(zerocopy, a_peer_that_resets_gives_the_memory_back)
{
	run(reset_between, NULL);
}

static int user_timeout(void *arg)
{
	struct send s = { .fd = { -1 } };
	struct torc_group g;

	(void)arg;
	start(&g, &s, BYTES, BYTES / 2);
	check_eq(torc_set_user_timeout(s.fd[0], 300), 0);
	finish(&g, &s); /* though nobody ever reads */
	check_eq(s.waiting.result, BYTES);
	return 0;
}

Test(zerocopy, a_user_timeout_ends_the_wait_for_a_peer_that_takes_nothing)
{
	run(user_timeout, NULL);
}

/*
 * A signal that interrupts a send makes it again. The first one's memory is the kernel's all the same, until its notification: it
 * is not to be taken for the second one's.
 */
static int interrupted(void *arg)
{
	struct forging f = { .opcodes = FORGE_BIT(SEND_ZC) | FORGE_BIT(SENDMSG_ZC),
			     .res = -EINTR,
			     .made = true };
	struct send s = { .as_message = arg != NULL };
	struct torc_group g;
	char buf[2000];

	forge_begin(&f);
	start(&g, &s, sizeof(buf) / 2, 0);
	check_eq(torc_recv(s.fd[1], buf, sizeof(buf), MSG_WAITALL), sizeof(buf));
	finish(&g, &s);
	check(forge_end(&f));
	check_eq(s.waiting.result, sizeof(buf) / 2);
	check(same_bytes(buf, sizeof(buf) / 2, 1, 0));
	check(same_bytes(buf + sizeof(buf) / 2, sizeof(buf) / 2, 1, 0));
	return 0;
}

Test(zerocopy, an_interrupted_send_is_made_again_when_the_memory_is_free)
{
	run(interrupted, NULL);
	run(interrupted, &as_message);
}

/* The failure comes first, the memory later, here when the peer reads. */
static int failed_before_it_is_free(void *arg)
{
	struct forging f = { .opcodes = FORGE_BIT(SEND_ZC) | FORGE_BIT(SENDMSG_ZC),
			     .res = -ECONNRESET,
			     .made = true };
	struct send s = { .as_message = arg != NULL };
	struct torc_group g;

	forge_begin(&f);
	start(&g, &s, BYTES, BYTES / 2);
	yields(20);
	check(f.done && !s.waiting.ended);
	torc_task_cancel(&s.waiting.task); /* that neither ends the wait nor hides the failure */
	yields(20);
	check(!s.waiting.ended);
	check_eq(drain(&s, BYTES), BYTES);
	finish(&g, &s);
	check(forge_end(&f));
	check_eq(s.waiting.result, -ECONNRESET);
	return 0;
}

Test(zerocopy, a_failed_send_holds_the_memory_until_it_is_free)
{
	run(failed_before_it_is_free, NULL);
	run(failed_before_it_is_free, &as_message);
}

static int errors(void *arg)
{
	char byte = 'x';
	struct iovec iov = { &byte, 1 };
	const struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	int fd[2], file;

	(void)arg;
	check_eq(torc_send_zc(-1, &byte, 1, 0), -EBADF);
	check_eq(torc_sendmsg_zc(-1, &message, 0), -EBADF);
	file = open("/dev/null", O_WRONLY | O_CLOEXEC);
	check_eq(torc_send_zc(file, &byte, 1, 0), -ENOTSOCK);
	close(file);
	unix_pair(fd);
	check_eq(torc_send_zc(fd[0], &byte, 1, 0), -EOPNOTSUPP);
	check_eq(torc_sendmsg_zc(fd[0], &message, 0), -EOPNOTSUPP);
	check_eq(recv(fd[1], &byte, 1, MSG_DONTWAIT), -1);
	torc_close(fd[0]);
	torc_close(fd[1]);
	tcp_pair(fd);
	check_cancelled(torc_send_zc(fd[0], &byte, 1, 0));
	check_cancelled(torc_sendmsg_zc(fd[0], &message, 0));
	check_eq(recv(fd[1], &byte, 1, MSG_DONTWAIT), -1);
	check_eq(torc_send_zc(fd[0], (void *)8, 100, 0), -EFAULT);
	check_eq(shutdown(fd[0], SHUT_WR), 0);
	check_eq(torc_send_zc(fd[0], &byte, 1, 0), -EPIPE);
	check_eq(torc_sendmsg_zc(fd[0], &message, 0), -EPIPE);
	torc_close(fd[0]);
	torc_close(fd[1]);
	return 0;
}

Test(zerocopy, reports_errors_without_sigpipe)
{
	run(errors, NULL);
}

static int pinned_too_much(void *arg)
{
	static char memory[1 << 20];
	int fd[2];

	(void)arg;
	tcp_pair(fd);
	check_eq(torc_send_zc(fd[0], memory, sizeof(memory), 0), -ENOMEM);
	torc_close(fd[0]);
	torc_close(fd[1]);
	return 0;
}

Test(zerocopy, memory_beyond_the_limit_of_locked_memory_is_not_sent)
{
	const struct rlimit little = { 128 << 10, 128 << 10 };

	check_eq(setrlimit(RLIMIT_MEMLOCK, &little), 0);
	if (!getuid())
		check_eq(seteuid(65534), 0); /* root has no such limit */
	run(pinned_too_much, NULL);
	check_eq(seteuid(getuid()), 0);
}
