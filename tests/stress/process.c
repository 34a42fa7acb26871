/*
 * Pools of processes whose workers are killed at any moment: each call ends exactly once, with the right result or with
 * how its worker has died, and nothing is left.
 *
 *	plain	nothing but that
 *	short	workers that are replaced after some calls, too
 *	cancel	calls that are cancelled, which kills as well
 *
 * Calls come from two loops and from a plain thread. A call that is lost is a program that hangs, which tests/run ends.
 *
 * STRESS_CALLS=1000000 in the environment makes it a minute.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/stress/stress.h"
#include "tests/support/fds.h"

#include <torc/executor/process.h>

#if defined(__SANITIZE_THREAD__)
#define CALLS 10000
#else
#define CALLS 60000
#endif

#define WORKERS 4
#define FIBERS  6
#define WINDOW  16
#define MOST    2000

static struct torc_executor *pool;
static bool cancels;
static atomic_long left, ended, succeeded, died, cancelled, kills;
static atomic_bool over;

/* --- calls --- */

/* The first bytes of an argument; the rest is what it is made of. */
struct question {
	unsigned spins, answer_bytes;
	unsigned char text[MOST];
};

struct slot {
	struct torc_process_call call;
	struct torc_future *f;
	struct question *question;
	unsigned char *answer;
	atomic_int ends;
};

/* Whose memory is the slots' own, or that which both sides share. */
struct sender {
	uint64_t seed;
	struct slot slots[WINDOW];
	struct question questions[WINDOW], *shared_questions;
	unsigned char answers[WINDOW][MOST], *shared_answers;
};

static int answer(struct torc_process_call *call)
{
	const struct question *q = call->arg;
	size_t bytes = call->arg_bytes - offsetof(struct question, text);
	unsigned char *text = call->result;
	unsigned sum = 0;

	for (volatile unsigned n = q->spins; n > 0; n--)
		continue;
	for (size_t i = 0; i < bytes; i++)
		sum = sum * 31 + q->text[i];
	for (unsigned i = 0; i < q->answer_bytes; i++)
		text[i] = (unsigned char)(sum + i * 3);
	call->result_bytes = q->answer_bytes;
	return (int)(sum & 0xffffff);
}

static void ends(struct torc_future *f, void *arg)
{
	struct slot *s = arg;

	check(torc_future_state(f) >= TORC_DONE);
	s->ends++;
	ended++;
}

static void ask(struct sender *sender, int i)
{
	struct slot *s = &sender->slots[i];
	bool share = next_random(&sender->seed) % 4 == 0;
	size_t bytes = next_random(&sender->seed) % MOST;

	s->question = share ? &sender->shared_questions[i] : &sender->questions[i];
	s->answer = share ? sender->shared_answers + (size_t)i * MOST : sender->answers[i];
	s->question->spins =
		next_random(&sender->seed) % 8 ? 0 : next_random(&sender->seed) % 20000;
	s->question->answer_bytes = next_random(&sender->seed) % MOST;
	memset(s->question->text, (int)(next_random(&sender->seed) % 256), bytes);
	s->call = (struct torc_process_call){ .fn = answer,
					      .arg = s->question,
					      .arg_bytes = offsetof(struct question, text) + bytes,
					      .result = s->answer,
					      .result_bytes = MOST };
	s->ends = 0;
	check_eq(torc_submit(pool, torc_process_call_run, &s->call, &s->f), 0);
	check_eq(torc_future_on_done(s->f, ends, s), 0);
	if (cancels && next_random(&sender->seed) % 50 == 0)
		(void)torc_future_cancel(s->f);
}

static void check_answer(const struct slot *s, int status)
{
	size_t bytes = s->call.arg_bytes - offsetof(struct question, text);
	unsigned sum = 0;

	for (size_t i = 0; i < bytes; i++)
		sum = sum * 31 + s->question->text[i];
	check_eq(status, sum & 0xffffff);
	check_eq(s->call.result_bytes, s->question->answer_bytes);
	for (unsigned i = 0; i < s->question->answer_bytes; i++)
		check_eq(s->answer[i], (unsigned char)(sum + i * 3));
}

static void hear(struct slot *s)
{
	int r = torc_await(s->f, NULL), how = s->call.wait_status;

	if (r >= 0) {
		check_answer(s, r);
		succeeded++;
	} else if (r == -EPIPE) {
		check(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
		check_eq(s->call.result_bytes, 0);
		died++;
	} else {
		check_eq(r, -ECANCELED);
		check(cancels);
		if (torc_future_state(s->f) == TORC_DONE)
			check(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
		cancelled++;
	}
	torc_future_put(s->f);
	while (!s->ends) { /* who awaits it may be told before */
		if (torc_in_fiber())
			(void)torc_yield();
		sched_yield();
	}
	check_eq(s->ends, 1);
}

/* Until there have been so many: a window of them at a time, of which each is replaced when it has ended. */
static int send_calls(void *arg)
{
	struct sender *s = calloc(1, sizeof(*s));

	check(s);
	s->seed = (uint64_t)arg;
	s->shared_questions = torc_process_alloc(pool, WINDOW * sizeof(struct question));
	s->shared_answers = torc_process_alloc(pool, (size_t)WINDOW * MOST);
	check(s->shared_questions && s->shared_answers);
	for (int i = 0; i < WINDOW; i++)
		ask(s, i);
	while (atomic_fetch_sub(&left, 1) > 0) {
		int i = (int)(next_random(&s->seed) % WINDOW);

		hear(&s->slots[i]);
		ask(s, i);
	}
	for (int i = 0; i < WINDOW; i++)
		hear(&s->slots[i]);
	torc_process_free(pool, s->shared_questions);
	torc_process_free(pool, s->shared_answers);
	free(s);
	return 0;
}

static void *send_on_thread(void *arg)
{
	(void)send_calls(arg);
	return NULL;
}

static int send_on_loops(void *arg)
{
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	for (long i = 0; i < 2L * FIBERS; i++) {
		struct torc_spawn_options o = { .loop = TORC_ON_LOOP((int)(i % 2)) };

		check_eq(torc_group_spawn_with(&g, &o, send_calls, (void *)(i + 1)), 0);
	}
	return torc_group_wait(&g);
}

/* --- the killer --- */

/* Not by time but by what has been done, so that there are as many however fast it is. */
static void *kill_workers(void *arg)
{
	static const struct timespec breath = { .tv_nsec = 50000 };
	uint64_t seed = 4711;

	(void)arg;
	while (!over) {
		long next = ended + (long)(next_random(&seed) % 400);
		int pids[WORKERS];
		size_t count;

		while (!over && ended < next)
			nanosleep(&breath, NULL);
		count = torc_process_pids(pool, pids, WORKERS);
		check_le(count, WORKERS);
		if (count && !over && !kill(pids[next_random(&seed) % count], SIGKILL))
			kills++;
	}
	return NULL;
}

/* --- what is left --- */

static void check_nothing_left(int fds)
{
	siginfo_t info;

	check_eq(count_fds(), fds);
	check_eq(waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL), -1);
	check_eq(errno, ECHILD);
}

static pthread_t start(void *(*fn)(void *arg), void *arg)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, fn, arg))
		exit(77);
	return thread;
}

static void stress(const char *name, long calls, const struct torc_process_options *options)
{
	int fds = count_fds();
	struct torc_process_stats stats;
	pthread_t killer, sender;

	left = calls;
	ended = succeeded = died = cancelled = kills = 0;
	over = false;
	cancels = options->kill_on_cancel;
	check_eq(torc_process_create(options, &pool), 0);
	killer = start(kill_workers, NULL);
	sender = start(send_on_thread, (void *)100L);
	check_eq(torc_run(&(struct torc_options){ .loops = 2, .no_pin = true }, send_on_loops,
			  NULL),
		 0);
	pthread_join(sender, NULL);
	over = true;
	pthread_join(killer, NULL);
	check_eq(torc_executor_shutdown(pool, 0), 0);
	torc_process_stats(pool, &stats);
	torc_executor_destroy(pool);
	check_eq(succeeded + died + cancelled, calls + (2 * FIBERS + 1) * WINDOW);
	check_eq(ended, succeeded + died + cancelled);
	check_eq(stats.shared_bytes, 0);
	check_eq(stats.queued, 0);
	check(cancels || stats.crashes == (uint64_t)died);
	check_nothing_left(fds);
	printf("%s: %ld calls succeeded, %ld died, %ld were cancelled; %ld kills, %lu workers\n",
	       name, (long)succeeded, (long)died, (long)cancelled, (long)kills,
	       (unsigned long)stats.started);
}

int main(void)
{
	static const char *const off[] = { "", "ring_futex" };
	const char *wanted;
	long calls = CALLS;

	torc_process_begin();
	wanted = getenv("STRESS_CALLS");
	if (wanted)
		calls = strtol(wanted, NULL, 10);
	for (size_t i = 0; i < COUNT(off); i++) {
		setenv("TORC_DISABLE", off[i], 1);
		printf("disabled: %s\n", disabled());
		stress("plain", calls / 6, &(struct torc_process_options){ .workers = WORKERS });
		stress("short", calls / 6,
		       &(struct torc_process_options){ .workers = WORKERS, .calls_max = 50 });
		stress("cancel", calls / 6,
		       &(struct torc_process_options){ .workers = WORKERS,
						       .kill_on_cancel = true });
	}
	return 0;
}
