"""Mean and standard deviation per channel, always of the training images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfinv.datasets.split import Dataset, Split
from tfinv.support.checks import kind_of, received
from tfinv.support.types import Images

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK = 1024
"""Images that are held in float64 at a time."""


class ChannelStatistics(NamedTuple):
    """Mean and standard deviation of each channel, both float32 `(C,)`; a deviation of 0 is given as 1."""

    mean: NDArray[np.float32]
    std: NDArray[np.float32]


def channel_statistics(train: Split | Dataset) -> ChannelStatistics:
    r"""Mean and standard deviation of every channel over all pixels of the training images.

        \mu_c = \frac{1}{S H W} \sum_{s,h,w} x_{s,h,w,c} \qquad
        \sigma_c^2 = \frac{1}{S H W} \sum_{s,h,w} (x_{s,h,w,c} - \mu_c)^2

    Test images, subsets and single classes are normalized with these same numbers; statistics of their own would
    hide the differences that are to be measured.

    Example:
        >>> from tfinv import datasets
        >>> digits = datasets.load("digits")
        >>> statistics = datasets.channel_statistics(digits.train)
        >>> ready = datasets.normalize(digits.test.x, statistics)
        >>> ready.shape, bool(abs(ready.mean()) < 0.05)
        ((540, 16, 16, 1), True)

    Args:
        train: the training split, or a data set, whose training split is used.

    Returns:
        The statistics; computed in float64. A channel without variation has the deviation 1.

    Raises:
        TypeError: neither a split nor a data set.
    """
    if isinstance(train, Dataset):
        train = train.train
    if not isinstance(train, Split):
        raise TypeError(f"train must be a Split or a Dataset. Received: {type(train).__name__}")
    x = train.x
    mean = x.mean(axis=(0, 1, 2), dtype=np.float64)
    squares = sum(np.square(x[start : start + CHUNK] - mean).sum(axis=(0, 1, 2)) for start in range(0, len(x), CHUNK))
    std = np.sqrt(squares / (x.size / x.shape[3]))
    std = np.where(std < np.finfo(np.float32).eps, 1.0, std)
    return ChannelStatistics(mean.astype(np.float32), std.astype(np.float32))


def normalize(images: Images, statistics: ChannelStatistics) -> Any:
    """Subtract the mean and divide by the standard deviation, channel by channel.

    Inside a model, `keras.layers.Normalization(mean=statistics.mean, variance=statistics.std**2)` does the same and
    lets the model take images in [0, 1], which is what transformations and TFLite conversion are easiest with.

    Args:
        images: a `Split`, a float array or a float32 tensor `(..., C)`.
        statistics: of the training images.

    Returns:
        float32 array or tensor of the same shape; of a split, the array of its images.

    Raises:
        ValueError: another number of channels than the statistics have, or a deviation that is not positive.
    """
    kind_of("statistics", statistics, ChannelStatistics, "what channel_statistics gives")
    x = images.x if isinstance(images, Split) else images
    if not getattr(x, "shape", ()):
        raise TypeError(f"images must be a Split, an array or a tensor (..., C). Received: {received(x)}")
    if isinstance(x, np.ndarray):
        x = x.astype(np.float32, copy=False)
    channels = x.shape[-1]
    if channels != len(statistics.mean):
        raise ValueError(f"images must have {len(statistics.mean)} channels, as the statistics. Received: {channels}")
    if not np.all(np.asarray(statistics.std) > 0):
        raise ValueError(f"statistics must have positive standard deviations. Received: {statistics.std}")
    return (x - statistics.mean) / statistics.std
