"""Families that move the frame over the scene: crops, and the tilt of a flat scene under a camera."""

from __future__ import annotations

import functools
import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tfinv.support.lazy import tf
from tfinv.support.types import Tensor
from tfinv.transformations.affine import Affine, finite_number, on_pixels
from tfinv.transformations.members import ImageFunction, Transformation, TransformationSet, member_count


def crops(n: int, low: float) -> TransformationSet:
    """Crops about the centre, enlarged to the size of the image: `Affine.scale(1 / share)`.

    Args:
        n: number of members, at least 1; the first is the whole image.
        low: smallest share of both sides that is kept, in (0, 1).

    Returns:
        The set, with the id `crops(n, low)`. Shares are `linspace(1, low, n)`.

    Raises:
        ValueError: an argument out of range.
    """
    count, smallest = member_count(n), finite_number("low", low)
    if not 0 < smallest < 1:
        raise ValueError(f"low must be in (0, 1). Received: {low}")
    shares = np.linspace(1.0, smallest, count)
    members = tuple(Affine.scale(1 / share) for share in shares)
    return TransformationSet(
        members, f"crops({count}, {smallest!r})", tuple(map(float, shares)), "share of the sides that is kept"
    )


def perspective(n: int, max_degrees: float, axis: Literal["vertical", "horizontal"] = "vertical") -> TransformationSet:
    r"""A flat scene tilted about an axis through the centre, seen from a distance of one width.

        (X, Y) \mapsto \frac{d}{d + X \sin\theta_j} (X \cos\theta_j, Y), \quad
        \theta = \text{linspace}(-max\_degrees, max\_degrees, n)

    `X` and `Y` are offsets from the centre in pixels, `d` is the width of the image; about the horizontal axis the
    roles of `X` and `Y` change. Values are interpolated bilinearly, what lies outside is 0.

    Example:
        >>> from tfinv.transformations import perspective
        >>> perspective(3, 30).labels
        ['tilt -30°', 'identity', 'tilt 30°']

    Args:
        n: number of members, at least 1; one member is the identity.
        max_degrees: largest tilt in degrees, in (0, 80].
        axis: about which the scene turns, `"vertical"` or `"horizontal"`.

    Returns:
        The set, with the id `perspective(n, max_degrees)` or `perspective(n, max_degrees, axis)`. It has no
        same-equivariance: the maps are not affine.

    Raises:
        ValueError: an argument out of range.

    Source: the pinhole camera, Hartley and Zisserman 2004, section 6.1.
    """
    count, largest = member_count(n), finite_number("max_degrees", max_degrees)
    if not 0 < largest <= 80:
        raise ValueError(f"max_degrees must be in (0, 80]. Received: {max_degrees}")
    if axis not in ("vertical", "horizontal"):
        raise ValueError(f"axis must be 'vertical' or 'horizontal'. Received: {axis!r}")
    angles = np.zeros(1) if count == 1 else np.linspace(-largest, largest, count)
    members: list[Transformation] = []
    for angle in map(float, angles):
        function = functools.partial(_tilt, angle, axis == "vertical")
        members.append(Affine.identity() if abs(angle) < 1e-9 else ImageFunction(function, f"tilt {angle:.4g}°"))
    text = f"perspective({count}, {largest!r}" + (")" if axis == "vertical" else f", {axis!r})")
    return TransformationSet(tuple(members), text, tuple(map(float, angles)), "tilt of the scene (degrees)")


def _tilt(degrees: float, vertical: bool, images: Tensor) -> Tensor:
    height, width = images.shape[1:3]
    inverse = np.linalg.inv(homography(degrees, width, vertical)).astype(np.float64)
    backward = on_pixels(inverse, height, width)
    coefficients = (backward / backward[2, 2]).ravel()[:8].astype(np.float32)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=coefficients[None],
        output_shape=(height, width),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )


def homography(degrees: float, distance: float, vertical: bool = True) -> NDArray[np.float64]:
    """The 3x3 matrix that tilts a flat scene, on offsets from the centre `(X, Y, 1)` up to a factor."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = float(distance) * np.eye(3)
    turned = 0 if vertical else 1
    matrix[turned, turned] *= cosine
    matrix[2, turned] = sine
    return matrix
