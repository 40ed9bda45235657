"""Several processes give the numbers of one, bit for bit, also where a worker dies or the driver starts again."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import cloudpickle
import distributed_evaluation
import pytest
from distributed_evaluation import assert_identical, evaluate, network

import tfinv
from tfinv.engine import pieces, remote
from tfinv.engine.checkpoint import Checkpoint
from tfinv.engine.choosing import as_team

cloudpickle.register_pickle_by_value(distributed_evaluation)  # workers do not know the folder of the tests

INTERVALS = tfinv.Sampling(0.9, shards=4)


def installed(engine: str) -> bool:
    return importlib.util.find_spec(engine) is not None


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def whole(model) -> tfinv.Results:
    return evaluate(model)


@pytest.fixture(scope="module")
def int8(model) -> bytes:
    from tfinv.tflite import static_int8

    return static_int8(model, distributed_evaluation.images()[:32]).content


def test_two_local_processes_are_one_bit_for_bit(model, whole):
    assert_identical(evaluate(model, 2), whole)


@pytest.mark.slow
def test_intervals_and_int8_files_of_two_processes_are_those_of_one(model, int8):
    assert_identical(evaluate(model, 2, sampling=INTERVALS), evaluate(model, sampling=INTERVALS))
    from tfinv.tflite import TFLiteModel

    assert_identical(evaluate(TFLiteModel(int8), 2), evaluate(TFLiteModel(int8)))


def test_anything_with_submit_will_do(model, whole, monkeypatch):
    with ThreadPoolExecutor(2) as pool:
        assert_identical(evaluate(model, pool), whole)
        calls = []
        monkeypatch.setattr(
            remote, "_made", lambda task, content, made=remote._made: calls.append(1) or made(task, content)
        )
        remote._PASSES.clear()
        evaluate(model, pool)
    assert len(calls) == 2  # one graph a pass, however many pieces


def test_a_driver_that_starts_again_goes_on(model, whole, tmp_path, monkeypatch):
    class Failing(ThreadPoolExecutor):
        tasks = 0

        def submit(self, *arguments, **options):
            Failing.tasks += 1
            if Failing.tasks > 4:
                raise RuntimeError("power cut")
            return super().submit(*arguments, **options)

    monkeypatch.setattr(remote, "IN_FLIGHT", 1)
    path = tmp_path / "state.npz"
    with Failing(1) as pool, pytest.raises(RuntimeError, match="power cut"):
        evaluate(model, pool, checkpoint=Checkpoint(path, every=0))
    assert path.exists()
    with ThreadPoolExecutor(1) as pool:
        submitted, submit = [], pool.submit
        monkeypatch.setattr(pool, "submit", lambda *arguments: submitted.append(1) or submit(*arguments))
        assert_identical(evaluate(model, pool, checkpoint=path), whole)
    assert 0 < len(submitted) < 6
    assert not path.exists()


@pytest.mark.slow
@pytest.mark.skipif(not installed("distributed"), reason="needs the extra dask")
def test_dask_is_one_process_bit_for_bit(model, whole):
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        assert_identical(evaluate(model, client), whole)
        assert_identical(evaluate(model, cluster.scheduler_address), whole)


def test_bad_distribution_is_refused(model, monkeypatch):
    cases = [
        (0, ValueError, "at least 1 process. Received: 0"),
        (True, TypeError, "distribute must be a number of processes"),
        (object(), TypeError, "or an object with submit"),
        ("nowhere", ValueError, "the address of a Dask scheduler such as"),
    ]
    for given, kind, match in cases:
        with pytest.raises(kind, match=match):
            evaluate(model, given)
    for engine, name in (("distributed", "tcp://127.0.0.1:1"), ("ray", "ray")):
        monkeypatch.setitem(sys.modules, engine, None)
        with pytest.raises(ImportError, match=r"must be installed .*pip install 'tfinv\[(dask|ray)\]'"):
            as_team(name)


@pytest.mark.slow
@pytest.mark.skipif(not installed("distributed"), reason="needs the extra dask")
def test_an_address_that_does_not_answer_is_told_in_time():
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"answers within 10 s. Received: tcp://127.0.0.1:1 "):
        as_team("tcp://127.0.0.1:1")
    assert time.monotonic() - start < 20


def test_other_versions_and_lost_files_name_the_worker(model, monkeypatch):
    remote._PASSES.clear()
    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(remote, "versions", lambda *names, known=[]: known.append(1) or {"keras": str(len(known))})
        with pytest.raises(ValueError, match=r"versions of the driver. Received: keras 2 and not 1 on worker .*:\d+"):
            evaluate(model, pool)
    with pytest.raises(OSError, match=r"No such file or directory on worker .*:\d+"):
        task = remote.Task("none", None, None, (), (), {})
        remote.gather_piece(task, "/nowhere/setting", b"", None)


def test_pieces_are_whole_batches_that_depend_on_no_worker():
    assert pieces.piece_size(2000, 16) == 256
    assert pieces.piece_size(None, 24) == 264
    assert pieces.piece_size(1_200_000, 16) == 1184


def test_a_given_team_shares_the_memory_budget(model, monkeypatch):
    budgets = []
    real = sys.modules["tfinv.evaluation.evaluate"]
    plan = real._plan
    monkeypatch.setattr(real, "_plan", lambda *arguments: budgets.append(arguments[2]) or plan(*arguments))
    with ThreadPoolExecutor(4) as pool:
        evaluate(model, pool, memory_budget="400MB")
    assert budgets[0] == 100 * 10**6  # the second is that of the interpolation floor, in this process


def test_importing_tfinv_imports_no_engine():
    code = "import sys, tfinv, tfinv.evaluation; print({'dask', 'distributed', 'ray', 'loky'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
