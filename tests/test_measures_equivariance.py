"""Linear equivariance: against an explicit float64 regression, and layers whose map is known."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import scipy.ndimage
from numpy.testing import assert_allclose

import tfinv
from tfinv.measures import LinearEquivariance, NormalizedVarianceSE
from tfinv.status import Status
from tfinv.transformations import rotations, warp


def images(count: int = 12) -> np.ndarray:
    noise = np.random.default_rng(5).normal(size=(count, 12, 12, 1))
    return scipy.ndimage.gaussian_filter(noise, (0, 1, 1, 0)).astype(np.float32)


def conv(kernel: np.ndarray) -> keras.Model:
    inputs = keras.Input((12, 12, 1))
    layer = keras.layers.Conv2D(kernel.shape[-1], kernel.shape[0], use_bias=False, name="conv")
    outputs = layer(inputs)
    layer.set_weights([kernel])
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D(name="gap")(outputs))


def test_a_layer_of_turned_filters_is_equivariant_but_not_same_equivariant():
    base = np.random.default_rng(0).normal(size=(3, 3))
    kernel = np.stack([np.rot90(base, k) for k in range(4)], -1)[:, :, None].astype(np.float32)
    measures = [LinearEquivariance(ridge=1e-6), NormalizedVarianceSE(aggregate="mean")]
    results = tfinv.evaluate(conv(kernel), images(), rotations(4), measures, progress=False)
    assert results[measures[0]]["conv"].values.min() > 0.9999
    assert results[measures[1]]["conv"].values.min() > 0.3
    assert "no feature map" in results[measures[0]]["gap"].note


def test_a_single_oriented_filter_is_not_equivariant():
    kernel = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]], np.float32)[..., None, None]
    results = tfinv.evaluate(conv(kernel), images(40), rotations(4), [LinearEquivariance()], progress=False)
    assert results["LinearEquivariance"]["conv"].values[0] < 0.7


def test_values_equal_an_explicit_regression_in_float64():
    kernel = np.random.default_rng(1).normal(size=(3, 3, 1, 3)).astype(np.float32)
    model, data, turns, ridge = conv(kernel), images(), rotations(4), 0.01
    results = tfinv.evaluate(model, data, turns, [LinearEquivariance(ridge)], batch_size=5, progress=False)
    layer = keras.Model(model.inputs[0], model.get_layer("conv").output)
    reference = np.asarray(warp(np.asarray(layer(data)), turns), np.float64)
    turned = np.asarray(warp(data, turns))
    actual = np.stack([np.asarray(layer(turned[:, j])) for j in range(4)], 1).astype(np.float64)
    residual, total = np.zeros(3), np.zeros(3)
    for fit, score in ((0, 1), (1, 0)):
        for j in range(4):
            x, y = (values[fit::2, j].reshape(-1, 3) for values in (reference, actual))
            x_mean, y_mean = x.mean(0), y.mean(0)
            xx = (x - x_mean).T @ (x - x_mean)
            solution = np.linalg.solve(xx + ridge * np.trace(xx) / 3 * np.eye(3), (x - x_mean).T @ (y - y_mean))
            x, y = (values[score::2, j].reshape(-1, 3) for values in (reference, actual))
            residual += ((y - y_mean - (x - x_mean) @ solution) ** 2).sum(0)
            total += ((y - y.mean(0)) ** 2).sum(0)
    assert_allclose(results[LinearEquivariance(ridge)]["conv"].values, 1 - residual / total, rtol=1e-4, atol=1e-5)


def test_a_dead_map_has_a_status():
    kernel = np.stack([np.zeros((3, 3)), np.ones((3, 3))], -1)[:, :, None].astype(np.float32)
    results = tfinv.evaluate(conv(kernel), images(), rotations(4), [LinearEquivariance()], progress=False)
    assert results["LinearEquivariance"]["conv"].status.tolist() == [Status.DEAD, Status.VALID]


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="ridge must be at least 0"):
        LinearEquivariance(ridge=-1)
    kernel = np.ones((3, 3, 1, 3), np.float32)
    few = LinearEquivariance(max_channels=2)
    results = tfinv.evaluate(conv(kernel), images(), rotations(4), [few], progress=False)
    assert "max_channels=2" in results[few]["conv"].note
