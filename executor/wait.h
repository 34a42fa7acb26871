/*
 * executor/wait.h - several futures at once.
 *
 * What waits here waits like torc_await does, on any thread. The futures may belong to several executors, or to none;
 * the same one may be named several times.
 */
#ifndef TORC_EXECUTOR_WAIT_H
#define TORC_EXECUTOR_WAIT_H

#include <torc/executor/future.h>

TORC_BEGIN_DECLS

enum torc_wait_mode {
	TORC_ALL_COMPLETED,   /* until all are done or cancelled */
	TORC_FIRST_COMPLETED, /* until one is */
	TORC_FIRST_ERROR, /* until one has failed, or all are done; a cancelled one is no failure */
};

/*
 * torc_wait - wait until enough of some futures are done; torc_future_state tells which are.
 *
 *   @futures      [count], borrowed
 *   @deadline_ns  a moment of torc_now_ns; TORC_NEVER; 0: do not wait
 *
 * Returns     0..count     so many are done or cancelled: by the deadline perhaps not enough
 *             -ENOMEM      no memory to wait for so many; not with TORC_ALL_COMPLETED
 *             -EDEADLK     as torc_await; with TORC_ALL_COMPLETED only
 *             -ECANCELED, -ETIMEDOUT   the calling fiber's scope
 * Suspends    as torc_await
 * Thread      any
 */
TORC_API TORC_MUST_CHECK int torc_wait(struct torc_future *const *futures, size_t count,
				       enum torc_wait_mode mode, uint64_t deadline_ns);

/*
 * torc_await_all - the results of several futures, all or nothing: the gather of futures.
 *
 * Waits until all are done. At the first failure those that have not been started are cancelled; those that run are
 * waited for. When the caller's scope ends the wait nothing is cancelled.
 *
 *   @futures     [count], borrowed
 *   @ret_values  [count], all written when 0 is returned, else none; may be NULL
 *
 * Returns     0            all succeeded
 *             < 0          the status of the first failure, in time, or -ECANCELED when one was cancelled and none failed
 *             -ENOMEM      no memory to wait for so many
 *             -ECANCELED, -ETIMEDOUT   the calling fiber's scope
 * Suspends    as torc_await
 * Thread      any
 */
TORC_API TORC_MUST_CHECK int torc_await_all(struct torc_future *const *futures, size_t count,
					    void **ret_values);

/*
 * One future after the other, as they are done:
 *
 *	struct torc_completion c;
 *	struct torc_future *f;
 *
 *	r = torc_as_completed(&c, futures, count, TORC_NEVER);
 *	while (!r && (r = torc_completion_next(&c, &f)) > 0)
 *		r = use(f);
 *	torc_completion_done(&c);
 */
struct torc_watch;

/* Caller's memory from torc_as_completed until torc_completion_done. The fields are private. */
struct torc_completion {
	struct torc_event event;
	struct torc_watch *watches; /* [count] */
	struct torc_watch *arrived; /* the latest first; other threads push */
	struct torc_watch *ready;   /* taken from there, in the order of completion */
	size_t count, left;
	uint64_t deadline_ns;
};

/*
 * torc_as_completed - begin.
 *
 *   @futures      [count]; references are kept until the end
 *   @deadline_ns  a moment of torc_now_ns by which all are to be done; TORC_NEVER
 *
 * Returns     0
 *             -ENOMEM   no memory; there is nothing to be done with, which is harmless
 * Suspends    never
 * Thread      any; the same, or the same fiber, for the other two
 */
TORC_API TORC_MUST_CHECK int torc_as_completed(struct torc_completion *c,
					       struct torc_future *const *futures, size_t count,
					       uint64_t deadline_ns);

/*
 * torc_completion_next - the next one that is done or cancelled; one named several times comes as often.
 *
 *   @ret_future  borrowed: written when 1 is returned
 *
 * Returns     1            one
 *             0            all have been returned
 *             -ETIMEDOUT   the deadline passed, or that of the calling fiber's scope
 *             -ECANCELED   the calling fiber's scope
 * Suspends    as torc_await, if none is done
 */
TORC_API TORC_MUST_CHECK int torc_completion_next(struct torc_completion *c,
						  struct torc_future **ret_future);

/* torc_completion_done - end it, at any time. Never suspends. */
TORC_API void torc_completion_done(struct torc_completion *c);

TORC_END_DECLS

#endif
