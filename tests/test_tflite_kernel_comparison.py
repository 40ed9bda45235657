"""Kernel set against kernel set for one file and for two: answers, layers in steps, words, report, gate, commands."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from tflite_models import digits, residual_network, trained

from tfinv import Sampling, Warping, run
from tfinv.datasets import Split
from tfinv.report import Report
from tfinv.tflite import (
    Comparison,
    StudyResult,
    Subsets,
    TFLiteModel,
    compare_files,
    compare_kernels,
    float32,
    static_int8,
    study,
)
from tfinv.tflite.comparison import kernel_report
from tfinv.tflite.comparison.gate import check
from tfinv.tflite.comparison.kernel_layers import Parting
from tfinv.tflite.comparison.kernel_run import KernelRun
from tfinv.tflite.comparison.kernel_words import device_sentence, kernel_sentences
from tfinv.tflite.comparison.limits import Limits
from tfinv.transformations import parse, warp

pytestmark = pytest.mark.usefixtures("undrawn")

KERNELS = "xnnpack,builtin,reference"
SAMPLES = 24


@pytest.fixture(scope="module")
def data():
    images, labels = digits()
    return Split(images[1400:1450], labels[1400:1450])


@pytest.fixture(scope="module")
def files():
    network = trained(residual_network)
    return float32(network), static_int8(network, digits()[0][:100])


@pytest.fixture(scope="module")
def compared(files, data):
    return compare_files(
        *files, data, "rotations(4)", measures="NormalizedVariance",
        subsets=Subsets(measured_samples=30, fidelity_samples=4, kernels=KERNELS, kernel_samples=SAMPLES),
        sampling=Sampling(0.95), progress=False,
    )  # fmt: skip


def test_a_parting_counts_values_and_images():
    first = np.array([[0.0, 1.0, 2.0], [4.0, 4.0, 4.0]], "float32")
    second = np.array([[0.0, 1.5, 2.0], [4.0, 4.0, 4.0]], "float32")
    parting = Parting().update(first, second).update(first[1:], second[1:])
    row = parting.row(Limits(-10.0, 10.0, 0.25))
    assert row["max_lsb"] == 2 and row["differing"] == 1 / 9 and row["differing_images"] == 1 / 3
    assert row["max_error"] == 0.5 and row["relative_error"] == 0.125
    assert np.isnan(parting.row(None)["max_lsb"]), "floats have no steps"


def test_pairs_equal_what_the_files_give_by_hand(files, data, compared):
    """An independent way: two models called outright on the same images, raw integers subtracted."""
    found = compared.kernels
    images = data.subset(SAMPLES, 0)
    transformations = parse("rotations(4)")
    warped = np.asarray(warp(images.x, transformations)).reshape(-1, 16, 16, 1)
    model = TFLiteModel(files[1])
    one, other = (model.with_kernels(kernels)(warped) for kernels in ("xnnpack", "reference"))
    pair = found.pairs.query("model == 'static_int8' and first == 'xnnpack' and second == 'reference'").iloc[0]
    rows = found.layers.query("model == 'static_int8' and first == 'xnnpack' and second == 'reference'")
    for row in rows.itertuples():
        tensor = model.layer_tensors[row.layer]
        integers = [
            np.rint(read[row.layer] / tensor.scales[0] + tensor.zero_points[0]).astype(int) for read in (one, other)
        ]
        steps = np.abs(integers[0] - integers[1])
        assert row.max_lsb == steps.max() and row.differing == pytest.approx((steps > 0).mean()), row.layer
    assert rows["max_lsb"].max() >= 1 and pair["max_lsb"] == rows["max_lsb"].max()
    assert pair["part_at"] == rows[rows["differing"] > 0]["layer"].iloc[0]
    answers = [read["logits"].reshape(SAMPLES, 4, -1).argmax(-1) for read in (one, other)]
    moved = [number for number, transformation in enumerate(transformations) if transformation.degrees]
    assert pair["transformed_flips"] == pytest.approx((answers[0] != answers[1])[:, moved].mean())
    curve = found.curves.query("model == 'static_int8' and first == 'xnnpack' and second == 'reference'")
    np.testing.assert_allclose(curve["flips"], (answers[0] != answers[1]).mean(axis=0))
    assert (curve["flips_low"] <= curve["flips"]).all() and (curve["flips"] <= curve["flips_high"]).all()
    accuracy = found.answers.query("model == 'static_int8' and kernels == 'reference'")["accuracy"].item()
    upright = next(number for number, transformation in enumerate(transformations) if not transformation.degrees)
    assert accuracy == pytest.approx((answers[1][:, upright] == images.y).mean())


def test_every_file_and_kernel_set_has_its_rows(compared):
    found = compared.kernels
    sets = ["xnnpack", "builtin", "reference"]
    assert found.answers[["model", "kernels"]].to_numpy().tolist() == [
        [name, kernels] for name in compared.names for kernels in sets
    ]
    assert found.answers["flips"].isna().tolist() == [True] * 3 + [False] * 3, "the first file is the reference"
    assert len(found.pairs) == 6 and found.samples == SAMPLES and found.refused == {}
    floats = found.layers[found.layers["model"] == "float32"]
    assert floats["max_lsb"].isna().all() and 0 < floats["relative_error"].max() < 1e-4
    profiles = found.profiles[found.profiles["model"] == "static_int8"]
    assert profiles["kernels"].unique().tolist() == sets
    first = profiles[profiles["kernels"] == "xnnpack"]
    assert (first["difference"] == 0).all() and not first["real"].any()
    other = profiles[profiles["kernels"] == "reference"]
    assert other["difference"].abs().max() > 0
    np.testing.assert_allclose(other["mean"].to_numpy() - first["mean"].to_numpy(), other["difference"], atol=1e-12)


def test_verdict_report_and_file_name_the_kernels(compared, tmp_path):
    text = " ".join(compared.verdict)
    assert "All numbers are of the kernel set xnnpack (what LiteRT runs unless told otherwise" in text
    assert "static_int8: the number of a phone is that of xnnpack (accuracy" in text
    assert "that of reference (accuracy" in text and "which stands in for TensorFlow Lite for Microcontrollers" in text
    page = compared.report(tmp_path).read_text()
    assert "kernels: xnnpack" in page and "By kernel set" in page and "largest difference" in page.lower()
    assert set(pd.read_csv(tmp_path / "kernel_layers.csv")["second"]) == {"builtin", "reference"}
    compared.save(tmp_path / "it.npz")
    again = Comparison.load(tmp_path / "it.npz")
    assert again.kernels.verdict == compared.kernels.verdict and again.metadata["kernels"] == KERNELS.split(",")
    for name in ("answers", "pairs", "curves", "layers", "profiles"):
        pd.testing.assert_frame_equal(getattr(again.kernels, name), getattr(compared.kernels, name), check_dtype=False)


def test_gate_knows_kernels_and_fails_closed(compared):
    pair = compared.kernels.pairs[compared.kernels.pairs["model"] == "static_int8"]
    most, flips = pair["max_lsb"].max(), pair["transformed_flips"].max()
    assert not check([f"kernel_max_lsb>{most}", f"kernel_flip_rate>{flips}"], compared).failed
    gate = check([f"kernel_max_lsb>={most}"], compared)
    assert gate.failed and f"kernel_max_lsb is {most:.4g}" in gate.reason
    alone = SimpleNamespace(**{**compared.__dict__, "kernels": None})
    assert "kernel_flip_rate is not known" in check(["kernel_flip_rate>50%"], alone).reason  # type: ignore[arg-type]
    refused = SimpleNamespace(refused={"static_int8: tflm": "no"}, pairs=compared.kernels.pairs)
    one_refused = SimpleNamespace(**{**compared.__dict__, "kernels": refused})
    assert "kernel_max_lsb is not known" in check(["kernel_max_lsb>999"], one_refused).reason  # type: ignore[arg-type]


def test_one_file_needs_no_labels_and_no_measures(files, data):
    found = compare_kernels(
        files[1], data.x[:6], "rotations(2)", kernels="reference,builtin", samples=4, progress=False
    )
    assert found.kernels == ("reference", "builtin") and found.samples == 4 and found.profiles.empty
    assert found.answers["accuracy"].isna().all() and np.isfinite(found.pairs["flips"]).all()
    kernel_report.add_section(Report("one").verdict("it"), found)
    with pytest.raises(ValueError, match="samples must be a whole number of at least 2"):
        compare_kernels(files[1], data, samples=1)


def test_layers_are_compared_in_groups_that_fit_and_what_does_not_fit_is_refused_before_it_runs(files, data):
    options = {"kernels": "reference,builtin", "samples": 6, "progress": False}
    whole = compare_kernels(files[1], data.x, "rotations(3)", **options)
    transformations, warping, model = parse("rotations(3)"), Warping(), TFLiteModel(files[1])
    runs = {name: model.with_kernels(name) for name in ("reference", "builtin")}
    few, shown = Split(data.x[:6]), 6 * 3  # the untransformed image is one of the three
    sizes = {name: 2 * 4 * shown * int(np.prod(shape)) for name, shape in model.layer_shapes.items()}
    image = 2 * 4 * shown * int(np.prod(model.input_shape))
    budget = image + 3 * max(sizes.values())  # one layer under two kernel sets, and twice that to compare them
    grouped = KernelRun("it", runs, few, transformations, warping, budget)
    assert len(grouped.groups) > 1 and sorted(sum(grouped.groups, ())) == sorted(sizes)
    seen = grouped.show(progress=False)
    alone = KernelRun("it", runs, few, transformations, warping, None)
    assert len(alone.groups) == 1
    together = alone.show(progress=False)
    pair = ("reference", "builtin")
    assert seen.recorders[pair].rows() == together.recorders[pair].rows()
    np.testing.assert_array_equal(seen.predictions["builtin"].transformed, together.predictions["builtin"].transformed)
    found = compare_kernels(files[1], data.x, "rotations(3)", memory_budget=budget, **options)
    pd.testing.assert_frame_equal(found.layers, whole.layers)
    worst = max(sizes, key=sizes.get)
    for least, layer in ((budget - 1, worst), ("1 KiB", worst)):
        with pytest.raises(ValueError, match=rf"memory_budget must be at least .* for layer '{layer}' alone"):
            compare_kernels(files[1], data.x, "rotations(3)", memory_budget=least, **options)
    with pytest.raises(ValueError, match="memory_budget must be at least"):
        compare_files(*files, data, "rotations(3)", subsets=Subsets(kernels=KERNELS, memory_budget="2 KiB"))


def test_slow_kernels_alone_use_fewer_images_and_say_so(files, data):
    found = compare_files(
        *files, data, "rotations(2)", measures="NormalizedVariance",
        subsets=Subsets(measured_samples=10, fidelity_samples=2, kernels="reference", kernel_samples=8), progress=False,
    )  # fmt: skip
    assert found.metadata["samples"] == 8 and found.kernels is None
    assert "The kernel set reference is slow, so 8 images were used." in found.verdict
    assert "reference kernels" in found.models["delegate"].tolist()


def test_a_refused_file_is_told_and_the_rest_goes_on(files, data, monkeypatch):
    words = "TFLM refuses this model: Hybrid models are not supported"

    def refuse(model, kernels):
        if kernels == "builtin":
            raise ValueError(words)
        return original(model, kernels)

    original = TFLiteModel.with_kernels
    monkeypatch.setattr(TFLiteModel, "with_kernels", refuse)
    found = compare_kernels(files[1], data, "rotations(2)", kernels=KERNELS, samples=4, progress=False)
    assert found.refused == {"static_int8: builtin": words} and len(found.pairs) == 1
    assert any(words in sentence for sentence in found.verdict)
    alone = compare_kernels(files[1], data, "rotations(2)", kernels="xnnpack,builtin", samples=4, progress=False)
    assert alone.pairs.empty and alone.answers["kernels"].tolist() == ["xnnpack"]
    kernel_report.add_section(Report("one").verdict("it"), alone)
    with pytest.raises(ValueError, match=r"no kernel set runs static_int8: TFLM refuses"):
        compare_kernels(files[1], data, "rotations(2)", kernels="builtin", samples=4, progress=False)


def test_words_for_equal_kernels_and_missing_devices():
    answers = pd.DataFrame({"model": ["it"], "kernels": ["xnnpack"]})
    assert device_sentence("it", answers).endswith("is that of xnnpack. No kernel set of a microcontroller was run.")
    micro = device_sentence("it", pd.DataFrame({"model": ["it"], "kernels": ["tflm"]}))
    assert micro == "it: the number of a microcontroller is that of tflm. No kernel set of a phone was run."
    pair = {"model": "it", "first": "reference", "second": "tflm", "part_at": "", "max_lsb": 0.0}
    said = kernel_sentences(answers, pd.DataFrame([pair]), 7, {})
    assert said[0] == "it: reference and tflm compute the same numbers in every layer, for all 7 images."


def test_command_compares_kernels_and_gates_on_them(files, data, tmp_path, capsys):
    for conversion, name in zip(files, ("float", "int8"), strict=True):
        conversion.save(tmp_path / f"{name}.tflite")
    np.savez(tmp_path / "data.npz", x=data.x[:20], y=data.y[:20])
    command = [
        "compare", "--before", str(tmp_path / "float.tflite"), "--after", str(tmp_path / "int8.tflite"),
        "--data", str(tmp_path / "data.npz"), "--transformations", "rotations(2)", "--out", str(tmp_path / "out"),
        "--measures", "NormalizedVariance", "--quiet",
    ]  # fmt: skip
    assert run.main([*command, "--kernels", "xnnpack,refrence"]) == 2
    assert "kernels must be among" in capsys.readouterr().err
    assert run.main([*command, "--fail-if", "kernel_flip_rate>1%"]) == 2
    assert "--fail-if kernel_flip_rate>1% needs --kernels with two sets" in capsys.readouterr().err
    assert run.main([*command, "--kernel-samples", "5"]) == 2
    assert "there are no kernel sets to compare" in capsys.readouterr().err
    several = ["--kernels", "xnnpack,reference", "--kernel-samples", "10"]
    assert run.main([*command, *several, "--fail-if", "kernel_max_lsb>=0"]) == 3
    assert "kernel_max_lsb is" in capsys.readouterr().err
    assert (tmp_path / "out" / "kernel_pairs.csv").is_file()


def test_measure_compares_kernels_of_one_file(files, data, tmp_path, capsys):
    files[1].save(tmp_path / "int8.tflite")
    np.savez(tmp_path / "data.npz", x=data.x[:20], y=data.y[:20])
    command = [
        "measure", "--model", str(tmp_path / "int8.tflite"), "--data", str(tmp_path / "data.npz"), "--quiet",
        "--transformations", "rotations(2)", "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    assert run.main([*command, "--kernels", "reference,builtin", "--kernel-samples", "8"]) == 0
    said = capsys.readouterr().out
    assert "the kernel set reference is slow: layers are measured on at most 8 images" in said
    assert "int8: the number of a phone is that of builtin" in said
    pairs = pd.read_csv(tmp_path / "out" / "kernel_pairs.csv")
    assert pairs[["first", "second"]].to_numpy().tolist() == [["reference", "builtin"]]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "kernels: reference" in page and "By kernel set" in page
    trained(residual_network).save(tmp_path / "model.keras")
    keras_command = [*command[:2], str(tmp_path / "model.keras"), *command[3:]]
    assert run.main([*keras_command, "--kernels", "builtin"]) == 2
    assert "--kernels has no effect here: no model is a .tflite file" in capsys.readouterr().err


def test_study_compares_kernels_of_every_recipe(data, tmp_path):
    network = trained(residual_network)
    with pytest.raises(ValueError, match="kernels of a study must begin with xnnpack"):
        study(network, data, data, "rotations(2)", ["float16"], subsets=Subsets(kernels="reference,xnnpack"))
    result = study(
        network, data, data, "rotations(2)", ["static_int8"], measures="NormalizedVariance", progress=False,
        subsets=Subsets(
            measured_samples=10, fidelity_samples=2, kernels="xnnpack,reference", kernel_samples=6
        ),
    )  # fmt: skip
    assert result.kernels.pairs["model"].tolist() == ["float32", "static_int8"]
    assert result.kernels.samples == 6 and result.metadata["kernels"] == ["xnnpack", "reference"]
    result.save(tmp_path / "study.npz")
    again = StudyResult.load(tmp_path / "study.npz")
    assert again.kernels.facts() == result.kernels.facts()
    assert "By kernel set" in result.report(tmp_path).read_text()
    assert (tmp_path / "kernel_layers.csv").is_file()
