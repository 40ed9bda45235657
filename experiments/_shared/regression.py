"""Networks that tell how an image was transformed: their targets, their training, their error."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.support.types import KerasModel
from tfinv.transformations import TransformationSet, parse, warp

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfinv.datasets import Dataset, Split
    from tfinv.experiments._shared.standard import StandardStudy


def targets(transformations: TransformationSet) -> NDArray[np.float32]:
    """What a network has to tell of each affine map: the entries of its matrix that vary, each scaled to [0, 1].

    For rotations these are sines and cosines, which have no jump at 180 degrees; for scales the two factors, and for
    translations the two shifts. An entry that another one gives up to a straight line is left out.

    Example:
        >>> from tfinv.transformations import rotations
        >>> targets(rotations(4)).round(2).tolist()
        [[0.0, 0.5], [0.5, 0.0], [1.0, 0.5], [0.5, 1.0]]

    Args:
        transformations: affine maps.

    Returns:
        `(T, P)`, float32.

    Raises:
        ValueError: a set with a member that is not affine, or with members that are all the same.
    """
    if not transformations.is_affine:
        raise ValueError(f"transformations must be affine maps. Received: {transformations.id}")
    coefficients = np.stack([np.ravel(member.coefficients) for member in transformations])  # type: ignore[union-attr]
    kept: list[NDArray[np.float64]] = []
    for values in coefficients.T:
        span = np.ptp(values)
        scaled = (values - values.min()) / span if span > 1e-6 else None
        if scaled is None or any(
            min(np.abs(scaled - old).max(), np.abs(1 - scaled - old).max()) < 1e-6 for old in kept
        ):
            continue
        kept.append(scaled)
    if not kept:
        raise ValueError(f"transformations must differ from each other. Received: {transformations.id}")
    return np.stack(kept, axis=1).astype(np.float32)


def transformed_once(
    images: NDArray[np.float32], transformations: TransformationSet, generator: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Every image under one member drawn at random, and the numbers of the members.

    Args:
        images: `(S, H, W, C)`.
        transformations: the set, `T` members.
        generator: draws the members.

    Returns:
        Images of the same shape, and numbers `(S,)` from 0 to `T - 1`.
    """
    numbers = generator.integers(len(transformations), size=len(images))
    result = np.empty_like(images)
    for number in np.unique(numbers):
        chosen = numbers == number
        member = TransformationSet((transformations[int(number)],))
        result[chosen] = np.asarray(warp(images[chosen], member))[:, 0]
    return result, numbers


def regressor(study: StandardStudy, seed: int, transformations: str) -> Any:
    """SimpleConv with one sigmoid for each target, trained to tell the member that made the image; from the cache.

    Adam on the mean square error; in every epoch each training image is under a newly drawn member.

    Args:
        study: its settings give sizes, `regression_epochs`, batch size and learning rate.
        seed: of weights, order and draws.
        transformations: id of the set.

    Returns:
        A Keras model with the attribute `tfinv_config`.
    """
    from tfinv.support import environment

    settings, data = study.settings, study.data
    options = {"filters": settings.filters, "dense": settings.dense}
    training = {key: getattr(settings, key) for key in ("regression_epochs", "batch_size", "learning_rate")}
    config = {
        "regressor": "simple_conv",
        "options": options,
        "data": data.id,
        "transformations": transformations,
        "training": training,
        "seed": seed,
        "versions": environment.versions("tensorflow", "keras"),
    }

    made_of: dict[str, Any] = {"data": data, "transformations": transformations, "options": options, "seed": seed}
    return study.run.derived(
        f"simple_conv that tells {transformations} on {data.name}, seed {seed}",
        config,
        _trained_regressor,
        untrained=functools.partial(_untrained_regressor, **made_of),
        training=training,
        **made_of,
    )


def _untrained_regressor(*, data: Dataset, transformations: str, options: Mapping[str, Any], seed: int) -> Any:
    import keras

    from tfinv import models

    count = targets(parse(transformations)).shape[1]
    network = models.build("simple_conv", data.input_shape, count, seed=seed, **options)
    head = keras.layers.Activation("sigmoid", name="parameters")(network.output)
    return keras.Model(network.inputs, head, name="transformation_regression")


def _trained_regressor(
    *,
    data: Dataset,
    transformations: str,
    options: Mapping[str, Any],
    training: Mapping[str, Any],
    seed: int,
    progress: bool,
) -> Any:
    import keras

    chosen = parse(transformations)
    answers = targets(chosen)
    keras.utils.set_random_seed(seed)
    model = _untrained_regressor(data=data, transformations=transformations, options=options, seed=seed)
    model.compile(optimizer=keras.optimizers.Adam(training["learning_rate"]), loss="mse", jit_compile=False)
    generator = np.random.default_rng(seed)
    for _ in range(training["regression_epochs"]):
        images, numbers = transformed_once(data.train.x, chosen, generator)
        model.fit(images, answers[numbers], batch_size=training["batch_size"], epochs=1, verbose=0)
    return model


def relative_error(model: KerasModel, split: Split, transformations: str, seed: int) -> float:
    r"""Error of the predicted parameters as a share of that of always answering their mean.

        RAE = \sum_i \lVert \hat y_i - y_i \rVert_1 / \sum_i \lVert \bar y - y_i \rVert_1

    Args:
        model: of `regressor`.
        split: the images; each is shown under one member.
        transformations: id of the set that the model was trained on.
        seed: draws the members.

    Returns:
        0 for a perfect answer, 1 for one no better than the mean.
    """
    chosen = parse(transformations)
    images, numbers = transformed_once(split.x, chosen, np.random.default_rng(seed))
    return relative_absolute_error(model.predict(images, verbose=0), targets(chosen)[numbers])


def relative_absolute_error(predicted: NDArray[Any], true: NDArray[Any]) -> float:
    """The quotient of `relative_error`, of arrays `(S, P)`."""
    return float(np.abs(predicted - true).sum() / np.abs(true.mean(axis=0) - true).sum())
