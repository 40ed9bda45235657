"""Images as a stream of checked float32 batches, whatever the user gives (datasets -> evaluation)."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.activations.input_scale import InputScale, check_unit_images
from tfinv.datasets.dataset_part import DatasetPart
from tfinv.datasets.disk import OnDisk, Verified
from tfinv.datasets.given import as_array, as_labels, check_ends, check_finite, is_dataset, unpack
from tfinv.datasets.split import Split
from tfinv.datasets.stored import MappedArray
from tfinv.statistics.resolution import check_size
from tfinv.support.types import Images

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Batch:
    """Some samples.

    Args:
        images: float32 `(S_b, H, W, C)`, finite.
        index: int64 `(S_b,)`, position of each sample in the whole data.
        labels: int64 `(S_b,)`, -1 where there are none; `(S_b, K)` of 0 and 1 for several labels per image.
    """

    images: NDArray[np.float32]
    index: NDArray[np.int64]
    labels: NDArray[np.int64]


class ImageBatches:
    """Batches of images from an array, a `tfinv.datasets.Split` or a `tf.data.Dataset`; can be iterated repeatedly.

    Args:
        images: an array `(S, H, W, C)`, an object with such an array as `x` (and labels as `y`), or a
            `tf.data.Dataset` of images `(H, W, C)`, of `(image, label)` pairs, or of batches of either. Arrays that
            are mapped from a file, and `datasets.on_disk`, are read block by block. Other processes read the images of
            a `Split` where it was read from.
        batch_size: samples in a batch; the last may be shorter.
        labels: int `(S,)`; default: those that come with `images`.
        first: position of the first sample in the whole data, of which these may be a part.
        activation: what makes the model's output, see `as_labels`; None where it is not known.

    Raises:
        ValueError: not images, or none, or labels that do not fit.
        TypeError: something else.
    """

    def __init__(
        self, images: Images, batch_size: int, labels: Any = None, first: int = 0, activation: str | None = None
    ) -> None:
        self.batch_size, self._first, self._activation = batch_size, first, activation
        self._cut = 0
        self._seen: dict[int, int] | None = None
        self._positions: NDArray[np.int64] | None = None
        self._scale: InputScale | None = None
        self._origin = images.origin if isinstance(images, Split) else None
        images, known = unpack(images)
        labels = known if labels is None else labels
        self._array: Any = None
        self._dataset: Any = None
        self._count: list[int | None]
        if is_dataset(images):
            check_ends(images)
            if labels is not None:
                raise ValueError("labels must come inside a tf.data.Dataset as (image, label). Received: both")
            self._dataset, self.has_labels = _rebatch(images, batch_size)
            if activation != "sigmoid":  # a batch alone may be one-hot by chance
                self._activation = "softmax"
            spec = _images_of(self._dataset.element_spec)
            self.shape = tuple(spec.shape[1:])
            of_images = len(spec.shape) == len(_images_of(images.element_spec).shape) + 1
            cardinality = int((images if of_images else self._dataset.unbatch()).cardinality())
            self._count = [cardinality if cardinality >= 0 else None]
        else:
            self._array = as_array(images) if not isinstance(images, OnDisk) else images
            self._array = MappedArray.of(images) or self._array
            count = len(self._array)
            self.shape = self._array.shape[1:]
            self._count = [count]
            self.has_labels = labels is not None
            self._chosen = np.arange(count, dtype=np.int64)
            self._labels = np.full(count, -1)
            if labels is not None:
                self._labels = as_labels(labels, count, activation=activation)
                self._activation = "sigmoid" if self._labels.ndim == 2 else "softmax"

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Of the labels of one sample: `()`, or `(K,)` for several labels."""
        if self._dataset is None:
            return self._labels.shape[1:]
        if not self.has_labels or self._activation != "sigmoid":
            return ()
        shape = tuple(self._dataset.element_spec[1].shape[1:])
        return shape if len(shape) == 1 and shape[0] != 1 else ()

    @property
    def count(self) -> int | None:
        """Number of samples; None while a data set that does not know has not been read to its end."""
        return self._count[0]

    def __iter__(self) -> Iterator[Batch]:
        return self.after(0)

    def after(self, samples: int) -> Iterator[Batch]:
        """The batches that follow the first `samples` samples, a whole number of batches."""
        for images, labels, index in self._raw(samples):
            images = np.asarray(images, np.float32)
            index = index + self._first
            check_finite(images, index=index)
            check_size("images", images)
            if self._scale is not None:
                check_unit_images(images, self._scale)
            labels = as_labels(labels, len(images), activation=self._activation)
            if self._seen is not None:
                self._seen.update(zip(index.tolist(), hashes(images, labels), strict=True))
            yield Batch(images, index, labels)

    def noted(self) -> ImageBatches:
        """The same samples, which note in `samples` those that were read."""
        other = copy.copy(self)
        other._seen = {}
        return other

    def samples(self) -> NDArray[np.int64]:
        """`(S, 2)`, position in the whole data and hash of the content of every sample, in the order of positions.

        Of images in memory all, of a `tf.data.Dataset` those that were read since `noted`.
        """
        if self._array is not None and len(self._seen or {}) < len(self._chosen):
            index = self._chosen + self._first
            blocks = (slice(start, start + 256) for start in range(0, len(index), 256))
            known = [
                hashes(np.asarray(self._array[self._chosen[block]], np.float32), self._labels[self._chosen[block]])
                for block in blocks
            ]
            pairs = np.column_stack([index, np.array([number for block in known for number in block], np.int64)])
        else:
            pairs = np.array(sorted((self._seen or {}).items()), np.int64).reshape(-1, 2)
        return pairs[np.argsort(pairs[:, 0], kind="stable")]

    @property
    def cut(self) -> int:
        """Samples between two cuts, see `cut_every`."""
        return self._cut

    def cut_every(self, samples: int) -> ImageBatches:
        """The same samples in batches that end wherever so many samples are complete; 0 for no such cuts."""
        other = copy.copy(self)
        other._cut = samples
        return other

    @property
    def stays_readable(self) -> bool:
        """Whether another process can read any of the samples at any time."""
        return self._array is not None or self._readable_part() is not None

    @property
    def has_array(self) -> bool:
        """Whether samples can be chosen from, see `only`."""
        return self._array is not None

    def _readable_part(self) -> DatasetPart | None:
        """All samples of a data set as another process can read them; None where it cannot."""
        return None if self.count is None or self._seen is not None else DatasetPart.of(self._dataset, self.count)

    def pieces(self, samples: int) -> Iterator[ImageBatches | UnreadPiece]:
        """The same samples, so many at a time: as they travel to another process, which reads those of files itself."""
        if self._array is not None:
            for start in range(0, len(self._chosen), samples):
                yield self.only(self._chosen[start : start + samples]).as_of_its_own()
            return
        if (whole := self._readable_part()) is not None:
            for part in whole.parts(samples):
                yield UnreadPiece(part, self.batch_size, self._first + part.start, self._activation, self._scale)
            return
        for batch in self.in_batches_of(samples):
            labels = batch.labels if self.has_labels else None
            piece = ImageBatches(batch.images, self.batch_size, labels, int(batch.index[0]), self._activation)
            yield piece.scaled_by(self._scale)

    def opened(self) -> ImageBatches:
        """The samples themselves, see `UnreadPiece.opened`."""
        return self

    def as_of_its_own(self) -> ImageBatches:
        """Samples that were chosen, without the others, as they travel to another process.

        Images that were loaded from the disk do not travel: the other process reads the same files.
        """
        other = copy.copy(self)
        other._seen = None
        other._positions = self._chosen if self._positions is None else self._positions[self._chosen]
        other._origin = None
        if self._origin is not None:
            other._array = Verified.of(self._origin, self._array, self._chosen)
        elif isinstance(self._array, OnDisk):
            other._array = self._array.taken(self._chosen)
        else:
            other._array = self._array[self._chosen]
        other._labels = self._labels[self._chosen]
        other._chosen = np.arange(len(self._chosen), dtype=np.int64)
        return other

    def in_batches_of(self, batch_size: int) -> ImageBatches:
        """The same samples in batches of another size."""
        other = copy.copy(self)
        other.batch_size = batch_size
        if self._dataset is not None:
            other._dataset = self._dataset.unbatch().batch(batch_size)
        return other

    def scaled_by(self, scale: InputScale | None) -> ImageBatches:
        """The same samples, refused where they are not in [0, 1], which an input scale maps from; None for any."""
        other = copy.copy(self)
        other._scale = scale
        return other

    def only(self, chosen: NDArray[np.integer]) -> ImageBatches:
        """Some of the samples, in ascending order; they keep their positions in the whole data.

        Args:
            chosen: positions; the images must be `in_memory`.
        """
        other = copy.copy(self)
        other._chosen = np.sort(np.asarray(chosen, np.int64))
        other._count = [len(other._chosen)]
        return other

    def in_memory(self) -> ImageBatches:
        """The same samples as an array, so that they can be chosen from."""
        if self._array is not None:
            return self
        batches = list(self)
        if not batches:
            raise ValueError("images must hold at least one image. Received: an empty dataset")
        labels = np.concatenate([batch.labels for batch in batches]) if self.has_labels else None
        images = np.concatenate([batch.images for batch in batches])
        return ImageBatches(images, self.batch_size, labels, self._first, self._activation).scaled_by(self._scale)

    @property
    def labels(self) -> NDArray[np.integer]:
        """The labels of all samples; the images must be `in_memory`."""
        return self._labels[self._chosen]

    def fingerprint(self) -> str:
        """A hash that tells these samples from others; of a data set its description and first batch alone."""
        digest = hashlib.blake2b(digest_size=12)
        if self._array is not None:
            stored = isinstance(self._array, OnDisk)
            digest.update(self._array.fingerprint.encode() if stored else b"")
            for part in (*(() if stored else (self._array,)), self._labels, self._chosen):
                digest.update(f"{part.shape} {part.dtype}".encode())
                for start in range(0, len(part), 256):
                    digest.update(np.ascontiguousarray(part[start : start + 256]).tobytes())
        else:
            digest.update(f"{self._dataset.element_spec} {self.count}".encode())
            for batch in self._dataset.take(1).as_numpy_iterator():
                for part in batch if self.has_labels else (batch,):
                    digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    def _raw(self, skip: int) -> Iterator[tuple[Any, Any, NDArray[np.int64]]]:
        if self._dataset is not None:
            start = skip
            for images, labels in self._blocks(skip):
                yield images, labels, np.arange(start, start + len(images), dtype=np.int64)
                start += len(images)
            self._count[0] = start
            return
        assert self._array is not None
        start = skip
        while start < len(self._chosen):
            index = self._chosen[start : start + self._next_block(start)]
            in_order = index[-1] - index[0] == len(index) - 1
            at = slice(index[0], index[-1] + 1) if in_order else index
            yield self._array[at], self._labels[at], index if self._positions is None else self._positions[at]
            start += len(index)

    def _next_block(self, start: int) -> int:
        """Samples in the block that starts there."""
        return min(self.batch_size, self._cut - start % self._cut) if self._cut else self.batch_size

    def _blocks(self, skip: int) -> Iterator[tuple[Any, Any]]:
        """Images and labels of a data set, block by block, after the first `skip` samples."""
        whole, left = divmod(skip, self.batch_size)
        elements = self._dataset.skip(whole).as_numpy_iterator()
        pairs = ((part if self.has_labels else (part, np.full(len(part), -1))) for part in elements)
        if not self._cut or self._cut % self.batch_size == 0:
            yield from pairs
            return
        start, waiting = skip, None
        for images, labels in pairs:
            images, labels, left = images[left:], labels[left:], 0
            if waiting is not None:
                images, labels = (np.concatenate(both) for both in zip(waiting, (images, labels), strict=True))
            while len(images) >= (size := self._next_block(start)):
                yield images[:size], labels[:size]
                images, labels, start = images[size:], labels[size:], start + size
            waiting = images, labels
        if waiting is not None and len(waiting[0]):
            yield waiting


@dataclass(frozen=True)
class UnreadPiece:
    """Some samples of a `tf.data.Dataset` that the process that gathers them reads itself.

    Args:
        part: what to read.
        batch_size: samples in a batch.
        first: position of the first sample in the whole data.
        activation: see `ImageBatches`.
        scale: see `ImageBatches.scaled_by`.
    """

    part: DatasetPart
    batch_size: int
    first: int
    activation: str | None
    scale: InputScale | None

    @property
    def count(self) -> int:
        """Number of samples."""
        return self.part.count

    def opened(self) -> ImageBatches:
        """Read the samples."""
        images, labels = self.part.read()
        return ImageBatches(images, self.batch_size, labels, self.first, self.activation).scaled_by(self.scale)


def hashes(images: NDArray[np.float32], labels: NDArray[np.int64]) -> list[int]:
    """A signed number of 64 bits for every image and its label, equal for equal content alone."""
    numbers = []
    for image, label in zip(images, labels, strict=True):
        digest = hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=8)
        digest.update(np.asarray(label, "<i8").tobytes())
        numbers.append(int.from_bytes(digest.digest(), "little", signed=True))
    return numbers


def _images_of(spec: Any) -> Any:
    return spec[0] if isinstance(spec, (tuple, list)) else spec


def _rebatch(dataset: Any, batch_size: int) -> tuple[Any, bool]:
    import tensorflow as tf

    has_labels = isinstance(dataset.element_spec, (tuple, list))
    spec = _images_of(dataset.element_spec)
    if has_labels:
        dataset = dataset.map(lambda *element: (element[0], element[1]))
    rank = getattr(getattr(spec, "shape", None), "rank", None)
    if rank == 4:
        dataset = dataset.unbatch()
    elif rank != 3:
        raise ValueError(f"images must be a dataset of images (H, W, C), alone or with labels. Received: {spec}")
    return dataset.batch(batch_size).prefetch(tf.data.AUTOTUNE), has_labels
