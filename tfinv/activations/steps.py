"""What the operations of a network from elsewhere tell: where channels are, and which layer each belongs to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from tfinv.activations.layout import TO_FIRST, TO_LAST, Layout, as_images, told_by_shape

IMAGES = -1
"""Among what a step reads, the images."""


@dataclass(frozen=True)
class NetworkStep:
    """One tensor that a network computes.

    Args:
        key: what the runtime calls it.
        path: of the operation, its parts divided by `/`.
        kind: of the operation, such as `"Conv"`.
        shape: of one image, as the network has it.
        reads: positions of the steps that it is computed from; `IMAGES` for the images.
        kernel: how many weights make up one activation; 0 for an operation without weights.
        channels: where the operation itself says that its feature maps have their channels; None where it does not.
        order: the order of axes that it gives, where it does nothing else.
        copies: whether it gives the numbers that it reads, in whatever order or type: it is no layer then.
        dtype: of its numbers.
    """

    key: str
    path: str
    kind: str
    shape: tuple[int, ...]
    reads: tuple[int, ...]
    kernel: int = 0
    channels: Layout | None = None
    order: tuple[int, ...] | None = None
    copies: bool = False
    dtype: str = "float32"


def told_layout(steps: Sequence[NetworkStep], shape: Sequence[int | None]) -> Layout:
    """The layout of the images of a network, told by the operations that read them, or else by their shape.

    Example:
        >>> from tfinv.activations.steps import IMAGES, NetworkStep, told_layout
        >>> told_layout([NetworkStep("c", "c", "Conv", (4, 8, 8), (IMAGES,), channels="nchw")], (3, 8, 8))
        'nchw'

    Args:
        steps: in the order in which they run.
        shape: of the images without their batch; None where open.
    """
    sources = {IMAGES}
    for position, step in enumerate(steps):
        if not sources.intersection(step.reads):
            continue
        if step.order in (TO_FIRST, TO_LAST):
            return "nchw" if step.order == TO_LAST else "nhwc"
        if step.channels is not None:
            return step.channels
        if step.shape == tuple(shape):  # what changes no size moves no channels
            sources.add(position)
    return told_by_shape(shape)


def first_channels(steps: Sequence[NetworkStep], layout: Layout) -> list[bool]:
    """Which steps are feature maps `(C, H, W)`: what an operation does not tell is as in the first maps that it reads.

    Args:
        steps: in the order in which they run.
        layout: of the images.
    """
    first: list[bool] = []
    for step in steps:
        maps = [read for read in step.reads if read == IMAGES or len(steps[read].shape) == 3]
        was_first = bool(maps) and (layout == "nchw" if maps[0] == IMAGES else first[maps[0]])
        if step.order in (TO_FIRST, TO_LAST):
            is_first = step.order == TO_FIRST and not was_first
        elif step.channels is not None:
            is_first = step.channels == "nchw"
        else:
            is_first = was_first
        first.append(is_first and len(step.shape) == 3)
    return first


def unit_shape(step: NetworkStep, is_first: bool) -> tuple[int, ...]:
    """`*U` of a step, channels last."""
    return as_images(step.shape, "nchw" if is_first else "nhwc")


def layer_names(steps: Sequence[NetworkStep], *, by_keras: bool = False) -> tuple[dict[str, int], list[str]]:
    """Names of steps, and which of them are layers.

    Frameworks put the operations of a layer in one scope: `conv/Conv2D`, `conv/BiasAdd`, `conv/Relu` make up the layer
    `conv`, and what it gives is what its last operation gives. An operation without a scope is a layer of its own.
    Keras numbers scopes when it exports, so that the layer `conv2d_1` has the scope `conv2d_1_2`; where all scopes have
    such a number, and differ without it, it is left out.

    Example:
        >>> from tfinv.activations.steps import NetworkStep, layer_names
        >>> paths = ["net/conv/Conv2D", "net/conv/Relu", "net/Mean"]
        >>> layer_names([NetworkStep(path, path, "", (4,), ()) for path in paths])
        ({'conv/Conv2D': 0, 'conv': 1, 'Mean': 2}, ['conv', 'Mean'])

    Args:
        steps: in the order in which they run.
        by_keras: whether Keras may have exported the network.

    Returns:
        The position of every step by its name, copies left out; and the names of the layers, both in order.
    """
    places = [position for position, step in enumerate(steps) if not step.copies]
    paths = _without_common([_tidy(steps[position].path) for position in places])
    paths = _distinct(_without_numbers(paths) if by_keras else paths)
    scopes = [_scope(path) for path in paths]
    last = {scope: number for number, scope in enumerate(scopes) if scope}
    taken = set(paths)
    names: dict[str, int] = {}
    layers: list[str] = []
    for number, (path, scope) in enumerate(zip(paths, scopes, strict=True)):
        is_layer = not scope or last[scope] == number
        name = scope if is_layer and scope and scope not in taken else path
        names[name] = places[number]
        if is_layer:
            layers.append(name)
    return names, layers


def reads_of_layers(steps: Sequence[NetworkStep], position: int) -> tuple[int, ...]:
    """The steps that one is computed from, copies followed to what they copy, images left out."""
    found: list[int] = []
    for read in steps[position].reads:
        if read != IMAGES:
            found += reads_of_layers(steps, read) if steps[read].copies else [read]
    return tuple(found)


def summed_in_scope(steps: Sequence[NetworkStep], position: int) -> int:
    """How many weights make up one activation of a step: `relu(conv(x))` in one scope rounds as `conv(x)` does."""
    scope, shape = _scope(steps[position].path), steps[position].shape
    while scope and not steps[position].kernel:
        reads = reads_of_layers(steps, position)
        within = [read for read in reads if _scope(steps[read].path) == scope and steps[read].shape == shape]
        if not within:
            break
        position = within[0]
    return steps[position].kernel


def maker(steps: Sequence[NetworkStep], places: Mapping[str, tuple[int, ...]], key: str, *, is_real: bool) -> int:
    """The step that makes an output, or of class numbers the scores that they come from; `IMAGES` where none is known.

    Args:
        steps: in the order in which they run.
        places: by key of a tensor the position of its step, or the steps that it is computed from.
        key: of the output.
        is_real: whether it holds real numbers.
    """
    found = places.get(key, ())
    known = len(found) == 1 and found != (IMAGES,) and (not is_real or steps[found[0]].key == key)
    return found[0] if known else IMAGES


def behind_copies(steps: Sequence[NetworkStep], position: int) -> int:
    """The step whose numbers another one gives; `IMAGES` where they are the images."""
    while position != IMAGES and steps[position].copies and steps[position].reads:
        position = steps[position].reads[0]
    return position


def _tidy(path: str) -> str:
    """A path without empty parts; `batchnorm` is no layer but a part of one."""
    parts = [part for part in path.split("/") if part]
    return "/".join(part for part in parts[:-1] if part != "batchnorm") + "/" * (len(parts) > 1) + parts[-1]


def _scope(path: str) -> str:
    return path.rpartition("/")[0]


def _without_common(paths: Sequence[str]) -> list[str]:
    """Paths without the scopes in front that all of them share, or all but those without a scope."""
    scopes = [path.split("/")[:-1] for path in paths]
    columns = zip(*(scope for scope in scopes if scope), strict=False)
    shared = len(list(takewhile(lambda column: len(set(column)) == 1, columns)))
    return ["/".join(path.split("/")[min(shared, len(scope)) :]) for path, scope in zip(paths, scopes, strict=True)]


def _without_numbers(paths: Sequence[str]) -> list[str]:
    """Paths without the numbers of their scopes, where every scope has one and they differ without it."""
    scopes = sorted({scope for path in paths if (scope := _scope(path))})
    plain = {scope: "/".join(re.sub(r"_\d+$", "", part) for part in scope.split("/")) for scope in scopes}
    all_numbered = all(re.fullmatch(r".+_\d+", part) for scope in scopes for part in scope.split("/"))
    if not all_numbered or len(set(plain.values())) < len(scopes):
        return list(paths)
    return [f"{plain[_scope(path)]}/{path.rpartition('/')[2]}" if _scope(path) else path for path in paths]


def _distinct(paths: Sequence[str]) -> list[str]:
    """The paths; of equal ones the second is called `path@2`."""
    seen: Counter[str] = Counter()
    found = []
    for path in paths:
        seen[path] += 1
        found.append(path if seen[path] == 1 else f"{path}@{seen[path]}")
    return found
