#include <torc/executor/offload.h>

#include <errno.h>

#include "executor/internal/elastic.h"
#include "executor/internal/future.h"
#include "executor/internal/worker.h"

/*
 * The executor of the process stays until the process ends, and has no threads when it has had nothing to do. On the
 * simulator there is another one, which ends with the loops that use it.
 */
static struct torc_executor *of_process, *of_simulation;
static unsigned simulated_users;

static int create_for_process(struct torc_executor **ret_executor)
{
	struct torc_executor *new, *none = NULL;
	int r = torc_elastic_create(NULL, &new);

	if (r < 0)
		return r;
	*ret_executor = new;
	if (__atomic_compare_exchange_n(&of_process, &none, new, false, __ATOMIC_ACQ_REL,
					__ATOMIC_ACQUIRE))
		return 0;
	torc_executor_destroy(new); /* it has no threads */
	*ret_executor = none;
	return 0;
}

static void leave_simulation(void *executor)
{
	if (--simulated_users)
		return;
	of_simulation = NULL;
	torc__elastic_abandon(executor);
}

/* All on one thread. A thread of its own uses what a loop has created, for a loop has created that thread. */
static int join_simulation(struct torc_executor **ret_executor)
{
	struct torc__loop *loop = torc__loop();
	struct torc__attached *attached = loop ? &loop->attached[TORC__ATTACHED_OFFLOAD] : NULL;
	int r = 0;

	if (!of_simulation)
		r = torc_elastic_create(NULL, &of_simulation);
	if (r < 0)
		return r;
	if (attached && !attached->destroy) {
		*attached = (struct torc__attached){ of_simulation, leave_simulation };
		simulated_users++;
	}
	*ret_executor = of_simulation;
	return 0;
}

int torc_offload_executor(struct torc_executor **ret_executor)
{
	struct torc_executor *executor = __atomic_load_n(&of_process, __ATOMIC_ACQUIRE);

	if (torc__unlikely(torc__threads_simulated()))
		return join_simulation(ret_executor);
	if (torc__unlikely(!executor))
		return create_for_process(ret_executor);
	*ret_executor = executor;
	return 0;
}

struct call {
	torc_fn *fn;
	void *arg;
};

static int run_call(void *arg, void **ret_value)
{
	struct call *call = arg;

	(void)ret_value;
	return call->fn(call->arg);
}

/* It uses the caller's memory: wait until it has ended, or see to it that it never begins. */
static int finish(struct torc_future *f)
{
	int r = torc__event_await(&f->event, TORC_NEVER, f);

	if (r < 0 && torc_future_cancel(f))
		return r;
	if (r < 0)
		torc__event_await_shielded(&f->event);
	return torc__future_read(f, NULL);
}

int torc_offload_on(struct torc_executor *executor, torc_fn *fn, void *arg)
{
	struct call call = { fn, arg };
	struct torc_future *f;
	int r = torc_in_fiber() ? torc__scope_check(torc__self()) : 0;

	if (!r)
		r = torc_submit(executor, run_call, &call, &f);
	if (r < 0)
		return r;
	r = finish(f);
	torc_future_put(f);
	return r;
}

int torc_offload(torc_fn *fn, void *arg)
{
	struct torc_executor *executor;
	int r = torc_offload_executor(&executor);

	return r < 0 ? r : torc_offload_on(executor, fn, arg);
}
