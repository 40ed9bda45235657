"""Real files from elsewhere: MLPerf Tiny's ResNet-8 as float and int8, Coral's uint8 MobileNet; need TFINV_DATA."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image
from references import layer_number, normalized_variance, sparse_units

from tfinv import Sampling, datasets, models, run
from tfinv.datasets import Split
from tfinv.results import Results
from tfinv.tflite import RECIPES, Quantizing, StudyResult, Subsets, TFLiteModel, compare_files, static_int8, study
from tfinv.tflite.comparison.gate import check
from tfinv.tflite.comparison.predictions import are_probabilities
from tfinv.transformations import parse, warp


@pytest.fixture(scope="module")
def cifar10(data_folder):
    return datasets.load("cifar10").test


@pytest.fixture(scope="module")
def resnet(data_folder):
    folder = data_folder / "models" / "ic_resnet8"
    return [TFLiteModel(folder / f"{name}.tflite", input_scale="0..255") for name in ("float", "int8")]


@pytest.mark.slow
def test_resnet_has_its_published_accuracies(resnet, cifar10):
    answers = [np.concatenate([m.predict(x).argmax(1) for x in np.array_split(cifar10.x, 20)]) for m in resnet]
    accuracy = [100 * float((answer == cifar10.y).mean()) for answer in answers]
    assert_allclose(accuracy, [75.48, 75.42], atol=0.3)
    assert_allclose(100 * float((answers[0] == answers[1]).mean()), 94.8, atol=0.5)


@pytest.mark.slow
def test_our_own_int8_of_resnet_is_as_good_as_float(data_folder, cifar10, resnet):
    model = models.load(data_folder / "models" / "ic_resnet8" / "model.h5")
    conversion = static_int8(model, 255 * cifar10.x[-200:])
    some = slice(0, 4000)
    files = TFLiteModel(conversion, input_scale="0..255"), resnet[0]
    ours, published = (file.predict(cifar10.x[some]).argmax(1) == cifar10.y[some] for file in files)
    difference = float(ours.mean() - published.mean())
    assert abs(difference) <= 0.01
    assert conversion.is_integer and conversion.size < 0.5 * 318144


@pytest.fixture(scope="module")
def compared(resnet, cifar10, tmp_path_factory):
    comparison = compare_files(
        *resnet, cifar10, "rotations(8)", measures="NormalizedVariance", subsets=Subsets(300, 80, 16),
        progress=False,
    )  # fmt: skip
    return comparison, comparison.report(tmp_path_factory.mktemp("resnet"))


def test_resnet_files_are_compared_layer_by_layer(compared):
    comparison, report = compared
    assert (
        len(comparison.match.pairs) == 16
        and comparison.match.unmatched_before == comparison.match.unmatched_after == ()
    )
    assert comparison.warnings == () and min(comparison.match.correlations.values()) > 0.95
    assert comparison.layers["relative"].abs().max() < 0.03, "int8 hardly moves normalized variance"
    assert comparison.fidelity["sqnr_db"].between(10, 45).all()
    row = comparison.models.iloc[1]
    assert row["transformed_flips"] > row["flips"] > 0.01 and row["transformed_accuracy"] < row["accuracy"] - 0.2
    assert row["float_operators"] == 0 and comparison.models["float_operators"][0] == 16
    assert not check(["max_profile_increase>0.1", "accuracy_drop>0.03", "size_ratio>0.4"], comparison).failed
    assert report.stat().st_size > 100_000 and comparison.verdict[0] in _unescaped(report.read_text())


def _unescaped(page: str) -> str:
    """The text of a page without its marks, emphasis as `**`, code as backticks."""
    import html

    for mark, text in (("<strong>", "**"), ("</strong>", "**"), ("<code>", "`"), ("</code>", "`")):
        page = page.replace(mark, text)
    return html.unescape(page)


@pytest.mark.slow
def test_a_wrong_scale_of_resnet_is_pointed_out(data_folder, cifar10):
    folder = data_folder / "models" / "ic_resnet8"
    files = [folder / "float.tflite"] * 2
    comparison = compare_files(
        *files, cifar10, "rotations(2)", input_scale="0..1", measures="NormalizedVariance", names=("a", "b"),
        subsets=Subsets(200, 40, 8), progress=False,
    )  # fmt: skip
    assert any(
        "input scale 0..1 looks wrong" in warning and "with 0..255" in warning for warning in comparison.warnings
    )
    assert check([], comparison).failed and comparison.models["accuracy"].max() < 0.2


# --- MLPerf Tiny's MobileNet for visual wake words: depthwise, and a layer class that nobody has here -----------------


@pytest.fixture(scope="module")
def wake_words(data_folder):
    return data_folder / "models" / "vww_mobilenet_v1"


@pytest.fixture(scope="module")
def wake_word_model(wake_words):
    return models.load(wake_words / "model.keras", stand_ins={"DW": "DepthwiseConv2D"})


@pytest.fixture(scope="module")
def handshapes(data_folder):
    """No image of persons is at hand, so handshapes of two kinds stand in."""
    images = datasets.adapt(datasets.load("lsa16").test.subset(24, 0), (96, 96, 3))
    return Split(images.x, np.asarray(images.y) % 2)


def test_unknown_class_of_the_wake_word_file_is_read_as_a_layer_of_keras(wake_words, wake_word_model, handshapes):
    with pytest.raises(ValueError, match=r"unknown class 'DW'.*--layer-class DW=DepthwiseConv2D"):
        models.load(wake_words / "model.keras")
    with pytest.raises(ValueError, match=r"stand_ins must name layers .* Received: 'Convolution' for 'DW'"):
        models.load(wake_words / "model.keras", stand_ins={"DW": "Convolution"})
    assert {type(layer).__name__ for layer in wake_word_model.layers} > {"DepthwiseConv2D"} and not any(
        type(layer).__name__ == "DW" for layer in wake_word_model.layers
    )
    published = TFLiteModel(wake_words / "float.tflite").predict(handshapes.x)
    assert_allclose(wake_word_model.predict(handshapes.x, verbose=0), published, atol=1e-6)


def check_recipes(result: StudyResult, names: list[str]) -> None:
    assert not result.failed and result.recipes["recipe"].tolist() == names
    rows = result.recipes.set_index("recipe")
    assert rows["layers_compared"].iloc[1:].min() >= 30
    for name in names:
        assert rows.loc[name, "is_integer"] == RECIPES[name].integer, name
    assert not any("without a partner" in line for line in result.warnings)


QUICK = ["float32", "static_int8", "static_int8_per_tensor_equalized", "weight_int4", "qat_int8"]


@pytest.mark.slow
def test_recipes_of_each_kind_on_visual_wake_words(wake_word_model, handshapes):
    few = handshapes.subset(12, 0)
    options = {
        "measures": "NormalizedVariance",
        "quantizing": Quantizing(8),
        "sampling": Sampling(0.95, 2),
        "subsets": Subsets(fidelity_samples=4),
    }
    result = study(wake_word_model, few, few, "rotations(2)", QUICK, progress=False, **options)
    check_recipes(result, QUICK)


@pytest.mark.long
def test_every_recipe_on_visual_wake_words(wake_word_model, handshapes):
    options = {"measures": "NormalizedVariance", "quantizing": Quantizing(16)}
    result = study(wake_word_model, handshapes, handshapes, "rotations(4)", progress=False, **options)
    check_recipes(result, list(RECIPES))


# --- Coral's MobileNet: uint8 in, uint8 out, no float twin -----------------------------------------------------------


@pytest.fixture(scope="module")
def coral(data_folder):
    return data_folder / "models" / "coral"


@pytest.fixture(scope="module")
def mobilenet(coral):
    return TFLiteModel(coral / "mobilenet_v1_0.25_128_quant.tflite", input_scale="-1..1")


@pytest.fixture(scope="module")
def photographs(coral):
    """The middle 87.5 % of each photograph, as ImageNet is evaluated."""
    pictures = {}
    for name in ("cat.bmp", "hot_dog.jpg", "parrot.jpg"):
        photograph = Image.open(coral / name).convert("RGB")
        side = int(0.875 * min(photograph.size))
        left, top = ((size - side) // 2 for size in photograph.size)
        pixels = np.asarray(photograph.crop((left, top, left + side, top + side)), np.float32) / 255
        pictures[name] = datasets.adapt(pixels[None], (128, 128, 3))[0]
    return pictures


@pytest.mark.parametrize(
    ("name", "label"), [("cat.bmp", "Egyptian cat"), ("hot_dog.jpg", "hotdog"), ("parrot.jpg", "macaw")]
)
def test_mobilenet_recognises_the_photographs(mobilenet, photographs, coral, name, label):
    labels = (coral / "imagenet_labels.txt").read_text().splitlines()
    scores = mobilenet.predict(photographs[name][None])[0]
    best = [labels[i].split(",")[0] for i in np.argsort(-scores)[:5]]
    assert label in best and are_probabilities(scores[None]), "8 bits round most of 1001 classes to zero"


def test_mobilenet_is_measured_and_profiled_alone(coral, mobilenet, tmp_path, capsys):
    command = ["measure", "--model", str(coral / "mobilenet_v1_0.25_128_quant.tflite"), "--data", str(coral)]
    options = ["--input-scale", "-1..1", "--transformations", "rotations(4)", "--out", str(tmp_path), "--quiet"]
    assert run.main([*command, *options]) == 0
    capsys.readouterr()
    results = Results.load(tmp_path / "results.npz")
    measured = results["NormalizedVariance"]
    assert list(measured) == list(mobilenet.layer_shapes) and len(measured) == 31
    assert results.metadata["samples"] == 3 and (tmp_path / "report.html").stat().st_size > 50_000
    images = datasets.load(str(coral), size=(128, 128), channels=3)
    both = np.concatenate([images.train.x, images.test.x])
    turned = np.asarray(warp(both, parse("rotations(4)"))).reshape(-1, 128, 128, 3)
    for layer in ("Logits/AvgPool_1a", "MobilenetV1/Conv2d_13_pointwise"):
        block = mobilenet(turned)[layer].astype(np.float64).reshape(3, 4, *mobilenet.layer_shapes[layer])
        trusted = normalized_variance(block)[~sparse_units(block)]
        assert_allclose(measured[layer].mean, layer_number(trusted), rtol=1e-4)
