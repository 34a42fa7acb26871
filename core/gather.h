/*
 * core/gather.h - several calls at once: all of them, or the first.
 *
 *	struct torc_call calls[] = {
 *		{ .fn = fetch, .arg = &a },
 *		{ .fn = fetch, .arg = &b },
 *	};
 *
 *	r = torc_gather(calls, 2);
 *
 * Each call runs in a fiber of its own, and all have ended when these functions return: nothing they use needs to
 * live longer. No memory is allocated but for the fibers' stacks.
 *
 * Whatever is returned, calls[i].result holds what became of each call: what its function returned, or the
 * error that kept it from being started. A call that was told to stop may still have succeeded, for what has
 * completed is never lost: who acquires something in a call looks at its result, and cleans up.
 *
 * The caller's scope: when it is cancelled already, nothing is started, and every result is its status. When
 * it is cancelled meanwhile, so are the calls, and they are waited for.
 */
#ifndef TORC_CORE_GATHER_H
#define TORC_CORE_GATHER_H

#include <torc/core/fiber.h>
#include <torc/core/group.h>

TORC_BEGIN_DECLS

/* One call; zero what is not set. Caller's memory. */
struct torc_call {
	torc_fn *fn;
	void *arg;
	const char *name;      /* of the fiber; borrowed, a literal; may be NULL */
	int loop;              /* as in struct torc_spawn_options */
	int result;            /* filled in, always */
	struct torc_task task; /* private */
};

/*
 * torc_gather - run calls concurrently, until all have succeeded or one has failed.
 *
 * The first failure cancels the rest.
 *
 *   @calls  [n]
 *   @n      0: nothing to do
 *
 * Returns     0            all succeeded: each result is 0 or more
 *             < 0          the first failure, in time
 *             -EAGAIN, -ENOMEM, -EINVAL   a fiber could not be started (torc_group_spawn); the rest was cancelled
 *             -ECANCELED, -ETIMEDOUT   the caller's scope, and not all succeeded all the same
 * Suspends    if n is not 0
 * Thread      a fiber's
 */
TORC_API TORC_MUST_CHECK int torc_gather(struct torc_call *calls, size_t n);

/*
 * torc_gather_all - run calls concurrently, each to its own end: a failure cancels nobody.
 *
 * Returns     0..n         so many failed, or could not be started
 *             -ECANCELED, -ETIMEDOUT   the caller's scope cut some of them short
 * Suspends    if n is not 0
 * Thread      a fiber's
 */
TORC_API TORC_MUST_CHECK int torc_gather_all(struct torc_call *calls, size_t n);

enum torc_race_end {
	TORC_FIRST_SUCCESS, /* the first call that returns 0 or more; those that fail drop out */
	TORC_FIRST_DONE,    /* the first call that returns at all */
};

/*
 * torc_race - run calls concurrently; the first one wins, and the rest is cancelled.
 *
 * A loser may have succeeded before it heard of that: see its result, and clean up after it.
 *
 *   @ret_winner  the winner's index; not written when no call won. May be NULL
 *
 * Returns     the winner's result
 *             < 0        TORC_FIRST_SUCCESS and all failed: the first failure, in time
 *             -EINVAL    n is 0: nobody can win
 *             -EAGAIN, -ENOMEM, -EINVAL   a fiber could not be started, and no call had won; the rest was
 *                        cancelled
 *             -ECANCELED, -ETIMEDOUT   the caller's scope, and no call won all the same
 * Suspends    if n is not 0
 * Thread      a fiber's
 */
TORC_API TORC_MUST_CHECK int torc_race(struct torc_call *calls, size_t n, enum torc_race_end end,
				       size_t *ret_winner);

TORC_END_DECLS

#endif
