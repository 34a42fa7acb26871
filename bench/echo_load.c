/*
 * echo_load - a closed-loop load generator for echo servers.
 *
 * Every connection sends one message, waits until all of it came back, checks it, and sends the next.
 * Latency runs from the turn that prepared the send to the turn that saw the last byte, so it includes
 * the generator's own batching. Written on io_uring with as few system calls and completions as it can,
 * because on two cores the generator is as busy as the server.
 *
 *   echo_load --addr 127.0.0.1:PORT [--conns 256] [--bytes 64] [--seconds 5] [--warmup 1] [--server PID]
 *
 * prints one line when the time is over and the last replies are in:
 *
 *   {"requests":N,"seconds":S,"rps":R,"p50_us":L,"p99_us":L,"errors":N}
 *
 * requests   complete and correct echoes during the measured seconds; the warm-up is not counted
 * errors     wrong bytes, connections lost, replies still missing one second after the end
 * cpu_us     with --server: processor time that this process took in the measured seconds, per request;
 *            neither connecting nor the warm-up is in it. Its grain is a tick of the kernel's.
 *
 * Exit status: 0 no errors, 1 errors or no server, 2 wrong usage.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <liburing.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "bench/server_ticks.h"

enum {
	SQ_ENTRIES = 1024,
	CQ_ENTRIES = 16384,
	BUF_COUNT = 1024, /* a power of two: the buffer ring masks with it */
	BUF_BYTES = 2048,
	BUF_GROUP = 0,
	CONNS_MAX = 16384,
	BYTES_MAX = 65536,
	SECONDS_MAX = 3600,
	CONNECT_SECONDS = 5,
	CONNS_PER_SOURCE = 4096,
	DRAIN_SECONDS = 1,
	HIST_SUB_BITS = 6, /* 64 buckets per power of two: 1.6 % */
	HIST_COUNT = (64 - HIST_SUB_BITS + 1) << HIST_SUB_BITS,
};

/* What a completion is about: the high half of user_data; the low half is the connection's index. */
enum op { OP_CLOCK, OP_RECV, OP_SEND };

/* WARMUP -> MEASURE -> DRAIN -> OVER; on_clock() is the only one that advances it. */
enum phase { PHASE_WARMUP, PHASE_MEASURE, PHASE_DRAIN, PHASE_OVER };

struct conn {
	int fd;
	bool waiting;       /* for the rest of an echo */
	bool lost;          /* after an error: never used again */
	unsigned got_bytes; /* of the current echo */
	uint64_t sequence;  /* of the current message: makes each one different from the last */
	uint64_t sent_ns;
	char *message; /* [options.bytes]; constant until the whole echo is in */
};

static struct options {
	struct sockaddr_in addr;
	unsigned conns;
	unsigned bytes;
	unsigned seconds;
	unsigned warmup;
	unsigned server; /* process id, or 0 */
} opt = { .conns = 256, .bytes = 64, .seconds = 5, .warmup = 1 };

static struct load {
	struct io_uring ring;
	struct io_uring_buf_ring *buf_ring;
	int returned_count; /* buffers given back since the last publication to the kernel */
	enum phase phase;
	struct __kernel_timespec alarm;
	uint64_t now_ns; /* read once per turn */
	uint64_t begin_ns, end_ns;
	uint64_t begin_ticks, end_ticks; /* of the server's processor time */
	unsigned waiting_count;          /* connections that wait for an echo */
	uint64_t request_count;
	uint64_t error_count;
	uint64_t histogram[HIST_COUNT];
	struct conn conns[CONNS_MAX];
} load;

static char memory[BUF_COUNT][BUF_BYTES] __attribute__((aligned(4096)));

static _Noreturn void die(const char *what, int error)
{
	fprintf(stderr, "echo_load: %s: %s\n", what, strerror(error));
	exit(1);
}

static uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static uint64_t server_ticks(void)
{
	uint64_t ticks = 0;
	int r = opt.server ? server_ticks_read(opt.server, &ticks) : 0;

	if (r < 0)
		die("--server", -r);
	return ticks;
}

/* ---- the log-linear histogram ---- */

/* Values below 64 have a bucket each; above, the top bit picks a row and the next six bits a bucket. */
static size_t hist_index(uint64_t value)
{
	unsigned shift;

	if (value < 1U << HIST_SUB_BITS)
		return (size_t)value;
	shift = 63U - (unsigned)__builtin_clzll(value) - HIST_SUB_BITS;
	return ((size_t)(shift + 1) << HIST_SUB_BITS) + (value >> shift) - (1U << HIST_SUB_BITS);
}

/* The lowest value that falls into the bucket. */
static uint64_t hist_value(size_t index)
{
	size_t row = index >> HIST_SUB_BITS;
	uint64_t sub = index & ((1U << HIST_SUB_BITS) - 1);

	if (row == 0)
		return sub;
	return (sub + (1U << HIST_SUB_BITS)) << (row - 1);
}

static double quantile_us(double q)
{
	uint64_t total = 0, below = 0;
	size_t i = 0;

	for (size_t n = 0; n < HIST_COUNT; n++)
		total += load.histogram[n];
	if (total == 0)
		return 0;
	for (; i < HIST_COUNT - 1; i++) {
		below += load.histogram[i];
		if ((double)below >= q * (double)total)
			break;
	}
	return (double)hist_value(i) / 1e3;
}

/* ---- submission ---- */

static void enter(unsigned wait_count)
{
	int r = io_uring_submit_and_wait(&load.ring, wait_count);

	if (r < 0 && r != -EINTR && r != -EAGAIN && r != -EBUSY)
		die("io_uring_enter", -r);
}

static struct io_uring_sqe *sqe_get(void)
{
	struct io_uring_sqe *sqe;

	while (!(sqe = io_uring_get_sqe(&load.ring)))
		enter(0);
	return sqe;
}

/* After the prep function: those of older liburing clear user_data. */
static void sqe_tag(struct io_uring_sqe *sqe, enum op op, size_t index)
{
	io_uring_sqe_set_data64(sqe, (uint64_t)op << 32 | (uint32_t)index);
}

/* One timer per phase instead of a timeout per wait; it also ends a run whose server has hung. */
static void alarm_arm(unsigned seconds)
{
	struct io_uring_sqe *sqe = sqe_get();

	load.alarm = (struct __kernel_timespec){ .tv_sec = seconds };
	io_uring_prep_timeout(sqe, &load.alarm, 0, 0);
	sqe_tag(sqe, OP_CLOCK, 0);
}

static void recv_arm(size_t index)
{
	struct io_uring_sqe *sqe = sqe_get();

	io_uring_prep_recv_multishot(sqe, load.conns[index].fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = BUF_GROUP;
	sqe_tag(sqe, OP_RECV, index);
}

/* With MSG_WAITALL a short send counts as a failure, so silence means that everything was sent. */
static void send_arm(size_t index)
{
	struct conn *c = &load.conns[index];
	struct io_uring_sqe *sqe = sqe_get();
	uint64_t stamp = ++c->sequence;

	memcpy(c->message, &stamp, opt.bytes < sizeof(stamp) ? opt.bytes : sizeof(stamp));
	io_uring_prep_send(sqe, c->fd, c->message, opt.bytes, MSG_NOSIGNAL | MSG_WAITALL);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	sqe_tag(sqe, OP_SEND, index);
	c->got_bytes = 0;
	c->waiting = true;
	c->sent_ns = load.now_ns;
	load.waiting_count++;
}

static void buf_return(uint16_t id)
{
	io_uring_buf_ring_add(load.buf_ring, memory[id], BUF_BYTES, id,
			      io_uring_buf_ring_mask(BUF_COUNT), load.returned_count++);
}

static void bufs_publish(void)
{
	io_uring_buf_ring_advance(load.buf_ring, load.returned_count);
	load.returned_count = 0;
}

/* ---- one connection ---- */

/* shutdown() ends the receive; the fd stays open until exit, so no completion meets a reused one. */
static void conn_fail(struct conn *c)
{
	if (c->lost)
		return;
	c->lost = true;
	load.error_count++;
	if (c->waiting)
		load.waiting_count--;
	c->waiting = false;
	shutdown(c->fd, SHUT_RDWR);
}

static void echo_complete(struct conn *c, size_t index)
{
	c->waiting = false;
	load.waiting_count--;
	if (load.phase == PHASE_MEASURE) {
		load.request_count++;
		load.histogram[hist_index(load.now_ns - c->sent_ns)]++;
	}
	if (load.phase < PHASE_DRAIN)
		send_arm(index);
}

static void echo_check(size_t index, const char *bytes, unsigned len)
{
	struct conn *c = &load.conns[index];

	if (!c->waiting || len > opt.bytes - c->got_bytes ||
	    memcmp(bytes, c->message + c->got_bytes, len) != 0) {
		conn_fail(c);
		return;
	}
	c->got_bytes += len;
	if (c->got_bytes == opt.bytes)
		echo_complete(c, index);
}

/* Every buffer is back at the end of each turn, so a receive that ran out of them may start again. */
static void on_recv(size_t index, const struct io_uring_cqe *cqe)
{
	struct conn *c = &load.conns[index];

	if (cqe->flags & IORING_CQE_F_BUFFER) {
		uint16_t id = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);

		if (cqe->res > 0 && !c->lost)
			echo_check(index, memory[id], (unsigned)cqe->res);
		buf_return(id);
	}
	if (cqe->res <= 0 && cqe->res != -ENOBUFS)
		conn_fail(c);
	else if (!(cqe->flags & IORING_CQE_F_MORE) && !c->lost)
		recv_arm(index);
}

static void on_clock(void)
{
	switch (load.phase) {
	case PHASE_WARMUP:
		load.phase = PHASE_MEASURE;
		load.begin_ns = load.now_ns;
		load.begin_ticks = server_ticks();
		alarm_arm(opt.seconds);
		break;
	case PHASE_MEASURE:
		load.phase = PHASE_DRAIN;
		load.end_ns = load.now_ns;
		load.end_ticks = server_ticks();
		alarm_arm(DRAIN_SECONDS);
		break;
	case PHASE_DRAIN:
		load.phase = PHASE_OVER;
		load.error_count += load.waiting_count;
		break;
	case PHASE_OVER: break;
	}
}

static void on_completion(const struct io_uring_cqe *cqe)
{
	size_t index = (uint32_t)cqe->user_data;

	switch ((enum op)(cqe->user_data >> 32)) {
	case OP_CLOCK: on_clock(); break;
	case OP_RECV: on_recv(index, cqe); break;
	case OP_SEND: conn_fail(&load.conns[index]); break;
	}
}

static bool is_over(void)
{
	return load.phase == PHASE_OVER || (load.phase == PHASE_DRAIN && load.waiting_count == 0);
}

static void run(void)
{
	load.now_ns = clock_ns();
	alarm_arm(opt.warmup);
	for (size_t i = 0; i < opt.conns; i++) {
		recv_arm(i);
		send_arm(i);
	}
	while (!is_over()) {
		struct io_uring_cqe *cqe;
		unsigned head, seen_count = 0;

		enter(1);
		load.now_ns = clock_ns();
		io_uring_for_each_cqe(&load.ring, head, cqe)
		{
			on_completion(cqe);
			seen_count++;
		}
		io_uring_cq_advance(&load.ring, seen_count);
		bufs_publish();
	}
}

/* ---- set-up ---- */

static void ring_open(void)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE,
		.cq_entries = CQ_ENTRIES,
	};
	int r = io_uring_queue_init_params(SQ_ENTRIES, &load.ring, &params);

	if (r < 0)
		die("io_uring_queue_init_params", -r);
	r = io_uring_register_ring_fd(&load.ring);
	if (r < 0)
		die("io_uring_register_ring_fd", -r);
}

static void bufs_open(void)
{
	struct io_uring_buf_reg reg = { .ring_entries = BUF_COUNT, .bgid = BUF_GROUP };
	int r;

	load.buf_ring = aligned_alloc(4096, BUF_COUNT * sizeof(struct io_uring_buf));
	if (!load.buf_ring)
		die("aligned_alloc", ENOMEM);
	io_uring_buf_ring_init(load.buf_ring);
	reg.ring_addr = (uint64_t)(uintptr_t)load.buf_ring;
	r = io_uring_register_buf_ring(&load.ring, &reg, 0);
	if (r < 0)
		die("io_uring_register_buf_ring", -r);
	for (int id = 0; id < BUF_COUNT; id++)
		buf_return((uint16_t)id);
	bufs_publish();
}

/*
 * From one address of loopback for every few thousand: the kernel looks for a free port one by one, and among
 * 16 000 connections from one address to another that is seconds.
 */
static void choose_source(int fd, size_t index)
{
	struct sockaddr_in source = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(index / CONNS_PER_SOURCE)),
	};
	int on = 1;

	if (index < CONNS_PER_SOURCE || ntohl(opt.addr.sin_addr.s_addr) >> 24 != IN_LOOPBACKNET)
		return;
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&source, sizeof(source)) < 0)
		die("bind", errno);
}

/* Blocking, one after the other: it is over in milliseconds, and SO_SNDTIMEO bounds it. */
static void conn_open(struct conn *c, size_t index)
{
	struct timeval limit = { .tv_sec = CONNECT_SECONDS };
	int on = 1;

	c->message = malloc(opt.bytes);
	if (!c->message)
		die("malloc", ENOMEM);
	for (size_t i = 0; i < opt.bytes; i++)
		c->message[i] = (char)(index * 31 + i * 7);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("socket", errno);
	choose_source(c->fd, index);
	setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(c->fd, (struct sockaddr *)&opt.addr, sizeof(opt.addr)) < 0)
		die("connect", errno == EINPROGRESS ? ETIMEDOUT : errno);
	limit.tv_sec = 0; /* off again */
	setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static _Noreturn void usage(const char *what, const char *value)
{
	fprintf(stderr, "echo_load: %s%s\n", what, value);
	fprintf(stderr,
		"usage: echo_load --addr 127.0.0.1:PORT [--conns 1..%d] [--bytes 1..%d]"
		" [--seconds 1..%d] [--warmup 0..%d] [--server PID]\n",
		CONNS_MAX, BYTES_MAX, SECONDS_MAX, SECONDS_MAX);
	exit(2);
}

static unsigned number(const char *text, unsigned min, unsigned max)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || n < min || n > max)
		usage("number out of range: ", text);
	return (unsigned)n;
}

static void address(const char *text)
{
	char host[INET_ADDRSTRLEN];
	const char *colon = strrchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : 0;

	if (len == 0 || len >= sizeof(host))
		usage("not an IPv4 address with a port: ", text);
	memcpy(host, text, len);
	host[len] = '\0';
	opt.addr.sin_family = AF_INET;
	opt.addr.sin_port = htons((uint16_t)number(colon + 1, 1, UINT16_MAX));
	if (inet_pton(AF_INET, host, &opt.addr.sin_addr) != 1)
		usage("not an IPv4 address: ", host);
}

static void options(int argc, char **argv)
{
	static const struct option names[] = {
		{ "addr", required_argument, NULL, 'a' },
		{ "conns", required_argument, NULL, 'c' },
		{ "bytes", required_argument, NULL, 'b' },
		{ "seconds", required_argument, NULL, 's' },
		{ "warmup", required_argument, NULL, 'w' },
		{ "server", required_argument, NULL, 'p' },
		{ NULL, 0, NULL, 0 },
	};
	int name;

	while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (name) {
		case 'a': address(optarg); break;
		case 'c': opt.conns = number(optarg, 1, CONNS_MAX); break;
		case 'b': opt.bytes = number(optarg, 1, BYTES_MAX); break;
		case 's': opt.seconds = number(optarg, 1, SECONDS_MAX); break;
		case 'w': opt.warmup = number(optarg, 0, SECONDS_MAX); break;
		case 'p': opt.server = number(optarg, 1, INT_MAX); break;
		default: usage("wrong option", "");
		}
	}
	if (optind < argc)
		usage("unexpected argument: ", argv[optind]);
	if (opt.addr.sin_port == 0)
		usage("--addr is missing", "");
}

static void report(void)
{
	double seconds = (double)(load.end_ns - load.begin_ns) / 1e9;

	printf("{\"requests\":%llu,\"seconds\":%.3f,\"rps\":%.0f,\"p50_us\":%.1f,\"p99_us\":%.1f,"
	       "\"errors\":%llu",
	       (unsigned long long)load.request_count, seconds,
	       (double)load.request_count / seconds, quantile_us(0.50), quantile_us(0.99),
	       (unsigned long long)load.error_count);
	if (opt.server)
		printf(",\"cpu_us\":%.3f", (double)(load.end_ticks - load.begin_ticks) * 1e6 /
						   (double)sysconf(_SC_CLK_TCK) /
						   (double)load.request_count);
	puts("}");
}

int main(int argc, char **argv)
{
	options(argc, argv);
	ring_open();
	bufs_open();
	for (size_t i = 0; i < opt.conns; i++)
		conn_open(&load.conns[i], i);
	run();
	report();
	return load.error_count == 0 ? 0 : 1;
}
