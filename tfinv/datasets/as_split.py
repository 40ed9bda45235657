"""Images to test on, whatever they were given as, and a subset of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfinv.datasets.given import as_array, as_labels, in_memory
from tfinv.datasets.loading import load
from tfinv.datasets.split import Split
from tfinv.support.checks import whole_number
from tfinv.support.types import Images

LABELS = "the labels of data"


def as_split(
    data: Images | str | Path,
    input_shape: Sequence[int],
    max_samples: int | None,
    seed: int,
    activation: str | None = None,
    *,
    argument: str = "data",
) -> Split:
    """Images to test on, whatever they were given as, and a subset of them.

    Args:
        data: name or path of a data set, a `Split`, a pair `(x, y)`, a `tf.data.Dataset` of pairs, or an array.
        input_shape: `(H, W, C)` that they must have.
        max_samples: at most so many, a stratified subset; None for all.
        seed: draws the subset.
        activation: what makes the model's output, see `as_labels`; None where there is no model.
        argument: what to call the data in an error.

    Raises:
        ValueError: images of another shape, values outside [0, 1], labels that do not fit.
    """
    if isinstance(data, (str, Path)):
        split = load(data).test
    elif isinstance(data, Split):
        split = data
    else:
        images, labels = in_memory(data, argument)
        x = as_array(images, argument)
        y = None if labels is None else as_labels(labels, len(x), LABELS, activation=activation)
        split = Split(np.asarray(x, np.float32), y)
    if split.y is not None and split.y.ndim == 2:
        split = split.labeled(as_labels(split.y, len(split), LABELS, activation=activation))
    if tuple(split.x.shape[1:]) != tuple(input_shape):
        raise ValueError(
            f"images must fit the models' input (H, W, C) = {tuple(input_shape)}; tfinv.datasets.adapt resizes them. "
            f"Received: images of {tuple(split.x.shape[1:])}"
        )
    if max_samples is not None:
        whole_number("max_samples", max_samples, 2)
    return subset(split, max_samples, seed)


def subset(images: Split, count: int | None, seed: int) -> Split:
    """A stratified subset; all images where there are no more than that."""
    return images if count is None or count >= len(images) else images.subset(count, seed)
