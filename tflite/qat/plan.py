"""The arguments of quantization-aware training, checked, with the images that set the ranges."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfinv.activations.keras_graph import plain
from tfinv.activations.layer_graph import flatten
from tfinv.activations.outputs import output_activation
from tfinv.activations.selection import select_names
from tfinv.statistics.classification import by_label, chosen, threshold_of
from tfinv.support.checks import finite, flag, function, whole_number
from tfinv.support.faults import RUNS, told
from tfinv.support.lazy import keras
from tfinv.support.types import Images, KerasModel
from tfinv.tflite.convert.calibration import calibration_batches
from tfinv.training.accuracy import LabelledImages
from tfinv.training.invariance import InvarianceLoss

_CALIBRATION_IMAGES = 512
_COMPARED_IMAGES = 256
_BATCH = 64


@dataclass(frozen=True)
class QatPlan:
    """What both routes read.

    Args:
        model: the float model.
        data: training images and labels.
        calibration: images that set the ranges, and that the trained model and its file are compared on.
        labels: theirs, int64 `(N,)`, or `(N, K)` for K labels per image; None where there are none.
        augmented: `calibration` under the augmentation; sets the ranges too. None without an augmentation.
        augmentation: the run's own copy of what the user gave.
        invariance: what is added to the loss; None for nothing.
    """

    model: KerasModel
    data: LabelledImages
    calibration: NDArray[np.float32]
    labels: NDArray[np.int64] | None
    augmented: NDArray[np.float32] | None
    augmentation: Callable[..., Any] | None
    invariance: InvarianceLoss | None
    epochs: int
    learning_rate: float
    batch_size: int
    io: str
    seed: int
    weight_bits: int
    progress: bool

    @property
    def ranges(self) -> NDArray[np.float32]:
        """All images that set the ranges."""
        return self.calibration if self.augmented is None else np.concatenate([self.calibration, self.augmented])

    @property
    def range_batches(self) -> list[NDArray[np.float32]]:
        """The same in batches."""
        images = self.ranges
        return [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]

    @property
    def compared(self) -> NDArray[np.float32]:
        """Images to compare the trained model and its file on."""
        return self.calibration[:_COMPARED_IMAGES]

    def accuracy(self, model: KerasModel) -> float | None:
        """The accuracy of a model on the calibration images; None where they have no labels."""
        if self.labels is None:
            return None
        rows, labels = by_label(outputs(model, self.calibration), self.labels)
        return float((self.classes(rows) == labels).mean())

    def classes(self, outputs: NDArray[np.float32]) -> NDArray[np.int64]:
        """The class of each image: the largest output, or whether a single one exceeds its threshold."""
        return chosen(outputs, self.threshold)

    @property
    def threshold(self) -> float:
        """What a single output must exceed to say class 1."""
        return threshold_of(output_activation(self.model))

    @property
    def options(self) -> dict[str, Any]:
        """What a conversion records, as JSON values."""
        augmentation = None if self.augmentation is None else _describe(self.augmentation)
        names = ("epochs", "learning_rate", "batch_size", "io", "seed", "weight_bits")
        recorded = {name: getattr(self, name) for name in names} | {
            "augmentation": augmentation,
            "calibration_images": len(self.ranges),
        }
        return recorded if self.invariance is None else recorded | {"invariance": repr(self.invariance)}


def make_plan(
    model: KerasModel,
    data: Any,
    calibration: Images,
    augmentation: Callable[..., Any] | None,
    invariance: InvarianceLoss | None = None,
    **options: Any,
) -> QatPlan:
    """Check the arguments of `qat_int8`, draw calibration images, and augment them.

    Raises:
        ValueError, TypeError: see `qat_int8`.
    """
    _check(**options)
    model = _in_float32(plain(model))
    images = LabelledImages.of(data, model, "data")
    if calibration is None:
        chosen = np.unique(np.linspace(0, len(images) - 1, _CALIBRATION_IMAGES).astype(int))
        upright, labels = images.x[chosen], images.y[chosen]
    else:
        upright = np.concatenate(list(calibration_batches(calibration, images.x.shape[1:], _BATCH)))
        labels = getattr(calibration, "y", None)
    keras.utils.set_random_seed(options["seed"])
    seeded = _own_copy(augmentation, options["seed"])
    augmented = None if seeded is None or calibration is not None else _augment(seeded, upright)
    return QatPlan(model, images, upright, labels, augmented, seeded, invariance, **options)


def watched_names(plan: QatPlan, available: Iterable[str]) -> list[str]:
    """The layers that the invariance loss names, among those of the user's model whose output a file has.

    Args:
        plan: with an invariance loss.
        available: labels of layers.

    Raises:
        ValueError: a layer that is not among them.
    """
    assert plan.invariance is not None
    kinds = {call.label: type(call.layer) for call in flatten(plan.model).calls}
    fused = dict.fromkeys(kinds.keys() - set(available), "it is fused into another operator of the file, or none")
    return select_names(
        {name: kind for name, kind in kinds.items() if name not in fused}, plan.invariance.layers, fused
    )


def outputs(model: KerasModel, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a Keras model gives for images, in inference mode."""
    with warnings.catch_warnings():
        # Models from HDF5 files name their single input; a bare array serves as well.
        warnings.filterwarnings("ignore", "The structure of `inputs`")
        batches = [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]
        with told(RUNS, model):
            return np.concatenate([np.asarray(model(batch, training=False)) for batch in batches])


def training_call(augmentation: Callable[..., Any]) -> Callable[[Any], Any]:
    """The augmentation as a function of images, told that it is training if it asks."""
    accepted = inspect.signature(getattr(augmentation, "call", augmentation)).parameters
    return lambda images: augmentation(images, **({"training": True} if "training" in accepted else {}))


def _in_float32(model: KerasModel) -> Any:
    """The model itself, or a copy that computes in float32 where it was built with mixed precision."""
    layers = model._flatten_layers(include_self=False, recursive=True)
    if all(layer.compute_dtype in (None, "float32") for layer in layers):
        return model

    def copied(layer: Any) -> Any:
        return type(layer).from_config(layer.get_config() | {"dtype": "float32"})

    copy = keras.models.clone_model(model, clone_function=copied, recursive=True)
    copy.set_weights(model.get_weights())
    return copy


def _own_copy(augmentation: Any, seed: int) -> Any:
    """A copy of a Keras layer, so that the user's keeps its state and the draws start at the seed."""
    if augmentation is not None:
        function("augmentation", augmentation, "a Keras layer or a function of images")
    if augmentation is None or not isinstance(augmentation, keras.layers.Layer):
        return augmentation
    config = augmentation.get_config()
    return type(augmentation).from_config(config | ({"seed": seed} if "seed" in config else {}))


def _augment(augmentation: Callable[..., Any], images: NDArray[np.float32]) -> NDArray[np.float32]:
    call = training_call(augmentation)
    batches = [np.asarray(call(images[i : i + _BATCH]), np.float32) for i in range(0, len(images), _BATCH)]
    result = np.concatenate(batches)
    if result.shape != images.shape or not np.isfinite(result).all():
        raise ValueError(f"augmentation must keep the shape {images.shape} and be finite. Received: {result.shape}")
    return result


def _describe(augmentation: Any) -> str:
    if isinstance(augmentation, keras.layers.Layer):
        config = {
            k: v for k, v in augmentation.get_config().items() if k not in ("name", "dtype", "trainable", "layers")
        }
        return f"{type(augmentation).__name__}({', '.join(f'{k}={v!r}' for k, v in config.items() if v is not None)})"
    return getattr(augmentation, "__name__", type(augmentation).__name__)


def _check(
    epochs: Any, learning_rate: Any, batch_size: Any, io: Any, seed: Any, weight_bits: Any, progress: Any
) -> None:
    for name, value, least in (("epochs", epochs, 1), ("batch_size", batch_size, 1), ("seed", seed, 0)):
        whole_number(name, value, least)
    finite("learning_rate", learning_rate, above=0)
    if io not in ("float32", "int8"):
        raise ValueError(f"io must be 'float32' or 'int8'. Received: {io!r}")
    if weight_bits not in (4, 8):
        raise ValueError(f"weight_bits must be 4 or 8. Received: {weight_bits!r}")
    flag("progress", progress)
