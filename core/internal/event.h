/*
 * core/internal/event.h - events that any thread may set: what a future is built on.
 *
 * A plain event (core/sync.h) is set and waited for inside its guard. A shared one is set by one atomic operation on
 * its state, which is all there is to it while nobody waits, and its guard is only for the line:
 *
 *	who waits					who sets it
 *	enter the guard					1  state |= SET
 *	a  state |= WATCHED; SET? then leave		2  WATCHED before that? then enter the guard,
 *	b  queue a node					   take all nodes out, leave, wake them
 *	leave the guard
 *
 * One of a and 1 comes first. If it is a, then 2 finds WATCHED, and enters the guard after b; else a finds SET. So
 * whoever has set an event and did not find WATCHED has done with it: its memory may be gone.
 */
#ifndef TORC_CORE_INTERNAL_EVENT_H
#define TORC_CORE_INTERNAL_EVENT_H

#include <torc/core/sync.h>

#include "core/internal/waiters.h"

#define TORC__EVENT_SET     1u
#define TORC__EVENT_WATCHED 2u /* of a shared one: somebody is in line, or was */
#define TORC__EVENT_SHARED  4u
#define TORC__EVENT_EXPECTED \
	8u /* who waits for it waits for another thread: core/internal/deadlock.h */
#define TORC__EVENT_REST 0x10u /* from this bit on they belong to what is built on it */

static inline void torc__event_init_shared(struct torc_event *e, uint32_t state)
{
	*e = (struct torc_event){ .guard = TORC__GUARD_INIT_SHARED,
				  .state = TORC__EVENT_SHARED | state };
}

/* Is it set? Inside the guard; if not, who sets a shared one will look for who is in line. */
static inline bool torc__event_announce(struct torc_event *e)
{
	uint32_t state = __atomic_load_n(&e->state, __ATOMIC_ACQUIRE);

	if (!(state & TORC__EVENT_SET) && state & TORC__EVENT_SHARED)
		state = __atomic_fetch_or(&e->state, TORC__EVENT_WATCHED, __ATOMIC_ACQ_REL);
	return state & TORC__EVENT_SET;
}

static inline bool torc__event_expected(const struct torc_event *e)
{
	return __atomic_load_n(&e->state, __ATOMIC_RELAXED) & TORC__EVENT_EXPECTED;
}

/* The rest is about shared events; any thread. */

/* Put a hook in line. Returns false when the event is set already: it is not in line. */
bool torc__event_hook(struct torc_event *e, struct torc__hook *hook);

/* Take it out again. Returns false when somebody else has, and has called its `fire`, or is about to. */
bool torc__event_unhook(struct torc_event *e, struct torc__hook *hook);

/* Step 2, when WATCHED was found. */
void torc__event_wake(struct torc_event *e);

/* Both steps, for an event that nothing is built on. */
static inline void torc__event_set_shared(struct torc_event *e)
{
	uint32_t state = __atomic_fetch_or(&e->state, TORC__EVENT_SET, __ATOMIC_ACQ_REL);

	if ((state & (TORC__EVENT_SET | TORC__EVENT_WATCHED)) == TORC__EVENT_WATCHED)
		torc__event_wake(e);
}

/* Not set; what is in line stays there, and may be woken for an earlier time that it was set. */
static inline void torc__event_reset_shared(struct torc_event *e)
{
	__atomic_fetch_and(&e->state, ~(TORC__EVENT_SET | TORC__EVENT_WATCHED), __ATOMIC_ACQ_REL);
}

#endif
