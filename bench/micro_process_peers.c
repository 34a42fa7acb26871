/*
 * micro_process_peers.c - what a pool of processes is measured beside.
 *
 * The pool by hand: two workers, forked from this very process; two pipes each, with room for 1 MiB; a frame is a head
 * with the length, and bytes. The program hands a worker as many calls in advance as its pipe has room for, up to 16, and
 * polls for results. Both sides read what there is at once, and write a frame by one system call. A worker that dies is
 * known by the end of its pipe, and forked anew.
 */
#include "bench/process_peers.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/micro.h"

#define TRIPS         10000
#define LARGE_TRIPS   400
#define BATCHES       20
#define LARGE_BATCHES 5
#define CRASHES       200
#define STARTS        40

/* Items of a part of a map: what torc chooses for 10^6 of 8 and 8 bytes. */
#define CHUNK 16384

/* --- round trips --- */

void process_report_trips(const struct process_trips *trips, double *ns)
{
	char metric[64];

	snprintf(metric, sizeof(metric), "%s, p50", trips->what);
	micro_report(metric, micro_median_of(ns, trips->count) / trips->unit_ns, trips->unit,
		     MICRO_NO_TARGET);
	snprintf(metric, sizeof(metric), "%s, p99", trips->what);
	micro_report(metric, ns[trips->count * 99 / 100] / trips->unit_ns, trips->unit,
		     MICRO_NO_TARGET);
}

int process_measure_trips(const struct process_trips *trips)
{
	double *ns = calloc(trips->count, sizeof(*ns));
	int r = ns ? 0 : -ENOMEM;

	for (size_t i = 0; i < trips->count && r >= 0; i++) {
		double start = micro_now_ns();

		r = trips->trip(trips->arg);
		ns[i] = micro_now_ns() - start;
	}
	if (r >= 0)
		process_report_trips(trips, ns);
	free(ns);
	return r < 0 ? r : 0;
}

/* --- eventfd ping-pong --- */

/* A child that does not outlive this process. */
static pid_t fork_child(void)
{
	pid_t parent = getpid(), pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
	}
	return pid;
}

static _Noreturn void answer(const struct ping_pong *p)
{
	eventfd_t n;

	while (eventfd_read(p->there, &n) == 0 && eventfd_write(p->back, 1) == 0)
		continue;
	_exit(1);
}

int ping_pong_start(struct ping_pong *p)
{
	p->there = eventfd(0, EFD_CLOEXEC);
	p->back = eventfd(0, EFD_CLOEXEC);
	p->pid = p->there < 0 || p->back < 0 ? -1 : fork_child();
	if (p->pid == 0)
		answer(p);
	return p->pid < 0 ? -errno : 0;
}

int ping_pong_trip(void *arg)
{
	const struct ping_pong *p = arg;
	eventfd_t n;

	return eventfd_write(p->there, 1) == 0 && eventfd_read(p->back, &n) == 0 ? 0 : -errno;
}

void ping_pong_end(struct ping_pong *p)
{
	if (p->pid > 0) {
		kill(p->pid, SIGKILL);
		waitpid(p->pid, NULL, 0);
	}
	close(p->there);
	close(p->back);
}

/* --- frames --- */

enum kind { ECHO, SQUARE, DIE };

struct head {
	uint32_t kind, bytes;
};

#define STREAM_BYTES 65536u

/* The reading end of a pipe. */
struct stream {
	int fd;
	size_t begin, end;
	char data[STREAM_BYTES];
};

static size_t held(const struct stream *s)
{
	return s->end - s->begin;
}

/* Once. Returns false at the end of the pipe, or on an error. */
static bool read_some(int fd, void *to, size_t room, size_t *ret_count)
{
	ssize_t n;

	do
		n = read(fd, to, room);
	while (n < 0 && errno == EINTR);
	*ret_count = n > 0 ? (size_t)n : 0;
	return n > 0;
}

static bool take(struct stream *s, char *to, size_t bytes)
{
	while (bytes) {
		size_t count = held(s) < bytes ? held(s) : bytes;

		if (count) {
			memcpy(to, s->data + s->begin, count);
			s->begin += count;
		} else if (bytes >= STREAM_BYTES) {
			if (!read_some(s->fd, to, bytes, &count))
				return false;
		} else {
			s->begin = 0;
			if (!read_some(s->fd, s->data, STREAM_BYTES, &s->end))
				return false;
		}
		to += count;
		bytes -= count;
	}
	return true;
}

static bool send_frame(int fd, struct head head, const void *bytes)
{
	size_t all = sizeof(head) + head.bytes, sent = 0;

	while (sent < all) {
		size_t of_head = sent < sizeof(head) ? sizeof(head) - sent : 0;
		size_t of_bytes = sent + of_head - sizeof(head);
		struct iovec parts[] = {
			{ (char *)&head + sizeof(head) - of_head, of_head },
			{ (char *)(uintptr_t)bytes + of_bytes, head.bytes - of_bytes },
		};
		ssize_t n = writev(fd, parts, 2);

		if (n < 0 && errno != EINTR)
			return false;
		sent += n > 0 ? (size_t)n : 0;
	}
	return true;
}

/* --- a worker --- */

static void make_result(uint32_t kind, const char *arg, char *result, size_t bytes)
{
	switch (kind) {
	case ECHO: memcpy(result, arg, bytes); break;
	case SQUARE:
		for (size_t i = 0; i < bytes / sizeof(uint64_t); i++) {
			uint64_t item = ((const uint64_t *)(const void *)arg)[i];

			((uint64_t *)(void *)result)[i] = item * item;
		}
		break;
	default: raise(SIGKILL);
	}
}

static _Noreturn void work(int in, int out)
{
	static struct stream calls;
	static _Alignas(64) char arg[PROCESS_LARGE], result[PROCESS_LARGE];
	struct head head;

	calls.fd = in;
	while (take(&calls, (char *)&head, sizeof(head)) && head.bytes <= sizeof(arg) &&
	       take(&calls, arg, head.bytes)) {
		make_result(head.kind, arg, result, head.bytes);
		if (!send_frame(out, head, result))
			break;
	}
	_exit(0);
}

/* --- the pool --- */

#define PIPE_BYTES ((size_t)1 << 20)
#define DEPTH      16u

struct call {
	uint32_t kind;
	size_t bytes;
	const void *arg;
	void *result;
};

struct worker {
	pid_t pid;
	int in;
	struct stream results;
	unsigned first, used; /* calls that it has been handed */
	struct call *calls[DEPTH];
};

static struct worker workers[PROCESS_WORKERS];

static void close_worker(struct worker *w)
{
	close(w->in);
	close(w->results.fd);
	waitpid(w->pid, NULL, 0);
	w->pid = 0;
}

/* It has the ends of the other's pipes too, which would hide that the program is gone. */
static _Noreturn void go_to_work(const struct worker *w, const int *there, const int *back)
{
	for (unsigned i = 0; i < PROCESS_WORKERS; i++)
		if (&workers[i] != w && workers[i].pid > 0) {
			close(workers[i].in);
			close(workers[i].results.fd);
		}
	close(there[1]);
	close(back[0]);
	work(there[0], back[1]);
}

static int open_worker(struct worker *w)
{
	int there[2], back[2];

	w->first = w->used = 0;
	w->results.begin = w->results.end = 0;
	if (pipe2(there, O_CLOEXEC) < 0 || pipe2(back, O_CLOEXEC) < 0)
		return -errno;
	fcntl(there[1], F_SETPIPE_SZ, (int)PIPE_BYTES);
	fcntl(back[1], F_SETPIPE_SZ, (int)PIPE_BYTES);
	w->pid = fork_child();
	if (w->pid == 0)
		go_to_work(w, there, back);
	close(there[0]);
	close(back[1]);
	w->in = there[1];
	w->results.fd = back[0];
	return w->pid < 0 ? -errno : 0;
}

static int open_pool(void)
{
	int r = 0;

	for (unsigned i = 0; i < PROCESS_WORKERS && r == 0; i++)
		r = open_worker(&workers[i]);
	return r;
}

static void close_pool(void)
{
	for (unsigned i = 0; i < PROCESS_WORKERS; i++)
		if (workers[i].pid > 0)
			close_worker(&workers[i]);
}

/* More than its pipe has room for would have both sides wait for each other. */
static unsigned depth_of(size_t bytes)
{
	size_t depth = PIPE_BYTES / (bytes + 4096);

	return depth < 1 ? 1 : depth > DEPTH ? DEPTH : (unsigned)depth;
}

/* The one with the least to do. */
static struct worker *pick(unsigned depth)
{
	struct worker *best = &workers[0];

	for (unsigned i = 1; i < PROCESS_WORKERS; i++)
		if (workers[i].used < best->used)
			best = &workers[i];
	return best->used < depth ? best : NULL;
}

static bool hand(struct worker *w, struct call *call)
{
	w->calls[(w->first + w->used++) % DEPTH] = call;
	return send_frame(w->in, (struct head){ call->kind, (uint32_t)call->bytes }, call->arg);
}

static bool take_result(struct worker *w)
{
	struct call *call = w->calls[w->first % DEPTH];
	struct head head;

	if (!take(&w->results, (char *)&head, sizeof(head)) || head.bytes != call->bytes ||
	    !take(&w->results, call->result, head.bytes))
		return false;
	w->first++;
	w->used--;
	return true;
}

/* Returns how many results that were; or -EPIPE: the worker has died and was replaced, and its calls are lost. */
static int hear(struct worker *w)
{
	int count = 0, r;

	do {
		if (!take_result(w)) {
			close_worker(w);
			r = open_worker(w);
			return r < 0 ? r : -EPIPE;
		}
		count++;
	} while (held(&w->results) && w->used);
	return count;
}

static int hear_all(void)
{
	struct pollfd fds[PROCESS_WORKERS];
	int heard = 0;

	for (unsigned i = 0; i < PROCESS_WORKERS; i++)
		fds[i] = (struct pollfd){ workers[i].used ? workers[i].results.fd : -1, POLLIN, 0 };
	if (poll(fds, PROCESS_WORKERS, -1) < 0)
		return errno == EINTR ? 0 : -errno;
	for (unsigned i = 0; i < PROCESS_WORKERS; i++) {
		int n = fds[i].revents ? hear(&workers[i]) : 0;

		if (n < 0)
			return n;
		heard += n;
	}
	return heard;
}

/* All of them, of the same size. */
static int run_calls(struct call *calls, size_t count)
{
	unsigned depth = depth_of(calls->bytes);
	size_t begun = 0, ended = 0;

	while (ended < count) {
		struct worker *w;
		int n;

		while (begun < count && (w = pick(depth)))
			if (!hand(w, &calls[begun++]))
				return -EPIPE;
		n = hear_all();
		if (n < 0)
			return n;
		ended += (size_t)n;
	}
	return 0;
}

/* --- rows --- */

/* Of all calls: as many as eight large ones have, which is more than a map takes. */
static char *arg_bytes, *result_bytes;

static int one_trip(void *arg)
{
	struct call *call = arg;
	int r;

	++*(uint64_t *)(uintptr_t)call->arg;
	r = run_calls(call, 1);
	return r < 0 ? r : memcmp(call->result, call->arg, sizeof(uint64_t)) ? -EBADMSG : 0;
}

static int report_trips(void)
{
	struct call small = { ECHO, PROCESS_SMALL, arg_bytes, result_bytes };
	struct call large = { ECHO, PROCESS_LARGE, arg_bytes, result_bytes };
	int r = process_measure_trips(&(struct process_trips){ "fork+pipe: round trip 64 B",
							       one_trip, &small, TRIPS, 1, "ns" });

	return r < 0 ? r
		     : process_measure_trips(&(struct process_trips){ "fork+pipe: round trip 1 MiB",
								      one_trip, &large, LARGE_TRIPS,
								      1e3, "us" });
}

struct rate {
	size_t bytes, batch, batches;
	int error;
};

/* Thousands of calls a second. */
static double measure_rate(void *arg)
{
	static struct call calls[PROCESS_BATCH];
	struct rate *rate = arg;
	double start;

	for (size_t i = 0; i < rate->batch; i++)
		calls[i] = (struct call){ ECHO, rate->bytes,
					  arg_bytes + i % PROCESS_LARGE_BATCH * rate->bytes,
					  result_bytes + i % PROCESS_LARGE_BATCH * rate->bytes };
	start = micro_now_ns();
	for (size_t i = 0; i < rate->batches; i++)
		rate->error |= run_calls(calls, rate->batch);
	return (double)(rate->batch * rate->batches) * 1e6 / (micro_now_ns() - start);
}

/* The bytes are those of eight calls, whatever the size. */
static int report_rates(void)
{
	struct rate small = { PROCESS_SMALL, PROCESS_BATCH, BATCHES, 0 };
	struct rate large = { PROCESS_LARGE, PROCESS_LARGE_BATCH, LARGE_BATCHES, 0 };

	micro_report_rate("fork+pipe: batches of 1000, 64 B", micro_median(measure_rate, &small),
			  "k/s", MICRO_NO_TARGET);
	micro_report_rate("fork+pipe: batches of 8, 1 MiB", micro_median(measure_rate, &large),
			  "k/s", MICRO_NO_TARGET);
	return small.error | large.error;
}

static double measure_map(void *arg)
{
	struct call parts[PROCESS_ITEMS / CHUNK + 1];
	size_t each = CHUNK * sizeof(uint64_t), all = PROCESS_ITEMS * sizeof(uint64_t), n = 0;
	double start = micro_now_ns();

	for (size_t at = 0; at < all; at += each)
		parts[n++] = (struct call){ SQUARE, all - at < each ? all - at : each,
					    arg_bytes + at, result_bytes + at };
	*(int *)arg |= run_calls(parts, n);
	return (micro_now_ns() - start) / 1e6;
}

static int report_map(void)
{
	uint64_t *items = (uint64_t *)(void *)arg_bytes;
	const uint64_t *squares = (const uint64_t *)(void *)result_bytes;
	int error = 0;

	for (uint64_t i = 0; i < PROCESS_ITEMS; i++)
		items[i] = i;
	micro_report("fork+pipe: map, 10^6 small items", micro_median(measure_map, &error), "ms",
		     MICRO_NO_TARGET);
	return error || squares[PROCESS_ITEMS - 1] != (uint64_t)999999 * 999999 ? -EIO : 0;
}

/* Without large memory, which costs those who fork. */
static _Alignas(64) char small_arg[PROCESS_SMALL], small_result[PROCESS_SMALL];
static struct call die = { DIE, PROCESS_SMALL, small_arg, small_result };
static struct call echo = { ECHO, PROCESS_SMALL, small_arg, small_result };

static int crash(void)
{
	int r = run_calls(&die, 1);

	return r == -EPIPE ? 0 : r < 0 ? r : -EIO;
}

static int crash_and_go_on(void *arg)
{
	int r = crash();

	return r < 0 ? r : one_trip(arg);
}

static int report_crashes(void)
{
	double start = micro_now_ns();
	int r = 0;

	for (unsigned i = 0; i < CRASHES && r == 0; i++)
		r = crash();
	if (r < 0)
		return r;
	micro_report_rate("fork+pipe: crash and replace", CRASHES * 1e9 / (micro_now_ns() - start),
			  "/s", MICRO_NO_TARGET);
	return process_measure_trips(&(struct process_trips){
		"fork+pipe: crash to next success", crash_and_go_on, &echo, CRASHES, 1e3, "us" });
}

/* Both are handed a call each. */
static int report_starts(void)
{
	double up[STARTS], down[STARTS];
	struct call calls[PROCESS_WORKERS] = { echo, echo };
	int r = 0;

	for (unsigned i = 0; i < STARTS && r == 0; i++) {
		double start = micro_now_ns();

		r = open_pool();
		if (r == 0)
			r = run_calls(calls, PROCESS_WORKERS);
		up[i] = (micro_now_ns() - start) / 1e6;
		close_pool();
		down[i] = (micro_now_ns() - start) / 1e6 - up[i];
	}
	if (r < 0)
		return r;
	micro_report("fork+pipe: start-up", micro_median_of(up, STARTS), "ms", MICRO_NO_TARGET);
	micro_report("fork+pipe: destroy", micro_median_of(down, STARTS), "ms", MICRO_NO_TARGET);
	return 0;
}

static int in_pool(int (*rows)(void))
{
	int r = open_pool();

	if (r == 0)
		r = rows();
	close_pool();
	return r;
}

static int report_large(void)
{
	int r = report_trips();

	if (r == 0)
		r = report_rates();
	return r < 0 ? r : report_map();
}

int process_fork_pipe(void)
{
	size_t bytes = PROCESS_LARGE * PROCESS_LARGE_BATCH;
	int r = report_starts();

	if (r == 0)
		r = in_pool(report_crashes);
	if (r < 0)
		return r;
	arg_bytes = calloc(1, bytes);
	result_bytes = calloc(1, bytes);
	r = arg_bytes && result_bytes ? in_pool(report_large) : -ENOMEM;
	free(arg_bytes);
	free(result_bytes);
	return r;
}
