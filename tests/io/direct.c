#include "tests/io/files.h"

#include <sys/wait.h>

#include <torc/core/sim.h>
#include <torc/io/direct.h>

TestSuite(direct, .timeout = 60);

static const char *const disabled_features[] = { "", "fixed_buffers" };

static void run_both_ways(torc_fn *fn, void *arg)
{
	for (size_t i = 0; i < COUNT(disabled_features); i++) {
		setenv("TORC_DISABLE", disabled_features[i], 1);
		run_in_directory(fn, arg);
	}
	unsetenv("TORC_DISABLE");
}

static int transfers(void *arg)
{
	struct torc_arena a;
	void *one, *two;
	int fd = torc_open("file", O_RDWR | O_CREAT | O_DIRECT, 0600);

	(void)arg;
	if (fd == -EINVAL)
		fd = torc_open("file", O_RDWR | O_CREAT, 0600);
	check_eq(torc_arena_open(&a, 4, 4096, 0), 0);
	check_eq(torc_arena_is_registered(&a), !getenv("TORC_DISABLE")[0]);
	check_eq(torc_arena_take(&a, &one), 0);
	check_eq(torc_arena_take(&a, &two), 0);
	check(one != two && (uintptr_t)one % 4096 == 0 && (uintptr_t)two % 4096 == 0);
	fill_bytes(one, 4096, 1, 0);
	check_eq(torc_pwrite_fixed(&a, fd, one, 4096, 8192), 4096);
	check_eq(torc_pread_fixed(&a, fd, two, 4096, 8192), 4096);
	check(same_bytes(two, 4096, 1, 0));
	check_eq(torc_pread_fixed(&a, fd, two, 4096, 0), 4096);
	check(!memcmp(two, "\0\0\0\0", 4));
	check_eq(torc_pread_fixed(&a, fd, two, 4096, 100 * 4096), 0);
	check_eq(torc_pread_fixed(&a, fd, two, 4096, -1), -EINVAL);
	check_eq(torc_pwrite_fixed(&a, fd, two, 4096, -1), -EINVAL);
	check_eq(torc_pread_fixed(&a, -1, two, 4096, 0), -EBADF);
	check_eq(torc_pwrite_fixed(&a, -1, two, 4096, 0), -EBADF);
	fill_bytes(two, 4096, 2, 0);
	check_cancelled(torc_pread_fixed(&a, fd, two, 4096, 8192));
	check(same_bytes(two, 4096, 2, 0));
	check_cancelled(torc_pwrite_fixed(&a, fd, two, 4096, 8192));
	check_eq(torc_pread_fixed(&a, fd, one, 4096, 8192), 4096);
	check(same_bytes(one, 4096, 1, 0));
	torc_arena_give(&a, one);
	torc_arena_give(&a, two);
	torc_arena_close(&a);
	check_eq(torc_close_wait(fd), 0);
	return 0;
}

Test(direct, fixed_transfers_move_what_plain_ones_do)
{
	run_both_ways(transfers, NULL);
}

static int sizes(void *arg)
{
	struct torc_arena a;
	void *p, *q;

	(void)arg;
	check_eq(torc_arena_open(&a, 0, 4096, 0), -EINVAL);
	check_eq(torc_arena_open(&a, 1, 0, 0), -EINVAL);
	check_eq(torc_arena_open(&a, 1, 4096, 3), -EINVAL);
	check_eq(torc_arena_open(&a, 1, 4096, (size_t)4 << 20), -EINVAL);
	check_eq(torc_arena_open(&a, 2, TORC_ARENA_BYTES_MAX, 0), -EINVAL);
	check_eq(torc_arena_open(&a, UINT32_MAX, 4096, 0), -EINVAL);
	check_eq(torc_arena_open(&a, 1, SIZE_MAX, 0), -EINVAL);
	check_eq(torc_arena_open(&a, 2, 100, 512), 0);
	check_eq(torc_arena_take(&a, &p), 0);
	check_eq(torc_arena_take(&a, &q), 0);
	check_eq((char *)q - (char *)p, 512);
	torc_arena_give(&a, p);
	torc_arena_give(&a, q);
	torc_arena_close(&a);
	check_eq(torc_arena_open(&a, 3, 5000, (size_t)2 << 20), 0);
	check_eq(torc_arena_take(&a, &p), 0);
	check_eq((uintptr_t)p % ((size_t)2 << 20), 0);
	memset(p, 1, (size_t)2 << 20);
	torc_arena_give(&a, p);
	torc_arena_close(&a);
	return 0;
}

Test(direct, sizes_are_rounded_up_and_checked)
{
	run_both_ways(sizes, NULL);
}

/* More than a ring has slots; they are free again afterwards. */
static int many_arenas(void *arg)
{
	static struct torc_arena a[TORC_ARENAS_MAX + 1];
	void *p;
	int fd = make_file("file", "text", 4);

	(void)arg;
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i <= TORC_ARENAS_MAX; i++) {
			check_eq(torc_arena_open(&a[i], 1, 4096, 0), 0);
			check_eq(torc_arena_is_registered(&a[i]),
				 i < TORC_ARENAS_MAX && !getenv("TORC_DISABLE")[0]);
			check_eq(torc_arena_take(&a[i], &p), 0);
			check_eq(torc_pread_fixed(&a[i], fd, p, 4096, 0), 4);
			check(!memcmp(p, "text", 4));
			torc_arena_give(&a[i], p);
		}
		for (int i = 0; i <= TORC_ARENAS_MAX; i++)
			torc_arena_close(&a[i]);
	}
	close(fd);
	return 0;
}

Test(direct, arenas_beyond_the_rings_slots_are_ordinary_memory)
{
	run_both_ways(many_arenas, NULL);
}

/* --- waiting for a buffer --- */

struct taker {
	struct torc_arena *arena;
	void *buffer;
};

static int take_one(void *arg)
{
	struct taker *t = arg;

	return torc_arena_take(t->arena, &t->buffer);
}

static int waits(void *arg)
{
	struct torc_arena a;
	struct taker t = { .arena = &a, .buffer = &t };
	struct waiting w = { .fn = take_one, .arg = &t };
	struct torc_group g;
	void *p;

	(void)arg;
	check_eq(torc_arena_open(&a, 1, 4096, 0), 0);
	check_cancelled(torc_arena_take(&a, &p));
	check_eq(torc_arena_take(&a, &p), 0);
	check_eq(cancelled_after(3, take_one, &t, NULL), -ECANCELED);
	check(t.buffer == &t);
	torc_group_enter(&g);
	waiting_start(&g, &w);
	for (int i = 0; i < 5; i++)
		torc_yield();
	check(!w.ended);
	torc_arena_give(&a, p);
	check_eq(torc_group_wait(&g), 0);
	check_eq(w.result, 0);
	check(t.buffer == p);
	torc_arena_give(&a, p);
	torc_arena_close(&a);
	return 0;
}

Test(direct, who_takes_a_buffer_waits_until_one_is_given)
{
	run_in_directory(waits, NULL);
}

/* --- locked memory --- */

static int without_locked_memory(void *arg)
{
	struct torc_arena a;
	void *p;
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	(void)arg;
	check_eq(torc_arena_open(&a, 16, 1 << 20, 0), 0);
	check(!torc_arena_is_registered(&a));
	check_eq(torc_arena_take(&a, &p), 0);
	check_ge(torc_pread_fixed(&a, fd, p, 1 << 20, 0), 1); /* a signal may cut it */
	torc_arena_give(&a, p);
	torc_arena_close(&a);
	check_eq(torc_arena_open(&a, 1, 4096, 0), 0);
	check(torc_arena_is_registered(&a)); /* the table is there, and the limit allows that */
	torc_arena_close(&a);
	close(fd);
	return 0;
}

Test(direct, where_memory_may_not_be_locked_the_arena_is_ordinary)
{
	const struct rlimit few = { 2 << 20, 2 << 20 };

	if (!geteuid() && seteuid(65534))
		cr_skip_test("root may lock any memory, and cannot become somebody else");
	check_eq(setrlimit(RLIMIT_MEMLOCK, &few), 0);
	run(without_locked_memory, NULL);
	if (!getuid())
		check_eq(seteuid(0), 0);
}

/* --- misuse --- */

static int give_twice(void *arg)
{
	struct torc_arena a;
	void *p;

	(void)arg;
	check_eq(torc_arena_open(&a, 2, 4096, 0), 0);
	check_eq(torc_arena_take(&a, &p), 0);
	torc_arena_give(&a, p);
	torc_arena_give(&a, p);
	return 0;
}

static int give_inside(void *arg)
{
	struct torc_arena a;
	void *p;

	(void)arg;
	check_eq(torc_arena_open(&a, 2, 4096, 0), 0);
	check_eq(torc_arena_take(&a, &p), 0);
	torc_arena_give(&a, (char *)p + 1);
	return 0;
}

static int close_taken(void *arg)
{
	struct torc_arena a;
	void *p;

	(void)arg;
	check_eq(torc_arena_open(&a, 2, 4096, 0), 0);
	check_eq(torc_arena_take(&a, &p), 0);
	torc_arena_close(&a);
	return 0;
}

static int read_beyond(void *arg)
{
	struct torc_arena a;
	void *p;

	(void)arg;
	check_eq(torc_arena_open(&a, 1, 4096, 0), 0);
	check_eq(torc_arena_take(&a, &p), 0);
	return torc_pread_fixed(&a, 0, (char *)p + 1, 4096, 0);
}

static int read_elsewhere(void *arg)
{
	struct torc_arena a;
	char byte;

	(void)arg;
	check_eq(torc_arena_open(&a, 1, 4096, 0), 0);
	return torc_pread_fixed(&a, 0, &byte, 1, 0);
}

Test(direct, misuse_traps)
{
	torc_fn *const wrong[] = { give_twice, give_inside, close_taken, read_beyond,
				   read_elsewhere };

	for (size_t i = 0; i < COUNT(wrong); i++) {
		int status;
		pid_t child = fork();

		if (!child) {
			close(2);
			signal(SIGABRT, SIG_DFL);
			_exit(torc_run(NULL, wrong[i], NULL) < 0);
		}
		check_eq(waitpid(child, &status, 0), child);
		check(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	}
}

/* --- on the simulator --- */

static int simulated(void *arg)
{
	struct torc_arena a;
	void *one, *two;
	int fd = torc_open("/file", O_RDWR | O_CREAT, 0600), r;

	(void)arg;
	check_ge(fd, 0);
	check_eq(torc_arena_open(&a, 2, 4096, 0), 0);
	check(torc_arena_is_registered(&a));
	check_eq(torc_arena_take(&a, &one), 0);
	check_eq(torc_arena_take(&a, &two), 0);
	fill_bytes(one, 4096, 1, 0);
	r = torc_pwrite_fixed(&a, fd, one, 4096, 0);
	check(r > 0 && r <= 4096); /* transfers are cut there */
	check_eq(torc_pread_fixed(&a, fd, two, 1, 0), 1);
	check(same_bytes(two, 1, 1, 0));
	torc_arena_give(&a, one);
	torc_arena_give(&a, two);
	torc_arena_close(&a);
	return torc_close_wait(fd);
}

Test(direct, the_simulator_has_registered_memory)
{
	for (uint64_t seed = 1; seed < 50; seed++) {
		struct torc_sim_options o = { .seed = seed };
		struct torc_sim *sim;

		o.rates[TORC_SIM_SHORT] = o.rates[TORC_SIM_DELAY] = 300000;
		check_eq(torc_sim_new(&o, &sim), 0);
		check_eq(torc_run(&(struct torc_options){ .sim = sim }, simulated, NULL), 0);
		torc_sim_free(sim);
	}
}
