"""Memory budgets: what users may write, plans that fit, and the promise kept by a real process."""

from __future__ import annotations

import gc
import subprocess
import sys
import tracemalloc
import weakref
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfinv
from tfinv.engine.gatherer import Gatherer
from tfinv.engine.measuring import Intervals, measure_layer
from tfinv.engine.memory import WHOLE, Need, _need, parse_budget, plan, plan_layers, readable
from tfinv.engine.shards import ShardStates, held_of_some
from tfinv.evaluation.arguments import as_measures
from tfinv.measures.base import required_statistics
from tfinv.statistics import ColumnMoments, Layer, RowDispersion
from tfinv.statistics.compiled.fused import FusedDispersion
from tfinv.statistics.row_distances import RowDistances
from tfinv.support.memory import available
from tfinv.transformations import parse

NEEDS = [Need("a", 100, 10), Need("b", 60, 5, work=40), Need("c", 200, 20), Need("d", 10, 1, work_block=7)]


@pytest.mark.parametrize(
    ("budget", "size"),
    [(1000, 1000), (2.5e3, 2500), ("8GiB", 8 * 2**30), ("1.5 MB", 1_500_000), (" 12 kib ", 12288), ("77", 77)],
)
def test_budgets_are_read(budget, size):
    assert parse_budget(budget) == size


@pytest.mark.parametrize("free", [0, 3 * 2**30 + 1, 2**40])
def test_the_default_is_half_of_the_free_memory(monkeypatch, free):
    monkeypatch.setattr("tfinv.engine.memory.available", lambda: free)
    assert parse_budget(None) == free // 2


def test_free_memory_is_what_the_machine_reports():
    lines = Path("/proc/meminfo").read_text().splitlines()
    (reported,) = (int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal:"))
    assert 2**26 < available() < reported


@pytest.mark.parametrize("budget", ["8 apples", "GiB", "-3GB", "", 0, -5, True, [1]])
def test_what_is_no_budget_is_refused(budget):
    with pytest.raises((ValueError, TypeError), match=r"memory_budget must .*Received"):
        parse_budget(budget)


def test_sizes_are_written_as_people_do():
    assert [readable(number) for number in (12, 2048, 3 * 2**20, 5.5 * 2**30)] == [
        "12 B",
        "2.0 KiB",
        "3.0 MiB",
        "5.50 GiB",
    ]


def test_everything_goes_together_where_it_fits():
    planned = plan(NEEDS, 8, 10_000, image=3)
    assert planned.groups == (("a", "b", "c", "d"),)
    assert planned.batch_size == 8
    assert planned.sizes == (100 + 60 + 200 + 10 + 8 * (10 + 5 + 20 + 1) + 8 * 3 + 7 * 8,)


@pytest.mark.parametrize("budget", [229, 260, 300, 350, 420])
@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_plans_fit_and_keep_the_order(budget, batch_size):
    planned = plan(NEEDS, batch_size, budget, image=2)
    assert [name for group in planned.groups for name in group] == ["a", "b", "c", "d"]
    by_name = {need.layer: need for need in NEEDS}
    for group, size in zip(planned.groups, planned.sizes, strict=True):
        members = [by_name[name] for name in group]
        samples = planned.batch_size
        assert size == (
            sum(need.state + samples * need.block for need in members)
            + 2 * samples
            + max(need.work + samples * need.work_block for need in members)
        )
        assert size <= budget


def test_smaller_blocks_are_preferred_to_more_runs():
    planned = plan([Need("a", 100, 100), Need("b", 100, 100)], 8, 450)
    assert (planned.groups, planned.batch_size) == ((("a", "b"),), 1)
    fixed = plan([Need("a", 100, 30), Need("b", 100, 30)], 8, 450, shrink=False)
    assert (fixed.groups, fixed.batch_size) == ((("a",), ("b",)), 8)


def test_a_layer_that_does_not_fit_alone_is_named():
    with pytest.raises(ValueError, match=r"memory_budget must be at least 220 B for layer 'c' alone.*Received: 219 B"):
        plan(NEEDS, 8, 219)
    with pytest.raises(ValueError, match=r"or a smaller batch_size"):
        plan(NEEDS, 8, 219, shrink=False)


def test_a_plan_reads_like_a_table():
    text = str(plan(NEEDS, 1, 300, image=2))
    assert text.splitlines() == [
        "memory budget 300 B, 1 samples a block",
        "  layers  from  to  memory",
        "  2       a     b   217 B",
        "  2       c     d   240 B",
    ]


def test_needs_follow_from_shapes():
    layer = Layer("layer", (4, 4, 8), 10)
    both = (RowDispersion(), ColumnMoments())
    small = plan_layers([layer], both, (8, 8, 1), 4, budget="1GB").sizes[0]
    moments = 2 * 10 * 128 * 4
    assert moments < small < 20 * moments
    sharded = plan_layers([layer], both, (8, 8, 1), 4, budget="1GB", shards=10).sizes[0]
    assert small + 10 * moments < sharded < small + 100 * moments
    more = plan_layers([layer], (*both, RowDistances()), (8, 8, 1), 4, budget="1GB").sizes[0]
    assert more > small + 4 * 10 * 128 * 4


@pytest.mark.parametrize("resamples", [0, 20])
@pytest.mark.parametrize("shape", [(20, 20, 16), (40, 40, 16), (90, 90, 16)])
def test_measuring_a_layer_takes_what_is_planned_and_not_much_less(shape, resamples):
    measures, shards = as_measures(("NormalizedVariance", "NormalizedVarianceSE")), 8
    layer = Layer("layer", shape, 6, parse("rotations(6)"))
    statistics = required_statistics(measures)
    gatherer, generator = Gatherer(statistics, [layer]), np.random.default_rng(0)
    alone = _need(layer, statistics, 0, 0, 1).state
    need = _need(layer, statistics, shards, resamples, 1 + WHOLE, held_of_some(measures))
    tracemalloc.start()
    held = ShardStates(measures, layer.shape)
    for number in range(shards):
        gatherer.reset()
        assert gatherer.add("layer", tf.constant(generator.random((4, 6, *layer.shape), np.float32)))
        held.add(number, gatherer.states_of("layer"), copy=True)
    kept = tracemalloc.get_traced_memory()[0]
    assert 0.6 * (need.state - alone) < kept <= need.state - alone
    tracemalloc.reset_peak()
    measure_layer(measures, layer, held, Intervals(0.95, resamples))
    peak = tracemalloc.get_traced_memory()[1] - kept
    tracemalloc.stop()
    assert need.work / 2 < peak <= need.work


def test_accumulators_are_freed_when_their_evaluation_ends(monkeypatch):
    made, init = [], FusedDispersion.__init__
    monkeypatch.setattr(
        FusedDispersion, "__init__", lambda self, *rest: made.append(weakref.ref(self)) or init(self, *rest)
    )
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, keras.layers.Flatten(name="flat")(keras.layers.Conv2D(2, 3, name="conv")(inputs)))
    images = np.random.default_rng(0).random((4, 8, 8, 1), dtype=np.float32)
    tfinv.evaluate(model, images, "rotations(4)", "NormalizedVariance", progress=False)
    gc.collect()
    assert len(made) == 2
    assert all(reference() is None for reference in made)


SCRIPT = """
import logging, os, resource, sys
logging.basicConfig(level=logging.INFO)
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras, numpy as np, tfinv
from tfinv.activations import ActivationModel
from tfinv.transformations import warp
keras.utils.set_random_seed(0)
model = keras.applications.ResNet50(weights=None, input_shape=(224, 224, 3))
images = np.random.default_rng(0).random((2, 224, 224, 3), dtype=np.float32)
for _ in range(2):
    model(warp(images, "rotations(16)")[0], training=False)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
results = tfinv.evaluate(
    model, images, "rotations(32)", "NormalizedVariance", memory_budget=sys.argv[1], progress=False
)
assert len(results.layers) > 150
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(before, peak, results["NormalizedVariance"]["predictions"].mean)
"""


@pytest.mark.long
def test_a_resnet50_at_full_size_stays_within_8_gib():
    budget = 5 * 2**30
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(budget)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    empty, peak, mean = done.stdout.strip().splitlines()[-1].split()
    print(done.stdout)
    assert np.isfinite(float(mean))
    assert int(peak) < 8 * 2**30
    assert int(peak) - int(empty) < budget
