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
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tfinv.support.faults import cause, is_ours, one_line
from tfinv.support.types import Images, KerasModel
from tfinv.tflite.qat.match_scopes import NamedStep
from tfinv.tflite.qat.tfmot_route.quantize import quantize, set_ranges, share_scales, tuned_weights
from tfinv.tflite.qat.tfmot_route.rebuild import check_equal, predict, readers_of, rebuild


def main(folder: Path, stream: BinaryIO) -> None:
    """Do everything that the files in a folder ask for, and leave the results there.

    Args:
        folder: holds `spec.json`, `weights.npz` and `images.npz`; receives `model.tflite`, `result.json`, `tuned.npz`.
        stream: training batches, see `read_batches`.
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
        model = with_invariance(model, watched, spec["invariance"]["weight"])
    history = train(model, spec, stream)
    share_scales(quantized, spec)
    outputs["after"] = predict(quantized, images["calibration"])
    np.savez(folder / "outputs.npz", **outputs)  # type: ignore[arg-type]
    tuned: dict[str, Any] = tuned_weights(quantized, spec)
    np.savez(folder / "tuned.npz", **tuned)  # type: ignore[arg-type]
    _convert(folder, quantized, spec, steps, images, history)


def train(model: KerasModel, spec: dict[str, Any], stream: BinaryIO) -> dict[str, list[float]]:
    """Train on the stream; give back loss and accuracy by epoch, and the term of an invariance loss."""
    import tf_keras

    added = spec["invariance"]
    single = model.output_shape[-1] == 1
    loss = tf_keras.losses.BinaryCrossentropy if single else tf_keras.losses.SparseCategoricalCrossentropy
    metric = tf_keras.metrics.BinaryAccuracy("accuracy", threshold=0.0) if single else "accuracy"
    model.compile(tf_keras.optimizers.Adam(spec["learning_rate"]), loss(from_logits=True), metrics=[metric])
    history: dict[str, list[float]] = {"loss": [], "accuracy": []} | ({"invariance": []} if added else {})
    for _ in range(spec["epochs"]):
        logs: dict[str, Any] = {}
        model.reset_metrics()
        for images, labels in read_batches(stream, paired=bool(added)):
            logs = model.train_on_batch(images, labels, reset_metrics=False, return_dict=True)
            if not np.isfinite(logs["loss"]):
                raise ValueError(
                    f"learning_rate must be small enough for a finite loss. Received: {spec['learning_rate']!r}"
                )
        if added:  # tf_keras counts the cross entropy alone
            logs["loss"] += added["weight"] * logs["invariance"]
        for name in history:
            history[name].append(float(logs[name]))
    return history


def with_invariance(model: KerasModel, watched: KerasModel, weight: float) -> KerasModel:
    """A model of the pair `(images, transformed images)` that is trained with the term of an invariance loss.

    Args:
        model: gives logits for images.
        watched: gives `{layer: activation}` for images, from the same layers.
        weight: of the term.
    """
    import tensorflow as tf
    import tf_keras

    from tfinv.training.invariance import mean_term

    class Invariance(tf_keras.Model):
        output_shape = model.output_shape

        def __init__(self) -> None:
            super().__init__()
            self.trained = model
            self.term = tf_keras.metrics.Mean(name="invariance")

        def call(self, pair: Any, training: bool = False) -> Any:
            return self.trained(pair[0], training=training)

        def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None) -> Any:
            term = mean_term(*(watched(images, training=False) for images in x))
            self.term.update_state(term, tf.shape(y)[0])
            return super().compute_loss(x, y, y_pred, sample_weight) + weight * term

    return Invariance()


def read_batches(stream: BinaryIO, paired: bool = False) -> Iterator[tuple[Any, NDArray[np.int64]]]:
    """The batches of one epoch: a line with the shape `[N, H, W, C]`, float32 images, int64 labels; `[]` ends it.

    Args:
        stream: holds them.
        paired: the images are followed by as many transformed ones; then the first member of a batch is the pair.
    """
    while shape := json.loads(stream.readline() or b"null"):
        count = int(np.prod(shape))
        parts = [np.frombuffer(_exactly(stream, 4 * count), np.float32).reshape(shape) for _ in range(1 + paired)]
        yield tuple(parts) if paired else parts[0], np.frombuffer(_exactly(stream, 8 * shape[0]), np.int64)
    if shape is None:
        raise EOFError("the training data ended early")


def _exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise EOFError("the training data ended early")
    return data


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
