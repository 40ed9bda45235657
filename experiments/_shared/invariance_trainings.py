"""Networks trained with and without the loss for invariance, trained further, quantized, and measured alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tfinv.experiments._shared.standard import MEASURE, ROTATED, StandardStudy
from tfinv.support.files import write_json

if TYPE_CHECKING:
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
    from tfinv import tflite

    def make() -> Any:
        if not recipe:
            return network
        if recipe == "weight_int4":
            return tflite.TFLiteModel(tflite.weight_int4(network))
        images = study.data.train.subset(min(300, len(study.data.train)), seed).x
        turned = tflite.with_transformations(images, study.settings.transformations, per_image=1, seed=seed)
        return tflite.TFLiteModel(tflite.static_int8(network, turned))

    return _kept(study, {"network": network.tfinv_config, "recipe": recipe}, seed, make)


def tuned_figures(study: StandardStudy, network: KerasModel, how: str, bits: int, seed: int) -> dict[str, Any]:
    """The figures of a network that was trained further, with weights of so many bits; 0 for no rounding."""
    settings = study.settings
    turned, added = TUNED[how]
    options: dict[str, Any] = {
        "epochs": settings.tuned_epochs * (1 if added else 2),
        "learning_rate": settings.tuned_rate,
        "batch_size": 32,
        "seed": seed,
    }

    def make() -> Any:
        import keras

        from tfinv import tflite
        from tfinv.training import Distillation, InvarianceLoss, train
        from tfinv.transformations import AffineAugmentation

        loss = None
        if added:
            teacher = Distillation(network) if how == "distilled" else None
            layers = ["logits"] if teacher else list(settings.layers)
            loss = InvarianceLoss(AffineAugmentation(**ROTATED), layers, settings.weight, distillation=teacher)
        shown: dict[str, Any] = {
            "augmentation": AffineAugmentation(**ROTATED) if turned else None,
            "invariance": loss,
            "progress": study.run.progress,
        }
        data = study.data.train.subset(min(settings.tuned_samples, len(study.data.train)), seed)
        if bits:
            return tflite.TFLiteModel(tflite.qat_int8(network, data, weight_bits=bits, **options, **shown))
        copy: Any = keras.models.clone_model(network)
        copy.set_weights(network.get_weights())
        train(copy, data, **options, **shown)
        return copy

    config = {"network": network.tfinv_config, "how": how, "bits": bits, "options": options}
    config |= {"samples": settings.tuned_samples, **({"loss": _loss(settings)} if added else {})}
    return _kept(study, config, seed, make)


def _kept(study: StandardStudy, config: dict[str, Any], seed: int, make: Callable[[], Any]) -> dict[str, Any]:
    """Accuracies and profile of what `make` gives, from the cache where they were measured before."""
    settings = study.settings
    config = config | {"transformations": settings.transformations, "test_samples": settings.test_samples}

    def measure(folder: Any) -> None:
        from tfinv.evaluation import evaluate
        from tfinv.training import right_under
        from tfinv.transformations import Affine

        model, split = make(), study.data.test.subset(min(settings.test_samples, len(study.data.test)), seed)
        assert split.y is not None
        right = right_under(_classifier(model), split.x, split.y, settings.transformations)
        upright = right_under(_classifier(model), split.x, split.y, [Affine.identity()])
        results: Any = evaluate(model, split.x, settings.transformations, MEASURE, progress=False)
        profile = results[MEASURE].profile().dropna(subset="mean")
        figures = {
            "upright": float(upright.mean()),
            "mean": float(right.mean()),
            "worst": float(right.all(axis=1).mean()),
            "profile": [[layer, float(mean)] for layer, mean in zip(profile["layer"], profile["mean"], strict=True)],
        }
        write_json(folder / "figures.json", figures)

    return study.run.cache.get(
        "keep", config, measure, lambda folder: json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    )


def _classifier(model: Any) -> Any:
    """A model as `right_under` takes it."""
    import keras

    return model if isinstance(model, keras.Model) else model.predict
