/*
 * core/internal/deadlock.h - notice that nothing can ever happen again.
 *
 * A fiber is woken by another fiber, or from outside. What can come from outside is counted per loop,
 * in loop->in_flight: operations whose completion somebody waits for, fibers that sleep until they are
 * cancelled (somebody's deliberate wait, for a signal as a rule), and what layers above expect from other threads.
 * A loop that is about to sleep while nothing is in flight and no timer is set has no hope of its own: only
 * another loop can wake it. When all loops are without hope, every fiber waits for another one, for ever.
 *
 * runtime->hopeless counts the loops between torc__deadlock_enter and torc__deadlock_leave in its low half, and
 * how often one has left in its high half. The one that makes the count complete looks at every mailbox. It is a
 * deadlock when all are empty, their owners are all still marked asleep, and no loop has left meanwhile:
 *
 *	- A loop between the two calls runs nothing and posts nothing. While the count stays complete and nobody
 *	  leaves, nobody posts at all (other threads do so only where something is in flight), and so the
 *	  mailboxes, which are read one after the other, are as one picture.
 *	- Mail that was posted before is in that picture: a loop marks itself asleep and finds its mailbox empty
 *	  before it comes here, so later mail is either still in the box, or was taken by a loop that has left.
 *	- A wake-up under way shows too: who sends one has taken the mark away first.
 *
 * When it is not a deadlock yet, some loop leaves or is about to, and will be here again before it sleeps: the
 * last one to come looks anew. So nothing is missed either, and only loops that are about to sleep without
 * anything in flight pay, two atomic additions.
 *
 * A timer that is set puts the verdict off until it has fired; one that was left behind by an earlier
 * deadline of its fiber does so too.
 */
#ifndef TORC_CORE_INTERNAL_DEADLOCK_H
#define TORC_CORE_INTERNAL_DEADLOCK_H

#include "core/internal/loop.h"

/* A fiber of this loop waits for another thread, which will wake it by mail; it no longer does. */
static inline void torc__loop_expect(struct torc__loop *loop)
{
	loop->in_flight++;
}

static inline void torc__loop_expected(struct torc__loop *loop)
{
	loop->in_flight--;
}

/* Before a loop enters the ring to sleep; does not return from a deadlock. Returns whether it is to leave. */
bool torc__deadlock_enter(struct torc__loop *loop);
void torc__deadlock_leave(struct torc__loop *loop);

#endif
