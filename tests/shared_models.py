"""Trained networks that tests share: their weights are stored, so that every machine tests the same numbers.

Training rounds differently with another number of threads or another processor, and a network of another rounding can
lie on the other side of a bound on the noise of quantization.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tfinv.support.types import KerasModel

STORED = Path(__file__).parent / "trained_networks.npz"
"""Made by `python tests/train_networks.py`."""


def shared_folder(name: str) -> Path:
    """A folder of this name that all processes of the run share."""
    return Path(os.environ["TFINV_TEST_SHARED"]) / name


def stored_model(name: str, build: Callable[[], KerasModel]) -> KerasModel:
    """The network that `build` gives, with the trained weights that are stored under this name."""
    import keras

    keras.utils.set_random_seed(0)
    model = build()
    with np.load(STORED) as arrays:
        model.set_weights([arrays[f"{name}/{i}"] for i in range(len(model.weights))])
    return model
