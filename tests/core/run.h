/*
 * tests/core/run.h - what the tests of core share: checks that work in fibers of any loop, a runtime that is
 * checked for leaks, children that are expected to die, small operations.
 */
#ifndef TESTS_CORE_RUN_H
#define TESTS_CORE_RUN_H

#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <torc/core/group.h>
#include <torc/core/op.h>
#include <torc/core/run.h>
#include <torc/core/scope.h>

#include "tests/support/check.h"
#include "tests/support/fds.h"
#include "tests/support/random.h"

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#ifndef WITH_ASAN
#define WITH_ASAN 0
#endif

/* A value, or a function, as a fiber's argument. */
#define ARG(value)   ((void *)(intptr_t)(value))
#define VALUE(arg)   ((intptr_t)(arg))
#define OPTIONS(...) (&(struct torc_options){ __VA_ARGS__ })
#define HOW(...)     (&(struct torc_spawn_options){ __VA_ARGS__ })

/* Runs are bounded by this where a broken promise would make them wait for ever. */
#define LONG TORC_SECONDS(30)

/* torc_run, and no descriptor may be left behind. */
static inline int run_with(const struct torc_options *options, torc_fn *fn, void *arg)
{
	int before = count_fds(), r;

	r = torc_run(options, fn, arg);
	check_eq(count_fds(), before);
	return r;
}

static inline void run(torc_fn *fn, void *arg)
{
	check_eq(run_with(NULL, fn, arg), 0);
}

/* With guards that have owners, and without. */
static inline void run_both_guards(const struct torc_options *options, torc_fn *fn, void *arg)
{
	static const char *const off[] = { "", "membarrier" };

	for (size_t i = 0; i < COUNT(off); i++) {
		setenv("TORC_DISABLE", off[i], 1);
		check_eq(run_with(options, fn, arg), 0);
	}
	unsetenv("TORC_DISABLE");
}

/* fn(arg) on that loop, to its end: the only fiber of g, which is entered and left. */
static inline int run_in_group_on(struct torc_group *g, int loop, torc_fn *fn, void *arg)
{
	torc_group_enter(g);
	check_eq(torc_group_spawn_with(g, HOW(.loop = TORC_ON_LOOP(loop)), fn, arg), 0);
	return torc_group_wait(g);
}

static inline int run_on(int loop, torc_fn *fn, void *arg)
{
	struct torc_group g;

	return run_in_group_on(&g, loop, fn, arg);
}

/* --- small fibers --- */

static inline int forever(void *arg)
{
	(void)arg;
	return torc_sleep(TORC_NEVER);
}

static inline int return_arg(void *arg)
{
	return (int)VALUE(arg);
}

static inline int cancel_scope(void *arg)
{
	torc_scope_cancel(arg);
	return 0;
}

/* --- small operations --- */

static inline int nop(void)
{
	struct torc_op op;
	struct io_uring_sqe *sqe;
	int r = torc_op_begin(&op, &sqe);

	if (r < 0)
		return r;
	io_uring_prep_nop(sqe);
	return torc_op_wait(&op);
}

static inline int read_fd(int fd, void *buf, unsigned len)
{
	struct torc_op op;
	struct io_uring_sqe *sqe;
	int r = torc_op_begin(&op, &sqe);

	if (r < 0)
		return r;
	io_uring_prep_read(sqe, fd, buf, len, (uint64_t)-1);
	return torc_op_wait(&op);
}

/* --- a child that is expected to die --- */

struct died {
	int signal; /* 0: it exited */
	int status;
	char text[8192]; /* what it wrote to standard error */
};

static inline int count_lines(const char *text)
{
	int n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

/* body(arg) in a child, which exits with its result. */
static inline struct died in_child(int (*body)(void *arg), void *arg)
{
	struct died d = { .signal = 0 };
	int fds[2], status;
	size_t n = 0;
	ssize_t got;
	pid_t pid;

	check_eq(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	if (!pid) {
		dup2(fds[1], STDERR_FILENO);
		signal(SIGABRT, SIG_DFL);
		if (!WITH_ASAN)
			signal(SIGSEGV, SIG_DFL);
		alarm(20); /* it must not hang for ever */
		_exit(body(arg));
	}
	close(fds[1]);
	while ((got = read(fds[0], d.text + n, sizeof(d.text) - 1 - n)) > 0)
		n += (size_t)got;
	close(fds[0]);
	check_eq(waitpid(pid, &status, 0), pid);
	d.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	d.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	return d;
}

struct run_call {
	const struct torc_options *options;
	torc_fn *fn;
	void *arg;
};

static inline int call_run(void *arg)
{
	const struct run_call *call = arg;

	return torc_run(call->options, call->fn, call->arg) != 0;
}

/* torc_run in a child, which exits with whether it has failed. */
static inline struct died run_in_child(const struct torc_options *options, torc_fn *fn, void *arg)
{
	return in_child(call_run, &(struct run_call){ options, fn, arg });
}

/* It was a trap, with a message that has `what` in it. */
static inline void check_trapped(const struct died *d, const char *what)
{
	check_eq(d->signal, SIGABRT);
	if (!strstr(d->text, what) || strncmp(d->text, "torc: ", 6) != 0 ||
	    count_lines(d->text) != 1) {
		fprintf(stderr, "expected \"%s\", got: %s\n", what, d->text);
		abort();
	}
}

/* fn(arg), run as the first fiber of a child with these options, must trap. */
static inline void expect_trap_with(const struct torc_options *options, torc_fn *fn, void *arg,
				    const char *what)
{
	struct died d = run_in_child(options, fn, arg);

	check_trapped(&d, what);
}

static inline void expect_trap(torc_fn *fn, const char *what)
{
	expect_trap_with(NULL, fn, NULL, what);
}

/* fn must trap where no loop runs. */
static inline void expect_trap_outside(int (*fn)(void *arg), const char *what)
{
	struct died d = in_child(fn, NULL);

	check_trapped(&d, what);
}

#endif
