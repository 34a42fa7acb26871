// bench-tbb - the rows of torc's executor, with oneTBB. bench/peers/pool joins them by bench and metric.
//
// What differs from torc, and cannot be made equal:
//
//  - A thread that waits for a task_group takes part: two workers are the waiting thread and one of TBB's, in
//    an arena of two. That holds for the rows of fork and map and for those that say task_group.
//  - What is enqueued is run by TBB's threads only: an arena of two with no place for the thread that
//    submits, which sleeps until the result is there. This is the row "round trip"; with a task_group the
//    submitter finds its own task and runs it, which is hardly more than a call.
//  - There is no future: an enqueued task answers through a std::promise, a batch through a counter.
//  - A worker with nothing to do spins for a while and then sleeps. Nothing stays on its core.
//  - A task_group has a context that carries exceptions and cancels. One that all groups of fib shared made it
//    no faster.
//  - Empty tasks go several times as fast while only one of the cores is free: a second thread that steals them
//    one by one is in the way. The batches vary with what else the machine does.
//  - "batches of 1000, parallel_for" and the map cut a range in pieces, which are fewer than the items.
//
// Debian has TBB as a shared library only.
#include "../pool.hpp"

#include <atomic>
#include <future>
#include <memory>

#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/parallel_invoke.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>

namespace
{

using namespace bench;

// ---- submit ----

// The answer is the task's too: it notifies after the result may have been seen.
void trip_enqueued(tbb::task_arena &pool)
{
	auto answer = std::make_shared<std::promise<int>>();

	pool.enqueue([answer] { answer->set_value(1); });
	check(answer->get_future().get() == 1, "round trip");
}

void trip_in_group()
{
	tbb::task_group group;
	int result = 0;

	group.run([&] { result = 1; });
	group.wait();
	check(result == 1, "round trip");
}

void batch_in_group(std::vector<int> &results)
{
	tbb::task_group group;

	for (int i = 0; i < batch; i++)
		group.run([&results, i] { results[i] = i; });
	group.wait();
}

// The last task frees what they count down, for the reason given above.
void batch_enqueued(tbb::task_arena &pool, std::vector<int> &results)
{
	struct countdown {
		std::atomic<int> left{ batch };
		std::promise<void> done;
	};
	auto *all = new countdown;
	std::future<void> done = all->done.get_future();

	for (int i = 0; i < batch; i++)
		pool.enqueue([all, &results, i] {
			results[i] = i;
			if (all->left.fetch_sub(1) > 1)
				return;
			all->done.set_value();
			delete all;
		});
	done.wait();
}

void batch_as_range(std::vector<int> &results)
{
	tbb::parallel_for(0, batch, [&](int i) { results[i] = i; });
}

// ---- fork ----

long fib_group(int n)
{
	long a, b;

	if (n < 2)
		return n;
	tbb::task_group group;
	group.run([&] { a = fib_group(n - 1); });
	b = fib_group(n - 2);
	group.wait();
	return a + b;
}

long fib_invoke(int n)
{
	long a, b;

	if (n < 2)
		return n;
	tbb::parallel_invoke([&] { a = fib_invoke(n - 1); }, [&] { b = fib_invoke(n - 2); });
	return a + b;
}

long skynet(long first, long size)
{
	long sums[children], sum = 0;

	if (size == 1)
		return first;
	tbb::task_group group;
	for (int i = 0; i < children; i++)
		group.run([&, i] {
			sums[i] = skynet(first + i * (size / children), size / children);
		});
	group.wait();
	for (long part : sums)
		sum += part;
	return sum;
}

// ---- rows ----

template <class Fib> double fib_ms(tbb::task_arena &joined, Fib fib)
{
	return in_ms([&] { joined.execute([&] { check(fib(fib_of) == fib_is, "fib(32)"); }); });
}

void submit_rows(tbb::task_arena &apart, tbb::task_arena &joined)
{
	double group, enqueued, range;

	report_trips("", [&] { trip_enqueued(apart); });
	joined.execute([&] {
		report_trips(", task_group", trip_in_group);
		group = batches_rate(batch_in_group);
		range = batches_rate(batch_as_range);
	});
	enqueued = batches_rate([&](std::vector<int> &results) { batch_enqueued(apart, results); });
	report("submit", "batches of 1000", std::max(group, enqueued), "M/s");
	report("submit", "batches of 1000, task_group", group, "M/s");
	report("submit", "batches of 1000, enqueue", enqueued, "M/s");
	report("submit", "batches of 1000, parallel_for", range, "M/s");
}

void fork_rows(tbb::task_arena &joined)
{
	double group = fib_ms(joined, fib_group), invoke = fib_ms(joined, fib_invoke);

	report("fork", "fib(32)", std::min(group, invoke), "ms");
	report("fork", "fib(32), task_group", group, "ms");
	report("fork", "fib(32), parallel_invoke", invoke, "ms");
	report("fork", "skynet, 10^6 leaves", in_ms([&] {
		       joined.execute([] { check(skynet(0, leaves) == leaves_sum, "skynet"); });
	       }),
	       "ms");
}

void map_row(tbb::task_arena &joined)
{
	report("map", "10^6 small items", map_ns([&](const std::uint32_t *in, std::uint32_t *out) {
		       joined.execute([=] {
			       tbb::parallel_for(0, items, [=](int i) { out[i] = square(in[i]); });
		       });
	       }));
}

} // namespace

int main(int argc, char **)
{
	if (argc > 1) {
		std::fputs("bench-tbb: takes no arguments\n", stderr);
		return 2;
	}
	tbb::global_control limit(tbb::global_control::max_allowed_parallelism, workers + 1);
	tbb::task_arena joined(workers, 1), apart(workers, 0);

	submit_rows(apart, joined);
	fork_rows(joined);
	map_row(joined);
}
