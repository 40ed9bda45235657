"""The outcome of a choice of bits: the file, its recipe, tables, words, a report."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfinv.support.files import write_json
from tfinv.tflite.comparison.storage import loaded_parts, save_parts
from tfinv.tflite.files.conversion import Conversion

if TYPE_CHECKING:
    import pandas as pd

    from tfinv.report import Report

_KIND, _VERSION = "tfinv-bits", 2
_FRAMES = ("layers", "path", "singles", "neighbours", "files", "confirmation")


@dataclass(frozen=True)
class BitChoice:
    """The smallest file that was found to keep the conditions, and how it was found.

    Args:
        conversion: the file.
        recipe: for litert-quantizer, as JSON values.
        verdict: what was found, in sentences.
        warnings: what to know before trusting it.
        layers: one row per layer, or per layers that share a kernel: `layer, operator, weights, scheme, weight_bits,
            activation_bits`, `bytes_saved` and `change_alone` (with `low, high`) of that layer alone, `why` it has this
            scheme, and `cannot`, the schemes that it cannot take, with reasons.
        path: one row per change that was tried: `step, layer, before, after, bytes, outcome`, and for every condition
            what was measured on the whole file, with the ends of the 90 % interval, `outcome` and about how many images
            a decision `needed`.
        singles: one row per layer and scheme, this layer alone in this scheme: `layer, scheme, bytes_saved`, the
            conditions as in `path`, and `output_sqnr_db`.
        neighbours: one row per file that differs from the chosen one in one layer by one step down or up: `layer,
            direction, scheme, bytes, bytes_more`, and the conditions.
        files: one row per file that the chosen one is compared with: `file, bytes, size_ratio, holds`, the conditions,
            `output_change` with its 90 % interval, `output_sqnr_db, flip_rate, accuracy, transformed_accuracy`.
        confirmation: the same of the chosen file on other images, `images` of them: one row, or none where the search
            took nearly all images.
        metadata: settings, versions, hashes.
    """

    conversion: Conversion
    recipe: list[dict[str, Any]] = field(repr=False)
    verdict: tuple[str, ...]
    warnings: tuple[str, ...]
    layers: pd.DataFrame = field(repr=False)
    path: pd.DataFrame = field(repr=False)
    singles: pd.DataFrame = field(repr=False)
    neighbours: pd.DataFrame = field(repr=False)
    files: pd.DataFrame = field(repr=False)
    confirmation: pd.DataFrame = field(repr=False)
    metadata: Mapping[str, Any] = field(repr=False)

    @property
    def schemes(self) -> dict[str, str]:
        """The scheme by layer."""
        return dict(zip(self.layers["layer"], self.layers["scheme"], strict=True))

    @property
    def holds(self) -> bool:
        """Whether the chosen file meets all conditions, those on its size and latency too."""
        return bool(self.files["holds"].iloc[0])

    @property
    def confirmed(self) -> bool | None:
        """Whether all conditions hold on other images too; None where these are missing or too few to decide."""
        rows = self.confirmation.to_dict("records")
        outcomes = {row[f"{condition} outcome"] for row in rows for condition in self.metadata["keep"]}
        if "fails" in outcomes:
            return False
        return True if outcomes == {"holds"} else None

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write `model.tflite` with its JSON, `recipe.json` for litert-quantizer, and `bits.npz` with the rest.

        Args:
            folder: where; it is made if need be.

        Returns:
            The path of `model.tflite`.
        """
        place = Path(folder)
        path = self.conversion.save(place / "model.tflite")
        write_json(place / "recipe.json", self.recipe)
        facts = {"verdict": list(self.verdict), "warnings": list(self.warnings), "metadata": dict(self.metadata)}
        frames = {name: getattr(self, name) for name in _FRAMES}
        facts["recipe"] = self.recipe
        save_parts(place / "bits.npz", _KIND, _VERSION, facts, frames=frames, results={}, arrays={})
        return path

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> BitChoice:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a damaged file, or one of another kind or version.
        """
        place = Path(folder)
        schema = {"verdict": [str], "warnings": [str], "metadata": dict, "recipe": [dict]}
        with loaded_parts(place / "bits.npz", _KIND, _VERSION, schema) as (facts, frames, _, _):
            tables = {name: frames[name] for name in _FRAMES}
            words = {name: tuple(facts[name]) for name in ("verdict", "warnings")}
            conversion = Conversion.load(place / "model.tflite")
            return cls(conversion, facts["recipe"], **words, **tables, metadata=facts["metadata"])

    def to_report(self) -> Report:
        """The report, not yet written."""
        from tfinv.tflite.studies.bit_report import build

        return build(self)

    def report(self, folder: str | os.PathLike[str]) -> Path:
        """Write `report.html`, `report.md`, the tables as CSV and the path of the search as `path.png`.

        Args:
            folder: where; it is made if need be.

        Returns:
            The path of `report.html`.
        """
        from tfinv.tflite.studies.bit_report import write

        return write(self, Path(folder))
