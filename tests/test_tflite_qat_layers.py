"""Fake quantization layer by layer: what becomes which integer operator, and the pieces it is made of."""

from __future__ import annotations

import importlib
from typing import Any

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from qat_models import conv, converted, inner, small, twice, two_readers

from tfinv import datasets
from tfinv.activations import ActivationModel
from tfinv.activations.layer_graph import flatten
from tfinv.tflite import TFLiteModel, float32, qat_int8, static_int8
from tfinv.tflite.convert.batch_norm_folding import find_folds
from tfinv.tflite.files.flatbuffer import read_graph
from tfinv.tflite.qat.integer_kernels import use_integer_kernels
from tfinv.tflite.qat.keras_route.layers import FakeQuant, fake_quantize_weights
from tfinv.tflite.qat.keras_route.model import fake_quantized, set_ranges

layers = keras.layers


@pytest.fixture(scope="module")
def digits() -> datasets.Dataset:
    return datasets.load("digits")


def branches(x: Any) -> list[Any]:
    return [conv(name)(x) for name in ("one", "two", "three")]


class Plain(layers.DepthwiseConv2D):
    """A subclass that computes what its base does, as some saved models have."""


def automatic_names(x: Any) -> Any:
    for _ in range(3):
        x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3)(x)))
    return x


def one_layer_twice(x: Any) -> Any:
    shared = conv("shared")
    return shared(layers.ReLU(name="relu")(shared(conv("first")(x))))


CASES: dict[str, tuple[Any, str]] = {
    "normalization first": (lambda x: conv("a")(layers.BatchNormalization(name="norm")(x)), "MUL ADD CONV_2D"),
    "several readers of a convolution": (two_readers, "CONV_2D RELU MUL ADD ADD"),
    "a shared pair": (twice, "CONV_2D CONV_2D CONV_2D"),
    "a shared layer": (one_layer_twice, "CONV_2D CONV_2D CONV_2D"),
    "nested, names collide": (inner, "CONV_2D CONV_2D"),
    "names that Keras makes": (automatic_names, "CONV_2D CONV_2D CONV_2D"),
    "a subclass": (
        lambda x: layers.BatchNormalization(name="n")(Plain(3, name="own")(conv("a")(x))),
        "CONV_2D DEPTHWISE_CONV_2D",
    ),
    "separable": (lambda x: layers.SeparableConv2D(8, 3, activation="elu", name="s")(conv("a")(x)), "ELU"),
    "transposed": (lambda x: layers.Conv2DTranspose(8, 3, strides=2, name="t")(conv("a", 6)(x)), "TRANSPOSE_CONV"),
    "three summands": (lambda x: layers.ReLU(name="r")(layers.Add(name="add")(branches(x))), "ADD ADD"),
    "average": (lambda x: layers.Average(name="average")(branches(x)), "ADD ADD MUL"),
    "maximum": (lambda x: layers.Maximum(name="maximum")(branches(x)), "MAXIMUM MAXIMUM"),
    "relu after a pool": (
        lambda x: conv("b")(layers.ReLU(name="r")(layers.MaxPooling2D(name="p")(conv("a")(x)))),
        "MAX_POOL_2D CONV_2D",
    ),
    "fixed scales": (lambda x: conv("b", activation="sigmoid")(conv("a", activation="tanh")(x)), "TANH LOGISTIC"),
    "fixed scale in a concatenation": (
        lambda x: layers.Concatenate(name="c")([conv("a", activation="sigmoid")(x), conv("b", activation="relu")(x)]),
        "LOGISTIC CONCATENATION",
    ),
    "swish": (lambda x: conv("a", activation="swish")(x), "CONV_2D LOGISTIC MUL"),
    "slopes": (lambda x: layers.PReLU(name="p")(layers.LeakyReLU(name="l")(conv("a")(x))), "LEAKY_RELU PRELU"),
    "rescaling": (lambda x: conv("a")(layers.Rescaling(2.0, -1.0, name="r")(x)), "MUL ADD CONV_2D"),
    "dense on maps": (lambda x: layers.Dense(6, activation="relu", name="d")(conv("a")(x)), "FULLY_CONNECTED ADD"),
    "dilated, grouped": (lambda x: conv("b", groups=2)(conv("a", dilation_rate=2)(x)), "CONV_2D CONV_2D"),
    "padding, upsampling": (
        lambda x: layers.UpSampling2D(interpolation="bilinear", name="u")(layers.ZeroPadding2D(name="z")(conv("a")(x))),
        "PAD RESIZE_BILINEAR",
    ),
    "raw operations": (lambda x: keras.ops.relu(conv("a")(x) + conv("b")(x)), "CONV_2D CONV_2D ADD"),
    "one pixel": (
        lambda x: layers.Reshape((1, 1, 256), name="r")(layers.Permute((2, 1, 3), name="p")(x)),
        "TRANSPOSE RESHAPE",
    ),
}  # fmt: skip


LESS_COMMON = {
    *("separable", "transposed", "three summands", "maximum", "relu after a pool", "dilated, grouped"),
    *("swish", "slopes", "padding, upsampling", "one pixel"),
}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.slow] * (case in LESS_COMMON)) for case in CASES]
)
def test_layers_become_integer_operators_that_agree(case: str, digits: datasets.Dataset) -> None:
    body, expected = CASES[case]
    images = digits.train.x[:64]
    file, agreed, _ = converted(small(body), images)
    graph = read_graph(file.content)
    assert graph.float_operators() == () and file.float_fallback == () and file.calibrated == ()
    names = [operator.name for operator in graph.operators]
    rest = iter(names)
    assert all(name in rest for name in expected.split()), names
    assert agreed.classes > 0.95
    assert min(agreed.sqnr.values()) > 35, agreed.sqnr
    assert list(agreed.sqnr)[-1] == "logits"


def test_what_training_cannot_round_is_listed(digits: datasets.Dataset) -> None:
    model = small(lambda x: layers.LayerNormalization(name="layer_norm")(conv("a")(x)))
    result = qat_int8(model, digits.train.subset(64, seed=0), 1, progress=False)
    assert result.report is not None
    assert result.report.float_fallback == ("NEG layer_norm",)
    assert not result.is_integer
    assert set(result.report.calibrated) >= {"RSQRT layer_norm", "SQUARED_DIFFERENCE layer_norm"}
    assert "NEG layer_norm computes in floating point" in result.report.describe()


class Unknown(keras.layers.Layer):
    """A layer that quantization knows nothing of; it moves its input and must take its scale."""

    def call(self, x: Any) -> Any:
        return keras.ops.reshape(x, (-1, 32, 8, x.shape[-1]))


def test_a_layer_of_ones_own_is_left_to_the_converter(digits: datasets.Dataset) -> None:
    file, agreed, _ = converted(small(lambda x: conv("b")(Unknown(name="mine")(conv("a")(x)))), digits.train.x[:64])
    assert file.float_fallback == ()
    assert agreed.sqnr["logits"] > 35


def test_layers_that_cannot_be_taken_are_named(digits: datasets.Dataset) -> None:
    few = digits.train.subset(20, seed=0)
    lambda_layer = small(lambda x: layers.Lambda(lambda y: y * 2, name="doubling")(x))
    with pytest.raises(ValueError, match=r"'doubling' \(Lambda\)"):
        qat_int8(lambda_layer, few, 1, progress=False)
    recurrent = small(lambda x: layers.LSTM(4, name="memory")(layers.Reshape((16, 16), name="r")(x)))
    with pytest.raises(ValueError, match=r"route 'keras'.*'memory' \(LSTM\)"):
        qat_int8(recurrent, few, 1, progress=False)

    class Subclassed(keras.Model):
        def call(self, x: Any) -> Any:
            return x

    with pytest.raises(TypeError, match="Subclassed"):
        qat_int8(Subclassed(), few, 1)
    with pytest.raises(TypeError, match="Keras 3 model"):
        qat_int8("model.keras", few, 1)


def test_mixed_precision_is_trained_in_float32(digits: datasets.Dataset) -> None:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = small(conv("a", activation="elu"))
        file, agreed, _ = converted(model, digits.train.x[:64])
    finally:
        keras.config.set_dtype_policy("float32")
    assert file.float_fallback == () and agreed.sqnr["logits"] > 35


@pytest.mark.parametrize("bits", [8, 4])
def test_weights_are_rounded_to_the_grid_of_tflite(bits: int, rng: np.random.Generator) -> None:
    weights = rng.normal(size=(3, 3, 4, 5)).astype("float32") * np.array([1, 10, 0.1, 0, 5], "float32")
    levels = 2 ** (bits - 1) - 1
    for per_channel in (True, False):
        limit = np.abs(weights).max(axis=(0, 1, 2) if per_channel else None).astype("float64")
        scale = np.maximum(limit, 1e-30) / levels
        expected = np.round(weights / scale) * scale
        rounded = fake_quantize_weights(weights, bits, per_channel=per_channel).numpy()
        assert_allclose(rounded, expected, rtol=1e-5, atol=1e-6)
        assert np.all(rounded[..., 3] == 0)


def test_activations_of_several_sites_share_the_union_of_their_ranges() -> None:
    layer = FakeQuant(sites=2, momentum=0.9)
    layer(np.zeros((1, 2), "float32"))
    layer.observing = True
    layer(np.array([[-1.0, 2.0]], "float32"), site=0)
    layer(np.array([[0.5, 3.0]], "float32"), site=1)
    layer.observing = False
    assert [float(end) for end in layer.range()] == [-1.0, 3.0]
    rounded = layer(np.array([[-5.0, 0.0, 1.003, 9.0]], "float32"), site=1).numpy()[0]
    scale = 4 / 255
    zero = np.round(1 / scale)
    assert_allclose(rounded, [-zero * scale, 0, np.round(1.003 / scale) * scale, (255 - zero) * scale], rtol=1e-6)
    layer(np.array([[0.0, 13.0]], "float32"), site=0, training=True)
    assert float(layer.range()[1]) == pytest.approx(0.9 * 2 + 0.1 * 13)
    copy = FakeQuant.from_config(layer.get_config())
    assert copy.sites == 2 and copy.momentum == 0.9


def test_a_dead_activation_keeps_a_range_that_works() -> None:
    layer = FakeQuant()
    out = layer(np.zeros((2, 3), "float32"))
    assert_array_equal(out, np.zeros((2, 3)))
    low, high = (float(end) for end in layer.range())
    assert low == 0 and high > 1e-3


def test_ranges_need_finite_images(digits: datasets.Dataset) -> None:
    fake = fake_quantized(small(conv("a")))
    with pytest.raises(ValueError, match="at least one image"):
        set_ranges(fake.model, [])
    with pytest.raises(ValueError, match="finite"):
        set_ranges(fake.model, [np.full((1, 16, 16, 1), np.inf, "float32")])


@pytest.mark.parametrize(
    "layer",
    [
        conv("a", use_bias=False),
        conv("a", groups=1),
        layers.DepthwiseConv2D(3, depth_multiplier=4, name="a"),
        layers.Conv2DTranspose(6, 3, name="a"),
        layers.Dense(7, name="a"),
    ],
    ids=["conv", "conv with bias", "depthwise", "transposed", "dense"],
)
def test_folding_changes_nothing(layer: Any, digits: datasets.Dataset) -> None:
    model = small(
        lambda x: layers.BatchNormalization(scale=False, name="second")(
            layers.BatchNormalization(name="first")(layer(x))
        )
    )
    images = digits.train.x[:8]
    (fold,) = find_folds(flatten(model)).values()
    assert [call.name for call in fold.normalizations] == ["first", "second"]
    folded = type(layer).from_config(layer.get_config() | {"use_bias": False, "activation": None})
    folded.build((None, 16, 16, 1))
    folded.set_weights([fold.kernel])
    expected = np.asarray(ActivationModel(model, "second")(images)["second"])
    assert_allclose(np.asarray(folded(images)) + fold.bias.astype("float32"), expected, rtol=1e-4, atol=1e-5)


def test_a_normalization_that_is_not_alone_is_not_folded() -> None:
    assert find_folds(flatten(small(two_readers))) == {}

    def other_norms(x: Any) -> Any:
        shared = conv("shared", 1)
        return layers.BatchNormalization(name="b")(shared(layers.BatchNormalization(name="a")(shared(x))))

    assert find_folds(flatten(small(other_norms))) == {}
    assert len(find_folds(flatten(small(twice)))) == 2


def test_flatten_labels_calls_as_activations_do() -> None:
    assert [call.name for call in flatten(small(inner)).calls][:2] == ["same_name", "inner_same_name"]
    assert [call.label for call in flatten(small(inner)).calls][:2] == ["same_name", "inner/same_name"]
    shared = flatten(small(twice))
    assert [call.label for call in shared.calls] == list(ActivationModel(small(twice)).layer_shapes)
    assert [call.label for call in shared.calls][1:5] == ["shared@1", "norm@1", "shared@2", "norm@2"]
    assert shared.calls[1].layer is shared.calls[3].layer


def test_elu_runs_on_its_integer_kernel(digits: datasets.Dataset) -> None:
    model = small(lambda x: conv("b", activation="elu")(conv("a", activation="elu")(x)))
    before = static_int8(model, digits.train.x[:64]).content
    after = use_integer_kernels(before)
    assert {operator.name for operator in read_graph(before).float_operators()} == {"ELU"}
    assert read_graph(after).float_operators() == ()
    assert len(read_graph(after).operators) == len(read_graph(before).operators) - 4
    outputs = [TFLiteModel(content, probe=False).predict(digits.test.x) for content in (before, after)]
    assert_array_equal(outputs[0], outputs[1])
    assert use_integer_kernels(after) == after


def blocks_of_resnet50(**options: Any) -> Any:
    """The first layers and the last of ResNet50, and between them two of its blocks of two sizes, 64 channels wide."""
    resnet = importlib.import_module("keras.src.applications.resnet")

    def stack(x: Any) -> Any:
        x = resnet.stack_residual_blocks_v1(x, 16, 2, stride1=1, name="conv2")
        return resnet.stack_residual_blocks_v1(x, 32, 2, name="conv3")

    return resnet.ResNet(stack, preact=False, use_bias=True, name="resnet", **options)


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(keras.applications.MobileNetV2, marks=pytest.mark.slow),
        pytest.param(blocks_of_resnet50, marks=pytest.mark.slow),
        pytest.param(keras.applications.ResNet50, marks=pytest.mark.long),
    ],
)
def test_large_networks_have_no_float_operator_left(build: Any) -> None:
    keras.utils.set_random_seed(0)
    model = build(
        weights=None, input_shape=(96, 96, 3), classes=10, classifier_activation=None, include_top=True, pooling=None
    )
    images = np.kron(np.random.default_rng(0).random((32, 12, 12, 3)), np.ones((1, 8, 8, 1))).astype("float32")
    file, agreed, _ = converted(model, images)
    graph = read_graph(file.content)
    assert graph.float_operators() == () and file.calibrated == ()

    def operators(histogram: dict[str, int]) -> dict[str, int]:
        return {operator: count for operator, count in histogram.items() if not operator.endswith("QUANTIZE")}

    assert operators(graph.histogram) == operators(float32(model).operators)
    assert list(agreed.sqnr.values())[-1] > 25
