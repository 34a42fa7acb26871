/*
 * io/stream_socket.c - streams over sockets.
 */
#include <errno.h>

#include <torc/io/socket.h>

#include "io/internal/stream.h"

/* Receive into the loop's shared buffers, which are picked when data is there. */
static void arm_shared(struct torc_stream *s)
{
	struct io_uring_sqe *sqe = torc_op_start(&s->rx, torc__stream_on_rx);

	if (s->buffers->loop->ring.disabled & TORC__RECV_MULTISHOT)
		io_uring_prep_recv(sqe, s->fd, NULL, 0, 0);
	else
		io_uring_prep_recv_multishot(sqe, s->fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = TORC__BUFFER_GROUP;
}

/* The shared ones are all in use: a buffer of our own, so that slow readers elsewhere do not starve us. */
static int arm_private(struct torc_stream *s)
{
	struct iovec room;
	int r = torc__stream_receive_room(s, TORC__BUFFER_BYTES, &room);

	if (r < 0)
		return r;
	io_uring_prep_recv(torc_op_start(&s->rx, torc__stream_on_rx), s->fd, room.iov_base,
			   room.iov_len, 0);
	s->rx_private = true;
	return 0;
}

static void socket_watch(struct torc_stream *s)
{
	s->rx_private = false;
	arm_shared(s);
}

static int socket_arm(struct torc_stream *s)
{
	if (!s->buffers->available)
		return arm_private(s);
	arm_shared(s);
	return 0;
}

/* The peer keeps up: the send is over when it is submitted, and only a failure is worth a completion. */
static void send_quietly(struct torc_stream *s, const char *data, uint32_t len)
{
	struct io_uring_sqe *sqe = torc_op_start_quiet(&s->tx, torc__stream_on_tx, (int)len);

	io_uring_prep_send(sqe, s->fd, data, len, MSG_NOSIGNAL | MSG_WAITALL | MSG_DONTWAIT);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

/* The socket's buffer is full: let the kernel wait until the peer has made room. */
static void send_waiting(struct torc_stream *s, const char *data, uint32_t len)
{
	struct io_uring_sqe *sqe = torc_op_start(&s->tx, torc__stream_on_tx);

	io_uring_prep_send(sqe, s->fd, data, len, MSG_NOSIGNAL | MSG_WAITALL);
}

/* Who waits for the end of the send must be woken by it: a quiet one ends no sleep of the loop. */
static bool is_waited_for(const struct torc_stream *s)
{
	while (s && !s->tx_wait)
		s = s->above;
	return s;
}

static void socket_send(struct torc_stream *s)
{
	bool quiet = !s->tx_full && !is_waited_for(s) &&
		     !(s->buffers->loop->ring.disabled & TORC__CQE_SKIP);

	(quiet ? send_quietly : send_waiting)(s, s->sending + s->sending_offset,
					      s->sending_len - s->sending_offset);
}

static int socket_write(struct torc_stream *s, const void *data, size_t len)
{
	return torc_send_all(s->fd, data, len);
}

static int socket_shutdown(struct torc_stream *s)
{
	return torc_shutdown(s->fd, SHUT_WR);
}

static void socket_close(struct torc_stream *s)
{
	s->buffers->sockets--;
	torc_close(s->fd);
}

const struct torc__stream_kind torc__socket_kind = {
	.arm = socket_arm,
	.watch = socket_watch,
	.send = socket_send,
	.write = socket_write,
	.shutdown = socket_shutdown,
	.close = socket_close,
};

int torc_stream_open(struct torc_stream *s, int fd)
{
	struct torc__buffers *b = torc__buffers(torc__self()->loop);

	if (!b)
		return -ENOMEM;
	torc__stream_init(s, &torc__socket_kind, b, fd, fd);
	b->sockets++;
	return 0;
}
