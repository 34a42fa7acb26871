// pool.hpp - what the rows of a pool have in common for the peers in C++: sizes, the work of an item, and
// how single trips are timed.
#pragma once

#include "measure.hpp"

#include <cstdint>
#include <cstdlib>

namespace bench
{

constexpr int workers = 2;
constexpr int trips = 20000;
constexpr int batch = 1000, batches = 200;
constexpr int fib_of = 32;
constexpr long fib_is = 2178309;
constexpr long leaves = 1000000, leaves_sum = 499999500000;
constexpr int children = 10;
constexpr int items = 1000000, passes = 20;

// An item of a map is a call: in line, a compiler would make vector code of the whole loop, and the row
// would measure that.
[[gnu::noipa]] inline std::uint32_t square(std::uint32_t x)
{
	return x * x;
}

inline void check(bool right, const char *what)
{
	if (right)
		return;
	std::fprintf(stderr, "wrong result: %s\n", what);
	std::exit(1);
}

// Each task of a batch stores its number.
inline void check_batch(const std::vector<int> &results)
{
	for (int i = 0; i < batch; i++)
		check(results[i] == i, "batches of 1000");
}

inline void check_squares(const std::vector<std::uint32_t> &out)
{
	for (std::uint32_t i = 0; i < items; i++)
		check(out[i] == i * i, "10^6 small items");
}

// Millions of tasks a second; run(results) does one batch.
template <class Run> double batches_rate(Run run)
{
	std::vector<int> results(batch);

	return median([&] {
		return 1e3 / per_piece(double(batch) * batches, [&] {
			       for (int i = 0; i < batches; i++) {
				       std::fill(results.begin(), results.end(), -1);
				       run(results);
				       check_batch(results);
			       }
		       });
	});
}

// Nanoseconds for each item of a map, which run(in, out) does once for all.
template <class Run> double map_ns(Run run)
{
	std::vector<std::uint32_t> in(items), out(items);
	double ns;

	for (int i = 0; i < items; i++)
		in[i] = i;
	ns = median([&] {
		return per_piece(double(items) * passes, [&] {
			for (int i = 0; i < passes; i++)
				run(in.data(), out.data());
		});
	});
	check_squares(out);
	return ns;
}

template <class Work> double in_ms(Work work)
{
	return median([&] { return per_piece(1e6, work); });
}

// Times each trip on its own, which adds one reading of the clock, some 25 ns; reports the medians over the
// repeats of two percentiles.
template <class Trip> void report_trips(const char *way, Trip trip)
{
	std::vector<double> ns(trips), p99;
	char metric[64];
	double p50 = median([&] {
		for (double &value : ns)
			value = per_piece(1, trip);
		std::sort(ns.begin(), ns.end());
		p99.push_back(ns[trips * 99 / 100]);
		return ns[trips / 2];
	});

	p99.erase(p99.begin()); // that of the warm-up
	std::snprintf(metric, sizeof(metric), "round trip%s, p50", way);
	report("submit", metric, p50);
	std::snprintf(metric, sizeof(metric), "round trip%s, p99", way);
	report("submit", metric, middle(p99));
}

} // namespace bench
