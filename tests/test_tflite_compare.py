"""Comparing two TFLite files end to end: numbers by other ways, where damage begins, reports, exit codes, bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from tflite_models import decibels, digits, plain_network, residual_network, trained

import tfinv
from tfinv import run
from tfinv.activations import ActivationModel
from tfinv.evaluation.evaluate import PROBED
from tfinv.tflite import (
    Comparison,
    Subsets,
    TFLiteModel,
    compare_files,
    dynamic_int8,
    float32,
    measure_models,
    static_int8,
)
from tfinv.tflite.comparison.gate import check
from tfinv.transformations import parse, warp

SAMPLES, SET = 60, "rotations(4)"
NV, SE = "NormalizedVariance", "NormalizedVarianceSE(aggregate='mean')"


@pytest.fixture(scope="module")
def data():
    images, classes = digits()
    return images[1400 : 1400 + SAMPLES], classes[1400 : 1400 + SAMPLES]


@pytest.fixture(scope="module")
def network():
    return trained(residual_network)


@pytest.fixture(scope="module")
def files(network):
    return float32(network), static_int8(network, digits()[0][:150])


@pytest.fixture(scope="module")
def comparison(files, data):
    return compare_files(
        *files, data, SET, measures=[NV, SE], subsets=Subsets(fidelity_samples=SAMPLES), progress=False
    )


@pytest.fixture(scope="module")
def transformed(data):
    return np.asarray(warp(data[0], parse(SET)))


def damaged(network, layer: str):
    """The network with the kernel of one layer moved most of the way to its mean over positions: it sees no shapes."""
    import keras

    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    kernel, *rest = copy.get_layer(layer).get_weights()
    mean = kernel.mean(axis=(0, 1), keepdims=True)
    copy.get_layer(layer).set_weights([0.3 * kernel + 0.7 * mean, *rest])
    return copy


# --- numbers ---------------------------------------------------------------------------------------------------------


def test_profiles_are_those_of_evaluate(comparison, files, data):
    for side, file in zip(("before", "after"), files, strict=True):
        alone = tfinv.evaluate(TFLiteModel(file), data[0], SET, NV, progress=False)
        rows = comparison.layers[comparison.layers["measure"] == NV].set_index("layer")
        assert list(rows.index) == list(alone[NV])
        assert_allclose(rows[side], [alone[NV][layer].mean for layer in rows.index], rtol=1e-5)


def test_predictions_are_those_of_the_files(comparison, files, data, transformed):
    first, second = (TFLiteModel(file) for file in files)
    classes = data[1]
    upright = [model.predict(data[0]).argmax(1) for model in (first, second)]
    turned = [
        model.predict(transformed.reshape(-1, 16, 16, 1)).argmax(1).reshape(SAMPLES, 4) for model in (first, second)
    ]
    row = comparison.models.iloc[1]
    assert row["accuracy"] == np.mean(upright[1] == classes)
    assert row["flips"] == np.mean(upright[0] != upright[1])
    moved = [0, 1, 3]  # rotations(4) are 180, -90, 0 and 90 degrees
    assert_allclose(row["transformed_flips"], np.mean(turned[0][:, moved] != turned[1][:, moved]))
    assert_allclose(row["transformed_accuracy"], np.mean(turned[1][:, moved] == classes[:, None]))
    curves = comparison.curves[comparison.curves["model"] == "float32"]
    assert curves["degrees"].tolist() == [180.0, -90.0, 0.0, 90.0]
    assert_allclose(curves["accuracy"], (turned[0] == classes[:, None]).mean(0))


def test_fidelity_is_that_of_the_activations(comparison, files, transformed):
    images = transformed.reshape(-1, 16, 16, 1)
    before, after = (TFLiteModel(file)(images) for file in files)
    rows = comparison.fidelity.set_index("layer")
    assert list(rows.index) == list(before)
    for layer, row in rows.iterrows():
        assert_allclose(row["sqnr_db"], decibels(before[layer], after[row["after_layer"]]), atol=1e-3)
        assert_allclose(row["range_after_max"], after[layer].max(), rtol=1e-6)
    kernel = np.asarray(trained(residual_network).get_layer("hidden").kernel)
    assert_allclose(rows.loc["hidden_relu", ["weights_before_min", "weights_before_max"]], [kernel.min(), kernel.max()])
    assert_allclose(rows.loc["hidden_relu", "weights_after_max"], kernel.max(), rtol=0.01)


def test_int8_is_smaller_and_nearly_as_invariant(comparison):
    assert comparison.match.unmatched_before == comparison.match.unmatched_after == () and comparison.warnings == ()
    assert comparison.models["kib"][1] < 0.8 * comparison.models["kib"][0]
    assert not comparison.models["collapsed"].any() and comparison.models["self_check"].str.startswith("passed").all()
    rows = comparison.layers[comparison.layers["measure"] == NV]
    assert rows["relative"].abs().max() < 0.1
    assert set(comparison.layers[comparison.layers["measure"] == SE]["layer"]) == set(rows["layer"])
    assert (
        "change of normalized variance" in comparison.verdict[0]
        or "Normalized variance changes" in comparison.verdict[0]
    )
    assert check(["max_profile_increase>20%", "flip_rate>50%"], comparison).reasons == ()


def test_damage_is_found_where_it_begins(network, data, files):
    comparison = compare_files(files[0], float32(damaged(network, "wide")), data, SET, measures=NV, progress=False)
    rows = comparison.layers.set_index("layer")
    early = list(rows.index)[: list(rows.index).index("wide")]
    assert len(early) >= 4 and (rows.loc[early, "difference"] == 0).all() and not rows.loc[early, "real"].any()
    fidelity = comparison.fidelity.set_index("layer")["sqnr_db"]
    assert np.isinf(fidelity[early]).all() and fidelity["wide"] < 10
    assert rows.loc["wide", "real"] and rows.loc["wide", "relative_low"] > 0.005
    assert comparison.verdict[0].startswith("**Normalized variance changes**") and "`wide`" in comparison.verdict[0]
    assert "lost information" in " ".join(comparison.verdict), "more invariant, but worse"
    assert check(["flip_rate>0.02"], comparison).failed


def test_every_model_is_shown_the_same_images(data, network):
    class Recorder:
        """A source that is no Keras model, so that it is called with arrays."""

        def __init__(self, name):
            self.id, self.input_shape, self.layer_shapes = name, (16, 16, 1), {"logits": (10,)}

        def select(self, layers):
            return self

        def __call__(self, images):
            seen.setdefault(self.id, []).append(np.array(images))
            return {"logits": images.reshape(len(images), -1)[:, :10]}

    seen: dict[str, list[np.ndarray]] = {}
    measure_models({n: Recorder(n) for n in ("a", "b")}, data[0], SET, NV, progress=False)
    shown = [np.concatenate(seen[name]) for name in ("a", "b")]
    np.testing.assert_array_equal(*shown)
    # A few for the size of activations, then all to measure layers and to predict; the identity is one of the set.
    assert len(shown[0]) == PROBED + 2 * SAMPLES * 4


def test_keras_and_tflite_are_compared_alike(network, files, data):
    models = {"keras": ActivationModel(network, ["stem_relu", "wide", "logits"]), "tflite": TFLiteModel(files[0])}
    same = {name: name for name in ("stem_relu", "wide", "logits")}
    measured = measure_models(models, data[0], "translations(1, 0.1)", NV, pairs={"tflite": same}, progress=False)
    assert (measured["tflite"].fidelity["sqnr_db"] > 100).all() and measured["keras"].fidelity is None
    one, other = (measured[name].predictions for name in ("keras", "tflite"))
    np.testing.assert_array_equal(one.transformed, other.transformed)
    np.testing.assert_array_equal(one.upright, one.transformed[:, 0])


def test_sets_without_the_identity_show_the_upright_image_as_well(files, data):
    model = TFLiteModel(files[0])
    predicted = measure_models({"a": model}, data[0], parse(SET)[0:2], NV, progress=False)["a"].predictions
    np.testing.assert_array_equal(predicted.upright, model.predict(data[0]).argmax(1))
    turned = np.asarray(warp(data[0], parse(SET)[0:2])).reshape(-1, 16, 16, 1)
    np.testing.assert_array_equal(predicted.transformed.ravel(), model.predict(turned).argmax(1))


# --- what is written -------------------------------------------------------------------------------------------------


def test_a_comparison_is_saved_and_loaded(comparison, tmp_path):
    comparison.save(tmp_path / "c.npz")
    back = Comparison.load(tmp_path / "c.npz")
    for name in ("layers", "fidelity", "models", "curves", "operators"):
        pd.testing.assert_frame_equal(getattr(back, name), getattr(comparison, name), check_dtype=False)
    assert (back.names, back.verdict, back.match) == (comparison.names, comparison.verdict, comparison.match)
    np.testing.assert_array_equal(
        back.predictions["static_int8"].transformed, comparison.predictions["static_int8"].transformed
    )
    expected = comparison.after[NV]["logits"].values
    np.testing.assert_array_equal(back.after[NV]["logits"].values, expected.astype(np.float32))
    comparison.save(tmp_path / "full.npz", full_precision=True)
    np.testing.assert_array_equal(Comparison.load(tmp_path / "full.npz").after[NV]["logits"].values, expected)
    (tmp_path / "half.npz").write_bytes((tmp_path / "c.npz").read_bytes()[:2000])
    with pytest.raises(ValueError, match="must be a complete file of the kind tfinv-comparison"):
        Comparison.load(tmp_path / "half.npz")
    comparison.before.save(tmp_path / "results.npz")
    with pytest.raises(ValueError, match="tfinv-comparison"):
        Comparison.load(tmp_path / "results.npz")


def test_one_frame_holds_all_columns(comparison):
    frame = comparison.to_frame()
    assert len(frame) == len(comparison.layers) and {"relative", "sqnr_db", "tensor_after"} <= set(frame)


@pytest.fixture(scope="module")
def report(comparison, tmp_path_factory):
    return comparison.report(tmp_path_factory.mktemp("report"))


@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_the_whole_report(report, browser, width):
    seen = browser.open(report, width)
    assert browser.complaints == [] and len(browser.requests) == 1 + len(seen["pictures"])
    assert seen["client"] == width and seen["scroll"] <= width and seen["escaped"] == [] and seen["scripts"] == 0
    assert len(seen["pictures"]) == 11, "two curves, five on answers, and for each measure profiles and units"
    for picture in seen["pictures"]:
        assert picture["complete"] and picture["width"] > 300 and picture["shown"] > 300, picture
    assert "change of normalized variance" in seen["text"] and "static_int8 against float32" in seen["text"]


def test_tables_and_markdown_lie_beside_the_report(comparison, report):
    folder = report.parent
    table = pd.read_csv(folder / "layers.csv").fillna({"lost_names": ""})
    pd.testing.assert_frame_equal(table, comparison.layers, check_dtype=False)
    text = (folder / "report.md").read_text()
    assert comparison.verdict[0].split("**")[1] in text and len(list((folder / "figures").glob("*.png"))) == 11


def test_the_viewers_overlay_is_keyed_by_tensors_of_the_second_file(comparison, files, tmp_path):
    paths = comparison.model_explorer(tmp_path)
    names = {tensor.name for tensor in files[1].graph.tensors}
    content = {path.stem: json.loads(path.read_text()) for path in paths}
    assert set(content) == {"change_of_NormalizedVariance", "change_of_NormalizedVarianceSE_aggregate__mean", "sqnr_db"}
    for data in content.values():
        assert data["results"] and set(data["results"]) <= names
        bounds = [step["value"] for step in data["thresholds"]]
        assert bounds == sorted(bounds) and all(v["value"] <= bounds[-1] for v in data["results"].values())
    logits = comparison.fidelity.set_index("layer").loc["logits"]
    assert_allclose(content["sqnr_db"]["results"][logits["tensor_after"]]["value"], logits["sqnr_db"])


@pytest.mark.usefixtures("undrawn")
def test_without_labels_nothing_is_said_of_accuracy_or_consistency(files, data, tmp_path):
    comparison = compare_files(*files, data[0], SET, measures=NV, progress=False)
    text = comparison.report(tmp_path).read_text()
    assert comparison.models["accuracy"].isna().all() and comparison.models["flips"][1] >= 0
    assert any("consistency is not stated" in sentence for sentence in comparison.verdict)
    for word in ("accuracy upright", ">consistency<", ">effective invariance<"):
        assert word not in text
    assert check(["accuracy_drop>50pt"], comparison).failed


def test_models_that_are_no_classifiers_are_compared_by_layer(network, data):
    import keras

    inner = keras.Model(network.inputs, network.get_layer("sum_relu").output)
    comparison = compare_files(
        float32(inner), static_int8(inner, digits()[0][:50]), data, SET, measures=NV, progress=False
    )
    assert comparison.curves.empty and "nothing is said of predictions" in comparison.warnings[-1]
    assert len(comparison.layers) >= 4 and comparison.predictions == {}
    assert "flip_rate is not known" in check(["flip_rate>50%"], comparison).reason


# --- the command line ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def paths(files, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for name, file in zip(("float", "int8"), files, strict=True):
        (folder / f"{name}.tflite").write_bytes(file.content)
    np.savez(folder / "images.npz", x=data[0], y=data[1])
    return folder


def command(paths: Path, *more: str) -> list[str]:
    base = ["compare", "--before", str(paths / "float.tflite"), "--after", str(paths / "int8.tflite")]
    return [*base, "--data", str(paths / "images.npz"), "--transformations", SET, "--measures", NV, "--quiet", *more]


@pytest.mark.usefixtures("undrawn")
def test_the_command_writes_everything_and_passes_or_fails(paths, tmp_path, capsys):
    out = ["--out", str(tmp_path / "out")]
    assert run.main(command(paths, *out, "--fail-if", "max_profile_increase>50%", "flip_rate > 90%")) == 0
    said = capsys.readouterr()
    assert "passed: max_profile_increase " in said.out and said.err == "" and "normalized variance" in said.out
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"report.html", "report.md", "comparison.npz", "layers.csv", "curves.csv", "model_explorer"} <= written
    loaded = Comparison.load(tmp_path / "out" / "comparison.npz")
    assert loaded.metadata["samples"] == SAMPLES, "all images of a file that holds out none"
    assert run.main(command(paths, *out, "--max-samples", "20", "--fail-if", "size_ratio<10", "accuracy>=0")) == 3
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith("tfinv: failed: size_ratio is ") and "accuracy is " in said[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--fail-if", "flip_rate=3"], "fail-if must read like"),
        (["--fail-if", "flips>3"], "fail-if must name one of"),
        (["--transformations", "spin(3)"], "spin"),
        (["--input-scale", "0..7"], "input_scale must be one of"),
        (["--after", "missing.tflite"], "missing.tflite"),
        (["--data", "nowhere.npz"], "nowhere.npz"),
    ],
)
def test_wrong_arguments_end_with_one_line(paths, tmp_path, capsys, change, message):
    assert run.main(command(paths, "--out", str(tmp_path / "out"), *change)) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith("tfinv: ") and message in said[0]
    assert not (tmp_path / "out").exists()


def test_scales_that_look_like_options_are_understood():
    from tfinv.commands.arguments import input_scale, with_signs

    marked = with_signs(["--input-scale", "0..1", "-1..1", "--quiet", "-.5,0.25"])
    assert marked == ["--input-scale", "0..1", " -1..1", "--quiet", " -.5,0.25"]
    assert input_scale(marked[-1]) == (-0.5, 0.25) and input_scale(" -1..1") == "-1..1"
    assert input_scale("0.5,0.25") == (0.5, 0.25) and input_scale("0..255") == "0..255"


# --- bad input -------------------------------------------------------------------------------------------------------


def test_files_that_are_no_models_are_refused(files, data, tmp_path):
    content = files[0].content
    for name, bad in (
        ("half", content[: len(content) // 2]),
        ("text", b"hello, this is not a model at all"),
        ("empty", b""),
    ):
        (tmp_path / f"{name}.tflite").write_bytes(bad)
        with pytest.raises(ValueError, match=rf"{name}\.tflite: ") as error:
            compare_files(files[0], tmp_path / f"{name}.tflite", data, progress=False)
        assert "\n" not in str(error.value)


def test_other_networks_are_refused(files, data):
    import keras

    keras.utils.set_random_seed(9)
    with pytest.raises(ValueError, match="must be the same network"):
        compare_files(files[0], float32(residual_network()), data, progress=False)
    with pytest.raises(ValueError, match=r"same network|layer in common"):
        compare_files(files[0], float32(plain_network()), data, progress=False)


def test_other_inputs_are_refused(files, data):
    import keras

    inputs = keras.Input((8, 8, 1), name="image")
    small = keras.Model(inputs, keras.layers.Dense(10, name="logits")(keras.layers.Flatten(name="flat")(inputs)))
    with pytest.raises(ValueError, match=r"images of one shape. Received: \(16, 16, 1\) and \(8, 8, 1\)"):
        compare_files(files[0], float32(small), data, progress=False)
    with pytest.raises(ValueError, match=r"images must fit the models' input .* Received: images of \(8, 8, 1\)"):
        compare_files(*files, data[0][:, ::2, ::2], progress=False)
    with pytest.raises(ValueError, match=r"labels must be classes of the model, below 10. Received: 10"):
        compare_files(*files, (data[0], data[1] + 1), SET, measures=NV, progress=False)


def test_a_wrong_input_scale_is_pointed_out(network, data):
    import keras

    inputs = keras.Input((16, 16, 1), name="image")
    scaled = keras.Model(inputs, network(keras.layers.Rescaling(1 / 255, name="rescale")(inputs)))
    comparison = compare_files(float32(scaled), dynamic_int8(scaled), data, SET, measures=NV, progress=False)
    assert any(
        "input scale 0..1 looks wrong" in warning and "with 0..255" in warning for warning in comparison.warnings
    )
    assert check([], comparison).failed
    integers = static_int8(scaled, 255 * digits()[0][:150])
    forced = compare_files(float32(scaled), integers, data, SET, measures=NV, input_scale="0..1", progress=False)
    assert any("with 0..255" in warning for warning in forced.warnings) and check([], forced).failed


def test_a_file_of_integers_tells_the_input_scale_of_both(network, data):
    import keras

    inputs = keras.Input((16, 16, 1), name="image")
    scaled = keras.Model(inputs, network(keras.layers.Rescaling(1 / 255, name="rescale")(inputs)))
    integers = static_int8(scaled, 255 * digits()[0][:150])
    only = Subsets(layers="*logits")
    comparison = compare_files(float32(scaled), integers, data, SET, measures=NV, progress=False, subsets=only)
    assert comparison.models["accuracy"].min() > 0.7 and not any("input scale" in text for text in comparison.warnings)
    assert comparison.layers["layer"].tolist() == ["residual/logits"] == list(comparison.match.pairs)
    files = comparison.metadata["files"]
    assert [files[name]["input_scale"] for name in comparison.names] == ["0..255", "0..255"]
    assert [files[name]["input_scale_from"] for name in comparison.names] == ["the other file", "the file"]
