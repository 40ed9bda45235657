"""One research question as a frozen description, with its settings, and what was found."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tfinv.report import markdown
from tfinv.support.checks import close_match

if TYPE_CHECKING:
    import pandas as pd

    from tfinv.experiment.running import Run

PRESETS = ("smoke", "cpu", "full")


@dataclass(frozen=True)
class Finding:
    """What an experiment found, in words.

    Args:
        claim: what was claimed or expected, and by whom.
        verdict: `"holds"`, `"does not hold"`, `"partly holds"` or `"inconclusive"` from these runs.
        text: the finding in a few sentences, with numbers and intervals.
        table: the numbers behind it.
        figure: name of the figure worth putting into a paper.
    """

    claim: str
    verdict: str
    text: str
    table: pd.DataFrame | None = None
    figure: str | None = None

    def to_markdown(self, title: str, settings: Mapping[str, Any]) -> str:
        """The text of `finding.md`."""
        parts = [f"# {title}", f"**Claim.** {self.claim}", f"**Verdict: {self.verdict}.** {self.text}"]
        if self.figure:
            parts.append(f"![{title}]({self.figure}.png)")
        if self.table is not None:
            parts.append(_markdown_table(self.table))
        parts.append(settings_line(settings))
        return "\n\n".join(parts) + "\n"


@dataclass(frozen=True)
class Experiment:
    """A research question that `python -m tfinv.run NAME` answers.

    Args:
        name: the command-line name; by convention the file's name.
        question: one sentence.
        run: does the work with a `Run`; returns a `Finding`, or None where the report says it all.
        settings: default settings, those of preset `cpu`; `key=value` on the command line overrides them.
        presets: what `smoke` and `full` change.
        source: figure or table of the paper that asked the question.
        minutes: documented duration on 2 cores by preset.
    """

    name: str
    question: str
    run: Callable[[Run], Finding | None]
    settings: Mapping[str, Any]
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    source: str = ""
    minutes: Mapping[str, float] = field(default_factory=dict)

    def configure(self, preset: str = "cpu", overrides: Sequence[str] = ()) -> dict[str, Any]:
        """The settings of a preset with `key=value` overrides.

        Raises:
            ValueError: an unknown preset or key (the known ones are listed), or a value of the wrong type.
        """
        if preset not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}. Received: {preset!r}")
        settings = {**self.settings, **self.presets.get(preset, {})}
        for text in overrides:
            key, separator, value = text.partition("=")
            if not separator or key not in settings:
                known = ", ".join(f"{name}={default!r}" for name, default in settings.items())
                hint = close_match(key, settings)
                raise ValueError(
                    f"overrides of {self.name} must be key=value with the keys {known}.{hint} Received: {text!r}"
                )
            settings[key] = _parse_value(key, value, settings[key])
        return settings


def settings_line(settings: Mapping[str, Any]) -> str:
    """The last line of a `finding.md`: with what settings it was found."""
    return "Settings: " + ", ".join(f"{key}={value!r}" for key, value in settings.items())


def _parse_value(key: str, text: str, default: Any) -> Any:
    value = _literal(text)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if isinstance(default, tuple) and isinstance(value, list):
        value = tuple(value)
    if isinstance(default, (tuple, list)) and not isinstance(value, (tuple, list)):
        parts = _top_level(value) if isinstance(value, str) and value == text else [value]
        value = type(default)(parts)
    if default is not None and type(value) is not type(default):
        raise ValueError(f"{key} must be of type {type(default).__name__}, like {default!r}. Received: {text!r}")
    return value


def _top_level(text: str) -> list[Any]:
    """The values of a list that was written without brackets and quotes: `a,f(1,2)` holds two."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [_literal(part.strip()) for part in parts if part.strip()] or [text]


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _markdown_table(table: pd.DataFrame) -> str:
    def cell(value: Any) -> str:
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        return text.replace("|", "\\|").replace("\n", " ")

    rows = [[cell(value) for value in row] for row in table.itertuples(index=False)]
    return markdown.table(list(map(str, table.columns)), rows)
