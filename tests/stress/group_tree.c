/*
 * Random trees of groups over four loops, whose fibers spawn into the groups around them from anywhere: meant for
 * ThreadSanitizer. tests/core/tree.h has the laws that they check.
 *
 *	group_tree [seeds [first]]
 */
#include "tests/core/tree.h"

int main(int argc, char **argv)
{
	int seeds = argc > 1 ? atoi(argv[1]) : 30;
	int first = argc > 2 ? atoi(argv[2]) : 1;

	for (int i = 0; i < seeds; i++)
		tree_grow(4, (uint64_t)(first + i));
	return 0;
}
