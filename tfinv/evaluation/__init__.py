"""Measure models and arrays: `evaluate`, `evaluate_arrays`, `lie_derivative`, and `merge` of what was measured."""

from tfinv.evaluation.arguments import as_measures
from tfinv.evaluation.arrays import evaluate_arrays
from tfinv.evaluation.evaluate import evaluate
from tfinv.evaluation.merging import merge
from tfinv.evaluation.options import Sampling, Warping

__all__ = ["Sampling", "Warping", "as_measures", "evaluate", "evaluate_arrays", "merge"]
