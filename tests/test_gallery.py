"""The gallery shows every kind of figure, and each figure stands below the code that saves it."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

from tfinv import plots
from tfinv.experiments._pages import gallery

ROOT = Path(__file__).parents[1]
PAGE = ROOT / gallery.PAGE
TEXT = PAGE.read_text()
FIGURES = PAGE.parent / "figures" / "gallery"
SAVED = re.findall(r'"(\w+)\.png"\)', TEXT)
SHOWN = re.findall(r"!\[[^\]]{20,}\]\(figures/gallery/(\w+)\.png\)", TEXT)


def test_every_function_that_draws_is_shown():
    drawn = set(plots.__all__) - {"PALETTE", "save", "to_data_uri"}
    assert {name for name in drawn if f"plots.{name}(" in TEXT} == drawn


def test_each_figure_is_saved_by_the_page_and_stands_below_its_code():
    assert SAVED == SHOWN and len(SHOWN) == len(set(SHOWN))
    assert all(TEXT.index(f'"{name}.png"') < TEXT.index(f"gallery/{name}.png") for name in SHOWN)
    assert {path.stem for path in FIGURES.iterdir()} == set(SHOWN)


def test_figures_are_small():
    for path in FIGURES.iterdir():
        with Image.open(path) as image:
            assert image.mode == "P" and image.width <= 1000
        assert path.stat().st_size < 100_000


def test_the_command_runs_the_blocks_in_one_namespace_and_keeps_what_they_save(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nfrom PIL import Image\nred = Image.new('RGB', (3, 2), 'red')\n```\n\ntext\n\n"
        "```python\nred.save('red.png')\n```\n\n```bash\nmake nothing\n```\n"
    )
    monkeypatch.chdir(tmp_path)
    assert gallery.make(page) == [tmp_path / "figures" / "gallery" / "red.png"]
    with Image.open(tmp_path / "figures" / "gallery" / "red.png") as image:
        assert image.size == (3, 2) and image.convert("RGB").getpixel((1, 1)) == (255, 0, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures", "page.md"]
