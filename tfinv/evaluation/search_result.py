"""What a search for worst cases found: numbers, a table, a report with pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfinv.evaluation.search_space import SearchSpace
from tfinv.resampling.images import Estimate
from tfinv.resampling.shares import wilson
from tfinv.support.files import write_text
from tfinv.support.safe_text import to_csv

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from tfinv.transformations import Affine


@dataclass(frozen=True, eq=False)
class WorstCase:
    """The transformation of every image that a classifier copes with worst, as far as a search found it.

    Args:
        space: what was searched.
        targets: int64 `(S,)`, the labels, or without labels the answers to the untransformed images.
        is_labelled: whether there were labels.
        upright: bool `(S,)`, right on the untransformed image.
        grid_right: bool `(S,)`, right at every point of the grid.
        right: bool `(S,)`, right wherever the search looked.
        parameters: float64 `(S, P)`: where the model errs, the transformation found; otherwise that at which the right
            answer leads least.
        answers: int64 `(S,)`, what the model says there.
        tried: int64 `(S,)`, how many transformations were tried.
        grid_points: points of the grid.
        budget: transformations tried on an image, at most.
        shown: int64 `(N,)`, the images that pictures are kept of.
        pictures: uint8 `(N, 2, H, W, C)`, upright and under the transformation found.
    """

    space: SearchSpace
    targets: NDArray[np.int64] = field(repr=False)
    is_labelled: bool
    upright: NDArray[np.bool_] = field(repr=False)
    grid_right: NDArray[np.bool_] = field(repr=False)
    right: NDArray[np.bool_] = field(repr=False)
    parameters: NDArray[np.float64] = field(repr=False)
    answers: NDArray[np.int64] = field(repr=False)
    tried: NDArray[np.int64] = field(repr=False)
    grid_points: int
    budget: int
    shown: NDArray[np.int64] = field(repr=False)
    pictures: NDArray[np.uint8] = field(repr=False)

    @property
    def accuracy(self) -> Estimate:
        """Share of images that the model is right on wherever the search looked, with Wilson's 95 % interval."""
        return _share(self.right)

    @property
    def grid_accuracy(self) -> Estimate:
        """The same for the points of the grid alone."""
        return _share(self.grid_right)

    @property
    def upright_accuracy(self) -> Estimate:
        """Accuracy on the untransformed images; without labels 1."""
        return _share(self.upright)

    @property
    def missed(self) -> float:
        """Share of images that the model is right on at every point of the grid, and wrong between them."""
        return float((self.grid_right & ~self.right).mean())

    def transformation(self, image: int) -> Affine:
        """The transformation found for an image."""
        return self.space.affine(self.parameters[image])

    def to_frame(self) -> pd.DataFrame:
        """One row an image: `image, target, upright, grid_right, right, answer, tried` and the parameters."""
        import pandas as pd

        frame = pd.DataFrame({"image": range(len(self.right)), "target": self.targets})
        frame["upright"], frame["grid_right"], frame["right"] = self.upright, self.grid_right, self.right
        frame["answer"], frame["tried"] = self.answers, self.tried
        for name, values in zip(self.space.names, self.parameters.T, strict=True):
            frame[name] = values
        return frame

    def describe(self) -> str:
        """What was found, in words.

        Example:
            >>> import numpy as np
            >>> from tfinv.evaluation.search_result import WorstCase
            >>> from tfinv.evaluation.search_space import SearchSpace
            >>> yes, no, ints = np.ones(4, bool), np.array([1, 1, 0, 0], bool), np.zeros(4, int)
            >>> space = SearchSpace.of({"rotation": 30})
            >>> kept = np.zeros(0, int), np.zeros((0, 2, 1, 1, 1), np.uint8)
            >>> found = WorstCase(space, ints, True, yes, yes, no, np.zeros((4, 1)), ints, ints, 5, 20, *kept)
            >>> found.describe().split(", and ")[0]
            'Right on 100.0 % of images upright, 100.0 % at every point of a grid of 5'
            >>> found.accuracy.value, found.missed
            (0.5, 0.5)
        """
        found = self.accuracy
        what = "Right on" if self.is_labelled else "The answer is that for the untransformed image on"
        ranges = ", ".join(
            f"{name} {low:g} to {high:g}"
            for name, low, high in zip(self.space.names, self.space.low, self.space.high, strict=True)
        )
        upright, grid = 100 * self.upright_accuracy.value, 100 * self.grid_accuracy.value
        return (
            f"{what} {upright:.1f} % of images upright, {grid:.1f} % at every point of a grid of {self.grid_points}, "
            f"and {100 * found.value:.1f} % ({100 * found.low:.1f} to {100 * found.high:.1f}) wherever the search "
            f"looked ({ranges}; at most {self.budget} transformations an image): the grid misses "
            f"{100 * self.missed:.1f} points. A search proves nothing about transformations that it did not try."
        )

    def figure(self) -> Figure:
        """The pictures kept: every image upright and under the transformation found, with the answer.

        Raises:
            ValueError: no pictures, because the model errs nowhere, or images that are neither gray nor in colour.
        """
        from tfinv import plots

        captions = [
            f"{self.targets[image]} → {self.answers[image]}\n" + "\n".join(self._lines(int(image)))
            for image in self.shown
        ]
        return plots.captioned_images(self.pictures, captions)

    def report(self, folder: str | os.PathLike[str]) -> Path:
        """Write `report.html` and `worst_case.csv`.

        Args:
            folder: where; it is made if need be.

        Returns:
            The path of `report.html`.
        """
        import pandas as pd

        from tfinv.report import Report
        from tfinv.support import environment

        report = Report("Which transformations make the model err?", f"{len(self.right)} images").verdict(
            self.describe()
        )
        kinds = {"upright": self.upright_accuracy, f"all {self.grid_points} points of the grid": self.grid_accuracy}
        kinds["wherever the search looked"] = self.accuracy
        rows = [{"right": name, "share": e.value, "low": e.low, "high": e.high} for name, e in kinds.items()]
        caption = "Share of images, with 95 % intervals (Wilson)"
        report.table(pd.DataFrame(rows), caption, dict.fromkeys(("share", "low", "high"), "{:.1%}"))
        if len(self.shown) and self.pictures.shape[-1] in (1, 3):
            report.section("Images that the model errs on", "It is right on all of them untransformed.")
            text = "Every image upright and under the transformation found, the right answer and that of the model."
            report.figure(self.figure(), text, text, name="worst_case")
        facts = {"budget": self.budget, "grid points": self.grid_points, "tried": int(self.tried.sum())}
        write_text(Path(folder) / "worst_case.csv", to_csv(self.to_frame()))
        return report.environment({**facts, **environment.describe()}).write_html(Path(folder) / "report.html")

    def _lines(self, image: int) -> list[str]:
        """The transformation found, two parameters a line."""
        words = self.space.words(self.parameters[image]).split(", ")
        return [", ".join(words[start : start + 2]) for start in range(0, len(words), 2)]


def joined(parts: Sequence[WorstCase], pictures: int) -> WorstCase:
    """What was found for the images of several parts, with the pictures of the first so many."""
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0, *(len(part.targets) for part in parts)])
    by_image = ("targets", "upright", "grid_right", "right", "parameters", "answers", "tried")
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in by_image}
    shown = np.concatenate([part.shown + start for part, start in zip(parts, starts[:-1], strict=True)])[:pictures]
    shots = np.concatenate([part.pictures for part in parts])[:pictures]
    return replace(parts[0], **arrays, shown=shown, pictures=shots)


def _share(flags: NDArray[np.bool_]) -> Estimate:
    return Estimate(float(flags.mean()), *wilson(int(flags.sum()), len(flags)))
