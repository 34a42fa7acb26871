/*
 * executor/internal/process.h - a pool of processes, as the program sees it.
 *
 * A call: torc_submit puts its future into the queue; whoever is there gives it to a worker that has a free slot (fill), and
 * the worker runs it; whoever hears the bell that the slot names takes what is done (harvest) and fills again. Those who
 * hear bells are the loops, for calls that their fibers have submitted, and threads that wait, so that nobody stands between
 * a worker and who waits for it; and the pool's own thread, the warden, for the rest. The warden also sees to it that there are workers.
 *
 *	queue ----> seats of a member ----> done
 *	  ^ ^            |
 *	  | +------------+  taken back: the worker has died before it began, or another one has nothing to do
 *	  +-- submit
 *
 * A future is PENDING in the queue and RUNNING in a seat, from where only the pool can take it away.
 *
 *	a member (one of the pool's workers)
 *	  ABSENT ---> STARTING ---> READY ---> LEAVING	it was told to end when it has done what it has
 *	     ^           |            |           |
 *	     +-----------+------------+-----------+	it is dead, and nobody copies to or from its link
 *
 * Everything is under one guard, but the copying of what does not fit beside a slot: such a seat is FILLING or EMPTYING
 * meanwhile, and its member cannot be started anew.
 */
#ifndef TORC_EXECUTOR_INTERNAL_PROCESS_H
#define TORC_EXECUTOR_INTERNAL_PROCESS_H

#include <signal.h>

#include <torc/executor/process.h>

#include "core/internal/guard.h"
#include "core/internal/thread.h"
#include "executor/internal/future.h"
#include "executor/internal/lane.h"
#include "executor/internal/region.h"

/* What is to be run, whatever form it was submitted in. */
struct torc__parcel {
	struct torc__function function;
	uint32_t bell;
	const void *arg, *items;
	size_t arg_bytes, items_bytes;
	size_t count, result_each; /* of a map; 0: a call */
	void *result;
	size_t result_bytes;
};

/* A part of a map. */
struct torc__chunk {
	struct torc__parcel parcel;
	struct torc_future *future;
};

/* What to submit for one. It is never called. */
int torc__chunk_run(void *chunk, void **ret_value);

enum torc__seat_phase {
	TORC__SEAT_EMPTY,
	TORC__SEAT_FILLING,
	TORC__SEAT_TAKEN,
	TORC__SEAT_EMPTYING,
};

struct torc__seat {
	struct torc_future *future; /* NULL: it was cancelled */
	struct torc__parcel parcel;
	uint8_t phase;
	bool unwanted; /* FILLING, and it was cancelled */
	int8_t bay;    /* -1: beside the slot */
	bool orphaned; /* FILLING, and the worker has died */
	uint64_t result_at;
};

enum torc__member_state {
	TORC__MEMBER_ABSENT,
	TORC__MEMBER_STARTING,
	TORC__MEMBER_READY,
	TORC__MEMBER_LEAVING,
};

struct torc__member {
	struct torc__link *link;
	struct torc__berth *berth;
	uint64_t link_at;
	enum torc__member_state state;
	uint32_t tail;                 /* position of the next slot to be filled */
	uint32_t done;                 /* and of the next to be harvested */
	uint32_t taken;                /* seats that are not EMPTY */
	uint64_t given;                /* calls since it was started */
	uint32_t busy;                 /* seats whose call has not ended, for all that is known */
	uint64_t took_ns;              /* what its calls take, or 0: nothing is known */
	bool condemned;                /* the pool is broken: it is to be killed */
	uint32_t bays_used;            /* bits */
	uint64_t bay_held[TORC__BAYS]; /* bytes of it that have memory */
	struct torc__seat seats[TORC__SLOTS];
};

/* A function of a shared library, as long as none was unloaded since. */
struct torc__known {
	const void *fn;
	uint64_t unloads;
	struct torc__function function;
};

#define TORC__KNOWN 64u

/* torc_process_alloc. */
struct torc__common {
	struct torc__guard guard;
	struct torc__piece *pieces; /* in order of their place */
	size_t used;
};

struct torc__processes {
	struct torc_executor executor; /* first */
	struct torc__processes *next;  /* of all in this process */
	uint32_t visitors;             /* loops that look at it just now */
	bool leaving;                  /* no more of them */

	/* the region */
	int fd, bells_fd;
	char *memory;
	size_t memory_bytes;
	struct torc__region *region;
	struct torc__doorstep *doorstep;

	uint64_t calls_max;
	size_t queue_max, message_max;
	bool kill_on_cancel, break_on_crash;

	struct torc__guard functions_guard;
	struct torc__known functions[TORC__KNOWN]; /* that are not the program's own */

	struct torc__guard guard; /* for all of the following */
	struct torc__lane queue, again;
	size_t seated;
	unsigned members_count, ready;
	unsigned stillborn; /* workers that died before they were ready, one after the other */
	bool closed;
	bool cancelling;   /* what has not begun is cancelled */
	int error;         /* why it is broken */
	unsigned unforked; /* workers that could not be forked, one after the other */
	uint64_t retry_ns; /* none is forked before that moment */
	bool broken;       /* by the warden */
	uint64_t calls, crashes, started;
	struct torc__member *members;

	struct torc__common shared;

	/* the warden's */
	struct torc__thread warden;
	struct torc_event up, over;
	int up_error;
	int server_fd; /* a pidfd */
	int call_fd,
		called_fd;  /* a socket to the fork server, and its end of it until it has that */
	char **environment; /* of the fork server; one block */
	pid_t server;
};

extern bool torc__process_begun;

/* Traps for another kind of executor. */
struct torc__processes *torc__processes_checked(struct torc_executor *executor);

static inline struct torc__processes *torc__processes_of(struct torc_executor *executor)
{
	return (struct torc__processes *)executor;
}

/* The bells to ring and the futures to complete once the guard is left. */
#define TORC__ROUND_MOST 32u

struct torc__outcome {
	struct torc_future *future;
	struct torc__parcel parcel;
	struct torc__member *member; /* of whose bay the result is still to be copied; or NULL */
	uint32_t position;
	int status, wait_status;
	enum {
		TORC__END_COMPLETE,
		TORC__END_PUT,
		TORC__END_CANCEL
	} end; /* PUT: it was cancelled in the queue */
	size_t made;
};

struct torc__round {
	unsigned bells_count, outcomes_count;
	bool more; /* it is worth another round */
	bool call_warden;
	struct torc__member *fill; /* whose seat is to be filled, or NULL */
	uint32_t fill_position;
	struct torc__bell *bells[TORC__ROUND_MOST];
	struct torc__outcome outcomes[TORC__ROUND_MOST];
};

/* dispatch.c */

/* Take what is done, give what there is: until nothing is left to do for the caller. */
void torc__processes_harvest(struct torc__processes *p);
/* Only give. */
void torc__processes_pump(struct torc__processes *p);
/* Inside the guard, by the warden: it has died. Rounds have room for all of its seats. */
void torc__member_bury(struct torc__processes *p, struct torc__member *m, int wait_status,
		       struct torc__round *round);
/* Inside the guard: it is given no more, and ends when it has done what it has. Then its bell is to be rung. */
void torc__member_dismiss(struct torc__processes *p, struct torc__member *m);
/* What a round has left to do, outside. */
void torc__round_end(struct torc__processes *p, struct torc__round *round);
bool torc__processes_cancel(struct torc_executor *executor, struct torc_future *f);
/* Of those that workers have been given, cancel the ones that have not begun. */
void torc__processes_cancel_given(struct torc__processes *p);
/* Inside the guard, or as it was: calls in the queue. */
size_t torc__processes_queued(const struct torc__processes *p);
/* Inside the guard: workers that have nothing to do; calls that one was given and has not begun. */
size_t torc__processes_idle_workers(const struct torc__processes *p);
size_t torc__member_waiting(const struct torc__member *m);
/* Inside the guard: nothing is in the queue or in a seat. */
bool torc__processes_idle(const struct torc__processes *p);
/* Inside the guard, by the warden: it takes no more calls, for the first of the reasons. */
static inline void torc__processes_break(struct torc__processes *p, int error)
{
	if (!p->broken)
		p->error = error;
	p->broken = true;
}
/* Everything in the queue ends with this. */
void torc__processes_refuse(struct torc__processes *p, int status);

/* bells.c: who hears bells, and which pools there are. */
void torc__processes_list(struct torc__processes *p);
void torc__processes_unlist(struct torc__processes *p);
/* Keep one from being freed, if it still is there; NULL: it is not. Then it is to be let go. */
struct torc__processes *torc__processes_pin(const struct torc_executor *executor);
void torc__processes_unpin(struct torc__processes *p);
/* The calling thread's own bell, or NULL: it has not submitted anything, or is a loop's. AWAY but while it waits. */
extern __thread struct torc__bell *torc__bell_here;
/* It was rung: look at all pools. */
void torc__processes_answer(void);
/* For what the calling thread submits: the number to go into a slot. */
uint32_t torc__processes_bell(void);

/* warden.c */
void torc__warden_run(struct torc__thread *thread);
/* Have the fork server look at its berths. */
void torc__server_call(struct torc__processes *p);
/* Inside the guard: have a worker sent a signal; then the server is to be called. */
static inline void torc__member_kill(struct torc__member *m, int sig)
{
	if (m->berth->kill_signal != SIGKILL) /* which must not be forgotten for another one */
		m->berth->kill_signal = (uint32_t)sig;
	__atomic_store_n(&m->berth->kill, m->berth->kill + 1, __ATOMIC_RELEASE);
}
/* Send all workers a signal. */
void torc__processes_signal(struct torc__processes *p, int sig);
static inline void torc__warden_call(struct torc__processes *p)
{
	torc__bell_ring(&p->region->bell);
}

/* functions.c */
/* Where a function is: 0, or -EINVAL, -EMFILE, -ENAMETOOLONG. */
int torc__processes_resolve(struct torc__processes *p, const void *fn,
			    struct torc__function *ret_function);

/* memory.c */
/* Have the kernel give memory for a part of the region, or take it back: 0 or a negative errno. */
int torc__processes_hold(const struct torc__processes *p, uint64_t at, uint64_t bytes);
void torc__processes_release(const struct torc__processes *p, uint64_t at, uint64_t bytes);
bool torc__processes_shares(const struct torc__processes *p, const void *memory, size_t bytes);
void torc__processes_memory_done(struct torc__processes *p);

/* map.c */
int torc__processes_map(struct torc_executor *executor, const struct torc_map *map);

#endif
