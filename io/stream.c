#include <torc/io/stream.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <torc/io/socket.h>

#include "core/internal/fiber.h"
#include "io/internal/buffers.h"

/* Received buffers a stream may hold before it stops receiving. */
#define RX_HIGH 32

/* Bytes that may wait to be sent, and from where on the caller's memory is sent as it is. */
#define TX_HIGH   65536u
#define TX_DIRECT 16384u

static void defer(struct torc_stream *s)
{
	torc__turn_defer(s->buffers->loop, &s->work);
}

static size_t unsent(const struct torc_stream *s)
{
	return s->pending_len + s->sending_len - s->sending_offset;
}

/* --- waiting: nothing of it is in the kernel, so a cancelled wait has no effect and is at once --- */

static void describe(const struct torc_stream *s, struct torc__message *m)
{
	torc__message_text(m, " of fd ");
	torc__message_number(m, (unsigned)s->fd, 10);
}

static void describe_rx(const struct torc__wait *wait, struct torc__message *m)
{
	describe(torc__container_of(torc__slot_of(wait), struct torc_stream, rx_wait), m);
}

static void describe_tx(const struct torc__wait *wait, struct torc__message *m)
{
	const struct torc_stream *s =
		torc__container_of(torc__slot_of(wait), struct torc_stream, tx_wait);

	describe(s, m);
	torc__message_text(m, ", unsent bytes ");
	torc__message_number(m, unsent(s), 10);
}

static const struct torc__wait_kind rx_kind = { "stream read", torc__slot_cancel, describe_rx };
static const struct torc__wait_kind tx_kind = { "stream write", torc__slot_cancel, describe_tx };
static const struct torc__wait_kind close_rx_kind = { "stream close", NULL, describe_rx };
static const struct torc__wait_kind close_tx_kind = { "stream close", NULL, describe_tx };

/* --- receiving --- */

static struct torc_stream *of_rx(struct torc_op *op)
{
	return torc__container_of(op, struct torc_stream, rx);
}

static void append_buffer(struct torc_stream *s, uint16_t id, uint32_t len)
{
	struct torc__buffers *b = s->buffers;

	b->available--;
	b->meta[id].len = len;
	if (s->rx_count++)
		b->meta[s->rx_last].next = id;
	else
		s->rx_first = id;
	s->rx_last = id;
	if (s->rx_count >= RX_HIGH)
		defer(s);
}

static void on_rx(struct torc_op *op, int res, unsigned cqe_flags)
{
	struct torc_stream *s = of_rx(op);

	if (res > 0 && cqe_flags & IORING_CQE_F_BUFFER)
		append_buffer(s, (uint16_t)(cqe_flags >> IORING_CQE_BUFFER_SHIFT), (uint32_t)res);
	else if (res > 0)
		s->spill_len += (uint32_t)res;
	else if (res == 0)
		s->rx_eof = true;
	else if (res == -ENOBUFS)
		s->buffers->available = 0;
	else if (res != -ECANCELED && res != -EINTR && res != -EAGAIN)
		s->rx_error = res;
	torc__slot_wake(&s->rx_wait);
}

static void drop_spill(struct torc_stream *s)
{
	torc__chunk_give(s->buffers, s->spill, s->spill_capacity);
	s->spill = NULL;
	s->spill_capacity = s->spill_offset = s->spill_len = 0;
}

/* Room for `more` bytes behind what the spill holds. */
static int grow_spill(struct torc_stream *s, size_t more)
{
	uint32_t capacity;
	char *chunk;

	if (s->spill && s->spill_offset + s->spill_len + more <= s->spill_capacity)
		return 0;
	chunk = torc__chunk_take(s->buffers, s->spill_len + more, &capacity);
	if (!chunk)
		return -ENOMEM;
	if (s->spill_len)
		memcpy(chunk, s->spill + s->spill_offset, s->spill_len);
	torc__chunk_give(s->buffers, s->spill, s->spill_capacity);
	s->spill = chunk;
	s->spill_capacity = capacity;
	s->spill_offset = 0;
	return 0;
}

static void drop_first_buffer(struct torc_stream *s)
{
	uint16_t id = s->rx_first;

	s->rx_first = s->buffers->meta[id].next;
	s->rx_count--;
	s->rx_offset = 0;
	torc__buffer_give(s->buffers, id);
}

/*
 * Move received buffers to the end of the spill until it has `least` bytes. Not more: only what is in
 * buffers counts towards RX_HIGH, and a spill that took all would grow with a reader that lags behind.
 */
static int gather(struct torc_stream *s, size_t least)
{
	while (s->rx_count && s->spill_len < least) {
		uint32_t len = s->buffers->meta[s->rx_first].len - s->rx_offset;
		int r = grow_spill(s, len);

		if (r < 0)
			return r;
		memcpy(s->spill + s->spill_offset + s->spill_len,
		       torc__buffer_data(s->buffers, s->rx_first) + s->rx_offset, len);
		s->spill_len += len;
		drop_first_buffer(s);
	}
	return 0;
}

/* Receive into the loop's shared buffers, which are picked when data is there. */
static void arm_shared(struct torc_stream *s)
{
	struct io_uring_sqe *sqe = torc_op_start(&s->rx, on_rx);

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
	struct io_uring_sqe *sqe;
	int r = gather(s,
		       SIZE_MAX); /* the spill comes first: what arrived earlier has to be in it */

	if (!r)
		r = grow_spill(s, TORC__BUFFER_BYTES);
	if (r < 0)
		return r;
	sqe = torc_op_start(&s->rx, on_rx);
	io_uring_prep_recv(sqe, s->fd, s->spill + s->spill_offset + s->spill_len,
			   s->spill_capacity - s->spill_offset - s->spill_len, 0);
	s->rx_private = true;
	return 0;
}

static int arm(struct torc_stream *s)
{
	if (torc_op_pending(&s->rx))
		return 0;
	s->rx_private = false;
	if (s->buffers->available)
		arm_shared(s);
	else
		return arm_private(s);
	return 0;
}

/*
 * What ends the reading beside its own error and end. A connection that failed while we sent tells so once, to the
 * send: a receive then sees an end like any other, or, when it was our kernel that failed, waits for an answer to
 * what was never sent. EPIPE says no more than that the peer does not read.
 */
static int tx_failure(const struct torc_stream *s)
{
	return s->tx_error == -EPIPE ? 0 : s->tx_error;
}

static bool must_drain(const struct torc_stream *s)
{
	return s->draining && *s->draining && !s->busy;
}

/* Wait until something has changed on the receiving side. */
static int await_rx(struct torc_stream *s)
{
	int r;

	if (must_drain(s))
		return -ECANCELED;
	r = tx_failure(s);
	if (!r)
		r = arm(s);
	return r < 0 ? r : torc__slot_wait(&s->rx_wait, &rx_kind);
}

static int show(struct torc_stream *s, struct torc_slice *ret_view)
{
	if (s->spill_len) {
		*ret_view = (struct torc_slice){ s->spill + s->spill_offset, s->spill_len };
		return 1;
	}
	if (s->rx_count) {
		struct torc__buffers *b = s->buffers;

		*ret_view = (struct torc_slice){ torc__buffer_data(b, s->rx_first) + s->rx_offset,
						 b->meta[s->rx_first].len - s->rx_offset };
		return 1;
	}
	return 0;
}

int torc_stream_peek(struct torc_stream *s, struct torc_slice *ret_view)
{
	for (;;) {
		int r = torc__scope_check(torc__self());

		if (r < 0)
			return r;
		if (show(s, ret_view))
			return 1;
		if (s->rx_error)
			return s->rx_error;
		if (s->rx_eof)
			return tx_failure(s);
		r = await_rx(s);
		if (r < 0)
			return r;
	}
}

static size_t consume_spill(struct torc_stream *s, size_t n)
{
	size_t part = n < s->spill_len ? n : s->spill_len;

	if (!part)
		return 0;
	s->spill_offset += (uint32_t)part;
	s->spill_len -= (uint32_t)part;
	/* The kernel may be writing behind what was consumed. */
	if (!s->spill_len && !(s->rx_private && torc_op_pending(&s->rx)))
		drop_spill(s);
	return part;
}

void torc_stream_consume(struct torc_stream *s, size_t n)
{
	n -= consume_spill(s, n);
	while (n) {
		uint32_t left;

		torc__check(s->rx_count != 0, "more bytes were consumed than were shown");
		left = s->buffers->meta[s->rx_first].len - s->rx_offset;
		if (n < left) {
			s->rx_offset += (uint32_t)n;
			return;
		}
		n -= left;
		drop_first_buffer(s);
	}
}

static size_t contiguous(const struct torc_stream *s)
{
	if (s->spill_len)
		return s->spill_len;
	return s->rx_count ? s->buffers->meta[s->rx_first].len - s->rx_offset : 0;
}

int torc_stream_fill(struct torc_stream *s, size_t least, struct torc_slice *ret_view)
{
	if (least > TORC_STREAM_VIEW_MAX)
		return -EMSGSIZE;
	for (;;) {
		int r = torc__scope_check(torc__self());

		/* While the kernel writes into the spill it must stay where it is. */
		if (!r && contiguous(s) < least && !(s->rx_private && torc_op_pending(&s->rx)))
			r = s->spill_len || s->rx_count > 1 ? gather(s, least) : 0;
		if (r < 0)
			return r;
		if (contiguous(s) >= least)
			return show(s, ret_view);
		if (s->rx_error)
			return s->rx_error;
		if (s->rx_eof && tx_failure(s))
			return tx_failure(s);
		if (s->rx_eof) {
			*ret_view = (struct torc_slice){ NULL, 0 };
			show(s, ret_view);
			return 0;
		}
		r = await_rx(s);
		if (r < 0)
			return r;
	}
}

int torc_stream_read(struct torc_stream *s, void *buf, size_t len)
{
	struct torc_slice view;
	int r = torc_stream_peek(s, &view);

	if (r <= 0)
		return r;
	if (len > view.len)
		len = view.len;
	memcpy(buf, view.data, len);
	torc_stream_consume(s, len);
	return (int)len;
}

int torc_stream_read_exact(struct torc_stream *s, void *buf, size_t len)
{
	char *p = buf;

	while (len) {
		int r = torc_stream_read(s, p, len);

		if (r <= 0)
			return r ? r : -EPIPE;
		p += r;
		len -= (size_t)r;
	}
	return 0;
}

int torc_stream_read_until(struct torc_stream *s, char delimiter, size_t limit,
			   struct torc_slice *ret_view)
{
	size_t looked = 0;

	for (;;) {
		const char *found;
		size_t len;
		int r = torc_stream_fill(s, looked + 1, ret_view);

		if (r <= 0)
			return r;
		len = ret_view->len < limit ? ret_view->len : limit;
		found = memchr(ret_view->data + looked, delimiter, len - looked);
		if (found) {
			ret_view->len = (size_t)(found - ret_view->data) + 1;
			return 1;
		}
		if (len == limit)
			return -EMSGSIZE;
		looked = len;
	}
}

/* --- sending --- */

static struct torc_stream *of_tx(struct torc_op *op)
{
	return torc__container_of(op, struct torc_stream, tx);
}

static void drop_sending(struct torc_stream *s)
{
	torc__chunk_give(s->buffers, s->sending, s->sending_capacity);
	s->sending = NULL;
	s->sending_len = s->sending_offset = 0;
}

static void drop_pending(struct torc_stream *s)
{
	torc__chunk_give(s->buffers, s->pending, s->pending_capacity);
	s->pending = NULL;
	s->pending_len = s->pending_capacity = 0;
}

static void on_tx(struct torc_op *op, int res, unsigned cqe_flags)
{
	struct torc_stream *s = of_tx(op);

	(void)cqe_flags;
	if (res < 0 && res != -EINTR && res != -EAGAIN) {
		s->tx_error = res == -ECANCELED ? -EPIPE : res;
		drop_sending(s);
		drop_pending(s);
		torc__slot_wake(&s->rx_wait); /* tx_failure */
	} else {
		s->sending_offset += res > 0 ? (uint32_t)res : 0;
		s->tx_full = s->sending_offset < s->sending_len;
		if (!s->tx_full)
			drop_sending(s);
		if (s->sending || s->pending)
			defer(s);
	}
	torc__slot_wake(&s->tx_wait);
}

/* The peer keeps up: the send is over when it is submitted, and only a failure is worth a completion. */
static void send_quietly(struct torc_stream *s, const char *data, uint32_t len)
{
	struct io_uring_sqe *sqe = torc_op_start_quiet(&s->tx, on_tx, (int)len);

	io_uring_prep_send(sqe, s->fd, data, len, MSG_NOSIGNAL | MSG_WAITALL | MSG_DONTWAIT);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

/* The socket's buffer is full: let the kernel wait until the peer has made room. */
static void send_waiting(struct torc_stream *s, const char *data, uint32_t len)
{
	struct io_uring_sqe *sqe = torc_op_start(&s->tx, on_tx);

	io_uring_prep_send(sqe, s->fd, data, len, MSG_NOSIGNAL | MSG_WAITALL);
}

static void start_send(struct torc_stream *s)
{
	/* Who waits for the end of the send must be woken by it: a quiet one ends no sleep of the loop. */
	bool quiet =
		!s->tx_full && !s->tx_wait && !(s->buffers->loop->ring.disabled & TORC__CQE_SKIP);

	if (!s->sending) {
		s->sending = s->pending;
		s->sending_len = s->pending_len;
		s->sending_capacity = s->pending_capacity;
		s->sending_offset = 0;
		s->pending = NULL;
		s->pending_len = s->pending_capacity = 0;
	}
	(quiet ? send_quietly : send_waiting)(s, s->sending + s->sending_offset,
					      s->sending_len - s->sending_offset);
}

/* The end of a turn in which something was written, or too much was received. */
static void end_of_turn(struct torc__turn_work *work)
{
	struct torc_stream *s = torc__container_of(work, struct torc_stream, work);

	if (s->closing) {
		torc__slot_wake(&s->rx_wait); /* end_operations waits for this very run */
		return;
	}
	if (s->rx_count >= RX_HIGH)
		torc_op_cancel(&s->rx);
	if (!torc_op_pending(&s->tx) && (s->sending || s->pending))
		start_send(s);
}

static int tx_check(struct torc_stream *s)
{
	int r = torc__scope_check(torc__self());

	if (r < 0)
		return r;
	return s->tx_error ? s->tx_error : s->tx_closed ? -EPIPE : 0;
}

/* Wait until at most `most` bytes are unsent. */
static int await_tx(struct torc_stream *s, size_t most)
{
	int r = tx_check(s);

	while (!r && unsent(s) > most) {
		r = torc__slot_wait(&s->tx_wait, &tx_kind);
		if (!r)
			r = tx_check(s);
	}
	return r;
}

static int grow_pending(struct torc_stream *s, size_t more)
{
	uint32_t capacity;
	char *chunk;

	if (s->pending_len + more <= s->pending_capacity)
		return 0;
	chunk = torc__chunk_take(s->buffers, s->pending_len + more, &capacity);
	if (!chunk)
		return -ENOMEM;
	if (s->pending) {
		memcpy(chunk, s->pending, s->pending_len);
		torc__chunk_give(s->buffers, s->pending, s->pending_capacity);
	}
	s->pending = chunk;
	s->pending_capacity = capacity;
	return 0;
}

int torc_stream_reserve(struct torc_stream *s, size_t len, char **ret_room)
{
	int r;

	torc__check(len && len <= TX_DIRECT, "torc_stream_reserve takes 1 .. 16384 bytes");
	r = await_tx(s, TX_HIGH - len);
	if (!r)
		r = grow_pending(s, len);
	if (r < 0)
		return r;
	*ret_room = s->pending + s->pending_len;
	return 0;
}

void torc_stream_commit(struct torc_stream *s, size_t len)
{
	torc__check(s->pending_len + len <= s->pending_capacity,
		    "more was committed than reserved");
	s->pending_len += (uint32_t)len;
	if (s->pending_len)
		defer(s);
	else
		drop_pending(s);
}

/* Nothing is under way on this stream but what we send. */
static int write_direct(struct torc_stream *s, const void *data, size_t len)
{
	int r = await_tx(s, 0);

	if (r < 0)
		return r;
	r = torc_send_all(s->fd, data, len);
	if (r < 0)
		s->tx_error = r == -ECANCELED || r == -ETIMEDOUT ? -EPIPE : r;
	return r;
}

int torc_stream_write(struct torc_stream *s, const void *data, size_t len)
{
	char *room;
	int r;

	if (len >= TX_DIRECT)
		return write_direct(s, data, len);
	if (!len)
		return tx_check(s);
	r = torc_stream_reserve(s, len, &room);
	if (r < 0)
		return r;
	memcpy(room, data, len);
	torc_stream_commit(s, len);
	return 0;
}

int torc_stream_flush(struct torc_stream *s)
{
	return await_tx(s, 0);
}

int torc_stream_shutdown(struct torc_stream *s)
{
	int r = await_tx(s, 0);

	if (r < 0)
		return r;
	r = torc_shutdown(s->fd, SHUT_WR);
	if (!r)
		s->tx_closed = true;
	return r;
}

/* --- open and close --- */

int torc_stream_open(struct torc_stream *s, int fd)
{
	struct torc__buffers *b = torc__buffers(torc__self()->loop);

	if (!b)
		return -ENOMEM;
	*s = (struct torc_stream){ .fd = fd, .buffers = b, .work = { .run = end_of_turn } };
	return 0;
}

void torc_stream_set_busy(struct torc_stream *s, bool busy)
{
	s->busy = busy;
}

/* Not to be cut short: the kernel still has our memory. */
static void end_operations(struct torc_stream *s)
{
	s->closing = true;
	torc_op_cancel(&s->rx);
	torc_op_cancel(&s->tx);
	while (torc_op_pending(&s->rx))
		torc__slot_wait(&s->rx_wait, &close_rx_kind);
	while (torc_op_pending(&s->tx))
		torc__slot_wait(&s->tx_wait, &close_tx_kind);
	while (s->work.queued) /* the loop still has our turn work */
		torc__slot_wait(&s->rx_wait, &close_rx_kind);
}

int torc_stream_close(struct torc_stream *s)
{
	int r = unsent(s) ? await_tx(s, 0) : s->tx_error;

	end_operations(s);
	while (s->rx_count)
		drop_first_buffer(s);
	drop_spill(s);
	drop_pending(s);
	drop_sending(s);
	torc_close(s->fd);
	return r;
}
