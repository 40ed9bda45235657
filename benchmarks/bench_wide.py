"""wide_overhead: the time of `compare` of a wide network, as a multiple of its forward passes alone.

    python benchmarks/bench_wide.py [--samples 100] [--transformations "rotations(8)"] [--out benchmarks/results.json]

The network has 1.6 million units in 16 layers of 112x112 pixels. Forward passes: both files see all transformed images
twice, once with all tensors preserved for the layers and once for the predictions. Everything else is the overhead: the
transformations, the statistics, the jackknife, matching, latencies, the results file and the report. It may take 20 %
of the whole time, which is a ratio of 1.25. Its share falls with the number of images.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from harness import RESULTS, record

from tfinv.tflite import Subsets, TFLiteModel, compare_files, float32, static_int8
from tfinv.transformations import parse, warp

TARGET = 1.25
SIZE, CHANNELS, LAYERS = 112, 8, 16
AT_ONCE = 8
"""Images that are transformed together."""


def network() -> keras.Model:
    """Convolutions of equal size, and a classifier."""
    keras.utils.set_random_seed(0)
    inputs = x = keras.Input((SIZE, SIZE, 3))
    for number in range(LAYERS):
        x = keras.layers.Conv2D(CHANNELS, 3, padding="same", activation="relu", name=f"conv{number}")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, keras.layers.Dense(10, name="logits")(x))


def seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def forward(models: list[TFLiteModel], images: np.ndarray, transformations: str) -> float:
    """Seconds of the forward passes of a comparison."""
    members, total = parse(transformations), 0.0
    for start in range(0, len(images), AT_ONCE):
        shown = np.asarray(warp(images[start : start + AT_ONCE], members)).reshape(-1, *images.shape[1:])
        for model in models:
            runner, inputs = model.runner, model.model_inputs(shown)

            def run(runner: Any = runner, inputs: np.ndarray = inputs) -> None:
                for first in range(0, len(inputs), runner.batch):
                    runner.feed(inputs[first : first + runner.batch])
                    runner.interpreter.invoke()

            total += 2 * seconds(run)
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--transformations", default="rotations(8)")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    coarse = np.random.default_rng(0).random((options.samples, 14, 14, 3), "float32")
    images = np.asarray(keras.ops.image.resize(coarse, (SIZE, SIZE)), np.float32)
    keras_model = network()
    before, after = TFLiteModel(float32(keras_model)), TFLiteModel(static_int8(keras_model, images[:16]))
    compare_files(before, after, images[:8], "rotations(2)", progress=False)  # compiles the loops
    bare = forward([before, after], images, options.transformations)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "comparison.npz"
        subsets = Subsets(fidelity_samples=32)
        made: list[Any] = []
        comparing = seconds(
            lambda: made.append(
                compare_files(before, after, images, options.transformations, subsets=subsets, progress=False)
            )
        )
        saving = seconds(lambda: made[0].save(path))
        reporting = seconds(lambda: made[0].report(Path(folder) / "report"))
        size = path.stat().st_size
    whole = comparing + saving + reporting
    details = {
        "ratio": whole / bare,
        "share_beside_forward": 1 - bare / whole,
        "units": sum(int(np.prod(shape)) for shape in before.layer_shapes.values()),
        "samples": options.samples,
        "forward_seconds": bare,
        "compare_seconds": comparing,
        "save_seconds": saving,
        "report_seconds": reporting,
        "results_megabytes": size / 1e6,
    }
    record(options.out, "wide_overhead", details, 1, f"<= {TARGET}")
    return int(details["ratio"] > TARGET)


if __name__ == "__main__":
    sys.exit(main())
