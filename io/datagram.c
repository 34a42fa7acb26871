#include <torc/io/datagram.h>

#include <errno.h>
#include <net/if.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <torc/core/sys.h>
#include <torc/io/socket.h>

#include "core/internal/fiber.h"
#include "core/internal/system.h"
#include "io/internal/buffers.h"
#include "io/internal/call.h"
#include "io/internal/sockopt.h"

#define DATAGRAM_BYTES   2048u
#define RECV_COUNT       256u
#define RECV_COUNT_GRO   64u
#define RECV_COUNT_MAX   32768u
#define RECV_COUNT_LEAST 4u
#define QUEUE_BYTES      (256u * 1024)
#define SEGMENT_BYTES    1232u
#define GRO_BYTES        65535u

/* What one operation may carry as segments: UDP_MAX_SEGMENTS of Linux 6.1, and an IP packet less its headers. */
#define SEGMENTS_MAX    64u
#define TRAIN_BYTES_MAX 65000u

/* Trains that can still grow are found by their peer here; what is displaced stops growing. */
#define OPEN_TRAINS 256u

/* Free trains that are kept. */
#define SPARE_TRAINS 256u

/* A few datagrams of the smallest kind fit without a chunk. */
#define TRAIN_SMALL 256u

/* Control data that is asked for, at most: segment size, type of service, packet information. */
#define CONTROL_BYTES (2 * CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct in6_pktinfo)))

/* A datagram that was received: its buffer, and the bytes that the kernel has written there. */
struct torc__dgram_entry {
	uint32_t len;
	uint16_t id;
};

/*
 * Datagrams to one peer that go out as one operation, of equal size but the last one, which may be shorter. With
 * `split` set they go out one by one: the kernel, or the way to the peer, did not take them together.
 *
 *	FREE --> PENDING <--> FLYING --> FREE
 */
struct torc__train {
	struct torc_op op;
	struct torc_dgram *dgram;
	struct torc__train *next; /* in `pending`, or of the free ones */
	struct torc__train *next_all, **all_link;
	struct msghdr message;
	struct iovec iov;
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(uint16_t))];
	struct torc_address to; /* len 0: the connected peer */
	char *data;
	uint32_t capacity, len, sent, flying; /* sent: when split; flying: bytes of the operation */
	uint16_t segment;
	uint8_t count;
	bool closed; /* the last one was shorter */
	bool split, waits, again;
	char small[TRAIN_SMALL];
};

static void describe(const struct torc_dgram *d, struct torc__message *m)
{
	torc__message_text(m, " of fd ");
	torc__message_number(m, (unsigned)d->fd, 10);
}

static void describe_rx(const struct torc__wait *wait, struct torc__message *m)
{
	describe(torc__container_of(torc__slot_of(wait), struct torc_dgram, rx_wait), m);
}

static void describe_tx(const struct torc__wait *wait, struct torc__message *m)
{
	const struct torc_dgram *d =
		torc__container_of(torc__slot_of(wait), struct torc_dgram, tx_wait);

	describe(d, m);
	torc__message_text(m, ", unsent bytes ");
	torc__message_number(m, d->unsent_bytes, 10);
}

static const struct torc__wait_kind rx_kind = { "datagram", torc__slot_cancel, describe_rx };
static const struct torc__wait_kind tx_kind = { "datagrams to be sent", torc__slot_cancel,
						describe_tx };
static const struct torc__wait_kind close_rx_kind = { "datagram close", NULL, describe_rx };
static const struct torc__wait_kind close_tx_kind = { "datagram close", NULL, describe_tx };

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

/* --- trains --- */

static struct torc__train *of_tx(struct torc_op *op)
{
	return torc__container_of(op, struct torc__train, op);
}

static struct torc__train *take_train(struct torc_dgram *d)
{
	struct torc__train *t = d->spare;

	if (t) {
		d->spare = t->next;
		d->spare_count--;
	} else {
		t = torc__malloc(sizeof(*t));
		if (!t)
			return NULL;
	}
	t->dgram = d;
	t->op.state = TORC__OP_IDLE;
	t->data = t->small;
	t->capacity = sizeof(t->small);
	t->len = t->sent = t->flying = 0;
	t->count = 0;
	t->closed = t->split = t->waits = t->again = false;
	t->next_all = d->all;
	t->all_link = &d->all;
	if (t->next_all)
		t->next_all->all_link = &t->next_all;
	d->all = t;
	return t;
}

static void drop_data(struct torc__train *t)
{
	if (t->data != t->small)
		torc__chunk_give(t->dgram->buffers, t->data, t->capacity);
	t->data = t->small;
	t->capacity = sizeof(t->small);
}

static size_t charge(size_t len)
{
	return len + sizeof(struct torc__train) / SEGMENTS_MAX;
}

static void drop_train(struct torc__train *t)
{
	struct torc_dgram *d = t->dgram;

	d->unsent_bytes -= t->len + t->count * charge(0);
	drop_data(t);
	*t->all_link = t->next_all;
	if (t->next_all)
		t->next_all->all_link = t->all_link;
	if (d->spare_count < SPARE_TRAINS) {
		t->next = d->spare;
		d->spare = t;
		d->spare_count++;
	} else {
		torc__free(t);
	}
	torc__slot_wake(&d->tx_wait);
}

static void add_pending(struct torc_dgram *d, struct torc__train *t)
{
	t->next = NULL;
	*d->pending_tail = t;
	d->pending_tail = &t->next;
	torc__turn_defer(d->buffers->loop, &d->work);
}

static int grow_train(struct torc__train *t, size_t more)
{
	uint32_t capacity;
	char *chunk;

	if (t->len + more <= t->capacity)
		return 0;
	chunk = torc__chunk_take(t->dgram->buffers, t->len + more, &capacity);
	if (!chunk)
		return -ENOMEM;
	memcpy(chunk, t->data, t->len);
	drop_data(t);
	t->data = chunk;
	t->capacity = capacity;
	return 0;
}

/* --- sending --- */

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
		add_pending(t->dgram, t);
	else
		drop_train(t);
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
	struct torc__train *t = d->pending;
	/* Who waits for room must be woken by it: a quiet one ends no sleep of the loop. */
	bool quiet = !d->tx_wait && !(d->buffers->loop->ring.disabled & TORC__CQE_SKIP);

	d->pending = NULL;
	d->pending_tail = &d->pending;
	if (d->open)
		memset(d->open, 0, OPEN_TRAINS * sizeof(struct torc__train *));
	while (t) {
		struct torc__train *next = t->next;

		if (d->closing) {
			fail(d, -ESHUTDOWN, left_count(t));
			drop_train(t);
		} else {
			start_train(t, quiet);
		}
		t = next;
	}
	if (d->closing)
		torc__slot_wake(&d->tx_wait); /* end_operations waits for this very run */
}

static unsigned slot_of(const struct torc_address *to)
{
	uint64_t h = 0;

	if (to && to->any.sa_family == AF_INET) {
		h = (uint64_t)to->v4.sin_addr.s_addr << 16 ^ to->v4.sin_port;
	} else if (to) {
		uint64_t half[2];

		memcpy(half, &to->v6.sin6_addr, sizeof(half));
		h = half[0] * 31 ^ half[1] ^ to->v6.sin6_port;
	}
	return (unsigned)(h * 0x9e3779b97f4a7c15u >> 56) % OPEN_TRAINS;
}

static bool takes(const struct torc__train *t, size_t len)
{
	if (t->closed || len > t->segment || t->count == SEGMENTS_MAX ||
	    t->len + len > TRAIN_BYTES_MAX)
		return false;
	return true;
}

static bool is_for(const struct torc__train *t, const struct torc_address *to)
{
	if (!t)
		return false;
	return to ? t->to.len && torc_address_equal(&t->to, to) : !t->to.len;
}

/* Where the train that grows for this peer is, or is to be: one of two places, so that two peers seldom take turns in one. */
static struct torc__train **find_open(struct torc_dgram *d, const struct torc_address *to)
{
	unsigned slot = slot_of(to);
	struct torc__train **a = &d->open[slot], **b = &d->open[slot ^ 1];

	if (is_for(*a, to) || is_for(*b, to))
		return is_for(*a, to) ? a : b;
	return !*a || *b ? a : b;
}

static bool may_grow(const struct torc_dgram *d, size_t len)
{
	return d->segments && len && len <= d->segment_bytes;
}

static struct torc__train *begin_train(struct torc_dgram *d, size_t len,
				       const struct torc_address *to)
{
	struct torc__train *t = take_train(d);

	if (!t)
		return NULL;
	if (grow_train(t, len) < 0) {
		drop_train(t);
		return NULL;
	}
	t->segment = (uint16_t)len;
	t->to.len = 0;
	if (to) {
		memcpy(&t->to.any, &to->any, to->len);
		t->to.len = to->len;
	}
	add_pending(d, t);
	return t;
}

static int append(struct torc_dgram *d, const void *data, size_t len, const struct torc_address *to)
{
	struct torc__train **slot = d->segments ? find_open(d, to) : NULL;
	struct torc__train *t = slot && may_grow(d, len) ? *slot : NULL;

	if (!t || !is_for(t, to) || !takes(t, len) || grow_train(t, len) < 0)
		t = begin_train(d, len, to);
	if (!t)
		return -ENOMEM;
	/* One that cannot grow ends the growth of those before it: the order would be lost. */
	if (slot)
		*slot = may_grow(d, len) ? t : NULL;
	if (len)
		memcpy(t->data + t->len, data, len);
	t->len += (uint32_t)len;
	t->count++;
	t->closed = len < t->segment;
	d->unsent_bytes += charge(len);
	return 0;
}

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

static int take_error(struct torc_dgram *d)
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
	r = make_room(d, charge(len));
	if (!r && d->connected)
		r = take_error(d);
	return r ? r : append(d, data, len, to);
}

int torc_dgram_flush(struct torc_dgram *d)
{
	int r = torc__scope_check(torc__self());

	while (!r && d->unsent_bytes)
		r = await_room(d, SIZE_MAX);
	return r ? r : take_error(d);
}

/* --- groups --- */

/* if_nametoindex(3) would need a socket of its own. */
static int find_interface(int fd, const char *name, uint32_t *ret_index)
{
	struct ifreq q = { .ifr_ifindex = 0 };
	size_t len = strlen(name);

	if (!torc__on_linux() || len >= sizeof(q.ifr_name))
		return -ENODEV;
	memcpy(q.ifr_name, name, len);
	if (ioctl(fd, SIOCGIFINDEX, &q) < 0)
		return -errno;
	*ret_index = (uint32_t)q.ifr_ifindex;
	return 0;
}

static int change_group(struct torc_dgram *d, const char *text, const char *interface, int what)
{
	struct torc_address group;
	struct group_req q;
	int r = torc_address_parse(text, 0, &group);

	if (r < 0)
		return r;
	if (group.any.sa_family != d->local.any.sa_family || d->is_unix)
		return -EINVAL;
	memset(&q, 0, sizeof(q));
	memcpy(&q.gr_group, &group.any, group.len);
	if (interface)
		r = find_interface(d->fd, interface, &q.gr_interface);
	if (r < 0)
		return r;
	return torc_sys_setsockopt(d->fd,
				   d->local.any.sa_family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6,
				   what, &q, sizeof(q));
}

int torc_dgram_join(struct torc_dgram *d, const char *group, const char *interface)
{
	return change_group(d, group, interface, MCAST_JOIN_GROUP);
}

int torc_dgram_leave(struct torc_dgram *d, const char *group, const char *interface)
{
	return change_group(d, group, interface, MCAST_LEAVE_GROUP);
}

/* --- open and close --- */

struct asked {
	struct torc_address local, peer; /* len 0: not asked for */
	int family;
};

static int parse_one(const char *text, unsigned flags, struct torc_address *ret)
{
	int r = 0;

	ret->len = 0;
	if (text)
		r = torc_address_parse(text, flags, ret);
	return !r && text && ret->type && ret->type != SOCK_DGRAM ? -EINVAL : r;
}

static int parse(const char *address, const struct torc_dgram_options *o, struct asked *ret)
{
	int r = parse_one(address, TORC_ADDRESS_WILDCARD, &ret->local);

	if (!r)
		r = parse_one(o->peer, 0, &ret->peer);
	if (r < 0)
		return r;
	if (!address && !o->peer)
		return -EINVAL;
	ret->family = address ? ret->local.any.sa_family : ret->peer.any.sa_family;
	return o->peer && ret->peer.any.sa_family != ret->family ? -EINVAL : 0;
}

static unsigned power_of_2(unsigned n)
{
	unsigned p = RECV_COUNT_LEAST;

	while (p < n)
		p *= 2;
	return p;
}

static int set_numbers(struct torc_dgram *d, const struct torc_dgram_options *o)
{
	if (o->recv_count > RECV_COUNT_MAX || o->datagram_bytes > GRO_BYTES ||
	    o->segment_bytes > TRAIN_BYTES_MAX || o->ttl < 0 || o->ttl > 255)
		return -EINVAL;
	d->datagram_bytes = o->datagram_bytes ? o->datagram_bytes
			    : o->gro          ? GRO_BYTES
					      : DATAGRAM_BYTES;
	d->recv_count = power_of_2(o->recv_count ? o->recv_count
				   : o->gro      ? RECV_COUNT_GRO
						 : RECV_COUNT);
	d->queue_bytes = o->queue_bytes ? o->queue_bytes : QUEUE_BYTES;
	d->segment_bytes = o->segment_bytes ? o->segment_bytes : SEGMENT_BYTES;
	d->cmsg = o->gro || o->want_local || o->want_tos;
	return 0;
}

static int set_v6_options(int fd, const struct torc_dgram_options *o)
{
	int r = torc__set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, o->v6_only);

	if (!r && o->ttl)
		r = torc__set_int(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, o->ttl);
	if (!r && o->ttl)
		r = torc__set_int(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, o->ttl);
	/* As that of IPv4 below. */
	if (!r && torc__on_linux())
		r = torc__set_int(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0);
	if (!r && o->want_local)
		r = torc__set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
	return !r && o->want_tos ? torc__set_int(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1) : r;
}

/* What a socket for both tells of IPv4 is asked for in the same way. */
static int set_v4_options(int fd, int family, const struct torc_dgram_options *o)
{
	/* Or it would hear each group that anybody on this machine has joined. The simulator has none. */
	int r = torc__on_linux() ? torc__set_int(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0) : 0;

	if (!r && o->ttl)
		r = torc__set_int(fd, IPPROTO_IP, IP_TTL, o->ttl);
	if (!r && o->ttl && family == AF_INET)
		r = torc__set_int(fd, IPPROTO_IP, IP_MULTICAST_TTL, o->ttl);
	if (!r && o->want_local && family == AF_INET)
		r = torc__set_int(fd, IPPROTO_IP, IP_PKTINFO, 1);
	return !r && o->want_tos ? torc__set_int(fd, IPPROTO_IP, IP_RECVTOS, 1) : r;
}

static int set_udp_options(int fd, int family, const struct torc_dgram_options *o)
{
	int r = o->broadcast ? torc__set_int(fd, SOL_SOCKET, SO_BROADCAST, 1) : 0;

	if (!r && o->reuse_port)
		r = torc__set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (!r && o->reuse_address)
		r = torc__set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (!r && o->gro)
		r = torc__set_int(fd, SOL_UDP, UDP_GRO, 1);
	if (!r && o->device)
		r = torc__set_device(fd, o->device);
	if (!r && family == AF_INET6)
		r = set_v6_options(fd, o);
	return r ? r : set_v4_options(fd, family, o);
}

/* Does the kernel cut up what is given to it in one piece? Where it does, the table of trains is made. */
static int probe_segments(struct torc_dgram *d)
{
	int value;
	socklen_t len = sizeof(value);

	d->segments = d->segment_bytes > 1 &&
		      !(d->buffers->loop->ring.disabled & TORC__UDP_SEGMENT) &&
		      torc_sys_getsockopt(d->fd, SOL_UDP, UDP_SEGMENT, &value, &len) == 0;
	if (!d->segments)
		return 0;
	d->open = torc__calloc(OPEN_TRAINS, sizeof(struct torc__train *));
	return d->open ? 0 : -ENOMEM;
}

static int bind_it(struct torc_dgram *d, const struct torc_address *a)
{
	int r = d->is_unix && a->un.sun_path[0] ? torc__remove_stale(a) : 0;

	if (!r)
		r = torc_sys_bind(d->fd, &a->any, a->len);
	d->owns_path = !r && d->is_unix && a->un.sun_path[0];
	if (d->owns_path)
		d->local = *a; /* to remove it, also when what follows fails */
	return r;
}

static int connect_it(struct torc_dgram *d, const struct torc_address *a)
{
	int r = torc_connect(d->fd, &a->any, a->len);

	d->connected = !r;
	return r;
}

static int set_up(struct torc_dgram *d, const struct asked *asked,
		  const struct torc_dgram_options *o)
{
	int r = torc_set_buffers(d->fd, o->recv_bytes, o->send_bytes);

	if (!r && !d->is_unix)
		r = set_udp_options(d->fd, asked->family, o);
	if (!r && !d->is_unix)
		r = probe_segments(d);
	if (!r && asked->local.len)
		r = bind_it(d, &asked->local);
	if (!r && asked->peer.len)
		r = connect_it(d, &asked->peer);
	return r ? r : torc_local_address(d->fd, &d->local);
}

static void drop_all(struct torc_dgram *d)
{
	while (d->spare) {
		struct torc__train *t = d->spare;

		d->spare = t->next;
		torc__free(t);
	}
	torc__free(d->open);
	d->open = NULL;
	drop_buffers(d);
	if (d->owns_path)
		torc_sys_unlink(d->local.un.sun_path);
	torc_mutex_done(&d->tx_turn);
}

int torc_dgram_open(struct torc_dgram *d, const char *address,
		    const struct torc_dgram_options *options)
{
	static const struct torc_dgram_options defaults;
	const struct torc_dgram_options *o = options ? options : &defaults;
	struct asked asked;
	int r = parse(address, o, &asked);

	*d = (struct torc_dgram){ .group = -1, .held = -1, .work = { .run = end_of_turn } };
	d->pending_tail = &d->pending;
	d->is_unix = !r && asked.family == AF_UNIX;
	if (!r)
		r = set_numbers(d, o);
	if (r < 0)
		return r;
	d->buffers = torc__buffers(torc__self()->loop);
	if (!d->buffers)
		return -ENOMEM;
	d->fd = torc_sys_socket(asked.family, SOCK_DGRAM, 0);
	if (d->fd < 0)
		return d->fd;
	torc_mutex_init(&d->tx_turn);
	r = set_up(d, &asked, o);
	if (r < 0) {
		torc_sys_close(d->fd);
		drop_all(d);
	}
	return r;
}

const struct torc_address *torc_dgram_address(const struct torc_dgram *d)
{
	return &d->local;
}

void torc_dgram_stats(const struct torc_dgram *d, struct torc_dgram_stats *ret_stats)
{
	*ret_stats = d->stats;
}

/* Not to be cut short: the kernel still has our memory. */
static void end_operations(struct torc_dgram *d)
{
	d->closing = true;
	torc_op_cancel(&d->rx);
	for (struct torc__train *t = d->all; t; t = t->next_all)
		torc_op_cancel(&t->op);
	while (torc_op_pending(&d->rx))
		torc__slot_wait(&d->rx_wait, &close_rx_kind);
	while (d->all || d->work.queued) /* the loop still has our turn work */
		torc__slot_wait(&d->tx_wait, &close_tx_kind);
}

int torc_dgram_close(struct torc_dgram *d)
{
	int r = d->unsent_bytes ? torc_dgram_flush(d) : take_error(d);

	end_operations(d);
	torc_dgram_release(d);
	for (; d->queue_count;
	     d->queue_count--, d->queue_head = (d->queue_head + 1) & (d->recv_count - 1))
		give_buffer(d, d->queue[d->queue_head].id);
	torc_sys_close(d->fd);
	drop_all(d);
	return r;
}
