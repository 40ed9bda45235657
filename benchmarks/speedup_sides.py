"""One side of the comparison with tmeasures, alone in its process: prints seconds, memory, threads and profile as JSON.

    python benchmarks/speedup_sides.py {tfinv,tmeasures}

Both sides get the same images under the same transformations and the same weights; both read every layer of the network
and compute the normalized variance of every unit, on two threads. Warping counts for tfinv and not for tmeasures, which
looks the images up.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
from engine_sides import warped
from harness import PeakMemory
from networks import images, simple_conv, torch_simple_conv

import tfinv

SAMPLES, ROTATIONS, COUNT = 96, "rotations(49)", 49
CALLS = 2
"""Calls of each side in its process; the best counts."""


def with_tfinv(model: keras.Model, x: np.ndarray) -> tuple[Any, float]:
    """A whole call of `evaluate`, warping and building graphs included."""
    start = time.perf_counter()
    results = tfinv.evaluate(model, x, ROTATIONS, "NormalizedVariance", progress=False)
    seconds = time.perf_counter() - start
    return [layer.mean for layer in results["NormalizedVariance"].values()], seconds


def with_tmeasures(model: keras.Model, x: np.ndarray) -> tuple[Any, float]:
    """Its PyTorch measure; the transformations look up what was warped already."""
    import tmeasures as tm  # pyright: ignore[reportMissingImports]
    import torch  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(2)
    ready = torch.from_numpy(warped(x, ROTATIONS).reshape(SAMPLES, COUNT, 28, 28, 1).transpose(0, 1, 4, 2, 3).copy())
    columns = [lambda index, column=column: ready[int(index), column] for column in range(COUNT)]
    network = tm.pytorch.AutoActivationsModule(torch_simple_conv(model))
    options = tm.pytorch.PyTorchMeasureOptions(batch_size=64, verbose=False)
    start = time.perf_counter()
    with torch.no_grad():
        result = tm.pytorch.NormalizedVarianceInvariance().eval(torch.arange(SAMPLES), columns, network, options)
    seconds = time.perf_counter() - start
    layers = [np.asarray(layer) for layer in result.numpy().layers]
    return [float(layer[np.isfinite(layer)].mean()) for layer in layers], seconds


def main() -> None:
    keras.utils.set_random_seed(0)
    model, x = simple_conv(32), images(SAMPLES, (28, 28, 1))
    if sys.argv[1] == "tfinv":
        # The compiled loop is in its cache after the first installation's first run.
        tfinv.evaluate(model, x[:4], "rotations(3)", "NormalizedVariance", progress=False)
    side, runs = {"tfinv": with_tfinv, "tmeasures": with_tmeasures}[sys.argv[1]], []
    with PeakMemory() as memory:
        for _ in range(CALLS):
            profile, seconds = side(model, x)
            runs.append(seconds)
    measured = {"seconds": min(runs), "peak_bytes": memory.peak, "threads": memory.threads, "profile": profile}
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
