"""Words on units that stop or start to respond: how many, and whether a change comes from them alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tfinv.tflite.comparison.report_parts import measure_name
from tfinv.tflite.comparison.words import MATERIAL, signed

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

FAMILIES = {
    "NormalizedVariance": "invariance",
    "NormalizedDistance": "invariance",
    "NormalizedVarianceSE": "same-equivariance",
    "NormalizedDistanceSE": "same-equivariance",
}
"""Measures of one family answer one question, so their changes should have one sign."""


def paired_change(differences: pd.DataFrame) -> NDArray[np.float64]:
    """The relative change of every row over units valid in both; of all valid units where that is not known."""
    relative = differences["relative"].to_numpy(float)
    if "paired_relative" not in differences:
        return relative
    paired = differences["paired_relative"].to_numpy(float)
    return np.where(np.isfinite(paired), paired, relative)


def from_silence(differences: pd.DataFrame) -> NDArray[np.bool_]:
    """Which rows change by more than a trifle only because units were lost or gained.

    Example:
        >>> import pandas as pd
        >>> from tfinv.tflite.comparison.silence import from_silence
        >>> frame = pd.DataFrame({"relative": [-0.12, -0.12, -0.12], "paired_relative": [0.009, -0.1, -0.01]})
        >>> from_silence(frame).tolist()
        [True, False, True]

    Args:
        differences: as `compare` gives; a row is due to silence where the change over all valid units is at least
            `MATERIAL`, and the change over units valid in both is smaller than that or of the other sign.
    """
    relative, paired = differences["relative"].to_numpy(float), paired_change(differences)
    return (np.abs(relative) >= MATERIAL) & ((np.abs(paired) < MATERIAL) | (np.sign(paired) != np.sign(relative)))


def opposite_signs(row: pd.Series, differences: pd.DataFrame) -> list[str]:
    """Other defensible numbers of the same layer that change in the other direction, in words.

    These are the median over the units valid in both, and other statistics and distances that answer the same question.

    Example:
        >>> import pandas as pd
        >>> from tfinv.tflite.comparison.silence import opposite_signs
        >>> keys = ["NormalizedVariance(statistic='std')", "NormalizedVariance"]
        >>> frame = pd.DataFrame({"measure": keys, "layer": "relu", "relative": [-0.122, 0.006]})
        >>> opposite_signs(frame.iloc[0], frame)
        ['NormalizedVariance changes by +0.6 %']

    Args:
        row: one row of `differences`.
        differences: as `compare` gives.
    """
    sign = np.sign(paired_change(row.to_frame().T)[0])
    words = []
    if float(row.get("median_relative", np.nan)) * sign < 0:
        words.append(f"the median of the units valid in both changes by {signed(row['median_relative'])}")
    family = FAMILIES.get(str(row["measure"]).partition("(")[0])
    kin = differences["measure"].map(lambda key: FAMILIES.get(str(key).partition("(")[0]) == family)
    others = differences[kin & (differences["layer"] == row["layer"]) & (differences["measure"] != row["measure"])]
    for key, change in zip(others["measure"], paired_change(others), strict=True):
        if family is not None and change * sign < 0:
            words.append(f"{key} changes by {signed(change)}")
    return words


def silence_sentence(rows: pd.DataFrame, measure: str, names: tuple[str, str] = ("before", "after")) -> str:
    """What to say of layers whose number changed beyond noise because units were lost or gained; "" of none.

    Args:
        rows: the rows of `compare` for which `from_silence` holds.
        measure: key of the measure.
        names: what the two models are called.
    """
    if not len(rows):
        return ""
    worst = rows.iloc[int(np.abs(rows["relative"].to_numpy(float)).argmax())]
    layers = "1 layer" if len(rows) == 1 else f"{len(rows)} layers"
    kind = "units that fall silent" if int(worst["silenced"]) >= int(worst["gained"]) else "units that start to respond"
    return (
        f"**A change of {measure_name(measure)} in {layers} comes from {kind}**, not from units that respond in both: "
        f"at `{worst['layer']}` it is {signed(worst['relative'])} over all valid units, and "
        f"{signed(worst['paired_relative'])} over the {int(worst['both'])} units valid in both. {names[1]} is neither "
        "more nor less invariant because of that."
    )


def units_sentence(differences: pd.DataFrame, measure: str, names: tuple[str, str] = ("before", "after")) -> str:
    """How many units still respond, where most are lost, and which; "" where none is lost or gained.

    Example:
        >>> import pandas as pd
        >>> from tfinv.tflite.comparison.silence import units_sentence
        >>> row = {"measure": "NormalizedVariance", "layer": "relu", "valid_before": 738, "both": 454, "lost": 284}
        >>> row |= {"gained": 0, "silenced": 284, "lost_names": "0; 3; 4; 9; 11 and 279 more"}
        >>> print(units_sentence(pd.DataFrame([row]), "NormalizedVariance", ("float", "int8")))
        **454 of 738 units still respond in int8** at `relu`, where most are lost: 284 are valid in float \
and not in int8 (284 of them fell silent): 0; 3; 4; 9; 11 and 279 more; 0 are gained.

    Args:
        differences: as `compare` gives.
        measure: key of the measure.
        names: what the two models are called.
    """
    if "lost" not in differences:
        return ""
    rows = differences[(differences["measure"] == measure) & np.isfinite(differences["lost"].to_numpy(float))]
    lost, gained = int(rows["lost"].sum()), int(rows["gained"].sum())
    if not lost and not gained:
        return ""
    worst = rows.iloc[int(rows["lost" if lost else "gained"].to_numpy(float).argmax())]
    here, new = int(worst["lost"]), int(worst["gained"])
    if not lost:
        return (
            f"{gained} units respond in {names[1]} and not in {names[0]}, most of them ({new}) at `{worst['layer']}`."
        )
    text = (
        f"**{int(worst['both'])} of {int(worst['valid_before'])} units still respond in {names[1]}** at "
        f"`{worst['layer']}`, where most are lost: {here} are valid in {names[0]} and not in {names[1]} "
        f"({int(worst['silenced'])} of them fell silent): {worst['lost_names']}; {new} are gained."
    )
    if len(rows) == 1:
        return text
    return f"{text} In all {len(rows)} layers {lost} of {int(rows['valid_before'].sum())} are lost and {gained} gained."
