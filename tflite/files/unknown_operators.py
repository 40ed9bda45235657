"""Cut a file before the custom operators that the interpreter does not know."""

from __future__ import annotations

import re

from tfinv.tflite.files.flatbuffer import Graph, editable, pack, read_graph

_UNKNOWN = re.compile(r"unresolved custom op: ([^\s.]+)")
"""How the interpreter names a custom operator that it has no kernel for."""


def unknown_operator(reason: str) -> str:
    """The custom operator that a refusal of the interpreter is about; "" where it is about something else.

    Example:
        >>> from tfinv.tflite.files.unknown_operators import unknown_operator
        >>> unknown_operator("Encountered unresolved custom op: Detections. Node number 3 failed to prepare.")
        'Detections'
    """
    named = _UNKNOWN.search(reason)
    return named[1] if named else ""


def without_operator(graph: Graph, name: str) -> bytes:
    """The file without a custom operator and all that is computed from it.

    What the operator read becomes an output, after those outputs of the file that are still computed.

    Args:
        graph: the file.
        name: the custom operator, such as `"TFLite_Detection_PostProcess"`.

    Raises:
        ValueError: nothing that depends on the input of the file is left.
    """
    lost: set[int] = set()
    kept, read = [], []
    for operator in graph.operators:
        if operator.name == f"CUSTOM({name})" or lost.intersection(operator.inputs):
            read += [index for index in operator.inputs if index not in lost]
            lost.update(operator.outputs)
        else:
            kept.append(operator)
    computed = {index for operator in kept for index in operator.outputs} & graph.computed
    if not computed:
        raise ValueError(
            f"model must have layers before custom operators that the interpreter does not know. Received: a file that "
            f"begins with the custom operator {name!r}"
        )
    model = editable(graph.content)
    main = model.subgraphs[0]
    main.operators = [main.operators[operator.index] for operator in kept]
    main.outputs = list(dict.fromkeys(index for index in (*graph.outputs, *read) if index in computed))
    # Signatures name outputs that may be gone.
    model.signatureDefs = [one for one in model.signatureDefs or [] if one.subgraphIndex != 0]
    content = pack(model)
    read_graph(content)
    return content
