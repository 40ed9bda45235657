"""The laws that every statistic owes: cutting the data, merging in any order and compiling change nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfinv.statistics import Context, Layer, Statistic


def layer_of(block: np.ndarray, **options: Any) -> Layer:
    """The layer whose activations `(S, T, *U)` are given."""
    return Layer("layer", block.shape[2:], block.shape[1], **options)


def gathered(
    statistic: Statistic,
    block: np.ndarray,
    sizes: Sequence[int] | None = None,
    *,
    start: int = 0,
    labels: np.ndarray | None = None,
    reference: np.ndarray | None = None,
    given: Mapping[Any, Any] | None = None,
    derivatives: Mapping[str, np.ndarray] | None = None,
    layer: Layer | None = None,
    compiled: bool = False,
) -> Any:
    """The state after all samples, given in blocks of these sizes; tensors."""
    layer = layer or layer_of(block)
    traces = []

    present = [array for array in (labels, reference, *(derivatives or {}).values()) if array is not None]

    def step(state: Any, block: Any, index: Any, *rest: Any) -> Any:
        traces.append(1)
        extra = list(rest)
        beside = [None if array is None else extra.pop(0) for array in (labels, reference)]
        seen = {earlier: earlier.summary(state) for earlier, state in (given or {}).items()}
        finished = {earlier: type(s)(*(tf.constant(field, block.dtype) for field in s)) for earlier, s in seen.items()}
        along = dict(zip(derivatives or {}, extra, strict=True))
        return statistic.update(state, block, Context(layer, index, *beside, finished, along))

    run: Any = step
    state = statistic.init(layer, block.dtype)
    if compiled:
        ragged = [tf.TensorSpec((None, *array.shape[1:]), array.dtype) for array in (block, *present)]
        index = tf.TensorSpec((None,), tf.int64)
        state_spec = type(state)(*(tf.TensorSpec(field.shape, field.dtype) for field in state))
        run = tf.function(step, input_signature=[state_spec, ragged[0], index, *ragged[1:]])
    position = 0
    for size in sizes or [len(block)]:
        part = slice(position, position + size)
        index = tf.range(start + position, start + position + len(block[part]), dtype=tf.int64)
        state = run(state, tf.constant(block[part]), index, *(tf.constant(array[part]) for array in present))
        position += size
    assert position >= len(block)
    if compiled:
        assert len(traces) == 1
    return state


def assert_laws(
    statistic: Statistic,
    block: np.ndarray,
    *,
    labels: np.ndarray | None = None,
    reference: np.ndarray | None = None,
    given: Mapping[Any, Any] | None = None,
    derivatives: Mapping[str, np.ndarray] | None = None,
    layer: Layer | None = None,
    canonical: Callable[[Any], Any] = lambda state: state,
    rtol: float = 1e-5,
    atol: float = 1e-6,
) -> None:
    """Block sizes, merge order, neutrality of `init`, NumPy against tensors, eager against graph.

    Args:
        statistic: what is tested.
        block: at least 7 samples.
        labels: see `Context`.
        reference: see `Context`.
        given: see `Context`.
        derivatives: see `Context`.
        layer: default: made from the block.
        canonical: brings states that are equal up to an arbitrary order into one order.
        rtol: relative tolerance.
        atol: absolute tolerance.
    """
    layer = layer or layer_of(block)
    count = len(block)

    def part(first: int, last: int, sizes: Sequence[int] | None = None, **options: Any) -> Any:
        cut = [None if array is None else array[first:last] for array in (labels, reference)]
        along = {name: tangent[first:last] for name, tangent in (derivatives or {}).items()}
        return gathered(
            statistic, block[first:last], sizes, start=first, labels=cut[0], reference=cut[1], given=given,
            derivatives=along, layer=layer, **options,
        )  # fmt: skip

    def same(state: Any) -> None:
        for name, actual, wanted in zip(expected._fields, canonical(arrays(state)), expected, strict=True):
            np.testing.assert_allclose(actual, wanted, rtol=rtol, atol=atol, err_msg=name)

    threes = [3] * -(-count // 3)
    expected = canonical(arrays(part(0, count)))
    same(part(0, count, [1] * count))
    same(part(0, count, threes))
    same(part(0, count, threes, compiled=True))
    a, b, c = part(0, 2), part(2, 5), part(5, count)
    same(statistic.merge(statistic.merge(a, b), c))
    same(statistic.merge(c, statistic.merge(b, a)))
    same(statistic.merge(statistic.init(layer, block.dtype), part(0, count)))
    same(statistic.merge(part(0, count), statistic.init(layer, block.dtype)))
    merged = statistic.merge(statistic.merge(arrays(a), arrays(b)), arrays(c))
    assert all(isinstance(field, (np.ndarray, np.generic)) for field in merged)
    same(merged)


def arrays(state: Any) -> Any:
    """A state as NumPy arrays."""
    return type(state)(*(np.asarray(field) for field in state))
