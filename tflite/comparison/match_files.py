"""Pair the layers of two `.tflite` files of one network, and refuse files of different networks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfinv.support.types import Images
from tfinv.tflite.files.model import Source, TFLiteModel
from tfinv.tflite.files.tensor_names import base_name

SAME_NETWORK = 0.9
"""Median correlation of the first layers from which two files count as the same network without a further look."""
OTHER_NETWORK = 0.6
"""Median correlation of the early layers below which two files count as different networks."""
PARTNERS = 0.5
"""In between, the least share of units that must be more like their own partner than like any other unit."""
MATCHED = 0.5
"""Least share of the layers of the file with fewer layers that must have a partner."""
_SAME_LAYER = 0.2
"""Least correlation of a pair that was found by position or shape rather than by name."""
_ROWS = 2**15
"""Images and places at which a layer is compared, about; more tell nothing else."""
_FIRST_LAYERS = 3
_EARLY = 6
"""Layers that are read; the look at units takes them all, because a wrong input scale shows from layer to layer."""
_ONE_UNIT = 0.7
"""Least median correlation where layers have one unit, so that no unit can be taken for another."""


@dataclass(frozen=True)
class Match:
    """Which layer of one file is which layer of another.

    Args:
        pairs: layer of the second file by layer of the first, in the order of the first.
        unmatched_before: layers of the first file without a partner.
        unmatched_after: layers of the second file without a partner.
        how: `"name"` or `"order"`, by layer of the first file.
        correlations: mean over units of the correlation between both, on the same images, by layer of the first
            file. Empty where no images were given; layers that never vary have none.
    """

    pairs: Mapping[str, str]
    unmatched_before: tuple[str, ...] = ()
    unmatched_after: tuple[str, ...] = ()
    how: Mapping[str, str] = field(default_factory=dict)
    correlations: Mapping[str, float] = field(default_factory=dict)

    def only(self, layers: Collection[str]) -> Match:
        """The match of some layers of the first file alone.

        Args:
            layers: of the first file.

        Raises:
            ValueError: none of them has a partner.
        """
        pairs = {name: other for name, other in self.pairs.items() if name in layers}
        if not pairs:
            raise ValueError(f"layers must have a partner in the second file. Received: {', '.join(layers)}")
        return replace(
            self,
            pairs=pairs,
            unmatched_before=tuple(name for name in self.unmatched_before if name in layers),
            unmatched_after=(),
        )

    def describe(self) -> str:
        """The match in a few lines, for a reader."""
        by_order = [f"{a} = {b}" for a, b in self.pairs.items() if self.how.get(a) == "order"]
        lines = [f"{len(self.pairs)} layers matched"]
        lines += [f"matched by order and shape, not by name: {', '.join(by_order)}"] if by_order else []
        lines += [f"only in the first file: {', '.join(self.unmatched_before)}"] if self.unmatched_before else []
        lines += [f"only in the second file: {', '.join(self.unmatched_after)}"] if self.unmatched_after else []
        return "\n".join(lines)


def match(before: Source | TFLiteModel, after: Source | TFLiteModel, images: Images = None) -> Match:
    """Pair the layers of two files: by name, then by order of operators and shape, then check by numbers.

    Quantization keeps the sequence of operators and most tensor names. QUANTIZE and DEQUANTIZE, which it adds, are
    no layers and do not disturb the order. On images, layers of the same network correlate, unit by unit, whatever the
    scale of their values; those of another one do not, even where architecture and names are equal.

    Example:
        >>> import keras, numpy as np
        >>> from tfinv.tflite import dynamic_int8, float32, match
        >>> inputs = keras.Input((8, 8, 1))
        >>> x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
        >>> x = keras.layers.GlobalMaxPooling2D(name="pool")(x)
        >>> model = keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))
        >>> images = np.random.default_rng(0).random((20, 8, 8, 1), "float32")
        >>> match(float32(model), dynamic_int8(model), images).pairs
        {'conv': 'conv', 'pool': 'pool', 'logits': 'logits'}

    Args:
        before: the first file, usually the float one.
        after: the second file, usually a quantized one.
        images: `(N, H, W, C)` in [0, 1], a few dozen; None to match by names and order alone.

    Returns:
        The pairs, and what has no partner.

    Raises:
        ValueError: input shapes differ, no layer in common, or the files hold different networks.
    """
    first, second = _as_model(before), _as_model(after)
    if first.input_shape != second.input_shape:
        raise ValueError(
            f"before and after must take images of one shape. Received: {first.input_shape} and {second.input_shape}"
        )
    how: dict[str, str] = {}
    pairs = _by_name(first, second)
    how.update(dict.fromkeys(pairs, "name"))
    for one, other in _by_order(first, second, pairs):
        pairs[one], how[one] = other, "order"
    if not pairs:
        raise ValueError("before and after must have a layer in common. Received: files that share no layer")
    _refuse_few(first, second, pairs)
    correlations: dict[str, float] = {}
    if images is not None:
        seen = _seen(first, second, pairs, images)
        correlations = {name: correlation(*both) for name, both in seen.items()}
        correlations = {name: value for name, value in correlations.items() if np.isfinite(value)}
        _refuse_strangers({name: seen[name] for name in first.layer_shapes if name in seen}, correlations)
        for one in [name for name, way in how.items() if way == "order" and correlations.get(name, 1) < _SAME_LAYER]:
            del pairs[one], how[one]
            correlations.pop(one)
        _refuse_few(first, second, pairs)
    ordered = {name: pairs[name] for name in first.layer_shapes if name in pairs}
    partners = set(ordered.values())
    return Match(
        ordered,
        tuple(name for name in first.layer_shapes if name not in ordered),
        tuple(name for name in second.layer_shapes if name not in partners),
        {name: how[name] for name in ordered},
        {name: correlations[name] for name in ordered if name in correlations},
    )


def correlation(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Mean over units of the Pearson correlation between two activations `(N, *U)`.

    A unit of a feature map is a channel: its samples are all images and positions. Units that are constant in either
    are left out; NaN where none is left.
    """
    one, other = _centred(one), _centred(other)
    spread = np.sqrt(np.square(one).sum(0) * np.square(other).sum(0))
    varied = spread > 1e-12 * max(1.0, float(spread.max(initial=0.0)))
    return float(((one * other).sum(0)[varied] / spread[varied]).mean()) if varied.any() else float("nan")


def partner_share(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The share of units of one activation `(N, *U)` that correlate most with the same unit of another one.

    Quantization blurs units but does not exchange them: the share is near 1 for one network, and near one in the number
    of units for different networks, however alike their units are on average. NaN where fewer than two units vary.
    """
    one, other = _centred(one), _centred(other)
    lengths = [np.sqrt(np.square(values).sum(0)) for values in (one, other)]
    varied = np.flatnonzero(
        np.logical_and(*(norm > 1e-12 * max(1.0, float(norm.max(initial=0.0))) for norm in lengths))
    )
    if varied.size < 2:
        return float("nan")
    alike = (one[:, varied] / lengths[0][varied]).T @ (other[:, varied] / lengths[1][varied])
    return float((alike.argmax(axis=1) == np.arange(varied.size)).mean())


def _centred(values: NDArray[Any]) -> NDArray[np.float64]:
    flat = np.asarray(values, np.float64).reshape(-1, values.shape[-1])
    return flat - flat.mean(0)


def _as_model(source: Source | TFLiteModel) -> TFLiteModel:
    return source if isinstance(source, TFLiteModel) else TFLiteModel(source)


def _by_name(first: TFLiteModel, second: TFLiteModel) -> dict[str, str]:
    """Pairs of equal layer name or equal tensor name, and equal shape."""
    shapes = second.layer_shapes
    by_tensor = {base_name(tensor.name): name for name, tensor in second.layer_tensors.items()}
    pairs: dict[str, str] = {}
    for name, tensor in first.layer_tensors.items():
        other = name if name in shapes else by_tensor.get(base_name(tensor.name))
        if other is not None and other not in pairs.values() and shapes[other] == first.layer_shapes[name]:
            pairs[name] = other
    return pairs


def _by_order(first: TFLiteModel, second: TFLiteModel, pairs: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Further pairs: equal operator and shape, between the same neighbours in the order of operators."""
    left = [name for name in first.layer_shapes if name not in pairs]
    partners = set(pairs.values())
    right = [name for name in second.layer_shapes if name not in partners]
    number = {other: position for position, other in enumerate(pairs.values())}

    def signature(model: TFLiteModel, name: str, anchors: Mapping[str, int]) -> tuple[Any, ...]:
        names = list(model.layer_shapes)
        before = [anchors[earlier] for earlier in names[: names.index(name)] if earlier in anchors]
        return model.layer_ops[name], model.layer_shapes[name], before[-1] if before else -1

    anchors = {name: number[other] for name, other in pairs.items()}
    one = [signature(first, name, anchors) for name in left]
    other = [signature(second, name, number) for name in right]
    for block in SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks():
        yield from zip(left[block.a : block.a + block.size], right[block.b : block.b + block.size], strict=True)


def _seen(
    first: TFLiteModel, second: TFLiteModel, pairs: Mapping[str, str], images: Any
) -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Activations of both sides of every pair on the same images; of large maps as many places as tell enough."""
    one, other = first.select(list(pairs))(images), second.select(list(pairs.values()))(images)
    return {name: (_thinned(one[name]), _thinned(other[partner])) for name, partner in pairs.items()}


def _thinned(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Every so many-th of the images and places of an activation `(N, *U)`, as `(rows, channels)`."""
    flat = values.reshape(-1, values.shape[-1])
    step = max(1, len(flat) // _ROWS)
    return flat[:: step + 1 - step % 2].copy()  # an odd step does not stay in some columns of the usual sizes


def _refuse_few(first: TFLiteModel, second: TFLiteModel, pairs: Mapping[str, str]) -> None:
    """Files of one network share most layers, whatever their operators were merged to."""
    layers = min(len(first.layer_shapes), len(second.layer_shapes))
    if len(pairs) < MATCHED * layers:
        raise ValueError(
            f"before and after must be the same network. Received: files of {len(first.layer_shapes)} and "
            f"{len(second.layer_shapes)} layers, of which {len(pairs)} have a partner in the other file "
            f"(at least {MATCHED:.0%} of the smaller file expected)"
        )


def _refuse_strangers(
    seen: Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]], correlations: Mapping[str, float]
) -> None:
    """Low bit widths may ruin late layers of the same network, never the first; another network differs at once.

    Args:
        seen: activations of both sides by layer, in network order.
        correlations: of both sides, for layers that vary.
    """
    early = [name for name in list(seen)[:_EARLY] if name in correlations]
    values = [correlations[name] for name in early]
    if not values or np.median(values[:_FIRST_LAYERS]) >= SAME_NETWORK:
        return
    shares = [partner_share(*seen[name]) for name in early]
    known = [share for share in shares if np.isfinite(share)]
    median = float(np.median(values))
    if median >= OTHER_NETWORK and (np.median(known) >= PARTNERS if known else median >= _ONE_UNIT):
        return
    raise ValueError(
        "before and after must be the same network. Received: files whose early layers correlate by "
        f"{', '.join(f'{value:.2f}' for value in values)} on the same images, and whose units are most like "
        f"their own partners in {', '.join(f'{share:.0%}' for share in shares)} of cases (a correlation of "
        f"{SAME_NETWORK}, or {OTHER_NETWORK} and {PARTNERS:.0%} expected); if they are, check that both take the same "
        "input scale"
    )
