"""A small evaluation that tests run on several processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tfinv
from tfinv.engine import remote

MEASURES = ("NormalizedVariance", "NormalizedVarianceSE", "Goodfellow(percentile=0.1)")
SAMPLES = 600


def images() -> np.ndarray:
    return np.random.default_rng(0).random((SAMPLES, 8, 8, 1), dtype=np.float32)


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(3, 3, activation="relu", name="conv")(inputs)
    x = keras.layers.Flatten(name="flat")(x)
    return keras.Model(inputs, keras.layers.Dense(4, name="logits")(x), name="small")


def evaluate(model: Any, distribute: Any = None, **options: Any) -> tfinv.Results:
    given = {"progress": False, **options}
    return tfinv.evaluate(model, images(), "rotations(4)", MEASURES, distribute=distribute, **given)


def assert_identical(first: tfinv.Results, second: tfinv.Results) -> None:
    assert list(first) == list(second) == list(MEASURES)
    for key, measure in first.items():
        for name, layer in measure.items():
            np.testing.assert_array_equal(layer.values, second[key][name].values, err_msg=f"{key} {name}")
            np.testing.assert_array_equal(layer.status, second[key][name].status)
    rows, others = first.profile(), second.profile()
    for column in {"low", "high"} & set(rows):
        np.testing.assert_array_equal(rows[column], others[column])


class DyingTeam:
    """Sends tasks to a team, and ends the process of the worker that gets one of them.

    Args:
        team: the workers.
        at: number of the task.
        folder: where the worker notes that it has died, so that it does so once.
    """

    def __init__(self, team: Any, at: int, folder: Path) -> None:
        self._team, self._at, self._note = team, at, folder / "died"
        self._tasks = 0
        self.size = 2
        self.began: list[int] = []

    def submit(self, function: Any, *arguments: Any) -> Any:
        self._tasks += 1
        self.began.append(self._tasks)
        if self._tasks == self._at:
            return self._team.submit(die_first, str(self._note), *arguments)
        return self._team.submit(function, *arguments)


def die_first(note: str, *arguments: Any) -> Any:
    """Gather a piece in a worker; the first time it is killed instead."""
    if not Path(note).exists():
        Path(note).write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)
    return remote.gather_piece(*arguments)
