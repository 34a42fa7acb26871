#include "tests/io/system.h"

#include <pthread.h>
#include <semaphore.h>
#include <sys/wait.h>

#include <torc/io/signal.h>

TestSuite(signals, .timeout = 60);

static void open_one(struct torc_signals *s, int number)
{
	check_eq(torc_signals_open(s, &number, 1), 0);
}

/* --- receiving --- */

static int receive(void *arg)
{
	const int numbers[] = { SIGUSR1, SIGHUP, SIGUSR1, SIGRTMIN, SIGRTMAX, SIGCHLD, SIGWINCH };
	struct torc_signals s;

	(void)arg;
	check_eq(torc_signals_open(&s, numbers, COUNT(numbers)), 0);
	for (size_t i = 0; i < COUNT(numbers); i++) {
		check_eq(kill(getpid(), numbers[i]), 0);
		check_eq(torc_signals_next(&s), numbers[i]);
	}
	errno = 1234;
	check_eq(raise(SIGUSR1), 0);
	check_eq(errno, 1234);
	check_eq(torc_signals_next(&s), SIGUSR1);
	torc_signals_close(&s);
	return 0;
}

Test(signals, each_one_that_was_asked_for_is_received)
{
	run_all_features(NULL, receive, NULL);
}

/* It is there although nobody waited, once, and the ones that come often leave room for the others. */
static int while_nobody_waits(void *arg)
{
	const int numbers[] = { SIGUSR1, SIGUSR2, SIGRTMIN };
	struct torc_signals s;
	unsigned seen = 0;
	int n;

	(void)arg;
	check_eq(torc_signals_open(&s, numbers, COUNT(numbers)), 0);
	for (int i = 0; i < 100; i++) {
		check_eq(raise(SIGUSR1), 0);
		check_eq(raise(SIGRTMIN), 0);
		torc_yield();
	}
	check_eq(raise(SIGUSR2), 0);
	while (torc_chan_count(&s.chan) < 3)
		check_eq(torc_sleep(1000), 0);
	for (int i = 0; i < 100; i++) {
		check_eq(raise(SIGUSR1), 0);
		torc_yield();
	}
	check_eq(torc_sleep(TORC_MS(1)), 0);
	for (int i = 0; i < 3; i++) {
		check_eq(torc_chan_try_recv(&s.chan, &n), 1);
		seen |= n == SIGUSR1 ? 1 : n == SIGUSR2 ? 2 : 4;
	}
	check_eq(seen, 7);
	check_eq(torc_chan_try_recv(&s.chan, &n), -EAGAIN);
	check_eq(raise(SIGUSR1), 0);
	check_eq(torc_signals_next(&s), SIGUSR1);
	torc_signals_close(&s);
	return 0;
}

Test(signals, what_comes_while_nobody_waits_is_kept_once)
{
	run(while_nobody_waits, NULL);
}

static int cancelled(void *arg)
{
	struct torc_scope t;
	struct torc_signals s = { .fd = 77 };

	(void)arg;
	torc_scope_enter(&t, 0);
	check_eq(torc_signals_open(&s, (const int[]){ SIGUSR1 }, 1), -ETIMEDOUT);
	check_eq(s.fd, 77);
	torc_scope_leave(&t);
	open_one(&s, SIGUSR1);
	torc_scope_enter(&t, TORC_MS(5));
	check_eq(torc_signals_next(&s), -ETIMEDOUT);
	check_eq(raise(SIGUSR1), 0);
	check_eq(torc_signals_next(&s), -ETIMEDOUT);
	torc_scope_leave(&t);
	check_eq(torc_signals_next(&s), SIGUSR1);
	check_eq(raise(SIGUSR1), 0);
	torc_scope_enter(&t, TORC_NEVER);
	torc_scope_cancel(&t);
	check_eq(torc_signals_next(&s), -ECANCELED);
	torc_scope_leave(&t);
	check_eq(torc_signals_next(&s), SIGUSR1);
	torc_scope_enter(&t, 0);
	torc_signals_close(&s); /* in a cancelled scope too */
	torc_scope_leave(&t);
	return 0;
}

Test(signals, a_cancelled_wait_loses_none)
{
	run(cancelled, NULL);
}

static int selected(void *arg)
{
	struct torc_signals s;
	struct torc_chan jobs;
	int number = 0, job = 0;
	struct torc_case cases[] = {
		{ .chan = &jobs, .op = TORC_RECV, .item = &job },
		{ .op = TORC_RECV, .item = &number },
	};

	(void)arg;
	open_one(&s, SIGUSR1);
	check_eq(torc_chan_init(&jobs, sizeof(int), 1), 0);
	cases[1].chan = &s.chan;
	check_eq(torc_select(cases, 2, torc_now_ns() + TORC_MS(1)), -EAGAIN);
	check_eq(raise(SIGUSR1), 0);
	check_eq(torc_select(cases, 2, TORC_NEVER), 1);
	check_eq(number, SIGUSR1);
	check_eq(torc_chan_send(&jobs, &(int){ 5 }), 0);
	check_eq(torc_select(cases, 2, TORC_NEVER), 0);
	torc_chan_done(&jobs);
	torc_signals_close(&s);
	return 0;
}

Test(signals, are_a_case_of_select)
{
	run(selected, NULL);
}

/* --- each one that is waited for is received, from any thread --- */

#define ROUNDS 2000

static sem_t received;

static void *sender_main(void *arg)
{
	(void)arg;
	for (int i = 0; i < ROUNDS; i++) {
		kill(getpid(), i % 2 ? SIGUSR1 : SIGUSR2);
		while (sem_wait(&received) < 0 && errno == EINTR)
			continue;
	}
	return NULL;
}

static int none_is_lost(void *arg)
{
	struct torc_signals s;
	pthread_t thread;

	(void)arg;
	check_eq(torc_signals_open(&s, (const int[]){ SIGUSR1, SIGUSR2 }, 2), 0);
	check_eq(sem_init(&received, 0, 0), 0);
	check_eq(pthread_create(&thread, NULL, sender_main, NULL), 0);
	for (int i = 0; i < ROUNDS; i++) {
		check_eq(torc_signals_next(&s), i % 2 ? SIGUSR1 : SIGUSR2);
		check_eq(sem_post(&received), 0);
	}
	check_eq(pthread_join(thread, NULL), 0);
	torc_signals_close(&s);
	return 0;
}

Test(signals, none_is_lost_whatever_thread_it_comes_to)
{
	run(none_is_lost, NULL);
}

/* --- several --- */

struct member {
	struct torc_latch *ready, *over;
	int received;
};

static int member_main(void *arg)
{
	struct member *m = arg;
	struct torc_signals s;

	open_one(&s, SIGUSR1);
	torc_latch_count_down(m->ready);
	m->received = torc_signals_next(&s);
	torc_signals_close(&s);
	torc_latch_count_down(m->over);
	return torc_latch_wait(m->over);
}

static int several(void *arg)
{
	struct torc_latch ready, over;
	struct member m[6];
	struct torc_group g;

	(void)arg;
	torc_latch_init(&ready, COUNT(m));
	torc_latch_init(&over, COUNT(m));
	torc_group_enter(&g);
	for (size_t i = 0; i < COUNT(m); i++) {
		m[i] = (struct member){ .ready = &ready, .over = &over };
		check_eq(torc_group_spawn_with(&g,
					       &(struct torc_spawn_options){
						       .loop = TORC_ON_LOOP((int)i % 3) },
					       member_main, &m[i]),
			 0);
	}
	check_eq(torc_latch_wait(&ready), 0);
	check_eq(kill(getpid(), SIGUSR1), 0);
	check_eq(torc_group_wait(&g), 0);
	for (size_t i = 0; i < COUNT(m); i++)
		check_eq(m[i].received, SIGUSR1);
	torc_latch_done(&ready);
	torc_latch_done(&over);
	return 0;
}

Test(signals, each_subscriber_of_each_loop_gets_it)
{
	for (int i = 0; i < 20; i++)
		check_eq(run_with(&(struct torc_options){ .loops = 3 }, several, NULL), 0);
}

/* Signals come all the time while others come and go. */
static bool storm_over;

static void *storm_main(void *arg)
{
	(void)arg;
	while (!__atomic_load_n(&storm_over, __ATOMIC_ACQUIRE))
		kill(getpid(), SIGUSR1);
	return NULL;
}

static int come_and_go(void *arg)
{
	(void)arg;
	for (int i = 0; i < 300; i++) {
		struct torc_signals s;

		open_one(&s, SIGUSR1);
		if (i % 2)
			check_eq(torc_signals_next(&s), SIGUSR1);
		torc_signals_close(&s);
	}
	return 0;
}

static int storm(void *arg)
{
	struct torc_signals stays;
	struct torc_group g;
	pthread_t thread;

	(void)arg;
	open_one(&stays, SIGUSR1);
	storm_over = false;
	check_eq(pthread_create(&thread, NULL, storm_main, NULL), 0);
	torc_group_enter(&g);
	for (int i = 0; i < 2; i++)
		check_eq(torc_group_spawn_with(
				 &g, &(struct torc_spawn_options){ .loop = TORC_ON_LOOP(i) },
				 come_and_go, NULL),
			 0);
	check_eq(torc_group_wait(&g), 0);
	__atomic_store_n(&storm_over, true, __ATOMIC_RELEASE);
	check_eq(pthread_join(thread, NULL), 0);
	check_eq(torc_signals_next(&stays), SIGUSR1);
	torc_signals_close(&stays);
	return 0;
}

Test(signals, subscribers_come_and_go_while_signals_come)
{
	check_eq(run_with(&(struct torc_options){ .loops = 2 }, storm, NULL), 0);
}

/* --- what was before --- */

static volatile sig_atomic_t handled;

static void handle(int number)
{
	(void)number;
	handled++;
}

static int restored(void *arg)
{
	struct torc_signals a, b;
	struct sigaction now;

	(void)arg;
	signal(SIGUSR1, handle);
	signal(SIGHUP, SIG_IGN);
	check_eq(torc_signals_open(&a, (const int[]){ SIGUSR1, SIGHUP }, 2), 0);
	open_one(&b, SIGUSR1);
	check_eq(raise(SIGUSR1), 0);
	check_eq(raise(SIGHUP), 0);
	check_eq(torc_signals_next(&b), SIGUSR1);
	torc_signals_close(&a);
	check_eq(sigaction(SIGHUP, NULL, &now), 0);
	check(now.sa_handler == SIG_IGN);
	check_eq(raise(SIGUSR1), 0);
	check_eq(torc_signals_next(&b), SIGUSR1);
	check_eq(handled, 0);
	torc_signals_close(&b);
	check_eq(raise(SIGUSR1), 0);
	check_eq(handled, 1);
	signal(SIGUSR1, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	return 0;
}

Test(signals, the_last_subscriber_restores_what_was_before)
{
	run(restored, NULL);
}

static bool is_blocked(int number)
{
	sigset_t now;

	check_eq(pthread_sigmask(SIG_SETMASK, NULL, &now), 0);
	return sigismember(&now, number) == 1;
}

static int blocked(void *arg)
{
	struct torc_signals a, b;

	(void)arg;
	check(is_blocked(SIGUSR1));
	open_one(&a, SIGUSR1);
	open_one(&b, SIGUSR1);
	check_eq(kill(getpid(), SIGUSR1), 0);
	check_eq(torc_signals_next(&a), SIGUSR1);
	check_eq(torc_signals_next(&b), SIGUSR1);
	torc_signals_close(&a);
	check_eq(kill(getpid(), SIGUSR1), 0);
	check_eq(torc_signals_next(&b), SIGUSR1);
	torc_signals_close(&b);
	check(is_blocked(SIGUSR1));
	return 0;
}

Test(signals, those_that_the_program_has_blocked_are_received_and_blocked_again)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	check_eq(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	run(blocked, NULL);
}

/* --- errors --- */

static int refused(void *arg)
{
	static const int impossible[] = {
		0,      -1,      65,      1000,   SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGILL,
		SIGFPE, SIGTRAP, SIGABRT, SIGSYS, SIGPIPE, SIGXFSZ, 32,      33,
	};
	static const int in_use[] = { SIGINT, SIGTERM, SIGQUIT };
	struct torc_signals s = { .fd = 77 };

	(void)arg;
	for (size_t i = 0; i < COUNT(impossible); i++)
		check_eq(torc_signals_open(&s, (const int[]){ SIGUSR1, impossible[i] }, 2),
			 -EINVAL);
	for (size_t i = 0; i < COUNT(in_use); i++)
		check_eq(torc_signals_open(&s, &in_use[i], 1), -EBUSY);
	check_eq(torc_signals_open(&s, in_use, 0), -EINVAL);
	check_eq(s.fd, 77);
	return 0;
}

Test(signals, some_cannot_be_had)
{
	run(refused, NULL);
}

static int interrupts(void *arg)
{
	struct torc_signals s;

	(void)arg;
	check_eq(torc_signals_open(&s, (const int[]){ SIGINT, SIGTERM, SIGQUIT }, 3), 0);
	check_eq(kill(getpid(), SIGINT), 0);
	check_eq(torc_signals_next(&s), SIGINT);
	check_eq(kill(getpid(), SIGTERM), 0);
	check_eq(torc_signals_next(&s), SIGTERM);
	torc_signals_close(&s);
	return 0;
}

Test(signals, sigint_and_sigterm_can_be_had_where_the_runtime_leaves_them_alone)
{
	check_eq(run_with(&(struct torc_options){ .no_signals = true }, interrupts, NULL), 0);
}

static int starved(void *arg)
{
	struct torc_signals s = { .value = 77 };
	struct sigaction now;
	struct rlimit old, low;

	(void)arg;
	check_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = 3;
	check_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
	check_eq(torc_signals_open(&s, (const int[]){ SIGUSR1 }, 1), -EMFILE);
	check_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	check_eq(sigaction(SIGUSR1, NULL, &now), 0);
	check(now.sa_handler == SIG_DFL);
	open_one(&s, SIGUSR1);
	torc_signals_close(&s);
	return 0;
}

Test(signals, without_descriptors_nothing_has_changed)
{
	run(starved, NULL);
}

static int simulated(void *arg)
{
	struct torc_signals s;

	(void)arg;
	check_eq(torc_signals_open(&s, (const int[]){ SIGUSR1 }, 1), -ENOSYS);
	return 0;
}

Test(signals, there_are_none_on_the_simulator)
{
	run_simulated(simulated);
}
