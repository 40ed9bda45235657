"""The notebook of the documentation runs offline, and says what it said."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

NOTEBOOK = Path(__file__).parents[1] / "docs" / "measure_your_model.ipynb"
CHANGE = re.compile(r"from (\d\.\d+) to (\d\.\d+), by (-\d\.\d+) \[(-\d\.\d+), (-\d\.\d+)\]")


def outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def printed(notebook: nbformat.NotebookNode) -> str:
    return "".join(output.text for output in outputs(notebook) if output.get("name") == "stdout")


def change(notebook: nbformat.NotebookNode) -> list[float]:
    match = CHANGE.search(printed(notebook))
    assert match is not None, printed(notebook)
    return [float(group) for group in match.groups()]


@pytest.fixture(scope="module")
def stored() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_it_is_stored_with_its_outputs_and_nothing_of_a_machine(stored: nbformat.NotebookNode):
    nbformat.validate(stored)
    assert NOTEBOOK.stat().st_size < 200_000
    assert not re.search(r"/(home|root|tmp|work|Users)/|site-packages", NOTEBOOK.read_text())
    counts = [cell.execution_count for cell in stored.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1)), "cells must have been run once, in order"
    assert not [output for output in outputs(stored) if output.output_type == "error" or output.get("name") == "stderr"]
    pictures = [output.data["image/png"] for output in outputs(stored) if "image/png" in output.get("data", {})]
    assert len(pictures) == 2
    for picture in pictures:
        with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
            assert image.convert("L").getextrema()[0] < 128, "the figure is blank"


@pytest.mark.slow
def test_it_runs_and_finds_what_it_found(stored: nbformat.NotebookNode, tmp_path: Path):
    fresh = nbformat.read(NOTEBOOK, as_version=4)
    for cell in fresh.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    NotebookClient(fresh, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    before, after, difference, low, high = change(fresh)
    assert low < difference < high < -0.5
    assert difference == pytest.approx(after - before, abs=0.011)
    assert [before, after] == pytest.approx(change(stored)[:2], abs=0.1), "another machine rounds otherwise, no more"
    assert "the file gives the same value: True" in printed(fresh)
    assert not list(tmp_path.iterdir()), "it must leave no files behind"
