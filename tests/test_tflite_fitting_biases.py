"""Biases of channels whose kernel is zero, or nearly so, survive quantization."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tfinv.tflite import Ranges, TFLiteModel, float32, qat_int8, static_int8, static_int16x8
from tfinv.tflite.convert.fitting_biases import fit_biases
from tfinv.tflite.convert.litert_quantizer import ScopeRule, calibrated_ranges, quantize_by_rules
from tfinv.tflite.files.flatbuffer import read_graph

IMAGES = np.random.default_rng(0).random((24, 8, 8, 2), np.float32)
NAMES = ("conv", "depthwise", "transposed", "dense")


def network(least: float = 0.0) -> keras.Model:
    """Every kind of kernel, each with a channel of zeros (or of tiny numbers) and a bias of its own."""
    keras.utils.set_random_seed(1)
    inputs = x = keras.Input((8, 8, 2))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(x)
    x = keras.layers.DepthwiseConv2D(3, activation="relu", name="depthwise")(x)
    x = keras.layers.Conv2DTranspose(3, 2, activation="relu", name="transposed")(x)
    x = keras.layers.Dense(5, name="dense")(keras.layers.Flatten(name="flat")(x))
    model = keras.Model(inputs, x)
    for name in NAMES:
        layer = model.get_layer(name)
        kernel, bias = layer.get_weights()
        one = kernel[:, :, 1] if name == "transposed" else kernel.reshape(-1, bias.size)[:, 1]
        one[...] = least * np.sign(one)
        layer.set_weights([kernel, np.linspace(-0.4, 0.9, bias.size).astype(np.float32)])
    return model


def quantized_to_4_bits(model: keras.Model) -> bytes:
    content = float32(model).content
    rules = [ScopeRule(".*", "static", weight_bits=8), ScopeRule(".*", "static", weight_bits=4)]
    return quantize_by_rules(content, rules, calibrated_ranges(content, [IMAGES]))[0]


MADE = {
    "int8": lambda model: static_int8(model, IMAGES),
    "int8, one scale a kernel": lambda model: static_int8(model, IMAGES, per_channel=False),
    "int8, corrected biases": lambda model: static_int8(model, IMAGES, ranges=Ranges(bias_correction=True)),
    "int16x8": lambda model: static_int16x8(model, IMAGES),
    "int4": quantized_to_4_bits,
}


@pytest.mark.parametrize("least", [0.0, 1e-12, 1e-7])
@pytest.mark.parametrize("kind", MADE)
def test_a_channel_without_a_kernel_keeps_its_bias(kind, least):
    model = network(least)
    before, after = TFLiteModel(float32(model)), TFLiteModel(MADE[kind](model))
    found, wanted = after(IMAGES), before(IMAGES)
    for name in NAMES:
        step = np.ptp(wanted[name]) / 255
        np.testing.assert_allclose(found[name][..., 1], wanted[name][..., 1], atol=1.01 * step, err_msg=name)


@pytest.mark.parametrize("route", ["keras", pytest.param("tfmot", marks=pytest.mark.slow)])
def test_quantization_aware_training_keeps_the_biases_of_all_channels(route):
    """TensorFlow's converter spoils those of the other channels of the kernel as well."""
    model, labels = network(), np.arange(len(IMAGES)) % 5
    file = qat_int8(model, (IMAGES, labels), epochs=1, learning_rate=1e-9, route=route, progress=False)
    found, wanted = TFLiteModel(file)(IMAGES), TFLiteModel(float32(model))(IMAGES)
    for name in NAMES:
        step = np.ptp(wanted[name]) / 255
        np.testing.assert_allclose(found[name][..., 1], wanted[name][..., 1], atol=1.51 * step, err_msg=name)
        np.testing.assert_allclose(found[name], wanted[name], atol=8 * step, err_msg=name)


def test_files_without_such_channels_stay_as_they_are():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 2))
    x = keras.layers.Flatten(name="flat")(keras.layers.Conv2D(4, 3, name="conv")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3, name="dense")(x))
    content = static_int8(model, IMAGES).content
    assert fit_biases(float32(model).content, content) == content


def test_a_kernel_that_is_used_twice_keeps_both_biases():
    shared = keras.layers.Conv2D(2, 3, padding="same", name="shared")
    inputs = keras.Input((8, 8, 2))
    model = keras.Model(inputs, shared(keras.layers.Rescaling(30.0, name="larger")(shared(inputs))))
    kernel, _ = shared.get_weights()
    kernel[..., 0] = 0
    shared.set_weights([kernel, np.array([0.7, -0.3], np.float32)])
    file = static_int8(model, IMAGES)
    found = TFLiteModel(file)(IMAGES)
    for values in (values for name, values in found.items() if name.startswith("shared")):
        np.testing.assert_allclose(values[..., 0], 0.7, atol=np.ptp(values) / 255)
    scales = [tensor.scales for tensor in read_graph(file.content).tensors if tensor.scales.size == 2]
    assert scales and all((values > 1e-9).all() for values in scales)
