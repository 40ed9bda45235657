"""The one warp operation: images under every transformation of a set, batched and in-graph."""

from __future__ import annotations

import functools
from typing import Any, Literal, get_args

import numpy as np

from tfinv.support.checks import finite, received
from tfinv.support.guarded import guarded
from tfinv.support.lazy import tf
from tfinv.support.types import Images, Tensor
from tfinv.transformations.affine import Affine, sampling_matrices
from tfinv.transformations.members import Chain, ImageFunction, Transformation
from tfinv.transformations.sets import TransformationSet, as_set

Interpolation = Literal["bilinear", "nearest", "cubic"]
Padding = Literal["constant", "nearest", "reflect"]


@guarded("inverse")
def warp(
    images: Images,
    transformations: Any,
    *,
    interpolation: Interpolation = "bilinear",
    padding: Padding = "constant",
    fill_value: float = 0.0,
    inverse: bool = False,
) -> Any:
    """Apply every transformation of a set to every image.

        out[s, j, p] = image_s(t_j^-1(p)),  interpolated

    Works eagerly and inside a `tf.function`; the operation runs on the GPU where there is one. It is linear in the
    images, and its gradient with respect to them is exact for `"cubic"`, TensorFlow's approximation otherwise.

    Example:
        >>> import numpy as np
        >>> from tfinv.transformations import rotations, warp
        >>> image = np.random.default_rng(0).random((1, 8, 8, 3), dtype="float32")
        >>> out = warp(image, rotations(4))
        >>> out.shape, bool(np.allclose(out[0, 3], np.rot90(image[0]), atol=1e-5))
        (TensorShape([1, 4, 8, 8, 3]), True)

    Args:
        images: `(S, H, W, C)`, any real dtype; computed as float32.
        transformations: a `TransformationSet`, an id such as `"rotations(16)"`, or a sequence of `Affine` and
            functions of images.
        interpolation: `"bilinear"`, `"nearest"` or `"cubic"` (Keys' kernel with a = -0.5).
        padding: what lies outside the frame: `"constant"` (`fill_value`), `"nearest"` (the edge repeated) or
            `"reflect"` (mirrored about the frame's edge, so that the outermost pixel appears twice).
        fill_value: the constant outside the frame.
        inverse: apply the inverse of each transformation's map of positions instead; values are not changed back.

    Returns:
        float32 tensor `(S, T, H, W, C)`. Not compiled by XLA, which lacks the operation.

    Raises:
        ValueError: images that are not rank 4, an unknown option, a singular map, or the inverse of a function
            that does not say where it moves positions.
    """
    if interpolation not in get_args(Interpolation):
        raise ValueError(f"interpolation must be one of {get_args(Interpolation)}. Received: {interpolation!r}")
    if padding not in get_args(Padding):
        raise ValueError(f"padding must be one of {get_args(Padding)}. Received: {padding!r}")
    if not tf.is_tensor(fill_value):
        finite("fill_value", fill_value)
    transformations = as_set(transformations)
    images = _as_tensor(images)
    if images.shape.rank != 4 or None in images.shape[1:]:
        raise ValueError(
            f"images must have the shape (S, H, W, C), of which only S may be unknown. Received: shape {images.shape}"
        )
    if transformations.is_affine:
        return _warp_affine(images, transformations, interpolation, padding, fill_value, inverse)
    if inverse:
        if transformations.positions is None:
            raise ValueError(
                f"inverse needs transformations that say where they move positions. Received: {transformations.id}"
            )
        maps = TransformationSet(transformations.positions)
        return _warp_affine(images, maps, interpolation, padding, fill_value, True)

    def one(images: Tensor, transformation: Transformation) -> Any:
        if isinstance(transformation, Chain):
            return functools.reduce(one, transformation.steps, images)
        if isinstance(transformation, ImageFunction):
            return _apply_function(images, transformation)
        alone = TransformationSet((transformation,))
        return _warp_affine(images, alone, interpolation, padding, fill_value, False)[:, 0]

    return tf.stack([one(images, transformation) for transformation in transformations], axis=1)


def _as_tensor(images: Images) -> Any:
    """Images as a float32 tensor."""
    try:
        tensor = tf.convert_to_tensor(images)
    except (TypeError, ValueError):
        raise TypeError(f"images must be a numeric array (S, H, W, C). Received: {received(images)}") from None
    if not (tensor.dtype.is_floating or tensor.dtype.is_integer or tensor.dtype.is_bool):
        raise TypeError(f"images must be a numeric array (S, H, W, C). Received: {tensor.dtype.name}")
    return tf.cast(tensor, tf.float32)


def warp_each(
    images: Images,
    matrices: Tensor,
    *,
    interpolation: Interpolation = "bilinear",
    padding: Padding = "constant",
    fill_value: float = 0.0,
) -> Any:
    """Warp image `n` by sampling matrix `n`: the kernel under `warp` and the augmentation layer.

    Args:
        images: float32 tensor `(N, H, W, C)`.
        matrices: float32 `(N, 3, 3)` or `(1, 3, 3)`, output pixel `(column, row, 1)` to input pixel.
        interpolation: see `warp`.
        padding: see `warp`.
        fill_value: see `warp`.

    Returns:
        float32 tensor `(N, H, W, C)`.
    """
    if interpolation == "cubic":
        return _warp_cubic(images, matrices, padding, fill_value)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.reshape(matrices, [-1, 9])[:, :8],
        output_shape=tf.shape(images)[1:3],
        fill_value=fill_value,
        interpolation=interpolation.upper(),
        fill_mode=padding.upper(),
    )


def _warp_affine(
    images: Images,
    transformations: TransformationSet,
    interpolation: Interpolation,
    padding: Padding,
    fill: float,
    inverse: bool,
) -> Any:
    height, width, channels = images.shape[1:]
    maps = [transformation for transformation in transformations if isinstance(transformation, Affine)]
    matrices = sampling_matrices(maps, height, width, inverse=inverse).astype(np.float32)
    samples, count = tf.shape(images)[0], len(maps)
    repeated = tf.reshape(tf.tile(images[:, None], [1, count, 1, 1, 1]), [-1, height, width, channels])
    warped = warp_each(
        repeated, tf.tile(matrices, [samples, 1, 1]), interpolation=interpolation, padding=padding, fill_value=fill
    )
    result = tf.reshape(warped, [samples, count, height, width, channels])
    result.set_shape([images.shape[0], count, height, width, channels])
    return result


def _apply_function(images: Images, transformation: ImageFunction) -> Any:
    result = tf.cast(tf.convert_to_tensor(transformation.function(images)), tf.float32)
    if not result.shape.is_compatible_with(images.shape):
        raise ValueError(
            f"transformation {transformation.name!r} must keep the shape {images.shape}. Received: {result.shape}"
        )
    return tf.ensure_shape(result, images.shape)


def _warp_cubic(images: Images, matrices: Tensor, padding: Padding, fill: float) -> Any:
    """Sixteen-point gather with Keys' cubic convolution kernel (Keys 1981, eq. 15, a = -1/2)."""
    height, width, channels = images.shape[1:]
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    columns, rows = columns.ravel().astype(np.float32), rows.ravel().astype(np.float32)
    # Written out rather than as a matrix product, which a GPU computes with ten-bit mantissas (TF32).
    m = tf.reshape(matrices, [-1, 3, 3, 1])
    x_taps = _taps(m[:, 0, 0] * columns + m[:, 0, 1] * rows + m[:, 0, 2], width, padding)
    y_taps = _taps(m[:, 1, 0] * columns + m[:, 1, 1] * rows + m[:, 1, 2], height, padding)
    flat = tf.reshape(images, [-1, height * width, channels])
    result, inside = 0.0, 0.0
    for y_weight, row in y_taps:
        for x_weight, column in x_taps:
            weight = (y_weight * x_weight)[..., None]
            index = tf.broadcast_to(row * width + column, tf.shape(flat)[:2])
            result += weight * tf.gather(flat, index, batch_dims=1)
            inside += weight
    if padding == "constant":
        result += fill * (1.0 - inside)
    return tf.reshape(result, tf.shape(images))


def _taps(position: Any, size: int, padding: Padding) -> list[tuple[Any, Any]]:
    """Weight and index of the four pixels around each position along one axis; none weighs outside a constant frame."""
    base = tf.floor(position)
    fraction, base = position - base, tf.cast(base, tf.int32)
    taps = []
    for step in range(-1, 3):
        weight, index = _keys(fraction - step), base + step
        if padding == "constant":
            weight = tf.where((index >= 0) & (index < size), weight, 0.0)
        if padding == "reflect":
            period = tf.math.floormod(index, 2 * size)
            index = tf.minimum(period, 2 * size - 1 - period)
        taps.append((weight, tf.clip_by_value(index, 0, size - 1)))
    return taps


def _keys(distance: Any) -> Any:
    x = tf.abs(distance)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return tf.where(x <= 1.0, near, tf.where(x < 2.0, far, 0.0))
