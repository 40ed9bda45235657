"""What the plots accept, brought to tidy frames: results, one measure, frames; and the order of layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinv.results import MeasureResult, Results
from tfinv.support.checks import measure_choice

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


def need_columns(frame: Any, columns: Sequence[str], argument: str) -> pd.DataFrame:
    """The frame itself, or an error that names the columns it lacks.

    Raises:
        TypeError: not a pandas frame.
        ValueError: a column is missing, or the frame has no rows.
    """
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise TypeError(
            f"{argument} must be a pandas frame with the columns {', '.join(columns)}. Received: {type(frame).__name__}"
        )
    missing = [column for column in columns if column not in frame.columns]
    if missing or frame.empty:
        raise ValueError(
            f"{argument} must have rows and the columns {', '.join(columns)}. "
            f"Received: {len(frame)} rows, columns {', '.join(map(str, frame.columns))}"
        )
    return frame


def numbers(frame: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """A column as a float64 array."""
    return np.asarray(frame[column], np.float64)


def one_measure(item: Any, measure: Any, argument: str) -> MeasureResult:
    """The `MeasureResult` that is meant: the item itself, or one measure of its `Results`.

    Raises:
        TypeError: neither of the two.
        ValueError: several measures and none named, or no layers.
    """
    measure_choice(measure)
    if isinstance(item, Results):
        if measure is None and len(item) != 1:
            raise ValueError(f"measure must be named, one of {', '.join(item)}. Received: None")
        item = item[next(iter(item)) if measure is None else measure]
    if not isinstance(item, MeasureResult):
        raise TypeError(f"{argument} must be Results or a MeasureResult. Received: {type(item).__name__}")
    if not item.layers:
        raise ValueError(f"{argument} must have at least one layer. Received: {item.key} without layers")
    return item


def as_profiles(results: Any, measure: Any) -> tuple[dict[str, pd.DataFrame], str]:
    """Profiles by name, and what their values are called.

    Args:
        results: mapping of names to `Results`, `MeasureResult` or profile frames; or one of these alone.
        measure: which measure, where there are several.

    Returns:
        Frames with at least `layer` and `mean` by name, and the text for the value axis.

    Raises:
        TypeError, ValueError: nothing to draw, an unknown kind of item, a missing column, an unclear measure.
    """
    measure_choice(measure)
    if isinstance(results, Results) and (measure is not None or len(results) == 1):
        results = one_measure(results, measure, "results_by_name")
    if isinstance(results, MeasureResult):
        results = {results.key: results}
    if not isinstance(results, Mapping) or not results:
        raise TypeError(
            "results_by_name must map at least one name to Results, a MeasureResult or a frame. "
            f"Received: {type(results).__name__}{' without entries' if isinstance(results, Mapping) else ''}"
        )
    frames = {str(name): _profile(item, measure, f"results_by_name[{name!r}]") for name, item in results.items()}
    keys = {str(key) for frame in frames.values() if "measure" in frame for key in frame["measure"]}
    return frames, f"{keys.pop()}\nmean over units" if len(keys) == 1 else "mean over units"


def _profile(item: Any, measure: Any, argument: str) -> pd.DataFrame:
    if isinstance(item, Results | MeasureResult):
        return one_measure(item, measure, argument).profile()
    frame: Any = need_columns(item, ("layer", "mean"), argument)
    if "measure" in frame:
        key = measure if isinstance(measure, str) else getattr(measure, "key", None)
        if key is not None:
            frame = frame[frame["measure"] == key]
        if frame["measure"].nunique() != 1:
            known = ", ".join(map(str, item["measure"].unique()))
            raise ValueError(f"measure must be one of {known}. Received: {measure!r}")
    if frame["layer"].duplicated().any():
        raise ValueError(
            f"{argument} must have one row per layer. Received: {frame['layer'].duplicated().sum()} repeated layers"
        )
    return frame.reset_index(drop=True)


def merged_layers(orders: Iterable[Sequence[str]]) -> list[str]:
    """One order of all layers that agrees with each network's own as far as they agree with each other.

    Args:
        orders: layer names of each network, in its order.

    Returns:
        The union; a layer that only a later network has stands right after its predecessor there.
    """
    merged: list[str] = []
    for order in orders:
        after = 0
        for layer in order:
            if layer not in merged:
                merged.insert(after, layer)
            after = merged.index(layer) + 1
    return merged


def several(names: Sequence[str], most: int = 4) -> str:
    """`a, b, c, d and 3 more`."""
    extra = len(names) - most
    return ", ".join(names[:most]) + (f" and {extra} more" if extra > 0 else "")
