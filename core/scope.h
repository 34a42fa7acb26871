/*
 * core/scope.h - cancel scopes: how a fiber is asked to stop, and by when.
 *
 * A scope is a stretch of one fiber's run. It can carry a deadline, and it can be cancelled. From then
 * on every suspending call inside the scope returns at once, again and again, until the scope is left
 * (level-triggered):
 *
 *	-ETIMEDOUT  the deadline of this scope, or of one around it, has passed
 *	-ECANCELED  this scope, or one around it, was cancelled
 *
 * What a call has already achieved is never lost: an operation that completed before the cancellation
 * reached it returns its result. A call that returns one of the two errors has had no effect, but for
 * those that say otherwise.
 *
 * Scopes nest. Leave them in the reverse order of entering, in the fiber that entered them; anything
 * else traps.
 *
 *	struct torc_scope t;
 *
 *	torc_scope_enter(&t, TORC_SECONDS(5));
 *	n = torc_recv(fd, buf, sizeof(buf), 0);
 *	if (torc_scope_leave(&t) == -ETIMEDOUT)
 *		...				this scope's own five seconds passed
 *
 * A shield scope keeps the cancellation of the scopes around it away, so that clean-up can finish; give
 * it a deadline of its own.
 */
#ifndef TORC_CORE_SCOPE_H
#define TORC_CORE_SCOPE_H

#include <torc/core/api.h>

TORC_BEGIN_DECLS

struct torc__fiber;

/* Caller's memory, usually the fiber's stack. The fields are private. */
struct torc_scope {
	struct torc_scope *parent;
	struct torc__fiber *fiber;
	uint64_t deadline_ns; /* its own, absolute; TORC_NEVER: none */
	uint64_t
		limit_ns; /* when calls in it start to fail: own and outer deadlines, up to a shield */
	uint64_t timer_ns;  /* the earliest pending deadline of the whole chain, past shields too */
	int32_t status;     /* 0, -ECANCELED or -ETIMEDOUT: what suspending calls in it return */
	int32_t cause;      /* the same, when this very scope was cancelled or ran out */
	const char *reason; /* of status; NULL: status is 0, or the parent's from the beginning */
	bool shield;
	bool is_group; /* the first member of a struct torc_group */
};

/*
 * torc_scope_enter - begin a scope that may last for a time.
 *
 *   @scope       caller's memory, until it is left
 *   @timeout_ns  nanoseconds from now; TORC_NEVER: no deadline; 0: calls in it fail at once
 *
 * Suspends    never
 * Thread      a fiber's
 */
TORC_API void torc_scope_enter(struct torc_scope *scope, uint64_t timeout_ns);

/*
 * torc_scope_enter_until - the same with an absolute deadline (torc_now_ns, or the cheaper
 * torc_turn_ns for those who enter scopes at every request).
 */
TORC_API void torc_scope_enter_until(struct torc_scope *scope, uint64_t deadline_ns);

/*
 * torc_scope_enter_shield - begin a scope that the cancellation of outer scopes does not reach.
 *
 * Its own deadline still does. Deadlines and cancellation that came meanwhile take effect when the
 * shield is left.
 */
TORC_API void torc_scope_enter_shield(struct torc_scope *scope, uint64_t timeout_ns);

/*
 * torc_scope_leave - end the innermost scope.
 *
 * torc_scope_cause tells the same without leaving, in any order; also once the scope has been left.
 *
 * Returns     0            neither cancelled itself nor out of time; an outer scope may be
 *             -ETIMEDOUT   this scope's own deadline passed, and a suspending call noticed
 *             -ECANCELED   this scope itself was cancelled with torc_scope_cancel
 * Suspends    never
 * Thread      the fiber that entered it; torc_scope_cause any fiber of the same loop
 */
TORC_API int torc_scope_leave(struct torc_scope *scope);
TORC_API int torc_scope_cause(const struct torc_scope *scope);

/*
 * torc_scope_cancel - ask everything inside a scope to stop: its fiber, and the fibers of groups
 * opened in it, on whichever loop. Cancelling twice is harmless, and the first reason stays.
 *
 *   @reason  for torc_scope_reason; borrowed until all that are asked have stopped: a literal.
 *            NULL: the name of the call
 *
 * Suspends    never
 * Thread      any fiber of the same loop; the scope must not have been left
 */
TORC_API void torc_scope_cancel(struct torc_scope *scope);
TORC_API void torc_scope_cancel_with(struct torc_scope *scope, const char *reason);

/*
 * torc_scope_set_deadline - move the deadline of a scope, earlier or later.
 *
 * A deadline that has already made calls fail cannot be taken back.
 *
 * Suspends    never
 * Thread      any fiber of the same loop
 */
TORC_API void torc_scope_set_deadline(struct torc_scope *scope, uint64_t deadline_ns);

/*
 * torc_scope_status - what a suspending call of this fiber would return for its scopes right now.
 *
 * For long computations, to ask whether they are still wanted.
 *
 * Returns     0, -ECANCELED or -ETIMEDOUT
 * Suspends    never
 * Thread      a fiber's
 */
TORC_API int torc_scope_status(void);

/*
 * torc_scope_reason - why the calling fiber's calls fail right now.
 *
 * What the canceller gave, or by default: "deadline passed", "a fiber of the group failed", "another call
 * won the race", "SIGINT", "SIGTERM", "the runtime shuts down", or the name of the function that cancelled.
 *
 * Returns     NULL   they do not fail: torc_scope_status is 0
 * Suspends    never
 * Thread      a fiber's
 */
TORC_API const char *torc_scope_reason(void);

/*
 * torc_scope_limit - the moment from which the calling fiber's calls fail: the earliest deadline of its scopes,
 * as far as shields let them through. To give a peer, or a call without scopes, the time that is left.
 *
 * Returns     TORC_NEVER   no deadline
 *             0            they fail already
 * Suspends    never
 * Thread      a fiber's
 */
TORC_API uint64_t torc_scope_limit(void);

TORC_END_DECLS

#endif
