"""Research questions as programs, one file each, and what one's own experiment may share with them."""

from tfinv.experiments._shared.drawing import redraw, save_drawing
from tfinv.experiments._shared.evidence import (
    MARGIN,
    Interval,
    agreement,
    change,
    conclude,
    correlation,
    distance,
    slope,
    spread,
)
from tfinv.experiments._shared.standard import (
    MEASURE,
    ROTATED,
    SAME_EQUIVARIANCE,
    Study,
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
    "Study",
    "agreement",
    "change",
    "conclude",
    "correlation",
    "distance",
    "matrix",
    "profile_table",
    "redraw",
    "save_drawing",
    "save_profiles",
    "slope",
    "spread",
    "standard",
    "with_interval",
]
