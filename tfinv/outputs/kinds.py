"""The kinds of outputs by the words that users write, stated or guessed from shapes and values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.activations.outputs import ModelOutput
from tfinv.outputs.base import OutputKind
from tfinv.outputs.boxes import Boxes
from tfinv.outputs.fields import Map, Mask
from tfinv.outputs.labels import Labels
from tfinv.outputs.landmarks import Landmarks
from tfinv.outputs.vectors import Classes, Embedding, Vector
from tfinv.support.checks import close_match, kind_of
from tfinv.support.keys import from_key

if TYPE_CHECKING:
    from numpy.typing import NDArray

KINDS: dict[str, type[OutputKind]] = {
    "class": Classes,
    "vector": Vector,
    "landmarks": Landmarks,
    "boxes": Boxes,
    "mask": Mask,
    "map": Map,
    "embedding": Embedding,
    "labels": Labels,
}
"""By the word of `--output`."""
_LANDMARK_SIZES = {42: 2, 63: 3, 136: 2, 195: 3, 1404: 3, 1434: 3}
"""Sizes of flat outputs that well-known landmark networks have, and their numbers per point."""
_MANY_ROWS = 32
_UNIT = 1e-3
_OUTSIDE, _WIDE, _MOST = 0.05, 0.1, 0.8
"""Points look like landmarks where most are in the frame or a little outside, and spread over some of it."""


def kind(text: str | OutputKind) -> OutputKind:
    """The kind of output that a text names.

    Example:
        >>> import tfinv
        >>> tfinv.outputs.kind("landmarks(dimensions=3, unit='fractions')").unit
        'fractions'

    Args:
        text: `class`, `vector`, `landmarks`, `boxes`, `mask`, `map`, `embedding` or `labels`, perhaps with options in
            brackets; a kind stays as it is.

    Raises:
        ValueError: an unknown word or option.
        TypeError: neither a text nor a kind.
    """
    if isinstance(text, OutputKind):
        return text
    kind_of("outputs", text, str, "a kind of output such as 'landmarks', or its text")
    word, bracket, rest = text.strip().partition("(")
    if word == "class":  # a word of Python's grammar, which a key cannot begin with
        return from_key(f"classes{bracket}{rest}", {"classes": Classes}, "output")
    return from_key(text, KINDS, "output")


def guess(
    outputs: Sequence[ModelOutput], values: Mapping[str, NDArray[Any]], frame: tuple[int, int]
) -> tuple[dict[str, OutputKind], dict[str, str]]:
    """What the outputs of a model look like, from their shapes and their values for some images.

    Args:
        outputs: of the model.
        values: by name `(S, *U)`, for untransformed images.
        frame: height and width of the images.

    Returns:
        The kinds by name; and by name why an output has none.
    """
    kinds: dict[str, OutputKind] = {}
    unknown: dict[str, str] = {}
    for output in outputs:
        shape = tuple(size for size in values[output.name].shape[1:] if size != 1)
        rows = [
            other.name
            for other in outputs
            if other.name != output.name
            and math.prod(values[other.name].shape[1:]) % max(1, shape[0] if shape else 1) == 0
        ]
        if len(shape) == 2 and shape[0] >= _MANY_ROWS and shape[1] >= 4 and rows and not output.activation:
            unknown[output.name] = (
                f"its shape {shape} looks like boxes of a detector: state boxes(scores='{rows[0]}', ...) with layout, "
                "unit and anchors"
            )
        elif output.name in _companions(outputs, values):
            unknown[output.name] = "it looks like the scores of the boxes of a detector, and is read with them"
        else:
            kinds[output.name] = _guessed(output, values[output.name], shape, frame, len(outputs) == 1)
    return kinds, unknown


def _companions(outputs: Sequence[ModelOutput], values: Mapping[str, NDArray[Any]]) -> set[str]:
    """Outputs with one number for each row of an output that looks like boxes."""
    shapes = {output.name: tuple(size for size in values[output.name].shape[1:] if size != 1) for output in outputs}
    rows = {shape[0] for shape in shapes.values() if len(shape) == 2 and shape[0] >= _MANY_ROWS and shape[1] >= 4}
    return {name for name, shape in shapes.items() if len(shape) == 1 and shape[0] in rows}


def _guessed(
    output: ModelOutput, values: NDArray[Any], shape: tuple[int, ...], frame: tuple[int, int], alone: bool
) -> OutputKind:
    full = values.shape[1:]
    if len(full) in (2, 3) and min(full[:2]) > 3 and not (len(shape) == 2 and shape[1] <= 3):
        return Mask() if output.activation in ("sigmoid", "softmax") else Map()
    size = math.prod(shape)
    dimensions = shape[1] if len(shape) == 2 and shape[1] in (2, 3) else _LANDMARK_SIZES.get(size)
    if dimensions and not output.activation and (unit := _unit(values, dimensions, frame)):
        return Landmarks(dimensions=dimensions, unit=unit)  # type: ignore[arg-type]
    if (
        size > 2
        and not output.activation
        and np.allclose(np.linalg.norm(values.reshape(len(values), -1).astype(np.float64), axis=1), 1, atol=_UNIT)
    ):
        return Embedding()
    if len(shape) > 1 or (size == 1 and alone and not output.activation) or (dimensions and not output.activation):
        return Vector()
    return Classes()


def _by_names(told: Mapping[str, OutputKind], aliases: Mapping[str, str]) -> dict[str, OutputKind]:
    """Kinds by name of the output, where outputs may be given by their aliases."""
    found: dict[str, OutputKind] = {}
    for name, one in told.items():
        if isinstance(one, Boxes) and one.scores in aliases:
            one = replace(one, scores=aliases[one.scores])
        found[aliases.get(name, name)] = one
    return found


def _unit(values: NDArray[Any], dimensions: int, frame: tuple[int, int]) -> str:
    """In which unit points look like landmarks of a frame; "" where in none."""
    points = np.asarray(values, np.float64).reshape(len(values), -1, dimensions)[..., :2]
    if np.abs(points).max() < 1 and (np.mean(points < 0, axis=(0, 1)) > 0.1).all():
        return "metres"
    for unit, size in (("fractions", np.ones(2)), ("pixels", np.array(frame[::-1], np.float64))):
        inside = np.all((points >= -_OUTSIDE * size) & (points <= (1 + _OUTSIDE) * size), axis=-1)
        wide = np.ptp(points / size, axis=1).max(axis=-1) > _WIDE
        if np.mean(inside & wide[:, None]) > _MOST:
            return unit
    return ""


def chosen_kinds(
    stated: Any, outputs: Sequence[ModelOutput], values: Mapping[str, NDArray[Any]], frame: tuple[int, int]
) -> tuple[dict[str, OutputKind], tuple[str, ...], dict[str, str]]:
    """What the outputs of a model mean: as stated, otherwise guessed.

    Args:
        stated: None for guesses; a kind or its text, of the first output; or kinds or texts by name of the output.
        outputs: of the model.
        values: by name `(S, *U)`, for untransformed images.
        frame: height and width of the images.

    Returns:
        Kinds by name in the order of the outputs, names of those that were guessed, and by name why an output has none.

    Raises:
        ValueError: an unknown output, kind or option, or a kind that does not fit the shape of its output.
    """
    names = [output.name for output in outputs]
    if stated is None:
        told: dict[str, OutputKind] = {}
    elif isinstance(stated, Mapping):
        told = {str(name): kind(text) for name, text in stated.items()}
    else:
        told = {names[0]: kind(stated)}
    told = _by_names(told, {output.alias: output.name for output in outputs if output.alias not in ("", *names)})
    for name, one in told.items():
        for needed, argument in ((name, "outputs"), *((other, "scores") for other in one.needs)):
            if needed not in names:
                hint = close_match(needed, names)
                raise ValueError(f"{argument} must name outputs among {', '.join(names)}.{hint} Received: {needed!r}")
        one.check(name, values[name].shape[1:])
    read = {needed for one in told.values() for needed in one.needs}
    guessed, unknown = guess(outputs, values, frame)
    kinds = {name: told.get(name, guessed.get(name)) for name in names if name in told or name in guessed}
    kinds = {name: one for name, one in kinds.items() if one is not None and (name in told or name not in read)}
    return (
        kinds,
        tuple(name for name in kinds if name not in told),
        {name: text for name, text in unknown.items() if name not in told and name not in read},
    )
