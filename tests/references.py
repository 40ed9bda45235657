"""Float64 references in NumPy, written from the formulas and sharing no code with the library."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


# --- warps -----------------------------------------------------------------------------------------------------------


def rotation(degrees: float) -> Array:
    """The 2x2 matrix that turns content counter-clockwise where x points right and y down."""
    angle = np.radians(degrees)
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def warp(
    image: Array, linear: Array, shift: Array, kernel: str = "bilinear", padding: str = "constant", fill: float = 0.0
) -> Array:
    """The image `(H, W, C)` whose content was moved by `p -> linear p + shift`, `p = (x, y)` in pixels from the centre.

    Every output pixel solves for the point that it came from and sums the kernel over the pixel lattice around it.
    """
    image = np.asarray(image, np.float64)
    height, width, _ = image.shape
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    reach = {"nearest": 1, "bilinear": 1, "cubic": 2}[kernel]
    out = np.zeros_like(image)
    for row, column in np.ndindex(height, width):
        x, y = np.linalg.solve(linear, np.array([column, row]) - centre - shift) + centre
        for i in range(int(np.floor(y)) - reach + 1, int(np.floor(y)) + reach + 1):
            for j in range(int(np.floor(x)) - reach + 1, int(np.floor(x)) + reach + 1):
                weight = KERNELS[kernel](y - i) * KERNELS[kernel](x - j)
                out[row, column] += weight * _pixel(image, i, j, padding, fill)
    return out


def keys_cubic(distance: float) -> float:
    """Keys' convolution kernel (1981, equation 15), in the form with the parameter a = -1/2."""
    a, s = -0.5, abs(distance)
    if s <= 1:
        return (a + 2) * s**3 - (a + 3) * s**2 + 1
    return a * s**3 - 5 * a * s**2 + 8 * a * s - 4 * a if s < 2 else 0.0


KERNELS = {
    "nearest": lambda distance: float(-0.5 <= distance < 0.5),
    "bilinear": lambda distance: max(0.0, 1 - abs(distance)),
    "cubic": keys_cubic,
}


def _pixel(image: Array, row: int, column: int, padding: str, fill: float) -> Array:
    height, width, channels = image.shape
    if padding == "constant":
        inside = 0 <= row < height and 0 <= column < width
        return image[row, column] if inside else np.full(channels, fill)
    if padding == "nearest":
        return image[min(max(row, 0), height - 1), min(max(column, 0), width - 1)]
    return image[_reflected(row, height), _reflected(column, width)]


def _reflected(index: int, size: int) -> int:
    """Walk back and forth over `0 .. size - 1`, each end standing twice."""
    there_and_back = [*range(size), *reversed(range(size))]
    return there_and_back[index % (2 * size)]


def smooth_images(rng: np.random.Generator, shape: tuple[int, int, int, int], waves: int = 2) -> Array:
    """Images `(S, H, W, C)` of a few random waves, no shorter than `1 / waves` of the longer side, in about [-1, 1]."""
    samples, height, width, channels = shape
    y, x = np.mgrid[:height, :width] / max(height, width)
    frequency = rng.uniform(-waves, waves, (2, 6, samples, channels))
    phase = rng.uniform(0, 2 * np.pi, (6, samples, channels))
    grid = np.einsum("dhw,dksc->kshwc", np.stack([y, x]), frequency)
    return np.cos(2 * np.pi * grid + phase[:, :, None, None, :]).mean(axis=0)


# --- measures: A is (S, T, *U) ----------------------------------------------------------------------------------------


def row_dispersion(a: Array, statistic: str = "std") -> Array:
    """`mean_s D_j A[s, j]`, one sample at a time."""
    dispersion = {"std": np.std, "variance": np.var}[statistic]
    return np.mean([dispersion(np.asarray(row, np.float64), axis=0, ddof=1) for row in a], axis=0)


def column_dispersion(a: Array, statistic: str = "std") -> Array:
    """`mean_j D_s A[s, j]`, one transformation at a time."""
    return row_dispersion(np.swapaxes(a, 0, 1), statistic)


def normalized_variance(a: Array) -> Array:
    """Roots of the mean variance over transformations in units of that over samples; NaN for 0/0."""
    rows, columns = row_dispersion(a, "variance"), column_dispersion(a, "variance")
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(rows / columns)


def sparse_units(a: Array, bound: float = 0.45) -> NDArray[np.bool_]:
    """Which units of `(S, T, *U)` too few samples move: the relative standard error over samples is above the bound."""
    a = np.asarray(a, np.float64)
    deviations = a.std(axis=1, ddof=1)
    mean = deviations.mean(axis=0)
    error = np.divide(deviations.std(axis=0), mean, out=np.zeros_like(mean), where=mean > 0) / np.sqrt(len(a))
    return error > bound


def masked_variances(aligned: Array) -> tuple[Array, Array]:
    """Mean variances over transformations and over samples of maps `(S, T, H, W)`, NaN outside the frame.

    One position after the other; NaN where fewer than two transformations show a position.
    """
    rows, columns = np.full(aligned.shape[2:], np.nan), np.full(aligned.shape[2:], np.nan)
    for place in np.ndindex(rows.shape):
        matrix = aligned[(slice(None), slice(None), *place)]
        shown = matrix[:, ~np.isnan(matrix[0])]
        if shown.shape[1] >= 2:
            rows[place], columns[place] = row_dispersion(shown, "variance"), column_dispersion(shown, "variance")
    return rows, columns


def layer_number(values: Array, share: float = 0.05) -> float:
    """Mean of finite values, dropping the smallest and the largest `share` of them one by one."""
    left = sorted(float(value) for value in np.ravel(values) if np.isfinite(value))
    for _ in range(int(share * len(left))):
        left.remove(min(left))
        left.remove(max(left))
    return float(np.mean(left)) if left else float("nan")


def pair_distance(vectors: Array, metric: str = "euclidean") -> float:
    """Mean distance over all pairs of `(n, d)` vectors, pair by pair."""
    vectors = np.asarray(vectors, np.float64)
    squared = [np.sum((x - y) ** 2) for i, x in enumerate(vectors) for y in vectors[i + 1 :]]
    return float(np.mean(np.sqrt(squared) if metric == "euclidean" else squared))


def row_distance(a: Array, metric: str = "euclidean", *, per_map: bool = False, normalize: bool = False) -> Array:
    """`mean_s mean_{i<j} d(A[s, i], A[s, j])` of single units `(*U)` or of maps `(C,)`."""
    a = np.asarray(a, np.float64)
    if not per_map:
        flat = a.reshape(*a.shape[:2], -1)
        distances = [[pair_distance(row[:, unit, None], metric) for unit in range(flat.shape[2])] for row in flat]
        return np.mean(distances, axis=0).reshape(a.shape[2:])
    maps = np.moveaxis(a, -1, 0).reshape(a.shape[-1], *a.shape[:2], -1)
    if normalize:
        norms = np.linalg.norm(maps, axis=-1, keepdims=True)
        maps = np.divide(maps, norms, out=np.zeros_like(maps), where=norms > 0)
    return np.array([np.mean([pair_distance(row, metric) for row in one]) for one in maps])


def column_distance(a: Array, metric: str = "euclidean", **options: bool) -> Array:
    """`mean_j mean_{r<s} d(A[r, j], A[s, j])`."""
    return row_distance(np.swapaxes(a, 0, 1), metric, **options)


def goodfellow(a: Array, untransformed: Array, percentile: float, sign: int = 1, top: int | None = None) -> Array:
    """Local over global firing rate, unit by unit; `nan` where a unit never fires. The values must differ."""
    samples, count = a.shape[:2]
    columns = np.asarray(untransformed, np.float64).reshape(samples, -1)
    scores = []
    for unit, column in enumerate(sign * columns.T):
        descending = np.argsort(-column)
        firing = min(max(1, int(np.ceil(percentile * samples - 1e-9))), samples - 1)
        threshold = column[descending[firing]]
        overall = np.mean(column > threshold)
        favourites = descending[: top or firing]
        rates = [np.mean(sign * a[s].reshape(count, -1)[:, unit] > threshold) for s in favourites]
        scores.append(np.mean(rates) / overall if overall else np.nan)
    return np.reshape(scores, a.shape[2:])


def softmax(logits: Array) -> Array:
    """Over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def effective_invariance(logits: Array, untransformed: Array) -> Array:
    """`mean_s sqrt(p_s p_sj)` where the class survives, else 0: `(T,)`."""
    invariance = np.zeros(logits.shape[:2])
    for s, j in np.ndindex(invariance.shape):
        before, after = softmax(untransformed[s]), softmax(logits[s, j])
        invariance[s, j] = np.sqrt(before.max() * after.max()) if before.argmax() == after.argmax() else 0.0
    return invariance.mean(axis=0)
