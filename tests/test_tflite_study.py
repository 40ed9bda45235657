"""The study: its numbers against a direct computation, what it lists, keeps and reports, and its command."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from browser import Browser
from numpy.testing import assert_allclose
from scipy.stats import t
from tflite_models import digits, plain_network, trained

from tfinv import Sampling, evaluate
from tfinv.datasets import Split
from tfinv.run import main
from tfinv.tflite import (
    Conversion,
    Output,
    Quantizing,
    StudyResult,
    Subsets,
    TFLiteModel,
    compare_files,
    float32,
    sensitivity,
    static_int8,
    study,
    weight_int4,
    with_transformations,
)
from tfinv.tflite.studies.recipes import RECIPES, choose
from tfinv.tflite.studies.verdict import trade_offs
from tfinv.transformations import parse, warp

SET = "rotations(4)"
CHOSEN = ["static_int8", "static_int8_transformed", "weight_int4", "qat_int4_augmented"]


def splits() -> tuple[Split, Split]:
    images, classes = digits()
    return Split(images[:100], classes[:100]), Split(images[1400:1480], classes[1400:1480])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def result(folder: Path) -> StudyResult:
    return study(trained(plain_network), *splits(), SET, CHOSEN, **options(folder, files=folder / "files"))


def options(folder: Path, **output: Any) -> dict[str, Any]:
    return {
        "subsets": Subsets(measured_samples=None),
        "quantizing": Quantizing(calibration_samples=50, sensitivity="weight_int4"),
        "sampling": Sampling(0.95, shards=10),
        "output": Output(cache=folder / "cache", **output),
        "progress": False,
    }


@functools.cache
def files() -> dict[str, Conversion]:
    """The same files, made without the study."""
    model, calibration = trained(plain_network), splits()[0].subset(50, 0).x
    return {
        "float32": float32(model),
        "static_int8": static_int8(model, calibration),
        "static_int8_transformed": static_int8(model, with_transformations(calibration, SET, per_image=1, seed=0)),
        "weight_int4": weight_int4(model),
    }


def test_numbers_are_those_of_a_direct_computation(result):
    test = splits()[1]
    frame = result.to_frame().set_index(["recipe", "measure", "layer"])
    rows = result.recipes.set_index("recipe")
    transformed = np.asarray(warp(test.x, parse(SET)))
    models = {name: TFLiteModel(file) for name, file in files().items()}
    moved = [abs(transformation.degrees) > 1 for transformation in parse(SET)]
    assert sum(moved) == 3
    profiles, classes, upright = {}, {}, {}
    for name, model in models.items():
        profiles[name] = evaluate(model, test, SET, "NormalizedVariance", progress=False)["NormalizedVariance"]
        outputs = model.predict(transformed.reshape(-1, *test.x.shape[1:]))
        classes[name] = outputs.argmax(axis=1).reshape(len(test), 4)[:, moved]
        upright[name] = model.predict(test.x).argmax(axis=1)
    for name, model in models.items():
        assert rows.loc[name, "kib"] == len(model.graph.content) / 1024
        assert rows.loc[name, "accuracy"] == pytest.approx((upright[name] == test.y).mean())
        right = classes[name] == test.y[:, None]
        assert rows.loc[name, "transformed_accuracy"] == pytest.approx(right.mean())
        if name == "float32":
            continue
        flips = classes[name] != classes["float32"]
        assert rows.loc[name, "flips"] == pytest.approx((upright[name] != upright["float32"]).mean())
        assert rows.loc[name, "transformed_flips"] == pytest.approx(flips.mean())
        for layer in ("first_relu", "hidden", "logits"):
            row = frame.loc[(name, "NormalizedVariance", layer)]
            before, after = profiles["float32"][layer].mean, profiles[name][layer].mean
            assert_allclose([row["before"], row["after"]], [before, after], rtol=1e-5)
            assert row["relative"] == pytest.approx(after / before - 1, abs=1e-5)
            assert row["low"] <= row["difference"] <= row["high"]
            assert row["kib"] == rows.loc[name, "kib"]


def test_sqnr_is_that_of_a_direct_computation(result):
    test = splits()[1]
    images = np.asarray(warp(test.x, parse(SET))).reshape(-1, *test.x.shape[1:])
    made = files()
    before, after = (TFLiteModel(made[name])(images)["logits"].astype(float) for name in ("float32", "weight_int4"))
    expected = 10 * np.log10((before**2).sum() / ((before - after) ** 2).sum())
    rows = result.layers[(result.layers["recipe"] == "weight_int4") & (result.layers["layer"] == "logits")]
    assert_allclose(rows["sqnr_db"], expected, rtol=1e-4)


def test_trained_recipe_is_another_network_and_says_so(result):
    rows = result.recipes.set_index("recipe")
    assert bool(rows.loc["qat_int4_augmented", "is_integer"]) and not bool(rows.loc["float32", "is_integer"])
    layers = result.layers[result.layers["recipe"] == "qat_int4_augmented"]
    assert len(layers) and (layers["difference"].abs() > 0).any()


def test_save_and_load(result, folder):
    result.save(folder / "study.npz")
    loaded = StudyResult.load(folder / "study.npz")
    for name in ("recipes", "layers", "curves", "operators", "sensitivity"):
        pd.testing.assert_frame_equal(getattr(loaded, name), getattr(result, name))
    assert loaded.verdict == result.verdict and loaded.metadata == json.loads(json.dumps(result.metadata))
    key = "NormalizedVariance"
    assert_allclose(
        loaded.results["weight_int4"][key]["logits"].values, result.results["weight_int4"][key]["logits"].values
    )
    assert_allclose(loaded.predictions["float32"].transformed, result.predictions["float32"].transformed)
    (folder / "cut.npz").write_bytes((folder / "study.npz").read_bytes()[:1000])
    with pytest.raises(ValueError, match="tfinv-study"):
        StudyResult.load(folder / "cut.npz")


def test_finished_pieces_are_used_again(result, folder):
    said: list[str] = []
    again = study(trained(plain_network), *splits(), SET, CHOSEN, **options(folder, report=said.append))
    reused = [line for line in said if line.startswith("re-used")]
    assert len(reused) == 2 * (len(CHOSEN) + 1) + 2, "one conversion and measurement a recipe, two of sensitivity"
    pd.testing.assert_frame_equal(again.sensitivity, result.sensitivity)
    kept = [column for column in result.recipes if "latency" not in column]
    pd.testing.assert_frame_equal(again.recipes[kept], result.recipes[kept])


def test_operators_are_those_of_the_files(result):
    for name, conversion in files().items():
        counts = result.operators.set_index("operator")[name]
        assert counts[counts > 0].to_dict() == conversion.operators
    assert result.operators.set_index("operator").loc["QUANTIZE", "float32"] == 0


def test_verdict_speaks_of_what_was_found(result):
    text = " ".join(result.verdict)
    for words in ("weight_int4", "static_int8_transformed against static_int8", "transformed images"):
        assert words in text
    assert "consistency" not in text.lower(), "consistency without accuracy"


def test_unknown_recipe_is_named():
    with pytest.raises(ValueError, match=r"recipes must be 'all' or names among float32, .*Received: 'int3'"):
        study(trained(plain_network), *splits(), SET, ["int3"])
    with pytest.raises(ValueError, match="Received: none"):
        choose([])
    assert [recipe.name for recipe in choose("all")] == list(RECIPES)
    assert choose("float16") == (RECIPES["float32"], RECIPES["float16"])


@pytest.mark.usefixtures("undrawn")
def test_recipe_that_cannot_be_followed_is_listed(tmp_path):
    """Training needs labels; the other recipe goes on."""
    images, classes = digits()
    options = {"measures": "NormalizedVariance", "progress": False, "subsets": Subsets(measured_samples=30)}
    test = Split(images[1400:1430], classes[1400:1430])
    made = study(trained(plain_network), images[:40], test, SET, ["qat_int8", "float16"], **options)
    assert made.recipes["recipe"].tolist() == ["float32", "float16"]
    assert list(made.failed) == ["qat_int8"] and "must have labels" in made.failed["qat_int8"]
    assert any("qat_int8 could not be made" in line for line in made.warnings)
    page = made.report(tmp_path).read_text()
    assert "must have labels" in page
    curves = pd.read_csv(tmp_path / "curves.csv")
    assert len(curves) == 2 * 4 and (tmp_path / "report.md").read_text().startswith("# What quantization does")


def test_trade_off_is_not_dominated():
    frame = pd.DataFrame(
        {
            "recipe": ["big", "small", "worse", "collapsed"],
            "kib": [40.0, 10.0, 20.0, 5.0],
            "profile": [0.5, 0.5, 0.6, 0.0],
            "transformed_accuracy": [0.9, 0.8, 0.7, 0.1],
            "collapsed": [False, False, False, True],
        }
    )
    assert trade_offs(frame)["best_trade_off"].tolist() == [True, True, False, False]


@pytest.fixture(scope="module")
def page(result: StudyResult, folder: Path) -> Path:
    """The report on the study and what is decided on it."""
    return result.decide("3 points").report(folder / "report")


def test_report_opens_in_a_browser(page: Path, browser: Browser):
    assert "Sensitivity of layers" in page.read_text() and (page.parent / "sensitivity.csv").is_file()
    for width in (390, 1280):
        seen = browser.open(page, width)
        assert browser.complaints == []
        assert seen["client"] == width and seen["scroll"] <= width and seen["escaped"] == []
        assert len(seen["pictures"]) >= 7, "trade-off, two curves, a profile, two of the change, sensitivity"
        assert all(
            picture["complete"] and picture["width"] > 300 and picture["shown"] > 300 for picture in seen["pictures"]
        )


@pytest.mark.usefixtures("undrawn")
def test_command(tmp_path, capsys):
    trained(plain_network).save(tmp_path / "model.keras")
    arguments = ["tflite", "--model", str(tmp_path / "model.keras"), "--data", "digits", "--out", str(tmp_path / "out")]
    arguments += ["--transformations", SET, "--max-samples", "40", "--measured-samples", "30", "--quiet"]
    options = ["--measures", "NormalizedVariance", "--input-scale", "-1..1"]
    options += ["--decide", "equivalence", "--margin", "30 points"]
    assert main([*arguments, "--recipes", "float16", *options]) == 0
    printed = capsys.readouterr().out
    assert "Written to" in printed and "Decided by intervals, margin 30 points, float16" in printed
    assert set(pd.read_csv(tmp_path / "out" / "decisions.csv")["decision"]) == {"unchanged"}
    assert main([*arguments, "--margin", "1 point"]) == 2
    assert "--decide equivalence" in capsys.readouterr().err
    loaded = StudyResult.load(tmp_path / "out" / "study.npz")
    assert loaded.recipes["recipe"].tolist() == ["float32", "float16"] and loaded.metadata["input_scale"] == "-1..1"
    assert {"report.html", "report.md", "recipes.csv", "cache"} <= {path.name for path in (tmp_path / "out").iterdir()}
    assert TFLiteModel(tmp_path / "out" / "files" / "float16.tflite").output_layer == "logits"
    assert (tmp_path / "out" / "model_explorer" / "float16" / "change_of_NormalizedVariance.json").is_file()
    assert main([*arguments, "--sensitivity", "int2"]) == 2
    assert "sensitivity must be names among weight_int4, weight_int8, static_int8" in capsys.readouterr().err
    assert main([*arguments, "--recipes", "int3"]) == 2
    assert "Received: 'int3'" in capsys.readouterr().err


def test_sensitivity_is_that_of_the_file_with_one_layer_rounded(result):
    """By hand: round one layer's kernel to 4 bits in Keras, one scale a channel, and measure."""
    test, model = splits()[1], trained(plain_network)
    frame = result.sensitivity[result.sensitivity["mode"] == "one"].set_index("layer")
    assert "sensitivity, weight_int4: it cannot quantize depthwise_relu" in result.warnings
    assert set(frame.index) == {"first_relu", "second", "hidden", "logits"}, "no 4-bit depthwise kernel exists"
    assert sorted(frame["rank"]) == [1, 2, 3, 4]
    assert frame.sort_values("rank")["relative"].abs().is_monotonic_decreasing
    assert any(f"`{frame.index[0]}` moves normalized variance" in line for line in result.verdict)
    rounded = keras.models.clone_model(model)
    rounded.set_weights(model.get_weights())
    layer = rounded.get_layer("hidden")
    kernel = np.asarray(layer.kernel)
    scale = np.abs(kernel).max(axis=0) / 7
    layer.kernel.assign(np.clip(np.round(kernel / scale), -8, 7) * scale)
    expected = [evaluate(network, test, SET, "NormalizedVariance", progress=False) for network in (model, rounded)]
    before, after = (results["NormalizedVariance"]["logits"].mean for results in expected)
    assert_allclose(frame.loc["hidden", ["before", "after"]].astype(float), [before, after], rtol=1e-5)
    assert abs(after / before - 1) > 1e-4, "the case shows nothing"


def test_all_but_one_of_two_layers_is_the_other_alone():
    inputs = keras.Input((16, 16, 1))
    x = keras.layers.Conv2D(4, 3, strides=2, activation="relu", name="first")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(10, name="logits")(keras.layers.Flatten(name="flat")(x)))
    frames = [
        sensitivity(model, splits()[1], SET, scheme="weight_int8", mode=mode, progress=False).set_index("layer")
        for mode in ("one", "all_but_one")
    ]
    columns = ["before", "after", "relative", "flips"]
    for alone, spared in (("first", "logits"), ("logits", "first")):
        assert_allclose(*(f.loc[n, columns].astype(float) for f, n in zip(frames, (alone, spared), strict=True)))
    assert frames[0].loc["first", "after"] != frames[0].loc["logits", "after"]
    # Two files: 95 % together are 97.5 % each, and 90 % together 95 % each, of Student's t over 20 shards.
    narrow = sensitivity(
        model, splits()[1], SET, scheme="weight_int8", sampling=Sampling(0.9), progress=False
    ).set_index("layer")
    widths = [frame.loc["logits", "high"] - frame.loc["logits", "low"] for frame in (frames[0], narrow)]
    assert_allclose(widths[0] / widths[1], t.ppf(1 - 0.025 / 2, 19) / t.ppf(1 - 0.05 / 2, 19), rtol=1e-6)


def test_node_data_names_tensors_of_the_files(result, folder):
    paths = result.model_explorer(folder / "overlay")
    for recipe in CHOSEN:
        content = Conversion.load(folder / "files" / f"{recipe}.tflite")
        tensors = {tensor.name for tensor in content.graph.tensors}
        overlays = [path for path in paths if path.parent.name == recipe]
        assert len(overlays) == 3, "two measures and SQNR"
        for path in overlays:
            results = json.loads(path.read_text())["results"]
            assert set(results) <= tensors and len(results) >= 4
    sqnr = json.loads((folder / "overlay" / "static_int8" / "sqnr_db.json").read_text())["results"]
    rows = result.layers[
        (result.layers["recipe"] == "static_int8") & (result.layers["measure"] == "NormalizedVariance")
    ]
    assert {rows.set_index("tensor")["sqnr_db"].to_dict()[name] for name in sqnr} == {e["value"] for e in sqnr.values()}
    alone = json.loads((folder / "overlay" / "float32" / "sensitivity_weight_int4_one.json").read_text())
    assert len(alone["results"]) == 4 and set(alone["results"]) <= {t.name for t in files()["float32"].graph.tensors}


def test_sensitivity_refuses_what_it_does_not_know():
    arguments = trained(plain_network), splits()[1], SET
    with pytest.raises(ValueError, match=r"scheme must be one of .*Received: 'int3'"):
        sensitivity(*arguments, scheme="int3")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="calibration must be images"):
        sensitivity(*arguments, scheme="static_int8")


def test_sensitivity_quantizes_all_calls_of_a_shared_layer_together():
    inputs = keras.Input((8, 8, 4))
    shared = keras.layers.Conv2D(4, 3, padding="same", name="shared")
    x = shared(keras.layers.Activation("tanh", name="tanh")(shared(inputs)))
    logits = keras.layers.Dense(3, name="logits")(keras.layers.GlobalAveragePooling2D(name="gap")(x))
    images = np.random.default_rng(0).random((12, 8, 8, 4), dtype=np.float32)
    frame = sensitivity(
        keras.Model(inputs, logits), (images, np.arange(12) % 3), "rotations(4)", scheme="weight_int8", progress=False
    )
    assert sorted(frame["layer"]) == ["logits", "shared@1"]
    assert np.isfinite(frame["relative"]).all() and (frame["relative"] != 0).all()


def test_answers_of_every_recipe_are_those_of_a_comparison(result, tmp_path):
    """Flips by kind and class, calibration and decisions of a recipe equal those that `compare_files` gives for it."""
    conversions = files()
    found = compare_files(
        conversions["float32"], conversions["weight_int4"], splits()[1], SET, measures="NormalizedVariance",
        subsets=Subsets(measured_samples=None), sampling=Sampling(0.95, shards=10), progress=False,
    )  # fmt: skip
    answers = result.answers

    def of(frame: pd.DataFrame, column: str = "recipe", name: str = "weight_int4") -> pd.DataFrame:
        return frame[frame[column] == name].drop(columns=column).reset_index(drop=True)

    pd.testing.assert_frame_equal(of(answers.flips), found.answers.flips)
    tested = ["p_holm", "pays"]
    pd.testing.assert_frame_equal(of(answers.classes).drop(columns=tested), found.answers.classes.drop(columns=tested))
    for name, other in (("float32", "float32"), ("weight_int4", "weight_int4")):
        expected = of(found.answers.calibration, "model", other)
        pd.testing.assert_frame_equal(of(answers.calibration, "model", name), expected)
        pd.testing.assert_frame_equal(
            of(answers.at_least, "model", name), of(found.answers.at_least, "model", other), check_like=True
        )
    pd.testing.assert_frame_equal(result.flipped("weight_int4").drop(columns="recipe"), found.flipped())
    assert set(result.flipped()["recipe"]) <= {*CHOSEN} and len(result.flipped()) == round(
        80 * answers.flips["flips"].sum()
    )
    decided = result.decide("3 points", "20%")
    rows, expected = of(decided.answers.decisions), found.decide("3 points", "20%").answers.decisions
    both = rows[rows["quantity"].isin(expected["quantity"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(both, expected)
    assert [text.startswith("**Decided by intervals, margin 3 points and 20 %, ") for text in decided.verdict] == [
        *[True] * len(CHOSEN),
        *[False] * len(result.verdict),
    ]
    assert decided.decide("1 point").verdict[len(CHOSEN) :] == result.verdict
    decided.save(tmp_path / "study.npz")
    again = StudyResult.load(tmp_path / "study.npz").answers
    for name in ("flips", "classes", "calibration", "decisions", "at_least"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(decided.answers, name), check_dtype=False)
    assert_allclose(again.pictures, answers.pictures)
    with pytest.raises(ValueError, match=r"recipe must be one of float32, .*Received: 'int2'"):
        result.flipped("int2")


def test_p_values_of_all_recipes_and_classes_are_corrected_together(result):
    classes = result.answers.classes
    order = np.argsort(classes["p_value"].to_numpy())
    stepped, expected = 0.0, np.empty(len(classes))
    for rank, row in enumerate(order):
        stepped = max(stepped, min(1.0, (len(classes) - rank) * classes["p_value"].iloc[row]))
        expected[row] = stepped
    assert_allclose(classes["p_holm"], expected)
    assert len(classes) == len(CHOSEN) * len(np.unique(splits()[1].y))


def test_report_tells_of_harm_calibration_and_decisions(result, page):
    text = (page.parent / "report.md").read_text()
    for heading in ("What is decided", "Answers that recipes change, by kind", "Right under how many transformations",
                    "Which answers changed", "How far confidence can be trusted"):  # fmt: skip
        assert f"## {heading}" in text
    assert result.metadata["pictured"] in {*CHOSEN} - {"qat_int4_augmented"}
    for name in ("flipped", "flips", "flips_by_class", "calibration", "decisions", "right_at_least"):
        assert len(pd.read_csv(page.parent / f"{name}.csv"))
    assert any("Right under every transformation" in text for text in result.verdict)
    assert any("from right to wrong" in text for text in result.verdict)
    assert any("Expected calibration error" in text for text in result.verdict)
    assert any(" pay" in text for text in result.verdict)
