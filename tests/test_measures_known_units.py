"""The tables of docs/measures.md: what measures say of units whose behaviour is known."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from known_units import KINDS, SAME_EQUIVARIANCE, fires, firing_table, table

import tfinv
from tfinv.measures import Anova, Goodfellow

PAGE = (Path(__file__).parents[1] / "docs" / "measures.md").read_text()


def printed(heading: str) -> tuple[list[str], dict[str, list[str]]]:
    """The header and the rows, by their first cell, of the table below a heading of the page."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*\|$", section, re.M)]
    return lines[0][1:], {line[0].strip("`"): line[1:] for line in lines[2:]}


def assert_printed(texts: dict[str, list[str]], rows: dict[str, list[str]]) -> None:
    """Words must be equal, and numbers within a step and a half of the last digit: other machines round differently."""
    assert list(texts) == list(rows)
    for name, cells in texts.items():
        for computed, shown in zip(cells, rows[name], strict=True):
            if re.fullmatch(r"-?[\d.]+", computed):
                assert abs(float(computed) - float(shown)) <= 0.015 * max(1, abs(float(shown))), (name, cells)
            else:
                assert computed == shown, (name, cells)


def test_the_table_of_known_units_is_what_measures_say():
    header, rows = printed("What a measure says of a unit that ...")
    texts = table()
    assert header == list(KINDS)
    assert_printed(texts, rows)
    for key in ("NormalizedVariance", "NormalizedDistance", "NormalizedVarianceSE", "NormalizedDistanceSE"):
        assert texts[key] == ["1.00", "1.00", "1.00", "dead", "0.00", "sample-constant", "0.50"]
    assert set(SAME_EQUIVARIANCE) < set(texts)


def test_the_table_of_firing_shares_is_what_statistics_say():
    _, rows = printed("What the published statistic hides")
    texts = firing_table()
    assert_printed(texts, rows)
    for _, _, variance, pooled in texts.values():
        assert variance == pooled == "1.00"


@pytest.mark.parametrize(
    ("share", "printed_rate"), [pytest.param(1, 0.9, marks=pytest.mark.slow), (0.2, 0.9), (0.01, 1.2), (0.002, 1.0)]
)
def test_heavy_ties_do_not_make_anova_find_what_is_not_there(share, printed_rate):
    block = fires(share)(np.random.default_rng(3), (250, 16, 5000))
    result = tfinv.evaluate_arrays({"units": block}, Anova(correction="none"))
    rate = 100 * result[Anova(correction="none")]["units"].mean
    assert rate == pytest.approx(printed_rate, abs=0.06)
    assert rate < 1 + 3 * np.sqrt(0.01 * 0.99 / 5000) * 100


def test_goodfellow_reads_one_for_chance_where_the_untransformed_image_is_not_a_transformation():
    rng = np.random.default_rng(0)
    block, reference = fires(1)(rng, (2000, 8, 200)), fires(1)(rng, (2000, 200))
    results = tfinv.evaluate_arrays({"units": block}, Goodfellow(), reference={"units": reference})
    result = results[Goodfellow()]["units"]
    error = result.valid.std() / np.sqrt(result.valid.size)
    assert result.mean == pytest.approx(1, abs=4 * error)
    block[:, 0] = reference
    with_identity = tfinv.evaluate_arrays({"units": block}, Goodfellow(), reference={"units": reference})
    assert with_identity[Goodfellow()]["units"].mean == pytest.approx(7 / 8 + 100 / 8, rel=0.03)
