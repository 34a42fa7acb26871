/*
 * core/sim.h - run a program on a simulated kernel: deterministic, seeded, hostile.
 *
 * The simulator takes the kernel's place below the loops (torc_options.sim). Time is virtual: a sleep of an hour takes
 * no time, and everything that happens is decided by one seed. Sockets, pipes, files and rings are in memory and do
 * what Linux does; beyond that, chaos: completions come in any order, transfers are cut short, operations fail with
 * what they may fail with, cancellations race with completions. The same seed and the same program give the same run,
 * to the byte of its trace. All loops run on the calling thread, in turns that the seed decides.
 *
 *	static int scenario(void *arg)
 *	{
 *		... servers, clients, whatever torc_run can run; a failed check returns a negative errno or aborts ...
 *	}
 *
 *	int main(int argc, char **argv)
 *	{
 *		static const struct torc_sim_scenario scenarios[] = {
 *			{ .name = "my server", .fn = scenario, .loops = 2 },
 *			{ .name = NULL },
 *		};
 *		return torc_sim_main(argc, argv, scenarios);
 *	}
 *
 *	./my-scenarios --seeds 100000		runs them; a seed that fails is shrunk, and printed with the
 *						command that runs it again
 *	./my-scenarios --seed 4711 --trace	one seed, and all that happens in it
 *
 * What it is asked to do is what goes through torc: operations on the ring, and the calls of core/sys.h. A program's own
 * system calls go past it: it must not make them on the simulator's descriptors (which begin at TORC_SIM_FD), must not
 * wait in them, and must not look at the real clock. An operation that it does not know ends the run with its name.
 *
 * It watches over what torc promises, and ends the process (abort(3), after a line on standard error) when
 *
 *	- nothing can ever happen again while a fiber waits: a wake-up was lost, or the program hangs;
 *	- memory that the kernel has been given is written by the program before its completion has come;
 *	- a provided buffer is given back twice, written after it was given back, or never given back;
 *	- at the end a descriptor, an operation or a block of the library's memory is left;
 *	- the run takes more events or more virtual time than it may.
 */
#ifndef TORC_CORE_SIM_H
#define TORC_CORE_SIM_H

#include <torc/core/run.h>

TORC_BEGIN_DECLS

/* Descriptors of the simulator begin here, so that they are nobody else's. */
#define TORC_SIM_FD 100000

/*
 * What goes wrong, and how often: each kind has a rate, the number of times out of a million opportunities. Each kind
 * draws from random numbers of its own, so that switching one off leaves the others as they were.
 */
enum torc_sim_chaos {
	TORC_SIM_ORDER, /* which of what is ready comes first; which loop runs next */
	TORC_SIM_DELAY, /* an operation, a completion or what is on its way through the network takes longer */
	TORC_SIM_SHORT,    /* a transfer is cut short, or what arrives is cut into pieces */
	TORC_SIM_ERROR,    /* an operation fails with an error that it may fail with */
	TORC_SIM_END,      /* a multishot operation ends early */
	TORC_SIM_NOBUFS,   /* no provided buffer, though there are some */
	TORC_SIM_OVERFLOW, /* the completion queue is full */
	TORC_SIM_BUSY,     /* io_uring_enter(2) takes nothing: -EAGAIN, -EBUSY */
	TORC_SIM_RACE,     /* a cancellation comes too late, or the completion just before it */
	TORC_SIM_RESET,    /* a connection breaks */
	TORC_SIM_LOSS,     /* a datagram is lost, doubled or overtaken */
	TORC_SIM_CLOCK,    /* the clock jumps ahead, by up to a second */
	TORC_SIM_MEMORY,   /* an allocation of the library fails */
	TORC_SIM_KINDS,
};

/* A rate of a million: whenever it can. */
#define TORC_SIM_ALWAYS 1000000u

struct torc_sim;

/* Zeroed means the defaults: a peaceful kernel. */
struct torc_sim_options {
	uint64_t seed;
	uint32_t rates[TORC_SIM_KINDS];
	uint64_t chaos_most;   /* after so many pieces of chaos there is peace; 0: no limit */
	uint64_t fail_memory;  /* only the n-th allocation of the library fails; 0: none */
	uint64_t events_most;  /* default 1 000 000: more is a failure */
	uint64_t time_most_ns; /* of virtual time, default a day: more is a failure */
	uint64_t disk_bytes;   /* of all files together, default 64 MiB: then -ENOSPC */
	int trace_fd;          /* a real descriptor for one line of text per event; 0: none */
};

/* What has happened in a run. */
struct torc_sim_report {
	uint64_t trace_hash; /* of all events: equal for equal runs */
	uint64_t events;
	uint64_t time_ns;               /* how far the virtual clock has gone */
	uint64_t chaos[TORC_SIM_KINDS]; /* pieces of each kind */
	uint64_t operations;            /* submitted */
	uint64_t allocations;           /* of the library; fail_memory can be 1 .. this */
};

/*
 * torc_sim_new - a simulator for one torc_run.
 *
 *   @options  copied; may be NULL
 *
 * Returns     0, -ENOMEM
 * Suspends    never
 * Thread      any that is not inside a fiber
 */
TORC_API TORC_MUST_CHECK int torc_sim_new(const struct torc_sim_options *options,
					  struct torc_sim **ret_sim);
TORC_API void torc_sim_free(struct torc_sim *sim);

/* torc_sim_report - after the run, or in it; inside of torc_run, NULL is the simulator that it is on. */
TORC_API void torc_sim_report(const struct torc_sim *sim, struct torc_sim_report *ret_report);

/*
 * torc_sim_random - a number that the seed decides, 0 .. below - 1, for a program's own decisions.
 *
 * Thread      inside of torc_run with a simulator; traps elsewhere
 */
TORC_API uint64_t torc_sim_random(uint64_t below);

/* torc_sim_running - is this torc_run on a simulator? */
TORC_API bool torc_sim_running(void);

/* torc_sim_peace - from now on nothing goes wrong: for the part of a scenario that checks what is left. */
TORC_API void torc_sim_peace(void);

/*
 * torc_sim_chaos_name - "order", "delay", ...; NULL beyond the last.
 */
TORC_API const char *torc_sim_chaos_name(enum torc_sim_chaos kind);

/* --- many seeds --- */

struct torc_sim_scenario {
	const char *name; /* NULL: the end of the array */
	torc_fn *
		fn; /* the first fiber; a negative result is a failure, but for -ENOMEM under TORC_SIM_MEMORY */
	void *arg;
	int loops;             /* 1 .. 8; default: 1 to 3, by the seed */
	uint32_t without;      /* bit 1 << kind: chaos that this scenario is not made for */
	unsigned recv_buffers; /* torc_options of that name; default: 8 to 64, by the seed */
};

/*
 * torc_sim_main - the main function of a program of scenarios; `--help` prints how to use it.
 *
 * Seeds are run in child processes, one per core, so that a run that aborts or crashes is only that. The seed also
 * decides which kinds of chaos there are, and their rates, and sets TORC_DISABLE (core/run.h). A seed that has failed is shrunk: kinds are left out, and
 * the number of pieces of chaos is halved, as long as it still fails; then the command that runs it again is printed.
 *
 * Returns     the exit status: 0 all passed, 1 a seed has failed, 2 wrong usage
 */
TORC_API int torc_sim_main(int argc, char **argv, const struct torc_sim_scenario *scenarios);

TORC_END_DECLS

#endif
