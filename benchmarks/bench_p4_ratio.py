"""p4_ratio: what a P4 convolution costs in training, as a multiple of a plain one with the same output channels.

    python benchmarks/bench_p4_ratio.py [--repeats 30] [--out benchmarks/results.json]

Forward and backward pass of a 3x3 convolution on 64 images, compiled, at the sizes of a small network: the wider the
layer and the smaller its maps, the more the bank of turned kernels costs beside the convolution. All sides run in turn,
and the best of all runs counts. The largest ratio must be at most 1.15, and the layer must be one operator in TFLite.
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
from harness import RESULTS, interleaved, record

from tfinv import tflite
from tfinv.layers import P4Conv2D
from tfinv.support.lazy import keras, tf

TARGET = 1.15
SIZES = ((8, 28), (16, 14), (32, 14))
"""Maps of 4 channels, and pixels a side."""
IMAGES, STEPS = 64, 4


def steps_of(layer: Any, images: Any) -> Callable[[], None]:
    """Some compiled training steps without an optimiser."""
    layer.build(images.shape)
    sources = [images, *(weight.value for weight in layer.trainable_variables)]

    @tf.function
    def step() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(images)
            loss = tf.reduce_sum(tf.square(layer(images)))
        return tape.gradient(loss, sources)

    def run() -> None:
        for _ in range(STEPS):
            for gradient in step():
                gradient.numpy()

    return run


def operators(layer: Any, maps: int, size: int) -> dict[str, int]:
    """What the layer becomes in a `.tflite` file."""
    image = keras.Input((size, size, 4 * maps))
    return tflite.float32(keras.Model(image, layer(image))).operators


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    details: dict[str, Any] = {}
    for maps, size in SIZES:
        images = tf.constant(np.random.default_rng(0).random((IMAGES, size, size, 4 * maps), dtype=np.float32))
        sides = {
            "plain": steps_of(keras.layers.Conv2D(4 * maps, 3), images),
            "p4": steps_of(P4Conv2D(maps, 3), images),
        }
        times = interleaved(sides, arguments.repeats)
        name = f"{maps} maps {size}x{size}"
        details[f"{name} ratio"] = times["p4"].wall / times["plain"].wall
        details[f"{name} processor_ratio"] = times["p4"].cpu / times["plain"].cpu
        details[f"{name} plain_ms"] = 1000 * times["plain"].wall / STEPS
        details[f"{name} p4_ms"] = 1000 * times["p4"].wall / STEPS
        details[f"{name} operators"] = sum(operators(P4Conv2D(maps, 3, name="conv"), maps, size).values())
    ratio = max(details[f"{maps} maps {size}x{size} ratio"] for maps, size in SIZES)
    single = all(details[f"{maps} maps {size}x{size} operators"] == 1 for maps, size in SIZES)
    record(arguments.out, "p4_ratio", {"ratio": ratio, **details}, arguments.repeats, f"at most {TARGET}")
    return 0 if ratio <= TARGET and single else 1


if __name__ == "__main__":
    sys.exit(main())
