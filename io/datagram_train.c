/*
 * io/datagram_train.c - datagrams to be sent are gathered into trains, one for each peer of a turn of the loop.
 */
#include <errno.h>
#include <netinet/udp.h>
#include <string.h>

#include <torc/core/sys.h>

#include "core/internal/fiber.h"
#include "core/internal/system.h"
#include "io/internal/buffers.h"
#include "io/internal/datagram.h"

/* Trains that can still grow are found by their peer here; what is displaced stops growing. */
#define OPEN_TRAINS 256u

/* Free trains that are kept. */
#define SPARE_TRAINS 256u

/* --- one train --- */

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

void torc__train_drop(struct torc__train *t)
{
	struct torc_dgram *d = t->dgram;

	d->unsent_bytes -= t->len + t->count * torc__train_charge(0);
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

void torc__train_queue(struct torc__train *t)
{
	struct torc_dgram *d = t->dgram;

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

/* --- which one a datagram goes into --- */

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
	if (t->closed || len > t->segment || t->count == TORC__SEGMENTS_MAX ||
	    t->len + len > TORC__TRAIN_BYTES_MAX)
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
		torc__train_drop(t);
		return NULL;
	}
	t->segment = (uint16_t)len;
	t->to.len = 0;
	if (to) {
		memcpy(&t->to.any, &to->any, to->len);
		t->to.len = to->len;
	}
	torc__train_queue(t);
	return t;
}

int torc__train_add(struct torc_dgram *d, const void *data, size_t len,
		    const struct torc_address *to)
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
	d->unsent_bytes += torc__train_charge(len);
	return 0;
}

/* --- all of them --- */

struct torc__train *torc__trains_take(struct torc_dgram *d)
{
	struct torc__train *t = d->pending;

	d->pending = NULL;
	d->pending_tail = &d->pending;
	if (d->open)
		memset(d->open, 0, OPEN_TRAINS * sizeof(struct torc__train *));
	return t;
}

int torc__trains_probe(struct torc_dgram *d)
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

void torc__trains_done(struct torc_dgram *d)
{
	while (d->spare) {
		struct torc__train *t = d->spare;

		d->spare = t->next;
		torc__free(t);
	}
	torc__free(d->open);
	d->open = NULL;
}
