// cross.cpp - the rows in which two cores exchange something.
#include "bench.hpp"

#include <thread>

using namespace boost::fibers;

namespace
{

// The first fiber of a thread is the thread itself.
template <class A, class B> void in_two_threads(A a, B b)
{
	std::thread first([&] {
		bench::pin(0);
		a();
	});
	std::thread second([&] {
		bench::pin(1);
		b();
	});

	first.join();
	second.join();
}

double items_per_us()
{
	constexpr int capacity = 1024, n = 500000;
	buffered_channel<int> c(capacity);

	return 1e3 / bench::per_piece(n, [&] {
		       in_two_threads(
			       [&] {
				       for (int i = 0; i < n; i++)
					       c.push(i);
				       c.close();
			       },
			       [&] {
				       int v;

				       while (c.pop(v) == channel_op_status::success)
					       ;
			       });
	       });
}

double round_trip()
{
	constexpr int n = 5000;
	unbuffered_channel<int> ping, pong;

	return bench::per_piece(n, [&] {
		in_two_threads(
			[&] {
				int v;

				for (int i = 0; i < n; i++) {
					ping.push(i);
					pong.pop(v);
				}
				ping.close();
			},
			[&] {
				int v;

				while (ping.pop(v) == channel_op_status::success)
					pong.push(v);
			});
	});
}

} // namespace

void bench::cross_rows()
{
	report("cross", "buffered channel, M items/s", median(items_per_us), "M/s");
	report("cross", "unbuffered round trip", median(round_trip));
}
