#include <torc/core/scope.h>

#include <errno.h>

#include "core/internal/fiber.h"

/* limit_ns, timer_ns and status of a scope, from its own fields and its parent's. */
static void derive(struct torc_scope *s)
{
	const struct torc_scope *p = s->parent;

	s->timer_ns = s->cause ? TORC_NEVER : s->deadline_ns;
	if (p)
		s->timer_ns = torc__earlier(s->timer_ns, p->timer_ns);
	if (s->status) {
		s->limit_ns = 0;
		return;
	}
	s->limit_ns = s->deadline_ns;
	if (p && !s->shield)
		s->limit_ns = torc__earlier(s->limit_ns, p->limit_ns);
}

/* Derive s and the scopes inside it anew. Chains are short; this is not on the path of a request. */
static void derive_inward(struct torc_scope *outermost)
{
	struct torc_scope *done = outermost->parent;

	while (done != outermost->fiber->scope) {
		struct torc_scope *s = outermost->fiber->scope;

		while (s->parent != done)
			s = s->parent;
		derive(s);
		done = s;
	}
}

/* A timeout of 0 has passed already, whatever the loop's clock says; one that never ends needs no clock. */
static inline uint64_t deadline_of(struct torc__fiber *f, uint64_t timeout_ns)
{
	struct torc__ring *ring = &f->loop->ring;

	if (!timeout_ns || timeout_ns == TORC_NEVER)
		return timeout_ns;
	return torc__later(ring->kernel->now(ring), timeout_ns);
}

void torc_scope_enter(struct torc_scope *scope, uint64_t timeout_ns)
{
	struct torc__fiber *f = torc__self();

	torc__scope_push(f, scope, deadline_of(f, timeout_ns), false);
}

void torc_scope_enter_until(struct torc_scope *scope, uint64_t deadline_ns)
{
	torc__scope_push(torc__self(), scope, deadline_ns, false);
}

void torc_scope_enter_shield(struct torc_scope *scope, uint64_t timeout_ns)
{
	struct torc__fiber *f = torc__self();

	torc__scope_push(f, scope, deadline_of(f, timeout_ns), true);
}

int torc_scope_leave(struct torc_scope *scope)
{
	struct torc__fiber *f = torc__self();

	torc__check(!scope->is_group, "a group is left with torc_group_wait");
	torc__scope_pop(f, scope);
	return scope->cause;
}

int torc_scope_cause(const struct torc_scope *scope)
{
	return scope->cause;
}

static int expire(struct torc__fiber *f, uint64_t now)
{
	struct torc_scope *s;

	if (f->scope->timer_ns > now)
		return f->scope->status;
	for (s = f->scope; s; s = s->parent)
		if (!s->cause && s->deadline_ns <= now)
			torc__scope_cancel(s, -ETIMEDOUT, "deadline passed");
	return f->scope->status;
}

int torc__scope_expire(struct torc__fiber *f)
{
	return expire(f, f->loop->now_ns);
}

int torc_scope_status(void)
{
	struct torc__fiber *f = torc__self();

	if (f->scope->limit_ns == TORC_NEVER)
		return 0;
	/* The loop's clock stands still while a fiber computes. */
	return expire(f, torc_now_ns());
}

/* The first cancellation that reached a scope left its reason there; scopes entered since then have none. */
const char *torc__scope_why(const struct torc_scope *s)
{
	while (!s->reason)
		s = s->parent;
	return s->reason;
}

const char *torc_scope_reason(void)
{
	return torc_scope_status() ? torc__scope_why(torc__self()->scope) : NULL;
}

uint64_t torc_scope_limit(void)
{
	return torc_scope_status() ? 0 : torc__self()->scope->limit_ns;
}

void torc_scope_set_deadline(struct torc_scope *scope, uint64_t deadline_ns)
{
	struct torc__fiber *f = scope->fiber;

	torc__check(f->loop == torc__loop(), "a scope's deadline is moved from another loop");
	scope->deadline_ns = deadline_ns;
	derive_inward(scope);
	/* A running fiber's timer is looked at when it parks. */
	if (f->wait && f->scope->timer_ns < f->timer.at_ns)
		torc__timer_set(&f->loop->timers, &f->timer, f->scope->timer_ns);
}

/*
 * Mark what a cancellation of `scope` reaches in its own fiber: from it inward up to the first shield.
 * Children of groups among these go onto `list`, which is returned. A flat work list, because trees of
 * groups can be deeper than any stack.
 */
static struct torc__fiber *cancel_fiber(struct torc_scope *scope, int status, const char *reason,
					struct torc__fiber *list)
{
	struct torc__fiber *f = scope->fiber;
	struct torc_scope *shield = NULL, *s;

	for (s = f->scope; s != scope; s = s->parent)
		if (s->shield)
			shield = s;
	for (s = shield ? shield->parent : f->scope;; s = s->parent) {
		if (!s->status) {
			s->status = status;
			s->reason = reason;
			s->limit_ns = 0;
			if (s->is_group)
				list = torc__group_cancel_children((struct torc_group *)s, status,
								   reason, list);
		}
		if (s == scope)
			break;
	}
	if (!shield && f->wait && f->wait->kind->cancel)
		f->wait->kind->cancel(f->wait);
	return list;
}

void torc__scope_cancel(struct torc_scope *scope, int status, const char *reason)
{
	struct torc__fiber *list;

	if (!scope->cause)
		scope->cause = status;
	derive_inward(scope); /* its deadline no longer matters */
	list = cancel_fiber(scope, status, reason, NULL);
	while (list) {
		struct torc__fiber *f = list;

		list = f->cancel_next;
		list = cancel_fiber(&f->base, status, reason, list);
	}
}

void torc_scope_cancel_with(struct torc_scope *scope, const char *reason)
{
	torc__check(scope->fiber->loop == torc__loop(), "a scope is cancelled from another loop");
	torc__scope_cancel(scope, -ECANCELED, reason ? reason : "torc_scope_cancel_with");
}

void torc_scope_cancel(struct torc_scope *scope)
{
	torc_scope_cancel_with(scope, "torc_scope_cancel");
}
