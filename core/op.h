/*
 * core/op.h - any io_uring operation as a blocking call of a fiber.
 *
 * The calls in io/ are a few lines each on top of this, and so can be yours, for whatever io_uring
 * offers:
 *
 *	int my_fsync(int fd)
 *	{
 *		struct torc_op op;
 *		struct io_uring_sqe *sqe;
 *		int r = torc_op_begin(&op, &sqe);
 *
 *		if (r < 0)
 *			return r;
 *		io_uring_prep_fsync(sqe, fd, 0);
 *		return torc_op_wait(&op);
 *	}
 *
 * Nothing may suspend between torc_op_begin and torc_op_wait. Do not set user_data, IO_LINK or
 * CQE_SKIP_SUCCESS on the entry.
 *
 * torc_op_wait returns only when the kernel no longer touches what the operation names, cancelled or
 * not: buffers on the stack are fine.
 */
#ifndef TORC_CORE_OP_H
#define TORC_CORE_OP_H

#include <liburing.h>

#include <torc/core/api.h>

TORC_BEGIN_DECLS

struct torc__fiber;
struct torc__loop;
struct torc_op;

/*
 * Runs on the loop, outside of any fiber, for each completion; must not suspend. It starts, cancels and ignores no
 * operation either (that traps: the queue that it would need may be full): it wakes a fiber to do so.
 */
typedef void torc_op_fn(struct torc_op *op, int res, unsigned cqe_flags);

/* Something to do once at the end of a turn. The fields are private. */
struct torc__turn_work {
	struct torc__turn_work *next;
	void (*run)(struct torc__turn_work *work);
	bool queued;
};

/* Caller's memory until its last completion. The fields are private. */
struct torc_op {
	torc_op_fn *on_cqe;
	struct torc__fiber *fiber; /* who waits in torc_op_wait */
	struct io_uring_sqe *sqe;
	struct torc_op *next_quiet, **quiet_link; /* in the loop's list: torc_op_start_quiet */
	int32_t res;
	uint32_t cqe_flags;
	uint8_t state;   /* enum torc__op_state */
	bool background; /* nobody waits for its end: not counted in the loop's in_flight */
};

/*
 * torc_op_begin - take a submission entry for one operation that the calling fiber will wait for.
 *
 *   @op       the waiting operation
 *   @ret_sqe  to be filled in with one of liburing's io_uring_prep_ functions
 *
 * Returns     0
 *             -ECANCELED, -ETIMEDOUT   the scope: nothing was prepared
 * Suspends    never
 * Thread      a fiber's
 */
TORC_API TORC_MUST_CHECK int torc_op_begin(struct torc_op *op, struct io_uring_sqe **ret_sqe);

/*
 * torc_op_wait - wait for the operation of torc_op_begin.
 *
 * Returns     the operation's result: 0 or more, or a negative errno
 *             -ECANCELED, -ETIMEDOUT   the scope; the operation was stopped. Short transfers that
 *                                      happened first are returned as such
 * Suspends    always
 * Thread      the fiber of torc_op_begin
 */
TORC_API TORC_MUST_CHECK int torc_op_wait(struct torc_op *op);

/*
 * torc_op_start - take a submission entry for an operation that no fiber waits for: each of its
 * completions runs on_cqe. For multishot operations and sends.
 *
 * Prepare the entry before anything else is called. The operation is over with the completion that
 * lacks IORING_CQE_F_MORE. Never fails: a full queue is submitted first.
 *
 * Suspends    never
 * Thread      the loop's
 */
TORC_API struct io_uring_sqe *torc_op_start(struct torc_op *op, torc_op_fn *on_cqe);

/*
 * torc_op_start_quiet - the same for an operation that the kernel completes while it is submitted, if at
 * all, and that is expected to succeed with `res`: such as a send with MSG_DONTWAIT and MSG_WAITALL.
 *
 * Set IOSQE_CQE_SKIP_SUCCESS on the entry: only a failure posts a completion. Success is told, by the same
 * on_cqe with `res`, when the submission has passed without one. That alone does not wake a loop that
 * sleeps: nobody may be waiting for it.
 */
TORC_API struct io_uring_sqe *torc_op_start_quiet(struct torc_op *op, torc_op_fn *on_cqe, int res);

/*
 * torc_op_cancel - ask the kernel to stop a started operation. Its last completion still comes.
 *
 * Thread      the loop's
 * Source      io_uring_prep_cancel(3)
 */
TORC_API void torc_op_cancel(struct torc_op *op);

/* torc_op_pending - has the last completion not come yet? */
TORC_API bool torc_op_pending(const struct torc_op *op);

/*
 * torc_op_ignored - an entry whose result nobody wants, such as the close of a socket.
 */
TORC_API struct io_uring_sqe *torc_op_ignored(void);

TORC_END_DECLS

#endif
