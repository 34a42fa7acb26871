/*
 * tests/support/check.h - checks that work in fibers of any loop.
 */
#ifndef TESTS_SUPPORT_CHECK_H
#define TESTS_SUPPORT_CHECK_H

#include <stdio.h>
#include <stdlib.h>

/* For the message of a failed check. */
static inline const char *disabled(void)
{
	const char *text = getenv("TORC_DISABLE");

	return text && *text ? text : "nothing";
}

/* A failed cr_assert jumps back to the test's stack, which a fiber is not on: these abort instead. */
#define check(what)                                                                               \
	do {                                                                                      \
		if (!(what)) {                                                                    \
			fprintf(stderr, "%s:%d: failed: %s (disabled: %s)\n", __FILE__, __LINE__, \
				#what, disabled());                                               \
			abort();                                                                  \
		}                                                                                 \
	} while (0)

#define check_op(a, op, b)                                                                        \
	do {                                                                                      \
		long long a_ = (long long)(a), b_ = (long long)(b);                               \
		if (!(a_ op b_)) {                                                                \
			fprintf(stderr, "%s:%d: failed: %s (%lld) %s %s (%lld) (disabled: %s)\n", \
				__FILE__, __LINE__, #a, a_, #op, #b, b_, disabled());             \
			abort();                                                                  \
		}                                                                                 \
	} while (0)

#define check_eq(a, b) check_op(a, ==, b)
#define check_lt(a, b) check_op(a, <, b)
#define check_le(a, b) check_op(a, <=, b)
#define check_ge(a, b) check_op(a, >=, b)

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
