"""A run of elements of a `tf.data.Dataset`, as it travels to the process that reads it."""

from __future__ import annotations

import errno
import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.support.lazy import tf

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST = 2**18
"""Bytes of the description of a data set at most: a larger one holds the images themselves."""
FAIL = 2
"""What TensorFlow calls the policy that refuses a data set with state outside of its description."""
_KEPT = 2


@dataclass(frozen=True)
class DatasetPart:
    """Some elements of a data set.

    Args:
        graph: the data set without batches, as TensorFlow writes it down.
        spec: of its elements.
        start: position of the first element.
        count: how many there are.
    """

    graph: bytes
    spec: Any
    start: int
    count: int

    @classmethod
    def of(cls, dataset: Any, count: int) -> DatasetPart | None:
        """What stands for all elements of a data set of batches.

        Args:
            dataset: images or pairs of images and labels, in batches.
            count: how many elements it has.

        Returns:
            None where another process could not read the same: the data set calls Python, draws random numbers, may
            change its order, or holds the images themselves.
        """
        single = dataset.unbatch()
        if single.options().deterministic is False:
            return None
        try:
            variant = tf.data.experimental.to_variant(single)
            graph = tf.raw_ops.DatasetToGraphV2(input_dataset=variant, external_state_policy=FAIL).numpy()
        except tf.errors.OpError:
            return None
        if len(graph) > LARGEST or b"PyFunc" in graph or b"Generator" in graph:
            return None
        return cls(graph, single.element_spec, 0, count)

    def parts(self, samples: int) -> Iterator[DatasetPart]:
        """All elements, so many at a time."""
        for start in range(0, self.count, samples):
            yield replace(self, start=start, count=min(samples, self.count - start))

    def read(self) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Images `(S, H, W, C)` and labels; None where there are none.

        A process that reads one part after the other goes through the data set once.

        Raises:
            ValueError: fewer elements than there were.
            FileNotFoundError: a file that this process does not have.
        """
        key = hashlib.blake2b(self.graph, digest_size=12).hexdigest()
        position, elements = _READERS.pop(key, (0, None))
        if elements is None or position > self.start:
            variant = tf.raw_ops.DatasetFromGraph(graph_def=self.graph)
            dataset = tf.data.experimental.from_variant(variant, self.spec).prefetch(tf.data.AUTOTUNE)
            position, elements = self.start, dataset.skip(self.start).as_numpy_iterator()
        try:
            for _ in range(self.start - position):
                next(elements, None)
            read = [element for _, element in zip(range(self.count), elements, strict=False)]
        except tf.errors.NotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, error.message) from None
        if len(read) < self.count:
            raise ValueError(
                f"images must be the dataset that was opened. Received: {self.start + len(read)} elements, "
                f"and not {self.start + self.count}"
            )
        _READERS[key] = (self.start + self.count, elements)
        while len(_READERS) > _KEPT:
            _READERS.popitem(last=False)
        if not isinstance(self.spec, tuple):
            return np.stack(read), None
        return np.stack([image for image, _ in read]), np.stack([np.asarray(label) for _, label in read])


_READERS: OrderedDict[str, tuple[int, Any]] = OrderedDict()
"""By data set how many elements were read, and an iterator of those that follow."""
