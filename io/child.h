/*
 * io/child.h - run other programs: start, talk to, wait for and stop them.
 *
 * One call for a program that is run to its end:
 *
 *	struct torc_child_talk talk = { .input = text, .input_len = len };
 *	struct torc_child_status status;
 *
 *	r = torc_run_command((const char *[]){ "sort", "-u", NULL }, &talk, &status);
 *	if (r == 0 && torc_child_succeeded(&status))
 *		use(talk.out, talk.out_len);
 *	torc_child_talk_done(&talk);
 *
 * And step by step, for one that stays:
 *
 *	struct torc_child c;
 *
 *	r = torc_child_start(&c, &(struct torc_child_options){ .argv = argv, .out = { TORC_CHILD_PIPE } });
 *	if (r < 0)
 *		return r;			c.failed says what: "exec", "chdir", ...
 *	while ((r = torc_read(c.out, buf, sizeof(buf))) > 0)
 *		...
 *	r = torc_child_wait(&c, &status);
 *	torc_child_close(&c);			always; kills it if it still runs
 *
 * Every child is closed, and then it is gone and its status collected: there are no zombies. Cancelling a fiber that waits for a
 * child does nothing to the child.
 *
 * (To have functions of this program run in other processes, use executor/process.h.)
 */
#ifndef TORC_IO_CHILD_H
#define TORC_IO_CHILD_H

#include <sys/resource.h>
#include <sys/types.h>

#include <torc/core/api.h>

TORC_BEGIN_DECLS

/* Where a standard stream of a child leads. */
enum torc_child_stream {
	TORC_CHILD_INHERIT, /* the program's own; what is closed there, or closed on exec, is closed */
	TORC_CHILD_NULL,    /* /dev/null */
	TORC_CHILD_PIPE,    /* a pipe, whose other end is in struct torc_child */
	TORC_CHILD_FD, /* a descriptor of the program's; borrowed until torc_child_start returns */
	TORC_CHILD_STDOUT, /* only of `err`: wherever `out` leads */
	TORC_CHILD_PTY, /* a pseudo-terminal, one for all that say so: torc_child.pty. The child leads a session of its own */
};

struct torc_child_stdio {
	enum torc_child_stream stream;
	int fd; /* of TORC_CHILD_FD */
};

/* A descriptor of the program's to be passed on as number `at`: 3 .. 65535. */
struct torc_child_fd {
	int fd; /* borrowed until torc_child_start returns */
	int at;
};

/* setrlimit(2) */
struct torc_child_limit {
	int resource; /* RLIMIT_* */
	struct rlimit limit;
};

enum torc_child_group {
	TORC_CHILD_SAME_GROUP,  /* the program's process group: ^C in the terminal reaches it too */
	TORC_CHILD_NEW_GROUP,   /* one of its own: signals are for it and what it starts */
	TORC_CHILD_GIVEN_GROUP, /* that of `group_id`, such as another child's pid */
};

/* What to run, and how; zeroed means the defaults. Borrowed until torc_child_start returns. */
struct torc_child_options {
	const char *const *argv; /* ends with NULL; at least one */
	/* The program; default: argv[0]. Without a slash it is looked for in the PATH of the child's environment. A relative one
	 * with a slash begins at the child's working directory. */
	const char *path;
	const char *const *env; /* ends with NULL; default: the program's own */
	/* Ends with NULL. "NAME=value" is set, "NAME" is removed; the last one counts. */
	const char *const *env_changes;
	const char *cwd; /* default: the program's own */
	struct torc_child_stdio in, out, err;
	const struct torc_child_fd *fds; /* at most 256; all others are closed in the child */
	size_t fds_count;
	const struct torc_child_limit *limits;
	size_t limits_count;
	enum torc_child_group group;
	pid_t group_id;
	bool session; /* it leads a new session, and so a new group, without a terminal */
	int nice;     /* added to the program's own niceness */
	/* Become another user and group, without supplementary groups. */
	bool set_ids;
	uid_t uid;
	gid_t gid;
};

/* How a child has ended. */
struct torc_child_status {
	int exit_code; /* 0 .. 255; -1: it was killed */
	int signal;    /* that has killed it; 0: none has */
	bool core_dumped;
	struct rusage usage; /* its own, and its waited-for children's: times and memory */
};

/* Caller's memory until it is closed. */
struct torc_child {
	pid_t pid; /* valid until torc_child_wait has returned 0; then it may be another's */
	int pidfd; /* readable once it has ended; -1: there is no child */
	int in, out,
		err; /* this side of its pipes, or -1: closed by torc_child_close. Who closes one earlier, or takes
			     * it over, sets -1 here */
	int pty;            /* this side of its terminal; -1: none */
	const char *failed; /* torc_child_start failed: the step that did, a literal */
	/* private */
	bool leads_group, ended, lost, kills_group;
	uint32_t waiting; /* fibers */
	struct torc_child_status status;
};

/*
 * torc_child_start - start a program.
 *
 * Returns when the program runs, or is known not to: what goes wrong in the child before is this call's error. It begins with all
 * signals unblocked and with default actions, but for those that the program ignores itself (SIGHUP after nohup; SIGPIPE and
 * SIGXFSZ, which torc_run ignores, are default). No other descriptors are open in it than those that were asked for. Scripts
 * need a #! line.
 *
 * PR_SET_PDEATHSIG is of no use here: it goes by the thread that has started the child, which is one of
 * executor/offload.h.
 *
 *   @child    written in any case: one that was not started may be closed, and need not be
 *   @options  argv is needed
 *
 * Returns     0
 *             -ENOENT    no such program, or interpreter of a script; or no such working directory
 *             -EACCES    it may not be executed; or a directory on the way may not be entered
 *             -ENOEXEC   not a program, or for another machine
 *             -E2BIG     arguments and environment are too long
 *             -EINVAL    no argv; a descriptor number out of range, beyond RLIMIT_NOFILE or given twice, or over 256 of them; TORC_CHILD_STDOUT of another stream than `err`;
 *                        TORC_CHILD_PTY or a session with another group than its own
 *             -EBADF     a descriptor to be passed on is not open
 *             -EPERM     a limit, a niceness, a user or a group that may not be had
 *             -EAGAIN    RLIMIT_NPROC, or the system's limit of processes
 *             -EMFILE, -ENFILE, -ENOMEM   no descriptor or no memory is left, here or in the child
 *             -ECANCELED, -ETIMEDOUT      the scope: nothing was started
 *             -ENOSYS    in the simulator
 *             ...        as execve(2), chdir(2), setrlimit(2), setpgid(2)
 * Suspends    always; on another thread, which is not cut short once it has begun
 * Thread      a fiber's
 * Source      clone(2) (CLONE_VFORK, CLONE_PIDFD), execve(2)
 */
TORC_API TORC_MUST_CHECK int torc_child_start(struct torc_child *child,
					      const struct torc_child_options *options);

/*
 * torc_child_wait - wait until it has ended. Any number of fibers may, and again: each is told the same.
 *
 *   @ret_status  may be NULL
 *
 * Returns     0
 *             -ECHILD   it has ended, and how was told to somebody else: the program has SIGCHLD set to SIG_IGN or waits for any
 *                       child itself
 *             -ESRCH    there is no child
 *             -ECANCELED, -ETIMEDOUT   the scope; the child goes on
 * Suspends    if it runs
 * Thread      fibers of one loop
 * Source      pidfd_open(2), waitid(2)
 */
TORC_API TORC_MUST_CHECK int torc_child_wait(struct torc_child *child,
					     struct torc_child_status *ret_status);

/* Has it ended by itself, with 0? */
static inline bool torc_child_succeeded(const struct torc_child_status *status)
{
	return status->exit_code == 0;
}

/*
 * torc_child_signal - send it a signal; torc_child_signal_group - and to all in the process group that it leads.
 *
 * It never reaches another process that has got the same number meanwhile; _group: unless the program itself waits for any
 * child, or ignores SIGCHLD.
 *
 *   @number  0: none, only ask whether that were possible
 *
 * Returns     0
 *             -ESRCH    that it has ended was told by torc_child_wait, or there is no child
 *             -EPERM    it runs as another user now
 *             -EINVAL   not a signal; _group: it leads no group
 * Suspends    never
 * Thread      as torc_child_wait
 * Source      pidfd_send_signal(2), kill(2)
 */
TORC_API int torc_child_signal(struct torc_child *child, int number);
TORC_API int torc_child_signal_group(struct torc_child *child, int number);

/*
 * torc_child_stop - end it: SIGTERM, and SIGKILL if it has not ended after some time. When it leads a group all of that get both,
 * and what is left of the group is killed when the child has ended.
 *
 * One that is stopped is continued (SIGCONT), so that it can. Works in a cancelled scope too, and is waited for. Only a process that hangs in the kernel outlasts it.
 *
 *   @grace_ns    0: SIGKILL at once; TORC_NEVER: never
 *   @ret_status  may be NULL
 *
 * Returns     0
 *             -ECHILD, -ESRCH   as torc_child_wait
 *             -EPERM            it runs as another user now, so nothing was done
 * Suspends    if it runs
 * Thread      as torc_child_wait
 */
TORC_API int torc_child_stop(struct torc_child *child, uint64_t grace_ns,
			     struct torc_child_status *ret_status);

/*
 * torc_child_close - done with it: close all descriptors, and kill it if it still runs, with its group if it leads one.
 *
 * Always takes effect, in a cancelled scope too. One that runs as another user and may not be killed is waited for. Harmless on one that could not be started, or is closed. No fiber may wait
 * for it any more.
 *
 * Suspends    if it runs
 * Thread      as torc_child_wait
 */
TORC_API void torc_child_close(struct torc_child *child);

/* torc_child_end_input - close `in`, so that it reads the end. Never suspends. */
TORC_API void torc_child_end_input(struct torc_child *child);

/* --- talking --- */

/* What each of its outputs may have unless said otherwise. */
#define TORC_CHILD_OUTPUT_MAX ((size_t)16 << 20)

/* What goes to a child and comes from it; zero what is not set. Caller's memory. */
struct torc_child_talk {
	const void *input; /* [input_len], borrowed */
	size_t input_len;
	size_t limit; /* of `out` and of `err`, in bytes each; 0: TORC_CHILD_OUTPUT_MAX */
	/* Something that the child has started, and that goes on without it, may keep its outputs open: so long is it waited for once
	 * the child has ended. 0: for ever. */
	uint64_t linger_ns;
	/* Filled in, also as far as it came before an error; for torc_child_talk_done to free. A zero byte follows. NULL: nothing
	 * came. */
	char *out, *err;
	size_t out_len, err_len;
	size_t input_done; /* so many bytes were written */
	/* private */
	size_t out_size, err_size;
};

/*
 * torc_child_communicate - give it its input and take its outputs, all at once, until the outputs end.
 *
 * Of its streams, those that are pipes here; `in` is closed when all input is written, the others when they have ended. That a child
 * does not read all its input is no error. What came before an error is in `talk`, and the call may be repeated with
 * it to go on from there. On a terminal, what comes is in `out`, and the end of the input is not told.
 *
 * Returns     0
 *             -EMSGSIZE   an output is longer than the limit; the first `limit` bytes are there. The child goes on, and soon
 *                         waits for somebody to read: close it, or stop it
 *             -ENOMEM     no memory
 *             -ECANCELED, -ETIMEDOUT   the scope; the child goes on
 * Suspends    always
 * Thread      as torc_child_wait; nobody else uses its pipes meanwhile
 */
TORC_API TORC_MUST_CHECK int torc_child_communicate(struct torc_child *child,
						    struct torc_child_talk *talk);

/* torc_child_talk_done - free what has come. Twice is harmless. */
TORC_API void torc_child_talk_done(struct torc_child_talk *talk);

/*
 * torc_child_run - start, communicate, wait, close; torc_run_command - the same with the input and both outputs as pipes, and
 * defaults.
 *
 * When it fails after the start, the child is killed. For a gentler end do these steps, with torc_child_stop.
 *
 *   @talk        may be NULL: no input (torc_run_command: /dev/null), outputs are inherited
 *   @ret_status  may be NULL
 *
 * Returns     0           the program has run, with whatever status
 *             or as torc_child_start, torc_child_communicate and torc_child_wait
 * Suspends    always
 * Thread      a fiber's
 */
TORC_API TORC_MUST_CHECK int torc_child_run(const struct torc_child_options *options,
					    struct torc_child_talk *talk,
					    struct torc_child_status *ret_status);
TORC_API TORC_MUST_CHECK int torc_run_command(const char *const *argv, struct torc_child_talk *talk,
					      struct torc_child_status *ret_status);

TORC_END_DECLS

#endif
