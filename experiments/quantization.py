"""What each way of quantizing does to the invariance of a network.

Networks are trained upright and with rotations, over several seeds, and each is quantized by every recipe of
`tfinv.tflite.study`: after training, calibrated on upright and on rotated images, to 8 and to 4 bits, and by
quantization-aware training with and without rotations. All files of a network see the same images; intervals are over
seeds (Student's t). The activation is ReLU: ELU has no integer kernel and would stay float.

Source: the question is this project's own; the network is that of Quiroga et al. 2018.
Expected: 8 bits after training move normalized variance by a few parts in a thousand; 4-bit weights raise it in
networks trained with rotations by 2 to 9 %, at the last layers; training on upright images raises it there by 5 to 15
%, with and without rounding; a network trained upright changes ten times more of its answers on rotated images than
on upright ones.

    python -m tfinv.run quantization

Duration on 2 cores: smoke 1 min, cpu 30 min, full hours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.experiment import Experiment, Finding, Run
from tfinv.experiments._pages.quantization_figures import figures
from tfinv.experiments._shared.evidence import Interval
from tfinv.report import markdown
from tfinv.support.files import write_text

if TYPE_CHECKING:
    import pandas as pd

    from tfinv.tflite.studies.result import StudyResult

MEASURE = "NormalizedVariance"
KINDS = {"plain": None, "augmented": {"rotation": 180.0}}
COLUMNS = (
    *("accuracy", "transformed_accuracy", "transformed_accuracy_change", "flips", "transformed_flips"),
    *("output_change", "largest_change", "kib"),
)


def answer(run: Run) -> Finding:
    """Train, quantize in every way, measure, and gather over seeds."""
    import pandas as pd

    rows, repairs, layers, sensitive = [], [], [], []
    for seed in range(run.seed, run.seed + run.settings.seeds):
        for kind in KINDS:
            result = _study(run, kind, seed)
            rows.append(_numbers(result).assign(network=kind, seed=seed))
            repairs.append(_repairs(result).assign(network=kind, seed=seed))
            layers.append(result.layers.assign(network=kind, seed=seed))
            sensitive.append(result.sensitivity.assign(network=kind, seed=seed))
    every: Any = pd.concat(rows, ignore_index=True)
    changes: Any = pd.concat(repairs, ignore_index=True)
    by_layer: Any = pd.concat(layers, ignore_index=True)
    alone: Any = pd.concat(sensitive, ignore_index=True)
    table = _over_seeds(every, list(COLUMNS), ["network", "recipe"])
    tables = {
        "recipes": table,
        "repairs": _repair_table(changes),
        "layers": _over_seeds(by_layer, ["relative"], ["network", "recipe", "layer"], signed=True),
    }
    if len(alone):
        by = ["network", "scheme", "mode", "layer"]
        tables["sensitivity"] = _over_seeds(alone, ["relative", "transformed_flips"], by).sort_values(
            by[:3], kind="stable"
        )
    for name, shown in {"every_network": every, "every_repair": changes, "every_layer": by_layer, **tables}.items():
        run.save_table(shown, name)
    write_text(run.out / "tables.md", "\n\n".join(_markdown(table) for table in tables.values()) + "\n")
    for name, figure in figures(every, by_layer).items():
        run.save_figure(figure, name)
    claim = "Quantization to 8 bits keeps the invariance of a network, and tests on upright images show what it costs."
    return Finding(claim, *_conclude(every, run.settings.seeds), table, "output_change")


def _study(run: Run, kind: str, seed: int) -> StudyResult:
    from tfinv.tflite import Output, Quantizing, Subsets, study

    settings = run.settings
    data = run.dataset(settings.dataset)
    train = data.train
    if settings.train_samples is not None and settings.train_samples < len(train):
        train = train.subset(settings.train_samples, 0)
    few = type(data)(data.name, data.classes, train, data.test, data.notes)
    model = run.trained(
        "simple_conv",
        few,
        augmentation=KINDS[kind],
        seed=seed,
        options={"filters": settings.filters, "dense": settings.dense, "activation": "relu"},
        epochs=settings.epochs if kind == "plain" else settings.augmented_epochs,
        learning_rate=3e-3,
        schedule="cosine",
    )
    result = study(
        model,
        train.subset(min(len(train), settings.qat_samples), seed),
        data.test,
        settings.transformations,
        "all" if settings.recipes == "all" else settings.recipes.split("+"),
        measures=MEASURE,
        subsets=Subsets(settings.samples, settings.measured_samples),
        quantizing=Quantizing(
            epochs=settings.qat_epochs,
            sensitivity=settings.sensitivity.split("+") if settings.sensitivity else (),
        ),
        output=Output(cache=run.cache, report=lambda text: run.say(f"{kind}, seed {seed}: {text}")),
        seed=seed,
        progress=run.progress,
    )
    folder = run.out / f"{kind}-{seed}"
    folder.mkdir(exist_ok=True)
    result.save(folder / "study.npz")
    result.report(folder)
    return result


def _numbers(result: StudyResult) -> pd.DataFrame:
    """The table of recipes with the relative change at the output."""
    frame: Any = result.recipes.copy()
    layers: Any = result.layers
    last = layers.groupby("recipe", sort=False)["relative"].last()
    frame["output_change"] = frame["recipe"].map(last).fillna(0.0)
    return frame


def _repairs(result: StudyResult) -> pd.DataFrame:
    """Changes of accuracy between two recipes that differ in one thing, of one network."""
    import pandas as pd

    from tfinv.tflite.studies.verdict import REPAIRS

    values: Any = result.recipes.set_index("recipe")
    rows = []
    for before, after, _ in REPAIRS:
        if before in values.index and after in values.index:
            row: dict[str, Any] = {"before": before, "after": after}
            for column in ("accuracy", "transformed_accuracy", "profile"):
                one, other = (float(values[column].to_dict()[name]) for name in (before, after))
                row[column] = other / one - 1 if column == "profile" else other - one
            rows.append(row)
    return pd.DataFrame(rows, columns=["before", "after", "accuracy", "transformed_accuracy", "profile"])


def _over_seeds(frame: Any, columns: list[str], by: list[str], signed: bool = False) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for names, group in frame.groupby(by, sort=False):
        row: dict[str, Any] = dict(zip(by, names if isinstance(names, tuple) else (names,), strict=True))
        for column in columns:
            values = [float(value) for value in group[column]]
            is_share = column != "kib"
            sign = "+" if signed or "change" in column or column == "relative" else ""
            row[column] = f"{Interval.of(values):{sign}.1%}" if is_share else f"{np.mean(values):.1f}"
        rows.append(row)
    return pd.DataFrame(rows)


def _repair_table(changes: Any) -> pd.DataFrame:
    columns = ["accuracy", "transformed_accuracy", "profile"]
    return _over_seeds(changes, columns, ["network", "before", "after"], signed=True).sort_values(
        "network", kind="stable"
    )


def _conclude(every: Any, seeds: int) -> tuple[str, str]:
    """Verdict and text: 8 bits after training, both kinds of network."""
    texts, holds = [], []
    for kind in KINDS:
        rows = every[(every["network"] == kind) & (every["recipe"] == "static_int8")]
        if rows.empty:
            continue
        change = Interval.of([float(value) for value in rows["output_change"]])
        upright = Interval.of([float(value) for value in rows["flips"]])
        turned = Interval.of([float(value) for value in rows["transformed_flips"]])
        holds += [change.within(-0.02, 0.02), upright.within(-1, 0.02), turned.within(-1, 0.02)]
        texts.append(
            f"{kind}: static int8 changes normalized variance at the output by {change:+.1%}, "
            f"{upright:.1%} of the answers on upright images and {turned:.1%} of those on rotated ones"
        )
    decided = [outcome for outcome in holds if outcome is not None]
    if seeds < 2 or not decided:
        verdict = "inconclusive"
    else:
        verdict = "holds" if all(holds) else "partly holds" if any(decided) else "does not hold"
    return verdict, "; ".join(texts) + "."


def _markdown(table: Any) -> str:
    return markdown.table(list(table.columns), table.astype(str).to_numpy().tolist())


EXPERIMENT = Experiment(
    name="quantization",
    question="What does each way of quantizing do to the invariance of a network?",
    run=answer,
    settings={
        "dataset": "mnist",
        "transformations": "rotations(16)",
        "seeds": 3,
        "filters": 8,
        "dense": 32,
        "train_samples": 10000,
        "epochs": 4,
        "augmented_epochs": 12,
        "qat_samples": 5000,
        "qat_epochs": 2,
        "samples": 500,
        "measured_samples": 200,
        "recipes": "all",
        "sensitivity": "weight_int4",
    },
    presets={
        "smoke": {
            "dataset": "digits",
            "transformations": "rotations(4)",
            "seeds": 1,
            "filters": 4,
            "dense": 8,
            "train_samples": 200,
            "epochs": 1,
            "augmented_epochs": 1,
            "qat_samples": 100,
            "samples": 40,
            "measured_samples": 24,
            "recipes": "static_int8+static_int8_transformed+weight_int4+qat_int4",
            "sensitivity": "",
        },
        "full": {
            "transformations": "rotations(49)",
            "seeds": 5,
            "filters": 32,
            "dense": 64,
            "train_samples": None,
            "augmented_epochs": 15,
            "qat_samples": 20000,
            "samples": 2000,
            "measured_samples": 1000,
        },
    },
    source="this project",
    minutes={"smoke": 1, "cpu": 30, "full": 600},
)
