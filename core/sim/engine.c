#include "core/sim/sim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/internal/dump.h"
#include "core/internal/runtime.h"

#define EVENTS_MOST 1000000u
#define TIME_MOST   TORC_SECONDS(86400)

struct torc__sim *torc__sim;

static const char *const chaos_names[TORC_SIM_KINDS] = {
	[TORC_SIM_ORDER] = "order",       [TORC_SIM_DELAY] = "delay", [TORC_SIM_SHORT] = "short",
	[TORC_SIM_ERROR] = "error",       [TORC_SIM_END] = "end",     [TORC_SIM_NOBUFS] = "nobufs",
	[TORC_SIM_OVERFLOW] = "overflow", [TORC_SIM_BUSY] = "busy",   [TORC_SIM_RACE] = "race",
	[TORC_SIM_RESET] = "reset",       [TORC_SIM_LOSS] = "loss",   [TORC_SIM_CLOCK] = "clock",
	[TORC_SIM_MEMORY] = "memory",
};

const char *torc_sim_chaos_name(enum torc_sim_chaos kind)
{
	return (unsigned)kind < TORC_SIM_KINDS ? chaos_names[kind] : NULL;
}

/* --- random numbers --- */

uint64_t torc__sim_next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

uint64_t torc__sim_draw(unsigned stream, uint64_t below)
{
	uint64_t value = torc__sim_next_random(&torc__sim->random[stream]);

	return (uint64_t)((unsigned __int128)value * below >> 64);
}

bool torc__sim_chaos(enum torc_sim_chaos kind)
{
	struct torc__sim *sim = torc__sim;
	uint32_t rate = sim->options.rates[kind];

	/* Start-up is in peace: a run that never begins shows nothing. */
	if (!rate || sim->peace || !sim->running || sim->rt->opened < sim->rt->loop_count)
		return false;
	if (torc__sim_draw(kind, TORC_SIM_ALWAYS) >= rate)
		return false;
	if (sim->options.chaos_most && sim->chaos_total >= sim->options.chaos_most)
		return false;
	sim->chaos_total++;
	sim->report.chaos[kind]++;
	torc__sim_note(chaos_names[kind], -1, (int64_t)sim->chaos_total, 0);
	return true;
}

size_t torc__sim_pick(size_t n)
{
	if (n < 2 || !torc__sim_chaos(TORC_SIM_ORDER))
		return 0;
	return (size_t)torc__sim_draw(TORC_SIM_ORDER, n);
}

size_t torc__sim_cut(size_t len)
{
	if (len < 2 || !torc__sim_chaos(TORC_SIM_SHORT))
		return len;
	/* Mostly a few bytes, or nearly all: where the corners are. */
	switch (torc__sim_draw(TORC_SIM_SHORT, 4)) {
	case 0: return 1;
	case 1: return len - 1;
	default: return 1 + (size_t)torc__sim_draw(TORC_SIM_SHORT, len - 1);
	}
}

/* Of any order of magnitude from 1 us to 100 ms. */
uint64_t torc__sim_latency(uint64_t usual_ns)
{
	uint64_t most = 1000;

	if (!torc__sim_chaos(TORC_SIM_DELAY))
		return usual_ns;
	for (uint64_t n = torc__sim_draw(TORC_SIM_DELAY, 6); n; n--)
		most *= 10;
	return usual_ns + torc__sim_draw(TORC_SIM_DELAY, most);
}

/* --- events --- */

static bool before(const struct torc__sim_event *a, const struct torc__sim_event *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void place(struct torc__sim *sim, struct torc__sim_event *event, size_t index)
{
	sim->heap[index] = event;
	event->index = index;
}

static void rise(struct torc__sim *sim, struct torc__sim_event *event, size_t index)
{
	for (; index > 1 && before(event, sim->heap[index / 2]); index /= 2)
		place(sim, sim->heap[index / 2], index);
	place(sim, event, index);
}

static void sink(struct torc__sim *sim, struct torc__sim_event *event, size_t index)
{
	size_t child;

	for (; (child = 2 * index) <= sim->heap_count; index = child) {
		if (child < sim->heap_count && before(sim->heap[child + 1], sim->heap[child]))
			child++;
		if (!before(sim->heap[child], event))
			break;
		place(sim, sim->heap[child], index);
	}
	place(sim, event, index);
}

void torc__sim_at(struct torc__sim_event *event, uint64_t at_ns,
		  void (*run)(struct torc__sim_event *event))
{
	struct torc__sim *sim = torc__sim;

	torc__sim_forget(event);
	event->at_ns = at_ns;
	event->run = run;
	/* At the same time: as they came, or under TORC_SIM_ORDER at random. */
	event->order = ++sim->event_order;
	if (torc__sim_chaos(TORC_SIM_ORDER))
		event->order = torc__sim_draw(TORC_SIM_ORDER, 2 * event->order);
	if (sim->heap_count + 1 >= sim->heap_capacity) {
		sim->heap_capacity = sim->heap_capacity ? 2 * sim->heap_capacity : 64;
		sim->heap =
			realloc(sim->heap, sim->heap_capacity * sizeof(struct torc__sim_event *));
		if (!sim->heap)
			torc__sim_fail("no memory", NULL);
	}
	rise(sim, event, ++sim->heap_count);
}

void torc__sim_forget(struct torc__sim_event *event)
{
	struct torc__sim *sim = torc__sim;
	size_t index = event->index;
	struct torc__sim_event *last;

	if (!index)
		return;
	event->index = 0;
	last = sim->heap[sim->heap_count--];
	if (last == event)
		return;
	if (before(last, event))
		rise(sim, last, index);
	else
		sink(sim, last, index);
}

uint64_t torc__sim_next(void)
{
	return torc__sim->heap_count ? torc__sim->heap[1]->at_ns : TORC_NEVER;
}

void torc__sim_count(void)
{
	struct torc__sim *sim = torc__sim;
	uint64_t events = sim->options.events_most ? sim->options.events_most : EVENTS_MOST;
	uint64_t time = sim->options.time_most_ns ? sim->options.time_most_ns : TIME_MOST;

	if (++sim->report.events > events)
		torc__sim_fail("the run takes more events than it may", NULL);
	if (sim->now_ns > time)
		torc__sim_fail("the run takes longer than it may", NULL);
}

void torc__sim_run_due(void)
{
	struct torc__sim *sim = torc__sim;

	while (torc__sim_next() <= sim->now_ns) {
		struct torc__sim_event *event = sim->heap[1];

		torc__sim_forget(event);
		torc__sim_count();
		event->run(event);
	}
}

/* --- the trace --- */

static void flush(void)
{
	struct torc__sim *sim = torc__sim;
	size_t done = 0;

	while (done < sim->trace_len) {
		ssize_t n = write(sim->options.trace_fd, sim->trace + done, sim->trace_len - done);

		if (n < 0 && errno != EINTR)
			break;
		done += n > 0 ? (size_t)n : 0;
	}
	sim->trace_len = 0;
}

static void mix(uint64_t *hash, uint64_t value)
{
	*hash = (*hash ^ value) * 0x9fb21c651e98df25u;
	*hash ^= *hash >> 29;
}

static void write_line(struct torc__sim *sim, const char *verb, int64_t a, int64_t b, int64_t c)
{
	const struct torc__loop *loop = torc__loop();
	int n;

	if (sizeof(sim->trace) - sim->trace_len < 160)
		flush();
	n = snprintf(sim->trace + sim->trace_len, sizeof(sim->trace) - sim->trace_len,
		     "%llu.%09llu loop %d %s %lld %lld %lld\n",
		     (unsigned long long)(sim->now_ns / 1000000000u),
		     (unsigned long long)(sim->now_ns % 1000000000u), loop ? loop->index : -1, verb,
		     (long long)a, (long long)b, (long long)c);
	if (n > 0)
		sim->trace_len += (size_t)n;
}

void torc__sim_note(const char *verb, int64_t a, int64_t b, int64_t c)
{
	struct torc__sim *sim = torc__sim;
	uint64_t *hash = &sim->report.trace_hash;

	mix(hash, sim->now_ns);
	mix(hash, (uint64_t)(unsigned char)verb[0] << 8 | (unsigned char)verb[1]);
	mix(hash, (uint64_t)a);
	mix(hash, (uint64_t)b);
	mix(hash, (uint64_t)c);
	if (sim->options.trace_fd)
		write_line(sim, verb, a, b, c);
}

void torc__sim_fail(const char *what, const char *detail)
{
	struct torc__sim *sim = torc__sim;

	torc__sim_note("failed", 0, 0, 0);
	flush();
	fprintf(stderr, "torc: simulator: %s%s%s (seed %llu, event %llu, after %llu ns)\n", what,
		detail ? ": " : "", detail ? detail : "", (unsigned long long)sim->options.seed,
		(unsigned long long)sim->report.events, (unsigned long long)sim->now_ns);
	if (sim->running && sim->rt && torc__loop())
		(void)torc__dump(torc__loop(), STDERR_FILENO);
	abort();
}

/* --- the public part --- */

static void begin(struct torc_sim *seam)
{
	torc__sim = (struct torc__sim *)(void *)seam;
	torc__memory_blocks = 0;
}

static void finish(struct torc_sim *seam)
{
	struct torc__sim *sim = (struct torc__sim *)(void *)seam;

	torc__sim_files_end();
	torc__sim_disk_done();
	if (torc__memory_blocks)
		torc__sim_fail("memory of the library was never freed", NULL);
	torc__sim_note("end", (int64_t)sim->report.operations, 0, 0);
	flush();
	torc__sim = NULL;
}

int torc_sim_new(const struct torc_sim_options *options, struct torc_sim **ret_sim)
{
	struct torc__sim *sim = calloc(1, sizeof(*sim));
	uint64_t state;

	if (!sim)
		return -ENOMEM;
	sim->seam.kernel = &torc__sim_kernel;
	sim->seam.system = &torc__sim_system;
	sim->seam.begin = begin;
	sim->seam.end = finish;
	if (options)
		sim->options = *options;
	state = sim->options.seed;
	for (int i = 0; i < TORC__SIM_STREAMS; i++)
		sim->random[i] = torc__sim_next_random(&state);
	sim->report.trace_hash = 0x746f7263u;
	sim->now_ns = TORC_SECONDS(1);
	sim->next_port = 32768;
	*ret_sim = &sim->seam;
	return 0;
}

void torc_sim_free(struct torc_sim *seam)
{
	struct torc__sim *sim = (struct torc__sim *)seam;

	if (!sim)
		return;
	free(sim->heap);
	free(sim->files);
	free(sim);
}

void torc_sim_report(const struct torc_sim *seam, struct torc_sim_report *ret_report)
{
	const struct torc__sim *sim = (const struct torc__sim *)seam;

	if (!sim)
		sim = torc__sim;
	torc__check(sim, "torc_sim_report outside of a simulation");
	*ret_report = sim->report;
	ret_report->time_ns = sim->now_ns;
}

uint64_t torc_sim_random(uint64_t below)
{
	torc__check(torc__sim, "torc_sim_random outside of a simulation");
	return torc__sim_draw(TORC__SIM_PROGRAM, below);
}

bool torc_sim_running(void)
{
	return torc__sim != NULL;
}

void torc_sim_peace(void)
{
	torc__check(torc__sim, "torc_sim_peace outside of a simulation");
	torc__sim->peace = true;
}
