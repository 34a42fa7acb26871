/*
 * Scenarios of fibers among themselves, for the simulator: trees of groups, channels, locks, generators, operations. Each
 * is small, and different with each seed. The headers beside this one say what each of them checks.
 *
 *	build/tests/sim-core --help
 */
#include <torc/core/sim.h>

#include "tests/sim/chan.h"
#include "tests/sim/gen.h"
#include "tests/sim/ops.h"
#include "tests/sim/sync.h"
#include "tests/sim/tree.h"

int main(int argc, char **argv)
{
	static const struct torc_sim_scenario scenarios[] = {
		{ .name = "tree", .fn = tree_scenario }, { .name = "chan", .fn = chan_scenario },
		{ .name = "sync", .fn = sync_scenario }, { .name = "gen", .fn = gen_scenario },
		{ .name = "ops", .fn = ops_scenario },   { .name = NULL },
	};

	return torc_sim_main(argc, argv, scenarios);
}
