"""Train the networks that tests share and store their weights: `python tests/train_networks.py`, about a minute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from qat_models import rich_model
from shared_models import STORED
from tflite_models import digits, plain_network, residual_network

from tfinv import datasets
from tfinv.support.types import KerasModel
from tfinv.training import train


def trained(build: Callable[[], KerasModel], epochs: int, seed: int) -> KerasModel:
    """A network trained on the first 1400 digits from seeded weights."""
    images, classes = digits()
    keras.utils.set_random_seed(seed)
    model = build()
    model.compile(keras.optimizers.Adam(3e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images[:1400], classes[:1400], batch_size=32, epochs=epochs, verbose=0)
    return model


def trained_rich_model() -> KerasModel:
    """`rich_model`, trained in floating point as the package trains."""
    model = rich_model()
    train(model, datasets.load("digits").train, epochs=15, learning_rate=3e-3, progress=False)
    return model


def main() -> None:
    """Write `trained_networks.npz`."""
    networks: dict[str, Any] = {
        "residual": trained(residual_network, epochs=4, seed=1),
        "residual of another seed": trained(residual_network, epochs=1, seed=7),
        "plain": trained(plain_network, epochs=4, seed=1),
        "rich": trained_rich_model(),
    }
    arrays = {f"{name}/{i}": w for name, model in networks.items() for i, w in enumerate(model.get_weights())}
    np.savez_compressed(STORED, **arrays)


if __name__ == "__main__":
    main()
