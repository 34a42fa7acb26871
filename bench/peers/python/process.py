#!/usr/bin/python3
"""bench-python - the rows of torc's pool of processes, with ProcessPoolExecutor. bench/peers/processes joins them by
bench and metric.

What differs from torc, and cannot be made equal:

  - Arguments, results and the function's name are pickled; bytes and integers here, which takes least.
  - The workers are forked from the program itself (the default of this version on Linux), when a task first needs
    them, and not by a server: a fork costs as much as the program is large, and start-up has no second program to
    load.
  - A worker that dies breaks the pool: all its tasks fail, and a new pool takes its place. That is what the rows of
    crashes have, the end of the broken one included.
  - Results come through a thread of the pool's, and arguments go through another: a round trip takes four switches
    and not two.
  - Executor.map is given chunks of 1000000 / 32 items; of 1000, 10000, 125000 and 500000 none was faster by
    more than a twentieth.

A row is repeated less where it would take seconds.
"""

import multiprocessing
import os
import signal
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import measure
from measure import check, median_s, seconds

WORKERS = 2
SMALL = 64
LARGE = 1 << 20
TRIPS = 5000
LARGE_TRIPS = 300
BATCH = 1000
BATCHES = 5
LARGE_BATCH = 8
LARGE_BATCHES = 5
ITEMS = 1000000
CHUNK = ITEMS // 32
CRASHES = 30
STARTS = 20

barrier = None  # both workers find it where it was when they were forked


def report(metric, value, unit):
    measure.report("process", metric, value, unit)


def echo(data):
    return data


def square(x):
    return x * x


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def meet():
    barrier.wait()


def report_trips(what, trip, count, unit_ns, unit):
    ns = sorted(seconds(trip) * 1e9 for _ in range(count))
    report(f"{what}, p50", ns[count // 2] / unit_ns, unit)
    report(f"{what}, p99", ns[count * 99 // 100] / unit_ns, unit)


def trip_rows(pool):
    for size, what, count, unit_ns, unit in (
        (SMALL, "64 B", TRIPS, 1, "ns"),
        (LARGE, "1 MiB", LARGE_TRIPS, 1e3, "us"),
    ):
        data = os.urandom(size)
        check(pool.submit(echo, data).result() == data, what)
        report_trips(f"round trip {what}", lambda: pool.submit(echo, data).result(), count, unit_ns, unit)


def batch_rows(pool):
    for size, what, batch, batches in (
        (SMALL, "batches of 1000, 64 B", BATCH, BATCHES),
        (LARGE, "batches of 8, 1 MiB", LARGE_BATCH, LARGE_BATCHES),
    ):
        data = os.urandom(size)

        def run():
            for _ in range(batches):
                for future in [pool.submit(echo, data) for _ in range(batch)]:
                    check(len(future.result()) == size, what)

        report(what, batch * batches / median_s(run) / 1e3, "k/s")


def map_row(pool):
    items = list(range(ITEMS))

    def run():
        check(list(pool.map(square, items, chunksize=CHUNK))[-1] == (ITEMS - 1) ** 2, "map")

    report("map, 10^6 small items", median_s(run) * 1e3, "ms")


def crash(pool):
    """Returns the pool that takes the place of this one."""
    try:
        pool.submit(die).result()
        sys.exit("a worker has survived SIGKILL")
    except BrokenProcessPool:
        pool.shutdown()
    return ProcessPoolExecutor(WORKERS)


def crash_rows():
    pool = ProcessPoolExecutor(WORKERS)

    def crashes():
        nonlocal pool
        for _ in range(CRASHES):
            pool = crash(pool)

    def crash_and_go_on():
        nonlocal pool
        pool = crash(pool)
        check(pool.submit(echo, b"x").result() == b"x", "after a crash")

    report("crash and replace", CRASHES / seconds(crashes), "/s")
    report_trips("crash to next success", crash_and_go_on, CRASHES, 1e3, "us")
    pool.shutdown()


def start_rows():
    global barrier
    up, down = [], []
    for _ in range(STARTS):
        barrier = multiprocessing.Barrier(WORKERS)
        start = time.perf_counter()
        pool = ProcessPoolExecutor(WORKERS)
        for future in [pool.submit(meet) for _ in range(WORKERS)]:
            future.result()
        up.append(time.perf_counter() - start)
        down.append(seconds(pool.shutdown))
    report("start-up", statistics.median(up) * 1e3, "ms")
    report("destroy", statistics.median(down) * 1e3, "ms")


def main():
    if len(sys.argv) > 1:
        print("bench-python: takes no arguments", file=sys.stderr)
        return 2
    start_rows()
    crash_rows()
    with ProcessPoolExecutor(WORKERS) as pool:
        trip_rows(pool)
        batch_rows(pool)
        map_row(pool)
    return 0


if __name__ == "__main__":
    sys.exit(main())
