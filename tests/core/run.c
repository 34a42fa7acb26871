/*
 * torc_run: what it refuses, what it returns, signals, and that it leaves nothing behind.
 */
#include "tests/core/run.h"

#include <dirent.h>
#include <dlfcn.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

TestSuite(run, .timeout = 60);

/* --- a small program of everything --- */

static int there(void *arg)
{
	check_eq(torc_sleep(1000), 0);
	check_eq(nop(), 0);
	return (int)VALUE(arg);
}

static int mixed(void *arg)
{
	struct torc_group g;
	struct torc_scope s;
	struct torc_task task;
	int fds[2];
	char byte;

	(void)arg;
	check_eq(pipe2(fds, O_CLOEXEC), 0);
	for (int round = 0; round < 10; round++) {
		torc_group_enter(&g);
		for (int i = 0; i < 4; i++)
			check_eq(torc_group_spawn_with(&g,
						       HOW(.loop = TORC_ON_LOOP(i %
										torc_loop_count()),
							   .task = i == 3 ? &task : NULL),
						       there, ARG(i)),
				 0);
		check_eq(nop(), 0);
		check_eq(torc_sleep(1000), 0);
		check_eq(torc_task_join(&task), 3);
		check_eq(torc_group_wait(&g), 0);
		torc_scope_enter(&s, round % 2 ? 100000 : 0);
		check_eq(read_fd(fds[0], &byte, 1), -ETIMEDOUT);
		check_eq(torc_scope_leave(&s), -ETIMEDOUT);
		check_eq(write(fds[1], "x", 1), 1);
		check_eq(read_fd(fds[0], &byte, 1), 1);
	}
	close(fds[0]);
	close(fds[1]);
	return 0;
}

Test(run, works_without_each_feature)
{
	static const char *const features[] = {
		"guard_install",
		"msg_ring",
		"single_issuer",
		"defer_taskrun",
		"registered_ring",
		"recv_multishot",
		"min_wait",
		"cqe_skip",
		",,msg_ring,",
		"guard_install,msg_ring,single_issuer,registered_ring,recv_multishot,min_wait,cqe_skip",
	};

	for (size_t i = 0; i < COUNT(features); i++) {
		setenv("TORC_DISABLE", features[i], 1);
		cr_assert_eq(run_with(OPTIONS(.loops = 3), mixed, NULL), 0, "%s", features[i]);
		cr_assert_eq(run_with(NULL, mixed, NULL), 0, "%s", features[i]);
	}
}

/* --- what it returns and refuses --- */

Test(run, returns_what_the_function_returned)
{
	static const int values[] = { 0, 1, INT32_MAX, -1, -ECANCELED, -EBUSY, INT32_MIN };

	for (size_t i = 0; i < COUNT(values); i++)
		cr_assert_eq(run_with(NULL, return_arg, ARG(values[i])), values[i]);
}

static int on_first_loop(void *arg)
{
	check_eq(torc_loop_index(), 0);
	check_eq(torc_loop_count(), VALUE(arg));
	return 0;
}

Test(run, has_as_many_loops_as_it_was_asked_for)
{
	cpu_set_t set;

	cr_assert_eq(sched_getaffinity(0, sizeof(set), &set), 0);
	cr_assert_eq(run_with(NULL, on_first_loop, ARG(1)), 0);
	cr_assert_eq(run_with(OPTIONS(.loops = 7), on_first_loop, ARG(7)), 0);
	cr_assert_eq(run_with(OPTIONS(.loops = 256, .ring_entries = 8), on_first_loop, ARG(256)),
		     0);
	cr_assert_eq(run_with(OPTIONS(.loops = -1), on_first_loop, ARG(CPU_COUNT(&set))), 0);
}

struct refused {
	struct torc_options options;
	const char *disable, *says;
	int result;
};

static const struct refused refusals[] = {
	{ { .loops = -2 }, "", "loops", -EINVAL },
	{ { .loops = 257 }, "", "loops", -EINVAL },
	{ { .ring_entries = 4 }, "", "ring_entries", -EINVAL },
	{ { .ring_entries = 100 }, "", "ring_entries", -EINVAL },
	{ { .ring_entries = 65536 }, "", "ring_entries", -EINVAL },
	{ { .recv_buffers = 12 }, "", "recv_buffers", -EINVAL },
	{ { .recv_buffers = 65536 }, "", "recv_buffers", -EINVAL },
	{ { .stack_bytes = ((size_t)64 << 20) + 1 }, "", "stack_bytes", -EINVAL },
	{ { .loops = 0 }, "nonsense", "nonsense\n", -EINVAL },
	{ { .loops = 0 }, "msg_rin,min_wait", ": msg_rin\n", -EINVAL },
	{ { .loops = 0 }, "msg_ring,MSG_RING", "MSG_RING\n", -EINVAL },
	{ { .fibers_max = 1 }, "", "first fiber", -EAGAIN }, /* the root takes it */
};

static int run_refused(void *arg)
{
	const struct refused *r = arg;
	int before = count_fds();

	setenv("TORC_DISABLE", r->disable, 1);
	if (torc_run(&r->options, return_arg, ARG(5)) != r->result || count_fds() != before)
		return 1;
	unsetenv("TORC_DISABLE");
	return torc_run(NULL, return_arg, NULL); /* and then it works */
}

Test(run, refuses_what_is_out_of_range_and_says_so_in_one_line)
{
	for (size_t i = 0; i < COUNT(refusals); i++) {
		struct died d = in_child(run_refused, (void *)(intptr_t)&refusals[i]);

		cr_assert_eq(d.status, 0, "case %zu: %s", i, d.text);
		cr_assert_eq(count_lines(d.text), 1, "case %zu: %s", i, d.text);
		cr_assert(!strncmp(d.text, "torc: ", 6) && strstr(d.text, refusals[i].says),
			  "case %zu: %s", i, d.text);
	}
}

Test(run, takes_the_extremes_of_every_option)
{
	static const struct torc_options extremes[] = {
		{ .loops = 2, .ring_entries = 8 },
		{ .loops = 2, .ring_entries = 32768 },
		{ .loops = 2, .recv_buffers = 8 },
		{ .loops = 2, .recv_buffers = 32768 },
		{ .loops = 2, .stack_bytes = 1 },
		{ .loops = 2, .stack_bytes = (size_t)64 << 20 },
		{ .loops = 2, .no_pin = true, .no_signals = true },
		{ .loops = 2, .fibers_max = UINT32_MAX },
		{ .loops = 2, .fibers_max = 20 },
	};

	for (size_t i = 0; i < COUNT(extremes); i++)
		cr_assert_eq(run_with(&extremes[i], mixed, NULL), 0, "case %zu", i);
}

static void *run_on_thread(void *arg)
{
	*(int *)arg = torc_run(NULL, return_arg, ARG(5));
	return NULL;
}

static int run_beside(void *arg)
{
	pthread_t thread;
	int r = 0;

	(void)arg;
	check_eq(torc_run(NULL, return_arg, NULL), -EBUSY); /* inside a fiber */
	check_eq(pthread_create(&thread, NULL, run_on_thread, &r), 0);
	check_eq(pthread_join(thread, NULL), 0);
	return r;
}

static int run_two_at_once(void *arg)
{
	return torc_run(NULL, run_beside, arg) != -EBUSY;
}

Test(run, refuses_to_run_twice_at_the_same_time_but_runs_on_any_thread)
{
	struct died d = in_child(run_two_at_once, NULL);
	pthread_t thread;
	int r = 0;

	cr_assert_eq(d.status, 0, "%s", d.text);
	cr_assert_eq(count_lines(d.text), 2, "%s", d.text);
	cr_assert_eq(pthread_create(&thread, NULL, run_on_thread, &r), 0);
	cr_assert_eq(pthread_join(thread, NULL), 0);
	cr_assert_eq(r, 5);
}

/* --- it leaves nothing behind --- */

static int count_threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	int n = -2; /* "." and ".." */

	check(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* A joined thread may be on its way out for a moment still. */
static int settled_threads(int expected)
{
	for (int i = 0; i < 1000 && count_threads() > expected; i++)
		usleep(1000);
	return count_threads();
}

static const int watched[] = { SIGINT, SIGTERM, SIGPIPE, SIGSEGV, SIGBUS };

struct state {
	int threads;
	sigset_t mask;
	cpu_set_t affinity;
	void (*handlers[COUNT(watched)])(int);
};

static void note(struct state *s, int threads)
{
	memset(s, 0, sizeof(*s));
	s->threads = settled_threads(threads);
	sigprocmask(SIG_BLOCK, NULL, &s->mask);
	sched_getaffinity(0, sizeof(s->affinity), &s->affinity);
	for (size_t i = 0; i < COUNT(watched); i++) {
		struct sigaction action;

		sigaction(watched[i], NULL, &action);
		s->handlers[i] = action.sa_handler;
	}
}

static volatile sig_atomic_t handled;

static void handle(int number)
{
	handled = number;
}

Test(run, leaves_threads_signals_and_affinity_as_they_were)
{
	struct state before, after;

	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, handle);
	signal(SIGPIPE, handle);
	note(&before, INT32_MAX);
	for (int i = 0; i < 30; i++) {
		cr_assert_eq(run_with(OPTIONS(.loops = 1 + i % 4), mixed, NULL), 0);
		note(&after, before.threads);
		cr_assert_eq(memcmp(&after, &before, sizeof(after)), 0);
	}
}

/* --- signals --- */

static int raise_and_wait(void *arg)
{
	struct torc_scope s;
	int r;

	kill(getpid(), (int)VALUE(arg));
	torc_scope_enter(&s, LONG);
	r = torc_sleep(TORC_NEVER);
	check_eq(torc_scope_leave(&s), 0);
	return r;
}

Test(run, sigint_and_sigterm_cancel_also_when_they_were_ignored)
{
	for (int ignored = 0; ignored < 2; ignored++)
		for (int loops = 1; loops <= 3; loops++) {
			void (*handler)(int) = ignored ? SIG_IGN : SIG_DFL;
			struct state s;

			signal(SIGINT, handler);
			signal(SIGTERM, handler);
			cr_assert_eq(run_with(OPTIONS(.loops = loops), raise_and_wait, ARG(SIGINT)),
				     -ECANCELED);
			cr_assert_eq(run_with(OPTIONS(.loops = loops), raise_and_wait,
					      ARG(SIGTERM)),
				     -ECANCELED);
			note(&s, INT32_MAX);
			cr_assert(s.handlers[0] == handler && s.handlers[1] == handler);
		}
}

static void *raise_on_thread(void *arg)
{
	*(int *)arg = torc_run(NULL, raise_and_wait, ARG(SIGINT));
	return NULL;
}

/* All other threads of the program have the signal blocked, as signalfd(2) has it. */
Test(run, signals_reach_it_on_another_thread)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	for (int ignored = 0; ignored < 2; ignored++) {
		pthread_t thread;
		int r = 0;

		signal(SIGINT, ignored ? SIG_IGN : SIG_DFL);
		cr_assert_eq(pthread_create(&thread, NULL, raise_on_thread, &r), 0);
		cr_assert_eq(pthread_join(thread, NULL), 0);
		cr_assert_eq(r, -ECANCELED);
	}
}

static int clean_up_slowly(void *arg)
{
	struct torc_scope s;

	check_eq(raise_and_wait(ARG(SIGINT)), -ECANCELED);
	torc_scope_enter_shield(&s, TORC_SECONDS(5));
	kill(getpid(), (int)VALUE(arg));
	torc_sleep(TORC_SECONDS(5));
	return torc_scope_leave(&s);
}

static int run_slow_clean_up(void *arg)
{
	return torc_run(OPTIONS(.loops = 2), clean_up_slowly, arg) != 0;
}

static int run_slow_clean_up_ignoring(void *arg)
{
	signal(SIGINT, SIG_IGN);
	return run_slow_clean_up(arg);
}

Test(run, a_second_signal_kills)
{
	struct died d = in_child(run_slow_clean_up, ARG(SIGINT));

	cr_assert_eq(d.signal, SIGINT);
	d = in_child(run_slow_clean_up, ARG(SIGTERM));
	cr_assert_eq(d.signal, SIGTERM);
	d = in_child(run_slow_clean_up_ignoring, ARG(SIGINT));
	cr_assert_eq(d.signal, SIGINT, "also when it was ignored before");
}

static int raise_while_cleaning_up(void *arg)
{
	struct torc_scope s;

	(void)arg;
	check_eq(torc_sleep(TORC_NEVER), -ECANCELED);
	torc_scope_enter_shield(&s, LONG);
	kill(getpid(), SIGINT); /* the first fiber has ended */
	check_eq(torc_sleep(TORC_MS(5)), 0);
	return torc_scope_leave(&s);
}

static int detach_and_end(void *arg)
{
	(void)arg;
	check_eq(torc_detach("stray", raise_while_cleaning_up, NULL), 0);
	check_eq(torc_sleep(TORC_MS(1)), 0);
	return 3;
}

Test(run, a_signal_after_the_first_fiber_has_ended_is_harmless)
{
	cr_assert_eq(run_with(NULL, detach_and_end, NULL), 3);
}

static int raise_and_go_on(void *arg)
{
	kill(getpid(), (int)VALUE(arg));
	return torc_sleep(TORC_MS(5));
}

Test(run, no_signals_leaves_them_to_the_program)
{
	signal(SIGINT, handle);
	cr_assert_eq(run_with(OPTIONS(.no_signals = true), raise_and_go_on, ARG(SIGINT)), 0);
	cr_assert_eq(handled, SIGINT);
}

/* --- refused by the kernel --- */

struct refusal {
	int error;  /* of io_uring_setup(2) */
	int result; /* of torc_run */
	const char *says;
};

static const struct refusal uring_refusals[] = {
	{ EPERM, -EPERM, "seccomp" },
	{ EACCES, -EPERM, "seccomp" },
	{ ENOSYS, -ENOSYS, "6.1" },
	{ EINVAL, -ENOSYS, "6.1" }, /* a kernel before 6.1, which does not know the flags */
	{ ENOMEM, -ENOMEM, "RLIMIT_MEMLOCK" },
	{ EMFILE, -EMFILE, "ulimit -n" },
	{ ENFILE, -ENFILE, "descriptor" },
};

static void refuse_io_uring(int error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ((unsigned)error & SECCOMP_RET_DATA)),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = COUNT(code), .filter = code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		_exit(77);
}

static int run_without_io_uring(void *arg)
{
	const struct refusal *r = arg;
	int before = count_fds();

	refuse_io_uring(r->error);
	if (torc_run(OPTIONS(.loops = 3), return_arg, ARG(5)) != r->result)
		return 1;
	return count_fds() != before || settled_threads(1) != 1;
}

Test(run, io_uring_refused_is_an_error_and_one_line_that_says_why)
{
	for (size_t i = 0; i < COUNT(uring_refusals); i++) {
		const struct refusal *r = &uring_refusals[i];
		struct died d = in_child(run_without_io_uring, (void *)(intptr_t)r);

		if (d.status == 77)
			cr_skip_test("no seccomp here");
		cr_assert_eq(d.status, 0, "case %zu: %s", i, d.text);
		cr_assert_eq(count_lines(d.text), 1, "case %zu: %s", i, d.text);
		cr_assert(!strncmp(d.text, "torc: ", 6) && strstr(d.text, r->says), "case %zu: %s",
			  i, d.text);
	}
}

/* Descriptors run out at the first, second ... until there are enough. */
static int run_with_few_descriptors(void *arg)
{
	struct rlimit limit;
	int before = count_fds(), failures = 0, r = 0;

	(void)arg;
	check_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	for (limit.rlim_cur = 3; limit.rlim_cur < 100 && r != 5; limit.rlim_cur++) {
		check_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
		r = torc_run(OPTIONS(.loops = 3), return_arg, ARG(5));
		check_eq(count_fds(), before);
		check(r == -EMFILE || r == 5);
		failures += r < 0;
	}
	check_eq(r, 5);
	check_ge(failures, 3);
	check_eq(settled_threads(1), 1);
	return failures;
}

Test(run, too_few_descriptors_are_emfile_and_one_line_each)
{
	struct died d = in_child(run_with_few_descriptors, NULL);

	cr_assert_eq(d.signal, 0, "%s", d.text);
	cr_assert_eq(count_lines(d.text), d.status, "%s", d.text);
}

static int threads_left = INT32_MAX;

#if !WITH_ASAN
/* The n-th one fails: this stands in for libc's in this program. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*fn)(void *),
		   void *arg)
{
	typedef int create_fn(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

	if (threads_left-- <= 0)
		return EAGAIN;
	return ((create_fn *)(intptr_t)dlsym(RTLD_NEXT, "pthread_create"))(thread, attributes, fn,
									   arg);
}
#endif

static int run_with_few_threads(void *arg)
{
	int before = count_fds();

	(void)arg;
	for (int n = 0; n < 5; n++) {
		threads_left = n;
		check_eq(torc_run(OPTIONS(.loops = 4), return_arg, ARG(5)), n < 3 ? -EAGAIN : 5);
		check_eq(count_fds(), before);
		check_eq(settled_threads(1), 1);
	}
	return 0;
}

Test(run, too_few_threads_are_eagain_and_one_line_each)
{
	struct died d;

	if (WITH_ASAN)
		cr_skip_test("pthread_create is ASan's");
	d = in_child(run_with_few_threads, NULL);
	cr_assert_eq(d.signal, 0, "%s", d.text);
	cr_assert_eq(count_lines(d.text), 3, "%s", d.text);
}

static int run_with_stats(void *arg)
{
	dup2(STDERR_FILENO, STDOUT_FILENO);
	setenv("TORC_STATS", "1", 1);
	return torc_run(OPTIONS(.loops = 2), mixed, arg);
}

Test(run, torc_stats_writes_one_line_of_json)
{
	struct died d = in_child(run_with_stats, NULL);

	cr_assert_eq(d.status, 0);
	cr_assert_eq(count_lines(d.text), 1, "%s", d.text);
	cr_assert(!strncmp(d.text, "{\"loops\":2,\"turns\":", 19), "%s", d.text);
}
