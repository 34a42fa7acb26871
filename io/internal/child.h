/*
 * io/internal/child.h - what a child does between its birth and the program that it becomes.
 *
 * It shares the memory of this process, whose calling thread stands still meanwhile (vfork(2)). So all is prepared before: the
 * child allocates nothing, calls no function of libc but syscall(2), and is not instrumented by sanitizers.
 */
#ifndef TORC_IO_INTERNAL_CHILD_H
#define TORC_IO_INTERNAL_CHILD_H

#include <sys/types.h>

#include <torc/io/child.h>

/* Numbers of descriptors that can be asked for end here. */
#define TORC__CHILD_FDS_MOST 65536

/* A descriptor and what it is to be called in the child. */
struct torc__child_move {
	int fd;
	int at;
};

/* By the child, when it fails. */
struct torc__child_report {
	int error;
	const char *failed;
};

struct torc__child_plan {
	const struct torc_child_options *options;
	struct torc__child_move *moves;
	size_t moves_count;
	const char *
		paths; /* of the program: one after the other, each with its zero byte; ends with an empty one */
	char *const *env;
	int terminal; /* the number of a descriptor that is to be the session's terminal, or -1 */
	bool session;
	struct torc__child_report *report;
	const char *failed; /* by the parent */
};

/*
 * Give birth, and wait until the child has begun its program, or has failed and is buried.
 *
 * Returns 0 or a negative errno, with plan->failed.
 */
int torc__child_launch(struct torc__child_plan *plan, pid_t *ret_pid, int *ret_pidfd);

#endif
