"""Pieces of the samples: gathered apart, in one process or in many, and merged in their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfinv.engine.states import LayerStates, copied, joined_states, restored, widened

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfinv.statistics import Layer, Statistic

SAMPLES, MOST = 256, 1024
"""Samples in a piece at least, and pieces at most where the number of samples is known."""


def piece_size(samples: int | None, batch_size: int) -> int:
    """How many samples make a piece: a whole number of batches that depends on nothing but the arguments.

    Example:
        >>> from tfinv.engine.pieces import piece_size
        >>> piece_size(2000, 24), piece_size(1_200_000, 16)
        (264, 1184)

    Args:
        samples: all samples that are gathered together; None where the number is not known.
        batch_size: samples in a block.
    """
    wanted = max(SAMPLES, -(-(samples or 0) // MOST))
    return -(-wanted // batch_size) * batch_size


class Total:
    """The states of the pieces so far: `((p_0 + p_1) + p_2) + ...` in float64, whichever process gathered them.

    A single piece stays as it is.

    Args:
        layers: of the pass.
        statistics: of the pass.
    """

    def __init__(self, layers: Sequence[Layer], statistics: Sequence[Statistic]) -> None:
        self._layers, self._statistics = [layer.name for layer in layers], list(statistics)
        self._states: dict[str, dict[Statistic, Any]] = {}
        self._pieces = 0
        self.samples = 0
        """How many samples the pieces hold."""

    def __len__(self) -> int:
        return self._pieces

    def add(self, piece: Mapping[str, LayerStates], samples: int) -> None:
        """Merge the next piece.

        Args:
            piece: by layer its states; they may change afterwards.
            samples: how many there are in it.
        """
        for layer, states in piece.items():
            total = self._states.setdefault(layer, {})
            for statistic, state in states.items():
                # The first is copied as it is: the total of a single piece is what one run without pieces gives.
                total[statistic] = joined_states(statistic, total[statistic], state) if self._pieces else copied(state)
        self._pieces += 1
        self.samples += samples

    def states(self) -> Mapping[str, LayerStates]:
        """By layer the merged states."""
        return self._states

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything needed to go on later, by a name that `restore` knows."""
        begin = f"total{self._pieces}.{self.samples}"
        return {
            f"{begin}.{self._layers.index(layer)}.{self._statistics.index(statistic)}.{name}": array
            for layer, states in self._states.items()
            for statistic, state in states.items()
            for name, array in widened(statistic, state)._asdict().items()
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `arrays` gave; other arrays are not read."""
        fields: dict[tuple[int, int], dict[str, Any]] = {}
        for name, array in arrays.items():
            if name.startswith("total"):
                pieces, samples, layer, statistic, field = name.split(".")
                self._pieces, self.samples = int(pieces.removeprefix("total")), int(samples)
                fields.setdefault((int(layer), int(statistic)), {})[field] = array
        for (layer, number), state in fields.items():
            statistic = self._statistics[number]
            self._states.setdefault(self._layers[layer], {})[statistic] = restored(statistic, state)
