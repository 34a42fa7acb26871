// bench.hpp - what the rows of bench-boost share: how they are measured, and where fibers run.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>

#include <boost/fiber/all.hpp>

namespace bench
{

constexpr int repeats = 7;

extern int cores; // 1 or 2

// Prints one result; NAN: boost has nothing of the kind.
void report(const char *name, const char *metric, double value, const char *unit = "ns");

// Binds the calling thread to one of the cores that the program may use.
void pin(int core);

// Times work, which does n pieces, in nanoseconds each.
template <class Work> double per_piece(double n, Work work)
{
	auto start = std::chrono::steady_clock::now();

	work();
	return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start)
		       .count() /
	       n;
}

// Measures once to warm up, then repeats times, as torc-bench does.
template <class Measure> double median(Measure measure)
{
	std::array<double, repeats> values;

	measure();
	for (double &value : values)
		value = measure();
	std::sort(values.begin(), values.end());
	return values[repeats / 2];
}

void fiber_rows(); // in a fiber: on one thread or, with two cores, on either of two that steal
void cross_rows(); // outside of fibers: two threads that share nothing but the channel

} // namespace bench
