/*
 * core/fiber.h - what a fiber can do with itself.
 *
 * A fiber is a function with a stack of its own that runs on one loop. It gives the loop away only in
 * calls that suspend; between two of them nothing else runs on that loop. It is started in a group
 * (core/group.h) and asked to stop through a scope (core/scope.h).
 *
 * A fiber runs on the same thread for all its life, but shares that thread with others: thread-local
 * variables (errno among them) can change at every suspending call.
 *
 * The floating-point control words (rounding, flush-to-zero, exception masks) belong to the thread too:
 * who changes them must either restore them before the next suspending call, or say so with
 * torc_fiber_keep_fpenv. Saving them at each switch would make it ten times slower.
 */
#ifndef TORC_CORE_FIBER_H
#define TORC_CORE_FIBER_H

#include <torc/core/api.h>

TORC_BEGIN_DECLS

/* What a fiber runs: returns 0 or more for success, a negative errno for failure. */
typedef int torc_fn(void *arg);

/*
 * torc_yield - let the other ready fibers of this loop run once.
 *
 * Returns     0
 *             -ECANCELED, -ETIMEDOUT   the scope; it may have yielded or not
 * Suspends    if another fiber is ready
 * Thread      a fiber's
 */
TORC_API int torc_yield(void);

/*
 * torc_sleep - wait for a time; torc_sleep_until - wait for a moment of torc_now_ns.
 *
 *   @ns  nanoseconds; TORC_NEVER: until cancelled
 *
 * Returns     0            at or after the moment
 *             -ECANCELED, -ETIMEDOUT   the scope, before the moment
 * Suspends    unless the moment has passed
 * Thread      a fiber's
 */
TORC_API int torc_sleep(uint64_t ns);
TORC_API int torc_sleep_until(uint64_t moment_ns);

/*
 * torc_now_ns - the monotonic clock, in nanoseconds (clock_gettime(2), CLOCK_MONOTONIC).
 *
 * It begins at some point before the start, is never set back or forward, and stands still while the machine
 * is suspended: so do sleeps, deadlines and intervals, which all go by it.
 *
 * torc_turn_ns is the same clock as the loop read it when this turn began: a load instead of some
 * 25 ns. Between the two lies what the fibers of this turn have computed so far.
 *
 * Suspends    never
 * Thread      torc_now_ns any; torc_turn_ns a fiber's
 */
TORC_API uint64_t torc_now_ns(void);
TORC_API uint64_t torc_turn_ns(void);

/*
 * torc_fiber_name - the calling fiber's name, or NULL; torc_fiber_set_name - give it one.
 *
 *   @name  borrowed: must outlive the fiber
 */
TORC_API const char *torc_fiber_name(void);
TORC_API void torc_fiber_set_name(const char *name);

/*
 * torc_fiber_keep_fpenv - from now on this fiber has floating-point control words of its own.
 *
 * They start as the thread's are now and are saved and restored when it is switched, at a cost of
 * some 15 ns; other fibers see the loop's. On x86-64 these are MXCSR and the x87 control word, on
 * AArch64 FPCR.
 */
TORC_API void torc_fiber_keep_fpenv(void);

/*
 * torc_call_deep - call fn(arg) on the stack of the loop's thread, and return what it returns.
 *
 * For code that needs more stack than fibers have: a thread has what RLIMIT_STACK says, 8 MiB as a rule. Two switches, some
 * 5 ns; the loop does nothing else meanwhile, as in any call.
 *
 *   @fn  must not suspend, nor call anything here that is for fibers only: both trap
 *
 * Suspends    never
 * Thread      a fiber's
 */
TORC_API int torc_call_deep(torc_fn *fn, void *arg);

/*
 * torc_in_fiber - is the caller a fiber? Everything else here traps when it is not.
 */
TORC_API bool torc_in_fiber(void);

TORC_END_DECLS

#endif
