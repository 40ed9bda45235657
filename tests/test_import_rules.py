"""Imports go down only, light modules stay light, and tflite/ and experiments/ are imported by their full names."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"tfinv": ROOT / "tfinv", "tfinv.tflite": ROOT / "tflite", "tfinv.experiments": ROOT / "experiments"}

LAYERS = (
    {"support", "status"},
    {"resampling"},
    {"results"},
    {"transformations", "statistics"},
    {"activations", "measures", "datasets", "layers"},
    {"engine"},
    {"evaluation", "models", "outputs", "training", "uncertainty"},
    {"accuracy", "callbacks", "checkpoint", "experiment"},
    {"run", "commands"},
)
"""The order of the modules, lowest first: each may import its own layer and those below. A package counts as one
module, and every module has a layer."""

TFLITE_LAYERS = ({"files"}, {"convert"}, {"comparison"}, {"qat"}, {"studies"})
"""The order of the rooms of `tfinv.tflite`, lowest first."""
TFLITE_EXCEPTIONS: dict[tuple[str, str], str] = {}

CIRCLE_EXCEPTIONS: dict[tuple[str, str], str] = {
    ("tfinv.experiment.description", "tfinv.experiment.running"): "names the type of an argument",
    ("tfinv.outputs.report", "tfinv.outputs.change"): "names the type of an argument",
    ("tfinv.statistics.loop_sums", "tfinv.statistics.base"): "names the type of an argument",
    ("tfinv.tflite.comparison.report", "tfinv.tflite.comparison.comparison"): "names the type of an argument",
    ("tfinv.tflite.comparison.answers_report", "tfinv.tflite.comparison.comparison"): "names the type of an argument",
    ("tfinv.tflite.comparison.decisions", "tfinv.tflite.comparison.comparison"): "names the type of an argument",
    ("tfinv.tflite.studies.answers_report", "tfinv.tflite.studies.result"): "names the type of an argument",
    ("tfinv.tflite.studies.bit_report", "tfinv.tflite.studies.bit_choice"): "names the type of an argument",
    ("tfinv.tflite.studies.report", "tfinv.tflite.studies.result"): "names the type of an argument",
}
"""Imports that close a circle, and why they may: they happen late, or never."""

OUTSIDE_EXCEPTIONS: dict[tuple[str, str], str] = {
    ("tfinv.models.opening", "tfinv.tflite.files.model"): "opens whatever file a path names",
}
"""Imports of the library from its users, in functions, and why they may."""

SHOWING = {"plots", "report"}
"""Figures and reports read results, whatever made them: they import nothing above these."""
BELOW_SHOWING = {"support", "status", "resampling", "results", *SHOWING}

OUTSIDE = {"tflite", "experiments"}
"""Users of the library, which knows nothing of them but for the command line."""


@dataclass(frozen=True)
class Import:
    """That `module` imports `target` (both with full names), where, and when."""

    module: str
    target: str
    line: int
    at_import: bool
    """Whether it happens when the module is imported: neither inside a function nor for type checkers alone."""

    @property
    def source_part(self) -> str:
        return part(self.module)

    @property
    def target_part(self) -> str:
        return part(self.target)

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


def part(module: str) -> str:
    """The second component of a name: `measures` of `tfinv.measures.variance`; empty for `tfinv` itself."""
    return module.split(".")[1] if "." in module else ""


def modules() -> dict[str, Path]:
    """Every module of the project by its full name."""
    files = {}
    for package, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            files[".".join([package, *(name for name in parts if name != "__init__")])] = path
    return files


def imports_of(module: str, tree: ast.AST, known: set[str], is_package: bool) -> Iterator[Import]:
    """Every import of the project's own modules in a module, wherever it stands."""

    def visit(node: ast.AST, at_import: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for name in node.names:
                yield from ours(name.name, node.lineno, at_import)
        elif isinstance(node, ast.ImportFrom):
            base = _base_of(node, module, is_package)
            for name in node.names:
                full = f"{base}.{name.name}"
                yield from ours(full if full in known else base, node.lineno, at_import)
        inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            only_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test) and child in node.body
            yield from visit(child, at_import and not inside and not only_types)

    def ours(target: str, line: int, at_import: bool) -> Iterator[Import]:
        if target.split(".")[0] == "tfinv":
            yield Import(module, target, line, at_import)

    yield from visit(tree, True)


def _base_of(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    """The full name that stands between `from` and `import`."""
    if node.level == 0:
        return node.module or ""
    package = module.split(".")[: None if is_package else -1]
    above = package[: len(package) - (node.level - 1)]
    return ".".join([*above, node.module] if node.module else above)


@functools.cache
def all_imports() -> list[Import]:
    imports = []
    files = modules()
    for module, path in files.items():
        tree = ast.parse(path.read_text(), str(path))
        imports += imports_of(module, tree, set(files), path.name == "__init__.py")
    return imports


def layer_of(name: str, layers: Sequence[set[str]] = LAYERS) -> int:
    """The layer of a module; a module that has none is an error."""
    numbers = [number for number, names in enumerate(layers) if name in names]
    assert len(numbers) == 1, f"{name!r} needs a layer in tests/test_import_rules.py"
    return numbers[0]


def tflite_violation(imported: Import) -> str | None:
    """Why an import between two rooms of `tfinv.tflite` is not allowed, or None."""
    source, target = (name.split(".")[2:] for name in (imported.module, imported.target))
    if not source or not target or source[0] == target[0]:
        return None
    if (".".join(source), ".".join(target)) in TFLITE_EXCEPTIONS:
        return None
    upward = layer_of(target[0], TFLITE_LAYERS) > layer_of(source[0], TFLITE_LAYERS)
    return "rooms of tfinv.tflite import downwards only" if upward else None


def violation(imported: Import) -> str | None:
    """Why an import is not allowed, or None."""
    source, target = imported.source_part, imported.target_part
    if source == target:
        return tflite_violation(imported) if source == "tflite" else None
    if source in OUTSIDE:
        return (
            "experiments use tflite, not the other way round" if (source, target) == ("tflite", "experiments") else None
        )
    if source == "":  # the table of contents: what it loads at once must be light, the rest is by name
        return (
            "the package loads only results and status at once"
            if imported.at_import
            and target
            not in (
                "results",
                "status",
            )
            else None
        )
    if target in OUTSIDE:
        known = source in ("run", "commands") or (imported.module, imported.target) in OUTSIDE_EXCEPTIONS
        allowed = known and not imported.at_import
        return (
            None
            if allowed
            else "the library knows nothing of tflite/ and experiments/ (the command line: in functions)"
        )
    if target == "":
        return "inside the package, import the module that defines the name"
    if source in SHOWING:
        return None if target in BELOW_SHOWING else "figures and reports import results alone"
    if target in SHOWING:
        return None if layer_of(source) >= layer_of("evaluation") else "measuring knows nothing of figures and reports"
    return None if layer_of(target) <= layer_of(source) else "imports go down only"


def test_imports_go_down_only():
    wrong = [f"{imported}: {reason}" for imported in all_imports() if (reason := violation(imported))]
    assert not wrong, "\n".join(wrong)


def test_every_module_of_the_library_has_a_named_layer():
    named = set().union(*LAYERS, SHOWING, OUTSIDE)
    assert {part(module) for module in modules()} - {""} == named


def test_the_engine_is_private_to_evaluation():
    """Only `evaluation` uses the engine, but for the batches of images, which tflite/ reads as well."""
    wrong = [
        str(imported)
        for imported in all_imports()
        if imported.target_part == "engine"
        and imported.source_part not in ("engine", "evaluation")
        and (imported.source_part, imported.target)
        not in (("tflite", "tfinv.engine.batches"), ("checkpoint", "tfinv.engine.checkpoint"))
    ]
    assert not wrong, "\n".join(wrong)


def circles(graph: dict[str, set[str]]) -> list[str]:
    """Circles of a graph, as text; each part of it that has one gives at least one."""
    done: set[str] = set()
    texts = []

    def visit(module: str, path: tuple[str, ...]) -> None:
        if module in path:
            texts.append(" -> ".join((*path[path.index(module) :], module)))
        elif module not in done:
            for target in sorted(graph.get(module, ())):
                visit(target, (*path, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())
    return texts


def test_no_modules_import_each_other_in_a_circle():
    """Imports inside functions and for type checkers count as well."""
    assert circles({"a": {"b"}, "b": {"c", "d"}, "d": {"c"}}) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"d", "b"}}) == ["b -> c -> b"]
    graph: dict[str, set[str]] = {}
    for imported in all_imports():
        if imported.at_import or (imported.module, imported.target) not in CIRCLE_EXCEPTIONS:
            graph.setdefault(imported.module, set()).add(imported.target)
    wrong = circles(graph)
    assert not wrong, "\n".join(wrong)


def type_names(tree: ast.Module) -> Iterator[str]:
    """The public classes and aliases of types that a module defines, by their spelling: capitalized, not a constant."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        for name in [node.name] if isinstance(node, ast.ClassDef) else names:
            if name[0].isupper() and not name.isupper():
                yield name


def test_a_public_type_has_a_name_of_its_own():
    homes: dict[str, list[str]] = {}
    for module, path in modules().items():
        for name in type_names(ast.parse(path.read_text(), str(path))):
            homes.setdefault(name, []).append(module)
    assert homes["StandardStudy"] == ["tfinv.experiments._shared.standard"]
    wrong = {name: places for name, places in homes.items() if len(places) > 1}
    assert not wrong, "one name, one meaning"


def top_names(node: ast.AST) -> list[str]:
    """The top-level packages that a statement imports."""
    if isinstance(node, ast.Import):
        return [name.name.split(".")[0] for name in node.names]
    return [(node.module or "").split(".")[0]] if isinstance(node, ast.ImportFrom) and node.level == 0 else []


def test_the_folders_are_imported_under_their_installed_names_only():
    folders = ("tfinv", "tflite", "experiments", "tests", "benchmarks", "docs")
    wrong = []
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            if not OUTSIDE.isdisjoint(top_names(node)):
                wrong.append(f"{path}: {ast.unparse(node)}")
    assert not wrong, "import tfinv.tflite or tfinv.experiments instead:\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    ("module", "code", "allowed"),
    [
        ("tfinv.results", "from tfinv.support.files import atomic_write", True),
        ("tfinv.results", "from tfinv.transformations import rotations", False),
        ("tfinv.results", "def f():\n    from tfinv.evaluation import evaluate", False),
        ("tfinv.statistics.base", "from tfinv.transformations.affine import Affine", True),
        ("tfinv.statistics.base", "if TYPE_CHECKING:\n    from tfinv.measures import Measure", False),
        ("tfinv.measures.variance", "from tfinv import evaluation", False),
        ("tfinv.measures.variance", "from ..statistics import base", True),
        ("tfinv.measures.variance", "from .. import evaluation", False),
        ("tfinv.evaluation", "import tfinv.tflite.convert.recipes", False),
        ("tfinv.evaluation", "from tfinv.experiment import Experiment", False),
        ("tfinv.evaluation", "from tfinv import Results", False),
        ("tfinv.plots.profile", "from tfinv.results import Results", True),
        ("tfinv.plots.profile", "from tfinv.transformations import warp", False),
        ("tfinv.report", "from tfinv.plots import profile", True),
        ("tfinv.activations", "from tfinv.plots import profile", False),
        ("tfinv.run", "from tfinv import experiments", False),
        ("tfinv.run", "def f():\n    from tfinv import experiments", True),
        ("tfinv.tflite.study", "from tfinv.evaluation import evaluate", True),
        ("tfinv.tflite.study", "from tfinv.experiments import quickstart", False),
        ("tfinv.experiments.quickstart", "from tfinv.tflite import convert", True),
        ("tfinv", "from tfinv.evaluation import evaluate", False),
        ("tfinv", "if TYPE_CHECKING:\n    from tfinv.evaluation import evaluate", True),
    ],
)
def test_the_rules_tell_right_from_wrong(module, code, allowed):
    known = {
        "tfinv.evaluation",
        "tfinv.experiments",
        "tfinv.statistics.base",
        "tfinv.tflite.convert.recipes",
        "tfinv.plots",
    }
    imports = list(imports_of(module, ast.parse(code), known, is_package=module == "tfinv"))
    assert len(imports) == 1
    assert (violation(imports[0]) is None) == allowed


HEAVY = ("tensorflow", "keras", "tf_keras", "tensorflow_model_optimization", "ai_edge_litert", "litert_quantizer")


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import tfinv", (*HEAVY, "matplotlib", "pandas", "scipy", "sklearn")),
        ("import tfinv.results", (*HEAVY, "matplotlib", "pandas", "scipy", "sklearn")),
        ("import tfinv.transformations; tfinv.transformations.rotations(16).labels", (*HEAVY, "matplotlib")),
        ("import tfinv.plots", HEAVY),
        ("import tfinv.report", HEAVY),
        ("import tfinv.measures; tfinv.measures.NormalizedVariance()", HEAVY),
        ("import tfinv.run; tfinv.run.main(['--list'])", HEAVY),
        ("import tfinv.run, contextlib\nwith contextlib.suppress(SystemExit): tfinv.run.main(['--help'])", HEAVY),
    ],
    ids=lambda value: value.splitlines()[0][:60] if isinstance(value, str) else "",
)
def test_light_modules_stay_light(statement, unwanted):
    code = f"{statement}\nimport sys\nprint('loaded', *sorted(set(sys.modules) & set({unwanted!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded"
