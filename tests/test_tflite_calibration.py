"""Clipped ranges and corrected biases against NumPy, and in files."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from tfinv import tflite
from tfinv.activations.input_scale import input_scale
from tfinv.datasets import Split
from tfinv.tflite import (
    RECIPES,
    Materials,
    Ranges,
    TFLiteModel,
    extreme_images,
    float32,
    static_int8,
    weight_int4,
    with_transformations,
)
from tfinv.tflite.convert.calibration_bias import correct_biases, mean_shift
from tfinv.tflite.convert.calibration_ranges import GrowingHistogram, activation_ranges
from tfinv.tflite.files.flatbuffer import read_graph
from tfinv.transformations import as_set

GENERATOR = np.random.default_rng(0)


def network() -> Any:
    """Depthwise, ordinary and dense kernels, two of them with an equal bias, and no border."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((12, 12, 2), name="image")
    x = keras.layers.Conv2D(6, 3, activation="relu", name="conv")(inputs)
    x = keras.layers.DepthwiseConv2D(3, depth_multiplier=2, activation="relu", name="depthwise")(x)
    x = keras.layers.Conv2D(12, 1, name="point")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dense(5, bias_initializer="ones", name="logits")(x)  # a bias of zeros would be left out
    return keras.Model(inputs, x, name="small")


@pytest.fixture(scope="module")
def reference() -> Any:
    return float32(network())


@pytest.fixture(scope="module")
def images() -> Any:
    return GENERATOR.random((64, 12, 12, 2), "float32")


def test_a_histogram_grows_with_its_values() -> None:
    parts = [scale * GENERATOR.normal(size=4001) for scale in (0.01, 3.0, 0.2, 40.0)]
    histogram, values = GrowingHistogram(), np.concatenate(parts)
    for part in parts:
        histogram.add(part.astype(np.float32))
    assert histogram.counts.sum() == len(values) and 64 <= histogram.reach <= 512
    assert (histogram.least, histogram.most) == pytest.approx((values.min(), values.max()), rel=1e-6)
    for percentage in (90.0, 99.0, 99.9):
        expected = np.percentile(values, [100 - percentage, percentage], method="inverted_cdf")
        assert np.allclose(histogram.percentile(percentage), expected, atol=2 * histogram.width)
    assert histogram.percentile(100.0) == (histogram.least, histogram.most)
    positive = GrowingHistogram()
    positive.add(np.abs(values))
    assert positive.percentile(99.0)[0] == 0 == positive.least_error(8)[0], "0 stays within a range"


def test_the_least_squared_error_is_that_of_numpy() -> None:
    values = np.concatenate([GENERATOR.normal(size=20000), [30.0]])
    histogram = GrowingHistogram()
    histogram.add(values)
    for bits in (4, 8):
        errors = {}
        for share in np.linspace(0.2, 1, 81):
            low, high = share * values.min(), share * values.max()
            step = (high - low) / (2**bits - 1)
            integers = np.clip(np.round((values - low) / step), 0, 2**bits - 1)
            errors[share] = np.mean((integers * step + low - values) ** 2)
        low, high = histogram.least_error(bits)
        chosen = high / values.max()
        nearest = min(errors, key=lambda share: abs(share - chosen))
        assert low == pytest.approx(chosen * values.min()) and errors[nearest] <= 1.02 * min(errors.values())
        assert (chosen < 0.5) == (bits == 4)


def test_ranges_in_a_file_are_those_asked_for(reference: Any, images: Any) -> None:
    graph = reference.graph
    ranges = Ranges(activations="percentile", percentile=99.0)
    clipped = activation_ranges(graph, [images[:40], images[40:]], ranges, 8)
    model = TFLiteModel(reference, input_scale="0..1")
    values = np.asarray(model(images)["conv"], np.float64)
    index = reference.layers.matched["conv"]
    low, high = clipped[graph.tensors[index].name]
    assert low == 0 and high == pytest.approx(np.percentile(values, 99), rel=0.01) and high < 0.9 * values.max()
    file = static_int8(reference, images, ranges=ranges)
    scale = file.graph.tensors[file.layers.matched["conv"]].scales.item()
    assert scale == pytest.approx(high / 255, rel=1e-3)
    whole, same = static_int8(reference, images), static_int8(reference, images, ranges=Ranges())
    assert same.content == whole.content and "ranges" not in same.options
    assert file.options["ranges"] == ranges.to_json() and file.options["calibration_images"] == 64
    for ends in (file.graph.inputs, file.graph.outputs):
        scales = [graph_.tensors[graph_.source(ends[0])].scales for graph_ in (file.graph, whole.graph)]
        np.testing.assert_array_equal(*scales)


def test_the_shift_of_a_mean_is_that_of_the_convolution() -> None:
    means = np.array([0.5, 2.0])
    for layer, kind, axes in (
        (keras.layers.Conv2D(3, 2), "CONV_2D", (3, 0, 1, 2)),
        (keras.layers.DepthwiseConv2D(2, depth_multiplier=2), "DEPTHWISE_CONV_2D", None),
    ):
        layer.build((None, 4, 4, 2))
        kernel = np.asarray(layer.kernel, np.float64)
        stored = kernel.transpose(axes) if axes else kernel.reshape(1, 2, 2, 4)
        constant = np.broadcast_to(means, (1, 4, 4, 2)).astype(np.float32)
        expected = np.asarray(layer(constant))[0, 0, 0]  # without a border, constant images have a constant output
        np.testing.assert_allclose(mean_shift(kind, stored, means), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("recipe", ["weight_int4", "static_int8"])
def test_corrected_biases_keep_the_means(recipe: str, reference: Any, images: Any) -> None:
    def file(ranges: Ranges | None) -> Any:
        if recipe == "weight_int4":
            return weight_int4(reference, images if ranges else None, ranges=ranges)
        return static_int8(reference, images, per_channel=False, ranges=ranges)

    def shift(file: Any) -> float:
        """How far the channel means of the first layer, which is before any activation but its own ReLU, moved."""
        before, after = (
            np.asarray(TFLiteModel(model, input_scale="0..1")(images)["point"], np.float64).mean(axis=(0, 1, 2))
            for model in (reference, file)
        )
        return float(np.abs(after - before).max())

    plain, corrected = file(None), file(Ranges(bias_correction=True))
    assert shift(corrected) < (0.5 if recipe == "weight_int4" else 0.9) * shift(plain)
    assert len(corrected.content) < len(plain.content) + 500
    assert corrected.operators == plain.operators and corrected.layers.matched.keys() == plain.layers.matched.keys()


def test_equal_biases_are_corrected_apart(reference: Any, images: Any) -> None:
    quantized = weight_int4(reference)
    content = correct_biases(reference.content, quantized.content, [images])
    before, after = read_graph(reference.content), read_graph(content)
    kernels = [operator for operator in after.operators if len(operator.inputs) == 3]
    assert len(kernels) == 4
    assert len({after.tensors[operator.inputs[2]].buffer for operator in kernels}) == 4
    shared = [operator.inputs[2] for operator in before.operators if len(operator.inputs) == 3]
    assert len(set(shared)) < 4, "the test needs operators that share a bias"
    for operator, old in zip(after.operators, before.operators, strict=True):
        assert (operator.name, operator.outputs) == (old.name, old.outputs)
    point = next(operator for operator in kernels if operator.outputs[0] == reference.layers.matched["point"])
    mean = np.asarray(TFLiteModel(reference, input_scale="0..1")(images)["depthwise"], np.float64).mean(axis=(0, 1, 2))
    weights = before.constant(point.inputs[1]).astype(np.float64).reshape(12, 12)
    twin = next(op for op in quantized.graph.operators if op.index and _makes(quantized, op, "point"))
    rounded = quantized.graph.constant(quantized.graph.source(twin.inputs[1])).reshape(12, 12)
    np.testing.assert_allclose(after.constant(point.inputs[2]), (weights - rounded) @ mean, rtol=1e-4, atol=1e-6)


def _makes(file: Any, operator: Any, layer: str) -> bool:
    return file.layers.matched[layer] in operator.outputs


def test_clipped_kernels_round_with_less_error() -> None:
    model = network()
    kernel, bias = model.get_layer("point").get_weights()
    kernel = GENERATOR.standard_t(4, kernel.shape).astype(np.float32)  # far outliers
    model.get_layer("point").set_weights([kernel, bias])
    reference = float32(model)
    errors = {}
    for weights in ("min_max", "mse", "octav"):
        file = weight_int4(reference, ranges=Ranges(weights=weights))
        twin = next(op for op in file.graph.operators if _makes(file, op, "point"))
        rounded = file.graph.constant(file.graph.source(twin.inputs[1])).reshape(12, 12)
        errors[weights] = float(np.mean((rounded - kernel[0, 0].T) ** 2))
    assert errors["octav"] < errors["min_max"] and len(set(errors.values())) == 3


def test_bad_input_says_what_to_do(reference: Any, images: Any) -> None:
    for kind, text, make in (
        (ValueError, r"activations must be one of .* Received: 'max'", lambda: Ranges(activations="max")),
        (ValueError, r"weights must be one of", lambda: Ranges(weights="percentile")),
        (ValueError, r"percentile must be above 50", lambda: Ranges(percentile=0.999)),
        (TypeError, r"percentile must be a number", lambda: Ranges(percentile="99")),
        (TypeError, r"bias_correction must be True or False", lambda: Ranges(bias_correction=1)),
        (
            TypeError,
            r"ranges must be .* or None\. Received: 'mse'",
            lambda: static_int8(reference, images, ranges="mse"),
        ),
        (ValueError, r"must leave the activations", lambda: weight_int4(reference, ranges=Ranges("mse"))),
        (ValueError, r"calibration must be given", lambda: weight_int4(reference, ranges=Ranges(bias_correction=True))),
    ):
        with pytest.raises(kind, match=text):  # type: ignore[arg-type]
            make()
    assert tflite.Ranges is Ranges


def test_extreme_images_give_the_file_of_all(reference: Any, images: Any) -> None:
    chosen = extreme_images(reference, images[:20], "rotations(8)")
    every = with_transformations(images[:20], "rotations(8)")
    assert 2 <= len(chosen) <= 2 * len(reference.graph.activations) + 2 < len(every)
    assert all(any(np.array_equal(image, other) for other in every) for image in chosen)
    assert static_int8(reference, chosen).content == static_int8(reference, every).content
    assert static_int8(reference, chosen[:1]).content != static_int8(reference, every).content


def test_recipes_of_a_study_use_them(images: Any) -> None:
    model, split = network(), Split(images, np.zeros(len(images), int))
    materials = Materials(model, split, as_set("rotations(4)"), input_scale("0..1"), calibration_samples=64)
    ranges = {"static_int8_clipped": Ranges("mse", bias_correction=True)}
    for name, expected in (ranges | {"weight_int4_corrected": Ranges(bias_correction=True)}).items():
        file = RECIPES[name].make(materials)
        assert file.options["ranges"] == expected.to_json()
        convert = static_int8 if name in ranges else weight_int4
        assert file.content == convert(model, materials.transformed, ranges=expected).content
