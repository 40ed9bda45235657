"""Networks trained with and without the loss for invariance, trained further, quantized, and measured alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tfinv.experiments._shared.standard import MEASURE, ROTATED, StandardStudy

if TYPE_CHECKING:
    from tfinv.datasets import Dataset
    from tfinv.support.types import KerasModel

ARMS = {"upright": (False, False), "augmented": (True, False), "loss": (False, True), "both": (True, True)}
"""Whether images are turned, and whether the loss for invariance is added."""
TUNED = {**ARMS, "distilled": (False, True)}
"""The ways of training further; the last one has the float network as its teacher."""


def trained(study: StandardStudy, arm: str, seed: int) -> Any:
    """A network of the first stage, from the cache where it is there."""
    settings = study.settings
    turned, added = ARMS[arm]
    return study.run.trained(
        "simple_conv",
        study.data,
        augmentation=dict(ROTATED) if turned else None,
        seed=seed,
        options={"filters": settings.filters, "dense": settings.dense, "activation": "relu"},
        epochs=settings.epochs * (1 if added else 2),
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        schedule="cosine",
        **({"invariance": _loss(settings)} if added else {}),
    )


def _loss(settings: Any) -> dict[str, Any]:
    return {"ranges": dict(ROTATED), "layers": list(settings.layers), "weight": settings.weight}


def figures(study: StandardStudy, network: KerasModel, seed: int, recipe: str = "") -> dict[str, Any]:
    """The figures of a network, or of its file by a recipe."""
    config = {"network": network.tfinv_config, "recipe": recipe}
    return _kept(study, network, config, seed, f"{recipe or 'float32'}, seed {seed}", _file_of, {"recipe": recipe})


def _file_of(
    network: KerasModel, *, data: Dataset, seed: int, recipe: str, transformations: str, progress: bool
) -> Any:
    from tfinv import tflite

    if not recipe:
        return network
    if recipe == "weight_int4":
        return tflite.TFLiteModel(tflite.weight_int4(network))
    images = data.train.subset(min(300, len(data.train)), seed).x
    turned = tflite.with_transformations(images, transformations, per_image=1, seed=seed)
    return tflite.TFLiteModel(tflite.static_int8(network, turned))


def tuned_figures(study: StandardStudy, network: KerasModel, how: str, bits: int, seed: int) -> dict[str, Any]:
    """The figures of a network that was trained further, with weights of so many bits; 0 for no rounding."""
    settings = study.settings
    added = TUNED[how][1]
    options: dict[str, Any] = {
        "epochs": settings.tuned_epochs * (1 if added else 2),
        "learning_rate": settings.tuned_rate,
        "batch_size": 32,
        "seed": seed,
    }
    config = {"network": network.tfinv_config, "how": how, "bits": bits, "options": options}
    config |= {"samples": settings.tuned_samples, **({"loss": _loss(settings)} if added else {})}
    given = {"how": how, "bits": bits, "options": options, "samples": settings.tuned_samples, "loss": _loss(settings)}
    name = f"trained further {how}, {f'int{bits}' if bits else 'float32'}, seed {seed}"
    return _kept(study, network, config, seed, name, _tuned, given)


def _tuned(
    network: KerasModel,
    *,
    data: Dataset,
    seed: int,
    how: str,
    bits: int,
    options: Mapping[str, Any],
    samples: int,
    loss: Mapping[str, Any],
    transformations: str,
    progress: bool,
) -> Any:
    import keras

    from tfinv import tflite
    from tfinv.training import Distillation, InvarianceLoss, train
    from tfinv.transformations import AffineAugmentation

    turned, added = TUNED[how]
    kept_invariant = None
    if added:
        teacher = Distillation(network) if how == "distilled" else None
        layers = ["logits"] if teacher else list(loss["layers"])
        drawn = AffineAugmentation(**loss["ranges"])
        kept_invariant = InvarianceLoss(drawn, layers, loss["weight"], distillation=teacher)
    shown: dict[str, Any] = {
        "augmentation": AffineAugmentation(**ROTATED) if turned else None,
        "invariance": kept_invariant,
        "progress": progress,
    }
    few = data.train.subset(min(samples, len(data.train)), seed)
    if bits:
        return tflite.TFLiteModel(tflite.qat_int8(network, few, weight_bits=bits, **options, **shown))
    copy: Any = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    train(copy, few, **options, **shown)
    return copy


def _kept(
    study: StandardStudy,
    network: KerasModel,
    config: dict[str, Any],
    seed: int,
    name: str,
    make: Callable[..., Any],
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Accuracies and profile of what `make` gives, from the cache where they were measured before."""
    settings = study.settings
    measured = {"transformations": settings.transformations, "test_samples": settings.test_samples}
    given = {"data": study.data, "seed": seed, "make": make, "options": dict(options), **measured}
    return study.run.figures(f"{network.name}, {name}", config | measured, _figures_of, base=network, **given)


def _figures_of(
    network: KerasModel,
    *,
    data: Dataset,
    seed: int,
    make: Callable[..., Any],
    options: Mapping[str, Any],
    transformations: str,
    test_samples: int,
    progress: bool,
) -> dict[str, Any]:
    from tfinv.evaluation import evaluate
    from tfinv.training import right_under
    from tfinv.transformations import Affine

    model = make(network, data=data, seed=seed, transformations=transformations, progress=progress, **options)
    split = data.test.subset(min(test_samples, len(data.test)), seed)
    assert split.y is not None
    right = right_under(_classifier(model), split.x, split.y, transformations)
    upright = right_under(_classifier(model), split.x, split.y, [Affine.identity()])
    results: Any = evaluate(model, split.x, transformations, MEASURE, progress=False)
    profile = results[MEASURE].profile().dropna(subset="mean")
    return {
        "upright": float(upright.mean()),
        "mean": float(right.mean()),
        "worst": float(right.all(axis=1).mean()),
        "profile": [[layer, float(mean)] for layer, mean in zip(profile["layer"], profile["mean"], strict=True)],
    }


def _classifier(model: Any) -> Any:
    """A model as `right_under` takes it."""
    import keras

    return model if isinstance(model, keras.Model) else model.predict
