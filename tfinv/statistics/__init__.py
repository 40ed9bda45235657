"""Mergeable statistics of the ST matrix, gathered in one pass."""

from tfinv.statistics.answers_under_all import RightCounts, SameAnswers
from tfinv.statistics.base import Context, Layer, Statistic, View
from tfinv.statistics.class_counts import ConsistentPredictions, CorrectPredictions
from tfinv.statistics.column_moments import ColumnMoments, ColumnMomentsState
from tfinv.statistics.column_sample import ColumnSample, ColumnSampleState
from tfinv.statistics.firing import LocalFiring, LocalFiringState, NormalFiring, NormalFiringState
from tfinv.statistics.firing_share import ShareAbove, ShareAboveState
from tfinv.statistics.row_dispersion import RowDispersion, RowDispersionState
from tfinv.statistics.row_distances import RowDistances, RowDistancesState
from tfinv.statistics.top_values import TopValues, TopValuesState

__all__ = [
    "ColumnMoments",
    "ColumnMomentsState",
    "ColumnSample",
    "ColumnSampleState",
    "ConsistentPredictions",
    "Context",
    "CorrectPredictions",
    "Layer",
    "LocalFiring",
    "LocalFiringState",
    "NormalFiring",
    "NormalFiringState",
    "RightCounts",
    "RowDispersion",
    "RowDispersionState",
    "RowDistances",
    "RowDistancesState",
    "SameAnswers",
    "ShareAbove",
    "ShareAboveState",
    "Statistic",
    "TopValues",
    "TopValuesState",
    "View",
]
