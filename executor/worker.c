#include "executor/internal/worker.h"

#include "core/internal/loop.h"

/*
 * How long a worker searches. Waking it takes some 50 us on a virtual machine; so it is better not to have slept when a
 * sleep was not much longer than that, and then the next search is a long one.
 */
#define SEARCH_SHORT_NS 10000u
#define SEARCH_LONG_NS  100000u
#define NAP_NS          200000u
#define LOOK_NS         5000u

/* See worker.h: a wake-up that a loop has no core for is put off no longer than this. */
#define PATIENCE_NS   200000u
#define WATCH_MOST_NS 10000000u

/*
 * So often a worker looks elsewhere than for the latest of its own tasks: tasks that submit themselves must not starve
 * what comes from outside, nor what has been in the deque for longest.
 */
#define FAIR_EVERY 32u

static void full_barrier(void)
{
#if defined(__x86_64__)
	__asm__ volatile("lock orq $0, (%%rsp)" ::: "memory", "cc");
#else
	__asm__ volatile("dmb ish" ::: "memory");
#endif
}

/* For figures that others read. */
static void count(uint64_t *counter)
{
	__atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED);
}

/* --- what there is to do --- */

/* Is there a task that this worker could take? */
static bool any_task(const struct torc__pool *pool)
{
	if (torc__queue_any(pool))
		return true;
	for (unsigned i = 0; i < pool->executor.parallelism; i++)
		if (torc__deque_any(&pool->workers[i].deque))
			return true;
	return false;
}

static uint32_t next_random(struct torc__worker *w)
{
	/* xorshift: Marsaglia, Xorshift RNGs, 2003. */
	w->random ^= w->random << 13;
	w->random ^= w->random >> 17;
	w->random ^= w->random << 5;
	return w->random;
}

static uintptr_t steal_from(struct torc__deque *victim)
{
	uintptr_t task;

	while ((task = torc__deque_steal(victim)) == TORC__DEQUE_AGAIN)
		torc__relax();
	return task;
}

static uintptr_t steal(struct torc__worker *w)
{
	struct torc__pool *pool = w->pool;
	unsigned n = pool->executor.parallelism, i = n > 2 ? next_random(w) % n : w->index + 1;

	for (unsigned left = n; left; left--, i++) {
		struct torc__worker *victim = &pool->workers[i < n ? i : i - n];
		uintptr_t task = victim == w ? 0 : steal_from(&victim->deque);

		if (!task)
			continue;
		count(&w->stolen);
		return task;
	}
	return 0;
}

/* Deep down in tasks that wait, and on a generator's stack, a worker runs only what the running task has added. */
static bool may_help(const struct torc__worker *w, const struct torc__until *until)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);

	return !until || (here > w->help_low && here < w->help_high);
}

/* From outside, and in its own deque, in turn. */
static uintptr_t find_oldest(struct torc__worker *w)
{
	if (w->taken & FAIR_EVERY)
		return torc__queue_take(w);
	return steal_from(&w->deque);
}

static uintptr_t find(struct torc__worker *w, const struct torc__until *until)
{
	uintptr_t task;

	if (torc__unlikely(w->unfit))
		return 0;
	if (torc__unlikely(++w->taken % FAIR_EVERY == 0) && may_help(w, until) &&
	    (task = find_oldest(w)))
		return task;
	if (torc__unlikely(!may_help(w, until)))
		return w->deque.bottom > w->base ? torc__deque_pop(&w->deque) : 0;
	task = torc__deque_pop(&w->deque);
	if (task)
		return task;
	task = torc__queue_take(w);
	return task ? task : steal(w);
}

/* --- parking --- */

/* Inside the guard. */
static void list(struct torc__pool *pool, struct torc__worker *w)
{
	w->idle_prev = NULL;
	w->idle_next = pool->idle;
	if (pool->idle)
		pool->idle->idle_prev = w;
	pool->idle = w;
	w->listed = true;
	__atomic_fetch_add(&pool->parked, 1, __ATOMIC_SEQ_CST);
}

/* Inside the guard. */
static void unlist(struct torc__pool *pool, struct torc__worker *w)
{
	if (w->idle_prev)
		w->idle_prev->idle_next = w->idle_next;
	else
		pool->idle = w->idle_next;
	if (w->idle_next)
		w->idle_next->idle_prev = w->idle_prev;
	w->listed = false;
	__atomic_fetch_sub(&pool->parked, 1, __ATOMIC_SEQ_CST);
}

/* Step a. Who could not take a task now is not to be woken for one. */
static void lie_down(struct torc__worker *w, bool resting, bool useful)
{
	struct torc__pool *pool = w->pool;

	torc__guard_lock(NULL, &pool->idle_guard);
	if (useful)
		list(pool, w);
	pool->resting += resting;
	torc__guard_unlock(&pool->idle_guard);
}

/* It goes on. If somebody else took it out of the list, it counts as searching. */
static void get_up(struct torc__worker *w, bool resting, bool useful)
{
	struct torc__pool *pool = w->pool;

	torc__guard_lock(NULL, &pool->idle_guard);
	w->searching = useful && !w->listed;
	if (w->listed)
		unlist(pool, w);
	pool->resting -= resting;
	torc__guard_unlock(&pool->idle_guard);
}

static struct torc__worker *take_idle(struct torc__pool *pool)
{
	struct torc__worker *w;

	torc__guard_lock(NULL, &pool->idle_guard);
	w = pool->idle;
	if (w) {
		unlist(pool, w);
		count(&pool->wakes);
	}
	torc__guard_unlock(&pool->idle_guard);
	return w;
}

void torc__worker_unpark(struct torc__worker *w)
{
	if (__atomic_exchange_n(&w->token, TORC__NOTIFIED, __ATOMIC_SEQ_CST) == TORC__PARKED_TOKEN)
		torc__thread_wake(&w->token, 1);
}

/* Step 5. When nobody is there after all, somebody may have relied on this search meanwhile. */
static void wake_one(struct torc__pool *pool)
{
	struct torc__worker *w;
	uint32_t none;

	do {
		none = 0;
		if (!__atomic_compare_exchange_n(&pool->searching, &none, 1, false,
						 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			return;
		w = take_idle(pool);
		if (w) {
			torc__worker_unpark(w);
			return;
		}
		__atomic_fetch_sub(&pool->searching, 1, __ATOMIC_SEQ_CST);
	} while (__atomic_load_n(&pool->parked, __ATOMIC_SEQ_CST) && any_task(pool));
}

/* The turn's clock is good enough, and cheaper. */
static uint64_t some_clock(void)
{
	struct torc__loop *loop = torc__loop();

	return loop ? loop->now_ns : torc_now_ns();
}

/* Is there no core for another worker, and is it safe to do without for now? */
static bool crowded(struct torc__pool *pool)
{
	unsigned parked = __atomic_load_n(&pool->parked, __ATOMIC_SEQ_CST);
	unsigned present = __atomic_load_n(&pool->present, __ATOMIC_RELAXED);
	unsigned loops = __atomic_load_n(&torc__loops_awake, __ATOMIC_SEQ_CST);
	uint64_t now, since;

	if (parked >= present || !loops || present - parked + loops < pool->crowd ||
	    !__atomic_load_n(&pool->watching, __ATOMIC_SEQ_CST))
		return false;
	now = some_clock();
	since = __atomic_load_n(&pool->crowded_since, __ATOMIC_RELAXED);
	if (since)
		return now < since + PATIENCE_NS;
	__atomic_store_n(&pool->crowded_since, now, __ATOMIC_RELAXED);
	return true;
}

/* Steps 4 and 5; what changes least is looked at first. */
static void wake_if_useful(struct torc__pool *pool)
{
	if (crowded(pool))
		return;
	__atomic_store_n(&pool->crowded_since, 0, __ATOMIC_RELAXED);
	if (!__atomic_load_n(&pool->searching, __ATOMIC_SEQ_CST))
		wake_one(pool);
}

void torc__pool_notify(struct torc__pool *pool)
{
	full_barrier();
	if (__atomic_load_n(&pool->parked, __ATOMIC_SEQ_CST))
		wake_if_useful(pool);
}

void torc__pool_settle(struct torc__pool *pool)
{
	if (__atomic_load_n(&pool->parked, __ATOMIC_SEQ_CST) && any_task(pool))
		wake_if_useful(pool);
}

/*
 * Whoever has been parked without c before `light` was set is seen from now on: its a came first. Who parks later
 * sees that it is set.
 */
static void become_light(struct torc__pool *pool)
{
	__atomic_store_n(&pool->light, 1, __ATOMIC_SEQ_CST);
	torc__barrier_heavy();
}

void torc__pool_pushed_slowly(struct torc__pool *pool)
{
	if (pool->may_be_light && !__atomic_load_n(&pool->light, __ATOMIC_RELAXED))
		become_light(pool);
	torc__pool_notify(pool);
}

void torc__pool_wake_all(struct torc__pool *pool)
{
	for (unsigned i = 0; i < pool->executor.parallelism; i++)
		torc__worker_unpark(&pool->workers[i]);
}

/* --- searching --- */

static bool may_search(struct torc__worker *w)
{
	struct torc__pool *pool = w->pool;
	uint32_t n = __atomic_load_n(&pool->searching, __ATOMIC_RELAXED);

	do
		if (n >= pool->searching_most)
			return false;
	while (!__atomic_compare_exchange_n(&pool->searching, &n, n + 1, true, __ATOMIC_SEQ_CST,
					    __ATOMIC_RELAXED));
	w->searching = true;
	return true;
}

/* Steps i and j. */
static void stop_searching(struct torc__worker *w)
{
	struct torc__pool *pool = w->pool;

	if (torc__likely(!w->searching))
		return;
	w->searching = false;
	if (__atomic_fetch_sub(&pool->searching, 1, __ATOMIC_SEQ_CST) == 1 &&
	    __atomic_load_n(&pool->parked, __ATOMIC_SEQ_CST) && any_task(pool))
		wake_if_useful(pool);
}

static bool anything_new(const struct torc__worker *w, const struct torc__until *until)
{
	return any_task(w->pool) || torc__until_over(until);
}

/* Look out for so long. Returns whether something has come. */
static bool look_out(struct torc__worker *w, const struct torc__until *until, uint64_t ns)
{
	uint64_t end = torc_now_ns() + ns;

	do {
		for (int i = 0; i < 16; i++) {
			if (anything_new(w, until))
				return true;
			torc__relax();
		}
	} while (torc_now_ns() < end);
	return false;
}

/*
 * Those that may not search, as enough others do, have a short look nevertheless: a worker that parks after each task of
 * a stream would be woken for the next but one.
 */
static bool search(struct torc__worker *w, const struct torc__until *until)
{
	if (!w->pool->may_search || w->unfit || !may_help(w, until))
		return false;
	if (w->searching || may_search(w))
		return look_out(w, until, w->search_ns);
	return look_out(w, until, LOOK_NS);
}

/* All rest, and nothing is left or will come: the pool has ended. Called by the one that has just begun to rest. */
static void end_if_done(struct torc__pool *pool)
{
	bool all;

	if (torc__likely(!__atomic_load_n(&pool->drained, __ATOMIC_SEQ_CST)))
		return;
	torc__guard_lock(NULL, &pool->idle_guard);
	all = pool->resting == pool->present && !any_task(pool); /* nobody gets up in here */
	torc__guard_unlock(&pool->idle_guard);
	if (all && !__atomic_exchange_n(&pool->ended, 1, __ATOMIC_SEQ_CST))
		torc__pool_wake_all(pool);
}

/* Returns whether it was notified. */
static bool sleep_until(struct torc__worker *w, uint64_t deadline_ns)
{
	while (__atomic_load_n(&w->token, __ATOMIC_ACQUIRE) == TORC__PARKED_TOKEN) {
		torc__thread_sleep(&w->token, TORC__PARKED_TOKEN, deadline_ns);
		if (deadline_ns != TORC_NEVER && torc_now_ns() >= deadline_ns)
			return false;
	}
	return true;
}

/* Others are awake: look by itself from time to time. */
static void sleep_and_watch(struct torc__worker *w, uint64_t now, uint64_t deadline_ns)
{
	struct torc__pool *pool = w->pool;

	__atomic_fetch_add(&pool->watching, 1, __ATOMIC_SEQ_CST);
	if (sleep_until(w, torc__earlier(deadline_ns, now + w->watch_ns)))
		w->watch_ns = TORC__WATCH_NS;
	else if (w->watch_ns < WATCH_MOST_NS)
		w->watch_ns *= 2;
	__atomic_fetch_sub(&pool->watching, 1, __ATOMIC_SEQ_CST);
}

static void sleep_until_notified(struct torc__worker *w, bool useful, uint64_t deadline_ns)
{
	struct torc__pool *pool = w->pool;
	uint64_t begin = torc_now_ns();

	count(&w->parks);
	if (useful && __atomic_load_n(&pool->parked, __ATOMIC_SEQ_CST) <
			      __atomic_load_n(&pool->present, __ATOMIC_RELAXED))
		sleep_and_watch(w, begin, deadline_ns);
	else
		(void)sleep_until(w, deadline_ns);
	w->search_ns = torc_now_ns() - begin < NAP_NS ? SEARCH_LONG_NS : SEARCH_SHORT_NS;
}

/* Steps a to e. */
static void park(struct torc__worker *w, const struct torc__until *until)
{
	struct torc__pool *pool = w->pool;
	bool resting = !until, useful = !w->unfit && may_help(w, until);

	__atomic_store_n(&w->token, TORC__PARKED_TOKEN, __ATOMIC_SEQ_CST);
	lie_down(w, resting, useful);
	__atomic_store_n(&pool->crowded_since, 0, __ATOMIC_RELAXED);
	if (w->searching) {
		w->searching = false;
		__atomic_fetch_sub(&pool->searching, 1, __ATOMIC_SEQ_CST);
	}
	if (__atomic_load_n(&pool->light, __ATOMIC_SEQ_CST) &&
	    __atomic_load_n(&pool->parked, __ATOMIC_SEQ_CST) <
		    __atomic_load_n(&pool->present, __ATOMIC_RELAXED))
		torc__barrier_heavy();
	if (resting)
		end_if_done(pool);
	if (!(useful && any_task(pool)) && !torc__until_over(until) &&
	    !__atomic_load_n(&pool->ended, __ATOMIC_SEQ_CST))
		sleep_until_notified(w, useful, until ? until->deadline_ns : TORC_NEVER);
	__atomic_store_n(&w->token, TORC__AWAKE, __ATOMIC_SEQ_CST);
	get_up(w, resting, useful);
}

static bool out_of_time(const struct torc__until *until)
{
	return until && until->deadline_ns != TORC_NEVER && torc_now_ns() >= until->deadline_ns;
}

uintptr_t torc__worker_next(struct torc__worker *w, const struct torc__until *until)
{
	uintptr_t task = 0;
	bool parked = false;

	while (!torc__until_over(until) && !out_of_time(until) && !(task = find(w, until)) &&
	       !__atomic_load_n(&w->pool->ended, __ATOMIC_ACQUIRE)) {
		if (search(w, until))
			continue;
		park(w, until);
		parked = true;
	}
	/* While it was in the list others relied on its being there, or on its watching. */
	if (parked && !w->searching)
		torc__pool_settle(w->pool);
	stop_searching(w);
	return task;
}

/* --- running --- */

void torc__future_refuse(struct torc_future *f, int status)
{
	if (status == -ECANCELED)
		torc_future_cancel(f);
	else if (torc__future_start(f)) {
		torc__future_complete(f, status, NULL);
		return;
	}
	torc_future_put(f);
}

static void run_future(struct torc__worker *w, struct torc_future *f)
{
	struct torc__running running = { f, w->running };
	int refusing = (int32_t)__atomic_load_n(&w->pool->refusing, __ATOMIC_RELAXED);
	void *value = NULL;
	int status;

	if (torc__unlikely(refusing)) {
		torc__future_refuse(f, refusing);
		return;
	}
	if (!torc__future_start(f)) {
		torc_future_put(f);
		return;
	}
	w->running = &running;
	torc__thread_point();
	status = f->fn(f->arg, &value);
	torc__thread_point();
	w->running = running.outer;
	count(&w->tasks);
	torc__future_complete(f, status, value);
}

void torc__task_run(struct torc__worker *w, uintptr_t task)
{
	int64_t base = w->base;

	if (w->deque.bottom < base) /* those below have been taken meanwhile */
		base = w->deque.bottom;
	w->base = w->deque.bottom;
	if (task & TORC__TASK_JOB)
		torc__job_run((struct torc_job *)(task & ~TORC__TASK_JOB));
	else
		run_future(w, (struct torc_future *)task);
	w->base = base;
}

/* --- a worker's life --- */

static void begin(struct torc__worker *w)
{
	const struct torc_pool_options *o = &w->pool->options;
	uintptr_t task;

	if (!o->initializer || o->initializer(o->arg, w->index) >= 0) {
		w->unfit = false;
		return;
	}
	torc__queue_close(w->pool, -EPIPE);
	while ((task = torc__deque_pop(&w->deque))) /* of its initializer */
		if (!(task & TORC__TASK_JOB))
			torc__future_refuse((struct torc_future *)task, -EPIPE);
	torc__pool_wake_all(w->pool);
}

static void end(struct torc__worker *w)
{
	const struct torc_pool_options *o = &w->pool->options;

	if (w->unfit)
		return;
	w->unfit = true;
	if (o->finalizer)
		o->finalizer(o->arg, w->index);
}

void torc__worker_main(struct torc__thread *thread)
{
	struct torc__worker *w = (struct torc__worker *)(void *)thread;
	struct torc__pool *pool = w->pool;
	size_t stack = torc__thread_stack(thread);
	uintptr_t task;

	w->help_high = (uintptr_t)__builtin_frame_address(0);
	w->help_low = w->help_high - stack / 4 * 3;
	begin(w);
	while ((task = torc__worker_next(w, NULL)))
		torc__task_run(w, task);
	end(w);
	torc__futures_done(&w->futures);
	if (__atomic_sub_fetch(&pool->live, 1, __ATOMIC_ACQ_REL) == 0)
		torc__event_set_shared(&pool->over);
}
