#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <torc/core/gen.h>

#include "core/internal/overflow.h"
#include "core/internal/runtime.h"
#include "core/sim/sim.h"

/* The scheduler's stack, which all that is called outside of a fiber runs on. */
#define STACK_BYTES ((size_t)262144)

/* What an io_uring_enter(2) and a look at the clock take. */
#define ENTER_NS 500
#define LOOK_NS  20

/* See kernel.h: how long a wait for several completions holds out. */
#define FEW_NS 50000

static struct torc__sim_ring *ring_of(struct torc__ring *ring)
{
	struct torc__loop *loop = torc__container_of(ring, struct torc__loop, ring);

	return &torc__sim->rings[loop->index];
}

struct torc__sim_ring *torc__sim_ring_of(int fd)
{
	unsigned index = (unsigned)(fd - TORC__SIM_RING_FD);

	if (index >= TORC__SIM_LOOPS || !torc__sim->rings[index].ring)
		return NULL;
	return &torc__sim->rings[index];
}

/* --- completions --- */

static unsigned completed(const struct torc__sim_ring *ring)
{
	return ring->cq_tail - ring->cq_head;
}

static void put(struct torc__sim_ring *ring, const struct io_uring_cqe *cqe)
{
	struct io_uring_cqe *slot = &ring->cqes[ring->cq_tail & ring->cq_mask];

	slot->user_data = cqe->user_data;
	slot->res = cqe->res;
	slot->flags = cqe->flags;
	ring->cq_tail++;
}

static void put_late(struct torc__sim_ring *ring, const struct io_uring_cqe *cqe)
{
	if (ring->late_count == ring->late_capacity) {
		size_t capacity = ring->late_capacity ? 2 * ring->late_capacity : 16;

		ring->late = realloc(ring->late, capacity * sizeof(*ring->late));
		if (!ring->late)
			torc__sim_fail("no memory", NULL);
		ring->late_capacity = capacity;
	}
	ring->late[ring->late_count].user_data = cqe->user_data;
	ring->late[ring->late_count].res = cqe->res;
	ring->late[ring->late_count++].flags = cqe->flags;
	ring->sq_flags |= IORING_SQ_CQ_OVERFLOW;
}

void torc__sim_post(struct torc__sim_ring *ring, uint64_t user_data, int res, unsigned flags)
{
	struct io_uring_cqe cqe = { .user_data = user_data, .res = res, .flags = flags };

	/* Once one is late all are, so that they keep their order. */
	if (ring->late_count || completed(ring) == ring->cq_entries ||
	    torc__sim_chaos(TORC_SIM_OVERFLOW))
		put_late(ring, &cqe);
	else
		put(ring, &cqe);
}

static void put_what_was_late(struct torc__sim_ring *ring)
{
	size_t n = 0;

	if (!ring->late_count)
		return;
	while (n < ring->late_count && completed(ring) < ring->cq_entries)
		put(ring, &ring->late[n++]);
	ring->late_count -= n;
	memmove(ring->late, ring->late + n, ring->late_count * sizeof(*ring->late));
	if (!ring->late_count)
		ring->sq_flags &= ~IORING_SQ_CQ_OVERFLOW;
}

/* --- who runs --- */

/* Let others go on; in the loop's coroutine, not in a fiber of it. */
static void give_way(struct torc__sim_ring *ring)
{
	struct torc__loop *loop = torc__loop();

	torc__loop_set(NULL);
	torc__sim->active = NULL;
	if (torc_gen_yield(ring->coroutine, NULL, NULL))
		torc__sim_fail("a loop was not ended", NULL);
	torc__sim->active = ring;
	torc__loop_set(loop);
}

static bool can_run(const struct torc__sim_ring *ring)
{
	uint64_t now = torc__sim->now_ns;

	if (ring->ended)
		return false;
	if (ring->awaiting)
		return ring->awaited_at != torc__sim->steps;
	if (!ring->asleep || ring->late_count || completed(ring) >= ring->wait_count)
		return true;
	return now >= ring->until_ns || (completed(ring) && now >= ring->few_ns);
}

/* When a loop that cannot run will be able to, if no completion comes. */
static uint64_t wakes_at(const struct torc__sim_ring *ring)
{
	if (ring->ended || ring->awaiting)
		return TORC_NEVER;
	if (completed(ring) && ring->few_ns < ring->until_ns)
		return ring->few_ns;
	return ring->until_ns;
}

static int body(struct torc_gen *gen, void *arg)
{
	struct torc__sim_ring *ring = arg;

	(void)gen;
	torc__run_loop(ring->loop);
	ring->ended = true;
	return 0;
}

static void resume(struct torc__sim_ring *ring)
{
	torc__sim->turn = ring->loop->index + 1;
	torc__sim->active = ring;
	if (torc_gen_next(ring->coroutine, NULL) == 0)
		torc_gen_destroy(ring->coroutine);
	torc__sim->active = NULL;
	torc__sim->steps += !ring->awaiting;
}

/* Lets one loop or thread run; returns false when none can. */
static bool run_one(struct torc__sim *sim)
{
	struct torc__sim_ring *able[TORC__SIM_LOOPS];
	int n = sim->rt->loop_count;
	size_t count = 0, threads, next;

	for (int i = 0; i < n; i++) {
		struct torc__sim_ring *ring = &sim->rings[(sim->turn + i) % n];

		if (can_run(ring))
			able[count++] = ring;
	}
	threads = torc__sim_threads_able();
	if (!count && !threads)
		return false;
	next = torc__sim_pick(count + threads);
	if (next < count)
		resume(able[next]);
	else
		torc__sim_thread_resume(next - count);
	return true;
}

static bool all_ended(const struct torc__sim *sim)
{
	for (int i = 0; i < sim->rt->loop_count; i++)
		if (!sim->rings[i].ended)
			return false;
	return torc__sim_threads_ended();
}

static void pass_time(struct torc__sim *sim)
{
	uint64_t at = torc__sim_next();

	if (torc__sim_threads_next() < at)
		at = torc__sim_threads_next();
	for (int i = 0; i < sim->rt->loop_count; i++)
		if (wakes_at(&sim->rings[i]) < at)
			at = wakes_at(&sim->rings[i]);
	if (at == TORC_NEVER) {
		torc__loop_set(sim->rings[0].loop); /* for the dump */
		torc__sim_fail("nothing can ever happen again, but fibers wait", NULL);
	}
	if (at > sim->now_ns)
		sim->now_ns = at;
}

static void start(struct torc__sim *sim, int i)
{
	struct torc__sim_ring *ring = &sim->rings[i];
	const struct torc_gen_options o = { .stack_bytes = STACK_BYTES, .name = "loop" };

	memset(ring, 0, sizeof(*ring));
	ring->loop = sim->rt->loops[i];
	if (torc_gen_create(body, ring, &o, &ring->coroutine) < 0)
		torc__sim_fail("no memory", NULL);
}

void torc__sim_run_loops(struct torc__runtime *rt)
{
	struct torc__sim *sim = torc__sim;
	void *alt_stack = torc__overflow_thread_begin();

	if (rt->loop_count > TORC__SIM_LOOPS)
		torc__sim_fail("the simulator has 8 loops at most", NULL);
	sim->rt = rt;
	for (int i = 0; i < rt->loop_count; i++)
		start(sim, i);
	sim->running = true;
	while (!all_ended(sim)) {
		torc__sim_run_due();
		if (!run_one(sim))
			pass_time(sim);
	}
	sim->running = false;
	torc__overflow_thread_end(alt_stack);
}

/* Start-up and shutdown: another loop will change what this one waits for, so it only has to look again. */
void torc__sim_await_loops(struct torc__runtime *rt)
{
	struct torc__sim_ring *ring = torc__sim->active;

	pthread_mutex_unlock(&rt->lock);
	ring->awaiting = true;
	ring->awaited_at = torc__sim->steps;
	give_way(ring);
	ring->awaiting = false;
	pthread_mutex_lock(&rt->lock);
}

/* --- the seam --- */

static int sim_open(struct torc__ring *r, unsigned entries)
{
	struct torc__sim_ring *ring = ring_of(r);
	struct io_uring *u = &r->uring;

	ring->ring = r;
	ring->sq_entries = entries;
	ring->cq_entries = entries < 16384 ? entries * 4 : 65536;
	ring->sq_mask = ring->sq_entries - 1;
	ring->cq_mask = ring->cq_entries - 1;
	ring->sqes = torc__sim_alloc(ring->sq_entries * sizeof(*ring->sqes));
	ring->cqes = torc__sim_alloc(ring->cq_entries * sizeof(*ring->cqes));
	*u = (struct io_uring){
		.sq = {
			.khead = &ring->sq_head,
			.ktail = &ring->sq_tail,
			.kring_mask = &ring->sq_mask,
			.kring_entries = &ring->sq_entries,
			.kflags = &ring->sq_flags,
			.kdropped = &ring->sq_dropped,
			.sqes = ring->sqes,
			.ring_mask = ring->sq_mask,
			.ring_entries = ring->sq_entries,
		},
		.cq = {
			.khead = &ring->cq_head,
			.ktail = &ring->cq_tail,
			.kring_mask = &ring->cq_mask,
			.kring_entries = &ring->cq_entries,
			.kflags = &ring->cq_flags,
			.koverflow = &ring->cq_overflow,
			.cqes = ring->cqes,
			.ring_mask = ring->cq_mask,
			.ring_entries = ring->cq_entries,
		},
		.ring_fd = TORC__SIM_RING_FD + ring->loop->index,
		.enter_ring_fd = TORC__SIM_RING_FD + ring->loop->index,
	};
	/* There is always something that an enter brings on: a loop that is busy must not do without. */
	ring->sq_flags = IORING_SQ_TASKRUN;
	return 0;
}

static void sim_close(struct torc__ring *r)
{
	struct torc__sim_ring *ring = ring_of(r);

	if (ring->ops)
		torc__sim_fail("an operation is under way when its ring is closed", NULL);
	torc__sim_buffers_end(ring);
	free(ring->sqes);
	free(ring->cqes);
	free(ring->late);
	free(ring->fixed);
	ring->ring = NULL;
}

static void take_entries(struct torc__sim_ring *ring)
{
	while (ring->sq_head != ring->sq_tail) {
		struct io_uring_sqe sqe = ring->sqes[ring->sq_head & ring->sq_mask];

		/* Nothing in the queue may be looked at later. */
		memset(&ring->sqes[ring->sq_head++ & ring->sq_mask], 0xa5, sizeof(sqe));
		torc__sim_submit(ring, &sqe);
	}
}

static void sleep_until(struct torc__sim_ring *ring, unsigned wait_count, uint64_t timeout_ns)
{
	uint64_t now = torc__sim->now_ns;

	ring->asleep = true;
	ring->wait_count = wait_count;
	ring->until_ns = timeout_ns > TORC_NEVER - now ? TORC_NEVER : now + timeout_ns;
	ring->few_ns = now + FEW_NS;
	torc__sim_note("sleep", wait_count, (int64_t)timeout_ns, 0);
	give_way(ring); /* until it can run */
	ring->asleep = false;
}

static int refuse(void)
{
	static const int errors[] = { -EAGAIN, -EBUSY, -ENOMEM };

	return errors[torc__sim_draw(TORC_SIM_BUSY, 3)];
}

static int sim_enter(struct torc__ring *r, unsigned wait_count, uint64_t timeout_ns)
{
	struct torc__sim_ring *ring = ring_of(r);
	struct io_uring_sq *sq = &r->uring.sq;
	struct torc__sim *sim = torc__sim;

	torc__sim_count();
	r->enters++;
	ring->sq_tail = sq->sqe_tail;
	sq->sqe_head = sq->sqe_tail;
	sim->now_ns += ENTER_NS;
	if (torc__sim_chaos(TORC_SIM_CLOCK))
		sim->now_ns += torc__sim_draw(TORC_SIM_CLOCK, TORC_SECONDS(1));
	if (torc__sim_chaos(TORC_SIM_BUSY))
		return refuse();
	put_what_was_late(ring);
	torc__sim_buffers_look(ring);
	take_entries(ring);
	torc__sim_run_due();
	/* The queue may be full all the while: what is late now comes with the next enter. */
	if (ring->late_count && !torc__sim_chaos(TORC_SIM_OVERFLOW))
		put_what_was_late(ring);
	if (torc__loop()->current)
		return 0; /* a fiber has filled the queue: it goes on */
	if (wait_count && completed(ring) < wait_count)
		sleep_until(ring, wait_count, timeout_ns);
	else if (sim->rt->loop_count > 1)
		give_way(ring);
	return 0;
}

uint64_t torc__sim_now(void)
{
	return torc__sim->now_ns += LOOK_NS;
}

static uint64_t sim_now(struct torc__ring *r)
{
	(void)r;
	return torc__sim_now();
}

static void sim_withdraw(struct torc__ring *r, unsigned group)
{
	torc__sim_buffers_withdraw(ring_of(r), group);
}

static int sim_provide(struct torc__ring *r, struct io_uring_buf_reg *reg)
{
	return torc__sim_buffers_provide(ring_of(r), reg);
}

static int sim_register_buffers(struct torc__ring *r, unsigned count)
{
	struct torc__sim_ring *ring = ring_of(r);

	if (torc__sim_chaos(TORC_SIM_ERROR))
		return -ENOMEM;
	if (ring->fixed_count)
		return -EBUSY;
	ring->fixed = torc__sim_alloc(count * sizeof(*ring->fixed));
	ring->fixed_count = count;
	return 0;
}

static int sim_update_buffer(struct torc__ring *r, unsigned slot, void *memory, size_t bytes)
{
	struct torc__sim_ring *ring = ring_of(r);

	if (memory && torc__sim_chaos(TORC_SIM_ERROR))
		return -ENOMEM;
	if (slot >= ring->fixed_count)
		return -EINVAL;
	ring->fixed[slot] = (struct iovec){ memory, bytes };
	return 0;
}

static bool sim_has(struct torc__ring *r, unsigned opcode)
{
	(void)r;
	return torc__sim_knows(opcode);
}

const struct torc__kernel torc__sim_kernel = {
	.open = sim_open,
	.close = sim_close,
	.enter = sim_enter,
	.now = sim_now,
	.provide = sim_provide,
	.withdraw = sim_withdraw,
	.register_buffers = sim_register_buffers,
	.update_buffer = sim_update_buffer,
	.has = sim_has,
};
