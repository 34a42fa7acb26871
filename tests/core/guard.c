/*
 * Guards: they belong to the loop that comes first, until another one comes.
 */
#include "tests/core/calls.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "core/internal/guard.h"

TestSuite(guard, .timeout = 60);

static int run_loops(int loops, torc_fn *fn, void *arg)
{
	return run_with(OPTIONS(.loops = loops), fn, arg);
}

/* --- whose they are --- */

static int use_sem(void *arg)
{
	torc_sem_release(arg, 1);
	return torc_sem_acquire(arg, 1);
}

/* From where, and whose it is then. */
static const struct {
	int loop;
	uint32_t owner;
} uses[] = {
	{ 2, TORC__GUARD_LOOPS + 2 }, { 2, TORC__GUARD_LOOPS + 2 }, { 0, TORC__GUARD_SHARED },
	{ 2, TORC__GUARD_SHARED },    { 1, TORC__GUARD_SHARED },
};

static int use_in_turn(void *arg)
{
	struct torc_sem s;

	torc_sem_init(&s, 0);
	check_eq(s.guard.owner, TORC__GUARD_FRESH);
	for (size_t i = 0; i < COUNT(uses); i++) {
		check_eq(run_on(uses[i].loop, use_sem, &s), 0);
		check_eq(s.guard.owner, arg ? TORC__GUARD_SHARED : uses[i].owner);
		check_eq(s.guard.lock, 0);
	}
	torc_sem_done(&s);
	return 0;
}

Test(guard, belongs_to_the_first_loop_until_another_one_comes)
{
	check_eq(run_loops(3, use_in_turn, NULL), 0);
	setenv("TORC_DISABLE", "membarrier", 1);
	check_eq(run_loops(3, use_in_turn, ARG(1)), 0);
}

static int refuse_membarrier(void *arg)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_membarrier, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)VALUE(arg)),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { .len = COUNT(code), .filter = code };

	check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	check(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
	return torc_run(OPTIONS(.loops = 3), use_in_turn, ARG(1)) != 0;
}

Test(guard, is_shared_where_the_kernel_refuses_membarrier)
{
	static const int errors[] = { EPERM, ENOSYS };

	for (size_t i = 0; i < COUNT(errors); i++) {
		struct died d = in_child(refuse_membarrier, ARG(errors[i]));

		cr_assert_eq(d.signal, 0, "%s", d.text);
		cr_assert_eq(d.status, 0, "%s", d.text);
	}
}

/* --- static objects, run after run --- */

struct all {
	struct torc_mutex mutex;
	struct torc_cond cond;
	struct torc_rwlock rwlock;
	struct torc_sem sem;
	struct torc_event event;
	struct torc_latch latch;
	struct torc_barrier barrier;
	struct torc_chan chan;
	long count;
};

static struct all all;

static int use_all(void *arg)
{
	struct torc_scope s;
	uint64_t item = 5;
	struct torc_case c = { .chan = &all.chan, .op = TORC_RECV, .item = &item };
	int r;

	(void)arg;
	check_eq(torc_mutex_lock(&all.mutex), 0);
	all.count++;
	torc_scope_enter(&s, TORC_NEVER);
	torc_scope_set_deadline(&s, torc_now_ns() + 1000);
	r = torc_cond_wait(&all.cond, &all.mutex);
	check(r == -ETIMEDOUT || r == 0);
	torc_scope_leave(&s);
	torc_mutex_unlock(&all.mutex);
	torc_cond_broadcast(&all.cond);
	check_eq(torc_rwlock_read(&all.rwlock), 0);
	torc_rwlock_read_unlock(&all.rwlock);
	check_eq(torc_rwlock_write(&all.rwlock), 0);
	torc_rwlock_write_unlock(&all.rwlock);
	torc_sem_release(&all.sem, 1);
	check_eq(torc_sem_acquire(&all.sem, 1), 0);
	torc_latch_add(&all.latch, 1);
	torc_latch_count_down(&all.latch);
	torc_event_set(&all.event);
	check_eq(torc_event_wait(&all.event), 0);
	check_eq(torc_barrier_wait(&all.barrier), 1);
	check_eq(torc_chan_send(&all.chan, &item), 0);
	check_eq(torc_select(&c, 1, TORC_NEVER), 0);
	return 0;
}

static int use_from(void *loop)
{
	check_eq(run_on((int)VALUE(loop), use_all, NULL), 0);
	return 0;
}

static int use_from_all(void *arg)
{
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	for (int i = 0; i < 12; i++)
		check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(i % torc_loop_count())),
					       use_all, NULL),
			 0);
	return torc_group_wait(&g);
}

/* What owned it may be another run's, and may not exist in this one. */
static void try_runs(const int (*runs)[3], size_t count)
{
	long uses_made = 0;

	memset(&all, 0, sizeof(all));
	torc_barrier_init(&all.barrier, 1);
	check_eq(torc_chan_init(&all.chan, sizeof(uint64_t), 20), 0);
	for (size_t i = 0; i < count; i++) {
		int loops = runs[i][0], first = runs[i][1];

		setenv("TORC_DISABLE", runs[i][2] ? "membarrier" : "", 1);
		if (first >= 0)
			check_eq(run_loops(loops, use_from, ARG(first)), 0);
		else
			check_eq(run_loops(loops, use_from_all, NULL), 0);
		uses_made += first >= 0 ? 1 : 12;
		check_eq(all.count, uses_made);
	}
	torc_chan_done(&all.chan);
	torc_barrier_done(&all.barrier);
	torc_mutex_done(&all.mutex);
	torc_rwlock_done(&all.rwlock);
}

Test(guard, static_objects_are_used_by_one_run_after_another)
{
	/* loops, used from one of them or all, without membarrier */
	static const int fewer[][3] = { { 4, 3, 0 }, { 4, 3, 0 }, { 2, 1, 0 }, { 1, 0, 0 } };
	static const int same[][3] = { { 1, 0, 0 }, { 4, 0, 0 }, { 4, -1, 0 }, { 3, -1, 0 } };
	static const int with_and_without[][3] = { { 3, 2, 0 }, { 3, 1, 1 }, { 3, -1, 0 } };
	static const int without_and_with[][3] = { { 1, 0, 1 }, { 1, 0, 0 }, { 2, -1, 0 } };
	static const int back[][3] = { { 4, 3, 0 }, { 1, 0, 1 }, { 4, 3, 0 }, { 4, -1, 1 } };
	static const int gone[][3] = { { 4, 3, 0 }, { 2, -1, 0 }, { 4, -1, 0 } };

	try_runs(fewer, COUNT(fewer));
	try_runs(same, COUNT(same));
	try_runs(with_and_without, COUNT(with_and_without));
	try_runs(without_and_with, COUNT(without_and_with));
	try_runs(back, COUNT(back));
	try_runs(gone, COUNT(gone));
}

/* --- taken from an owner that is busy with it --- */

#define OBJECTS 400

struct crowd {
	struct torc_sem sems[OBJECTS];
	struct torc_chan chans[OBJECTS];
	atomic_int at; /* what the owner uses; others come while it does */
	atomic_bool over;
	atomic_long sent, received;
};

static struct crowd crowd;

/* The owner: with both of the objects in every way, without a turn in between. */
static int be_busy(void *arg)
{
	(void)arg;
	for (int i = 0; i < OBJECTS; i++) {
		struct torc_case cases[2];
		uint64_t in, out = 1;

		atomic_store(&crowd.at, i);
		cases[0] =
			(struct torc_case){ .chan = &crowd.chans[i], .op = TORC_RECV, .item = &in };
		cases[1] = (struct torc_case){ .chan = &crowd.chans[OBJECTS - 1 - i],
					       .op = TORC_SEND,
					       .item = &out };
		for (int n = 0; n < 300; n++) {
			int r;

			torc_sem_release(&crowd.sems[i], 2);
			while (torc_sem_try_acquire(&crowd.sems[i], 2))
				check_eq(torc_yield(), 0);
			r = torc_select(cases, 2, 0);
			atomic_fetch_add(&crowd.received, r == 0);
			atomic_fetch_add(&crowd.sent, r == 1);
		}
		check_eq(torc_yield(), 0);
	}
	atomic_store(&crowd.over, true);
	return 0;
}

static int intrude(void *arg)
{
	uint64_t item = 1, seed = (uint64_t)VALUE(arg);

	while (!atomic_load(&crowd.over)) {
		int i = atomic_load(&crowd.at);

		for (uint32_t n = next_random(&seed) % 2000; n; n--)
			__asm__ volatile("");
		torc_sem_release(&crowd.sems[i], 1);
		check_eq(torc_sem_acquire(&crowd.sems[i], 1), 0);
		if (next_random(&seed) % 2)
			atomic_fetch_add(&crowd.sent,
					 torc_chan_try_send(&crowd.chans[i], &item) == 0);
		else
			atomic_fetch_add(&crowd.received,
					 torc_chan_try_recv(&crowd.chans[i], &item) == 1);
		check_eq(torc_yield(), 0);
	}
	return 0;
}

static int crowd_in(void *arg)
{
	struct torc_group g;
	long left = 0;

	(void)arg;
	memset(&crowd, 0, sizeof(crowd));
	for (int i = 0; i < OBJECTS; i++)
		check_eq(torc_chan_init(&crowd.chans[i], sizeof(uint64_t), 8), 0);
	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(1)), be_busy, NULL), 0);
	for (int i = 0; i < 3; i++)
		check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(i * 2 % 3)), intrude,
					       ARG(i)),
			 0);
	check_eq(torc_group_wait(&g), 0);
	for (int i = 0; i < OBJECTS; i++) {
		check_eq(torc_sem_units(&crowd.sems[i]), 0);
		left += (long)torc_chan_count(&crowd.chans[i]);
		torc_sem_done(&crowd.sems[i]);
		torc_chan_done(&crowd.chans[i]);
	}
	check_eq(crowd.sent, crowd.received + left);
	return 0;
}

Test(guard, is_taken_from_an_owner_that_is_busy)
{
	run_both_guards(OPTIONS(.loops = 3), crowd_in, NULL);
}

/* --- some owned, some shared, in one select --- */

static int use_chan(void *arg)
{
	uint64_t item = 3;

	check_eq(torc_chan_send(arg, &item), 0);
	check_eq(torc_chan_recv(arg, &item), 1);
	return 0;
}

static int select_mixed(void *arg)
{
	struct torc_chan c[4];
	struct torc_case cases[4];
	uint64_t item = 1;

	(void)arg;
	for (int i = 0; i < 4; i++) {
		check_eq(torc_chan_init(&c[i], sizeof(item), 1), 0);
		cases[i] = (struct torc_case){ .chan = &c[i], .op = TORC_RECV, .item = &item };
	}
	use_chan(&c[0]);
	check_eq(run_on(1, use_chan, &c[1]), 0);
	use_chan(&c[2]);
	check_eq(run_on(1, use_chan, &c[2]), 0);
	check_eq(c[0].guard.owner, TORC__GUARD_LOOPS);
	check_eq(c[1].guard.owner, TORC__GUARD_LOOPS + 1);
	check_eq(c[2].guard.owner, TORC__GUARD_SHARED);
	check_eq(c[3].guard.owner, TORC__GUARD_FRESH);
	check_eq(torc_select(cases, 4, torc_now_ns() + 1000), -EAGAIN);
	check_eq(c[0].guard.owner, TORC__GUARD_LOOPS);
	check_eq(c[1].guard.owner, TORC__GUARD_SHARED);
	check_eq(c[3].guard.owner, TORC__GUARD_LOOPS);
	for (int i = 0; i < 4; i++) {
		check_eq(c[i].guard.lock, 0);
		check_eq(torc_chan_send(&c[i], &item), 0);
		check_eq(torc_select(cases, 4, TORC_NEVER), i);
		torc_chan_done(&c[i]);
		cases[i].chan = NULL;
	}
	return 0;
}

Test(guard, of_each_kind_in_one_select)
{
	check_eq(run_loops(2, select_mixed, NULL), 0);
}
