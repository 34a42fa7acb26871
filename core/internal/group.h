/*
 * core/internal/group.h - a group's states, and what its parts ask of each other.
 *
 *	         enter            wait               the last child has ended
 *	 (none) -------> OPEN ------------> WAITING ----------------> LEFT
 *	                   |      no child lives                        ^
 *	                   +--------------------------------------------+
 *
 *	transition         function             who calls
 *	(none) -> OPEN     enter                torc_group_enter and its variants, the owner
 *	OPEN -> WAITING    torc_group_wait      the owner
 *	OPEN -> LEFT       torc_group_wait      the owner
 *	WAITING -> LEFT    torc_group_wait      the owner
 *
 * Invariants
 *	1. Children are spawned in OPEN and WAITING only; in WAITING by other children.
 *	2. `live` counts the children in `children` and `remotes`. A group is LEFT only when it is 0.
 *	3. Only the group's loop touches its fields, but for what never changes while it is open: scope.fiber,
 *	   supervises, limited; and for places, which is made for all loops.
 *
 * group.c: the group itself and its children on the same loop. task.c: tasks. remote.c: children on other loops,
 * and spawning from there. place.c: the least loaded loop.
 */
#ifndef TORC_CORE_INTERNAL_GROUP_H
#define TORC_CORE_INTERNAL_GROUP_H

#include <torc/core/group.h>

#include "core/internal/fiber.h"

/* Values that memory which was never a group's is not likely to hold. */
enum torc__group_state {
	TORC__GROUP_NONE = 0,
	TORC__GROUP_OPEN = 0xa1,
	TORC__GROUP_WAITING = 0xa2,
	TORC__GROUP_LEFT = 0xa3,
};

/* The one place where a group's state changes. */
static inline void torc__group_set_state(struct torc_group *g, enum torc__group_state to)
{
	bool legal = to == TORC__GROUP_WAITING ? g->state == TORC__GROUP_OPEN
		     : to == TORC__GROUP_LEFT
			     ? g->state == TORC__GROUP_OPEN || g->state == TORC__GROUP_WAITING
			     : to == TORC__GROUP_OPEN; /* memory that was anything before */

	torc__check(legal, "illegal change of a group's state");
	g->state = (uint8_t)to;
}

/* On the group's loop. */
static inline void torc__group_check_open(const struct torc_group *g)
{
	torc__check(g->state == TORC__GROUP_OPEN || g->state == TORC__GROUP_WAITING,
		    "a group is used before it was entered or after it was left");
}

/* A child of either kind has ended. `echo`: its result only says that it was cancelled. */
void torc__group_child_failed(struct torc_group *g, const struct torc_failure *failure);
void torc__group_child_gone(struct torc_group *g);

/* torc_group_spawn_with, for callers inside the library. `site`: where its user called. */
int torc__group_spawn(struct torc_group *g, const struct torc_spawn_options *o, torc_fn *fn,
		      void *arg, const void *site);

/* --- task.c --- */

/* A task's fiber was spawned: `fiber` on the group's loop, or `remote`. */
void torc__task_start(struct torc_group *g, struct torc_task *task, struct torc__fiber *fiber,
		      struct torc__remote *remote);
void torc__task_end(struct torc_group *g, struct torc_task *task, int result, bool echo);

/* The oldest that has ended and was not reported, or NULL. */
struct torc_task *torc__task_take(struct torc_group *g);

/* --- remote.c --- */

/* Spawn where the group, the caller and the fiber (on `away`) are not all on one loop; o may be NULL. */
int torc__remote_spawn(struct torc_group *g, const struct torc_spawn_options *o,
		       struct torc__loop *away, unsigned class_index, torc_fn *fn, void *arg,
		       const void *site);
void torc__remote_cancel(struct torc__remote *remote, int status, const char *reason);
void torc__remote_cancel_all(struct torc__remote *first, int status, const char *reason);
/* The fiber's function has returned. */
void torc__remote_ended(struct torc__fiber *f, int result, bool echo);

/* --- place.c --- */

/* The loop that a spawn option names; NULL: there is none. */
struct torc__loop *torc__place(struct torc__loop *here, int option);

/* Where a fiber that was placed here by load had better start: here, or elsewhere. */
struct torc__loop *torc__place_onward(struct torc__loop *here);

#endif
