/*
 * core/internal/dump_signal.h - the signal that asks for a dump, and what it tells of a loop that is busy.
 *
 * The handler runs on any thread, also on one of a loop that computes. It only sends every loop an attention
 * mail (pause.h), with async-signal-safe means; the first loop to deliver one dumps.
 *
 * The same signal, sent to a loop's thread with a token that nobody else has, asks the handler for a sample: what
 * the loop runs at this moment. All that it reads belongs to the thread that it interrupts. A call of the
 * program that it interrupts may return EINTR, where SA_RESTART does not help.
 */
#ifndef TORC_CORE_INTERNAL_DUMP_SIGNAL_H
#define TORC_CORE_INTERNAL_DUMP_SIGNAL_H

#include <stdatomic.h>
#include <stdbool.h>

#include "core/internal/unwind.h"

struct torc__loop;
struct torc__runtime;
struct torc_options;

/*
 *	NONE --- asked ---> WANTED --- handler ---> TAKING --- handler ---> DONE
 *	  ^------- too late ---|                                              |
 *	  ^----------------------------- read --------------------------------+
 */
enum torc__sample_state {
	TORC__SAMPLE_NONE,
	TORC__SAMPLE_WANTED,
	TORC__SAMPLE_TAKING,
	TORC__SAMPLE_DONE,
};

struct torc__sample {
	atomic_uint state;
	bool in_fiber;
	char name[64]; /* "": unnamed */
	const void *entry, *spawn_site;
	int count;
	const void *addresses[TORC__FRAMES_MOST];
};

/* Returns -EINVAL for a signal that cannot be had for this, else 0. */
int torc__dump_signal_check(const struct torc_options *options);

/* Install and remove the handler of the process; by torc_run only. */
void torc__dump_signal_install(const struct torc_options *options);
void torc__dump_signal_remove(void);

/* Which signal has the handler; 0: none. */
int torc__dump_signal_number(void);

/* From when to when a signal reaches the loops: while all of them are open. */
void torc__dump_signal_open(struct torc__runtime *rt);
void torc__dump_signal_close(struct torc__runtime *rt);

/*
 * Ask a loop that does not answer for a sample; wait for it. Returns whether there is one, to be given back.
 * By who holds the pause.
 */
void torc__sample_ask(struct torc__loop *loop);
bool torc__sample_await(struct torc__loop *loop);
void torc__sample_release(struct torc__loop *loop);

#endif
