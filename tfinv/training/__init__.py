"""Train classifiers with a seed, and measure how accurate they are under transformations."""

from typing import TYPE_CHECKING

from tfinv.training.accuracy import accuracy, accuracy_under, right_under
from tfinv.training.invariance import Distillation, InvarianceLoss
from tfinv.training.train import TrainingResult, train

if TYPE_CHECKING:
    from tfinv.training.invariance_training import InvarianceTraining

__all__ = [
    "Distillation",
    "InvarianceLoss",
    "InvarianceTraining",
    "TrainingResult",
    "accuracy",
    "accuracy_under",
    "right_under",
    "train",
]


def __getattr__(name: str) -> object:
    if name == "InvarianceTraining":  # a Keras model: its base class costs the import of Keras
        from tfinv.training.invariance_training import InvarianceTraining

        return InvarianceTraining
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
