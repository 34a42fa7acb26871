/*
 * tests/io/forge.h - results that the kernel gives seldom, or only where no test can have it: a quota, a broken disk.
 *
 * It sits at the seam (core/internal/kernel.h) of the loop that it was begun on: the nth of some operations is not made, or is, and
 * ends with another result.
 */
#ifndef TESTS_IO_FORGE_H
#define TESTS_IO_FORGE_H

#include "core/internal/fiber.h"
#include "tests/support/check.h"

#define FORGE_BIT(operation) ((uint64_t)1 << IORING_OP_##operation)

struct forging {
	uint64_t opcodes; /* FORGE_BIT of each that counts */
	unsigned nth;     /* of those, from 0 */
	int res;
	bool made;               /* it is made all the same; else nothing happens */
	void (*then)(void *arg); /* once it has completed, before anybody knows; may be NULL */
	void *arg;
	bool done;
	/* private */
	const struct torc__kernel *kernel;
	struct torc__kernel seam;
	unsigned submitted; /* entries of the queue that were looked at */
	uint64_t chosen;    /* its user_data; 0: none */
};

static struct forging *forging_now;

/* An operation that does nothing takes its place. */
static inline void forge_entry(struct forging *f, struct io_uring_sqe *sqe)
{
	uint64_t user_data = sqe->user_data;

	if (!(f->opcodes >> sqe->opcode & 1) || f->nth-- > 0)
		return;
	f->opcodes = 0;
	f->chosen = user_data;
	if (f->made)
		return;
	io_uring_prep_nop(sqe);
	sqe->user_data = user_data;
}

static inline void forge_results(struct forging *f, struct torc__ring *ring)
{
	struct io_uring_cqe *cqe;
	unsigned head;

	io_uring_for_each_cqe(&ring->uring, head, cqe)
	{
		if (!f->chosen || cqe->user_data != f->chosen)
			continue;
		f->chosen = 0;
		f->done = true;
		cqe->res = f->res;
		if (f->then)
			f->then(f->arg);
	}
}

static inline int forge_enter(struct torc__ring *ring, unsigned wait_count, uint64_t timeout_ns)
{
	struct io_uring_sq *sq = &ring->uring.sq;
	struct forging *f = forging_now;
	int r;

	for (; f->submitted != sq->sqe_tail; f->submitted++)
		forge_entry(f, &sq->sqes[f->submitted & *sq->kring_mask]);
	r = f->kernel->enter(ring, wait_count, timeout_ns);
	forge_results(f, ring);
	return r;
}

static inline void forge_begin(struct forging *f)
{
	struct torc__ring *ring = &torc__self()->loop->ring;

	f->kernel = ring->kernel;
	f->seam = *ring->kernel;
	f->seam.enter = forge_enter;
	f->submitted = ring->uring.sq.sqe_tail;
	forging_now = f;
	ring->kernel = &f->seam;
}

/* Returns whether there was such an operation. */
static inline bool forge_end(struct forging *f)
{
	torc__self()->loop->ring.kernel = f->kernel;
	return f->done;
}

#endif
