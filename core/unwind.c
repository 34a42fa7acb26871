#include "core/internal/unwind.h"

#include <setjmp.h>
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

/* Where to go on after a fault in the unwinder, or NULL. */
static __thread sigjmp_buf *fault_exit;

void torc__unwind_escape(void)
{
	if (fault_exit)
		siglongjmp(*fault_exit, 1);
}

/* With what was found before a fault. The context is NULL for the code that is running. */
static int walk(struct walk *w, const struct torc__context *context)
{
	sigjmp_buf exit;

	if (!sigsetjmp(exit, 1)) {
		fault_exit = &exit;
		if (context)
			torc__unwind_from(context, step, w);
		else
			_Unwind_Backtrace(step, w);
	}
	fault_exit = NULL;
	return w->count;
}

int torc__unwind_context(const struct torc__context *context, const void **addresses, int most)
{
	return walk(&(struct walk){ .addresses = addresses, .most = most }, context);
}

int torc__unwind_interrupted(const void *pc, const void **addresses, int most)
{
	return walk(&(struct walk){ .addresses = addresses, .most = most, .start = pc }, NULL);
}
