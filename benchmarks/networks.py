"""The networks that the benchmarks measure, in Keras, and the first of them in PyTorch for its competitor."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


def simple_conv(filters: int, dense: int = 128) -> keras.Model:
    """The five-convolution network of the thesis on 28x28x1 images: 17 layers, ELU, logits."""
    layers = keras.layers
    inputs = x = keras.Input((28, 28, 1), name="images")
    for name, width, pool in (("a", 1, False), ("b", 1, True), ("c", 2, False), ("d", 2, True), ("e", 4, False)):
        x = layers.Conv2D(filters * width, 3, padding="same", name=f"conv_{name}")(x)
        x = layers.ELU(name=f"elu_{name}")(x)
        if pool:
            x = layers.MaxPooling2D(name=f"pool_{name}")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.ELU(name="elu_f")(layers.Dense(dense, name="dense")(x))
    return keras.Model(inputs, layers.Dense(10, name="logits")(x), name=f"simple_conv_f{filters}")


def torch_simple_conv(model: keras.Model) -> Any:
    """The same network with the same weights in PyTorch."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch import nn  # pyright: ignore[reportMissingImports]

    filters = model.get_layer("conv_a").filters
    dense = model.get_layer("dense").units
    steps: list[Any] = []
    before = 1
    for width, pool in ((1, False), (1, True), (2, False), (2, True), (4, False)):
        steps += [nn.Conv2d(before, filters * width, 3, padding=1), nn.ELU()]
        steps += [nn.MaxPool2d(2)] if pool else []
        before = filters * width
    steps += [nn.Flatten(), nn.Linear(49 * before, dense), nn.ELU(), nn.Linear(dense, 10)]
    network = nn.Sequential(*steps).eval()
    with_weights = [module for module in network if hasattr(module, "weight")]
    names = [*(f"conv_{letter}" for letter in "abcde"), "dense", "logits"]
    with torch.no_grad():
        for module, name in zip(with_weights, names, strict=True):
            kernel, bias = (np.array(weight) for weight in model.get_layer(name).get_weights())
            if kernel.ndim == 4:
                kernel = kernel.transpose(3, 2, 0, 1)
            elif name == "dense":
                # Flattening puts channels first there, last here.
                kernel = kernel.reshape(7, 7, before, -1).transpose(3, 2, 0, 1).reshape(dense, -1)
            else:
                kernel = kernel.T
            module.weight.copy_(torch.from_numpy(np.ascontiguousarray(kernel)))
            module.bias.copy_(torch.from_numpy(bias))
    return network


def images(count: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Random images in [0, 1]."""
    return np.random.default_rng(0).random((count, *shape), dtype=np.float32)
