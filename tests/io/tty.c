#include "tests/io/system.h"

#include <sys/wait.h>

#include <termios.h>

#include <torc/core/defer.h>
#include <torc/io/tty.h>

TestSuite(tty, .timeout = 30);

static bool is_raw(int fd)
{
	struct termios mode;

	check_eq(tcgetattr(fd, &mode), 0);
	return !(mode.c_lflag & (ECHO | ICANON | ISIG));
}

static void restore(void *saved)
{
	check_eq(torc_tty_restore(saved), 0);
}

static int raw_for_a_block(int fd)
{
	struct torc_tty_saved saved;
	int r = torc_tty_raw(fd, &saved);

	if (r < 0)
		return r;
	torc_defer(restore, &saved);
	check(is_raw(fd));
	return torc_sleep(TORC_NEVER);
}

static int raw_mode(void *arg)
{
	struct torc_tty_saved saved = { .fd = 77 };
	struct termios before, after;
	struct torc_scope t;
	int fd[2], file = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)arg;
	open_pty(fd);
	check(torc_tty_is(fd[1]));
	check(!torc_tty_is(file));
	check(!torc_tty_is(-1));
	check_eq(tcgetattr(fd[1], &before), 0);
	torc_scope_enter(&t, 0);
	check_eq(raw_for_a_block(fd[1]), -ETIMEDOUT);
	torc_scope_leave(&t);
	check_eq(tcgetattr(fd[1], &after), 0);
	check_eq(after.c_lflag, before.c_lflag);
	check_eq(after.c_iflag, before.c_iflag);
	check_eq(after.c_oflag, before.c_oflag);
	check_eq(after.c_cflag, before.c_cflag);
	check(!memcmp(after.c_cc, before.c_cc, sizeof(after.c_cc)));
	check_eq(torc_tty_raw(file, &saved), -ENOTTY);
	check_eq(torc_tty_raw(-1, &saved), -EBADF);
	check_eq(saved.fd, 77);
	close(file);
	close(fd[0]);
	close(fd[1]);
	return 0;
}

Test(tty, raw_mode_ends_with_its_block)
{
	run(raw_mode, NULL);
}

static int sizes(void *arg)
{
	struct torc_tty_size size = { .rows = 7 };
	int fd[2], file = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)arg;
	open_pty(fd);
	check_eq(torc_tty_set_size(fd[0], &(struct torc_tty_size){ .rows = 24, .columns = 80 }), 0);
	check_eq(torc_tty_size(fd[1], &size), 0);
	check_eq(size.rows, 24);
	check_eq(size.columns, 80);
	check_eq(torc_tty_size(file, &size), -ENOTTY);
	check_eq(torc_tty_set_size(file, &size), -ENOTTY);
	check_eq(torc_tty_size(-1, &size), -EBADF);
	check_eq(size.rows, 24);
	close(file);
	close(fd[0]);
	close(fd[1]);
	return 0;
}

Test(tty, the_size_is_told_and_set)
{
	run(sizes, NULL);
}

/* --- nobody controls it --- */

static int as_an_orphan(void *arg)
{
	struct torc_tty_saved saved = { .fd = 77 };

	check_eq(torc_tty_raw(*(int *)arg, &saved), -EIO);
	check_eq(saved.fd, 77);
	return 0;
}

/* A process in the background of its terminal, in a group of which nobody's parent is in the session any more. */
static void be_orphan(int terminal, int go, int said)
{
	char byte;

	check_eq(setpgid(0, 0), 0);
	if (fork())
		_exit(0);
	check_eq(read(go, &byte, 1), 1);
	byte = torc_run(NULL, as_an_orphan, &terminal) == 0 ? 'y' : 'n';
	check_eq(write(said, &byte, 1), 1);
	_exit(0);
}

/* The leader outlives it: with that one the terminal would go. */
static void lead_session(int terminal, int said)
{
	pid_t parent;
	char byte;
	int go[2], stay[2];

	check_eq(setsid(), getpid());
	check_eq(ioctl(terminal, TIOCSCTTY, 0), 0);
	check_eq(pipe2(go, O_CLOEXEC), 0);
	check_eq(pipe2(stay, O_CLOEXEC), 0);
	parent = fork();
	if (!parent) {
		close(stay[0]);
		be_orphan(terminal, go[0], said);
	}
	close(stay[1]);
	check_eq(waitpid(parent, NULL, 0), parent);
	check_eq(write(go[1], "x", 1), 1);
	check_eq(read(stay[0], &byte, 1), 0); /* the orphan has ended */
	_exit(0);
}

Test(tty, one_that_nobody_controls_is_eio)
{
	int fd[2], said[2], status;
	pid_t leader;
	char byte = 0;

	open_pty(fd);
	check_eq(pipe2(said, O_CLOEXEC), 0);
	leader = fork();
	check_ge(leader, 0);
	if (!leader)
		lead_session(fd[1], said[1]);
	close(said[1]);
	check_eq(read(said[0], &byte, 1), 1);
	check_eq(byte, 'y');
	check_eq(waitpid(leader, &status, 0), leader);
	check_eq(status, 0);
	close(said[0]);
	close(fd[0]);
	close(fd[1]);
}

/* --- reading --- */

struct reader {
	int fd, result;
	char buf[64];
};

static int reader_main(void *arg)
{
	struct reader *r = arg;

	r->result = torc_read(r->fd, r->buf, sizeof(r->buf));
	return 0;
}

/* Of a terminal with O_NONBLOCK or without. */
static int cancelled_read(void *flags)
{
	struct torc_group g;
	struct torc_scope t;
	struct reader r = { .buf = "pristin" };
	uint64_t begun = torc_now_ns();
	int fd[2];

	open_pty(fd);
	check_eq(fcntl(fd[1], F_SETFL, *(int *)flags), 0);
	r.fd = fd[1];
	for (int i = 0; i < 20;
	     i++) { /* it must not be asleep in the kernel, where nothing can stop it */
		torc_scope_enter(&t, TORC_MS(1));
		if (*(int *)flags)
			check_eq(torc_poll(fd[1], POLLIN), -ETIMEDOUT);
		else
			check_eq(torc_read(fd[1], r.buf, sizeof(r.buf)), -ETIMEDOUT);
		torc_scope_leave(&t);
	}
	check_lt(torc_now_ns() - begun, TORC_SECONDS(5));
	check(!memcmp(r.buf, "pristin", 8));
	if (*(int *)flags) {
		torc_scope_enter(&t, TORC_MS(5));
		r.result = torc_read(fd[1], r.buf, sizeof(r.buf));
		torc_scope_leave(&t);
		check(r.result == -ETIMEDOUT ||
		      r.result == -EAGAIN);                /* as the kernel is newer or older */
		check_eq(torc_write(fd[0], "half", 4), 4); /* no line yet */
		check_eq(torc_write(fd[0], " a line\n", 8), 8);
		check_eq(torc_poll(fd[1], POLLIN), POLLIN);
		reader_main(&r);
	} else {
		torc_group_enter(&g);
		check_eq(torc_group_spawn(&g, reader_main, &r), 0);
		check_eq(torc_write(fd[0], "half", 4), 4);
		check_eq(torc_write(fd[0], " a line\n", 8), 8);
		check_eq(torc_group_wait(&g), 0);
	}
	check_eq(r.result, 12);
	check(!memcmp(r.buf, "half a line\n", 12));
	close(fd[0]);
	close(fd[1]);
	return 0;
}

Test(tty, a_cancelled_read_returns_promptly_and_loses_nothing)
{
	static int flags[] = { 0, O_NONBLOCK };

	for (size_t i = 0; i < COUNT(flags); i++)
		run_all_features(NULL, cancelled_read, &flags[i]);
}

/* Standard input, whatever it is. */
static int read_stdin(void *arg)
{
	const char *expected = arg;
	char buf[16] = "", *p = buf;
	int r;

	while ((r = torc_read(STDIN_FILENO, p, 4)) > 0)
		p += r;
	check_eq(r, 0);
	check(!strcmp(buf, expected));
	return 0;
}

static void with_stdin(int fd, const char *expected)
{
	check_eq(dup2(fd, STDIN_FILENO), 0);
	close(fd);
	run(read_stdin, (void *)(uintptr_t)expected);
}

Test(tty, standard_input_may_be_anything)
{
	char path[] = "/tmp/torc-stdin-XXXXXX";
	int fd = mkstemp(path), fds[2];

	with_stdin(open("/dev/null", O_RDONLY | O_CLOEXEC), "");
	check_eq(write(fd, "from a file", 11), 11);
	check_eq(lseek(fd, 0, SEEK_SET), 0);
	with_stdin(fd, "from a file");
	check_eq(unlink(path), 0);
	check_eq(pipe2(fds, O_CLOEXEC), 0);
	check_eq(write(fds[1], "from a pipe", 11), 11);
	close(fds[1]);
	with_stdin(fds[0], "from a pipe");
	unix_pair(fds);
	send_text(fds[1], "from a peer");
	close(fds[1]);
	with_stdin(fds[0], "from a peer");
	open_pty(fds);
	check_eq(write(fds[0], "a key\n\4", 7), 7); /* ^D: the end */
	with_stdin(fds[1], "a key\n");
	close(fds[0]);
}

static int simulated(void *arg)
{
	struct torc_tty_saved saved = { .fd = 0 };
	struct torc_tty_size size;

	(void)arg;
	check(!torc_tty_is(0));
	check_eq(torc_tty_raw(0, &saved), -ENOSYS);
	check_eq(torc_tty_restore(&saved), -ENOSYS);
	check_eq(torc_tty_size(0, &size), -ENOSYS);
	check_eq(torc_tty_set_size(0, &(struct torc_tty_size){ .rows = 1 }), -ENOSYS);
	return 0;
}

Test(tty, there_is_none_on_the_simulator)
{
	run_simulated(simulated);
}
