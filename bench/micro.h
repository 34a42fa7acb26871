/*
 * micro.h - what the small measurements of torc-bench share.
 *
 * A measurement is a function that does its work often enough to be timed and returns what one piece
 * of it took. It is repeated, and the median is reported: one interrupt more or less does not show.
 */
#ifndef TORC_BENCH_MICRO_H
#define TORC_BENCH_MICRO_H

#include <math.h>
#include <stdint.h>
#include <time.h>

#include <torc/core/run.h>

#define MICRO_REPEATS   7
#define MICRO_NO_TARGET NAN

struct micro {
	const char *name;
	const char *what; /* one line, for `torc-bench list` */
	int (*run)(void); /* 0, or a negative errno after a line on standard error */
};

extern const struct micro micro_switch, micro_yield, micro_spawn, micro_sleep, micro_scope,
	micro_cross, micro_memory, micro_http_parse, micro_op, micro_chan, micro_select,
	micro_mutex, micro_local, micro_timeout, micro_gen, micro_submit, micro_fork, micro_map,
	micro_offload, micro_process, micro_zerocopy;

/* Print one result of the bench that runs. @target: the value that is to be reached, less is better. */
void micro_report(const char *metric, double value, const char *unit, double target);

/* The same of a rate: more is better. */
void micro_report_rate(const char *metric, double value, const char *unit, double target);

/* Rows about channels to a loop (as in torc_spawn_options): in a fiber, for the bench `cross`. */
int micro_chan_cross(int loop);

typedef double micro_fn(void *arg);

/* Measure once to warm up, then MICRO_REPEATS times; the median of those. */
double micro_median(micro_fn *measure, void *arg);

/* The median of values[0 .. count - 1], which are sorted by this. */
double micro_median_of(double *values, size_t count);

/*
 * Run fn(NULL) as the first fiber of one loop, of which nothing but the measurement is to be seen. With
 * `--cores 2` there is a second loop, which sleeps.
 */
int micro_in_fiber(torc_fn *fn);

static inline double micro_clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static inline double micro_now_ns(void)
{
	return micro_clock_ns(CLOCK_MONOTONIC);
}

/* The thread's processor time: for what sleeps now and then. */
static inline double micro_cpu_ns(void)
{
	return micro_clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

#endif
