"""Networks of group convolutions: sizes of the source, exact invariance in Keras and in `.tflite` files."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from group_networks import digits, images, restless, run_file, turned
from numpy.testing import assert_allclose, assert_array_equal

from tfinv import models, tflite
from tfinv.models.group_blocks import GroupBlocks, halved
from tfinv.transformations.groups import GROUPS

CIFAR = (32, 32, 3)
SMALL: dict[str, dict[str, Any]] = {
    "p4_resnet": {"depth": 8, "filters": (2, 3, 4)},
    "p4_all_convolutional": {"filters": 2, "batch_normalization": True},
}


@pytest.mark.parametrize(
    ("parameters", "name", "options"),
    [
        # Published as 1.37 and 1.22 million; the first is that of the plain network with twice as many channels.
        (1_369_738, "p4_all_convolutional", {"filters": 48}),
        (1_218_826, "p4_all_convolutional", {"filters": 32, "group": "p4m"}),
        # Published as 2.62 million.
        pytest.param(
            2_618_679,
            "p4_resnet",
            {"depth": 44, "group": "p4m", "filters": (11, 23, 45)},
            marks=pytest.mark.slow,
        ),
        # By hand, of depth 8: stem 216, stages 2304 * 2 + (4608 + 9216) + (18432 + 36864), shortcuts 512 + 2048,
        # logits 330, scale and offset 2 * (8 * 3 + 16 * 3 + 32 * 3).
        (77_170, "p4_resnet", {"depth": 8}),
    ],
)
def test_parameter_counts_of_the_source(parameters: int, name: str, options: dict[str, Any]) -> None:
    model = models.build(name, CIFAR, 10, initializer="zeros", **options)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == parameters
    if parameters == 1_369_738:
        assert models.all_convolutional(CIFAR, 10, filters=96, initializer="zeros").count_params() == parameters


@pytest.mark.parametrize(
    ("name", "size", "group"),
    [
        ("p4_all_convolutional", 12, "p4"),
        ("p4_resnet", 13, "p4m"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("p4_resnet", 12, "p4"),
                ("p4_all_convolutional", 13, "p4m"),
                ("p4_resnet", 15, "p4"),
                ("p4_all_convolutional", 15, "p4"),
            )
        ),
    ],
)
def test_networks_are_invariant_at_even_and_odd_sizes(name: str, size: int, group: str) -> None:
    model = restless(models.build(name, (size, size, 2), 5, seed=0, group=group, **SMALL[name]))
    x = images(4, size, 2) * np.linspace(0.2, 1, 4, dtype=np.float32)[:, None, None, None]
    logits = np.asarray(model(x))
    assert logits.std(0).min() > 1e-3
    for element in range(GROUPS[group].size):
        assert_allclose(model(turned(x, group, element)), logits, atol=1e-5)
    if group == "p4":
        assert np.abs(model(x[:, :, ::-1]) - logits).max() > 1e-3


@pytest.mark.parametrize(("size", "exact"), [(20, False), (21, True)])
def test_strides_of_two_keep_turned_maps_on_odd_sizes_only(size: int, exact: bool) -> None:
    blocks, x = GroupBlocks("p4", batch_normalization=False), images(3, size)
    image = keras.Input((size, size, 1))
    maps = blocks.conv(image, 2, 3, "conv", lifting=True, strides=2, padding="same", exact=False)
    strided = keras.Model(image, blocks.pool(keras.layers.GlobalAveragePooling2D()(maps), "turns"))
    maps = blocks.conv(*halved(image, "halve")[:1], 2, 3, "conv", lifting=True, padding="same")
    pooled = keras.Model(image, blocks.pool(keras.layers.GlobalAveragePooling2D()(maps), "turns"))
    pooled.set_weights(strided.get_weights())
    moved = [float(np.abs(model(turned(x, "p4", 1)) - model(x)).max()) for model in (strided, pooled)]
    assert (moved[0] < 1e-5) == exact
    assert moved[1] < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_files_hold_plain_convolutions_and_int8_is_invariant_bit_for_bit(name: str) -> None:
    model, x = restless(models.build(name, (28, 28, 1), 5, seed=0, **SMALL[name])), digits(16)
    file = tflite.float32(model)
    assert file.operators["CONV_2D"] == 9
    allowed = {"CONV_2D", "ADD", "AVERAGE_POOL_2D", "MEAN", "RESHAPE", "REDUCE_MAX", "FULLY_CONNECTED"}
    assert set(file.operators) <= allowed
    for per_channel in (True, False):
        content = tflite.static_int8(file, x, per_channel=per_channel).content
        for kernels in ("xnnpack", "reference"):
            logits = run_file(content, x, kernels)
            assert len(np.unique(logits)) > 20
            for element in range(1, 4):
                assert_array_equal(run_file(content, turned(x, "p4", element), kernels), logits)


def test_a_model_comes_back_from_a_file(tmp_path: Any) -> None:
    model = restless(models.build("p4_resnet", (8, 8, 1), 3, seed=0, **SMALL["p4_resnet"]))
    model.save(tmp_path / "net.keras")
    assert_array_equal(models.load(tmp_path / "net.keras")(images(2, 8)), model(images(2, 8)))


def test_bad_options_are_named() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"depth": 18}, r"depth must be 8, 14, 20 .* Received: 18"),
        ({"depth": 2}, r"depth must be 8, 14, 20 .* Received: 2"),
        ({"filters": 8}, r"filters must be a tuple of three .* Received: 8"),
        ({"filters": (8, 0, 8)}, r"filters\[1\] must be a whole number"),
        ({"group": "p6"}, "group must be one of"),
    ]
    for options, message in wrong:
        with pytest.raises(ValueError, match=message):
            models.build("p4_resnet", CIFAR, 10, **options)
    with pytest.raises(ValueError, match=r"must be square for this model. Received: \(28, 30, 1\)"):
        models.p4_all_convolutional((28, 30, 1), 10)
