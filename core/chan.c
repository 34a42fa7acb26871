#include "core/internal/chan.h"
#include "core/internal/system.h"

#include <stdlib.h>

/* --- states --- */

/* The one place where a channel's state changes. */
static void set_state(struct torc_chan *c, enum torc__chan_state to)
{
	/* Bit `from` of legal[to]. */
	static const uint8_t legal[] = {
		[TORC__CHAN_NONE] = 0,
		[TORC__CHAN_OPEN] = 1 << TORC__CHAN_NONE,
		[TORC__CHAN_CLOSED] = 1 << TORC__CHAN_OPEN,
		[TORC__CHAN_DONE] = 1 << TORC__CHAN_OPEN | 1 << TORC__CHAN_CLOSED,
	};

	torc__check(legal[to] >> c->state & 1, "illegal change of a channel's state");
	__atomic_store_n(&c->state, (uint8_t)to, __ATOMIC_RELEASE);
}

static bool valid(const struct torc_chan_options *o)
{
	if (o->item_bytes > UINT32_MAX || o->capacity > UINT32_MAX)
		return false;
	if (o->order == TORC_CHAN_FIFO)
		return true;
	if (o->order != TORC_CHAN_LIFO && o->order != TORC_CHAN_PRIORITY)
		return false;
	return o->capacity && (o->order == TORC_CHAN_LIFO || o->before);
}

int torc_chan_init_with(struct torc_chan *c, const struct torc_chan_options *o)
{
	char *items = NULL;
	size_t bytes;

	if (!valid(o) || __builtin_mul_overflow(o->item_bytes, o->capacity, &bytes))
		return -EINVAL;
	/* A heap of priorities has one more, to hold the item that is being moved. */
	if (__builtin_add_overflow(bytes, o->item_bytes, &bytes))
		return -EINVAL;
	/* Also for items of no size: offsets are added to it, which NULL does not allow. */
	if (o->capacity) {
		items = torc__malloc(bytes ? bytes : 1);
		if (!items)
			return -ENOMEM;
	}
	*c = (struct torc_chan){
		.item_bytes = (uint32_t)o->item_bytes,
		.capacity = (uint32_t)o->capacity,
		.order = (uint8_t)o->order,
		.items = items,
		.before = o->before,
		.arg = o->arg,
	};
	set_state(c, TORC__CHAN_OPEN);
	return 0;
}

int torc_chan_init(struct torc_chan *c, size_t item_bytes, size_t capacity)
{
	return torc_chan_init_with(c, &(struct torc_chan_options){ .item_bytes = item_bytes,
								   .capacity = capacity });
}

void torc_chan_done(struct torc_chan *c)
{
	torc__check(!c->receivers.first && !c->senders.first && !c->selecting,
		    "a channel is done with while a fiber waits for it");
	set_state(c, TORC__CHAN_DONE);
	torc__free(c->items);
	c->items = NULL;
	/* Items are looked for first, then the state: the next use is to find that. */
	c->count = 0;
}

/* --- other orders --- */

static char *item_at(const struct torc_chan *c, uint32_t index)
{
	return c->items + (size_t)index * c->item_bytes;
}

static void set_item(struct torc_chan *c, uint32_t index, const void *item)
{
	torc__chan_copy(item_at(c, index), item, c->item_bytes);
}

static bool before(const struct torc_chan *c, const void *a, const void *b)
{
	return c->before(a, b, c->arg);
}

/* A binary heap. */
static void sift_up(struct torc_chan *c, uint32_t index, const void *item)
{
	while (index && before(c, item, item_at(c, (index - 1) / 2))) {
		set_item(c, index, item_at(c, (index - 1) / 2));
		index = (index - 1) / 2;
	}
	set_item(c, index, item);
}

static void sift_down(struct torc_chan *c, uint32_t count, const void *item)
{
	uint64_t child;
	uint32_t index = 0;

	while ((child = (uint64_t)index * 2 + 1) < count) {
		if (child + 1 < count &&
		    before(c, item_at(c, (uint32_t)child + 1), item_at(c, (uint32_t)child)))
			child++;
		if (!before(c, item_at(c, (uint32_t)child), item))
			break;
		set_item(c, index, item_at(c, (uint32_t)child));
		index = (uint32_t)child;
	}
	set_item(c, index, item);
}

void torc__chan_put_ordered(struct torc_chan *c, const void *item)
{
	if (c->order == TORC_CHAN_LIFO)
		set_item(c, c->count, item);
	else
		sift_up(c, c->count, item);
	torc__chan_set_count(c, c->count + 1);
}

void torc__chan_take_ordered(struct torc_chan *c, void *ret_item)
{
	uint32_t left = c->count - 1;

	torc__chan_copy(ret_item, item_at(c, c->order == TORC_CHAN_LIFO ? left : 0), c->item_bytes);
	if (c->order == TORC_CHAN_PRIORITY && left)
		sift_down(c, left, item_at(c, left));
	torc__chan_set_count(c, left);
}

/*
 * --- send and receive ---
 *
 * Nothing looks at the channel once its guard has been left: whoever got the item may have freed it by then.
 */

static void describe_chan(const struct torc__wait *wait, struct torc__message *m)
{
	const struct torc__guard *guard = ((const struct torc__waiter *)wait)->guard;
	const struct torc_chan *c = torc__container_of(guard, const struct torc_chan, guard);

	torc__waiter_describe(wait, m);
	if (!((const struct torc__waiter *)wait)->node.queued) /* it has what it waited for */
		return;
	torc__message_text(m, ", with ");
	torc__message_number(m, c->count, 10);
	torc__message_text(m, " of ");
	torc__message_number(m, c->capacity, 10);
	torc__message_text(m, " items");
}

static const struct torc__wait_kind send_kind = {
	.name = "channel, to send",
	.cancel = torc__waiter_cancel,
	.describe = describe_chan,
};

static const struct torc__wait_kind recv_kind = {
	.name = "channel, to receive",
	.cancel = torc__waiter_cancel,
	.describe = describe_chan,
};

int torc_chan_send(struct torc_chan *c, const void *item)
{
	struct torc__fiber *f = torc__self();
	struct torc__waiter w;
	struct torc__node *wake;
	int r = torc__scope_check(f);
	bool buffered = c->capacity, owned;

	if (torc__unlikely(r < 0))
		return r;
	owned = torc__guard_enter(f->loop, &c->guard);
	r = torc__chan_send_now(c, item, &wake);
	if (r == -EAGAIN) {
		w.node.item = (void *)(uintptr_t)item;
		torc__waiter_queue(&w, f, &c->guard, &c->senders);
	}
	torc__guard_leave(f->loop, &c->guard, owned);
	torc__wake_at(f->loop, wake, buffered);
	return r == -EAGAIN ? torc__waiter_park(&w, &send_kind) : r;
}

int torc_chan_recv(struct torc_chan *c, void *ret_item)
{
	struct torc__fiber *f = torc__self();
	struct torc__waiter w;
	struct torc__node *wake;
	int r = torc__scope_check(f);
	bool buffered = c->capacity, owned;

	if (torc__unlikely(r < 0))
		return r;
	owned = torc__guard_enter(f->loop, &c->guard);
	r = torc__chan_recv_now(c, ret_item, &wake);
	if (r == -EAGAIN) {
		w.node.item = ret_item;
		torc__waiter_queue(&w, f, &c->guard, &c->receivers);
	}
	torc__guard_leave(f->loop, &c->guard, owned);
	torc__wake_at(f->loop, wake, buffered);
	return r == -EAGAIN ? torc__waiter_park(&w, &recv_kind) : r;
}

int torc_chan_try_send(struct torc_chan *c, const void *item)
{
	struct torc__loop *loop = torc__here();
	struct torc__node *wake;
	bool buffered = c->capacity;
	bool owned = torc__guard_enter(loop, &c->guard);
	int r = torc__chan_send_now(c, item, &wake);

	torc__guard_leave(loop, &c->guard, owned);
	torc__wake_at(loop, wake, buffered);
	return r;
}

int torc_chan_try_recv(struct torc_chan *c, void *ret_item)
{
	struct torc__loop *loop = torc__here();
	struct torc__node *wake;
	bool buffered = c->capacity;
	bool owned = torc__guard_enter(loop, &c->guard);
	int r = torc__chan_recv_now(c, ret_item, &wake);

	torc__guard_leave(loop, &c->guard, owned);
	torc__wake_at(loop, wake, buffered);
	return r;
}

/* --- the rest --- */

static void grant_all(struct torc__queue *queue, int result, struct torc__granted *granted)
{
	struct torc__node *node;

	while ((node = torc__chan_grant(queue, result)))
		torc__granted_add(granted, node);
}

void torc_chan_close(struct torc_chan *c)
{
	struct torc__loop *loop = torc__here();
	TORC__GRANTED(granted);
	bool owned = torc__guard_enter(loop, &c->guard);

	if (c->state != TORC__CHAN_CLOSED) {
		set_state(c, TORC__CHAN_CLOSED);
		grant_all(&c->receivers, 0, &granted);
		grant_all(&c->senders, -EPIPE, &granted);
	}
	torc__guard_leave(loop, &c->guard, owned);
	torc__wake_granted(loop, &granted);
}

size_t torc_chan_count(const struct torc_chan *c)
{
	return __atomic_load_n(&c->count, __ATOMIC_RELAXED);
}

bool torc_chan_is_closed(const struct torc_chan *c)
{
	return __atomic_load_n(&c->state, __ATOMIC_ACQUIRE) == TORC__CHAN_CLOSED;
}
