/*
 * core/group.h - structured concurrency: fibers live in groups, and a group is left only when all its
 * fibers have ended.
 *
 *	struct torc_group g;
 *
 *	torc_group_enter(&g);
 *	r = torc_group_spawn(&g, fetch, &a);
 *	if (!r)
 *		r = torc_group_spawn(&g, fetch, &b);
 *	if (r)
 *		torc_group_cancel(&g);
 *	r = torc_group_wait(&g);		always: it is also what closes the group
 *
 * A group is a scope too (core/scope.h): torc_group_enter begins it, torc_group_wait ends it. The first
 * fiber that fails (returns less than 0) cancels the group: its siblings, and the owner's calls up
 * to torc_group_wait, which returns that first failure. What a fiber returns because it was cancelled is no
 * failure: its own result is, when that is another error than its calls returned.
 *
 * For a known number of calls whose results are wanted, core/gather.h is shorter.
 */
#ifndef TORC_CORE_GROUP_H
#define TORC_CORE_GROUP_H

#include <torc/core/fiber.h>
#include <torc/core/scope.h>
#include <torc/core/sync.h>

TORC_BEGIN_DECLS

struct torc__wait;
struct torc__remote;
struct torc_failure;
struct torc_task;

/* Caller's memory until torc_group_wait has returned. The fields are private. */
struct torc_group {
	struct torc_scope scope; /* first: a scope that is_group is cast to its group */
	struct torc__fiber *children;
	struct torc__remote *remotes; /* children on other loops */
	size_t live;                  /* children of either kind that have not ended */
	struct torc__wait *waiter;    /* in torc_group_wait */
	struct torc__wait *collector; /* in torc_group_next */
	struct torc_task *ended;      /* not yet reported by it, oldest first */
	struct torc_task *ended_last; /* valid while there are any */
	size_t tasks;                 /* given at a spawn and not yet reported */
	struct torc_failure *failures;
	size_t failures_max, failures_count;
	int32_t failure; /* the first */
	uint8_t state;   /* enum torc__group_state */
	bool supervises; /* a failing child is no failure of the group */
	bool limited;
	struct torc_sem places; /* when limited: for how many more fibers there is room */
};

/* How to open a group; zeroed means the defaults. */
struct torc_group_options {
	/* A failing fiber harms nobody: its result reaches only who joins its task. For servers, where one
	 * connection's error is no other's. */
	bool supervisor;
	/* Fibers that run at the same time; 0: no limit. torc_group_spawn waits in line for a place. */
	uint32_t limit;
};

/*
 * A fiber's record in its spawner's memory: for those who want its result, or to cancel just it.
 * Valid until the group is left; for another fiber once torc_group_next has reported it. The fields are
 * private.
 */
struct torc_task {
	struct torc__fiber *fiber; /* NULL once it has ended, or while it is on another loop */
	struct torc__remote *remote;
	struct torc__wait *waiters;
	struct torc_task *next_ended;
	int32_t result;
	bool done;
	bool echo; /* the result is that of a cancellation */
};

/* How to spawn; zeroed means the defaults. */
struct torc_spawn_options {
	const char *name;   /* borrowed, must outlive the fiber (a literal); default: unnamed */
	size_t stack_bytes; /* default: the runtime's; rounded up to a power of two, at most 64 MiB */
	int loop;           /* 0: the caller's; TORC_ON_LOOP(index); TORC_ON_LEAST_LOADED */
	struct torc_task
		*task; /* filled in: to join or cancel the fiber; until the group is left */
	/* private: called with the spawn's argument when there is no room for the fiber on another loop */
	void (*unstarted)(void *arg, int error);
};

#define TORC_ON_LOOP(index) ((index) + 1)

/*
 * The loop that has least to do: with the fewest fibers that are ready or about to be started there, then with
 * the fewest fibers, then the caller's. What other loops tell of themselves is as old as their latest turn;
 * so when the fiber gets there and finds the loop full, or much busier than another, it is passed on before it
 * starts, once. A fiber that has started never moves.
 */
#define TORC_ON_LEAST_LOADED (-1)

/*
 * torc_group_enter - open a group in the calling fiber.
 *
 * torc_group_enter_supervisor is short for the option of that name.
 *
 *   @options  may be NULL
 *
 * Suspends    never
 * Thread      a fiber's
 */
TORC_API void torc_group_enter(struct torc_group *group);
TORC_API void torc_group_enter_supervisor(struct torc_group *group);
TORC_API void torc_group_enter_with(struct torc_group *group,
				    const struct torc_group_options *options);

/*
 * torc_group_spawn - start a fiber that runs fn(arg) in a group.
 *
 * It starts when the caller next suspends. In a group that is already cancelled it still runs, and its
 * first suspending call tells it.
 *
 * A fiber of any loop may spawn into a group of any loop, as long as it is certain that the group stays open
 * meanwhile: the caller, or a fiber that waits for it, is a fiber of that group. A group that has been left
 * is recognised, and traps, while its memory is not used for anything else.
 *
 * In a group with a limit, spawning waits until fewer fibers run, first come, first served, whichever loop
 * the callers are on. A fiber that spawns into its own group holds one place while it waits for another: when
 * all do, none goes on.
 *
 *   @arg  borrowed by the fiber
 *   @options  may be NULL; a task only on the group's own loop
 *
 * Returns     0
 *             -ENOMEM   no memory for a stack
 *             -EAGAIN   torc_options.fibers_max fibers are already on the loop
 *             -EINVAL   stack_bytes beyond 64 MiB, or no such loop
 *             -ECANCELED, -ETIMEDOUT   in a group with a limit: the caller's scope; nothing was started
 *
 * On another loop than the caller's, -ENOMEM and -EAGAIN are instead the fiber's own result: it fails, and so
 * does its group.
 *
 * Suspends    in a group with a limit, if so many run; else never
 * Thread      a fiber's, while the group is open
 */
TORC_API TORC_MUST_CHECK int torc_group_spawn(struct torc_group *group, torc_fn *fn, void *arg);
TORC_API TORC_MUST_CHECK int torc_group_spawn_with(struct torc_group *group,
						   const struct torc_spawn_options *options,
						   torc_fn *fn, void *arg);

/*
 * torc_group_cancel - ask all fibers of the group, and its owner inside it, to stop.
 *
 *   @reason  as torc_scope_cancel_with's
 *
 * Suspends    never
 * Thread      any fiber of the group's loop
 */
TORC_API void torc_group_cancel(struct torc_group *group);
TORC_API void torc_group_cancel_with(struct torc_group *group, const char *reason);

/*
 * torc_group_wait - wait until every fiber of the group has ended, and leave the group.
 *
 * Cancelling the caller does not cut this wait short: it cancels the fibers, and the wait goes on
 * until they have ended.
 *
 * Returns     0            all ended well, or were cancelled with torc_group_cancel
 *             < 0          the first failure of a fiber
 *             -ECANCELED   a scope around the group was cancelled
 *             -ETIMEDOUT   the deadline of the group's scope, or of one around it, passed
 * Suspends    if a fiber has not ended
 * Thread      the fiber that entered it
 */
TORC_API int torc_group_wait(struct torc_group *group);

/* One fiber that failed. */
struct torc_failure {
	int result;             /* < 0 */
	const char *name;       /* as given by whoever gave it last, or NULL */
	torc_fn *fn;            /* what it ran */
	void *arg;              /* and with what */
	const void *spawn_site; /* the address after the call that spawned it */
};

/*
 * torc_group_record_failures - keep each failure of a group's fibers, not only the first.
 *
 *	struct torc_failure failures[8];
 *
 *	torc_group_enter(&g);
 *	torc_group_record_failures(&g, failures, 8);
 *	...
 *	if (torc_group_wait(&g) < 0)
 *		for (size_t i = 0; i < 8 && i < torc_group_failure_count(&g); i++)
 *			...
 *
 * In the order of ending, the first included; failures of a supervised group's fibers too. What a fiber
 * returns because it was cancelled is none.
 *
 *   @failures  [max], borrowed until the group is left; valid afterwards
 *
 * torc_group_failure_count tells how many fibers have failed so far, which may be more than max. Valid after
 * the wait too, and without torc_group_record_failures.
 *
 * Suspends    never
 * Thread      any fiber of the group's loop; torc_group_record_failures before the first spawn
 */
TORC_API void torc_group_record_failures(struct torc_group *group, struct torc_failure *failures,
					 size_t max);
TORC_API size_t torc_group_failure_count(const struct torc_group *group);

/*
 * torc_group_next - wait for the next fiber of a group to end: tasks in the order in which they finish.
 *
 *	torc_group_enter_supervisor(&g);
 *	for (i = 0; i < n && !r; i++)
 *		r = torc_group_spawn_with(&g, &(struct torc_spawn_options){ .task = &jobs[i].task }, ...);
 *	while (!r && (r = torc_group_next(&g, &task)) > 0)
 *		r = use(container_of(task, struct job, task), torc_task_join(task));
 *	if (r < 0)
 *		torc_group_cancel(&g);
 *	torc_group_wait(&g);
 *
 * Reports each fiber that was spawned with a task once, also where it was joined before; its task's memory may
 * then be used for another fiber. Meant for groups of supervisors: in others the first failure cancels the
 * caller's wait too. What has ended is reported whatever the scope says; only waiting fails.
 *
 *   @ret_task  a task that has ended; torc_task_join tells the result at once
 *
 * Returns     1            a task
 *             0            none is left: every fiber with a task has been reported
 *             -ECANCELED, -ETIMEDOUT   the scope; none was taken out
 * Suspends    if fibers with tasks run and none has ended that was not reported
 * Thread      any fiber of the group's loop while the group is open; one at a time
 */
TORC_API TORC_MUST_CHECK int torc_group_next(struct torc_group *group, struct torc_task **ret_task);

/*
 * torc_task_join - wait for one fiber of a group and return what it returned.
 *
 * Returns     the fiber's result
 *             -ECANCELED, -ETIMEDOUT   the caller's scope; the fiber goes on
 * Suspends    if the fiber has not ended
 * Thread      any fiber of the group's loop, until the group is left
 */
TORC_API int torc_task_join(struct torc_task *task);

/*
 * torc_task_cancel - ask one fiber, and the groups it opened, to stop. Its -ECANCELED is then no
 * failure of the group.
 *
 *   @reason  as torc_scope_cancel_with's
 *
 * Suspends    never
 * Thread      any fiber of the group's loop, until the group is left
 */
TORC_API void torc_task_cancel(struct torc_task *task);
TORC_API void torc_task_cancel_with(struct torc_task *task, const char *reason);

/*
 * torc_detach - start a fiber that belongs to nobody but the runtime.
 *
 * It lives on this loop until it ends by itself or the first fiber's function has returned: then it is
 * cancelled and waited for. Its failure is nobody's.
 *
 * Returns     as torc_group_spawn
 *             -ECANCELED   the runtime is shutting down, and those of this loop have ended
 * Suspends    never
 * Thread      a fiber's
 */
TORC_API TORC_MUST_CHECK int torc_detach(const char *name, torc_fn *fn, void *arg);

TORC_END_DECLS

#endif
