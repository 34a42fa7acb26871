/*
 * core/select.c - torc_select of core/chan.h.
 *
 * Who selects looks at its channels and events, and queues a node in each, with all their guards held. So nobody can
 * claim it while it tries to do a case, and a partner that selects too is claimed by one compare-and-swap; nobody
 * ever has to be claimed together with somebody else, and nothing has to be taken back.
 *
 * Where the loop owns all guards, that is one store and a comparison for each. Otherwise they are locked in
 * the order of their addresses.
 */
#include "core/internal/chan.h"
#include "core/internal/event.h"

struct select {
	struct torc__waiter
		waiter; /* first. Its own node is not queued: a case's is, and is granted */
	struct torc_case *cases;
	size_t count;
	struct torc_case *
		locked; /* one case of each channel, by address; unused when the guards are owned */
	bool owned;
	unsigned expected; /* cases that another thread may bring about */
};

/* --- guards --- */

/* The first member of a channel as of an event. */
static struct torc__guard *guard_of(const struct torc_case *c)
{
	return c->op == TORC_WAIT ? &c->event->guard : &c->chan->guard;
}

static bool enter_owned(const struct select *s, struct torc__loop *loop)
{
	torc__guarding_begin(loop);
	for (size_t i = 0; i < s->count; i++)
		if (s->cases[i].chan && !torc__guard_owned(loop, guard_of(&s->cases[i]))) {
			torc__guarding_end(loop);
			return false;
		}
	return true;
}

/* By address, once each. */
static void sort_case(struct select *s, struct torc_case *c)
{
	struct torc_case **link = &s->locked;

	while (*link && (uintptr_t)(*link)->chan < (uintptr_t)c->chan)
		link = &(*link)->next_locked;
	if (*link && (*link)->chan == c->chan)
		return;
	c->next_locked = *link;
	*link = c;
}

static void enter(struct select *s, struct torc__loop *loop)
{
	s->owned = enter_owned(s, loop);
	if (torc__likely(s->owned))
		return;
	s->locked = NULL;
	for (size_t i = 0; i < s->count; i++)
		if (s->cases[i].chan)
			sort_case(s, &s->cases[i]);
	for (struct torc_case *c = s->locked; c; c = c->next_locked)
		torc__guard_lock(loop, guard_of(c));
}

static void leave(struct select *s, struct torc__loop *loop)
{
	if (torc__likely(s->owned)) {
		torc__guarding_end(loop);
		return;
	}
	for (struct torc_case *c = s->locked; c; c = c->next_locked)
		torc__guard_unlock(guard_of(c));
}

/* --- cases, inside the guards --- */

static int do_case(struct torc_case *c, struct torc__node **ret_wake)
{
	if (c->op == TORC_SEND)
		return torc__chan_send_now(c->chan, c->item, ret_wake);
	if (c->op == TORC_WAIT)
		return torc__event_announce(c->event) ? 0 : -EAGAIN;
	torc__check(c->op == TORC_RECV,
		    "torc_select of a case that does not send, receive or wait");
	return torc__chan_recv_now(c->chan, c->item, ret_wake);
}

/* Returns the index of the case that could be done, or -EAGAIN. */
static int do_one(struct select *s, size_t first, struct torc__node **ret_wake)
{
	for (size_t n = 0, i = first; n < s->count; n++, i = i + 1 < s->count ? i + 1 : 0) {
		int r = s->cases[i].chan ? do_case(&s->cases[i], ret_wake) : -EAGAIN;

		if (r == -EAGAIN)
			continue;
		s->cases[i].result = r;
		return (int)i;
	}
	return -EAGAIN;
}

static struct torc__queue *queue_of(const struct torc_case *c)
{
	if (c->op == TORC_WAIT)
		return &c->event->waiters;
	return c->op == TORC_SEND ? &c->chan->senders : &c->chan->receivers;
}

static void queue_all(struct select *s)
{
	s->waiter.selecting = TORC__SELECTING;
	s->expected = 0;
	for (size_t i = 0; i < s->count; i++) {
		struct torc_case *c = &s->cases[i];

		c->node.waiter = &s->waiter;
		c->node.item = c->item;
		c->node.queued = false;
		if (!c->chan)
			continue;
		if (c->op == TORC_WAIT)
			s->expected += torc__event_expected(c->event);
		else
			c->chan->selecting++;
		torc__queue_push(queue_of(c), &c->node);
	}
}

/* --- waiting --- */

static void cancel(struct torc__wait *wait)
{
	struct select *s = (struct select *)wait;

	if (!torc__waiter_claim(&s->waiter))
		return;
	s->waiter.node.result = wait->fiber->scope->status;
	torc__ready(wait->fiber);
}

/* As many cases as the message has room for. */
static void describe(const struct torc__wait *wait, struct torc__message *m)
{
	static const char *const verbs[] = {
		[TORC_RECV] = "receive from ",
		[TORC_SEND] = "send to ",
		[TORC_WAIT] = "wait for ",
	};
	const struct select *s = (const struct select *)wait;

	for (size_t i = 0; i < s->count && m->len < sizeof(m->text) / 2; i++) {
		torc__message_text(m, i ? ", to " : " to ");
		torc__message_text(m, verbs[s->cases[i].op]);
		torc__message_number(m, (uintptr_t)s->cases[i].chan, 16);
	}
}

static const struct torc__wait_kind select_kind = {
	.name = "select",
	.cancel = cancel,
	.describe = describe,
};

/* Take the nodes out that nobody has, and find the one whose grant ended the wait. */
static int end_wait(struct select *s, struct torc__loop *loop)
{
	int done = s->waiter.node.result;

	enter(s, loop);
	for (size_t i = 0; i < s->count; i++) {
		struct torc_case *c = &s->cases[i];

		if (c->chan && c->op != TORC_WAIT)
			c->chan->selecting--;
		if (c->node.queued) {
			torc__queue_remove(queue_of(c), &c->node);
		} else if (&c->node == s->waiter.granted) {
			c->result = c->node.result;
			done = (int)i;
		}
	}
	leave(s, loop);
	return done;
}

static int wait(struct select *s, struct torc__fiber *f)
{
	f->loop->in_flight += s->expected;
	torc__park(f, &s->waiter.wait, &select_kind);
	f->loop->in_flight -= s->expected;
	return end_wait(s, f->loop);
}

/* -EAGAIN instead of -ETIMEDOUT tells this deadline from those of the caller's scopes. */
static int wait_until(struct select *s, struct torc__fiber *f, uint64_t deadline_ns)
{
	struct torc_scope scope;
	int r;

	torc__scope_push(f, &scope, deadline_ns, false);
	r = wait(s, f);
	torc__scope_pop(f, &scope);
	if (r < 0 && scope.cause)
		return f->scope->status ? f->scope->status : -EAGAIN;
	return r;
}

/*
 * Where to begin. Steps of the golden ratio: whatever multiple of them other selects of the loop leave to one, it
 * comes by all cases. Counting modulo `count` would not do: two fibers that take turns would each always begin
 * with the same one of two cases.
 */
static size_t next_turn(struct torc__loop *loop, size_t count)
{
	loop->select_turn += 0x9e3779b9;
	return (size_t)((uint64_t)loop->select_turn * count >> 32);
}

int torc_select(struct torc_case *cases, size_t count, uint64_t deadline_ns)
{
	struct torc__fiber *f = torc__self();
	struct torc__loop *loop = f->loop;
	struct select s;
	struct torc__node *wake = NULL;
	int r = torc__scope_check(f);

	if (torc__unlikely(r < 0))
		return r;
	torc__check(count <= INT32_MAX, "torc_select of more than INT32_MAX cases");
	s.cases = cases;
	s.count = count;
	enter(&s, loop);
	r = do_one(&s, next_turn(loop, count), &wake);
	if (r == -EAGAIN && deadline_ns) {
		s.waiter.fiber = f;
		s.waiter.granted = NULL;
		queue_all(&s);
	}
	leave(&s, loop);
	torc__wake(loop, wake);
	if (r != -EAGAIN || !deadline_ns)
		return r;
	return deadline_ns == TORC_NEVER ? wait(&s, f) : wait_until(&s, f, deadline_ns);
}
