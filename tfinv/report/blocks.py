"""The parts of a report, as plain data that any output format can draw."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Span = tuple[Literal["text", "code", "strong"], str]
"""A piece of text and how it is set."""


@dataclass(frozen=True)
class Paragraph:
    """Running text, or a list of points."""

    spans: tuple[tuple[Span, ...], ...]
    points: bool


@dataclass(frozen=True)
class Verdict:
    """What the report says, first and in a few sentences."""

    sentences: tuple[tuple[Span, ...], ...]
    title: str
    kind: str = "verdict"


@dataclass(frozen=True)
class Section:
    """A heading with text."""

    title: str
    anchor: str
    text: tuple[Paragraph, ...]
    kind: str = "section"


@dataclass(frozen=True)
class Picture:
    """A figure with its caption and the words for those who cannot see it."""

    figure: Figure
    caption: tuple[Span, ...]
    alt: str
    name: str
    kind: str = "picture"


@dataclass(frozen=True)
class Cell:
    """One entry of a table; `best` ones stand out."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Column:
    """Heading of a column; numbers stand at the right."""

    title: str
    numeric: bool


@dataclass(frozen=True)
class Table:
    """Rows of formatted cells; a collapsed one opens at a click."""

    caption: tuple[Span, ...]
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    collapsed: bool
    kind: str = "table"


@dataclass(frozen=True)
class Glossary:
    """Terms and what they mean."""

    title: str
    anchor: str
    terms: tuple[tuple[str, tuple[Span, ...]], ...]
    kind: str = "glossary"


@dataclass(frozen=True)
class Facts:
    """Names and values, such as versions and settings, out of the way until asked for."""

    title: str
    anchor: str
    rows: tuple[tuple[str, str], ...]
    kind: str = "facts"


Block = Verdict | Section | Picture | Table | Glossary | Facts


def spans(text: str) -> tuple[Span, ...]:
    """Split text at its only two marks, `` `code` `` and ``**strong**``.

    Example:
        >>> spans("layer `conv` is **best**")
        (('text', 'layer '), ('code', 'conv'), ('text', ' is '), ('strong', 'best'))
    """
    pieces: list[Span] = []
    for piece in re.split(r"(`[^`\n]+`|\*\*[^*\n]+\*\*)", " ".join(str(text).split())):
        if piece.startswith("`") and len(piece) > 2:
            pieces.append(("code", piece[1:-1]))
        elif piece.startswith("**") and len(piece) > 4:
            pieces.append(("strong", piece[2:-2]))
        elif piece:
            pieces.append(("text", piece))
    return tuple(pieces)


def paragraphs(text: str) -> tuple[Paragraph, ...]:
    """Split text at empty lines; a block of lines that all start with `- ` is a list."""
    blocks = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = [line.strip() for line in block.strip().splitlines() if line.strip()]
        if lines and all(line.startswith("- ") for line in lines):
            blocks.append(Paragraph(tuple(spans(line[2:]) for line in lines), points=True))
        elif lines:
            blocks.append(Paragraph((spans(" ".join(lines)),), points=False))
    return tuple(blocks)


def plain(pieces: tuple[Span, ...]) -> str:
    """The text without marks."""
    return "".join(piece for _, piece in pieces)


def slug(text: str, fallback: str = "part") -> str:
    """A text as a name for a file or an anchor: lower case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60].strip("-") or fallback
