"""`measure --part` and `merge` give what one `measure` gives; what does not belong together is refused in one line."""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from tfinv.commands.parts import parse_part
from tfinv.results import Results
from tfinv.run import main

pytestmark = pytest.mark.usefixtures("undrawn")

MEASURES = ("NormalizedVariance", "Goodfellow(percentile=0.1)")


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("data")
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Flatten(name="flat")(keras.layers.Conv2D(3, 3, activation="relu", name="conv")(inputs))
    keras.Model(inputs, keras.layers.Dense(4, name="logits")(x), name="small").save(folder / "small.keras")
    images = np.random.default_rng(0).random((23, 8, 8, 1), np.float32)
    np.savez(folder / "images.npz", x=images, y=np.arange(23) % 4)
    model, data = str(folder / "small.keras"), str(folder / "images.npz")
    return ["--model", model, "--data", data, "--transformations", "rotations(4)", "--quiet", "--measures", *MEASURES]


def measure(arguments: list[str], out: Path, *more: str) -> int:
    return main(["measure", *arguments, "--out", str(out), *more])


def test_parts_in_two_rounds_are_one_measurement(arguments, tmp_path, capsys):
    parts, whole, merged = (tmp_path / name for name in ("parts", "whole", "merged"))
    assert measure(arguments, whole) == 0
    for _ in range(2):
        for number in (2, 1):
            assert measure(arguments, parts, "--part", f"{number}/2") == 0
        assert main(["merge", str(parts), "--out", str(merged)]) == 0
    assert "run the same parts once more for the second round" in capsys.readouterr().out
    assert (merged / "report.html").is_file()
    one, joined = (Results.load(folder / "results.npz") for folder in (whole, merged))
    for key in MEASURES:
        for name, layer in one[key].items():
            np.testing.assert_allclose(joined[key][name].values, layer.values, rtol=1e-6, err_msg=f"{key} {name}")
    (parts / "part-1-of-2.npz").unlink()
    assert main(["merge", str(parts), "--out", str(merged)]) == 2
    assert "parts must be complete. Received: 1 of 2, without 1" in capsys.readouterr().err


def test_parts_of_a_folder_are_those_of_the_images_that_are_loaded(tmp_path):
    from tfinv.commands.data import load_fitting
    from tfinv.commands.late import late_images
    from tfinv.commands.sources import Opened

    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in ("0", "3"):
            (tmp_path / "folder" / split / label).mkdir(parents=True)
            for number in range(6):
                pixels = rng.integers(0, 256, (9, 8, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / "folder" / split / label / f"{number}.png")
    np.savez(tmp_path / "file.npz", x=rng.random((9, 8, 8)), x_test=rng.random((11, 8, 8)), y=[0] * 9, y_test=[1] * 11)
    for data, options in itertools.product(
        ("folder", "file.npz"), ({}, {"max_samples": 7}, {"max_samples": 9, "measured_samples": 4}, {"seed": 3})
    ):
        given = {
            "max_samples": None,
            "measured_samples": None,
            "labels": None,
            "input_size": None,
            "seed": 0,
            **options,
        }
        model = Opened("model", None, (8, 8, 1), None, "", 4, "nhwc")
        asked = argparse.Namespace(data=str(tmp_path / data), **given)
        loaded, late = load_fitting(asked, model).measured, late_images(asked, model)
        np.testing.assert_array_equal(late.images.x[:], loaded.x)
        np.testing.assert_array_equal(late.images.y, loaded.y)
    asked.data = "digits"
    assert late_images(asked, model) is None


@pytest.mark.slow
def test_workers_give_the_same(arguments, tmp_path):
    assert measure(arguments, tmp_path / "one", "--confidence", "0.9") == 0
    assert measure(arguments, tmp_path / "two", "--confidence", "0.9", "--workers", "2") == 0
    one, two = (Results.load(tmp_path / name / "results.npz") for name in ("one", "two"))
    for key in MEASURES:
        for name, layer in one[key].items():
            np.testing.assert_array_equal(two[key][name].values, layer.values)


@pytest.mark.parametrize(
    ("text", "match"),
    [("0/3", "must read like 3/1000"), ("4/3", "must read like"), ("one", "must read"), ("1/11", "at most 10")],
)
def test_other_parts_are_refused(text, match):
    with pytest.raises(ValueError, match=match):
        parse_part(text, 10)


def test_parts_cover_all_images_once():
    for count in (1, 3, 7, 10):
        ends = [(part.first, part.last) for part in (parse_part(f"{k}/{count}", 10) for k in range(1, count + 1))]
        assert [position for first, last in ends for position in range(first, last)] == list(range(10))
    assert parse_part("3/1000", 5000).file("part") == "part-0003-of-1000.npz"


def test_bad_workers_and_folders_are_told_in_one_line(arguments, tmp_path, capsys):
    assert measure(arguments, tmp_path / "out", "--workers", "many") == 2
    assert "distribute must be a number of processes, 'ray', or the address" in capsys.readouterr().err
    assert main(["merge", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "with parts that measure --part wrote" in capsys.readouterr().err
