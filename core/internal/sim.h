/*
 * core/internal/sim.h - what the runtime knows of a simulator: core/sim.h has the rest of it.
 */
#ifndef TORC_CORE_INTERNAL_SIM_H
#define TORC_CORE_INTERNAL_SIM_H

#include "core/internal/kernel.h"
#include "core/internal/system.h"

/* The first member of core/sim/'s own structure. */
struct torc_sim {
	const struct torc__kernel *kernel;
	const struct torc__system *system;
	void (*begin)(struct torc_sim *sim); /* before and after everything else of a torc_run */
	void (*end)(struct torc_sim *sim);
};

#endif
