// fibers.cpp - the rows that torc runs on one loop.
#include "bench.hpp"

#include <cmath>
#include <vector>

#include <boost/coroutine2/coroutine.hpp>

using namespace boost::fibers;

namespace
{

constexpr std::size_t stack_bytes = 64 * 1024; // torc's default

// A pool of stacks is what makes starting a fiber cheap, but a pool belongs to one thread: where fibers
// may end on another one their stacks come from malloc.
template <class Fn> fiber run(Fn fn, launch when = launch::post)
{
	static pooled_fixedsize_stack pool(stack_bytes);

	if (bench::cores == 1)
		return fiber(when, std::allocator_arg, pool, fn);
	return fiber(when, std::allocator_arg, fixedsize_stack(stack_bytes), fn);
}

template <class A, class B> void in_two(A a, B b)
{
	fiber first = run(a), second = run(b);

	first.join();
	second.join();
}

double yield()
{
	constexpr int n = 200000;
	auto each = [] {
		for (int i = 0; i < n; i++)
			boost::this_fiber::yield();
	};

	return bench::per_piece(2 * n, [&] { in_two(each, each); });
}

// One fiber is done soonest when it begins at once (launch::dispatch), many when they queue up first.
double spawn(std::size_t count, int rounds)
{
	launch when = count == 1 ? launch::dispatch : launch::post;
	std::vector<fiber> fibers(count);

	return bench::per_piece(double(count) * rounds, [&] {
		for (int i = 0; i < rounds; i++) {
			for (fiber &f : fibers)
				f = run([] {}, when);
			for (fiber &f : fibers)
				f.join();
		}
	});
}

double round_trip()
{
	constexpr int n = 50000;
	unbuffered_channel<int> ping, pong;
	fiber echo = run([&] {
		int v;

		while (ping.pop(v) == channel_op_status::success)
			pong.push(v);
	});
	double ns = bench::per_piece(n, [&] {
		int v;

		for (int i = 0; i < n; i++) {
			ping.push(i);
			pong.pop(v);
		}
	});

	ping.close();
	echo.join();
	return ns;
}

// One slot of a channel stays empty: 63 items fit in one of 64.
double fill_and_drain()
{
	constexpr int capacity = 64, items = capacity - 1, rounds = 20000;
	buffered_channel<int> c(capacity);

	return bench::per_piece(double(items) * rounds, [&] {
		int v;

		for (int i = 0; i < rounds; i++) {
			for (int n = 0; n < items; n++)
				c.push(n);
			for (int n = 0; n < items; n++)
				c.pop(v);
		}
	});
}

double pipeline()
{
	constexpr int capacity = 64, n = 300000;
	buffered_channel<int> c(capacity);

	return bench::per_piece(n, [&] {
		in_two(
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

double uncontended()
{
	constexpr int n = 1000000;
	mutex m;

	return bench::per_piece(n, [&] {
		for (int i = 0; i < n; i++) {
			m.lock();
			m.unlock();
		}
	});
}

double contended()
{
	constexpr int n = 50000;
	mutex m;
	auto each = [&] {
		for (int i = 0; i < n; i++) {
			m.lock();
			boost::this_fiber::yield();
			m.unlock();
		}
	};

	return bench::per_piece(2 * n, [&] { in_two(each, each); });
}

// boost.coroutine2: what boost has for a generator. It needs no scheduler.
double generator()
{
	using coroutine = boost::coroutines2::coroutine<int>;
	constexpr int n = 1000000;
	coroutine::pull_type next([](coroutine::push_type &yield) {
		for (int i = 0;; i++)
			yield(i);
	});
	volatile int last;

	return bench::per_piece(n, [&] {
		for (int i = 0; i < n; i++) {
			last = next.get();
			next();
		}
	});
}

} // namespace

void bench::fiber_rows()
{
	report("yield", "2 fibers", median(yield));
	report("spawn", "group enter, spawn, wait", median([] { return spawn(1, 50000); }));
	report("spawn", "per fiber, 64 in one group", median([] { return spawn(64, 1000); }));
	report("chan", "unbuffered round trip", median(round_trip));
	report("chan", "buffered send and recv", median(fill_and_drain));
	report("chan", "buffered, two fibers", median(pipeline));
	report("mutex", "lock and unlock", median(uncontended));
	report("mutex", "contended, 2 fibers", median(contended));
	report("select", "4 channels", NAN);
	report("gen", "next", median(generator));
	report("timeout", "scope with a deadline", NAN);
	if (cores == 2)
		report("cross", "spawn and wait, bursts of 1000",
		       median([] { return spawn(1000, 50); }));
}
