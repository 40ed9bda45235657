"""What transformations do to all outputs of a model: the result, its tables, and its file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.outputs.means import means_with_intervals
from tfinv.support import archive

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

FORMAT, VERSION = "tfinv-output-change", 1
_WHAT = "a complete file written by OutputChange.save"
_OUTPUT = {"name": str, "kind": str, "error": str, "guessed": bool, "words": {str: str}}
FACTS = {"outputs": [_OUTPUT], "skipped": {str: str}, "transformations": [str], "metadata": dict}
"""What the header of a file holds."""


@dataclass(frozen=True)
class OutputMeasured:
    """One output under all transformations.

    Args:
        name: of the output.
        kind: what it means, as text, such as `"landmarks(dimensions=3)"`.
        error: the quantity that is 0 where the output is as it must be.
        guessed: whether the kind was guessed rather than stated.
        words: by quantity what it is.
        values: by quantity one number per image and transformation, float64 `(S, T)`; NaN where it does not exist.
        floor: the same for images that were transformed and transformed back; empty where that was not asked for.
        marks: what was found and what was expected on the pictures, see `OutputKind.marks`.
    """

    name: str
    kind: str
    error: str
    guessed: bool
    words: Mapping[str, str]
    values: Mapping[str, NDArray[Any]] = field(repr=False)
    floor: Mapping[str, NDArray[Any]] = field(repr=False, default_factory=dict)
    marks: Mapping[str, NDArray[Any]] = field(repr=False, default_factory=dict)

    @property
    def error_values(self) -> NDArray[Any]:
        """The values of the error `(S, T)`."""
        return self.values[self.error]


@dataclass(frozen=True)
class OutputChange:
    """What transformations do to the outputs of a model.

    Args:
        outputs: one entry per measured output, in the order of the model.
        skipped: by name why an output was not measured.
        transformations: T texts.
        degrees: `(T,)`, angles; NaN where a transformation is no rotation.
        pictures: uint8 `(K, T, H, W, C)`, the first K images under each transformation.
        metadata: settings and versions; entries of a user are kept.
    """

    outputs: tuple[OutputMeasured, ...]
    skipped: Mapping[str, str]
    transformations: tuple[str, ...]
    degrees: NDArray[np.float64] = field(repr=False)
    pictures: NDArray[np.uint8] = field(repr=False)
    metadata: Mapping[str, Any] = field(repr=False)

    def __getitem__(self, name: str) -> OutputMeasured:
        for output in self.outputs:
            if output.name == name:
                return output
        raise KeyError(f"no measured output {name!r}, there are {', '.join(one.name for one in self.outputs)}")

    def to_frame(self) -> pd.DataFrame:
        """One row per output, quantity and transformation.

        Returns:
            `output, kind, quantity, number, transformation, degrees, mean, low, high, floor, images`: the mean over
            images with its 95 % interval from resampled images, the mean for images transformed back, and on how many
            images the quantity exists.
        """
        import pandas as pd

        frames = []
        for output in self.outputs:
            for quantity, values in output.values.items():
                mean, low, high = means_with_intervals(values).T
                floor = output.floor.get(quantity)
                frames.append(
                    pd.DataFrame(
                        {
                            "output": output.name,
                            "kind": output.kind,
                            "quantity": quantity,
                            "number": range(len(self.transformations)),
                            "transformation": list(self.transformations),
                            "degrees": self.degrees,
                            "mean": mean,
                            "low": low,
                            "high": high,
                            "floor": np.nan if floor is None else means_with_intervals(floor)[:, 0],
                            "images": np.isfinite(values).sum(axis=0),
                        }
                    )
                )
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one `.npz` file, atomically.

        Args:
            path: the file; by convention it ends in `.npz`.
        """
        facts, arrays = self.to_parts()
        archive.write(path, FORMAT, VERSION, facts, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> OutputChange:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: a damaged file, another kind of file, or an unknown version.
        """
        with archive.opened(path, FORMAT, VERSION, FACTS, _WHAT) as (facts, arrays):
            return cls.from_parts(facts, arrays)

    def to_parts(self, prefix: str = "") -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """JSON values and named arrays that `from_parts` reads.

        Args:
            prefix: what the names of the arrays begin with.
        """
        arrays: dict[str, NDArray[Any]] = {f"{prefix}degrees": self.degrees, f"{prefix}pictures": self.pictures}
        for number, output in enumerate(self.outputs):
            for part in ("values", "floor", "marks"):
                for name, array in getattr(output, part).items():
                    arrays[f"{prefix}{number}.{part}.{name}"] = array
        outputs = [
            {key: getattr(output, key) for key in ("name", "kind", "error", "guessed")} | {"words": dict(output.words)}
            for output in self.outputs
        ]
        facts = {
            "outputs": outputs,
            "skipped": dict(self.skipped),
            "transformations": list(self.transformations),
            "metadata": dict(self.metadata),
        }
        return facts, arrays

    @classmethod
    def from_parts(cls, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], prefix: str = "") -> OutputChange:
        """What `to_parts` gave, read from a file that may hold anything.

        Args:
            facts: the JSON values, checked against `FACTS`.
            arrays: those of the file.
            prefix: what the names of the arrays begin with.

        Raises:
            KeyError: an array is missing.
            ValueError: an array of another dtype or shape.
        """
        count = len(facts["transformations"])
        outputs = []
        for number, entry in enumerate(facts["outputs"]):
            parts: dict[str, dict[str, NDArray[Any]]] = {"values": {}, "floor": {}, "marks": {}}
            for part, found in parts.items():
                start = f"{prefix}{number}.{part}."
                for name in (name for name in arrays if name.startswith(start)):
                    if part == "marks":
                        found[name.removeprefix(start)] = arrays[name]
                    else:
                        found[name.removeprefix(start)] = archive.member(arrays, name, "float64", (None, count))
            if entry["error"] not in parts["values"]:
                raise KeyError(f"{prefix}{number}.values.{entry['error']}")
            told = (entry["name"], entry["kind"], entry["error"], entry["guessed"], entry["words"])
            outputs.append(OutputMeasured(*told, parts["values"], parts["floor"], parts["marks"]))
        return cls(
            tuple(outputs),
            facts["skipped"],
            tuple(facts["transformations"]),
            archive.member(arrays, f"{prefix}degrees", "float64", (count,)),
            archive.member(arrays, f"{prefix}pictures", "uint8", (None, count, None, None, None)),
            facts["metadata"],
        )

    def report(self, folder: str | os.PathLike[str]) -> Path:
        """Write `report.html` (self-contained), `outputs.csv` and the figures.

        Args:
            folder: where; it is made if need be.

        Returns:
            The path of `report.html`.
        """
        from tfinv.outputs.report import write

        return write(self, Path(folder))
