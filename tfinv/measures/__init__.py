"""Measures of invariance and equivariance: small dataclasses, each a formula on shared statistics."""

from __future__ import annotations

from tfinv.keys import from_key
from tfinv.measures.base import Measure
from tfinv.measures.equivariance import LinearEquivariance
from tfinv.measures.same_equivariance import (
    NormalizedVarianceSE,
    SampleVarianceSE,
    SimpleDistanceSE,
    TransformationVarianceSE,
)
from tfinv.measures.variance import NormalizedVariance, SampleVariance, TransformationVariance

__all__ = [
    "LinearEquivariance",
    "Measure",
    "NormalizedVariance",
    "NormalizedVarianceSE",
    "SampleVariance",
    "SampleVarianceSE",
    "SimpleDistanceSE",
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
        LinearEquivariance,
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
