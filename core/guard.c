#include "core/internal/guard.h"

#include <linux/membarrier.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/internal/runtime.h"

/* A holder is done in nanoseconds, unless its thread was preempted: then the core is better given away. */
#define SPINS 128

static void spin_while(const uint32_t *value)
{
	for (unsigned spins = 0; __atomic_load_n(value, __ATOMIC_ACQUIRE); spins++)
		if (spins < SPINS)
			torc__relax();
		else
			sched_yield();
}

static long membarrier(int command)
{
	return syscall(SYS_membarrier, command, 0, 0);
}

bool torc__barrier_heavy(void)
{
	return membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0;
}

bool torc__guards_start(uint32_t disabled)
{
	return !(disabled & TORC__MEMBARRIER) &&
	       membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0;
}

bool torc__barrier_start(void)
{
	const char *unknown;
	uint32_t disabled = 0;

	(void)torc__features_parse(getenv("TORC_DISABLE"), &disabled,
				   &unknown); /* torc_run complains */
	return torc__guards_start(disabled);
}

/* Steps b, c and d. The owner may be a loop of an earlier torc_run, or there may be fewer loops now. */
static void take_from(struct torc__loop *loop, struct torc__guard *guard, uint32_t owner)
{
	const struct torc__runtime *rt = loop->runtime;
	uint32_t index = owner - TORC__GUARD_LOOPS;

	__atomic_store_n(&guard->owner, TORC__GUARD_SHARED, __ATOMIC_RELAXED);
	if (index >= (uint32_t)rt->loop_count || loop->guard_id == TORC__GUARD_NOBODY)
		return;
	torc__check(torc__barrier_heavy(), "membarrier failed");
	spin_while(&rt->loops[index]->guarding);
}

void torc__guard_lock(struct torc__loop *loop, struct torc__guard *guard)
{
	uint32_t owner;

	while (__atomic_exchange_n(&guard->lock, 1, __ATOMIC_ACQUIRE))
		spin_while(&guard->lock);
	owner = __atomic_load_n(&guard->owner, __ATOMIC_RELAXED);
	if (torc__likely(owner == TORC__GUARD_SHARED || owner == loop->guard_id))
		return; /* a thread without a loop only comes to what was shared from the beginning */
	if (owner != TORC__GUARD_FRESH)
		take_from(loop, guard, owner);
	else if (loop->guard_id == TORC__GUARD_NOBODY)
		__atomic_store_n(&guard->owner, TORC__GUARD_SHARED, __ATOMIC_RELAXED);
	else
		__atomic_store_n(&guard->owner, loop->guard_id, __ATOMIC_RELAXED);
}
