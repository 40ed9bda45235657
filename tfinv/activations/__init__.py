"""Intermediate activations of a model, from whatever source.

Example:
    >>> from tfinv.activations import ActivationModel, ActivationSource
"""

from tfinv.activations.sub_model import ActivationModel, ActivationSource, LayerChoice, select_names, walk_calls

__all__ = ["ActivationModel", "ActivationSource", "LayerChoice", "select_names", "walk_calls"]
