/*
 * core/internal/loop.h - one loop: a thread, a ring, a run queue.
 *
 * A turn:
 *	1. run the fibers that are ready, each until it suspends (they switch to each other directly)
 *	2. do the turn work: what was put off to be done once, such as one gathered send per stream
 *	3. deliver mail from other loops, and answer the bell that other processes ring
 *	4. enter the ring: submit all of it, collect what has completed, and wait if nothing is ready
 *	5. hand out the completions: most of them make a fiber ready
 *	6. fire the timers
 */
#ifndef TORC_CORE_INTERNAL_LOOP_H
#define TORC_CORE_INTERNAL_LOOP_H

#include <pthread.h>

#include <torc/core/op.h>
#include <torc/core/run.h>

#include "core/internal/bell.h"
#include "core/internal/container.h"
#include "core/internal/dump_signal.h"
#include "core/internal/kernel.h"
#include "core/internal/mailbox.h"
#include "core/internal/pause.h"
#include "core/internal/sanitize.h"
#include "core/internal/stack.h"
#include "core/internal/switch.h"
#include "core/internal/timer.h"
#include "core/internal/trap.h"

struct torc__fiber;
struct torc__remote;
struct torc__runtime;

/* user_data of entries whose completion means nothing, and of a wake-up from another loop. */
#define TORC__IGNORED 0u
#define TORC__WOKEN   1u

/* At least so many fibers run before the ring is looked at, so that a yield stays cheap. */
#define TORC__TURN_MIN 64

/*
 *	          torc_op_start           torc_op_cancel
 *	  IDLE -----------------> PENDING ---------------> CANCELLING
 *	    ^                        |                         |
 *	    +---- last completion ---+-------------------------+
 */
enum torc__op_state {
	TORC__OP_IDLE, /* never started, or its last completion has come */
	TORC__OP_PENDING,
	TORC__OP_CANCELLING,
};

/* Wake-up of another loop by a message through our ring. */
struct torc__wake {
	struct torc_op op;
	struct torc__loop *target;
};

/* State that a layer above keeps per loop. */
enum torc__attachment {
	TORC__ATTACHED_FUTURES,
	TORC__ATTACHED_OFFLOAD,
	TORC__ATTACHED_BUFFERS,
	TORC__ATTACHED_PIPES,
	TORC__ATTACHED_NAMES,
	TORC__ATTACHED_ARENAS,
	TORC__ATTACHED_HTTP,
	TORC__ATTACHMENTS,
};

struct torc__attached {
	void *data;
	void (*destroy)(void *data);
};

/* What other loops may read of a loop, to place a fiber: relaxed, as old as its latest turn. */
struct torc__load {
	_Alignas(64) unsigned ready; /* fibers when the turn began; 0 while it sleeps */
	unsigned fibers;
	unsigned coming; /* fibers on their way to be started there; counted by who sends them */
};

struct torc__loop {
	/* the path of every switch */
	struct torc__fiber *current;
	struct torc__fiber *run_head, **run_tail;
	size_t run_count;
	size_t budget; /* fibers that may still run in this turn */
	uint64_t now_ns;
	uint64_t switches;
	uint32_t guarding; /* other loops read it: core/internal/guard.h */
	uint32_t guard_id;
	uint32_t select_turn;         /* torc_select goes round */
	unsigned batch;               /* completions of the last turn */
	unsigned goal, rest;          /* how many to wait for: learn_goal in loop.c */
	struct torc__context context; /* the scheduler's, on the thread's own stack */
	struct torc__sanitize sanitize;
	struct torc__fpenv fpenv;  /* the thread's, for all fibers but those that keep their own */
	struct torc__fiber *ended; /* its memory goes back when its stack is no longer in use */
	struct torc__errand *errand; /* torc_call_deep, or NULL */

	struct torc__turn_work *work_head, **work_tail;
	struct torc_op *quiet_head, **quiet_tail; /* started quietly, oldest first */
	size_t in_flight; /* what can wake this loop from outside: core/internal/deadlock.h */
	struct torc__ring ring;
	struct torc__timers timers;
	struct torc__stacks stacks;
	struct torc__mailbox mailbox;
	struct torc__mail *outgoing, **outgoing_tail; /* torc__loop_post_later */
	struct torc__turn_work post_work;

	struct torc__runtime *runtime;
	int index;
	int cpu; /* -1: not pinned */
	bool reaping;
	bool unsettled; /* some of the quiet ones may have failed or not been submitted */
	bool stopping;
	bool may_watch, vigilant; /* stay_awake in loop.c */
	uint64_t trim_ns;         /* when free stacks are looked at next */
	size_t fibers, fibers_max;
	unsigned default_class;                               /* of stacks */
	struct torc__mail cancel_mail, ended_mail, stop_mail; /* shutdown, see run.c */
	struct torc_group *root_group;                        /* of detached fibers */
	struct torc__remote *spare_remotes;                   /* remote.c */
	unsigned spare_remotes_count;

	uint32_t posting; /* threads, other than loops, that send it mail just now */
	int wake_fd;      /* an eventfd, for those who cannot send a message through a ring */
	struct torc_op wake_op;
	uint64_t wake_value;
	struct torc__turn_work wake_work;
	struct torc__wake *wakes;  /* [runtime->loop_count] */
	struct torc_op *signal_op; /* loop 0's, or NULL */

	struct torc__bell *bell; /* NULL: it has none; core/internal/bell.h */
	void (*on_rung)(struct torc__loop *loop);
	struct torc_op bell_op;
	bool deaf; /* its ring cannot wait for the bell */

	struct torc__attached attached[TORC__ATTACHMENTS];
	struct torc_stats stats;
	uint64_t began_ns; /* when it was opened */
	pthread_t thread;
	void *alt_stack;
	struct torc__attention attention;
	struct torc__sample sample;
	struct torc__load load; /* a cache line of its own */
};

/*
 * The calling thread's loop, or NULL. Never inlined and never cached over a suspending call: compilers take
 * the address of a thread-local once, although the code after a switch could be another thread's.
 */
struct torc__loop *torc__loop(void);
void torc__loop_set(struct torc__loop *loop);

int torc__loop_open(struct torc__loop *loop, const struct torc_options *options, uint32_t disabled);
/* Stop the loop's own operations, and wait until the kernel has let go of their memory. */
void torc__loop_quiesce(struct torc__loop *loop);
void torc__loop_close(struct torc__loop *loop);

/*
 * How many loops of the process do not sleep, and so need a core. A layer above whose threads leave them alone wants to know when
 * one of them does sleep: torc__on_nap, unless it is NULL, is called by a loop that no longer counts as awake, just before
 * it enters the ring.
 */
extern unsigned torc__loops_awake;
extern void (*torc__on_nap)(void);

/* In a loop that waits for another core. */
static inline void torc__relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#else
	__asm__ volatile("yield");
#endif
}

/* Wake a loop that sleeps in its ring. Any loop's thread. */
void torc__loop_wake(struct torc__loop *loop);

/* The same at once and whatever it does, also from a signal handler. */
void torc__loop_wake_by_fd(struct torc__loop *loop);

/* Turn until loop->stopping and nothing is left to do. */
void torc__loop_run(struct torc__loop *loop);

/* A free submission entry; submits first when the queue is full. Not while completions are handed out. */
struct io_uring_sqe *torc__loop_sqe(struct torc__loop *loop);

/* Let other loops see how much there is to do here. */
static inline void torc__load_publish(struct torc__loop *loop)
{
	__atomic_store_n(&loop->load.ready, (unsigned)loop->run_count, __ATOMIC_RELAXED);
	__atomic_store_n(&loop->load.fibers, (unsigned)loop->fibers, __ATOMIC_RELAXED);
}

/* Where the state of an operation changes, but for its start: before that it is anybody's memory. */
static inline void torc__op_set_state(struct torc_op *op, enum torc__op_state to)
{
	/* Bit `from` of legal[to]. */
	static const uint8_t legal[] = {
		[TORC__OP_IDLE] = 1 << TORC__OP_PENDING | 1 << TORC__OP_CANCELLING,
		[TORC__OP_PENDING] = 1 << TORC__OP_IDLE,
		[TORC__OP_CANCELLING] = 1 << TORC__OP_PENDING,
	};

	torc__check(legal[to] >> op->state & 1, "illegal change of an operation's state");
	op->state = (uint8_t)to;
}

/* Its last completion has come. */
static inline void torc__op_over(struct torc__loop *loop, struct torc_op *op)
{
	torc__op_set_state(op, TORC__OP_IDLE);
	loop->in_flight -= !op->background;
}

/*
 * torc_op_start for an operation whose end nobody waits for, such as those by which the runtime itself is
 * woken: a loop that has nothing else under way is not kept from being in a deadlock by them.
 */
struct io_uring_sqe *torc__op_start_background(struct torc_op *op, torc_op_fn *on_cqe);

/* Do work at the end of the turn; once, however often it is asked for. */
static inline void torc__turn_defer(struct torc__loop *loop, struct torc__turn_work *work)
{
	if (work->queued)
		return;
	work->queued = true;
	work->next = NULL;
	*loop->work_tail = work;
	loop->work_tail = &work->next;
}

/* Hand out the messages that have come. Returns whether there were any. */
bool torc__loop_deliver(struct torc__loop *loop);

void torc__loop_stats(const struct torc__loop *loop, uint64_t now_ns, struct torc_stats *ret_stats);

/* Send a message to a loop. Any thread; if it is not a loop's, something must keep the receiver from ending before it has it. */
void torc__loop_post(struct torc__loop *to, struct torc__mail *mail);

/* Send it when this turn of `self`, the calling thread's, ends: the receiver then finds more to do at once. */
void torc__loop_post_later(struct torc__loop *self, struct torc__loop *to, struct torc__mail *mail);

#endif
