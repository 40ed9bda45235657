"""The main job: does rotation augmentation make a network invariant, in which layers, and does int8 keep it so.

``python -m tfinv.run`` without arguments: a small network is trained twice on real handwritten digits, plain and with
random rotations; the rotation invariance of every layer of both is measured; the augmented one is converted to TFLite
and measured again. Expected: the augmented network's normalized variance is clearly lower at the output, its accuracy
under rotation clearly higher, and int8 changes neither by much. The activation is ReLU, as in the first version of the
network: ELU has no integer kernel and would stay float.

Duration on 2 cores: preset cpu under 2 minutes, smoke half a minute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.experiment import Experiment, Run
from tfinv.measures.worst_case import at_least
from tfinv.resampling.shares import wilson
from tfinv.results import Results
from tfinv.support.files import write_json
from tfinv.uncertainty import difference

if TYPE_CHECKING:
    import pandas as pd

    from tfinv.datasets import Dataset
    from tfinv.transformations import TransformationSet

MEASURE = "NormalizedVariance"
QUANTIZED = ("float32", "dynamic_int8", "static_int8")


@dataclass
class _Network:
    """One measured network, Keras or TFLite."""

    name: str
    results: Results
    right: np.ndarray
    kib: float | None = None
    latency_ms: float | None = None

    @property
    def accuracy(self) -> np.ndarray:
        """Under each transformation."""
        return self.right.mean(axis=0)

    @property
    def worst_case(self) -> tuple[float, float, float]:
        """Share of images that are right under every transformation, and its 95 % interval."""
        always: np.ndarray = np.all(self.right, axis=1)
        return float(always.mean()), *wilson(int(always.sum()), len(always))

    @property
    def profile(self) -> pd.DataFrame:
        return self.results[MEASURE].profile()


def answer(run: Run) -> None:
    """Train, measure, quantize, measure again, report."""
    from tfinv.transformations import parse

    data = run.dataset(run.settings.dataset)
    transformations = parse(run.settings.transformations)
    plain = _keras(run, data, transformations, "plain", None)
    augmented = _keras(run, data, transformations, "augmented", {"rotation": 180.0})
    quantized = [_tflite(run, data, transformations, recipe) for recipe in QUANTIZED]
    networks = [plain, augmented, *quantized]
    for network in networks:
        network.results.save(run.out / "results" / f"{network.name.replace(' ', '_')}.npz")
    run.save_table(_profiles(networks), "profile")
    run.save_table(_accuracies(networks, transformations), "accuracy")
    summary = _summary(networks, transformations)
    run.save_table(summary, "networks")
    headlines = _headlines(plain, augmented, quantized, transformations, data.num_classes)
    write_json(run.out / "summary.json", {"headlines": headlines, "networks": _json_rows(summary)})
    _report(run, data, transformations, networks, summary, headlines)
    _print(plain, augmented, summary, headlines)


def _training(run: Run) -> dict[str, Any]:
    return {"epochs": run.settings.epochs, "learning_rate": 5e-3, "schedule": "cosine", "batch_size": 64}


def _trained(run: Run, data: Dataset, augmentation: Any) -> Any:
    return run.trained(
        "simple_conv",
        data,
        augmentation=augmentation,
        options={"filters": run.settings.filters, "dense": run.settings.dense, "activation": "relu"},
        **_training(run),
    )


def _measure(run: Run, model: Any, data: Dataset, transformations: TransformationSet) -> Results:
    test = data.test if run.settings.samples is None else data.test.subset(run.settings.samples, run.seed)
    samples = f"{data.id} test {len(test)} seed {run.seed}"
    return run.measured(model, test, transformations.id, [MEASURE], samples=samples, confidence=0.95)


def _keras(run: Run, data: Dataset, transformations: TransformationSet, name: str, augmentation: Any) -> _Network:
    from tfinv.training.accuracy import right_under

    model = _trained(run, data, augmentation)
    results = _measure(run, model, data, transformations)
    return _Network(name, results, right_under(model, data.test.x, _labels(data), transformations))


def _tflite(run: Run, data: Dataset, transformations: TransformationSet, recipe: str) -> _Network:
    from tfinv import tflite
    from tfinv.tflite.files.input_scale import input_scale
    from tfinv.training.accuracy import right_under

    keras_model = _trained(run, data, {"rotation": 180.0})
    materials = tflite.Materials(keras_model, data.train, transformations, input_scale("0..1"), 200, seed=run.seed)

    def make(folder: Any) -> None:
        run.say(f"converting the augmented network to TFLite {recipe}")
        made = tflite.RECIPES[recipe](materials)
        made.save(folder / "model.tflite")
        timed = tflite.latency(tflite.TFLiteModel(made))
        write_json(folder / "latency.json", {"milliseconds": timed.milliseconds, "text": str(timed)})

    config = {
        "model": keras_model.tfinv_config,
        "recipe": recipe,
        "calibration": len(materials.upright),
        "seed": run.seed,
    }

    def load(folder: Any) -> tuple[Any, float]:
        import json

        return (
            tflite.Conversion.load(folder / "model.tflite"),
            json.loads((folder / "latency.json").read_text())["milliseconds"],
        )

    conversion, milliseconds = run.cache.get("tflite", config, make, load)
    model = tflite.TFLiteModel(conversion, probe=False)
    results = _measure(run, model, data, transformations)
    right = right_under(model.predict, data.test.x, _labels(data), transformations)
    return _Network(f"TFLite {recipe}", results, right, conversion.size / 1024, milliseconds)


def _labels(data: Dataset) -> np.ndarray:
    if data.test.y is None:
        raise ValueError(f"dataset must have labels. Received: {data.name} without")
    return data.test.y


def _profiles(networks: list[_Network]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([network.profile.assign(network=network.name) for network in networks], ignore_index=True)


def _accuracies(networks: list[_Network], transformations: TransformationSet) -> pd.DataFrame:
    import pandas as pd

    degrees = [transformation.degrees for transformation in transformations]  # type: ignore[union-attr]
    frames = [
        pd.DataFrame({"model": network.name, "degrees": degrees, "accuracy": network.accuracy}) for network in networks
    ]
    return pd.concat(frames, ignore_index=True)


def _at_least(networks: list[_Network]) -> pd.DataFrame:
    """One row a network and k: the share of images that are right at k angles or more."""
    import pandas as pd

    frames = []
    for network in networks:
        samples, count = network.right.shape
        shares = at_least(np.bincount(network.right.sum(axis=1), minlength=count + 1).astype(np.float64))
        bounds = np.array([wilson(share * samples, samples) for share in shares])
        columns = {"at_least": range(1, count + 1), "accuracy": shares, "low": bounds[:, 0], "high": bounds[:, 1]}
        frames.append(pd.DataFrame(columns).assign(model=network.name))
    return pd.concat(frames, ignore_index=True)


def _upright(transformations: TransformationSet) -> int:
    return int(np.argmin([abs(transformation.degrees) for transformation in transformations]))  # type: ignore[union-attr]


def _summary(networks: list[_Network], transformations: TransformationSet) -> pd.DataFrame:
    import pandas as pd

    upright = _upright(transformations)
    rows = []
    for network in networks:
        output = network.profile["mean"].iloc[-1]
        rows.append(
            {
                "network": network.name,
                "accuracy upright": float(network.accuracy[upright]),
                "accuracy rotated": float(network.accuracy.mean()),
                "worst angle": float(network.accuracy.min()),
                "worst case": network.worst_case[0],
                "variance at output": float(output),
                "size KiB": network.kib,
                "latency ms": network.latency_ms,
            }
        )
    return pd.DataFrame(rows)


def _headlines(
    plain: _Network, augmented: _Network, quantized: list[_Network], transformations: TransformationSet, classes: int
) -> list[str]:
    """One sentence on augmentation and one on int8; none on what a network at chance does."""
    upright = _upright(transformations)
    at_chance = [
        f"The {network.name} network has learned nothing yet: its accuracy on upright images is "
        f"{network.accuracy[upright]:.1%}, and chance is {1 / classes:.1%}. Its invariance means nothing."
        for network in (plain, augmented)
        if network.accuracy[upright] <= 2 / classes
    ]
    if at_chance:
        return [*at_chance, "Train longer to see what augmentation and int8 do to invariance."][:2]
    merged = plain.profile.merge(augmented.profile, on="layer", suffixes=("_plain", "_augmented"))
    change = merged["mean_augmented"] / merged["mean_plain"] - 1
    output = merged.iloc[-1]
    before, after = output["mean_plain"], output["mean_augmented"]
    falls = after < before
    strongest = merged["layer"][change.sort_values(ascending=bool(falls)).index[:3]].tolist()
    first = (
        f"Augmentation {'lowers' if falls else 'raises'} the normalized variance at the output from {before:.2f} to "
        f"{after:.2f} ({abs(after / before - 1):.0%} {'more' if falls else 'less'} invariant), most in "
        f"{', '.join(strongest[:-1])} and {strongest[-1]}; accuracy over all rotations goes from "
        f"{plain.accuracy.mean():.1%} to {augmented.accuracy.mean():.1%}."
    )
    worst, low, high = augmented.worst_case
    first += (
        f" Right at every one of the {len(transformations)} angles: {plain.worst_case[0]:.1%} and {worst:.1%} "
        f"({low:.1%} to {high:.1%}) of the images."
    )
    reference, static = quantized[0], quantized[-1]
    change_int8 = difference(reference.results, static.results)
    relative = (change_int8["difference"] / change_int8["before"]).abs()
    bound = (change_int8[["low", "high"]].abs().max(axis=1) / change_int8["before"]).max()
    at = change_int8["layer"].iloc[int(relative.to_numpy().argmax())]
    real = int(change_int8["real"].sum())
    second = (
        f"Static int8 changes the normalized variance by {relative.max():.1%} at most (at {at}; within {bound:.1%} in "
        f"every layer, 95 % intervals; {real} of {len(change_int8)} layers beyond noise), accuracy over all rotations "
        f"by {100 * (static.accuracy.mean() - reference.accuracy.mean()):+.1f} points, at "
        f"{static.kib / reference.kib:.0%} of the size."  # type: ignore[operator]
    )
    return [first, second]


def _json_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [{str(key): value for key, value in row.items()} for row in rows]


def _report(
    run: Run,
    data: Dataset,
    transformations: TransformationSet,
    networks: list[_Network],
    summary: pd.DataFrame,
    headlines: list[str],
) -> None:
    from tfinv import plots
    from tfinv.report import Report, explain
    from tfinv.support import environment
    from tfinv.transformations import AffineAugmentation, warp

    plain, augmented, reference, *_, static = networks
    accuracies = _accuracies(networks, transformations)
    chosen = np.unique(np.linspace(0, len(transformations) - 1, 8).astype(int))
    shown = transformations[0:1] if len(transformations) < 2 else [transformations[int(i)] for i in chosen]
    first = [int(np.flatnonzero(data.test.y == label)[0]) for label in range(4)]
    grid = np.asarray(warp(data.test.x[first], shown))
    draws = np.asarray(AffineAugmentation(rotation=180.0, seed=run.seed).preview(data.train.x[:3], 8))
    labels = [transformations.labels[int(i)] for i in chosen]
    figures = {
        "transformations": plots.image_grid(grid, [data.classes[label] for label in range(4)], labels),
        "augmentation": plots.image_grid(draws),
        "right_at_least": plots.accuracy_curve(
            _at_least([plain, augmented, static]), "at_least", y_label="share of images",
            x_label="right at this many angles or more",
        ),
        "accuracy": plots.accuracy_curve(
            accuracies[accuracies["model"].isin(["plain", "augmented", static.name])], chance=1 / data.num_classes
        ),
        "profile": plots.profile({network.name: network.results for network in (plain, augmented)}, MEASURE),
        "heatmap_plain": plots.heatmap(plain.results[MEASURE]),
        "heatmap_augmented": plots.heatmap(augmented.results[MEASURE]),
        "quantization": plots.before_after(
            reference.profile, static.profile, difference(reference.results, static.results),
            names=("TFLite float32", "TFLite static int8"), y_label="normalized variance",
        ),
    }  # fmt: skip
    captions = {
        "transformations": "Test images under some of the transformations. A network is invariant if it does not care.",
        "augmentation": "What the augmented network sees in training: each image turned at random, anew every time.",
        "accuracy": "Accuracy when all test images are turned by the same angle. The plain network only knows upright "
        "digits; 6 and 9 cannot be told apart upside down, so nothing reaches 100 % at every angle.",
        "right_at_least": "Images that are classified right at this many angles or more. At the right end the "
        "worst case: right at all of them. The mean of a curve is the mean accuracy.",
        "profile": "Normalized variance by layer, input side left, output right. **Lower is more invariant.** Bands "
        "are 95 % intervals over samples. Where the curves part is where augmentation put the invariance.",
        "heatmap_plain": "Every unit of the plain network: one column per layer, units sorted by their value.",
        "heatmap_augmented": "The same for the augmented network.",
        "quantization": "The augmented network as TFLite, before and after quantization to 8-bit integers.",
    }
    for name, figure in figures.items():
        run.save_figure(figure, name)
    report = Report(
        "Where does a network become invariant to rotation, and does int8 keep it?",
        f"{data.name}: {len(data.train)} training and {len(data.test)} test images, {len(transformations)} rotations, "
        f"seed {run.seed}",
    ).verdict(headlines)
    percent = dict.fromkeys(("accuracy upright", "accuracy rotated", "worst angle", "worst case"), "{:.1%}")
    formats = {**percent, "variance at output": ".3f", "size KiB": ".1f", "latency ms": ".3f"}
    report.section(
        "The networks",
        "`accuracy rotated` is the mean over all rotations, `worst angle` the lowest. "
        "`worst case`: images that are right at every angle.",
    )
    report.table(
        summary, "All networks on the same test images. Latency: one image, one thread, this machine.", formats
    )
    sections = {
        "The task": ("transformations", "augmentation"),
        "Accuracy against angle": ("accuracy", "right_at_least"),
        "Invariance by layer": ("profile", "heatmap_plain", "heatmap_augmented"),
        "What quantization changed": ("quantization",),
    }
    for title, names in sections.items():
        report.section(title)
        for name in names:
            report.figure(figures[name], captions[name], captions[name].replace("**", ""), name=name)
    frame = _profiles(networks)[["network", "layer", "mean", "std", "units", "valid", "dead"]]
    report.table(frame, "Normalized variance by network and layer", {"mean": ".3f", "std": ".3f"})
    report.glossary(
        explain(
            "layer profile", "normalized variance", "unit", "dead unit", "augmentation", "static int8", "dynamic int8",
            "calibration", "chance", "worst case",
        )
    )  # fmt: skip
    facts = {"settings": run.config, "seed": run.seed, **environment.describe()}
    report.environment(facts).write_html(run.out / "report.html")


def _print(plain: _Network, augmented: _Network, summary: pd.DataFrame, headlines: list[str]) -> None:
    merged = plain.profile[["layer", "mean"]].merge(augmented.profile[["layer", "mean"]], on="layer")
    merged.columns = ["layer", "plain", "augmented"]
    print("\nNormalized variance under rotation (0 = invariant)")
    print(merged.to_string(index=False, float_format=lambda value: f"{value:.3f}"))
    print()
    print(summary.to_string(index=False, na_rep="", float_format=lambda value: f"{value:.3f}"))
    print()
    for line in headlines:
        print(f"* {line}")


EXPERIMENT = Experiment(
    name="quickstart",
    question="Does rotation augmentation make a network invariant, in which layers, and does int8 keep it so?",
    run=answer,
    settings={
        "dataset": "digits",
        "transformations": "rotations(16)",
        "filters": 16,
        "dense": 64,
        "epochs": 25,
        "samples": None,
    },
    presets={
        "smoke": {"epochs": 2, "filters": 4, "samples": 60, "transformations": "rotations(4)"},
        "full": {"dataset": "mnist", "filters": 32, "dense": 64, "epochs": 15, "transformations": "rotations(49)"},
    },
    source="Quiroga et al. 2019, figures of normalized variance by layer, plain and rotated",
    minutes={"smoke": 0.5, "cpu": 2, "full": 120},
)
