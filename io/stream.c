#include <torc/io/stream.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <torc/core/scope.h>

#include "io/internal/rate.h"
#include "io/internal/stream.h"

/* Received buffers a stream may hold before it stops receiving. */
#define RX_HIGH 32

/* --- waiting: nothing of it is in the kernel, so a cancelled wait has no effect and is at once --- */

static void describe(const struct torc_stream *s, struct torc__message *m)
{
	int fd = torc_stream_fd(s);

	if (fd < 0) {
		torc__message_text(m, " in memory");
		return;
	}
	torc__message_text(m, " of fd ");
	torc__message_number(m, (unsigned)fd, 10);
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
	torc__message_number(m, torc__stream_unsent(s), 10);
}

static const struct torc__wait_kind rx_kind = { "stream read", torc__slot_cancel, describe_rx };
static const struct torc__wait_kind tx_kind = { "stream write", torc__slot_cancel, describe_tx };
static const struct torc__wait_kind close_rx_kind = { "stream close", NULL, describe_rx };
static const struct torc__wait_kind close_tx_kind = { "stream close", NULL, describe_tx };

static int wait_at_most(struct torc__wait **slot, const struct torc__wait_kind *kind, uint64_t ns)
{
	struct torc_scope scope;
	int r;

	if (torc__likely(!ns))
		return torc__slot_wait(slot, kind);
	torc_scope_enter(&scope, ns);
	r = torc__slot_wait(slot, kind);
	torc_scope_leave(&scope);
	return r;
}

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
		torc__stream_defer(s);
}

/* A read that found the end, or failed, has used up a buffer too; a receive has not. */
static void take_buffer(struct torc_stream *s, uint16_t id, int res)
{
	if (res > 0) {
		append_buffer(s, id, (uint32_t)res);
		return;
	}
	s->buffers->available--;
	torc__buffer_give(s->buffers, id);
}

/* Of those that a watcher is to be told. */
static bool has_news(const struct torc_stream *s)
{
	return s->rx_error || (s->rx_eof && !s->watch_resets) || (s->watch_bytes && s->rx_count);
}

/* Who reads sees the end by itself, and whatever came before it. */
static void tell_watcher(struct torc_stream *s)
{
	s->watch_due = false;
	if (!s->watcher || s->rx_wait || !has_news(s))
		return;
	torc_scope_cancel_with(s->watcher, "the peer has left");
	s->watcher = NULL;
}

void torc__stream_watch_quiet(struct torc_stream *s, struct torc_scope *scope)
{
	while (s->below)
		s = s->below;
	s->watch_bytes = true;
	torc__stream_watch(s, scope, false);
}

bool torc__stream_is_quiet(const struct torc_stream *s)
{
	for (; s; s = s->below)
		if (s->spill_len || s->rx_count || s->rx_eof || s->rx_error || s->tx_error ||
		    (s->kind->holds && s->kind->holds(s)))
			return false;
	return true;
}

/* Nothing is being received: it has ended, or the kernel receives once at a time. */
void torc__stream_watch_slowly(struct torc_stream *s)
{
	if (s->rx_error)
		tell_watcher(s);
	else if (!s->rx_eof && s->kind->watch && s->buffers->available && s->rx_count < RX_HIGH)
		s->kind->watch(s);
}

void torc__stream_on_rx(struct torc_op *op, int res, unsigned cqe_flags)
{
	struct torc_stream *s = of_rx(op);
	bool shared = cqe_flags & IORING_CQE_F_BUFFER;

	s->rx_bulk = res >= (int)TORC__BUFFER_BYTES;
	if (shared)
		take_buffer(s, (uint16_t)(cqe_flags >> IORING_CQE_BUFFER_SHIFT), res);
	if (res > 0)
		s->spill_len += shared ? 0 : (uint32_t)res;
	else if (res == 0)
		s->rx_eof = true;
	else if (res == -ENOBUFS)
		s->buffers->available = 0;
	else if (res != -ECANCELED && res != -EINTR && res != -EAGAIN)
		s->rx_error = res;
	/* A cancellation may start operations, which has to wait until the completions are handed out. */
	if (torc__unlikely(s->watcher && !s->rx_wait && (res <= 0 || s->watch_bytes) && has_news(s))) {
		s->watch_due = true;
		torc__stream_defer(s);
	}
	torc__slot_wake(&s->rx_wait);
}

static void drop_spill(struct torc_stream *s)
{
	torc__chunk_give(s->buffers, s->spill, s->spill_capacity);
	s->spill = NULL;
	s->spill_capacity = s->spill_offset = s->spill_len = 0;
}

void torc__stream_drop_room(struct torc_stream *s)
{
	if (!s->spill_len)
		drop_spill(s);
}

int torc__stream_spill(struct torc_stream *s, size_t more)
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
		int r = torc__stream_spill(s, len);

		if (r < 0)
			return r;
		memcpy(s->spill + s->spill_offset + s->spill_len,
		       torc__buffer_data(s->buffers, s->rx_first) + s->rx_offset, len);
		s->spill_len += len;
		drop_first_buffer(s);
	}
	return 0;
}

int torc__stream_receive_room(struct torc_stream *s, size_t bytes, struct iovec *ret_room)
{
	/* The spill comes first: what arrived earlier has to be in it. */
	int r = gather(s, SIZE_MAX);

	if (!r)
		r = torc__stream_spill(s, bytes);
	if (r < 0)
		return r;
	ret_room->iov_base = s->spill + s->spill_offset + s->spill_len;
	ret_room->iov_len = s->spill_capacity - s->spill_offset - s->spill_len;
	return 0;
}

/*
 * What ends the reading beside its own error and end. A connection that failed while we sent tells so once, to the
 * send: a receive then sees an end like any other, or, when it was our kernel that failed, waits for an answer to
 * what was never sent. EPIPE says no more than that the peer does not read.
 */
int torc__stream_tx_failure(const struct torc_stream *s)
{
	return s->tx_error == -EPIPE || s->fd != s->tx_fd ? 0 : s->tx_error;
}

static bool must_drain(const struct torc_stream *s)
{
	return s->drain && *s->drain == TORC__DRAIN_NOW && !s->busy;
}

void torc__stream_stop_receiving(struct torc_stream *s)
{
	torc_op_cancel(&s->rx);
	while (torc_op_pending(&s->rx))
		torc__slot_wait(&s->rx_wait, &close_rx_kind);
}

static void on_readable(struct torc_op *op, int res, unsigned cqe_flags)
{
	struct torc_stream *s = of_rx(op);

	(void)cqe_flags;
	if (res < 0 && res != -ECANCELED && res != -EINTR)
		s->rx_error = res;
	s->rx_ready = true;
	torc__slot_wake(&s->rx_wait);
}

int torc__stream_await_readable(struct torc_stream *s)
{
	s->rx_ready = false;
	if (!torc_op_pending(&s->rx)) {
		s->rx_private = false;
		io_uring_prep_poll_add(torc_op_start(&s->rx, on_readable), s->fd, POLLIN);
	}
	while (!s->rx_ready) {
		int r = must_drain(s) ? -ECANCELED : torc__stream_tx_failure(s);

		if (!r)
			r = wait_at_most(&s->rx_wait, &rx_kind, s->rx_wait_ns);
		if (r < 0)
			return r;
	}
	return s->rx_error;
}

/* Wait until something has changed on the receiving side. */
static int await_rx(struct torc_stream *s)
{
	int r = must_drain(s) ? -ECANCELED : torc__stream_tx_failure(s);

	/* One on top of another may have received what it has not shown: it looks first, and waits in the one below. */
	if (r < 0 && torc__likely(!s->below))
		return r;
	if (!torc_op_pending(&s->rx)) {
		s->rx_private = false;
		r = s->kind->arm(s);
		if (r)
			return r < 0 ? r : 0;
	}
	return wait_at_most(&s->rx_wait, &rx_kind, s->rx_wait_ns);
}

/* The bytes that are to be seen in one piece. */
static struct torc_slice front(const struct torc_stream *s)
{
	struct torc_slice view = { NULL, 0 };

	if (s->spill_len) {
		view = (struct torc_slice){ s->spill + s->spill_offset, s->spill_len };
	} else if (s->rx_count) {
		struct torc__buffers *b = s->buffers;

		view = (struct torc_slice){ torc__buffer_data(b, s->rx_first) + s->rx_offset,
					    b->meta[s->rx_first].len - s->rx_offset };
	}
	if (view.len > s->rx_left)
		view.len = (size_t)s->rx_left;
	return view;
}

bool torc__stream_shown(const struct torc_stream *s, struct torc_slice *ret_view)
{
	*ret_view = front(s);
	return ret_view->len;
}

void torc__stream_took(struct torc_stream *s, uint64_t n)
{
	if (s->owed)
		torc_stream_consume(s, 0);
	if (s->rx_left != TORC_STREAM_UNLIMITED)
		s->rx_left -= n;
}

/* Where those wait that wait for bytes: a server that drains wakes them. */
static int await_rate(struct torc_stream *s)
{
	int r = torc_scope_status();

	while (!r && s->rx_resume_ns > torc_now_ns()) {
		struct torc_scope scope;

		if (must_drain(s))
			return -ECANCELED;
		torc_scope_enter_until(&scope, s->rx_resume_ns);
		(void)torc__slot_wait(&s->rx_wait, &rx_kind);
		torc_scope_leave(&scope);
		r = torc_scope_status();
	}
	return r;
}

/* At the beginning of each call that reads. */
static int begin_read(struct torc_stream *s)
{
	if (torc__unlikely(s->owed))
		torc_stream_consume(s, 0);
	if (torc__unlikely(s->rx_rate != NULL) && s->rx_resume_ns > torc_now_ns())
		return await_rate(s);
	return 0;
}

int torc_stream_peek(struct torc_stream *s, struct torc_slice *ret_view)
{
	int r = begin_read(s);

	for (; !r; r = await_rx(s)) {
		struct torc_slice view = front(s);

		r = torc__scope_check(torc__self());
		if (r < 0)
			return r;
		if (view.len) {
			*ret_view = view;
			return 1;
		}
		if (!s->rx_left)
			return 0;
		if (s->rx_error)
			return s->rx_error;
		if (s->rx_eof)
			return torc__stream_tx_failure(s);
	}
	return r;
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

static void consume(struct torc_stream *s, size_t n)
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

void torc_stream_consume(struct torc_stream *s, size_t n)
{
	n += s->owed;
	s->owed = 0;
	torc__check(n <= s->rx_left, "more bytes were consumed than were shown");
	if (s->rx_left != TORC_STREAM_UNLIMITED)
		s->rx_left -= n;
	if (torc__unlikely(s->rx_rate != NULL) && n)
		s->rx_resume_ns = torc__rate_charge(s->rx_rate, n);
	consume(s, n);
}

int torc_stream_fill(struct torc_stream *s, size_t least, struct torc_slice *ret_view)
{
	int r = begin_read(s);

	if (least > TORC_STREAM_VIEW_MAX)
		return -EMSGSIZE;
	for (; !r; r = await_rx(s)) {
		size_t most = least < s->rx_left ? least : (size_t)s->rx_left;
		bool busy = s->rx_private && torc_op_pending(&s->rx);

		r = torc__scope_check(torc__self());
		/* While the kernel writes into the spill it must stay where it is. */
		if (!r && front(s).len < most && !busy)
			r = s->spill_len || s->rx_count > 1 ? gather(s, most) : 0;
		if (r < 0)
			return r;
		if (front(s).len >= most) {
			*ret_view = front(s);
			return most == least;
		}
		if (s->rx_error)
			return s->rx_error;
		if (s->rx_eof && torc__stream_tx_failure(s))
			return torc__stream_tx_failure(s);
		if (s->rx_eof) {
			*ret_view = front(s);
			return 0;
		}
	}
	return r;
}

void torc_stream_limit(struct torc_stream *s, uint64_t most)
{
	if (s->owed)
		torc_stream_consume(s, 0);
	s->rx_left = most;
}

void torc_stream_limit_waits(struct torc_stream *s, uint64_t read_ns, uint64_t write_ns)
{
	for (; s; s = s->below) {
		s->rx_wait_ns = read_ns;
		s->tx_wait_ns = write_ns;
	}
}

void torc_stream_limit_rates(struct torc_stream *s, struct torc_rate *rx, struct torc_rate *tx)
{
	s->rx_rate = rx;
	s->tx_rate = tx;
	/* A new stream waits until what the others have had is paid for: else many short ones would pass any rate. */
	s->rx_resume_ns = rx ? torc_rate_reserve(rx, 0) : 0;
	s->tx_resume_ns = tx ? torc_rate_reserve(tx, 0) : 0;
}

/* --- sending --- */

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

/* A reader of the same stream may have to know: torc__stream_tx_failure. */
static void note_tx_failure(struct torc_stream *s, int error)
{
	/* Of what was stopped it is not known how much came through: the rest must not follow. */
	s->tx_error = error == -ECANCELED || error == -ETIMEDOUT ? -EPIPE : error;
	torc__slot_wake(&s->rx_wait);
}

/* It fails all those on top of it and, since that is where their reader waits, all those below. */
void torc__stream_tx_failed(struct torc_stream *s, int error)
{
	note_tx_failure(s, error);
	for (struct torc_stream *b = s->below; torc__unlikely(b != NULL); b = b->below)
		note_tx_failure(b, error);
	for (struct torc_stream *a = s->above; torc__unlikely(a != NULL); a = a->above) {
		note_tx_failure(a, error);
		torc__slot_wake(&a->tx_wait);
	}
}

static void wake_writers_above(struct torc_stream *s)
{
	while ((s = s->above))
		torc__slot_wake(&s->tx_wait);
}

void torc__stream_sent(struct torc_stream *s, int res)
{
	if (res < 0 && res != -EINTR && res != -EAGAIN) {
		drop_sending(s);
		drop_pending(s);
		torc__stream_tx_failed(s, res);
	} else {
		s->sending_offset += res > 0 ? (uint32_t)res : 0;
		s->tx_full = s->sending_offset < s->sending_len;
		if (!s->tx_full)
			drop_sending(s);
		if (s->sending || s->pending)
			torc__stream_defer(s);
		if (torc__unlikely(s->above != NULL))
			wake_writers_above(s);
	}
	torc__slot_wake(&s->tx_wait);
}

void torc__stream_on_tx(struct torc_op *op, int res, unsigned cqe_flags)
{
	(void)cqe_flags;
	torc__stream_sent(torc__container_of(op, struct torc_stream, tx), res);
}

static void start_send(struct torc_stream *s)
{
	if (!s->sending) {
		s->sending = s->pending;
		s->sending_len = s->pending_len;
		s->sending_capacity = s->pending_capacity;
		s->sending_offset = 0;
		s->pending = NULL;
		s->pending_len = s->pending_capacity = 0;
	}
	s->kind->send(s);
}

void torc__stream_push(struct torc_stream *s)
{
	if (!torc_op_pending(&s->tx) && (s->sending || s->pending))
		start_send(s);
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
	if (torc__unlikely(s->watch_due))
		tell_watcher(s);
	torc__stream_push(s);
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

	while (!r && torc__stream_unsent(s) > most) {
		r = wait_at_most(&s->tx_wait, &tx_kind, s->tx_wait_ns);
		if (!r)
			r = tx_check(s);
	}
	return r;
}

int torc__stream_await_sent(struct torc_stream *s, size_t most)
{
	return await_tx(s, most);
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

int torc__stream_prepare(struct torc_stream *s, size_t len)
{
	return grow_pending(s, len);
}

int torc__stream_append(struct torc_stream *s, const void *data, size_t len)
{
	int r = grow_pending(s, len);

	if (r < 0)
		return r;
	memcpy(s->pending + s->pending_len, data, len);
	s->pending_len += (uint32_t)len;
	torc__stream_defer(s);
	return 0;
}

int torc_stream_reserve(struct torc_stream *s, size_t len, char **ret_room)
{
	int r;

	torc__check(len && len <= TORC__TX_DIRECT, "torc_stream_reserve takes 1 .. 16384 bytes");
	r = torc__likely(!s->tx_rate) ? 0 : torc_sleep_until(s->tx_resume_ns);
	if (!r)
		r = await_tx(s, TORC__TX_HIGH - len);
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
	if (torc__unlikely(s->tx_rate != NULL) && len)
		s->tx_resume_ns = torc__rate_charge(s->tx_rate, len);
	if (s->pending_len)
		torc__stream_defer(s);
	else
		drop_pending(s);
}

static int write_piece(struct torc_stream *s, const void *data, size_t len)
{
	char *room;
	int r = torc_stream_reserve(s, len, &room);

	if (r < 0)
		return r;
	memcpy(room, data, len);
	torc_stream_commit(s, len);
	return 0;
}

/* Nothing is under way on this stream but what we send. */
static int write_direct(struct torc_stream *s, const void *data, size_t len)
{
	int r = await_tx(s, 0);

	if (r < 0)
		return r;
	r = s->kind->write(s, data, len);
	if (r < 0)
		torc__stream_tx_failed(s, r);
	return r;
}

/* In pieces that fit: for a kind that does not send the caller's memory, and to keep to a rate. */
static int write_pieces(struct torc_stream *s, const char *data, size_t len)
{
	size_t done = 0;
	int r = 0;

	while (!r && done < len) {
		size_t part = len - done < TORC__TX_DIRECT ? len - done : TORC__TX_DIRECT;

		r = write_piece(s, data + done, part);
		if (!r)
			done += part;
	}
	if ((r == -ECANCELED || r == -ETIMEDOUT) && done)
		torc__stream_tx_failed(s, r);
	return r;
}

int torc_stream_write(struct torc_stream *s, const void *data, size_t len)
{
	if (torc__likely(len < TORC__TX_DIRECT))
		return len ? write_piece(s, data, len) : tx_check(s);
	if (s->kind->write && !s->tx_rate && !s->tx_wait_ns)
		return write_direct(s, data, len);
	return write_pieces(s, data, len);
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
	r = s->kind->shutdown(s);
	if (!r)
		s->tx_closed = true;
	return r;
}

/* --- open and close --- */

void torc__stream_init(struct torc_stream *s, const struct torc__stream_kind *kind,
		       struct torc__buffers *b, int rx_fd, int tx_fd)
{
	*s = (struct torc_stream){
		.kind = kind,
		.fd = rx_fd,
		.tx_fd = tx_fd,
		.buffers = b,
		.work = { .run = end_of_turn },
		.rx_left = TORC_STREAM_UNLIMITED,
	};
}

void torc_stream_set_busy(struct torc_stream *s, bool busy)
{
	for (; s; s = s->below)
		s->busy = busy;
}

/* --- one on top of another --- */

size_t torc__stream_unsent_below(const struct torc_stream *s)
{
	return torc__stream_unsent(s->below);
}

int torc_stream_fd(const struct torc_stream *s)
{
	while (s->below)
		s = s->below;
	return s->fd < 0 ? s->tx_fd : s->fd;
}

void torc__stream_wake_reader(struct torc_stream *s)
{
	for (; s; s = s->below) /* it waits in one of them */
		torc__slot_wake(&s->rx_wait);
}

/* Not to be cut short: the kernel still has our memory. */
static void end_operations(struct torc_stream *s)
{
	s->closing = true;
	torc_op_cancel(&s->tx);
	torc__stream_stop_receiving(s);
	while (torc_op_pending(&s->tx))
		torc__slot_wait(&s->tx_wait, &close_tx_kind);
	while (s->work.queued) /* the loop still has our turn work */
		torc__slot_wait(&s->rx_wait, &close_rx_kind);
}

void torc__stream_cover(struct torc_stream *s, const struct torc__stream_kind *kind,
			struct torc_stream *below)
{
	torc__stream_took(s, 0);
	end_operations(s);
	*below = *s;
	torc__stream_init(s, kind, below->buffers, -1, -1);
	s->below = below;
	s->busy = below->busy;
	s->drain = below->drain;
	s->rx_wait_ns = below->rx_wait_ns;
	s->tx_wait_ns = below->tx_wait_ns;
	/* Rates are of what the program reads and writes. */
	torc_stream_limit_rates(s, below->rx_rate, below->tx_rate);
	torc_stream_limit_rates(below, NULL, NULL);
	below->rx_left = TORC_STREAM_UNLIMITED;
	below->closing = false;
	below->above = s;
	if (below->kind->moved)
		below->kind->moved(below);
}

/* What became of what was written; nothing was to a stream that is only for reading. */
static int fate_of_written(struct torc_stream *s)
{
	if (torc__stream_unsent(s))
		return await_tx(s, 0);
	return s->tx_none ? 0 : s->tx_error;
}

static void drop_received(struct torc_stream *s)
{
	while (s->rx_count)
		drop_first_buffer(s);
	drop_spill(s);
}

void torc__stream_fail(struct torc_stream *s, int error)
{
	torc__stream_stop_receiving(s);
	drop_received(s);
	s->rx_error = error;
	torc__stream_tx_failed(s, error);
}

int torc_stream_close(struct torc_stream *s)
{
	int r = fate_of_written(s);

	end_operations(s);
	drop_received(s);
	drop_pending(s);
	drop_sending(s);
	s->kind->close(s);
	return r;
}
