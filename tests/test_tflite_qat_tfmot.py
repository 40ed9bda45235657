"""Quantization-aware training by tensorflow-model-optimization, in its own process."""

from __future__ import annotations

import ast
import importlib.util
import io
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from qat_models import FUSED, MATCHED, conv, small, sqnr, trained_rich_model, twice

from tfinv import datasets
from tfinv.tflite import QatConversion, TFLiteModel, qat_int8
from tfinv.training import train
from tfinv.training.accuracy import accuracy
from tfinv.transformations import AffineAugmentation

layers = keras.layers
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def digits() -> datasets.Dataset:
    return datasets.load("digits")


@pytest.fixture(scope="module")
def plain() -> Any:
    """The rich model, trained in floating point."""
    return trained_rich_model()


needs_tfmot = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow_model_optimization") is None, reason="the extra tfmot is not installed"
)


@pytest.fixture(scope="module")
def by_tfmot(plain: Any, digits: datasets.Dataset) -> QatConversion:
    return qat_int8(
        plain, digits.train, 2, route="tfmot", augmentation=AffineAugmentation(rotation=5.0), progress=False
    )


@needs_tfmot
@pytest.mark.slow
def test_tfmot_gives_an_integer_file_that_agrees(by_tfmot: QatConversion, plain: Any, digits: Any) -> None:
    report = by_tfmot.report
    assert report is not None and by_tfmot.is_integer and report.float_fallback == ()
    assert report.agreement.classes >= 0.98
    assert report.agreement.sqnr["head/logits"] > 25
    assert abs(report.accuracy["before"] - report.accuracy["float"]) < 0.02 and report.accuracy["float"] > 0.9
    assert accuracy(TFLiteModel(by_tfmot).predict, digits.test) > accuracy(plain, digits.test) - 0.02
    assert by_tfmot.options["route"] == "tfmot" and "AffineAugmentation" in by_tfmot.options["augmentation"]
    assert len(report.history["loss"]) == 2


@needs_tfmot
@pytest.mark.slow
def test_tfmot_matches_every_layer(by_tfmot: QatConversion) -> None:
    assert by_tfmot.report is not None and by_tfmot.layers is not None
    assert by_tfmot.report.calibrated == ()
    assert list(by_tfmot.layers.matched) == MATCHED and dict(by_tfmot.layers.fused_into) == FUSED
    assert by_tfmot.layers.unmatched_layers == () and by_tfmot.layers.unmatched_tensors == ()


@needs_tfmot
@pytest.mark.slow
def test_the_tuned_weights_come_back(by_tfmot: QatConversion, plain: Any, digits: datasets.Dataset) -> None:
    tuned = by_tfmot.model
    assert isinstance(tuned, keras.Model) and tuned is not plain
    assert [layer.name for layer in tuned.layers] == [layer.name for layer in plain.layers]
    changes = {
        weight.path: float(np.abs(keras.ops.convert_to_numpy(weight - old)).max())
        for weight, old in zip(tuned.weights, plain.weights, strict=True)
    }
    kernels = {path: change for path, change in changes.items() if "kernel" in path}
    assert len(kernels) == 6 and all(0 < change < 0.05 for change in kernels.values())
    assert {change for path, change in changes.items() if "moving" in path} == {0.0}
    images = digits.test.x
    assert sqnr(tuned.predict(images, verbose=0), TFLiteModel(by_tfmot).predict(images)) > 15
    assert sqnr(plain.predict(images, verbose=0), tuned.predict(images, verbose=0)) < 60


@needs_tfmot
@pytest.mark.slow
def test_a_refusal_of_the_process_is_one_readable_line(digits: datasets.Dataset) -> None:
    with pytest.raises(ValueError, match=r"'norm' \(BatchNormalization\)$") as error:
        qat_int8(small(twice), digits.train.subset(32, seed=0), 1, route="tfmot", progress=False)
    assert "\n" not in str(error.value) and "try route 'keras'" in str(error.value)


def test_layers_that_tfmot_cannot_take_are_named(digits: datasets.Dataset) -> None:
    few = digits.train.subset(20, seed=0)
    for body, name in (
        (lambda x: conv("a")(x) + 1.0, r"'add.*' \(Add\)"),
        (lambda x: layers.Lambda(lambda y: y, name="same")(x), r"'same' \(Lambda\)"),
        (conv("a", activation="hard_silu"), r"'a' \(Conv2D with activation 'hard_silu'\)"),
    ):
        with pytest.raises(ValueError, match=name):
            qat_int8(small(body), few, 1, route="tfmot", progress=False)


def test_without_the_extra_the_error_says_what_to_install(
    digits: datasets.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if "tf_keras" in name else real(name, *rest)
    )
    with pytest.raises(ModuleNotFoundError, match=r"tf_keras.*pip install 'tfinv\[tfmot\]'"):
        qat_int8(small(conv("a")), digits.train.subset(20, seed=0), 1, route="tfmot", progress=False)


@needs_tfmot
def test_a_copy_that_computes_something_else_is_refused() -> None:
    from tfinv.tflite.qat.tfmot_route.rebuild import check_equal

    images = np.linspace(0, 1, 12, dtype="float32").reshape(3, 4)

    def copy(batch: Any, training: bool) -> Any:
        return batch * 2

    check_equal(copy, images, images * 2 + 1e-6)
    with pytest.raises(ValueError, match="difference of"):
        check_equal(copy, images, images * 2 + 1e-4)
    with pytest.raises(ValueError, match="difference of"):
        check_equal(copy, images, np.full_like(images, np.nan))


def test_only_the_process_imports_the_other_keras() -> None:
    process = {ROOT / "tflite" / "qat" / "tfmot_route" / name for name in ("worker.py", "rebuild.py", "quantize.py")}
    paths = set((ROOT / "tflite").rglob("*.py"))
    assert process < paths
    for path in paths:
        names = {
            name.split(".")[0]
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
        }
        assert path in process or not names & {"tf_keras", "tensorflow_model_optimization"}, path


def test_batches_travel_whole(rng: np.random.Generator) -> None:
    from tfinv.tflite.qat.tfmot_route.stream import END, read_batches, write_batch

    arrays, labels = {"images": rng.random((3, 2, 2, 1), "float32"), "logits": np.eye(3)}, np.array([1, 2, 3])
    stream = io.BytesIO()
    write_batch(stream, arrays, labels)
    message = stream.getvalue()
    ((got, classes),) = read_batches(io.BytesIO(message + END))
    assert list(got) == ["images", "logits"]
    assert_array_equal(got["images"], arrays["images"])
    assert_array_equal(got["logits"], arrays["logits"])
    assert_array_equal(classes, labels)
    for broken in (message, message[:-3], b""):
        with pytest.raises(EOFError, match="ended early"):
            list(read_batches(io.BytesIO(broken)))


@pytest.mark.slow
@needs_tfmot
def test_mixed_precision_is_trained_in_float32() -> None:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = small(conv("a", activation="relu"))
    finally:
        keras.config.set_dtype_policy("float32")
    data = datasets.load("digits").train.subset(64, seed=0)
    file = qat_int8(model, data, 1, route="tfmot", progress=False)
    assert file.is_integer and file.report is not None and file.report.agreement.classes > 0.9


@pytest.mark.slow
@needs_tfmot
def test_one_sigmoid_unit_is_trained() -> None:
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 1))
    flat = layers.Flatten(name="flat")(layers.Conv2D(4, 3, activation="relu", name="conv")(image))
    model = keras.Model(image, layers.Dense(1, "sigmoid", name="answer")(flat))
    digits = datasets.load("digits").train.take(np.arange(400))
    assert digits.y is not None
    few = datasets.Split(digits.x, (digits.y < 5).astype(np.int64))
    fitted = train(model, few, epochs=30, learning_rate=3e-3, progress=False)
    assert fitted.accuracy > 0.85
    file = qat_int8(model, few, 1, route="tfmot", progress=False)
    assert file.report is not None and file.report.accuracy["after"] > 0.85
    assert file.report.history["loss"][0] < 0.4
    answers = TFLiteModel(file).predict(few.x)[:, 0]
    assert ((answers > 0.5) == few.y).mean() > 0.85


def test_open_image_sizes_are_refused_before_a_process_starts() -> None:
    image = keras.Input((None, None, 1))
    model = keras.Model(image, layers.Dense(10)(layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(image))))
    few = datasets.load("digits").train.take(np.arange(8))
    with pytest.raises(ValueError, match=r"images of one size for route 'tfmot'.*\(None, None, 1\)"):
        qat_int8(model, few, 1, route="tfmot", progress=False)
