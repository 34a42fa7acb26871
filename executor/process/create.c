/*
 * executor/process/create.c - a pool of processes is made, asked, and ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/internal/system.h"
#include "executor/internal/process.h"
#include "executor/internal/worker.h"

#define MESSAGE_MAX_DEFAULT ((size_t)1 << 30)
#define SHARED_MAX_DEFAULT  ((size_t)1 << 30)
#define BYTES_MOST          ((size_t)1 << 40)

/* --- submitting --- */

/* Find out what is to be run, in the caller's time. */
static int prepare_call(struct torc__processes *p, struct torc_process_call *call)
{
	struct torc__function function;
	size_t arg = torc__processes_shares(p, call->arg, call->arg_bytes) ? 0 : call->arg_bytes;
	size_t result = torc__processes_shares(p, call->result, call->result_bytes)
				? 0
				: call->result_bytes;
	int r;

	if (arg > p->message_max || result > p->message_max - arg)
		return -EMSGSIZE;
	r = torc__processes_resolve(p, (const void *)(uintptr_t)call->fn, &function);
	if (r < 0)
		return r;
	call->wait_status = 0;
	call->private_[0] = (uint64_t)torc__processes_bell() << 32 | function.module;
	call->private_[1] = function.offset;
	return 0;
}

static int prepare(struct torc__processes *p, struct torc_future *f)
{
	if (f->fn == torc_process_call_run)
		return prepare_call(p, f->arg);
	return f->fn == torc__chunk_run ? 0 : -EOPNOTSUPP;
}

/* Inside the guard: calls that have not begun, as far as that is known without asking each worker. */
static size_t count_waiting(const struct torc__processes *p)
{
	size_t n = torc__processes_queued(p);

	for (unsigned i = 0; i < p->members_count; i++) {
		uint32_t given = p->members[i].busy;

		n += given ? given - 1 : 0;
	}
	return n;
}

/* Inside the guard. Returns how many were put into the queue, or why none was. */
static int enqueue(struct torc__processes *p, struct torc_future *const *futures, size_t count)
{
	if (p->broken)
		return -EPIPE;
	if (p->closed)
		return -ESHUTDOWN;
	if (p->queue_max && !torc__queue_no_wait) {
		size_t waiting = count_waiting(p);
		size_t room = p->queue_max > waiting ? p->queue_max - waiting : 0;

		/* Those that have nothing to do take one each. */
		room += torc__processes_idle_workers(p);
		if (!room)
			return -EAGAIN;
		if (count > room)
			count = room;
	}
	if (!torc__lane_reserve(&p->queue, count))
		return -ENOMEM;
	torc__lane_put(&p->queue, futures, count);
	return (int)count;
}

static int submit(struct torc_executor *executor, struct torc_future *const *futures, size_t count)
{
	struct torc__processes *p = torc__processes_of(executor);
	size_t ready = 0;
	int r = 0;

	while (ready < count && ready < TORC__SLOTS && (r = prepare(p, futures[ready])) == 0)
		ready++;
	if (!ready)
		return r;
	torc__guard_lock(NULL, &p->guard);
	r = enqueue(p, futures, ready);
	torc__guard_unlock(&p->guard);
	if (r > 0)
		torc__processes_pump(p);
	return r;
}

/* --- the end --- */

static int shut_down(struct torc_executor *executor, unsigned flags)
{
	struct torc__processes *p = torc__processes_of(executor);

	torc__guard_lock(NULL, &p->guard);
	p->closed = true;
	p->cancelling |= (flags & TORC_CANCEL_PENDING) != 0;
	torc__guard_unlock(&p->guard);
	if (flags & TORC_CANCEL_PENDING) {
		torc__processes_refuse(p, -ECANCELED);
		torc__processes_cancel_given(p);
	}
	torc__warden_call(p);
	if (flags & TORC_NO_WAIT)
		return 0;
	return torc__event_await(&p->over, TORC_NEVER, NULL);
}

static void free_pool(struct torc__processes *p)
{
	torc__lane_done(&p->queue);
	torc__lane_done(&p->again);
	torc__processes_memory_done(p);
	if (p->memory)
		munmap(p->memory, p->memory_bytes);
	if (p->fd >= 0)
		close(p->fd);
	if (p->server_fd >= 0)
		close(p->server_fd);
	if (p->call_fd >= 0)
		close(p->call_fd);
	if (p->called_fd >= 0)
		close(p->called_fd);
	torc__free(p->environment);
	torc__free(p->members);
	torc__free(p);
}

static void destroy(struct torc_executor *executor)
{
	struct torc__processes *p = torc__processes_of(executor);

	torc__processes_unlist(p);
	torc__thread_join(&p->warden);
	free_pool(p);
}

static const struct torc_executor_ops process_ops = {
	.name = "processes",
	.submit = submit,
	.cancel = torc__processes_cancel,
	.map = torc__processes_map,
	.shutdown = shut_down,
	.destroy = destroy,
};

/* --- the region --- */

/* Where everything is. */
static uint64_t lay_out(const struct torc__processes *p, size_t shared, struct torc__region *r)
{
	r->workers = p->members_count;
	r->doorstep = torc__whole_pages(sizeof(*r));
	r->links = r->doorstep + torc__whole_pages(sizeof(struct torc__doorstep));
	r->bays = torc__whole_pages(sizeof(struct torc__link));
	r->bay_bytes = torc__whole_pages(p->message_max + 256 + TORC__SKEW);
	r->link_bytes = r->bays + TORC__BAYS * r->bay_bytes;
	r->common = r->links + p->members_count * r->link_bytes;
	r->common_bytes = torc__whole_pages(shared);
	return r->common + r->common_bytes;
}

/* It keeps its size, also if somebody else has a descriptor of it. */
static int open_file(uint64_t bytes)
{
	int fd = torc__shared_file("torc-processes", bytes), error;

	if (fd < 0)
		return fd;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		return fd;
	error = errno;
	close(fd);
	return -error;
}

/* Memory for what is written without asking; or a lack of it would be a signal. */
static int hold(struct torc__processes *p, const struct torc__region *layout)
{
	int r = torc__processes_hold(p, 0, layout->links);

	for (unsigned i = 0; i < p->members_count && r == 0; i++)
		r = torc__processes_hold(p, layout->links + i * layout->link_bytes, layout->bays);
	return r;
}

static int open_region(struct torc__processes *p, size_t shared)
{
	struct torc__region *layout = torc__calloc(1, sizeof(*layout));
	int r;

	if (!layout)
		return -ENOMEM;
	p->memory_bytes = lay_out(p, shared, layout);
	p->fd = open_file(p->memory_bytes);
	r = p->fd < 0 ? p->fd : hold(p, layout);
	if (r == 0) {
		void *memory = mmap(NULL, p->memory_bytes, PROT_READ | PROT_WRITE,
				    MAP_SHARED | MAP_NORESERVE, p->fd, 0);

		if (memory == MAP_FAILED)
			r = -errno;
		else
			p->memory = memory;
	}
	if (r == 0) {
		madvise(p->memory, p->memory_bytes, MADV_DONTFORK);
		madvise(p->memory, p->memory_bytes, MADV_DONTDUMP);
		p->region = (struct torc__region *)(void *)p->memory;
		*p->region = *layout;
		p->doorstep = torc__region_doorstep(p->region);
	}
	torc__free(layout);
	return r;
}

/* --- a pool --- */

static int set_initializer(struct torc__processes *p, const struct torc_process_call *initializer)
{
	struct torc__region *r = p->region;

	if (!initializer)
		return 0;
	r->has_initializer = true;
	r->initializer_bytes = initializer->arg_bytes;
	if (initializer->arg_bytes)
		memcpy(r->initializer_arg, initializer->arg, initializer->arg_bytes);
	return torc__processes_resolve(p, (const void *)(uintptr_t)initializer->fn,
				       &r->initializer);
}

static int fill_region(struct torc__processes *p, const struct torc_process_options *o)
{
	struct torc__region *r = p->region;
	struct torc__place_in_module here;
	int error;

	r->magic = TORC__REGION_MAGIC;
	r->layout = torc__region_layout();
	r->nice = o->nice;
	r->cpu_seconds = o->cpu_seconds;
	r->memory_max = o->memory_max;
	for (unsigned i = 0; i < p->members_count; i++) {
		struct torc__member *m = &p->members[i];

		m->link_at = r->links + i * r->link_bytes;
		m->link = (struct torc__link *)(void *)(p->memory + m->link_at);
		m->berth = &r->berths[i];
	}
	error = torc__module_of((const void *)(uintptr_t)torc__warden_run, &here);
	if (error < 0)
		return error;
	r->torc = here.module;
	torc__module_program(&r->modules[0]);
	r->modules_count = 1;
	return set_initializer(p, o->initializer);
}

static int check_options(const struct torc_process_options *o)
{
	if (o->workers > TORC__PROCESSES_MOST || o->message_max > BYTES_MOST ||
	    o->shared_max > BYTES_MOST || o->nice < -40 || o->nice > 40)
		return -EINVAL;
	if (o->initializer && o->initializer->arg_bytes > TORC__INITIALIZER_BYTES)
		return -EINVAL;
	return 0;
}

static struct torc__processes *make_pool(const struct torc_process_options *o)
{
	struct torc__processes *p = torc__alloc_lines((sizeof(*p) + 63) & ~(size_t)63);
	unsigned workers = o->workers ? o->workers : torc__thread_cores();

	if (!p)
		return NULL;
	memset(p, 0, sizeof(*p));
	if (workers > TORC__PROCESSES_MOST)
		workers = TORC__PROCESSES_MOST;
	p->executor.ops = &process_ops;
	p->executor.parallelism = p->members_count = workers;
	p->fd = p->server_fd = p->call_fd = p->called_fd = -1;
	p->calls_max = o->calls_max;
	p->queue_max = o->queue_max;
	p->message_max = o->message_max ? o->message_max : MESSAGE_MAX_DEFAULT;
	p->kill_on_cancel = o->kill_on_cancel;
	p->break_on_crash = o->break_on_crash;
	p->guard = p->shared.guard = p->functions_guard =
		(struct torc__guard)TORC__GUARD_INIT_SHARED;
	torc__event_init_shared(&p->up, TORC__EVENT_EXPECTED);
	torc__event_init_shared(&p->over, TORC__EVENT_EXPECTED);
	p->members = torc__calloc(workers, sizeof(*p->members));
	return p;
}

/* Of the moment when the pool is created, and one variable more; in one block. */
static int copy_environment(struct torc__processes *p)
{
	static const char variable[] = TORC__PROCESS_VARIABLE "=1";
	size_t n = 0, bytes = sizeof(variable);
	char *text;

	for (; environ && environ[n]; n++)
		bytes += strlen(environ[n]) + 1;
	p->environment = torc__malloc((n + 2) * sizeof(char *) + bytes);
	if (!p->environment)
		return -ENOMEM;
	text = (char *)(p->environment + n + 2);
	for (size_t i = 0; i <= n; i++) {
		p->environment[i] = text;
		text = stpcpy(text, i < n ? environ[i] : variable) + 1;
	}
	p->environment[n + 1] = NULL;
	return 0;
}

static int open_call(struct torc__processes *p)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	p->call_fd = fds[0];
	p->called_fd = torc__move_fd_up(fds[1]);
	return p->called_fd < 0 ? p->called_fd : 0;
}

/* Everything but the warden. */
static int set_up(struct torc__processes *p, const struct torc_process_options *o)
{
	int r = torc__bells_open();

	if (r < 0)
		return r;
	p->bells_fd = r;
	/* One more may be on its way from the queue to a seat. */
	if (!p->members ||
	    !torc__lane_reserve(&p->again, p->members_count * (size_t)TORC__SLOTS + 1))
		return -ENOMEM;
	r = open_region(p, o->shared_max ? o->shared_max : SHARED_MAX_DEFAULT);
	if (r == 0)
		r = fill_region(p, o);
	if (r == 0)
		r = copy_environment(p);
	return r < 0 ? r : open_call(p);
}

static int start_warden(struct torc__processes *p)
{
	p->warden.run = torc__warden_run;
	p->warden.cpu = -1;
	strcpy(p->warden.name, "torc-warden");
	return torc__thread_start(&p->warden);
}

/* It waits for the fork server; whatever the caller's scope says, it is not left alone with that. */
static int await_up(struct torc__processes *p)
{
	int r = torc__event_await(&p->up, TORC_NEVER, NULL);

	if (r < 0)
		torc__event_await_shielded(&p->up);
	return p->up_error < 0 ? p->up_error : r;
}

int torc_process_create(const struct torc_process_options *options, struct torc_executor **ret_pool)
{
	const struct torc_process_options defaults = { .workers = 0 };
	const struct torc_process_options *o = options ? options : &defaults;
	struct torc__processes *p;
	int r = check_options(o);

	if (r < 0)
		return r;
	if (torc__threads_simulated())
		return -ENOSYS;
	if (torc__process_index >= 0 || getauxval(AT_SECURE))
		return -EPERM;
	if (!torc__process_begun)
		return -ENOEXEC;
	p = make_pool(o);
	if (!p)
		return -ENOMEM;
	r = set_up(p, o);
	if (r == 0)
		r = start_warden(p);
	if (r < 0) {
		free_pool(p);
		return r;
	}
	r = await_up(p);
	if (p->up_error < 0) {
		torc__thread_join(&p->warden);
		free_pool(p);
		return r;
	}
	torc__processes_list(p);
	if (r < 0) {
		torc_executor_destroy(&p->executor);
		return r;
	}
	*ret_pool = &p->executor;
	return 0;
}

/* --- asking --- */

struct torc__processes *torc__processes_checked(struct torc_executor *executor)
{
	torc__check(executor->ops == &process_ops,
		    "another kind of executor than a pool of processes");
	return torc__processes_of(executor);
}

static int end_workers(struct torc_executor *pool, int sig)
{
	struct torc__processes *p = torc__processes_checked(pool);
	int r = shut_down(pool, TORC_CANCEL_PENDING | TORC_NO_WAIT);

	torc__processes_signal(p, sig);
	return r;
}

int torc_process_terminate_workers(struct torc_executor *pool)
{
	return end_workers(pool, SIGTERM);
}

int torc_process_kill_workers(struct torc_executor *pool)
{
	return end_workers(pool, SIGKILL);
}

void torc_process_stats(struct torc_executor *pool, struct torc_process_stats *ret_stats)
{
	struct torc__processes *p = torc__processes_checked(pool);

	*ret_stats = (struct torc_process_stats){ .workers = 0 };
	torc__guard_lock(NULL, &p->shared.guard);
	ret_stats->shared_bytes = p->shared.used;
	torc__guard_unlock(&p->shared.guard);
	torc__guard_lock(NULL, &p->guard);
	for (unsigned i = 0; i < p->members_count; i++) {
		const struct torc__member *m = &p->members[i];
		bool ready = m->state == TORC__MEMBER_READY ||
			     (m->state == TORC__MEMBER_LEAVING && m->tail != m->done);

		ret_stats->workers += ready;
		ret_stats->idle += ready && m->tail == m->done;
		ret_stats->queued += torc__member_waiting(m);
	}
	ret_stats->queued += torc__processes_queued(p);
	ret_stats->calls = p->calls;
	ret_stats->crashes = p->crashes;
	ret_stats->started = p->started;
	ret_stats->error = p->error;
	torc__guard_unlock(&p->guard);
}

size_t torc_process_pids(struct torc_executor *pool, int *ret_pids, size_t most)
{
	struct torc__processes *p = torc__processes_checked(pool);
	size_t n = 0;

	torc__guard_lock(NULL, &p->guard);
	for (unsigned i = 0; i < p->members_count; i++) {
		const struct torc__berth *b = p->members[i].berth;
		uint32_t started = __atomic_load_n(&b->started, __ATOMIC_ACQUIRE);

		if (started == __atomic_load_n(&b->ended, __ATOMIC_ACQUIRE) || b->pid <= 0)
			continue;
		if (n < most)
			ret_pids[n] = b->pid;
		n++;
	}
	torc__guard_unlock(&p->guard);
	return n;
}
