"""Recipes: what they store, how close they stay to Keras, what they refuse; calibration; equalization."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from tflite_models import decibels, digits, plain_network, residual_network, trained

from tfinv import tflite
from tfinv.datasets import Split
from tfinv.support.quiet import quiet
from tfinv.tflite import (
    RECIPES,
    Conversion,
    TFLiteModel,
    dynamic_int8,
    equalize,
    float32,
    static_int8,
    static_int16x8,
    weight_int4,
    with_transformations,
)
from tfinv.tflite.convert.calibration import calibration_batches
from tfinv.tflite.convert.litert_quantizer import quantize_all

CALIBRATION = 150
# recipe: least SQNR of the logits against Keras (measured: 133, 62, 32, 33, 38, 9), computes with integers only
EXPECTED = {
    "float32": (110, False),
    "float16": (45, False),
    "dynamic_int8": (22, False),
    "static_int8": (22, True),
    "static_int16x8": (28, True),
    "weight_int4": (3, False),
}


@pytest.fixture(scope="module")
def network():
    return trained(residual_network)


@pytest.fixture(scope="module")
def chain():
    """A trained network whose channel ranges were then spread over three decades without changing its function."""
    import keras

    model = keras.models.clone_model(trained(plain_network))
    model.set_weights(trained(plain_network).get_weights())
    generator = np.random.default_rng(0)

    def layer(name):
        return model.get_layer(name)

    spread = (10 ** generator.uniform(-1.5, 1.5, 8)).astype(np.float32)
    norm = layer("first_norm")
    norm.gamma.assign(norm.gamma * spread)
    norm.beta.assign(norm.beta * spread)
    layer("depthwise").kernel.assign(layer("depthwise").kernel / spread[None, None, :, None])
    spread = (10 ** generator.uniform(-1.5, 1.5, 8)).astype(np.float32)
    layer("second").kernel.assign(layer("second").kernel * spread)
    layer("second").bias.assign(layer("second").bias * spread)
    rows = layer("hidden").kernel.shape[0]
    layer("hidden").kernel.assign(layer("hidden").kernel / np.tile(spread, rows // 8)[:, None])
    return model


@pytest.fixture(scope="module")
def converted(network):
    images, _ = digits()
    return {
        name: getattr(tflite, name)(network, *([images[:CALIBRATION]] if RECIPES[name].calibrates else []))
        for name in EXPECTED
    }


@pytest.mark.parametrize("name", EXPECTED)
def test_recipe_stays_close_to_keras(name, network, converted):
    images, _ = digits()
    least, integer = EXPECTED[name]
    outputs = TFLiteModel(converted[name]).predict(images[1400:])
    assert decibels(network.predict(images[1400:], verbose=0), outputs) > least
    assert converted[name].recipe == name
    assert converted[name].is_integer is integer
    assert bool(converted[name].float_operators) is not integer


def test_sizes_and_operators(converted):
    size = {name: conversion.size for name, conversion in converted.items()}
    assert size["float32"] > size["float16"] > size["static_int8"] > size["dynamic_int8"] > size["weight_int4"]
    computing = {"CONV_2D": 3, "FULLY_CONNECTED": 2, "MAX_POOL_2D": 1, "DEPTHWISE_CONV_2D": 1, "ADD": 1, "MEAN": 1}
    assert converted["float32"].operators == computing
    assert converted["static_int8"].operators == {**computing, "QUANTIZE": 1, "DEQUANTIZE": 1}


def test_every_recipe_knows_the_layers(converted):
    surviving = ["stem_relu", "pool", "depthwise_relu", "point_norm", "sum_relu", "wide", "average"]
    for conversion in converted.values():
        assert conversion.layers is not None
        assert list(conversion.layers.matched) == [*surviving, "hidden_relu", "logits"]
        assert not conversion.layers.unmatched_layers and not conversion.layers.unmatched_tensors


def test_integer_tensors_and_kept_kernels(converted):
    assert converted["float32"].integer_tensors == ()
    frame = converted["static_int8"].to_frame().set_index("operator")
    assert set(frame.loc[["CONV_2D", "ADD", "MEAN", "FULLY_CONNECTED"], "dtype"]) == {"int8"}
    assert frame.loc["DEQUANTIZE", "dtype"] == "float32"
    assert len(converted["weight_int4"].integer_tensors) == 5  # three convolutions, two dense layers
    assert len(converted["weight_int4"].float_kernels) == 1
    assert "depthwise" in converted["weight_int4"].float_kernels[0]
    assert converted["dynamic_int8"].float_kernels == ()


def test_activation_ranges_are_minimum_and_maximum_of_the_calibration_images(network, converted):
    """A moving average over batches, the tool's default, would give a smaller range."""
    import keras

    images, _ = digits()
    layers = ["stem_relu", "point_norm", "logits"]
    inner = keras.Model(network.inputs, {name: network.get_layer(name).output for name in layers})
    activations = inner.predict(images[:CALIBRATION], verbose=0)
    tensors = TFLiteModel(converted["static_int8"]).layer_tensors
    for name in layers:
        low, high = min(0.0, activations[name].min()), max(0.0, activations[name].max())
        assert tensors[name].scales[0] == pytest.approx((high - low) / 255, rel=1e-4)
        assert tensors[name].zero_points[0] == pytest.approx(-128 - low / tensors[name].scales[0], abs=1)


def test_calibration_does_not_depend_on_batches(converted):
    images, _ = digits()
    options = {"activation_bits": 8, "per_channel": True, "io": "float32"}
    several = [images[start : min(start + 40, CALIBRATION)] for start in range(0, CALIBRATION, 40)]
    with quiet():
        content = quantize_all(converted["float32"].content, several, **options)
        assert content == quantize_all(converted["float32"].content, [images[:CALIBRATION]], **options)
    assert content == converted["static_int8"].content


def test_bytes_are_deterministic(network, converted):
    images, _ = digits()
    assert float32(network).content == converted["float32"].content
    assert static_int8(network, images[:CALIBRATION]).content == converted["static_int8"].content
    assert weight_int4(network).content == converted["weight_int4"].content


def test_recipes_start_from_the_float_file_too(converted):
    images, _ = digits()
    for recipe, options in ((dynamic_int8, ()), (weight_int4, ()), (static_int8, (images[:CALIBRATION],))):
        assert recipe(converted["float32"], *options) == converted[recipe.__name__]
    with pytest.raises(ValueError, match="Received: a static_int8 conversion"):
        dynamic_int8(converted["static_int8"])
    with pytest.raises(TypeError, match="must be the Keras model where equalize is True"):
        static_int8(converted["float32"], images[:5], equalize=True)


def test_nothing_is_printed(network, capfd):
    images, _ = digits()
    dynamic_int8(network)
    conversion = static_int16x8(network, images[:20])
    TFLiteModel(conversion).predict(images[:3])
    assert capfd.readouterr() == ("", "")


def test_per_channel_and_per_tensor_scales(network, converted):
    images, _ = digits()
    per_tensor = static_int8(network, images[:CALIBRATION], per_channel=False)
    assert all(tensor.scales.size == 1 for tensor in per_tensor.graph.tensors if tensor.scales.size)
    kernels = [weight for weight in converted["static_int8"].graph.weights().values() if weight.dtype == "int8"]
    assert sorted(kernel.scales.size for kernel in kernels) == [8, 8, 8, 10, 16, 32]
    assert per_tensor.size < converted["static_int8"].size
    assert per_tensor.options["per_channel"] is False
    assert (
        decibels(
            TFLiteModel(converted["float32"]).predict(images[1400:]), TFLiteModel(per_tensor).predict(images[1400:])
        )
        > 15
    )


@pytest.mark.parametrize(("recipe", "dtype"), [(static_int8, "int8"), (static_int16x8, "int16")])
def test_integer_inputs_and_outputs(recipe, dtype, network, converted):
    images, _ = digits()
    conversion = recipe(network, images[:CALIBRATION], io="int8")
    tensors = conversion.graph.tensors
    assert {tensors[i].dtype for i in (*conversion.graph.inputs, *conversion.graph.outputs)} == {dtype}
    assert "QUANTIZE" not in conversion.operators
    same = TFLiteModel(converted[conversion.recipe]).predict(images[1400:])
    step = float(tensors[conversion.graph.outputs[0]].scales[0])
    np.testing.assert_allclose(TFLiteModel(conversion).predict(images[1400:]), same, atol=1.01 * step)


def test_four_bit_kernels_are_rounded_to_their_scale(network, converted):
    kernel = np.asarray(network.get_layer("wide").kernel)
    name = next(name for name in converted["weight_int4"].integer_tensors if "wide" in name)
    tensor = converted["weight_int4"].graph.weights()[name]
    assert tensor.dtype == "int4"
    stored = converted["weight_int4"].graph.constant(tensor.index)
    scale = np.abs(kernel).max(axis=(0, 1, 2)) / 7
    expected = np.rint(kernel / scale) * scale
    np.testing.assert_allclose(stored, expected.transpose(3, 0, 1, 2), rtol=1e-5, atol=1e-7)


def test_calibration_comes_in_many_forms(network, converted):
    import tensorflow as tf

    images, classes = digits()
    images, classes = images[:CALIBRATION], classes[:CALIBRATION]
    forms = {
        "split": Split(images, classes),
        "dataset": tf.data.Dataset.from_tensor_slices((images, classes)).batch(32),
        "unbatched": tf.data.Dataset.from_tensor_slices(images),
        "list": [images[:70], images[70:]],
        "generator": ((image, label) for image, label in zip(images, classes, strict=True)),
    }
    for name, form in forms.items():
        batches = list(calibration_batches(form, (16, 16, 1), 40))
        assert max(len(batch) for batch in batches) <= 40, name
        np.testing.assert_array_equal(np.concatenate(batches), images, err_msg=name)
    conversion = static_int8(network, forms["dataset"])
    assert conversion.content == converted["static_int8"].content
    assert conversion.options["calibration_images"] == CALIBRATION


@pytest.mark.parametrize(
    ("calibration", "error", "message"),
    [
        (np.zeros((0, 16, 16, 1)), ValueError, r"calibration must hold at least one image of shape \(16, 16, 1\)"),
        ([], ValueError, "calibration must hold at least one image"),
        (np.zeros((3, 8, 8, 1)), ValueError, r"input shape \(N, 16, 16, 1\). Received: shape \(3, 8, 8, 1\)"),
        (np.zeros((3, 16, 16)), ValueError, r"Received: shape \(3, 16, 16\)"),
        (np.full((3, 16, 16, 1), np.nan), ValueError, "must be finite"),
        (None, TypeError, "calibration must be images"),
        ("digits", TypeError, "calibration must be images"),
        (7, TypeError, "calibration must be images"),
    ],
)
def test_bad_calibration_is_refused(calibration, error, message, network):
    with pytest.raises(error, match=message):
        static_int8(network, calibration)


def test_bad_options_are_refused(network):
    images, _ = digits()
    with pytest.raises(ValueError, match=r"io must be one of .* Received: 'uint8'"):
        static_int8(network, images, io="uint8")
    with pytest.raises(TypeError, match=r"per_channel must be True or False. Received: 'no'"):
        static_int8(network, images, per_channel="no")


def test_transformed_calibration_images():
    images, _ = digits()
    few = images[:12]
    every = with_transformations(few, "rotations(4)").reshape(12, 4, 16, 16, 1)
    for turn, steps in enumerate((2, 3, 0, 1)):  # the set is ordered -180, -90, 0, 90 degrees, counter-clockwise
        np.testing.assert_allclose(every[:, turn], np.rot90(few, steps, axes=(1, 2)), atol=1e-5)
    drawn = with_transformations(few, "rotations(4)", per_image=2, seed=3).reshape(12, 2, 16, 16, 1)
    counts = np.zeros(4)
    for image in range(12):
        which = [int(np.abs(every[image] - version).sum(axis=(1, 2, 3)).argmin()) for version in drawn[image]]
        assert len(set(which)) == 2
        np.testing.assert_array_equal(drawn[image], every[image, which])
        counts[which] += 1
    assert set(counts) == {6}
    np.testing.assert_array_equal(
        drawn.reshape(24, 16, 16, 1), with_transformations(few, "rotations(4)", per_image=2, seed=3)
    )
    assert not np.array_equal(
        drawn.reshape(24, 16, 16, 1), with_transformations(few, "rotations(4)", per_image=2, seed=4)
    )


def test_transformed_calibration_is_checked():
    with pytest.raises(ValueError, match=r"per_image must be in \[1, 4\]"):
        with_transformations(np.zeros((3, 8, 8, 1)), "rotations(4)", per_image=5)
    with pytest.raises(ValueError, match=r"images must hold at least one image\. Received: shape \(0, 8, 8, 1\)"):
        with_transformations(np.zeros((0, 8, 8, 1)), "rotations(4)")


def test_transformed_calibration_widens_the_ranges(network, converted):
    images, _ = digits()
    both = np.concatenate(
        [images[:CALIBRATION], with_transformations(images[:CALIBRATION], "rotations(8)", per_image=2)]
    )
    wider = TFLiteModel(static_int8(network, both)).layer_tensors
    upright = TFLiteModel(converted["static_int8"]).layer_tensors
    growth = {name: float(wider[name].scales[0] / upright[name].scales[0]) for name in wider}
    assert min(growth.values()) > 0.999
    assert max(growth.values()) > 1.02


def test_equalization_keeps_the_function_and_balances_the_channels(chain):
    from tfinv.activations.layer_graph import flatten
    from tfinv.tflite.convert.equalization import channel_ranges, find_pairs

    images, _ = digits()
    before = chain.get_weights()
    balanced = equalize(chain)
    assert all(np.array_equal(old, new) for old, new in zip(before, chain.get_weights(), strict=True))
    assert [layer.name for layer in balanced.layers] == [layer.name for layer in chain.layers]
    expected = chain.predict(images[1400:], verbose=0)
    np.testing.assert_allclose(balanced.predict(images[1400:], verbose=0), expected, atol=1e-4 * np.abs(expected).max())
    pairs = find_pairs(flatten(balanced))
    assert [(pair.first.name, pair.second.name) for pair in pairs] == [
        ("first", "depthwise"),
        ("depthwise", "second"),
        ("second", "hidden"),
        ("hidden", "logits"),
    ]
    for pair in pairs:
        first, second = channel_ranges(pair)
        np.testing.assert_allclose(first, second, rtol=1e-2)


def test_equalization_repairs_per_tensor_quantization(chain):
    images, classes = digits()
    expected = chain.predict(images[1400:], verbose=0)
    accuracy = (expected.argmax(1) == classes[1400:]).mean()
    plain = TFLiteModel(static_int8(chain, images[:CALIBRATION], per_channel=False)).predict(images[1400:])
    conversion = static_int8(chain, images[:CALIBRATION], per_channel=False, equalize=True)
    repaired = TFLiteModel(conversion).predict(images[1400:])
    assert decibels(expected, plain) < 10
    assert decibels(expected, repaired) > 25
    assert (repaired.argmax(1) == classes[1400:]).mean() > accuracy - 0.02
    assert conversion.options["equalize"] is True


def test_equalization_leaves_dead_channels_alone(chain):
    """A kernel near zero would be blown up turn by turn until no interpreter can scale it back."""
    import keras

    model = keras.models.clone_model(chain)
    model.set_weights(chain.get_weights())
    layer = model.get_layer("first")
    kernel = layer.kernel.numpy().copy()
    kernel[..., 2] = 1e-30
    layer.kernel.assign(kernel)
    images, _ = digits()
    balanced = equalize(model)
    assert np.abs(np.asarray(balanced.get_layer("first").kernel)[..., 2]).max() < 1e-28
    expected = model.predict(images[1400:], verbose=0)
    outputs = TFLiteModel(static_int8(model, images[:CALIBRATION], equalize=True)).predict(images[1400:])
    assert decibels(expected, outputs) > 20


def test_equalization_leaves_what_it_must_not_touch(network):
    """ReLU6 saturates, the pooled map is read twice; only the plain chain at the end can be balanced."""
    from tfinv.activations.layer_graph import flatten
    from tfinv.tflite.convert.equalization import find_pairs

    balanced = equalize(network)
    pairs = find_pairs(flatten(balanced))
    assert [(pair.first.name, pair.second.name) for pair in pairs] == [("wide", "hidden"), ("hidden", "logits")]
    images, _ = digits()
    expected = network.predict(images[:50], verbose=0)
    np.testing.assert_allclose(balanced.predict(images[:50], verbose=0), expected, atol=1e-4 * np.abs(expected).max())


def test_save_and_load(converted, tmp_path):
    conversion = converted["static_int8"]
    path = conversion.save(tmp_path / "new" / "model.tflite")
    loaded = Conversion.load(path)
    assert loaded == conversion
    assert loaded.options == {
        "per_channel": True,
        "io": "float32",
        "equalize": False,
        "calibration_images": CALIBRATION,
    }
    assert loaded.layers is not None and loaded.layers.matched == conversion.layers.matched
    assert sorted(file.name for file in path.parent.iterdir()) == ["model.tflite", "model.tflite.json"]
    assert list(TFLiteModel(path).layer_shapes) == list(conversion.layers.matched)
    assert set(conversion.versions) == {"tensorflow", "keras", "ai-edge-litert", "litert-quantizer"}
    path.with_name("model.tflite.json").unlink()
    bare = Conversion.load(path)
    assert (bare.recipe, bare.content, bare.layers) == ("unknown", conversion.content, None)


def test_damaged_conversions_are_refused(converted, tmp_path):
    path = converted["static_int8"].save(tmp_path / "model.tflite")
    sidecar = tmp_path / "model.tflite.json"
    data = json.loads(sidecar.read_text())
    with pytest.raises(ValueError, match=r"path must end in .tflite. Received: .*model.bin"):
        converted["static_int8"].save(tmp_path / "model.bin")
    path.write_bytes(converted["float32"].content)
    with pytest.raises(ValueError, match="describes another file"):
        Conversion.load(path)
    path.write_bytes(converted["static_int8"].content)
    for damage in ({"version": 99}, {"layers": {"matched": {}}}, {"recipe": None, "sha256": None}):
        sidecar.write_text(json.dumps({**data, **damage}))
        with pytest.raises(ValueError, match=r"model\.tflite"):
            Conversion.load(path)
    data["layers"]["matched"][-1] = ["logits", 3]
    sidecar.write_text(json.dumps(data))
    with pytest.raises(ValueError, match="no activations"):
        Conversion.load(path)
    sidecar.write_text("{")
    with pytest.raises(ValueError, match="must lead to a conversion"):
        Conversion.load(path)
    sidecar.unlink()
    path.write_bytes(converted["static_int8"].content[:4000])
    with pytest.raises(ValueError, match="truncated or corrupt"):
        Conversion.load(path)
    with pytest.raises(FileNotFoundError):
        Conversion.load(tmp_path / "none.tflite")


def test_a_layer_that_tflite_lacks_is_named():
    import keras
    import tensorflow as tf

    class Shift(keras.layers.Layer):
        def call(self, inputs):
            return tf.raw_ops.ImageProjectiveTransformV3(
                images=inputs,
                transforms=tf.constant([[1.0, 0, 1, 0, 1, 0, 0, 0]]),
                output_shape=tf.shape(inputs)[1:3],
                fill_value=0.0,
                interpolation="BILINEAR",
            )

        def compute_output_shape(self, shape):
            return shape

    inner_inputs = keras.Input((8, 8, 1))
    inner = keras.Model(inner_inputs, Shift(name="shift")(inner_inputs), name="inner")
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 3, name="conv")(inner(inputs)))
    with pytest.raises(ValueError, match=r"layer 'shift' \(Shift\) cannot be converted: TFLite has no operator for"):
        float32(model)


def test_a_layer_that_the_converter_chokes_on_is_named():
    import keras

    inputs = keras.Input((8, 8, 1))
    x = keras.layers.LSTM(3, name="memory")(keras.layers.Reshape((8, 8))(inputs))
    with pytest.raises(ValueError, match=r"^layer 'memory' \(LSTM\) cannot be converted: 'tf.TensorList"):
        float32(keras.Model(inputs, keras.layers.Dense(2)(x)))


def test_models_that_cannot_be_converted_are_explained():
    import keras

    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__(name="own")
            self.conv = keras.layers.Conv2D(2, 3)

        def call(self, inputs):
            return self.conv(inputs)

    subclassed = Subclassed()
    subclassed(np.zeros((1, 8, 8, 1), np.float32))
    half_inputs = keras.Input((8, 8, 1))
    half = keras.Model(half_inputs, keras.layers.Conv2D(2, 3, dtype="mixed_float16", name="half")(half_inputs))
    open_inputs = keras.Input((None, None, 1))
    open_size = keras.Model(open_inputs, keras.layers.Conv2D(2, 3)(open_inputs))
    unbuilt = keras.Sequential([keras.layers.Conv2D(2, 3)])
    with pytest.raises(ValueError, match=r"must be functional or sequential.* Received: Subclassed 'own'"):
        float32(subclassed)
    with pytest.raises(ValueError, match=r"Received: layer 'half' \(Conv2D\) computing in float16"):
        float32(half)
    with pytest.raises(ValueError, match=r"of a fixed size. Received: .*\(None, None, None, 1\)"):
        float32(open_size)
    with pytest.raises(ValueError, match="built, with one input"):
        float32(unbuilt)
    with pytest.raises(TypeError, match=r"model must be a Keras 3 model. Received: builtins.str"):
        float32("model.keras")


def test_nested_sequential_model_converts():
    import keras

    layers = keras.layers
    body = keras.Sequential(
        [keras.Input((8, 8, 4)), layers.Conv2D(4, 3, name="conv"), layers.ReLU(name="relu")], name="body"
    )
    inputs = keras.Input((8, 8, 1))
    x = body(layers.Conv2D(4, 1, name="stem")(inputs))
    model = keras.Model(inputs, layers.Dense(3, name="logits")(layers.GlobalMaxPooling2D(name="pool")(x)))
    images = np.random.default_rng(0).random((20, 8, 8, 1), dtype=np.float32)
    for conversion in (float32(model), static_int8(model, images)):
        assert list(TFLiteModel(conversion).layer_shapes) == ["stem", "body/relu", "pool", "logits"]


def test_importing_the_package_brings_neither_tensorflow_nor_the_tools():
    code = (
        "import sys, tfinv.tflite, tfinv.tflite.convert.recipes, tfinv.tflite.files.model;"
        "heavy = {'tensorflow', 'keras', 'litert_quantizer', 'pandas', 'ai_edge_litert.interpreter'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("kept", [0, 1])
@pytest.mark.parametrize("recipe", [static_int8, static_int16x8])
def test_operators_may_have_outputs_that_nobody_reads(recipe, kept):
    import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3))
    parts = keras.ops.split(keras.layers.Conv2D(8, 3, name="conv")(inputs), 2, axis=-1)
    pooled = keras.layers.GlobalAveragePooling2D(name="gap")(parts[kept])
    model = keras.Model(inputs, keras.layers.Dense(4, name="logits")(pooled))
    images = np.random.default_rng(0).random((32, 16, 16, 3), dtype=np.float32)
    file = recipe(model, images)
    assert "SPLIT" in file.operators and file.is_integer
    assert decibels(np.asarray(model(images)), TFLiteModel(file).predict(images)) > (
        30 if recipe is static_int8 else 40
    )
