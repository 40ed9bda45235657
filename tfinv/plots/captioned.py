"""Pictures side by side, every one with a caption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfinv.plots.axes import plain_frame
from tfinv.plots.figure import new_figure
from tfinv.plots.style import WIDTH, styled
from tfinv.support.types import Images

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LINE = 0.16
"""Inches that a line of a caption takes."""


@styled(columns=1)
def captioned_images(images: Images, captions: Sequence[str], *, columns: int = 4, title: str | None = None) -> Figure:
    """Draw pictures in rows, every one with a caption below it; several versions of a picture stand side by side.

    Example:
        >>> import numpy as np, tfinv.plots
        >>> images = np.random.default_rng(0).random((3, 2, 8, 8, 1))
        >>> figure = tfinv.plots.captioned_images(images, ["3 → 8", "1 → 7", "4 → 9"])
        >>> [axes.get_xlabel() for axes in figure.axes]
        ['3 → 8', '1 → 7', '4 → 9']

    Args:
        images: `(N, V, H, W, C)`: N pictures in V versions, C 1 or 3, float in [0, 1] or uint8.
        captions: N texts, perhaps of several lines.
        columns: pictures in a row, at most.
        title: text above the pictures.

    Returns:
        The figure, one axes a picture.

    Raises:
        ValueError: another shape, or another number of captions.
    """
    array = np.asarray(images)
    if array.ndim != 5 or array.shape[-1] not in (1, 3) or 0 in array.shape:
        raise ValueError(f"images must have the shape (N, V, H, W, 1 or 3), none of it 0. Received: {array.shape}")
    if len(captions) != len(array):
        raise ValueError(f"captions must have {len(array)} entries. Received: {len(captions)}")
    tiles = array / 255 if np.issubdtype(array.dtype, np.integer) else np.clip(array, 0, 1)
    count, versions, height, width, channels = tiles.shape
    columns = max(1, min(columns, count))
    gap = max(1, width // 16)
    wide = np.full((count, height, versions * (width + gap) - gap, channels), np.nan if channels == 1 else 1.0)
    for version in range(versions):
        wide[:, :, version * (width + gap) : version * (width + gap) + width] = tiles[:, version]
    rows = -(-count // columns)
    lines = max(caption.count("\n") + 1 for caption in captions)
    picture = WIDTH / columns * 0.92
    tall = picture * height / wide.shape[2] + _LINE * (lines + 1)
    figure = new_figure(WIDTH)
    figure.set_figheight(rows * tall + (0.3 if title else 0.0))
    for number, caption in enumerate(captions):
        axes = figure.add_subplot(rows, columns, number + 1)
        shown = wide[number, ..., 0] if channels == 1 else wide[number]
        axes.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_xticks([])
        axes.set_yticks([])
        plain_frame(axes)
        axes.set_xlabel(caption, fontsize=7)
    if title:
        figure.suptitle(title)
    return figure
