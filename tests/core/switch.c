/*
 * What a switch keeps of a fiber: registers, control words, alignment, a stack that can be unwound. The switch
 * without a loop is tested in switch_alone.c and, for AArch64, in tests/cross.
 */
#include "tests/core/gdb.h"

#include <execinfo.h>
#include <fenv.h>

#include "core/internal/switch.h"

TestSuite(switch, .timeout = 60);

#if defined(__x86_64__)
/*
 * registers_kept(seed, fn, arg): all callee-saved registers get values made of the seed, fn(arg) is called, and
 * how many of them it did not keep is returned.
 */
__asm__(".text\n"
	".type	registers_kept, @function\n"
	"registers_kept:\n\t"
	"push	%rbx\n\tpush	%rbp\n\tpush	%r12\n\tpush	%r13\n\tpush	%r14\n\tpush	%r15\n\t"
	"push	%rdi\n\t" /* and the stack is aligned */
	"lea	1(%rdi), %rbx\n\tlea	2(%rdi), %rbp\n\tlea	3(%rdi), %r12\n\t"
	"lea	4(%rdi), %r13\n\tlea	5(%rdi), %r14\n\tlea	6(%rdi), %r15\n\t"
	"mov	%rsi, %rax\n\tmov	%rdx, %rdi\n\tcall	*%rax\n\t"
	"pop	%rdi\n\txor	%eax, %eax\n\t"
	"sub	%rdi, %rbx\n\tcmp	$1, %rbx\n\tsetne %al\n\tmov	%eax, %ecx\n\t"
	"sub	%rdi, %rbp\n\tcmp	$2, %rbp\n\tsetne %al\n\tadd	%eax, %ecx\n\t"
	"sub	%rdi, %r12\n\tcmp	$3, %r12\n\tsetne %al\n\tadd	%eax, %ecx\n\t"
	"sub	%rdi, %r13\n\tcmp	$4, %r13\n\tsetne %al\n\tadd	%eax, %ecx\n\t"
	"sub	%rdi, %r14\n\tcmp	$5, %r14\n\tsetne %al\n\tadd	%eax, %ecx\n\t"
	"sub	%rdi, %r15\n\tcmp	$6, %r15\n\tsetne %al\n\tadd	%eax, %ecx\n\t"
	"mov	%ecx, %eax\n\t"
	"pop	%r15\n\tpop	%r14\n\tpop	%r13\n\tpop	%r12\n\tpop	%rbp\n\tpop	%rbx\n\t"
	"ret\n"
	".size	registers_kept, .-registers_kept\n");
int registers_kept(uint64_t seed, torc_fn *fn, void *arg);

static int suspend_somehow(void *arg)
{
	switch (VALUE(arg) % 3) {
	case 0: return torc_yield();
	case 1: return torc_sleep(1000);
	default: return nop();
	}
}

static int keep_registers(void *arg)
{
	for (int i = 0; i < 100; i++)
		check_eq(registers_kept((uint64_t)VALUE(arg) << 32 | (uint64_t)i, suspend_somehow,
					ARG(VALUE(arg) + i)),
			 0);
	return 0;
}

static int registers(void *arg)
{
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	for (int i = 1; i <= 8; i++)
		check_eq(torc_group_spawn(&g, keep_registers, ARG(i)), 0);
	check_eq(torc_group_wait(&g), 0);
	return 0;
}

Test(switch, callee_saved_registers_survive_every_kind_of_suspension)
{
	run(registers, NULL);
}
#endif

static __attribute__((noinline)) void round_thirds(double *ret_third, long double *ret_long)
{
	volatile double one = 1, three = 3;
	volatile long double long_one = 1, long_three = 3;

	*ret_third = one / three;
	*ret_long = long_one / long_three;
}

struct rounding {
	int mode;
	double third;
	long double long_third;
};

/* Both units count by this mode: the control words and what they do. */
static void check_rounding(const struct rounding *r)
{
	double third;
	long double long_third;

	check_eq(fegetround(), r->mode);
	round_thirds(&third, &long_third);
	check(third == r->third && long_third == r->long_third);
}

static int round_own_way(void *arg)
{
	struct rounding *r = arg;

	torc_fiber_keep_fpenv();
	check_eq(fegetround(), FE_TONEAREST); /* the thread's, to start with */
	fesetround(r->mode);
	round_thirds(&r->third, &r->long_third);
	for (int i = 0; i < 30; i++) {
		check_eq(suspend_somehow(ARG(i)), 0);
		check_rounding(r);
	}
	return 0; /* in its own mode, which must end with it */
}

static int round_as_the_loop(void *arg)
{
	struct rounding *r = arg;

	for (int i = 0; i < 40; i++) {
		check_rounding(r);
		check_eq(suspend_somehow(ARG(i)), 0);
	}
	return 0;
}

static int roundings(void *arg)
{
	struct rounding nearest = { .mode = FE_TONEAREST };
	struct rounding up = { .mode = FE_UPWARD }, down = { .mode = FE_DOWNWARD },
			zero = { .mode = FE_TOWARDZERO };
	struct torc_group g;

	(void)arg;
	round_thirds(&nearest.third, &nearest.long_third);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, round_as_the_loop, &nearest), 0);
	check_eq(torc_group_spawn(&g, round_own_way, &up), 0);
	check_eq(torc_group_spawn(&g, round_as_the_loop, &nearest), 0);
	check_eq(torc_group_spawn(&g, round_own_way, &down), 0);
	check_eq(torc_group_spawn(&g, round_own_way, &zero), 0);
	check_eq(torc_group_wait(&g), 0);
	check(up.third > down.third && down.third == zero.third);
	check(up.long_third > down.long_third);
	check_rounding(&nearest);
	/* records that were used before start without */
	torc_group_enter(&g);
	for (int i = 0; i < 5; i++)
		check_eq(torc_group_spawn(&g, round_as_the_loop, &nearest), 0);
	check_eq(torc_group_wait(&g), 0);
	return 0;
}

Test(switch, one_that_keeps_its_control_words_disturbs_no_other)
{
	run(roundings, NULL);
	cr_assert_eq(fegetround(), FE_TONEAREST);
}

static int end_rounding(void *arg)
{
	torc_fiber_keep_fpenv();
	fesetround((int)VALUE(arg));
	return 0;
}

Test(switch, control_words_end_with_the_first_fiber_too)
{
	run(end_rounding, ARG(FE_UPWARD));
	cr_assert_eq(fegetround(), FE_TONEAREST);
}

static int be_aligned(void *arg)
{
	volatile char odd = 1;
	volatile long double wide __attribute__((aligned(16))) = 1;

	(void)arg;
	check_eq((uintptr_t)__builtin_frame_address(0) % 16, 0);
	check_eq((uintptr_t)&wide % 16, 0);
	check_eq(torc_yield(), 0);
	return odd - 1;
}

static int alignments(void *arg)
{
	static const size_t sizes[] = { 1, 16384, 16385, 65536, 1 << 20 };
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	for (size_t i = 0; i < COUNT(sizes); i++)
		for (int n = 0; n < 70; n++) /* every slot of a slab, and so every colour */
			check_eq(torc_group_spawn_with(&g, HOW(.stack_bytes = sizes[i]), be_aligned,
						       NULL),
				 0);
	check_eq(torc_group_wait(&g), 0);
	return 0;
}

Test(switch, stacks_are_aligned_to_16_bytes_at_entry)
{
	run(alignments, NULL);
}

/* --- unwinding --- */

struct trace {
	void *returns[3]; /* where deepest, deeper and deep go on */
	void *frames[64];
	int count;
	int report; /* for await_gdb */
};

static __attribute__((noinline)) void trace_deepest(struct trace *t)
{
	t->returns[0] = __builtin_return_address(0);
	check_eq(torc_yield(), 0);
	check_eq(torc_sleep(1000), 0);
	t->count = backtrace(t->frames, COUNT(t->frames));
	check_eq(await_gdb(t->report), 0);
}

static __attribute__((noinline)) int trace_deeper(struct trace *t)
{
	t->returns[1] = __builtin_return_address(0);
	trace_deepest(t);
	return t->count;
}

static __attribute__((noinline)) int trace_deep(void *arg)
{
	struct trace *t = arg;

	t->returns[2] = __builtin_return_address(0);
	return trace_deeper(t) > 0 ? 0 : -EIO;
}

static int spawn_trace(void *arg)
{
	struct torc_group g;

	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g, HOW(.stack_bytes = 1 << 20), trace_deep, arg), 0);
	check_eq(torc_group_spawn(&g, forever, NULL), 0);
	check_eq(torc_sleep(TORC_MS(5)), 0);
	torc_group_cancel(&g);
	return torc_group_wait(&g);
}

Test(switch, a_backtrace_has_the_right_frames_and_ends_where_the_fiber_began)
{
	struct trace t = { .report = -1 };
	const char *entry = (const char *)(uintptr_t)torc__switch_entry, *last;
	int i = 0;

	run(spawn_trace, &t);
	while (i < t.count && t.frames[i] != t.returns[0])
		i++;
	cr_assert_lt(i + 3, t.count, "the frames are all there");
	cr_assert_leq(i, 2);
	cr_assert_eq(t.frames[i + 1], t.returns[1]);
	cr_assert_eq(t.frames[i + 2], t.returns[2]);
	last = t.frames[t.count - 1];
	cr_assert(last > entry && last < entry + 64, "the last frame is torc__switch_entry");
	cr_assert_eq(t.count, i + 4, "nothing lies beyond");
}

static int trace_and_report(int report)
{
	struct trace t = { .report = report };

	return torc_run(NULL, spawn_trace, &t);
}

Test(switch, gdb_shows_the_right_frames)
{
	static const char *const frames[] = { "trace_deepest", "trace_deeper", "trace_deep",
					      "torc__fiber_main", "switch_entry" };

	expect_gdb_frames(trace_and_report, frames, COUNT(frames));
}
