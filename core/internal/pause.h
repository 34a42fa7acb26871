/*
 * core/internal/pause.h - the loops of the program stand still while one of them looks at all.
 *
 *	the one that looks			each other loop
 *	pause->number becomes odd
 *	attention mail, and a wake-up  ----->	delivers it: notes the number, and waits on it
 *	waits for all, a second at most
 *	looks at those that have answered
 *	pause->number becomes even     ----->	goes on
 *
 * The mail is embedded in the loop and may still be under way from an earlier time: `queued` says so. Who
 * receives it clears that first and looks at the number then, so whoever finds the flag set after changing the
 * number will be seen. It is sent with an eventfd, as a message through our ring would only leave at the end
 * of our turn, and always: `asleep` may have been cleared by a message that is still to be submitted.
 *
 * Two at once: the number can be made odd by one. The other stands still first, then takes its turn.
 */
#ifndef TORC_CORE_INTERNAL_PAUSE_H
#define TORC_CORE_INTERNAL_PAUSE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/internal/mailbox.h"

struct torc__loop;

/* How long a loop has for its answer. */
#define TORC__PAUSE_NS UINT64_C(1000000000)

/* The runtime's. */
struct torc__pause {
	atomic_uint number;  /* odd during a pause */
	atomic_uint arrived; /* goes up with each loop that stands still */
	atomic_bool asked;   /* a signal asks for a dump: by the first loop that can */
};

/* A loop's. */
struct torc__attention {
	struct torc__mail mail;
	atomic_bool queued;
	atomic_uint paused; /* the number it stands still for, or did */
	bool answered;      /* in this pause, in time; for who looks */
};

/* On the loop's thread. Which loops stand still is in their `answered` then. */
void torc__pause_begin(struct torc__loop *self);
void torc__pause_end(struct torc__loop *self);

/* Make a loop look at `number` and `asked`. Any thread, also from a signal handler. */
void torc__attention_call(struct torc__loop *loop);

/* Wait while *word is `value`, for so long; TORC_NEVER: no limit. May return early. */
void torc__futex_wait(atomic_uint *word, unsigned value, uint64_t timeout_ns);
void torc__futex_wake(atomic_uint *word);

#endif
