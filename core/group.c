#include <torc/core/group.h>

#include <errno.h>
#include <stdlib.h>

#include "core/internal/fiber.h"
#include "core/internal/runtime.h"

/*
 * A child on another loop, seen from the group's loop. Two messages travel, each at most once in
 * each direction; the record is freed when neither is under way:
 *
 *	group's loop			child's loop
 *	spawn_mail ---- start ------->
 *	cancel_mail --- cancel ------>
 *	           <--- cancelled --- cancel_mail (an echo, so that the memory can go)
 *	           <--- ended ------- spawn_mail
 */
struct torc__remote {
	struct torc__mail spawn_mail, cancel_mail; /* first: cast from the mail, see from_cancel */
	struct torc__loop *home, *away;
	struct torc_group *group;
	struct torc__remote *next, **link;
	struct torc_task *task;
	struct torc__fiber *fiber; /* the child's loop's: NULL before it starts and after it ends */
	torc_fn *fn;
	void *arg;
	const char *name;
	const void *spawn_site;
	unsigned class_index;
	int32_t result;
	int32_t cancel_status; /* home's: what was sent, 0: nothing */
	bool cancelling;       /* home's: the echo has not come back */
	bool ended;            /* home's */
	bool was_cancelled;    /* its result is the echo of a cancellation */
};

static void enter(struct torc_group *g, bool supervises)
{
	struct torc__fiber *f = torc__self();

	torc__scope_push(f, &g->scope, TORC_NEVER, false);
	g->scope.is_group = true;
	g->children = NULL;
	g->remotes = NULL;
	g->waiter = NULL;
	g->live = 0;
	g->failure = 0;
	g->supervises = supervises;
}

void torc_group_enter(struct torc_group *g)
{
	enter(g, false);
}

void torc_group_enter_supervisor(struct torc_group *g)
{
	enter(g, true);
}

static void adopt(struct torc_group *g, struct torc__fiber *f)
{
	f->group = g;
	f->sibling = g->children;
	f->sibling_link = &g->children;
	if (f->sibling)
		f->sibling->sibling_link = &f->sibling;
	g->children = f;
	g->live++;
	/* A group that is cancelled already has nobody else to tell the newcomer. */
	if (torc__unlikely(g->scope.status != 0))
		torc__scope_cancel(&f->base, g->scope.status);
}

static void start_task(struct torc_task *task, struct torc__fiber *f, struct torc__remote *remote)
{
	*task = (struct torc_task){ .fiber = f, .remote = remote };
}

static int spawn_here(struct torc_group *g, const struct torc_spawn_options *o,
		      unsigned class_index, torc_fn *fn, void *arg, const void *site)
{
	int error;
	struct torc__fiber *f =
		torc__fiber_create(g->scope.fiber->loop, class_index, fn, arg, &error);

	if (!f)
		return error;
	f->spawn_site = site;
	if (o) {
		f->name = o->name;
		f->task = o->task;
		if (o->task)
			start_task(o->task, f, NULL);
	}
	adopt(g, f);
	return 0;
}

static struct torc__remote *from_cancel(struct torc__mail *mail)
{
	return torc__container_of(mail, struct torc__remote, cancel_mail);
}

static void free_remote(struct torc__remote *r)
{
	if (r->ended && !r->cancelling)
		free(r);
}

static void finish_task(struct torc_task *task, int result)
{
	struct torc__wait *w, *next;

	task->fiber = NULL;
	task->remote = NULL;
	task->result = result;
	task->done = true;
	for (w = task->waiters; w; w = next) {
		next = w->next;
		torc__ready(w->fiber);
	}
	task->waiters = NULL;
}

/* One child fewer. `echo`: its failure only says that it was cancelled. */
static void child_gone(struct torc_group *g, int result, bool echo)
{
	g->live--;
	if (result < 0 && !echo && !g->supervises && !g->failure) {
		g->failure = result;
		torc__scope_cancel(&g->scope, -ECANCELED);
	}
	if (!g->live && g->waiter) {
		struct torc__wait *waiter = g->waiter;

		/* Once: before it runs it may get another child, and that may end. */
		g->waiter = NULL;
		torc__ready(waiter->fiber);
	}
}

static void remote_ended(struct torc__loop *home, struct torc__mail *mail)
{
	struct torc__remote *r = (struct torc__remote *)(void *)mail;

	(void)home;
	*r->link = r->next;
	if (r->next)
		r->next->link = r->link;
	if (r->task)
		finish_task(r->task, r->result);
	child_gone(r->group, r->result, r->was_cancelled);
	r->ended = true;
	free_remote(r);
}

static void report_end(struct torc__remote *r, int result, bool echo)
{
	r->fiber = NULL;
	r->result = result;
	r->was_cancelled = echo;
	r->spawn_mail.deliver = remote_ended;
	torc__loop_post(r->home, &r->spawn_mail);
}

static void start_remote(struct torc__loop *away, struct torc__mail *mail)
{
	struct torc__remote *r = (struct torc__remote *)(void *)mail;
	int error;
	struct torc__fiber *f = torc__fiber_create(away, r->class_index, r->fn, r->arg, &error);

	if (!f) {
		report_end(r, error, false);
		return;
	}
	f->name = r->name;
	f->spawn_site = r->spawn_site;
	f->remote = r;
	r->fiber = f;
}

static void remote_cancel_echoed(struct torc__loop *home, struct torc__mail *mail)
{
	struct torc__remote *r = from_cancel(mail);

	(void)home;
	r->cancelling = false;
	free_remote(r);
}

static void deliver_cancel(struct torc__loop *away, struct torc__mail *mail)
{
	struct torc__remote *r = from_cancel(mail);

	(void)away;
	if (r->fiber)
		torc__scope_cancel(&r->fiber->base, r->cancel_status);
	mail->deliver = remote_cancel_echoed;
	torc__loop_post(r->home, mail);
}

/* Mail from one loop to another keeps its order: the start has been delivered before the cancel. */
void torc__remote_cancel(struct torc__remote *r, int status)
{
	if (r->cancel_status)
		return;
	r->cancel_status = status;
	r->cancelling = true;
	r->cancel_mail.deliver = deliver_cancel;
	torc__loop_post(r->away, &r->cancel_mail);
}

void torc__remote_look(const struct torc__remote *r, struct torc__remote_view *ret_view)
{
	*ret_view = (struct torc__remote_view){
		.next = r->next,
		.group = r->group,
		.away = r->away,
		.fiber = r->fiber,
		.fn = r->fn,
		.name = r->name,
		.spawn_site = r->spawn_site,
	};
}

static int spawn_away(struct torc_group *g, const struct torc_spawn_options *o,
		      unsigned class_index, torc_fn *fn, void *arg, const void *site)
{
	struct torc__loop *home = g->scope.fiber->loop;
	struct torc__remote *r;

	if (o->loop < 0 || o->loop > home->runtime->loop_count)
		return -EINVAL;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->home = home;
	r->away = home->runtime->loops[o->loop - 1];
	r->group = g;
	r->fn = fn;
	r->arg = arg;
	r->name = o->name;
	r->task = o->task;
	r->spawn_site = site;
	r->class_index = class_index;
	if (o->task)
		start_task(o->task, NULL, r);
	r->next = g->remotes;
	r->link = &g->remotes;
	if (r->next)
		r->next->link = &r->next;
	g->remotes = r;
	g->live++;
	r->spawn_mail.deliver = start_remote;
	torc__loop_post(r->away, &r->spawn_mail);
	if (g->scope.status)
		torc__remote_cancel(r, g->scope.status);
	return 0;
}

static inline int spawn(struct torc_group *g, const struct torc_spawn_options *o, torc_fn *fn,
			void *arg, const void *site)
{
	struct torc__loop *loop = torc__loop();
	int class_index;

	torc__check(loop && g->scope.fiber->loop == loop, "spawned into a group of another loop");
	class_index = o && o->stack_bytes ? torc__stack_class_of(o->stack_bytes)
					  : (int)loop->default_class;
	if (class_index < 0)
		return class_index;
	if (o && o->loop && o->loop != loop->index + 1)
		return spawn_away(g, o, (unsigned)class_index, fn, arg, site);
	return spawn_here(g, o, (unsigned)class_index, fn, arg, site);
}

int torc_group_spawn_with(struct torc_group *g, const struct torc_spawn_options *o, torc_fn *fn,
			  void *arg)
{
	return spawn(g, o, fn, arg, __builtin_return_address(0));
}

int torc_group_spawn(struct torc_group *g, torc_fn *fn, void *arg)
{
	return spawn(g, NULL, fn, arg, __builtin_return_address(0));
}

void torc__group_child_ended(struct torc__fiber *f, int result)
{
	bool echo = f->base.status && result == f->base.status;

	if (f->group) {
		*f->sibling_link = f->sibling;
		if (f->sibling)
			f->sibling->sibling_link = f->sibling_link;
		if (f->task)
			finish_task(f->task, result);
		child_gone(f->group, result, echo);
	} else if (f->remote) {
		report_end(f->remote, result, echo);
	}
}

struct torc__fiber *torc__group_cancel_children(struct torc_group *g, int status,
						struct torc__fiber *list)
{
	struct torc__fiber *f;
	struct torc__remote *r;

	for (f = g->children; f; f = f->sibling) {
		if (f->base.status)
			continue;
		f->base.cause = status;
		f->cancel_status = status;
		f->cancel_next = list;
		list = f;
	}
	for (r = g->remotes; r; r = r->next)
		torc__remote_cancel(r, status);
	return list;
}

void torc_group_cancel(struct torc_group *g)
{
	torc_scope_cancel(&g->scope);
}

/* The innermost scope of a fiber that waits for a group is that group. */
static void describe_group(const struct torc__wait *wait, struct torc__message *m)
{
	const struct torc_group *g = (const struct torc_group *)wait->fiber->scope;

	torc__message_text(m, " of ");
	torc__message_number(m, g->live, 10);
	torc__message_text(m, g->live == 1 ? " fiber" : " fibers");
}

/* Not cut short by a cancellation: that reaches the children, and their end ends the wait. */
static const struct torc__wait_kind group_kind = { "group", NULL, describe_group };

int torc_group_wait(struct torc_group *g)
{
	struct torc__fiber *f = torc__self();
	struct torc__wait wait;

	torc__check(f->scope == &g->scope,
		    "a group is left by another fiber, or not the innermost");
	torc__scope_check(f); /* a deadline that has passed reaches the children */
	while (g->live) {
		g->waiter = &wait;
		torc__park(f, &wait, &group_kind);
		g->waiter = NULL;
	}
	torc__scope_pop(f, &g->scope);
	if (g->failure)
		return g->failure;
	return g->scope.cause ? 0 : g->scope.status;
}

struct join_wait {
	struct torc__wait wait; /* first */
	struct torc_task *task;
	int status;
};

static void cancel_join(struct torc__wait *wait)
{
	struct join_wait *join = (struct join_wait *)wait;
	struct torc__wait **link = &join->task->waiters;

	while (*link != wait)
		link = &(*link)->next;
	*link = wait->next;
	join->status = wait->fiber->scope->status;
	torc__ready(wait->fiber);
}

static void describe_join(const struct torc__wait *wait, struct torc__message *m)
{
	const struct torc_task *task = ((const struct join_wait *)wait)->task;
	const char *name = task->fiber    ? task->fiber->name
			   : task->remote ? task->remote->name
					  : NULL;

	torc__message_text(m, " of fiber ");
	torc__message_text(m, name ? name : "(unnamed)");
}

static const struct torc__wait_kind join_kind = { "join", cancel_join, describe_join };

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
	return join.status ? join.status : task->result;
}

void torc_task_cancel(struct torc_task *task)
{
	if (task->remote)
		torc__remote_cancel(task->remote, -ECANCELED);
	else if (task->fiber)
		torc__scope_cancel(&task->fiber->base, -ECANCELED);
}

int torc_detach(const char *name, torc_fn *fn, void *arg)
{
	struct torc_group *root = torc__self()->loop->root_group;
	struct torc_spawn_options options = { .name = name };

	return root ? spawn(root, &options, fn, arg, __builtin_return_address(0)) : -ECANCELED;
}
