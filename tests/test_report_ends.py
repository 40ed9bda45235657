"""Reports and the terminal name the inputs and outputs of a model, the one that answers, and what is not measured."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import tfinv
from tests.test_outputs import argmax_file, two_headed
from tfinv.report import Report
from tfinv.report.ends import add_ends, ends_sentences, ends_table
from tfinv.run import main
from tfinv.tflite import compare_files, float32

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ends")
    keras.utils.set_random_seed(0)
    model = two_headed("main")
    model.save(folder / "heads.keras")
    float32(model).save(folder / "heads.tflite")
    (folder / "classes.tflite").write_bytes(argmax_file(scores=True)[0])
    x = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3)).astype(np.uint8)
    np.savez(folder / "data.npz", x=x, y=np.arange(24) % 5)
    return folder


def test_rows_tell_the_measured_output_and_why_layers_are_left_out():
    record = {
        "inputs": [{"name": "images", "shape": [-1, 8, 3], "dtype": "int8"}],
        "outputs": [
            {"name": "o0", "layer": "", "shape": [], "dtype": "int64", "measured": True},
            {"name": "o1", "layer": "logits", "shape": [5], "dtype": "float32", "measured": False},
            {"name": "o2", "layer": "", "shape": [2], "dtype": "bool", "measured": False},
        ],
        "skipped_layers": {"a": "it is odd", "b": "it is even", "c": "it is odd"},
    }
    assert ends_table({"net": record}).to_numpy().tolist() == [
        ["input", "images", "? x 8 x 3", "int8", ""],
        ["output", "o0", "1", "int64", "predictions are read here; no measured layer makes it"],
        ["output", "logits", "5", "float32", "measured as a layer only"],
        ["output", "o2", "2", "bool", "listed only"],
        ["not measured", "a, c", "", "", "it is odd"],
        ["not measured", "b", "", "", "it is even"],
    ]
    assert ends_sentences(record)[0] == "input: images ? x 8 x 3, int8"
    assert ends_sentences(record)[2] == "not measured: a, c (it is odd); b (it is even)"


def test_models_with_the_same_rows_share_them_and_nothing_known_adds_nothing():
    record = {"inputs": [{"shape": [8, 8, 3]}]}
    frame = ends_table({"one": record, "two": {"inputs": [{"shape": [4, 4, 1]}]}, "three": record})
    assert frame[["model", "shape"]].to_numpy().tolist() == [["one, three", "8 x 8 x 3"], ["two", "4 x 4 x 1"]]
    report = Report("title")
    add_ends(report, {"old": {}})
    assert not report.blocks


def test_measure_says_on_the_terminal_and_in_the_report_what_is_measured(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    data = ["--data", str(place / "data.npz"), "--transformations", "rotations(4)", "--quiet"]
    assert main(["measure", "--model", str(place / "classes.tflite"), *data, "--out", str(tmp_path / "one")]) == 0
    said = capsys.readouterr().out
    facts = tfinv.Results.load(tmp_path / "one" / "results.npz").metadata
    (operator, reason), page = *facts["skipped_layers"].items(), (tmp_path / "one" / "report.html").read_text()
    assert f"not measured: {operator} ({reason})" in said and "holds no real numbers but int64" in reason
    assert "predictions are read here" in said and "measured as a layer only" in said
    for text in ("Inputs, outputs and what is not measured", operator, "predictions are read here", "8 x 8 x 3"):
        assert text in page
    files = [str(place / "heads.keras"), str(place / "classes.tflite")]
    assert main(["measure", "--model", *files, *data, "--out", str(tmp_path / "two")]) == 0
    page = (tmp_path / "two" / "report.html").read_text()
    assert operator in page and "measured as a layer only" in page
    assert "heads: output: main 5, float32, predictions are read here; aux 5" in capsys.readouterr().out


def test_the_report_of_a_comparison_lists_the_outputs_of_both_files(place: Path, tmp_path: Path):
    images = np.random.default_rng(0).random((24, 8, 8, 3), dtype=np.float32)
    files = [place / "heads.tflite"] * 2
    found = compare_files(*files, images, "rotations(4)", measures="NormalizedVariance", progress=False)
    found.report(tmp_path)
    page = (tmp_path / "report.md").read_text()
    assert "Inputs, outputs and what is not measured" in page
    for row in (
        "| output | main | 5 | float32 | predictions are read here |",
        "| output | aux | 5 | float32 | measured",
    ):
        assert row.replace("| ", "").split()[0] in page and row.split("|")[2].strip() in page
    assert "predictions are read here" in page and "measured as a layer only" in page
    recorded = found.metadata["files"][found.names[0]]
    assert [(output["layer"], output["measured"]) for output in recorded["outputs"]] == [("main", True), ("aux", False)]
    assert recorded["inputs"][0]["dtype"] == "float32"
