/*
 * core/internal/fiber.h - the fiber's record, and how it is parked and made ready.
 *
 *	            spawn            resume               end
 *	  (none) ----------> READY ----------> RUNNING ----------> ENDED
 *	                       ^                |   |
 *	                       |     yield      |   | park
 *	                       +----------------+   v
 *	                       +----------------- PARKED
 *	                            ready
 *
 *	transition          function               who calls
 *	(none) -> READY     torc__fiber_create     torc_group_spawn, torc_detach, the loop's start
 *	READY -> RUNNING    torc__fiber_pick       the scheduler, or the fiber that gives way
 *	RUNNING -> READY    torc_yield             the fiber
 *	RUNNING -> PARKED   torc__park             the fiber, in every suspending call
 *	PARKED -> READY     torc__ready            a completion, a timer, another fiber, a cancellation
 *	RUNNING -> ENDED    torc__fiber_main       the fiber
 *
 * Invariants
 *	1. A READY fiber is in its loop's run queue, once; no other is.
 *	2. `wait` is set in PARKED and only there: who makes a fiber ready takes the wait away, so a wait ends once.
 *	3. loop->current is the RUNNING fiber, NULL in the scheduler.
 */
#ifndef TORC_CORE_INTERNAL_FIBER_H
#define TORC_CORE_INTERNAL_FIBER_H

#include <torc/core/group.h>
#include <torc/core/scope.h>

#include "core/internal/local.h"
#include "core/internal/loop.h"
#include "core/internal/sanitize.h"
#include "core/internal/stack.h"
#include "core/internal/switch.h"
#include "core/internal/timer.h"
#include "core/internal/trap.h"

enum torc__fiber_state {
	TORC__READY,
	TORC__RUNNING,
	TORC__PARKED,
	TORC__ENDED,
};

struct torc__wait;

/* What a parked fiber waits for. */
struct torc__wait_kind {
	const char *name;
	/* Ask for an early end because the fiber's scope was cancelled; NULL: it cannot be cut short. */
	void (*cancel)(struct torc__wait *wait);
	/*
	 * For the dump (core/dump.h): add to the name, which is in the message, what sets this wait apart, such
	 * as " of fd 7"; NULL: the name says it all. The fiber's loop stands still meanwhile, and it runs on
	 * whichever thread dumps: it may read what belongs to that loop, and must not write or wait.
	 */
	void (*describe)(const struct torc__wait *wait, struct torc__message *m);
};

struct torc__wait {
	const struct torc__wait_kind *kind;
	struct torc__fiber *fiber;
	struct torc__wait *next; /* in the list of what is waited for */
	uint64_t since_ns;       /* the turn in which it was parked */
};

struct torc__fiber {
	struct torc__context context; /* first: torc__switch_entry hands it to torc__fiber_main */
	struct torc__fiber *run_next;
	struct torc__loop *loop;
	struct torc_scope *scope; /* the innermost */
	struct torc__wait *wait;
	uint8_t state; /* enum torc__fiber_state */
	bool keeps_fpenv;

	/* The second cache line up to base.limit_ns, which a yield looks at; the third, what a park does. */
	struct torc__stack stack;
	struct torc_scope base;
	struct torc__timer timer;
	uint64_t sleep_until_ns;

	struct torc_group *group; /* NULL: child of another loop's group, or the loop's root */
	struct torc__fiber *sibling, **sibling_link;
	union {
		struct torc_task *task;      /* of a child in `group`; or NULL */
		struct torc__remote *remote; /* without `group`: of a child in another loop's */
	};
	torc_fn *fn;
	void *arg;

	const char *name;
	const void *spawn_site;
	struct torc__locals *locals; /* fiber-local values, or NULL */

	/* The fifth, which neither a spawn nor an end looks at. */
	struct torc__fiber *cancel_next; /* in the work list of a cancellation */
	struct torc__fpenv fpenv;
	struct torc__sanitize sanitize;
};

_Static_assert(offsetof(struct torc__fiber, stack) == 64 &&
		       offsetof(struct torc__fiber, base.limit_ns) < 128 &&
		       offsetof(struct torc__fiber, sleep_until_ns) < 192 &&
		       offsetof(struct torc__fiber, locals) < 256,
	       "a yield touches two cache lines of a record, a park three, a spawn four");

/* The one place where a fiber's state changes. */
static inline void torc__fiber_set_state(struct torc__fiber *f, enum torc__fiber_state to)
{
	/* Bit `from` of legal[to]. */
	static const uint8_t legal[] = {
		[TORC__READY] = 1 << TORC__RUNNING | 1 << TORC__PARKED,
		[TORC__RUNNING] = 1 << TORC__READY,
		[TORC__PARKED] = 1 << TORC__RUNNING,
		[TORC__ENDED] = 1 << TORC__RUNNING,
	};

	torc__check(legal[to] >> f->state & 1,
		    f->state == TORC__ENDED ? "a destructor of a fiber-local value suspends"
					    : "illegal change of a fiber's state");
	f->state = (uint8_t)to;
}

static inline void torc__run_push(struct torc__loop *loop, struct torc__fiber *f)
{
	f->run_next = NULL;
	*loop->run_tail = f;
	loop->run_tail = &f->run_next;
	loop->run_count++;
}

static inline void torc__ready(struct torc__fiber *f)
{
	f->wait = NULL;
	torc__fiber_set_state(f, TORC__READY);
	torc__run_push(f->loop, f);
}

/* Deadlines of f's scopes have passed: cancel those; returns f's status, 0 when none counts here. */
int torc__scope_expire(struct torc__fiber *f);

/*
 * The fiber's scopes, before it does something that suspends: 0, or what the call has to return. Both a
 * cancellation (which sets limit_ns to 0) and a deadline are this one comparison.
 */
static inline int torc__scope_check(struct torc__fiber *f)
{
	if (torc__likely(f->scope->limit_ns > f->loop->now_ns))
		return 0;
	return torc__scope_expire(f);
}

/* The calling thread's loop, for torc__self; everybody else asks torc__loop(). */
extern __thread struct torc__loop *torc__thread_loop;

/*
 * The calling fiber; traps outside of one.
 *
 * In line, for every public function begins with it. What torc__loop() achieves by being a call, the volatile
 * assembly does here: the thread-local is found and read anew each time, whatever was switched in between.
 */
static inline struct torc__fiber *torc__self(void)
{
	struct torc__loop *loop;

#if defined(__x86_64__)
	__asm__ volatile("movq	torc__thread_loop@gottpoff(%%rip), %0\n\t"
			 "movq	%%fs:(%0), %0"
			 : "=r"(loop));
#else
	loop = torc__loop();
#endif
	torc__check(loop && loop->current, "called outside of a fiber");
	return loop->current;
}

/* A ready fiber, child of nothing yet, or NULL and *ret_error. class_index from torc__stack_class_of. */
struct torc__fiber *torc__fiber_create(struct torc__loop *loop, unsigned class_index, torc_fn *fn,
				       void *arg, int *ret_error);

/* From the scheduler: run fibers until none is ready or the turn's budget is spent. */
void torc__fiber_run_all(struct torc__loop *loop);

/* Give the loop away until torc__ready. */
void torc__park(struct torc__fiber *f, struct torc__wait *wait, const struct torc__wait_kind *kind);

/*
 * A slot is a pointer to the one fiber that waits for something, or NULL. Waiting in it has no effect that
 * a cancellation would have to undo, so that ends it at once. Traps when the slot is taken.
 *
 * Returns 0 when it was woken, or the scope's status; a kind whose cancel is not torc__slot_cancel but NULL
 * waits until it is woken.
 */
int torc__slot_wait(struct torc__wait **slot, const struct torc__wait_kind *kind);
void torc__slot_cancel(struct torc__wait *wait);

/* For describe: the slot that a wait of torc__slot_wait is in. */
struct torc__wait **torc__slot_of(const struct torc__wait *wait);

/* Wake the one that waits, if any. */
static inline void torc__slot_wake(struct torc__wait **slot)
{
	struct torc__wait *wait = *slot;

	if (!wait)
		return;
	*slot = NULL;
	torc__ready(wait->fiber);
}

/* What a fiber's timer does when it fires. */
void torc__fiber_timeout(struct torc__fiber *f);

/* Its function has returned: tell its group, or the loop whose group it is in. */
void torc__group_child_ended(struct torc__fiber *f, int result);

/* Cancel scope, with what its calls return from now on, and why (a literal, not NULL). */
void torc__scope_cancel(struct torc_scope *scope, int status, const char *reason);

/* Why the status of a scope is not 0. */
const char *torc__scope_why(const struct torc_scope *scope);

/* A moment `ns` after another; TORC_NEVER when there is none. */
static inline uint64_t torc__later(uint64_t moment, uint64_t ns)
{
	uint64_t later;

	return __builtin_add_overflow(moment, ns, &later) ? TORC_NEVER : later;
}

static inline uint64_t torc__earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Push a scope, which may be a group's; the rest of a group is group.c's. */
static inline void torc__scope_push(struct torc__fiber *f, struct torc_scope *scope,
				    uint64_t deadline_ns, bool shield)
{
	struct torc_scope *parent = f->scope;

	scope->parent = parent;
	scope->fiber = f;
	scope->deadline_ns = deadline_ns;
	scope->limit_ns = shield ? deadline_ns : torc__earlier(deadline_ns, parent->limit_ns);
	scope->timer_ns = torc__earlier(deadline_ns, parent->timer_ns);
	scope->status = shield ? 0 : parent->status;
	scope->cause = 0;
	scope->reason = NULL;
	scope->shield = shield;
	scope->is_group = false;
	f->scope = scope;
}

static inline void torc__scope_pop(struct torc__fiber *f, struct torc_scope *scope)
{
	torc__check(f->scope == scope && scope != &f->base,
		    "a scope is left by another fiber, or not in the reverse order of entering");
	f->scope = scope->parent;
}

/* What the dump sees of a child on another loop; the rest of the record is remote.c's. */
struct torc__remote_view {
	struct torc__remote *next; /* in the group */
	struct torc_group *group;
	struct torc__loop *away;
	struct torc__fiber *fiber; /* NULL: before it starts and after it has ended; away's */
	torc_fn *fn;
	const char *name;
	const void *spawn_site;
};

void torc__remote_look(const struct torc__remote *remote, struct torc__remote_view *ret_view);

/* Free the records that the loop keeps for the next spawns. */
void torc__remotes_done(struct torc__loop *loop);

/* Every fiber of a group gets `status`: those of this loop are put on a work list, see scope.c. */
struct torc__fiber *torc__group_cancel_children(struct torc_group *group, int status,
						const char *reason, struct torc__fiber *list);

#endif
