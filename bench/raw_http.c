/*
 * raw_http - a single-threaded io_uring HTTP answerer without any runtime: the opponent of torc-httpd.
 *
 * The loop is raw_echo's. Nothing is parsed: every blank line ends one request, and every request gets
 * the same 200 with 13 bytes. Requests that arrived together are answered by one send, so the replies
 * to a pipeline are gathered. A received buffer is given back as soon as it has been scanned.
 *
 *   raw_http PORT      serves 127.0.0.1:PORT until SIGTERM or SIGINT, then prints one line:
 *                      {"enters":N,"requests":N}    io_uring_enter calls, replies sent
 *
 * Not here on purpose: request bodies, keep-alive rules, timeouts, limits, a stop that drains.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define REPLY                                     \
	"HTTP/1.1 200 OK\r\n"                     \
	"Server: raw\r\n"                         \
	"Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n" \
	"Content-Type: text/plain\r\n"            \
	"Content-Length: 13\r\n"                  \
	"\r\n"                                    \
	"Hello, World!"

enum {
	SQ_ENTRIES = 1024,
	CQ_ENTRIES = 16384,
	BUF_COUNT = 1024, /* a power of two: the buffer ring masks with it */
	BUF_BYTES = 2048,
	BUF_GROUP = 0,
	CONN_COUNT = 65536, /* a connection's index is its fd */
	REPLY_BYTES = sizeof(REPLY) - 1,
	REPLY_COUNT = 64, /* the most that one send carries */
};

/* What a completion is about: the high half of user_data; the low half is the fd. */
enum op { OP_STOP, OP_ACCEPT, OP_RECV, OP_SEND };

/* The fd stays open until neither operation is pending, so a completion never meets a reused index. */
struct conn {
	bool receiving;    /* a multishot receive is armed */
	bool starved;      /* the receive ended with -ENOBUFS; the fd waits in srv.starved */
	bool sending;      /* one send is pending: two in flight on one stream may reorder */
	bool finished;     /* end of file or error: close when idle */
	uint8_t matched;   /* 0..3 bytes of "\r\n\r\n" seen at the end of the last buffer */
	uint64_t owed;     /* reply bytes not sent yet */
	uint32_t position; /* where in a reply the next byte to send lies */
};

static struct server {
	struct io_uring ring;
	struct io_uring_buf_ring *buf_ring;
	int listener;
	bool stop;
	int returned_count; /* buffers given back since the last publication to the kernel */
	int starved_count;
	uint64_t enter_count;
	uint64_t sent_bytes;
	int starved[CONN_COUNT];
	struct conn conns[CONN_COUNT];
	char replies[REPLY_COUNT * REPLY_BYTES];
} srv;

static char memory[BUF_COUNT][BUF_BYTES] __attribute__((aligned(4096)));

static void die(const char *what, int error)
{
	fprintf(stderr, "raw_http: %s: %s\n", what, strerror(error));
	exit(1);
}

/* ---- counting requests ---- */

/* One byte of the automaton for "\r\n\r\n"; returns how much of it is matched now, 4 when all. */
static unsigned match_step(unsigned matched, char c)
{
	if (c == "\r\n\r\n"[matched])
		return matched + 1;
	return c == '\r' ? 1 : 0;
}

/* How far a 4-byte window may move when its last byte is c and it does not match. */
static size_t window_shift(char c)
{
	if (c == '\n')
		return 2;
	return c == '\r' ? 1 : 4;
}

/*
 * Counts the blank lines in p[0..len), of which the first may have begun in the buffer before.
 * The automaton crosses the borders; between them a window looks at every fourth byte only.
 */
static unsigned requests_count(uint8_t *matched, const char *p, size_t len)
{
	unsigned count = 0, m = *matched;
	size_t i = 0;

	while (m > 0 && i < len) {
		m = match_step(m, p[i++]);
		if (m == 4) {
			count++;
			m = 0;
		}
	}
	while (m == 0 && i + 4 <= len) {
		if (p[i + 3] == '\n' && memcmp(p + i, "\r\n\r\n", 4) == 0) {
			count++;
			i += 4;
		} else {
			i += window_shift(p[i + 3]);
		}
	}
	while (i < len)
		m = match_step(m, p[i++]);
	*matched = (uint8_t)m;
	return count;
}

/* ---- the loop ---- */

static void enter(unsigned wait_count)
{
	int r = io_uring_submit_and_wait(&srv.ring, wait_count);

	srv.enter_count++;
	if (r < 0 && r != -EINTR && r != -EAGAIN && r != -EBUSY)
		die("io_uring_enter", -r);
}

static struct io_uring_sqe *sqe_get(void)
{
	struct io_uring_sqe *sqe;

	while (!(sqe = io_uring_get_sqe(&srv.ring)))
		enter(0);
	return sqe;
}

/* After the prep function: those of older liburing clear user_data. */
static void sqe_tag(struct io_uring_sqe *sqe, enum op op, int fd)
{
	io_uring_sqe_set_data64(sqe, (uint64_t)op << 32 | (uint32_t)fd);
}

static void accept_arm(void)
{
	struct io_uring_sqe *sqe = sqe_get();

	io_uring_prep_multishot_accept(sqe, srv.listener, NULL, NULL, SOCK_CLOEXEC);
	sqe_tag(sqe, OP_ACCEPT, srv.listener);
}

static void recv_arm(int fd)
{
	struct io_uring_sqe *sqe = sqe_get();

	io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = BUF_GROUP;
	sqe_tag(sqe, OP_RECV, fd);
	srv.conns[fd].receiving = true;
}

/* All replies are equal, so the rest of a short send is found from its position alone. */
static void send_arm(int fd)
{
	struct conn *c = &srv.conns[fd];
	struct io_uring_sqe *sqe = sqe_get();
	size_t len = sizeof(srv.replies) - c->position;

	if (len > c->owed)
		len = c->owed;
	io_uring_prep_send(sqe, fd, srv.replies + c->position, len, MSG_NOSIGNAL | MSG_WAITALL);
	sqe_tag(sqe, OP_SEND, fd);
	c->sending = true;
}

static void buf_return(uint16_t id)
{
	io_uring_buf_ring_add(srv.buf_ring, memory[id], BUF_BYTES, id,
			      io_uring_buf_ring_mask(BUF_COUNT), srv.returned_count++);
}

/* Starved receives are re-armed here, when all buffers are back: earlier they would fail again. */
static void bufs_publish(void)
{
	io_uring_buf_ring_advance(srv.buf_ring, srv.returned_count);
	srv.returned_count = 0;
	while (srv.starved_count > 0) {
		int fd = srv.starved[--srv.starved_count];

		srv.conns[fd].starved = false;
		recv_arm(fd);
	}
}

/* A starved connection is closed when its re-armed receive has reported: the list holds no closed fd. */
static void close_if_idle(int fd)
{
	struct conn *c = &srv.conns[fd];

	if (c->finished && !c->receiving && !c->sending && !c->starved)
		close(fd);
}

static void on_accept(const struct io_uring_cqe *cqe)
{
	if (cqe->res >= CONN_COUNT)
		close(cqe->res);
	if (cqe->res >= 0 && cqe->res < CONN_COUNT) {
		srv.conns[cqe->res] = (struct conn){ .receiving = false };
		recv_arm(cqe->res);
	}
	if (!(cqe->flags & IORING_CQE_F_MORE))
		accept_arm();
}

static void on_recv_ended(int fd, int result)
{
	struct conn *c = &srv.conns[fd];

	c->receiving = false;
	if (result == -ENOBUFS && !c->finished) {
		c->starved = true;
		srv.starved[srv.starved_count++] = fd;
	} else if (result > 0 && !c->finished) {
		recv_arm(fd);
	} else {
		c->finished = true;
	}
}

static void on_recv(int fd, const struct io_uring_cqe *cqe)
{
	struct conn *c = &srv.conns[fd];

	if (cqe->flags & IORING_CQE_F_BUFFER) {
		uint16_t id = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);

		if (cqe->res > 0 && !c->finished)
			c->owed += (uint64_t)REPLY_BYTES *
				   requests_count(&c->matched, memory[id], (size_t)cqe->res);
		buf_return(id);
	}
	if (!(cqe->flags & IORING_CQE_F_MORE))
		on_recv_ended(fd, cqe->res);
	if (!c->sending && c->owed > 0)
		send_arm(fd);
	close_if_idle(fd);
}

static void on_send(int fd, const struct io_uring_cqe *cqe)
{
	struct conn *c = &srv.conns[fd];

	c->sending = false;
	if (cqe->res < 0) { /* nothing more can be said: make the receive end too */
		c->owed = 0;
		c->finished = true;
		shutdown(fd, SHUT_RDWR);
	} else {
		c->owed -= (uint64_t)cqe->res;
		c->position = (c->position + (uint32_t)cqe->res) % REPLY_BYTES;
		srv.sent_bytes += (uint64_t)cqe->res;
		if (c->owed > 0)
			send_arm(fd);
	}
	close_if_idle(fd);
}

static void on_completion(const struct io_uring_cqe *cqe)
{
	int fd = (int)(uint32_t)cqe->user_data;

	switch ((enum op)(cqe->user_data >> 32)) {
	case OP_STOP: srv.stop = true; break;
	case OP_ACCEPT: on_accept(cqe); break;
	case OP_RECV: on_recv(fd, cqe); break;
	case OP_SEND: on_send(fd, cqe); break;
	}
}

static void serve(void)
{
	while (!srv.stop) {
		struct io_uring_cqe *cqe;
		unsigned head, seen_count = 0;

		enter(1);
		io_uring_for_each_cqe(&srv.ring, head, cqe)
		{
			on_completion(cqe);
			seen_count++;
		}
		io_uring_cq_advance(&srv.ring, seen_count);
		bufs_publish();
	}
}

/* ---- set-up ---- */

static void ring_open(void)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE,
		.cq_entries = CQ_ENTRIES,
	};
	int r = io_uring_queue_init_params(SQ_ENTRIES, &srv.ring, &params);

	if (r < 0)
		die("io_uring_queue_init_params", -r);
	r = io_uring_register_ring_fd(&srv.ring);
	if (r < 0)
		die("io_uring_register_ring_fd", -r);
}

static void bufs_open(void)
{
	struct io_uring_buf_reg reg = { .ring_entries = BUF_COUNT, .bgid = BUF_GROUP };
	int r;

	srv.buf_ring = aligned_alloc(4096, BUF_COUNT * sizeof(struct io_uring_buf));
	if (!srv.buf_ring)
		die("aligned_alloc", ENOMEM);
	io_uring_buf_ring_init(srv.buf_ring);
	reg.ring_addr = (uint64_t)(uintptr_t)srv.buf_ring;
	r = io_uring_register_buf_ring(&srv.ring, &reg, 0);
	if (r < 0)
		die("io_uring_register_buf_ring", -r);
	for (int id = 0; id < BUF_COUNT; id++)
		buf_return((uint16_t)id);
	bufs_publish();
}

static void replies_fill(void)
{
	for (size_t i = 0; i < REPLY_COUNT; i++)
		memcpy(srv.replies + i * REPLY_BYTES, REPLY, REPLY_BYTES);
}

static void listener_open(uint16_t port)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int on = 1;

	srv.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (srv.listener < 0)
		die("socket", errno);
	if (setsockopt(srv.listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		die("setsockopt", errno);
	if (bind(srv.listener, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		die("bind", errno);
	if (listen(srv.listener, 4096) < 0)
		die("listen", errno);
	accept_arm();
}

/* The signals become a completion: no flag that could be set between its check and the wait. */
static void signals_open(void)
{
	struct io_uring_sqe *sqe = sqe_get();
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (fd < 0)
		die("signalfd", errno);
	io_uring_prep_poll_add(sqe, fd, POLLIN);
	sqe_tag(sqe, OP_STOP, fd);
}

int main(int argc, char **argv)
{
	int port = argc == 2 ? atoi(argv[1]) : 0;

	if (port < 1 || port > UINT16_MAX) {
		fprintf(stderr, "usage: raw_http PORT\n");
		return 2;
	}
	ring_open();
	replies_fill();
	bufs_open();
	signals_open();
	listener_open((uint16_t)port);
	serve();
	printf("{\"enters\":%llu,\"requests\":%llu}\n", (unsigned long long)srv.enter_count,
	       (unsigned long long)(srv.sent_bytes / REPLY_BYTES));
	return 0;
}
