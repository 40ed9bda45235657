"""What goes wrong on workers: a driver that is killed, a silent address, a full disk, lost processes."""

from __future__ import annotations

import importlib.util
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cloudpickle
import distributed_evaluation
import numpy as np
import pytest
from distributed_evaluation import assert_identical, evaluate, images, network

import tfinv
from tfinv.engine import remote
from tfinv.engine.choosing import as_team
from tfinv.support.cache import Cache

cloudpickle.register_pickle_by_value(distributed_evaluation)
NEEDS_DASK = pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="needs the extra dask")

DRIVER = """
import os, sys, signal
sys.path.insert(0, sys.argv[1])
import cloudpickle, distributed_evaluation
cloudpickle.register_pickle_by_value(distributed_evaluation)
from distributed_evaluation import evaluate, network
from tfinv.engine import remote
from tfinv.engine.checkpoint import Checkpoint

remote.IN_FLIGHT = 1
saved = Checkpoint.save

def save(self):
    saved(self)
    if self._progress is not None:
        with open(sys.argv[2] + ".samples", "w") as file:
            file.write(str(self._progress[1]))
        os.kill(os.getpid(), signal.SIGKILL)

Checkpoint.save = save
evaluate(network(), 2, checkpoint=Checkpoint(sys.argv[2], every=0))
"""


@pytest.mark.slow
def test_a_driver_that_is_killed_goes_on_and_counts_nothing_twice(tmp_path):
    path = tmp_path / "state.npz"
    arguments = [sys.executable, "-c", DRIVER, str(Path(__file__).parent), str(path)]
    killed = subprocess.run(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert killed.returncode == -signal.SIGKILL
    assert path.exists()
    model, counts = network(), []

    class Counting(ThreadPoolExecutor):
        def submit(self, function, *arguments):
            counts.append(arguments[-1].count)
            return super().submit(function, *arguments)

    with Counting(1) as pool:
        assert_identical(evaluate(model, pool, checkpoint=path), evaluate(model))
    done = int((tmp_path / "state.npz.samples").read_text())
    assert done in (256, 512)
    assert sum(counts) == 2 * distributed_evaluation.SAMPLES - done  # every sample once in each of two passes
    assert not path.exists()


def test_what_was_finished_survives_a_worker_that_fails(tmp_path):
    path, model = tmp_path / "state.npz", network()

    class Failing(ThreadPoolExecutor):
        tasks = 0

        def submit(self, function, *arguments):
            Failing.tasks += 1
            return super().submit(function if Failing.tasks != 3 else fail, *arguments)

    def fail(*arguments):
        with remote.errors_with_worker():
            raise OSError(28, os.strerror(28), "/scratch/file")

    with Failing(1) as pool, pytest.raises(OSError, match=r"No space left on device on worker .*:\d+.*/scratch/file"):
        evaluate(model, pool, checkpoint=path)
    with ThreadPoolExecutor(1) as pool:
        counts, submit = [], pool.submit
        pool.submit = lambda function, *rest: counts.append(rest[-1].count) or submit(function, *rest)
        assert_identical(evaluate(model, pool, checkpoint=path), evaluate(model))
    assert counts == [88, 256, 256, 88]


@pytest.mark.slow
@NEEDS_DASK
def test_a_silent_address_is_told_in_time():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        address = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        start = time.monotonic()
        with pytest.raises(ValueError, match=r"a Dask scheduler that answers within 10 s. Received: tcp://127.0.0.1"):
            as_team(address)
        assert time.monotonic() - start < 20


def run_file(content: bytes, x: np.ndarray) -> np.ndarray:
    """In a worker: the outputs of a file, opened anew."""
    from tfinv.tflite import TFLiteModel

    return TFLiteModel(content)(x)["logits"]


@pytest.mark.slow
@NEEDS_DASK
def test_two_hundred_tasks_of_a_file_under_the_profiler_of_dask_need_no_second_try():
    from distributed import Client, LocalCluster

    from tfinv.tflite import TFLiteModel, static_int8

    content, x = static_int8(network(), images()[:32]).content, images()[:100]
    expected = TFLiteModel(content)(x)["logits"]
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        futures = [client.submit(run_file, content, x, pure=False, retries=0) for _ in range(200)]
        for outputs in client.gather(futures):  # an error of any try is raised here
            np.testing.assert_array_equal(outputs, expected)
        assert client.profile()["count"] > 0  # it looked at the frames of the workers


def small_files() -> None:
    """In a worker: no file may have more than a few bytes, as on a disk that is full."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))


@pytest.mark.slow
def test_a_full_disk_on_a_worker_is_told_with_its_name_and_keeps_what_is_finished(tmp_path):
    import loky

    from tfinv.tflite import Output, Subsets, study

    x, y = images()[:60], np.arange(60) % 4
    model = network()  # its layers have other names when it is built again
    said: list[str] = []

    def studied(**more):
        cache = Cache(tmp_path, report=said.append)
        return study(
            model, (x, y), (x, y), "rotations(4)", ["float16"], measures="NormalizedVariance",
            subsets=Subsets(measured_samples=40), sampling=None, progress=False, output=Output(cache=cache), **more,
        )  # fmt: skip

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    pool = loky.ProcessPoolExecutor(1, initializer=small_files)
    message = rf"File too large on worker {socket.gethostname()}:\d+"
    with tfinv.distributed(pool), pytest.raises(OSError, match=message):
        studied()
    pool.shutdown()
    said.clear()
    assert set(studied().recipes["recipe"]) == {"float32", "float16"}
    assert sum(line.startswith("re-used conversion") for line in said) >= 2
