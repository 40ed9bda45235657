"""Arguments that several sub-commands share."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfinv.commands.effects import Whole
from tfinv.support.extensions import load_named

if TYPE_CHECKING:
    from tfinv.evaluation import Warping
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
    made.add_argument("--seed", type=Whole(0), default=0, help="seed of everything random; default: 0")
    made.add_argument("--quiet", action="store_true", help="no progress bars")
    return made


def add_data(made: argparse.ArgumentParser) -> None:
    """`--data` and what goes with it."""
    made.add_argument("--data", required=True, help=DATA_HELP)
    made.add_argument("--max-samples", type=Whole(1), help="use a stratified subset of so many images")
    made.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="which output is which class: one name per line, a number and a name per line, or a .json object of "
        "numbers by name; default: class names that are numbers, otherwise the order of the names",
    )
    made.add_argument(
        "--input-size",
        nargs=2,
        type=Whole(1),
        metavar=("HEIGHT", "WIDTH"),
        help="size of the images, for models that leave it open",
    )


def add_measuring(made: argparse.ArgumentParser, samples: int | None, confidence: float | None) -> None:
    """What every command that measures has.

    Args:
        made: the parser.
        samples: default of `--measured-samples`; None for all.
        confidence: default of `--confidence`; None for no intervals.
    """
    made.add_argument("--layers", nargs="+", help="names, globs or layer types to measure; default: all")
    made.add_argument(
        "--measured-samples",
        type=Whole(1),
        default=samples,
        help=f"measure layers on so many of the images; answers are of all; default: {samples or 'all'}",
    )
    made.add_argument(
        "--confidence",
        type=float,
        default=confidence,
        help=f"of intervals of layer means, such as 0.95; default: {confidence or 'no intervals'}",
    )
    made.add_argument("--padding", default="constant", help="outside the frame: constant (default), nearest or reflect")
    made.add_argument("--interpolation", default="bilinear", help="bilinear (default), nearest or cubic")
    add_workers(made)
    made.add_argument(
        "--memory-budget", help="of accumulators and activations, such as 4GiB; default: half of the free memory"
    )


def add_full_precision(made: argparse.ArgumentParser) -> None:
    """Add `--full-precision`, of commands that write the values of units."""
    made.add_argument(
        "--full-precision",
        action="store_true",
        help="write the values of units as float64, and their effective samples; default: float32, a smaller file",
    )


def add_kernels(made: argparse.ArgumentParser) -> None:
    """`--kernels` and `--kernel-samples`; read the first with `tfinv.tflite.files.kernels.kernel_sets`."""
    made.add_argument(
        "--kernels",
        metavar="SETS",
        help="which code computes .tflite files: xnnpack (default; phones), builtin, reference, tflm "
        "(microcontrollers; pip install 'tfinv[tflm]'); of several, with commas between them, the first is measured, "
        "and all are compared",
    )
    made.add_argument(
        "--kernel-samples",
        type=Whole(1),
        default=100,
        help="compare kernel sets on so many images, because reference and tflm take 10 to 60 times as long as "
        "xnnpack; default: 100",
    )


def idle_kernels(kernels: Sequence[str]) -> str:
    """Why `--kernel-samples` has no effect; empty where it has one."""
    from tfinv.tflite.files.kernels import SLOW

    return "" if len(kernels) > 1 or kernels[0] in SLOW else "there are no kernel sets to compare"


def add_workers(made: argparse.ArgumentParser) -> None:
    """`--workers`; hand it to `tfinv.distributed`."""
    made.add_argument(
        "--workers",
        metavar="N",
        type=_workers,
        help="measure on so many processes of this machine, on a Dask cluster (tcp://host:8786), or on ray; default: "
        "in this process",
    )


def _workers(text: str) -> str:
    if re.fullmatch(r"[+-]?\d+", text) and int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1 process. Received: {text}")
    return text


def warping(options: argparse.Namespace) -> Warping:
    """`--padding` and `--interpolation`.

    Raises:
        ValueError: an unknown one.
    """
    from tfinv.evaluation import Warping

    return Warping(options.padding, options.interpolation)


def add_input_scale(made: argparse.ArgumentParser, nargs: str | None = None) -> None:
    """`--input-scale`; `sources.open_model` reads it."""
    made.add_argument(
        "--input-scale",
        nargs=nargs,
        help="what models expect of images: 0..1, 0..255, -1..1, mean,std such as 0.5,0.25, or "
        "keras.applications.NAME; default: what a network of Keras, the integers of a .tflite file or a first layer "
        "that rescales tell, otherwise 0..1",
    )


def add_layout(made: argparse.ArgumentParser) -> None:
    """`--layout`; `sources.open_model` reads it."""
    made.add_argument(
        "--layout",
        choices=("nhwc", "nchw"),
        help="where models have the channels of images: last, or first as those converted from PyTorch may; default: "
        "what their first layers or their input shape tell",
    )


def input_scale(text: str) -> Any:
    """`"0.5,0.25"` as the two numbers that it lists; all else as it is."""
    parts = text.strip().split(",")
    try:
        return tuple(float(part) for part in parts) if len(parts) == 2 else text.strip()
    except ValueError:
        return text


def with_signs(arguments: Sequence[str]) -> list[str]:
    """Mark values that look like options, such as -1..1 after `--input-scale`, by a space in front."""
    return [f" {text}" if re.match(r"-\.?\d", text) else text for text in arguments]


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
    found = {}
    for text in texts:
        name, separator, layer = text.partition("=")
        if not (separator and name.isidentifier() and layer.isidentifier()):
            raise ValueError(f"layer-class must read like DW=DepthwiseConv2D. Received: {text!r}")
        found[name] = layer
    return found


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
