"""Quantization-aware training with a loss for invariance, by both routes."""

from __future__ import annotations

import importlib.util
from typing import Any

import keras
import numpy as np
import pytest

from tfinv import datasets
from tfinv.tflite import QatConversion, TFLiteModel, qat_int8
from tfinv.training import Distillation, InvarianceLoss
from tfinv.transformations import AffineAugmentation

SET = "rotations(8)"
needs_tfmot = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow_model_optimization") is None, reason="the extra tfmot is not installed"
)


def network() -> Any:
    """A convolution with a ReLU behind it, pooling and two dense layers."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 1), name="image")
    x = keras.layers.ReLU(name="relu")(keras.layers.Conv2D(6, 3, strides=2, name="conv")(inputs))
    x = keras.layers.Dense(16, activation="relu", name="hidden")(keras.layers.Flatten(name="flat")(x))
    return keras.Model(inputs, keras.layers.Dense(10, name="logits")(x), name="small")


@pytest.fixture(scope="module")
def data() -> Any:
    return datasets.load("digits").train.subset(200, seed=0)


def tuned(data: Any, invariance: InvarianceLoss | None, **options: Any) -> QatConversion:
    augmentation = AffineAugmentation(rotation=10)
    options = {"augmentation": augmentation, "learning_rate": 3e-3, "progress": False, **options}
    return qat_int8(network(), data, 3, invariance=invariance, **options)


def term(file: QatConversion, data: Any, layer: str) -> float:
    """The term of a layer of the file under quarter turns, in float64."""
    model = TFLiteModel(file, input_scale="0..1")
    plain = np.asarray(model(data.x)[layer], np.float64).reshape(len(data), -1)
    changes = [
        np.mean((np.asarray(model(np.rot90(data.x, turns, (1, 2)).copy())[layer]).reshape(plain.shape) - plain) ** 2)
        for turns in (1, 2, 3)
    ]
    return float(np.mean(changes) / plain.var(axis=0).mean())


def check_laws(data: Any, layer: str, **options: Any) -> None:
    """Weight 0 gives the same file, a weight gives a file that is more invariant, and both say what they did."""
    without = tuned(data, None, **options)
    weightless = tuned(data, InvarianceLoss(SET, layer, 0.0), **options)
    weighted = tuned(data, InvarianceLoss(SET, layer, 0.3), **options)
    assert without.report is not None and weightless.report is not None and weighted.report is not None
    assert weightless.content == without.content and weighted.content != without.content
    assert weightless.report.history["loss"] == without.report.history["loss"]
    first, second = weightless.report.history["invariance"], weighted.report.history["invariance"]
    assert len(first) == 3 and 0.2 < first[0] < 3 and second[-1] < 0.8 * first[-1]
    assert term(weighted, data, layer) < 0.9 * term(weightless, data, layer)
    assert weighted.is_integer and weighted.options["invariance"] == f"InvarianceLoss({SET}, ['{layer}'], 0.3)"
    assert "invariance" not in without.options


@pytest.mark.slow
def test_route_keras_keeps_the_laws(data: Any) -> None:
    check_laws(data, "hidden")


@needs_tfmot
@pytest.mark.slow
def test_route_tfmot_keeps_the_laws(data: Any) -> None:
    check_laws(data, "hidden", route="tfmot")


@pytest.mark.slow
def test_route_keras_distils_the_float_model(data: Any) -> None:
    teacher = network()
    loss = InvarianceLoss(SET, "logits", 0.1, distillation=Distillation(teacher, weight=0.5))
    report = tuned(data, loss).report
    assert report is not None and set(report.history) == {"loss", "accuracy", "invariance", "distillation"}
    assert report.history["distillation"][-1] < 1 and "teacher" not in report.to_json()


@needs_tfmot
@pytest.mark.slow
def test_route_tfmot_distils_as_the_formulae_say(data: Any) -> None:
    teacher = network()
    teacher.get_layer("logits").set_weights([3 * weight for weight in teacher.get_layer("logits").get_weights()])
    loss = InvarianceLoss("identity", "logits", 0.5, distillation=Distillation(teacher, weight=0.25, temperature=2.0))
    options = {"batch_size": len(data), "learning_rate": 1e-7, "augmentation": None, "route": "tfmot"}
    history = tuned(data, loss, **options).report.history  # type: ignore[union-attr]

    def shares(logits: Any) -> Any:
        raised = np.exp(logits / 2 - np.max(logits / 2, axis=1, keepdims=True))
        return raised / raised.sum(1, keepdims=True)

    pupil, teaches = (np.asarray(model(data.x), np.float64) for model in (network(), teacher))
    right = shares(2 * pupil)[np.arange(len(data)), data.y]
    expected = {
        "distillation": 4 * np.mean(np.sum(shares(teaches) * np.log(shares(teaches) / shares(pupil)), axis=1)),
        "invariance": ((pupil - teaches) ** 2).mean(0).sum() / teaches.var(0).sum(),
    }
    for name, value in expected.items():
        assert history[name] == pytest.approx([value] * 3, rel=0.02)  # eight bits are nearly the float network
    whole = -np.log(right).mean() + 0.5 * expected["invariance"] + 0.25 * expected["distillation"]
    assert history["loss"] == pytest.approx([whole] * 3, rel=0.02)


@needs_tfmot
def test_what_a_route_cannot_take_is_refused(data: Any) -> None:
    fused = r"layer 'conv' cannot be measured: it is fused"
    unknown = r"layers must name layers of the model: relu, .*logits.* Received: 'none'"
    for kind, text, loss, options in (
        (ValueError, fused, InvarianceLoss(SET, "conv"), {}),
        (ValueError, unknown, InvarianceLoss(SET, "none"), {}),
        (ValueError, r"layers must name layers of the model", InvarianceLoss(SET, "none"), {"route": "tfmot"}),
        (TypeError, r"invariance must be an InvarianceLoss\. Received: 0\.1", 0.1, {}),
    ):
        with pytest.raises(kind, match=text):
            tuned(data, loss, **options)  # type: ignore[arg-type]
