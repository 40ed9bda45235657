"""Batch normalization of maps over a group: one mean, variance, scale and offset a map."""

from __future__ import annotations

from typing import Any

from tfinv.layers.repeated import repeated
from tfinv.support.checks import finite, one_of
from tfinv.support.lazy import select_tensorflow_backend
from tfinv.support.types import Tensor
from tfinv.transformations.groups import GROUPS

select_tensorflow_backend()
import keras  # noqa: E402


@keras.saving.register_keras_serializable(package="tfinv")
class GroupBatchNormalization(keras.layers.Layer):
    r"""Batch normalization that treats the channels of one map of a group alike, so that turns still permute them.

        y_{c, h} = \gamma_c \, \frac{x_{c, h} - \mu_c}{\sqrt{v_c + \epsilon}} + \beta_c,

    with the mean `mu_c` and the variance `v_c` over samples, positions and the elements `h`. An ordinary
    `BatchNormalization` learns four numbers a channel, and breaks the equivariance of the network. At conversion the
    four vectors are repeated over `h` as constants, so that the layer disappears into the convolution before it.

    Example:
        >>> import numpy as np
        >>> from tfinv.layers import GroupBatchNormalization
        >>> layer = GroupBatchNormalization("p4")
        >>> layer(np.ones((2, 5, 5, 12), "float32")).shape, layer.count_params()
        (TensorShape([2, 5, 5, 12]), 12)

    Args:
        group: `"p4"` or `"p4m"`.
        momentum: of the moving mean and variance.
        epsilon: added to the variance.
        **options: of `keras.layers.Layer`, such as `name`.

    Input and output: `(N, H, W, C * G)`.

    Raises:
        ValueError: an unknown group, or channels that are no multiple of its size.

    Source: Cohen and Welling 2016, section 5; Ioffe and Szegedy 2015.
    """

    def __init__(self, group: str = "p4", *, momentum: float = 0.9, epsilon: float = 1e-5, **options: Any) -> None:
        super().__init__(**options)
        one_of("group", group, GROUPS)
        self.group_name = group
        self.momentum, self.epsilon = finite("momentum", momentum), finite("epsilon", epsilon)
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1. Received: {momentum!r}")
        if not epsilon > 0:
            raise ValueError(f"epsilon must be a number above 0. Received: {epsilon!r}")

    @property
    def output_group(self) -> str:
        """The name of the group that permutes the layer's channels."""
        return self.group_name

    def build(self, input_shape: Any) -> None:
        size, channels = GROUPS[self.group_name].size, input_shape[-1]
        if channels is None or channels % size:
            raise ValueError(
                f"the input of {self.name!r} must have a multiple of {size} channels, maps of {self.group_name}. "
                f"Received: shape {tuple(input_shape)}"
            )
        maps = (channels // size,)
        self.gamma = self.add_weight(name="gamma", shape=maps, initializer="ones")
        self.beta = self.add_weight(name="beta", shape=maps, initializer="zeros")
        self.moving_mean = self.add_weight(name="moving_mean", shape=maps, initializer="zeros", trainable=False)
        self.moving_variance = self.add_weight(name="moving_variance", shape=maps, initializer="ones", trainable=False)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        mean, variance = self.moving_mean, self.moving_variance
        if training and self.trainable:
            mean, variance = self._moments(inputs)
            for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * self.momentum + value * (1 - self.momentum))
        size = GROUPS[self.group_name].size
        mean, variance, beta, gamma = (
            keras.ops.cast(repeated(vector, size), inputs.dtype) for vector in (mean, variance, self.beta, self.gamma)
        )
        return keras.ops.batch_normalization(inputs, mean, variance, -1, beta, gamma, self.epsilon)

    def _moments(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of each map, from those of its channels, which all count alike."""
        size = GROUPS[self.group_name].size
        means, variances = keras.ops.moments(keras.ops.cast(inputs, "float32"), list(range(len(inputs.shape) - 1)))
        means, variances = (keras.ops.reshape(vector, (-1, size)) for vector in (means, variances))
        mean = keras.ops.mean(means, axis=1)
        between = keras.ops.mean(keras.ops.square(means - mean[:, None]), axis=1)
        return mean, keras.ops.mean(variances, axis=1) + between

    def get_config(self) -> dict[str, Any]:
        options = {"group": self.group_name, "momentum": self.momentum, "epsilon": self.epsilon}
        return {**super().get_config(), **options}
