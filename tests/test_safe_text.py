"""Names from files neither move a terminal's cursor nor run as formulas; everything else stays as it is."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from tfinv.support.safe_text import printable, to_csv


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("conv/relu@1:0", "conv/relu@1:0"),
        ("größe\tμ\n…", "größe\tμ\n…"),
        ("a\x1b]0;title\x07b", "a\\x1b]0;title\\x07b"),
        ("a\rb\x9b2J", "a\\rb\\x9b2J"),
        ("a\u202eb", "a\\u202eb"),
    ],
)
def test_control_characters_are_shown(text, shown):
    assert printable(text) == shown


def test_formulas_become_text_and_numbers_stay():
    frame = pd.DataFrame(
        {
            "layer": ['=HYPERLINK("http://x")', "+1+cmd|' /C calc'!A0", "-x", "@SUM(A1)", "\tconv", "conv", None],
            "number as text": ["-1.5", "+2", "3", "-inf", "nan", "1e-3", "-"],
            "mean": [-1.5, 2, np.nan, 0, 1, -np.inf, 3],
            "count": [-1, 2, 3, 4, 5, 6, 7],
        }
    )
    back = pd.read_csv(io.StringIO(to_csv(frame)), dtype=str, keep_default_na=False)
    assert back["layer"].tolist() == [
        "'=HYPERLINK(\"http://x\")", "'+1+cmd|' /C calc'!A0", "'-x", "'@SUM(A1)", "'\tconv", "conv", "",
    ]  # fmt: skip
    assert back["number as text"].tolist() == ["-1.5", "+2", "3", "-inf", "nan", "1e-3", "'-"]
    assert back["mean"].tolist() == ["-1.5", "2.0", "", "0.0", "1.0", "-inf", "3.0"]
    assert back["count"].tolist() == ["-1", "2", "3", "4", "5", "6", "7"]


def test_harmless_frames_are_written_as_pandas_does():
    frame = pd.DataFrame({"layer": ["conv", "a,b"], "real": [True, False], "mean": [0.1, 1 / 3]}, index=[5, 5])
    assert to_csv(frame) == frame.to_csv(index=False)
    assert to_csv(pd.DataFrame({"=x": [1]})) == "'=x\n1\n"
