"""Intermediate activations of a model, from whatever source."""

from tfinv.activations.source import ActivationSource, LayerChoice
from tfinv.activations.sub_model import ActivationModel

__all__ = ["ActivationModel", "ActivationSource", "LayerChoice"]
