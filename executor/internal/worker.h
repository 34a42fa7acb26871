/*
 * executor/internal/worker.h - the threads of a pool: what they run next, and how they sleep.
 *
 * A worker that finds nothing searches for a while, and then parks. Not all that have nothing to do search: a search costs
 * a core. What must hold is that a task never waits while a worker sleeps and nobody searches:
 *
 *	who adds a task					a worker that parks
 *	1  make it visible				a  put itself into the list, parked++
 *	2  parked? if not, done				b  searching--, if it did
 *	3  full barrier					c  heavy barrier
 *	4  searching? then done				d  look for tasks once more; if there are any, undo a
 *	5  searching: 0 -> 1, wake one			e  sleep
 *
 *	a searcher that has found a task
 *	i  searching--
 *	j  was it the last? then look for more tasks; if there are any, as 2 to 5
 *
 * Between 1 and 2 is no barrier on the processor: c makes one of them (membarrier(2)). If it comes before 2, then 2 sees a;
 * else d sees 1. That is one system call of whoever parks, who has nothing better to do, for some 7 ns in each
 * fork. Who is sent on by 4 had read `searching` before b or i, which are atomic operations, and 1 came before that
 * (3): so d or j sees the task. One wake-up at a time is under way, and who is woken searches: it is its turn to wake
 * the next one, if there is more to do. So a thousand tasks wake no thousand workers.
 *
 * Only what tasks add is that cheap, and that often. Who submits from outside has a full barrier in 1, and so has
 * a worker that takes tasks from there into its deque. So c is left out until a task of the pool forks or submits
 * for the first time (`light`), and when all other workers are parked. Where there is no membarrier, 3 comes before 2.
 *
 * A core that a loop needs is no good to a worker. So steps 4 and 5 are left out while one worker is awake and there
 * are, with the loops that are awake, as many as there are cores (or workers, if these are more). A loop that goes to sleep
 * looks whether there is a task for the core that it leaves (torc__on_nap), and a worker that goes to sleep does in d.
 * Should neither happen, as the one that is awake blocks: whoever adds tasks wakes one after 200 us all the same; and
 * nothing is put off unless a worker watches, which is one that parked while another was awake. It looks by itself after 200
 * us, then after twice that, and so on up to 10 ms.
 *
 * Token of a worker
 *
 *	          park                    unpark
 *	AWAKE ----------> PARKED -----------------> NOTIFIED
 *	  ^  ^               |                         |
 *	  |  +---------------+ it found something      |
 *	  +--------------------------------------------+ it goes on
 */
#ifndef TORC_EXECUTOR_INTERNAL_WORKER_H
#define TORC_EXECUTOR_INTERNAL_WORKER_H

#include <torc/executor/fork.h>
#include <torc/executor/pool.h>

#include "core/internal/thread.h"
#include "executor/internal/deque.h"
#include "executor/internal/future.h"
#include "executor/internal/lane.h"

/* A task is a future, or a job with this bit. */
#define TORC__TASK_JOB ((uintptr_t)1)

/* See above: at first. */
#define TORC__WATCH_NS 200000u

enum torc__token {
	TORC__PARKED_TOKEN, /* 0: what it sleeps on */
	TORC__NOTIFIED,
	TORC__AWAKE,
};

/* A future that a worker runs; innermost first. */
struct torc__running {
	const struct torc_future *future;
	struct torc__running *outer;
};

/* A task that waits, and what for: until *word has one of `bits`. */
struct torc__until {
	const uint32_t *word;
	uint32_t bits;
	uint64_t deadline_ns;
};

static inline bool torc__until_over(const struct torc__until *until)
{
	return until && __atomic_load_n(until->word, __ATOMIC_ACQUIRE) & until->bits;
}

/* For tasks from outside: when more threads submit, some share a lane. */
#define TORC__LANES 16u

struct torc__worker {
	struct torc__thread thread; /* first */
	struct torc__pool *pool;
	unsigned index;
	uint32_t random;
	unsigned lane;      /* where it looks for tasks from outside first */
	unsigned taken;     /* tasks; now and then it looks at the queue first */
	uint64_t watch_ns;  /* how long it sleeps while another worker is awake */
	bool searching;     /* it counts in pool->searching */
	uint64_t search_ns; /* for how long */
	bool unfit; /* it runs no tasks: before its initializer has succeeded, and from its finalizer on */
	uintptr_t help_low,
		help_high; /* it helps others only while it stands in here, on its stack */
	struct torc__running *running;
	int64_t base; /* of the deque when the running task began: what is above was added since */
	struct torc__futures futures;
	uint64_t tasks, stolen, parks; /* others read them */

	struct torc__deque deque; /* on cache lines of its own */

	_Alignas(64) uint32_t token;
	bool listed; /* the rest: under pool->idle_guard */
	struct torc__worker *idle_next, *idle_prev;
};

struct torc__pool {
	struct torc_executor executor; /* first */
	struct torc__worker *workers;  /* [executor.parallelism] */
	struct torc_pool_options options;
	struct torc__pool *next; /* all pools: pool.c */
	unsigned crowd;          /* so many may be awake, with the loops */
	bool may_search;         /* there is a core to spare */
	unsigned searching_most;
	bool may_be_light; /* there is a heavy barrier */

	_Alignas(64) uint32_t searching;
	_Alignas(64) uint32_t parked; /* workers in the list */
	uint32_t watching;            /* workers that sleep for a limited time */
	uint64_t crowded_since;       /* a wake-up was put off; 0: none is */
	uint32_t light;    /* c is done, and so a worker that adds a task needs no barrier */
	uint32_t closed;   /* it takes no more tasks */
	uint32_t drained;  /* and nobody is adding one any more */
	uint32_t refusing; /* a status for what was not started: -ECANCELED or -EPIPE; as int32_t */
	uint32_t ended;    /* all is done, and its workers are to end */

	_Alignas(64) struct torc__guard idle_guard;
	struct torc__worker *idle; /* the latest first: it has the warmest cache */
	uint32_t resting;          /* of them, those without a task that waits */
	uint32_t present;          /* workers that were started */
	uint64_t wakes;

	/* With a limit for tasks from outside; under its guard. */
	_Alignas(64) struct torc__guard queue_guard;
	size_t queue_used;             /* places that are taken or reserved */
	struct torc__queue submitters; /* in line for room */

	uint32_t lanes_used; /* one bit each */
	struct torc__lane lanes[TORC__LANES];

	_Alignas(64) uint32_t live; /* workers that have not ended */
	struct torc_event over;     /* none is left */
};

/* The calling thread, if it is a worker; or NULL. */
void torc__worker_main(struct torc__thread *thread);

static inline struct torc__worker *torc__worker_here(void)
{
	struct torc__thread *t = torc__thread_current;

	return t && t->run == torc__worker_main ? (struct torc__worker *)(void *)t : NULL;
}

/* Steps 3 to 5. */
void torc__pool_notify(struct torc__pool *pool);

/* A core is free: is there a task for it? */
void torc__pool_settle(struct torc__pool *pool);

void torc__pool_pushed_slowly(struct torc__pool *pool);

/* Steps 2 to 5, after a worker has added a task of its own to its deque. */
static inline void torc__pool_pushed(struct torc__pool *pool)
{
	__asm__ volatile("" ::: "memory");
	if (torc__unlikely(!__atomic_load_n(&pool->light, __ATOMIC_ACQUIRE) ||
			   __atomic_load_n(&pool->parked, __ATOMIC_RELAXED)))
		torc__pool_pushed_slowly(pool);
}

/* Steps 2 to 5, after a task was made visible, and a full barrier. */
static inline void torc__pool_put(struct torc__pool *pool)
{
	if (torc__unlikely(__atomic_load_n(&pool->parked, __ATOMIC_SEQ_CST)))
		torc__pool_notify(pool);
}

/* Let a worker look at what it waits for. Any thread; its memory must last until this has returned. */
void torc__worker_unpark(struct torc__worker *worker);

/* Wake all that are parked: something about the pool has changed. */
void torc__pool_wake_all(struct torc__pool *pool);

/*
 * The next task; 0 when `until` is over, or its deadline has passed, or the pool has ended. Waits for one of these.
 * `until` may be NULL.
 */
uintptr_t torc__worker_next(struct torc__worker *worker, const struct torc__until *until);

void torc__task_run(struct torc__worker *worker, uintptr_t task);

/* fork.c: what a thief does. */
void torc__job_run(struct torc_job *job);

/* queue.c: tasks from outside. */

/*
 * Add futures: returns how many of them, or an error. Waits for room if the pool is made so.
 */
int torc__queue_add(struct torc__pool *pool, struct torc_future *const *futures, size_t count);

/* Not 0: the calling thread is in a callback, and may not wait; there is room for what it adds. */
extern __thread unsigned torc__queue_no_wait;

/* The oldest, or 0; some more go into the worker's deque. */
uintptr_t torc__queue_take(struct torc__worker *worker);

/* How many wait to be taken, as it was. */
size_t torc__queue_count(const struct torc__pool *pool);

/* No more are added; with a status, those that wait end with it: -ECANCELED or -EPIPE. */
void torc__queue_close(struct torc__pool *pool, int status);

/* 0, or what a submitter is told: -ESHUTDOWN or -EPIPE. */
int torc__queue_closed_status(const struct torc__pool *pool);

/* A future that was not started, and will not be. Takes the reference. */
void torc__future_refuse(struct torc_future *f, int status);

static inline bool torc__queue_any(const struct torc__pool *pool)
{
	uint32_t used = __atomic_load_n(&pool->lanes_used, __ATOMIC_RELAXED);

	for (unsigned i = 0; used >> i; i++)
		if (used >> i & 1 && torc__lane_count(&pool->lanes[i]))
			return true;
	return false;
}

#endif
