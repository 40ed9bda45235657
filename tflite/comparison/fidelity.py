"""How faithfully one file computes another's activations, layer by layer, gathered block by block (comparison)."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.tflite.comparison.limits import Limits
from tfinv.tflite.comparison.responses import COLUMNS as RESPONSE_COLUMNS
from tfinv.tflite.comparison.responses import Responses
from tfinv.tflite.files.tensors import FileTensor

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

SUMS = ("count", "signal", "other", "product", "noise", "saturated", "clipped")
EXTREMES = ("max_error", "before_high", "after_high", "before_low", "after_low")
_PIECE = 1 << 15
COLUMNS = (
    "sqnr_db",
    "effective_bits",
    "cosine",
    "mse",
    "max_error",
    "saturated",
    "clipped",
    "range_before_min",
    "range_before_max",
    "range_after_min",
    "range_after_max",
)


@dataclass(frozen=True)
class Fidelity:
    r"""Sums over all values of one layer, before (reference) and after; blocks of disjoint images merge.

    With `b` the reference's activations and `a` the other's, over all images, transformations and units:

        SQNR = 10 \log_{10} \frac{\sum b^2}{\sum (a - b)^2} \text{ dB}, \quad
        \cos = \frac{\sum a b}{\sqrt{\sum a^2 \sum b^2}}, \quad
        bits = \frac{SQNR - 1.76}{6.02}

    `saturated` is the share of values at an integer limit, the one that stands for 0 (a ReLU's) not counted; `clipped`
    the share whose reference lies more than half a step outside the limits, so that information was lost.

    Example:
        >>> import numpy as np
        >>> from tfinv.tflite.comparison.fidelity import Fidelity
        >>> before, after = np.array([3.0, 4.0], "float32"), np.array([3.0, 4.5], "float32")
        >>> found = Fidelity().update(before, after).values()
        >>> round(found["sqnr_db"], 2), found["mse"], found["max_error"]
        (20.0, 0.125, 0.5)

    Args:
        sums: one number for each of `SUMS`.
        extremes: largest and smallest values, see `EXTREMES`; lowest values are held negated.
        limits: of the layer's integers; None for floats.
    """

    sums: tuple[float, ...] = (0.0,) * len(SUMS)
    extremes: tuple[float, ...] = (-math.inf,) * len(EXTREMES)
    limits: Limits | None = None

    def update(self, before: NDArray[Any], after: NDArray[Any]) -> Fidelity:
        """With another block.

        Args:
            before: the reference's activations, float32, any shape.
            after: the other's, same shape.

        Raises:
            ValueError: another shape, or NaN or infinity.
        """
        if np.shape(before) != np.shape(after):
            raise ValueError(f"after must have the shape of before, {np.shape(before)}. Received: {np.shape(after)}")
        b, a = (np.ascontiguousarray(values, np.float32).ravel() for values in (before, after))
        error = np.subtract(a, b)
        noise = _energy(error, error)
        ends = (float(b.max()), float(a.max()), -float(b.min()), -float(a.min()))
        if not (math.isfinite(noise) and all(map(math.isfinite, ends))):
            raise ValueError("activations must be finite. Received: NaN or infinity")
        largest = max(float(error.max()), -float(error.min()))
        sums = (b.size, _energy(b, b), _energy(a, a), _energy(a, b), noise, *self._at_limits(b, a))
        return self.merge(Fidelity(tuple(map(float, sums)), (largest, *ends), self.limits))

    def merge(self, other: Fidelity) -> Fidelity:
        """Of the images of both."""
        return Fidelity(
            tuple(mine + theirs for mine, theirs in zip(self.sums, other.sums, strict=True)),
            tuple(max(mine, theirs) for mine, theirs in zip(self.extremes, other.extremes, strict=True)),
            self.limits,
        )

    def values(self) -> dict[str, float]:
        """One number for each of `COLUMNS`; NaN where there is none, such as saturation of floats."""
        count, signal, other, product, noise, saturated, clipped = self.sums
        if not count:
            return dict.fromkeys(COLUMNS, math.nan)
        sqnr = 10 * math.log10(signal / noise) if signal and noise else math.inf if not noise else -math.inf
        product /= math.sqrt(signal * other) if signal and other else math.nan
        largest, before_high, after_high, before_low, after_low = self.extremes
        shares = (saturated / count, clipped / count) if self.limits else (math.nan, math.nan)
        numbers = (sqnr, (sqnr - 1.76) / 6.02, min(product, 1.0), noise / count, largest, *shares)
        return dict(zip(COLUMNS, (*numbers, -before_low, before_high, -after_low, after_high), strict=True))

    def _at_limits(self, before: NDArray[np.float32], after: NDArray[np.float32]) -> tuple[int, int]:
        if self.limits is None:
            return 0, 0
        low, high, half = self.limits.low, self.limits.high, self.limits.step / 2
        saturated = int(np.count_nonzero(after >= high)) * (high != 0) + int(np.count_nonzero(after <= low)) * (
            low != 0
        )
        clipped = int(np.count_nonzero(before > high + half)) + int(np.count_nonzero(before < low - half))
        return saturated, clipped


class FidelityRecorder:
    """The fidelity and the responses of every matched layer of a model, gathered block by block.

    Args:
        pairs: layer of the model by layer of the reference.
        tensors: the model's tensor by its own layer name, for the limits of integers.
    """

    def __init__(self, pairs: Mapping[str, str], tensors: Mapping[str, FileTensor]) -> None:
        self.pairs = dict(pairs)
        self._limits = {
            layer: Limits.of(tensors[other]) if other in tensors else None for layer, other in self.pairs.items()
        }
        self._begin()

    def _begin(self) -> None:
        # Blocks stay apart, so that those of several processes are added in the order of one.
        self._blocks: dict[str, list[Fidelity]] = {layer: [] for layer in self.pairs}
        self.responses = {layer: Responses(limits) for layer, limits in self._limits.items()}

    def anew(self) -> FidelityRecorder:
        """A recorder of the same layers that has seen nothing."""
        other = copy.copy(self)
        other._begin()
        return other

    def extend(self, later: FidelityRecorder) -> None:
        """Add what another recorder saw of the blocks that follow."""
        for layer, blocks in later._blocks.items():
            self._blocks[layer] += blocks
            self.responses[layer].merge(later.responses[layer])

    def update(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """Add a block, of all layers or of some.

        Args:
            before: the reference's activations by its layer names.
            after: the model's by its own.

        Raises:
            ValueError: NaN or infinity in a layer, named.
        """
        for layer, other in self.pairs.items():
            if layer not in before:
                continue
            try:
                block = Fidelity(limits=self._limits[layer]).update(before[layer], after[other])
                self._blocks[layer].append(block)
                self.responses[layer].update(before[layer], after[other])
            except ValueError as error:
                raise ValueError(f"layer {layer!r}: {error}") from None

    def to_frame(self) -> pd.DataFrame:
        """One row per matched layer, in the reference's order: `layer, after_layer`, `COLUMNS` and the responses."""
        counted = [response.values() for response in self.responses.values()]
        whole = {
            layer: functools.reduce(Fidelity.merge, blocks, Fidelity(limits=self._limits[layer]))
            for layer, blocks in self._blocks.items()
        }
        return to_frame(whole, self.pairs).assign(
            **{name: [values[name] for values in counted] for name in RESPONSE_COLUMNS}
        )


def to_frame(fidelities: Mapping[str, Fidelity], pairs: Mapping[str, str]) -> pd.DataFrame:
    """Fidelities by layer as a table; see `FidelityRecorder.to_frame`."""
    import pandas as pd

    rows: Iterable[dict[str, Any]] = (
        {"layer": layer, "after_layer": pairs[layer], **fidelity.values()} for layer, fidelity in fidelities.items()
    )
    return pd.DataFrame(list(rows), columns=["layer", "after_layer", *COLUMNS])


def _energy(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Sum of products: float32 within pieces short enough to be exact to 1e-6, float64 over the pieces."""
    pieces = (slice(start, start + _PIECE) for start in range(0, one.size, _PIECE))
    return math.fsum(float(np.dot(one[piece], other[piece])) for piece in pieces)
