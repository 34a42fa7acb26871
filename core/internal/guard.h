/*
 * core/internal/guard.h - keep other loops out of an object while it is read or changed.
 *
 * A critical section is some ten instructions long and never suspends. Nearly always all fibers that use an
 * object are on one loop, and then an atomic exchange is most of what a channel or mutex costs: 6.6 ns on the
 * machine of docs/performance.md, against 1.1 for the rest. So a guard belongs to the loop that uses it first,
 * and that loop enters with plain loads and stores:
 *
 *	the owner						another loop, once
 *	1  loop->guarding = 1					a  take guard->lock
 *	2  guard->owner is this loop: go on			b  guard->owner = SHARED
 *	   else guarding = 0, and take guard->lock		c  membarrier(2)
 *	3  ...							d  wait until the owner's guarding is 0
 *	4  guarding = 0						e  go on; release guard->lock
 *
 * On the owner only the compiler keeps 1 before 2. The membarrier makes that enough: it acts as a full barrier
 * at some point between two instructions of the owner. Is that point before the load of 2, then 2 sees SHARED. Is
 * it after, then the store of 1 is visible at d. Either way one of the two waits for the other. From then on
 * the guard is a spin lock for everybody; it never gets an owner again.
 *
 * Rules
 *	1. No guard is entered inside another one (torc_select takes several, in the order of addresses), and
 *	   nothing in a section posts mail, starts an operation or makes a fiber ready: that comes after it.
 *	2. An owner has guarding set only while it holds no lock and waits for none: step d ends.
 *
 * Where the kernel refuses membarrier (or TORC_DISABLE=membarrier), guards are spin locks from the beginning.
 */
#ifndef TORC_CORE_INTERNAL_GUARD_H
#define TORC_CORE_INTERNAL_GUARD_H

#include <torc/core/waiters.h>

#include "core/internal/loop.h"
#include "core/internal/trap.h"

/* Values of torc__guard.owner; from TORC__GUARD_LOOPS on, a loop's index. */
#define TORC__GUARD_FRESH  0u
#define TORC__GUARD_SHARED 1u
#define TORC__GUARD_LOOPS  2u
#define TORC__GUARD_INIT_SHARED       \
	{                             \
		TORC__GUARD_SHARED, 0 \
	}                             /* for threads that are no loops, too */
#define TORC__GUARD_NOBODY UINT32_MAX /* the id of a loop that owns none */

/* Ask the kernel for membarrier, for this process. Returns whether guards may have owners. */
bool torc__guards_start(uint32_t disabled);

/* The same outside of a runtime, as TORC_DISABLE has it. Returns whether torc__barrier_heavy works. */
bool torc__barrier_start(void);

/*
 * Step c: every other thread of the process has been through a full barrier. Returns false where there is none:
 * torc__guards_start tells in advance.
 */
bool torc__barrier_heavy(void);

/* Step a, and what follows from the owner that is found. A NULL loop: for a guard that was shared from the beginning. */
void torc__guard_lock(struct torc__loop *loop, struct torc__guard *guard);

static inline void torc__guard_unlock(struct torc__guard *guard)
{
	__atomic_store_n(&guard->lock, 0, __ATOMIC_RELEASE);
}

/* Steps 1 and 2 for as many guards as are asked about between begin and end. */
static inline void torc__guarding_begin(struct torc__loop *loop)
{
	__atomic_store_n(&loop->guarding, 1, __ATOMIC_RELAXED);
	__asm__ volatile("" ::: "memory");
}

static inline bool torc__guard_owned(const struct torc__loop *loop, const struct torc__guard *guard)
{
	return __atomic_load_n(&guard->owner, __ATOMIC_RELAXED) == loop->guard_id;
}

static inline void torc__guarding_end(struct torc__loop *loop)
{
	__atomic_store_n(&loop->guarding, 0, __ATOMIC_RELEASE);
}

/* Returns what torc__guard_leave wants to know. */
static inline bool torc__guard_enter(struct torc__loop *loop, struct torc__guard *guard)
{
	torc__guarding_begin(loop);
	if (torc__likely(torc__guard_owned(loop, guard)))
		return true;
	torc__guarding_end(loop);
	torc__guard_lock(loop, guard);
	return false;
}

static inline void torc__guard_leave(struct torc__loop *loop, struct torc__guard *guard, bool owned)
{
	if (torc__likely(owned))
		torc__guarding_end(loop);
	else
		torc__guard_unlock(guard);
}

#endif
