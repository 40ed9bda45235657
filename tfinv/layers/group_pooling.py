"""The largest or mean value of each map over the elements of its group."""

from __future__ import annotations

import math
from typing import Any

from tfinv.support.checks import one_of
from tfinv.support.lazy import select_tensorflow_backend
from tfinv.support.types import Tensor
from tfinv.transformations.groups import GROUPS

select_tensorflow_backend()
import keras  # noqa: E402


@keras.saving.register_keras_serializable(package="tfinv")
class GroupPooling(keras.layers.Layer):
    r"""One channel a map: the maximum or the mean over the group, after which turns permute no channels.

        y_c = \max_h x_{c, h}

    After a global pooling over positions the result is invariant. Early in a network the layer costs accuracy, because
    everything after it has lost the relative orientation of what it sees.

    Example:
        >>> import numpy as np
        >>> from tfinv.layers import GroupPooling
        >>> GroupPooling("p4")(np.arange(8, dtype="float32")[None]).numpy().tolist()
        [[3.0, 7.0]]

    Args:
        group: `"p4"` or `"p4m"`.
        statistic: `"max"` or `"mean"`.
        **options: of `keras.layers.Layer`, such as `name`.

    Input: `(N, ..., C * G)`. Output: `(N, ..., C)`.

    Raises:
        ValueError: an unknown option, or channels that are no multiple of the group's size.

    Source: Cohen and Welling 2016, section 6.3.
    """

    output_group = "none"

    def __init__(self, group: str = "p4", *, statistic: str = "max", **options: Any) -> None:
        super().__init__(**options)
        one_of("group", group, GROUPS)
        one_of("statistic", statistic, ("max", "mean"))
        self.group_name, self.statistic = group, statistic

    def build(self, input_shape: Any) -> None:
        size = GROUPS[self.group_name].size
        if input_shape[-1] is None or input_shape[-1] % size or None in input_shape[1:]:
            raise ValueError(
                f"the input of {self.name!r} must have a known shape and a multiple of {size} channels, maps of "
                f"{self.group_name}. Received: shape {tuple(input_shape)}"
            )

    def call(self, inputs: Tensor) -> Tensor:
        shape, size = tuple(inputs.shape[1:]), GROUPS[self.group_name].size
        # Three axes rather than five: TFLite has fast kernels for few axes.
        maps = keras.ops.reshape(inputs, (-1, math.prod(shape) // size, size))
        pooled = (keras.ops.max if self.statistic == "max" else keras.ops.mean)(maps, axis=-1)
        return keras.ops.reshape(pooled, (-1, *shape[:-1], shape[-1] // size)) if len(shape) > 1 else pooled

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "group": self.group_name, "statistic": self.statistic}
