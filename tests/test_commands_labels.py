"""Class names of images as numbers of a model's outputs, small sets, and several models in one measurement."""

from __future__ import annotations

import json
import os
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import tfinv
from tfinv import datasets, run
from tfinv.commands.labels import as_outputs, read_labels
from tfinv.datasets import Split
from tfinv.tflite import static_int8

pytestmark = pytest.mark.usefixtures("undrawn")

DATA = os.environ.get("TFINV_DATA")
RNG = np.random.default_rng(0)


def images(labels: list[int] | None) -> Split:
    count = 3 if labels is None else len(labels)
    return Split(np.zeros((count, 4, 4, 1), np.float32), None if labels is None else np.array(labels))


def test_names_that_are_numbers_are_numbers_of_outputs():
    made = as_outputs(images([0, 2, 1]), ("20", "89", "286"), 1001)
    assert made.images.y is not None and made.images.y.tolist() == [20, 286, 89]
    assert made.notes == ("the data's class names 20, 89, 286 are taken as numbers of the model's 1001 outputs",)
    usual = as_outputs(images([0, 1, 2]), ("0", "1", "2"), 3)
    assert usual.images.y is not None and usual.images.y.tolist() == [0, 1, 2] and usual.notes == ()


def test_numbers_from_one_count_in_their_order_and_that_is_said():
    made = as_outputs(images([0, 1, 2]), ("1", "2", "3"), 3)
    assert made.images.y is not None and made.images.y.tolist() == [0, 1, 2]
    assert made.notes == ("the data's class names 1, 2, 3 are no numbers of outputs from 0: taken in their order",)


@pytest.mark.parametrize("classes", [("cat", "dog", "fox"), ("7", "2000", "3000")])
def test_a_mismatch_of_counts_is_said_and_gives_no_accuracy(classes: tuple[str, ...]):
    made = as_outputs(images([0, 1, 2]), classes, 1001)
    assert made.images.y is None
    assert "the data have 3 classes" in made.notes[0] and "the model 1001 outputs" in made.notes[0]
    assert "--labels FILE" in made.notes[0]


def test_outputs_that_are_no_classes_leave_labels_alone():
    labels = as_outputs(images([0, 1, 2]), ("a", "b", "c"), None).images.y
    assert labels is not None and labels.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="labels must name outputs that are classes"):
        as_outputs(images([0, 1, 2]), ("a", "b", "c"), None, {"a": 0})
    with pytest.raises(ValueError, match="Received: images without classes"):
        as_outputs(images(None), (), 3, {"a": 0})


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("l.txt", "cat\ndog\n", {"cat": 0, "dog": 1}),
        ("l.txt", "0 background\n7\tgreat white, white shark\n", {"background": 0, "white shark": 7, "great white": 7}),
        ("l.csv", "3,Cat\n5,dog\n", {"cat": 3, "dog": 5}),
        ("l.json", '{"Cat": 281, "dog": 5}', {"cat": 281, "dog": 5}),
    ],
)
def test_files_of_labels(name: str, text: str, expected: dict[str, int], tmp_path: Path):
    (tmp_path / name).write_text(text)
    read = read_labels(tmp_path / name)
    assert {key: read[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [("l.txt", "\n", "which is empty"), ("l.json", '["cat"]', "JSON object"), ("l.json", '{"cat": -1}', "JSON object")],
)
def test_files_that_name_no_outputs_are_refused(name: str, text: str, message: str, tmp_path: Path):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_labels(tmp_path / name)
    with pytest.raises(ValueError, match="labels must be a readable text file"):
        read_labels(tmp_path)


def test_a_mapping_must_name_all_classes_and_outputs_that_exist():
    made = as_outputs(images([0, 1]), ("Cat", "dog"), 300, {"cat": 281, "dog": 5}).images.y
    assert made is not None and made.tolist() == [281, 5]
    with pytest.raises(ValueError, match=r"name every class of the images\. Did you mean 'cat'\? .* none for cats"):
        as_outputs(images([0, 1]), ("cats", "dog"), 300, {"cat": 281, "dog": 5})
    with pytest.raises(ValueError, match=r"numbers of the model's 10 outputs, from 0\. Received: 281 for 'cat'"):
        as_outputs(images([0, 1]), ("cat", "dog"), 10, {"cat": 281, "dog": 5})


@pytest.mark.skipif(not DATA, reason="TFINV_DATA is not set")
def test_a_photograph_per_folder_is_measured_with_numbers_or_names_as_folders(tmp_path: Path, capsys):
    """Three images of a net of 1001 outputs, named by number or by the names of its own file of labels."""
    coral = Path(DATA or "") / "models" / "coral"
    model = str(coral / "mobilenet_v1_0.25_128_quant.tflite")
    for folder, name, file in (("numbers", "89", "parrot.jpg"), ("numbers", "935", "hot_dog.jpg"),
                               ("names", "macaw", "parrot.jpg"), ("names", "hot dog", "hot_dog.jpg")):  # fmt: skip
        (tmp_path / folder / name).mkdir(parents=True)
        Image.open(coral / file).resize((128, 128)).save(tmp_path / folder / name / "one.png")
    arguments = ["measure", "--model", model, "--transformations", "rotations(4)", "--quiet"]
    metadata = {}
    for folder, options in {"numbers": [], "names": ["--labels", str(coral / "imagenet_labels.txt")]}.items():
        out = tmp_path / f"out-{folder}"
        assert run.main([*arguments, "--data", str(tmp_path / folder), *options, "--out", str(out)]) == 0
        metadata[folder] = tfinv.Results.load(out / "results.npz").metadata
        assert metadata[folder]["samples"] == 2 and metadata[folder]["input_scale_from"] == "the file"
    assert metadata["numbers"]["accuracy"] == metadata["names"]["accuracy"] >= 0.5
    said = capsys.readouterr().out
    assert "class names 89, 935 are taken as numbers of the model's 1001 outputs" in said
    assert run.main([*arguments, "--data", str(tmp_path / "names"), "--out", str(tmp_path / "out")]) == 0
    assert "the data have 2 classes (hot dog, macaw), the model 1001 outputs" in capsys.readouterr().out
    assert "accuracy" not in tfinv.Results.load(tmp_path / "out" / "results.npz").metadata


def test_nothing_is_held_out_where_nothing_is_trained(tmp_path: Path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        Image.fromarray(RNG.integers(0, 256, (8, 8, 3), np.uint8)).save(tmp_path / name / "one.png")
    with pytest.raises(ValueError, match="to hold one out"):
        datasets.load(tmp_path)
    whole = datasets.load(tmp_path, hold_out=False)
    assert len(whole.train) == len(whole.test) == 3 and whole.test.y is not None
    assert sorted(whole.test.y.tolist()) == [0, 1, 2]
    few = datasets.load(tmp_path, hold_out=False, max_samples=2)
    assert len(few.test) == 2
    np.savez(tmp_path / "d.npz", x=whole.test.x, y=whole.test.y)
    np.testing.assert_array_equal(datasets.load(tmp_path / "d.npz", hold_out=False).test.x, whole.test.x)
    with pytest.raises(TypeError, match="hold_out must be True or False"):
        datasets.load(tmp_path, hold_out="no")  # type: ignore[arg-type]


def network(seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    x = keras.layers.GlobalAveragePooling2D(name="gap")(x)
    return keras.Model(inputs, keras.layers.Dense(3, name="out")(x))


def test_several_models_are_compared_on_the_same_images(tmp_path: Path, capsys):
    """Keras against another training and its own file: every difference is that of the two results, by hand."""
    first, second = network(1), network(2)
    x = RNG.integers(0, 256, (60, 8, 8, 1)).astype(np.uint8)
    np.savez(tmp_path / "data.npz", x=x, y=np.arange(60) % 3)
    first.save(tmp_path / "plain.keras")
    second.save(tmp_path / "other.keras")
    static_int8(first, (x / 255).astype(np.float32)).save(tmp_path / "int8.tflite")
    files = [str(tmp_path / name) for name in ("plain.keras", "other.keras", "int8.tflite")]
    arguments = ["--data", str(tmp_path / "data.npz"), "--transformations", "rotations(4)", "--quiet"]
    assert run.main(["measure", "--model", *files, *arguments, "--out", str(tmp_path / "out")]) == 0
    table = pd.read_csv(tmp_path / "out" / "differences.csv").set_index(["second", "layer"])
    assert set(table["first"]) == {"plain"} and set(table.index.get_level_values(0)) == {"other", "int8"}
    plain = tfinv.Results.load(tmp_path / "out" / "results-plain.npz")
    for name in ("other", "int8"):
        results = tfinv.Results.load(tmp_path / "out" / f"results-{name}.npz")
        for layer in ("conv", "out"):
            row = table.loc[(name, layer)]
            a, b = (next(iter(measures.values()))[layer].mean for measures in (plain, results))
            assert row["difference"] == pytest.approx(b - a, abs=1e-6)  # units are stored as float32
            assert row["low"] <= row["difference"] <= row["high"]
    assert bool(table.loc[("other", "out"), "real"]) and not bool(table.loc[("int8", "out"), "real"])
    assert abs(table.loc[("int8", "out"), "relative"]) < 0.05
    said = capsys.readouterr().out
    assert "at the output is" in said and "no difference beyond noise" in said
    lower = table.loc[("other", "out"), "difference"] < 0
    assert f"): {'lower, more' if lower else 'higher, less'} invariant." in said
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"profile.csv", "profile_0.png", "report.html"} <= written
    (tmp_path / "out" / "profile_0.png").unlink()
    assert run.main(["redraw", str(tmp_path / "out")]) == 0 and (tmp_path / "out" / "profile_0.png").exists()
    html = (tmp_path / "out" / "report.html").read_text()
    assert "Invariance of several models" in html and "Paired differences" in html


def test_models_of_other_inputs_are_refused(tmp_path: Path, capsys):
    network(1).save(tmp_path / "a.keras")
    inputs = keras.Input((6, 6, 1))
    keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(inputs))).save(tmp_path / "b.keras")
    files = [str(tmp_path / "a.keras"), str(tmp_path / "b.keras")]
    assert run.main(["measure", "--model", *files, "--data", "digits", "--out", str(tmp_path / "out")]) == 2
    assert "models must take images of one shape" in capsys.readouterr().err


def test_folders_of_labels_reach_the_study(tmp_path: Path):
    """`--labels` numbers training and test images alike."""
    from types import SimpleNamespace

    from tfinv.commands.data import load_fitting
    from tfinv.commands.sources import open_model

    network(1).save(tmp_path / "m.keras")
    for name in ("one", "two"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(5):
            Image.fromarray(RNG.integers(0, 256, (8, 8), np.uint8)).save(tmp_path / "data" / name / f"{number}.png")
    (tmp_path / "labels.json").write_text(json.dumps({"one": 2, "two": 1}))
    options = SimpleNamespace(
        data=str(tmp_path / "data"), max_samples=None, measured_samples=None, labels=tmp_path / "labels.json", seed=0,
        train_samples=None,
    )  # fmt: skip
    fitted = load_fitting(options, open_model(str(tmp_path / "m.keras"), None), trains=True)  # type: ignore[arg-type]
    assert fitted.train.y is not None and fitted.images.y is not None
    assert set(fitted.train.y) == set(fitted.images.y) == {1, 2} and len(fitted.images) == 2
