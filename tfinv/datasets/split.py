"""Labelled images in memory: one split, its pipeline of batches, and a train/test pair with its class names."""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.datasets.disk import OnDisk, Verified
from tfinv.datasets.sampling import stratified_sample
from tfinv.support.checks import flag, kind_of, received, whole_number
from tfinv.support.faults import told
from tfinv.support.lazy import tf
from tfinv.support.types import Images

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels, as NumPy arrays that cannot be written to.

    Example:
        >>> from tfinv import datasets
        >>> test = datasets.load("digits").test
        >>> few = test.subset(20, seed=0)
        >>> len(few), few.x.shape, few.y.dtype
        (20, (20, 16, 16, 1), dtype('int64'))

    Args:
        x: float32 `(S, H, W, C)`, finite, in [0, 1]; at least one image.
        y: int64 `(S,)`, class numbers from 0; `(S, K)` of 0 and 1 for several labels of one image; None for images
            without labels.

    Raises:
        ValueError: wrong rank, no image, NaN or infinity, values outside [0, 1], or labels that do not fit.
        TypeError: images that are not floating point, labels that are not integers.
    """

    x: NDArray[np.float32]
    y: NDArray[np.int64] | None = None
    origin: OnDisk | None = field(default=None, init=False, repr=False)
    """Where another process can read the same images; None where they are in memory alone."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", _read_only(_checked_images(self.x)))
        if self.y is not None:
            object.__setattr__(self, "y", _read_only(_checked_labels(self.y, len(self.x))))

    def __len__(self) -> int:
        return len(self.x)

    def subset(self, n: int, seed: int) -> Split:
        """Draw exactly `n` images with the class proportions of the whole, in shuffled order.

        Every class is in it where `n` is at least the number of classes, one with a single image included.

        Args:
            n: how many images, 1..len(self).
            seed: the same seed draws the same images in the same order.

        Returns:
            A new split.

        Raises:
            ValueError: more images than there are, or fewer than one.
        """
        return self.take(stratified_sample(self.y, len(self), n, seed))

    def take(self, indices: Any) -> Split:
        """The images at these positions, in this order."""
        indices = np.asarray(indices)
        if indices.ndim != 1 or indices.dtype.kind not in "iub" or not indices.size:
            raise TypeError(f"indices must be positions of images, at least one. Received: {received(indices)}")
        chosen = Split(self.x[indices], None if self.y is None else self.y[indices])
        return chosen.read_from(self.origin and self.origin.taken(np.arange(len(self))[indices]))

    def labeled(self, y: NDArray[np.int64] | None) -> Split:
        """The same images with other labels, or with none."""
        return Split(self.x, y).read_from(self.origin)

    def read_from(self, origin: OnDisk | None) -> Split:
        """The same images, with the place where another process can read them; None for none."""
        made = copy.copy(self)
        object.__setattr__(made, "origin", origin)
        return made

    def as_dataset(
        self,
        batch_size: int = 32,
        *,
        shuffle: bool = False,
        seed: int | None = None,
        repeat: bool = False,
        augmentation: Callable[..., Any] | None = None,
        labels: bool = True,
    ) -> tf.data.Dataset:
        """A prefetching `tf.data` pipeline of batches; the last batch of a pass may be short.

        Args:
            batch_size: images in a batch.
            shuffle: a new uniform order for every pass.
            seed: makes the orders repeatable; the augmentation draws from its own seed.
            repeat: go on for ever, pass after pass; every pass holds each image once.
            augmentation: maps a float32 batch `(B, H, W, C)` to one; a Keras layer is called with `training=True`.
                Batches go through it one after another, so that a seeded layer draws the same numbers every time.
            labels: yield `(images, labels)` rather than images alone.

        Returns:
            A `tf.data.Dataset` of float32 `(B, H, W, C)`, with int64 `(B,)` or `(B, K)` where `labels`.

        Raises:
            ValueError: a batch size below 1, or labels asked of a split without any.
        """
        return as_dataset(self, batch_size, shuffle, seed, repeat, augmentation, labels)


def as_dataset(
    split: Split,
    batch_size: int,
    shuffle: bool,
    seed: int | None,
    repeat: bool,
    augmentation: Callable[..., Any] | None,
    labels: bool,
) -> tf.data.Dataset:
    """See `Split.as_dataset`."""
    whole_number("batch_size", batch_size, 1)
    for name, value in (("shuffle", shuffle), ("repeat", repeat), ("labels", labels)):
        flag(name, value)
    if seed is not None:
        whole_number("seed", seed, 0)
    if labels and split.y is None:
        raise ValueError("labels must be False for a split without labels. Received: labels=True")
    with tf.device("CPU:0"):
        images = tf.constant(split.x)
        classes = None if split.y is None or not labels else tf.constant(split.y)

    def gather(index: Any) -> Any:
        batch = tf.gather(images, index)
        return batch if classes is None else (batch, tf.gather(classes, index))

    # Positions are shuffled rather than images: a uniform order without a second copy of the images in a buffer.
    dataset = tf.data.Dataset.range(len(split))
    if shuffle:
        dataset = dataset.shuffle(len(split), seed=seed)
    dataset = dataset.batch(batch_size).map(gather, num_parallel_calls=tf.data.AUTOTUNE)
    if augmentation is not None:
        # One batch at a time: in a parallel map, batches would race for the state of a seeded layer.
        with told("augmentation must map a batch of images to one", way_out="call it on two of the images by itself"):
            dataset = dataset.map(_on_images(augmentation, labels))
    if repeat:
        dataset = dataset.repeat()
    return dataset.prefetch(tf.data.AUTOTUNE)


def _on_images(augmentation: Callable[..., Any], labels: bool) -> Callable[..., Any]:
    accepted = inspect.signature(getattr(augmentation, "call", augmentation)).parameters
    options = {"training": True} if "training" in accepted else {}

    def augment(images: Images) -> Any:
        return tf.cast(augmentation(images, **options), tf.float32)

    return (lambda images, classes: (augment(images), classes)) if labels else augment


@dataclass(frozen=True, eq=False)
class SentSplit:
    """A split as it travels to another process.

    Args:
        images: the images, where they are read or as they are.
        y: see `Split`.
    """

    images: Verified | NDArray[np.float32]
    y: NDArray[np.int64] | None

    @classmethod
    def of(cls, split: Split) -> SentSplit:
        """A split whose images are read by the other process where they come from the disk."""
        every = np.arange(len(split))
        return cls(split.x if split.origin is None else Verified.of(split.origin, split.x, every), split.y)

    @cached_property
    def opened(self) -> Split:
        """The split in memory; the images are read once."""
        return Split(self.images[:], self.y)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test images of the same shape and classes.

    Args:
        name: short name, such as `"digits"`.
        classes: class names; label `k`, or column `k` of several labels, is `classes[k]`. Empty where there are no
            labels.
        train: images to train, to calibrate and to take statistics from.
        test: images to measure and to test on.
        notes: what a user should know: where the images came from, files that were left out, images resized.

    Raises:
        ValueError: splits of different shapes, or labels without a class name.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        kind_of("name", self.name, str, "text")
        for name in ("train", "test"):
            kind_of(name, getattr(self, name), Split, "a Split")
        for name in ("classes", "notes"):
            value = getattr(self, name)
            kind_of(name, value, (tuple, list), "a tuple of texts")
            if not all(isinstance(text, str) for text in value):
                raise TypeError(f"{name} must be a tuple of texts. Received: {value!r:.60}")
        if self.train.x.shape[1:] != self.test.x.shape[1:]:
            raise ValueError(
                f"train and test must have images of one shape. "
                f"Received: {self.train.x.shape[1:]} and {self.test.x.shape[1:]}"
            )
        if (self.train.y is None) != (self.test.y is None):
            raise ValueError("train and test must both have labels or both have none. Received: one of each")
        labels = [part.y for part in (self.train, self.test) if part.y is not None]
        if any(y.shape[1:] != labels[0].shape[1:] for y in labels):
            raise ValueError(
                "train and test must have labels of one kind. "
                f"Received: shapes {' and '.join(str(y.shape) for y in labels)}"
            )
        highest = max((y.shape[1] - 1 if y.ndim == 2 else int(y.max()) for y in labels), default=-1)
        if highest >= len(self.classes):
            raise ValueError(f"classes must name every label. Received: label {highest} and {len(self.classes)} names")

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """`(H, W, C)` of every image."""
        height, width, channels = self.train.x.shape[1:]
        return height, width, channels

    @property
    def num_classes(self) -> int:
        """How many classes there are; 0 without labels."""
        return len(self.classes)

    @cached_property
    def id(self) -> str:
        """Name, shape, counts and a digest of every pixel, label and class name: changes when the content does."""
        digest = hashlib.sha256("\n".join(self.classes).encode())
        for part in (self.train, self.test):
            digest.update(part.x.data)
            digest.update(b"" if part.y is None else part.y.data)
        shape = "x".join(map(str, self.input_shape))
        return f"{self.name}-{shape}-{len(self.train)}+{len(self.test)}-{digest.hexdigest()[:12]}"


def _checked_images(x: Any) -> NDArray[np.float32]:
    x = np.asarray(x)
    if x.dtype.kind != "f":
        raise TypeError(f"x must be floating point images in [0, 1]; divide 0..255 by 255. Received: {x.dtype}")
    if x.ndim != 4 or 0 in x.shape:
        raise ValueError(f"x must be images (S, H, W, C), at least one. Received: shape {x.shape}")
    x = np.ascontiguousarray(x, np.float32)
    low, high = float(x.min()), float(x.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = int(np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(axis=1))[0])
        raise ValueError(f"x must be finite. Received: NaN or infinity in image {bad}")
    if low < 0 or high > 1:
        raise ValueError(f"x must lie in [0, 1]. Received: values from {low:g} to {high:g}")
    return x


def _checked_labels(y: Any, count: int) -> NDArray[np.int64]:
    y = np.asarray(y)
    if y.dtype.kind not in "iu":
        raise TypeError(f"y must be integer class numbers. Received: {y.dtype}")
    if y.ndim == 2 and len(y) == count and y.shape[1] > 1:
        if y.max() > 1 or y.min() < 0:
            raise ValueError(f"y must hold 0 and 1 for several labels. Received: values from {y.min()} to {y.max()}")
        return np.ascontiguousarray(y, np.int64)
    if y.shape != (count,):
        raise ValueError(f"y must hold one label for each of the {count} images. Received: shape {y.shape}")
    if y.min() < 0:
        raise ValueError(f"y must be class numbers from 0. Received: {y.min()}")
    return np.ascontiguousarray(y, np.int64)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view
