"""Two evaluations in a process of their own, so that a test can interrupt the first and end the second in the middle.

    python interrupted_evaluation.py FOLDER SECONDS_PER_BLOCK

They save their states and results in FOLDER as `interrupted.npz`, `interrupted_results.npz`, `killed.npz` and
`killed_results.npz`.
"""

from __future__ import annotations

import functools
import sys
import time
import traceback
from pathlib import Path

import keras
import numpy as np

import tfinv
from tfinv.engine import passes
from tfinv.engine.checkpoint import Checkpoint
from tfinv.evaluation.options import as_objects

OPTIONS = {"plain": {}, "shards": {"confidence": 0.9, "shards": 4}, "classes": {"stratified": True}}
MEASURES = ("NormalizedVariance", "Goodfellow(percentile=0.2)", "GoodfellowNormal", "PredictionConsistency")


@functools.cache
def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(3, 3, activation="relu", name="conv")(inputs)
    x = keras.layers.Flatten(name="flat")(x)
    return keras.Model(inputs, keras.layers.Dense(4, name="logits")(x), name="small")


def evaluate(checkpoint: Checkpoint | None, kind: str, **options: object) -> tfinv.Results:
    """An evaluation of two passes in blocks of 3 samples."""
    images = np.random.default_rng(0).random((32, 8, 8, 1), dtype=np.float32)
    settings = {"labels": np.arange(32) % 2, "batch_size": 3, "progress": False, "checkpoint": checkpoint}
    settings["layers"] = ["conv", "logits"]
    settings |= OPTIONS[kind] | options
    transformations = settings.pop("transformations", "rotations(4)")
    return tfinv.evaluate(
        network(), images, transformations, settings.pop("measures", MEASURES), **as_objects(settings)
    )


def main(folder: str, seconds: str) -> None:
    one = passes.Pass._one

    def slow(self: passes.Pass, *rest: object) -> None:
        one(self, *rest)  # type: ignore[arg-type]
        time.sleep(float(seconds))
        print("block", flush=True)

    passes.Pass._one = slow  # type: ignore[method-assign]
    for name in ("interrupted", "killed"):
        try:
            evaluate(Checkpoint(Path(folder, f"{name}.npz"), every=0), "plain").save(
                Path(folder, f"{name}_results.npz")
            )
        except KeyboardInterrupt:
            traceback.print_exc()
            print("interrupted", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
