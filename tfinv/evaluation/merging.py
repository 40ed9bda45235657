"""Join results of disjoint samples through the statistics that they kept."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import numpy as np

from tfinv.engine.measuring import Intervals, LayerMeasured, assembled, measure_states, usable
from tfinv.engine.passes import first_statistics
from tfinv.engine.shards import ShardStates
from tfinv.engine.states import LayerStates, kept, merged, restored, unit_shape
from tfinv.evaluation.arguments import as_measures
from tfinv.evaluation.held_samples import check_samples
from tfinv.evaluation.stratified import over_classes
from tfinv.measures import Measure
from tfinv.measures.base import required_statistics
from tfinv.results import LayerResult, Results
from tfinv.statistics import Statistic
from tfinv.statistics.resolution import EXACT, Resolution
from tfinv.support.guarded import guarded

SAME = (
    "model",
    "transformations",
    "num_transformations",
    "image_shape",
    "padding",
    "interpolation",
    "sampling",
    "first_pass_of",
)
"""Metadata entries that results must share to be merged."""


@guarded()
def merge(*results: Results, measures: Any = None, partial: bool = False) -> Results:
    """Join the results of disjoint samples into what one evaluation of all of them gives.

    Example:
        >>> import numpy as np
        >>> import tfinv
        >>> activations = np.random.default_rng(0).normal(size=(10, 4, 3))
        >>> kept = tfinv.Sampling(keep_statistics=True)
        >>> halves = [
        ...     tfinv.evaluate_arrays({"dense": half}, "NormalizedVariance", sampling=kept)
        ...     for half in (activations[:5], activations[5:])
        ... ]
        >>> whole = tfinv.evaluate_arrays({"dense": activations}, "NormalizedVariance")
        >>> joined = tfinv.merge(*halves)["NormalizedVariance"]["dense"].values
        >>> bool(np.allclose(joined, whole["NormalizedVariance"]["dense"].values))
        True

    Args:
        *results: at least two, of the same model, layers, transformations and measures on disjoint samples, evaluated
            with `sampling=Sampling(keep_statistics=True)`.
        measures: the measures, where they are of one's own and their keys cannot be read back.
        partial: allow that images are missing where `Sampling.whole` tells how many there are: these results are
            merged with others later.

    Returns:
        `Results` that hold the merged statistics, so that they can be merged again, with intervals where the parts
        have them. The order of the parts changes nothing. Of `first_pass` results those that are `thresholds`.

    Raises:
        ValueError: results without statistics, or of different layers, models, transformations or measures; samples
            that are held twice or missing, named; measures of two passes whose parts have different thresholds.
        TypeError: something that is no `Results`.
    """
    if len(results) < 2:
        raise ValueError(f"results must be at least two to be merged. Received: {len(results)}")
    for part in results:
        if not isinstance(part, Results):
            raise TypeError(f"results must be Results. Received: {type(part).__name__}")
    if measures is not None:
        measures = as_measures(measures)
    parts = sorted(results, key=lambda part: int(part.samples[0, 0]) if len(part.samples) else 0)
    first = parts[0]
    for number, part in enumerate(results):
        if not part.statistics and not part.subsets:
            raise _without(number, "any")
    _check_same(parts)
    samples = check_samples(parts, partial=partial)
    coarsest = _coarsest(parts)
    metadata = {
        **first.metadata,
        "samples": sum(part.metadata["samples"] for part in parts),
        "merged": sum(part.metadata.get("merged", 1) for part in parts),
        "resolutions": coarsest,
        **_versions(parts),
    }
    if len(samples):
        metadata["data"] = hashlib.blake2b(samples.tobytes(), digest_size=12).hexdigest()
    floors = [part.metadata["interpolation_floor"] for part in parts if part.metadata.get("interpolation_floor")]
    if floors:  # of the part with the first images, as one evaluation has it
        metadata["interpolation_floor"] = floors[0]
    if "first_pass_of" in first.metadata:
        return _first_pass(parts, metadata, samples)
    chosen = _read_back(first) if measures is None else measures
    _check_thresholds(parts, chosen)
    statistics = {statistic.key: statistic for statistic in required_statistics(chosen)}
    _check_gathered(parts, chosen, statistics)
    join = _Joining(parts, chosen, statistics, coarsest)
    if first.metadata.get("sampling", {}).get("stratified"):
        counts = _sums(part.metadata["class_samples"] for part in parts)
        metadata["class_samples"] = counts
        by_class = {
            int(label): assembled(join.layers([f"class {label}"], count, None), metadata)
            for label, count in sorted(counts.items(), key=lambda item: int(item[0]))
        }
        merged_results = over_classes(by_class, metadata)
    else:
        sizes = [sum(shard) for shard in zip_longest(*(part.metadata.get("shards", ()) for part in parts), fillvalue=0)]
        merged_results = join.with_intervals(sizes, metadata)
    return replace(merged_results, samples=samples)


class _Joining:
    """Measures merged states.

    Args:
        parts: the results.
        measures: the measures.
        statistics: by key what they need.
        resolutions: by layer.
    """

    def __init__(
        self,
        parts: Sequence[Results],
        measures: Sequence[Measure],
        statistics: Mapping[str, Statistic],
        resolutions: Mapping[str, Resolution],
    ) -> None:
        self._parts, self._measures = parts, measures
        self._statistics, self._resolutions = statistics, resolutions

    def with_intervals(self, sizes: Sequence[int], metadata: Mapping[str, Any]) -> Results:
        """The results of all samples.

        Args:
            sizes: samples in each shard; empty where there are no intervals.
            metadata: of the results.
        """
        sampling = self._parts[0].metadata.get("sampling", {})
        full = [number for number, size in enumerate(sizes) if size]
        samples = metadata["samples"]
        shards_held = bool(sizes) and all(part.subsets for part in self._parts)
        asked = Intervals(sampling["confidence"], sampling["resamples"]) if shards_held else None
        if (intervals := usable(asked, self._measures, sizes)) is None:
            results = assembled(self.layers([""], samples, None), metadata)
            if not shards_held:
                return results
        else:
            chosen = [f"shard {number}" for number in full]
            kept_sizes = [sizes[number] for number in full]
            results = assembled(self.layers(chosen, samples, intervals), metadata, intervals, kept_sizes)
        labels = [f"shard {number}" for number in range(len(sizes))]
        subsets: dict[str, dict[str, dict[str, Any]]] = {label: {} for label in labels}
        for label in labels:
            for layer in self._parts[0].layers:
                for key, fields in kept(self.states(label, layer)).items():
                    subsets[label].setdefault(key, {})[layer] = fields
        return replace(results, metadata={**metadata, "shards": list(sizes)}, subsets=subsets)

    def layers(self, labels: Sequence[str], samples: int, intervals: Intervals | None) -> dict[str, LayerMeasured]:
        """What was measured, layer by layer.

        Args:
            labels: sets of samples that are measured together, `""` for all.
            samples: how many there are in all of them.
            intervals: the sets are then the shards.
        """
        by_layer = {}
        for layer in self._parts[0].layers:
            shards = [self.states(label, layer) for label in labels]
            by_layer[layer] = measure_states(
                self._measures,
                {measure.key: self._reason(measure, layer, shards[0]) for measure in self._measures},
                ShardStates.of(shards, self._measures, unit_shape(shards[0])),
                intervals,
                keep=True,
                resolution=self._resolutions.get(layer, EXACT),
                samples=samples,
            )
        return by_layer

    def _reason(self, measure: Measure, layer: str, states: LayerStates) -> str:
        if all(statistic in states for statistic in measure.requires):
            return ""
        return self._parts[0][measure.key][layer].note or "it does not apply to this layer"

    def states(self, label: str, layer: str) -> LayerStates:
        """The merged states of one layer for one set of samples."""
        states: dict[Statistic, Any] = {}
        for key, statistic in self._statistics.items():
            held = (part.subsets.get(label, {}) if label else part.statistics for part in self._parts)
            fields = [by_key[key][layer] for by_key in held if layer in by_key.get(key, {})]
            if fields:
                states[statistic] = merged(statistic, [restored(statistic, state) for state in fields])
        return states


def _first_pass(parts: Sequence[Results], metadata: Mapping[str, Any], samples: Any) -> Results:
    """Merged states of a first pass."""
    measures = as_measures(metadata["first_pass_of"])
    join = _Joining(parts, measures, {statistic.key: statistic for statistic in first_statistics(measures)}, {})
    by_label: dict[str, dict[str, dict[str, Any]]] = {}
    for label in dict.fromkeys(["", *(label for part in parts for label in part.subsets)]):
        held = [part.subsets.get(label, {}) if label else part.statistics for part in parts]
        layers = dict.fromkeys(layer for by_key in held for by_layer in by_key.values() for layer in by_layer)
        for layer in layers:
            for key, fields in kept(join.states(label, layer)).items():
                by_label.setdefault(label, {}).setdefault(key, {})[layer] = fields
    return Results({}, dict(metadata), by_label.pop("", {}), subsets=by_label, samples=samples)


def _sums(counts: Any) -> dict[str, int]:
    total: dict[str, int] = {}
    for of_part in counts:
        for label, count in of_part.items():
            total[label] = total.get(label, 0) + count
    return total


def _versions(parts: Sequence[Results]) -> dict[str, Any]:
    """The versions that parts were made with, where they differ."""
    distinct: list[Any] = []
    for part in parts:
        for versions in part.metadata.get("versions_of_parts", [part.metadata.get("versions")]):
            if versions not in distinct:
                distinct.append(versions)
    if len(distinct) < 2:
        return {}
    names = sorted({name for versions in distinct for name in versions or {}})
    different = [name for name in names if len({str((versions or {}).get(name)) for versions in distinct}) > 1]
    warnings.warn(
        f"results were made with different versions of {', '.join(different)}: their numbers may differ by more than "
        "rounding; see versions_of_parts in the metadata",
        stacklevel=4,
    )
    return {"versions_of_parts": distinct}


def _check_thresholds(parts: Sequence[Results], measures: Sequence[Measure]) -> None:
    two = [measure.key for measure in measures if any(statistic.depends for statistic in measure.requires)]
    given = {part.metadata.get("thresholds") for part in parts}
    if two and (None in given or len(given) > 1):
        raise ValueError(
            f"results must have the thresholds of the whole data to be merged for {', '.join(two)}: evaluate every "
            "part with Sampling(keep_statistics=True, first_pass=True), merge these, and evaluate every part with "
            "Sampling(keep_statistics=True, thresholds=merged). Received: parts with "
            + ("thresholds of their own" if None in given else "different thresholds")
        )


def _coarsest(results: Sequence[Results]) -> dict[str, Resolution]:
    """By layer the largest resolution of all parts."""
    given = [part.metadata.get("resolutions", {}) for part in results]
    return {
        name: Resolution(*map(max, zip(*(part.get(name, (0.0, 0.0)) for part in given), strict=True)))
        for name in given[0]
    }


def _read_back(results: Results) -> list[Measure]:
    """The measures that the keys in the results name; nothing that a file of results says is run."""
    try:
        return as_measures(list(results))
    except ValueError as error:
        raise ValueError(
            f"measures must be given to merge results of measures that are not known here, such as measures=[Mine()], "
            f"or their classes registered with tfinv.measures.register: {error}"
        ) from error


def _check_same(results: Sequence[Results]) -> None:
    first = results[0]
    for other in results[1:]:
        for entry in SAME:
            if other.metadata.get(entry) != first.metadata.get(entry):
                raise ValueError(
                    f"results must share {entry} to be merged. Received: {first.metadata.get(entry)!r} and "
                    f"{other.metadata.get(entry)!r}"
                )
        if other.layers != first.layers:
            different = sorted(set(first.layers) ^ set(other.layers)) or "another order"
            raise ValueError(f"results must be of the same layers to be merged. Received: different {different}")
        if list(other) != list(first):
            raise ValueError(f"results must share measures to be merged. Received: {list(first)} and {list(other)}")


def _check_gathered(results: Sequence[Results], measures: Sequence[Measure], statistics: Mapping[str, Any]) -> None:
    for number, part in enumerate(results):
        held = [part.statistics] if part.statistics else list(part.subsets.values())
        known = {key for by_key in held for key in by_key}
        missing = [key for key in statistics if key not in known]
        applying = [key for key in missing if any(layer.values.size for layer in _needing(part, measures, key))]
        if applying or not held:
            raise _without(number, ", ".join(applying or statistics))
        for key, by_layer in part.statistics.items():
            for layer, state in results[0].statistics.get(key, {}).items():
                shapes = {name: np.shape(value) for name, value in by_layer.get(layer, {}).items()}
                if shapes != {name: np.shape(value) for name, value in state.items()}:
                    raise ValueError(
                        f"results must be of layers of one shape to be merged. Received: layer {layer!r} with other "
                        f"{key} in results number {number + 1}"
                    )


def _without(number: int, what: str) -> ValueError:
    return ValueError(
        "results must hold their statistics to be merged: evaluate with sampling=Sampling(keep_statistics=True). "
        f"Received: results number {number + 1} without {what}"
    )


def _needing(results: Results, measures: Sequence[Measure], key: str) -> list[LayerResult]:
    """The layer results of measures that read a statistic."""
    needing = [measure.key for measure in measures if any(needed.key == key for needed in measure.requires)]
    return [layer for name in needing if name in results for layer in results[name].values()]
