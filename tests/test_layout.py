"""Models with their channels first give the numbers of their twins with channels last."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import tfinv
from tfinv import tflite
from tfinv.activations import ActivationModel
from tfinv.activations.layout import input_layout
from tfinv.run import main
from tfinv.tflite.convert.freezing import convert, freeze_call
from tfinv.tflite.files.flatbuffer import editable, pack

pytestmark = pytest.mark.usefixtures("undrawn")

SHAPE = (12, 12, 3)
MEASURES = ("NormalizedVariance", "NormalizedVarianceSE")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    coarse = np.random.default_rng(3).random((10, 4, 4, 3), np.float32)
    return np.asarray(keras.ops.image.resize(coarse, SHAPE[:2]), np.float32)


def network(where: str) -> keras.Model:
    """The same network with channels `"last"`, `"first"`, first behind a `"permute"`, or last behind one, `"torch"`."""
    keras.utils.set_random_seed(5)
    layers = keras.layers
    first = where in ("first", "permute")
    options = {"data_format": "channels_first" if first else "channels_last"}
    inputs = x = keras.Input((3, 12, 12) if where in ("first", "torch") else SHAPE)
    x = layers.Rescaling(0.5, offset=0.1, name="scale")(x)
    if where in ("permute", "torch"):
        x = layers.Permute((3, 1, 2) if where == "permute" else (2, 3, 1), name="move")(x)
    x = layers.Conv2D(4, 3, padding="same", name="conv", **options)(x)
    x = layers.BatchNormalization(axis=1 if first else -1, name="norm")(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.MaxPooling2D(name="pool", **options)(x)
    x = layers.Conv2D(5, 3, name="deep", **options)(x)
    x = layers.GlobalAveragePooling2D(name="mean", **options)(x)
    return keras.Model(inputs, layers.Dense(3, name="logits")(x))


def measured(model: Any, images: np.ndarray) -> tfinv.results.Results:
    return tfinv.evaluate(model, images, "rotations(4)", MEASURES, progress=False)


@pytest.fixture(scope="module")
def reference(images: np.ndarray) -> tfinv.results.Results:
    return measured(network("last"), images)


@pytest.mark.parametrize("where", ["first", "permute", "torch"])
def test_channels_first_give_the_numbers_of_channels_last(where, images, reference):
    source = ActivationModel(network(where))
    assert source.input_shape == SHAPE
    assert source.layout == ("nhwc" if where == "permute" else "nchw")
    results = measured(source, images)
    for key in MEASURES:
        for name, expected in reference[key].items():
            found = results[key][name]
            assert found.values.shape == expected.values.shape
            np.testing.assert_allclose(found.values, expected.values, rtol=2e-3, atol=1e-5, err_msg=f"{key} {name}")
            np.testing.assert_array_equal(found.status, expected.status)
    np.testing.assert_allclose(
        source.predict(images), np.asarray(ActivationModel(network("last")).predict(images)), atol=1e-5
    )


def test_rotated_channels_would_be_seen(images, reference):
    """Channel and height exchanged, as a wrong layout does, give other numbers."""
    model = network("first")
    wrong = ActivationModel(network("torch"), layout="nhwc", input_shape=(3, 12, 12))
    assert wrong.input_shape == (3, 12, 12)
    with pytest.raises(ValueError, match=r"\(12, 12, 3\), channels last although the model has them first"):
        tfinv.evaluate(model, images.transpose(0, 3, 1, 2), "rotations(4)", MEASURES[0], progress=False)
    rotated = measured(wrong, np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    assert abs(rotated[MEASURES[1]]["conv"].mean - reference[MEASURES[1]]["conv"].mean) > 0.2


def test_the_layout_is_told_by_layers_before_shapes():
    conv = keras.layers.Conv2D(2, 3)
    assert input_layout(keras.Sequential([keras.Input((3, 16, 16)), conv])) == "nhwc"
    assert input_layout(keras.Sequential([keras.Input((3, 16, 16)), keras.layers.Flatten()])) == "nchw"
    assert input_layout(keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Flatten()])) == "nhwc"
    nested = keras.Sequential([keras.Input((3, 16, 16)), network_first_of(16)])
    assert input_layout(nested) == "nchw"
    with pytest.raises(ValueError, match=r"layout must be one of 'nhwc', 'nchw'.*Received: 'chw'"):
        ActivationModel(network("last"), layout="chw")  # type: ignore[arg-type]


def network_first_of(size: int) -> keras.Model:
    inputs = keras.Input((3, size, size))
    return keras.Model(inputs, keras.layers.Conv2D(2, 3, data_format="channels_first")(inputs))


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return {where: tflite.float32(network(where)).content for where in ("last", "torch")}


def test_files_with_channels_first_give_the_numbers_of_channels_last(files, images, reference):
    last, first = tflite.TFLiteModel(files["last"]), tflite.TFLiteModel(files["torch"])
    assert (last.layout, first.layout) == ("nhwc", "nchw")
    assert first.input_shape == SHAPE
    assert first.self_check(images).passed
    pairs = tflite.match(last, first, images).pairs
    assert {"scale", "relu", "pool", "deep", "logits"} <= set(pairs)
    streamed, copied = measured(first, images), first(images)
    expected = measured(last, images)
    for name, other in pairs.items():
        np.testing.assert_allclose(copied[other], last(images)[name], atol=1e-5)
        for key in MEASURES:
            np.testing.assert_allclose(streamed[key][other].values, expected[key][name].values, rtol=2e-3, atol=1e-5)
    np.testing.assert_allclose(expected[MEASURES[1]]["relu"].values, reference[MEASURES[1]]["relu"].values, rtol=2e-3)
    assert first.metadata["layout"] == "nchw"


def test_the_layout_of_a_file_can_be_given(files, images):
    wrong = tflite.TFLiteModel(files["torch"], layout="nhwc")
    assert wrong.input_shape == (3, 12, 12)
    with pytest.raises(ValueError, match=r"shape \(N, 3, 12, 12\)"):
        wrong(images)


def open_file(content: bytes) -> bytes:
    """The file with the size of its images left open."""
    model = editable(content)
    tensor = model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]]
    sizes = [-1 if size == 12 else int(size) for size in tensor.shape]
    tensor.shapeSignature, tensor.shape = [-1, *sizes[1:]], [abs(size) for size in sizes]
    return pack(model)


@pytest.mark.parametrize("where", ["last", "torch"])
def test_files_that_leave_the_size_open_take_one(where, files, images):
    content = open_file(files[where])
    with pytest.raises(ValueError, match=r"input_size must be given.*\(None, None, 3\); --input-size HEIGHT WIDTH"):
        tflite.TFLiteModel(content)
    model = tflite.TFLiteModel(content, input_size=(12, 12))
    assert model.input_shape == SHAPE and model.layer_shapes["deep"] == (4, 4, 5)
    np.testing.assert_allclose(model.predict(images), tflite.TFLiteModel(files[where]).predict(images), atol=1e-6)
    assert tflite.TFLiteModel(content, input_size=(16, 20)).layer_shapes["deep"] == (6, 8, 5)
    with pytest.raises(ValueError, match=r"input_size must be a size that the model leaves open; .*\(12, 12, 3\)"):
        tflite.TFLiteModel(files[where], input_size=(12, 12))


def test_the_command_line_takes_a_size_and_a_layout(files, images, tmp_path, capsys):
    np.savez(tmp_path / "data.npz", x=images, y=np.arange(len(images)) % 3)
    (tmp_path / "open.tflite").write_bytes(open_file(files["torch"]))
    (tmp_path / "fixed.tflite").write_bytes(files["last"])
    common = ["--data", str(tmp_path / "data.npz"), "--transformations", "rotations(2)", "--out", str(tmp_path / "out")]
    model = ["measure", "--model", str(tmp_path / "open.tflite")]
    assert main([*model, *common, "--quiet"]) == 2
    assert "--input-size HEIGHT WIDTH" in capsys.readouterr().err
    assert main([*model, *common, "--quiet", "--input-size", "12", "12", "--layout", "nchw"]) == 0
    assert "channels first, as the model has them" in capsys.readouterr().out
    (tmp_path / "first.tflite").write_bytes(files["torch"])
    pair = ["--before", str(tmp_path / "first.tflite"), "--after", str(tmp_path / "fixed.tflite")]
    for command in (["measure", "--model", str(tmp_path / "first.tflite")], ["compare", *pair]):
        assert main([*command, *common, "--quiet", "--layout", "nhwc"]) == 2
        assert "first.tflite, which would take images (H, W, C) = (3, 12, 12)" in capsys.readouterr().err
    fixed = ["measure", "--model", str(tmp_path / "fixed.tflite")]
    assert main([*fixed, *common, "--quiet", "--input-size", "12", "12"]) == 2
    assert "--input-size has no effect here" in capsys.readouterr().err


def test_a_head_without_images_is_said():
    inputs = keras.Input((8,))
    head = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    content, _ = convert(lambda: freeze_call(head, (8,)), head)
    with pytest.raises(ValueError, match=r"it takes features, not images; measure the network that makes them"):
        tflite.TFLiteModel(content)


def test_a_study_of_channels_first_gives_the_numbers_of_channels_last(images, tmp_path, capsys):
    """In Python, and on the command line with the sizes of the images left open."""

    def small(first: bool, size: int | None) -> keras.Model:
        options = {"data_format": "channels_first" if first else "channels_last"}
        inputs = keras.Input((3, size, size) if first else (size, size, 3))
        x = keras.layers.Conv2D(4, 3, activation="relu", name="conv", **options)(inputs)
        x = keras.layers.GlobalAveragePooling2D(name="pool", **options)(x)
        return keras.Model(inputs, keras.layers.Dense(3, name="logits")(x), name="net")

    shown = images
    first, last = small(True, shown.shape[1]), small(False, shown.shape[1])
    last.set_weights(first.get_weights())
    options = {"measures": "NormalizedVariance", "sampling": None, "progress": False}
    both = [tflite.study(model, shown, shown, "rotations(2)", "static_int8", **options) for model in (first, last)]
    assert both[0].layers["layer"].tolist() == [f"net/{name}" for name in both[1].layers["layer"]]
    assert_allclose(both[0].layers[["before", "after"]], both[1].layers[["before", "after"]], rtol=1e-5)
    opened = small(True, None)
    opened.set_weights(first.get_weights())
    opened.save(tmp_path / "open.keras")
    np.savez(tmp_path / "data.npz", x=np.tile(shown, (4, 1, 1, 1)), y=np.arange(40) % 2)
    size = [str(side) for side in shown.shape[1:3]]
    command = ["tflite", "--model", str(tmp_path / "open.keras"), "--data", str(tmp_path / "data.npz"), "--recipes",
               "float16", "--measures", "NormalizedVariance", "--transformations", "rotations(2)", "--quiet",
               "--input-size", *size, "--out", str(tmp_path / "out")]  # fmt: skip
    assert main(command) == 0, capsys.readouterr().err
    table = pd.read_csv(tmp_path / "out" / "layers.csv")
    assert table["layer"].tolist() == ["net/conv", "net/pool", "net/logits"]
