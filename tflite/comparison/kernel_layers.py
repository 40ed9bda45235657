"""By how much two kernel sets differ in every layer of one file, gathered block by block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfinv.tflite.comparison.limits import Limits
from tfinv.tflite.files.model import TFLiteModel


@dataclass(frozen=True)
class Parting:
    """How much one layer differs between two kernel sets; blocks of disjoint images merge.

    Example:
        >>> import numpy as np
        >>> from tfinv.tflite.comparison.kernel_layers import Parting
        >>> parting = Parting().update(np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([[0.0, 1.5], [2.0, 3.0]]))
        >>> parting.differing / parting.values, parting.differing_images / parting.images, parting.max_error
        (0.25, 0.5, 0.5)

    Args:
        values: how many values were compared.
        differing: how many of them are not equal.
        images: how many transformed images they are of.
        differing_images: images with at least one value that is not equal.
        max_error: largest absolute difference.
        largest: largest absolute value under the first kernel set.
    """

    values: int = 0
    differing: int = 0
    images: int = 0
    differing_images: int = 0
    max_error: float = 0.0
    largest: float = 0.0

    def update(self, first: NDArray[Any], second: NDArray[Any]) -> Parting:
        """With another block.

        Args:
            first: activations `(N, *U)` under one kernel set.
            second: of the same images under the other.
        """
        unequal = (first != second).reshape(len(first), -1)
        return Parting(
            self.values + unequal.size,
            self.differing + int(np.count_nonzero(unequal)),
            self.images + len(first),
            self.differing_images + int(np.count_nonzero(unequal.any(axis=1))),
            max(self.max_error, float(np.abs(first - second).max(initial=0.0))),
            max(self.largest, float(np.abs(first).max(initial=0.0))),
        )

    def row(self, limits: Limits | None) -> dict[str, float]:
        """Columns of a table of layers.

        Args:
            limits: of the layer's integers; None where it holds floats, which have no steps.

        Returns:
            `max_lsb`, the largest difference in steps of the integers (NaN for floats), `differing` and
            `differing_images` as shares, `max_error`, and `relative_error`, its share of the largest value.
        """
        return {
            "max_lsb": float(np.rint(self.max_error / limits.step)) if limits else float("nan"),
            "differing": self.differing / self.values if self.values else float("nan"),
            "differing_images": self.differing_images / self.images if self.images else float("nan"),
            "max_error": self.max_error,
            "relative_error": self.max_error / self.largest if self.largest else 0.0,
        }


class LayerRecorder:
    """The difference of every layer of a file between two kernel sets.

    Args:
        model: the file.
    """

    def __init__(self, model: TFLiteModel) -> None:
        self._limits = {layer: Limits.of(tensor) for layer, tensor in model.layer_tensors.items()}
        self._operators = model.layer_ops
        self._partings = {layer: Parting() for layer in self._limits}

    def update(self, first: Mapping[str, NDArray[Any]], second: Mapping[str, NDArray[Any]]) -> None:
        """Add a block of activations of some layers."""
        for layer, values in first.items():
            self._partings[layer] = self._partings[layer].update(values, second[layer])

    def rows(self) -> list[dict[str, Any]]:
        """One row per layer, from input to output: `layer, operator` and the columns of `Parting.row`."""
        return [
            {"layer": layer, "operator": self._operators[layer], **parting.row(self._limits[layer])}
            for layer, parting in self._partings.items()
        ]
