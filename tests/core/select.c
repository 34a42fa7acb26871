/*
 * Select: one of the cases happens, and nothing is left of the others.
 */
#include "tests/core/chans.h"

TestSuite(select, .timeout = 60);

#define UNTOUCHED (-12345)

/* --- the table --- */

static void start_chans(struct object *o, size_t capacity)
{
	start_chan(o, capacity);
	check_eq(torc_chan_init(&o->other, sizeof(uint64_t), 0), 0);
}

static void start_unbuffered(struct object *o)
{
	start_chans(o, 0);
}

static void start_buffered(struct object *o)
{
	start_chans(o, 1);
}

static void start_full(struct object *o)
{
	uint64_t first = 6;

	start_chans(o, 1);
	check_eq(torc_chan_try_send(&o->chan, &first), 0);
}

#define CASES 5

/* One that is to be done, number 2, among others that never are; and a second one for the same. */
static int select_one(struct object *o, enum torc_case_op op, uint64_t deadline_ns)
{
	uint64_t other = WAITING, second = op == TORC_SEND ? o->sent : WAITING;
	struct torc_case cases[CASES] = {
		{ .chan = &o->other, .op = TORC_RECV, .item = &other },
		{ .chan = NULL, .op = TORC_SEND, .item = &other },
		{ .chan = &o->chan, .op = op, .item = op == TORC_SEND ? &o->sent : &o->received },
		{ .chan = &o->other, .op = TORC_RECV, .item = &other },
		{ .chan = &o->chan, .op = op, .item = &second },
	};
	int r;

	for (int i = 0; i < CASES; i++)
		cases[i].result = UNTOUCHED;
	r = torc_select(cases, CASES, deadline_ns);
	check(r < 0 || r == 2 || r == 4);
	for (int i = 0; i < CASES; i++)
		check_eq(cases[i].result == UNTOUCHED, i != r);
	check_eq(other, WAITING);
	if (op == TORC_RECV) {
		check_eq(o->received, r == 2 && cases[2].result == 1 ? 7 : WAITING);
		check_eq(second, r == 4 && cases[4].result == 1 ? 7 : WAITING);
	}
	o->outcome = r < 0 ? 0 : cases[r].result;
	return r < 0 ? r : 0;
}

static int select_recv(struct object *o)
{
	int r = select_one(o, TORC_RECV, TORC_NEVER);

	check_eq(o->outcome, r == 0);
	return r;
}

static int select_recv_in_time(struct object *o)
{
	int r = select_one(o, TORC_RECV, torc_now_ns() + LONG);

	check_eq(o->outcome, r == 0);
	return r;
}

static int select_send(struct object *o)
{
	int r = select_one(o, TORC_SEND, TORC_NEVER);

	check_eq(o->outcome, 0);
	return r;
}

static int select_send_in_time(struct object *o)
{
	int r = select_one(o, TORC_SEND, torc_now_ns() + LONG);

	check_eq(o->outcome, 0);
	return r;
}

static int select_closed_recv(struct object *o)
{
	int r = select_one(o, TORC_RECV, TORC_NEVER);

	check_eq(o->outcome, 0);
	return r;
}

static int select_closed_send(struct object *o)
{
	int r = select_one(o, TORC_SEND, TORC_NEVER);

	check_eq(o->outcome, r == 0 ? -EPIPE : 0);
	return r;
}

/* The partner selects too, without waiting. */
static bool take_selecting(struct object *o)
{
	uint64_t item = WAITING, none = 1;
	struct torc_case cases[] = {
		{ .chan = &o->chan, .op = TORC_RECV, .item = &item },
		{ .chan = &o->other, .op = TORC_RECV, .item = &none },
	};
	int r = torc_select(cases, 2, 0);

	check(r == -EAGAIN || (r == 0 && cases[0].result == 1 && item == 7));
	return r == 0;
}

static bool give_selecting(struct object *o)
{
	uint64_t none = 1;
	struct torc_case cases[] = {
		{ .chan = &o->other, .op = TORC_RECV, .item = &none },
		{ .chan = &o->chan, .op = TORC_SEND, .item = &o->sent },
	};
	int r = torc_select(cases, 2, 0);

	check(r == -EAGAIN || (r == 1 && cases[1].result == 0));
	return r == 1;
}

/* No node is left in any channel: else torc_chan_done would trap. */
static void finish(struct object *o, bool success)
{
	(void)success;
	check(!take(o));
	check_eq(torc_chan_try_send(&o->other, &o->sent), -EAGAIN);
	torc_chan_done(&o->chan);
	torc_chan_done(&o->other);
}

static void finish_sent(struct object *o, bool success)
{
	check_eq(take(o), success);
	finish(o, success);
}

static void finish_received(struct object *o, bool success)
{
	check_eq(take(o), !success);
	finish(o, success);
}

static void finish_closed(struct object *o, bool success)
{
	(void)success;
	torc_chan_done(&o->chan);
	torc_chan_done(&o->other);
}

static const struct call calls[] = {
	{ "select, recv", start_unbuffered, select_recv, give, finish, .meets = true,
	  .knows = true },
	{ "select, recv, deadline", start_unbuffered, select_recv_in_time, give, finish,
	  .meets = true, .knows = true },
	{ "select, recv, from a select", start_unbuffered, select_recv, give_selecting, finish,
	  .meets = true, .knows = true },
	{ "select, recv, empty", start_buffered, select_recv, give, finish_received,
	  .meets = false },
	{ "select, recv, closed", start_unbuffered, select_closed_recv, close_chan, finish_closed,
	  .meets = false },
	{ "select, send", start_unbuffered, select_send, take, finish, .meets = true,
	  .knows = true },
	{ "select, send, deadline", start_unbuffered, select_send_in_time, take, finish,
	  .meets = true, .knows = true },
	{ "select, send, to a select", start_unbuffered, select_send, take_selecting, finish,
	  .meets = true, .knows = true },
	{ "select, send, full", start_full, select_send, take_first, finish_sent, .meets = false },
	{ "select, send, closed", start_full, select_closed_send, close_chan, finish_closed,
	  .meets = false },
};

TEST_CALLS(select, calls);

/* --- its own deadline, and those around it --- */

static int own_deadline(void *arg)
{
	struct torc_chan c;
	uint64_t item = WAITING;
	struct torc_case cases[] = {
		{ .chan = &c, .op = TORC_RECV, .item = &item, .result = UNTOUCHED },
	};
	struct torc_scope s, inner;
	struct torc_stats before, after;
	uint64_t until;

	(void)arg;
	check_eq(torc_chan_init(&c, sizeof(item), 1), 0);
	torc_stats(&before);
	check_eq(torc_select(cases, 1, 0), -EAGAIN);
	check_eq(torc_select(NULL, 0, 0), -EAGAIN);
	torc_stats(&after);
	check_eq(after.switches, before.switches);
	until = torc_now_ns() + TORC_MS(2);
	check_eq(torc_select(cases, 1, until), -EAGAIN);
	check_ge(torc_now_ns(), until);
	until = torc_now_ns() + TORC_MS(2);
	check_eq(torc_select(NULL, 0, until), -EAGAIN);
	check_ge(torc_now_ns(), until);
	check_eq(torc_select(cases, 1, 1), -EAGAIN); /* long ago */
	check_eq(torc_scope_status(), 0);

	/* the scope's is the earlier one */
	torc_scope_enter(&s, TORC_MS(2));
	check_eq(torc_select(cases, 1, torc_now_ns() + LONG), -ETIMEDOUT);
	check_eq(torc_select(cases, 1, torc_now_ns() + LONG), -ETIMEDOUT);
	check_eq(torc_select(cases, 1, 0), -ETIMEDOUT);
	check_eq(torc_select(NULL, 0, TORC_NEVER), -ETIMEDOUT);
	check_eq(torc_scope_leave(&s), -ETIMEDOUT);
	/* it is the later one, and not used up */
	torc_scope_enter(&s, LONG);
	check_eq(torc_select(cases, 1, torc_now_ns() + TORC_MS(1)), -EAGAIN);
	check_eq(torc_scope_status(), 0);
	check_eq(torc_scope_leave(&s), 0);
	/* both at once: the scope's counts, for it ends more than this call */
	until = torc_now_ns() + TORC_MS(2);
	torc_scope_enter_until(&s, until);
	torc_scope_enter(&inner, LONG);
	check_eq(torc_select(cases, 1, until), -ETIMEDOUT);
	check_eq(torc_scope_leave(&inner), 0);
	check_eq(torc_scope_leave(&s), -ETIMEDOUT);
	check_eq(cases[0].result, UNTOUCHED);
	check_eq(item, WAITING);

	/* what can be done is done, however late it is */
	check_eq(torc_chan_send(&c, &until), 0);
	check_eq(torc_select(cases, 1, 1), 0);
	check_eq(item, until);
	torc_chan_done(&c);
	return 0;
}

Test(select, tells_its_own_deadline_from_those_of_scopes)
{
	run(own_deadline, NULL);
}

struct waiting {
	struct torc_scope *scope;
	int result;
};

static int select_nothing(void *arg)
{
	struct waiting *w = arg;
	struct torc_scope s;

	torc_scope_enter(&s, TORC_NEVER);
	w->scope = &s;
	w->result = torc_select((struct torc_case[]){ { .chan = NULL } }, 1, TORC_NEVER);
	check_eq(w->result, -ECANCELED);
	w->result = torc_select(NULL, 0, torc_now_ns() + LONG);
	torc_scope_leave(&s);
	return 0;
}

static int cancel_nothing(void *arg)
{
	struct waiting w = { .result = WAITING };
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, select_nothing, &w), 0);
	check_eq(torc_yield(), 0);
	check_eq(w.result, WAITING);
	torc_scope_cancel(w.scope);
	check_eq(torc_group_wait(&g), 0);
	check_eq(w.result, -ECANCELED);
	return 0;
}

Test(select, of_nothing_waits_until_it_is_cancelled)
{
	run(cancel_nothing, NULL);
}

/* --- one channel several times --- */

static int both_ways(void *arg)
{
	struct waiting *w = ((void **)arg)[0];
	struct torc_chan *c = ((void **)arg)[1];
	uint64_t out = 1, in = WAITING;
	struct torc_case cases[] = {
		{ .chan = c, .op = TORC_SEND, .item = &out, .result = UNTOUCHED },
		{ .chan = c, .op = TORC_RECV, .item = &in, .result = UNTOUCHED },
	};

	w->result = torc_select(cases, 2, TORC_NEVER);
	check_eq(cases[0].result, w->result == 0 ? 0 : UNTOUCHED);
	check_eq(cases[1].result, w->result == 1 ? 1 : UNTOUCHED);
	check_eq(in, w->result == 1 ? 9 : WAITING);
	return 0;
}

static void spawn_both_ways(struct torc_group *g, void *args[2])
{
	check_eq(torc_group_spawn(g, both_ways, args), 0);
	check_eq(torc_yield(), 0);
}

static int meet_itself(void *arg)
{
	struct torc_chan c;
	struct torc_group g;
	struct waiting a = { .result = WAITING }, b = { .result = WAITING };
	void *args[2][2] = { { &a, &c }, { &b, &c } };
	uint64_t item = 9;

	(void)arg;
	check_eq(torc_chan_init(&c, sizeof(item), 0), 0);
	torc_group_enter(&g);
	spawn_both_ways(&g, args[0]);
	check_eq(a.result, WAITING);
	check_eq(torc_chan_try_send(&c, &item), 0);
	check_eq(torc_chan_try_send(&c, &item), -EAGAIN); /* only one happens */
	check_eq(torc_chan_try_recv(&c, &item), -EAGAIN);
	check_eq(torc_yield(), 0);
	check_eq(a.result, 1);
	a.result = WAITING;
	spawn_both_ways(&g, args[0]);
	check_eq(torc_chan_try_recv(&c, &item), 1);
	check_eq(item, 1);
	check_eq(torc_chan_try_recv(&c, &item), -EAGAIN);
	check_eq(torc_chan_try_send(&c, &item), -EAGAIN);
	check_eq(torc_yield(), 0);
	check_eq(a.result, 0);
	check_eq(torc_group_wait(&g), 0);
	torc_chan_done(&c);
	return 0;
}

Test(select, does_not_meet_itself)
{
	run(meet_itself, NULL);
}

static int both_ways_9(void *arg)
{
	struct waiting *w = ((void **)arg)[0];
	struct torc_chan *c = ((void **)arg)[1];
	uint64_t out = 9, in = WAITING;
	struct torc_case cases[] = {
		{ .chan = c, .op = TORC_RECV, .item = &in },
		{ .chan = c, .op = TORC_SEND, .item = &out },
	};

	w->result = torc_select(cases, 2, TORC_NEVER);
	check_eq(in, w->result == 0 ? 1 : WAITING);
	return 0;
}

static int meet_another(void *arg)
{
	struct torc_chan c;
	struct torc_group g;
	struct waiting a = { .result = WAITING }, b = { .result = WAITING };
	void *args[2][2] = { { &a, &c }, { &b, &c } };

	(void)arg;
	check_eq(torc_chan_init(&c, sizeof(uint64_t), 0), 0);
	torc_group_enter(&g);
	spawn_both_ways(&g, args[0]);
	check_eq(torc_group_spawn(&g, both_ways_9, args[1]), 0);
	check_eq(torc_group_wait(&g), 0);
	check_eq(a.result, b.result); /* one sent, the other received: 0 and 0, or 1 and 1 */
	torc_chan_done(&c);
	return 0;
}

Test(select, two_that_both_send_and_receive_meet)
{
	run(meet_another, NULL);
}

/* --- no starvation --- */

#define READY 6

struct ready {
	struct torc_chan chans[READY];
	size_t count;
	int rounds;
	int most; /* that a case may be passed over in a row */
};

/* All can be done always. */
static int choose(void *arg)
{
	struct ready *r = arg;
	struct torc_case cases[READY] = { { .chan = NULL } };
	uint64_t items[READY];
	int since[READY] = { 0 };

	for (size_t i = 0; i < r->count; i++) {
		cases[i].chan = &r->chans[i];
		cases[i].op = i % 2 ? TORC_SEND : TORC_RECV;
		cases[i].item = &items[i];
	}
	for (int n = 0; n < r->rounds; n++) {
		int chosen = torc_select(cases, r->count, TORC_NEVER);

		check_ge(chosen, 0);
		for (int i = 0; i < (int)r->count; i++) {
			since[i] = i == chosen ? 0 : since[i] + 1;
			check_lt(since[i], r->most);
		}
		check_eq(torc_yield(), 0);
	}
	return 0;
}

static void start_ready(struct ready *r, size_t count, int rounds)
{
	*r = (struct ready){ .count = count, .rounds = rounds };
	for (size_t i = 0; i < count; i++) {
		check_eq(torc_chan_init(&r->chans[i], sizeof(uint64_t), i % 2 ? 100000 : 0), 0);
		if (i % 2 == 0) /* closed: it can always be received from */
			torc_chan_close(&r->chans[i]);
	}
}

static void end_ready(struct ready *r)
{
	for (size_t i = 0; i < r->count; i++)
		torc_chan_done(&r->chans[i]);
}

/* Several fibers that take turns, so that what they count together could fall into step. */
static int choose_in_step(void *arg)
{
	static struct ready r;

	(void)arg;
	for (size_t count = 1; count <= READY; count++)
		for (int fibers = 1; fibers <= 12; fibers++) {
			struct torc_group g;

			start_ready(&r, count, 200);
			r.most = (int)count * 8;
			torc_group_enter(&g);
			for (int i = 0; i < fibers; i++)
				check_eq(torc_group_spawn(&g, choose, &r), 0);
			check_eq(torc_group_wait(&g), 0);
			end_ready(&r);
		}
	return 0;
}

Test(select, starves_no_case_whoever_else_selects)
{
	run(choose_in_step, NULL);
}

/* --- crosswise, from different loops --- */

#define LOOPS 3
#define STORM 1000

/*
 * Each selects over sending and receiving, on the same two channels, in one order or the other; what one has sent
 * another has received, once.
 */
struct storm {
	struct torc_chan x, y;
	struct torc_event over;
	atomic_long sent, received, sent_sum, received_sum;
	long rounds;
	bool in_time; /* some give up by a deadline */
};

struct party {
	struct storm *storm;
	uint64_t who;
};

static int rage(void *arg)
{
	struct party *me = arg;
	struct storm *s = me->storm;
	bool turned = me->who % 2;
	uint64_t seed = me->who;

	for (;;) {
		uint64_t out = (uint64_t)next_random(&seed), in = 0;
		struct torc_case cases[] = {
			{ .chan = turned ? &s->x : &s->y, .op = TORC_SEND, .item = &out },
			{ .chan = turned ? &s->y : &s->x, .op = TORC_RECV, .item = &in },
		};
		bool gives_up = s->in_time && next_random(&seed) % 4 == 0;
		uint64_t deadline =
			gives_up ? torc_now_ns() + next_random(&seed) % 20000 : TORC_NEVER;
		int r = torc_select(cases, 2, deadline);

		if (r == -EAGAIN && gives_up)
			continue;
		check(r == 0 || r == 1);
		if (cases[r].result == (r ? 0 : -EPIPE))
			return 0; /* closed */
		check_eq(cases[r].result, r);
		if (r) {
			atomic_fetch_add(&s->received_sum, in);
			if (atomic_fetch_add(&s->received, 1) + 1 >= s->rounds)
				torc_event_set(&s->over);
		} else {
			atomic_fetch_add(&s->sent_sum, out);
			atomic_fetch_add(&s->sent, 1);
		}
	}
}

static void storm(int parties, size_t capacity, bool in_time)
{
	static struct storm s;
	struct party party[12];
	struct torc_group g;
	uint64_t item;

	memset(&s, 0, sizeof(s));
	s.rounds = STORM;
	s.in_time = in_time;
	check_eq(torc_chan_init(&s.x, sizeof(uint64_t), capacity), 0);
	check_eq(torc_chan_init(&s.y, sizeof(uint64_t), capacity), 0);
	torc_group_enter(&g);
	for (int i = 0; i < parties; i++) {
		party[i] = (struct party){ &s, (uint64_t)i };
		check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(i % torc_loop_count())),
					       rage, &party[i]),
			 0);
	}
	check_eq(torc_event_wait(&s.over), 0);
	torc_chan_close(&s.x);
	torc_chan_close(&s.y);
	check_eq(torc_group_wait(&g), 0);
	while (torc_chan_recv(&s.x, &item) > 0 || torc_chan_recv(&s.y, &item) > 0) {
		s.received++;
		s.received_sum += (long)item;
	}
	check_eq(s.sent, s.received);
	check_eq(s.sent_sum, s.received_sum);
	torc_chan_done(&s.x);
	torc_chan_done(&s.y);
}

static int storms(void *arg)
{
	(void)arg;
	for (int n = 0; n < 2; n++) {
		storm(2, 0, n);
		storm(3, 0, n);
		storm(9, 0, n);
		storm(9, 1, n);
	}
	return 0;
}

Test(select, those_that_meet_crosswise_lose_nothing)
{
	run_both_guards(OPTIONS(.loops = 1), storms, NULL);
	run_both_guards(OPTIONS(.loops = LOOPS), storms, NULL);
}

/* --- in line with others --- */

struct in_line {
	struct torc_chan *chan;
	struct order *order;
	int who;
};

/* Every other one selects: all stand in the same line. */
static int receive_either_way(void *arg)
{
	struct in_line *i = arg;
	uint64_t item;
	struct torc_case cases[] = {
		{ .chan = NULL },
		{ .chan = i->chan, .op = TORC_RECV, .item = &item },
	};

	if (i->who % 2)
		check_eq(torc_chan_recv(i->chan, &item), 1);
	else
		check_eq(torc_select(cases, 2, TORC_NEVER), 1);
	check_eq(item, i->who);
	note(i->order, i->who);
	return 0;
}

static int serve_line(void *arg)
{
	struct order order = { .count = 0 };
	struct in_line in[20];
	struct torc_chan c;
	struct torc_group g;

	(void)arg;
	check_eq(torc_chan_init(&c, sizeof(uint64_t), 0), 0);
	torc_group_enter(&g);
	for (int i = 0; i < 20; i++) {
		in[i] = (struct in_line){ &c, &order, i };
		check_eq(torc_group_spawn(&g, receive_either_way, &in[i]), 0);
	}
	check_eq(torc_yield(), 0);
	for (uint64_t i = 0; i < 20; i++)
		check_eq(torc_chan_try_send(&c, &i), 0);
	check_eq(torc_group_wait(&g), 0);
	for (int i = 0; i < 20; i++)
		check_eq(order.seen[i], i);
	torc_chan_done(&c);
	return 0;
}

Test(select, stands_in_line_with_plain_receivers)
{
	run(serve_line, NULL);
}

/* Its places in the lines of other channels are given up before it has run: the next in line is served. */
static int select_two(void *arg)
{
	struct torc_chan *c = arg;
	uint64_t item;
	struct torc_case cases[] = {
		{ .chan = &c[0], .op = TORC_RECV, .item = &item },
		{ .chan = &c[1], .op = TORC_RECV, .item = &item },
	};

	check_eq(torc_select(cases, 2, TORC_NEVER), 0);
	check_eq(item, 1);
	return 0;
}

static int receive_second(void *arg)
{
	uint64_t item;

	check_eq(torc_chan_recv((struct torc_chan *)arg + 1, &item), 1);
	check_eq(item, 2);
	return 0;
}

static int pass_over(void *arg)
{
	struct torc_chan c[2];
	struct torc_group g;
	uint64_t one = 1, two = 2;

	(void)arg;
	for (int i = 0; i < 2; i++)
		check_eq(torc_chan_init(&c[i], sizeof(uint64_t), 0), 0);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, select_two, c), 0);
	check_eq(torc_group_spawn(&g, receive_second, c), 0);
	check_eq(torc_yield(), 0);
	check_eq(torc_chan_try_send(&c[0], &one), 0);
	check_eq(torc_chan_try_send(&c[0], &one), -EAGAIN);
	check_eq(torc_chan_try_send(&c[1], &two), 0);
	check_eq(torc_chan_try_send(&c[1], &two), -EAGAIN);
	check_eq(torc_group_wait(&g), 0);
	for (int i = 0; i < 2; i++)
		torc_chan_done(&c[i]);
	return 0;
}

Test(select, that_was_served_holds_up_no_other_line)
{
	run(pass_over, NULL);
}

/* --- misuse --- */

static struct torc_chan shared;

static int select_shared(void *arg)
{
	uint64_t item = 0;
	struct torc_case c = { .chan = &shared,
			       .op = (enum torc_case_op)VALUE(arg),
			       .item = &item };

	return torc_select(&c, 1, TORC_NEVER) < 0;
}

static int select_uninitialised(void *arg)
{
	(void)arg;
	return select_shared(ARG(TORC_SEND));
}

static int select_done(void *arg)
{
	uint64_t item = 0;

	(void)arg;
	check_eq(torc_chan_init(&shared, sizeof(item), 1), 0);
	check_eq(torc_chan_send(&shared, &item), 0);
	torc_chan_done(&shared);
	return select_shared(ARG(TORC_RECV));
}

static int done_while_selected(void *arg)
{
	(void)arg;
	check_eq(torc_chan_init(&shared, sizeof(uint64_t), 1), 0);
	check_eq(torc_detach("waiter", select_shared, ARG(TORC_RECV)), 0);
	check_eq(torc_yield(), 0);
	torc_chan_done(&shared);
	return 0;
}

/* Nobody is in line any more, but who was has not returned: it is going to look at all of its channels. */
static int done_when_closed(void *arg)
{
	(void)arg;
	check_eq(torc_chan_init(&shared, sizeof(uint64_t), 1), 0);
	check_eq(torc_detach("waiter", select_shared, ARG(TORC_RECV)), 0);
	check_eq(torc_yield(), 0);
	torc_chan_close(&shared);
	torc_chan_done(&shared);
	return 0;
}

static int select_neither(void *arg)
{
	struct torc_chan chan;
	uint64_t item = 0;
	struct torc_case c = { .chan = &chan, .op = (enum torc_case_op)99, .item = &item };

	(void)arg;
	check_eq(torc_chan_init(&chan, sizeof(item), 0), 0);
	return torc_select(&c, 1, 0);
}

static int select_too_many(void *arg)
{
	struct torc_case c = { .chan = NULL };

	(void)arg;
	return torc_select(&c, (size_t)INT32_MAX + 1, 0);
}

static int select_outside(void *arg)
{
	struct torc_case c = { .chan = arg };

	return torc_select(&c, 1, 0);
}

Test(select, misuse_traps_with_a_message)
{
	expect_trap(select_uninitialised, "a channel is used that was not initialised");
	expect_trap(select_done, "a channel is used that was not initialised, or is done with");
	expect_trap(done_while_selected, "a channel is done with while a fiber waits for it");
	expect_trap(done_when_closed, "a channel is done with while a fiber waits for it");
	expect_trap(select_neither, "torc_select of a case that does not send, receive or wait");
	expect_trap(select_too_many, "more than INT32_MAX cases");
	expect_trap_outside(select_outside, "called outside of a fiber");
}
