/*
 * tests/sim/sim.h - what the scenarios for the simulator (core/sim.h) share: dice, pauses, small operations, and what
 * calls may return when anything may go wrong.
 *
 * Fibers of all loops share a thread there, but no scenario makes use of that: what several loops count is atomic.
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include <torc/core/group.h>
#include <torc/core/interval.h>
#include <torc/core/op.h>
#include <torc/core/run.h>
#include <torc/core/sim.h>
#include <torc/core/timeout.h>

#include "tests/support/check.h"

#define container_of(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

/* --- dice --- */

static inline unsigned dice(unsigned sides)
{
	return (unsigned)torc_sim_random(sides);
}

static inline bool one_in(unsigned n)
{
	return dice(n) == 0;
}

/* A time to wait, or to stop after: mostly about as long as a few operations take. */
static inline uint64_t some_time(void)
{
	switch (dice(8)) {
	case 0: return 0;
	case 1: return dice(1000);
	case 2: return dice(3000000);
	default: return dice(100000);
	}
}

/* For torc_spawn_options. */
static inline int some_loop(void)
{
	switch (dice(4)) {
	case 0: return 0;
	case 1: return TORC_ON_LEAST_LOADED;
	default: return TORC_ON_LOOP((int)dice((unsigned)torc_loop_count()));
	}
}

/* For torc_spawn_options. Some get their stack from where there is none yet: memory has to be had for it. */
static inline size_t some_stack(void)
{
	return one_in(40) ? 131072 : 0;
}

/* --- what went wrong --- */

#define CHAOS(kind) (1u << TORC_SIM_##kind)

/* Has nothing of these kinds happened so far? Then more can be promised. */
static inline bool no_chaos(unsigned kinds)
{
	struct torc_sim_report report;

	torc_sim_report(NULL, &report);
	for (unsigned i = 0; i < TORC_SIM_KINDS; i++)
		if (kinds >> i & 1 && report.chaos[i])
			return false;
	return true;
}

/* --- what calls return --- */

static inline bool is_stop(int r)
{
	return r == -ECANCELED || r == -ETIMEDOUT;
}

/* Of a call that fails only when it is asked to stop, then with its scope's status. Returns r. */
static inline int stop_or_done(int r)
{
	if (r < 0)
		check_eq(torc_scope_status(), r);
	return r;
}

/* Of an operation: anything but an interruption, and a stop only when it is one. Returns r. */
static inline int any_of_op(int r)
{
	check(r != -EINTR);
	return is_stop(r) ? stop_or_done(r) : r;
}

/* Of what needs memory and may be asked to stop. Returns r. */
static inline int any_of_spawn(int r)
{
	check(r >= 0 || r == -ENOMEM || is_stop(r));
	return r;
}

/* --- small operations --- */

static inline int do_nop(void)
{
	struct torc_op op;
	struct io_uring_sqe *sqe;
	int r = torc_op_begin(&op, &sqe);

	if (r < 0)
		return stop_or_done(r);
	io_uring_prep_nop(sqe);
	return any_of_op(torc_op_wait(&op));
}

static inline int do_read(int fd, void *buf, unsigned len)
{
	struct torc_op op;
	struct io_uring_sqe *sqe;
	int r = torc_op_begin(&op, &sqe);

	if (r < 0)
		return stop_or_done(r);
	io_uring_prep_read(sqe, fd, buf, len, 0);
	return any_of_op(torc_op_wait(&op));
}

static inline int do_write(int fd, const void *buf, unsigned len)
{
	struct torc_op op;
	struct io_uring_sqe *sqe;
	int r = torc_op_begin(&op, &sqe);

	if (r < 0)
		return stop_or_done(r);
	io_uring_prep_write(sqe, fd, buf, len, 0);
	return any_of_op(torc_op_wait(&op));
}

static inline int do_sleep(uint64_t ns)
{
	uint64_t end = torc_now_ns() + ns;
	int r = stop_or_done(torc_sleep(ns));

	check(r <= 0);
	if (!r)
		check_ge(torc_now_ns(), end);
	if (no_chaos(CHAOS(CLOCK)))
		check_le(torc_now_ns(), end + TORC_MS(1)); /* nobody computes for so long */
	return r;
}

static inline int do_tick(void)
{
	struct torc_interval interval;
	int r;

	torc_interval_init(&interval, 1 + dice(50000));
	r = stop_or_done(torc_interval_wait(&interval));
	check(r != 0);
	return r;
}

/* Something that suspends, or not. Returns 0, or the scope's status. */
static inline int do_something(void)
{
	int r = 0;

	switch (dice(6)) {
	case 0: r = stop_or_done(torc_yield()); break;
	case 1:
	case 2: r = do_sleep(dice(100000)); break;
	case 3: r = do_nop(); break;
	case 4: r = do_tick(); break;
	default: break;
	}
	return is_stop(r) ? r : 0;
}

/* --- groups --- */

/*
 * Start a fiber on some loop. Others may wait for what it were to do, so when there is no memory for it the group is
 * cancelled; on another loop, that is what the group does by itself.
 */
static inline void start(struct torc_group *group, torc_fn *fn, void *arg)
{
	struct torc_spawn_options o = { .loop = some_loop(), .stack_bytes = some_stack() };

	if (any_of_spawn(torc_group_spawn_with(group, &o, fn, arg)) < 0)
		torc_group_cancel_with(group, "a fiber could not be started");
}

/* Leave a group of fibers that never fail. Returns true when all were started, and none was cancelled. */
static inline bool finish(struct torc_group *group)
{
	return any_of_spawn(torc_group_wait(group)) == 0 && torc_scope_cause(&group->scope) == 0;
}

#endif
