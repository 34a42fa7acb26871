/*
 * executor/spawn.c - torc_future_spawn: a fiber's result as a future.
 */
#include <errno.h>

#include "core/internal/group.h"
#include "executor/internal/future.h"

/* The fiber's function is the future's; it has the executor's reference. */
static int run_in_fiber(void *arg)
{
	struct torc_future *f = arg;
	void *value = NULL;
	int status;

	if (!torc__future_start(f)) {
		torc_future_put(f);
		return 0;
	}
	status = f->fn(f->arg, &value);
	torc__future_complete(f, status, value);
	return status;
}

static void no_room(void *arg, int error)
{
	struct torc_future *f = arg;

	if (torc__future_start(f))
		torc__future_complete(f, error, NULL);
	else
		torc_future_put(f);
}

int torc_future_spawn(struct torc_group *group, const struct torc_spawn_options *options,
		      torc_work_fn *fn, void *arg, struct torc_future **ret_future)
{
	struct torc_spawn_options o = { .name = options ? options->name : NULL,
					.stack_bytes = options ? options->stack_bytes : 0,
					.loop = options ? options->loop : 0,
					.unstarted = no_room };
	struct torc_future *f = torc__future_new(fn, arg, NULL, 2);
	int r;

	if (!f)
		return -ENOMEM;
	/* Another fiber will complete it: that may never happen, and is no hope of this loop's. */
	__atomic_fetch_and(&f->event.state, ~TORC__EVENT_EXPECTED, __ATOMIC_RELAXED);
	r = torc__group_spawn(group, &o, run_in_fiber, f, __builtin_return_address(0));
	if (r < 0) {
		torc_future_put(f);
		torc_future_put(f);
		return r;
	}
	*ret_future = f;
	return 0;
}
