/*
 * The switch: first by itself, as the program that tests/cross runs elsewhere; then in fibers, with registers,
 * control words, alignment and unwinding. One suite for each file here: Criterion 2.4.1 leaks a little with
 * several, and LeakSanitizer would take that for ours.
 */
#include "tests/core/run.h"

#include <execinfo.h>
#include <fenv.h>
#include <sys/prctl.h>

#include "core/internal/switch.h"

int cross_main(void);

#define main  cross_main
#define check cross_check
#undef check
#define check standalone_check
#include "tests/cross/switch.c"
#undef main
#undef check
