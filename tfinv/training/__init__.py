"""Train classifiers with a seed, and measure how accurate they are under transformations."""

from tfinv.training.accuracy import accuracy, accuracy_under, right_under
from tfinv.training.train import TrainingResult, train

__all__ = ["TrainingResult", "accuracy", "accuracy_under", "right_under", "train"]
