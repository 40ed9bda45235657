"""Class numbers of a model's outputs from the class names of images: numbers as folder names, or a file of labels."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfinv.support.checks import close_match
from tfinv.support.reading import read_text

if TYPE_CHECKING:
    from tfinv.datasets import Split

_NUMBERED = re.compile(r"([0-9]+)(?:\s*[,:]\s*|\s+)(\S.*)")
_NAMED = 5
"""How many names a message lists."""


@dataclass(frozen=True)
class Labelled:
    """Images whose labels are numbers of a model's outputs, and what was said about them.

    Args:
        images: the images; without labels where these cannot be numbers of outputs.
        notes: sentences for the user.
    """

    images: Split
    notes: tuple[str, ...]


def as_outputs(
    images: Split, classes: tuple[str, ...], outputs: int | None, mapping: Mapping[str, int] | None = None
) -> Labelled:
    """Make labels the numbers of a model's outputs.

    Class names that are numbers are numbers of outputs where there are as many outputs. Names are numbered in their
    order where there is one output per class. Everything else needs a mapping: without one the labels are left out,
    because an accuracy would be one of unrelated numbers.

    Example:
        >>> import numpy as np
        >>> from tfinv.commands.labels import as_outputs
        >>> from tfinv.datasets import Split
        >>> images = Split(np.zeros((3, 4, 4, 1), "float32"), np.array([0, 1, 2]))
        >>> as_outputs(images, ("20", "89", "286"), 1001).images.y.tolist()
        [20, 89, 286]

    Args:
        images: labels count the class names.
        classes: class names; label `k` is `classes[k]`.
        outputs: how many classes the model tells apart; None where its output is no list of classes.
        mapping: number of the output by class name, as `read_labels` gives it; None for none.

    Returns:
        The images, and what to say.

    Raises:
        ValueError: a class that the mapping does not name, or an output that does not exist.
    """
    if images.y is None:
        if mapping is not None:
            raise ValueError("labels must name the classes of the images. Received: images without classes")
        return Labelled(images, ())
    present = [] if images.y.ndim == 2 else [classes[k] for k in np.unique(images.y)]
    if outputs is None:
        if mapping is not None:
            raise ValueError("labels must name outputs that are classes. Received: a model with another output")
        return Labelled(images, ())
    if images.y.ndim == 2:
        if mapping is not None:
            raise ValueError("labels must be class numbers to be named. Received: several labels per image")
        if images.y.shape[1] == outputs:
            return Labelled(images, ())
        said = f"the data have {images.y.shape[1]} labels per image, the model {outputs} outputs: they are left out"
        return Labelled(images.labeled(None), (said,))
    if mapping is not None:
        numbers = _mapped(classes, present, outputs, mapping)
        return Labelled(images.labeled(numbers[images.y]), ())
    if all(name.isascii() and name.isdecimal() for name in classes):
        numbers = np.array([int(name) for name in classes], np.int64)
        if max(int(name) for name in present) < outputs:
            said = f"the data's class names {_listed(present)} are taken as numbers of the model's {outputs} outputs"
            return Labelled(images.labeled(numbers[images.y]), () if len(classes) == outputs else (said,))
        if len(classes) == outputs:
            said = f"the data's class names {_listed(present)} are no numbers of outputs from 0: taken in their order"
            return Labelled(images, (said,))
    if len(classes) == outputs:
        return Labelled(images, ())
    said = (
        f"the data have {len(classes)} classes ({_listed(classes)}), the model {outputs} outputs: nothing tells which "
        "output is which class, so the labels are left out; --labels FILE names the outputs"
    )
    return Labelled(images.labeled(None), (said,))


def read_labels(path: str | Path) -> dict[str, int]:
    """Read which output is which class.

    A JSON file maps names to numbers. In a text file every line is the name of one output, in their order; or every
    line begins with a number, which `,`, `:`, a tab or a space separates from the name. A name with commas, as those of
    ImageNet, counts as a whole and by each of its synonyms.

    Example:
        >>> import tempfile, pathlib
        >>> from tfinv.commands.labels import read_labels
        >>> path = pathlib.Path(tempfile.mkdtemp(), "labels.txt")
        >>> _ = path.write_text("cat\\ndog\\n")
        >>> read_labels(path)
        {'cat': 0, 'dog': 1}

    Args:
        path: the file.

    Returns:
        Numbers by lower-case name.

    Raises:
        ValueError: no such file, or one of another form.
    """
    file = Path(path)
    text = read_text(file, "a readable text file", argument="labels")
    if file.suffix.lower() == ".json":
        pairs = _json_pairs(text, file)
    else:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        numbered = [match for line in lines if (match := _NUMBERED.fullmatch(line))]
        pairs = [(line, number) for number, line in enumerate(lines)]
        if len(numbered) == len(lines):
            pairs = [(match[2], int(match[1])) for match in numbered]
    if not pairs:
        raise ValueError(f"labels must name at least one output. Received: {str(path)!r}, which is empty")
    names: dict[str, int] = {}
    for name, number in pairs:
        names.setdefault(name.strip().lower(), number)
    for name, number in pairs:
        for part in name.split(","):
            names.setdefault(part.strip().lower(), number)
    return names


def _json_pairs(text: str, file: Path) -> list[tuple[str, int]]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(type(value) is int and value >= 0 for value in found.values()):
        raise ValueError(f"labels must be a JSON object of numbers by name. Received: {str(file)!r}")
    return list(found.items())


def _mapped(
    classes: tuple[str, ...], present: list[str], outputs: int, mapping: Mapping[str, int]
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    unknown = [name for name in present if name.lower() not in mapping]
    if unknown:
        hint = close_match(unknown[0].lower(), mapping)
        raise ValueError(f"labels must name every class of the images.{hint} Received: none for {_listed(unknown)}")
    numbers = np.array([mapping.get(name.lower(), 0) for name in classes], np.int64)
    beyond = [name for name in present if mapping[name.lower()] >= outputs]
    if beyond:
        raise ValueError(
            f"labels must be numbers of the model's {outputs} outputs, from 0. "
            f"Received: {mapping[beyond[0].lower()]} for {beyond[0]!r}"
        )
    return numbers


def _listed(names: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(str, names[:_NAMED])) + more
