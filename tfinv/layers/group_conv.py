"""What the convolutions over groups of turns have in common."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfinv.layers.parts import initializer_of, regularizer_of
from tfinv.layers.repeated import repeated
from tfinv.layers.symmetric import why_not_symmetric
from tfinv.support.checks import flag, one_of, whole_number
from tfinv.support.lazy import select_tensorflow_backend, tf
from tfinv.support.types import Tensor
from tfinv.transformations.groups import GROUPS, TurnGroup

select_tensorflow_backend()
import keras  # noqa: E402

if TYPE_CHECKING:
    from numpy.typing import NDArray


class GroupConv2D(keras.layers.Layer):
    r"""A convolution over positions and over the elements of a group; the base of `P4Conv2D` and `P4MConv2D`.

    One base kernel a map is learned. The layer makes a bank of all its turned copies and runs one ordinary convolution
    with it. Maps of the group lie side by side: channel `c * G + h` holds map `c` at the element `h`.

        \text{lifting:} \quad [f * \psi](g, p) = \sum_{q, c} f_c(q) \, \psi_c(g^{-1}(q - p))

        \text{group:} \quad [f * \psi](g, p) = \sum_{q, c, h} f_c(h, q) \, \psi_c(g^{-1} h, g^{-1}(q - p))
    """

    group: ClassVar[TurnGroup]

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        *,
        lifting: bool = False,
        strides: int = 1,
        padding: str = "valid",
        dilation_rate: int = 1,
        use_bias: bool = True,
        exact: bool = True,
        kernel_initializer: Any = "he_normal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.filters = whole_number("filters", filters, 1)
        self.kernel_size = whole_number("kernel_size", kernel_size, 1)
        self.strides = whole_number("strides", strides, 1)
        self.dilation_rate = whole_number("dilation_rate", dilation_rate, 1)
        one_of("padding", padding, ("valid", "same"))
        if strides > 1 and dilation_rate > 1:
            raise ValueError(
                f"strides and dilation_rate must not both be above 1. Received: {strides} and {dilation_rate}"
            )
        self.padding = padding
        self.lifting, self.use_bias = flag("lifting", lifting), flag("use_bias", use_bias)
        self.exact = flag("exact", exact)
        self.kernel_initializer = initializer_of("kernel_initializer", kernel_initializer)
        self.bias_initializer = initializer_of("bias_initializer", bias_initializer)
        self.kernel_regularizer = regularizer_of("kernel_regularizer", kernel_regularizer)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    @property
    def output_group(self) -> str:
        """The name of the group that permutes the layer's channels."""
        return self.group.name

    def build(self, input_shape: Any) -> None:
        size, channels = tuple(input_shape[1:3]), input_shape[3]
        elements = 1 if self.lifting else self.group.size
        if channels is None or channels % elements:
            raise ValueError(
                f"the input of {self.name!r} must have a multiple of {elements} channels, maps of {self.group.name}; "
                f"an image needs lifting=True. Received: shape {tuple(input_shape)}"
            )
        reason = why_not_symmetric(size, self.kernel_size, self.strides, self.padding, self.dilation_rate)
        if self.exact and reason:
            raise ValueError(
                f"the input of {self.name!r} must let a turned image give turned maps (exact=False allows others): "
                f"{reason}. Received: shape {tuple(input_shape)}"
            )
        k, maps = self.kernel_size, channels // elements

        def initial(shape: tuple[int, ...], dtype: Any = None) -> Tensor:
            plain = self.kernel_initializer((k, k, maps * elements, self.filters), dtype=dtype)
            return keras.ops.reshape(plain, shape)

        self.kernel = self.add_weight(
            name="kernel",
            shape=(k, k, maps, elements, self.filters),
            initializer=initial,
            regularizer=self.kernel_regularizer,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer=self.bias_initializer)

    def bank(self) -> Tensor:
        """The kernel of the ordinary convolution: `(k, k, C * G_in, F * G)`, every base kernel in all its turns."""
        k, _, maps, elements, filters = self.kernel.shape
        sources = turned_sources(self.group.name, k, self.lifting)
        rows = keras.ops.reshape(keras.ops.transpose(self.kernel, (0, 1, 3, 2, 4)), (k * k * elements, maps * filters))
        # One copy at a time: the converter folds no operation whose result is much larger than what it reads.
        copies = [tf.gather(rows, source.reshape(-1)) for source in sources]
        turned = keras.ops.reshape(keras.ops.stack(copies), (self.group.size, k, k, elements, maps, filters))
        return keras.ops.reshape(
            keras.ops.transpose(turned, (1, 2, 4, 3, 5, 0)), (k, k, maps * elements, filters * self.group.size)
        )

    def call(self, inputs: Tensor) -> Tensor:
        outputs = keras.ops.conv(
            inputs,
            keras.ops.cast(self.bank(), inputs.dtype),
            strides=self.strides,
            padding=self.padding,
            data_format="channels_last",
            dilation_rate=self.dilation_rate,
        )
        if self.bias is None:
            return outputs
        return outputs + keras.ops.cast(repeated(self.bias, self.group.size), outputs.dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "lifting": self.lifting,
            "strides": self.strides,
            "padding": self.padding,
            "dilation_rate": self.dilation_rate,
            "use_bias": self.use_bias,
            "exact": self.exact,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }


@lru_cache(maxsize=64)
def turned_sources(group: str, kernel_size: int, lifting: bool) -> NDArray[np.int64]:
    """Which weight of the base kernel stands at each place of its turned copies.

    Args:
        group: `"p4"` or `"p4m"`.
        kernel_size: `k`.
        lifting: whether the input is an image, whose channels no element permutes.

    Returns:
        `(G, k, k, G_in)`, positions in a base kernel `(k, k, G_in)`.
    """
    turns = GROUPS[group]
    elements = 1 if lifting else turns.size
    places = np.arange(kernel_size**2 * elements).reshape(kernel_size, kernel_size, elements)
    copies = []
    for element in range(turns.size):
        turned = turns.turned(places, element)
        copies.append(turned if lifting else turned[..., turns.permutation(element, elements)])
    return np.stack(copies)
