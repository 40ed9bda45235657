"""Arguments that several sub-commands share (run)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfinv.datasets import Dataset, Split

MODEL_HELP = "a .keras or .h5 file, or keras.applications.NAME"
DATA_HELP = "digits, mnist, fashion_mnist, cifar10, lsa16, an .npz file with x and y, or a folder of class folders"
TRANSFORMATIONS_HELP = 'a set such as "rotations(16)" or "product(rotations(8), scales(1, 0.5, 1.25))"'


def parser(name: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
    """A parser with the options that every sub-command has."""
    made = argparse.ArgumentParser(
        prog=f"python -m tfinv.run {name}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--out", type=Path, required=True, help="output folder")
    made.add_argument("--seed", type=int, default=0, help="seed of everything random; default: 0")
    made.add_argument("--quiet", action="store_true", help="no progress bars")
    return made


def add_data(made: argparse.ArgumentParser) -> None:
    """`--data` and what goes with it."""
    made.add_argument("--data", required=True, help=DATA_HELP)
    made.add_argument("--max-samples", type=int, help="measure a stratified subset of so many images")


def add_transformations(made: argparse.ArgumentParser) -> None:
    """`--transformations`."""
    made.add_argument(
        "--transformations", default="rotations(16)", help=f"{TRANSFORMATIONS_HELP}; default: rotations(16)"
    )


def load_fitting(
    data: str, input_shape: tuple[int | None, ...], max_samples: int | None, seed: int
) -> tuple[Dataset, Split]:
    """A data set and its test images (or a subset), brought to a model's input shape where that leaves no choice.

    Args:
        data: name or path.
        input_shape: `(H, W, C)` of the model; None where it is open.
        max_samples: how many test images; None for all.
        seed: of the subset.

    Returns:
        The data set and the split to measure on.

    Raises:
        ValueError: unknown data, or images that cannot be brought to the model's input.
    """
    from tfinv import datasets

    dataset = datasets.load(data)
    test = dataset.test
    if max_samples is not None and max_samples < len(test):
        test = test.subset(max_samples, seed)
    target = tuple(size if want is None else want for want, size in zip(input_shape, dataset.input_shape, strict=True))
    if target != tuple(dataset.input_shape):
        print(f"images of {dataset.input_shape} are brought to the model's input {target}")
        test = datasets.adapt(test, target)
    return dataset, test
