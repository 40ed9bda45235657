"""The study: its numbers against a direct computation, what it lists, keeps and reports, and its command."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from browser import CHROMIUM, chromium
from numpy.testing import assert_allclose
from tflite_models import digits, plain_network, trained

from tfinv import evaluate
from tfinv.datasets import Split
from tfinv.run import main
from tfinv.tflite import (
    Conversion,
    StudyResult,
    TFLiteModel,
    float32,
    sensitivity,
    static_int8,
    study,
    weight_int4,
    with_transformations,
)
from tfinv.tflite.study_recipes import RECIPES, choose
from tfinv.tflite.study_verdict import trade_offs
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
def found(folder: Path) -> StudyResult:
    options = {"measured_samples": None, "calibration_samples": 50, "shards": 10, "cache": folder / "cache"}
    return study(trained(plain_network), *splits(), SET, CHOSEN, progress=False, **options)


def files() -> dict[str, Conversion]:
    """The same files, made without the study."""
    model, calibration = trained(plain_network), splits()[0].subset(50, 0).x
    return {
        "float32": float32(model),
        "static_int8": static_int8(model, calibration),
        "static_int8_transformed": static_int8(model, with_transformations(calibration, SET, per_image=1, seed=0)),
        "weight_int4": weight_int4(model),
    }


def test_numbers_are_those_of_a_direct_computation(found):
    test = splits()[1]
    frame = found.to_frame().set_index(["recipe", "measure", "layer"])
    rows = found.recipes.set_index("recipe")
    transformed = np.asarray(warp(test.x, parse(SET)))
    models = {name: TFLiteModel(each) for name, each in files().items()}
    moved = [abs(each.degrees) > 1 for each in parse(SET)]
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


def test_sqnr_is_that_of_a_direct_computation(found):
    test = splits()[1]
    images = np.asarray(warp(test.x, parse(SET))).reshape(-1, *test.x.shape[1:])
    made = files()
    before, after = (TFLiteModel(made[name])(images)["logits"].astype(float) for name in ("float32", "weight_int4"))
    expected = 10 * np.log10((before**2).sum() / ((before - after) ** 2).sum())
    rows = found.layers[(found.layers["recipe"] == "weight_int4") & (found.layers["layer"] == "logits")]
    assert_allclose(rows["sqnr_db"], expected, rtol=1e-4)


def test_trained_recipe_is_another_network_and_says_so(found):
    rows = found.recipes.set_index("recipe")
    assert bool(rows.loc["qat_int4_augmented", "is_integer"]) and not bool(rows.loc["float32", "is_integer"])
    own = found.layers[found.layers["recipe"] == "qat_int4_augmented"]
    assert len(own) and (own["difference"].abs() > 0).any()


def test_save_and_load(found, folder):
    found.save(folder / "study.npz")
    loaded = StudyResult.load(folder / "study.npz")
    for name in ("recipes", "layers", "curves"):
        pd.testing.assert_frame_equal(getattr(loaded, name), getattr(found, name))
    assert loaded.verdict == found.verdict and loaded.metadata == json.loads(json.dumps(found.metadata))
    key = "NormalizedVariance"
    assert_allclose(
        loaded.results["weight_int4"][key]["logits"].values, found.results["weight_int4"][key]["logits"].values
    )
    assert_allclose(loaded.predictions["float32"].transformed, found.predictions["float32"].transformed)
    (folder / "cut.npz").write_bytes((folder / "study.npz").read_bytes()[:1000])
    with pytest.raises(ValueError, match="tfinv-study"):
        StudyResult.load(folder / "cut.npz")


def test_finished_pieces_are_used_again(found, folder):
    said: list[str] = []
    options = {"measured_samples": None, "calibration_samples": 50, "shards": 10, "cache": folder / "cache"}
    again = study(trained(plain_network), *splits(), SET, CHOSEN, progress=False, report=said.append, **options)
    reused = [line for line in said if line.startswith("re-used")]
    assert len(reused) == 2 * (len(CHOSEN) + 1), "one conversion and one measurement a recipe"
    kept = [column for column in found.recipes if "latency" not in column]
    pd.testing.assert_frame_equal(again.recipes[kept], found.recipes[kept])


def test_verdict_speaks_of_what_was_found(found):
    text = " ".join(found.verdict)
    for words in ("weight_int4", "static_int8_transformed against static_int8", "transformed images"):
        assert words in text
    assert "consistency" not in text.lower(), "consistency without accuracy"


def test_unknown_recipe_is_named():
    with pytest.raises(ValueError, match=r"recipes must be 'all' or names among float32, .*Received: 'int3'"):
        study(trained(plain_network), *splits(), SET, ["int3"])
    with pytest.raises(ValueError, match="Received: none"):
        choose([])
    assert choose("all") == tuple(RECIPES) and choose("float16") == ("float32", "float16")


def test_recipe_that_cannot_be_followed_is_listed(tmp_path):
    """Training needs labels; the other recipe goes on."""
    images, classes = digits()
    options = {"measures": "NormalizedVariance", "progress": False, "measured_samples": 30}
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


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: the report was not looked at in a browser")
def test_report_opens_in_a_browser(found, folder):
    page = found.report(folder / "report")
    with chromium() as browser:
        for width in (390, 1280):
            seen = browser.open(page, width)
            assert browser.complaints == []
            assert seen["client"] == width and seen["scroll"] <= width and seen["escaped"] == []
            assert len(seen["pictures"]) >= 6, "trade-off, two curves, a profile and two of the change"
            assert all(each["complete"] and each["width"] > 300 and each["shown"] > 300 for each in seen["pictures"])
            browser.screenshot(folder / f"{width}.png")


def test_command(tmp_path, capsys):
    trained(plain_network).save(tmp_path / "model.keras")
    arguments = ["tflite", "--model", str(tmp_path / "model.keras"), "--data", "digits", "--out", str(tmp_path / "out")]
    arguments += ["--transformations", SET, "--max-samples", "40", "--measured-samples", "30", "--quiet"]
    assert main([*arguments, "--recipes", "float16", "--measures", "NormalizedVariance"]) == 0
    assert "Written to" in capsys.readouterr().out
    assert StudyResult.load(tmp_path / "out" / "study.npz").recipes["recipe"].tolist() == ["float32", "float16"]
    assert {"report.html", "report.md", "recipes.csv", "cache"} <= {each.name for each in (tmp_path / "out").iterdir()}
    assert main([*arguments, "--recipes", "int3"]) == 2
    assert "Received: 'int3'" in capsys.readouterr().err


def wake_word_model(path: Path):
    """The MLPerf Tiny model; the file's depthwise layers are of a class of their own that only dropped an option."""
    from tfinv import models

    class DW(keras.layers.DepthwiseConv2D):
        def __init__(self, *arguments, **options):
            options.pop("groups", None)
            super().__init__(*arguments, **options)

    def plain(layer):
        kind = keras.layers.DepthwiseConv2D if isinstance(layer, DW) else type(layer)
        return kind.from_config(layer.get_config())

    loaded = models.load(path, custom_objects={"DW": DW})
    model = keras.models.clone_model(loaded, clone_function=plain)
    model.set_weights(loaded.get_weights())
    return model


@pytest.mark.slow
def test_every_recipe_on_visual_wake_words(data_folder):
    """Depthwise convolutions, 96x96, a softmax; no image of persons is at hand, so handshapes stand in."""
    from tfinv import datasets

    model = wake_word_model(data_folder / "models" / "vww_mobilenet_v1" / "model.keras")
    images = datasets.adapt(datasets.load("lsa16").test.subset(24, 0), (96, 96, 3))
    data = Split(images.x, np.asarray(images.y) % 2)
    made = study(model, data, data, SET, "all", measures="NormalizedVariance", calibration_samples=16, progress=False)
    assert not made.failed
    assert made.recipes["recipe"].tolist() == list(RECIPES)
    rows = made.recipes.set_index("recipe")
    assert rows["layers_compared"].iloc[1:].min() >= 30
    assert rows.loc["qat_int8", "is_integer"] and rows.loc["static_int8", "is_integer"]
    assert not any("without a partner" in line for line in made.warnings)


def test_sensitivity_is_that_of_the_file_with_one_layer_rounded():
    """By hand: round one layer's kernel to 4 bits in Keras, one scale a channel, and measure."""
    test, model = splits()[1], trained(plain_network)
    frame = sensitivity(model, test, SET, progress=False).set_index("layer")
    assert frame.attrs["not_quantized"] == ["depthwise_relu"]
    assert set(frame.index) == {"first_relu", "second", "hidden", "logits"}, "no 4-bit depthwise kernel exists"
    assert sorted(frame["rank"]) == [1, 2, 3, 4]
    assert frame.sort_values("rank")["relative"].abs().is_monotonic_decreasing
    rounded = keras.models.clone_model(model)
    rounded.set_weights(model.get_weights())
    layer = rounded.get_layer("hidden")
    kernel = np.asarray(layer.kernel)
    scale = np.abs(kernel).max(axis=0) / 7
    layer.kernel.assign(np.clip(np.round(kernel / scale), -8, 7) * scale)
    expected = [evaluate(each, test, SET, "NormalizedVariance", progress=False) for each in (model, rounded)]
    before, after = (each["NormalizedVariance"]["logits"].mean for each in expected)
    assert_allclose(frame.loc["hidden", ["before", "after"]].astype(float), [before, after], rtol=1e-5)
    assert abs(after / before - 1) > 1e-3, "the case shows nothing"


def test_sensitivity_refuses_what_it_does_not_know():
    arguments = trained(plain_network), splits()[1], SET
    with pytest.raises(ValueError, match=r"scheme must be one of .*Received: 'int3'"):
        sensitivity(*arguments, scheme="int3")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="calibration must be images"):
        sensitivity(*arguments, scheme="static_int8")
