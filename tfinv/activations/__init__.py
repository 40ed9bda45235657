"""Intermediate activations of a model, from whatever source."""

from tfinv.activations.onnx_source import OnnxModel
from tfinv.activations.saved_model import SavedModel
from tfinv.activations.source import ActivationSource, LayerChoice
from tfinv.activations.sub_model import ActivationModel
from tfinv.activations.torch_source import TorchModel

__all__ = ["ActivationModel", "ActivationSource", "LayerChoice", "OnnxModel", "SavedModel", "TorchModel"]
