/*
 * The simulator: runs repeat, chaos comes, time is virtual, and what it watches over is noticed.
 */
#include "tests/core/run.h"

#include <sys/mman.h>

#include <torc/core/chan.h>
#include <torc/core/sim.h>
#include <torc/core/sync.h>
#include <torc/core/sys.h>
#include <torc/core/timeout.h>

TestSuite(sim, .timeout = 60);

#define CHAOS(kind, rate) .rates = { [kind] = (rate) }
#define SIM(...)          (&(struct torc_sim_options){ .seed = 1, __VA_ARGS__ })

/* A run of fn(arg) on `loops` simulated loops; its report in *ret unless that is NULL. */
static int simulate(const struct torc_sim_options *how, int loops, torc_fn *fn, void *arg,
		    struct torc_sim_report *ret)
{
	struct torc_options o = { .loops = loops, .recv_buffers = 8 };
	int r;

	check_eq(torc_sim_new(how, &o.sim), 0);
	r = torc_run(&o, fn, arg);
	if (ret)
		torc_sim_report(o.sim, ret);
	torc_sim_free(o.sim);
	return r;
}

/* --- a program with some of everything --- */

static int read_some(int fd, void *buf, unsigned len)
{
	int r = read_fd(fd, buf, len);

	check(r != -EINTR);
	return r;
}

static int write_some(int fd, const void *buf, unsigned len)
{
	struct torc_op op;
	struct io_uring_sqe *sqe;
	int r = torc_op_begin(&op, &sqe);

	if (r < 0)
		return r;
	io_uring_prep_write(sqe, fd, buf, len, 0);
	return torc_op_wait(&op);
}

static int reader(void *arg)
{
	char buf[512];
	int r;

	do
		r = read_some((int)VALUE(arg), buf, sizeof(buf));
	while (r > 0 || r == -EIO || r == -EAGAIN || r == -ENOMEM);
	return 0;
}

static int worker(void *arg)
{
	int fds[2];
	struct torc_group g;
	char text[300] = "";

	(void)arg;
	if (torc_sys_pipe(fds, 0) < 0)
		return 0;
	torc_group_enter_supervisor(&g);
	(void)!torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LEAST_LOADED), reader, ARG(fds[0]));
	for (int i = 0; i < 10; i++) {
		(void)write_some(fds[1], text, (unsigned)torc_sim_random(sizeof(text)));
		(void)torc_timeout(TORC_MS(torc_sim_random(3)), reader, ARG(fds[0]));
		(void)torc_sleep(torc_sim_random(100000));
	}
	torc_sys_close(fds[1]);
	(void)!torc_group_wait(&g);
	torc_sys_close(fds[0]);
	return 0;
}

static int program(void *arg)
{
	struct torc_group g;

	(void)arg;
	torc_group_enter_supervisor(&g);
	for (int i = 0; i < 6; i++)
		(void)!torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(i % torc_loop_count())),
					     worker, NULL);
	(void)!torc_group_wait(&g);
	return 0;
}

static const struct torc_sim_options everything = {
	.seed = 7,
	.rates = { [TORC_SIM_ORDER] = 500000,
		   [TORC_SIM_DELAY] = 300000,
		   [TORC_SIM_SHORT] = 300000,
		   [TORC_SIM_ERROR] = 20000,
		   [TORC_SIM_OVERFLOW] = 100000,
		   [TORC_SIM_BUSY] = 100000,
		   [TORC_SIM_RACE] = 500000,
		   [TORC_SIM_CLOCK] = 10000,
		   [TORC_SIM_MEMORY] = 10000 },
};

/* --- the same again --- */

static char *trace_of(uint64_t seed, size_t *ret_len)
{
	struct torc_sim_options how = everything;
	char *text;
	off_t len;

	how.seed = seed;
	how.trace_fd = memfd_create("trace", MFD_CLOEXEC);
	check_eq(simulate(&how, 3, program, NULL, NULL), 0);
	len = lseek(how.trace_fd, 0, SEEK_END);
	text = malloc((size_t)len);
	check_eq(pread(how.trace_fd, text, (size_t)len, 0), len);
	close(how.trace_fd);
	*ret_len = (size_t)len;
	return text;
}

Test(sim, one_seed_gives_one_trace_to_the_byte)
{
	size_t len, again_len;

	for (uint64_t seed = 100; seed < 110; seed++) {
		char *first = trace_of(seed, &len), *again = trace_of(seed, &again_len);

		cr_assert_gt(len, 1000);
		cr_assert_eq(len, again_len);
		cr_assert_eq(memcmp(first, again, len), 0);
		free(first);
		free(again);
	}
}

Test(sim, another_seed_gives_another_run)
{
	struct torc_sim_report one, other;
	struct torc_sim_options how = everything;

	cr_assert_eq(simulate(&how, 2, program, NULL, &one), 0);
	how.seed++;
	cr_assert_eq(simulate(&how, 2, program, NULL, &other), 0);
	cr_assert_neq(one.trace_hash, other.trace_hash);
}

/* --- chaos --- */

Test(sim, each_kind_of_chaos_comes_when_it_is_asked_for_and_only_then)
{
	static const enum torc_sim_chaos kinds[] = {
		TORC_SIM_ORDER, TORC_SIM_DELAY, TORC_SIM_SHORT, TORC_SIM_ERROR, TORC_SIM_OVERFLOW,
		TORC_SIM_BUSY,  TORC_SIM_RACE,  TORC_SIM_CLOCK, TORC_SIM_MEMORY
	};

	for (size_t i = 0; i < COUNT(kinds); i++) {
		struct torc_sim_options how = { .seed = 3 };
		struct torc_sim_report report;

		how.rates[kinds[i]] = 300000;
		cr_assert_eq(simulate(&how, 2, program, NULL, &report), 0);
		for (int k = 0; k < TORC_SIM_KINDS; k++)
			cr_assert_eq(report.chaos[k] > 0, k == (int)kinds[i], "%s with %s",
				     torc_sim_chaos_name((enum torc_sim_chaos)k),
				     torc_sim_chaos_name(kinds[i]));
	}
}

Test(sim, there_is_no_more_chaos_than_allowed)
{
	struct torc_sim_options how = everything;
	struct torc_sim_report report;
	uint64_t total = 0;

	how.chaos_most = 5;
	cr_assert_eq(simulate(&how, 2, program, NULL, &report), 0);
	for (int k = 0; k < TORC_SIM_KINDS; k++)
		total += report.chaos[k];
	cr_assert_eq(total, 5);
}

static int in_peace(void *arg)
{
	int fd;

	(void)arg;
	torc_sim_peace();
	for (int i = 0; i < 100; i++) {
		fd = torc_sys_eventfd(1, 0);
		check_ge(fd, TORC_SIM_FD);
		torc_sys_close(fd);
	}
	return 0;
}

Test(sim, peace_is_kept)
{
	cr_assert_eq(simulate(SIM(CHAOS(TORC_SIM_ERROR, TORC_SIM_ALWAYS)), 1, in_peace, NULL, NULL),
		     0);
}

Test(sim, any_single_allocation_may_fail)
{
	struct torc_sim_report report;

	cr_assert_eq(simulate(SIM(), 2, program, NULL, &report), 0);
	cr_assert_gt(report.allocations, 5);
	for (uint64_t n = 1; n <= report.allocations; n++) {
		int r = simulate(SIM(.fail_memory = n), 2, program, NULL, NULL);

		cr_assert(r == 0 || r == -ENOMEM, "allocation %llu: %d", (unsigned long long)n, r);
	}
}

/* --- time --- */

static int sleep_for_hours(void *arg)
{
	uint64_t start = torc_now_ns();

	(void)arg;
	check_eq(torc_sleep(TORC_SECONDS(7200)), 0);
	check_ge(torc_now_ns() - start, TORC_SECONDS(7200));
	check_lt(torc_now_ns() - start, TORC_SECONDS(7201));
	return 0;
}

Test(sim, hours_pass_in_no_time)
{
	cr_assert_eq(simulate(NULL, 1, sleep_for_hours, NULL, NULL), 0);
}

static int wall_clock(void *arg)
{
	uint64_t before = torc_sys_wall_ns();

	(void)arg;
	check_eq(torc_sleep(TORC_SECONDS(5)), 0);
	check_ge(torc_sys_wall_ns() - before, TORC_SECONDS(5));
	check_lt(torc_sys_wall_ns() - before, TORC_SECONDS(6));
	return 0;
}

Test(sim, the_time_of_day_goes_with_it)
{
	cr_assert_eq(simulate(NULL, 1, wall_clock, NULL, NULL), 0);
}

/* --- what it watches over --- */

struct misuse {
	const struct torc_sim_options *how;
	torc_fn *fn;
};

static int simulate_misuse(void *arg)
{
	const struct misuse *m = arg;

	return simulate(m->how, 1, m->fn, NULL, NULL) != 0;
}

/* The run must end with the message, on its first line. */
static void expect_failure(const struct torc_sim_options *how, torc_fn *fn, const char *what)
{
	struct died d = in_child(simulate_misuse, &(struct misuse){ how, fn });

	cr_assert_eq(d.signal, SIGABRT, "%s: signal %d, status %d, %s", what, d.signal, d.status,
		     d.text);
	cr_assert(!strncmp(d.text, "torc: simulator: ", 17), "%s", d.text);
	cr_assert(strstr(d.text, what), "expected \"%s\", got: %s", what, d.text);
	cr_assert(strstr(d.text, "(seed 1, event "), "%s", d.text);
}

static void ignore_cqe(struct torc_op *op, int res, unsigned flags)
{
	(void)op, (void)res, (void)flags;
}

static int hang(void *arg)
{
	int fd = torc_sys_eventfd(0, 0);
	uint64_t value;

	(void)arg;
	return read_fd(fd, &value, sizeof(value));
}

static int scribble(void *arg)
{
	static char buf[100];
	static struct torc_op op;
	int fds[2];

	(void)arg;
	check_eq(torc_sys_pipe(fds, 0), 0);
	io_uring_prep_read(torc_op_start(&op, ignore_cqe), fds[0], buf, sizeof(buf), 0);
	check_eq(torc_sleep(1000), 0);
	buf[17] = 'x';
	check_eq(write_some(fds[1], "abc", 3), 3);
	return torc_sleep(1000);
}

static int change_what_is_sent(void *arg)
{
	static char buf[60000];
	static struct torc_op op;
	int fds[2];

	(void)arg;
	check_eq(torc_sys_pipe(fds, 0), 0);
	check_eq(write_some(fds[1], buf, sizeof(buf)), sizeof(buf));
	io_uring_prep_write(torc_op_start(&op, ignore_cqe), fds[1], buf, sizeof(buf), 0);
	check_eq(torc_sleep(1000), 0);
	check(!torc_op_pending(&op)); /* as much as fitted */
	io_uring_prep_write(torc_op_start(&op, ignore_cqe), fds[1], buf, 4096, 0);
	check_eq(torc_sleep(1000), 0);
	buf[5] ^= 1;
	return read_fd(fds[0], buf + 30000, 10000) + torc_sleep(1000);
}

static int leave_descriptor(void *arg)
{
	(void)arg;
	return torc_sys_eventfd(0, 0) < 0;
}

static int leave_memory(void *arg)
{
	struct torc_chan chan;

	(void)arg;
	return torc_chan_init(&chan, 8, 100);
}

static int ask_for_splice(void *arg)
{
	struct torc_op op;
	struct io_uring_sqe *sqe;

	(void)arg;
	check_eq(torc_op_begin(&op, &sqe), 0);
	io_uring_prep_splice(sqe, 0, -1, 1, -1, 10, 0);
	return torc_op_wait(&op);
}

static int use_real_descriptor(void *arg)
{
	char c;

	(void)arg;
	return read_fd(0, &c, 1);
}

static int never_end(void *arg)
{
	(void)arg;
	for (;;)
		check_eq(torc_sleep(1000), 0);
}

static int never_suspend_for_long(void *arg)
{
	(void)arg;
	for (;;)
		check_eq(torc_yield(), 0);
}

Test(sim, broken_promises_end_the_run)
{
	expect_failure(SIM(), hang, "nothing can ever happen again, but fibers wait");
	expect_failure(SIM(), scribble, "memory was written while an operation receives into it");
	expect_failure(SIM(), change_what_is_sent,
		       "memory was changed while an operation sends from it");
	expect_failure(SIM(), leave_descriptor, "a descriptor was never closed: eventfd");
	expect_failure(SIM(), leave_memory, "memory of the library was never freed");
	expect_failure(SIM(), never_end, "the run takes more events than it may");
	expect_failure(SIM(.events_most = 1000), never_suspend_for_long,
		       "the run takes more events than it may");
	expect_failure(SIM(.time_most_ns = TORC_SECONDS(60)), sleep_for_hours,
		       "the run takes longer than it may");
}

Test(sim, what_it_does_not_know_is_refused_by_name)
{
	expect_failure(SIM(), ask_for_splice,
		       "an operation that the simulator does not know: splice");
	expect_failure(
		SIM(), use_real_descriptor,
		"an operation that the simulator does not know: read, fd 0, which is not the simulator's");
}

/* --- around it --- */

static int says_where(void *arg)
{
	return torc_sim_running() == (arg != NULL) ? 0 : -EINVAL;
}

Test(sim, a_program_can_tell)
{
	cr_assert_not(torc_sim_running());
	cr_assert_eq(torc_run(NULL, says_where, NULL), 0);
	cr_assert_eq(simulate(NULL, 1, says_where, ARG(1), NULL), 0);
}

static int roll(void *arg)
{
	(void)arg;
	return (int)torc_sim_random(10);
}

Test(sim, random_numbers_need_one)
{
	expect_trap(roll, "torc_sim_random outside of a simulation");
}

Test(sim, the_real_kernel_is_back_afterwards)
{
	cr_assert_eq(simulate(&everything, 2, program, NULL, NULL), 0);
	run(return_arg, ARG(0));
	cr_assert_eq(simulate(&everything, 2, program, NULL, NULL), 0);
}

static int share(void *arg)
{
	struct torc_mutex *mutex = arg;

	for (int i = 0; i < 20; i++) {
		check_eq(torc_mutex_lock(mutex), 0);
		check_eq(torc_yield(), 0);
		torc_mutex_unlock(mutex);
	}
	return 0;
}

static int eight_loops(void *arg)
{
	struct torc_mutex mutex;
	struct torc_group g;

	(void)arg;
	torc_mutex_init(&mutex);
	torc_group_enter(&g);
	for (int i = 0; i < 8; i++)
		check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(i)), share, &mutex), 0);
	check_eq(torc_group_wait(&g), 0);
	torc_mutex_done(&mutex);
	return 0;
}

Test(sim, up_to_eight_loops_share_a_thread)
{
	cr_assert_eq(simulate(SIM(CHAOS(TORC_SIM_ORDER, TORC_SIM_ALWAYS)), 8, eight_loops, NULL,
			      NULL),
		     0);
}
