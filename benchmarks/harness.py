"""Time several sides of a comparison in turn, so that what else the machine does hits all of them alike."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfinv.support import environment
from tfinv.support.files import write_json

REPEATS = 5
RESULTS = Path(__file__).parent / "results.json"


@dataclass(frozen=True)
class Timing:
    """The best of several runs.

    Args:
        wall: seconds.
        cpu: seconds of all cores together.
    """

    wall: float
    cpu: float


def interleaved(sides: Mapping[str, Callable[[], Any]], repeats: int = REPEATS) -> dict[str, Timing]:
    """Best times of each side: one run of each to warm up, then `repeats` rounds of all sides in turn."""
    runs: dict[str, list[Timing]] = {name: [] for name in sides}
    for number in range(repeats + 1):
        for name, run in sides.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            if number:
                runs[name].append(Timing(time.perf_counter() - wall, time.process_time() - cpu))
    return {
        name: Timing(min(timing.wall for timing in timings), min(timing.cpu for timing in timings))
        for name, timings in runs.items()
    }


def record(path: Path, name: str, details: Mapping[str, Any], repeats: int, target: str | None = None) -> None:
    """Print a result and keep it in the file of all results.

    Args:
        path: `results.json`; other benchmarks' results in it are kept.
        name: of the benchmark.
        details: numbers by name; `ratio` is the result itself.
        repeats: how often each side ran.
        target: what the ratio should be.
    """
    results = json.loads(path.read_text()) if path.exists() else {}
    results[name] = details.get("ratio")
    results.setdefault("details", {})[name] = {**details, "load": os.getloadavg()[0], "repeats": repeats}
    results["environment"] = environment.describe()
    write_json(path, results)
    text = "" if results[name] is None else f"{results[name]:.2f}  ({target})"
    print(f"{name:28} {text}", flush=True)
    for entry, value in details.items():
        if isinstance(value, (int, float)) and entry != "ratio":
            print(f"    {entry:24} {value:.4g}")


class PeakMemory:
    """Peak resident memory of this process while a block runs, above what it had before, and the most threads."""

    def __enter__(self) -> PeakMemory:
        self.start = _status()["VmRSS"]
        self.peak, self.threads, self._stop = self.start, 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def added(self) -> int:
        """Bytes above the start."""
        return self.peak - self.start

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            now = _status()
            self.peak, self.threads = max(self.peak, now["VmRSS"]), max(self.threads, now["Threads"])


def _status() -> dict[str, int]:
    """Resident memory of this process in bytes, and its threads."""
    numbers = {"VmRSS": 0, "Threads": 0}
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in numbers:
            number, *unit = rest.split()
            numbers[name] = int(number) * (1024 if unit else 1)
    return numbers


def own_peak() -> int:
    """Peak resident memory of this process in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def in_process(script: str, *arguments: str) -> str:
    """The last line that a script of this folder prints, run in a process of its own."""
    path = Path(__file__).parent / script
    done = subprocess.run([sys.executable, str(path), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip().splitlines()[-1]
