"""Files of handshapes that need more than decoding: depth as images, as points or as numbers, hands on black."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.datasets.decode import decode

if TYPE_CHECKING:
    from numpy.typing import NDArray

HAND_LEVEL = 50 / 255
"""Grey above which a pixel belongs to a hand on a black background."""
HAND_BORDER = 10
"""Pixels that are kept around a hand."""
FARTHEST = 2047
"""The highest value of a Kinect's raw depth, 11 bits; it also stands for pixels that were not measured."""


def read_depth(path: Path) -> NDArray[np.float32]:
    """A depth image of 8 or 16 bits, `(H, W, 1)`, stretched to [0, 1] by its own lowest and highest value."""
    image = decode(path)
    return _stretched(image[..., :1].astype(np.float32))


def read_points(path: Path) -> NDArray[np.float32]:
    """The third coordinate of a point cloud (text file `.pcd`), `(H, W, 1)`, stretched to [0, 1] as `read_depth`.

    Raises:
        ValueError: no ordered points as text, or not as many as the header says.
    """
    header: dict[str, list[str]] = {}
    with path.open() as file:
        for line in file:
            key, *values = line.split() or [""]
            header[key] = values
            if key == "DATA":
                break
        if header.get("DATA") != ["ascii"] or "z" not in header.get("FIELDS", ()):
            raise ValueError(f"{path} must hold points as text with a field z. Received: {sorted(header)}")
        depth = np.loadtxt(file, np.float32, usecols=header["FIELDS"].index("z"), ndmin=1)
    height, width = int(header["HEIGHT"][0]), int(header["WIDTH"][0])
    return _stretched(np.nan_to_num(depth).reshape(height, width, 1))


def read_matrix(path: Path) -> NDArray[np.float32]:
    """Raw depth of a Kinect as a text file of numbers 0..2047, one row a line: `(H, W, 1)`, divided by 2047."""
    return np.clip(np.loadtxt(path, np.float32, ndmin=2)[..., None] / np.float32(FARTHEST), 0, 1)


def read_hand(path: Path) -> NDArray[Any]:
    """The largest bright region of an image of a hand on black, with a border, grey, filled up with black to a square.

    A pixel is bright above 50 of 255. Specks that a cross of 3x3 pixels does not fit into are left out. An image
    without bright pixels stays as it is.

    Returns:
        `(side, side, 1)`.
    """
    from scipy import ndimage

    from tfinv.datasets.images import to_channels
    from tfinv.datasets.request import unit

    image = to_channels(unit(decode(path)), 1)[..., 0]
    labelled: Any = ndimage.label(ndimage.binary_opening(image > HAND_LEVEL), np.ones((3, 3)))
    regions = labelled[0]
    if not regions.any():
        return image[..., None]
    box: Any = ndimage.find_objects(regions)[int(np.argmax(np.bincount(regions.ravel())[1:]))]
    rows, columns = (slice(max(part.start - HAND_BORDER, 0), part.stop + HAND_BORDER) for part in box)
    hand = image[rows, columns]
    side = max(hand.shape)
    square = np.zeros((side, side, 1), np.float32)
    top, left = (side - hand.shape[0]) // 2, (side - hand.shape[1]) // 2
    square[top : top + hand.shape[0], left : left + hand.shape[1], 0] = hand
    return square


def _stretched(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = depth.min(), depth.max()
    return np.clip((depth - low) / (high - low), 0, 1) if high > low else np.zeros_like(depth)
