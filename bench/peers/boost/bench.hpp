// bench.hpp - what the rows of bench-boost share: where fibers run.
#pragma once

#include "../measure.hpp"

#include <boost/fiber/all.hpp>

namespace bench
{

extern int cores; // 1 or 2

// Binds the calling thread to one of the cores that the program may use.
void pin(int core);

void fiber_rows(); // in a fiber: on one thread or, with two cores, on either of two that steal
void cross_rows(); // outside of fibers: two threads that share nothing but the channel

} // namespace bench
