/*
 * io/child_exec.c - the birth of a child: io/internal/child.h.
 */
#include "io/internal/child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/internal/sanitize.h"

/* What it does is seen by no sanitizer: they would take it for this process. */
#define BARE __attribute__((no_sanitize("address", "thread", "undefined")))

#define STACK_BYTES 16384

/* The kernel's struct sigaction is no larger, and begins with the handler. Zeroed it is the default action. */
struct kernel_action {
	void (*handler)(int);
	unsigned long rest[7];
};

#define KERNEL_SIGNALS 64

BARE static _Noreturn void fail(struct torc__child_plan *plan, const char *what)
{
	*plan->report = (struct torc__child_report){ errno, what };
	for (;;)
		syscall(SYS_exit_group, 127);
}

/* The program's handlers are not the child's; what it ignores stays so, but for what only torc_run ignores. */
BARE static void reset_signals(void)
{
	struct kernel_action normal = { .handler = SIG_DFL }, now;

	for (int n = 1; n <= KERNEL_SIGNALS; n++) {
		if (n == SIGKILL || n == SIGSTOP ||
		    syscall(SYS_rt_sigaction, n, NULL, &now, sizeof(uint64_t)) < 0)
			continue;
		if (now.handler != SIG_IGN || n == SIGPIPE || n == SIGXFSZ)
			syscall(SYS_rt_sigaction, n, &normal, NULL, sizeof(uint64_t));
	}
}

BARE static void set_group(struct torc__child_plan *plan)
{
	const struct torc_child_options *o = plan->options;
	pid_t group = o->group == TORC_CHILD_GIVEN_GROUP ? o->group_id : 0;

	if (plan->session) {
		if (syscall(SYS_setsid) < 0)
			fail(plan, "setsid");
	} else if (o->group != TORC_CHILD_SAME_GROUP && syscall(SYS_setpgid, 0, group) < 0) {
		fail(plan, "setpgid");
	}
}

/* One that has a number which is asked for would be overwritten: away with it, to above all those. */
BARE static void move_away(struct torc__child_plan *plan, int above)
{
	for (size_t i = 0; i < plan->moves_count; i++) {
		struct torc__child_move *m = &plan->moves[i];
		long fd;

		if (m->fd >= above)
			continue;
		fd = syscall(SYS_fcntl, m->fd, F_DUPFD_CLOEXEC, above);
		if (fd < 0)
			fail(plan, "dup");
		m->fd = (int)fd;
	}
}

BARE static void set_descriptors(struct torc__child_plan *plan)
{
	int above = 3;

	for (size_t i = 0; i < plan->moves_count; i++)
		if (plan->moves[i].at >= above)
			above = plan->moves[i].at + 1;
	move_away(plan, above);
	if (syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
		fail(plan, "close_range");
	for (size_t i = 0; i < plan->moves_count; i++)
		if (syscall(SYS_dup3, plan->moves[i].fd, plan->moves[i].at, 0) < 0)
			fail(plan, "dup");
	if (plan->terminal >= 0 && syscall(SYS_ioctl, plan->terminal, TIOCSCTTY, 0) < 0)
		fail(plan, "terminal");
}

BARE static void set_limits(struct torc__child_plan *plan)
{
	const struct torc_child_options *o = plan->options;

	if (o->nice) {
		/* The system call's result is 20 less the niceness. */
		long now = 20 - syscall(SYS_getpriority, PRIO_PROCESS, 0);

		if (syscall(SYS_setpriority, PRIO_PROCESS, 0, now + o->nice) < 0)
			fail(plan, "nice");
	}
	for (size_t i = 0; i < o->limits_count; i++)
		if (syscall(SYS_prlimit64, 0, o->limits[i].resource, &o->limits[i].limit, NULL) < 0)
			fail(plan, "limits");
}

/* libc's functions of these names would change all threads of a process, which are the parent's. */
BARE static void set_ids(struct torc__child_plan *plan)
{
	const struct torc_child_options *o = plan->options;

	if (!o->set_ids)
		return;
	if (syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setgid, o->gid) < 0 ||
	    syscall(SYS_setuid, o->uid) < 0)
		fail(plan, "ids");
}

/* Is this error more to the point than an earlier one of another place? */
BARE static bool tells_more(int error, int earlier)
{
	return !earlier || error == EACCES || (error == ENOENT && earlier != EACCES);
}

/* Goes on to the next place when there is no such program, or it may not be executed, as execvp(3) does. */
BARE static void execute(struct torc__child_plan *plan)
{
	int error = 0;

	for (const char *path = plan->paths; *path; path++) {
		syscall(SYS_execve, path, plan->options->argv, plan->env);
		if (errno != ENOENT && errno != ENOTDIR && errno != EACCES)
			fail(plan, "exec");
		if (tells_more(errno, error))
			error = errno;
		while (*path)
			path++;
	}
	errno = error;
	fail(plan, "exec");
}

BARE static int child_main(void *arg)
{
	struct torc__child_plan *plan = arg;
	const uint64_t none = 0;

	reset_signals();
	set_group(plan);
	set_descriptors(plan);
	if (plan->options->cwd && syscall(SYS_chdir, plan->options->cwd) < 0)
		fail(plan, "chdir");
	set_limits(plan);
	set_ids(plan);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof(none));
	execute(plan);
	return 0;
}

/* --- the parent --- */

/* It has not become another program: only __WALL finds a child that signals nothing when it ends. */
static void bury(int pidfd)
{
	siginfo_t info;

	while (waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info, WEXITED | __WALL) < 0 &&
	       errno == EINTR)
		continue;
	close(pidfd);
}

/*
 * It ends without a signal until it is another program, which the kernel makes send SIGCHLD: so a start that fails is nobody
 * else's business, and nobody who waits for any child takes it away.
 */
#if !defined(TORC__TSAN)
static pid_t give_birth(struct torc__child_plan *plan, int *ret_pidfd)
{
	_Alignas(16) char stack[STACK_BYTES];
	int flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD;
	pid_t pid = clone(child_main, stack + sizeof(stack), flags, plan, ret_pidfd, NULL, NULL);

	return pid < 0 ? -errno : pid;
}

static struct torc__child_report *make_report(struct torc__child_report *ours)
{
	return ours;
}

static void drop_report(struct torc__child_report *report)
{
	(void)report;
}
#else
/* Its clone(2) takes a child with the same memory for a fork, and notes that in this memory. So it gets a copy, but for its report. */
static pid_t give_birth(struct torc__child_plan *plan, int *ret_pidfd)
{
	long pid = syscall(SYS_clone, CLONE_VFORK | CLONE_PIDFD, NULL, ret_pidfd, NULL, NULL);

	if (!pid)
		child_main(plan);
	return pid < 0 ? -errno : (pid_t)pid;
}

static struct torc__child_report *make_report(struct torc__child_report *ours)
{
	void *shared = mmap(NULL, sizeof(*ours), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			    -1, 0);

	return shared == MAP_FAILED ? NULL : shared;
}

static void drop_report(struct torc__child_report *report)
{
	munmap(report, sizeof(*report));
}
#endif

/* No handler of this process is to run in the child. */
static pid_t give_birth_undisturbed(struct torc__child_plan *plan, int *ret_pidfd)
{
	sigset_t all, before;
	pid_t pid;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid = give_birth(plan, ret_pidfd);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return pid;
}

int torc__child_launch(struct torc__child_plan *plan, pid_t *ret_pid, int *ret_pidfd)
{
	struct torc__child_report ours = { .error = 0 };
	int pidfd = -1;
	pid_t pid;

	plan->failed = "clone";
	plan->report = make_report(&ours);
	if (!plan->report)
		return -ENOMEM;
	pid = give_birth_undisturbed(plan, &pidfd);
	if (plan->report != &ours)
		ours = *plan->report;
	drop_report(plan->report);
	if (pid < 0)
		return pid;
	if (ours.error) {
		plan->failed = ours.failed;
		bury(pidfd);
		return -ours.error;
	}
	*ret_pid = pid;
	*ret_pidfd = pidfd;
	return 0;
}
