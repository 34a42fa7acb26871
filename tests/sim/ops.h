/*
 * tests/sim/ops.h - operations of the ring on pipes and eventfds, raced against deadlines and cancellation.
 *
 *	pipe		some write, some read, in turns, any of them stopped at any time: every byte that was written is
 *			read once, in order, and a read that fails leaves its buffer alone
 *	pump		one writes all it has and closes, one reads until then: all arrives, however often either fails
 *	counter		an eventfd: what was added is what was taken and what is left
 *	watch, poll	operations with callbacks, cancelled: each is over once, and then nothing comes any more
 *	tell		a callback wakes a fiber of any loop, which waits without a limit
 *	executor	jobs that others complete at any time: fibers, or a callback that an eventfd wakes. Who gives up waits
 *			all the same until its job has been let go, as it is with the kernel
 */
#ifndef TESTS_SIM_OPS_H
#define TESTS_SIM_OPS_H

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <torc/core/chan.h>
#include <torc/core/sync.h>
#include <torc/core/sys.h>

#include "tests/sim/sim.h"

#define OPS_CLIENTS   8
#define OPS_WORKERS   2
#define OPS_PERIOD    251 /* of the bytes in a pipe: a prime, so that blocks do not look alike */
#define OPS_BLOCK     16384
#define OPS_UNTOUCHED 0xa5
#define OPS_NO_VALUE  0xa5a5a5a5a5a5a5a5u
#define OPS_PUMPED    70000 /* more than a pipe holds */
/* So often an operation is tried again before it may not fail any more. */
#define OPS_PATIENCE 100

struct ops_pipe {
	int fds[2]; /* -1: not open */
	struct torc_mutex reading, writing;
	uint64_t written, read;
};

struct ops_executor {
	struct torc_chan jobs; /* pointers */
	int bell;              /* an eventfd that tells of jobs; -1: workers wait for them */
};

/* Who answers the bell. */
struct ops_keeper {
	struct torc_op op;
	struct torc_event over; /* the operation */
	struct ops_executor *executor;
	uint64_t rung;
	int failures;
};

/* On its client's stack, as an operation is. */
struct ops_job {
	struct torc_event done;
	atomic_int completed;
	atomic_bool stopped; /* the client does not want it any more */
	int input, output;
};

struct ops_world {
	struct ops_pipe pipe, pump;
	int counter;
	bool semaphore;
	atomic_ullong put, got;
	struct ops_executor workers, bell;
	atomic_bool closing; /* the clients have ended */
	bool pumped;         /* and the pump was not stopped */
};

/* --- bytes --- */

/* What is at a place of a pipe. It lasts for a block. */
static const unsigned char *ops_bytes(uint64_t place)
{
	static unsigned char bytes[OPS_BLOCK + OPS_PERIOD];

	if (!bytes[1])
		for (unsigned i = 0; i < sizeof(bytes); i++)
			bytes[i] = (unsigned char)(i % OPS_PERIOD);
	return bytes + place % OPS_PERIOD;
}

static void ops_check_untouched(const unsigned char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		check_eq(bytes[i], OPS_UNTOUCHED);
}

/* At most most bytes. Returns as do_write. */
static int ops_pipe_write(struct ops_pipe *p, unsigned most)
{
	unsigned len = 1 + dice(most < OPS_BLOCK ? most : OPS_BLOCK);
	int r = do_write(p->fds[1], ops_bytes(p->written), len);

	check(r != 0);
	check(r < 0 || (unsigned)r <= len);
	if (r > 0)
		p->written += (unsigned)r;
	return r;
}

/* Returns as do_read. */
static int ops_pipe_read(struct ops_pipe *p, unsigned most)
{
	unsigned char buf[2048];
	unsigned len = 1 + dice(most < sizeof(buf) ? most : (unsigned)sizeof(buf));
	int r;

	memset(buf, OPS_UNTOUCHED, len);
	r = do_read(p->fds[0], buf, len);
	if (r <= 0) {
		ops_check_untouched(buf, len);
		return r;
	}
	check_le(r, len);
	check(!memcmp(buf, ops_bytes(p->read), (size_t)r));
	ops_check_untouched(buf + r, len - (unsigned)r);
	p->read += (unsigned)r;
	return r;
}

static int ops_pipe_open(struct ops_pipe *p)
{
	int r = torc_sys_pipe(p->fds, 0);

	if (r < 0)
		p->fds[0] = p->fds[1] = -1;
	return r;
}

static void ops_close(int *fd)
{
	if (*fd >= 0)
		check_eq(torc_sys_close(*fd), 0);
	*fd = -1;
}

/* What is left is as much as was not read; then comes the end. */
static void ops_pipe_drain(struct ops_pipe *p)
{
	while (p->read < p->written)
		check_lt(0, ops_pipe_read(p, 2048));
	check_eq(p->read, p->written);
	ops_close(&p->fds[1]);
	check_eq(ops_pipe_read(p, 64), 0);
	ops_close(&p->fds[0]);
	torc_mutex_done(&p->reading);
	torc_mutex_done(&p->writing);
}

/* --- pipe --- */

static void ops_use_pipe(struct ops_world *w)
{
	struct ops_pipe *p = &w->pipe;
	bool write = one_in(2);
	struct torc_mutex *turn = write ? &p->writing : &p->reading;

	torc_within(some_time())
	{
		if (stop_or_done(torc_mutex_lock(turn)) < 0)
			break;
		if (write)
			ops_pipe_write(p, one_in(4) ? 4000 : 100);
		else
			check(ops_pipe_read(p, one_in(4) ? 2000 : 100) != 0);
		torc_mutex_unlock(turn);
	}
}

/* --- pump --- */

static void ops_tolerate(int *failures)
{
	if (++*failures == OPS_PATIENCE)
		torc_sim_peace();
}

static int ops_pump_write(void *arg)
{
	struct ops_world *w = arg;
	struct ops_pipe *p = &w->pump;
	int r = 0, failures = 0;

	while (p->written < OPS_PUMPED && !is_stop(r)) {
		r = ops_pipe_write(p, OPS_BLOCK);
		if (r < 0)
			ops_tolerate(&failures);
	}
	ops_close(&p->fds[1]);
	return 0;
}

static int ops_pump_read(void *arg)
{
	struct ops_world *w = arg;
	struct ops_pipe *p = &w->pump;
	int r, failures = 0;

	do {
		r = ops_pipe_read(p, 4096);
		if (r < 0)
			ops_tolerate(&failures);
	} while (r != 0 && !is_stop(r));
	if (r == 0)
		check_eq(p->read, p->written);
	return 0;
}

static void ops_pump_end(struct ops_world *w)
{
	check_le(w->pump.read, w->pump.written);
	if (w->pumped)
		check_le(OPS_PUMPED, w->pump.read);
	ops_close(&w->pump.fds[0]);
	ops_close(&w->pump.fds[1]);
}

/* --- counter --- */

static void ops_count(struct ops_world *w)
{
	uint64_t value = 1 + dice(w->semaphore ? 3 : 100);
	int r = one_in(2) ? do_write(w->counter, &value, sizeof(value))
			  : torc_sys_write(w->counter, &value, sizeof(value));

	check(r < 0 || r == sizeof(value));
	if (r > 0)
		w->put += value;
}

/* Returns as do_read. */
static int ops_take(struct ops_world *w)
{
	uint64_t value = OPS_NO_VALUE;
	int r = do_read(w->counter, &value, sizeof(value));

	if (r < 0) {
		check(value == OPS_NO_VALUE);
		return r;
	}
	check_eq(r, sizeof(value));
	check(value != OPS_NO_VALUE && value > 0 && (value == 1 || !w->semaphore));
	w->got += value;
	return r;
}

static void ops_counter_drain(struct ops_world *w)
{
	while (w->got < w->put)
		check_lt(0, ops_take(w));
	check_eq(w->got, w->put);
	ops_close(&w->counter);
}

/* --- operations with callbacks --- */

struct ops_watch {
	struct torc_op op;
	struct torc_event over;
	uint64_t value;
	int res;
	unsigned calls, last_calls; /* the latter without IORING_CQE_F_MORE */
};

static void ops_watch_call(struct torc_op *op, int res, unsigned cqe_flags)
{
	struct ops_watch *watch = container_of(op, struct ops_watch, op);

	check_eq(watch->last_calls, 0);
	watch->calls++;
	watch->res = res;
	if (cqe_flags & IORING_CQE_F_MORE)
		return;
	watch->last_calls++;
	torc_event_set(&watch->over);
}

/* Wait a while, then have it stopped; in the end it is over. */
static void ops_watch_end(struct ops_watch *watch)
{
	struct torc_scope shield;

	torc_within(some_time()) check(stop_or_done(torc_event_wait(&watch->over)) <= 0);
	if (one_in(4))
		do_something();
	torc_op_cancel(&watch->op);
	if (one_in(2))
		torc_op_cancel(&watch->op);
	torc_scope_enter_shield(&shield, TORC_NEVER);
	check_eq(torc_event_wait(&watch->over), 0);
	torc_scope_leave(&shield);
	check(!torc_op_pending(&watch->op));
	check_eq(watch->last_calls, 1);
	torc_event_done(&watch->over);
}

static void ops_watch_read(struct ops_world *w)
{
	struct ops_watch watch = { .value = OPS_NO_VALUE };

	io_uring_prep_read(torc_op_start(&watch.op, ops_watch_call), w->counter, &watch.value,
			   sizeof(watch.value), 0);
	ops_watch_end(&watch);
	check_eq(watch.calls, 1);
	if (watch.res < 0) {
		check(watch.value == OPS_NO_VALUE);
		return;
	}
	check_eq(watch.res, sizeof(watch.value));
	w->got += watch.value;
}

static void ops_watch_poll(struct ops_world *w)
{
	struct ops_watch watch = { .value = 0 };
	struct io_uring_sqe *sqe = torc_op_start(&watch.op, ops_watch_call);

	if (one_in(2))
		io_uring_prep_poll_multishot(sqe, w->counter, POLLIN);
	else
		io_uring_prep_poll_add(sqe, w->counter, POLLIN);
	ops_watch_end(&watch);
	if (watch.res > 0)
		check(watch.res & POLLIN);
}

/* --- a callback that wakes another fiber --- */

struct ops_news {
	struct torc_op op;
	struct torc_event come;
};

static void ops_tell_call(struct torc_op *op, int res, unsigned cqe_flags)
{
	(void)res, (void)cqe_flags;
	torc_event_set(&container_of(op, struct ops_news, op)->come);
}

static int ops_hear(void *arg)
{
	struct ops_news *news = arg;
	struct torc_scope shield;

	torc_scope_enter_shield(&shield, TORC_NEVER);
	check_eq(torc_event_wait(&news->come), 0);
	torc_scope_leave(&shield);
	return 0;
}

static void ops_tell(void)
{
	struct ops_news news = { .come = { .state = 0 } };
	struct torc_group g;

	torc_group_enter_supervisor(&g);
	start(&g, ops_hear, &news);
	start(&g, ops_hear, &news);
	do_something();
	io_uring_prep_nop(torc_op_start(&news.op, ops_tell_call));
	ops_hear(&news);
	(void)torc_group_wait(&g);
	check(!torc_op_pending(&news.op));
	torc_event_done(&news.come);
}

/* --- executors --- */

static int ops_answer(int input)
{
	return input * 3 + 1;
}

/* From then on the client may have gone, with the job. */
static void ops_complete(struct ops_job *job)
{
	if (!job->stopped)
		job->output = ops_answer(job->input);
	job->completed++;
	torc_event_set(&job->done);
}

static int ops_worker(void *arg)
{
	struct ops_executor *e = arg;
	struct ops_job *job;

	while (stop_or_done(torc_chan_recv(&e->jobs, &job)) == 1) {
		do_something();
		ops_complete(job);
	}
	return 0;
}

/* Completes what is there outside of any fiber; an error is no reason not to look. */
static void ops_rung(struct torc_op *op, int res, unsigned cqe_flags)
{
	struct ops_keeper *k = container_of(op, struct ops_keeper, op);
	struct ops_job *job;

	check_eq(cqe_flags & IORING_CQE_F_MORE, 0);
	while (torc_chan_try_recv(&k->executor->jobs, &job) == 1)
		ops_complete(job);
	if (res < 0)
		ops_tolerate(&k->failures);
	torc_event_set(&k->over);
}

/* Until the bell has rung, or all are stopped. Returns 0, or the scope's status. */
static int ops_listen(struct ops_keeper *k)
{
	struct torc_scope shield;
	int r;

	torc_event_clear(&k->over);
	io_uring_prep_read(torc_op_start(&k->op, ops_rung), k->executor->bell, &k->rung,
			   sizeof(k->rung), 0);
	r = stop_or_done(torc_event_wait(&k->over));
	if (r < 0) {
		torc_op_cancel(&k->op);
		torc_scope_enter_shield(&shield, TORC_NEVER);
		check_eq(torc_event_wait(&k->over), 0);
		torc_scope_leave(&shield);
	}
	check(!torc_op_pending(&k->op));
	return r;
}

static int ops_keep_bell(void *arg)
{
	struct ops_world *w = arg;
	struct ops_keeper k = { .executor = &w->bell };

	while (!w->closing && ops_listen(&k) == 0)
		;
	torc_event_done(&k.over);
	return 0;
}

static void ops_ring(struct ops_executor *e)
{
	const uint64_t one = 1;

	check_eq(torc_sys_write(e->bell, &one, sizeof(one)), sizeof(one));
}

/* Returns 0, or a negative errno: nobody has the job. */
static int ops_submit(struct ops_executor *e, struct ops_job *job)
{
	int r;

	if (e->bell < 0)
		return stop_or_done(torc_chan_send(&e->jobs, &job));
	r = torc_chan_try_send(&e->jobs, &job);
	check(r == 0 || r == -EAGAIN);
	if (r == 0)
		ops_ring(e);
	return r;
}

/*
 * There may be nobody left who takes jobs, or never have been for want of memory: so who has to wait takes them itself.
 */
static void ops_help(struct ops_executor *e, struct ops_job *own)
{
	struct torc_scope shield;
	struct ops_job *job;
	int r = -1;

	while (r < 0) {
		while (torc_chan_try_recv(&e->jobs, &job) == 1)
			ops_complete(job);
		torc_scope_enter_shield(&shield, 1000 + dice(100000));
		r = torc_event_wait(&own->done);
		check(r == 0 || r == -ETIMEDOUT);
		torc_scope_leave(&shield);
	}
}

static void ops_have_done(struct ops_executor *e)
{
	struct ops_job job = { .input = (int)dice(1000), .output = -1 };
	int r = 0;

	torc_within(some_time()) r = ops_submit(e, &job);
	if (r < 0) {
		check_eq(job.completed, 0);
		return;
	}
	torc_within(some_time()) r = stop_or_done(torc_event_wait(&job.done));
	if (r < 0) {
		job.stopped = true;
		ops_help(e, &job);
	}
	check_eq(job.completed, 1);
	check(job.output == ops_answer(job.input) || (job.stopped && job.output == -1));
	torc_event_done(&job.done);
}

/* --- together --- */

static int ops_client(void *arg)
{
	struct ops_world *w = arg;

	for (int i = 0; i < 4; i++) {
		switch (dice(10)) {
		case 0:
		case 1:
		case 2: ops_use_pipe(w); break;
		case 3: ops_count(w); break;
		case 4: torc_within(some_time()) ops_take(w); break;
		case 5: ops_watch_read(w); break;
		case 6: ops_watch_poll(w); break;
		case 7: ops_have_done(&w->workers); break;
		case 8: ops_tell(); break;
		default: ops_have_done(&w->bell);
		}
		if (one_in(3))
			do_something();
	}
	return 0;
}

static void ops_close_all(struct ops_world *w)
{
	for (int i = 0; i < 2; i++) {
		ops_close(&w->pipe.fds[i]);
		ops_close(&w->pump.fds[i]);
	}
	ops_close(&w->counter);
	ops_close(&w->bell.bell);
}

static int ops_open_all(struct ops_world *w)
{
	int r;

	w->semaphore = one_in(2);
	w->counter = torc_sys_eventfd(0, w->semaphore ? EFD_SEMAPHORE : 0);
	w->bell.bell = torc_sys_eventfd(0, 0);
	w->workers.bell = -1;
	if ((r = ops_pipe_open(&w->pipe)) < 0 || (r = ops_pipe_open(&w->pump)) < 0 ||
	    (r = w->counter) < 0 || (r = w->bell.bell) < 0 ||
	    (r = torc_chan_init(&w->workers.jobs, sizeof(struct ops_job *), dice(3))) < 0)
		return r;
	r = torc_chan_init(&w->bell.jobs, sizeof(struct ops_job *), 1 + dice(3));
	if (r < 0)
		torc_chan_done(&w->workers.jobs);
	return r;
}

/* The clients; and, in some of the runs, the pump. */
static void ops_run_clients(struct ops_world *w)
{
	bool pumps = one_in(3);
	struct torc_group g;

	torc_group_enter(&g);
	if (pumps) {
		start(&g, ops_pump_write, w);
		start(&g, ops_pump_read, w);
	}
	for (int i = 0; i < OPS_CLIENTS; i++)
		start(&g, ops_client, w);
	if (one_in(4)) {
		do_sleep(dice(300000));
		torc_group_cancel(&g);
	}
	w->pumped = finish(&g) && pumps;
}

/* Those who serve go after the clients; when one of them cannot be started, all stop. */
static void ops_run(struct ops_world *w)
{
	struct torc_group g;

	torc_group_enter(&g);
	for (int i = 0; i < OPS_WORKERS; i++)
		start(&g, ops_worker, &w->workers);
	start(&g, ops_keep_bell, w);
	ops_run_clients(w);
	torc_chan_close(&w->workers.jobs);
	w->closing = true;
	ops_ring(&w->bell);
	finish(&g);
}

static void ops_end(struct ops_world *w)
{
	ops_pump_end(w);
	ops_pipe_drain(&w->pipe);
	ops_counter_drain(w);
	check_eq(torc_chan_count(&w->workers.jobs), 0);
	check_eq(torc_chan_count(&w->bell.jobs), 0);
	torc_chan_done(&w->workers.jobs);
	torc_chan_done(&w->bell.jobs);
}

static int ops_scenario(void *arg)
{
	static struct ops_world world;
	struct ops_world *w = &world;
	int r;

	(void)arg;
	memset(w, 0, sizeof(*w));
	for (int i = 0; i < 2; i++)
		w->pipe.fds[i] = w->pump.fds[i] = -1;
	r = ops_open_all(w);
	if (r == 0) {
		torc_within(one_in(2) ? TORC_NEVER : dice(1000000)) ops_run(w);
		torc_sim_peace();
		ops_end(w);
	}
	ops_close_all(w);
	/* Also where the limit of descriptors is met: that is no failure. */
	check(r == 0 || r == -ENOMEM || r == -EMFILE || r == -ENFILE);
	return r == -ENOMEM ? r : 0;
}

#endif
