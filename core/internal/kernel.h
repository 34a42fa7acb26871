/*
 * core/internal/kernel.h - the seam between a loop and the kernel.
 *
 * A loop prepares entries in the submission queue, enters the kernel once per turn, and reaps the
 * completion queue. Both queues are memory that liburing's structures describe; only what is below
 * leaves the process. The real implementation is kernel_uring.c. The other one is the simulator in
 * core/sim/, which fills the same queues by itself: nothing above this line changes.
 */
#ifndef TORC_CORE_INTERNAL_KERNEL_H
#define TORC_CORE_INTERNAL_KERNEL_H

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/internal/compat.h"

struct torc__ring;

struct torc__kernel {
	/* Create the queues; on the thread that will use them. 0 or a negative errno. */
	int (*open)(struct torc__ring *ring, unsigned entries);
	void (*close)(struct torc__ring *ring);
	/*
	 * Submit what is prepared, run what is due, and wait until wait_count completions are there or
	 * timeout_ns have passed (TORC_NEVER: no limit; the time is ignored when wait_count is 0). A wait for
	 * more than one is content with one after some 50 us, or, where the kernel cannot do that, at once.
	 * Returns 0, or a negative errno that says the submission has to be tried again.
	 */
	int (*enter)(struct torc__ring *ring, unsigned wait_count, uint64_t timeout_ns);
	/* The monotonic clock. */
	uint64_t (*now)(struct torc__ring *ring);
	/* A ring of provided buffers, as io_uring_register_buf_ring(3). */
	int (*provide)(struct torc__ring *ring, struct io_uring_buf_reg *reg);
	/* The kernel is to let go of one. Nothing that receives into it may be under way. */
	void (*withdraw)(struct torc__ring *ring, unsigned group);
	/* A table of so many empty slots for memory of read_fixed and write_fixed; then what is in one. NULL: nothing. */
	int (*register_buffers)(struct torc__ring *ring, unsigned count);
	int (*update_buffer)(struct torc__ring *ring, unsigned slot, void *memory, size_t bytes);
	/* Does it know this operation? For those that are newer than Linux 6.1. */
	bool (*has)(struct torc__ring *ring, unsigned opcode);
};

struct torc__ring {
	const struct torc__kernel *kernel;
	struct io_uring uring;
	unsigned enter_flags; /* with each enter */
	uint32_t disabled;    /* torc__features: what TORC_DISABLE names */
	uint64_t enters;
	int enter_fd;
};

/* What TORC_DISABLE can name, as bits. */
enum torc__feature {
	TORC__GUARD_INSTALL = 1 << 0,
	TORC__MSG_RING = 1 << 1,
	TORC__SINGLE_ISSUER = 1 << 2,
	TORC__DEFER_TASKRUN = 1 << 3,
	TORC__REGISTERED_RING = 1 << 4,
	TORC__RECV_MULTISHOT = 1 << 5,
	TORC__MIN_WAIT = 1 << 6,
	TORC__CQE_SKIP = 1 << 7,
	TORC__MEMBARRIER = 1 << 8,
	TORC__RING_FUTEX = 1 << 9,
	TORC__RING_FTRUNCATE = 1 << 10,
	TORC__SPLICE = 1 << 11,
	TORC__UDP_SEGMENT = 1 << 12,
	TORC__FIXED_BUFFERS = 1 << 13,
	TORC__OPENAT2 = 1 << 14,
	TORC__SENDFILE = 1 << 15, /* sendfile(2) of what is cached */
};

/* Parse TORC_DISABLE. Returns 0 or -EINVAL, with the unknown name in *ret_unknown. */
int torc__features_parse(const char *text, uint32_t *ret_disabled, const char **ret_unknown);

extern const struct torc__kernel torc__kernel_uring;

/* One line that says why a ring cannot be had, and what to do. */
void torc__kernel_explain(int error);

/* An operation that TORC_DISABLE can name, or not (0), and that the kernel may lack. */
static inline bool torc__ring_has(struct torc__ring *ring, unsigned opcode, uint32_t feature)
{
	return !(ring->disabled & feature) && ring->kernel->has(ring, opcode);
}

/* Is there something to submit? */
static inline bool torc__ring_prepared(const struct torc__ring *ring)
{
	return ring->uring.sq.sqe_tail != io_uring_smp_load_acquire(ring->uring.sq.khead);
}

/* Does the kernel have completions that only an enter brings, or are some there already? */
static inline bool torc__ring_flagged(const struct torc__ring *ring)
{
	return IO_URING_READ_ONCE(*ring->uring.sq.kflags) &
	       (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

static inline bool torc__ring_completed(const struct torc__ring *ring)
{
	return io_uring_smp_load_acquire(ring->uring.cq.ktail) != *ring->uring.cq.khead;
}

#endif
