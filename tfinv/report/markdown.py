"""Draw a report as Markdown; marks inside texts are escaped, so a name stays a name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import quote

from tfinv.report.blocks import Block, Facts, Glossary, Picture, Section, Span, Table, Verdict


def render_markdown(title: str, subtitle: str, blocks: Sequence[Block], links: Mapping[str, str]) -> str:
    """The document as text.

    Args:
        title: heading.
        subtitle: the line below it, or "".
        blocks: the parts, in order.
        links: where each picture lies, by its name.
    """
    parts = [f"# {escape(title)}"]
    if subtitle:
        parts.append(escape(subtitle))
    for block in blocks:
        parts += _block(block, links)
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([\\`*\[\]|~])", r"\\\1", line)
    line = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", line)
    # At the start of a line these would begin a heading, a list or a numbered list.
    return re.sub(r"^(#+|[-+]|\d+(?=[.)](?: |$)))(?=[ .)]|$)", _shield, line)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[bool] = ()) -> str:
    """A table of cells that are Markdown already.

    Example:
        >>> from tfinv.report.markdown import table
        >>> print(table(["layer", "mean"], [["conv", "0.5"]], [False, True]))
        | layer | mean |
        |---|---:|
        | conv | 0.5 |

    Args:
        head: titles of the columns.
        rows: cells, as many in each row.
        right: which columns are aligned to the right; empty for none.
    """
    rule = "".join("---:|" if number < len(right) and right[number] else "---|" for number in range(len(head)))
    return "\n".join([_row(head), f"|{rule}", *map(_row, rows)])


def _row(cells: Sequence[str]) -> str:
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)


def _shield(start: re.Match[str]) -> str:
    return f"{start[0]}\\" if start[0].isdigit() else f"\\{start[0]}"


def _block(block: Block, links: Mapping[str, str]) -> Iterator[str]:
    match block:
        case Verdict():
            yield f"## {escape(block.title)}"
            yield "\n".join(f"- {_set(sentence)}" for sentence in block.sentences)
        case Section():
            yield f"## {escape(block.title)}"
            for paragraph in block.text:
                mark = "- " if paragraph.points else ""
                yield "\n".join(mark + _set(span) for span in paragraph.spans)
        case Picture():
            yield f"![{escape(block.alt)}]({quote(links[block.name])})"
            yield f"*{_set(block.caption, inside=True)}*"
        case Table():
            yield f"**{_set(block.caption, inside=True)}**"
            yield _table(block)
        case Glossary():
            yield f"## {escape(block.title)}"
            yield "\n".join(f"- **{escape(term)}**: {_set(text)}" for term, text in block.terms)
        case Facts():
            yield f"## {escape(block.title)}"
            yield table(["name", "value"], [[escape(name), escape(value)] for name, value in block.rows])


def _set(pieces: Sequence[Span], inside: bool = False) -> str:
    """Text with its marks; `inside` other emphasis only code keeps its mark."""
    texts = []
    for kind, piece in pieces:
        if kind == "code":
            texts.append(f"`{piece.replace('|', ' ')}`" if "`" not in piece else escape(piece))
        elif kind == "strong" and not inside:
            texts.append(f"**{escape(piece)}**")
        else:
            # Spaces at the ends of a piece separate it from its neighbours.
            left, right = " " * piece.startswith(" "), " " * (piece.endswith(" ") and len(piece) > 1)
            texts.append(left + escape(piece) + right)
    return "".join(texts).strip()


def _table(block: Table) -> str:
    rows = [[f"**{escape(cell.text)}**" if cell.best else escape(cell.text) for cell in row] for row in block.rows]
    return table([escape(column.title) for column in block.columns], rows, [column.numeric for column in block.columns])
