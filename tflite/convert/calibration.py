"""Calibration images: read from arrays, pipelines or data sets, checked, and with transformations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfinv.activations.input_scale import InputScale, check_unit_images
from tfinv.datasets import Split
from tfinv.datasets.given import as_array, check_ends
from tfinv.evaluation.options import Warping, checked
from tfinv.support.checks import received, whole_number
from tfinv.support.guarded import guarded
from tfinv.support.types import Images

_MOST_BYTES = 4 * 2**30


def calibration_batches(
    calibration: Images, input_shape: tuple[int, ...], batch_size: int, scale: InputScale | None = None
) -> Iterator[NDArray[np.float32]]:
    """Calibration images in batches of bounded size.

    Args:
        calibration: images `(N, H, W, C)`, a `Split`, a `tf.data.Dataset`, or another iterable of images or batches;
            elements such as `(images, labels)` count by their first member.
        input_shape: `(H, W, C)` of the model.
        batch_size: most images a batch.
        scale: from images in [0, 1] to the model's range; None for images as the model takes them.

    Yields:
        float32 `(n, H, W, C)`, `1 <= n <= batch_size`, as the model takes them.

    Raises:
        ValueError: no image, images of another shape, with NaN or infinite values, or outside [0, 1] where there is a
            scale.
        TypeError: something that holds no images.
    """
    count = 0
    for chunk in _chunks(calibration):
        images = _checked(chunk, input_shape)
        if scale is not None and scale.range != (0.0, 1.0):
            check_unit_images(images, scale, "calibration")
            images = scale(images)
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            count += len(batch)
            yield batch
    if not count:
        raise ValueError(f"calibration must hold at least one image of shape {input_shape}. Received: none")


@guarded(per_image=1)
def with_transformations(
    images: Images,
    transformations: Any,
    *,
    per_image: int | None = None,
    seed: int = 0,
    warping: Warping | None = None,
) -> NDArray[np.float32]:
    """Calibration images under the transformations that the model will meet.

    Ranges found on upright images alone can clip what transformed images excite. All transformations occur equally
    often (to within one): image `i` gets `per_image` different ones, dealt from shuffled packs of the whole set.

    Example:
        >>> import numpy as np
        >>> from tfinv.tflite import with_transformations
        >>> with_transformations(np.zeros((10, 8, 8, 1), "float32"), "rotations(16)", per_image=2).shape
        (20, 8, 8, 1)

    Args:
        images: `(N, H, W, C)`.
        transformations: a `TransformationSet`, or its id such as `"rotations(16)"`.
        per_image: how many transformations of each image; None for all. 1 gives as many images as came in.
        seed: of the draw.
        warping: padding and interpolation, see `tfinv.evaluate`.

    Returns:
        float32 `(N * per_image, H, W, C)`, the versions of an image next to each other.

    Raises:
        ValueError: no images, `per_image` out of range, or a result of more than 4 GiB.
    """
    from tfinv.transformations import as_set, warp

    images, chosen = np.asarray(as_array(images), np.float32), as_set(transformations)
    count = len(chosen) if per_image is None else per_image
    if not 1 <= count <= len(chosen):
        raise ValueError(f"per_image must be in [1, {len(chosen)}], the size of the set. Received: {per_image}")
    if images.nbytes * count > _MOST_BYTES:
        raise ValueError(
            f"calibration images would take {images.nbytes * count / 2**30:.1f} GiB; give fewer, or per_image"
        )
    warping = checked(Warping, warping)
    how: dict[str, Any] = {"padding": warping.padding, "interpolation": warping.interpolation}
    deal = _deal(len(images), len(chosen), count, np.random.default_rng(whole_number("seed", seed, 0)))
    result = np.empty((len(images), count, *images.shape[1:]), np.float32)
    for number, transformation in enumerate(chosen):
        rows, places = np.nonzero(deal == number)
        for start in range(0, len(rows), 256):
            part = slice(start, start + 256)
            if len(rows[part]):
                result[rows[part], places[part]] = np.asarray(warp(images[rows[part]], transformation, **how))[:, 0]
    return result.reshape(-1, *images.shape[1:])


def _deal(count: int, size: int, per_image: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """`per_image` different numbers below `size` in `count` rows, every number equally often (to within one)."""
    if per_image == size:
        return np.tile(np.arange(size), (count, 1))
    start = np.arange(count) * per_image
    # Row i takes the next `per_image` places of a circle: balanced and without repetition; the shuffles make it random.
    places = (start[:, None] + np.arange(per_image)) % size
    return generator.permutation(size)[places][generator.permutation(count)]


def check_calibration(calibration: Images) -> None:
    """Refuse what holds no images; nothing is read.

    Raises:
        TypeError: neither images nor a data set of them.
    """
    named = isinstance(calibration, (str, bytes, dict))
    if named or (not isinstance(calibration, (Split, Iterable)) and not hasattr(calibration, "__array__")):
        raise TypeError(
            f"calibration must be images (N, H, W, C) or a data set of them. Received: {received(calibration)}"
        )


def _chunks(calibration: Images) -> Iterator[Any]:
    check_calibration(calibration)
    if isinstance(calibration, Split):
        calibration = calibration.x
    if hasattr(calibration, "as_numpy_iterator"):
        check_ends(calibration, "calibration")
        calibration = calibration.as_numpy_iterator()
    elif hasattr(calibration, "__array__"):
        yield calibration
        return
    for element in calibration:
        first = element[0] if isinstance(element, (tuple, list)) else element
        array = np.asarray(first)
        yield array[None] if array.ndim == 3 else array


def _checked(chunk: Any, input_shape: Sequence[int]) -> NDArray[np.float32]:
    images = np.asarray(chunk)
    if images.ndim != 4 or images.shape[1:] != tuple(input_shape):
        raise ValueError(
            f"calibration must hold images of the model's input shape (N, {', '.join(map(str, input_shape))}). "
            f"Received: shape {images.shape}"
        )
    images = images.astype(np.float32, copy=False)
    if not np.isfinite(images).all():
        raise ValueError("calibration images must be finite. Received: NaN or infinite values")
    return images
