/*
 * micro_zerocopy.c - from memory and from a file to a TCP socket over loopback, in the ways there are.
 *
 * The loop sends from core 0, a thread on core 1 drops what comes. The file is in the page cache. What the receiver burns does
 * not count; what kernel threads and other threads burn for the sender does.
 */
#include "bench/micro.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <torc/core/op.h>
#include <torc/executor/offload.h>
#include <torc/io/file.h>
#include <torc/io/socket.h>

#define FILE_BYTES  (64u << 20)
#define ROUNDS      4 /* of the file, per measurement; 1 of small pieces */
#define PIECE_MOST  (1u << 20)
#define SMALL_PIECE (64u << 10)
#define REPEATS     3

struct transfer {
	int file, socket, pipe[2];
	char *memory; /* [PIECE_MOST] */
	size_t piece;
};

/* Sends [offset, offset + len) of the file, of which len is at most t->piece. 0, or a negative errno. */
typedef int send_fn(struct transfer *t, off_t offset, size_t len);

/* --- the ways --- */

static int send_memory(struct transfer *t, off_t offset, size_t len)
{
	(void)offset;
	return torc_send_all(t->socket, t->memory, len);
}

static int send_memory_zc(struct transfer *t, off_t offset, size_t len)
{
	int r = torc_send_zc(t->socket, t->memory, len, MSG_WAITALL);

	(void)offset;
	return r < 0 ? r : (size_t)r == len ? 0 : -EIO;
}

static int read_and_send(struct transfer *t, off_t offset, size_t len)
{
	int r = torc_pread_all(t->file, t->memory, len, offset);

	return r < 0 ? r : torc_send_all(t->socket, t->memory, len);
}

static int read_cached_and_send(struct transfer *t, off_t offset, size_t len)
{
	const struct iovec iov = { t->memory, len };
	ssize_t n = preadv2(t->file, &iov, 1, offset, RWF_NOWAIT);

	return n == (ssize_t)len ? torc_send_all(t->socket, t->memory, len)
				 : read_and_send(t, offset, len);
}

static int read_and_send_zc(struct transfer *t, off_t offset, size_t len)
{
	int r = torc_pread_all(t->file, t->memory, len, offset);

	return r < 0 ? r : send_memory_zc(t, offset, len);
}

static int await_writable(int fd)
{
	struct torc_op op;
	struct io_uring_sqe *sqe;
	int r = torc_op_begin(&op, &sqe);

	if (r < 0)
		return r;
	io_uring_prep_poll_add(sqe, fd, POLLOUT);
	r = torc_op_wait(&op);
	return r < 0 ? r : 0;
}

static int push_out(struct transfer *t, size_t len)
{
	while (len) {
		ssize_t n = splice(t->pipe[0], NULL, t->socket, NULL, len, SPLICE_F_NONBLOCK);
		int r = n > 0 ? 0 : errno == EAGAIN ? await_writable(t->socket) : -errno;

		if (r < 0)
			return r;
		if (n > 0)
			len -= (size_t)n;
	}
	return 0;
}

static int splice_in_ring(struct transfer *t, off_t offset, size_t len)
{
	while (len) {
		int n = torc_splice(t->file, offset, t->pipe[1], -1, len, 0);
		int r = n > 0 ? push_out(t, (size_t)n) : n ? n : -EIO;

		if (r < 0)
			return r;
		offset += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Is what is to be sent in the page cache? Says so of its last byte. */
static bool is_cached(struct transfer *t, off_t offset, size_t len)
{
	char byte;
	const struct iovec iov = { &byte, 1 };

	return preadv2(t->file, &iov, 1, offset + (off_t)len - 1, RWF_NOWAIT) == 1;
}

static int splice_directly(struct transfer *t, off_t offset, size_t len)
{
	if (!is_cached(t, offset, len))
		return splice_in_ring(t, offset, len);
	while (len) {
		ssize_t n = splice(t->file, &offset, t->pipe[1], NULL, len, SPLICE_F_NONBLOCK);
		int r = n > 0 ? push_out(t, (size_t)n) : -EIO;

		if (r < 0)
			return r;
		len -= (size_t)n;
	}
	return 0;
}

static int sendfile_directly(struct transfer *t, off_t offset, size_t len)
{
	if (!is_cached(t, offset, len))
		return splice_in_ring(t, offset, len);
	while (len) {
		ssize_t n = sendfile(t->socket, t->file, &offset, len);
		int r = n > 0 ? 0 : n && errno == EAGAIN ? await_writable(t->socket) : -EIO;

		if (r < 0)
			return r;
		if (n > 0)
			len -= (size_t)n;
	}
	return 0;
}

struct request {
	int socket, file;
	off_t offset;
	size_t len;
};

static int run_sendfile(void *arg)
{
	struct request *q = arg;
	ssize_t n = sendfile(q->socket, q->file, &q->offset, q->len);

	return n < 0 ? -errno : (int)n;
}

static int sendfile_elsewhere(struct transfer *t, off_t offset, size_t len)
{
	struct request q = { t->socket, t->file, offset, len };

	while (q.len) {
		int n = torc_offload(run_sendfile, &q);
		int r = n > 0 ? 0 : n == -EAGAIN ? await_writable(t->socket) : n ? n : -EIO;

		if (r < 0)
			return r;
		if (n > 0)
			q.len -= (size_t)n;
	}
	return 0;
}

static const struct way {
	const char *name;
	send_fn *fn;
	bool nonblocking;
} ways[] = {
	{ "memory, send", send_memory, false },
	{ "memory, send_zc", send_memory_zc, false },
	{ "file, read + send", read_and_send, false },
	{ "file, cached read + send", read_cached_and_send, false },
	{ "file, read + send_zc", read_and_send_zc, false },
	{ "file, ring splice + splice", splice_in_ring, true },
	{ "file, direct splice", splice_directly, true },
	{ "file, direct sendfile", sendfile_directly, true },
	{ "file, sendfile on a thread", sendfile_elsewhere, true },
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* --- the receiver --- */

static void stay_on(int core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)core, &set);
	(void)pthread_setaffinity_np(pthread_self(), sizeof(set), &set); /* one core: as it is */
}

struct receiver {
	pthread_t thread;
	int fd;
};

static void *receive(void *arg)
{
	struct receiver *r = arg;

	stay_on(1);
	while (recv(r->fd, NULL, PIECE_MOST, MSG_TRUNC) > 0)
		;
	return NULL;
}

static double receiver_cpu_ns(struct receiver *r)
{
	clockid_t clock;

	return pthread_getcpuclockid(r->thread, &clock) ? 0 : micro_clock_ns(clock);
}

static int connected_pair(int ret_fds[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	const int one = 1;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), peer = -1;

	if (listener >= 0 && fd >= 0 && !bind(listener, (struct sockaddr *)&a, len) &&
	    !listen(listener, 1) && !getsockname(listener, (struct sockaddr *)&a, &len) &&
	    !connect(fd, (struct sockaddr *)&a, len) &&
	    !setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)))
		peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (listener >= 0)
		close(listener);
	if (peer < 0) {
		if (fd >= 0)
			close(fd);
		return -EIO;
	}
	ret_fds[0] = fd;
	ret_fds[1] = peer;
	return 0;
}

/* --- measuring --- */

static unsigned rounds_of(const struct transfer *t)
{
	return t->piece < SMALL_PIECE ? 1 : ROUNDS;
}

static int send_file(struct transfer *t, send_fn *fn)
{
	int r = 0;

	for (unsigned round = 0; round < rounds_of(t) && !r; round++)
		for (off_t at = 0; at < FILE_BYTES && !r; at += (off_t)t->piece)
			r = fn(t, at, t->piece);
	return r;
}

/* Milliseconds of processor time, and of the clock, per GiB. */
static int measure(struct transfer *t, const struct way *way, double *ret_cpu, double *ret_wall)
{
	const double gib = (double)FILE_BYTES * rounds_of(t) / (1u << 30);
	struct receiver receiver;
	double cpu, wall;
	int fds[2], r = connected_pair(fds);

	if (r < 0)
		return r;
	t->socket = fds[0];
	if (way->nonblocking)
		(void)fcntl(t->socket, F_SETFL, O_RDWR | O_NONBLOCK);
	receiver.fd = fds[1];
	r = -pthread_create(&receiver.thread, NULL, receive, &receiver);
	if (!r) {
		cpu = micro_clock_ns(CLOCK_PROCESS_CPUTIME_ID) - receiver_cpu_ns(&receiver);
		wall = micro_now_ns();
		r = send_file(t, way->fn);
		*ret_wall = (micro_now_ns() - wall) / 1e6 / gib;
		cpu = micro_clock_ns(CLOCK_PROCESS_CPUTIME_ID) - receiver_cpu_ns(&receiver) - cpu;
		*ret_cpu = cpu / 1e6 / gib;
		shutdown(t->socket, SHUT_WR);
		pthread_join(receiver.thread, NULL);
	}
	close(fds[0]);
	close(fds[1]);
	return r;
}

static int measure_way(struct transfer *t, const struct way *way)
{
	double cpu[REPEATS], wall[REPEATS];
	char name[64];

	for (unsigned i = 0; i < REPEATS; i++) {
		int r = measure(t, way, &cpu[i], &wall[i]);

		if (r < 0)
			return r;
	}
	snprintf(name, sizeof(name), "%s, %zu KiB", way->name, t->piece >> 10);
	micro_report(name, micro_median_of(cpu, REPEATS), "ms/GiB", MICRO_NO_TARGET);
	snprintf(name, sizeof(name), "%s, %zu KiB", way->name, t->piece >> 10);
	micro_report_rate(name, 1e3 / micro_median_of(wall, REPEATS), "GiB/s", MICRO_NO_TARGET);
	return 0;
}

static int measure_all(struct transfer *t)
{
	static const size_t pieces[] = { 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20 };

	for (size_t i = 0; i < COUNT(ways); i++)
		for (size_t j = 0; j < COUNT(pieces); j++) {
			int r;

			t->piece = pieces[j];
			r = measure_way(t, &ways[i]);
			if (r < 0)
				return r;
		}
	return 0;
}

static int make_file(struct transfer *t)
{
	char path[] = "/tmp/torc-bench-XXXXXX";
	int r = 0;

	t->file = mkostemp(path, O_CLOEXEC);
	if (t->file < 0)
		return -errno;
	unlink(path);
	for (off_t at = 0; at < FILE_BYTES && !r; at += PIECE_MOST)
		r = torc_pwrite_all(t->file, t->memory, PIECE_MOST, at);
	return r ? r : torc_fsync(t->file);
}

static int prepare(struct transfer *t)
{
	t->memory = mmap(NULL, PIECE_MOST, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (t->memory == MAP_FAILED)
		return -errno;
	memset(t->memory, 'x', PIECE_MOST);
	if (pipe2(t->pipe, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	(void)fcntl(t->pipe[1], F_SETPIPE_SZ, 256 << 10);
	return make_file(t);
}

static int zerocopy_fiber(void *arg)
{
	static struct transfer t = { .file = -1, .pipe = { -1, -1 }, .memory = MAP_FAILED };
	int r;

	(void)arg;
	stay_on(0);
	r = prepare(&t);
	if (!r)
		r = measure_all(&t);
	if (t.file >= 0)
		close(t.file);
	if (t.pipe[0] >= 0)
		close(t.pipe[0]), close(t.pipe[1]);
	if (t.memory != MAP_FAILED)
		munmap(t.memory, PIECE_MOST);
	return r;
}

static int run(void)
{
	return micro_in_fiber(zerocopy_fiber);
}

const struct micro micro_zerocopy = { "zerocopy", "memory and files to a TCP socket", run };
