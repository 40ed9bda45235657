"""`evaluate`: images, transformations, a model and measures in, `Results` out; the only pass loop (evaluate)."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv._lazy import LazyModule
from tfinv.activations import ActivationModel, ActivationSource, LayerChoice
from tfinv.batches import ImageBatches
from tfinv.gather import Gatherer, States, passes
from tfinv.measures import Measure, parse
from tfinv.results import LayerResult, MeasureResult, Results
from tfinv.statistics import Layer
from tfinv.transformations import TransformationSet, as_set, warp

if TYPE_CHECKING:
    import tensorflow as tf
    from numpy.typing import ArrayLike

    from tfinv.statistics import Statistic
else:
    tf = LazyModule("tensorflow")

IMAGES_PER_BLOCK = 256


def evaluate(
    model: Any,
    images: Any,
    transformations: Any,
    measures: Any,
    *,
    labels: ArrayLike | None = None,
    layers: LayerChoice = None,
    batch_size: int | None = None,
    padding: str = "constant",
    interpolation: str = "bilinear",
    progress: bool = True,
    metadata: Mapping[str, Any] | None = None,
) -> Results:
    """Measure every unit of every layer of a model, in one pass over images and transformations.

    Each image is transformed by all `T` transformations, the model runs once on each (`S * T` forward passes whatever
    the number of measures), and mergeable statistics are updated in the same graph.

    Example:
        >>> import keras, numpy as np
        >>> import tfinv
        >>> inputs = keras.Input((16, 16, 1))
        >>> x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
        >>> x = keras.layers.GlobalAveragePooling2D(name="gap")(x)
        >>> model = keras.Model(inputs, keras.layers.Dense(10, name="logits")(x))
        >>> images = np.random.default_rng(0).random((8, 16, 16, 1), dtype="float32")
        >>> results = tfinv.evaluate(model, images, "rotations(4)", ["NormalizedVariance"], progress=False)
        >>> list(results["NormalizedVariance"])
        ['conv', 'gap', 'logits']

    Args:
        model: a Keras model, a `.keras` file, or any `ActivationSource` such as a TFLite model.
        images: array `(S, H, W, C)`, a `tfinv.datasets.Split`, or a `tf.data.Dataset`.
        transformations: a `TransformationSet`, its id such as `"rotations(16)"`, or a sequence of `Affine`.
        measures: a measure or a sequence of them, as objects or keys.
        labels: int `(S,)`, for measures that compare predictions with classes; default: those that come with `images`.
        layers: names, globs or layer types; None for all.
        batch_size: samples per block; `batch_size * T` images are in memory at a time. Default: about 256 images.
        padding: what comes in from outside the frame, see `transformations.warp`.
        interpolation: see `transformations.warp`.
        progress: show a progress bar with images per second.
        metadata: entries to add to `Results.metadata`, such as the data set's name.

    Returns:
        `Results` with one `MeasureResult` a measure, layers in network order.

    Raises:
        ValueError: bad images, too few samples or transformations for a measure, an unknown layer or measure, images
            that do not fit the model, NaN in images or activations (named).
        TypeError: a model that has no graph of layers.
    """
    measures = as_measures(measures)
    transformations = as_set(transformations)
    _check_enough(measures, None, len(transformations))
    batch_size = _block_size(batch_size, len(transformations))
    batches = ImageBatches(images, batch_size, labels)
    _check_labels(measures, batches.has_labels)
    source = _as_source(model, layers, batches.shape)
    if batches.count is not None:
        _check_enough(measures, batches.count, len(transformations))
    spec = _layers(source, transformations)
    states: States = {}
    samples = 0
    plan = passes(required_statistics(measures))
    for number, statistics in enumerate(plan):
        gatherer = Gatherer(statistics, spec, given=states)
        per_image, stream = len(transformations), batches
        if all(each.reference_only for each in statistics):
            per_image, stream = 1, ImageBatches(images, batch_size * len(transformations), labels)
        step = _make_step(source, gatherer, transformations, batches, statistics, padding, interpolation)
        title = "measuring" if len(plan) == 1 else f"measuring, pass {number + 1} of {len(plan)}"
        samples = _run(step, stream, gatherer, per_image, title if progress else None)
        _check_enough(measures, samples, len(transformations))
        gatherer.check_finite()
        states |= gatherer.states()
    description = {
        "model": source.id,
        "transformations": transformations.id,
        "num_transformations": len(transformations),
        "samples": samples,
        "image_shape": list(batches.shape),
        "padding": padding,
        "interpolation": interpolation,
        "skipped_layers": dict(getattr(source, "skipped", {})),
        **_provenance(),
        **dict(metadata or {}),
    }
    return compute_results(measures, states, spec, description)


def evaluate_arrays(
    activations: Mapping[str, ArrayLike],
    measures: Any,
    *,
    labels: ArrayLike | None = None,
    reference: Mapping[str, ArrayLike] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Results:
    """Measure activations that come from anywhere: another framework, a saved file, a simulation.

    Example:
        >>> import numpy as np
        >>> import tfinv
        >>> activations = {"conv": np.random.default_rng(0).normal(size=(10, 4, 6, 6, 8))}
        >>> results = tfinv.evaluate_arrays(activations, ["NormalizedVariance(aggregate='mean')"])
        >>> results["NormalizedVariance(aggregate='mean')"]["conv"].values.shape
        (8,)

    Args:
        activations: by layer name an array `(S, T, *U)`, channels last; float64 is computed in float64, all else in
            float32.
        measures: a measure or a sequence of them, as objects or keys.
        labels: int `(S,)`, for measures that compare predictions with classes.
        reference: by layer name an array `(S, *U)`, activations of the untransformed images, for measures that
            compare with them.
        metadata: entries for `Results.metadata`.

    Returns:
        `Results`, layers in the order given; the last counts as the model's output.

    Raises:
        ValueError: arrays without sample and transformation axes, that disagree on `S` or `T`, or hold NaN; labels or
            reference missing where a measure needs them.
    """
    measures = as_measures(measures)
    arrays = {name: np.asarray(array) for name, array in activations.items()}
    samples, count = _check_arrays(arrays)
    _check_enough(measures, samples, count)
    _check_labels(measures, labels is not None)
    references = _check_references(measures, reference, arrays)
    labels = None if labels is None else tf.constant(np.asarray(labels), tf.int64)
    states: States = {}
    spec = [Layer(name, array.shape[2:], count, is_output=name == list(arrays)[-1]) for name, array in arrays.items()]
    for statistics in passes(required_statistics(measures)):
        for layer in spec:
            array = arrays[layer.name]
            dtype = "float64" if array.dtype == np.float64 else "float32"
            gatherer = Gatherer(statistics, [layer], dtype, states)
            untransformed = tf.constant(references[layer.name], dtype) if references else None
            index = tf.range(samples, dtype=tf.int64)
            gatherer.add(layer.name, tf.constant(array, dtype), index, labels, untransformed)
            for statistic, by_layer in gatherer.states().items():
                states.setdefault(statistic, {}).update(by_layer)
    description = {"samples": samples, "num_transformations": count, **_provenance(), **dict(metadata or {})}
    return compute_results(measures, states, spec, description)


def compute_results(
    measures: Sequence[Measure], states: States, layers: Sequence[Layer], metadata: Mapping[str, Any]
) -> Results:
    """Apply the measures to gathered states."""
    results = {}
    for measure in measures:
        by_layer = {}
        for layer in layers:
            reason = next((why for each in measure.requires if (why := each.applies(layer))), "")
            given = {} if reason else {each: states[each][layer.name] for each in measure.requires}
            by_layer[layer.name] = LayerResult.not_applicable(reason) if reason else measure.compute(given)
        results[measure.key] = MeasureResult(measure.key, by_layer)
    return Results(results, dict(metadata))


def as_measures(measures: Any) -> list[Measure]:
    """Whatever a user may give for measures, as a list of measures with different keys.

    Raises:
        ValueError: none, or an unknown key.
        TypeError: something that is no measure, such as a class in place of an instance.
    """
    given = [measures] if isinstance(measures, (str, Measure)) or not isinstance(measures, Iterable) else list(measures)
    found: dict[str, Measure] = {}
    for each in given:
        measure = parse(each) if isinstance(each, str) else each
        if not isinstance(measure, Measure):
            hint = f"; write {each.__name__}()" if isinstance(each, type) else ""
            raise TypeError(f"measures must be Measure objects or their keys{hint}. Received: {each!r}")
        found[measure.key] = measure
    if not found:
        raise ValueError("measures must hold at least one measure. Received: none")
    return list(found.values())


def required_statistics(measures: Sequence[Measure]) -> list[Statistic]:
    """The union of what the measures need, each once."""
    return list(dict.fromkeys(statistic for measure in measures for statistic in measure.requires))


def _layers(source: ActivationSource, transformations: TransformationSet) -> list[Layer]:
    shapes = source.layer_shapes
    last = getattr(source, "output_layer", list(shapes)[-1])
    return [Layer(name, shape, len(transformations), transformations, name == last) for name, shape in shapes.items()]


def _make_step(
    source: Any,
    gatherer: Gatherer,
    transformations: TransformationSet,
    batches: ImageBatches,
    statistics: Sequence[Statistic],
    padding: Any,
    interpolation: Any,
) -> Any:
    """A function of a batch `(images, index, labels)` that updates all states."""
    count, with_reference = len(transformations), any(each.needs_reference for each in statistics)
    reference_only = all(each.reference_only for each in statistics)

    def transformed(images: Any) -> Any:
        """`(S_b * (T [+ 1]), H, W, C)`; the untransformed image, where needed, comes last."""
        if reference_only:
            return images
        warped = warp(images, transformations, padding=padding, interpolation=interpolation)
        if with_reference:
            warped = tf.concat([warped, images[:, None]], axis=1)
        return tf.reshape(warped, (-1, *batches.shape))

    def gather(activations: Mapping[str, Any], index: Any, labels: Any) -> None:
        for layer, unit_shape in source.layer_shapes.items():
            if reference_only:
                gatherer.add(layer, None, index, labels, tf.cast(activations[layer], tf.float32))
                continue
            block = tf.reshape(tf.cast(activations[layer], tf.float32), (-1, count + with_reference, *unit_shape))
            reference = block[:, count] if with_reference else None
            gatherer.add(layer, block[:, :count] if with_reference else block, index, labels, reference)

    images_spec = tf.TensorSpec((None, *batches.shape), tf.float32)
    vector = tf.TensorSpec((None,), tf.int64)
    if isinstance(source, ActivationModel):
        signature = [images_spec, vector, vector]
        return tf.function(lambda images, *rest: gather(source(transformed(images)), *rest), input_signature=signature)
    warp_graph = tf.function(transformed, input_signature=[images_spec])
    gather_graph = tf.function(gather, reduce_retracing=True)
    return lambda images, *rest: gather_graph(
        {name: tf.constant(value) for name, value in source(warp_graph(images).numpy()).items()}, *rest
    )


def _run(step: Any, batches: ImageBatches, gatherer: Gatherer, count: int, title: str | None) -> int:
    from tqdm.auto import tqdm

    samples = 0
    total = None if batches.count is None else batches.count * count
    with tqdm(total=total, unit="img", desc=title, disable=title is None, leave=False) as bar:
        for number, batch in enumerate(batches):
            step(batch.images, batch.index, batch.labels)
            samples += len(batch.images)
            bar.update(len(batch.images) * count)
            if number % 50 == 0:
                gatherer.check_finite()
    return samples


def _as_source(model: Any, layers: LayerChoice, image_shape: tuple[int, ...]) -> ActivationSource:
    if isinstance(model, (str, os.PathLike)):
        from tfinv import models

        model = models.load(model)
    if isinstance(model, ActivationModel):
        model = model.keras_model if layers is not None else model
    if not isinstance(model, ActivationSource):
        return ActivationModel(model, layers, input_shape=image_shape)
    if tuple(model.input_shape) != tuple(image_shape):
        raise ValueError(
            f"images must fit the model's input (H, W, C) = {tuple(model.input_shape)}. Received: images of {tuple(image_shape)}"
        )
    return model if layers is None else model.select(layers)


def _block_size(batch_size: int | None, count: int) -> int:
    if batch_size is None:
        return max(1, IMAGES_PER_BLOCK // count)
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise ValueError(f"batch_size must be a whole number of at least 1. Received: {batch_size!r}")
    return int(batch_size)


def _check_enough(measures: Sequence[Measure], samples: int | None, transformations: int) -> None:
    for measure in measures:
        if transformations < measure.min_transformations:
            raise ValueError(
                f"transformations must be at least {measure.min_transformations} for {measure.key}, a deviation over "
                f"one is undefined. Received: {transformations}"
            )
        if samples is not None and samples < measure.min_samples:
            raise ValueError(
                f"images must be at least {measure.min_samples} for {measure.key}, a deviation over one is undefined. "
                f"Received: {samples}"
            )


def _check_labels(measures: Sequence[Measure], given: bool) -> None:
    for measure in measures:
        if not given and any(each.needs_labels for each in measure.requires):
            raise ValueError(
                f"labels must be given for {measure.key}, which compares predictions with classes. Received: none"
            )


def _check_arrays(arrays: Mapping[str, Any]) -> tuple[int, int]:
    if not arrays:
        raise ValueError("activations must hold at least one layer. Received: none")
    sizes = set()
    for name, array in arrays.items():
        if array.ndim < 2 or 0 in array.shape or not np.issubdtype(array.dtype, np.number):
            raise ValueError(
                f"activations must be numeric arrays (S, T, *U). Received: {array.dtype} of shape {array.shape} for layer {name!r}"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"activations must be finite. Received: NaN or infinity in layer {name!r}")
        sizes.add(array.shape[:2])
    if len(sizes) > 1:
        raise ValueError(f"activations must agree on (S, T) in all layers. Received: {sorted(sizes)}")
    return sizes.pop()


def _check_references(
    measures: Sequence[Measure], reference: Mapping[str, Any] | None, arrays: Mapping[str, Any]
) -> dict[str, Any]:
    given = {name: np.asarray(array) for name, array in (reference or {}).items()}
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


def _provenance() -> dict[str, Any]:
    versions = {}
    for package in ("tfinv", "tensorflow", "keras", "numpy"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "unknown"
    return {
        "versions": versions,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
