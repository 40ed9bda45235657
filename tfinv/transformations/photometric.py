"""Families that change values, not positions: light, sharpness, noise, compression and the kernel that resized."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import numpy as np

from tfinv.support.checks import whole_number
from tfinv.support.lazy import tf
from tfinv.support.types import Tensor
from tfinv.transformations.affine import Affine, finite_number
from tfinv.transformations.members import (
    MOST_FUNCTIONS,
    ImageFunction,
    Transformation,
    TransformationSet,
    member_count,
)

Kernel = Literal["nearest", "bilinear", "bicubic", "area", "lanczos3"]


def brightness(n: int, limit: float) -> TransformationSet:
    r"""Brightness added to every value.

        t_j(x) = \operatorname{clip}(x + b_j, 0, 1), \quad b = \text{linspace}(-limit, limit, n)

    Example:
        >>> from tfinv.transformations import brightness
        >>> brightness(3, 0.2).labels
        ['brightness -0.2', 'identity', 'brightness +0.2']

    Args:
        n: number of members, at least 1; one member is the identity.
        limit: largest change of values in [0, 1], in (0, 1].

    Returns:
        The set, with the id `brightness(n, limit)`.

    Raises:
        ValueError: an argument out of range.
    """
    count, largest = member_count(n), _within("limit", limit, 0.0, 1.0, above=True)
    amounts = np.zeros(1) if count == 1 else np.linspace(-largest, largest, count)

    def add(amount: float, images: Tensor) -> Tensor:
        return tf.clip_by_value(images + amount, 0.0, 1.0)

    return _family(
        f"brightness({count}, {largest!r})", "brightness {:+g}", "brightness added (clipped to 0..1)", add, amounts
    )


def contrast(n: int, low: float, high: float) -> TransformationSet:
    r"""Contrast about the mean `m` of each channel of each image.

        t_j(x) = \operatorname{clip}(m + f_j (x - m), 0, 1), \quad f = \text{geomspace}(low, high, n)

    Args:
        n: number of members, at least 1.
        low: smallest factor, in (0, 1].
        high: largest factor, at least 1.

    Returns:
        The set, with the id `contrast(n, low, high)`.

    Raises:
        ValueError: an argument out of range.
    """
    count, smallest, largest, amounts = _factors(n, low, high)

    def stretch(amount: float, images: Tensor) -> Tensor:
        mean = tf.reduce_mean(images, (1, 2), keepdims=True)
        return tf.clip_by_value(mean + amount * (images - mean), 0.0, 1.0)

    axis = "factor of contrast (clipped to 0..1)"
    return _family(
        f"contrast({count}, {smallest!r}, {largest!r})", "contrast x{:g}", axis, stretch, amounts, neutral=1.0
    )


def gamma(n: int, low: float, high: float) -> TransformationSet:
    r"""Values raised to a power; above 1 darkens.

        t_j(x) = \operatorname{clip}(x, 0, 1)^{g_j}, \quad g = \text{geomspace}(low, high, n)

    Args:
        n: number of members, at least 1.
        low: smallest exponent, in (0, 1].
        high: largest exponent, at least 1.

    Returns:
        The set, with the id `gamma(n, low, high)`.

    Raises:
        ValueError: an argument out of range.
    """
    count, smallest, largest, amounts = _factors(n, low, high)

    def bend(amount: float, images: Tensor) -> Tensor:
        return tf.clip_by_value(images, 0.0, 1.0) ** amount

    text = f"gamma({count}, {smallest!r}, {largest!r})"
    return _family(text, "gamma {:g}", "exponent gamma", bend, amounts, neutral=1.0)


def saturation(n: int, low: float, high: float) -> TransformationSet:
    r"""Saturation of colour: each value's distance from the largest channel of its pixel, times a factor.

        t_j(x)_c = M - \min(f_j s, 1) (M - x_c) / s, \quad M = \max_c x_c, \; s = (M - \min_c x_c) / M, \quad
        f = \text{linspace}(low, high, n)

    Args:
        n: number of members, at least 1.
        low: smallest factor, at least 0, which is grey.
        high: largest factor, not below `low`.

    Returns:
        The set, with the id `saturation(n, low, high)`. It needs images of three channels.

    Raises:
        ValueError: an argument out of range.
    """
    count, smallest = member_count(n), _within("low", low, 0.0, math.inf)
    largest = _within("high", high, smallest, math.inf)
    amounts = np.linspace(smallest, largest, count)

    def colour(amount: float, images: Tensor) -> Tensor:
        if images.shape[-1] != 3:
            raise ValueError(f"saturation needs images of 3 channels. Received: images of shape {tuple(images.shape)}")
        highest = tf.reduce_max(images, -1, keepdims=True)
        lowest = tf.reduce_min(images, -1, keepdims=True)
        now = tf.math.divide_no_nan(highest - lowest, highest)
        factor = tf.math.divide_no_nan(tf.minimum(amount * now, 1.0), now)
        return highest - factor * (highest - images)

    text = f"saturation({count}, {smallest!r}, {largest!r})"
    return _family(text, "saturation x{:g}", "factor of saturation", colour, amounts, neutral=1.0)


def gaussian_blur(n: int, max_sigma: float) -> TransformationSet:
    r"""Blur by a Gaussian, cut off at four standard deviations; the edge is repeated outside the frame.

        t_j(x) = x * G_{\sigma_j}, \quad \sigma = \text{linspace}(0, max\_sigma, n)

    Args:
        n: number of members, at least 1; the first is the identity.
        max_sigma: largest standard deviation in pixels, in (0, 100].

    Returns:
        The set, with the id `gaussian_blur(n, max_sigma)`.

    Raises:
        ValueError: an argument out of range.
    """
    count, largest = member_count(n), _within("max_sigma", max_sigma, 0.0, 100.0, above=True)
    amounts = np.linspace(0.0, largest, count)
    text = f"gaussian_blur({count}, {largest!r})"
    return _family(text, "blur {:g} px", "standard deviation of the blur (pixels)", _blur, amounts)


def _blur(sigma: float, images: Tensor) -> Tensor:
    radius = int(4 * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    blurred = images
    for axis in (1, 2):
        last = images.shape[axis] - 1
        places = np.clip(np.arange(-radius, last + 1 + radius), 0, last)
        padded = tf.gather(blurred, places, axis=axis)
        shape = [1, 1, 1, 1]
        shape[axis - 1] = 2 * radius + 1
        channels = images.shape[-1]
        kernel = tf.tile(tf.reshape(weights, shape), (1, 1, channels, 1))
        blurred = tf.nn.depthwise_conv2d(padded, kernel, (1, 1, 1, 1), "VALID")
    return blurred


def gaussian_noise(n: int, max_std: float, seed: int = 0) -> TransformationSet:
    r"""Normal noise added to every value, drawn anew for each image and member.

        t_j(x) = \operatorname{clip}(x + \sigma_j \epsilon_{j, x}, 0, 1), \quad \sigma = \text{linspace}(0, max\_std, n)

    The draw depends on the seed, the member and the image's own values, so an image gets the same noise in every
    batch, process and run.

    Args:
        n: number of members, at least 1; the first is the identity.
        max_std: largest standard deviation of the noise, in (0, 1].
        seed: of the draws, a whole number.

    Returns:
        The set, with the id `gaussian_noise(n, max_std)` or `gaussian_noise(n, max_std, seed)`.

    Raises:
        ValueError: an argument out of range.
    """
    count, largest = member_count(n), _within("max_std", max_std, 0.0, 1.0, above=True)
    seed = whole_number("seed", seed, 0, 2**31 - 1)
    amounts = np.linspace(0.0, largest, count)
    members = {float(amount): number for number, amount in enumerate(amounts)}

    def disturb(amount: float, images: Tensor) -> Tensor:
        shape, number = images.shape[1:], members[amount]
        sums = tf.reduce_sum(tf.reshape(tf.bitcast(images, tf.int32), (-1, math.prod(shape))), 1)
        noise = tf.map_fn(
            lambda key: tf.random.stateless_normal(shape, tf.stack([key, seed * (MOST_FUNCTIONS + 1) + number])),
            sums,
            fn_output_signature=tf.TensorSpec(shape, tf.float32),
        )
        return tf.clip_by_value(images + amount * noise, 0.0, 1.0)

    text = f"gaussian_noise({count}, {largest!r}" + (f", {seed})" if seed else ")")
    return _family(text, "noise {:g}", "standard deviation of the noise (clipped to 0..1)", disturb, amounts)


def jpeg(n: int, low: int) -> TransformationSet:
    """Images compressed as JPEG and read again, with qualities spread evenly from 100 down to `low`.

    Args:
        n: number of members, at least 1.
        low: lowest quality, a whole number in 1 .. 99.

    Returns:
        The set, with the id `jpeg(n, low)`. It needs images of one or three channels.

    Raises:
        ValueError: an argument out of range.
    """
    count, lowest = member_count(n), whole_number("low", low, 1, 99)
    amounts = np.round(np.linspace(100, lowest, count))

    def compress(amount: float, images: Tensor) -> Tensor:
        if images.shape[-1] not in (1, 3):
            raise ValueError(f"jpeg needs images of 1 or 3 channels. Received: images of shape {tuple(images.shape)}")
        return tf.map_fn(lambda image: tf.image.adjust_jpeg_quality(image, int(amount), "INTEGER_ACCURATE"), images)

    return _family(f"jpeg({count}, {lowest})", "JPEG {:g}", "quality of JPEG", compress, amounts, neutral=None)


def resizing(n: int, low: float, kernel: Kernel = "bilinear") -> TransformationSet:
    """Images made smaller and enlarged again by the same kernel, as a camera's preview or a thumbnail would be.

    Args:
        n: number of members, at least 1; the first is the identity.
        low: smallest factor of both sides, in (0, 1).
        kernel: `"nearest"`, `"bilinear"`, `"bicubic"`, `"area"` or `"lanczos3"`, with antialiasing on the way down.

    Returns:
        The set, with the id `resizing(n, low)` or `resizing(n, low, kernel)`. Factors are `linspace(1, low, n)`.

    Raises:
        ValueError: an argument out of range.
    """
    count, smallest = member_count(n), _within("low", low, 0.0, 1.0, above=True)
    _check_kernel(kernel)
    amounts = np.linspace(1.0, smallest, count)
    text = f"resizing({count}, {smallest!r}" + (")" if kernel == "bilinear" else f", {kernel!r})")
    function = functools.partial(_resize, kernel=kernel)
    return _family(text, "resized x{:g}", f"factor of resizing ({kernel})", function, amounts, neutral=1.0)


def resize_kernels(factor: float) -> TransformationSet:
    """One factor of resizing by every kernel: the difference that a phone's own resizing makes.

    Args:
        factor: of both sides, in (0, 1).

    Returns:
        The set of five members, with the id `resize_kernels(factor)`: nearest, bilinear, bicubic, area, lanczos3.

    Raises:
        ValueError: a factor out of range.
    """
    size = _within("factor", factor, 0.0, 1.0, above=True)
    members = [
        ImageFunction(functools.partial(_resize, size, kernel=kernel), f"{kernel} x{size:g}", Affine.identity())
        for kernel in get_args(Kernel)
    ]
    return TransformationSet(tuple(members), f"resize_kernels({size!r})")


def _resize(amount: float, images: Tensor, *, kernel: Kernel) -> Tensor:
    height, width = images.shape[1:3]
    small = (max(1, round(height * amount)), max(1, round(width * amount)))
    reduced = tf.image.resize(images, small, method=kernel, antialias=True)
    return tf.clip_by_value(tf.image.resize(reduced, (height, width), method=kernel), 0.0, 1.0)


def _check_kernel(kernel: str) -> None:
    if kernel not in get_args(Kernel):
        raise ValueError(f"kernel must be one of {get_args(Kernel)}. Received: {kernel!r}")


def _family(
    text: str,
    words: str,
    axis: str,
    function: Callable[[float, Tensor], Tensor],
    amounts: Sequence[float] | np.ndarray[Any, Any],
    *,
    neutral: float | None = 0.0,
) -> TransformationSet:
    """The set of a function at several amounts; the amount that changes nothing is the identity."""
    members: list[Transformation] = []
    for value in amounts:
        amount = float(value)
        if neutral is not None and abs(amount - neutral) < 1e-9:
            members.append(Affine.identity())
        else:
            name = words.format(round(amount, 6))
            members.append(ImageFunction(functools.partial(function, amount), name, Affine.identity()))
    return TransformationSet(tuple(members), text, tuple(float(value) for value in amounts), axis)


def _within(name: str, value: float, low: float, high: float, *, above: bool = False) -> float:
    number = finite_number(name, value)
    if not low <= number <= high or (above and number == low):
        interval = f"{'(' if above else '['}{low:g}, {high:g}]"
        raise ValueError(f"{name} must be in {interval}. Received: {value}")
    return number


def _factors(n: int, low: float, high: float) -> tuple[int, float, float, np.ndarray[Any, Any]]:
    count, smallest, largest = member_count(n), finite_number("low", low), finite_number("high", high)
    if not 0 < smallest <= 1 <= largest:
        raise ValueError(f"low and high must satisfy 0 < low <= 1 <= high. Received: low={low}, high={high}")
    amounts = np.geomspace(smallest, largest, count)
    return count, smallest, largest, amounts
