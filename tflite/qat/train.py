"""Quantization-aware training: fine-tune a model as its integer file will compute it, then make the file."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal, get_args

from tfinv.activations.layer_graph import flatten
from tfinv.support.checks import kind_of
from tfinv.support.faults import TRAINS, TRY_TRAINING, told
from tfinv.support.types import Images, KerasModel
from tfinv.tflite.convert.litert_quantizer import Io
from tfinv.tflite.qat.integer_file import to_integer_file
from tfinv.tflite.qat.match_scopes import output_label, quantized_layer_map
from tfinv.tflite.qat.plan import QatPlan, make_plan, watched_names
from tfinv.tflite.qat.report import QatConversion, QatReport, RouteResult, agreement
from tfinv.training.invariance import InvarianceLoss

Route = Literal["keras", "tfmot"]


def qat_int8(
    model: KerasModel,
    data: Any,
    epochs: int,
    *,
    route: Route = "keras",
    learning_rate: float = 1e-4,
    batch_size: int = 32,
    augmentation: Callable[..., Any] | None = None,
    calibration: Images = None,
    io: Io = "float32",
    seed: int = 0,
    weight_bits: int = 8,
    progress: bool = True,
    invariance: InvarianceLoss | None = None,
) -> QatConversion:
    """Fine-tune a model with weights and activations rounded as in the integer file, then convert it.

    Route `"keras"` puts fake quantization on a copy of the Keras 3 model, only where TFLite requantizes, with one
    scale a kernel channel (one a kernel in dense layers). Route `"tfmot"` rebuilds the model in tf_keras and leaves
    rounding to tensorflow-model-optimization, in a process of its own, on the CPU. In both, ranges come from data
    before the first step, then follow the batches, and batch normalization keeps its moving statistics: it is folded
    (`keras`) or frozen (`tfmot`), so that what is trained is what is converted.

    The loss is the cross-entropy; where the model ends in a softmax or a sigmoid, of the logits before it. One output
    unit tells two classes.

    Example:
        >>> from tfinv import datasets, models
        >>> from tfinv.tflite import qat_int8
        >>> few = datasets.load("digits").train.subset(200, seed=0)
        >>> result = qat_int8(models.build("ffnet", (16, 16, 1), 10), few, 1, progress=False)
        >>> result.is_integer, result.report.float_fallback
        (True, ())

    Args:
        model: a functional or sequential Keras 3 classifier, nested models allowed, one input and one output. It is
            not modified.
        data: a `Split`, a pair `(x, y)` of images `(S, H, W, C)` as the model takes them and class numbers `(S,)`, or
            a `tf.data.Dataset` of such pairs, which is read into memory.
        epochs: passes over the training images.
        route: `"keras"`, or `"tfmot"`, which needs the extra `tfinv[tfmot]`.
        learning_rate: of Adam. Ten times the default costs accuracy.
        batch_size: images in a step.
        augmentation: maps a batch of training images to one, such as `AffineAugmentation`.
        calibration: images that set the ranges, see `static_int8`; None for up to 512 training images, as they are
            and, where there is one, under the augmentation.
        io: see `static_int8`.
        seed: of the order of images, the augmentation and dropout. Equal seeds give equal files on the same machine.
        weight_bits: of the kernels, 8 or 4 (route `"keras"` only).
        progress: show a progress bar.
        invariance: what is added to the loss, so that layers keep their invariance or become invariant. Its layers are
            those of `model` whose output exists in the file: of a convolution and the ReLU after it, the ReLU. The
            teacher of a `Distillation` may be `model`.

    Returns:
        The file; `report` says how training went, how far the file agrees with the trained model, and which
        operators fell back to calibration or to floating point.

    Raises:
        TypeError: not such a model or data.
        ValueError: data that do not fit the model, an argument out of range, or a layer that the route cannot take
            (it is named).
        ModuleNotFoundError: route `"tfmot"` without its packages.
        RuntimeError: the process of route `"tfmot"` failed, with its reason.

    Source: Jacob et al., Quantization and training of neural networks for efficient integer-arithmetic-only
        inference (CVPR 2018).
    """
    if route not in get_args(Route):
        raise ValueError(f"route must be one of {get_args(Route)}. Received: {route!r}")
    if route == "tfmot" and weight_bits != 8:
        raise ValueError(f"weight_bits must be 8 for route 'tfmot'. Received: {weight_bits!r}")
    if invariance is not None:
        kind_of("invariance", invariance, InvarianceLoss, "an InvarianceLoss")
    started = time.perf_counter()
    flatten(model)  # a model that no route can read fails here, before data are touched
    if invariance is not None and invariance.distillation is not None:
        invariance.activations_of_teacher(model)
    with _without_retracing_warnings():
        options = {"epochs": epochs, "learning_rate": learning_rate, "batch_size": batch_size, "io": io, "seed": seed}
        plan = make_plan(
            model, data, calibration, augmentation, invariance, **options, weight_bits=weight_bits, progress=progress
        )
        if route == "tfmot" and plan.data.y.ndim == 2:
            raise ValueError(
                f"route must be 'keras' for several labels of one image. Received: 'tfmot' and {plan.data.y.shape[1]} "
                "labels"
            )
        with told(TRAINS, plan.model, way_out=TRY_TRAINING):
            result = _by_keras(plan) if route == "keras" else _by_tfmot(plan)
        return _finish(plan, route, result, started)


def _by_keras(plan: QatPlan) -> RouteResult:
    from tfinv.tflite.qat.keras_route.model import fake_quantized, set_ranges
    from tfinv.training.train import train

    trained = fake_quantized(plan.model, weight_bits=plan.weight_bits, seed=plan.seed)
    set_ranges(trained.model, plan.range_batches)
    before = plan.accuracy(trained.model)
    fitted = train(
        trained.logits,
        plan.data,
        epochs=plan.epochs,
        batch_size=plan.batch_size,
        learning_rate=plan.learning_rate,
        augmentation=plan.augmentation,
        seed=plan.seed,
        progress=plan.progress,
        invariance=plan.invariance,
        activations=None if plan.invariance is None else trained.watched(watched_names(plan, trained.layers)),
    )
    output = _output_of(plan)
    file = to_integer_file(
        lambda image: trained.model(image, training=False), trained.model, plan.ranges, trained.steps, output, plan.io
    )
    return RouteResult(
        file,
        trained.steps,
        {name: [float(value) for value in fitted.history[name]] for name in fitted.history if name != "epoch"},
        before,
        plan.accuracy(trained.model),
        agreement(trained.activations, file.conversion(trained.steps, output), plan.compared),
        trained.model,
        trained.activations,
    )


def _by_tfmot(plan: QatPlan) -> RouteResult:
    from tfinv.tflite.qat.tfmot_route.route import train_by_tfmot  # here: it looks for packages of an extra

    return train_by_tfmot(plan, _output_of(plan))


def _finish(plan: QatPlan, route: str, result: RouteResult, started: float) -> QatConversion:
    from tfinv.tflite.convert.recipes import versions
    from tfinv.tflite.qat.keras_route.rules import is_identity

    figures = {"float": plan.accuracy(plan.model), "before": result.before, "after": result.after}
    report = QatReport(
        route,
        plan.epochs,
        time.perf_counter() - started,
        result.history,
        {name: value for name, value in figures.items() if value is not None},
        result.agreement,
        result.file.calibrated,
        result.file.float_fallback,
    )
    conversion = QatConversion(
        result.file.content,
        "qat_int8",
        {"route": route, **plan.options, "report": report.to_json()},
        log=result.file.log,
        versions=versions(),
        report=report,
        model=result.model,
        activations=result.activations,
    )
    layers = quantized_layer_map(conversion.graph, flatten(plan.model), result.steps, is_identity)
    return replace(conversion, layers=replace(layers, agreement=dict(result.agreement.sqnr)))


@contextmanager
def _without_retracing_warnings() -> Iterator[None]:
    """Every training traces functions of its own; after some trainings TensorFlow would call that a mistake."""
    logger, retracing = logging.getLogger("tensorflow"), lambda record: "retracing" not in record.getMessage()
    logger.addFilter(retracing)
    try:
        yield
    finally:
        logger.removeFilter(retracing)


def _output_of(plan: QatPlan) -> str:
    from tfinv.tflite.qat.keras_route.rules import is_identity

    return output_label(flatten(plan.model), is_identity)
