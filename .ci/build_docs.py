"""Build the reference documentation from the docstrings: python .ci/build_docs.py FOLDER."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pdoc

import tfinv
import tfinv.experiments
import tfinv.tflite

PACKAGES = (tfinv, tfinv.tflite, tfinv.experiments)


def public_modules() -> Iterator[str]:
    """Names of every module whose path has no leading underscore, the packages included."""
    for package in PACKAGES:
        yield package.__name__
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not any(part.startswith("_") for part in module.name.split(".")):
                yield module.name


def resolve_lazy_names() -> None:
    """Put what `__getattr__` of a package would give on request where pdoc looks for it."""
    for name in public_modules():
        module = importlib.import_module(name)
        for attribute in getattr(module, "__all__", ()):
            module.__dict__.setdefault(attribute, getattr(module, attribute))


def main(folder: str) -> None:
    """Write the pages; a module that cannot be imported or read is an error."""
    resolve_lazy_names()
    warnings.filterwarnings("error", module=r"pdoc(\..*)?")
    # Listed with their package, and types that are imported for type checkers only: neither is a fault.
    warnings.filterwarnings("ignore", message=".*has already been added|Error parsing type annotation")
    pdoc.render.configure(docformat="google", math=True, search=True, show_source=True)
    pdoc.pdoc(*dict.fromkeys(public_modules()), output_directory=Path(folder))
    print(f"reference written to {folder}/index.html")


if __name__ == "__main__":
    main(*sys.argv[1:])
