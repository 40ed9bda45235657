"""The figure class, apart because it needs matplotlib when the module is imported (plots)."""

from __future__ import annotations

import io

from matplotlib import rc_context
from matplotlib.figure import Figure

from tfinv.plots.style import DPI, STYLE


class NotebookFigure(Figure):
    """A figure that a notebook shows although no pyplot window knows it."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with rc_context(STYLE):
            self.savefig(buffer, format="png", dpi=DPI)
        return buffer.getvalue()
