"""Print what tfinv requires with every range pinned to its lower end, one requirement a line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path


def pinned(requirement: str) -> str:
    """The requirement with `>=X` as `==X` and without upper bounds; a version that is exact already stays.

    Raises:
        ValueError: a requirement without a lower bound.
    """
    text, _, marker = requirement.partition(";")
    match = re.fullmatch(r"\s*([\w.\[\]-]+)\s*(?:>=|==)\s*([\w.]+)\s*(?:,\s*<[\w.]+)?\s*", text)
    if match is None:
        raise ValueError(f"a requirement must have a lower bound, as in 'numpy>=2.0,<2.5'. Received: {requirement!r}")
    return f"{match[1]}=={match[2]}" + (f" ;{marker}" if marker else "")


if __name__ == "__main__":
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for requirement in [*project["dependencies"], *extras["tfmot"], *extras["tensorboard"]]:
        print(pinned(requirement))
