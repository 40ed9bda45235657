"""The sums that statistics of one layer share, from one read of every block, on the CPU."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfinv.statistics.compiled.stored import IntegerSums, Stored
from tfinv.statistics.loop_sums import LoopParts, LoopSums
from tfinv.statistics.views import InverseWarp, inverse_matrices, visible
from tfinv.support.lazy import tf

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfinv.statistics.base import Layer, Statistic


@functools.cache
def is_available() -> bool:
    """Whether the compiled loop can serve: Numba is installed, and activations live in the computer's own memory."""
    return importlib.util.find_spec("numba") is not None and not tf.config.list_physical_devices("GPU")


def groups(statistics: Iterable[Statistic], dtype: Any = "float32") -> list[list[Statistic]]:
    """The statistics that one read of the block can serve, grouped by the view that they share; the rest is left out.

    Args:
        statistics: statistics of one layer.
        dtype: of the blocks; only float32 is served.
    """
    together: dict[Any, list[Statistic]] = {}
    if np.dtype(dtype) != np.float32 or not is_available():
        return []
    for statistic in statistics:
        parts = statistic.loop
        if parts and (statistic.view == InverseWarp() or not parts.visible):
            together.setdefault((statistic.view, parts.visible), []).append(statistic)
    visible_rows, all_rows = together.get((InverseWarp(), True)), together.get((InverseWarp(), False))
    if visible_rows and all_rows:  # columns are the same either way
        columns = [statistic for statistic in all_rows if not _parts(statistic).rows]
        visible_rows += columns
        all_rows[:] = [statistic for statistic in all_rows if statistic not in columns]
    return [group for group in together.values() if group]


def state_bytes(statistics: Sequence[Statistic], layer: Layer) -> int:
    """What `FusedDispersion` of one of the `groups` holds."""
    rows, moments, units = _holds_rows(statistics), _holds_moments(statistics), int(np.prod(layer.shape))
    return units * (rows * 2 * 8 + moments * (1 + 2 * layer.num_transformations) * 4)


class _InverseWarp(NamedTuple):
    """`matrices` (`(T, 6)`) and `seen` (`(T, H' W')`) as `aligned_kernel.gather_aligned` takes them."""

    matrices: NDArray[np.float32]
    seen: NDArray[np.int32]

    @classmethod
    def of(cls, statistics: Sequence[Statistic], layer: Layer) -> _InverseWarp | None:
        """What the statistics of a group ask for; None where they look at the block as it is."""
        if statistics[0].view != InverseWarp():
            return None
        matrices = inverse_matrices(layer).reshape(-1, 9)[:, :6]
        shown = visible(layer).reshape(len(matrices), -1)
        if not any(_parts(statistic).visible for statistic in statistics):
            shown = np.ones_like(shown)
        return cls(np.ascontiguousarray(matrices), (np.cumsum(shown, axis=0) * shown).astype(np.int32))


def load_loops(*names: str) -> None:
    """Compile loops before there are blocks.

    Compiling leaves circles of garbage behind with all frames that lead to it. Were a block in one of them, its memory
    would stay in use until garbage is collected, and an interpreter that owns it would refuse to run again.
    """
    for name in names:
        importlib.import_module(f"tfinv.statistics.compiled.{name}")


def _parts(statistic: Statistic) -> LoopParts:
    parts = statistic.loop
    assert parts is not None, f"{statistic.key} does not join the compiled loop"
    return parts


def _holds_rows(statistics: Sequence[Statistic]) -> bool:
    return any(_parts(statistic).rows for statistic in statistics)


def _holds_moments(statistics: Sequence[Statistic]) -> bool:
    return any(_parts(statistic).columns for statistic in statistics)


def _alive(method: weakref.WeakMethod[Any]) -> Any:
    update = method()
    assert update is not None, "a graph outlived the states that it updates"
    return update


class FusedDispersion:
    """The sums of one layer that several statistics are made from, updated together and in place.

    The inverse warp of same-equivariance happens while the block is read.

    Args:
        statistics: one of the `groups`.
        layer: the layer.
    """

    def __init__(self, statistics: Iterable[Statistic], layer: Layer) -> None:
        self.statistics = tuple(statistics)
        self._layer = layer
        self._warp = _InverseWarp.of(self.statistics, layer)
        self.view = None if self._warp else self.statistics[0].view
        self._rows, self._moments = _holds_rows(self.statistics), _holds_moments(self.statistics)
        units = int(np.prod(layer.shape))
        self._stds, self._variances = (np.zeros(units if self._rows else 0) for _ in range(2))
        shape = (layer.num_transformations if self._moments else 0, units)
        self._offset = np.zeros(shape[1:] if self._moments else 0, np.float32)
        self._mean, self._m2 = (np.zeros(shape, np.float32) for _ in range(2))
        self._count = 0
        self._scratch: dict[str, NDArray[np.float64]] = {}
        self._integers: IntegerSums | None = None
        load_loops("aligned_loop" if self._warp else "loop")

    def reset(self) -> None:
        """Back to the state of no samples."""
        self._count, self._integers = 0, None
        for array in self._arrays().values():
            array[:] = 0

    def update(self, block: NDArray[np.float32]) -> np.int32:
        """Add a block of samples.

        Args:
            block: `(S_b, T or more, *U)`, seen through `view`; columns after the first `T` are not read.

        Returns:
            0, which a graph can depend on.
        """
        self._settle()
        block = np.require(block, np.float32, ["C", "W"])
        rows = (self._rows, self._stds, self._variances)
        moments = (self._moments, self._offset, self._mean, self._m2)
        if self._warp:
            from tfinv.statistics.compiled import aligned_loop as aligned_kernel

            aligned_kernel.gather_aligned(block, *self._warp, float(self._count), *rows, *moments)
        else:
            from tfinv.statistics.compiled import loop as kernel

            flat = block.reshape(len(block), block.shape[1], -1)
            kernel.gather(flat, float(self._count), self._layer.num_transformations, *rows, *moments)
        self._count += len(block)
        return np.int32(0)

    def update_stored(self, block: Stored) -> None:
        """`update` with a block as a quantized network stores it: integers of 8 bits are summed up as they are."""
        from tfinv.statistics.compiled import integer_loop as integer_kernel

        columns, values = self._layer.num_transformations, block.values
        if values.dtype != np.int8 or self._warp or columns > integer_kernel.MOST_TRANSFORMATIONS:
            self.update(block.real())
            return
        if self._integers is None or self._integers.count + len(values) > integer_kernel.MOST_SAMPLES:
            self._settle()
            kept = columns if self._moments else 0
            self._integers = IntegerSums(kept, self._offset.size, block.step, block.zero_point)
        sums = self._integers
        flat = np.ascontiguousarray(values).reshape(len(values), values.shape[1], -1)
        rows = (self._rows, block.step, self._stds, self._variances)
        integer_kernel.gather_integers(flat, columns, *rows, self._moments, sums.sums, sums.squares)
        sums.count += len(values)
        self._count += len(values)

    def _settle(self) -> None:
        """Turn sums of integers into moments."""
        if self._integers is not None:
            before = self._count - self._integers.count
            self._integers.merge_into(before, self._offset, self._mean, self._m2)
            self._integers = None

    def add(self, block: Any) -> Any:
        """`update` as an operation of a graph; the result is a tensor that must be read for it to run.

        Args:
            block: `(S_b, T, *U)` or `(S_b * T, *U)`, seen through `view`.
        """
        shape = (-1, self._layer.num_transformations, *self._layer.shape)
        # TensorFlow keeps the function as long as the process lives: it must not keep these arrays.
        update = weakref.WeakMethod(self.update)
        return tf.numpy_function(lambda given: _alive(update)(given.reshape(shape)), [block], tf.int32, stateful=False)

    def is_finite(self) -> bool:
        """Whether nothing but finite numbers came in."""
        return bool(np.isfinite(np.sum(self._variances if self._rows else self._mean, dtype=np.float64)))

    def state(self, statistic: Statistic, *, transient: bool = False) -> NamedTuple:
        """The state of one of the statistics; what need not be computed is not copied.

        Args:
            statistic: which.
            transient: whether the next state may be written over this one.
        """
        self._settle()
        shape = self._layer.shape
        rows, columns = (shape if self._rows else (0,)), (shape if self._moments else (0,))
        return statistic.from_loop(
            LoopSums(
                self._layer,
                np.float64(self._count),
                self._stds.reshape(rows),
                self._variances.reshape(rows),
                self._offset.reshape(columns),
                self._mean.reshape(-1, *shape),
                self._m2.reshape(-1, *shape),
                self._scratch if transient else None,
            )
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything needed to go on later; not copied."""
        self._settle()
        return {"count": np.array(self._count), **self._arrays()}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `arrays` gave."""
        self._count, self._integers = int(arrays["count"]), None
        for name, array in self._arrays().items():
            array[:] = arrays[name]

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "stds": self._stds,
            "variances": self._variances,
            "offset": self._offset,
            "mean": self._mean,
            "m2": self._m2,
        }
