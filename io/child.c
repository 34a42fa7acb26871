#include <torc/io/child.h>

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <torc/core/fiber.h>
#include <torc/core/scope.h>
#include <torc/core/sys.h>
#include <torc/io/poll.h>

#include "core/internal/fiber.h"
#include "io/internal/call.h"
#include "io/internal/child.h"

/* --- its end --- */

static int wait_id(struct torc_child *c, siginfo_t *info, int how, struct rusage *usage)
{
	int r;

	info->si_pid = 0;
	do
		r = (int)syscall(SYS_waitid, P_PIDFD, c->pidfd, info,
				 WEXITED | WNOHANG | __WALL | how, usage);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

static void note_status(struct torc_child *c, const siginfo_t *info)
{
	bool exited = info->si_code == CLD_EXITED;

	c->status.exit_code = exited ? info->si_status : -1;
	c->status.signal = exited ? 0 : info->si_status;
	c->status.core_dumped = info->si_code == CLD_DUMPED;
	c->ended = true;
}

/*
 * Take its status, if it has ended. What is left of its group is killed before: while nobody has taken the status, its number
 * is no other's.
 */
static int reap(struct torc_child *c)
{
	siginfo_t info;
	int r = wait_id(c, &info, WNOWAIT, NULL);

	if (!r && info.si_pid && c->kills_group)
		(void)kill(-c->pid, SIGKILL);
	if (!r && info.si_pid)
		r = wait_id(c, &info, 0, &c->status.usage);
	if (r < 0)
		c->ended = c->lost = true;
	else if (info.si_pid)
		note_status(c, &info);
	return c->ended ? 0 : -EAGAIN;
}

static int tell(const struct torc_child *c, struct torc_child_status *ret_status)
{
	if (c->lost)
		return -ECHILD;
	if (ret_status)
		*ret_status = c->status;
	return 0;
}

/* A debugger that traces it is told first: until that lets go of it, it has ended and cannot be waited for. */
static int await_status(struct torc_child *c)
{
	int r = 0;

	while (r >= 0 && !c->ended) {
		r = torc_poll(c->pidfd, POLLIN);
		if (r >= 0 && !c->ended && reap(c) == -EAGAIN)
			r = torc_sleep(TORC_MS(1));
	}
	return c->ended ? 0 : r; /* it may have been waited for by another fiber */
}

int torc_child_wait(struct torc_child *c, struct torc_child_status *ret_status)
{
	int r = torc__scope_check(torc__self());

	if (r < 0)
		return r;
	if (c->pidfd < 0)
		return -ESRCH;
	c->waiting++;
	r = await_status(c);
	c->waiting--;
	return r < 0 ? r : tell(c, ret_status);
}

/* --- signals --- */

static int send_signal(struct torc_child *c, int number)
{
	if (c->pidfd < 0 || c->ended)
		return -ESRCH;
	return syscall(SYS_pidfd_send_signal, c->pidfd, number, NULL, 0) < 0 ? -errno : 0;
}

int torc_child_signal(struct torc_child *c, int number)
{
	return send_signal(c, number);
}

/* That the child can be found by its descriptor says that the number is still its own. */
int torc_child_signal_group(struct torc_child *c, int number)
{
	int r = c->leads_group ? send_signal(c, 0) : c->pidfd < 0 || c->ended ? -ESRCH : -EINVAL;

	if (r < 0 && r != -EPERM)
		return r;
	return kill(-c->pid, number) < 0 ? -errno : 0;
}

static int send_all(struct torc_child *c, int number)
{
	return c->leads_group ? torc_child_signal_group(c, number) : send_signal(c, number);
}

/* --- stop --- */

/* Returns -ETIMEDOUT when it has not ended after that time. */
static int await_end(struct torc_child *c, uint64_t timeout_ns)
{
	struct torc_scope limit;
	int r;

	torc_scope_enter(&limit, timeout_ns);
	r = torc_child_wait(c, NULL);
	torc_scope_leave(&limit);
	return r;
}

static int stop(struct torc_child *c, uint64_t grace_ns)
{
	int r = grace_ns ? send_all(c, SIGTERM) : -ETIMEDOUT;

	if (!r) {
		(void)send_all(c, SIGCONT);
		r = await_end(c, grace_ns);
	}
	if (r == -ETIMEDOUT)
		r = send_all(c, SIGKILL);
	else if (!r)
		return 0;
	/* One that has gone without a trace: that is found out by waiting. */
	return r < 0 && r != -ESRCH ? r : await_end(c, TORC_NEVER);
}

int torc_child_stop(struct torc_child *c, uint64_t grace_ns, struct torc_child_status *ret_status)
{
	struct torc_scope shield;
	int r;

	if (c->pidfd < 0)
		return -ESRCH;
	torc_scope_enter_shield(&shield, TORC_NEVER);
	c->kills_group = c->leads_group;
	r = c->ended ? 0 : stop(c, grace_ns);
	torc_scope_leave(&shield);
	/* It may have been waited for by another fiber. */
	return r < 0 && !c->ended ? r : tell(c, ret_status);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		torc_sys_close(*fd);
	*fd = -1;
}

void torc_child_end_input(struct torc_child *c)
{
	close_fd(&c->in);
}

void torc_child_close(struct torc_child *c)
{
	struct torc_scope shield;

	torc__check(!c->waiting, "a child is closed while a fiber waits for it");
	close_fd(&c->in);
	close_fd(&c->out);
	close_fd(&c->err);
	close_fd(&c->pty);
	if (c->pidfd >= 0 && torc_child_stop(c, 0, NULL) == -EPERM) {
		torc_scope_enter_shield(&shield, TORC_NEVER);
		(void)!torc_child_wait(c, NULL);
		torc_scope_leave(&shield);
	}
	close_fd(&c->pidfd);
}
