/* Children that do not do as they are told, very many of them, and programs that are odd themselves. */
#include "tests/io/child.h"

#include <sched.h>

TestSuite(child_trouble, .timeout = 60);

/* --- the program blocks signals --- */

static unsigned long long number_after(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	check(at);
	return strtoull(at + strlen(name), NULL, 16);
}

static int signals_blocked(void *arg)
{
	static const char *const argv[] = { "cat", "/proc/self/status", NULL };
	struct torc_child_talk talk = { .input = NULL };
	struct torc_child_status status;
	struct torc_child c;
	sigset_t now;

	(void)arg;
	check_eq(torc_run_command(argv, &talk, &status), 0);
	check(torc_child_succeeded(&status));
	check_eq(number_after(talk.out, "SigBlk:"), 0);
	torc_child_talk_done(&talk);
	/* So it can be ended, and its end is heard of. */
	check_eq(start_sh(&c, "exec sleep 100", (struct torc_child_options){ .argv = NULL }), 0);
	check_eq(torc_child_stop(&c, TORC_NEVER, &status), 0);
	check_eq(status.signal, SIGTERM);
	torc_child_close(&c);
	check_eq(pthread_sigmask(SIG_BLOCK, NULL, &now), 0);
	check_eq(sigismember(&now, SIGCHLD), 1); /* the program's own are as they were */
	return 0;
}

Test(child_trouble, one_of_a_program_that_blocks_all_signals_blocks_none)
{
	sigset_t all;

	sigfillset(&all);
	check_eq(pthread_sigmask(SIG_SETMASK, &all, NULL), 0);
	run_children(signals_blocked, NULL);
}

/* --- what it leaves behind --- */

/* Its output is held open by something that it has started; the scope ends it all the same, and its group with it. */
static int left_open(void *how)
{
	struct torc_child_options o = { .argv = SH("sleep 100 & echo here"),
					.out = { TORC_CHILD_PIPE, 0 },
					.group = TORC_CHILD_NEW_GROUP };
	struct torc_child_talk talk = { .input = NULL };
	struct torc_child_status status = { .exit_code = 77 };
	struct torc_child_fd passed = { .at = 3 };
	struct torc_scope t;
	int fds[2];
	char byte;

	check_eq(torc_pipe(fds, 0), 0);
	passed.fd = fds[1];
	o.fds = &passed;
	o.fds_count = 1;
	torc_scope_enter(&t, TORC_MS(50));
	if (*(int *)how) /* it is cancelled, not late */
		torc_scope_cancel(&t);
	check_eq(torc_child_run(&o, &talk, &status), *(int *)how ? -ECANCELED : -ETIMEDOUT);
	torc_scope_leave(&t);
	check_eq(status.exit_code, 77);
	torc_child_talk_done(&talk);
	close(fds[1]);
	check_eq(torc_read(fds[0], &byte, 1), 0); /* nobody is left who has it */
	close(fds[0]);
	return 0;
}

Test(child_trouble, an_output_that_is_held_open_ends_with_the_scope_and_the_group)
{
	for (int how = 0; how < 2; how++)
		run_children(left_open, &how);
}

/* It neither reads nor ends when told to, and what it says is never wanted. */
static int deaf(void *arg)
{
	struct torc_child_status status;
	struct torc_child c;
	int r;

	(void)arg;
	check_eq(start_sh(&c, "trap '' TERM INT HUP; echo ready; while :; do sleep 1; done",
			  (struct torc_child_options){ .in = { TORC_CHILD_PIPE, 0 },
						       .out = { TORC_CHILD_PIPE, 0 },
						       .group = TORC_CHILD_NEW_GROUP }),
		 0);
	await_word(&c, "ready");
	r = torc_child_signal(&c, SIGTERM);
	check_eq(r, 0);
	torc_child_end_input(&c);
	check_eq(c.in, -1);
	check_eq(torc_child_stop(&c, TORC_MS(5), &status), 0);
	check_eq(status.signal, SIGKILL);
	torc_child_close(&c);
	return 0;
}

Test(child_trouble, one_that_ignores_what_it_is_told_is_killed)
{
	run_children(deaf, NULL);
}

/* --- very many --- */

#define MANY (SANITIZED ? 50 : 200)

/* All of them at one time: a wait for each is under way when the first one ends. */
static int wait_for_one(void *arg)
{
	struct torc_child_status status;

	check_eq(torc_child_wait(arg, &status), 0);
	check_eq(status.exit_code, 0);
	return 0;
}

static void start_many(struct torc_child *c)
{
	static const char *const argv[] = { "cat", NULL };
	const struct torc_child_options o = { .argv = argv,
					      .in = { TORC_CHILD_PIPE, 0 },
					      .out = { TORC_CHILD_PIPE, 0 } };

	for (int i = 0; i < MANY; i++)
		check_eq(torc_child_start(&c[i], &o), 0);
}

static int many(void *arg)
{
	static struct torc_child c[MANY];
	struct torc_group g;
	int got;

	(void)arg;
	start_many(c);
	for (int i = 0; i < MANY; i++)
		check_eq(torc_write(c[i].in, &i, sizeof(i)), sizeof(i));
	torc_group_enter(&g);
	for (int i = 0; i < MANY; i++)
		check_eq(torc_group_spawn(&g, wait_for_one, &c[i]), 0);
	check_eq(torc_yield(), 0);
	for (int i = 0; i < MANY; i++) {
		check_eq(torc_read(c[i].out, &got, sizeof(got)), sizeof(got));
		check_eq(got, i);
		check_eq(torc_child_signal(&c[i], 0), 0);
		torc_child_end_input(&c[i]);
	}
	check_eq(torc_group_wait(&g), 0);
	for (int i = 0; i < MANY; i++)
		torc_child_close(&c[i]);
	return 0;
}

Test(child_trouble, very_many_run_at_one_time)
{
	run_children(many, NULL);
}

static int many_closed(void *arg)
{
	static struct torc_child c[MANY];

	(void)arg;
	start_many(c);
	for (int i = 0; i < MANY; i++)
		torc_child_close(&c[i]);
	check_no_children();
	return 0;
}

Test(child_trouble, very_many_that_run_are_closed_and_none_is_left)
{
	run_children(many_closed, NULL);
}

/* --- what the kernel does not give --- */

static int too_much(void *arg)
{
	static char text[1 << 20];
	const char *const argv[] = { "true", text, NULL };
	const char *const env[] = { text, NULL };
	const struct torc_child_options cases[] = {
		{ .argv = argv },
		{ .argv = SH("true"), .env = env },
	};

	(void)arg;
	memset(text, 'x', sizeof(text) - 1);
	text[1] = '=';
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct torc_child c;

		check_eq(torc_child_start(&c, &cases[i]), -E2BIG);
		check(!strcmp(c.failed, "exec"));
		torc_child_close(&c);
		check_no_children();
	}
	return 0;
}

Test(child_trouble, arguments_that_are_too_long_are_e2big)
{
	run_children(too_much, NULL);
}

/* A user who has as many processes as he may. Root is no such user. */
static int no_process(void *arg)
{
	struct rlimit old, none;
	struct torc_child c;

	(void)arg;
	check_eq(torc_run_command(SH("exit 0"), NULL, NULL), 0); /* the threads are there */
	check_eq(getrlimit(RLIMIT_NPROC, &old), 0);
	none = (struct rlimit){ 0, old.rlim_max };
	check_eq(setrlimit(RLIMIT_NPROC, &none), 0);
	check_eq(start_sh(&c, "exit 0",
			  (struct torc_child_options){ .in = { TORC_CHILD_PIPE, 0 },
						       .out = { TORC_CHILD_PIPE, 0 } }),
		 -EAGAIN);
	check_eq(c.pidfd, -1);
	check_no_children();
	check_eq(setrlimit(RLIMIT_NPROC, &old), 0);
	check_eq(torc_run_command(SH("exit 0"), NULL, NULL), 0);
	return 0;
}

Test(child_trouble, a_user_with_as_many_processes_as_he_may_have_starts_none)
{
	if (!getuid() && setresuid(65534, 65534, 65534) < 0) {
		cr_skip_test("another user cannot be had");
		return;
	}
	run_children(no_process, NULL);
}
