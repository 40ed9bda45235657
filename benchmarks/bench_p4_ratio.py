"""What a P4 convolution costs in training, against a plain convolution of the same output channels.

    python benchmarks/bench_p4_ratio.py

Forward and backward pass of 32 -> 32 channels (8 maps of 4 turns), 3x3, on 32 images of 28x28 pixels, compiled. Both
sides run in turns, and the ratio is that of the fastest of all runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfinv.layers import P4Conv2D

LARGEST_RATIO = 1.15
MAPS, SIZE, IMAGES, RUNS = 8, 28, 32, 60


def step_of(layer: Any, images: Any) -> Callable[[], Any]:
    """One compiled training step without an optimiser."""
    layer.build(images.shape)

    @tf.function
    def step() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(images)
            loss = tf.reduce_sum(tf.square(layer(images)))
        return tape.gradient(loss, [images, *(weight.value for weight in layer.trainable_variables)])

    return step


def seconds(step: Callable[[], Any]) -> float:
    start = time.perf_counter()
    for gradient in step():
        np.asarray(gradient)
    return time.perf_counter() - start


def p4_ratio() -> float:
    """Time of the P4 layer over that of the plain one."""
    images = tf.constant(np.random.default_rng(0).random((IMAGES, SIZE, SIZE, 4 * MAPS), dtype=np.float32))
    steps = {
        "plain": step_of(keras.layers.Conv2D(4 * MAPS, 3), images),
        "p4": step_of(P4Conv2D(MAPS, 3), images),
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(RUNS):
        for name, step in steps.items():
            times[name].append(seconds(step))
    return min(times["p4"]) / min(times["plain"])


if __name__ == "__main__":
    ratio = p4_ratio()
    print(f"p4_ratio: {ratio:.3f}, at most {LARGEST_RATIO}")
    raise SystemExit(ratio > LARGEST_RATIO)
