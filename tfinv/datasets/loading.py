"""`load`: a data set by name or by path."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tfinv.datasets.folder import load_folder
from tfinv.datasets.handshapes import NAMES as HANDSHAPE_NAMES
from tfinv.datasets.handshapes import load_handshapes
from tfinv.datasets.known import load_cifar10, load_digits, load_fashion_mnist, load_mnist
from tfinv.datasets.lsa16 import NAMES as LSA16_NAMES
from tfinv.datasets.lsa16 import load_lsa16
from tfinv.datasets.npz import load_npz
from tfinv.datasets.request import Request
from tfinv.support.checks import path_like

if TYPE_CHECKING:
    from tfinv.datasets.split import Dataset

_LOADERS: dict[str, Callable[[Request], Dataset]] = {
    "digits": load_digits,
    "mnist": load_mnist,
    "fashion_mnist": load_fashion_mnist,
    "cifar10": load_cifar10,
    **{name: partial(load_lsa16, name) for name in LSA16_NAMES},
    **{name: partial(load_handshapes, name) for name in HANDSHAPE_NAMES},
}


def names() -> tuple[str, ...]:
    """The names that `load` knows; it also takes paths."""
    return tuple(_LOADERS)


def load(
    name_or_path: str | os.PathLike[str],
    *,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    seed: int = 0,
    max_samples: int | None = None,
    hold_out: bool = True,
) -> Dataset:
    """Load training and test images, float32 in [0, 1].

    Known names: `digits` comes with scikit-learn; `mnist`, `fashion_mnist` and `cifar10` are read from the folder
    that `TFINV_DATA` names, or downloaded by Keras; `lsa16`, `lsa16_upright` and `lsa16_multirot`, and the handshapes
    of other sign languages (`rwth`, `ciarp`, `irish`, `nus1`, `nus2`, `pugeault_a`, `pugeault_b`, `psl`, `jsl`,
    `indian_a`, `indian_b`), are read from `TFINV_DATA`. A path is an `.npz` file (`x`, `y`, optionally `x_test`,
    `y_test`) or a folder of class folders.
    docs/data.md says where everything comes from and goes.

    Example:
        >>> from tfinv import datasets
        >>> digits = datasets.load("digits")
        >>> digits.input_shape, len(digits.train), len(digits.test), digits.classes[3]
        ((16, 16, 1), 1257, 540, '3')

    Args:
        name_or_path: one of `names()`, or a path.
        size: height and width to resize to, or one number for both; None keeps the size of the source.
        channels: 1 (grey) or 3 (RGB); None keeps those of the source.
        seed: draws the subset; for paths without test images also the split. The splits of the known names are fixed.
        max_samples: at most so many images in each split, a stratified subset.
        hold_out: for paths without test images: hold out a fifth of the images for testing. False where nothing is
            trained: all images are then both training and test images.

    Returns:
        The data set.

    Raises:
        FileNotFoundError: no such file, or a data set that is not on this machine (says what to put where).
        TypeError: neither a name nor a path.
        ValueError: an unknown name, an option out of range, or a file or folder that cannot be used.
    """
    path_like("name_or_path", name_or_path)
    request = Request.checked(size, channels, seed, max_samples, hold_out)
    if isinstance(name_or_path, str) and name_or_path in _LOADERS:
        return _LOADERS[name_or_path](request)
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return load_folder(path.resolve(), request)
    if path.is_file():
        if path.suffix.lower() != ".npz":
            raise ValueError(f"name_or_path must be a folder or an .npz file. Received: {path}")
        return load_npz(path, request)
    if path.suffix or len(path.parts) > 1:
        raise FileNotFoundError(
            f"name_or_path must be a data set; there is no file or folder {path}; known data sets are "
            f"{', '.join(names())}. Received: {str(name_or_path)!r}"
        )
    raise ValueError(
        f"name_or_path must be one of {', '.join(names())}, an .npz file or a folder. Received: {str(name_or_path)!r}"
    )
