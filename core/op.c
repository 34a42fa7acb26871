#include <torc/core/op.h>

#include <errno.h>

#include "core/internal/fiber.h"
#include "core/internal/opcode.h"

/*
 * A send without a copy completes twice (io_uring_prep_send_zc(3)): with its result, then with the notification that the
 * memory is free, which has no result. The fiber waits for both.
 */
static void wait_cqe(struct torc_op *op, int res, unsigned cqe_flags)
{
	if (torc__unlikely(cqe_flags & IORING_CQE_F_NOTIF))
		res = op->res;
	op->res = res;
	op->cqe_flags = cqe_flags;
	/* It may complete before its fiber is parked, when a full queue was submitted early. */
	if (op->fiber->wait)
		torc__ready(op->fiber);
}

static inline struct io_uring_sqe *start(struct torc__loop *loop, struct torc_op *op,
					 torc_op_fn *on_cqe, bool background)
{
	struct io_uring_sqe *sqe = torc__loop_sqe(loop);

	op->on_cqe = on_cqe;
	op->state =
		TORC__OP_PENDING; /* from whatever was in its memory: the one change not checked */
	op->background = background;
	op->quiet_link = NULL;
	loop->in_flight += !background;
	io_uring_sqe_set_data(sqe, op);
	return sqe;
}

struct io_uring_sqe *torc_op_start(struct torc_op *op, torc_op_fn *on_cqe)
{
	return start(torc__loop(), op, on_cqe, false);
}

struct io_uring_sqe *torc__op_start_background(struct torc_op *op, torc_op_fn *on_cqe)
{
	return start(torc__loop(), op, on_cqe, true);
}

struct io_uring_sqe *torc_op_start_quiet(struct torc_op *op, torc_op_fn *on_cqe, int res)
{
	struct torc__loop *loop = torc__loop();
	struct io_uring_sqe *sqe = start(loop, op, on_cqe, true);

	op->res = res;
	op->cqe_flags = loop->ring.uring.sq.sqe_tail; /* submitted once the kernel's head is here */
	op->next_quiet = NULL;
	op->quiet_link = loop->quiet_tail;
	*loop->quiet_tail = op;
	loop->quiet_tail = &op->next_quiet;
	return sqe;
}

bool torc_op_pending(const struct torc_op *op)
{
	return op->state != TORC__OP_IDLE;
}

struct io_uring_sqe *torc_op_ignored(void)
{
	struct io_uring_sqe *sqe = torc__loop_sqe(torc__loop());

	sqe->user_data = TORC__IGNORED;
	return sqe;
}

void torc_op_cancel(struct torc_op *op)
{
	struct io_uring_sqe *sqe;

	if (op->state != TORC__OP_PENDING)
		return;
	torc__op_set_state(op, TORC__OP_CANCELLING);
	sqe = torc_op_ignored();
	io_uring_prep_cancel(sqe, op, 0);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

int torc_op_begin(struct torc_op *op, struct io_uring_sqe **ret_sqe)
{
	struct torc__fiber *f = torc__self();
	int r = torc__scope_check(f);

	if (r < 0)
		return r;
	op->fiber = f;
	op->sqe = torc_op_start(op, wait_cqe);
	*ret_sqe = op->sqe;
	return 0;
}

struct op_wait {
	struct torc__wait wait; /* first */
	struct torc_op *op;
	struct io_uring_sqe saved; /* the kernel's copy is overwritten once it is submitted */
};

static void cancel_wait(struct torc__wait *wait)
{
	torc_op_cancel(((struct op_wait *)wait)->op);
}

static void describe_wait(const struct torc__wait *wait, struct torc__message *m)
{
	const struct op_wait *w = (const struct op_wait *)wait;

	torc__message_text(m, " ");
	torc__opcode_describe(&w->saved, m);
	if (w->op->state == TORC__OP_CANCELLING)
		torc__message_text(m, ", asked to stop");
}

static const struct torc__wait_kind op_kind = { "operation", cancel_wait, describe_wait };

/*
 * The kernel's own codes for a call that a signal has interrupted and that is to be made again (ERESTARTSYS and its relatives,
 * include/linux/errno.h there) are not meant to be seen. Where a ring's operation waits in a thread of the kernel, such as
 * the open of a named pipe, a cancellation lets them out.
 */
#define RESTART_FIRST 512
#define RESTART_LAST  516

static bool is_interrupted(int res)
{
	return res == -EINTR || (res <= -RESTART_FIRST && res >= -RESTART_LAST);
}

static void submit_again(struct torc_op *op, const struct io_uring_sqe *saved)
{
	struct io_uring_sqe *sqe = torc_op_start(op, wait_cqe);

	*sqe = *saved;
}

int torc_op_wait(struct torc_op *op)
{
	struct torc__fiber *f = op->fiber;
	struct op_wait wait;

	wait.op = op;
	wait.saved = *op->sqe;
	for (;;) {
		while (op->state != TORC__OP_IDLE)
			torc__park(f, &wait.wait, &op_kind);
		if (torc__likely(op->res >= 0))
			return op->res;
		if (!is_interrupted(op->res) && op->res != -ECANCELED)
			return op->res;
		/* A close that was interrupted has closed (close(2)): again would be another file's. */
		if (op->res != -ECANCELED && wait.saved.opcode == IORING_OP_CLOSE)
			return 0;
		/* A worker of the kernel that was interrupted says EINTR: for the cancel, or for nothing. */
		if (f->scope->status)
			return f->scope->status;
		if (op->res == -ECANCELED)
			return op->res;
		submit_again(op, &wait.saved);
	}
}
