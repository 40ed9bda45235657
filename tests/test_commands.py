"""The commands `train` and `measure` on files and folders of one's own, and what they refuse."""

from __future__ import annotations

import io
import json
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import tfinv
from tfinv import datasets, models
from tfinv.results import Results
from tfinv.run import main
from tfinv.training.accuracy import accuracy, accuracy_under


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Handshapes as in RWTH-PHOENIX: 132x92, classes of unequal size, one with a single image, one turned by EXIF."""
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for name, count in (("fist", 5), ("flat", 4), ("point", 1)):
        (folder / name).mkdir()
        for number in range(count):
            image = Image.fromarray(generator.integers(0, 256, (132, 92, 3), np.uint8))
            exif = Image.Exif()
            if (name, number) == ("fist", 0):
                image, exif[0x0112] = image.transpose(Image.Transpose.ROTATE_90), 6
            image.save(folder / name / f"{number}.png", exif=exif)
    return folder


@pytest.fixture(scope="module")
def trained(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `train` writes: a network of one's own, from a file, trained on the folder with rotations."""
    folder = tmp_path_factory.mktemp("trained")
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, strides=4, activation="relu", name="conv")(inputs)
    x = keras.layers.Dense(3, name="logits")(keras.layers.GlobalAveragePooling2D(name="mean")(x))
    keras.Model(inputs, x).save(folder / "mine.keras")
    arguments = ["--architecture", str(folder / "mine.keras"), "--data", str(photos), "--epochs", "2", "--quiet"]
    arguments += ["--augmentation", "rotations(4)", "--out", str(folder / "out")]
    assert main(["train", *arguments]) == 0
    return folder / "out"


def test_train_writes_what_it_did(trained: Path, photos: Path):
    model, data = models.load(trained / "model.keras"), datasets.load(photos)
    written = json.loads((trained / "training.json").read_text())
    assert written["accuracy"] == pytest.approx(accuracy(model, data.test))
    under = accuracy_under(model, data.test.x, data.test.y, "rotations(4)")
    assert pd.read_csv(trained / "accuracy.csv")["accuracy"].to_numpy() == pytest.approx(under)
    assert list(pd.read_csv(trained / "history.csv")["epoch"]) == [1, 2]


def test_measure_takes_a_file_and_a_folder_and_gives_what_evaluate_gives(trained: Path, photos: Path, tmp_path: Path):
    measures = ["NormalizedVariance", "NormalizedVarianceSE(aggregate='mean')"]
    arguments = ["--model", str(trained / "model.keras"), "--data", str(photos), "--transformations", "rotations(4)"]
    assert main(["measure", *arguments, "--measures", *measures, "--out", str(tmp_path), "--quiet"]) == 0
    data = datasets.load(photos)
    images = np.concatenate([data.train.x, data.test.x])  # nothing is trained here: all images are measured
    assert images.shape == (10, 132, 92, 3)
    wanted = tfinv.evaluate(models.load(trained / "model.keras"), images, "rotations(4)", measures, progress=False)
    loaded = Results.load(tmp_path / "results.npz")
    for measure in measures:
        for name, layer in wanted[measure].items():
            np.testing.assert_allclose(loaded[measure][name].values, layer.values, rtol=1e-4)
    table = pd.read_csv(tmp_path / "profile.csv")
    row = table[(table["measure"] == measures[0]) & (table["layer"] == "logits")].iloc[0]
    assert row["mean"] == pytest.approx(wanted[measures[0]]["logits"].mean, rel=1e-4)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.png")}
    assert sorted(before) == ["heatmap_0.png", "heatmap_1.png", "profile_0.png", "profile_1.png"]
    for path in tmp_path.glob("*.png"):
        path.unlink()
    assert main(["redraw", str(tmp_path)]) == 0
    for name, content in before.items():
        assert np.array_equal(Image.open(tmp_path / name), Image.open(io.BytesIO(content))), name


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(4,)], "one input of images (N, H, W, C). Received: input shapes [(None, 4)]"),
        ([(8, 8, 1), (8, 8, 1)], "one input of images (N, H, W, C). Received: input shapes [(None, 8, 8, 1), (None"),
        ([(8, 8, 5)], "channels must go from 1 to 3 or from 3 to 1. Received: from 1 to 5"),
    ],
)
def test_a_model_that_does_not_take_the_images_is_refused(
    shapes: list[tuple[int, ...]], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    inputs = [keras.Input(shape) for shape in shapes]
    features = [keras.layers.Flatten()(tensor) for tensor in inputs]
    joined = features[0] if len(features) == 1 else keras.layers.Concatenate()(features)
    keras.Model(inputs, keras.layers.Dense(2)(joined)).save(tmp_path / "model.keras")
    arguments = ["--model", str(tmp_path / "model.keras"), "--data", "digits", "--out", str(tmp_path / "out")]
    assert main(["measure", *arguments, "--quiet"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["measure", "--model", "MODEL", "--data", "nowhere", "--out", "OUT"], "nowhere"),
        (["measure", "--model", "MODEL", "--data", "digits", "--measures", "Nonsense", "--out", "OUT"], "Nonsense"),
        (["measure", "--model", "MODEL", "--data", "digits", "--layers", "convv", "--out", "OUT"], "conv"),
        (["train", "--architecture", "simple_conv", "filter=3", "--data", "digits", "--out", "OUT"], "'filters'"),
        (["train", "--architecture", "MODEL", "--data", "digits", "--out", "OUT"], "input_shape must be"),
        (["train", "--data", "digits", "--epochs", "0", "--out", "OUT"], "epochs must be a whole number"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    places = {"MODEL": str(trained / "model.keras"), "OUT": str(tmp_path / "out")}
    assert main([places.get(argument, argument) for argument in [*arguments, "--quiet"]]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error
    assert not (tmp_path / "out").exists(), "nothing is written for input that cannot be used"
