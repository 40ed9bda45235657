"""What goes wrong inside TensorFlow, a converter or a user's own layer, in words that say what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from tfinv.support.lazy import keras
from tfinv.support.types import KerasModel

RUNS = "model must run on images"
"""What is expected of every model."""
TRAINS = "model must train on images"
"""What is expected of a model in training."""
TRY_TRAINING = "try model(images, training=True) by itself, on two of the images"
"""What to try where a model fails in training."""
SHOWN = 300
"""Characters of foreign words that an error shows."""
_ENCOUNTERED = re.compile(r"Exception encountered when calling (\w+)\.call\(\)\.\s*(.*?)\s*Arguments received by", re.S)
_USER_CODE = re.compile(r"in user code:.*\n\s*(\w+): (.*?)['\"]?\s*$", re.S)
_NODE = re.compile(r"([^\n]+)\s*\[\[\{\{node ([^}]+)\}\}")
_COLORS = re.compile(r"\x1b\[[0-9;]*m")
_WAYS_OUT = (
    (r"symbolic|KerasTensor|\.numpy\(\)|EagerTensor", "write the layer with keras.ops or TensorFlow in place of NumPy"),
    (r"incompatible|shape|dimension|Matrix size", "check the size and the channels of the images against its input"),
)


class ModelFault(ValueError):
    """A model, or a tool that works on it, fails for a reason that lies in the model."""


def one_line(error: BaseException | str, longest: int | None = None) -> str:
    """The words of an error in one line; its kind where it has no words.

    Example:
        >>> from tfinv.support.faults import one_line
        >>> one_line(ValueError("first\\n  second")), one_line(KeyError())
        ('first second', 'KeyError')

    Args:
        error: the error, or its text.
        longest: how many characters to keep; None for all.
    """
    text = " ".join(str(error).split())
    if longest is not None and len(text) > longest:
        text = text[:longest].rstrip() + " ..."
    return text or type(error).__name__


@contextmanager
def told(expected: str, model: KerasModel = None, *, layer: str = "", way_out: str = "") -> Iterator[None]:
    """Turn errors of TensorFlow, Keras, a converter or a user's own layer into one that says what to do.

    Errors that tfinv raises itself, and those of memory that ends, pass as they are.

    Example:
        >>> from tfinv.support.faults import told
        >>> def broken():
        ...     exec("1 / 0", {"__name__": "theirs"})
        >>> with told("model must run on images"):
        ...     broken()
        Traceback (most recent call last):
        tfinv.support.faults.ModelFault: model must run on images; ... Received: ZeroDivisionError: division by zero

    Args:
        expected: the argument and what was expected, such as `"model must run on images"`.
        model: the Keras model, to name the layer; None for none.
        layer: the layer, where it is known.
        way_out: what to try where the words of the error tell nothing; "" for running the model by itself.

    Raises:
        ModelFault: something inside failed.
    """
    try:
        yield
    except Exception as error:  # what is inside raises every kind
        if is_ours(error) or isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
            raise
        words, place = cause(error)
        layer = layer or (layer_called(place, model) if model is not None else "")
        where = f" in {layer or place}" if layer or place else ""
        known = next((way for pattern, way in _WAYS_OUT if re.search(pattern, words)), "")
        tried = known or way_out or "try model(images, training=False) by itself, on two of the images"
        raise ModelFault(f"{expected}; {tried}. Received: {type(error).__name__}{where}: {words}") from error


def is_ours(error: BaseException) -> bool:
    """Whether tfinv raised an error itself, so that it says what to do already."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))
    return isinstance(error, ModelFault) or module.split(".")[0] == "tfinv"


def cause(error: BaseException) -> tuple[str, str]:
    """The words of an error without what Keras and TensorFlow put around them, and the class or node that they name.

    Example:
        >>> from tfinv.support.faults import cause
        >>> cause(ValueError("Exception encountered when calling Mine.call().\\n\\nno\\n\\nArguments received by Mine"))
        ('no', 'Mine')
    """
    text = _COLORS.sub("", str(error))
    if found := _ENCOUNTERED.search(text):
        return one_line(found[2], SHOWN), found[1]
    if found := _USER_CODE.search(text.replace("\\n", "\n") if isinstance(error, KeyError) else text):
        return one_line(found[2], SHOWN), ""
    if found := _NODE.search(text):
        return one_line(found[1], SHOWN), found[2]
    return one_line(text, SHOWN) or type(error).__name__, ""


def layer_called(place: str, model: KerasModel) -> str:
    """The innermost layer of a model that a class or the name of an operation means, with its class; "" for none.

    Args:
        place: such as `"Lambda"`, or `"model/conv_1/Conv2D"`.
        model: a Keras model.
    """
    layers = {layer.name: layer for layer in model._flatten_layers(include_self=False, recursive=True)}
    of_class = [name for name, layer in layers.items() if type(layer).__name__ == place]
    if len(of_class) == 1:
        return f"layer {of_class[0]!r} ({place})"
    for scope in reversed(place.split("/")[:-1]):
        for name in (scope, re.sub(r"_\d+$", "", scope)):
            if name in layers and not isinstance(layers[name], keras.Model):
                return f"layer {name!r} ({type(layers[name]).__name__})"
    return ""
