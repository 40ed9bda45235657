"""How far a classifier's confidence can be trusted, upright and under transformation, and what a temperature mends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

BINS = 15
"""Equal bins of confidence that the calibration error is computed over."""
TEMPERATURES = (0.05, 20.0)
"""Between these a temperature is sought."""
KEPT = 2**24
"""So many outputs of a model are kept, at most; beyond, those of every second, third, ... image."""
_FITTED = 2**21
"""A temperature is fitted on so many outputs, at most."""
_LEAST = 1e-7
"""Float probabilities below this count as this; those of 8 bits as half a step."""


@dataclass(frozen=True)
class Scores:
    """Logarithms of probabilities, up to a constant per image, of some of the images.

    Args:
        images: int64 `(N,)`, positions among all images.
        upright: float32 `(N, K)`.
        transformed: float32 `(N, T, K)`.
    """

    images: NDArray[np.int64]
    upright: NDArray[np.float32]
    transformed: NDArray[np.float32]


def as_logits(outputs: NDArray[Any], from_logits: bool, step: float = 0.0) -> NDArray[np.float32]:
    """Outputs `(..., K)` as logits of two classes or more; one unit gives two.

    Args:
        outputs: of a model.
        from_logits: whether they are logits already, rather than probabilities.
        step: of quantized probabilities, which below half a step are not known; 0 for floats.
    """
    values = np.asarray(outputs, np.float32)
    if not from_logits:
        least = max(step / 2, _LEAST)
        if values.shape[-1] == 1:
            values = np.concatenate([1 - values, values], axis=-1)
        return np.log(np.clip(values, least, 1.0))
    return np.concatenate([np.zeros_like(values), values], axis=-1) if values.shape[-1] == 1 else values


def negative_log_likelihood(
    logits: NDArray[Any], labels: NDArray[Any], temperature: float = 1.0
) -> NDArray[np.float64]:
    r"""How surprising the label of every image is: `-\log \mathrm{softmax}(f / \tau)_y`.

    Example:
        >>> import numpy as np
        >>> from tfinv.tflite.comparison.confidence import negative_log_likelihood
        >>> negative_log_likelihood(np.log([[0.25, 0.75]]), np.array([0])).round(4).tolist()
        [1.3863]

    Args:
        logits: `(N, K)`.
        labels: int `(N,)`.
        temperature: logits are divided by it.

    Returns:
        float64 `(N,)`.
    """
    scaled = np.asarray(logits, np.float64) / temperature
    largest = scaled.max(axis=-1, keepdims=True)
    total = np.log(np.exp(scaled - largest).sum(axis=-1)) + largest[:, 0]
    return total - scaled[np.arange(len(scaled)), labels]


def expected_calibration_error(
    logits: NDArray[Any], labels: NDArray[Any], temperature: float = 1.0, bins: int = BINS
) -> float:
    r"""How far confidence and accuracy lie apart, over bins of confidence.

        ECE = \sum_b \frac{n_b}{N} \left| acc_b - conf_b \right|

    Example:
        >>> import numpy as np
        >>> from tfinv.tflite.comparison.confidence import expected_calibration_error
        >>> float(round(expected_calibration_error(np.log([[0.2, 0.8], [0.2, 0.8]]), np.array([1, 0])), 4))
        0.3

    Args:
        logits: `(N, K)`.
        labels: int `(N,)`.
        temperature: logits are divided by it.
        bins: B equal bins of confidence in (0, 1]; a bound belongs to the bin below it.

    Source: Guo et al. 2017, "On calibration of modern neural networks".
    """
    scaled = np.asarray(logits, np.float64) / temperature
    chances = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    confidence = chances.max(axis=-1) / chances.sum(axis=-1)
    right = scaled.argmax(axis=-1) == labels
    places = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gap = np.bincount(places, right.astype(np.float64) - confidence, bins)
    return float(np.abs(gap).sum() / len(confidence))


def fit_temperature(logits: NDArray[Any], labels: NDArray[Any]) -> float:
    """The temperature under which the labels are least surprising.

    Example:
        >>> import numpy as np
        >>> from tfinv.tflite.comparison.confidence import fit_temperature
        >>> logits = 4 * np.log([[0.25, 0.75]] * 4)
        >>> round(fit_temperature(logits, np.array([0, 1, 1, 1])), 3)
        4.0

    Args:
        logits: `(N, K)`.
        labels: int `(N,)`.

    Returns:
        A number within `TEMPERATURES`; above 1 the model is too sure.

    Source: Guo et al. 2017, "On calibration of modern neural networks", section 4.2.
    """
    from scipy.optimize import minimize_scalar

    stride = max(1, -(-logits.size // _FITTED))
    some, known = logits[::stride], labels[::stride]

    def loss(logarithm: float) -> float:
        return float(negative_log_likelihood(some, known, float(np.exp(logarithm))).mean())

    found: Any = minimize_scalar(loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def calibration_table(
    scores: Mapping[str, Scores], labels: NDArray[np.int64], names: list[str], moved: NDArray[np.bool_]
) -> pd.DataFrame:
    """Calibration of every model upright and under each transformation, as it is and with one temperature.

    A temperature is fitted on every second of the images and used on the others, and the other way round, so that it is
    never judged by images that it was fitted on.

    Args:
        scores: of every model.
        labels: int `(S,)`, of all images.
        names: of the transformations.
        moved: bool `(T,)`, the transformations that the second temperature is fitted on.

    Returns:
        One row a model and image set: `model, number` (-1 upright), `transformation`; `is_moved`, whether
        the second temperature is fitted on it; `accuracy`; `ece, nll` as the model
        is; `ece_upright_fit, nll_upright_fit` with the temperature fitted on upright images, `ece_transformed_fit,
        nll_transformed_fit` with that fitted on transformed ones; both temperatures, `temperature_upright,
        temperature_transformed`, fitted on all images; `images`, their number.
    """
    import pandas as pd

    rows = []
    for model, given in scores.items():
        truth = labels[given.images]
        if len(truth) < 4:
            continue
        fitted = {"upright": _both_ways(given.upright[:, None], truth)}
        fitted["transformed"] = _both_ways(given.transformed[:, moved], truth)
        sets = [(-1, "upright", given.upright)]
        sets += [(number, name, given.transformed[:, number]) for number, name in enumerate(names)]
        for number, name, logits in sets:
            row: dict[str, Any] = {"model": model, "number": number, "transformation": name}
            row["is_moved"] = bool(number >= 0 and moved[number])
            row["accuracy"] = float((logits.argmax(axis=-1) == truth).mean())
            row |= {"ece": expected_calibration_error(logits, truth)}
            row |= {"nll": float(negative_log_likelihood(logits, truth).mean())}
            for way, (_, halves) in fitted.items():
                scaled = logits / np.where(np.arange(len(truth)) % 2 == 0, halves[1], halves[0])[:, None]
                row[f"ece_{way}_fit"] = expected_calibration_error(scaled, truth)
                row[f"nll_{way}_fit"] = float(negative_log_likelihood(scaled, truth).mean())
            row |= {f"temperature_{way}": overall for way, (overall, _) in fitted.items()}
            rows.append(row | {"images": len(truth)})
    return pd.DataFrame(rows)


def _both_ways(logits: NDArray[Any], labels: NDArray[np.int64]) -> tuple[float, tuple[float, float]]:
    """Temperatures fitted on all images, and on the even and on the odd ones; logits `(N, T, K)`."""

    def fit(part: slice) -> float:
        some = logits[part]
        return fit_temperature(some.reshape(-1, some.shape[-1]), np.repeat(labels[part], some.shape[1]))

    return fit(slice(None)), (fit(slice(0, None, 2)), fit(slice(1, None, 2)))
