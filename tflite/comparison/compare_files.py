"""`compare_files`: two `.tflite` files and images in, a `Comparison` out."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

import numpy as np

from tfinv.activations.outputs import answering_activation, remarks
from tfinv.datasets.as_split import as_split, subset
from tfinv.evaluation.arguments import as_measures
from tfinv.evaluation.distribution import on_workers
from tfinv.evaluation.options import Sampling, Warping, accepts_folded, checked
from tfinv.outputs.comparing import OutputComparison, are_classes, compare_outputs
from tfinv.resampling.jackknife import Replicates
from tfinv.results import LayerResult, MeasureResult, Results
from tfinv.support.checks import received, whole_number
from tfinv.support.environment import describe as describe_environment
from tfinv.support.faults import one_line
from tfinv.support.guarded import guarded
from tfinv.support.types import Images
from tfinv.tflite.comparison import answers_verdict, verdict
from tfinv.tflite.comparison.answers import Answers, answers_of
from tfinv.tflite.comparison.behaviour import Behaviour, behaviour, identities
from tfinv.tflite.comparison.comparison import Comparison
from tfinv.tflite.comparison.differences import compare
from tfinv.tflite.comparison.kernel_run import plan_kernels
from tfinv.tflite.comparison.kernels import compare_kernels
from tfinv.tflite.comparison.match_files import Match, match, with_reasons
from tfinv.tflite.comparison.measure_models import Measured, measure_models
from tfinv.tflite.comparison.options import ALL_MEASURED, INTERVALS, SUBSETS, Subsets, paired_sampling
from tfinv.tflite.comparison.output_words import describe_outputs
from tfinv.tflite.comparison.predictions import Predictions
from tfinv.tflite.comparison.responses import Responses
from tfinv.tflite.comparison.weight_ranges import weight_ranges
from tfinv.tflite.files.checks import check_input_scale, scale_warnings, scales_of_pair
from tfinv.tflite.files.cost import latency, memory_estimate
from tfinv.tflite.files.kernels import KERNELS, SLOW, kernel_sets
from tfinv.tflite.files.model import Source, TFLiteModel, opened
from tfinv.transformations import TransformationSet, as_set

if TYPE_CHECKING:
    import pandas as pd

    from tfinv.datasets import Split

P = ParamSpec("P")
R = TypeVar("R")

MEASURES = ("NormalizedVariance", "NormalizedVarianceSE")
MATCHING_SAMPLES, SCALE_SAMPLES, CHECK_SAMPLES = 32, 200, 8


def _accepts_scale_of_after(function: Callable[P, R]) -> Callable[P, R]:
    """Let a comparison also take the input scale of its second file as a keyword, with a warning."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        scale = kwargs.pop("after_input_scale", None)
        if scale is None:
            return function(*args, **kwargs)
        warnings.warn(
            "after_input_scale: deprecated as keyword of compare_files, and gone in the next release; "
            "write after=tfinv.tflite.TFLiteModel(after, input_scale=...)",
            DeprecationWarning,
            stacklevel=2,
        )
        call, given, named = cast(Any, function), list[Any](args), dict[str, Any](kwargs)
        if "after" in named:
            named["after"] = opened(named["after"], "after", input_scale=scale)
        else:
            given[1] = opened(given[1], "after", input_scale=scale)
        return call(*given, **named)

    return wrapper


@_accepts_scale_of_after
@accepts_folded
@on_workers
@guarded()
def compare_files(
    before: Source | TFLiteModel,
    after: Source | TFLiteModel,
    data: Any,
    transformations: Any = "rotations(16)",
    *,
    input_scale: Any = None,
    measures: Any = MEASURES,
    names: tuple[str, str] | None = None,
    subsets: Subsets | None = SUBSETS,
    sampling: Sampling | None = INTERVALS,
    warping: Warping | None = None,
    seed: int = 0,
    distribute: Any = None,
    progress: bool = True,
    metadata: Mapping[str, Any] | None = None,
) -> Comparison:
    """Say what changed from one `.tflite` file to another of the same network, layer by layer and in its behaviour.

    Layers are matched by name, order and numbers. Both files see the same images under the same transformations, so
    that differences are the files' own; each difference of a layer comes with an interval.

    Example:
        >>> import keras, numpy as np
        >>> from tfinv.tflite import compare_files, float32, static_int8
        >>> inputs = keras.Input((8, 8, 1))
        >>> x = keras.layers.GlobalMaxPooling2D(name="pool")(keras.layers.Conv2D(4, 3, name="conv")(inputs))
        >>> network = keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))
        >>> rng = np.random.default_rng(0)
        >>> images, labels = rng.random((40, 8, 8, 1), "float32"), rng.integers(3, size=40)
        >>> found = compare_files(float32(network), static_int8(network, images), (images, labels), "rotations(4)",
        ...     measures="NormalizedVariance", progress=False)
        >>> found.names, found.layers["layer"].tolist()
        (('float32', 'static_int8'), ['conv', 'pool', 'logits'])

    Args:
        before: the reference, usually the float file: a path, bytes, a `Conversion` or a `TFLiteModel`.
        after: the other file, usually a quantized one.
        data: images to test on: name or path of a data set, a `Split`, a pair `(x, y)`, or an array `(S, H, W, C)` in
            [0, 1]. Without labels there are no accuracies.
        transformations: a set, its id, or a sequence of `Affine`.
        input_scale: how images in [0, 1] become the inputs of both files, see `TFLiteModel`; None for what the files
            tell, where one of them tells it for both. A file with a scale that differs is given as a `TFLiteModel`.
        measures: measures of invariance, as objects or keys.
        names: what the two files are called; None for the names of the files.
        subsets: how many images count for what. None: `Subsets()`, layers on 1000 images and predictions on all.
        sampling: confidence and kind of the intervals of layer means, see `tfinv.evaluate`; None for no intervals.
        warping: padding and interpolation of transformed images, see `tfinv.evaluate`.
        seed: seed of the subsets and of resampling.
        distribute: workers for the evaluations, see `tfinv.evaluate`; None for those of
            `tfinv.distributed`, or else this process.
        progress: show progress bars.
        metadata: entries to add to the record.

    Returns:
        Everything that was found.

    Raises:
        ValueError: a corrupt or refused file, files with different input shapes, without a common layer or of different
            networks, images that do not fit, labels that are no classes of the model.
    """
    transformations, measures = as_set(transformations), as_measures(measures)
    subsets, sampling, warping = checked(Subsets, subsets), paired_sampling(sampling), checked(Warping, warping)
    whole_number("seed", seed, 0)
    if names is not None and (
        not isinstance(names, (tuple, list)) or len(names) != 2 or not all(isinstance(name, str) for name in names)
    ):
        raise ValueError(f"names must be a pair of texts, one per file. Received: {received(names)}")
    chosen = kernel_sets(subsets.kernels)
    main = chosen[0]
    first = opened(before, "before", input_scale=input_scale)
    second = opened(after, "after", input_scale=input_scale)
    first, second = scales_of_pair(first, second)
    first, second = first.with_kernels(main), second.with_kernels(main)
    is_limited = main in SLOW and subsets.max_samples is None
    images = as_split(
        data,
        first.input_shape,
        subsets.kernel_samples if is_limited else subsets.max_samples,
        seed,
        answering_activation(first),
    )
    some = images.x[np.linspace(0, len(images) - 1, min(len(images), MATCHING_SAMPLES)).astype(int)]
    matched = _matched(first, second, images, some)
    if subsets.layers is not None:
        first = first.select(subsets.layers)
        matched = matched.only(first.layer_shapes)
        second = second.select(list(matched.pairs.values()))
    called = names or _names(first, second)
    if len(chosen) > 1:
        files = dict(zip(called, (first, second), strict=True))
        count = min(len(images), subsets.kernel_samples)
        plan_kernels(files, len(chosen), count, transformations, measures, sampling, subsets.memory_budget)
    unchecked = {
        name: text
        for name, model in zip(called, (first, second), strict=True)
        if (text := _self_check(name, model, some[:CHECK_SAMPLES]))
    }
    measured = measure_models(
        dict(zip(called, (first, second), strict=True)),
        images,
        transformations,
        measures,
        pairs={called[1]: matched.pairs},
        measured=subset(images, subsets.measured_samples, seed),
        subsets=replace(ALL_MEASURED, fidelity_samples=subsets.fidelity_samples, memory_budget=subsets.memory_budget),
        sampling=sampling,
        warping=warping,
        progress=progress,
        metadata={"seed": seed, **(metadata or {})},
    )
    by_kernels = None
    if len(chosen) > 1:
        by_kernels = compare_kernels(
            dict(zip(called, (first, second), strict=True)),
            images,
            transformations,
            kernels=chosen,
            measures=measures,
            samples=subsets.kernel_samples,
            sampling=sampling,
            warping=warping,
            memory_budget=subsets.memory_budget,
            seed=seed,
            progress=progress,
        )
    settings = {
        "kernels": list(chosen),
        "transformations": transformations.id,
        "measures": [measure.key for measure in measures],
        "samples": len(images),
        "measured_samples": measured[called[0]].results.metadata["samples"],
        "fidelity_samples": min(subsets.fidelity_samples, len(images)),
        "confidence": sampling.confidence,
        "interval": sampling.interval,
        "padding": warping.padding,
        "interpolation": warping.interpolation,
        "seed": seed,
        **(metadata or {}),
    }
    few = subset(images, subsets.measured_samples, seed)
    compared, stated = None, subsets.outputs
    if stated is None and few.y is not None and few.y.ndim == 2:
        stated = "labels"
    if not are_classes(first, few.x, stated, few.y):
        compared = compare_outputs(
            first,
            second,
            few,
            transformations,
            stated,
            warping=warping,
            progress=progress,
            metadata={"names": called},
        )
    comparison = _assembled(
        (first, second), called, images, transformations, matched, measured, settings, unchecked, compared
    )
    said = [f"All numbers are of the kernel set {first.kernels} ({KERNELS[first.kernels]}) unless another is named."]
    if is_limited:
        said.append(f"The kernel set {first.kernels} is slow, so {len(images)} images were used.")
    told = [] if by_kernels is None else list(by_kernels.verdict)
    return replace(comparison, verdict=(*comparison.verdict, *said, *told), kernels=by_kernels)


def _assembled(
    models: tuple[TFLiteModel, TFLiteModel],
    names: tuple[str, str],
    images: Split,
    transformations: TransformationSet,
    matched: Match,
    measured: Mapping[str, Measured],
    settings: Mapping[str, Any],
    unchecked: Mapping[str, str],
    outputs: OutputComparison | None,
) -> Comparison:
    import pandas as pd

    before, after = measured[names[0]].results, renamed(measured[names[1]].results, matched)
    layers = compare(before, after, layers={name: name for name in matched.pairs})
    layers["after_layer"] = layers["layer"].map(matched.pairs)
    before, after = _with_responses(before, after, measured[names[1]].responses)
    fidelity = _fidelity(measured[names[1]].fidelity, models, matched)
    predictions = {name: one.predictions for name, one in measured.items() if one.predictions is not None}
    if outputs is not None and outputs.before.outputs and outputs.before.outputs[0].kind != "class":
        predictions = predictions if images.y is not None and images.y.ndim == 2 else {}
    seen = _behaviours(predictions, names, images.y, transformations, int(settings["seed"]))
    rows = [{"model": name, **_facts(model)} for name, model in zip(names, models, strict=True)]
    if seen:
        rows = [{"model": row["model"], **behaviour.row(), **row} for row, behaviour in zip(rows, seen, strict=True)]
    curves = [
        behaviour.to_frame(transformations).assign(model=name) for name, behaviour in zip(names, seen, strict=False)
    ]
    scores = {name: one.scores for name, one in measured.items() if one.scores is not None}
    warping = Warping(settings["padding"], settings["interpolation"])
    answers = answers_of(predictions, names, images, transformations, seen, scores, warping) if seen else Answers.none()
    classes = next((given.num_classes for given in predictions.values()), None)
    facts = {**settings, "num_classes": classes, "files": {n: m.metadata for n, m in zip(names, models, strict=True)}}
    return Comparison(
        names=names,
        verdict=(
            *_answers_counted(predictions),
            *(describe_outputs(outputs, names) if outputs is not None else ()),
            *verdict.describe(layers, fidelity, *(seen or (None, None)), names),
            *answers_verdict.sentences(answers, seen, names),
        ),
        warnings=(*unchecked.values(), *_warnings(models, names, images, matched, bool(seen), outputs)),
        layers=layers,
        fidelity=fidelity,
        models=pd.DataFrame(rows),
        curves=pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(),
        operators=_operators(models, names),
        match=matched,
        before=before,
        after=after,
        predictions=predictions,
        metadata={**facts, "environment": describe_environment()},
        answers=answers,
        outputs=outputs,
    )


def _answers_counted(predictions: Mapping[str, Predictions]) -> list[str]:
    """What shares are shares of, where every image has several labels."""
    count = max((one.per_image for one in predictions.values()), default=1)
    if count == 1:
        return []
    return [f"Every image has {count} labels: accuracies, flips and consistencies are shares of their answers."]


def _self_check(name: str, model: TFLiteModel, images: Images) -> str:
    """Check that the activations of a file can be trusted; why that is not possible, or "" where it is."""
    custom = list(dict.fromkeys(kind.name for kind in model.graph.operators if kind.name.startswith("CUSTOM")))
    try:
        model.self_check(images)
    except ValueError as error:
        if not custom:
            raise
        return (
            f"{name}: no self-check, because the built-in kernels that it compares with do not have "
            f"{', '.join(custom)} ({one_line(error)})"
        )
    return ""


def _with_responses(before: Results, after: Results, seen: Mapping[str, Responses]) -> tuple[Results, Results]:
    """Results of both files with firing shares and used levels by feature map."""
    joined = []
    for side, results in enumerate((before, after)):
        layers_of: dict[str, dict[str, LayerResult]] = {}
        for layer, responses in seen.items():
            for key, result in responses.results()[side].items():
                layers_of.setdefault(key, {})[layer] = result
        added = {key: MeasureResult(key, layers) for key, layers in layers_of.items() if key not in results.measures}
        joined.append(replace(results, measures={**results.measures, **added}))
    return joined[0], joined[1]


def renamed(results: Results, matched: Match) -> Results:
    """Results of the second file with the layer names of the first; a layer without a partner keeps its own."""
    names = {other: name for name, other in matched.pairs.items()}

    def new(layer: str) -> str:
        return names.get(layer, f"{layer} (unmatched)" if layer in matched.pairs else layer)

    measures = {}
    for key, measure in results.items():
        old = measure.replicates
        replicates = old and Replicates(
            old.confidence,
            old.sizes,
            {new(name): means for name, means in old.means.items()},
            {new(name): draws for name, draws in old.draws.items()},
        )
        measures[key] = MeasureResult(key, {new(name): values for name, values in measure.items()}, replicates)
    return Results(measures, results.metadata)


def _matched(first: TFLiteModel, second: TFLiteModel, images: Split, some: Any) -> Match:
    """The match; where the files look like strangers because of the input scale, say so."""
    try:
        return match(first, second, some)
    except ValueError as error:
        if "same network" not in str(error):
            raise
        few = subset(images, min(SCALE_SAMPLES, len(images)), 0)
        hints = [check_input_scale(model, few.x, few.y) for model in (first, second)] if few.y is not None else []
        hint = next((text for text in hints if text), "")
        raise ValueError(f"{error}. {hint}" if hint else str(error)) from None


def _names(first: TFLiteModel, second: TFLiteModel) -> tuple[str, str]:
    return (first.name, second.name) if first.name != second.name else ("before", "after")


def _behaviours(
    predictions: Mapping[str, Any],
    names: tuple[str, str],
    labels: Any,
    transformations: TransformationSet,
    seed: int,
) -> tuple[Behaviour, Behaviour] | tuple[()]:
    if len(predictions) < 2:
        return ()
    reference, other = (predictions[name] for name in names)
    if reference.per_image > 1:
        labels = reference.truth(labels)
    if labels is not None and labels.max() >= reference.num_classes:
        raise ValueError(
            f"labels must be classes of the model, below {reference.num_classes}. Received: {int(labels.max())}"
        )
    if other.num_classes != reference.num_classes:
        raise ValueError(
            "before and after must have the same number of classes. "
            f"Received: {reference.num_classes} and {other.num_classes}"
        )
    same = identities(transformations)
    return (
        behaviour(reference, labels, is_identity=same, seed=seed),
        behaviour(other, labels, reference, is_identity=same, seed=seed),
    )


def _fidelity(frame: Any, models: tuple[TFLiteModel, TFLiteModel], matched: Match) -> pd.DataFrame:
    """The recorder's table with operators, tensor names and ranges of weights."""
    first, second = models
    result = frame.copy()
    result.insert(2, "operator", [first.layer_ops[layer] for layer in frame["layer"]])
    result["matched_by"] = [matched.how[layer] for layer in frame["layer"]]
    result["correlation"] = [matched.correlations.get(layer, math.nan) for layer in frame["layer"]]
    for side, model, column in (("before", first, "layer"), ("after", second, "after_layer")):
        ranges = weight_ranges(model)
        bounds = [ranges.get(layer, (math.nan, math.nan)) for layer in frame[column]]
        result[f"weights_{side}_min"], result[f"weights_{side}_max"] = zip(*bounds, strict=True)
        result[f"tensor_{side}"] = [model.layer_tensors[layer].name for layer in frame[column]]
    return result


def _facts(model: TFLiteModel) -> dict[str, Any]:
    """What is known of a file without images."""
    timed, memory = latency(model), memory_estimate(model)
    return {
        "kib": len(model.graph.content) / 1024,
        "latency_ms": timed.milliseconds,
        "latency_ms_low": timed.low,
        "latency_ms_high": timed.high,
        "threads": timed.threads,
        "delegate": timed.delegate,
        "working_kib": memory.working / 1024,
        "constants_kib": memory.constants / 1024,
        "operators": len(model.graph.operators),
        "float_operators": len(model.graph.float_operators()),
        "self_check": model.check.summary() if model.check else "not run",
    }


def _operators(models: tuple[TFLiteModel, TFLiteModel], names: tuple[str, str]) -> pd.DataFrame:
    import pandas as pd

    counts = [model.graph.histogram for model in models]
    kinds = list(dict.fromkeys(kind for count in counts for kind in count))
    columns = {name: [count.get(kind, 0) for kind in kinds] for name, count in zip(names, counts, strict=True)}
    return pd.DataFrame({"operator": kinds, **columns})


def _warnings(
    models: tuple[TFLiteModel, TFLiteModel],
    names: tuple[str, str],
    images: Split,
    matched: Match,
    classifies: bool,
    outputs: OutputComparison | None,
) -> list[str]:
    warnings = []
    few = subset(images, min(SCALE_SAMPLES, len(images)), 0)
    for name, model in zip(names, models, strict=True):
        warnings += [f"{name}: {text}" for text in scale_warnings(model, few.x)]
        if few.y is not None and classifies and (text := check_input_scale(model, few.x, few.y)):
            warnings.append(f"{name}: {text}")
        if model.check is not None and not model.check.passed:
            warnings.append(f"{name}: self-check {model.check.summary()}")
        for why in dict.fromkeys(model.skipped.values()):
            layers = ", ".join(layer for layer, reason in model.skipped.items() if reason == why)
            warnings.append(f"{name}: not measured, {why}: {layers}")
    warnings += dict.fromkeys(text for model in models if outputs is None for text in remarks(model.outputs))
    sides = ((matched.unmatched_before, matched.reasons_before), (matched.unmatched_after, matched.reasons_after))
    for name, (layers, reasons) in zip(names, sides, strict=True):
        if layers:
            warnings.append(f"layers of {name} without a partner: {', '.join(with_reasons(layers, reasons))}")
    if not classifies:
        warnings.append("the models' output is not one number a class, so nothing is said of predictions")
    return warnings
