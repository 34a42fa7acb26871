/*
 * Generators' stacks: their memory, overflows, forks, threads, fibers that suspend on them, and backtraces.
 */
#include "tests/core/gdb.h"
#include "tests/core/gen.h"

#include <execinfo.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "core/internal/gen.h"
#include "core/internal/switch.h"

TestSuite(gen_stack, .timeout = 60);

/* --- memory --- */

static size_t resident_bytes(void)
{
	size_t pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	check(f && fscanf(f, "%*u %zu", &pages) == 1);
	fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

#define MANY (WITH_ASAN ? 2000 : 100000)

static struct torc_gen *many[100000];

static void destroy_many(int first, int step)
{
	for (int i = first; i < MANY; i += step) {
		torc_gen_destroy(many[i]);
		many[i] = NULL;
	}
}

Test(gen_stack, a_hundred_thousand_at_once_and_their_memory_goes_back)
{
	size_t before = resident_bytes();

	for (int i = 0; i < MANY; i++)
		many[i] = make(count_to, ARG(2));
	for (int n = 1; n <= 2; n++)
		for (int i = 0; i < MANY; i++)
			expect_value(many[i], n);
	destroy_many(0, 3); /* so that no slab is free as a whole, until the end */
	destroy_many(1, 3);
	destroy_many(2, 3);
	if (!WITH_ASAN)
		check_lt(resident_bytes(), before + ((size_t)24 << 20));
}

Test(gen_stack, large_stacks_are_not_kept)
{
	size_t before = resident_bytes();

	for (int i = 0; i < 5; i++) {
		struct torc_gen *g;

		check_eq(torc_gen_create(count_to, ARG(1), GEN(.stack_bytes = (size_t)32 << 20),
					 &g),
			 0);
		expect_value(g, 1);
		if (!WITH_ASAN)
			memset((char *)g - ((size_t)31 << 20), 1, (size_t)30 << 20);
		torc_gen_destroy(g);
	}
	if (!WITH_ASAN)
		check_lt(resident_bytes(), before + ((size_t)40 << 20));
}

static int use_it_all(struct torc_gen *g, void *arg)
{
	char *top = __builtin_frame_address(0);

	for (size_t at = 512; at < (size_t)VALUE(arg) - 3072; at += 512)
		*(volatile char *)(top - at) = 1;
	return torc_gen_yield(g, arg, NULL);
}

Test(gen_stack, every_stack_size_can_be_used)
{
	struct torc_gen *g;

	if (WITH_ASAN)
		cr_skip_test("writes below its frame, which ASan forbids");
	for (size_t bytes = 16384; bytes <= (size_t)64 << 20; bytes *= 2) {
		check_eq(torc_gen_create(use_it_all, ARG(bytes), GEN(.stack_bytes = bytes - 1), &g),
			 0);
		check_eq(torc__gen_stack_bytes(g), bytes);
		expect_value(g, (intptr_t)bytes);
		torc_gen_destroy(g);
	}
	g = make(use_it_all, ARG(TORC_GEN_STACK_BYTES));
	expect_value(g, TORC_GEN_STACK_BYTES);
	torc_gen_destroy(g);
}

Test(gen_stack, a_stack_beyond_the_limit_is_einval)
{
	struct torc_gen *g = untouched;

	check_eq(torc_gen_create(count_to, NULL, GEN(.stack_bytes = ((size_t)64 << 20) + 1), &g),
		 -EINVAL);
	check_eq(torc_gen_create(count_to, NULL, GEN(.stack_bytes = SIZE_MAX), &g), -EINVAL);
	check(g == untouched);
}

static int create_until_refused(void *arg)
{
	struct rlimit limit = { (rlim_t)256 << 20, (rlim_t)256 << 20 };
	struct torc_gen *g, *last = make(count_to, ARG(1));
	int n = 0, r;

	(void)arg;
	check_eq(setrlimit(RLIMIT_AS, &limit), 0);
	while (!(r = torc_gen_create(count_to, ARG(1), NULL, &g))) {
		expect_value(g, 1);
		last = g;
		n++;
	}
	check_eq(r, -ENOMEM);
	check_ge(n, 100);
	torc_gen_destroy(last);
	check_eq(torc_gen_create(count_to, ARG(1), NULL, &g), 0);
	expect_value(g, 1);
	return 0;
}

Test(gen_stack, none_left_is_enomem)
{
	struct died d;

	if (WITH_ASAN)
		cr_skip_test("ASan needs address space without limits");
	d = in_child(create_until_refused, NULL);
	cr_assert_eq(d.status, 0, "%s", d.text);
}

/* --- overflow --- */

static __attribute__((noinline)) int dig(int depth)
{
	volatile char frame[1000];

	frame[0] = (char)depth;
	return depth < 0 ? 0 : dig(depth + 1) + frame[0]; /* it ends only by the overflow */
}

static int digger(struct torc_gen *g, void *arg)
{
	(void)arg;
	return torc_gen_yield(g, NULL, NULL) || dig(0);
}

static int dig_in_generator(void *arg)
{
	struct rlimit no_core = { 0, 0 };
	struct torc_gen *g;

	setrlimit(RLIMIT_CORE, &no_core);
	for (int i = 0; i < 500; i++) /* in a slab of many */
		make(count_to, NULL);
	check_eq(torc_gen_create(digger, NULL,
				 GEN(.name = "mole", .stack_bytes = (size_t)VALUE(arg)), &g),
		 0);
	expect_value(g, 0);
	return torc_gen_next(g, NULL);
}

static int dig_in_default(void *arg)
{
	(void)arg;
	torc_fiber_set_name("field");
	return dig_in_generator(ARG(0));
}

static int dig_in_large(void *arg)
{
	(void)arg;
	return dig_in_generator(ARG(1 << 20));
}

static void expect_overflow(torc_fn *fn, const char *a, const char *b)
{
	struct died d = run_in_child(NULL, fn, NULL);

	cr_assert_eq(d.signal, SIGSEGV, "%s", d.text);
	cr_assert_eq(count_lines(d.text), 1, "%s", d.text);
	cr_assert(strstr(d.text, "torc: stack overflow in generator mole, entry function "), "%s",
		  d.text);
	cr_assert(strstr(d.text, a), "%s", d.text);
	cr_assert(strstr(d.text, b), "%s", d.text);
}

Test(gen_stack, an_overflow_in_a_fiber_is_reported_with_the_generators_name)
{
	if (WITH_ASAN)
		cr_skip_test("ASan's own handler comes first");
	for (int fallback = 0; fallback < 2; fallback++) {
		setenv("TORC_DISABLE", fallback ? "guard_install" : "", 1);
		expect_overflow(dig_in_default, ", resumed in fiber field",
				", stack of 16384 bytes; give it more");
		expect_overflow(dig_in_large, ", resumed in fiber main",
				", stack of 1048576 bytes; give it more");
	}
}

Test(gen_stack, an_overflow_in_a_plain_program_hits_the_guard)
{
	struct died d;

	if (WITH_ASAN)
		cr_skip_test("ASan's own handler comes first");
	d = in_child(dig_in_generator, ARG(0));
	cr_assert_eq(d.signal, SIGSEGV);
	cr_assert_str_eq(d.text, "");
}

static int overrun_and_yield(struct torc_gen *g, void *arg)
{
	char *end = (char *)g - g->stack_bytes;

	if (arg)
		memset(end - 64, 0, 128);
	return torc_gen_yield(g, NULL, NULL);
}

static int overrun_without_mappings(void *arg)
{
	struct torc_gen *g;
	int n = 0;

	make(count_to, NULL); /* the first one maps a slab; the others get no guard */
	while (mmap(NULL, 4096, n++ % 2 ? PROT_NONE : PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0) != MAP_FAILED)
		if (n > 200000)
			_exit(77);
	check_eq(torc_gen_create(overrun_and_yield, arg, GEN(.name = "overrunner"), &g), 0);
	check_eq(torc_gen_next(g, NULL), 1); /* slower, not different */
	torc_gen_destroy(g);
	return 0;
}

Test(gen_stack, without_a_guard_an_overrun_is_found_at_the_next_yield)
{
	struct died d;

	if (WITH_ASAN)
		cr_skip_test("ASan needs mappings of its own");
	setenv("TORC_DISABLE", "guard_install", 1);
	d = in_child(overrun_without_mappings, NULL);
	if (d.status == 77)
		cr_skip_test("no limit of mappings here");
	cr_assert_eq(d.status, 0, "%s", d.text);
	d = in_child(overrun_without_mappings, ARG(1));
	cr_assert_eq(d.signal, SIGABRT, "%d %s", d.status, d.text);
	cr_assert(strstr(d.text, "stack overflow"), "%s", d.text);
	cr_assert(strstr(d.text, "generator overrunner"), "%s", d.text);
}

/* --- processes and threads --- */

static int use_after_fork(void *arg)
{
	struct torc_gen *g = make(count_to, ARG(2));

	expect_value(arg, 2); /* the parent's, as it stood */
	expect_value(g, 1);
	torc_gen_destroy(g);
	torc_gen_destroy(arg);
	return 0;
}

Test(gen_stack, a_child_process_goes_on_with_a_copy)
{
	struct torc_gen *g = make(count_to, ARG(2));
	struct died d;

	expect_value(g, 1);
	d = in_child(use_after_fork, g);
	cr_assert_eq(d.status, 0, "%d %s", d.signal, d.text);
	expect_value(g, 2);
	torc_gen_destroy(g);
}

static struct torc_gen *shared_gen;

static void *use_elsewhere(void *arg)
{
	expect_value(arg, 2);
	shared_gen = make(count_to, ARG(2));
	expect_value(shared_gen, 1);
	return NULL;
}

Test(gen_stack, one_may_be_made_in_one_thread_and_used_and_destroyed_in_another)
{
	struct torc_gen *g = make(count_to, ARG(5));
	pthread_t thread;

	expect_value(g, 1);
	check_eq(pthread_create(&thread, NULL, use_elsewhere, g), 0);
	check_eq(pthread_join(thread, NULL), 0);
	expect_value(g, 3);
	expect_value(shared_gen, 2);
	torc_gen_destroy(shared_gen);
	torc_gen_destroy(g);
}

/* --- in fibers --- */

/* A deep frame under ASan's eyes, so that it knows which stack this is. */
static __attribute__((noinline)) int sleep_deep(int depth)
{
	volatile char frame[100];
	int r;

	frame[depth] = 1;
	r = depth ? sleep_deep(depth - 1) : torc_sleep(1000);
	return frame[depth] == 1 ? r : -EIO;
}

static int sleepy(struct torc_gen *g, void *arg)
{
	int r = 0;

	for (intptr_t i = 1; i <= VALUE(arg) && !r; i++) {
		r = sleep_deep(5);
		if (!r)
			r = torc_yield();
		if (!r)
			r = nop();
		if (!r)
			r = torc_gen_yield(g, ARG(i), NULL);
	}
	return r;
}

static int consume_sleepy(void *arg)
{
	struct outer o = OUTER(.fn = sleepy, .arg = ARG(10));
	struct torc_gen *g = VALUE(arg) % 2 ? make(all_of, &o) : make(sleepy, ARG(10));
	volatile char here[200];
	int sum = 0;

	for (int i = 0; i < 200; i++)
		here[i] = (char)i;
	torc_gen_each(value, g) {
		sum += (int)VALUE(value);
		check_eq(torc_yield(), 0);
	}
	check_eq(sum, 55);
	check_eq(torc_gen_status(g), 0);
	torc_gen_destroy(g);
	for (int i = 0; i < 200; i++)
		check_eq(here[i], (char)i);
	return 0;
}

static int many_consume_sleepy(void *arg)
{
	struct torc_group group;

	(void)arg;
	torc_group_enter(&group);
	for (int i = 0; i < 50; i++)
		check_eq(torc_group_spawn(&group, consume_sleepy, ARG(i)), 0);
	return torc_group_wait(&group);
}

Test(gen_stack, a_fiber_may_suspend_in_a_body_and_others_run_meanwhile)
{
	run(many_consume_sleepy, NULL);
}

/* A generator resumed by a body, which suspends the fiber: three stacks deep. */
static int resume_sleepy(struct torc_gen *g, void *arg)
{
	struct torc_gen *inner = make(sleepy, arg);
	int r = 0;

	torc_gen_each(value, inner) {
		r = sleep_deep(3);
		if (!r)
			r = torc_gen_yield(g, value, NULL);
		if (r)
			break;
	}
	if (!r)
		r = torc_gen_status(inner);
	torc_gen_destroy(inner);
	return r;
}

static int consume_nested(void *arg)
{
	struct torc_gen *g = make(resume_sleepy, ARG(5));

	(void)arg;
	for (int i = 1; i <= 5; i++) {
		expect_value(g, i);
		check_eq(sleep_deep(2), 0);
	}
	expect_next(g, 0);
	torc_gen_destroy(g);
	return 0;
}

static int many_consume_nested(void *arg)
{
	struct torc_group group;

	(void)arg;
	torc_group_enter(&group);
	for (int i = 0; i < 20; i++)
		check_eq(torc_group_spawn(&group, consume_nested, NULL), 0);
	return torc_group_wait(&group);
}

Test(gen_stack, a_fiber_may_suspend_in_a_body_that_another_body_has_resumed)
{
	run(many_consume_nested, NULL);
}

static int wait_in_body(struct torc_gen *g, void *arg)
{
	struct seen *s = arg;
	int r = torc_gen_yield(g, ARG(1), NULL);

	if (!r) {
		s->g = g;
		r = s->error = torc_sleep(TORC_NEVER);
	}
	s->cleaned++;
	return r;
}

static int consume_waiting(void *arg)
{
	struct seen *s = arg;
	struct torc_gen *g = make(wait_in_body, s);
	int r;

	expect_value(g, 1);
	r = torc_gen_next(g, NULL);
	expect_closed(g, 0, r);
	torc_gen_destroy(g);
	return r;
}

static int cancel_a_waiting_body(void *arg)
{
	struct seen s = { .answer = 0 };
	struct torc_group group;

	(void)arg;
	torc_group_enter(&group);
	check_eq(torc_group_spawn(&group, consume_waiting, &s), 0);
	while (!s.g)
		check_eq(torc_yield(), 0);
	check_eq(torc_gen_state(s.g), TORC_GEN_RUNNING);
	try_all(s.g, &s); /* another fiber is in there */
	expect_busy(&s);
	torc_group_cancel(&group);
	check_eq(torc_group_wait(&group), 0);
	check_eq(s.error, -ECANCELED);
	check_eq(s.cleaned, 1);
	return 0;
}

Test(gen_stack, a_body_that_waits_in_a_fiber_is_cancelled_with_it)
{
	run(cancel_a_waiting_body, NULL);
}

static int clean_up_slowly(struct torc_gen *g, void *arg)
{
	struct torc_scope shield;
	struct seen *s = arg;
	int r = torc_gen_yield(g, ARG(1), NULL);

	torc_scope_enter_shield(&shield, TORC_SECONDS(5));
	s->error = torc_sleep(1000);
	s->cleaned++;
	torc_scope_leave(&shield);
	return r;
}

static int destroy_in_a_cancelled_scope(void *arg)
{
	struct seen s = { .answer = 0, .error = 1 };
	struct torc_gen *g = make(clean_up_slowly, &s);
	struct torc_scope scope;

	(void)arg;
	expect_value(g, 1);
	torc_scope_enter(&scope, TORC_NEVER);
	torc_scope_cancel(&scope);
	torc_gen_destroy(g);
	check_eq(s.error, 0);
	check_eq(s.cleaned, 1);
	check_eq(torc_scope_leave(&scope), -ECANCELED);
	return 0;
}

Test(gen_stack, a_clean_up_may_suspend_in_a_shield)
{
	run(destroy_in_a_cancelled_scope, NULL);
}

static int with_deadline(struct torc_gen *g, void *arg)
{
	struct torc_scope scope;
	int r = 0;

	(void)arg;
	for (intptr_t i = 1; i <= 3 && !r; i++) {
		torc_scope_enter(&scope, TORC_MS(1));
		check_eq(torc_sleep(TORC_NEVER), -ETIMEDOUT);
		check_eq(torc_scope_leave(&scope), -ETIMEDOUT);
		r = torc_gen_yield(g, ARG(i), NULL);
	}
	return r;
}

static int take_one(void *arg)
{
	return torc_gen_next(arg, NULL) == 1 ? 0 : -EIO;
}

static int share_among_fibers(void *arg)
{
	struct torc_gen *g = make(with_deadline, NULL);
	struct torc_group group;

	(void)arg;
	for (int i = 0; i < 3; i++) {
		torc_group_enter(&group);
		check_eq(torc_group_spawn(&group, take_one, g), 0);
		check_eq(torc_group_wait(&group), 0);
	}
	expect_next(g, 0);
	torc_gen_destroy(g);
	return 0;
}

Test(gen_stack, each_value_may_be_taken_by_another_fiber_and_a_scope_left_before_the_yield)
{
	run(share_among_fibers, NULL);
}

static int scope_over_yield(struct torc_gen *g, void *arg)
{
	struct torc_scope scope;

	(void)arg;
	torc_scope_enter(&scope, TORC_NEVER);
	return torc_gen_yield(g, NULL, NULL);
}

static int leave_out_of_order(void *arg)
{
	struct torc_gen *g = make(scope_over_yield, NULL);
	struct torc_scope scope;

	(void)arg;
	torc_scope_enter(&scope, TORC_NEVER);
	expect_value(g, 0);
	torc_scope_leave(&scope);
	return 0;
}

Test(gen_stack, a_scope_left_open_over_a_yield_traps_in_the_fiber)
{
	expect_trap(leave_out_of_order, "a scope is left by another fiber, or not in the reverse");
}

/* --- unwinding --- */

struct trace {
	void *returns[2]; /* where deeper and the body go on */
	void *frames[64];
	int count;
	int report; /* for await_gdb */
};

static __attribute__((noinline)) void trace_deeper(struct torc_gen *g, struct trace *t)
{
	t->returns[0] = __builtin_return_address(0);
	check_eq(torc_gen_yield(g, NULL, NULL), 0);
	t->count = backtrace(t->frames, COUNT(t->frames));
	check_eq(await_gdb(t->report), 0);
}

static __attribute__((noinline)) int trace_body(struct torc_gen *g, void *arg)
{
	struct trace *t = arg;

	t->returns[1] = __builtin_return_address(0);
	trace_deeper(g, t);
	return t->count > 0 ? 0 : -EIO;
}

static int trace_generator(struct trace *t)
{
	struct torc_gen *g;

	check_eq(torc_gen_create(trace_body, t, GEN(.stack_bytes = 1 << 20), &g), 0);
	expect_value(g, 0);
	expect_next(g, 0);
	torc_gen_destroy(g);
	return 0;
}

Test(gen_stack, a_backtrace_in_a_body_ends_where_the_generator_began)
{
	struct trace t = { .report = -1 };
	const char *entry = (const char *)(uintptr_t)torc__gen_entry;
	int i = 0;

	trace_generator(&t);
	while (i < t.count && t.frames[i] != t.returns[0])
		i++;
	cr_assert_eq(t.count, i + 2, "%d of %d", i, t.count);
	cr_assert_leq(i, 2);
	cr_assert_eq(t.frames[i + 1], t.returns[1]);
	cr_assert((char *)t.returns[1] > entry && (char *)t.returns[1] < entry + 128);
}

static int trace_and_report(int report)
{
	struct trace t = { .report = report };

	return trace_generator(&t);
}

Test(gen_stack, gdb_shows_the_right_frames)
{
	static const char *const frames[] = { "trace_deeper", "trace_body", "gen_entry" };

	expect_gdb_frames(trace_and_report, frames, COUNT(frames));
}

static int be_aligned(struct torc_gen *g, void *arg)
{
	volatile long double wide __attribute__((aligned(16))) = 1;

	(void)arg;
	check_eq((uintptr_t)__builtin_frame_address(0) % 16, 0);
	check_eq((uintptr_t)&wide % 16, 0);
	return torc_gen_yield(g, NULL, NULL);
}

Test(gen_stack, stacks_are_aligned_to_16_bytes_at_entry)
{
	struct torc_gen *gens[70]; /* every slot of a slab, and so every colour */

	for (size_t i = 0; i < COUNT(gens); i++) {
		gens[i] = make(be_aligned, NULL);
		expect_value(gens[i], 0);
	}
	for (size_t i = 0; i < COUNT(gens); i++)
		torc_gen_destroy(gens[i]);
}

Test(gen_stack, its_name_can_be_asked_for)
{
	struct torc_gen *g;

	check_eq(torc_gen_create(count_to, NULL, GEN(.name = "counter"), &g), 0);
	cr_assert_str_eq(torc_gen_name(g), "counter");
	torc_gen_destroy(g);
	g = make(count_to, NULL);
	cr_assert(!torc_gen_name(g));
	torc_gen_destroy(g);
}
