"""Research questions as programs, one file each, and what an experiment of a user may share with them."""

from __future__ import annotations

import warnings
from typing import Any

from tfinv.experiments._shared.drawing import redraw, save_drawing
from tfinv.experiments._shared.evidence import (
    MARGIN,
    Interval,
    change,
    conclude,
    correlation,
    distance,
    rank_agreement,
    slope,
    spread,
)
from tfinv.experiments._shared.standard import (
    MEASURE,
    ROTATED,
    SAME_EQUIVARIANCE,
    StandardStudy,
    profile_table,
    save_profiles,
    standard,
    with_interval,
)
from tfinv.plots.matrix import matrix

__all__ = [
    "MARGIN",
    "MEASURE",
    "ROTATED",
    "SAME_EQUIVARIANCE",
    "Interval",
    "StandardStudy",
    "change",
    "conclude",
    "correlation",
    "distance",
    "matrix",
    "profile_table",
    "rank_agreement",
    "redraw",
    "save_drawing",
    "save_profiles",
    "slope",
    "spread",
    "standard",
    "with_interval",
]

_RENAMED = {"Study": "StandardStudy", "agreement": "rank_agreement"}


def __getattr__(name: str) -> Any:
    if name not in _RENAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    new = _RENAMED[name]
    warnings.warn(
        f"tfinv.experiments.{name} is called tfinv.experiments.{new}; the old name is gone in the next release",
        DeprecationWarning,
        stacklevel=2,
    )
    return globals()[new]
