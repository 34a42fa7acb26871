#include <torc/core/group.h>

#include <errno.h>

#include "core/internal/group.h"

/* --- open --- */

static inline void enter(struct torc_group *g, bool supervises, uint32_t limit)
{
	struct torc__fiber *f = torc__self();

	torc__scope_push(f, &g->scope, TORC_NEVER, false);
	g->scope.is_group = true;
	g->children = NULL;
	g->remotes = NULL;
	g->live = 0;
	g->waiter = NULL;
	g->collector = NULL;
	g->ended = NULL;
	g->tasks = 0;
	g->failures = NULL;
	g->failures_max = 0;
	g->failures_count = 0;
	g->failure = 0;
	g->supervises = supervises;
	g->limited = limit != 0;
	if (limit)
		torc_sem_init(&g->places, limit);
	torc__group_set_state(g, TORC__GROUP_OPEN);
}

void torc_group_enter(struct torc_group *g)
{
	enter(g, false, 0);
}

void torc_group_enter_supervisor(struct torc_group *g)
{
	enter(g, true, 0);
}

void torc_group_enter_with(struct torc_group *g, const struct torc_group_options *o)
{
	enter(g, o && o->supervisor, o ? o->limit : 0);
}

/* --- spawn --- */

static inline void adopt(struct torc_group *g, struct torc__fiber *f)
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
		torc__scope_cancel(&f->base, g->scope.status, torc__scope_why(&g->scope));
}

static inline int spawn_here(struct torc_group *g, struct torc__loop *loop,
			     const struct torc_spawn_options *o, unsigned class_index, torc_fn *fn,
			     void *arg, const void *site)
{
	int error;
	struct torc__fiber *f = torc__fiber_create(loop, class_index, fn, arg, &error);

	if (!f)
		return error;
	f->spawn_site = site;
	if (o) {
		f->name = o->name;
		f->task = o->task;
		if (o->task)
			torc__task_start(g, o->task, f, NULL);
	}
	adopt(g, f);
	return 0;
}

static inline int spawn_now(struct torc_group *g, const struct torc_spawn_options *o, torc_fn *fn,
			    void *arg, const void *site)
{
	struct torc__loop *loop = torc__self()->loop, *away = loop;
	int class_index = (int)loop->default_class;

	if (o) {
		away = o->loop ? torc__place(loop, o->loop) : loop;
		if (o->stack_bytes)
			class_index = torc__stack_class_of(o->stack_bytes);
		if (!away || class_index < 0)
			return -EINVAL;
	}
	if (torc__unlikely(away != loop || g->scope.fiber->loop != loop))
		return torc__remote_spawn(g, o, away, (unsigned)class_index, fn, arg, site);
	torc__group_check_open(g);
	return spawn_here(g, loop, o, (unsigned)class_index, fn, arg, site);
}

static __attribute__((noinline)) int spawn_in_turn(struct torc_group *g,
						   const struct torc_spawn_options *o, torc_fn *fn,
						   void *arg, const void *site)
{
	int r = torc_sem_acquire(&g->places, 1);

	if (r < 0)
		return r;
	r = spawn_now(g, o, fn, arg, site);
	if (r < 0)
		torc_sem_release(&g->places, 1);
	return r;
}

static inline int spawn(struct torc_group *g, const struct torc_spawn_options *o, torc_fn *fn,
			void *arg, const void *site)
{
	if (torc__unlikely(g->limited))
		return spawn_in_turn(g, o, fn, arg, site);
	return spawn_now(g, o, fn, arg, site);
}

int torc__group_spawn(struct torc_group *g, const struct torc_spawn_options *o, torc_fn *fn,
		      void *arg, const void *site)
{
	return spawn(g, o, fn, arg, site);
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

int torc_detach(const char *name, torc_fn *fn, void *arg)
{
	struct torc_group *root = torc__self()->loop->root_group;
	struct torc_spawn_options options = { .name = name };

	return root ? spawn(root, &options, fn, arg, __builtin_return_address(0)) : -ECANCELED;
}

/* --- ends and failures --- */

void torc__group_child_failed(struct torc_group *g, const struct torc_failure *failure)
{
	if (g->failures_count < g->failures_max)
		g->failures[g->failures_count] = *failure;
	g->failures_count++;
	if (g->supervises || g->failure)
		return;
	g->failure = failure->result;
	torc__scope_cancel(&g->scope, -ECANCELED, "a fiber of the group failed");
}

static inline void child_gone(struct torc_group *g)
{
	if (torc__unlikely(g->limited))
		torc_sem_release(&g->places, 1);
	/* A waiter that is woken may get another child before it runs: it looks again. */
	if (!--g->live)
		torc__slot_wake(&g->waiter);
}

void torc__group_child_gone(struct torc_group *g)
{
	child_gone(g);
}

static __attribute__((noinline)) void fiber_failed(const struct torc__fiber *f, int result)
{
	torc__group_child_failed(f->group, &(struct torc_failure){ .result = result,
								   .name = f->name,
								   .fn = f->fn,
								   .arg = f->arg,
								   .spawn_site = f->spawn_site });
}

void torc__group_child_ended(struct torc__fiber *f, int result)
{
	bool echo = f->base.status && result == f->base.status;
	struct torc_group *g = f->group;

	if (!g) {
		if (f->remote)
			torc__remote_ended(f, result, echo);
		return;
	}
	*f->sibling_link = f->sibling;
	if (f->sibling)
		f->sibling->sibling_link = f->sibling_link;
	if (f->task)
		torc__task_end(g, f->task, result, echo);
	if (torc__unlikely(result < 0) && !echo)
		fiber_failed(f, result);
	child_gone(g);
}

void torc_group_record_failures(struct torc_group *g, struct torc_failure *failures, size_t max)
{
	torc__group_check_open(g);
	torc__check(!g->live && !g->failures_count,
		    "failures are to be recorded after the first spawn");
	g->failures = failures;
	g->failures_max = max;
}

size_t torc_group_failure_count(const struct torc_group *g)
{
	return g->failures_count;
}

/* --- cancel --- */

struct torc__fiber *torc__group_cancel_children(struct torc_group *g, int status,
						const char *reason, struct torc__fiber *list)
{
	struct torc__fiber *f;

	for (f = g->children; f; f = f->sibling) {
		if (f->base.status)
			continue;
		f->base.cause = status;
		f->cancel_next = list;
		list = f;
	}
	torc__remote_cancel_all(g->remotes, status, reason);
	return list;
}

void torc_group_cancel_with(struct torc_group *g, const char *reason)
{
	torc_scope_cancel_with(&g->scope, reason ? reason : "torc_group_cancel_with");
}

void torc_group_cancel(struct torc_group *g)
{
	torc_scope_cancel_with(&g->scope, "torc_group_cancel");
}

/* --- wait --- */

/* The innermost scope of a fiber that waits for a group is that group. */
static void describe_group(const struct torc__wait *wait, struct torc__message *m)
{
	const struct torc_group *g = (const struct torc_group *)wait->fiber->scope;

	torc__message_text(m, " of ");
	torc__message_number(m, g->live, 10);
	torc__message_text(m, g->live == 1 ? " fiber" : " fibers");
}

/* Not cut short by a cancellation: that reaches the children, and their end ends the wait. */
static const struct torc__wait_kind group_kind = { .name = "group", .describe = describe_group };

static inline void wait_for_children(struct torc_group *g, struct torc__fiber *f)
{
	struct torc__wait wait;

	torc__group_set_state(g, TORC__GROUP_WAITING);
	do {
		g->waiter = &wait;
		torc__park(f, &wait, &group_kind);
	} while (g->live);
}

/* Being cancelled by its owner is no failure of a group, running out of time is one. */
static inline int outcome(const struct torc_group *g)
{
	if (g->failure)
		return g->failure;
	return g->scope.cause == -ECANCELED ? 0 : g->scope.status;
}

int torc_group_wait(struct torc_group *g)
{
	struct torc__fiber *f = torc__self();

	torc__check(f->scope == &g->scope,
		    "a group is left by another fiber, or not the innermost");
	torc__scope_check(f); /* a deadline that has passed reaches the children */
	if (g->live)
		wait_for_children(g, f);
	if (torc__unlikely(g->limited))
		torc_sem_done(&g->places);
	torc__group_set_state(g, TORC__GROUP_LEFT);
	torc__scope_pop(f, &g->scope);
	return outcome(g);
}
