"""tflite_ratio: what measuring a TFLite model costs, as a multiple of running it on the same images and nothing else.

    python benchmarks/bench_tflite_ratio.py [--samples 512] [--repeats 5] [--out benchmarks/results.json]

Bare: an interpreter without preserved tensors is fed images that are transformed already, and invoked, at the faster of
two batch sizes. Measured: the engine of `tfinv.evaluate` with NormalizedVariance on all layers, the transformation of
the images included; `evaluate_ratio` in the result is the whole call. All sides run in turn, the best of five counts.
The largest ratio must be at most 1.6.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from engine_sides import engine
from harness import RESULTS, interleaved, record

import tfinv
from tfinv import models
from tfinv.evaluation.arguments import block_size
from tfinv.tflite import TFLiteModel, float32, static_int8
from tfinv.tflite.files.interpreter import Runner
from tfinv.transformations import parse, warp

TARGET = 1.6
KEY = "NormalizedVariance"
BARE_BATCHES = (16, 32)
"""Images in an invocation of the bare side: the fastest found."""


def subjects(images: np.ndarray) -> dict[str, TFLiteModel]:
    """Files to measure: real ones where TFINV_DATA names them, otherwise two made here, float and int8."""
    folder = os.environ.get("TFINV_DATA")
    if folder:
        root = Path(folder) / "models" / "ic_resnet8"
        return {f"ResNet-8 {n}": TFLiteModel(root / f"{n}.tflite", input_scale="0..255") for n in ("float", "int8")}
    network = models.build("resnet", images.shape[1:], 10)
    return {"ResNet float": TFLiteModel(float32(network)), "ResNet int8": TFLiteModel(static_int8(network, images))}


def ratio(model: TFLiteModel, images: np.ndarray, transformations: str, repeats: int) -> dict[str, float]:
    """Seconds of each side, and how often the measured one takes the bare one's time."""
    members = parse(transformations)
    shown = np.asarray(warp(images, members)).reshape(-1, *images.shape[1:])
    inputs = model.model_inputs(shown)

    def bare(batch: int) -> Callable[[], None]:
        runner = Runner(model.graph, batch, model.threads, preserve=False)

        def run() -> None:
            for start in range(0, len(inputs), runner.batch):
                runner.feed(inputs[start : start + runner.batch])
                runner.interpreter.invoke()

        return run

    sides: dict[str, Callable[[], Any]] = {f"bare {batch}": bare(batch) for batch in BARE_BATCHES}
    sides["engine"] = engine(model, images, transformations, KEY, block_size(None, len(members)))
    sides["evaluate"] = lambda: tfinv.evaluate(model, images, members, KEY, progress=False)
    times = interleaved(sides, repeats)
    seconds = min(times[f"bare {batch}"].wall for batch in BARE_BATCHES)
    return {
        "ratio": times["engine"].wall / seconds,
        "evaluate_ratio": times["evaluate"].wall / seconds,
        "bare_seconds": seconds,
        "engine_seconds": times["engine"].wall,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--transformations", default="rotations(16)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    images = np.random.default_rng(0).random((options.samples, 32, 32, 3), "float32")
    details: dict[str, float] = {}
    for name, model in subjects(images).items():
        entries = ratio(model, images, options.transformations, options.repeats)
        details |= {f"{name} {entry}": value for entry, value in entries.items()}
    details["ratio"] = max(value for entry, value in details.items() if entry.endswith(" ratio"))
    record(options.out, "tflite_ratio", details, options.repeats, f"<= {TARGET}")
    return int(details["ratio"] > TARGET)


if __name__ == "__main__":
    sys.exit(main())
