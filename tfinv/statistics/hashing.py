"""Random numbers that depend on the sample alone, so that draws do not depend on batches or shards."""

from __future__ import annotations

from typing import Any

from tfinv.support.lazy import tf

_GOLDEN, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def hash_of(numbers: Any, seed: int) -> Any:
    """A pseudo-random non-negative int64 for each number.

    Args:
        numbers: int64 tensor of any shape.
        seed: other seeds give other numbers.

    Returns:
        int64, same shape, uniform over `[0, 2^63)`.

    Source: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators" (the SplitMix64 finaliser).
    """
    state = (tf.cast(numbers, tf.int64) + _signed(_scrambled(seed))) * _signed(_GOLDEN) + _signed(_GOLDEN)
    state = tf.bitwise.bitwise_xor(state, _shift_right(state, 30)) * _signed(_FIRST)
    state = tf.bitwise.bitwise_xor(state, _shift_right(state, 27)) * _signed(_SECOND)
    return _shift_right(tf.bitwise.bitwise_xor(state, _shift_right(state, 31)), 1)


def _shift_right(values: Any, bits: int) -> Any:
    """Logical shift: int64 would carry the sign along."""
    unsigned = tf.bitcast(values, tf.uint64)
    return tf.bitcast(tf.bitwise.right_shift(unsigned, tf.constant(bits, tf.uint64)), tf.int64)


def _signed(value: int) -> Any:
    value &= 0xFFFFFFFFFFFFFFFF
    return tf.constant(value - (1 << 64) if value >> 63 else value, tf.int64)


def _scrambled(seed: int) -> int:
    """Far-apart offsets for neighbouring seeds."""
    mixed = ((seed + 1) * _SECOND) & 0xFFFFFFFFFFFFFFFF
    return (mixed ^ (mixed >> 32)) * _FIRST
