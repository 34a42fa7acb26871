// measure.hpp - how the peers in C++ measure and report.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <vector>

namespace bench
{

constexpr int repeats = 7;
constexpr double repeats_s =
	1; // a slow row is repeated less: no repeat begins after so many seconds

// Prints one result; NAN: this peer has nothing of the kind.
inline void report(const char *name, const char *metric, double value, const char *unit = "ns")
{
	std::printf("{\"bench\":\"%s\",\"metric\":\"%s\",\"value\":", name, metric);
	std::printf(std::isfinite(value) ? "%.6g" : "null", value);
	std::printf(",\"unit\":\"%s\"}\n", unit);
	std::fflush(stdout);
}

// Times work, which does n pieces, in nanoseconds each.
template <class Work> double per_piece(double n, Work work)
{
	auto start = std::chrono::steady_clock::now();

	work();
	return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start)
		       .count() /
	       n;
}

inline double middle(std::vector<double> values)
{
	std::size_t n = values.size();

	std::sort(values.begin(), values.end());
	return (values[n / 2] + values[(n - 1) / 2]) / 2;
}

// Measures once to warm up, then repeats times, as torc-bench does.
template <class Measure> double median(Measure measure)
{
	std::vector<double> values;
	auto start = std::chrono::steady_clock::now();
	std::chrono::duration<double> limit(repeats_s);

	measure();
	do
		values.push_back(measure());
	while (values.size() < repeats && std::chrono::steady_clock::now() - start < limit);
	return middle(values);
}

} // namespace bench
