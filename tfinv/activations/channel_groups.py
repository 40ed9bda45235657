"""How transformations of the image permute the channels of each layer, as far as the layers know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfinv.activations.keras_graph import KerasCall
from tfinv.support.lazy import keras

NONE = "none"
"""No transformation permutes the channels, as for images."""
UNKNOWN = ""


def channel_groups(calls: Sequence[KerasCall], images: Any) -> list[str]:
    """The group that permutes the channels of what each call gives: `"p4"`, `"p4m"`, `"none"`, or `""` for unknown.

    A layer with an attribute `output_group` names it. Layers that leave channels in place pass on that of their inputs,
    and nothing is known after others.

    Args:
        calls: of one model, in network order.
        images: what stands for the images in the calls.
    """
    known = {id(images): NONE}
    groups = []
    for call in calls:
        before = {known.get(id(value), UNKNOWN) for value in call.inputs}
        kept = before.pop() if len(before) == 1 and _keeps_channels(call.layer) else UNKNOWN
        groups.append(getattr(call.layer, "output_group", kept))
        known |= {id(value): groups[-1] for value in call.outputs}
    return groups


def _keeps_channels(layer: Any) -> bool:
    kinds = (
        keras.layers.Activation,
        keras.layers.Add,
        keras.layers.Average,
        keras.layers.AveragePooling2D,
        keras.layers.BatchNormalization,
        keras.layers.Concatenate,
        keras.layers.Dropout,
        keras.layers.ELU,
        keras.layers.GlobalAveragePooling2D,
        keras.layers.GlobalMaxPooling2D,
        keras.layers.Identity,
        keras.layers.LeakyReLU,
        keras.layers.Maximum,
        keras.layers.MaxPooling2D,
        keras.layers.ReLU,
        keras.layers.Rescaling,
        keras.layers.UpSampling2D,
        keras.layers.ZeroPadding2D,
    )
    return isinstance(layer, kinds)
