"""What a model from elsewhere must have to be measured: its packages, and one input of images of a known size."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfinv.activations.layout import Layout, as_images


def needed(package: str, extra: str, what: str) -> Any:
    """A package that is optional.

    Args:
        package: its name, as Python imports it.
        extra: of tfinv, which installs it.
        what: what needs it.

    Raises:
        ImportError: it is not installed, with what to install.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        if error.name is not None and error.name.split(".")[0] != package.split(".")[0]:
            raise
        raise ImportError(
            f"{what} need the package {package}: pip install 'tfinv[{extra}]'. Received: an environment without it"
        ) from None


def image_input(names: Sequence[str], shapes: Sequence[Sequence[int | None]], way_out: str) -> None:
    """Refuse a model that does not have one input of images.

    Args:
        names: of its inputs.
        shapes: theirs, with their batch.
        way_out: what to do about several inputs.

    Raises:
        ValueError: several inputs, none, or one that is no image.
    """
    if len(shapes) == 1 and len(shapes[0]) == 4:
        return
    received = ", ".join(f"{name} {tuple(shape)}" for name, shape in zip(names, shapes, strict=True)) or "no input"
    hint = f"; {way_out}" if len(shapes) > 1 else ""
    raise ValueError(f"model must have one input of images, of rank 4{hint}. Received: {received}")


def sized(shape: Sequence[int | None], size: Sequence[int] | None, layout: Layout, name: str) -> tuple[int, ...]:
    """The shape of images without their batch, with the size that a user gives where the model leaves it open.

    Args:
        shape: as the model has it.
        size: `(height, width)`; None for what the model has.
        layout: of the model.
        name: of the model, for errors.

    Raises:
        ValueError: a size that is missing, that has no effect, or that does not fit; open channels.
    """
    height, width, channels = as_images(shape, layout)
    if channels is None:
        raise ValueError(f"model must fix the channels of its images. Received: {name} with {tuple(shape)}")
    if size is None:
        if height is None or width is None:
            raise ValueError(
                f"input_size must be given: {name} leaves the size of its images open, (H, W, C) = "
                f"{(height, width, channels)}; --input-size HEIGHT WIDTH on the command line. Received: None"
            )
        size = (height, width)
    elif height is not None and width is not None:
        raise ValueError(
            f"input_size must be a size that the model leaves open: {name} takes images of {height}x{width}. "
            f"Received: {tuple(size)}"
        )
    pair = tuple(size)
    fits = len(pair) == 2 and all(isinstance(one, (int, np.integer)) and one > 0 for one in pair)
    if not fits or any(have not in (None, want) for have, want in zip((height, width), pair, strict=True)):
        raise ValueError(f"input_size must fit {name}, which takes {(height, width, channels)}. Received: {pair}")
    found = (int(pair[0]), int(pair[1]), int(channels))
    return found if layout == "nhwc" else (found[2], found[0], found[1])
