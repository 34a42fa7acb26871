/*
 * Scenarios of executors, for the simulator.
 *
 *	build/tests/sim-executor --help
 */
#include <torc/core/sim.h>

#include "tests/sim/pool.h"

int main(int argc, char **argv)
{
	static const struct torc_sim_scenario scenarios[] = {
		{ .name = "pool", .fn = pool_scenario },
		{ .name = NULL },
	};

	return torc_sim_main(argc, argv, scenarios);
}
