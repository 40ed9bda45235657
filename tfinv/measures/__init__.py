"""Measures of invariance and equivariance: small dataclasses, each a formula on shared statistics."""

from __future__ import annotations

import dataclasses

from tfinv.measures.anova import Anova, AnovaF
from tfinv.measures.base import Measure
from tfinv.measures.classifier import AccuracyUnder, EffectiveInvariance, LogitVariance, PredictionConsistency
from tfinv.measures.distance import NormalizedDistance, SampleDistance, TransformationDistance
from tfinv.measures.equivariance import LinearEquivariance
from tfinv.measures.firing_share import FiringShare
from tfinv.measures.goodfellow import Goodfellow, GoodfellowNormal
from tfinv.measures.lie_derivative import LieDerivative
from tfinv.measures.representation import RepresentationEquivariance
from tfinv.measures.same_equivariance import (
    NormalizedVarianceSE,
    SampleVarianceSE,
    SimpleDistanceSE,
    TransformationVarianceSE,
)
from tfinv.measures.same_equivariance_distance import (
    NormalizedDistanceSE,
    SampleDistanceSE,
    TransformationDistanceSE,
)
from tfinv.measures.variance import NormalizedVariance, SampleVariance, TransformationVariance
from tfinv.measures.worst_case import AccuracyAtLeast, ConsistencyAll, WorstCaseAccuracy
from tfinv.support.extensions import installed, installed_names
from tfinv.support.guarded import guarded
from tfinv.support.keys import from_key

__all__ = [
    "AccuracyAtLeast",
    "AccuracyUnder",
    "Anova",
    "AnovaF",
    "ConsistencyAll",
    "EffectiveInvariance",
    "FiringShare",
    "Goodfellow",
    "GoodfellowNormal",
    "LieDerivative",
    "LinearEquivariance",
    "LogitVariance",
    "Measure",
    "NormalizedDistance",
    "NormalizedDistanceSE",
    "NormalizedVariance",
    "NormalizedVarianceSE",
    "PredictionConsistency",
    "RepresentationEquivariance",
    "SampleDistance",
    "SampleDistanceSE",
    "SampleVariance",
    "SampleVarianceSE",
    "SimpleDistanceSE",
    "TransformationDistance",
    "TransformationDistanceSE",
    "TransformationVariance",
    "TransformationVarianceSE",
    "WorstCaseAccuracy",
    "names",
    "parse",
    "register",
]

_MEASURES: dict[str, type] = {
    measure.__name__: measure
    for measure in (
        NormalizedVariance,
        SampleVariance,
        TransformationVariance,
        NormalizedVarianceSE,
        SampleVarianceSE,
        TransformationVarianceSE,
        SimpleDistanceSE,
        NormalizedDistanceSE,
        SampleDistanceSE,
        TransformationDistanceSE,
        LinearEquivariance,
        RepresentationEquivariance,
        LieDerivative,
        NormalizedDistance,
        SampleDistance,
        TransformationDistance,
        AnovaF,
        Anova,
        FiringShare,
        Goodfellow,
        GoodfellowNormal,
        AccuracyUnder,
        WorstCaseAccuracy,
        AccuracyAtLeast,
        ConsistencyAll,
        PredictionConsistency,
        EffectiveInvariance,
        LogitVariance,
    )
}


_BUILT_IN = frozenset(_MEASURES)
GROUP = "tfinv.measures"
"""The entry-point group in which installed packages name classes of measures."""


def register(measure: type[Measure]) -> type[Measure]:
    """Make a class of measures known by its name, so that `parse` and `tfinv.merge` read its keys. A decorator.

    A later class of the same name takes the place of an earlier one, but for the classes of tfinv.

    Args:
        measure: a frozen dataclass that extends `Measure`; the key of an instance is the class name with parameters.

    Returns:
        The class.

    Raises:
        TypeError: something else.
        ValueError: the name of a measure of tfinv.
    """
    if not (isinstance(measure, type) and issubclass(measure, Measure) and dataclasses.is_dataclass(measure)):
        raise TypeError(f"measure must be a dataclass that extends tfinv.measures.Measure. Received: {measure!r}")
    if measure.__name__ in _BUILT_IN and _MEASURES[measure.__name__] is not measure:
        raise ValueError(f"measure must not have the name of a measure of tfinv. Received: {measure.__name__!r}")
    _MEASURES[measure.__name__] = measure
    return measure


@guarded()
def parse(text: str) -> Measure:
    """The measure that a key names, such as `"NormalizedVariance(aggregate='mean')"`.

    Known are the measures of tfinv, registered ones, and those of the entry points `tfinv.measures`.

    Raises:
        ValueError: an unknown measure or option.
    """
    name = text.strip().partition("(")[0]
    if name not in _MEASURES and (measure := installed(GROUP, name)) is not None:
        register(measure)
    return from_key(text, _MEASURES, "measure")


def names() -> list[str]:
    """Names of all measures: those of tfinv, then registered and installed ones."""
    return list(dict.fromkeys([*_MEASURES, *installed_names(GROUP)]))
