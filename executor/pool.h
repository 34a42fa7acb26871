/*
 * executor/pool.h - a pool of threads for work that computes.
 *
 * Each worker has tasks of its own and takes the latest first; what tasks submit while they run stays with their
 * worker, until another one has nothing to do and steals the oldest. What comes from outside (fibers, other threads)
 * is run in the order in which each thread submits it; between threads the order is not kept, but none is starved. Now and
 * then the oldest task goes first, so that tasks that submit themselves starve nobody. Idle workers sleep. For functions that block (files, locks, name
 * resolution) use executor/offload.h: here they keep a core from being used.
 *
 * A task may submit tasks and wait for them: its worker runs other tasks of the pool meanwhile, on top of the waiting
 * one's stack. So do not wait while you hold a lock that other tasks of the pool take. (A generator that waits in a task
 * runs on its own stack only what that task has submitted: give it room for that.) Many small pieces of one
 * computation are cheaper with executor/fork.h.
 *
 * A task runs on a plain thread, not in a fiber: what says "Thread a fiber's" traps. A task that crashes crashes
 * the program; an error is its future's.
 */
#ifndef TORC_EXECUTOR_POOL_H
#define TORC_EXECUTOR_POOL_H

#include <torc/executor/executor.h>

TORC_BEGIN_DECLS

enum torc_when_full {
	TORC_FULL_WAIT, /* the submitter waits in line: a fiber suspends, a thread sleeps */
	TORC_FULL_FAIL, /* it gets -EAGAIN */
};

/* Zeroed means the defaults. */
struct torc_pool_options {
	unsigned
		workers; /* threads, at most 1024; 0: as many as there are cores for this process */
	const char *
		name; /* of the threads, with a number behind it; 15 characters count. Default "pool" */
	size_t queue_max; /* tasks from outside that wait to be taken; 0: no limit. What workers submit does not count */
	enum torc_when_full when_full;
	/*
	 * Run on each worker before its first task, and after its last; `index` is 0 .. workers-1. When an initializer
	 * fails the pool is broken: what it has not started fails with -EPIPE, and so does every torc_submit. A worker
	 * whose initializer has failed, or never ran, is not finalized. May be NULL.
	 */
	int (*initializer)(void *arg, unsigned index);
	void (*finalizer)(void *arg, unsigned index);
	void *arg; /* borrowed until the pool is destroyed */
	size_t stack_bytes; /* of each thread, at least 16384; 0: the system's default (pthread_attr_init(3)) */
	const int *
		cpus; /* [cpus_count]: worker i is bound to cpus[i % cpus_count]; copied. NULL: not bound */
	size_t cpus_count;
};

/*
 * torc_pool_create - start a pool.
 *
 *   @options   may be NULL; copied, but for `arg` and what it points to
 *   @ret_pool  to be destroyed: torc_executor_destroy
 *
 * Returns     0
 *             -EINVAL   an option out of its range, or a CPU that this process may not use
 *             -ENOMEM   no memory
 *             -EAGAIN   a thread could not be started (pthread_create(3))
 * Suspends    in a fiber, when not all threads could be started: until the others have ended
 * Thread      any. In a program that runs on the simulator, a fiber's, and it is destroyed before torc_run ends
 */
TORC_API TORC_MUST_CHECK int torc_pool_create(const struct torc_pool_options *options,
					      struct torc_executor **ret_pool);

/* What a pool has done so far, and does; each figure as it was. */
struct torc_pool_stats {
	unsigned workers, idle; /* threads; those asleep */
	size_t queued; /* tasks from outside that no worker has taken; it takes several at a time */
	uint64_t tasks;  /* run */
	uint64_t stolen; /* of these, taken from another worker */
	uint64_t parks;  /* times that a worker went to sleep */
	uint64_t wakes;  /* system calls to wake one */
};

/* torc_pool_stats - of a pool that torc_pool_create made. Never suspends. Any thread. */
TORC_API void torc_pool_stats(struct torc_executor *pool, struct torc_pool_stats *ret_stats);

TORC_END_DECLS

#endif
