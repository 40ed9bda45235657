"""Firing shares and used levels against counting one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from laws import assert_laws

import tfinv
from tfinv.measures import FiringShare
from tfinv.statistics import ShareAbove
from tfinv.tflite import Subsets, TFLiteModel
from tfinv.tflite.comparison.limits import Limits
from tfinv.tflite.comparison.responses import FIRING, LEVELS, MOST_LEVELS, Responses

LIMITS = Limits(low=-1.0, high=-1.0 + 255 * 0.05, step=0.05)


def stored(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Levels of integers, some maps using few of them, and the real numbers that they stand for."""
    levels = rng.integers(0, 256, shape)
    levels[..., 0] = 20
    levels[..., 1] = np.where(rng.random(shape[:-1]) < 0.02, 255, 0)
    low, step = np.float32(LIMITS.low), np.float32(LIMITS.step)
    return levels, (low + step * levels.astype(np.float32)).astype(np.float32)


@pytest.mark.parametrize("shape", [(40, 7, 5, 6), (9, 3, 3, 4), (300, 5), (6, 5)])
def test_shares_and_levels_equal_counting_one_by_one(rng, shape):
    levels, after = stored(rng, shape)
    before = rng.normal(size=shape).astype(np.float32)
    seen = Responses(LIMITS)
    for part in np.array_split(np.arange(shape[0]), 3):
        seen.update(before[part], after[part])
    maps = [levels[..., number].ravel() for number in range(shape[-1])]
    assert seen.levels is not None
    assert seen.levels.tolist() == [len(np.unique(unit)) for unit in maps]
    axes = tuple(range(len(shape) - 1))
    np.testing.assert_allclose(seen.firing_before, (before > 0).mean(axis=axes))
    np.testing.assert_allclose(seen.firing_after, (after > 0).mean(axis=axes))
    values = seen.values()
    assert values["levels"] == np.median([len(np.unique(unit)) for unit in maps])
    assert values["firing_before"] == pytest.approx((before > 0).mean())
    first, second = seen.results()
    assert list(first) == [FIRING] and list(second) == [FIRING, LEVELS]


@pytest.mark.parametrize("limits", [None, Limits(-32768.0, 32767.0, 1.0)])
def test_floats_and_integers_of_16_bits_have_no_levels(rng, limits):
    seen = Responses(limits)
    assert all(math.isnan(value) for value in seen.values().values()) and seen.results() == ({}, {})
    block = rng.normal(size=(4, 3)).astype(np.float32)
    seen.update(block, block)
    assert seen.levels is None and math.isnan(seen.values()["levels"]) and list(seen.results()[1]) == [FIRING]


def test_a_comparison_holds_them_by_layer_and_by_map(data_folder):
    """ResNet-8 of MLPerf in int8: counted from the integers themselves."""
    from tfinv.tflite import compare_files
    from tfinv.transformations import parse, warp

    with np.load(data_folder / "cifar10" / "cifar10_train_first4000.npz") as data:
        images = data["x"][:6].astype(np.float32) / 255
    folder = data_folder / "models" / "ic_resnet8"
    models = [TFLiteModel(folder / f"{name}.tflite", input_scale="0..255") for name in ("float", "int8")]
    options = {
        "measures": "NormalizedVariance",
        "subsets": Subsets(fidelity_samples=6),
        "sampling": tfinv.Sampling(0.95, shards=2),
        "progress": False,
    }
    comparison = compare_files(*models, images, "rotations(4)", **options)
    turned = np.asarray(warp(images, parse("rotations(4)"))).reshape(-1, 32, 32, 3)
    for layer in list(comparison.match.pairs)[2:9:3]:
        blocks = [
            model(turned)[name] for model, name in zip(models, (layer, comparison.match.pairs[layer]), strict=True)
        ]
        row = comparison.fidelity.set_index("layer").loc[layer]
        assert row["firing_before"] == pytest.approx((blocks[0] > 0).mean(), rel=1e-6)
        assert row["firing_after"] == pytest.approx((blocks[1] > 0).mean(), rel=1e-6)
        maps = np.reshape(blocks[1], (-1, blocks[1].shape[-1]))
        levels = [len(np.unique(column)) for column in maps.T]
        assert comparison.after[LEVELS][layer].values.tolist() == levels and max(levels) <= MOST_LEVELS
        assert row["levels"] == np.median(levels)
        np.testing.assert_allclose(
            comparison.before[FIRING][layer].values, (np.reshape(blocks[0], maps.shape) > 0).mean(axis=0)
        )


def test_shares_above_merge_in_any_order(rng):
    assert_laws(ShareAbove(0.1), rng.normal(size=(11, 3, 2, 2)).astype(np.float32))


def test_firing_share_is_the_share_above_the_threshold(rng):
    block = rng.normal(size=(30, 5, 4, 3, 2)).astype(np.float32)
    for measure, above in ((FiringShare(), 0.0), (FiringShare(0.7), 0.7)):
        values = tfinv.evaluate_arrays({"relu": block}, measure)[measure]["relu"].values
        np.testing.assert_allclose(values, (block > above).mean(axis=(0, 1)), rtol=1e-6)
    whole = tfinv.evaluate_arrays({"relu": block}, FiringShare(aggregate="mean"))[FIRING]["relu"].values
    np.testing.assert_allclose(whole, (block > 0).mean(axis=(0, 1, 2, 3)), rtol=1e-6)
    with pytest.raises(ValueError, match="aggregate must be"):
        FiringShare(aggregate="median")  # type: ignore[arg-type]
    block[3, 2, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="activations must be finite"):
        tfinv.evaluate_arrays({"relu": block}, "FiringShare")
