"""The tables of a choice of bits: files, layers, the path of the search, single layers, neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfinv.tflite.studies import bit_words as words
from tfinv.tflite.studies.bit_finding import FoundBits
from tfinv.tflite.studies.bit_measuring import Bench, MeasuredFile
from tfinv.tflite.studies.bit_schemes import BIT_SCHEMES, FLOAT
from tfinv.tflite.studies.bit_search import Schemes, changed

if TYPE_CHECKING:
    import pandas as pd


def files_table(bench: Bench, found: FoundBits) -> pd.DataFrame:
    """One row per file that the chosen one is compared with; the chosen one is the first."""
    import pandas as pd

    named = [("chosen", bench.look(found.schemes, "chosen"))]
    named += [(name, bench.look(schemes, name)) for schemes, name in found.candidates.named.items()]
    if found.by_noise is not None:
        named.append(("same bytes by SQNR", bench.look(found.by_noise, "by SQNR")))
    base = bench.files.reference.size
    rows = [{"file": name, "size_ratio": file.size / base, **file.cells()} for name, file in named]
    return pd.DataFrame(rows)


def confirmation_table(again: MeasuredFile | None, images: int) -> pd.DataFrame:
    """One row: the chosen file on so many other images; no row where there are none."""
    import pandas as pd

    return pd.DataFrame() if again is None else pd.DataFrame([{"images": images, **again.cells()}])


def layers_table(bench: Bench, found: FoundBits) -> pd.DataFrame:
    """One row per group, with its scheme and why it has it."""
    import pandas as pd

    rows, refused = [], found.candidates.refused
    for number, group in enumerate(bench.files.groups):
        name = found.schemes[number]
        alone, scheme = found.candidates.alone[number, name], BIT_SCHEMES[name]
        cannot = [
            f"{other}: {refused[number, other]}" for other in found.candidates.names if (number, other) in refused
        ]
        rows.append(
            {
                "layer": group.name,
                "operator": group.operator,
                "weights": group.weights,
                "calls": max(1, len(group.outputs)),
                "scheme": name,
                "weight_bits": scheme.weight_bits,
                "activation_bits": scheme.activation_bits,
                "bytes_saved": bench.files.reference.size - alone.size,
                "change_alone": alone.output_change[0],
                "low": alone.output_change[1],
                "high": alone.output_change[2],
                "why": _why(bench, found, number),
                "cannot": "; ".join(cannot),
            }
        )
    return pd.DataFrame(rows)


def _why(bench: Bench, found: FoundBits, number: int) -> str:
    """Why a group has its scheme: what became of those that would make the file smaller."""
    size, here, known = bench.files.size, found.schemes[number], found.candidates
    smaller = [
        name for name in known.options[number] if size(changed(found.schemes, number, name)) < size(found.schemes)
    ]
    if not smaller:
        return f"no scheme makes the file smaller than {here}, and it holds"
    reasons = []
    for name in smaller:
        step = next((step for step in reversed(found.steps) if (step.group, step.after) == (number, name)), None)
        if (number, name) in known.hopeless:
            reasons.append(f"{name} alone misses {words.missed(bench.conditions, known.alone[number, name])}")
        elif step is not None:
            reasons.append(f"{name} was undone: {words.missed(bench.conditions, bench.look(step.schemes, 'undone'))}")
    return "; ".join(reasons)


def path_table(bench: Bench, found: FoundBits) -> pd.DataFrame:
    """One row per change that was tried."""
    import pandas as pd

    rows = []
    for number, step in enumerate(found.steps):
        start = step.group < 0
        rows.append(
            {
                "step": number,
                "layer": _called(found, step.schemes) if start else bench.files.groups[step.group].name,
                "before": step.before,
                "after": step.after,
                "outcome": step.outcome,
                **bench.look(step.schemes, "").cells(),
            }
        )
    return pd.DataFrame(rows)


def _called(found: FoundBits, schemes: Schemes) -> str:
    """What a file to start from is called."""
    return found.candidates.named.get(schemes, "planned by single layers" if schemes in found.planned else "by SQNR")


def singles_table(bench: Bench, found: FoundBits) -> pd.DataFrame:
    """One row per group and scheme, this group alone."""
    import pandas as pd

    base = bench.files.reference.size
    rows = [
        {"layer": bench.files.groups[number].name, "scheme": name, "bytes_saved": base - file.size, **file.cells()}
        for (number, name), file in found.candidates.alone.items()
        if name != FLOAT
    ]
    return pd.DataFrame(rows)


def neighbours_table(bench: Bench, found: FoundBits) -> pd.DataFrame:
    """One row per file that differs from the chosen one in one group."""
    import pandas as pd

    chosen, rows = bench.look(found.schemes, "chosen"), []
    for number, direction, file in found.neighbours:
        row = {
            "layer": bench.files.groups[number].name,
            "direction": direction,
            "from": found.schemes[number],
            "to": file.schemes[number],
        }
        rows.append({**row, "bytes_more": file.size - chosen.size, **file.cells()})
    return pd.DataFrame(rows)
