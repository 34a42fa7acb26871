/*
 * core/internal/runtime.h - what all loops share. Nothing in it is written while fibers run, but for the
 * counters that start-up and shutdown use, and the last part.
 */
#ifndef TORC_CORE_INTERNAL_RUNTIME_H
#define TORC_CORE_INTERNAL_RUNTIME_H

#include <sched.h>

#include "core/internal/loop.h"

struct torc__runtime {
	struct torc__loop **loops; /* [loop_count] */
	int loop_count;
	const struct torc_options *options;
	uint32_t disabled;
	cpu_set_t
		cores; /* that the caller of torc_run might use, and the threads that fibers start */
	bool have_cores;
	torc_fn *fn;
	void *arg;
	int result; /* of fn */
	struct torc__signals *signals;

	pthread_mutex_t lock; /* start-up: waiting for the loops' rings */
	pthread_cond_t changed;
	int opened;  /* loops that have a ring, or failed */
	int quiet;   /* loops that have nothing under way any more */
	int failure; /* the first one's */

	int roots_live; /* loop 0's: loops whose root fiber has not ended */

	/* On a cache line that nobody else needs. */
	_Alignas(64) _Atomic uint64_t hopeless; /* core/internal/deadlock.h */
	atomic_bool deadlocked;                 /* somebody reports it */
	struct torc__pause pause;
};

/* Open a loop, run it, close it; on its thread. */
void torc__run_loop(struct torc__loop *loop);

#endif
