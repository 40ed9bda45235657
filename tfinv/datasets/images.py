"""The same images at another size or channel count, with Pillow's antialiased bilinear filter."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from PIL import Image

from tfinv.datasets.disk import OnDisk, digest
from tfinv.datasets.given import as_array, check_finite
from tfinv.datasets.split import Dataset, Split
from tfinv.support.checks import whole_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601), applied to the values as stored."""


@overload
def adapt(data: Dataset, input_shape: tuple[int, int, int]) -> Dataset: ...
@overload
def adapt(data: Split, input_shape: tuple[int, int, int]) -> Split: ...
@overload
def adapt(data: NDArray[Any], input_shape: tuple[int, int, int]) -> NDArray[np.float32]: ...
def adapt(data: Any, input_shape: tuple[int, int, int]) -> Any:
    """Bring images to another size and channel count, to show them to a model of another data set.

    One channel becomes three by repetition; three become one by luma, `0.299 R + 0.587 G + 0.114 B`. Sizes change
    by bilinear interpolation, over the whole area of a pixel when shrinking (antialiased). The image fills the new
    frame: another aspect ratio stretches it.

    Example:
        >>> from tfinv import datasets
        >>> digits = datasets.load("digits")
        >>> datasets.adapt(digits.test, (32, 32, 3)).x.shape
        (540, 32, 32, 3)

    Args:
        data: a `Dataset`, a `Split`, or an array `(S, H, W, C)` of any real dtype and range.
        input_shape: `(H, W, C)` to bring the images to.

    Returns:
        What came in, adapted: images float32, in the range they had; labels untouched.

    Raises:
        ValueError: a shape that is not three positive integers, images that are not `(S, H, W, C)` or not finite,
            or channel counts other than 1 and 3 that would have to change.
    """
    height, width, channels = check_shape(input_shape)
    if isinstance(data, Dataset):
        train, test = adapt(data.train, input_shape), adapt(data.test, input_shape)
        return Dataset(data.name, data.classes, train, test, data.notes)
    if isinstance(data, Split):
        x = np.clip(adapt(data.x, input_shape), 0, 1)
        same = data.x.shape[1:] == x.shape[1:]
        return Split(x, data.y).read_from(data.origin if same else data.origin and Adapted(data.origin, x.shape[1:]))
    images = as_array(data, "data").astype(np.float32, copy=False)
    check_finite(images, "data")
    return _brought(images, (height, width, channels))


def fitted(images: NDArray[np.float32], shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Images in [0, 1] as `adapt` gives those of a `Split`."""
    return images if images.shape[1:] == shape else _brought(images, shape).clip(0, 1)


@dataclass(frozen=True)
class Adapted(OnDisk):
    """Images of the disk that are brought to another size or channel count when they are read.

    Args:
        images: where they are.
        image_shape: `(H, W, C)` to bring them to.
    """

    images: OnDisk
    image_shape: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.image_shape)

    @property
    def fingerprint(self) -> str:
        return digest(self.images.fingerprint, self.image_shape)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, chosen: Any) -> NDArray[Any]:
        return fitted(self.images[chosen], self.image_shape)

    def taken(self, chosen: NDArray[np.integer]) -> Adapted:
        return replace(self, images=self.images.taken(chosen))

    def place(self, position: int) -> str:
        return self.images.place(position)


def _brought(images: NDArray[np.float32], shape: tuple[int, int, int]) -> NDArray[np.float32]:
    height, width, channels = shape
    if channels < images.shape[3]:
        return resize(to_channels(images, channels), height, width)
    return to_channels(resize(images, height, width), channels)


def to_channels(images: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """Repeat one channel into three, or weigh three into one (`LUMA`)."""
    have = images.shape[-1]
    if have == channels:
        return images
    if (have, channels) == (1, 3):
        return np.repeat(images, 3, axis=-1)
    if (have, channels) == (3, 1):
        return np.matmul(images, np.array(LUMA, np.float32)[:, None])
    raise ValueError(f"channels must go from 1 to 3 or from 3 to 1. Received: from {have} to {channels}")


def resize(images: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Resize float32 images `(S, H, W, C)` with an antialiased bilinear filter."""
    if images.shape[1:3] == (height, width):
        return images
    result = np.empty((len(images), height, width, images.shape[3]), np.float32)
    for image, out in zip(images, result, strict=True):
        for channel in range(images.shape[3]):
            plane = Image.fromarray(np.ascontiguousarray(image[..., channel]))
            out[..., channel] = np.asarray(plane.resize((width, height), Image.Resampling.BILINEAR))
    return result


def check_shape(shape: Any) -> tuple[int, int, int]:
    """Three positive integers, or an error."""
    if not isinstance(shape, (tuple, list)) or len(shape) != 3:
        raise ValueError(f"input_shape must be (height, width, channels). Received: {shape!r}")
    height, width, channels = (
        whole_number(f"the {name} of input_shape", size, 1)
        for name, size in zip(("height", "width", "channels"), shape, strict=True)
    )
    return height, width, channels
