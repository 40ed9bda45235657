"""The process of route `tfmot`, started by `tfmot_route`: rebuild, quantize, train, convert.

Only here, in `tfmot_rebuild` and in `tfmot_quantize` are tf_keras and tensorflow-model-optimization imported, because
importing them changes what `tf.keras` means for the whole process.

    python -m tfinv.tflite.qat.tfmot_route.worker FOLDER
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tfinv.support.faults import cause, is_ours, one_line
from tfinv.support.types import Images, KerasModel
from tfinv.tflite.qat.match_scopes import NamedStep
from tfinv.tflite.qat.tfmot_route.quantize import quantize, set_ranges, share_scales, tuned_weights
from tfinv.tflite.qat.tfmot_route.rebuild import check_equal, predict, readers_of, rebuild
from tfinv.tflite.qat.tfmot_route.stream import read_batches


def main(folder: Path, stream: BinaryIO) -> None:
    """Do everything that the files in a folder ask for, and leave the results there.

    Args:
        folder: holds `spec.json`, `weights.npz` and `images.npz`; receives `model.tflite`, `result.json`, `tuned.npz`.
        stream: training batches, see `read_batches` in `stream`.
    """
    spec = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
    with np.load(folder / "images.npz", allow_pickle=False) as file:
        images = dict(file)
    with np.load(folder / "weights.npz", allow_pickle=False) as file:
        weights = dict(file)
    import tf_keras

    tf_keras.utils.set_random_seed(spec["seed"])
    model = rebuild(spec, weights)
    check_equal(model, images["calibration"][: len(images["expected"])], images["expected"])
    quantized = quantize(model, spec)
    set_ranges(quantized, images["ranges"])
    share_scales(quantized, spec)
    outputs: dict[str, Any] = {"before": predict(quantized, images["calibration"])}
    steps = _steps(spec)
    model = _up_to_logits(quantized, spec)
    if spec["invariance"]:
        outputs_of = _layer_outputs(quantized, steps)
        watched = tf_keras.Model(quantized.input, {name: outputs_of[name] for name in spec["invariance"]["layers"]})
        model = with_invariance(model, watched, spec)
    history = train(model, spec, stream)
    share_scales(quantized, spec)
    outputs["after"] = predict(quantized, images["calibration"])
    np.savez(folder / "outputs.npz", **outputs)  # type: ignore[arg-type]
    tuned: dict[str, Any] = tuned_weights(quantized, spec)
    np.savez(folder / "tuned.npz", **tuned)  # type: ignore[arg-type]
    _convert(folder, quantized, spec, steps, images, history)


def train(model: KerasModel, spec: dict[str, Any], stream: BinaryIO) -> dict[str, list[float]]:
    """Train on the stream; give back loss and accuracy by epoch, and the terms of an invariance loss."""
    import tf_keras

    added = {name: spec[name]["weight"] for name in ("invariance", "distillation") if spec[name]}
    single = model.output_shape[-1] == 1
    loss = tf_keras.losses.BinaryCrossentropy if single else tf_keras.losses.SparseCategoricalCrossentropy
    metric = tf_keras.metrics.BinaryAccuracy("accuracy", threshold=0.0) if single else "accuracy"
    model.compile(tf_keras.optimizers.Adam(spec["learning_rate"]), loss(from_logits=True), metrics=[metric])
    history: dict[str, list[float]] = {name: [] for name in ("loss", "accuracy", *added)}
    for _ in range(spec["epochs"]):
        logs: dict[str, Any] = {}
        model.reset_metrics()
        for arrays, labels in read_batches(stream):
            x = arrays if added else arrays["images"]
            logs = model.train_on_batch(x, labels, reset_metrics=False, return_dict=True)
            if not np.isfinite(logs["loss"]):
                raise ValueError(
                    f"learning_rate must be small enough for a finite loss. Received: {spec['learning_rate']!r}"
                )
        for name, weight in added.items():  # tf_keras counts the cross entropy alone
            logs["loss"] += weight * logs[name]
        for name in history:
            history[name].append(float(logs[name]))
    return history


def with_invariance(model: KerasModel, watched: KerasModel, spec: dict[str, Any]) -> KerasModel:
    """A model of batches by name, as `stream.read_batches` gives them, trained with the terms of an invariance loss.

    Args:
        model: gives logits for images.
        watched: gives `{layer: activation}` for images, from the same layers.
        spec: holds the weights of the terms.
    """
    import tensorflow as tf
    import tf_keras

    from tfinv.training.invariance import mean_term

    weight, taught = spec["invariance"]["weight"], spec["distillation"]
    divergence = tf_keras.losses.KLDivergence()

    class Invariance(tf_keras.Model):
        output_shape = model.output_shape

        def __init__(self) -> None:
            super().__init__()
            self.trained = model
            self.term = tf_keras.metrics.Mean(name="invariance")
            self.distilled = tf_keras.metrics.Mean(name="distillation") if taught else None

        def call(self, arrays: Any, training: bool = False) -> Any:
            return self.trained(arrays["images"], training=training)

        def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None) -> Any:
            lesson = {name.removeprefix("layer "): value for name, value in x.items() if name.startswith("layer ")}
            plain = lesson if taught else watched(x["images"], training=False)
            term = mean_term(plain, watched(x["transformed"], training=False))
            self.term.update_state(term, tf.shape(y)[0])
            loss = super().compute_loss(x, y, y_pred, sample_weight) + weight * term
            if self.distilled is not None:
                temperature = taught["temperature"]
                distilled = divergence(*(tf.nn.softmax(logits / temperature) for logits in (x["logits"], y_pred)))
                distilled *= temperature**2  # as keras.distillation.LogitsDistillation does
                self.distilled.update_state(distilled, tf.shape(y)[0])
                loss += taught["weight"] * distilled
            return loss

    return Invariance()


def _up_to_logits(quantized: Any, spec: dict[str, Any]) -> Any:
    import tf_keras

    if spec["logits"] == spec["output"]:
        return quantized
    name = next(call["name"] for call in spec["calls"] if call["output"] == spec["output"])
    return tf_keras.Model(quantized.input, quantized.get_layer(f"quant_{name}").input)


def _convert(
    folder: Path, quantized: Any, spec: dict[str, Any], steps: list[NamedStep], images: Images, history: Any
) -> None:
    import tf_keras

    from tfinv.tflite.qat.integer_file import to_integer_file
    from tfinv.tflite.qat.report import agreement

    file = to_integer_file(
        lambda image: quantized(image, training=False), quantized, images["ranges"], steps, spec["label"], spec["io"]
    )
    conversion = file.conversion(steps, spec["label"])
    assert conversion.layers is not None
    tensors = _layer_outputs(quantized, steps)
    taps = tf_keras.Model(quantized.input, {label: tensors[label] for label in conversion.layers.matched})
    compared = agreement(
        lambda batch: taps(batch, training=False), conversion, images["calibration"][: spec["compared"]]
    )
    (folder / "model.tflite").write_bytes(file.content)
    result = {
        "steps": steps,
        "history": history,
        "calibrated": file.calibrated,
        "float_fallback": file.float_fallback,
        "log": file.log,
        "agreement": {"classes": compared.classes, "sqnr": dict(compared.sqnr), "images": compared.images},
        "not_compared": compared.not_compared,
    }
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")


def _layer_outputs(quantized: Any, steps: list[NamedStep]) -> dict[str, Any]:
    """The symbolic output of each of the user's layers, by label."""
    tensors: dict[str, Any] = {}
    for position, step in enumerate(steps):  # the last step of a label gives its output
        calls = [earlier.name for earlier in steps[:position]].count(step.name)
        tensors[step.label] = quantized.get_layer(step.name).get_output_at(calls)
    return tensors


def _steps(spec: dict[str, Any]) -> list[NamedStep]:
    """What the file is made of; tfmot's normalizations and ReLUs leave no name in a tensor that swallowed them."""
    producer = {call["output"]: call for call in spec["calls"]}
    readers = readers_of(spec)
    steps = []
    for call in spec["calls"]:
        before = producer.get(call["inputs"][0])
        fuses = call["kind"] in ("BatchNormalization", "ReLU") and before is not None
        alone = before is not None and len(readers[before["output"]]) == 1
        if not call["is_identity"]:
            label = before["label"] if fuses and alone and before is not None else ""
            steps.append(NamedStep(f"quant_{call['name']}", call["label"], label))
    return steps


def _described(error: BaseException) -> dict[str, Any]:
    """What went wrong, as JSON values: kind, words, and whether tfinv says it itself."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    ours = is_ours(error) or (trace is not None and trace.tb_frame.f_globals.get("__name__") == "__main__")
    words = one_line(error, 500) if ours else cause(error)[0]
    return {"kind": type(error).__name__, "message": words, "ours": ours and isinstance(error, ValueError)}


if __name__ == "__main__":
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    place = Path(sys.argv[1])
    try:
        main(place, sys.stdin.buffer)
    except Exception as error:
        traceback.print_exc()
        (place / "error.json").write_text(json.dumps(_described(error)), encoding="utf-8")
        sys.exit(1)
