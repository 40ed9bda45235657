"""Ranges that clip: of activations by percentiles or by the squared error, from histograms that grow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tfinv.support.checks import finite, flag
from tfinv.tflite.files.flatbuffer import Graph
from tfinv.tflite.files.interpreter import Runner

Clip = Literal["min_max", "percentile", "mse"]
WeightClip = Literal["min_max", "mse", "octav"]
_BINS = 4096
_CANDIDATES = np.linspace(0.2, 1.0, 81)
"""Shares of the true range that are tried for the least squared error."""


@dataclass(frozen=True)
class Ranges:
    """How the ranges of integers are set, and whether biases make up for the rounding of kernels.

    Example:
        >>> import keras, numpy as np
        >>> from tfinv.tflite import Ranges, static_int8
        >>> inputs = keras.Input((8, 8, 1))
        >>> x = keras.layers.GlobalAveragePooling2D(name="pool")(keras.layers.Conv2D(4, 3, name="conv")(inputs))
        >>> model = keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))
        >>> images = np.random.default_rng(0).random((50, 8, 8, 1), "float32")
        >>> static_int8(model, images, ranges=Ranges(activations="percentile", percentile=99.9)).options["ranges"]
        {'activations': 'percentile', 'percentile': 99.9, 'weights': 'min_max', 'bias_correction': False}

    Args:
        activations: `"min_max"`, the true ends over all calibration images; `"percentile"`, which clips the rest on
            either side; `"mse"`, the share of the true range with the least squared error of rounding and clipping.
            The model's inputs and outputs keep their true ranges.
        percentile: what percentage of the activations of a tensor lies below its upper end, and above its lower end.
        weights: `"min_max"`; `"mse"` and `"octav"` are the clipping algorithms of litert-quantizer for the kernels of
            convolutions and dense layers.
        bias_correction: add to each bias what the rounding of its kernel takes from the mean of the output over the
            calibration images, `sum (W - Q(W)) E[x]` (Nagel et al. 2019, section 4.2).

    Raises:
        ValueError: an unknown choice, or a percentile outside (50, 100].
        TypeError: a percentile that is no number, or a `bias_correction` that is neither True nor False.
    """

    activations: Clip = "min_max"
    percentile: float = 99.99
    weights: WeightClip = "min_max"
    bias_correction: bool = False

    def __post_init__(self) -> None:
        for name, choices in (("activations", Clip), ("weights", WeightClip)):
            if getattr(self, name) not in get_args(choices):
                raise ValueError(f"{name} must be one of {get_args(choices)}. Received: {getattr(self, name)!r}")
        finite("percentile", self.percentile)
        if not 50 < self.percentile <= 100:
            raise ValueError(f"percentile must be above 50 and at most 100. Received: {self.percentile!r}")
        flag("bias_correction", self.bias_correction)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


class GrowingHistogram:
    """Counts of values in bins of one width around 0; neighbouring bins are merged when a value lies outside.

    Example:
        >>> import numpy as np
        >>> from tfinv.tflite.convert.calibration_ranges import GrowingHistogram
        >>> histogram = GrowingHistogram()
        >>> histogram.add(np.arange(1000.0))
        >>> bool(abs(histogram.percentile(99.0)[1] - 990) <= histogram.width)
        True
    """

    def __init__(self) -> None:
        self.counts = np.zeros(_BINS, np.int64)
        self.reach = 0.0
        """The bins cover `[-reach, reach)`."""
        self.least, self.most = 0.0, 0.0

    @property
    def width(self) -> float:
        """Of a bin."""
        return 2 * self.reach / _BINS

    @property
    def centers(self) -> NDArray[np.float64]:
        """Of the bins."""
        return np.asarray((np.arange(_BINS) + 0.5) * self.width - self.reach, np.float64)

    def add(self, values: NDArray[Any]) -> None:
        """Count finite values of any shape."""
        values = np.asarray(values, np.float64).ravel()
        if not values.size:
            return
        self.least, self.most = min(self.least, float(values.min())), max(self.most, float(values.max()))
        largest = max(-self.least, self.most)
        if self.reach == 0:
            self.reach = 2.0 ** np.ceil(np.log2(largest)) if largest else 2.0**-20
        while largest >= self.reach:
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.pad(merged, _BINS // 4)
            self.reach *= 2
        places = ((values + self.reach) / self.width).astype(np.int64)
        self.counts += np.bincount(np.minimum(places, _BINS - 1), minlength=_BINS)

    def percentile(self, percentage: float) -> tuple[float, float]:
        """The ends that so many per cent of the values lie below, and above, with 0 between them."""
        below = np.cumsum(self.counts) / max(1, self.counts.sum())
        share = percentage / 100
        low = (int(np.searchsorted(below, 1 - share, side="right"))) * self.width - self.reach
        high = (int(np.searchsorted(below, share - 1e-12)) + 1) * self.width - self.reach
        return float(np.clip(low, self.least, 0)), float(np.clip(high, 0, self.most))

    def least_error(self, bits: int) -> tuple[float, float]:
        """The true ends times the share that gives integers of so many bits the least squared error."""
        filled = self.counts > 0
        values, counts = self.centers[filled], self.counts[filled]
        errors = []
        for share in _CANDIDATES:
            low, high = share * self.least, share * self.most
            step = (high - low) / (2**bits - 1) or 1.0
            rounded = np.clip(np.round((np.clip(values, low, high) - low) / step), 0, 2**bits - 1) * step + low
            errors.append(float(np.dot(counts, (rounded - values) ** 2)))
        share = float(_CANDIDATES[len(errors) - 1 - int(np.argmin(errors[::-1]))])  # the widest of equals
        return share * self.least, share * self.most


def activation_ranges(
    graph: Graph, batches: Iterable[NDArray[np.float32]], ranges: Ranges, bits: int
) -> dict[str, tuple[float, float]]:
    """The clipped range of every activation between the inputs and the outputs of a float file, by tensor name.

    Args:
        graph: the float file.
        batches: calibration images.
        ranges: how; nothing is clipped for `"min_max"`.
        bits: of the integers.
    """
    if ranges.activations == "min_max":
        return {}
    ends = {*graph.inputs, *graph.outputs}
    wanted = {graph.tensors[index].name: index for index in graph.activations if index not in ends}
    histograms = {name: GrowingHistogram() for name in wanted}
    runner: Runner | None = None
    for batch in batches:
        runner = runner or Runner(graph)
        for name, values in runner.read(batch, wanted).items():
            histograms[name].add(values)
    if ranges.activations == "percentile":
        return {name: histogram.percentile(ranges.percentile) for name, histogram in histograms.items()}
    return {name: histogram.least_error(bits) for name, histogram in histograms.items()}
