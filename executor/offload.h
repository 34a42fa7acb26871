/*
 * executor/offload.h - calls that block: run them on another thread, and let the loop go on.
 *
 *	struct lookup l = { .name = name };
 *
 *	r = torc_offload(resolve, &l);			like resolve(&l), but only this fiber waits
 *
 * The threads are few while little blocks and many when much does: a call that finds none idle starts one more, up to a
 * limit, beyond which calls wait in line; an idle thread ends after some time.
 */
#ifndef TORC_EXECUTOR_OFFLOAD_H
#define TORC_EXECUTOR_OFFLOAD_H

#include <torc/core/fiber.h>
#include <torc/executor/executor.h>

TORC_BEGIN_DECLS

/*
 * torc_offload - call fn(arg) on another thread, and return what it returns.
 *
 * A blocking call cannot be cut short from outside. So when the fiber's scope is cancelled, a call that has not been begun
 * is not; one that has is waited for, since it uses the caller's memory, and its result is returned. For what is
 * not to be waited for, submit to torc_offload_executor, with memory that the function frees.
 *
 *   @arg  borrowed until it returns
 *
 * Returns     what fn returned
 *             -ECANCELED, -ETIMEDOUT   the scope: fn was not called
 *             -EAGAIN                  a thread could not be started, and there is none
 *             -ENOMEM                  no memory
 * Suspends    in a fiber, always; another thread sleeps
 * Thread      any
 */
TORC_API TORC_MUST_CHECK int torc_offload(torc_fn *fn, void *arg);

/*
 * torc_offload_executor - the executor behind it, which the process shares: for torc_submit and the like. Not to be
 * shut down or destroyed. Has at most 512 threads, and ends those that have been idle for 5 seconds.
 *
 * Returns     0
 *             -ENOMEM   no memory
 * Suspends    never
 * Thread      any
 */
TORC_API TORC_MUST_CHECK int torc_offload_executor(struct torc_executor **ret_executor);

/* Zeroed means the defaults. */
struct torc_elastic_options {
	unsigned threads_max; /* at most 32768; 0: 512 */
	uint64_t
		idle_ns; /* after so long without work a thread ends; 0: 5 s; TORC_NEVER: it stays */
	const char *
		name; /* of the threads, with a number behind it; 15 characters count. Default "offload" */
	size_t queue_max; /* calls that wait for a thread; 0: no limit; beyond it submitting fails with -EAGAIN */
	size_t stack_bytes; /* of each thread, at least 16384; 0: the system's default */
	int nice; /* 0..19: what the threads take from their priority, so that loops come first (nice(2)) */
};

/*
 * torc_elastic_create - an executor of this kind of one's own.
 *
 * Its threads wait like any other thread: a task that waits for others of the same executor keeps its thread.
 *
 *   @options  may be NULL; copied
 *   @ret      to be destroyed: torc_executor_destroy
 *
 * Returns     0
 *             -EINVAL   an option out of its range
 *             -ENOMEM   no memory
 * Suspends    never
 * Thread      any. In a program that runs on the simulator, a fiber's, and it is destroyed before torc_run ends
 */
TORC_API TORC_MUST_CHECK int torc_elastic_create(const struct torc_elastic_options *options,
						 struct torc_executor **ret);

/*
 * torc_offload_on - torc_offload, on an executor of any kind.
 *
 * Returns     what fn returns, or -ECANCELED, -ETIMEDOUT as torc_offload, or as torc_submit
 * Suspends    yes; in a thread it waits
 * Thread      any
 */
TORC_API TORC_MUST_CHECK int torc_offload_on(struct torc_executor *executor, torc_fn *fn,
					     void *arg);

/* torc_elastic_threads - how many threads it has just now. Never suspends. Any thread. */
TORC_API unsigned torc_elastic_threads(const struct torc_executor *executor);

TORC_END_DECLS

#endif
