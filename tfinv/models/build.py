"""Build a model by its name (models)."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tfinv._lazy import LazyModule
from tfinv.models.all_convolutional import all_convolutional
from tfinv.models.ffnet import ffnet
from tfinv.models.mobilenet_small import mobilenet_small
from tfinv.models.resnet import resnet
from tfinv.models.simple_conv import simple_conv
from tfinv.models.tutorial_cnn import tutorial_cnn
from tfinv.models.vgg16d import vgg16d

if TYPE_CHECKING:
    import keras
else:
    keras = LazyModule("keras")

APPLICATIONS = "keras.applications."
_BUILDERS: dict[str, Callable[..., Any]] = {
    each.__name__: each
    for each in (simple_conv, all_convolutional, vgg16d, resnet, ffnet, mobilenet_small, tutorial_cnn)
}


def names() -> tuple[str, ...]:
    """The names that `build` knows, next to `"keras.applications.<Name>"`."""
    return tuple(_BUILDERS)


def build(
    name: str, input_shape: tuple[int, int, int], classes: int, *, seed: int | None = None, **options: Any
) -> keras.Model:
    """Build a model that ends in logits, by name.

    Example:
        >>> from tfinv import models
        >>> models.build("simple_conv", (28, 28, 1), 10, filters=32, dense=64, seed=0).count_params()
        540970

    Args:
        name: one of `names()`, or a network of Keras such as `"keras.applications.MobileNetV2"`, which gets random
            weights unless `weights` says otherwise.
        input_shape: `(H, W, C)`.
        classes: number of logits.
        seed: makes the random weights repeatable, by `keras.utils.set_random_seed`.
        options: of the model's own function.

    Returns:
        A functional Keras model, images `(N, H, W, C)` to logits `(N, classes)`.

    Raises:
        ValueError: an unknown name or option (the known ones are listed), or an option that does not fit.
    """
    builder = _application(name) if str(name).startswith(APPLICATIONS) else _BUILDERS.get(str(name))
    if builder is None:
        raise ValueError(_unknown("name", name, [*_BUILDERS, f"{APPLICATIONS}<Name>"]))
    known = [key for key, each in inspect.signature(builder).parameters.items() if each.kind is each.KEYWORD_ONLY]
    for option in options:
        if builder in _BUILDERS.values() and option not in known:
            raise ValueError(_unknown(f"the options of {name}", option, known))
    if seed is not None:
        keras.utils.set_random_seed(seed)
    return builder(input_shape, classes, **options)


def _application(name: str) -> Callable[..., Any]:
    short = name.removeprefix(APPLICATIONS)
    # The networks are the names with a capital; functions and modules of keras.applications have none.
    known = [each for each in dir(keras.applications) if each[0].isupper()]
    if short not in known:
        raise ValueError(_unknown("name", name, [APPLICATIONS + each for each in known]))

    def builder(input_shape: tuple[int, int, int], classes: int, **options: Any) -> Any:
        arguments = {"weights": None, "classifier_activation": None, "name": short.lower()} | options
        try:
            return getattr(keras.applications, short)(input_shape=tuple(input_shape), classes=classes, **arguments)
        except (TypeError, ValueError) as error:
            reason = str(error).split("\n")[0]
            raise ValueError(f"{name} cannot be built for input_shape={input_shape}: {reason}") from error

    return builder


def _unknown(argument: str, received: Any, known: list[str]) -> str:
    near = difflib.get_close_matches(str(received), known, n=1)
    hint = f", perhaps {near[0]!r}" if near else ""
    return f"{argument} must be one of {', '.join(known)}. Received: {received!r}{hint}"
