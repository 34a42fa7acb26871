/*
 * io/stream.h - buffers over a socket, pipe, terminal or file, or between two fibers: read without copying, write
 * in one send per turn.
 *
 * Receiving. Data arrives in buffers that the loop shares among its connections: a stream that waits
 * for data holds none. (Over a regular file it has 64 KiB of its own, and over a pipe or terminal from a full
 * buffer until the next read that finds less.) torc_stream_peek shows what is there without copying it,
 * torc_stream_consume gives it back:
 *
 *	while ((r = torc_stream_peek(s, &in)) > 0) {
 *		use(in.data, in.len);
 *		torc_stream_consume(s, in.len);
 *	}
 *
 * A reader that does not keep up stops the receiving, and with it, through TCP or the pipe, the peer.
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

struct torc__stream_kind;
struct torc__stream_memory;
struct torc__tls;
struct torc__wait;
struct torc_rate;
struct torc_scope;

/* Caller's memory from torc_stream_open to torc_stream_close. The fields are private. */
struct torc_stream {
	struct torc_op rx, tx;
	struct torc__turn_work work;
	struct torc__wait *rx_wait, *tx_wait;
	struct torc__buffers *buffers;
	const struct torc__stream_kind *kind;
	int fd, tx_fd; /* to read from and to write to; of a socket the same */
	int32_t rx_error, tx_error;
	uint32_t rx_offset;                   /* consumed bytes of the first buffer */
	uint16_t rx_first, rx_last, rx_count; /* received buffers, in order */
	bool rx_eof, rx_private, rx_ready, rx_bulk;
	bool tx_none, tx_full, tx_closed, closing, busy, watch_resets, watch_due,
		watch_bytes;
	char *spill; /* bytes in front of the received buffers, contiguous */
	uint32_t spill_offset, spill_len, spill_capacity;
	char *pending, *sending; /* chunks: filled, and in the kernel's hands */
	uint32_t pending_len, pending_capacity;
	uint32_t sending_len, sending_offset, sending_capacity;
	size_t owed;      /* shown by torc_stream_read_line, to be consumed by the next read */
	uint64_t rx_left; /* that may still be read: torc_stream_limit */
	struct torc_rate *rx_rate, *tx_rate;
	uint64_t rx_resume_ns, tx_resume_ns;
	uint64_t rx_wait_ns, tx_wait_ns;      /* 0: for ever; torc_stream_limit_waits */
	const uint8_t *drain;                 /* the server's enum torc__drain, or NULL */
	struct torc__stream_memory *in, *out; /* torc_stream_pair */
	struct torc__tls *tls;                /* io/tls.h */
	struct torc_stream *below, *above;    /* the one that it is encrypted into, and back */
	struct torc_scope *watcher; /* to be cancelled when the peer leaves; of the lowest stream */
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
 * torc_stream_open_fds - put a stream onto anything else that is read and written: pipes, terminals, regular files, standard
 * input and output.
 *
 * Reading and writing are at the descriptor's own position, as with read(2) and write(2); a stream reads ahead, up to 64 KiB
 * of a regular file, so that one position for both directions is of use only where positions mean nothing. A descriptor
 * for both directions is passed twice. The end that a regular file or a terminal has shown once stays the end.
 *
 *   @rx_fd  to read from, or -1: reading is -EBADF
 *   @tx_fd  to write to, or -1: writing is -EBADF. Both are the stream's from now on: torc_stream_shutdown closes
 *           tx_fd unless it is rx_fd, torc_stream_close what is left
 *
 * Returns     0
 *             -ENOMEM   no memory for the loop's buffers; the descriptors are still the caller's
 * Suspends    never
 * Thread      a fiber's; the stream belongs to its loop
 */
TORC_API TORC_MUST_CHECK int torc_stream_open_fds(struct torc_stream *stream, int rx_fd, int tx_fd);

/*
 * torc_stream_pair - two streams, each of which reads what is written to the other, without a descriptor or a copy by the
 * kernel: for tests, and for code that wants a stream.
 *
 * Up to 128 KiB are on their way in each direction. What was written before an end is closed is read before the end; a
 * write to a stream whose other end is closed fails with -EPIPE, at the latest the flush after it.
 *
 * Returns     0
 *             -ENOMEM
 * Suspends    never
 * Thread      a fiber's; both streams belong to its loop
 */
TORC_API TORC_MUST_CHECK int torc_stream_pair(struct torc_stream *a, struct torc_stream *b);

/*
 * torc_stream_fd - the descriptor below it, to ask for addresses and set options; not to be read, written or closed.
 *
 * Returns     the descriptor, of two the one to read from; -1 for a stream in memory
 * Suspends    never
 */
TORC_API int torc_stream_fd(const struct torc_stream *stream);

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
 *             -EIO, -EBADF, ...  the file failed, as read(2)
 * Suspends    if nothing is there, and while a rate holds it back (torc_stream_limit_rates)
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
 * torc_stream_read_line - see one line, without its end: a newline, or a carriage return and a newline. The next call that
 * reads consumes it.
 *
 *   @limit     1 .. TORC_STREAM_VIEW_MAX: the longest line, with its end
 *   @ret_line  valid until the next call that reads or consumes
 *
 * Returns     1   a line; the last one of a stream may lack its end
 *             0   the stream ended, and everything was read
 *             -EMSGSIZE   longer than `limit`: nothing was consumed
 *             or as torc_stream_peek
 */
TORC_API TORC_MUST_CHECK int torc_stream_read_line(struct torc_stream *stream, size_t limit,
						   struct torc_slice *ret_line);

/* torc_stream_unlimited, for torc_stream_limit. */
#define TORC_STREAM_UNLIMITED UINT64_MAX

/*
 * torc_stream_limit - let at most `most` more bytes be read: then the stream seems to end, until another limit is set.
 *
 * For a part whose length is known, such as a body: whoever is given the stream cannot read beyond it.
 */
TORC_API void torc_stream_limit(struct torc_stream *stream, uint64_t most);

/*
 * torc_stream_limit_rates - keep to a number of bytes per second (io/rate.h), of what is consumed and of what is written.
 *
 * What is in one view, or one write below 16 KiB, goes as one; the next waits until it is paid for.
 *
 *   @rx, @tx  NULL: no limit. Borrowed until the stream is closed; may be shared by any number of streams, of all loops
 */
TORC_API void torc_stream_limit_rates(struct torc_stream *stream, struct torc_rate *rx,
				      struct torc_rate *tx);

/*
 * torc_stream_limit_waits - how long one wait may take for the peer to send, and to take what was sent: then the call fails with
 * -ETIMEDOUT, the scope's deadline may be much later. 0: no limit but the scope's.
 */
TORC_API void torc_stream_limit_waits(struct torc_stream *stream, uint64_t read_ns,
				      uint64_t write_ns);

/*
 * torc_stream_write - send bytes, in order, at the end of the turn.
 *
 * Returns     0   they are on their way, or (16 KiB and more) taken by the kernel
 *             -EPIPE, -ECONNRESET, ...   the connection has failed, now or in an earlier write
 *             -ENOSPC, -EDQUOT, -EFBIG, ...  the same of a file, as write(2)
 *             -ECANCELED, -ETIMEDOUT   the scope. If len is below 16 KiB, nothing of it was taken;
 *                                      else an unknown part: later writes fail with -EPIPE
 *             -ENOMEM
 * Suspends    if 64 KiB are waiting to be sent, len is 16 KiB or more, or a rate holds it back
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
 * Over descriptors the one for writing is closed, unless it is the one for reading too.
 *
 * Returns     0, or as torc_stream_write
 */
TORC_API TORC_MUST_CHECK int torc_stream_shutdown(struct torc_stream *stream);

/*
 * torc_stream_copy - what `from` reads until its end, to `to`.
 *
 * Between two sockets, a socket and a pipe, or from a file of 64 KiB or more to a socket, the kernel moves the bytes without showing
 * them (splice(2)); what was received before is sent first. The sockets and pipes are made non-blocking for that, and stay so: others who have them by dup(2) or
 * fork(2) see it. `to` is flushed, and not shut down.
 *
 * In a draining server (io/server.h) it ends with -ECANCELED where it would wait for `from`, if that is the connection; with
 * bytes that always come it goes on until the grace period is over.
 *
 *   @most        0 .. UINT64_MAX: after so many bytes it returns as at the end
 *   @ret_copied  bytes taken from `from`, also on failure: then some of them may not have got through. May be NULL
 *
 * Returns     0   the end of `from`, or `most` bytes
 *             or as torc_stream_peek and torc_stream_write. After the scope has ended it both streams may be used
 *             on, but that bytes which had been taken and not sent are lost: *ret_copied counts them, and writes
 *             to `to` then fail with -EPIPE
 * Suspends    yes
 */
TORC_API TORC_MUST_CHECK int torc_stream_copy(struct torc_stream *to, struct torc_stream *from,
					      uint64_t most, uint64_t *ret_copied);

/*
 * torc_stream_tee - the same to two streams, at the speed of the slower one. The first that fails ends it.
 *
 * Neither gets anything twice when it is called again: what `to` was given and `also_to` was not is counted as copied, and
 * writes to `also_to` then fail, after the end of the scope with -EPIPE.
 */
TORC_API TORC_MUST_CHECK int torc_stream_tee(struct torc_stream *to, struct torc_stream *also_to,
					     struct torc_stream *from, uint64_t most,
					     uint64_t *ret_copied);

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
 * torc_stream_set_busy - in a server that drains, a read that would suspend fails with -ECANCELED at
 * once, unless the connection is busy: then it may finish within the grace period (io/server.h). A read
 * that finds received bytes does not fail, busy or not.
 */
TORC_API void torc_stream_set_busy(struct torc_stream *stream, bool busy);

TORC_END_DECLS

#endif
