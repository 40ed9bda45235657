"""Gather statistics of many layers block by block, in place and in one graph (statistics, driven by evaluation)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv._lazy import LazyModule
from tfinv.statistics import Context, Layer

if TYPE_CHECKING:
    import tensorflow as tf

    from tfinv.statistics import Statistic
else:
    tf = LazyModule("tensorflow")

States = dict["Statistic", dict[str, Any]]


class Gatherer:
    """Holds the state of every statistic on every layer it applies to in variables, and updates them.

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
        self._variables: dict[str, dict[Statistic, tuple[Any, ...]]] = {}
        self._types: dict[Statistic, Any] = {}
        self._given: dict[str, dict[Statistic, Any]] = {}
        for layer in layers:
            fitting = [statistic for statistic in statistics if not statistic.applies(layer)]
            self._variables[layer.name] = {}
            for statistic in fitting:
                state = statistic.init(layer, dtype)
                self._types[statistic] = type(state)
                self._variables[layer.name][statistic] = tuple(tf.Variable(each) for each in state)
            needed = {each for statistic in fitting for each in statistic.depends}
            finished = {each: (given or {})[each][layer.name] for each in needed}
            self._given[layer.name] = {
                each: type(state)(*(tf.constant(field, dtype) for field in state)) for each, state in finished.items()
            }

    def add(self, layer: str, block: Any, index: Any = None, labels: Any = None, reference: Any = None) -> None:
        """Update all statistics of one layer with a block; in-graph.

        Args:
            layer: its name.
            block: activations `(S_b, T, *U)`.
            index: see `Context`.
            labels: see `Context`.
            reference: see `Context`.
        """
        context = Context(self.layers[layer], index, labels, reference, self._given[layer])
        viewed = {None: block}
        for statistic, variables in self._variables[layer].items():
            view = statistic.view
            if view not in viewed:
                assert view is not None
                viewed[view] = view.apply(block, context.layer)
            new = statistic.update(self._types[statistic](*variables), viewed[view], context)
            for variable, value in zip(variables, new, strict=True):
                variable.assign(value)

    def check_finite(self) -> None:
        """Refuse states that NaN or infinity got into.

        Raises:
            ValueError: names the first layer in network order with such activations.
        """
        for layer, states in self._variables.items():
            for variables in states.values():
                if not all(np.isfinite(np.sum(each.numpy())) for each in variables):
                    raise ValueError(f"activations must be finite. Received: NaN or infinity in layer {layer!r}")

    def states(self) -> States:
        """All states as NumPy arrays, float64 where they are floating point, by statistic and layer."""
        states: States = {}
        for layer, by_statistic in self._variables.items():
            for statistic, variables in by_statistic.items():
                arrays = (each.numpy() for each in variables)
                wide = (each.astype(np.float64) if each.dtype.kind == "f" else each for each in arrays)
                states.setdefault(statistic, {})[layer] = self._types[statistic](*wide)
        return states


def passes(statistics: Sequence[Statistic]) -> list[list[Statistic]]:
    """Order statistics into passes, so that each finds what it depends on finished.

    What others depend on and needs the untransformed images alone comes first, in a pass of one forward an image:
    the statistics that need all transformations then still share one pass.

    Args:
        statistics: what the measures require; what those depend on is added.

    Returns:
        One list of statistics a pass.
    """
    waiting = list(dict.fromkeys(each for statistic in statistics for each in (*statistic.depends, statistic)))
    done: list[list[Statistic]] = []
    while waiting:
        finished = {each for batch in done for each in batch}
        ready = [each for each in waiting if finished.issuperset(each.depends)]
        early = [each for each in ready if each.reference_only and any(each in other.depends for other in waiting)]
        ready = early or ready
        done.append(ready)
        waiting = [each for each in waiting if each not in ready]
    return done
