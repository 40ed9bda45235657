"""Whether tests catch defects that are planted one by one: `python tests/mutation_trial.py [NAME ...]`.

The package is copied; the tests must pass there. For every defect it then prints whether the tests named beside it fail
("caught") or pass ("survived"). That takes about half a minute for every defect.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Defect:
    """One textual change of one file that makes it wrong.

    Args:
        name: what is wrong.
        file: inside the package, as installed.
        right: text that stands in the file exactly once.
        wrong: what replaces it.
        tests: a file of tests.
        chosen: which of its tests run (pytest's `-k`).
    """

    name: str
    file: str
    right: str
    wrong: str
    tests: str
    chosen: str


STATISTICS, WARP, INTERVALS = "tfinv/statistics", "tfinv/transformations", "tfinv/resampling"
COMPARISON = "tfinv/tflite/comparison"
ROWS = "test_evaluation.py", "values_equal_a_float64_reference or block_size"
MERGED = "test_measures_variance.py", "test_laws"
DEFECTS = (
    Defect("rows divided by T", f"{STATISTICS}/row_dispersion.py", "block.dtype) - 1)", "block.dtype))", *ROWS),
    Defect("rows merged by halves", f"{STATISTICS}/row_dispersion.py", "second.mean - first.mean) * weight",
           "second.mean - first.mean) / 2", *ROWS),
    Defect("columns merged without the shift", f"{STATISTICS}/column_moments.py",
           "delta * delta * (first.count * weight)", "0.0 * delta * (first.count * weight)", *MERGED),
    Defect("columns moved by the wrong part", f"{STATISTICS}/column_moments.py", "first.mean + delta * weight",
           "first.mean - delta * weight", *MERGED),
    Defect("samples fire at the threshold", f"{STATISTICS}/firing.py", "reference > threshold",
           "reference >= threshold", "test_measures_goodfellow.py", "float64_reference or saturated"),
    Defect("a dead unit is constant", "tfinv/status.py", "status[zero & (numerator <= 0)] = Status.DEAD",
           "status[zero & (numerator <= 0)] = Status.SAMPLE_CONSTANT", "test_measures_variance.py", "degenerate_units"),
    Defect("maps turn about a corner", f"{WARP}/affine.py", "-(width - 1) / 2]", "-width / 2]", "test_warp.py",
           "rot90 or whole_pixels"),
    Defect("the inverse is not inverted", f"{WARP}/affine.py",
           "transformation if inverse else transformation.inverse()", "transformation.inverse()", "test_warp.py",
           "inverse_after_forward"),
    Defect("mirrored without the edge", f"{WARP}/warp.py", "2 * size - 1 - period", "2 * size - 2 - period",
           "test_warp.py", "cubic_equal"),
    Defect("another cubic kernel", f"{WARP}/warp.py", "(1.5 * x - 2.5)", "(1.25 * x - 2.25)", "test_warp.py",
           "cubic_equal"),
    Defect("the frame is a pixel wider", f"{WARP}/frame.py", "x <= width - 1 + tolerance", "x <= width + tolerance",
           "test_measures_same_equivariance.py", "masked_values_equal"),
    Defect("the floor is aliased", "tfinv/evaluation/interpolation_floor.py", "antialias=True", "antialias=False",
           "test_measures_same_equivariance.py", "floor"),
    Defect("all free memory is taken", "tfinv/engine/memory.py", "SHARE_OF_FREE = 0.5", "SHARE_OF_FREE = 0.9",
           "test_engine_memory.py", "free_memory"),
    Defect("a degree of freedom too many", f"{INTERVALS}/jackknife.py", "(1 + confidence) / 2, len(sizes) - 1)",
           "(1 + confidence) / 2, len(sizes))", "test_uncertainty.py", "textbook"),
    Defect("one-sided intervals", f"{INTERVALS}/jackknife.py", "t.ppf((1 + confidence) / 2", "t.ppf(confidence",
           "test_uncertainty.py", "textbook"),
    Defect("draws are not spread", f"{INTERVALS}/shards.py", "(shards / (shards - 1)) ** 0.5", "1.0",
           "test_uncertainty.py", "few_shards or draws_are_spread"),
    Defect("layers are judged alone", "tfinv/uncertainty.py", "1 - (1 - confidence) / max(measured, 1)", "confidence",
           "test_tflite_differences.py", "simultaneous"),
    Defect("lost and gained are swapped", "tfinv/uncertainty.py", "(was & ~stays, stays & ~was)",
           "(stays & ~was, was & ~stays)", "test_uncertainty.py", "by_their_place"),
    Defect("strangers are matched", f"{COMPARISON}/match_files.py", "[:_FIRST_LAYERS]) >= SAME_NETWORK",
           "[:_FIRST_LAYERS]) >= -SAME_NETWORK", "test_tflite_naming.py", "different_networks"),
    Defect("correlation without the mean", f"{COMPARISON}/match_numbers.py", "return flat - flat.mean(0)",
           "return flat", "test_tflite_naming.py", "correlation_is"),
    Defect("order without shapes", f"{COMPARISON}/match_files.py", "model.layer_ops[name], model.layer_shapes[name],",
           "model.layer_ops[name], (),", "test_tflite_naming.py", "order or partner"),
    Defect("the unknown passes", f"{COMPARISON}/gate.py", "if math.isnan(value):", "if False:",
           "test_tflite_differences.py", "fails_closed"),
    Defect("per cent are not divided", f"{COMPARISON}/conditions.py", "sign, value / divisor)", "sign, value)",
           "test_tflite_differences.py", "conditions_are_read"),
    Defect("collapse passes", f"{COMPARISON}/gate.py",
           'row.get("collapsed") is True or row.get("collapsed") is np.True_', 'row.get("collapsed") == 2',
           "test_tflite_differences.py", "fails_closed"),
)  # fmt: skip


def copied(folder: Path) -> Path:
    """A copy of the package as installed, with its tests."""
    ignored = shutil.ignore_patterns("__pycache__")
    for source, target in (("tfinv", "tfinv"), ("tflite", "tfinv/tflite"), ("experiments", "tfinv/experiments")):
        shutil.copytree(ROOT / source, folder / target, ignore=ignored)
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def tests_pass(folder: Path, tests: set[str], chosen: set[str]) -> bool:
    """Whether the tests pass in the copy.

    Raises:
        RuntimeError: they did not run.
    """
    files, words = (f"tests/{file}" for file in sorted(tests)), " or ".join(sorted(chosen))
    command = [sys.executable, "-m", "pytest", "-qx", "-n", "0", "-p", "no:cacheprovider", *files, "-k", words]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{' '.join(command)} did not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == 0


def main(names: list[str]) -> int:
    """The number of defects that survive."""
    survived, defects = 0, [defect for defect in DEFECTS if not names or defect.name in names]
    with tempfile.TemporaryDirectory(prefix="tfinv-mutation-") as temporary:
        folder = copied(Path(temporary) / "copy")
        if not tests_pass(folder, {defect.tests for defect in defects}, {defect.chosen for defect in defects}):
            raise RuntimeError("the tests must pass before there is a defect")
        for defect in defects:
            file = folder / defect.file
            text = file.read_text()
            if text.count(defect.right) != 1:
                raise ValueError(f"{defect.name}: {defect.right!r} must stand once in {defect.file}")
            file.write_text(text.replace(defect.right, defect.wrong))
            passed = tests_pass(folder, {defect.tests}, {defect.chosen})
            file.write_text(text)
            survived += passed
            print(f"{'survived' if passed else 'caught  '}  {defect.name}", flush=True)
    print(f"{survived} survived")
    return survived


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 100))
