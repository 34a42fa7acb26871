/*
 * executor/internal/region.h - the memory that a pool of processes shares with its fork server and its workers.
 *
 *	one memfd	mapped by
 *	  region	program and fork server: written; workers: read only
 *	  doorstep	all: written
 *	  link 0	program and worker 0: written
 *	  link 1	...
 *	  common	all: written (torc_process_alloc)
 *
 * A worker maps what it needs before it runs anything of the program, and closes the descriptor: it needs none
 * to work, so that a call which closes them all does no harm. What it may write to is not trusted: the program keeps its own
 * record of what it has put where, and takes from a link only states, statuses and sizes, which it checks.
 *
 * A slot
 *
 *	         program               worker               worker                program
 *	  FREE ----------> READY -----------------> RUNNING ---------> DONE ------------> FREE
 *	                     |                         |                ^
 *	                     | program: take it back   | program        |
 *	                     |                         +-> CONDEMNED    |
 *	                     +--> VOID ------------ worker: skip it ----+
 *
 * Each arrow away from READY and RUNNING is a compare and swap, so that one side has its way. A worker that finds CONDEMNED
 * where it wants to write DONE waits for the SIGKILL that is coming. Slots are used round and round; both sides count.
 */
#ifndef TORC_EXECUTOR_INTERNAL_REGION_H
#define TORC_EXECUTOR_INTERNAL_REGION_H

#include <linux/futex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/internal/bell.h"
#include "executor/internal/module.h"

#define TORC__PROCESSES_MOST 256u

/* Calls that a worker has been given and not been relieved of: it goes on without waiting for the program. */
#define TORC__SLOTS 16u

/* Argument and result that find room beside their slot; what is more goes to a bay. */
#define TORC__INLINE_BYTES 1024u
#define TORC__BAYS         2u

/* Of a result behind its argument in a bay: some lines, and not as many as a page has. */
#define TORC__SKEW 2112u

#define TORC__INITIALIZER_BYTES 3072u

enum torc__slot_state {
	TORC__SLOT_FREE,
	TORC__SLOT_READY,
	TORC__SLOT_RUNNING,
	TORC__SLOT_DONE,
	TORC__SLOT_VOID,
	TORC__SLOT_CONDEMNED,
};

/* Bytes somewhere in the memfd. */
struct torc__span {
	uint64_t at, bytes;
};

/* A function: a module of the region's table, and how far behind its base. */
struct torc__function {
	uint64_t offset;
	uint32_t module;
};

struct torc__slot {
	_Alignas(64) uint32_t state;
	uint32_t
		bell; /* to be rung when it is done. 0: the pool's own; i + 1: bell i (core/internal/bell.h) */
	struct torc__function function;
	struct torc__span arg, result;
	/* A map: */
	struct torc__span items;
	uint64_t count; /* of items; 0: it is a call */
	uint64_t result_each;

	/* By the worker, before DONE. */
	_Alignas(64) int32_t status;
	uint64_t made; /* bytes of result; of a map, results */
	uint64_t took_ns;
	_Alignas(64) uint8_t data[TORC__INLINE_BYTES];
};

/* Behind it, from the next page on, its bays. */
struct torc__link {
	struct torc__bell bell; /* the worker's */
	/* By the program. */
	_Alignas(64) uint32_t quit; /* the worker ends when it has come to quit_at */
	uint32_t quit_at;
	/* By the worker: 1 when its initializer has run, or the error of that. */
	_Alignas(64) int32_t ready;
	struct torc__slot slots[TORC__SLOTS];
};

/* What the program and the fork server tell each other of a worker. */
struct torc__berth {
	/* by the program */
	_Alignas(64) uint32_t start; /* one more: start one; only when `ended` is the same */
	uint32_t kill, kill_signal;  /* one more: send a signal */
	uint32_t kills_before;       /* of them, those that were for an earlier worker */
	/* by the fork server */
	_Alignas(64) uint32_t started; /* becomes `start` */
	pid_t pid;
	uint32_t ended;      /* becomes `started`, when it is dead and its process group too */
	int32_t wait_status; /* or a negative errno: it could not be forked */
};

/* What all may write to. Workers ring here; who must be heard whatever they do rings the region's own bell. */
struct torc__doorstep {
	struct torc__bell bell; /* the pool's own */
};

/*
 * The fork server is alive as long as the word has its thread id. The kernel changes it when that thread ends, and
 * wakes who waits for it: a robust futex (set_robust_list(2)).
 */
struct torc__life {
	struct robust_list list;
	uint32_t word; /* 0: not there yet */
};

/* As the system shows it. */
#define TORC__WORKER_NAME "torc-worker"

#define TORC__REGION_MAGIC 0x746f7263726730u

struct torc__region {
	uint64_t magic;
	uint64_t
		layout; /* a number that differs where the layout does; these three stay where they are */
	int32_t greeting; /* the fork server's first word: 1, or why it cannot */
	uint32_t workers;
	/* offsets in the memfd, and sizes */
	uint64_t doorstep;
	uint64_t links, link_bytes; /* of the first; of each, a multiple of the page size */
	uint64_t bays, bay_bytes;   /* of the first in a link; of each */
	uint64_t common, common_bytes;

	int32_t nice;
	uint32_t cpu_seconds;
	uint64_t memory_max;
	struct torc__function initializer; /* when has_initializer */
	bool has_initializer;
	uint64_t initializer_bytes;
	_Alignas(64) uint8_t initializer_arg[TORC__INITIALIZER_BYTES];

	pid_t program; /* whose death is theirs */
	uint32_t stop; /* the fork server is to end */
	struct torc__life life;
	struct torc__bell bell; /* the warden's: rung by the fork server and the program */

	struct torc__module torc; /* that torc itself is in */
	uint32_t modules_count;
	struct torc__module modules[TORC__MODULES_MOST];
	struct torc__berth berths[TORC__PROCESSES_MOST];
};

static inline uint64_t torc__region_layout(void)
{
	return sizeof(struct torc__region) << 32 | sizeof(struct torc__link);
}

static inline uint64_t torc__whole_pages(uint64_t bytes)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	return (bytes + page - 1) / page * page;
}

static inline struct torc__doorstep *torc__region_doorstep(struct torc__region *region)
{
	return (struct torc__doorstep *)(void *)((char *)region + region->doorstep);
}

/* A change of a slot's state that the other side may forestall. */
static inline bool torc__slot_change(struct torc__slot *slot, uint32_t from, uint32_t to)
{
	return __atomic_compare_exchange_n(&slot->state, &from, to, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_ACQUIRE);
}

static inline uint32_t torc__slot_look(const struct torc__slot *slot)
{
	return __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE);
}

/* The environment variable by which a program knows that it is a fork server, and the descriptors that it has then. */
#define TORC__PROCESS_VARIABLE "TORC_PROCESS_POOL"
#define TORC__REGION_FD        3
#define TORC__BELLS_FD         4
#define TORC__CALL_FD \
	5 /* a socket: a byte is a call to look at the berths, its end that of the program */

/* executor/process/server.c: what a fork server does; and worker.c: what a worker does. They do not return. */
_Noreturn void torc__server_main(void);
_Noreturn void torc__worker_process(struct torc__region *region, unsigned index);

/* -1: not a worker; TORC__PROCESSES_MOST: a fork server. */
extern int torc__process_index;

#endif
