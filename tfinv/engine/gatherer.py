"""Gather statistics of many layers block by block, in place and in one graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.engine.states import seen
from tfinv.statistics import Context, Layer
from tfinv.statistics.compiled.fused import FusedDispersion, groups
from tfinv.support.lazy import tf
from tfinv.support.types import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfinv.statistics import Statistic
    from tfinv.statistics.compiled.stored import Stored

States = dict["Statistic", dict[str, Any]]


class _InVariables:
    """The state of one statistic on one layer in variables, updated by operations."""

    def __init__(self, statistic: Statistic, layer: Layer, dtype: str) -> None:
        self._statistic = statistic
        state = statistic.init(layer, dtype)
        self._type: Any = type(state)
        self._variables = tuple(tf.Variable(array) for array in state)
        self._neutral = lambda: statistic.init(layer, dtype)

    def add(self, block: Tensor, context: Context) -> None:
        new = self._statistic.update(self._type(*self._variables), block, context)
        for variable, value in zip(self._variables, new, strict=True):
            variable.assign(value)

    def reset(self) -> None:
        for variable, value in zip(self._variables, self._neutral(), strict=True):
            variable.assign(value)

    def is_finite(self) -> bool:
        return all(np.isfinite(np.sum(variable.numpy(), dtype=np.float64)) for variable in self._variables)

    def state(self) -> Any:
        return self._type(*(variable.numpy() for variable in self._variables))

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        for name, variable in zip(self._type._fields, self._variables, strict=True):
            variable.assign(arrays[name])


class Gatherer:
    """Holds the state of every statistic on every layer it applies to, and updates them.

    Statistics that join the compiled loop (`Statistic.loop`) go through it where there is one; all others are
    operations on variables.

    Args:
        statistics: the union of what the measures need in this pass.
        layers: the layers, in network order.
        dtype: of blocks and accumulators.
        given: finished states that statistics of a second pass depend on.
    """

    def __init__(
        self,
        statistics: Sequence[Statistic],
        layers: Sequence[Layer],
        dtype: str = "float32",
        given: States | None = None,
    ) -> None:
        self.layers = {layer.name: layer for layer in layers}
        self._dtype = dtype
        self._fused: dict[str, list[FusedDispersion]] = {}
        self._others: dict[str, dict[Statistic, _InVariables]] = {}
        self._given: dict[str, dict[Statistic, Any]] = {}
        self.samples = 0
        """How many samples were added since the last `reset`, as far as the one who adds them counts them."""
        for layer in layers:
            fitting = [statistic for statistic in statistics if not statistic.applies(layer)]
            together = groups(fitting, dtype)
            self._fused[layer.name] = [FusedDispersion(statistics, layer) for statistics in together]
            taken = {statistic for group in together for statistic in group}
            others = {
                statistic: _InVariables(statistic, layer, dtype) for statistic in fitting if statistic not in taken
            }
            self._others[layer.name] = others
            self._given[layer.name] = {}
            for statistic in dict.fromkeys(needed for taker in fitting for needed in taker.depends):
                state = seen(statistic, (given or {})[statistic][layer.name])
                variables = (tf.Variable(tf.constant(np.asarray(field), self._type_of(field))) for field in state)
                self._given[layer.name][statistic] = type(state)(*variables)

    @property
    def is_direct(self) -> bool:
        """Whether `add_directly` can do everything, so that no graph is needed."""
        no_view = all(loop.view is None for fused in self._fused.values() for loop in fused)
        return no_view and not any(self._others.values())

    def give(self, given: States) -> None:
        """Replace the finished states that this pass depends on."""
        for layer, by_statistic in self._given.items():
            for statistic, variables in by_statistic.items():
                for variable, value in zip(variables, seen(statistic, given[statistic][layer]), strict=True):
                    variable.assign(tf.constant(np.asarray(value), variable.dtype))

    def add(
        self,
        layer: str,
        block: Tensor,
        index: Tensor = None,
        labels: Any = None,
        reference: Any = None,
        derivatives: Mapping[str, Any] | None = None,
    ) -> list[Any]:
        """Update all statistics of one layer with a block; in-graph.

        Args:
            layer: its name.
            block: activations `(S_b, T, *U)` or `(S_b * T, *U)`; None where all statistics are `reference_only`.
            index: see `Context`.
            labels: see `Context`.
            reference: see `Context`.
            derivatives: see `Context`.

        Returns:
            Tensors that a graph must return, or the updates behind them never run.
        """
        given = {
            statistic: type(state)(*(tf.convert_to_tensor(array) for array in state))
            for statistic, state in self._given[layer].items()
        }
        context = Context(self.layers[layer], index, labels, reference, given, derivatives or {})
        views = _Views(block, context.layer)
        done = [loop.add(views[loop.view] if loop.view else block) for loop in self._fused[layer]]
        for statistic, state in self._others[layer].items():
            state.add(views[statistic.view], context)
        return done

    def add_directly(self, layer: str, block: NDArray[np.float32]) -> None:
        """Update all statistics of one layer without a graph, where `is_direct`.

        Args:
            layer: its name.
            block: activations `(S_b, T or more, *U)`; columns after the first `T` are not read.
        """
        for loop in self._fused[layer]:
            loop.update(block)

    def add_stored(self, layer: str, block: Stored) -> None:
        """`add_directly` with a block as a quantized network stores it."""
        for loop in self._fused[layer]:
            loop.update_stored(block)

    def reset(self) -> None:
        """Back to the states of no samples."""
        self.samples = 0
        for sums in (*self._all_fused(), *self._all_others()):
            sums.reset()

    def check_finite(self) -> None:
        """Refuse states that NaN or infinity got into.

        Raises:
            ValueError: names the first layer in network order with such activations.
        """
        for layer in self.layers:
            if not all(sums.is_finite() for sums in (*self._fused[layer], *self._others[layer].values())):
                raise ValueError(f"activations must be finite. Received: NaN or infinity in layer {layer!r}")

    def states_of(self, layer: str, *, transient: bool = False) -> dict[Statistic, Any]:
        """The states of one layer as NumPy arrays by statistic; valid until the next update or reset.

        Args:
            layer: its name.
            transient: whether the next transient states may be written over these.
        """
        fused = {
            statistic: group.state(statistic, transient=transient)
            for group in self._fused[layer]
            for statistic in group.statistics
        }
        return fused | {statistic: other.state() for statistic, other in self._others[layer].items()}

    def states(self) -> States:
        """All states by statistic and layer, see `states_of`."""
        states: States = {}
        for layer in self.layers:
            for statistic, state in self.states_of(layer).items():
                states.setdefault(statistic, {})[layer] = state
        return states

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything needed to go on later, by a name that `restore` knows; valid until the next update."""
        arrays: dict[str, NDArray[Any]] = {}
        for number, fused in enumerate(self._all_fused()):
            arrays |= {f"fused{number}.{name}": array for name, array in fused.arrays().items()}
        for number, other in enumerate(self._all_others()):
            arrays |= {f"other{number}.{name}": array for name, array in other.state()._asdict().items()}
        return arrays

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `arrays` gave, in a gatherer made with the same arguments."""
        parts: dict[str, dict[str, NDArray[Any]]] = {}
        for name, array in arrays.items():
            part, _, field = name.partition(".")
            parts.setdefault(part, {})[field] = array
        for number, fused in enumerate(self._all_fused()):
            fused.restore(parts[f"fused{number}"])
        for number, other in enumerate(self._all_others()):
            other.restore(parts[f"other{number}"])

    def _all_fused(self) -> list[FusedDispersion]:
        return [loop for fused in self._fused.values() for loop in fused]

    def _all_others(self) -> list[_InVariables]:
        return [other for others in self._others.values() for other in others.values()]

    def _type_of(self, value: Any) -> Any:
        return self._dtype if np.asarray(value).dtype.kind == "f" else np.asarray(value).dtype


class _Views(dict[Any, Any]):
    """A block as each view shows it, computed once."""

    def __init__(self, block: Tensor, layer: Layer) -> None:
        super().__init__()
        self._block, self._layer = block, layer

    def __missing__(self, view: Any) -> Any:
        if view is not None:
            self[view] = view.apply(self[None], self._layer)
        elif self._block is None:
            self[view] = None
        else:
            self[view] = tf.reshape(self._block, (-1, self._layer.num_transformations, *self._layer.shape))
        return self[view]
