"""The hook of mkdocs.yml: lay the packages out as they are once installed, for the reader of the docstrings."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]
TREE = ROOT / "build" / "docs"
FOLDERS = {"tfinv": ROOT / "tfinv", "tfinv/tflite": ROOT / "tflite", "tfinv/experiments": ROOT / "experiments"}


def on_startup(**_: object) -> None:
    """Copy the sources to build/docs, where `tflite/` is `tfinv.tflite` and `experiments/` is `tfinv.experiments`.

    At the start, because mkdocstrings drops a path that does not exist when it reads the configuration. The headings
    `Example:` become `Examples:`, which its reader of docstrings knows as a section of code.
    """
    shutil.rmtree(TREE, ignore_errors=True)
    for package, folder in FOLDERS.items():
        for path in folder.rglob("*.py"):
            target = TREE / package / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(re.sub(r"^( +)Example:$", r"\1Examples:", path.read_text(), flags=re.MULTILINE))
