/*
 * io/internal/stream.h - what differs between streams: where their bytes come from and go to.
 *
 * io/stream.c has what they have in common: received buffers and the spill in front of them, unsent bytes, who waits.
 * A kind starts the operations whose completions torc__stream_on_rx and torc__stream_on_tx take, or, without a kernel
 * below, moves the bytes itself.
 */
#ifndef TORC_IO_INTERNAL_STREAM_H
#define TORC_IO_INTERNAL_STREAM_H

#include <torc/io/stream.h>

#include "core/internal/fiber.h"
#include "io/internal/buffers.h"

/* Bytes that may wait to be sent, and from where on the caller's memory is sent as it is. */
#define TORC__TX_HIGH   65536u
#define TORC__TX_DIRECT 16384u

struct torc_tls;

/*
 * What struct torc_tls begins with. A server calls through it, so that a program without TLS is not linked with OpenSSL.
 */
struct torc__secure {
	int (*accept)(struct torc_stream *s, struct torc_tls *tls);
};

/* What a server wants of its connections: struct torc_stream.drain. */
enum torc__drain {
	TORC__DRAIN_NOT,
	TORC__DRAIN_GENTLY, /* to end where their protocol allows it */
	TORC__DRAIN_NOW,    /* not to wait for more: reading fails with -ECANCELED */
};

struct torc__stream_kind {
	/*
	 * Get more bytes; no receiving is under way, and neither a scope nor a failure is in the way. Returns 0 when they will
	 * come, and who waits will be woken; 1 when some have come, or the end, for which it may have suspended; or a
	 * negative errno.
	 */
	int (*arm)(struct torc_stream *s);
	/* Receive on into shared buffers, of which there are, though nobody waits. NULL: it is of no use, or not possible. */
	void (*watch)(struct torc_stream *s);
	/* Send what is in s->sending from sending_offset on; at the end of a turn, outside of fibers. */
	void (*send)(struct torc_stream *s);
	/* The caller's bytes, at least TORC__TX_DIRECT of them, while nothing else is unsent. NULL: they are copied. */
	int (*write)(struct torc_stream *s, const void *data, size_t len);
	int (*shutdown)(struct torc_stream *s); /* everything was sent */
	void (*close)(struct torc_stream *s);   /* no operation is pending any more */
	/* The structure was copied to here. NULL: nobody has its address. */
	void (*moved)(struct torc_stream *s);
	/* The stream below if all that is written goes there as it is, else NULL. NULL: it never does. */
	struct torc_stream *(*bare)(struct torc_stream *s);
	/* Has it received what it has not shown, or an end? NULL: what there is can be seen. */
	bool (*holds)(const struct torc_stream *s);
};

extern const struct torc__stream_kind torc__socket_kind; /* stream_socket.c */

/* A stream on these; what can fail was done before. */
void torc__stream_init(struct torc_stream *s, const struct torc__stream_kind *kind,
		       struct torc__buffers *b, int rx_fd, int tx_fd);

/* For torc_op_start: what the completions do. */
void torc__stream_on_rx(struct torc_op *op, int res, unsigned cqe_flags);
void torc__stream_on_tx(struct torc_op *op, int res, unsigned cqe_flags);

/* To be called with what a sending that needed no operation has come to, as if it were a completion. */
void torc__stream_sent(struct torc_stream *s, int res);

/* Sending has failed; all later writes do, the same way, but after -ECANCELED and -ETIMEDOUT with -EPIPE. */
void torc__stream_tx_failed(struct torc_stream *s, int error);

/* All reading and writing fails from now on, and what was received is not shown. Not to be cut short. */
void torc__stream_fail(struct torc_stream *s, int error);

/* What ends the reading beside its own error and end: 0, or why sending has failed. */
int torc__stream_tx_failure(const struct torc_stream *s);

/* Bytes to be sent, as if written, but outside of fibers too and without a limit. 0 or -ENOMEM. */
int torc__stream_append(struct torc_stream *s, const void *data, size_t len);

/* Room for so many, if they are to be appended in several pieces. 0 or -ENOMEM. */
int torc__stream_prepare(struct torc_stream *s, size_t len);

/* Wait until at most `most` bytes are unsent, here and below. 0, or as torc_stream_flush. */
int torc__stream_await_sent(struct torc_stream *s, size_t most);

/* Send what there is now, and not at the end of the turn; outside of fibers too. */
void torc__stream_push(struct torc_stream *s);

/* A fiber that waits for bytes is to look again. */
void torc__stream_wake_reader(struct torc_stream *s);

/*
 * Put a stream of another kind on top of this one, which moves to *below: what reads and writes `s` from now on does so
 * through the new kind. Nothing may be unsent; the receiving is stopped, which is not to be cut short.
 */
void torc__stream_cover(struct torc_stream *s, const struct torc__stream_kind *kind,
			struct torc_stream *below);

/* Room for `more` bytes behind what the spill holds, in one piece with it. 0 or -ENOMEM. */
int torc__stream_spill(struct torc_stream *s, size_t more);

/*
 * Room for what the kernel is to receive next: behind the spill, to which what is in received buffers is moved. At least
 * `bytes` are asked for; what there is comes out. 0 or -ENOMEM.
 */
int torc__stream_receive_room(struct torc_stream *s, size_t bytes, struct iovec *ret_room);

/* Nothing was received into that room. */
void torc__stream_drop_room(struct torc_stream *s);

/* What is to be seen in one piece; false: nothing is. */
bool torc__stream_shown(const struct torc_stream *s, struct torc_slice *ret_view);

/*
 * For those who take the bytes from the descriptor themselves. Stop the receiving: not to be cut short, for the kernel has
 * our memory. Wait until there is something to take: 0, or a negative errno. Say how much was taken.
 */
void torc__stream_stop_receiving(struct torc_stream *s);
int torc__stream_await_readable(struct torc_stream *s);
void torc__stream_took(struct torc_stream *s, uint64_t n);

/*
 * Cancel a scope when the peer ends or resets the connection while nobody reads it; only_resets: not by an end. A reset that
 * has happened before counts, an end does not. It sees as far as receiving goes on: not beyond RX_HIGH received buffers, nor without free ones.
 *
 * torc__stream_unwatch before the scope is left.
 */
void torc__stream_watch_slowly(struct torc_stream *s);

/* The same for a connection on which nothing is to come: bytes count too, of a stream that torc__stream_is_quiet. */
void torc__stream_watch_quiet(struct torc_stream *s, struct torc_scope *scope);

/* Nothing is there to be read, and nothing has failed, as far as is known. */
bool torc__stream_is_quiet(const struct torc_stream *s);

static inline void torc__stream_watch(struct torc_stream *s, struct torc_scope *scope,
				      bool only_resets)
{
	if (torc__unlikely(s->below != NULL))
		s = s->below;
	s->watcher = scope;
	s->watch_resets = only_resets;
	/* A receive that is under way will tell. */
	if (torc__unlikely(!torc_op_pending(&s->rx)))
		torc__stream_watch_slowly(s);
}

static inline void torc__stream_unwatch(struct torc_stream *s)
{
	if (torc__unlikely(s->below != NULL))
		s = s->below;
	s->watcher = NULL;
	s->watch_bytes = false;
}

/* Has the peer ended the connection, as far as is known? A reset is no end. */
static inline bool torc__stream_has_ended(const struct torc_stream *s)
{
	if (torc__unlikely(s->below != NULL))
		s = s->below;
	return s->rx_eof && !s->rx_error;
}

/* Do something at the end of the turn: send, stop receiving. */
static inline void torc__stream_defer(struct torc_stream *s)
{
	torc__turn_defer(s->buffers->loop, &s->work);
}

size_t torc__stream_unsent_below(const struct torc_stream *s);

static inline size_t torc__stream_unsent(const struct torc_stream *s)
{
	size_t n = s->pending_len + s->sending_len - s->sending_offset;

	return torc__likely(!s->below) ? n : n + torc__stream_unsent_below(s);
}

#endif
