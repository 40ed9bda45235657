"""States that stay with the workers: the numbers of one process, and values alone for the driver."""

from __future__ import annotations

import importlib.util
import pickle
from concurrent.futures import ThreadPoolExecutor

import cloudpickle
import distributed_evaluation
import numpy as np
import pytest
from distributed_evaluation import (
    SAMPLES,
    DyingTeam,
    assert_identical,
    dask_workers,
    evaluate,
    images,
    network,
    ray_workers,
)

import tfinv
from tfinv.engine import reducing
from tfinv.engine.local_team import Local
from tfinv.engine.passes import Pass
from tfinv.engine.pieces import Total
from tfinv.statistics import Layer, RowDispersion
from tfinv.transformations import rotations

cloudpickle.register_pickle_by_value(distributed_evaluation)
ENGINES = [
    pytest.param(name, marks=pytest.mark.skipif(importlib.util.find_spec(module) is None, reason=f"needs {name}"))
    for name, module in (("local", "loky"), ("dask", "distributed"), ("ray", "ray"))
]


class Counting:
    """A team that counts the bytes of what comes back to the driver.

    Args:
        team: the workers.
        holds: whether they may hold results.
    """

    def __init__(self, team, holds):
        self._team, self.holds, self.size, self.received = team, holds, None, 0

    def share(self, content):
        return self._team.share(content)

    def hold(self, function, *arguments, parts=0):
        return self._team.hold(function, *arguments, parts=parts)

    def close(self):
        pass

    def submit(self, function, *arguments):
        return self._counted(self._team.submit(function, *arguments))

    def _counted(self, promise):
        fetch = promise.result

        def result():
            value = fetch()
            self.received += len(pickle.dumps(value, 5))
            return value

        promise.result = result
        return promise


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module", params=ENGINES)
def team(request):
    if request.param == "ray":
        with ray_workers() as workers:
            yield workers
        return
    if request.param == "local":
        workers = Local(2)
        yield workers
        workers.close()
        return
    with dask_workers() as workers:
        yield workers


@pytest.mark.slow
def test_states_that_stay_give_the_numbers_of_one_process(model, team):
    for sampling in (None, tfinv.Sampling(0.9, shards=4), tfinv.Sampling(0.9, shards=4, interval="jackknife")):
        whole = evaluate(model, sampling=sampling)
        received = {}
        for holds in (True, False):
            counting = Counting(team, holds)
            assert_identical(evaluate(model, counting, sampling=sampling), whole)
            received[holds] = counting.received
        print(sampling, received)
        assert received[True] < received[False] / 4


@pytest.mark.slow
@pytest.mark.parametrize(("at", "holds"), [(2, False), (5, True)])  # in the first and in the second pass
def test_a_killed_worker_costs_nothing_but_time(model, team, tmp_path, at, holds):
    dying = DyingTeam(team, at, tmp_path, holds)
    assert_identical(evaluate(model, dying), evaluate(model))
    assert (tmp_path / "died").exists()
    assert dying.began == [1, 2, 3, 4, 5, 6]  # three pieces in each of two passes


def test_parts_are_balanced_and_complete():
    layers = [Layer(str(k), (k + 1, 2), 2, rotations(2)) for k in range(40)]
    parts = reducing.parts_of(layers)
    assert sorted(name for part in parts for name in part) == sorted(layer.name for layer in layers)
    units = [sum(2 * (int(name) + 1) for name in part) for part in parts]
    assert len(parts) == 16
    assert max(units) - min(units) <= 80  # no more than the largest layer
    assert reducing.parts_of(layers[:3]) == [("2",), ("1",), ("0",)]


def test_pieces_are_added_as_one_process_adds_them():
    layer, statistic, rng = Layer("a", (3,), 2, rotations(2)), RowDispersion(), np.random.default_rng(0)
    state = statistic.init(layer)

    def piece(count):
        fields = [rng.random(np.shape(field)).astype(np.asarray(field).dtype) for field in state]
        return {"a": {statistic: type(state)(*fields)}}

    pieces = [piece(k) for k in range(9)]
    total = Total([layer], [statistic])
    for one in pieces:
        total.add(one, 1)

    class Here:
        def hold(self, function, *arguments, parts=0):
            return [function(*arguments)]

    totals = reducing.Totals(Here(), 1)
    for one in pieces:
        totals.add([one])
    (joined,) = totals.by_part()
    for one, other in zip(joined["a"][statistic], total.states()["a"][statistic], strict=True):
        np.testing.assert_array_equal(one, other)
    first = reducing.added(None, pieces[0])["a"][statistic]
    assert all(one is other for one, other in zip(first, pieces[0]["a"][statistic], strict=True))
    assert SAMPLES == 600


def test_states_are_sent_as_they_were_gathered(model, monkeypatch):
    """Floats of 4 bytes are not widened for the way."""
    sent, held = [], []
    run = Pass.run

    def running(self, *arguments, **options):
        states = run(self, *arguments, **options)
        held.append(types_of(states))
        return states

    class Noting(ThreadPoolExecutor):
        def submit(self, function, *arguments):
            def noted():
                states = function(*arguments)
                sent.append(types_of(states))
                return states

            return super().submit(noted)

    monkeypatch.setattr(Pass, "run", running)
    with Noting(1) as pool:
        tfinv.evaluate(
            model, images()[:300], "rotations(4)", "NormalizedVariance", distribute=pool, batch_size=16, progress=False
        )
    assert len(sent) == 2  # pieces of 256 and of 44 samples
    assert sent == held[:2]
    assert any("float32" in kinds.values() for kinds in sent)


def types_of(states):
    """The dtype of every array of states."""
    return {
        (layer, statistic.key, field): str(np.asarray(array).dtype)
        for layer, by_statistic in states.items()
        for statistic, state in by_statistic.items()
        for field, array in state._asdict().items()
    }
