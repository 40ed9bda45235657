"""tflite_ratio: what measuring a TFLite model costs, as a multiple of running it on the same images and nothing else.

    python benchmarks/bench_tflite_ratio.py [--samples 64] [--transformations "rotations(16)"]

Bare: an interpreter without preserved tensors is fed the transformed images in the same batches and invoked. Measured:
`tfinv.evaluate` with NormalizedVariance on all layers, the transformation of the images included. Both sides run in
turn, the best of five counts. The largest ratio must be at most 1.6.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from harness import interleaved

import tfinv
from tfinv import models
from tfinv.tflite import TFLiteModel, float32, static_int8
from tfinv.tflite.interpreter import Runner
from tfinv.transformations import parse, warp

TARGET = 1.6


def subjects(images: np.ndarray) -> dict[str, TFLiteModel]:
    """Files to measure: real ones where TFINV_DATA names them, otherwise two made here, float and int8."""
    folder = os.environ.get("TFINV_DATA")
    if folder:
        root = Path(folder) / "models" / "ic_resnet8"
        return {f"ResNet-8 {n}": TFLiteModel(root / f"{n}.tflite", input_scale="0..255") for n in ("float", "int8")}
    network = models.build("resnet", images.shape[1:], 10)
    return {"ResNet float": TFLiteModel(float32(network)), "ResNet int8": TFLiteModel(static_int8(network, images))}


def ratio(model: TFLiteModel, images: np.ndarray, transformations: str) -> tuple[float, float]:
    """Seconds measured and bare."""
    members = parse(transformations)
    shown = np.asarray(warp(images, members)).reshape(-1, *images.shape[1:])
    bare = Runner(model.graph, model.batch_size, model.runner.threads, preserve=False)
    inputs = model.model_inputs(shown)

    def run_bare() -> None:
        for start in range(0, len(inputs), bare.batch):
            bare.feed(inputs[start : start + bare.batch])
            bare.interpreter.invoke()

    def run_measured() -> None:
        tfinv.evaluate(model, images, members, "NormalizedVariance", progress=False)

    times = interleaved({"bare": run_bare, "measured": run_measured})
    return times["measured"].wall, times["bare"].wall


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--transformations", default="rotations(16)")
    options = parser.parse_args()
    images = np.random.default_rng(0).random((options.samples, 32, 32, 3), "float32")
    worst = 0.0
    for name, model in subjects(images).items():
        measured, bare = ratio(model, images, options.transformations)
        worst = max(worst, measured / bare)
        print(f"tflite_ratio {name:16} {measured / bare:.2f}  (measured {measured:.3f} s, bare {bare:.3f} s)")
    print(f"tflite_ratio {worst:.2f}, target {TARGET}")
    return int(worst > TARGET)


if __name__ == "__main__":
    sys.exit(main())
