"""The inputs and outputs of a model, and what of it is not measured, as a table and as sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from tfinv.report.builder import Report

SKIPPED = "not measured"
_COLUMNS = ("part", "name", "shape", "type", "remark")


def add_ends(report: Report, records: Mapping[str, Mapping[str, Any]]) -> None:
    """Add a section with the inputs, the outputs and the layers that are not measured; nothing where none is known.

    Args:
        report: what to add to.
        records: by name of a model what is recorded of it: `inputs`, `outputs` and `skipped_layers`.
    """
    frame = ends_table(records)
    if len(frame):
        report.section("Inputs, outputs and what is not measured")
        report.table(
            frame, "Inputs, outputs in the order of the model, and what is left out with its reason.", collapsed=False
        )


def ends_table(records: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Inputs, outputs and layers that are not measured.

    Example:
        >>> from tfinv.report.ends import ends_table
        >>> outputs = [{"name": "o", "layer": "logits", "shape": [10], "dtype": "float32", "measured": True}]
        >>> frame = ends_table({"net": {"inputs": [{"shape": [8, 8, 1]}], "outputs": outputs}})
        >>> frame[["part", "shape", "remark"]].to_numpy().tolist()
        [['input', '8 x 8 x 1', ''], ['output', '10', 'predictions are read here']]

    Args:
        records: see `add_ends`.

    Returns:
        The columns `part, name, shape, type, remark`, behind `model` where there are several; models with the same
        rows share them.
    """
    import pandas as pd

    by_rows: dict[tuple[tuple[str, ...], ...], list[str]] = {}
    for name, record in records.items():
        by_rows.setdefault(tuple(_rows(record)), []).append(name)
    rows = [(", ".join(names), *row) for rows, names in by_rows.items() for row in rows]
    frame = pd.DataFrame(rows, columns=["model", *_COLUMNS])
    return frame if len(records) > 1 else frame.drop(columns="model")


def ends_sentences(record: Mapping[str, Any]) -> list[str]:
    """What `ends_table` holds, as at most three lines.

    Example:
        >>> from tfinv.report.ends import ends_sentences
        >>> ends_sentences({"inputs": [{"shape": [8, 8, 1]}], "skipped_layers": {"tokens": "it has no fixed shape"}})
        ['input: 8 x 8 x 1', 'not measured: tokens (it has no fixed shape)']

    Args:
        record: of a model, see `add_ends`.
    """
    texts: dict[str, list[str]] = {}
    for part, name, shape, dtype, remark in _rows(record):
        words = f"{name} ({remark})" if part == SKIPPED else ", ".join(filter(None, (f"{name} {shape}", dtype, remark)))
        texts.setdefault(part, []).append(words.strip())
    return [f"{part}: {'; '.join(parts)}" for part, parts in texts.items()]


def _rows(record: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows = [("input", *_tensor(tensor), "") for tensor in record.get("inputs") or ()]
    for position, tensor in enumerate(record.get("outputs") or ()):
        measured = tensor.get("measured", position == 0)
        if not tensor.get("layer"):
            remark = "predictions are read here; no measured layer makes it" if measured else "listed only"
        else:
            remark = "predictions are read here" if measured else "measured as a layer only"
        rows.append(("output", *_tensor(tensor), remark))
    reasons: dict[str, list[str]] = {}
    for layer, reason in (record.get("skipped_layers") or {}).items():
        reasons.setdefault(str(reason), []).append(layer)
    return [*rows, *((SKIPPED, ", ".join(names), "", "", reason) for reason, names in reasons.items())]


def _tensor(tensor: Mapping[str, Any]) -> tuple[str, str, str]:
    shape: Sequence[int | None] = tensor.get("shape") or ()
    sizes = " x ".join("?" if size in (None, -1) else str(size) for size in shape)
    return str(tensor.get("layer") or tensor.get("name") or ""), sizes or "1", str(tensor.get("dtype") or "")
