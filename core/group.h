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
 * to torc_group_wait, which returns that first failure.
 */
#ifndef TORC_CORE_GROUP_H
#define TORC_CORE_GROUP_H

#include <torc/core/fiber.h>
#include <torc/core/scope.h>

TORC_BEGIN_DECLS

struct torc__wait;
struct torc__remote;

/* Caller's memory until torc_group_wait has returned. The fields are private. */
struct torc_group {
	struct torc_scope scope; /* first: a scope that is_group is cast to its group */
	struct torc_group *outer;
	struct torc__fiber *children;
	struct torc__remote *remotes; /* children on other loops */
	struct torc__wait *waiter;
	size_t live; /* children of either kind that have not ended */
	int32_t failure;
	bool supervises; /* a failing child is no failure of the group */
};

/*
 * A fiber's record in its spawner's memory: for those who want its result, or to cancel just it.
 * Valid until the group is left. The fields are private.
 */
struct torc_task {
	struct torc__fiber *fiber; /* NULL once it has ended, or while it is on another loop */
	struct torc__remote *remote;
	struct torc__wait *waiters;
	int32_t result;
	bool done;
};

/* How to spawn; zeroed means the defaults. */
struct torc_spawn_options {
	const char *name;   /* borrowed, must outlive the fiber (a literal); default: unnamed */
	size_t stack_bytes; /* default: the runtime's; rounded up to a power of two, at most 64 MiB */
	int loop;           /* 0: this loop; n: the loop with index n - 1 (TORC_ON_LOOP) */
	struct torc_task
		*task; /* filled in: to join or cancel the fiber; until the group is left */
};

#define TORC_ON_LOOP(index) ((index) + 1)

/*
 * torc_group_enter - open a group in the calling fiber.
 *
 * torc_group_enter_supervisor opens one in which a failing fiber harms nobody: its result reaches
 * only who joins its task. For servers, where one connection's error is no other's.
 *
 * Suspends    never
 * Thread      a fiber's
 */
TORC_API void torc_group_enter(struct torc_group *group);
TORC_API void torc_group_enter_supervisor(struct torc_group *group);

/*
 * torc_group_spawn - start a fiber that runs fn(arg) in a group.
 *
 * It starts when the caller next suspends. In a group that is already cancelled it still runs, and its
 * first suspending call tells it.
 *
 *   @arg  borrowed by the fiber
 *   @options  may be NULL
 *
 * Returns     0
 *             -ENOMEM   no memory for a stack
 *             -EAGAIN   torc_options.fibers_max fibers are already on the loop
 *             -EINVAL   stack_bytes beyond 64 MiB, or no such loop
 *
 * On another loop, -ENOMEM and -EAGAIN are instead the fiber's own result: it fails, and so does its
 * group.
 *
 * Suspends    never
 * Thread      any fiber of the group's loop, while the group is open
 */
TORC_API TORC_MUST_CHECK int torc_group_spawn(struct torc_group *group, torc_fn *fn, void *arg);
TORC_API TORC_MUST_CHECK int torc_group_spawn_with(struct torc_group *group,
						   const struct torc_spawn_options *options,
						   torc_fn *fn, void *arg);

/*
 * torc_group_cancel - ask all fibers of the group, and its owner inside it, to stop.
 *
 * Suspends    never
 * Thread      any fiber of the group's loop
 */
TORC_API void torc_group_cancel(struct torc_group *group);

/*
 * torc_group_wait - wait until every fiber of the group has ended, and leave the group.
 *
 * Cancelling the caller does not cut this wait short: it cancels the fibers, and the wait goes on
 * until they have ended.
 *
 * Returns     0            all ended well, or were cancelled with torc_group_cancel
 *             < 0          the first failure of a fiber
 *             -ECANCELED   a scope around the group was cancelled
 *             -ETIMEDOUT   the deadline of a scope around it passed
 * Suspends    if a fiber has not ended
 * Thread      the fiber that entered it
 */
TORC_API int torc_group_wait(struct torc_group *group);

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
 * Suspends    never
 * Thread      any fiber of the group's loop, until the group is left
 */
TORC_API void torc_task_cancel(struct torc_task *task);

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
