"""A small evaluation that tests run on several processes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tfinv
from tfinv.engine import remote
from tfinv.engine.dask_team import OnDask
from tfinv.engine.ray_team import OnRay

MEASURES = ("NormalizedVariance", "NormalizedVarianceSE", "Goodfellow(percentile=0.1)")
SAMPLES = 600


def images() -> np.ndarray:
    return np.random.default_rng(0).random((SAMPLES, 8, 8, 1), dtype=np.float32)


def network(side: int = 8) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((side, side, 1))
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


@contextmanager
def dask_workers(count: int = 2) -> Iterator[OnDask]:
    """Workers of a Dask cluster on this machine that start again however often tests kill them.

    15 seconds after it lost a worker, such a cluster looks whether one of that name is there, and closes what is only
    just being started again.
    """
    import dask
    from distributed import Client, LocalCluster

    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1h"}),
        LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield OnDask(client)


@contextmanager
def ray_workers() -> Iterator[OnRay]:
    """Two workers of Ray that know the functions of the tests."""
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # Ray has a copy of its own
    ray.init(num_cpus=2, log_to_driver=False, include_dashboard=False)
    yield OnRay()
    ray.shutdown()


class DyingTeam:
    """Sends tasks to a team, and ends the process of the worker that gets one of them.

    Args:
        team: the workers.
        at: number of the task that gathers a piece.
        folder: where the worker notes that it has died, so that it does so once.
        holds: whether states may stay with the workers.
    """

    def __init__(self, team: Any, at: int, folder: Path, holds: bool = False) -> None:
        self._team, self._at, self._note = team, at, folder / "died"
        self._tasks = 0
        self.size, self.holds = 2, holds
        self.began: list[int] = []

    def submit(self, function: Any, *arguments: Any) -> Any:
        return self._team.submit(*self._deadly(function), *arguments)

    def hold(self, function: Any, *arguments: Any, parts: int = 0) -> Any:
        return self._team.hold(*self._deadly(function), *arguments, parts=parts)

    def _deadly(self, function: Any) -> tuple[Any, ...]:
        if function not in (remote.gather_piece, remote.gather_parts):
            return (function,)
        self._tasks += 1
        self.began.append(self._tasks)
        return (die_first, str(self._note), function) if self._tasks == self._at else (function,)

    def share(self, content: bytes) -> Any:
        return self._team.share(content)

    def close(self) -> None:
        """The workers live on."""


def die_first(note: str, function: Any, *arguments: Any) -> Any:
    """Gather a piece in a worker; the first time it is killed instead."""
    if not Path(note).exists():
        Path(note).write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)
    return function(*arguments)
