/*
 * The laws of structured concurrency, held by random trees. The seed of a tree that fails is told.
 */
#include "tests/core/run.h"

#include "tests/core/tree.h"

TestSuite(laws, .timeout = 60);

static void grow_many(int loops, uint64_t seeds)
{
	for (uint64_t seed = 1; seed <= seeds; seed++)
		tree_grow(loops, seed);
}

Test(laws, hold_in_random_trees_on_one_loop)
{
	grow_many(1, 150);
}

Test(laws, hold_in_random_trees_over_three_loops)
{
	grow_many(3, 150);
}
