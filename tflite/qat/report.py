"""What quantization-aware training did, and how well its file agrees with the model that was trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tfinv.datasets.given import as_array
from tfinv.statistics.classification import chosen
from tfinv.support.checks import kind_of
from tfinv.support.guarded import guarded
from tfinv.support.types import Images, KerasModel
from tfinv.tflite.files.conversion import Conversion
from tfinv.tflite.files.model import FILE_WORDS, FILES, TFLiteModel
from tfinv.tflite.qat.integer_file import IntegerFile
from tfinv.tflite.qat.match_scopes import Steps

if TYPE_CHECKING:
    import pandas as pd

_BATCH = 32
_EQUAL_DB = 200.0


@dataclass(frozen=True)
class Agreement:
    """How far a trained, fake-quantized model and the integer file made from it compute the same.

    Args:
        classes: share of images whose largest output is the same.
        sqnr: signal to noise in dB by layer, in network order, the difference being the noise; 200 where equal.
        images: number of images compared.
        not_compared: layers of the model whose output was not found in the file.
    """

    classes: float
    sqnr: Mapping[str, float]
    images: int
    not_compared: tuple[str, ...] = ()


@dataclass(frozen=True)
class QatReport:
    """How a quantization-aware training went.

    Args:
        route: `"keras"` or `"tfmot"`.
        epochs: passes over the training images.
        seconds: wall time of everything, conversion included.
        history: `loss` and `accuracy` by epoch, on augmented images in training mode.
        accuracy: on the calibration images that have labels: `"float"`, of the model given; `"before"`, of the
            fake-quantized model before its first step; `"after"`, when trained. Empty where calibration images
            without labels were given.
        agreement: between the trained model and the file.
        calibrated: layers that hold a computation which training did not round; its ranges come from calibration
            images, as in post-training quantization.
        float_fallback: `OPERATOR layer` of each operator of the file that still computes in floating point.
    """

    route: str
    epochs: int
    seconds: float
    history: Mapping[str, list[float]]
    accuracy: Mapping[str, float]
    agreement: Agreement
    calibrated: tuple[str, ...] = ()
    float_fallback: tuple[str, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """One row per layer: layer, sqnr (dB)."""
        import pandas as pd  # costs a third of a second

        return pd.DataFrame({"layer": list(self.agreement.sqnr), "sqnr": list(self.agreement.sqnr.values())})

    def describe(self) -> str:
        """The report in a few lines, for a reader."""
        lines = [f"{self.epochs} epochs by route {self.route!r} in {self.seconds:.0f} s"]
        if self.accuracy:
            lines.append("accuracy: " + ", ".join(f"{name} {value:.4f}" for name, value in self.accuracy.items()))
        agreement = self.agreement
        worst = min(agreement.sqnr, key=lambda layer: agreement.sqnr[layer], default="")
        lines.append(
            f"file and trained model: same class on {agreement.classes:.1%} of {agreement.images} images"
            + (f", SQNR from {agreement.sqnr[worst]:.0f} dB at {worst}" if worst else "")
        )
        lines += [f"{layer} was quantized by calibration, training did not see it" for layer in self.calibrated]
        lines += [f"{operator} computes in floating point" for operator in self.float_fallback]
        lines += [f"{layer} was not compared" for layer in agreement.not_compared]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> QatReport:
        """Read `to_json`.

        Raises:
            ValueError: a field is missing or unknown.
        """
        try:
            inner = dict(data["agreement"])
            inner["not_compared"] = tuple(inner["not_compared"])
            lists = {name: tuple(data[name]) for name in ("calibrated", "float_fallback")}
            return cls(**{**data, **lists, "agreement": Agreement(**inner)})
        except (KeyError, TypeError) as error:
            known = [entry.name for entry in fields(cls)]
            raise ValueError(f"data must have the fields {known}. Received: {sorted(data)} ({error})") from None


@dataclass(frozen=True)
class QatConversion(Conversion):
    """A `Conversion` by quantization-aware training, with the model that was trained.

    Args:
        report: how it went; also in `options["report"]`, so that it survives `save` and `load`.
        model: the fine-tuned Keras 3 model, not saved. Route `keras`: fake-quantized, computes what the file computes.
            Route `tfmot`: a float copy of the model given, with the tuned weights.
        activations: gives `{layer: activation}` of the fake-quantized model for images; None for route `tfmot`, where
            it lived in a process of its own.
    """

    report: QatReport | None = None
    model: KerasModel = field(default=None, repr=False, compare=False)
    activations: Callable[[Any], Mapping[str, NDArray[np.float32]]] | None = field(
        default=None, repr=False, compare=False
    )


@dataclass(frozen=True)
class RouteResult:
    """What a route gives back: `QatReport` and `QatConversion` in the making.

    Args:
        file: the integer file.
        steps: see `scope_matching.match_steps`.
        history: see `QatReport`.
        before: accuracy before the first step; None without labels.
        after: accuracy of the trained model.
        agreement: see `QatReport`.
        model: see `QatConversion`.
        activations: see `QatConversion`.
    """

    file: IntegerFile
    steps: Steps
    history: Mapping[str, list[float]]
    before: float | None
    after: float | None
    agreement: Agreement
    model: KerasModel
    activations: Callable[[Any], Mapping[str, NDArray[np.float32]]] | None = None


@guarded(batch_size=1)
def agreement(
    activations: Callable[[Any], Mapping[str, Any]], conversion: Conversion, images: Images, *, batch_size: int = _BATCH
) -> Agreement:
    """Compare a fake-quantized model with the integer file made from it, layer by layer and in the classes.

        SQNR = 10 log10( sum x^2 / sum (x - y)^2 ),   x of the model, y of the file

    Memory holds the activations of one batch.

    Example:
        >>> import numpy as np
        >>> from tfinv import datasets, models
        >>> from tfinv.tflite import agreement, qat_int8
        >>> few = datasets.load("digits").train.subset(200, seed=0)
        >>> result = qat_int8(models.build("ffnet", (16, 16, 1), 10), few, 1, progress=False)
        >>> agreement(result.activations, result, few.x).classes > 0.95
        True

    Args:
        activations: gives `{layer: (N, *U)}` for images, such as `QatConversion.activations`.
        conversion: the file, with its layer map.
        images: `(N, H, W, C)` as the model takes them.
        batch_size: images at a time.

    Returns:
        The agreement; the last layer in `sqnr` is the model's output.

    Raises:
        ValueError: no image, images of another shape, or a file without a layer in common.
    """
    kind_of("conversion", conversion, FILES, FILE_WORDS)
    images = np.asarray(as_array(images), np.float32)
    file = TFLiteModel(conversion, input_scale="0..1", batch_size=min(batch_size, len(images)))  # images as they are
    threshold = file.outputs[0].threshold
    noise: dict[str, float] = {}
    signal: dict[str, float] = {}
    missing: tuple[str, ...] = ()
    same = 0
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        ours, theirs = activations(batch), file(batch)
        common = [layer for layer in ours if layer in theirs and np.shape(ours[layer]) == theirs[layer].shape]
        missing = tuple(layer for layer in ours if layer not in common)
        for layer in common:
            expected = np.asarray(ours[layer], np.float64)
            signal[layer] = signal.get(layer, 0.0) + float(np.square(expected).sum())
            noise[layer] = noise.get(layer, 0.0) + float(np.square(expected - theirs[layer]).sum())
        if not common:
            raise ValueError(f"conversion must share a layer with the model. Received: {list(theirs)} and {list(ours)}")
        last = common[-1]
        same += int((_classes(ours[last], threshold) == _classes(theirs[last], threshold)).sum())
    sqnr = {layer: _decibels(signal[layer], noise[layer]) for layer in signal}
    return Agreement(same / len(images), sqnr, len(images), missing)


def _classes(outputs: Any, threshold: float) -> NDArray[np.int64]:
    return chosen(np.asarray(outputs).reshape(len(outputs), -1), threshold)


def _decibels(signal: float, noise: float) -> float:
    if noise == 0:
        return _EQUAL_DB
    return float(np.clip(10 * np.log10(signal / noise), -_EQUAL_DB, _EQUAL_DB)) if signal > 0 else -_EQUAL_DB
