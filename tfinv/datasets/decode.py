"""Image files to arrays: upright, opaque, grey or RGB."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises for files that are damaged, cut short, no image at all, or absurdly large."""

_ORIENTATION = 0x0112
_TURNED = frozenset({5, 6, 7, 8})
_GREY = frozenset({"1", "L", "LA", "I", "I;16", "I;16B", "I;16L"})


@dataclass(frozen=True)
class Header:
    """Size of the upright image, and whether it is grey."""

    height: int
    width: int
    grey: bool


def read_header(path: Path) -> Header:
    """Size and kind of an image file, without decoding it."""
    with Image.open(path) as image:
        width, height = image.size
        if image.getexif().get(_ORIENTATION) in _TURNED:
            width, height = height, width
        return Header(height, width, image.mode in _GREY)


def decode(file: Path | IO[bytes]) -> NDArray[Any]:
    """Decode an image, turned upright as its EXIF orientation says; transparent parts lie on black.

    Args:
        file: path, or binary file.

    Returns:
        `(H, W, 1)` or `(H, W, 3)`; uint8, or float32 in [0, 1] for 16-bit files.
    """
    with Image.open(file) as image:
        upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):  # 16-bit greys, which Pillow's own conversion to "L" would clip
        return (np.asarray(upright, np.float32) / np.float32(65535))[..., None].clip(0, 1)
    if "A" in upright.mode or "transparency" in upright.info:
        upright = upright.convert("RGBA")
        black = Image.new("RGBA", upright.size, (0, 0, 0, 255))
        upright = Image.alpha_composite(black, upright).convert("RGB")
    if upright.mode in ("1", "L"):
        return np.asarray(upright.convert("L"))[..., None]
    return np.asarray(upright.convert("RGB"))
