/*
 * The pool of processes: what is passed to its workers and back, what they are born with, how they die and what of that is
 * told to whom, limits, shared memory, and that nothing is left of it.
 *
 * What workers do is checked there with `check`, too: then the call fails with -EPIPE, as its worker has aborted.
 */
#include "tests/executor/run.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#include <torc/core/gen.h>
#include <torc/core/sim.h>

#include <torc/executor/map.h>
#include <torc/executor/process.h>
#include <torc/executor/wait.h>

#include "executor/internal/region.h"

TestSuite(process, .timeout = 20);

#define EARLY_WORD "TORC_TEST_EARLY_WORD"

/* Workers are this program, and main is Criterion's. */
__attribute__((constructor)) static void begin(void)
{
	if (getenv(EARLY_WORD))
		fputs(getenv(EARLY_WORD), stdout);
	torc_process_begin();
}

#define PROCESSES(...) (&(struct torc_process_options){ __VA_ARGS__ })
#define PAGE           ((size_t)sysconf(_SC_PAGESIZE))
#define MiB            ((size_t)1 << 20)

/* --- where bodies run, and what they leave --- */

/* A condition is waited for, never a time: while others of this loop go on, too. */
static void rest(void)
{
	if (torc_in_fiber())
		(void)torc_yield();
	sched_yield();
}

#define UNTIL(what)             \
	do {                    \
		while (!(what)) \
			rest(); \
	} while (0)

/* Files without a name that are mapped: memory that is shared, for one. */
static int count_shared_mappings(void)
{
	FILE *file = fopen("/proc/self/maps", "re");
	char line[512];
	int n = 0;

	check(file);
	while (fgets(line, sizeof(line), file))
		n += strstr(line, "(deleted)") != NULL && !strstr(line, "torc-bells");
	fclose(file);
	return n;
}

static bool has_children(void)
{
	siginfo_t info;
	int r = waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL);

	check(r == 0 || errno == ECHILD);
	return r == 0;
}

/* No thread, no descriptor, no child, zombies included, and no memory that was shared. */
static void leaving_nothing(void (*in)(body_fn *body), body_fn *body)
{
	int fds = count_fds(), mappings = count_shared_mappings();

	without_leaks(in, body);
	check_eq(count_fds(), fds);
	check_eq(count_shared_mappings(), mappings);
	check(!has_children());
}

#define PROCESS_BODY(name) static void process__##name(void)

#define IN_A_FIBER(name)                                      \
	PROCESS_BODY(name);                                   \
	Test(process, name)                                   \
	{                                                     \
		leaving_nothing(in_a_fiber, process__##name); \
	}                                                     \
	PROCESS_BODY(name)

#define IN_A_THREAD(name)                                      \
	PROCESS_BODY(name);                                    \
	Test(process, name)                                    \
	{                                                      \
		leaving_nothing(in_a_thread, process__##name); \
	}                                                      \
	PROCESS_BODY(name)

/* Programs are slow to start with ASan, so there it is one test. */
#if defined(__SANITIZE_ADDRESS__) || defined(TORC_DEBUG)
#define BOTH(name)                                             \
	PROCESS_BODY(name);                                    \
	Test(process, name##_everywhere)                       \
	{                                                      \
		leaving_nothing(in_a_fiber, process__##name);  \
		leaving_nothing(in_a_thread, process__##name); \
	}                                                      \
	PROCESS_BODY(name)
#else
#define BOTH(name)                                             \
	PROCESS_BODY(name);                                    \
	Test(process, name##_in_a_fiber)                       \
	{                                                      \
		leaving_nothing(in_a_fiber, process__##name);  \
	}                                                      \
	Test(process, name##_in_a_thread)                      \
	{                                                      \
		leaving_nothing(in_a_thread, process__##name); \
	}                                                      \
	PROCESS_BODY(name)
#endif

/* --- pools and calls --- */

static struct torc_executor *processes_with(const struct torc_process_options *options)
{
	struct torc_executor *pool = NULL;

	check_eq(torc_process_create(options, &pool), 0);
	check(pool);
	return pool;
}

static struct torc_process_stats stats_of(struct torc_executor *pool)
{
	struct torc_process_stats stats;

	memset(&stats, 0xa5, sizeof(stats));
	torc_process_stats(pool, &stats);
	check_le(stats.idle, stats.workers);
	return stats;
}

static void all_are_there(struct torc_executor *pool)
{
	UNTIL(stats_of(pool).workers == torc_executor_parallelism(pool));
}

static struct torc_future *start(struct torc_executor *pool, struct torc_process_call *call)
{
	return submit(pool, torc_process_call_run, call);
}

/* How it ends; and it is put. */
static int finish(struct torc_future *f)
{
	int r = torc_await(f, NULL);

	torc_future_put(f);
	return r;
}

static int run_call(struct torc_executor *pool, struct torc_process_call *call)
{
	struct torc_future *f = start(pool, call);
	void *value = UNTOUCHED;
	int r = torc_await(f, &value);

	check(value == (r < 0 ? UNTOUCHED : call->result));
	check_eq(torc_future_state(f), TORC_DONE);
	torc_future_put(f);
	return r;
}

/* A call without result. */
static int run_fn(struct torc_executor *pool, torc_process_call_fn *fn, const void *arg,
		  size_t arg_bytes)
{
	struct torc_process_call call = { .fn = fn, .arg = arg, .arg_bytes = arg_bytes };

	return run_call(pool, &call);
}

static int add_one(struct torc_process_call *call)
{
	*(int *)call->result = *(const int *)call->arg + 1;
	return 0;
}

static void check_works(struct torc_executor *pool)
{
	for (int i = 0; i < 5; i++) {
		int n = i, result = -1;
		struct torc_process_call call = { .fn = add_one,
						  .arg = &n,
						  .arg_bytes = sizeof(n),
						  .result = &result,
						  .result_bytes = sizeof(result) };

		check_eq(run_call(pool, &call), 0);
		check_eq(result, i + 1);
		check_eq(call.result_bytes, sizeof(result));
	}
}

/* It fails for ever: with all that it had been given just before that was known. */
static void check_broken_soon(struct torc_executor *pool, bool others)
{
	int n = 0, result = -1, r;
	struct torc_process_call call = { .fn = add_one,
					  .arg = &n,
					  .arg_bytes = sizeof(n),
					  .result = &result,
					  .result_bytes = sizeof(result) };
	struct torc_future *f;

	while ((r = torc_submit(pool, torc_process_call_run, &call, &f)) == 0) {
		r = finish(f);
		check(r == -EPIPE || (others && r >= 0)); /* by a worker that was left */
	}
	check_eq(r, -EPIPE);
	f = (void *)UNTOUCHED;
	check_eq(torc_submit(pool, torc_process_call_run, &call, &f), -EPIPE);
	check(f == (void *)UNTOUCHED);
	check_eq(torc_submit_many(pool, torc_process_call_run, (void *[]){ &call }, 1, &f), -EPIPE);
}

static void check_broken(struct torc_executor *pool)
{
	check_broken_soon(pool, false);
}

static int tell_pid(struct torc_process_call *call)
{
	(void)call;
	return getpid();
}

static int end_call_with(struct torc_process_call *call)
{
	return *(const int *)call->arg;
}

/* --- processes --- */

/* As /proc says, and who its parent is; 0: it is not there. */
static char state_of(pid_t pid, pid_t *ret_parent)
{
	char path[64], text[512] = "", state = 0, *rest;
	int parent = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	if (!file) {
		check_eq(errno, ENOENT);
		return 0;
	}
	rest = fgets(text, sizeof(text), file) ? strrchr(text, ')') : NULL;
	fclose(file);
	if (!rest)
		return 0;
	check_eq(sscanf(rest + 1, " %c %d", &state, &parent), 2);
	if (ret_parent)
		*ret_parent = parent;
	return state;
}

/* Or it has ended and nobody has looked: an orphan's parent is none of ours. */
static bool gone(pid_t pid)
{
	char state = state_of(pid, NULL);

	return !state || state == 'Z' || state == 'X';
}

static pid_t fork_server_of(pid_t worker)
{
	pid_t parent = 0;

	check(state_of(worker, &parent));
	check(parent > 1 && parent != getpid());
	return parent;
}

static pid_t one_worker(struct torc_executor *pool)
{
	int pid = 0;

	UNTIL(torc_process_pids(pool, &pid, 1) >= 1);
	check(pid > 1);
	return pid;
}

/* --- calls that are held --- */

/* In shared memory. */
struct held {
	atomic_int begun, open, over, pid, worker;
};

struct holding {
	struct torc_executor *pool;
	struct held *held;
	struct torc_process_call call;
	struct torc_future *f;
};

static int hold_worker(struct torc_process_call *call)
{
	struct held *h = (struct held *)call->arg;

	h->pid = getpid();
	h->worker = torc_process_worker();
	h->begun++;
	while (!h->open)
		sched_yield();
	h->over++;
	return ANSWER;
}

/* A call that cannot be asked to end. */
static int hold_worker_by_force(struct torc_process_call *call)
{
	struct held *h = (struct held *)call->arg;
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	h->pid = getpid();
	h->begun++;
	while (!h->over) /* which it never is */
		sched_yield();
	return ANSWER;
}

static struct held *held_new(struct torc_executor *pool)
{
	struct held *h = torc_process_alloc(pool, sizeof(*h));

	check(h);
	memset(h, 0, sizeof(*h));
	return h;
}

static void hold_with(struct holding *h, struct torc_executor *pool, torc_process_call_fn *fn)
{
	*h = (struct holding){ .pool = pool, .held = held_new(pool) };
	h->call = (struct torc_process_call){ .fn = fn,
					      .arg = h->held,
					      .arg_bytes = sizeof(*h->held) };
	h->f = start(pool, &h->call);
}

/* A worker is held: it has begun. */
static void hold_one(struct holding *h, struct torc_executor *pool)
{
	hold_with(h, pool, hold_worker);
	UNTIL(h->held->begun);
}

static void let_go(struct holding *h)
{
	h->held->open = 1;
}

static void let_go_later(void *h)
{
	let_go(h);
}

static void holding_ends(struct holding *h, int status)
{
	check_eq(finish(h->f), status);
	torc_process_free(h->pool, h->held);
}

/* --- messages --- */

struct message {
	struct torc_process_call call;
	unsigned char *arg, *result;
	size_t result_bytes;
	unsigned sum;
};

#define CANARY 16

/* The status is made of all bytes of the argument; so is the result, of all or of some again and again. */
static int scramble(struct torc_process_call *call)
{
	const unsigned char *arg = call->arg;
	unsigned char *result = call->result;
	unsigned sum = 0;
	size_t j = 0;

	for (size_t i = 0; i < call->arg_bytes; i++)
		sum = sum * 31 + arg[i];
	for (size_t i = 0; i < call->result_bytes; i++) {
		result[i] = call->arg_bytes ? arg[j] ^ 0x5a : 0x5a;
		j = j + 1 < call->arg_bytes ? j + 1 : 0;
	}
	return (int)(sum & 0xffffff);
}

static int scramble_what_is_aligned(struct torc_process_call *call)
{
	if (call->arg_bytes)
		check_eq((uintptr_t)call->arg % 64, 0);
	if (call->result_bytes)
		check_eq((uintptr_t)call->result % 64, 0);
	return scramble(call);
}

static void message_new(struct message *m, size_t arg_bytes, size_t result_bytes, uint64_t seed)
{
	*m = (struct message){ .arg = malloc(arg_bytes),
			       .result = malloc(result_bytes + CANARY),
			       .result_bytes = result_bytes };
	check(m->result && (m->arg || !arg_bytes));
	for (size_t i = 0; i < arg_bytes; i++) {
		m->arg[i] = (unsigned char)(seed + i * 7 + (i >> 8));
		m->sum = m->sum * 31 + m->arg[i];
	}
	memset(m->result, 0xa5, result_bytes + CANARY);
	m->call = (struct torc_process_call){ .fn = scramble_what_is_aligned,
					      .arg = arg_bytes ? m->arg : NULL,
					      .arg_bytes = arg_bytes,
					      .result = result_bytes ? m->result : NULL,
					      .result_bytes = result_bytes };
}

static void message_free(struct message *m)
{
	free(m->arg);
	free(m->result);
}

/* It came back like that: right, to the byte. */
static void message_came(struct message *m, int status)
{
	size_t j = 0;

	check_eq(status, m->sum & 0xffffff);
	check_eq(m->call.result_bytes, m->result_bytes);
	for (size_t i = 0; i < m->result_bytes; i++) {
		unsigned char expected =
			m->call.arg_bytes ? (unsigned char)(m->arg[j] ^ 0x5a) : 0x5a;

		if (m->result[i] != expected)
			fprintf(stderr, "byte %zu of %zu, argument %zu\n", i, m->result_bytes,
				m->call.arg_bytes);
		check_eq(m->result[i], expected);
		j = j + 1 < m->call.arg_bytes ? j + 1 : 0;
	}
	for (size_t i = 0; i < CANARY; i++)
		check_eq(m->result[m->result_bytes + i], 0xa5);
	message_free(m);
}

/* From nothing to most, small ones as often as large ones. */
static size_t random_bytes(uint64_t *seed, size_t most)
{
	size_t limit = (size_t)1 << (next_random(seed) % 24);

	return next_random(seed) % (limit < most ? limit : most);
}

/* --- what is made, and what is not --- */

static int code_in_data = 1;
static const int code_in_constants = 1;

static void each_is_refused(const struct torc_process_options *bad, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct torc_executor *pool = (void *)UNTOUCHED;
		int r = torc_process_create(&bad[i], &pool);

		if (r != -EINVAL)
			fprintf(stderr, "case %zu\n", i);
		check_eq(r, -EINVAL);
		check(pool == (void *)UNTOUCHED);
	}
}

BOTH(is_not_made_with_an_option_out_of_its_range)
{
	static char arg[3073];
	int code_on_stack = 1;
	void *code_on_heap = malloc(64);
	const struct torc_process_call initializers[] = {
		{ .fn = NULL },
		{ .fn = (torc_process_call_fn *)(void *)&code_in_data },
		{ .fn = (torc_process_call_fn *)(void *)&code_in_constants },
		{ .fn = (torc_process_call_fn *)(void *)&code_on_stack },
		{ .fn = (torc_process_call_fn *)code_on_heap },
		{ .fn = (torc_process_call_fn *)(void *)1 },
		{ .fn = (torc_process_call_fn *)(void *)UINTPTR_MAX },
		{ .fn = tell_pid, .arg = arg, .arg_bytes = sizeof(arg) },
		{ .fn = tell_pid, .arg = arg, .arg_bytes = SIZE_MAX },
	};
	struct torc_process_options bad[COUNT(initializers) + 2] = {
		{ .workers = 257 },
		{ .workers = UINT32_MAX },
	};

	for (size_t i = 0; i < COUNT(initializers); i++)
		bad[2 + i] = (struct torc_process_options){ .workers = 1,
							    .initializer = &initializers[i] };
	each_is_refused(bad, COUNT(bad));
	free(code_on_heap);
}

IN_A_THREAD(is_not_made_with_more_memory_than_there_are_addresses)
{
	const struct torc_process_options bad[] = {
		{ .workers = 1, .message_max = SIZE_MAX },
		{ .workers = 1, .message_max = SIZE_MAX - 4095 },
		{ .workers = 1, .shared_max = SIZE_MAX },
		{ .workers = 1, .shared_max = SIZE_MAX - 4095 },
		{ .workers = 1, .message_max = SIZE_MAX / 2 + 1, .shared_max = SIZE_MAX / 2 + 1 },
		{ .workers = 256, .message_max = SIZE_MAX / 256 + 1 },
	};

	for (size_t i = 0; i < COUNT(bad); i++) {
		struct torc_executor *pool = (void *)UNTOUCHED;
		int r = torc_process_create(&bad[i], &pool);

		check(r == -EINVAL || r == -ENOMEM || r == -EFBIG);
		check(pool == (void *)UNTOUCHED);
	}
}

BOTH(has_a_worker_for_each_core_by_default)
{
	cpu_set_t set;
	struct torc_executor *pool;

	check_eq(sched_getaffinity(0, sizeof(set), &set), 0);
	pool = processes_with(NULL);
	check_eq(torc_executor_parallelism(pool), CPU_COUNT(&set));
	all_are_there(pool);
	check_works(pool);
	torc_executor_destroy(pool);
	pool = processes_with(PROCESSES(.workers = 0));
	check_eq(torc_executor_parallelism(pool), CPU_COUNT(&set));
	torc_executor_destroy(pool);
}

static int count_cpus(struct torc_process_call *call)
{
	cpu_set_t set;

	(void)call;
	check_eq(sched_getaffinity(0, sizeof(set), &set), 0);
	return CPU_COUNT(&set);
}

static int make_where_loops_are_bound(void *cpus)
{
	struct torc_executor *pool = processes_with(NULL);

	check_eq(torc_executor_parallelism(pool), VALUE(cpus));
	check_eq(run_fn(pool, count_cpus, NULL, 0), VALUE(cpus));
	torc_executor_destroy(pool);
	return 0;
}

static int make_on_each_loop(void *cpus)
{
	for (int loop = 0; loop < torc_loop_count(); loop++)
		check_eq(run_on(loop, make_where_loops_are_bound, cpus), 0);
	return 0;
}

/* A loop may be bound to one core: the workers are the program's, not that thread's. */
Test(process, has_workers_on_all_cores_also_if_the_loop_is_bound_to_one)
{
	cpu_set_t set;

	check_eq(sched_getaffinity(0, sizeof(set), &set), 0);
	check_eq(run_with(OPTIONS(.loops = 2), make_on_each_loop, ARG(CPU_COUNT(&set))), 0);
}

BOTH(has_as_many_workers_as_were_asked_for)
{
	static const unsigned counts[] = { 1, 2, 17 };

	for (size_t i = 0; i < COUNT(counts); i++) {
		struct torc_executor *pool = processes_with(PROCESSES(.workers = counts[i]));
		struct torc_process_stats stats;
		int pids[32];

		check_eq(torc_executor_parallelism(pool), counts[i]);
		UNTIL((stats = stats_of(pool)).idle == counts[i]);
		check_eq(stats.workers, counts[i]);
		check_eq(stats.started, counts[i]);
		check_eq(stats.queued, 0);
		check_eq(stats.calls, 0);
		check_eq(stats.crashes, 0);
		check_eq(stats.shared_bytes, 0);
		check_eq(torc_process_pids(pool, pids, COUNT(pids)), counts[i]);
		for (unsigned a = 0; a < counts[i]; a++)
			for (unsigned b = 0; b < a; b++)
				check(pids[a] != pids[b]);
		torc_executor_destroy(pool);
	}
}

/* The most: and it can be destroyed when not all are there. */
IN_A_FIBER(has_at_most_256_workers)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 256));

	check_eq(torc_executor_parallelism(pool), 256);
	check_works(pool);
	torc_executor_destroy(pool);
}

BOTH(is_destroyed_at_once)
{
	for (unsigned i = 0; i < 5; i++)
		torc_executor_destroy(processes_with(PROCESSES(.workers = 1 + i)));
	torc_executor_destroy(NULL);
}

IN_A_THREAD(leaves_no_process_when_it_is_destroyed)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 3));
	int pids[3], server;

	all_are_there(pool);
	check_eq(torc_process_pids(pool, pids, 3), 3);
	server = fork_server_of(pids[0]);
	for (int i = 0; i < 3; i++) {
		check_eq(fork_server_of(pids[i]), server);
		check_eq(getpgid(pids[i]), pids[i]);
	}
	torc_executor_destroy(pool);
	/* somebody has asked how they ended, too */
	for (int i = 0; i < 3; i++)
		check_eq(state_of(pids[i], NULL), 0);
	check_eq(state_of(server, NULL), 0);
}

static int create_in_ended_scope(void *arg)
{
	struct torc_executor *pool = (void *)UNTOUCHED;
	struct torc_scope s;

	(void)arg;
	torc_scope_enter(&s, TORC_NEVER);
	torc_scope_cancel(&s);
	check_eq(torc_process_create(PROCESSES(.workers = 1), &pool), -ECANCELED);
	torc_scope_leave(&s);
	torc_scope_enter(&s, 0);
	check_eq(torc_process_create(PROCESSES(.workers = 1), &pool), -ETIMEDOUT);
	torc_scope_leave(&s);
	check(pool == (void *)UNTOUCHED);
	return 0;
}

Test(process, is_not_made_in_a_scope_that_has_ended)
{
	run(create_in_ended_scope, NULL);
	check(!has_children());
}

static int create_in_a_hurry(void *arg)
{
	(void)arg;
	for (uint64_t ns = 1000;; ns *= 2) {
		struct torc_executor *pool = (void *)UNTOUCHED;
		struct torc_scope s;
		int r;

		torc_scope_enter(&s, ns);
		r = torc_process_create(PROCESSES(.workers = 1), &pool);
		torc_scope_leave(&s);
		if (r == 0) {
			check_works(pool);
			torc_executor_destroy(pool);
			return 0;
		}
		check_eq(r, -ETIMEDOUT);
		check(pool == (void *)UNTOUCHED);
	}
}

/* Whenever the scope ends: run() counts descriptors. */
Test(process, leaves_nothing_when_the_scope_ends_while_it_is_made)
{
	int mappings = count_shared_mappings();

	run(create_in_a_hurry, NULL);
	check_eq(count_shared_mappings(), mappings);
	check(!has_children());
}

static int highest_fd(void)
{
	int highest = 0;

	for (int fd = 0; fd < 4096; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			highest = fd;
	return highest;
}

/* With the n-th one missing, for each n. */
IN_A_THREAD(is_not_made_without_descriptors)
{
	int fillers[256], count = 0, highest = highest_fd(), fds;
	struct rlimit before, few;

	while ((fillers[count] = fcntl(2, F_DUPFD_CLOEXEC, 0)) < highest)
		check_lt(++count, (int)COUNT(fillers) - 1);
	close(fillers[count]);
	fds = count_fds();
	check_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	for (int more = 0;; more++) {
		struct torc_executor *pool = (void *)UNTOUCHED;
		int r;

		check_lt(more, 64);
		few = before;
		few.rlim_cur = (rlim_t)(highest + 1 + more);
		check_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
		r = torc_process_create(PROCESSES(.workers = 1), &pool);
		check_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
		if (r == 0) {
			torc_executor_destroy(pool);
			break;
		}
		check(r == -EMFILE || r == -EPIPE);
		check(pool == (void *)UNTOUCHED);
		check_eq(count_fds(), fds);
	}
	while (count > 0)
		close(fillers[--count]);
}

/* And the signal of that limit does not kill the program. */
IN_A_THREAD(is_not_made_where_files_may_not_be_as_large)
{
	struct torc_executor *pool = (void *)UNTOUCHED;
	struct rlimit before, few;
	int r;

	check_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
	few = before;
	few.rlim_cur = MiB;
	check_eq(setrlimit(RLIMIT_FSIZE, &few), 0);
	r = torc_process_create(PROCESSES(.workers = 1), &pool);
	check_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
	check_eq(r, -EFBIG);
	check(pool == (void *)UNTOUCHED);
}

static void create_with_little_memory(void)
{
	static const size_t bytes[] = { 0, 65536, MiB, 64 * MiB, 1024 * MiB, 3072 * MiB };

	for (size_t i = 0; i < COUNT(bytes); i++) {
		struct torc_executor *pool = (void *)UNTOUCHED;
		int r;

		WITHOUT_MEMORY(bytes[i], r = torc_process_create(PROCESSES(.workers = 2), &pool));
		if (bytes[i] <= MiB)
			check_lt(r, 0);
		if (r == 0) {
			torc_executor_destroy(pool);
			continue;
		}
		check(r == -ENOMEM || r == -EAGAIN || r == -EPIPE);
		check(pool == (void *)UNTOUCHED);
	}
}

Test(process, is_not_made_without_memory)
{
	if (WITH_ASAN)
		cr_skip_test("ASan needs all the addresses that there are");
	leaving_nothing(in_a_fiber, create_with_little_memory);
	leaving_nothing(in_a_thread, create_with_little_memory);
}

static int create_on_simulator(void *arg)
{
	struct torc_executor *pool = (void *)UNTOUCHED;

	(void)arg;
	check_eq(torc_process_create(NULL, &pool), -ENOSYS);
	check(pool == (void *)UNTOUCHED);
	return 0;
}

Test(process, is_not_made_on_the_simulator)
{
	struct torc_options o = { .loops = 1 };

	check_eq(torc_sim_new(&(struct torc_sim_options){ .seed = 1 }, &o.sim), 0);
	check_eq(torc_run(&o, create_on_simulator, NULL), 0);
	torc_sim_free(o.sim);
	check(!has_children());
}

static int create_in_worker(struct torc_process_call *call)
{
	struct torc_executor *pool = (void *)UNTOUCHED;

	(void)call;
	check_eq(torc_process_create(NULL, &pool), -EPERM);
	check_eq(torc_process_create(PROCESSES(.workers = 1), &pool), -EPERM);
	check(pool == (void *)UNTOUCHED);
	check(!has_children());
	return ANSWER;
}

IN_A_FIBER(is_not_made_by_one_of_its_workers)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 1));

	check_eq(run_fn(pool, create_in_worker, NULL, 0), ANSWER);
	torc_executor_destroy(pool);
}

IN_A_THREAD(does_not_mind_that_the_program_ignores_its_children)
{
	struct torc_executor *pool;
	struct holding h;

	check(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
	pool = processes_with(PROCESSES(.workers = 1));
	hold_one(&h, pool);
	check_eq(kill(h.held->pid, SIGKILL), 0);
	check_eq(torc_await(h.f, NULL), -EPIPE);
	check(WIFSIGNALED(h.call.wait_status) && WTERMSIG(h.call.wait_status) == SIGKILL);
	holding_ends(&h, -EPIPE);
	check_works(pool);
	torc_executor_destroy(pool);
}

static void *make_pool(void *ret_pool)
{
	*(struct torc_executor **)ret_pool = processes_with(PROCESSES(.workers = 2));
	return NULL;
}

static int make_pool_in_fiber(void *ret_pool)
{
	(void)make_pool(ret_pool);
	return 0;
}

static int make_pool_on_second_loop(void *ret_pool)
{
	return run_on(1, make_pool_in_fiber, ret_pool);
}

static int destroy_in_fiber(void *pool)
{
	check_works(pool);
	torc_executor_destroy(pool);
	return 0;
}

/* That thread's end is not the program's. */
Test(process, outlives_the_thread_and_the_loops_that_have_made_it)
{
	struct torc_executor *pools[3];
	int before = count_threads();

	join_thread(start_thread(make_pool, &pools[0]));
	check_eq(torc_run(OPTIONS(.loops = 2), make_pool_on_second_loop, &pools[1]), 0);
	check_eq(torc_run(NULL, make_pool_in_fiber, &pools[2]), 0);
	for (int i = 0; i < 3; i++) {
		all_are_there(pools[i]);
		for (int n = 0; n < 20; n++)
			check_works(pools[i]);
		check_eq(stats_of(pools[i]).started, 2);
	}
	torc_executor_destroy(pools[0]);
	check_eq(torc_run(NULL, destroy_in_fiber, pools[1]), 0);
	check_eq(torc_run(OPTIONS(.loops = 2), destroy_in_fiber, pools[2]), 0);
	check_threads(before);
	check(!has_children());
}

/* --- arguments and results --- */

EVERYWHERE_AND(leaving_nothing, process, hands_over_what_a_call_makes)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 2));

	check_works(pool);
	torc_executor_destroy(pool);
}

BOTH(passes_arguments_and_results_of_every_size)
{
	static const size_t sizes[] = { 0,    1,    2,    7,     63,  64,      65,     1000,
					4095, 4096, 4097, 65536, MiB, MiB + 1, 3 * MiB };
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 1));

	for (size_t i = 0; i < COUNT(sizes); i++) {
		const size_t others[] = { 0, sizes[i], 100 };
		struct message m;

		for (size_t k = 0; k < COUNT(others); k++) {
			message_new(&m, sizes[i], others[k], i);
			message_came(&m, run_call(pool, &m.call));
			message_new(&m, others[k], sizes[i], i);
			message_came(&m, run_call(pool, &m.call));
		}
	}
	torc_executor_destroy(pool);
}

/* So many at a time. */
#define LOT 16

static void send_lot(struct torc_executor *pool, uint64_t *seed, size_t most)
{
	struct message messages[LOT];
	struct torc_future *fs[LOT];

	for (int i = 0; i < LOT; i++) {
		message_new(&messages[i], random_bytes(seed, most), random_bytes(seed, most),
			    *seed);
		fs[i] = start(pool, &messages[i].call);
	}
	for (int i = 0; i < LOT; i++)
		message_came(&messages[i], finish(fs[i]));
}

BOTH(passes_any_sizes_at_a_time)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 3));
	uint64_t seed = 4711;

	for (int i = 0; i < 20; i++)
		send_lot(pool, &seed, 20000);
	for (int i = 0; i < 2; i++)
		send_lot(pool, &seed, 2 * MiB);
	torc_executor_destroy(pool);
}

/* Both are only there once they are used: it has 1 GiB. */
IN_A_THREAD(passes_large_arguments_and_results)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 2));
	struct message m[2];
	struct torc_future *fs[2];

	for (int i = 0; i < 2; i++) {
		message_new(&m[i], 16 * MiB + 5, 8 * MiB + 3, (uint64_t)i);
		fs[i] = start(pool, &m[i].call);
	}
	for (int i = 0; i < 2; i++)
		message_came(&m[i], finish(fs[i]));
	torc_executor_destroy(pool);
}

BOTH(hands_over_the_status)
{
	static const int statuses[] = { 0,      1,          7,       INT32_MAX,  -1,       -EIO,
					-EPIPE, -ECANCELED, -ESTALE, -ETIMEDOUT, -EDEADLK, -4095 };
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 1));

	for (size_t i = 0; i < COUNT(statuses); i++) {
		int result = -1;
		struct torc_process_call call = { .fn = end_call_with,
						  .arg = &statuses[i],
						  .arg_bytes = sizeof(int),
						  .result = &result,
						  .result_bytes = sizeof(result) };

		check_eq(run_call(pool, &call), statuses[i]);
		check_eq(call.result_bytes, statuses[i] < 0 ? 0 : sizeof(result));
		check_eq(call.wait_status, 0);
		check(call.arg == &statuses[i] && call.arg_bytes == sizeof(int));
		check(call.result == &result && call.fn == end_call_with);
	}
	check_eq(stats_of(pool).crashes, 0);
	check_eq(stats_of(pool).started, 1);
	torc_executor_destroy(pool);
}

struct wish {
	size_t bytes;
	int status;
};

static int make_so_much(struct torc_process_call *call)
{
	const struct wish *w = call->arg;

	for (size_t i = 0; i < w->bytes && i < call->result_bytes; i++)
		((char *)call->result)[i] = 'x';
	call->result_bytes = w->bytes;
	return w->status;
}

BOTH(hands_over_as_much_of_a_result_as_was_made)
{
	static const struct {
		size_t room;
		struct wish wish;
		int status;
		size_t bytes;
	} cases[] = {
		{ 100, { 100, 0 }, 0, 100 },
		{ 100, { 99, 3 }, 3, 99 },
		{ 100, { 1, 0 }, 0, 1 },
		{ 100, { 0, 0 }, 0, 0 },
		{ 5000, { 4097, 0 }, 0, 4097 },
		{ 100, { 101, 0 }, -EMSGSIZE, 0 },
		{ 100, { SIZE_MAX, 0 }, -EMSGSIZE, 0 },
		{ 100, { SIZE_MAX - 50, 0 }, -EMSGSIZE, 0 },
		{ 0, { 1, 0 }, -EMSGSIZE, 0 },
		{ 0, { 0, 0 }, 0, 0 },
		{ 100, { 50, -EIO }, -EIO, 0 },
		{ 100, { 1000, -EIO }, -EIO, 0 },
	};
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 1));

	for (size_t i = 0; i < COUNT(cases); i++) {
		char *result = malloc(cases[i].room + 1); /* the next byte is nobody's */
		struct torc_process_call call = { .fn = make_so_much,
						  .arg = &cases[i].wish,
						  .arg_bytes = sizeof(cases[i].wish),
						  .result = result,
						  .result_bytes = cases[i].room };

		memset(result, '.', cases[i].room + 1);
		check_eq(run_call(pool, &call), cases[i].status);
		check_eq(call.result_bytes, cases[i].bytes);
		for (size_t n = 0; n < cases[i].bytes; n++)
			check_eq(result[n], 'x');
		check_eq(result[cases[i].room], '.');
		free(result);
	}
	check_works(pool);
	check_eq(stats_of(pool).started, 1);
	torc_executor_destroy(pool);
}

/* Its call is not the caller's, nor are the bytes of it. */
static int scribble(struct torc_process_call *call)
{
	int *result = call->result;

	memset((void *)call->arg, 0x77, call->arg_bytes);
	*result = ANSWER;
	call->fn = NULL;
	call->arg = NULL;
	call->arg_bytes = 0;
	call->result = NULL;
	call->wait_status = 77;
	return 0;
}

IN_A_FIBER(gives_copies_to_its_workers)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 1));
	char arg[100] = "unchanged";
	int result = -1;
	struct torc_process_call call = { .fn = scribble,
					  .arg = arg,
					  .arg_bytes = sizeof(arg),
					  .result = &result,
					  .result_bytes = sizeof(result) };

	check_eq(run_call(pool, &call), 0);
	check_eq(result, ANSWER);
	check_eq(strcmp(arg, "unchanged"), 0);
	check(call.fn == scribble && call.arg == arg && call.result == &result);
	check_eq(call.arg_bytes, sizeof(arg));
	check_eq(call.result_bytes, sizeof(result));
	torc_executor_destroy(pool);
}

BOTH(takes_many_at_once)
{
	enum { MANY = 500 };
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 2));
	static struct torc_process_call calls[MANY];
	static int args[MANY], results[MANY];
	static void *pointers[MANY];
	static struct torc_future *fs[MANY];

	for (int i = 0; i < MANY; i++) {
		args[i] = i;
		results[i] = -1;
		calls[i] = (struct torc_process_call){ .fn = add_one,
						       .arg = &args[i],
						       .arg_bytes = sizeof(args[i]),
						       .result = &results[i],
						       .result_bytes = sizeof(results[i]) };
		pointers[i] = &calls[i];
	}
	for (size_t count = 0; count <= MANY; count += 1 + count * 2) {
		check_eq(torc_submit_many(pool, torc_process_call_run, pointers, count, fs), 0);
		for (size_t i = 0; i < count; i++) {
			expect(fs[i], 0, &results[i]);
			check_eq(results[i], i + 1);
			results[i] = -1;
			check_eq(calls[i].result_bytes, sizeof(int));
		}
	}
	torc_executor_destroy(pool);
}

/* One in the middle is none that can be called: no argument is in use any more. */
IN_A_THREAD(takes_none_of_many_when_one_is_refused)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 1, .message_max = 4096));
	struct torc_process_call calls[10];
	struct torc_future *fs[10];
	void *pointers[10];
	static char bytes[5000];

	for (int bad = 0; bad < 3; bad++) {
		for (int i = 0; i < 10; i++) {
			calls[i] = (struct torc_process_call){ .fn = tell_pid };
			pointers[i] = &calls[i];
		}
		if (bad == 0)
			calls[6].fn = NULL;
		else
			calls[6] = (struct torc_process_call){ .fn = tell_pid,
							       .arg = bytes,
							       .arg_bytes = sizeof(bytes) };
		if (bad == 2)
			calls[0] = calls[6];
		check_eq(torc_submit_many(pool, torc_process_call_run, pointers, 10, fs),
			 bad ? -EMSGSIZE : -EINVAL);
		memset(calls, 0xff, sizeof(calls));
		check_works(pool);
	}
	torc_executor_destroy(pool);
}

static int count_in_shared(struct torc_process_call *call)
{
	atomic_fetch_add((atomic_int *)call->arg, 1);
	return 0;
}

/* Nobody asks for the results. */
BOTH(runs_calls_that_nobody_waits_for)
{
	enum { MANY = 300 };
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 2));
	atomic_int *count = torc_process_alloc(pool, sizeof(*count));
	static struct torc_process_call calls[MANY];
	struct torc_future *f;

	*count = 0;
	for (int i = 0; i < MANY; i++) {
		calls[i] = (struct torc_process_call){ .fn = count_in_shared,
						       .arg = count,
						       .arg_bytes = sizeof(*count) };
		check_eq(torc_submit(pool, torc_process_call_run, &calls[i], i % 2 ? &f : NULL), 0);
		if (i % 2)
			torc_future_put(f);
	}
	check_eq(torc_executor_shutdown(pool, 0), 0);
	check_eq(*count, MANY);
	torc_process_free(pool, count);
	torc_executor_destroy(pool);
}

static int use_stack(struct torc_process_call *call)
{
	volatile char much[MiB];

	(void)call;
	for (size_t i = 0; i < sizeof(much); i += 512)
		much[i] = 1;
	return much[512];
}

static void *return_on_thread(void *arg)
{
	return arg;
}

/* What a program may do: it has a stack, threads, fibers, other pools. */
static int be_a_program(struct torc_process_call *call)
{
	struct torc_executor *pool;
	pthread_t thread;
	void *value;

	(void)call;
	check_eq(pthread_create(&thread, NULL, return_on_thread, ARG(7)), 0);
	check_eq(pthread_join(thread, &value), 0);
	check_eq(VALUE(value), 7);
	check(!torc_in_fiber());
	check_eq(torc_run(NULL, return_arg, ARG(5)), 5);
	check_eq(torc_run(OPTIONS(.loops = 2), return_arg, ARG(6)), 6);
	check_eq(torc_pool_create(POOL(.workers = 2), &pool), 0);
	expect(submit(pool, give, ARG(8)), 0, ARG(8));
	torc_executor_destroy(pool);
	return ANSWER;
}

IN_A_FIBER(has_workers_that_are_programs)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 1));

	check_eq(run_fn(pool, use_stack, NULL, 0), 1);
	for (int i = 0; i < 3; i++)
		check_eq(run_fn(pool, be_a_program, NULL, 0), ANSWER);
	check_eq(stats_of(pool).started, 1);
	torc_executor_destroy(pool);
}

/* --- functions --- */

BOTH(does_not_call_what_is_no_function_of_the_program)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 1));
	int code_on_stack = 0;
	char *code_on_heap = malloc(4096);
	void *code_made =
		     mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
	     *code_shared = torc_process_alloc(pool, 4096);
	void *const functions[] = {
		NULL,
		&code_on_stack,
		code_on_heap,
		code_made,
		code_shared,
		&code_in_data,
		(void *)(uintptr_t)&code_in_constants,
		(void *)1,
		(void *)4096,
		(void *)UINTPTR_MAX,
		(void *)((uintptr_t)1 << 63),
	};

	check(code_made != MAP_FAILED && code_shared);
	for (size_t i = 0; i < COUNT(functions); i++) {
		struct torc_process_call call = { .fn = (torc_process_call_fn *)functions[i] };
		struct torc_future *f = (void *)UNTOUCHED;
		int r = torc_submit(pool, torc_process_call_run, &call, &f);

		if (r != -EINVAL)
			fprintf(stderr, "case %zu\n", i);
		check_eq(r, -EINVAL);
		check(f == (void *)UNTOUCHED);
		check_eq(torc_submit(pool, torc_process_call_run, &call, NULL), -EINVAL);
	}
	check_works(pool);
	munmap(code_made, 4096);
	free(code_on_heap);
	torc_executor_destroy(pool);
}

/* It asks for nothing, so it can be called like that. */
IN_A_THREAD(calls_a_function_of_a_shared_library)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 1));
	int r = run_fn(pool, (torc_process_call_fn *)(void *)getppid, NULL, 0);

	check_eq(r, fork_server_of(one_worker(pool)));
	torc_executor_destroy(pool);
}

static int pass_range(void *arg, size_t first, size_t last)
{
	(void)arg, (void)first, (void)last;
	abort();
}

static int pass_step(void *value, void *arg, void **ret_value)
{
	(void)value, (void)arg, (void)ret_value;
	abort();
}

static int pass_item(void *item, void *arg, void **ret_value)
{
	(void)item, (void)arg, (void)ret_value;
	abort();
}

static int three_numbers(struct torc_gen *g, void *arg)
{
	int r = 0;

	(void)arg;
	for (int i = 0; !r && i < 3; i++)
		r = torc_gen_yield(g, ARG(i), NULL);
	return r;
}

BOTH(does_not_do_what_needs_one_memory)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 1));
	struct torc_future *f = (void *)UNTOUCHED, *done = make(SUCCEEDED), *fs[2];
	struct torc_gen *source, *g = NULL;
	int r;

	check_eq(torc_submit(pool, give, ARG(1), &f), -EOPNOTSUPP);
	check_eq(torc_submit(pool, give, NULL, NULL), -EOPNOTSUPP);
	check(f == (void *)UNTOUCHED);
	check_eq(torc_submit_many(pool, give, (void *[]){ 0, 0 }, 2, fs), -EOPNOTSUPP);
	check_eq(torc_parallel_for(pool, 0, 100, 0, pass_range, NULL), -EOPNOTSUPP);
	check_eq(torc_then(done, pool, pass_step, NULL, &f), 0);
	check_eq(finish(f), -EOPNOTSUPP);

	check_eq(torc_gen_create(three_numbers, NULL, NULL, &source), 0);
	r = torc_map_gen(pool, pass_item, NULL, source, NULL, &g);
	if (!r) {
		r = torc_gen_next(g, NULL);
		torc_gen_destroy(g);
	}
	check_eq(r, -EOPNOTSUPP);
	torc_gen_destroy(source);

	torc_future_put(done);
	check_works(pool);
	torc_executor_destroy(pool);
}

/* As call.h says: a task like any other. */
EVERYWHERE(process, has_calls_that_other_executors_run)
{
	struct torc_executor own = at_once(), *executors[] = {
		pool_with(POOL(.workers = 2)),
		elastic_with(ELASTIC(.threads_max = 2)),
		&own,
	};
	char arg[10] = "";

	for (size_t i = 0; i < COUNT(executors); i++) {
		int result = -1;
		struct torc_process_call call = { .fn = scribble,
						  .arg = arg,
						  .arg_bytes = sizeof(arg),
						  .result = &result,
						  .result_bytes = sizeof(result) };
		struct torc_future *f;

		memset(arg, 0, sizeof(arg));
		f = start(executors[i], &call);
		check_eq(torc_await(f, NULL), 0);
		torc_future_put(f);
		check_eq(result, ANSWER);
		check_eq(arg[9], 0x77); /* the caller's own bytes */
		check_works(executors[i]);
		check_eq(run_fn(executors[i], tell_pid, NULL, 0), getpid());
		check_eq(run_fn(executors[i], end_call_with, &(int){ -EIO }, sizeof(int)), -EIO);
		torc_executor_destroy(executors[i]);
	}
	check_eq(torc_process_worker(), -1);
}

IN_A_THREAD(has_calls_without_a_result_after_a_failure_on_threads_too)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 1));
	int n = -EIO, result;
	struct torc_process_call call = { .fn = end_call_with,
					  .arg = &n,
					  .arg_bytes = sizeof(n),
					  .result = &result,
					  .result_bytes = sizeof(result) };

	check_eq(run_call(pool, &call), -EIO);
	check_eq(call.result_bytes, 0);
	torc_executor_destroy(pool);
}

/* --- what workers are born with --- */

BOTH(numbers_its_workers)
{
	enum { WORKERS = 3 };
	struct torc_executor *pool = processes_with(PROCESSES(.workers = WORKERS));
	struct holding h[WORKERS];
	unsigned seen = 0;

	check_eq(torc_process_worker(), -1);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < WORKERS; i++)
			hold_with(&h[i], pool, hold_worker);
		for (int i = 0; i < WORKERS; i++)
			UNTIL(h[i].held->begun); /* all at a time */
		for (int i = 0; i < WORKERS; i++) {
			check(h[i].held->worker >= 0 && h[i].held->worker < WORKERS);
			seen |= 1u << h[i].held->worker;
		}
		check_eq(seen, (1u << WORKERS) - 1);
		seen = 0;
		for (int i = 0; i < WORKERS; i++) {
			if (round)
				let_go(&h[i]);
			else
				check_eq(kill(h[i].held->pid, SIGKILL), 0);
		}
		/* those that come after have the same numbers */
		for (int i = 0; i < WORKERS; i++)
			holding_ends(&h[i], round ? ANSWER : -EPIPE);
	}
	torc_executor_destroy(pool);
}

static int count_descriptors(struct torc_process_call *call)
{
	int n = 0;

	(void)call;
	for (int fd = 3; fd < 4096; fd++) {
		char path[64], name[256];
		ssize_t bytes;

		if (fcntl(fd, F_GETFD) < 0)
			continue;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		bytes = readlink(path, name, sizeof(name) - 1);
		fprintf(stderr, "a worker has descriptor %d: %.*s\n", fd, (int)bytes, name);
		n++;
	}
	return n;
}

static int look_at_stdin(struct torc_process_call *call)
{
	struct stat st;
	char byte;

	(void)call;
	check_eq(fstat(0, &st), 0);
	check(S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
	check_eq(read(0, &byte, 1), 0);
	return ANSWER;
}

static int count_inheritable(void)
{
	int n = 0;

	for (int fd = 0; fd < 4096; fd++) {
		int flags = fcntl(fd, F_GETFD);

		n += flags >= 0 && !(flags & FD_CLOEXEC);
	}
	return n;
}

BOTH(has_workers_with_nothing_open_but_the_standard_files)
{
	struct torc_executor *pool;
	int fds[3], before;

	check_eq(pipe(fds), 0); /* a program that does not think of its children */
	fds[2] = fcntl(fds[1], F_DUPFD, 1000);
	check_ge(fds[2], 1000);
	before = count_inheritable();
	pool = processes_with(PROCESSES(.workers = 1, .calls_max = 3));
	for (int i = 0; i < 2; i++) {
		check_eq(run_fn(pool, count_descriptors, NULL, 0), 0);
		check_eq(run_fn(pool, look_at_stdin, NULL, 0), ANSWER);
		check(torc_process_alloc(pool, 1));
		check_works(pool);
	}
	/* and what the pool has is for no other program that this one starts */
	check_eq(count_inheritable(), before);
	torc_executor_destroy(pool);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
}

/* What it opens itself is where standard input and output are elsewhere. */
IN_A_THREAD(does_not_mind_that_the_program_has_closed_its_standard_files)
{
	struct torc_executor *pool;
	int saved[3];

	for (int fd = 0; fd < 3; fd++) {
		saved[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 100);
		check_ge(saved[fd], 100);
	}
	for (int fd = 0; fd < 3; fd++)
		close(fd);
	pool = processes_with(PROCESSES(.workers = 1));
	/* check() can be heard again */
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			check_eq(dup2(saved[fd], fd), fd);
	check_works(pool);
	check_eq(run_fn(pool, look_at_stdin, NULL, 0), ANSWER);
	check_eq(run_fn(pool, count_descriptors, NULL, 0), 0);
	torc_executor_destroy(pool);
	for (int fd = 0; fd < 3; fd++) {
		check_eq(dup2(saved[fd], fd), fd);
		close(saved[fd]);
	}
}

/* Of what the program ignores, and blocks. */
static int look_at_signals(struct torc_process_call *call)
{
	static const int ignored[] = { SIGPIPE, SIGUSR1, SIGCHLD };
	struct sigaction action;
	sigset_t mask;

	(void)call;
	check_eq(sigprocmask(SIG_SETMASK, NULL, &mask), 0);
	for (int sig = 1; sig < NSIG; sig++)
		check(sigismember(&mask, sig) != 1);
	for (size_t i = 0; i < COUNT(ignored); i++) {
		check_eq(sigaction(ignored[i], NULL, &action), 0);
		check(action.sa_handler != SIG_IGN);
	}
	return ANSWER;
}

BOTH(has_workers_without_the_signals_of_the_program)
{
	struct torc_executor *pool;
	sigset_t all, before;

	sigfillset(&all);
	check(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
	check_eq(pthread_sigmask(SIG_SETMASK, &all, &before), 0);
	pool = processes_with(PROCESSES(.workers = 1, .calls_max = 2));
	check_eq(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
	for (int i = 0; i < 5; i++)
		check_eq(run_fn(pool, look_at_signals, NULL, 0), ANSWER);
	torc_executor_destroy(pool);
	check(signal(SIGUSR1, SIG_DFL) != SIG_ERR);
}

extern char **environ;

/* All of it, one after the other, each with its end. */
static size_t join_environment(char *into, size_t room)
{
	size_t n = 0;

	for (char **e = environ; *e; e++) {
		size_t bytes = strlen(*e) + 1;

		check(n + bytes <= room);
		memcpy(into + n, *e, bytes);
		n += bytes;
	}
	return n;
}

static int tell_environment(struct torc_process_call *call)
{
	call->result_bytes = join_environment(call->result, call->result_bytes);
	return 0;
}

static bool has_string(const char *strings, size_t bytes, const char *wanted)
{
	for (size_t n = 0; n < bytes; n += strlen(strings + n) + 1)
		if (!strcmp(strings + n, wanted))
			return true;
	return false;
}

BOTH(has_workers_with_the_environment_of_when_it_was_made)
{
	enum { ROOM = 1 << 18 };
	char *here = malloc(ROOM), *there = malloc(ROOM);
	struct torc_process_call call = { .fn = tell_environment,
					  .result = there,
					  .result_bytes = ROOM };
	struct torc_executor *pool;
	size_t bytes;

	check(here && there);
	setenv("COLOUR", "blue", 1);
	setenv("EMPTY", "", 1);
	bytes = join_environment(here, ROOM);
	pool = processes_with(PROCESSES(.workers = 1, .calls_max = 1));
	setenv("COLOUR", "red", 1);
	setenv("LATER", "1", 1);
	for (int i = 0; i < 2; i++) {
		call.result_bytes = ROOM;
		check_eq(run_call(pool, &call), 0);
		check(has_string(there, call.result_bytes, "COLOUR=blue"));
		/* no more, no less: nothing of torc's either */
		for (size_t n = 0; n < call.result_bytes; n += strlen(there + n) + 1) {
			if (!has_string(here, bytes, there + n))
				fprintf(stderr, "a worker has %s\n", there + n);
			check(has_string(here, bytes, there + n));
		}
		check_eq(call.result_bytes, bytes);
	}
	torc_executor_destroy(pool);
	unsetenv("COLOUR");
	unsetenv("EMPTY");
	unsetenv("LATER");
	free(here);
	free(there);
}

static int tell_directory(struct torc_process_call *call)
{
	check(getcwd(call->result, call->result_bytes));
	return 0;
}

BOTH(has_workers_in_the_directory_of_when_it_was_made)
{
	char before[4096], expected[] = "/tmp/torc-process-XXXXXX", there[4096];
	struct torc_process_call call = { .fn = tell_directory,
					  .result = there,
					  .result_bytes = sizeof(there) };
	struct torc_executor *pool;

	check(getcwd(before, sizeof(before)) && mkdtemp(expected));
	check_eq(chdir(expected), 0);
	pool = processes_with(PROCESSES(.workers = 1, .calls_max = 1));
	check_eq(chdir(before), 0);
	for (int i = 0; i < 3; i++) {
		check_eq(run_call(pool, &call), 0);
		check_eq(strcmp(there, expected), 0);
	}
	torc_executor_destroy(pool);
	check_eq(rmdir(expected), 0);
}

static void say_goodbye(void)
{
	check_eq(write(1, "b", 1), 1);
}

/* Not flushed, and at the end a word of its own. */
static int print_something(struct torc_process_call *call)
{
	(void)call;
	check_eq(putchar('p'), 'p');
	return atexit(say_goodbye);
}

/* Each worker writes "b" and "p" when it ends, where the program's standard output was. */
BOTH(has_workers_that_flush_when_they_are_replaced_or_the_pool_ends)
{
	char path[] = "/tmp/torc-process-XXXXXX", text[64] = "";
	int fd = mkostemp(path, O_CLOEXEC | O_APPEND), saved = fcntl(1, F_DUPFD_CLOEXEC, 3), p = 0,
	    b = 0;
	struct torc_executor *pool;

	check(fd >= 0 && saved >= 0);
	fflush(stdout);
	check_eq(dup2(fd, 1), 1);
	pool = processes_with(PROCESSES(.workers = 1, .calls_max = 2));
	check_eq(dup2(saved, 1), 1);
	for (int i = 0; i < 5; i++) /* two are replaced, one is there at the end */
		check_eq(run_fn(pool, print_something, NULL, 0), 0);
	torc_executor_destroy(pool);
	check_eq(pread(fd, text, sizeof(text) - 1, 0), 10);
	for (char *c = text; *c; c++) {
		p += *c == 'p';
		b += *c == 'b';
	}
	check_eq(p, 5);
	check_eq(b, 5);
	close(fd);
	close(saved);
	unlink(path);
}

static int tell_nice(struct torc_process_call *call)
{
	(void)call;
	return getpriority(PRIO_PROCESS, 0) + 100;
}

IN_A_FIBER(has_workers_as_nice_as_was_asked_for)
{
	static const int more[] = { 0, 1, 5 };

	for (size_t i = 0; i < COUNT(more); i++) {
		struct torc_executor *pool =
			processes_with(PROCESSES(.workers = 1, .nice = more[i], .calls_max = 1));
		int expected = getpriority(PRIO_PROCESS, 0) + more[i];

		for (int n = 0; n < 3; n++)
			check_eq(run_fn(pool, tell_nice, NULL, 0),
				 (expected < 19 ? expected : 19) + 100);
		torc_executor_destroy(pool);
	}
}

static int changed = 7;
static char *own_memory;

static int change(struct torc_process_call *call)
{
	(void)call;
	if (!own_memory)
		own_memory = strdup("kept");
	check_eq(strcmp(own_memory, "kept"), 0);
	return changed++;
}

/* And what calls make of it stays with that worker. */
BOTH(has_workers_with_nothing_of_the_state_of_the_program)
{
	struct torc_executor *pool;

	changed = 100;
	pool = processes_with(PROCESSES(.workers = 1));
	changed = 200;
	for (int i = 0; i < 5; i++)
		check_eq(run_fn(pool, change, NULL, 0), 7 + i);
	check_eq(changed, 200);
	torc_executor_destroy(pool);
}

/* --- initializers --- */

static size_t initialized_with;
static int initializations, initialized_worker = -2;

static int initialize(struct torc_process_call *call)
{
	const unsigned char *arg = call->arg;

	for (size_t i = 0; i < call->arg_bytes; i++)
		check_eq(arg[i], (unsigned char)(i * 3));
	initialized_with = call->arg_bytes;
	initializations++;
	initialized_worker = torc_process_worker();
	return 1; /* any success */
}

static int tell_initialized(struct torc_process_call *call)
{
	(void)call;
	check_eq(initializations, 1);
	check_eq(initialized_worker, torc_process_worker());
	return (int)initialized_with;
}

BOTH(initializes_each_worker_before_its_first_call)
{
	static const size_t sizes[] = { 0, 1, 100, 3072 };

	for (size_t i = 0; i < COUNT(sizes); i++) {
		unsigned char *arg = malloc(sizes[i] + 1);
		struct torc_process_call *call = malloc(sizeof(*call));
		struct torc_executor *pool;

		check(arg && call);
		for (size_t n = 0; n < sizes[i]; n++)
			arg[n] = (unsigned char)(n * 3);
		*call = (struct torc_process_call){ .fn = initialize,
						    .arg = arg,
						    .arg_bytes = sizes[i] };
		pool = processes_with(PROCESSES(.workers = 2, .initializer = call, .calls_max = 2));
		memset(call, 0xff, sizeof(*call)); /* copied */
		memset(arg, 0xff, sizes[i]);
		free(arg);
		free(call);
		for (int n = 0; n < 9; n++)
			check_eq(run_fn(pool, tell_initialized, NULL, 0), sizes[i]);
		torc_executor_destroy(pool);
	}
	check_eq(initializations, 0);
}

enum death {
	KILLED,
	FAULTED,
	ABORTED,
	TERMINATED,
	EXITED,
	EXITED_AT_ONCE,
	EXITED_WELL,
	BECAME_ANOTHER,
	DEATHS,
};

static const struct {
	int signal, status;
} deaths[DEATHS] = {
	[KILLED] = { SIGKILL, 0 },     [FAULTED] = { SIGSEGV, 0 },  [ABORTED] = { SIGABRT, 0 },
	[TERMINATED] = { SIGTERM, 0 }, [EXITED] = { 0, 3 },         [EXITED_AT_ONCE] = { 0, 4 },
	[EXITED_WELL] = { 0, 0 },      [BECAME_ANOTHER] = { 0, 1 },
};

static void fault(void)
{
	volatile char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	signal(SIGSEGV, SIG_DFL); /* a sanitizer's own */
	*page = 1;
}

static int die(struct torc_process_call *call)
{
	switch (*(const enum death *)call->arg) {
	case KILLED: kill(getpid(), SIGKILL); break;
	case FAULTED: fault(); break;
	case ABORTED: abort();
	case TERMINATED: raise(SIGTERM); break;
	case EXITED: exit(3);
	case EXITED_AT_ONCE: _exit(4);
	case EXITED_WELL: exit(0);
	case BECAME_ANOTHER: execl("/bin/false", "false", NULL); break;
	case DEATHS: return 0;
	}
	for (;;)
		pause();
}

static void check_death(enum death how, int wait_status)
{
	if (WIFSIGNALED(wait_status) != !!deaths[how].signal)
		fprintf(stderr, "death %d: status %#x\n", (int)how, (unsigned)wait_status);
	if (deaths[how].signal) {
		check(WIFSIGNALED(wait_status));
		check_eq(WTERMSIG(wait_status), deaths[how].signal);
	} else {
		check(WIFEXITED(wait_status));
		check_eq(WEXITSTATUS(wait_status), deaths[how].status);
	}
}

/* All that it has fails, and all that it is asked for. */
static void check_broken_by(const struct torc_process_call *initializer, unsigned workers,
			    bool others)
{
	struct torc_executor *pool =
		processes_with(PROCESSES(.workers = workers, .initializer = initializer));
	struct torc_process_call calls[10];
	struct torc_future *fs[10];
	int count = 0, r = 0;

	for (; count < 10 && r == 0; count += r == 0) {
		calls[count] = (struct torc_process_call){ .fn = tell_pid };
		r = torc_submit(pool, torc_process_call_run, &calls[count], &fs[count]);
		check(r == 0 || r == -EPIPE);
	}
	for (int i = 0; i < count; i++) {
		r = finish(fs[i]);
		check(r == -EPIPE || (others && r > 1)); /* another worker was quick */
	}
	check_broken_soon(pool, others);
	torc_executor_destroy(pool);
}

BOTH(is_broken_when_an_initializer_fails)
{
	static const int error = -EUCLEAN, pipe_error = -EPIPE;

	for (unsigned workers = 1; workers < 4; workers += 2) {
		check_broken_by(&(struct torc_process_call){ .fn = end_call_with,
							     .arg = &error,
							     .arg_bytes = sizeof(error) },
				workers, false);
		check_broken_by(&(struct torc_process_call){ .fn = end_call_with,
							     .arg = &pipe_error,
							     .arg_bytes = sizeof(pipe_error) },
				workers, false);
	}
}

/* It fails, for one of the workers only. */
static int fail_in_second(struct torc_process_call *call)
{
	(void)call;
	return torc_process_worker() == 1 ? -EUCLEAN : 0;
}

IN_A_FIBER(is_broken_when_the_initializer_of_one_worker_fails)
{
	check_broken_by(&(struct torc_process_call){ .fn = fail_in_second }, 3, true);
}

BOTH(is_broken_when_an_initializer_kills_its_worker)
{
	static const enum death how[] = { KILLED, FAULTED, ABORTED, EXITED, EXITED_WELL };

	for (size_t i = 0; i < COUNT(how); i++)
		check_broken_by(&(struct torc_process_call){ .fn = die,
							     .arg = &how[i],
							     .arg_bytes = sizeof(how[i]) },
				1 + (unsigned)i % 2, false);
}

IN_A_THREAD(is_destroyed_while_an_initializer_fails)
{
	static const int error = -EUCLEAN;

	for (int i = 0; i < 5; i++)
		torc_executor_destroy(processes_with(
			PROCESSES(.workers = 2, .initializer = &(struct torc_process_call){
							.fn = end_call_with,
							.arg = &error,
							.arg_bytes = sizeof(int) })));
}

/* --- deaths --- */

BOTH(tells_how_the_worker_of_a_call_has_died)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 1));

	for (enum death how = 0; how < DEATHS; how++) {
		char result[100];
		struct torc_process_call call = { .fn = die,
						  .arg = &how,
						  .arg_bytes = sizeof(how),
						  .result = result,
						  .result_bytes = sizeof(result) };
		pid_t pid = one_worker(pool);
		int error = -EPIPE;

		check_eq(run_call(pool, &call), -EPIPE);
		check_death(how, call.wait_status);
		check_eq(call.result_bytes, 0);
		check(gone(pid));
		check_works(pool);
		/* used once more, it does not remember */
		call.fn = end_call_with;
		call.arg = &error;
		check_eq(run_call(pool, &call), -EPIPE);
		check_eq(call.wait_status, 0);
	}
	check_eq(stats_of(pool).crashes, DEATHS);
	check_eq(stats_of(pool).started, DEATHS + 1);
	torc_executor_destroy(pool);
}

BOTH(goes_on_with_other_calls_when_a_worker_dies)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 2));
	struct holding a, b, queued[4];

	hold_one(&a, pool);
	hold_one(&b, pool);
	for (int i = 0; i < 4; i++) {
		hold_with(&queued[i], pool, hold_worker);
		let_go(&queued[i]);
	}
	check_eq(kill(a.held->pid, SIGKILL), 0);
	check_eq(torc_await(a.f, NULL), -EPIPE);
	check_eq(torc_future_state(a.f), TORC_DONE);
	check_death(KILLED, a.call.wait_status);
	for (int i = 0; i < 4; i++)
		holding_ends(&queued[i], ANSWER);
	check_eq(torc_future_state(b.f), TORC_RUNNING);
	check_eq(b.held->over, 0);
	let_go(&b);
	holding_ends(&b, ANSWER);
	holding_ends(&a, -EPIPE);
	torc_executor_destroy(pool);
}

/* However often, as long as they have begun. */
BOTH(outlives_many_deaths)
{
	enum { MANY = 40 };
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 2));
	static const enum death how = KILLED;
	static struct torc_process_call calls[MANY];
	static int results[MANY];
	struct torc_future *fs[MANY];

	for (int i = 0; i < MANY; i++) {
		calls[i] = (struct torc_process_call){ .fn = i % 2 ? add_one : die,
						       .arg = &how,
						       .arg_bytes = sizeof(how),
						       .result = &results[i],
						       .result_bytes = sizeof(int) };
		results[i] = -1;
		fs[i] = start(pool, &calls[i]);
	}
	for (int i = 0; i < MANY; i++) {
		check_eq(finish(fs[i]), i % 2 ? 0 : -EPIPE);
		check_eq(results[i], i % 2 ? (int)how + 1 : -1);
		if (i % 2 == 0)
			check_death(KILLED, calls[i].wait_status);
	}
	UNTIL(stats_of(pool).calls == MANY);
	check_eq(stats_of(pool).crashes, MANY / 2);
	torc_executor_destroy(pool);
}

/* No call was theirs. */
BOTH(replaces_workers_that_die_while_they_are_idle)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 2));
	int pids[2], now[2];

	all_are_there(pool);
	check_eq(torc_process_pids(pool, pids, 2), 2);
	for (int i = 0; i < 2; i++)
		check_eq(kill(pids[i], i ? SIGTERM : SIGKILL), 0);
	UNTIL(stats_of(pool).started == 4 && stats_of(pool).workers == 2);
	check_eq(torc_process_pids(pool, now, 2), 2);
	for (int i = 0; i < 4; i++)
		check(pids[i / 2] != now[i % 2]);
	check_works(pool);
	check_eq(stats_of(pool).crashes, 0);
	torc_executor_destroy(pool);
}

static int close_everything(struct torc_process_call *call)
{
	for (int fd = 0; fd < 4096; fd++)
		close(fd);
	*(int *)call->result = ANSWER;
	return 5;
}

BOTH(has_results_of_a_worker_that_closes_all_its_descriptors)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 1));

	for (int i = 0; i < 3; i++) {
		int result = -1;
		struct torc_process_call call = { .fn = close_everything,
						  .result = &result,
						  .result_bytes = sizeof(result) };

		check_eq(run_call(pool, &call), 5);
		check_eq(result, ANSWER);
		check_works(pool);
	}
	torc_executor_destroy(pool);
}

static int spoil_signals_and_more(struct torc_process_call *call)
{
	sigset_t all;

	(void)call;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_IGN);
	alarm(1000);
	umask(0777);
	setsid();
	return chdir("/");
}

/* It has to be asked for its end in a way that works. */
BOTH(ends_workers_whose_calls_have_blocked_all_signals)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 2, .calls_max = 2));

	for (int i = 0; i < 6; i++)
		check_eq(run_fn(pool, spoil_signals_and_more, NULL, 0), 0);
	check_works(pool);
	torc_executor_destroy(pool);
}

static int stop_itself(struct torc_process_call *call)
{
	struct held *h = (struct held *)call->arg;

	h->pid = getpid();
	h->begun = 1;
	raise(SIGSTOP);
	return ANSWER;
}

IN_A_THREAD(waits_for_a_worker_that_was_stopped)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 1));
	struct holding h;

	hold_with(&h, pool, stop_itself);
	UNTIL(h.held->begun && state_of(h.held->pid, NULL) == 'T');
	check_eq(torc_await_until(h.f, SOON, NULL), -ETIMEDOUT);
	check_eq(kill(h.held->pid, SIGCONT), 0);
	holding_ends(&h, ANSWER);
	check_eq(stats_of(pool).started, 1);
	torc_executor_destroy(pool);
}

/* --- children of workers --- */

static int fork_and_return_twice(struct torc_process_call *call)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		*(int *)call->result = -1;
		return 5;
	}
	check_eq(waitpid(pid, &status, 0), pid);
	*(int *)call->result = ANSWER;
	return 7;
}

static int fork_and_return_at_once(struct torc_process_call *call)
{
	pid_t pid = fork();

	check_ge(pid, 0);
	*(int *)call->result = ANSWER;
	return pid ? 7 : -EIO;
}

BOTH(ends_a_child_that_returns_from_the_function)
{
	static torc_process_call_fn *const fns[] = { fork_and_return_twice,
						     fork_and_return_at_once };
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 1));

	for (int i = 0; i < 10; i++) {
		int result = 0;
		struct torc_process_call call = { .fn = fns[i % 2],
						  .result = &result,
						  .result_bytes = sizeof(result) };

		check_eq(run_call(pool, &call), 7);
		if (i % 2 == 0)
			check_eq(result, ANSWER);
		check_works(pool);
	}
	check_eq(stats_of(pool).started, 1);
	torc_executor_destroy(pool);
}

/* Its child stays, deaf to all that is not SIGKILL. */
static int fork_and_leave(struct torc_process_call *call)
{
	pid_t pid = fork();

	(void)call;
	if (!pid) {
		sigset_t all;

		sigfillset(&all);
		sigprocmask(SIG_SETMASK, &all, NULL);
		for (;;)
			pause();
	}
	check_ge(pid, 0);
	return pid;
}

/* The pid is put where it can be seen, and then it dies. */
static int fork_and_die(struct torc_process_call *call)
{
	*(atomic_int *)call->arg = fork_and_leave(call);
	kill(getpid(), SIGKILL);
	return 0;
}

BOTH(ends_children_that_stay_with_their_worker)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 1, .calls_max = 3));
	atomic_int *shared = torc_process_alloc(pool, sizeof(*shared));
	pid_t child = run_fn(pool, fork_and_leave, NULL, 0);

	/* replaced: not before */
	check_eq(run_fn(pool, tell_pid, NULL, 0), one_worker(pool));
	check(!gone(child));
	check_ge(run_fn(pool, tell_pid, NULL, 0), 1);
	UNTIL(gone(child));

	/* died */
	*shared = 0;
	check_eq(run_fn(pool, fork_and_die, shared, sizeof(*shared)), -EPIPE);
	check_ge(*shared, 1);
	UNTIL(gone(*shared));

	/* destroyed */
	child = run_fn(pool, fork_and_leave, NULL, 0);
	check_ge(child, 1);
	check(!gone(child));
	torc_executor_destroy(pool);
	UNTIL(gone(child));
}

/* --- limits --- */

static int map_so_much(struct torc_process_call *call)
{
	size_t bytes = *(const size_t *)call->arg;
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	munmap(p, bytes);
	return 0;
}

static int grow_until_it_aborts(struct torc_process_call *call)
{
	(void)call;
	for (;;) {
		volatile char *p = malloc(MiB);

		if (!p)
			abort();
		*p = 1;
	}
}

static void limit_memory(void)
{
	struct torc_executor *pool =
		processes_with(PROCESSES(.workers = 1, .memory_max = 64 * MiB, .calls_max = 5));
	struct message m;

	for (int i = 0; i < 3; i++) {
		check_eq(run_fn(pool, map_so_much, &(size_t){ 32 * MiB }, sizeof(size_t)), 0);
		check_eq(run_fn(pool, map_so_much, &(size_t){ 65 * MiB }, sizeof(size_t)), -ENOMEM);
		check_eq(run_fn(pool, map_so_much, &(size_t){ 4096 * MiB }, sizeof(size_t)),
			 -ENOMEM);
		/* messages are not what it uses itself */
		message_new(&m, 3 * MiB, 3 * MiB, 1);
		message_came(&m, run_call(pool, &m.call));
	}
	for (int i = 0; i < 2; i++) {
		struct torc_process_call call = { .fn = grow_until_it_aborts };

		check_eq(run_call(pool, &call), -EPIPE);
		check_death(ABORTED, call.wait_status);
		check_works(pool);
	}
	torc_executor_destroy(pool);

	pool = processes_with(PROCESSES(.workers = 1));
	check_eq(run_fn(pool, map_so_much, &(size_t){ 256 * MiB }, sizeof(size_t)), 0);
	torc_executor_destroy(pool);
}

Test(process, refuses_workers_more_memory_than_they_may_have)
{
	if (WITH_ASAN)
		cr_skip_test("ASan needs all the addresses that there are");
	leaving_nothing(in_a_fiber, limit_memory);
	leaving_nothing(in_a_thread, limit_memory);
}

static uint64_t cpu_ms(void)
{
	struct timespec t;

	check_eq(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t), 0);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int burn_ms(struct torc_process_call *call)
{
	uint64_t until = cpu_ms() + *(const uint64_t *)call->arg;

	while (cpu_ms() < until)
		continue;
	return getpid();
}

IN_A_FIBER(kills_a_worker_whose_call_takes_too_long)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 1, .cpu_seconds = 1));
	uint64_t ms = 1000000;
	struct torc_process_call call = { .fn = burn_ms, .arg = &ms, .arg_bytes = sizeof(ms) };
	int first, second;

	check_eq(run_call(pool, &call), -EPIPE);
	check(WIFSIGNALED(call.wait_status));
	check_eq(WTERMSIG(call.wait_status), SIGXCPU);
	/* a call may, not all that a worker ever runs */
	ms = 600;
	first = run_call(pool, &call);
	second = run_call(pool, &call);
	check_ge(first, 1);
	check_eq(second, first);
	torc_executor_destroy(pool);
}

BOTH(replaces_workers_after_so_many_calls)
{
	static const int most[] = { 1, 3 };

	for (size_t k = 0; k < COUNT(most); k++) {
		struct torc_executor *pool =
			processes_with(PROCESSES(.workers = 1, .calls_max = (uint64_t)most[k]));
		int pids[12];

		for (int i = 0; i < 12; i++) {
			pids[i] = run_fn(pool, tell_pid, NULL, 0);
			check_ge(pids[i], 1);
			if (i)
				check_eq(pids[i] == pids[i - 1], i % most[k] != 0);
		}
		UNTIL(stats_of(pool).calls == 12);
		check_eq(stats_of(pool).crashes, 0);
		check_ge(stats_of(pool).started, 12 / most[k]);
		check_le(stats_of(pool).started, 12 / most[k] + 1);
		torc_executor_destroy(pool);
	}
}

/* With failures counted, and with much to do. */
IN_A_THREAD(loses_no_call_while_workers_are_replaced)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 3, .calls_max = 1));
	uint64_t seed = 99;

	for (int i = 0; i < 10; i++)
		send_lot(pool, &seed, 5000);
	for (int i = 0; i < 3; i++)
		check_eq(run_fn(pool, end_call_with, &(int){ -EIO }, sizeof(int)), -EIO);
	check_eq(stats_of(pool).crashes, 0);
	check_ge(stats_of(pool).started, 10 * LOT);
	torc_executor_destroy(pool);
}

BOTH(takes_no_more_than_its_queue_holds)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 1, .queue_max = 3));
	struct holding h, queued[16];
	struct torc_process_call calls[10];
	struct torc_future *fs[10], *f = (void *)UNTOUCHED;
	void *pointers[10];
	int count = 0, r;

	hold_one(&h, pool);
	for (r = 0; r == 0 && count < 16; count += r == 0) {
		struct holding *q = &queued[count];

		*q = (struct holding){ .pool = pool, .held = held_new(pool) };
		q->call = (struct torc_process_call){ .fn = hold_worker,
						      .arg = q->held,
						      .arg_bytes = sizeof(*q->held) };
		r = torc_submit(pool, torc_process_call_run, &q->call, &q->f);
		if (r < 0)
			torc_process_free(pool, q->held);
	}
	check_eq(r, -EAGAIN);
	check_eq(stats_of(pool).queued, 3);
	check_eq(count, 3); /* no worker has been given one beside the one that it runs */
	for (int i = 0; i < 10; i++) {
		calls[i] = (struct torc_process_call){ .fn = tell_pid };
		pointers[i] = &calls[i];
	}
	check_eq(torc_submit(pool, torc_process_call_run, &calls[0], &f), -EAGAIN);
	check(f == (void *)UNTOUCHED);
	check_eq(torc_submit_many(pool, torc_process_call_run, pointers, 10, fs), -EAGAIN);
	/* one that is cancelled makes room when its turn has come */
	check(torc_future_cancel(queued[1].f));
	holding_ends(&queued[1], -ECANCELED);
	let_go(&h);
	holding_ends(&h, ANSWER);
	let_go(&queued[0]);
	holding_ends(&queued[0], ANSWER);
	UNTIL(torc_submit(pool, torc_process_call_run, &calls[0], &f) == 0);
	let_go(&queued[2]);
	holding_ends(&queued[2], ANSWER);
	check_ge(finish(f), 1);
	torc_executor_destroy(pool);
}

/* More than fit at once: those before are cancelled, and no argument is in use. */
IN_A_FIBER(takes_none_of_many_when_not_all_find_room)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 1, .queue_max = 3));
	atomic_int *count = torc_process_alloc(pool, sizeof(*count));
	struct torc_process_call *calls = calloc(10, sizeof(*calls));
	struct torc_future *fs[10];
	struct holding h;
	void *pointers[10];

	*count = 0;
	hold_one(&h, pool);
	for (int i = 0; i < 10; i++) {
		calls[i] = (struct torc_process_call){ .fn = count_in_shared,
						       .arg = count,
						       .arg_bytes = sizeof(*count) };
		pointers[i] = &calls[i];
	}
	check_eq(torc_submit_many(pool, torc_process_call_run, pointers, 10, fs), -EAGAIN);
	free(calls);
	let_go(&h);
	holding_ends(&h, ANSWER);
	check_works(pool);
	check_eq(*count, 0);
	torc_executor_destroy(pool);
}

BOTH(takes_no_larger_messages_than_it_may)
{
	static const struct {
		size_t arg, result;
		int status;
	} cases[] = {
		{ 4096, 0, 0 },
		{ 0, 4096, 0 },
		{ 2048, 2048, 0 },
		{ 1, 4095, 0 },
		{ 4097, 0, -EMSGSIZE },
		{ 0, 4097, -EMSGSIZE },
		{ 2048, 2049, -EMSGSIZE },
		{ 4096, 1, -EMSGSIZE },
		{ SIZE_MAX, 0, -EMSGSIZE },
		{ SIZE_MAX, 1, -EMSGSIZE },
		{ 2, SIZE_MAX - 1, -EMSGSIZE },
		{ SIZE_MAX / 2 + 1, SIZE_MAX / 2 + 1, -EMSGSIZE },
		{ SIZE_MAX - 63, 64, -EMSGSIZE },
		{ SIZE_MAX - 4095, 4096, -EMSGSIZE },
	};
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 2, .message_max = 4096));
	static unsigned char arg[5000], result[5000];
	unsigned char *shared = torc_process_alloc(pool, MiB);
	struct torc_process_call call = { .fn = scramble };

	check(shared);
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct torc_future *f = (void *)UNTOUCHED;
		int r;

		call = (struct torc_process_call){ .fn = tell_pid,
						   .arg = arg,
						   .arg_bytes = cases[i].arg,
						   .result = result,
						   .result_bytes = cases[i].result };
		r = torc_submit(pool, torc_process_call_run, &call, &f);
		if (r != cases[i].status)
			fprintf(stderr, "case %zu\n", i);
		check_eq(r, cases[i].status);
		if (r == 0)
			check_ge(finish(f), 1);
		else
			check(f == (void *)UNTOUCHED);
	}
	/* what is not copied does not count */
	memset(shared, 1, MiB);
	call = (struct torc_process_call){ .fn = scramble,
					   .arg = shared,
					   .arg_bytes = MiB / 2,
					   .result = shared + MiB / 2,
					   .result_bytes = MiB / 2 };
	check_ge(run_call(pool, &call), 0);
	check_eq(shared[MiB - 1], 1 ^ 0x5a);
	call.result = result;
	call.result_bytes = 4096;
	check_ge(run_call(pool, &call), 0);
	check_eq(result[4095], 1 ^ 0x5a);
	/* many of the largest at a time */
	for (int i = 0; i < 4; i++) {
		struct message m[LOT];
		struct torc_future *fs[LOT];

		for (int n = 0; n < LOT; n++) {
			message_new(&m[n], 2048, 2048, (uint64_t)n);
			fs[n] = start(pool, &m[n].call);
		}
		for (int n = 0; n < LOT; n++)
			message_came(&m[n], finish(fs[n]));
	}
	torc_executor_destroy(pool);
}

/* --- cancelling --- */

BOTH(cancels_what_no_worker_has_been_given)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 1));
	atomic_int *count = torc_process_alloc(pool, sizeof(*count));
	struct holding h;

	*count = 0;
	hold_one(&h, pool);
	for (int i = 0; i < 5; i++) {
		struct torc_process_call *call = malloc(sizeof(*call));
		char *arg = malloc(5000);
		struct torc_future *f, *last;
		struct torc_process_call other = { .fn = count_in_shared,
						   .arg = count,
						   .arg_bytes = sizeof(*count) };

		memset(arg, 0, 5000);
		*call = i % 2 ? other
			      : (struct torc_process_call){ .fn = die,
							    .arg = arg,
							    .arg_bytes = 5000 };
		f = start(pool, call);
		last = start(pool, &other);
		check_eq(torc_future_state(f), TORC_PENDING);
		check(torc_future_cancel(f));
		check(torc_future_cancel(f));
		check_eq(torc_future_state(f), TORC_CANCELLED);
		free(call); /* it is done, so it is the caller's again */
		free(arg);
		check_eq(finish(f), -ECANCELED);
		check(torc_future_cancel(last));
		torc_future_put(last);
	}
	/* what runs goes on */
	check(!torc_future_cancel(h.f));
	check_eq(torc_future_state(h.f), TORC_RUNNING);
	let_go(&h);
	check_eq(torc_await(h.f, NULL), ANSWER);
	check(!torc_future_cancel(h.f));
	holding_ends(&h, ANSWER);
	check_works(pool);
	check_eq(*count, 0);
	check_eq(stats_of(pool).started, 1);
	torc_executor_destroy(pool);
}

BOTH(kills_the_worker_of_a_call_that_is_cancelled)
{
	struct torc_executor *pool =
		processes_with(PROCESSES(.workers = 2, .kill_on_cancel = true));
	struct holding h, other, queued;

	hold_one(&other, pool);
	for (int i = 0; i < 3; i++) {
		pid_t pid;

		hold_with(&h, pool, hold_worker_by_force);
		UNTIL(h.held->begun);
		pid = h.held->pid;
		hold_with(&queued, pool, hold_worker);
		let_go(&queued);
		check(torc_future_cancel(h.f));
		check_eq(torc_await(h.f, NULL), -ECANCELED);
		check(gone(pid)); /* over once the worker is */
		check_eq(torc_future_state(h.f), TORC_DONE);
		check_death(KILLED, h.call.wait_status);
		check_eq(h.call.result_bytes, 0);
		holding_ends(&h, -ECANCELED);
		holding_ends(&queued, ANSWER);
	}
	/* and those that were not begun as before */
	hold_one(&h, pool);
	hold_with(&queued, pool, hold_worker);
	check(torc_future_cancel(queued.f));
	check_eq(torc_future_state(queued.f), TORC_CANCELLED);
	check_eq(queued.held->begun, 0);
	holding_ends(&queued, -ECANCELED);
	let_go(&h);
	let_go(&other);
	holding_ends(&h, ANSWER);
	holding_ends(&other, ANSWER);
	torc_executor_destroy(pool);
}

static int spin_and_add(struct torc_process_call *call)
{
	for (volatile int n = *(const int *)call->arg % 64 * 200; n > 0; n--)
		continue;
	return add_one(call);
}

/* One that has just ended, and the next one has begun: that one is not harmed. */
BOTH(kills_nobody_else_when_a_call_is_cancelled_too_late)
{
	enum { ROUNDS = 100 };
	struct torc_executor *pool =
		processes_with(PROCESSES(.workers = 1, .kill_on_cancel = true));

	for (int i = 0; i < ROUNDS; i++) {
		struct torc_process_call calls[3];
		struct torc_future *fs[3];
		int results[3], r;

		for (int n = 0; n < 3; n++) {
			results[n] = -1;
			calls[n] = (struct torc_process_call){ .fn = spin_and_add,
							       .arg = &i,
							       .arg_bytes = sizeof(i),
							       .result = &results[n],
							       .result_bytes = sizeof(int) };
			fs[n] = start(pool, &calls[n]);
		}
		UNTIL(torc_future_state(fs[0]) != TORC_PENDING);
		for (int n = 0; n < i % 100; n++)
			sched_yield();
		(void)torc_future_cancel(fs[0]);
		r = finish(fs[0]);
		check(r == 0 || r == -ECANCELED);
		check_eq(results[0], r ? -1 : i + 1);
		for (int n = 1; n < 3; n++) {
			check_eq(finish(fs[n]), 0);
			check_eq(results[n], i + 1);
		}
	}
	torc_executor_destroy(pool);
}

struct cancelling {
	struct holding h;
	struct torc_scope *scope;
};

static int cancel_soon(void *arg)
{
	struct cancelling *c = arg;

	UNTIL(c->h.held->begun);
	torc_scope_cancel(c->scope);
	return 0;
}

static int await_in_ended_scope(void *arg)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 1));
	struct cancelling c;
	struct torc_group g;
	struct torc_scope s;
	struct torc_process_call late = { .fn = tell_pid }, too_late = late;

	(void)arg;
	hold_one(&c.h, pool);
	c.scope = &s;
	torc_group_enter(&g);
	torc_scope_enter(&s, TORC_NEVER);
	check_eq(torc_group_spawn(&g, cancel_soon, &c), 0);
	check_eq(torc_await(c.h.f, NULL), -ECANCELED);
	check_eq(torc_future_state(c.h.f), TORC_RUNNING); /* nothing is done to it */
	/* also here there is no waiting for a submit, nor is it refused */
	check_eq(torc_submit(pool, torc_process_call_run, &late, NULL), 0);
	check_eq(torc_executor_shutdown(pool, 0), -ECANCELED);
	check_eq(torc_submit(pool, torc_process_call_run, &too_late, NULL), -ESHUTDOWN);
	torc_scope_leave(&s);
	check_eq(torc_group_wait(&g), 0);
	torc_scope_enter(&s, TORC_MS(2));
	check_eq(torc_await(c.h.f, NULL), -ETIMEDOUT);
	check_eq(torc_executor_shutdown(pool, 0), -ETIMEDOUT);
	torc_scope_leave(&s);
	check_eq(torc_await_until(c.h.f, SOON, NULL), -ETIMEDOUT);
	let_go(&c.h);
	/* as long as it takes */
	torc_scope_enter(&s, TORC_NEVER);
	torc_scope_cancel(&s);
	torc_executor_destroy(pool);
	torc_scope_leave(&s);
	check_eq(finish(c.h.f), ANSWER);
	return 0;
}

Test(process, ends_the_wait_of_a_fiber_with_its_scope_but_not_the_call)
{
	run(await_in_ended_scope, NULL);
	check(!has_children());
}

/* --- what is broken --- */

BOTH(is_broken_by_a_worker_that_dies_if_that_was_asked_for)
{
	for (int i = 0; i < 2; i++) {
		struct torc_executor *pool =
			processes_with(PROCESSES(.workers = 2, .break_on_crash = true));
		struct holding a, b, queued[3];

		hold_one(&a, pool);
		hold_with(&b, pool, i ? hold_worker_by_force : hold_worker);
		UNTIL(b.held->begun);
		for (int n = 0; n < 3; n++)
			hold_with(&queued[n], pool, hold_worker);
		check_eq(kill(a.held->pid, SIGKILL), 0);
		check_eq(torc_await(a.f, NULL), -EPIPE);
		check_death(KILLED, a.call.wait_status);
		for (int n = 0; n < 3; n++) {
			check_eq(torc_await(queued[n].f, NULL), -EPIPE);
			check_eq(queued[n].held->begun, 0);
			check_eq(queued[n].call.wait_status, 0);
			holding_ends(&queued[n], -EPIPE);
		}
		holding_ends(&a, -EPIPE);
		holding_ends(&b, -EPIPE);
		check_broken(pool);
		torc_executor_destroy(pool);
	}
}

BOTH(is_broken_by_an_idle_worker_that_dies_if_that_was_asked_for)
{
	struct torc_executor *pool =
		processes_with(PROCESSES(.workers = 2, .break_on_crash = true));

	check_works(pool);
	check_eq(kill(one_worker(pool), SIGKILL), 0);
	check_broken_soon(pool, true);
	torc_executor_destroy(pool);

	/* those that are replaced do not die of it */
	pool = processes_with(PROCESSES(.workers = 1, .calls_max = 1, .break_on_crash = true));
	check_works(pool);
	torc_executor_destroy(pool);
}

/* The workers are its children, and in the midst of something. */
BOTH(is_broken_without_its_fork_server)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 2));
	struct holding h[5];
	pid_t pids[2], server;

	hold_with(&h[0], pool, hold_worker);
	hold_with(&h[1], pool, hold_worker_by_force);
	for (int i = 0; i < 2; i++) {
		UNTIL(h[i].held->begun);
		pids[i] = h[i].held->pid;
	}
	for (int i = 2; i < 5; i++)
		hold_with(&h[i], pool, hold_worker);
	server = fork_server_of(pids[0]);
	check_eq(fork_server_of(pids[1]), server);
	check_eq(kill(server, SIGKILL), 0);
	for (int i = 0; i < 5; i++)
		check_eq(torc_await(h[i].f, NULL), -EPIPE);
	for (int i = 2; i < 5; i++)
		check_eq(h[i].held->begun, 0);
	for (int i = 0; i < 5; i++)
		holding_ends(&h[i], -EPIPE);
	for (int i = 0; i < 2; i++)
		UNTIL(gone(pids[i]));
	check_broken(pool);
	torc_executor_destroy(pool);
}

BOTH(is_broken_when_its_idle_fork_server_dies)
{
	for (int reaps = 0; reaps < 2; reaps++) {
		struct torc_executor *pool = processes_with(PROCESSES(.workers = 1));
		pid_t worker, server;

		check_works(pool);
		worker = one_worker(pool);
		server = fork_server_of(worker);
		check_eq(kill(server, SIGKILL), 0);
		if (reaps &&
		    waitpid(server, NULL, 0) < 0) /* a program that waits for all its children */
			check_eq(errno, ECHILD);
		UNTIL(gone(worker));
		check_broken(pool);
		torc_executor_destroy(pool);
	}
}

/* Idle, or with workers that it waits for; nothing waits for ever. */
IN_A_THREAD(is_shut_down_without_its_fork_server)
{
	for (int i = 0; i < 4; i++) {
		struct torc_executor *pool = processes_with(PROCESSES(.workers = 1));
		struct holding h;

		hold_one(&h, pool);
		if (i % 2) {
			let_go(&h);
			check_eq(torc_await(h.f, NULL), ANSWER);
		}
		check_eq(kill(fork_server_of(h.held->pid), SIGKILL), 0);
		if (i / 2)
			check_eq(torc_executor_shutdown(pool, 0), 0);
		torc_executor_destroy(pool);
		check_eq(finish(h.f), i % 2 ? ANSWER : -EPIPE);
	}
}

/* --- its end --- */

BOTH(terminates_or_kills_its_workers)
{
	for (int kills = 0; kills < 2; kills++) {
		struct torc_executor *pool = processes_with(PROCESSES(.workers = 2));
		struct holding h[2], queued[3];
		struct torc_process_call late = { .fn = tell_pid };
		struct torc_future *f = (void *)UNTOUCHED;

		for (int i = 0; i < 2; i++) {
			hold_with(&h[i], pool, kills ? hold_worker_by_force : hold_worker);
			UNTIL(h[i].held->begun);
		}
		for (int i = 0; i < 3; i++)
			hold_with(&queued[i], pool, hold_worker);
		check_eq(kills ? torc_process_kill_workers(pool)
			       : torc_process_terminate_workers(pool),
			 0);
		check_eq(torc_submit(pool, torc_process_call_run, &late, &f), -ESHUTDOWN);
		check(f == (void *)UNTOUCHED);
		for (int i = 0; i < 3; i++) {
			check_eq(torc_await(queued[i].f, NULL), -ECANCELED);
			check_eq(torc_future_state(queued[i].f), TORC_CANCELLED);
			check_eq(queued[i].held->begun, 0);
			torc_future_put(queued[i].f);
		}
		check_eq(torc_executor_shutdown(pool, 0), 0);
		for (int i = 0; i < 2; i++) {
			check_eq(torc_future_try(h[i].f, NULL), -EPIPE);
			check_death(kills ? KILLED : TERMINATED, h[i].call.wait_status);
			check(gone(h[i].held->pid));
			torc_future_put(h[i].f);
		}
		torc_executor_destroy(pool);
	}
}

static struct held *to_open;

static void open_on_signal(int sig)
{
	(void)sig;
	to_open->open = 1;
}

/* It takes SIGTERM for a request to end in time. */
static int hold_until_terminated(struct torc_process_call *call)
{
	to_open = (struct held *)call->arg;
	signal(SIGTERM, open_on_signal);
	return hold_worker(call);
}

IN_A_FIBER(has_results_of_calls_that_end_when_they_are_terminated)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 1));
	struct holding h;

	hold_with(&h, pool, hold_until_terminated);
	UNTIL(h.held->begun);
	check_eq(torc_process_terminate_workers(pool), 0);
	check_eq(torc_process_terminate_workers(pool), 0);
	check_eq(torc_await(h.f, NULL), ANSWER);
	check_eq(h.call.wait_status, 0);
	check_eq(torc_executor_shutdown(pool, 0), 0);
	holding_ends(&h, ANSWER);
	torc_executor_destroy(pool);
}

IN_A_THREAD(is_terminated_and_killed_with_nothing_to_do)
{
	for (int i = 0; i < 8; i++) {
		struct torc_executor *pool = processes_with(PROCESSES(.workers = 2));

		if (i & 4)
			all_are_there(pool);
		if (i & 1)
			check_eq(torc_process_terminate_workers(pool), 0);
		if (i & 2)
			check_eq(torc_process_kill_workers(pool), 0);
		torc_executor_destroy(pool);
	}
}

BOTH(waits_for_all_there_is_when_it_is_shut_down)
{
	for (int destroys = 0; destroys < 2; destroys++) {
		struct torc_executor *pool = processes_with(PROCESSES(.workers = 1));
		struct torc_process_call calls[20];
		struct torc_future *fs[20], *f = (void *)UNTOUCHED;
		int args[20], results[20];
		struct holding h;
		struct later l;

		hold_one(&h, pool);
		for (int i = 0; i < 20; i++) {
			args[i] = i;
			calls[i] = (struct torc_process_call){ .fn = add_one,
							       .arg = &args[i],
							       .arg_bytes = sizeof(int),
							       .result = &results[i],
							       .result_bytes = sizeof(int) };
			fs[i] = start(pool, &calls[i]);
		}
		later(&l, let_go_later, &h);
		if (!destroys) {
			check_eq(torc_executor_shutdown(pool, 0), 0);
			check_eq(torc_submit(pool, torc_process_call_run, &calls[0], &f),
				 -ESHUTDOWN);
			check(f == (void *)UNTOUCHED);
			check_eq(torc_executor_shutdown(pool, 0), 0);
			check_eq(stats_of(pool).calls, 21);
			check_eq(stats_of(pool).queued, 0);
		}
		torc_executor_destroy(pool);
		later_is_over(&l);
		for (int i = 0; i < 20; i++) {
			check_eq(torc_future_try(fs[i], NULL), 0);
			check_eq(results[i], i + 1);
			torc_future_put(fs[i]);
		}
		check_eq(finish(h.f), ANSWER);
	}
}

BOTH(cancels_what_has_not_begun_when_it_is_shut_down_like_that)
{
	for (int waits = 0; waits < 2; waits++) {
		struct torc_executor *pool = processes_with(PROCESSES(.workers = 1));
		struct holding h, queued[5];
		struct later l;

		hold_one(&h, pool);
		for (int i = 0; i < 5; i++)
			hold_with(&queued[i], pool, hold_worker);
		if (waits) {
			later(&l, let_go_later, &h);
			check_eq(torc_executor_shutdown(pool, TORC_CANCEL_PENDING), 0);
			later_is_over(&l);
			check_eq(torc_future_state(h.f), TORC_DONE);
		} else {
			check_eq(torc_executor_shutdown(pool, TORC_CANCEL_PENDING | TORC_NO_WAIT),
				 0);
			check_eq(torc_future_state(h.f), TORC_RUNNING);
			let_go(&h);
		}
		for (int i = 0; i < 5; i++) {
			check_eq(torc_await(queued[i].f, NULL), -ECANCELED);
			check_eq(torc_future_state(queued[i].f), TORC_CANCELLED);
			check_eq(queued[i].held->begun, 0);
			torc_future_put(queued[i].f);
		}
		torc_executor_destroy(pool);
		check_eq(finish(h.f), ANSWER);
	}
}

BOTH(goes_on_with_what_it_has_when_it_is_shut_down_without_waiting)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 1));
	struct holding h, queued[3];

	hold_one(&h, pool);
	for (int i = 0; i < 3; i++)
		hold_with(&queued[i], pool, hold_worker);
	check_eq(torc_executor_shutdown(pool, TORC_NO_WAIT), 0);
	check_eq(torc_executor_shutdown(pool, TORC_NO_WAIT), 0);
	check_eq(torc_submit(pool, torc_process_call_run, &h.call, NULL), -ESHUTDOWN);
	let_go(&h);
	check_eq(torc_await(h.f, NULL), ANSWER);
	/* and a worker that dies meanwhile is replaced, as there is something to do */
	UNTIL(queued[0].held->begun);
	check_eq(kill(queued[0].held->pid, SIGKILL), 0);
	check_eq(torc_await(queued[0].f, NULL), -EPIPE);
	let_go(&queued[1]);
	check_eq(torc_await(queued[1].f, NULL), ANSWER);
	check_eq(torc_executor_shutdown(pool, TORC_CANCEL_PENDING | TORC_NO_WAIT), 0);
	let_go(&queued[2]);
	check_eq(torc_executor_shutdown(pool, 0), 0);
	check(torc_future_state(queued[2].f) >= TORC_DONE);
	torc_future_put(h.f);
	for (int i = 0; i < 3; i++)
		torc_future_put(queued[i].f);
	torc_executor_destroy(pool);
}

/* --- several futures, and what comes after --- */

BOTH(has_futures_like_any_other)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 2));
	struct torc_future *fs[6], *f;
	struct torc_process_call calls[6];
	struct torc_completion c;
	struct holding h;
	static const int error = -EIO;
	int r, count = 0;

	hold_one(&h, pool);
	for (int i = 0; i < 5; i++) {
		calls[i] = (struct torc_process_call){ .fn = i == 3 ? end_call_with : tell_pid,
						       .arg = &error,
						       .arg_bytes = sizeof(error) };
		fs[i] = start(pool, &calls[i]);
	}
	fs[5] = h.f;
	check_ge(torc_wait(fs, 6, TORC_FIRST_COMPLETED, TORC_NEVER), 1);
	check_ge(torc_wait(fs, 6, TORC_FIRST_ERROR, TORC_NEVER), 1);
	check_eq(torc_future_try(fs[3], NULL), -EIO);
	check_eq(torc_wait(fs, 5, TORC_ALL_COMPLETED, TORC_NEVER), 5);
	check_eq(torc_wait(fs, 6, TORC_ALL_COMPLETED, SOON), 5);
	check_eq(torc_future_try(h.f, NULL), -EINPROGRESS);
	check_eq(torc_await_until(h.f, 0, NULL), -ETIMEDOUT);
	check_eq(torc_as_completed(&c, fs, 6, TORC_NEVER), 0);
	while (count < 5 && (r = torc_completion_next(&c, &f)) == 1)
		count += f != h.f;
	check_eq(count, 5);
	let_go(&h);
	check_eq(torc_completion_next(&c, &f), 1);
	check(f == h.f);
	check_eq(torc_completion_next(&c, &f), 0);
	torc_completion_done(&c);
	check_eq(torc_await_all(fs, 6, NULL), -EIO);
	torc_future_put(fs[3]);
	fs[3] = fs[4];
	check_eq(torc_await_all(fs, 5, NULL), 0);
	for (int i = 0; i < 5; i++)
		if (i != 3)
			torc_future_put(fs[i]);
	holding_ends(&h, ANSWER);
	torc_executor_destroy(pool);
}

/* In the program, with what the call has made. */
static int double_number(void *value, void *arg, void **ret_value)
{
	int *n = value;

	check_eq(getpid(), VALUE(arg));
	*n *= 2;
	*ret_value = n;
	return 0;
}

BOTH(has_steps_that_are_done_in_the_program)
{
	struct torc_executor *processes = processes_with(PROCESSES(.workers = 1)),
			     *threads = pool_with(POOL(.workers = 1)), *where[] = { NULL, threads };
	static const enum death how = KILLED;

	for (size_t i = 0; i < COUNT(where); i++) {
		int n = 20, result = -1;
		struct torc_process_call call = { .fn = add_one,
						  .arg = &n,
						  .arg_bytes = sizeof(n),
						  .result = &result,
						  .result_bytes = sizeof(result) };
		struct torc_future *first = start(processes, &call), *second, *third;

		check_eq(torc_then(first, where[i], double_number, ARG(getpid()), &second), 0);
		check_eq(torc_then(second, where[i], double_number, ARG(getpid()), &third), 0);
		expect(third, 0, &result);
		check_eq(result, 84);
		torc_future_put(first);
		torc_future_put(second);

		call = (struct torc_process_call){ .fn = die,
						   .arg = &how,
						   .arg_bytes = sizeof(how) };
		first = start(processes, &call);
		check_eq(torc_then(first, where[i], pass_step, NULL, &second), 0);
		check_eq(finish(second), -EPIPE);
		torc_future_put(first);
	}
	torc_executor_destroy(threads);
	torc_executor_destroy(processes);
}

/* Each call is submitted where the one before it is completed. */
struct chain {
	struct torc_executor *pool;
	struct torc_process_call call;
	int value;
	atomic_int left;
};

static void next_link(struct torc_future *f, void *arg);

static void submit_link(struct chain *c)
{
	struct torc_future *f;

	c->call = (struct torc_process_call){ .fn = add_one,
					      .arg = &c->value,
					      .arg_bytes = sizeof(int),
					      .result = &c->value,
					      .result_bytes = sizeof(int) };
	check_eq(torc_submit(c->pool, torc_process_call_run, &c->call, &f), 0);
	check_eq(torc_future_on_done(f, next_link, c), 0);
}

static void next_link(struct torc_future *f, void *arg)
{
	struct chain *c = arg;

	check_eq(torc_future_try(f, NULL), 0);
	check_ge(stats_of(c->pool).workers, 1);
	check_ge(torc_process_pids(c->pool, NULL, 0), 1);
	torc_future_put(f);
	if (atomic_fetch_sub(&c->left, 1) > 1)
		submit_link(c);
}

BOTH(takes_calls_from_where_others_are_completed)
{
	struct chain c = { .pool = processes_with(PROCESSES(.workers = 1)), .left = 200 };

	submit_link(&c);
	UNTIL(!c.left);
	check_eq(c.value, 200);
	torc_executor_destroy(c.pool);
}

BOTH(tells_the_pids_of_its_workers)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 3));
	int pids[8];
	struct holding h;

	all_are_there(pool);
	memset(pids, 0, sizeof(pids));
	check_eq(torc_process_pids(pool, pids, 8), 3);
	for (int i = 0; i < 8; i++)
		check_eq(pids[i] > 1, i < 3);
	memset(pids, 0, sizeof(pids));
	check_eq(torc_process_pids(pool, pids, 2), 3); /* there are more than there is room for */
	check(pids[0] > 1 && pids[1] > 1 && pids[2] == 0);
	check_eq(torc_process_pids(pool, NULL, 0), 3);
	hold_one(&h, pool);
	check_eq(torc_process_pids(pool, pids, 8), 3);
	check(pids[0] == h.held->pid || pids[1] == h.held->pid || pids[2] == h.held->pid);
	let_go(&h);
	holding_ends(&h, ANSWER);
	torc_executor_destroy(pool);
}

BOTH(counts_what_it_does)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 2));
	struct torc_process_stats stats;
	struct holding h[5];

	for (int i = 0; i < 5; i++)
		hold_with(&h[i], pool, hold_worker);
	UNTIL(h[0].held->begun && h[1].held->begun);
	stats = stats_of(pool);
	check_eq(stats.workers, 2);
	check_eq(stats.idle, 0);
	check_eq(stats.queued, 3);
	check_eq(stats.calls, 0);
	check_eq(stats.crashes, 0);
	check_eq(stats.started, 2);
	check_eq(stats.shared_bytes, 5 * PAGE);
	check_eq(kill(h[0].held->pid, SIGKILL), 0);
	check_eq(torc_await(h[0].f, NULL), -EPIPE);
	UNTIL(h[2].held->begun);
	UNTIL((stats = stats_of(pool)).crashes == 1);
	check_eq(stats.calls, 1);
	check_eq(stats.queued, 2);
	UNTIL(stats_of(pool).started == 3);
	for (int i = 1; i < 5; i++)
		let_go(&h[i]);
	for (int i = 0; i < 5; i++)
		holding_ends(&h[i], i ? ANSWER : -EPIPE);
	UNTIL(stats_of(pool).idle == 2);
	stats = stats_of(pool);
	check_eq(stats.calls, 5);
	check_eq(stats.crashes, 1);
	check_eq(stats.queued, 0);
	check_eq(stats.shared_bytes, 0);
	torc_executor_destroy(pool);
}

/* --- shared memory --- */

BOTH(shares_memory_up_to_a_limit)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 1, .shared_max = MiB));
	size_t most = MiB / PAGE, count = 0;
	char **blocks = calloc(most + 1, sizeof(*blocks)), *all;

	torc_process_free(pool, NULL);
	check(!torc_process_alloc(pool, SIZE_MAX));
	check(!torc_process_alloc(pool, SIZE_MAX - PAGE + 1));
	check(!torc_process_alloc(pool, SIZE_MAX - PAGE));
	check(!torc_process_alloc(pool, MiB + 1));
	torc_process_free(pool, torc_process_alloc(pool, 0)); /* whatever that is */
	check_eq(stats_of(pool).shared_bytes, 0);
	while (count <= most && (blocks[count] = torc_process_alloc(pool, 1 + count))) {
		check_eq((uintptr_t)blocks[count] % PAGE, 0);
		memset(blocks[count], (int)(count % 251), PAGE);
		count++;
		check_eq(stats_of(pool).shared_bytes, count * PAGE);
	}
	check_eq(count, most);
	check(!torc_process_alloc(pool, 1));
	for (size_t i = 0; i < count; i++)
		for (size_t n = 0; n < PAGE; n += 61)
			check_eq((unsigned char)blocks[i][n], i % 251);
	/* back, the odd ones first, and there is room for something large again */
	for (size_t i = 1; i < count; i += 2)
		torc_process_free(pool, blocks[i]);
	for (size_t i = 0; i < count; i += 2)
		torc_process_free(pool, blocks[i]);
	check_eq(stats_of(pool).shared_bytes, 0);
	all = torc_process_alloc(pool, MiB);
	check(all);
	memset(all, 1, MiB);
	check_eq(stats_of(pool).shared_bytes, MiB);
	check(!torc_process_alloc(pool, 1));
	free(blocks);
	check_works(pool);
	torc_executor_destroy(pool);
}

struct block {
	unsigned char *bytes, value;
	size_t count;
};

/* No two have a byte in common, whatever comes and goes. */
IN_A_THREAD(shares_no_byte_twice)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 1, .shared_max = MiB));
	struct block blocks[32] = { { NULL, 0, 0 } };
	uint64_t seed = 7;
	size_t used = 0;

	for (int i = 0; i < 2000; i++) {
		struct block *b = &blocks[next_random(&seed) % COUNT(blocks)];

		if (b->bytes) {
			for (size_t n = 0; n < b->count; n += 509)
				check_eq(b->bytes[n], b->value);
			check_eq(b->bytes[b->count - 1], b->value);
			torc_process_free(pool, b->bytes);
			used -= b->count;
			b->bytes = NULL;
			continue;
		}
		b->count = (1 + next_random(&seed) % 20) * PAGE;
		b->value = (unsigned char)i;
		b->bytes = torc_process_alloc(pool, b->count - next_random(&seed) % PAGE);
		if (!b->bytes)
			continue;
		memset(b->bytes, b->value, b->count);
		used += b->count;
		check_eq(stats_of(pool).shared_bytes, used);
	}
	torc_executor_destroy(pool);
}

static int add_in_place(struct torc_process_call *call)
{
	int *numbers = (int *)call->arg;

	for (size_t i = 0; i < call->arg_bytes / sizeof(int); i++)
		numbers[i]++;
	return 0;
}

/* And so they are where they are: nothing is copied, nor is it moved. */
BOTH(has_workers_that_see_what_is_shared)
{
	enum { NUMBERS = 100000, BYTES = NUMBERS * sizeof(int) };
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 2, .message_max = 4096));
	struct holding h;
	int *numbers, *part;

	check_works(pool); /* they have begun before there is any */
	numbers = torc_process_alloc(pool, BYTES);
	check(numbers);
	for (int i = 0; i < NUMBERS; i++)
		numbers[i] = i;
	for (int round = 1; round < 4; round++) {
		struct torc_process_call call = { .fn = add_in_place,
						  .arg = numbers,
						  .arg_bytes = BYTES,
						  .result = numbers,
						  .result_bytes = BYTES };

		check_eq(run_call(pool, &call), 0);
		check_eq(call.result_bytes, BYTES);
		for (int i = 0; i < NUMBERS; i++)
			check_eq(numbers[i], i + round);
	}
	/* a part of it, wherever it begins */
	part = numbers + 12345;
	check_eq(run_fn(pool, add_in_place, part, 10 * sizeof(int)), 0);
	for (int i = 12340; i < 12360; i++)
		check_eq(numbers[i], i + 3 + (i >= 12345 && i < 12355));
	/* while a call runs, both ways */
	hold_one(&h, pool);
	check_eq(h.held->begun, 1);
	check_eq(h.held->over, 0);
	let_go(&h);
	UNTIL(h.held->over);
	holding_ends(&h, ANSWER);
	torc_process_free(pool, numbers);
	torc_executor_destroy(pool);
}

/* One of them is copied. */
BOTH(has_calls_of_which_only_a_part_is_shared)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 1));
	size_t bytes = 3 * PAGE + 17;
	unsigned char *shared = torc_process_alloc(pool, bytes), *own = malloc(bytes);
	struct torc_process_call call = { .fn = scramble };

	check(shared && own);
	for (size_t i = 0; i < bytes; i++)
		shared[i] = (unsigned char)(i * 13);
	for (int i = 0; i < 2; i++) {
		call = (struct torc_process_call){ .fn = scramble,
						   .arg = i ? own : shared,
						   .arg_bytes = bytes,
						   .result = i ? shared : own,
						   .result_bytes = bytes };
		check_ge(run_call(pool, &call), 0);
		check_eq(call.result_bytes, bytes);
		for (size_t n = 0; n < bytes; n++)
			check_eq((i ? shared : own)[n],
				 (unsigned char)(i ? n * 13 : (n * 13) ^ 0x5a));
	}
	free(own);
	torc_process_free(pool, shared);
	torc_executor_destroy(pool);
}

IN_A_THREAD(shares_memory_again_that_was_given_back)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 2, .shared_max = PAGE));

	for (int i = 0; i < 50; i++) {
		int *n = torc_process_alloc(pool, sizeof(*n));

		check(n);
		*n = i;
		check_eq(run_fn(pool, add_in_place, n, sizeof(*n)), 0);
		check_eq(*n, i + 1);
		torc_process_free(pool, n);
	}
	torc_executor_destroy(pool);
}

/* It is there as long as the pool is, whatever happens to workers. */
IN_A_FIBER(shares_memory_that_outlives_workers)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 1));
	static const enum death how = FAULTED;
	int *n = torc_process_alloc(pool, sizeof(*n));

	*n = 0;
	for (int i = 0; i < 5; i++) {
		check_eq(run_fn(pool, add_in_place, n, sizeof(*n)), 0);
		check_eq(run_fn(pool, die, &how, sizeof(how)), -EPIPE);
		check_eq(*n, i + 1);
	}
	check_eq(kill(fork_server_of(one_worker(pool)), SIGKILL), 0);
	check_broken_soon(pool, true); /* workers may outlive it for a moment */
	check_eq(*n, 5);
	torc_process_free(pool, n);
	torc_executor_destroy(pool);
}

/* Without taking that much from the machine. */
IN_A_THREAD(shares_a_gigabyte_by_default)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 1));
	char *some = torc_process_alloc(pool, MiB);

	check(some);
	check(!torc_process_alloc(pool, 1023 * MiB + 1));
	torc_process_free(pool, some);
	check(!torc_process_alloc(pool, 1024 * MiB + 1));
	torc_executor_destroy(pool);
}

/* --- several of everything --- */

/* Memory of one is nothing special to the others. */
BOTH(lives_beside_others)
{
	struct torc_executor *pools[3];
	struct holding h[3];
	int *numbers;

	for (int i = 0; i < 3; i++)
		pools[i] = processes_with(PROCESSES(.workers = 1));
	for (int i = 0; i < 3; i++)
		hold_one(&h[i], pools[i]);
	numbers = torc_process_alloc(pools[0], PAGE);
	check(numbers);
	for (size_t i = 0; i < PAGE / sizeof(int); i++)
		numbers[i] = (int)i;
	let_go(&h[1]);
	holding_ends(&h[1], ANSWER);
	check_works(pools[1]);
	check_eq(run_fn(pools[1], add_in_place, numbers, PAGE), 0); /* a copy of it */
	for (size_t i = 0; i < PAGE / sizeof(int); i++)
		check_eq(numbers[i], i);
	{
		struct torc_process_call call = { .fn = scramble,
						  .arg = numbers,
						  .arg_bytes = PAGE / 2,
						  .result = numbers + PAGE / 2 / sizeof(int),
						  .result_bytes = PAGE / 2 };

		check_ge(run_call(pools[1], &call), 0);
		check_eq(((unsigned char *)numbers)[PAGE / 2 + 4], 1 ^ 0x5a);
	}
	torc_executor_destroy(pools[1]);
	check_eq(kill(fork_server_of(h[2].held->pid), SIGKILL), 0);
	holding_ends(&h[2], -EPIPE);
	check_broken(pools[2]);
	torc_executor_destroy(pools[2]);
	let_go(&h[0]);
	holding_ends(&h[0], ANSWER);
	check_works(pools[0]);
	torc_executor_destroy(pools[0]);
}

struct sender {
	struct torc_executor *pool;
	uint64_t seed;
	int lots;
	atomic_int over;
};

static int send_lots(void *arg)
{
	struct sender *s = arg;

	for (int i = 0; i < s->lots; i++) {
		int *n = torc_process_alloc(s->pool, sizeof(*n));

		check(n);
		*n = i;
		send_lot(s->pool, &s->seed, 3000);
		check_eq(run_fn(s->pool, add_in_place, n, sizeof(*n)), 0);
		check_eq(*n, i + 1);
		torc_process_free(s->pool, n);
		check_eq(run_fn(s->pool, end_call_with, &(int){ -EIO }, sizeof(int)), -EIO);
	}
	s->over++;
	return 0;
}

static void *send_lots_on_thread(void *arg)
{
	(void)send_lots(arg);
	return NULL;
}

#define SENDERS 3

static int send_on_all_loops(void *arg)
{
	struct sender *senders = arg;
	struct torc_group g;

	torc_group_enter(&g);
	for (int i = 0; i < SENDERS * torc_loop_count(); i++)
		check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(i / SENDERS)),
					       send_lots, &senders[i]),
			 0);
	return torc_group_wait(&g);
}

Test(process, takes_calls_from_threads_and_loops_at_once)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 3));
	struct sender senders[3 * SENDERS];
	pthread_t threads[SENDERS];

	for (int i = 0; i < 3 * SENDERS; i++)
		senders[i] = (struct sender){ .pool = pool, .seed = (uint64_t)i, .lots = 8 };
	for (int i = 0; i < SENDERS; i++)
		threads[i] = start_thread(send_lots_on_thread, &senders[2 * SENDERS + i]);
	check_eq(run_with(OPTIONS(.loops = 2), send_on_all_loops, senders), 0);
	for (int i = 0; i < SENDERS; i++)
		join_thread(threads[i]);
	for (int i = 0; i < 3 * SENDERS; i++)
		check_eq(senders[i].over, 1);
	check_eq(stats_of(pool).shared_bytes, 0);
	check_eq(stats_of(pool).started, 3);
	torc_executor_destroy(pool);
	check(!has_children());
}

/* Whatever the kernel lacks. */
static int do_all_kinds(void *arg)
{
	struct torc_executor *pool =
		processes_with(PROCESSES(.workers = 2, .kill_on_cancel = true));
	static const enum death how = KILLED;
	struct sender senders[2 * SENDERS];
	struct torc_process_call call;
	struct holding h;

	(void)arg;
	for (int i = 0; i < 2 * SENDERS; i++)
		senders[i] = (struct sender){ .pool = pool, .seed = (uint64_t)i, .lots = 1 };
	check_eq(send_on_all_loops(senders), 0);
	call = (struct torc_process_call){ .fn = die, .arg = &how, .arg_bytes = sizeof(how) };
	check_eq(run_call(pool, &call), -EPIPE);
	check_death(how, call.wait_status);
	hold_with(&h, pool, hold_worker_by_force);
	UNTIL(h.held->begun);
	check_eq(torc_await_until(h.f, SOON, NULL), -ETIMEDOUT);
	check(torc_future_cancel(h.f));
	holding_ends(&h, -ECANCELED);
	check_works(pool);
	hold_one(&h, pool);
	let_go(&h);
	torc_executor_destroy(pool);
	check_eq(finish(h.f), ANSWER);
	return 0;
}

Test(process, works_the_same_whatever_the_kernel_lacks)
{
	static const char *const off[] = { "", "ring_futex", "msg_ring",
					   "ring_futex,msg_ring,membarrier,defer_taskrun" };

	for (size_t i = 0; i < COUNT(off); i++) {
		setenv("TORC_DISABLE", off[i], 1);
		for (int loops = 1; loops < 3; loops++)
			check_eq(run_with(OPTIONS(.loops = loops), do_all_kinds, NULL), 0);
	}
	unsetenv("TORC_DISABLE");
	check(!has_children());
}

/* --- loops that are busy, and that end --- */

static void *send_until_told(void *arg)
{
	struct sender *s = arg;

	for (int i = 0; i < 20; i++)
		check_works(s->pool);
	atomic_store(&s->over, 1);
	return NULL;
}

/* It does not come back to its loop before these are over, and waits for nothing. */
static int keep_loop_busy(void *arg)
{
	struct sender *s = arg;
	struct holding h[3];
	pthread_t thread;

	for (int i = 0; i < 3; i++) {
		hold_with(&h[i], s->pool, hold_worker);
		let_go(&h[i]);
	}
	for (int i = 0; i < 3; i++)
		while (!h[i].held->over)
			sched_yield();
	thread = start_thread(send_until_told, s);
	while (!s->over)
		sched_yield();
	join_thread(thread);
	for (int i = 0; i < 3; i++)
		holding_ends(&h[i], ANSWER);
	return 0;
}

Test(process, goes_on_while_the_loop_of_a_caller_is_busy)
{
	struct sender s = { .pool = processes_with(PROCESSES(.workers = 1)) };

	run(keep_loop_busy, &s);
	torc_executor_destroy(s.pool);
	check(!has_children());
}

static int go_on_meanwhile(void *arg)
{
	atomic_int *turns = arg;

	for (int i = 0; i < 5; i++) {
		check_eq(torc_yield(), 0);
		++*turns;
	}
	return 0;
}

static int wait_beside_another(void *arg)
{
	struct torc_executor *pool = arg;
	struct holding h;
	struct torc_group g;
	atomic_int turns = 0;
	struct later l;

	torc_group_enter(&g);
	hold_one(&h, pool);
	check_eq(torc_group_spawn(&g, go_on_meanwhile, &turns), 0);
	later(&l, let_go_later, &h);
	check_eq(torc_await(h.f, NULL), ANSWER);
	check_eq(turns, 5);
	later_is_over(&l);
	check_eq(torc_group_wait(&g), 0);
	holding_ends(&h, ANSWER);
	return 0;
}

Test(process, suspends_only_the_fiber_that_waits)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 1));

	run(wait_beside_another, pool);
	torc_executor_destroy(pool);
}

struct leaving {
	struct torc_executor *pool;
	struct holding h[4];
};

static int await_for_ever(void *arg)
{
	struct holding *h = arg;

	check_eq(torc_await(h->f, NULL), -ECANCELED);
	return 0;
}

static int submit_on_second_loop(void *arg)
{
	struct leaving *l = arg;

	hold_with(&l->h[2], l->pool, hold_worker);
	return torc_detach("waits", await_for_ever, &l->h[2]);
}

static int submit_and_leave(void *arg)
{
	struct leaving *l = arg;

	hold_one(&l->h[0], l->pool);
	hold_with(&l->h[1], l->pool, hold_worker);
	check_eq(torc_detach("waits", await_for_ever, &l->h[0]), 0);
	check_eq(torc_detach("waits", await_for_ever, &l->h[1]), 0);
	if (torc_loop_count() > 1)
		check_eq(run_on(1, submit_on_second_loop, l), 0);
	else
		check_eq(submit_on_second_loop(l), 0);
	hold_with(&l->h[3], l->pool, hold_worker);
	/* they wait already */
	return torc_yield();
}

/* What a loop has begun ends without it. */
Test(process, has_results_that_come_after_the_loops_have_ended)
{
	struct leaving l = { .pool = processes_with(PROCESSES(.workers = 2)) };

	for (int loops = 1; loops < 3; loops++) {
		for (int i = 0; i < 5; i++) {
			check_eq(run_with(OPTIONS(.loops = loops), submit_and_leave, &l), 0);
			for (int n = 0; n < 4; n++) {
				check_eq(torc_future_try(l.h[n].f, NULL), -EINPROGRESS);
				let_go(&l.h[n]);
			}
			for (int n = 3; n >= 0; n--)
				holding_ends(&l.h[n], ANSWER);
			check_works(l.pool);
		}
	}
	check_eq(stats_of(l.pool).started, 2);
	torc_executor_destroy(l.pool);
	check(!has_children());
}

/* --- maps --- */

static int square(void *arg, const void *item, void *ret_result)
{
	const int *n = item;

	check(!arg); /* of no bytes */
	*(int64_t *)ret_result = (int64_t)*n * *n;
	return (*n + 7) % 5; /* any success */
}

static const size_t chunks[] = { 0, 1, 3, 1000, SIZE_MAX };

#define MOST 500

static void map_squares(struct torc_executor *pool, size_t count, size_t chunk, uint64_t deadline)
{
	static int items[MOST], somewhere;
	static int64_t results[MOST];
	struct torc_map map = { .fn = square,
				.arg = &somewhere,
				.items = items,
				.item_bytes = sizeof(items[0]),
				.results = results,
				.result_bytes = sizeof(results[0]),
				.count = count,
				.chunk = chunk,
				.deadline_ns = deadline };

	for (int i = 0; i < MOST; i++)
		items[i] = i - 7;
	memset(results, -1, sizeof(results));
	check_eq(torc_map(pool, &map), 0);
	for (size_t i = 0; i < MOST; i++)
		check_eq(results[i], i < count ? (int64_t)items[i] * items[i] : -1);
}

BOTH(maps_items_to_results_in_their_order)
{
	static const size_t counts[] = { 0, 1, 2, 7, 100, MOST };

	for (unsigned workers = 1; workers < 4; workers += 2) {
		struct torc_executor *pool = processes_with(PROCESSES(.workers = workers));

		for (size_t c = 0; c < COUNT(counts); c++)
			for (size_t k = 0; k < COUNT(chunks); k++)
				map_squares(pool, counts[c], chunks[k],
					    k == 0   ? 0
					    : k == 1 ? TORC_NEVER
						     : torc_now_ns() + LONG);
		torc_executor_destroy(pool);
	}
}

static int reverse(void *arg, const void *item, void *ret_result)
{
	const char *in = item;
	char *out = ret_result;

	(void)arg;
	for (int i = 0; i < 3; i++)
		out[i] = in[2 - i];
	return 0;
}

IN_A_FIBER(maps_items_and_results_of_any_size)
{
	static const char items[] = "abcdefghijkl", expected[] = "cbafedihglkj";
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 2));

	for (size_t k = 0; k < COUNT(chunks); k++) {
		char results[sizeof(items)] = "";
		struct torc_map map = { .fn = reverse,
					.items = items,
					.item_bytes = 3,
					.results = results,
					.result_bytes = 3,
					.count = 4,
					.chunk = chunks[k] };

		check_eq(torc_map(pool, &map), 0);
		check_eq(strcmp(results, expected), 0);
	}
	torc_executor_destroy(pool);
}

struct table {
	int add;
	char text[5000];
};

static int look_up(void *arg, const void *item, void *ret_result)
{
	const struct table *t = arg;
	int i = *(const int *)item;

	check_eq((uintptr_t)t % _Alignof(max_align_t), 0);
	*(int *)ret_result = t->add + t->text[i];
	return 0;
}

static int look_at_bytes(void *arg, const void *item, void *ret_result)
{
	(void)item;
	*(char *)ret_result = *(const char *)arg;
	return 0;
}

BOTH(maps_with_an_argument_of_so_many_bytes)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 2)),
			     *threads = pool_with(POOL(.workers = 1));
	struct table *t = malloc(sizeof(*t));
	char *one = malloc(1), results[10];
	int items[MOST], looked_up[MOST];

	check(t && one);
	t->add = 1000;
	for (size_t i = 0; i < sizeof(t->text); i++)
		t->text[i] = (char)(i % 100);
	for (int i = 0; i < MOST; i++)
		items[i] = i * 7;
	for (size_t k = 0; k < COUNT(chunks); k++) {
		struct torc_map map = { .fn = look_up,
					.arg = t,
					.arg_bytes = sizeof(*t),
					.items = items,
					.item_bytes = sizeof(items[0]),
					.results = looked_up,
					.result_bytes = sizeof(looked_up[0]),
					.count = MOST,
					.chunk = chunks[k] };

		memset(looked_up, 0, sizeof(looked_up));
		check_eq(torc_map(pool, &map), 0);
		for (int i = 0; i < MOST; i++)
			check_eq(looked_up[i], 1000 + i * 7 % 100);
		check_eq(torc_map(threads, &map), 0);
		/* one byte, and no items */
		*one = (char)(k + 1);
		map = (struct torc_map){ .fn = look_at_bytes,
					 .arg = one,
					 .arg_bytes = 1,
					 .results = results,
					 .result_bytes = 1,
					 .count = 10,
					 .chunk = chunks[k] };
		memset(results, 0, sizeof(results));
		check_eq(torc_map(pool, &map), 0);
		for (int i = 0; i < 10; i++)
			check_eq(results[i], k + 1);
	}
	free(t);
	free(one);
	torc_executor_destroy(threads);
	torc_executor_destroy(pool);
}

/* Threads have the argument itself, however many bytes it is said to have. */
static int count_up_of(void *arg, const void *item, void *ret_result)
{
	(void)item, (void)ret_result;
	atomic_fetch_add((atomic_int *)arg, 1);
	return 0;
}

IN_A_THREAD(maps_with_the_argument_itself_on_threads)
{
	struct torc_executor *pool = pool_with(POOL(.workers = 2));
	atomic_int count = 0;
	struct torc_map map = { .fn = count_up_of, .arg = &count, .count = 100 };

	check_eq(torc_map(pool, &map), 0);
	map.arg_bytes = sizeof(count);
	check_eq(torc_map(pool, &map), 0);
	check_eq(count, 200);
	torc_executor_destroy(pool);
}

static int do_nothing(void *arg, const void *item, void *ret_result)
{
	(void)arg, (void)item, (void)ret_result;
	return 0;
}

BOTH(maps_with_neither_items_nor_results)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 2));

	for (size_t k = 0; k < COUNT(chunks); k++) {
		struct torc_map map = { .fn = do_nothing, .count = 100, .chunk = chunks[k] };

		check_eq(torc_map(pool, &map), 0);
		map.count = 0;
		check_eq(torc_map(pool, &map), 0);
	}
	torc_executor_destroy(pool);
}

/* In shared memory, with its items behind it: so each item leads to all of it. */
struct board {
	atomic_int begun, over, opened;
	int fails_at;
	uint64_t until_ns;
	struct square {
		int index, value;
	} squares[MOST];
};

static struct board *board_new(struct torc_executor *pool)
{
	struct board *b = torc_process_alloc(pool, sizeof(*b));

	check(b);
	memset(b, 0, sizeof(*b));
	for (int i = 0; i < MOST; i++)
		b->squares[i] = (struct square){ i, -1 };
	b->fails_at = -1;
	return b;
}

static struct board *board_of(const void *item)
{
	const struct square *s = item;

	return (struct board *)((char *)(s - s->index) - offsetof(struct board, squares));
}

static struct torc_map map_of(struct board *b, torc_map_fn *fn, size_t count, size_t chunk)
{
	return (struct torc_map){ .fn = fn,
				  .items = b->squares,
				  .item_bytes = sizeof(b->squares[0]),
				  .count = count,
				  .chunk = chunk };
}

static int change_square(void *arg, const void *item, void *ret_result)
{
	struct square *s = (struct square *)item;

	(void)arg;
	s->value = s->index + 1;
	board_of(item)->begun++;
	if (ret_result)
		*(int *)ret_result = s->index * 3;
	return 0;
}

BOTH(maps_items_and_results_that_are_shared)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 2));
	int *shared = torc_process_alloc(pool, MOST * sizeof(int)),
	    *own = calloc(MOST, sizeof(int));

	check(shared && own);
	for (size_t k = 0; k < 2 * COUNT(chunks); k++) {
		struct board *b = board_new(pool);
		struct torc_map map = map_of(b, change_square, MOST, chunks[k / 2]);
		int *results = k % 2 ? shared : own;

		memset(results, -1, MOST * sizeof(int));
		map.results = results;
		map.result_bytes = sizeof(int);
		check_eq(torc_map(pool, &map), 0);
		check_eq(b->begun, MOST);
		for (int i = 0; i < MOST; i++) {
			check_eq(b->squares[i].value, i + 1); /* not of a copy */
			check_eq(results[i], i * 3);
		}
		torc_process_free(pool, b);
	}
	free(own);
	torc_executor_destroy(pool);
}

/* So is its argument. */
IN_A_FIBER(maps_with_an_argument_that_is_shared)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 2));
	atomic_int *count = torc_process_alloc(pool, sizeof(*count));
	struct torc_map map = { .fn = count_up_of,
				.arg = count,
				.arg_bytes = sizeof(*count),
				.count = 100,
				.chunk = 3 };

	*count = 0;
	check_eq(torc_map(pool, &map), 0);
	check_eq(*count, 100);
	torc_executor_destroy(pool);
}

static int fail_at(void *arg, const void *item, void *ret_result)
{
	const struct square *s = item;
	struct board *b = board_of(item);

	(void)arg;
	b->begun++;
	if (s->index == b->fails_at)
		return -EIO;
	*(int *)ret_result = s->index + 1;
	return 0;
}

static void map_with_failure(struct torc_executor *pool, size_t chunk)
{
	struct board *b = board_new(pool);
	struct torc_map map = map_of(b, fail_at, MOST, chunk);
	int results[MOST], there = 0;

	b->fails_at = 17;
	memset(results, -1, sizeof(results));
	map.results = results;
	map.result_bytes = sizeof(results[0]);
	check_eq(torc_map(pool, &map), -EIO);
	check_ge(b->begun, 1);
	for (int i = 0; i < MOST; i++) {
		check(results[i] == -1 || (i != 17 && results[i] == i + 1));
		there += results[i] != -1;
	}
	check_eq(there, b->begun - 1); /* those that succeeded */
	if (chunk == 1 && torc_executor_parallelism(pool) == 1)
		check_lt(b->begun, MOST); /* no further ones were begun */
	torc_process_free(pool, b);
}

BOTH(fails_with_an_item_of_a_map_and_begins_no_more)
{
	for (unsigned workers = 1; workers < 4; workers += 2) {
		struct torc_executor *pool = processes_with(PROCESSES(.workers = workers));

		for (size_t k = 0; k < COUNT(chunks); k++)
			map_with_failure(pool, chunks[k]);
		check_eq(stats_of(pool).crashes, 0);
		torc_executor_destroy(pool);
	}
}

/* The later item fails first: both have been begun by then. */
static int fail_together(void *arg, const void *item, void *ret_result)
{
	struct board *b = board_of(item);
	int index = ((const struct square *)item)->index;

	(void)arg, (void)ret_result;
	b->begun++;
	while (b->begun < 2)
		sched_yield();
	if (index == 0)
		while (!b->over)
			sched_yield();
	else
		b->over = 1;
	return index ? -EXDEV : -EIO;
}

BOTH(fails_with_the_first_failure_of_a_map_in_the_order_of_the_items)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 2));
	struct board *b = board_new(pool);
	struct torc_map map = map_of(b, fail_together, 2, 1);

	check_eq(torc_map(pool, &map), -EIO);
	torc_executor_destroy(pool);
}

static int crash_at(void *arg, const void *item, void *ret_result)
{
	const struct square *s = item;
	struct board *b = board_of(item);

	(void)arg;
	if (s->index == b->fails_at)
		kill(getpid(), SIGKILL);
	*(int *)ret_result = s->index + 1;
	return 0;
}

BOTH(fails_when_an_item_of_a_map_kills_its_worker)
{
	for (unsigned workers = 1; workers < 4; workers += 2) {
		struct torc_executor *pool = processes_with(PROCESSES(.workers = workers));

		for (size_t k = 0; k < COUNT(chunks); k++) {
			struct board *b = board_new(pool);
			struct torc_map map = map_of(b, crash_at, MOST, chunks[k]);
			int results[MOST];

			b->fails_at = 17;
			memset(results, -1, sizeof(results));
			map.results = results;
			map.result_bytes = sizeof(results[0]);
			check_eq(torc_map(pool, &map), -EPIPE);
			for (int i = 0; i < MOST; i++)
				check(results[i] == -1 || (i != 17 && results[i] == i + 1));
			torc_process_free(pool, b);
			map_squares(pool, MOST, chunks[k], 0); /* it goes on */
		}
		torc_executor_destroy(pool);
	}
}

static int wait_for_deadline(void *arg, const void *item, void *ret_result)
{
	struct board *b = board_of(item);
	uint64_t until_ns = torc_now_ns() + TORC_MS(1);

	(void)arg, (void)ret_result;
	b->begun++;
	if (until_ns < b->until_ns)
		until_ns = b->until_ns;
	while (torc_now_ns() <= until_ns)
		sched_yield();
	b->over++;
	return 0;
}

BOTH(ends_a_map_at_its_deadline_but_leaves_nothing_running)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 2));

	for (int past = 0; past < 2; past++) {
		struct board *b = board_new(pool);
		struct torc_map map = map_of(b, wait_for_deadline, MOST, 1);

		map.deadline_ns = b->until_ns = past ? PAST : SOON;
		check_eq(torc_map(pool, &map), -ETIMEDOUT);
		check_eq(b->begun, b->over);
		check_lt(b->begun, MOST);
		check_works(pool);
		check_eq(b->begun, b->over);
		torc_process_free(pool, b);
	}
	torc_executor_destroy(pool);
}

static int wait_until_opened(void *arg, const void *item, void *ret_result)
{
	struct board *b = board_of(item);

	(void)arg, (void)ret_result;
	b->begun++;
	while (!b->opened)
		sched_yield();
	b->over++;
	return 0;
}

struct map_canceller {
	struct board *board;
	struct torc_scope *scope;
};

static int cancel_map_and_open(void *arg)
{
	struct map_canceller *c = arg;

	UNTIL(c->board->begun);
	torc_scope_cancel(c->scope);
	for (int i = 0; i < 3; i++)
		check_eq(torc_yield(), 0);
	c->board->opened = 1;
	return 0;
}

static int map_in_ended_scope(void *arg)
{
	struct torc_executor *pool = arg;
	struct board *b = board_new(pool);
	struct torc_map map = map_of(b, wait_until_opened, MOST, 1);
	struct torc_scope s;
	struct map_canceller c = { b, &s };
	struct torc_group g;

	torc_group_enter(&g);
	torc_scope_enter(&s, TORC_NEVER);
	check_eq(torc_group_spawn(&g, cancel_map_and_open, &c), 0);
	check_eq(torc_map(pool, &map), -ECANCELED);
	check_eq(b->begun, b->over);
	torc_scope_leave(&s);
	check_eq(torc_group_wait(&g), 0);
	check_ge(b->begun, 1);
	check_lt(b->begun, MOST);
	check_works(pool);
	check_eq(b->begun, b->over);
	return 0;
}

Test(process, ends_a_map_with_the_scope_but_leaves_nothing_running)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 2));

	run(map_in_ended_scope, pool);
	torc_executor_destroy(pool);
}

BOTH(does_not_map_what_it_cannot_take)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 1));
	static char results[100];
	struct torc_map map = {
		.fn = do_nothing, .results = results, .result_bytes = 1, .count = 100
	};
	void *code_on_heap = malloc(64);
	static const int error = -EIO;

	map.fn = (torc_map_fn *)code_on_heap;
	check_eq(torc_map(pool, &map), -EINVAL);
	map.fn = (torc_map_fn *)(void *)&code_in_data;
	check_eq(torc_map(pool, &map), -EINVAL);
	map.fn = do_nothing;
	check_eq(torc_map(pool, &map), 0);
	check_eq(torc_executor_shutdown(pool, 0), 0);
	check_eq(torc_map(pool, &map), -ESHUTDOWN);
	torc_executor_destroy(pool);
	free(code_on_heap);

	pool = processes_with(PROCESSES(.workers = 1, .initializer = &(struct torc_process_call){
							      .fn = end_call_with,
							      .arg = &error,
							      .arg_bytes = sizeof(error) }));
	check_broken(pool);
	check_eq(torc_map(pool, &map), -EPIPE);
	torc_executor_destroy(pool);

	/* an item alone is too large */
	pool = processes_with(PROCESSES(.workers = 1, .message_max = 4096));
	map.result_bytes = 5000;
	map.count = 3;
	map.results = malloc(3 * 5000);
	map.chunk = 1;
	check_eq(torc_map(pool, &map), -EMSGSIZE);
	free(map.results);
	torc_executor_destroy(pool);
}

BOTH(maps_with_a_queue_that_is_short)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 2, .queue_max = 1));

	for (int i = 0; i < 5; i++)
		map_squares(pool, 100, (size_t)i, 0);
	torc_executor_destroy(pool);
}

static int next_of_many(void *arg, const void *item, void *ret_result)
{
	(void)arg;
	*(int *)ret_result = *(const int *)item + 1;
	return 0;
}

static void map_many(struct torc_executor *pool, size_t chunk)
{
	enum { MANY = 100000 };
	int *items = malloc(MANY * sizeof(int)), *results = calloc(MANY, sizeof(int));
	struct torc_map map = { .fn = next_of_many,
				.items = items,
				.item_bytes = sizeof(int),
				.results = results,
				.result_bytes = sizeof(int),
				.count = MANY,
				.chunk = chunk };

	check(items && results);
	for (int i = 0; i < MANY; i++)
		items[i] = i * 5;
	check_eq(torc_map(pool, &map), 0);
	for (int i = 0; i < MANY; i++)
		check_eq(results[i], i * 5 + 1);
	free(items);
	free(results);
}

/* Also if all of them are more than a message may be. */
BOTH(maps_a_hundred_thousand_items)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 2));

	map_many(pool, 0);
	map_many(pool, 50);
	map_many(pool, 100000);
	torc_executor_destroy(pool);
	pool = processes_with(PROCESSES(.workers = 2, .message_max = 65536));
	map_many(pool, 0);
	torc_executor_destroy(pool);
}

/* Each meets all others, on three workers. */
static int meet(void *arg, const void *item, void *ret_result)
{
	struct board *b = board_of(item);

	(void)arg, (void)ret_result;
	b->begun++;
	while (b->begun < 3)
		sched_yield();
	return 0;
}

IN_A_FIBER(maps_as_many_items_at_a_time_as_there_are_workers)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 3));
	struct board *b = board_new(pool);
	struct torc_map map = map_of(b, meet, 3, 1);

	check_eq(torc_map(pool, &map), 0);
	torc_executor_destroy(pool);
}

static void *map_on_thread(void *pool)
{
	for (size_t chunk = 0; chunk < 3; chunk++)
		map_many(pool, chunk * 1000);
	return NULL;
}

static int map_in_fiber(void *pool)
{
	(void)map_on_thread(pool);
	return 0;
}

static int map_on_two_loops(void *pool)
{
	struct torc_group g;

	torc_group_enter(&g);
	for (int i = 0; i < 3; i++)
		check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(i % 2)), map_in_fiber,
					       pool),
			 0);
	return torc_group_wait(&g);
}

Test(process, maps_for_threads_and_loops_at_once)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 2));
	pthread_t thread = start_thread(map_on_thread, pool);

	check_eq(run_with(OPTIONS(.loops = 2), map_on_two_loops, pool), 0);
	join_thread(thread);
	torc_executor_destroy(pool);
	check(!has_children());
}

/* --- what workers do to what they share --- */

/* That place of a file, as this process has it. */
static void *mapped(const char *file, uint64_t place)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];
	void *found = NULL;

	check(maps);
	while (!found && fgets(line, sizeof(line), maps)) {
		unsigned long from, to, at;

		if (strstr(line, file) && sscanf(line, "%lx-%lx %*s %lx", &from, &to, &at) == 3 &&
		    place >= at && place - at < to - from)
			found = (char *)from + (place - at);
	}
	fclose(maps);
	check(found);
	return found;
}

static void *mapped_of_pool(uint64_t place)
{
	return mapped("torc-processes", place);
}

static void *mapped_bells(void)
{
	return mapped("torc-bells", 0);
}

static const struct torc__region *mapped_region(void)
{
	return mapped_of_pool(0);
}

static bool change_if_asleep(struct torc__bell *bell, uint32_t word)
{
	uint32_t sleeps = TORC__BELL_ASLEEP;

	return __atomic_compare_exchange_n(&bell->word, &sleeps, word, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_SEQ_CST);
}

/* A thread of the program: not only over a page fault. */
static void until_asleep(pid_t tid)
{
	for (int seen = 0; seen < 20; seen++) {
		if (!asleep(tid))
			seen = 0;
		rest();
	}
}

/* Of the only pool that there is. */
static pid_t find_warden(void)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	pid_t found = 0;

	check(dir);
	while (!found && (entry = readdir(dir))) {
		char path[300], name[32] = "";
		FILE *file;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
		file = fopen(path, "re");
		if (!file)
			continue; /* ".", or it has just ended */
		if (fgets(name, sizeof(name), file) && !strcmp(name, "torc-warden\n"))
			found = (pid_t)atoi(entry->d_name);
		fclose(file);
	}
	closedir(dir);
	check(found);
	return found;
}

static void wait_until_opened_up(struct held *h)
{
	h->pid = getpid();
	h->begun++;
	while (!h->open)
		sched_yield();
}

/* Between the two steps of ringing: the second would be to wake who sleeps. */
static int die_while_it_rings_the_pool(struct torc_process_call *call)
{
	struct torc__doorstep *doorstep = mapped_of_pool(mapped_region()->doorstep);

	wait_until_opened_up((struct held *)call->arg);
	while (!change_if_asleep(&doorstep->bell, TORC__BELL_RUNG | TORC__BELL_ASLEEP))
		sched_yield();
	kill(getpid(), SIGKILL);
	return 0;
}

BOTH(outlives_a_worker_that_dies_while_it_rings_the_pool)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 1));
	struct holding h;

	hold_with(&h, pool, die_while_it_rings_the_pool);
	UNTIL(h.held->begun);
	until_asleep(find_warden());
	let_go(&h);
	check_eq(torc_await(h.f, NULL), -EPIPE);
	check_death(KILLED, h.call.wait_status);
	holding_ends(&h, -EPIPE);
	check_works(pool);
	torc_executor_destroy(pool);
}

/* The same, with whoever waits for a call. None does where a loop cannot wait for a futex. */
static int die_while_it_rings_a_caller(struct torc_process_call *call)
{
	struct torc__bell *bells = mapped_bells();

	wait_until_opened_up((struct held *)call->arg);
	for (unsigned i = 0; i < TORC__BELLS; i++)
		(void)change_if_asleep(&bells[i], TORC__BELL_RUNG | TORC__BELL_ASLEEP);
	kill(getpid(), SIGKILL);
	return 0;
}

struct ringing {
	struct torc_executor *pool;
	struct holding awaited, dying, others[2];
};

/* When the call ends that is waited for, nobody else sees it: its worker has another one, and the warden sleeps. */
static void ring_halfway(void *arg)
{
	struct ringing *r = arg;

	let_go(&r->dying);
	UNTIL(stats_of(r->pool).crashes == 1);
	UNTIL(r->others[0].held->begun || r->others[1].held->begun); /* by its successor */
	until_asleep(find_warden());
	let_go(&r->awaited);
}

BOTH(wakes_who_waits_for_a_call_when_another_worker_dies_while_it_rings)
{
	struct ringing r = { .pool = processes_with(PROCESSES(.workers = 2)) };
	struct later l;

	all_are_there(r.pool);
	check_works(r.pool); /* calls are short here: a worker is given some ahead */
	hold_one(&r.awaited, r.pool);
	hold_with(&r.dying, r.pool, die_while_it_rings_a_caller);
	UNTIL(r.dying.held->begun);
	for (int i = 0; i < 2; i++)
		hold_with(&r.others[i], r.pool, hold_worker);
	later(&l, ring_halfway, &r);
	check_eq(torc_await(r.awaited.f, NULL), ANSWER);
	later_is_over(&l);
	for (int i = 0; i < 2; i++)
		let_go(&r.others[i]);
	for (int i = 0; i < 2; i++)
		holding_ends(&r.others[i], ANSWER);
	holding_ends(&r.dying, -EPIPE);
	holding_ends(&r.awaited, ANSWER);
	torc_executor_destroy(r.pool);
}

/* A word that no bell has, and a wake-up for nothing. */
static int spoil_bells(struct torc_process_call *call)
{
	struct held *h = (struct held *)call->arg;
	struct torc__bell *bells = mapped_bells();

	wait_until_opened_up(h);
	for (unsigned i = 0; i < TORC__BELLS; i++)
		if (change_if_asleep(&bells[i], 8))
			syscall(SYS_futex, &bells[i].word, FUTEX_WAKE, 1, NULL, NULL, 0);
	raise(SIGSTOP); /* until who waits was seen to sleep */
	return ANSWER;
}

static uint64_t cpu_ns_of(clockid_t clock)
{
	struct timespec t;

	check_eq(clock_gettime(clock, &t), 0);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

struct spoiling {
	struct holding h;
	pid_t waiter;
	clockid_t clock; /* its */
};

/* One that cannot sleep may look as if it did, but it uses a core. */
static void spoil_and_go_on(void *arg)
{
	struct spoiling *s = arg;
	uint64_t used_ns = 0;

	let_go(&s->h);
	UNTIL(state_of(s->h.held->pid, NULL) == 'T');
	for (int same = 0; same < 50; same++) {
		uint64_t now_ns = cpu_ns_of(s->clock);

		if (now_ns != used_ns || !asleep(s->waiter))
			same = 0;
		used_ns = now_ns;
		rest();
	}
	check_eq(kill(s->h.held->pid, SIGCONT), 0);
}

BOTH(lets_who_waits_sleep_again_when_a_worker_has_spoiled_the_bells)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 1));
	struct spoiling s = { .waiter = gettid() };
	struct later l;

	check_eq(pthread_getcpuclockid(pthread_self(), &s.clock), 0);
	hold_with(&s.h, pool, spoil_bells);
	UNTIL(s.h.held->begun);
	later(&l, spoil_and_go_on, &s);
	check_eq(torc_await(s.h.f, NULL), ANSWER);
	later_is_over(&l);
	holding_ends(&s.h, ANSWER);
	check_works(pool);
	check_eq(stats_of(pool).started, 1);
	torc_executor_destroy(pool);
}

static int spoil_ready(struct torc_process_call *call)
{
	const struct torc__region *region = mapped_region();
	struct torc__link *link = mapped_of_pool(region->links + (uint64_t)torc_process_worker() *
									 region->link_bytes);

	link->ready = *(const int *)call->arg;
	return getpid();
}

/* The warden looks at all workers when one of them dies. */
IN_A_THREAD(does_not_mind_what_a_worker_says_of_its_beginning_later_on)
{
	static const int words[] = { -1, -EPIPE, INT32_MIN, 0, 2 };
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 2));

	for (size_t i = 0; i < COUNT(words); i++) {
		struct torc_process_stats stats;
		uint64_t started;
		int pids[2], spoiler;

		all_are_there(pool);
		started = stats_of(pool).started;
		spoiler = run_fn(pool, spoil_ready, &words[i], sizeof(words[i]));
		check_eq(torc_process_pids(pool, pids, 2), 2);
		check(spoiler == pids[0] || spoiler == pids[1]);
		check_eq(kill(spoiler == pids[0] ? pids[1] : pids[0], SIGKILL), 0);
		UNTIL((stats = stats_of(pool)).error ||
		      (stats.started > started && stats.workers == 2));
		check_eq(stats.error, 0);
		check_works(pool);
	}
	torc_executor_destroy(pool);
}

/* The loop does not turn, so nobody there takes results: the warden is told. Nor does the worker spin. */
IN_A_FIBER(goes_on_while_nobody_takes_what_fills_all_the_places_of_a_worker)
{
	enum { MANY = 64, ROUNDS = 5 };
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 1));
	atomic_int *count = torc_process_alloc(pool, sizeof(*count));
	static struct torc_process_call calls[MANY];
	struct torc_future *fs[MANY];
	pid_t worker = one_worker(pool);
	clockid_t clock;
	uint64_t cpu_ns;

	check(count);
	check_eq(clock_getcpuclockid(worker, &clock), 0);
	check_works(pool); /* calls are short here: it is given many at a time */
	cpu_ns = cpu_ns_of(clock);
	for (int round = 0; round < ROUNDS; round++) {
		*count = 0;
		for (int i = 0; i < MANY; i++) {
			calls[i] = (struct torc_process_call){ .fn = count_in_shared,
							       .arg = count,
							       .arg_bytes = sizeof(*count) };
			fs[i] = start(pool, &calls[i]);
		}
		while (*count < MANY || state_of(worker, NULL) != 'S')
			sched_yield();
		for (int i = 0; i < MANY; i++)
			check_eq(finish(fs[i]), 0);
	}
	check_lt(cpu_ns_of(clock) - cpu_ns, TORC_MS(100));
	check_eq(stats_of(pool).started, 1);
	torc_process_free(pool, count);
	torc_executor_destroy(pool);
}

/* --- programs that change, and programs that fork --- */

#define NOBODY 65534

static void become_nobody(void)
{
	check_eq(setresgid(NOBODY, NOBODY, NOBODY), 0);
	check_eq(setresuid(NOBODY, NOBODY, NOBODY), 0);
}

static void check_succeeded(const struct died *d)
{
	if (d->signal || d->status)
		fprintf(stderr, "signal %d, exit %d: %s\n", d->signal, d->status, d->text);
	check_eq(d->signal, 0);
	check_eq(d->status, 0);
}

static int give_up_privileges(void *arg)
{
	static const enum death how = FAULTED;
	struct torc_executor *pool =
		processes_with(PROCESSES(.workers = 2, .kill_on_cancel = true));
	struct holding h;

	(void)arg;
	check_works(pool);
	become_nobody();
	check_eq(run_fn(pool, die, &how, sizeof(how)), -EPIPE);
	hold_with(&h, pool, hold_worker_by_force);
	UNTIL(h.held->begun);
	check_eq(kill(h.held->pid, SIGKILL), -1); /* it is not its own any more */
	check(torc_future_cancel(h.f));
	holding_ends(&h, -ECANCELED);
	check_works(pool);
	UNTIL(stats_of(pool).workers == 2);
	check_eq(stats_of(pool).started, 4);
	torc_executor_destroy(pool);
	check(!has_children());
	return 0;
}

Test(process, goes_on_when_the_program_gives_up_privileges)
{
	struct died d;

	if (geteuid())
		cr_skip_test("only root has privileges to give up");
	d = in_child(give_up_privileges, NULL);
	check_succeeded(&d);
}

static int give_up_privileges_and_die(void *arg)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 2));
	struct holding h;

	(void)arg;
	hold_with(&h, pool, hold_worker_by_force);
	UNTIL(h.held->begun);
	all_are_there(pool);
	become_nobody();
	kill(getpid(), SIGKILL);
	return 0;
}

/* All of them have the standard error of the program: in_child is over when nobody has it any more. */
Test(process, ends_with_a_program_that_has_given_up_privileges)
{
	struct died d;

	if (geteuid())
		cr_skip_test("only root has privileges to give up");
	d = in_child(give_up_privileges_and_die, NULL);
	check_eq(d.signal, SIGKILL);
}

static int initialize_as_nobody(struct torc_process_call *call)
{
	(void)call;
	become_nobody();
	return 0;
}

static int tell_user(struct torc_process_call *call)
{
	(void)call;
	return (int)geteuid();
}

/* By a child of the program, which is stopped meanwhile: it cannot see to its workers. Returns whether they have ended. */
static bool kill_while_stopped(pid_t program, pid_t server, pid_t worker)
{
	uint64_t until = torc_now_ns() + TORC_SECONDS(10);
	bool ended;

	check_eq(kill(program, SIGSTOP), 0);
	while (state_of(program, NULL) != 'T' && torc_now_ns() < until)
		sched_yield();
	check_eq(kill(server, SIGKILL), 0);
	while (!(ended = gone(worker)) && torc_now_ns() < until)
		sched_yield();
	check_eq(kill(program, SIGCONT), 0);
	return ended;
}

static int lose_server_of_nobodies(void *arg)
{
	struct torc_executor *pool =
		processes_with(PROCESSES(.workers = 1, .initializer = &(struct torc_process_call){
							       .fn = initialize_as_nobody }));
	struct holding h;
	pid_t worker, server, killer;
	int status;

	(void)arg;
	check_eq(run_fn(pool, tell_user, NULL, 0), NOBODY);
	hold_with(&h, pool, hold_worker_by_force);
	UNTIL(h.held->begun);
	worker = h.held->pid; /* a child does not have what is shared */
	server = fork_server_of(worker);
	killer = fork();
	if (!killer)
		_exit(!kill_while_stopped(getppid(), server, worker));
	check_eq(waitpid(killer, &status, 0), killer);
	check_eq(status, 0);
	holding_ends(&h, -EPIPE);
	check_broken(pool);
	torc_executor_destroy(pool);
	check(!has_children());
	return 0;
}

Test(process, is_broken_without_its_fork_server_also_if_an_initializer_changes_the_user)
{
	struct died d;

	if (geteuid())
		cr_skip_test("only root may become somebody else");
	d = in_child(lose_server_of_nobodies, NULL);
	check_succeeded(&d);
}

/* Which file it is. */
static unsigned long inode_of_bells(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];
	unsigned long inode = 0;

	check(maps);
	while (!inode && fgets(line, sizeof(line), maps))
		if (strstr(line, "torc-bells"))
			check_eq(sscanf(line, "%*s %*s %*s %*s %lu", &inode), 1);
	fclose(maps);
	return inode;
}

/* It has nothing of what its parent has. Its own pool is a small one, which does not come to be where the other one was. */
static int use_other_pools(void *arg)
{
	struct torc_executor *threads = pool_with(POOL(.workers = 2)), *processes;

	expect(submit(threads, give, ARG(7)), 0, ARG(7));
	processes =
		processes_with(PROCESSES(.workers = 2, .message_max = 65536, .shared_max = 65536));
	check_works(processes);
	check(inode_of_bells() != *(const unsigned long *)arg);
	map_squares(processes, MOST, 0, 0);
	expect(submit(threads, give, ARG(8)), 0, ARG(8));
	check_eq(torc_run(NULL, destroy_in_fiber, processes), 0);
	expect(submit(threads, give, ARG(9)), 0, ARG(9));
	torc_executor_destroy(threads);
	check(!has_children());
	return 0;
}

IN_A_THREAD(leaves_alone_a_child_that_the_program_forks)
{
	struct torc_executor *pool = processes_with(PROCESSES(.workers = 2));
	unsigned long bells = inode_of_bells();
	struct holding h;
	struct died d;

	check(bells);
	check_works(pool);
	hold_one(&h, pool);
	for (int i = 0; i < 2; i++) {
		d = in_child(use_other_pools, &bells);
		check_succeeded(&d);
	}
	check_eq(torc_future_state(h.f), TORC_RUNNING);
	check_works(pool);
	let_go(&h);
	holding_ends(&h, ANSWER);
	check_eq(stats_of(pool).started, 2);
	torc_executor_destroy(pool);
}

/* What was written before it begins, and not flushed, is not each worker's. */
IN_A_THREAD(writes_once_what_was_written_before_it_begins)
{
	char path[] = "/tmp/torc-process-XXXXXX", text[64] = "";
	int fd = mkostemp(path, O_CLOEXEC | O_APPEND), saved = fcntl(1, F_DUPFD_CLOEXEC, 3);
	struct torc_executor *pool;

	check(fd >= 0 && saved >= 0);
	fflush(stdout);
	check_eq(dup2(fd, 1), 1);
	setenv(EARLY_WORD, "word", 1);
	pool = processes_with(PROCESSES(.workers = 3));
	unsetenv(EARLY_WORD);
	check_eq(dup2(saved, 1), 1);
	all_are_there(pool);
	torc_executor_destroy(pool);
	check_eq(pread(fd, text, sizeof(text) - 1, 0), 4); /* the fork server's */
	check_eq(strcmp(text, "word"), 0);
	close(fd);
	close(saved);
	unlink(path);
}

/* --- two things at once --- */

/* The fork server looks after both: SIGKILL counts. */
BOTH(kills_whom_it_was_asked_to_kill_before_it_was_asked_to_terminate_all)
{
	for (int all = 0; all < 2; all++) {
		struct torc_executor *pool =
			processes_with(PROCESSES(.workers = 1, .kill_on_cancel = true));
		struct holding h;
		pid_t server;

		hold_with(&h, pool, hold_worker_by_force);
		UNTIL(h.held->begun);
		server = fork_server_of(h.held->pid);
		check_eq(kill(server, SIGSTOP), 0);
		UNTIL(state_of(server, NULL) == 'T');
		if (all)
			check_eq(torc_process_kill_workers(pool), 0);
		else
			check(torc_future_cancel(h.f));
		check_eq(torc_process_terminate_workers(pool), 0);
		check_eq(kill(server, SIGCONT), 0);
		check_eq(torc_await(h.f, NULL), all ? -EPIPE : -ECANCELED);
		check_death(KILLED, h.call.wait_status);
		holding_ends(&h, all ? -EPIPE : -ECANCELED);
		torc_executor_destroy(pool);
	}
}

/* That it was to be killed is not remembered for who comes after it. */
IN_A_FIBER(terminates_the_successor_of_a_worker_that_was_killed)
{
	struct torc_executor *pool =
		processes_with(PROCESSES(.workers = 1, .kill_on_cancel = true));
	struct holding h;

	hold_with(&h, pool, hold_worker_by_force);
	UNTIL(h.held->begun);
	check(torc_future_cancel(h.f));
	holding_ends(&h, -ECANCELED);
	hold_with(&h, pool, hold_until_terminated);
	UNTIL(h.held->begun);
	check_eq(torc_process_terminate_workers(pool), 0);
	holding_ends(&h, ANSWER);
	torc_executor_destroy(pool);
}

/* An argument that cannot be read before that is allowed: so long whoever copies it is in the midst of that. */
static struct {
	void *page;
	atomic_int reached, allowed;
} slow;

static void allow_reading(int sig, siginfo_t *info, void *context)
{
	(void)context;
	if (info->si_addr < slow.page || (char *)info->si_addr >= (char *)slow.page + PAGE) {
		signal(sig, SIG_DFL);
		return;
	}
	slow.reached = 1;
	while (!slow.allowed)
		sched_yield();
	mprotect(slow.page, PAGE, PROT_READ);
}

struct slow_call {
	struct torc_executor *pool;
	struct torc_process_call call;
	struct torc_future *f;
};

static void *submit_slowly(void *arg)
{
	struct slow_call *s = arg;

	s->f = start(s->pool, &s->call);
	return NULL;
}

/* Its result is shared memory. */
static int count_result(struct torc_process_call *call)
{
	atomic_fetch_add((atomic_int *)call->result, 1);
	return 0;
}

enum meanwhile { CLOSED, CLOSED_AND_KILLED, CLOSED_AND_DEAD, ONLY_DEAD };

static void do_meanwhile(struct torc_executor *pool, enum meanwhile what)
{
	switch (what) {
	case CLOSED:
		check_eq(torc_executor_shutdown(pool, TORC_CANCEL_PENDING | TORC_NO_WAIT), 0);
		break;
	case CLOSED_AND_KILLED:
	case CLOSED_AND_DEAD: check_eq(torc_process_kill_workers(pool), 0); break;
	case ONLY_DEAD: check_eq(kill(one_worker(pool), SIGKILL), 0); break;
	}
	if (what >= CLOSED_AND_DEAD)
		UNTIL(stats_of(pool).workers == 0); /* it has no place there any more */
}

static void copy_meanwhile(enum meanwhile what)
{
	struct slow_call s = { .pool = processes_with(PROCESSES(.workers = 1)) };
	atomic_int *count = torc_process_alloc(s.pool, sizeof(*count));
	bool runs = what == ONLY_DEAD;
	pthread_t thread;
	int r;

	check(count);
	*count = 0;
	all_are_there(s.pool);
	slow.reached = slow.allowed = 0;
	slow.page = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(slow.page != MAP_FAILED);
	s.call = (struct torc_process_call){ .fn = count_result,
					     .arg = slow.page,
					     .arg_bytes = PAGE,
					     .result = count,
					     .result_bytes = sizeof(*count) };
	thread = start_thread(submit_slowly, &s);
	UNTIL(slow.reached);
	do_meanwhile(s.pool, what);
	slow.allowed = 1;
	join_thread(thread);
	r = torc_await(s.f, NULL);
	check(runs ? r == 0 : r == -ECANCELED || (r == -EPIPE && what != CLOSED));
	torc_future_put(s.f);
	check_eq(torc_executor_shutdown(s.pool, 0), 0);
	check_eq(*count, runs);
	check_eq(stats_of(s.pool).started, 1 + runs);
	torc_executor_destroy(s.pool);
	munmap(slow.page, PAGE);
}

/* Nor does it begin afterwards. But one whose worker has died before it began goes to another one. */
IN_A_THREAD(cancels_a_call_whose_argument_is_just_being_copied)
{
	struct sigaction action = { .sa_sigaction = allow_reading, .sa_flags = SA_SIGINFO }, before;

	check_eq(sigaction(SIGSEGV, &action, &before), 0);
	for (enum meanwhile what = CLOSED; what <= ONLY_DEAD; what++)
		copy_meanwhile(what);
	check_eq(sigaction(SIGSEGV, &before, NULL), 0);
}
