"""Models of the command line as sources of activations, with the input scale that each is fed by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfinv.activations.input_scale import APPLICATIONS, InputScale, told_by_first_layer
from tfinv.activations.input_scale import input_scale as parse_scale
from tfinv.activations.layout import CHANNELS, Layout, as_images, input_layout
from tfinv.commands import arguments as shared
from tfinv.commands.elsewhere import kind_elsewhere
from tfinv.models.opening import FileKind, file_kind, known_kind, open_foreign
from tfinv.support import archive
from tfinv.support.reading import reading
from tfinv.support.types import KerasModel, Model

if TYPE_CHECKING:
    from tfinv.activations import ActivationModel
    from tfinv.activations.foreign import ForeignModel
    from tfinv.tflite import TFLiteModel

OPEN = "{} leaves the size of its images open, {}: give --input-size HEIGHT WIDTH"


@dataclass(frozen=True)
class Opened:
    """A model that was opened, before its images are known.

    Args:
        name: as the user wrote it.
        model: a Keras model, a `TFLiteModel`, an `OnnxModel` or a `SavedModel`.
        shape: `(H, W, C)` of its images; None where open.
        scale: how images in [0, 1] become model inputs.
        scale_from: `"given"`, or what else tells the scale.
        outputs: how many classes its output tells apart; None where the output is no list of classes.
        layout: where the model has the channels of its images.
    """

    name: str
    model: Model
    shape: tuple[int | None, ...]
    scale: InputScale
    scale_from: str
    outputs: int | None
    layout: Layout = "nhwc"

    @property
    def said(self) -> str:
        """Which scale is used, and why."""
        first = "; channels first, as the model has them" if self.layout == "nchw" else ""
        return scale_words(self.scale, self.scale_from) + first

    def source(self, image_shape: Sequence[int], layers: Any = None) -> ActivationModel | TFLiteModel | ForeignModel:
        """The model as a source of the activations of chosen layers.

        Args:
            image_shape: `(H, W, C)` of the images.
            layers: see `tfinv.evaluate`.
        """
        if is_tflite(self.name) or kind_elsewhere(self.name):
            return self.model if layers is None else self.model.select(layers)
        from tfinv.activations import ActivationModel

        return ActivationModel(
            self.model, layers, input_shape=tuple(image_shape), input_scale=self.scale, layout=self.layout
        )


def scale_words(scale: InputScale, origin: str) -> str:
    """Which input scale is used, and what tells it."""
    why = {"given": "as given", "default": "the default; --input-scale changes it"}
    return f"input scale {scale.text} ({why.get(origin, f'told by {origin}')})"


def is_tflite(name: str) -> bool:
    """Whether a text names a `.tflite` file by its ending."""
    return file_kind(name) == "tflite"


def takes_layer_classes(names: Sequence[str]) -> bool:
    """Whether one of the models is a Keras file, which may hold unknown classes."""
    return any(not (is_tflite(name) or kind_elsewhere(name) or name.startswith(APPLICATIONS)) for name in names)


def open_model(
    name: str,
    scale: str | None,
    layer_classes: Sequence[str] = (),
    size: Sequence[int] | None = None,
    layout: Layout | None = None,
    fixed: Path | None = None,
) -> Opened:
    """Open a model by the name that a user gives.

    Args:
        name: a `.keras`, `.h5`, `.tflite` or `.onnx` file, a folder with a SavedModel, or `keras.applications.NAME`.
        scale: of `--input-scale`; None for what the model tells: its own preprocessing for a network of Keras, the
            range of its integers for a `.tflite` file, 0..255 behind a first layer that rescales it, otherwise 0..1.
        layer_classes: of `--layer-class`.
        size: of `--input-size`, height and width where the model leaves them open.
        layout: of `--layout`; None for what the model tells.
        fixed: of `--fixed-inputs`.

    Raises:
        ValueError: a missing or damaged file, one that holds an unknown class, a model that does not take images, or a
            size that the model does not leave open.
    """
    given = None if scale is None else parse_scale(shared.input_scale(scale))
    values = None if fixed is None else read_fixed(fixed)
    if kind := kind_elsewhere(name):
        opened = _open_elsewhere(name, kind, given, size, layout, values)
    elif is_tflite(name):
        opened = _open_tflite(name, given, size, layout, values)
    else:
        opened = _open_keras(name, given, layer_classes, layout, values)
        opened = opened if size is None else _sized(opened, size)
    if layout is not None and opened.shape[-1] not in (*CHANNELS, None):
        raise ValueError(
            f"--layout {layout} must fit {name}, which would take images (H, W, C) = {opened.shape}. Received: {layout}"
        )
    return opened


def read_fixed(path: Path) -> dict[str, Any]:
    """The values of `--fixed-inputs`, by name of the input.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file that is no `.npz` file of arrays.
    """
    with reading(path, "an .npz file with one array per input", argument="fixed-inputs"):
        return dict(archive.load_arrays(path))


def _open_tflite(
    name: str,
    scale: InputScale | None,
    size: Sequence[int] | None = None,
    layout: Layout | None = None,
    fixed: Mapping[str, Any] | None = None,
) -> Opened:
    from tfinv.tflite import TFLiteModel, fix_inputs

    file = name if fixed is None else fix_inputs(name, fixed)
    try:
        model = TFLiteModel(file, input_scale=scale, layout=layout, input_size=size, probe=True)
    except ValueError as error:
        if size is None or "input_size must be a size that the model leaves open" not in str(error):
            raise
        return _sized(_open_tflite(name, scale, None, layout, fixed), size)  # says why the size has no effect
    outputs = [model.runner.shape(index)[1:] for index in model.graph.outputs]
    count = outputs[0][0] if len(outputs) == 1 and len(outputs[0]) == 1 and outputs[0][0] > 1 else None
    return Opened(name, model, model.input_shape, model.input_scale, model.scale_from, count, model.layout)


def _open_elsewhere(
    name: str,
    kind: FileKind,
    scale: InputScale | None,
    size: Sequence[int] | None,
    layout: Layout | None,
    fixed: Mapping[str, Any] | None,
) -> Opened:
    if fixed is not None:
        raise ValueError(
            f"--fixed-inputs takes models of Keras and TFLite; give {name} one input of images. Received: {name}"
        )
    origin = "default" if scale is None else "given"
    scale = scale or parse_scale("0..1")
    try:
        model = open_foreign(name, kind, scale, size, layout)
    except ValueError as error:
        if size is None or "input_size must be a size that the model leaves open" not in str(error):
            raise
        return _sized(_open_elsewhere(name, kind, scale, None, layout, fixed), size)  # says why it has no effect
    outputs = [output.shape for output in model.outputs]
    count = outputs[0][0] if len(outputs) == 1 and len(outputs[0]) == 1 and outputs[0][0] > 1 else None
    return Opened(name, model, model.input_shape, scale, origin, count, model.layout)


def _open_keras(
    name: str,
    scale: InputScale | None,
    layer_classes: Sequence[str],
    layout: Layout | None = None,
    fixed: Mapping[str, Any] | None = None,
) -> Opened:
    from tfinv import models

    is_application = name.startswith(APPLICATIONS)
    if not is_application:
        known_kind(name)
    stand_ins = shared.layer_classes(layer_classes)
    model = models.build(name, None, None) if is_application else models.load(name, stand_ins=stand_ins)
    model = model if fixed is None else models.fix_inputs(model, fixed)
    shape = image_shape(model)
    layout = layout or input_layout(model)
    shape = as_images(shape, layout)
    origin = "given"
    if scale is None and is_application:
        scale, origin = parse_scale(name), "its own preprocessing"
    if scale is None and (scale := told_by_first_layer(model)) is not None:
        origin = "its first layer"
    if scale is None:
        scale, origin = parse_scale("0..1"), "default"
    output = tuple(model.outputs[0].shape)
    count = output[-1] if len(output) == 2 and output[-1] is not None and output[-1] > 1 else None
    return Opened(name, model, shape, scale, origin, count, layout)


def fixed_size(model: KerasModel, shape: Sequence[int]) -> KerasModel:
    """A model of the same layers and weights that takes images of one size.

    Args:
        model: a functional or sequential model that leaves height or width open.
        shape: `(H, W, C)`.
    """
    import keras

    made = keras.models.clone_model(model, input_tensors=keras.Input(tuple(shape), name=model.inputs[0].name))
    made.set_weights(model.get_weights())
    return made


def image_shape(model: KerasModel) -> tuple[int | None, ...]:
    """The shape of the images of a Keras model, as the model has them; None where open.

    Raises:
        ValueError: a model that does not take images.
    """
    shapes = [tuple(symbol.shape) for symbol in model.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        flat = len(shapes) == 1 and len(shapes[0]) == 2
        hint = ": it takes features, not images; measure the network that makes them, or both as one" if flat else ""
        raise ValueError(f"model must have one input of images (N, H, W, C). Received: input shapes {shapes}{hint}")
    return shapes[0][1:]


def _sized(opened: Opened, size: Sequence[int]) -> Opened:
    height, width, channels = opened.shape
    if height is not None and width is not None:
        raise ValueError(
            f"--input-size has no effect here: {opened.name} takes images of {height}x{width}; leave it out. "
            f"Received: --input-size {size[0]} {size[1]}"
        )
    fits = all(fixed in (None, wanted) for fixed, wanted in zip((height, width), size, strict=True))
    if not fits or min(size) < 1:
        raise ValueError(f"--input-size must fit {opened.name}, which takes {opened.shape}. Received: {list(size)}")
    return replace(opened, shape=(size[0], size[1], channels))
