"""Train classifiers with a seed, prune them, and measure how accurate they are under transformations."""

from tfinv.training.accuracy import accuracy, accuracy_under, right_under
from tfinv.training.pruning import Pruning, sparsity
from tfinv.training.train import TrainingResult, train

__all__ = ["Pruning", "TrainingResult", "accuracy", "accuracy_under", "right_under", "sparsity", "train"]
