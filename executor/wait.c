#include <torc/executor/wait.h>

#include <errno.h>

#include "core/internal/system.h"
#include "executor/internal/watch.h"

/* --- one after the other --- */

static void push(struct torc_watch *w)
{
	struct torc_completion *c = w->completion;

	w->next = __atomic_load_n(&c->arrived, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&c->arrived, &w->next, w, true, __ATOMIC_RELEASE,
					    __ATOMIC_RELAXED))
		continue;
}

static void fire(struct torc__hook *hook)
{
	struct torc_watch *w = (struct torc_watch *)hook;

	push(w);
	torc__event_set_shared(&w->completion->event);
	__atomic_store_n(&w->fired, 1, __ATOMIC_RELEASE);
}

static void watch(struct torc_completion *c, struct torc_watch *w, struct torc_future *f)
{
	*w = (struct torc_watch){ .hook.fire = fire,
				  .completion = c,
				  .future = torc_future_get(f) };
	w->hooked = torc__event_hook(&f->event, &w->hook);
	if (!w->hooked)
		push(w);
}

int torc_as_completed(struct torc_completion *c, struct torc_future *const *futures, size_t count,
		      uint64_t deadline_ns)
{
	*c = (struct torc_completion){ .deadline_ns = deadline_ns };
	torc__event_init_shared(&c->event, TORC__EVENT_EXPECTED);
	if (!count)
		return 0;
	c->watches = torc__calloc(count, sizeof(*c->watches));
	if (!c->watches)
		return -ENOMEM;
	c->count = c->left = count;
	for (size_t i = 0; i < count; i++)
		watch(c, &c->watches[i], futures[i]);
	return 0;
}

/* Move what has arrived behind what is ready: nothing is, so it is all of it, the earliest first. */
static bool collect(struct torc_completion *c)
{
	struct torc_watch *w = __atomic_exchange_n(&c->arrived, NULL, __ATOMIC_ACQUIRE), *next;

	for (; w; w = next) {
		next = w->next;
		w->next = c->ready;
		c->ready = w;
	}
	return c->ready;
}

/* Until one is ready. */
static int wait_for_one(struct torc_completion *c)
{
	int r;

	while (!c->ready && !collect(c)) {
		/* What arrives after this sets it again. */
		torc__event_reset_shared(&c->event);
		if (collect(c))
			break;
		r = torc__event_await(&c->event, c->deadline_ns, NULL);
		if (r < 0)
			return r;
	}
	return 0;
}

int torc_completion_next(struct torc_completion *c, struct torc_future **ret_future)
{
	struct torc_watch *w;
	int r;

	if (!c->left)
		return 0;
	r = wait_for_one(c);
	if (r < 0)
		return r;
	w = c->ready;
	c->ready = w->next;
	c->left--;
	*ret_future = w->future;
	return 1;
}

void torc_completion_done(struct torc_completion *c)
{
	for (size_t i = 0; i < c->count; i++) {
		struct torc_watch *w = &c->watches[i];

		if (w->hooked && !torc__event_unhook(&w->future->event, &w->hook))
			torc__spin_until(&w->fired);
		torc_future_put(w->future);
	}
	torc__free(c->watches);
	c->watches = NULL;
	c->count = c->left = 0;
}

/* --- enough of them --- */

/* So many futures ahead the next one is fetched: they come from another core, one after the other. */
#define AHEAD 8u

static size_t count_over(struct torc_future *const *futures, size_t count)
{
	size_t over = 0;

	for (size_t i = 0; i < count; i++)
		over += torc__future_over(futures[i]);
	return over;
}

static bool has_failed(const struct torc_future *f)
{
	uint32_t state = torc__future_look(f);

	return state & TORC__EVENT_SET && !(state & TORC__FUTURE_CANCELLED) && f->event.value < 0;
}

/* Is there one already that ends the wait? */
static bool enough(struct torc_future *const *futures, size_t count, enum torc_wait_mode mode)
{
	size_t over = 0;

	for (size_t i = 0; i < count; i++) {
		if (!torc__future_over(futures[i]))
			continue;
		if (mode == TORC_FIRST_COMPLETED || has_failed(futures[i]))
			return true;
		over++;
	}
	return over == count;
}

/* The last first: where they are done in order, the wait for that one is the only one. */
static int wait_for_all(struct torc_future *const *futures, size_t count, uint64_t deadline_ns)
{
	int r = 0;

	for (size_t i = count; i-- && !r;) {
		if (i >= AHEAD)
			__builtin_prefetch(futures[i - AHEAD]);
		if (!torc__future_over(futures[i]))
			r = torc__event_await(&futures[i]->event, deadline_ns, futures[i]);
	}
	return r ? r : (int)count;
}

static int wait_for_first(struct torc_future *const *futures, size_t count,
			  enum torc_wait_mode mode, uint64_t deadline_ns)
{
	struct torc_completion c;
	struct torc_future *f;
	int r;

	if (enough(futures, count, mode))
		return 0;
	r = torc_as_completed(&c, futures, count, deadline_ns);
	if (r < 0)
		return r;
	while ((r = torc_completion_next(&c, &f)) > 0)
		if (mode == TORC_FIRST_COMPLETED || has_failed(f))
			break;
	torc_completion_done(&c);
	return r < 0 ? r : 0;
}

/* Of the calling fiber, if it is one. */
static int scope_status(void)
{
	return torc_in_fiber() ? torc__scope_check(torc__self()) : 0;
}

int torc_wait(struct torc_future *const *futures, size_t count, enum torc_wait_mode mode,
	      uint64_t deadline_ns)
{
	int r = scope_status();

	torc__check(count <= INT32_MAX, "torc_wait for more than INT32_MAX futures");
	if (r == 0)
		r = mode == TORC_ALL_COMPLETED ? wait_for_all(futures, count, deadline_ns)
					       : wait_for_first(futures, count, mode, deadline_ns);
	/* Running out of its own time is no error. */
	if (r == -ETIMEDOUT)
		r = scope_status();
	return r ? r : (int)count_over(futures, count);
}

/* --- all or nothing --- */

static void cancel_all(struct torc_future *const *futures, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (torc_future_state(futures[i]) == TORC_PENDING)
			torc_future_cancel(futures[i]);
}

/* Returns the status of the first failure, or -ECANCELED, or 0; or why the wait ended. */
static int watch_all(struct torc_completion *c, struct torc_future *const *futures, size_t count)
{
	struct torc_future *f;
	int r, failure = 0;

	while ((r = torc_completion_next(c, &f)) > 0) {
		int status = torc__future_read(f, NULL);
		bool cancelled = torc__future_look(f) & TORC__FUTURE_CANCELLED;

		if (status >= 0 || (failure && failure != -ECANCELED))
			continue;
		if (!failure)
			cancel_all(futures, count);
		if (!cancelled || !failure)
			failure = status;
	}
	return r < 0 ? r : failure;
}

int torc_await_all(struct torc_future *const *futures, size_t count, void **ret_values)
{
	struct torc_completion c;
	int r = scope_status();

	if (r < 0)
		return r;
	r = torc_as_completed(&c, futures, count, TORC_NEVER);
	if (r < 0)
		return r;
	r = watch_all(&c, futures, count);
	torc_completion_done(&c);
	if (r < 0)
		return r;
	for (size_t i = 0; ret_values && i < count; i++)
		ret_values[i] = futures[i]->value;
	return 0;
}
