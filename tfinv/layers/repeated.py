"""Numbers of maps as numbers of their channels."""

from __future__ import annotations

from tfinv.support.lazy import tf
from tfinv.support.types import Tensor


def repeated(vector: Tensor, times: int) -> Tensor:
    """Every number of a vector several times in a row, `a a b b` of `a b` for two times.

    `keras.ops.repeat` gives the same by ten times as many operations of a graph.

    Args:
        vector: `(C,)`, its length known.
        times: how often every number stands in the result.

    Returns:
        `(C * times,)`.
    """
    vector = tf.convert_to_tensor(vector)
    return tf.reshape(tf.broadcast_to(tf.expand_dims(vector, 1), (vector.shape[0], times)), (-1,))
