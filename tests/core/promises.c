/*
 * The promises of core's headers, each as a program that runs on a loop. One suite: Criterion 2.4.1 leaks a
 * little with several, and LeakSanitizer would take that for ours.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <execinfo.h>
#include <fenv.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <torc/torc.h>

#include "tests/core/run.h"

TestSuite(core, .timeout = 60);

/* --- run --- */

Test(core, run_returns_what_the_function_returned)
{
	cr_assert_eq(run_with(NULL, return_arg, (void *)7), 7);
	cr_assert_eq(run_with(NULL, return_arg, (void *)-5), -5);
}

Test(core, run_leaves_no_descriptor_behind)
{
	int before = count_fds();

	for (int i = 0; i < 20; i++)
		cr_assert_eq(torc_run(&(struct torc_options){ .loops = 3 }, return_arg, NULL), 0);
	cr_assert_eq(count_fds(), before);
}

static int run_again(void *arg)
{
	(void)arg;
	return torc_run(NULL, return_arg, NULL);
}

Test(core, run_refuses_to_nest)
{
	cr_assert_eq(run_with(NULL, run_again, NULL), -EBUSY);
}

Test(core, run_refuses_options_out_of_range)
{
	static const struct torc_options bad[] = {
		{ .loops = -2 },         { .loops = 257 },       { .ring_entries = 7 },
		{ .ring_entries = 100 }, { .recv_buffers = 12 }, { .stack_bytes = (size_t)1 << 27 },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(torc_run(&bad[i], return_arg, NULL), -EINVAL, "case %zu", i);
}

Test(core, run_refuses_unknown_features)
{
	setenv("TORC_DISABLE", "msg_ring,nonsense", 1);
	cr_assert_eq(run_with(NULL, return_arg, NULL), -EINVAL);
}

static int raise_and_wait(void *arg)
{
	kill(getpid(), (int)(intptr_t)arg);
	return torc_sleep(TORC_NEVER);
}

Test(core, run_signals_cancel_the_first_fiber)
{
	cr_assert_eq(run_with(NULL, raise_and_wait, (void *)SIGINT), -ECANCELED);
	cr_assert_eq(run_with(NULL, raise_and_wait, (void *)SIGTERM), -ECANCELED);
}

Test(core, run_a_signal_that_was_ignored_cancels_too)
{
	signal(SIGINT, SIG_IGN);
	cr_assert_eq(run_with(NULL, raise_and_wait, (void *)SIGINT), -ECANCELED);
	cr_assert_eq(signal(SIGINT, SIG_DFL), SIG_IGN, "the disposition is restored");
}

/* --- every feature turned off in turn --- */

static int mixed(void *arg)
{
	struct torc_group g;

	(void)arg;
	for (int round = 0; round < 50; round++) {
		struct torc_spawn_options there = { .loop = TORC_ON_LOOP(1) };

		torc_group_enter(&g);
		check(torc_group_spawn_with(&g, &there, return_arg, (void *)3) == 0);
		check(torc_group_spawn(&g, return_arg, NULL) == 0);
		check(nop() == 0);
		check(torc_sleep(1000) == 0);
		check(torc_group_wait(&g) == 0);
	}
	return 0;
}

Test(core, run_works_without_each_feature)
{
	static const char *const features[] = {
		"guard_install", "msg_ring",        "single_issuer",
		"defer_taskrun", "registered_ring", "recv_multishot",
		"min_wait",      "cqe_skip",        "msg_ring,min_wait,guard_install,single_issuer"
	};

	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		setenv("TORC_DISABLE", features[i], 1);
		cr_assert_eq(torc_run(&(struct torc_options){ .loops = 2 }, mixed, NULL), 0, "%s",
			     features[i]);
	}
}

/* --- traps and overflows, in a child --- */

static int refusal;

/* As a container's seccomp profile, or a kernel without io_uring, would. */
static int run_refused(void *arg)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)refusal),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { .len = 4, .filter = code };

	(void)arg;
	check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	check(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
	return torc_run(&(struct torc_options){ .loops = 2 }, return_arg, NULL) == -refusal ? 0 : 1;
}

/* The setting as this process sees it: a file of ours over the real one, in a mount namespace of our own. */
static int run_switched_off(void *arg)
{
	static const char setting[] = "/proc/sys/kernel/io_uring_disabled";
	char path[] = "/tmp/torc-sysctl-XXXXXX";
	int fd = mkstemp(path), r;

	check(fd >= 0 && write(fd, "2\n", 2) == 2);
	r = unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount(path, setting, NULL, MS_BIND, NULL) < 0;
	unlink(path);
	close(fd);
	return r ? 77 : run_refused(arg);
}

static rlim_t locked_bytes;

/* As a user who has no privileges and little memory that may be locked. */
static int run_with_little_locked(void *arg)
{
	const struct rlimit limit = { locked_bytes, locked_bytes };

	(void)arg;
	check(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
	check(setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
	return torc_run(&(struct torc_options){ .loops = 2 }, mixed, NULL);
}

Test(core, run_makes_do_with_little_locked_memory)
{
	struct died d;

	if (getuid()) {
		fprintf(stderr, "skipped: only root can become a user that has no other rings\n");
		return;
	}
	locked_bytes = 96 << 10; /* one ring of the default size has more */
	d = in_child(run_with_little_locked, NULL);
	cr_assert_eq(d.signal, 0);
	cr_assert_eq(d.status, 0, "%s", d.text);
	cr_assert_eq(count_lines(d.text), 0, "%s", d.text);
}

Test(core, run_tells_the_sysctl_from_seccomp)
{
	struct died d;

	refusal = EPERM;
	d = in_child(run_switched_off, NULL);
	cr_assert_eq(d.signal, 0);
	if (d.status == 77) {
		fprintf(stderr,
			"skipped: no mount namespace for this user, or a kernel before 6.6\n");
		return;
	}
	cr_assert_eq(d.status, 0, "%s", d.text);
	cr_assert(strstr(d.text, "sysctl kernel.io_uring_disabled=0"), "%s", d.text);
	cr_assert_not(strstr(d.text, "seccomp"), "%s", d.text);
}

Test(core, run_says_why_io_uring_is_refused)
{
	static const struct {
		int error;
		const char *text;
	} cases[] = {
		{ EPERM, "seccomp" },
		{ ENOSYS, "Linux 6.1" },
		{ ENOMEM, "RLIMIT_MEMLOCK" },
		{ EMFILE, "ulimit -n" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct died d;

		refusal = cases[i].error;
		d = in_child(run_refused, NULL);
		cr_assert_eq(d.signal, 0);
		cr_assert_eq(d.status, 0, "case %zu: %s", i, d.text);
		cr_assert(strstr(d.text, cases[i].text), "%s", d.text);
		cr_assert_eq(strchr(d.text, '\n'), d.text + strlen(d.text) - 1, "one line");
	}
}

/* ASan has a handler of its own for SIGSEGV, which comes first. */
#if !defined(__SANITIZE_ADDRESS__)
static __attribute__((noinline)) int dig(int depth)
{
	volatile char frame[512];

	frame[0] = (char)depth;
	return depth < 0 ? 0 : dig(depth + 1) + frame[0]; /* it ends only by the overflow */
}

static int dig_in(void *arg)
{
	(void)arg;
	torc_fiber_set_name("digger");
	return dig(0);
}

static void expect_overflow(void)
{
	struct died d = run_in_child(NULL, dig_in, NULL);

	cr_assert_eq(d.signal, SIGSEGV);
	cr_assert(strstr(d.text, "stack overflow in fiber digger"), "%s", d.text);
	cr_assert(strstr(d.text, "65536 bytes"), "%s", d.text);
}

Test(core, stack_overflow_is_reported_with_the_fibers_name)
{
	expect_overflow();
	setenv("TORC_DISABLE", "guard_install", 1);
	expect_overflow();
}
#endif

static int leave_outer_first(void *arg)
{
	struct torc_scope a, b;

	(void)arg;
	torc_scope_enter(&a, TORC_NEVER);
	torc_scope_enter(&b, TORC_NEVER);
	return torc_scope_leave(&a);
}

static int end_inside(void *arg)
{
	static struct torc_scope s;

	(void)arg;
	torc_scope_enter(&s, TORC_NEVER);
	return 0;
}

Test(core, scope_misuse_traps_with_a_message)
{
	struct died d = run_in_child(NULL, leave_outer_first, NULL);

	cr_assert_eq(d.signal, SIGABRT);
	cr_assert(strstr(d.text, "reverse order"), "%s", d.text);
	cr_assert(strstr(d.text, "main"), "%s", d.text);
	d = run_in_child(NULL, end_inside, NULL);
	cr_assert_eq(d.signal, SIGABRT);
	cr_assert(strstr(d.text, "ended inside a scope"), "%s", d.text);
}

/* --- scopes --- */

static int deadlines(void *arg)
{
	struct torc_scope outer, inner, shield;

	(void)arg;
	torc_scope_enter(&outer, TORC_MS(5));
	check(torc_sleep(TORC_SECONDS(60)) == -ETIMEDOUT);
	for (int i = 0; i < 3; i++) { /* level-triggered */
		check(torc_sleep(1) == -ETIMEDOUT);
		check(torc_yield() == -ETIMEDOUT);
		check(nop() == -ETIMEDOUT);
	}
	torc_scope_enter(&inner, TORC_NEVER);
	check(torc_sleep(1) == -ETIMEDOUT);
	torc_scope_enter_shield(&shield, TORC_SECONDS(60));
	check(torc_sleep(1000) == 0);
	check(nop() == 0);
	check(torc_scope_leave(&shield) == 0);
	check(torc_sleep(1) == -ETIMEDOUT);
	check(torc_scope_leave(&inner) == 0);
	check(torc_scope_leave(&outer) == -ETIMEDOUT);
	check(torc_sleep(1000) == 0);
	/* 0 has passed already */
	torc_scope_enter(&outer, 0);
	check(torc_sleep(1) == -ETIMEDOUT);
	check(torc_scope_leave(&outer) == -ETIMEDOUT);
	/* a shield has a deadline of its own */
	torc_scope_enter_shield(&shield, TORC_MS(2));
	check(torc_sleep(TORC_NEVER) == -ETIMEDOUT);
	check(torc_scope_leave(&shield) == -ETIMEDOUT);
	/* an outer deadline passes while shielded and takes effect after it */
	torc_scope_enter(&outer, TORC_MS(2));
	torc_scope_enter_shield(&shield, TORC_SECONDS(60));
	check(torc_sleep(TORC_MS(5)) == 0);
	check(torc_scope_leave(&shield) == 0);
	check(torc_sleep(TORC_NEVER) == -ETIMEDOUT);
	check(torc_scope_leave(&outer) == -ETIMEDOUT);
	return 0;
}

Test(core, scope_deadlines_nest_and_shields_hold)
{
	cr_assert_eq(run_with(NULL, deadlines, NULL), 0);
}

static int cancel_given(void *arg)
{
	torc_scope_cancel(arg);
	return 0;
}

static int move_given(void *arg)
{
	torc_scope_set_deadline(arg, torc_now_ns());
	return 0;
}

static int cancelled_by_others(void *arg)
{
	struct torc_group g;
	struct torc_scope s;

	(void)arg;
	torc_group_enter(&g);
	torc_scope_enter(&s, TORC_NEVER);
	check(torc_group_spawn(&g, cancel_given, &s) == 0);
	check(torc_sleep(TORC_NEVER) == -ECANCELED);
	check(torc_scope_status() == -ECANCELED);
	check(torc_scope_leave(&s) == -ECANCELED);
	torc_scope_enter(&s, TORC_SECONDS(60));
	check(torc_group_spawn(&g, move_given, &s) == 0);
	check(torc_sleep(TORC_NEVER) == -ETIMEDOUT);
	check(torc_scope_leave(&s) == -ETIMEDOUT);
	/* moved later: the early timer is no harm */
	torc_scope_enter(&s, TORC_MS(2));
	torc_scope_set_deadline(&s, TORC_NEVER);
	check(torc_sleep(TORC_MS(5)) == 0);
	check(torc_scope_leave(&s) == 0);
	return torc_group_wait(&g);
}

Test(core, scope_others_cancel_and_move_it)
{
	cr_assert_eq(run_with(NULL, cancelled_by_others, NULL), 0);
}

/* --- groups --- */

static int groups(void *arg)
{
	struct torc_group g;
	struct torc_task a, b;
	struct torc_scope s;

	(void)arg;
	/* the first failure cancels siblings, and the owner's calls */
	torc_group_enter(&g);
	check(torc_group_spawn(&g, forever, NULL) == 0);
	check(torc_group_spawn(&g, return_arg, (void *)-EIO) == 0);
	check(torc_sleep(TORC_NEVER) == -ECANCELED);
	check(torc_group_wait(&g) == -EIO);
	/* a supervisor does not care */
	torc_group_enter_supervisor(&g);
	check(torc_group_spawn(&g, return_arg, (void *)-EIO) == 0);
	check(torc_sleep(1000) == 0);
	check(torc_group_wait(&g) == 0);
	/* cancelled by its owner */
	torc_group_enter(&g);
	check(torc_group_spawn(&g, forever, NULL) == 0);
	torc_group_cancel(&g);
	check(torc_group_spawn(&g, forever, NULL) == 0); /* into a cancelled group */
	check(torc_group_wait(&g) == 0);
	/* cancelled from outside */
	torc_scope_enter(&s, TORC_MS(3));
	torc_group_enter(&g);
	check(torc_group_spawn(&g, forever, NULL) == 0);
	check(torc_group_wait(&g) == -ETIMEDOUT);
	check(torc_scope_leave(&s) == -ETIMEDOUT);
	/* tasks */
	torc_group_enter(&g);
	check(torc_group_spawn_with(&g, &(struct torc_spawn_options){ .task = &a }, return_arg,
				    (void *)9) == 0);
	check(torc_group_spawn_with(&g, &(struct torc_spawn_options){ .task = &b }, forever,
				    NULL) == 0);
	check(torc_task_join(&a) == 9);
	check(torc_task_join(&a) == 9);
	torc_scope_enter(&s, TORC_MS(2));
	check(torc_task_join(&b) == -ETIMEDOUT);
	torc_scope_leave(&s);
	torc_task_cancel(&b);
	check(torc_task_join(&b) == -ECANCELED);
	check(torc_group_wait(&g) == 0);
	/* limits */
	torc_group_enter(&g);
	check(torc_group_spawn_with(&g, &(struct torc_spawn_options){ .loop = 9 }, forever, NULL) ==
	      -EINVAL);
	check(torc_group_spawn_with(&g, &(struct torc_spawn_options){ .stack_bytes = 1u << 27 },
				    forever, NULL) == -EINVAL);
	check(torc_group_wait(&g) == 0);
	return 0;
}

Test(core, group_keeps_its_promises)
{
	cr_assert_eq(run_with(NULL, groups, NULL), 0);
}

static int nest(void *arg)
{
	intptr_t depth = (intptr_t)arg;
	struct torc_group g;

	if (!depth)
		return torc_sleep(TORC_NEVER);
	torc_group_enter(&g);
	check(torc_group_spawn(&g, nest, (void *)(depth - 1)) == 0);
	return torc_group_wait(&g);
}

static int cancel_deep(void *arg)
{
	struct torc_scope s;
	int r;

	(void)arg;
	torc_scope_enter(&s, TORC_MS(50));
	r = nest((void *)5000);
	check(r == -ETIMEDOUT);
	return torc_scope_leave(&s) == -ETIMEDOUT ? 0 : -EIO;
}

Test(core, group_five_thousand_nested_are_cancelled)
{
	cr_assert_eq(run_with(NULL, cancel_deep, NULL), 0);
}

static int at_the_limit(void *arg)
{
	struct torc_group g;
	int r, n = 0;

	(void)arg;
	torc_group_enter(&g);
	while (!(r = torc_group_spawn(&g, forever, NULL)))
		n++;
	check(r == -EAGAIN && n == 100 - 2); /* the root and this one */
	torc_group_cancel(&g);
	return torc_group_wait(&g);
}

Test(core, group_spawn_fails_at_fibers_max)
{
	cr_assert_eq(torc_run(&(struct torc_options){ .fibers_max = 100 }, at_the_limit, NULL), 0);
}

static int detached_result;

static int detached(void *arg)
{
	(void)arg;
	detached_result = torc_sleep(TORC_NEVER);
	return detached_result;
}

static int detach_one(void *arg)
{
	(void)arg;
	check(torc_detach("stray", detached, NULL) == 0);
	return torc_sleep(1000);
}

Test(core, group_the_detached_are_cancelled_at_the_end)
{
	cr_assert_eq(run_with(NULL, detach_one, NULL), 0);
	cr_assert_eq(detached_result, -ECANCELED);
}

/* --- other loops --- */

static int across(void *arg)
{
	struct torc_group g;
	struct torc_scope s;
	struct torc_task t;
	struct torc_spawn_options there = { .loop = TORC_ON_LOOP(2), .task = &t };

	(void)arg;
	torc_group_enter(&g);
	check(torc_group_spawn_with(&g, &there, return_arg, (void *)4) == 0);
	check(torc_task_join(&t) == 4);
	check(torc_group_wait(&g) == 0);

	torc_group_enter(&g);
	check(torc_group_spawn_with(&g, &there, forever, NULL) == 0);
	torc_task_cancel(&t);
	check(torc_task_join(&t) == -ECANCELED);
	check(torc_group_wait(&g) == 0);

	torc_group_enter(&g);
	there.task = NULL;
	check(torc_group_spawn_with(&g, &there, forever, NULL) == 0);
	there.loop = TORC_ON_LOOP(1);
	check(torc_group_spawn_with(&g, &there, return_arg, (void *)-EIO) == 0);
	check(torc_group_wait(&g) == -EIO);

	torc_scope_enter(&s, TORC_MS(5));
	torc_group_enter(&g);
	check(torc_group_spawn_with(&g, &there, forever, NULL) == 0);
	check(torc_group_wait(&g) == -ETIMEDOUT);
	check(torc_scope_leave(&s) == -ETIMEDOUT);
	return 0;
}

Test(core, loops_results_failures_and_cancellations_cross)
{
	cr_assert_eq(torc_run(&(struct torc_options){ .loops = 3 }, across, NULL), 0);
	setenv("TORC_DISABLE", "msg_ring", 1);
	cr_assert_eq(torc_run(&(struct torc_options){ .loops = 3 }, across, NULL), 0);
}

/* --- operations --- */

struct reader {
	int fd;
	int result;
	char byte;
};

static int read_one(void *arg)
{
	struct reader *r = arg;

	r->result = read_fd(r->fd, &r->byte, 1);
	return 0;
}

/* Data and the cancellation arrive in either order, or at once: the byte is returned or still there. */
static int race(void *arg)
{
	int fds[2], delivered = 0, kept = 0;

	(void)arg;
	check(pipe(fds) == 0);
	for (int i = 0; i < 300; i++) {
		struct reader r = { .fd = fds[0] };
		struct torc_group g;
		struct torc_task t;

		torc_group_enter(&g);
		check(torc_group_spawn_with(&g, &(struct torc_spawn_options){ .task = &t },
					    read_one, &r) == 0);
		if (i % 5)
			torc_yield();
		if (i % 4 == 1)
			check(torc_sleep(1) == 0);
		if (i % 2)
			check(write(fds[1], "x", 1) == 1);
		torc_task_cancel(&t);
		if (!(i % 2))
			check(write(fds[1], "x", 1) == 1);
		check(torc_group_wait(&g) == 0);
		if (r.result == 1) {
			delivered++;
		} else {
			check(r.result == -ECANCELED);
			check(read_fd(fds[0], &r.byte, 1) == 1);
			kept++;
		}
		check(r.byte == 'x');
	}
	check(delivered + kept == 300 && kept > 0);
	close(fds[0]);
	close(fds[1]);
	return 0;
}

Test(core, op_a_cancelled_read_loses_nothing)
{
	cr_assert_eq(run_with(NULL, race, NULL), 0);
}

#define READERS 2000

/* Far more operations than the queues have entries; all complete at once, then all are cancelled. */
static int many(void *arg)
{
	static struct reader readers[READERS];
	static uint64_t one = 1;
	struct torc_group g;
	struct torc_stats stats;
	int fds[2];

	(void)arg;
	check(pipe(fds) == 0);
	for (int round = 0; round < 2; round++) {
		torc_group_enter(&g);
		for (int i = 0; i < READERS; i++) {
			readers[i] = (struct reader){ .fd = fds[0] };
			check(torc_group_spawn(&g, read_one, &readers[i]) == 0);
		}
		check(torc_sleep(1000) == 0);
		if (round == 0) {
			static char bytes[READERS];

			check(write(fds[1], bytes, READERS) == READERS);
		} else {
			torc_group_cancel(&g);
		}
		check(torc_group_wait(&g) == 0);
		for (int i = 0; i < READERS; i++)
			check(readers[i].result == (round ? -ECANCELED : 1));
	}
	torc_stats(&stats);
	check(stats.fibers == 2 && stats.timers == 0);
	(void)one;
	close(fds[0]);
	close(fds[1]);
	return 0;
}

Test(core, op_more_of_them_than_the_ring_has_entries)
{
	cr_assert_eq(torc_run(&(struct torc_options){ .ring_entries = 8 }, many, NULL), 0);
	cr_assert_eq(run_with(NULL, many, NULL), 0);
}

/* --- fibers --- */

static int rounding(void *arg)
{
	(void)arg;
	torc_fiber_keep_fpenv();
	fesetround(FE_UPWARD);
	for (int i = 0; i < 10; i++) {
		check(torc_yield() == 0);
		check(fegetround() == FE_UPWARD);
	}
	return 0; /* its rounding ends with it */
}

static int not_rounding(void *arg)
{
	(void)arg;
	for (int i = 0; i < 10; i++) {
		check(fegetround() == FE_TONEAREST);
		check(torc_yield() == 0);
	}
	return 0;
}

static int two_roundings(void *arg)
{
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	check(torc_group_spawn(&g, rounding, NULL) == 0);
	check(torc_group_spawn(&g, not_rounding, NULL) == 0);
	check(torc_group_wait(&g) == 0);
	check(fegetround() == FE_TONEAREST);
	return 0;
}

Test(core, fiber_keeps_its_floating_point_environment_when_it_says_so)
{
	cr_assert_eq(run_with(NULL, two_roundings, NULL), 0);
}

struct trace {
	void *returns[3]; /* of leaf, middle and outer */
	void *frames[32];
	int count;
};

static __attribute__((noinline)) void leaf(struct trace *t)
{
	t->returns[0] = __builtin_return_address(0);
	check(torc_yield() == 0); /* a switch in between changes nothing */
	t->count = backtrace(t->frames, 32);
}

static __attribute__((noinline)) int middle(struct trace *t)
{
	t->returns[1] = __builtin_return_address(0);
	leaf(t);
	return t->count;
}

static __attribute__((noinline)) int outer(void *arg)
{
	struct trace *t = arg;

	t->returns[2] = __builtin_return_address(0);
	return middle(t) > 0 ? 0 : -EIO;
}

static int spawn_outer(void *arg)
{
	struct torc_group g;

	torc_group_enter(&g);
	check(torc_group_spawn(&g, outer, arg) == 0);
	check(torc_yield() == 0);
	return torc_group_wait(&g);
}

/* leaf, middle, outer, torc__fiber_main, torc__switch_entry, and no more. */
Test(core, fiber_a_backtrace_is_right_and_ends)
{
	struct trace t = { .count = 0 };
	int first = 1;

	backtrace(t.frames, 1); /* loads the unwinder, on a large stack */
	cr_assert_eq(run_with(NULL, spawn_outer, &t), 0);
	cr_assert_geq(t.count, 5);
	cr_assert_leq(t.count, 8);
	while (first < t.count && t.frames[first] != t.returns[0])
		first++; /* a sanitizer's backtrace begins with a frame of its own */
	for (int i = 0; i < 3; i++)
		cr_assert_eq(t.frames[first + i], t.returns[i], "frame %d", first + i);
}

#define CROWD 100000

static int crowd(void *arg)
{
	struct torc_group g;
	struct torc_stats before, during, after;

	(void)arg;
	torc_stats(&before);
	torc_group_enter(&g);
	for (int i = 0; i < CROWD; i++)
		check(torc_group_spawn(&g, forever, NULL) == 0);
	check(torc_yield() == 0);
	torc_stats(&during);
	check(during.fibers == before.fibers + CROWD);
	torc_group_cancel(&g);
	check(torc_group_wait(&g) == 0);
	/* the memory goes back when a second has passed without a use for it */
	for (int i = 0; i < 100; i++) {
		torc_stats(&after);
		if (after.stacks_bytes < during.stacks_bytes / 50)
			break;
		check(torc_sleep(TORC_MS(100)) == 0);
	}
	check(after.fibers == before.fibers && after.timers == 0);
	check(after.stacks_bytes < during.stacks_bytes / 50);
	return 0;
}

Test(core, fiber_a_hundred_thousand_are_parked_and_cancelled_without_a_leak)
{
	cr_assert_eq(run_with(NULL, crowd, NULL), 0);
}

#define SLEEPERS 5000

static uint64_t first_moment, last_moment;
static int woken;

static int sleep_until(void *arg)
{
	uint64_t moment;

	check(torc_yield() == 0); /* all have started: with sanitizers that takes long */
	if (!first_moment)
		first_moment = torc_turn_ns() + TORC_SECONDS(1); /* all are asleep by then */
	moment = first_moment + (uintptr_t)arg;
	check(torc_sleep_until(moment) == 0);
	check(torc_now_ns() >= moment);
	check(moment >= last_moment);
	last_moment = moment;
	woken++;
	return 0;
}

static int sleepers(void *arg)
{
	struct torc_group g;
	unsigned seed = 1;

	(void)arg;
	torc_group_enter(&g);
	for (int i = 0; i < SLEEPERS; i++) {
		seed = seed * 1664525u + 1013904223u;
		check(torc_group_spawn(&g, sleep_until, (void *)(uintptr_t)(seed >> 6)) == 0);
	}
	check(torc_group_wait(&g) == 0);
	check(woken == SLEEPERS);
	return 0;
}

Test(core, timer_sleepers_wake_in_order_and_never_early)
{
	cr_assert_eq(run_with(NULL, sleepers, NULL), 0);
}
