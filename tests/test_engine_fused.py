"""The compiled loop over blocks: against float64, for degenerate units, streams of a million values, and NaN."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from laws import layer_of

from tfinv.engine.gatherer import Gatherer
from tfinv.engine.states import widened
from tfinv.statistics import ColumnMoments, RowDispersion, Statistic
from tfinv.statistics.compiled import fused
from tfinv.statistics.compiled.fused import FusedDispersion
from tfinv.statistics.loop_sums import LoopParts, LoopSums
from tfinv.statistics.row_distances import RowDistances
from tfinv.statistics.views import InverseWarp, Viewed

ALL = (RowDispersion("std"), RowDispersion("variance"), ColumnMoments())


def states(block: np.ndarray, sizes: list[int], statistics=ALL, whole: np.ndarray | None = None) -> dict:
    """States of all samples, added in blocks of these sizes."""
    gatherer = FusedDispersion(statistics, layer_of(block))
    position = 0
    for size in sizes:
        gatherer.update((block if whole is None else whole)[position : position + size])
        position += size
    assert position == len(block)
    return {statistic: widened(statistic, gatherer.state(statistic)) for statistic in statistics}


def assert_moments(gathered: dict, block: np.ndarray, rtol: float) -> None:
    wide = block.astype(np.float64)
    if RowDispersion("std") in gathered:
        np.testing.assert_allclose(
            gathered[RowDispersion("std")].mean, wide.std(1, ddof=1).mean(0), rtol=rtol, atol=0, err_msg="std"
        )
    if RowDispersion("variance") in gathered:
        expected = wide.var(1, ddof=1).mean(0)
        np.testing.assert_allclose(gathered[RowDispersion("variance")].mean, expected, rtol=rtol, err_msg="variance")
    if ColumnMoments() in gathered:
        moments = gathered[ColumnMoments()]
        assert moments.count == len(block)
        np.testing.assert_allclose(moments.mean, wide.mean(0), rtol=1e-6, atol=2e-5, err_msg="mean")
        np.testing.assert_allclose(moments.m2, wide.var(0) * len(block), rtol=rtol, err_msg="m2")


@pytest.mark.parametrize("sizes", [[23], [1] * 23, [5, 5, 5, 5, 3]])
@pytest.mark.parametrize("shape", [(3,), (5, 7, 64), (1025,)])
@pytest.mark.parametrize("statistics", [ALL, ALL[:1], ALL[2:]])
def test_states_equal_float64(rng, sizes, shape, statistics):
    block = rng.normal(2, 3, (23, 6, *shape)).astype(np.float32)
    assert_moments(states(block, sizes, statistics), block, 2e-5)


@pytest.mark.parametrize("offset", [0, 1000, -1000])
def test_precision_holds_far_from_zero(rng, offset):
    block = (rng.normal(size=(40, 9, 50)) + offset + 3 * rng.normal(size=50)).astype(np.float32)
    assert_moments(states(block, [8] * 5), block, 1e-5)


def test_a_stream_of_a_million_values_keeps_five_digits():
    rng = np.random.default_rng(0)
    samples, columns, units = 50_000, 20, 6
    block = (1000 * rng.choice([-1, 1], units) + rng.normal(size=(samples, columns, units))).astype(np.float32)
    block += rng.normal(size=(samples, 1, units)).astype(np.float32)
    assert_moments(states(block, [8] * (samples // 8)), block, 1e-5)


def test_drifting_samples_keep_five_digits():
    rng = np.random.default_rng(0)
    block = (np.linspace(-50, 50, 4000)[:, None, None] + rng.normal(size=(4000, 5, 4))).astype(np.float32)
    assert_moments(states(block, [10] * 400), block, 1e-5)


def test_degenerate_units_are_exactly_zero(rng):
    block = rng.normal(1000, 1, (21, 5, 4)).astype(np.float32)
    block[..., 0] = np.float32(0.1)
    block[..., 1] = block[:, :1, 1]
    block[..., 2] = block[:1, :, 2]
    gathered = states(block, [4, 4, 4, 4, 4, 1])
    for kind in ("std", "variance"):
        assert gathered[RowDispersion(kind)].mean[:2].tolist() == [0, 0]
        assert (gathered[RowDispersion(kind)].mean[2:] > 0.1).all()
    assert (gathered[ColumnMoments()].m2[:, [0, 2]] == 0).all()
    assert (gathered[ColumnMoments()].m2[:, [1, 3]] > 1).all()
    np.testing.assert_array_equal(gathered[ColumnMoments()].mean[:, 2], block[0, :, 2])


def test_columns_beyond_the_transformations_are_not_read(rng):
    block = rng.normal(size=(9, 4, 7)).astype(np.float32)
    whole = np.concatenate([block, np.full((9, 1, 7), np.nan, np.float32)], axis=1)
    for statistic, state in states(block, [4, 5], whole=whole).items():
        for mine, theirs in zip(state, states(block, [4, 5])[statistic], strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("statistics", [ALL, ALL[:1], ALL[2:]])
@pytest.mark.parametrize("place", [(0, 0, 0), (6, 3, 4)])
def test_what_is_not_finite_is_noticed(rng, bad, statistics, place):
    block = rng.normal(size=(7, 4, 5)).astype(np.float32)
    gatherer = FusedDispersion(statistics, layer_of(block))
    gatherer.update(block)
    assert gatherer.is_finite()
    block[place] = bad
    gatherer.update(block)
    assert not gatherer.is_finite()


def test_a_reset_forgets_everything(rng):
    block = rng.normal(size=(6, 3, 4)).astype(np.float32)
    gatherer = FusedDispersion(ALL, layer_of(block))
    gatherer.update(100 * block + 7)
    gatherer.reset()
    assert gatherer.state(ColumnMoments()).count == 0
    gatherer.update(block)
    assert_moments({statistic: widened(statistic, gatherer.state(statistic)) for statistic in ALL}, block, 1e-5)


FIRST_CALL = """
import gc
import sys
import numpy as np
from tfinv.statistics import ColumnMoments, Layer, RowDispersion
from tfinv.statistics.compiled.fused import FusedDispersion, load_loops
from tfinv.statistics.compiled.stored import Stored

gc.disable()
load_loops("integer_loop")
for dtype in (np.float32, np.int8):
    gatherer = FusedDispersion([RowDispersion("std"), ColumnMoments()], Layer("layer", (7,), 3))
    block = np.ones((5, 3, 7), dtype)
    before = sys.getrefcount(block)
    gatherer.update_stored(Stored(block))
    assert sys.getrefcount(block) == before, dtype
"""


@pytest.mark.slow
def test_compiling_keeps_no_block_alive(tmp_path):
    """An interpreter refuses to run again while a view of its memory exists, wherever that is."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", FIRST_CALL], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("samples", range(1, 10))
@pytest.mark.parametrize("columns", range(2, 10))
def test_every_rest_of_a_tile_is_added(rng, samples, columns):
    block = rng.normal(100, 3, (samples + 5, columns, 11)).astype(np.float32)
    assert_moments(states(block, [5, samples]), block, 1e-4)


def test_statistics_are_grouped_by_their_view_and_others_left_alone():
    seen = Viewed(ColumnMoments(), InverseWarp())
    groups = fused.groups([*ALL, seen, RowDistances()])
    assert groups == [list(ALL), [seen]]
    assert fused.groups(ALL, "float64") == []


def test_graph_and_compiled_loop_agree(rng, monkeypatch):
    block = rng.normal(5, 1, (11, 6, 4, 4, 3)).astype(np.float32)
    both = []
    for available in (True, False):
        monkeypatch.setattr(fused, "is_available", lambda available=available: available)
        gatherer = Gatherer(ALL, [layer_of(block)])
        assert gatherer.is_direct is available
        step = tf.function(lambda part, gatherer=gatherer: gatherer.add("layer", part), reduce_retracing=True)
        for start in range(0, 11, 4):
            step(tf.constant(block[start : start + 4]))
        both.append({statistic: widened(statistic, state) for statistic, state in gatherer.states_of("layer").items()})
    for statistic in ALL:
        for compiled, graph in zip(both[0][statistic], both[1][statistic], strict=True):
            np.testing.assert_allclose(compiled, graph, rtol=2e-5)


class LevelState(NamedTuple):
    """`count` samples; `total` and `spread` (`*U`), sums over samples."""

    count: Any
    total: Any
    spread: Any


@dataclass(frozen=True)
class Level(Statistic):
    """A statistic of one's own that joins the loop: mean activations and variances over transformations, summed."""

    @property
    def loop(self) -> LoopParts:
        return LoopParts(rows=True, columns=True)

    def from_loop(self, sums: LoopSums) -> LevelState:
        means = sums.shift.mean(axis=0, dtype=np.float64) + sums.offset
        return LevelState(sums.count, sums.count * means, sums.variances.copy())

    def init(self, layer, dtype="float32") -> LevelState:
        return LevelState(tf.zeros((), dtype), tf.zeros(layer.shape, dtype), tf.zeros(layer.shape, dtype))

    def update(self, state, block, context=None) -> LevelState:
        variance = tf.math.reduce_variance(block, axis=1) * block.shape[1] / (block.shape[1] - 1)
        count = tf.cast(tf.shape(block)[0], block.dtype)
        added = LevelState(count, tf.reduce_sum(tf.reduce_mean(block, axis=1), axis=0), tf.reduce_sum(variance, axis=0))
        return self.merge(state, added)

    def merge(self, first, second) -> LevelState:
        return LevelState(*(one + other for one, other in zip(first, second, strict=True)))


@dataclass(frozen=True)
class DoubledLevel(Level):
    """Computes something else than its parent, and says nothing about the loop."""

    def update(self, state, block, context=None) -> LevelState:
        return super().update(state, 2 * block, context)


@pytest.mark.parametrize("view", [None, InverseWarp()])
def test_a_statistic_of_ones_own_joins_the_loop_from_outside(rng, monkeypatch, view):
    from tfinv.transformations import rotations

    block = rng.normal(3, 1, (11, 4, 6, 6, 2)).astype(np.float32)
    layer = layer_of(block, transformations=rotations(4))
    statistic: Statistic = Viewed(Level(), view) if view else Level()
    both = []
    for available in (True, False):
        monkeypatch.setattr(fused, "is_available", lambda available=available: available)
        gatherer = Gatherer([statistic, RowDispersion()], [layer])
        assert bool(gatherer._fused["layer"]) == available
        if available:
            taken = [member for group in gatherer._fused["layer"] for member in group.statistics]
            assert statistic in taken and not gatherer._others["layer"]
            assert gatherer.is_direct
        for start in range(0, 11, 4):
            gatherer.add("layer", tf.constant(block[start : start + 4]))
        both.append(gatherer.states_of("layer")[statistic])
    shown = view.apply(tf.constant(block), layer).numpy() if view else block
    wide = shown.astype(np.float64)
    for state in both:
        assert state.count == 11
        np.testing.assert_allclose(state.total, wide.mean(1).sum(0), rtol=1e-5)
        np.testing.assert_allclose(state.spread, wide.var(1, ddof=1).sum(0), rtol=2e-5)


def test_a_subclass_that_computes_something_else_does_not_join_the_loop(rng):
    block = rng.normal(size=(5, 4, 3)).astype(np.float32)
    gatherer = Gatherer([Level(), DoubledLevel()], [layer_of(block)])
    assert list(gatherer._others["layer"]) == [DoubledLevel()]
    gatherer.add("layer", tf.constant(block))
    states_of = gatherer.states_of("layer")
    np.testing.assert_allclose(states_of[DoubledLevel()].total, 2 * states_of[Level()].total, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(states_of[DoubledLevel()].spread, 4 * states_of[Level()].spread, rtol=1e-5)


def test_joining_the_loop_without_saying_how_is_an_error(rng):
    @dataclass(frozen=True)
    class Silent(Level):
        @property
        def loop(self) -> LoopParts:
            return LoopParts(rows=True)

        def from_loop(self, sums: LoopSums) -> LevelState:
            return Statistic.from_loop(self, sums)

    gatherer = Gatherer([Silent()], [layer_of(rng.normal(size=(5, 4, 3)))])
    with pytest.raises(NotImplementedError, match="Silent names parts of the compiled loop"):
        gatherer.states_of("layer")
