#include <torc/core/run.h>

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "core/internal/dump_signal.h"
#include "core/internal/fiber.h"
#include "core/internal/guard.h"
#include "core/internal/overflow.h"
#include "core/internal/runtime.h"
#include "core/internal/sim.h"
#include "core/internal/system.h"

/*
 * Shutdown, once the first function has returned:
 *	loop 0's root -> all roots	cancel_mail: their groups of detached fibers are cancelled
 *	every root -> loop 0		ended_mail: its group is empty. Until the last one all loops run,
 *					for fibers that wait for children on other loops
 *	loop 0 -> all loops		stop_mail
 */

static atomic_bool running;

struct torc__signals {
	struct torc_op op;
	struct torc__turn_work cancel, watch;
	struct signalfd_siginfo info;
	struct torc_task *first;
	sigset_t set, old_mask;
	struct sigaction old_refusals[2], old_asked[2];
	bool took[2]; /* of asked: it was ignored, and is to be again */
	int fd;       /* -1: signals are left alone */
};

/* --- signals --- */

static void on_signal(struct torc_op *op, int res, unsigned cqe_flags)
{
	struct torc__signals *s = torc__container_of(op, struct torc__signals, op);

	(void)cqe_flags;
	if (res > 0)
		torc__turn_defer(torc__loop(), &s->cancel);
	else if (res == -EINTR || res == -EAGAIN)
		torc__turn_defer(torc__loop(), &s->watch);
}

static void watch_signals(struct torc__turn_work *work)
{
	struct torc__signals *s = torc__container_of(work, struct torc__signals, watch);
	struct io_uring_sqe *sqe = torc__op_start_background(&s->op, on_signal);

	io_uring_prep_read(sqe, s->fd, &s->info, sizeof(s->info), 0);
}

static const int refusals[] = { SIGPIPE, SIGXFSZ };
static const int asked[] = { SIGINT, SIGTERM };

/* It was ignored, as by nohup or a shell's &. Blocked signals reach a signalfd all the same, others are lost. */
static void stop_ignoring(struct torc__signals *s)
{
	struct sigaction normal = { .sa_handler = SIG_DFL };

	for (int i = 0; i < 2; i++) {
		sigaction(asked[i], NULL, &s->old_asked[i]);
		s->took[i] = s->old_asked[i].sa_handler == SIG_IGN;
		if (s->took[i])
			sigaction(asked[i], &normal, NULL);
	}
}

/* The first signal asks politely; from now on the second one kills, as it would without torc. */
static void cancel_first(struct torc__turn_work *work)
{
	struct torc__signals *s = torc__container_of(work, struct torc__signals, cancel);

	stop_ignoring(s);
	pthread_sigmask(SIG_UNBLOCK, &s->set, NULL);
	torc_task_cancel_with(s->first, s->info.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM");
}

/* A write that is refused says so by its result: -EPIPE, -EFBIG. */
static void ignore_refusals(struct torc__signals *s)
{
	const struct sigaction ignore = { .sa_handler = SIG_IGN };

	for (int i = 0; i < 2; i++)
		sigaction(refusals[i], &ignore, &s->old_refusals[i]);
}

static void stop_ignoring_refusals(const struct torc__signals *s)
{
	for (int i = 0; i < 2; i++)
		sigaction(refusals[i], &s->old_refusals[i], NULL);
}

static int signals_open(struct torc__signals *s, const struct torc_options *options)
{
	s->fd = -1;
	s->cancel.run = cancel_first;
	s->watch.run = watch_signals;
	ignore_refusals(s);
	sigemptyset(&s->set);
	if (!options->no_signals) {
		for (int i = 0; i < 2; i++)
			sigaddset(&s->set, asked[i]);
		s->fd = signalfd(-1, &s->set, SFD_CLOEXEC);
		if (s->fd < 0) {
			int error = errno;

			stop_ignoring_refusals(s);
			return -error;
		}
	}
	pthread_sigmask(SIG_BLOCK, &s->set, &s->old_mask);
	return 0;
}

static void signals_close(struct torc__signals *s)
{
	if (s->fd >= 0)
		close(s->fd);
	for (int i = 0; i < 2; i++)
		if (s->took[i])
			sigaction(asked[i], &s->old_asked[i], NULL);
	pthread_sigmask(SIG_SETMASK, &s->old_mask, NULL);
	stop_ignoring_refusals(s);
}

/* --- the roots --- */

struct root {
	struct torc__loop *loop;
	struct torc_group group; /* of detached fibers, and on loop 0 of the first fiber */
	struct torc_task first;
};

#define SHUTDOWN "the runtime shuts down"

static void cancel_root(struct torc__loop *loop, struct torc__mail *mail)
{
	(void)mail;
	if (loop->root_group)
		torc__scope_cancel(&loop->root_group->scope, -ECANCELED, SHUTDOWN);
}

static void stop_loop(struct torc__loop *loop, struct torc__mail *mail)
{
	(void)mail;
	loop->stopping = true;
}

static void root_ended(struct torc__loop *loop, struct torc__mail *mail)
{
	struct torc__runtime *rt = loop->runtime;
	(void)mail;

	if (--rt->roots_live)
		return;
	for (int i = 0; i < rt->loop_count; i++) {
		rt->loops[i]->stop_mail.deliver = stop_loop;
		torc__loop_post(rt->loops[i], &rt->loops[i]->stop_mail);
	}
}

static int run_first(struct root *root)
{
	struct torc__runtime *rt = root->loop->runtime;
	struct torc_spawn_options options = { .name = "main", .task = &root->first };
	int r = torc_group_spawn_with(&root->group, &options, rt->fn, rt->arg);

	if (r < 0) {
		fprintf(stderr, "torc: cannot start the first fiber: %s\n", strerror(-r));
		return r;
	}
	rt->signals->first = &root->first; /* a signal may still come after it has ended */
	if (rt->signals->fd >= 0) {
		root->loop->signal_op = &rt->signals->op;
		torc__turn_defer(root->loop, &rt->signals->watch);
	}
	return torc_task_join(&root->first);
}

/* Unlike torc_sleep(TORC_NEVER) nothing that keeps a program from being in a deadlock. */
static const struct torc__wait_kind end_kind = { "the end of the first fiber", torc__slot_cancel,
						 NULL };

static int root_main(void *arg)
{
	struct root *root = arg;
	struct torc__loop *loop = root->loop;
	struct torc__runtime *rt = loop->runtime;
	struct torc__wait *end = NULL;

	torc_group_enter_supervisor(&root->group);
	loop->root_group = &root->group;
	if (loop->index == 0) {
		rt->result = run_first(root);
		for (int i = 1; i < rt->loop_count; i++) {
			rt->loops[i]->cancel_mail.deliver = cancel_root;
			torc__loop_post(rt->loops[i], &rt->loops[i]->cancel_mail);
		}
		torc_group_cancel_with(&root->group, SHUTDOWN);
	} else {
		torc__slot_wait(&end, &end_kind); /* until cancel_root */
	}
	torc_group_wait(&root->group);
	loop->root_group = NULL;
	loop->ended_mail.deliver = root_ended;
	torc__loop_post(rt->loops[0], &loop->ended_mail);
	return 0;
}

/* --- threads --- */

static void pin(const struct torc__loop *loop)
{
	cpu_set_t one;

	if (loop->cpu < 0)
		return;
	CPU_ZERO(&one);
	CPU_SET((size_t)loop->cpu, &one);
	/* A core that has gone meanwhile is no reason to fail. */
	(void)pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
}

/* Until another loop has changed something under rt->lock. */
static void await_loops(struct torc__runtime *rt)
{
	if (torc__system->await_loops)
		torc__system->await_loops(rt);
	else
		pthread_cond_wait(&rt->changed, &rt->lock);
}

/* Wait until no loop has a wake-up for another one under way: then their descriptors can be closed. */
static void part(struct torc__runtime *rt)
{
	pthread_mutex_lock(&rt->lock);
	rt->quiet++;
	pthread_cond_broadcast(&rt->changed);
	while (rt->quiet < rt->loop_count)
		await_loops(rt);
	pthread_mutex_unlock(&rt->lock);
}

/* Tell that this loop is open, or why not, and wait for the others. Returns the first failure. */
static int meet(struct torc__runtime *rt, int result)
{
	int failure;

	pthread_mutex_lock(&rt->lock);
	rt->opened++;
	if (result < 0 && !rt->failure)
		rt->failure = result;
	pthread_cond_broadcast(&rt->changed);
	while (rt->opened < rt->loop_count)
		await_loops(rt);
	failure = rt->failure;
	pthread_mutex_unlock(&rt->lock);
	return failure;
}

void torc__run_loop(struct torc__loop *loop)
{
	struct torc__runtime *rt = loop->runtime;
	struct root root = { .loop = loop };
	struct torc__fiber *f;
	int error = 0, opened;

	if (loop->index == 0)
		loop->thread = pthread_self();
	pin(loop);
	opened = torc__loop_open(loop, rt->options, rt->disabled);
	f = opened < 0 ? NULL
		       : torc__fiber_create(loop, loop->default_class, root_main, &root, &error);
	if (f)
		f->name = "root";
	if (!meet(rt, opened < 0 ? opened : error)) {
		if (loop->index == 0 && !rt->options->sim)
			torc__dump_signal_open(rt);
		torc__loop_run(loop);
		torc__loop_quiesce(loop);
		if (loop->index == 0 && !rt->options->sim)
			torc__dump_signal_close(rt);
		part(rt);
	} else if (opened == 0) {
		torc__loop_quiesce(loop);
	}
	if (opened == 0)
		torc__loop_close(loop);
}

static void *thread_main(void *arg)
{
	torc__run_loop(arg);
	return NULL;
}

static int start_threads(struct torc__runtime *rt, int *ret_started)
{
	int i, r = 0;

	for (i = 1; i < rt->loop_count && !r; i++)
		r = pthread_create(&rt->loops[i]->thread, NULL, thread_main, rt->loops[i]);
	*ret_started = r ? i - 1 : i;
	if (r) {
		/* Stand in for those that could not be started, so that the others stop waiting. */
		pthread_mutex_lock(&rt->lock);
		rt->opened += rt->loop_count - *ret_started;
		rt->failure = -r;
		pthread_mutex_unlock(&rt->lock);
	}
	return -r;
}

/* --- options --- */

static int cores(int *cpus, int max)
{
	cpu_set_t set;
	int n = 0;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return 0;
	for (int i = 0; i < CPU_SETSIZE && n < max; i++)
		if (CPU_ISSET((size_t)i, &set))
			cpus[n++] = i;
	return n;
}

static bool in_range(unsigned value, unsigned least, unsigned most)
{
	return !value || (value >= least && value <= most && !(value & (value - 1)));
}

static const char *bad_option(const struct torc_options *o)
{
	if (o->loops < TORC_LOOP_PER_CORE || o->loops > 256)
		return "loops must be TORC_LOOP_PER_CORE or 0 .. 256";
	if (torc__stack_class_of(o->stack_bytes) < 0)
		return "stack_bytes must be at most 64 MiB";
	if (!in_range(o->ring_entries, 8, 32768))
		return "ring_entries must be a power of two, 8 .. 32768";
	if (!in_range(o->recv_buffers, 8, 32768))
		return "recv_buffers must be a power of two, 8 .. 32768";
	if (torc__dump_signal_check(o) < 0)
		return "dump_signal must be a signal that nothing else here needs, or TORC_NO_SIGNAL";
	return NULL;
}

static int explain(const char *what)
{
	fprintf(stderr, "torc: %s\n", what);
	return -EINVAL;
}

static int read_disabled(uint32_t *ret_disabled)
{
	const char *unknown;

	if (!torc__features_parse(getenv("TORC_DISABLE"), ret_disabled, &unknown))
		return 0;
	fprintf(stderr, "torc: TORC_DISABLE: unknown feature: %.*s\n", (int)strcspn(unknown, ","),
		unknown);
	return -EINVAL;
}

/* --- the runtime --- */

static void add_stats(struct torc_stats *sum, const struct torc_stats *s)
{
	sum->turns += s->turns;
	sum->switches += s->switches;
	sum->spawns += s->spawns;
	sum->enters += s->enters;
	sum->sqes += s->sqes;
	sum->cqes += s->cqes;
	sum->overflows += s->overflows;
	sum->wakes_sent += s->wakes_sent;
	sum->wakes_received += s->wakes_received;
	sum->mails += s->mails;
	sum->fibers_peak += s->fibers_peak;
	sum->idle_ns += s->idle_ns;
	sum->busy_ns += s->busy_ns;
}

static void print_fields(const struct torc_stats *s)
{
	printf("\"turns\":%llu,\"switches\":%llu,\"spawns\":%llu,\"enters\":%llu,"
	       "\"sqes\":%llu,\"cqes\":%llu,\"overflows\":%llu,\"wakes_sent\":%llu,"
	       "\"wakes_received\":%llu,\"mails\":%llu,\"fibers_peak\":%llu,\"idle_ns\":%llu,"
	       "\"busy_ns\":%llu",
	       (unsigned long long)s->turns, (unsigned long long)s->switches,
	       (unsigned long long)s->spawns, (unsigned long long)s->enters,
	       (unsigned long long)s->sqes, (unsigned long long)s->cqes,
	       (unsigned long long)s->overflows, (unsigned long long)s->wakes_sent,
	       (unsigned long long)s->wakes_received, (unsigned long long)s->mails,
	       (unsigned long long)s->fibers_peak, (unsigned long long)s->idle_ns,
	       (unsigned long long)s->busy_ns);
}

static void print_stats(const struct torc__runtime *rt)
{
	struct torc_stats sum = { .turns = 0 }, s;

	for (int i = 0; i < rt->loop_count; i++) {
		torc__loop_stats(rt->loops[i], rt->loops[i]->now_ns, &s);
		add_stats(&sum, &s);
	}
	printf("{\"loops\":%d,", rt->loop_count);
	print_fields(&sum);
	printf(",\"per_loop\":[");
	for (int i = 0; i < rt->loop_count; i++) {
		torc__loop_stats(rt->loops[i], rt->loops[i]->now_ns, &s);
		printf(i ? ",{" : "{");
		print_fields(&s);
		printf("}");
	}
	printf("]}\n");
	fflush(stdout);
}

static void free_loops(struct torc__runtime *rt)
{
	for (int i = 0; rt->loops && i < rt->loop_count && rt->loops[i]; i++) {
		torc__remotes_done(rt->loops[i]); /* deliver_rest has added some */
		free(rt->loops[i]);
	}
	torc__free(rt->loops);
}

static int make_loops(struct torc__runtime *rt)
{
	int cpus[CPU_SETSIZE];
	int n = cores(cpus, CPU_SETSIZE);
	int wanted = rt->options->loops;
	bool owners = torc__guards_start(rt->disabled);

	rt->loop_count = wanted == TORC_LOOP_PER_CORE ? n : wanted ? wanted : 1;
	if (rt->loop_count < 1)
		rt->loop_count = 1;
	rt->loops = torc__calloc((size_t)rt->loop_count, sizeof(*rt->loops));
	if (!rt->loops)
		return -ENOMEM;
	for (int i = 0; i < rt->loop_count; i++) {
		struct torc__loop *loop = aligned_alloc(64, (sizeof(*loop) + 63) & ~(size_t)63);

		if (!loop)
			return -ENOMEM;
		memset(loop, 0, sizeof(*loop));
		loop->runtime = rt;
		loop->index = i;
		loop->may_watch = n > 1 && rt->loop_count <= n && !rt->options->sim;
		loop->guard_id = owners ? TORC__GUARD_LOOPS + (uint32_t)i : TORC__GUARD_NOBODY;
		loop->cpu = rt->loop_count > 1 && n && !rt->options->no_pin && !rt->options->sim
				    ? cpus[i % n]
				    : -1;
		rt->loops[i] = loop;
	}
	rt->roots_live = rt->loop_count;
	return 0;
}

/*
 * What came after a loop had stopped: cancellations of what had ended, some to be passed on, and their echoes,
 * whose records are to be freed.
 */
static void deliver_rest(struct torc__runtime *rt)
{
	bool any;

	do {
		any = false;
		for (int i = 0; i < rt->loop_count; i++)
			any |= torc__loop_deliver(rt->loops[i]);
	} while (any);
}

static void run_threads(struct torc__runtime *rt)
{
	int started;

	rt->have_cores = sched_getaffinity(0, sizeof(rt->cores), &rt->cores) == 0;
	/* A failure is in rt->failure by then, and every loop sees it. */
	(void)start_threads(rt, &started);
	torc__run_loop(rt->loops[0]);
	for (int i = 1; i < started; i++)
		pthread_join(rt->loops[i]->thread, NULL);
	if (rt->have_cores)
		(void)sched_setaffinity(0, sizeof(rt->cores), &rt->cores);
}

static int run_all(struct torc__runtime *rt)
{
	if (torc__system->run_loops)
		torc__system->run_loops(rt);
	else
		run_threads(rt);
	deliver_rest(rt);
	if (!rt->failure)
		return 0;
	torc__kernel_explain(rt->failure);
	/* What an old kernel and some seccomp profiles say, by its documented name. */
	return rt->failure == -EINVAL ? -ENOSYS : rt->failure == -EACCES ? -EPERM : rt->failure;
}

/* With what concerns the whole process: signals, and the handler of stack overflows. */
static int run_in_process(struct torc__runtime *rt)
{
	int r = signals_open(rt->signals, rt->options);

	if (r < 0) {
		fprintf(stderr, "torc: signalfd: %s\n", strerror(-r));
		return r;
	}
	torc__overflow_install();
	torc__dump_signal_install(rt->options);
	r = run_all(rt);
	torc__dump_signal_remove();
	torc__overflow_remove();
	signals_close(rt->signals);
	return r;
}

static int run(struct torc__runtime *rt)
{
	struct torc__signals signals = { .fd = -1 };
	const char *stats = getenv("TORC_STATS");
	int r = make_loops(rt);

	rt->signals = &signals;
	if (r < 0)
		fprintf(stderr, "torc: no memory for the loops\n");
	else if (rt->options->sim)
		r = run_all(rt); /* leaves the process alone */
	else
		r = run_in_process(rt);
	if (!r && stats && !strcmp(stats, "1"))
		print_stats(rt);
	free_loops(rt);
	return r < 0 ? r : rt->result;
}

int torc_run(const struct torc_options *options, torc_fn *fn, void *arg)
{
	static const struct torc_options defaults;
	struct torc__runtime rt = { .options = options ? options : &defaults,
				    .fn = fn,
				    .arg = arg };
	const char *bad = bad_option(rt.options);
	int r;

	if (bad)
		return explain(bad);
	if (read_disabled(&rt.disabled) < 0)
		return -EINVAL;
	if (torc_in_fiber() || atomic_exchange(&running, true)) {
		fprintf(stderr, "torc: torc_run is already running in this process\n");
		return -EBUSY;
	}
	pthread_mutex_init(&rt.lock, NULL);
	pthread_cond_init(&rt.changed, NULL);
	if (rt.options->sim) {
		torc__system = rt.options->sim->system;
		rt.options->sim->begin(rt.options->sim);
	}
	r = run(&rt);
	if (rt.options->sim) {
		rt.options->sim->end(rt.options->sim);
		torc__system = &torc__system_linux;
	}
	pthread_cond_destroy(&rt.changed);
	pthread_mutex_destroy(&rt.lock);
	atomic_store(&running, false);
	return r;
}

int torc_loop_index(void)
{
	return torc__self()->loop->index;
}

int torc_loop_count(void)
{
	return torc__self()->loop->runtime->loop_count;
}
