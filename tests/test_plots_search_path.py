"""Size against conditions: what is drawn of neighbours of a chosen file."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tfinv import plots


def neighbours(count: int) -> pd.DataFrame:
    sizes = 1024 * np.arange(10, 10 + count)
    frame = pd.DataFrame({"layer": [f"a_layer_of_a_long_name_{n}" for n in range(count)], "to": "int4", "bytes": sizes})
    frame["holds"] = np.arange(count) % 2 == 0
    frame["flip_rate<5%"] = np.linspace(0.01, 0.08, count)
    return frame.assign(**{"flip_rate<5% low": 0.0, "flip_rate<5% high": 0.09})


def test_neighbours_are_at_their_sizes_by_what_they_keep():
    frame = neighbours(5)
    chosen = pd.DataFrame({"file": ["chosen"], "bytes": [11000], "flip_rate<5%": [0.02]})
    figure = plots.neighbour_files(
        frame, {"flip_rate<5%": 0.05}, others=chosen, labels={"flip_rate<5%": "flips, %"}, factors={"flip_rate<5%": 100}
    )
    (axes,) = figure.axes
    points = {group.get_label(): np.asarray(group.get_offsets()) for group in axes.collections if group.get_label()}
    kept = frame[frame["holds"]]
    np.testing.assert_allclose(points["holds"], np.stack([kept["bytes"] / 1024, 100 * kept["flip_rate<5%"]], axis=1))
    assert len(points["does not hold, or is inconclusive"]) == 2
    np.testing.assert_allclose(points["chosen"], [[11000 / 1024, 2]])
    assert axes.get_ylabel() == "flips, %"
    names = [text.get_text() for text in axes.texts]
    assert len(names) == 5 and all(len(name) <= 26 and name.endswith(": int4") for name in names)


def test_names_that_would_hide_each_other_are_left_out():
    assert not plots.neighbour_files(neighbours(9), {"flip_rate<5%": 0.05}).axes[0].texts
    with pytest.raises(ValueError, match="must have rows"):
        plots.neighbour_files(neighbours(0), {"flip_rate<5%": 0.05})


def test_numbers_of_steps_hide_no_other():
    sizes = [100_000, 99_900, 99_800, 60_000, 59_900]
    frame = pd.DataFrame({"outcome": ["start", *["kept"] * 4], "bytes": sizes, "flips": [0.01] * 5})
    figure = plots.search_path(frame, {"flips": 0.02})
    assert [text.get_text() for text in figure.axes[0].texts] == ["4", "0"]
