/*
 * core/sim/main.c - many seeds of many scenarios, in child processes; shrinking what fails.
 *
 * The parent shares a page with each child, where the child leaves the seed that it runs: so the parent knows it
 * when the child dies. What a child writes to standard error goes to a file, which is emptied for each seed.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/sim/sim.h"

#define SEEDS_DEFAULT 1000
#define JOBS_MOST     64

/* A child that has not got on for so long hangs. */
#define HANG_S      20
#define ALARM_EVERY 16

/* Shrinking: for a run, and for all of it. */
#define SHRINK_RUN_S 3
#define SHRINK_S     60

/* A run has some thousand events. */
#define EVENTS_MOST 300000

/* Of so many seeds one is run twice: both runs have to be the same. */
#define TWICE_EVERY 64

/* One run, all of it. */
struct plan {
	const struct torc_sim_scenario *scenario;
	struct torc_sim_options sim;
	int loops;
	unsigned ring_entries, recv_buffers;
	char disable[128]; /* what TORC_DISABLE is set to */
};

struct shared {
	uint64_t seed;
	int scenario;
	uint64_t done;
	bool differs; /* two runs of the seed did */
};

struct runner {
	const char *program;
	const struct torc_sim_scenario *scenarios;
	const char *only;    /* scenario, or NULL */
	const char *chaos;   /* or NULL: by the seed */
	const char *disable; /* or NULL: by the seed */
	uint64_t from, seeds, most, fail_memory;
	int jobs, loops;
	bool one, trace, twice, no_shrink;
};

/* --- plans --- */

static uint64_t draw(uint64_t *state, uint64_t below)
{
	return torc__sim_next_random(state) % below;
}

/* How often at the most, where one in a million is never noticed and every time leaves nothing standing. */
static const uint32_t most_often[TORC_SIM_KINDS] = {
	[TORC_SIM_ORDER] = 1000000,   [TORC_SIM_DELAY] = 500000, [TORC_SIM_SHORT] = 700000,
	[TORC_SIM_ERROR] = 50000,     [TORC_SIM_END] = 300000,   [TORC_SIM_NOBUFS] = 200000,
	[TORC_SIM_OVERFLOW] = 200000, [TORC_SIM_BUSY] = 200000,  [TORC_SIM_RACE] = 800000,
	[TORC_SIM_RESET] = 20000,     [TORC_SIM_LOSS] = 200000,  [TORC_SIM_CLOCK] = 20000,
	[TORC_SIM_MEMORY] = 20000,
};

/* Half of the kinds, each up to its rate, or much less. */
static void plan_chaos(struct plan *p, uint64_t *state)
{
	if (!draw(state, 16))
		return; /* peace */
	for (int i = 0; i < TORC_SIM_KINDS; i++) {
		uint64_t divisor = draw(state, 3) ? 1 : 50;

		if (draw(state, 2))
			p->sim.rates[i] = (uint32_t)(1 + draw(state, most_often[i]) / divisor);
	}
}

/* One seed in four does without some of what newer kernels have. */
static void plan_features(struct plan *p, uint64_t *state)
{
	static const char *const names[] = { "msg_ring",      "recv_multishot", "min_wait",
					     "cqe_skip",      "membarrier",     "ring_ftruncate",
					     "fixed_buffers", "openat2" };

	if (draw(state, 4))
		return;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!draw(state, 2))
			continue;
		if (p->disable[0])
			strcat(p->disable, ",");
		strcat(p->disable, names[i]);
	}
}

static void leave_out(struct plan *p)
{
	for (int i = 0; i < TORC_SIM_KINDS; i++)
		if (p->scenario->without & 1u << i)
			p->sim.rates[i] = 0;
}

/* "order=1000,short=5". Returns false when it is not that. */
static bool parse_chaos(const char *text, uint32_t rates[TORC_SIM_KINDS])
{
	memset(rates, 0, TORC_SIM_KINDS * sizeof(*rates));
	while (*text) {
		size_t len = strcspn(text, "=");
		char *end;
		int i = 0;

		while (i < TORC_SIM_KINDS &&
		       (strlen(torc_sim_chaos_name((enum torc_sim_chaos)i)) != len ||
			memcmp(text, torc_sim_chaos_name((enum torc_sim_chaos)i), len)))
			i++;
		if (i == TORC_SIM_KINDS || text[len] != '=')
			return false;
		rates[i] = (uint32_t)strtoul(text + len + 1, &end, 10);
		if (end == text + len + 1 || (*end && *end != ','))
			return false;
		text = end + (*end == ',');
	}
	return true;
}

static struct plan plan_of(const struct runner *r, int scenario, uint64_t seed)
{
	const struct torc_sim_scenario *s = &r->scenarios[scenario];
	struct plan p = { .scenario = s, .sim = { .seed = seed, .events_most = EVENTS_MOST } };
	uint64_t state = seed * 0x9e3779b97f4a7c15u + (uint64_t)scenario;

	draw(&state, 2);
	plan_chaos(&p, &state);
	p.loops = s->loops ? s->loops : 1 + (int)draw(&state, 3);
	p.ring_entries = 8u << draw(&state, 5);
	p.recv_buffers = s->recv_buffers ? s->recv_buffers : 8u << draw(&state, 4);
	plan_features(&p, &state);
	if (r->disable)
		snprintf(p.disable, sizeof(p.disable), "%s", r->disable);
	if (r->chaos)
		(void)parse_chaos(r->chaos, p.sim.rates);
	leave_out(&p);
	if (r->loops)
		p.loops = r->loops;
	p.sim.chaos_most = r->most;
	p.sim.fail_memory = r->fail_memory;
	return p;
}

/* --- one run --- */

static bool memory_may_fail(const struct plan *p)
{
	return p->sim.rates[TORC_SIM_MEMORY] || p->sim.rates[TORC_SIM_ERROR] || p->sim.fail_memory;
}

/* Returns 0, or what the first fiber returned when that is a failure. */
static int run_plan(const struct plan *p, struct torc_sim_report *ret_report)
{
	struct torc_options options = {
		.loops = p->loops,
		.ring_entries = p->ring_entries,
		.recv_buffers = p->recv_buffers,
	};
	int r = torc_sim_new(&p->sim, &options.sim);

	if (r < 0)
		return r;
	setenv("TORC_DISABLE", p->disable, 1);
	r = torc_run(&options, p->scenario->fn, p->scenario->arg);
	torc_sim_report(options.sim, ret_report);
	torc_sim_free(options.sim);
	if (r == -ENOMEM && memory_may_fail(p))
		return 0;
	return r < 0 ? r : 0;
}

static void say_failed(const struct plan *p, int r)
{
	fprintf(stderr, "scenario \"%s\" failed: %s\n", p->scenario->name, strerror(-r));
}

/* In a child: does not return. */
static _Noreturn void run_and_exit(const struct plan *p)
{
	struct torc_sim_report report;
	int r;

	alarm(SHRINK_RUN_S);
	r = run_plan(p, &report);
	if (r)
		say_failed(p, r);
	_exit(r ? 1 : 0);
}

/* --- workers --- */

static void begin_errors(int fd)
{
	(void)dup2(fd, STDERR_FILENO);
}

static void empty_errors(void)
{
	if (lseek(STDERR_FILENO, 0, SEEK_CUR) > 0 && !ftruncate(STDERR_FILENO, 0))
		(void)lseek(STDERR_FILENO, 0, SEEK_SET);
}

static void check_twice(const struct plan *p, const struct torc_sim_report *first,
			struct shared *shared)
{
	struct torc_sim_report second;

	if (run_plan(p, &second) || second.trace_hash == first->trace_hash)
		return;
	shared->differs = true;
	fprintf(stderr, "two runs of one seed differ: %llu and %llu events\n",
		(unsigned long long)first->events, (unsigned long long)second.events);
	_exit(1);
}

static bool is_wanted(const struct runner *r, int scenario)
{
	return !r->only || !strcmp(r->only, r->scenarios[scenario].name);
}

static void run_seed(const struct runner *r, int scenario, uint64_t seed, struct shared *shared)
{
	struct plan p = plan_of(r, scenario, seed);
	struct torc_sim_report report;
	int result;

	shared->seed = seed;
	shared->scenario = scenario;
	empty_errors();
	result = run_plan(&p, &report);
	if (result) {
		say_failed(&p, result);
		_exit(1);
	}
	if (r->twice || !(seed % TWICE_EVERY))
		check_twice(&p, &report, shared);
	shared->done++;
}

static _Noreturn void work(const struct runner *r, int job, struct shared *shared)
{
	for (uint64_t i = (uint64_t)job; i < r->seeds; i += (uint64_t)r->jobs) {
		if (!(i / (uint64_t)r->jobs % ALARM_EVERY))
			alarm(HANG_S);
		for (int s = 0; r->scenarios[s].name; s++)
			if (is_wanted(r, s))
				run_seed(r, s, r->from + i, shared);
	}
	_exit(0);
}

/* --- shrinking --- */

static int errors_fd(void)
{
	FILE *f = tmpfile();

	return f ? fileno(f) : -1;
}

static bool fails(const struct plan *p)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return false;
	if (!pid) {
		begin_errors(errors_fd());
		run_and_exit(p);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status != 0;
}

static time_t shrink_until;

static bool try(struct plan *p, const struct plan *smaller)
{
	if (time(NULL) > shrink_until || !fails(smaller))
		return false;
	*p = *smaller;
	return true;
}

static void shrink_kinds(struct plan *p)
{
	for (int i = 0; i < TORC_SIM_KINDS; i++) {
		struct plan smaller = *p;

		smaller.sim.rates[i] = 0;
		if (p->sim.rates[i])
			try(p, &smaller);
	}
}

/* The least number of pieces of chaos, if more of them always fail too; else some number that fails. */
static void shrink_count(struct plan *p)
{
	struct plan smaller = *p;
	uint64_t low = 0, high = 1;

	for (; high < 1u << 24; low = high, high *= 2) {
		smaller.sim.chaos_most = high;
		if (try(p, &smaller))
			break;
	}
	while (p->sim.chaos_most && low + 1 < p->sim.chaos_most) {
		smaller.sim.chaos_most = low + (p->sim.chaos_most - low) / 2;
		if (!try(p, &smaller))
			low = smaller.sim.chaos_most;
	}
}

static void shrink(struct plan *p)
{
	struct plan smaller = *p;

	shrink_until = time(NULL) + SHRINK_S;
	smaller.disable[0] = '\0';
	if (p->disable[0])
		try(p, &smaller);
	smaller = *p;
	smaller.loops = 1;
	if (p->loops > 1)
		try(p, &smaller);
	shrink_kinds(p);
	shrink_count(p);
	shrink_kinds(p);
}

static void print_command(const struct runner *r, const struct plan *p)
{
	const char *separator = "";

	printf("  %s --scenario '%s' --seed %llu --loops %d --chaos '", r->program,
	       p->scenario->name, (unsigned long long)p->sim.seed, p->loops);
	for (int i = 0; i < TORC_SIM_KINDS; i++) {
		if (!p->sim.rates[i])
			continue;
		printf("%s%s=%u", separator, torc_sim_chaos_name((enum torc_sim_chaos)i),
		       p->sim.rates[i]);
		separator = ",";
	}
	printf("' --disable '%s'", p->disable);
	if (p->sim.chaos_most)
		printf(" --most %llu", (unsigned long long)p->sim.chaos_most);
	if (p->sim.fail_memory)
		printf(" --fail-memory %llu", (unsigned long long)p->sim.fail_memory);
	printf("\n");
}

static void print_errors(int fd)
{
	char buf[4096];
	ssize_t n;

	fflush(stdout);
	(void)lseek(fd, 0, SEEK_SET);
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		if (write(STDOUT_FILENO, buf, (size_t)n) < 0)
			break;
}

static void report_failure(const struct runner *r, const struct shared *shared, int status,
			   int errors)
{
	struct plan p = plan_of(r, shared->scenario, shared->seed);

	printf("FAILED scenario \"%s\", seed %llu: ", p.scenario->name,
	       (unsigned long long)p.sim.seed);
	if (WIFSIGNALED(status))
		printf("%s\n", strsignal(WTERMSIG(status)));
	else
		printf("exit status %d\n", WEXITSTATUS(status));
	print_errors(errors);
	printf("to run it again:\n");
	print_command(r, &p);
	fflush(stdout);
	if (r->no_shrink || shared->differs)
		return;
	shrink(&p);
	printf("the least that fails:\n");
	print_command(r, &p);
	fflush(stdout);
}

/* --- many --- */

static double seconds_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

struct worker {
	pid_t pid;
	int errors;
	struct shared *shared;
};

static void start_worker(const struct runner *r, int job, struct worker *w)
{
	w->shared = mmap(NULL, sizeof(*w->shared), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	w->errors = errors_fd();
	if (w->shared == MAP_FAILED || w->errors < 0) {
		perror("torc_sim_main");
		exit(1);
	}
	fflush(stdout);
	w->pid = fork();
	if (!w->pid) {
		begin_errors(w->errors);
		work(r, job, w->shared);
	}
}

static struct worker *find_worker(struct worker *workers, int count, pid_t pid)
{
	for (int i = 0; i < count; i++)
		if (workers[i].pid == pid)
			return &workers[i];
	return NULL;
}

/* The first failure ends all: the others are killed. Returns the failed one, or NULL. */
static struct worker *await_workers(struct worker *workers, int count, int *ret_status)
{
	struct worker *failed = NULL;

	for (int left = count; left;) {
		int status;
		pid_t pid = waitpid(-1, &status, 0);
		struct worker *w = pid > 0 ? find_worker(workers, count, pid) : NULL;

		if (!w)
			continue;
		w->pid = 0;
		left--;
		if (!status || failed)
			continue;
		failed = w;
		*ret_status = status;
		for (int i = 0; i < count; i++)
			if (workers[i].pid)
				kill(workers[i].pid, SIGKILL);
	}
	return failed;
}

static int run_many(const struct runner *r)
{
	struct worker workers[JOBS_MOST], *failed;
	double start = seconds_now(), took;
	uint64_t done = 0;
	int status;

	for (int i = 0; i < r->jobs; i++)
		start_worker(r, i, &workers[i]);
	failed = await_workers(workers, r->jobs, &status);
	took = seconds_now() - start;
	for (int i = 0; i < r->jobs; i++)
		done += workers[i].shared->done;
	if (failed)
		report_failure(r, failed->shared, status, failed->errors);
	printf("%llu runs in %.1f s, %.0f a second and core\n", (unsigned long long)done, took,
	       (double)done / took / r->jobs);
	return failed ? 1 : 0;
}

/* --- one --- */

static int run_one_seed(const struct runner *r)
{
	int failures = 0;

	for (int s = 0; r->scenarios[s].name; s++) {
		struct plan p = plan_of(r, s, r->from);
		struct torc_sim_report report;
		int result;

		if (!is_wanted(r, s))
			continue;
		if (r->trace)
			p.sim.trace_fd = STDOUT_FILENO;
		result = run_plan(&p, &report);
		if (result)
			say_failed(&p, result);
		failures += result != 0;
		if (!r->trace)
			printf("%s: trace %016llx, %llu events, %llu operations, %llu allocations, %.6f s\n",
			       p.scenario->name, (unsigned long long)report.trace_hash,
			       (unsigned long long)report.events,
			       (unsigned long long)report.operations,
			       (unsigned long long)report.allocations,
			       (double)report.time_ns / 1e9);
	}
	return failures ? 1 : 0;
}

/* --- the command line --- */

static void help(const struct runner *r)
{
	printf("Usage: %s [OPTION]...\n"
	       "Run scenarios on the simulated kernel of torc, for many seeds.\n\n"
	       "  --seeds N        so many; default %d\n"
	       "  --from N         the first; default 1\n"
	       "  --seed N         only this one, in this process\n"
	       "  --trace          with --seed: print all that happens\n"
	       "  --scenario NAME  only this one; --list prints their names\n"
	       "  --chaos K=N,...  these kinds of chaos, N times out of a million; default: by the seed\n"
	       "  --disable F,...  these features of the kernel (TORC_DISABLE); default: by the seed\n"
	       "  --most N         only so many pieces of chaos\n"
	       "  --fail-memory N  the N-th allocation fails\n"
	       "  --loops N        so many loops\n"
	       "  --jobs N         so many processes; default: one per core\n"
	       "  --twice          run each seed twice and compare\n"
	       "  --no-shrink      do not look for the least that fails\n"
	       "  --list, --help\n\n"
	       "Kinds of chaos:",
	       r->program, SEEDS_DEFAULT);
	for (int i = 0; i < TORC_SIM_KINDS; i++)
		printf(" %s", torc_sim_chaos_name((enum torc_sim_chaos)i));
	printf("\n");
}

static void list(const struct runner *r)
{
	for (const struct torc_sim_scenario *s = r->scenarios; s->name; s++)
		printf("%s\n", s->name);
}

static bool number(const char *text, uint64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && !errno;
}

/* An option with a value. Returns whether both are right. */
static bool option(struct runner *r, const char *name, const char *value)
{
	static uint32_t ignored[TORC_SIM_KINDS];
	uint64_t n = 0;

	if (!value)
		return false;
	if (!strcmp(name, "--scenario")) {
		r->only = value;
		return true;
	}
	if (!strcmp(name, "--disable")) {
		r->disable = value;
		return strlen(value) < sizeof(((struct plan *)0)->disable);
	}
	if (!strcmp(name, "--chaos")) {
		r->chaos = value;
		return parse_chaos(value, ignored);
	}
	if (!number(value, &n))
		return false;
	if (!strcmp(name, "--seeds"))
		r->seeds = n;
	else if (!strcmp(name, "--from"))
		r->from = n;
	else if (!strcmp(name, "--seed"))
		r->from = n, r->one = true;
	else if (!strcmp(name, "--most"))
		r->most = n;
	else if (!strcmp(name, "--fail-memory"))
		r->fail_memory = n;
	else if (!strcmp(name, "--loops") && n >= 1 && n <= TORC__SIM_LOOPS)
		r->loops = (int)n;
	else if (!strcmp(name, "--jobs") && n >= 1 && n <= JOBS_MOST)
		r->jobs = (int)n;
	else
		return false;
	return true;
}

static bool flag(struct runner *r, const char *name)
{
	if (!strcmp(name, "--trace"))
		r->trace = true;
	else if (!strcmp(name, "--twice"))
		r->twice = true;
	else if (!strcmp(name, "--no-shrink"))
		r->no_shrink = true;
	else
		return false;
	return true;
}

static bool has_scenario(const struct runner *r)
{
	for (int i = 0; r->scenarios[i].name; i++)
		if (is_wanted(r, i))
			return true;
	return false;
}

static int wrong(const struct runner *r, const char *argument)
{
	fprintf(stderr, "%s: wrong argument '%s'; try --help\n", r->program, argument);
	return 2;
}

int torc_sim_main(int argc, char **argv, const struct torc_sim_scenario *scenarios)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	struct runner r = {
		.program = argc ? argv[0] : "sim",
		.scenarios = scenarios,
		.from = 1,
		.seeds = SEEDS_DEFAULT,
		.jobs = cores < 1           ? 1
			: cores > JOBS_MOST ? JOBS_MOST
					    : (int)cores,
	};

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help"))
			return help(&r), 0;
		if (!strcmp(argv[i], "--list"))
			return list(&r), 0;
		if (flag(&r, argv[i]))
			continue;
		if (!option(&r, argv[i], argv[i + 1]))
			return wrong(&r, argv[i]);
		i++;
	}
	if (!has_scenario(&r))
		return wrong(&r, r.only);
	return r.one ? run_one_seed(&r) : run_many(&r);
}
