/*
 * process_peers.h - what a pool of processes is measured beside: two processes that wake each other, and a pool as one
 * writes it by hand. And how both files of this bench time round trips.
 */
#ifndef TORC_BENCH_PROCESS_PEERS_H
#define TORC_BENCH_PROCESS_PEERS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PROCESS_WORKERS 2

/* Bytes of an argument, and as many of its result. */
#define PROCESS_SMALL 64u
#define PROCESS_LARGE ((size_t)1 << 20)

#define PROCESS_BATCH       1000 /* small calls */
#define PROCESS_LARGE_BATCH 8
#define PROCESS_ITEMS       1000000 /* of a map: 8 bytes each, and as many of its result */

/* ---- round trips ---- */

typedef int process_trip_fn(void *arg);

struct process_trips {
	const char *what; /* the rows are "what, p50" and "what, p99" */
	process_trip_fn *trip;
	void *arg;
	size_t count;
	double unit_ns;
	const char *unit;
};

/* Returns 0, or what a trip has returned that was less. */
int process_measure_trips(const struct process_trips *trips);

/* Two rows. The values, in ns, are sorted by this. */
void process_report_trips(const struct process_trips *trips, double *ns);

/* ---- peers ---- */

/* Two eventfds and a process that answers: nothing is passed but that there is something. */
struct ping_pong {
	int there, back;
	pid_t pid;
};

int ping_pong_start(struct ping_pong *p);
int ping_pong_trip(void *p);
void ping_pong_end(struct ping_pong *p);

/* The rows of the pool by hand, each "fork+pipe: ...". */
int process_fork_pipe(void);

#endif
