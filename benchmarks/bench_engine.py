"""The speed of `evaluate` as ratios: to bare forward passes, to another library, and how it grows.

    python benchmarks/bench_engine.py [--only NAME ...] [--repeats 5] [--out benchmarks/results.json]

Every ratio comes from one run in which both sides take turns; the best of the repeats counts. The sides are timed after
they have been warmed up, so that building graphs and compiling count for none of them; `evaluate_seconds` in the result
is a whole call, building included.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
from engine_sides import bare, engine, warped
from harness import RESULTS, PeakMemory, in_process, interleaved, record
from networks import images, simple_conv

import tfinv
from tfinv.evaluation.arguments import block_size

SAMPLES, ROTATIONS = 96, "rotations(49)"
KEY = "NormalizedVariance"
FIVE = (KEY, "AnovaF", "NormalizedVarianceSE", "PredictionConsistency", "Goodfellow")
BARE_BATCHES = (245, 392)
"""Images in a batch of the bare passes: about as many as the engine has in a block, and the fastest found."""


def against_bare(filters: int, measures: Any, repeats: int) -> dict[str, Any]:
    """`evaluate` of all layers of SimpleConv against bare forward passes of the same images."""
    model, x = simple_conv(filters), images(SAMPLES, (28, 28, 1))
    ready = warped(x, ROTATIONS)
    sides: dict[str, Callable[[], Any]] = {f"bare {size}": bare(model, ready, size) for size in BARE_BATCHES}
    sides["all layers"] = bare(keras.Model(model.input, [layer.output for layer in model.layers[1:]]), ready, 245)
    sides["engine"] = engine(model, x, ROTATIONS, measures, block_size(None, 49))
    times = interleaved(sides, repeats)
    forward = min(times[f"bare {size}"].wall for size in BARE_BATCHES)
    start = time.perf_counter()
    tfinv.evaluate(model, x, ROTATIONS, measures, progress=False)
    return {
        "ratio": times["engine"].wall / forward,
        "all_layers_ratio": times["all layers"].wall / forward,
        "bare_seconds": forward,
        "engine_seconds": times["engine"].wall,
        "evaluate_seconds": time.perf_counter() - start,
        "processor_ratio": times["engine"].cpu / min(times[f"bare {size}"].cpu for size in BARE_BATCHES),
    }


def one_pass_ratio(repeats: int) -> dict[str, Any]:
    """NormalizedVariance on the narrow network (32 filters)."""
    return against_bare(32, KEY, repeats)


def thesis_ratio(repeats: int) -> dict[str, Any]:
    """The same on the width of the thesis (128 filters)."""
    return against_bare(128, KEY, repeats)


def five_measures_ratio(repeats: int) -> dict[str, Any]:
    """Variance, ANOVA, same-equivariance, consistency and Goodfellow together."""
    return against_bare(32, FIVE, repeats)


def mobilenet(layers: Any, repeats: int) -> dict[str, Any]:
    """MobileNetV2 with random weights at full size, 16 images under 16 rotations."""
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2(weights=None, input_shape=(224, 224, 3))
    x = images(16, (224, 224, 3))
    ready = warped(x, "rotations(16)")
    sides = {
        "bare 16": bare(model, ready, 16),
        "bare 64": bare(model, ready, 64),
        "engine": engine(model, x, "rotations(16)", KEY, block_size(None, 16), layers=layers),
    }
    times = interleaved(sides, repeats)
    with PeakMemory() as memory:
        sides["engine"]()
    forward = min(times["bare 16"].wall, times["bare 64"].wall)
    return {
        "ratio": times["engine"].wall / forward,
        "bare_seconds": forward,
        "engine_seconds": times["engine"].wall,
        "added_peak_bytes": memory.added,
        "threads": memory.threads,
    }


def mobilenet_ratio(repeats: int) -> dict[str, Any]:
    """The outputs of its convolutions and dense layers."""
    return mobilenet(["Conv2D", "DepthwiseConv2D", "Dense"], repeats)


def mobilenet_all_layers_ratio(repeats: int) -> dict[str, Any]:
    """All 155 layers."""
    return mobilenet(None, repeats)


def tmeasures_speedup(repeats: int) -> dict[str, Any]:
    """Against tmeasures 1.2.11 (PyTorch on the CPU), each in a process of its own, in turn."""
    ours, theirs = [], []
    for _ in range(repeats):
        ours.append(json.loads(in_process("speedup_sides.py", "tfinv")))
        theirs.append(json.loads(in_process("speedup_sides.py", "tmeasures")))
    mine, other = (min(run["seconds"] for run in side) for side in (ours, theirs))
    return {
        "ratio": other / mine,
        "tfinv_seconds": mine,
        "tmeasures_seconds": other,
        "largest_difference": float(np.max(np.abs(np.subtract(ours[0]["profile"], theirs[0]["profile"])))),
        "tfinv_peak_bytes": min(run["peak_bytes"] for run in ours),
        "tmeasures_peak_bytes": min(run["peak_bytes"] for run in theirs),
        "tfinv_threads": ours[0]["threads"],
        "tmeasures_threads": theirs[0]["threads"],
    }


def growth(repeats: int) -> dict[str, Any]:
    """Seconds of the engine against samples, transformations and layers, and how far from a line they lie."""
    model, curves = simple_conv(32), {}
    every = [layer.name for layer in model.layers[1:]]
    axes: dict[str, Sequence[int]] = {
        "samples": (20, 40, 60, 80),
        "transformations": (8, 16, 32, 64),
        "layers": (3, 6, 9, 12),
    }
    for axis, values in axes.items():
        sides = {}
        for value in values:
            samples = value if axis == "samples" else 40
            count = value if axis == "transformations" else 16
            # The same network runs throughout, so layers are added to its last one.
            chosen = [*every[: value - 1], every[-1]] if axis == "layers" else None
            x = images(samples, (28, 28, 1))
            sides[str(value)] = engine(model, x, f"rotations({count})", KEY, block_size(None, count), layers=chosen)
        times = interleaved(sides, repeats)
        curves[axis] = {"values": list(values), "seconds": [times[str(value)].wall for value in values]}
    return {"axes": curves}


BENCHMARKS = {
    benchmark.__name__: benchmark
    for benchmark in (
        one_pass_ratio,
        thesis_ratio,
        mobilenet_ratio,
        mobilenet_all_layers_ratio,
        five_measures_ratio,
        tmeasures_speedup,
        growth,
    )
}
TARGETS = {
    "one_pass_ratio": "<= 2.0",
    "thesis_ratio": "<= 1.4",
    "mobilenet_ratio": "<= 2.0",
    "mobilenet_all_layers_ratio": "<= 3.0",
    "five_measures_ratio": "<= 3.0",
    "tmeasures_speedup": ">= 8.0",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    for name in options.only:
        record(options.out, name, BENCHMARKS[name](options.repeats), options.repeats, TARGETS.get(name))


if __name__ == "__main__":
    main()
