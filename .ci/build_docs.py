"""The hook of mkdocs.yml: lay the packages out as they are once installed, and turn formulas into MathML.

Formulas are LaTeX: an indented block of a raw docstring, `:math:` in a line, and a `math` block of a page, which code
hosts show as a formula too. Browsers draw MathML themselves, so that the site needs no script and no font for it.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from latex2mathml.converter import convert

ROOT = Path(__file__).parents[1]
TREE = ROOT / "build" / "docs"
FOLDERS = {"tfinv": ROOT / "tfinv", "tfinv/tflite": ROOT / "tflite", "tfinv/experiments": ROOT / "experiments"}
RAW = re.compile(r'r""".*?"""', re.DOTALL)
INDENTED = re.compile(r"(?<=\n\n)(?P<indent>(?: {4})+)\S.*(?:\n(?P=indent).+)*")
"""Lines of text after an empty line, at least as far to the right as the first of them."""
WORD = re.compile(r"\\text\{[^}]*\}|\\[A-Za-z]+(?:\{\w+\})?|[A-Z]{2,}|[A-Za-z]{3,}")
"""A command of LaTeX, with its word where it has one; or a word, which is set upright."""


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
            text = re.sub(r"^( +)Example:$", r"\1Examples:", path.read_text(), flags=re.MULTILINE)
            target.write_text(RAW.sub(lambda docstring: _with_formulas(docstring[0]), text))


def on_page_markdown(markdown: str, **_: object) -> str:
    """Turn the `math` blocks of a page into MathML."""
    return re.sub(r"^```math\n(.*?)^```$", lambda block: formula(block[1]), markdown, flags=re.DOTALL | re.MULTILINE)


def formula(latex: str) -> str:
    r"""HTML of a block of LaTeX: one `math` element per line and per part after `, \quad`, side by side where they fit.

    Lines within an environment such as `cases` stay together.
    """
    joined = re.sub(r"\\\\\s*\n", r"\\\\ ", latex.strip())
    parts = [part.strip() for part in re.split(r"\n|(?<=,)\s*\\q?quad|\\q?quad\s*(?=\n|$)", joined)]
    cleaned = [re.sub(r"^\\q?quad|\\q?quad$", "", part).strip() for part in parts]
    return f'<div class="formula">{"".join(_mathml(part, "block") for part in cleaned if part)}</div>'


def _mathml(latex: str, display: str) -> str:
    upright = WORD.sub(lambda word: word[0] if word[0].startswith("\\") else rf"\text{{{word[0]}}}", latex)
    return convert(upright, display=display)


def _with_formulas(docstring: str) -> str:
    """The docstring with its LaTeX turned into HTML at the indentation of the text."""
    text = INDENTED.sub(
        lambda block: f"{block['indent'][:-4]}{formula(block[0])}" if _is_latex(block[0]) else block[0], docstring
    )
    return re.sub(r":math:`([^`]+)`", lambda inline: _mathml(inline[1], "inline"), text)


def _is_latex(block: str) -> bool:
    return "\\" in block and ">>>" not in block
