"""What a first pass over all parts of the data found, for a second pass over each of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfinv.engine.gatherer import States
from tfinv.engine.passes import first_statistics
from tfinv.engine.states import restored
from tfinv.measures import Measure
from tfinv.results import Results
from tfinv.statistics import Layer


def given_states(
    thresholds: Results | None, measures: Sequence[Measure], layers: Sequence[Layer], labels: Sequence[Any] = ("",)
) -> dict[str, States]:
    """By label of a set of samples the finished states that measures of two passes depend on.

    Args:
        thresholds: see `Sampling`; None for none.
        measures: what is measured.
        layers: the layers.
        labels: `""` for all samples, or class numbers.

    Raises:
        ValueError: a statistic, a class or a layer that the thresholds do not hold.
    """
    if thresholds is None:
        return {}
    by_label: dict[str, States] = {}
    for label in labels:
        held = thresholds.statistics if label == "" else thresholds.subsets.get(f"class {label}", {})
        states: States = {}
        for statistic in first_statistics(measures):
            for layer in layers:
                if statistic.applies(layer):
                    continue
                fields = held.get(statistic.key, {}).get(layer.name)
                if fields is None:
                    of_class = "" if label == "" else f" of class {label}"
                    raise ValueError(
                        "thresholds must be merged results of first_pass evaluations of the same measures and layers. "
                        f"Received: results without {statistic.key}{of_class} for layer {layer.name!r}"
                    )
                states.setdefault(statistic, {})[layer.name] = restored(statistic, fields)
        by_label[str(label)] = states
    return by_label


def take_two_rounds(measures: Sequence[Measure]) -> bool:
    """Whether parts need the thresholds of all before they can be measured."""
    return bool(first_statistics(measures))


def id_of(thresholds: Results) -> str:
    """A hash of what thresholds hold: results can be merged where it is the same."""
    digest = hashlib.sha256()
    for label, by_key in (("", thresholds.statistics), *sorted(thresholds.subsets.items())):
        digest.update(label.encode())
        _add(digest, by_key)
    return digest.hexdigest()[:16]


def _add(digest: Any, by_key: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    for key, by_layer in sorted(by_key.items()):
        for layer, fields in sorted(by_layer.items()):
            for name, array in sorted(fields.items()):
                digest.update(f"{key} {layer} {name}".encode())
                digest.update(np.ascontiguousarray(array).tobytes())
