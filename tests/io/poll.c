#include "tests/io/system.h"

#include <torc/core/sys.h>

TestSuite(poll, .timeout = 30);

/* --- what is ready --- */

static int poll_ready(void *arg)
{
	char page[4096] = { 0 };
	int fds[2], file;

	(void)arg;
	check_eq(torc_pipe(fds, O_NONBLOCK), 0);
	check_eq(torc_poll(fds[1], POLLOUT), POLLOUT);
	check_eq(torc_poll(fds[1], POLLIN | POLLOUT), POLLOUT);
	check_eq(write(fds[1], "x", 1), 1);
	check_eq(torc_poll(fds[0], POLLIN), POLLIN);
	check_eq(torc_poll(fds[0], POLLIN | POLLRDNORM), POLLIN | POLLRDNORM);
	while (write(fds[1], page, sizeof(page)) > 0)
		continue;
	close(fds[1]);
	check_eq(torc_poll(fds[0], POLLIN), POLLIN | POLLHUP);
	check_eq(torc_poll(fds[0], 0), POLLHUP);
	close(fds[0]);
	check_eq(torc_pipe(fds, 0), 0);
	close(fds[0]);
	check_eq(torc_poll(fds[1], 0), POLLERR);
	close(fds[1]);
	file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	check_eq(torc_poll(file, POLLIN), POLLIN);
	check_eq(torc_poll(file, POLLIN | POLLOUT), POLLIN | POLLOUT);
	check_eq(torc_poll(file, POLLPRI), -EINVAL);
	close(file);
	check_eq(torc_poll(file, POLLIN), -EBADF);
	check_eq(torc_poll(-1, POLLIN), -EBADF);
	return 0;
}

Test(poll, tells_what_a_descriptor_is_ready_for)
{
	run_all_features(NULL, poll_ready, NULL);
}

/* --- waiting --- */

struct waiter {
	int fd;
	short events;
	int result;
};

static int waiter_main(void *arg)
{
	struct waiter *w = arg;

	w->result = torc_poll(w->fd, w->events);
	return 0;
}

static int poll_waits(void *arg)
{
	struct torc_group g;
	struct waiter w[2];
	int fd[2];

	(void)arg;
	unix_pair(fd);
	for (int i = 0; i < 2; i++)
		w[i] = (struct waiter){ .fd = fd[0], .events = POLLIN };
	torc_group_enter(&g);
	for (int i = 0; i < 2; i++)
		check_eq(torc_group_spawn(&g, waiter_main, &w[i]), 0);
	torc_yield();
	torc_yield();
	check_eq(w[0].result, 0);
	send_text(fd[1], "x");
	check_eq(torc_group_wait(&g), 0);
	check_eq(w[0].result, POLLIN);
	check_eq(w[1].result, POLLIN);
	torc_close(fd[0]);
	torc_close(fd[1]);
	return 0;
}

Test(poll, wakes_all_who_wait_for_it)
{
	run_all_features(NULL, poll_waits, NULL);
}

static int poll_cancelled(void *arg)
{
	struct torc_group g;
	struct torc_task task;
	struct torc_scope t;
	struct torc_spawn_options o = { .task = &task };
	struct waiter w = { .events = POLLIN };
	int fd[2];

	(void)arg;
	unix_pair(fd);
	w.fd = fd[0];
	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g, &o, waiter_main, &w), 0);
	torc_yield();
	torc_yield();
	torc_task_cancel(&task);
	check_eq(torc_group_wait(&g), 0);
	check_eq(w.result, -ECANCELED);
	torc_scope_enter(&t, TORC_MS(10));
	check_eq(torc_poll(fd[0], POLLIN), -ETIMEDOUT);
	send_text(fd[1], "x");
	check_eq(torc_poll(fd[0], POLLIN), -ETIMEDOUT);
	torc_scope_leave(&t);
	check_eq(torc_poll(fd[0], POLLIN), POLLIN);
	torc_close(fd[0]);
	torc_close(fd[1]);
	return 0;
}

Test(poll, ends_with_its_scope)
{
	run_all_features(NULL, poll_cancelled, NULL);
}

/* --- pipes --- */

static int pipe_use(void *arg)
{
	struct torc_scope t;
	char buf[8];
	int fds[2] = { 7, 8 };

	(void)arg;
	check_eq(torc_pipe(fds, 0x40000000), -EINVAL);
	torc_scope_enter(&t, 0);
	check_eq(torc_pipe(fds, 0), -ETIMEDOUT);
	torc_scope_leave(&t);
	check_eq(fds[0], 7);
	check_eq(torc_pipe(fds, 0), 0);
	check_eq(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
	check_eq(fcntl(fds[1], F_GETFD), FD_CLOEXEC);
	check_eq(torc_write_all(fds[1], "hello", 5), 0);
	check_eq(torc_read(fds[0], buf, sizeof(buf)), 5);
	torc_scope_enter(&t,
			 TORC_MS(10)); /* a descriptor without O_NONBLOCK is no reason to block */
	check_eq(torc_read(fds[0], buf, sizeof(buf)), -ETIMEDOUT);
	torc_scope_leave(&t);
	check_eq(torc_write_all(fds[1], "again", 5), 0);
	check_eq(close(fds[1]), 0);
	check_eq(torc_read(fds[0], buf, sizeof(buf)), 5);
	check(!memcmp(buf, "again", 5));
	check_eq(torc_read(fds[0], buf, sizeof(buf)), 0);
	close(fds[0]);
	check_eq(torc_pipe(fds, 0), 0);
	close(fds[0]);
	check_eq(torc_write(fds[1], "x", 1), -EPIPE);
	close(fds[1]);
	return 0;
}

Test(poll, a_pipe_is_read_and_written_and_its_cancelled_reads_lose_nothing)
{
	run_all_features(NULL, pipe_use, NULL);
}

static int pipe_full(void *arg)
{
	static char data[1 << 20];
	struct torc_scope t;
	int fds[2], r, sent = 0, got = 0;

	(void)arg;
	check_eq(torc_pipe(fds, 0), 0);
	torc_scope_enter(&t, TORC_MS(20));
	while ((r = torc_write(fds[1], data, sizeof(data))) > 0)
		sent += r;
	check_eq(r, -ETIMEDOUT);
	torc_scope_leave(&t);
	check_ge(sent, 4096);
	close(fds[1]);
	while ((r = torc_read(fds[0], data, sizeof(data))) > 0)
		got += r;
	check_eq(got, sent); /* what was written is told, what was not is not there */
	close(fds[0]);
	return 0;
}

Test(poll, a_full_pipe_holds_its_writer_until_the_scope_ends)
{
	run_all_features(NULL, pipe_full, NULL);
}

static int pipe_starved(void *arg)
{
	struct rlimit old, low;
	int fds[2] = { 7, 8 }, r;

	(void)arg;
	check_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	for (low.rlim_cur = 3;; low.rlim_cur++) {
		check_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
		r = torc_pipe(fds, 0);
		if (!r)
			break;
		check_eq(r, -EMFILE);
		check_eq(fds[0], 7);
	}
	check_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	close(fds[0]);
	close(fds[1]);
	return 0;
}

Test(poll, a_pipe_that_cannot_be_made_leaves_nothing)
{
	run(pipe_starved, NULL);
}

/* --- on the simulator --- */

static int simulated(void *arg)
{
	struct torc_scope t;
	char c;
	int fds[2];

	(void)arg;
	check_eq(torc_pipe(fds, 0), 0);
	check_eq(torc_poll(fds[1], POLLOUT), POLLOUT);
	torc_scope_enter(&t, TORC_SECONDS(5));
	check_eq(torc_poll(fds[0], POLLIN), -ETIMEDOUT);
	torc_scope_leave(&t);
	check_eq(torc_write(fds[1], "x", 1), 1);
	check_eq(torc_poll(fds[0], POLLIN), POLLIN);
	check_eq(torc_read(fds[0], &c, 1), 1);
	torc_sys_close(fds[0]);
	torc_sys_close(fds[1]);
	return 0;
}

Test(poll, pipes_and_poll_are_simulated_too)
{
	run_simulated(simulated);
}
