"""Two workers of one thread against one process of two threads, in one run.

    python benchmarks/bench_scale.py [--samples 2000] [--repeats 3] [--out benchmarks/results.json]

The sides take turns. Workers live on between evaluations, as they do in use: what it takes to start them is told apart.
Processor time is that of the driver and of all workers.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "2")

from harness import RESULTS, record
from networks import images, simple_conv

import tfinv
from tfinv.engine.local_team import Local

WORKERS = 2
SET, KEY = "rotations(16)", "NormalizedVariance"


def processor_seconds() -> float:
    """Of the worker that runs this."""
    return time.process_time()


def worker_seconds(team: Local) -> float:
    """Of all workers together: each is asked while the others are kept busy."""
    tasks = [team.submit(asked, 0.2) for _ in range(WORKERS)]
    return sum(dict(task.result() for task in tasks).values())


def asked(pause: float) -> tuple[int, float]:
    """Number of the process and its processor seconds."""
    time.sleep(pause)
    return os.getpid(), processor_seconds()


def scale(samples: int, repeats: int) -> dict[str, Any]:
    """Wall and processor seconds of both sides, and of an empty task."""
    model, x = simple_conv(16), images(samples, (28, 28, 1))
    team = Local(WORKERS)
    start = time.perf_counter()
    worker_seconds(team)
    processes = time.perf_counter() - start

    def one() -> None:
        tfinv.evaluate(model, x, SET, KEY, progress=False)

    def two() -> None:
        tfinv.evaluate(model, x, SET, KEY, progress=False, distribute=WORKERS)

    times: dict[str, list[tuple[float, float]]] = {"one": [], "two": []}
    first = 0.0
    for number in range(repeats + 1):
        for name, run in (("one", one), ("two", two)):
            before, start = worker_seconds(team) + time.process_time(), time.perf_counter()
            run()
            wall = time.perf_counter() - start
            used = worker_seconds(team) + time.process_time() - before
            if number:
                times[name].append((wall, used))
            elif name == "two":
                first = wall
    start = time.perf_counter()
    for task in [team.submit(asked, 0.0) for _ in range(100)]:
        task.result()
    overhead = (time.perf_counter() - start) / 100
    team.close()
    best = {name: tuple(min(values) for values in zip(*runs, strict=True)) for name, runs in times.items()}
    return {
        "ratio": best["two"][0] / best["one"][0],
        "processor_ratio": best["two"][1] / best["one"][1],
        "one_process_seconds": best["one"][0],
        "two_workers_seconds": best["two"][0],
        "one_process_processor_seconds": best["one"][1],
        "two_workers_processor_seconds": best["two"][1],
        "processes_start_seconds": processes,
        "first_evaluation_extra_seconds": first - best["two"][0],
        "empty_task_seconds": overhead,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    record(
        options.out, "scale", scale(options.samples, options.repeats), options.repeats, "at most 1.0; processor 1.15"
    )


if __name__ == "__main__":
    main()
