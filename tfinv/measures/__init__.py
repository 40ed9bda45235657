"""Measures of invariance and equivariance: small dataclasses, each a formula on shared statistics."""

from __future__ import annotations

from tfinv.measures.anova import Anova, AnovaF
from tfinv.measures.base import Measure
from tfinv.measures.classifier import AccuracyUnder, EffectiveInvariance, LogitVariance, PredictionConsistency
from tfinv.measures.distance import NormalizedDistance, SampleDistance, TransformationDistance
from tfinv.measures.equivariance import LinearEquivariance
from tfinv.measures.goodfellow import Goodfellow, GoodfellowNormal
from tfinv.measures.lie_derivative import LieDerivative
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
from tfinv.support.keys import from_key

__all__ = [
    "AccuracyUnder",
    "Anova",
    "AnovaF",
    "EffectiveInvariance",
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
    "SampleDistance",
    "SampleDistanceSE",
    "SampleVariance",
    "SampleVarianceSE",
    "SimpleDistanceSE",
    "TransformationDistance",
    "TransformationDistanceSE",
    "TransformationVariance",
    "TransformationVarianceSE",
    "names",
    "parse",
]

_MEASURES: dict[str, type] = {
    each.__name__: each
    for each in (
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
        LieDerivative,
        NormalizedDistance,
        SampleDistance,
        TransformationDistance,
        AnovaF,
        Anova,
        Goodfellow,
        GoodfellowNormal,
        AccuracyUnder,
        PredictionConsistency,
        EffectiveInvariance,
        LogitVariance,
    )
}


def parse(text: str) -> Measure:
    """The measure that a key names, such as `"NormalizedVariance(aggregate='mean')"`.

    Raises:
        ValueError: an unknown measure or option.
    """
    return from_key(text, _MEASURES, "measure")


def names() -> list[str]:
    """Names of all measures."""
    return list(_MEASURES)
