"""What users add without touching tfinv: one file each, used through the public way, with a value to check.

`COST` counts the source files inside tfinv that the same addition takes there, next to its test and a line of
documentation.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

import tfinv
from tfinv import measures, models, transformations
from tfinv.results import Results
from tfinv.run import main
from tfinv.support.extensions import load_named, load_object
from tfinv.tflite import Recipe
from tfinv.tflite.studies import recipes
from tfinv.transformations import Affine, AffineAugmentation, parse, product, rotations

pytestmark = pytest.mark.usefixtures("undrawn")

ROOT = Path(__file__).parents[1]

COST = {
    "measure": ("tfinv/measures/{name}.py", "tfinv/measures/__init__.py"),
    "statistic": ("tfinv/statistics/{name}.py", "tfinv/statistics/__init__.py"),
    "transformation family": ("tfinv/transformations/sets.py", "tfinv/transformations/__init__.py"),
    "architecture": ("tfinv/models/{name}.py", "tfinv/models/build.py"),
    "experiment": ("experiments/{name}.py",),
    "activation source": ("tfinv/activations/{name}.py",),
    "recipe": ("tflite/studies/recipes.py",),
}
"""The files to write or to change inside tfinv, at most two."""

MEASURE = '''
from __future__ import annotations
from dataclasses import dataclass
from tfinv.measures import Measure
from tfinv.results import LayerResult
from tfinv.statistics import ColumnMoments
from tfinv.status import finite_status


@dataclass(frozen=True)
class Level(Measure):
    """Mean activation times `alpha`."""

    alpha: float = 1.0

    @property
    def requires(self):
        return (ColumnMoments(),)

    def compute(self, states):
        values = self.alpha * states[ColumnMoments()].mean.mean(axis=0)
        return LayerResult(values, finite_status(values))
'''

STATISTIC = '''
from __future__ import annotations
from dataclasses import dataclass
from typing import Any, NamedTuple
import numpy as np
import tensorflow as tf
from tfinv.measures import Measure
from tfinv.results import LayerResult
from tfinv.statistics import Statistic
from tfinv.status import finite_status


class PeakState(NamedTuple):
    highest: Any


@dataclass(frozen=True)
class Peak(Statistic):
    """The highest activation."""

    def init(self, layer, dtype="float32"):
        return PeakState(tf.fill(layer.shape, tf.constant(-np.inf, dtype)))

    def update(self, state, block, context=None):
        return self.merge(state, PeakState(tf.reduce_max(block, axis=(0, 1))))

    def merge(self, first, second):
        return PeakState(tf.maximum(first.highest, second.highest))


@dataclass(frozen=True)
class Highest(Measure):
    @property
    def requires(self):
        return (Peak(),)

    def compute(self, states):
        values = np.asarray(states[Peak()].highest)
        return LayerResult(values, finite_status(values))
'''

FAMILY = """
import numpy as np
from tfinv.tflite import Recipe
from tfinv.tflite.studies import recipes
from tfinv.transformations import Affine, register


@register
def tilts(n: int, slope: float = 0.5):
    return [Affine(((1.0, s, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0))) for s in np.linspace(-slope, slope, n)]
"""

ARCHITECTURE = """
import keras


def small_head(input_shape, classes, *, units=4):
    inputs = keras.Input(input_shape)
    x = keras.layers.Dense(units, name="hidden")(keras.layers.Flatten(name="flat")(inputs))
    return keras.Model(inputs, keras.layers.Dense(classes, name="logits")(x))
"""

EXPERIMENT = """
from __future__ import annotations
from dataclasses import dataclass
from tfinv.experiment import Experiment, Finding


@dataclass(frozen=True)
class Sum:
    value: int


def add(context):
    return Finding("sums are right", "confirmed", f"The sum is {Sum(context.settings.number + 1).value}.")


EXPERIMENT = Experiment("sums", "What is the sum?", add, {"number": 2})
"""

SOURCE = '''
import numpy as np


class Brightness:
    """The mean of each image and its negative, as one layer of two units."""

    id = "brightness"
    input_shape = (4, 4, 1)
    layer_shapes = {"mean": (2,)}

    def select(self, layers):
        return self

    def __call__(self, images):
        mean = np.asarray(images).mean(axis=(1, 2, 3))
        return {"mean": np.stack([mean, -mean], axis=1).astype(np.float32)}
'''

RECIPE = """
import tensorflow as tf
from tfinv.tflite import Recipe


def make(materials):
    converter = tf.lite.TFLiteConverter.from_keras_model(materials.model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return converter.convert()


HALF = Recipe("half", "float16 by TensorFlow's converter", make)
"""


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """Undo what a test registers."""
    for module, name in (
        ("tfinv.measures", "_MEASURES"),
        ("tfinv.transformations.sets", "_FACTORIES"),
        ("tfinv.models.build", "_BUILDERS"),
        ("tfinv.tflite.studies.recipes", "RECIPES"),
    ):
        holder = importlib.import_module(module)
        monkeypatch.setattr(holder, name, dict(getattr(holder, name)))


@pytest.fixture
def model_and_data(tmp_path: Path) -> list[str]:
    """Arguments of `measure`: a small network in a file, and eight images in another."""
    import keras

    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(3, 3, name="conv")(inputs)
    x = keras.layers.Dense(2, name="logits")(keras.layers.Flatten(name="flat")(x))
    keras.Model(inputs, x).save(tmp_path / "model.keras")
    generator = np.random.default_rng(0)
    images, labels = generator.random((8, 8, 8, 1), dtype=np.float32), np.arange(8) % 2
    np.savez(tmp_path / "images.npz", x=images[:4], y=labels[:4], x_test=images[4:], y_test=labels[4:])
    return ["--model", str(tmp_path / "model.keras"), "--data", str(tmp_path / "images.npz"), "--quiet"]


def written(folder: Path, text: str) -> str:
    path = folder / "mine.py"
    path.write_text(text)
    return str(path)


def transformed_activations(folder: Path, layer: str, members) -> np.ndarray:
    """Activations `(S, T, *U)` of the test images, by Keras alone."""
    import keras

    model, images = models.load(folder / "model.keras"), np.load(folder / "images.npz")["x_test"]
    part = keras.Model(model.inputs[0], model.get_layer(layer).output)
    warped = np.asarray(transformations.warp(images, members))
    return np.stack([part(warped[:, number]).numpy() for number in range(len(members))], axis=1)


def test_a_measure_of_ones_own_works_on_the_command_line_and_is_saved(tmp_path, model_and_data):
    mine, out = written(tmp_path, MEASURE), tmp_path / "out"
    options = ["--transformations", "rotations(4)", "--measures", f"{mine}:Level(alpha=0.5)", "NormalizedVariance"]
    assert main(["measure", *model_and_data, *options, "--out", str(out)]) == 0
    results = Results.load(out / "results.npz")
    assert list(results) == ["Level(alpha=0.5)", "NormalizedVariance"]
    expected = 0.5 * transformed_activations(tmp_path, "conv", rotations(4)).mean(axis=(0, 1))
    assert_allclose(results["Level(alpha=0.5)"]["conv"].values, expected, rtol=1e-4, atol=1e-6)


def test_results_of_an_unknown_measure_load_and_merge_once_it_is_given(tmp_path):
    level = load_object(f"{written(tmp_path, MEASURE)}:Level", "measure")
    activations = np.random.default_rng(0).normal(size=(10, 4, 3))
    for number, half in enumerate((activations[:5], activations[5:])):
        tfinv.evaluate_arrays({"dense": half}, [level(2.0)], sampling=tfinv.Sampling(keep_statistics=True)).save(
            tmp_path / f"{number}.npz"
        )
    halves = [Results.load(tmp_path / f"{number}.npz") for number in range(2)]
    with pytest.raises(ValueError, match=r"measures must be given to merge .* Received: 'Level\(alpha=2.0\)'"):
        tfinv.merge(*halves)
    expected = 2 * activations.mean(axis=(0, 1))
    assert_allclose(tfinv.merge(*halves, measures=[level(2.0)])["Level(alpha=2.0)"]["dense"].values, expected)
    measures.register(level)
    assert_allclose(tfinv.merge(*halves)["Level(alpha=2.0)"]["dense"].values, expected)


def test_a_key_in_a_file_of_results_runs_nothing(tmp_path):
    mine = written(tmp_path, f"open({str(tmp_path / 'ran')!r}, 'w').close()\n{MEASURE}")
    activations = np.random.default_rng(0).normal(size=(4, 3, 2))
    parts = [
        tfinv.evaluate_arrays(
            {"a": activations[first : first + 2]},
            "NormalizedVariance",
            sampling=tfinv.Sampling(keep_statistics=True, first_sample=first),
        )
        for first in (0, 2)
    ]
    renamed = [dataclasses.replace(part, measures={f"{mine}:Level": part["NormalizedVariance"]}) for part in parts]
    for number, part in enumerate(renamed):
        part.save(tmp_path / f"{number}.npz")
    loaded = [Results.load(tmp_path / f"{number}.npz") for number in range(2)]
    with pytest.raises(ValueError, match="measures must be given to merge"):
        tfinv.merge(*loaded)
    with pytest.raises(ValueError, match="transformations must"):
        parse(f"{mine}:tilts(3)")
    assert not (tmp_path / "ran").exists()


def test_a_statistic_of_ones_own_gathers_over_all_blocks(tmp_path, model_and_data):
    mine, out = written(tmp_path, STATISTIC), tmp_path / "out"
    options = ["--transformations", "rotations(3)", "--measures", f"{mine}:Highest", "--batch-size", "3"]
    assert main(["measure", *model_and_data, *options, "--out", str(out)]) == 0
    expected = transformed_activations(tmp_path, "conv", rotations(3)).max(axis=(0, 1))
    assert_allclose(Results.load(out / "results.npz")["Highest"]["conv"].values, expected, rtol=1e-4, atol=1e-6)


def test_a_family_of_ones_own_parses_combines_and_augments(tmp_path, model_and_data):
    mine, out = written(tmp_path, FAMILY), tmp_path / "out"
    text = f"product({mine}:tilts(3, 0.2), rotations(2))"
    options = ["--transformations", text, "--measures", "TransformationVariance"]
    assert main(["measure", *model_and_data, *options, "--out", str(out)]) == 0
    results = Results.load(out / "results.npz")
    assert results.metadata["transformations"] == "product(tilts(3, 0.2), rotations(2))"
    tilts = [Affine(((1.0, s, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0))) for s in (-0.2, 0.0, 0.2)]
    members = [tilt.compose(turn) for tilt in tilts for turn in rotations(2)]
    expected = transformed_activations(tmp_path, "conv", members).std(axis=1, ddof=1).mean(axis=0)
    assert_allclose(results["TransformationVariance"]["conv"].values, expected, rtol=1e-3, atol=1e-6)

    assert list(parse("tilts(3, 0.2)")) == tilts
    assert parse("tilts(3)").id == parse("tilts(3, 0.5)").id == parse("tilts(n=3, slope=0.5)").id == "tilts(3)"
    assert product(parse("tilts(3, 0.2)"), rotations(2)) == parse(results.metadata["transformations"])
    layer = AffineAugmentation("tilts(3, 0.2)", seed=1)
    images = np.random.default_rng(0).random((6, 8, 8, 1), dtype=np.float32)
    possible = np.asarray(transformations.warp(images, tilts))
    drawn = np.asarray(layer(images, training=True))[:, None]
    nearest = np.abs(possible - drawn).max(axis=(2, 3, 4)).min(axis=1)
    assert_allclose(nearest, np.zeros(6), atol=1e-5)
    # The file of a model must not depend on the file of the family.
    assert layer.get_config()["transformations"] == transformations.affines([tilt.coefficients for tilt in tilts]).id


def test_an_architecture_of_ones_own_trains_on_the_command_line(tmp_path, model_and_data):
    mine, out = written(tmp_path, ARCHITECTURE), tmp_path / "out"
    options = ["--architecture", f"{mine}:small_head", "units=5", "--epochs", "1", "--quiet"]
    assert main(["train", *options, "--data", model_and_data[3], "--out", str(out)]) == 0
    assert models.load(out / "model.keras").count_params() == (64 * 5 + 5) + (5 * 2 + 2)
    assert models.names()[-1] == "small_head"
    assert models.build("small_head", (2, 2, 1), 3).count_params() == (4 * 4 + 4) + (4 * 3 + 3)


def test_an_experiment_of_ones_own_runs_with_its_dataclasses(tmp_path, capsys):
    mine = written(tmp_path, EXPERIMENT)
    assert main([mine, "number=4", "--smoke", "--out", str(tmp_path / "out")]) == 0
    assert "confirmed: The sum is 5." in capsys.readouterr().out


def test_an_activation_source_of_ones_own_is_measured(tmp_path):
    source = load_object(f"{written(tmp_path, SOURCE)}:Brightness", "source")()
    images = np.random.default_rng(0).random((5, 4, 4, 1), dtype=np.float32)
    results = tfinv.evaluate(source, images, "rotations(3)", "TransformationVariance", progress=False)
    means = np.asarray(transformations.warp(images, rotations(3))).mean(axis=(2, 3, 4))
    expected = means.std(axis=1, ddof=1).mean()
    assert_allclose(results["TransformationVariance"]["mean"].values, [expected, expected], rtol=1e-4)


def test_a_recipe_of_ones_own_is_compared_in_a_study(tmp_path, model_and_data):
    recipe = load_object(f"{written(tmp_path, RECIPE)}:HALF", "recipe")
    images = np.load(tmp_path / "images.npz")["x_test"]
    model = models.load(tmp_path / "model.keras")
    options = {"measures": "NormalizedVariance", "progress": False}
    output = tfinv.tflite.Output(cache=tmp_path / "cache")
    study = tfinv.tflite.study(model, images, images, "rotations(2)", [recipe, "float16"], output=output, **options)
    assert not study.failed and list(study.results) == ["float32", "half", "float16"]
    by_keras = tfinv.evaluate(model, images, "rotations(2)", "NormalizedVariance", progress=False)
    for layer in ("conv", "logits"):
        values = [results["NormalizedVariance"][layer].values for results in (study.results["half"], by_keras)]
        assert_allclose(*values, rtol=0.01)
    rows = study.layers[study.layers["layer"] == "logits"].set_index("recipe")
    assert_allclose(rows.loc["half", "sqnr_db"], rows.loc["float16", "sqnr_db"], atol=3)
    assert 40 < rows.loc["half", "sqnr_db"] < 100

    study.save(tmp_path / "study.npz")
    page = tfinv.tflite.StudyResult.load(tmp_path / "study.npz").report(tmp_path / "report")
    assert "float16 by TensorFlow" in page.read_text()

    said: list[str] = []
    telling = tfinv.tflite.Output(cache=output.cache, report=said.append)
    tfinv.tflite.study(model, images, images, "rotations(2)", [recipe], output=telling, **options)
    assert len([line for line in said if line.startswith("re-used")]) == 4
    edited = load_object(f"{written(tmp_path, RECIPE.replace('tf.float16', 'tf.float32'))}:HALF", "recipe")
    again = tfinv.tflite.study(model, images, images, "rotations(2)", [edited], output=output, **options)
    assert again.layers.set_index("layer").loc["logits", "sqnr_db"] > 100, "the edited recipe was not made anew"


def test_a_recipe_of_ones_own_works_on_the_command_line(tmp_path, model_and_data):
    mine, out = written(tmp_path, MEASURE + FAMILY + RECIPE), tmp_path / "out"
    options = ["--recipes", f"{mine}:HALF", "--measures", f"{mine}:Level", "--transformations", f"{mine}:tilts(2)"]
    assert main(["tflite", *model_and_data, *options, "--out", str(out)]) == 0
    study = tfinv.tflite.StudyResult.load(out / "study.npz")
    assert study.recipes["recipe"].tolist() == ["float32", "half"]
    assert study.metadata["measures"] == ["Level"] and study.metadata["transformations"] == "tilts(2)"
    assert (out / "files" / "half.tflite").is_file()
    files = ["--before", str(out / "files" / "float32.tflite"), "--after", str(out / "files" / "half.tflite")]
    arguments = [*files, *model_and_data[2:], *options[2:], "--out", str(tmp_path / "compared")]
    assert main(["compare", *arguments]) == 0
    compared = tfinv.tflite.Comparison.load(tmp_path / "compared" / "comparison.npz")
    assert set(compared.layers["measure"]) == {"Level"} and compared.metadata["transformations"] == "tilts(2)"


def test_entry_points_of_an_installed_package_are_known(tmp_path, monkeypatch):
    (tmp_path / "added.py").write_text(MEASURE + FAMILY.replace("@register\n", "") + ARCHITECTURE + RECIPE)
    folder = tmp_path / "added-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: added\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        "[tfinv.measures]\nLevel = added:Level\n[tfinv.transformations]\ntilts = added:tilts\n"
        "[tfinv.models]\nsmall_head = added:small_head\n[tfinv.recipes]\nhalf = added:HALF\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "added", None)  # what is imported goes behind the test
    monkeypatch.delitem(sys.modules, "added")
    assert measures.names()[-1] == "Level" and models.names()[-1] == "small_head"
    assert measures.parse("Level(alpha=3.0)").alpha == 3  # type: ignore[attr-defined]
    assert parse("product(tilts(3), tilts(2))").id == "product(tilts(3), tilts(2))"
    assert models.build("small_head", (2, 2, 1), 3).count_params() == 35
    assert recipes.names()[-1] == "half"
    assert [recipe.words for recipe in recipes.choose("half")][1] == "float16 by TensorFlow's converter"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nowhere.py:Level", "measure must be an existing file. Received: 'nowhere.py'"),
        ("{mine}:Depth", "measure must be a name that .*mine.py defines, one of .*Level.*Received: '.*:Depth'"),
        ("no_such_module_here:Level", "measure must name a .py file or a module .*Received: 'no_such_module_here'"),
        ("Level", "measure must read like file.py:Name or package.module:Name. Received: 'Level'"),
        ("{broken}:Level", "measure file .*broken.py fails when it runs: ZeroDivisionError: division by zero"),
    ],
)
def test_what_cannot_be_loaded_is_refused(tmp_path, text, message):
    (tmp_path / "broken.py").write_text("1 / 0\n")
    text = text.format(mine=written(tmp_path, MEASURE), broken=tmp_path / "broken.py")
    with pytest.raises(ValueError, match=message):
        load_object(text, "measure")


def test_an_edited_file_runs_again_and_an_unchanged_one_does_not(tmp_path):
    first = load_object(f"{written(tmp_path, MEASURE)}:Level", "measure")
    assert load_object(f"{tmp_path / 'mine.py'}:Level", "measure") is first
    edited = load_object(f"{written(tmp_path, MEASURE.replace('= 1.0', '= 7.0'))}:Level", "measure")
    assert (first().alpha, edited().alpha) == (1.0, 7.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("math:sqrt", "<sqrt>"),
        ("math:sqrt(a=0.5)", "<sqrt>(a=0.5)"),
        ("product(math:sqrt(3, 0.2), math:cos)", "product(<sqrt>(3, 0.2),<cos>)"),
        ("Measure(how='math:sqrt')", "Measure(how='math:sqrt')"),
        ("rotations(16)", "rotations(16)"),
    ],
)
def test_names_with_places_are_found_in_a_text(text, expected):
    assert load_named(text, "function", lambda function: f"<{function.__name__}>") == expected


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: measures.register(int), TypeError, "measure must be a dataclass .*Received: <class 'int'>"),
        (lambda: transformations.register(3), TypeError, "family must be a function .*Received: 3"),
        (lambda: recipes.register("half"), TypeError, "recipe must be a tfinv.tflite.Recipe. Received: 'half'"),
        (
            lambda: recipes.register(Recipe("float16", "mine", len)),
            ValueError,
            "recipe must not have the name of a recipe of tfinv. Received: 'float16'",
        ),
        (lambda: Recipe("../up", "mine", len), ValueError, r"name must be letters.*Received: '\.\./up'"),
        (lambda: Recipe("mine", "mine", 3), TypeError, "make must be a function .*Received: 3"),
        (
            lambda: recipes.choose([Recipe("mine", "one", len), Recipe("mine", "other", len)]),
            ValueError,
            "recipes must have different names. Received: 'mine' twice",
        ),
        (lambda: Recipe("mine", "mine", lambda _: 3)(None), TypeError, "make of mine must return .* Received: int"),
        (lambda: models.register("resnet"), TypeError, "builder must be a function .*Received: 'resnet'"),
        (
            lambda: transformations.register(type(rotations)(rotations.__code__, {}, "rotations")),
            ValueError,
            "family must not have the name of a family of tfinv. Received: 'rotations'",
        ),
    ],
)
def test_what_cannot_be_registered_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_the_cost_of_adding_inside_is_two_files_that_exist():
    assert all(len(files) <= 2 for files in COST.values())
    for file in {file for files in COST.values() for file in files}:
        assert (ROOT / file).parent.is_dir() if "{name}" in file else (ROOT / file).is_file(), file
