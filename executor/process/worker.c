/*
 * executor/process/worker.c - what a worker does: take the next slot, run what is in it, say so.
 */
#include <torc/executor/map.h>
#include <torc/executor/process.h>

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/internal/loop.h"
#include "executor/internal/region.h"

/*
 * When to look out for the next call before sleeping, as a loop does (core/loop.c): after a nap that was as short as that,
 * until it is in vain once.
 */
#define NAP_NS   150000u
#define VIGIL_NS 50000u

/* See sleep_until_rung. */
#define PATIENCE_NS 200000

/* The value of a worker's own memory that is 0 in a process that was forked from it (MADV_WIPEONFORK). */
#define THE_WORKER 1u

struct process {
	struct torc__region *region;
	struct torc__doorstep *doorstep;
	struct torc__bell *bells;
	struct torc__link *link;
	char *link_start, *common;
	uint64_t link_at;
	const uint32_t *self; /* THE_WORKER */
	bool may_watch, vigilant;
	uint64_t since_ns;                   /* when the call began that it runs */
	struct torc__bell *rung;             /* the latest that was not the warden's, or NULL */
	uintptr_t bases[TORC__MODULES_MOST]; /* 0: not looked for yet; one more than the base */
};

/* --- coming up --- */

static _Noreturn void give_up(struct process *p, int error)
{
	__atomic_store_n(&p->link->ready, error, __ATOMIC_RELEASE);
	_exit(1);
}

static void *map_shared(int fd, uint64_t at, size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
			    (off_t)at);

	if (memory == MAP_FAILED) {
		fprintf(stderr, "torc: a worker has no memory for what it shares\n");
		_exit(1);
	}
	madvise(memory, bytes, MADV_DONTDUMP);
	return memory;
}

/* It is 0 in a child, so that a child that returns from the function of a call does not go on as the worker. */
static const uint32_t *mark_self(void)
{
	long page = sysconf(_SC_PAGESIZE);
	uint32_t *self = mmap(NULL, (size_t)page, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (self == MAP_FAILED || madvise(self, (size_t)page, MADV_WIPEONFORK) < 0)
		_exit(1);
	*self = THE_WORKER;
	return self;
}

static void map_all(struct process *p, struct torc__region *region, unsigned index)
{
	p->region = region;
	p->doorstep = map_shared(TORC__REGION_FD, region->doorstep, sizeof(*p->doorstep));
	p->bells = map_shared(TORC__BELLS_FD, 0, TORC__BELLS * sizeof(*p->bells));
	p->link_at = region->links + index * region->link_bytes;
	p->link_start = map_shared(TORC__REGION_FD, p->link_at, region->link_bytes);
	p->link = (struct torc__link *)(void *)p->link_start;
	p->common = map_shared(TORC__REGION_FD, region->common, region->common_bytes);
	mprotect(region, sizeof(*region), PROT_READ);
	close(TORC__REGION_FD);
	close(TORC__BELLS_FD);
	close(TORC__CALL_FD);
}

static void *memory_of(const struct process *p, struct torc__span span)
{
	if (span.at >= p->region->common)
		return p->common + (span.at - p->region->common);
	return span.bytes ? p->link_start + (span.at - p->link_at) : NULL;
}

/* The server's death is its death. */
static void follow_server(const struct torc__region *region)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != (pid_t)(region->life.word & FUTEX_TID_MASK))
		_exit(0);
}

/* Its group is its own. */
static void leave_server(const struct torc__region *region)
{
	sigset_t none;

	follow_server(region);
	setpgid(0, 0);
	prctl(PR_SET_NAME, TORC__WORKER_NAME);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void limit(__rlimit_resource_t resource, rlim_t value)
{
	struct rlimit r;

	if (getrlimit(resource, &r) < 0)
		return;
	r.rlim_cur = r.rlim_max == RLIM_INFINITY || value < r.rlim_max ? value : r.rlim_max;
	setrlimit(resource, &r);
}

static void limit_memory(const struct process *p)
{
	FILE *file;
	unsigned long pages = 0;
	rlim_t most;

	if (!p->region->memory_max)
		return;
	file = fopen("/proc/self/statm", "re");
	if (!file || fscanf(file, "%lu", &pages) != 1)
		_exit(1);
	fclose(file);
	if (__builtin_add_overflow(pages * (rlim_t)sysconf(_SC_PAGESIZE), p->region->memory_max,
				   &most))
		return;
	limit(RLIMIT_AS, most);
}

/* --- functions --- */

/* Returns 0, or what torc__module_find says. */
static int find_base(struct process *p, uint32_t module, uintptr_t *ret_base)
{
	int r;

	if (module >= TORC__MODULES_MOST)
		return -ESTALE;
	if (!p->bases[module]) {
		r = torc__module_find(&p->region->modules[module], ret_base);
		if (r < 0)
			return r;
		p->bases[module] = *ret_base + 1;
	}
	*ret_base = p->bases[module] - 1;
	return 0;
}

static int find_function(struct process *p, struct torc__function f, const void **ret_fn)
{
	bool known = f.module < TORC__MODULES_MOST && p->bases[f.module];
	uintptr_t base = 0;
	int r = find_base(p, f.module, &base);

	if (r < 0)
		return r;
	*ret_fn = (const void *)(base + f.offset);
	return known || torc__module_has_code(*ret_fn) ? 0 : -ESTALE;
}

/* --- calls --- */

/* A child that has come back from a function that was not its own. */
static void check_self(const struct process *p)
{
	if (*(volatile const uint32_t *)p->self != THE_WORKER)
		_exit(0);
}

static int run_call(const struct process *p, const void *fn, const struct torc__slot *slot,
		    uint64_t *ret_made)
{
	struct torc_process_call call = {
		.fn = (torc_process_call_fn *)(uintptr_t)fn,
		.arg = memory_of(p, slot->arg),
		.arg_bytes = slot->arg.bytes,
		.result = memory_of(p, slot->result),
		.result_bytes = slot->result.bytes,
	};
	uint64_t room = slot->result.bytes;
	int status = call.fn(&call);

	if (status >= 0 && call.result_bytes > room)
		status = -EMSGSIZE;
	*ret_made = status < 0 ? 0 : call.result_bytes;
	return status;
}

static int run_map(const struct process *p, const void *fn, const struct torc__slot *slot,
		   uint64_t *ret_made)
{
	torc_map_fn *map = (torc_map_fn *)(uintptr_t)fn;
	void *arg = memory_of(p, slot->arg);
	const char *item = memory_of(p, slot->items);
	char *result = memory_of(p, slot->result);
	uint64_t count = slot->count, each = slot->result_each,
		 item_bytes = slot->items.bytes / count;
	int status = 0;

	for (*ret_made = 0; *ret_made < count; ++*ret_made) {
		status = map(arg, item, result);
		if (status < 0)
			return status;
		item = item ? item + item_bytes : NULL;
		result = result ? result + each : NULL;
	}
	return 0;
}

/* The limit is one of the process: move it on by what a call may use. */
static void limit_cpu(unsigned seconds)
{
	struct timespec used;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	limit(RLIMIT_CPU, (rlim_t)used.tv_sec + (used.tv_nsec > 0) + seconds);
}

static void run(struct process *p, struct torc__slot *slot)
{
	uint64_t made = 0, now;
	const void *fn;
	int status;

	if (p->region->cpu_seconds)
		limit_cpu(p->region->cpu_seconds);
	status = find_function(p, slot->function, &fn);
	if (status == 0)
		status = slot->count ? run_map(p, fn, slot, &made) : run_call(p, fn, slot, &made);
	check_self(p);
	now = torc_now_ns();
	slot->took_ns = now - p->since_ns;
	p->since_ns = now; /* of the next, if that is there already */
	slot->status = status;
	slot->made = made;
}

/* --- waiting --- */

static bool quits(const struct torc__link *link, uint32_t position)
{
	return __atomic_load_n(&link->quit, __ATOMIC_ACQUIRE) && link->quit_at == position;
}

/* What is DONE has not been taken yet: everything else is for later. */
static bool has_news(const struct process *p, const struct torc__slot *slot, uint32_t position)
{
	uint32_t state = torc__slot_look(slot);

	return state == TORC__SLOT_READY || state == TORC__SLOT_VOID || quits(p->link, position);
}

static bool look_out(struct process *p, const struct torc__slot *slot, uint32_t position)
{
	uint64_t until = torc_now_ns() + VIGIL_NS;

	do {
		for (int i = 0; i < 16; i++) {
			if (has_news(p, slot, position))
				return true;
			torc__relax();
		}
	} while (torc_now_ns() < until);
	p->vigilant = false;
	return false;
}

/*
 * A loop or thread that does not answer its bell is busy with something else, for how long nobody knows. With nothing to
 * do but for what it would give out, it is better told to the warden.
 */
static void sleep_until_rung(struct process *p, struct torc__bell *bell)
{
	const struct timespec patience = { .tv_nsec = PATIENCE_NS };
	bool unheard = p->rung && torc__bell_rung(p->rung);

	if (syscall(SYS_futex, &bell->word, FUTEX_WAIT, TORC__BELL_ASLEEP,
		    unheard ? &patience : NULL, NULL, 0) == 0 ||
	    errno != ETIMEDOUT)
		return;
	if (torc__bell_rung(p->rung))
		torc__bell_ring(&p->doorstep->bell);
	p->rung = NULL;
}

static void await_news(struct process *p, const struct torc__slot *slot, uint32_t position)
{
	struct torc__bell *bell = &p->link->bell;
	uint64_t since;

	if (has_news(p, slot, position))
		return;
	if (p->vigilant && torc__bell_from_elsewhere(bell) && look_out(p, slot, position)) {
		p->since_ns = torc_now_ns();
		return;
	}
	since = torc_now_ns();
	for (;;) {
		torc__bell_clear(bell);
		if (has_news(p, slot, position))
			break;
		if (torc__bell_sleepy(bell))
			sleep_until_rung(p, bell);
	}
	p->since_ns = torc_now_ns();
	p->vigilant = p->may_watch && p->since_ns - since < NAP_NS;
}

/* --- all of it --- */

/* Who is to be told: slot->bell, read while the slot was ours. */
static void ring(struct process *p, uint32_t bell)
{
	p->rung = bell && bell <= TORC__BELLS ? &p->bells[bell - 1] : NULL;
	if (!p->rung || !torc__bell_ring(p->rung))
		torc__bell_ring(&p->doorstep->bell);
}

static void await_death(void)
{
	for (;;)
		pause();
}

static void serve(struct process *p)
{
	uint32_t position = 0;

	for (;;) {
		struct torc__slot *slot = &p->link->slots[position % TORC__SLOTS];
		uint32_t bell;

		await_news(p, slot, position);
		bell = slot->bell;
		if (torc__slot_change(slot, TORC__SLOT_READY, TORC__SLOT_RUNNING)) {
			run(p, slot);
			if (!torc__slot_change(slot, TORC__SLOT_RUNNING, TORC__SLOT_DONE))
				await_death();
		} else if (!torc__slot_change(slot, TORC__SLOT_VOID, TORC__SLOT_DONE)) {
			if (quits(p->link, position))
				exit(0);
			continue; /* it was taken back just now */
		}
		ring(p, bell);
		position++;
	}
}

static void initialize(struct process *p)
{
	struct torc__region *region = p->region;
	struct torc_process_call call = { .arg = region->initializer_arg,
					  .arg_bytes = region->initializer_bytes };
	const void *fn;
	int r;

	if (!region->has_initializer)
		return;
	r = find_function(p, region->initializer, &fn);
	if (r == 0) {
		call.fn = (torc_process_call_fn *)(uintptr_t)fn;
		r = call.fn(&call);
		check_self(p);
	}
	if (r < 0)
		give_up(p, r);
}

/* As many as leave a core to the program look out. */
static bool may_watch(unsigned index)
{
	cpu_set_t cores;

	return sched_getaffinity(0, sizeof(cores), &cores) == 0 &&
	       (int)index < CPU_COUNT(&cores) - 1;
}

void torc__worker_process(struct torc__region *region, unsigned index)
{
	static struct process p;

	torc__process_index = (int)index;
	leave_server(region);
	map_all(&p, region, index);
	p.self = mark_self();
	p.may_watch = may_watch(index);
	if (region->nice && nice(region->nice) == -1)
		errno = 0; /* more niceness is always granted; less is a wish */
	limit_memory(&p);
	initialize(&p);
	follow_server(region); /* who has changed its user is not told any more (prctl(2)) */
	__atomic_store_n(&p.link->ready, 1, __ATOMIC_RELEASE);
	torc__bell_ring(&p.doorstep->bell);
	serve(&p);
	_exit(0);
}
