"""Lie derivatives: against central differences of the real warp, and the sum law of the layer contributions."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf
from numpy.testing import assert_allclose

import tfinv
from tfinv.activations import ActivationModel
from tfinv.activations.keras_graph import taped_calls
from tfinv.evaluation.lie_derivative import _carried
from tfinv.measures import LieDerivative
from tfinv.transformations import Affine, warp
from tfinv.transformations.generators import GENERATORS, generator_tangent

STEPS = {
    "rotation": lambda e: Affine.rotation(np.degrees(e)),
    "scale": lambda e: Affine.scale(np.exp(e)),
    "translation_x": lambda e: Affine.translation(e, 0),
    "translation_y": lambda e: Affine.translation(0, e),
    "shear": lambda e: Affine.from_matrix([[1, e, 0], [0, 1, 0], [0, 0, 1]]),
}


def images(count: int = 3, size: tuple[int, int] = (12, 12)) -> np.ndarray:
    noise = np.random.default_rng(5).normal(size=(count, *size, 2))
    return scipy.ndimage.gaussian_filter(noise, (0, 1.5, 1.5, 0)).astype(np.float32)


def network() -> keras.Model:
    keras.utils.set_random_seed(1)
    inputs = keras.Input((12, 12, 2))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="tanh", name="conv_in")(inputs)
    x = keras.layers.BatchNormalization(name="bn")(x)
    skip = keras.layers.Conv2D(4, 3, padding="same", name="conv_mid")(x)
    x = keras.layers.Add(name="add")([x, keras.layers.Activation("elu", name="elu")(skip)])
    x = keras.layers.AveragePooling2D(2, name="pool")(x)
    x = keras.layers.Dropout(0.5, name="drop")(x)
    x = keras.layers.Flatten(name="flat")(x)
    return keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))


@pytest.mark.parametrize("generator", GENERATORS)
def test_tangent_equals_central_differences_of_the_warp(generator):
    data = images(size=(11, 14))
    step = 1e-3
    plus, minus = (
        np.asarray(warp(data, [STEPS[generator](sign * step)], padding="nearest"), np.float64)[:, 0] for sign in (1, -1)
    )
    inside = (slice(None), slice(1, -1), slice(1, -1))
    tangent = np.asarray(generator_tangent(tf.constant(data), generator))
    scale = np.abs(tangent).max()
    assert_allclose(tangent[inside], ((plus - minus) / (2 * step))[inside], atol=0.01 * scale)


@pytest.mark.parametrize("generator", ["rotation", "scale"])
def test_every_layer_equals_central_differences_of_the_network(generator):
    model, data, step = network(), images(), 2e-3
    results = tfinv.lie_derivative(model, data, [generator], contributions=False, progress=False)
    source = ActivationModel(model)
    # The tangent of the image is checked above, so differences are taken along it.
    tangent = np.asarray(generator_tangent(tf.constant(data), generator))
    plus, minus = source(data + step * tangent), source(data - step * tangent)
    values = source(data)
    for name, layer in results[LieDerivative(generator)].items():
        difference = (np.asarray(plus[name], np.float64) - np.asarray(minus[name])) / (2 * step)
        if layer.values.ndim == 3:
            difference -= np.asarray(generator_tangent(values[name], generator))
        expected = np.square(difference).mean(0)
        assert_allclose(layer.values, expected, rtol=0.02, atol=0.002 * expected.max(), err_msg=name)


def test_contributions_of_all_layers_add_up_to_the_error_of_the_output():
    model, data = network(), tf.constant(images())
    calls, tapes, (output,) = taped_calls(model, data)
    direction = tf.constant(np.random.default_rng(0).normal(size=output.shape).astype("float32"))
    carried = _carried(calls, tapes, output, direction, ["rotation"])["rotation"]
    with tf.autodiff.ForwardAccumulator(data, generator_tangent(data, "rotation")) as accumulator:
        result = model(data, training=False)
    expected = tf.reduce_sum(direction * accumulator.jvp(result), axis=1).numpy()
    assert_allclose(sum(carried.values()), expected, rtol=2e-4, atol=1e-5)
    assert list(carried) == ["conv_in", "bn", "conv_mid", "elu", "add", "pool", "drop", "flat", "logits"]


def test_random_probes_estimate_the_exact_contributions(monkeypatch):
    model, data = network(), images(24)
    exact = tfinv.lie_derivative(model, data, ["rotation"], progress=False)["LieContribution"]
    monkeypatch.setattr("tfinv.evaluation.lie_derivative.EXACT_OUTPUTS", 0)
    probed = tfinv.lie_derivative(model, data, ["rotation"], probes=50, progress=False)["LieContribution"]
    for name in exact:
        assert_allclose(probed[name].mean, exact[name].mean, rtol=0.25, atol=1e-12, err_msg=name)


def test_global_pooling_is_locally_invariant_to_translation():
    inputs = keras.Input((12, 12, 2))
    outputs = keras.layers.GlobalAveragePooling2D(name="gap")(inputs)
    model = keras.Model(inputs, outputs)
    framed = np.pad(images()[:, 3:-3, 3:-3], ((0, 0), (3, 3), (3, 3), (0, 0)))
    results = tfinv.lie_derivative(model, framed, ["translation_x"], progress=False)
    assert results[LieDerivative("translation_x")]["gap"].values.max() < 1e-8


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="generators must be some of rotation"):
        tfinv.lie_derivative(network(), images(), ["spin"])
    with pytest.raises(ValueError, match="fit the model's input"):
        tfinv.lie_derivative(network(), images(size=(8, 8)), ["rotation"])
