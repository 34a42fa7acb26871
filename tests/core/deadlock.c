/*
 * Programs in which every fiber waits for another one say so and abort; all others go on.
 */
#include "tests/core/run.h"

#include <pthread.h>
#include <time.h>

#include "core/internal/deadlock.h"
#include "core/internal/fiber.h"

TestSuite(deadlock, .timeout = 60);

/* --- deadlocks --- */

static int loops;

static int join(void *arg)
{
	return torc_task_join(arg);
}

static int join_itself(void *arg)
{
	struct torc_group g;
	struct torc_task t;

	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g,
				       HOW(.name = "ouroboros", .task = &t,
					   .loop = TORC_ON_LOOP((int)VALUE(arg))),
				       join, &t),
		 0);
	return torc_group_wait(&g);
}

/* Its group is on another loop: what joins it has to live there too. */
static int join_over_there(void *arg)
{
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	for (int i = 0; i < loops; i++)
		check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(i)), join_itself,
					       ARG(i)),
			 0);
	return torc_group_wait(&g);
}

static int join_each_other(void *arg)
{
	struct torc_group g;
	struct torc_task a, b;

	(void)arg;
	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g, HOW(.name = "ouroboros", .task = &a), join, &b), 0);
	check_eq(torc_group_spawn_with(&g, HOW(.task = &b), join, &a), 0);
	return torc_group_wait(&g);
}

/* Everything that a program may do before it. */
static int join_after_work(void *arg)
{
	struct torc_scope s;
	struct torc_group g;

	for (int i = 0; i < 20; i++) {
		check_eq(nop(), 0);
		torc_group_enter(&g);
		check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(i % loops)), return_arg,
					       NULL),
			 0);
		check_eq(torc_group_wait(&g), 0);
	}
	torc_scope_enter(&s, TORC_MS(1));
	check_eq(torc_sleep(TORC_NEVER), -ETIMEDOUT);
	torc_scope_leave(&s);
	return join_itself(arg);
}

Test(deadlock, is_reported_with_the_fibers_that_are_in_it)
{
	static torc_fn *const programs[] = { join_itself, join_over_there, join_each_other,
					     join_after_work };

	for (size_t i = 0; i < COUNT(programs); i++)
		for (loops = 1; loops <= 4; loops += loops == 2 ? 2 : 1) {
			struct died d = run_in_child(OPTIONS(.loops = loops), programs[i], NULL);

			cr_assert_eq(d.signal, SIGABRT, "%zu, loops %d: %s", i, loops, d.text);
			cr_assert(!strncmp(d.text, "torc: deadlock: every fiber waits for another",
					   45),
				  "%s", d.text);
			cr_assert(strstr(d.text, "waiting for join of fiber ouroboros"), "%s",
				  d.text);
			cr_assert_not(strstr(d.text, "not answered"), "%s", d.text);
		}
}

Test(deadlock, is_found_without_messages_between_rings_too)
{
	struct died d;

	setenv("TORC_DISABLE", "msg_ring", 1);
	loops = 4;
	d = run_in_child(OPTIONS(.loops = loops), join_over_there, NULL);
	cr_assert_eq(d.signal, SIGABRT);
	cr_assert(strstr(d.text, "torc: end of dump") || strlen(d.text) == sizeof(d.text) - 1);
}

/* --- no deadlocks --- */

static void *interrupt_later(void *arg)
{
	const struct timespec later = { .tv_nsec = 30000000 }; /* for the loops to fall asleep */

	nanosleep(&later, NULL);
	kill(getpid(), (int)VALUE(arg));
	return NULL;
}

static int run_interrupted(const struct torc_options *options, torc_fn *fn)
{
	sigset_t set, before;
	pthread_t thread;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, &before); /* for the thread: signalfd(2) takes it */
	check_eq(pthread_create(&thread, NULL, interrupt_later, ARG(SIGINT)), 0);
	r = torc_run(options, fn, NULL);
	check_eq(pthread_join(thread, NULL), 0);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

static int wait_for_sleepers(void *arg)
{
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	for (int i = 0; i < torc_loop_count(); i++)
		check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(i)), forever, NULL), 0);
	return torc_group_wait(&g);
}

Test(deadlock, sleeping_for_ever_is_none)
{
	for (int n = 1; n <= 3; n++) {
		cr_assert_eq(run_interrupted(OPTIONS(.loops = n), forever), -ECANCELED);
		cr_assert_eq(run_interrupted(OPTIONS(.loops = n), wait_for_sleepers), -ECANCELED);
	}
}

Test(deadlock, the_check_can_be_turned_off)
{
	cr_assert_eq(run_interrupted(OPTIONS(.loops = 2, .no_deadlock_check = true),
				     join_each_other),
		     -ECANCELED);
}

static void *write_later(void *arg)
{
	const struct timespec later = { .tv_nsec = 30000000 };
	uint64_t one = 1;

	nanosleep(&later, NULL);
	check_eq(write((int)VALUE(arg), &one, sizeof(one)), sizeof(one));
	return NULL;
}

static int read_one(void *arg)
{
	uint64_t value;

	return read_fd((int)VALUE(arg), &value, sizeof(value)) == sizeof(value) ? 0 : -EIO;
}

/* The operation is on another loop than the fiber that waits for its fiber. */
static int wait_for_reader(void *arg)
{
	struct torc_group g;
	pthread_t thread;
	int fd = eventfd(0, EFD_CLOEXEC);

	(void)arg;
	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(1)), read_one, ARG(fd)), 0);
	check_eq(pthread_create(&thread, NULL, write_later, ARG(fd)), 0);
	check_eq(torc_group_wait(&g), 0);
	check_eq(pthread_join(thread, NULL), 0);
	close(fd);
	return 0;
}

static int wait_for_timer(void *arg)
{
	return run_on(1, (torc_fn *)VALUE(arg), ARG(TORC_MS(20)));
}

static int sleep_for(void *arg)
{
	return torc_sleep((uint64_t)VALUE(arg));
}

static int time_out(void *arg)
{
	struct torc_scope s;
	struct torc_group g;
	struct torc_task t;
	int r;

	torc_scope_enter(&s, (uint64_t)VALUE(arg));
	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g, HOW(.task = &t), join, &t), 0);
	r = torc_group_wait(&g);
	torc_scope_leave(&s);
	return r == -ETIMEDOUT ? 0 : -EIO;
}

Test(deadlock, operations_and_timers_on_any_loop_are_none)
{
	cr_assert_eq(run_with(OPTIONS(.loops = 3), wait_for_reader, NULL), 0);
	cr_assert_eq(run_with(OPTIONS(.loops = 3), wait_for_timer, ARG(sleep_for)), 0);
	cr_assert_eq(run_with(OPTIONS(.loops = 3), wait_for_timer, ARG(time_out)), 0);
}

#define STORM_LOOPS 4

/* Nothing but mail is under way, and all loops fall asleep between one letter and the next. */
static int pass_on(void *arg)
{
	struct torc_group g;
	int r;

	if (!VALUE(arg))
		return 0;
	torc_group_enter(&g);
	r = torc_group_spawn_with(&g,
				  HOW(.loop = TORC_ON_LOOP((torc_loop_index() + 1) % STORM_LOOPS)),
				  pass_on, ARG(VALUE(arg) - 1));
	check_eq(r, 0);
	return torc_group_wait(&g);
}

static int storm(void *arg)
{
	for (int i = 0; i < VALUE(arg); i++) {
		struct torc_group g;

		torc_group_enter(&g);
		for (int n = 0; n < 1 + i % 4; n++)
			check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(n)), pass_on,
						       ARG(1 + i % 9)),
				 0);
		check_eq(torc_group_wait(&g), 0);
	}
	return 0;
}

Test(deadlock, mail_between_loops_is_none)
{
	static const char *const features[] = { "", "msg_ring", "defer_taskrun" };

	for (size_t i = 0; i < COUNT(features); i++) {
		setenv("TORC_DISABLE", features[i], 1);
		cr_assert_eq(run_with(OPTIONS(.loops = STORM_LOOPS), storm, ARG(1000)), 0);
	}
}

Test(deadlock, starting_and_stopping_is_none)
{
	for (int i = 0; i < 100; i++)
		cr_assert_eq(torc_run(OPTIONS(.loops = 1 + i % 4), return_arg, ARG(7)), 7);
}

/* --- another thread that will wake a fiber, as an executor's does --- */

struct job {
	struct torc__mail mail; /* first */
	struct torc__loop *loop;
	struct torc__wait *waiter;
};

static const struct torc__wait_kind job_kind = { "job", torc__slot_cancel, NULL };

static void deliver_job(struct torc__loop *loop, struct torc__mail *mail)
{
	(void)loop;
	torc__slot_wake(&((struct job *)mail)->waiter);
}

static void *do_job(void *arg)
{
	const struct timespec later = { .tv_nsec = 20000000 };
	struct job *job = arg;

	nanosleep(&later, NULL);
	job->mail.deliver = deliver_job;
	torc__loop_post(job->loop, &job->mail);
	return NULL;
}

static int wait_for_job(void *arg)
{
	struct job job = { .loop = torc__loop() };
	pthread_t thread;

	(void)arg;
	for (int i = 0; i < 3; i++) {
		torc__loop_expect(job.loop);
		check_eq(pthread_create(&thread, NULL, do_job, &job), 0);
		check_eq(torc__slot_wait(&job.waiter, &job_kind), 0);
		torc__loop_expected(job.loop);
		check_eq(pthread_join(thread, NULL), 0);
	}
	return 0;
}

static int wait_for_worker(void *arg)
{
	return run_on(1, wait_for_job, arg);
}

Test(deadlock, work_of_other_threads_is_none)
{
	cr_assert_eq(run_with(NULL, wait_for_job, NULL), 0);
	cr_assert_eq(run_with(OPTIONS(.loops = 2), wait_for_worker, NULL), 0);
}
