/*
 * executor/process.h - a pool of processes: what crashes, leaks, or is not thread-safe stays in a process of its own.
 *
 *	int main(void)
 *	{
 *		torc_process_begin();			first of all: the workers of the pool go on from here
 *		return torc_run(NULL, app, NULL) < 0;
 *	}
 *
 *	r = torc_process_create(&(struct torc_process_options){ .workers = 4 }, &pool);
 *	r = torc_submit(pool, torc_process_call_run, &call, &f);	executor/call.h
 *	r = torc_await(f, NULL);				-EPIPE: its worker died of it
 *	torc_executor_destroy(pool);
 *
 * It is an executor whose tasks are calls: torc_submit, torc_submit_many, torc_map and everything that waits for futures
 * work as with threads. Functions that only make sense in one memory do not (torc_parallel_for, torc_map_gen, the steps of
 * torc_then): they fail with -EOPNOTSUPP.
 *
 * Where workers come from. The pool starts the running program once more, from the very same file, as its fork
 * server: it gets as far as torc_process_begin, without threads and without rings, and forks the workers from there.
 * So a worker has what constructors and the lines before that call have made, and nothing of the state of the program that
 * uses the pool. Its standard input is /dev/null; standard output, standard error, the environment and the directory are the
 * program's of the moment when the pool was created; no other descriptor is inherited. It is in a process group of its own,
 * so that ^C is for the program alone (and so that it cannot write to a terminal with `stty tostop`). Where a manager signals each
 * process of a service, workers get the signal too: systemd's KillMode=mixed leaves it to the program. A worker that is replaced,
 * or whose pool ends, ends by exit(3), which flushes and calls what was registered with atexit(3).
 *
 * Functions travel as a place in the program or in one of its shared libraries, which is looked for in the worker:
 * addresses may differ. A library that the worker does not have is loaded there (dlopen(3)). It must be the very same one.
 *
 * When a worker dies (a signal, exit(3), a limit), the future of the call that it was running fails with -EPIPE, and
 * the call's wait_status tells how; other calls go on, and another worker takes its place. Processes that a call has
 * started and left in the worker's group end with the worker; a child that returns from the call's function ends there.
 * When the program dies, however that happens, so do the fork server and the workers. The fork server is the program's
 * child, and ends with the pool; workers are the children of the fork server, so wait(2) tells nothing of them.
 *
 * A worker is given some calls ahead of time. Until such a call begins it can be cancelled, or go to another worker, although
 * its future is TORC_RUNNING already.
 *
 * Calls are passed through shared memory, and neither side makes a system call for one unless the other one sleeps. An
 * argument or a result is copied once, by the side of the program; what is in memory of torc_process_alloc is not. Results are
 * taken by who has submitted a call, when its loop turns or when it waits as a thread; then it may take those of others as
 * well, and runs what torc_future_on_done has added to them.
 *
 * For a limit of time: torc_await_until, then torc_future_cancel with kill_on_cancel set.
 */
#ifndef TORC_EXECUTOR_PROCESS_H
#define TORC_EXECUTOR_PROCESS_H

#include <torc/executor/call.h>

TORC_BEGIN_DECLS

/*
 * torc_process_begin - the place in a program from where its workers go on. In a worker, and in the fork server, it does not
 * return. In the program itself it does nothing.
 *
 * To be called before there are threads or rings: first in main, or by a constructor.
 *
 * Suspends    never
 * Thread      the only one
 */
TORC_API void torc_process_begin(void);

/* Zeroed means the defaults. */
struct torc_process_options {
	unsigned
		workers; /* processes, at most 256; 0: as many as there are cores for this process */
	/*
	 * Run in each worker before its first call; its argument is copied, at most 3072 bytes, and there is no result. When it
	 * fails the pool is broken: all that it has, and every torc_submit, fails with -EPIPE. NULL: none.
	 */
	const struct torc_process_call *initializer;
	uint64_t
		calls_max; /* a worker that was given so many is replaced when it has run them; 0: none is */
	size_t memory_max; /* bytes of addresses that a worker may have besides those that it starts with (RLIMIT_AS); 0: no
	                    * limit. More is refused, by malloc(3) for instance; what it makes of that is its own matter */
	unsigned
		cpu_seconds; /* that a call may use, rounded up; beyond it the worker dies of SIGXCPU (RLIMIT_CPU). 0: no limit */
	int nice;            /* added to the niceness that they inherit (nice(2)) */
	size_t queue_max; /* calls that have not begun; 0: no limit; beyond it submitting fails with -EAGAIN. One
	                   * that is cancelled counts until its turn has come */
	size_t message_max; /* bytes of argument and result of one call, together, that are to be copied; 0: 1 GiB */
	size_t shared_max; /* bytes of torc_process_alloc; 0: 1 GiB. Both cost addresses, and memory only when it is used */
	bool kill_on_cancel; /* torc_future_cancel of a call that runs kills its worker, and returns true; the future is done,
	                      * with -ECANCELED, when the worker is dead */
	bool break_on_crash; /* a worker that dies, whatever it was doing, breaks the pool, as an initializer that fails */
};

/*
 * torc_process_create - start a pool. It returns when the fork server is there; the workers are on their way.
 *
 *   @options   may be NULL; copied
 *   @ret_pool  to be destroyed: torc_executor_destroy
 *
 * Returns     0
 *             -ENOEXEC   torc_process_begin was not called by this program
 *             -EINVAL    an option out of its range, or an initializer that is no function of the program
 *             -EPERM     the caller is a worker of such a pool; or the program is a privileged one (AT_SECURE, getauxval(3)),
 *                        which does not start itself at the wish of its environment
 *             -ESTALE    the program that was started is not this one: torc's shared library was replaced
 *             -EPIPE     the fork server died before it had begun: for instance as the program was started by naming the
 *                        loader, as in ld.so PROGRAM, which cannot be started once more
 *             -ENOSYS    on the simulator; or Linux before 5.16
 *             -ENOMEM, -EAGAIN, -EMFILE, -ENFILE, -ENOENT, -EACCES, -EFBIG   no memory or addresses, thread, process
 *                        or descriptor; /proc/self/exe could not be started; or RLIMIT_FSIZE forbids the region
 *             -ECANCELED, -ETIMEDOUT   the calling fiber's scope
 * Suspends    always
 * Thread      any but in a task of itself
 * Source      posix_spawn(3), prctl(2) PR_SET_PDEATHSIG, memfd_create(2), futex(2)
 *
 * torc_submit, beyond what executor/executor.h says, returns
 *             -EOPNOTSUPP  the function is not torc_process_call_run
 *             -EINVAL      the call's function is none of the program nor of a shared library that is loaded
 *             -EMFILE, -ENAMETOOLONG   functions of more than 63 libraries in the life of the pool; a library's path of more
 *                          than 463 bytes
 *             -EMSGSIZE    argument and result are more than message_max
 *             -EPIPE       the pool is broken: an initializer failed, workers die before they begin, a worker died and
 *                          break_on_crash was set, or the fork server died
 * and the future of a call has, besides what its function returns,
 *             -EPIPE       its worker died, or the pool was broken: the call's wait_status
 *             -ESTALE      its function's shared library is a different one there; nothing was run
 *             -ENOENT      its function's shared library could not be loaded there; nothing was run
 *             -EMSGSIZE    its function made result_bytes more than there was room for
 *             -ENOMEM      no memory for the copy of its argument and its result; nothing was run
 *             -ECANCELED   it was cancelled while it ran, and kill_on_cancel was set: it is over once the worker is
 */
TORC_API TORC_MUST_CHECK int torc_process_create(const struct torc_process_options *options,
						 struct torc_executor **ret_pool);

/*
 * torc_process_terminate_workers - send SIGTERM to all workers; torc_process_kill_workers - SIGKILL. The pool is shut
 * down: running calls fail with -EPIPE, unless they end in time, and those not begun are cancelled.
 *
 * Returns     0; torc_executor_shutdown or torc_executor_destroy wait for the end
 * Suspends    never
 * Thread      any
 */
TORC_API int torc_process_terminate_workers(struct torc_executor *pool);
TORC_API int torc_process_kill_workers(struct torc_executor *pool);

/*
 * torc_process_alloc - memory that the program and the workers share: arguments and results in it are not copied.
 *
 * A worker may write to all of it: its calls are as careful with each other's as threads are. It ends with the pool.
 *
 *   @bytes  rounded up to whole pages
 *
 * Returns     the memory, which may hold anything, to be freed; NULL: no memory, or more than shared_max
 * Suspends    never
 * Thread      any
 */
TORC_API void *torc_process_alloc(struct torc_executor *pool, size_t bytes);

/* torc_process_free - give it back, once no call uses it; NULL: nothing. Never suspends. Any thread. */
TORC_API void torc_process_free(struct torc_executor *pool, void *memory);

/* torc_process_worker - in a worker its index, 0 .. workers-1; -1 anywhere else. Never suspends. Any thread. */
TORC_API int torc_process_worker(void);

/* What a pool has done so far, and does; each figure as it was. */
struct torc_process_stats {
	unsigned workers; /* that are ready, or run something */
	unsigned idle;    /* of these */
	size_t queued;    /* calls that have not begun */
	uint64_t calls;   /* that have ended, however */
	uint64_t crashes; /* of these, because their worker died */
	uint64_t started; /* workers, in all */
	int error; /* 0, or why the pool is broken: what its initializer returned; -EPIPE: processes died; another negative
	            * errno: none could be forked */
	size_t shared_bytes; /* of torc_process_alloc in use */
};

/* torc_process_stats - of a pool that torc_process_create made. Never suspends. Any thread. */
TORC_API void torc_process_stats(struct torc_executor *pool, struct torc_process_stats *ret_stats);

/*
 * torc_process_pids - the process ids of the workers that live, as it was: for a monitor. `ret_pids` has room for `most`.
 *
 * Returns     how many there are
 * Suspends    never
 * Thread      any
 */
TORC_API size_t torc_process_pids(struct torc_executor *pool, int *ret_pids, size_t most);

TORC_END_DECLS

#endif
