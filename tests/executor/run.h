/*
 * tests/executor/run.h - what the tests of executor share: bodies that run in a fiber, on a thread and in a task; gates
 * that hold tasks; futures in every state; something that happens once somebody waits.
 *
 * What is tested, and how, follows the tests of Python's concurrent.futures (Lib/test/test_concurrent_futures).
 */
#ifndef TESTS_EXECUTOR_RUN_H
#define TESTS_EXECUTOR_RUN_H

#include "tests/core/run.h"

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include <torc/executor/executor.h>
#include <torc/executor/offload.h>
#include <torc/executor/pool.h>

#define POOL(...)    (&(struct torc_pool_options){ __VA_ARGS__ })
#define ELASTIC(...) (&(struct torc_elastic_options){ __VA_ARGS__ })

#define ANSWER    42
#define UNTOUCHED ARG(-12345)

/* A moment that comes soon, and one that has long passed. */
#define SOON (torc_now_ns() + TORC_MS(3))
#define PAST ((uint64_t)1)

/* ---- threads ---- */

/* Of this process, without those of the kernel's ring. */
static inline int count_threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	int n = 0;

	check(dir);
	while ((entry = readdir(dir))) {
		char path[300], name[32] = "";
		FILE *file;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
		file = fopen(path, "re");
		if (!file)
			continue; /* it has just ended */
		if (fgets(name, sizeof(name), file) && strncmp(name, "iou-", 4) != 0)
			n++;
		fclose(file);
	}
	closedir(dir);
	return n;
}

/* So many are left. A thread that was joined can be seen for a moment longer; one that was leaked, until the suite's
 * timeout. */
static inline void check_threads(int expected)
{
	while (count_threads() != expected)
		sched_yield();
}

/* Does that thread sleep in the kernel? */
static inline bool asleep(pid_t tid)
{
	char path[64], text[512] = "";
	const char *state;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)tid);
	file = fopen(path, "re");
	check(file);
	check(fgets(text, sizeof(text), file));
	fclose(file);
	state = strrchr(text, ')');
	return state && state[1] == ' ' && state[2] == 'S';
}

static inline void take(sem_t *sem)
{
	while (sem_wait(sem) < 0)
		check_eq(errno, EINTR);
}

static inline pthread_t start_thread(void *(*fn)(void *), void *arg)
{
	pthread_t thread;

	check_eq(pthread_create(&thread, NULL, fn, arg), 0);
	return thread;
}

static inline void join_thread(pthread_t thread)
{
	check_eq(pthread_join(thread, NULL), 0);
}

/* fn(arg) on another thread, once this one sleeps: it waits for something. */
struct later {
	void (*fn)(void *arg);
	void *arg;
	pid_t waiter;
	pthread_t thread;
	pid_t tid; /* where fn runs */
};

static inline void *call_later(void *arg)
{
	struct later *l = arg;

	for (int seen = 0; seen < 20; seen++) { /* so often: not just over a page fault */
		if (!asleep(l->waiter))
			seen = 0;
		sched_yield();
	}
	l->tid = gettid();
	l->fn(l->arg);
	return NULL;
}

static inline void later(struct later *l, void (*fn)(void *arg), void *arg)
{
	*l = (struct later){ .fn = fn, .arg = arg, .waiter = gettid() };
	l->thread = start_thread(call_later, l);
}

static inline void later_is_over(struct later *l)
{
	join_thread(l->thread);
}

/* ---- bodies ---- */

typedef void body_fn(void);

static inline int call_body(void *arg)
{
	body_fn *const *body = arg;

	(*body)();
	return 0;
}

static inline void *call_body_on_thread(void *arg)
{
	(void)call_body(arg);
	return NULL;
}

static inline int call_body_as_task(void *arg, void **ret_value)
{
	*ret_value = arg;
	return call_body(arg);
}

static inline void in_a_fiber(body_fn *body)
{
	run(call_body, &body);
}

static inline void in_a_thread(body_fn *body)
{
	join_thread(start_thread(call_body_on_thread, &body));
}

/* A task of a pool that has nothing else to do. */
static inline void in_a_task(body_fn *body)
{
	struct torc_executor *pool;
	struct torc_future *f;
	void *value;

	check_eq(torc_pool_create(&(struct torc_pool_options){ .workers = 2, .name = "outer" },
				  &pool),
		 0);
	check_eq(torc_submit(pool, call_body_as_task, &body, &f), 0);
	check_eq(torc_await(f, &value), 0);
	check(value == &body);
	torc_future_put(f);
	torc_executor_destroy(pool);
}

/*
 * No thread is left behind. Counted before the first body of a program: between two of them a thread that was joined may
 * still be seen, also when the count just before has missed it, for the kernel ends its list where one goes.
 */
static inline void without_leaks(void (*in)(body_fn *body), body_fn *body)
{
	static int before;

	if (!before)
		before = count_threads();
	in(body);
	check_threads(before);
}

static inline void with_leaks(void (*in)(body_fn *body), body_fn *body)
{
	in(body);
}

/* A test of its own for each of the three; where programs are slow to start, one for all of them. */
#define EVERYWHERE(suite, name) EVERYWHERE_AND(without_leaks, suite, name)

#if defined(__SANITIZE_ADDRESS__) || defined(TORC_DEBUG)
#define EVERYWHERE_TESTS(how, suite, name)         \
	Test(suite, name##_everywhere)             \
	{                                          \
		how(in_a_fiber, suite##__##name);  \
		how(in_a_thread, suite##__##name); \
		how(in_a_task, suite##__##name);   \
	}
#else
#define EVERYWHERE_TESTS(how, suite, name)         \
	Test(suite, name##_in_a_fiber)             \
	{                                          \
		how(in_a_fiber, suite##__##name);  \
	}                                          \
	Test(suite, name##_in_a_thread)            \
	{                                          \
		how(in_a_thread, suite##__##name); \
	}                                          \
	Test(suite, name##_in_a_task)              \
	{                                          \
		how(in_a_task, suite##__##name);   \
	}
#endif

#define EVERYWHERE_AND(how, suite, name)   \
	static void suite##__##name(void); \
	EVERYWHERE_TESTS(how, suite, name) \
	static void suite##__##name(void)

/* A trap, whatever it says. */
static inline void check_trap(const struct died *d)
{
	if (d->signal != SIGABRT || strncmp(d->text, "torc: ", 6) != 0) {
		fprintf(stderr, "expected a trap, got signal %d, exit %d: %s\n", d->signal,
			d->status, d->text);
		abort();
	}
}

/* ---- what tasks do ---- */

/* Hand over the argument. */
static inline int give(void *arg, void **ret_value)
{
	*ret_value = arg;
	return 0;
}

/* End with that status. */
static inline int end_with(void *arg, void **ret_value)
{
	(void)ret_value;
	return (int)VALUE(arg);
}

static inline int count_up(void *arg, void **ret_value)
{
	atomic_int *count = arg;

	(void)ret_value;
	atomic_fetch_add(count, 1);
	return 0;
}

/* Tasks that are held: known to have begun, and not to go on before they are let. */
struct gate {
	sem_t entered, open;
	atomic_int begun, over;
};

static inline void gate_init(struct gate *g)
{
	memset(g, 0, sizeof(*g));
	check_eq(sem_init(&g->entered, 0, 0), 0);
	check_eq(sem_init(&g->open, 0, 0), 0);
}

static inline void gate_done(struct gate *g)
{
	sem_destroy(&g->entered);
	sem_destroy(&g->open);
}

static inline void pass_gate(struct gate *g)
{
	atomic_fetch_add(&g->begun, 1);
	check_eq(sem_post(&g->entered), 0);
	take(&g->open);
	atomic_fetch_add(&g->over, 1);
}

static inline int hold(void *arg, void **ret_value)
{
	pass_gate(arg);
	*ret_value = ARG(ANSWER);
	return 0;
}

/* Until so many more have begun. */
static inline void gate_wait(struct gate *g, int count)
{
	for (int i = 0; i < count; i++)
		take(&g->entered);
}

static inline void gate_open(struct gate *g, int count)
{
	for (int i = 0; i < count; i++)
		check_eq(sem_post(&g->open), 0);
}

static inline void open_one(void *gate)
{
	gate_open(gate, 1);
}

/* In which order things happened. */
struct notes {
	atomic_int count;
	int seen[128];
};

static inline void note_down(struct notes *n, int who)
{
	int i = atomic_fetch_add(&n->count, 1);

	check_lt(i, (int)COUNT(n->seen));
	n->seen[i] = who;
}

/* ---- when memory is short ---- */

static inline size_t address_space(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	size_t pages = 0;

	check(file);
	check_eq(fscanf(file, "%zu", &pages), 1);
	fclose(file);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* For the time of a call no more than so many bytes of addresses can be had. Not under ASan, which needs them all. */
#define WITHOUT_MEMORY(bytes, call)                          \
	do {                                                 \
		struct rlimit before_, few_;                 \
		check_eq(getrlimit(RLIMIT_AS, &before_), 0); \
		few_ = before_;                              \
		few_.rlim_cur = address_space() + (bytes);   \
		check_eq(setrlimit(RLIMIT_AS, &few_), 0);    \
		call;                                        \
		check_eq(setrlimit(RLIMIT_AS, &before_), 0); \
	} while (0)

/* ---- executors and futures ---- */

static inline struct torc_executor *pool_with(const struct torc_pool_options *options)
{
	struct torc_executor *pool = NULL;

	check_eq(torc_pool_create(options, &pool), 0);
	check(pool);
	return pool;
}

static inline struct torc_executor *elastic_with(const struct torc_elastic_options *options)
{
	struct torc_executor *executor = NULL;

	check_eq(torc_elastic_create(options, &executor), 0);
	check(executor);
	return executor;
}

static inline struct torc_future *submit(struct torc_executor *executor, torc_work_fn *fn,
					 void *arg)
{
	struct torc_future *f = NULL;

	check_eq(torc_submit(executor, fn, arg, &f), 0);
	check(f);
	return f;
}

/* A task that holds a worker: it has begun. */
static inline struct torc_future *submit_held(struct torc_executor *executor, struct gate *g)
{
	struct torc_future *f = submit(executor, hold, g);

	gate_wait(g, 1);
	return f;
}

static inline struct torc_future *promise(void)
{
	struct torc_future *f = NULL;

	check_eq(torc_future_create(&f), 0);
	check(f);
	return f;
}

/* It ends like that; and it is put. */
static inline void expect(struct torc_future *f, int status, void *value)
{
	void *got = UNTOUCHED;

	check_eq(torc_await(f, &got), status);
	check_eq(VALUE(got), VALUE(status < 0 ? UNTOUCHED : value));
	torc_future_put(f);
}

enum kind {
	PENDING,
	RUNNING,
	CANCELLED,
	FAILED,    /* -EIO */
	SUCCEEDED, /* ANSWER */
	KINDS,
};

static inline struct torc_future *make(enum kind kind)
{
	struct torc_future *f = promise();

	switch (kind) {
	case RUNNING: check(torc_future_start(f)); break;
	case CANCELLED: check(torc_future_cancel(f)); break;
	case FAILED: check_eq(torc_future_fail(f, -EIO), 0); break;
	case SUCCEEDED: check_eq(torc_future_set(f, ARG(ANSWER)), 0); break;
	case PENDING:
	case KINDS: break;
	}
	return f;
}

static inline void put_all(struct torc_future **futures, size_t count)
{
	for (size_t i = 0; i < count; i++)
		torc_future_put(futures[i]);
}

/* An executor that runs everything at once, in torc_submit. */
static inline int run_at_once(struct torc_executor *executor, struct torc_future *const *futures,
			      size_t count)
{
	(void)executor;
	for (size_t i = 0; i < count; i++)
		torc_future_run(futures[i]);
	return (int)count;
}

static inline int no_shutdown(struct torc_executor *executor, unsigned flags)
{
	(void)executor, (void)flags;
	return 0;
}

static inline struct torc_executor at_once(void)
{
	static const struct torc_executor_ops ops = { .name = "at once",
						      .submit = run_at_once,
						      .shutdown = no_shutdown };

	return (struct torc_executor){ .ops = &ops, .parallelism = 1 };
}

/* Takes one future, and runs it on a thread: it has begun before the rest is refused, and ends once the caller waits. */
struct half {
	struct torc_executor executor;
	struct gate *gate;
	pthread_t thread;
	struct later later;
	int calls;
};

static inline void *run_half(void *f)
{
	torc_future_run(f);
	return NULL;
}

static inline void open_all(void *gate)
{
	gate_open(gate, 1000);
}

static inline int take_first(struct torc_executor *executor, struct torc_future *const *futures,
			     size_t count)
{
	struct half *h = (struct half *)executor;

	(void)count;
	if (h->calls++)
		return -EDQUOT;
	h->thread = start_thread(run_half, futures[0]);
	gate_wait(h->gate, 1);
	later(&h->later, open_all, h->gate);
	return 1;
}

static inline struct half half(struct gate *gate)
{
	static const struct torc_executor_ops ops = { .name = "half",
						      .submit = take_first,
						      .shutdown = no_shutdown };

	gate_init(gate);
	return (struct half){ .executor = { .ops = &ops, .parallelism = 4 }, .gate = gate };
}

static inline void half_done(struct half *h)
{
	join_thread(h->thread);
	later_is_over(&h->later);
	gate_done(h->gate);
}

/* For `later`. */
static inline void set_answer(void *f)
{
	check_eq(torc_future_set(f, ARG(ANSWER)), 0);
}

static inline void fail_io(void *f)
{
	check_eq(torc_future_fail(f, -EIO), 0);
}

static inline void cancel_future(void *f)
{
	check(torc_future_cancel(f));
}

#endif
