"""The number of a layer converges: units of known truth that respond rarely, and one unit that must not decide."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from references import layer_number, normalized_variance

import tfinv
from tfinv.measures import NormalizedVariance


def layer(block: np.ndarray, measure: NormalizedVariance) -> tfinv.results.LayerResult:
    return tfinv.evaluate_arrays({"layer": block}, [measure])[measure]["layer"]


def sparse(rng: np.random.Generator, shape: tuple[int, ...], share: float) -> np.ndarray:
    return np.abs(rng.normal(size=shape)) * (rng.random(shape) < share)


@pytest.mark.parametrize("share", [1.0, 0.2, 0.05, 0.01, 0.005])
@pytest.mark.parametrize(
    ("samples", "transformations", "units"), [(30, 2, 4000), (30, 64, 400), (300, 16, 2000), (3000, 2, 400)]
)
def test_a_unit_that_responds_at_random_reads_one(share, samples, transformations, units):
    rng = np.random.default_rng(7)
    valid = layer(sparse(rng, (samples, transformations, units), share), NormalizedVariance()).valid
    error = valid.std(ddof=1) / np.sqrt(len(valid))
    # Values of sparse units are skewed: a standard error of few units is often too small, hence many units.
    # The root of an unbiased quotient of few samples is low by up to an eighth of the quotient's variance.
    assert abs(valid.mean() - 1) < 3 * error + np.var(valid**2) / 8


def test_the_published_statistic_falls_with_silence_and_the_default_does_not():
    rng, size = np.random.default_rng(1), (1000, 16, 100)
    for share, low, high in ((1.0, 0.95, 1.0), (0.01, 0.3, 0.45)):
        block = sparse(rng, size, share)
        assert low < layer(block, NormalizedVariance("std")).mean < high
        assert layer(block, NormalizedVariance()).mean == pytest.approx(1, abs=0.003)


@pytest.mark.parametrize("samples", [30, 250, 2000])
def test_heavy_tails_read_one_whatever_the_number_of_samples(samples):
    block = np.random.default_rng(2).lognormal(0, 1.5, (samples, 16, 100))
    assert layer(block, NormalizedVariance()).mean == pytest.approx(1, abs=0.005)
    assert layer(block, NormalizedVariance("std")).mean < 0.95


@pytest.mark.parametrize("samples", [30, 3000])
def test_half_of_the_deviation_reads_half(samples):
    rng = np.random.default_rng(3)
    block = np.sqrt(3) * rng.normal(size=(samples, 1, 200)) + rng.normal(size=(samples, 16, 200))
    assert layer(block, NormalizedVariance()).mean == pytest.approx(0.5, abs=0.02)


def test_one_nearly_dead_unit_does_not_decide_the_number_of_its_layer(rng):
    block = np.repeat(rng.normal(size=(100, 1, 40)), 8, axis=1) + rng.normal(size=(100, 8, 40))
    before = layer(block, NormalizedVariance()).mean
    block[..., 0] = 1e-3 * rng.normal(size=(100, 1)) + np.arange(8)
    after = layer(block, NormalizedVariance())
    assert after.values[0] > 100
    assert after.mean == pytest.approx(before, rel=0.03)
    assert layer(block, NormalizedVariance("variance")).mean > 100 * before


def test_the_number_of_a_layer_equals_a_reference(rng):
    block = rng.lognormal(0, 1, (12, 5, 43)) * (rng.random((12, 5, 43)) < 0.5)
    assert layer(block, NormalizedVariance()).mean == pytest.approx(layer_number(normalized_variance(block)), rel=1e-12)


@pytest.mark.skipif("TFINV_DATA" not in os.environ, reason="needs the data folder that TFINV_DATA names")
def test_few_images_of_a_residual_network_tell_what_many_do():
    from tfinv.tflite import TFLiteModel

    data = Path(os.environ["TFINV_DATA"])
    images = np.load(data / "cifar10" / "cifar10_train_first4000.npz")["x"].astype(np.float32)
    model = TFLiteModel(str(data / "models" / "ic_resnet8" / "float.tflite"))

    def profile(some: np.ndarray) -> np.ndarray:
        return tfinv.evaluate(model, some, "rotations(16)", [NormalizedVariance()], progress=False).profile()["mean"]

    truth = profile(images[:1200])
    worst = [float(abs(profile(images[start : start + 40]) / truth - 1).max()) for start in range(1200, 1600, 40)]
    assert sorted(worst)[8] < 0.06
    assert max(worst) < 0.08
