"""The compiled loop that warps back while it reads: against float64, the graph's operations, and degenerate maps."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from laws import layer_of

from tfinv.engine.gatherer import Gatherer
from tfinv.engine.states import widened
from tfinv.statistics import ColumnMoments, RowDispersion
from tfinv.statistics.aligned_dispersion import AlignedDispersion
from tfinv.statistics.compiled import fused
from tfinv.statistics.compiled.fused import FusedDispersion, groups
from tfinv.statistics.compiled.loop import CHUNK
from tfinv.statistics.views import InverseWarp, Viewed, visible
from tfinv.transformations import parse

MASKED = (AlignedDispersion("std"), AlignedDispersion("variance"))
KEPT = (Viewed(RowDispersion("std"), InverseWarp()), Viewed(RowDispersion("variance"), InverseWarp()))
COLUMNS = Viewed(ColumnMoments(), InverseWarp())
SETS = ("rotations(6)", "product(rotations(3, 40), scales(1, 0.7, 1.3))", "translations(1, 0.3)")


def warped_back(block: np.ndarray, transformations) -> np.ndarray:
    """Bilinear inverse warp in float64, the edge repeated, written from its definition."""
    height, width = block.shape[2:4]
    out = np.empty(block.shape)
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    for j, transformation in enumerate(transformations):
        matrix = transformation.pixel_matrix(height, width)
        points = np.stack([columns, rows], -1) - centre
        x, y = np.moveaxis(points @ matrix[:2, :2].T + matrix[:2, 2] + centre, -1, 0)
        x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
        x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
        x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
        fx, fy = (x - x0)[..., None], (y - y0)[..., None]
        maps = block[:, j].astype(np.float64)
        above = maps[:, y0, x0] * (1 - fx) + maps[:, y0, x1] * fx
        below = maps[:, y1, x0] * (1 - fx) + maps[:, y1, x1] * fx
        out[:, j] = above * (1 - fy) + below * fy
    return out


def states(statistics, block, sizes, transformations) -> dict:
    gatherer = FusedDispersion(statistics, layer_of(block, transformations=transformations))
    position = 0
    for size in sizes:
        gatherer.update(block[position : position + size])
        position += size
    assert position == len(block)
    return {statistic: widened(statistic, gatherer.state(statistic)) for statistic in statistics}


def expected_rows(seen_back: np.ndarray, shown: np.ndarray, kind: str) -> np.ndarray:
    """Mean over samples of the dispersion over the transformations shown; 0 where fewer than two are."""
    hidden = np.broadcast_to(~shown[None, ..., None], seen_back.shape)
    values = np.ma.array(seen_back, mask=hidden)
    dispersion = values.std(axis=1, ddof=1) if kind == "std" else values.var(axis=1, ddof=1)
    return np.where((shown.sum(0) >= 2)[..., None], np.ma.getdata(dispersion.filled(0)).mean(0), 0)


@pytest.mark.parametrize("text", SETS)
@pytest.mark.parametrize("shape", [(9, 9, 5), (6, 11, 1), (2, 3, CHUNK + 70), (40, 3, 64)])
@pytest.mark.parametrize("sizes", [[5], [2, 2, 1]])
def test_states_equal_float64(rng, text, shape, sizes):
    transformations = parse(text)
    block = rng.normal(3, 2, (5, len(transformations), *shape)).astype(np.float32)
    seen_back = warped_back(block, transformations)
    layer = layer_of(block, transformations=transformations)
    for rows, shown in ((MASKED, visible(layer)), (KEPT, np.ones_like(visible(layer)))):
        gathered = states((*rows, COLUMNS), block, sizes, transformations)
        for statistic, kind in zip(rows, ("std", "variance"), strict=True):
            np.testing.assert_allclose(
                gathered[statistic].mean, expected_rows(seen_back, shown, kind), rtol=2e-4, atol=1e-4
            )
        assert gathered[COLUMNS].count == 5
        np.testing.assert_allclose(gathered[COLUMNS].mean, seen_back.mean(0), rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(gathered[COLUMNS].m2, seen_back.var(0) * 5, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("statistics", [MASKED[:1], KEPT[1:], (COLUMNS,), (*MASKED, COLUMNS)])
def test_graph_and_compiled_loop_agree(rng, monkeypatch, statistics):
    transformations = parse("product(rotations(4, 30), translations(1, 0.2))")
    block = rng.normal(5, 1, (7, len(transformations), 8, 6, 3)).astype(np.float32)
    both = []
    for available in (True, False):
        monkeypatch.setattr(fused, "is_available", lambda available=available: available)
        gatherer = Gatherer(statistics, [layer_of(block, transformations=transformations)])
        assert gatherer.is_direct is available
        step = tf.function(lambda part, gatherer=gatherer: gatherer.add("layer", part), reduce_retracing=True)
        for start in range(0, 7, 3):
            step(tf.constant(block[start : start + 3]))
        both.append({statistic: widened(statistic, state) for statistic, state in gatherer.states_of("layer").items()})
    for statistic in statistics:
        for compiled, graph in zip(both[0][statistic], both[1][statistic], strict=True):
            np.testing.assert_allclose(compiled, graph, rtol=1e-4, atol=2e-5)


def test_precision_holds_far_from_zero(rng):
    """Quarter turns move positions onto positions, so that float64 has nothing to interpolate differently."""
    transformations = parse("rotations(4)")
    block = (rng.normal(size=(24, 4, 6, 6, 3)) + np.array([1000, -1000, 0])).astype(np.float32)
    quarters = [round(transformation.degrees / 90) for transformation in transformations]
    turned = np.stack([np.rot90(block[:, j].astype(np.float64), -k, (1, 2)) for j, k in enumerate(quarters)], axis=1)
    gathered = states((*MASKED, COLUMNS), block, [8, 8, 8], transformations)
    np.testing.assert_allclose(gathered[MASKED[0]].mean, turned.std(1, ddof=1).mean(0), rtol=1e-3)
    np.testing.assert_allclose(gathered[COLUMNS].m2, turned.var(0) * 24, rtol=1e-3)


def test_constant_maps_are_exactly_zero(rng):
    transformations = parse("rotations(5)")
    block = rng.normal(1000, 1, (6, 5, 7, 7, 3)).astype(np.float32)
    block[..., 0] = np.float32(0.5)
    block[..., 1] = block[:1, :, :, :, 1]
    gathered = states((*MASKED, COLUMNS), block, [4, 2], transformations)
    assert (gathered[MASKED[0]].mean[..., 0] == 0).all()
    assert (gathered[COLUMNS].m2[..., :2] == 0).all()
    assert gathered[COLUMNS].m2[..., 2].min() > 0


def test_columns_beyond_the_transformations_are_not_read(rng):
    transformations = parse("rotations(3)")
    block = rng.normal(size=(5, 3, 6, 6, 4)).astype(np.float32)
    whole = np.concatenate([block, np.full((5, 1, 6, 6, 4), np.nan, np.float32)], axis=1)
    layer = layer_of(block, transformations=transformations)
    both = [FusedDispersion((*MASKED, COLUMNS), layer) for _ in range(2)]
    both[0].update(block)
    both[1].update(whole)
    for statistic in (*MASKED, COLUMNS):
        for mine, theirs in zip(both[0].state(statistic), both[1].state(statistic), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_masked_rows_take_the_columns_and_kept_rows_stand_alone():
    assert groups([*KEPT, COLUMNS, *MASKED]) == [list(KEPT), [*MASKED, COLUMNS]]
    assert groups([COLUMNS, KEPT[0]]) == [[COLUMNS, KEPT[0]]]
    assert groups([COLUMNS, MASKED[0]]) == [[MASKED[0], COLUMNS]]
