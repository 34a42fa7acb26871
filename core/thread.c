#include "core/internal/thread.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <torc/core/fiber.h>

#include "core/internal/loop.h"
#include "core/internal/overflow.h"
#include "core/internal/runtime.h"
#include "core/internal/system.h"

__thread struct torc__thread *torc__thread_current;

void torc__thread_set_name(struct torc__thread *t, const char *name, unsigned number)
{
	char digits[12];
	int len = snprintf(digits, sizeof(digits), "-%u", number);

	snprintf(t->name, sizeof(t->name), "%.*s%s", (int)sizeof(t->name) - 1 - len, name, digits);
}

static void *thread_main(void *arg)
{
	struct torc__thread *t = arg;
	void *alt_stack = torc__overflow_thread_begin();

	pthread_setname_np(pthread_self(), t->name);
	torc__thread_current = t;
	t->run(t); /* its memory may be gone now */
	torc__thread_current = NULL;
	torc__overflow_thread_end(alt_stack);
	return NULL;
}

/* The cores for what the caller starts: a loop is bound to its own, what it starts is not. NULL: as the caller's. */
static const cpu_set_t *unbound(void)
{
	const struct torc__loop *loop = torc__loop();

	return loop && loop->cpu >= 0 && loop->runtime->have_cores ? &loop->runtime->cores : NULL;
}

unsigned torc__thread_cores(void)
{
	const cpu_set_t *cores = unbound();
	cpu_set_t own;

	if (!cores && sched_getaffinity(0, sizeof(own), &own) == 0)
		cores = &own;
	return cores ? (unsigned)CPU_COUNT(cores) : 1;
}

/* The size and the cores that it is to have; returns an errno. */
static int set_attributes(const struct torc__thread *t, pthread_attr_t *attr)
{
	const cpu_set_t *cores = t->cpu < 0 ? unbound() : NULL;
	cpu_set_t one;
	int r = t->stack_bytes ? pthread_attr_setstacksize(attr, t->stack_bytes) : 0;

	if (r)
		return r;
	if (cores)
		return pthread_attr_setaffinity_np(attr, sizeof(*cores), cores);
	if (t->cpu < 0)
		return 0;
	CPU_ZERO(&one);
	CPU_SET((size_t)t->cpu, &one);
	return pthread_attr_setaffinity_np(attr, sizeof(one), &one);
}

static int create(struct torc__thread *t)
{
	pthread_attr_t attr;
	int r = pthread_attr_init(&attr);

	if (r)
		return r;
	r = set_attributes(t, &attr);
	if (!r)
		r = pthread_create(&t->handle, &attr, thread_main, t);
	pthread_attr_destroy(&attr);
	return r;
}

size_t torc__thread_stack(const struct torc__thread *t)
{
	pthread_attr_t attr;
	size_t bytes = t->stack_bytes;

	if (torc__system->thread_start)
		return TORC__THREAD_STACK_SIM;
	if (!bytes && pthread_getattr_default_np(&attr) == 0) {
		pthread_attr_getstacksize(&attr, &bytes);
		pthread_attr_destroy(&attr);
	}
	return bytes;
}

int torc__thread_start(struct torc__thread *t)
{
	static const int its_own[] = {
		SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT,
	};
	sigset_t blocked, before;
	int r;

	if (torc__system->thread_start)
		return torc__system->thread_start(t);
	sigfillset(&blocked);
	for (size_t i = 0; i < sizeof(its_own) / sizeof(its_own[0]); i++)
		sigdelset(&blocked, its_own[i]);
	pthread_sigmask(SIG_SETMASK, &blocked, &before); /* a new thread has its creator's */
	r = create(t);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

void torc__thread_join(struct torc__thread *t)
{
	if (!torc__system->thread_start)
		pthread_join(t->handle, NULL);
}

void torc__thread_sleep(uint32_t *word, uint32_t expected, uint64_t deadline_ns)
{
	struct timespec until = torc__timespec(deadline_ns);

	if (torc__system->futex_wait) {
		torc__system->futex_wait(word, expected, deadline_ns);
		return;
	}
	/* Whatever it returns, the caller looks again. */
	(void)syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected,
		      deadline_ns == TORC_NEVER ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY);
}

void torc__thread_sleep_with_bell(uint32_t *word, struct torc__bell *bell, uint64_t deadline_ns)
{
	struct futex_waitv words[2] = {
		{ .uaddr = (uintptr_t)word, .flags = FUTEX_32 | FUTEX_PRIVATE_FLAG },
		{ .val = TORC__BELL_ASLEEP, .uaddr = (uintptr_t)&bell->word, .flags = FUTEX_32 },
	};
	struct timespec until = torc__timespec(deadline_ns);

	(void)syscall(SYS_futex_waitv, words, 2, 0, deadline_ns == TORC_NEVER ? NULL : &until,
		      CLOCK_MONOTONIC);
}

void torc__thread_wake(const uint32_t *word, unsigned count)
{
	if (torc__system->futex_wake)
		torc__system->futex_wake(word, count);
	else
		(void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

bool torc__threads_simulated(void)
{
	return torc__system->thread_start != NULL;
}
