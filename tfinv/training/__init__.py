"""Train classifiers with a seed, prune them, and measure how accurate they are under transformations."""

from importlib import import_module
from typing import TYPE_CHECKING

from tfinv.training.accuracy import accuracy, accuracy_under, right_under
from tfinv.training.invariance import Distillation, InvarianceLoss
from tfinv.training.label_accuracy import LabelAccuracy, label_accuracy
from tfinv.training.train import TrainingResult, train

if TYPE_CHECKING:
    from tfinv.training.invariance_training import InvarianceTraining
    from tfinv.training.pruning import Pruning, sparsity

__all__ = [
    "Distillation",
    "InvarianceLoss",
    "InvarianceTraining",
    "LabelAccuracy",
    "Pruning",
    "TrainingResult",
    "accuracy",
    "accuracy_under",
    "label_accuracy",
    "right_under",
    "sparsity",
    "train",
]

_LATE = {"InvarianceTraining": "invariance_training", "Pruning": "pruning", "sparsity": "pruning"}
"""What extends classes of Keras, whose import would cost seconds."""


def __getattr__(name: str) -> object:
    if name in _LATE:
        return getattr(import_module(f"tfinv.training.{_LATE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
