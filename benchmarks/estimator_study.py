"""Which number of a layer converges: candidates against simulated units of known truth and a real network.

    python benchmarks/estimator_study.py simulate docs/estimators.json
    TFINV_DATA=... python benchmarks/estimator_study.py resnet docs/estimators.json

A part replaces its own entry of the JSON file and leaves the others. All draws are seeded. Duration on 2 cores:
`simulate` about 1 minute, `resnet` about 5 minutes.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
SHARES = (1.0, 0.2, 0.05, 0.01, 0.005, 0.002)
SIZES = ((30, 2), (30, 16), (30, 64), (250, 2), (250, 16), (250, 64), (3000, 2), (3000, 16), (3000, 64))
UNITS = 200


def dispersions(block: Array) -> dict[str, Array]:
    """Means over samples and over transformations of variances and of deviations, ddof = 1, of `(S, T, units)`."""
    rows, columns = block.var(axis=1, ddof=1), block.var(axis=0, ddof=1)
    samples, transformations = block.shape[:2]
    means = block.mean(axis=1).var(axis=0, ddof=1) * transformations
    shifts = block.mean(axis=0).var(axis=0, ddof=1) * samples
    error = (rows.sum(axis=0) * (transformations - 1) - shifts * (transformations - 1)) / (
        (samples - 1) * (transformations - 1)
    )
    return {
        "row_variance": rows.mean(axis=0),
        "column_variance": columns.mean(axis=0),
        "row_std": np.sqrt(rows).mean(axis=0),
        "column_std": np.sqrt(columns).mean(axis=0),
        "icc": (means - error)
        / np.maximum(
            means + (transformations - 1) * error + transformations * (shifts - error) / samples,
            np.finfo(np.float64).tiny,
        ),
    }


def ratios(units: dict[str, Array]) -> tuple[Array, Array, Array, Array]:
    """Quotients of deviations and of variances of the valid units, and these units' two variances."""
    valid = units["column_variance"] > 0
    rows, columns = units["row_variance"][valid], units["column_variance"][valid]
    return units["row_std"][valid] / units["column_std"][valid], rows / columns, rows, columns


def trimmed(values: Array) -> float:
    """Mean without the lowest and the highest 5 %, counted in whole units."""
    values, cut = np.sort(values), int(0.05 * len(values))
    return float(values[cut : len(values) - cut].mean())


CANDIDATES: dict[str, Callable[[Array, Array, Array, Array], float]] = {
    "mean of quotients of mean std": lambda s, q, r, c: float(s.mean()),
    "mean of q": lambda s, q, r, c: float(q.mean()),
    "median of q": lambda s, q, r, c: float(np.median(q)),
    "q, trimmed by 5 % at both ends": lambda s, q, r, c: trimmed(q),
    "pooled": lambda s, q, r, c: float(r.sum() / c.sum()),
    "root of pooled": lambda s, q, r, c: float(np.sqrt(r.sum() / c.sum())),
    "mean of root q": lambda s, q, r, c: float(np.sqrt(q).mean()),
    "mean of root q, trimmed by 5 % at both ends": lambda s, q, r, c: trimmed(np.sqrt(q)),
    "mean share q / (1 + q)": lambda s, q, r, c: float((q / (1 + q)).mean()),
}


def candidates(units: dict[str, Array]) -> dict[str, float]:
    """Every candidate's number of one layer."""
    parts = ratios(units)
    return {name: function(*parts) for name, function in CANDIDATES.items()}


def unit_kinds() -> dict[str, Callable[[np.random.Generator, int, int, int], Array]]:
    """Simulated units `(S, T, units)` by name; none of the first two groups is invariant."""

    def sparse(share: float) -> Callable[[np.random.Generator, int, int, int], Array]:
        def draw(rng: np.random.Generator, samples: int, transformations: int, units: int) -> Array:
            shape = (samples, transformations, units)
            return np.abs(rng.normal(size=shape)) * (rng.random(shape) < share)

        return draw

    def half(rng: np.random.Generator, samples: int, transformations: int, units: int) -> Array:
        noise = rng.normal(size=(samples, transformations, units))
        return rng.normal(size=(samples, 1, units)) * np.sqrt(3) + noise

    return {
        **{f"fires at random, {100 * share:g} %": sparse(share) for share in SHARES},
        "log-normal, sigma 1.5": lambda rng, s, t, n: rng.lognormal(0, 1.5, (s, t, n)),
        "half (noise of half the total deviation)": half,
        "exactly invariant": lambda rng, s, t, n: np.repeat(rng.normal(size=(s, 1, n)), t, axis=1),
    }


def simulate() -> dict[str, Any]:
    """Mean and standard error over units of the candidates that are means, and all candidates' layer number."""
    table, rng = [], np.random.default_rng(0)
    for name, draw in unit_kinds().items():
        for samples, transformations in SIZES:
            chunks = [dispersions(draw(rng, samples, transformations, UNITS // 4)) for _ in range(4)]
            joined = {key: np.concatenate([chunk[key] for chunk in chunks]) for key in chunks[0]}
            roots = np.sqrt(ratios(joined)[1])
            icc = joined["icc"][joined["column_variance"] > 0]
            row = {"unit": name, "S": samples, "T": transformations, "valid": len(roots)}
            row |= {key: round(value, 4) for key, value in candidates(joined).items()}
            row |= {"1 - ICC(2, 1)": round(float(1 - icc.mean()), 4)}
            row |= {"standard error of the mean of root q": round(float(roots.std(ddof=1) / np.sqrt(len(roots))), 5)}
            table.append(row)
            print(row, flush=True)
    return {"units": UNITS, "rows": table, "outlier": outlier(rng)}


def outlier(rng: np.random.Generator) -> dict[str, float]:
    """Relative change of a layer of 64 units of q about 0.25 when one unit of q = 400 joins it."""
    noise, signal = rng.normal(size=(250, 16, 64)), rng.normal(size=(250, 1, 64)) * np.sqrt(3)
    clean = dispersions(signal + noise)
    scale = 0.01  # A nearly dead unit is small, too.
    other = {"row_variance": 400 * scale, "column_variance": scale, "row_std": 20 * scale**0.5}
    other |= {"column_std": scale**0.5, "icc": 0.0}
    more = {key: np.append(value, other[key]) for key, value in clean.items()}
    before, after = candidates(clean), candidates(more)
    return {name: round(after[name] / before[name] - 1, 4) for name in before}


def cifar(count: int) -> Array:
    """Test images in a seeded order, 0..255."""
    from PIL import Image

    with tarfile.open(Path(os.environ["TFINV_DATA"]) / "cifar10" / "cifar10_jpeg_test10000.tar.xz") as archive:
        members = [one for one in archive.getmembers() if one.name.endswith((".jpg", ".jpeg"))]
        files = {one.name: archive.extractfile(one).read() for one in members}  # type: ignore[union-attr]
    names = sorted(files)
    order = np.random.default_rng(0).permutation(len(names))[:count]
    return np.stack([np.asarray(Image.open(io.BytesIO(files[names[k]])).convert("RGB"), np.float32) for k in order])


Numbers = dict[str, dict[str, float]]
"""By layer the layer's number, by candidate."""


def layer_numbers(model: Any, images: Array) -> Numbers:
    """What every candidate says of every layer of a network under 16 rotations."""
    import tfinv

    measures = [
        tfinv.measures.TransformationVariance("variance"),
        tfinv.measures.SampleVariance("variance"),
        tfinv.measures.TransformationVariance("std"),
        tfinv.measures.SampleVariance("std"),
    ]
    names = ("row_variance", "column_variance", "row_std", "column_std")
    results = tfinv.evaluate(model, images, "rotations(16)", measures, progress=False)
    by_name = dict(zip(names, (results[measure] for measure in measures), strict=True))
    return {
        layer: candidates({name: by_name[name][layer].values.ravel() for name in names}) for layer in results.layers
    }


def worst_layers(numbers: Numbers, truth: Numbers) -> dict[str, float]:
    """By candidate the largest relative error of a layer."""
    return {
        name: round(max(abs(numbers[layer][name] / truth[layer][name] - 1) for layer in truth), 4)
        for name in CANDIDATES
    }


def resnet(*, reference: int = 1200, draws: tuple[tuple[int, int], ...] = ((40, 10), (150, 3))) -> dict[str, Any]:
    """The worst layer of MLPerf's float ResNet-8 in every draw, against the reference; the draws are other images."""
    from tfinv.tflite import TFLiteModel

    path = Path(os.environ["TFINV_DATA"]) / "models" / "ic_resnet8" / "float.tflite"
    model, images = TFLiteModel(str(path)), cifar(reference + sum(size * times for size, times in draws))
    truth, start = layer_numbers(model, images[:reference]), reference
    result: dict[str, Any] = {"reference": reference, "layers": len(truth), "worst": {}}
    result["numbers"] = {layer: {name: round(v, 4) for name, v in row.items()} for layer, row in truth.items()}
    for size, times in draws:
        worst: dict[str, list[float]] = {name: [] for name in CANDIDATES}
        for _ in range(times):
            for name, error in worst_layers(layer_numbers(model, images[start : start + size]), truth).items():
                worst[name].append(error)
            start += size
            print(size, {name: values[-1] for name, values in worst.items()}, flush=True)
        result["worst"][str(size)] = worst
    return result


def pairs(*, seeds: int = 3, size: int = 40, draws: int = 3, most: int = 1000) -> dict[str, Any]:
    """SimpleConv trained upright and with rotations: errors of few images, and whether they rank the two as many do.

    Args:
        seeds: pairs of networks of every data set.
        size: images in a draw.
        draws: of every pair.
        most: images of the reference at most; the draws are other images.
    """
    from tfinv import datasets, models
    from tfinv.training import train
    from tfinv.transformations import AffineAugmentation

    result: dict[str, Any] = {}
    options: dict[str, Any]
    for data_name, options, epochs in (
        ("mnist", {}, 2),
        ("lsa16", {"size": 32, "channels": 1}, 12),
        ("cifar10", {}, 3),
    ):
        data = datasets.load(data_name, **options)
        few = data.train.subset(min(len(data.train), 4000), seed=0)
        images = np.concatenate([data.test.x, data.train.x]) if len(data.test) < most else data.test.x
        images = images[np.random.default_rng(0).permutation(len(images))]
        count = min(most, len(images) - size * draws)
        errors: dict[str, list[float]] = {name: [] for name in CANDIDATES}
        agree: dict[str, list[bool]] = {name: [] for name in CANDIDATES}
        for seed in range(seeds):
            networks = []
            for augmentation in (None, AffineAugmentation(rotation=180, seed=seed)):
                width: dict[str, Any] = {"filters": 8, "dense": 32}
                model = models.build("simple_conv", data.train.x.shape[1:], len(data.classes), seed=seed, **width)
                many = epochs * (1 if augmentation is None else 2)
                train(model, few, epochs=many, seed=seed, augmentation=augmentation, progress=False)
                networks.append(model)
            truths = [layer_numbers(model, images[:count]) for model in networks]
            for start in range(count, count + size * draws, size):
                drawn = [layer_numbers(model, images[start : start + size]) for model in networks]
                for numbers, truth in zip(drawn, truths, strict=True):
                    for name, error in worst_layers(numbers, truth).items():
                        errors[name].append(error)
                for layer in truths[0]:
                    for name in CANDIDATES:
                        before, after = (numbers[layer][name] for numbers in drawn)
                        old, new = (truth[layer][name] for truth in truths)
                        agree[name].append((after < before) == (new < old))
            print(data_name, seed, {name: max(values) for name, values in errors.items()}, flush=True)
        result[data_name] = {
            "images": count,
            "worst": {name: {"median": float(np.median(v)), "largest": max(v)} for name, v in errors.items()},
            "agree": {name: round(float(np.mean(v)), 3) for name, v in agree.items()},
        }
    return result


def mobilenet(*, reference: int = 400, size: int = 40, draws: int = 5) -> dict[str, Any]:
    """The worst layer of MLPerf's float MobileNet for visual wake words in every draw."""
    import keras

    from tfinv.tflite import TFLiteModel

    folder = Path(os.environ["TFINV_DATA"]) / "models" / "vww_mobilenet_v1"
    images = np.asarray(keras.ops.image.resize(cifar(reference + size * draws), (96, 96)), np.float32) / 255
    model = TFLiteModel(str(folder / "float.tflite"))
    truth = layer_numbers(model, images[:reference])
    worst: dict[str, list[float]] = {name: [] for name in CANDIDATES}
    for start in range(reference, reference + size * draws, size):
        for name, error in worst_layers(layer_numbers(model, images[start : start + size]), truth).items():
            worst[name].append(error)
        print({name: values[-1] for name, values in worst.items()}, flush=True)
    return {"reference": reference, "layers": len(truth), "worst": worst}


def main() -> None:
    """Run one part and write its entry."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", choices=["simulate", "resnet", "pairs", "mobilenet"])
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    parts = {"simulate": simulate, "resnet": resnet, "pairs": pairs, "mobilenet": mobilenet}
    results = json.loads(options.output.read_text()) if options.output.exists() else {}
    results[options.part] = parts[options.part]()
    options.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
