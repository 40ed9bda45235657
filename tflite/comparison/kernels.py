"""Kernel set against kernel set: what the choice of the code that computes a file does to its answers and layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.activations.outputs import answering_activation
from tfinv.datasets.as_split import as_split
from tfinv.evaluation.arguments import as_measures
from tfinv.evaluation.evaluate import evaluate
from tfinv.evaluation.options import Sampling, Warping, checked
from tfinv.evaluation.planning import check_budget
from tfinv.support.checks import whole_number
from tfinv.support.guarded import guarded
from tfinv.support.types import Images
from tfinv.tflite.comparison.behaviour import behaviour, identities
from tfinv.tflite.comparison.differences import compare
from tfinv.tflite.comparison.kernel_run import KernelObservation, KernelRun, plan_kernels
from tfinv.tflite.comparison.kernel_words import kernel_sentences
from tfinv.tflite.comparison.options import INTERVALS, KERNEL_SAMPLES, paired_sampling
from tfinv.tflite.files.kernels import DEVICES, Kernels, kernel_sets
from tfinv.tflite.files.model import Source, TFLiteModel, opened
from tfinv.transformations import as_set

if TYPE_CHECKING:
    import pandas as pd

    from tfinv.datasets import Split
    from tfinv.measures import Measure
    from tfinv.transformations import TransformationSet

BOTH = "xnnpack,reference"
FRAMES = ("answers", "pairs", "curves", "layers", "profiles")
"""The tables of a `KernelComparison`."""
PAIR = ["model", "first", "second"]
"""The columns that name a file and two kernel sets."""
KERNEL_FACTS = {"kernels": [str], "samples": int, "verdict": [str], "refused": {str: str}}
"""What a file of results holds of a `KernelComparison` beside its tables."""


@dataclass(frozen=True)
class KernelComparison:
    """What one file, or several of one network, answers and computes under several kernel sets.

    Args:
        kernels: the kernel sets, the first is the one that profiles are compared with.
        samples: how many images all numbers are of.
        verdict: what was found, in sentences.
        refused: why a kernel set does not run a file, by `"file: kernel set"`, in its own words.
        answers: one row per file and kernel set: `model, kernels, device, delegate`; accuracy, consistency and more
            with `_low, _high`; `flips` and `transformed_flips` against the first file under the same kernels;
            `ms_per_image` on this machine.
        pairs: one row per file and pair of kernel sets, `first` and `second`: `flips` of untransformed and
            `transformed_flips` of transformed images with `_low, _high`; `part_at, part_operator, part_lsb,
            part_differing` of the first layer that differs; `max_lsb` and the layer `max_lsb_at`; `output_lsb`,
            `max_relative_error`.
        curves: one row per file, pair and transformation: `flips` with `_low, _high`.
        layers: one row per file, pair and layer, see `tfinv.tflite.comparison.kernel_layers.Parting.row`.
        profiles: one row per file, kernel set, measure and layer: `mean`; `difference` from the first kernel set with
            `low, high`, and whether it is `real`.
    """

    kernels: tuple[str, ...]
    samples: int
    verdict: tuple[str, ...]
    refused: Mapping[str, str]
    answers: pd.DataFrame = field(repr=False)
    pairs: pd.DataFrame = field(repr=False)
    curves: pd.DataFrame = field(repr=False)
    layers: pd.DataFrame = field(repr=False)
    profiles: pd.DataFrame = field(repr=False)

    def facts(self) -> dict[str, Any]:
        """All but the tables, as JSON values."""
        kernels, verdict, refused = list(self.kernels), list(self.verdict), dict(self.refused)
        return {"kernels": kernels, "samples": self.samples, "verdict": verdict, "refused": refused}

    def frames(self) -> dict[str, pd.DataFrame]:
        """The tables, as `kernel_answers` and so on."""
        return {f"kernel_{name}": getattr(self, name) for name in FRAMES}

    @classmethod
    def of(cls, facts: Mapping[str, Any], frames: Mapping[str, pd.DataFrame]) -> KernelComparison:
        """What `facts` and `frames` gave."""
        tables = {name: frames[f"kernel_{name}"] for name in FRAMES}
        kernels, verdict = tuple(facts["kernels"]), tuple(facts["verdict"])
        return cls(kernels, facts["samples"], verdict, facts["refused"], **tables)


@guarded(seed=0)
def compare_kernels(
    models: Source | TFLiteModel | Mapping[str, TFLiteModel],
    data: Images,
    transformations: Any = "rotations(16)",
    *,
    kernels: Kernels = BOTH,
    measures: Any = (),
    samples: int = KERNEL_SAMPLES,
    sampling: Sampling | None = INTERVALS,
    warping: Warping | None = None,
    memory_budget: int | float | str | None = None,
    seed: int = 0,
    progress: bool = True,
) -> KernelComparison:
    r"""Run a file by several kernel sets on the same images and say where and how much they differ.

    For two kernel sets with answers `\hat y_1, \hat y_2` and activations `a_1, a_2` of a layer with steps of size `s`:

        flips = \frac{1}{S} \#\{x : \hat y_1(x) \ne \hat y_2(x)\}, \quad
        lsb = \max |a_1 - a_2| / s

    Example:
        >>> import keras, numpy as np
        >>> from tfinv.tflite import compare_kernels, static_int8
        >>> inputs = keras.Input((8, 8, 1))
        >>> x = keras.layers.GlobalMaxPooling2D(name="pool")(keras.layers.Conv2D(4, 3, name="conv")(inputs))
        >>> network = keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))
        >>> images = np.random.default_rng(0).random((20, 8, 8, 1), "float32")
        >>> kernels = compare_kernels(static_int8(network, images), images, "rotations(4)", progress=False)
        >>> kernels.layers["layer"].tolist(), kernels.pairs[["first", "second"]].iloc[0].tolist()
        (['conv', 'pool', 'logits'], ['xnnpack', 'reference'])

    Args:
        models: a file (path, bytes, `Conversion` or `TFLiteModel`), or several models by name, the reference first.
        data: images in [0, 1], see `compare_files`.
        transformations: a set, its id, or a sequence of `Affine`.
        kernels: kernel sets, with commas between them or as a sequence: `xnnpack`, `builtin`, `reference`, `tflm`.
        measures: measures of invariance whose layer profiles are compared; none by default.
        samples: a stratified subset of so many images is used, because `reference` and `tflm` take 10 to 60 times as
            long as XNNPACK.
        sampling: confidence and kind of the intervals of layer means; None for no intervals.
        warping: padding and interpolation of transformed images.
        memory_budget: see `tfinv.evaluate`; what does not fit is refused before anything runs.
        seed: draws the subset and resamples the images.
        progress: show progress bars.

    Returns:
        Answers, pairs of kernel sets, layers and profiles. A kernel set that refuses a file is left out of its rows
        and named in `refused`.

    Raises:
        ValueError: an unknown kernel set or one that is not installed, a file that no kernel set runs, images that do
            not fit, or a layer that alone needs more than the memory budget.
    """
    names = kernel_sets(kernels)
    transformations, sampling, warping = as_set(transformations), paired_sampling(sampling), checked(Warping, warping)
    measures = as_measures(measures) if measures else []
    if not isinstance(models, Mapping):
        model = opened(models, "models")
        models = {model.name: model}
    whole_number("samples", samples, 2)
    if memory_budget is not None:
        check_budget(memory_budget)
    first = next(iter(models.values()))
    images = as_split(data, first.input_shape, samples, seed, answering_activation(first))
    plan_kernels(models, len(names), len(images), transformations, measures, sampling, memory_budget)
    refused: dict[str, str] = {}
    runs = {name: _run_by_all(name, model, names, refused) for name, model in models.items()}
    shown = {
        name: KernelRun(name, by_kernels, images, transformations, warping, memory_budget)
        for name, by_kernels in runs.items()
    }
    seen = {name: run.show(progress) for name, run in shown.items()}
    frames = {
        **_behaviours(seen, images, transformations, seed),
        "layers": _layers(seen),
        "profiles": _profiles(runs, images, transformations, measures, sampling, warping, memory_budget, progress),
    }
    frames["pairs"] = _with_layers(frames["pairs"], frames["layers"])
    verdict = kernel_sentences(frames["answers"], frames["pairs"], len(images), refused)
    return KernelComparison(names, len(images), tuple(verdict), refused, **frames)


def _run_by_all(
    name: str, model: TFLiteModel, kernels: tuple[str, ...], refused: dict[str, str]
) -> dict[str, TFLiteModel]:
    """The file under every kernel set that runs it.

    Raises:
        ValueError: none does.
    """
    runs = {}
    for kernel_set in kernels:
        try:
            runs[kernel_set] = model.with_kernels(kernel_set)
        except ValueError as error:
            refused[f"{name}: {kernel_set}"] = str(error)
    if not runs:
        raise ValueError(f"no kernel set runs {name}: {'; '.join(refused.values())}")
    return runs


def _behaviours(
    seen: Mapping[str, KernelObservation], images: Split, transformations: TransformationSet, seed: int
) -> dict[str, pd.DataFrame]:
    """The tables of answers, of pairs and of curves."""
    import pandas as pd

    same = identities(transformations)
    reference = next(iter(seen.values())).predictions
    answers, pairs, curves = [], [], []
    for name, found in seen.items():
        for kernel_set, predictions in found.predictions.items():
            row: dict[str, Any] = {"model": name, "kernels": kernel_set, "device": DEVICES[kernel_set]}
            row |= {"delegate": found.delegates[kernel_set], "ms_per_image": 1e3 * found.seconds[kernel_set]}
            if predictions is not None:
                other = None if found.predictions is reference else reference.get(kernel_set)
                row |= behaviour(predictions, images.y, other, is_identity=same, seed=seed).row()
            answers.append(row)
        for first, second in found.recorders:
            one, other = found.predictions[first], found.predictions[second]
            pair: dict[str, Any] = {"model": name, "first": first, "second": second}
            if one is not None and other is not None:
                changed = behaviour(other, images.y, one, is_identity=same, seed=seed)
                row = changed.row()
                kept = [f"{column}{end}" for column in ("flips", "transformed_flips") for end in ("", "_low", "_high")]
                curve = changed.to_frame(transformations)
                columns = ["number", "transformation", "degrees", "flips", "flips_low", "flips_high"]
                curves.append(curve[columns].assign(**pair))
                pair = {**pair, **{column: row[column] for column in kept}}
            pairs.append(pair)
    return {
        "answers": pd.DataFrame(answers),
        "pairs": pd.DataFrame(pairs) if pairs else pd.DataFrame(columns=PAIR),
        "curves": pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(),
    }


def _layers(seen: Mapping[str, KernelObservation]) -> pd.DataFrame:
    import pandas as pd

    rows = [
        {"model": name, "first": first, "second": second, **row}
        for name, found in seen.items()
        for (first, second), recorder in found.recorders.items()
        for row in recorder.rows()
    ]
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=PAIR)


def _with_layers(pairs: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """Pairs with the layer where they part, the layer where they differ most, and the output."""
    import pandas as pd

    rows = []
    by_pair = dict(list(layers.groupby(PAIR, sort=False)))
    for pair in pairs.to_dict("records"):
        chosen = by_pair[tuple(pair[name] for name in PAIR)]
        apart = chosen[chosen["differing"] > 0]
        steps = chosen["max_lsb"].to_numpy(float)
        known = steps[np.isfinite(steps)]
        first = apart.iloc[0] if len(apart) else None
        pair |= {
            "part_at": "" if first is None else first["layer"],
            "part_operator": "" if first is None else first["operator"],
            "part_lsb": float("nan") if first is None else first["max_lsb"],
            "part_differing": 0.0 if first is None else first["differing"],
            "max_lsb": float(known.max()) if known.size else float("nan"),
            "max_lsb_at": chosen["layer"].iloc[int(np.nanargmax(steps))] if known.size and known.max() > 0 else "",
            "output_lsb": float(steps[-1]),
            "max_relative_error": float(chosen["relative_error"].max()),
        }
        rows.append(pair)
    return pd.DataFrame(rows) if rows else pairs


def _profiles(
    runs: Mapping[str, Mapping[str, TFLiteModel]],
    images: Split,
    transformations: TransformationSet,
    measures: list[Measure],
    sampling: Sampling,
    warping: Warping,
    memory_budget: int | float | str | None,
    progress: bool,
) -> pd.DataFrame:
    """Layer profiles under every kernel set, and their paired differences from the first."""
    import pandas as pd

    frames = []
    for name, by_kernels in runs.items() if measures else ():
        results = {
            kernel_set: evaluate(
                model,
                images,
                transformations,
                measures,
                sampling=sampling,
                warping=warping,
                memory_budget=memory_budget,
                progress=progress,
            )
            for kernel_set, model in by_kernels.items()
        }
        first = next(iter(results.values()))
        for kernel_set, measured in results.items():
            frame = compare(first, measured)
            frame = frame.rename(columns={"after": "mean"})
            columns = ["measure", "layer", "mean", "difference", "low", "high", "relative", "real"]
            frame = frame[columns].copy()
            frame.insert(0, "model", name)
            frame.insert(1, "kernels", kernel_set)
            frames.append(frame)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
