"""Arguments that several sub-commands share."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfinv.support.extensions import load_named

if TYPE_CHECKING:
    from tfinv.datasets import Dataset, Split
    from tfinv.measures import Measure
    from tfinv.tflite import Recipe
    from tfinv.transformations import TransformationSet

MODEL_HELP = "a .keras or .h5 file, or keras.applications.NAME"
DATA_HELP = "digits, mnist, fashion_mnist, cifar10, lsa16, an .npz file with x and y, or a folder of class folders"
TRANSFORMATIONS_HELP = (
    'a set such as "rotations(16)" or "product(rotations(8), scales(1, 0.5, 1.25))", or your own as file.py:family(...)'
)

RECIPES_HELP = "all (default), names of recipes, or your own as file.py:NAME"
MEASURES_HELP = "keys, or your own as file.py:Class; default: NormalizedVariance"


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


def add_input_scale(made: argparse.ArgumentParser) -> None:
    """`--input-scale`; read it with `input_scale`."""
    made.add_argument(
        "--input-scale",
        default="0..1",
        help="what .tflite files expect of images: 0..1, 0..255, -1..1, or mean,std such as 0.5,0.25; default: 0..1",
    )


def input_scale(text: str) -> Any:
    """`"0.5,0.25"` as the two numbers that it lists; all else as it is."""
    parts = text.split(",")
    try:
        return tuple(float(part) for part in parts) if len(parts) == 2 else text
    except ValueError:
        return text


def with_signs(arguments: Sequence[str]) -> list[str]:
    """Join an option with a value that looks like an option, such as `--input-scale -1..1`."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1].startswith("--") and "=" not in joined[-1] and re.match(r"-\.?\d", argument):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def add_layer_classes(made: argparse.ArgumentParser) -> None:
    """`--layer-class`; read it with `layer_classes`."""
    made.add_argument(
        "--layer-class",
        nargs="+",
        default=[],
        metavar="NAME=LAYER",
        help="read an unknown class in the model file as a layer of Keras, such as DW=DepthwiseConv2D",
    )


def layer_classes(texts: Sequence[str]) -> dict[str, str]:
    """`["DW=DepthwiseConv2D"]` as a mapping.

    Raises:
        ValueError: a text of another form.
    """
    classes = {}
    for text in texts:
        name, separator, layer = text.partition("=")
        if not (separator and name.isidentifier() and layer.isidentifier()):
            raise ValueError(f"layer-class must read like DW=DepthwiseConv2D. Received: {text!r}")
        classes[name] = layer
    return classes


def add_transformations(made: argparse.ArgumentParser) -> None:
    """`--transformations`."""
    made.add_argument(
        "--transformations", default="rotations(16)", help=f"{TRANSFORMATIONS_HELP}; default: rotations(16)"
    )


def measures(texts: Sequence[str]) -> list[Measure]:
    """The measures of `--measures`: keys, or `file.py:Class(option=value)`, which runs the file.

    Raises:
        ValueError: an unknown measure or option, or a file or class that is not there.
        TypeError: a class that is no measure.
    """
    from tfinv.evaluation.evaluate import as_measures
    from tfinv.measures import register

    return as_measures([load_named(text, "measures", lambda kind: register(kind).__name__) for text in texts])


def transformations(text: str) -> TransformationSet:
    """The set of `--transformations`: its id, in which `file.py:family` may stand for a family; that runs the file.

    Raises:
        ValueError: a text that does not parse, or a file or family that is not there.
        TypeError: something that is no family.
    """
    from tfinv.transformations import parse, register

    return parse(load_named(text, "transformations", lambda family: register(family).__name__))


def recipes(texts: Sequence[str]) -> tuple[Recipe, ...]:
    """The recipes of `--recipes`: names, or `file.py:NAME` for a `Recipe`, which runs the file.

    Raises:
        ValueError: an unknown name, or a file or object that is not there.
        TypeError: an object that is no `Recipe`.
    """
    from tfinv.tflite.studies.recipes import choose, register

    return choose([load_named(text, "recipes", lambda recipe: register(recipe).name) for text in texts])


def architecture(text: str) -> str:
    """The name of `--architecture` for `tfinv.models.build`; `file.py:function` runs the file.

    Raises:
        ValueError: a file or function that is not there.
        TypeError: something that is no function.
    """
    from tfinv.models import register

    return load_named(text, "architecture", lambda builder: register(builder).__name__)


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

    height, width, channels = input_shape
    is_path = data not in datasets.names()
    size = (height, width) if is_path and height is not None and width is not None else None
    dataset = datasets.load(data, size=size, channels=channels if is_path else None)
    test = dataset.test if not is_path or has_test_images(Path(data).expanduser()) else _all_images(dataset)
    if max_samples is not None and max_samples < len(test):
        test = test.subset(max_samples, seed)
    shape = dataset.input_shape
    target = (height or shape[0], width or shape[1], channels or shape[2])
    if target != tuple(shape):
        print(f"images of {shape} are brought to the model's input {target}")
        test = datasets.adapt(test, target)
    return dataset, test


def has_test_images(path: Path) -> bool:
    """Whether a folder or file keeps test images apart from others; nothing is trained here, so all are used."""
    from tfinv.datasets.npz import names_in

    if path.is_dir():
        return any((path / name).is_dir() for name in ("test", "val", "validation", "valid"))
    return "x_test" in names_in(path)


def _all_images(dataset: Dataset) -> Split:
    import numpy as np

    from tfinv import datasets

    parts = dataset.train, dataset.test
    known = [part.y for part in parts if part.y is not None]
    labels = np.concatenate(known) if len(known) == len(parts) else None
    return datasets.Split(np.concatenate([part.x for part in parts]), labels)
