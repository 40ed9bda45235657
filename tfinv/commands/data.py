"""Images of the command line, brought to what models take, with labels that are numbers of their outputs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tfinv.commands.labels import as_outputs, read_labels
from tfinv.commands.sources import OPEN, Opened
from tfinv.support.safe_text import printable

if TYPE_CHECKING:
    from tfinv.datasets import Dataset, Split


@dataclass(frozen=True)
class Fitted:
    """Images that fit models.

    Args:
        dataset: where they come from.
        train: images to train on and to calibrate with, as those to measure on; as they were loaded where the command
            does not train.
        images: those to measure on, with labels that are numbers of outputs where there are any.
        measured: those whose activations are measured.
        notes: what was said about labels and sizes.
    """

    dataset: Dataset
    train: Split
    images: Split
    measured: Split
    notes: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(H, W, C)`."""
        height, width, channels = self.images.x.shape[1:]
        return height, width, channels


def load_fitting(options: argparse.Namespace, model: Opened, *, trains: bool = False) -> Fitted:
    """The images of `--data`, brought to a model's input where that leaves no choice.

    Args:
        options: `data, max_samples, measured_samples, labels, input_size, seed` of a command.
        model: the model; with `--input-size` where it leaves its size open.
        trains: whether the command trains on the training images: then test images are held out.

    Raises:
        ValueError: unknown data, images that cannot be brought to the model's input, labels that do not fit, or a
            size that is open and was not given.
    """
    from tfinv import datasets
    from tfinv.datasets.as_split import subset

    height, width, channels = model.shape
    is_path = options.data not in datasets.names()
    if trains and (height is None or width is None):
        raise ValueError(OPEN.format(f"model {model.name}", f"(H, W, C) = {model.shape}"))
    mapping = read_labels(options.labels) if options.labels else None
    size = (height, width) if is_path and height is not None and width is not None else None
    dataset = _loaded(options, size, channels if is_path else None, trains)
    given = dataset.input_shape
    target = (height or given[0], width or given[1], channels or given[2])
    images = subset(dataset.test, options.max_samples, options.seed)
    notes = []
    if target != tuple(given):
        notes.append(f"images of {given} are brought to the model's input {target}")
        images = datasets.adapt(images, target)
    elif None in model.shape:
        notes.append(f"model {model.name} leaves the size of its images open: they are measured as they are, {given}")
    labelled = as_outputs(images, dataset.classes, model.outputs, mapping)
    notes += labelled.notes
    for note in notes:
        print(printable(note))
    measured = subset(labelled.images, options.measured_samples, options.seed)
    train = dataset.train
    if trains:
        train = subset(train, options.train_samples, options.seed)
        train = datasets.adapt(train, target) if target != tuple(given) else train
        train = as_outputs(train, dataset.classes, model.outputs, mapping).images
    return Fitted(dataset, train, labelled.images, measured, tuple(notes))


def _loaded(options: argparse.Namespace, size: tuple[int, int] | None, channels: int | None, trains: bool) -> Dataset:
    from tfinv import datasets

    arguments = {"size": size, "channels": channels}
    if not trains:
        few = options.max_samples if Path(options.data).is_dir() else None  # of a folder only these are decoded
        return datasets.load(options.data, **arguments, max_samples=few, seed=options.seed, hold_out=False)
    try:
        return datasets.load(options.data, **arguments, seed=options.seed)
    except ValueError as error:
        if "to hold one out" not in str(error):
            raise
        print("no image can be held out: the same images train, calibrate and test", file=sys.stderr)
        return datasets.load(options.data, **arguments, seed=options.seed, hold_out=False)


def common_shape(models: Sequence[Opened]) -> Opened:
    """The model whose input all models share.

    Raises:
        ValueError: models of different inputs.
    """
    shapes = {model.shape for model in models}
    if len(shapes) > 1:
        received = ", ".join(f"{model.name} {model.shape}" for model in models)
        raise ValueError(f"models must take images of one shape, to see the same ones. Received: {received}")
    return models[0]
