"""`evaluate_arrays`: activations that come from anywhere, and measures in, `Results` out."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.datasets.given import as_labels
from tfinv.engine.gatherer import Gatherer, States
from tfinv.engine.measuring import assembled, measure_layer
from tfinv.engine.passes import ordered
from tfinv.engine.states import copied, merged
from tfinv.evaluation.arguments import (
    as_arrays,
    as_measures,
    check_arrays,
    check_gradients,
    check_labels,
    check_references,
)
from tfinv.evaluation.options import Sampling, accepts_folded, checked
from tfinv.measures import Measure
from tfinv.measures.base import check_enough, required_statistics
from tfinv.results import Results
from tfinv.statistics import Layer, Statistic
from tfinv.statistics.resolution import Resolution, relative_resolution
from tfinv.support.checks import mapping
from tfinv.support.environment import versions
from tfinv.support.lazy import tf

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@accepts_folded
def evaluate_arrays(
    activations: Mapping[str, ArrayLike],
    measures: Any,
    *,
    labels: ArrayLike | None = None,
    reference: Mapping[str, ArrayLike] | None = None,
    sampling: Sampling | None = None,
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
        sampling: see `evaluate`; classes cannot be measured apart here.
        metadata: entries for `Results.metadata`.

    Returns:
        `Results`, layers in the order given; the last counts as the model's output.

    Raises:
        ValueError: arrays without sample and transformation axes, that disagree on `S` or `T`, or hold NaN; labels or
            reference missing where a measure needs them; a stratified sampling.
        TypeError: a measure that needs gradients, an unknown keyword.
    """
    mapping("activations", activations, "arrays (S, T, *U) by layer name")
    if reference is not None:
        mapping("reference", reference, "arrays (S, *U) by layer name")
    if metadata is not None:
        mapping("metadata", metadata, "a mapping from names to values")
    measures = as_measures(measures)
    sampling = checked(Sampling, sampling)
    if sampling.stratified:
        raise ValueError("sampling must not be stratified here: give one class at a time. Received: stratified")
    arrays = as_arrays(activations, "activations", "(S, T, *U)")
    samples, count = check_arrays(arrays)
    check_enough(measures, samples, count)
    check_gradients(measures, arrays)
    check_labels(measures, labels is not None)
    references = check_references(measures, reference, arrays)
    parts = shard_indices(samples, sampling.parts) if sampling.parts else [np.arange(samples)]
    classes = None if labels is None else as_labels(labels, samples)
    by_layer, resolutions = {}, {}
    for name, array in arrays.items():
        layer = Layer(name, array.shape[2:], count, is_output=name == list(arrays)[-1], num_samples=samples)
        states = _gather_array(layer, array, measures, parts, sampling.first_sample, classes, references.get(name))
        keep = sampling.keep_statistics
        resolution = Resolution(relative_resolution(array.dtype.name))
        resolutions[name] = resolution if array.dtype == np.float64 else resolution.in_float32()
        by_layer[name] = measure_layer(
            measures, layer, states, sampling.intervals, keep=keep, resolution=resolutions[name]
        )
    description = {
        "resolutions": resolutions,
        "samples": samples,
        "num_transformations": count,
        **provenance(),
        **dict(metadata or {}),
    }
    sizes = [len(part) for part in parts]
    if sampling.parts:
        description["shards"] = sizes
    return assembled(by_layer, description, sampling.intervals, sizes)


def _gather_array(
    layer: Layer, array: Any, measures: Sequence[Measure], parts: Sequence[Any], first: int, labels: Any, reference: Any
) -> list[dict[Statistic, Any]]:
    """The states of each part of the samples of one layer."""
    dtype = "float64" if array.dtype == np.float64 else "float32"
    by_part: list[dict[Statistic, Any]] = [{} for _ in parts]
    given: States = {}
    for statistics in ordered(required_statistics(measures)):
        gatherer = Gatherer(statistics, [layer], dtype, given)
        for states, part in zip(by_part, parts, strict=True):
            gatherer.reset()
            gatherer.add(
                layer.name,
                tf.constant(array[part], dtype),
                tf.constant(part + first, tf.int64),
                None if labels is None else tf.constant(labels[part], tf.int64),
                None if reference is None else tf.constant(reference[part], dtype),
            )
            for statistic, state in gatherer.states_of(layer.name).items():
                states[statistic] = copied(state)
        for statistic in by_part[0]:
            given[statistic] = {layer.name: merged(statistic, [states[statistic] for states in by_part])}
    needed = required_statistics(measures)
    return [{statistic: states[statistic] for statistic in needed if statistic in states} for states in by_part]


def shard_indices(samples: int, shards: int) -> list[NDArray[np.int64]]:
    """Random parts of nearly one size, the same for every evaluation of as many samples."""
    order = np.random.default_rng(0).permutation(samples)
    return [np.sort(part) for part in np.array_split(order, min(shards, samples))]


def provenance() -> dict[str, Any]:
    """What results are made with, for their metadata."""
    return {
        "versions": versions("tfinv", "tensorflow", "keras", "numpy"),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
