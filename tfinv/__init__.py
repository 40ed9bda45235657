"""Measure how invariant every unit of a Keras or TFLite network is to transformations of its input.

TensorFlow is imported at the first use that needs it, never by ``import tfinv``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tfinv.results import LayerResult, MeasureResult, Results
from tfinv.status import Status

if TYPE_CHECKING:
    from tfinv import datasets, measures, models, outputs, plots, report, tflite, transformations, uncertainty
    from tfinv.activations.sub_model import ActivationModel
    from tfinv.evaluation.arrays import evaluate_arrays
    from tfinv.evaluation.distribution import distributed
    from tfinv.evaluation.evaluate import evaluate
    from tfinv.evaluation.lie_derivative import lie_derivative
    from tfinv.evaluation.merging import merge
    from tfinv.evaluation.options import Sampling, Warping
    from tfinv.evaluation.search import worst_case
    from tfinv.evaluation.search_result import WorstCase
    from tfinv.outputs.measuring import output_change
    from tfinv.transformations import AffineAugmentation

__version__ = "0.1.0"

_ATTRIBUTES = {
    "ActivationModel": "tfinv.activations",
    "AffineAugmentation": "tfinv.transformations",
    "Sampling": "tfinv.evaluation.options",
    "Warping": "tfinv.evaluation.options",
    "distributed": "tfinv.evaluation.distribution",
    "evaluate": "tfinv.evaluation",
    "evaluate_arrays": "tfinv.evaluation.arrays",
    "lie_derivative": "tfinv.evaluation.lie_derivative",
    "merge": "tfinv.evaluation.merging",
    "WorstCase": "tfinv.evaluation.search_result",
    "worst_case": "tfinv.evaluation.search",
    "output_change": "tfinv.outputs.measuring",
}
_MODULES = ("datasets", "measures", "models", "outputs", "plots", "report", "tflite", "transformations", "uncertainty")

__all__ = [
    "ActivationModel",
    "AffineAugmentation",
    "LayerResult",
    "MeasureResult",
    "Results",
    "Sampling",
    "Status",
    "Warping",
    "WorstCase",
    "__version__",
    "datasets",
    "distributed",
    "evaluate",
    "evaluate_arrays",
    "lie_derivative",
    "measures",
    "merge",
    "models",
    "output_change",
    "outputs",
    "plots",
    "report",
    "tflite",
    "transformations",
    "uncertainty",
    "worst_case",
]


def __getattr__(name: str) -> Any:
    if name in _ATTRIBUTES:
        value = getattr(importlib.import_module(_ATTRIBUTES[name]), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return importlib.import_module(f"tfinv.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
