/*
 * io/signal.h - signals as numbers that a fiber receives, instead of handlers that may do next to nothing.
 *
 *	struct torc_signals s;
 *
 *	r = torc_signals_open(&s, (const int[]){ SIGHUP, SIGUSR1 }, 2);
 *	if (r < 0)
 *		return r;
 *	while ((r = torc_signals_next(&s)) > 0)
 *		if (r == SIGHUP)
 *			reload();
 *	torc_signals_close(&s);
 *
 * From torc_signals_open on, these signals do nothing but arrive here: a handler or a default action, such as the end of the
 * program, is suspended. A signal that comes while no fiber waits is kept, and is received once however often it has come
 * since the last time it was received, as the kernel keeps signals itself. Any number may be open, on any loops: each gets
 * every signal that it asked for. When the last one that asked for a signal is closed, what was set before is set again.
 *
 * SIGINT and SIGTERM cancel the first fiber (core/run.h); with torc_options.no_signals they can be had here instead. SIGCHLD tells of
 * children of others too; for those of io/child.h it is not needed.
 *
 * To wait for a signal or something else, give the channel to torc_select (core/chan.h):
 *
 *	struct torc_case cases[] = {
 *		{ .chan = &s.chan, .op = TORC_RECV, .item = &number },
 *		{ .chan = &jobs, .op = TORC_RECV, .item = &job },
 *	};
 */
#ifndef TORC_IO_SIGNAL_H
#define TORC_IO_SIGNAL_H

#include <signal.h>

#include <torc/core/chan.h>
#include <torc/core/op.h>

TORC_BEGIN_DECLS

struct torc__wait;

/* Caller's memory until it is closed. The fields are private but for the channel. */
struct torc_signals {
	struct torc_chan chan; /* of int; only to receive from, by fibers of any loop */
	struct torc_signals *next;
	struct torc__loop *loop;
	struct torc__wait *closer;
	struct torc__turn_work rearm;
	struct torc_op op;
	uint64_t value;
	uint64_t set;       /* bit n - 1: signal n */
	uint64_t pending;   /* set by the handler */
	uint64_t unblocked; /* were blocked in the loop's thread, and are to be again */
	int fd;
	bool closing;
};

/*
 * torc_signals_open - begin to receive signals.
 *
 * They are unblocked in the thread of the calling fiber's loop, if they are not.
 *
 *   @numbers  [count], copied; one may be there twice
 *   @count    1 or more
 *
 * Returns     0
 *             -EINVAL   no signals; or one that no program can have (SIGKILL, SIGSTOP, those of the C library, or what is
 *                       none); or one that tells of an error in the program's own code: SIGSEGV, SIGBUS, SIGILL, SIGFPE,
 *                       SIGTRAP, SIGSYS, SIGABRT; or SIGPIPE or SIGXFSZ, which are ignored in torc_run
 *             -EBUSY    one that the runtime uses: SIGINT or SIGTERM without torc_options.no_signals, or the signal
 *                       that asks for a dump (torc_options.dump_signal)
 *             -EMFILE, -ENFILE, -ENOMEM   no descriptor or no memory is left
 *             -ECANCELED, -ETIMEDOUT      the scope: nothing has changed
 *             -ENOSYS   in the simulator
 * Suspends    never
 * Thread      a fiber's
 * Source      sigaction(2), eventfd(2)
 */
TORC_API TORC_MUST_CHECK int torc_signals_open(struct torc_signals *signals, const int *numbers,
					       size_t count);

/*
 * torc_signals_next - receive the next signal.
 *
 * Returns     1 ..   its number
 *             -ECANCELED, -ETIMEDOUT   the scope: none was received
 * Suspends    if none has come
 * Thread      a fiber's, of any loop
 */
TORC_API TORC_MUST_CHECK int torc_signals_next(struct torc_signals *signals);

/*
 * torc_signals_close - receive no more; what has not been received is dropped. No fiber may wait for the channel any more.
 *
 * Suspends    always; in a cancelled scope too, and not for long
 * Thread      a fiber's, of the loop that opened it
 */
TORC_API void torc_signals_close(struct torc_signals *signals);

TORC_END_DECLS

#endif
