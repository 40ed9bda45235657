"""A `.tflite` file of several inputs as a file of images alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tfinv.activations.fixed_inputs import fixed_values
from tfinv.tflite.files.conversion import Conversion
from tfinv.tflite.files.flatbuffer import editable, pack, read_graph
from tfinv.tflite.files.model import Source, _open
from tfinv.tflite.files.tensors import quantize


def fix_inputs(model: Source, values: Mapping[str, Any]) -> Conversion:
    """A file that takes images alone: its other inputs become constants inside it.

    Example:
        >>> import tensorflow as tf
        >>> from tfinv.tflite import TFLiteModel, fix_inputs
        >>> specs = [tf.TensorSpec((1, 8, 8, 1), name="images"), tf.TensorSpec((1, 1), name="age")]
        >>> call = tf.function(lambda images, age: tf.reduce_mean(images, (1, 2)) + age).get_concrete_function(*specs)
        >>> content = tf.lite.TFLiteConverter.from_concrete_functions([call]).convert()
        >>> TFLiteModel(fix_inputs(content, {"age": [40.0]})).input_shape
        (8, 8, 1)

    Args:
        model: a `Conversion`, the bytes of a file, or its path.
        values: by name of the input, as the file's signature or its tensor calls it, its value for one image, as real
            numbers.

    Returns:
        The changed file.

    Raises:
        ValueError: an unknown input, a value of another shape, or not exactly one input of images left.
    """
    _, conversion, _ = _open(model, False, None, None)
    graph = conversion.graph
    content = editable(graph.content)
    main = content.subgraphs[0]
    names = {index: graph.tensors[index].name for index in graph.inputs}
    for signature in content.signatureDefs or []:
        if signature.subgraphIndex == 0:
            names |= {int(one.tensorIndex): one.name.decode() for one in signature.inputs or []}
    numbers = {name: index for index, name in names.items()}
    fixed = fixed_values(values, {name: graph.tensors[index].shape for name, index in numbers.items()})
    kinds = {"float32": np.float32, "float16": np.float16, "bool": np.bool_}
    for name, value in fixed.items():
        tensor = graph.tensors[numbers[name]]
        stored = np.empty(value.shape, kinds.get(tensor.dtype) or np.dtype(tensor.dtype))
        quantize(np.ascontiguousarray(value, np.float32), tensor, stored)
        buffer = type(content.buffers[0])()
        buffer.data = np.frombuffer(stored.tobytes(), np.uint8)
        content.buffers.append(buffer)
        main.tensors[numbers[name]].buffer = len(content.buffers) - 1
        main.tensors[numbers[name]].shapeSignature = None
    held = {numbers[name] for name in fixed}
    main.inputs = [int(index) for index in main.inputs if int(index) not in held]
    for signature in content.signatureDefs or []:
        if signature.subgraphIndex == 0:
            signature.inputs = [one for one in signature.inputs or [] if int(one.tensorIndex) not in held]
    changed = pack(content)
    read_graph(changed)
    return replace(conversion, content=changed)
