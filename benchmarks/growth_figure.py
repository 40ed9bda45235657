"""Draw how the time of the engine grows, and tell how far from a straight line it lies.

python benchmarks/growth_figure.py [benchmarks/results.json] [docs/figures/growth.png]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfinv import plots
from tfinv.plots.figure import new_figure, set_plot_height
from tfinv.plots.style import series, styled


def line(values: Any, seconds: Any) -> tuple[float, float, float]:
    """Intercept and slope of the least-squares line, and the largest distance from it as a share of the time."""
    values, seconds = np.asarray(values, float), np.asarray(seconds, float)
    slope, intercept = np.polyfit(values, seconds, 1)
    fitted = intercept + slope * values
    return float(intercept), float(slope), float(np.max(np.abs(seconds / fitted - 1)))


@styled()
def growth_figure(axes: Mapping[str, Mapping[str, Any]]) -> Any:
    """One panel an axis of growth, with the fitted line.

    Args:
        axes: by name `values` and `seconds`.
    """
    figure = new_figure(7.0)
    panels = figure.subplots(1, len(axes), sharey=True)
    for number, (panel, (name, axis)) in enumerate(zip(panels, axes.items(), strict=True)):
        values = np.asarray(axis["values"], float)
        intercept, slope, _ = line(values, axis["seconds"])
        reach = np.array([0, values.max()])
        style = series(0)
        panel.plot(reach, intercept + slope * reach, color=style["color"], linewidth=1)
        panel.plot(values, axis["seconds"], linestyle="none", color=style["color"], marker=style["marker"])
        panel.set(xlabel=name, xlim=(0, None))
        if number == 0:
            panel.set_ylabel("seconds")
    panels[0].set_ylim(0, 1.08 * max(max(axis["seconds"]) for axis in axes.values()))
    set_plot_height(figure, panels[:1], 2.0)
    return figure


def main() -> None:
    here = Path(__file__).parent
    given = [Path(path) for path in sys.argv[1:3]]
    source, target = (*given, *(here / "results.json", here.parent / "docs" / "figures" / "growth.png")[len(given) :])
    axes = json.loads(source.read_text())["details"]["growth"]["axes"]
    plots.save(growth_figure(axes), target)
    for name, axis in axes.items():
        print(f"{name:16} at most {line(axis['values'], axis['seconds'])[2]:.1%} off a line")


if __name__ == "__main__":
    main()
