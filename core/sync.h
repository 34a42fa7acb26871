/*
 * core/sync.h - fibers that wait for each other: mutex, condition, rwlock, semaphore, event, latch, barrier, once.
 *
 * Fibers of one loop take turns by themselves: between two suspending calls nothing else runs on the loop, so
 * plain data needs no lock there. These objects are for what lasts over a suspending call, and for data that
 * fibers of several loops share. To hand data over, a channel (core/chan.h) is often simpler.
 *
 *	static struct torc_mutex lock;			zeroed: ready for use
 *
 *	r = torc_mutex_lock(&lock);
 *	if (r < 0)
 *		return r;				the scope: it is not locked
 *	...						may suspend
 *	torc_mutex_unlock(&lock);
 *
 * What holds for all of them:
 *
 *  - Any fiber of any loop may use them, and calls that never suspend may also be made from a completion's
 *    callback (core/op.h), but for those of mutexes and rwlocks: locks belong to fibers. Nothing here is for
 *    threads that run no loop.
 *  - Who waits is served first come, first served, and nobody overtakes: what is let go goes to the first
 *    waiter directly, before it runs (hand-off).
 *  - Waiting is cut short by the caller's scope: the call returns -ECANCELED or -ETIMEDOUT and has had no
 *    effect. In a scope that is cancelled already it returns at once, also where it would not have had to wait.
 *    Once something was handed over, the call returns success, whatever happens to the scope meanwhile.
 *  - Caller's memory, zeroed or initialised with _init. _done says that it is not used any more, and traps when
 *    a fiber still waits for it. An object that holds nothing and that nobody waits for may also just be forgotten.
 *  - What was written before an unlock, release, set, count_down ... is seen by who goes on because of it.
 */
#ifndef TORC_CORE_SYNC_H
#define TORC_CORE_SYNC_H

#include <torc/core/fiber.h>
#include <torc/core/waiters.h>

TORC_BEGIN_DECLS

/* ---- mutex ------------------------------------------------------------------------------------------- */

struct torc_mutex {
	struct torc__guard guard;
	struct torc__queue waiters;
	struct torc__fiber *owner;
};

TORC_API void torc_mutex_init(struct torc_mutex *mutex);
TORC_API void torc_mutex_done(struct torc_mutex *mutex);

/*
 * torc_mutex_lock - lock, waiting for it in line.
 *
 * Not recursive: locking it twice traps, as does unlocking what another fiber has locked.
 *
 * Returns     0            locked
 *             -ECANCELED, -ETIMEDOUT   the scope: not locked
 * Suspends    if it is locked
 * Thread      a fiber's
 */
TORC_API TORC_MUST_CHECK int torc_mutex_lock(struct torc_mutex *mutex);

/* torc_mutex_try_lock - the same without waiting: 0, or -EBUSY when it is locked. Asks no scope. */
TORC_API TORC_MUST_CHECK int torc_mutex_try_lock(struct torc_mutex *mutex);

/* torc_mutex_unlock - unlock; when fibers wait, the first of them has it locked now. Never suspends. */
TORC_API void torc_mutex_unlock(struct torc_mutex *mutex);

/* ---- condition --------------------------------------------------------------------------------------- */

/*
 *	while (!ready && !r)
 *		r = torc_cond_wait(&cond, &lock);
 */
struct torc_cond {
	struct torc__guard guard;
	struct torc__queue waiters;
};

TORC_API void torc_cond_init(struct torc_cond *cond);
TORC_API void torc_cond_done(struct torc_cond *cond);

/*
 * torc_cond_wait - unlock the mutex, wait to be signalled, lock it again.
 *
 * The mutex is locked again whatever is returned; waiting for that is not cut short. No wake-up is spurious,
 * but another fiber may have had the mutex in between: ask in a loop.
 *
 * Returns     0            signalled
 *             -ECANCELED, -ETIMEDOUT   the scope: no signal was consumed
 * Suspends    always, unless the scope is cancelled already
 * Thread      the fiber that has locked the mutex
 */
TORC_API TORC_MUST_CHECK int torc_cond_wait(struct torc_cond *cond, struct torc_mutex *mutex);

/*
 * torc_cond_signal - let the fiber that has waited longest go on; torc_cond_broadcast - all of them.
 *
 * Lost when nobody waits. Never suspend.
 */
TORC_API void torc_cond_signal(struct torc_cond *cond);
TORC_API void torc_cond_broadcast(struct torc_cond *cond);

/* ---- rwlock ------------------------------------------------------------------------------------------ */

/*
 * Many readers or one writer. In line with each other: a reader that comes after a waiting writer waits
 * behind it, so neither side starves the other. A reader that locks it twice can therefore wait for itself.
 */
struct torc_rwlock {
	struct torc__guard guard;
	struct torc__queue waiters;
	struct torc__fiber *writer;
	uint32_t readers;
};

TORC_API void torc_rwlock_init(struct torc_rwlock *lock);
TORC_API void torc_rwlock_done(struct torc_rwlock *lock);

/*
 * torc_rwlock_read, torc_rwlock_write - lock for reading, or for writing.
 *
 * Returns     0            locked
 *             -ECANCELED, -ETIMEDOUT   the scope: not locked
 * Suspends    _read: if it is locked for writing or a writer waits; _write: if it is locked
 * Thread      a fiber's
 */
TORC_API TORC_MUST_CHECK int torc_rwlock_read(struct torc_rwlock *lock);
TORC_API TORC_MUST_CHECK int torc_rwlock_write(struct torc_rwlock *lock);

/* Without waiting: 0, or -EBUSY where the others would wait. */
TORC_API TORC_MUST_CHECK int torc_rwlock_try_read(struct torc_rwlock *lock);
TORC_API TORC_MUST_CHECK int torc_rwlock_try_write(struct torc_rwlock *lock);

/* Never suspend. _downgrade: from writing to reading, with no writer in between; readers in line join. */
TORC_API void torc_rwlock_read_unlock(struct torc_rwlock *lock);
TORC_API void torc_rwlock_write_unlock(struct torc_rwlock *lock);
TORC_API void torc_rwlock_downgrade(struct torc_rwlock *lock);

/* ---- semaphore --------------------------------------------------------------------------------------- */

struct torc_sem {
	struct torc__guard guard;
	struct torc__queue waiters;
	uint32_t units;
};

/*
 * torc_sem_init - a semaphore with so many units to begin with.
 */
TORC_API void torc_sem_init(struct torc_sem *sem, uint32_t units);
TORC_API void torc_sem_done(struct torc_sem *sem);

/*
 * torc_sem_acquire - take units, all at once. Who wants many is not overtaken by those that want few.
 *
 *   @units  1 or more, 0 traps; waits for ever where there will never be so many
 *
 * Returns     0            taken
 *             -ECANCELED, -ETIMEDOUT   the scope: nothing was taken
 * Suspends    if there are not as many, or others wait
 * Thread      a fiber's
 */
TORC_API TORC_MUST_CHECK int torc_sem_acquire(struct torc_sem *sem, uint32_t units);

/* torc_sem_try_acquire - without waiting: 0, or -EAGAIN where torc_sem_acquire would wait. */
TORC_API TORC_MUST_CHECK int torc_sem_try_acquire(struct torc_sem *sem, uint32_t units);

/* torc_sem_release - give units back, or add new ones; more than UINT32_MAX trap. Never suspends. */
TORC_API void torc_sem_release(struct torc_sem *sem, uint32_t units);

/* torc_sem_units - how many are free; with other loops about, how many were. */
TORC_API uint32_t torc_sem_units(const struct torc_sem *sem);

/* ---- event ------------------------------------------------------------------------------------------- */

/* Something that has happened, or not. It stays so until it is cleared. */
struct torc_event {
	struct torc__guard guard; /* first */
	uint32_t state;           /* bits: core/internal/event.h */
	int32_t value;            /* for what is built on it */
	struct torc__queue waiters;
};

TORC_API void torc_event_init(struct torc_event *event);
TORC_API void torc_event_done(struct torc_event *event);

/*
 * torc_event_wait - wait until it is set.
 *
 * Returns     0            it was set; it may have been cleared again since
 *             -ECANCELED, -ETIMEDOUT   the scope
 * Suspends    unless it is set
 * Thread      a fiber's
 */
TORC_API TORC_MUST_CHECK int torc_event_wait(struct torc_event *event);

/*
 * Never suspend. _set: all that wait go on. Whoever sees from torc_event_is_set that it is set does not know
 * that the setter is through with it: to give its memory away, wait.
 */
TORC_API void torc_event_set(struct torc_event *event);
TORC_API void torc_event_clear(struct torc_event *event);
TORC_API bool torc_event_is_set(const struct torc_event *event);

/* ---- latch ------------------------------------------------------------------------------------------- */

/* Counts down to nothing, as Go's WaitGroup. Zeroed, it is at nothing: add before the others begin. */
struct torc_latch {
	struct torc__guard guard;
	struct torc__queue waiters;
	uint32_t count;
};

TORC_API void torc_latch_init(struct torc_latch *latch, uint32_t count);
TORC_API void torc_latch_done(struct torc_latch *latch);

/* Never suspend. More than UINT32_MAX, or less than nothing, trap. Down to 0: all that wait go on. */
TORC_API void torc_latch_add(struct torc_latch *latch, uint32_t count);
TORC_API void torc_latch_count_down(struct torc_latch *latch);

/*
 * torc_latch_wait - wait until the count is 0.
 *
 * Returns     0            it was; it may have been added to since
 *             -ECANCELED, -ETIMEDOUT   the scope
 * Suspends    unless it is 0
 * Thread      a fiber's
 */
TORC_API TORC_MUST_CHECK int torc_latch_wait(struct torc_latch *latch);

/* ---- barrier ----------------------------------------------------------------------------------------- */

/* Fibers that go on together, round after round. Must be initialised. */
struct torc_barrier {
	struct torc__guard guard;
	struct torc__queue waiters;
	uint32_t parties, waiting;
	bool aborted;
};

/*
 * torc_barrier_init - for so many parties; 0 traps.
 */
TORC_API void torc_barrier_init(struct torc_barrier *barrier, uint32_t parties);
TORC_API void torc_barrier_done(struct torc_barrier *barrier);

/*
 * torc_barrier_wait - wait until as many fibers wait here as there are parties.
 *
 * Returns     1            all came; to the one that came last
 *             0            all came
 *             -EPIPE       it was aborted
 *             -ECANCELED, -ETIMEDOUT   the scope: it does not count as having come
 * Suspends    unless it is the last one, or the barrier is aborted
 * Thread      a fiber's
 */
TORC_API TORC_MUST_CHECK int torc_barrier_wait(struct torc_barrier *barrier);

/* Never suspend. _abort: all that wait, and all that come, get -EPIPE until _reset; for a party that failed. */
TORC_API void torc_barrier_abort(struct torc_barrier *barrier);
TORC_API void torc_barrier_reset(struct torc_barrier *barrier);

/* ---- once -------------------------------------------------------------------------------------------- */

struct torc_once {
	struct torc__guard guard;
	struct torc__queue waiters;
	struct torc__fiber *runner;
	int32_t result;
	bool over;
};

/*
 * torc_once - run fn(arg) unless it has succeeded before, by whoever comes first.
 *
 * For objects that last as long as the program: that it has succeeded does not say that the fiber which ran fn is
 * through with the object. Who comes meanwhile waits. When fn fails, the failure is its caller's, and the next in line tries again.
 * Coming back from inside fn traps.
 *
 * Returns     >= 0         what fn returned when it succeeded
 *             < 0          fn failed, called by this very fiber
 *             -ECANCELED, -ETIMEDOUT   the scope: fn was not called
 * Suspends    if another fiber is running fn, or if fn suspends
 * Thread      a fiber's
 */
TORC_API TORC_MUST_CHECK int torc_once(struct torc_once *once, torc_fn *fn, void *arg);

TORC_END_DECLS

#endif
