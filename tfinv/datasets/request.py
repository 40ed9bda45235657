"""What was asked of `load`, and the last steps that every source shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.datasets.disk import OnDisk
from tfinv.datasets.images import adapt
from tfinv.datasets.sampling import generator, stratified_sample, stratified_split
from tfinv.datasets.split import Dataset, Split
from tfinv.support.checks import flag, whole_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

TEST_FRACTION = 0.2
"""Share of images held out where a source has no test images of its own."""


@dataclass(frozen=True)
class Request:
    """The checked options of `load`.

    Args:
        size: `(H, W)`; None for the size of the source.
        channels: 1 or 3; None for those of the source.
        seed: draws the subset, and the split where the source has none.
        max_samples: at most so many images in each split; None for all.
        hold_out: whether test images are held out where the source has none of its own; otherwise all its images are
            both training and test images.
    """

    size: tuple[int, int] | None
    channels: int | None
    seed: int
    max_samples: int | None
    hold_out: bool = True

    @classmethod
    def checked(cls, size: Any, channels: Any, seed: Any, max_samples: Any, hold_out: Any = True) -> Request:
        """Make a request of what a user gave, or say what is wrong with it."""
        if size is not None:
            pair = size if isinstance(size, (tuple, list)) else (size, size)
            if len(pair) != 2:
                raise ValueError(f"size must be one number or a pair (height, width). Received: {size!r}")
            size = (whole_number("size", pair[0], 1), whole_number("size", pair[1], 1))
        if isinstance(channels, bool) or channels not in (None, 1, 3):
            raise ValueError(f"channels must be 1, 3 or None. Received: {channels!r}")
        generator(seed)
        if max_samples is not None:
            max_samples = whole_number("max_samples", max_samples, 1)
        flag("hold_out", hold_out)
        return cls(size, channels, int(seed), max_samples, hold_out)


@dataclass(frozen=True)
class SplitArrays:
    """What a source holds.

    Args:
        x_train: uint8, or float in [0, 1]; `(S, H, W)` or `(S, H, W, C)`.
        y_train: class numbers, or None.
        x_test: as `x_train`.
        y_test: as `y_train`.
        origin_train: where other processes read the training images, at the size that they have here; None for nowhere.
        origin_test: as `origin_train`.
    """

    x_train: NDArray[Any]
    y_train: NDArray[Any] | None
    x_test: NDArray[Any]
    y_test: NDArray[Any] | None
    origin_train: OnDisk | None = None
    origin_test: OnDisk | None = None

    @classmethod
    def held_out(
        cls,
        x: NDArray[Any],
        y: NDArray[Any] | None,
        seed: int,
        test_count: int | None = None,
        origin: OnDisk | None = None,
    ) -> SplitArrays:
        """Hold out a stratified test part of images that come without one."""
        y = None if y is None else np.asarray(y, np.int64)
        count = round(TEST_FRACTION * len(x)) if test_count is None else test_count
        train, test = stratified_split(y, len(x), count, seed)
        origins = (None, None) if origin is None else (origin.taken(train), origin.taken(test))
        if y is None:
            return cls(x[train], None, x[test], None, *origins)
        return cls(x[train], y[train], x[test], y[test], *origins)


def finish(
    name: str, classes: tuple[str, ...], arrays: SplitArrays, request: Request, notes: tuple[str, ...]
) -> Dataset:
    """Subset, scale to [0, 1], bring to the size and channels asked for."""
    train = _finish_split(arrays.x_train, arrays.y_train, arrays.origin_train, request)
    test = _finish_split(arrays.x_test, arrays.y_test, arrays.origin_test, request)
    return Dataset(name, classes, train, test, notes)


def unit(images: NDArray[Any]) -> NDArray[np.float32]:
    """Float32 in [0, 1] from uint8, or from floats that are in [0, 1] already."""
    if images.dtype == np.uint8:
        return np.divide(images, np.float32(255), dtype=np.float32)
    return images.astype(np.float32, copy=False)


def _finish_split(x: NDArray[Any], y: NDArray[Any] | None, origin: OnDisk | None, request: Request) -> Split:
    y = None if y is None else np.asarray(y).astype(np.int64)
    if request.max_samples is not None and request.max_samples < len(x):
        chosen = stratified_sample(y, len(x), request.max_samples, request.seed)
        x, y, origin = x[chosen], None if y is None else y[chosen], origin and origin.taken(chosen)
    split = Split(unit(x if x.ndim == 4 else x[..., None]), y).read_from(origin)
    height, width = request.size or split.x.shape[1:3]
    return adapt(split, (height, width, request.channels or split.x.shape[3]))
