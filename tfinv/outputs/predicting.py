"""All outputs of a model for images, whatever kind of model it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.activations.outputs import ModelOutput
from tfinv.activations.sub_model import ActivationModel, as_model_inputs
from tfinv.models.opening import as_model
from tfinv.support.faults import RUNS, told
from tfinv.support.lazy import keras
from tfinv.support.types import Model

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TOGETHER = 64
"""Images that a Keras model predicts at a time."""


def with_outputs(model: Model, argument: str = "model") -> Model:
    """A model that tells its outputs: a Keras model as an `ActivationModel`, others as they are.

    A path is opened first.

    Raises:
        TypeError: a model that does not tell its outputs.
    """
    model = as_model(model)
    if hasattr(model, "predict") and isinstance(getattr(model, "outputs", None), tuple):
        return model
    if isinstance(model, keras.Model):
        return ActivationModel(model)
    raise TypeError(
        f"{argument} must be a Keras model, a tfinv.tflite.TFLiteModel, or another source with `outputs` and "
        f"`predict`. Received: {type(model).__name__}"
    )


def named_outputs(model: Model) -> list[ModelOutput]:
    """The outputs of a model, under names that are all different: those of the layers where Keras made the model.

    A file that was converted from a Keras model calls its outputs `output_0` and so on, which remain as aliases.
    """
    outputs: Sequence[ModelOutput] = model.outputs
    layers = [output.layer for output in outputs]
    by_keras = isinstance(model, ActivationModel) or getattr(model, "layer_map", None) is not None
    if by_keras and all(layers) and len(set(layers)) == len(layers):
        return [replace(output, name=output.layer, alias=output.name) for output in outputs]
    if len({output.name for output in outputs}) == len(outputs):
        return list(outputs)
    return [replace(output, name=f"output_{number}") for number, output in enumerate(outputs)]


def predict_all(model: Model, images: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Every output of a model, float arrays `(N, *U)` by name.

    Args:
        model: see `with_outputs`.
        images: `(N, H, W, C)` in [0, 1].

    Raises:
        ValueError: NaN or infinity in an output.
    """
    names = [output.name for output in named_outputs(model)]
    if isinstance(model, ActivationModel):
        blocks = [
            _keras_outputs(model, images[start : start + _TOGETHER]) for start in range(0, len(images), _TOGETHER)
        ]
        arrays = [np.concatenate(parts) for parts in zip(*blocks, strict=True)]
    else:
        given = model.predict(images)
        arrays = list(given.values()) if isinstance(given, dict) else [given]
    found = dict(zip(names, (np.array(array) for array in arrays), strict=True))
    for name, array in found.items():
        if not np.isfinite(array).all():
            raise ValueError(f"model must give finite outputs. Received: NaN or infinity in output {name!r}")
    return found


def _keras_outputs(model: ActivationModel, images: NDArray[np.float32]) -> list[NDArray[Any]]:
    network = model.keras_model
    symbols = getattr(network, "_inputs_struct", None)
    inputs = as_model_inputs(model.input_scale(np.asarray(images, np.float32)), model.layout)
    given = keras.tree.pack_sequence_as(symbols, [inputs]) if isinstance(symbols, (dict, list, tuple)) else inputs
    with told(RUNS, network):
        tensors = keras.tree.flatten(network(given, training=False))
    arrays = [keras.ops.convert_to_numpy(tensor) for tensor in tensors]
    first = model.layout == "nchw"
    return [np.moveaxis(array, 1, -1) if first and array.ndim == 4 else array for array in arrays]
