/*
 * The switch by itself, on the machine the tests run on: the program that tests/cross runs elsewhere.
 */
#include <criterion/criterion.h>

int cross_main(void);

#define main cross_main
#include "tests/cross/switch.c"
#undef main

Test(switch, keeps_what_is_live_and_aligns_the_stack, .timeout = 10)
{
	cr_assert_eq(cross_main(), 0);
}
