/*
 * executor/executor.h - executors: something that runs functions elsewhere, and what all of them have in common.
 *
 *	struct torc_executor *pool;
 *	struct torc_future *f;
 *
 *	r = torc_pool_create(NULL, &pool);			executor/pool.h: threads, one per core
 *	r = torc_submit(pool, parse, document, &f);
 *	r = torc_await(f, &value);
 *	torc_future_put(f);
 *	torc_executor_destroy(pool);
 *
 * There are torc's own: a pool of threads that share work (executor/pool.h), one that grows for calls that block
 * (executor/offload.h), and a pool of processes (executor/process.h). Everything that takes an executor (executor/wait.h, executor/map.h, torc_then) works with
 * others too: whoever has something that runs functions writes the three functions of struct torc_executor_ops.
 */
#ifndef TORC_EXECUTOR_EXECUTOR_H
#define TORC_EXECUTOR_EXECUTOR_H

#include <torc/executor/future.h>

TORC_BEGIN_DECLS

struct torc_map;

/*
 * torc_submit - have fn(arg) run, and its result in a future.
 *
 *   @arg         borrowed until the future is done
 *   @ret_future  a reference, to be put; NULL: nobody wants the result
 *
 * Returns     0
 *             -EAGAIN      its queue is full, and it was made not to wait then (or a thread could not be started)
 *             -ESHUTDOWN   it was shut down
 *             -EPIPE       it is broken: an initializer of its workers has failed
 *             -ENOMEM      no memory
 *             -ECANCELED, -ETIMEDOUT   the calling fiber's scope, while it waited for room in the queue
 * Suspends    if its queue is full, and it was made to wait then; other threads sleep
 * Thread      any
 */
TORC_API TORC_MUST_CHECK int torc_submit(struct torc_executor *executor, torc_work_fn *fn,
					 void *arg, struct torc_future **ret_future);

/*
 * torc_submit_many - submit fn(args[0]), fn(args[1]) and so on: one call, one piece of memory, one wake-up.
 *
 *   @args         [count]; each as torc_submit's
 *   @ret_futures  [count], one reference each, to be put
 *
 * Returns     0     all were submitted
 *             < 0   as torc_submit, for one of them: those before it were cancelled, and waited for where they had begun
 *                   already; no argument is in use any more
 * Suspends    as torc_submit
 * Thread      any
 */
TORC_API TORC_MUST_CHECK int torc_submit_many(struct torc_executor *executor, torc_work_fn *fn,
					      void *const *args, size_t count,
					      struct torc_future **ret_futures);

/* Cancel what has not been started yet, when shutting down. */
#define TORC_CANCEL_PENDING 1u
/* Do not wait until all work has been done. */
#define TORC_NO_WAIT 2u

/*
 * torc_executor_shutdown - take no more work, and wait until all there is has been done.
 *
 * May be called again, for instance to wait after TORC_NO_WAIT.
 *
 *   @flags  TORC_CANCEL_PENDING, TORC_NO_WAIT, or 0
 *
 * Returns     0            all work is done; with TORC_NO_WAIT it may not be
 *             -EDEADLK     the caller is one of its own workers, and wants to wait; it takes no more work all the same
 *             -ECANCELED, -ETIMEDOUT   the calling fiber's scope ended the wait; it takes no more work all the same
 * Suspends    unless TORC_NO_WAIT is given or nothing is left to do; other threads sleep
 * Thread      any
 */
TORC_API int torc_executor_shutdown(struct torc_executor *executor, unsigned flags);

/*
 * torc_executor_destroy - shut it down, wait as long as it takes, also in a cancelled scope, and free it.
 *
 * Futures remain valid. Traps in one of its own workers.
 *
 *   @executor  may be NULL
 *
 * Suspends    unless nothing is left to do; other threads sleep
 * Thread      any but its workers, and nobody else uses it any more
 */
TORC_API void torc_executor_destroy(struct torc_executor *executor);

/*
 * torc_executor_parallelism - into how many parts work for it is best cut: a pool's number of workers, and at most 32 of an
 * elastic one. Never suspends. Any thread.
 */
TORC_API unsigned torc_executor_parallelism(const struct torc_executor *executor);

/* ---- to write an executor ----------------------------------------------------------------------------- */

/*
 * An executor is a structure that begins with this one. torc has nothing to do with its memory.
 *
 *	struct mine {
 *		struct torc_executor executor;		first, set to { .ops = &ops, .parallelism = 4 }
 *		...
 *	};
 */
struct torc_executor {
	const struct torc_executor_ops *ops;
	unsigned parallelism; /* a hint, at least 1: into how many parts work is cut */
};

struct torc_executor_ops {
	const char *name;
	/*
	 * Take futures, and see to it that torc_future_run is called for each, once and on any thread. (Or ask for its
	 * function with torc_future_work, and use torc_future_start, torc_future_set and torc_future_fail: to run it on
	 * another machine, say; then put it.) Each comes with a reference, which torc_future_run takes.
	 *
	 * Returns how many of them it took, the first ones, or a negative errno when it took none (0 is taken for -EAGAIN). When it took some
	 * but not all it is asked again for the rest, which is its chance to say why.
	 */
	int (*submit)(struct torc_executor *executor, struct torc_future *const *futures,
		      size_t count);
	/*
	 * Somebody wants this future, which it has taken, to be cancelled. If it is running: stop it if that is
	 * possible, have it fail, and return true; or return false. May be NULL: then what runs goes on. What was
	 * not started need not be given back: torc_future_run knows.
	 */
	bool (*cancel)(struct torc_executor *executor, struct torc_future *f);
	/* torc_executor_shutdown. */
	int (*shutdown)(struct torc_executor *executor, unsigned flags);
	/* torc_executor_destroy; after a shutdown that waited as long as it took. May be NULL. */
	void (*destroy)(struct torc_executor *executor);
	/* torc_map (executor/map.h), done another way than by torc_submit. May be NULL. */
	int (*map)(struct torc_executor *executor, const struct torc_map *map);
};

/*
 * torc_future_run - run the function of a future on the calling thread, unless it was cancelled; takes the
 * reference.
 *
 * Suspends    what the function does
 * Thread      any, once
 */
TORC_API void torc_future_run(struct torc_future *f);

/*
 * torc_future_work - its function and argument; borrowed as these are.
 *
 * Suspends    never
 * Thread      whoever has taken it and has not completed it yet
 */
TORC_API torc_work_fn *torc_future_work(const struct torc_future *f, void **ret_arg);

TORC_END_DECLS

#endif
