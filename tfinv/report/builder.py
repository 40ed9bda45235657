"""Put a report together from sentences, sections, figures and tables, and write it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from tfinv.report.blocks import Block, Facts, Glossary, Picture, Section, Verdict, paragraphs, slug, spans
from tfinv.report.tables import Format, format_value, make_table
from tfinv.support.checks import kind_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class Report:
    """A report that grows part by part and is written as one HTML file, or as Markdown with pictures.

    Texts may hold `` `code` `` and ``**strong**``, empty lines between paragraphs and lines that start with ``- ``;
    everything else in them, and in every table and caption, is shown as it is.

    Example:
        >>> import pandas as pd, tempfile, tfinv.plots
        >>> from tfinv.report import Report, explain
        >>> profile = pd.DataFrame({"layer": ["conv", "logits"], "mean": [0.7, 0.2]})
        >>> report = Report("Rotation invariance", "digits, 16 rotations")
        >>> report = report.verdict(["The network is **most invariant at its output**."])
        >>> report = report.section("Layers", "Lower is more invariant.")
        >>> report = report.figure(tfinv.plots.profile({"model": profile}), "Layer profile", "It falls to 0.2.")
        >>> report = report.table(profile, "The numbers", highlight={"mean": "min"})
        >>> report = report.glossary(explain("layer profile"))
        >>> report.write_html(tempfile.mkdtemp() + "/report.html").name
        'report.html'

    Args:
        title: heading and name of the page.
        subtitle: one line below it: what was measured, on which data.
    """

    def __init__(self, title: str, subtitle: str = "") -> None:
        self.title = _filled(title, "title")
        kind_of("subtitle", subtitle, str, "text")
        self.subtitle = subtitle
        self.blocks: list[Block] = []
        self._anchors: set[str] = set()
        self._files: set[str] = set()

    def verdict(self, sentences: str | Iterable[str], *, title: str = "In short") -> Self:
        """Say first what was found.

        Args:
            sentences: one text, or several, each a point of its own.
            title: heading.

        Raises:
            ValueError: no sentence, or an empty one.
        """
        listed = [sentences] if isinstance(sentences, str) else list(sentences)
        if not listed:
            raise ValueError("sentences must hold at least one. Received: none")
        texts = tuple(spans(_filled(sentence, "sentences")) for sentence in listed)
        self.blocks.append(Verdict(texts, _filled(title, "title")))
        return self

    def section(self, title: str, text: str = "") -> Self:
        """Begin a section.

        Args:
            title: its heading; it also stands in the list of contents.
            text: paragraphs and lists.
        """
        self.blocks.append(Section(_filled(title, "title"), _unique(slug(title), self._anchors), paragraphs(str(text))))
        return self

    def figure(self, figure: Figure, caption: str, alt: str, *, name: str | None = None) -> Self:
        """Add a figure; it is drawn when the report is written.

        Args:
            figure: what a plot function returned.
            caption: how to read it, in a sentence or two.
            alt: what it shows, for those who cannot see it.
            name: name of the picture file beside a Markdown report; by default made from the caption.

        Raises:
            TypeError: not a figure.
            ValueError: caption or alt is empty.
        """
        if not hasattr(figure, "savefig"):
            raise TypeError(f"figure must be a matplotlib figure. Received: {type(figure).__name__}")
        words = spans(_filled(caption, "caption"))
        file = _unique(slug(name or caption, "figure"), self._files)
        self.blocks.append(Picture(figure, words, _filled(alt, "alt"), file))
        return self

    def table(
        self,
        frame: pd.DataFrame,
        caption: str,
        formats: Mapping[str, Format] | None = None,
        highlight: Mapping[str, Literal["min", "max"]] | None = None,
        *,
        collapsed: bool | None = None,
    ) -> Self:
        """Add a table; the index of the frame is not shown, the first column heads the rows.

        Underscores in the names of columns become spaces.

        Args:
            frame: the rows.
            caption: what they are.
            formats: format text (`".2f"`, `"{:.1%}"`) or function by column; by default four significant digits.
            highlight: `"min"` or `"max"` by column: the best values are set bold and marked.
            collapsed: show only the caption until it is opened; by default for more than 30 rows.

        Raises:
            TypeError: not a frame.
            ValueError: an unknown column, an unknown highlight, an empty caption.
        """
        self.blocks.append(make_table(frame, _filled(caption, "caption"), formats, highlight, collapsed))
        return self

    def glossary(self, terms: Mapping[str, str], *, title: str = "How to read this") -> Self:
        """Explain words.

        Args:
            terms: explanation by term; `tfinv.report.explain` picks from those of this field.
            title: heading.

        Raises:
            ValueError: no term.
        """
        if not terms:
            raise ValueError("terms must hold at least one. Received: none")
        entries = tuple((str(term), spans(text)) for term, text in terms.items())
        self.blocks.append(Glossary(_filled(title, "title"), _unique(slug(title), self._anchors), entries))
        return self

    def environment(self, facts: Mapping[str, Any], *, title: str = "Environment and settings") -> Self:
        """Record versions, settings and seeds.

        Args:
            facts: values by name; a mapping inside is written with dotted names, a list with commas.
            title: heading.
        """
        rows = tuple(_flat(facts))
        self.blocks.append(Facts(_filled(title, "title"), _unique(slug(title), self._anchors), rows))
        return self

    def write_html(self, path: str | os.PathLike[str]) -> Path:
        """Write one HTML file with everything in it, atomically; it opens without a network and runs no script.

        Returns:
            The path.
        """
        from tfinv.report.html import render_html
        from tfinv.support.files import write_text

        write_text(path, render_html(self.title, self.subtitle, self.blocks))
        return Path(path)

    def write_markdown(self, path: str | os.PathLike[str], figure_folder: str | os.PathLike[str] | None = None) -> Path:
        """Write a Markdown file, and the figures as PNG files that it links to.

        Args:
            path: the file.
            figure_folder: where the figures go; by default `figures` beside the file.

        Returns:
            The path.
        """
        from tfinv.plots.saving import save
        from tfinv.report.markdown import render_markdown
        from tfinv.support.files import write_text

        target = Path(path)
        folder = target.parent / "figures" if figure_folder is None else Path(figure_folder)
        links = {}
        for block in self.blocks:
            if isinstance(block, Picture):
                file = save(block.figure, folder / f"{block.name}.png")
                links[block.name] = Path(os.path.relpath(file, target.parent)).as_posix()
        write_text(target, render_markdown(self.title, self.subtitle, self.blocks, links))
        return target


def _unique(name: str, taken: set[str]) -> str:
    """The name, numbered where it is taken; it is taken from then on."""
    free = next(
        text
        for text in itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
        if text not in taken
    )
    taken.add(free)
    return free


def _filled(text: Any, argument: str) -> str:
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{argument} must be a text that is not empty. Received: {text!r}")
    return text


def _flat(facts: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for key, value in facts.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple | set | frozenset):
            rows.append((f"{prefix}{key}", ", ".join(format_value(part) for part in value)))
        else:
            rows.append((f"{prefix}{key}", str(value) if isinstance(value, int | float) else format_value(value)))
    return rows
