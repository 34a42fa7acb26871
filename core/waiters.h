/*
 * core/waiters.h - what every object that fibers wait for begins with. For core/sync.h and core/chan.h.
 *
 * All members are private. Zeroed means unused and ready for use: objects of core/sync.h may be static.
 */
#ifndef TORC_CORE_WAITERS_H
#define TORC_CORE_WAITERS_H

#include <torc/core/api.h>

TORC_BEGIN_DECLS

struct torc__fiber;
struct torc__waiter;

/* Keeps other loops out while an object is read or changed: core/internal/guard.h. */
struct torc__guard {
	uint32_t owner; /* the loop that has it to itself, as far as one has */
	uint32_t lock;
};

/* One place in a queue. Belongs to a fiber that waits, which may have several (select). */
struct torc__node {
	struct torc__node *next, *prev;
	struct torc__waiter *waiter;
	void *item; /* a channel's: to be sent, or where to receive to */
	uint32_t units;
	int32_t result; /* what the wait is going to return */
	bool queued;
};

/* First in, first out. */
struct torc__queue {
	struct torc__node *first, *last;
};

TORC_END_DECLS

#endif
