"""A `.tflite` file as a source of activations, with the names of its layers."""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tfinv.activations.layout import TO_LAST, Layout, as_images, checked_layout
from tfinv.activations.model_inputs import as_model_inputs
from tfinv.activations.outputs import ModelOutput
from tfinv.activations.selection import select_names
from tfinv.activations.source import LayerChoice
from tfinv.statistics.resolution import Computed, Resolution, resolutions
from tfinv.support.checks import kind_of, received, whole_number
from tfinv.support.guarded import guarded
from tfinv.support.memory import available
from tfinv.support.threads import worker_threads
from tfinv.support.types import Images
from tfinv.tflite.files.conversion import Conversion
from tfinv.tflite.files.flatbuffer import FileTensor, Graph
from tfinv.tflite.files.input_scale import InputScale, told_by_file
from tfinv.tflite.files.input_scale import input_scale as parse_scale
from tfinv.tflite.files.input_shape import first_channels, told_layout, with_input_size
from tfinv.tflite.files.interpreter import Runner, activation_bytes
from tfinv.tflite.files.kernels import TFLM, XNNPACK, kernel_sets
from tfinv.tflite.files.layer_map import LayerMap
from tfinv.tflite.files.runners import new_runner
from tfinv.tflite.files.self_check import SelfCheck, check_runner
from tfinv.tflite.files.signals import random_inputs
from tfinv.tflite.files.sized_by_data import sized_by_data
from tfinv.tflite.files.tensor_names import short_names
from tfinv.tflite.files.unknown_operators import unknown_operator, without_operator

if TYPE_CHECKING:
    from tfinv.activations.source import Worker

_ACTIVATIONS = {"SOFTMAX": "softmax", "LOGISTIC": "sigmoid"}
MOST_THREADS = 1024
"""Threads that an interpreter may be asked for; far more than processors have, and few enough to be started."""
Source = Conversion | bytes | str | os.PathLike[str]
FILES = (Conversion, bytes, bytearray, memoryview, str, os.PathLike)
"""Types of what stands for a file."""
FILE_WORDS = "a Conversion, the bytes of a .tflite file or its path"


@guarded("probe", "input_size")
class TFLiteModel:
    """A `.tflite` model that gives the activations of its layers as real numbers.

    Intermediate tensors are read with all tensors preserved, always: without that, reads fail or are silently wrong.
    Integers become real numbers by each tensor's own scale and zero point. The interpreter is built once, for a fixed
    batch; a model that cannot be resized runs at the batch size of its file.

    Layers carry Keras names where the file comes as a `Conversion`, otherwise names read out of the file. What could
    not be mapped to a Keras layer is kept under its name in the file. Where the interpreter does not know a custom
    operator, what comes before it is read, and `skipped` names it. Images and feature maps have their channels last
    here, also where the file has them first, as files that were converted from PyTorch do.

    Example:
        >>> import keras, numpy as np
        >>> from tfinv.tflite import TFLiteModel, float32
        >>> inputs = keras.Input((8, 8, 1))
        >>> x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
        >>> x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
        >>> model = TFLiteModel(float32(keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))))
        >>> model.layer_shapes
        {'conv': (6, 6, 4), 'pool': (4,), 'logits': (3,)}
        >>> model(np.zeros((5, 8, 8, 1), "float32"))["pool"].shape
        (5, 4)

    Args:
        model: a `Conversion`, the bytes of a file, or its path.
        layers: which layers to read: a name, a glob, an operator such as `"CONV_2D"`, or several; None for all.
        input_scale: how images in [0, 1] become model inputs: `"0..1"`, `"0..255"`, `"-1..1"`, `(mean, std)` or the
            preprocessing of a network of Keras, such as `"keras.applications.ResNet50"`. None for what the integers of
            the input stand for, and `"0..1"` where the file takes floats.
        num_threads: threads of the interpreter; None for all usable cores, at most 4. The numbers do not depend on it.
        batch_size: images per invocation; None for 32, or less where activations are large.
        probe: try the file in a process of its own first, because a corrupt one can end the process that runs it.
            None for yes, except for a `Conversion` made in this process.
        layout: `"nhwc"` or `"nchw"`, where the file has the channels of its images; None for what its operators, or
            else its input shape tell.
        input_size: `(height, width)` of the images, where the file leaves them open.
        kernels: the code that computes the file: `"xnnpack"`, `"builtin"`, `"reference"` or `"tflm"`, TensorFlow Lite
            for Microcontrollers, which is always tried in a process of its own.

    Raises:
        ValueError: not an intact TFLite file, or one that the interpreter refuses (with its words), several inputs, an
            unknown layer or input scale, a batch whose activations do not fit into memory.
        FileNotFoundError: no such file.
    """

    def __init__(
        self,
        model: Source,
        *,
        layers: LayerChoice = None,
        input_scale: str | Sequence[Any] | InputScale | None = None,
        num_threads: int | None = None,
        batch_size: int | None = None,
        probe: bool | None = None,
        layout: Layout | None = None,
        input_size: Sequence[int] | None = None,
        kernels: str = XNNPACK,
    ) -> None:
        layout = checked_layout(layout)
        self.name, conversion, self._unknown = _open(model, probe, input_size, layout)
        self.graph: Graph = conversion.graph
        self.layer_map: LayerMap | None = conversion.layers
        """Which Keras layer is which tensor; None for a file that came without its Keras model."""
        told = told_by_file(self.graph) if input_scale is None else None
        self.scale_from = "given" if input_scale is not None else "the file" if told else "default"
        """Where the input scale comes from: `"given"`, `"the file"`, `"the other file"` or `"default"`."""
        self.input_scale: InputScale = told or parse_scale("0..1" if input_scale is None else input_scale)
        self.kernels = _one_set(kernels)
        """The kernel set that computes the file."""
        self.runner = _runner(
            self.graph,
            _affordable(self.graph, _positive("batch_size", batch_size)),
            _threads(num_threads),
            self.kernels,
            self.name,
        )
        self.layout: Layout = layout or told_layout(self.graph)
        """Where the file has the channels of its images."""
        self._first = first_channels(self.graph, self.layout)
        self.skipped: dict[str, str] = {}
        """Activations that cannot be measured, and why."""
        self._layers = self._name_layers(layers)
        self._crew: dict[tuple[int, int], list[Runner]] = {}
        self.check: SelfCheck | None = None
        """The last `self_check`; None before the first."""

    def _name_layers(self, layers: LayerChoice) -> dict[str, int]:
        names = self._names = layer_names(self.graph, self.layer_map.matched if self.layer_map else None)
        if self.layer_map is not None:
            inner = {index for name, index in short_names(self.graph).items() if name in self.layer_map.inner}
            names = {name: index for name, index in names.items() if index not in inner}
        sized = sized_by_data(self.graph)
        for name, index in list(names.items()):
            shape = self.runner.shape(index)
            if index in sized:
                self.skipped[name] = f"its shape depends on the image, because of the operator {sized[index]}"
                del names[name]
            elif len(shape) < 2 or shape[0] != self.runner.batch:
                self.skipped[name] = f"its shape {shape} is not one array per image of a batch of {self.runner.batch}"
                del names[name]
        for operator in self._unknown:
            self.skipped[operator] = (
                "the interpreter does not know this custom operator: what comes before it is measured"
            )
        for index in self.graph.outputs:
            tensor = self.graph.tensors[index]
            if not tensor.is_real and (operator := self.graph.producers.get(self.graph.source(index))):
                self.skipped[operator.name.lower()] = (
                    f"its output {tensor.name!r} holds no real numbers but {tensor.dtype}, such as class numbers"
                )
        kinds = {name: self.graph.producers[index].name for name, index in names.items()}
        return {name: names[name] for name in select_names(kinds, layers, self.skipped)}

    def __getstate__(self) -> dict[str, Any]:
        runner = {"batch": self.runner.batch, "threads": self.runner.threads}
        return {**self.__dict__, "runner": runner, "_crew": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        threads = worker_threads() or state["runner"]["threads"]
        batch = state["runner"]["batch"]
        self.runner = new_runner(self.graph, batch, threads, kernels=self.kernels, name=self.name)

    @property
    def id(self) -> str:
        """Name and hash of the file."""
        return f"{self.name}-{hashlib.sha256(self.graph.content).hexdigest()[:12]}"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """`(H, W, C)` of the images."""
        return as_images(self.runner.shape(self.runner.input.index)[1:], self.layout)

    @property
    def layer_shapes(self) -> dict[str, tuple[int, ...]]:
        """Unit shape `*U` by layer name, in network order."""
        shapes = {name: self.runner.shape(index)[1:] for name, index in self._layers.items()}
        return {
            name: as_images(shapes[name], "nchw") if i in self._first else shapes[name]
            for name, i in self._layers.items()
        }

    @property
    def outputs(self) -> tuple[ModelOutput, ...]:
        """The outputs in the order of the model, with their layers; classes are read from the first."""
        graph, layer = self.graph, {index: name for name, index in self._names.items()}
        found = []
        for name, index in zip(graph.output_names, graph.outputs, strict=True):
            scores = graph.scores(index)
            operator = graph.producers.get(scores)
            activation = _ACTIVATIONS.get(operator.name, "") if operator else ""
            shape, dtype = self.runner.shape(index)[1:], graph.tensors[index].dtype
            found.append(ModelOutput(name, layer.get(scores, ""), shape, dtype, activation))
        return tuple(found)

    @property
    def output_layer(self) -> str:
        """The layer that makes the model's first output, selected or not; of class numbers, the one they come from."""
        return self.outputs[0].layer

    @property
    def scores(self) -> int:
        """Number of the tensor that classes are read from: the first output; of class numbers, their scores."""
        first = self.graph.outputs[0]
        scores = self.graph.scores(first)
        return first if scores == self.graph.source(first) else scores

    @property
    def layer_ops(self) -> dict[str, str]:
        """Operator that computes each layer, such as `CONV_2D`."""
        return {name: self.graph.producers[index].name for name, index in self._layers.items()}

    @property
    def layer_tensors(self) -> dict[str, FileTensor]:
        """The tensor behind each layer, with storage type, scales and zero points."""
        return {name: self.graph.tensors[index] for name, index in self._layers.items()}

    @property
    def batch_size(self) -> int:
        """Images per invocation."""
        return self.runner.batch

    @property
    def threads(self) -> int:
        """Threads of the interpreter."""
        return self.runner.threads

    def workers(self, count: int, images: int) -> Sequence[Worker]:
        """Interpreters that run side by side, built at the first call; see `tfinv.engine.streams.StreamSource`."""
        from tfinv.tflite.files.workers import StreamWorker

        key = (count, images)
        if key not in self._crew or any(runner.is_left for runner in self._crew[key]):
            self._crew.clear()
            threads = 1 if count > 1 else self.threads
            self._crew[key] = [
                new_runner(self.graph, images, threads, kernels=self.kernels, name=self.name) for _ in range(count)
            ]
        runners = self._crew[key]
        if runners[0].batch != images:
            return ()
        return [StreamWorker(runner, self.model_inputs, self.layer_tensors, self._first) for runner in runners]

    @property
    def metadata(self) -> dict[str, Any]:
        """What a result should record about the run: file, input scale, threads, kernels, check."""
        return {
            "model": self.id,
            "bytes": len(self.graph.content),
            "input_scale": self.input_scale.text,
            "input_scale_from": self.scale_from,
            "layout": self.layout,
            "threads": self.runner.threads,
            "batch_size": self.batch_size,
            "kernels": self.kernels,
            "delegate": self.runner.delegate,
            "self_check": self.check.summary() if self.check else "not run",
            "inputs": [
                {
                    "name": self.runner.input.name,
                    "shape": list(self.input_shape),
                    "dtype": self.graph.tensors[self.runner.input.index].dtype,
                }
            ],
            "outputs": [{**output.facts(), "measured": position == 0} for position, output in enumerate(self.outputs)],
            "skipped_layers": dict(self.skipped),
        }

    def select(self, layers: LayerChoice) -> TFLiteModel:
        """The same model, interpreter shared, with only some of the layers read."""
        other = copy.copy(self)
        other.skipped = {}
        other._layers = other._name_layers(layers)
        return other

    def with_input_scale(self, scale: str | Sequence[Any] | InputScale, origin: str = "given") -> TFLiteModel:
        """The same model, interpreter shared, fed with another input scale."""
        other = copy.copy(self)
        other.input_scale, other.scale_from = parse_scale(scale), origin
        return other

    def with_kernels(self, kernels: str) -> TFLiteModel:
        """The same file and layers, computed by another kernel set.

        Raises:
            ValueError: an unknown kernel set, one that is not installed, or one that refuses the file, in its words.
        """
        if _one_set(kernels) == self.kernels:
            return self
        other = copy.copy(self)
        other.kernels = kernels
        other.runner = _runner(self.graph, self.runner.batch, self.runner.threads, kernels, self.name)
        other.check, other._crew, other.skipped = None, {}, {}
        other._layers = other._name_layers(list(self._layers))
        return other

    def __call__(self, images: Images) -> dict[str, NDArray[np.float32]]:
        """The activations of the chosen layers.

        Args:
            images: `(N, H, W, C)` in [0, 1], any N.

        Returns:
            `{layer: float32 (N, *U)}` in network order, dequantized.

        Raises:
            ValueError: images of another shape, or with NaN or infinite values.
        """
        return self.channels_last(self.runner.read(self.model_inputs(images), self._layers))

    def channels_last(self, values: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """Activations as the file has them, by layer, with the channels of feature maps last."""
        first = {name for name, index in self._layers.items() if index in self._first}
        return {
            name: np.ascontiguousarray(array.transpose(TO_LAST)) if name in first else array
            for name, array in values.items()
        }

    def resolutions(self, images: NDArray[np.float32]) -> dict[str, Resolution]:
        """By layer the smallest variation that is more than rounding, see `tfinv.statistics.resolution`.

        Args:
            images: `(N, H, W, C)` in [0, 1], a few.
        """
        names = {index: name for name, index in self._layers.items()}
        sized, batch = sized_by_data(self.graph), (self.runner.batch,)
        indices = [i for i in self.graph.activations if i not in sized and self.runner.shape(i)[:1] == batch]
        values = self.runner.read(self.model_inputs(images), {str(index): index for index in indices})
        places = {index: place for place, index in enumerate(indices)}
        steps = []
        for index in indices:
            operator = self.graph.producers[index]
            read = (places.get(self.graph.source(source)) for source in operator.inputs)
            steps.append(
                Computed(
                    names.get(index, f"tensor {index}"),
                    values[str(index)],
                    self.graph.tensors[index].dtype,
                    tuple(place for place in read if place is not None and place < len(steps)),
                    self.graph.summed(operator),
                )
            )
        return resolutions(steps, self._layers)

    def predict(self, images: Images) -> NDArray[np.float32] | dict[str, NDArray[np.float32]]:
        """The outputs of the model as real numbers: `(N, *U)`, or one such array by name where there are several.

        Several outputs come in the order of the model, under the names of the file's signature.
        """
        outputs = dict(zip(_distinct(self.graph.output_names), self.graph.outputs, strict=True))
        result = self.runner.read(self.model_inputs(images), outputs)
        return next(iter(result.values())) if len(result) == 1 else result

    def self_check(self, images: Images = None) -> SelfCheck:
        """Compare what is read here with other ways to run the file; see `tfinv.tflite.self_check`."""
        inputs = random_inputs(self.graph, 8) if images is None else self.model_inputs(images)
        self.check = check_runner(self.graph, self.runner, inputs, self._layers)
        return self.check

    def model_inputs(self, images: Images) -> NDArray[np.float32]:
        """Images `(N, H, W, C)` in [0, 1], checked, as the model takes them before quantization."""
        return as_model_inputs(images, self.input_shape, self.input_scale, self.layout)


def layer_names(graph: Graph, matched: Mapping[str, int] | None) -> dict[str, int]:
    """Tensor number by layer name, in network order: Keras names where known, names from the file elsewhere."""
    by_file = short_names(graph)
    if not matched:
        return by_file
    keras_name = {index: name for name, index in matched.items()}
    names = {}
    for name, index in by_file.items():
        unique = name if name not in matched else f"{name}/{graph.producers[index].name.lower()}"
        names[keras_name.get(index, unique)] = index
    return names


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, or `output_0`, `output_1`, where two are equal."""
    return list(names) if len(set(names)) == len(names) else [f"output_{number}" for number in range(len(names))]


def opened(source: Source | TFLiteModel, argument: str, **options: Any) -> TFLiteModel:
    """A model as it is, or the model of a file.

    Args:
        source: the model, a `Conversion`, the bytes of a file, or its path.
        argument: the argument that named it, for the error.
        options: of `TFLiteModel`, for a file.

    Raises:
        TypeError: something else.
        ValueError, FileNotFoundError: see `TFLiteModel`; another input scale than the model has.
    """
    if isinstance(source, TFLiteModel):
        scale = options.get("input_scale")
        if scale is not None and parse_scale(scale) != source.input_scale:
            raise ValueError(
                f"input_scale must be None where {argument} is a TFLiteModel, whose own is {source.input_scale.text}; "
                f"make the model with it. Received: {parse_scale(scale).text}"
            )
        return source
    kind_of(argument, source, FILES, f"a TFLiteModel, {FILE_WORDS}")
    return TFLiteModel(source, **options)


def _open(
    model: Any, try_first: bool | None, input_size: Sequence[int] | None, layout: Layout | None
) -> tuple[str, Conversion, tuple[str, ...]]:
    """Name and content of whatever stands for a file, and the custom operators that it was cut before.

    A path brings what `Conversion.save` wrote next to it.
    """

    def sized(conversion: Conversion) -> Conversion:
        content = with_input_size(conversion.graph, input_size, layout)
        return conversion if content is conversion.content else replace(conversion, content=content)

    where = ""
    try:
        if isinstance(model, Conversion):
            model = sized(model)
            return (model.recipe, model, ()) if not try_first else (model.recipe, *_tried(model))
        if isinstance(model, (bytes, bytearray, memoryview)):
            name, conversion = "tflite", Conversion(bytes(model), "unknown")
        elif isinstance(model, (str, os.PathLike)):
            path = Path(model)
            where = str(path)
            name, conversion = path.stem, Conversion.load(path)
        else:
            raise TypeError(f"model must be {FILE_WORDS}. Received: {received(model)}")
        conversion = sized(conversion)
        return (name, conversion, ()) if try_first is False else (name, *_tried(conversion))
    except ValueError as error:
        raise ValueError(str(error) if where in str(error) else f"{where}: {error}") from None


def _tried(conversion: Conversion) -> tuple[Conversion, tuple[str, ...]]:
    """A file that runs: cut before the custom operators that the interpreter does not know, which are named."""
    from tfinv.tflite.files.probe import probe  # here: it runs as a program too

    conversion.graph  # noqa: B018  what can be told without a process of its own comes first
    unknown: list[str] = []
    while True:
        try:
            probe(conversion.content)
            return conversion, tuple(unknown)
        except ValueError as error:
            operator = unknown_operator(str(error))
            if not operator or operator in unknown:
                raise
        unknown.append(operator)
        conversion = replace(conversion, content=without_operator(conversion.graph, operator))


def _one_set(kernels: str) -> str:
    kind_of("kernels", kernels, str, "the name of a kernel set")
    first, *others = kernel_sets(kernels)
    if others:
        raise ValueError(f"kernels of a model must be one kernel set. Received: {kernels!r}")
    return first


def _runner(graph: Graph, batch: int | None, threads: int | None, kernels: str, name: str) -> Runner:
    """What runs the file; the interpreter for microcontrollers is first tried in a process of its own."""
    if kernels == TFLM:
        from tfinv.tflite.files.probe import probe  # here: it runs as a program too

        probe(graph.content, kernels)
    return new_runner(graph, batch, threads, kernels=kernels, name=name)


def _affordable(graph: Graph, batch: int | None) -> int | None:
    """A batch size whose activations fit into memory; the interpreter itself would fail, or run out of memory."""
    if batch is None or batch == 1:
        return batch
    bytes_each = activation_bytes(graph)
    most = max(1, available() // max(1, bytes_each))
    if batch > most:
        raise ValueError(
            f"batch_size must be at most {most:,} here: the activations of an image take {bytes_each:,} bytes, all "
            f"layers together. Received: {batch}"
        )
    return batch


def _threads(count: int | None) -> int | None:
    """A number of threads that an interpreter can start."""
    count = _positive("num_threads", count)
    if count is not None and count > MOST_THREADS:
        raise ValueError(f"num_threads must be at most {MOST_THREADS}. Received: {count}")
    return count


def _positive(name: str, value: int | None) -> int | None:
    return None if value is None else whole_number(name, value, 1)
