/*
 * executor/fork.h - divide and conquer: fork parts of a computation, and join them.
 *
 *	static int sum(void *arg, void **ret_value)
 *	{
 *		struct range *r = arg, left, right;
 *		struct torc_job job;
 *		void *a, *b;
 *
 *		if (small(r))
 *			return sum_up(r, ret_value);
 *		split(r, &left, &right);
 *		torc_fork(&job, sum, &left);			may run elsewhere, from now on
 *		(void)sum(&right, &b);				meanwhile, the other half
 *		(void)torc_join(&job, &a);
 *		*ret_value = add(a, b);
 *		return 0;
 *	}
 *
 * A fork costs some nanoseconds: a job is the caller's memory, no future, and most jobs are run by who forked
 * them. Only workers of a thread pool fork in earnest; anywhere else, and when there is no memory for more, the
 * job runs in torc_join. So the same function can be used everywhere: submit it to a pool to have it run in parallel.
 */
#ifndef TORC_EXECUTOR_FORK_H
#define TORC_EXECUTOR_FORK_H

#include <torc/executor/executor.h>

TORC_BEGIN_DECLS

/* Caller's memory from torc_fork until torc_join has returned. The fields are private. */
struct torc_job {
	torc_work_fn *fn;
	void *arg;
	void *value;
	int32_t status;
	uint32_t state;
	struct torc__worker *worker; /* who forked it; NULL: torc_join will run it */
};

/*
 * torc_fork - offer fn(arg) to the other workers of this pool.
 *
 *   @job  to be joined by the same function, whatever happens: in the reverse order of forking is fastest
 *   @arg  borrowed until then
 *
 * Suspends    never
 * Thread      any
 */
TORC_API void torc_fork(struct torc_job *job, torc_work_fn *fn, void *arg);

/*
 * torc_join - run a job that nobody has taken, or wait for who has.
 *
 * The worker runs other tasks while it waits.
 *
 *   @ret_value  written when 0 or more is returned; may be NULL
 *
 * Returns     the status of its function
 * Suspends    never; in a fiber the job runs at once, and may suspend as it likes
 * Thread      that of torc_fork
 */
TORC_API TORC_MUST_CHECK int torc_join(struct torc_job *job, void **ret_value);

TORC_END_DECLS

#endif
