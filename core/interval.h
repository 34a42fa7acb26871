/*
 * core/interval.h - something to be done every so often, without drift.
 *
 *	struct torc_interval second;
 *
 *	torc_interval_init(&second, TORC_SECONDS(1));
 *	while ((r = torc_interval_wait(&second)) > 0)
 *		report();
 *
 * Tick k is due at first + k * period, however long the work between two ticks takes and however late the
 * fiber is woken. Ticks that pass meanwhile are told by the next wait, in one number: who must do something
 * for each of them does it so often, who only wants to be on time ignores it.
 */
#ifndef TORC_CORE_INTERVAL_H
#define TORC_CORE_INTERVAL_H

#include <torc/core/api.h>

TORC_BEGIN_DECLS

/* Caller's memory; nothing has to be undone. The fields are private. */
struct torc_interval {
	uint64_t next_ns; /* when the next tick is due; TORC_NEVER: beyond the clock */
	uint64_t period_ns;
};

/*
 * torc_interval_init - begin; the first tick is due one period from now.
 *
 * torc_interval_init_at has it due at a moment of torc_now_ns, which may have passed.
 *
 *   @period_ns  nanoseconds, not 0: that traps. With TORC_NEVER there is one tick at most
 *
 * Suspends    never
 * Thread      any
 */
TORC_API void torc_interval_init(struct torc_interval *interval, uint64_t period_ns);
TORC_API void torc_interval_init_at(struct torc_interval *interval, uint64_t first_ns,
				    uint64_t period_ns);

/*
 * torc_interval_wait - wait for the next tick.
 *
 * Returns     1..INT_MAX   ticks that were due and had not been returned: 1 when the caller keeps up. No
 *                          tick is lost; those beyond INT_MAX are returned by the next wait
 *             -ECANCELED, -ETIMEDOUT   the scope; no tick was taken
 * Suspends    unless a tick is due since before this turn
 * Thread      a fiber's; one fiber at a time
 */
TORC_API TORC_MUST_CHECK int torc_interval_wait(struct torc_interval *interval);

TORC_END_DECLS

#endif
