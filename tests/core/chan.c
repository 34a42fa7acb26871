/*
 * Channels: each item once, in order, whatever is cancelled or closed meanwhile.
 */
#include "tests/core/chans.h"

TestSuite(chan, .timeout = 60);

/* --- the table --- */

static void start_unbuffered(struct object *o)
{
	start_chan(o, 0);
}

static void start_buffered(struct object *o)
{
	start_chan(o, 3);
}

static void start_full(struct object *o)
{
	uint64_t first = 6;

	start_chan(o, 1);
	check_eq(torc_chan_try_send(&o->chan, &first), 0);
	check_eq(torc_chan_try_send(&o->chan, &first), -EAGAIN);
}

static int send_item(struct object *o)
{
	return torc_chan_send(&o->chan, &o->sent);
}

static int receive_item(struct object *o)
{
	int r = torc_chan_recv(&o->chan, &o->received);

	check_eq(o->received, r == 1 ? 7 : WAITING); /* written on success only */
	return r == 1 ? 0 : r;
}

static void finish_empty(struct object *o, bool success)
{
	(void)success;
	check(!take(o));
	check_eq(torc_chan_count(&o->chan), 0);
	torc_chan_done(&o->chan);
}

/* Sent: it is in there. */
static void finish_sent(struct object *o, bool success)
{
	check_eq(torc_chan_count(&o->chan), success);
	check_eq(take(o), success);
	finish_empty(o, success);
}

/* Not received: it still is in there. */
static void finish_received(struct object *o, bool success)
{
	check_eq(torc_chan_count(&o->chan), !success);
	check_eq(take(o), !success);
	finish_empty(o, success);
}

/* -EPIPE, or 0 for a receiver, is the success of these rows. */
static int send_until_closed(struct object *o)
{
	int r = send_item(o);

	return r == -EPIPE ? 0 : r;
}

static int receive_until_closed(struct object *o)
{
	int r = torc_chan_recv(&o->chan, &o->received);

	check_eq(o->received, WAITING);
	return r;
}

static void finish_closed(struct object *o, bool success)
{
	uint64_t item;

	(void)success;
	check(torc_chan_is_closed(&o->chan));
	if (torc_chan_count(&o->chan))
		check(take_first(o));
	check_eq(torc_chan_recv(&o->chan, &item), 0);
	check_eq(torc_chan_try_recv(&o->chan, &item), 0);
	check_eq(torc_chan_send(&o->chan, &item), -EPIPE);
	check_eq(torc_chan_try_send(&o->chan, &item), -EPIPE);
	torc_chan_close(&o->chan);
	torc_chan_done(&o->chan);
}

static const struct call calls[] = {
	{ "chan_send", start_unbuffered, send_item, take, finish_empty, .meets = true,
	  .knows = true },
	{ "chan_send, full", start_full, send_item, take_first, finish_sent, .meets = false },
	{ "chan_send, closed", start_unbuffered, send_until_closed, close_chan, finish_closed,
	  .meets = false },
	{ "chan_send, closed when full", start_full, send_until_closed, close_chan, finish_closed,
	  .meets = false },
	{ "chan_recv", start_unbuffered, receive_item, give, finish_empty, .meets = true,
	  .knows = true },
	{ "chan_recv, empty", start_buffered, receive_item, give, finish_received, .meets = false },
	{ "chan_recv, closed", start_unbuffered, receive_until_closed, close_chan, finish_closed,
	  .meets = false },
	{ "chan_recv, closed when empty", start_buffered, receive_until_closed, close_chan,
	  finish_closed, .meets = false },
};

TEST_CALLS(chan, calls);

/* --- nothing lost, nothing twice, each sender's in order --- */

#define SENDERS    3
#define RECEIVERS  3
#define ITEMS      150
#define MOST_BYTES 4096

struct traffic {
	struct torc_chan chan;
	size_t bytes;
	struct torc_latch sending;
	atomic_long received, sum;
	atomic_char times[SENDERS][ITEMS];
};

struct party {
	struct traffic *traffic;
	uint32_t who;
};

/* The first bytes tell who sent it and which it is, the others follow from these. */
static void fill(unsigned char *item, size_t bytes, uint32_t who, uint32_t number)
{
	uint32_t head[2] = { who, number };

	if (bytes >= sizeof(head)) {
		for (size_t i = sizeof(head); i < bytes; i++)
			item[i] = (unsigned char)(number * 7 + who + i);
		memcpy(item, head, sizeof(head));
	} else if (bytes) {
		item[0] = (unsigned char)number;
	}
}

static int send_all(void *arg)
{
	struct party *me = arg;
	struct traffic *t = me->traffic;
	unsigned char item[MOST_BYTES];

	for (uint32_t i = 0; i < ITEMS; i++) {
		fill(item, t->bytes, me->who, i);
		check_eq(torc_chan_send(&t->chan, t->bytes ? item : NULL), 0);
		if (i % 32 == me->who)
			check_eq(torc_yield(), 0);
	}
	torc_latch_count_down(&t->sending);
	return 0;
}

static void check_item(struct traffic *t, const unsigned char *item, int64_t *last)
{
	unsigned char expected[MOST_BYTES];
	uint32_t head[2];

	if (t->bytes < sizeof(head)) {
		atomic_fetch_add(&t->sum, t->bytes ? item[0] : 0);
		return;
	}
	memcpy(head, item, sizeof(head));
	check_lt(head[0], SENDERS);
	check_lt(head[1], ITEMS);
	fill(expected, t->bytes, head[0], head[1]);
	check_eq(memcmp(item, expected, t->bytes), 0);
	check_lt(last[head[0]], head[1]);
	last[head[0]] = head[1];
	check_eq(atomic_fetch_add(&t->times[head[0]][head[1]], 1), 0);
	atomic_fetch_add(&t->sum, (unsigned char)head[1]);
}

static int receive_all(void *arg)
{
	struct party *me = arg;
	struct traffic *t = me->traffic;
	unsigned char item[MOST_BYTES];
	int64_t last[SENDERS] = { -1, -1, -1 };
	int r;

	while ((r = torc_chan_recv(&t->chan, t->bytes ? item : NULL)) > 0) {
		atomic_fetch_add(&t->received, 1);
		check_item(t, item, last);
	}
	return r;
}

static void exchange(size_t bytes, size_t capacity, int loops)
{
	static struct traffic t;
	struct party parties[SENDERS + RECEIVERS];
	struct torc_group g;
	long sum = 0;

	memset(&t, 0, sizeof(t));
	t.bytes = bytes;
	check_eq(torc_chan_init(&t.chan, bytes, capacity), 0);
	torc_latch_init(&t.sending, SENDERS);
	torc_group_enter(&g);
	for (int i = 0; i < SENDERS + RECEIVERS; i++) {
		parties[i] = (struct party){ &t, (uint32_t)(i < SENDERS ? i : i - SENDERS) };
		check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(i % loops)),
					       i < SENDERS ? send_all : receive_all, &parties[i]),
			 0);
	}
	check_eq(torc_latch_wait(&t.sending), 0);
	torc_chan_close(&t.chan); /* what is in there is still received */
	check_eq(torc_group_wait(&g), 0);
	torc_chan_done(&t.chan);
	for (long i = 0; i < ITEMS; i++)
		sum += (i & 255) * SENDERS;
	check_eq(t.received, SENDERS * ITEMS);
	check_eq(t.sum, bytes ? sum : 0);
}

static int exchange_all(void *arg)
{
	static const size_t bytes[] = { 0, 1, 8, 24, 4096 }, capacities[] = { 0, 1, 3, 1000 };

	(void)arg;
	for (size_t i = 0; i < COUNT(bytes); i++)
		for (size_t n = 0; n < COUNT(capacities); n++)
			exchange(bytes[i], capacities[n], torc_loop_count());
	return 0;
}

Test(chan, each_item_is_received_once_and_in_its_senders_order)
{
	run_both_guards(OPTIONS(.loops = 1, .stack_bytes = 128 << 10), exchange_all, NULL);
	run_both_guards(OPTIONS(.loops = 3, .stack_bytes = 128 << 10), exchange_all, NULL);
}

/* --- lines --- */

#define MOST 30

struct line {
	struct torc_chan chan;
	struct torc_scope *scopes[MOST];
	struct order order;
};

struct in_line {
	struct line *line;
	int who;
	int result;
	uint64_t item;
};

static int send_in_line(void *arg)
{
	struct in_line *i = arg;
	struct torc_scope s;

	torc_scope_enter(&s, TORC_NEVER);
	i->line->scopes[i->who] = &s;
	i->item = (uint64_t)i->who;
	i->result = torc_chan_send(&i->line->chan, &i->item);
	torc_scope_leave(&s);
	return 0;
}

static int receive_in_line(void *arg)
{
	struct in_line *i = arg;
	struct torc_scope s;

	torc_scope_enter(&s, TORC_NEVER);
	i->line->scopes[i->who] = &s;
	i->item = WAITING;
	i->result = torc_chan_recv(&i->line->chan, &i->item);
	note(&i->line->order, i->who);
	torc_scope_leave(&s);
	return 0;
}

static void form_line(struct line *l, struct in_line *in, struct torc_group *g, int count,
		      torc_fn *fn)
{
	for (int i = 0; i < count; i++) {
		in[i] = (struct in_line){ .line = l, .who = i, .result = WAITING };
		check_eq(torc_group_spawn(g, fn, &in[i]), 0);
	}
	check_eq(torc_yield(), 0);
}

static void cancel_thirds(struct line *l, int count)
{
	for (int i = 0; i < count; i += 3)
		torc_scope_cancel(l->scopes[i]);
}

static int serve_senders(void *arg)
{
	uint64_t capacity = (uint64_t)VALUE(arg), item;
	struct line l = { .order = { .count = 0 } };
	struct in_line in[MOST];
	struct torc_group g;

	check_eq(torc_chan_init(&l.chan, sizeof(uint64_t), capacity), 0);
	for (uint64_t i = 0; i < capacity; i++) {
		item = 100 + i;
		check_eq(torc_chan_send(&l.chan, &item), 0);
	}
	torc_group_enter(&g);
	form_line(&l, in, &g, MOST, send_in_line);
	cancel_thirds(&l, MOST);
	for (uint64_t i = 0; i < capacity; i++) {
		check_eq(torc_chan_try_recv(&l.chan, &item), 1);
		check_eq(item, 100 + i);
		check_eq(torc_chan_count(&l.chan), capacity); /* the next one's went in at once */
		check_eq(torc_chan_try_send(&l.chan, &item), -EAGAIN);
	}
	for (uint64_t i = 0; i < MOST; i++) {
		if (i % 3 == 0)
			continue;
		check_eq(torc_chan_recv(&l.chan, &item), 1);
		check_eq(item, i);
	}
	check_eq(torc_chan_try_recv(&l.chan, &item), -EAGAIN);
	check_eq(torc_group_wait(&g), 0);
	for (int i = 0; i < MOST; i++)
		check_eq(in[i].result, i % 3 ? 0 : -ECANCELED);
	torc_chan_done(&l.chan);
	return 0;
}

Test(chan, senders_are_served_in_the_order_of_arrival)
{
	run(serve_senders, ARG(0));
	run(serve_senders, ARG(1));
	run(serve_senders, ARG(5));
}

static int serve_receivers(void *arg)
{
	struct line l = { .order = { .count = 0 } };
	struct in_line in[MOST];
	struct torc_group g;
	uint64_t sent = 0, item;
	int n = 0;

	check_eq(torc_chan_init(&l.chan, sizeof(uint64_t), (size_t)VALUE(arg)), 0);
	torc_group_enter(&g);
	form_line(&l, in, &g, MOST, receive_in_line);
	cancel_thirds(&l, MOST);
	check_eq(torc_yield(), 0);
	check_eq(l.order.count, MOST / 3);
	for (; sent < MOST * 2 / 3; sent++) {
		check_eq(torc_chan_try_send(&l.chan, &sent), 0);
		/* It is the first one's, who has not run yet: neither here nor there for a third. */
		check_eq(torc_chan_count(&l.chan), 0);
		check_eq(torc_chan_try_recv(&l.chan, &item), -EAGAIN);
	}
	check_eq(torc_group_wait(&g), 0);
	for (int i = 0; i < MOST; i++) {
		if (i % 3 == 0) {
			check_eq(in[i].result, -ECANCELED);
			check_eq(in[i].item, WAITING);
			continue;
		}
		check_eq(in[i].result, 1);
		check_eq(in[i].item, n);
		check_eq(l.order.seen[MOST / 3 + n], i);
		n++;
	}
	torc_chan_done(&l.chan);
	return 0;
}

Test(chan, receivers_are_served_in_the_order_of_arrival)
{
	run(serve_receivers, ARG(0));
	run(serve_receivers, ARG(2));
}

static int close_on_all(void *arg)
{
	struct line l = { .order = { .count = 0 } };
	struct in_line in[4];
	struct torc_group g;
	uint64_t item;

	(void)arg;
	check_eq(torc_chan_init(&l.chan, sizeof(uint64_t), 2), 0);
	torc_group_enter(&g);
	form_line(&l, in, &g, 4, receive_in_line);
	torc_chan_close(&l.chan);
	check_eq(torc_group_wait(&g), 0);
	for (int i = 0; i < 4; i++)
		check_eq(in[i].result, 0);
	torc_chan_done(&l.chan);
	/* Two are in it, two wait: these have not sent. */
	check_eq(torc_chan_init(&l.chan, sizeof(uint64_t), 2), 0);
	torc_group_enter(&g);
	form_line(&l, in, &g, 4, send_in_line);
	torc_chan_close(&l.chan);
	torc_scope_cancel(l.scopes[3]); /* too late */
	check_eq(torc_group_wait(&g), 0);
	for (int i = 0; i < 4; i++)
		check_eq(in[i].result, i < 2 ? 0 : -EPIPE);
	check_eq(torc_chan_count(&l.chan), 2);
	for (uint64_t i = 0; i < 2; i++) {
		check_eq(torc_chan_recv(&l.chan, &item), 1);
		check_eq(item, i);
	}
	check_eq(torc_chan_recv(&l.chan, &item), 0);
	torc_chan_done(&l.chan);
	return 0;
}

Test(chan, a_close_ends_all_waits_and_leaves_what_was_sent)
{
	run(close_on_all, NULL);
}

/* --- orders --- */

static int wrap_around(void *arg)
{
	static const uint32_t capacities[] = { 1, 2, 3, 1000 };
	struct torc_chan c;
	uint64_t in = 0, out = 0, item, seed = 3;

	(void)arg;
	for (size_t i = 0; i < COUNT(capacities); i++) {
		check_eq(torc_chan_init(&c, sizeof(uint64_t), capacities[i]), 0);
		in = out = 0;
		for (int n = 0; n < 20000; n++) {
			if (next_random(&seed) % 2) {
				bool room = in - out < capacities[i];

				check_eq(torc_chan_try_send(&c, &in), room ? 0 : -EAGAIN);
				in += room;
			} else {
				bool some = in != out;

				check_eq(torc_chan_try_recv(&c, &item), some ? 1 : -EAGAIN);
				if (some)
					check_eq(item, out++);
			}
			check_eq(torc_chan_count(&c), in - out);
		}
		torc_chan_done(&c); /* whatever is in it */
	}
	return 0;
}

Test(chan, a_fifo_wraps_around)
{
	run(wrap_around, NULL);
}

struct job {
	uint32_t priority, number;
	char rest[16];
};

static int comparisons;

static bool before(const void *a, const void *b, void *arg)
{
	check_eq(arg == &comparisons, true);
	comparisons++;
	return ((const struct job *)a)->priority < ((const struct job *)b)->priority;
}

/* A list without order, which is searched. */
struct reference {
	struct job jobs[1000];
	size_t count;
	bool lifo;
};

static bool earlier(const struct reference *r, const struct job *a, const struct job *b)
{
	return r->lifo ? a->number > b->number : a->priority < b->priority;
}

/* What was received must be one of the first, and is removed. */
static void remove_job(struct reference *r, const struct job *job)
{
	size_t at = r->count;

	for (size_t i = 0; i < r->count; i++) {
		check(!earlier(r, &r->jobs[i], job));
		if (!memcmp(&r->jobs[i], job, sizeof(*job)))
			at = i;
	}
	check_lt(at, r->count);
	r->jobs[at] = r->jobs[--r->count];
}

static void try_order(enum torc_chan_order order, size_t capacity)
{
	static struct reference r;
	struct torc_chan_options o = { .item_bytes = sizeof(struct job),
				       .capacity = capacity,
				       .order = order,
				       .before = before,
				       .arg = &comparisons };
	struct torc_chan c;
	uint64_t seed = capacity;

	r.count = 0;
	r.lifo = order == TORC_CHAN_LIFO;
	check_eq(torc_chan_init_with(&c, &o), 0);
	for (uint32_t i = 0; i < 6000; i++) {
		struct job job = { .priority = next_random(&seed) % 50, .number = i };
		bool fills = i / 1000 % 2 == 0;

		memset(job.rest, (int)i, sizeof(job.rest));
		if (next_random(&seed) % 4 < (fills ? 3 : 1)) {
			check_eq(torc_chan_try_send(&c, &job), r.count < capacity ? 0 : -EAGAIN);
			if (r.count < capacity)
				r.jobs[r.count++] = job;
		} else if (torc_chan_try_recv(&c, &job) == 1) {
			remove_job(&r, &job);
		} else {
			check_eq(r.count, 0);
		}
		check_eq(torc_chan_count(&c), r.count);
	}
	torc_chan_close(&c);
	for (struct job job; torc_chan_recv(&c, &job) == 1;)
		remove_job(&r, &job);
	check_eq(r.count, 0);
	torc_chan_done(&c);
}

static int try_orders(void *arg)
{
	static const size_t capacities[] = { 1, 2, 3, 7, 1000 };

	(void)arg;
	for (size_t i = 0; i < COUNT(capacities); i++) {
		try_order(TORC_CHAN_LIFO, capacities[i]);
		check_eq(comparisons, 0);
		try_order(TORC_CHAN_PRIORITY, capacities[i]);
		check(comparisons || capacities[i] == 1);
		comparisons = 0;
	}
	return 0;
}

Test(chan, lifo_and_priority_are_as_a_sorted_list)
{
	run(try_orders, NULL);
}

static int send_job(void *arg)
{
	struct in_line *i = arg;
	struct job job = { .priority = (uint32_t)(10 - i->who) };

	i->result = torc_chan_send(&i->line->chan, &job);
	return 0;
}

/* What a waiting sender has is not in the channel yet: it gets in when there is room. */
static int order_and_wait(void *arg)
{
	static const uint32_t expected[] = { 9, 8, 7, 6, 10 };
	struct line l = { .order = { .count = 0 } };
	struct in_line in[5];
	struct torc_group g;
	struct job job;

	(void)arg;
	check_eq(torc_chan_init_with(&l.chan,
				     &(struct torc_chan_options){ .item_bytes = sizeof(job),
								  .capacity = 2,
								  .order = TORC_CHAN_PRIORITY,
								  .before = before,
								  .arg = &comparisons }),
		 0);
	torc_group_enter(&g);
	form_line(&l, in, &g, 5, send_job);
	for (size_t i = 0; i < COUNT(expected); i++) {
		check_eq(torc_chan_recv(&l.chan, &job), 1);
		check_eq(job.priority, expected[i]);
	}
	check_eq(torc_group_wait(&g), 0);
	torc_chan_done(&l.chan);
	return 0;
}

Test(chan, priorities_hold_among_what_is_in_it)
{
	run(order_and_wait, NULL);
}

/* --- options --- */

static bool never(const void *a, const void *b, void *arg)
{
	(void)a, (void)b, (void)arg;
	return false;
}

Test(chan, init_refuses_options_out_of_range)
{
	const size_t over = (size_t)UINT32_MAX + 1;
	const struct torc_chan_options bad[] = {
		{ .item_bytes = over },
		{ .item_bytes = over, .capacity = 1 },
		{ .capacity = over },
		{ .item_bytes = SIZE_MAX, .capacity = SIZE_MAX },
		{ .item_bytes = 8, .order = TORC_CHAN_LIFO },
		{ .item_bytes = 8, .order = TORC_CHAN_PRIORITY, .before = never },
		{ .item_bytes = 8, .capacity = 4, .order = TORC_CHAN_PRIORITY },
		{ .item_bytes = 8, .capacity = 4, .order = (enum torc_chan_order)3 },
		{ .item_bytes = 8, .capacity = 4, .order = (enum torc_chan_order) - 1 },
	};
	struct torc_chan c, untouched;

	memset(&c, 0x5a, sizeof(c));
	untouched = c;
	for (size_t i = 0; i < COUNT(bad); i++)
		cr_assert_eq(torc_chan_init_with(&c, &bad[i]), -EINVAL, "case %zu", i);
	cr_assert_eq(torc_chan_init(&c, over, 0), -EINVAL);
	cr_assert_eq(torc_chan_init(&c, 0, over), -EINVAL);
	if (!WITH_ASAN) /* it would end the program */
		cr_assert_eq(torc_chan_init(&c, UINT32_MAX, UINT32_MAX), -ENOMEM);
	cr_assert_eq(memcmp(&c, &untouched, sizeof(c)), 0);
}

static int use_the_largest(void *arg)
{
	struct torc_chan c;

	(void)arg;
	/* Items of no size take no memory to speak of. */
	check_eq(torc_chan_init(&c, 0, UINT32_MAX), 0);
	for (int i = 0; i < 1000; i++)
		check_eq(torc_chan_send(&c, NULL), 0);
	for (int i = 0; i < 1000; i++)
		check_eq(torc_chan_recv(&c, NULL), 1);
	check_eq(torc_chan_try_recv(&c, NULL), -EAGAIN);
	torc_chan_done(&c);
	for (int order = TORC_CHAN_LIFO; order <= TORC_CHAN_PRIORITY; order++) {
		check_eq(torc_chan_init_with(&c,
					     &(struct torc_chan_options){
						     .capacity = UINT32_MAX,
						     .order = (enum torc_chan_order)order,
						     .before = never }),
			 0);
		for (int i = 0; i < 100; i++)
			check_eq(torc_chan_send(&c, NULL), 0);
		for (int i = 0; i < 100; i++)
			check_eq(torc_chan_recv(&c, NULL), 1);
		torc_chan_done(&c);
	}
	/* Nor does what no room is for. */
	check_eq(torc_chan_init(&c, UINT32_MAX, 0), 0);
	check_eq(torc_chan_try_send(&c, NULL), -EAGAIN);
	torc_chan_done(&c);
	return 0;
}

Test(chan, the_largest_counts_and_sizes)
{
	run(use_the_largest, NULL);
}

/* --- from completions --- */

static struct torc_chan completions;

static void send_result(struct torc_op *op, int res, unsigned cqe_flags)
{
	(void)op, (void)cqe_flags;
	check_eq(torc_chan_try_send(&completions, &res), 0);
}

static int receive_results(void *arg)
{
	int res;

	(void)arg;
	for (int i = 0; i < 20; i++) {
		check_eq(torc_chan_recv(&completions, &res), 1);
		check_eq(res, 0);
	}
	return 0;
}

static int complete_many(void *arg)
{
	static struct torc_op ops[20];
	struct torc_group g;

	check_eq(torc_chan_init(&completions, sizeof(int), 20), 0);
	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP((int)VALUE(arg))),
				       receive_results, NULL),
		 0);
	for (int i = 0; i < 20; i++)
		io_uring_prep_nop(torc_op_start(&ops[i], send_result));
	check_eq(torc_group_wait(&g), 0);
	torc_chan_done(&completions);
	return 0;
}

Test(chan, completions_send_without_waiting)
{
	check_eq(run_with(OPTIONS(.loops = 2), complete_many, ARG(0)), 0);
	check_eq(run_with(OPTIONS(.loops = 2), complete_many, ARG(1)), 0);
}

/* --- misuse --- */

static struct torc_chan shared;
static uint64_t some_item;

static int send_shared(void *arg)
{
	(void)arg;
	return torc_chan_send(&shared, &some_item);
}

static int receive_shared(void *arg)
{
	(void)arg;
	return torc_chan_recv(&shared, &some_item);
}

static int try_shared(void *arg)
{
	(void)arg;
	return torc_chan_try_recv(&shared, &some_item);
}

static int close_shared(void *arg)
{
	(void)arg;
	torc_chan_close(&shared);
	return 0;
}

static int done_shared(void *arg)
{
	(void)arg;
	torc_chan_done(&shared);
	return 0;
}

static void init_shared(size_t capacity)
{
	check_eq(torc_chan_init(&shared, sizeof(some_item), capacity), 0);
}

static int done_while(torc_fn *fn)
{
	init_shared(0);
	check_eq(torc_detach("waiter", fn, NULL), 0);
	check_eq(torc_yield(), 0);
	return done_shared(NULL);
}

static int done_while_sending(void *arg)
{
	(void)arg;
	return done_while(send_shared);
}

static int done_while_receiving(void *arg)
{
	(void)arg;
	return done_while(receive_shared);
}

/* Done with, while two items were in it. */
static void use_up(void)
{
	init_shared(4);
	check_eq(torc_chan_send(&shared, &some_item), 0);
	check_eq(torc_chan_send(&shared, &some_item), 0);
	torc_chan_done(&shared);
}

static int send_after(void *arg)
{
	use_up();
	return send_shared(arg);
}

static int receive_after(void *arg)
{
	use_up();
	return receive_shared(arg);
}

static int close_after(void *arg)
{
	use_up();
	return close_shared(arg);
}

static int done_after(void *arg)
{
	use_up();
	return done_shared(arg);
}

Test(chan, misuse_traps_with_a_message)
{
	static const char unusable[] =
		"a channel is used that was not initialised, or is done with";

	expect_trap(send_shared, unusable);
	expect_trap(receive_shared, unusable);
	expect_trap(try_shared, unusable);
	expect_trap(close_shared, "illegal change of a channel's state (fiber main");
	expect_trap(done_shared, "illegal change of a channel's state");
	expect_trap(done_while_sending, "a channel is done with while a fiber waits for it");
	expect_trap(done_while_receiving, "a channel is done with while a fiber waits for it");
	expect_trap(send_after, unusable);
	expect_trap(receive_after, unusable);
	expect_trap(close_after, "illegal change of a channel's state");
	expect_trap(done_after, "illegal change of a channel's state");
	expect_trap_outside(try_shared, "called outside of a loop");
}
