"""Training some layers of a trained network further while the others keep their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.support.checks import close_match
from tfinv.support.types import KerasModel

if TYPE_CHECKING:
    from tfinv.experiment import Run

NONE, CONVOLUTIONS, DENSE, ALL = "none", "all conv", "all dense", "all"


def layer_sets(model: KerasModel) -> dict[str, tuple[str, ...]]:
    """The layers that each set trains: none, each layer with a kernel alone, all convolutions, all dense ones, all.

    A layer with parameters but without a kernel, such as BatchNormalization, belongs to the last layer with a kernel
    before it.

    Args:
        model: a network whose layers follow one another.
    """
    single: dict[str, tuple[str, ...]] = {}
    kinds: dict[str, tuple[str, ...]] = {CONVOLUTIONS: (), DENSE: ()}
    for layer in model.layers:
        kernel = getattr(layer, "kernel", None)
        if kernel is not None:
            name, kind = layer.name, CONVOLUTIONS if len(kernel.shape) > 2 else DENSE
            single[name] = ()
            kinds[kind] = (*kinds[kind], name)
        if layer.weights and single:
            name = list(single)[-1]
            single[name] = (*single[name], layer.name)
    of_kind = {kind: tuple(name for first in names for name in single[first]) for kind, names in kinds.items()}
    return {NONE: (), **single, **of_kind, ALL: tuple(name for names in single.values() for name in names)}


def chosen_sets(model: KerasModel, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The sets of these names in the order of the network, all sets where no name is given.

    No layers and all layers are always among them: recovery is counted from one to the other.

    Raises:
        ValueError: an unknown name.
    """
    sets = layer_sets(model)
    for name in names:
        if name not in sets:
            known = ", ".join(sets)
            raise ValueError(f"sets must be among {known}.{close_match(name, sets)} Received: {name!r}")
    wanted = {NONE, *(names or sets), ALL}
    return {name: layers for name, layers in sets.items() if name in wanted}


def retrained(
    run: Run, model: KerasModel, layers: Sequence[str], data: Any, augmentation: Mapping[str, Any], **training: Any
) -> Any:
    """A copy of a trained network after more training of some layers, from the cache where it is there.

    Layers that are not named keep their weights. Among them BatchNormalization also keeps its moving mean and variance
    and normalizes with them in training, as it does at inference: otherwise a frozen network would change.

    Args:
        run: the run.
        model: a network of `Run.trained`.
        layers: names of the layers that are trained.
        data: the data set; its training split is used.
        augmentation: ranges of an `AffineAugmentation`.
        **training: arguments of `tfinv.training.train`, `seed` among them.

    Returns:
        As `Run.trained`; all layers of it are trainable again.
    """
    if not layers:
        return model
    config = {
        "retrained": model.tfinv_config,
        "layers": list(layers),
        "data": data.id,
        "augmentation": dict(augmentation),
        "training": training,
        "seed": model.tfinv_config["seed"],
    }

    name = f"{model.name}, {len(layers)} layers more, seed {training['seed']}"
    options = {"layers": list(layers), "data": data, "augmentation": dict(augmentation), "training": training}
    return run.derived(name, config, _trained_further, base=model, **options)


def _trained_further(
    model: KerasModel,
    *,
    layers: Sequence[str],
    data: Any,
    augmentation: Mapping[str, Any],
    training: Mapping[str, Any],
    progress: bool,
) -> KerasModel:
    from tfinv.training import train
    from tfinv.transformations import AffineAugmentation

    for layer in model.layers:
        layer.trainable = layer.name in layers
    drawn = AffineAugmentation(**augmentation, seed=training["seed"])
    train(model, data.train, augmentation=drawn, progress=progress, **training)
    for layer in model.layers:
        layer.trainable = True
    return model


def recovery(rotated: dict[str, Any], name: str) -> Any:
    """Gain of accuracy on rotated images over no retraining, as a share of that of retraining all; by seed.

    NaN where retraining all layers gains nothing.
    """
    gain, whole = rotated[name] - rotated[NONE], rotated[ALL] - rotated[NONE]
    return np.divide(gain, whole, out=np.full(len(whole), np.nan), where=whole != 0)
