"""Draw a report as one HTML page; every text is escaped by the template engine."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tfinv.plots.saving import to_data_uri
from tfinv.report.blocks import Block, Facts, Glossary, Picture, Section, plain

if TYPE_CHECKING:
    from jinja2 import Template
    from matplotlib.figure import Figure

CSS_PIXELS = 96
LARGEST, SMALLEST = 1.3, 0.55
"""A figure is shown between these multiples of its own size: below, its letters would be too small to read."""


def render_html(title: str, subtitle: str, blocks: Sequence[Block]) -> str:
    """The page as text.

    Args:
        title: heading.
        subtitle: the line below it, or "".
        blocks: the parts, in order.
    """
    contents = [(block.anchor, block.title) for block in blocks if isinstance(block, Section | Glossary | Facts)]
    pictures = {id(block): _picture(block.figure) for block in blocks if isinstance(block, Picture)}
    return _template().render(
        title=title, subtitle=subtitle, blocks=blocks, contents=contents, pictures=pictures, key=id, plain=plain
    )


def _picture(figure: Figure) -> dict[str, Any]:
    width, height = (inches * CSS_PIXELS for inches in figure.get_size_inches())
    return {
        "source": to_data_uri(figure),
        "width": round(width),
        "height": round(height),
        "largest": round(width * LARGEST),
        "smallest": round(width * SMALLEST),
    }


@functools.cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("tfinv"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html")
