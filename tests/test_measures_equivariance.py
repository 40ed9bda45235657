"""Linear equivariance: against an explicit float64 regression, and layers whose map is known."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import scipy.ndimage
from numpy.testing import assert_allclose

import tfinv
from tfinv import models
from tfinv.layers import GroupBatchNormalization
from tfinv.measures import LinearEquivariance, NormalizedVarianceSE
from tfinv.results import LayerResult
from tfinv.statistics.channel_regression import ChannelCoMomentsState
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


def by_regression(x: np.ndarray, y: np.ndarray, ridges: tuple[float, ...]) -> np.ndarray:
    """The definition in float64: standardized channels, explicit predictions. Arrays `(S, T, P, C)`."""
    channels = x.shape[-1]
    residual, total = np.zeros(channels), np.zeros(channels)
    for j in range(x.shape[1]):
        errors, squares = np.zeros((len(ridges), channels)), np.zeros(channels)
        for fit, score in ((0, 1), (1, 0)):
            x_fit, y_fit, x_score, y_score = (
                values[half::2, j].reshape(-1, channels) for half in (fit, score) for values in (x, y)
            )
            x_mean, y_mean = x_fit.mean(0), y_fit.mean(0)
            deviation = x_fit.std(0)
            z = (x_fit - x_mean) / deviation
            for number, ridge in enumerate(ridges):
                gram = z.T @ z / len(z) + ridge * np.eye(channels)
                solution = np.linalg.solve(gram, z.T @ (y_fit - y_mean) / len(z))
                predicted = y_mean + (x_score - x_mean) / deviation @ solution
                errors[number] += ((y_score - predicted) ** 2).sum(0)
            squares += ((y_score - y_score.mean(0)) ** 2).sum(0)
        residual += errors[np.argmin((errors / squares).sum(1))]
        total += squares
    return 1 - residual / total


@pytest.mark.parametrize("ridge", [0.01, None])
def test_values_equal_an_explicit_regression_in_float64(ridge: float | None):
    kernel = np.random.default_rng(1).normal(size=(3, 3, 1, 3)).astype(np.float32)
    model, data, turns = conv(kernel), images(), rotations(4)
    results = tfinv.evaluate(model, data, turns, [LinearEquivariance(ridge)], batch_size=5, progress=False)
    layer = keras.Model(model.inputs[0], model.get_layer("conv").output)
    reference = np.asarray(warp(np.asarray(layer(data)), turns), np.float64)
    turned = np.asarray(warp(data, turns))
    actual = np.stack([np.asarray(layer(turned[:, j])) for j in range(4)], 1).astype(np.float64)
    x, y = (values.reshape(*values.shape[:2], -1, 3) for values in (reference, actual))
    expected = by_regression(x, y, tuple(10.0**n for n in range(-5, 1)) if ridge is None else (ridge,))
    assert_allclose(results[LinearEquivariance(ridge)]["conv"].values, expected, rtol=1e-4, atol=1e-5)


def measured(x: np.ndarray, y: np.ndarray, measure: LinearEquivariance | None = None) -> LayerResult:
    """The measure on maps `(S, T, P, C)` given as they are, in float64."""
    halves = [[values[half::2] for values in (x, y)] for half in (0, 1)]
    moments: list[list[np.ndarray]] = [[] for _ in range(6)]
    for x_half, y_half in halves:
        mean_x, mean_y = x_half.mean((0, 2)), y_half.mean((0, 2))
        dx, dy = x_half - mean_x[:, None], y_half - mean_y[:, None]
        count = np.full(x.shape[1], float(x_half.shape[0] * x_half.shape[2]))
        gram = "stpc,stpd->tcd"
        values = (count, mean_x, mean_y, np.einsum(gram, dx, dx), np.einsum(gram, dx, dy), (dy * dy).sum((0, 2)))
        for moment, value in zip(moments, values, strict=True):
            moment.append(value)
    measure = measure or LinearEquivariance()
    return measure.compute({measure.requires[0]: ChannelCoMomentsState(*(np.stack(pair) for pair in moments))})


def permuted_maps(samples: int = 60, channels: int = 40, positions: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Correlated maps that the transformation permutes, up to errors of 1e-5, some of them nearly dead."""
    generator = np.random.default_rng(0)
    mixed = generator.normal(size=(samples, 1, positions, channels)) @ generator.normal(size=(channels, channels))
    scales = 10.0 ** -generator.integers(0, 4, channels)
    x = np.maximum(mixed * scales, 0)
    y = x[..., np.roll(np.arange(channels), 1)]
    return x, y + 1e-5 * generator.normal(size=y.shape) * y.std((0, 1, 2))


def test_nearly_dead_maps_of_an_equivariant_layer_are_predicted():
    x, y = permuted_maps()
    assert measured(x, y).values.min() > 0.999
    assert measured(x, y, LinearEquivariance(1e-4)).values.min() > 0.999


def test_every_live_map_of_a_group_network_is_equivariant():
    model = models.build("p4cnn", (28, 28, 1), 10, seed=0, filters=4)
    for layer in model.layers:
        if isinstance(layer, GroupBatchNormalization):
            layer.gamma.assign(10.0 ** -np.arange(4.0))  # one field of maps is nearly dead
    data = np.pad(images(40), ((0, 0), (8, 8), (8, 8), (0, 0)))
    measures = [LinearEquivariance(), NormalizedVarianceSE(aggregate="mean")]
    chosen = ["conv1", "act2", "act4"]
    results = tfinv.evaluate(model, data, rotations(4), measures, layers=chosen, progress=False)
    for layer in results[measures[0]].values():
        live = layer.status == Status.VALID
        assert live.mean() > 0.5
        assert layer.values[live].min() >= 0.999
    # The same layers are far from same-equivariant: a turn permutes their channels.
    assert results[measures[1]]["act4"].values.mean() > 0.3


@pytest.mark.parametrize(("channels", "positions", "samples"), [(40, 1, 100), (64, 4, 40), (10, 64, 30)])
def test_few_samples_of_an_unrelated_layer_feign_no_equivariance(channels: int, positions: int, samples: int):
    generator = np.random.default_rng(2)
    x, y = generator.normal(size=(2, samples, 2, positions, channels))
    values = measured(x, y).values
    assert -0.4 < values.mean() < 0.02
    assert values.max() < 0.1


def test_few_positions_give_less_than_many_and_never_a_large_negative_value():
    """Half of the variance can be predicted; a fixed small ridge would say -2."""
    generator = np.random.default_rng(3)
    mixing = generator.normal(size=(64, 64)) / 8

    def related(samples: int) -> tuple[np.ndarray, np.ndarray]:
        x, noise = generator.normal(size=(2, samples, 1, 4, 64))
        return x, x @ mixing + noise

    few, many = measured(*related(36)).values.mean(), measured(*related(2000)).values.mean()
    assert measured(*related(36), LinearEquivariance(1e-6)).values.mean() < -1
    assert -0.1 < few < many
    assert abs(many - 0.5) < 0.02


def test_a_random_network_is_not_called_more_equivariant_for_few_samples():
    generator = np.random.default_rng(4)
    model = conv(generator.normal(size=(5, 5, 1, 12)).astype(np.float32))
    few, many = (
        tfinv.evaluate(model, images(count), rotations(4), [LinearEquivariance()], layers=["conv"], progress=False)[
            "LinearEquivariance"
        ]["conv"].values
        for count in (6, 150)
    )
    assert few.mean() < many.mean() + 0.02
    assert many.mean() < 0.97


def test_a_half_with_as_few_positions_as_channels_has_no_value():
    x, y = permuted_maps(samples=8, channels=16, positions=4)
    result = measured(x, y)
    assert (result.status == Status.TOO_FEW_POSITIONS).all() and np.isnan(result.values).all()


def test_a_map_alive_in_one_half_only_is_dead():
    x, y = permuted_maps()
    y[1::2, ..., 5] = 0.0
    result = measured(x, y)
    assert result.status[5] == Status.DEAD
    assert np.delete(result.values, 5).min() > 0.999


def test_a_dead_map_has_a_status():
    kernel = np.stack([np.zeros((3, 3)), np.ones((3, 3))], -1)[:, :, None].astype(np.float32)
    results = tfinv.evaluate(conv(kernel), images(), rotations(4), [LinearEquivariance()], progress=False)
    assert results["LinearEquivariance"]["conv"].status.tolist() == [Status.DEAD, Status.VALID]


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="ridge must be a finite number of at least 0"):
        LinearEquivariance(ridge=-1)
    kernel = np.ones((3, 3, 1, 3), np.float32)
    few = LinearEquivariance(max_channels=2)
    results = tfinv.evaluate(conv(kernel), images(), rotations(4), [few], progress=False)
    assert "max_channels=2" in results[few]["conv"].note
