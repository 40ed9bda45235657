"""Post-training quantization of float `.tflite` files: the only file that imports litert-quantizer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tfinv.tflite.files.flatbuffer import editable, pack, read_graph

Io = Literal["float32", "int8"]


def quantizer_version() -> str:
    """Version of litert-quantizer."""
    return version("litert-quantizer")


def quantize_weights(
    content: bytes,
    *,
    bits: int,
    compute: Literal["float", "integer"],
    only: str = ".*",
    skip: str | None = None,
    algorithm: str = "min_max",
) -> bytes:
    """Store kernels as integers, one scale per channel; activations stay float.

    Args:
        content: a float file.
        bits: 8 or 4.
        compute: `"float"` gives back real kernels before they are used; `"integer"` quantizes activations on the fly.
        only: regular expression that the output tensor's name of an operator must match.
        skip: the same for operators that stay float; None for none.
        algorithm: sets the ranges of kernels: `"min_max"`, `"mse"` or `"octav"`, where the tool has it for an operator.
    """
    from litert_quantizer import qtyping, recipe_manager

    manager = recipe_manager.RecipeManager()
    add = manager.add_dynamic_config if compute == "integer" else manager.add_weight_only_config
    for key in _algorithms(algorithm):
        add(regex=only, operation_name=qtyping.TFLOperationName.ALL_SUPPORTED, num_bits=bits, algorithm_key=key)
    _keep_float(manager, skip)
    return _quantize(content, manager, None)


def quantize_all(
    content: bytes,
    batches: Iterable[NDArray[np.float32]],
    *,
    activation_bits: int,
    per_channel: bool,
    io: Io,
    only: str = ".*",
    skip: str | None = None,
    clipped: Mapping[str, tuple[float, float]] | None = None,
    algorithm: str = "min_max",
) -> bytes:
    """Store kernels (8 bits) and activations as integers, activation ranges from calibration images.

    Ranges are the true minimum and maximum over all images. The tool's own default, a moving average over batches,
    costs up to 18 dB.

    Args:
        content: a float file with one input.
        batches: calibration images as the model takes them.
        activation_bits: 8 or 16.
        per_channel: one scale per kernel channel rather than one per kernel.
        io: type of inputs and outputs; `"int8"` means the activations' own integer type.
        only: see `quantize_weights`.
        skip: see `quantize_weights`.
        clipped: ranges of activations by tensor name, in place of their minimum and maximum.
        algorithm: see `quantize_weights`.
    """
    from litert_quantizer import calibrator, qtyping, recipe_manager
    from litert_quantizer.utils import qsv_utils

    granularity = qtyping.QuantGranularity
    names = qtyping.TFLOperationName
    manager = recipe_manager.RecipeManager()
    for key in _algorithms(algorithm):
        manager.add_static_config(
            regex=only,
            operation_name=names.ALL_SUPPORTED,
            activation_num_bits=activation_bits,
            weight_num_bits=8,
            weight_granularity=granularity.CHANNELWISE if per_channel else granularity.TENSORWISE,
            algorithm_key=key,
        )
    _keep_float(manager, skip)
    if io == "float32":
        for boundary in (names.INPUT, names.OUTPUT):
            manager.add_quantization_config(".*", boundary, None, "no_quantize")
    ranges = calibrator.Calibrator(_all_outputs_read(content), num_threads=1, qsv_update_func=qsv_utils.min_max_update)
    signatures: Any = ranges.get_signature_list()
    ((signature, arguments),) = signatures.items()
    (name,) = arguments["inputs"]
    for batch in batches:
        ranges.calibrate({signature: [{name: batch}]}, manager)
    found = ranges.get_model_qsvs()
    for name, (low, high) in (clipped or {}).items():
        if name in found:
            found[name] = {
                "min": np.full_like(found[name]["min"], low),
                "max": np.full_like(found[name]["max"], high),
            }
    return _unread_quantized(_quantize(content, manager, found))


def _algorithms(name: str) -> list[str]:
    """The keys of the rules to add, the general one first: an operator takes the last one that the tool has for it."""
    from litert_quantizer.algorithm_manager import AlgorithmName

    keys = {"mse": AlgorithmName.MSE, "octav": AlgorithmName.OCTAV}
    return [AlgorithmName.MIN_MAX_UNIFORM_QUANT, *([keys[name]] if name in keys else [])]


def _all_outputs_read(content: bytes) -> bytes:
    """The file with every output of an operator that nobody reads, such as half of a split, as an output of the graph.

    The interpreter drops what nobody reads, and the tool fails when it looks for its range.
    """
    unread = _unread(content)
    if not unread:
        return content
    model = editable(content)
    main = model.subgraphs[0]
    main.outputs = [*map(int, main.outputs), *unread]
    return pack(model)


def _unread_quantized(content: bytes) -> bytes:
    """The file with outputs that nobody reads quantized as another output of their operator is.

    The tool leaves them in floating point, and then no integer kernel takes the operator.
    """
    unread = _unread(content)
    if not unread:
        return content
    model = editable(content)
    tensors = model.subgraphs[0].tensors
    for index, others in unread.items():
        sibling = next((tensors[other] for other in others if other not in unread), None)
        if sibling is not None:
            tensors[index].type, tensors[index].quantization = sibling.type, sibling.quantization
    return pack(model)


def _unread(content: bytes) -> dict[int, tuple[int, ...]]:
    """Outputs of operators that neither an operator nor the user reads, with all outputs of their operator."""
    graph = read_graph(content)
    read = {index for operator in graph.operators for index in operator.inputs} | set(graph.outputs)
    return {index: operator.outputs for operator in graph.operators for index in operator.outputs if index not in read}


def _keep_float(manager: Any, skip: str | None) -> None:
    from litert_quantizer import qtyping

    if skip is not None:
        manager.add_quantization_config(skip, qtyping.TFLOperationName.ALL_SUPPORTED, None, "no_quantize")


def _quantize(content: bytes, manager: Any, ranges: Any) -> bytes:
    from litert_quantizer import quantizer

    tool = quantizer.Quantizer(content, manager.get_quantization_recipe())
    return bytes(tool.quantize(ranges, enable_progress_bar=False, enable_progress_report=False).quantized_model or b"")
