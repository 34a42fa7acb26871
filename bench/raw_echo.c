/*
 * raw_echo - a single-threaded io_uring echo server without any runtime: the opponent of torc-echo.
 *
 * It does by hand what a runtime has to do in general, and nothing else: multishot accept, multishot
 * receive into a provided-buffer ring, one send per received buffer, the buffer given back when its
 * send has completed. Whatever torc costs above this program is the price of its abstractions.
 *
 *   raw_echo PORT      serves 127.0.0.1:PORT until SIGTERM or SIGINT, then prints one line:
 *                      {"enters":N,"requests":N}    io_uring_enter calls, completed sends
 *
 * Not here on purpose: timeouts, limits, a stop that drains. A peer that never reads keeps the buffers
 * of its unsent bytes, so enough of them starve the others; torc must not, a yardstick may.
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

enum {
	SQ_ENTRIES = 1024,
	CQ_ENTRIES = 16384,
	BUF_COUNT = 1024, /* a power of two: the buffer ring masks with it */
	BUF_BYTES = 2048,
	BUF_GROUP = 0,
	CONN_COUNT = 65536, /* a connection's index is its fd */
	NO_BUF = UINT16_MAX,
};

/* What a completion is about: the high half of user_data; the low half is the fd. */
enum op { OP_STOP, OP_ACCEPT, OP_RECV, OP_SEND };

/* The fd stays open until neither operation is pending, so a completion never meets a reused index. */
struct conn {
	bool receiving;      /* a multishot receive is armed */
	bool starved;        /* the receive ended with -ENOBUFS; the fd waits in srv.starved */
	bool sending;        /* one send is pending: two in flight on one stream may reorder */
	bool finished;       /* end of file or error: close when idle */
	uint16_t head, tail; /* received buffers still to be echoed; head is NO_BUF when none */
	unsigned sent_bytes; /* of the head buffer */
};

struct buf {
	uint16_t next; /* in its connection's queue, or NO_BUF */
	unsigned len_bytes;
};

static struct server {
	struct io_uring ring;
	struct io_uring_buf_ring *buf_ring;
	int listener;
	bool stop;
	int held_count;     /* buffers that are not in the buffer ring */
	int returned_count; /* of those, given back but not published to the kernel yet */
	int starved_count;
	uint64_t enter_count;
	uint64_t send_count;
	struct buf bufs[BUF_COUNT];
	int starved[CONN_COUNT];
	struct conn conns[CONN_COUNT];
} srv;

static char memory[BUF_COUNT][BUF_BYTES] __attribute__((aligned(4096)));

static void die(const char *what, int error)
{
	fprintf(stderr, "raw_echo: %s: %s\n", what, strerror(error));
	exit(1);
}

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

static void send_arm(int fd)
{
	struct conn *c = &srv.conns[fd];
	struct io_uring_sqe *sqe = sqe_get();

	io_uring_prep_send(sqe, fd, memory[c->head] + c->sent_bytes,
			   srv.bufs[c->head].len_bytes - c->sent_bytes, MSG_NOSIGNAL | MSG_WAITALL);
	sqe_tag(sqe, OP_SEND, fd);
	c->sending = true;
}

static void buf_return(uint16_t id)
{
	io_uring_buf_ring_add(srv.buf_ring, memory[id], BUF_BYTES, id,
			      io_uring_buf_ring_mask(BUF_COUNT), srv.returned_count++);
}

/*
 * Starved receives are re-armed all together, and only when a buffer is free: with none, each would
 * fail at once, and spin; with a chosen few, the ones chosen may be idle while the others have data.
 */
static void bufs_publish(void)
{
	io_uring_buf_ring_advance(srv.buf_ring, srv.returned_count);
	srv.held_count -= srv.returned_count;
	srv.returned_count = 0;
	while (srv.starved_count > 0 && srv.held_count < BUF_COUNT) {
		int fd = srv.starved[--srv.starved_count];

		srv.conns[fd].starved = false;
		recv_arm(fd);
	}
}

static uint16_t queue_pop(struct conn *c)
{
	uint16_t id = c->head;

	c->head = srv.bufs[id].next;
	c->sent_bytes = 0;
	return id;
}

static void queue_push(struct conn *c, uint16_t id, unsigned len_bytes)
{
	srv.bufs[id] = (struct buf){ .next = NO_BUF, .len_bytes = len_bytes };
	if (c->head == NO_BUF)
		c->head = id;
	else
		srv.bufs[c->tail].next = id;
	c->tail = id;
}

/* A starved connection is closed when its re-armed receive has reported: the list holds no closed fd. */
static void close_if_idle(int fd)
{
	struct conn *c = &srv.conns[fd];

	if (c->finished && !c->receiving && !c->sending && !c->starved)
		close(fd);
}

/* An error on the sending side: drop what is queued, and make the receive end too. */
static void conn_abort(int fd)
{
	struct conn *c = &srv.conns[fd];

	while (c->head != NO_BUF)
		buf_return(queue_pop(c));
	c->finished = true;
	shutdown(fd, SHUT_RDWR);
}

static void on_accept(const struct io_uring_cqe *cqe)
{
	if (cqe->res >= CONN_COUNT)
		close(cqe->res);
	if (cqe->res >= 0 && cqe->res < CONN_COUNT) {
		srv.conns[cqe->res] = (struct conn){ .head = NO_BUF };
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

		srv.held_count++;
		if (cqe->res > 0 && !c->finished)
			queue_push(c, id, (unsigned)cqe->res);
		else
			buf_return(id);
	}
	if (!(cqe->flags & IORING_CQE_F_MORE))
		on_recv_ended(fd, cqe->res);
	if (!c->sending && c->head != NO_BUF)
		send_arm(fd);
	close_if_idle(fd);
}

static void on_send(int fd, const struct io_uring_cqe *cqe)
{
	struct conn *c = &srv.conns[fd];

	c->sending = false;
	if (cqe->res < 0) {
		conn_abort(fd);
	} else {
		c->sent_bytes += (unsigned)cqe->res;
		if (c->sent_bytes == srv.bufs[c->head].len_bytes) {
			buf_return(queue_pop(c));
			srv.send_count++;
		}
		if (c->head != NO_BUF)
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
	srv.held_count = BUF_COUNT;
	for (int id = 0; id < BUF_COUNT; id++)
		buf_return((uint16_t)id);
	bufs_publish();
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
		fprintf(stderr, "usage: raw_echo PORT\n");
		return 2;
	}
	ring_open();
	bufs_open();
	signals_open();
	listener_open((uint16_t)port);
	serve();
	printf("{\"enters\":%llu,\"requests\":%llu}\n", (unsigned long long)srv.enter_count,
	       (unsigned long long)srv.send_count);
	return 0;
}
