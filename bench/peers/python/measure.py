"""What the Python peers share: how a row is measured, and how it is told."""

import json
import statistics
import sys
import time

REPEATS = 7
REPEATS_S = 1  # no repeat begins after so many seconds


def report(bench, metric, value, unit):
    row = {"bench": bench, "metric": metric, "value": float(f"{value:.6g}"), "unit": unit}
    print(json.dumps(row, separators=(",", ":")), flush=True)


def repeated(measure):
    """Measures once to warm up, then REPEATS times, as torc-bench does."""
    start = time.monotonic()
    measure()
    results = [measure()]
    while len(results) < REPEATS and time.monotonic() - start < REPEATS_S:
        results.append(measure())
    return results


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def median_s(work):
    return statistics.median(repeated(lambda: seconds(work)))


def check(right, what):
    if not right:
        sys.exit(f"wrong result: {what}")
