"""The two sides of an engine benchmark: bare forward passes, and the pass loop of `evaluate`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfinv.activations import ActivationModel
from tfinv.engine.batches import ImageBatches
from tfinv.engine.groups import measured
from tfinv.engine.passes import Setting, make_passes
from tfinv.evaluation.arguments import as_measures
from tfinv.statistics import Layer
from tfinv.transformations import TransformationSet, as_set, warp


def warped(images: np.ndarray, transformations: Any) -> np.ndarray:
    """All images under all transformations, `(S * T, H, W, C)`."""
    parts = [warp(images[start : start + 8], transformations).numpy() for start in range(0, len(images), 8)]
    return np.concatenate(parts).reshape(-1, *images.shape[1:])


def bare(model: keras.Model, images: np.ndarray, batch: int) -> Callable[[], None]:
    """Forward passes of the plain model over images that are warped already."""
    signature = [tf.TensorSpec((None, *images.shape[1:]), tf.float32)]
    forward = tf.function(lambda batch: model(batch, training=False), input_signature=signature)

    def run() -> None:
        for start in range(0, len(images), batch):
            forward(images[start : start + batch])

    return run


def engine(
    model: Any,
    images: np.ndarray,
    transformations: Any,
    measures: Any,
    batch: int,
    *,
    layers: Any = None,
    labels: Any = None,
) -> Callable[[], Any]:
    """What `evaluate` does after it has built its graph: all passes, and the measures.

    Args:
        model: a Keras model, or another source of activations.
        images: `(S, H, W, C)`.
        transformations: see `evaluate`.
        measures: see `evaluate`.
        batch: samples in a block.
        layers: see `evaluate`.
        labels: see `evaluate`.
    """
    chosen: TransformationSet = as_set(transformations)
    source = ActivationModel(model, layers) if isinstance(model, keras.Model) else model
    shapes = source.layer_shapes
    spec = tuple(
        Layer(name, shape, len(chosen), chosen, name == list(shapes)[-1], len(images)) for name, shape in shapes.items()
    )
    batches = ImageBatches(images, batch, labels)
    setting = Setting(
        source,
        spec,
        tuple(as_measures(measures)),
        chosen,
        images.shape[1:],
        batches.label_shape,
        "constant",
        "bilinear",
    )
    runs = make_passes(setting, spec)
    return lambda: measured(setting, spec, [batches], runs)
