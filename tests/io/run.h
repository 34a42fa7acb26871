/*
 * tests/io/run.h - what the tests of io share: checks that work in fibers of any loop, a runtime that is
 * checked for leaks, connected sockets, seeded data.
 */
#ifndef TESTS_IO_RUN_H
#define TESTS_IO_RUN_H

#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <torc/core/group.h>
#include <torc/core/run.h>
#include <torc/core/scope.h>
#include <torc/io/address.h>
#include <torc/io/listener.h>
#include <torc/io/server.h>
#include <torc/io/socket.h>
#include <torc/io/stream.h>

#include "core/internal/fiber.h"
#include "io/internal/buffers.h"
#include "tests/support/check.h"
#include "tests/support/fds.h"
#include "tests/support/random.h"

struct run_call {
	torc_fn *fn;
	void *arg;
};

/* Every received buffer of loop 0 must have been given back. */
static inline int run_and_count_buffers(void *arg)
{
	struct run_call *call = arg;
	int r = call->fn(call->arg);
	struct torc__buffers *b = torc__self()->loop->attached[TORC__ATTACHED_BUFFERS].data;

	if (b)
		check_eq(b->available, b->count);
	return r;
}

/* torc_run, and neither descriptors nor received buffers may be left behind. */
static inline int run_with(const struct torc_options *options, torc_fn *fn, void *arg)
{
	struct run_call call = { fn, arg };
	int before = count_fds(), r;

	r = torc_run(options, run_and_count_buffers, &call);
	check_eq(count_fds(), before);
	return r;
}

static inline void run(torc_fn *fn, void *arg)
{
	check_eq(run_with(NULL, fn, arg), 0);
}

/* fn once with everything that the machine offers, and once with each of these turned off. */
static inline void run_all_features(const struct torc_options *options, torc_fn *fn, void *arg)
{
	static const char *const features[] = {
		"",
		"recv_multishot",
		"defer_taskrun",
		"single_issuer",
		"registered_ring",
		"cqe_skip",
		"recv_multishot,single_issuer",
	};

	for (size_t i = 0; i < COUNT(features); i++) {
		setenv("TORC_DISABLE", features[i], 1);
		check_eq(run_with(options, fn, arg), 0);
	}
	unsetenv("TORC_DISABLE");
}

/* --- sockets --- */

static inline void unix_pair(int fd[2])
{
	check_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
}

/* A TCP socket bound to a free port of 127.0.0.1. */
static inline int bound_socket(struct sockaddr_in *ret_address)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	check_ge(fd, 0);
	check_eq(bind(fd, (struct sockaddr *)&a, len), 0);
	check_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	*ret_address = a;
	return fd;
}

static inline int connect_to(const struct sockaddr_in *a)
{
	const int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	check_ge(fd, 0);
	check_eq(connect(fd, (const struct sockaddr *)a, sizeof(*a)), 0);
	check_eq(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
	return fd;
}

static inline void tcp_pair(int fd[2])
{
	const int one = 1;
	struct sockaddr_in a;
	int listener = bound_socket(&a);

	check_eq(listen(listener, 1), 0);
	fd[1] = connect_to(&a);
	fd[0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	check_ge(fd[0], 0);
	check_eq(setsockopt(fd[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
	close(listener);
}

/* close(2) that the peer sees as a reset */
static inline void reset_peer(int fd)
{
	const struct linger now = { .l_onoff = 1 };

	check_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
	close(fd);
}

/* Has the peer's end of the connection come, at the latest in a few seconds? Not for fibers' sockets. */
static inline bool ends(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char byte;

	return poll(&p, 1, 5000) == 1 && recv(fd, &byte, 1, MSG_DONTWAIT) <= 0;
}

static inline void send_text(int fd, const char *text)
{
	check_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* --- data --- */

/* Byte `at` of the stream of bytes that `seed` names. */
static inline char byte_at(uint64_t seed, uint64_t at)
{
	return (char)((at * 31 + (at >> 8) * 7 + (at >> 16) * 3 + seed * 101) & 0xff);
}

static inline void fill_bytes(char *to, size_t len, uint64_t seed, uint64_t at)
{
	for (size_t i = 0; i < len; i++)
		to[i] = byte_at(seed, at + i);
}

static inline bool same_bytes(const char *data, size_t len, uint64_t seed, uint64_t at)
{
	for (size_t i = 0; i < len; i++)
		if (data[i] != byte_at(seed, at + i))
			return false;
	return true;
}

static inline bool same_text(struct torc_slice s, const char *text)
{
	return s.len == strlen(text) && !memcmp(s.data, text, s.len);
}

#endif
