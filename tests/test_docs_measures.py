"""docs/measures.md names every measure, and shows it in a figure that `_measure_figures` makes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfinv import measures
from tfinv.experiments._pages import measure_figures as _measure_figures
from tfinv.experiments._pages.measure_figures import DRAWINGS, FLOOR, NETWORKS, Drawing, draw
from tfinv.results import LayerResult, MeasureResult, Results

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / _measure_figures.FOLDER
PAGE = (ROOT / "docs" / "measures.md").read_text()
CHAPTERS = [text for text in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:] if "### " in text]


@pytest.mark.parametrize("name", [*measures.names(), "lie_derivative"])
def test_a_measure_has_a_section_in_a_chapter_with_a_figure_that_shows_it(name):
    (chapter,) = [text for text in CHAPTERS if re.search(rf"^### (\w+, )*{name}(,|$)", text, re.MULTILINE)]
    text = next(entry for entry in chapter.split("### ") if name in entry.partition("\n")[0].split(", "))
    assert re.search(r"\b0\b", text), "what does 0 mean?"
    assert re.search(r"\b(not|never|only)\b", text, re.IGNORECASE), "when is it not to be used?"
    figures = re.findall(r"!\[[^\]]{20,}\]\(figures/measures/(\w+)\.png\)", chapter)
    shown = [key.split("(")[0] for figure in figures for key in DRAWINGS[figure].measures.values()]
    assert (name if name != "lie_derivative" else "LieContribution") in shown


def test_figures_are_those_that_are_made_and_small():
    files = {path.stem: path for path in FIGURES.glob("*")}
    assert set(files) == set(DRAWINGS)
    for path in files.values():
        with Image.open(path) as image:
            assert image.mode == "P"
            assert image.width <= 1000
        assert path.stat().st_size < 100_000
    assert set(measures.names()) <= {
        key.split("(")[0] for drawing in DRAWINGS.values() for key in drawing.measures.values()
    }


def test_a_drawing_shows_the_values_the_intervals_and_the_floor():
    def results(level: float) -> Results:
        layers = {name: LayerResult(np.full(3, level * i), np.zeros(3, np.uint8)) for i, name in enumerate("abc", 1)}
        layers["flat"] = LayerResult.not_applicable("no maps")
        return Results(
            {"NormalizedVarianceSE": MeasureResult("NormalizedVarianceSE", layers)},
            {"interpolation_floor": {"NormalizedVarianceSE": {"a": 0.1, "b": 0.1, "c": 0.1}}},
        )

    drawing = Drawing({"NormalizedVarianceSE": "NormalizedVarianceSE"})
    figure = draw(drawing, dict(zip(NETWORKS, (results(1.0), results(0.5)), strict=True)))
    (axes,) = figure.axes
    assert [line.get_ydata().tolist() for line in axes.lines] == [[1, 2, 3], [0.5, 1, 1.5], [0.1, 0.1, 0.1]]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["a", "b", "c"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [*NETWORKS, FLOOR]


def test_measures_that_are_one_share_are_bars_with_intervals():
    def results(share: float) -> Results:
        layer = LayerResult(np.array([share]), np.zeros(1, np.uint8))
        return Results({"ConsistencyAll": MeasureResult("ConsistencyAll", {"logits": layer})}, {})

    drawing = Drawing({"ConsistencyAll": "ConsistencyAll"}, "measure")
    (axes,) = draw(drawing, dict(zip(NETWORKS, (results(0.25), results(0.75)), strict=True))).axes
    assert [bar.get_height() for bar in axes.patches] == [0.25, 0.75]
    low, high = axes.collections[0].get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((0.2044, 0.3020), abs=1e-4)  # Wilson's interval of 75 of 300


@pytest.mark.long
def test_all_figures_can_be_made_again(tmp_path):
    assert {path.stem for path in _measure_figures.make(tmp_path)} == set(DRAWINGS)
    for path in tmp_path.glob("*.png"):
        with Image.open(path) as new, Image.open(FIGURES / path.name) as old:
            assert new.width == old.width
