/*
 * executor/future.h - futures: results that somebody else is still working on.
 *
 *	struct torc_future *f;
 *	void *value;
 *
 *	r = torc_submit(pool, parse, document, &f);		executor/executor.h: starts the work elsewhere
 *	...
 *	r = torc_await(f, &value);				waits for it
 *	torc_future_put(f);
 *
 * A result is a status, 0 or more for success and a negative errno for failure, and a pointer-sized value.
 *
 *	            start             set, fail
 *	PENDING ------------> RUNNING ----------> DONE
 *	   |                                       ^
 *	   |               set, fail               |
 *	   +---------------------------------------+
 *	   |
 *	   | cancel
 *	   v
 *	CANCELLED
 *
 * All calls may be made by any thread: fibers of any loop, workers of a pool, and threads that torc knows nothing
 * of. Those that wait do what suits the caller: a fiber suspends (and its scope counts), a worker of a thread pool
 * runs other tasks of its pool meanwhile, any other thread sleeps.
 *
 * Who holds a reference may use a future; torc_future_put gives the reference back. What its function still works
 * on when all references are gone is finished, and nobody is told the result. In builds with TORC_DEBUG a failure
 * that nobody has looked at is reported on standard error when the last reference goes.
 */
#ifndef TORC_EXECUTOR_FUTURE_H
#define TORC_EXECUTOR_FUTURE_H

#include <torc/core/group.h>
#include <torc/core/sync.h>

TORC_BEGIN_DECLS

struct torc_future;
struct torc_executor;

/*
 * What is run for a future.
 *
 *   @ret_value  *ret_value is NULL; set it to hand a value over
 *
 * Returns the status: 0 or more for success, or a negative errno.
 */
typedef int torc_work_fn(void *arg, void **ret_value);

enum torc_future_state {
	TORC_PENDING,   /* not started: it can be cancelled */
	TORC_RUNNING,   /* somebody works on it */
	TORC_DONE,      /* it has a result, which never changes */
	TORC_CANCELLED, /* it never was started, and never will be; its status is -ECANCELED */
};

/* ---- the side that waits ------------------------------------------------------------------------------ */

/*
 * torc_await - wait for a result; torc_await_until - but not longer than until a moment.
 *
 *   @deadline_ns  a moment of torc_now_ns; TORC_NEVER; 0: do not wait
 *   @ret_value    written when 0 or more is returned; may be NULL
 *
 * Nothing is done to the future when the wait ends early: it can be awaited again, or cancelled. In a scope that is
 * cancelled already a fiber is told so, also when the result is there: torc_future_try has it.
 *
 * Returns     >= 0         the status of a success
 *             -ECANCELED   the future was cancelled, or the calling fiber's scope was
 *             -ETIMEDOUT   the deadline passed, or that of the calling fiber's scope
 *             -EDEADLK     a worker waits for what only it could do, as far as that can be told: the task that
 *                          it runs itself
 *             < 0          the status of a failure: torc_future_state tells it from those above (it is TORC_DONE)
 * Suspends    in a fiber, if it is not done; a worker runs other tasks of its pool; other threads sleep
 * Thread      any
 */
TORC_API TORC_MUST_CHECK int torc_await(struct torc_future *f, void **ret_value);
TORC_API TORC_MUST_CHECK int torc_await_until(struct torc_future *f, uint64_t deadline_ns,
					      void **ret_value);

/*
 * torc_future_try - the result, if there is one already. Does not ask the caller's scope.
 *
 * Returns     the status; -EINPROGRESS: it is pending or running
 * Suspends    never
 * Thread      any
 */
TORC_API TORC_MUST_CHECK int torc_future_try(struct torc_future *f, void **ret_value);

/* torc_future_state - its state, as it was. Never suspends. Any thread. */
TORC_API enum torc_future_state torc_future_state(const struct torc_future *f);

/*
 * torc_future_cancel - see to it that it is not started.
 *
 * Work that runs already goes on, unless its executor can stop it (struct torc_executor_ops).
 *
 * Returns     true   it is cancelled, by this call or before; or its executor is stopping it, and it will be done soon
 *             false  too late: it is running or done
 * Suspends    never
 * Thread      any
 */
TORC_API bool torc_future_cancel(struct torc_future *f);

/*
 * torc_future_get - one more reference; returns f. torc_future_put - one less; f may be NULL. torc_future_put_many - one
 * less of each; after torc_submit_many that is cheaper than one by one. Never suspend. Any thread.
 */
TORC_API struct torc_future *torc_future_get(struct torc_future *f);
TORC_API void torc_future_put(struct torc_future *f);
TORC_API void torc_future_put_many(struct torc_future *const *futures, size_t count);

/*
 * torc_future_event - an event that is set once the future is done or cancelled: for torc_select, beside channels.
 *
 *	struct torc_case cases[] = {
 *		{ .op = TORC_WAIT, .event = torc_future_event(f) },
 *		{ .op = TORC_RECV, .chan = &commands, .item = &command },
 *	};
 *
 * Borrowed: valid as long as the reference. It can be waited for and asked, not set or cleared.
 *
 * Suspends    never
 * Thread      any
 */
TORC_API struct torc_event *torc_future_event(struct torc_future *f);

/* ---- what happens next -------------------------------------------------------------------------------- */

typedef void torc_future_fn(struct torc_future *f, void *arg);

/*
 * torc_future_on_done - call fn(f, arg) once the future is done or cancelled.
 *
 * It runs where that happens: on the worker or thread that completes or cancels it, or in this call when it is
 * done already. Several are called in the order in which they were added. It must be short and must not wait: on a loop
 * it may run outside of any fiber. The future is there for as long as it runs. A future that is dropped before it is done
 * calls nobody.
 *
 *   @arg  borrowed until then
 *
 * Returns     0
 *             -ENOMEM   no memory; it will not be called
 * Suspends    never
 * Thread      any
 */
TORC_API TORC_MUST_CHECK int torc_future_on_done(struct torc_future *f, torc_future_fn *fn,
						 void *arg);

/*
 * A step of a chain.
 *
 *   @value  of the future before it
 *   @arg    torc_then's
 */
typedef int torc_then_fn(void *value, void *arg, void **ret_value);

/*
 * torc_then - a future of what fn makes of another future's value.
 *
 * When `f` succeeds, fn(value, arg, &ret) is run by the executor. When it fails, or is cancelled, fn is not run, and
 * neither are the steps after it: the new future fails with the same status, or is cancelled too. A step that
 * could not be submitted fails with the error of that.
 *
 * Cancelling the new future before `f` is done keeps fn from being run, and leaves `f` alone.
 *
 * When `f` is dropped before it is done, as nobody will ever complete it, the new future fails with -EPIPE.
 *
 *   @executor    where fn runs, whatever limit its queue has; borrowed until the new future is done. NULL: where `f` is completed, at once, and then
 *                fn must be short and must not wait
 *   @arg         borrowed until then
 *   @ret_future  a reference, to be put
 *
 * Returns     0
 *             -ENOMEM   no memory
 * Suspends    never
 * Thread      any
 */
TORC_API TORC_MUST_CHECK int torc_then(struct torc_future *f, struct torc_executor *executor,
				       torc_then_fn *fn, void *arg,
				       struct torc_future **ret_future);

/* ---- the side that works (the promise) ---------------------------------------------------------------- */

/*
 * torc_future_create - a future that the program completes itself.
 *
 *   @ret_future  one reference, to be put; who hands it to another thread hands over another one (torc_future_get)
 *
 * Returns     0
 *             -ENOMEM   no memory
 * Suspends    never
 * Thread      any
 */
TORC_API TORC_MUST_CHECK int torc_future_create(struct torc_future **ret_future);

/*
 * torc_future_start - begin to work on it: from now on it cannot be cancelled.
 *
 * Returns     true    it is running
 *             false   it was cancelled, or started or completed before: leave it alone
 * Suspends    never
 * Thread      any
 */
TORC_API TORC_MUST_CHECK bool torc_future_start(struct torc_future *f);

/*
 * torc_future_set - complete it with a value; torc_future_fail - with an error.
 *
 *   @error  a negative errno
 *
 * Returns     0
 *             -ECANCELED   it was cancelled: the value went nowhere
 *             -EALREADY    it is done
 * Suspends    never
 * Thread      any
 */
TORC_API TORC_MUST_CHECK int torc_future_set(struct torc_future *f, void *value);
TORC_API TORC_MUST_CHECK int torc_future_fail(struct torc_future *f, int error);

/*
 * torc_future_spawn - run fn(arg) in a fiber of a group, and have its result as a future.
 *
 * A failure is the future's, and the group's as any other fiber's is. A fiber that never starts, as its group or loop
 * has no room for it, fails the future with the error.
 *
 *   @options     may be NULL; without `task`
 *   @ret_future  a reference, to be put
 *
 * Returns     0
 *             -ENOMEM   no memory for the future
 *             as torc_group_spawn_with
 * Suspends    as torc_group_spawn_with
 * Thread      a fiber's, while the group is open
 */
TORC_API TORC_MUST_CHECK int torc_future_spawn(struct torc_group *group,
					       const struct torc_spawn_options *options,
					       torc_work_fn *fn, void *arg,
					       struct torc_future **ret_future);

TORC_END_DECLS

#endif
