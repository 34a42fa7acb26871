/*
 * Pools under load: no wake-up is lost, no task is lost or run twice, whatever races with whatever.
 *
 *	park	tasks come one at a time, at the moment when workers fall asleep
 *	tree	tasks that fork, submit and wait for each other
 *	line	a queue that is nearly always full, in both ways
 *	once	futures that are completed, cancelled, awaited and dropped at the same time
 *	end	pools that are shut down while others submit
 *	late	results for loops that end meanwhile
 *	many	threads of an elastic executor that come and go
 *
 * A lost wake-up is a program that hangs, which tests/run ends.
 */
#include <pthread.h>

#include "tests/stress/stress.h"

#if defined(__SANITIZE_THREAD__)
#define SCALE 1
#else
#define SCALE 2
#endif

#define SENDERS 3

static struct torc_executor *pool;
static atomic_long ran;

static int add_one(void *arg, void **ret_value)
{
	atomic_fetch_add_explicit(&ran, 1, memory_order_relaxed);
	*ret_value = arg;
	return 0;
}

static void make(const struct torc_pool_options *options)
{
	check_eq(torc_pool_create(options, &pool), 0);
}

/* Runs fn on so many threads, each with its number from 1. */
static void on_threads(void *(*fn)(void *number), long count)
{
	pthread_t threads[8];

	for (long i = 0; i < count; i++)
		if (pthread_create(&threads[i], NULL, fn, (void *)(i + 1)))
			exit(77);
	for (long i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
}

/* From nothing to some 60 us, which is about when a worker stops searching. */
static void dawdle(uint64_t *seed)
{
	uint64_t end = torc_now_ns() + next_random(seed) % 60000;

	if (next_random(seed) % 4)
		return;
	while (torc_now_ns() < end)
		continue;
}

/* --- park --- */

static void *send_singly(void *number)
{
	uint64_t seed = (uint64_t)number;

	for (long i = 0; i < 10000L * SCALE; i++) {
		struct torc_future *f;
		void *value;

		check_eq(torc_submit(pool, add_one, number, &f), 0);
		check_eq(torc_await(f, &value), 0);
		check(value == number);
		torc_future_put(f);
		dawdle(&seed);
	}
	return NULL;
}

static void park(void)
{
	struct torc_pool_stats s;

	for (unsigned workers = 1; workers <= 4; workers++) {
		make(&(struct torc_pool_options){ .workers = workers });
		ran = 0;
		on_threads(send_singly, workers == 2 ? 1 : SENDERS);
		torc_pool_stats(pool, &s);
		torc_executor_destroy(pool);
		check_eq(ran, 10000L * SCALE * (workers == 2 ? 1 : SENDERS));
		printf("park: %u workers, %ld tasks, %lu parks, %lu wakes\n", workers, (long)ran,
		       (unsigned long)s.parks, (unsigned long)s.wakes);
	}
}

/* --- tree --- */

static int leaves(void *arg, void **ret_value);

/* Half of it as a job. */
static long by_fork(long n)
{
	struct torc_job job;
	void *a = NULL, *b = NULL;

	torc_fork(&job, leaves, (void *)(n / 2));
	check_eq(leaves((void *)(n - n / 2), &a), 0);
	check_eq(torc_join(&job, &b), 0);
	return (long)a + (long)b;
}

/* Half of it as a future. */
static long by_submit(long n)
{
	struct torc_future *f;
	void *a = NULL, *b = NULL;

	check_eq(torc_submit(pool, leaves, (void *)(n / 2), &f), 0);
	check_eq(leaves((void *)(n - n / 2), &a), 0);
	check_eq(torc_await(f, &b), 0);
	torc_future_put(f);
	return (long)a + (long)b;
}

/* Joined in the order of forking, which is the wrong one; one of them is a future that is awaited in between. */
static long by_both(long n)
{
	struct torc_job jobs[2];
	struct torc_future *f;
	void *values[3] = { NULL };

	torc_fork(&jobs[0], leaves, (void *)(n / 4));
	check_eq(torc_submit(pool, leaves, (void *)(n / 4), &f), 0);
	torc_fork(&jobs[1], leaves, (void *)(n - n / 4 * 2));
	check_eq(torc_join(&jobs[0], &values[0]), 0);
	check_eq(torc_await(f, &values[1]), 0);
	check_eq(torc_join(&jobs[1], &values[2]), 0);
	torc_future_put(f);
	return (long)values[0] + (long)values[1] + (long)values[2];
}

/* The number of leaves is `arg`. */
static int leaves(void *arg, void **ret_value)
{
	long n = (long)arg;

	if (n < 4)
		*ret_value = arg;
	else if (n % 3 == 0)
		*ret_value = (void *)by_fork(n);
	else
		*ret_value = (void *)(n % 3 == 1 ? by_submit(n) : by_both(n));
	return 0;
}

static void *grow_trees(void *number)
{
	for (long i = 0; i < 20L * SCALE; i++) {
		long n = 1000 + i * (long)number;
		struct torc_future *f;
		void *value;

		check_eq(torc_submit(pool, leaves, (void *)n, &f), 0);
		check_eq(torc_await(f, &value), 0);
		check_eq((long)value, n);
		torc_future_put(f);
	}
	return NULL;
}

static void tree(void)
{
	struct torc_pool_stats s;

	make(&(struct torc_pool_options){ .workers = 3 });
	on_threads(grow_trees, 2);
	torc_pool_stats(pool, &s);
	printf("tree: %lu tasks, %lu stolen, %lu parks\n", (unsigned long)s.tasks,
	       (unsigned long)s.stolen, (unsigned long)s.parks);
	torc_executor_destroy(pool);
}

/* --- line --- */

static atomic_long refused;

static void *send_batches(void *number)
{
	struct torc_future *futures[20];
	void *args[20];

	for (int i = 0; i < 20; i++)
		args[i] = number;
	for (long i = 0; i < 500L * SCALE; i++) {
		int r = torc_submit_many(pool, add_one, args, 20, futures);

		check(r == 0 || r == -EAGAIN);
		if (r < 0) {
			refused++;
			continue;
		}
		check_eq(torc_wait(futures, 20, TORC_ALL_COMPLETED, TORC_NEVER), 20);
		torc_future_put_many(futures, 20);
	}
	return NULL;
}

static int send_from_fiber(void *arg)
{
	struct tally *t = arg;
	uint64_t seed = (uint64_t)arg;

	for (int i = 0; i < 200 * SCALE; i++) {
		struct torc_scope scope;
		struct torc_future *f;

		torc_scope_enter(&scope, next_random(&seed) % 100000);
		if (tally(t, torc_submit(pool, add_one, NULL, &f))) {
			tally(t, torc_await(f, NULL));
			torc_future_put(f);
		}
		torc_scope_leave(&scope);
	}
	return 0;
}

static int send_from_fibers(void *arg)
{
	struct torc_group g;

	torc_group_enter(&g);
	for (int i = 0; i < 20; i++) {
		struct torc_spawn_options o = { .loop = TORC_ON_LOOP(i % 2) };

		check_eq(torc_group_spawn_with(&g, &o, send_from_fiber, arg), 0);
	}
	return torc_group_wait(&g);
}

static void line(enum torc_when_full when_full)
{
	struct tally t = { 0 };
	pthread_t thread;

	make(&(struct torc_pool_options){ .workers = 2, .queue_max = 3, .when_full = when_full });
	ran = refused = 0;
	if (pthread_create(&thread, NULL, send_batches, NULL))
		exit(77);
	check_eq(torc_run(&(struct torc_options){ .loops = 2, .no_pin = true }, send_from_fibers,
			  &t),
		 0);
	pthread_join(thread, NULL);
	torc_executor_destroy(pool);
	printf("line: %ld ran, %ld batches refused; fibers: %ld done, %ld cut short\n", (long)ran,
	       (long)refused, (long)t.done, (long)t.cut_short);
}

/* --- once --- */

static struct torc_future *promise;
static pthread_barrier_t round_begin, round_end;
static atomic_int callbacks, completions, steps;

static void called(struct torc_future *f, void *arg)
{
	(void)arg;
	check(torc_future_state(f) >= TORC_DONE);
	callbacks++;
}

static int step(void *value, void *arg, void **ret_value)
{
	check(value == arg);
	*ret_value = value;
	steps++;
	return 0;
}

/* What each of the threads does with the promise; it has a reference. */
static void meddle(long number)
{
	struct torc_future *next;
	int r;

	switch (number) {
	case 1:
		r = torc_future_set(promise, promise);
		completions += r == 0;
		check(r == 0 || r == -ECANCELED || r == -EALREADY);
		break;
	case 2:
		r = torc_future_fail(promise, -EIO);
		completions += r == 0;
		check(r == 0 || r == -ECANCELED || r == -EALREADY);
		break;
	case 3: completions += torc_future_cancel(promise); break;
	case 4:
		r = torc_await(promise, NULL);
		check(r == 0 || r == -EIO || r == -ECANCELED);
		break;
	case 5: check_eq(torc_future_on_done(promise, called, NULL), 0); break;
	case 6:
		check_eq(torc_then(promise, pool, step, promise, &next), 0);
		torc_future_cancel(next);
		torc_future_put(next);
		break;
	default: check_eq(torc_wait(&promise, 1, TORC_FIRST_COMPLETED, TORC_NEVER), 1); break;
	}
	torc_future_put(promise);
}

static void *meddle_rounds(void *number)
{
	for (long i = 0; i < 500L * SCALE; i++) {
		pthread_barrier_wait(&round_begin);
		meddle((long)number);
		pthread_barrier_wait(&round_end);
	}
	return NULL;
}

static void *make_promises(void *number)
{
	(void)number;
	for (long i = 0; i < 500L * SCALE; i++) {
		callbacks = completions = 0;
		check_eq(torc_future_create(&promise), 0);
		for (int n = 1; n < 7; n++)
			(void)torc_future_get(promise);
		pthread_barrier_wait(&round_begin);
		pthread_barrier_wait(&round_end);
		check_eq(completions, 1);
		check_eq(callbacks, 1);
	}
	return NULL;
}

static void *meddle_or_make(void *number)
{
	return (long)number < 8 ? meddle_rounds(number) : make_promises(number);
}

static void once(void)
{
	make(&(struct torc_pool_options){ .workers = 2 });
	pthread_barrier_init(&round_begin, NULL, 8);
	pthread_barrier_init(&round_end, NULL, 8);
	on_threads(meddle_or_make, 8);
	pthread_barrier_destroy(&round_begin);
	pthread_barrier_destroy(&round_end);
	torc_executor_destroy(pool);
	printf("once: %ld rounds, %d steps were in time\n", 500L * SCALE, steps);
}

/* --- end --- */

static atomic_long promised, kept, cancelled;

static void *send_until_shut_down(void *number)
{
	struct torc_future *f;
	int r;

	(void)number;
	while ((r = torc_submit(pool, add_one, NULL, &f)) == 0) {
		promised++;
		r = torc_await(f, NULL);
		kept += r == 0;
		cancelled += r == -ECANCELED;
		torc_future_put(f);
	}
	check_eq(r, -ESHUTDOWN);
	return NULL;
}

static void *shut_down(void *number)
{
	uint64_t seed = (uint64_t)number;

	dawdle(&seed);
	check_eq(torc_executor_shutdown(pool, TORC_CANCEL_PENDING), 0);
	return NULL;
}

static void *send_or_shut_down(void *number)
{
	return (long)number < 4 ? send_until_shut_down(number) : shut_down(number);
}

static void end(void)
{
	for (int i = 0; i < 50 * SCALE; i++) {
		make(&(struct torc_pool_options){ .workers = 2 });
		on_threads(send_or_shut_down, 4);
		torc_executor_destroy(pool);
	}
	check_eq(promised, kept + cancelled);
	printf("end: %ld promised, %ld kept, %ld cancelled\n", (long)promised, (long)kept,
	       (long)cancelled);
}

/* --- late --- */

static int wait_a_little(void *arg)
{
	struct torc_future *f;
	int r;

	(void)arg;
	check_eq(torc_submit(pool, add_one, NULL, &f), 0);
	r = torc_await(f, NULL);
	check(r == 0 || r == -ECANCELED);
	torc_future_put(f);
	return 0;
}

static int leave_early(void *arg)
{
	(void)arg;
	for (int i = 0; i < 20; i++)
		check_eq(torc_detach("late", wait_a_little, NULL), 0);
	return torc_yield();
}

static void late(void)
{
	make(&(struct torc_pool_options){ .workers = 2 });
	ran = 0;
	for (int i = 0; i < 20 * SCALE; i++)
		check_eq(torc_run(&(struct torc_options){ .loops = 1 + i % 2, .no_pin = true },
				  leave_early, NULL),
			 0);
	torc_executor_destroy(pool);
	check_eq(ran, 400L * SCALE);
	printf("late: %ld ran\n", (long)ran);
}

/* --- many --- */

static void *send_to_elastic(void *number)
{
	uint64_t seed = (uint64_t)number;

	for (int i = 0; i < 200 * SCALE; i++) {
		struct torc_future *futures[8];
		void *args[8] = { NULL };

		check_eq(torc_submit_many(pool, add_one, args, 8, futures), 0);
		check_eq(torc_wait(futures, 8, TORC_ALL_COMPLETED, TORC_NEVER), 8);
		torc_future_put_many(futures, 8);
		dawdle(&seed);
	}
	return NULL;
}

/* With one thread, what comes when that one is about to end depends on it. */
static void many(unsigned threads_max)
{
	struct torc_elastic_options o = { .threads_max = threads_max, .idle_ns = 30000 };

	check_eq(torc_elastic_create(&o, &pool), 0);
	ran = 0;
	on_threads(send_to_elastic, 2);
	torc_executor_destroy(pool);
	check_eq(ran, 2L * 200 * SCALE * 8);
	printf("many: %ld ran\n", (long)ran);
}

int main(void)
{
	static const char *const off[] = { "", "membarrier" };

	for (size_t i = 0; i < COUNT(off); i++) {
		setenv("TORC_DISABLE", off[i], 1);
		printf("disabled: %s\n", off[i]);
		park();
		tree();
		line(TORC_FULL_WAIT);
		line(TORC_FULL_FAIL);
		once();
		end();
		late();
		many(6);
		many(1);
	}
	return 0;
}
