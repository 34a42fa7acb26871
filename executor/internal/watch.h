/*
 * executor/internal/watch.h - one of several futures that somebody waits for at a time.
 */
#ifndef TORC_EXECUTOR_INTERNAL_WATCH_H
#define TORC_EXECUTOR_INTERNAL_WATCH_H

#include <torc/executor/wait.h>

#include "executor/internal/signal.h"

/*
 * A hook in the line of its future. When it is fired it is pushed to its completion's list, which is its last
 * act but for `fired`: the completion lasts until each hook was fired or taken out.
 */
struct torc_watch {
	struct torc__hook hook; /* first */
	struct torc_watch *next;
	struct torc_completion *completion;
	struct torc_future *future; /* a reference */
	uint32_t fired;
	bool hooked; /* it was put in line */
};

#endif
