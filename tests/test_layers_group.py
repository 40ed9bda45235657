"""Group convolutions: exact equivariance and invariance, against the definition, in Keras and in `.tflite` files."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from group_networks import digits, images, restless, run_file, turned
from numpy.testing import assert_allclose, assert_array_equal

from tfinv import datasets, models, tflite
from tfinv.layers import GroupBatchNormalization, GroupPooling, P4Conv2D, P4MConv2D, SymmetricMaxPooling2D
from tfinv.tflite.qat.keras_route.layers import FakeQuantP4Conv2D
from tfinv.transformations import Affine, warp
from tfinv.transformations.groups import GROUPS, P4, P4M, TurnGroup

CONVOLUTIONS = {"p4": P4Conv2D, "p4m": P4MConv2D}


@pytest.mark.parametrize("group", [P4, P4M])
def test_elements_multiply_as_the_maps_that_they_stand_for(group: TurnGroup):
    for g, first in enumerate(group.maps):
        assert group.element(first.inverse()) == group.inverse[g]
        for h, second in enumerate(group.maps):
            assert group.element(second.compose(first)) == group.product[g, h]
        picture = images(1, 7)
        assert_allclose(warp(picture, [first])[0, 0], group.turned(picture[0], g), atol=1e-5)
    assert group.element(Affine.rotation(45)) is None
    assert P4.element(Affine.reflection()) is None


def by_definition(layer: Any, f: np.ndarray) -> np.ndarray:
    """The sum of the definition in float64, position by position, for an odd kernel; `f` is `(H, W, C * G_in)`."""
    kernel = np.asarray(layer.kernel, np.float64)
    k, elements, filters = kernel.shape[0], *kernel.shape[3:]
    f, group, half = f.astype(np.float64), layer.group, k // 2
    out = np.zeros((f.shape[0] - k + 1, f.shape[1] - k + 1, filters * group.size))
    for g in range(group.size):
        (a, b, *_), (c, d, *_) = group.maps[group.inverse[g]].coefficients
        for y in range(-half, half + 1):
            for x in range(-half, half + 1):
                column, row = round(a * x + b * y) + half, round(c * x + d * y) + half
                patch = f[half + y : half + y + out.shape[0], half + x : half + x + out.shape[1]]
                for h in range(elements):
                    source = 0 if layer.lifting else group.product[group.inverse[g], h]
                    weights = kernel[row, column, :, source]
                    out[..., g :: group.size] += patch[..., h::elements] @ weights
    return out + np.repeat(np.asarray(layer.bias, np.float64), group.size)


@pytest.mark.parametrize("group", CONVOLUTIONS)
@pytest.mark.parametrize("lifting", [True, False])
def test_a_group_convolution_is_the_sum_of_its_definition(group: str, lifting: bool):
    channels = 2 * (1 if lifting else GROUPS[group].size)
    layer = CONVOLUTIONS[group](3, 3, lifting=lifting, bias_initializer="normal")
    picture = images(1, 6, channels)
    assert_allclose(layer(picture)[0], by_definition(layer, picture[0]), atol=1e-5)


@pytest.mark.parametrize("group", CONVOLUTIONS)
@pytest.mark.parametrize(
    ("size", "kernel", "strides", "padding"),
    [
        (8, 3, 1, "same"),
        (9, 2, 1, "valid"),
        (9, 3, 2, "same"),
        (8, 2, 2, "same"),
        (8, 4, 2, "valid"),
        (9, 3, 3, "valid"),
    ],
)
def test_a_turned_image_gives_turned_and_permuted_maps(group: str, size: int, kernel: int, strides: int, padding: str):
    options: dict[str, Any] = {"strides": strides, "padding": padding}
    first, second = CONVOLUTIONS[group](2, 3, lifting=True, padding="same"), CONVOLUTIONS[group](3, kernel, **options)
    x = images(2, size)
    maps = np.asarray(second(first(x)))
    for g in range(GROUPS[group].size):
        expected = turned(maps, group, g)[..., GROUPS[group].permutation(g, maps.shape[-1])]
        assert_allclose(second(first(turned(x, group, g))), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "kernel", "strides", "padding", "reason"),
    [
        ((8, 8), 3, 2, "same", "adds 1 rows"),
        ((8, 8), 2, 1, "same", "adds 1 rows"),
        ((8, 8), 3, 2, "valid", "leave 1 of 8 rows out"),
        ((9, 9), 2, 3, "valid", "leave 1 of 9 rows out"),
        ((None, None), 3, 2, "valid", "not known"),
        ((8, 9), 3, 1, "same", "another shape"),
    ],
)
def test_sizes_that_break_the_symmetry_are_refused(size: Any, kernel: int, strides: int, padding: str, reason: str):
    with pytest.raises(ValueError, match=reason):
        P4Conv2D(1, kernel, lifting=True, strides=strides, padding=padding)(keras.Input((*size, 1)))
    if size[0] == size[1] and size[0]:  # and rightly so
        layer = P4Conv2D(1, kernel, lifting=True, strides=strides, padding=padding, exact=False)
        x = images(1, size[0])
        maps = np.asarray(layer(x))
        expected = turned(maps, "p4", 1)[..., P4.permutation(1, 4)]
        assert np.abs(layer(turned(x, "p4", 1)) - expected).max() > 0.05


def test_pooling_refuses_what_breaks_the_symmetry():
    assert SymmetricMaxPooling2D(3, strides=2)(keras.Input((9, 9, 4))).shape == (None, 4, 4, 4)
    with pytest.raises(ValueError, match="leave 1 of 9 rows out"):
        SymmetricMaxPooling2D(2)(keras.Input((9, 9, 4)))
    with pytest.raises(ValueError, match="windows must be square"):
        SymmetricMaxPooling2D((2, 4))(keras.Input((8, 8, 4)))
    x, pool = images(1, 9), keras.layers.MaxPooling2D(2)
    assert np.abs(np.rot90(pool(x)[0]) - pool(turned(x, "p4", 1))[0]).max() > 0.05


def test_bad_options_are_named():
    with pytest.raises(ValueError, match="needs lifting=True"):
        P4Conv2D(1, 3)(keras.Input((8, 8, 3)))
    with pytest.raises(ValueError, match="strides must be a whole number"):
        P4Conv2D(1, 3, strides=0)
    with pytest.raises(ValueError, match="must not both be above 1"):
        P4MConv2D(1, 3, strides=2, dilation_rate=2)
    with pytest.raises(ValueError, match="group must be one of"):
        GroupPooling("p6")
    with pytest.raises(ValueError, match="multiple of 8 channels"):
        GroupBatchNormalization("p4m")(keras.Input((8, 8, 4)))
    for shape, message in (((28, 30, 1), "must be square"), ((29, 29, 1), "square and of even size")):
        with pytest.raises(ValueError, match=message):
            models.p4cnn(shape, 10)


def test_batch_normalization_shares_its_statistics_over_the_group():
    layer = GroupBatchNormalization("p4", momentum=0.0)
    x = images(6, 5, 8) * np.arange(1, 9, dtype=np.float32)
    y = np.asarray(layer(x, training=True))
    maps = x.astype(np.float64).reshape(6, 5, 5, 2, 4)
    mean, variance = maps.mean((0, 1, 2, 4)), maps.var((0, 1, 2, 4))
    expected = (maps - mean[:, None]) / np.sqrt(variance[:, None] + layer.epsilon)
    assert_allclose(y, expected.reshape(x.shape), atol=1e-5)
    assert_allclose(layer.moving_mean, mean, rtol=1e-5)
    assert_allclose(layer.moving_variance, variance, rtol=1e-5)
    assert_allclose(layer(x, training=False), y, atol=1e-4)
    layer.trainable = False  # as Keras' own: a frozen layer uses the moving statistics
    assert_allclose(layer(10 * x, training=True), layer(10 * x, training=False))


@pytest.mark.parametrize(
    ("parameters", "options"),
    [
        (24_560, {}),
        (48_960, {"group": "p4m"}),
        (21_510, {"pooling": "every_layer", "filters": 20}),
    ],
)
def test_parameter_counts_of_the_source(parameters: int, options: dict[str, Any]):
    assert models.p4cnn((28, 28, 1), 10, batch_normalization=False, **options).count_params() == parameters
    assert models.z2cnn((28, 28, 1), 10, batch_normalization=False).count_params() == 21_510


@pytest.mark.parametrize(
    ("group", "options"),
    [("p4", {}), ("p4m", {}), ("p4", {"pooling": "every_layer"})],
)
def test_networks_are_invariant_to_their_group(group: str, options: dict[str, Any]):
    model = restless(models.build("p4cnn", (28, 28, 1), 10, seed=1, group=group, filters=4, **options))
    x = images(4)
    logits = np.asarray(model(x))
    assert logits.std(0).min() > 1e-3
    for g in range(GROUPS[group].size):
        assert_allclose(model(turned(x, group, g)), logits, atol=1e-5)
    if group == "p4":
        assert np.abs(model(x[:, :, ::-1]) - logits).max() > 1e-3


def test_small_images_have_room_for_fewer_convolutions():
    for size, convolutions in ((12, 3), (16, 4), (28, 7), (40, 7)):
        model = models.build("p4cnn", (size, size, 3), 3, seed=0, filters=2)
        assert sum(isinstance(layer, P4Conv2D) for layer in model.layers) == convolutions
        x = images(2, size, 3)
        assert_allclose(model(turned(x, "p4", 1)), model(x), atol=1e-5)
    with pytest.raises(ValueError, match="at least 12x12"):
        models.z2cnn((10, 10, 1), 3)


def test_ordinary_batch_normalization_breaks_the_invariance():
    image = keras.Input((9, 9, 1))
    x = keras.layers.BatchNormalization()(P4Conv2D(4, 3, lifting=True)(image))
    x = GroupPooling()(keras.layers.GlobalMaxPooling2D()(P4Conv2D(4, 3)(keras.layers.ReLU()(x))))
    model, pictures = restless(keras.Model(image, x)), images(4, 9)
    assert np.abs(model(turned(pictures, "p4", 1)) - model(pictures)).max() > 0.01


def test_models_come_back_from_a_file(tmp_path):
    model = restless(models.build("p4cnn", (28, 28, 1), 10, seed=0, group="p4m", filters=2))
    model.save(tmp_path / "net.keras")
    again = models.load(tmp_path / "net.keras")
    assert_array_equal(again(images(2)), model(images(2)))
    assert again.get_layer("conv2").get_config() == model.get_layer("conv2").get_config()


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return restless(models.build("p4cnn", (28, 28, 1), 10, seed=0, filters=4))


def test_a_file_holds_plain_convolutions_alone(float_file):
    assert float_file.operators == {"CONV_2D": 7, "MAX_POOL_2D": 1, "REDUCE_MAX": 2, "RESHAPE": 1}
    restless(plain := models.build("z2cnn", (28, 28, 1), 10, seed=0))
    assert tflite.float32(plain).operators == {"CONV_2D": 7, "MAX_POOL_2D": 1, "REDUCE_MAX": 1}


@pytest.fixture(scope="module")
def float_file(network) -> tflite.Conversion:
    return tflite.float32(network)


@pytest.mark.parametrize("kernels", ["xnnpack", "reference"])
@pytest.mark.parametrize("per_channel", [True, False])
def test_a_static_int8_file_is_invariant_bit_for_bit(float_file, per_channel: bool, kernels: str):
    x = digits()
    file = tflite.static_int8(float_file, x, per_channel=per_channel)
    assert file.operators["CONV_2D"] == 7
    logits = run_file(file.content, x, kernels)
    assert len(np.unique(logits)) > 20
    for element in range(1, 4):
        assert_array_equal(run_file(file.content, turned(x, "p4", element), kernels), logits)


@pytest.mark.parametrize("shared", [True, False])
def test_ordinary_batch_normalization_changes_answers_under_a_turn_in_float_and_int8(shared: bool):
    """Of two networks that differ in this alone, one gives turned digits other answers, the other never does."""
    image = keras.Input((28, 28, 1))
    x = P4Conv2D(4, 3, lifting=True, kernel_initializer=keras.initializers.HeNormal(seed=0))(image)
    x = GroupBatchNormalization()(x) if shared else keras.layers.BatchNormalization()(x)
    x = P4Conv2D(10, 3, kernel_initializer=keras.initializers.HeNormal(seed=1))(keras.layers.ReLU()(x))
    x = GroupPooling(name="logits")(keras.layers.GlobalMaxPooling2D()(x))
    model, pictures = restless(keras.Model(image, x)), digits()
    content = tflite.static_int8(model, pictures).content
    for logits in (lambda shown: np.asarray(model(shown)), lambda shown: run_file(content, shown, "xnnpack")):
        upright, moved = logits(pictures), logits(turned(pictures, "p4", 1))
        changed = float((upright.argmax(1) != moved.argmax(1)).mean())
        assert (changed == 0) if shared else (changed > 0.05)
        assert (np.abs(upright - moved).max() < 1e-5) == shared


def test_pruning_the_base_kernels_keeps_the_invariance(network):
    """80 % of every base kernel are set to zero, the smallest; the bank turns the zeros with the rest."""
    pruned = keras.models.clone_model(network)
    pruned.set_weights(network.get_weights())
    for layer in convolutions(pruned):
        kernel = np.asarray(layer.kernel)
        layer.kernel.assign(np.where(np.abs(kernel) < np.quantile(np.abs(kernel), 0.8), 0, kernel))
        assert 0.75 < float((np.asarray(layer.bank()) == 0).mean()) < 0.85
    x = digits(16)
    logits = np.asarray(pruned(x))
    assert np.abs(logits - network(x)).max() > 0.01 < logits.std(0).max()
    content = tflite.static_int8(pruned, x).content
    stored = run_file(content, x, "xnnpack")
    for element in range(1, 4):
        assert_allclose(pruned(turned(x, "p4", element)), logits, atol=1e-5)
        assert_array_equal(run_file(content, turned(x, "p4", element), "xnnpack"), stored)


@pytest.mark.slow
def test_quantization_aware_training_keeps_the_invariance_bit_for_bit():
    data = datasets.load("digits")
    model = restless(models.build("p4cnn", data.train.x.shape[1:], 10, seed=0, filters=2))
    before = [layer.get_weights()[0] for layer in convolutions(model)]
    trained = tflite.qat_int8(model, data.train.subset(96, seed=0), 1, progress=False)
    report = trained.report
    assert report is not None and report.calibrated == () and report.float_fallback == ()
    assert report.agreement.classes > 0.95 and min(report.agreement.sqnr.values()) > 30
    assert all(np.array_equal(kernel, layer.kernel) for kernel, layer in zip(before, convolutions(model), strict=True))
    x = np.asarray(data.test.x[:64])
    logits = run_file(trained.content, x, "xnnpack")
    assert len(np.unique(logits)) > 20
    for element in range(1, 4):
        assert_array_equal(run_file(trained.content, turned(x, "p4", element), "xnnpack"), logits)


def test_training_rounds_turned_kernels_as_a_file_does():
    """Every channel to 127 steps of its largest weight; the turned copies of a kernel stay turned copies."""
    plain, rounded = P4Conv2D(3, 3), FakeQuantP4Conv2D(3, 3)
    for layer in (plain, rounded):
        layer.build((None, 8, 8, 8))
    rounded.set_weights(plain.get_weights())
    bank = np.asarray(plain.bank(), np.float64)
    step = np.abs(bank).max((0, 1, 2)) / 127
    assert_allclose(rounded.bank(), np.round(bank / step) * step, atol=1e-6)
    x = images(2, 8, 8)
    shown = turned(x, "p4", 1)[..., P4.permutation(1, 8)]
    expected = turned(np.asarray(rounded(x)), "p4", 1)[..., P4.permutation(1, 12)]
    assert_allclose(rounded(shown), expected, atol=1e-5)
    assert np.abs(rounded(x) - plain(x)).max() > 1e-3


def test_the_other_route_of_training_names_the_layers_that_it_cannot_take():
    images = datasets.load("digits").train
    small = models.build("p4cnn", images.x.shape[1:], 10, filters=1)
    with pytest.raises(ValueError, match=r"'tfmot' can rebuild.* try route 'keras'.*'conv1' \(P4Conv2D\)"):
        tflite.qat_int8(small, images.subset(64, seed=0), 1, route="tfmot", progress=False)


def convolutions(model: keras.Model) -> list[P4Conv2D]:
    return [layer for layer in model.layers if isinstance(layer, P4Conv2D)]
