"""Route `tfmot`: give the model and its data to a separate process, and bring the results back."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from tfinv.activations.layer_graph import flatten
from tfinv.datasets.split import as_dataset
from tfinv.support.faults import RUNS, ModelFault, told
from tfinv.support.lazy import keras, tf
from tfinv.support.progress import Progress
from tfinv.support.types import KerasModel
from tfinv.tflite.qat.integer_file import IntegerFile
from tfinv.tflite.qat.match_scopes import NamedStep
from tfinv.tflite.qat.plan import QatPlan, outputs, watched_names
from tfinv.tflite.qat.report import Agreement, RouteResult
from tfinv.tflite.qat.tfmot_route.spec import Spec, make_spec
from tfinv.tflite.qat.tfmot_route.stream import END, write_batch
from tfinv.tflite.qat.tfmot_route.weights import Carried
from tfinv.training.seeding import seed_layer

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tfinv.training.invariance import InvarianceLoss

_PACKAGES = ("tf_keras", "tensorflow_model_optimization")
_CHECKED_IMAGES = 32


def train_by_tfmot(plan: QatPlan, output: str) -> RouteResult:
    """Train and convert in a process of its own.

    Args:
        plan: what to do.
        output: label of the layer that gives the model's output.

    Returns:
        The results; `model` is a float Keras 3 copy of the user's, with the tuned weights.

    Raises:
        ModuleNotFoundError: the packages of the extra are missing.
        ValueError: a layer that the route cannot take, or a model that tfmot or the converter refuses.
        RuntimeError: the process ended otherwise, with its last words.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(
            f"route must be 'keras' without {' and '.join(missing)}. Received: 'tfmot'; install what it needs with: "
            "pip install 'tfinv[tfmot]'"
        )
    graph = flatten(plan.model)
    if None in graph.input_shape[1:]:
        raise ValueError(
            "model must take images of one size for route 'tfmot': rebuild it with keras.Input((height, width, "
            f"channels)). Received: (H, W, C) = {tuple(graph.input_shape[1:])}"
        )
    spec, carried = make_spec(graph)
    with tempfile.TemporaryDirectory(prefix="tfinv-tfmot-") as name:
        folder = Path(name)
        _write(folder, plan, spec, output, carried)
        _run(folder, plan)
        return _read(folder, plan, carried)


def _write(folder: Path, plan: QatPlan, spec: Spec, output: str, carried: list[Carried]) -> None:
    options = {
        "label": output,
        "seed": plan.seed,
        "epochs": plan.epochs,
        "learning_rate": plan.learning_rate,
        "io": plan.io,
        "compared": len(plan.compared),
        "invariance": None,
        "distillation": None,
    }
    if plan.invariance is not None:
        available = [call.label for call in spec.calls if not call.is_identity]
        options["invariance"] = {"layers": watched_names(plan, available), "weight": plan.invariance.weight}
        if (taught := plan.invariance.distillation) is not None:
            options["distillation"] = {"weight": taught.weight, "temperature": taught.temperature}
    (folder / "spec.json").write_text(json.dumps(asdict(spec) | options), encoding="utf-8")
    weights: dict[str, Any] = {
        key: array for named in carried for key, array in zip(named.keys, named.arrays, strict=True)
    }
    np.savez(folder / "weights.npz", **weights)  # type: ignore[arg-type]
    with tf.device("CPU:0"):  # where the copy will compute
        expected = outputs(plan.model, plan.calibration[:_CHECKED_IMAGES])
    np.savez(folder / "images.npz", calibration=plan.calibration, ranges=plan.ranges, expected=expected)


def _run(folder: Path, plan: QatPlan) -> None:
    """Start the process, feed it, and raise its error if it has one."""
    # This process may hold all memory of a GPU, so the other one keeps to the CPU.
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "tfinv.tflite.qat.tfmot_route.worker", str(folder)]
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log)
        try:
            assert process.stdin is not None
            _feed(process.stdin, plan)
            code = process.wait()
        finally:
            process.kill()
            process.wait()
    if code:
        raise _error(folder, code)


def _lesson(plan: QatPlan, added: InvarianceLoss) -> Callable[[NDArray[np.float32]], dict[str, Any]]:
    """From images to what the teacher says of them: its logits, and the activations of the layers of the loss."""
    assert added.distillation is not None
    teacher = added.distillation.teacher
    activations = added.activations_of_teacher(plan.model)
    run = tf.function(lambda images: (teacher(images, training=False), activations(images)), reduce_retracing=True)

    def lesson(images: NDArray[np.float32]) -> dict[str, Any]:
        with told(RUNS, teacher):
            logits, layers = run(tf.constant(images))
        return {"logits": logits, **{f"layer {name}": value for name, value in layers.items()}}

    return lesson


def _feed(stream: IO[bytes], plan: QatPlan) -> None:
    """Write all epochs in the form of `stream.read_batches`."""
    data: Any = plan.data
    batches = as_dataset(data, plan.batch_size, True, plan.seed, False, plan.augmentation, True)
    added = plan.invariance
    if added is not None:
        seed_layer(added.draw, plan.data.x[:1], plan.seed + 1)  # apart from the augmentation
    lesson = _lesson(plan, added) if added is not None and added.distillation is not None else None
    steps = -(-len(plan.data) // plan.batch_size) * plan.epochs
    try:
        with Progress(f"training {plan.model.name} (tfmot)", steps, "step", shown=plan.progress) as bar:
            for epoch in range(plan.epochs):
                bar.describe(f"training {plan.model.name} (tfmot), epoch {epoch + 1}/{plan.epochs}")
                for images, labels in batches.as_numpy_iterator():
                    arrays = {"images": images}
                    if added is not None:
                        arrays["transformed"] = added.transformed(images)
                    if lesson is not None:
                        arrays |= lesson(images)
                    write_batch(stream, arrays, labels)
                    bar.advance()
                stream.write(END)
            bar.describe(f"training {plan.model.name} (tfmot), converting")
        stream.close()
    except BrokenPipeError:
        pass  # the process ended; its error is raised from its exit code


def _error(folder: Path, code: int) -> Exception:
    path = folder / "error.json"
    if path.exists():
        error = json.loads(path.read_text(encoding="utf-8"))
        if error["ours"]:
            return ValueError(error["message"])
        return ModelFault(
            "model must be one that route 'tfmot' trains and converts; try route='keras'. Received: "
            f"{error['kind']}: {error['message']}"
        )
    lines = (folder / "log.txt").read_text(encoding="utf-8", errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "no message")
    return RuntimeError(f"route 'tfmot' failed: its process ended with code {code}: {last[:500]}")


def _read(folder: Path, plan: QatPlan, carried: list[Carried]) -> RouteResult:
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    with np.load(folder / "outputs.npz", allow_pickle=False) as file:
        arrays = dict(file)
    with np.load(folder / "tuned.npz", allow_pickle=False) as file:
        tuned = dict(file)
    lists = {name: tuple(result[name]) for name in ("calibrated", "float_fallback")}
    return RouteResult(
        IntegerFile((folder / "model.tflite").read_bytes(), result["log"], **lists),
        [NamedStep(*step) for step in result["steps"]],
        result["history"],
        _accuracy(arrays["before"], plan),
        _accuracy(arrays["after"], plan),
        Agreement(**result["agreement"], not_compared=tuple(result["not_compared"])),
        _tuned_copy(plan.model, carried, tuned),
    )


def _accuracy(logits: NDArray[np.float32], plan: QatPlan) -> float | None:
    return None if plan.labels is None else float((plan.classes(logits) == plan.labels).mean())


def _tuned_copy(model: KerasModel, carried: list[Carried], tuned: dict[str, NDArray[np.float32]]) -> Any:
    """A float copy of the user's model, nested as it was, with the weights that came back."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    twin = {id(a.layer): b.layer for a, b in zip(flatten(model).calls, flatten(copy).calls, strict=True)}
    for named in carried:
        for layer, position, value in named.back([tuned[key] for key in named.keys]):
            weights = twin[id(layer)].get_weights()
            weights[position] = np.asarray(value, np.float32)
            twin[id(layer)].set_weights(weights)
    return copy
