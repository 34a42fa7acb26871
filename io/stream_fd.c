/*
 * io/stream_fd.c - streams over pipes, terminals and files.
 */
#include <errno.h>

#include <torc/core/sys.h>
#include <torc/io/file.h>
#include <torc/io/socket.h>

#include "io/internal/stream.h"

/* One reading of a regular file: from there on a copy costs more than the operation. */
#define FILE_BYTES 65536u

/* The descriptor's own position. */
#define HERE ((uint64_t)-1)

/* Into the loop's shared buffers: a pipe that nobody writes to holds none. */
static int arm_shared(struct torc_stream *s)
{
	struct io_uring_sqe *sqe = torc_op_start(&s->rx, torc__stream_on_rx);

	io_uring_prep_read(sqe, s->fd, NULL, TORC__BUFFER_BYTES, HERE);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = TORC__BUFFER_GROUP;
	return 0;
}

static int arm_private(struct torc_stream *s, size_t bytes)
{
	struct iovec room;
	int r = torc__stream_receive_room(s, bytes, &room);

	if (r < 0)
		return r;
	io_uring_prep_read(torc_op_start(&s->rx, torc__stream_on_rx), s->fd, room.iov_base,
			   (unsigned)room.iov_len, HERE);
	s->rx_private = true;
	return 0;
}

/* Who has filled one buffer will likely fill a large piece. */
static int pipe_arm(struct torc_stream *s)
{
	if (s->rx_bulk)
		return arm_private(s, FILE_BYTES);
	return s->buffers->available ? arm_shared(s) : arm_private(s, TORC__BUFFER_BYTES);
}

/* It is never waited for long, so the reader may have a large piece of its own. */
static int file_arm(struct torc_stream *s)
{
	return arm_private(s, FILE_BYTES);
}

static void fd_send(struct torc_stream *s)
{
	io_uring_prep_write(torc_op_start(&s->tx, torc__stream_on_tx), s->tx_fd,
			    s->sending + s->sending_offset, s->sending_len - s->sending_offset,
			    HERE);
}

static int fd_write(struct torc_stream *s, const void *data, size_t len)
{
	return torc_write_all(s->tx_fd, data, len);
}

static int fd_shutdown(struct torc_stream *s)
{
	if (s->tx_fd >= 0 && s->tx_fd != s->fd) {
		torc_close(s->tx_fd);
		s->tx_fd = -1;
	}
	return 0;
}

static void fd_close(struct torc_stream *s)
{
	if (s->fd >= 0)
		torc_close(s->fd);
	if (s->tx_fd >= 0 && s->tx_fd != s->fd)
		torc_close(s->tx_fd);
}

static const struct torc__stream_kind pipe_kind = {
	.arm = pipe_arm,
	.send = fd_send,
	.write = fd_write,
	.shutdown = fd_shutdown,
	.close = fd_close,
};

static const struct torc__stream_kind file_kind = {
	.arm = file_arm,
	.send = fd_send,
	.write = fd_write,
	.shutdown = fd_shutdown,
	.close = fd_close,
};

int torc_stream_open_fds(struct torc_stream *s, int rx_fd, int tx_fd)
{
	struct torc__buffers *b = torc__buffers(torc__self()->loop);

	if (!b)
		return -ENOMEM;
	torc__stream_init(s, torc_sys_seekable(rx_fd) ? &file_kind : &pipe_kind, b, rx_fd, tx_fd);
	s->rx_error = rx_fd < 0 ? -EBADF : 0;
	s->tx_none = tx_fd < 0;
	s->tx_error = s->tx_none ? -EBADF : 0;
	return 0;
}
