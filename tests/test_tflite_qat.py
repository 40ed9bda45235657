"""Quantization-aware training on the Keras 3 model: what is trained, and that the file computes the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from qat_models import FUSED, MATCHED, conv, small, sqnr, trained_rich_model

from tfinv import datasets
from tfinv.activations import ActivationModel
from tfinv.tflite import Conversion, QatConversion, QatReport, TFLiteModel, agreement, float32, qat_int8
from tfinv.tflite.qat.keras_route.model import fake_quantized, set_ranges
from tfinv.tflite.qat.plan import make_plan
from tfinv.training.accuracy import accuracy
from tfinv.transformations import AffineAugmentation

layers = keras.layers


@pytest.fixture(scope="module")
def digits() -> datasets.Dataset:
    return datasets.load("digits")


@pytest.fixture(scope="module")
def plain() -> Any:
    """The rich model, trained in floating point."""
    return trained_rich_model()


def state(model: Any) -> tuple[list[Any], list[int], Any]:
    """What training on a copy must leave alone: weights, calls of layers, the optimizer."""
    weights = [weight.copy() for weight in model.get_weights()]
    return weights, [len(layer._inbound_nodes) for layer in model.layers], model.optimizer


@pytest.fixture(scope="module")
def training(plain: Any, digits: datasets.Dataset) -> tuple[Any, QatConversion, Any]:
    """What was made of the float model, and its state right before and right after."""
    before = state(plain)
    return before, qat_int8(plain, digits.train, 2, progress=False), state(plain)


@pytest.fixture(scope="module")
def result(training: tuple[Any, QatConversion, Any]) -> QatConversion:
    return training[1]


def test_the_file_computes_with_integers_only(result: QatConversion) -> None:
    real = [operator for operator in result.graph.operators if operator.name not in ("QUANTIZE", "DEQUANTIZE")]
    assert {result.graph.tensors[operator.outputs[0]].dtype for operator in real} == {"int8"}
    assert result.is_integer
    assert result.report is not None
    assert result.report.float_fallback == () and result.report.calibrated == ()


def test_the_graph_is_that_of_post_training_quantization(result: QatConversion, plain: Any) -> None:
    def operators(conversion: Conversion) -> list[str]:
        return sorted(
            operator.name for operator in conversion.graph.operators if not operator.name.endswith("QUANTIZE")
        )

    assert operators(result) == operators(float32(plain))


def test_accuracy_stays(result: QatConversion, plain: Any, digits: datasets.Dataset) -> None:
    before, after = accuracy(plain, digits.test), accuracy(TFLiteModel(result).predict, digits.test)
    assert before > 0.9
    assert after > before - 0.02


def test_file_and_trained_model_agree_on_unseen_images(result: QatConversion, digits: datasets.Dataset) -> None:
    file, model = TFLiteModel(result).predict(digits.test.x), result.model.predict(digits.test.x, verbose=0)
    classes = float(np.mean(file.argmax(axis=1) == model.argmax(axis=1)))
    agreed = agreement(result.activations, result, digits.test.x)
    assert agreed.classes == classes >= 0.98
    assert agreed.sqnr["head/logits"] == pytest.approx(sqnr(model, file), abs=1e-3)
    assert agreed.sqnr["head/logits"] > 25
    assert min(agreed.sqnr.values()) > 20 and agreed.images == len(digits.test)


def test_the_agreement_by_layer_is_computed_not_assumed(result: QatConversion, digits: datasets.Dataset) -> None:
    images = digits.test.x[:70]

    def disturbed(batch: Any) -> dict[str, Any]:
        return {name: value * (1.1 if name == "relu_c" else 1.0) for name, value in result.activations(batch).items()}

    agreed = agreement(disturbed, result, images)
    expected = sqnr(disturbed(images)["relu_c"], TFLiteModel(result)(images)["relu_c"])
    assert agreed.sqnr["relu_c"] == pytest.approx(expected, abs=1e-3)
    assert agreed.sqnr["relu_c"] < 21 < agreed.sqnr["conv_c"]


def test_every_layer_is_matched_or_explained(result: QatConversion) -> None:
    assert result.layers is not None
    assert list(result.layers.matched) == MATCHED
    assert dict(result.layers.fused_into) == FUSED
    assert dict(result.layers.same_as) == {"drop": "pool_b"}
    assert result.layers.unmatched_layers == () and result.layers.unmatched_tensors == ()
    report = result.report
    assert report is not None and set(report.agreement.sqnr) == set(result.layers.matched)


def test_ranges_come_from_data_before_the_first_step(result: QatConversion, plain: Any, digits: Any) -> None:
    report = result.report
    assert report is not None
    assert report.accuracy["float"] > 0.9
    assert abs(report.accuracy["before"] - report.accuracy["float"]) < 0.02
    copy = fake_quantized(plain)
    images = digits.train.x[:300]
    set_ranges(copy.model, [images[:100], images[100:]])
    float_activations = ActivationModel(plain, ["relu_a", "relu_c", "norm_alone"])(images)
    for layer, step in (("relu_a", "relu_a_fq"), ("relu_c", "relu_c_fq")):
        low, high = (float(end) for end in copy.model.get_layer(step).range())
        assert low == 0
        assert high == pytest.approx(float(np.max(float_activations[layer])), rel=0.02)


def test_training_trains(result: QatConversion) -> None:
    assert result.report is not None
    loss = result.report.history["loss"]
    assert len(loss) == len(result.report.history["accuracy"]) == 2
    assert loss[1] < loss[0]
    assert result.report.accuracy["after"] >= result.report.accuracy["before"]


def test_tensors_of_one_scale_share_it(result: QatConversion) -> None:
    scale = {name: float(tensor.scales[0]) for name, tensor in TFLiteModel(result).layer_tensors.items()}
    assert scale["pool_a"] == scale["relu_a"]
    assert scale["norm_alone"] == scale["conv_elu"] == scale["concat"] == scale["pool_b"]
    assert len({scale[name] for name in ("relu_a", "relu_b", "relu_c", "concat", "pool_all", "head/logits")}) == 6


def test_kernels_have_one_scale_a_channel_and_dense_layers_one(result: QatConversion) -> None:
    graph = result.graph
    sizes = {
        operator.name: graph.tensors[operator.inputs[1]].scales.size
        for operator in graph.operators
        if len(operator.inputs) == 3
    }
    assert sizes == {"CONV_2D": 16, "DEPTHWISE_CONV_2D": 16, "FULLY_CONNECTED": 1}


def test_the_users_model_is_left_alone(training: tuple[Any, QatConversion, Any], plain: Any) -> None:
    before, result, after = training
    assert result.model is not plain
    for old, new in zip(before[0], after[0], strict=True):
        assert_array_equal(old, new)
    assert after[1] == before[1] and after[2] is before[2]


def test_equal_seeds_give_equal_files(digits: datasets.Dataset) -> None:
    few = digits.train.subset(128, seed=0)
    augmentation = AffineAugmentation("rotations(8)", seed=3)
    augmentation(few.x[:1], training=True)
    drawn = [keras.ops.convert_to_numpy(variable) for variable in augmentation.variables]
    model = small(lambda x: layers.Dropout(0.3, name="drop")(conv("relu_conv", activation="relu")(x)))

    def content(seed: int) -> bytes:
        return qat_int8(model, few, 1, seed=seed, augmentation=augmentation, learning_rate=1e-3, progress=False).content

    first = content(1)
    assert content(1) == first
    assert content(2) != first
    assert drawn, "the augmentation has no state that could change"
    for old, new in zip(drawn, augmentation.variables, strict=True):  # the user's own is left alone
        assert_array_equal(old, keras.ops.convert_to_numpy(new))


def test_save_and_load_keep_the_report(result: QatConversion, tmp_path: Path) -> None:
    loaded = Conversion.load(result.save(tmp_path / "qat.tflite"))
    assert loaded.content == result.content
    assert loaded.options["route"] == "keras" and loaded.options["epochs"] == 2
    assert QatReport.from_json(loaded.options["report"]) == result.report
    assert loaded.layers is not None and result.layers is not None
    assert dict(loaded.layers.matched) == dict(result.layers.matched)
    with pytest.raises(ValueError, match="fields"):
        QatReport.from_json({"route": "keras"})


def test_the_report_reads_well(result: QatConversion) -> None:
    assert result.report is not None
    text = result.report.describe()
    assert "2 epochs by route 'keras'" in text and "same class on" in text and "accuracy: float 0.9" in text
    frame = result.report.to_frame()
    assert list(frame.columns) == ["layer", "sqnr"] and frame["layer"].iloc[-1] == "head/logits"


OPTIONS: dict[str, Any] = {
    "epochs": 1, "learning_rate": 1e-4, "batch_size": 32, "io": "int8", "seed": 0, "weight_bits": 8, "progress": False,
}  # fmt: skip


def test_ranges_come_from_upright_and_augmented_images(digits: datasets.Dataset) -> None:
    few, model = digits.train.subset(64, seed=0), small(conv("a"))

    def ranges(**options: Any) -> tuple[int, float]:
        plan = make_plan(model, few, options.pop("calibration", None), **options, **OPTIONS)
        fake = fake_quantized(model)
        set_ranges(fake.model, plan.range_batches)
        return len(plan.ranges), float(fake.model.get_layer("image_fq").range()[1])

    assert ranges(augmentation=None) == (64, 1.0)
    assert ranges(augmentation=lambda images: images * 2) == (128, 2.0)
    assert ranges(augmentation=lambda images: images * 2, calibration=few.x[:30] * 3) == (30, 3.0)
    large = make_plan(model, digits.train, None, None, **OPTIONS)
    assert len(large.calibration) == 512
    assert_array_equal(np.unique(large.labels), np.arange(10))


def test_ranges_follow_the_batches(digits: datasets.Dataset) -> None:
    few = digits.train.subset(64, seed=0)
    made = qat_int8(small(conv("a")), few, 1, calibration=few.x * 3, batch_size=32, progress=False)
    high = made.graph.tensors[made.graph.operators[0].outputs[0]].scales[0] * 255
    assert high == pytest.approx(3 * 0.99**2 + 1 * (1 - 0.99**2), rel=1e-3)  # two steps of a moving average
    assert made.report is not None and made.report.accuracy == {}  # calibration images came without labels


def test_a_softmax_is_trained_by_its_logits(digits: datasets.Dataset) -> None:
    def end(x: Any) -> Any:
        return layers.Dense(10, activation="softmax", name="classes")(layers.Flatten(name="flat")(x))

    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 1))
    model = keras.Model(inputs, end(inputs))
    trained = qat_int8(model, digits.train, 4, learning_rate=1e-2, progress=False)
    assert trained.report is not None and trained.report.accuracy["after"] > 0.9
    assert trained.operators["SOFTMAX"] == 1 and trained.is_integer
    # Quantized probabilities would put the loss of a wrong sure class at infinity; that of logits is ordinary.
    assert 0 < trained.report.history["loss"][-1] < 1
    assert trained.report.agreement.classes >= 0.98


def test_four_bit_kernels_take_fifteen_values(digits: datasets.Dataset) -> None:
    few = digits.train.subset(64, seed=0)
    made = qat_int8(small(conv("a", 4)), few, 1, weight_bits=4, progress=False)
    kernels = [t for t in made.graph.weights().values() if len(t.shape) == 4]
    values = made.graph.constant(kernels[0].index)
    for channel, scale in zip(values, kernels[0].scales, strict=True):
        steps = np.round(channel / scale)
        assert_allclose(channel, steps * scale, atol=1e-7)
        assert np.abs(steps).max() == 7
    assert made.report is not None and made.report.agreement.sqnr["logits"] > 25


def test_a_dataset_is_read_into_memory(digits: datasets.Dataset) -> None:
    few, model = digits.train.subset(64, seed=0), small(conv("a"))
    for data in (few.as_dataset(16), few.as_dataset(10), few.as_dataset(1).unbatch(), (few.x, few.y)):
        plan = make_plan(model, data, None, None, **OPTIONS)
        assert_array_equal(plan.data.x, few.x)
        assert_array_equal(plan.data.y, few.y)
    with pytest.raises(ValueError, match="finite"):
        make_plan(model, few.as_dataset(16, repeat=True), None, None, **OPTIONS)
    with pytest.raises(TypeError, match="pairs"):
        make_plan(model, few.as_dataset(16, labels=False), None, None, **OPTIONS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"route": "torch"}, "route must be one of"),
        ({"epochs": 0}, "epochs must be"),
        ({"epochs": True}, "epochs must be"),
        ({"learning_rate": -1.0}, "learning_rate must be"),
        ({"learning_rate": float("nan")}, "learning_rate must be"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"io": "uint8"}, "io must be"),
        ({"seed": -1}, "seed must be"),
        ({"weight_bits": 3}, "weight_bits must be"),
        ({"route": "tfmot", "weight_bits": 4}, "weight_bits must be 8"),
        ({"calibration": np.zeros((0, 16, 16, 1), "float32")}, "calibration"),
        ({"calibration": np.zeros((5, 8, 8, 1), "float32")}, "calibration"),
        ({"data": (np.zeros((4, 16, 16, 1)), np.array([0, 1, 2, 10]))}, "below the model's 10 outputs"),
        ({"data": (np.zeros((4, 8, 8, 1)), np.arange(4))}, "input shape"),
        ({"augmentation": lambda x: x[:, :8]}, "augmentation must keep the shape"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str, digits: datasets.Dataset) -> None:
    options = {"data": digits.train.subset(20, seed=0), "epochs": 1, "progress": False} | arguments
    with pytest.raises(ValueError, match=message):
        qat_int8(small(conv("a")), **options)


def test_a_loss_that_is_lost_is_an_error(digits: datasets.Dataset) -> None:
    with pytest.raises(ValueError, match="learning_rate"):
        qat_int8(small(conv("a")), digits.train.subset(64, seed=0), 2, learning_rate=1e30, progress=False)
