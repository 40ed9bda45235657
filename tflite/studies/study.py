"""`study`: a Keras model and images in, what every way of quantizing does to its invariance out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.activations.outputs import answering_activation, remarks
from tfinv.activations.selection import select_names
from tfinv.activations.source import LayerChoice
from tfinv.activations.sub_model import ActivationModel
from tfinv.datasets.as_split import as_split, subset
from tfinv.evaluation.arguments import as_measures
from tfinv.evaluation.options import Sampling, Warping, accepts_folded, checked
from tfinv.models.opening import as_keras_model
from tfinv.support.cache import Cache
from tfinv.support.checks import received
from tfinv.support.environment import describe as describe_environment
from tfinv.support.faults import one_line
from tfinv.support.guarded import guarded
from tfinv.support.lazy import keras
from tfinv.support.types import KerasModel
from tfinv.tflite.comparison.behaviour import Behaviour, behaviour, identities
from tfinv.tflite.comparison.compare_files import MEASURES
from tfinv.tflite.comparison.differences import compare
from tfinv.tflite.comparison.kernels import compare_kernels
from tfinv.tflite.comparison.options import INTERVALS, Subsets, paired_sampling
from tfinv.tflite.convert.channels import with_channels_last
from tfinv.tflite.files.checks import check_input_scale
from tfinv.tflite.files.input_scale import InputScale
from tfinv.tflite.files.input_scale import input_scale as parse_scale
from tfinv.tflite.files.kernels import XNNPACK, kernel_sets
from tfinv.tflite.files.model import TFLiteModel, layer_names
from tfinv.tflite.qat.train import _without_retracing_warnings
from tfinv.tflite.studies.answers import answers_of, most_flipped
from tfinv.tflite.studies.answers import sentences as answer_sentences
from tfinv.tflite.studies.options import OUTPUT, QUANTIZING, SUBSETS, Output, Quantizing
from tfinv.tflite.studies.outputs import measure_recipes
from tfinv.tflite.studies.outputs import sentences as output_sentences
from tfinv.tflite.studies.pieces import Piece, Settings, fingerprint, made, measured, model_fingerprint
from tfinv.tflite.studies.recipe import Materials, Recipe
from tfinv.tflite.studies.recipes import REFERENCE, choose, facts
from tfinv.tflite.studies.result import StudyResult
from tfinv.tflite.studies.samplers import samplers
from tfinv.tflite.studies.sensitivities import choose_schemes, sensitivities, sentences
from tfinv.tflite.studies.verdict import describe, trade_offs
from tfinv.tflite.studies.workers import measure_ahead
from tfinv.transformations import as_set

if TYPE_CHECKING:
    import pandas as pd

    from tfinv.datasets import Split
    from tfinv.transformations import TransformationSet

_SCALE_SAMPLES = 200


@accepts_folded
@guarded(seed=0)
def study(
    model: KerasModel,
    train: Any,
    test: Any,
    transformations: Any = "rotations(16)",
    recipes: str | Recipe | Sequence[str | Recipe] = "all",
    *,
    input_scale: Any = "0..1",
    measures: Any = MEASURES,
    subsets: Subsets | None = SUBSETS,
    quantizing: Quantizing | None = QUANTIZING,
    sampling: Sampling | None = INTERVALS,
    warping: Warping | None = None,
    output: Output | None = OUTPUT,
    seed: int = 0,
    progress: bool = True,
) -> StudyResult:
    """Quantize a trained model in every way and say what each does to its invariance and its answers.

    All files see the same images under the same transformations, so that differences from the float file are the
    recipe's own, with paired intervals. A recipe that cannot be followed is listed with its reason.

    Example:
        >>> from tfinv import datasets, models
        >>> from tfinv.tflite import study
        >>> few = datasets.load("digits").train.subset(100, seed=0)
        >>> network = models.build("ffnet", (16, 16, 1), 10, seed=0)
        >>> found = study(network, few, few, "rotations(4)", ["float16", "weight_int4"],
        ...     measures="NormalizedVariance", progress=False)
        >>> found.recipes["recipe"].tolist()
        ['float32', 'float16', 'weight_int4']

    Args:
        model: a functional or sequential Keras 3 model, or the path of its file; it is not changed. One that has the
            channels of its images first is converted behind a layer that moves them there.
        train: images in [0, 1] for calibration and training: a `Split`, a pair `(x, y)` or an array.
        test: images to measure on, of the same kinds. Without labels there are no accuracies.
        transformations: a set, its id, or a sequence of `Affine`; also those of transformed calibration and training.
        recipes: `"all"` for all recipes of tfinv, names of `tfinv.tflite.RECIPES`, or objects `Recipe`, also your own;
            float32 is always there.
        input_scale: how images in [0, 1] become model inputs, see `TFLiteModel`.
        measures: measures of invariance, as objects or keys.
        subsets: how many of the test images count for what; by default layers are measured on 300 of them.
        quantizing: images that calibrate, epochs and learning rate of recipes that train, sensitivity of layers.
        sampling: confidence and kind of the intervals of layer means, see `tfinv.evaluate`; None for no intervals.
        warping: padding and interpolation of transformed images, also of those that calibrate and train.
        output: folders for the files and for what an interrupted study goes on from; a function to report to.
        seed: seed of subsets, training and resampling.
        progress: show progress bars.

    Returns:
        Tables, words and measurements of all recipes.

    Raises:
        TypeError: a model whose layers form no graph.
        ValueError: an unknown recipe or scheme, images that do not fit the model, a float conversion that fails.
    """
    model = as_keras_model(model)
    if not isinstance(model, keras.Model):
        raise TypeError(f"model must be a Keras model. Received: {received(model)}")
    model = with_channels_last(model)
    chosen, transformations, measures = choose(recipes), as_set(transformations), as_measures(measures)
    subsets, sampling, warping = checked(Subsets, subsets), paired_sampling(sampling), checked(Warping, warping)
    quantizing, output = checked(Quantizing, quantizing), checked(Output, output)
    schemes, chosen_kernels = choose_schemes(quantizing.sensitivity), kernel_sets(subsets.kernels)
    if chosen_kernels[0] != XNNPACK:
        raise ValueError(
            f"kernels of a study must begin with {XNNPACK}, which its other numbers are of. "
            f"Received: {', '.join(chosen_kernels)}"
        )
    shape = tuple(model.inputs[0].shape[1:])
    if None in shape:
        raise ValueError(f"model must take images of one size, which files need. Received: (H, W, C) = {shape}")
    if subsets.layers is not None:
        _check_layers(model, subsets.layers)
    activation = answering_activation(model)
    train = as_split(train, shape, None, seed, activation, argument="train")
    test = as_split(test, shape, subsets.max_samples, seed, activation, argument="test")
    few = subset(test, subsets.measured_samples, seed)
    scale, say = parse_scale(input_scale), output.report or (lambda _: None)
    materials = Materials(
        model,
        train,
        transformations,
        scale,
        quantizing.calibration_samples,
        quantizing.epochs,
        quantizing.learning_rate,
        seed,
        progress,
        warping,
    )
    keys = tuple(measure.key for measure in measures)
    settings = Settings(
        transformations,
        keys,
        sampling,
        warping,
        subsets.fidelity_samples,
        seed,
        subsets.layers,
        subsets.memory_budget,
    )
    identity = {"model": model_fingerprint(model)}
    identity |= {k: fingerprint(s.x, s.y) for k, s in (("train", train), ("test", test), ("measured", few))}
    with tempfile.TemporaryDirectory() as folder, _without_retracing_warnings():
        cache = output.cache
        store = cache if isinstance(cache, Cache) else Cache(cache or Path(folder), report=say)
        pieces, failed = _pieces(chosen, store, materials, (test, few), settings, identity, say)
        pieces, summary, output_curves, output_example = measure_recipes(
            pieces, few, transformations, subsets.outputs, scale, warping, progress
        )
        reference = pieces[REFERENCE].conversion
        sensitive, notes = sensitivities(store, schemes, reference, materials, few, settings, identity, say)
    if output.files is not None:
        for name, piece in pieces.items():
            piece.conversion.save(Path(output.files) / f"{name}.tflite")
    metadata = {
        "kernels": list(chosen_kernels),
        "transformations": transformations.id,
        "measures": list(keys),
        "samples": len(test),
        "measured_samples": len(few),
        "train_samples": len(train),
        "calibration_samples": min(quantizing.calibration_samples, len(train)),
        "fidelity_samples": min(subsets.fidelity_samples, len(few)),
        "epochs": quantizing.epochs,
        "learning_rate": quantizing.learning_rate,
        "confidence": sampling.confidence,
        "interval": sampling.interval,
        "padding": warping.padding,
        "interpolation": warping.interpolation,
        "input_scale": scale.text,
        "seed": seed,
        "samplers": samplers(model),
        "recipes": {recipe.name: facts(recipe) for recipe in chosen},
        "hashes": identity,
        "environment": describe_environment(),
    }
    result = _assembled(pieces, failed, test, transformations, metadata, scale)
    verdict = (*output_sentences(summary), *result.verdict, *sentences(sensitive, keys[0]))
    warnings = (*result.warnings, *notes)
    result = replace(result, outputs=summary, output_curves=output_curves, output_example=output_example)
    by_kernels = None
    if len(chosen_kernels) > 1:
        models = {name: TFLiteModel(piece.conversion, input_scale=scale, probe=False) for name, piece in pieces.items()}
        by_kernels = compare_kernels(
            models,
            test,
            transformations,
            kernels=chosen_kernels,
            measures=measures,
            samples=subsets.kernel_samples,
            sampling=sampling,
            warping=warping,
            memory_budget=subsets.memory_budget,
            seed=seed,
            progress=progress,
        )
        verdict = (*verdict, *by_kernels.verdict)
    return replace(result, verdict=verdict, warnings=warnings, sensitivity=sensitive, kernels=by_kernels)


def _check_layers(model: KerasModel, layers: LayerChoice) -> None:
    """Refuse an unknown layer before anything is converted; names that only a file can have are left to the file."""
    source = ActivationModel(model)
    listed = [layers] if isinstance(layers, (str, type)) else list(layers or ())
    of_model = [choice for choice in listed if not (isinstance(choice, str) and ("/" in choice or choice.isupper()))]
    if of_model or not listed:
        select_names(dict.fromkeys(source.layer_shapes, ""), of_model, source.skipped)


def _pieces(
    recipes: Sequence[Recipe],
    store: Cache,
    materials: Materials,
    images: tuple[Split, Split],
    settings: Settings,
    identity: Mapping[str, str],
    say: Callable[[str], None],
) -> tuple[dict[str, Piece], dict[str, str]]:
    """Every recipe's file, measured; and why others failed."""
    pieces: dict[str, Piece] = {}
    failed: dict[str, str] = {}
    reference: TFLiteModel | None = None
    measure_ahead(recipes, store, materials, images, settings, identity)
    for number, recipe in enumerate(recipes, 1):
        name = recipe.name
        say(f"{name} ({number} of {len(recipes)}): {recipe.words}")
        try:
            conversion, about = made(store, recipe, materials, identity)
            if reference is None:
                reference = TFLiteModel(conversion, input_scale=materials.input_scale, probe=False)
            arguments = (images, settings, identity, materials.progress)
            pieces[name] = measured(store, name, conversion, about, reference, *arguments)
        except (ValueError, TypeError, RuntimeError, ModuleNotFoundError, NotImplementedError) as error:
            if name == REFERENCE:
                raise
            failed[name] = one_line(error)
            say(f"{name} cannot be made: {failed[name]}")
    return pieces, failed


def _assembled(
    pieces: Mapping[str, Piece],
    failed: Mapping[str, str],
    test: Split,
    transformations: TransformationSet,
    metadata: dict[str, Any],
    scale: Any,
) -> StudyResult:
    import pandas as pd

    seen = behaviours(pieces, test.y, transformations, metadata["seed"])
    predictions = {name: piece.predictions for name, piece in pieces.items() if piece.predictions is not None}
    metadata["pictured"] = most_flipped(seen, metadata["recipes"])
    warping = Warping(metadata["padding"], metadata["interpolation"])
    calibration = [pieces[name].calibration for name in seen]
    answers = answers_of(predictions, calibration, seen, test, transformations, metadata["pictured"], warping)
    layers = _layers(pieces)
    rows = [_row(name, piece, seen.get(name), layers) for name, piece in pieces.items()]
    recipes = trade_offs(pd.DataFrame(rows))
    curves = [behaviour.to_frame(transformations).assign(model=name) for name, behaviour in seen.items()]
    first = pieces[REFERENCE]
    metadata["num_classes"] = None if first.predictions is None else first.predictions.num_classes
    told = describe(recipes, layers, seen, predictions, test.y, identities(transformations), metadata)
    return StudyResult(
        verdict=(*told, *answer_sentences(answers, metadata["recipes"])),
        warnings=tuple(_warnings(pieces, failed, metadata["recipes"], test, scale)),
        recipes=recipes,
        layers=layers,
        curves=pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(),
        operators=_operators(pieces),
        sensitivity=pd.DataFrame(),
        failed=dict(failed),
        results={name: piece.results for name, piece in pieces.items()},
        predictions=predictions,
        metadata=metadata,
        answers=answers,
    )


def behaviours(
    pieces: Mapping[str, Piece], labels: Any, transformations: TransformationSet, seed: int
) -> dict[str, Behaviour]:
    """How every file answers, against the reference; empty where the models are no classifiers."""
    first = pieces[REFERENCE].predictions
    if first is None:
        return {}
    labels = first.truth(labels)
    if labels is not None and labels.max() >= first.num_classes:
        raise ValueError(f"labels must be classes of the model, below {first.num_classes}. Received: {labels.max()}")
    same, answers = identities(transformations), {}
    for name, piece in pieces.items():
        if piece.predictions is not None:
            reference = None if name == REFERENCE else first
            answers[name] = behaviour(piece.predictions, labels, reference, is_identity=same, seed=seed)
    return answers


def _layers(pieces: Mapping[str, Piece]) -> pd.DataFrame:
    """One row a recipe, measure and layer: change against the reference, and fidelity."""
    import pandas as pd

    frames = []
    for name, piece in pieces.items():
        if name == REFERENCE:
            continue
        frame = compare(pieces[REFERENCE].results, piece.results).drop(columns="after_layer")
        fidelity = piece.fidelity.assign(tensor=_tensor_names(piece))
        columns = ["layer", "sqnr_db", "effective_bits", "cosine", "mse", "max_error", "saturated", "clipped", "tensor"]
        frame = frame.merge(fidelity[columns], on="layer", how="left")
        frame.insert(0, "recipe", name)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({"recipe": [], "measure": [], "layer": []})


def _operators(pieces: Mapping[str, Piece]) -> pd.DataFrame:
    import pandas as pd

    counts = {name: piece.facts["operators"] for name, piece in pieces.items()}
    kinds = list(dict.fromkeys(kind for count in counts.values() for kind in count))
    return pd.DataFrame(
        {"operator": kinds} | {name: [count.get(k, 0) for k in kinds] for name, count in counts.items()}
    )


def _tensor_names(piece: Piece) -> list[str]:
    """The output tensor, in the recipe's own file, of every row of a piece's fidelity."""
    graph, mapped = piece.conversion.graph, piece.conversion.layers
    numbers = layer_names(graph, mapped.matched if mapped else None)
    return [graph.tensors[numbers[layer]].name for layer in piece.fidelity["after_layer"]]


def _row(name: str, piece: Piece, seen: Behaviour | None, layers: Any) -> dict[str, Any]:
    """One row of the table of recipes."""
    measure = next(iter(piece.results))
    profile = piece.results[measure].profile()["mean"].to_numpy(float)
    rows = layers[(layers["recipe"] == name) & (layers["measure"] == measure)]
    relative = rows["relative"].to_numpy(float) if len(rows) else np.zeros(0)
    finite = np.flatnonzero(np.isfinite(relative))
    worst = int(finite[np.abs(relative[finite]).argmax()]) if finite.size else None
    row: dict[str, Any] = {"recipe": name, "kib": piece.facts["kib"]}
    row |= seen.row() if seen is not None else {}
    row |= {
        "profile": float(np.nanmean(profile)),
        "largest_change": 0.0 if worst is None else float(relative[worst]),
        "at_layer": "" if worst is None else str(rows["layer"].iloc[worst]),
        "layers_beyond_noise": int(rows["real"].sum()) if len(rows) else 0,
        "layers_compared": len(rows),
        "output_sqnr_db": float(rows["sqnr_db"].iloc[-1]) if len(rows) else float("inf"),
    }
    kept = ("latency_ms", "threads", "delegate", "working_kib", "is_integer", "float_operators", "float_kernels")
    return row | {key: piece.facts[key] for key in kept}


def _warnings(
    pieces: Mapping[str, Piece], failed: Mapping[str, str], about: Mapping[str, Any], test: Split, scale: InputScale
) -> list[str]:
    warnings = [f"{name} could not be made: {reason}" for name, reason in failed.items()]
    first = pieces[REFERENCE]
    reference = TFLiteModel(first.conversion, input_scale=scale, probe=False)
    if test.y is not None and first.predictions is not None:
        few = subset(test, min(_SCALE_SAMPLES, len(test)), 0)
        warnings += [text] if (text := check_input_scale(reference, few.x, few.y)) else []
    warnings += remarks(reference.outputs) if test.y is None or test.y.ndim == 1 else []
    for name, piece in pieces.items():
        if "FAILED" in piece.facts["self_check"]:
            warnings.append(f"{name}: self-check {piece.facts['self_check']}")
        if piece.unmatched:
            warnings.append(f"{name}: layers without a partner: {', '.join(piece.unmatched)}")
        if piece.facts["float_operators"] and about[name]["integer"]:
            warnings.append(f"{name}: {piece.facts['float_operators']} operators compute in floating point")
        if piece.facts["float_kernels"] and piece.conversion.integer_tensors and not about[name]["integer"]:
            warnings.append(f"{name}: {piece.facts['float_kernels']} kernels stay float32")
    return warnings
