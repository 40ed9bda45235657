"""answers_ratio: the time of `compare` with worst cases, flips by kind and class and calibration, over that without.

    python benchmarks/bench_answers.py [--samples 256] [--repeats 3] [--out benchmarks/results.json]

Without: the same images without labels, from which none of these can be computed. Both sides run in turn, the best of
several counts. Nothing is shown to the files again: `forward_images` counts the images that interpreters were fed on
either side. Those with labels are also checked for a wrong scale of the input, which shows 200 images to both files at
every scale; these are counted as `scale_check_images` and their time is part of the ratio. It must be at most 1.15.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from bench_tflite_ratio import subjects
from harness import RESULTS, interleaved, record

from tfinv.tflite import compare_files
from tfinv.tflite.comparison.compare_files import SCALE_SAMPLES
from tfinv.tflite.files.checks import check_input_scale
from tfinv.tflite.files.interpreter import Runner

TARGET = 1.15
MEASURE = "NormalizedVariance"


class Fed:
    """Counts the images that interpreters are fed while a block runs."""

    def __enter__(self) -> Fed:
        self.images, self._feed = 0, Runner.feed

        def feed(runner: Runner, inputs: np.ndarray) -> None:
            self.images += len(inputs)
            self._feed(runner, inputs)

        Runner.feed = feed  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        Runner.feed = self._feed  # type: ignore[method-assign]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--transformations", default="rotations(16)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    images, labels = rng.random((options.samples, 32, 32, 3), "float32"), rng.integers(10, size=options.samples)
    before, after = subjects(images).values()

    def side(data: Any) -> Any:
        arguments = {"measures": MEASURE, "names": ("float", "int8"), "progress": False}
        return lambda: compare_files(before, after, data, options.transformations, **arguments)

    sides = {"with": side((images, labels)), "without": side(images)}
    fed = {}
    for name, run in sides.items():
        with Fed() as counter:
            run()
        fed[name] = counter.images
    with Fed() as counter:
        for model in [before, after]:
            check_input_scale(model, images[:SCALE_SAMPLES], labels[:SCALE_SAMPLES])
    times = interleaved(sides, options.repeats)
    details = {
        "ratio": times["with"].wall / times["without"].wall,
        "processor_ratio": times["with"].cpu / times["without"].cpu,
        **{f"{name}_seconds": time.wall for name, time in times.items()},
        **{f"forward_images_{name}": count for name, count in fed.items()},
        "scale_check_images": counter.images,
    }
    record(options.out, "answers_ratio", details, options.repeats, f"<= {TARGET}")
    return int(details["ratio"] > TARGET)


if __name__ == "__main__":
    sys.exit(main())
