"""Whether the windows of a convolution or pooling lie symmetrically on an image."""

from __future__ import annotations

import math
from collections.abc import Sequence


def why_not_symmetric(size: Sequence[int | None], window: int, strides: int, padding: str, dilation: int = 1) -> str:
    """Why a turned image does not give turned maps; "" where it does.

    With `"valid"` padding the windows lie symmetrically where the stride divides what is left beside one window. With
    `"same"` padding they do where the number of added rows is even.

        (H - k) \\bmod s = 0,   \\quad \\text{or} \\quad  \\max((\\lceil H/s \\rceil - 1) s + k - H, 0) \\bmod 2 = 0

    Example:
        >>> from tfinv.layers.symmetric import why_not_symmetric
        >>> why_not_symmetric((28, 28), 2, 2, "valid")
        ''
        >>> why_not_symmetric((27, 27), 2, 2, "valid")
        'windows of 2 with strides of 2 leave 1 of 27 rows out on one side only'

    Args:
        size: `(H, W)` in pixels, None where a length is not known.
        window: rows and columns of a window.
        strides: pixels from one window to the next.
        padding: `"valid"` or `"same"`.
        dilation: distance of the pixels of a window.
    """
    height, width = size
    if height != width:
        return f"a turned image of {height} x {width} pixels has another shape"
    extent = dilation * (window - 1) + 1
    if height is None:
        if strides > 1:
            return "with strides above 1 it depends on the size of the image, which is not known"
        return _uneven(extent - 1) if padding == "same" else ""
    if padding == "same":
        return _uneven(max((math.ceil(height / strides) - 1) * strides + extent - height, 0))
    left = (height - extent) % strides
    return f"windows of {extent} with strides of {strides} leave {left} of {height} rows out on one side only" * (
        left > 0
    )


def _uneven(added: int) -> str:
    return f"'same' padding adds {added} rows, more on one side than on the other" if added % 2 else ""
