/*
 * core/dump.h - see what a program is doing: its tree of groups and fibers.
 *
 * Of each fiber: name, loop, state, what it waits for and since when, the earliest deadline, whether it was
 * cancelled, its entry function, who spawned it, how much stack it uses, and its backtrace. Of each loop: its
 * counters. Static functions are named too, as long as the program is not stripped; "(program+0x1234)" is for
 * `addr2line -e program`.
 *
 * Three ways to it:
 *
 *	torc_dump(fd)	from a fiber
 *	SIGQUIT		from outside: kill -QUIT, or Ctrl-\ in a terminal; to standard error, and the program goes
 *			on. torc_options.dump_signal names another signal or none. It works also while every loop
 *			computes, or is stuck in a system call: one that does not answer for a second is shown by the
 *			fiber that it runs and its backtrace
 *	a deadlock	when every fiber of the program waits for another one and nothing from outside can end that,
 *			the program says so on standard error with this dump, and aborts. Operations in flight,
 *			timers, fibers in torc_sleep(TORC_NEVER), work of other threads: none of that is a deadlock.
 *			torc_options.no_deadlock_check turns it off
 *
 * All loops stand still while one looks at them, some 30 ms for 10 000 fibers; it is meant for people who
 * ask what is wrong, not for metrics.
 */
#ifndef TORC_CORE_DUMP_H
#define TORC_CORE_DUMP_H

#include <torc/core/api.h>

TORC_BEGIN_DECLS

/*
 * torc_dump - write the tree of groups and fibers, and the counters of all loops, as text.
 *
 * The first 10 000 fibers are written, the rest is counted. Fibers of one group are in the order of their
 * start, the latest first. It does not suspend, but write(2) may block the loop: @fd must not be a pipe or socket
 * that a fiber of this program reads. Needs some 8 KiB of the fiber's stack.
 *
 *   @fd  open for writing; borrowed
 *
 * Returns     0
 *             -EBADF   not open for writing
 *             -EAGAIN   it is non-blocking, and had no room for a second
 *             -EPIPE, -ENOSPC, ...   as write(2): the text is cut off
 * Suspends    never
 * Thread      a fiber's
 */
TORC_API int torc_dump(int fd);

TORC_END_DECLS

#endif
