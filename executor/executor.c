#include <torc/executor/executor.h>

#include <errno.h>

#include "core/internal/system.h"
#include "executor/internal/future.h"
#include "executor/internal/worker.h"

/* Hand futures over, all of them if possible; returns how many. */
static size_t hand_over(struct torc_executor *executor, struct torc_future *const *futures,
			size_t count, int *ret_error)
{
	size_t done = 0;

	*ret_error = 0;
	while (done < count) {
		int r = executor->ops->submit(executor, futures + done, count - done);

		if (r < 1) {
			*ret_error = r < 0 ? r : -EAGAIN;
			break;
		}
		done += (size_t)r;
	}
	return done;
}

int torc_submit(struct torc_executor *executor, torc_work_fn *fn, void *arg,
		struct torc_future **ret_future)
{
	struct torc_future *f =
		torc__future_new(fn, arg, torc__canceller(executor), ret_future ? 2 : 1);
	int r;

	if (!f)
		return -ENOMEM;
	hand_over(executor, &f, 1, &r);
	if (torc__likely(r == 0)) {
		if (ret_future)
			*ret_future = f;
		return 0;
	}
	torc_future_put(f);
	if (ret_future)
		torc_future_put(f);
	return r;
}

/* While the caller makes these, others run the ones before. */
#define SLICE ((size_t)128)

static struct torc__block *make_block(size_t count)
{
	struct torc__block *block;
	size_t bytes;

	if (count > UINT32_MAX ||
	    __builtin_mul_overflow(count + 1, sizeof(struct torc_future), &bytes))
		return NULL;
	block = torc__alloc_lines(bytes);
	if (block)
		block->live = (uint32_t)count;
	return block;
}

/* Make so many futures of it, each with a reference of the caller's and one of the executor's. */
static void make_futures(struct torc_future *futures, struct torc_executor *executor,
			 torc_work_fn *fn, void *const *args, size_t count,
			 struct torc__block *block, struct torc_future **ret_futures)
{
	for (size_t i = 0; i < count; i++) {
		torc__future_init(&futures[i], fn, args[i], torc__canceller(executor), 2, block);
		ret_futures[i] = &futures[i];
	}
}

/* The first `done` have been handed over, but not all: none of them may use its argument any more. */
static void take_back(struct torc_future **futures, size_t done, size_t made, size_t count,
		      struct torc__block *block)
{
	for (size_t i = done; i-- > 0;) {
		(void)torc_future_cancel(futures[i]);
		torc__event_await_shielded(&futures[i]->event);
	}
	for (size_t i = 0; i < made; i++) {
		if (i >= done)
			torc_future_put(futures[i]);
		torc_future_put(futures[i]);
	}
	torc__block_leave(block, (uint32_t)(count - made));
}

int torc_submit_many(struct torc_executor *executor, torc_work_fn *fn, void *const *args,
		     size_t count, struct torc_future **ret_futures)
{
	struct torc__block *block;
	struct torc_future *futures;
	size_t done = 0, n;
	int r = 0;

	if (!count)
		return 0;
	block = make_block(count);
	if (!block)
		return -ENOMEM;
	futures = (struct torc_future *)(void *)block + 1;
	do {
		n = count - done < SLICE ? count - done : SLICE;
		make_futures(futures + done, executor, fn, args + done, n, block,
			     ret_futures + done);
		done += hand_over(executor, ret_futures + done, n, &r);
	} while (!r && done < count);
	if (torc__unlikely(r < 0))
		take_back(ret_futures, done, (done / SLICE) * SLICE + n, count, block);
	return r;
}

int torc_executor_shutdown(struct torc_executor *executor, unsigned flags)
{
	return executor->ops->shutdown(executor, flags);
}

void torc_executor_destroy(struct torc_executor *executor)
{
	struct torc_scope shield;
	bool in_fiber = torc_in_fiber();

	if (!executor)
		return;
	if (in_fiber)
		torc_scope_enter_shield(&shield, TORC_NEVER);
	torc__check(executor->ops->shutdown(executor, 0) != -EDEADLK,
		    "an executor is destroyed by one of its own workers");
	if (in_fiber)
		torc_scope_leave(&shield);
	if (executor->ops->destroy)
		executor->ops->destroy(executor);
}

unsigned torc_executor_parallelism(const struct torc_executor *executor)
{
	return executor->parallelism ? executor->parallelism : 1;
}
