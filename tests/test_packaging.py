"""The wheel holds one top-level package with everything in it; the commands of the Makefile exist."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]
FOLDERS = {"tfinv": ROOT / "tfinv", "tfinv.tflite": ROOT / "tflite", "tfinv.experiments": ROOT / "experiments"}


def packages_on_disk() -> set[str]:
    """Full names of the folders that hold modules."""
    packages = set()
    for package, folder in FOLDERS.items():
        for path in folder.rglob("*.py"):
            packages.add(".".join([package, *path.parent.relative_to(folder).parts]))
    return packages


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> set[str]:
    """Names of the files in a wheel that was built from a copy of the tree."""
    copy, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in FOLDERS.values():
        shutil.copytree(folder, copy / folder.name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return set(archive.namelist())


def test_every_folder_of_modules_is_a_listed_package():
    assert packages_on_disk() == set(SETUPTOOLS["packages"])
    for package in packages_on_disk():
        home = next(
            folder for folder in sorted(FOLDERS, key=len, reverse=True) if f"{package}.".startswith(f"{folder}.")
        )
        folder = FOLDERS[home].joinpath(*package.split(".")[home.count(".") + 1 :])
        assert (folder / "__init__.py").is_file(), f"{folder} needs an __init__.py"


def test_the_wheel_has_one_top_level_package(wheel):
    assert {name.split("/")[0] for name in wheel} == {"tfinv", f"tfinv-{PROJECT['project']['version']}.dist-info"}


def test_the_wheel_holds_every_file_of_the_source(wheel):
    wanted = set()
    for package, folder in FOLDERS.items():
        for path in folder.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                wanted.add("/".join([*package.split("."), *path.relative_to(folder).parts]))
    modules = {name for name in wheel if name.startswith("tfinv/")}
    assert modules == wanted
    assert "tfinv/tflite/__init__.py" in modules and "tfinv/py.typed" in modules


def test_the_wheel_holds_the_licence(wheel):
    assert any(name.endswith("licenses/LICENSE") for name in wheel)
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text and "END OF TERMS AND CONDITIONS" in text


def test_the_version_is_written_once_for_all():
    import tfinv

    assert tfinv.__version__ == PROJECT["project"]["version"]


def test_the_mapped_packages_are_the_folders_of_this_checkout():
    import tfinv.experiments
    import tfinv.tflite

    assert [Path(path) for path in tfinv.tflite.__path__] == [ROOT / "tflite"]
    assert [Path(path) for path in tfinv.experiments.__path__] == [ROOT / "experiments"]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("run", "-m tfinv.run --smoke"),
        ("test", "-m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --smoke"),
        ("supported", "bash .ci/supported --smoke"),
        ("lint", "ruff check"),
        ("types", "pyright"),
        ("docs", "mkdocs build --strict"),
        ("bench", "benchmarks/"),
        ("bench", "[tfmot,dev,docs,bench]"),
        ("install", "pip install"),
    ],
)
def test_make_has_the_command(target, command):
    fresh = ["make", "--dry-run", "--always-make", target, "ARGS=--smoke", "VENV=does-not-exist"]
    done = subprocess.run(fresh, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert command in done.stdout
    assert "-m venv" in done.stdout and 'pip install --disable-pip-version-check --editable ".[' in done.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_says_which_python_it_needs(tmp_path):
    old = tmp_path / "python"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.8.0"\nexit 1\n')
    old.chmod(0o755)
    command = ["make", "install", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "tfinv needs Python 3.11, 3.12 or 3.13" in done.stderr and str(old) in done.stderr
    assert not (tmp_path / "venv").exists()
