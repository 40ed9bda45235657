"""The warp and `evaluate` on an accelerator; without one it says so and ends.

    python benchmarks/bench_accelerator.py [--samples 256] [--repeats 5] [--workers 1] [--out benchmarks/results.json]

What is told: samples x transformations a second of the warp on the device and on the processor, `evaluate` against bare
forward passes of images that are warped already, the share of the time of `evaluate` that is no forward pass, so that
the device waits or warps, and the memory that the device held at most. With `--workers`, one process a device.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import tensorflow as tf
from harness import RESULTS, interleaved, record
from networks import images, simple_conv

import tfinv
from tfinv.transformations import as_set, warp

SET, KEY = "rotations(16)", "NormalizedVariance"
BATCH = 16


def warp_rates(samples: int, repeats: int, device: str) -> dict[str, float]:
    """Samples x transformations a second of the warp, on the device and on the processor."""
    x, chosen = images(samples, (96, 96, 3)), as_set(SET)
    step = tf.function(lambda block: tf.reduce_sum(warp(block, chosen)), autograph=False)

    def on(place: str) -> Any:
        def run() -> None:
            with tf.device(place):
                total = sum(float(step(tf.constant(x[start : start + BATCH]))) for start in range(0, samples, BATCH))
            assert total == total

        return run

    times = interleaved({"device": on(device), "processor": on("/CPU:0")}, repeats)
    return {f"warp_{name}_per_second": samples * len(chosen) / timing.wall for name, timing in times.items()}


def evaluation(samples: int, repeats: int, device: str, workers: int) -> dict[str, float]:
    """`evaluate` against bare forward passes of the same images on the device, and the memory that it held."""
    model, x, chosen = simple_conv(32), images(samples, (28, 28, 1)), as_set(SET)
    ready = [tf.reshape(warp(x[start : start + BATCH], chosen), (-1, 28, 28, 1)) for start in range(0, samples, BATCH)]
    forward = tf.function(lambda block: tf.reduce_sum(model(block, training=False)), autograph=False)

    def bare() -> None:
        with tf.device(device):
            for block in ready:
                float(forward(block))

    def evaluate() -> None:
        distribute = workers if workers > 1 else None
        tfinv.evaluate(model, x, SET, KEY, batch_size=BATCH, progress=False, distribute=distribute)

    tf.config.experimental.reset_memory_stats(device.removeprefix("/"))
    times = interleaved({"bare": bare, "evaluate": evaluate}, repeats)
    held = tf.config.experimental.get_memory_info(device.removeprefix("/"))["peak"]
    return {
        "ratio": times["evaluate"].wall / times["bare"].wall,
        "share_outside_forwards": 1 - times["bare"].wall / times["evaluate"].wall,
        "bare_seconds": times["bare"].wall,
        "evaluate_seconds": times["evaluate"].wall,
        "device_bytes": float(held),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    devices = tf.config.list_physical_devices("GPU")
    if not devices:
        print("no accelerator")
        return
    name = tf.config.experimental.get_device_details(devices[0]).get("device_name", "unknown")
    start = time.perf_counter()
    details: dict[str, Any] = {"device": name, "devices": len(devices), "workers": options.workers}
    details |= warp_rates(options.samples, options.repeats, "/GPU:0")
    details |= evaluation(options.samples, options.repeats, "/GPU:0", options.workers)
    details["seconds"] = time.perf_counter() - start
    print(f"on {name}")
    record(options.out, "accelerator", details, options.repeats, "no target yet")


if __name__ == "__main__":
    main()
