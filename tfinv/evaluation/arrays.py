"""`evaluate_arrays`: activations that come from anywhere, and measures in, `Results` out."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.datasets.given import as_labels
from tfinv.engine.gatherer import Gatherer, States
from tfinv.engine.measuring import LayerMeasured, assembled, measure_layer, usable
from tfinv.engine.passes import first_statistics, ordered
from tfinv.engine.shards import ShardStates
from tfinv.engine.states import copied, kept, merged
from tfinv.evaluation.arguments import (
    as_arrays,
    as_measures,
    check_arrays,
    check_gradients,
    check_labels,
    check_references,
)
from tfinv.evaluation.options import Sampling, accepts_folded, checked
from tfinv.evaluation.thresholds import given_states, id_of
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
    if sampling.precision is not None:
        raise ValueError("sampling must not have a precision here: all activations are at hand. Received: precision")
    arrays = as_arrays(activations, "activations", "(S, T, *U)")
    samples, count = check_arrays(arrays)
    check_enough(measures, None if sampling.keep_statistics else samples, count)
    check_gradients(measures, arrays)
    check_labels(measures, labels is not None)
    references = check_references(measures, reference, arrays)
    parts = shards_of(samples, sampling) if sampling.parts else [np.arange(samples)]
    classes = None if labels is None else as_labels(labels, samples)
    keep, last = sampling.keep_statistics, list(arrays)[-1]
    layers = {
        name: Layer(
            name,
            array.shape[2:],
            count,
            is_output=name == last,
            num_samples=sampling.whole if keep else samples,
        )
        for name, array in arrays.items()
    }
    given = given_states(sampling.thresholds, measures, list(layers.values())).get("", {})
    by_layer, resolutions = {}, {}
    subsets: dict[str, dict[str, dict[str, Any]]] = {}
    sizes = [len(part) for part in parts if len(part)]
    intervals = usable(sampling.intervals, measures, sizes) if keep else sampling.intervals
    for name, array in arrays.items():
        blocks = _Blocks(array, sampling.first_sample, classes, references.get(name))
        resolution = Resolution(relative_resolution(array.dtype.name))
        resolutions[name] = resolution if array.dtype == np.float64 else resolution.in_float32()
        if sampling.first_pass:
            first = _gather(layers[name], blocks, ordered(first_statistics(measures)), [np.arange(samples)], {})
            by_layer[name] = LayerMeasured({}, {}, {}, kept(first[0]))
            continue
        states = _gather(layers[name], blocks, ordered(required_statistics(measures), list(given)), parts, given)
        needed = required_statistics(measures)
        states = [{key: shard[key] for key in needed if key in shard} for shard in states]
        by_layer[name] = measure_layer(
            measures,
            layers[name],
            ShardStates.of(
                [shard for shard, part in zip(states, parts, strict=True) if len(part)], measures, layers[name].shape
            ),
            intervals,
            keep=keep,
            resolution=resolutions[name],
            samples=samples if keep else None,
        )
        for number, shard in enumerate(states if keep and sampling.parts else ()):
            for key, fields in kept(shard).items():
                subsets.setdefault(f"shard {number}", {}).setdefault(key, {})[name] = fields
    description = {
        "resolutions": resolutions,
        "samples": samples,
        "num_transformations": count,
        **provenance(),
        **dict(metadata or {}),
    }
    if sampling.parts:
        description["shards"] = [len(part) for part in parts]
    if keep:
        description["sampling"] = as_metadata(sampling)
    if sampling.first_pass:
        description["first_pass_of"] = [measure.key for measure in measures]
    if sampling.thresholds is not None:
        description["thresholds"] = id_of(sampling.thresholds)
    results = assembled(by_layer, description, intervals, sizes)
    return replace(results, subsets=subsets, samples=_held(arrays, sampling)) if keep else results


@dataclass(frozen=True)
class _Blocks:
    """Activations of one layer, and what comes with them; see `Context`."""

    array: Any
    first: int
    labels: Any
    reference: Any

    def add(self, gatherer: Gatherer, layer: Layer, part: Any) -> None:
        """Gather some samples."""
        dtype = self.dtype
        gatherer.add(
            layer.name,
            tf.constant(self.array[part], dtype),
            tf.constant(part + self.first, tf.int64),
            None if self.labels is None else tf.constant(self.labels[part], tf.int64),
            None if self.reference is None else tf.constant(self.reference[part], dtype),
        )

    @property
    def dtype(self) -> str:
        return "float64" if self.array.dtype == np.float64 else "float32"


def _gather(
    layer: Layer, blocks: _Blocks, passes: Sequence[Sequence[Statistic]], parts: Sequence[Any], given: States
) -> list[dict[Statistic, Any]]:
    """The states of each part of the samples of one layer."""
    by_part: list[dict[Statistic, Any]] = [{} for _ in parts]
    finished = dict(given)
    for statistics in passes:
        gatherer = Gatherer(statistics, [layer], blocks.dtype, finished)
        for states, part in zip(by_part, parts, strict=True):
            gatherer.reset()
            if len(part):
                blocks.add(gatherer, layer, part)
            for statistic, state in gatherer.states_of(layer.name).items():
                states[statistic] = copied(state)
        for statistic in set(by_part[0]).difference(given):
            finished[statistic] = {layer.name: merged(statistic, [states[statistic] for states in by_part])}
    return by_part


def _held(arrays: Mapping[str, Any], sampling: Sampling) -> NDArray[np.int64]:
    """See `Results.samples`; the content of a sample is its activations."""
    pairs = []
    for number in range(len(next(iter(arrays.values())))):
        digest = hashlib.blake2b(digest_size=8)
        for array in arrays.values():
            digest.update(np.ascontiguousarray(array[number]).tobytes())
        pairs.append((number + sampling.first_sample, int.from_bytes(digest.digest(), "little", signed=True)))
    return np.array(pairs, np.int64)


def as_metadata(sampling: Sampling) -> dict[str, Any]:
    """What `tfinv.merge` must know of how the samples were treated."""
    return {
        "whole": sampling.whole,
        "confidence": sampling.confidence,
        "shards": sampling.parts,
        "resamples": sampling.draws,
        "stratified": sampling.stratified,
    }


def shards_of(samples: int, sampling: Sampling) -> list[NDArray[np.int64]]:
    """The numbers of the samples in each shard; of one part of the whole data, those of the shards of all data.

    Raises:
        ValueError: a part that does not fit into the whole data, or a single sample.
    """
    if (sampling.whole or samples) < 2:
        raise ValueError(
            "images must be at least 2 for confidence intervals, for which some are left out. "
            f"Received: {sampling.whole or samples}"
        )
    if sampling.whole is None:
        return shard_indices(samples, sampling.parts)
    first = sampling.first_sample
    if first + samples > sampling.whole:
        raise ValueError(
            f"whole must be at least first_sample and the number of images, {first} + {samples}. Received: "
            f"{sampling.whole}"
        )
    shards = shard_indices(sampling.whole, sampling.parts)
    return [shard[(shard >= first) & (shard < first + samples)] - first for shard in shards]


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
