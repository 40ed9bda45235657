"""Intermediate outputs of a Keras model through a functional sub-model (activations)."""

from __future__ import annotations

import difflib
import fnmatch
import hashlib
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from tfinv.support.lazy import keras

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LayerChoice = str | type | Sequence[str | type] | None


@runtime_checkable
class ActivationSource(Protocol):
    """Anything that gives activations for images: a Keras sub-model, a TFLite interpreter, a function of one's own.

    `layer_shapes` maps layer names in network order to unit shapes `*U`; `input_shape` is `(H, W, C)`; a call maps
    float32 images `(N, H, W, C)` to `{layer: float32 (N, *U)}`; `select` restricts the layers; `id` names the model.
    """

    @property
    def id(self) -> str: ...
    @property
    def input_shape(self) -> tuple[int, ...]: ...
    @property
    def layer_shapes(self) -> Mapping[str, tuple[int, ...]]: ...
    def select(self, layers: Any) -> ActivationSource: ...
    def __call__(self, images: NDArray[np.float32]) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class _Tap:
    """One output tensor of one call of one layer."""

    name: str
    operation: Any
    tensor: Any


class ActivationModel:
    """A functional sub-model that maps images to the outputs of chosen layers.

    Finds every layer of functional and sequential models. A layer of a nested model is called `inner/conv`, the calls
    of a layer used several times `relu@1`, `relu@2`, the outputs of a layer with several `split:0`, `split:1`. Nothing
    above the last chosen layer is computed, and the weights are the model's own.

    Example:
        >>> import keras
        >>> from tfinv.activations import ActivationModel
        >>> inputs = keras.Input((8, 8, 1))
        >>> x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
        >>> x = keras.layers.Flatten(name="flat")(x)
        >>> model = keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))
        >>> ActivationModel(model).layer_shapes
        {'conv': (6, 6, 4), 'flat': (144,), 'logits': (3,)}

    Args:
        model: a built functional or sequential Keras 3 model with one image input.
        layers: which layers: a name, a glob such as `"conv*"`, a layer type (`keras.layers.Conv2D` or `"Conv2D"`), or
            a sequence of these; None for all.
        input_shape: `(H, W, C)`, needed where the model leaves height or width open.

    Raises:
        TypeError: the model is not a functional or sequential Keras model.
        ValueError: an unbuilt model, several inputs, an unknown layer, or a chosen output that is not per image.
    """

    def __init__(self, model: Any, layers: LayerChoice = None, *, input_shape: tuple[int, ...] | None = None) -> None:
        graph = _graph_of(model)
        self.keras_model = model
        self._input_shape = _image_shape(graph, input_shape)
        inputs = keras.Input(self._input_shape, name="images")
        usable: dict[str, _Tap] = {}
        self.skipped: dict[str, str] = {}
        """Layers that cannot be measured, and why."""
        for tap in _taps(graph, inputs):
            shape = getattr(tap.tensor, "shape", ())
            if not shape or shape[0] is not None or None in shape[1:]:
                self.skipped[tap.name] = f"its output shape {shape} is not one fixed-size array per image"
            else:
                usable[tap.name] = tap
        names = select_names({name: type(tap.operation) for name, tap in usable.items()}, layers, self.skipped)
        self.output_layer = next(reversed(usable), "")
        """The layer whose output is the model's, whether it was chosen or not."""
        self.layer_types: dict[str, str] = {name: type(usable[name].operation).__name__ for name in names}
        self._layer_shapes = {name: tuple(usable[name].tensor.shape[1:]) for name in names}
        self.model: keras.Model = keras.Model(inputs, self._outputs(graph, inputs, usable, names))

    def _outputs(self, graph: Any, inputs: Any, taps: Mapping[str, _Tap], names: Sequence[str]) -> dict[str, Any]:
        """The symbolic outputs of the sub-model."""
        inner = [operation.name for operation in {id(tap.operation): tap.operation for tap in taps.values()}.values()]
        if len(set(inner)) == len(inner):
            return {name: taps[name].tensor for name in names}
        # Keras refuses two layers of one name in a model, which nested models may hold: run the calls in one layer.
        return _calls_layer(graph, self.keras_model, names)(inputs)

    @property
    def id(self) -> str:
        """Model name, and a hash of its weights, so that results tell models apart."""
        digest = hashlib.sha256()
        for weight in self.keras_model.weights:
            digest.update(weight.path.encode())
            digest.update(keras.ops.convert_to_numpy(weight).tobytes())
        return f"{self.keras_model.name}-{digest.hexdigest()[:12]}"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """`(H, W, C)` of the images."""
        return self._input_shape

    @property
    def layer_shapes(self) -> dict[str, tuple[int, ...]]:
        """Unit shape `*U` by layer name, in network order."""
        return dict(self._layer_shapes)

    def select(self, layers: LayerChoice) -> ActivationModel:
        """The sub-model for some of the layers."""
        return ActivationModel(self.keras_model, layers, input_shape=self._input_shape)

    def __call__(self, images: Any) -> dict[str, Any]:
        """The chosen activations, in inference mode.

        Args:
            images: float32 `(N, H, W, C)`.

        Returns:
            `{layer: tensor (N, *U)}` in network order.
        """
        outputs = self.model(images, training=False)
        return {name: outputs[name] for name in self._layer_shapes}

    def differentiated(self, images: Any, tangent: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The chosen activations, and their derivatives along a tangent of the images, in forward mode.

        Args:
            images: float32 tensor `(N, H, W, C)`.
            tangent: of the same shape.

        Returns:
            Two times `{layer: tensor (N, *U)}`.
        """
        import tensorflow as tf

        with tf.autodiff.ForwardAccumulator(images, tangent) as accumulator:
            values = self(images)
        derivatives = {name: accumulator.jvp(value, tf.UnconnectedGradients.ZERO) for name, value in values.items()}
        return values, derivatives


def select_names(
    types: Mapping[str, type | str], layers: LayerChoice, skipped: Mapping[str, str] | None = None
) -> list[str]:
    """The names that a choice of layers means, in network order.

    Args:
        types: layer type (class or class name) by layer name.
        layers: see `ActivationModel`.
        skipped: names that exist but cannot be measured, with the reason, for the error message.

    Returns:
        Names in the order of `types`.

    Raises:
        ValueError: nothing was asked for, or something that does not exist.
        TypeError: a choice that is neither text nor a type.
    """
    if layers is None:
        return list(types)
    choices = [layers] if isinstance(layers, (str, type)) else list(layers)
    if not choices:
        raise ValueError("layers must name at least one layer. Received: none")
    chosen: set[str] = set()
    for choice in choices:
        found = _matching(types, choice)
        if not found:
            raise ValueError(_unknown_layer(choice, types, skipped or {}))
        chosen |= found
    return [name for name in types if name in chosen]


def _matching(types: Mapping[str, type | str], choice: Any) -> set[str]:
    if isinstance(choice, type):
        return {name for name, kind in types.items() if isinstance(kind, type) and issubclass(kind, choice)}
    if not isinstance(choice, str):
        raise TypeError(f"layers must be names, globs or layer types. Received: {choice!r}")
    if choice in types:
        return {choice}
    calls = {name for name in types if name.split("@")[0] == choice or name.split(":")[0] == choice}
    globbed = {name for name in types if fnmatch.fnmatchcase(name, choice)}
    of_type = {n for n, kind in types.items() if choice == (kind if isinstance(kind, str) else kind.__name__)}
    return calls or globbed or of_type


def _unknown_layer(choice: Any, types: Mapping[str, Any], skipped: Mapping[str, str]) -> str:
    text = choice if isinstance(choice, str) else choice.__name__
    if text in skipped:
        return f"layer {text!r} cannot be measured: {skipped[text]}"
    close = difflib.get_close_matches(text, types, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"layers must name layers of the model: {', '.join(types)}.{hint} Received: {text!r}"


def _graph_of(model: Any) -> Any:
    """The Keras Function behind a model: the graph of calls that can be walked."""
    if isinstance(model, keras.Sequential):
        graph = getattr(model, "_functional", None)
        if graph is None:
            raise ValueError(
                f"model must be built before its layers can be read: give the Sequential model {model.name!r} a "
                "keras.Input as its first layer, or call model.build((None, H, W, C)). Received: an unbuilt model"
            )
        return graph
    if isinstance(model, keras.Model) and hasattr(model, "_nodes_by_depth"):
        return model
    if isinstance(model, keras.Model):
        raise TypeError(
            f"model must be a functional or sequential Keras model. Received: the subclassed model "
            f"{type(model).__name__}, whose layers form no graph. Rebuild it with keras.Model(inputs, outputs), or "
            "compute the activations yourself and give them to tfinv.evaluate_arrays"
        )
    raise TypeError(f"model must be a Keras 3 model. Received: {type(model).__module__}.{type(model).__name__}")


def _is_nested(operation: Any) -> bool:
    if isinstance(operation, keras.Sequential):
        return getattr(operation, "_functional", None) is not None
    return isinstance(operation, keras.Model) and hasattr(operation, "_nodes_by_depth")


def _image_shape(graph: Any, given: tuple[int, ...] | None) -> tuple[int, ...]:
    shapes = [tuple(each.shape) for each in graph.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise ValueError(f"model must have one input of images (N, H, W, C). Received: input shapes {shapes}")
    expected = shapes[0][1:]
    if given is not None:
        if len(given) != 3 or any(
            want is not None and want != size for want, size in zip(expected, given, strict=True)
        ):
            raise ValueError(
                f"images must fit the model's input (H, W, C) = {expected}. Received: images of {tuple(given)}"
            )
        return tuple(int(size) for size in given)
    if None in expected:
        raise ValueError(f"input_shape must be given, the model leaves it open: {expected}. Received: None")
    return expected


@dataclass(frozen=True)
class Call:
    """One call of one layer on real tensors."""

    name: str
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


def walk_calls(model: Any, images: Any, keep_tape: Callable[[Any], None]) -> Iterator[Call]:
    """Run a model layer by layer, eagerly, with a gradient tape around each call; nested models are entered.

    Args:
        model: a functional or sequential Keras model.
        images: tensor `(N, H, W, C)`.
        keep_tape: is given the persistent tape of each call, in the order of the calls.

    Yields:
        The calls in network order; shared layers keep one name.
    """
    import tensorflow as tf

    def run(operation: Any, arguments: Any, options: Any) -> Any:
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(_tensors((arguments, options)))
            outputs = operation(*arguments, **options)
        keep_tape(tape)
        return outputs

    for path, _, inputs, outputs in _calls(_graph_of(model), [images], "", run):
        yield Call(path, tuple(inputs), tuple(outputs))


def _tensors(structure: Any) -> list[Any]:
    return [each for each in keras.tree.flatten(structure) if hasattr(each, "dtype") and hasattr(each, "shape")]


def _taps(graph: Any, images: Any) -> list[_Tap]:
    """Call every layer on symbolic images and name each output, in network order."""
    calls = list(_calls(graph, [images], "", _plain_call))
    names = _call_names([(path, len(outputs)) for path, _, _, outputs in calls])
    return [
        _Tap(name, operation, tensor)
        for (_, operation, _, outputs), own in zip(calls, names, strict=True)
        for name, tensor in zip(own, outputs, strict=True)
    ]


def _call_names(calls: Sequence[tuple[str, int]]) -> list[list[str]]:
    """The names of the outputs of each call, given its path and the number of its outputs."""
    total = Counter(path for path, _ in calls)
    seen: Counter[str] = Counter()
    names = []
    for path, count in calls:
        seen[path] += 1
        base = f"{path}@{seen[path]}" if total[path] > 1 else path
        names.append([f"{base}:{position}" for position in range(count)] if count > 1 else [base])
    return names


def _plain_call(operation: Any, arguments: Any, options: Any) -> Any:
    return operation(*arguments, **options)


def _calls_layer(graph: Any, model: Any, names: Sequence[str]) -> Any:
    """A layer that runs a model call by call, until it has seen the outputs named."""

    class Calls(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="calls")
            self.observed = model

        def call(self, images: Any) -> dict[str, Any]:
            found: dict[str, Any] = {}
            for name, tensor in zip(order, _flat_outputs(graph, images), strict=False):
                found[name] = tensor
                if found.keys() >= wanted:
                    break
            return {name: found[name] for name in names}

    wanted = set(names)
    symbolic = keras.KerasTensor((None, *model.inputs[0].shape[1:]))
    order = [tap.name for tap in _taps(graph, symbolic)]
    return Calls()


def _flat_outputs(graph: Any, images: Any) -> Iterator[Any]:
    for _, _, _, outputs in _calls(graph, [images], "", _plain_call):
        yield from outputs


def _calls(
    graph: Any, inputs: Sequence[Any], prefix: str, run: Callable[[Any, Any, Any], Any]
) -> Generator[tuple[str, Any, list[Any], list[Any]], None, list[Any]]:
    """Run a graph call by call; yield path, layer, inputs and outputs of each, and return the graph's outputs."""
    tensors = {id(reference): value for reference, value in zip(graph.inputs, inputs, strict=True)}
    by_depth = graph._nodes_by_depth
    for node in (node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]):
        if node.is_input:
            continue
        path = prefix + node.operation.name
        arguments, options = node.arguments.fill_in(tensors)
        if _is_nested(node.operation):
            outputs = yield from _calls(_graph_of(node.operation), _tensors(arguments), path + "/", run)
        else:
            outputs = keras.tree.flatten(run(node.operation, arguments, options))
            yield path, node.operation, _tensors((arguments, options)), outputs
        tensors |= {id(reference): value for reference, value in zip(node.outputs, outputs, strict=True)}
    return [tensors[id(reference)] for reference in graph.outputs]
