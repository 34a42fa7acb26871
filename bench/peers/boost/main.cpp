// bench-boost - the rows of torc-bench, with boost.fiber and boost.coroutine2. bench/peers/run joins
// them by bench and metric.
//
// Boost has neither a select nor a scope with a deadline: those rows are null. What else differs from
// torc, and cannot be made equal:
//
//  - With --cores 1 fibers are scheduled in turn (round_robin, the default) and have pooled stacks. Each
//    turn includes boost's dispatcher, a fiber of its own.
//  - With --cores 2 two threads steal ready fibers from each other, and sleep when there are none:
//    work_stealing(2, true). On the machine where this was written it was ahead of stealing without
//    sleep on nearly every row, and of shared_work where fibers are started. Who rather keeps each fiber
//    on its thread, as torc does, has the figures of --cores 1 on each.
//  - The rows "cross", but for the one that starts fibers, are two threads that do not steal.
//  - Joining a fiber carries no error and cancels nobody; torc's groups do. Stacks have no guard.
//  - A channel's locks are for several threads even where there is one.
//
// Linked statically, as torc-bench is: a fifth faster than with shared libraries.
#include "bench.hpp"

#include <cstdio>
#include <string>
#include <thread>

#include <getopt.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>

using namespace boost::fibers;

int bench::cores = 1;

void bench::pin(int core)
{
	cpu_set_t allowed, one;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
		return;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed) || core-- > 0)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		(void)pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
		return;
	}
}

namespace
{

// The second thread takes what is ready until the rows are done.
void on_two_threads()
{
	mutex m;
	condition_variable cond;
	bool done = false;
	std::thread second([&] {
		bench::pin(1);
		use_scheduling_algorithm<algo::work_stealing>(2, true);
		std::unique_lock<mutex> lock(m);
		cond.wait(lock, [&] { return done; });
	});

	bench::pin(0);
	use_scheduling_algorithm<algo::work_stealing>(2, true);
	fiber(bench::fiber_rows).join();
	{
		std::unique_lock<mutex> lock(m);
		done = true;
	}
	cond.notify_all();
	second.join();
}

// Stacks from malloc stay in the heap: giving them back to the kernel each time costs microseconds.
void keep_freed_memory()
{
	mallopt(M_MMAP_THRESHOLD, 1 << 30);
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
}

int wrong()
{
	std::fputs("bench-boost: wrong arguments; try --help\n", stderr);
	return 2;
}

// Returns -1: go on; otherwise the exit status.
int parse_options(int argc, char **argv)
{
	static const option options[] = {
		{ "cores", required_argument, nullptr, 'c' },
		{ "help", no_argument, nullptr, 'h' },
		{ nullptr, 0, nullptr, 0 },
	};

	opterr = 0;
	for (int c; (c = getopt_long(argc, argv, "", options, nullptr)) != -1;) {
		if (c == 'h') {
			std::puts(
				"Usage: bench-boost [--cores 1|2]\n"
				"Measure boost.fiber beside torc-bench: one JSON object per line.");
			return 0;
		}
		if (c != 'c' || (optarg != std::string("1") && optarg != std::string("2")))
			return wrong();
		bench::cores = optarg[0] - '0';
	}
	return optind == argc ? -1 : wrong();
}

} // namespace

int main(int argc, char **argv)
{
	int status = parse_options(argc, argv);

	if (status >= 0)
		return status;
	if (bench::cores == 1) {
		fiber(bench::fiber_rows).join();
		return 0;
	}
	keep_freed_memory();
	bench::cross_rows(); // first: the algorithm of a thread is chosen once
	on_two_threads();
	return 0;
}
