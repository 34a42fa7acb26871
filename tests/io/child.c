#include "tests/io/child.h"

#include <poll.h>
#include <pthread.h>
#include <sys/syscall.h>

TestSuite(child, .timeout = 60);

/* --- how it ends --- */

static int statuses(void *arg)
{
	static const struct {
		const char *script;
		int code, signal;
	} cases[] = {
		{ "exit 0", 0, 0 },
		{ "exit 1", 1, 0 },
		{ "exit 255", 255, 0 },
		{ "kill -TERM $$", -1, SIGTERM },
		{ "kill -KILL $$", -1, SIGKILL },
		{ "kill -USR1 $$", -1, SIGUSR1 },
		{ "kill -PIPE $$", -1, SIGPIPE }, /* which the program ignores, and it does not */
	};
	struct torc_child_status status;

	(void)arg;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct torc_child c;

		check_eq(start_sh(&c, cases[i].script, (struct torc_child_options){ 0 }), 0);
		check_ge(c.pid, 1);
		check_eq(c.in, -1);
		check_eq(torc_child_wait(&c, &status), 0);
		check_eq(status.exit_code, cases[i].code);
		check_eq(status.signal, cases[i].signal);
		check_eq(torc_child_succeeded(&status), i == 0);
		memset(&status, 0, sizeof(status));
		check_eq(torc_child_wait(&c, &status), 0); /* again */
		check_eq(status.exit_code, cases[i].code);
		check_eq(torc_child_wait(&c, NULL), 0);
		check_eq(torc_child_signal(&c, SIGTERM), -ESRCH);
		check_eq(torc_child_stop(&c, 0, &status), 0);
		check_eq(status.signal, cases[i].signal);
		torc_child_close(&c);
		torc_child_close(&c);
		check_eq(torc_child_wait(&c, &status), -ESRCH);
		check_eq(torc_child_stop(&c, 0, &status), -ESRCH);
	}
	return 0;
}

Test(child, tells_how_it_has_ended)
{
	run_children(statuses, NULL);
}

static int usage(void *arg)
{
	struct torc_child_status status;

	(void)arg;
	check_eq(torc_run_command(SH("i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done"), NULL,
				  &status),
		 0);
	check(torc_child_succeeded(&status));
	check_ge(status.usage.ru_maxrss, 1);
	check_ge(status.usage.ru_utime.tv_usec + status.usage.ru_stime.tv_usec +
			 status.usage.ru_utime.tv_sec,
		 1);
	return 0;
}

Test(child, tells_what_it_has_used)
{
	run_children(usage, NULL);
}

/* --- what cannot be started --- */

static int failures(void *arg)
{
	static const char *const none[] = { NULL };
	static const struct torc_child_fd twice[] = { { 0, 5 }, { 0, 5 } }, low[] = { { 0, 2 } },
					  high[] = { { 0, 65536 } }, closed[] = { { 999, 5 } };
	static const struct torc_child_limit wrong[] = { { 99, { 1, 1 } } };
	static const char *const missing[] = { "torc-no-such-program", NULL };
	static const char *const slash[] = { "/nonexistent/program", NULL };
	static const char *const directory[] = { "/tmp", NULL };
	static const char *const not_one[] = { "/etc/passwd/x", NULL };
	static const char *const data[] = { "/proc/self/status", NULL };
	static const char *const empty[] = { "", NULL };
	static const char *const yes[] = { "true", NULL };
	static const struct {
		struct torc_child_options o;
		int error;
		const char *failed;
	} cases[] = {
		{ { .argv = NULL }, -EINVAL, "options" },
		{ { .argv = none }, -EINVAL, "options" },
		{ { .argv = empty }, -ENOENT, "options" },
		{ { .argv = missing }, -ENOENT, "exec" },
		{ { .argv = slash }, -ENOENT, "exec" },
		{ { .argv = directory }, -EACCES, "exec" },
		{ { .argv = data }, -EACCES, "exec" },
		{ { .argv = not_one }, -ENOTDIR, "exec" },
		{ { .argv = yes, .path = "/nonexistent" }, -ENOENT, "exec" },
		{ { .argv = yes, .cwd = "/nonexistent" }, -ENOENT, "chdir" },
		{ { .argv = yes, .cwd = "/etc/passwd" }, -ENOTDIR, "chdir" },
		{ { .argv = yes, .in = { TORC_CHILD_STDOUT, 0 } }, -EINVAL, "options" },
		{ { .argv = yes, .out = { TORC_CHILD_STDOUT, 0 } }, -EINVAL, "options" },
		{ { .argv = yes, .out = { TORC_CHILD_FD, 999 } }, -EBADF, "dup" },
		{ { .argv = yes, .out = { TORC_CHILD_FD, -1 } }, -EBADF, "dup" },
		{ { .argv = yes, .fds = twice, .fds_count = 2 }, -EINVAL, "options" },
		{ { .argv = yes, .fds = low, .fds_count = 1 }, -EINVAL, "options" },
		{ { .argv = yes, .fds = high, .fds_count = 1 }, -EINVAL, "options" },
		{ { .argv = yes, .fds = closed, .fds_count = 1 }, -EBADF, "dup" },
		{ { .argv = yes, .fds = closed, .fds_count = 257 }, -EINVAL, "options" },
		{ { .argv = yes, .limits = wrong, .limits_count = 1 }, -EINVAL, "limits" },
		{ { .argv = yes, .group = TORC_CHILD_GIVEN_GROUP, .group_id = 1 },
		  -EPERM,
		  "setpgid" },
		{ { .argv = yes, .group = TORC_CHILD_GIVEN_GROUP, .session = true },
		  -EINVAL,
		  "options" },
	};

	(void)arg;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct torc_child c;
		int r;

		memset(&c, 0x5a, sizeof(c));
		r = torc_child_start(&c, &cases[i].o);
		if (r != cases[i].error || strcmp(c.failed, cases[i].failed))
			fprintf(stderr, "case %zu: %d, %s\n", i, r, c.failed);
		check_eq(r, cases[i].error);
		check(!strcmp(c.failed, cases[i].failed));
		check_eq(c.pidfd, -1);
		check_eq(torc_child_wait(&c, NULL), -ESRCH);
		check_eq(torc_child_signal(&c, 0), -ESRCH);
		torc_child_close(&c);
		check_no_children();
	}
	return 0;
}

Test(child, that_cannot_be_started_says_why_and_leaves_nothing)
{
	run_children(failures, NULL);
}

static int not_a_program(void *arg)
{
	char path[] = "/tmp/torc-child-XXXXXX";
	const char *const argv[] = { path, NULL };
	struct torc_child c;
	int fd = mkstemp(path);

	(void)arg;
	check_eq(write(fd, "what?\n", 6), 6);
	check_eq(fchmod(fd, 0755), 0);
	close(fd);
	check_eq(torc_child_start(&c, &(struct torc_child_options){ .argv = argv }), -ENOEXEC);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	check_eq(write(fd, "#!/nonexistent\n", 15), 15);
	check_eq(torc_child_start(&c, &(struct torc_child_options){ .argv = argv }), -ETXTBSY);
	close(fd);
	check_eq(torc_child_start(&c, &(struct torc_child_options){ .argv = argv }), -ENOENT);
	unlink(path);
	return 0;
}

Test(child, that_is_no_program_is_not_started)
{
	run_children(not_a_program, NULL);
}

/* --- what it is given --- */

static void expect(const char *script, struct torc_child_options o, const char *output)
{
	char text[512];
	int code = output_of(script, o, text, sizeof(text));

	if (strcmp(text, output))
		fprintf(stderr, "%s: '%s' instead of '%s'\n", script, text, output);
	check(!strcmp(text, output));
	check_eq(code, 0);
}

static int environment(void *arg)
{
	static const char *const env[] = { "A=1", "AB=2", "B=x=y", NULL };
	static const char *const changes[] = { "A=3", "B", "C=4", "C=5", "D=6", "D", NULL };
	static const char *const program[] = { "env", NULL };
	struct torc_child_talk talk = { .input = NULL };

	(void)arg;
	expect("echo $A $AB $B", (struct torc_child_options){ .env = env }, "1 2 x=y\n");
	expect("echo $A,$AB,$B,$C,$D",
	       (struct torc_child_options){ .env = env, .env_changes = changes }, "3,2,,5,\n");
	setenv("TORC_TEST", "here", 1);
	expect("echo $TORC_TEST", (struct torc_child_options){ .argv = NULL }, "here\n");
	unsetenv("TORC_TEST");
	expect("echo $A$TORC_TEST", (struct torc_child_options){ .env_changes = changes }, "3\n");
	check_eq(torc_child_run(&(struct torc_child_options){ .argv = program,
							      .env = env,
							      .env_changes = changes,
							      .out = { TORC_CHILD_PIPE, 0 } },
				&talk, NULL),
		 0);
	check(!strcmp(talk.out, "AB=2\nA=3\nC=5\n"));
	torc_child_talk_done(&talk);
	return 0;
}

Test(child, has_the_environment_that_it_was_given)
{
	run_children(environment, NULL);
}

/* As execvp(3) looks: past what may not be executed, and past what is no directory. */
static int search(void *arg)
{
	char dir[] = "/tmp/torc-child-XXXXXX", path[128];
	const char *const argv[] = { "torc-found", NULL };
	const char *changes[] = { path, NULL };
	char name[64];
	struct torc_child_options o = { .argv = argv, .env_changes = changes };
	struct torc_child_status status;
	struct torc_child c;
	int fd;

	(void)arg;
	check(mkdtemp(dir));
	snprintf(name, sizeof(name), "%s/torc-found", dir);
	fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	check_eq(write(fd, "#!/bin/sh\nexit 7\n", 17), 17);
	close(fd);
	snprintf(path, sizeof(path), "PATH=/nonexistent:/etc/passwd:%s", dir);
	check_eq(torc_child_start(&c, &o), -EACCES);
	check_eq(chmod(name, 0755), 0);
	check_eq(torc_child_run(&o, NULL, &status), 0);
	check_eq(status.exit_code, 7);
	snprintf(path, sizeof(path), "PATH=/etc/passwd:/nonexistent");
	check_eq(torc_child_start(&c, &o), -ENOENT);
	snprintf(path, sizeof(path), "PATH=/nonexistent:"); /* empty: the working directory */
	o.cwd = dir;
	check_eq(torc_child_run(&o, NULL, &status), 0);
	check_eq(status.exit_code, 7);
	o.path = "./torc-found";
	check_eq(torc_child_run(&o, NULL, &status), 0);
	check_eq(status.exit_code, 7);
	unlink(name);
	rmdir(dir);
	return 0;
}

Test(child, is_looked_for_in_the_path_that_it_will_have)
{
	run_children(search, NULL);
}

static int settings(void *arg)
{
	static const struct torc_child_limit limits[] = {
		{ RLIMIT_NOFILE, { 17, 17 } },
		{ RLIMIT_CORE, { 0, 0 } },
	};
	char text[64];
	int before = getpriority(PRIO_PROCESS, 0);

	(void)arg;
	expect("pwd", (struct torc_child_options){ .cwd = "/usr" }, "/usr\n");
	expect("ulimit -n; ulimit -c",
	       (struct torc_child_options){ .limits = limits, .limits_count = 2 }, "17\n0\n");
	snprintf(text, sizeof(text), "%d\n", before + 3 > 19 ? 19 : before + 3);
	expect("nice", (struct torc_child_options){ .nice = 3 }, text);
	check_eq(getpriority(PRIO_PROCESS, 0), before);
	if (getuid() == 0)
		expect("id -u; id -g; id -G",
		       (struct torc_child_options){ .set_ids = true, .uid = 65534, .gid = 65534 },
		       "65534\n65534\n65534\n");
	check_eq(getuid(), geteuid());
	return 0;
}

Test(child, has_directory_limits_niceness_and_user_as_asked)
{
	run_children(settings, NULL);
}

static int groups(void *arg)
{
	struct torc_child leader, member;
	static const char ids[] = "cut -d' ' -f5,6 /proc/$$/stat";
	char text[64];

	(void)arg;
	snprintf(text, sizeof(text), "%d %d\n", getpgrp(), getsid(0));
	expect(ids, (struct torc_child_options){ .argv = NULL }, text);
	expect("set -- $(cut -d' ' -f5,6 /proc/$$/stat); test $1 = $$ && test $2 != $$",
	       (struct torc_child_options){ .group = TORC_CHILD_NEW_GROUP }, "");
	expect("set -- $(cut -d' ' -f5,6 /proc/$$/stat); test $1 = $$ && test $2 = $$",
	       (struct torc_child_options){ .session = true }, "");
	check_eq(start_sh(&leader, "exec sleep 100",
			  (struct torc_child_options){ .group = TORC_CHILD_NEW_GROUP }),
		 0);
	check_eq(start_sh(&member, "exec sleep 100",
			  (struct torc_child_options){ .group = TORC_CHILD_GIVEN_GROUP,
						       .group_id = leader.pid }),
		 0);
	check_eq(getpgid(leader.pid), leader.pid);
	check_eq(getpgid(member.pid), leader.pid);
	check_eq(torc_child_signal_group(&member, SIGTERM), -EINVAL);
	check_eq(torc_child_signal_group(&leader, 0), 0);
	check_eq(torc_child_signal_group(&leader, 99), -EINVAL);
	check_eq(torc_child_signal(&leader, 99), -EINVAL);
	check_eq(torc_child_signal_group(&leader, SIGTERM), 0);
	check_eq(torc_child_wait(&member, NULL), 0);
	check_eq(member.status.signal, SIGTERM);
	check_eq(torc_child_wait(&leader, NULL), 0);
	check_eq(torc_child_signal_group(&leader, SIGTERM), -ESRCH);
	torc_child_close(&leader);
	torc_child_close(&member);
	return 0;
}

Test(child, is_in_the_process_group_that_was_asked_for)
{
	run_children(groups, NULL);
}

/* Blocked, handled and ignored ones of this process. */
static void on_hup(int number)
{
	(void)number;
}

static unsigned long long number_after(const char *text, const char *name)
{
	const char *found = strstr(text, name);

	check(found);
	return strtoull(found + strlen(name), NULL, 16);
}

/* Not of 32 and 33, which libc keeps for itself: whoever started this program may have ignored them. */
static unsigned long long ignored_here(void)
{
	unsigned long long set = 0;

	for (int n = 1; n <= 64; n++) {
		struct sigaction now;

		if (!sigaction(n, NULL, &now) && now.sa_handler == SIG_IGN)
			set |= 1ull << (n - 1);
	}
	return set;
}

static int signals(void *arg)
{
	static const char *const argv[] = { "cat", "/proc/self/status", NULL };
	const unsigned long long pipe = 1ull << (SIGPIPE - 1), xfsz = 1ull << (SIGXFSZ - 1);
	struct torc_child_talk talk = { .input = NULL };
	unsigned long long ignored;

	(void)arg;
	signal(SIGUSR1, SIG_IGN);
	signal(SIGHUP, on_hup);
	ignored = ignored_here();
	check_eq(ignored & (pipe | xfsz), pipe | xfsz);
	check_eq(torc_run_command(argv, &talk, NULL), 0);
	check_eq(number_after(talk.out, "SigBlk:"), 0);
	check_eq(number_after(talk.out, "SigCgt:"), 0);
	check_eq(number_after(talk.out, "SigIgn:") & ~(3ull << 31), ignored & ~(pipe | xfsz));
	torc_child_talk_done(&talk);
	signal(SIGUSR1, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	return 0;
}

Test(child, begins_with_no_signal_blocked_or_handled)
{
	run_children(signals, NULL);
}

/* --- descriptors --- */

#define LIST "for f in /proc/self/fd/*; do f=${f##*/}; [ -e /proc/$$/fd/$f ] && echo $f; done; true"

static int no_leaks(void *arg)
{
	static const struct torc_child_options o = { .in = { TORC_CHILD_NULL, 0 },
						     .err = { TORC_CHILD_NULL, 0 } };
	int open_here = dup(1); /* not closed on exec */

	(void)arg;
	check_eq(fcntl(open_here, F_GETFD), 0);
	expect(LIST, o, "0\n1\n2\n");
	close(open_here);
	return 0;
}

Test(child, has_no_other_descriptors)
{
	run_children(no_leaks, NULL);
}

/* Numbers that are each other's, and those of the pipes. */
static int overlapping(void *arg)
{
	int fds[3][2], high;
	char text[8] = "";

	(void)arg;
	for (int i = 0; i < 3; i++)
		check_eq(torc_pipe(fds[i], 0), 0);
	high = fcntl(fds[2][1], F_DUPFD_CLOEXEC, 300);
	for (int turn = 0; turn < 2; turn++) {
		const struct torc_child_fd moves[] = {
			{ fds[0][1], fds[1][1] },
			{ fds[1][1], fds[0][1] },
			{ high, high },
			{ fds[0][1], 3 },
			{ 1, 4 },
		};
		struct torc_child c;
		struct torc_child_status status;

		check_eq(start_sh(&c, "echo d >&1; echo x >&3",
				  (struct torc_child_options){ .out = { TORC_CHILD_FD, fds[1][1] },
							       .err = { TORC_CHILD_NULL, 0 },
							       .fds = moves,
							       .fds_count = COUNT(moves) }),
			 0);
		check_eq(torc_child_wait(&c, &status), 0);
		check_eq(status.exit_code, 0);
		torc_child_close(&c);
		check_eq(torc_read(fds[1][0], text, sizeof(text)), 2);
		check_eq(text[0], 'd');
		check_eq(torc_read(fds[0][0], text, sizeof(text)), 2);
		check_eq(text[0], 'x');
	}
	close(high);
	for (int i = 0; i < 3; i++) {
		close(fds[i][0]);
		close(fds[i][1]);
	}
	return 0;
}

Test(child, descriptors_that_trade_places_arrive)
{
	run_children(overlapping, NULL);
}

/* A permutation of numbers: each says through its new one which it was. */
static int permuted(void *arg)
{
	enum { N = 5 };
	int fds[N][2], targets[N];
	char script[256] = "", text[4];
	struct torc_child_fd moves[N];
	struct torc_child c;

	(void)arg;
	for (int i = 0; i < N; i++) {
		int end;

		check_eq(pipe2(fds[i], O_CLOEXEC), 0);
		end = fcntl(fds[i][1], F_DUPFD_CLOEXEC, 100);
		close(fds[i][1]);
		fds[i][1] = end;
	}
	for (int i = 0; i < N; i++) { /* onto 3 .. 7, a rotation of each other */
		targets[i] = 3 + (i + 2) % N;
		moves[i] = (struct torc_child_fd){ fds[i][1], targets[i] };
		sprintf(script + strlen(script), "echo %d >&%d;", i, targets[i]);
	}
	check_eq(start_sh(&c, script, (struct torc_child_options){ .fds = moves, .fds_count = N }),
		 0);
	check_eq(torc_child_wait(&c, NULL), 0);
	check_eq(c.status.exit_code, 0);
	torc_child_close(&c);
	for (int i = 0; i < N; i++) {
		check_eq(torc_read(fds[i][0], text, sizeof(text)), 2);
		check_eq(text[0], '0' + i);
		close(fds[i][0]);
		close(fds[i][1]);
	}
	return 0;
}

Test(child, each_descriptor_gets_its_number)
{
	run_children(permuted, NULL);
}

static int same_output(void *arg)
{
	struct torc_child_talk talk = { .input = NULL };
	struct torc_child_options o = { .argv = SH("echo out; echo err >&2"),
					.out = { TORC_CHILD_PIPE, 0 },
					.err = { TORC_CHILD_STDOUT, 0 } };

	(void)arg;
	check_eq(torc_child_run(&o, &talk, NULL), 0);
	check(!strcmp(talk.out, "out\nerr\n"));
	check_eq(talk.err_len, 0);
	torc_child_talk_done(&talk);
	o.out.stream = TORC_CHILD_INHERIT;
	o.argv = SH("test $(readlink /proc/$$/fd/1) = $(readlink /proc/$$/fd/2)");
	for (int i = 0; i < 2; i++) {
		struct torc_child_status status;

		check_eq(torc_child_run(&o, NULL, &status), 0);
		check_eq(status.exit_code, 0);
		o.in.stream = TORC_CHILD_PIPE;
	}
	return 0;
}

Test(child, standard_error_goes_where_the_output_goes)
{
	run_children(same_output, NULL);
}

/* The pipes themselves get the numbers 0, 1 and 2 then. */
static int closed_streams(void *arg)
{
	struct torc_child_talk talk = { .input = "hello", .input_len = 5 };
	struct torc_child_status status;
	int saved[3];

	(void)arg;
	for (int i = 0; i < 3; i++) {
		saved[i] = fcntl(i, F_DUPFD_CLOEXEC, 100);
		close(i);
	}
	for (int closed = 0; closed < 3; closed++) {
		check_eq(torc_run_command(SH("cat; echo err >&2"), &talk, &status), 0);
		check_eq(status.exit_code, 0);
		check_eq(talk.out_len, 5);
		check(!strcmp(talk.out, "hello"));
		check(!strcmp(talk.err, "err\n"));
		torc_child_talk_done(&talk);
		talk.input_done = 0;
		/* What is inherited is closed. */
		check_eq(torc_child_run(
				 &(struct torc_child_options){ .argv = SH("[ ! -e /proc/$$/fd/1 ]"),
							       .in = { TORC_CHILD_PIPE, 0 } },
				 &talk, &status),
			 0);
		check_eq(status.exit_code, closed == 2);
		talk.input_done = 0;
		check_eq(dup2(saved[closed], closed), closed);
	}
	for (int i = 0; i < 3; i++)
		close(saved[i]);
	return 0;
}

Test(child, streams_work_where_the_program_has_none)
{
	run_children(closed_streams, NULL);
}

static int starved(void *arg)
{
	static const struct torc_child_options o = { .in = { TORC_CHILD_PIPE, 0 },
						     .out = { TORC_CHILD_PIPE, 0 },
						     .err = { TORC_CHILD_PTY, 0 } };
	struct rlimit old, low;
	int failures = 0, r;

	(void)arg;
	check_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	for (low.rlim_cur = 3;; low.rlim_cur++) {
		struct torc_child c;
		int before = count_fds();

		check_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
		r = start_sh(&c, "exit 3", o);
		check_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
		if (!r) {
			check_eq(torc_child_wait(&c, NULL), 0);
			torc_child_close(&c);
			break;
		}
		check_eq(r, -EMFILE);
		check_eq(count_fds(), before);
		check_no_children();
		failures++;
	}
	check_ge(failures, 8);
	return 0;
}

Test(child, without_descriptors_leaves_nothing_at_any_step)
{
	run_children(starved, NULL);
}

/* --- a terminal --- */

static int terminal(void *arg)
{
	struct torc_child_talk talk = { .input = "hello\n", .input_len = 6 };
	const struct torc_child_options o = {
		.argv = SH(
			"test -t 0 && test -t 1 && test -t 2 && read x </dev/tty && echo got $x"),
		.in = { TORC_CHILD_PTY, 0 },
		.out = { TORC_CHILD_PTY, 0 },
		.err = { TORC_CHILD_PTY, 0 },
	};
	struct torc_child_status status;

	(void)arg;
	check_eq(torc_child_run(&o, &talk, &status), 0);
	check_eq(status.exit_code, 0);
	check(strstr(talk.out, "got hello\r\n"));
	torc_child_talk_done(&talk);
	return 0;
}

Test(child, has_a_terminal_of_its_own)
{
	run_children(terminal, NULL);
}

/* ^C is for its group. */
static int interrupted(void *arg)
{
	struct torc_child c;
	char buf[64];
	int r, len = 0;

	(void)arg;
	check_eq(start_sh(&c, "echo ready; exec sleep 100",
			  (struct torc_child_options){ .in = { TORC_CHILD_PTY, 0 },
						       .out = { TORC_CHILD_PTY, 0 } }),
		 0);
	while (len < 7 && (r = torc_read(c.pty, buf, sizeof(buf))) > 0)
		len += r;
	check_eq(torc_write(c.pty, "\3", 1), 1);
	check_eq(torc_child_wait(&c, NULL), 0);
	check_eq(c.status.signal, SIGINT);
	torc_child_close(&c);
	return 0;
}

Test(child, is_interrupted_from_its_terminal)
{
	run_children(interrupted, NULL);
}

/* --- waiting and stopping --- */

struct waiter {
	struct torc_child *c;
	struct torc_child_status status;
	int result;
};

static int waiter_main(void *arg)
{
	struct waiter *w = arg;

	w->result = torc_child_wait(w->c, &w->status);
	return 0;
}

static int several_wait(void *arg)
{
	struct waiter w[3];
	struct torc_group g;
	struct torc_task first;
	struct torc_child c;

	(void)arg;
	check_eq(start_sh(&c, "exec sleep 100", (struct torc_child_options){ .argv = NULL }), 0);
	torc_group_enter(&g);
	for (int i = 0; i < 3; i++) {
		w[i] = (struct waiter){ .c = &c };
		check_eq(torc_group_spawn_with(&g,
					       &(struct torc_spawn_options){ .task = i ? NULL
										       : &first },
					       waiter_main, &w[i]),
			 0);
	}
	torc_yield();
	torc_yield();
	torc_task_cancel(&first);
	check_eq(torc_task_join(&first), 0);
	check_eq(w[0].result, -ECANCELED);
	check_eq(torc_child_signal(&c, 0), 0); /* it goes on */
	check_eq(torc_child_signal(&c, SIGTERM), 0);
	check_eq(torc_group_wait(&g), 0);
	for (int i = 1; i < 3; i++) {
		check_eq(w[i].result, 0);
		check_eq(w[i].status.signal, SIGTERM);
	}
	torc_child_close(&c);
	return 0;
}

Test(child, is_waited_for_by_several_and_outlives_a_cancelled_wait)
{
	run_children(several_wait, NULL);
}

static int cancelled_start(void *arg)
{
	struct torc_child c;
	struct torc_scope t;

	(void)arg;
	torc_scope_enter(&t, 0);
	check_eq(start_sh(&c, "exit 0", (struct torc_child_options){ .argv = NULL }), -ETIMEDOUT);
	torc_scope_leave(&t);
	check_no_children();
	/* At any moment: it runs, and can be closed, or there is none. */
	for (uint64_t ns = 1000; ns < TORC_MS(4); ns += ns / 8) {
		int r;

		torc_scope_enter(&t, ns);
		r = start_sh(&c, "exec sleep 100",
			     (struct torc_child_options){ .in = { TORC_CHILD_PIPE, 0 },
							  .out = { TORC_CHILD_PIPE, 0 } });
		check(r == 0 || r == -ETIMEDOUT);
		check_eq(r, c.pidfd >= 0 ? 0 : -ETIMEDOUT);
		if (r == 0)
			check_eq(torc_child_signal(&c, 0), 0);
		torc_child_close(&c);
		torc_scope_leave(&t);
		check_no_children();
	}
	return 0;
}

Test(child, is_started_or_not_when_its_start_is_cancelled)
{
	run_children(cancelled_start, NULL);
}

static char state_of(const struct torc_child *c)
{
	char path[32], text[256];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", c->pid);
	f = fopen(path, "re");
	check(f && fgets(text, sizeof(text), f));
	fclose(f);
	return strrchr(text, ')')[2];
}

static int stopped(void *arg)
{
	static const struct {
		const char *script;
		int signal, code;
	} cases[] = {
		{ "echo ready; exec sleep 100", SIGTERM, -1 },
		{ "trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done", 0, 5 },
		{ "trap '' TERM; echo ready; while :; do sleep 1; done", SIGKILL, -1 },
		{ "trap 'exit 6' TERM; echo ready; kill -STOP $$; while :; do sleep 0.01; done", 0,
		  6 },
	};
	struct torc_child_status status;
	struct torc_scope t;

	(void)arg;
	for (size_t i = 0; i < COUNT(cases); i++)
		for (int group = 0; group < 2; group++) {
			struct torc_child c;
			bool deaf = cases[i].signal == SIGKILL;

			check_eq(start_sh(&c, cases[i].script,
					  (struct torc_child_options){
						  .out = { TORC_CHILD_PIPE, 0 },
						  .group = group ? TORC_CHILD_NEW_GROUP
								 : TORC_CHILD_SAME_GROUP }),
				 0);
			await_word(&c, "ready");
			while (cases[i].code == 6 && state_of(&c) != 'T')
				check_eq(torc_sleep(TORC_MS(1)), 0);
			torc_scope_enter(&t, 0); /* in a cancelled scope, too */
			check_eq(torc_child_stop(&c, deaf ? TORC_MS(20) : TORC_NEVER, &status), 0);
			torc_scope_leave(&t);
			check_eq(status.signal, cases[i].signal);
			check_eq(status.exit_code, cases[i].code);
			torc_child_close(&c);
		}
	return 0;
}

Test(child, is_stopped_gently_and_then_not)
{
	run_children(stopped, NULL);
}

/* Its own child has the pipe open, so the pipe ends when that one is dead, too. */
static int group_stopped(void *how)
{
	struct torc_child c;
	char byte;

	check_eq(
		start_sh(
			&c,
			"trap '' TERM; sleep 100 & trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done",
			(struct torc_child_options){ .out = { TORC_CHILD_PIPE, 0 },
						     .group = TORC_CHILD_NEW_GROUP }),
		0);
	await_word(&c, "ready\n");
	if (*(int *)how) {
		int out = c.out;

		c.out = -1;
		torc_child_close(&c);
		check_eq(torc_read(out, &byte, 1), 0);
		close(out);
	} else {
		check_eq(torc_child_stop(&c, TORC_NEVER, NULL), 0);
		check_eq(torc_read(c.out, &byte, 1), 0);
		torc_child_close(&c);
	}
	return 0;
}

Test(child, what_is_left_of_its_group_is_killed_with_it)
{
	for (int how = 0; how < 2; how++)
		run_children(group_stopped, &how);
}

static int closed_while_running(void *arg)
{
	struct torc_child c;
	struct torc_scope t;

	(void)arg;
	for (int i = 0; i < 10; i++) {
		check_eq(start_sh(&c, "exec sleep 100",
				  (struct torc_child_options){ .out = { TORC_CHILD_PIPE, 0 } }),
			 0);
		torc_scope_enter(&t, i % 2 ? 0 : TORC_NEVER);
		torc_child_close(&c);
		torc_scope_leave(&t);
		check_no_children();
	}
	return 0;
}

Test(child, is_killed_when_it_is_closed)
{
	run_children(closed_while_running, NULL);
}

/* --- the program and its children --- */

static int ignored(void *arg)
{
	struct torc_child_status status = { .exit_code = 77 };
	struct torc_child c;

	(void)arg;
	check_eq(start_sh(&c, "exit 3", (struct torc_child_options){ .argv = NULL }), 0);
	check_eq(torc_child_wait(&c, &status), -ECHILD);
	check_eq(torc_child_wait(&c, &status), -ECHILD);
	check_eq(status.exit_code, 77);
	check_eq(torc_child_signal(&c, SIGTERM), -ESRCH);
	torc_child_close(&c);
	check_eq(start_sh(&c, "exec sleep 100",
			  (struct torc_child_options){ .group = TORC_CHILD_NEW_GROUP }),
		 0);
	torc_child_close(&c);
	check_eq(start_sh(&c, "exit 3", (struct torc_child_options){ .argv = NULL }), 0);
	check_ge(torc_poll(c.pidfd, POLLIN), POLLIN);
	check_eq(torc_child_stop(&c, TORC_NEVER, NULL), -ECHILD);
	torc_child_close(&c);
	/* That it could not be started is known all the same. */
	check_eq(torc_child_start(&c,
				  &(struct torc_child_options){
					  .argv = (const char *const[]){ "/nonexistent", NULL } }),
		 -ENOENT);
	return 0;
}

Test(child, whose_end_the_program_ignores_has_ended_somehow)
{
	signal(SIGCHLD, SIG_IGN);
	run_children(ignored, NULL);
}

/* Somebody waits for any child: one that could not be started is none of theirs, and makes no SIGCHLD. */
static volatile sig_atomic_t told;

static void on_child(int number)
{
	(void)number;
	told++;
}

static int unseen(void *arg)
{
	struct torc_child c;

	(void)arg;
	check_eq(torc_child_start(&c,
				  &(struct torc_child_options){
					  .argv = (const char *const[]){ "/nonexistent", NULL } }),
		 -ENOENT);
	check_eq(told, 0);
	check_eq(torc_run_command(SH("exit 0"), NULL, NULL), 0);
	check_eq(told, 1);
	return 0;
}

Test(child, that_could_not_be_started_is_nobody_elses_business)
{
	signal(SIGCHLD, on_child);
	run_children(unseen, NULL);
}

/* --- many --- */

#define EACH (SANITIZED ? 20 : 100)

static int starter(void *arg)
{
	(void)arg;
	for (int i = 0; i < EACH; i++) {
		struct torc_child_talk talk = { .input = "x", .input_len = 1 };
		struct torc_child_status status;

		check_eq(torc_run_command((const char *const[]){ "cat", NULL }, &talk, &status), 0);
		check_eq(status.exit_code, 0);
		check_eq(talk.out_len, 1);
		torc_child_talk_done(&talk);
	}
	return 0;
}

static int many(void *arg)
{
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	for (int i = 0; i < 9; i++)
		check_eq(torc_group_spawn_with(
				 &g, &(struct torc_spawn_options){ .loop = TORC_ON_LOOP(i % 3) },
				 starter, NULL),
			 0);
	return torc_group_wait(&g);
}

/* No end of a pipe may get into another child: it would never end. */
Test(child, many_are_started_at_once_from_several_loops)
{
	check_eq(run_with(&(struct torc_options){ .loops = 3 }, many, NULL), 0);
	check_no_children();
}

static int simulated(void *arg)
{
	struct torc_child c;

	(void)arg;
	check_eq(start_sh(&c, "exit 0", (struct torc_child_options){ .argv = NULL }), -ENOSYS);
	torc_child_close(&c);
	check_eq(torc_run_command(SH("exit 0"), NULL, NULL), -ENOSYS);
	return 0;
}

Test(child, there_is_none_on_the_simulator)
{
	run_simulated(simulated);
}
