"""How images in [0, 1] become what a model was trained on, stated explicitly."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.support.checks import close_match
from tfinv.support.lazy import keras
from tfinv.support.types import Images, KerasModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAMED = {"0..1": (1.0, 0.0), "0..255": (255.0, 0.0), "-1..1": (2.0, -1.0)}
"""Gain and offset by name."""
APPLICATIONS = "keras.applications."
_WIDE = 1 / 64
"""A first layer `Rescaling` by less than this tells that the model takes 0..255."""


_BEYOND = 0.5
"""How far images may lie outside [0, 1]."""


@dataclass(frozen=True)
class InputScale:
    """The affine map from images in [0, 1] to model inputs: `gain * image + offset`.

    Args:
        gain: one number, or one per channel.
        offset: as many as gains.
        text: as a user writes it: `"0..1"`, `"0..255"`, `"-1..1"`, `"mean=..., std=..."` or the name of a network of
            Keras.
        reverse: whether the model takes blue first.
    """

    gain: tuple[float, ...]
    offset: tuple[float, ...]
    text: str
    reverse: bool = False

    def __call__(self, images: Images) -> Any:
        """Model inputs (float32; a new array for an array, a tensor for a tensor) for images `(N, H, W, C)`."""
        if self.reverse:
            images = images[..., ::-1]
        gain, offset = _operand(self.gain), _operand(self.offset)
        if isinstance(images, np.ndarray):
            result = np.multiply(images, gain, dtype=np.float32)
            return np.add(result, offset, out=result) if any(self.offset) else result
        scaled = images if self.gain == (1.0,) else images * gain
        return scaled + offset if any(self.offset) else scaled

    @property
    def range(self) -> tuple[float, float]:
        """The least and the largest model input of images in [0, 1], over all channels."""
        ends = (*self.offset, *(gain + offset for gain, offset in zip(self.gain, self.offset, strict=True)))
        return min(ends), max(ends)


def input_scale(scale: str | Sequence[Any] | InputScale) -> InputScale:
    """Read an input scale.

    Example:
        >>> from tfinv.activations.input_scale import input_scale
        >>> input_scale("-1..1").gain, input_scale((0.5, 0.25)).text
        ((2.0,), 'mean=0.5, std=0.25')

    Args:
        scale: `"0..1"`, `"0..255"`, `"-1..1"`, `(mean, std)` with numbers or one number per channel, for inputs
            `(image - mean) / std` of images in [0, 1], or `"keras.applications.NAME"` for the preprocessing of that
            network.

    Raises:
        ValueError: anything else.
    """
    if isinstance(scale, InputScale):
        return scale
    if isinstance(scale, str) and scale in NAMED:
        gain, offset = NAMED[scale]
        return InputScale((gain,), (offset,), scale)
    if isinstance(scale, str) and scale.startswith(APPLICATIONS):
        return application_scale(scale)
    if not isinstance(scale, str):
        try:
            mean, std = (tuple(float(value) for value in np.atleast_1d(part)) for part in scale)
            if all(map(math.isfinite, (*mean, *std))) and all(value > 0 for value in std) and len(mean) == len(std):
                gain = tuple(1 / value for value in std)
                offset = tuple(-m / s for m, s in zip(mean, std, strict=True))
                return InputScale(gain, offset, f"mean={_text(mean)}, std={_text(std)}")
        except (TypeError, ValueError):
            pass
    raise ValueError(
        f"input_scale must be one of {', '.join(NAMED)}, keras.applications.NAME or (mean, std) with positive std. "
        f"Received: {scale!r}"
    )


def check_unit_images(images: NDArray[np.floating], scale: InputScale, argument: str = "images") -> None:
    """Refuse images that an input scale does not map from [0, 1], such as those of 0..255.

    Args:
        images: `(N, H, W, C)`, finite; cubic interpolation may lead a little beyond [0, 1].
        scale: of the model.
        argument: what to call the images in the error.

    Raises:
        ValueError: values below -0.5 or above 1.5.
    """
    low, high = (float(images.min()), float(images.max())) if images.size else (0.0, 1.0)
    if low < -_BEYOND or high > 1 + _BEYOND:
        raise ValueError(
            f"{argument} must lie in [0, 1], from where the model's input scale {scale.text} maps them; divide 0..255 "
            f"by 255. Received: values from {low:g} to {high:g}"
        )


def application_scale(name: str) -> InputScale:
    """The preprocessing that a network of Keras was published with, read off its own `preprocess_input`.

    Example:
        >>> from tfinv.activations.input_scale import application_scale
        >>> application_scale("keras.applications.MobileNetV2").range
        (-1.0, 1.0)

    Args:
        name: such as `"keras.applications.ResNet50"`.

    Raises:
        ValueError: no such network, or a preprocessing that is not one affine map per channel.
    """
    short = name.removeprefix(APPLICATIONS)
    builder = getattr(keras.applications, short, None)
    if builder is None or not short[:1].isupper():
        known = [network for network in dir(keras.applications) if network[0].isupper()]
        raise ValueError(
            f"input_scale must name a network of keras.applications.{close_match(short, known)} Received: {name!r}"
        )
    preprocess = sys.modules[builder.__module__].preprocess_input

    def shown(pixel: Sequence[float]) -> Any:
        pixels = np.array(pixel, np.float32).reshape(1, 1, 1, 3) * 255
        return np.asarray(preprocess(pixels, data_format="channels_last"), np.float64).ravel()

    black, red, probe = shown((0, 0, 0)), shown((1, 0, 0)), (0.2, 0.5, 0.9)
    reverse = bool(np.argmax(np.abs(red - black)) == 2)
    gain = shown((1, 1, 1)) - black
    scale = InputScale(*_folded(gain, black), name, reverse)
    expected = scale(np.array(probe, np.float32).reshape(1, 1, 1, 3)).ravel()
    if not np.allclose(expected, shown(probe), atol=1e-3):
        raise ValueError(f"{name} must preprocess every channel by one affine map. Received: another preprocessing")
    return scale


def told_by_first_layer(model: KerasModel) -> InputScale | None:
    """0..255 where the first layer of a Keras model is a `Rescaling` of that range; None where nothing is told.

    Example:
        >>> import keras
        >>> from tfinv.activations.input_scale import told_by_first_layer
        >>> layers = [keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
        >>> told_by_first_layer(keras.Sequential(layers)).text
        '0..255'

    Args:
        model: a functional or sequential Keras model.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        if isinstance(layer, keras.Model):
            return told_by_first_layer(layer)
        if isinstance(layer, keras.layers.Rescaling) and np.ndim(layer.scale) == 0 and 0 < layer.scale <= _WIDE:
            return input_scale("0..255")
        return None
    return None


def _folded(gain: Any, offset: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """One number each where all channels have the same."""
    first, second = (tuple(round(float(value), 4) for value in values) for values in (gain, offset))
    return (first[:1], second[:1]) if len(set(first)) == len(set(second)) == 1 else (first, second)


def _text(values: tuple[float, ...]) -> str:
    return f"{values[0]:g}" if len(values) == 1 else "(" + ", ".join(f"{value:g}" for value in values) + ")"


def _operand(values: tuple[float, ...]) -> Any:
    return np.float32(values[0]) if len(values) == 1 else np.asarray(values, np.float32)
