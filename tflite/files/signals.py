"""Random inputs for a file, and how far two activations lie apart."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfinv.tflite.files.flatbuffer import Graph


def sqnr(reference: NDArray[Any], other: NDArray[Any]) -> float:
    """Signal to quantization noise ratio in decibels: `10 log10(sum(x^2) / sum((x - y)^2))`.

    Equal arrays give 200, also where both are zero, so that the number stays finite.
    """
    reference = np.asarray(reference, np.float64)
    noise = float(np.square(reference - other).sum())
    signal = float(np.square(reference).sum())
    if noise == 0:
        return 200.0
    return float(np.clip(10 * np.log10(signal / noise), -200.0, 200.0)) if signal > 0 else -200.0


def random_inputs(graph: Graph, count: int, seed: int = 0) -> NDArray[np.float32]:
    """Seeded random inputs over the range that the input tensor stores: [0, 1] for a float one."""
    tensor = graph.tensors[graph.inputs[0]]
    low, high = tensor.real_range if tensor.is_quantized else (0.0, 1.0)
    shape = (count, *tensor.shape[1:])
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)
