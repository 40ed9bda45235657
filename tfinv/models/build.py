"""Build a model by its name."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

from tfinv.activations.input_scale import APPLICATIONS
from tfinv.models.all_convolutional import all_convolutional
from tfinv.models.binary_net import binary_net
from tfinv.models.ffnet import ffnet
from tfinv.models.inception import inception
from tfinv.models.lenet import lenet
from tfinv.models.load import is_file_name, load
from tfinv.models.mobilenet_small import mobilenet_small
from tfinv.models.p4_all_convolutional import p4_all_convolutional
from tfinv.models.p4_resnet import p4_resnet
from tfinv.models.p4cnn import p4cnn, z2cnn
from tfinv.models.resnet import resnet
from tfinv.models.simple_conv import simple_conv
from tfinv.models.st_cnn import st_cnn
from tfinv.models.ti_pooling import ti_pooling
from tfinv.models.ti_pooling_laptev import ti_pooling_laptev
from tfinv.models.tutorial_cnn import tutorial_cnn
from tfinv.models.vgg16d import vgg16d
from tfinv.support.checks import close_match
from tfinv.support.extensions import installed, installed_names
from tfinv.support.guarded import guarded
from tfinv.support.lazy import keras

_BUILDERS: dict[str, Callable[..., Any]] = {
    builder.__name__: builder
    for builder in (
        simple_conv,
        all_convolutional,
        vgg16d,
        resnet,
        ffnet,
        mobilenet_small,
        tutorial_cnn,
        lenet,
        p4cnn,
        z2cnn,
        st_cnn,
        ti_pooling,
        inception,
        binary_net,
        p4_resnet,
        p4_all_convolutional,
        ti_pooling_laptev,
    )
}


_BUILT_IN = frozenset(_BUILDERS)
GROUP = "tfinv.models"
"""The entry-point group in which installed packages name functions that build a model."""


def register(builder: Callable[..., keras.Model]) -> Callable[..., keras.Model]:
    """Make an architecture known to `build` by the name of its function. A decorator.

    A later function of the same name takes the place of an earlier one, but for the architectures of tfinv.

    Args:
        builder: `builder(input_shape, classes, *, option=...)` returns a functional Keras model, images
            `(N, H, W, C)` to logits `(N, classes)`. Options are keyword-only.

    Returns:
        The function.

    Raises:
        TypeError: no function with a name.
        ValueError: the name of an architecture of tfinv.
    """
    name = getattr(builder, "__name__", "")
    if not callable(builder) or isinstance(builder, type) or not name.isidentifier():
        raise TypeError(f"builder must be a function with a name that returns a model. Received: {builder!r}")
    if name in _BUILT_IN and _BUILDERS[name] is not builder:
        raise ValueError(f"builder must not have the name of an architecture of tfinv. Received: {name!r}")
    _BUILDERS[name] = builder
    return builder


def names() -> tuple[str, ...]:
    """The names that `build` knows, next to `"keras.applications.<Name>"`."""
    return tuple(dict.fromkeys([*_BUILDERS, *installed_names(GROUP)]))


@guarded(seed=0)
def build(
    name: str,
    input_shape: tuple[int, int, int] | None,
    classes: int | None,
    *,
    seed: int | None = None,
    **options: Any,
) -> keras.Model:
    """Build a model that ends in logits, by name.

    Example:
        >>> from tfinv import models
        >>> models.build("simple_conv", (28, 28, 1), 10, filters=32, dense=64, seed=0).count_params()
        540970

    Args:
        name: one of `names()`, a network of Keras such as `"keras.applications.MobileNetV2"`, or a model file, whose
            architecture is taken with new random weights (`load` keeps its weights).
        input_shape: `(H, W, C)`; a network of Keras takes None for the size it was published with.
        classes: number of logits. A network of Keras takes None for the 1000 of ImageNet and the published weights,
            downloaded once; where they cannot be had, and for other classes, its weights are random.
        seed: makes the random weights repeatable, by `keras.utils.set_random_seed`.
        options: of the model's own function, none for a file; `weights` of a network of Keras may name weights or a
            file.

    Returns:
        A functional Keras model, images `(N, H, W, C)` to logits `(N, classes)`; from a file, what the file holds.

    Raises:
        ValueError: an unknown name or option (the known ones are listed), an option that does not fit, or a file that
            is not there, is damaged, or is of another input shape or number of classes.
    """
    builder = _builder(str(name))
    if builder is None:
        raise ValueError(_unknown("name", name, [*names(), f"{APPLICATIONS}<Name>", "a .keras file"]))
    parameters = inspect.signature(builder).parameters.values()
    known = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    for option in options:
        if option not in known and not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            raise ValueError(_unknown(f"the options of {name}", option, known or ["(none)"]))
    if seed is not None:
        keras.utils.set_random_seed(seed)
    return builder(input_shape, classes, **options)


def _builder(name: str) -> Callable[..., Any] | None:
    if name.startswith(APPLICATIONS):
        return _application(name)
    if is_file_name(name):
        return _from_file(name)
    if name not in _BUILDERS and (builder := installed(GROUP, name)) is not None:
        register(builder)
    return _BUILDERS.get(name)


def _from_file(path: str) -> Callable[..., Any]:
    def builder(input_shape: Any, classes: Any) -> Any:
        model = keras.models.clone_model(load(path))  # a clone has new weights
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise ValueError(f"name must be a model of one input and one output. Received: {path!r}")
        wanted, given = model.input_shape[1:], input_shape or model.input_shape[1:]
        if len(wanted) != len(given) or not all(a in (None, b) for a, b in zip(wanted, given, strict=True)):
            raise ValueError(f"input_shape must be {wanted} for {path}. Received: {input_shape}")
        if classes not in (None, model.output_shape[-1]):
            raise ValueError(f"classes must be {model.output_shape[-1]} for {path}. Received: {classes}")
        return model

    return builder


def _application(name: str) -> Callable[..., Any]:
    short = name.removeprefix(APPLICATIONS)
    # The networks are the names with a capital; functions and modules of keras.applications have none.
    known = [application for application in dir(keras.applications) if application[0].isupper()]
    if short not in known:
        raise ValueError(_unknown("name", name, [APPLICATIONS + application for application in known]))

    def builder(input_shape: Any, classes: Any, **options: Any) -> Any:
        arguments = {"classifier_activation": None, "name": short.lower(), **options}
        if input_shape is not None:
            arguments["input_shape"] = tuple(input_shape)
        try:
            if classes is None and "weights" not in options:
                return _published(getattr(keras.applications, short), name, arguments)
            return getattr(keras.applications, short)(classes=classes or 1000, **{"weights": None} | arguments)
        except (TypeError, ValueError) as error:
            reason = str(error).split("\n")[0]
            raise ValueError(f"{name} cannot be built for input_shape={input_shape}: {reason}") from error

    return builder


def _published(builder: Callable[..., Any], name: str, arguments: dict[str, Any]) -> Any:
    """The network with its ImageNet weights, or random ones with a warning where there is no network."""
    try:
        return builder(weights="imagenet", **arguments)
    except (TypeError, ValueError):
        raise
    except Exception as error:  # Keras raises a bare Exception when a download fails
        reason = str(error).split(": ")[-1]
        warnings.warn(f"{name} has random weights, its own could not be downloaded: {reason}", stacklevel=5)
        return builder(weights=None, **arguments)


def _unknown(argument: str, received: Any, known: list[str]) -> str:
    return f"{argument} must be one of {', '.join(known)}.{close_match(received, known)} Received: {received!r}"
