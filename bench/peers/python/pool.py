#!/usr/bin/python3
"""bench-python - the rows of torc's executor, with ThreadPoolExecutor. bench/peers/pool joins them by bench
and metric.

What differs from torc, and cannot be made equal:

  - One thread at a time runs Python (the GIL): two workers share the work, they do not halve it.
  - A task that waits for another holds its worker, and a pool of two would soon wait for itself: there are
    no rows of fork.
  - Executor.map starts a task for each item; its chunksize is for pools of processes. The row of map is the
    better of that and of chunks of 1000 made by hand, and has 10^5 items; what an item takes is the same.
  - A worker starts when it is first needed, and none before the warm-up.

Sizes are smaller than in the other languages, and a row is repeated less where it would take seconds.
"""

import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from measure import check, median_s, repeated, report

WORKERS = 2
TRIPS = 5000
BATCH = 1000
BATCHES = 5
ITEMS = 100000
CHUNK = 1000
SLEEPS = 10000
SLEEPERS = 512


def number(i):
    return i


def square(x):
    return x * x


def squares(chunk):
    return [square(x) for x in chunk]


def trips(pool):
    """Two percentiles of single trips, in ns."""
    ns = []
    for _ in range(TRIPS):
        start = time.perf_counter_ns()
        pool.submit(number, 1).result()
        ns.append(time.perf_counter_ns() - start)
    ns.sort()
    return ns[TRIPS // 2], ns[TRIPS * 99 // 100]


def batches(pool):
    for _ in range(BATCHES):
        futures = [pool.submit(number, i) for i in range(BATCH)]
        for i, future in enumerate(futures):
            check(future.result() == i, "batches of 1000")


def submit_rows(pool):
    p50, p99 = zip(*repeated(lambda: trips(pool)))
    report("submit", "round trip, p50", statistics.median(p50), "ns")
    report("submit", "round trip, p99", statistics.median(p99), "ns")
    took = median_s(lambda: batches(pool))
    report("submit", "batches of 1000", BATCH * BATCHES / took / 1e6, "M/s")


def map_rows(pool):
    items = list(range(ITEMS))

    def by_item():
        return list(pool.map(square, items))

    def by_chunk():
        chunks = (items[i : i + CHUNK] for i in range(0, ITEMS, CHUNK))
        return [x for part in pool.map(squares, chunks) for x in part]

    check(by_item() == by_chunk() == squares(items), "10^6 small items")
    item, chunk = median_s(by_item) / ITEMS * 1e9, median_s(by_chunk) / ITEMS * 1e9
    report("map", "10^6 small items", min(item, chunk), "ns")
    report("map", "10^6 small items, a task each", item, "ns")


def offload_row():
    with ThreadPoolExecutor(SLEEPERS) as pool:

        def sleeps():
            for future in [pool.submit(time.sleep, 0.001) for _ in range(SLEEPS)]:
                future.result()

        report("offload", "10000 sleeps of 1 ms", median_s(sleeps) * 1e3, "ms")


def main():
    if len(sys.argv) > 1:
        print("bench-python: takes no arguments", file=sys.stderr)
        return 2
    with ThreadPoolExecutor(WORKERS) as pool:
        submit_rows(pool)
        map_rows(pool)
    offload_row()
    return 0


if __name__ == "__main__":
    sys.exit(main())
