#include <torc/core/fiber.h>

#include <errno.h>
#include <string.h>

#include "core/internal/fiber.h"
#include "core/internal/loop.h"
#include "core/internal/system.h"

bool torc_in_fiber(void)
{
	struct torc__loop *loop = torc__loop();

	return loop && loop->current;
}

#if defined(TORC__ASAN) || defined(TORC__TSAN)
struct torc__sanitize *torc__sanitize_fiber(void)
{
	struct torc__loop *loop = torc__loop();

	return loop && loop->current ? &loop->current->sanitize : NULL;
}
#endif

static struct torc__fiber *take_record(struct torc__loop *loop, unsigned class_index)
{
	struct torc__stack *stack = torc__stack_take_warm(&loop->stacks, class_index);

	if (torc__likely(stack != NULL))
		return torc__container_of(stack, struct torc__fiber, stack);
	return torc__stack_take_cold(&loop->stacks, class_index);
}

/* Room for the timers of one more fiber, and the limit. */
static inline int admit(struct torc__loop *loop)
{
	if (torc__unlikely(loop->fibers >= loop->fibers_max))
		return -EAGAIN;
	if (torc__likely(loop->fibers < loop->timers.capacity))
		return 0;
	return torc__timers_reserve(&loop->timers, loop->fibers + 1);
}

struct torc__fiber *torc__fiber_create(struct torc__loop *loop, unsigned class_index, torc_fn *fn,
				       void *arg, int *ret_error)
{
	struct torc__fiber *f;
	int r = admit(loop);

	if (r < 0) {
		*ret_error = r;
		return NULL;
	}
	f = take_record(loop, class_index);
	if (!f) {
		*ret_error = -ENOMEM;
		return NULL;
	}
	torc__context_init(&f->context, (void *)((uintptr_t)f & ~(uintptr_t)63),
			   torc__switch_entry);
	f->loop = loop;
	f->wait = NULL;
	f->keeps_fpenv = false;
	f->group = NULL;
	f->sibling = NULL;
	f->sibling_link = NULL;
	f->task = NULL; /* and remote */
	/* Whoever spawns, not the group's owner. There is no such fiber in mail from another loop. */
	f->locals = NULL;
	if (torc__unlikely(loop->current && loop->current->locals))
		f->locals = torc__locals_share(loop->current->locals);
	f->fn = fn;
	f->arg = arg;
	f->timer.at_ns = TORC_NEVER;
	f->name = NULL;
	f->spawn_site = NULL;
	f->base = (struct torc_scope){
		.fiber = f,
		.deadline_ns = TORC_NEVER,
		.limit_ns = TORC_NEVER,
		.timer_ns = TORC_NEVER,
	};
	f->scope = &f->base;
	torc__sanitize_create(&f->sanitize, &loop->sanitize, f->stack.bottom,
			      (size_t)((char *)f - f->stack.bottom));
	loop->stats.spawns++;
	if (++loop->fibers > loop->stats.fibers_peak)
		loop->stats.fibers_peak = loop->fibers;
	f->state = TORC__READY; /* its first: there is none to change from */
	torc__run_push(loop, f);
	return f;
}

/* Its stack is no longer in use: the caller runs on another one. */
static inline void bury(struct torc__loop *loop)
{
	struct torc__fiber *f = loop->ended;

	if (torc__likely(!f))
		return;
	loop->ended = NULL;
	torc__sanitize_destroy(&f->sanitize, &loop->sanitize);
	torc__stack_give(&loop->stacks, &f->stack);
}

static inline void check_canary(const struct torc__fiber *f)
{
	torc__check(!f->stack.canary ||
			    *(const uint64_t *)(const void *)f->stack.bottom == TORC__CANARY,
		    "stack overflow: the end of the fiber's stack was overwritten");
}

/* The next fiber of this turn, made the running one; NULL: back to the scheduler. */
static inline struct torc__fiber *pick(struct torc__loop *loop)
{
	struct torc__fiber *f = loop->run_head;

	if (!f || !loop->budget) {
		loop->current = NULL;
		return NULL;
	}
	loop->budget--;
	loop->run_head = f->run_next;
	if (!loop->run_head)
		loop->run_tail = &loop->run_head;
	loop->run_count--;
	loop->switches++;
	torc__fiber_set_state(f, TORC__RUNNING);
	loop->current = f;
	return f;
}

/*
 * Leave the running fiber for the next one, or for the scheduler. Returns the same fiber when it is back,
 * found through memory here: the switch overwrites all registers, and the compiler would otherwise keep
 * what is needed after it in memory for the whole of the calling function.
 */
static inline struct torc__fiber *give_way(struct torc__loop *loop, struct torc__fiber *self)
{
	struct torc__fiber *volatile kept = self;
	struct torc__fiber *next = pick(loop);

	if (next == self)
		return self;
	if (torc__unlikely(self->keeps_fpenv)) {
		torc__fpenv_save(&self->fpenv);
		torc__fpenv_load(&loop->fpenv);
	}
	torc__sanitize_leave(&self->sanitize, next ? &next->sanitize : &loop->sanitize);
	torc__switch(&self->context, next ? &next->context : &loop->context);
	self = kept;
	loop = self->loop;
	torc__sanitize_arrive(&self->sanitize, &loop->sanitize);
	bury(loop);
	if (torc__unlikely(self->keeps_fpenv))
		torc__fpenv_load(&self->fpenv);
	return self;
}

struct torc__errand {
	struct torc__fiber *fiber; /* that waits for it, RUNNING */
	torc_fn *fn;
	void *arg;
	int result;
};

/* What a fiber wants to be done on this stack. Returns the fiber, which goes on; NULL: there is nothing. */
static struct torc__fiber *run_errand(struct torc__loop *loop)
{
	struct torc__errand *errand = loop->errand;

	if (torc__likely(!errand))
		return NULL;
	loop->errand = NULL;
	errand->result = errand->fn(errand->arg);
	loop->current = errand->fiber;
	return errand->fiber;
}

/* From the scheduler: run fibers until none is ready or the turn's budget is spent. */
void torc__fiber_run_all(struct torc__loop *loop)
{
	struct torc__fiber *next = pick(loop);

	while (next) {
		torc__sanitize_leave(&loop->sanitize, &next->sanitize);
		torc__switch(&loop->context, &next->context);
		torc__sanitize_arrive(&loop->sanitize, NULL);
		bury(loop);
		next = run_errand(loop);
	}
}

int torc_call_deep(torc_fn *fn, void *arg)
{
	struct torc__fiber *f = torc__self();
	struct torc__loop *loop = f->loop;
	struct torc__errand errand = { .fiber = f, .fn = fn, .arg = arg };

	check_canary(f);
	loop->errand = &errand;
	loop->current = NULL;
	if (torc__unlikely(f->keeps_fpenv)) {
		torc__fpenv_save(&f->fpenv);
		torc__fpenv_load(&loop->fpenv);
	}
	torc__sanitize_leave(&f->sanitize, &loop->sanitize);
	torc__switch(&f->context, &loop->context);
	torc__sanitize_arrive(&f->sanitize, &loop->sanitize);
	if (torc__unlikely(f->keeps_fpenv))
		torc__fpenv_load(&f->fpenv);
	return errand.result;
}

/* The running fiber has ended: go on elsewhere, for good. */
static _Noreturn void leave_for_good(struct torc__loop *loop, struct torc__fiber *self)
{
	struct torc__fiber *next;

	loop->fibers--;
	loop->ended = self;
	if (torc__unlikely(self->keeps_fpenv))
		torc__fpenv_load(&loop->fpenv);
	next = pick(loop);
	torc__sanitize_leave(NULL, next ? &next->sanitize : &loop->sanitize);
	torc__switch(&self->context, next ? &next->context : &loop->context);
	__builtin_unreachable();
}

/* Called by torc__switch_entry with the fiber's context. */
_Noreturn __attribute__((used)) void torc__fiber_main(struct torc__context *context);

_Noreturn void torc__fiber_main(struct torc__context *context)
{
	struct torc__fiber *f = (struct torc__fiber *)(void *)context;
	struct torc__loop *loop = f->loop;
	int result;

	torc__sanitize_arrive(&f->sanitize, &loop->sanitize);
	bury(loop);
	result = f->fn(f->arg);
	torc__check(f->scope == &f->base, "a fiber ended inside a scope or group that it entered");
	check_canary(f);
	torc__timer_clear(&loop->timers, &f->timer);
	torc__fiber_set_state(f, TORC__ENDED);
	if (torc__unlikely(f->locals != NULL))
		torc__locals_end(f);
	torc__group_child_ended(f, result);
	leave_for_good(loop, f);
}

void torc__park(struct torc__fiber *f, struct torc__wait *wait, const struct torc__wait_kind *kind)
{
	struct torc__loop *loop = f->loop;

	check_canary(f);
	wait->kind = kind;
	wait->fiber = f;
	wait->since_ns = loop->now_ns;
	f->wait = wait;
	if (f->scope->timer_ns < f->timer.at_ns)
		torc__timer_set(&loop->timers, &f->timer, f->scope->timer_ns);
	torc__fiber_set_state(f, TORC__PARKED);
	give_way(loop, f);
}

struct slot_wait {
	struct torc__wait wait; /* first */
	struct torc__wait **slot;
	int status;
};

void torc__slot_cancel(struct torc__wait *wait)
{
	struct slot_wait *w = (struct slot_wait *)wait;

	*w->slot = NULL;
	w->status = wait->fiber->scope->status;
	torc__ready(wait->fiber);
}

struct torc__wait **torc__slot_of(const struct torc__wait *wait)
{
	return ((const struct slot_wait *)wait)->slot;
}

int torc__slot_wait(struct torc__wait **slot, const struct torc__wait_kind *kind)
{
	struct torc__fiber *f = torc__self();
	struct slot_wait wait = { .slot = slot };
	/* It may have been cancelled after its wait before this one had ended: that is not told again. */
	int r = kind->cancel ? torc__scope_check(f) : 0;

	torc__check(!*slot, "two fibers read, write or accept from the same stream or listener");
	if (r < 0)
		return r;
	*slot = &wait.wait;
	torc__park(f, &wait.wait, kind);
	return wait.status;
}

int torc_yield(void)
{
	struct torc__fiber *f = torc__self();
	struct torc__loop *loop = f->loop;

	check_canary(f);
	torc__fiber_set_state(f, TORC__READY);
	torc__run_push(loop, f);
	return torc__scope_check(give_way(loop, f));
}

struct sleep_wait {
	struct torc__wait wait; /* first */
	int result;
};

static void cancel_sleep(struct torc__wait *wait)
{
	((struct sleep_wait *)wait)->result = wait->fiber->scope->status;
	torc__ready(wait->fiber);
}

static void describe_sleep(const struct torc__wait *wait, struct torc__message *m)
{
	uint64_t until = wait->fiber->sleep_until_ns, now = torc_now_ns();

	if (until == TORC_NEVER) {
		torc__message_text(m, " until cancelled");
		return;
	}
	torc__message_text(m, ", ");
	torc__message_duration(m, until > now ? until - now : 0);
	torc__message_text(m, " left");
}

static const struct torc__wait_kind sleep_kind = { "sleep", cancel_sleep, describe_sleep };

int torc_sleep_until(uint64_t moment_ns)
{
	struct torc__fiber *f = torc__self();
	struct sleep_wait wait = { .result = 0 };
	int r = torc__scope_check(f);

	if (r < 0)
		return r;
	if (moment_ns <= f->loop->now_ns)
		return 0;
	f->sleep_until_ns = moment_ns;
	if (moment_ns < f->timer.at_ns)
		torc__timer_set(&f->loop->timers, &f->timer, moment_ns);
	/* Who sleeps for ever waits for something from outside, such as a signal: no deadlock. */
	f->loop->in_flight += moment_ns == TORC_NEVER;
	torc__park(f, &wait.wait, &sleep_kind);
	f->loop->in_flight -= f->sleep_until_ns == TORC_NEVER;
	return wait.result;
}

int torc_sleep(uint64_t ns)
{
	return ns ? torc_sleep_until(torc__later(torc_now_ns(), ns)) : torc_yield();
}

/* Set the timer of a fiber that is still parked to what it waits for next. */
static void set_timer_again(struct torc__fiber *f)
{
	uint64_t at = f->scope->timer_ns;

	if (f->wait->kind == &sleep_kind && f->sleep_until_ns < at)
		at = f->sleep_until_ns;
	if (at != TORC_NEVER)
		torc__timer_set(&f->loop->timers, &f->timer, at);
}

/* The timer has fired and left the heap; it may have been early. */
void torc__fiber_timeout(struct torc__fiber *f)
{
	if (f->wait && f->wait->kind == &sleep_kind && f->sleep_until_ns <= f->loop->now_ns)
		torc__ready(f);
	torc__scope_expire(f);
	if (f->wait)
		set_timer_again(f);
}

uint64_t torc_now_ns(void)
{
	struct torc__loop *loop = torc__loop();

	if (loop)
		return loop->ring.kernel->now(&loop->ring);
	return torc__system->now_ns ? torc__system->now_ns() : torc__kernel_uring.now(NULL);
}

uint64_t torc_turn_ns(void)
{
	return torc__self()->loop->now_ns;
}

const char *torc_fiber_name(void)
{
	return torc__self()->name;
}

void torc_fiber_set_name(const char *name)
{
	torc__self()->name = name;
}

void torc_fiber_keep_fpenv(void)
{
	torc__self()->keeps_fpenv = true;
}
