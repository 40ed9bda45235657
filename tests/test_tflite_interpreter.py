"""Activations read inside TFLite files: equal to Keras, whatever the types, batches and input scales; bad files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tflite_models import decibels, digits, residual_network, trained

import tfinv
from tfinv.activations import ActivationModel
from tfinv.activations.source import ActivationSource
from tfinv.support.quiet import quiet
from tfinv.tflite import (
    TFLiteModel,
    check_input_scale,
    dynamic_int8,
    float32,
    latency,
    memory_estimate,
    static_int8,
    weight_int4,
)
from tfinv.tflite.files.flatbuffer import read_graph
from tfinv.tflite.files.interpreter import Runner
from tfinv.tflite.files.probe import probe
from tfinv.tflite.files.tensors import FileTensor, dequantize, quantize

FIXTURE_IMAGES = 37


@pytest.fixture(scope="module")
def network():
    return trained(residual_network)


@pytest.fixture(scope="module")
def images():
    return digits()[0][1400 : 1400 + FIXTURE_IMAGES]


@pytest.fixture(scope="module")
def keras_activations(network, images):
    return {name: np.asarray(value) for name, value in ActivationModel(network)(images).items()}


@pytest.fixture(scope="module")
def float_model(network):
    return TFLiteModel(float32(network))


@pytest.fixture(scope="module")
def integer_file(network):
    return static_int8(network, digits()[0][:150])


@pytest.fixture(scope="module")
def integer_model(integer_file):
    return TFLiteModel(integer_file)


def test_float_activations_equal_those_of_keras(float_model, keras_activations, images):
    activations = float_model(images)
    assert list(activations) == list(float_model.layer_shapes)
    for name, value in activations.items():
        assert value.dtype == np.float32 and value.shape == (FIXTURE_IMAGES, *float_model.layer_shapes[name])
        assert decibels(keras_activations[name], value) > 100, name


@pytest.mark.parametrize(("recipe", "least"), [("static", 25), ("dynamic", 25), ("weights", 9)])
def test_quantized_activations_are_close_to_those_of_keras(
    recipe, least, network, integer_model, keras_activations, images
):
    models = {"dynamic": dynamic_int8, "weights": weight_int4}
    model = integer_model if recipe == "static" else TFLiteModel(models[recipe](network))
    for name, value in model(images).items():
        assert decibels(keras_activations[name], value) > least, name


def test_integer_activations_lie_on_the_grid_of_their_tensor(integer_model, images):
    for name, value in integer_model(images).items():
        tensor = integer_model.layer_tensors[name]
        stored = value.astype(np.float64) / float(tensor.scales[0]) + float(tensor.zero_points[0])
        np.testing.assert_allclose(stored, np.rint(stored), atol=1e-4)
        assert stored.min() >= -128.01 and stored.max() <= 127.01
    assert integer_model.layer_tensors["stem_relu"].dtype == "int8"


@pytest.mark.parametrize("batch_size", [1, 8, 37])
def test_batches_change_nothing(batch_size, integer_file, integer_model, images):
    model = TFLiteModel(integer_file, batch_size=batch_size)
    assert model.batch_size == batch_size
    expected = integer_model(images)
    for count in (1, 9, FIXTURE_IMAGES):
        for name, value in model(images[:count]).items():
            np.testing.assert_array_equal(value, expected[name][:count], err_msg=name)
    assert all(value.shape[0] == 0 for value in model(images[:0]).values())


def test_threads_change_nothing(network, images, float_model):
    one, three = (TFLiteModel(float32(network), num_threads=threads)(images) for threads in (1, 3))
    for name, value in one.items():
        np.testing.assert_array_equal(value, three[name])


def test_results_are_never_overwritten(float_model, images):
    """Memory is used again only after the last view of it is gone."""
    first = float_model(images[:5])
    kept = {name: value.copy() for name, value in first.items()}
    view = first["logits"][2:, 3:]
    address = first["pool"].ctypes.data
    float_model(images[5:10])
    for name, value in first.items():
        np.testing.assert_array_equal(value, kept[name])
    del first
    second = float_model(images[10:15])
    np.testing.assert_array_equal(view, kept["logits"][2:, 3:])
    del value
    assert address in (second["pool"].ctypes.data, float_model(images[:5])["pool"].ctypes.data)


def test_it_is_an_activation_source_for_every_measure(network, float_model, integer_model, images):
    assert isinstance(float_model, ActivationSource)
    assert float_model.output_layer == "logits"
    layers = list(float_model.layer_shapes)
    options = {"transformations": "rotations(4)", "measures": ["NormalizedVariance"], "progress": False}
    (expected,) = tfinv.evaluate(network, images[:12], layers=layers, **options).values()
    (measured,) = tfinv.evaluate(float_model, images[:12], **options).values()
    (integer,) = tfinv.evaluate(integer_model, images[:12], **options).values()
    for name in layers:
        both = np.isfinite(expected[name].values) & np.isfinite(measured[name].values)
        np.testing.assert_allclose(measured[name].values[both], expected[name].values[both], rtol=2e-3, err_msg=name)
        assert integer[name].mean == pytest.approx(expected[name].mean, rel=0.1), name


def test_select_reads_only_what_is_asked(float_model, images):
    few = float_model.select(["logits", "stem*", "MAX_POOL_2D"])
    assert list(few.layer_shapes) == ["stem_relu", "pool", "logits"]
    assert few.layer_ops == {"stem_relu": "CONV_2D", "pool": "MAX_POOL_2D", "logits": "FULLY_CONNECTED"}
    np.testing.assert_array_equal(few(images)["logits"], float_model.predict(images))
    assert (
        list(TFLiteModel(float_model.graph.content, layers="CONV_2D", probe=False).layer_ops.values())
        == ["CONV_2D"] * 3
    )
    with pytest.raises(ValueError, match=r"Did you mean 'logits'\? Received: 'logit'"):
        float_model.select("logit")


@pytest.mark.parametrize(
    ("scale", "inputs"),
    [
        ("0..1", lambda x: x),
        ("0..255", lambda x: 255 * x),
        ("-1..1", lambda x: 2 * x - 1),
        ((0.25, 0.5), lambda x: (x - 0.25) / 0.5),
        (([0.25], [0.5]), lambda x: (x - 0.25) / 0.5),
    ],
)
def test_input_scales(scale, inputs, float_model, images):
    scaled = float_model.with_input_scale(scale).predict(images)
    np.testing.assert_allclose(scaled, float_model.predict(inputs(images)), rtol=1e-4, atol=1e-4)


def test_input_scale_per_channel_and_its_text():
    from tfinv.tflite.files.input_scale import input_scale

    images = np.random.default_rng(0).random((2, 3, 3, 3), dtype=np.float32)
    scale = input_scale(([0.1, 0.2, 0.3], [1.0, 2.0, 4.0]))
    expected = (images - np.array([0.1, 0.2, 0.3])) / np.array([1.0, 2.0, 4.0])
    np.testing.assert_allclose(scale(images), expected, rtol=1e-5, atol=1e-6)
    assert scale.text == "mean=(0.1, 0.2, 0.3), std=(1, 2, 4)"
    expected = r"input_scale must be one of 0\.\.1, 0\.\.255, -1\.\.1, keras.* or \(mean, std\)"
    for bad in ("0-255", (0.5, 0.0), (0.5,), ([0.1, 0.2], [1.0]), None, 255):
        with pytest.raises(ValueError, match=expected):
            input_scale(bad)


def test_a_wrong_input_scale_is_pointed_out(float_model):
    images, classes = digits()
    images, classes = images[1400:1500], classes[1400:1500]
    assert check_input_scale(float_model, images, classes) == ""
    wrong = float_model.with_input_scale((0.0, 1e4))
    warning = check_input_scale(wrong, images, classes, scales=["0..1"])
    assert warning.startswith("input scale mean=0, std=10000 looks wrong: accuracy") and warning.endswith("with 0..1")


def test_integer_inputs_are_quantized_by_their_own_parameters(network, integer_model, images):
    model = TFLiteModel(static_int8(network, digits()[0][:150], io="int8"))
    assert model.graph.tensors[model.graph.inputs[0]].dtype == "int8"
    for name, value in model(images).items():
        assert decibels(integer_model(images)[name], value) > 30, name


def test_quantize_and_dequantize_against_float64():
    generator = np.random.default_rng(0)
    stored = generator.integers(-128, 128, (3, 5, 4)).astype(np.int8)
    scales, zeros = np.array([0.1, 0.02, 3.0, 0.7], np.float32), np.array([0, -128, 7, 127])

    def tensor(axis, scale, zero):
        return FileTensor(0, "x", stored.shape, "int8", scale, zero, axis, 0, 0)

    per_channel = dequantize(stored, tensor(2, scales, zeros))
    np.testing.assert_allclose(per_channel, (stored.astype(np.float64) - zeros) * scales.astype(np.float64), rtol=1e-6)
    per_row = dequantize(stored, tensor(0, scales[:3], zeros[:3]))
    expected = (stored - zeros[:3, None, None].astype(np.float64)) * scales[:3, None, None]
    np.testing.assert_allclose(per_row, expected, rtol=1e-6)
    single = tensor(0, scales[1:2], zeros[1:2])
    np.testing.assert_allclose(dequantize(stored, single), (stored + 128.0) * scales[1].astype(np.float64), rtol=1e-6)
    back = np.empty_like(stored)
    quantize(dequantize(stored, single), single, back)
    np.testing.assert_array_equal(back, stored)
    far = np.empty(2, np.int8)
    quantize(np.array([-1e9, 1e9], np.float32), single, far)
    np.testing.assert_array_equal(far, [-128, 127])


@pytest.fixture(scope="module")
def fixed_batch_file():
    """A file whose graph holds for one image only: the flattening has constant sizes."""
    import tensorflow as tf

    generator = tf.random.Generator.from_seed(0)
    kernel, dense = generator.normal((3, 3, 1, 4)), generator.normal((144, 5))

    @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 1), tf.float32)])
    def function(image):
        features = tf.nn.relu(tf.nn.conv2d(image, kernel, 1, "VALID"))
        return tf.reshape(features, (1, 144)) @ dense

    with quiet():
        function = function.get_concrete_function()
        return tf.lite.TFLiteConverter.from_concrete_functions([function], tf.Module()).convert(), kernel, dense


def test_a_file_with_a_fixed_batch_runs_one_by_one(fixed_batch_file):
    content, kernel, dense = fixed_batch_file
    import tensorflow as tf

    model = TFLiteModel(content, batch_size=16)
    assert model.batch_size == 1
    images = np.random.default_rng(0).random((7, 8, 8, 1), dtype=np.float32)
    features = tf.nn.relu(tf.nn.conv2d(images, kernel, 1, "VALID")).numpy()
    activations = model(images)
    first = next(iter(activations.values()))
    np.testing.assert_allclose(first, features, atol=1e-5)
    np.testing.assert_allclose(model.predict(images), features.reshape(7, 144) @ dense.numpy(), atol=1e-4)


def test_several_outputs():
    import keras

    inputs = keras.Input((8, 8, 1))
    conv = keras.layers.Conv2D(2, 3, name="conv")(inputs)
    model = keras.Model(
        inputs, [keras.layers.Flatten(name="flat")(conv), keras.layers.GlobalMaxPooling2D(name="top")(conv)]
    )
    images = np.random.default_rng(0).random((3, 8, 8, 1), dtype=np.float32)
    outputs = TFLiteModel(float32(model)).predict(images)
    assert isinstance(outputs, dict)
    expected = [np.asarray(output) for output in model(images)]
    for value in outputs.values():
        assert any(value.shape == other.shape and np.allclose(value, other, atol=1e-5) for other in expected)


def test_self_check_passes_and_is_recorded(float_model, integer_model, images):
    assert float_model.metadata["self_check"] == "not run"
    for model in (float_model, integer_model):
        check = model.self_check(images[:8])
        assert check.passed, check.summary()
        assert check.preserving <= check.tolerance
        assert {"stem_relu", "logits"} <= set(check.kernels)
        assert model.metadata["self_check"] == check.summary()
        assert "XNNPACK" in check.summary()
    assert min(float_model.check.kernels.values()) > 90
    assert integer_model.metadata["input_scale"] == "0..1"


def test_self_check_finds_tensors_that_were_not_preserved(float_model, images):
    """The built-in kernels without preserved tensors read without an error, and wrongly."""
    model = float_model.select(None)
    model.runner = Runner(model.graph, model.batch_size, 1, preserve=False, kernels="builtin")
    check = model.self_check(images[:8])
    assert not check.passed
    assert check.summary().startswith("FAILED")


def test_latency_says_what_it_measured(float_model):
    timed = latency(float_model, batch=4, threads=1, repeats=9, warm_up=1)
    assert 0 < timed.low <= timed.milliseconds <= timed.high < 1000
    assert (timed.batch, timed.threads, timed.repeats, timed.delegate) == (4, 1, 9, "XNNPACK")
    assert "for 4 image(s), 1 thread(s), XNNPACK" in str(timed)
    with pytest.raises(ValueError, match="repeats must be a whole number of at least 1"):
        latency(float_model, repeats=0)


def test_memory_estimate_by_hand(float_model):
    stem, pooled, wide = 16 * 16 * 8, 8 * 8 * 8, 4 * 4 * 16
    every = 16 * 16 + stem + pooled + 3 * pooled + wide + 16 + 32 + 10
    estimate = memory_estimate(float_model, batch=3)
    assert estimate.preserved == 3 * 4 * every
    assert estimate.working == 3 * 4 * (stem + pooled)  # the first map and what is pooled from it
    assert 4 * 3500 > estimate.constants > 4 * 2000


def test_bad_images_are_refused(float_model):
    with pytest.raises(
        ValueError, match=r"images must have the shape \(N, 16, 16, 1\).* Received: shape \(2, 8, 8, 1\)"
    ):
        float_model(np.zeros((2, 8, 8, 1)))
    with pytest.raises(ValueError, match="must be finite"):
        float_model(np.full((1, 16, 16, 1), np.inf))


def test_bad_arguments_are_refused(float_model):
    content = float_model.graph.content
    with pytest.raises(ValueError, match=r"batch_size must be a whole number of at least 1. Received: 0"):
        TFLiteModel(content, batch_size=0)
    with pytest.raises(TypeError, match=r"model must be a Conversion, the bytes of a .tflite file or its path"):
        TFLiteModel(7)
    with pytest.raises(FileNotFoundError):
        TFLiteModel("no such file.tflite")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused_in_one_line(share, integer_file, tmp_path):
    path = tmp_path / "cut.tflite"
    path.write_bytes(integer_file.content[: int(share * integer_file.size)])
    with pytest.raises(ValueError, match=r"cut\.tflite: content must be") as caught:
        TFLiteModel(path)
    assert "\n" not in str(caught.value)


def _edited(content, edit):
    """A file after an edit of its object form."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    edit(model.subgraphs[0])
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _without_bias(graph):
    depthwise = graph.operators[3]
    depthwise.inputs = depthwise.inputs[:2]


def _with_an_endless_image(graph):
    graph.tensors[graph.inputs[0]].shape = np.array([1, 16, 16_711_696, 1], np.int32)


@pytest.mark.parametrize("edit", [_without_bias, _with_an_endless_image])
def test_a_file_that_ends_the_interpreter_does_not_end_this_process(edit, integer_file):
    """Both kill a process that runs them: a null pointer, and memory without limit."""
    assert integer_file.graph.operators[3].name == "DEPTHWISE_CONV_2D"
    with pytest.raises(ValueError, match=r"the interpreter (crashed on|refuses) this model") as caught:
        TFLiteModel(_edited(integer_file.content, edit))
    assert "\n" not in str(caught.value)


def test_random_damage_never_gets_through(integer_file):
    """Whatever passes the probe also runs here; all else is a ValueError."""
    generator = np.random.default_rng(1)
    refused = 0
    for _ in range(12):
        damaged = bytearray(integer_file.content)
        for position in generator.integers(0, len(damaged), 6):
            damaged[position] = generator.integers(256)
        try:
            TFLiteModel(bytes(damaged)).predict(np.zeros((1, 16, 16, 1), np.float32))
        except ValueError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 3


def test_what_the_interpreter_says_is_passed_on():
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 1), tf.float32)])
    def function(image):
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=image,
            transforms=tf.constant([[1.0, 0, 1, 0, 1, 0, 0, 0]]),
            output_shape=tf.shape(image)[1:3],
            fill_value=0.0,
            interpolation="BILINEAR",
        )

    with quiet():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], tf.Module())
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
        content = converter.convert()
    with pytest.raises(ValueError, match=r"the interpreter refuses this model: Select TensorFlow op\(s\)") as caught:
        TFLiteModel(content)
    assert "\n" not in str(caught.value)


def test_a_probe_runs_once_a_file(integer_file, monkeypatch):
    probe(integer_file.content)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("probed twice"))
    probe(integer_file.content)


def test_reading_a_file_needs_no_tensorflow(integer_file, tmp_path):
    path = integer_file.save(tmp_path / "model.tflite")
    code = (
        "import sys, numpy as np; from tfinv.tflite import TFLiteModel;"
        f"TFLiteModel({str(path)!r})(np.zeros((2, 16, 16, 1)));"
        "print(sorted({'tensorflow', 'keras', 'litert_quantizer'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"


# --- real files ------------------------------------------------------------------------------------------------------


def _cifar(folder: Path, count: int):
    with np.load(folder / "cifar10" / "cifar10_train_first4000.npz") as data:
        return data["x"][:count].astype(np.float32) / 255, data["y"][:count].reshape(-1)


def test_mlperf_resnet_float_and_int8(data_folder):
    images, classes = _cifar(data_folder, 300)
    folder = data_folder / "models" / "ic_resnet8"
    models = [TFLiteModel(folder / name, input_scale="0..255") for name in ("float.tflite", "int8.tflite")]
    predictions = [model.predict(images).argmax(1) for model in models]
    for prediction in predictions:
        assert (prediction == classes).mean() > 0.85
    assert (predictions[0] == predictions[1]).mean() > 0.95
    before, after = (model(images[:32]) for model in models)
    assert len(before) == 16
    for name in before:
        assert decibels(before[name], after[name]) > 15, name
    assert all(model.self_check(images[:8]).passed for model in models)
    assert str(TFLiteModel(folder / "int8.tflite").input_scale.text) == "0..255"
    unscaled = TFLiteModel(folder / "int8.tflite", input_scale="0..1")
    assert "looks wrong" in check_input_scale(unscaled, images[:100], classes[:100])


def test_coral_mobilenet_with_bytes_in_and_out(data_folder):
    from PIL import Image, ImageOps

    folder = data_folder / "models" / "coral"
    path = folder / "mobilenet_v1_0.25_128_quant.tflite"
    model = TFLiteModel(path, input_scale="-1..1")
    assert model.batch_size == 1 and model.input_shape == (128, 128, 3)
    labels = (folder / "imagenet_labels.txt").read_text().splitlines()
    photos = {"cat.bmp": "cat", "hot_dog.jpg": "hotdog", "parrot.jpg": "macaw"}
    squares = [ImageOps.fit(Image.open(folder / name).convert("RGB"), (146, 146)) for name in photos]
    images = np.stack([np.asarray(picture.crop((9, 9, 137, 137))) for picture in squares])  # the usual central crop
    outputs = model.predict(images / 255)
    for output, word in zip(outputs, photos.values(), strict=True):
        best = [labels[i] for i in np.argsort(-output)[:5]]
        assert any(word in label.lower() for label in best), best
    np.testing.assert_allclose(outputs.sum(1), 1, atol=0.1)  # 1001 classes, each rounded to 1/256
    activations = model(images / 255)
    assert len(activations) == 31
    as_bytes = model.with_input_scale((128 / 255, 128 / 255))  # the file's own: (byte - 128) / 128
    np.testing.assert_array_equal(as_bytes.predict(images / 255)[0], _plainly_run(path, images[0]))
    depthwise = activations["MobilenetV1/Conv2d_1_depthwise"]
    assert depthwise.shape == (3, 64, 64, 8) and depthwise.min() >= 0 and depthwise.max() <= 6.01  # ReLU6


def _plainly_run(path: Path, image):
    """One image through the interpreter, bytes in and bytes out, dequantized by hand."""
    from ai_edge_litert.interpreter import Interpreter

    with quiet():
        interpreter = Interpreter(model_path=str(path))
        interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
    interpreter.invoke()
    detail = interpreter.get_output_details()[0]
    scale, zero = detail["quantization"]
    return (interpreter.get_tensor(detail["index"])[0].astype(np.float32) - np.float32(zero)) * np.float32(scale)


def test_graph_of_a_foreign_file(data_folder):
    graph = read_graph((data_folder / "models" / "vww_mobilenet_v1" / "int8.tflite").read_bytes())
    assert graph.histogram["DEPTHWISE_CONV_2D"] == 13 and graph.histogram["CONV_2D"] == 14
    assert graph.float_operators() == () and len(graph.activations) == 31
