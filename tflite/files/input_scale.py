"""How images in [0, 1] become what a model was trained on, stated explicitly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NAMED = {"0..1": (1.0, 0.0), "0..255": (255.0, 0.0), "-1..1": (2.0, -1.0)}


@dataclass(frozen=True)
class InputScale:
    """The affine map from images in [0, 1] to model inputs: `gain * image + offset`.

    Args:
        gain: one number, or one a channel.
        offset: as many as gains.
        text: as a user writes it: `"0..1"`, `"0..255"`, `"-1..1"` or `"mean=..., std=..."`.
    """

    gain: tuple[float, ...]
    offset: tuple[float, ...]
    text: str

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Model inputs (float32, a new array) for images `(N, H, W, C)` in [0, 1]."""
        result = np.multiply(images, _operand(self.gain), dtype=np.float32)
        return np.add(result, _operand(self.offset), out=result) if any(self.offset) else result


def input_scale(scale: str | Sequence[Any] | InputScale) -> InputScale:
    """Read an input scale.

    Example:
        >>> from tfinv.tflite.files.input_scale import input_scale
        >>> input_scale("-1..1").gain, input_scale((0.5, 0.25)).text
        ((2.0,), 'mean=0.5, std=0.25')

    Args:
        scale: `"0..1"`, `"0..255"`, `"-1..1"`, or `(mean, std)` with numbers or one number per channel, for inputs
            `(image - mean) / std` of images in [0, 1].

    Raises:
        ValueError: anything else.
    """
    if isinstance(scale, InputScale):
        return scale
    if isinstance(scale, str) and scale in _NAMED:
        gain, offset = _NAMED[scale]
        return InputScale((gain,), (offset,), scale)
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
        f"input_scale must be one of {', '.join(_NAMED)} or (mean, std) with positive std. Received: {scale!r}"
    )


def _text(values: tuple[float, ...]) -> str:
    return f"{values[0]:g}" if len(values) == 1 else "(" + ", ".join(f"{value:g}" for value in values) + ")"


def _operand(values: tuple[float, ...]) -> Any:
    return np.float32(values[0]) if len(values) == 1 else np.asarray(values, np.float32)
