/*
 * The dump: what it says of fibers in every state, on one loop and several, and who may ask for it.
 */
#include "tests/core/run.h"

#include <pthread.h>
#include <regex.h>
#include <stdatomic.h>

#include "core/internal/fiber.h"
#include "core/internal/runtime.h"
#include "tests/support/dump.h"

TestSuite(dump, .timeout = 60);

/* --- what is in a text --- */

static bool matches(const char *text, const char *pattern)
{
	regex_t re;
	bool found;

	check_eq(regcomp(&re, pattern, REG_EXTENDED | REG_NEWLINE | REG_NOSUB), 0);
	found = !regexec(&re, text, 0, NULL, 0);
	regfree(&re);
	return found;
}

static void expect(const char *text, const char *pattern)
{
	if (matches(text, pattern))
		return;
	fprintf(stderr, "expected \"%s\" in:\n%s\n", pattern, text);
	abort();
}

static void expect_none(const char *text, const char *pattern)
{
	if (!matches(text, pattern))
		return;
	fprintf(stderr, "expected no \"%s\" in:\n%s\n", pattern, text);
	abort();
}

static int count(const char *text, const char *what)
{
	const char *end = text + strlen(text); /* strstr(3) looks for it each time under ASan */
	int n = 0;

	for (; (text = memmem(text, (size_t)(end - text), what, strlen(what))); text++)
		n++;
	return n;
}

/* How far the line that begins with `name` is indented. */
static int indent_of(const char *text, const char *name)
{
	char start[64];
	const char *found, *line;

	snprintf(start, sizeof(start), " %s, loop ", name);
	found = strstr(text, start);
	check(found);
	for (line = found; line > text && line[-1] != '\n'; line--)
		check_eq(line[-1], ' ');
	return (int)(found + 1 - line);
}

/* --- one loop --- */

static __attribute__((noinline)) int read_deeply(int fd)
{
	char byte[8];

	return read_fd(fd, byte, sizeof(byte)) < 0 ? -1 : 0;
}

static int reader(void *arg)
{
	read_deeply((int)VALUE(arg));
	return 0;
}

static int sleep_in_scope(void *arg)
{
	struct torc_scope s;
	int r;

	(void)arg;
	torc_scope_enter(&s, TORC_SECONDS(20));
	r = torc_sleep(TORC_SECONDS(50));
	torc_scope_leave(&s);
	return r;
}

static int join(void *arg)
{
	torc_task_join(arg);
	return 0;
}

static __attribute__((noinline)) void spawn_all(struct torc_group *g, struct torc_task *t, int fd)
{
	check_eq(torc_group_spawn_with(g, HOW(.name = "reader", .task = t), reader, ARG(fd)), 0);
	check_eq(torc_group_spawn_with(g, HOW(.name = "sleeper"), sleep_in_scope, NULL), 0);
	check_eq(torc_group_spawn_with(g, HOW(.name = "idler"), forever, NULL), 0);
	check_eq(torc_group_spawn(g, join, t), 0);
}

static int show_one_loop(void *arg)
{
	struct torc_group g;
	struct torc_task t;
	char *text, pattern[128];
	int fd = eventfd(0, EFD_CLOEXEC);

	(void)arg;
	torc_group_enter(&g);
	spawn_all(&g, &t, fd);
	check_eq(torc_sleep(TORC_MS(2)), 0);
	check_eq(torc_group_spawn_with(&g, HOW(.name = "fresh", .stack_bytes = 1 << 20), return_arg,
				       NULL),
		 0);
	text = dump_text();
	expect(text, "^torc: dump of process [0-9]+: loops 1, fibers 7$");
	expect(text, "^root, loop 0: waiting for join of fiber main; for [0-9.]+ .?s$");
	expect(text, "^ *main, loop 0: running, asks for a dump$");
	expect(text, "#0 torc_dump\\+0x");
	snprintf(pattern, sizeof(pattern),
		 "^ *reader, loop 0: waiting for operation read, fd %d; for [0-9.]+ .?s$", fd);
	expect(text, pattern);
	expect(text, "^ *sleeper, loop 0: waiting for sleep, 4[0-9.]+ s left; for [0-9.]+ .?s; "
		     "deadline in 1[0-9.]+ s$");
	expect(text, "^ *idler, loop 0: waiting for sleep until cancelled; for [0-9.]+ .?s$");
	expect(text, "^ *\\(unnamed\\), loop 0: waiting for join of fiber reader; for ");
	expect(text, "^ *fresh, loop 0: ready$");
	expect(text, "^ *#0 torc__switch_entry\\+0x0 ");
	expect(text, "^ *entry reader\\+0x0 \\(core-dump\\+0x[0-9a-f]+\\), spawned from "
		     "spawn_all\\+0x[0-9a-f]+ \\(core-dump\\+0x[0-9a-f]+\\), "
		     "stack [1-9][0-9]* of 65536 bytes$");
	expect(text, "^ *entry return_arg\\+0x0 .*, stack 0 of 1048576 bytes$");
	expect(text,
	       "^ *#[0-9] read_deeply[.a-z0-9]*\\+0x[0-9a-f]+ \\(core-dump\\+0x[0-9a-f]+\\)$");
	expect(text, "^ *#[0-9] sleep_in_scope\\+0x");
	expect(text, "^torc: end of dump$");
	expect_none(text, "torc__fiber_main|torc__unwind");
	check_lt(indent_of(text, "main"), indent_of(text, "sleeper"));
	check_eq(indent_of(text, "reader"), indent_of(text, "fresh"));
	free(text);
	torc_group_cancel(&g);
	check_eq(torc_group_wait(&g), 0);
	close(fd);
	return 0;
}

Test(dump, shows_name_state_wait_deadline_origin_stack_and_backtrace_of_each_fiber)
{
	run(show_one_loop, NULL);
}

static int shielded(void *arg)
{
	struct torc_scope s;
	int r;

	(void)arg;
	torc_scope_enter_shield(&s, LONG);
	r = torc_sleep(TORC_MS(20));
	torc_scope_leave(&s);
	return r;
}

static int own_group(void *arg)
{
	struct torc_group g;

	torc_group_enter_supervisor(&g);
	check_eq(torc_group_spawn_with(&g, HOW(.name = "shielded"), shielded, arg), 0);
	return torc_group_wait(&g);
}

static int show_cancelled(void *arg)
{
	struct torc_group g;
	struct torc_scope s;
	char *text;
	int fd = eventfd(0, EFD_CLOEXEC);

	(void)arg;
	torc_scope_enter(&s, TORC_NEVER);
	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g, HOW(.name = "owner"), own_group, NULL), 0);
	check_eq(torc_group_spawn_with(&g, HOW(.name = "reader"), reader, ARG(fd)), 0);
	check_eq(torc_sleep(TORC_MS(2)), 0);
	if (arg)
		torc_scope_set_deadline(&s, 1);
	else
		torc_scope_cancel(&s);
	check(torc_sleep(1) < 0);
	text = dump_text();
	expect(text,
	       arg ? "owner, loop 0: waiting for group of 1 fiber; for [0-9.]+ .?s; out of time$"
		   : "owner, loop 0: waiting for group of 1 fiber; for [0-9.]+ .?s; cancelled$");
	expect(text,
	       "shielded, loop 0: waiting for sleep, .*; deadline in .*; (cancelled|out of time) "
	       "outside of a shield$");
	expect(text, "supervisor group of 1; (cancelled|out of time)$");
	expect(text, "reader, loop 0: waiting for operation read, fd [0-9]+, asked to stop; for ");
	free(text);
	check(torc_group_wait(&g) < 0);
	torc_scope_leave(&s);
	close(fd);
	return 0;
}

Test(dump, shows_what_was_cancelled_or_is_out_of_time)
{
	run(show_cancelled, NULL);
	run(show_cancelled, ARG(1));
}

/* --- where fibers stand in the tree --- */

static int leaf(void *arg)
{
	return forever(arg);
}

static int branch(void *arg)
{
	struct torc_group outer, inner;

	torc_group_enter(&outer);
	check_eq(torc_group_spawn_with(&outer, HOW(.name = "outer leaf"), leaf, arg), 0);
	torc_group_enter(&inner);
	check_eq(torc_group_spawn_with(&inner, HOW(.name = "far leaf", .loop = TORC_ON_LOOP(0)),
				       leaf, arg),
		 0);
	check_eq(torc_group_spawn_with(&inner, HOW(.name = "near leaf"), leaf, arg), 0);
	torc_group_wait(&inner);
	return torc_group_wait(&outer);
}

static int show_remote(void *arg)
{
	struct torc_group g;
	char *text;

	(void)arg;
	check_eq(torc_detach("stray", forever, NULL), 0);
	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g, HOW(.name = "branch", .loop = TORC_ON_LOOP(1)), branch,
				       NULL),
		 0);
	for (;;) { /* until all of them have begun */
		check_eq(torc_sleep(TORC_MS(1)), 0);
		text = dump_text();
		if (count(text, "leaf, loop") == 3 && count(text, "ready") == 0 &&
		    count(text, "on its way") == 0)
			break;
		free(text);
	}
	expect(text, "^root, loop 1: waiting for the end of the first fiber; for ");
	expect(text, "^ *branch, loop 1: waiting for group of 2 fibers; ");
	expect(text, "^ *far leaf, loop 0: waiting for sleep until cancelled");
	expect(text, "^ *near leaf, loop 1: ");
	check_eq(indent_of(text, "branch"), indent_of(text, "main") + 4);
	check_eq(indent_of(text, "far leaf"), indent_of(text, "branch") + 4);
	check_eq(indent_of(text, "near leaf"), indent_of(text, "branch") + 4);
	check_eq(indent_of(text, "outer leaf"), indent_of(text, "branch") + 4);
	check_eq(indent_of(text, "stray"), indent_of(text, "main"));
	check(strstr(text, "branch, loop") < strstr(text, "far leaf, loop"));
	check(strstr(text, "far leaf, loop") < strstr(text, "root, loop 1"));
	free(text);
	torc_group_cancel(&g);
	check_eq(torc_group_wait(&g), 0);
	return 0;
}

Test(dump, shows_fibers_where_they_belong_also_those_on_other_loops)
{
	cr_assert_eq(run_with(OPTIONS(.loops = 2), show_remote, NULL), 0);
}

static int descend(void *arg)
{
	struct torc_group g;

	if (!VALUE(arg))
		return torc_sleep(TORC_NEVER);
	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g, HOW(.name = "link", .stack_bytes = 16384), descend,
				       ARG(VALUE(arg) - 1)),
		 0);
	return torc_group_wait(&g);
}

static int show_deep(void *arg)
{
	struct torc_group g;
	struct torc_stats s;
	char *text;

	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, descend, arg), 0);
	do {
		check_eq(torc_yield(), 0);
		torc_stats(&s);
	} while (s.fibers < (uint64_t)VALUE(arg) + 3);
	check_eq(torc_yield(), 0);
	text = dump_text();
	check_eq(count(text, "link, loop 0: waiting for group of 1 fiber"), VALUE(arg) - 1);
	expect(text, "^ *\\[level 18004\\] link, loop 0: waiting for sleep until cancelled");
	free(text);
	torc_group_cancel(&g);
	check_eq(torc_group_wait(&g), 0);
	return 0;
}

Test(dump, shows_trees_that_are_deeper_than_any_stack)
{
	run(show_deep, ARG(9000));
}

static int show_many(void *arg)
{
	struct torc_group g;
	char *text;

	torc_group_enter(&g);
	for (intptr_t i = 0; i < VALUE(arg); i++)
		check_eq(torc_group_spawn_with(&g, HOW(.name = "one"), forever, NULL), 0);
	check_eq(torc_yield(), 0);
	text = dump_text();
	expect(text, "^\\.\\.\\. and 2002 more fibers$");
	check_eq(count(text, "one, loop 0: waiting"), 10000 - 2);
	free(text);
	torc_group_cancel(&g);
	check_eq(torc_group_wait(&g), 0);
	return 0;
}

Test(dump, shows_the_first_ten_thousand_fibers_and_counts_the_rest)
{
	run(show_many, ARG(12000));
}

/* --- counters --- */

static int show_counters(void *arg)
{
	struct torc_stats a, b;
	char *text;

	(void)arg;
	torc_stats(&a);
	check_eq(nop(), 0);
	check_eq(torc_sleep(TORC_MS(3)), 0);
	torc_stats(&b);
	check_ge(b.idle_ns - a.idle_ns, TORC_MS(2));
	check_le(a.busy_ns, b.busy_ns);
	text = dump_text();
	for (int i = 0; i < 2; i++)
		expect(text,
		       i ? "^loop 1: turns [0-9]+, switches [0-9]+, spawns [0-9]+, enters [0-9]+, "
			   "sqes [0-9]+, cqes [0-9]+, overflows 0, wakes sent [0-9]+, received "
			   "[0-9]+, mails [0-9]+, fibers 1 \\(peak 1\\), stack bytes [0-9]+ "
			 : "^loop 0: .*, fibers 2 \\(peak 2\\), stack bytes [0-9]+ \\(cached stacks "
			   "[0-9]+\\), timers 0, in flight 0, busy [0-9.]+ .?s, idle [0-9.]+ .?s$");
	free(text);
	return 0;
}

Test(dump, shows_the_counters_of_each_loop)
{
	cr_assert_eq(run_with(OPTIONS(.loops = 2), show_counters, NULL), 0);
}

static int spawn_back_and_forth(void *arg)
{
	struct torc_stats s;

	(void)arg;
	for (int i = 0; i < 50; i++)
		check_eq(run_on(1, return_arg, NULL), 0);
	torc_stats(&s);
	check_ge(s.wakes_sent, 1);
	check_ge(s.wakes_received, 1);
	check_le(s.wakes_received, 60);
	return 0;
}

Test(dump, wakes_are_counted_where_they_are_received)
{
	cr_assert_eq(run_with(OPTIONS(.loops = 2), spawn_back_and_forth, NULL), 0);
	setenv("TORC_DISABLE", "msg_ring", 1);
	cr_assert_eq(run_with(OPTIONS(.loops = 2), spawn_back_and_forth, NULL), 0);
}

/* --- where it is written to --- */

static int write_badly(void *arg)
{
	int fds[2], fd;

	(void)arg;
	check_eq(torc_dump(-1), -EBADF);
	check_eq(torc_dump(12345), -EBADF);
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	check_eq(torc_dump(fd), -EBADF);
	close(fd);
	fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	check_eq(torc_dump(fd), -ENOSPC);
	close(fd);
	check_eq(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	while (write(fds[1], "x", 1) == 1)
		;
	check_eq(torc_dump(fds[1]), -EAGAIN);
	close(fds[0]);
	check_eq(torc_dump(fds[1]), -EPIPE);
	close(fds[1]);
	fd = memory_file();
	check_eq(torc_dump(fd), 0);
	close(fd);
	return 0;
}

Test(dump, a_bad_descriptor_is_an_error)
{
	run(write_badly, NULL);
}

static int dump_to(void *arg)
{
	return torc_dump((int)VALUE(arg));
}

static int dump_on_little_stack(void *arg)
{
	struct torc_group g;
	int fd = memory_file();
	char *text;

	(void)arg;
	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g, HOW(.stack_bytes = 16384), dump_to, ARG(fd)), 0);
	check_eq(torc_group_wait(&g), 0);
	text = contents(fd);
	expect(text, "^torc: end of dump$");
	free(text);
	return 0;
}

Test(dump, fits_on_the_smallest_stack)
{
	if (WITH_ASAN)
		cr_skip_test("frames are larger under ASan");
	run(dump_on_little_stack, NULL);
}

/* --- several loops --- */

static int dump_often(void *arg)
{
	for (int i = 0; i < 30; i++) {
		char *text = dump_text();

		expect(text, "^loop 2: turns ");
		expect(text, "^torc: end of dump$");
		expect_none(text, "not answered");
		free(text);
		if (i % 3 == VALUE(arg) % 3)
			check_eq(torc_sleep(1000), 0);
	}
	return 0;
}

static int dump_everywhere(void *arg)
{
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	for (int i = 0; i < 6; i++)
		check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(i % 3)), dump_often,
					       ARG(i)),
			 0);
	return torc_group_wait(&g);
}

Test(dump, several_loops_can_ask_at_once)
{
	cr_assert_eq(run_with(OPTIONS(.loops = 3), dump_everywhere, NULL), 0);
}

static atomic_bool spinning, stop_spinning;

static __attribute__((noinline)) void spin_hard(void)
{
	while (!atomic_load(&stop_spinning))
		atomic_store(&spinning, true);
}

static int spin(void *arg)
{
	(void)arg;
	spin_hard();
	return 0;
}

static int show_spinner(void *arg)
{
	struct torc_group g;
	char *text;

	atomic_store(&spinning, false);
	atomic_store(&stop_spinning, false);
	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g, HOW(.name = "spinner", .loop = TORC_ON_LOOP(1)), spin,
				       NULL),
		 0);
	while (!atomic_load(&spinning))
		check_eq(torc_sleep(1000), 0);
	text = dump_text();
	if (arg) {
		expect(text, "^loop 1: has not answered for 1\\.00 s; it runs fiber spinner, "
			     "entry spin\\+0x0 .*, spawned from show_spinner\\+0x");
		expect(text, "^ *#[0-9] spin_hard\\+0x");
	} else {
		expect(text, "^loop 1: has not answered for 1\\.00 s$");
	}
	expect(text, "^ *spinner, loop 1: its loop has not answered$");
	expect(text, "^ *main, loop 0: running");
	expect_none(text, "^root, loop 1");
	free(text);
	atomic_store(&stop_spinning, true);
	check_eq(torc_group_wait(&g), 0);
	text = dump_text();
	expect(text, "^root, loop 1: waiting for the end of the first fiber");
	expect_none(text, "not answered");
	free(text);
	return 0;
}

Test(dump, a_loop_that_computes_is_shown_by_what_it_runs)
{
	signal(SIGQUIT, SIG_DFL);
	cr_assert_eq(run_with(OPTIONS(.loops = 2), show_spinner, ARG(1)), 0);
}

Test(dump, without_a_signal_a_loop_that_computes_is_only_mentioned)
{
	cr_assert_eq(run_with(OPTIONS(.loops = 2, .dump_signal = TORC_NO_SIGNAL), show_spinner,
			      NULL),
		     0);
}

/* --- the signal --- */

static volatile sig_atomic_t handled;

static void handle(int number)
{
	handled = number;
}

static bool is_dumped;

/* Where a dump comes, any loop may be the one that writes it: this one has stood still then. */
static int raise_and_go_on(void *arg)
{
	const struct torc__attention *a = &torc__self()->loop->attention;

	check_eq(kill(getpid(), (int)VALUE(arg)), 0);
	do
		check_eq(torc_sleep(1), 0);
	while (is_dumped && !atomic_load(&a->paused));
	return 0;
}

struct signal_case {
	const char *label;
	int raised;
	void (*before)(int); /* what the program does with SIGQUIT */
	struct torc_options options;
	int dies_of; /* 0: it goes on */
	bool dumps;
};

static const struct signal_case signal_cases[] = {
	{ "default", SIGQUIT, SIG_DFL, { .loops = 1 }, 0, true },
	{ "several loops", SIGQUIT, SIG_DFL, { .loops = 3 }, 0, true },
	{ "configured", SIGUSR1, SIG_DFL, { .dump_signal = SIGUSR1 }, 0, true },
	{ "configured, another", SIGQUIT, SIG_DFL, { .dump_signal = SIGUSR1 }, SIGQUIT, false },
	{ "off", SIGQUIT, SIG_DFL, { .dump_signal = TORC_NO_SIGNAL }, SIGQUIT, false },
	{ "no_signals", SIGQUIT, SIG_DFL, { .no_signals = true }, SIGQUIT, false },
	{ "no_signals but this",
	  SIGQUIT,
	  SIG_DFL,
	  { .no_signals = true, .dump_signal = SIGQUIT },
	  0,
	  true },
	{ "ignored", SIGQUIT, SIG_IGN, { .loops = 1 }, 0, false },
	{ "handled", SIGQUIT, handle, { .loops = 1 }, 0, false },
	{ "handled but configured", SIGQUIT, handle, { .dump_signal = SIGQUIT }, 0, true },
};

static int run_signal_case(void *arg)
{
	const struct signal_case *c = arg;
	struct sigaction after;

	is_dumped = c->dumps;
	signal(SIGQUIT, c->before);
	signal(SIGUSR1, SIG_DFL);
	check_eq(torc_run(&c->options, raise_and_go_on, ARG(c->raised)), 0);
	check_eq(handled, c->before == handle && !c->dumps ? SIGQUIT : 0);
	check_eq(sigaction(SIGQUIT, NULL, &after), 0);
	return after.sa_handler != c->before;
}

Test(dump, the_signal_dumps_where_it_is_wanted_and_nowhere_else)
{
	for (size_t i = 0; i < COUNT(signal_cases); i++) {
		const struct signal_case *c = &signal_cases[i];
		struct died d = in_child(run_signal_case, (void *)(intptr_t)c);

		cr_assert_eq(d.signal, c->dies_of, "%s: %d, %s", c->label, d.signal, d.text);
		cr_assert_eq(d.status, c->dies_of ? -1 : 0, "%s: %s", c->label, d.text);
		cr_assert_eq(count(d.text, "torc: dump of process"), c->dumps, "%s: %s", c->label,
			     d.text);
		cr_assert_eq(count(d.text, "torc: end of dump"), c->dumps, "%s: %s", c->label,
			     d.text);
		cr_assert_eq(matches(d.text, "main, loop 0: waiting for sleep, "), c->dumps, "%s",
			     d.text);
	}
}

Test(dump, signals_that_are_needed_otherwise_are_refused)
{
	static const int bad[] = { -2,      SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGABRT,
				   SIGPIPE, SIGINT,  SIGTERM, 32,      65,     1000 };

	for (size_t i = 0; i < COUNT(bad); i++)
		cr_assert_eq(torc_run(OPTIONS(.dump_signal = bad[i]), return_arg, NULL), -EINVAL,
			     "%d", bad[i]);
	cr_assert_eq(torc_run(OPTIONS(.dump_signal = SIGTERM, .no_signals = true), return_arg,
			      NULL),
		     0);
}

/* Computes until the dump that it has asked for is complete. */
static int raise_and_compute(void *arg)
{
	struct torc_stats before, after;
	char *text = NULL;
	int fd = (int)VALUE(arg);

	torc_stats(&before);
	check_eq(kill(getpid(), SIGQUIT), 0);
	do {
		free(text);
		text = contents(dup(fd));
	} while (!strstr(text, "torc: end of dump"));
	torc_stats(&after);
	check_eq(before.turns, after.turns);
	expect(text, "^loop 0: has not answered for 1\\.00 s; it runs fiber main, "
		     "entry raise_and_compute\\+0x0");
	expect(text, "^ *#[0-9]+ raise_and_compute\\+0x");
	free(text);
	return 0;
}

static int run_busy_program(void *arg)
{
	int fd = memory_file();

	(void)arg;
	signal(SIGQUIT, SIG_DFL);
	check_eq(dup2(fd, STDERR_FILENO), STDERR_FILENO);
	return torc_run(OPTIONS(.loops = 2), raise_and_compute, ARG(fd));
}

Test(dump, the_signal_works_while_a_loop_computes)
{
	struct died d = in_child(run_busy_program, NULL);

	cr_assert_eq(d.signal, 0);
	cr_assert_eq(d.status, 0);
}

/* --- what is broken --- */

static int show_corrupt(void *arg)
{
	struct torc_group g;
	struct torc_task t;
	struct torc__context right;
	char *text;

	(void)arg;
	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g, HOW(.name = "good"), forever, NULL), 0);
	check_eq(torc_group_spawn_with(&g, HOW(.name = "bad", .task = &t), forever, NULL), 0);
	check_eq(torc_yield(), 0);
	right = t.fiber->context;
	t.fiber->context.fp = (void *)8;
	text = dump_text();
	expect(text, "^ *bad, loop 0: waiting for sleep until cancelled");
	expect(text, "^ *good, loop 0: waiting for sleep until cancelled");
	expect(text, "^torc: end of dump$");
	free(text);
	t.fiber->context = right;
	torc_group_cancel(&g);
	check_eq(torc_group_wait(&g), 0);
	return 0;
}

Test(dump, a_stack_that_cannot_be_walked_does_not_end_the_program)
{
	if (WITH_ASAN)
		cr_skip_test("ASan takes the fault first");
	run(show_corrupt, NULL);
}

/* --- samples --- */

static int yield_on(void *arg)
{
	(void)arg;
	while (!atomic_load(&stop_spinning))
		torc_yield();
	return 0;
}

/* Everything that a loop does: switches, spawns, ends, operations, sleep. */
static int keep_busy(void *arg)
{
	struct torc_group g;

	torc_group_enter(&g);
	for (int i = 0; i < 3; i++)
		check_eq(torc_group_spawn_with(&g, HOW(.name = "yielder"), yield_on, arg), 0);
	for (int i = 0; !atomic_load(&stop_spinning); i++) {
		struct torc_group inner;

		atomic_store(&spinning, true);
		torc_group_enter(&inner);
		check_eq(torc_group_spawn(&inner, return_arg, NULL), 0);
		check_eq(torc_group_wait(&inner), 0);
		if (i % 64 == 0)
			check_eq(nop(), 0);
	}
	return torc_group_wait(&g);
}

static void take_samples(struct torc__loop *loop)
{
	int taken = 0, named = 0;

	for (int i = 0; i < 3000; i++) {
		torc__sample_ask(loop);
		if (!torc__sample_await(loop))
			continue;
		taken++;
		named += !strcmp(loop->sample.name, "yielder");
		check_ge(loop->sample.count, 1);
		torc__sample_release(loop);
	}
	check_ge(taken, 2000);
	check_ge(named, 1);
}

static int sample_often(void *arg)
{
	struct torc_group g;

	atomic_store(&spinning, false);
	atomic_store(&stop_spinning, false);
	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(1)), keep_busy, arg), 0);
	while (!atomic_load(&spinning))
		check_eq(torc_sleep(1000), 0);
	take_samples(torc__loop()->runtime->loops[1]);
	atomic_store(&stop_spinning, true);
	return torc_group_wait(&g);
}

Test(dump, a_sample_can_be_taken_at_any_instruction)
{
	signal(SIGQUIT, SIG_DFL);
	cr_assert_eq(run_with(OPTIONS(.loops = 2), sample_often, NULL), 0);
}
