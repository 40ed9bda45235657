"""The tf.data pipeline of a split: order, batches, augmentation, prefetching (datasets -> training)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tfinv.support.lazy import tf

if TYPE_CHECKING:
    from tfinv.datasets.split import Split


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
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size must be an integer of at least 1. Received: {batch_size!r}")
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
        dataset = dataset.map(_on_images(augmentation, labels))
    if repeat:
        dataset = dataset.repeat()
    return dataset.prefetch(tf.data.AUTOTUNE)


def _on_images(augmentation: Callable[..., Any], labels: bool) -> Callable[..., Any]:
    accepted = inspect.signature(getattr(augmentation, "call", augmentation)).parameters
    options = {"training": True} if "training" in accepted else {}

    def augment(images: Any) -> Any:
        return tf.cast(augmentation(images, **options), tf.float32)

    return (lambda images, classes: (augment(images), classes)) if labels else augment
