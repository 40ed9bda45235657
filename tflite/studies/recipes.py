"""The registry of recipes: those of tfinv, registered ones, and those of installed packages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tfinv.support.checks import kind_of
from tfinv.support.extensions import installed, installed_names
from tfinv.tflite.convert import recipes as convert
from tfinv.tflite.convert.calibration_ranges import Ranges
from tfinv.tflite.files.conversion import Conversion
from tfinv.tflite.studies.recipe import Materials, Recipe
from tfinv.tflite.studies.samplers import FLOAT_SAMPLER, samplers

REFERENCE = "float32"
"""The recipe that all others are compared with."""
GROUP = "tfinv.recipes"
"""The entry-point group in which installed packages name recipes."""


def _tuned(materials: Materials, augmented: bool) -> Conversion:
    """The float model, trained for as long as quantization-aware training trains, without rounding."""
    import keras

    from tfinv.training.train import train

    copy = keras.models.clone_model(materials.model)
    copy.set_weights(materials.model.get_weights())
    train(
        copy,
        materials.labelled,
        epochs=materials.epochs,
        batch_size=32,
        learning_rate=materials.learning_rate,
        augmentation=materials.augmentation() if augmented else None,
        seed=materials.seed,
        progress=materials.progress,
    )
    return convert.float32(copy)


def _qat(materials: Materials, augmented: bool, bits: int = 8, route: Any = "keras") -> Conversion:
    from tfinv.tflite.qat.train import qat_int8

    return qat_int8(
        materials.model,
        materials.labelled,
        materials.epochs,
        route=route,
        learning_rate=materials.learning_rate,
        augmentation=materials.augmentation() if augmented else None,
        seed=materials.seed,
        weight_bits=bits,
        progress=materials.progress,
    )


def _float_sampler(materials: Materials) -> Conversion:
    layers = samplers(materials.model)
    if not layers:
        raise ValueError(f"model must have a SpatialTransformer for {FLOAT_SAMPLER}. Received: none")
    return convert.static_int8(materials.model, materials.upright, float_layers=layers)


def _static(name: str, words: str, **options: Any) -> Recipe:
    """Static int8 with options of `static_int8`, calibrated on upright images."""
    return _calibrated(name, words, lambda m: convert.static_int8(m.model, m.upright, **options))


def _calibrated(name: str, words: str, make: Callable[[Materials], Conversion]) -> Recipe:
    return Recipe(name, words, make, calibrates=True, integer=True)


def _aware(name: str, words: str, augmented: bool = False, **options: Any) -> Recipe:
    """Quantization-aware training with options of `_qat`."""
    return Recipe(name, words, lambda m: _qat(m, augmented, **options), trains=True, integer=True)


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("float32", "everything in floating point: the reference", lambda m: convert.float32(m.model)),
        Recipe("float16", "weights in 16-bit floating point", lambda m: convert.float16(m.model)),
        Recipe(
            "dynamic_int8", "8-bit weights, activations quantized on the fly", lambda m: convert.dynamic_int8(m.model)
        ),
        _static("static_int8", "8-bit weights and activations, calibrated on upright images"),
        _calibrated(
            "static_int8_transformed",
            "8-bit weights and activations, calibrated on as many transformed images",
            lambda m: convert.static_int8(m.model, m.transformed),
        ),
        _static(
            "static_int8_per_tensor",
            "static_int8 with one scale a kernel instead of one a channel",
            per_channel=False,
        ),
        _static("static_int8_equalized", "static_int8 after balancing channel ranges between layers", equalize=True),
        _static(
            "static_int8_per_tensor_equalized",
            "one scale a kernel after balancing channel ranges",
            per_channel=False,
            equalize=True,
        ),
        _calibrated(
            "static_int16x8",
            "8-bit weights, 16-bit activations, calibrated on upright images",
            lambda m: convert.static_int16x8(m.model, m.upright),
        ),
        _calibrated(
            "static_int8_clipped",
            "static_int8_transformed with ranges of least squared error and corrected biases",
            lambda m: convert.static_int8(m.model, m.transformed, ranges=Ranges("mse", bias_correction=True)),
        ),
        Recipe("weight_int4", "4-bit weights, activations in floating point", lambda m: convert.weight_int4(m.model)),
        Recipe(
            "weight_int4_corrected",
            "weight_int4 with biases corrected on transformed images",
            lambda m: convert.weight_int4(m.model, m.transformed, ranges=Ranges(bias_correction=True)),
            calibrates=True,
        ),
        _aware("qat_int8", "trained on with 8-bit rounding, then static int8"),
        _aware(
            "qat_int8_augmented",
            "trained on with 8-bit rounding on transformed images, then static int8",
            augmented=True,
        ),
        _aware("qat_int8_tfmot", "the same as qat_int8 by tensorflow-model-optimization", route="tfmot"),
        _aware(
            "qat_int8_tfmot_augmented",
            "the same as qat_int8_augmented by tensorflow-model-optimization",
            augmented=True,
            route="tfmot",
        ),
        _aware("qat_int4", "trained on with 4-bit weights and 8-bit activations", bits=4),
        _aware("qat_int4_augmented", "trained on with 4-bit weights on transformed images", augmented=True, bits=4),
        Recipe(
            "float32_tuned",
            "trained on without rounding: what training alone does",
            lambda m: _tuned(m, False),
            trains=True,
        ),
        Recipe(
            "float32_tuned_augmented",
            "trained on without rounding on transformed images",
            lambda m: _tuned(m, True),
            trains=True,
        ),
    )
}
"""All recipes by name: those of tfinv, from most to least precise storage, then registered ones."""
_OF_ALL = tuple(RECIPES.values())
ON_REQUEST: dict[str, Recipe] = {
    FLOAT_SAMPLER: Recipe(
        FLOAT_SAMPLER,
        "static_int8 with the samplers of spatial transformers in float32",
        _float_sampler,
        calibrates=True,
    )
}
"""Recipes for some models only: `"all"` leaves them out."""
_BUILT_IN = RECIPES | ON_REQUEST


def register(recipe: Recipe) -> Recipe:
    """Make a recipe known by its name, so that `study` and the command line find it.

    A later recipe of the same name takes the place of an earlier one, except for the recipes of tfinv.

    Args:
        recipe: the recipe.

    Returns:
        The recipe.

    Raises:
        TypeError: something else.
        ValueError: the name of a recipe of tfinv.
    """
    _check(recipe)
    RECIPES[recipe.name] = recipe
    return recipe


def names() -> list[str]:
    """Names of all recipes: those of tfinv, then registered ones, those for some models only, and installed ones."""
    return list(dict.fromkeys([*RECIPES, *ON_REQUEST, *installed_names(GROUP)]))


def choose(recipes: str | Recipe | Sequence[str | Recipe]) -> tuple[Recipe, ...]:
    """Recipes, the reference first.

    Example:
        >>> from tfinv.tflite.studies.recipes import choose
        >>> [recipe.name for recipe in choose(["weight_int4"])]
        ['float32', 'weight_int4']

    Args:
        recipes: `"all"` for all recipes of tfinv that any model can take, a name, a `Recipe`, or several of these.

    Raises:
        TypeError: neither a name nor a `Recipe`.
        ValueError: an unknown name (the known ones are listed), two recipes of one name, or none.
    """
    kind_of("recipes", recipes, (str, Recipe, Iterable), "'all', names of recipes or objects Recipe")
    wanted = [recipes] if isinstance(recipes, (str, Recipe)) else list(recipes)
    listed = [recipe for item in wanted for recipe in (_OF_ALL if item == "all" else [_recipe(item)])]
    if not listed:
        raise ValueError(f"recipes must be 'all' or names among {', '.join(names())}. Received: none")
    chosen = {REFERENCE: RECIPES[REFERENCE]}
    for recipe in listed:
        if chosen.setdefault(recipe.name, recipe) is not recipe:
            raise ValueError(f"recipes must have different names. Received: {recipe.name!r} twice")
    return tuple(chosen.values())


def facts(recipe: Recipe) -> dict[str, Any]:
    """What a report needs to know of a recipe, as JSON values."""
    return {name: getattr(recipe, name) for name in ("words", "trains", "calibrates", "integer")}


def is_built_in(recipe: Recipe) -> bool:
    """Whether a recipe is one of tfinv."""
    return _BUILT_IN.get(recipe.name) is recipe


def _recipe(item: str | Recipe) -> Recipe:
    if not isinstance(item, str):
        return _check(item)
    if item in ON_REQUEST:
        return ON_REQUEST[item]
    if item not in RECIPES and (recipe := installed(GROUP, item)) is not None:
        register(recipe)
    if item not in RECIPES:
        raise ValueError(f"recipes must be 'all' or names among {', '.join(names())}. Received: {item!r}")
    return RECIPES[item]


def _check(recipe: Any) -> Recipe:
    if not isinstance(recipe, Recipe):
        raise TypeError(f"recipe must be a tfinv.tflite.Recipe. Received: {recipe!r}")
    if recipe.name in _BUILT_IN and not is_built_in(recipe):
        raise ValueError(f"recipe must not have the name of a recipe of tfinv. Received: {recipe.name!r}")
    return recipe
