/*
 * io/stream.h - a connected socket with buffers: read without copying, write in one send per turn.
 *
 * Receiving. Data arrives in buffers that the loop shares among its connections: a stream that waits
 * for data holds none. torc_stream_peek shows what is there without copying it, torc_stream_consume
 * gives it back:
 *
 *	while ((r = torc_stream_peek(s, &in)) > 0) {
 *		use(in.data, in.len);
 *		torc_stream_consume(s, in.len);
 *	}
 *
 * A reader that does not keep up stops the receiving, and with it, through TCP, the peer.
 *
 * Sending. torc_stream_write copies into a buffer that goes out once, at the end of the loop's turn: the
 * answers to a train of pipelined requests are one send. When 64 KiB wait to be sent, it
 * suspends until the peer has taken some. 16 KiB and more in one write are sent without a copy.
 *
 * Errors stick: once a write has failed, all later ones fail the same way. One fiber reads and one
 * writes at a time; they may be two.
 */
#ifndef TORC_IO_STREAM_H
#define TORC_IO_STREAM_H

#include <torc/core/op.h>
#include <torc/core/slice.h>

TORC_BEGIN_DECLS

struct torc__wait;

/* Caller's memory from torc_stream_open to torc_stream_close. The fields are private. */
struct torc_stream {
	struct torc_op rx, tx;
	struct torc__turn_work work;
	struct torc__wait *rx_wait, *tx_wait;
	struct torc__buffers *buffers;
	int fd;
	int32_t rx_error, tx_error;
	uint32_t rx_offset;                   /* consumed bytes of the first buffer */
	uint16_t rx_first, rx_last, rx_count; /* received buffers, in order */
	bool rx_eof, rx_private, tx_full, tx_closed, closing, busy;
	char *spill; /* bytes in front of the received buffers, contiguous */
	uint32_t spill_offset, spill_len, spill_capacity;
	char *pending, *sending; /* chunks: filled, and in the kernel's hands */
	uint32_t pending_len, pending_capacity;
	uint32_t sending_len, sending_offset, sending_capacity;
	const bool *draining; /* the server's, or NULL */
};

/* What fits into one contiguous view (torc_stream_fill, torc_stream_read_until). */
#define TORC_STREAM_VIEW_MAX ((size_t)1 << 20)

/*
 * torc_stream_open - put a stream onto a connected socket.
 *
 *   @fd  the stream's from now on: torc_stream_close closes it
 *
 * Returns     0
 *             -ENOMEM   no memory for the loop's buffers; fd is still the caller's
 * Suspends    never
 * Thread      a fiber's; the stream belongs to its loop
 */
TORC_API TORC_MUST_CHECK int torc_stream_open(struct torc_stream *stream, int fd);

/*
 * torc_stream_peek - see what has been received.
 *
 *   @ret_view  valid until the next call that reads or consumes
 *
 * Returns     1   there is data: 1 byte or more
 *             0   the peer has shut down its sending side, and all data was consumed
 *             -ECANCELED, -ETIMEDOUT   the scope; nothing was consumed. -ECANCELED also in a draining
 *                                      server (io/server.h)
 *             -ECONNRESET, ...   the connection failed
 * Suspends    if nothing is there
 */
TORC_API TORC_MUST_CHECK int torc_stream_peek(struct torc_stream *stream,
					      struct torc_slice *ret_view);

/*
 * torc_stream_fill - see at least `least` bytes in one piece.
 *
 *   @least  1 .. TORC_STREAM_VIEW_MAX
 *
 * Returns     1, and the rest as torc_stream_peek; at the end 0, with *ret_view the bytes that are left
 *             -EMSGSIZE   more than TORC_STREAM_VIEW_MAX asked for
 *             -ENOMEM
 */
TORC_API TORC_MUST_CHECK int torc_stream_fill(struct torc_stream *stream, size_t least,
					      struct torc_slice *ret_view);

/* torc_stream_consume - give back the first n bytes seen; more than were shown traps. */
TORC_API void torc_stream_consume(struct torc_stream *stream, size_t n);

/*
 * torc_stream_read - copy what has been received, at most len bytes.
 *
 * Returns     1..len, 0 at the end, or an error as torc_stream_peek
 */
TORC_API TORC_MUST_CHECK int torc_stream_read(struct torc_stream *stream, void *buf, size_t len);

/*
 * torc_stream_read_exact - copy exactly len bytes.
 *
 * Returns     0
 *             -EPIPE   the stream ended first; what came is lost
 *             or an error as torc_stream_peek: what was copied before it is consumed
 */
TORC_API TORC_MUST_CHECK int torc_stream_read_exact(struct torc_stream *stream, void *buf,
						    size_t len);

/*
 * torc_stream_read_until - see everything up to and including a delimiter, in one piece.
 *
 *   @limit  1 .. TORC_STREAM_VIEW_MAX: how far to look
 *   @ret_view  to be consumed by the caller
 *
 * Returns     1   found
 *             0   the stream ended before one was found; *ret_view is what is left
 *             -EMSGSIZE   none in the first `limit` bytes
 *             or as torc_stream_peek
 */
TORC_API TORC_MUST_CHECK int torc_stream_read_until(struct torc_stream *stream, char delimiter,
						    size_t limit, struct torc_slice *ret_view);

/*
 * torc_stream_write - send bytes, in order, at the end of the turn.
 *
 * Returns     0   they are on their way, or (16 KiB and more) taken by the kernel
 *             -EPIPE, -ECONNRESET, ...   the connection has failed, now or in an earlier write
 *             -ECANCELED, -ETIMEDOUT   the scope. If len is below 16 KiB, nothing of it was taken;
 *                                      else an unknown part: later writes fail with -EPIPE
 *             -ENOMEM
 * Suspends    if 64 KiB are waiting to be sent, or len is 16 KiB or more
 */
TORC_API TORC_MUST_CHECK int torc_stream_write(struct torc_stream *stream, const void *data,
					       size_t len);

/*
 * torc_stream_reserve - room for up to len bytes in the send buffer, to be written in place.
 *
 * torc_stream_commit says how many of them were written. Nothing may suspend in between.
 *
 *   @len  1 .. 16384
 *   @ret_room  [len] bytes
 *
 * Returns     as torc_stream_write
 */
TORC_API TORC_MUST_CHECK int torc_stream_reserve(struct torc_stream *stream, size_t len,
						 char **ret_room);
TORC_API void torc_stream_commit(struct torc_stream *stream, size_t len);

/*
 * torc_stream_flush - wait until everything written has been taken by the kernel.
 *
 * Returns     0, or as torc_stream_write
 */
TORC_API TORC_MUST_CHECK int torc_stream_flush(struct torc_stream *stream);

/*
 * torc_stream_shutdown - flush, then tell the peer that no more will come (half-close). Receiving goes on.
 *
 * Returns     0, or as torc_stream_write
 */
TORC_API TORC_MUST_CHECK int torc_stream_shutdown(struct torc_stream *stream);

/*
 * torc_stream_close - flush, as far as the scope allows, and close the socket.
 *
 * The kernel has let go of the stream's memory when it returns, in a cancelled scope too.
 *
 * Returns     0   everything written was taken by the kernel
 *             or as torc_stream_flush: something was lost
 */
TORC_API int torc_stream_close(struct torc_stream *stream);

/*
 * torc_stream_set_busy - in a server that drains, a connection that waits in a read is closed at
 * once, unless it is busy: then it may finish within the grace period (io/server.h).
 */
TORC_API void torc_stream_set_busy(struct torc_stream *stream, bool busy);

TORC_END_DECLS

#endif
