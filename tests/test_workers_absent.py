"""A cluster without workers is waited for, told, and given up where it had some before."""

from __future__ import annotations

import importlib.util
import threading
import time

import pytest
from distributed_evaluation import dask_workers

from tfinv.engine import absence, dask_team
from tfinv.engine.absence import Absence


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when a test says so."""
    now = [100.0]
    monkeypatch.setattr(absence.time, "monotonic", lambda: now[0])
    return now


def test_workers_that_never_came_are_waited_for_and_told_once(clock, recwarn):
    waiting = Absence("the cluster", lambda: 0)
    for seconds in (0, 19, 1, 3600, 86_400):
        clock[0] += seconds
        waiting.look()
        assert len(recwarn) == (seconds not in (0, 19))
    assert str(recwarn.pop().message) == "the cluster has no worker now; waiting for one"


def test_workers_that_are_gone_end_the_waiting(clock, recwarn):
    count = [2]
    waiting = Absence("the cluster", lambda: count[0])
    waiting.met()
    count[0] = 0
    waiting.look()
    clock[0] += 500
    waiting.look()
    assert str(recwarn.pop().message) == "the cluster has no worker now; waiting for one, at most 600 s"
    count[0] = 1
    waiting.look()  # one came back
    count[0] = 0
    clock[0] += 500
    waiting.look()
    clock[0] += 599
    waiting.look()
    clock[0] += 1
    with pytest.raises(RuntimeError, match=r"the cluster must have workers .* Received: none for 600 s. Start workers"):
        waiting.look()


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="needs the extra dask")
def test_a_dask_cluster_that_loses_all_workers_ends_the_waiting(monkeypatch):
    monkeypatch.setattr(absence, "QUIET_SECONDS", 1.0)
    monkeypatch.setattr(absence, "GONE_SECONDS", 4.0)
    monkeypatch.setattr(dask_team, "LOOK_SECONDS", 0.5)
    with dask_workers(0) as team:
        cluster = team._client.cluster
        promise = team.submit(sum, (1, 2))
        starting = threading.Timer(2, cluster.scale, (1,))
        starting.start()
        with pytest.warns(UserWarning, match="has no worker now; waiting for one$"):
            assert promise.result() == 3
        cluster.scale(0)
        while team._client.nthreads():
            time.sleep(0.1)
        with (
            pytest.warns(UserWarning, match="waiting for one, at most 4 s"),
            pytest.raises(RuntimeError, match=r"the Dask scheduler tcp://127.0.0.1:\d+ must have workers"),
        ):
            team.submit(sum, (3, 4)).result()
