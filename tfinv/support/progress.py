"""How far a stage of work is: a bar on a terminal, elsewhere one line when the stage is done."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from types import TracebackType

from tqdm import tqdm

from tfinv.support.safe_text import printable

_WIDTH = 80


class Progress:
    """Shows how far a stage is, on standard error, inside a `with` block.

    A terminal gets a bar with the speed and the time that is left. A file or a pipe gets one line at the end of the
    stage, with the duration, and no line if the stage fails.

    Example:
        >>> from tfinv.support.progress import Progress
        >>> with Progress("measuring", 20, "img", shown=False) as progress:
        ...     for _ in range(10):
        ...         progress.advance(2)
        >>> progress.count
        20

    Args:
        stage: what is done.
        total: number of steps; None where it is not known.
        unit: what one step is called.
        shown: False shows nothing.
    """

    def __init__(self, stage: str, total: int | None, unit: str, *, shown: bool = True) -> None:
        self.count = 0
        self._stage, self._unit = stage, unit
        self._figures = ""
        self._start = time.monotonic()
        terminal = sys.stderr.isatty()
        self._line = shown and not terminal
        self._bar = tqdm(
            total=total, unit=unit, desc=stage, leave=False, disable=not (shown and terminal), ncols=_columns()
        )

    def advance(self, steps: int = 1) -> None:
        """Count further steps."""
        self.count += steps
        self._bar.update(steps)

    def describe(self, stage: str) -> None:
        """Say what is done now."""
        self._stage = stage
        self._bar.set_description(stage)

    def show(self, figures: Mapping[str, str], *, redraw: bool = True) -> None:
        """Show figures such as the loss beside the bar; without `redraw` only when the bar is next drawn."""
        self._figures = "".join(f", {name}={figure}" for name, figure in figures.items())
        self._bar.set_postfix(figures, refresh=redraw)

    @property
    def is_drawn(self) -> bool:
        """Whether there is a bar."""
        return not self._bar.disable

    def aside(self, text: str) -> None:
        """Show a few words beside the bar; elsewhere nothing."""
        self._bar.set_postfix_str(printable(text))

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        if kind is None and self._line:
            seconds = time.monotonic() - self._start
            line = f"{self._stage}: {self.count} {self._unit} in {seconds:.1f} s{self._figures}"
            print(printable(line), file=sys.stderr, flush=True)


def _columns() -> int | None:
    """The width of a bar where the terminal does not tell its own, as in some containers; None where it does."""
    try:
        return None if os.get_terminal_size(sys.stderr.fileno()).columns else _WIDTH
    except (OSError, ValueError):
        return None
