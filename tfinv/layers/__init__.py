"""Keras layers that are invariant or equivariant by design, and binary layers, for `.keras` and `.tflite` files."""

from __future__ import annotations

from tfinv.layers.binary_activation import BinaryActivation
from tfinv.layers.binary_conv import BinaryConv2D
from tfinv.layers.binary_dense import BinaryDense
from tfinv.layers.group_batch_normalization import GroupBatchNormalization
from tfinv.layers.group_pooling import GroupPooling
from tfinv.layers.p4_conv import P4Conv2D
from tfinv.layers.p4m_conv import P4MConv2D
from tfinv.layers.spatial_transformer import SpatialTransformer
from tfinv.layers.symmetric_pooling import SymmetricMaxPooling2D
from tfinv.layers.ti_pooling import TIPooling

__all__ = [
    "BinaryActivation",
    "BinaryConv2D",
    "BinaryDense",
    "GroupBatchNormalization",
    "GroupPooling",
    "P4Conv2D",
    "P4MConv2D",
    "SpatialTransformer",
    "SymmetricMaxPooling2D",
    "TIPooling",
]
