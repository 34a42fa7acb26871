/*
 * core/run.h - start the runtime, run a function as its first fiber, and stop again.
 *
 *	int main(void)
 *	{
 *		return torc_run(&(struct torc_options){ .loops = TORC_LOOP_PER_CORE }, app, NULL) < 0;
 *	}
 */
#ifndef TORC_CORE_RUN_H
#define TORC_CORE_RUN_H

#include <torc/core/fiber.h>

TORC_BEGIN_DECLS

#define TORC_LOOP_PER_CORE (-1)
#define TORC_NO_SIGNAL     (-1)

struct torc_sim;

/* How to run; zeroed means the defaults. */
struct torc_options {
	int loops;       /* 0: one; TORC_LOOP_PER_CORE; 1 .. 256. Each is a thread and a ring */
	bool no_pin;     /* with several loops: do not bind each to a core */
	bool no_signals; /* leave SIGINT and SIGTERM alone: they do not cancel the first fiber */
	size_t stack_bytes; /* of a fiber; default 64 KiB; rounded up to a power of two, 16 KiB .. 64 MiB */
	unsigned fibers_max; /* per loop; default 4194304; one more is -EAGAIN */
	/* Of each ring's submission queue; default 1024; 8 .. 32768, a power of two. Fewer are taken when
	 * locked memory is short. */
	unsigned ring_entries;
	/* Per loop, 4 KiB each, for streams; default 1024; 8 .. 32768, a power of two. */
	unsigned recv_buffers;
	/* The signal that asks for a dump (core/dump.h). Default: SIGQUIT, unless the program handles or ignores
	 * that, or no_signals is set; TORC_NO_SIGNAL: none. */
	int dump_signal;
	/* Run on a simulated kernel instead of Linux (core/sim.h): all loops on the calling thread, in virtual time;
	 * signals, dump_signal and no_pin mean nothing then. */
	struct torc_sim *sim;
	bool no_deadlock_check; /* do not abort when every fiber waits for another one (core/dump.h) */
};

/*
 * torc_run - run fn(arg) as the first fiber; return when it and every fiber of the runtime have ended.
 *
 * The calling thread becomes loop 0; further loops get threads of their own. SIGINT and SIGTERM cancel
 * the first fiber's scope (a second one of either kills the process, as without torc); SIGPIPE and
 * SIGXFSZ are ignored meanwhile. SIGQUIT writes what all fibers are doing to standard error, and the program goes on.
 * When fn has returned, detached fibers are cancelled and waited for. A program whose fibers all wait for one
 * another is aborted, with the same dump.
 *
 * The environment variable TORC_DISABLE, a comma-separated list, turns off what would be used:
 * guard_install, msg_ring, single_issuer, defer_taskrun, registered_ring, recv_multishot, min_wait,
 * cqe_skip, membarrier, ring_futex, ring_ftruncate, splice, udp_segment, fixed_buffers, openat2, sendfile. TORC_STATS=1 writes one line of JSON to standard output at the end: the counters of all loops
 * together, then in "per_loop" those of each.
 *
 *   @options  may be NULL
 *
 * Returns     what fn returned
 *             -EINVAL   an option out of range, or an unknown name in TORC_DISABLE
 *             -EBUSY    called from inside a fiber, or while another thread is in torc_run
 *             -ENOSYS   no io_uring, or one older than Linux 6.1
 *             -EPERM    io_uring is forbidden, by sysctl or by seccomp
 *             -ENOMEM   memory, or locked memory, ran out
 *             -EMFILE, -ENFILE, -EAGAIN   no file descriptor or no thread could be had
 *
 * Each of these writes one line to standard error that says what is wrong and what to do.
 *
 * Suspends    -
 * Thread      any thread that is not inside a fiber
 * Source      io_uring_setup(2)
 */
TORC_API int torc_run(const struct torc_options *options, torc_fn *fn, void *arg);

/*
 * torc_loop_index - which loop this is, 0 .. torc_loop_count() - 1.
 *
 * Suspends    never
 * Thread      a fiber's
 */
TORC_API int torc_loop_index(void);
TORC_API int torc_loop_count(void);

/* What one loop has done since it began. */
struct torc_stats {
	uint64_t turns;      /* passes of the scheduler */
	uint64_t switches;   /* times a fiber was resumed */
	uint64_t spawns;     /* fibers started */
	uint64_t enters;     /* io_uring_enter(2) calls */
	uint64_t sqes, cqes; /* submitted, reaped */
	uint64_t
		overflows; /* times the completion queue overflowed; nothing is lost, but it is slow */
	uint64_t wakes_sent;     /* messages to sleeping loops */
	uint64_t wakes_received; /* such messages that have come */
	uint64_t mails;          /* messages received from other loops */
	uint64_t fibers, fibers_peak;
	uint64_t stacks_bytes;  /* address space held for stacks, in use or cached */
	uint64_t stacks_cached; /* stacks ready for the next fibers */
	uint64_t timers;        /* armed */
	uint64_t idle_ns;       /* spent waiting in the ring */
	uint64_t busy_ns;       /* spent on everything else */
};

/*
 * torc_stats - the counters of the calling fiber's loop.
 */
TORC_API void torc_stats(struct torc_stats *ret_stats);

TORC_END_DECLS

#endif
