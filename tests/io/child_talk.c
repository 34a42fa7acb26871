#include "tests/io/child.h"

TestSuite(child_talk, .timeout = 60);

#define LONG (300u << 10)

/* --- all at once --- */

/* More than any pipe holds, in each direction at the same time. */
static int much(void *arg)
{
	static char input[LONG];
	struct torc_child_talk talk = { .input = input, .input_len = sizeof(input) };
	struct torc_child_status status;

	(void)arg;
	fill_bytes(input, sizeof(input), 3, 0);
	check_eq(torc_run_command(SH("tee /dev/stderr"), &talk, &status), 0);
	check_eq(status.exit_code, 0);
	check_eq(talk.input_done, LONG);
	check_eq(talk.out_len, LONG);
	check_eq(talk.err_len, LONG);
	check(same_bytes(talk.out, LONG, 3, 0));
	check(same_bytes(talk.err, LONG, 3, 0));
	check_eq(talk.out[LONG], '\0');
	torc_child_talk_done(&talk);
	torc_child_talk_done(&talk);
	return 0;
}

Test(child_talk, long_input_and_outputs_pass_each_other)
{
	run_children(much, NULL);
}

static int unread(void *arg)
{
	static char input[LONG];
	struct torc_child_talk talk = { .input = input, .input_len = sizeof(input) };
	struct torc_child_status status;

	(void)arg;
	check_eq(torc_run_command(SH("head -c 5 >/dev/null; exec <&-; echo enough"), &talk,
				  &status),
		 0);
	check_eq(status.exit_code, 0);
	check_lt(talk.input_done, LONG);
	check(!strcmp(talk.out, "enough\n"));
	check_eq(talk.err_len, 0);
	torc_child_talk_done(&talk);
	return 0;
}

Test(child_talk, a_child_need_not_read_all_of_its_input)
{
	run_children(unread, NULL);
}

static int nothing(void *arg)
{
	struct torc_child_talk talk = { .input = NULL };
	struct torc_child_status status;

	(void)arg;
	check_eq(torc_run_command(SH("cat; exit 4"), &talk, &status), 0);
	check_eq(status.exit_code, 4);
	check_eq(talk.out_len, 0);
	torc_child_talk_done(&talk);
	check_eq(torc_run_command(SH("cat; exit 5"), NULL, &status), 0);
	check_eq(status.exit_code, 5);
	check_eq(torc_run_command((const char *const[]){ "torc-no-such-program", NULL }, &talk,
				  &status),
		 -ENOENT);
	check_eq(status.exit_code, 5);
	return 0;
}

Test(child_talk, without_input_it_reads_the_end)
{
	run_children(nothing, NULL);
}

/* --- limits --- */

static int limited(void *arg)
{
	static const size_t limits[] = { 1, 10, 4096, 5000, 70000 };
	struct torc_child_status status;
	char script[64];

	(void)arg;
	for (size_t i = 0; i < COUNT(limits); i++) {
		struct torc_child_talk talk = { .limit = limits[i] };

		snprintf(script, sizeof(script), "head -c %zu /dev/zero", limits[i]);
		check_eq(torc_run_command(SH(script), &talk, &status), 0);
		check_eq(talk.out_len, limits[i]);
		torc_child_talk_done(&talk);
		snprintf(script, sizeof(script), "head -c %zu /dev/zero >&2", limits[i] + 1);
		check_eq(torc_run_command(SH(script), &talk, &status), -EMSGSIZE);
		check_eq(talk.err_len, limits[i]);
		torc_child_talk_done(&talk);
	}
	return 0;
}

Test(child_talk, an_output_beyond_the_limit_is_refused)
{
	run_children(limited, NULL);
}

static int endless(void *arg)
{
	struct torc_child_talk talk = { .limit = 100000 };

	(void)arg;
	check_eq(torc_run_command(SH("exec cat /dev/zero"), &talk, NULL), -EMSGSIZE);
	check_eq(talk.out_len, 100000);
	torc_child_talk_done(&talk);
	return 0;
}

Test(child_talk, a_child_that_never_stops_talking_is_stopped)
{
	run_children(endless, NULL);
}

/* --- cut short --- */

/* What has come is there, and the rest comes later. */
static int resumed(void *arg)
{
	struct torc_child_talk talk = { .input = "go\n", .input_len = 3 };
	struct torc_child c;
	struct torc_scope t;
	int fds[2];

	(void)arg;
	check_eq(torc_pipe(fds, 0), 0);
	check_eq(start_sh(&c, "echo first; read x; read y <&3; echo $x $y",
			  (struct torc_child_options){
				  .in = { TORC_CHILD_PIPE, 0 },
				  .out = { TORC_CHILD_PIPE, 0 },
				  .fds = (const struct torc_child_fd[]){ { fds[0], 3 } },
				  .fds_count = 1 }),
		 0);
	do {
		torc_scope_enter(&t, TORC_MS(5));
		check_eq(torc_child_communicate(&c, &talk), -ETIMEDOUT);
		torc_scope_leave(&t);
	} while (talk.out_len < 6);
	check(!strcmp(talk.out, "first\n"));
	check_eq(torc_write(fds[1], "on\n", 3), 3);
	check_eq(torc_child_communicate(&c, &talk), 0);
	check(!strcmp(talk.out, "first\ngo on\n"));
	check_eq(talk.input_done, 3);
	check_eq(torc_child_wait(&c, NULL), 0);
	check_eq(c.status.exit_code, 0);
	torc_child_talk_done(&talk);
	torc_child_close(&c);
	close(fds[0]);
	close(fds[1]);
	return 0;
}

Test(child_talk, goes_on_where_its_scope_has_cut_it_short)
{
	run_children(resumed, NULL);
}

/* At any moment. */
static int cut_anywhere(void *arg)
{
	static char input[LONG];

	(void)arg;
	fill_bytes(input, sizeof(input), 9, 0);
	for (uint64_t step = 20000; step < TORC_MS(2); step *= 2) {
		struct torc_child_talk talk = { .input = input, .input_len = sizeof(input) };
		struct torc_child c;
		int r;

		check_eq(start_sh(&c, "exec cat",
				  (struct torc_child_options){ .in = { TORC_CHILD_PIPE, 0 },
							       .out = { TORC_CHILD_PIPE, 0 } }),
			 0);
		do {
			struct torc_scope t;

			torc_scope_enter(&t, step);
			r = torc_child_communicate(&c, &talk);
			torc_scope_leave(&t);
		} while (r == -ETIMEDOUT);
		check_eq(r, 0);
		check_eq(talk.out_len, LONG);
		check(same_bytes(talk.out, LONG, 9, 0));
		torc_child_talk_done(&talk);
		check_eq(torc_child_wait(&c, NULL), 0);
		torc_child_close(&c);
	}
	return 0;
}

Test(child_talk, loses_nothing_however_often_it_is_cut_short)
{
	run_children(cut_anywhere, NULL);
}

static int killed(void *arg)
{
	struct torc_child_talk talk = { .input = NULL };
	struct torc_child_status status = { .exit_code = 77 };
	struct torc_scope t;

	(void)arg;
	torc_scope_enter(&t, TORC_MS(50));
	check_eq(torc_run_command(SH("echo here; trap '' TERM; exec sleep 100"), &talk, &status),
		 -ETIMEDOUT);
	torc_scope_leave(&t);
	check_eq(status.exit_code, 77);
	torc_child_talk_done(&talk);
	return 0;
}

/* --- what it leaves behind --- */

/* Something that it has started has its outputs open, and is told to end through the pipe. */
static int lingering(void *arg)
{
	struct torc_child_talk talk = { .linger_ns = TORC_MS(10) };
	struct torc_child_status status;
	int fds[2];

	(void)arg;
	check_eq(torc_pipe(fds, 0), 0);
	check_eq(torc_child_run(
			 &(struct torc_child_options){
				 .argv = SH("read x <&3 & echo done"),
				 .out = { TORC_CHILD_PIPE, 0 },
				 .err = { TORC_CHILD_PIPE, 0 },
				 .fds = (const struct torc_child_fd[]){ { fds[0], 3 } },
				 .fds_count = 1 },
			 &talk, &status),
		 0);
	check_eq(status.exit_code, 0);
	check(!strcmp(talk.out, "done\n"));
	torc_child_talk_done(&talk);
	close(fds[0]);
	close(fds[1]); /* it reads the end */
	return 0;
}

Test(child_talk, does_not_wait_for_what_a_child_leaves_behind)
{
	run_children(lingering, NULL);
}

Test(child_talk, a_command_that_takes_too_long_is_killed)
{
	run_children(killed, NULL);
}
