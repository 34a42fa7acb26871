/*
 * io/datagram_rx.c - datagrams that come: one operation that goes on and on, into buffers that the kernel picks, of which one
 * is shown at a time.
 */
#include <errno.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/mman.h>

#include "core/internal/fiber.h"
#include "core/internal/system.h"
#include "io/internal/buffers.h"
#include "io/internal/datagram.h"

/* Control data that is asked for, at most: segment size, type of service, packet information. */
#define CONTROL_BYTES (2 * CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct in6_pktinfo)))

/* A datagram that was received: its buffer, and the bytes that the kernel has written there. */
struct torc__dgram_entry {
	uint32_t len;
	uint16_t id;
};

static void describe(const struct torc__wait *wait, struct torc__message *m)
{
	torc__dgram_describe(torc__container_of(torc__slot_of(wait), struct torc_dgram, rx_wait),
			     m);
}

static const struct torc__wait_kind rx_kind = { "datagram", torc__slot_cancel, describe };
static const struct torc__wait_kind close_kind = { "datagram close", NULL, describe };

/* --- buffers --- */

static bool is_multishot(const struct torc_dgram *d)
{
	return !(d->buffers->loop->ring.disabled & TORC__RECV_MULTISHOT);
}

static char *buffer(const struct torc_dgram *d, unsigned id)
{
	return d->memory + d->entries_bytes + (size_t)id * d->buffer_bytes;
}

/* What the kernel puts before the bytes of a datagram. */
static size_t head_bytes(const struct torc_dgram *d)
{
	return sizeof(struct io_uring_recvmsg_out) + d->layout.msg_namelen +
	       d->layout.msg_controllen;
}

static void give_buffer(struct torc_dgram *d, unsigned id)
{
	struct io_uring_buf_ring *ring = (struct io_uring_buf_ring *)(void *)d->memory;

	if (d->group < 0)
		return;
	io_uring_buf_ring_add(ring, buffer(d, id), (unsigned)head_bytes(d) + d->datagram_bytes,
			      (uint16_t)id, (int)d->recv_count - 1, 0);
	io_uring_buf_ring_advance(ring, 1);
}

static void drop_buffers(struct torc_dgram *d)
{
	if (d->group > 0) {
		d->buffers->loop->ring.kernel->withdraw(&d->buffers->loop->ring,
							(unsigned)d->group);
		torc__group_give(d->buffers, d->group);
	}
	d->group = -1;
	if (d->memory)
		torc__unmap(d->memory, d->mapped_bytes, 0);
	torc__free(d->queue);
	d->memory = NULL;
	d->queue = NULL;
}

/* Buffers that the kernel picks from, for one operation that goes on and on. */
static int provide_buffers(struct torc_dgram *d)
{
	struct torc__ring *ring = &d->buffers->loop->ring;
	struct io_uring_buf_reg reg = { .ring_addr = (uint64_t)(uintptr_t)d->memory,
					.ring_entries = d->recv_count };
	int r, group = torc__group_take(d->buffers);

	if (group < 0)
		return group;
	reg.bgid = (uint16_t)group;
	r = ring->kernel->provide(ring, &reg);
	if (r < 0) {
		torc__group_give(d->buffers, group);
		return r;
	}
	d->group = group;
	io_uring_buf_ring_init((struct io_uring_buf_ring *)(void *)d->memory);
	for (unsigned i = 0; i < d->recv_count; i++)
		give_buffer(d, i);
	return 0;
}

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) & ~(to - 1);
}

static int make_buffers(struct torc_dgram *d)
{
	char *memory;
	int r = 0;

	d->layout.msg_namelen =
		(socklen_t)round_up(d->is_unix ? sizeof(d->local.un) : sizeof(d->local.v6),
				    sizeof(size_t));
	d->layout.msg_controllen = d->cmsg ? CONTROL_BYTES : 0;
	d->buffer_bytes = round_up(head_bytes(d) + d->datagram_bytes, 64);
	d->entries_bytes = round_up(d->recv_count * sizeof(struct io_uring_buf), 4096);
	d->mapped_bytes = d->entries_bytes + d->recv_count * d->buffer_bytes;
	memory = torc__map(d->mapped_bytes, 0);
	if (memory == MAP_FAILED)
		return -ENOMEM;
	d->memory = memory;
	d->queue = torc__calloc(d->recv_count, sizeof(*d->queue));
	if (!d->queue)
		r = -ENOMEM;
	else if (is_multishot(d))
		r = provide_buffers(d);
	if (r < 0)
		drop_buffers(d);
	return r;
}

/* --- receiving --- */

static struct torc_dgram *of_rx(struct torc_op *op)
{
	return torc__container_of(op, struct torc_dgram, rx);
}

static void enqueue(struct torc_dgram *d, unsigned id, uint32_t len)
{
	unsigned at = (d->queue_head + d->queue_count++) & (d->recv_count - 1);

	d->queue[at] = (struct torc__dgram_entry){ len, (uint16_t)id };
}

static void on_rx_error(struct torc_dgram *d, int res)
{
	if (res == -ENOBUFS)
		d->stats.exhausted++;
	else if (res < 0 && res != -ECANCELED && res != -EINTR && res != -EAGAIN)
		d->rx_error = res;
}

static void on_rx(struct torc_op *op, int res, unsigned cqe_flags)
{
	struct torc_dgram *d = of_rx(op);
	unsigned id = cqe_flags >> IORING_CQE_BUFFER_SHIFT;

	if (!(cqe_flags & IORING_CQE_F_BUFFER))
		on_rx_error(d, res);
	else if (res < 0 || (size_t)res < sizeof(struct io_uring_recvmsg_out))
		give_buffer(d, id);
	else
		enqueue(d, id, (uint32_t)res);
	torc__slot_wake(&d->rx_wait);
}

/* As the kernel leaves it when it receives with multishot. */
static void on_single(struct torc_op *op, int res, unsigned cqe_flags)
{
	struct torc_dgram *d = of_rx(op);
	struct io_uring_recvmsg_out *out = (void *)buffer(d, (unsigned)d->single_id);

	(void)cqe_flags;
	if (res < 0) {
		on_rx_error(d, res);
	} else {
		*out = (struct io_uring_recvmsg_out){
			.namelen = d->single.msg_namelen,
			.controllen = (uint32_t)d->single.msg_controllen,
			.payloadlen = (uint32_t)res,
			.flags = (uint32_t)d->single.msg_flags,
		};
		enqueue(d, (unsigned)d->single_id, (uint32_t)(head_bytes(d) + (unsigned)res));
	}
	torc__slot_wake(&d->rx_wait);
}

/* Only while nothing is queued: of the buffers, one may be shown, and the next is filled. */
static void arm_single(struct torc_dgram *d)
{
	struct io_uring_sqe *sqe = torc_op_start(&d->rx, on_single);
	char *at;

	d->single_id = (int)(((unsigned)d->single_id + 1) & (d->recv_count - 1));
	at = buffer(d, (unsigned)d->single_id) + sizeof(struct io_uring_recvmsg_out);
	d->single = d->layout;
	d->single.msg_name = at;
	d->single.msg_control = at + d->layout.msg_namelen;
	d->single_iov.iov_base = at + d->layout.msg_namelen + d->layout.msg_controllen;
	d->single_iov.iov_len = d->datagram_bytes;
	d->single.msg_iov = &d->single_iov;
	d->single.msg_iovlen = 1;
	io_uring_prep_recvmsg(sqe, d->fd, &d->single, 0);
}

static int arm(struct torc_dgram *d)
{
	struct io_uring_sqe *sqe;
	int r = d->memory ? 0 : make_buffers(d);

	if (r < 0 || torc_op_pending(&d->rx))
		return r;
	if (d->group < 0) {
		arm_single(d);
		return 0;
	}
	sqe = torc_op_start(&d->rx, on_rx);
	io_uring_prep_recvmsg_multishot(sqe, d->fd, &d->layout, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = (uint16_t)d->group;
	return 0;
}

static void read_local(struct torc_datagram *ret, const struct cmsghdr *c)
{
	const void *data = CMSG_DATA(c);

	if (c->cmsg_level == IPPROTO_IP) {
		const struct in_pktinfo *info = data;

		ret->interface = (uint32_t)info->ipi_ifindex;
		ret->local.v4 =
			(struct sockaddr_in){ .sin_family = AF_INET, .sin_addr = info->ipi_addr };
		ret->local.len = sizeof(ret->local.v4);
	} else {
		const struct in6_pktinfo *info = data;

		ret->interface = info->ipi6_ifindex;
		ret->local.v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6,
						       .sin6_addr = info->ipi6_addr };
		ret->local.len = sizeof(ret->local.v6);
	}
	ret->local.type = SOCK_DGRAM;
}

static void read_int(struct torc_datagram *ret, const struct cmsghdr *c)
{
	int value;

	memcpy(&value, CMSG_DATA(c), sizeof(value));
	if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO)
		ret->segment = (uint32_t)value;
	else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS)
		ret->tos = (uint8_t)value;
}

static void read_control(struct torc_datagram *ret, char *control, size_t len)
{
	struct msghdr m = { .msg_control = control, .msg_controllen = len };

	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) ||
		    (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO))
			read_local(ret, c);
		else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS)
			ret->tos = *CMSG_DATA(c);
		else if (c->cmsg_len >= CMSG_LEN(sizeof(int)))
			read_int(ret, c);
	}
}

/* Not all of torc_address is written: what counts of it. */
static void read_from(struct torc_datagram *ret, const char *name, size_t len, size_t room)
{
	if (len > room)
		len = room;
	if (len > sizeof(ret->from.un))
		len = sizeof(ret->from.un);
	memcpy(&ret->from.any, name, len);
	ret->from.len = (socklen_t)len;
	ret->from.type = SOCK_DGRAM;
}

static void show(struct torc_dgram *d, struct torc_datagram *ret)
{
	struct torc__dgram_entry e = d->queue[d->queue_head];
	struct io_uring_recvmsg_out *out = (void *)buffer(d, e.id);
	char *name = (char *)(out + 1);
	size_t head = head_bytes(d);

	d->queue_head = (d->queue_head + 1) & (d->recv_count - 1);
	d->queue_count--;
	d->held = e.id;
	ret->data = (char *)out + head;
	ret->len = e.len > head ? e.len - head : 0;
	ret->segment = 0;
	ret->truncated = out->flags & MSG_TRUNC;
	ret->tos = 0;
	ret->interface = 0;
	ret->local.len = 0;
	read_from(ret, name, out->namelen, d->layout.msg_namelen);
	if (out->controllen && out->controllen <= d->layout.msg_controllen)
		read_control(ret, name + d->layout.msg_namelen, out->controllen);
	d->stats.received++;
	d->stats.truncated += ret->truncated;
}

void torc_dgram_release(struct torc_dgram *d)
{
	if (d->held >= 0)
		give_buffer(d, (unsigned)d->held);
	d->held = -1;
}

int torc_dgram_recv(struct torc_dgram *d, struct torc_datagram *ret_datagram)
{
	torc_dgram_release(d);
	for (;;) {
		int r = torc__scope_check(torc__self());

		if (r < 0)
			return r;
		if (d->queue_count) {
			show(d, ret_datagram);
			return 0;
		}
		r = d->rx_error;
		d->rx_error = 0;
		if (!r)
			r = arm(d);
		if (!r)
			r = torc__slot_wait(&d->rx_wait, &rx_kind);
		if (r < 0)
			return r;
	}
}

/* --- the end --- */

void torc__dgram_rx_end(struct torc_dgram *d)
{
	while (torc_op_pending(&d->rx))
		torc__slot_wait(&d->rx_wait, &close_kind);
}

void torc__dgram_rx_done(struct torc_dgram *d)
{
	torc_dgram_release(d);
	for (; d->queue_count;
	     d->queue_count--, d->queue_head = (d->queue_head + 1) & (d->recv_count - 1))
		give_buffer(d, d->queue[d->queue_head].id);
	drop_buffers(d);
}
