"""A TensorFlow SavedModel as a source of activations."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.activations.foreign import End, ForeignModel, Network, Runs
from tfinv.activations.foreign_inputs import image_input, sized
from tfinv.activations.input_scale import InputScale
from tfinv.activations.layout import Layout, checked_layout, told_by_shape
from tfinv.activations.source import LayerChoice
from tfinv.activations.steps import IMAGES, NetworkStep, maker
from tfinv.support.checks import one_of, path_like
from tfinv.support.faults import SHOWN, one_line
from tfinv.support.guarded import guarded
from tfinv.support.lazy import tf
from tfinv.support.reading import read_bytes
from tfinv.support.types import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

TensorFlowGraph = Any
"""A `tf.Graph`."""
Operation = Any
"""A `tf.Operation`."""
FILE = "saved_model.pb"
DEFAULT = "serving_default"
_COPIES = ("Cast", "Identity", "StopGradient", "Transpose")
_REACHING = ("EagerPyFunc", "MatchingFiles", "PyFunc", "PyFuncStateless", "ReadFile", "WriteFile")
"""Operations that read and write files or run Python."""


@guarded()
class SavedModel(ForeignModel):
    """A folder with a TensorFlow SavedModel that gives the activations of its layers.

    The operations of one scope, such as `conv/Conv2D` and `conv/Relu`, make up one layer, which gives what the last of
    them gives; the others can be chosen by name. Models whose operations touch files or run Python are refused.

    Example:
        >>> import tempfile, keras
        >>> from tfinv.activations import SavedModel
        >>> inputs = keras.Input((8, 8, 1))
        >>> x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
        >>> x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
        >>> folder = tempfile.mkdtemp()
        >>> keras.Model(inputs, keras.layers.Dense(3, name="logits")(x)).export(folder, verbose=False)
        >>> SavedModel(folder).layer_shapes
        {'conv': (6, 6, 4), 'pool': (4,), 'logits': (3,)}

    Args:
        path: the folder.
        layers: which layers: a name, a glob such as `"conv*"`, an operation such as `"Conv2D"`, or several; None for
            all.
        signature: which function; None for `"serving_default"`, the only one, or the model's own call.
        input_scale: what becomes of images in [0, 1] before the model sees them, see `tfinv.tflite.TFLiteModel`.
        layout: `"nhwc"` or `"nchw"`, where the model has the channels of its images; None for what it tells.
        input_size: `(height, width)` of the images, where the model leaves them open.

    Raises:
        ValueError: no such folder, a damaged one, one that touches files, no function to call or several to choose
            from, several inputs, an input that is no image of real numbers, or an unknown layer.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        layers: LayerChoice = None,
        *,
        signature: str | None = None,
        input_scale: str | Sequence[Any] | InputScale = "0..1",
        layout: Layout | None = None,
        input_size: Sequence[int] | None = None,
    ) -> None:
        path_like("path", path)
        folder = Path(path)
        graph, batch, names = _frozen(folder, signature, input_size, checked_layout(layout))
        self._content: bytes = graph.as_graph_def().SerializeToString()
        self._feed, self._ends = names[0], names[1]
        images = graph.get_tensor_by_name(self._feed)
        steps, skipped, places = _steps(graph, images)
        ends = []
        for name, key in self._ends.items():
            tensor = graph.get_tensor_by_name(key)
            shape = tuple(-1 if size is None else size for size in tensor.shape[1:])
            step = maker(steps, places, key, is_real=tensor.dtype.is_floating)
            ends.append(End(name, step, shape, tensor.dtype.name))
        network = Network(_id(folder), tuple(images.shape[1:]), batch, steps, ends, skipped, by_keras=True)
        super().__init__(network, layers, input_scale, layout)

    def _prepare(self, keys: tuple[str, ...] | None) -> Runs:
        definition = tf.compat.v1.GraphDef.FromString(self._content)
        imported = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(definition, name=""), [])
        wanted = list(self._ends.values()) if keys is None else list(keys)
        at = imported.graph.get_tensor_by_name
        pruned = imported.prune(at(self._feed), [at(key) for key in wanted])

        def compute(inputs: NDArray[np.float32]) -> list[NDArray[Any]]:
            return [tensor.numpy() for tensor in pruned(tf.constant(inputs))]

        return compute


def is_saved_model(path: str | os.PathLike[str]) -> bool:
    """Whether a path names a folder with a SavedModel."""
    return (Path(path) / FILE).is_file()


def _frozen(
    folder: Path, signature: str | None, size: Sequence[int] | None, layout: Layout | None
) -> tuple[TensorFlowGraph, int | None, tuple[str, dict[str, str]]]:
    """The graph of a function with its weights inside; its batch; the keys of its input and, by name, its outputs."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    if not is_saved_model(folder):
        raise ValueError(f"path must name a folder with {FILE}. Received: {str(folder)!r}")
    _check_operations(folder)
    try:
        loaded = tf.saved_model.load(str(folder))
    except MemoryError:
        raise
    except Exception as error:  # TensorFlow raises nearly every kind for damaged files
        raise ValueError(
            f"path must name a readable SavedModel. Received: {str(folder)!r}: {one_line(error, SHOWN)}"
        ) from error
    function = _function(loaded, signature, folder.name)
    inputs = _inputs(function)
    shapes = [tuple(spec.shape) for spec in inputs.values()]
    image_input(list(inputs), shapes, "save a tf.function of the images alone as a signature, with the others fixed")
    ((name, spec),) = inputs.items()
    if not spec.dtype.is_floating:
        raise ValueError(
            f"model must take real numbers; save a tf.function that casts float32 images. Received: {folder.name}, "
            f"whose input {name} is {spec.dtype.name}"
        )
    shape = sized(shapes[0][1:], size, layout or told_by_shape(shapes[0][1:]), folder.name)
    by_name = bool(function.structured_input_signature[1])

    def call(images: Tensor) -> Any:
        given = tf.cast(images, spec.dtype)
        return function(**{name: given}) if by_name else function(given)

    try:
        traced = tf.function(call).get_concrete_function(tf.TensorSpec((shapes[0][0], *shape), tf.float32))
        frozen = convert_variables_to_constants_v2(traced)
    except Exception as error:  # what a graph cannot do comes in nearly every kind
        raise ValueError(
            f"model must be one that TensorFlow can freeze. Received: {folder.name}: {one_line(error, SHOWN)}"
        ) from error
    results = traced.structured_outputs
    names = sorted(results) if isinstance(results, dict) else [f"output_{n}" for n in range(len(frozen.outputs))]
    ends = dict(zip(names, (tensor.name for tensor in frozen.outputs), strict=True))
    return frozen.graph, shapes[0][0], (frozen.inputs[0].name, ends)


def _function(loaded: Any, signature: str | None, name: str) -> Any:
    known = dict(loaded.signatures)
    if signature is not None:
        one_of("signature", signature, tuple(known) or ("",))
        return known[signature]
    if DEFAULT in known:
        return known[DEFAULT]
    if len(known) == 1:
        return next(iter(known.values()))
    own = getattr(loaded.__call__, "concrete_functions", ()) if callable(loaded) else ()
    if not known and len(own) == 1:
        return own[0]
    found = f"signatures {', '.join(sorted(known)) or '(none)'} and {len(own)} functions of its own call"
    raise ValueError(
        f"model must have the signature {DEFAULT}, or one that signature names; add one by tf.saved_model.save(model, "
        f"folder, signatures=model.__call__.get_concrete_function(tf.TensorSpec((None, H, W, C)))). Received: {name} "
        f"with {found}"
    )


def _inputs(function: Any) -> dict[str, Any]:
    """The specifications of what a function takes, by name."""
    positional, keywords = function.structured_input_signature
    flat = tf.nest.flatten((positional, keywords))
    specs = [spec for spec in flat if isinstance(spec, tf.TensorSpec)]
    names = list(keywords) if keywords and not tf.nest.flatten(positional) else [spec.name or "input" for spec in specs]
    return dict(zip(names, specs, strict=True))


def _check_operations(folder: Path) -> None:
    """Refuse a model whose operations touch files or run Python, before anything of it runs."""
    from tensorflow.core.protobuf import saved_model_pb2

    message, content = saved_model_pb2.SavedModel(), read_bytes(folder / FILE, "the folder of a readable SavedModel")
    try:
        message.ParseFromString(content)
    except Exception as error:  # protobuf's own kind
        raise ValueError(
            f"path must name a readable SavedModel. Received: {str(folder)!r}: {one_line(error, SHOWN)}"
        ) from error
    kinds = set()
    for meta in message.meta_graphs:
        kinds |= {node.op for node in meta.graph_def.node}
        kinds |= {node.op for function in meta.graph_def.library.function for node in function.node_def}
    if reaching := sorted(kinds.intersection(_REACHING)):
        raise ValueError(
            f"model must not touch files or run Python. Received: {folder.name} with the operations "
            f"{', '.join(reaching)}"
        )


def _steps(
    graph: TensorFlowGraph, images: Tensor
) -> tuple[list[NetworkStep], dict[str, str], dict[str, tuple[int, ...]]]:
    """The real tensors that depend on the images, what else does and why it cannot be measured, and what makes each."""
    steps: list[NetworkStep] = []
    skipped: dict[str, str] = {}
    places: dict[str, tuple[int, ...]] = {images.name: (IMAGES,)}
    for operation in graph.get_operations():
        reads = tuple(dict.fromkeys(place for tensor in operation.inputs for place in places.get(tensor.name, ())))
        if not reads:
            continue
        for number, tensor in enumerate(operation.outputs):
            places[tensor.name] = reads
            shape = () if tensor.shape.rank is None else tuple(tensor.shape)
            path = f"{operation.name}:{number}" if len(operation.outputs) > 1 else operation.name
            per_image = len(shape) > 1 and shape[0] == images.shape[0]
            if not tensor.dtype.is_floating:
                if per_image:
                    skipped[path] = f"it holds no real numbers but {tensor.dtype.name}, such as class numbers"
                continue
            if not per_image or None in shape[1:]:
                skipped[path] = f"its shape {shape} is not one array of a fixed size per image"
                continue
            places[tensor.name] = (len(steps),)
            steps.append(
                NetworkStep(
                    tensor.name,
                    path,
                    operation.type,
                    shape[1:],
                    reads,
                    _kernel(operation),
                    _channels(operation),
                    _order(operation),
                    operation.type in _COPIES,
                    tensor.dtype.name,
                )
            )
    return steps, skipped, places


def _kernel(operation: Operation) -> int:
    """How many weights make up one activation."""
    if operation.type not in ("Conv2D", "DepthwiseConv2dNative", "MatMul"):
        return 0
    shape = operation.inputs[1].shape
    if operation.type == "MatMul":
        return int(shape[1] if operation.get_attr("transpose_b") else shape[0])
    return int(np.prod(shape[: 3 if operation.type == "Conv2D" else 2]))


def _channels(operation: Operation) -> Layout | None:
    try:
        stated = operation.get_attr("data_format")
    except ValueError:
        return None
    return {b"NHWC": "nhwc", b"NCHW": "nchw"}.get(stated)  # type: ignore[return-value]


def _order(operation: Operation) -> tuple[int, ...] | None:
    if operation.type != "Transpose":
        return None
    order = tf.get_static_value(operation.inputs[1])
    return None if order is None else tuple(int(axis) for axis in order)


def _id(folder: Path) -> str:
    """Name of the folder, and a hash of what is in it."""
    digest = hashlib.sha256(read_bytes(folder / FILE, "the folder of a readable SavedModel"))
    for file in sorted((folder / "variables").glob("*")):
        digest.update(read_bytes(file, "the folder of a readable SavedModel"))
    return f"{folder.resolve().name}-{digest.hexdigest()[:12]}"
