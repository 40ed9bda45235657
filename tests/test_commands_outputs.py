"""`measure --output` on networks whose outputs are no classes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from test_outputs_change import finder, spots

from tfinv.commands.outputs import stated
from tfinv.outputs import Classes, Landmarks, OutputChange
from tfinv.run import main
from tfinv.tflite import float32


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    finder().save(folder / "right.keras")
    finder(turned=True).save(folder / "wrong.keras")
    float32(finder()).save(folder / "right.tflite")
    np.savez(folder / "spots.npz", x=spots(samples=4), y=np.arange(4) % 2)
    return folder


def measure(folder, out, *models, output=("point=landmarks", "score=class")):
    given = ["--output", *output] if output else []
    names = [str(folder / name) for name in models]
    return main(
        ["measure", "--model", *names, "--data", str(folder / "spots.npz"), "--transformations", "rotations(4)",
         *given, "--out", str(out), "--quiet"]
    )  # fmt: skip


def redrawn(out):
    """Delete all figures of a folder and draw them again; what they were."""
    before = {path.name: np.asarray(Image.open(path)) for path in out.glob("*.png")}
    for name in before:
        (out / name).unlink()
    assert main(["redraw", str(out)]) == 0
    for name, pixels in before.items():
        np.testing.assert_array_equal(np.asarray(Image.open(out / name)), pixels, name)
    return set(before)


def test_what_output_says_is_read():
    assert stated(None) is None and stated(["landmarks"]) == Landmarks()
    found = stated(["StatefulPartitionedCall:0=landmarks(dimensions=3)", "b=class"])
    assert found == {"StatefulPartitionedCall:0": Landmarks(dimensions=3), "b": Classes()}
    assert stated(["landmarks(unit='fractions')"]) == Landmarks(unit="fractions")
    for wrong in (["class", "a=map"], ["a=map", "a=mask"], ["map", "mask"]):
        with pytest.raises(ValueError, match="--output must"):
            stated(wrong)


def test_measure_reports_all_outputs_of_a_model(folder, tmp_path, capsys):
    assert measure(folder, tmp_path, "wrong.keras") == 0
    printed = capsys.readouterr().out
    assert "point as landmarks\n" in printed and "picture as map (guessed)" in printed
    saved = OutputChange.load(tmp_path / "outputs.npz")
    table = pd.read_csv(tmp_path / "outputs.csv")
    rows = table[(table["output"] == "point") & (table["quantity"] == "distance")]
    np.testing.assert_allclose(rows["mean"], saved["point"].error_values.mean(axis=0), rtol=1e-6)
    assert rows["mean"].max() > 0.05 and saved.metadata["model_file"].endswith("wrong.keras")
    page = (tmp_path / "report.html").read_text()
    assert "Output point" in page and "score of score" in page
    assert (tmp_path / "pictures-point.png").exists() and (tmp_path / "output-picture.png").exists()
    assert redrawn(tmp_path) >= {"pictures-point.png", "output-picture.png", "output-point.png", "profile_0.png"}


@pytest.mark.slow
def test_measure_draws_the_outputs_of_several_models_together(folder, tmp_path, capsys):
    assert measure(folder, tmp_path, "wrong.keras", "right.keras") == 0
    assert "wrong: point as landmarks: mean distance" in capsys.readouterr().out.replace("* ", "")
    table = pd.read_csv(tmp_path / "outputs.csv")
    worst = table[table["quantity"] == "distance"].groupby("model")["mean"].max()
    assert worst["right"] < 1e-5 < 0.05 < worst["wrong"]
    assert (tmp_path / "outputs-right.npz").exists()
    assert "output-point.png" in redrawn(tmp_path), "with the models in the order of the command"


def test_a_kind_that_does_not_fit_is_one_line_of_an_error(folder, tmp_path, capsys):
    assert measure(folder, tmp_path, "right.tflite", output=["mask"]) == 2
    assert "as mask must have the shape (H, W)" in capsys.readouterr().err


def test_a_classifier_is_reported_as_before(folder, tmp_path):
    import keras

    inputs = keras.Input((16, 16, 1))
    keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs))).save(folder / "plain.keras")
    assert measure(folder, tmp_path, "plain.keras", output=()) == 0
    assert not (tmp_path / "outputs.csv").exists()
