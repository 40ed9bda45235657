"""Equivariance under a prescribed action: exact networks, special cases, and an explicit float64 computation."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose

import tfinv
from tfinv import models
from tfinv.datasets import Split
from tfinv.layers import GroupPooling, P4Conv2D
from tfinv.measures import NormalizedVarianceSE, RepresentationEquivariance, parse
from tfinv.results import LayerResult
from tfinv.status import Status
from tfinv.transformations import Affine, TransformationSet, rotations, warp
from tfinv.transformations.groups import P4M
from tfinv.uncertainty import paired_units


def images(count: int = 6, size: int = 28) -> np.ndarray:
    return np.random.default_rng(5).random((count, size, size, 1), dtype=np.float32)


def test_every_layer_of_a_group_network_follows_its_own_action():
    model = models.build("p4cnn", (28, 28, 1), 5, seed=0, filters=2)
    measures = [RepresentationEquivariance(), NormalizedVarianceSE(aggregate="mean")]
    results = tfinv.evaluate(model, images(), rotations(4), measures, progress=False)
    layers = results[measures[0]]
    assert all(layer.values.max() < 2e-5 for layer in layers.values())
    assert set(layers) >= {"conv1", "bn3", "act6", "pool", "class_maps", "positions", "logits"}
    # Channels are permuted, which a measure of same-equivariance counts as an error.
    assert 0.7 < results[measures[1]]["act4"].values[results[measures[1]]["act4"].status == Status.VALID].mean() < 1.3


def test_a_mirrored_group_network_follows_its_own_action():
    model = models.build("p4cnn", (16, 16, 1), 3, seed=0, filters=2, group="p4m")
    maps = TransformationSet(P4M.maps)
    layers = tfinv.evaluate(model, images(3, 16), maps, [RepresentationEquivariance()], progress=False)
    for layer in layers["RepresentationEquivariance"].values():
        assert (layer.status == Status.VALID).all(), "no map is dead, of which nothing could be said"
        assert layer.values.max() < 2e-5


def test_ordinary_batch_normalization_shows_as_an_error():
    image = keras.Input((9, 9, 1))
    x = P4Conv2D(2, 3, lifting=True, name="conv")(image)
    x = keras.layers.BatchNormalization(gamma_initializer=keras.initializers.RandomUniform(0.5, 2, seed=0), name="bn")(
        x
    )
    model = keras.Model(image, GroupPooling(name="pool")(x))
    layers = tfinv.evaluate(model, images(3, 9), rotations(4), ["RepresentationEquivariance"], progress=False)
    layers = layers["RepresentationEquivariance"]
    assert layers["conv"].values.max() < 1e-5
    assert layers["bn"].values.min() > 0.1


def plain() -> keras.Model:
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(3, 3, kernel_initializer=keras.initializers.RandomNormal(seed=1), name="conv")(image)
    return keras.Model(image, keras.layers.GlobalAveragePooling2D(name="mean")(x))


@pytest.mark.parametrize("action", ["identity", "spatial", ((0, 1, 2), (2, 0, 1))])
def test_values_equal_the_definition_in_float64(action: Any):
    model, data, turns = plain(), images(5, 8), [Affine.identity(), Affine.rotation(90)]
    measure = RepresentationEquivariance(action)
    result = tfinv.evaluate(model, data, turns, [measure], batch_size=2, progress=False)[measure]
    layer = keras.Model(model.inputs[0], [model.get_layer(name).output for name in ("conv", "mean")])
    for name, maps, actual in zip(
        ("conv", "mean"),
        layer(data),
        zip(*(layer(warp(data, turns)[:, j]) for j in range(2)), strict=True),
        strict=True,
    ):
        maps = np.asarray(maps, np.float64)
        error, norm = np.zeros(3), np.zeros(3)
        for j in range(2):
            expected = np.rot90(maps, j, (1, 2)) if maps.ndim == 4 and action != "identity" else maps
            expected = expected if isinstance(action, str) else expected[..., list(action[j])]
            axes = tuple(range(maps.ndim - 1))
            error += ((np.asarray(actual[j], np.float64) - expected) ** 2).sum(axes)
            norm += (expected**2).sum(axes)
        assert_allclose(result[name].values, np.sqrt(error / norm), rtol=1e-4, atol=1e-5)
        assert result[name].mean == pytest.approx(np.sqrt(error.sum() / norm.sum()), rel=1e-4, abs=1e-5)
    assert parse(measure.key) == measure


def nearly_dead() -> keras.Model:
    """Three maps: two ordinary ones, and one that the darkest corner of an image alone can wake."""
    image = keras.Input((8, 8, 1))
    layer = keras.layers.Conv2D(3, 3, activation="relu", name="conv")
    model = keras.Model(image, layer(image))
    kernel = np.zeros((3, 3, 1, 3), np.float32)
    kernel[:, 0, 0, 0], kernel[0, 2, 0, 1], kernel[:, 0, 0, 2] = 1, 1, 1
    layer.set_weights([kernel, np.array([0, 0, -2.9], np.float32)])
    return model


def test_the_number_of_a_layer_does_not_hang_on_a_map_that_is_nearly_dead(tmp_path: Any):
    data = np.zeros((6, 8, 8, 1), np.float32)
    data[:] = np.random.default_rng(0).random((6, 8, 8, 1)) * 0.9
    data[:, 2, 1:4] = 1.0  # a row of three, which the third map finds once it is turned
    data[0, 4:7, 4] = 0.967  # and a column that hardly reaches it upright
    measure, sampling = RepresentationEquivariance("spatial"), tfinv.Sampling(0.9, shards=3)
    results = tfinv.evaluate(nearly_dead(), data, rotations(4), [measure], sampling=sampling, progress=False)
    layer = results[measure]["conv"]
    assert layer.status.tolist() == [Status.VALID] * 3
    assert layer.values[2] > 20 * layer.values[:2].max(), "kept per map"
    assert layer.mean < 1.5 * layer.values[:2].max(), "but hardly part of the layer's number"

    results.save(tmp_path / "results.npz")
    again = tfinv.Results.load(tmp_path / "results.npz")
    assert again[measure]["conv"].mean == layer.mean
    profile = again[measure].profile().iloc[0]
    assert profile["mean"] == layer.mean and profile["low"] <= layer.mean <= profile["high"]

    split, sampling = Split(data, np.arange(6) % 2), tfinv.Sampling(stratified=True)
    results = tfinv.evaluate(nearly_dead(), split, rotations(4), [measure], sampling=sampling, progress=False)
    assert results[measure]["conv"].mean < 1.5 * layer.values[:2].max()


def test_paired_layers_keep_the_weights_of_their_maps():
    valid = np.zeros(3, np.uint8)
    first = LayerResult(np.array([0.5, 1.0, 900.0]), valid, weights=np.array([4.0, 1.0, 0.0]))
    second = LayerResult(np.array([0.5, 2.0, 900.0]), valid, weights=np.array([1.0, 1.0, 0.0]))
    before, after = paired_units(first, second).means
    assert before == pytest.approx(np.sqrt((4 * 0.25 + 1) / 5)) == first.mean
    assert after == pytest.approx(np.sqrt((0.25 + 4) / 2)) == second.mean
    with pytest.raises(ValueError, match=r"weights must have the shape of values, \(3,\). Received: \(2,\)"):
        LayerResult(first.values, valid, weights=np.ones(2))
    with pytest.raises(ValueError, match=r"weights must be at least 0. Received: -1.0"):
        LayerResult(first.values, valid, weights=np.array([1.0, -1.0, 1.0]))


def test_layers_that_know_no_action_and_other_transformations_are_not_applicable():
    measures = [RepresentationEquivariance(), RepresentationEquivariance("p4")]
    results = tfinv.evaluate(plain(), images(3, 8), rotations(4), measures, progress=False)
    assert "not known how transformations act" in results[measures[0]]["conv"].note
    assert "no multiple of 4" in results[measures[1]]["conv"].note
    model = models.build("p4cnn", (12, 12, 1), 3, seed=0, filters=1)
    results = tfinv.evaluate(model, images(2, 12), rotations(8), measures[:1], layers=["conv1"], progress=False)
    assert "4 of 8 transformations do not belong to p4" in results[measures[0]]["conv1"].note


def test_an_action_of_the_wrong_size_is_refused():
    two = [Affine.identity(), Affine.rotation(90)]
    for action, message in (
        (((0, 1), (1, 0)), "permutations of the 3 channels of 'conv'"),
        (((0, 1, 1), (2, 1, 0)), "permutations of the 3 channels of 'conv'"),
        (((0, 1, 2),), "for each of the 2 transformations"),
    ):
        with pytest.raises(ValueError, match=message):
            tfinv.evaluate(plain(), images(2, 8), two, [RepresentationEquivariance(action)], progress=False)
    wrong: list[Any] = ["p6", (), 3]
    for action in wrong:
        with pytest.raises(ValueError, match="action must be one of"):
            RepresentationEquivariance(action)
