#include "core/internal/unwind.h"

#include <stdbool.h>
#include <stdint.h>
#include <unwind.h>

void torc__unwind_from(const struct torc__context *context, _Unwind_Trace_Fn step, void *arg);

struct walk {
	const void **addresses;
	int count, most;
	const void *
		start; /* frames before the one at this address are left out; NULL: only the first is */
	bool started;
};

static _Unwind_Reason_Code step(struct _Unwind_Context *frame, void *arg)
{
	struct walk *w = arg;
	int exact = 0;
	uintptr_t pc = (uintptr_t)_Unwind_GetIPInfo(frame, &exact);

	if (!w->started && w->start && (const void *)pc != w->start)
		return _URC_NO_REASON;
	if (!w->started && !w->start) {
		w->started = true; /* torc__unwind_from itself */
		return _URC_NO_REASON;
	}
	w->started = true;
	if (!pc || w->count == w->most)
		return _URC_END_OF_STACK;
	w->addresses[w->count++] = (const void *)(pc - !exact);
	return _URC_NO_REASON;
}

int torc__unwind_context(const struct torc__context *context, const void **addresses, int most)
{
	struct walk w = { .addresses = addresses, .most = most };

	torc__unwind_from(context, step, &w);
	return w.count;
}

int torc__unwind_interrupted(const void *pc, const void **addresses, int most)
{
	struct walk w = { .addresses = addresses, .most = most, .start = pc };

	_Unwind_Backtrace(step, &w);
	return w.count;
}
