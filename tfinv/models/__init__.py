"""Functional Keras models that end in logits, by function, by name or from a file.

Every layer has a readable name that survives conversion to TFLite, activations are layers of their own, and no model
has a softmax: it saturates in int8 and hides what the logits show.
"""

from __future__ import annotations

from tfinv.activations.fixed_inputs import fix_inputs
from tfinv.models.all_convolutional import all_convolutional
from tfinv.models.binary_net import binary_net
from tfinv.models.build import build, names, register
from tfinv.models.ffnet import ffnet
from tfinv.models.inception import inception
from tfinv.models.lenet import lenet
from tfinv.models.load import load
from tfinv.models.mobilenet_small import mobilenet_small
from tfinv.models.opening import open_file
from tfinv.models.p4_all_convolutional import p4_all_convolutional
from tfinv.models.p4_resnet import p4_resnet
from tfinv.models.p4cnn import p4cnn, z2cnn
from tfinv.models.resnet import resnet
from tfinv.models.simple_conv import simple_conv
from tfinv.models.st_cnn import st_cnn
from tfinv.models.ti_pooling import ti_pooling
from tfinv.models.ti_pooling_laptev import ti_pooling_laptev
from tfinv.models.tutorial_cnn import tutorial_cnn
from tfinv.models.vgg16d import vgg16d

__all__ = [
    "all_convolutional",
    "binary_net",
    "build",
    "ffnet",
    "fix_inputs",
    "inception",
    "lenet",
    "load",
    "mobilenet_small",
    "names",
    "open_file",
    "p4_all_convolutional",
    "p4_resnet",
    "p4cnn",
    "register",
    "resnet",
    "simple_conv",
    "st_cnn",
    "ti_pooling",
    "ti_pooling_laptev",
    "tutorial_cnn",
    "vgg16d",
    "z2cnn",
]
