/*
 * executor/await.c - wait for an event that threads set: in a fiber, in a worker of a pool, in any other thread.
 */
#include <errno.h>
#include <sched.h>

#include <torc/core/fiber.h>

#include "executor/internal/process.h"
#include "executor/internal/signal.h"
#include "executor/internal/worker.h"

/* How long a plain thread looks out before it sleeps; waking it takes longer than that. */
#define LOOK_OUT_NS 20000u

/* --- a fiber --- */

static int await_in_fiber(struct torc_event *e, uint64_t deadline_ns)
{
	struct torc__fiber *f = torc__self();
	struct torc_scope scope;
	int r = torc__scope_check(f);

	if (r < 0 || torc_event_is_set(e))
		return r;
	if (!deadline_ns)
		return -ETIMEDOUT;
	if (deadline_ns == TORC_NEVER)
		return torc_event_wait(e);
	torc__scope_push(f, &scope, deadline_ns, false);
	r = torc_event_wait(e);
	torc__scope_pop(f, &scope);
	if (r < 0 && scope.cause)
		return f->scope->status ? f->scope->status : -ETIMEDOUT;
	return r;
}

/* --- a worker --- */

/* `fired` goes 0, 1, 2: at 1 the worker may stop waiting, at 2 it may leave. */
struct helper {
	struct torc__hook hook; /* first */
	struct torc__worker *worker;
	uint32_t fired;
};

#define FIRED 3u /* the bits of 1 and 2 */

static void fire_helper(struct torc__hook *hook)
{
	struct helper *h = (struct helper *)hook;

	__atomic_store_n(&h->fired, 1, __ATOMIC_SEQ_CST);
	torc__worker_unpark(h->worker);
	__atomic_store_n(&h->fired, 2, __ATOMIC_RELEASE);
}

static bool runs_it(const struct torc__worker *w, const struct torc_future *f)
{
	for (const struct torc__running *r = w->running; r; r = r->outer)
		if (r->future == f)
			return true;
	return false;
}

static int await_in_worker(struct torc__worker *w, struct torc_event *e, uint64_t deadline_ns,
			   const struct torc_future *f)
{
	struct helper h = { .hook.fire = fire_helper, .worker = w };
	const struct torc__until until = { &h.fired, FIRED, deadline_ns };
	uintptr_t task;

	if (torc_event_is_set(e))
		return 0;
	if (f && runs_it(w, f))
		return -EDEADLK;
	if (!deadline_ns)
		return -ETIMEDOUT;
	if (!torc__event_hook(e, &h.hook))
		return 0;
	while ((task = torc__worker_next(w, &until)))
		torc__task_run(w, task);
	if (!torc__until_over(&until) && torc__event_unhook(e, &h.hook))
		return -ETIMEDOUT;
	while (__atomic_load_n(&h.fired, __ATOMIC_ACQUIRE) != 2)
		torc__relax();
	return 0;
}

/* --- any other thread --- */

struct sleeper {
	struct torc__hook hook; /* first */
	uint32_t fired;
};

static void fire_sleeper(struct torc__hook *hook)
{
	uint32_t *fired = &((struct sleeper *)hook)->fired;

	__atomic_store_n(fired, 1, __ATOMIC_RELEASE);
	torc__thread_wake(fired, 1); /* its memory may be gone: only the address counts */
}

/*
 * One that has submitted to a pool of processes has a bell, which is a reason to look, too. It takes the results of others then
 * as well, and calls who waits for these. Others have none: NULL.
 */
static void answer(struct torc__bell *bell)
{
	if (!bell || !torc__bell_rung(bell))
		return;
	torc__bell_clear(bell);
	torc__processes_answer();
}

static bool look_out(const struct torc_event *e, struct torc__bell *bell)
{
	uint64_t end;

	if (torc__threads_simulated() || (bell && !torc__bell_from_elsewhere(bell)))
		return false;
	end = torc_now_ns() + LOOK_OUT_NS;
	do {
		for (int i = 0; i < 16; i++) {
			answer(bell);
			if (torc_event_is_set(e))
				return true;
			torc__relax();
		}
	} while (torc_now_ns() < end);
	return false;
}

static void sleep_once(uint32_t *fired, struct torc__bell *bell, uint64_t deadline_ns)
{
	if (!bell)
		torc__thread_sleep(fired, 0, deadline_ns);
	else if (torc__bell_sleepy(bell))
		torc__thread_sleep_with_bell(fired, bell, deadline_ns);
	answer(bell);
}

static int sleep_until_fired(struct torc_event *e, struct torc__bell *bell, uint64_t deadline_ns)
{
	struct sleeper s = { .hook.fire = fire_sleeper };

	if (!torc__event_hook(e, &s.hook))
		return 0;
	while (!__atomic_load_n(&s.fired, __ATOMIC_ACQUIRE)) {
		sleep_once(&s.fired, bell, deadline_ns);
		if (deadline_ns != TORC_NEVER && torc_now_ns() >= deadline_ns) {
			if (torc__event_unhook(e, &s.hook))
				return -ETIMEDOUT;
			deadline_ns = TORC_NEVER; /* it is just being fired */
		}
	}
	return 0;
}

static int await_in_thread(struct torc_event *e, uint64_t deadline_ns)
{
	struct torc__bell *bell = torc__bell_here;
	int r;

	if (torc_event_is_set(e))
		return 0;
	if (!deadline_ns)
		return -ETIMEDOUT;
	if (bell) {
		torc__bell_clear(bell);
		torc__processes_answer();
	}
	r = look_out(e, bell) ? 0 : sleep_until_fired(e, bell, deadline_ns);
	if (bell && torc__bell_leave(bell))
		torc__processes_answer();
	return r;
}

/* --- all --- */

int torc__event_await(struct torc_event *e, uint64_t deadline_ns, const struct torc_future *f)
{
	struct torc__worker *w;

	if (torc_in_fiber())
		return await_in_fiber(e, deadline_ns);
	w = torc__worker_here();
	if (w && !w->unfit)
		return await_in_worker(w, e, deadline_ns, f);
	return await_in_thread(e, deadline_ns);
}

void torc__event_await_shielded(struct torc_event *e)
{
	struct torc_scope shield;
	bool in_fiber = torc_in_fiber();

	if (in_fiber)
		torc_scope_enter_shield(&shield, TORC_NEVER);
	while (torc__event_await(e, TORC_NEVER, NULL) < 0)
		continue;
	if (in_fiber)
		torc_scope_leave(&shield);
}

/* --- signals --- */

void torc__spin_until(const uint32_t *word)
{
	for (unsigned spins = 0; !__atomic_load_n(word, __ATOMIC_ACQUIRE); spins++)
		if (spins < 128)
			torc__relax();
		else
			sched_yield();
}

static void fire_signal(struct torc__hook *hook)
{
	struct torc__signal *s = (struct torc__signal *)hook;

	torc__event_set_shared(&s->event);
	__atomic_store_n(&s->fired, 1, __ATOMIC_RELEASE);
}

void torc__signal_init(struct torc__signal *s)
{
	s->hook.node.waiter = NULL;
	s->hook.fire = fire_signal;
	s->fired = 0;
	torc__event_init_shared(&s->event, TORC__EVENT_EXPECTED);
}

int torc__signal_await(struct torc__signal *s, uint64_t deadline_ns)
{
	int r = torc__event_await(&s->event, deadline_ns, NULL);

	if (r == 0)
		torc__spin_until(&s->fired);
	return r;
}

void torc__signal_await_shielded(struct torc__signal *s)
{
	torc__event_await_shielded(&s->event);
	torc__spin_until(&s->fired);
}
