"""Networks with weights that others trained, as far as they can be had, and the same networks with random weights."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from tfinv import models
from tfinv.activations import ActivationModel
from tfinv.activations.input_scale import APPLICATIONS
from tfinv.datasets.sources import find, missing
from tfinv.support import environment
from tfinv.support.reading import read_bytes
from tfinv.support.types import KerasModel
from tfinv.training.seeding import draw_new_weights

if TYPE_CHECKING:
    from tfinv.experiments._shared.standard import StandardStudy

FILES = {
    "resnet8": ("models/ic_resnet8/model.h5", "0..255"),
    "mobilenet_v1": ("models/vww_mobilenet_v1/model.keras", "0..1"),
}
"""File below `TFINV_DATA` and input scale of networks of MLPerf Tiny, see https://github.com/mlcommons/tiny."""

STAND_INS = {"DW": "DepthwiseConv2D"}
"""The depthwise convolution of the MobileNet has a class of its own that does what Keras' does."""


def network_of(study: StandardStudy, name: str, seed: int, *, trained: bool) -> ActivationModel:
    """A network that knows the scale of its inputs, with the attribute `tfinv_config` that names it in caches.

    Args:
        study: the run's study.
        name: a key of `FILES`; `keras.applications.NAME`, with its ImageNet weights; or an architecture of
            `tfinv.models.build`, which the run trains on its own data.
        seed: of random weights, and of training where the run trains.
        trained: with trained weights, or with random ones.

    Raises:
        FileNotFoundError: weights that are not at hand and cannot be downloaded.
        ValueError: an unknown name.
    """
    config = {
        "network": name,
        "seed": None if trained else seed,
        "versions": environment.versions("tensorflow", "keras"),
    }
    if name in FILES:
        place, scale = FILES[name]
        path = find(place)
        if path is None:
            raise missing(name, "it from https://github.com/mlcommons/tiny", place)
        config["digest"] = hashlib.sha256(read_bytes(path, "a readable model file")).hexdigest()
        model = models.load(path, stand_ins=STAND_INS)
        if not trained:
            draw_new_weights(model, seed)
    elif name.startswith(APPLICATIONS):
        scale = name
        model = _application(name) if trained else models.build(name, None, 1000, seed=seed)
    else:
        scale = "0..1"
        if trained:
            model = study.trained(seed, architecture=name)
            config["trained"] = model.tfinv_config
        else:
            model = models.build(name, study.data.input_shape, study.data.num_classes, seed=seed)
    source = ActivationModel(model, input_scale=scale)
    source.tfinv_config = config  # type: ignore[attr-defined]
    return source


def _application(name: str) -> KerasModel:
    try:
        return models.build(name, None, 1000, weights="imagenet")
    except (TypeError, ValueError):
        raise
    except Exception as error:  # Keras raises a bare Exception when a download fails
        raise FileNotFoundError(
            f"networks must be ones whose weights are at hand. Received: {name}, whose weights could not be downloaded "
            f"({str(error).splitlines()[0]})"
        ) from error
