#include "executor/internal/future.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "core/internal/loop.h"
#include "core/internal/symbols.h"
#include "core/internal/system.h"
#include "executor/internal/worker.h"

/* --- memory --- */

static void destroy_cache(void *data)
{
	torc__futures_done(data);
	torc__free(data);
}

static struct torc__futures *loop_cache(struct torc__loop *loop)
{
	struct torc__attached *attached = &loop->attached[TORC__ATTACHED_FUTURES];

	if (torc__likely(attached->data != NULL))
		return attached->data;
	attached->data = torc__calloc(1, sizeof(struct torc__futures));
	if (attached->data)
		attached->destroy = destroy_cache;
	return attached->data;
}

/* Any other thread has one from its first future to its end. */
static pthread_key_t thread_key;
static bool have_thread_key;
static __thread struct torc__futures *of_thread;

/* Other destructors may still release futures. */
static void destroy_thread_cache(void *cache)
{
	of_thread = NULL;
	torc__futures_done(cache);
	free(cache);
}

static void make_thread_key(void)
{
	have_thread_key = pthread_key_create(&thread_key, destroy_thread_cache) == 0;
}

static struct torc__futures *new_thread_cache(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct torc__futures *cache;

	/* What would remain of a simulated run is not known from a leak. */
	if (torc__threads_simulated())
		return NULL;
	pthread_once(&once, make_thread_key);
	cache = have_thread_key ? calloc(1, sizeof(*cache)) : NULL;
	if (cache && pthread_setspecific(thread_key, cache) != 0) {
		free(cache);
		return NULL;
	}
	of_thread = cache;
	return cache;
}

/* The calling thread's, or NULL: it has none. */
static struct torc__futures *cache_here(void)
{
	struct torc__loop *loop = torc__loop();
	struct torc__worker *worker;

	if (loop)
		return loop_cache(loop);
	worker = torc__worker_here();
	if (worker)
		return &worker->futures;
	return of_thread && !torc__threads_simulated() ? of_thread : new_thread_cache();
}

static struct torc_future *allocate(void)
{
	struct torc__futures *cache = cache_here();

	if (torc__unlikely(!cache || !cache->count))
		return torc__alloc_lines(sizeof(struct torc_future));
	return cache->futures[--cache->count];
}

struct torc_future *torc__future_new(torc_work_fn *fn, void *arg, struct torc_executor *executor,
				     unsigned references)
{
	struct torc_future *f = allocate();

	if (f)
		torc__future_init(f, fn, arg, executor, references, NULL);
	return f;
}

void torc__futures_done(struct torc__futures *cache)
{
	while (cache->count)
		torc__free(cache->futures[--cache->count]);
}

/* A failure that nobody has looked at. */
static void report_unobserved(const struct torc_future *f)
{
#ifdef TORC_DEBUG
	uint32_t state = torc__future_look(f);
	struct torc__message m = { .len = 0 };

	if (!(state & TORC__EVENT_SET) ||
	    state & (TORC__FUTURE_OBSERVED | TORC__FUTURE_CANCELLED) || f->event.value >= 0)
		return;
	torc__message_text(&m, "torc: a future failed with -");
	torc__message_number(&m, (unsigned)-f->event.value, 10);
	torc__message_text(&m, ", and nobody has looked at it");
	if (f->fn) {
		torc__message_text(&m, ": ");
		torc__symbols_put_last(&m, (const void *)f->fn);
	}
	torc__message_text(&m, "\n");
	torc__message_write(&m);
#else
	(void)f;
#endif
}

void torc__block_leave(struct torc__block *block, uint32_t count)
{
	/* The last ones need no atomic operation: nobody else is left. */
	if (count && (__atomic_load_n(&block->live, __ATOMIC_ACQUIRE) == count ||
		      __atomic_sub_fetch(&block->live, count, __ATOMIC_ACQ_REL) == 0))
		torc__free(block);
}

/* Nobody will complete it: those who were to be called when that happens are not. */
static void drop_hooks(struct torc_future *f)
{
	struct torc__node *node;

	while ((node = torc__queue_grant(&f->event.waiters, 0)))
		((struct torc__hook *)node)->drop((struct torc__hook *)node);
}

static void release(struct torc_future *f)
{
	struct torc__futures *cache;

	if (torc__unlikely(f->event.waiters.first != NULL))
		drop_hooks(f);
	report_unobserved(f);
	if (f->block) {
		torc__block_leave(f->block, 1);
		return;
	}
	cache = cache_here();
	if (cache && cache->count < TORC__FUTURES_MOST)
		cache->futures[cache->count++] = f;
	else
		torc__free(f);
}

struct torc_future *torc_future_get(struct torc_future *f)
{
	uint32_t before =
		__atomic_fetch_add(&f->event.state, TORC__FUTURE_REFERENCE, __ATOMIC_RELAXED);

	torc__check(before < UINT32_MAX - TORC__FUTURE_REFERENCE,
		    "a future has more references than it can count");
	return f;
}

void torc_future_put(struct torc_future *f)
{
	uint32_t state;

	if (!f)
		return;
	/* The only one left: nobody else can change it. */
	state = torc__future_look(f);
	if (TORC__FUTURE_REFERENCES(state) > 1)
		state = __atomic_fetch_sub(&f->event.state, TORC__FUTURE_REFERENCE,
					   __ATOMIC_ACQ_REL);
	if (TORC__FUTURE_REFERENCES(state) == 1)
		release(f);
}

/*
 * Those of one block that nobody else has a reference to leave it together. Returns how many, from the first on.
 */
static size_t put_block(struct torc_future *const *futures, size_t count)
{
	struct torc__block *block = futures[0] ? futures[0]->block : NULL;
	size_t n = 0;

	while (block && n < count && futures[n] && futures[n]->block == block &&
	       TORC__FUTURE_REFERENCES(torc__future_look(futures[n])) == 1 &&
	       !futures[n]->event.waiters.first)
		report_unobserved(futures[n++]);
	torc__block_leave(block, (uint32_t)n);
	return n;
}

void torc_future_put_many(struct torc_future *const *futures, size_t count)
{
	while (count) {
		size_t n = put_block(futures, count);

		if (!n) {
			torc_future_put(futures[0]);
			n = 1;
		}
		futures += n;
		count -= n;
	}
}

/* --- states --- */

/* It is over, and one reference less. */
static inline void end(struct torc_future *f, uint32_t how)
{
	uint32_t state = __atomic_load_n(&f->event.state, __ATOMIC_RELAXED), done;

	do {
		done = (state & ~TORC__FUTURE_RUNNING) | how;
		if (!(state & TORC__EVENT_WATCHED))
			done -= TORC__FUTURE_REFERENCE;
	} while (!__atomic_compare_exchange_n(&f->event.state, &state, done, true, __ATOMIC_ACQ_REL,
					      __ATOMIC_RELAXED));
	if (torc__unlikely(state & TORC__EVENT_WATCHED)) {
		torc__event_wake(&f->event);
		torc_future_put(f);
	} else if (torc__unlikely(!TORC__FUTURE_REFERENCES(done))) {
		release(f);
	}
}

void torc__future_complete(struct torc_future *f, int status, void *value)
{
	f->event.value = status;
	f->value = value;
	end(f, TORC__EVENT_SET);
}

void torc__future_abandon(struct torc_future *f)
{
	end(f, TORC__EVENT_SET | TORC__FUTURE_CANCELLED);
}

bool torc__future_cancel_pending(struct torc_future *f)
{
	uint32_t state = __atomic_load_n(&f->event.state, __ATOMIC_RELAXED);

	do
		if (state & (TORC__EVENT_SET | TORC__FUTURE_RUNNING))
			return false;
	while (!__atomic_compare_exchange_n(&f->event.state, &state,
					    state | TORC__EVENT_SET | TORC__FUTURE_CANCELLED, true,
					    __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
	if (state & TORC__EVENT_WATCHED)
		torc__event_wake(&f->event);
	return true;
}

bool torc_future_cancel(struct torc_future *f)
{
	struct torc_executor *executor = f->executor;
	uint32_t state;

	if (torc__future_cancel_pending(f))
		return true;
	state = torc__future_look(f);
	if (state & TORC__EVENT_SET)
		return state & TORC__FUTURE_CANCELLED;
	return executor && executor->ops->cancel && executor->ops->cancel(executor, f);
}

enum torc_future_state torc_future_state(const struct torc_future *f)
{
	uint32_t state = torc__future_look(f);

	if (state & TORC__EVENT_SET)
		return state & TORC__FUTURE_CANCELLED ? TORC_CANCELLED : TORC_DONE;
	return state & TORC__FUTURE_RUNNING ? TORC_RUNNING : TORC_PENDING;
}

struct torc_event *torc_future_event(struct torc_future *f)
{
	return &f->event;
}

/* --- the side that works --- */

int torc_future_create(struct torc_future **ret_future)
{
	struct torc_future *f = torc__future_new(NULL, NULL, NULL, 1);

	if (!f)
		return -ENOMEM;
	*ret_future = f;
	return 0;
}

bool torc_future_start(struct torc_future *f)
{
	return torc__future_start(f);
}

/*
 * Two may complete a promise at a time, and only one of them may write the result: the one that makes it RUNNING, or
 * finds that it is and takes that away. Whoever looks meanwhile sees it pending once more, which nobody can tell from
 * having looked before, but for a cancellation: so COMPLETING is not a state, but held by the guard.
 */
static int complete(struct torc_future *f, int status, void *value)
{
	uint32_t state;
	int r = 0;

	torc__guard_lock(NULL, &f->event.guard);
	if (!torc__future_start(f) && torc__future_look(f) & TORC__EVENT_SET)
		r = torc__future_look(f) & TORC__FUTURE_CANCELLED ? -ECANCELED : -EALREADY;
	if (r < 0) {
		torc__guard_unlock(&f->event.guard);
		return r;
	}
	f->event.value = status;
	f->value = value;
	state = __atomic_fetch_xor(&f->event.state, TORC__FUTURE_RUNNING | TORC__EVENT_SET,
				   __ATOMIC_ACQ_REL);
	torc__guard_unlock(&f->event.guard);
	if (state & TORC__EVENT_WATCHED)
		torc__event_wake(&f->event);
	return 0;
}

int torc_future_set(struct torc_future *f, void *value)
{
	return complete(f, 0, value);
}

int torc_future_fail(struct torc_future *f, int error)
{
	torc__check(error < 0, "a future is failed with no error");
	return complete(f, error, NULL);
}

torc_work_fn *torc_future_work(const struct torc_future *f, void **ret_arg)
{
	*ret_arg = f->arg;
	return f->fn;
}

void torc_future_run(struct torc_future *f)
{
	void *value = NULL;
	int status;

	if (!torc__future_start(f)) {
		torc_future_put(f);
		return;
	}
	status = f->fn(f->arg, &value);
	torc__future_complete(f, status, value);
}

/* --- the side that waits --- */

int torc__future_read(struct torc_future *f, void **ret_value)
{
	int status = torc__future_status(f);

	if (status < 0) {
		__atomic_fetch_or(&f->event.state, TORC__FUTURE_OBSERVED, __ATOMIC_RELAXED);
		return status;
	}
	if (ret_value)
		*ret_value = f->value;
	return status;
}

int torc_future_try(struct torc_future *f, void **ret_value)
{
	return torc__future_over(f) ? torc__future_read(f, ret_value) : -EINPROGRESS;
}

int torc_await_until(struct torc_future *f, uint64_t deadline_ns, void **ret_value)
{
	int r = torc__event_await(&f->event, deadline_ns, f);

	return r < 0 ? r : torc__future_read(f, ret_value);
}

int torc_await(struct torc_future *f, void **ret_value)
{
	return torc_await_until(f, TORC_NEVER, ret_value);
}

/* --- callbacks --- */

struct callback {
	struct torc__hook hook; /* first */
	struct torc_future *future;
	torc_future_fn *fn;
	void *arg;
};

static void call(struct torc__hook *hook)
{
	struct callback *c = (struct callback *)hook;

	c->fn(c->future, c->arg); /* who completes or cancels it has a reference */
	torc__free(c);
}

static void drop_callback(struct torc__hook *hook)
{
	torc__free(hook);
}

int torc_future_on_done(struct torc_future *f, torc_future_fn *fn, void *arg)
{
	struct callback *c = torc__malloc(sizeof(*c));

	if (!c)
		return -ENOMEM;
	*c = (struct callback){
		.hook = { .fire = call, .drop = drop_callback }, .future = f, .fn = fn, .arg = arg
	};
	__atomic_fetch_or(&f->event.state, TORC__FUTURE_OBSERVED, __ATOMIC_RELAXED);
	if (!torc__event_hook(&f->event, &c->hook))
		call(&c->hook);
	return 0;
}
