"""Networks that tests train once for a whole run of the suite, whichever process needs them first."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfinv.support.cache import Cache
from tfinv.support.types import KerasModel


def shared_folder(name: str) -> Path:
    """A folder of this name that all processes of the run share."""
    return Path(os.environ["TFINV_TEST_SHARED"]) / name


def shared_model(config: dict[str, Any], train: Callable[[], KerasModel]) -> KerasModel:
    """The network that `train` gives, from the folder that all processes of the run share.

    Args:
        config: everything that determines the network, as JSON-able values; equal ones give the same network.
        train: builds and trains it from fixed seeds.
    """
    import keras

    def make(folder: Path) -> None:
        train().save(folder / "model.keras")

    def load(folder: Path) -> KerasModel:
        return keras.models.load_model(folder / "model.keras")

    return Cache(shared_folder("models")).get("model", config, make, load)
