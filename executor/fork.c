/*
 * executor/fork.c - jobs: tasks in the memory of who forks them.
 *
 *	          thief                 thief
 *	FORKED ---------> (running) ------------> DONE
 *	   |  \                                    ^
 *	   |   +--------> WAITED ------------------+
 *	   |     join, it is not in the deque
 *	   +---> (run in torc_join: no state)
 */
#include <torc/executor/fork.h>

#include "executor/internal/worker.h"

enum job_state {
	FORKED,
	WAITED = 1,
	DONE = 2,
};

void torc_fork(struct torc_job *job, torc_work_fn *fn, void *arg)
{
	struct torc__worker *w = torc__worker_here();

	job->fn = fn;
	job->arg = arg;
	job->state = FORKED;
	job->worker = w;
	if (torc__unlikely(!w))
		return;
	if (torc__likely(torc__deque_push(&w->deque, (uintptr_t)job | TORC__TASK_JOB)))
		torc__pool_pushed(w->pool);
	else
		job->worker = NULL;
}

static inline int run_here(struct torc_job *job, void **ret_value)
{
	void *value = NULL;
	int status = job->fn(job->arg, &value);

	if (ret_value && status >= 0)
		*ret_value = value;
	return status;
}

void torc__job_run(struct torc_job *job)
{
	struct torc__worker *owner = job->worker;
	void *value = NULL;

	job->status = job->fn(job->arg, &value);
	job->value = value;
	/* Its memory is gone as soon as its owner sees this. */
	if (__atomic_exchange_n(&job->state, DONE, __ATOMIC_SEQ_CST) == WAITED)
		torc__worker_unpark(owner);
}

/* It was stolen: help until the thief is through with it. */
static __attribute__((noinline)) void wait_for_thief(struct torc__worker *w, struct torc_job *job)
{
	const struct torc__until until = { &job->state, DONE, TORC_NEVER };
	uint32_t forked = FORKED;
	uintptr_t task;

	if (!__atomic_compare_exchange_n(&job->state, &forked, WAITED, false, __ATOMIC_SEQ_CST,
					 __ATOMIC_ACQUIRE))
		return;
	while ((task = torc__worker_next(w, &until)))
		torc__task_run(w, task);
}

/* What was forked or submitted later is still in the deque, or it was stolen. */
static __attribute__((noinline)) int join_slowly(struct torc__worker *w, struct torc_job *job,
						 uintptr_t task, void **ret_value)
{
	const uintptr_t own = (uintptr_t)job | TORC__TASK_JOB;

	for (; task && task != own; task = torc__deque_pop(&w->deque)) {
		torc__task_run(w, task);
		if (__atomic_load_n(&job->state, __ATOMIC_ACQUIRE) == DONE)
			break;
	}
	if (task == own)
		return run_here(job, ret_value);
	if (__atomic_load_n(&job->state, __ATOMIC_ACQUIRE) != DONE)
		wait_for_thief(w, job);
	if (ret_value && job->status >= 0)
		*ret_value = job->value;
	return job->status;
}

int torc_join(struct torc_job *job, void **ret_value)
{
	struct torc__worker *w = job->worker;
	uintptr_t task;

	if (torc__unlikely(!w))
		return run_here(job, ret_value);
	if (torc__unlikely(__atomic_load_n(&job->state, __ATOMIC_ACQUIRE) == DONE))
		return join_slowly(w, job, 0, ret_value);
	task = torc__deque_pop(&w->deque);
	if (torc__likely(task == ((uintptr_t)job | TORC__TASK_JOB)))
		return run_here(job, ret_value);
	return join_slowly(w, job, task, ret_value);
}
