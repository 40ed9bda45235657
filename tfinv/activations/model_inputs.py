"""What a model is fed: images, checked, in its own scale and layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tfinv.activations.input_scale import InputScale, check_unit_images
from tfinv.activations.layout import TO_FIRST, Layout
from tfinv.datasets.given import as_array
from tfinv.support.types import Images

if TYPE_CHECKING:
    from numpy.typing import NDArray


def as_model_inputs(images: Images, shape: tuple[int, ...], scale: InputScale, layout: Layout) -> NDArray[np.float32]:
    """Images as a model takes them.

    Example:
        >>> import numpy as np
        >>> from tfinv.activations.input_scale import input_scale
        >>> from tfinv.activations.model_inputs import as_model_inputs
        >>> images = np.ones((2, 4, 5, 3), "float32")
        >>> inputs = as_model_inputs(images, (4, 5, 3), input_scale("0..255"), "nchw")
        >>> inputs.shape, float(inputs.max())
        ((2, 3, 4, 5), 255.0)

    Args:
        images: `(N, H, W, C)` in [0, 1]; without a scale, in whatever range the model takes.
        shape: `(H, W, C)` of the model's images, whatever its layout.
        scale: from [0, 1] to the model's range.
        layout: of the model.

    Returns:
        float32 `(N, H, W, C)`, or `(N, C, H, W)`.

    Raises:
        ValueError: images of another shape, NaN or infinite, or outside [0, 1] where there is a scale.
    """
    images = np.asarray(as_array(images, least=0), np.float32)
    if images.shape[1:] != shape:
        raise ValueError(
            f"images must have the shape (N, {', '.join(map(str, shape))}) of the model's input. "
            f"Received: shape {images.shape}"
        )
    if not np.isfinite(images).all():
        raise ValueError("images must be finite. Received: NaN or infinite values")
    if scale.range != (0.0, 1.0):  # without a scale, these may be inputs as the model takes them
        check_unit_images(images, scale)
    inputs = scale(images)
    return inputs if layout == "nhwc" else np.ascontiguousarray(inputs.transpose(TO_FIRST))
