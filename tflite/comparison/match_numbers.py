"""How alike the activations of two layers are, and pairs of layers that only their numbers tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfinv.tflite.files.model import TFLiteModel

SAME_LAYER = 0.2
"""Least correlation of a pair that was found by position or shape rather than by name."""
ROWS = 2**15
"""Images and places at which a layer is compared, about; more tell nothing else."""
FEW_ROWS = 2**11
"""The same where many layers are compared with many."""
_SURE = 0.9
"""Least correlation of a pair that is found by numbers alone."""


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


def thinned(values: NDArray[np.float32], rows: int = ROWS) -> NDArray[np.float32]:
    """Every so many-th of the images and places of an activation `(N, *U)`, as `(rows, channels)`.

    Args:
        values: the activation.
        rows: how many to keep, about.
    """
    flat = values.reshape(-1, values.shape[-1])
    step = max(1, len(flat) // rows)
    return flat[:: step + 1 - step % 2].copy()  # an odd step does not stay in some columns of the usual sizes


def by_numbers(
    first: TFLiteModel,
    second: TFLiteModel,
    seen: tuple[Mapping[str, NDArray[np.float32]], Mapping[str, NDArray[np.float32]]],
    pairs: dict[str, str],
    correlations: dict[str, float],
) -> tuple[dict[str, tuple[str, float]], tuple[dict[str, str], dict[str, str]]]:
    """Pairs of layers that names and order left over, or paired wrongly, and why others have none.

    Args:
        first: the first file.
        second: the second.
        seen: activations of both by layer.
        pairs: those known; pairs that are wrong are taken out where a better one exists.
        correlations: of the pairs known, taken out likewise.

    Returns:
        Partner and correlation by layer of the first file, and reasons by layer of each file.
    """
    doubtful = {name: partner for name, partner in pairs.items() if correlations[name] < SAME_LAYER}
    taken = {partner for name, partner in pairs.items() if name not in doubtful}
    left = [name for name in first.layer_shapes if name not in pairs or name in doubtful]
    right = [name for name in second.layer_shapes if name not in taken]
    places = [{name: place for place, name in enumerate(model.layer_shapes)} for model in (first, second)]
    alike = {
        (name, other): correlation(thinned(seen[0][name], FEW_ROWS), thinned(seen[1][other], FEW_ROWS))
        for name in left
        for other in right
        if first.layer_shapes[name] == second.layer_shapes[other]
    }

    def rank(pair: tuple[str, str]) -> tuple[float, bool, int]:
        """Best first: by correlation, and among nearly equal ones by operator and by depth."""
        name, other = pair
        same = first.layer_ops[name] == second.layer_ops[other]
        return -round(alike[pair], 2), not same, abs(places[0][name] - places[1][other])

    chosen: dict[str, tuple[str, float]] = {}
    for name, other in sorted((pair for pair, value in alike.items() if value >= _SURE), key=rank):
        if name not in chosen and other not in {partner for partner, _ in chosen.values()}:
            chosen[name] = other, alike[name, other]
    for name, partner in doubtful.items():
        if name in chosen or partner in {other for other, _ in chosen.values()}:
            del pairs[name], correlations[name]
    reasons = tuple(
        {
            name: _why_none(
                name, model, [(pair[1 - side], value) for pair, value in alike.items() if pair[side] == name]
            )
            for name in names
        }
        for side, model, names in ((0, first, left), (1, second, right))
    )
    return chosen, (reasons[0], reasons[1])


def _why_none(name: str, model: TFLiteModel, candidates: Sequence[tuple[str, float]]) -> str:
    """Why a layer has no partner."""
    known = [(other, value) for other, value in candidates if np.isfinite(value)]
    if known:
        other, value = max(known, key=lambda candidate: candidate[1])
        return f"most like {other}, by a correlation of {value:.2f}"
    if candidates:
        return "it does not vary on these images"
    return f"{model.layer_ops[name]}, the other file has no layer of its shape {model.layer_shapes[name]} left"
