"""Binary layers: values and gradients against their formulae, training, files."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

from tfinv import datasets, models, tflite
from tfinv.layers import BinaryActivation, BinaryConv2D, BinaryDense
from tfinv.layers.straight_through import sign


def signs(values: np.ndarray) -> np.ndarray:
    return np.where(values >= 0, 1.0, -1.0)


def test_the_sign_of_zero_is_one_and_the_gradient_is_that_of_the_formula():
    x = tf.constant([-1.5, -1.0, -0.2, -0.0, 0.0, 0.9, 1.0, 1.001])
    upstream = np.array([2.0, 3.0, -4.0, 5.0, 6.0, -7.0, 8.0, 9.0], np.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = sign(x)
        total = tf.reduce_sum(y * upstream)
    assert_array_equal(y, [-1, -1, -1, 1, 1, 1, 1, 1])
    assert_array_equal(tape.gradient(total, x), [0, 3, -4, 5, 6, -7, 8, 0])


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_values_and_gradients_equal_the_formula_in_float64(kind: str):
    generator = np.random.default_rng(0)
    shape = (3, 5) if kind == "dense" else (3, 5, 5, 2)
    x, layer = generator.normal(size=shape).astype(np.float32), BinaryDense(4, use_bias=True)
    if kind == "conv":
        layer = BinaryConv2D(4, 3, use_bias=True)
    layer.build(shape)
    layer.set_weights([1.5 * generator.normal(size=weight.shape) for weight in layer.weights])
    kernel, bias = (np.asarray(weight, np.float64) for weight in layer.get_weights())
    with tf.GradientTape() as tape:
        y = layer(x)
        towards = generator.normal(size=y.shape)
        total = tf.reduce_sum(y * tf.constant(towards, tf.float32))
    rows = x.astype(np.float64)
    if kind == "conv":  # every window as a row, in the order of the kernel's axes
        windows = np.lib.stride_tricks.sliding_window_view(rows, (3, 3), (1, 2))
        rows = np.moveaxis(windows, 3, -1).reshape(3, 3, 3, -1)
    flat = kernel.reshape(-1, 4)
    assert_allclose(y, rows @ signs(flat) + bias, atol=1e-4)
    by_sign = np.tensordot(rows, towards, axes=(tuple(range(rows.ndim - 1)),) * 2)
    expected = (by_sign * (np.abs(flat) <= 1)).reshape(kernel.shape)
    assert 0.2 < (expected == 0).mean() < 0.8
    gradient = tape.gradient(total, layer.kernel.value)
    assert_allclose(gradient, expected, rtol=1e-3, atol=1e-4)


def test_weights_stay_in_the_unit_interval_and_cross_zero():
    image = keras.Input((3,))
    layer = BinaryDense(1, kernel_initializer=keras.initializers.Constant(0.4))
    model = keras.Model(image, layer(image))
    model.compile(keras.optimizers.SGD(1.0), "mse")
    x = np.eye(3, dtype=np.float32)
    model.fit(x, np.array([[-1.0], [1.0], [-1.0]]), epochs=6, batch_size=3, verbose=0)
    weights = layer.get_weights()[0][:, 0]
    assert_array_equal(np.sign(weights), [-1, 1, -1])
    assert np.abs(weights).max() <= 1
    model.fit(x, np.full((3, 1), 9.0), epochs=6, batch_size=3, verbose=0)
    assert_array_equal(layer.get_weights()[0], np.ones((3, 1)))


def test_bad_options_are_named():
    with pytest.raises(ValueError, match="filters must be a whole number"):
        BinaryConv2D(0, 3)
    with pytest.raises(ValueError, match="padding must be one of"):
        BinaryConv2D(1, 3, padding="full")
    with pytest.raises(ValueError, match="units must be a whole number"):
        BinaryDense(2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"known number of channels.*Received: \(None, 8, 8, None\)"):
        BinaryConv2D(1, 3)(keras.Input((8, 8, None)))


def test_kernels_of_a_file_hold_two_numbers_a_channel_and_no_operator_of_a_sign(tmp_path: Any):
    model, x = models.build("binary_net", (16, 16, 1), 5, seed=0, filters=3, dense=8), pictures()
    for weight in model.weights:
        if weight.name in ("beta", "moving_mean"):  # as after training: no sum of signs is exactly the threshold
            weight.assign(np.random.default_rng(1).normal(size=weight.shape))
    logits = np.asarray(model(x))
    model.save(tmp_path / "net.keras")
    assert_array_equal(models.load(tmp_path / "net.keras")(x), logits)

    file = tflite.float32(model)
    assert_allclose(tflite.TFLiteModel(file)(x)["logits"], logits, atol=1e-4)
    operators = file.operators
    assert (operators["CONV_2D"], operators["FULLY_CONNECTED"]) == (4, 2)
    assert operators["GREATER_EQUAL"] == operators["SELECT_V2"] == 5, "one an activation, none for a kernel"

    integer = tflite.static_int8(file, x)
    for content in (file, integer):
        weights = [weight for weight in content.graph.weights().values() if len(weight.shape) > 1]
        kernels = [np.abs(content.graph.constant(weight.index)).reshape(weight.shape[0], -1) for weight in weights]
        assert len(kernels) == 6
        assert sum(bool(np.ptp(kernel, axis=1).max() < 1e-6) for kernel in kernels) == 4, "output channels come first"


def pictures(count: int = 32) -> np.ndarray:
    return np.random.default_rng(0).random((count, 16, 16, 1), dtype=np.float32)


@pytest.fixture(scope="module")
def trained() -> tuple[keras.Model, datasets.Dataset]:
    digits = datasets.load("digits")
    model = models.build("binary_net", digits.train.x.shape[1:], 10, seed=0, filters=8, dense=32)
    loss: Any = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss)
    model.fit(digits.train.x, digits.train.y.astype(int), epochs=8, batch_size=64, verbose=0)
    return model, digits


def accuracy(logits: Any, labels: np.ndarray) -> float:
    return float((np.argmax(logits, axis=1) == labels.astype(int)).mean())


@pytest.mark.slow
def test_a_binary_network_learns_and_keeps_its_accuracy_in_int8(trained: Any):
    model, digits = trained
    x, labels = np.asarray(digits.test.x), digits.test.y
    right = accuracy(model(x), labels)
    assert right > 0.75
    integer = tflite.TFLiteModel(tflite.static_int8(model, digits.train.x[:200]))
    assert accuracy(integer(x)["logits"], labels) > right - 0.1


@pytest.mark.slow
def test_signs_of_late_layers_are_the_ones_that_int8_flips(trained: Any):
    """Each flipped sign near zero moves every sum behind it by two, so that flips grow from layer to layer."""
    model, digits = trained
    x = np.asarray(digits.test.x)
    layers = [layer.name for layer in model.layers if isinstance(layer, BinaryActivation)]
    before = keras.Model(model.input, {name: model.get_layer(name).output for name in layers})(x)
    after = tflite.TFLiteModel(tflite.static_int8(model, digits.train.x[:200]))(x)
    flipped = [float((signs(np.asarray(before[name])) != signs(after[name])).mean()) for name in layers]
    assert flipped[0] < 0.02 < 0.05 < flipped[3]
