/*
 * tests/io/system.h - what the tests of pipes, terminals, signals, children and watches share.
 */
#ifndef TESTS_IO_SYSTEM_H
#define TESTS_IO_SYSTEM_H

#include "tests/io/run.h"

#include <sys/ioctl.h>

#include <torc/core/sim.h>
#include <torc/io/file.h>
#include <torc/io/pipe.h>
#include <torc/io/poll.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* On the simulator, of which nothing is left behind either. */
static inline void run_simulated(torc_fn *fn)
{
	struct torc_sim *sim;

	check_eq(torc_sim_new(&(struct torc_sim_options){ .seed = 1 }, &sim), 0);
	check_eq(run_with(&(struct torc_options){ .sim = sim }, fn, NULL), 0);
	torc_sim_free(sim);
}

/* A pseudo-terminal: [0] is the program's end, [1] the terminal. */
static inline void open_pty(int fd[2])
{
	int unlocked = 0;

	fd[0] = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	check_ge(fd[0], 0);
	check_eq(ioctl(fd[0], TIOCSPTLCK, &unlocked), 0);
	fd[1] = ioctl(fd[0], TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	check_ge(fd[1], 0);
}

#endif
