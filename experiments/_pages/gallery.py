"""Run the code of docs/gallery.md and write its figures: ``python -m tfinv.experiments._pages.gallery [PAGE]``.

The blocks of the page save figures into the working folder. They go to `figures/gallery` beside the page, reduced to
256 colours. One minute on 2 cores.
"""

from __future__ import annotations

import contextlib
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from tfinv.experiments._pages.findings import _reduce as reduce_colours

PAGE = Path("docs/gallery.md")


def make(page: Path = PAGE, folder: Path | None = None) -> list[Path]:
    """Run the Python blocks of the page in order, in one namespace and an empty folder, and keep the figures.

    Args:
        page: the Markdown file.
        folder: for the figures; by default `figures/gallery` beside the page.

    Returns:
        The files.
    """
    text, folder = page.read_text(), folder or page.parent / "figures" / "gallery"
    folder = folder.resolve()
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with tempfile.TemporaryDirectory() as scratch:
        with contextlib.chdir(scratch):
            for block in re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
                exec(compile(block, str(page), "exec"), namespace)  # noqa: S102
        made = sorted(Path(scratch).glob("*.png"))
        for figure in made:
            reduce_colours(figure, folder / figure.name)
    return [folder / figure.name for figure in made]


if __name__ == "__main__":
    for path in make(*map(Path, sys.argv[1:2])):
        print(path)
