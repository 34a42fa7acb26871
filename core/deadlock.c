#include "core/internal/deadlock.h"

#include <stdlib.h>
#include <unistd.h>

#include "core/internal/dump.h"
#include "core/internal/runtime.h"

#define LEFT ((uint64_t)1 << 32) /* one more that has left */

static bool all_asleep(const struct torc__runtime *rt)
{
	for (int i = 0; i < rt->loop_count; i++)
		if (!torc__mailbox_quiet(&rt->loops[i]->mailbox))
			return false;
	return true;
}

/* Two loops can come to this at once, when one of them was woken in between for nothing. */
static void report(struct torc__loop *loop)
{
	struct torc__message m = { .len = 0 };

	if (atomic_exchange(&loop->runtime->deadlocked, true))
		return;
	torc__message_text(&m, "torc: deadlock: every fiber waits for another one\n");
	torc__message_write(&m);
	(void)torc__dump(loop, STDERR_FILENO); /* its failure changes nothing */
	abort();
}

bool torc__deadlock_enter(struct torc__loop *loop)
{
	struct torc__runtime *rt = loop->runtime;
	uint64_t count;

	if (torc__likely(loop->in_flight || loop->timers.count || rt->options->no_deadlock_check))
		return false;
	count = atomic_fetch_add(&rt->hopeless, 1) + 1;
	if ((uint32_t)count == (uint32_t)rt->loop_count && all_asleep(rt) &&
	    atomic_load(&rt->hopeless) == count)
		report(loop);
	return true;
}

void torc__deadlock_leave(struct torc__loop *loop)
{
	atomic_fetch_add(&loop->runtime->hopeless, LEFT - 1);
}
