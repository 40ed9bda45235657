"""Networks that are pruned or distilled after training, and what their files weigh."""

from __future__ import annotations

import functools
import gzip
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.experiments._shared.standard import ROTATED, StandardStudy
from tfinv.support.types import KerasModel

if TYPE_CHECKING:
    from tfinv.datasets import Dataset

TEMPERATURE = 4.0
"""Of the softmax that a student learns its teacher's answers through."""
CALIBRATION = 100
"""How many images calibrate a file, at four angles each."""


def fine_tuned(study: StandardStudy, network: KerasModel, share: float, seed: int) -> KerasModel:
    """A network trained on, with rotations, for `fine_tuning` epochs; pruned to `share` zeros on the way.

    Args:
        study: gives data, cache and settings.
        network: a network of `study.trained`, which stays as it is.
        share: of zeros; 0 trains on without pruning, to compare with.
        seed: of the training.
    """
    settings = study.settings
    config = {**network.tfinv_config, "fine_tuning": settings.fine_tuning, "pruned": share, "tuning seed": seed}
    training = {
        "epochs": settings.fine_tuning,
        "batch_size": settings.batch_size,
        "learning_rate": settings.learning_rate,
        "seed": seed,
    }
    name = f"{network.name} trained on, pruned to {share:.0%}, seed {seed}"
    return study.run.derived(name, config, _pruned, base=network, data=study.data, share=share, training=training)


def _pruned(
    model: KerasModel, *, data: Dataset, share: float, training: Mapping[str, Any], progress: bool
) -> KerasModel:
    from tfinv.training import Pruning, train
    from tfinv.transformations import AffineAugmentation

    turning = AffineAugmentation(**ROTATED, seed=training["seed"])
    callbacks = [Pruning(share)] if share else []
    train(model, data.train, augmentation=turning, progress=progress, callbacks=callbacks, **training)
    return model


def distilled(
    study: StandardStudy, teacher: KerasModel, architecture: str, options: Mapping[str, Any], seed: int
) -> KerasModel:
    r"""A small network that learns its teacher's answers on rotated images.

        L = \tfrac12 CE(y, softmax(z_s)) + \tfrac12 T^2 KL(softmax(z_t / T) || softmax(z_s / T))

    Args:
        study: gives data, cache and settings; it trains as long as networks with augmentation.
        teacher: a network of `study.trained`.
        architecture: of the small network.
        options: of the architecture.
        seed: of weights, images and augmentation.
    """
    settings = study.settings
    config = {
        "architecture": architecture,
        "options": dict(options),
        "teacher": teacher.tfinv_config,
        "epochs": settings.augmented_epochs,
        "temperature": TEMPERATURE,
        "divergence": "of softmax",
        "seed": seed,
    }

    training = {
        "epochs": settings.augmented_epochs,
        "batch_size": settings.batch_size,
        "learning_rate": settings.learning_rate,
        "seed": seed,
    }
    made_of: dict[str, Any] = {"architecture": architecture, "data": study.data, "options": dict(options), "seed": seed}
    return study.run.derived(
        f"{architecture}, distilled, seed {seed}",
        config,
        _student_of,
        base=teacher,
        untrained=functools.partial(_student, **made_of),
        training=training,
        **{key: value for key, value in made_of.items() if key != "seed"},
    )


def _student(*, architecture: str, data: Dataset, options: Mapping[str, Any], seed: int) -> KerasModel:
    from tfinv import models

    return models.build(architecture, data.input_shape, data.num_classes, seed=seed, **options)


def _student_of(
    teacher: KerasModel,
    *,
    architecture: str,
    data: Dataset,
    options: Mapping[str, Any],
    training: Mapping[str, Any],
    progress: bool,
) -> KerasModel:
    import keras

    from tfinv.transformations import AffineAugmentation

    seed = training["seed"]
    keras.utils.set_random_seed(seed)
    student = _student(architecture=architecture, data=data, options=options, seed=seed)
    distiller = keras.distillation.Distiller(
        teacher=teacher,
        student=student,
        # An object: given by its name, the divergence is computed of logits as if they were probabilities.
        distillation_losses=keras.distillation.LogitsDistillation(TEMPERATURE, loss=keras.losses.KLDivergence()),
        student_loss_weight=0.5,
    )
    distiller.compile(
        optimizer=keras.optimizers.Adam(training["learning_rate"]),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    turning = AffineAugmentation(**ROTATED, seed=seed)
    batches = data.train.as_dataset(training["batch_size"], shuffle=True, seed=seed, augmentation=turning)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`shuffle=True` was passed")
        distiller.fit(batches, epochs=training["epochs"], verbose=0, shuffle=False)
    return student


def compressed_kib(content: bytes) -> float:
    """Size of a file after gzip, in KiB: what zeros and repeated values weigh on the way to a device."""
    return len(gzip.compress(content, mtime=0)) / 1024


def both_files(study: StandardStudy, network: KerasModel, seed: int) -> dict[str, tuple[Any, float]]:
    """A network and its static int8 file, by what is added to its name, with the KiB of their files after gzip.

    The file is calibrated on training images that are upright and turned by right angles.
    """
    from tfinv import tflite

    images = study.data.train.subset(min(CALIBRATION, len(study.data.train)), seed).x
    turned = np.concatenate([np.ascontiguousarray(np.rot90(images, turns, (1, 2))) for turns in range(4)])
    content = tflite.static_int8(network, turned)
    source: Any = tflite.TFLiteModel(content)
    source.tfinv_config = {**network.tfinv_config, "file": source.id}  # names it in caches, and its seed
    return {
        "": (network, compressed_kib(tflite.float32(network).content)),
        " + int8": (source, compressed_kib(content.content)),
    }
