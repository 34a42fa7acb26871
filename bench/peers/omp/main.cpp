// bench-omp - the rows of torc's executor, with gcc's OpenMP (libgomp). bench/peers/pool joins them by bench
// and metric.
//
// What differs from torc, and cannot be made equal:
//
//  - There is no pool outside of a team: two workers are the thread that submits, in a `single`, and one more,
//    which waits for tasks at the end of the region. taskwait runs tasks too: of the round trips the
//    submitter itself made about half, where this was written.
//  - A team has one queue with one lock, and no task is deferred where more than 64 a thread are waiting: it
//    runs at once, in the thread that starts it: a cut-off that nobody asked for.
//  - Threads without work spin for some ms before they sleep (OMP_WAIT_POLICY is left as it is).
//  - An exception cannot leave a task, and nothing cancels it.
//  - taskloop asks for a task per turn, but 1000 are too many by the same rule: the row "batches of 1000,
//    taskloop" is a loop in the thread that submits.
#include "../pool.hpp"

namespace
{

using namespace bench;

// Runs work in one thread of a team of two; its tasks are run by both.
template <class Work> void in_team(Work work)
{
#pragma omp parallel num_threads(workers)
#pragma omp single
	work();
}

// ---- submit ----

void trip()
{
	int result = 0;

#pragma omp task shared(result)
	result = 1;
#pragma omp taskwait
	check(result == 1, "round trip");
}

void batch_of_tasks(std::vector<int> &results)
{
	int *out = results.data();

	for (int i = 0; i < batch; i++) {
#pragma omp task firstprivate(out, i)
		out[i] = i;
	}
#pragma omp taskwait
}

void batch_as_loop(std::vector<int> &results)
{
	int *out = results.data();

#pragma omp taskloop grainsize(1)
	for (int i = 0; i < batch; i++)
		out[i] = i;
}

// ---- fork ----

long fib(int n)
{
	long a, b;

	if (n < 2)
		return n;
#pragma omp task shared(a)
	a = fib(n - 1);
	b = fib(n - 2);
#pragma omp taskwait
	return a + b;
}

long skynet(long first, long size)
{
	long sums[children], sum = 0;

	if (size == 1)
		return first;
	for (int i = 0; i < children; i++) {
#pragma omp task shared(sums)
		sums[i] = skynet(first + i * (size / children), size / children);
	}
#pragma omp taskwait
	for (long part : sums)
		sum += part;
	return sum;
}

// ---- rows ----

void submit_rows()
{
	double tasks, loop;

	in_team([&] {
		report_trips("", trip);
		tasks = batches_rate(batch_of_tasks);
		loop = batches_rate(batch_as_loop);
	});
	report("submit", "batches of 1000", tasks, "M/s");
	report("submit", "batches of 1000, taskloop", loop, "M/s");
}

void fork_rows()
{
	report("fork", "fib(32)",
	       in_ms([] { in_team([] { check(fib(fib_of) == fib_is, "fib(32)"); }); }), "ms");
	report("fork", "skynet, 10^6 leaves",
	       in_ms([] { in_team([] { check(skynet(0, leaves) == leaves_sum, "skynet"); }); }),
	       "ms");
}

void map_row()
{
	report("map", "10^6 small items", map_ns([](const std::uint32_t *in, std::uint32_t *out) {
#pragma omp parallel for num_threads(workers)
		       for (int i = 0; i < items; i++)
			       out[i] = square(in[i]);
	       }));
}

} // namespace

int main(int argc, char **)
{
	if (argc > 1) {
		std::fputs("bench-omp: takes no arguments\n", stderr);
		return 2;
	}
	submit_rows();
	fork_rows();
	map_row();
}
