/*
 * core/task.c - tasks of core/group.h: one fiber of a group, joined, cancelled, or reported when it ends.
 */
#include <torc/core/group.h>

#include "core/internal/group.h"

void torc__task_start(struct torc_group *g, struct torc_task *task, struct torc__fiber *fiber,
		      struct torc__remote *remote)
{
	*task = (struct torc_task){ .fiber = fiber, .remote = remote };
	g->tasks++;
}

struct join_wait {
	struct torc__wait wait; /* first */
	struct torc_task *task;
	int result;
};

/* They are given the result, for by the time they run the task may be another fiber's. */
static void wake_joiners(struct torc_task *task)
{
	struct torc__wait *w, *next;

	for (w = task->waiters; w; w = next) {
		next = w->next;
		((struct join_wait *)w)->result = task->result;
		torc__ready(w->fiber);
	}
	task->waiters = NULL;
}

void torc__task_end(struct torc_group *g, struct torc_task *task, int result, bool echo)
{
	task->fiber = NULL;
	task->remote = NULL;
	task->result = result;
	task->done = true;
	task->echo = echo;
	task->next_ended = NULL;
	if (g->ended)
		g->ended_last->next_ended = task;
	else
		g->ended = task;
	g->ended_last = task;
	wake_joiners(task);
	torc__slot_wake(&g->collector);
}

/* --- join --- */

static void cancel_join(struct torc__wait *wait)
{
	struct join_wait *join = (struct join_wait *)wait;
	struct torc__wait **link = &join->task->waiters;

	while (*link != wait)
		link = &(*link)->next;
	*link = wait->next;
	join->result = wait->fiber->scope->status;
	torc__ready(wait->fiber);
}

static void describe_join(const struct torc__wait *wait, struct torc__message *m)
{
	const struct torc_task *task = ((const struct join_wait *)wait)->task;
	struct torc__remote_view remote = { .name = NULL };

	if (task->remote)
		torc__remote_look(task->remote, &remote);
	torc__message_text(m, " of fiber ");
	torc__message_text(m, task->fiber && task->fiber->name ? task->fiber->name
			      : remote.name                    ? remote.name
							       : "(unnamed)");
}

static const struct torc__wait_kind join_kind = {
	.name = "join",
	.cancel = cancel_join,
	.describe = describe_join,
};

int torc_task_join(struct torc_task *task)
{
	struct torc__fiber *f = torc__self();
	struct join_wait join = { .task = task };
	int r;

	if (task->done)
		return task->result;
	r = torc__scope_check(f);
	if (r < 0)
		return r;
	join.wait.next = task->waiters;
	task->waiters = &join.wait;
	torc__park(f, &join.wait, &join_kind);
	return join.result;
}

/* --- cancel --- */

void torc_task_cancel_with(struct torc_task *task, const char *reason)
{
	if (!reason)
		reason = "torc_task_cancel_with";
	if (task->remote)
		torc__remote_cancel(task->remote, -ECANCELED, reason);
	else if (task->fiber)
		torc__scope_cancel(&task->fiber->base, -ECANCELED, reason);
}

void torc_task_cancel(struct torc_task *task)
{
	torc_task_cancel_with(task, "torc_task_cancel");
}

/* --- in order of ending --- */

struct torc_task *torc__task_take(struct torc_group *g)
{
	struct torc_task *task = g->ended;

	if (!task)
		return NULL;
	g->ended = task->next_ended;
	g->tasks--;
	return task;
}

static const struct torc__wait_kind next_kind = { .name = "next of a group",
						  .cancel = torc__slot_cancel };

/* Returns 0 when there may be one now, or the scope's status. */
static int wait_for_end(struct torc_group *g, struct torc__fiber *f)
{
	int r = torc__scope_check(f);

	if (r < 0)
		return r;
	torc__check(!g->collector, "two fibers are in torc_group_next of one group");
	return torc__slot_wait(&g->collector, &next_kind);
}

int torc_group_next(struct torc_group *g, struct torc_task **ret_task)
{
	struct torc__fiber *f = torc__self();
	struct torc_task *task;
	int r;

	torc__check(g->scope.fiber->loop == f->loop, "torc_group_next of another loop's group");
	torc__group_check_open(g);
	/* Another fiber may have taken what this one was woken for. */
	while (!(task = torc__task_take(g))) {
		r = g->tasks ? wait_for_end(g, f) : 0;
		if (r < 0 || !g->tasks)
			return r;
	}
	*ret_task = task;
	return 1;
}
