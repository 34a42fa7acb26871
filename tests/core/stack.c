/*
 * Stacks: their sizes, their guards, and that their memory goes back.
 */
#include "tests/core/run.h"

#include <sys/mman.h>
#include <sys/resource.h>

#include "core/internal/fiber.h"

TestSuite(stack, .timeout = 100);

/* --- overflow, in a child --- */

static __attribute__((noinline)) int dig(int depth)
{
	volatile char frame[1000];

	frame[0] = (char)depth;
	return depth < 0 ? 0 : dig(depth + 1) + frame[0]; /* it ends only by the overflow */
}

static int dig_in(void *arg)
{
	(void)arg;
	torc_fiber_set_name("digger");
	check_eq(torc_yield(), 0);
	return dig(0);
}

static int spawn_digger(void *arg)
{
	struct torc_group g;

	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g, arg, dig_in, NULL), 0);
	return torc_group_wait(&g);
}

static int run_digger(void *arg)
{
	struct rlimit no_core = { 0, 0 };

	setrlimit(RLIMIT_CORE, &no_core);
	return torc_run(OPTIONS(.loops = 2), spawn_digger, arg);
}

static void expect_overflow(size_t stack_bytes, int loop, const char *reported)
{
	struct died d = in_child(run_digger, HOW(.stack_bytes = stack_bytes, .loop = loop));

	cr_assert_eq(d.signal, SIGSEGV, "%s", d.text);
	cr_assert_eq(count_lines(d.text), 1, "%s", d.text);
	cr_assert(strstr(d.text, "torc: stack overflow in fiber digger, entry function "), "%s",
		  d.text);
	cr_assert(strstr(d.text, reported), "%s", d.text);
}

Test(stack, overflow_names_fiber_entry_and_size)
{
	if (WITH_ASAN)
		cr_skip_test("ASan's own handler comes first");
	for (int loop = 1; loop <= 2; loop++)
		for (int fallback = 0; fallback < 2; fallback++) {
			setenv("TORC_DISABLE", fallback ? "guard_install" : "", 1);
			expect_overflow(0, loop, "stack of 65536 bytes");
			expect_overflow(1, loop, "stack of 16384 bytes");
			expect_overflow(1 << 20, loop, "stack of 1048576 bytes");
		}
}

static int fault_elsewhere(void *arg)
{
	*(volatile int *)arg = 1; /* NULL */
	return 0;
}

static volatile sig_atomic_t faults;
static char page[8192] __attribute__((aligned(4096)));

static void repair(int number)
{
	(void)number;
	faults++;
	mprotect(page, 4096, PROT_READ | PROT_WRITE);
}

static int fault_and_go_on(void *arg)
{
	(void)arg;
	page[0] = 1;
	return 0;
}

Test(stack, faults_elsewhere_are_the_programs)
{
	struct sigaction action = { .sa_handler = repair };
	stack_t alt = { .ss_size = 65536, .ss_sp = malloc(65536) }, now;
	struct died d;

	if (WITH_ASAN)
		cr_skip_test("ASan's own handler comes first");
	d = run_in_child(NULL, fault_elsewhere, NULL);
	cr_assert_eq(d.signal, SIGSEGV);
	cr_assert_str_eq(d.text, "");
	sigaction(SIGSEGV, &action, NULL);
	cr_assert_eq(sigaltstack(&alt, NULL), 0);
	mprotect(page, 4096, PROT_NONE);
	run(fault_and_go_on, NULL);
	cr_assert_eq(faults, 1);
	sigaction(SIGSEGV, NULL, &action);
	cr_assert(action.sa_handler == repair, "the handler is back");
	cr_assert_eq(sigaltstack(NULL, &now), 0);
	cr_assert_eq(now.ss_sp, alt.ss_sp, "the thread's alternate stack is back");
	sigaltstack(&(stack_t){ .ss_flags = SS_DISABLE }, NULL);
	free(alt.ss_sp);
}

/* --- without a guard: no mapping left for one --- */

static int overrun(void *arg)
{
	struct torc__stack *stack = &torc__self()->stack;

	(void)arg;
	torc_fiber_set_name("overrunner");
	if (!stack->canary)
		return -ENOTSUP;
	memset(stack->bottom - 64, 0, 128);
	return torc_yield();
}

static int overrun_without_mappings(void *arg)
{
	struct torc_group g;
	int n = 0;

	(void)arg;
	/* the first one maps a slab; the others get no guard, as small mappings that cannot merge use up all */
	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g, HOW(.stack_bytes = 16384), return_arg, NULL), 0);
	while (mmap(NULL, 4096, n++ % 2 ? PROT_NONE : PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0) != MAP_FAILED)
		if (n > 200000)
			_exit(77);
	check_eq(torc_group_spawn_with(&g, HOW(.stack_bytes = 16384), overrun, NULL), 0);
	return torc_group_wait(&g);
}

Test(stack, without_a_guard_an_overrun_is_found_at_the_next_switch)
{
	struct died d;

	if (WITH_ASAN)
		cr_skip_test("ASan needs mappings of its own");
	setenv("TORC_DISABLE", "guard_install", 1);
	d = run_in_child(NULL, overrun_without_mappings, NULL);
	if (d.status == 77)
		cr_skip_test("no limit of mappings here");
	cr_assert_eq(d.signal, SIGABRT, "%d %s", d.status, d.text);
	cr_assert(strstr(d.text, "stack overflow"), "%s", d.text);
	cr_assert(strstr(d.text, "fiber overrunner"), "%s", d.text);
}

/* --- sizes --- */

static int use_stack(void *arg)
{
	char *top = __builtin_frame_address(0);
	size_t used =
		(size_t)VALUE(arg) - 3072; /* all but what the record and the first frames take */

	for (size_t at = 512; at < used; at += 512)
		*(volatile char *)(top - at) = 1;
	return torc_yield();
}

static int sizes(void *arg)
{
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	for (size_t bytes = 16384; bytes <= (size_t)64 << 20; bytes *= 2)
		for (int i = 0; i < 3; i++)
			check_eq(torc_group_spawn_with(&g, HOW(.stack_bytes = bytes), use_stack,
						       ARG(bytes)),
				 0);
	check_eq(torc_group_spawn_with(&g, HOW(.stack_bytes = ((size_t)64 << 20) + 1), return_arg,
				       NULL),
		 -EINVAL);
	check_eq(torc_group_spawn_with(&g, HOW(.stack_bytes = SIZE_MAX), return_arg, NULL),
		 -EINVAL);
	return torc_group_wait(&g);
}

Test(stack, every_size_can_be_used)
{
	if (WITH_ASAN)
		cr_skip_test("writes below its frame, which ASan forbids");
	run(sizes, NULL);
}

static int has_size(void *arg)
{
	check_eq(torc__stack_bytes(&torc__self()->stack), VALUE(arg));
	return 0;
}

static int have_size(void *arg)
{
	struct torc_group g;

	check_eq(has_size(arg), 0); /* the first fiber's too */
	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(1)), has_size, arg), 0);
	check_eq(torc_group_spawn(&g, has_size, arg), 0);
	return torc_group_wait(&g);
}

Test(stack, the_runtimes_option_is_the_default)
{
	cr_assert_eq(run_with(OPTIONS(.loops = 2), have_size, ARG(65536)), 0);
	cr_assert_eq(run_with(OPTIONS(.loops = 2, .stack_bytes = 1), have_size, ARG(16384)), 0);
	cr_assert_eq(run_with(OPTIONS(.loops = 2, .stack_bytes = 300000), have_size, ARG(524288)),
		     0);
}

/* --- memory goes back --- */

/* 64 slots of 80 KiB are a slab; a reserve of 64 stacks in at most a few slabs is kept. */
#define SLACK (4 * 64 * (65536 + 16384))

static void await_stacks_bytes(uint64_t most)
{
	struct torc_stats s;

	torc_stats(&s);
	for (int i = 0; i < 300 && s.stacks_bytes > most; i++) {
		check_eq(torc_sleep(TORC_MS(50)), 0);
		torc_stats(&s);
	}
	check_le(s.stacks_bytes, most);
}

struct burst {
	int fibers;
	torc_fn *fn;
};

static int burst(void *arg)
{
	struct burst *b = arg;
	struct torc_group g;
	struct torc_stats before, during, after;

	torc_stats(&before);
	torc_group_enter(&g);
	for (int i = 0; i < b->fibers; i++)
		check_eq(torc_group_spawn(&g, b->fn, ARG(0)), 0);
	check_eq(torc_yield(), 0);
	torc_stats(&during);
	check_eq(during.spawns - before.spawns, b->fibers);
	check_ge(during.stacks_bytes, (uint64_t)b->fibers * 65536);
	torc_group_cancel(&g);
	check_eq(torc_group_wait(&g), 0);
	await_stacks_bytes(before.stacks_bytes + SLACK);
	torc_stats(&after);
	check_eq(after.fibers, before.fibers);
	check_eq(after.timers, 0);
	check_le(after.stacks_cached, 2 * 64);
	return 0;
}

Test(stack, memory_goes_back_after_a_burst)
{
	run(burst, &(struct burst){ 20000, return_arg });
}

Test(stack, a_hundred_thousand_parked_fibers_are_cancelled_without_a_trace)
{
	run(burst, &(struct burst){ WITH_ASAN ? 10000 : 100000, forever });
}

Test(stack, more_than_there_are_mappings_for_guards)
{
	if (WITH_ASAN)
		cr_skip_test("too much shadow memory");
	setenv("TORC_DISABLE", "guard_install", 1);
	run(burst, &(struct burst){ 40000, forever });
}

static int spawn_until_refused(void *arg)
{
	struct torc_group g;
	struct rlimit limit;
	int r, n = 0;

	(void)arg;
	check_eq(getrlimit(RLIMIT_AS, &limit), 0);
	limit.rlim_cur = (rlim_t)512 << 20;
	check_eq(setrlimit(RLIMIT_AS, &limit), 0);
	torc_group_enter(&g);
	while (!(r = torc_group_spawn(&g, forever, NULL)))
		n++;
	check_eq(r, -ENOMEM);
	check_ge(n, 100);
	check_eq(torc_sleep(1000), 0); /* everything else goes on */
	torc_group_cancel(&g);
	return torc_group_wait(&g);
}

Test(stack, none_left_is_enomem)
{
	struct died d;

	if (WITH_ASAN)
		cr_skip_test("ASan needs address space without limits");
	d = run_in_child(NULL, spawn_until_refused, NULL);
	cr_assert_eq(d.status, 0, "%s", d.text);
}
