"""Mergeable statistics of the ST matrix, gathered in one pass."""

from tfinv.statistics.base import Context, Layer, Statistic, View
from tfinv.statistics.column_moments import ColumnMoments, ColumnMomentsState
from tfinv.statistics.row_dispersion import RowDispersion, RowDispersionState

__all__ = [
    "ColumnMoments",
    "ColumnMomentsState",
    "Context",
    "Layer",
    "RowDispersion",
    "RowDispersionState",
    "Statistic",
    "View",
]
