"""`sensitivity`: which layers cost the most invariance when they are quantized, one at a time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from tfinv.activations.outputs import answering_activation
from tfinv.datasets.as_split import as_split
from tfinv.evaluation.arguments import as_measures
from tfinv.evaluation.options import Sampling, Warping
from tfinv.models.opening import as_keras_model
from tfinv.resampling.jackknife import Replicates
from tfinv.results import MeasureResult
from tfinv.support.guarded import guarded
from tfinv.support.quiet import quiet
from tfinv.support.types import Images, KerasModel
from tfinv.tflite.comparison.behaviour import behaviour, identities
from tfinv.tflite.comparison.differences import compare
from tfinv.tflite.comparison.measure_models import Measured, measure_models
from tfinv.tflite.comparison.options import INTERVALS, Subsets, paired_sampling
from tfinv.tflite.convert import recipes as convert
from tfinv.tflite.convert.calibration import calibration_batches, check_calibration
from tfinv.tflite.convert.litert_quantizer import quantize_all, quantize_weights
from tfinv.tflite.files.conversion import Conversion
from tfinv.tflite.files.flatbuffer import read_graph
from tfinv.tflite.files.model import TFLiteModel
from tfinv.tflite.studies.bit_schemes import LayerGroup, groups_of
from tfinv.transformations import TransformationSet, as_set
from tfinv.uncertainty import layer_rows

if TYPE_CHECKING:
    import pandas as pd

Scheme = Literal["weight_int4", "weight_int8", "static_int8"]
Mode = Literal["one", "all_but_one"]
SCHEMES: tuple[str, ...] = get_args(Scheme)
MODES: tuple[str, ...] = get_args(Mode)
_AT_OUTPUT = ("before", "after", "difference", "low", "high", "relative", "relative_low", "relative_high", "real")


@guarded(seed=0)
def sensitivity(
    model: KerasModel,
    data: Any,
    transformations: Any = "rotations(16)",
    *,
    scheme: Scheme = "weight_int4",
    mode: Mode = "one",
    calibration: Images = None,
    input_scale: Any = "0..1",
    measure: Any = "NormalizedVariance",
    max_samples: int | None = 300,
    sampling: Sampling | None = INTERVALS,
    warping: Warping | None = None,
    memory_budget: int | float | str | None = None,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Quantize one layer at a time, or all but one, and rank the layers by the invariance that costs.

    Layers are those with kernels. The cost of a file is how far it moves the measure at the network's output; with
    `mode="all_but_one"` a layer matters where leaving it in floating point makes the cost small. The intervals of all
    `L` files hold together, each with the confidence `1 - (1 - c) / L` (Bonferroni): the largest of many changes looks
    large by chance alone.

    Example:
        >>> from tfinv import datasets, models
        >>> from tfinv.tflite import sensitivity
        >>> few = datasets.load("digits").test.subset(40, seed=0)
        >>> network = models.build("ffnet", (16, 16, 1), 10, seed=0)
        >>> frame = sensitivity(network, few, "rotations(4)", progress=False)
        >>> sorted(frame["rank"])[:2]
        [1, 2]

    Args:
        model: a Keras model, the path of its file, or its `Conversion` by `float32`.
        data: images to measure on, see `compare_files`.
        transformations: a set, its id, or a sequence of `Affine`.
        scheme: `"weight_int4"` and `"weight_int8"` round kernels; `"static_int8"` kernels and activations.
        mode: quantize `"one"` layer, or `"all_but_one"`.
        calibration: images in [0, 1] like `data`, for `"static_int8"`.
        input_scale: how images in [0, 1] become model inputs, see `TFLiteModel`.
        measure: a measure of invariance.
        max_samples: use a stratified subset of so many images; None for all.
        sampling: confidence and kind of the intervals, see `tfinv.evaluate`; None for no intervals.
        warping: padding and interpolation of transformed images, see `tfinv.evaluate`.
        memory_budget: see `tfinv.evaluate`.
        seed: seed of the subset.
        progress: show progress bars.

    Returns:
        One row per layer (of a layer that is called several times under the name of its first call), most sensitive
        first: `rank, layer, operator, tensor, kib` of the file; `before, after,
        difference, low, high, relative, relative_low, relative_high, real` of the measure at the output; `mean_change`,
        the mean absolute relative change over layers; `flips, transformed_flips, transformed_accuracy`, NaN where the
        model is no classifier. `tensor` is the layer's output in the float file. Layers whose kernel the scheme cannot
        store, as depthwise ones of 4 bits, are listed in `frame.attrs["not_quantized"]`.

    Raises:
        ValueError: an unknown scheme or mode, no calibration for `"static_int8"`, no layer that can be quantized.
    """
    _check(scheme, mode, calibration)
    transformations, (chosen,) = as_set(transformations), as_measures(measure, "measure")
    reference = model if isinstance(model, Conversion) else convert.float32(as_keras_model(model))
    first = TFLiteModel(reference, input_scale=input_scale, probe=False)
    images = as_split(data, first.input_shape, max_samples, seed, answering_activation(first))
    sampling = paired_sampling(sampling)
    measured = partial(
        measure_models, images=images, transformations=transformations, measures=[chosen], sampling=sampling,
        warping=warping, subsets=Subsets(measured_samples=None, fidelity_samples=1, memory_budget=memory_budget),
        progress=progress,
    )  # fmt: skip
    base = measured({"float32": first})["float32"]
    before = base.results[chosen.key]
    output = first.output_layer if first.output_layer in before else list(before)[-1]
    rows, afters, kept = [], [], []
    for group in groups_of(first):
        layer = group.name
        if layer not in first.layer_tensors:  # operators without kernels, or a step inside a layer
            continue
        content = _quantized(reference, first, group, scheme, "one", calibration)
        if not Conversion(content, scheme).integer_tensors:
            kept.append(layer)
            continue
        if mode == "all_but_one":
            content = _quantized(reference, first, group, scheme, mode, calibration)
        mapped = reference.layers.transfer(reference.graph, read_graph(content)) if reference.layers else None
        file = Conversion(content, scheme, {"layer": layer, "mode": mode}, mapped)
        after = measured({"quantized": TFLiteModel(file, input_scale=input_scale, probe=False)})["quantized"]
        row: dict[str, Any] = {"layer": layer, "operator": first.layer_ops[layer]}
        row |= {"tensor": first.layer_tensors[layer].name, "kib": file.size / 1024}
        rows.append(row | _cost(base, after, images.y, transformations))
        measure_after = after.results[chosen.key]
        last = output if output in measure_after else list(measure_after)[-1]
        afters.append(MeasureResult(chosen.key, {output: measure_after[last]}, _of_layer(measure_after, last, output)))
    if not rows:
        raise ValueError(f"model must have a layer that {scheme} can quantize. Received: none")
    confidence = None if sampling.confidence is None else 1 - (1 - sampling.confidence) / len(rows)
    for row, after in zip(rows, afters, strict=True):
        (change,) = layer_rows(before, after, {output: output}, confidence, simultaneous=False)
        row |= {name: change[name] for name in _AT_OUTPUT}
    frame = _ranked(rows, mode)
    frame.attrs["not_quantized"] = kept
    return frame


def _check(scheme: str, mode: str, calibration: Images) -> None:
    for name, value, known in (("scheme", scheme, SCHEMES), ("mode", mode, MODES)):
        if value not in known:
            raise ValueError(f"{name} must be one of {known}. Received: {value!r}")
    if calibration is not None:
        check_calibration(calibration)
    if scheme == "static_int8" and calibration is None:
        raise ValueError("calibration must be images for scheme 'static_int8'. Received: None")


def _quantized(
    reference: Conversion, model: TFLiteModel, group: LayerGroup, scheme: Scheme, mode: Mode, calibration: Images
) -> bytes:
    """The float file with one layer and all its calls, or all but these, quantized."""
    scope: dict[str, Any] = {"only": group.scope} if mode == "one" else {"skip": group.scope}
    with quiet():
        if scheme == "static_int8":
            batches = calibration_batches(calibration, model.input_shape, 64, model.input_scale)
            options: dict[str, Any] = {"activation_bits": 8, "per_channel": True, "io": "float32"}
            return quantize_all(reference.content, batches, **options, **scope)
        bits = 4 if scheme == "weight_int4" else 8
        return quantize_weights(reference.content, bits=bits, compute="float", **scope)


def _cost(base: Measured, after: Measured, labels: Any, transformations: TransformationSet) -> dict[str, Any]:
    """What one file does to the invariance of all layers and to the answers."""
    frame: Any = compare(base.results, after.results)
    row: dict[str, Any] = dict.fromkeys(_AT_OUTPUT)  # the order of columns; the numbers come once all files are known
    row["mean_change"] = float(np.nanmean(frame["relative"].abs().to_numpy(float)))
    shares = ("flips", "transformed_flips", "transformed_accuracy")
    if base.predictions is None or after.predictions is None:
        return row | dict.fromkeys(shares, float("nan"))
    seen = behaviour(after.predictions, labels, base.predictions, is_identity=identities(transformations))
    return row | {name: getattr(seen, name).value for name in shares}


def _of_layer(measure: MeasureResult, layer: str, name: str) -> Replicates | None:
    """The replicates of one layer, under another name."""
    old = measure.replicates
    if old is None:
        return None
    means, draws = ({name: values[layer]} if layer in values else {} for values in (old.means, old.draws))
    return Replicates(old.confidence, old.sizes, means, draws)


def _ranked(rows: list[dict[str, Any]], mode: Mode) -> pd.DataFrame:
    import pandas as pd

    frame: Any = pd.DataFrame(rows)
    cost = frame["relative"].abs()
    order = cost.sort_values(ascending=mode == "all_but_one", kind="stable").index
    frame = frame.loc[order].reset_index(drop=True)
    frame.insert(0, "rank", range(1, len(frame) + 1))
    return frame
