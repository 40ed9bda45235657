"""Images of the command line of which a part reads its own alone."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfinv.commands.labels import as_outputs, read_labels
from tfinv.commands.sources import Opened

if TYPE_CHECKING:
    from tfinv.datasets import StoredImages


@dataclass(frozen=True)
class LateImages:
    """The images that `load_fitting` gives as `measured`, before they are read.

    Args:
        images: the images, with labels that are numbers of outputs where there are any.
        id: tells the files and the choice of images from others.
    """

    images: StoredImages
    id: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(H, W, C)`."""
        height, width, channels = self.images.x.shape[1:]
        return height, width, channels


def late_images(options: argparse.Namespace, model: Opened) -> LateImages | None:
    """The images of `--data` without reading them.

    Args:
        options: see `load_fitting`.
        model: see `load_fitting`.

    Returns:
        None for data sets that are known by name, and for a model that leaves only one side of its images open.

    Raises:
        ValueError: see `load_fitting`.
    """
    from tfinv import datasets

    height, width, channels = model.shape
    path = Path(options.data).expanduser()
    if options.data in datasets.names() or not path.exists() or (height is None) != (width is None):
        return None
    size = None if height is None else (height, width)
    stored = datasets.on_disk(path, size=size, channels=channels, test=True)
    if path.is_dir():  # drawn as `load` draws them, in its order
        stored = stored.subset(min(options.max_samples or len(stored), len(stored)), options.seed)
    stored = _subset(stored, options.max_samples, options.seed)
    mapping = read_labels(options.labels) if options.labels else None
    stand_ins = datasets.Split(np.zeros((len(stored), 1, 1, 1), np.float32), stored.y)
    labels = as_outputs(stand_ins, stored.classes, model.outputs, mapping).images.y
    stored = _subset(replace(stored, y=labels), options.measured_samples, options.seed)
    return LateImages(stored, f"{path.name}-{stored.x.fingerprint}")


def _subset(images: StoredImages, count: int | None, seed: int) -> StoredImages:
    return images if count is None or count >= len(images) else images.subset(count, seed)
