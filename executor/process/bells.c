/*
 * executor/process/bells.c - who hears the bells: loops, and threads while they wait (executor/await.c). They look at all
 * pools then: which of them it was is not told, and there are few.
 */
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "core/internal/loop.h"
#include "executor/internal/process.h"
#include "executor/internal/worker.h"

static struct torc__guard list_guard = TORC__GUARD_INIT_SHARED;
static struct torc__processes *list;

/* Of threads. */
__thread struct torc__bell *torc__bell_here;
static pthread_once_t threads_once = PTHREAD_ONCE_INIT;
static pthread_key_t threads_key;
static bool have_key;
static uint8_t taken[TORC__BELLS - TORC__BELLS_LOOPS];

/* A child that the program has forked has no pools, and no bells. */
static void forget_all(void)
{
	list = NULL;
	list_guard = (struct torc__guard)TORC__GUARD_INIT_SHARED;
	memset(taken, 0, sizeof(taken));
	torc__bell_here = NULL;
	torc__bells_forget();
}

static void watch_forks(void)
{
	pthread_atfork(NULL, NULL, forget_all);
}

void torc__processes_list(struct torc__processes *p)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, watch_forks);
	torc__guard_lock(NULL, &list_guard);
	p->next = list;
	list = p;
	torc__guard_unlock(&list_guard);
}

/* It stays in the list as long as somebody looks at it, who goes on from there. */
void torc__processes_unlist(struct torc__processes *p)
{
	struct torc__processes **link = &list;

	torc__guard_lock(NULL, &list_guard);
	p->leaving = true;
	torc__guard_unlock(&list_guard);
	while (__atomic_load_n(&p->visitors, __ATOMIC_ACQUIRE))
		sched_yield();
	torc__guard_lock(NULL, &list_guard);
	while (*link != p)
		link = &(*link)->next;
	*link = p->next;
	torc__guard_unlock(&list_guard);
}

struct torc__processes *torc__processes_pin(const struct torc_executor *executor)
{
	struct torc__processes *p;

	torc__guard_lock(NULL, &list_guard);
	for (p = list; p && &p->executor != executor;)
		p = p->next;
	if (p && p->leaving)
		p = NULL;
	if (p)
		__atomic_fetch_add(&p->visitors, 1, __ATOMIC_RELAXED);
	torc__guard_unlock(&list_guard);
	return p;
}

void torc__processes_unpin(struct torc__processes *p)
{
	__atomic_fetch_sub(&p->visitors, 1, __ATOMIC_RELEASE);
}

static struct torc__processes *visit(struct torc__processes *after)
{
	struct torc__processes *p;

	torc__guard_lock(NULL, &list_guard);
	p = after ? after->next : list;
	while (p && p->leaving)
		p = p->next;
	if (p)
		__atomic_fetch_add(&p->visitors, 1, __ATOMIC_RELAXED);
	if (after)
		__atomic_fetch_sub(&after->visitors, 1, __ATOMIC_RELEASE);
	torc__guard_unlock(&list_guard);
	return p;
}

void torc__processes_answer(void)
{
	for (struct torc__processes *p = visit(NULL); p; p = visit(p))
		torc__processes_harvest(p);
}

/* --- loops --- */

static void on_rung(struct torc__loop *loop)
{
	(void)loop;
	torc__processes_answer();
}

/* --- threads --- */

/* What is still rung there somebody else is told: it is AWAY, and stays so until another thread waits. */
static void give_bell_back(void *bell)
{
	torc__bell_here = NULL;
	__atomic_store_n(&taken[(struct torc__bell *)bell - torc__bell_at(TORC__BELLS_LOOPS)], 0,
			 __ATOMIC_RELEASE);
}

static void make_key(void)
{
	have_key = pthread_key_create(&threads_key, give_bell_back) == 0;
}

static struct torc__bell *take_bell(void)
{
	pthread_once(&threads_once, make_key);
	for (unsigned i = 0; have_key && i < sizeof(taken); i++) {
		struct torc__bell *bell = torc__bell_at(TORC__BELLS_LOOPS + i);

		if (__atomic_exchange_n(&taken[i], 1, __ATOMIC_ACQUIRE))
			continue;
		if (pthread_setspecific(threads_key, bell) != 0) {
			__atomic_store_n(&taken[i], 0, __ATOMIC_RELEASE);
			return NULL;
		}
		(void)torc__bell_leave(bell);
		return bell;
	}
	return NULL;
}

static uint32_t bell_of_thread(void)
{
	const struct torc__thread *t = torc__thread_current;

	if (torc__worker_here() || (t && t->run == torc__warden_run))
		return 0;
	if (!torc__bell_here)
		torc__bell_here = take_bell();
	return torc__bell_here ? (uint32_t)(torc__bell_here - torc__bell_at(0)) + 1 : 0;
}

uint32_t torc__processes_bell(void)
{
	struct torc__loop *loop = torc__loop();

	if (!loop)
		return bell_of_thread();
	torc__loop_answer(loop, on_rung);
	return (uint32_t)loop->index + 1;
}
