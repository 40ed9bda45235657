"""Whether enough samples move a unit for its pooled deviation to be trusted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tfinv.status import SPARSE_ABOVE, Status

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfinv.measures.base import Aggregate


def relative_error(
    deviation: NDArray[np.float64], variance: NDArray[np.float64], samples: float
) -> NDArray[np.float64]:
    r"""Relative standard error of the mean over samples of a unit's deviation over transformations.

        e(a)^2 = \frac{1}{S} \left( \frac{\frac{1}{S} \sum_s d_s^2}{(\frac{1}{S} \sum_s d_s)^2} - 1 \right),
        \quad d_s = \mathrm{std}_j A[s, j]

    Example:
        >>> import numpy as np
        >>> from tfinv.measures.sparsity import relative_error
        >>> float(relative_error(np.array([0.25]), np.array([0.25]), 16)[0])
        0.4330127018922193

    Args:
        deviation: float64 `(*U)`, mean over samples of `d_s`.
        variance: float64 `(*U)`, mean over samples of `d_s^2`.
        samples: `S`.

    Returns:
        float64 `(*U)`; 0 where no sample moves the unit.
    """
    moves = (deviation > 0) & (variance > 0)
    ratio = np.divide(variance, np.square(deviation), out=np.ones_like(variance), where=moves)
    return np.sqrt(np.maximum(ratio - 1, 0) / samples)


def of_maps(
    error: NDArray[np.float64], variance: NDArray[np.float64], how: Aggregate, axes: tuple[int, ...]
) -> NDArray[np.float64]:
    """The relative standard error of a map's aggregated variance, as if its positions were independent.

    A map is called sparse only where it would be so even with independent positions, which err least together.

    Args:
        error: relative standard errors of the positions.
        variance: mean variances over transformations of the positions.
        how: how the variances are aggregated, not `"none"`.
        axes: the axes of the positions.
    """
    if how == "max":
        flat, weights = (np.reshape(array, (-1, array.shape[-1])) for array in (error, variance))
        return np.take_along_axis(flat, weights.argmax(axis=0)[None], axis=0)[0]
    total = variance.sum(axis=axes)
    spread = np.sqrt(np.square(error * variance).sum(axis=axes))
    return np.divide(spread, total, out=np.zeros_like(total), where=total > 0)


def effective_samples(error: NDArray[np.float64], values: NDArray[np.float64], samples: float) -> NDArray[np.float64]:
    r"""How many samples that move the unit alike would have this error: `S / (1 + S e^2)`; NaN where none moves it.

    Args:
        error: see `relative_error`.
        values: variances over transformations, aggregated; 0 where no sample moves the unit.
        samples: `S`.
    """
    return np.where(values > 0, samples / (1 + samples * np.square(error)), np.nan)


def with_sparse(status: NDArray[np.uint8], error: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The status of every unit, `SPARSE` where a valid one has an error above the bound."""
    return np.where((status == Status.VALID) & (error > SPARSE_ABOVE), np.uint8(Status.SPARSE), status)


def silence(status: NDArray[np.uint8], error: NDArray[np.float64], samples: float) -> str:
    r"""What to say of a layer in which no unit is valid; "" where one is.

    Where units are sparse, it says how many samples would do for the first of them: `S (e / e_max)^2`, since the
    relative standard error `e` falls with the root of the number of samples.

    Args:
        status: of every unit.
        error: see `relative_error`.
        samples: `S`.
    """
    if not status.size or (status == Status.VALID).any():
        return ""
    if (status == Status.DEAD).all():
        return f"none of {status.size} units responds: neither images nor transformations change them"
    counts = {code: int((status == code).sum()) for code in Status}
    words = ", ".join(f"{count} {code.name.lower()}" for code, count in counts.items() if count)
    text = f"none of {status.size} units is valid: {words}"
    if not counts[Status.SPARSE]:
        return text
    needed = math.ceil(samples * (float(error[status == Status.SPARSE].min()) / SPARSE_ABOVE) ** 2)
    return f"{text}; {int(samples)} samples are too few, about {max(needed, int(samples) + 1)} are needed"
