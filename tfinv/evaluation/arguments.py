"""What users give to `evaluate`, checked and brought into one form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tfinv.activations.input_scale import InputScale
from tfinv.activations.source import ActivationSource, LayerChoice
from tfinv.activations.sub_model import ActivationModel
from tfinv.datasets.given import as_array, check_finite, is_dataset, unpack
from tfinv.engine.batches import ImageBatches
from tfinv.measures import Measure, parse
from tfinv.measures.base import check_enough
from tfinv.models.opening import as_model
from tfinv.statistics.resolution import check_size
from tfinv.support.checks import whole_number
from tfinv.support.types import Images, Model
from tfinv.transformations import TransformationSet

IMAGES_PER_BLOCK, SAMPLES_PER_BLOCK = 256, 16
"""Transformed images in a block, where the user says nothing: enough for the cores. Accumulators of columns are read
and written once a block, so up to four times as many images where that makes up this many samples."""


def as_measures(measures: Any, argument: str = "measures") -> list[Measure]:
    """Whatever a user may give for measures, as a list of measures with different keys.

    Raises:
        ValueError: none, or an unknown key.
        TypeError: something that is no measure, such as a class in place of an instance.
    """
    given = [measures] if isinstance(measures, (str, Measure)) or not isinstance(measures, Iterable) else list(measures)
    measures_by_key: dict[str, Measure] = {}
    for entry in given:
        measure = parse(entry) if isinstance(entry, str) else entry
        if not isinstance(measure, Measure):
            hint = f"; write {entry.__name__}()" if isinstance(entry, type) else ""
            raise TypeError(f"{argument} must be Measure objects or their keys{hint}. Received: {entry!r}")
        measures_by_key[measure.key] = measure
    if not measures_by_key:
        raise ValueError(f"{argument} must hold at least one measure. Received: none")
    return list(measures_by_key.values())


def as_source(model: Model, layers: LayerChoice, image_shape: tuple[int, ...]) -> ActivationSource:
    """Whatever a user may give for a model, as a source of the chosen layers that takes such images."""
    model = as_model(model)
    if isinstance(model, ActivationModel):
        model = model.select(layers) if layers is not None else model
        layers = None
    if not isinstance(model, ActivationSource):
        return ActivationModel(model, layers, input_shape=image_shape)
    if tuple(model.input_shape) != tuple(image_shape):
        raise ValueError(
            f"images must fit the model's input (H, W, C) = {tuple(model.input_shape)}. Received: images of "
            f"{tuple(image_shape)}"
        )
    return model if layers is None else model.select(layers)


def maps_images(source: ActivationSource) -> InputScale | None:
    """The scale by which a model maps images from [0, 1]; None for a Keras model that takes them as they are."""
    scale = getattr(source, "input_scale", None)
    as_given = isinstance(source, ActivationModel) and scale is not None and scale.range == (0.0, 1.0)
    return None if as_given or not isinstance(scale, InputScale) else scale


def block_size(batch_size: Any, count: int) -> int:
    """Samples in a block of `count` transformations."""
    if batch_size is not None:
        return whole_number("batch_size", batch_size, 1)
    return max(1, IMAGES_PER_BLOCK // count, min(SAMPLES_PER_BLOCK, 4 * IMAGES_PER_BLOCK // count))


def check_measures(
    measures: Sequence[Measure],
    source: ActivationSource,
    batches: ImageBatches,
    transformations: int,
    classes: Mapping[int, ImageBatches],
    *,
    part: bool = False,
) -> None:
    """Refuse measures that cannot be evaluated on a model, images and transformations.

    Args:
        measures: the measures.
        source: the model.
        batches: the images.
        transformations: `T`.
        classes: samples by label, where classes are measured apart.
        part: whether more samples may be merged later: there may then be any number.

    Raises:
        ValueError: no labels, or too few samples or transformations for a measure.
        TypeError: a model without gradients.
    """
    check_labels(measures, batches.has_labels)
    check_gradients(measures, source)
    least = max(measure.min_samples for measure in measures)
    for label, samples in classes.items():
        if (samples.count or 0) < least and not part:
            raise ValueError(
                f"images must be at least {least} of every class for stratified=True. Received: {samples.count} of "
                f"class {label}"
            )
    check_enough(measures, None if part else batches.count, transformations)


def check_before_training(
    images: Images,
    transformations: TransformationSet,
    measures: Sequence[Measure],
    source: ActivationSource | None = None,
) -> None:
    """Refuse what cannot be measured later on, while a model trains; nothing is run.

    Args:
        images: see `evaluate`.
        transformations: the set.
        measures: the measures.
        source: the model; None where it is not known yet.

    Raises:
        ValueError: images that are no such, NaN among them, no labels, too few samples or transformations for a
            measure, or images that do not fit the model.
        TypeError: images of another kind.
    """
    if not is_dataset(images):
        check_finite(as_array(unpack(images)[0]))
    batches = ImageBatches(images, block_size(None, len(transformations)))
    check_labels(measures, batches.has_labels)
    check_enough(measures, batches.count, len(transformations))
    if source is not None:
        as_source(source, None, batches.shape)


def check_labels(measures: Sequence[Measure], given: bool) -> None:
    """Refuse missing labels where a measure needs them."""
    for measure in measures:
        if not given and any(statistic.needs_labels for statistic in measure.requires):
            raise ValueError(
                f"labels must be given for {measure.key}, which compares predictions with classes. Received: none"
            )


def check_gradients(measures: Sequence[Measure], source: Any) -> None:
    """Refuse a source that cannot be differentiated where a measure needs derivatives."""
    for measure in measures:
        if not isinstance(source, ActivationModel) and any(statistic.along for statistic in measure.requires):
            raise TypeError(
                f"model must be a Keras model for {measure.key}, which needs gradients: TFLite models and activations "
                f"from elsewhere have none. Received: {type(source).__name__}"
            )


def as_arrays(arrays: Mapping[str, Any], argument: str, shape: str) -> dict[str, Any]:
    """By layer name an array; ragged lists are refused.

    Args:
        arrays: by layer name what NumPy reads as an array.
        argument: what to call them in an error.
        shape: the expected shape in words.

    Raises:
        ValueError: a list of parts of different shapes.
    """
    read = {}
    for name, array in arrays.items():
        try:
            read[name] = np.asarray(array)
        except ValueError:
            raise ValueError(
                f"{argument} must be numeric arrays {shape}. Received: parts of several shapes for layer {name!r}"
            ) from None
    return read


def check_arrays(arrays: Mapping[str, Any]) -> tuple[int, int]:
    """Refuse activations that are not finite arrays `(S, T, *U)` of one `S` and `T`; return these two."""
    if not arrays:
        raise ValueError("activations must hold at least one layer. Received: none")
    sizes = set()
    for name, array in arrays.items():
        if array.ndim < 2 or 0 in array.shape or not np.issubdtype(array.dtype, np.number):
            raise ValueError(
                f"activations must be numeric arrays (S, T, *U). Received: {array.dtype} of shape {array.shape} for "
                f"layer {name!r}"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"activations must be finite. Received: NaN or infinity in layer {name!r}")
        if array.dtype != np.float64:
            check_size("activations", array, f" in layer {name!r}", ", or float64")
        sizes.add(array.shape[:2])
    if len(sizes) > 1:
        raise ValueError(f"activations must agree on (S, T) in all layers. Received: {sorted(sizes)}")
    return sizes.pop()


def check_references(
    measures: Sequence[Measure], reference: Mapping[str, Any] | None, arrays: Mapping[str, Any]
) -> dict[str, Any]:
    """Refuse activations of untransformed images that are missing or do not fit; return them as arrays."""
    given = as_arrays(reference or {}, "reference", "(S, *U)")
    needing = [m for m in measures if any(e.needs_reference for s in m.requires for e in (s, *s.depends))]
    if needing and not given:
        raise ValueError(
            f"reference must hold the activations of the untransformed images for {needing[0].key}. Received: none"
        )
    for name, array in arrays.items():
        shape = given[name].shape if name in given else None
        if given and shape != (array.shape[0], *array.shape[2:]):
            expected = (array.shape[0], *array.shape[2:])
            raise ValueError(f"reference must have the shape {expected} for layer {name!r}. Received: {shape}")
        if given and not np.isfinite(given[name]).all():
            raise ValueError(f"reference must be finite. Received: NaN or infinity in layer {name!r}")
    return given
