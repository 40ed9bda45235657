"""Pair the layers of two `.tflite` files of one network, and refuse files of different networks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfinv.datasets.given import as_array
from tfinv.support.types import Images
from tfinv.tflite.comparison.match_numbers import SAME_LAYER, by_numbers, correlation, partner_share, thinned
from tfinv.tflite.files.model import Source, TFLiteModel, opened
from tfinv.tflite.files.tensor_names import base_name

SAME_NETWORK = 0.9
"""Median correlation of the first layers from which two files count as the same network without a further look."""
OTHER_NETWORK = 0.6
"""Median correlation of the early layers below which two files count as different networks."""
PARTNERS = 0.5
"""In between, the least share of units that must be more like their own partner than like any other unit."""
MATCHED = 0.5
"""Least share of the layers of the file with fewer layers that must have a partner."""
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
        how: `"name"`, `"order"` or `"numbers"`, by layer of the first file.
        correlations: mean over units of the correlation between both, on the same images, by layer of the first
            file. Empty where no images were given; layers that never vary have none.
        reasons_before: why layers of the first file have no partner. Empty where no images were given.
        reasons_after: the same of the second file.
    """

    pairs: Mapping[str, str]
    unmatched_before: tuple[str, ...] = ()
    unmatched_after: tuple[str, ...] = ()
    how: Mapping[str, str] = field(default_factory=dict)
    correlations: Mapping[str, float] = field(default_factory=dict)
    reasons_before: Mapping[str, str] = field(default_factory=dict)
    reasons_after: Mapping[str, str] = field(default_factory=dict)

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
            reasons_before={name: why for name, why in self.reasons_before.items() if name in layers},
            reasons_after={},
        )

    def describe(self) -> str:
        """The match in a few lines, for a reader."""
        lines = [f"{len(self.pairs)} layers matched"]
        for how, words in (("order", "by order and shape"), ("numbers", "by their numbers")):
            named = [f"{name} = {other}" for name, other in self.pairs.items() if self.how.get(name) == how]
            lines += [f"matched {words}, not by name: {', '.join(named)}"] if named else []
        for side, names, reasons in (
            ("first", self.unmatched_before, self.reasons_before),
            ("second", self.unmatched_after, self.reasons_after),
        ):
            lines += [f"only in the {side} file: {', '.join(with_reasons(names, reasons))}"] if names else []
        return "\n".join(lines)


def match(before: Source | TFLiteModel, after: Source | TFLiteModel, images: Images = None) -> Match:
    """Pair the layers of two files: by name, by order of operators and shape, and by numbers; check all by numbers.

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
    first, second = opened(before, "before"), opened(after, "after")
    if first.input_shape != second.input_shape:
        raise ValueError(
            f"before and after must take images of one shape. Received: {first.input_shape} and {second.input_shape}"
        )
    how: dict[str, str] = {}
    pairs = _by_name(first, second)
    how.update(dict.fromkeys(pairs, "name"))
    for one, other in _by_order(first, second, pairs):
        pairs[one], how[one] = other, "order"
    correlations: dict[str, float] = {}
    reasons: tuple[dict[str, str], dict[str, str]] = ({}, {})
    if images is None:
        _refuse_few(first, second, pairs)
    else:
        images = as_array(images)
        one, other = _seen(first, images), _seen(second, images)
        correlations = {name: correlation(one[name], other[partner]) for name, partner in pairs.items()}
        for name in [name for name in pairs if correlations[name] < SAME_LAYER and how[name] == "order"]:
            del pairs[name], how[name], correlations[name]
        numbers, reasons = by_numbers(first, second, (one, other), pairs, correlations)
        for name, (partner, value) in numbers.items():
            pairs[name], how[name], correlations[name] = partner, "numbers", value
        _refuse_few(first, second, pairs)
        correlations = {name: value for name, value in correlations.items() if np.isfinite(value)}
        seen = {name: (one[name], other[pairs[name]]) for name in first.layer_shapes if name in pairs}
        _refuse_strangers(seen, correlations)
    ordered = {name: pairs[name] for name in first.layer_shapes if name in pairs}
    partners = set(ordered.values())
    return Match(
        ordered,
        tuple(name for name in first.layer_shapes if name not in ordered),
        tuple(name for name in second.layer_shapes if name not in partners),
        {name: how[name] for name in ordered},
        {name: correlations[name] for name in ordered if name in correlations},
        {name: why for name, why in reasons[0].items() if name not in ordered},
        {name: why for name, why in reasons[1].items() if name not in partners},
    )


def with_reasons(names: Sequence[str], reasons: Mapping[str, str]) -> list[str]:
    """Layers without a partner, each with the reason in brackets where one is known."""
    return [f"{name} ({reasons[name]})" if name in reasons else name for name in names]


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


def _seen(model: TFLiteModel, images: Any) -> dict[str, NDArray[np.float32]]:
    """Activations of every layer; of large maps as many places as tell enough."""
    return {name: thinned(values) for name, values in model(images).items()}


def _refuse_few(first: TFLiteModel, second: TFLiteModel, pairs: Mapping[str, str]) -> None:
    """Files of one network share most layers, whatever their operators were merged to."""
    if not pairs:
        raise ValueError("before and after must have a layer in common. Received: files that share no layer")
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
