"""A spatial transformer: the network itself decides how to turn, scale or shift its input."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from tfinv.layers.sampler import sample
from tfinv.support.checks import one_of
from tfinv.support.lazy import select_tensorflow_backend
from tfinv.support.types import Tensor

select_tensorflow_backend()
import keras  # noqa: E402

Head = Literal["affine", "rotation", "translation_scale"]
IDENTITY: dict[str, tuple[float, ...]] = {
    "affine": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "rotation": (3.0, 0.0),
    "translation_scale": (1.0, 0.0, 0.0),
}
"""The numbers of each head that leave an image as it is: the biases of a localisation network at the start."""


@keras.saving.register_keras_serializable(package="tfinv")
class SpatialTransformer(keras.layers.Layer):
    r"""Warps each image by the transformation that a localisation network gives for it.

        (x_s, y_s) = A_\theta \, (x_t, y_t, 1)^T,   \quad \text{in coordinates } [-1, 1]^2

    | head | numbers | `A` |
    |---|---|---|
    | `"affine"` | `(a, b, c, d, e, f)` | `[[a, b, c], [d, e, f]]` |
    | `"rotation"` | `(a, b)`, of length `r` | `[[a/r, -b/r, 0], [b/r, a/r, 0]]` |
    | `"translation_scale"` | `(s, c, f)` | `[[s, 0, c], [0, s, f]]` |

    Put it at the input of a network: on feature maps it cannot, in general, align what a transformation of the image
    did. Full int8 destroys the sampler, see `tfinv.layers.sampler`; keep its operators float.

    Example:
        >>> import numpy as np
        >>> from tfinv.layers import SpatialTransformer
        >>> images = np.random.default_rng(0).random((2, 8, 8, 1), dtype="float32")
        >>> turned = SpatialTransformer("rotation")([images, np.array([[1, 0], [0, 1]], "float32")])
        >>> [bool(np.allclose(turned[k], np.rot90(images[k], k), atol=1e-5)) for k in (0, 1)]
        [True, True]

    Args:
        head: what the numbers mean.
        **options: of `keras.layers.Layer`, such as `name`.

    Input: a list of images `(N, H, W, C)` and numbers `(N, 6)`, `(N, 2)` or `(N, 3)`. Output: `(N, H, W, C)`.

    Raises:
        ValueError: an unknown head, or numbers of the wrong size.

    Source: Jaderberg et al. 2015, "Spatial transformer networks", equations 1 and 5.
    """

    def __init__(self, head: Head = "affine", **options: Any) -> None:
        super().__init__(**options)
        one_of("head", head, Head)
        self.head = head

    def build(self, input_shape: Any) -> None:
        images, numbers = (tuple(shape) for shape in input_shape)
        wanted = len(IDENTITY[self.head])
        if len(images) != 4 or None in images[1:] or numbers[1:] != (wanted,):
            raise ValueError(
                f"the input of {self.name!r} must be images of a known size (N, H, W, C), and {wanted} numbers for "
                f"each. Received: shapes {images} and {numbers}"
            )

    def call(self, inputs: Any) -> Tensor:
        images, numbers = inputs
        height, width = images.shape[1:3]
        rows, columns = np.meshgrid(_normalized(height), _normalized(width), indexing="ij")
        (xx, xy, xt), (yx, yy, yt) = self._matrix(numbers)
        x = xx * columns + xy * rows + xt
        y = yx * columns + yy * rows + yt
        return sample(images, (x + 1.0) * (width / 2) - 0.5, (y + 1.0) * (height / 2) - 0.5)

    def _matrix(self, numbers: Tensor) -> tuple[tuple[Any, Any, Any], tuple[Any, Any, Any]]:
        """The six entries of `A`, each `(N, 1, 1)` or 0."""
        columns = [keras.ops.reshape(numbers[:, n], (-1, 1, 1)) for n in range(len(IDENTITY[self.head]))]
        if self.head == "affine":
            a, b, c, d, e, f = columns
            return (a, b, c), (d, e, f)
        if self.head == "translation_scale":
            s, c, f = columns
            return (s, 0.0, c), (0.0, s, f)
        a, b = columns
        shrink = keras.ops.rsqrt(a * a + b * b + 1e-12)
        cosine, sine = a * shrink, b * shrink
        return (cosine, -sine, 0.0), (sine, cosine, 0.0)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return tuple(input_shape[0])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "head": self.head}


def _normalized(size: int) -> Any:
    """The centres of pixels in `[-1, 1]`, float32."""
    return ((2 * np.arange(size) + 1) / size - 1).astype(np.float32)
