/*
 * io/datagram_tx.c - datagrams that go: trains of them, which the kernel cuts up again, at the end of a turn of the loop.
 */
#include <errno.h>
#include <netinet/udp.h>
#include <string.h>

#include <torc/io/socket.h>

#include "core/internal/fiber.h"
#include "io/internal/buffers.h"
#include "io/internal/datagram.h"

static void describe(const struct torc__wait *wait, struct torc__message *m)
{
	const struct torc_dgram *d =
		torc__container_of(torc__slot_of(wait), struct torc_dgram, tx_wait);

	torc__dgram_describe(d, m);
	torc__message_text(m, ", unsent bytes ");
	torc__message_number(m, d->unsent_bytes, 10);
}

static const struct torc__wait_kind tx_kind = { "datagrams to be sent", torc__slot_cancel,
						describe };
static const struct torc__wait_kind close_kind = { "datagram close", NULL, describe };

/* --- operations --- */

static struct torc__train *of_tx(struct torc_op *op)
{
	return torc__container_of(op, struct torc__train, op);
}

static void fail(struct torc_dgram *d, int error, unsigned count)
{
	d->stats.failed += count;
	if (!d->tx_error)
		d->tx_error = error == -ECANCELED ? -ESHUTDOWN : error;
}

/* How many datagrams the operation that is under way, or over, has. */
static unsigned flying_count(const struct torc__train *t)
{
	return t->split ? 1 : t->count;
}

/* What the kernel, the interface or the path does not take as one piece: EIO without checksums in hardware, the others by size. */
static bool wants_split(struct torc__train *t, int res)
{
	if (t->split || t->count == 1)
		return false;
	if (res != -EIO && res != -EINVAL && res != -EMSGSIZE && res != -EOPNOTSUPP)
		return false;
	if (res != -EMSGSIZE)
		t->dgram->segments = false;
	return true;
}

/* Those that have not been sent. */
static unsigned left_count(const struct torc__train *t)
{
	return t->split ? (t->len - t->sent + t->segment - 1) / t->segment : t->count;
}

/* Is there to be another operation for this train? */
static bool goes_on(struct torc__train *t, int res)
{
	struct torc_dgram *d = t->dgram;

	if (d->closing && res < 0) {
		fail(d, res, left_count(t));
		return false;
	}
	if (res == -EAGAIN || res == -EINTR)
		return t->waits = true;
	if (wants_split(t, res))
		return t->split = true;
	/* The error belongs to a datagram of before: this one was not tried. */
	if (res == -ECONNREFUSED && d->connected && !t->again) {
		fail(d, res, 0);
		return t->again = true;
	}
	if (res < 0) {
		fail(d, res, flying_count(t));
	} else {
		d->stats.sent += flying_count(t);
		d->stats.sends++;
	}
	t->waits = t->again = false;
	t->sent += t->flying;
	return t->split && t->sent < t->len;
}

static void on_tx(struct torc_op *op, int res, unsigned cqe_flags)
{
	struct torc__train *t = of_tx(op);

	(void)cqe_flags;
	if (goes_on(t, res))
		torc__train_queue(t);
	else
		torc__train_drop(t);
}

static void prep_one(struct torc__train *t, struct io_uring_sqe *sqe, int flags)
{
	io_uring_prep_send(sqe, t->dgram->fd, t->data + t->sent, t->flying, flags);
	if (t->to.len)
		io_uring_prep_send_set_addr(sqe, &t->to.any, (uint16_t)t->to.len);
}

static void prep_train(struct torc__train *t, struct io_uring_sqe *sqe, int flags)
{
	struct cmsghdr *c = (void *)t->control;

	t->iov = (struct iovec){ t->data, t->len };
	t->message = (struct msghdr){
		.msg_name = t->to.len ? &t->to.any : NULL,
		.msg_namelen = t->to.len,
		.msg_iov = &t->iov,
		.msg_iovlen = 1,
		.msg_control = t->control,
		.msg_controllen = sizeof(t->control),
	};
	c->cmsg_level = SOL_UDP;
	c->cmsg_type = UDP_SEGMENT;
	c->cmsg_len = CMSG_LEN(sizeof(t->segment));
	memcpy(CMSG_DATA(c), &t->segment, sizeof(t->segment));
	io_uring_prep_sendmsg(sqe, t->dgram->fd, &t->message, (unsigned)flags);
}

/* Quietly, it is over when it is submitted, or fails for want of room: then it waits for that in the kernel. */
static void start_train(struct torc__train *t, bool quiet)
{
	struct io_uring_sqe *sqe;
	bool whole = !t->split && t->count > 1;

	quiet = quiet && !t->waits;
	t->flying = t->len - t->sent;
	if (t->split && t->flying > t->segment)
		t->flying = t->segment;
	sqe = quiet ? torc_op_start_quiet(&t->op, on_tx, (int)t->flying)
		    : torc_op_start(&t->op, on_tx);
	(whole ? prep_train : prep_one)(t, sqe, quiet ? MSG_NOSIGNAL | MSG_DONTWAIT : MSG_NOSIGNAL);
	if (quiet)
		sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

static void end_of_turn(struct torc__turn_work *work)
{
	struct torc_dgram *d = torc__container_of(work, struct torc_dgram, work);
	struct torc__train *t = torc__trains_take(d);
	/* Who waits for room must be woken by it: a quiet one ends no sleep of the loop. */
	bool quiet = !d->tx_wait && !(d->buffers->loop->ring.disabled & TORC__CQE_SKIP);

	while (t) {
		struct torc__train *next = t->next;

		if (d->closing) {
			fail(d, -ESHUTDOWN, left_count(t));
			torc__train_drop(t);
		} else {
			start_train(t, quiet);
		}
		t = next;
	}
	if (d->closing)
		torc__slot_wake(&d->tx_wait); /* end_operations waits for this very run */
}

/* --- sending --- */

static bool has_room(const struct torc_dgram *d, size_t bytes)
{
	return !d->unsent_bytes || d->unsent_bytes + bytes <= d->queue_bytes;
}

/* Until there is room for that; SIZE_MAX: until nothing is unsent. One waits, the others wait for him. */
static int await_room(struct torc_dgram *d, size_t bytes)
{
	int r = torc_mutex_lock(&d->tx_turn);

	if (r < 0)
		return r;
	while (!r && d->unsent_bytes && (bytes == SIZE_MAX || !has_room(d, bytes)))
		r = torc__slot_wait(&d->tx_wait, &tx_kind);
	torc_mutex_unlock(&d->tx_turn);
	return r;
}

int torc__dgram_tx_error(struct torc_dgram *d)
{
	int error = d->tx_error;

	d->tx_error = 0;
	return error;
}

static int send_unix(struct torc_dgram *d, const void *data, size_t len,
		     const struct torc_address *to)
{
	int r = torc_sendto(d->fd, data, len, 0, to);

	d->stats.sent += r >= 0;
	d->stats.sends += r >= 0;
	d->stats.failed += r < 0;
	return r < 0 ? r : 0;
}

/* Those who wait come first, unless there is room for all. */
static int make_room(struct torc_dgram *d, size_t bytes)
{
	int r = 0;

	while (!r && !has_room(d, bytes))
		r = await_room(d, bytes);
	return r;
}

int torc_dgram_send(struct torc_dgram *d, const void *data, size_t len,
		    const struct torc_address *to)
{
	int r = torc__scope_check(torc__self());

	if (r < 0)
		return r;
	if (to && !to->len)
		to = NULL;
	torc__check(!to || to->len <= sizeof(to->un), "an address of no such length");
	if (!to && !d->connected)
		return -EDESTADDRREQ;
	if (d->is_unix)
		return send_unix(d, data, len, to);
	if (len > TORC_DATAGRAM_MAX - (d->local.any.sa_family == AF_INET ? 20 : 0))
		return -EMSGSIZE;
	if (to && to->any.sa_family != AF_INET && to->any.sa_family != AF_INET6)
		return -EAFNOSUPPORT;
	r = make_room(d, torc__train_charge(len));
	if (!r && d->connected)
		r = torc__dgram_tx_error(d);
	return r ? r : torc__train_add(d, data, len, to);
}

int torc_dgram_flush(struct torc_dgram *d)
{
	int r = torc__scope_check(torc__self());

	while (!r && d->unsent_bytes)
		r = await_room(d, SIZE_MAX);
	return r ? r : torc__dgram_tx_error(d);
}

/* --- the beginning and the end --- */

void torc__dgram_tx_begin(struct torc_dgram *d)
{
	d->work.run = end_of_turn;
	d->pending_tail = &d->pending;
}

void torc__dgram_tx_cancel(struct torc_dgram *d)
{
	for (struct torc__train *t = d->all; t; t = t->next_all)
		torc_op_cancel(&t->op);
}

void torc__dgram_tx_end(struct torc_dgram *d)
{
	while (d->all || d->work.queued) /* the loop still has our turn work */
		torc__slot_wait(&d->tx_wait, &close_kind);
}
