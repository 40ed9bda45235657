"""Readable layer names out of the long tensor names of a `.tflite` file."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tfinv.tflite.files.flatbuffer import FileTensor, Graph

_GENERIC = re.compile(r"^((Stateful)?PartitionedCall(_\d+)?|Identity(_\d+)?|output(_\d+)?)(:\d+)?$", re.IGNORECASE)
_TYPE_SUFFIX = re.compile(r"_(quantized|dequant|dequantized|requantized|int8|uint8|int16)(_\d+)?$")
_CONSTANT_LEAF = re.compile(r"(/(ReadVariableOp|resource|reduction_indices|shape|axis|perm|paddings|[xy])\d*)+$")
_INNER_SCOPES = ("batchnorm", "separable_conv2d", "moments", "Gelu")
"""Scopes that Keras opens inside a layer."""
_RANKS = (
    ("relu", "elu", "gelu", "sigmoid", "tanh", "softmax", "softplus", "softsign", "swish", "silu", "prelu", "clip"),
    ("fusedbatchnorm", "batchnorm", "add", "concat", "mean", "maxpool", "avgpool", "reshape", "mul", "sub"),
    ("biasadd", "squeeze"),
    ("conv", "depthwise", "matmul"),
    ("readvariableop", "resource", "const", "shape"),
)
"""What the name of the last operation in a fused tensor says about how late it runs, latest first."""


def base_name(name: str) -> str:
    """A tensor name without what quantization tools append to it: `"relu_quantized"` -> `"relu"`."""
    return _TYPE_SUFFIX.sub("", name)


def scopes(name: str) -> list[list[str]]:
    """The scopes of all that a tensor fuses: `"net/relu/Relu;net/conv/Conv2D"` -> `[["net", "relu"], ["net", "conv"]]`.

    The last part of each path is an operation, not a scope, and is dropped.
    """
    return [part.strip().split("/")[:-1] for part in base_name(name).split(";") if "/" in part]


def mentions(name: str, path: str) -> bool:
    """Whether a tensor name contains a Keras layer, given as a path such as `"inner/conv"`.

    Keras and the converter append numbers to scopes that are opened twice, and quantization-aware training adds
    prefixes; both are forgiven, so different layers whose names differ only in a trailing number are not told apart.
    """
    wanted = [_stem(part) for part in path.split("/")]
    return any(_contains([_stem(part) for part in scope], wanted) for scope in scopes(name))


def short_names(graph: Graph) -> dict[str, int]:
    """A readable, unique, stable name for each activation of a file that comes without its Keras model.

    The name is the scope of the last operation fused into the tensor, without the prefix that all share: the tensor
    `"model/relu_1/Relu;model/conv_1/Conv2D"` becomes `"relu_1"`. A tensor that the converter renamed (`Identity`)
    is called after its weights, or after its operator.

    Args:
        graph: the file's graph.

    Returns:
        Tensor number by name, in the order in which the network computes them.
    """
    indices = graph.activations
    paths = _without_prefix([_path(graph, index) for index in indices])
    names = ["/".join(path) for path in _without_counters(paths)]
    last = {name: position for position, name in enumerate(names)}
    result: dict[str, int] = {}
    for position, (name, index) in enumerate(zip(names, indices, strict=True)):
        if last[name] != position:  # an inner step of a layer that takes several operators
            name = f"{name}/{graph.producers[index].name.lower()}"
        count = 1
        unique = name
        while unique in result or (unique in last and last[unique] != position):
            count += 1
            unique = f"{name}@{count}"
        result[unique] = index
    return result


def _path(graph: Graph, index: int) -> list[str]:
    """Scope of the last operation fused into a tensor; never empty."""
    tensor = graph.tensors[index]
    parts = _parts(tensor)
    operator = graph.producers[index]
    if not parts:  # renamed by the converter: its weights still say which layer it is
        constants = [i for i in operator.inputs if i not in graph.computed]
        parts = [_CONSTANT_LEAF.sub("", part) for i in constants for part in _parts(graph.tensors[i])]
        parts = [part for part in parts if "/" in part]
    if not parts:
        return [operator.name.lower()]
    last = min(parts, key=_rank)  # the first of equals
    path = last.split("/")
    path = path[:-1] if len(path) > 1 else path
    while len(path) > 1 and _stem(path[-1]) in _INNER_SCOPES:
        path = path[:-1]
    return path


def _parts(tensor: FileTensor) -> list[str]:
    parts = [part.strip() for part in base_name(tensor.name).split(";")]
    return [part for part in parts if part and not _GENERIC.match(part)]


def _rank(part: str) -> int:
    operation = part.rsplit("/", 1)[-1].lower()
    for rank, words in enumerate(reversed(_RANKS)):
        if any(word in operation for word in words):
            return len(_RANKS) - 1 - rank
    return 1


def _without_prefix(paths: Sequence[list[str]]) -> list[list[str]]:
    """Drop the leading scopes (the model's name) that all paths of more than one part share."""
    shared = [path for path in paths if len(path) > 1]
    if len(shared) < 2 or len({path[0] for path in shared}) > 1:
        return [list(path) for path in paths]
    return _without_prefix([path[1:] if len(path) > 1 else path for path in paths])


def _without_counters(paths: Sequence[list[str]]) -> list[list[str]]:
    """Drop the `_1` that Keras 3 appends to every scope, where most have it and no two names become one."""
    stripped = [[part.removesuffix("_1") for part in path] for path in paths]
    counted = sum(path[-1].endswith("_1") for path in paths)
    distinct = len({tuple(path) for path in stripped}) == len({tuple(path) for path in paths})
    return stripped if distinct and 2 * counted > len(paths) else [list(path) for path in paths]


def _stem(part: str) -> str:
    """A scope without the numbers and prefixes that tools add: `"quant_relu_1_2"` -> `"relu"`."""
    return re.sub(r"(_\d+)+$", "", part.removeprefix("quant_"))


def _contains(parts: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether `wanted` occurs in `parts` in this order, perhaps with other parts between."""
    rest = iter(parts)
    return all(any(part == want for part in rest) for want in wanted)
