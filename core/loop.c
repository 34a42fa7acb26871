#include "core/internal/loop.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

#include <torc/core/sys.h>

#include "core/internal/deadlock.h"
#include "core/internal/fiber.h"
#include "core/internal/overflow.h"
#include "core/internal/runtime.h"
#include "core/internal/sim.h"
#include "core/internal/system.h"

#define TRIM_NS TORC_SECONDS(1)

/* See fire_timers. */
#define FIRE_MOST 256u

/* See learn_goal. */
#define GATHER_MOST 64u
#define GATHER_REST 256u

/* See stay_awake. */
#define NAP_NS   150000
#define VIGIL_NS 50000

__thread struct torc__loop *torc__thread_loop;

unsigned torc__loops_awake;
void (*torc__on_nap)(void);

__attribute__((noinline)) struct torc__loop *torc__loop(void)
{
	__asm__ volatile(""); /* or the compiler could take two calls for one */
	return torc__thread_loop;
}

__attribute__((noinline)) void torc__loop_set(struct torc__loop *loop)
{
	torc__thread_loop = loop;
}

/* --- waking --- */

void torc__loop_wake_by_fd(struct torc__loop *loop)
{
	uint64_t one = 1;

	(void)torc_sys_write(loop->wake_fd, &one,
			     sizeof(one)); /* cannot fail: its counter is not full */
}

static void wake_failed(struct torc_op *op, int res, unsigned cqe_flags)
{
	(void)cqe_flags;
	torc__op_set_state(op,
			   TORC__OP_PENDING); /* a later message to that loop may be under way */
	if (res < 0)
		torc__loop_wake_by_fd(((struct torc__wake *)(void *)op)->target);
}

static void wake_by_message(struct torc__loop *self, struct torc__loop *to)
{
	struct torc__wake *wake = &self->wakes[to->index];
	struct io_uring_sqe *sqe = torc__op_start_background(&wake->op, wake_failed);

	io_uring_prep_msg_ring(sqe, to->ring.uring.ring_fd, 0, TORC__WOKEN, 0);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

void torc__loop_wake(struct torc__loop *to)
{
	struct torc__loop *self = torc__loop();

	self->stats.wakes_sent++;
	/*
	 * A full queue would be submitted and completions handed out: not here, where the calling fiber may be in
	 * line for something already, but is not parked yet (torc_cond_wait).
	 */
	if (self->reaping || self->ring.disabled & TORC__MSG_RING ||
	    !io_uring_sq_space_left(&self->ring.uring))
		torc__loop_wake_by_fd(to);
	else
		wake_by_message(self, to);
}

/* The loop may take the mail, have nothing else to do and end: it waits for those who are still here. */
static void post_from_thread(struct torc__loop *to, struct torc__mail *mail)
{
	__atomic_fetch_add(&to->posting, 1, __ATOMIC_RELAXED);
	if (torc__mailbox_push(&to->mailbox, mail))
		torc__loop_wake_by_fd(to);
	__atomic_fetch_sub(&to->posting, 1, __ATOMIC_RELEASE);
}

static void await_posting(const struct torc__loop *loop)
{
	while (__atomic_load_n(&loop->posting, __ATOMIC_ACQUIRE))
		sched_yield();
}

void torc__loop_post(struct torc__loop *to, struct torc__mail *mail)
{
	if (torc__unlikely(!torc__loop()))
		post_from_thread(to, mail);
	else if (torc__mailbox_push(&to->mailbox, mail))
		torc__loop_wake(to);
}

static void post_outgoing(struct torc__turn_work *work)
{
	struct torc__loop *self = torc__container_of(work, struct torc__loop, post_work);
	struct torc__mail *mail = self->outgoing, *next;

	self->outgoing = NULL;
	self->outgoing_tail = &self->outgoing;
	for (; mail; mail = next) {
		next = mail->next;
		torc__loop_post(mail->to, mail);
	}
}

void torc__loop_post_later(struct torc__loop *self, struct torc__loop *to, struct torc__mail *mail)
{
	mail->to = to;
	mail->next = NULL;
	*self->outgoing_tail = mail;
	self->outgoing_tail = &mail->next;
	torc__turn_defer(self, &self->post_work);
}

static void on_wake_fd(struct torc_op *op, int res, unsigned cqe_flags)
{
	struct torc__loop *loop = torc__container_of(op, struct torc__loop, wake_op);

	(void)cqe_flags;
	loop->stats.wakes_received += res > 0;
	if (res != -ECANCELED)
		torc__turn_defer(loop, &loop->wake_work);
}

static void watch_wake_fd(struct torc__turn_work *work)
{
	struct torc__loop *loop = torc__container_of(work, struct torc__loop, wake_work);
	struct io_uring_sqe *sqe = torc__op_start_background(&loop->wake_op, on_wake_fd);

	io_uring_prep_read(sqe, loop->wake_fd, &loop->wake_value, sizeof(loop->wake_value), 0);
}

/* --- the ring --- */

static void enter(struct torc__loop *loop, unsigned wait_count, uint64_t timeout_ns)
{
	const struct io_uring_sq *sq = &loop->ring.uring.sq;

	loop->stats.sqes += sq->sqe_tail - *sq->ktail;
	if (IO_URING_READ_ONCE(*sq->kflags) & IORING_SQ_CQ_OVERFLOW)
		loop->stats.overflows++;
	/* An error here is passing (no memory, or completions to be reaped first): the next turn tries again. */
	(void)loop->ring.kernel->enter(&loop->ring, wait_count, timeout_ns);
}

static void unlink_quiet(struct torc__loop *loop, struct torc_op *op)
{
	*op->quiet_link = op->next_quiet;
	if (op->next_quiet)
		op->next_quiet->quiet_link = op->quiet_link;
	else
		loop->quiet_tail = op->quiet_link;
	op->quiet_link = NULL;
}

static void hand_out(struct torc__loop *loop, const struct io_uring_cqe *cqe)
{
	struct torc_op *op;

	if (cqe->user_data <= TORC__WOKEN) {
		loop->stats.wakes_received += cqe->user_data == TORC__WOKEN;
		return;
	}
	op = (struct torc_op *)(uintptr_t)cqe->user_data;
	if (!(cqe->flags & IORING_CQE_F_MORE))
		torc__op_over(loop, op);
	if (op->quiet_link) /* it failed: it must not be taken for a success, nor be in the list twice */
		unlink_quiet(loop, op);
	op->on_cqe(op, cqe->res, cqe->flags);
}

static void reap(struct torc__loop *loop)
{
	struct io_uring_cq *cq = &loop->ring.uring.cq;
	unsigned mask = *cq->kring_mask;
	unsigned head = *cq->khead, first = head, tail;

	loop->reaping = true;
	while (head != (tail = io_uring_smp_load_acquire(cq->ktail)))
		for (; head != tail; head++)
			hand_out(loop, &cq->cqes[head & mask]);
	loop->reaping = false;
	io_uring_smp_store_release(cq->khead, head);
	loop->batch = head - first;
	loop->stats.cqes += loop->batch;
}

/*
 * Operations whose success posts no completion have succeeded when the kernel has taken their entry and all
 * completions have been handed out: a failure would have been among them.
 */
static void settle_quiet(struct torc__loop *loop)
{
	const struct io_uring_sq *sq = &loop->ring.uring.sq;
	unsigned taken = io_uring_smp_load_acquire(sq->khead);

	/* What is left over, by a failure to submit or behind an overflow, keeps the loop from sleeping. */
	loop->unsettled = true;
	if (IO_URING_READ_ONCE(*sq->kflags) & IORING_SQ_CQ_OVERFLOW)
		return;
	loop->reaping = true;
	while (loop->quiet_head && (int)(taken - loop->quiet_head->cqe_flags) >= 0) {
		struct torc_op *op = loop->quiet_head;

		unlink_quiet(loop, op);
		torc__op_over(loop, op);
		op->on_cqe(op, op->res, 0);
	}
	loop->reaping = false;
	loop->unsettled = loop->quiet_head;
}

struct io_uring_sqe *torc__loop_sqe(struct torc__loop *loop)
{
	struct io_uring_sqe *sqe;

	torc__check(!loop->reaping, "an operation was started while completions are handed out");
	while (!(sqe = io_uring_get_sqe(&loop->ring.uring))) {
		enter(loop, 0, 0);
		/* When the completion queue is what is full, nothing is submitted until it is emptied. */
		reap(loop);
	}
	return sqe;
}

/* --- the turn --- */

static void run_turn_work(struct torc__loop *loop)
{
	struct torc__turn_work *work = loop->work_head, *next;

	loop->work_head = NULL;
	loop->work_tail = &loop->work_head;
	for (; work; work = next) {
		next = work->next;
		work->queued = false;
		work->run(work);
	}
}

bool torc__loop_deliver(struct torc__loop *loop)
{
	struct torc__mail *mail = torc__mailbox_take(&loop->mailbox), *next;
	bool any = mail;

	for (; mail; mail = next) {
		next = mail->next;
		loop->stats.mails++;
		mail->deliver(loop, mail);
	}
	return any;
}

/*
 * Not all that are due at once: what is touched here of each fiber is to be still in the cache when it runs.
 * The next turn goes on, and does not sleep.
 */
static void fire_timers(struct torc__loop *loop)
{
	for (unsigned n = 0; n < FIRE_MOST && torc__timers_next(&loop->timers) <= loop->now_ns;
	     n++) {
		struct torc__timer *timer = loop->timers.heap[0].timer;

		torc__timer_clear(&loop->timers, timer);
		torc__fiber_timeout(torc__container_of(timer, struct torc__fiber, timer));
	}
}

/* Free stacks that a second has passed without using go back to the kernel. */
static void trim(struct torc__loop *loop)
{
	if (loop->now_ns >= loop->trim_ns) {
		torc__stacks_trim(&loop->stacks);
		loop->trim_ns = TORC_NEVER;
	}
	if (loop->trim_ns == TORC_NEVER && torc__stacks_surplus(&loop->stacks))
		loop->trim_ns = loop->now_ns + TRIM_NS;
}

/*
 * How many completions to wait for: `goal`, for 50 us at most, then one is enough. A loop that is a little
 * faster than its peers would wake up for every few requests. The goal climbs while it is met, and falls
 * to half of what came when it is not; after that it rests, so that a loop with few peers loses some 50 us
 * in 256 turns.
 */
static void learn_goal(struct torc__loop *loop)
{
	if (loop->batch < loop->goal) {
		loop->goal = loop->batch > 2 ? loop->batch / 2 : 1;
		loop->rest = GATHER_REST;
	} else if (loop->rest) {
		loop->rest--;
	} else if (loop->goal < GATHER_MOST) {
		loop->goal += 1 + loop->goal / 4;
	}
}

static void sleep_in_ring(struct torc__loop *loop)
{
	uint64_t now = loop->ring.kernel->now(&loop->ring);
	uint64_t until = torc__timers_next(&loop->timers);
	bool hopeless;

	torc__load_publish(loop);
	trim(loop);
	if (loop->trim_ns < until)
		until = loop->trim_ns;
	if (until != TORC_NEVER)
		until = until > now ? until - now : 0;
	hopeless = torc__deadlock_enter(loop);
	enter(loop, loop->goal, until);
	if (hopeless)
		torc__deadlock_leave(loop);
	torc__mailbox_awake(&loop->mailbox);
	loop->now_ns = loop->ring.kernel->now(&loop->ring);
	loop->stats.idle_ns += loop->now_ns - now;
}

static bool is_rung(const struct torc__loop *loop)
{
	return loop->bell && torc__bell_rung(loop->bell);
}

static bool has_news(struct torc__loop *loop)
{
	return atomic_load_explicit(&loop->mailbox.head, memory_order_relaxed) ||
	       torc__ring_completed(&loop->ring) || torc__ring_flagged(&loop->ring) ||
	       is_rung(loop);
}

/*
 * A loop that mail or its bell wakes from a short nap would better not have slept: waking takes the sender a system call and
 * the sleeper some 10 us. So after a nap it looks out for 20 us before it sleeps again, until that is in vain
 * once. Loops that are only busy with their own ring, as a server's, never do; nor does any where there are more
 * loops than cores, since the sender may need this one. Returns whether something has come.
 */
static bool stay_awake(struct torc__loop *loop)
{
	uint64_t until = loop->ring.kernel->now(&loop->ring) + VIGIL_NS;

	if (torc__ring_prepared(&loop->ring))
		enter(loop, 0, 0);
	do {
		for (int i = 0; i < 16; i++) {
			if (has_news(loop))
				return true;
			torc__relax();
		}
	} while (loop->ring.kernel->now(&loop->ring) < until);
	loop->vigilant = false;
	return false;
}

static void call_on_nap(void)
{
	void (*on_nap)(void) = __atomic_load_n(&torc__on_nap, __ATOMIC_ACQUIRE);

	if (torc__unlikely(on_nap != NULL))
		on_nap();
}

/* By mail, or by its bell from another core. */
static bool woken(const struct torc__loop *loop)
{
	return atomic_load_explicit(&loop->mailbox.head, memory_order_relaxed) ||
	       (is_rung(loop) && torc__bell_from_elsewhere(loop->bell));
}

static void nap(struct torc__loop *loop)
{
	uint64_t idle_ns = loop->stats.idle_ns;

	__atomic_fetch_sub(&torc__loops_awake, 1, __ATOMIC_SEQ_CST);
	call_on_nap();
	sleep_in_ring(loop);
	__atomic_fetch_add(&torc__loops_awake, 1, __ATOMIC_SEQ_CST);
	if (loop->bell)
		torc__loop_bell_awake(loop);
	if (loop->may_watch && woken(loop))
		loop->vigilant = loop->stats.idle_ns - idle_ns < NAP_NS;
}

static void poll_ring(struct torc__loop *loop)
{
	bool busy = loop->run_head || loop->work_head || loop->stopping || loop->unsettled ||
		    torc__ring_completed(&loop->ring) ||
		    torc__timers_next(&loop->timers) <= loop->now_ns || is_rung(loop) ||
		    (loop->vigilant && stay_awake(loop));
	bool slept = !busy && (!loop->bell || torc__loop_bell_armed(loop)) &&
		     torc__mailbox_sleep(&loop->mailbox);

	if (slept) {
		nap(loop);
	} else if (torc__ring_prepared(&loop->ring) || torc__ring_flagged(&loop->ring)) {
		enter(loop, 0, 0);
		loop->now_ns = loop->ring.kernel->now(&loop->ring);
	} else if (!(loop->stats.turns & 15) || loop->timers.count) {
		loop->now_ns = loop->ring.kernel->now(&loop->ring);
	}
	reap(loop);
	if (loop->quiet_head || loop->unsettled) /* the last left over may have failed */
		settle_quiet(loop);
	if (slept)
		learn_goal(loop);
}

static void turn(struct torc__loop *loop)
{
	torc__load_publish(loop);
	loop->budget = loop->run_count > TORC__TURN_MIN ? loop->run_count : TORC__TURN_MIN;
	torc__fiber_run_all(loop);
	run_turn_work(loop);
	torc__loop_deliver(loop);
	if (torc__unlikely(loop->bell != NULL))
		torc__loop_bell_answer(loop);
	poll_ring(loop);
	fire_timers(loop);
	loop->stats.turns++;
}

void torc__loop_run(struct torc__loop *loop)
{
	torc__fpenv_save(&loop->fpenv);
	while (!loop->stopping || loop->fibers || loop->run_head)
		turn(loop);
}

void torc__loop_stats(const struct torc__loop *loop, uint64_t now_ns, struct torc_stats *ret_stats)
{
	*ret_stats = loop->stats;
	ret_stats->switches = loop->switches;
	ret_stats->enters = loop->ring.enters;
	ret_stats->fibers = loop->fibers;
	ret_stats->stacks_bytes = loop->stacks.mapped_bytes;
	ret_stats->stacks_cached = loop->stacks.warm_total;
	ret_stats->timers = loop->timers.count;
	ret_stats->busy_ns = now_ns - loop->began_ns - loop->stats.idle_ns;
}

void torc_stats(struct torc_stats *ret_stats)
{
	torc__loop_stats(torc__self()->loop, torc_now_ns(), ret_stats);
}

/* --- open and close, on the loop's own thread --- */

static int open_wake(struct torc__loop *loop)
{
	loop->wake_fd = torc_sys_eventfd(0, 0);
	if (loop->wake_fd < 0)
		return loop->wake_fd;
	loop->wake_work.run = watch_wake_fd;
	loop->post_work.run = post_outgoing;
	torc__turn_defer(loop, &loop->wake_work);
	return 0;
}

static int open_wakes(struct torc__loop *loop)
{
	int n = loop->runtime->loop_count;

	loop->wakes = torc__calloc((size_t)n, sizeof(*loop->wakes));
	if (!loop->wakes)
		return -ENOMEM;
	for (int i = 0; i < n; i++)
		loop->wakes[i].target = loop->runtime->loops[i];
	return 0;
}

int torc__loop_open(struct torc__loop *loop, const struct torc_options *options, uint32_t disabled)
{
	int r;

	loop->run_tail = &loop->run_head;
	loop->work_tail = &loop->work_head;
	loop->quiet_tail = &loop->quiet_head;
	loop->outgoing_tail = &loop->outgoing;
	loop->wake_fd = -1;
	loop->goal = 1;
	loop->trim_ns = TORC_NEVER;
	loop->fibers_max = options->fibers_max ? options->fibers_max : 4194304;
	loop->default_class = (unsigned)torc__stack_class_of(options->stack_bytes);
	loop->ring.kernel = options->sim ? options->sim->kernel : &torc__kernel_uring;
	loop->ring.disabled = disabled;
	torc__stacks_init(&loop->stacks, sizeof(struct torc__fiber),
			  offsetof(struct torc__fiber, stack), disabled & TORC__GUARD_INSTALL);
	r = loop->ring.kernel->open(&loop->ring,
				    options->ring_entries ? options->ring_entries : 1024);
	if (r < 0)
		return r;
	r = open_wake(loop);
	if (!r)
		r = open_wakes(loop);
	if (r < 0) {
		loop->ring.kernel->close(&loop->ring);
		if (loop->wake_fd >= 0)
			torc_sys_close(loop->wake_fd);
		return r;
	}
	torc__sanitize_thread(&loop->sanitize);
	loop->now_ns = loop->began_ns = loop->ring.kernel->now(&loop->ring);
	/* Loops that share a thread share its stack for signals too. */
	loop->alt_stack = options->sim ? NULL : torc__overflow_thread_begin();
	torc__loop_set(loop);
	__atomic_fetch_add(&torc__loops_awake, 1, __ATOMIC_SEQ_CST);
	return 0;
}

void torc__loop_quiesce(struct torc__loop *loop)
{
	torc_op_cancel(&loop->wake_op);
	torc_op_cancel(&loop->bell_op);
	if (loop->signal_op)
		torc_op_cancel(loop->signal_op);
	while (torc_op_pending(&loop->wake_op) || torc_op_pending(&loop->bell_op) ||
	       (loop->signal_op && torc_op_pending(loop->signal_op))) {
		enter(loop, 1, TORC_NEVER);
		reap(loop);
	}
	enter(loop, 0, 0); /* what is left to be submitted, such as the close of a socket */
	reap(loop);
}

void torc__loop_close(struct torc__loop *loop)
{
	__atomic_fetch_sub(&torc__loops_awake, 1, __ATOMIC_SEQ_CST);
	if (loop->bell)
		torc__loop_bell_close(loop);
	await_posting(loop);
	for (int i = TORC__ATTACHMENTS; i-- > 0;) /* higher layers first */
		if (loop->attached[i].destroy)
			loop->attached[i].destroy(loop->attached[i].data);
	loop->ring.kernel->close(&loop->ring);
	torc_sys_close(loop->wake_fd);
	torc__free(loop->wakes);
	torc__timers_done(&loop->timers);
	torc__stacks_done(&loop->stacks);
	torc__overflow_thread_end(loop->alt_stack);
	torc__loop_set(NULL);
}
