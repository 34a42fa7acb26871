/*
 * Backtraces of contexts that are not running, on the machine the tests run on: the program that tests/cross runs
 * elsewhere, with what it tests from the library.
 */
#include <criterion/criterion.h>

int cross_main(void);

#define main cross_main
#define NATIVE
#include "tests/cross/unwind.c"
#undef main

Test(unwind, walks_a_context_that_is_not_running, .timeout = 10)
{
	cr_assert_eq(cross_main(), 0);
}
