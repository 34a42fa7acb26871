/*
 * micro_op.c - an operation that does nothing, through the ring and back.
 */
#include "bench/micro.h"

#include <torc/core/group.h>
#include <torc/core/op.h>

struct ops {
	unsigned fibers, each;
	int error;
};

static int nop(void)
{
	struct torc_op op;
	struct io_uring_sqe *sqe;
	int r = torc_op_begin(&op, &sqe);

	if (r < 0)
		return r;
	io_uring_prep_nop(sqe);
	return torc_op_wait(&op);
}

static int nops(void *arg)
{
	const struct ops *o = arg;
	int r = 0;

	for (unsigned i = 0; i < o->each && !r; i++)
		r = nop();
	return r;
}

static double measure(void *arg)
{
	struct ops *o = arg;
	struct torc_group g;
	double start = micro_now_ns();

	torc_group_enter(&g);
	for (unsigned i = 0; i < o->fibers; i++)
		o->error |= torc_group_spawn(&g, nops, o);
	o->error |= torc_group_wait(&g);
	return (micro_now_ns() - start) / ((double)o->fibers * o->each);
}

static int op_fiber(void *arg)
{
	struct ops one = { .fibers = 1, .each = 100000 }, many = { .fibers = 256, .each = 2000 };

	(void)arg;
	micro_report("a NOP, 1 fiber", micro_median(measure, &one), "ns", MICRO_NO_TARGET);
	micro_report("a NOP, 256 fibers", micro_median(measure, &many), "ns", MICRO_NO_TARGET);
	return one.error | many.error;
}

static int run(void)
{
	return micro_in_fiber(op_fiber);
}

const struct micro micro_op = { "op", "an io_uring NOP, submitted and waited for", run };
