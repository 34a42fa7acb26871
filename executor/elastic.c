/*
 * executor/elastic.c - an executor for calls that block: a thread each, as long as there are not too many.
 *
 *	a future comes		an idle thread is there: it gets it, the one that became idle last
 *				fewer than threads_max: a new one gets it
 *				else it waits in the queue
 *	a thread is done	it takes the oldest from the queue; or it is idle, and ends after idle_ns
 *
 * A thread that ends joins the one that ended before it; the last one is joined when the executor is destroyed.
 */
#include <torc/executor/offload.h>

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "core/internal/system.h"
#include "executor/internal/elastic.h"
#include "executor/internal/worker.h"

#define THREADS_DEFAULT 512u
#define THREADS_MOST    32768u
#define IDLE_DEFAULT_NS TORC_SECONDS(5)

/* Into how many parts a map is cut, which is a guess: what blocks wants more than there are cores. */
#define PARALLELISM_MOST 32u

#define NICE_MOST 19

struct elastic_thread {
	struct torc__thread thread; /* first */
	struct torc__elastic *elastic;
	struct elastic_thread *next; /* of the idle ones */
	struct torc_future *given;   /* to be run next */
	uint32_t awake;              /* what an idle one sleeps on */
	bool idle;
};

struct torc__elastic {
	struct torc_executor executor; /* first */
	struct torc_elastic_options options;
	char name[16];

	struct torc__guard guard;
	struct torc__lane queue;     /* under the guard too, also to take from it */
	struct elastic_thread *idle; /* the latest first */
	struct elastic_thread *dead; /* has ended, and is to be joined */
	unsigned threads, started;
	bool closed;
	bool orphaned; /* the last thread frees it */
	struct torc_event over;
};

/* --- threads --- */

static void bury(struct elastic_thread *t)
{
	if (!t)
		return;
	torc__thread_join(&t->thread);
	torc__free(t);
}

/* Inside the guard. */
static void unlist_idle(struct torc__elastic *e, struct elastic_thread *t)
{
	struct elastic_thread **link = &e->idle;

	while (*link != t)
		link = &(*link)->next;
	*link = t->next;
	t->idle = false;
}

/* It is out of the list. Its memory may be gone as soon as it knows. */
static void wake_idle(struct elastic_thread *t)
{
	__atomic_store_n(&t->awake, 1, __ATOMIC_RELEASE);
	torc__thread_wake(&t->awake, 1);
}

/* Inside the guard: the oldest in the queue, or NULL. */
static struct torc_future *take_queued(struct torc__elastic *e)
{
	struct torc_future *f;

	return torc__lane_take(&e->queue, &f, 1, 1) ? f : NULL;
}

/* Inside the guard: there is something to run, or the thread is to end, or it is in the list of idle ones. */
static void look_for_work(struct torc__elastic *e, struct elastic_thread *t)
{
	t->given = take_queued(e);
	if (t->given || e->closed)
		return;
	t->awake = 0;
	t->idle = true;
	t->next = e->idle;
	e->idle = t;
}

/* Returns false when somebody has taken it out of the list, and is about to wake it. */
static bool stop_waiting(struct torc__elastic *e, struct elastic_thread *t)
{
	bool idle;

	torc__guard_lock(NULL, &e->guard);
	idle = t->idle;
	if (idle)
		unlist_idle(e, t);
	torc__guard_unlock(&e->guard);
	return idle;
}

static void wait_for_work(struct torc__elastic *e, struct elastic_thread *t)
{
	uint64_t idle_ns = e->options.idle_ns;
	uint64_t until = idle_ns == TORC_NEVER ? TORC_NEVER : torc__later(torc_now_ns(), idle_ns);

	while (!__atomic_load_n(&t->awake, __ATOMIC_ACQUIRE)) {
		torc__thread_sleep(&t->awake, 0, until);
		if (until == TORC_NEVER || torc_now_ns() < until)
			continue;
		if (stop_waiting(e, t))
			return;
		until = TORC_NEVER;
	}
}

static struct torc_future *next_work(struct torc__elastic *e, struct elastic_thread *t)
{
	bool idle;

	torc__guard_lock(NULL, &e->guard);
	look_for_work(e, t);
	idle = t->idle;
	torc__guard_unlock(&e->guard);
	if (idle)
		wait_for_work(e, t);
	return t->given;
}

static void free_elastic(struct torc__elastic *e)
{
	bury(e->dead);
	torc__lane_done(&e->queue);
	torc__free(e);
}

/* It was closed, and no thread is left. */
static void end_last(struct torc__elastic *e)
{
	if (e->orphaned)
		free_elastic(e);
	else
		torc__event_set_shared(&e->over);
}

/* Inside the guard; torc_elastic_threads is not. */
static unsigned set_threads(struct torc__elastic *e, unsigned threads)
{
	__atomic_store_n(&e->threads, threads, __ATOMIC_RELAXED);
	return threads;
}

/* Returns false: there is something to do after all, for what came when it had left the list counts on it. */
static bool thread_end(struct torc__elastic *e, struct elastic_thread *t)
{
	struct elastic_thread *before;
	bool last;

	torc__thread_point(); /* a submitter may come in between */
	torc__guard_lock(NULL, &e->guard);
	t->given = take_queued(e);
	if (t->given) {
		torc__guard_unlock(&e->guard);
		return false;
	}
	before = e->dead;
	e->dead = t;
	last = set_threads(e, e->threads - 1) == 0 && e->closed;
	torc__guard_unlock(&e->guard);
	bury(before);
	if (last)
		end_last(e);
	return true;
}

static void thread_main(struct torc__thread *thread)
{
	struct elastic_thread *t = (struct elastic_thread *)(void *)thread;
	struct torc__elastic *e = t->elastic;
	struct torc_future *f;

	if (e->options.nice)
		(void)!nice(e->options.nice); /* of this thread alone, unlike POSIX (nice(2)) */
	do {
		for (f = t->given; f; f = next_work(e, t)) {
			t->given = NULL;
			torc__thread_point();
			torc_future_run(f);
		}
	} while (!thread_end(e, t));
}

/* A thread for a future; it counts already. Returns an error. */
static int start_thread(struct torc__elastic *e, struct torc_future *f, unsigned number)
{
	struct elastic_thread *t = torc__calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	t->elastic = e;
	t->given = f;
	t->thread.run = thread_main;
	t->thread.stack_bytes = e->options.stack_bytes;
	t->thread.cpu = -1;
	torc__thread_set_name(&t->thread, e->name, number);
	r = torc__thread_start(&t->thread);
	if (r < 0)
		torc__free(t);
	return r;
}

/* --- the executor's side --- */

static struct torc__elastic *elastic_of(struct torc_executor *executor)
{
	return (struct torc__elastic *)executor;
}

enum place { TO_IDLE, TO_NEW, TO_QUEUE };

/* Where a future goes, inside the guard; or an error. */
static int place(struct torc__elastic *e, struct torc_future *f, struct elastic_thread **ret_idle)
{
	struct elastic_thread *t = e->idle;

	if (e->closed)
		return -ESHUTDOWN;
	if (t) {
		unlist_idle(e, t);
		t->given = f;
		*ret_idle = t;
		return TO_IDLE;
	}
	if (e->threads < e->options.threads_max) {
		set_threads(e, e->threads + 1);
		e->started++;
		return TO_NEW;
	}
	if (e->options.queue_max && !torc__queue_no_wait &&
	    torc__lane_count(&e->queue) >= e->options.queue_max)
		return -EAGAIN;
	if (!torc__lane_reserve(&e->queue, 1))
		return -ENOMEM;
	torc__lane_put(&e->queue, &f, 1);
	return TO_QUEUE;
}

/* One after the other, outside of the guard: who is told of it may do anything. */
static void refuse_queued(struct torc__elastic *e, int status)
{
	struct torc_future *f;

	do {
		torc__guard_lock(NULL, &e->guard);
		f = take_queued(e);
		torc__guard_unlock(&e->guard);
		if (f)
			torc__future_refuse(f, status);
	} while (f);
}

/*
 * No thread could be started for a future: it waits for one that there is. When there is none, nor do those have one that
 * have been queued in the hope for this one.
 */
static int do_without(struct torc__elastic *e, struct torc_future *f, int error)
{
	bool last, none;
	int r = error;

	torc__guard_lock(NULL, &e->guard);
	none = set_threads(e, e->threads - 1) == 0;
	last = none && e->closed;
	if (!none && !e->closed && torc__lane_reserve(&e->queue, 1)) {
		torc__lane_put(&e->queue, &f, 1);
		r = 0;
	}
	torc__guard_unlock(&e->guard);
	if (none)
		refuse_queued(e, error);
	if (last)
		end_last(e);
	return r;
}

static int submit_one(struct torc__elastic *e, struct torc_future *f)
{
	struct elastic_thread *idle = NULL;
	unsigned number;
	int r;

	torc__guard_lock(NULL, &e->guard);
	r = place(e, f, &idle);
	number = e->started - 1;
	torc__guard_unlock(&e->guard);
	if (r == TO_IDLE) {
		wake_idle(idle);
	} else if (r == TO_NEW) {
		r = start_thread(e, f, number);
		if (r < 0)
			r = do_without(e, f, r);
	}
	return r < 0 ? r : 0;
}

static int submit(struct torc_executor *executor, struct torc_future *const *futures, size_t count)
{
	size_t n = 0;
	int r = 0;

	while (n < count && n < INT_MAX && !r)
		if (!(r = submit_one(elastic_of(executor), futures[n])))
			n++;
	return n ? (int)n : r;
}

/* Take no more. Returns whether no thread is left to tell of the end. */
static bool close_it(struct torc__elastic *e, bool orphaned)
{
	struct elastic_thread *idle, *next;
	bool first;

	torc__guard_lock(NULL, &e->guard);
	first = !e->closed;
	e->closed = true;
	e->orphaned = orphaned;
	idle = e->idle;
	e->idle = NULL;
	for (struct elastic_thread *t = idle; t; t = t->next)
		t->idle = false;
	first = first && !e->threads;
	torc__guard_unlock(&e->guard);
	for (; idle; idle = next) {
		next = idle->next;
		wake_idle(idle);
	}
	return first;
}

static bool is_own_thread(const struct torc__elastic *e)
{
	struct torc__thread *t = torc__thread_current;

	return t && t->run == thread_main && ((struct elastic_thread *)(void *)t)->elastic == e;
}

static int shut_down(struct torc_executor *executor, unsigned flags)
{
	struct torc__elastic *e = elastic_of(executor);

	if (close_it(e, false))
		torc__event_set_shared(&e->over);
	if (flags & TORC_CANCEL_PENDING)
		refuse_queued(e, -ECANCELED);
	if (flags & TORC_NO_WAIT)
		return 0;
	if (is_own_thread(e))
		return -EDEADLK;
	return torc__event_await(&e->over, TORC_NEVER, NULL);
}

static void destroy(struct torc_executor *executor)
{
	free_elastic(elastic_of(executor));
}

void torc__elastic_abandon(struct torc_executor *executor)
{
	struct torc__elastic *e = elastic_of(executor);

	refuse_queued(e, -ECANCELED);
	if (close_it(e, true))
		free_elastic(e);
}

static const struct torc_executor_ops elastic_ops = {
	.name = "elastic",
	.submit = submit,
	.shutdown = shut_down,
	.destroy = destroy,
};

int torc_elastic_create(const struct torc_elastic_options *options, struct torc_executor **ret)
{
	const struct torc_elastic_options defaults = { .threads_max = 0 };
	const struct torc_elastic_options *o = options ? options : &defaults;
	struct torc__elastic *e;

	if (o->threads_max > THREADS_MOST ||
	    (o->stack_bytes && o->stack_bytes < TORC__THREAD_STACK_MIN) || o->nice < 0 ||
	    o->nice > NICE_MOST)
		return -EINVAL;
	e = torc__alloc_lines(sizeof(*e));
	if (!e)
		return -ENOMEM;
	memset(e, 0, sizeof(*e));
	e->options = *o;
	if (!o->threads_max)
		e->options.threads_max = THREADS_DEFAULT;
	if (!o->idle_ns)
		e->options.idle_ns = IDLE_DEFAULT_NS;
	strncpy(e->name, o->name ? o->name : "offload", sizeof(e->name) - 1);
	e->guard = (struct torc__guard)TORC__GUARD_INIT_SHARED;
	torc__event_init_shared(&e->over, TORC__EVENT_EXPECTED);
	e->executor.ops = &elastic_ops;
	e->executor.parallelism = e->options.threads_max < PARALLELISM_MOST ? e->options.threads_max
									    : PARALLELISM_MOST;
	*ret = &e->executor;
	return 0;
}

unsigned torc_elastic_threads(const struct torc_executor *executor)
{
	const struct torc__elastic *e = (const struct torc__elastic *)executor;

	torc__check(executor->ops == &elastic_ops,
		    "torc_elastic_threads of another kind of executor");
	return __atomic_load_n(&e->threads, __ATOMIC_RELAXED);
}
