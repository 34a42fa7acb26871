/*
 * core/internal/thread.h - the part of the seam below torc that is about threads: those that are no loops, and how a
 * thread sleeps. For the layers above; on the simulator each is a coroutine, which runs until it sleeps or ends.
 */
#ifndef TORC_CORE_INTERNAL_THREAD_H
#define TORC_CORE_INTERNAL_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "core/internal/bell.h"
#include "core/internal/system.h"

/* The smallest stack that may be asked for (PTHREAD_STACK_MIN is less, and too little for printf(3)). */
#define TORC__THREAD_STACK_MIN ((size_t)16384)

/* And that of each on the simulator. */
#define TORC__THREAD_STACK_SIM ((size_t)262144)

struct torc__thread {
	void (*run)(struct torc__thread *thread);
	char name[16];      /* as the system shows it */
	size_t stack_bytes; /* 0: the system's default */
	int cpu;            /* to be bound to; -1: not */
	pthread_t handle;
};

/*
 * Start a thread: -EAGAIN, -ENOMEM, -EINVAL. All signals are blocked in it, but for those that it can only cause
 * itself, such as SIGSEGV: the others are for the program's own threads, as SIGINT is for loop 0.
 */
int torc__thread_start(struct torc__thread *thread);

/*
 * Wait until it has ended; once. It must be about to: on the simulator nobody waits, and it only may not touch any
 * memory that is freed after this.
 */
void torc__thread_join(struct torc__thread *thread);

/* The calling one, if torc__thread_start started it; NULL. */
extern __thread struct torc__thread *torc__thread_current;

/* How many cores the threads have that the caller starts and that are not bound to one. */
unsigned torc__thread_cores(void);

/* The size of its stack. */
size_t torc__thread_stack(const struct torc__thread *thread);

/* 'name-7', cut to what the system shows. */
void torc__thread_set_name(struct torc__thread *thread, const char *name, unsigned number);

/* A moment of torc_now_ns, for the kernel. */
static inline struct timespec torc__timespec(uint64_t ns)
{
	return (struct timespec){ .tv_sec = (time_t)(ns / 1000000000u),
				  .tv_nsec = (long)(ns % 1000000000u) };
}

/*
 * Sleep while *word is `expected`, until it is woken or a moment of torc_now_ns has come (futex(2)). Returns for no
 * reason too: look at what is waited for, and at the clock, again.
 */
void torc__thread_sleep(uint32_t *word, uint32_t expected, uint64_t deadline_ns);

/* The same, and also until a bell is rung that is ASLEEP (core/internal/bell.h). Not on the simulator. */
void torc__thread_sleep_with_bell(uint32_t *word, struct torc__bell *bell, uint64_t deadline_ns);

/* Wake so many that sleep on it. Only the address is used: the memory may be gone. */
void torc__thread_wake(const uint32_t *word, unsigned count);

/* Where it matters which thread is first: on the simulator another one may run here, in a thread of these. */
static inline void torc__thread_point(void)
{
	if (torc__unlikely(torc__system->thread_point != NULL))
		torc__system->thread_point();
}

/* Are threads coroutines? Then who waits for another one must not spin. */
bool torc__threads_simulated(void);

#endif
