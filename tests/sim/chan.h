/*
 * tests/sim/chan.h - producers and consumers on any loop, over channels of every kind.
 *
 * There is a ledger of all items: whoever knows that an item was sent or received says so there. In the end each item
 * that was sent was received once, or is left in its channel; one that was not sent was received by nobody. Three ways to
 * run it:
 *
 *	peaceful	nobody is stopped, and channels are closed when all has been sent: then everything arrives,
 *			and whoever waits for ever has lost a wake-up
 *	closing		nobody is stopped, but all channels are closed at some time: whoever waits goes on
 *	stormy		deadlines and cancellations everywhere, and channels are closed in between
 */
#ifndef TESTS_SIM_CHAN_H
#define TESTS_SIM_CHAN_H

#include <torc/core/chan.h>

#include "tests/sim/sim.h"

#define CHANS          3
#define CHAN_PRODUCERS 5
#define CHAN_CONSUMERS 5
#define CHAN_ITEMS     8 /* of each producer */
#define CHAN_CASES     4
#define CHAN_UNTOUCHED 0x5a5a5a5a

struct chan_item {
	int32_t producer;
	int32_t number; /* of its producer, from 1: each channel gets them in this order */
	int32_t priority;
};

struct chan_market;

struct chan_trader {
	struct chan_market *market;
	int index;
	int tries; /* how often it may be stopped before it gives up */
	/* A consumer's: the latest of each producer. From one channel they come in order. */
	int latest[CHANS][CHAN_PRODUCERS];
};

struct chan_market {
	struct torc_chan chans[CHANS];
	enum torc_chan_order orders[CHANS];
	size_t capacities[CHANS];
	int count; /* of channels */
	bool stormy, closing;
	struct chan_trader producers[CHAN_PRODUCERS], consumers[CHAN_CONSUMERS];
	/* Where an item went to, from 1, and how often one was received there. */
	atomic_uchar sent[CHAN_PRODUCERS][CHAN_ITEMS + 1];
	atomic_uchar received[CHANS][CHAN_PRODUCERS][CHAN_ITEMS + 1];
};

static bool chan_before(const void *a, const void *b, void *arg)
{
	const struct chan_item *x = a, *y = b;

	(void)arg;
	return x->priority < y->priority;
}

static int chan_any(const struct chan_market *m)
{
	return (int)dice((unsigned)m->count);
}

static void chan_check_count(struct chan_market *m, int which)
{
	check_le(torc_chan_count(&m->chans[which]), m->capacities[which]);
}

/* --- the ledger --- */

static void chan_note_sent(struct chan_trader *p, const struct chan_item *item, int which)
{
	check_eq(p->market->sent[p->index][item->number], 0);
	p->market->sent[p->index][item->number] = (unsigned char)(which + 1);
}

static void chan_note_received(struct chan_market *m, const struct chan_item *item, int which)
{
	check(item->producer >= 0 && item->producer < CHAN_PRODUCERS);
	check(item->number >= 1 && item->number <= CHAN_ITEMS);
	check_eq(m->received[which][item->producer][item->number]++, 0);
}

static void chan_consumed(struct chan_trader *c, const struct chan_item *item, int which)
{
	struct chan_market *m = c->market;
	int *latest = &c->latest[which][item->producer];

	chan_note_received(m, item, which);
	if (m->orders[which] == TORC_CHAN_FIFO)
		check_lt(*latest, item->number);
	*latest = item->number;
}

static void chan_check_ledger(struct chan_market *m)
{
	for (int p = 0; p < CHAN_PRODUCERS; p++)
		for (int n = 1; n <= CHAN_ITEMS; n++)
			for (int c = 0; c < CHANS; c++)
				check_eq(m->received[c][p][n], m->sent[p][n] == c + 1);
}

/* --- select --- */

/* Sends and receives, some of them of no channel. Returns how many; all items are untouched ones. */
static size_t chan_make_cases(struct chan_trader *t, struct torc_case *cases,
			      struct chan_item *items, const struct chan_item *to_send)
{
	size_t n = 1 + dice(CHAN_CASES);

	for (size_t i = 0; i < n; i++) {
		bool send = to_send && one_in(2);

		items[i] = (struct chan_item){ CHAN_UNTOUCHED, CHAN_UNTOUCHED, CHAN_UNTOUCHED };
		if (send)
			items[i] = *to_send;
		cases[i] = (struct torc_case){
			.chan = one_in(8) ? NULL : &t->market->chans[chan_any(t->market)],
			.op = send ? TORC_SEND : TORC_RECV,
			.item = &items[i],
			.result = CHAN_UNTOUCHED,
		};
	}
	return n;
}

static void chan_check_others(const struct torc_case *cases, const struct chan_item *items,
			      size_t n, int chosen)
{
	for (size_t i = 0; i < n; i++) {
		if ((int)i == chosen)
			continue;
		check_eq(cases[i].result, CHAN_UNTOUCHED);
		if (cases[i].op == TORC_RECV)
			check(items[i].producer == CHAN_UNTOUCHED &&
			      items[i].number == CHAN_UNTOUCHED &&
			      items[i].priority == CHAN_UNTOUCHED);
	}
}

/* What a select came to, for an item that was to be sent or NULL. Returns 1: that was sent. */
static int chan_selected(struct chan_trader *t, const struct torc_case *c,
			 const struct chan_item *to_send)
{
	struct chan_market *m = t->market;
	int which = (int)(c->chan - m->chans);

	check(c->chan != NULL);
	if (c->op == TORC_SEND) {
		check(c->result == 0 || c->result == -EPIPE);
		if (c->result == 0)
			chan_note_sent(t, to_send, which);
		else
			check(torc_chan_is_closed(c->chan));
		return c->result == 0;
	}
	check(c->result == 0 || c->result == 1);
	if (c->result == 1)
		chan_consumed(t, c->item, which);
	else
		check(torc_chan_is_closed(c->chan));
	return 0;
}

/* Returns 1: the item was sent; 0: it was not; or the scope's status. */
static int chan_select(struct chan_trader *t, const struct chan_item *to_send)
{
	struct torc_case cases[CHAN_CASES];
	struct chan_item items[CHAN_CASES];
	size_t n = chan_make_cases(t, cases, items, to_send);
	uint64_t deadline = one_in(2) ? 0 : torc_now_ns() + some_time();
	int r = torc_select(cases, n, deadline);

	chan_check_others(cases, items, n, r);
	if (r == -EAGAIN) {
		check_ge(torc_now_ns(), deadline);
		return 0;
	}
	if (stop_or_done(r) < 0)
		return r;
	check_lt(r, n);
	return chan_selected(t, &cases[r], to_send);
}

/* --- one item --- */

/* Returns 1: sent; 0: not; -EPIPE; or the scope's status. */
static int chan_send(struct chan_trader *t, const struct chan_item *item)
{
	int which = chan_any(t->market), r;
	struct torc_chan *chan = &t->market->chans[which];

	chan_check_count(t->market, which);
	if (one_in(5)) {
		r = torc_chan_try_send(chan, item);
		check(r == 0 || r == -EPIPE || r == -EAGAIN);
	} else {
		r = torc_chan_send(chan, item);
		check(r <= 0);
		if (r != -EPIPE)
			stop_or_done(r);
	}
	if (r == 0)
		chan_note_sent(t, item, which);
	if (r == -EPIPE)
		check(torc_chan_is_closed(chan));
	return r == 0 ? 1 : r == -EAGAIN ? 0 : r;
}

/* Returns 1: an item; 0: none now; -EPIPE: none will come; or the scope's status. */
static int chan_recv(struct chan_trader *t, int which)
{
	struct chan_item item = { CHAN_UNTOUCHED, CHAN_UNTOUCHED, CHAN_UNTOUCHED };
	struct torc_chan *chan = &t->market->chans[which];
	int r = one_in(5) ? torc_chan_try_recv(chan, &item) : torc_chan_recv(chan, &item);

	chan_check_count(t->market, which);
	if (r == 1) {
		chan_consumed(t, &item, which);
		return 1;
	}
	check_eq(item.number, CHAN_UNTOUCHED);
	if (r == 0) {
		check(torc_chan_is_closed(chan));
		return -EPIPE;
	}
	return r == -EAGAIN ? 0 : stop_or_done(r);
}

/* --- traders --- */

/* Returns as chan_send. */
static int chan_produce_item(struct chan_trader *t, int number)
{
	struct chan_item item = { t->index, number, (int32_t)dice(4) };

	if (one_in(3))
		return chan_select(t, &item);
	return chan_send(t, &item);
}

/* What was not sent is sent again: if it had been all the same, the ledger would tell. */
static int chan_produce(void *arg)
{
	struct chan_trader *t = arg;
	int r = 0;

	for (int number = 1; number <= CHAN_ITEMS; number += r == 1) {
		uint64_t limit = t->market->stormy && one_in(2) ? some_time() : TORC_NEVER;

		torc_within(limit) r = chan_produce_item(t, number);
		if (torc_scope_status() || (r < 0 && t->tries-- == 0))
			break;
		if (r == 0 || one_in(4))
			do_something();
	}
	return 0;
}

/* All channels in turn, so that none waits for a consumer for ever. Returns as chan_recv. */
static int chan_consume_once(struct chan_trader *t, int which)
{
	if (one_in(4)) {
		int r = chan_select(t, NULL);

		if (r < 0)
			return r;
	}
	return chan_recv(t, which);
}

static int chan_consume(void *arg)
{
	struct chan_trader *t = arg;
	struct chan_market *m = t->market;
	int which = t->index % m->count, r = 0;

	/* A peaceful one stays with its channel until that is closed: it may be the only one. */
	while (r != -EPIPE) {
		uint64_t limit = m->stormy && one_in(2) ? some_time() : TORC_NEVER;

		torc_within(limit) r = chan_consume_once(t, which);
		if (torc_scope_status() || (m->stormy && r < 0 && t->tries-- == 0))
			break;
		if (m->stormy)
			which = chan_any(m);
		if (m->closing && one_in(6))
			break; /* nobody may be left to receive: then the end wakes those who send */
		if (r == 0 || one_in(4))
			do_something();
	}
	return 0;
}

static int chan_closer(void *arg)
{
	struct chan_market *m = arg;
	int which = chan_any(m);
	struct chan_item item = { 0, 1, 0 };

	do_sleep(dice(400000));
	torc_chan_close(&m->chans[which]);
	check(torc_chan_is_closed(&m->chans[which]));
	check_eq(torc_chan_try_send(&m->chans[which], &item), -EPIPE);
	torc_chan_close(&m->chans[which]);
	return 0;
}

static int chan_close_all(void *arg)
{
	struct chan_market *m = arg;

	do_sleep(dice(100000));
	for (int i = 0; i < m->count; i++)
		torc_chan_close(&m->chans[i]);
	return 0;
}

/* --- the market --- */

static int chan_open(struct chan_market *m)
{
	m->count = 1 + (int)dice(CHANS);
	for (int i = 0; i < m->count; i++) {
		struct torc_chan_options o = { .item_bytes = sizeof(struct chan_item),
					       .capacity = dice(5),
					       .before = chan_before };
		int r;

		if (o.capacity)
			o.order = (enum torc_chan_order)dice(TORC_CHAN_PRIORITY + 1);
		m->orders[i] = o.order;
		m->capacities[i] = o.capacity;
		r = torc_chan_init_with(&m->chans[i], &o);
		if (r < 0) {
			check_eq(r, -ENOMEM);
			while (i-- > 0)
				torc_chan_done(&m->chans[i]);
			return r;
		}
	}
	return 0;
}

static void chan_check_order(enum torc_chan_order order, const struct chan_item *before,
			     const struct chan_item *item)
{
	if (order == TORC_CHAN_PRIORITY)
		check_le(before->priority, item->priority);
	if (before->producer != item->producer)
		return;
	if (order == TORC_CHAN_FIFO)
		check_lt(before->number, item->number);
	if (order == TORC_CHAN_LIFO)
		check_lt(item->number, before->number);
}

/* What is left, when nobody sends any more. */
static void chan_drain(struct chan_market *m, int which)
{
	struct chan_item before = { -1, 0, 0 }, item;
	size_t left = torc_chan_count(&m->chans[which]);
	int r;

	while ((r = torc_chan_try_recv(&m->chans[which], &item)) == 1) {
		chan_note_received(m, &item, which);
		if (before.producer >= 0)
			chan_check_order(m->orders[which], &before, &item);
		before = item;
		left--;
	}
	check_eq(left, 0);
	check_eq(r, torc_chan_is_closed(&m->chans[which]) ? 0 : -EAGAIN);
}

static void chan_check_all_sent(struct chan_market *m, int producers)
{
	for (int p = 0; p < producers; p++)
		for (int n = 1; n <= CHAN_ITEMS; n++)
			check(m->sent[p][n] != 0);
}

/* In a group of consumers: one that cannot be started cancels the producers too, for nobody may be left to receive. */
static bool chan_trade(struct chan_market *m, int producers, int consumers)
{
	struct torc_group inner, outer;
	bool whole;

	torc_group_enter(&outer);
	for (int i = 0; i < consumers; i++)
		start(&outer, chan_consume, &m->consumers[i]);
	if (m->stormy && one_in(2))
		start(&outer, chan_closer, m);
	if (m->closing)
		start(&outer, chan_close_all, m);
	torc_group_enter(&inner);
	for (int i = 0; i < producers; i++)
		start(&inner, chan_produce, &m->producers[i]);
	if (m->stormy && one_in(3)) {
		do_sleep(dice(400000));
		torc_group_cancel(one_in(2) ? &inner : &outer);
	}
	whole = finish(&inner);
	for (int i = 0; i < m->count && !m->stormy; i++)
		torc_chan_close(&m->chans[i]);
	return finish(&outer) && whole;
}

static int chan_scenario(void *arg)
{
	static struct chan_market market;
	struct chan_market *m = &market;
	int producers, consumers, r;
	bool whole = false;

	(void)arg;
	memset(m, 0, sizeof(*m));
	r = chan_open(m);
	if (r < 0)
		return r;
	m->stormy = one_in(2);
	m->closing = !m->stormy && one_in(3);
	producers = 1 + (int)dice(CHAN_PRODUCERS);
	consumers = m->count + (int)dice(CHAN_CONSUMERS + 1 - (unsigned)m->count);
	for (int i = 0; i < CHAN_PRODUCERS; i++)
		m->producers[i] = (struct chan_trader){ .market = m, .index = i, .tries = 3 };
	for (int i = 0; i < CHAN_CONSUMERS; i++)
		m->consumers[i] = (struct chan_trader){ .market = m, .index = i, .tries = 3 };
	torc_within(m->stormy ? TORC_MS(3) : TORC_NEVER) whole =
		chan_trade(m, producers, consumers);
	if (whole && !m->stormy && !m->closing)
		chan_check_all_sent(m, producers);
	for (int i = 0; i < m->count; i++)
		chan_drain(m, i);
	chan_check_ledger(m);
	for (int i = 0; i < m->count; i++)
		torc_chan_done(&m->chans[i]);
	return 0;
}

#endif
