"""Ray gives the numbers of one process, bit for bit, and says what a worker lacks."""

from __future__ import annotations

import errno
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed_evaluation import assert_identical, evaluate, network, ray_workers

import tfinv
from tfinv.engine.ray_team import OnRay
from tfinv.engine.remote import errors_with_worker

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray"),
]


@pytest.fixture(scope="module")
def team() -> Iterator[OnRay]:
    with ray_workers() as workers:
        yield workers


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def whole(model) -> tfinv.Results:
    return evaluate(model)


def test_ray_is_one_process_bit_for_bit(model, whole, team):
    assert_identical(evaluate(model, "ray"), whole)


def test_a_worker_of_ray_without_the_file_or_with_a_full_disk_is_named(team, tmp_path):
    def opened(path: Path) -> None:
        with errors_with_worker():
            path.open()

    def filled(path: Path) -> None:
        with errors_with_worker(), open("/dev/full", "w") as disk:
            disk.write(str(path))

    with pytest.raises(FileNotFoundError, match=r"No such file or directory on worker .*:\d+.*lost.keras"):
        team.submit(opened, tmp_path / "lost.keras").result()
    with pytest.raises(OSError, match=rf"{os.strerror(errno.ENOSPC)} on worker .*:\d+"):
        team.submit(filled, tmp_path).result()
