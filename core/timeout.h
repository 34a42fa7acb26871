/*
 * core/timeout.h - a time limit in one line.
 *
 *	r = torc_timeout(TORC_SECONDS(5), fetch, &job);		a call
 *
 *	torc_within(TORC_SECONDS(5)) {				a block
 *		r = torc_recv(fd, buf, sizeof(buf), 0);
 *		if (r < 0)
 *			return r;
 *	}
 *
 * Both are a scope (core/scope.h) around the call or the block. Who has to know whether it was this limit that
 * passed, or one further out, enters the scope by hand and asks torc_scope_leave.
 */
#ifndef TORC_CORE_TIMEOUT_H
#define TORC_CORE_TIMEOUT_H

#include <torc/core/fiber.h>
#include <torc/core/scope.h>

TORC_BEGIN_DECLS

/*
 * torc_timeout - run fn(arg) in the calling fiber, for a time at most.
 *
 * When the time is up, suspending calls in fn return -ETIMEDOUT from then on. What fn makes of that is what is
 * returned, unchanged: a result that it had in spite of the time is not lost, an error of its own not hidden.
 *
 *   @ns  nanoseconds from now; 0: fn runs, its suspending calls fail at once; TORC_NEVER: no limit
 *
 * Returns     fn's result; among others
 *             -ETIMEDOUT   fn gave up because the time, or that of a scope around, was up
 *             -ECANCELED   fn gave up because a scope around was cancelled
 * Suspends    if fn does
 * Thread      a fiber's
 */
TORC_API int torc_timeout(uint64_t ns, torc_fn *fn, void *arg);

/*
 * torc_within - the same for the block that follows.
 *
 * It may be left in any way: at its end, by break (which ends just the block), continue (likewise), return, goto,
 * and in C++ by an exception. Its scope is left then. Not by longjmp(3), and not with a scope or group that
 * was entered inside still open.
 */
#define torc_within(ns) torc__within(ns, torc__paste(torc__within_, __COUNTER__))

#define torc__paste(a, b)  torc__paste_(a, b)
#define torc__paste_(a, b) a##b
#define torc__within(ns, id)                                                    \
	for (struct torc_scope id __attribute__((cleanup(torc__within_leave))), \
	     *torc__paste(id, _once) = torc__within_enter(&id, ns);             \
	     torc__paste(id, _once); torc__paste(id, _once) = (struct torc_scope *)0)

static inline struct torc_scope *torc__within_enter(struct torc_scope *scope, uint64_t ns)
{
	torc_scope_enter(scope, ns);
	return scope;
}

static inline void torc__within_leave(struct torc_scope *scope)
{
	(void)torc_scope_leave(scope);
}

TORC_END_DECLS

#endif
