"""Models: parameter counts of the study, names, values of single layers, int8 conversion, building and loading."""

from __future__ import annotations

import importlib
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-not-found]
import keras
import numpy as np
import pytest

from tfinv import models, tflite
from tfinv.models.blocks import Blocks
from tfinv.models.inception import InceptionWidths, inception_block
from tfinv.support.quiet import quiet

MNIST, CIFAR = (28, 28, 1), (32, 32, 3)
SMALL: dict[str, dict[str, Any]] = {
    "simple_conv": {"filters": 4, "dense": 8, "batch_normalization": True},
    "all_convolutional": {"filters": 4, "batch_normalization": True},
    "vgg16d": {"filters": 4, "dense": 8, "batch_normalization": True},
    "resnet": {"filters": 4},
    "ffnet": {"hidden": (16, 8), "batch_normalization": True},
    "mobilenet_small": {"filters": 4},
    "tutorial_cnn": {"filters": 4, "dense": 8},
    "lenet": {"filters": (3, 4), "dense": (8, 6)},
    "p4cnn": {"filters": 4},
    "z2cnn": {"filters": 4},
    "st_cnn": {"filters": 4, "dense": 8, "batch_normalization": True},
    "ti_pooling": {"filters": 4, "dense": 8, "batch_normalization": True},
    "inception": {"filters": 4, "batch_normalization": True},
    "binary_net": {"filters": 4, "dense": 8},
    "p4_resnet": {"depth": 8, "filters": (2, 3, 4)},
    "p4_all_convolutional": {"filters": 2},
    "ti_pooling_laptev": {"filters": 4, "dense": 8, "transformations": "rotations(4)"},
}
ALWAYS_RELU = ("p4cnn", "z2cnn", "binary_net", "p4_resnet", "p4_all_convolutional")
LEAST_DECIBEL = {"binary_net": 2}
"""Where 20 dB are too much to ask: a sign that int8 flips near 0 flips others behind it."""
POOLED = ("p4cnn", "z2cnn", "p4_resnet", "p4_all_convolutional", "ti_pooling", "ti_pooling_laptev")
STAYS_FLOAT = {"st_cnn": {"ABS", "NEG"}, **{name: {"REDUCE_MAX"} for name in POOLED}}
"""Operators that the quantizer leaves float, so that these networks are not int8 throughout: the maximum over
positions, turns or transformations, and the sampler of the spatial transformer."""


def small(name: str, **options: Any) -> keras.Model:
    return models.build(name, (16, 16, 1), 10, seed=0, **(SMALL[name] | options))


COUNTED: list[tuple[int, str, tuple[int, int, int], dict[str, Any]]] = [
    (540_970, "simple_conv", MNIST, {}),
    (541_738, "simple_conv", MNIST, {"batch_normalization": True}),
    (656_170, "simple_conv", MNIST, {"kernel_size": 5}),
    (828_970, "simple_conv", MNIST, {"kernel_size": 7}),
    (587_146, "simple_conv", MNIST, {"max_pooling": False}),
    (5_426_954, "simple_conv", MNIST, {"filters": 128, "dense": 128}),
    (2_653_898, "simple_conv", CIFAR, {"filters": 64, "dense": 128}),
    (6_412_298, "simple_conv", CIFAR, {"filters": 128, "dense": 128}),
    (6_415_114, "simple_conv", CIFAR, {"filters": 128, "dense": 128, "batch_normalization": True}),
    (8_253_450, "simple_conv", CIFAR, {"filters": 128, "dense": 128, "kernel_size": 5}),
    (11_015_178, "simple_conv", CIFAR, {"filters": 128, "dense": 128, "kernel_size": 7}),
    (7_149_962, "simple_conv", CIFAR, {"filters": 128, "dense": 128, "max_pooling": False}),
    (38_570, "all_convolutional", MNIST, {}),
    (610_058, "all_convolutional", CIFAR, {"filters": 64}),
    (152_906, "all_convolutional", MNIST, {"filters": 32}),
    (1_369_738, "all_convolutional", CIFAR, {"filters": 96}),
    (490_810, "vgg16d", MNIST, {}),
    (492_154, "vgg16d", MNIST, {"batch_normalization": True}),
    (8_952_138, "vgg16d", CIFAR, {"filters": 64, "dense": 512}),
    (8_957_514, "vgg16d", CIFAR, {"filters": 64, "dense": 512, "batch_normalization": True}),
    (11_163_210, "resnet", MNIST, {"batch_normalization": False}),
    (11_172_810, "resnet", MNIST, {}),
    (11_164_362, "resnet", CIFAR, {"batch_normalization": False}),
    (11_173_962, "resnet", CIFAR, {}),
    (21_265_098, "resnet", CIFAR, {"depth": 34, "batch_normalization": False}),
    (21_282_122, "resnet", CIFAR, {"depth": 34}),
    (23_520_842, "resnet", CIFAR, {"depth": 50}),
    (52_650, "ffnet", MNIST, {}),
    (105_214, "ffnet", MNIST, {"hidden": (120, 84), "activation": "relu"}),
    (820_874, "ffnet", CIFAR, {"hidden": (256, 128)}),
    (421_642, "tutorial_cnn", MNIST, {}),
    (411_242, "tutorial_cnn", MNIST, {"kernel_size": 2, "dilation": 2}),
    (61_706, "lenet", (32, 32, 1), {}),
    (62_006, "lenet", CIFAR, {}),
    # By hand, of the depthwise-separable network: stem 464, blocks 752 + 2528 + 4928 + 9152 + 18048 + 34688, 2570.
    (73_130, "mobilenet_small", CIFAR, {}),
    # By hand: stem 896, blocks 7160 + 10232 + 28592 + 40880 (of 64, 64, 128 ... channels), logits 1290.
    (104_818, "inception", CIFAR, {}),
    # By hand: float 320 + 1290, signs 9216 + 18432 + 36864 + 401408, scale and offset 2 * (32 * 2 + 64 * 2 + 128).
    (468_170, "binary_net", MNIST, {}),
]


@pytest.mark.parametrize(
    ("parameters", "name", "shape", "options"),
    [pytest.param(*case, marks=[pytest.mark.slow] * (case[0] > 5_000_000)) for case in COUNTED],
)
def test_parameter_counts_of_the_study(
    parameters: int, name: str, shape: tuple[int, int, int], options: dict[str, Any]
) -> None:
    """The study counts what is trained: of batch normalization scale and offset, not the moving statistics."""
    model = models.build(name, shape, 10, initializer="zeros", **options)
    trained = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    moving = sum(int(np.prod(weight.shape)) for weight in model.non_trainable_weights)
    normalized = bool([layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)])
    assert trained == parameters
    assert model.count_params() == trained + moving
    always = name in ("resnet", "mobilenet_small", "binary_net")
    assert (moving > 0) == normalized == options.get("batch_normalization", always)


@pytest.mark.parametrize(
    ("layers", "name", "options"),
    [
        (16, "simple_conv", {}),
        (22, "simple_conv", {"batch_normalization": True}),
        (18, "all_convolutional", {"batch_normalization": False}),
        (26, "all_convolutional", {"batch_normalization": True}),
        (32, "vgg16d", {"batch_normalization": False}),
        (42, "vgg16d", {"batch_normalization": True}),
        (6, "ffnet", {"batch_normalization": False}),
        (10, "tutorial_cnn", {}),
        (12, "lenet", {}),
    ],
)
def test_layers_of_the_study_but_for_its_softmax(layers: int, name: str, options: dict[str, Any]) -> None:
    model = small(name, **({"batch_normalization": False} | options))
    assert len(model.layers) - 1 == layers


@pytest.mark.parametrize("name", models.names())
def test_names_survive_conversion_and_outputs_are_logits(name: str) -> None:
    model, again = small(name), small(name)
    names = [layer.name for layer in model.layers]
    assert names == [layer.name for layer in again.layers]
    assert not [layer for layer in names if re.search(r"_\d+$", layer)]
    assert names[0] == "image" and names[-1] == "logits" and model.name == name
    logits = np.asarray(model(np.random.default_rng(1).random((64, 16, 16, 1), np.float32)))
    assert logits.shape == (64, 10)
    assert logits.min() < 0 and np.ptp(logits.sum(axis=1)) > 1e-3


def int8_error(
    model: keras.Model, reference: tflite.Conversion | None = None, **options: Any
) -> tuple[tflite.Conversion, float]:
    """The int8 file of a model, or of its float file, and the signal-to-noise ratio of its logits in dB."""
    images = np.random.default_rng(2).random((64, 16, 16, 1), np.float32)
    conversion = tflite.static_int8(reference or model, images, **options)
    wanted = np.asarray(model(images))
    error = np.asarray(tflite.TFLiteModel(conversion)(images)["logits"]) - wanted
    return conversion, float(10 * np.log10(np.square(wanted).sum() / np.square(error).sum()))


LIKE_OTHERS = {
    *("all_convolutional", "vgg16d", "tutorial_cnn", "lenet", "z2cnn"),  # simple_conv
    *("resnet", "inception", "p4_resnet", "p4_all_convolutional", "ti_pooling_laptev"),  # mobilenet, p4cnn, ti_pooling
}
"""Networks of the same kinds of layers as others, which are named behind them."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LIKE_OTHERS)) for name in models.names()]
)
def test_converts_to_int8_throughout(name: str) -> None:
    """All operators but those of `STAYS_FLOAT` become int8, and the logits stay close."""
    model = small(name, **({} if name in ALWAYS_RELU else {"activation": "relu"}))
    if name == "st_cnn":
        as_if_trained(model)
    conversion, decibel = int8_error(model)
    assert {operator.split()[0] for operator in conversion.float_operators} == STAYS_FLOAT.get(name, set())
    assert conversion.is_integer == (name not in STAYS_FLOAT)
    assert decibel > LEAST_DECIBEL.get(name, 20)


def as_if_trained(model: keras.Model) -> None:
    """Give the last layer of the localisation network small random weights, where a new one has zeros."""
    kernel = model.get_layer("where").kernel
    kernel.assign(0.01 * np.random.default_rng(0).normal(size=kernel.shape))


def test_int8_keeps_the_identity_of_a_spatial_transformer_that_is_not_trained() -> None:
    """Its last layer has a kernel of zeros and a bias of (3, 0): as good as that layer in floating point."""
    model = small("st_cnn", activation="relu")
    assert not model.get_layer("where").kernel.numpy().any()
    reference = tflite.float32(model)
    _, decibel = int8_error(model, reference)
    assert decibel > 20
    assert int8_error(model, reference, float_layers=["where"])[1] < decibel + 1
    assert int8_error(model, reference, float_layers=["transformer"])[1] > decibel + 10


def test_only_elu_stays_float_in_the_int8_file() -> None:
    """The quantizer knows no int8 ELU: the file converts back and forth around it."""
    conversion, decibel = int8_error(small("simple_conv", kernel_size=4, max_pooling=False))
    assert conversion.float_operators and {operator.split()[0] for operator in conversion.float_operators} == {"ELU"}
    assert decibel > 20


def test_ffnet_computes_what_its_formula_says() -> None:
    model = small("ffnet", batch_normalization=False)
    images = np.random.default_rng(3).normal(size=(5, 16, 16, 1)).astype(np.float32)
    x = images.reshape(5, -1).astype(np.float64)
    for number, (kernel, bias) in enumerate(zip(*[iter(model.get_weights())] * 2, strict=True)):
        x = x @ kernel + bias
        x = np.where(x > 0, x, np.expm1(x)) if number < 2 else x
    np.testing.assert_allclose(np.asarray(model(images)), x, rtol=1e-5, atol=1e-6)


def test_class_maps_are_not_padded_and_their_mean_is_the_output() -> None:
    model = models.all_convolutional((28, 28, 1), 10, filters=4)
    shapes = {layer.name: layer.output.shape[1:] for layer in model.layers}
    assert shapes["conv7"] == shapes["conv8"] == (7, 7, 8) and shapes["class_maps"] == (7, 7, 10)
    image = np.random.default_rng(4).random((2, 28, 28, 1), np.float32)
    maps = keras.Model(model.input, model.get_layer("class_maps").output)(image)
    np.testing.assert_allclose(np.asarray(model(image)), np.asarray(maps).mean(axis=(1, 2)), atol=1e-6)


def test_residual_blocks_add_what_lies_at_the_same_place() -> None:
    model = models.resnet((12, 12, 1), 3, filters=1, activation="linear", batch_normalization=False)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            kernel = np.zeros_like(layer.get_weights()[0])
            kernel[len(kernel) // 2, len(kernel) // 2, 0] = 1  # every output channel copies the first input
            layer.set_weights([kernel])
    taps = {name: model.get_layer(f"stage2_block1_{name}").output for name in ("shortcut", "add")}
    image = np.random.default_rng(5).random((1, 12, 12, 1), np.float32)
    out = keras.Model(model.input, taps)(image)
    np.testing.assert_allclose(out["add"], 2 * np.asarray(out["shortcut"]), rtol=1e-6)
    np.testing.assert_allclose(np.asarray(out["shortcut"])[0, ..., 0], 4 * image[0, ::2, ::2, 0], rtol=1e-6)


@pytest.mark.parametrize("depth", [34, 50])
def test_blocks_of_a_residual_network_add_the_input_to_two_or_three_convolutions(depth: int) -> None:
    model = models.resnet((8, 8, 1), 3, depth=depth, filters=2, activation="relu")
    block = [layer.name for layer in model.layers if layer.name.startswith("stage4_block2_")]
    assert sum("conv" in name for name in block) == (3 if depth == 50 else 2)
    last = model.get_layer("stage4_block2_add")
    before = model.get_layer(f"stage4_block1_act{3 if depth == 50 else 2}")
    assert before.output.shape[-1] == last.output.shape[-1] == (64 if depth == 50 else 16)
    assert any(tensor is before.output for tensor in last.input)


def test_an_inception_block_concatenates_what_its_branches_give() -> None:
    """Against the same sums in NumPy, for kernels that only look at one pixel each."""
    blocks, widths = Blocks("relu"), InceptionWidths(2, 3, 4, 1, 2, 3)
    x = keras.Input((6, 6, 5))
    model = keras.Model(x, inception_block(blocks, x, widths, "block"))
    maps = np.random.default_rng(1).normal(size=(2, 6, 6, 5)).astype(np.float32)
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    largest = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2)).max(axis=(-1, -2))

    def unit(values: np.ndarray, label: str) -> np.ndarray:
        layer = model.get_layer(f"block_{label}_conv")
        kernel = np.zeros_like(layer.get_weights()[0])
        middle = len(kernel) // 2
        kernel[middle, middle] = np.random.default_rng(len(label)).normal(size=kernel.shape[2:])
        layer.set_weights([kernel, layer.get_weights()[1]])
        return np.maximum(values @ kernel[middle, middle], 0)

    three, five = unit(unit(maps, "three_reduced"), "three"), unit(unit(maps, "five_reduced"), "five")
    expected = np.concatenate([unit(maps, "one"), three, five, unit(largest, "pooled")], axis=-1)
    assert {model.get_layer(f"block_{label}_conv").kernel_size for label in ("one", "three", "five")} == {
        (1, 1),
        (3, 3),
        (5, 5),
    }
    np.testing.assert_allclose(np.asarray(model(maps)), expected, atol=1e-5)


@pytest.mark.parametrize("kernel", [2, 4])
def test_even_kernels_and_dilation_keep_the_size(kernel: int) -> None:
    model = models.simple_conv((16, 16, 3), 10, filters=4, dense=8, kernel_size=kernel, dilation=2)
    shapes = {layer.name: layer.output.shape[1:3] for layer in model.layers if layer.name.startswith("conv")}
    assert shapes == {"conv1": (16, 16), "conv2": (16, 16), "conv3": (8, 8), "conv4": (8, 8), "conv5": (4, 4)}
    weights = sum(kernel**2 * a * b + b for a, b in ((3, 4), (4, 4), (4, 8), (8, 8)))
    assert model.count_params() == weights + (9 * 8 * 16 + 16) + (16 * 16 * 8 + 8) + (8 * 10 + 10)


def test_normalization_and_activations_are_those_of_the_study() -> None:
    model = small("simple_conv")
    assert (model.get_layer("bn1").momentum, model.get_layer("bn1").epsilon) == (0.9, 1e-5)
    assert float(model.get_layer("act1")(np.full((1, 1), -1, np.float32))[0, 0]) == pytest.approx(np.exp(-1) - 1)
    order = [layer.name for layer in model.layers]
    assert order[1:4] == ["conv1", "bn1", "act1"]
    vgg = [layer.name for layer in small("vgg16d").layers]
    assert vgg[1:4] == ["block1_conv1", "block1_act1", "block1_bn1"]
    prelu = small("simple_conv", activation="prelu").get_layer("act1")
    assert prelu.count_params() == 1
    assert float(prelu(np.full((1, 2, 2, 4), -1, np.float32))[0, 0, 0, 0]) == -0.25


def test_torch_initialisation_fills_the_interval_of_each_layer() -> None:
    model = models.build("simple_conv", MNIST, 10, initializer="torch", seed=1)
    for name, fan_in in (("conv3", 9 * 32), ("fc1", 7 * 7 * 128), ("logits", 64)):
        kernel, bias = model.get_layer(name).get_weights()
        bound = fan_in**-0.5
        for values in (kernel, bias):
            assert 0.8 * bound < np.abs(values).max() <= bound
        assert kernel.std() == pytest.approx(bound / np.sqrt(3), rel=0.05)
    first, second = (model.get_layer(name).get_weights()[0] for name in ("conv2", "conv4"))
    assert not np.allclose(first / np.abs(first).max(), second[:, :, :32, :32] / np.abs(second).max(), atol=0.1)


@pytest.mark.parametrize("initializer", ["he_normal", "glorot_uniform", "torch"])
def test_depthwise_kernels_count_their_own_inputs_only(initializer: str) -> None:
    model = models.build("mobilenet_small", CIFAR, 10, filters=64, initializer=initializer, seed=1)
    variance = {"he_normal": 2 / 9, "glorot_uniform": 1 / 9, "torch": 1 / 27}[initializer]
    kernel = model.get_layer("dw6_conv").get_weights()[0]
    assert kernel.shape == (3, 3, 512, 1)
    assert kernel.var() == pytest.approx(variance, rel=0.1)


def test_normalization_is_a_first_layer() -> None:
    model = models.build("tutorial_cnn", MNIST, 10, filters=2, dense=4, normalization=(0.25, 0.5))
    image = np.random.default_rng(7).random((2, *MNIST), np.float32)
    normalized = keras.Model(model.input, model.get_layer("normalize").output)(image)
    np.testing.assert_allclose(np.asarray(normalized), (image - 0.25) / 0.5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("all_convolutional", 2248.435),
        ("binary_net", 11971.736),
        ("ffnet", 2424.987),
        ("inception", 6318.453),
        ("lenet", 3049.953),
        ("mobilenet_small", 11390.925),
        ("p4_all_convolutional", 2246.345),
        ("p4_resnet", 11965.972),
        ("p4cnn", 1554.059),
        ("resnet", 252716.5),
        ("simple_conv", 11030.090),
        ("st_cnn", 12416.775),
        ("ti_pooling", 6129.407),
        ("tutorial_cnn", 9539.114),
        ("vgg16d", 15294.788),
        ("z2cnn", 2085.227),
    ],
)
def test_a_seed_gives_the_weights_that_it_always_gave(name: str, size: float) -> None:
    """Findings, and networks in caches, are those of a seed."""
    weights = models.build(name, (28, 28, 1), 10, seed=0).get_weights()
    assert sum(float(np.abs(array).sum(dtype=np.float64)) for array in weights) == pytest.approx(size, rel=1e-5)


def test_seed_repeats_the_weights() -> None:
    first, same, other = (models.build("vgg16d", CIFAR, 10, filters=2, seed=seed).get_weights() for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(first, same, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_a_file_gives_its_architecture_with_new_weights(tmp_path: Path) -> None:
    path = str(tmp_path / "mine.keras")
    mine = small("simple_conv")
    mine.save(path)
    first, same, other = (models.build(path, (16, 16, 1), 10, seed=seed) for seed in (3, 3, 4))
    assert [layer.name for layer in first.layers] == [layer.name for layer in mine.layers]
    kernels = [model.get_layer("conv2").get_weights()[0] for model in (first, same, other, mine)]
    assert np.array_equal(kernels[0], kernels[1])
    assert not np.allclose(kernels[0], kernels[2]) and not np.allclose(kernels[0], kernels[3])
    assert np.array_equal(first.get_layer("bn1").get_weights()[2], np.zeros(4)), "batch statistics are new, too"
    for arguments, message in (
        (((28, 28, 1), 10), r"input_shape must be \(16, 16, 1\) for .*mine.keras. Received: \(28, 28, 1\)"),
        (((16, 16, 1), 7), "classes must be 10 for .* Received: 7"),
    ):
        with pytest.raises(ValueError, match=message):
            models.build(path, *arguments)
    with pytest.raises(ValueError, match=r"options of .*mine.keras must be one of \(none\). Received: 'filters'"):
        models.build(path, (16, 16, 1), 10, filters=3)


def test_networks_of_keras_give_logits() -> None:
    model = models.build("keras.applications.MobileNetV2", CIFAR, 7, alpha=0.35, seed=0)
    assert model.output_shape == (None, 7)
    assert float(np.asarray(model(np.ones((1, *CIFAR), np.float32))).min()) < 0


def test_networks_of_keras_as_published_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", fail)
    with pytest.warns(UserWarning, match=r"MobileNetV2 has random weights.*Name or service not known"):
        model = models.build("keras.applications.MobileNetV2", None, None)
    assert model.input_shape == (None, 224, 224, 3) and model.output_shape == (None, 1000)
    with pytest.raises(ValueError, match=r"input_shape must be \(height, width, channels\).* None"):
        models.build("simple_conv", None, None)


@pytest.mark.parametrize(
    ("name", "shape", "classes", "options", "message"),
    [
        (
            "simpel_conv",
            MNIST,
            10,
            {},
            r"all_convolutional.* Did you mean 'simple_conv'. Received: 'simpel_conv'",
        ),
        ("keras.applications.MobileNetV9", CIFAR, 10, {}, "MobileNetV2.* Did you mean 'keras.applications.MobileNetV"),
        ("keras.applications.InceptionV3", CIFAR, 10, {}, r"InceptionV3 cannot be built.*at least 75x75"),
        (
            "simple_conv",
            MNIST,
            10,
            {"filter": 3},
            "of simple_conv .* Did you mean 'filters'. Received: 'filter'",
        ),
        ("simple_conv", MNIST, 10, {"filters": 0}, "filters must be a whole number.* 0"),
        ("simple_conv", MNIST, 10, {"activation": "elo"}, "activation must be .*'prelu'.*'elo'"),
        ("simple_conv", MNIST, 10, {"initializer": "xavier"}, "initializer must be .*'torch'.*'xavier'"),
        ("simple_conv", (3, 28, 1), 10, {}, r"at least 4x4.*\(3, 28, 1\)"),
        ("simple_conv", (28, 28), 10, {}, r"input_shape must be \(height, width, channels\).*\(28, 28\)"),
        ("simple_conv", MNIST, 0, {}, "classes must be a whole number.* 0"),
        ("resnet", MNIST, 10, {"depth": 20}, r"depth must be one of \[18, 34, 50, 101\].* 20"),
        ("inception", MNIST, 10, {"filters": 1}, "filters must be a whole number of at least 2.* 1"),
        ("ffnet", MNIST, 10, {"hidden": 64}, "hidden must be a tuple.* 64"),
        ("lenet", MNIST, 10, {"filters": 6}, "filters must be two whole numbers. Received: 6"),
        ("lenet", MNIST, 10, {"dense": (120, 0)}, "dense must be a whole number.* 0"),
        ("vgg16d", MNIST, 10, {"dropout": 1.0}, "dropout must be .* 1.0"),
        ("tutorial_cnn", MNIST, 10, {"normalization": (0.1, 0)}, r"normalization must be .* \(0.1, 0\)"),
    ],
)
def test_build_refuses(name: str, shape: Any, classes: int, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        models.build(name, shape, classes, **options)


@pytest.mark.parametrize(
    ("name", "suffix"), [("mobilenet_small", ".keras"), ("mobilenet_small", ".h5"), ("inception", ".keras")]
)
def test_load_gives_back_the_same_model(tmp_path: Path, name: str, suffix: str) -> None:
    model = small(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras calls HDF5 a legacy format
        model.save(tmp_path / f"model{suffix}")
    loaded = models.load(tmp_path / f"model{suffix}")
    images = np.random.default_rng(6).random((3, 16, 16, 1), np.float32)
    np.testing.assert_array_equal(np.asarray(loaded(images)), np.asarray(model(images)))
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]


class Doubling(keras.layers.Layer):
    """A layer that Keras does not know."""

    def call(self, x: Any) -> Any:
        return 2 * x


def saved(path: Path, layer: keras.layers.Layer) -> Path:
    inputs = keras.Input((4,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keras.Model(inputs, layer(inputs)).save(path)
    return path


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_load_runs_no_code_from_files(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"code{suffix}", keras.layers.Lambda(lambda x: x + 1))
    with pytest.raises(ValueError, match=r"code\.(keras|h5)'.* Lambda layer"):
        models.load(path)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_load_names_unknown_classes_and_takes_them(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"own{suffix}", Doubling())
    with pytest.raises(ValueError, match=r"unknown class 'Doubling'.* custom_objects"):
        models.load(path)
    loaded = models.load(path, custom_objects={"Doubling": Doubling})
    np.testing.assert_array_equal(np.asarray(loaded(np.ones((1, 4), np.float32))), 2.0)


def test_load_names_missing_foreign_and_damaged_files(tmp_path: Path) -> None:
    whole = saved(tmp_path / "whole.keras", keras.layers.Dense(3)).read_bytes()
    flipped = bytearray(whole)
    for place in range(len(whole) // 2, len(whole) // 2 + 40):
        flipped[place] ^= 0xFF
    (tmp_path / "cut.keras").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "flipped.keras").write_bytes(flipped)
    (tmp_path / "junk.h5").write_bytes(b"junk" * 100)
    (tmp_path / "model.tflite").write_bytes(whole)
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("readme.txt", "no model")
    for name in ("cut.keras", "flipped.keras", "junk.h5", "other.keras"):
        with pytest.raises(ValueError, match=f"{name}'.*damaged") as caught:
            models.load(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"missing\.keras'.*does not exist"):
        models.load(tmp_path / "missing.keras")
    with pytest.raises(ValueError, match=r"\.keras or \.h5.*model\.tflite"):
        models.load(tmp_path / "model.tflite")


@pytest.fixture(scope="module")
def keras_2() -> Any:
    """Keras 2, as its own package."""
    return importlib.import_module("tf_keras")


def written_by_keras_2(k: Any, path: Path, *layers: Any) -> tuple[np.ndarray, np.ndarray]:
    """Save a functional model of Keras 2, and return images with its answers to them."""
    inputs = x = k.Input((8, 8, 3))
    for layer in layers:
        x = layer(x)
    model = k.Model(inputs, x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(path)
    images = np.random.default_rng(0).random((3, 8, 8, 3), np.float32)
    return images, model.predict(images, verbose=0)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_files_of_keras_2_give_the_same_values(keras_2: Any, tmp_path: Path, suffix: str) -> None:
    k = keras_2
    layers = k.layers
    k.utils.set_random_seed(1)
    inner_input = k.Input((8, 8, 6))
    inner = k.Model(inner_input, layers.ThresholdedReLU(0.02)(layers.SeparableConv2D(4, 3)(inner_input)), name="inner")
    shared = [
        layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="block/depthwise"),
        layers.BatchNormalization(),
        layers.ReLU(6.0),
        layers.SpatialDropout2D(0.2),
        inner,
        layers.Conv2DTranspose(3, 3, strides=2),
        layers.GlobalAveragePooling2D(),
        layers.Dense(4),
    ]
    images, expected = written_by_keras_2(k, tmp_path / f"old{suffix}", *shared)
    loaded = models.load(tmp_path / f"old{suffix}")
    assert np.ptp(expected) > 1e-3
    assert loaded.output_shape == (None, 4)
    np.testing.assert_allclose(np.asarray(loaded(images)), expected, atol=1e-6)
    assert [layer.name for layer in loaded.layers][1] == "block_depthwise"
    assert [path.name for path in tmp_path.iterdir()] == [f"old{suffix}"]


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_attention_and_sums_of_keras_2_give_the_same_values(keras_2: Any, tmp_path: Path, suffix: str) -> None:
    """`attention(x, value=y)` names its tensors, and `x + y` is a call of a function there."""
    k = keras_2
    k.utils.set_random_seed(2)
    inputs = k.Input((4, 4, 3))
    tokens = k.layers.Dense(8, name="tokens")(k.layers.Reshape((16, 3))(inputs))
    others = k.layers.Dense(8, name="a/b")(tokens)
    x = k.layers.MultiHeadAttention(2, 4, name="attention")(tokens, value=others, key=tokens) + tokens
    x = k.layers.GlobalAveragePooling1D()(k.layers.LayerNormalization()(x + others))
    model = k.Model(inputs, k.layers.Dense(3)(x))
    images = np.random.default_rng(0).random((3, 4, 4, 3), np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(tmp_path / f"old{suffix}")
        k.Model(inputs, x * 2.0).save(tmp_path / f"doubled{suffix}")
        k.Model(inputs, x + 2.0).save(tmp_path / f"added{suffix}")
    loaded = models.load(tmp_path / f"old{suffix}")
    np.testing.assert_allclose(np.asarray(loaded(images)), model.predict(images, verbose=0), atol=1e-6)
    assert {"attention", "a_b"} <= {layer.name for layer in loaded.layers}
    for other in ("doubled", "added"):
        with pytest.raises(ValueError, match=r"the class 'TFOpLambda' of Keras 2; .*load_model\("):
            models.load(tmp_path / f"{other}{suffix}")


def test_a_convnext_of_keras_2_gives_the_same_values(keras_2: Any, tmp_path: Path) -> None:
    convnext = importlib.import_module("tf_keras.src.applications.convnext")
    keras_2.utils.set_random_seed(3)
    model = convnext.ConvNeXt(
        depths=[1, 1, 1, 1], projection_dims=[4, 6, 6, 6], drop_path_rate=0.1, weights=None, input_shape=(32, 32, 3),
        classes=3, classifier_activation=None, model_name="small", default_size=32, include_preprocessing=True,
    )  # fmt: skip
    for weight in model.weights:  # the factors of its layers begin near 0
        weight.assign(np.random.default_rng(weight.shape.rank).normal(0.5, 0.3, weight.shape))
    images = np.random.default_rng(0).random((3, 32, 32, 3), np.float32)
    expected = model.predict(images, verbose=0)
    assert np.ptp(expected) > 0.1
    for path in (tmp_path / "old.keras", tmp_path / "old.h5"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.save(path)
        np.testing.assert_allclose(np.asarray(models.load(path)(images)), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_settings_of_keras_2_that_change_values_are_refused_with_a_way_out(
    keras_2: Any, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"lost{suffix}"
    images, expected = written_by_keras_2(keras_2, path, keras_2.layers.LocallyConnected2D(2, 3))
    with pytest.raises(ValueError, match=r"the class 'LocallyConnected2D' of Keras 2; .*load_model\(") as caught:
        models.load(path)
    statements = re.search(r'python -c "(.*)"$', str(caught.value))
    assert statements is not None
    with quiet():
        exec(statements[1], {})  # noqa: S102  the way out that the message names
    file = tflite.TFLiteModel(tmp_path / "lost.tflite")
    np.testing.assert_allclose(np.asarray(file.predict(images)), expected, atol=1e-5)


def test_settings_of_layers_that_rest_are_dropped(keras_2: Any, tmp_path: Path) -> None:
    written_by_keras_2(keras_2, tmp_path / "old.h5", keras_2.layers.RandomFlip("vertical"))  # it flips at random there
    images = np.random.default_rng(0).random((3, 8, 8, 3), np.float32)
    loaded = models.load(tmp_path / "old.h5")
    assert loaded.layers[1].mode == "vertical"
    np.testing.assert_array_equal(np.asarray(loaded(images, training=False)), images)


def test_an_error_of_keras_shows_the_layer_and_the_whole_cause(keras_2: Any, tmp_path: Path) -> None:
    layer = keras_2.layers.Conv2DTranspose(4, 3, name="widen")
    written_by_keras_2(keras_2, tmp_path / "old.h5", layer)
    with h5py.File(tmp_path / "old.h5", "r+") as archive:
        archive.attrs["model_config"] = archive.attrs["model_config"].replace('"groups": 1', '"groups": 2')
    with pytest.raises(
        ValueError, match=r"layer 'widen' of the class Conv2DTranspose: .*Unrecognized .*\{'groups': 2\}\); Keras 2"
    ):
        models.load(tmp_path / "old.h5")
