#include "core/internal/waiters.h"

static void deliver_wake(struct torc__loop *loop, struct torc__mail *mail)
{
	(void)loop;
	torc__ready(torc__container_of(mail, struct torc__waiter, mail)->fiber);
}

void torc__wake_away(struct torc__loop *loop, struct torc__waiter *w, bool later)
{
	w->mail.deliver = deliver_wake;
	if (later)
		torc__loop_post_later(loop, w->fiber->loop, &w->mail);
	else
		torc__loop_post(w->fiber->loop, &w->mail);
}

void torc__wake_granted(struct torc__loop *loop, struct torc__granted *granted)
{
	struct torc__node *node = granted->first, *next;

	/* A node's memory is its fiber's, which may run as soon as it is woken. */
	for (; node; node = next) {
		next = node->next;
		if (torc__likely(node->waiter != NULL))
			torc__wake(loop, node);
		else
			((struct torc__hook *)node)->fire((struct torc__hook *)node);
	}
}

void torc__release_all(struct torc__guard *guard, struct torc__queue *waiters, int result)
{
	struct torc__loop *loop = torc__here();
	TORC__GRANTED(granted);
	bool owned = torc__guard_enter(loop, guard);

	torc__queue_grant_all(waiters, result, &granted);
	torc__guard_leave(loop, guard, owned);
	torc__wake_granted(loop, &granted);
}

struct torc__loop *torc__here(void)
{
	struct torc__loop *loop = torc__loop();

	torc__check(loop != NULL, "called outside of a loop");
	return loop;
}

void torc__waiter_withdraw(struct torc__waiter *w,
			   void (*settle)(struct torc__queue *queue, struct torc__granted *granted))
{
	struct torc__fiber *f = w->fiber;
	struct torc__loop *loop = f->loop;
	TORC__GRANTED(granted);
	bool owned = torc__guard_enter(loop, w->guard);
	bool was_queued = w->node.queued;

	if (was_queued) {
		torc__queue_remove(w->queue, &w->node);
		w->node.result = f->scope->status;
		if (settle)
			settle(w->queue, &granted);
	}
	torc__guard_leave(loop, w->guard, owned);
	if (was_queued)
		torc__ready(f);
	torc__wake_granted(loop, &granted);
}

void torc__waiter_describe(const struct torc__wait *wait, struct torc__message *m)
{
	/* The guard is the first member of every object. */
	torc__message_text(m, " at ");
	torc__message_number(m, (uintptr_t)((const struct torc__waiter *)wait)->guard, 16);
}

void torc__waiter_cancel(struct torc__wait *wait)
{
	torc__waiter_withdraw((struct torc__waiter *)wait, NULL);
}
