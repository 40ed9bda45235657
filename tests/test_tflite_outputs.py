"""`compare` of files whose outputs are no classes: numbers, words, report, gate, and the file that is kept."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from test_outputs_change import spots

from tfinv import outputs
from tfinv.run import main
from tfinv.tflite import Comparison, StudyResult, Subsets, TFLiteModel, compare_files, float32, static_int8, study
from tfinv.tflite.comparison.gate import check, metric_value
from tfinv.transformations import rotations


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A network of a mask and a vector, as floats and in 8 bits."""
    folder = tmp_path_factory.mktemp("files")
    keras.utils.set_random_seed(3)
    inputs = keras.Input((16, 16, 1))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(inputs)
    mask = keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid", name="mask")(x)
    numbers = keras.layers.Dense(2, name="numbers")(keras.layers.Flatten()(x))
    network = keras.Model(inputs, [mask, numbers])
    float32(network).save(folder / "before.tflite")
    static_int8(network, spots(samples=8)).save(folder / "after.tflite")
    return folder


@pytest.fixture(scope="module")
def stated(files):
    """The mask and the numbers by the names that the file gives them."""
    shapes = {output.name: output.shape for output in TFLiteModel(files / "before.tflite").outputs}
    return {name: "mask" if len(shape) == 3 else "vector" for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def compared(files, stated):
    return compare_files(
        files / "before.tflite", files / "after.tflite", spots(samples=8), rotations(4), measures="NormalizedVariance",
        subsets=Subsets(measured_samples=None, outputs=stated), progress=False,
    )  # fmt: skip


def test_a_comparison_holds_what_comparing_outputs_gives(files, stated, compared):
    models = [TFLiteModel(files / f"{name}.tflite") for name in ("before", "after")]
    alone = outputs.compare_outputs(*models, spots(samples=8), rotations(4), stated, progress=False)
    assert compared.outputs.summary().equals(alone.summary())
    assert sorted(output.kind for output in compared.outputs.after.outputs) == ["mask", "vector"]
    assert compared.predictions == {} and compared.curves.empty
    assert any("as vector: size of the difference" in sentence for sentence in compared.verdict)


@pytest.mark.slow
def test_outputs_are_kept_in_the_file_and_stand_in_the_report(compared, tmp_path):
    compared.save(tmp_path / "c.npz")
    read = Comparison.load(tmp_path / "c.npz")
    assert read.outputs.summary().equals(compared.outputs.summary())
    page = read.report(tmp_path / "report").read_text()
    assert "Error of every output under transformation" in page and "1 - IoU of the mask" in page
    assert (tmp_path / "report" / "outputs.csv").exists()


def test_the_gate_knows_the_errors_of_outputs(compared):
    table = compared.outputs.summary()
    assert metric_value("output_error", compared) == table["after"].max()
    assert metric_value("output_error_increase", compared) == table["difference"].max()
    assert metric_value("output_change", compared) == table["between"].max() > 0
    gate = check(["output_change>0", "output_error>1e9%"], compared)
    assert [reason for reason in gate.reasons if "output_" in reason] == [
        f"output_change is {100 * table['between'].max():.4g} % (output_change>0%)"
    ]


@pytest.mark.slow
def test_compare_on_the_command_line_takes_outputs(files, stated, tmp_path, capsys):
    np.savez(tmp_path / "spots.npz", x=spots(samples=8), y=np.arange(8) % 2)
    given = [f"{name}={kind}" for name, kind in stated.items()]
    code = main(
        ["compare", "--before", str(files / "before.tflite"), "--after", str(files / "after.tflite"), "--data",
         str(tmp_path / "spots.npz"), "--transformations", "rotations(4)", "--measures", "NormalizedVariance",
         "--output", *given, "--out", str(tmp_path / "out"), "--quiet", "--fail-if", "output_change>0%"]
    )  # fmt: skip
    assert code == 3 and "output_change is" in capsys.readouterr().err
    assert "Outputs" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.slow
def test_a_study_measures_the_outputs_of_every_recipe(tmp_path):
    keras.utils.set_random_seed(3)
    inputs = keras.Input((16, 16, 1))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(inputs)
    network = keras.Model(inputs, keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid", name="mask")(x))
    images = spots(samples=8)
    found = study(
        network, images, images, rotations(4), ["static_int8", "weight_int4"], measures="NormalizedVariance",
        subsets=Subsets(measured_samples=None), sampling=None, progress=False,
    )  # fmt: skip
    table = found.outputs.set_index("recipe")
    assert table.index.tolist() == ["static_int8", "weight_int4"] and set(table["kind"]) == {"mask"}
    models = [TFLiteModel(recipe) for recipe in (float32(network), static_int8(network, images))]
    alone = outputs.compare_outputs(*models, images, rotations(4), "mask", progress=False).summary().iloc[0]
    assert table.loc["static_int8", "before"] == pytest.approx(alone["before"])
    assert set(found.output_curves["model"]) == {"float32", "static_int8", "weight_int4"}
    assert any("as mask: under transformation" in sentence for sentence in found.verdict)
    found.save(tmp_path / "study.npz")
    read = StudyResult.load(tmp_path / "study.npz")
    assert read.outputs.equals(found.outputs)
    furthest = table["between"].idxmax()
    assert read.output_example.after.metadata["recipe"] == furthest
    assert read.output_example.summary()["between"].item() == table.loc[furthest, "between"]
    assert read.output_example.after.pictures.shape == (1, 4, 16, 16, 1)
    page = read.report(tmp_path / "report").read_text()
    assert "Error of every output" in page
    for name in ("float32", furthest):
        assert f"with what {name} found in " in page
