"""Infinitesimal transformations: how images and feature maps change at the identity.

The warp itself has no gradient with respect to its matrix: the velocity of each position times the spatial derivatives
of the map gives the tangent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from tfinv.support.lazy import tf

if TYPE_CHECKING:
    from numpy.typing import NDArray

Generator = Literal["rotation", "scale", "translation_x", "translation_y", "shear"]
GENERATORS: tuple[Generator, ...] = get_args(Generator)
"""Rotation is per radian, scale per unit of log scale, translations per width and per height, shear per unit slope."""


def generator_tangent(maps: Any, generator: Generator) -> Any:
    r"""Derivative of transformed feature maps with respect to the transformation's parameter, at the identity.

        X h (p) = \frac{d}{d\epsilon} h(t_\epsilon^{-1}(p)) = - v(p) \cdot \nabla h(p)

    The spatial derivative is the central difference, which is exactly the symmetric derivative of a bilinear warp;
    outside the frame the border is repeated.

    Example:
        >>> import tensorflow as tf
        >>> from tfinv.transformations.generators import generator_tangent
        >>> ramp = tf.reshape(tf.range(5.0), (1, 1, 5, 1))
        >>> generator_tangent(ramp, "translation_x")[0, 0, :, 0].numpy().tolist()
        [-2.5, -5.0, -5.0, -5.0, -2.5]

    Args:
        maps: float32 `(N, H, W, C)`.
        generator: one of `GENERATORS`.

    Returns:
        float32 `(N, H, W, C)`.
    """
    height, width = maps.shape[1:3]
    padded = tf.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0)), "SYMMETRIC")
    along_x = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2
    along_y = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
    velocity_x, velocity_y = _velocity(generator, height, width)
    return -(velocity_x[..., None] * along_x + velocity_y[..., None] * along_y)


def _velocity(generator: Generator, height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where each position moves, in pixels per unit of the parameter: `(H, W)` along x and along y."""
    y, x = np.meshgrid(np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2, indexing="ij")
    zero = np.zeros_like(x)
    fields = {
        "rotation": (y, -x),
        "scale": (x, y),
        "translation_x": (zero + width, zero),
        "translation_y": (zero, zero + height),
        "shear": (y, zero),
    }
    velocity_x, velocity_y = fields[generator]
    return velocity_x.astype(np.float32), velocity_y.astype(np.float32)
