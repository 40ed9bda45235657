"""Spatial pooling that refuses sizes on which its windows do not lie symmetrically."""

from __future__ import annotations

from typing import Any

from tfinv.layers.symmetric import why_not_symmetric
from tfinv.support.checks import one_of, whole_number
from tfinv.support.lazy import select_tensorflow_backend

select_tensorflow_backend()
import keras  # noqa: E402


@keras.saving.register_keras_serializable(package="tfinv")
class SymmetricMaxPooling2D(keras.layers.MaxPooling2D):
    """`keras.layers.MaxPooling2D` for equivariant networks: it refuses an input that would break the symmetry.

    A window of 2 with strides of 2 fits even sizes only, a window of 3 with strides of 2 odd sizes.

    Example:
        >>> import keras
        >>> from tfinv.layers import SymmetricMaxPooling2D
        >>> SymmetricMaxPooling2D(2)(keras.Input((12, 12, 4))).shape
        (None, 6, 6, 4)

    Args:
        pool_size: rows and columns of a window, one number for both.
        strides: pixels from one window to the next, one number for both; `pool_size` by default.
        padding: `"valid"` or `"same"`.
        **options: of `keras.layers.MaxPooling2D`.

    Raises:
        ValueError: when the layer is built, an input that is not square, or on which a turned image would not give
            turned maps.
    """

    def __init__(
        self,
        pool_size: int | tuple[int, int],
        strides: int | tuple[int, int] | None = None,
        padding: str = "valid",
        **options: Any,
    ) -> None:
        for name, size in (("pool_size", pool_size), ("strides", pool_size if strides is None else strides)):
            for number in size if isinstance(size, (tuple, list)) and len(size) == 2 else (size,):
                whole_number(name, number, 1)
        one_of("padding", padding, ("valid", "same"))
        super().__init__(pool_size, strides, padding, **options)

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        windows = {*zip(self.pool_size, self.strides, strict=True)}
        reason = "windows must be square"
        if len(windows) == 1:
            ((window, strides),) = windows
            reason = why_not_symmetric(tuple(input_shape[1:3]), window, strides, self.padding)
        if reason:
            raise ValueError(
                f"the input of {self.name!r} must let a turned image give turned maps: {reason}. "
                f"Received: shape {tuple(input_shape)}"
            )
