"""Images as a stream of checked float32 batches, whatever the user gives (datasets -> evaluation)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Batch:
    """Some samples.

    Args:
        images: float32 `(S_b, H, W, C)`, finite.
        index: int64 `(S_b,)`, position of each sample in the whole data.
        labels: int64 `(S_b,)`; -1 where there are none.
    """

    images: NDArray[np.float32]
    index: NDArray[np.int64]
    labels: NDArray[np.int64]


class ImageBatches:
    """Batches of images from an array, a `tfinv.datasets.Split` or a `tf.data.Dataset`; can be iterated repeatedly.

    Args:
        images: an array `(S, H, W, C)`, an object with such an array as `x` (and labels as `y`), or a
            `tf.data.Dataset` of images `(H, W, C)`, of `(image, label)` pairs, or of batches of either.
        batch_size: samples in a batch; the last may be shorter.
        labels: int `(S,)`; default: those that come with `images`.

    Raises:
        ValueError: not images, or none, or labels that do not fit.
        TypeError: something else.
    """

    def __init__(self, images: Any, batch_size: int, labels: Any = None) -> None:
        self.batch_size = batch_size
        if labels is None:
            labels = getattr(images, "y", None)
        images = getattr(images, "x", images)
        self._array, self._dataset = None, None
        self.count: int | None
        if hasattr(images, "element_spec"):
            if labels is not None:
                raise ValueError("labels must come inside a tf.data.Dataset as (image, label). Received: both")
            self._dataset, self.has_labels = _rebatch(images, batch_size)
            spec = self._dataset.element_spec
            self.shape = tuple((spec[0] if self.has_labels else spec).shape[1:])
            cardinality = int(self._dataset.unbatch().cardinality())
            self.count = cardinality if cardinality >= 0 else None
        else:
            self._array = _as_images(images)
            self.shape, self.count = self._array.shape[1:], len(self._array)
            self.has_labels = labels is not None
            self._labels = np.full(self.count, -1) if labels is None else np.asarray(labels)
            if self._labels.shape != (self.count,) or self._labels.dtype.kind not in "iub":
                raise ValueError(
                    f"labels must be {self.count} integers, one an image. Received: {self._labels.dtype} of shape {self._labels.shape}"
                )

    def __iter__(self) -> Iterator[Batch]:
        start = 0
        for images, labels in self._raw():
            images = np.asarray(images, np.float32)
            finite = np.isfinite(images).reshape(len(images), -1).all(axis=1)
            if not finite.all():
                bad = start + int(np.flatnonzero(~finite)[0])
                raise ValueError(f"images must be finite. Received: NaN or infinity in image {bad}")
            index = np.arange(start, start + len(images), dtype=np.int64)
            start += len(images)
            yield Batch(images, index, np.asarray(labels, np.int64))

    def _raw(self) -> Iterator[tuple[Any, Any]]:
        if self._dataset is not None:
            for element in self._dataset.as_numpy_iterator():
                yield element if self.has_labels else (element, np.full(len(element), -1))
        else:
            assert self._array is not None
            for start in range(0, len(self._array), self.batch_size):
                stop = start + self.batch_size
                yield self._array[start:stop], self._labels[start:stop]


def _as_images(images: Any) -> NDArray[Any]:
    array = np.asarray(images)
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"images must be a numeric array (S, H, W, C). Received: {type(images).__name__} of {array.dtype}"
        )
    if array.ndim != 4:
        raise ValueError(f"images must have the shape (S, H, W, C). Received: shape {array.shape}")
    if len(array) == 0:
        raise ValueError(f"images must hold at least one image. Received: shape {array.shape}")
    return array


def _rebatch(dataset: Any, batch_size: int) -> tuple[Any, bool]:
    import tensorflow as tf

    spec = dataset.element_spec
    has_labels = isinstance(spec, (tuple, list))
    if has_labels:
        dataset = dataset.map(lambda *element: (element[0], element[1]))
        spec = spec[0]
    rank = getattr(getattr(spec, "shape", None), "rank", None)
    if rank == 4:
        dataset = dataset.unbatch()
    elif rank != 3:
        raise ValueError(f"images must be a dataset of images (H, W, C), alone or with labels. Received: {spec}")
    return dataset.batch(batch_size).prefetch(tf.data.AUTOTUNE), has_labels
