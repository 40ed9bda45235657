"""Images, turns and files for the tests of group convolutions."""

from __future__ import annotations

import keras
import numpy as np
from ai_edge_litert import interpreter

from tfinv import datasets
from tfinv.transformations.groups import GROUPS


def turned(images: np.ndarray, group: str, element: int) -> np.ndarray:
    return np.stack([GROUPS[group].turned(image, element) for image in images])


def images(count: int, size: int = 28, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(3).random((count, size, size, channels), dtype=np.float32)


def restless(model: keras.Model, seed: int = 0) -> keras.Model:
    """Biases, offsets and moving statistics as after training, instead of zeros and ones."""
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        if len(weight.shape) == 1:
            spread = generator.uniform(0.5, 1.5, weight.shape)
            weight.assign(spread if weight.name in ("gamma", "moving_variance") else 0.3 * (spread - 1))
    return model


def digits(count: int = 64) -> np.ndarray:
    """Real images: handwritten digits in a black frame of 28x28 pixels."""
    x = datasets.load("digits").test.subset(count, seed=0).x
    border = (28 - x.shape[1]) // 2
    return np.pad(x, ((0, 0), (border, border), (border, border), (0, 0)))


def run_file(content: bytes, inputs: np.ndarray, kernels: str) -> np.ndarray:
    """The output of a file by XNNPACK or by the reference kernels, for all images at once."""
    kinds = interpreter.OpResolverType
    runner = interpreter.Interpreter(
        model_content=content,
        num_threads=1,
        experimental_op_resolver_type=kinds.AUTO if kernels == "xnnpack" else kinds.BUILTIN_REF,
    )
    runner.resize_tensor_input(runner.get_input_details()[0]["index"], inputs.shape)
    runner.allocate_tensors()
    runner.set_tensor(runner.get_input_details()[0]["index"], inputs)
    runner.invoke()
    return runner.get_tensor(runner.get_output_details()[0]["index"])
