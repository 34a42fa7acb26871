/*
 * What fibers wait for together: event, latch, barrier, once.
 */
#include "tests/core/calls.h"

TestSuite(event, .timeout = 60);

/* --- the table: event, latch --- */

static void start_event(struct object *o)
{
	torc_event_init(&o->event);
}

static int wait_event(struct object *o)
{
	return torc_event_wait(&o->event);
}

static bool set_event(struct object *o)
{
	torc_event_set(&o->event);
	return true;
}

static void finish_event(struct object *o, bool success)
{
	(void)success;
	check(torc_event_is_set(&o->event));
	check_eq(torc_event_wait(&o->event), 0);
	torc_event_clear(&o->event);
	check(!torc_event_is_set(&o->event));
	torc_event_done(&o->event);
}

static void start_latch(struct object *o)
{
	torc_latch_init(&o->latch, 1);
	torc_latch_add(&o->latch, 1);
	torc_latch_count_down(&o->latch);
}

static int wait_latch(struct object *o)
{
	return torc_latch_wait(&o->latch);
}

static bool count_down(struct object *o)
{
	torc_latch_count_down(&o->latch);
	return true;
}

static void finish_latch(struct object *o, bool success)
{
	(void)success;
	check_eq(torc_latch_wait(&o->latch), 0);
	torc_latch_done(&o->latch);
}

/* --- the table: barrier --- */

static void start_barrier(struct object *o)
{
	torc_barrier_init(&o->barrier, 2);
}

static int wait_barrier(struct object *o)
{
	int r = torc_barrier_wait(&o->barrier);

	o->outcome += r == 1;
	return r == 1 ? 0 : r;
}

/* Here the partner waits too, if it is the first. */
static bool come_too(struct object *o)
{
	struct torc_scope s;
	int r;

	torc_scope_enter(&s, 100000);
	r = torc_barrier_wait(&o->barrier);
	torc_scope_leave(&s);
	check(r == 0 || r == 1 || r == -ETIMEDOUT);
	o->calls += r == 1;
	return r >= 0;
}

static void finish_barrier(struct object *o, bool success)
{
	check_eq(o->outcome + o->calls, success); /* one was the last */
	torc_barrier_done(&o->barrier);
}

/* An abort is the success of this row. */
static int wait_aborted(struct object *o)
{
	int r = torc_barrier_wait(&o->barrier);

	return r == -EPIPE ? 0 : r;
}

static bool abort_barrier(struct object *o)
{
	torc_barrier_abort(&o->barrier);
	return true;
}

static void finish_aborted(struct object *o, bool success)
{
	(void)success;
	check_eq(torc_barrier_wait(&o->barrier), -EPIPE);
	torc_barrier_reset(&o->barrier);
	check(!come_too(o)); /* it counts from the beginning */
	torc_barrier_done(&o->barrier);
}

/* --- the table: once --- */

#define OUTCOME 42

static int fail_when_told(void *arg)
{
	struct object *o = arg;

	o->calls++;
	check_eq(torc_event_wait(&o->event), 0);
	return -EIO;
}

static int succeed_when_told(void *arg)
{
	struct object *o = arg;

	o->calls++;
	check_eq(torc_event_wait(&o->event), 0);
	return OUTCOME;
}

static int run_and_fail(void *arg)
{
	struct object *o = arg;

	check_eq(torc_once(&o->once, fail_when_told, o), -EIO);
	return 0;
}

static int run_and_succeed(void *arg)
{
	struct object *o = arg;

	check_eq(torc_once(&o->once, succeed_when_told, o), OUTCOME);
	return 0;
}

/* Another fiber is inside. */
static void start_runner(struct object *o, torc_fn *fn)
{
	torc_group_enter(&o->helpers);
	check_eq(torc_group_spawn(&o->helpers, fn, o), 0);
	check_eq(torc_yield(), 0);
	check_eq(o->calls, 1);
}

static void start_failing(struct object *o)
{
	start_runner(o, run_and_fail);
}

static void start_succeeding(struct object *o)
{
	start_runner(o, run_and_succeed);
}

static int called(void *arg)
{
	struct object *o = arg;

	o->calls++;
	return OUTCOME;
}

static int once(struct object *o)
{
	int r = torc_once(&o->once, called, o);

	return r == OUTCOME ? 0 : r;
}

/* The turn of the one inside ends; who waits is not run before we go on. */
static bool end_turn(struct object *o)
{
	torc_event_set(&o->event);
	check_eq(torc_yield(), 0);
	return true;
}

static void finish_succeeded(struct object *o, bool success)
{
	(void)success;
	check_eq(torc_group_wait(&o->helpers), 0);
	check_eq(torc_once(&o->once, called, o), OUTCOME);
	check_eq(o->calls, 1);
}

static void finish_failed(struct object *o, bool success)
{
	check_eq(torc_group_wait(&o->helpers), 0);
	check_eq(o->calls, success ? 2 : 1);
	check_eq(torc_once(&o->once, called, o), OUTCOME);
	check_eq(o->calls, 2);
}

/* The call itself is the one inside. */
static int wait_inside(void *arg)
{
	struct object *o = arg;
	int r = torc_event_wait(&o->event);

	return r ? r : OUTCOME;
}

static int once_inside(struct object *o)
{
	int r = torc_once(&o->once, wait_inside, o);

	return r == OUTCOME ? 0 : r;
}

static void finish_inside(struct object *o, bool success)
{
	check_eq(torc_once(&o->once, called, o), OUTCOME);
	check_eq(o->calls, success ? 0 : 1);
	torc_event_done(&o->event);
}

static const struct call calls[] = {
	{ "event_wait", start_event, wait_event, set_event, finish_event, .meets = false },
	{ "latch_wait", start_latch, wait_latch, count_down, finish_latch, .meets = false },
	{ "barrier_wait", start_barrier, wait_barrier, come_too, finish_barrier, .meets = true,
	  .knows = true },
	{ "barrier_wait, aborted", start_barrier, wait_aborted, abort_barrier, finish_aborted,
	  .meets = false },
	{ "once, another succeeds", start_succeeding, once, end_turn, finish_succeeded,
	  .meets = false },
	{ "once, another fails", start_failing, once, end_turn, finish_failed, .meets = false },
	{ "once, inside", start_event, once_inside, set_event, finish_inside, .meets = false },
};

TEST_CALLS(event, calls);

/* --- lines --- */

#define MOST 30

struct line {
	struct torc_event event;
	struct torc_latch latch;
	struct torc_barrier barrier;
	struct torc_once once;
	struct torc_scope *scopes[MOST];
	struct order order;
	struct order ran; /* inside once */
	int first_success;
};

struct in_line {
	struct line *line;
	int who;
	int result;
};

static int wait_line_event(void *arg)
{
	struct in_line *i = arg;

	check_eq(torc_event_wait(&i->line->event), 0);
	note(&i->line->order, i->who);
	return 0;
}

static int wait_line_latch(void *arg)
{
	struct in_line *i = arg;

	check_eq(torc_latch_wait(&i->line->latch), 0);
	note(&i->line->order, i->who);
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
	check_eq(torc_yield(), 0);
}

static void expect_order(const struct order *order, int count)
{
	check_eq(order->count, count);
	for (int i = 0; i < count; i++)
		check_eq(order->seen[i], i);
}

static int set_for_all(void *arg)
{
	struct line l = { .order = { .count = 0 } };
	struct in_line in[MOST];
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	form_line(&l, in, &g, MOST, wait_line_event);
	torc_event_set(&l.event);
	torc_event_set(&l.event);
	torc_event_clear(&l.event); /* they go on, although it is no longer set when they run */
	check_eq(torc_group_wait(&g), 0);
	expect_order(&l.order, MOST);
	torc_event_done(&l.event);
	return 0;
}

Test(event, lets_all_go_in_the_order_of_arrival)
{
	run(set_for_all, NULL);
}

static int count_for_all(void *arg)
{
	struct line l = { .order = { .count = 0 } };
	struct in_line in[MOST];
	struct torc_group g;

	(void)arg;
	check_eq(torc_latch_wait(&l.latch), 0); /* zeroed: at nothing */
	torc_latch_add(&l.latch, 0);
	check_eq(torc_latch_wait(&l.latch), 0);
	torc_latch_add(&l.latch, 3);
	torc_group_enter(&g);
	form_line(&l, in, &g, MOST, wait_line_latch);
	torc_latch_count_down(&l.latch);
	torc_latch_count_down(&l.latch);
	check_eq(torc_yield(), 0);
	expect_order(&l.order, 0);
	torc_latch_add(&l.latch, 1); /* while they wait */
	torc_latch_count_down(&l.latch);
	check_eq(torc_yield(), 0);
	expect_order(&l.order, 0);
	torc_latch_count_down(&l.latch);
	torc_latch_add(&l.latch, 1); /* they go on all the same */
	check_eq(torc_group_wait(&g), 0);
	expect_order(&l.order, MOST);
	torc_latch_count_down(&l.latch);
	torc_latch_init(&l.latch, UINT32_MAX);
	torc_latch_done(&l.latch);
	return 0;
}

Test(event, a_latch_opens_at_nothing_and_can_be_added_to)
{
	run(count_for_all, NULL);
}

/* --- barrier --- */

static int come(void *arg)
{
	struct in_line *i = arg;
	struct torc_scope s;

	torc_scope_enter(&s, TORC_NEVER);
	i->line->scopes[i->who] = &s;
	i->result = torc_barrier_wait(&i->line->barrier);
	torc_scope_leave(&s);
	return 0;
}

static int cancel_parties(void *arg)
{
	struct line l = { .order = { .count = 0 } };
	struct in_line in[5];
	struct torc_group g;

	(void)arg;
	torc_barrier_init(&l.barrier, 3);
	torc_group_enter(&g);
	form_line(&l, in, &g, 2, come);
	torc_scope_cancel(l.scopes[0]);
	check_eq(torc_yield(), 0);
	check_eq(in[0].result, -ECANCELED);
	/* It has not come: two more are needed. */
	in[2] = (struct in_line){ .line = &l, .who = 2, .result = WAITING };
	check_eq(torc_group_spawn(&g, come, &in[2]), 0);
	check_eq(torc_yield(), 0);
	check_eq(in[1].result, WAITING);
	check_eq(in[2].result, WAITING);
	/* One that is let go is not held back by a cancellation, nor is it counted in the next round. */
	check_eq(torc_barrier_wait(&l.barrier), 1);
	torc_scope_cancel(l.scopes[1]);
	check_eq(torc_group_wait(&g), 0);
	check_eq(in[1].result, 0);
	check_eq(in[2].result, 0);
	torc_group_enter(&g);
	form_line(&l, in, &g, 2, come);
	check_eq(in[0].result, WAITING);
	check_eq(torc_barrier_wait(&l.barrier), 1);
	check_eq(torc_group_wait(&g), 0);
	torc_barrier_done(&l.barrier);
	return 0;
}

Test(event, a_party_that_is_cancelled_has_not_come_to_the_barrier)
{
	run(cancel_parties, NULL);
}

static int abort_and_reset(void *arg)
{
	struct line l = { .order = { .count = 0 } };
	struct in_line in[5];
	struct torc_group g;

	(void)arg;
	torc_barrier_init(&l.barrier, 3);
	torc_group_enter(&g);
	form_line(&l, in, &g, 2, come);
	torc_barrier_reset(&l.barrier); /* nothing was aborted: they wait on */
	check_eq(torc_yield(), 0);
	check_eq(in[0].result, WAITING);
	torc_barrier_abort(&l.barrier);
	torc_barrier_abort(&l.barrier);
	torc_scope_cancel(l.scopes[1]); /* too late */
	torc_barrier_reset(&l.barrier);
	check_eq(torc_group_wait(&g), 0);
	check_eq(in[0].result, -EPIPE);
	check_eq(in[1].result, -EPIPE);
	torc_group_enter(&g);
	form_line(&l, in, &g, 2, come);
	check_eq(torc_barrier_wait(&l.barrier), 1);
	check_eq(torc_group_wait(&g), 0);
	torc_barrier_done(&l.barrier);
	torc_barrier_init(&l.barrier, 1);
	check_eq(torc_barrier_wait(&l.barrier), 1);
	check_eq(torc_barrier_wait(&l.barrier), 1);
	torc_barrier_done(&l.barrier);
	return 0;
}

Test(event, an_aborted_barrier_fails_for_all_until_it_is_reset)
{
	run(abort_and_reset, NULL);
}

#define LOOPS   3
#define PARTIES 6
#define ROUNDS  300

struct rounds {
	struct torc_barrier barrier;
	struct torc_latch latch;
	atomic_int round[PARTIES];
	atomic_int last[ROUNDS];
};

struct party {
	struct rounds *rounds;
	int who;
};

static int go_round(void *arg)
{
	struct party *me = arg;
	struct rounds *r = me->rounds;

	for (int i = 0; i < ROUNDS; i++) {
		int last;

		atomic_store(&r->round[me->who], i);
		last = torc_barrier_wait(&r->barrier);
		check(last == 0 || last == 1);
		atomic_fetch_add(&r->last[i], last);
		for (int n = 0; n < PARTIES; n++) {
			int theirs = atomic_load(&r->round[n]);

			check(theirs == i ||
			      theirs == i + 1); /* nobody is ahead or behind by more */
		}
	}
	torc_latch_count_down(&r->latch);
	return 0;
}

static int keep_step(void *arg)
{
	static struct rounds r;
	struct party parties[PARTIES];
	struct torc_group g;

	(void)arg;
	memset(&r, 0, sizeof(r));
	torc_barrier_init(&r.barrier, PARTIES);
	torc_latch_add(&r.latch, PARTIES);
	torc_group_enter(&g);
	for (int i = 0; i < PARTIES; i++) {
		parties[i] = (struct party){ &r, i };
		check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(i % LOOPS)), go_round,
					       &parties[i]),
			 0);
	}
	check_eq(torc_latch_wait(&r.latch), 0);
	torc_latch_done(&r.latch);
	for (int i = 0; i < ROUNDS; i++)
		check_eq(r.last[i], 1);
	check_eq(torc_group_wait(&g), 0);
	torc_barrier_done(&r.barrier);
	return 0;
}

Test(event, a_barrier_keeps_all_loops_in_step_round_after_round)
{
	run_both_guards(OPTIONS(.loops = LOOPS), keep_step, NULL);
}

/* --- the memory is the waiter's as soon as it goes on --- */

struct short_lived {
	struct torc_event event;
	struct torc_latch latch;
};

static int end_short_lives(void *arg)
{
	struct torc_chan *chan = arg;
	struct short_lived *s;

	while (torc_chan_recv(chan, &s) > 0) {
		torc_event_set(&s->event);
		torc_latch_count_down(&s->latch);
	}
	return 0;
}

/* ASan and valgrind would tell of a setter that looks at it again. */
static int make_short_lives(void *arg)
{
	struct torc_chan chan;
	struct torc_group g;

	(void)arg;
	check_eq(torc_chan_init(&chan, sizeof(struct short_lived *), 1), 0);
	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(1)), end_short_lives, &chan),
		 0);
	for (int i = 0; i < 600; i++) {
		struct short_lived *s = calloc(1, sizeof(*s));

		torc_latch_init(&s->latch, 1);
		check_eq(torc_chan_send(&chan, &s), 0);
		if (i % 2)
			check_eq(torc_event_wait(&s->event), 0);
		check_eq(torc_latch_wait(&s->latch), 0);
		torc_event_done(&s->event);
		torc_latch_done(&s->latch);
		free(s);
	}
	torc_chan_close(&chan);
	check_eq(torc_group_wait(&g), 0);
	torc_chan_done(&chan);
	return 0;
}

Test(event, may_be_freed_by_who_has_waited_for_it)
{
	run_both_guards(OPTIONS(.loops = 2), make_short_lives, NULL);
}

/* --- from a completion --- */

static struct torc_event completed_event;
static struct torc_latch completed_latch;
static struct torc_barrier completed_barrier;

static void complete_all(struct torc_op *op, int res, unsigned cqe_flags)
{
	(void)op, (void)cqe_flags;
	check_eq(res, 0);
	torc_event_set(&completed_event);
	torc_latch_count_down(&completed_latch);
	torc_barrier_abort(&completed_barrier);
}

static int await_event(void *arg)
{
	(void)arg;
	return torc_event_wait(&completed_event);
}

static int await_latch(void *arg)
{
	(void)arg;
	return torc_latch_wait(&completed_latch);
}

static int await_barrier(void *arg)
{
	(void)arg;
	check_eq(torc_barrier_wait(&completed_barrier), -EPIPE);
	return 0;
}

static int complete_here_and_there(void *arg)
{
	static torc_fn *const waits[] = { await_event, await_latch, await_barrier };
	struct torc_group g;
	struct torc_op op;

	(void)arg;
	torc_latch_init(&completed_latch, 1);
	torc_barrier_init(&completed_barrier, 9);
	torc_group_enter(&g);
	for (int i = 0; i < 6; i++)
		check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(i / 3)), waits[i % 3],
					       NULL),
			 0);
	io_uring_prep_nop(torc_op_start(&op, complete_all));
	return torc_group_wait(&g);
}

Test(event, is_set_counted_down_and_aborted_by_completions)
{
	check_eq(run_with(OPTIONS(.loops = 2), complete_here_and_there, NULL), 0);
}

/* --- once --- */

/* Fails until it has run three times. */
static int third_time(void *arg)
{
	struct in_line *i = arg;

	note(&i->line->ran, i->who);
	check_eq(torc_yield(), 0);
	check_eq(torc_yield(), 0);
	return i->line->ran.count < 3 ? -EAGAIN : 7;
}

static int try_once(void *arg)
{
	struct in_line *i = arg;

	i->result = torc_once(&i->line->once, third_time, i);
	note(&i->line->order, i->who);
	return 0;
}

static int fail_twice(void *arg)
{
	struct line l = { .order = { .count = 0 } };
	struct in_line in[6];
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	form_line(&l, in, &g, 6, try_once);
	check_eq(torc_group_wait(&g), 0);
	expect_order(&l.ran, 3); /* in the order of arrival */
	expect_order(&l.order, 6);
	for (int i = 0; i < 6; i++)
		check_eq(in[i].result, i < 2 ? -EAGAIN : 7);
	check_eq(torc_once(&l.once, third_time, NULL), 7);
	return 0;
}

Test(event, once_passes_the_turn_on_until_it_has_succeeded)
{
	run(fail_twice, NULL);
}

static int sleep_in_once(void *arg)
{
	struct in_line *i = arg;

	note(&i->line->ran, i->who);
	return torc_sleep(i->who < 2 ? TORC_NEVER : 0);
}

static int try_once_in_scope(void *arg)
{
	struct in_line *i = arg;
	struct torc_scope s;

	torc_scope_enter(&s, TORC_NEVER);
	i->line->scopes[i->who] = &s;
	i->result = torc_once(&i->line->once, sleep_in_once, i);
	torc_scope_leave(&s);
	return 0;
}

/* 0 runs and is cancelled; 1 has got the turn, and is cancelled before it runs: it is told inside. */
static int cancel_runners(void *arg)
{
	struct line l = { .order = { .count = 0 } };
	struct in_line in[4];
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	form_line(&l, in, &g, 4, try_once_in_scope);
	expect_order(&l.ran, 1);
	torc_scope_cancel(l.scopes[0]);
	check_eq(torc_yield(), 0);
	check_eq(in[0].result, -ECANCELED);
	torc_scope_cancel(l.scopes[1]);
	check_eq(torc_group_wait(&g), 0);
	check_eq(in[1].result, -ECANCELED);
	check_eq(in[2].result, 0);
	check_eq(in[3].result, 0);
	expect_order(&l.ran, 3);
	return 0;
}

Test(event, once_passes_the_turn_on_when_its_runner_is_cancelled)
{
	run(cancel_runners, NULL);
}

static struct torc_once shared_once;
static long made;

static int make(void *arg)
{
	(void)arg;
	check_eq(torc_yield(), 0);
	check_eq(made, 0);
	made = 1234;
	return 5;
}

static int use_made(void *arg)
{
	(void)arg;
	for (int i = 0; i < 50; i++) {
		check_eq(torc_once(&shared_once, make, NULL), 5);
		check_eq(made, 1234);
	}
	return 0;
}

static int use_made_everywhere(void *arg)
{
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	for (int i = 0; i < 12; i++)
		check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(i % 4)), use_made,
					       NULL),
			 0);
	return torc_group_wait(&g);
}

Test(event, once_runs_once_for_all_loops)
{
	check_eq(run_with(OPTIONS(.loops = 4), use_made_everywhere, NULL), 0);
	check_eq(run_with(OPTIONS(.loops = 4), use_made_everywhere, NULL), 0);
}

/* --- misuse --- */

static struct line shared;

static int wait_shared_event(void *arg)
{
	(void)arg;
	return torc_event_wait(&shared.event);
}

static int wait_shared_latch(void *arg)
{
	(void)arg;
	return torc_latch_wait(&shared.latch);
}

static int wait_shared_barrier(void *arg)
{
	(void)arg;
	return torc_barrier_wait(&shared.barrier);
}

static void wait_for_ever(torc_fn *fn)
{
	check_eq(torc_detach("waiter", fn, NULL), 0);
	check_eq(torc_yield(), 0);
}

static int done_event(void *arg)
{
	(void)arg;
	wait_for_ever(wait_shared_event);
	torc_event_done(&shared.event);
	return 0;
}

static int done_latch(void *arg)
{
	(void)arg;
	torc_latch_add(&shared.latch, 1);
	wait_for_ever(wait_shared_latch);
	torc_latch_done(&shared.latch);
	return 0;
}

static int done_barrier(void *arg)
{
	(void)arg;
	torc_barrier_init(&shared.barrier, 2);
	wait_for_ever(wait_shared_barrier);
	torc_barrier_done(&shared.barrier);
	return 0;
}

static int no_parties(void *arg)
{
	(void)arg;
	torc_barrier_init(&shared.barrier, 0);
	return 0;
}

static int below_nothing(void *arg)
{
	(void)arg;
	torc_latch_count_down(&shared.latch);
	return 0;
}

static int add_too_many(void *arg)
{
	(void)arg;
	torc_latch_add(&shared.latch, UINT32_MAX);
	torc_latch_add(&shared.latch, 1);
	return 0;
}

static int once_in_once(void *arg)
{
	(void)arg;
	return torc_once(&shared.once, once_in_once, NULL);
}

static int set_outside(void *arg)
{
	(void)arg;
	torc_event_set(&shared.event);
	return 0;
}

Test(event, misuse_traps_with_a_message)
{
	expect_trap(done_event, "an event is done with while a fiber waits for it (fiber main");
	expect_trap(done_latch, "a latch is done with while a fiber waits for it");
	expect_trap(done_barrier, "a barrier is done with while a fiber waits for it");
	expect_trap(no_parties, "a barrier for no parties");
	expect_trap(below_nothing, "a latch is counted down below nothing");
	expect_trap(add_too_many, "a latch has more to count down than it can count");
	expect_trap(once_in_once, "torc_once is called from inside its own function");
	expect_trap_outside(set_outside, "called outside of a loop");
}
